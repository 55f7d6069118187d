"""How the camera and the objects move from one picture to the next: sparse optical flow.

Pyramidal Lucas-Kanade with a check there and back, and the median of the points of a box: Kalal et
al., "Forward-Backward Error: Automatic Detection of Tracking Failures", ICPR 2010.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "label", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WINDOW = (13, 13)
_LEVELS = 3
_BACK = 1.0
"""Pixels by which a point may miss itself when followed there and back."""
_GRID = (6, 9)
_ENOUGH = 6
_PLENTY = 12
_PLACE_POINTS = 160
_STILL = 0.08
"""Pixels that the corners of the picture must move by for the camera to have moved."""


class Flow(NamedTuple):
    """How boxes moved.

    Attributes:
        shift: Right and down in pixels, float64, shape (n, 2).
        scale: float64, shape (n,).
        share: Share of the points that were found again and go together, 0 to 1, shape (n,).
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    share: NDArray[np.float64]


class View:
    """A picture, ready to be compared with others.

    Args:
        number: Of the frame, from 1.
        image: BGR, uint8, shape (height, width, 3).
    """

    def __init__(self, number: int, image: NDArray[np.uint8]) -> None:
        self.number = number
        self.image = image
        self.grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def follow_points(
    before: View, after: View, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (n, 2) of a picture are in the next, and which of them can be believed."""
    if not len(points):
        return points, np.zeros(0, np.bool_)
    window: dict[str, object] = {"winSize": _WINDOW, "maxLevel": _LEVELS}
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before.grey,
        after.grey,
        points[:, None],
        None,
        **window,  # type: ignore[call-overload]
    )
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(
        after.grey,
        before.grey,
        there,
        None,
        **window,  # type: ignore[call-overload]
    )
    missed = np.abs(back[:, 0] - points).max(axis=1)
    good = (found[:, 0] == 1) & (found_back[:, 0] == 1) & (missed < _BACK)
    return there[:, 0], good


def camera_motion(
    before: View, after: View, boxes_xyxy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The affine matrix (3, 3) that carries the place from one picture to the next.

    Args:
        before: The one.
        after: The next.
        boxes_xyxy: What moves by itself, float64, shape (n, 4).
    """
    still = np.eye(3)
    height, width = before.grey.shape
    small = cv2.resize(
        before.grey, (max(width // 4, 16), max(height // 4, 16)), interpolation=cv2.INTER_AREA
    )
    free = np.full(small.shape, 255, np.uint8)
    for left, top, right, bottom in (boxes_xyxy / 4).clip(0).astype(int).tolist():
        free[max(top - 1, 0) : bottom + 2, max(left - 1, 0) : right + 2] = 0
    corners = cv2.goodFeaturesToTrack(small, _PLACE_POINTS, 0.005, 8, mask=free)
    if corners is None or len(corners) < 12:  # type: ignore[redundant-expr]
        return still
    points = np.asarray(corners[:, 0] * 4 + 1.5, np.float32)
    there, good = follow_points(before, after, points)
    if good.sum() < 12:
        return still
    matrix, kept = cv2.estimateAffine2D(
        points[good], there[good], method=cv2.RANSAC, ransacReprojThreshold=1.0
    )
    if matrix is None or kept.sum() < 0.4 * good.sum():  # type: ignore[redundant-expr]
        return still
    moved = np.vstack([matrix, [0.0, 0, 1]])
    edges = np.array([[0.0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    if np.abs(edges @ moved.T - edges).max() < _STILL * 10:
        shift = np.median(there[good] - points[good], axis=0)
        if np.abs(shift).max() < _STILL:
            return still
    return moved


def box_flow(
    before: View,
    after: View,
    boxes_xyxy: NDArray[np.float64],
    hidden: Sequence[NDArray[np.float64]],
    camera: NDArray[np.float64],
) -> Flow:
    """How the boxes of a picture move to the next one.

    Args:
        before: The picture with the boxes.
        after: The next.
        boxes_xyxy: float64, shape (n, 4).
        hidden: For each box those in front of it, float64, shape (m, 4).
        camera: What `camera_motion` said; points that move like the place count less.
    """
    count = len(boxes_xyxy)
    points = _grid(boxes_xyxy)
    height, width = before.grey.shape
    inside = (points > 2) & (points < np.array([width - 3, height - 3]))
    usable = np.asarray(inside.all(axis=2))
    for row, front in enumerate(hidden):
        for box in front:
            usable[row] &= ~((points[row] > box[:2]) & (points[row] < box[2:])).all(axis=1)
    which = np.nonzero(usable)
    start = points[which].astype(np.float32)
    there, good = follow_points(before, after, start)
    shift, scale, share = np.zeros((count, 2)), np.ones(count), np.zeros(count)
    placed = start @ camera[:2, :2].T + camera[:2, 2]
    own = np.hypot(*(there - placed).T) > 0.6
    for row in range(count):
        rows = np.flatnonzero((which[0] == row) & good)
        moving = rows[own[rows]]
        # An object that moves by itself shows at a third of its points or more.
        rows = moving if len(moving) >= max(_ENOUGH, 0.3 * len(rows)) else rows
        if len(rows) >= _ENOUGH:
            shift[row], scale[row], share[row] = _common(start[rows], there[rows])
            share[row] *= min(1.0, len(rows) / _PLENTY)
    return Flow(shift, scale, share)


def _grid(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points spread over the inner part of each box, shape (n, points, 2)."""
    across, down = (np.linspace(0.14, 0.86, size) for size in _GRID)
    places = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    extent = boxes_xyxy[:, None, 2:] - boxes_xyxy[:, None, :2]
    return np.asarray(boxes_xyxy[:, None, :2] + places * extent)


def _common(
    before: NDArray[np.float32], after: NDArray[np.float32]
) -> tuple[NDArray[np.float64], float, float]:
    """Median shift and scale, and the share of points that go with them."""
    moves = (after - before).astype(np.float64)
    shift = np.median(moves, axis=0)
    near = np.hypot(*(moves - shift).T) < 3
    if near.sum() < _ENOUGH:
        return shift, 1.0, 0.5
    first, second = np.triu_indices(int(near.sum()), 1)
    old = np.hypot(*(before[near][first] - before[near][second]).T)
    new = np.hypot(*(after[near][first] - after[near][second]).T)
    far = old > 4
    scale = float(np.median(new[far] / old[far])) if far.any() else 1.0
    return np.median(moves[near], axis=0), float(np.clip(scale, 0.97, 1.03)), float(near.mean())
