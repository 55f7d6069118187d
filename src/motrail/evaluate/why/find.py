"""Find what CLEAR counts as errors: identity switches, fragments and missed boxes, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.evaluate.clear import clear_matching
from motrail.evaluate.events import Event

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.evaluate.clear import Matching
    from motrail.evaluate.protocol import Counted, Protocol
    from motrail.formats.labels import Labels


class Trouble(NamedTuple):
    """An event, and the rows it is made of.

    Attributes:
        event: Without a cause.
        before: Row of the counted truth where the object was last matched before; -1 for none.
        after: Row where it is matched next; -1 for none.
        missed: The rows missed in between, ascending in time, int64, shape (boxes,).
    """

    event: Event
    before: int
    after: int
    missed: NDArray[np.int64]


def find_events(truth: Labels, results: Labels, protocol: Protocol) -> list[Event]:
    """What went wrong in a sequence, without causes.

    There are as many switches as CLEAR's IDSW, as many fragments as its Frag, and as many missed
    boxes as its FN, for each class.

    Args:
        truth: Of a sequence.
        results: Of the same sequence.
        protocol: Decides what counts.

    Returns:
        By class in the protocol's order, then by first frame.

    Raises:
        DataError: Frames outside the sequence, or boxes that make no sense.
    """
    counted = protocol.count(truth, results, truth.length)
    return [
        trouble.event
        for name, part in counted.items()
        for trouble in find_trouble(part, clear_matching(part.pairs), truth, results, name)
    ]


def find_trouble(
    counted: Counted, matching: Matching, truth: Labels, results: Labels, class_name: str
) -> list[Trouble]:
    """The events of a class with their rows, by first frame.

    Args:
        counted: What counts of the class.
        matching: Its matching.
        truth: The labels that `counted` points into.
        results: The same.
        class_name: Of the events.
    """
    finder = _Finder(counted, matching, truth, results, class_name)
    found = [*finder.breaks(), *finder.switches()]
    return sorted(found, key=lambda t: (t.event.start, t.event.truth_id, t.event.kind, t.event.end))


class _Finder:
    """Rows by identity and time, and the events in them."""

    def __init__(
        self,
        counted: Counted,
        matching: Matching,
        truth: Labels,
        results: Labels,
        class_name: str,
    ) -> None:
        self._matching = matching
        self._order = matching.order.astype(np.int64)
        self._identity = counted.pairs.truth_ids[self._order]
        self._found = matching.matched[self._order] >= 0
        self._frames = truth.frames[counted.truth_rows]
        self._ids = truth.ids[counted.truth_rows]
        self._names = np.zeros(counted.pairs.result_count, np.int64)
        self._names[counted.pairs.result_ids] = results.ids[counted.result_rows]
        self._sequence, self._class_name = truth.name, class_name
        self._before, self._after = self._neighbours()

    def _neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each place the matched one before and after it of the same identity, or -1."""
        places = np.arange(len(self._order))
        hit = np.flatnonzero(self._found)
        if not len(hit):
            nothing = np.full(len(places), -1, np.int64)
            return nothing, nothing
        last = np.searchsorted(hit, places, side="left") - 1
        next_ = np.searchsorted(hit, places, side="right")
        before = np.where(last >= 0, hit[np.maximum(last, 0)], -1)
        after = np.where(next_ < len(hit), hit[np.minimum(next_, len(hit) - 1)], -1)
        before[(before >= 0) & (self._identity[before] != self._identity)] = -1
        after[(after >= 0) & (self._identity[after] != self._identity)] = -1
        return before, after

    def breaks(self) -> list[Trouble]:
        """Fragments and other runs of missed boxes."""
        missed = ~self._found
        follows = np.zeros(len(missed), np.bool_)
        follows[1:] = missed[:-1] & (self._identity[1:] == self._identity[:-1])
        starts = np.flatnonzero(missed & ~follows)
        lengths = np.diff(np.append(np.cumsum(missed)[starts] - 1, missed.sum()))
        begins = self._matching.begins[self._order]
        runs = [
            self._break(first, count, begins)
            for first, count in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]
        # CLEAR counts a break too where the truth alone pauses.
        paused = begins & (self._before == np.arange(len(begins)) - 1) & (self._before >= 0)
        return runs + [
            self._trouble("fragment", place - 1, place, self._order[:0])
            for place in np.flatnonzero(paused).tolist()
        ]

    def _break(self, first: int, count: int, begins: NDArray[np.bool_]) -> Trouble:
        before, after = int(self._before[first]), int(self._after[first])
        inside = before >= 0 and after >= 0 and bool(begins[after])
        rows = self._order[first : first + count]
        return self._trouble("fragment" if inside else "misses", before, after, rows)

    def switches(self) -> list[Trouble]:
        """Where an identity is matched to another result than when it was last matched."""
        matched = self._matching.matched[self._order]
        changes = self._found & (self._before >= 0) & (matched[self._before] != matched)
        troubles = []
        for after in np.flatnonzero(changes).tolist():
            before = int(self._before[after])
            troubles.append(self._trouble("switch", before, after, self._order[before + 1 : after]))
        return troubles

    def _trouble(self, kind: str, before: int, after: int, missed: NDArray[np.int64]) -> Trouble:
        rows = [int(self._order[place]) if place >= 0 else -1 for place in (before, after)]
        names = [
            int(self._names[self._matching.matched[row]]) if row >= 0 else None for row in rows
        ]
        truth_row = rows[0] if rows[0] >= 0 else rows[1] if rows[1] >= 0 else int(missed[0])
        if kind == "switch":
            start, end = (int(self._frames[row]) for row in rows)
        elif len(missed):
            start, end = int(self._frames[missed[0]]), int(self._frames[missed[-1]])
        else:
            start, end = int(self._frames[rows[0]]) + 1, int(self._frames[rows[1]]) - 1
        event = Event(
            sequence=self._sequence,
            class_name=self._class_name,
            kind=kind,  # type: ignore[arg-type]
            start=start,
            end=end,
            truth_id=int(self._ids[truth_row]),
            result_id=names[0],
            new_id=names[1],
            boxes=0 if kind == "switch" else len(missed),
        )
        return Trouble(event, rows[0], rows[1], missed)
