"""What is wrong in a file of labels, and what is done about it: raise, or note it and go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import FormatError
from motrail.formats.labels import MAX_FRAMES

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels

    Place = int | str | None

_COUNTABLE = 64
"""So many times as many counters as rows are quicker than sorting the rows."""
_FAR = 1e9
"""Pixels that no box reaches."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as the format asks.

    Attributes:
        kind: `size`, `number`, `frame`, `duplicate`, `two-classes`, `class`, `visibility`,
            `image-size`, `json`, `layout` ….
        path: The file.
        message: What was expected, what was found.
        place: Line number counted from 1, a JSON path such as `annotations[3].bbox`, or None.
    """

    kind: str
    path: str | os.PathLike[str]
    message: str
    place: Place = None

    def error(self) -> FormatError:
        """The fault as an error."""
        if isinstance(self.place, int):
            return FormatError(self.path, self.message, line=self.place)
        return FormatError(self.path, self.message, where=self.place)


if TYPE_CHECKING:
    _Report = Callable[[str, object, Callable[[int], str]], None]
    Found = Callable[[Fault], None]
    """Told of each fault. When it returns, what is at fault is left out and reading goes on."""


def refuse(fault: Fault) -> None:
    """Raise the fault: the usual way to read.

    Raises:
        FormatError: Always.
    """
    raise fault.error()


def check_rows(
    labels: Labels,
    path: str | os.PathLike[str],
    place: Callable[[int], Place],
    found: Found = refuse,
    *,
    class_changes: bool = False,
) -> Labels:
    """See that rows can be true, one by one and together.

    Args:
        labels: What was read. Where `length` is 0, frames have no upper end.
        path: The file it came from.
        place: Says for a row of `labels` where it stands in the file.
        found: Told of each fault, first those of single rows in their order.
        class_changes: Whether an object may change its class.

    Returns:
        The rows without fault.

    Raises:
        FormatError: With the usual `found`, at the first fault.
    """
    good = np.ones(len(labels), np.bool_)

    def report(kind: str, bad: object, say: Callable[[int], str]) -> None:
        where = np.asarray(bad)
        for row in np.flatnonzero(where & good).tolist():
            found(Fault(kind, path, say(row), place(row)))
        good[where] = False

    boxes, frames = labels.boxes_xywh, labels.frames
    if not ((np.abs(boxes) <= _FAR).all() and (boxes[:, 2:] > 0).all()):  # in one go: it is quick
        _check_boxes(boxes, report)
    limit = labels.length or MAX_FRAMES
    report(
        "frame",
        (frames < 1) | (frames > limit),
        lambda row: f"expected a frame of the sequence, 1 to {limit}, found {frames[row]}",
    )
    shown = labels.visibility
    report(
        "visibility",
        ~(((shown >= 0) & (shown <= 1)) | (shown == -1)),
        lambda row: f"expected a visibility of 0 to 1, or -1 for unknown, found {shown[row]:g}",
    )
    if not _agree(labels, class_changes=class_changes):
        order = _check_once(labels, place, report)
        if not class_changes:
            _check_one_class(labels, place, report, order)
    return labels if good.all() else labels[good]


def _check_boxes(boxes: NDArray[np.float64], report: _Report) -> None:
    report(
        "number",
        ~np.isfinite(boxes).all(axis=1),
        lambda row: f"expected a box of finite numbers, found {_box(boxes[row])}",
    )
    report(
        "number",
        (np.abs(boxes) > _FAR).any(axis=1),
        lambda row: f"expected a box in pixels, found {_box(boxes[row])}",
    )
    report(
        "size",
        ~(boxes[:, 2:] > 0).all(axis=1),
        lambda row: f"expected a width and height above 0, found {_box(boxes[row, 2:])}",
    )


def _agree(labels: Labels, *, class_changes: bool) -> bool:
    """Whether rows agree with each other, as far as that is seen without sorting them."""
    known = labels.ids != -1
    frames, ids, class_ids = labels.frames, labels.ids, labels.class_ids
    if not known.all():
        frames, ids, class_ids = frames[known], ids[known], class_ids[known]
    if not len(ids):
        return True
    low, count = min(int(ids.min()), int(frames.min())), int(ids.max()) + 1
    if low < 0 or (int(frames.max()) + 1) * count > _COUNTABLE * len(ids):
        return False
    if np.bincount(frames * count + ids).max() > 1:
        return False
    class_of = np.zeros(count, np.int64)
    class_of[ids] = class_ids
    return class_changes or bool((class_of[ids] == class_ids).all())


def _check_once(
    labels: Labels,
    place: Callable[[int], Place],
    report: _Report,
) -> NDArray[np.intp]:
    """See that an object is in a frame once; rows of objects with an id, by id and frame."""
    frames, ids = labels.frames, labels.ids
    order: NDArray[np.intp] = np.lexsort(
        (frames, ids)
    )  # stable: rows of one object and frame stay in their order
    order = order[ids[order] != -1]
    again = np.zeros(len(ids), np.bool_)
    before = np.zeros(len(ids), np.int64)
    same = (ids[order][1:] == ids[order][:-1]) & (frames[order][1:] == frames[order][:-1])
    again[order[1:][same]] = True
    before[order[1:][same]] = order[:-1][same]
    report(
        "duplicate",
        again,
        lambda row: (
            f"expected object {ids[row]} once in frame {frames[row]}, "
            f"found it again (first: {_name(place(int(before[row])))})"
        ),
    )
    return order


def _check_one_class(
    labels: Labels,
    place: Callable[[int], Place],
    report: _Report,
    order: NDArray[np.intp],
) -> None:
    ids, class_ids = labels.ids, labels.class_ids
    if not len(order):
        return
    before = np.zeros(len(ids), np.int64)
    starts = np.flatnonzero(np.append(True, ids[order][1:] != ids[order][:-1]))
    first = np.repeat(np.minimum.reduceat(order, starts), np.diff(np.append(starts, len(order))))
    other = np.zeros(len(ids), np.bool_)
    other[order] = class_ids[order] != class_ids[first]
    before[order] = first
    report(
        "two-classes",
        other,
        lambda row: (
            f"expected object {ids[row]} to stay {_class(labels, int(before[row]))!r} as at first "
            f"({_name(place(int(before[row])))}), found {_class(labels, row)!r}; "
            "an id belongs to one object of one class"
        ),
    )


def _class(labels: Labels, row: int) -> str:
    return labels.classes[int(labels.class_ids[row])]


def _name(place: Place) -> str:
    return f"line {place}" if isinstance(place, int) else str(place)


def _box(numbers: NDArray[np.float64]) -> str:
    return " × ".join(f"{n:g}" for n in numbers) if len(numbers) == 2 else _list(numbers)


def _list(numbers: NDArray[np.float64]) -> str:
    return ", ".join(f"{n:g}" for n in numbers)
