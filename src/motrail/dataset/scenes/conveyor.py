"""A conveyor: parcels and envelopes on belts, under a gantry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.belt import JOINTS, WIDTH, Belt
from motrail.dataset.scenes.camera import Camera
from motrail.dataset.scenes.factory import MovingBelts, draw_hall, gantry
from motrail.dataset.scenes.scene import Objects, streams
from motrail.dataset.scenes.solids import (
    Mesh,
    MeshBuilder,
    Solid,
    depth_order,
    draw_solid,
    footprint_corners,
    shade_solid,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.render import Color, Sprite
    from motrail.dataset.scenes.settings import SceneSettings

_CLASSES = ("parcel", "envelope")
_WARM_UP = 4.0
_CARDBOARD: tuple[Color, ...] = (
    (106, 148, 186),
    (92, 134, 174),
    (122, 164, 200),
    (84, 120, 156),
    (214, 218, 220),
    (150, 120, 80),
    (70, 70, 74),
)
_PAPER: tuple[Color, ...] = ((222, 226, 228), (110, 176, 206), (200, 204, 208), (186, 150, 110))
_TAPE: tuple[Color, ...] = ((96, 128, 150), (150, 190, 214), (60, 60, 190), (196, 150, 60))
_ENVELOPES = 0.25
_RIDERS = (0.08, 0.18, 0.28)
_SPEEDS = ((0.55, 0.45, 0.7), (0.85, 0.6, 1.0), (1.15, 0.7, 1.35))


class ConveyorWorld:
    """Three belts and what lies on them; a parcel that leaves is replaced by one of a new id."""

    classes: tuple[str, ...] = _CLASSES

    def __init__(self, settings: SceneSettings) -> None:
        self._settings = settings
        rng = streams(settings, 1)
        self.camera = _camera(settings, rng)
        azimuth, height = rng.uniform(0, math.tau), math.radians(rng.uniform(52, 72))
        flat = math.cos(height)
        self._sun = np.array([math.cos(azimuth) * flat, math.sin(azimuth) * flat, math.sin(height)])
        self._post = streams(settings, 2)
        self._wrapped = [_wrap(self._post, settings.level) for _ in range(settings.object_count)]
        factor = rng.uniform(0.9, 1.15)
        first, second, third = (factor * speed for speed in _SPEEDS[settings.level])
        self._belt = Belt(
            streams(settings, 3),
            (first, second, third),
            np.array([size for size, *_ in self._wrapped]),
            _RIDERS[settings.level],
        )
        self._moving: MovingBelts | None = None
        for _ in range(round(_WARM_UP / 0.04)):
            self.advance(0.04)

    def backdrop(self, camera: Camera) -> NDArray[np.uint8]:
        """The hall and the frame of the belts."""
        rng = streams(self._settings, 4)
        self._moving = MovingBelts(camera, rng, WIDTH, JOINTS)
        return draw_hall(camera, rng, WIDTH, JOINTS)

    def refresh(self, image: NDArray[np.uint8]) -> None:
        """The belts' surface has moved on."""
        if self._moving is not None:
            way = [speed * self._belt.time for speed in self._belt.speeds]
            self._moving.draw(image, way)

    def scenery(self, camera: Camera) -> list[Sprite]:
        """With occluders: a gantry across the belt."""
        if not self._settings.occluders:
            return []
        return gantry(camera, self._sun, WIDTH, streams(self._settings, 5))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        for i in self._belt.advance(seconds):
            self._wrapped[i] = _wrap(self._post, self._settings.level)
            self._belt.resize(i, self._wrapped[i][0])

    def objects(self) -> Objects:
        """Everything on the belts."""
        class_ids = np.array([kind for _, kind, *_ in self._wrapped], np.int64)
        return Objects(self._belt.serial.astype(np.int64), class_ids, self._belt.xy)

    def _solids(self) -> list[Solid]:
        belt = self._belt
        return [
            Solid(mesh, colors, np.append(xy, z), float(heading))
            for (_, _, mesh, colors), xy, z, heading in zip(
                self._wrapped, belt.xy, belt.z, belt.heading, strict=True
            )
        ]

    def sprites(self, camera: Camera, exposure: float) -> list[Sprite]:
        """Everything on the belts; what lies on something is painted right after it."""
        solids, belt = self._solids(), self._belt
        lying = np.flatnonzero(belt.under < 0)
        footprints = np.array([s.points(footprint_corners(s.mesh))[:, :2] for s in solids])
        depths = np.empty(len(solids))
        depths[lying] = depth_order(camera, footprints[lying])
        riding = np.flatnonzero(belt.under >= 0)
        depths[riding] = depths[belt.under[riding]] - 1e-6
        ahead = np.column_stack([belt.velocity * exposure, np.zeros(len(solids))])
        sprites = []
        for i, solid in enumerate(solids):
            pixels = camera.project(np.stack([solid.place, solid.place + ahead[i]]))[0]
            dx, dy = (pixels[1] - pixels[0]).tolist()
            sprite = draw_solid(
                solid, camera, self._sun, owner=i, motion=(dx, dy), depth=float(depths[i])
            )
            if sprite is not None:
                sprites.append(sprite)
        return sprites

    def shadows(self, camera: Camera, mask: NDArray[np.uint8]) -> None:
        """On the belt."""
        for solid in self._solids():
            shade_solid(solid, camera, self._sun, mask, 0.0)


