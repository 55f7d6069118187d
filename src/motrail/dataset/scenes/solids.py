"""Solid things made of flat faces, drawn with light and shade: vehicles, parcels, buildings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.camera import NEAR
from motrail.dataset.scenes.render import SCENERY, Brush, Sprite, fill_shadow, in_picture, tinted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera
    from motrail.dataset.scenes.render import Color

_NEAREST = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A shape of flat faces; drawn in their order, those that look away left out.

    Attributes:
        vertices: Forward, left, up in metres from the middle of its base, shape (n, 3).
        faces: For each: its vertices, counter-clockwise seen from outside, and its material.
        middles: Of the faces, shape (faces, 3).
        normals: Of the faces, outwards, unit length, shape (faces, 3).
        half: Half its length and width, the rectangle that it stands on.
        joint: Where a front part begins, in metres forward; its faces come first for who looks
            from behind. Infinite where there is one part.
    """

    vertices: NDArray[np.float64]
    faces: tuple[tuple[list[int], str], ...]
    middles: NDArray[np.float64]
    normals: NDArray[np.float64]
    half: tuple[float, float]
    joint: float = math.inf


class MeshBuilder:
    """Collects the faces of a mesh."""

    def __init__(self) -> None:
        self._vertices: list[tuple[float, float, float]] = []
        self._faces: list[tuple[list[int], str]] = []

    def face(self, points: Sequence[tuple[float, float, float]], material: str) -> None:
        """Add a face, counter-clockwise seen from outside."""
        first = len(self._vertices)
        self._vertices += points
        self._faces.append((list(range(first, first + len(points))), material))

    def both_sides(self, outline: Sequence[tuple[float, float, float]], material: str) -> None:
        """Add a face on the left and on the right.

        Its outline is the left one's (y > 0), from the front over the top to the rear.
        """
        self.face([*reversed(outline)], material)
        self.face([(x, -y, z) for x, y, z in outline], material)

    def box(
        self, low: tuple[float, float, float], high: tuple[float, float, float], material: str
    ) -> None:
        """Add a box without its base; the top's material ends in `_top`."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        self.face([(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)], material)
        self.face([(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)], material)
        self.face([(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)], material)
        self.face([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], material)
        self.face([(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], material + "_top")

    def wheel(self, x: float, y: float, radius: float) -> None:
        """Add a wheel on both sides, with its outside at y > 0."""
        angle = np.arange(12) * (np.pi / 6)
        for share, material in ((1.0, "tyre"), (0.52, "rim")):
            size = radius * share
            ring = [
                (x + size * float(np.cos(a)), y, radius + size * float(np.sin(a))) for a in angle
            ]
            self.both_sides(ring, material)

    def mesh(self, half: tuple[float, float], joint: float = math.inf) -> Mesh:
        """What was collected."""
        vertices = np.array(self._vertices, np.float64)
        outlines = [vertices[indices] for indices, _ in self._faces]
        # Newell's normals: the sides of a car bulge, so that three corners do not tell.
        normals = np.array([np.cross(o, np.roll(o, -1, axis=0)).sum(axis=0) for o in outlines])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        middles = np.array([outline.mean(axis=0) for outline in outlines])
        return Mesh(vertices, tuple(self._faces), middles, normals, half, joint)


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """A mesh in its place.

    Attributes:
        mesh: Its shape.
        colors: Of its materials.
        place: Of the middle of its base in metres, shape (3,).
        heading: Direction of its front in radians, counter-clockwise from x.
    """

    mesh: Mesh
    colors: Mapping[str, Color]
    place: NDArray[np.float64]
    heading: float

    def points(self, local: NDArray[np.float64]) -> NDArray[np.float64]:
        """World coordinates of points (n, 3) given forward, left, up."""
        return np.asarray(self.turned(local) + self.place, np.float64)

    def turned(self, local: NDArray[np.float64]) -> NDArray[np.float64]:
        """World directions of vectors (n, 3) given forward, left, up."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])
        return np.asarray(local @ turn, np.float64)


