"""Scoring the MOT17 validation half: HOTA, CLEAR and Identity, against TrackEval.

Both read the same truth and the same results from files and score the seven sequences by MOT17's
protocol. They take turns; the best of the rounds counts.

    python bench/evaluate.py [--rounds 3]

Truth and results come from MOTRAIL_TEST_DATA.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import evaluate

with contextlib.redirect_stdout(io.StringIO()):  # it says what else could be installed
    import trackeval

GOAL = 10.0


def lay_out(data: Path, folder: Path) -> None:
    """Truth and results in the folders that TrackEval looks for."""
    import_labels([data / "mot17" / "gt"], folder / "whole")
    split_dataset(folder / "whole", by="time", val=0.5, gap=0, output=folder / "halves")
    shutil.copytree(folder / "halves" / "val", folder / "truth" / "MOT17-val")
    results = data / "mot17" / "bytetrack_reference" / "default"
    shutil.copytree(results, folder / "results" / "MOT17-val" / "bytetrack" / "data")
    (folder / "maps").mkdir()
    names = sorted(path.stem for path in results.glob("*.txt"))
    (folder / "maps" / "MOT17-val.txt").write_text("name\n" + "".join(f"{n}\n" for n in names))


def theirs(folder: Path) -> float:
    """HOTA by TrackEval."""
    return by_trackeval(folder)["HOTA"]


def by_trackeval(folder: Path, tracker: str = "bytetrack") -> dict[str, float]:
    """HOTA, IDF1 and MOTA of the results of a tracker, by TrackEval, in per cent."""
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(folder / "truth"),
            "TRACKERS_FOLDER": str(folder / "results"),
            "SEQMAP_FILE": str(folder / "maps" / "MOT17-val.txt"),
            "SPLIT_TO_EVAL": "val",
            "TRACKERS_TO_EVAL": [tracker],
            "BENCHMARK": "MOT17",
            "PRINT_CONFIG": False,
        }
    )
    evaluator = trackeval.Evaluator(
        {
            "PRINT_RESULTS": False,
            "PRINT_CONFIG": False,
            "TIME_PROGRESS": False,
            "DISPLAY_LESS_PROGRESS": True,
            "OUTPUT_SUMMARY": False,
            "OUTPUT_EMPTY_CLASSES": False,
            "OUTPUT_DETAILED": False,
            "PLOT_CURVES": False,
        }
    )
    quiet = {"PRINT_CONFIG": False}
    kinds = (trackeval.metrics.HOTA, trackeval.metrics.CLEAR, trackeval.metrics.Identity)
    metrics = [kind(quiet) if kind is not trackeval.metrics.HOTA else kind() for kind in kinds]
    with contextlib.redirect_stdout(io.StringIO()):
        answer, _ = evaluator.evaluate([dataset], metrics)
    combined = answer["MotChallenge2DBox"][tracker]["COMBINED_SEQ"]["pedestrian"]
    return {
        "HOTA": 100 * float(combined["HOTA"]["HOTA"].mean()),
        "IDF1": 100 * float(combined["Identity"]["IDF1"]),
        "MOTA": 100 * float(combined["CLEAR"]["MOTA"]),
    }


def ours(folder: Path) -> float:
    """HOTA by ours."""
    results = folder / "results" / "MOT17-val" / "bytetrack" / "data"
    answer = evaluate(results, folder / "truth" / "MOT17-val", Protocol("mot17"))
    return answer.combined.as_dict()["HOTA"]


def main() -> None:
    root = Path(os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not root.exists():
        sys.exit(f"SKIPPED: no labels at {root}; set MOTRAIL_TEST_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(root, folder)
        times: dict[str, list[float]] = {"motrail": [], "TrackEval": []}
        figures = {}
        for _ in range(arguments.rounds):
            for who, way in (("motrail", ours), ("TrackEval", theirs)):
                start = time.perf_counter()
                figures[who] = way(folder)
                times[who].append(time.perf_counter() - start)
    best = {who: min(seconds) for who, seconds in times.items()}
    print(f"{'motrail s':>10} {'TrackEval s':>12} {'ratio':>7} {'goal':>6}")
    ratio = best["TrackEval"] / best["motrail"]
    print(f"{best['motrail']:10.2f} {best['TrackEval']:12.2f} {ratio:7.1f} {GOAL:6.0f}")
    print(f"HOTA {figures['motrail']:.6f} and {figures['TrackEval']:.6f}")


if __name__ == "__main__":
    main()
