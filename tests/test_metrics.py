"""Tracking metrics: worked by hand, and held equal to TrackEval."""

from __future__ import annotations

from configparser import ConfigParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from motrail.errors import DataError
from motrail.evaluate import matching, pairs
from motrail.evaluate.clear import Clear, clear
from motrail.evaluate.hota import Hota, alphas, hota
from motrail.evaluate.identity import Identity, identity
from motrail.evaluate.matching import largest_matching
from motrail.evaluate.pairs import SequencePairs, best_matching, make_pairs
from trackeval_oracle import Oracle, sequence_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conftest import Prove
    from trackeval_oracle import Rows

    Row = tuple[int, int, float, float, float, float]
    Scores = tuple[Hota, Clear, Identity]

SEQUENCES = [f"MOT17-{number}" for number in ("02", "04", "05", "09", "10", "11", "13")]
RESULTS = ("default", "no_score_fusion")


def rows(boxes: Sequence[Row]) -> Rows:
    """Frame from 0, id, left, top, width, height."""
    table = np.array(boxes, np.float64).reshape(-1, 6)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:]


def scene(frames: int, truth: Sequence[Row], results: Sequence[Row]) -> SequencePairs:
    return make_pairs(frames, *rows(truth), *rows(results))


def at(frame: int, number: int, left: float = 0) -> Row:
    """A box of 10 × 10."""
    return frame, number, left, 0, 10, 10


# --- pairs ----------------------------------------------------------------------------------------


def test_pairs() -> None:
    found = scene(
        3,
        [at(2, 7), at(0, 9, 100), at(0, 7)],
        [at(2, 5, 100), at(0, 40, 2.5), at(0, 5, 104), at(0, -1, 5), at(1, 5)],
    )
    assert found.truth_frames.tolist() == [0, 0, 2]
    assert found.truth_ids.tolist() == [1, 0, 0]
    assert found.result_frames.tolist() == [0, 0, 0, 1, 2]
    assert found.result_ids.tolist() == [2, 1, 0, 1, 1]
    assert (found.truth_count, found.result_count, found.frames) == (2, 3, 3)
    assert list(zip(found.pair_truth.tolist(), found.pair_result.tolist(), strict=True)) == [
        (0, 1),
        (1, 0),
        (1, 2),
    ]
    np.testing.assert_allclose(found.pair_iou, [60 / 140, 75 / 125, 50 / 150], rtol=1e-15)
    assert [found.pairs_of(frame) for frame in range(3)] == [
        slice(0, 3),
        slice(3, 3),
        slice(3, 3),
    ]


def test_what_touches_or_has_no_area_is_no_pair() -> None:
    boxes = [(0, 2, 2, 2, 0, 5), (0, 3, 9, 9, -4, -4), (0, 4, 0, 10, 10, 10)]
    assert len(scene(1, [at(0, 1)], [at(0, 1, 10), *boxes]).pair_iou) == 0
    assert len(scene(1, boxes[:2], boxes[:2]).pair_iou) == 0


def test_far_from_the_origin_nothing_is_lost() -> None:
    moved = [(frame, 1, 1e9 - 1e3 + frame / 8, -1e9 + 50, 0.5, 0.5) for frame in range(400)]
    assert scene(400, moved, moved).pair_iou.tolist() == [1.0] * 400


def test_a_sliver_of_overlap_is_a_pair_in_late_frames_too() -> None:
    sliver = scene(5_000, [at(4_999, 1)], [at(4_999, 1, 10 - 1e-9), at(0, 2, 20_000)])
    assert sliver.pair_iou == pytest.approx([1e-9 / 20], rel=1e-5)


def test_inputs_are_left_as_they_were() -> None:
    truth, results = rows([at(1, 3), at(0, 3)]), rows([at(1, 3, 1), at(0, 3, 1)])
    for array in (*truth, *results):
        array.flags.writeable = False
    assert hota(make_pairs(2, *truth, *results)).tp[0] == 2


