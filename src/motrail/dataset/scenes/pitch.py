"""A football pitch as a camera sees it: mown grass, lines in true proportions, boards, crowd.

Measures are those of the Laws of the Game (IFAB), Law 1, for a pitch of 105 by 68 m. The origin is
the centre spot, x runs along the length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.ground import (
    edge,
    ground_points,
    line_stroke,
    mix,
    noise_tile,
    ring_stroke,
    sampled,
)
from motrail.dataset.scenes.scenery import bars, plate
from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera
    from motrail.dataset.scenes.render import Color, Sprite

HALF = np.array([52.5, 34.0])
LINE = 0.12
GOAL_WIDTH, GOAL_HEIGHT = 7.32, 2.44
_RUN_OFF = np.array([4.5, 4.0])
_BOARD = 1.0


def draw_pitch(camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The empty ground, uint8, shape (camera.height, camera.width, 3)."""
    reach, rays = ground_points(camera)
    walls = _leaving(camera, rays)
    on_ground = reach <= walls
    where = camera.position + rays * np.minimum(reach, walls)[..., None]
    x, y, z = where[..., 0], where[..., 1], where[..., 2]
    image = _grass(x, y, rng)
    lines = _lines(x, y)
    wear = 0.86 + 0.10 * np.clip(sampled(noise_tile(rng, 6), x, y, 9.0), -1, 1)
    mix(image, (232.0, 238.0, 236.0), lines * wear)
    behind = _stand(x, y, z, rng)
    blur = 0.9 * camera.focal / 780
    behind = np.asarray(cv2.GaussianBlur(behind, (0, 0), blur), np.float64)  # out of focus
    image = np.where(on_ground[..., None], image, behind)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _leaving(camera: Camera, rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance along each ray to where it leaves the ground inside the boards."""
    far = np.full(rays.shape[:2], 1e6)
    for axis in (0, 1):
        half = HALF[axis] + _RUN_OFF[axis]
        along = rays[..., axis]
        side = np.where(along > 0, half, -half)
        distance = np.full_like(far, 1e6)
        np.divide(side - camera.position[axis], along, out=distance, where=np.abs(along) > 1e-9)
        # The board behind which the camera stands is not looked at.
        far = np.where(distance > 1, np.minimum(far, distance), far)
    return far


def _grass(
    x: NDArray[np.float64], y: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    hue = rng.uniform(-8, 8)
    light = np.array([52.0 + hue, 142 + rng.uniform(-8, 8), 92 + rng.uniform(-14, 14)])
    dark = light * rng.uniform(0.80, 0.88)
    stripes = x if rng.random() < 0.75 else y
    band = (5.5, 11.0, 5.25)[int(rng.integers(3))]
    phase = np.mod(stripes / band, 2.0)
    inward = np.minimum(phase, 1 - phase)
    inward = np.where(phase > 1, -np.minimum(phase - 1, 2 - phase), inward)
    mown = edge(inward * band)
    image = light * mown[..., None] + dark * (1 - mown)[..., None]
    blades = sampled(noise_tile(rng, 0.9), x, y, 6.0) * 5.5
    tufts = sampled(noise_tile(rng, 3), x, y, 13.0) * 4.5
    patches = sampled(noise_tile(rng, 14), x, y, 47.0) * 5.0
    image += (blades + tufts + patches)[..., None] * (0.55, 1.0, 0.75)
    dry = np.clip(sampled(noise_tile(rng, 10), x, y, 31.0) - 1.3, 0, 1)
    mix(image, (70.0, 138.0, 122.0), 0.5 * dry)
    return image


def _lines(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coverage of each pixel by white lines, 0 to 1."""
    length, width = HALF.tolist()
    cover = np.zeros(x.shape)

    def line(start: tuple[float, float], end: tuple[float, float]) -> None:
        np.maximum(cover, line_stroke(x, y, start, end, LINE), out=cover)

    def arc(center: tuple[float, float], radius: float, where: object = True) -> None:
        ring = ring_stroke(x, y, center, radius, LINE)
        np.maximum(cover, ring * np.asarray(where), out=cover)

    for sign in (-1.0, 1.0):
        line((-length, sign * width), (length, sign * width))
        line((sign * length, -width), (sign * length, width))
        for depth, half in ((16.5, 20.16), (5.5, 9.16)):
            inner = sign * (length - depth)
            line((inner, -half), (inner, half))
            for up in (-half, half):
                line((inner, up), (sign * length, up))
        spot = sign * (length - 11.0)
        arc((spot, 0.0), 9.15, np.abs(x) < length - 16.5)
        np.maximum(cover, edge(0.13 - np.hypot(x - spot, y)), out=cover)
        for up in (-width, width):
            arc((sign * length, up), 1.0, (np.abs(x) < length) & (np.abs(y) < width))
    line((0.0, -width), (0.0, width))
    arc((0.0, 0.0), 9.15)
    np.maximum(cover, edge(0.13 - np.hypot(x, y)), out=cover)
    return cover


def _stand(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Boards with advertisements, and people in rows above them."""
    at_end = np.abs(x) > HALF[0] + _RUN_OFF[0] - 1e-3
    along = np.where(at_end, y + 200, x)
    panels = rng.uniform(30, 235, (64, 3))
    panels[::3] = (225, 225, 225)
    number = np.floor(along / 6.0).astype(np.intp) % 64
    image = panels[number]
    letters = np.mod(along, 6.0)
    writing = (letters > 0.8) & (letters < 5.2) & (np.mod(letters, 0.55) < 0.38)
    writing &= (z > 0.28) & (z < 0.75)
    ink = panels[(number + 7) % 64] * 0.5
    image = np.where(writing[..., None], ink, image)
    rows = np.floor(z / 0.8)
    shirt = np.abs(sampled(noise_tile(rng, 1.2), along + 3.7 * rows, 0.45 * rows, 40.0))
    tone = sampled(noise_tile(rng, 1.2), along - 5.1 * rows, 0.45 * rows + 9, 40.0)
    people = np.stack(
        [46 + 42 * shirt + 18 * tone, 44 + 40 * shirt, 52 + 40 * shirt - 16 * tone], -1
    )
    people *= np.where(np.mod(z, 0.8) < 0.22, 0.55, 1.0)[..., None]
    return np.where((z > _BOARD)[..., None], people, image)


def goal_posts(camera: Camera, sign: float) -> list[Sprite]:
    """The frame and net of the goal at the pitch's end `sign`, if it is in the picture."""
    x, half = sign * HALF[0], GOAL_WIDTH / 2
    back = x + sign * 2.0
    sprites = []
    for y in (-half, half):
        sprites += bars(camera, [((x, y, 0.0), (x, y, GOAL_HEIGHT))], (236.0, 238, 238), 0.07)
        sprites += bars(
            camera,
            [((x, y, GOAL_HEIGHT), (back, y, 1.8)), ((back, y, 1.8), (back, y, 0.0))],
            (170.0, 172, 172),
            0.03,
        )
    sprites += bars(
        camera, [((x, -half, GOAL_HEIGHT), (x, half, GOAL_HEIGHT))], (236.0, 238, 238), 0.07
    )
    strings = [((back, y, 0.0), (back, y, 1.8)) for y in np.arange(-half, half + 0.1, 0.61)]
    strings += [((back, -half, z), (back, half, z)) for z in np.arange(0.0, 1.81, 0.45)]
    sprites += bars(camera, strings, (196.0, 200, 200), 0.012)
    return sprites


def flag(camera: Camera, place: tuple[float, float], color: Color) -> list[Sprite]:
    """A pole with a flag, 1.7 m high."""
    x, y = place
    sprites = bars(camera, [((x, y, 0.0), (x, y, 1.7))], (60.0, 220.0, 240.0), 0.03)
    return sprites + plate(camera, [(x, y, 1.3), (x, y, 1.7), (x + 0.5, y, 1.55)], color)


def pillar(camera: Camera, place: tuple[float, float], height: float, width: float) -> list[Sprite]:
    """A post, for example of a floodlight."""
    x, y = place
    return bars(camera, [((x, y, 0.0), (x, y, height))], (104.0, 100.0, 98.0), width / 2)
