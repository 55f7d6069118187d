"""The tracker: first what it does, then its edges."""

from __future__ import annotations

import dataclasses
import inspect
import resource
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail import ByteTracker, Detections
from motrail.config import TrackerSettings
from motrail.errors import ConfigError
from reference import SEQUENCES, differences

if TYPE_CHECKING:
    from conftest import Prove

STATM = Path("/proc/self/statm")


def at(*lefts: float, score: float = 0.9, top: float = 0, size: float = 100) -> Detections:
    """Square boxes side by side."""
    boxes = [[left, top, left + size, top + size] for left in lefts]
    return Detections(np.array(boxes).reshape(-1, 4), np.full(len(lefts), score))


NOTHING = Detections.empty()


def ids(tracker: ByteTracker, detections: Detections, step: int = 1) -> list[int]:
    return [int(i) for i in tracker.update(detections, step=step).ids]


# --- against the published code -----------------------------------------------------------------

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {"match_threshold": 0.9},
    "no_score_fusion": {"match_threshold": 0.8, "score_fusion": False},
}


def reference_tracker(kind: str) -> ByteTracker:
    return ByteTracker(
        high_threshold=0.595,
        low_threshold=0.1,
        new_track_threshold=0.695,
        lost_frames=31,
        **SETTINGS[kind],
    )


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("kind", SETTINGS)
def test_answers_like_the_published_code(data: Path, kind: str, sequence: str) -> None:
    boxes, wrong = differences(data, kind, sequence, reference_tracker(kind))
    assert boxes > 2000
    assert wrong == 0


@pytest.mark.proof
@pytest.mark.parametrize(("kind", "total"), [("default", 48_295), ("no_score_fusion", 48_271)])
def test_answers_like_the_published_code_in_all(
    data: Path, kind: str, total: int, prove: Prove
) -> None:
    counts = [differences(data, kind, s, reference_tracker(kind)) for s in SEQUENCES]
    boxes, wrong = (sum(column) for column in zip(*counts, strict=True))
    prove(f"ByteTrack reference, {kind}", f"0 differences of {total}", f"{wrong} of {boxes}")
    assert (boxes, wrong) == (total, 0)


def test_the_comparison_sees_a_difference(data: Path) -> None:
    tracker = reference_tracker("default")
    tracker.match_threshold = 0.8
    assert differences(data, "default", "MOT17-05", tracker)[1] > 0


# --- a track's life ------------------------------------------------------------------------------


def test_first_frame_is_confirmed_at_once_and_later_ones_by_a_second_match() -> None:
    tracker = ByteTracker()
    assert ids(tracker, at(0)) == [1]
    assert ids(tracker, at(0, 500)) == [1]
    assert ids(tracker, at(0, 500)) == [1, 2]


def test_an_empty_first_frame_is_the_first_frame() -> None:
    tracker = ByteTracker()
    assert ids(tracker, NOTHING) == []
    assert ids(tracker, at(0)) == []
    assert ids(tracker, at(0)) == [1]


def test_a_new_track_missed_once_is_forgotten() -> None:
    tracker = ByteTracker()
    ids(tracker, NOTHING)
    ids(tracker, at(0))
    assert ids(tracker, NOTHING) == []
    assert ids(tracker, at(0)) == []
    assert ids(tracker, at(0)) == [1]


@pytest.mark.parametrize("lost_frames", [0, 1, 5, 30])
def test_a_lost_track_is_found_after_just_so_many_missed_frames(lost_frames: int) -> None:
    for missed, found in [(lost_frames, True), (lost_frames + 1, False)]:
        tracker = ByteTracker(lost_frames=lost_frames)
        ids(tracker, at(0))
        for _ in range(missed):
            assert ids(tracker, NOTHING) == []
        assert (ids(tracker, at(0)) == [1]) is found