def test_large_frames_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [at(frame, number, number) for frame in range(6) for number in range(4)]
    frames, truth, results = 6, rows(boxes), rows(boxes[:-3])
    whole = make_pairs(frames, *truth, *results)
    monkeypatch.setattr(pairs, "_BLOCK", 5)
    parts = make_pairs(frames, *truth, *results)
    assert len(whole.pair_iou) == 5 * 16 + 4
    for name in ("pair_truth", "pair_result", "pair_iou"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    monkeypatch.setattr(pairs, "_MAX_PAIRS", 83)
    with pytest.raises(DataError, match=r"^expected at most 83 pairs of truth and results that "):
        make_pairs(frames, *truth, *results)


NO_BOXES = np.empty((0, 4))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (([0], [1], [[0, 0, 1]]), r"boxes of shape \(n, 4\), found \(1,\), \(1,\) and \(1, 3\)$"),
        (([0], [1, 2], [[0, 0, 1, 1]]), r"found \(1,\), \(2,\) and \(1, 4\)$"),
        (([0.0], [1], [[0, 0, 1, 1]]), "whole numbers as frames and ids, found float64 and int64$"),
        (([0], [1.5], [[0, 0, 1, 1]]), "whole numbers as frames and ids, found int64 and float64$"),
        (([2], [1], [[0, 0, 1, 1]]), "expected frames from 0 to 1, found 2$"),
        (([-1], [1], [[0, 0, 1, 1]]), "expected frames from 0 to 1, found -1$"),
        (
            ([1], [1], [[0, 0, np.nan, 1]]),
            r"finite numbers of pixels, found \[0.0, 0.0, nan, 1.0\] in frame 1$",
        ),
        (
            ([1], [1], [[0, 0, 1e10, 1]]),
            r"finite numbers of pixels, found \[0.0, 0.0, 10000000000.0, 1.0\] in frame 1$",
        ),
        (
            ([1, 0, 1], [8, 8, 8], [[0, 0, 1, 1]] * 3),
            "expected each id once in a frame, found 8 twice in frame 1$",
        ),
    ],
)
def test_arrays_that_make_no_sense(truth: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^truth: .*{message}"):
        make_pairs(2, *truth, [], [], NO_BOXES)
    with pytest.raises(DataError, match=f"^results: .*{message}"):
        make_pairs(2, [], [], NO_BOXES, *truth)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_is_an_iou(threshold: float) -> None:
    message = f"^expected an IoU threshold above 0, up to 1, found {threshold}$"
    with pytest.raises(DataError, match=message):
        clear(scene(1, [], []), threshold)
    with pytest.raises(DataError, match=message):
        identity(scene(1, [], []), threshold)


# --- matching -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [True, False])
def test_the_largest_matching(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not dense:
        monkeypatch.setattr(matching, "_DENSE_TABLE", 0)
    random = np.random.default_rng(1)
    for _ in range(150):
        table = random.uniform(0.1, 1, random.integers(1, 12, 2))
        table[random.random(table.shape) > random.uniform(0.1, 0.9)] = 0
        r, c = table.nonzero()
        chosen, tied = largest_matching(r, c, table[r, c], (table.shape[0], table.shape[1]))
        best = table[linear_sum_assignment(-table)].sum()
        assert table[r[chosen], c[chosen]].sum() == pytest.approx(best, rel=1e-12)
        assert len(set(r[chosen])) == len(set(c[chosen])) == len(chosen)
        assert len(tied) == 0


def test_a_matching_that_is_not_the_only_one() -> None:
    zigzag = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 2, 3])
    _, tied = largest_matching(*zigzag, np.array([0.5, 0.5, 0.5, 0.5, 0.9, 0.3]), (3, 4))
    assert sorted(tied.tolist()) == [0, 1, 2, 3]
    _, tied = largest_matching(*zigzag, np.array([0.5, 0.5, 0.5, 0.51, 0.9, 0.9]), (3, 4))
    assert sorted(tied.tolist()) == [4, 5]


