"""When errors happen: counts along the frames of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.evaluate.clear import clear_matching

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from motrail.evaluate.events import Event
    from motrail.evaluate.protocol import Counted

_STEPS = 400
_ALL_STEPS = 60_000


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """How much of each kind of error there is, in steps of some frames.

    Attributes:
        step: Frames in a step.
        switches: Identity switches in each step, int64, shape (steps,).
        fragments: Objects at most in a frame of the step that are lost between two matches.
        misses: The same for objects not found at the start, at the end or all along.
        false_positives: Boxes at most in a frame of the step that stand for nothing.
    """

    step: int
    switches: NDArray[np.int64]
    fragments: NDArray[np.int64]
    misses: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    @classmethod
    def of(cls, events: Iterable[Event], length: int, wrong: NDArray[np.int64]) -> Lanes:
        """Count.

        Args:
            events: Of a sequence, within its frames.
            length: Number of frames.
            wrong: Frame of each false positive, counted from 1, int64, shape (k,).
        """
        counts = {kind: np.zeros(length + 2, np.int64) for kind in ("switch", "fragment", "misses")}
        for event in events:
            begin = event.end if event.kind == "switch" else event.start
            counts[event.kind][begin] += 1
            counts[event.kind][event.end + 1] -= 1
        at_once = {kind: np.cumsum(values)[1 : length + 1] for kind, values in counts.items()}
        found = np.bincount(wrong, minlength=length + 1)[1:]
        step = max(1, -(-length // _STEPS))
        return cls(
            step,
            _steps(at_once["switch"], step, total=True),
            _steps(at_once["fragment"], step),
            _steps(at_once["misses"], step),
            _steps(found, step),
        )

    def as_dict(self, sequences: int) -> dict[str, Any]:
        """As JSON can hold it: pairs of step and count, where there is something.

        Args:
            sequences: How many share the page; with many of them steps are longer.
        """
        factor = max(1, -(-sequences * len(self.switches) // _ALL_STEPS))
        lanes = {
            "switch": _pairs(_steps(self.switches, factor, total=True)),
            "fragment": _pairs(_steps(self.fragments, factor)),
            "misses": _pairs(_steps(self.misses, factor)),
            "false positives": _pairs(_steps(self.false_positives, factor)),
        }
        return {"step": self.step * factor, "lanes": lanes}


def false_positives(counted: Mapping[str, Counted]) -> NDArray[np.int64]:
    """Frame of each box found that CLEAR matches with nothing.

    Args:
        counted: What counts of a sequence, by class.

    Returns:
        Counted from 1, int64, shape (k,).
    """
    frames = [np.empty(0, np.int64)]
    for part in counted.values():
        pairs = part.pairs
        identities = max(pairs.result_count, 1)
        matched = clear_matching(pairs).matched
        hit = matched >= 0
        right = pairs.truth_frames[hit] * identities + matched[hit]
        found = pairs.result_frames * identities + pairs.result_ids
        frames.append(pairs.result_frames[~np.isin(found, right)] + 1)
    return np.concatenate(frames)


def _steps(values: NDArray[np.int64], step: int, *, total: bool = False) -> NDArray[np.int64]:
    """Sum, or maximum, of every `step` values."""
    table = np.pad(values, (0, -len(values) % step)).reshape(-1, step)
    steps: NDArray[np.int64] = table.sum(axis=1) if total else table.max(axis=1, initial=0)
    return steps


def _pairs(values: NDArray[np.int64]) -> list[int]:
    places = np.flatnonzero(values)
    pairs: list[int] = np.column_stack([places, values[places]]).ravel().tolist()
    return pairs
