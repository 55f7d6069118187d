"""How the camera moved between two frames, seen from the boxes alone.

Where a camera turns, moves or zooms, all boxes move with it. The common part of their motion is
found robustly, and the tracks are moved along before they are matched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.track.association import match, side
from motrail.track.motion import Motion

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 3
_FEWEST = 4
"""Boxes on either side, and pairs, below which nothing is said about the camera."""
_FEWEST_FOR_ZOOM = 8
_MATCH_THRESHOLD = 0.9
_HEIGHT_WEIGHT = 1.0
_INLIER = 0.15
"""A pair whose motion is off by less than this part of its height goes with the camera."""
_HAIR = 0.05
"""Boxes that move by less than this part of their height are not matched anew."""
_LARGEST_ZOOM = 0.05
_DOUBT = 3.0
"""With n pairs, n / (n + this) of the motion is believed."""


def motion_of_boxes(
    before: NDArray[np.float64],
    before_classes: NDArray[np.int64],
    after: NDArray[np.float64],
    after_classes: NDArray[np.int64],
    *,
    classes_apart: bool,
) -> Motion | None:
    """The motion of the camera, from what most boxes did beyond what was expected of them.

    Shift and zoom are fitted to the boxes that agree, three times over; with few boxes, the shift
    alone.

    Args:
        before: Where objects are expected: left, top, right, bottom, (4, n).
        before_classes: Of these, (n,).
        after: Where objects are, (4, m).
        after_classes: Of these, (m,).
        classes_apart: Whether only equal classes may be the same object.

    Returns:
        None where there are too few boxes.
    """
    if min(before.shape[1], after.shape[1]) < _FEWEST:
        return None
    centres = (before[:2] + before[2:]) * 0.5
    heights = before[3] - before[1]
    middle = centres.mean(axis=1)
    now = (after[:2] + after[2:]) * 0.5
    found = side(after, after_classes, None, pixel=0)
    shift, zoom, inliers = np.zeros(2), 0.0, 0
    matched_at: NDArray[np.float64] | None = None
    good_before: NDArray[np.bool_] | None = None
    for _ in range(_ROUNDS):
        motion = shift[:, None] + zoom * (centres - middle[:, None])
        if matched_at is None or _differs(motion, matched_at, heights):
            matched_at = motion
            rows, columns = match(
                side(before + np.tile(motion, (2, 1)), before_classes, None, pixel=0),
                found,
                _MATCH_THRESHOLD,
                weighted=False,
                classes=classes_apart,
                height_weight=_HEIGHT_WEIGHT,
            )
            if len(rows) < _FEWEST:
                return None
            away = centres[:, rows] - middle[:, None]
            error = now[:, columns] - centres[:, rows]
            good_before = None
        good = _agree(error - zoom * away, heights[rows])
        if good_before is not None and bool((good == good_before).all()):
            break
        good_before = good
        inliers = int(np.count_nonzero(good))
        if inliers >= _FEWEST_FOR_ZOOM:
            shift, zoom = _fit(away[:, good], error[:, good], heights[rows][good])
        else:
            shift, zoom = _median(error[:, good]), 0.0
    belief = inliers / (inliers + _DOUBT)
    shift, zoom = shift * belief, zoom * belief
    return Motion(np.eye(2) * (1 + zoom), shift - zoom * middle)


def _agree(rest: NDArray[np.float64], heights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the motions (2, n) are about the common one."""
    rest -= _median(rest)[:, None]
    off = np.hypot(rest[0], rest[1])
    off /= heights
    agree: NDArray[np.bool_] = off < max(_INLIER, 2 * float(_median(off)))
    return agree


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis; a few times faster than NumPy's for so few."""
    ordered = np.sort(values)
    half = ordered.shape[-1] // 2
    middle: NDArray[np.float64] = ordered[..., half]
    return middle if ordered.shape[-1] % 2 else (middle + ordered[..., half - 1]) * 0.5


def _differs(
    one: NDArray[np.float64], other: NDArray[np.float64], heights: NDArray[np.float64]
) -> bool:
    """Whether two motions would bring any box to another place, beyond a hair of its height."""
    return bool((np.abs(one - other) > _HAIR * heights).any())


def _fit(
    away: NDArray[np.float64], error: NDArray[np.float64], heights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Shift and zoom by least squares, weighted by 1 / height²."""
    weights = heights**-2
    weights /= weights.sum()
    mean_away, mean_error = away @ weights, error @ weights
    from_mean = away - mean_away[:, None]
    spread = float((weights * (from_mean**2)).sum())
    both = float((weights * from_mean * (error - mean_error[:, None])).sum())
    zoom = float(np.clip(both / spread if spread > 0 else 0.0, -_LARGEST_ZOOM, _LARGEST_ZOOM))
    return mean_error - zoom * mean_away, zoom