def test_the_sum_counts_not_the_best_pair() -> None:
    # 0.6 + 0.7 beats 0.9, though 0.9 is the best pair of its row and of its column.
    # Overlapping are 1 and 1, 2 and 1, 2 and 2.
    found = scene(1, [at(0, 1), at(0, 2, 4)], [at(0, 1), at(0, 2, 12)])
    assert found.pair_truth.tolist() == [0, 1, 1]
    assert best_matching(found, np.array([0.6, 0.9, 0.7])).tolist() == [0, 2]
    assert best_matching(found, np.array([0.2, 0.5, 0.6])).tolist() == [0, 2]
    assert best_matching(found, np.array([0.0, 0.9, 0.7])).tolist() == [1]
    assert best_matching(found, np.zeros(3)).tolist() == []


def test_of_equal_matchings_it_is_the_one_scipy_finds_in_the_whole_frame() -> None:
    boxes = [at(frame, number, number / 2) for frame in range(200) for number in range(8)]
    found = scene(200, boxes, boxes)
    random = np.random.default_rng(3)
    tables = random.choice([0, 0, 0, 0.25, 0.5, 0.75], (200, 8, 8))
    chosen = best_matching(found, tables.ravel())
    expected: list[int] = []
    for number, table in enumerate(tables):
        row, column = linear_sum_assignment(-table)
        worth = table[row, column] > 0
        expected += (64 * number + 8 * row + column)[worth].tolist()
    assert chosen.tolist() == expected


# --- worked by hand -------------------------------------------------------------------------------


def test_one_object_whose_result_changes_its_identity() -> None:
    found = scene(2, [at(0, 1), at(1, 1)], [at(0, 1), at(1, 2)])
    scores = hota(found)
    assert scores.tp.tolist() == [2.0] * 19
    assert scores.fn.tolist() == scores.fp.tolist() == [0.0] * 19
    assert scores.det_a.tolist() == scores.loc_a.tolist() == [1.0] * 19
    assert scores.ass_a.tolist() == scores.ass_re.tolist() == [0.5] * 19  # 1 of 2 boxes each
    assert scores.ass_pr.tolist() == [1.0] * 19
    assert scores.summary()["HOTA"] == pytest.approx(0.5**0.5)
    assert scores.summary()["HOTALocA(0)"] == pytest.approx(0.5**0.5)
    moving = clear(found)
    assert (moving.tp, moving.fn, moving.fp, moving.idsw, moving.frag) == (2, 0, 0, 1, 0)
    assert (moving.mota, moving.moda, moving.motp, moving.motal) == (0.5, 1, 1, 1)
    assert (moving.mt, moving.pt, moving.ml, moving.mtr, moving.mlr) == (1, 0, 0, 1, 0)
    assert identity(found) == Identity(1, 1, 1)
    assert identity(found).idf1 == identity(found).idp == identity(found).idr == 0.5


def test_an_iou_equal_to_the_threshold_counts() -> None:
    found = scene(1, [at(0, 1)], [at(0, 1, 2.5)])  # 75 / 125 = 0.6
    assert hota(found).tp.tolist() == [1.0] * 12 + [0.0] * 7
    assert hota(found).loc_a.tolist() == [0.6] * 12 + [1.0] * 7
    assert alphas()[[0, 11, 18]] == pytest.approx([0.05, 0.6, 0.95])
    assert (clear(found, 0.6).tp, identity(found, 0.6).idtp) == (1, 1)
    assert (clear(found, 0.6001).tp, identity(found, 0.6001).idtp) == (0, 0)


def test_a_match_is_kept_while_it_reaches_the_threshold() -> None:
    truth = [at(0, 1), at(1, 1)]
    kept = clear(scene(2, truth, [at(0, 1), at(1, 1, 2.5), at(1, 2)]))
    assert (kept.idsw, kept.fp, kept.iou_sum, kept.motp) == (0, 1, 1.6, 0.8)
    assert kept.smota == pytest.approx((1.6 - 1) / 2)
    lost = clear(scene(2, truth, [at(0, 1), at(1, 1, 6), at(1, 2)]))
    assert (lost.idsw, lost.fp, lost.iou_sum) == (1, 1, 2)


