"""Where objects stand: the foot of each box, and how far it can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.analyze.calibration import apply

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.analyze.calibration import Calibration

_EDGE = 1.0
"""Pixels from the edge of the picture at which a box counts as cut off by it."""
_FARTHEST = 1.0
"""Metres that a pixel may stand for. Nearer to the horizon a position says nothing."""


class Feet(NamedTuple):
    """The feet of boxes: the middles of their lower sides.

    Attributes:
        pixels: float64, shape (n, 2).
        xy: The same on the ground, in metres, or pixels without a calibration; NaN where that
            cannot be told; shape (n, 2).
        usable: Whether it is the object's foot that is seen, bool, shape (n,): not cut off by the
            picture's edge, and not at the horizon.
        axes: Direction on the ground of a step to the side in the picture, of length 1, and
            across it, shape (n, 2, 2).
        from_u: Variance along both axes of an error of one box height to the side, shape (n, 2).
        from_v: The same of an error along the height of the box.
    """

    pixels: NDArray[np.float64]
    xy: NDArray[np.float64]
    usable: NDArray[np.bool_]
    axes: NDArray[np.float64]
    from_u: NDArray[np.float64]
    from_v: NDArray[np.float64]


def place_feet(
    boxes_xywh: NDArray[np.float64],
    calibration: Calibration | None,
    size: tuple[int, int] | None,
) -> Feet:
    """Where the boxes stand.

    Args:
        boxes_xywh: In pixels, shape (n, 4).
        calibration: From pixels to metres; None to stay with pixels.
        size: Width and height of the pictures; None where it is not known.
    """
    left, top, width, height = boxes_xywh.T
    pixels = np.column_stack([left + width / 2, top + height])
    usable = np.ones(len(pixels), np.bool_)
    if size is not None:
        usable = (
            (left > _EDGE) & (left + width < size[0] - _EDGE) & (top + height < size[1] - _EDGE)
        )
    if calibration is None:
        slopes = np.broadcast_to(np.eye(2), (len(pixels), 2, 2))
        xy = pixels.copy()
    else:
        xy, slopes = _mapped(calibration.matrix, pixels)
        reach = np.abs(slopes).max(axis=(1, 2), initial=0)
        known = np.isfinite(reach) & (reach <= _FARTHEST)
        usable &= known
        xy[~known] = np.nan
        slopes = np.where(known[:, None, None], slopes, np.eye(2))
    aside, along = slopes[:, :, 0], slopes[:, :, 1]
    first = aside / np.maximum(np.hypot(*aside.T), 1e-12)[:, None]
    second = np.column_stack([-first[:, 1], first[:, 0]])
    axes = np.stack([first, second], axis=1)
    scale = height[:, None]
    from_u = (np.einsum("nij,nj->ni", axes, aside) * scale) ** 2
    from_v = (np.einsum("nij,nj->ni", axes, along) * scale) ** 2
    return Feet(pixels, xy, usable, axes, from_u, from_v)


def _mapped(
    matrix: NDArray[np.float64], pixels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points on the ground and the derivative there; NaN from the horizon on upwards."""
    depth = pixels @ matrix[2, :2] + matrix[2, 2]
    depth = np.where(depth > 1e-9, depth, np.nan)
    xy = apply(matrix, pixels)
    slopes = (matrix[None, :2, :2] - xy[:, :, None] * matrix[2, :2]) / depth[:, None, None]
    return xy, slopes
