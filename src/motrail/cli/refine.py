"""`motrail refine`."""

from __future__ import annotations

import dataclasses
from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.output import AsJson, Output, print_json, table
from motrail.cli.progress import steps_progress
from motrail.cli.settings import flags_of, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.refining import RefinedFile

RefineFlags: Any = flags_of("refine")

_COUNTS = ("boxes", "tracks", "filled_boxes", "removed_boxes", "removed_tracks")


def refine_command(
    tracks: Path,
    *,
    output: Output,
    stride: int | None = None,
    frame_rate: float | None = None,
    camera_file: Path | None = None,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: AsJson = False,
    refine: RefineFlags = None,
) -> int:
    """Refine tracks when all frames are known: drop short and weak ones, fill gaps, smooth boxes.

    Class, score and visibility stay; filled boxes have a score on the line between those around
    the gap and no visibility. `motrail track` takes the same settings, and draws the result.

    For example:

    - `motrail refine out/ --offline -o refined`
    - `motrail refine out/ --max-gap-seconds 1 --frame-rate 50 -o refined`
    - `motrail refine out/match.txt --max-gap 20 --smoothing 3 --min-length 5 -o refined`

    Parameters
    ----------
    tracks
        A folder of track files `<sequence>.txt`, or one of them.
    output
        Folder for files of the same names; for a single file also another name in .txt.
    stride
        That of the tracking: every so many frames were looked at. [default: 1]
    frame_rate
        Frames a second of the video, which settings in seconds need.
    camera_file
        Where the camera moved: what `motrail camera` wrote, a file or a folder with one for each
        track file. Gaps are filled as a standing camera would see them.
    config
        TOML file with a section [refine]; flags win over it.
    as_json
        Print what was done as one JSON document.
    """
    from motrail.refining import refine_files

    flags = {"refine": refine, "video": SimpleNamespace(stride=stride)}
    settings = resolve_settings(flags, config).settings
    with steps_progress() as progress:
        done = refine_files(
            tracks,
            output,
            settings.refine,
            stride=settings.video.stride,
            frame_rate=frame_rate,
            camera=camera_file,
            progress=progress,
        )
    if as_json:
        chosen = dataclasses.asdict(settings.refine) | {"stride": settings.video.stride}
        print_json({"settings": chosen, "sequences": [file.as_dict() for file in done]})
    else:
        _show(done, output)
    return 0


def _show(done: Sequence[RefinedFile], output: Path) -> None:
    names = [name.replace("_", " ") for name in _COUNTS]
    rows: list[tuple[str | int, ...]] = [("sequence", *names)]
    rows += [(file.sequence, *(getattr(file, name) for name in _COUNTS)) for file in done]
    if len(done) > 1:
        rows.append(("all", *(sum(getattr(file, name) for file in done) for name in _COUNTS)))
    print(table(rows))
    print(f"written {output}")
