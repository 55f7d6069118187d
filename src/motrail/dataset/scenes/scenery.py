"""Things that stand still: posts, bars and plates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.render import Brush, Sprite, in_picture, tinted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera
    from motrail.dataset.scenes.render import Color

Point = tuple[float, float, float]
_NEAREST = 0.5


def bars(
    camera: Camera, ends: Sequence[tuple[Point, Point]], color: Color, radius: float
) -> list[Sprite]:
    """Round bars as one thing, as far away as the ground under the middle of the first."""
    points = np.array(ends, np.float64)
    pixels, depth = camera.project(points)
    sizes = radius * camera.focal / np.maximum(depth.mean(axis=1), _NEAREST)
    low, high = pixels.min(axis=(0, 1)) - sizes.max(), pixels.max(axis=(0, 1)) + sizes.max()
    if depth.min() < _NEAREST or not in_picture(camera, low, high):
        return []
    brush = Brush(low, high)
    lit = pixels - 0.2 * sizes[:, None, None]
    strokes = np.stack([pixels, lit], axis=1).reshape(-1, 2, 2)
    widths = np.stack([sizes, 0.6 * sizes], axis=1).reshape(-1)
    brush.limbs(strokes, widths, [tinted(color, 0.8), color] * len(ends))
    return [brush.sprite(ground_depth(camera, points[0].mean(axis=0)))]


def plate(camera: Camera, corners: Sequence[Point], color: Color) -> list[Sprite]:
    """A flat thing with the given outline."""
    points = np.array(corners, np.float64)
    pixels, depth = camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if depth.min() < _NEAREST or not in_picture(camera, low, high):
        return []
    brush = Brush(low, high)
    brush.polygons(pixels, [range(len(pixels))], [color])
    return [brush.sprite(ground_depth(camera, points.mean(axis=0)))]


def ground_depth(camera: Camera, point: NDArray[np.float64]) -> float:
    """How far away the ground under a point is, in metres."""
    return float(camera.project(point * (1.0, 1.0, 0.0))[1])
