"""From feet to movement: smoothed paths, speed with its interval, distance, acceleration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.analyze.noise import cut_runs, estimate
from motrail.analyze.smooth import smooth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from motrail.analyze.ground import Feet
    from motrail.analyze.smooth import Motion

Z95 = 1.959963984540054
"""Deviations of a normal distribution within which 95 % lie."""
_WINDOW = 1024
_MARGIN_SECONDS = 3.0
_LARGEST_MARGIN = 512
_CELLS = 200_000


class Movement(NamedTuple):
    """How objects move, a row for each box.

    Attributes:
        xy: Smoothed position, shape (n, 2); NaN where it cannot be told.
        velocity: In units of length per second, shape (n, 2).
        speed: Its size, shape (n,); NaN in pieces of less than three boxes.
        low: Lower end of the 95 % interval of the speed.
        high: Upper end.
        acceleration: Change of the speed per second, positive when it grows; NaN as above.
        error: Deviation of the smoothed position, the larger of both axes, shape (n,).
        length: Way from the row before, 0 at the beginning of a piece, shape (n,).
        moving: Whether the speed is told apart from standing still, bool, shape (n,).
        piece: Number of the piece each row belongs to, from 0; -1 for none. A gap that is too
            long begins a new one.
    """

    xy: NDArray[np.float64]
    velocity: NDArray[np.float64]
    speed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    acceleration: NDArray[np.float64]
    error: NDArray[np.float64]
    length: NDArray[np.float64]
    moving: NDArray[np.bool_]
    piece: NDArray[np.int64]


def find_pieces(
    ids: NDArray[np.int64],
    times: NDArray[np.float64],
    feet: Feet,
    max_gap: float,
) -> NDArray[np.int64]:
    """Number of the piece that each row belongs to, -1 where the foot is not known.

    Args:
        ids: Sorted, shape (n,).
        times: In seconds, ascending within an id.
        feet: Where they stand.
        max_gap: Longest gap in seconds that a piece may have.
    """
    piece = np.full(len(ids), -1, np.int64)
    rows = np.flatnonzero(feet.usable)
    if len(rows):
        fresh = np.ones(len(rows), np.bool_)
        same = ids[rows][1:] == ids[rows][:-1]
        fresh[1:] = ~same | (np.diff(times[rows]) > max_gap)
        piece[rows] = np.cumsum(fresh) - 1
    return piece


def learn(
    times: NDArray[np.float64],
    feet: Feet,
    heights: NDArray[np.float64],
    piece: NDArray[np.int64],
    *,
    metres: bool,
) -> Motion:
    """How these objects move and how their boxes err; see `noise`.

    Args:
        times: In seconds, shape (n,).
        feet: Where they stand.
        heights: Of the boxes in pixels, shape (n,).
        piece: As `find_pieces` has it.
        metres: Whether lengths are metres.
    """
    rows = np.flatnonzero(piece >= 0)
    length = 1.0 if metres else float(np.median(heights)) if len(heights) else 1.0
    if len(rows) < 2:
        return estimate(None, length, length)
    starts = np.ones(len(rows), np.bool_)
    starts[1:] = np.diff(piece[rows]) != 0
    steps = np.diff(times[rows], prepend=times[rows[0]])
    hops = np.hypot(*np.diff(feet.xy[rows], axis=0).T)[~starts[1:]]
    pace = max(4 * _pace(times[rows], feet.xy[rows], piece[rows]), length, 1e-6)
    if not len(hops):
        return estimate(None, pace, length)
    # The axes of the middle of each piece, so that a run lies along straight ones.
    axes = _axes(feet.axes[rows], piece[rows])
    along = np.einsum("nij,nj->in", axes, feet.xy[rows])
    runs = cut_runs(along, feet.from_u[rows].T, feet.from_v[rows].T, steps, starts)
    return estimate(runs, pace, length)


def _pace(times: NDArray[np.float64], xy: NDArray[np.float64], piece: NDArray[np.int64]) -> float:
    """Root mean square of the pieces' speeds from end to end."""
    first = np.flatnonzero(np.diff(piece, prepend=-1))
    last = np.append(first[1:], len(piece)) - 1
    spans = times[last] - times[first]
    good = spans > 0
    if not good.any():
        return 0.0
    speeds = np.hypot(*(xy[last] - xy[first])[good].T) / spans[good]
    return float(np.sqrt((np.minimum(speeds, 4 * np.median(speeds) + 1e-9) ** 2).mean()))