def test_switches_are_counted_over_gaps_and_kept_matches_are_not() -> None:
    truth = [at(frame, 1) for frame in range(3)]
    elsewhere = at(1, 9, 500)
    back = clear(scene(3, truth, [at(0, 1), elsewhere, at(2, 2)]))
    assert (back.idsw, back.frag, back.fn, back.fp) == (1, 1, 1, 1)
    # After a gap the better box wins, not the one that was matched before it.
    results = [at(0, 1), elsewhere, at(2, 1, 2.5), at(2, 2)]
    assert clear(scene(3, truth, results)).idsw == 1
    # A frame without any result is stepped over, as in TrackEval: no break, and matches are kept.
    results.remove(elsewhere)
    stepped = clear(scene(3, truth, results))
    assert (stepped.idsw, stepped.frag, stepped.fn, stepped.fp) == (0, 0, 1, 1)


def test_fragments() -> None:
    truth = [at(frame, 1) for frame in range(6)]
    results = [at(frame, 1, 0 if frame % 2 else 300) for frame in range(6)]
    found = clear(scene(6, truth, results))
    assert (found.frag, found.tp, found.fn, found.fp, found.idsw) == (2, 3, 3, 3, 0)
    assert (found.mota, found.recall, found.precision, found.f1) == (0, 0.5, 0.5, 0.5)
    assert found.fp_per_frame == 0.5


def test_mostly_tracked_begins_above_and_mostly_lost_below_the_bound() -> None:
    tracked = {1: 9, 2: 8, 3: 2, 4: 1, 5: 0}  # of 10 frames
    truth = [at(frame, number, 100 * number) for frame in range(10) for number in tracked]
    results = [
        at(frame, number, 100 * number)
        for number, count in tracked.items()
        for frame in range(count)
    ]
    found = clear(scene(10, truth, results))
    assert (found.mt, found.pt, found.ml) == (1, 2, 2)
    assert (found.mtr, found.ptr, found.mlr) == (0.2, 0.4, 0.4)


def test_identities_are_given_to_gain_most_in_all() -> None:
    # Truth 1 agrees with result 1 in 3 frames and with 2 in 2; truth 2 with result 1 in 2.
    # 2 + 2 beats 3.
    truth = [at(frame, 1) for frame in range(5)] + [at(frame, 2, 50) for frame in range(3, 5)]
    results = [at(frame, 1) for frame in range(3)] + [at(frame, 2) for frame in range(3, 5)]
    results += [at(frame, 1, 50) for frame in range(3, 5)]
    found = identity(scene(5, truth, results))
    assert found == Identity(idtp=4, idfn=3, idfp=3)
    assert found.idf1 == 4 / 7


def test_nothing_on_one_side() -> None:
    no_results = scene(4, [at(0, 1), at(1, 1), at(1, 2)], [])
    missed = clear(no_results)
    assert (missed.fn, missed.ml, missed.mlr, missed.mota, missed.frames) == (3, 2, 1, 0, 0)
    assert hota(no_results).fn.tolist() == [3.0] * 19
    assert hota(no_results).summary()["LocA"] == 1
    assert hota(no_results).summary()["HOTA"] == 0
    assert identity(no_results) == Identity(0, 3, 0)
    no_truth = scene(4, [], [at(0, 1), at(1, 1)])
    false = clear(no_truth)
    assert (false.fp, false.ml, false.mlr, false.mota, false.fp_per_frame) == (2, 0, 1, 0, 0)
    assert hota(no_truth).fp.tolist() == [2.0] * 19
    assert identity(no_truth) == Identity(0, 0, 2)
    # Taken together with others they are computed like any.
    assert Clear.combined([false]).mota == -2
    assert Clear.combined([false]).mlr == 0


