"""How sure a score is: bootstrap over sequences.

Sequences are drawn anew with replacement, and each draw is scored as a whole; the middle 95 % of
those scores is the interval. What it answers: how far could the figure be off, had other sequences
of the same kind been filmed? With few sequences plain percentiles are too narrow, so they are
widened as for a mean of as many values (the expanded percentile interval of Hesterberg, "What
Teachers Should Know About the Bootstrap", 2015, arXiv 1411.5279).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import ndtr, stdtrit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.evaluate.run import Evaluation, Score

METRICS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")
"""What intervals are given of: per cent, but for the number of identity switches."""
LOWER_IS_BETTER = frozenset({"IDSW"})
DRAWS = 2_000
_LEVEL = 0.95

Verdict = Literal["better", "worse", "the same", "not known"]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two results on the same sequences.

    Attributes:
        metric: Its name.
        ours: Of the results, in per cent, or a count.
        theirs: Of those compared with.
        difference: `ours` - `theirs`.
        low: Lower end of the 95 % interval of the difference; None with a single sequence.
        high: Upper end.
        verdict: Whether the results are better: only if the whole interval says so.
    """

    metric: str
    ours: float
    theirs: float
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {name: getattr(self, name) for name in self.__slots__}


def intervals(evaluation: Evaluation, *, seed: int = 1) -> dict[str, Interval]:
    """95 % intervals of the combined score; empty with a single sequence.

    Args:
        evaluation: Of sequences that are independent of each other.
        seed: Of the draws.

    Returns:
        Lower and upper end for each of `METRICS`.
    """
    scores = list(evaluation.sequences.values())
    if len(scores) < 2:
        return {}
    drawn = resampled(scores, _draws(len(scores), seed))
    return {metric: _interval(values, len(scores)) for metric, values in drawn.items()}


def compare(ours: Evaluation, theirs: Evaluation, *, seed: int = 1) -> list[Difference]:
    """Compare two results sequence by sequence, so that hard sequences are hard for both.

    Args:
        ours: Of some results.
        theirs: Of others, scored against the same truth by the same protocol.
        seed: Of the draws.

    Returns:
        One for each of `METRICS`.
    """
    names = [name for name in ours.sequences if name in theirs.sequences]
    sides = [[side.sequences[name] for name in names] for side in (ours, theirs)]
    whole = np.ones((1, len(names)))
    a, b = (resampled(scores, whole) for scores in sides)
    drawn: list[Mapping[str, NDArray[np.float64]]] = []
    if len(names) > 1:
        draws = _draws(len(names), seed)
        drawn = [resampled(scores, draws) for scores in sides]
    found = []
    for metric in METRICS:
        low = high = None
        if drawn:
            low, high = _interval(drawn[0][metric] - drawn[1][metric], len(names))
        one, other = float(a[metric][0]), float(b[metric][0])
        verdict = _verdict(metric, one - other, low, high)
        found.append(Difference(metric, one, other, one - other, low, high, verdict))
    return found


def resampled(
    scores: Sequence[Score], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Combined scores in which each sequence counts several times, or not at all.

    Args:
        scores: Of the sequences, n of them.
        weights: How often each counts, shape (draws, n).

    Returns:
        Each of `METRICS`, shape (draws,).
    """

    def total(values: Sequence[Any]) -> NDArray[np.float64]:
        summed: NDArray[np.float64] = weights @ np.asarray(values, np.float64)
        return summed

    hota = [score.hota for score in scores]
    tp, fn, fp = (total([getattr(h, name) for h in hota]) for name in ("tp", "fn", "fp"))
    ass_a = total([h.ass_a * h.tp for h in hota]) / np.maximum(1, tp)
    det_a = tp / np.maximum(1, tp + fn + fp)
    clear = [score.clear for score in scores]
    clear_tp, clear_fn, clear_fp, switches = (
        total([getattr(c, name) for c in clear]) for name in ("tp", "fn", "fp", "idsw")
    )
    identity = [score.identity for score in scores]
    idtp, idfn, idfp = (
        total([getattr(i, name) for i in identity]) for name in ("idtp", "idfn", "idfp")
    )
    return {
        "HOTA": 100 * np.sqrt(det_a * ass_a).mean(axis=1),
        "DetA": 100 * det_a.mean(axis=1),
        "AssA": 100 * ass_a.mean(axis=1),
        "MOTA": 100 * (clear_tp - clear_fp - switches) / np.maximum(1, clear_tp + clear_fn),
        "IDF1": 100 * idtp / np.maximum(1, idtp + 0.5 * idfp + 0.5 * idfn),
        "IDSW": switches,
    }


def _draws(count: int, seed: int) -> NDArray[np.float64]:
    """How often each sequence is drawn, shape (`DRAWS`, count)."""
    chosen = np.random.default_rng(seed).integers(count, size=(DRAWS, count))
    weights = np.zeros((DRAWS, count))
    np.add.at(weights, (np.arange(DRAWS)[:, None], chosen), 1)
    return weights


def _interval(values: NDArray[np.float64], count: int) -> Interval:
    tail = (1 - _LEVEL) / 2
    wide = float(ndtr(np.sqrt(count / (count - 1)) * stdtrit(count - 1, tail)))
    low, high = np.quantile(values, [wide, 1 - wide])
    return float(low), float(high)


def _verdict(metric: str, difference: float, low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "not known"
    if difference == low == high == 0:
        return "the same"
    if metric in LOWER_IS_BETTER:
        low, high = -high, -low
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not known"
