"""`motrail refine`: from track files to refined track files."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import ConfigError, DataError, FormatError, OutputError
from motrail.formats.labels import MAX_FRAMES
from motrail.formats.mot.reader import read_class_names
from motrail.formats.mot.tracks import TrackFileWriter, TrackRows, read_tracks
from motrail.names import natural_order
from motrail.outputs import WholeFile, output_folder, writing
from motrail.track.camera_file import camera_file_path, read_camera_file
from motrail.track.fill import CameraPath
from motrail.track.refine import refine_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from motrail.config import RefineSettings

_LABELS = "labels.txt"


@dataclass(frozen=True, slots=True)
class RefinedFile:
    """What was done to a track file.

    Attributes:
        sequence: The stem of the file's name.
        boxes: How many boxes there are now.
        tracks: How many tracks there are now.
        filled_boxes: How many of the boxes stand in gaps that were filled.
        removed_tracks: How many tracks were too short.
        removed_boxes: How many boxes those had.
        file: The file written.
    """

    sequence: str
    boxes: int
    tracks: int
    filled_boxes: int
    removed_tracks: int
    removed_boxes: int
    file: str

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self)


def refine_files(
    source: Path,
    output: Path,
    settings: RefineSettings,
    *,
    stride: int = 1,
    frame_rate: float | None = None,
    camera: Path | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[RefinedFile]:
    """Refine a track file, or all of a folder, with the `labels.txt` beside.

    Args:
        source: The file or folder.
        output: Folder for files of the same names; for a file also another name in `.txt`.
        settings: What to do.
        stride: That of the tracking: every so many frames were looked at.
        frame_rate: Frames a second of the source, for settings in seconds.
        camera: File that says how the camera moved, or a folder with one for each track file; None
            where it stood still, or nobody knows.
        progress: Told of each file.

    Raises:
        ConfigError: Nothing is switched on, settings are in seconds and there is no frame rate, a
            result would take the place of what is read, or the folder has the tracks of other
            classes.
        FormatError: A file is no track file, or none of a camera, or that is of another video.
        OutputError: The results cannot be written; nothing is left half-written.
    """
    if not settings.active:
        raise ConfigError(
            "nothing to do: switch on --offline, or some of --max-gap (usually 20), --smoothing "
            "(3) and --min-length (5), or set them in a section [refine] of the --config file"
        )
    in_frames = settings.in_frames(frame_rate, stride)
    places = _places(source, output)
    folder = output_folder(places[0][1].parent)
    done = []
    with contextlib.ExitStack() as stack:
        _carry_labels(places[0][0].parent / _LABELS, folder / _LABELS, stack)
        for path, place in places:
            rows, summary = _refine(path, place, in_frames, stride, camera)
            writer = stack.enter_context(TrackFileWriter(place))
            writer.write_rows(rows)
            writer.finish()
            done.append(summary)
            if progress is not None:
                progress("refining", len(done), len(places))
    return done


def _places(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Each track file, and where its refined one goes, seen to be free."""
    if source.name == _LABELS and not source.is_dir():
        raise FormatError(source, "holds the names of classes; give a track file, or its folder")
    if source.is_dir():
        files = natural_order(
            p for p in source.glob("*.txt") if p.name != _LABELS and p.name[0] != "."
        )
    else:
        files = [source]
    if not files:
        raise FormatError(source, "expected tracks in files SEQUENCE.txt, found none")
    if output.suffix == ".txt" and not output.is_dir():
        if source.is_dir():
            raise ConfigError(f"{output}: expected a folder for the files of {source}")
        if output.name == _LABELS:
            raise ConfigError(f"{output}: is the name of the list of classes; choose another one")
        places = [(source, output)]
    else:
        places = [(path, output / path.name) for path in files]
    for _, place in places:
        if place.is_dir():
            raise OutputError(
                f"{place}: cannot be written: there is a folder of that name where a file is needed"
            )
        if any(place.exists() and other.exists() and place.samefile(other) for other in files):
            raise ConfigError(f"{place}: is what is read itself; choose another place with -o")
    return places


def _carry_labels(path: Path, place: Path, stack: contextlib.ExitStack) -> None:
    """Have the names of the classes beside the results that rely on them."""
    if place.exists():
        names = read_class_names(place)
        if not path.exists():
            raise ConfigError(
                f"{place}: names classes, which the tracks do not; choose another folder with -o"
            )
        if read_class_names(path) != names:
            raise ConfigError(
                f"{place}: names other classes than {path}; the results there rely on it, so "
                "choose another folder with -o"
            )
    elif path.exists():
        read_class_names(path)
        whole = stack.enter_context(WholeFile(place))
        with writing(place):
            whole.temporary.write_bytes(path.read_bytes())


def _camera_path(path: Path, rows: TrackRows, stride: int) -> CameraPath:
    """How the camera moved into the frames that were looked at, from the first one with a track."""
    file, moved = read_camera_file(path), CameraPath()
    if len(rows.frames):
        first, last = int(rows.frames.min()), int(rows.frames.max())
        try:
            for number in range(first + stride, last + 1, stride):
                moved.note(number, file.between(number - stride, number))
        except DataError as error:
            raise FormatError(path, str(error).removeprefix(f"{path}: ")) from None
    return moved


def _refine(
    path: Path, place: Path, settings: RefineSettings, stride: int, camera: Path | None
) -> tuple[TrackRows, RefinedFile]:
    rows = read_tracks(path)
    beyond = rows.frames[(rows.frames < 1) | (rows.frames > MAX_FRAMES)]
    if len(beyond):
        raise FormatError(path, f"expected frames 1 to {MAX_FRAMES:,}, found {beyond[0]}")
    moved = (
        None if camera is None else _camera_path(camera_file_path(camera, path.stem), rows, stride)
    )
    try:
        refined = refine_rows(
            rows.frames,
            rows.ids,
            rows.boxes_xywh,
            rows.scores,
            settings,
            step=stride,
            camera=moved,
        )
    except DataError as error:
        raise FormatError(path, str(error)) from None
    kept, filled = refined.rows, refined.filled
    result = TrackRows(
        frames=refined.frames,
        ids=rows.ids[kept],
        boxes_xywh=refined.boxes_xywh,
        scores=refined.scores,
        classes=rows.classes[kept],
        visibility=np.where(filled, -1.0, rows.visibility[kept]),
    )
    count = int(np.count_nonzero(filled))
    tracks = len(np.unique(result.ids))
    return result, RefinedFile(
        sequence=path.stem,
        boxes=len(kept),
        tracks=tracks,
        filled_boxes=count,
        removed_tracks=len(np.unique(rows.ids)) - tracks,
        removed_boxes=len(rows.ids) - (len(kept) - count),
        file=str(place),
    )
