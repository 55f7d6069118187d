"""From kept detections to tracks: the same loop as for a video, without a network."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import DataError, VideoError
from motrail.tracking import Found, track_found
from motrail.types import Frame
from motrail.video.read import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from motrail.batch.chunks import Chunk
    from motrail.batch.plan import Plan
    from motrail.config import Settings
    from motrail.tracking import Summary
    from motrail.types import Detections
    from motrail.video.source import Source

_NO_PICTURE = np.empty((0, 0, 3), np.uint8)


def associate(
    plan: Plan,
    class_names: Sequence[str],
    settings: Settings,
    made_by: str,
    output: Path,
    *,
    kept: Path,
    video: bool = False,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Track a video whose stretches are all detected.

    Args:
        plan: Its stretches.
        class_names: Of the detector.
        settings: Of tracker, refinement and video.
        made_by: Fingerprint of the detector.
        output: Folder of all results; the video's name says where in it.
        kept: Folder with the detections of this video.
        video: Whether to draw it, too.
        progress: Called after every frame.

    Raises:
        MotrailError: As `motrail.tracking.track_source`; or detections are missing.
    """
    clip = settings.video
    source = open_source(plan.video.path, start=clip.start, end=clip.end, stride=clip.stride)
    source.name = Path(plan.video.name).name
    frames: Iterator[Frame] | None = None
    if video and not settings.refine.active:  # else it is read when all tracks are known
        frames = iter(source)
    found = Found(source, _results(plan, made_by, kept, source, frames), class_names, "none")
    return track_found(
        found, settings, (output / plan.video.name).parent, video=video, progress=progress
    )


def _results(
    plan: Plan, made_by: str, kept: Path, source: Source, frames: Iterator[Frame] | None
) -> Generator[tuple[Frame, Detections]]:
    broken, truncated = 0, plan.truncated
    with contextlib.ExitStack() as stack:
        if isinstance(frames, Generator):
            stack.callback(frames.close)
        for stretch in plan.stretches:
            for chunk in stretch.chunks(kept, made_by):
                if chunk is None:
                    raise DataError(
                        f"{plan.video.path}: frames from {stretch.first} on are not detected yet"
                    )
                broken += chunk.broken
                truncated = truncated or chunk.truncated
                yield from _with_pictures(chunk, plan.video.path, frames)
    source.broken, source.truncated = broken, truncated


def _with_pictures(
    chunk: Chunk, path: Path, frames: Iterator[Frame] | None
) -> Generator[tuple[Frame, Detections]]:
    for number, detections in chunk:
        if frames is None:
            yield Frame(number, _NO_PICTURE, 0.0), detections
            continue
        frame = next(frames, None)
        if frame is None or frame.number != number:
            at = "nothing" if frame is None else f"frame {frame.number}"
            raise VideoError(
                f"{path}: expected frame {number} as when it was detected in, found {at}; was the "
                "file changed?"
            )
        yield frame, detections
