"""CVAT's XML 1.1, `CVAT for video` and `CVAT for images`: as a file, a folder or an export's .zip.

Frames: CVAT writes the number of the frame in the *video*, from 0, also where a task starts later
(`start_frame`) or takes every k-th frame (`frame_filter` `step=k`): `start_frame + n * step` in
`abs_frame_id` of cvat/apps/dataset_manager/bindings.py, github.com/cvat-ai/cvat. So frame f of the
file is frame f + 1 here, and a number between the steps is a fault, never shifted.

Between keyframes a box moves linearly, also towards a keyframe that is `outside`; the last one
stands still up to `stop_frame` (`TrackManager.get_interpolated_shapes` in annotation.py, same
place). Frames between the steps do not exist. Boxes that the file has already filled in
(`keyframe="0"`) stay as they are.

Attributes of a box: the file's `<attribute>`s as text, and, where they say something, `occluded`
(true), `z_order`, `rotation` (degrees; the box is the one before turning), `group_id` and the
track's `source` if it is not `manual`. An `<attribute>` of such a name wins. `visibility` from 0
to 1 and `ignore` (`true`, `false`) go into their columns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import DataError, FormatError
from motrail.formats.cvat.document import BrokenError, Document
from motrail.formats.cvat.xml import read_document
from motrail.formats.faults import Fault, check_rows, refuse
from motrail.formats.keyframes import fill_tracks
from motrail.formats.labels import MAX_FRAMES, Coded, Labels, LabelSource, ReadOptions
from motrail.names import safe_name, unused_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.faults import Found

_VIDEO = re.compile(r"\.(avi|m4v|mkv|mov|mp4|mpe?g|ts|webm|wmv)$", re.IGNORECASE)
_STEP = re.compile(r"\s*step\s*=\s*(\d{1,9})\s*")
_PICTURE = re.compile(r"frame_(\d{1,9})\.(?:png|jpe?g)", re.IGNORECASE)


class _Task(NamedTuple):
    """What the meta part says; frames as CVAT counts them."""

    start: int
    stop: int | None
    step: int
    width: int
    height: int


class _Tracks(NamedTuple):
    """The boxes in the order of the file; `track` counts the tracks with boxes, from 0."""

    rows: Labels
    track: NDArray[np.int64]
    outside: NDArray[np.bool_]


def read_cvat(path: Path, options: ReadOptions | None = None, found: Found = refuse) -> LabelSource:
    """Labels from CVAT, a sequence for each XML file.

    A sequence is called after the video if the file names it, else after the task, else as the
    options say, else after the file, or after its folder where the file is `annotations.xml`.
    Names are made fit for folders, and distinct by a number at the end.

    Args:
        path: An .xml file, a folder of them, or an exported .zip with `annotations.xml` inside.
        options: Size and length for files without `original_size` or `stop_frame`; the name.
        found: Told of each fault, with its line.

    Returns:
        The sequences; the class names are known only after reading.

    Raises:
        FormatError: There is no XML file, or, while reading, something is not as it should be.
    """
    settings = options or ReadOptions()
    files = _list_files(path)
    if not files:
        found(Fault("layout", path, "expected .xml files of CVAT in the folder, found none"))

    def read() -> Iterator[Labels]:
        taken: set[str] = set()
        for file in files:
            try:
                labels = _read(file, settings, found)
            except BrokenError as broken:
                found(broken.fault)
                continue
            name = unused_name(labels.name, taken)
            yield labels.replace(name=name)

    return LabelSource("cvat", (), len(files), read)


def _list_files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        return sorted(file for file in path.iterdir() if file.suffix.lower() == ".xml")
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from error


def _read(path: Path, options: ReadOptions, found: Found) -> Labels:
    document = read_document(path, found)
    task = _read_task(document, options, found)
    tracks = _good_rows(document, task, found)
    labels = _fill(document, tracks, task)
    length = int(labels.frames.max(initial=0)) if task.stop is None else task.stop + 1
    return labels.replace(
        name=_name(document, path, options),
        width=task.width,
        height=task.height,
        length=length,
        frame_rate=options.frame_rate or 0.0,
        pictures=_find_pictures(document, path.parent, length) if document.path == path else {},
    )


def _name(document: Document, path: Path, options: ReadOptions) -> str:
    for key in ("source", "name"):
        text = document.meta.get(key, ("", 0))[0].strip()
        stem = _VIDEO.sub("", re.split(r"[/\\]", text)[-1] if key == "source" else text)
        if stem.strip(" ."):
            return safe_name(stem)
    own = path.absolute().parent.name if path.name == "annotations.xml" else path.stem
    return safe_name(options.name or own or path.stem)


def _read_task(document: Document, options: ReadOptions, found: Found) -> _Task:
    def number(key: str, low: int, high: int) -> int | None:
        text, line = document.meta.get(key, ("", 0))
        text = text.strip()
        if text in ("", "None"):
            return None
        value = int(text) if text.isdecimal() and len(text) < 10 else -1
        if low <= value <= high:
            return value
        message = f"expected a {key} of {low} to {high}, found {text[:40]!r}"
        found(Fault("number", document.path, message, line))
        return None

    start = number("start_frame", 0, MAX_FRAMES - 1) or 0
    stop = number("stop_frame", start, MAX_FRAMES - 1)
    size = number("size", 0, MAX_FRAMES)
    step = _read_step(document, found)
    if stop is None and size:
        stop = min(start + (size - 1) * step, MAX_FRAMES - 1)
    if stop is None and options.length:
        stop = options.length - 1
    width, height = number("width", 1, 10**6), number("height", 1, 10**6)
    if not width or not height:
        width, height = document.image_size or options.size or (0, 0)
    return _Task(start, stop, step, width, height)


def _read_step(document: Document, found: Found) -> int:
    text, line = document.meta.get("frame_filter", ("", 0))
    if text.strip() in ("", "None"):
        return 1
    match = _STEP.fullmatch(text)
    if match and 1 <= int(match[1]) <= MAX_FRAMES:
        return int(match[1])
    message = f"expected a frame_filter such as step=2, found {text[:40]!r}"
    found(Fault("number", document.path, message, line))
    return 1


def _good_rows(document: Document, task: _Task, found: Found) -> _Tracks:
    """The rows without fault, with each track under its number."""
    frames, outside = document.column("frame"), document.column("outside").astype(np.bool_)
    past = frames > (MAX_FRAMES if task.stop is None else task.stop)
    off = (frames < task.start) | ((frames - task.start) % task.step != 0) | (past & ~outside)
    lines = document.column("line")
    good = ~off & ~past
    for row in np.flatnonzero(off).tolist():
        message = (
            f"expected a frame of the task, {task.start} to "
            f"{'the end' if task.stop is None else task.stop} in steps of {task.step}, found "
            f"{frames[row]}; frames are numbered as in the video, from 0"
        )
        found(Fault("frame", document.path, message, int(lines[row])))
    track = document.column("track").astype(np.int64)
    good &= ~_repeated_tracks(document, track, found)
    boxes = document.boxes_xywh()
    rows = Labels(
        name="",
        classes=tuple(document.classes),
        frames=frames.astype(np.int64) + 1,
        ids=document.numbers()[track] if len(track) else track,
        # The place of an object that is outside may have no size, which is no fault.
        boxes_xywh=np.where(outside[:, None], [0.0, 0.0, 1.0, 1.0], boxes),
        class_ids=document.column("class_id").astype(np.int64),
        visibility=document.column("visibility"),
        ignore=document.column("ignore").astype(np.bool_),
        keyframe=document.column("keyframe").astype(np.bool_),
        attributes=Coded(document.column("attributes").astype(np.int64), document.attributes),
        # Carries the row's number through the check.
        source_ids=Coded(np.arange(len(frames)), ()),
    )
    if not good.all():
        rows, lines = rows[good], lines[good]
    rows = check_rows(rows, document.path, lambda row: int(lines[row]), found)
    left = rows.source_ids.codes
    return _Tracks(rows.replace(boxes_xywh=boxes[left]), track[left], outside[left])


def _repeated_tracks(
    document: Document, track: NDArray[np.int64], found: Found
) -> NDArray[np.bool_]:
    """Rows of tracks whose id another track has had before."""
    numbers = document.numbers()
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    again = (first[which] != np.arange(len(numbers))) & (numbers >= 0)
    lines = document.track_lines
    for index in np.flatnonzero(again).tolist():
        message = (
            f"expected each track once, found track {numbers[index]} again "
            f"(first: line {lines[first[which[index]]]})"
        )
        found(Fault("duplicate", document.path, message, lines[index]))
    return again[track] if len(track) else np.zeros(0, np.bool_)


def _fill(document: Document, tracks: _Tracks, task: _Task) -> Labels:
    """Every frame in which the objects are there."""
    order = np.lexsort((tracks.rows.frames, tracks.track))
    rows, track, outside = tracks.rows[order], tracks.track[order], tracks.outside[order]
    try:
        filled = fill_tracks(
            track,
            (rows.frames - 1 - task.start) // task.step,
            _stand_still(rows.boxes_xywh, outside, track),
            shown=~outside,
            goes_on=~outside & (rows.ids >= 0),
            end=None if task.stop is None else (task.stop - task.start) // task.step,
        )
    except DataError as error:
        message = f'{error}; see stop_frame, and whether outside="1" ends the tracks'
        raise BrokenError("layout", document.path, message) from None
    rows = rows[filled.source]
    known = rows.ids >= 0
    numbers, codes = np.unique(rows.ids[known], return_inverse=True)
    source = np.full(len(rows), -1, np.int64)
    source[known] = codes.reshape(-1)
    return rows.replace(
        frames=filled.frames * task.step + task.start + 1,
        boxes_xywh=filled.boxes_xywh,
        keyframe=filled.keyframe & rows.keyframe,
        source_ids=Coded(source, tuple(map(str, numbers.tolist()))),
    )


def _stand_still(
    boxes: NDArray[np.float64], outside: NDArray[np.bool_], track: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Boxes in which none shrinks to nothing on the way to a place without size."""
    nowhere = np.flatnonzero(outside & ~(boxes[:, 2:] > 0).all(axis=1))
    nowhere = nowhere[nowhere > 0]
    nowhere = nowhere[track[nowhere] == track[nowhere - 1]]
    boxes = boxes.copy()
    boxes[nowhere] = boxes[nowhere - 1]
    return boxes


def _find_pictures(document: Document, folder: Path, length: int) -> dict[int, Path]:
    """The pictures of an export with images: beside the file, under `images`."""
    images = folder / "images"
    try:
        if not images.is_dir():
            return {}
        if not document.images:
            numbers = ((_PICTURE.fullmatch(path.name), path) for path in sorted(images.iterdir()))
            pictures = {int(match[1]) + 1: path for match, path in numbers if match}
            return {frame: path for frame, path in pictures.items() if frame <= length}
        inside = images.resolve()
        named = {frame + 1: images / name for frame, name in document.images.items()}
        return {frame: path for frame, path in named.items() if _is_inside(path, inside)}
    except OSError:
        return {}


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.is_file() and path.resolve().is_relative_to(folder)
    except (OSError, ValueError):  # a name that no file can have: too long, or with a zero in it
        return False
