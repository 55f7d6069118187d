"""What help by the machine saves a labeller: a table against the truth.

Synthetic football with a keyframe in every 20 frames: how good the boxes in between are by
straight lines and by propagation, and how many hand actions a labeller who knows the truth needs
until the mean IoU is 0.85. The same on the frames of `mot17_mini`, also from a model's proposals,
and straight lines alone on the boxes of `mot17/gt`. Then the pace of propagation at 1080p.

    python bench/propagation.py [--seeds 2 5 7] [--size 1280 720] [--difficulty normal]
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from motrail.dataset.scenes import SceneSettings, TruthCollector, make_scene
from motrail.formats.mot.reader import read_mot
from motrail.label.between import between
from motrail.label.prelabel import prelabel
from motrail.label.propagate import propagate
from motrail.label.scripted import Labeller, Truth, keyframes, score, truth_of
from motrail.types import Frame
from motrail.video.read import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from motrail.label.scripted import Fill

EVERY, ENOUGH = 20, 0.85
STEPS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100)
DATA = Path(os.environ.get("MOTRAIL_TEST_DATA", "../shared/data"))


def read(images: Mapping[int, np.ndarray], first: int, last: int) -> Iterator[Frame]:
    """Frames that lie ready, in either direction."""
    step = 1 if last >= first else -1
    for number in range(first, last + step, step):
        yield Frame(number, images[number], 0.0)


def fewest(truth: Mapping[int, Truth], fill: Fill | None) -> tuple[int, int]:
    """Hand actions until the labels are good, by the best distance of keyframes; and that."""
    counts = []
    for every in STEPS:
        if fill is not None and every not in (20, 40):
            continue
        labeller = Labeller(truth, fill)
        labeller.draw(every)
        labeller.mend(ENOUGH)
        counts.append((labeller.actions.total, every))
    return min(counts)


def football(arguments: argparse.Namespace) -> None:
    width, height = arguments.size
    print(
        f"football, 15 objects, {arguments.frames} frames, {width}x{height}, "
        f"{arguments.difficulty}, a keyframe in every {EVERY}"
    )
    print(
        f"{'seed':>6} {'lines':>7} {'filled':>7} {'switched':>9} {'lines':>7} {'filled':>7}"
        "   mean IoU between keyframes; boxes on another; actions"
    )
    for seed in arguments.seeds:
        scene = make_scene(
            SceneSettings(
                scene="football",
                seed=seed,
                width=width,
                height=height,
                objects=15,
                frames=arguments.frames,
                difficulty=arguments.difficulty,
            )
        )
        collector, images = TruthCollector(scene, "football"), {}
        for frame in scene.frames():
            collector.add(frame)
            images[frame.number] = frame.image
        row(str(seed), truth_of(collector.labels()), images)


def row(name: str, truth: Mapping[int, Truth], images: Mapping[int, np.ndarray]) -> None:
    fill = partial(between, partial(read, images))
    given = keyframes(truth, EVERY)
    lines = score(truth, given)
    labeller = Labeller(truth, fill)
    labeller.draw(EVERY)
    filled = score(truth, labeller.points)
    print(
        f"{name:>6} {lines.between_iou:7.3f} {filled.between_iou:7.3f} {filled.switches:9d} "
        f"{fewest(truth, None)[0]:7d} {fewest(truth, fill)[0]:7d}",
        flush=True,
    )


def mot17_lines() -> None:
    print("\nMOT17 train, boxes of people, straight lines between keyframes: mean IoU between them")
    for labels in read_mot(DATA / "mot17" / "gt"):
        truth = truth_of(labels[labels.class_ids == 0])
        found = [score(truth, keyframes(truth, every)) for every in (10, 20, 50)]
        print(f"{labels.name:>20} " + " ".join(f"{one.between_iou:7.3f}" for one in found))


def mot17_mini() -> None:
    print(f"\nMOT17 frames, only the first and last of each sequence by hand; actions to {ENOUGH}")
    print(f"{'':>20} {'lines':>7} {'filled':>7} {'by hand':>8} {'filled':>7} {'proposed':>8}")
    for labels in read_mot(DATA / "mot17_mini"):
        folder = DATA / "mot17_mini" / labels.name / "img1"
        with open_source(folder) as source:
            images = {frame.number: frame.image for frame in source}
        truth = truth_of(labels[(labels.class_ids == 0) & (labels.frames <= len(images))])
        fill = partial(between, partial(read, images))
        both = [Labeller(truth), Labeller(truth, fill)]
        for labeller in both:
            labeller.draw(1000)
        proposed = Labeller(truth)
        result = prelabel(open_source(folder), DATA / "models" / "bytetrack_nano.onnx", classes=())
        proposed.accept(result.objects)
        scores = [score(truth, labeller.points).between_iou for labeller in both]
        for labeller in (*both, proposed):
            labeller.mend(ENOUGH)
        print(
            f"{labels.name:>20} {scores[0]:7.3f} {scores[1]:7.3f} "
            f"{both[0].actions.total:8d} {both[1].actions.total:7d} "
            f"{proposed.actions.total:8d}",
            flush=True,
        )


def pace(frames: int = 60) -> None:
    scene = make_scene(SceneSettings(width=1920, height=1080, objects=15, frames=frames, seed=7))
    shown = list(scene.frames())
    boxes = {
        int(n): tuple(box)
        for n, box in zip(shown[0].ids, shown[0].boxes_xywh.tolist(), strict=True)
    }
    start, done = time.process_time(), 0
    for _ in islice(propagate((Frame(f.number, f.image, 0.0) for f in shown), boxes), frames):
        done += 1
    spent = time.process_time() - start
    print(
        f"\npropagation of {len(boxes)} boxes at 1920x1080 on one core: "
        f"{done / spent:.1f} frames a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 5, 7])
    parser.add_argument("--size", type=int, nargs=2, default=[1280, 720])
    parser.add_argument("--difficulty", default="normal")
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    os.environ.setdefault("MOTRAIL_DETECTOR_PRESET", "bytetrack")
    pace()
    if DATA.is_dir():
        mot17_lines()
        mot17_mini()
    football(arguments)


if __name__ == "__main__":
    main()
