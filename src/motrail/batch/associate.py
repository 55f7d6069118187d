"""From kept detections to tracks: the same loop as for a video, without a network."""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import ConfigError, DataError, OutputError, VideoError
from motrail.formats.mot.tracks import check_labels
from motrail.moving import file_of, needs_pictures
from motrail.outputs import WholeFile, output_folder, writing
from motrail.tracking import Found, track_found
from motrail.types import Frame
from motrail.video.read import open_source

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
    keep: Iterable[str | os.PathLike[str]] = (),
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
        keep: Files that no result may take the place of, besides the source.
        progress: Called after every frame.

    Raises:
        MotrailError: As `motrail.tracking.track_source`; or detections are missing.
    """
    clip = settings.video
    source = open_source(plan.video.path, start=clip.start, end=clip.end, stride=clip.stride)
    source.name = Path(plan.video.name).name
    frames: Iterator[Frame] | None = None
    # To draw refined tracks, it is read when all of them are known.
    if (video and not settings.refine.active) or needs_pictures(settings.tracker):
        frames = iter(source)
    found = Found(source, _results(plan, made_by, kept, source, frames), class_names, "none")
    folder = output_folder((output / plan.video.name).parent)
    camera = file_of(settings.tracker, plan.video.name)
    _check_places(source, folder, [*keep, *([camera] if camera else [])], video=video)
    with _workshop(kept, folder) as place:
        summary = track_found(
            found, settings, place, video=video, progress=progress, name=plan.video.name
        )
        check_labels(folder, class_names)
        for kind, path in summary.files.items():
            summary.files[kind] = str(_move(Path(path), folder))
    return summary


def _check_places(
    source: Source, folder: Path, keep: Iterable[str | os.PathLike[str]], *, video: bool
) -> None:
    """See that results can be moved to where they belong, before the work is done."""
    names = [f"{source.name}.txt", *([f"{source.name}.mp4"] if video else [])]
    for path in [folder / name for name in ("labels.txt", *names)]:
        if path.is_dir():
            raise OutputError(
                f"{path}: cannot be written: there is a folder of that name where a file is needed"
            )
        if source.reads(path):
            raise ConfigError(f"{path}: is the source itself; choose another output folder")
    for path in [folder / name for name in names]:
        if any(path.exists() and Path(o).exists() and path.samefile(o) for o in keep):
            raise ConfigError(f"{path}: is needed for this run; choose another output folder")


@contextlib.contextmanager
def _workshop(kept: Path, folder: Path) -> Iterator[Path]:
    """A folder for results that are not finished, among what is kept.

    There the next run finds what a killed one left, which beside the results might be another's.
    """
    place = kept / f".{secrets.token_hex(8)}"
    try:
        yield place
    except OutputError as error:
        raise OutputError(str(error).replace(str(place), str(folder))) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _move(path: Path, folder: Path) -> Path:
    target = folder / path.name
    with writing(target):
        try:
            path.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with WholeFile(target) as whole:  # a link to another disk
                shutil.copyfile(path, whole.temporary)
    return target


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
