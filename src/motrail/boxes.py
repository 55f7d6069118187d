"""Box layouts and overlap. The layout is in every name.

All boxes are float arrays of shape (n, 4) in pixels, origin at the top left of the image:

* ``xyxy``: left, top, right, bottom
* ``xywh``: left, top, width, height
* ``cxcywh``: centre x, centre y, width, height
* ``xyah``: centre x, centre y, aspect ratio (width / height), height
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

F = TypeVar("F", bound=np.floating)


def xyxy_to_xywh(boxes_xyxy: NDArray[F]) -> NDArray[F]:
    """Left, top, right, bottom → left, top, width, height; shape (n, 4)."""
    boxes_xywh = boxes_xyxy.copy()
    boxes_xywh[:, 2:] -= boxes_xyxy[:, :2]
    return boxes_xywh


def xywh_to_xyxy(boxes_xywh: NDArray[F]) -> NDArray[F]:
    """Left, top, width, height → left, top, right, bottom; shape (n, 4)."""
    boxes_xyxy = boxes_xywh.copy()
    boxes_xyxy[:, 2:] += boxes_xywh[:, :2]
    return boxes_xyxy


def xyxy_to_cxcywh(boxes_xyxy: NDArray[F]) -> NDArray[F]:
    """Left, top, right, bottom → centre x, centre y, width, height; shape (n, 4)."""
    boxes_cxcywh = xyxy_to_xywh(boxes_xyxy)
    boxes_cxcywh[:, :2] += boxes_cxcywh[:, 2:] / 2
    return boxes_cxcywh


def cxcywh_to_xyxy(boxes_cxcywh: NDArray[F]) -> NDArray[F]:
    """Centre x, centre y, width, height → left, top, right, bottom; shape (n, 4)."""
    boxes_xyxy = boxes_cxcywh.copy()
    half = boxes_cxcywh[:, 2:] / 2
    boxes_xyxy[:, :2] -= half
    boxes_xyxy[:, 2:] = boxes_cxcywh[:, :2] + half
    return boxes_xyxy


def xyxy_to_xyah(boxes_xyxy: NDArray[F]) -> NDArray[F]:
    """Left, top, right, bottom → centre x, centre y, width / height, height; shape (n, 4).

    A box of height 0 gets an infinite aspect ratio.
    """
    boxes_xyah = xyxy_to_cxcywh(boxes_xyxy)
    with np.errstate(divide="ignore", invalid="ignore"):
        boxes_xyah[:, 2] /= boxes_xyah[:, 3]
    return boxes_xyah


def xyah_to_xyxy(boxes_xyah: NDArray[F]) -> NDArray[F]:
    """Centre x, centre y, width / height, height → left, top, right, bottom; shape (n, 4)."""
    boxes_cxcywh = boxes_xyah.copy()
    boxes_cxcywh[:, 2] *= boxes_xyah[:, 3]
    return cxcywh_to_xyxy(boxes_cxcywh)


def iou_xyxy(a_xyxy: NDArray[F], b_xyxy: NDArray[F]) -> NDArray[F]:
    """Intersection over union of every box of `a_xyxy` (n, 4) with every box of `b_xyxy` (m, 4).

    Returns:
        Shape (n, m), values in [0, 1]; two boxes without area have IoU 0.
    """
    # Coordinate by coordinate: arrays whose last axis has two entries are slow.
    a_left, a_top, a_right, a_bottom = a_xyxy.T[:, :, None]
    b_left, b_top, b_right, b_bottom = b_xyxy.T[:, None, :]
    intersection: NDArray[F] = np.minimum(a_right, b_right) - np.maximum(a_left, b_left)
    height = np.minimum(a_bottom, b_bottom) - np.maximum(a_top, b_top)
    np.maximum(intersection, 0, out=intersection)
    np.maximum(height, 0, out=height)
    intersection *= height
    union = area_xyxy(a_xyxy)[:, None] + area_xyxy(b_xyxy)[None, :]
    union -= intersection
    iou: NDArray[F] = np.zeros_like(intersection)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def area_xyxy(boxes_xyxy: NDArray[F]) -> NDArray[F]:
    """Area in square pixels, shape (n,)."""
    area: NDArray[F] = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    return area


# --- pairs of boxes that overlap, without looking at all pairs ------------------------------------

LEFT, TOP, RIGHT, BOTTOM, AREA = range(5)

# Above this many pairs, sorting one edge and looking at neighbours beats looking at all pairs.
_DENSE_PAIRS = 6_000


class Pairs(NamedTuple):
    """Pairs of a box of one set (row) and a box of another (column), with their IoU."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    iou: NDArray[np.float64]