def test_sequences_together() -> None:
    one = scene(1, [at(0, 1)], [at(0, 1)])
    other = scene(2, [at(0, 1), at(1, 1)], [at(0, 1), at(1, 2)])
    both = Hota.combined([hota(one), hota(other)])
    assert both.tp[0] == 3
    assert both.ass_a[0] == pytest.approx((1 * 1 + 2 * 0.5) / 3)
    assert Clear.combined([clear(one), clear(other)]).mota == pytest.approx(2 / 3)
    assert Identity.combined([identity(one), identity(other)]) == Identity(2, 1, 1)
    assert Hota.combined([]).summary()["LocA"] == 1
    assert Clear.combined([]) == Clear()
    assert Identity.combined([]) == Identity(0, 0, 0)


# --- equal to TrackEval ---------------------------------------------------------------------------


def evaluate(found: SequencePairs, threshold: float = 0.5) -> Scores:
    return hota(found), clear(found, threshold), identity(found, threshold)


def worst_difference(scores: Scores, expected: Mapping[str, Mapping[str, Any]]) -> float:
    """The largest difference of any value; the names must be the same."""
    single = {name: value for name, value in scores[0].summary().items() if "(0)" in name}
    worst = 0.0
    for name, values in (
        ("hota", scores[0].arrays() | single),
        ("clear", scores[1].summary()),
        ("identity", scores[2].summary()),
    ):
        assert set(values) == set(expected[name])
        for key, value in expected[name].items():
            difference = np.abs(np.asarray(values[key]) - np.asarray(value, np.float64))
            worst = max(worst, float(difference.max()))
    return worst


def random_sequence(
    random: np.random.Generator, frames: int, identities: int
) -> tuple[int, Rows, Rows]:
    """Boxes that overlap a lot, on a grid at times, so that many matchings are equally good."""
    extent, grid = random.choice([4.0, 12.0, 40.0]), random.choice([0, 1, 5])

    def side() -> Rows:
        count = 0 if random.random() < 0.08 else int(random.integers(0, frames * identities + 1))
        keys = random.permutation(np.unique(random.integers(0, frames * identities, count)))
        boxes = np.concatenate(
            [random.uniform(0, extent, (len(keys), 2)), random.uniform(2, 10, (len(keys), 2))], 1
        )
        if grid:
            boxes = np.round(boxes / grid) * grid
        return keys // identities, keys % identities * 7 - 3, boxes

    truth, results = side(), side()
    if random.random() < 0.3:  # results that follow the truth
        kept = random.random(len(truth[0])) < 0.9
        moved = truth[2][kept] + random.integers(-1, 2, (int(kept.sum()), 4))
        results = truth[0][kept], truth[1][kept], moved
    return frames, truth, results


def check_random(seeds: range, scale: int) -> float:
    worst = 0.0
    oracles = {threshold: Oracle(threshold) for threshold in (0.1, 0.3, 0.5, 0.75, 1.0)}
    for seed in seeds:
        random = np.random.default_rng(seed)
        frames, truth, results = random_sequence(
            random, int(random.integers(1, 12)), int(random.integers(1, 9 * scale))
        )
        threshold = float(random.choice(list(oracles)))
        scores = evaluate(make_pairs(frames, *truth, *results), threshold)
        expected = oracles[threshold].evaluate(sequence_data(frames, truth, results))
        difference = worst_difference(scores, expected)
        assert difference < 1e-9, f"seed {seed}"
        worst = max(worst, difference)
    return worst


def test_random_sequences_equal_trackeval() -> None:
    check_random(range(600), 1)


@pytest.mark.proof
def test_many_random_sequences_equal_trackeval(prove: Prove) -> None:
    worst = max(check_random(range(10_000), 1), check_random(range(10_000, 12_000), 4))
    prove("metrics of 12,000 random sequences against TrackEval", "within 1e-9", f"{worst:.1e}")