def _axes(axes: NDArray[np.float64], piece: NDArray[np.int64]) -> NDArray[np.float64]:
    first = np.flatnonzero(np.diff(piece, prepend=-1))
    ends = np.append(first[1:], len(piece))
    return np.repeat(axes[(first + ends) // 2], ends - first, axis=0)


def follow(
    times: NDArray[np.float64], feet: Feet, piece: NDArray[np.int64], motion: Motion
) -> Movement:
    """Smooth the paths and say how fast objects are on them.

    Args:
        times: In seconds, shape (n,), ascending within a piece.
        feet: Where the boxes stand.
        piece: As `find_pieces` has it.
        motion: As `learn` has it.
    """
    count = len(times)
    xy, velocity = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    spread, place = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    axes = np.zeros((count, 2, 2))
    for windows in _batches(times, piece):
        _follow_batch(windows, times, feet, motion, (xy, velocity, spread, place, axes))
    speed = np.hypot(*velocity.T)
    low, high, moving = _interval(velocity, speed, spread, axes)
    rows = np.flatnonzero(piece >= 0)
    long = np.zeros(count, np.bool_)
    if len(rows):
        long[rows] = np.bincount(piece[rows])[piece[rows]] >= 3
    for values in (speed, low, high):
        values[~long] = np.nan
    acceleration, length = _changes(times, xy, speed, moving & long, piece)
    return Movement(
        xy, velocity, speed, low, high, acceleration,
        np.sqrt(place.max(axis=1)), length, moving & long, piece,
    )  # fmt: skip


class _Windows(NamedTuple):
    """Stretches of rows that are smoothed together; all within a batch are padded to one size."""

    first: NDArray[np.intp]
    size: NDArray[np.intp]
    keep_from: NDArray[np.intp]
    keep_to: NDArray[np.intp]
    rows: NDArray[np.intp]


def _batches(times: NDArray[np.float64], piece: NDArray[np.int64]) -> Iterator[_Windows]:
    rows = np.flatnonzero(piece >= 0)
    if not len(rows):
        return
    first = np.flatnonzero(np.diff(piece[rows], prepend=-1))
    ends = np.append(first[1:], len(rows))
    steps = np.diff(times[rows])
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0
    margin = int(np.clip(np.ceil(_MARGIN_SECONDS / step), 64, _LARGEST_MARGIN))
    # A long piece is cut into windows, each smoothed with some of its neighbours' rows.
    counts = np.maximum(1, -(-(ends - first) // _WINDOW))
    which = np.repeat(np.arange(len(first)), counts)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = first[which] + place * _WINDOW
    until = np.minimum(begin + _WINDOW, ends[which])
    start = np.maximum(begin - margin, first[which])
    stop = np.minimum(until + margin, ends[which])
    order = np.argsort(stop - start, kind="stable")
    at = 0
    while at < len(order):
        # The longest of a batch decides how large it is.
        take = at + 1
        while (
            take < len(order)
            and (take + 1 - at) * int(stop[order[take]] - start[order[take]]) <= _CELLS
        ):
            take += 1
        chosen = order[at:take]
        yield _Windows(start[chosen], (stop - start)[chosen], begin[chosen], until[chosen], rows)
        at = take


def _follow_batch(
    windows: _Windows,
    times: NDArray[np.float64],
    feet: Feet,
    motion: Motion,
    out: tuple[NDArray[np.float64], ...],
) -> None:
    xy, velocity, spread, place, all_axes = out
    longest = int(windows.size.max())
    steps_in = np.arange(longest)[:, None]
    inside = steps_in < windows.size
    at = windows.first + np.minimum(steps_in, windows.size - 1)
    rows = windows.rows[at]
    axes = feet.axes[windows.rows[windows.first + windows.size // 2]]
    seconds = np.diff(times[rows], axis=0, prepend=times[rows[:1]])
    # Both axes of all windows are one batch of series.
    measured = np.einsum("bij,tbj->tib", axes, feet.xy[rows])
    variance = (
        feet.from_u[rows].transpose(0, 2, 1) * motion.noise_u**2
        + feet.from_v[rows].transpose(0, 2, 1) * motion.noise_v**2
    )
    flat = (longest, -1)
    measured = np.where(inside[:, None, :], measured, np.nan).reshape(flat)
    deviation = np.sqrt(np.maximum(variance, 1e-12)).reshape(flat)
    twice = np.repeat(seconds[:, None, :], 2, axis=1).reshape(flat)
    smoothed = smooth(measured, twice, deviation, motion)
    keep = inside & (at >= windows.keep_from) & (at < windows.keep_to)
    into = rows[keep]
    which = np.broadcast_to(np.arange(len(windows.first)), keep.shape)[keep]
    pair = (longest, 2, len(windows.first))
    both = [values.reshape(pair).transpose(0, 2, 1)[keep] for values in smoothed]
    xy[into] = np.einsum("nij,ni->nj", axes[which], both[0])
    velocity[into] = np.einsum("nij,ni->nj", axes[which], both[1])
    place[into], spread[into] = both[2], both[3]
    all_axes[into] = axes[which]


def _interval(
    velocity: NDArray[np.float64],
    speed: NDArray[np.float64],
    spread: NDArray[np.float64],
    axes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Ends of the interval of the speed, and whether it is told apart from 0.

    The velocity is normal with a variance along each axis. Along its own direction the speed varies
    as it does; across it, it can only be added, so that the upper end is moved by that.
    """
    turned = np.einsum("nij,nj->ni", axes, velocity)
    unit = turned / np.maximum(speed, 1e-12)[:, None]
    along = (unit**2 * spread).sum(axis=1)
    across = (unit[:, ::-1] ** 2 * spread).sum(axis=1)
    wide = Z95 * np.sqrt(along)
    low = np.maximum(speed - wide, 0)
    high = np.hypot(speed + wide, np.sqrt(across))
    return low, high, speed > wide


def _changes(
    times: NDArray[np.float64],
    xy: NDArray[np.float64],
    speed: NDArray[np.float64],
    moving: NDArray[np.bool_],
    piece: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Acceleration of each row, and the way from the row before."""
    count = len(times)
    acceleration, length = np.full(count, np.nan), np.zeros(count)
    rows = np.flatnonzero(piece >= 0)
    if len(rows) < 2:
        return acceleration, length
    joined = np.diff(piece[rows]) == 0
    seconds = np.maximum(np.diff(times[rows]), 1e-9)
    chord = np.hypot(*np.diff(xy[rows], axis=0).T)
    pace = np.nan_to_num(speed[rows])
    # Who stands does not wander about, though its box does.
    counts = joined & (moving[rows][1:] | moving[rows][:-1])
    length[rows[1:]] = np.where(
        counts, np.maximum(chord, (pace[1:] + pace[:-1]) / 2 * seconds), 0.0
    )
    change = np.where(joined, np.diff(speed[rows]) / seconds, np.nan)
    before, after = np.append(np.nan, change), np.append(change, np.nan)
    both = np.where(
        np.isnan(before), after, np.where(np.isnan(after), before, (before + after) / 2)
    )
    acceleration[rows] = both
    return acceleration, length
