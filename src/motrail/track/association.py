"""Which track belongs to which box: overlap, gating and the assignment.

Boxes are float64 columns left, top, right, bottom of shape (4, n): a coordinate of all boxes lies
together in memory. Only pairs that overlap are ever looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Above this many pairs, sorting one edge and looking at neighbours beats looking at all pairs.
_DENSE_PAIRS = 6_000


class Pairs(NamedTuple):
    """Candidate pairs of a row (track) and a column (box)."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    iou: NDArray[np.float64]


def overlapping_pairs(a: NDArray[np.float64], b: NDArray[np.float64]) -> Pairs:
    """All pairs of boxes that overlap, with their IoU counted on inclusive pixels.

    A box from pixel 10 to pixel 19 is 10 pixels wide, so 1 is added to every side. That is what
    the published ByteTrack does in association.

    Args:
        a: Left, top, right, bottom, shape (4, n).
        b: The same, shape (4, m).

    Returns:
        Pairs with an IoU above 0; each pair once, in no particular order.
    """
    a_end, b_end = a[2:] + 1, b[2:] + 1
    if a.shape[1] * b.shape[1] <= _DENSE_PAIRS:
        rows, columns, width, height = _overlap_dense(a, a_end, b, b_end)
    else:
        rows, columns, width, height = _overlap_sorted(a, a_end, b, b_end)
    intersection = width * height
    area_a = (a_end[0] - a[0]) * (a_end[1] - a[1])
    area_b = (b_end[0] - b[0]) * (b_end[1] - b[1])
    union = area_a[rows] + area_b[columns] - intersection
    return Pairs(rows, columns, intersection / union)


_Overlap = tuple[
    "NDArray[np.intp]", "NDArray[np.intp]", "NDArray[np.float64]", "NDArray[np.float64]"
]


def _overlap_dense(
    a: NDArray[np.float64],
    a_end: NDArray[np.float64],
    b: NDArray[np.float64],
    b_end: NDArray[np.float64],
) -> _Overlap:
    width = np.minimum(a_end[0][:, None], b_end[0])
    width -= np.maximum(a[0][:, None], b[0])
    height = np.minimum(a_end[1][:, None], b_end[1])
    height -= np.maximum(a[1][:, None], b[1])
    flat = (np.minimum(width, height) > 0).ravel().nonzero()[0]
    rows, columns = np.divmod(flat, b.shape[1])
    return rows, columns, width.ravel()[flat], height.ravel()[flat]


def _overlap_sorted(
    a: NDArray[np.float64],
    a_end: NDArray[np.float64],
    b: NDArray[np.float64],
    b_end: NDArray[np.float64],
) -> _Overlap:
    # Two intervals overlap when one of them starts inside the other. Sorted by the start, those
    # that start inside a given interval stand in one run.
    axis = _sparser_axis(b, b_end)
    rows_b, columns_b = _starts_inside(a[axis], a_end[axis], b[axis], "left")
    columns_a, rows_a = _starts_inside(b[axis], b_end[axis], a[axis], "right")
    rows = np.concatenate((rows_b, rows_a))
    columns = np.concatenate((columns_b, columns_a))
    other = 1 - axis
    across = np.minimum(a_end[other][rows], b_end[other][columns])
    across -= np.maximum(a[other][rows], b[other][columns])
    keep = (across > 0).nonzero()[0]
    rows, columns, across = rows[keep], columns[keep], across[keep]
    along = np.minimum(a_end[axis][rows], b_end[axis][columns])
    along -= np.maximum(a[axis][rows], b[axis][columns])
    return (rows, columns, along, across) if axis == 0 else (rows, columns, across, along)


def _sparser_axis(b: NDArray[np.float64], b_end: NDArray[np.float64]) -> int:
    """The axis along which fewer boxes overlap: the extent of a box against that of the scene."""
    extent = (b_end - b[:2]).mean(axis=1)
    scene = b_end.max(axis=1) - b[:2].min(axis=1)
    return int(extent[0] * scene[1] > extent[1] * scene[0])


