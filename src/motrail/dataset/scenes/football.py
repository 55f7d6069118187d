"""Football: two teams, a referee and sometimes a keeper, seen from the stand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.scenes.camera import Camera
from motrail.dataset.scenes.figure import Clothes, Crowd, complexion, draw_people, shade_people
from motrail.dataset.scenes.pitch import HALF, draw_pitch, flag, goal_posts, pillar
from motrail.dataset.scenes.play import REFEREE, Ground, Play
from motrail.dataset.scenes.render import Brush, Sprite, in_picture, shade_shadow
from motrail.dataset.scenes.scene import Objects, streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.render import Color
    from motrail.dataset.scenes.settings import SceneSettings

# Shirt, accent (middle of the shirt), shorts, socks.
_KITS: tuple[tuple[Color, Color, Color, Color], ...] = (
    ((42, 38, 196), (42, 38, 196), (40, 36, 186), (42, 38, 196)),
    ((44, 40, 190), (226, 228, 230), (228, 230, 232), (44, 40, 190)),
    ((176, 92, 34), (176, 92, 34), (228, 230, 232), (176, 92, 34)),
    ((120, 48, 26), (120, 48, 26), (112, 44, 24), (120, 48, 26)),
    ((204, 158, 92), (204, 158, 92), (232, 232, 232), (204, 158, 92)),
    ((228, 230, 232), (228, 230, 232), (226, 228, 230), (226, 228, 230)),
    ((224, 226, 228), (60, 44, 180), (50, 46, 44), (224, 226, 228)),
    ((44, 42, 42), (44, 42, 42), (40, 38, 38), (44, 42, 42)),
    ((52, 50, 52), (224, 226, 226), (44, 42, 42), (52, 50, 52)),
    ((44, 200, 232), (44, 200, 232), (150, 84, 30), (44, 200, 232)),
    ((30, 122, 236), (30, 122, 236), (44, 42, 42), (30, 122, 236)),
    ((58, 26, 112), (58, 26, 112), (228, 230, 232), (58, 26, 112)),
    ((150, 60, 130), (150, 60, 130), (140, 56, 122), (150, 60, 130)),
)
_KEEPERS: tuple[Color, ...] = ((60, 220, 180), (200, 120, 230), (50, 160, 250))
_REFEREES: tuple[Color, ...] = ((52, 232, 238), (40, 40, 42), (190, 170, 60))
_DIFFERENCE = ((170, 999), (110, 260), (45, 130))
"""How far apart the shirts of the teams are in RGB, by difficulty: from, to."""

_WARM_UP = 5.0
_BALL = 0.11
_PERSON, _BALL_CLASS = 0, 1


class FootballWorld:
    """A part of a football match."""

    def __init__(self, settings: SceneSettings) -> None:
        self._settings = settings
        self.classes: tuple[str, ...] = ("player", "ball") if settings.ball else ("player",)
        rng = streams(settings, 1)
        self.camera, focus, turn = _camera(settings, rng)
        azimuth, height = rng.uniform(0, math.tau), math.radians(rng.uniform(32, 60))
        self._sun = np.array(
            [
                math.cos(azimuth) * math.cos(height),
                math.sin(azimuth) * math.cos(height),
                math.sin(height),
            ]
        )
        count = settings.object_count
        self._goal_side = math.copysign(1.0, focus[0])
        near_goal = abs(focus[0]) > 30
        teams, keeper = _roles(count, near_goal, self._goal_side)
        self._near_goal = near_goal
        self._play = Play(streams(settings, 2), teams, keeper, _ground(settings, focus, turn))
        wardrobe = streams(settings, 3)
        self._crowd = Crowd(
            self._play.xy,
            self._play.velocity,
            wardrobe.uniform(-math.pi, math.pi, count),
            wardrobe.uniform(0, math.tau, count),
            wardrobe.normal(1.81, 0.055, count).clip(1.66, 1.98),
            _dress(wardrobe, teams, keeper, settings.level),
        )
        for _ in range(round(_WARM_UP / 0.04)):
            self.advance(0.04)

    def backdrop(self, camera: Camera) -> NDArray[np.uint8]:
        """The empty pitch."""
        return draw_pitch(camera, streams(self._settings, 4))

    def refresh(self, image: NDArray[np.uint8]) -> None:
        """Nothing of it moves."""

    def scenery(self, camera: Camera) -> list[Sprite]:
        """Goals, and with occluders: flags at the corners and posts near the camera."""
        sprites = goal_posts(camera, self._goal_side) if self._near_goal else []
        if self._settings.occluders:
            rng = streams(self._settings, 5)
            for x in (-HALF[0], HALF[0]):
                for y in (-HALF[1], HALF[1]):
                    sprites += flag(camera, (x, y), (40.0, 60, 220))
            sprites += self._posts(camera, rng)
        return sprites

    def _posts(self, camera: Camera, rng: np.random.Generator) -> list[Sprite]:
        base = self.camera
        share = rng.uniform(0.15, 0.85)
        ray = base.rotation[2] + base.rotation[0] * (share - 0.5) * base.width / base.focal
        flat = ray[:2] / np.hypot(ray[0], ray[1])
        place = base.position[:2] + flat * 7.5
        return pillar(camera, (float(place[0]), float(place[1])), 14.0, rng.uniform(0.08, 0.14))

    def advance(self, seconds: float) -> None:
        """Let the match go on."""
        play, crowd = self._play, self._crowd
        play.advance(seconds)
        crowd.xy, crowd.velocity = play.xy, play.velocity
        crowd.walk(seconds, play.facing())

    def objects(self) -> Objects:
        """All persons, then the ball."""
        xy, count = self._crowd.xy, len(self._crowd.xy)
        class_ids = np.full(count, _PERSON, np.int64)
        if self._settings.ball:
            xy = np.vstack([xy, self._play.ball])
            class_ids = np.append(class_ids, _BALL_CLASS)
        return Objects(np.arange(1, len(xy) + 1), class_ids, xy)

    def sprites(self, camera: Camera, exposure: float) -> list[Sprite]:
        """All persons, then the ball."""
        sprites = draw_people(self._crowd, camera, self._sun, exposure)
        if self._settings.ball:
            sprites += self._ball(camera, exposure)
        return sprites

    def _ball(self, camera: Camera, exposure: float) -> list[Sprite]:
        center = np.append(self._play.ball, _BALL)
        ahead = center + np.append(self._play.ball_velocity, 0) * exposure
        pixels, depths = camera.project(np.stack([center, ahead]))
        radius = max(3.0, camera.focal * _BALL / max(float(depths[0]), 0.5))
        low, high = pixels[0] - radius, pixels[0] + radius
        if depths.min() < 0.5 or not in_picture(camera, low, high):
            return []
        brush = Brush(low, high)
        brush.disc(pixels[0], radius, (176, 178, 178))
        brush.disc(pixels[0] - 0.18 * radius, 0.72 * radius, (242, 244, 244))
        brush.disc(pixels[0], 0.26 * radius, (60, 58, 58))
        dx, dy = (pixels[1] - pixels[0]).tolist()
        return [brush.sprite(float(depths[0]), len(self._crowd.xy), (dx, dy))]

    def shadows(self, camera: Camera, mask: NDArray[np.uint8]) -> None:
        """On the grass."""
        shade_people(self._crowd, camera, self._sun, mask)
        if self._settings.ball:
            center = np.append(self._play.ball, _BALL)
            pixels, depth = camera.project((center - center[2] / self._sun[2] * self._sun)[None])
            if depth[0] > 0.5:
                radius = np.maximum(2.0, camera.focal * _BALL / depth)
                shade_shadow(mask, pixels, pixels, radius)


def _camera(
    settings: SceneSettings, rng: np.random.Generator
) -> tuple[Camera, NDArray[np.float64], float]:
    """The camera, the place in the middle of its picture, and how far it is turned from y."""
    focus = np.array([rng.uniform(-44, 44), rng.uniform(-20, 12)])
    turn = math.radians(rng.uniform(-38, 38))
    # Towards the middle where the goal is near, so that the corner of the stand is not in view.
    away = rng.uniform(19.5, 23.0)
    height = rng.uniform(6.0, 8.5)
    back = np.array([math.sin(turn), -math.cos(turn)]) * away
    focal = rng.uniform(740, 830) * settings.height / 360
    place = focus + back
    camera = Camera.looking(
        (float(place[0]), float(place[1]), height),
        (float(focus[0]), float(focus[1]), rng.uniform(0.0, 0.6)),
        focal,
        (settings.width, settings.height),
    )
    return camera, focus, turn


def _ground(settings: SceneSettings, focus: NDArray[np.float64], turn: float) -> Ground:
    # A picture is wider and less deep on the ground than high: people spread along the view.
    across = 5.0 + 0.12 * settings.object_count
    along = 6.0 + 0.10 * settings.object_count
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    spread = np.array([across * cos + along * sin, along * cos + across * sin])
    wander = np.array([6.5, 4.5])
    goal = np.array([math.copysign(HALF[0] - 0.8, focus[0]), 0.0])
    return Ground(focus, spread, wander, HALF + 2.0, goal)


def _roles(count: int, near_goal: bool, side: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Two teams in turn; the last of five or more is a referee, the one before may keep goal."""
    teams = np.arange(count) % 2
    keeper = np.zeros(count, np.bool_)
    if count >= 5:
        teams[-1] = REFEREE
        if near_goal:
            keeper[-2] = True
            teams[-2] = 0 if side < 0 else 1
    return teams.astype(np.int64), keeper


