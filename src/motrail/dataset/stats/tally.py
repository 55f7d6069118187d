"""Counts and distributions of any number of boxes in little memory, group by group."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Counts = tuple[NDArray[np.int64], NDArray[np.int64]]
    """Distinct values in ascending order, and how often each occurred."""

_SPAN = 1 << 32
_FEW = 1 << 16
_PER_OCTAVE = 64
_LOWEST = -20  # octaves: 2^-20 of a pixel counts as nothing
SMALLEST = 2.0**_LOWEST
"""What is smaller counts as this, or as 0 where 0 is possible."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a measure is spread.

    A percentile p is the smallest value that p % of all values do not exceed.

    Attributes:
        count: How many values there are.
        mean: Their mean.
        minimum: The smallest.
        p5: 5th percentile.
        p25: 25th percentile.
        median: 50th percentile.
        p75: 75th percentile.
        p95: 95th percentile.
        maximum: The largest.
    """

    count: int
    mean: float
    minimum: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    maximum: float

    def as_dict(self) -> dict[str, float]:
        """For `--json`."""
        return asdict(self)


def merge(counts: Iterable[Counts]) -> Counts:
    """Counts taken apart, taken together."""
    pairs = list(counts)
    values = np.concatenate([np.empty(0, np.int64), *(pair[0] for pair in pairs)])
    numbers = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in pairs)])
    if not len(values):
        return values, numbers
    order = np.argsort(values, kind="stable")
    values, numbers = values[order], numbers[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return values[starts], np.add.reduceat(numbers, starts)


def spread_of(counts: Counts) -> Spread | None:
    """The spread of whole numbers, exact; None where there are none."""
    values, numbers = counts
    if not len(values):
        return None
    p5, p25, median, p75, p95 = _percentiles(values.astype(np.float64), numbers)
    total = int(numbers.sum())
    mean = float(values.astype(np.float64) @ numbers / total)
    return Spread(total, mean, float(values[0]), p5, p25, median, p75, p95, float(values[-1]))


def _percentiles(values: NDArray[np.float64], numbers: NDArray[np.int64]) -> list[float]:
    below = np.cumsum(numbers)
    total = int(below[-1])
    ranks = [max(1, -(-percent * total // 100)) for percent in (5, 25, 50, 75, 95)]
    found: list[float] = values[np.searchsorted(below, ranks)].tolist()
    return found


class Tally:
    """How often whole numbers occurred in each group; memory grows with the distinct ones."""

    def __init__(self) -> None:
        self._counts: Counts = merge(())
        self._new: list[Counts] = []
        self._waiting = 0

    def add(self, groups: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Count values.

        Args:
            groups: From 0, below 2^30, int64, shape (n,).
            values: From 0, below 2^32, int64, shape (n,).
        """
        self._new.append(np.unique(groups * _SPAN + values, return_counts=True))
        self._waiting += len(self._new[-1][0])
        if self._waiting > max(_FEW, len(self._counts[0])):
            self._settle()

    def _settle(self) -> Counts:
        if self._new:
            self._counts = merge([self._counts, *self._new])
            self._new, self._waiting = [], 0
        return self._counts

    def of(self, group: int | None = None) -> Counts:
        """The counts of one group, or of all together."""
        keys, numbers = self._settle()
        if group is None:
            return merge([(keys % _SPAN, numbers)])
        start, end = np.searchsorted(keys, [group * _SPAN, (group + 1) * _SPAN])
        return keys[start:end] % _SPAN, numbers[start:end]

    def groups(self) -> Counts:
        """The groups that have values, and how many each."""
        keys, numbers = self._settle()
        return merge([(keys // _SPAN, numbers)])

    def pairs(self) -> NDArray[np.int64]:
        """Group, value and how often it occurred, int64, shape (n, 3)."""
        keys, numbers = self._settle()
        return np.column_stack([keys // _SPAN, keys % _SPAN, numbers])

    def total(self, group: int | None = None) -> int:
        """How many values were counted."""
        return int(self.of(group)[1].sum())


class Distribution:
    """A measure from 0 up, in a histogram of 64 bins an octave.

    Count, mean, minimum and maximum are exact; percentiles are within 0.6 %.
    """

    def __init__(self) -> None:
        self.bins = Tally()
        self._sums = np.zeros(0)
        self._lowest = np.zeros(0)
        self._highest = np.zeros(0)

    def add(self, groups: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Take in values, finite and from 0 up, float64, shape (n,); groups as in `Tally.add`."""
        self.bins.add(groups, log_bins(values))
        missing = int(groups.max(initial=-1)) + 1 - len(self._sums)
        if missing > 0:
            self._sums = np.pad(self._sums, (0, missing))
            self._lowest = np.pad(self._lowest, (0, missing), constant_values=np.inf)
            self._highest = np.pad(self._highest, (0, missing), constant_values=-np.inf)
        np.add.at(self._sums, groups, values)
        np.minimum.at(self._lowest, groups, values)
        np.maximum.at(self._highest, groups, values)

    def spread(self, group: int | None = None) -> Spread | None:
        """The spread of one group, or of all together; None where there is nothing."""
        bins, numbers = self.bins.of(group)
        if not len(bins):
            return None
        which = slice(None) if group is None else slice(group, group + 1)
        total = int(numbers.sum())
        mean = float(self._sums[which].sum()) / total
        lowest, highest = float(self._lowest[which].min()), float(self._highest[which].max())
        middles = np.clip(bin_middles(bins), lowest, highest)
        p5, p25, median, p75, p95 = _percentiles(middles, numbers)
        return Spread(total, mean, lowest, p5, p25, median, p75, p95, highest)


def log_bins(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bins that values fall into; bin 0 holds what is next to nothing."""
    octaves = np.log2(np.maximum(values, SMALLEST)) - _LOWEST
    bins: NDArray[np.int64] = np.floor(octaves * _PER_OCTAVE).astype(np.int64)
    return bins


def bin_middles(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """The geometric middle of each bin; 0 for bin 0."""
    middles: NDArray[np.float64] = 2.0 ** ((bins + 0.5) / _PER_OCTAVE + _LOWEST)
    middles[bins == 0] = 0
    return middles
