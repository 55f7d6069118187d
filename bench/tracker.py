"""How long an update of our trackers takes, against the ByteTrack of roboflow's `trackers`.

A crowd walks about on a screen of 1920 × 1080: 5 % of the detections are missing and 15 % have
low scores in every frame. All trackers get the same detections, in turn, frame by frame, so that
a busy machine hurts all alike. The median of the frames counts.

    python bench/tracker.py [--objects 10 50 200 1000] [--frames 150]
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from motrail import ByteTracker, Detections, SteadyTracker

if TYPE_CHECKING:
    from collections.abc import Iterator

GOALS = {10: 1.5, 50: 4.0, 200: 8.0, 1000: 8.0}
STEADY_GOAL = 2.5
WARM_UP = 30


def crowd(objects: int, frames: int, seed: int = 0) -> Iterator[Detections]:
    """Detections of a crowd of boxes about 30 × 75 pixels that keep their course."""
    rng = np.random.default_rng(seed)
    screen = np.array([1920.0, 1080.0])
    centre = rng.uniform(0, screen, (objects, 2))
    velocity = rng.normal(0, 2, (objects, 2))
    height = rng.uniform(50, 100, objects)
    size = np.stack((height * rng.uniform(0.35, 0.45, objects), height), axis=1)
    for _ in range(frames):
        centre += velocity
        outside = (centre < 0) | (centre > screen)
        velocity[outside] *= -1
        noisy = centre + rng.normal(0, 1, centre.shape)
        boxes = np.concatenate((noisy - size / 2, noisy + size / 2), axis=1)
        scores = rng.uniform(0.75, 0.95, objects)
        low = rng.random(objects) < 0.15
        scores[low] = rng.uniform(0.15, 0.5, int(low.sum()))
        seen = rng.random(objects) >= 0.05
        yield Detections(boxes[seen], scores[seen])


def race(objects: int, frames: int) -> tuple[float, float, float]:
    """Median milliseconds of an update: ours, theirs, our steady tracker's."""
    import supervision as sv
    from trackers import ByteTrackTracker

    ours = ByteTracker()
    theirs = ByteTrackTracker(track_activation_threshold=0.7, high_conf_det_threshold=0.6)
    steady = SteadyTracker((1920, 1080))
    our_times, their_times, steady_times = [], [], []
    for detections in crowd(objects, frames):
        for_them = sv.Detections(
            xyxy=detections.boxes_xyxy.copy(),
            confidence=detections.scores.copy(),
            class_id=detections.class_ids.copy(),
        )
        start = time.perf_counter()
        ours.update(detections)
        middle = time.perf_counter()
        theirs.update(for_them)
        end = time.perf_counter()
        steady.update(detections)
        steady_times.append(time.perf_counter() - end)
        our_times.append(middle - start)
        their_times.append(end - middle)
    ours_ms, theirs_ms, steady_ms = (
        median(times[WARM_UP:]) * 1e3 for times in (our_times, their_times, steady_times)
    )
    return ours_ms, theirs_ms, steady_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--objects", type=int, nargs="+", default=list(GOALS))
    parser.add_argument("--frames", type=int, default=150)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{'objects':>8} {'byte ms':>9} {'trackers ms':>12} {'ratio':>7} {'goal':>6} "
        f"{'steady ms':>10} {'of byte':>8} {'goal':>6}"
    )
    costs = {}
    for objects in arguments.objects:
        our_ms, their_ms, steady_ms = race(objects, arguments.frames)
        costs[objects] = our_ms
        goal = GOALS.get(objects)
        print(
            f"{objects:8d} {our_ms:9.3f} {their_ms:12.3f} {their_ms / our_ms:7.2f} {goal or '':>6} "
            f"{steady_ms:10.3f} {steady_ms / our_ms:8.2f} {STEADY_GOAL:6.1f}",
            flush=True,
        )
    if {200, 1000} <= costs.keys():
        print(
            f"1000 objects cost {costs[1000] / costs[200]:.1f} times what 200 do (goal: at most 8)"
        )


if __name__ == "__main__":
    main()
