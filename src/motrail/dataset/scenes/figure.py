"""People: a jointed figure in metres, posed by its speed, drawn as strokes with light and shade."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.render import Brush, Sprite, in_picture, shade_shadow, tinted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.camera import Camera
    from motrail.dataset.scenes.render import Color

_SKIN: tuple[Color, ...] = (
    (160, 190, 228),
    (138, 172, 218),
    (115, 150, 200),
    (80, 112, 165),
    (58, 84, 128),
    (40, 58, 92),
)
_HAIR: tuple[Color, ...] = (
    (22, 22, 26),
    (30, 38, 52),
    (38, 58, 88),
    (70, 110, 150),
    (110, 165, 200),
    (120, 122, 126),
)

# Shares of the body's height (after Drillis and Contini, Body Segment Parameters, 1966).
_THIGH, _SHIN, _ANKLE = 0.245, 0.246, 0.043
_TORSO, _UPPER_ARM, _FOREARM, _FOOT = 0.285, 0.172, 0.157, 0.115
_HIP_WIDTH, _SHOULDER_WIDTH = 0.052, 0.108

_JOINTS = (
    "pelvis", "chest", "neck", "head", "crown",
    *(
        joint + side
        for side in "01"
        for joint in (
            "hip", "thigh", "knee", "ankle", "toe", "shoulder", "sleeve", "elbow", "wrist",
            "flank", "waist", "top", "bottom",
        )
    ),
)  # fmt: skip
_AT = {name: index for index, name in enumerate(_JOINTS)}


@dataclass(frozen=True, slots=True)
class Clothes:
    """Colours of one person from boots to hair; blue, green, red."""

    shirt: Color
    accent: Color
    sleeve: Color
    shorts: Color
    thigh: Color
    socks: Color
    boots: Color
    arm: Color
    number: Color | None
    skin: Color
    hair: Color


_STROKES: tuple[tuple[str, str, float, str], ...] = (
    ("neck", "head", 0.030, "skin"),
    ("head", "head", 0.058, "skin"),
    ("crown", "crown", 0.060, "hair"),
    ("chest", "pelvis", 0.064, "accent"),
    ("hip0", "hip1", 0.060, "shorts"),
    *(
        stroke
        for side in "01"
        for stroke in (
            ("flank" + side, "waist" + side, 0.062, "shirt"),
            ("hip" + side, "thigh" + side, 0.056, "shorts"),
            ("thigh" + side, "knee" + side, 0.042, "thigh"),
            ("knee" + side, "ankle" + side, 0.033, "socks"),
            ("ankle" + side, "toe" + side, 0.023, "boots"),
            ("shoulder" + side, "sleeve" + side, 0.036, "sleeve"),
            ("sleeve" + side, "elbow" + side, 0.026, "arm"),
            ("elbow" + side, "wrist" + side, 0.022, "arm"),
        )
    ),
)
_STARTS = np.array([_AT[stroke[0]] for stroke in _STROKES])
_ENDS = np.array([_AT[stroke[1]] for stroke in _STROKES])
_RADII = np.array([stroke[2] for stroke in _STROKES])
_COLORS = tuple(stroke[3] for stroke in _STROKES)


@dataclass(slots=True, eq=False)
class Crowd:
    """People and how they move at the moment; rows are persons.

    Attributes:
        xy: Position in metres, shape (n, 2).
        velocity: In metres a second, shape (n, 2).
        heading: Direction they face in radians, counter-clockwise from x, shape (n,).
        phase: Of the gait in radians, shape (n,).
        height: In metres, shape (n,).
        clothes: Of each.
    """

    xy: NDArray[np.float64]
    velocity: NDArray[np.float64]
    heading: NDArray[np.float64]
    phase: NDArray[np.float64]
    height: NDArray[np.float64]
    clothes: list[Clothes]

    def walk(self, seconds: float, facing: NDArray[np.float64]) -> None:
        """Move the legs and turn, towards where they go, or `facing` (n,) when they stand."""
        speed = np.hypot(*self.velocity.T)
        stride = 0.85 + 0.38 * speed
        self.phase = np.mod(self.phase + math.tau * speed * seconds / stride, math.tau)
        going = np.arctan2(self.velocity[:, 1], self.velocity[:, 0])
        wanted = np.where(speed > 0.6, going, facing)
        turn = np.mod(wanted - self.heading + math.pi, math.tau) - math.pi
        most = 5.0 * seconds
        self.heading = self.heading + np.clip(turn * min(1.0, 7 * seconds), -most, most)


def joints(crowd: Crowd) -> NDArray[np.float64]:
    """Where the joints of everybody are, in metres, shape (n, joints, 3)."""
    speed = np.hypot(*crowd.velocity.T)
    starting = np.minimum(1, speed / 0.4)
    swing = np.minimum(0.72, 0.30 * np.power(speed, 0.5)) * starting
    bend = np.minimum(1.7, 0.25 + 0.28 * speed) * starting
    elbow = 0.2 + np.minimum(1.4, 0.22 * speed)
    lean = np.minimum(0.3, 0.02 + 0.028 * speed)
    chest = (_TORSO * np.sin(lean), _TORSO * np.cos(lean))
    points = _trunk(chest)
    for side, sign in (("0", 1.0), ("1", -1.0)):
        angle = swing * np.sin(crowd.phase) * sign
        knee = 0.08 + bend * np.maximum(0, np.cos(crowd.phase) * sign)
        points |= _leg(side, sign, angle, knee)
        points |= _arm(side, sign, chest, -0.85 * angle, elbow)
    plane = np.zeros((len(speed), len(_JOINTS), 3))
    for name, point in points.items():
        for axis, value in enumerate(point):
            plane[:, _AT[name], axis] = value
    soles = np.minimum(plane[:, _AT["ankle0"], 2], plane[:, _AT["ankle1"], 2])
    plane[..., 2] += (_ANKLE - soles)[:, None]
    plane *= crowd.height[:, None, None]
    cos, sin = np.cos(crowd.heading)[:, None], np.sin(crowd.heading)[:, None]
    world = np.empty_like(plane)
    world[..., 0] = crowd.xy[:, 0:1] + plane[..., 0] * cos - plane[..., 1] * sin
    world[..., 1] = crowd.xy[:, 1:2] + plane[..., 0] * sin + plane[..., 1] * cos
    world[..., 2] = plane[..., 2]
    return world


_Points = dict[str, tuple["NDArray[np.float64] | float", ...]]


def _trunk(chest: tuple[NDArray[np.float64], NDArray[np.float64]]) -> _Points:
    forward, up = chest
    points: _Points = {
        "pelvis": (0.0, 0.0, 0.0),
        "chest": (forward * 0.9, 0.0, up * 0.9),
        "neck": (forward, 0.0, up),
        "head": (forward + 0.022, 0.0, up + 0.118),
        "crown": (forward + 0.004, 0.0, up + 0.132),
    }
    for side, sign in (("0", 1.0), ("1", -1.0)):
        points["flank" + side] = (forward * 0.86, sign * 0.058, up * 0.86)
        points["waist" + side] = (0.0, sign * 0.042, 0.02)
        points["top" + side] = (forward * 0.78 - 0.066, sign * 0.024, up * 0.80)
        points["bottom" + side] = (forward * 0.42 - 0.064, sign * 0.024, up * 0.50)
    return points


def _leg(side: str, sign: float, angle: NDArray[np.float64], knee: NDArray[np.float64]) -> _Points:
    """Hip to toe; the thigh's angle forward and the knee's bend in radians."""
    left = sign * _HIP_WIDTH
    shin, foot = angle - knee, 0.7 * (angle - knee)
    knee_at = (_THIGH * np.sin(angle), -_THIGH * np.cos(angle))
    ankle = (knee_at[0] + _SHIN * np.sin(shin), knee_at[1] - _SHIN * np.cos(shin))
    return {
        "hip" + side: (0.0, left, 0.0),
        "thigh" + side: (0.62 * knee_at[0], left, 0.62 * knee_at[1]),
        "knee" + side: (knee_at[0], left, knee_at[1]),
        "ankle" + side: (ankle[0], left, ankle[1]),
        "toe" + side: (
            ankle[0] + _FOOT * np.cos(foot),
            left,
            ankle[1] + _FOOT * np.sin(foot) - 0.02,
        ),
    }


def _arm(
    side: str,
    sign: float,
    chest: tuple[NDArray[np.float64], NDArray[np.float64]],
    angle: NDArray[np.float64],
    elbow: NDArray[np.float64],
) -> _Points:
    """Shoulder to wrist; the upper arm's angle forward and the elbow's bend in radians."""
    left = sign * _SHOULDER_WIDTH
    forward, up = 0.96 * chest[0], 0.96 * chest[1]
    upper = (_UPPER_ARM * np.sin(angle), -_UPPER_ARM * np.cos(angle))
    fore = angle + elbow
    elbow_at = (forward + upper[0], left * 1.22, up + upper[1])
    return {
        "shoulder" + side: (forward, left, up),
        "sleeve" + side: (forward + 0.6 * upper[0], left * 1.13, up + 0.6 * upper[1]),
        "elbow" + side: elbow_at,
        "wrist" + side: (
            elbow_at[0] + _FOREARM * np.sin(fore),
            left * 1.15,
            elbow_at[2] - _FOREARM * np.cos(fore),
        ),
    }


def draw_people(
    crowd: Crowd, camera: Camera, sun: NDArray[np.float64], exposure: float, first_owner: int = 0
) -> list[Sprite]:
    """Everybody who may be in the picture, drawn.

    Args:
        crowd: The people; person i becomes the sprite with owner `first_owner` + i.
        camera: Who looks.
        sun: Direction towards the light, unit length, shape (3,).
        exposure: How long the shutter is open, in seconds.
        first_owner: See `crowd`.
    """
    world = joints(crowd)
    pixels, depths = camera.project(world)
    feet = np.column_stack([crowd.xy, np.zeros(len(crowd.xy))])
    ahead = feet + np.column_stack([crowd.velocity * exposure, np.zeros(len(crowd.xy))])
    base, base_depth = camera.project(feet)
    motion = camera.project(ahead)[0] - base
    glow = np.array([camera.rotation[0] @ sun, camera.rotation[1] @ sun])
    away = camera.rotation[2]
    sprites = []
    for i in range(len(crowd.xy)):
        if depths[i].min() < 0.5:
            continue
        scale = camera.focal * crowd.height[i] / base_depth[i]
        low, high = pixels[i].min(axis=0) - 0.075 * scale, pixels[i].max(axis=0) + 0.075 * scale
        if not in_picture(camera, low, high):
            continue
        brush = Brush(low, high)
        facing = away[0] * math.cos(crowd.heading[i]) + away[1] * math.sin(crowd.heading[i])
        _draw_person(brush, pixels[i], depths[i], scale, crowd.clothes[i], glow, facing)
        move = (float(motion[i, 0]), float(motion[i, 1]))
        sprites.append(brush.sprite(float(base_depth[i]), first_owner + i, move))
    return sprites


def _draw_person(
    brush: Brush,
    pixels: NDArray[np.float64],
    depths: NDArray[np.float64],
    scale: float,
    clothes: Clothes,
    glow: NDArray[np.float64],
    facing: float,
) -> None:
    order = np.argsort(-(depths[_STARTS] + depths[_ENDS]), kind="stable")
    radii = _RADII[order] * scale
    ends = np.stack([pixels[_STARTS[order]], pixels[_ENDS[order]]], axis=1)
    lit = ends + (0.34 * radii[:, None] * glow)[:, None]
    strokes = np.stack([ends, lit], axis=1).reshape(-1, 2, 2)
    sizes = np.stack([radii, 0.66 * radii], axis=1).reshape(-1)
    colors = [
        tinted(getattr(clothes, _COLORS[k]), light)
        for k in order.tolist()
        for light in (0.78, 1.04)
    ]
    brush.limbs(strokes, sizes, colors)
    if facing > 0.25 and clothes.number is not None:
        for side in "01":
            top, bottom = pixels[_AT["top" + side]], pixels[_AT["bottom" + side]]
            brush.limb(top, bottom, 0.011 * scale, clothes.number)


def shade_people(
    crowd: Crowd, camera: Camera, sun: NDArray[np.float64], mask: NDArray[np.uint8]
) -> None:
    """Draw everybody's shadow on the ground into a mask of the picture's size."""
    world = joints(crowd)
    flat = world - world[..., 2:] / sun[2] * sun
    flat[..., 2] = 0
    pixels, depths = camera.project(flat)
    for i in np.flatnonzero(depths.min(axis=1) > 0.5).tolist():
        low, high = pixels[i].min(axis=0), pixels[i].max(axis=0)
        if not in_picture(camera, low, high):
            continue
        scale = camera.focal * crowd.height[i] / depths[i, 0]
        shade_shadow(mask, pixels[i, _STARTS], pixels[i, _ENDS], _RADII * scale)


def complexion(rng: np.random.Generator) -> tuple[Color, Color]:
    """Colours of somebody's skin and hair."""
    tone = int(rng.integers(len(_SKIN)))
    hair = int(rng.integers(len(_HAIR) if tone < 3 else 2))
    return _SKIN[tone], _HAIR[hair]
