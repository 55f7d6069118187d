"""A hall with conveyor belts as a camera sees it: the floor, the frame, the belts' surface."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.ground import edge, ground_points, mix, noise_tile, sampled
from motrail.dataset.scenes.solids import MeshBuilder, Solid, draw_solid
from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera
    from motrail.dataset.scenes.render import Sprite

_RAIL, _ROLLERS = 0.045, 0.20
_FLOOR = -0.85
_SKIRT = 0.24
_PERIOD = 2.0
"""Length of belt after which its texture comes again, in metres."""


def draw_hall(
    camera: Camera, rng: np.random.Generator, width: float, joints: Sequence[float]
) -> NDArray[np.uint8]:
    """Everything but the belts' surface, uint8, shape (camera.height, camera.width, 3)."""
    reach, rays = ground_points(camera)
    reach = np.minimum(reach, 60.0)
    x = camera.position[0] + rays[..., 0] * reach
    y = camera.position[1] + rays[..., 1] * reach
    deeper = np.minimum(reach * (1 - _FLOOR / camera.position[2]), 60.0)
    image = _floor(
        camera.position[0] + rays[..., 0] * deeper, camera.position[1] + rays[..., 1] * deeper, rng
    )
    half, outer = width / 2, width / 2 + 2 * _RAIL + _ROLLERS
    # The side towards the camera is an upright wall under the outer rail.
    to_side = (-outer - camera.position[1]) / np.maximum(rays[..., 1], 1e-6)
    drop = camera.position[2] + rays[..., 2] * to_side
    skirt = np.where(y < -outer, np.minimum(drop + _SKIRT, -drop), -1.0)
    mix(image, (108.0, 84, 60), edge(np.where(y < -outer, skirt, -0.05)) * (y < -outer))
    mix(image, (150.0, 150, 148), edge(outer - np.abs(y)))
    mix(image, (76.0, 74, 72), edge(outer - _RAIL - np.abs(y)))
    pitch = 0.085
    phase = np.mod(x, pitch) / pitch
    shine = np.sin(np.pi * np.clip((phase - 0.12) / 0.76, 0, 1))
    roller = np.array([190.0, 188, 186]) * (0.45 + 0.6 * shine)[..., None]
    on_roller = edge(outer - _RAIL - np.abs(y)) * np.clip((0.38 - np.abs(phase - 0.5)) * 12, 0, 1)
    image += (roller - image) * on_roller[..., None]
    mix(image, (166.0, 166, 164), edge(half + _RAIL - np.abs(y)))
    mix(image, (62.0, 60, 60), edge(half - np.abs(y)))
    for joint in joints:
        gap = np.minimum(0.022 - np.abs(x - joint), half - np.abs(y))
        mix(image, (140.0, 140, 138), edge(gap))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _floor(
    x: NDArray[np.float64], y: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    image = np.full((*x.shape, 3), rng.uniform(112, 140))
    image += (2.0, 0.0, -2.0)
    image += (sampled(noise_tile(rng, 1.0), x, y, 5.0) * 3.0)[..., None]
    image += (sampled(noise_tile(rng, 6), x, y, 7.0) * 2.5)[..., None]
    for own in (x, y):
        mix(image, (84.0, 84, 84), 0.8 * edge(0.012 - np.abs(np.mod(own, 1.6) - 0.8)))
    lane = np.minimum(0.06 - np.abs(np.abs(y - 0.3) - 1.9), 50.0)
    mix(image, (40.0, 180, 214), edge(lane))
    return image


_Part = tuple[
    "tuple[slice, slice]", "NDArray[np.uint8]", "NDArray[np.float32]", "NDArray[np.float32]"
]
"""Rows and columns, which pixels of them, and places in the texture along and across."""


class MovingBelts:
    """The rubber of the belts, which runs with what lies on it.

    Args:
        camera: Who looks, always from there.
        rng: Where chance comes from.
        width: Of the belts in metres.
        joints: Where one ends and the next begins.
    """

    def __init__(
        self, camera: Camera, rng: np.random.Generator, width: float, joints: Sequence[float]
    ) -> None:
        reach, rays = ground_points(camera)
        reach = np.where(np.isfinite(reach), reach, 1e3)
        x = camera.position[0] + rays[..., 0] * reach
        y = camera.position[1] + rays[..., 1] * reach
        self._tile = _rubber(rng)
        self._parts: list[_Part | None] = []
        ends = (-1e9, *joints, 1e9)
        side = width / 2
        for first, last in itertools.pairwise(ends):
            inside = (np.abs(y) < side) & (x > first + 0.022) & (x < last - 0.022)
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            if not len(rows):
                self._parts.append(None)
                continue
            where = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            scale = self._tile.shape[1] / _PERIOD
            across = (y[where] / width + 0.5) * (self._tile.shape[0] - 1)
            along = np.clip(x[where], -20, 20) * scale
            self._parts.append(
                (
                    where,
                    inside[where].astype(np.uint8),
                    along.astype(np.float32),
                    across.astype(np.float32),
                )
            )

    def draw(self, image: NDArray[np.uint8], way: Sequence[float]) -> None:
        """Draw the belts after they ran `way` metres, into an image, which is changed."""
        period = self._tile.shape[1]
        for part, run in zip(self._parts, way, strict=True):
            if part is None:
                continue
            where, inside, along, across = part
            moved = along - np.float32((run % _PERIOD) * period / _PERIOD)
            surface = cv2.remap(
                self._tile, moved, across, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
            )
            cv2.copyTo(surface, inside, image[where])


def _rubber(rng: np.random.Generator) -> NDArray[np.uint8]:
    """One period of the belt, uint8, shape (416, 640, 3)."""
    along, across = np.meshgrid(np.arange(640) / 320, np.arange(416) / 320)
    image = np.full((416, 640, 3), 0.0)
    image += (57.0, 55.0, 54.0)
    noise = noise_tile(rng, 1.0)[:416, :416]
    image += np.tile(noise, (1, 2))[:, :640, None] * 2.6
    weave = np.cos(np.pi * 16 * (along + across)) * np.cos(np.pi * 16 * (along - across))
    image += (weave * 2.4)[..., None]
    seam = np.abs(along - 1.0 - 0.18 * (across - 0.65))
    mix(image, (104.0, 104, 104), np.clip((0.012 - seam) * 160, 0, 1))
    stains = np.zeros(along.shape)
    for _ in range(14):
        x, y = rng.uniform(0, 2), rng.uniform(0, 1.3)
        size = rng.uniform(0.01, 0.05)
        np.maximum(stains, 1 - np.hypot(along - x, (across - y) * 1.8) / size, out=stains)
    mix(image, (78.0, 76, 74), 0.6 * stains)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def gantry(
    camera: Camera, sun: NDArray[np.float64], width: float, rng: np.random.Generator
) -> list[Sprite]:
    """A beam across the belt on two posts, with a scanner under it."""
    x = float(rng.uniform(-0.55, 0.55))
    side = width / 2 + 0.42
    colors = dict.fromkeys(("steel", "steel_top"), (70.0, 160.0, 226.0))
    colors |= dict.fromkeys(("box", "box_top"), (58.0, 56.0, 56.0))
    colors |= {"lens": (60.0, 50.0, 200.0)}
    beam = MeshBuilder()
    beam.box((-0.04, -side, 0.82), (0.04, side, 0.90), "steel")
    beam.box((-0.09, -0.20, 0.74), (0.09, 0.20, 0.94), "box")
    beam.face(
        [(0.09, -0.05, 0.8), (0.09, 0.05, 0.8), (0.09, 0.05, 0.86), (0.09, -0.05, 0.86)], "lens"
    )
    near, far = MeshBuilder(), MeshBuilder()
    near.box((-0.04, -side - 0.04, _FLOOR), (0.04, -side + 0.04, 0.90), "steel")
    far.box((-0.04, side - 0.04, -0.06), (0.04, side + 0.04, 0.90), "steel")
    sprites = []
    # Parcels are lower than the beam: from above, it and the near post are in front of all.
    for builder, depth in ((far, 1e3), (beam, 0.02), (near, 0.01)):
        solid = Solid(builder.mesh((0.05, side)), colors, np.array([x, 0.0, 0.0]), 0.0)
        sprite = draw_solid(solid, camera, sun, depth=depth)
        if sprite is not None:
            sprites.append(sprite)
    return sprites
