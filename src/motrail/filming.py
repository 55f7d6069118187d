"""`motrail camera`: how a camera moved, in files, so that it need not be found anew each time."""

from __future__ import annotations

import dataclasses
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import ConfigError, FormatError, OutputError
from motrail.outputs import output_folder
from motrail.pipeline import ahead, one_opencv_thread
from motrail.track.camera_file import read_camera_file, write_camera_file
from motrail.types import Detections
from motrail.video.flow import Flow, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.types import Frame, SequenceDetections
    from motrail.video.source import Source


@dataclass(frozen=True)
class Film:
    """Frames in which a camera moved.

    Attributes:
        source: Where they come from.
        numbers: The frame number of each of its frames, ascending, where those of the source do
            not count, as in a dataset that has pictures of some frames only.
    """

    source: Source
    numbers: Sequence[int] | None = None

    def frames(self) -> Iterator[Frame]:
        """The frames, numbered as they are to be."""
        for frame in self.source:
            number = frame.number if self.numbers is None else self.numbers[frame.number - 1]
            yield dataclasses.replace(frame, number=number)


@dataclass
class Filmed:
    """What was done with a source.

    Attributes:
        source: Name of the sequence.
        path: The file with the camera's motion.
        frames: Frames looked at.
        unknown: Frames in which nothing could be made out, which stand there as not moved: after a
            cut, in the dark, before a plain wall.
        moved: Pixels by which the middle of the picture moves from frame to frame, on average.
        seconds: Time spent.
        truncated: Why the source ended early; None if it did not.
    """

    source: str
    path: str
    frames: int = 0
    unknown: int = 0
    moved: float = 0.0
    seconds: float = 0.0
    truncated: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self)


def film_all(
    films: Iterable[Film],
    output: Path,
    *,
    detections: Mapping[str, SequenceDetections] | None = None,
    progress: Callable[[Filmed, int | None], None] | None = None,
) -> Iterator[Filmed]:
    """Find the camera's motion in each source.

    Args:
        films: The sources; their names differ.
        output: Folder for `NAME.txt` of each; for a single source also a file in `.txt`.
        detections: What is in the frames, by the name of the source: it moves on its own, and is
            left out.
        progress: Called after every frame with the number of frames expected.

    Yields:
        What was done with each.

    Raises:
        ConfigError: Two sources have one name, there are no detections of one, or there is
            something else where a file is to be written.
        MotrailError: Anything else that went wrong; no file is left half-written.
    """
    films = list(films)
    paths = _paths([film.source for film in films], output)
    for film in films:
        if detections is not None and film.source.name not in detections:
            raise ConfigError(
                f"--detections: expected those of {film.source.name!r}, found "
                f"{', '.join(sorted(detections)[:5]) or 'none'}"
            )
    for film, path in zip(films, paths, strict=True):
        known = None if detections is None else detections[film.source.name]
        yield _film(film, path, known, progress)


def _paths(sources: Sequence[Source], output: Path) -> list[Path]:
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"{output}: has no place for two files {name}.txt; find the motion of one of the "
                "sources at a time, each into its own folder"
            )
    if output.suffix == ".txt" and not output.is_dir():
        if len(sources) > 1:
            raise ConfigError(
                f"{output}: expected a folder for the files of {len(sources)} sources"
            )
        output_folder(output.parent)
        paths = [output]
    else:
        folder = output_folder(output)
        paths = [folder / f"{name}.txt" for name in names]
    for source, path in zip(sources, paths, strict=True):
        if source.reads(path):
            raise ConfigError(f"{path}: is the source itself; choose another place with -o")
        _check_free(path)
    return paths


def _check_free(path: Path) -> None:
    """See that what is there already is of the same kind."""
    if path.is_dir():
        raise OutputError(
            f"{path}: cannot be written: there is a folder of that name where a file is needed"
        )
    if not path.exists():
        return
    try:
        read_camera_file(path)
    except FormatError:
        raise ConfigError(
            f"{path}: is there, and holds something else than a camera's motion; choose another "
            "folder with -o"
        ) from None


def _film(
    film: Film,
    path: Path,
    known: SequenceDetections | None,
    progress: Callable[[Filmed, int | None], None] | None,
) -> Filmed:
    done = Filmed(film.source.name, str(path))
    start = time.perf_counter()
    flow, affines = Flow(), {}
    middle = np.array([film.source.width / 2, film.source.height / 2, 1.0])
    way = 0.0
    with one_opencv_thread(), film.source, closing(ahead(film.frames())) as frames:
        for frame in frames:
            affine = flow.affine(shrink(frame.image), _in(known, frame.number))
            if affine is None:
                done.unknown += bool(done.frames)
                affine = np.eye(2, 3)
            affines[frame.number] = affine
            done.frames += 1
            way += float(np.hypot(*(affine @ middle - middle[:2])))
            done.moved = way / max(done.frames - 1, 1)
            done.seconds = time.perf_counter() - start
            if progress is not None:
                progress(done, film.source.expected_frames)
    write_camera_file(path, affines)
    done.truncated = film.source.truncated
    return done


def _in(known: SequenceDetections | None, number: int) -> Detections:
    """What is in a frame."""
    if known is None:
        return Detections.empty()
    rows = slice(*np.searchsorted(known.frames, [number, number + 1]).tolist())
    return Detections(known.boxes_xyxy[rows], known.scores[rows], known.class_ids[rows])
