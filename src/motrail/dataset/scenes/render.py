"""Objects as patches with coverage, painted from the far to the near.

A patch is drawn several times larger without smoothing and reduced by area, so that its coverage
is the share of each pixel that the object fills. An object's pixels are those that it covers at
least half as much as the one it covers most: half, but for small things blurred by their motion.
Boxes and visibility are taken from these pixels, never from the object's plan.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera

Color = tuple[float, float, float]
"""Blue, green, red, 0 to 255."""

SCENERY = -1
_SHIFT = 4
_MAX_PATCH = 6_000_000
"""Pixels of the enlarged patch; what is larger is drawn at a smaller enlargement."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A drawn object.

    Attributes:
        patch: Blue, green, red, coverage, multiplied by the coverage; uint8, shape (h, w, 4).
        left: Column of the picture at which the patch begins; may lie outside.
        top: Row of the picture at which the patch begins.
        depth: How far away; the smaller is painted over the larger.
        owner: Row of the object, or `SCENERY`.
        motion: Movement during the exposure in pixels, by which the patch is blurred.
    """

    patch: NDArray[np.uint8]
    left: int
    top: int
    depth: float
    owner: int = SCENERY
    motion: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """The truth that comes from painting, a row for each object; NaN and 0 where not drawn.

    Attributes:
        boxes_xywh: Extent of the object's pixels, the hidden and the outside ones included.
        whole: Number of the object's pixels.
        inside: Number of those that lie in the picture.
        seen: Number of those that nothing hides.
        owners: Row of the object that each pixel shows, or `SCENERY`; int32, (height, width).
    """

    boxes_xywh: NDArray[np.float64]
    whole: NDArray[np.int64]
    inside: NDArray[np.int64]
    seen: NDArray[np.int64]
    owners: NDArray[np.int32]


class Brush:
    """Draws into a patch, in the picture's pixels."""

    def __init__(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        self.left, self.top = (math.floor(value) - 2 for value in low)
        width = math.ceil(high[0]) + 2 - self.left
        height = math.ceil(high[1]) + 2 - self.top
        scale = min(4, max(2, math.ceil(240 / height)))
        while scale > 1 and width * height * scale * scale > _MAX_PATCH:
            scale -= 1
        self._scale = scale
        self._size = (width, height)
        self._canvas = np.zeros((height * scale, width * scale, 4), np.uint8)

    def _points(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        moved = (points - (self.left, self.top)) * self._scale - 0.5
        return np.asarray(np.rint(moved * (1 << _SHIFT)), np.int32)

    def limb(
        self, start: NDArray[np.float64], end: NDArray[np.float64], radius: float, color: Color
    ) -> None:
        """A stroke with round ends."""
        self.limbs(np.stack([start, end])[None], np.array([radius]), [color])

    def limbs(
        self, ends: NDArray[np.float64], radii: NDArray[np.float64], colors: Sequence[Color]
    ) -> None:
        """Strokes with round ends, shape (n, 2, 2), of radii (n,), one over the other."""
        lines = self._points(ends).tolist()
        widths = np.maximum(1, np.rint(2 * radii * self._scale)).astype(np.int64).tolist()
        for (first, last), width, color in zip(lines, widths, colors, strict=True):
            cv2.line(self._canvas, first, last, (*color, 255), width, cv2.LINE_8, _SHIFT)

    def disc(self, center: NDArray[np.float64], radius: float, color: Color) -> None:
        """A filled circle."""
        middle = self._points(center).tolist()
        size = round(radius * self._scale * (1 << _SHIFT))
        cv2.circle(self._canvas, middle, size, (*color, 255), cv2.FILLED, cv2.LINE_8, _SHIFT)

    def polygons(
        self,
        points: NDArray[np.float64],
        outlines: Sequence[Sequence[int]],
        colors: Sequence[Color],
    ) -> None:
        """Filled outlines, one over the other; each lists rows of `points`, shape (n, 2)."""
        corners = self._points(points)
        for outline, color in zip(outlines, colors, strict=True):
            ring = [corners[outline]]
            cv2.fillPoly(self._canvas, ring, (*color, 255), cv2.LINE_8, _SHIFT)

    def sprite(
        self, depth: float, owner: int = SCENERY, motion: tuple[float, float] = (0.0, 0.0)
    ) -> Sprite:
        """What was drawn, at the picture's size."""
        patch = self._canvas
        if self._scale > 1:
            patch = _uint8(cv2.resize(patch, self._size, interpolation=cv2.INTER_AREA))
        return Sprite(patch, self.left, self.top, depth, owner, motion)


def paint(image: NDArray[np.uint8], sprites: Sequence[Sprite], count: int) -> Painted:
    """Paint sprites over `image`, which is changed, and measure `count` objects."""
    boxes = np.full((count, 4), np.nan)
    whole = np.zeros(count, np.int64)
    inside = np.zeros(count, np.int64)
    owners = np.full(image.shape[:2], SCENERY, np.int32)
    for sprite in sorted(sprites, key=lambda one: (-one.depth, one.owner)):
        blurred = smeared(sprite)
        mask = solid(blurred)
        if blurred.owner != SCENERY:
            boxes[blurred.owner] = extent(blurred)
            whole[blurred.owner] = np.count_nonzero(mask)
        rows, columns, part = _overlap(blurred, image.shape[:2])
        if not part.size:
            continue
        if blurred.owner != SCENERY:
            inside[blurred.owner] = np.count_nonzero(mask[rows, columns])
        y, x = blurred.top + rows.start, blurred.left + columns.start
        where = np.s_[y : y + part.shape[0], x : x + part.shape[1]]
        _blend(image[where], part)
        owners[where][mask[rows, columns]] = blurred.owner
    seen = np.bincount(owners.ravel() + 1, minlength=count + 1)[1:].astype(np.int64)
    return Painted(boxes, whole, inside, seen, owners)


def solid(sprite: Sprite) -> NDArray[np.bool_]:
    """Which pixels of the patch belong to the object, bool, shape (h, w)."""
    coverage = sprite.patch[..., 3]
    return np.asarray(coverage >= _threshold(coverage), np.bool_)


def _threshold(coverage: NDArray[np.uint8]) -> int:
    return max(1, (int(coverage.max(initial=0)) + 1) // 2)


def extent(sprite: Sprite) -> NDArray[np.float64]:
    """Left, top, width, height of an object's pixels, float64, shape (4,).

    A side lies within half a pixel of the outermost of the object's pixels: their coverage and
    that of the pixels next to them tell where in between.
    """
    coverage = sprite.patch[..., 3]
    threshold = _threshold(coverage)
    full = int(coverage.max())
    left, right = _ends(coverage.max(axis=0), threshold, full)
    top, bottom = _ends(coverage.max(axis=1), threshold, full)
    return np.array([sprite.left + left, sprite.top + top, right - left, bottom - top])


def _ends(profile: NDArray[np.uint8], threshold: int, full: int) -> tuple[float, float]:
    covered = np.flatnonzero(profile >= threshold)
    first, last = int(covered[0]), int(covered[-1])
    share = np.zeros(len(profile) + 2)
    share[1:-1] = profile / full
    start = first + 1 - share[first + 1] - share[first]
    end = last + share[last + 1] + share[last + 2]
    return float(start), float(end)


def smeared(sprite: Sprite) -> Sprite:
    """The sprite as it looks when it moves by `motion` while the shutter is open."""
    dx, dy = sprite.motion
    length = math.hypot(dx, dy)
    if length < 0.5:
        return sprite
    reach = math.ceil(max(abs(dx), abs(dy)) / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    steps = 4 * math.ceil(length) + 1
    along = np.linspace(-0.5, 0.5, steps)
    x, y = reach + along * dx, reach + along * dy
    column, row = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, down = x - column, y - row
    for i, j, weight in (
        (0, 0, (1 - down) * (1 - right)),
        (0, 1, (1 - down) * right),
        (1, 0, down * (1 - right)),
        (1, 1, down * right),
    ):
        np.add.at(kernel, (row + i, column + j), weight / steps)
    padded = cv2.copyMakeBorder(
        sprite.patch, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
    )
    patch = cv2.filter2D(padded, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    return dataclasses.replace(
        sprite,
        patch=_uint8(patch),
        left=sprite.left - reach,
        top=sprite.top - reach,
        motion=(0.0, 0.0),
    )


def warped(sprite: Sprite, matrix: NDArray[np.float64], size: tuple[int, int]) -> Sprite | None:
    """The sprite as another camera in the same place sees it; None when outside its picture.

    Args:
        sprite: As the first camera sees it.
        matrix: From the first camera's pixels to the second's, see `Camera.pixels_of`.
        size: Width and height of the second camera's picture.
    """
    rows, columns = sprite.patch.shape[:2]
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float64)
    corners += (sprite.left, sprite.top)
    moved = np.column_stack([corners, np.ones(4)]) @ matrix.T
    moved = moved[:, :2] / moved[:, 2:]
    left, top = (int(value) for value in np.floor(np.maximum(moved.min(axis=0) - 1, 0)))
    right, bottom = (int(value) for value in np.ceil(np.minimum(moved.max(axis=0) + 1, size)))
    if right <= left or bottom <= top:
        return None
    into = shift(-left, -top) @ matrix @ shift(sprite.left, sprite.top)
    patch = warp(sprite.patch, into, (right - left, bottom - top), cv2.BORDER_CONSTANT)
    return dataclasses.replace(sprite, patch=patch, left=left, top=top)


def warp(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], border: int
) -> NDArray[np.uint8]:
    """`cv2.warpPerspective` by a matrix between continuous pixels."""
    # OpenCV counts from the middle of the first pixel.
    moved = shift(-0.5, -0.5) @ matrix @ shift(0.5, 0.5)
    return _uint8(cv2.warpPerspective(image, moved, size, borderMode=border))


def shift(x: float, y: float) -> NDArray[np.float64]:
    """The matrix that moves homogeneous pixels, float64, shape (3, 3)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def shade_shadow(
    mask: NDArray[np.uint8],
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    radii: NDArray[np.float64],
) -> None:
    """Draw strokes (n, 2) to (n, 2) of radii (n,) into a mask of the picture's size."""
    lines = np.rint((np.stack([starts, ends], axis=1) - 0.5) * (1 << _SHIFT))
    lines = np.clip(lines, -(2**20), 2**20).astype(np.int32)
    widths = np.maximum(1, np.rint(2 * radii)).astype(np.int32)
    for (first, last), width in zip(lines.tolist(), widths.tolist(), strict=True):
        cv2.line(mask, first, last, 255, width, cv2.LINE_8, _SHIFT)


def fill_shadow(mask: NDArray[np.uint8], outline: NDArray[np.float64]) -> None:
    """Draw the convex hull of points (n, 2) into a mask of the picture's size."""
    points = np.rint((outline - 0.5) * (1 << _SHIFT))
    hull = cv2.convexHull(np.clip(points, -(2**20), 2**20).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 255, cv2.LINE_8, _SHIFT)


def tinted(color: Color, factor: float) -> Color:
    """A colour made lighter or darker."""
    blue, green, red = (min(255.0, channel * factor) for channel in color)
    return blue, green, red


def in_picture(camera: Camera, low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
    """Whether a box of pixels from `low` to `high` reaches into the picture."""
    size = (camera.width, camera.height)
    return bool(np.all(high > -2) and np.all(low < np.add(size, 2)) and np.all(high - low < 8192))


def _overlap(sprite: Sprite, size: tuple[int, ...]) -> tuple[slice, slice, NDArray[np.uint8]]:
    """Rows and columns of the patch that lie in a picture of `size`, and that part."""
    height, width = sprite.patch.shape[:2]
    rows = slice(max(0, -sprite.top), max(0, min(height, size[0] - sprite.top)))
    columns = slice(max(0, -sprite.left), max(0, min(width, size[1] - sprite.left)))
    return rows, columns, sprite.patch[rows, columns]


def _blend(below: NDArray[np.uint8], patch: NDArray[np.uint8]) -> None:
    rest = 255 - patch[..., 3:].astype(np.uint16)
    kept = (below * rest + 127) // 255
    below[...] = np.minimum(kept + patch[..., :3], 255)


def _uint8(image: object) -> NDArray[np.uint8]:
    return np.asarray(image, np.uint8)
