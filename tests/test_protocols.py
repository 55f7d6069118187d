"""What counts is what TrackEval counts: by its own reading of files, and class by class."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.evaluate.protocol import ALL_CLASSES, Protocol
from motrail.evaluate.run import Evaluation, Score, evaluate, score
from motrail.formats.labels import Labels
from test_metrics import RESULTS, random_sequence, spoiled, worst_difference
from trackeval_oracle import Oracle, sequence_data

with contextlib.redirect_stdout(io.StringIO()):  # it says what else could be installed
    import trackeval

if TYPE_CHECKING:
    from conftest import Prove
    from trackeval_oracle import Rows

MOT17 = Protocol("mot17")


@pytest.fixture(scope="module")
def truth(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validation half of MOT17, in the folders that TrackEval looks for."""
    folder = tmp_path_factory.mktemp("mot17")
    import_labels([data / "mot17" / "gt"], folder / "all")
    split_dataset(folder / "all", by="time", val=0.5, gap=0, output=folder / "halves")
    shutil.copytree(folder / "halves" / "val", folder / "truth" / "MOT17-val")
    return folder / "truth"


def by_trackeval(truth: Path, results: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Everything it says of each sequence and of all together."""
    names = sorted(path.stem for path in results.glob("*.txt"))
    shutil.copytree(results, folder / "MOT17-val" / "some" / "data")
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(truth),
            "TRACKERS_FOLDER": str(folder),
            "SEQ_INFO": dict.fromkeys(names),
            "SPLIT_TO_EVAL": "val",
            "BENCHMARK": "MOT17",
            "PRINT_CONFIG": False,
        }
    )
    oracle = Oracle()
    answers = {}
    for name in names:
        raw = dataset.get_raw_seq_data("some", name)
        answers[name] = oracle.evaluate(dataset.get_preprocessed_seq_data(raw, "pedestrian"))
    return answers | {"combined": oracle.combine(list(answers.values()))}


def scores(found: Score) -> tuple[Any, Any, Any]:
    return found.hota, found.clear, found.identity


def difference(truth: Path, results: Path) -> float:
    """The largest between TrackEval and us, in any value of any sequence."""
    ours = evaluate(results, truth / "MOT17-val", MOT17)
    with tempfile.TemporaryDirectory() as folder:
        theirs = by_trackeval(truth, results, Path(folder))
    assert ours.sequences.keys() | {"combined"} == theirs.keys()
    every = {**ours.sequences, "combined": ours.combined}
    return max(worst_difference(scores(every[name]), theirs[name]) for name in every)


def spoil(results: Path, truth: Path, folder: Path, seed: int) -> Path:
    """Results spoiled in a way of their own, as track files."""
    folder.mkdir()
    for number, path in enumerate(sorted(results.glob("*.txt"))):
        random = np.random.default_rng([seed, number])
        table = np.loadtxt(path, delimiter=",")
        info = (truth / "MOT17-val" / path.stem / "seqinfo.ini").read_text()
        length = int(info.split("seqLength=")[1].split()[0])
        found = table[:, 0].astype(int) - 1, table[:, 1].astype(int), table[:, 2:6]
        at, ids, boxes = spoiled(random, length, found)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)  # files have no boxes without area
        lines = [
            f"{frame + 1},{identity},{','.join(repr(v) for v in box)},1,-1,-1,-1\n"
            for frame, identity, box in zip(at.tolist(), ids.tolist(), boxes.tolist(), strict=True)
        ]
        (folder / path.name).write_text("".join(lines))
    return folder


def test_files_of_mot17(data: Path, truth: Path) -> None:
    """Distractors and what does not count are left out as TrackEval leaves them out."""
    assert difference(truth, data / "mot17" / "bytetrack_reference" / "default") < 1e-9


@pytest.mark.parametrize("kind", RESULTS)
def test_spoiled_files_of_mot17(data: Path, truth: Path, tmp_path: Path, kind: str) -> None:
    reference = data / "mot17" / "bytetrack_reference" / kind
    results = spoil(reference, truth, tmp_path / "spoiled", len(kind))
    assert difference(truth, results) < 1e-9


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", RESULTS)
def test_all_spoiled_files_of_mot17(
    data: Path, truth: Path, tmp_path: Path, kind: str, prove: Prove
) -> None:
    reference = data / "mot17" / "bytetrack_reference" / kind
    worst = 0.0
    for seed in range(20):
        results = spoil(reference, truth, tmp_path / str(seed), seed)
        worst = max(worst, difference(truth, results))
    assert worst < 1e-6
    prove(f"files of 7 sequences, {kind}, spoiled 20 ways, TrackEval", "1e-6", f"{worst:.1e}")


# --- class by class -------------------------------------------------------------------------------

CLASSES = ("car", "van", "bus", "bicycle")


def labels(found: Rows, class_ids: np.ndarray[Any, Any], frames: int) -> Labels:
    at, ids, boxes = found
    return Labels.of("clip", CLASSES, at + 1, ids, boxes, class_ids, length=frames)


def of_class(found: Rows, class_ids: np.ndarray[Any, Any], number: int) -> Rows:
    at, ids, boxes = found
    kept = class_ids == number
    return at[kept], ids[kept], boxes[kept]


def check_classes(seeds: range) -> float:
    """Sequences of four classes: results may give an object another class, now and then."""
    oracle, worst = Oracle(), 0.0
    parts: dict[str, dict[str, Score]] = {}
    theirs: dict[str, list[Any]] = defaultdict(list)
    for seed in seeds:
        random = np.random.default_rng(seed)
        frames, truth, results = random_sequence(random, int(random.integers(1, 30)), 12)
        true_classes = np.mod(truth[1], len(CLASSES))
        found_classes = np.mod(results[1], len(CLASSES))
        wrong = random.random(len(found_classes)) < random.choice([0, 0.1, 0.6])
        found_classes[wrong] = random.integers(0, len(CLASSES), int(wrong.sum()))
        sides = labels(truth, true_classes, frames), labels(results, found_classes, frames)
        ours = score(*sides, Protocol())
        parts[str(seed)] = ours
        for number, name in enumerate(CLASSES):
            one = of_class(truth, true_classes, number), of_class(results, found_classes, number)
            assert (name in ours) == bool(len(one[0][0]) + len(one[1][0])), seed
            if name in ours:
                theirs[name].append(oracle.evaluate(sequence_data(frames, *one)))
                worst = max(worst, worst_difference(scores(ours[name]), theirs[name][-1]))
        mixed = score(*sides, Protocol(class_aware=False))[ALL_CLASSES]
        expected = oracle.evaluate(sequence_data(frames, truth, results))
        worst = max(worst, worst_difference(scores(mixed), expected))
    together = Evaluation(Protocol(), parts)
    for name in CLASSES:
        expected = oracle.combine(theirs[name])
        worst = max(worst, worst_difference(scores(together.classes[name]), expected))
    everything = oracle.combine([answer for answers in theirs.values() for answer in answers])
    return max(worst, worst_difference(scores(together.combined), everything))


def test_classes_equal_trackeval() -> None:
    assert check_classes(range(60)) < 1e-9


@pytest.mark.proof
def test_many_classes_equal_trackeval(prove: Prove) -> None:
    worst = check_classes(range(60, 2_060))
    assert worst < 1e-6
    prove("2,000 sequences of 4 classes, class by class, TrackEval", "1e-6", f"{worst:.1e}")
