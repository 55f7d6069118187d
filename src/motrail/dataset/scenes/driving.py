"""How vehicles and pedestrians move at a junction with traffic lights.

Vehicles keep their distance by the Intelligent Driver Model (Treiber, Hennecke and Helbing,
Congested traffic states in empirical observations and microscopic simulations, Physical Review E
62, 2000). They go straight on or turn right, and let pedestrians cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANE = 3.4
_FAR = 62.0
_GREEN, _AMBER, _CLEAR = 8.0, 2.0, 1.5
_ACCELERATION, _BRAKING, _HEADWAY, _STANDSTILL = 1.9, 2.6, 1.1, 1.8
_HARDEST = 7.5
_STEP = 0.1
_POINT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A way through the junction.

    Attributes:
        points: Every half metre, shape (n, 2).
        headings: Direction at each, in radians, shape (n,).
        stop: How far along it the stop line is, in metres.
        axis: 0 when it enters along x, 1 along y.
        turns: Whether it turns.
    """

    points: NDArray[np.float64]
    headings: NDArray[np.float64]
    stop: float
    axis: int
    turns: bool

    @property
    def length(self) -> float:
        """In metres."""
        return (len(self.points) - 1) * _POINT


@dataclass(frozen=True, slots=True)
class Layout:
    """Half the widths of the two roads in metres: of the one along x, of the one along y."""

    half_x: float
    half_y: float

    @property
    def crossing(self) -> tuple[float, float]:
        """How far from the middle pedestrians cross the road along x, along y."""
        return self.half_y + 2.6, self.half_x + 2.6


def paths(layout: Layout) -> list[Path]:
    """All ways, straight and to the right, from the four directions."""
    found = []
    for quarter in range(4):
        along_x = quarter % 2 == 0
        own, other = (layout.half_x, layout.half_y) if along_x else (layout.half_y, layout.half_x)
        lanes = round(own / LANE)
        stop = _FAR - other - 5.2
        cos, sin = math.cos(quarter * math.pi / 2), math.sin(quarter * math.pi / 2)
        turn = np.array([[cos, sin], [-sin, cos]])
        for lane in range(lanes):
            right = -(lane + 0.5) * LANE  # traffic keeps to the right
            straight = np.array([[-_FAR, right], [_FAR, right]])
            found.append(_path(straight @ turn, stop, quarter % 2, turns=False))
        outer = -(lanes - 0.5) * LANE
        target = -(round(other / LANE) - 0.5) * LANE
        radius = 6.0 - 0.5 * LANE + 1.2
        angle = np.linspace(0, math.pi / 2, 10)
        middle = (target - radius, outer - radius)
        bend = np.stack(
            [middle[0] + radius * np.sin(angle), middle[1] + radius * np.cos(angle)], axis=1
        )
        route = np.vstack([[[-_FAR, outer]], bend, [[target, -_FAR]]])
        found.append(_path(route @ turn, stop, quarter % 2, turns=True))
    return found


def _path(corners: NDArray[np.float64], stop: float, axis: int, *, turns: bool) -> Path:
    pieces = np.hypot(*np.diff(corners, axis=0).T)
    at = np.concatenate([[0], np.cumsum(pieces)])
    steps = np.arange(0, at[-1], _POINT)
    points = np.stack([np.interp(steps, at, corners[:, k]) for k in (0, 1)], axis=1)
    way = np.gradient(points, axis=0)
    headings = np.unwrap(np.arctan2(way[:, 1], way[:, 0]))
    return Path(points, headings, stop, axis, turns)


class Lights:
    """The traffic lights: one road after the other."""

    def __init__(self, offset: float) -> None:
        self._offset = offset

    def state(self, axis: int, time: float) -> str:
        """`green`, `amber` or `red` for vehicles that enter along `axis`."""
        half = _GREEN + _AMBER + _CLEAR
        at = (time + self._offset + axis * half) % (2 * half)
        if at < _GREEN:
            return "green"
        return "amber" if at < _GREEN + _AMBER else "red"

    def may_walk(self, axis: int, time: float, needed: float) -> bool:
        """Whether pedestrians may begin to cross the road along `axis`, which takes them `needed`.

        They walk while the other road is green.
        """
        half = _GREEN + _AMBER + _CLEAR
        at = (time + self._offset + (1 - axis) * half) % (2 * half)
        return at + 0.75 * needed < _GREEN + _AMBER


