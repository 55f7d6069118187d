"""What is known of each object, a row for each, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.analyze.motion import Movement


@dataclass(slots=True, eq=False)
class Objects:
    """Sums by object, in order of ids; lengths in metres, or pixels without a calibration.

    Attributes:
        ids: int64, shape (n,).
        class_ids: As in the tracks, from 1, shape (n,): that of most boxes.
        boxes: How many each has, shape (n,).
        unusable: How many of those do not show the foot, shape (n,).
        first: Seconds of the first box, shape (n,).
        last: Seconds of the last box, shape (n,).
        seen: Seconds in which it is followed, gaps that are too long left out, shape (n,).
        moving: Seconds in which it is told apart from standing still, shape (n,).
        distance: shape (n,).
        top: Highest speed; NaN where there is none, shape (n,).
        top_low: Lower end of its 95 % interval, shape (n,).
        top_high: Upper end, shape (n,).
        top_time: Seconds when that was, shape (n,).
        speeding_up: Largest growth of the speed per second; NaN where there is none, shape (n,).
        zones: Seconds in each zone, shape (n, zones).
    """

    ids: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    boxes: NDArray[np.int64]
    unusable: NDArray[np.int64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    seen: NDArray[np.float64]
    moving: NDArray[np.float64]
    distance: NDArray[np.float64]
    top: NDArray[np.float64]
    top_low: NDArray[np.float64]
    top_high: NDArray[np.float64]
    top_time: NDArray[np.float64]
    speeding_up: NDArray[np.float64]
    zones: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def mean_speed(self) -> NDArray[np.float64]:
        """Distance by the seconds it was followed; NaN where that is none, shape (n,)."""
        known = (self.seen > 0) & np.isfinite(self.top)
        return np.where(known, self.distance / np.maximum(self.seen, 1e-9), np.nan)


@dataclass(slots=True)
class ObjectSums:
    """Takes blocks of whole objects one by one."""

    parts: list[Objects] = field(default_factory=list)

    def add(
        self,
        ids: NDArray[np.int64],
        class_ids: NDArray[np.int64],
        times: NDArray[np.float64],
        seconds: NDArray[np.float64],
        movement: Movement,
        inside: Sequence[NDArray[np.bool_]],
    ) -> None:
        """Take the rows of some objects, sorted by id."""
        starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
        ends = np.append(starts[1:], len(ids)) - 1
        tracked = movement.piece >= 0
        joined = np.zeros(len(ids))
        rows = np.flatnonzero(tracked)
        same = np.diff(movement.piece[rows]) == 0
        joined[rows[1:]] = np.where(same, np.diff(times[rows]), 0.0)

        def total(values: Any) -> NDArray[np.float64]:
            return np.asarray(np.add.reduceat(np.asarray(values, np.float64), starts))

        best = _best_rows(np.where(movement.moving, movement.speed, np.nan), starts, movement.speed)
        push = np.where(np.isfinite(movement.acceleration), movement.acceleration, -np.inf)
        push = np.maximum.reduceat(push, starts)
        self.parts.append(
            Objects(
                ids[starts],
                _usual_class(ids, class_ids, starts),
                ends - starts + 1,
                total(~tracked).astype(np.int64),
                times[starts],
                times[ends],
                total(joined),
                total(joined * movement.moving),
                total(movement.length),
                movement.speed[best],
                movement.low[best],
                movement.high[best],
                times[best],
                np.where(np.isfinite(push), push, np.nan),
                np.column_stack([total(seconds * mask) for mask in inside])
                if inside
                else np.zeros((len(starts), 0)),
            )
        )

    def joined(self, zones: int) -> Objects:
        """All of them."""
        names = list(Objects.__dataclass_fields__)
        if not self.parts:
            whole = ("ids", "class_ids", "boxes", "unusable")
            empty: dict[str, Any] = {
                name: np.zeros(0, np.int64 if name in whole else np.float64) for name in names
            }
            return Objects(**(empty | {"zones": np.zeros((0, zones))}))
        return Objects(
            **{name: np.concatenate([getattr(part, name) for part in self.parts]) for name in names}
        )


def _best_rows(
    moving: NDArray[np.float64], starts: NDArray[np.intp], speed: NDArray[np.float64]
) -> NDArray[np.intp]:
    """The row of the highest speed of each object, moving ones first."""
    sizes = np.diff(np.append(starts, len(speed)))
    owner = np.repeat(np.arange(len(starts)), sizes)
    key = np.where(np.isfinite(moving), moving + 1e12, np.nan_to_num(speed, nan=-1.0))
    order = np.lexsort((-np.arange(len(speed)), key, owner))
    return np.asarray(order[np.cumsum(sizes) - 1], np.intp)


def _usual_class(
    ids: NDArray[np.int64], class_ids: NDArray[np.int64], starts: NDArray[np.intp]
) -> NDArray[np.int64]:
    pairs, counts = np.unique(np.column_stack([ids, class_ids]), axis=0, return_counts=True)
    order = np.lexsort((-pairs[:, 1], counts, pairs[:, 0]))
    last = np.append(np.diff(pairs[order, 0]) != 0, [True])
    return np.asarray(pairs[order][last, 1][: len(starts)], np.int64)