def _camera(settings: SceneSettings, rng: np.random.Generator) -> Camera:
    x = rng.uniform(-1.3, 1.3)
    place = (x, -rng.uniform(2.4, 2.9), rng.uniform(2.0, 2.6))
    target = (rng.uniform(-0.25, 0.25), rng.uniform(-0.05, 0.1), 0.0)
    focal = rng.uniform(570, 640) * settings.height / 360
    return Camera.looking(place, target, focal, (settings.width, settings.height))


_Wrapped = tuple["NDArray[np.float64]", int, Mesh, dict[str, "Color"]]


def _wrap(rng: np.random.Generator, level: int) -> _Wrapped:
    """The next parcel or envelope: half length, half width, height; class; shape; colours."""
    if rng.random() < _ENVELOPES:
        size = np.array(
            [rng.uniform(0.14, 0.19), rng.uniform(0.10, 0.13), rng.uniform(0.012, 0.03)]
        )
        color = _PAPER[int(rng.integers((4, 4, 2)[level]))]
        kind = 1
    else:
        scale = rng.uniform(0.75, 1.25)
        size = np.array([rng.uniform(0.13, 0.24), rng.uniform(0.10, 0.17), rng.uniform(0.09, 0.26)])
        size *= scale
        size[1] = min(size[0], size[1])
        color = _CARDBOARD[int(rng.integers((7, 7, 2)[level]))]
        kind = 0
    tint = rng.uniform(0.93, 1.05)
    color = (color[0] * tint, color[1] * tint, color[2] * tint)
    tape = _TAPE[int(rng.integers((4, 2, 1)[level]))]
    colors: dict[str, Color] = {
        "board": color,
        "board_top": color,
        "tape": tape,
        "label": (236.0, 238, 238),
        "print": (52.0, 50, 50),
    }
    return size, kind, _parcel(size, rng, taped=kind == 0), colors


def _parcel(size: NDArray[np.float64], rng: np.random.Generator, *, taped: bool) -> Mesh:
    length, width, height = size.tolist()
    builder = MeshBuilder()
    builder.box((-length, -width, 0.0), (length, width, height), "board")
    if taped:
        half = 0.022
        _on_top(builder, (-length, -half), (length, half), height, "tape")
        drop = min(0.07, 0.5 * height)
        for end in (length, -length):
            side = math.copysign(half, end)
            builder.face(
                [
                    (end, -side, height - drop),
                    (end, side, height - drop),
                    (end, side, height),
                    (end, -side, height),
                ],
                "tape",
            )
    wide, deep = min(0.075, 0.55 * length), min(0.05, 0.40 * width)
    x = rng.uniform(-1, 1) * (length - wide) * 0.8
    y = math.copysign(width - deep - 0.012, rng.uniform(-1, 1))
    _on_top(builder, (x - wide, y - deep), (x + wide, y + deep), height, "label")
    for k in range(6):
        left = x - 0.8 * wide + k * 0.2 * wide
        _on_top(builder, (left, y - 0.7 * deep), (left + 0.09 * wide, y), height, "print")
    _on_top(
        builder, (x - 0.8 * wide, y + 0.3 * deep), (x + 0.4 * wide, y + 0.5 * deep), height, "print"
    )
    return builder.mesh((length, width))


def _on_top(
    builder: MeshBuilder,
    low: tuple[float, float],
    high: tuple[float, float],
    height: float,
    material: str,
) -> None:
    (x0, y0), (x1, y1) = low, high
    builder.face([(x0, y0, height), (x1, y0, height), (x1, y1, height), (x0, y1, height)], material)
