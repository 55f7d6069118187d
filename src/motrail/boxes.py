"""Box layouts and overlap. The layout is in every name.

All boxes are float arrays of shape (n, 4) in pixels, origin at the top left of the image:

* ``xyxy``: left, top, right, bottom
* ``xywh``: left, top, width, height
* ``cxcywh``: centre x, centre y, width, height
* ``xyah``: centre x, centre y, aspect ratio (width / height), height
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

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
