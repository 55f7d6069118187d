"""`motrail tune detector`: settings of training that give the best detector."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch

from commands import Call, caller
from motrail.config import Choice, Range, TrainSettings, resolve, search_ranges, toml_layer
from motrail.config.ranges import NOT_SEARCHED, SEARCHED, read_ranges
from motrail.errors import ConfigError, FormatError, MotrailError, OutputError
from motrail.train.run import Job
from motrail.tune.detector import run as search_module
from motrail.tune.detector import unseen as unseen_module
from motrail.tune.detector.results import explain, settings_toml, write_results
from motrail.tune.detector.run import tune_detector
from motrail.tune.detector.space import Space, usual_ranges
from motrail.tune.detector.study import Study, Trial
from motrail.tune.detector.trial import Ended, run_trial
from motrail.tune.detector.tuning import DetectorTuning, SearchOptions
from motrail.tune.detector.unseen import Unseen, on_unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    Fake = Callable[[Callable[[Job, int], Ended]], None]

SIDE, FRAMES = 64, 8
SETTINGS = TrainSettings(
    epochs=2, batch=4, input_width=64, plain_epochs=1, warmup_steps=2, log_every=1, workers=0,
    cache_gb=0.01,
)  # fmt: skip
FLAGS = (
    *("--model", "yolox-nano", "--batch", "4", "--input-width", "64"),
    *("--plain-epochs", "1", "--warmup-steps", "2", "--log-every", "1", "--workers", "0"),
    *("--cache-gb", "0.01"),
)
RANGES: dict[str, Range | Choice] = {
    "mosaic": Range(0.0, 1.0, step=0.25),
    "learning_rate": Range(0.001, 0.1, log=True),
}
SECTION = """
[search]
learning_rate = { low = 0.001, high = 0.1, log = true }
mosaic = { low = 0, high = 1, step = 0.25 }
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes that are killed, so that figures can be compared bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright squares on a dark ground: two sequences to learn from, one of each other split."""
    folder = tmp_path_factory.mktemp("squares")
    (folder / "labels.txt").write_text("square\n")
    for number, place in enumerate(("train/a", "train/b", "val/c", "test/d")):
        write_sequence(folder / place, number)
    return folder


def write_sequence(folder: Path, seed: int) -> None:
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    rows = []
    for frame in range(1, FRAMES + 1):
        image = np.full((SIDE, SIDE, 3), 40, np.uint8)
        left, top = 4 + 4 * frame, 6 + 8 * seed
        cv2.rectangle(image, (left, top), (left + 19, top + 19), (200, 220, 240), -1)
        assert cv2.imwrite(str(folder / "img1" / f"{frame:06}.png"), image)
        rows.append(f"{frame},1,{left},{top},20,20,1,1,1\n")
    (folder / "gt" / "gt.txt").write_text("".join(rows))
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=10\nseqLength={FRAMES}\n"
        f"imWidth={SIDE}\nimHeight={SIDE}\nimExt=.png\n"
    )


def job_of(dataset: Path, folder: Path, **settings: Any) -> Job:
    return Job(dataset, "yolox-nano", folder, replace(SETTINGS, **settings))


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> DetectorTuning:
    """A search of three trials that nobody interrupted."""
    folder = tmp_path_factory.mktemp("search")
    tuning = tune_detector(job_of(dataset, folder), SearchOptions(trials=3), RANGES)
    write_results(tuning)
    return tuning


def losses(folder: Path) -> dict[str, list[tuple[str, float]]]:
    """What each trial's metrics say, but for how fast it was."""
    found = {}
    for path in sorted(folder.glob("trials/*/metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name] = [
            (key, value)
            for row in rows
            for key, value in sorted(row.items())
            if key != "images_per_second"
        ]
    return found


class TestSearch:
    def test_each_trial_is_a_training_run(self, whole: DetectorTuning) -> None:
        assert [trial.number for trial in whole.trials] == [0, 1, 2]
        assert {trial.state for trial in whole.trials} == {"finished"}
        assert all(set(trial.curve) == {1, 2} for trial in whole.trials)
        for trial in whole.trials:
            assert trial.value == max(trial.curve.values())
            assert trial.figures["AP"] == trial.value
            run = whole.job.folder / "trials" / f"{trial.number:03}"
            settings = resolve([toml_layer(run / "config.toml")]).settings.train
            assert {key: getattr(settings, key) for key in RANGES} == trial.point

    def test_the_first_trial_has_the_settings_as_they_are(self, whole: DetectorTuning) -> None:
        # 0.02 at a batch of 8, and with the root of the batch's size.
        assert whole.base.point == {"mosaic": 1.0, "learning_rate": 0.02 * 0.5**0.5}
        assert whole.changes(whole.base) == {}

    def test_others_stay_within_the_ranges(self, whole: DetectorTuning) -> None:
        points = [trial.point for trial in whole.trials[1:]]
        assert points[0] != points[1]
        for point in points:
            assert point["mosaic"] in (0, 0.25, 0.5, 0.75, 1)
            assert 0.001 <= point["learning_rate"] <= 0.1

    def test_the_model_can_be_loaded(self, whole: DetectorTuning) -> None:
        from motrail.detect.detector import load_detector

        detector = load_detector(whole.job.folder / "model.tar.gz")
        assert detector.class_names == ("square",)

    def test_only_the_best_keeps_its_network(self, whole: DetectorTuning) -> None:
        assert whole.best is not None
        for trial in whole.trials:
            run = whole.job.folder / "trials" / f"{trial.number:03}"
            names = {path.name for path in run.iterdir()} - {"tensorboard"}
            if trial == whole.best:
                assert {"model.tar.gz", "checkpoints"} <= names
            else:
                kept = {"checkpoints"} if trial.number == 0 else set()
                assert names == {"log.txt", "metrics.jsonl", "config.toml"} | kept
                assert not (run / "checkpoints" / "last.pt").exists()

    def test_a_second_call_has_nothing_to_do(self, whole: DetectorTuning) -> None:
        again = tune_detector(whole.job, SearchOptions(trials=3), RANGES)
        assert again.trials == whole.trials
        assert again.unseen == whole.unseen

    def test_the_split_test_is_looked_at(self, whole: DetectorTuning) -> None:
        assert whole.unseen is not None
        assert whole.unseen.sequences == 1
        assert {"AP", "AP50", "HOTA"} <= set(whole.unseen.base)


class TestWritten:
    def test_record(self, whole: DetectorTuning) -> None:
        record = json.loads((whole.job.folder / "tune.json").read_text())
        assert [trial["number"] for trial in record["trials"]] == [0, 1, 2]
        assert record["ranges"] == {
            "mosaic": {"low": 0, "high": 1, "step": 0.25},
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        }
        assert record["goal"] == "AP"
        assert record["unseen"]["sequences"] == 1

    def test_page(self, whole: DetectorTuning) -> None:
        text = (whole.job.folder / "tune.html").read_text()
        assert text.count("<svg") == 4  # history, curves, and one for each setting
        assert "learning_rate" in text
        assert "Too few trials to say how much each setting" in text
        assert 'src="http' not in text


class TestInterrupted:
    def test_killed(self, dataset: Path, whole: DetectorTuning, tmp_path: Path) -> None:
        """Killed in the midst of a trial, and gone on with, it ends as if nothing had happened."""
        (tmp_path / "ranges.toml").write_text(SECTION)
        output = tmp_path / "out"
        process = start(dataset, output, 2, "--config", str(tmp_path / "ranges.toml"))
        wait_for(output / "trials" / "001" / "metrics.jsonl", '"update": 2,')
        process.kill()
        process.communicate(timeout=60)
        assert not (output / "model.tar.gz").exists()
        again = tune_detector(job_of(dataset, output), SearchOptions(trials=3), RANGES)
        assert again.trials == whole.trials
        assert losses(output) == losses(whole.job.folder)

    @pytest.mark.proof
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("seed", [1, 2])
    def test_killed_again_and_again(
        self, dataset: Path, whole: DetectorTuning, tmp_path: Path, seed: int
    ) -> None:
        """At any moment, be it while the record, a checkpoint or the model is written."""
        (tmp_path / "ranges.toml").write_text(SECTION)
        output, draw = tmp_path / "out", np.random.default_rng(seed)
        kills = 0
        while True:
            process = start(dataset, output, 2, "--config", str(tmp_path / "ranges.toml"))
            try:
                seconds = float(draw.uniform(4, 20)) if kills < 6 else 200
                _out, err = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate(timeout=60)
                kills += 1
                continue
            assert process.returncode == 0, err
            break
        assert kills
        again = tune_detector(job_of(dataset, output), SearchOptions(trials=3), RANGES)
        assert again.trials == whole.trials
        assert losses(output) == losses(whole.job.folder)

    @pytest.mark.parametrize(
        ("number", "code"),
        [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 3, marks=pytest.mark.proof)],
    )
    def test_told_to_leave(
        self, dataset: Path, tmp_path: Path, number: signal.Signals, code: int
    ) -> None:
        output = tmp_path / "out"
        process = start(dataset, output, 50)
        wait_for(output / "trials" / "000" / "metrics.jsonl", '"update": 1,')
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "stopped and saved; the same command goes on from here" in err
        assert "running" in out
        assert (output / "trials" / "000" / "checkpoints" / "last.pt").is_file()


