"""A clip, frame after frame: the camera's movement, the exposure, the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from motrail.dataset.scenes.render import Sprite, paint, warp, warped
from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera
    from motrail.dataset.scenes.settings import SceneSettings

SHUTTER = (0.0, 0.5, 0.75)
"""How much of the time between two frames the shutter is open, by difficulty, at least."""
_SHADOW = 0.45
_MAX_TURN = math.radians(4)


@dataclass(frozen=True, slots=True, eq=False)
class SceneFrame:
    """A picture and what is in it, a row for each object of which at least a pixel is inside.

    Attributes:
        number: Of the frame, from 1.
        image: uint8, shape (height, width, 3), channels blue, green, red.
        ids: One number for one object of the clip, from 1, int64, shape (n,). It keeps it when it
            leaves the picture and comes back.
        class_ids: Index into `Scene.classes`, int64, shape (n,).
        boxes_xywh: Extent of the object's pixels: left, top, width, height, float64, shape (n, 4).
            What is hidden or outside the picture counts, so a box may leave the image. Shadows do
            not count.
        visibility: Share of the object's pixels that the picture shows, float64, shape (n,); 0
            where all of those inside are hidden.
        world_xy: Where the middle of the object stands, in metres on the ground, float64, (n, 2).
        homography: Ground (x, y, 1) in metres to homogeneous pixels, float64, shape (3, 3).
        instance_ids: The id of the object that each pixel shows, 0 for none, int32,
            shape (height, width).
    """

    number: int
    image: NDArray[np.uint8]
    ids: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    visibility: NDArray[np.float64]
    world_xy: NDArray[np.float64]
    homography: NDArray[np.float64]
    instance_ids: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Everything that can be labelled, in or out of the picture; row i is sprite owner i."""

    ids: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    world_xy: NDArray[np.float64]


class World(Protocol):
    """What a scene has to say of itself; `Stage` films it."""

    classes: tuple[str, ...]
    camera: Camera

    def backdrop(self, camera: Camera) -> NDArray[np.uint8]:
        """The empty place, uint8, shape (camera.height, camera.width, 3)."""

    def refresh(self, image: NDArray[np.uint8]) -> None:
        """Draw what moves of the backdrop itself into a copy of it."""

    def scenery(self, camera: Camera) -> list[Sprite]:
        """What stands still and may hide objects."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""

    def objects(self) -> Objects:
        """What is there now."""

    def sprites(self, camera: Camera, exposure: float) -> list[Sprite]:
        """The objects as the camera sees them while the shutter is open, in seconds."""

    def shadows(self, camera: Camera, mask: NDArray[np.uint8]) -> None:
        """Draw the shadows of the objects into a mask of the picture's size."""


class Scene:
    """A synthetic clip; made by `make_scene`.

    Attributes:
        name: `football`, `traffic` or `conveyor`.
        classes: Names of the classes, in the order of `SceneFrame.class_ids`.
        settings: What was asked for, with every choice made.
        camera: As it stands, before it shakes or pans.
    """

    def __init__(self, settings: SceneSettings, build: Callable[[SceneSettings], World]) -> None:
        self.settings = settings.resolved()
        self._build = build
        world = build(self.settings)
        self._ready: World | None = world
        self.name = settings.scene
        self.classes = world.classes
        self.camera = world.camera

    def frames(self) -> Iterator[SceneFrame]:
        """The clip from its beginning; one frame is held at a time."""
        world, self._ready = self._ready or self._build(self.settings), None
        stage = _Stage(world, self.settings)
        for number in range(1, self.settings.frames + 1):
            yield stage.shoot(number)
            world.advance(1 / self.settings.frame_rate)


class _Tripod:
    """Turns the camera as time passes: small trembling, and a slow pan."""

    def __init__(self, settings: SceneSettings, focal: float) -> None:
        rng = np.random.default_rng([settings.seed, 101])
        self._hertz = rng.uniform(0.6, 5.0, (3, 4))
        self._phase = rng.uniform(0, math.tau, (3, 4))
        pixels = 2.4 * settings.height / 360
        self._reach = np.array([pixels / focal, pixels / focal, math.radians(0.2)])
        self._reach *= bool(settings.camera_shake)
        self._pan = math.radians(rng.uniform(1.8, 2.6)) * bool(settings.camera_pan)
        self._period = rng.uniform(7.0, 11.0)
        self._pan_phase = rng.uniform(0, math.tau)
        self.still = not (settings.camera_shake or settings.camera_pan)

    def hold(self, camera: Camera, time: float) -> Camera:
        if self.still:
            return camera
        waves = np.sin(math.tau * self._hertz * time + self._phase).sum(axis=1) / 2.5
        yaw, pitch, roll = (waves * self._reach).tolist()
        yaw += self._pan * math.sin(math.tau * time / self._period + self._pan_phase)
        return camera.turned(yaw, pitch, roll)


