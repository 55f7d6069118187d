"""Shapes and colours of cars, vans, lorries and buses."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motrail.dataset.scenes.solids import Mesh, MeshBuilder

if TYPE_CHECKING:
    import numpy as np

    from motrail.dataset.scenes.render import Color

_PAINTS: tuple[Color, ...] = (
    (225, 225, 222),
    (188, 186, 182),
    (132, 130, 128),
    (66, 62, 60),
    (44, 42, 44),
    (48, 44, 176),
    (150, 86, 40),
    (96, 62, 34),
    (70, 104, 60),
    (150, 176, 196),
    (60, 150, 220),
)
_CARGO: tuple[Color, ...] = ((230, 228, 224), (200, 150, 60), (70, 70, 200), (90, 160, 90))
_BUS: tuple[Color, ...] = ((60, 60, 200), (60, 190, 230), (190, 130, 40), (90, 150, 60))

Profile = tuple[tuple[float, float, float, str], ...]

# Forward, up, half the width, and the material of the strip from this point to the next.
_SEDAN: Profile = (
    (2.20, 0.28, 0.80, "bumper"),
    (2.22, 0.52, 0.86, "paint"),
    (2.10, 0.74, 0.87, "paint"),
    (1.05, 0.94, 0.88, "glass"),
    (0.30, 1.42, 0.66, "paint"),
    (-0.95, 1.44, 0.66, "glass"),
    (-1.65, 1.02, 0.84, "paint"),
    (-2.12, 0.98, 0.84, "paint"),
    (-2.22, 0.55, 0.86, "bumper"),
    (-2.20, 0.28, 0.80, "bumper"),
)
_HATCH: Profile = (
    (1.90, 0.28, 0.78, "bumper"),
    (1.92, 0.52, 0.84, "paint"),
    (1.80, 0.78, 0.85, "paint"),
    (1.00, 0.98, 0.86, "glass"),
    (0.30, 1.50, 0.66, "paint"),
    (-1.40, 1.50, 0.66, "glass"),
    (-1.85, 1.00, 0.84, "paint"),
    (-1.92, 0.55, 0.84, "bumper"),
    (-1.90, 0.28, 0.78, "bumper"),
)
_ESTATE: Profile = (
    (2.30, 0.34, 0.84, "bumper"),
    (2.32, 0.62, 0.92, "paint"),
    (2.22, 0.92, 0.93, "paint"),
    (1.10, 1.10, 0.94, "glass"),
    (0.45, 1.68, 0.74, "paint"),
    (-1.95, 1.68, 0.74, "glass"),
    (-2.25, 1.10, 0.90, "paint"),
    (-2.32, 0.62, 0.92, "bumper"),
    (-2.30, 0.34, 0.84, "bumper"),
)
_VAN: Profile = (
    (2.60, 0.34, 0.90, "bumper"),
    (2.62, 0.70, 0.98, "paint"),
    (2.45, 1.15, 0.98, "paint"),
    (1.95, 1.35, 0.98, "glass"),
    (1.35, 2.20, 0.90, "paint"),
    (-2.58, 2.25, 0.90, "paint"),
    (-2.62, 0.60, 0.98, "bumper"),
    (-2.60, 0.34, 0.90, "bumper"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A kind of vehicle.

    Attributes:
        kind: Its class: `car` or `truck`.
        mesh: Its shape.
        length: In metres.
    """

    kind: str
    mesh: Mesh
    length: float


def models() -> tuple[dict[str, Model], tuple[str, ...], tuple[str, ...]]:
    """All models by name, the names of the cars and the names of the trucks."""
    known = {
        "sedan": Model("car", _car(_SEDAN, (0.86, -1.42), 0.98, 1.36), 4.44),
        "hatch": Model("car", _car(_HATCH, (0.82, -1.62), 1.02, 1.42), 3.84),
        "estate": Model("car", _car(_ESTATE, (0.92, -2.02), 1.14, 1.60), 4.64),
        "van": Model("truck", _car(_VAN, (1.72, 0.55), 1.38, 2.02), 5.24),
        "lorry": Model("truck", _lorry(), 7.6),
        "bus": Model("truck", _bus(), 10.6),
    }
    return known, ("sedan", "hatch", "estate"), ("van", "lorry", "bus")


def paint(rng: np.random.Generator, name: str, level: int) -> dict[str, Color]:
    """Colours of a vehicle; the harder the scene, the fewer there are to choose from."""
    choice = (len(_PAINTS), len(_PAINTS), 4)[level]
    body = _PAINTS[int(rng.integers(choice))]
    if name == "van":
        body = _PAINTS[int(rng.integers(2))]
    cargo = _CARGO[int(rng.integers(len(_CARGO)))]
    if name == "bus":
        body = _BUS[int(rng.integers(len(_BUS)))]
    return {
        "paint": body,
        "paint_top": body,
        "bumper": (58.0, 56, 56),
        "glass": (74.0, 62, 50),
        "cargo": cargo,
        "cargo_top": cargo,
        "frame": (52.0, 50, 50),
        "frame_top": (52.0, 50, 50),
        "tyre": (34.0, 32, 32),
        "rim": (150.0, 148, 146),
        "lamp": (225.0, 245, 250),
        "rear_lamp": (40.0, 36, 200),
        "band": (228.0, 228, 228),
    }