def overlapping_pairs(
    a: NDArray[np.float64], b: NDArray[np.float64], *, min_iou: float = 0.0
) -> Pairs:
    """Pairs of boxes that overlap, with their IoU.

    Args:
        a: Rows left, top, right, bottom and area, float64, shape (5 or more, n). What counts as
            the right side and the area is the caller's choice.
        b: The same, shape (5 or more, m).
        min_iou: Pairs with less IoU than this are not needed; they may be left out.

    Returns:
        Pairs with an IoU above 0; each pair once, in no particular order.
    """
    if a.shape[1] * b.shape[1] <= _DENSE_PAIRS:
        rows, columns, width, height = _overlap_dense(a, b)
    else:
        rows, columns, width, height = _overlap_sorted(a, b, min_iou)
    intersection = np.multiply(width, height, out=width)
    union = a[AREA].take(rows)
    union += b[AREA].take(columns)
    union -= intersection
    intersection /= union
    return Pairs(rows, columns, intersection)


_Overlap = tuple[
    "NDArray[np.intp]", "NDArray[np.intp]", "NDArray[np.float64]", "NDArray[np.float64]"
]


def _overlap_dense(a: NDArray[np.float64], b: NDArray[np.float64]) -> _Overlap:
    width = np.minimum(a[RIGHT][:, None], b[RIGHT])
    width -= np.maximum(a[LEFT][:, None], b[LEFT])
    height = np.minimum(a[BOTTOM][:, None], b[BOTTOM])
    height -= np.maximum(a[TOP][:, None], b[TOP])
    flat = (np.minimum(width, height) > 0).ravel().nonzero()[0]
    rows, columns = np.divmod(flat, b.shape[1])
    return rows, columns, width.take(flat), height.take(flat)


def _overlap_sorted(a: NDArray[np.float64], b: NDArray[np.float64], min_iou: float) -> _Overlap:
    # Two intervals overlap when one of them starts inside the other. Sorted by the start, those
    # that start inside a given interval stand in one run.
    a_core, a_core_end = _cores(a, min_iou)
    b_core, b_core_end = _cores(b, min_iou)
    axis = _sparser_axis(b)
    rows_b, columns_b = _starts_inside(a_core[axis], a_core_end[axis], b_core[axis], "left")
    columns_a, rows_a = _starts_inside(b_core[axis], b_core_end[axis], a_core[axis], "right")
    rows = np.concatenate((rows_b, rows_a))
    columns = np.concatenate((columns_b, columns_a))
    other = 1 - axis
    across = np.minimum(a_core_end[other].take(rows), b_core_end[other].take(columns))
    across -= np.maximum(a_core[other].take(rows), b_core[other].take(columns))
    near = (across > 0).nonzero()[0]
    rows, columns = rows[near], columns[near]
    sides = np.minimum(a[2:4].take(rows, axis=1), b[2:4].take(columns, axis=1))
    sides -= np.maximum(a[:2].take(rows, axis=1), b[:2].take(columns, axis=1))
    return rows, columns, sides[0], sides[1]


def _cores(
    boxes: NDArray[np.float64], min_iou: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middle of each box that the middle of another must touch for an IoU of `min_iou`.

    An IoU of t asks that along each axis the overlap is at least t times the longer side, so each
    side can be cut by t/2 at both ends.
    """
    # Up to 0.99, so that a rounding error neither turns a box inside out nor loses a pair.
    cut = (boxes[2:4] - boxes[:2]) * (0.5 * min(min_iou, 0.99) * (1 - 1e-9))
    return boxes[:2] + cut, boxes[2:4] - cut


def _sparser_axis(boxes: NDArray[np.float64]) -> int:
    """The axis along which fewer boxes overlap: the extent of a box against that of the scene."""
    extent = (boxes[2:4] - boxes[:2]).mean(axis=1)
    scene = boxes[2:4].max(axis=1) - boxes[:2].min(axis=1)
    return int(extent[0] * scene[1] > extent[1] * scene[0])


def _starts_inside(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    others: NDArray[np.float64],
    side: str,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (interval, other), the other starting in [start, end), or (start, end) for "right"."""
    order = np.argsort(others)
    ordered = others[order]
    first = np.searchsorted(ordered, start, side="left" if side == "left" else "right")
    count = np.searchsorted(ordered, end, side="left") - first
    np.maximum(count, 0, out=count)
    intervals = np.repeat(np.arange(len(start)), count)
    offsets = np.arange(len(intervals)) - np.repeat(np.cumsum(count) - count, count)
    return intervals, order[first[intervals] + offsets]