class _Stage:
    """Films a world."""

    def __init__(self, world: World, settings: SceneSettings) -> None:
        self._world = world
        self._settings = settings
        self._tripod = _Tripod(settings, world.camera.focal)
        self._film = _Film(settings)
        margin = 0
        if not self._tripod.still:
            margin = math.ceil(world.camera.focal * math.tan(_MAX_TURN)) + 4
        self._wide = world.camera.widened(margin)
        self._backdrop = world.backdrop(self._wide)
        self._scenery = world.scenery(self._wide)
        shutter = max(SHUTTER[settings.level], SHUTTER[1]) if settings.motion_blur else 0.0
        self._exposure = shutter / settings.frame_rate

    def shoot(self, number: int) -> SceneFrame:
        settings, world = self._settings, self._world
        camera = self._tripod.hold(world.camera, (number - 1) / settings.frame_rate)
        image, sprites = self._place(camera)
        if settings.shadows:
            _darken(image, world, camera)
        objects = world.objects()
        sprites += world.sprites(camera, self._exposure)
        painted = paint(image, sprites, len(objects.ids))
        rows = np.flatnonzero(painted.inside > 0)
        rows = rows[np.argsort(objects.ids[rows], kind="stable")]
        names = np.append(objects.ids, 0).astype(np.int32)  # SCENERY is the last
        return SceneFrame(
            number,
            self._film.develop(image, number),
            objects.ids[rows],
            objects.class_ids[rows],
            painted.boxes_xywh[rows],
            painted.seen[rows] / painted.whole[rows],
            objects.world_xy[rows].copy(),
            camera.homography,
            names[painted.owners],
        )

    def _place(self, camera: Camera) -> tuple[NDArray[np.uint8], list[Sprite]]:
        """The backdrop and the scenery as the camera sees them now."""
        backdrop = self._backdrop.copy()
        self._world.refresh(backdrop)
        if self._tripod.still:
            return backdrop, list(self._scenery)
        matrix = camera.pixels_of(self._wide)
        size = (camera.width, camera.height)
        image = warp(backdrop, matrix, size, cv2.BORDER_REPLICATE)
        moved = (warped(sprite, matrix, size) for sprite in self._scenery)
        return image, [sprite for sprite in moved if sprite is not None]


class _Film:
    """Grading, the lens's softness and the sensor's noise."""

    def __init__(self, settings: SceneSettings) -> None:
        rng = np.random.default_rng([settings.seed, 102])
        gain = rng.uniform(0.97, 1.03, 3)
        gamma = rng.uniform(0.92, 1.08)
        if settings.low_light:
            gain, gamma = gain * (0.56, 0.46, 0.43), gamma * 1.1
        levels = np.arange(256)[:, None] / 255
        curve = np.rint(255 * np.clip(levels**gamma * gain, 0, 1))
        self._curve = curve.astype(np.uint8).reshape(1, 256, 3)
        deviation = 7.0 if settings.low_light else (1.2, 2.2, 3.0)[settings.level]
        self._size = (settings.height, settings.width)
        self._room = 48
        shape = (settings.height + self._room, settings.width + self._room, 3)
        grains = rng.standard_normal(shape, np.float32) * deviation
        self._grain = np.clip(np.rint(grains), -127, 127).astype(np.int8)
        self._seed = settings.seed
        self._pale = np.full((3, 3), 1 / 3) * 0.55 + np.eye(3) * 0.45
        self._low_light = bool(settings.low_light)

    def develop(self, image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        soft = cv2.GaussianBlur(image, (3, 3), 0.45)
        if self._low_light:
            soft = cv2.transform(soft, self._pale)
        graded = cv2.LUT(soft, self._curve)
        rng = np.random.default_rng([self._seed, 103, number])
        top, left = rng.integers(0, self._room, 2)
        height, width = self._size
        grain = self._grain[top : top + height, left : left + width]
        return np.asarray(cv2.add(graded, grain, dtype=cv2.CV_8U), np.uint8)


def _darken(image: NDArray[np.uint8], world: World, camera: Camera) -> None:
    mask = np.zeros(image.shape[:2], np.uint8)
    world.shadows(camera, mask)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return
    reach = 4
    where = np.s_[
        max(0, top - reach) : top + height + reach, max(0, left - reach) : left + width + reach
    ]
    softness = 0.8 * camera.height / 360
    soft = cv2.GaussianBlur(mask[where], (0, 0), softness)
    light = cv2.merge([255 - np.asarray(soft * _SHADOW, np.uint8)] * 3)
    image[where] = cv2.multiply(image[where], light, scale=1 / 255)


def streams(settings: SceneSettings, *purpose: int) -> np.random.Generator:
    """Random numbers of a clip for one purpose, the same whatever other purposes take."""
    return np.random.default_rng([settings.seed, *purpose])
