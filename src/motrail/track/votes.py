"""The class of a track by majority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Votes:
    """How often each track was seen as each class."""

    def __init__(self) -> None:
        self._classes = np.empty(0, np.int64)  # ascending
        self._counts = np.empty((0, 0), np.int64)  # tracks × classes

    def _columns(self, classes: NDArray[np.int64]) -> NDArray[np.intp]:
        known = np.union1d(self._classes, classes)
        if len(known) > len(self._classes):
            counts = np.zeros((len(self._counts), len(known)), np.int64)
            counts[:, np.searchsorted(known, self._classes)] = self._counts
            self._classes, self._counts = known, counts
        return np.searchsorted(self._classes, classes)

    def begin(self, classes: NDArray[np.int64]) -> None:
        """Add tracks that were seen as these classes for the first time."""
        columns = self._columns(classes)
        counts = np.zeros((len(classes), len(self._classes)), np.int64)
        counts[np.arange(len(classes)), columns] = 1
        self._counts = np.concatenate((self._counts, counts))

    def cast(
        self, tracks: NDArray[np.intp], seen_as: NDArray[np.int64], current: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Count what the tracks were seen as now; the class each has from here on."""
        columns = self._columns(seen_as)
        self._counts[tracks, columns] += 1
        votes = self._counts[tracks]
        # Only the class just seen can have overtaken the current one; among equals it wins.
        best = votes[np.arange(len(tracks)), columns] == votes.max(axis=1, initial=0)
        return np.where(best, seen_as, current)

    def keep(self, stays: NDArray[np.bool_]) -> None:
        """Forget the tracks that do not stay."""
        self._counts = self._counts[stays]
