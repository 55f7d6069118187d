"""A junction as a camera on a mast sees it: asphalt, markings, pavements, grass, facades, trees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.driving import LANE
from motrail.dataset.scenes.ground import edge, ground_points, mix, noise_tile, sampled
from motrail.dataset.scenes.render import Brush, Sprite, in_picture, tinted
from motrail.dataset.scenes.scenery import bars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera
    from motrail.dataset.scenes.driving import Layout
    from motrail.dataset.scenes.render import Color

_FACADE = 30.0
_PAVEMENT = 5.2
_WHITE = (205.0, 210.0, 210.0)
_LEAVES: tuple[Color, ...] = ((38, 82, 52), (44, 98, 62), (52, 116, 76), (66, 132, 94))


def draw_streets(camera: Camera, layout: Layout, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The empty place, uint8, shape (camera.height, camera.width, 3)."""
    reach, rays = ground_points(camera)
    walls = _facades(camera, rays)
    where = camera.position + rays * np.minimum(reach, walls)[..., None]
    x, y, z = where[..., 0], where[..., 1], where[..., 2]
    image = _ground(x, y, layout, rng)
    image = np.where((reach <= walls)[..., None], image, _houses(x, y, z, rng))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _facades(camera: Camera, rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance along each ray to the houses, which stand in a square with roads through it."""
    far = np.full(rays.shape[:2], 400.0)
    for axis in (0, 1):
        along = rays[..., axis]
        side = np.where(along > 0, _FACADE, -_FACADE)
        distance = np.full_like(far, np.inf)
        np.divide(side - camera.position[axis], along, out=distance, where=np.abs(along) > 1e-9)
        other = camera.position[1 - axis] + rays[..., 1 - axis] * np.where(
            np.isfinite(distance), distance, 0
        )
        hit = (distance > 1) & (np.abs(other) > 13.0)
        far = np.where(hit, np.minimum(far, distance), far)
    return far


def _ground(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    layout: Layout,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    image = np.empty((*x.shape, 3))
    image[...] = (58.0, 118.0, 88.0)
    image += (sampled(noise_tile(rng, 2), x, y, 12.0) * 7)[..., None]
    in_x, in_y = layout.half_x - np.abs(y), layout.half_y - np.abs(x)
    road = np.maximum(in_x, in_y)
    corner = 4.0
    near_x, near_y = corner + in_x, corner + in_y
    rounding = np.hypot(
        np.minimum(near_x - corner, 0) + corner, np.minimum(near_y - corner, 0) + corner
    )
    inside = (near_x > 0) & (near_y > 0) & (in_x < 0) & (in_y < 0)
    road = np.where(inside, np.maximum(road, -corner + np.maximum(0, rounding - corner)), road)
    slabs = np.where((np.mod(x, 1.0) < 0.05) | (np.mod(y, 1.0) < 0.05), -12.0, 0.0)
    stone = np.array([150.0, 154, 156]) + slabs[..., None]
    stone = stone + (sampled(noise_tile(rng, 1.5), x, y, 14.0) * 5)[..., None]
    mix(image, stone, edge(road + _PAVEMENT))
    mix(image, (182.0, 184, 184), edge(road + 0.28))
    tone = rng.uniform(78, 96)
    asphalt = np.full((*x.shape, 3), tone)
    asphalt += (3.0, 0.0, -1.0)
    asphalt += (sampled(noise_tile(rng, 0.8), x, y, 7.0) * 4.5)[..., None]
    asphalt += (sampled(noise_tile(rng, 12), x, y, 43.0) * 4.0)[..., None]
    for own in (y, x):
        worn = np.cos(2 * math.pi * (np.mod(own, LANE) / LANE - 0.5) * 2)
        asphalt -= (2.5 * worn * (np.abs(own) < layout.half_x))[..., None]
    mix(image, asphalt, edge(road))
    paint = np.maximum(
        _markings(x, y, layout.half_x, layout.half_y), _markings(y, x, layout.half_y, layout.half_x)
    )
    wear = 0.80 + 0.16 * np.clip(sampled(noise_tile(rng, 2), x, y, 5.0), -1, 1)
    mix(image, _WHITE, paint * wear)
    return image


def _markings(
    along: NDArray[np.float64], across: NDArray[np.float64], half: float, other: float
) -> NDArray[np.float64]:
    """Coverage by the markings of the road along the first axis."""
    cover = np.zeros(along.shape)
    start = other + 5.2
    outside = np.abs(along) - start
    lanes = round(half / LANE)
    for k in range(lanes):
        line = 0.07 - np.abs(np.abs(across) - k * LANE)
        dashes = 1.0 if k == 0 else (np.mod(along, 6.0) < 3.0)
        np.maximum(cover, edge(np.minimum(line, outside)) * dashes, out=cover)
    stop = np.minimum(0.25 - np.abs(np.abs(along) - start), half - 0.2 - np.abs(across))
    approaching = np.where(along < 0, across < 0, across > 0)
    np.maximum(cover, edge(stop) * approaching, out=cover)
    bars = 0.25 - np.abs(np.mod(across + half, 1.0) - 0.5)
    zebra = np.minimum(bars, 1.6 - np.abs(np.abs(along) - other - 2.6))
    np.maximum(cover, edge(np.minimum(zebra, half - np.abs(across))), out=cover)
    return cover


def _houses(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    side = np.abs(np.abs(x) - _FACADE) < 1e-3
    along = np.where(side, y + 300 * np.sign(x), x + 700 * np.sign(y))
    walls = rng.uniform(0.75, 1.1, (40, 1)) * np.array([[150.0, 168, 186]])
    walls += rng.uniform(-22, 22, (40, 3))
    number = np.floor(along / 11.0).astype(np.intp) % 40
    image = walls[number]
    image = image + (sampled(noise_tile(rng, 4), along, z, 12.0) * 4)[..., None]
    column, row = np.mod(along, 2.75), np.mod(z, 3.2)
    window = np.minimum(np.minimum(column - 0.75, 2.0 - column), np.minimum(row - 1.0, 2.6 - row))
    frame = edge(window + 0.1)
    mix(image, (205.0, 210, 212), frame)
    mix(image, (92.0, 80, 70), edge(window))
    shade = np.where(side, 0.86, 1.0) * np.where(np.mod(along, 11.0) < 0.12, 0.6, 1.0)
    image = image * shade[..., None]
    sky = (np.abs(x) > _FACADE + 1) | (np.abs(y) > _FACADE + 1)
    return np.where(sky[..., None], (214.0, 206, 196), image)


def lamp_post(camera: Camera, place: tuple[float, float], height: float) -> list[Sprite]:
    """A post with an arm and a lamp."""
    x, y = place
    arm = np.array([-np.sign(x), -np.sign(y)]) * 1.2
    top = (x + float(arm[0]), y + float(arm[1]), height + 0.3)
    parts = [((x, y, 0.0), (x, y, height)), ((x, y, height), top)]
    return bars(camera, parts, (92.0, 90, 88), 0.09)


def tree(camera: Camera, place: tuple[float, float], rng: np.random.Generator) -> list[Sprite]:
    """A trunk and a crown of leaves."""
    base = np.array([*place, 0.0])
    size, height = rng.uniform(1.2, 1.7), rng.uniform(3.4, 4.4)
    x, y = place
    trunk = bars(camera, [((x, y, 0.0), (x, y, height))], (44.0, 60, 78), 0.14)
    offsets = rng.normal(0, 1, (130, 3))
    offsets /= np.linalg.norm(offsets, axis=1, keepdims=True)
    offsets *= rng.uniform(0.5, 1.0, (130, 1)) * size
    leaves = base + np.array([0, 0, height + 0.6 * size]) + offsets
    pixels, depth = camera.project(leaves)
    radius = 0.34 * camera.focal / np.maximum(depth, 0.5)
    low, high = (pixels - radius[:, None]).min(axis=0), (pixels + radius[:, None]).max(axis=0)
    if depth.min() < 1 or not in_picture(camera, low, high):
        return trunk
    brush = Brush(low, high)
    for i in np.argsort(offsets[:, 2] - 0.4 * depth, kind="stable").tolist():
        color = _LEAVES[int(rng.integers(4))]
        brush.disc(pixels[i], float(radius[i]), tinted(color, 0.9 + 0.22 * offsets[i, 2] / size))
    return [*trunk, brush.sprite(float(camera.project(base)[1]))]