@pytest.mark.parametrize("step", [2, 3, 7])
def test_lost_frames_count_frames_of_the_source(step: int) -> None:
    # Seen in frame 1 + step, found again at the last frame that is not too far from it.
    far = 30 // step * step
    for gap, found in [(far, True), (far + step, (far + step) - 1 <= 30)]:
        tracker = ByteTracker(lost_frames=30)
        ids(tracker, at(0))
        ids(tracker, at(0), step)
        for _ in range(gap // step - 1):
            ids(tracker, NOTHING, step)
        assert (ids(tracker, at(0), step) == [1]) is found, gap


def test_a_track_seen_in_the_last_call_survives_any_step() -> None:
    tracker = ByteTracker(lost_frames=5)
    ids(tracker, at(0))
    assert ids(tracker, at(0), step=100) == [1]


def test_a_lost_track_runs_out_within_a_long_step() -> None:
    tracker = ByteTracker(lost_frames=5)
    ids(tracker, at(0))
    ids(tracker, NOTHING)
    assert ids(tracker, at(0), step=6) == []


def test_lost_seconds_with_the_frame_rate_wins() -> None:
    assert ByteTracker(lost_seconds=0.1, frame_rate=30).lost_frames == 3
    assert ByteTracker(lost_seconds=1.5, frame_rate=29.97, lost_frames=3).lost_frames == 44


def test_a_step_predicts_as_often_as_it_says() -> None:
    one, three = ByteTracker(), ByteTracker()
    for left in (0, 20, 40, 60):
        one.update(at(left))
        three.update(at(left))
    one.update(NOTHING)
    one.update(NOTHING)
    by_one = one.update(at(120)).boxes_xyxy
    by_three = three.update(at(120), step=3).boxes_xyxy
    # A lost track keeps its course, but not the change of its height; here there is none.
    np.testing.assert_allclose(by_one, by_three, atol=1e-4)
    assert three._tracks.frame == one._tracks.frame


def test_fast_objects_are_followed_by_their_motion() -> None:
    tracker = ByteTracker(match_threshold=0.99)
    seen = {tuple(ids(tracker, at(left * left * 1.0))) for left in range(1, 40)}
    assert seen == {(1,)}


def test_reset_starts_anew() -> None:
    tracker = ByteTracker()
    ids(tracker, at(0, 300))
    tracker.reset()
    assert ids(tracker, at(500)) == [1]


# --- thresholds -----------------------------------------------------------------------------------


def test_a_score_equal_to_the_high_threshold_is_high() -> None:
    for high, first in [(0.6, [1]), (0.6000001, [])]:
        tracker = ByteTracker(high_threshold=high, new_track_threshold=0)
        assert ids(tracker, at(0, score=0.6)) == first


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6, 0.7, 0.9])
def test_scores_are_compared_as_float32(threshold: float) -> None:
    tracker = ByteTracker(high_threshold=0.05, low_threshold=0, new_track_threshold=threshold)
    assert ids(tracker, at(0, score=threshold)) == [1]
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    tracker.reset()
    assert ids(tracker, at(0, score=below)) == []


def test_a_score_equal_to_the_low_threshold_is_not_used() -> None:
    for score, found in [(0.1, []), (0.1001, [1])]:
        tracker = ByteTracker()
        ids(tracker, at(0))
        assert ids(tracker, at(0, score=score)) == found


def test_weak_detections_continue_tracks_and_never_begin_them() -> None:
    tracker = ByteTracker()
    ids(tracker, at(0))
    assert ids(tracker, at(0, 500, score=0.3)) == [1]
    assert ids(tracker, at(0, 500, score=0.3)) == [1]


def test_weak_detections_do_not_find_lost_tracks() -> None:
    tracker = ByteTracker()
    ids(tracker, at(0))
    ids(tracker, NOTHING)
    assert ids(tracker, at(0, score=0.3)) == []
    assert ids(tracker, at(0)) == [1]


def test_match_threshold_is_the_largest_cost() -> None:
    # The box moves by a quarter: inclusive IoU (101·76) / (2·101² − 101·76), score 1.
    iou = 76 / (2 * 101 - 76)
    moved = at(25, score=1.0)
    for threshold, matched in [(1 - iou + 1e-4, True), (1 - iou - 1e-4, False)]:
        tracker = ByteTracker(match_threshold=threshold)
        ids(tracker, at(0))
        assert (ids(tracker, moved) == [1]) is matched


def test_score_fusion_makes_weak_matches_dearer() -> None:
    for fused, matched in [(True, False), (False, True)]:
        tracker = ByteTracker(match_threshold=0.3, score_fusion=fused)
        ids(tracker, at(0))
        assert (ids(tracker, at(0, score=0.65)) == [1]) is matched


def test_the_sum_of_costs_decides_not_the_best_pair() -> None:
    # Track 1 fits box A best, but then track 2 has nothing; together 1→B and 2→A are cheaper.
    tracker = ByteTracker(match_threshold=0.9)
    ids(tracker, Detections([[0, 0, 100, 100], [60, 0, 160, 100]], [0.9, 0.9]))
    tracks = tracker.update(Detections([[30, 0, 130, 100], [-35, 0, 65, 100]], [0.95, 0.95]))
    assert dict(zip(tracks.detection_index.tolist(), tracks.ids.tolist(), strict=True)) == {
        0: 2,
        1: 1,
    }


