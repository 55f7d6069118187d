"""How people on a football pitch move: passes, runs, marking, chasing; bounded accelerations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SPEED = 8.0
"""Metres a second nobody exceeds."""
MAX_ACCELERATION = 5.0
"""Metres a second, per second, that nobody exceeds; turning counts."""
REFEREE = -1

_STEP = 0.04
_REACTION = 0.3
_BALL_DRAG = 2.2
_REACH = 0.9
_CLOSE = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Where the game is.

    Attributes:
        focus: Around which place, in metres, shape (2,).
        spread: How far people stand from the middle of the game, deviation in x and y.
        wander: How far the middle of the game moves from the focus, in x and y.
        half: Half the length and width of the pitch.
        goal: The goal that keepers guard, shape (2,).
    """

    focus: NDArray[np.float64]
    spread: NDArray[np.float64]
    wander: NDArray[np.float64]
    half: NDArray[np.float64]
    goal: NDArray[np.float64]


class Play:
    """A game around a place that wanders.

    The team on the ball runs free of each other; the other marks man for man, its nearest two
    chase the ball; a loose ball is chased by the nearest of both.

    Args:
        rng: Where chance comes from.
        teams: Team of each person: 0, 1 or `REFEREE`, shape (n,).
        keeper: Who stays at the goal, bool, shape (n,).
        ground: Where they play.

    Attributes:
        xy: Positions in metres, shape (n, 2).
        velocity: In metres a second, shape (n, 2).
        ball: Position of the ball in metres, shape (2,).
        ball_velocity: In metres a second, shape (2,).
    """

    def __init__(
        self,
        rng: np.random.Generator,
        teams: NDArray[np.int64],
        keeper: NDArray[np.bool_],
        ground: Ground,
    ) -> None:
        self._rng = rng
        self._teams = teams
        self._keeper = keeper
        self._ground = ground
        count = len(teams)
        self._field = (teams != REFEREE) & ~keeper
        self._time = 0.0
        self._waves = rng.uniform(0, math.tau, (2, 2))
        self._periods = rng.uniform(6.0, 13.0, (2, 2))
        self._spots = rng.normal(0, 1, (count, 2))
        self._until = rng.uniform(0, 3, count)
        self._pace = rng.uniform(3.5, 6.5, count)
        self._marked = np.arange(count)
        self._mark_again = 0.0
        self.xy = self._bounded(self._middle() + self._spots * ground.spread)
        self.xy[keeper] = ground.goal
        self.velocity = np.zeros((count, 2))
        self._carrier = int(rng.choice(np.flatnonzero(self._field)))
        self._passer = -1
        self._passed = 0.0
        self._loose = False
        self._next_pass = 1.0
        self.ball = self.xy[self._carrier].copy()
        self.ball_velocity = np.zeros(2)

    def advance(self, seconds: float) -> None:
        """Let the game go on."""
        steps = math.ceil(seconds / _STEP - 1e-9)
        for _ in range(steps):
            self._step(seconds / steps)

    def facing(self) -> NDArray[np.float64]:
        """The direction in which each sees the ball, in radians, shape (n,)."""
        to_ball = self.ball - self.xy
        return np.asarray(np.arctan2(to_ball[:, 1], to_ball[:, 0]), np.float64)

    def _middle(self) -> NDArray[np.float64]:
        waves = np.sin(math.tau * self._time / self._periods + self._waves)
        return np.asarray(
            self._ground.focus + (waves @ [0.65, 0.35]) * self._ground.wander, np.float64
        )

    def _bounded(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        half = self._ground.half - 0.5
        return np.clip(xy, -half, half)

    def _step(self, dt: float) -> None:
        self._time += dt
        self._think()
        targets, pace = self._targets()
        gap = targets - self.xy
        distance = np.maximum(np.hypot(*gap.T), 1e-9)
        speed = np.minimum(pace, 1.6 * np.maximum(0, distance - 0.35))
        wish = gap / distance[:, None] * speed[:, None] + self._apart()
        change = (wish - self.velocity) / _REACTION
        size = np.maximum(np.hypot(*change.T), 1e-9)
        change *= np.minimum(1, 0.98 * MAX_ACCELERATION / size)[:, None]
        self.velocity = self.velocity + change * dt
        fast = np.maximum(np.hypot(*self.velocity.T), 1e-9)
        self.velocity *= np.minimum(1, MAX_SPEED / fast)[:, None]
        self.xy = self.xy + self.velocity * dt
        self._roll(dt)

    def _think(self) -> None:
        """New runs for those whose time is over, and new opponents to mark."""
        rng, count = self._rng, len(self._teams)
        spots, pace = rng.normal(0, 1, (count, 2)), rng.uniform(2.5, 7.0, count)
        lasting = rng.uniform(1.5, 5.0, count)
        due = self._time > self._until
        self._spots[due], self._pace[due] = spots[due], pace[due]
        self._until[due] = self._time + lasting[due]
        if self._time >= self._mark_again:
            self._mark_again = self._time + 2.0
            first, second = (np.flatnonzero(self._field & (self._teams == t)) for t in (0, 1))
            gaps = np.linalg.norm(self.xy[first][:, None] - self.xy[second], axis=2)
            rows, columns = linear_sum_assignment(gaps)
            self._marked[first[rows]] = second[columns]
            self._marked[second[columns]] = first[rows]

    def _targets(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where each wants to be, shape (n, 2), and how fast to go there, shape (n,)."""
        ground, teams = self._ground, self._teams
        targets = self._middle() + self._spots * ground.spread
        pace = self._pace.copy()
        attacking = teams[self._carrier]
        goalwards = np.where(teams == 0, -1.0, 1.0)
        marking = self._field & (teams != attacking) & (self._marked != np.arange(len(teams)))
        marked = self.xy[self._marked]
        marked = marked + np.stack([1.0 * goalwards, 0.5 * np.sin(self._until)], axis=1)
        targets[marking], pace[marking] = marked[marking], 6.0
        to_ball = np.hypot(*(self.xy - self.ball).T)
        to_ball[~self._field] = np.inf
        ahead = self.ball + 0.35 * self.ball_velocity
        for team in (0, 1):
            if team == attacking and not self._loose:
                continue
            mates = np.where(teams == team, to_ball, np.inf)
            chasing = np.argsort(mates, kind="stable")[: 1 if self._loose else 2]
            chasing = chasing[np.isfinite(mates[chasing])]
            targets[chasing], pace[chasing] = ahead, 7.4
        if not self._loose:
            pace[self._carrier] = min(float(pace[self._carrier]), 5.0)
        referee = teams == REFEREE
        targets[referee], pace[referee] = self.ball + np.array([-5.0, 3.0]), 4.5
        guard = self.ball - ground.goal
        out = min(3.0, 0.2 * float(np.hypot(*guard)))
        targets[self._keeper] = ground.goal + guard / max(1.0, float(np.hypot(*guard))) * out
        pace[self._keeper] = 3.5
        return self._bounded(targets), pace

    def _apart(self) -> NDArray[np.float64]:
        """What keeps people from walking through each other, in metres a second, shape (n, 2)."""
        gap = self.xy[:, None] - self.xy
        distance = np.maximum(np.hypot(gap[..., 0], gap[..., 1]), 1e-6)
        push = np.clip(_CLOSE - distance, 0, None) * 3.5 / distance
        np.fill_diagonal(push, 0)
        return np.asarray((gap * push[..., None]).sum(axis=1), np.float64)

    def _roll(self, dt: float) -> None:
        if self._loose:
            self._run_free(dt)
            return
        carrier = self.velocity[self._carrier]
        speed = float(np.hypot(*carrier))
        ahead = carrier / max(speed, 0.5) * (0.35 + 0.06 * speed)
        place = self.xy[self._carrier] + ahead
        self.ball_velocity = carrier
        self.ball = self.ball + (place - self.ball) * min(1, 9 * dt) + carrier * dt * 0.6
        if self._time >= self._next_pass:
            self._play_on()

    def _play_on(self) -> None:
        """Pass the ball to somebody near the middle of the game, not always of the own team."""
        rng, ball = self._rng, self.ball
        mine = self._teams == self._teams[self._carrier]
        to_middle = np.hypot(*(self.xy - self._middle()).T)
        far = np.hypot(*(self.xy - ball).T)
        weight = np.exp(-((to_middle / 7.0) ** 2)) * np.where(mine, 1.0, 0.15) * self._field
        weight = weight * (far > 3.5) + 1e-9 * self._field
        weight[self._carrier] = 0
        receiver = int(rng.choice(len(weight), p=weight / weight.sum()))
        speed = float(np.clip(5.0 + 0.7 * far[receiver], 6.0, 15.0))
        lead = self.xy[receiver] + self.velocity[receiver] * far[receiver] / speed
        way = lead - ball + rng.normal(0, 0.5, 2)
        self.ball_velocity = way / max(float(np.hypot(*way)), 1e-6) * speed
        self._loose, self._passer, self._passed = True, self._carrier, self._time

    def _run_free(self, dt: float) -> None:
        speed = float(np.hypot(*self.ball_velocity))
        slower = max(0.0, speed - _BALL_DRAG * dt) / max(speed, 1e-9)
        self.ball_velocity = self.ball_velocity * slower
        self.ball = self._bounded(self.ball + self.ball_velocity * dt)
        gaps = np.hypot(*(self.xy - self.ball).T)
        gaps[~self._field] = np.inf
        if self._time - self._passed < 0.5:
            gaps[self._passer] = np.inf
        nearest = int(np.argmin(gaps))
        if gaps[nearest] < _REACH:
            self._carrier, self._loose = nearest, False
            self._next_pass = self._time + float(self._rng.uniform(0.5, 2.5))