def start(dataset: Path, output: Path, epochs: int, *more: str) -> subprocess.Popen[str]:
    words = ["tune", "detector", str(dataset), "-o", str(output), "--trials", "3", *FLAGS]
    words += ["--epochs", str(epochs)]
    return subprocess.Popen(
        [sys.executable, "-m", "motrail", *words, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)
    pytest.fail(f"no {text} in {path} in time")


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts something quick in the place of training."""

    def fake(train: Callable[[Job, int], Ended]) -> None:
        def run(job: Job, _goal: str, watch: Any, _say: object) -> Ended:
            job.folder.mkdir(parents=True, exist_ok=True)
            (job.folder / "log.txt").touch()
            ended = train(job, int(job.folder.name))
            if ended.state != "finished":
                return ended
            looked = [watch.looked(dict.fromkeys(range(1, epoch + 1), ended.value))
                      for epoch in range(1, job.settings.epochs)]  # fmt: skip
            return replace(ended, state="pruned") if any(looked) else ended

        monkeypatch.setattr(search_module, "run_trial", run)
        monkeypatch.setattr(search_module, "_write_model", lambda *_: None)
        monkeypatch.setattr(search_module, "on_unseen", lambda *_: None)

    return fake


def lower_is_better(job: Job, _number: int) -> Ended:
    """A detector that is the better the lower the learning rate is."""
    rate = job.settings.learning_rate or 0.02 * 0.5**0.5
    return Ended("finished", 50 - 10 * float(np.log10(rate)), 1)


class TestTrials:
    def test_the_best_is_the_highest(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        faked(lower_is_better)
        found = tune_detector(job_of(dataset, tmp_path), SearchOptions(14, False), RANGES)
        assert found.best is not None
        rates = [trial.point["learning_rate"] for trial in found.trials]
        assert found.best.point["learning_rate"] == min(rates)
        assert found.gain == pytest.approx(10 * np.log10(rates[0] / min(rates)))
        assert set(found.importances) == set(RANGES)
        assert found.importances["learning_rate"] > found.importances["mosaic"]
        assert sum(found.importances.values()) == pytest.approx(1)

    def test_a_bad_trial_is_pruned(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        """After four that were finished, one below their median is."""
        values = [10.0, 20.0, 30.0, 40.0, 24.0, 26.0]
        faked(lambda _job, number: Ended("finished", values[number], 1))
        found = tune_detector(job_of(dataset, tmp_path), SearchOptions(6), RANGES)
        assert [trial.state for trial in found.trials] == [*["finished"] * 4, "pruned", "finished"]
        assert found.trials[4].curve == {1: 24.0}
        assert [trial.number for trial in found.ranked()] == [3, 2, 5, 1, 0, 4]
        assert not (tmp_path / "trials" / "004" / "checkpoints").exists()

    def test_without_pruning(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        values = [10.0, 20.0, 30.0, 40.0, 24.0]
        faked(lambda _job, number: Ended("finished", values[number], 1))
        found = tune_detector(job_of(dataset, tmp_path), SearchOptions(5, pruning=False), RANGES)
        assert {trial.state for trial in found.trials} == {"finished"}

    def test_not_before_a_third_of_the_epochs(
        self, dataset: Path, tmp_path: Path, faked: Fake
    ) -> None:
        values = [10.0, 20.0, 30.0, 40.0, 5.0]
        faked(lambda _job, number: Ended("finished", values[number], 1))
        found = tune_detector(job_of(dataset, tmp_path, epochs=7), SearchOptions(5), RANGES)
        assert found.trials[4].state == "pruned"
        seven = tmp_path / "study.sqlite"
        space = found.space
        with Study(seven, space, identity(seven), seed=1, epochs=7) as study:
            started = study.begin()
            assert started is not None
            assert not study.report(started.number, {1: 1.0, 2: 1.0})
            assert study.report(started.number, {1: 1.0, 2: 1.0, 3: 1.0})

    def test_one_that_fails_is_passed_over(
        self, dataset: Path, tmp_path: Path, faked: Fake
    ) -> None:
        def train(job: Job, number: int) -> Ended:
            return (
                Ended("failed", reason="too hot") if number == 2 else lower_is_better(job, number)
            )

        faked(train)
        found = tune_detector(job_of(dataset, tmp_path), SearchOptions(4, False), RANGES)
        assert [trial.state for trial in found.trials].count("failed") == 1
        assert (found.trials[2].state, found.trials[2].reason) == ("failed", "too hot")

    def test_the_first_one_must_not_fail(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        faked(lambda *_: Ended("failed", reason="too hot"))
        for _ in range(2):  # the second time it is known
            with pytest.raises(MotrailError, match="trial 0, with the settings as they are, fail"):
                tune_detector(job_of(dataset, tmp_path), SearchOptions(5), RANGES)

    def test_nor_all_those_after_it(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        def train(job: Job, number: int) -> Ended:
            return Ended("failed", reason="too hot") if number else lower_is_better(job, number)

        faked(train)
        with pytest.raises(MotrailError, match="the first 3 trials all failed, the last one: too "):
            tune_detector(job_of(dataset, tmp_path), SearchOptions(9), RANGES)

    def test_more_trials_later(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        """Three, then nine more, are the same as twelve; so the estimators see the same, too."""
        faked(lower_is_better)
        options = SearchOptions(12, pruning=False)
        whole = tune_detector(job_of(dataset, tmp_path / "a"), options, RANGES)
        for count in (3, 12):
            found = tune_detector(
                job_of(dataset, tmp_path / "b"), replace(options, trials=count), RANGES
            )
            assert len(found.trials) == count
        assert found.trials == whole.trials

    def test_another_seed_tries_others(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        faked(lower_is_better)
        points = [
            [
                trial.point
                for trial in tune_detector(
                    job_of(dataset, tmp_path / str(seed), seed=seed), SearchOptions(4), RANGES
                ).trials
            ]
            for seed in (1, 2)
        ]
        assert points[0][0] == points[1][0]
        assert points[0][1:] != points[1][1:]

    def test_when_all_was_tried(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        faked(lower_is_better)
        ranges: dict[str, Range | Choice] = {"batch": Choice((2, 4, 8))}
        found = tune_detector(job_of(dataset, tmp_path), SearchOptions(9), ranges)
        assert sorted(trial.point["batch"] for trial in found.trials) == [2, 4, 8]
        assert found.notes == (
            "nothing new was found in the ranges after 3 trials, so there are no more",
        )

    def test_a_split_test_that_cannot_be_read(
        self, dataset: Path, tmp_path: Path, faked: Fake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is said, and the search is not lost."""

        def unseen(*_: object) -> None:
            raise FormatError("data/test/d", "expected pictures in img1, found none")

        faked(lower_is_better)
        monkeypatch.setattr(search_module, "on_unseen", unseen)
        found = tune_detector(job_of(dataset, tmp_path), SearchOptions(1), RANGES)
        assert found.unseen is None
        (note,) = found.notes
        assert note.startswith("the gain was not checked on the split test: data/test/d: expected")

    def test_told_to_leave(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        faked(lower_is_better)
        answers = iter([False, True])
        found = tune_detector(
            job_of(dataset, tmp_path), SearchOptions(9), RANGES, stop=lambda: next(answers)
        )
        assert found.stopped
        assert len(found.trials) == 1

    @pytest.mark.parametrize(
        ("batch", "reason"),
        [
            (1, "the loss is not finite in epoch 1, step "),
            (8, "the network answered with NaN or infinite numbers; a lower --learning-rate is"),
        ],
    )
    def test_weights_beyond_all_numbers(
        self, dataset: Path, tmp_path: Path, batch: int, reason: str
    ) -> None:
        """Sixteen steps show it in the loss; after two, validation is the first to see it."""

        class Nobody:
            def leaving(self) -> bool:
                return False

            def learnt(self, share: float) -> None:
                assert 0 < share <= 1

            def looked(self, curve: Mapping[int, float]) -> bool:
                return False

        job = job_of(dataset, tmp_path, learning_rate=100.0, warmup_steps=0, batch=batch)
        ended = run_trial(job, "ap", Nobody(), lambda _line: None)
        assert ended.state == "failed"
        assert reason in ended.reason


def identity(study: Path) -> dict[str, Any]:
    """What a study was begun with."""
    import sqlite3

    connection = sqlite3.connect(study)
    (text,) = connection.execute(
        "SELECT value_json FROM study_user_attributes WHERE key = 'identity'"
    ).fetchone()
    connection.close()
    known: dict[str, Any] = json.loads(text)
    return known


class TestRefused:
    @pytest.fixture(autouse=True)
    def _begun(self, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        faked(lower_is_better)
        tune_detector(job_of(dataset, tmp_path / "out"), SearchOptions(1), RANGES)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model": "yolox-tiny"}, "expected model yolox-tiny, found yolox-nano"),
            ({"settings": {"best_by": "hota"}}, "expected goal hota, found ap;"),
            ({"settings": {"epochs": 3}}, r"expected \[train\] epochs 3, found 2;"),
            ({"settings": {"seed": 3}}, r"expected \[train\] seed 3, found 1;"),
            ({"settings": {"min_share": 0.9}}, r"expected \[train\] min_share 0.9, found 0.2"),
            ({"names": {"square": "thing"}}, "expected classes thing, found square;"),
        ],
    )
    def test_another_search(
        self, dataset: Path, tmp_path: Path, changes: dict[str, Any], message: str
    ) -> None:
        settings = changes.pop("settings", {})
        job = replace(job_of(dataset, tmp_path / "out", **settings), **changes)
        with pytest.raises(ConfigError, match="holds the search of something else: " + message):
            tune_detector(job, SearchOptions(2), RANGES)

    def test_other_ranges(self, dataset: Path, tmp_path: Path) -> None:
        job = job_of(dataset, tmp_path / "out")
        ranges = {**RANGES, "mosaic": Range(0.0, 0.5)}
        with pytest.raises(
            ConfigError, match=r"\[search\] mosaic {'low': 0.0, 'high': 0.5}, found"
        ):
            tune_detector(job, SearchOptions(2), ranges)
        ranges = {**RANGES, "flip": Range(0.0, 0.5)}
        with pytest.raises(ConfigError, match=r"\[search\] flip .*, found unset;"):
            tune_detector(job, SearchOptions(2), ranges)

    def test_another_dataset(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("square\n")
        for seed, place in enumerate(("train/a", "val/c")):
            write_sequence(tmp_path / place, seed)
        with pytest.raises(ConfigError, match="expected labels of the split train [0-9a-f]{16}, f"):
            tune_detector(job_of(tmp_path, tmp_path / "out"), SearchOptions(2), RANGES)

    def test_the_machine_may_be_another(self, dataset: Path, tmp_path: Path) -> None:
        job = job_of(dataset, tmp_path / "out", workers=1, cache_gb=0.02, log_every=5)
        assert len(tune_detector(job, SearchOptions(2), RANGES).trials) == 2

    def test_no_study(self, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "out" / "study.sqlite").write_bytes(b"nonsense" * 200)
        with pytest.raises(OutputError, match="cannot be used to keep a search in: .*another fold"):
            tune_detector(job_of(dataset, tmp_path / "out"), SearchOptions(2), RANGES)

    def test_a_folder_that_is_in_use(self, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "model.tar.gz").touch()
        with pytest.raises(ConfigError, match="run: holds something that is no search; choose an"):
            tune_detector(job_of(dataset, tmp_path / "run"), SearchOptions(2), RANGES)

    def test_two_at_a_time(self, dataset: Path, tmp_path: Path) -> None:
        from motrail.tune.detector.lock import locked

        with (
            locked(tmp_path / "out" / "study.sqlite"),
            pytest.raises(OutputError, match="another process searches in this folder; wait"),
        ):
            tune_detector(job_of(dataset, tmp_path / "out"), SearchOptions(2), RANGES)

    def test_no_split_to_compare_on(self, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("square\n")
        write_sequence(tmp_path / "train" / "a", 0)
        with pytest.raises(ConfigError, match="expected a split val to compare trials on, found t"):
            tune_detector(job_of(tmp_path, tmp_path / "out"), SearchOptions(2), RANGES)

    def test_several_processes(
        self, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ConfigError, match="expected to be started without torchrun"):
            tune_detector(job_of(dataset, tmp_path / "out"), SearchOptions(2), RANGES)

    def test_options(self) -> None:
        with pytest.raises(ConfigError, match="trials: expected 1 to 100000, found 0"):
            SearchOptions(trials=0)


class TestCommand:
    @pytest.fixture
    def call(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Call:
        monkeypatch.chdir(tmp_path)
        return caller(capsys, "tune", "detector")

    def test_table(self, call: Call, dataset: Path, tmp_path: Path, faked: Fake) -> None:
        faked(lambda _job, number: Ended("finished", 40.0 + number, 2))
        (tmp_path / "my.toml").write_text(SECTION)
        result = call(dataset, *FLAGS, "--epochs", 2, "--trials", 2, "-c", "my.toml")
        assert result.code == 0, result.err
        lines = result.out.splitlines()
        assert lines[0].split() == ["trial", "AP", "epoch", "state", "mosaic", "learning_rate"]
        assert lines[1].split()[:4] == ["1", "41.00", "2", "finished"]
        assert lines[2].split() == ["0", "40.00", "2", "finished", "1", "0.0141421"]
        assert "AP on the split val goes from 40.00 to 41.00 (+1.00)." in result.out
        assert "That is flattering: the best of 2 trials was chosen by these" in result.out
        assert "trial 1: AP 41.00 in epoch 2 (mosaic " in result.err
        assert (tmp_path / "runs" / "tune-detector" / "settings.toml").is_file()

    def test_json(self, call: Call, dataset: Path, faked: Fake) -> None:
        faked(lambda _job, number: Ended("finished", 40.0 + number, 2))
        result = call(dataset, *FLAGS, "--trials", 2, "--goal", "hota", "--json", "-o", "o")
        document = json.loads(result.out)
        assert (document["goal"], document["best"], document["gain"]) == ("HOTA", 1, 1.0)
        # Without [search] what usually matters is searched; nothing is laid over for a nano.
        assert set(document["ranges"]) == {
            "mosaic", "scale", "learning_rate", "weight_decay", "average_decay",
        }  # fmt: skip

    def test_two_goals(self, call: Call, dataset: Path) -> None:
        result = call(dataset, "--goal", "hota", "--best-by", "ap50")
        assert result.code == 2
        assert "--goal hota: expected the same as --best-by, found ap50" in result.err

    def test_a_range_that_is_none(self, call: Call, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "my.toml").write_text("[search]\nmosaik = [0, 1]\n")
        result = call(dataset, "--config", "my.toml")
        assert result.code == 2
        assert "my.toml: [search] unknown key 'mosaik'; did you mean 'mosaic'?" in result.err


class TestRanges:
    def test_kinds(self, tmp_path: Path) -> None:
        path = tmp_path / "my.toml"
        path.write_text(
            f"{SECTION}batch = [4, 8, 16]\nscale = [[0.5, 1.5], [1, 2]]\n"
            "degrees = { low = 0, high = 10 }\ninput_width = { low = 320, high = 416, step = 32 }\n"
        )
        assert search_ranges(path) == {
            "mosaic": Range(0.0, 1.0, step=0.25),
            "degrees": Range(0.0, 10.0),
            "scale": Choice(((0.5, 1.5), (1.0, 2.0))),
            "batch": Choice((4, 8, 16)),
            "input_width": Range(320, 416, step=32, whole=True),
            "learning_rate": Range(0.001, 0.1, log=True),
        }

    def test_no_section(self, tmp_path: Path) -> None:
        (tmp_path / "my.toml").write_text("[train]\nbatch = 4\n")
        assert search_ranges(tmp_path / "my.toml") is None

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("lerning_rate = [1, 2]", r"unknown key 'lerning_rate'; did you mean 'learning_rate'?"),
            ("epochs = [1, 2]", "epochs: cannot be searched: longer is nearly always better"),
            ("device = ['cpu', 'cuda']", "device: cannot be searched: it is about the machine"),
            ("mosaic = 1", "mosaic: expected a range as in { low = 1, high = 2 }, or a list"),
            ("mosaic = [1]", "mosaic: expected two values or more to choose from, found [1]"),
            ("mosaic = [1, 1.0]", "mosaic: expected each value once, found 1.0 again"),
            ("mosaic = [0, 2]", "mosaic: expected from 0 to 1, found 2.0"),
            ("mosaic = ['a', 1]", "mosaic: Input should be a valid number, found 'a'"),
            ("mosaic = { low = 0 }", "mosaic: expected low and high, found no high"),
            ("mosaic = { low = 0, high = 2 }", "mosaic: expected from 0 to 1, found 2.0"),
            ("mosaic = { low = 1, high = 0 }", "expected low to be at most high (0.0), found 1.0"),
            ("mosaic = { low = 0, high = 1, stp = 1 }", "unknown key 'stp'; did you mean 'step'?"),
            ("mosaic = { low = nan, high = 1 }", "mosaic: low: expected a number, found nan"),
            ("mosaic = { low = 0, high = 1, log = 1 }", "log: expected true or false, found 1"),
            ("mosaic = { low = 0, high = 1, step = 0.3 }", "expected high to be some steps above"),
            ("mosaic = { low = 0, high = 1, step = 0 }", "step: expected a number above 0, found"),
            (
                "learning_rate = { low = 0, high = 1, log = true }",
                "learning_rate: expected low above 0, as log is true, found 0.0",
            ),
            (
                "learning_rate = { low = 1, high = 2, log = true, step = 1 }",
                "expected either step or log, found both",
            ),
            ("batch = { low = 1, high = 2.5 }", "batch: high: expected a whole number, found 2.5"),
            ("input_width = { low = 320, high = 416 }", "expected a multiple of 32 up to 8192"),
            ("scale = { low = 1, high = 2 }", "scale: expected a list of values to choose from"),
            ("scale = [[2, 1], [1, 2]]", "scale: expected the smallest zoom, then the largest"),
        ],
    )
    def test_faults(self, tmp_path: Path, line: str, message: str) -> None:
        path = tmp_path / "my.toml"
        path.write_text(f"[search]\n{line}\n")
        for read in (search_ranges, lambda path: resolve([toml_layer(path)])):
            with pytest.raises(ConfigError) as error:
                read(path)
            assert f"{path}: [search] " in str(error.value)
            assert message in str(error.value)

    def test_an_empty_section(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"x: \[search\]: expected at least one setting and"):
            read_ranges({}, "x")
        (tmp_path / "my.toml").write_text("search = 3\n")
        with pytest.raises(ConfigError, match=r"search: expected a section \[search\]"):
            resolve([toml_layer(tmp_path / "my.toml")])

    def test_other_commands_take_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "my.toml").write_text(f"[train]\nbatch = 4\n{SECTION}")
        assert resolve([toml_layer(tmp_path / "my.toml")]).settings.train.batch == 4

    def test_every_setting_is_one_or_the_other(self) -> None:
        assert set(NOT_SEARCHED) < set(TrainSettings.__dataclass_fields__)
        assert {"learning_rate", "batch", "mosaic", "scale", "input_width"} < set(SEARCHED)

    def test_the_usual_ones(self) -> None:
        settled = replace(SETTINGS, learning_rate=0.02)
        ranges = usual_ranges(settled, "nano")
        assert ranges["learning_rate"] == Range(0.005, 0.08, log=True)
        assert "mixup" not in ranges
        assert "mixup" in usual_ranges(settled, "s")
        odd = usual_ranges(replace(settled, scale=(0.9, 1.1)), "s")["scale"]
        assert odd.holds((0.9, 1.1))


class TestSpace:
    def test_what_the_ranges_do_not_hold(self) -> None:
        ranges: dict[str, Range | Choice] = {
            "mosaic": Range(0.0, 0.5),
            "flip": Range(0.0, 1.0, step=0.2),
            "batch": Choice((4, 8)),
        }
        space = Space(SETTINGS, SETTINGS, ranges)
        assert space.start() == {"batch": 4}  # mosaic is 1, and 0.5 is no multiple of 0.2
        assert space.values(SETTINGS) == {"mosaic": 1.0, "flip": 0.5, "batch": 4}

    def test_there_and_back(self) -> None:
        ranges: dict[str, Range | Choice] = {
            "scale": Choice(((0.5, 1.5), (1.0, 2.0))),
            "batch": Range(2, 8, whole=True),
            "flip": Range(0.0, 1.0, step=0.1),
            "learning_rate": Range(0.0123456, 0.0123999),
        }
        space = Space(SETTINGS, SETTINGS, ranges)
        point = {"scale": (1.0, 2.0), "batch": 3, "flip": 0.3, "learning_rate": 0.0123456}
        assert space.of_optuna(space.to_optuna(point)) == point
        # Digits that say nothing are left out, but not so that it leaves the range.
        drawn = space.of_optuna({"flip": 0.30000000000000004, "learning_rate": 0.01237777})
        assert drawn == {"flip": 0.3, "learning_rate": 0.0123999}


def trial(number: int, value: float | None, **point: Any) -> Trial:
    return Trial(number, "finished", {"mosaic": 1.0, "scale": (0.5, 1.5), **point}, value, 2)


def tuning_of(tmp_path: Path, trials: Sequence[Trial], **more: Any) -> DetectorTuning:
    ranges: dict[str, Range | Choice] = {
        "mosaic": Range(0.0, 1.0), "scale": Choice(((0.5, 1.5), (1.0, 2.0))),
    }  # fmt: skip
    space = Space(SETTINGS, SETTINGS, ranges)
    job = Job(tmp_path / "data", "yolox-nano", tmp_path, SETTINGS)
    return DetectorTuning(job, SearchOptions(), ("square",), space, tuple(trials), **more)


class TestResults:
    def test_settings(self, tmp_path: Path) -> None:
        """They are what the best trial had, and say what they are worth."""
        trials = [trial(0, 40.0), trial(1, 42.5, mosaic=0.25, scale=(1.0, 2.0))]
        text = settings_toml(tuning_of(tmp_path, trials))
        (tmp_path / "s.toml").write_text(text)
        settings = resolve([toml_layer(tmp_path / "s.toml")]).settings.train
        assert (settings.mosaic, settings.scale, settings.epochs) == (0.25, (1.0, 2.0), 2)
        assert "mosaic = 0.25  # was 1\n" in text
        assert "scale = [1.0, 2.0]  # was 0.5–1.5\n" in text
        assert "# AP on the split val goes from 40.00 to 42.50 (+2.50). That is flattering" in text
        assert "workers" not in text

    def test_no_gain(self, tmp_path: Path) -> None:
        tuning = tuning_of(tmp_path, [trial(0, 40.0), trial(1, 40.0, mosaic=0.5)])
        assert explain(tuning) == "No other settings were better than those before (AP 40.00)."
        assert "mosaic" not in settings_toml(tuning)

    @pytest.mark.parametrize(
        ("best", "error", "verdict", "sentence"),
        [
            (45.0, 1.0, "holds", "The gain holds: on the split test, which nothing was chosen by"),
            (45.0, 2.5, "not known", "(40.00 to 45.00, 4 sequences); it is within two standard"),
            (45.0, None, "not known", "by +5.00 (40.00 to 45.00, 4 sequences); a single sequence"),
            (40.0, 1.0, "does not hold", "The gain does not hold: "),
            (39.0, None, "does not hold", "by -1.00 (40.00 to 39.00"),
        ],
    )
    def test_unseen(
        self, tmp_path: Path, best: float, error: float | None, verdict: str, sentence: str
    ) -> None:
        unseen = Unseen("AP", 4, {"AP": 40.0}, {"AP": best}, error, changed=True)
        assert unseen.verdict == verdict
        assert sentence in unseen.explain()
        trials = [trial(0, 40.0), trial(1, 42.5, mosaic=0.25)]
        assert sentence in explain(tuning_of(tmp_path, trials, unseen=unseen))

    def test_two_networks_are_looked_at(self, dataset: Path, tmp_path: Path) -> None:
        """Networks that know nothing are equally bad on the split test."""
        from motrail.train.checkpoint import save_checkpoint
        from motrail.train.network import make_yolox

        identity = {"model": "yolox-nano", "classes": ("square",), "height": 64, "width": 64}
        for number in (0, 1):
            torch.manual_seed(number)
            run = tmp_path / "trials" / f"{number:03}" / "checkpoints"
            run.mkdir(parents=True)
            content = {"identity": identity, "network": make_yolox("nano", 1).state_dict()}
            save_checkpoint(run / "best.pt", content)
        told: list[tuple[str, int, int | None]] = []
        unseen = on_unseen(
            job_of(dataset, tmp_path), trial(0, 1.0), trial(1, 2.0), ("square",),
            lambda what, done, total: told.append((what, done, total)),
        )  # fmt: skip
        assert unseen is not None
        assert (unseen.changed, unseen.sequences, unseen.error) == (True, 1, None)
        assert (unseen.base["AP"], unseen.best["AP"]) == (0, 0)
        assert unseen.verdict == "does not hold"
        # Eight pictures in batches of four, twice.
        assert told == [
            (f"looking at test with trial {number}", done, 2)
            for number in (0, 1)
            for done in (1, 2)
        ]

    def test_standard_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By hand: without each of three sequences the gain is 1, 2, 3, so √(2/3 · (1 + 0 + 1))."""
        gains = {"bc": 1.0, "ac": 2.0, "ab": 3.0}

        def figures(kept: Sequence[str], found: str, *, tracking: bool) -> dict[str, float]:
            return {"AP": 40.0 + (gains["".join(kept)] if found == "after" else 0.0)}

        monkeypatch.setattr(unseen_module, "_figures", figures)
        found: Any = unseen_module._error
        assert found("abc", "before", "after", "ap") == pytest.approx((4 / 3) ** 0.5)
        assert found("a", "before", "after", "ap") is None

    def test_no_drawings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        written, notes = write_results(tuning_of(tmp_path, [trial(0, 40.0)]))
        assert set(written) == {"settings", "record", "model"}
        assert notes[0].startswith("no tune.html: 'matplotlib' is ")
