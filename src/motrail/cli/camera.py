"""`motrail camera`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.cli.output import AsJson, Output, print_json, table
from motrail.cli.progress import steps_progress
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.filming import Film, Filmed

PARTLY_DONE = 3


def camera_command(
    *sources: str,
    output: Output,
    detections: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Write how a camera moved from frame to frame, found by optical flow in the pictures.

    For each source NAME.txt has a line per frame: the frame, counted from 0, and the affine map a,
    b, tx, c, d, ty that carries the frame before into it. The tracker `steady` takes such files
    wherever it runs, also where there are detections and no pictures.

    For example:

    - `motrail camera match.mp4 second.mp4 -o camera`
    - `motrail track match.mp4 -m yolox-s --tracker steady --camera-motion file
      --camera-file camera`
    - `motrail camera data/val --detections detections -o camera`

    Parameters
    ----------
    sources
        Videos, folders of images, quoted patterns, datasets or their splits.
    output
        Folder for the files; for a single source also a file in .txt.
    detections
        What `motrail detect` found in the same sources, a file or folder: objects move on their
        own, and are left out. Needed where they fill most of the picture.
    as_json
        Print what was done as one JSON document.
    """
    from motrail.filming import film_all
    from motrail.formats.mot.detections import read_detections

    if not sources:
        raise ConfigError("expected at least one video, folder of images or dataset, found none")
    films = [film for source in sources for film in _open(source)]
    known = None
    if detections is not None:
        known = {file.name: file.detections for file in read_detections(detections)}
    done: list[Filmed] = []
    with steps_progress() as show:

        def progress(now: Filmed, expected: int | None) -> None:
            show(f"looking at {now.source}", now.frames, expected)

        done.extend(film_all(films, output, detections=known, progress=progress))
    return _report(done, as_json=as_json)


def _open(source: str) -> Iterator[Film]:
    from motrail.dataset.folder import is_dataset
    from motrail.dataset.pictures import picture_sources
    from motrail.filming import Film
    from motrail.video.read import open_source

    if is_dataset(Path(source)):
        for frames, numbers in picture_sources(Path(source)):
            yield Film(frames, numbers)
    else:
        yield Film(open_source(source))


def _report(done: list[Filmed], *, as_json: bool) -> int:
    if as_json:
        print_json({"sources": [item.as_dict() for item in done]})
    else:
        rows: list[tuple[str | int, ...]] = [
            ("source", "frames", "pixels a frame", "unknown", "written")
        ]
        rows += [
            (item.source, item.frames, f"{item.moved:.2f}", item.unknown, item.path)
            for item in done
        ]
        print(table(rows))
    broken = [item for item in done if item.truncated is not None]
    for item in broken:
        print(f"{item.source}: partly done: {item.truncated}", file=sys.stderr)
    return PARTLY_DONE if broken else 0
