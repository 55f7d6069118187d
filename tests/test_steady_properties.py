"""What must hold for the steady tracker whatever the scene: many seeded ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail import Detections, SteadyTracker
from motrail.types import SequenceTracks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from motrail.types import Tracks

WIDTH, HEIGHT = 1024, 512
SEEDS = range(12)


def scene(seed: int, classes: int = 1) -> list[Detections]:
    """A crowd with misses, weak detections and a shaking camera; quarters of pixels.

    Scores are whole 128ths with a small part of their own, so that no two pairs cost the same.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 25))
    place = rng.uniform([0, 0], [WIDTH, HEIGHT], (count, 2))
    speed = rng.normal(0, 3, (count, 2))
    size = np.stack((rng.uniform(20, 60, count), rng.uniform(50, 120, count)), axis=1)
    kinds = rng.integers(0, classes, count)
    shake = rng.uniform(0, 8)
    frames = []
    for _ in range(50):
        place += speed
        corner = place - size / 2 + rng.normal(0, shake, 2) + rng.normal(0, 1, place.shape)
        boxes = np.round(4 * np.concatenate((corner, corner + size), axis=1)) / 4
        scores = rng.choice([0.3, 0.55, 0.72, 0.81, 0.94], count) + rng.uniform(0, 0.02, count)
        seen = rng.random(count) > 0.1
        frames.append(Detections(boxes[seen], scores[seen], kinds[seen]))
    return frames


def tracked(
    frames: Iterable[Detections], size: tuple[int, int] = (WIDTH, HEIGHT), **settings: Any
) -> list[Tracks]:
    tracker = SteadyTracker(size, **settings)
    return [tracker.update(found) for found in frames]


