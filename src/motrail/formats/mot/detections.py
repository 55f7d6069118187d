"""Detection files: one line per box, as the MOT challenge has them.

Columns separated by commas: frame (from 1), -1, left, top, width, height (pixels), score, and
perhaps class (line of the `labels.txt` beside it, from 1) and visibility. What comes after the
score may be -1. Detections are kept down to low scores: trackers live on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import DataError, FormatError
from motrail.formats.faults import Fault, refuse
from motrail.formats.labels import MAX_FRAMES
from motrail.formats.mot.reader import MOT17_CLASSES, read_class_names
from motrail.formats.mot.rows import read_rows
from motrail.names import natural_order
from motrail.outputs import WholeText
from motrail.types import SequenceDetections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.faults import Found
    from motrail.formats.mot.rows import Rows
    from motrail.types import Detections


@dataclass(frozen=True, slots=True)
class DetectionFile:
    """The detections of a sequence.

    Attributes:
        name: The sequence: the stem of the file's name.
        classes: Names of the classes that `class_ids` counts through.
        detections: In the order of frames; rows of a frame as they stood in the file.
    """

    name: str
    classes: tuple[str, ...]
    detections: SequenceDetections


def read_detections(path: Path, found: Found = refuse) -> Iterator[DetectionFile]:
    """Read a detection file, or all `<sequence>.txt` of a folder in natural order.

    The names of the classes stand in a `labels.txt` beside; without one they are MOT17's.

    Args:
        path: The file or folder.
        found: Told of each fault; left out, the first is raised.

    Raises:
        FormatError: There are none, or a line is no detection: something that is no number, a
            frame below 1, a box without size, a score outside 0 to 1, an unknown class.
    """
    if path.is_dir():
        files = natural_order(
            p for p in path.glob("*.txt") if p.name != "labels.txt" and p.name[0] != "."
        )
    else:
        files = [path]
    if not files:
        raise FormatError(path, "expected detections in files SEQUENCE.txt, found none")
    for file in files:
        names = file.parent / "labels.txt"
        classes = read_class_names(names) if names.is_file() else MOT17_CLASSES
        yield DetectionFile(file.stem, classes, _detections(file, classes, found))


def _detections(path: Path, classes: tuple[str, ...], found: Found) -> SequenceDetections:
    rows = read_rows(path, found)
    good = _check(rows, path, classes, found)
    rows = rows if good.all() else rows.pick(good)
    order = np.argsort(rows.frames, kind="stable")
    boxes = rows.boxes_xywh[order]
    boxes[:, 2:] += boxes[:, :2]
    try:
        return SequenceDetections(
            rows.frames[order], boxes, rows.active[order], rows.classes[order] - 1
        )
    except DataError as error:  # numbers that no float32 holds
        raise FormatError(path, str(error)) from None


def _check(rows: Rows, path: Path, classes: tuple[str, ...], found: Found) -> NDArray[np.bool_]:
    """Rows that can be detections."""
    good = np.ones(len(rows.frames), np.bool_)
    boxes, scores = rows.boxes_xywh, rows.active
    checks = (
        ("frame", (rows.frames < 1) | (rows.frames > MAX_FRAMES), "a frame from 1", rows.frames),
        ("number", ~(np.abs(boxes) <= 1e9).all(axis=1), "a box in pixels", boxes),
        ("size", ~(boxes[:, 2:] > 0).all(axis=1), "a width and height above 0", boxes[:, 2:]),
        ("number", ~((scores >= 0) & (scores <= 1)), "a score of 0 to 1", scores),
        (
            "class",
            (rows.classes < 1) | (rows.classes > len(classes)),
            f"a class of labels.txt, 1 to {len(classes)}",
            rows.classes,
        ),
    )
    for kind, bad, expected, values in checks:
        for row in np.flatnonzero(bad & good).tolist():
            value = values[row].tolist()
            found(Fault(kind, path, f"expected {expected}, found {value}", int(rows.lines[row])))
        good &= ~bad
    return good


class DetectionFileWriter(WholeText):
    """Writes a detection file; it takes its name when the writing ends without an error.

    Numbers are written so that reading gives the very same back.

    Args:
        path: The file.

    Raises:
        OutputError: It cannot be written.
    """

    def write(self, frame: int, detections: Detections) -> None:
        """Add the detections of a frame, counted from 1; frames come in order.

        Raises:
            OutputError: The disk is full.
        """
        boxes = detections.boxes_xyxy.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]  # exact, and adding it again is too
        rows = zip(
            boxes.tolist(),
            detections.scores.astype(str).tolist(),
            detections.class_ids.tolist(),
            strict=True,
        )
        text = "".join(
            f"{frame},-1,{left!r},{top!r},{width!r},{height!r},{score},{class_id + 1},-1\n"
            for (left, top, width, height), score, class_id in rows
            if width > 0 and height > 0
        )
        self.add(text)


def write_detections(path: Path, detections: SequenceDetections) -> None:
    """Write a detection file; reading it gives the very same numbers back.

    Boxes without area are left out.

    Raises:
        OutputError: It cannot be written.
    """
    last = int(detections.frames.max(initial=0))
    with DetectionFileWriter(path) as writer:
        for number, found in enumerate(detections.by_frame(last), start=1):
            writer.write(number, found)
