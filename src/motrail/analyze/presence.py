"""How long objects are where: slots of time, visits to zones, occupancy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_AWAY = 0.5
"""Seconds outside a zone up to which a visit goes on: the foot of a box trembles."""


class Visits(NamedTuple):
    """Visits to a zone.

    Attributes:
        first: First row of each, int64, shape (n,).
        last: Last row of each, int64, shape (n,).
        seconds: How long it lasted, shape (n,).
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    seconds: NDArray[np.float64]


def slots(
    ids: NDArray[np.int64], times: NDArray[np.float64], max_gap: float, step: float
) -> NDArray[np.float64]:
    """Seconds that each row stands for: until the object's next row, at most `max_gap`.

    The last row before a longer gap, or of an object, stands for one frame.

    Args:
        ids: Sorted, shape (n,).
        times: In seconds, ascending within an id, shape (n,).
        max_gap: Longest gap that is bridged.
        step: Seconds of a frame.
    """
    seconds = np.full(len(ids), step)
    if len(ids) > 1:
        until = np.diff(times)
        joined = (ids[1:] == ids[:-1]) & (until <= max_gap)
        seconds[:-1] = np.where(joined, until, step)
    return seconds


def find_visits(
    ids: NDArray[np.int64],
    times: NDArray[np.float64],
    seconds: NDArray[np.float64],
    inside: NDArray[np.bool_],
    max_gap: float,
) -> Visits:
    """Visits to a zone; being away for less than `MIN_AWAY` does not end one.

    Args:
        ids: Sorted, shape (n,).
        times: In seconds, shape (n,).
        seconds: As `slots` has them, shape (n,).
        inside: Which rows are in the zone, shape (n,).
        max_gap: Seconds without a box that end a visit.
    """
    rows = np.flatnonzero(inside)
    if not len(rows):
        none = np.zeros(0, np.int64)
        return Visits(none, none, np.zeros(0))
    between = np.diff(times[rows])
    # Rows in between were seen outside; without any the object was just not seen.
    allowed = np.where(np.diff(rows) > 1, MIN_AWAY + seconds[rows[:-1]], max_gap)
    fresh = (np.diff(ids[rows]) != 0) | (between > allowed)
    first = rows[np.append(True, fresh)]
    last = rows[np.append(fresh, True)]
    return Visits(first, last, times[last] - times[first] + seconds[last])


def bins_of(duration: float, most: int = 240) -> float:
    """Seconds of a bin of time so that there are not more than `most`: a round number."""
    for width in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200):
        if duration <= width * most:
            return float(width)
    return float(86400 * np.ceil(duration / (86400 * most)))
