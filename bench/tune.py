"""Tuning the tracker on the MOT17 validation half: trials a minute.

A trial tracks the detections of the seven sequences under other settings and scores the tracks by
MOT17's protocol; nothing is looked up.

    python bench/tune.py [--trials 32] [--workers N]

Truth and detections come from MOTRAIL_TEST_DATA.
"""

from __future__ import annotations

import argparse
import configparser
import os
import sys
import tempfile
import time
from pathlib import Path

from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.evaluate.protocol import Protocol
from motrail.formats.mot.detections import read_detections, write_detections
from motrail.tune.tracker import TuneOptions, tune_tracker
from motrail.types import SequenceDetections
from motrail.workers import cores

GOAL = 20.0


def lay_out(data: Path, folder: Path) -> tuple[Path, Path]:
    """Detections and truth of the validation half, frames counted from 1."""
    import_labels([data / "mot17" / "gt"], folder / "whole")
    split_dataset(folder / "whole", by="time", val=0.5, gap=0, output=folder / "halves")
    (folder / "detections").mkdir()
    (folder / "detections" / "labels.txt").write_text("pedestrian\n")
    for file in read_detections(data / "mot17" / "detections"):
        info = configparser.ConfigParser()
        info.read(data / "mot17" / "gt" / file.name / "seqinfo.ini")
        before = info.getint("Sequence", "seqLength") // 2 + 1
        kept = file.detections[file.detections.frames > before]
        half = SequenceDetections(kept.frames - before, kept.boxes_xyxy, kept.scores)
        write_detections(folder / "detections" / f"{file.name}.txt", half)
    return folder / "detections", folder / "halves" / "val"


def main() -> None:
    root = Path(os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--workers", type=int, default=cores())
    arguments = parser.parse_args()
    if not root.exists():
        sys.exit(f"SKIPPED: no labels at {root}; set MOTRAIL_TEST_DATA")
    with tempfile.TemporaryDirectory() as name:
        detections, truth = lay_out(root, Path(name))
        options = TuneOptions(trials=arguments.trials, folds=0, workers=arguments.workers)
        start = time.perf_counter()
        tuning = tune_tracker(
            detections, truth, Path(name) / "run", options=options, protocol=Protocol("mot17")
        )
        minutes = (time.perf_counter() - start) / 60
    print(f"{'workers':>7} {'trials':>7} {'minutes':>8} {'a minute':>9} {'goal':>5}")
    # Settings that came up twice were computed once, and count once.
    trials = tuning.computed / len(tuning.names)
    rate = trials / minutes
    print(f"{arguments.workers:7} {trials:7.0f} {minutes:8.2f} {rate:9.1f} {GOAL:5.0f}")
    print(f"HOTA {tuning.base.value:.3f} before, {tuning.best.value:.3f} after")


if __name__ == "__main__":
    main()