def val_half(data: Path, name: str, kind: str) -> tuple[int, Rows, Rows]:
    """Pedestrians of the val half, and a reference result; no protocol beyond that."""
    folder = data / "mot17"
    about = ConfigParser()
    about.read(folder / "gt" / name / "seqinfo.ini")
    length = about.getint("Sequence", "seqLength")
    start = length // 2 + 2
    truth = np.loadtxt(folder / "gt" / name / "gt" / "gt.txt", delimiter=",")
    truth = truth[(truth[:, 0] >= start) & (truth[:, 6] == 1) & (truth[:, 7] == 1)]
    truth[:, 0] -= start
    results = np.loadtxt(folder / "bytetrack_reference" / kind / f"{name}.txt", delimiter=",")
    results[:, 0] -= 1
    return length - start + 1, rows(truth[:, :6].tolist()), rows(results[:, :6].tolist())


def spoiled(random: np.random.Generator, frames: int, found: Rows) -> Rows:
    """The same with frames dropped, identities swapped, boxes moved and short tracks added."""
    at, ids, boxes = found
    kept = random.random(frames)[at] > random.choice([0, 0.05, 0.5])  # whole frames
    kept &= random.random(len(at)) > random.choice([0, 0.1, 0.4])
    at, ids, boxes = at[kept], ids[kept].copy(), boxes[kept].copy()
    for _ in range(int(random.integers(0, 60))):
        one, other = random.choice(ids, 2)
        later = at >= random.integers(0, frames)
        ones, others = later & (ids == one), later & (ids == other)
        ids[ones], ids[others] = other, one
    boxes += random.normal(0, random.choice([0.0, 3.0, 15.0]), boxes.shape)
    if random.random() < 0.4:
        boxes = np.round(boxes / 20) * 20
    short = np.flatnonzero(random.random(len(at)) < random.choice([0, 0.02]))
    ids[short] = 100_000 + np.arange(len(short))
    doubled = np.flatnonzero(random.random(len(at)) < random.choice([0, 0.1]))
    return (
        np.concatenate([at, at[doubled]]),
        np.concatenate([ids, ids[doubled] + 200_000]),
        np.concatenate([boxes, boxes[doubled]]),
    )


@pytest.mark.parametrize("kind", RESULTS)
def test_real_sequences_equal_trackeval(data: Path, kind: str) -> None:
    oracle, ours, theirs = Oracle(), [], []
    for name in ("MOT17-05", "MOT17-09"):
        frames, truth, results = val_half(data, name, kind)
        ours.append(evaluate(make_pairs(frames, *truth, *results)))
        theirs.append(oracle.evaluate(sequence_data(frames, truth, results)))
        assert worst_difference(ours[-1], theirs[-1]) < 1e-9
    assert worst_difference(together(ours), oracle.combine(theirs)) < 1e-9
    assert together(ours)[1].mota > 0.5


def together(scores: Sequence[Scores]) -> Scores:
    hotas, clears, identities = zip(*scores, strict=True)
    return Hota.combined(hotas), Clear.combined(clears), Identity.combined(identities)


@pytest.mark.proof
@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("kind", RESULTS)
def test_spoiled_sequences_equal_trackeval(data: Path, name: str, kind: str, prove: Prove) -> None:
    oracle, worst = Oracle(), 0.0
    frames, truth, results = val_half(data, name, kind)
    ours, theirs = [], []
    for seed in range(21):
        random = np.random.default_rng(seed)
        worse = spoiled(random, frames, results) if seed else results
        against = spoiled(random, frames, truth) if seed % 3 == 1 else truth
        ours.append(evaluate(make_pairs(frames, *against, *worse)))
        theirs.append(oracle.evaluate(sequence_data(frames, against, worse)))
        difference = worst_difference(ours[-1], theirs[-1])
        assert difference < 1e-9, f"seed {seed}"
        worst = max(worst, difference)
    worst = max(worst, worst_difference(together(ours), oracle.combine(theirs)))
    assert worst < 1e-9
    prove(f"metrics of {name} {kind}, spoiled 20 ways", "within 1e-9", f"{worst:.1e}")
