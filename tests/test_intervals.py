"""How sure scores are: intervals over sequences, and comparing two results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail.evaluate.intervals import METRICS, compare, intervals, resampled
from motrail.evaluate.pairs import make_pairs
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Evaluation, Score

if TYPE_CHECKING:
    from collections.abc import Sequence


def noisy(seed: int, *, jitter: float, misses: float) -> Score:
    """Six objects in forty frames, found with errors."""
    random = np.random.default_rng(seed)
    frames = np.repeat(np.arange(40), 6)
    ids = np.tile(np.arange(6), 40)
    boxes = np.stack([100.0 * ids, 3.0 * frames, 0 * ids + 40, 0 * ids + 90], axis=1)
    kept = random.random(len(ids)) >= misses
    found = boxes[kept] + random.normal(0, jitter, (int(kept.sum()), 4))
    named = ids[kept] + 10 * (random.random(int(kept.sum())) < misses)
    return Score.of(make_pairs(40, frames, ids, boxes, frames[kept], named, found))


def evaluation(scores: Sequence[Score]) -> Evaluation:
    return Evaluation(Protocol(), {f"clip-{n}": {"car": s} for n, s in enumerate(scores)})


def several(count: int, *, jitter: float, misses: float, seed: int = 0) -> Evaluation:
    return evaluation(
        [noisy(seed + n, jitter=jitter * (1 + n % 3), misses=misses) for n in range(count)]
    )


def test_a_draw_scores_as_its_sequences_do() -> None:
    """One that stands in the draw twice counts twice, one that does not stand there not at all."""
    scores = list(several(5, jitter=3, misses=0.1).sequences.values())
    weights = np.array([[2.0, 0, 1, 1, 1], [0, 0, 0, 5, 0]])
    drawn = resampled(scores, weights)
    for row, numbers in enumerate(([0, 0, 2, 3, 4], [3] * 5)):
        expected = Score.combined([scores[n] for n in numbers]).as_dict()
        for metric in METRICS:
            assert drawn[metric][row] == pytest.approx(expected[metric], abs=1e-9)


def test_the_interval_holds_the_score() -> None:
    found = several(9, jitter=4, misses=0.1)
    combined = found.combined.as_dict()
    for metric, (low, high) in intervals(found).items():
        assert low < combined[metric] < high


def test_equal_sequences_leave_no_doubt() -> None:
    found = evaluation([noisy(1, jitter=3, misses=0.1)] * 4)
    low, high = intervals(found)["HOTA"]
    assert low == pytest.approx(high)


def test_one_sequence_says_nothing_of_others() -> None:
    found = several(1, jitter=3, misses=0.1)
    assert intervals(found) == {}
    [first, *_] = compare(found, several(1, jitter=9, misses=0.3))
    assert (first.low, first.high, first.verdict) == (None, None, "not known")


def test_the_same_seed_gives_the_same_interval() -> None:
    found = several(6, jitter=4, misses=0.1)
    assert intervals(found, seed=3) == intervals(found, seed=3)
    assert intervals(found, seed=3) != intervals(found, seed=4)


def test_intervals_cover_what_they_claim() -> None:
    """Of means of as few values as there are sequences, about 95 % lie inside.

    Sequences of one box each that is found or not: MOTA is the share found, whose truth is known.
    """
    random = np.random.default_rng(0)
    frames = np.arange(50)
    boxes = np.tile([0.0, 0, 10, 10], (50, 1))

    def sequence(share: float) -> Score:
        count = round(50 * share)
        return Score.of(
            make_pairs(
                50, frames, 0 * frames, boxes, frames[:count], 0 * frames[:count], boxes[:count]
            )
        )

    inside = 0
    for _ in range(300):
        shares = np.clip(random.normal(0.6, 0.12, 7), 0.1, 1)
        low, high = intervals(evaluation([sequence(share) for share in shares]))["MOTA"]
        inside += low <= 60 <= high
    assert 0.9 <= inside / 300 <= 0.99


class TestCompare:
    def test_better_and_worse(self) -> None:
        good, bad = several(8, jitter=2, misses=0.02), several(8, jitter=6, misses=0.3)
        ours = {d.metric: d for d in compare(good, bad)}
        assert {d.verdict for d in ours.values()} == {"better"}
        assert ours["HOTA"].difference == pytest.approx(
            good.combined.as_dict()["HOTA"] - bad.combined.as_dict()["HOTA"]
        )
        assert ours["IDSW"].difference < 0  # fewer are better
        assert {d.verdict for d in compare(bad, good)} == {"worse"}

    def test_not_known(self) -> None:
        one = several(8, jitter=4, misses=0.1)
        other = several(8, jitter=4, misses=0.1, seed=100)
        assert {d.verdict for d in compare(one, other)} == {"not known"}

    def test_the_same(self) -> None:
        found = several(5, jitter=4, misses=0.1)
        assert {d.verdict for d in compare(found, found)} == {"the same"}

    def test_pairs_are_surer_than_two_intervals(self) -> None:
        """Sequences differ much, the results little but everywhere."""
        levels = [1, 3, 5, 7, 9, 11]
        ours = evaluation([noisy(n, jitter=j, misses=0.1) for n, j in enumerate(levels)])
        theirs = evaluation([noisy(n, jitter=j + 0.7, misses=0.1) for n, j in enumerate(levels)])
        hota = compare(ours, theirs)[0]
        assert hota.verdict == "better"
        assert intervals(ours)["HOTA"][0] < intervals(theirs)["HOTA"][1]  # they overlap
