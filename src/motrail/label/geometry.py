"""How boxes lie to each other, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def row_iou(one_xywh: NDArray[np.float64], other_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of two boxes in each row, left, top, width, height; 0 where one is NaN.

    Shapes (n, 4) and (n, 4) → (n,).
    """
    low = np.maximum(one_xywh[:, :2], other_xywh[:, :2])
    high = np.minimum(one_xywh[:, :2] + one_xywh[:, 2:], other_xywh[:, :2] + other_xywh[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    union = one_xywh[:, 2:].prod(axis=1) + other_xywh[:, 2:].prod(axis=1) - shared
    return np.asarray(np.nan_to_num(shared / np.maximum(union, 1e-9)))


def cover(box_xyxy: NDArray[np.float64], others_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a box (4,) that each of others (n, 4) covers, shape (n,)."""
    low = np.maximum(others_xyxy[:, :2], box_xyxy[:2])
    high = np.minimum(others_xyxy[:, 2:], box_xyxy[2:])
    area = max(float((box_xyxy[2:] - box_xyxy[:2]).prod()), 1e-9)
    return np.asarray((high - low).clip(0).prod(axis=1) / area)


def away(boxes_xyxy: NDArray[np.float64], planned_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far boxes are from where they are planned to be, in heights; 0 where that is NaN.

    Shapes (n, 4) and (n, 4) → (n,).
    """
    moved = boxes_xyxy - planned_xyxy
    height = planned_xyxy[:, 3] - planned_xyxy[:, 1]
    return np.asarray(np.nan_to_num(np.hypot(*((moved[:, :2] + moved[:, 2:]) / 2).T) / height))