class Traffic:
    """Vehicles on the roads.

    A vehicle that has left comes back after a while from another side; it stays itself.

    Args:
        rng: Where chance comes from.
        layout: The junction.
        lights: Its traffic lights.
        lengths: Of the vehicles in metres, shape (n,).
        turning: Which of them may turn, bool, shape (n,).

    Attributes:
        xy: Positions in metres, shape (n, 2).
        heading: In radians, shape (n,).
        speed: In metres a second, shape (n,).
    """

    def __init__(
        self,
        rng: np.random.Generator,
        layout: Layout,
        lights: Lights,
        lengths: NDArray[np.float64],
        turning: NDArray[np.bool_],
    ) -> None:
        self._rng = rng
        self._paths = paths(layout)
        self._lights = lights
        self._lengths = lengths
        self._turning = turning
        self.time = 0.0
        count = len(lengths)
        self._path = np.full(count, -1)
        self._at = np.zeros(count)
        self._wait = np.zeros(count)
        self.speed = np.zeros(count)
        self._wish = rng.uniform(8.5, 12.5, count)
        self.xy = np.full((count, 2), 1e4) + np.arange(count)[:, None] * 50
        self.heading = np.zeros(count)
        for i in rng.permutation(count).tolist():
            self._enter(i, float(rng.uniform(0, _FAR - 12)))

    def advance(self, seconds: float, walkers: NDArray[np.float64]) -> None:
        """Let time pass; `walkers` are the positions of pedestrians, shape (m, 2)."""
        steps = math.ceil(seconds / _STEP - 1e-9)
        for _ in range(steps):
            self._step(seconds / steps, walkers)

    def driving(self) -> NDArray[np.intp]:
        """Rows of those that are on a road."""
        return np.flatnonzero(self._path >= 0)

    def velocity(self) -> NDArray[np.float64]:
        """In metres a second, shape (n, 2)."""
        way = np.stack([np.cos(self.heading), np.sin(self.heading)], axis=1)
        return np.asarray(way * self.speed[:, None], np.float64)

    def _enter(self, i: int, at: float) -> None:
        """Put a vehicle on a path where there is room; it waits on where there is none."""
        open_to = [k for k, path in enumerate(self._paths) if self._turning[i] or not path.turns]
        k = open_to[int(self._rng.integers(len(open_to)))]
        place = self._paths[k].points[int(at / _POINT)]
        room = np.hypot(*(self.xy - place).T) - (self._lengths + self._lengths[i]) / 2
        room[i] = np.inf
        if room.min() < 3.5:
            self._wait[i] = 0.7
            return
        self._path[i], self._at[i] = k, at
        self.speed[i] = 0.7 * self._wish[i]
        self._place(i)

    def _place(self, i: int) -> None:
        path = self._paths[self._path[i]]
        at = min(float(self._at[i]) / _POINT, len(path.points) - 1.001)
        before = int(at)
        share = at - before
        self.xy[i] = (1 - share) * path.points[before] + share * path.points[before + 1]
        self.heading[i] = (1 - share) * path.headings[before] + share * path.headings[before + 1]

    def _step(self, dt: float, walkers: NDArray[np.float64]) -> None:
        self.time += dt
        driving = np.flatnonzero(self._path >= 0)
        changes = [self._change(i, walkers) for i in driving.tolist()]
        for i, change in zip(driving.tolist(), changes, strict=True):
            before = self.speed[i]
            self.speed[i] = max(0.0, before + change * dt)
            self._at[i] += (before + self.speed[i]) / 2 * dt
            if self._at[i] >= self._paths[self._path[i]].length:
                self._path[i], self._wait[i] = -1, self._rng.uniform(1.0, 5.0)
                self.xy[i] = 1e4 + 50 * i
                self.speed[i] = 0.0
            else:
                self._place(i)
        for i in np.flatnonzero(self._path < 0).tolist():
            self._wait[i] -= dt
            if self._wait[i] <= 0:
                self._enter(i, 0.0)

    def _change(self, i: int, walkers: NDArray[np.float64]) -> float:
        """Acceleration of vehicle i in metres a second, per second."""
        speed, wish = float(self.speed[i]), float(self._wish[i])
        path, at = self._paths[self._path[i]], float(self._at[i])
        if path.turns:
            near = math.exp(-(((at - path.stop - 9) / 11) ** 2))
            wish = wish * (1 - near) + 4.5 * near
        gap, other = self._ahead(i, path, at, walkers)
        light = self._lights.state(path.axis, self.time)
        to_line = path.stop - at - float(self._lengths[i]) / 2
        can_stop = to_line > speed * speed / (2 * 3.5)
        held = light == "red" or (light == "amber" and can_stop)
        if held and to_line > -1.0 and to_line + _STANDSTILL - 0.6 < gap:
            gap, other = to_line + _STANDSTILL - 0.6, 0.0
        wanted = _STANDSTILL + speed * _HEADWAY
        wanted += speed * (speed - other) / (2 * math.sqrt(_ACCELERATION * _BRAKING))
        free = 1 - (speed / max(wish, 0.1)) ** 4
        change = _ACCELERATION * (free - (max(wanted, _STANDSTILL) / max(gap, 0.1)) ** 2)
        return min(max(change, -_HARDEST), _ACCELERATION)

    def _ahead(
        self, i: int, path: Path, at: float, walkers: NDArray[np.float64]
    ) -> tuple[float, float]:
        """Free metres in front of vehicle i, and the speed of what is there."""
        start = int(at / _POINT)
        way = path.points[start : start + 90]
        best, speed = 200.0, 0.0
        for places, halves, speeds, width in (
            (self.xy, self._lengths / 2, self.speed, 1.7),
            (walkers, np.full(len(walkers), 0.3), np.zeros(len(walkers)), 1.9),
        ):
            if not len(places):
                continue
            distance = np.hypot(places[:, 0, None] - way[:, 0], places[:, 1, None] - way[:, 1])
            nearest = distance.argmin(axis=1)
            blocks = (distance.min(axis=1) < width) & (nearest > 0)
            if places is self.xy:
                blocks[i] = False
            for j in np.flatnonzero(blocks).tolist():
                gap = nearest[j] * _POINT - halves[j] - self._lengths[i] / 2
                if gap < best:
                    best, speed = max(float(gap), 0.05), float(speeds[j])
        return best, speed
