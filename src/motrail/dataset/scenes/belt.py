"""How parcels move on conveyor belts: carried, bumping into each other, some riding on others.

The plane z = 0 is the belts' surface. Belts run along x, one behind the other, at their own speeds:
where the next is slower, parcels close up and push.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 1.30
JOINTS = (-0.75, 0.65)
"""Where one belt ends and the next begins, in metres."""
START, END = -3.3, 2.9
_FRICTION = 5.0
_SPIN_LOSS = 3.0
_STEP = 0.04
_TRIES = 8


class Belt:
    """Parcels on the way from `START` to `END`; one that arrives makes room for a new one.

    Args:
        rng: Where chance comes from.
        speeds: Of the three belts in metres a second.
        sizes: Half length, half width and height of the first parcels in metres, shape (n, 3).
        riders: Share of parcels that are laid on others.

    Attributes:
        xy: Positions of the middles in metres, shape (n, 2).
        z: Height of the base of each above the belt, shape (n,).
        heading: In radians, shape (n,).
        velocity: In metres a second, shape (n, 2).
        size: Half length, half width, height, shape (n, 3).
        serial: Number of each parcel from 1, never used again, shape (n,).
        under: The row of the parcel that each lies on, -1 for the belt, shape (n,).
        time: Seconds since the beginning.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        speeds: tuple[float, float, float],
        sizes: NDArray[np.float64],
        riders: float,
    ) -> None:
        self._rng = rng
        self.speeds = speeds
        self._riders = riders
        count = len(sizes)
        self.size = sizes.copy()
        self.xy = np.full((count, 2), END + 1)
        self.z = np.zeros(count)
        self.heading = np.zeros(count)
        self.velocity = np.zeros((count, 2))
        self.spin = np.zeros(count)
        self.serial = np.arange(1, count + 1)
        self.under = np.full(count, -1)
        self._offset = np.zeros((count, 3))
        self.time = 0.0
        self._next = count + 1
        self._placed = np.zeros(count, np.bool_)
        for i in range(count):
            self._put(i, float(rng.uniform(START, 1.5)))

    def advance(self, seconds: float) -> list[int]:
        """Let time pass; the rows of the parcels that are new."""
        steps = math.ceil(seconds / _STEP - 1e-9)
        fresh: list[int] = []
        for _ in range(steps):
            fresh += self._step(seconds / steps)
        return fresh

    def resize(self, i: int, size: NDArray[np.float64]) -> None:
        """Give a new parcel its size and put it at the beginning of the belts."""
        self.size[i] = size
        self._put(i, START)

    def _put(self, i: int, x: float) -> None:
        """Lay a parcel down where there is room, on another one now and then."""
        rng = self._rng
        self.spin[i] = 0.0
        self.velocity[i] = (self.speeds[0], 0.0)
        self.heading[i] = rng.normal(0, 0.5) + math.pi * rng.integers(2)
        rides, self.under[i], self.z[i] = rng.random() < self._riders, -1, 0.0
        if rides and self._ride(i, x):
            self._placed[i] = True
            return
        reach = float(np.hypot(self.size[i, 0], self.size[i, 1]))
        reaches = np.hypot(self.size[:, 0], self.size[:, 1])
        others = self._placed & (self.under < 0)
        others[i] = False
        room = max(0.0, WIDTH / 2 - reach * 0.9)
        while True:
            for y in rng.uniform(-room, room, _TRIES).tolist():
                gaps = np.hypot(self.xy[:, 0] - x, self.xy[:, 1] - y) - 0.86 * (reaches + reach)
                if not np.any(others & (gaps < 0)):
                    self.xy[i] = (x, y)
                    self._placed[i] = True
                    return
            x -= 0.12

    def _ride(self, i: int, x: float) -> bool:
        """Lay parcel i on a larger one near x, if there is one with nothing on it."""
        fits = self._placed & (self.under < 0) & (np.abs(self.xy[:, 0] - x) < 0.6)
        fits &= (self.size[:, :2] > self.size[i, :2] * 0.95).all(axis=1) & (self.size[:, 2] > 0.05)
        fits[i] = False
        fits[self.under[self.under >= 0]] = False
        if x == START:
            fits &= self.xy[:, 0] < -2.6
        if not fits.any():
            return False
        j = int(np.flatnonzero(fits)[0])
        slack = np.maximum(self.size[j, :2] - self.size[i, :2], 0)
        self.under[i] = j
        self._offset[i] = (*(self._rng.uniform(-1, 1, 2) * slack), self._rng.normal(0, 0.12))
        self.z[i] = self.size[j, 2]
        self._carry()
        return True

    def _carry(self) -> None:
        """Riders stay where they are on what they ride on."""
        rows = np.flatnonzero(self.under >= 0)
        if not len(rows):
            return
        below = self.under[rows]
        cos, sin = np.cos(self.heading[below]), np.sin(self.heading[below])
        dx, dy, turn = self._offset[rows].T
        self.xy[rows, 0] = self.xy[below, 0] + dx * cos - dy * sin
        self.xy[rows, 1] = self.xy[below, 1] + dx * sin + dy * cos
        self.heading[rows] = self.heading[below] + turn
        self.velocity[rows] = self.velocity[below]

    def _step(self, dt: float) -> list[int]:
        self.time += dt
        belt = np.array(self.speeds)[np.searchsorted(JOINTS, self.xy[:, 0])]
        drag = min(1.0, _FRICTION * dt)
        self.velocity[:, 0] += (belt - self.velocity[:, 0]) * drag
        self.velocity[:, 1] -= self.velocity[:, 1] * drag
        self.spin -= self.spin * min(1.0, _SPIN_LOSS * dt)
        self.xy += self.velocity * dt
        self.heading += self.spin * dt
        self._bump()
        self._carry()
        done = (self.xy[:, 0] > END) & (self.under < 0)
        fresh = []
        for i in np.flatnonzero(done).tolist():
            for k in (i, *np.flatnonzero(self.under == i).tolist()):
                self.serial[k], self._next = self._next, self._next + 1
                self._placed[k] = False
                self.xy[k, 0] = 2 * START  # until it is laid down
                self.under[k] = -1
                fresh.append(k)
        return fresh

    def _bump(self) -> None:
        """Push apart what overlaps, along the direction of least overlap; edges push back."""
        rows = np.flatnonzero(self._placed & (self.under < 0))
        reaches = np.hypot(self.size[rows, 0], self.size[rows, 1])
        gap = self.xy[rows][:, None] - self.xy[rows]
        close = np.hypot(gap[..., 0], gap[..., 1]) < reaches[:, None] + reaches
        for a, b in np.argwhere(np.triu(close, 1)).tolist():
            i, j = int(rows[a]), int(rows[b])
            if self.size[i, 2] < 0.05 and self.size[j, 2] < 0.05:
                continue  # envelopes slide over each other
            push = self._overlap(i, j)
            if push is not None:
                self._separate(i, j, push)
        room = WIDTH / 2 - np.abs(np.sin(self.heading)) * self.size[:, 0]
        room -= np.abs(np.cos(self.heading)) * self.size[:, 1]
        self.xy[:, 1] = np.clip(self.xy[:, 1], -np.maximum(room, 0), np.maximum(room, 0))

    def _corners(self, i: int) -> NDArray[np.float64]:
        cos, sin = math.cos(self.heading[i]), math.sin(self.heading[i])
        along = np.array([cos, sin]) * self.size[i, 0]
        across = np.array([-sin, cos]) * self.size[i, 1]
        signs = np.array([along + across, along - across, -along - across, across - along])
        return np.asarray(self.xy[i] + signs, np.float64)

    def _overlap(self, i: int, j: int) -> NDArray[np.float64] | None:
        """How j has to move to be clear of i, by the separating axes; None when it is."""
        first, second = self._corners(i), self._corners(j)
        angle = np.array([self.heading[i], self.heading[j]])
        axes = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        axes = np.concatenate([axes, np.stack([-axes[:, 1], axes[:, 0]], axis=1)])
        a, b = first @ axes.T, second @ axes.T
        depth = np.minimum(a.max(axis=0) - b.min(axis=0), b.max(axis=0) - a.min(axis=0))
        least = int(depth.argmin())
        if depth[least] <= 0:
            return None
        axis = axes[least] * math.copysign(1.0, float(axes[least] @ (self.xy[j] - self.xy[i])))
        return np.asarray(axis * depth[least], np.float64)

    def _separate(self, i: int, j: int, push: NDArray[np.float64]) -> None:
        area = np.prod(self.size[[i, j]], axis=1)
        share = float(area[0] / area.sum())  # the heavier moves less
        self.xy[i] -= push * (1 - share)
        self.xy[j] += push * share
        axis = push / max(float(np.hypot(*push)), 1e-9)
        closing = float((self.velocity[i] - self.velocity[j]) @ axis)
        if closing > 0:
            self.velocity[i] -= axis * closing * (1 - share)
            self.velocity[j] += axis * closing * share
            arm = self.xy[j] - self.xy[i]
            twist = float(arm[0] * axis[1] - arm[1] * axis[0])
            self.spin[i] += np.clip(3.0 * twist * closing * (1 - share), -1, 1)
            self.spin[j] += np.clip(3.0 * twist * closing * share, -1, 1)