def _dress(
    rng: np.random.Generator, teams: NDArray[np.int64], keeper: NDArray[np.bool_], level: int
) -> list[Clothes]:
    kits = _pair_of_kits(rng, level)
    judge = _REFEREES[int(rng.integers(len(_REFEREES)))]
    guard = _KEEPERS[int(rng.integers(len(_KEEPERS)))]
    clothes = []
    for team, keeps in zip(teams.tolist(), keeper.tolist(), strict=True):
        shirt, accent, shorts, socks = kits[max(team, 0)]
        number: Color | None = (235, 235, 235) if sum(shirt) < 420 else (40, 36, 34)
        if team == REFEREE:
            shirt = accent = judge
            shorts = socks = (38, 36, 36)
            number = None
        elif keeps:
            shirt = accent = socks = guard
        skin, hair = complexion(rng)
        boots = ((30, 30, 32), (225, 225, 225), (60, 80, 230), (70, 220, 200))[int(rng.integers(4))]
        arm = shirt if keeps or rng.random() < 0.15 else skin
        clothes.append(
            Clothes(shirt, accent, shirt, shorts, skin, socks, boots, arm, number, skin, hair)
        )
    return clothes


def _pair_of_kits(
    rng: np.random.Generator, level: int
) -> tuple[tuple[Color, Color, Color, Color], tuple[Color, Color, Color, Color]]:
    low, high = _DIFFERENCE[level]
    shirts = np.array([kit[0] for kit in _KITS], np.float64)
    apart = np.linalg.norm(shirts[:, None] - shirts, axis=2)
    first, second = np.nonzero((apart >= low) & (apart <= high))
    pick = int(rng.integers(len(first)))
    return _KITS[first[pick]], _KITS[second[pick]]
