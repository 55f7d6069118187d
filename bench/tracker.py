"""How long an update of the tracker takes, against the ByteTrack of roboflow's `trackers`.

A crowd walks about on a screen of 1920 × 1080: 5 % of the detections are missing and 15 % have
low scores in every frame. Both trackers get the same detections, in turn, frame by frame, so that
a busy machine hurts both alike. The median of the frames counts.

    python bench/tracker.py [--objects 10 50 200 1000] [--frames 150]
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from motrail import ByteTracker, Detections

if TYPE_CHECKING:
    from collections.abc import Iterator

GOALS = {10: 1.5, 50: 4.0, 200: 8.0, 1000: 8.0}
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


def race(objects: int, frames: int) -> tuple[float, float]:
    """Median milliseconds of an update: ours, theirs."""
    import supervision as sv
    from trackers import ByteTrackTracker

    ours = ByteTracker()
    theirs = ByteTrackTracker(track_activation_threshold=0.7, high_conf_det_threshold=0.6)
    our_times, their_times = [], []
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
        our_times.append(middle - start)
        their_times.append(end - middle)
    return median(our_times[WARM_UP:]) * 1e3, median(their_times[WARM_UP:]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--objects", type=int, nargs="+", default=list(GOALS))
    parser.add_argument("--frames", type=int, default=150)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'objects':>8} {'motrail ms':>11} {'trackers ms':>12} {'ratio':>7} {'goal':>6}")
    costs = {}
    for objects in arguments.objects:
        our_ms, their_ms = race(objects, arguments.frames)
        costs[objects] = our_ms
        goal = GOALS.get(objects)
        print(
            f"{objects:8d} {our_ms:11.3f} {their_ms:12.3f} {their_ms / our_ms:7.2f} "
            f"{goal or '':>6}",
            flush=True,
        )
    if {200, 1000} <= costs.keys():
        print(
            f"1000 objects cost {costs[1000] / costs[200]:.1f} times what 200 do (goal: at most 8)"
        )


if __name__ == "__main__":
    main()