# --- classes --------------------------------------------------------------------------------------


def of_class(*class_ids: int) -> Detections:
    boxes = [[400 * i, 0, 400 * i + 100, 100] for i in range(len(class_ids))]
    return Detections(boxes, [0.9] * len(class_ids), class_ids)


def test_separate_classes_never_match() -> None:
    tracker = ByteTracker()
    tracker.update(of_class(0))
    assert len(tracker.update(of_class(1))) == 0
    tracks = tracker.update(of_class(1))
    assert (tracks.ids.tolist(), tracks.class_ids.tolist()) == ([2], [1])


def test_separate_classes_are_no_duplicates_of_each_other() -> None:
    tracker = ByteTracker()
    tracker.update(of_class(0))
    tracker.update(of_class(1))
    tracker.update(of_class(1))
    assert tracker.update(of_class(0)).ids.tolist() == [1]


def test_vote_gives_the_most_frequent_class_so_far() -> None:
    tracker = ByteTracker(class_mode="vote")
    given = [int(tracker.update(of_class(c)).class_ids[0]) for c in (5, 7, 5, 7, 7, 5, 5, 900)]
    assert given == [5, 7, 5, 7, 7, 5, 5, 5]


def test_votes_stay_with_their_track() -> None:
    tracker = ByteTracker(class_mode="vote", lost_frames=1)
    for classes in [(3, 4), (3, 4), (3, 4)]:
        tracker.update(of_class(*classes))
    for _ in range(3):  # the first object leaves, and its votes with it
        tracks = tracker.update(of_class(3, 4)[np.array([1])])
    assert tracks.class_ids.tolist() == [4]
    assert len(tracker._tracks._votes._counts) == 1


def test_ignore_gives_the_class_of_the_detection() -> None:
    tracker = ByteTracker(class_mode="ignore")
    given = [tracker.update(of_class(c)) for c in (0, 1, 0)]
    assert [t.class_ids.tolist() for t in given] == [[0], [1], [0]]
    assert {int(t.ids[0]) for t in given} == {1}


# --- what comes out -------------------------------------------------------------------------------


def test_detection_index_points_into_what_was_given() -> None:
    tracker = ByteTracker()
    tracker.update(at(0, 300, 600))
    detections = Detections(
        [[600, 0, 700, 100], [50, 50, 60, 60], [0, 0, 100, 100], [300, 0, 400, 100]],
        [0.3, 0.05, 0.8, 0.9],
    )
    tracks = tracker.update(detections)
    assert tracks.ids.tolist() == [1, 2, 3]
    assert tracks.detection_index.tolist() == [2, 3, 0]
    np.testing.assert_array_equal(tracks.scores, detections.scores[tracks.detection_index])


def test_filters_hide_boxes_and_do_not_stop_tracking() -> None:
    tracker = ByteTracker(min_box_area=5000, max_aspect_ratio=1.6)
    small, wide, good = [0, 0, 50, 99], [200, 0, 400, 100], [600, 0, 700, 100]
    first = tracker.update(Detections([small, wide, good], [0.9] * 3))
    assert first.ids.tolist() == [3]
    tracker.max_aspect_ratio = None
    assert tracker.update(Detections([small, wide, good], [0.9] * 3)).ids.tolist() == [2, 3]


def test_filters_keep_what_is_just_at_the_limit() -> None:
    tracker = ByteTracker(min_box_area=10_000, max_aspect_ratio=1.0)
    assert ids(tracker, at(0)) == [1]


def test_a_duplicate_of_a_longer_track_is_dropped() -> None:
    tracker = ByteTracker()
    for _ in range(5):
        ids(tracker, at(0, 300))
    ids(tracker, at(300))  # 1 is lost at 0
    # A second box appears on the lost one, too far from it to be matched, then drifts onto it.
    ids(tracker, at(300))
    assert ids(tracker, at(0, 300)) == [1, 2]


def test_input_is_not_changed_and_output_is_read_only() -> None:
    detections = at(0, 300)
    before = (detections.boxes_xyxy.copy(), detections.scores.copy())
    tracks = ByteTracker().update(detections)
    np.testing.assert_array_equal(detections.boxes_xyxy, before[0])
    np.testing.assert_array_equal(detections.scores, before[1])
    with pytest.raises(ValueError, match="read-only"):
        tracks.boxes_xyxy[0, 0] = 1
    with pytest.raises(AttributeError, match="read-only"):
        tracks.ids = np.zeros(1, np.int64)


