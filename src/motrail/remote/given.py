"""Results from tracks that somebody else made: the second half of `motrail.tracking`."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from motrail.formats.mot.tracks import check_labels
from motrail.outputs import output_folder
from motrail.pipeline import Sinks, one_opencv_thread
from motrail.track.refine import KeptTracks
from motrail.tracking import Found, Summary, _draw, _paths, _refine, _sinks
from motrail.types import Detections

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from motrail.config import Settings
    from motrail.types import Frame, Tracks
    from motrail.video.source import Source


def write_tracked(
    source: Source,
    results: Generator[tuple[Frame, Tracks]],
    class_names: Sequence[str],
    device: str,
    settings: Settings,
    output: Path,
    *,
    video: bool,
    keep: Iterable[str | os.PathLike[str]] = (),
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Write what was tracked elsewhere; the rest as in `motrail.tracking.track_source`.

    Args:
        source: Its name, size and rate; read again where a video waits for refined tracks.
        results: Its frames in order with their tracks; closed at the end.
        class_names: Names of the classes.
        device: What the network ran on, for people.
        settings: Of refinement and video.
        output: Folder for the results.
        video: Whether to write the video.
        keep: Files that no result may take the place of, besides the source.
        progress: Called after every frame of either pass.
    """
    paths = _paths(source, output_folder(output), keep, video=video)
    check_labels(paths["labels"].parent, class_names)
    summary = Summary(source.name, device, source.width, source.height, source.frame_rate)
    found = Found(source, _none(), class_names, device)
    kept = KeptTracks() if settings.refine.active else None
    start = time.perf_counter()

    def done() -> None:
        summary.seconds = time.perf_counter() - start
        if progress is not None:
            progress(summary)

    with (
        one_opencv_thread(),
        source,
        Sinks(_sinks(paths, found, settings, kept)) as sinks,
    ):
        with contextlib.closing(results):
            for frame, tracks in results:
                if kept is None:
                    sinks.write(frame, tracks)
                else:
                    kept.keep(frame.number, tracks, len(tracks))
                summary.count(_seen(tracks), tracks)
                done()
        summary.broken_frames, summary.truncated = source.broken, source.truncated
        if kept is not None:
            _refine(kept, settings, summary)
            if video:
                _draw(source, kept, sinks, summary, done)
    summary.seconds = time.perf_counter() - start
    summary.files = {name: str(path) for name, path in sorted(paths.items())}
    return summary


def _seen(tracks: Tracks) -> Detections:
    return Detections(tracks.boxes_xyxy, tracks.scores, tracks.class_ids)


def _none() -> Generator[tuple[Frame, Detections]]:
    yield from ()
