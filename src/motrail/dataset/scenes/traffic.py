"""Traffic: a junction with lights, seen from a mast."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.camera import Camera
from motrail.dataset.scenes.driving import LANE, Layout, Lights, Traffic
from motrail.dataset.scenes.figure import Clothes, Crowd, complexion, draw_people, shade_people
from motrail.dataset.scenes.render import Sprite
from motrail.dataset.scenes.scene import Objects, streams
from motrail.dataset.scenes.scenery import bars
from motrail.dataset.scenes.solids import (
    Solid,
    depth_order,
    draw_solid,
    footprint_corners,
    shade_solid,
)
from motrail.dataset.scenes.streets import draw_streets, lamp_post, tree
from motrail.dataset.scenes.vehicles import models, paint
from motrail.dataset.scenes.walking import Walkers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.render import Color
    from motrail.dataset.scenes.settings import SceneSettings

_CLASSES = ("car", "truck", "pedestrian")
_WARM_UP = 12.0
_WEAR: tuple[Color, ...] = (
    (60, 56, 54), (120, 92, 60), (70, 70, 150), (190, 186, 180), (64, 100, 80), (110, 130, 160),
    (40, 40, 44), (150, 110, 150), (60, 130, 190),
)  # fmt: skip
_LAMPS: dict[str, tuple[int, Color]] = {
    "red": (2, (50, 50, 240)),
    "amber": (1, (40, 190, 250)),
    "green": (0, (110, 240, 90)),
}


class TrafficWorld:
    """A junction, its vehicles and pedestrians; ids count vehicles first."""

    classes: tuple[str, ...] = _CLASSES

    def __init__(self, settings: SceneSettings) -> None:
        self._settings = settings
        rng = streams(settings, 1)
        self._layout = Layout(2 * LANE, (LANE, 2 * LANE)[int(rng.integers(2))])
        self.camera = _camera(settings, self._layout, rng)
        azimuth, height = rng.uniform(0, math.tau), math.radians(rng.uniform(34, 60))
        flat = math.cos(height)
        self._sun = np.array([math.cos(azimuth) * flat, math.sin(azimuth) * flat, math.sin(height)])
        self._lights = Lights(rng.uniform(0, 20))
        count = settings.object_count
        on_foot = max(1, round(0.36 * count))
        self._models = _fleet(rng, count - on_foot)
        known = models()[0]
        self._meshes = [known[name].mesh for name in self._models]
        self._paints = [paint(rng, name, settings.level) for name in self._models]
        self._kinds = [known[name].kind for name in self._models]
        self._traffic = Traffic(
            streams(settings, 2),
            self._layout,
            self._lights,
            np.array([known[name].length for name in self._models]),
            np.array([kind == "car" for kind in self._kinds]),
        )
        self._walkers = Walkers(streams(settings, 3), self._layout, self._lights, on_foot)
        self._crowd = _people(streams(settings, 4), self._walkers, settings.level)
        for _ in range(round(_WARM_UP / 0.1)):
            self.advance(0.1)

    def backdrop(self, camera: Camera) -> NDArray[np.uint8]:
        """The empty streets."""
        return draw_streets(camera, self._layout, streams(self._settings, 5))

    def refresh(self, image: NDArray[np.uint8]) -> None:
        """Nothing of it moves."""

    def scenery(self, camera: Camera) -> list[Sprite]:
        """With occluders: lamp posts and trees on the corners."""
        if not self._settings.occluders:
            return []
        rng = streams(self._settings, 6)
        x, y = self._layout.half_y + 1.0, self._layout.half_x + 1.0
        sprites = []
        for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            sprites += lamp_post(camera, (i * (x + 0.4), j * (y + 5.4)), 6.5)
            for place in (
                (i * (x + rng.uniform(7, 12)), j * (y + 3.0)),
                (i * (x + 3.0), j * (y + rng.uniform(9, 15))),
            ):
                if math.dist(place, self.camera.position[:2].tolist()) > 11:
                    sprites += tree(camera, place, rng)
        return sprites

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._walkers.advance(seconds)
        self._traffic.advance(seconds, self._walkers.xy)
        crowd = self._crowd
        crowd.xy, crowd.velocity = self._walkers.xy, self._walkers.velocity
        crowd.walk(seconds, crowd.heading)

    def objects(self) -> Objects:
        """Vehicles, then pedestrians."""
        kinds = [*self._kinds, *(["pedestrian"] * len(self._crowd.xy))]
        class_ids = np.array([_CLASSES.index(kind) for kind in kinds], np.int64)
        xy = np.vstack([self._traffic.xy, self._crowd.xy])
        return Objects(np.arange(1, len(xy) + 1), class_ids, xy)

    def _solids(self) -> list[Solid]:
        traffic = self._traffic
        return [
            Solid(mesh, colors, np.append(xy, 0.0), float(heading))
            for mesh, colors, xy, heading in zip(
                self._meshes, self._paints, traffic.xy, traffic.heading, strict=True
            )
        ]

    def sprites(self, camera: Camera, exposure: float) -> list[Sprite]:
        """Vehicles, pedestrians, and the traffic lights."""
        solids, crowd = self._solids(), self._crowd
        small = np.array([(0.25, 0.25), (-0.25, 0.25), (-0.25, -0.25), (0.25, -0.25)])
        footprints = [solid.points(footprint_corners(solid.mesh))[:, :2] for solid in solids]
        footprints += list(crowd.xy[:, None] + small)
        depths = depth_order(camera, np.array(footprints))
        velocity = self._traffic.velocity()
        sprites = []
        for i in self._traffic.driving().tolist():
            solid = solids[i]
            ends = solid.place + np.outer([0.0, exposure], np.append(velocity[i], 0))
            pixels = camera.project(ends)[0]
            dx, dy = (pixels[1] - pixels[0]).tolist()
            sprite = draw_solid(
                solid, camera, self._sun, owner=i, motion=(dx, dy), depth=float(depths[i])
            )
            if sprite is not None:
                sprites.append(sprite)
        people = draw_people(crowd, camera, self._sun, exposure, len(solids))
        sprites += [
            Sprite(one.patch, one.left, one.top, float(depths[one.owner]), one.owner, one.motion)
            for one in people
        ]
        return sprites + self._signals(camera)

    def _signals(self, camera: Camera) -> list[Sprite]:
        sprites = []
        x, y = self._layout.half_y + 0.7, self._layout.half_x + 0.7
        for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            axis = 0 if i == j else 1
            place = (i * x, j * y)
            lit, color = _LAMPS[self._lights.state(axis, self._traffic.time)]
            foot, low, high = (*place, 0.0), (*place, 2.55), (*place, 3.25)
            sprites += bars(camera, [(foot, high)], (66.0, 64, 62), 0.06)
            box = bars(camera, [(low, high)], (38.0, 38, 38), 0.16)
            at = 2.65 + 0.25 * lit
            lamp = bars(camera, [((*place, at), (*place, at + 0.02))], color, 0.11)
            for order, one in enumerate(box + lamp, 1):
                near = one.depth - 1e-3 * order
                sprites.append(Sprite(one.patch, one.left, one.top, near))
        return sprites

    def shadows(self, camera: Camera, mask: NDArray[np.uint8]) -> None:
        """On the ground."""
        solids = self._solids()
        for i in self._traffic.driving().tolist():
            shade_solid(solids[i], camera, self._sun, mask, 0.0)
        shade_people(self._crowd, camera, self._sun, mask)


def _camera(settings: SceneSettings, layout: Layout, rng: np.random.Generator) -> Camera:
    side = (-1.0, 1.0)[int(rng.integers(2))]
    front = (-1.0, 1.0)[int(rng.integers(2))]
    place = (
        side * (layout.half_y + rng.uniform(8, 13)),
        front * (layout.half_x + rng.uniform(9, 12)),
        rng.uniform(8.0, 10.5),
    )
    target = (-side * rng.uniform(0.0, 3.0), -front * rng.uniform(0.0, 2.5), 0.0)
    focal = rng.uniform(520, 600) * settings.height / 360
    return Camera.looking(place, target, focal, (settings.width, settings.height))


def _fleet(rng: np.random.Generator, count: int) -> list[str]:
    _, cars, trucks = models()
    fleet = []
    for i in range(count):
        names = trucks if i % 4 == 3 else cars
        fleet.append(names[int(rng.integers(len(names)))])
    return fleet


def _people(rng: np.random.Generator, walkers: Walkers, level: int) -> Crowd:
    count = len(walkers.xy)
    clothes = []
    for _ in range(count):
        coat, trousers = (_WEAR[int(k)] for k in rng.integers(0, (9, 9, 3)[level], 2))
        skin, hair = complexion(rng)
        arm = coat if rng.random() < 0.6 else skin
        clothes.append(
            Clothes(
                coat, coat, coat, trousers, trousers, trousers, (40, 38, 36), arm, None, skin, hair
            )
        )
    return Crowd(
        walkers.xy,
        walkers.velocity,
        rng.uniform(-math.pi, math.pi, count),
        rng.uniform(0, math.tau, count),
        rng.normal(1.72, 0.09, count).clip(1.5, 1.95),
        clothes,
    )