def _starts_inside(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    others: NDArray[np.float64],
    side: str,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (interval, other) where `others` starts in [start, end), or (start, end) for "right"."""
    order = np.argsort(others)
    ordered = others[order]
    first = np.searchsorted(ordered, start, side="left" if side == "left" else "right")
    count = np.searchsorted(ordered, end, side="left") - first
    np.maximum(count, 0, out=count)
    intervals = np.repeat(np.arange(len(start)), count)
    offsets = np.arange(len(intervals)) - np.repeat(np.cumsum(count) - count, count)
    return intervals, order[first[intervals] + offsets]


class Side(NamedTuple):
    """One side of an association: the tracks or the boxes.

    Attributes:
        boxes: Left, top, right, bottom, shape (4, n).
        classes: Only equal classes match, shape (n,); None if classes do not matter.
        weights: What the IoU with these boxes is multiplied by, shape (n,); None for 1.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None

    def pick(self, which: slice | NDArray[np.intp]) -> Side:
        """Some of the rows."""
        return Side(
            self.boxes[:, which],
            None if self.classes is None else self.classes[which],
            None if self.weights is None else self.weights[which],
        )


def match(
    tracks: Side, found: Side, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Match tracks to boxes at the smallest sum of (cost − threshold), cost 1 − IoU · weight.

    Returns:
        Rows of `tracks` and rows of `found` that belong together.
    """
    shape = tracks.boxes.shape[1], found.boxes.shape[1]
    if not (shape[0] and shape[1]):
        return _NONE, _NONE
    rows, columns, gain = overlapping_pairs(tracks.boxes, found.boxes)
    if found.weights is not None:
        gain *= found.weights[columns]
    gain -= 1 - threshold
    near = (gain > 0).nonzero()[0]
    rows, columns, gain = rows[near], columns[near], gain[near]
    if tracks.classes is not None and found.classes is not None:
        alike = tracks.classes[rows] == found.classes[columns]
        if not alike.all():
            rows, columns, gain = rows[alike], columns[alike], gain[alike]
    return assign(rows, columns, gain, shape)


_NONE = np.empty(0, np.intp)


def assign(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    gain: NDArray[np.float64],
    shape: tuple[int, int],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The one-to-one matching with the largest sum of gains.

    With gain = threshold − cost this is the assignment that minimises the sum of
    (cost − threshold) over its matches, as `lap.lapjv` does with a cost limit.

    Args:
        rows: Row of each allowed pair, counted from 0, shape (p,).
        columns: Its column, shape (p,).
        gain: What it is worth, above 0, shape (p,).
        shape: Number of rows and columns.

    Returns:
        Rows and columns of the matches.
    """
    matched: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    while len(rows):
        # A pair worth more than everything else in its row and in its column together is in
        # every best matching: swapping it in costs at most one pair of each. In a real scene
        # this settles nearly all of them at once.
        per_row = np.bincount(rows, gain, shape[0])
        per_column = np.bincount(columns, gain, shape[1])
        sure = 3 * gain > per_row[rows] + per_column[columns]
        if not sure.any():
            matched.append(_assign_exactly(rows, columns, gain))
            break
        settled = rows[sure], columns[sure]
        matched.append(settled)
        if len(settled[0]) == len(rows):
            break
        open_rows, open_columns = np.ones(shape[0], np.bool_), np.ones(shape[1], np.bool_)
        open_rows[settled[0]] = False
        open_columns[settled[1]] = False
        still = (open_rows[rows] & open_columns[columns]).nonzero()[0]
        rows, columns, gain = rows[still], columns[still], gain[still]
    if len(matched) == 1:
        return matched[0]
    if not matched:
        return rows, columns
    return np.concatenate([m[0] for m in matched]), np.concatenate([m[1] for m in matched])


def _assign_exactly(
    rows: NDArray[np.intp], columns: NDArray[np.intp], gain: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Solve what is left as a dense assignment problem."""
    row_ids, row = np.unique(rows, return_inverse=True)
    column_ids, column = np.unique(columns, return_inverse=True)
    cost = np.zeros((len(row_ids), len(column_ids)))
    cost[row, column] = -gain
    r, c = linear_sum_assignment(cost)
    kept = cost[r, c] < 0
    return row_ids[r[kept]], column_ids[c[kept]]