def _car(profile: Profile, window: tuple[float, float], low: float, high: float) -> Mesh:
    """A body whose outline is pulled across, with side windows, wheels and lamps."""
    builder = MeshBuilder()
    builder.both_sides([(x, half, z) for x, z, half, _ in profile], "paint")
    for (x, z, half, material), (x2, z2, half2, _) in itertools.pairwise(profile):
        builder.face([(x, -half, z), (x, half, z), (x2, half2, z2), (x2, -half2, z2)], material)
    front, rear = window
    waist = max(half for _, _, half, _ in profile)
    roof = min(half for x, z, half, _ in profile if z > high)
    rows = ((front, -0.06), (rear, 0.12)) if rear > 0 else ((front, -0.62), (rear, 0.42))
    builder.both_sides(
        [
            (front, waist - 0.015, low),
            (front + rows[0][1], roof + 0.045, high),
            (rear + rows[1][1], roof + 0.045, high),
            (rear, waist - 0.015, low),
        ],
        "glass",
    )
    length = profile[1][0]
    for x in (0.62 * length, -0.62 * length):
        builder.wheel(x, waist - 0.02, 0.33)
    lamp, tail = profile[1], profile[-2]
    for y in (0.62 * waist, -0.62 * waist):
        _plate(builder, lamp[0] - 0.03, y, lamp[1] + 0.08, "lamp", 1.0)
        _plate(builder, tail[0] - 0.01, y, tail[1] + 0.1, "rear_lamp", -1.0)
    return builder.mesh((length, waist))


def _plate(
    builder: MeshBuilder, x: float, y: float, z: float, material: str, direction: float
) -> None:
    """A lamp that looks forward (direction 1) or backward (-1)."""
    wide, high = 0.17 * direction, 0.07
    builder.face(
        [
            (x, y - wide, z - high),
            (x, y + wide, z - high),
            (x, y + wide, z + high),
            (x, y - wide, z + high),
        ],
        material,
    )


def _lorry() -> Mesh:
    builder = MeshBuilder()
    builder.box((-3.8, -0.9, 0.45), (1.95, 0.9, 0.95), "frame")
    for x in (2.6, -1.6, -2.7):
        builder.wheel(x, 1.12, 0.48)
    builder.box((-3.8, -1.22, 0.95), (1.9, 1.22, 3.3), "cargo")
    builder.box((2.0, -1.1, 0.55), (3.8, 1.1, 2.5), "paint")
    builder.face(
        [(3.81, -1.0, 1.45), (3.81, 1.0, 1.45), (3.81, 1.0, 2.2), (3.81, -1.0, 2.2)], "glass"
    )
    builder.both_sides(
        [(3.6, 1.11, 1.45), (3.6, 1.11, 2.15), (2.7, 1.11, 2.15), (2.7, 1.11, 1.45)], "glass"
    )
    for y in (0.9, -0.9):
        _plate(builder, 3.82, y, 0.85, "lamp", 1.0)
        _plate(builder, -3.82, y, 0.85, "rear_lamp", -1.0)
    return builder.mesh((3.8, 1.22), joint=1.95)


def _bus() -> Mesh:
    builder = MeshBuilder()
    builder.box((-5.3, -1.25, 0.35), (5.3, 1.25, 3.0), "paint")
    builder.face(
        [(5.31, -1.15, 1.2), (5.31, 1.15, 1.2), (5.31, 1.15, 2.6), (5.31, -1.15, 2.6)], "glass"
    )
    builder.face(
        [(-5.31, 1.0, 1.7), (-5.31, -1.0, 1.7), (-5.31, -1.0, 2.6), (-5.31, 1.0, 2.6)], "glass"
    )
    builder.both_sides(
        [(5.3, 1.26, 0.75), (5.3, 1.26, 0.95), (-5.3, 1.26, 0.95), (-5.3, 1.26, 0.75)], "band"
    )
    for k in range(6):
        x = 4.9 - 1.7 * k
        builder.both_sides(
            [(x, 1.26, 1.35), (x, 1.26, 2.5), (x - 1.5, 1.26, 2.5), (x - 1.5, 1.26, 1.35)], "glass"
        )
    for x in (3.5, -3.2):
        builder.wheel(x, 1.27, 0.5)
    for y in (0.95, -0.95):
        _plate(builder, 5.32, y, 0.7, "lamp", 1.0)
        _plate(builder, -5.32, y, 0.8, "rear_lamp", -1.0)
    return builder.mesh((5.3, 1.27))