def draw_solid(
    solid: Solid,
    camera: Camera,
    sun: NDArray[np.float64],
    *,
    owner: int = SCENERY,
    motion: tuple[float, float] = (0.0, 0.0),
    depth: float | None = None,
) -> Sprite | None:
    """The solid as the camera sees it; None when outside the picture."""
    world = solid.points(solid.mesh.vertices)
    pixels, depths = camera.project(world)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if depths.min() < _NEAREST or not in_picture(camera, low, high):
        return None
    brush = Brush(low, high)
    normals = solid.turned(solid.mesh.normals)
    facing = np.sum(normals * (camera.position - solid.points(solid.mesh.middles)), axis=1) > 0
    light = 0.66 + 0.46 * np.maximum(0, normals @ sun)
    rows = np.flatnonzero(facing)
    ahead = (camera.position - solid.place) @ (math.cos(solid.heading), math.sin(solid.heading), 0)
    if ahead < solid.mesh.joint < math.inf:
        in_front = solid.mesh.middles[rows, 0] > solid.mesh.joint
        rows = np.concatenate([rows[in_front], rows[~in_front]])
    shown = [solid.mesh.faces[k] for k in rows.tolist()]
    colors = [
        tinted(solid.colors[material], bright)
        for (_, material), bright in zip(shown, light[rows].tolist(), strict=True)
    ]
    brush.polygons(pixels, [indices for indices, _ in shown], colors)
    if depth is None:
        depth = float(camera.project(solid.place)[1])
    return brush.sprite(depth, owner, motion)


def shade_solid(
    solid: Solid, camera: Camera, sun: NDArray[np.float64], mask: NDArray[np.uint8], floor: float
) -> None:
    """Draw the shadow of a solid on the plane z = `floor` into a mask of the picture's size."""
    world = solid.points(solid.mesh.vertices)
    corners = solid.points(footprint_corners(solid.mesh))
    rise = np.maximum(world[:, 2:] - floor, 0)
    flat = np.concatenate([world - rise / sun[2] * sun, corners])
    flat[:, 2] = floor
    pixels, depths = camera.project(flat)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if depths.min() > _NEAREST and in_picture(camera, low, high):
        fill_shadow(mask, pixels)


def footprint_corners(mesh: Mesh) -> NDArray[np.float64]:
    """Corners of the rectangle that a mesh stands on, forward, left, up, shape (4, 3)."""
    length, width = mesh.half
    return np.array(
        [(length, width, 0), (-length, width, 0), (-length, -width, 0), (length, -width, 0.0)]
    )


def depth_order(camera: Camera, footprints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depths that put things standing on the ground in the right order of painting.

    The distance of the middle is wrong for a bus beside a bicycle. Of two rectangles that do not
    overlap, a side of one has the other behind it; which of the two is in front is told by the
    side of it on which the camera stands.

    Args:
        camera: Who looks.
        footprints: Corners of n rectangles, in order around, in metres, shape (n, 4, 2).

    Returns:
        Depths in metres that are nearly those of the middles, shape (n,).
    """
    count = len(footprints)
    middles = np.column_stack([footprints.mean(axis=1), np.zeros(count)])
    depths = camera.project(middles)[1]
    along = np.roll(footprints, -1, axis=1) - footprints
    normals = np.stack([along[..., 1], -along[..., 0]], axis=-1)  # outward or inward, all alike
    inward = np.sum(normals * (middles[:, None, :2] - footprints), axis=-1) > 0
    normals = np.where(inward[..., None], -normals, normals)
    offsets = np.sum(normals * footprints, axis=-1)
    camera_out = normals @ camera.position[:2] > offsets  # (n, 4)
    others = np.einsum("ikd,jcd->ijkc", normals, footprints) - offsets[:, None, :, None]
    beyond = others.min(axis=-1) > -0.05  # [i, j, k]: j lies outside side k of i
    nearer = (beyond & camera_out[:, None]).any(axis=-1)  # j is in front of i
    farther = (beyond & ~camera_out[:, None]).any(axis=-1) & ~nearer
    front = farther | (nearer.T & ~farther.T)  # [i, j]: i is in front of j
    front &= ~front.T
    for _ in range(4):
        pairs = np.argwhere(front & (depths[:, None] >= depths))
        if not len(pairs):
            break
        for near, far in pairs.tolist():
            if depths[near] >= depths[far]:
                depths[near] = depths[far] - 1e-3
    return np.asarray(np.maximum(depths, NEAR), np.float64)