def changed(
    frames: Iterable[Detections], change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> list[Detections]:
    return [Detections(change(f.boxes_xyxy), f.scores, f.class_ids) for f in frames]


def same_identities(one: Iterable[Tracks], other: Iterable[Tracks]) -> None:
    for first, second in zip(one, other, strict=True):
        assert first.ids.tolist() == second.ids.tolist()
        assert first.detection_index.tolist() == second.detection_index.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_detections_changes_nothing_but_the_order(seed: int) -> None:
    frames = scene(seed, classes=2)
    rng = np.random.default_rng(1000 + seed)
    orders = [rng.permutation(len(found)) for found in frames]
    plain = tracked(frames)
    mixed = tracked(f[order] for f, order in zip(frames, orders, strict=True))
    names: dict[int, int] = {}
    for one, other, order in zip(plain, mixed, orders, strict=True):
        assert len(one) == len(other)
        back = {int(order[i]): row for row, i in enumerate(other.detection_index) if i >= 0}
        for row, index in enumerate(one.detection_index.tolist()):
            name = int(one.ids[row])
            if index >= 0:  # who it is was said when it was first seen
                there = back[index]
                assert names.setdefault(name, int(other.ids[there])) == other.ids[there]
            else:
                there = other.ids.tolist().index(names[name])
            assert np.allclose(one.boxes_xyxy[row], other.boxes_xyxy[there], atol=1e-2)
            assert one.scores[row] == other.scores[there]
            assert one.class_ids[row] == other.class_ids[there]
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_picture_moved_and_mirrored_has_tracks_moved_and_mirrored(seed: int) -> None:
    frames = scene(seed)

    def mirrored(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack((WIDTH - boxes[:, 2], boxes[:, 1], WIDTH - boxes[:, 0], boxes[:, 3]), 1)

    plain, mirror = tracked(frames), tracked(changed(frames, mirrored))
    same_identities(plain, mirror)
    for one, other in zip(plain, mirror, strict=True):
        assert np.allclose(mirrored(one.boxes_xyxy), other.boxes_xyxy, atol=1e-2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_picture_twice_as_large_has_tracks_twice_as_large(seed: int) -> None:
    """The IoU counts inclusive pixels, which do not grow: some matches hang on that."""
    frames = scene(seed)
    plain = tracked(frames)
    large = tracked(changed(frames, lambda boxes: 2 * boxes), (2 * WIDTH, 2 * HEIGHT))
    rows = together = 0
    for one, other in zip(plain, large, strict=True):
        there = dict(zip(other.detection_index.tolist(), other.boxes_xyxy, strict=True))
        for index, box in zip(one.detection_index.tolist(), one.boxes_xyxy, strict=True):
            rows += index >= 0
            together += index >= 0 and index in there and np.allclose(2 * box, there[index], atol=1)
    assert rows > 50
    assert together >= 0.97 * rows


def test_classes_that_never_meet_are_tracked_as_if_alone() -> None:
    """With `separate` and no motion common to all, each class could have a tracker of its own."""
    for seed in SEEDS:
        frames = scene(seed, classes=3)
        together = tracked(frames, camera_motion="off")
        for kind in range(3):
            mine = [f[f.class_ids == kind] for f in frames]
            alone = tracked(mine, camera_motion="off")
            for both, one, found in zip(together, alone, frames, strict=True):
                rows = both.class_ids == kind
                where = np.flatnonzero(found.class_ids == kind)
                index = (
                    np.where(one.detection_index >= 0, where[one.detection_index], -1)
                    if len(where)
                    else one.detection_index
                )
                assert both.detection_index[rows].tolist() == index.tolist()
                assert np.allclose(both.boxes_xyxy[rows], one.boxes_xyxy, atol=1e-3)


@pytest.mark.parametrize("mode", ["vote", "ignore"])
def test_other_class_modes_give_identities_whatever_the_class(mode: str) -> None:
    for seed in SEEDS:
        frames = scene(seed)
        rng = np.random.default_rng(seed)
        mixed = [Detections(f.boxes_xyxy, f.scores, rng.integers(0, 3, len(f))) for f in frames]
        plain, with_classes = tracked(frames), tracked(mixed, class_mode=mode)
        same_identities(plain, with_classes)
        if mode == "ignore":
            for found, tracks in zip(mixed, with_classes, strict=True):
                seen = tracks.detection_index >= 0
                assert (
                    tracks.class_ids[seen].tolist()
                    == found.class_ids[tracks.detection_index[seen]].tolist()
                )


class TestTime:
    """Frames that nobody looked at, and seconds."""

    def walkers(self, step: int, frames: int = 60) -> list[Detections]:
        """Six walk by 2 pixels a frame of the source; every `step`-th frame is looked at."""
        starts = 150 * np.arange(6)
        found = []
        for number in range(0, frames, step):
            left = starts + 2 * number
            boxes = np.stack((left, np.full(6, 100), left + 40, np.full(6, 200)), axis=1)
            found.append(Detections(boxes.astype(float), np.full(6, 0.9)))
        return found

    @pytest.mark.parametrize("step", [1, 2, 3, 5])
    def test_a_stride_keeps_identities(self, step: int) -> None:
        tracker = SteadyTracker((WIDTH, HEIGHT))
        seen = [tracker.update(f, step=step) for f in self.walkers(step)]
        assert {tuple(tracks.ids.tolist()) for tracks in seen} == {(1, 2, 3, 4, 5, 6)}

    @pytest.mark.parametrize("seed", range(5))
    def test_a_rate_that_changes_keeps_identities(self, seed: int) -> None:
        """After any 1 to 6 frames the next one is looked at."""
        rng = np.random.default_rng(seed)
        every = self.walkers(1, 120)
        tracker = SteadyTracker((WIDTH, HEIGHT))
        number, names = 0, set()
        while True:
            step = int(rng.integers(1, 7))
            number += step
            if number >= len(every):
                break
            names.add(tuple(tracker.update(every[number], step=step).ids.tolist()))
        assert names == {(1, 2, 3, 4, 5, 6)}

    @pytest.mark.parametrize("rate", [5, 10, 30])
    def test_all_seconds_are_frames_of_the_source(self, rate: int) -> None:
        in_seconds = SteadyTracker(
            lost_seconds=2, revive_seconds=0.4, coast_seconds=0.2, frame_rate=rate
        )
        in_frames = SteadyTracker(
            lost_frames=2 * rate, revive_frames=2 * rate // 5, coast_frames=rate // 5
        )
        frames = scene(3)
        for found in frames:
            assert in_seconds.update(found) == in_frames.update(found)

    def test_coasting_ends_by_frames_of_the_source(self) -> None:
        """Two frames of coasting are one look of two frames, and none of three."""
        for step, coasts in ((2, True), (3, False)):
            tracker = SteadyTracker((WIDTH, HEIGHT), coast_frames=2, coast_hits=2)
            for found in self.walkers(1, 20):
                tracker.update(found)
            left = tracker.update(Detections.empty(), step=step)
            assert (len(left) > 0) is coasts


def test_all_answers_are_tracks_that_can_be_put_together() -> None:
    """Each identity once a frame, boxes finite, in order: what a sequence of tracks asks for."""
    for seed in SEEDS:
        answers = tracked(scene(seed, classes=2))
        SequenceTracks(
            frames=np.repeat(np.arange(1, 51), [len(t) for t in answers]),
            ids=np.concatenate([t.ids for t in answers]),
            boxes_xyxy=np.concatenate([t.boxes_xyxy for t in answers]),
            scores=np.concatenate([t.scores for t in answers]),
            class_ids=np.concatenate([t.class_ids for t in answers]),
            detection_index=np.concatenate([t.detection_index for t in answers]),
        )
        for tracks in answers:
            assert np.all(np.diff(tracks.ids) > 0)