def test_two_trackers_share_nothing() -> None:
    a, b = ByteTracker(), ByteTracker()
    assert ids(a, at(0, 300)) == [1, 2]
    assert ids(b, at(0)) == [1]
    assert ids(a, at(0, 300)) == [1, 2]
    assert ids(b, at(0)) == [1]


def test_boxes_without_area_are_left_out() -> None:
    tracker = ByteTracker()
    flat = Detections([[0, 0, 100, 0], [0, 0, 0, 100], [5, 5, 5, 5], [0, 0, 100, 100]], [0.9] * 4)
    tracks = [tracker.update(flat) for _ in range(3)][-1]
    assert tracks.detection_index.tolist() == [3]
    assert np.isfinite(tracks.boxes_xyxy).all()


def test_same_detections_in_another_order_give_the_same_tracks() -> None:
    rng = np.random.default_rng(3)
    plain, mixed = ByteTracker(), ByteTracker()
    centre = rng.uniform(0, 800, (40, 2))
    for _ in range(30):
        centre += rng.normal(0, 4, centre.shape)
        boxes = np.concatenate((centre - 40, centre + 40), axis=1)
        scores = rng.uniform(0.05, 1, 40)
        order = rng.permutation(40)
        a = plain.update(Detections(boxes, scores))
        b = mixed.update(Detections(boxes[order], scores[order]))
        a_boxes = a.boxes_xyxy[np.lexsort(a.boxes_xyxy.T)]
        b_boxes = b.boxes_xyxy[np.lexsort(b.boxes_xyxy.T)]
        np.testing.assert_array_equal(a_boxes, b_boxes)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high_threshold": 1.1}, "high_threshold: expected from 0 to 1, found 1.1"),
        ({"low_threshold": 0.7}, "low_threshold: expected at most high_threshold"),
        ({"match_threshold": float("nan")}, "match_threshold: expected from 0 to 1"),
        ({"lost_frames": -1}, "lost_frames: expected 0 or more, found -1"),
        ({"lost_seconds": 1.0}, "lost_seconds: needs frame_rate"),
        ({"lost_seconds": 1.0, "frame_rate": 0}, "frame_rate: expected from 1e-06"),
        ({"class_mode": "both"}, "class_mode: expected 'separate', 'vote' or 'ignore'"),
        ({"min_box_area": -1}, "min_box_area"),
        ({"max_aspect_ratio": -1}, "max_aspect_ratio"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ByteTracker(**settings)


@pytest.mark.parametrize("step", [0, -1])
def test_a_step_below_one_is_refused(step: int) -> None:
    with pytest.raises(ConfigError, match="step: expected 1 or more"):
        ByteTracker().update(NOTHING, step=step)


def test_signature_and_settings_say_the_same() -> None:
    signature = inspect.signature(ByteTracker)
    known = dataclasses.asdict(TrackerSettings())
    assert {name: p.default for name, p in signature.parameters.items()} == {
        name: known[name] for name in signature.parameters
    }


# --- long runs ------------------------------------------------------------------------------------


def _memory_after(tracker: ByteTracker, frames: int, rng: np.random.Generator) -> int:
    for _ in range(frames // 4):  # objects that show up for three frames, then a new scene
        count = int(rng.integers(0, 4))
        centre = rng.uniform(0, 2000, (count, 2))
        boxes = np.concatenate((centre, centre + 50), axis=1)
        seen = Detections(boxes, rng.uniform(0.5, 1, count), rng.integers(0, 5, count))
        for detections in (seen, seen, seen, NOTHING):
            tracker.update(detections)
    return tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0


def test_memory_is_flat() -> None:
    tracker = ByteTracker(class_mode="vote")
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        early = _memory_after(tracker, 1_000, rng)
        late = _memory_after(tracker, 3_000, rng)
    finally:
        tracemalloc.stop()
    assert tracker._tracks._next_id > 500
    assert len(tracker._tracks) < 100
    assert late < 1.2 * early


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not STATM.exists(), reason="needs /proc to see the memory of the process")
def test_memory_is_flat_over_a_million_frames(prove: Prove) -> None:
    tracker = ByteTracker(class_mode="vote")
    rng = np.random.default_rng(0)

    def resident_mib() -> float:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 2**20

    _memory_after(tracker, 10_000, rng)
    early = resident_mib()
    _memory_after(tracker, 1_000_000, rng)
    late = resident_mib()
    prove("tracker memory, 1,000,000 frames", "flat", f"{early:.1f} → {late:.1f} MiB")
    assert late - early < 2
