"""How pedestrians move at a junction: along the pavements, and over the crossings when they may."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.driving import Layout, Lights

_REACTION = 0.5
_HARDEST = 3.0
_FAR = 24.0
_STEP = 0.1


class Walkers:
    """Pedestrians, who walk from corner to corner and now and then along the street and back.

    Args:
        rng: Where chance comes from.
        layout: The junction.
        lights: Its traffic lights.
        count: Of pedestrians.

    Attributes:
        xy: Positions in metres, shape (n, 2).
        velocity: In metres a second, shape (n, 2).
    """

    def __init__(
        self, rng: np.random.Generator, layout: Layout, lights: Lights, count: int
    ) -> None:
        self._rng = rng
        self._layout = layout
        self._lights = lights
        self.time = 0.0
        self._corner = np.where(rng.random((count, 2)) < 0.5, -1.0, 1.0)
        self._away = np.zeros((count, 2))
        self._own = rng.normal(0, 0.75, (count, 2)).clip(-1.3, 1.3)
        self._pace = rng.uniform(1.1, 1.7, count)
        self._pause = rng.uniform(0, 3, count)
        self.velocity = np.zeros((count, 2))
        self._target = self._corners()
        self.xy = self._target + rng.normal(0, 3, (count, 2)) * self._corner
        self.xy = self._corner * np.maximum(self.xy * self._corner, self._kerb())

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        steps = math.ceil(seconds / _STEP - 1e-9)
        for _ in range(steps):
            self._step(seconds / steps)

    def _kerb(self) -> NDArray[np.float64]:
        return np.array([self._layout.half_y, self._layout.half_x]) + 0.8

    def _corners(self) -> NDArray[np.float64]:
        place = np.array(self._layout.crossing) + self._own
        return np.asarray(self._corner * (place + self._away), np.float64)

    def _step(self, dt: float) -> None:
        self.time += dt
        gap = self._target - self.xy
        distance = np.maximum(np.hypot(*gap.T), 1e-9)
        arrived = distance < 0.5
        self._pause[arrived] -= dt
        for i in np.flatnonzero(arrived & (self._pause <= 0)).tolist():
            self._choose(i)
        speed = np.minimum(self._pace, 1.5 * np.maximum(0, distance - 0.2))
        wish = gap / distance[:, None] * speed[:, None]
        apart = self.xy[:, None] - self.xy
        between = np.maximum(np.hypot(apart[..., 0], apart[..., 1]), 1e-6)
        push = np.clip(0.7 - between, 0, None) * 1.6 / between
        np.fill_diagonal(push, 0)
        wish += (apart * push[..., None]).sum(axis=1)
        change = (wish - self.velocity) / _REACTION
        size = np.maximum(np.hypot(*change.T), 1e-9)
        change *= np.minimum(1, _HARDEST / size)[:, None]
        self.velocity = self.velocity + change * dt
        self.xy = self.xy + self.velocity * dt

    def _choose(self, i: int) -> None:
        """Go on: back to the corner, along the street, or across when that is allowed."""
        if self._away[i].any():
            self._away[i] = 0
            self._pause[i] = 0.2
        elif self._rng.random() < 0.12:
            self._away[i, int(self._rng.integers(2))] = self._rng.uniform(6, _FAR)
            self._pause[i] = 0.5
        else:
            # Along y one crosses the road that runs along x.
            axis = int(self._rng.integers(2))
            width = 2 * (self._layout.half_x if axis == 1 else self._layout.half_y)
            if self._lights.may_walk(1 - axis, self.time, width / self._pace[i]):
                self._corner[i, axis] *= -1
                self._pause[i] = self._rng.uniform(0.3, 2.0)
            else:
                self._pause[i] = 0.4
        self._target[i] = self._corners()[i]
