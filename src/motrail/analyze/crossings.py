"""Who crosses a line, in which direction, and when; each crossing once.

supervision's `LineZone` looks at the sides on which an object was in the last frames: it forgets an
object that is missing for a few of them, and asks where the object stands, not where it crossed. At
low frame rates and in gaps that loses crossings, so they are found on the smoothed paths instead,
all at once. Directions are as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.analyze.zones import Line


class Crossings(NamedTuple):
    """Crossings of one line, in the order of the rows.

    Attributes:
        rows: First row after the crossing, int64, shape (n,).
        times: In seconds, shape (n,).
        inwards: Whether it is to the left side of the line, bool, shape (n,).
        pixels: Where, shape (n, 2).
        unseen: Whether it happened in a gap longer than `max_gap`, bool, shape (n,).
    """

    rows: NDArray[np.int64]
    times: NDArray[np.float64]
    inwards: NDArray[np.bool_]
    pixels: NDArray[np.float64]
    unseen: NDArray[np.bool_]


def find_crossings(
    line: Line,
    ids: NDArray[np.int64],
    times: NDArray[np.float64],
    pixels: NDArray[np.float64],
    margin: NDArray[np.float64],
    max_gap: float,
) -> Crossings:
    """Find the crossings of a line.

    Who stands on the line and trembles does not cross it: an object is on a side when it is
    farther from the line than it may tremble, and it crosses where it last passed the line on its
    way from one side to the other. That place must lie between the ends of the line.

    Args:
        line: The line.
        ids: Sorted, shape (n,).
        times: In seconds, ascending within an id, shape (n,).
        pixels: Where objects stand in the picture, shape (n, 2).
        margin: Pixels by which each may tremble, shape (n,).
        max_gap: Seconds without a box from which on nobody saw what happened.
    """
    start, run = line.ends[0], line.ends[1] - line.ends[0]
    length = float(np.hypot(*run))
    gap = pixels - start
    # Positive to the left as seen in the picture, whose y goes down.
    distance = (run[1] * gap[:, 0] - run[0] * gap[:, 1]) / length
    along = (gap @ run) / length**2
    sure = np.flatnonzero(np.abs(distance) > margin)
    if len(sure) < 2:
        return _none()
    before, after = sure[:-1], sure[1:]
    changed = (ids[before] == ids[after]) & (distance[before] * distance[after] < 0)
    before, after = before[changed], after[changed]
    # The last row before `after` that is still on the side of `before`.
    side = distance >= 0
    turns = np.flatnonzero(side[1:] != side[:-1])
    last = turns[np.searchsorted(turns, after) - 1] if len(turns) else before
    share = distance[last] / (distance[last] - distance[last + 1])
    place = along[last] + share * (along[last + 1] - along[last])
    hit = (place >= 0) & (place <= 1)
    last, share, after = last[hit], share[hit], after[hit]
    seconds = times[last + 1] - times[last]
    return Crossings(
        (last + 1).astype(np.int64),
        times[last] + share * seconds,
        distance[after] > 0,
        pixels[last] + share[:, None] * (pixels[last + 1] - pixels[last]),
        seconds > max_gap,
    )


def _none() -> Crossings:
    none = np.zeros(0)
    return Crossings(
        none.astype(np.int64), none, none.astype(np.bool_), np.zeros((0, 2)), none.astype(np.bool_)
    )
