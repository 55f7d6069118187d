"""Surfaces: noise that repeats without a seam, lines of exact width, colours of the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera

_SIDE = 512


def ground_points(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the ray of each pixel meets the ground.

    Returns:
        Distance along `Camera.rays`, infinite above the horizon, shape (height, width), and the
        rays themselves, shape (height, width, 3).
    """
    rays = camera.rays()
    falling = rays[..., 2] < -1e-9
    reach = np.full(rays.shape[:2], np.inf)
    np.divide(-camera.position[2], rays[..., 2], out=reach, where=falling)
    return reach, rays


def noise_tile(rng: np.random.Generator, cells: float) -> NDArray[np.float32]:
    """A square of smooth noise, mean 0 and deviation 1, that repeats without a seam.

    Args:
        rng: Where the noise comes from.
        cells: Size of its grains in pixels of the tile, whose side is 512.
    """
    raw = rng.standard_normal((_SIDE, _SIDE), np.float32)
    if cells > 0.5:
        margin = min(_SIDE, int(4 * cells) + 1)
        wide = np.pad(raw, margin, mode="wrap")
        raw = np.asarray(cv2.GaussianBlur(wide, (0, 0), cells), np.float32)
        raw = raw[margin:-margin, margin:-margin]
    return np.asarray((raw - raw.mean()) / raw.std(), np.float32)


def sampled(
    tile: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], size: float
) -> NDArray[np.float32]:
    """The tile laid over a plane, each `size` metres wide, at points given in metres."""
    pixels = _SIDE / size
    across = np.mod(x * pixels, _SIDE).astype(np.float32)
    along = np.mod(y * pixels, _SIDE).astype(np.float32)
    # One column and row more, so that remap finds a neighbour at the seam.
    wide = np.pad(tile, (0, 1), mode="wrap")
    return np.asarray(cv2.remap(wide, across, along, cv2.INTER_LINEAR), np.float32)


def footprint(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much a value changes from one pixel to the next, shape (height, width)."""
    down, right = np.gradient(values)
    return np.asarray(np.maximum(np.hypot(down, right), 1e-9), np.float64)


def stroke(
    distance: NDArray[np.float64], signed: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """Coverage of each pixel, 0 to 1, by a line.

    Args:
        distance: From the middle of the line, 0 or more.
        signed: The same with different signs on its two sides, so that it changes steadily.
        width: Of the line.
    """
    pixel = footprint(signed)
    inside = 0.5 + (width / 2 - distance) / pixel
    return np.clip(np.minimum(inside, width / pixel), 0, 1)


def edge(inward: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coverage of each pixel, 0 to 1, by the area in which `inward` is positive."""
    return np.clip(0.5 + inward / footprint(inward), 0, 1)


def line_stroke(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
) -> NDArray[np.float64]:
    """Coverage of each pixel, 0 to 1, by a line from `start` to `end` with round ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = float(np.hypot(dx, dy))
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / length**2, 0, 1)
    distance = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
    signed = ((x - start[0]) * dy - (y - start[1]) * dx) / length
    return stroke(distance, signed, width)


def ring_stroke(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    center: tuple[float, float],
    radius: float,
    width: float,
) -> NDArray[np.float64]:
    """Coverage of each pixel, 0 to 1, by a circle."""
    signed = np.hypot(x - center[0], y - center[1]) - radius
    return stroke(np.abs(signed), signed, width)


def box_inward(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    low: tuple[float, float],
    high: tuple[float, float],
) -> NDArray[np.float64]:
    """Distance of points to the sides of a rectangle, positive inside."""
    across = np.minimum(x - low[0], high[0] - x)
    along = np.minimum(y - low[1], high[1] - y)
    return np.minimum(across, along)


def mix(
    image: NDArray[np.float64],
    color: tuple[float, float, float] | NDArray[np.float64],
    coverage: NDArray[np.float64],
) -> None:
    """Lay a colour over `image`, which is changed, where and as far as it covers."""
    image += (np.asarray(color) - image) * coverage[..., None]
