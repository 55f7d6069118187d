"""`motrail review`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path  # noqa: TC003 (read by cyclopts)
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.page import PORT, Address, needing_label, serve_page
from motrail.cli.settings import flags_of, parse_map, resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.label.desk import Desk
    from motrail.label.review import Against, Review
    from motrail.label.store import Store

TrackerFlags: Any = flags_of("tracker")


def review_command(
    tracks: Path,
    *,
    video: Annotated[tuple[Path, ...], Parameter(name=("--video", "-v"), negative="")],
    truth: Annotated[Path | None, Parameter(name=("--truth", "-t"))] = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    detections: Annotated[Path | None, Parameter(name=("--detections", "-d"))] = None,
    protocol: Literal["classes", "mot17"] = "classes",
    map_: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = (),
    agnostic: Annotated[bool, Parameter(negative="")] = False,
    frames: Literal["auto", "all", "labelled"] = "auto",
    port: int = PORT,
    host: str = "127.0.0.1",
    browser: bool = True,
    token_file: Path | None = None,
    public_url: str | None = None,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    tracker: TrackerFlags = None,
) -> int:
    """Look at a tracker's result in the browser, mend it, and save it as truth.

    Opens the page of `motrail label` on the tracks: play them, hide some, show only one class, long
    or sure ones. With the truth, the page lists the errors that `motrail evaluate` counts; a click
    goes there, and what is mended leaves the list. Every change is stored at once, and the same
    command goes on where you were.

    For example:

    - `motrail review out/match.txt --video match.mp4`
    - `motrail review out/ --video data --truth data/val -o mended`
    - `motrail review out/match.txt --video match.mp4 --truth data/val --detections detections/`

    Parameters
    ----------
    tracks
        A folder of track files `<sequence>.txt`, or one of them.
    video
        The video; also a folder of images, or a dataset whose images are shown. May be given
        several times.
    truth
        A dataset, a split of one such as data/val, or labels in any format.
    output
        The dataset that is written; TRACKS-review beside the tracks if left out.
    detections
        The detections that the tracks were made from: errors get their causes. Tell the settings
        that made the tracks, as `motrail evaluate` takes them.
    protocol
        Which boxes count; see `motrail evaluate`.
    map_
        What a class of the tracks is called in the truth, as in person=pedestrian; may be given
        several times.
    agnostic
        Compare all classes as if they were one.
    frames
        Which frames of a video are saved as images; see `motrail label`.
    port
        Port to listen on; 0 takes a free one.
    host
        Address to listen on; others than this machine's own are for a team behind a proxy.
    browser
        Open the page in the browser.
    token_file
        File with the token of the address; a new one each time if left out.
    public_url
        Where a proxy shows the page, such as https://label.example.org.
    config
        TOML file with the section [tracker] that made the tracks; flags win over it.
    """
    from motrail.evaluate.protocol import Protocol

    if detections is not None and truth is None:
        raise ConfigError("--detections: explains errors; name the truth with --truth")
    settings = resolve_settings({"tracker": tracker}, config).settings.tracker
    folder = output or tracks.with_name(f"{tracks.resolve().stem}-review")
    rules = Protocol(protocol, class_aware=not agnostic, names=parse_map(map_))

    @contextlib.contextmanager
    def opened() -> Iterator[Desk]:
        from motrail.label.desk import Desk
        from motrail.label.review import Against, open_review

        with contextlib.closing(open_review(tracks, video, folder)) as store:
            if truth is None:
                yield Desk(store, mode="review", saved_frames=frames)
                return
            review = _against(store, tracks, Against(truth, rules, detections, settings))
            yield Desk(
                store, mode="review", saved_frames=frames, truth=review.truth, errors=review.errors
            )

    def serve() -> None:
        address = Address.of(host, port, token_file, public_url, browser=browser)
        serve_page(opened, address, "reviewing")

    needing_label(serve)
    return 0


def _against(store: Store, tracks: Path, against: Against) -> Review:
    from motrail.label.review import Review, count_kinds

    review = Review(store, tracks, against)
    for name in review.without_truth:
        print(f"note: {name}: the truth does not have it, so its errors are not known",
              file=sys.stderr)  # fmt: skip
    counts = count_kinds(review, [info.index for info in store.sequences()])
    print("errors: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return review
