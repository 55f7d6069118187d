"""`motrail tune tracker`: settings that score best, and whether that holds on other sequences."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from commands import Call, Result, caller
from models import spot_network, write_bundle
from motrail.config import RefineSettings, Settings, TrackerSettings, resolve, toml_layer
from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.detect.bundle import read_bundle
from motrail.errors import ConfigError, DataError, MissingExtraError, MotrailError, OutputError
from motrail.evaluate.clear import Clear
from motrail.evaluate.hota import Hota
from motrail.evaluate.identity import Identity
from motrail.evaluate.intervals import Difference
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Score, evaluate
from motrail.formats.faults import refuse
from motrail.formats.mot.detections import read_detections, write_detections
from motrail.formats.mot.seqinfo import read_seqinfo
from motrail.tune.answers import Answers
from motrail.tune.cases import (
    Case,
    evaluate_case,
    read_cases,
    score_from_json,
    score_to_json,
)
from motrail.tune.folds import Check, Outcome, Split, make_folds, make_splits
from motrail.tune.search import sure_gain
from motrail.tune.space import Space
from motrail.tune.store import Store
from motrail.tune.tracker import STORE, TuneOptions, Tuning, tune_tracker
from motrail.tune.workers import Job, Processes, ThisProcess
from motrail.types import SequenceDetections

if TYPE_CHECKING:
    from conftest import Prove

FRAMES = 20
SEQUENCES = 4
WEAK = 0.35
"""The score of every right detection: under the tracker's own `high_threshold` of 0.6."""


def write_sequence(
    folder: Path, name: str, seed: int, *, score: float = WEAK, clutter: float = 0.15
) -> None:
    """Six objects that wander about; detections of them of `score`, of two posts of `clutter`."""
    draw = np.random.default_rng(seed)
    start = np.stack([np.arange(6) * 100.0, draw.uniform(0, 300, 6)], axis=1)
    steps = draw.normal(0, 2, (FRAMES, 6, 2))
    corners = start + np.cumsum(steps, axis=0)
    posts = [(100 + draw.uniform(0, 50), 600.0), (400 + draw.uniform(0, 50), 600.0)]
    truth, frames, boxes, scores = [], [], [], []
    for frame in range(FRAMES):
        for id_, (left, top) in enumerate(corners[frame].tolist(), start=1):
            truth.append(f"{frame + 1},{id_},{left:.2f},{top:.2f},40,80,1,1,1")
            x, y = np.array([left, top]) + draw.normal(0, 0.5, 2)
            frames.append(frame + 1)
            boxes.append([x, y, x + 40, y + 80])
            scores.append(score)
        for x, y in posts:
            frames.append(frame + 1)
            boxes.append([x, y, x + 40, y + 80])
            scores.append(clutter)
    write_labels(folder, name, truth)
    (folder / "det").mkdir(exist_ok=True)
    (folder / "det" / "labels.txt").write_text("person\n")
    found = SequenceDetections(frames, boxes, scores)
    write_detections(folder / "det" / f"{name}.txt", found)


def write_labels(folder: Path, name: str, rows: list[str]) -> None:
    (folder / "truth" / name / "gt").mkdir(parents=True, exist_ok=True)
    (folder / "truth" / "labels.txt").write_text("person\n")
    (folder / "truth" / name / "gt" / "gt.txt").write_text("\n".join([*rows, ""]))
    (folder / "truth" / name / "seqinfo.ini").write_text(
        f"[Sequence]\nname={name}\nframeRate=25\nseqLength={FRAMES}\nimWidth=700\nimHeight=800\n"
    )


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences on which the default settings find nothing: every score is too low for them."""
    folder = tmp_path_factory.mktemp("weak")
    for seed in range(SEQUENCES):
        write_sequence(folder, f"seq{seed}", seed)
    return folder


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Runs it in this process alone, unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    run = caller(capsys, "tune", "tracker")

    def call(*words: object) -> Result:
        return run(*words, *(() if "--workers" in words else ("--workers", 1)))

    return call


def tune(folder: Path, output: Path, **options: Any) -> Tuning:
    given = {"trials": 24, "folds": 0} | options
    return tune_tracker(folder / "det", folder / "truth", output, options=TuneOptions(**given))


def tried(tuning: Tuning) -> list[tuple[Any, float]]:
    return [(trial.settings, trial.value) for trial in tuning.trials]


class TestCure:
    """Where every score is below 0.6 the default settings find nothing, and tuning finds out."""

    def test_it_is_found_and_holds(self, call: Call, weak: Path) -> None:
        words = ("-d", weak / "det", "-t", weak / "truth", "-o", "run", "--trials", 24)
        code, out, err = call(*words, "--workers", 2)
        assert (code, err) == (0, "")
        document = json.loads(Path("run/tune.json").read_text())
        assert document["base"]["HOTA"] == 0
        assert document["tuned"]["HOTA"] > 80
        held_out = document["held_out"]
        assert held_out["verdict"] == "holds"
        assert held_out["difference"]["low"] > 60
        assert {name: s["base"] for name, s in held_out["sequences"].items()} == {
            f"seq{n}": 0 for n in range(SEQUENCES)
        }
        assert all(s["tuned"] > 60 for s in held_out["sequences"].values())
        assert "The gain holds: on sequences held out, tuning changes HOTA by +" in out
        assert "high_threshold" in out

    def test_the_settings_are_taken_as_they_are(
        self, call: Call, weak: Path, tmp_path: Path
    ) -> None:
        """`settings.toml` goes into --config, and scores what it says by `motrail evaluate`."""
        answer = call(
            "-d", weak / "det", "-t", weak / "truth", "-o", "run", "--folds", 0, "--trials", 24
        )
        assert answer.code == 0
        text = Path("run/settings.toml").read_text()
        assert set(tomllib.loads(text)) == {"tracker"}
        settings = resolve([toml_layer("run/settings.toml")]).settings.tracker
        assert settings.high_threshold <= WEAK
        assert settings.new_track_threshold <= WEAK
        assert "high_threshold" in text.partition("# was 0.6")[0].splitlines()[-1]
        document = json.loads(Path("run/tune.json").read_text())
        assert document["tuned"]["settings"]["tracker"] == vars(settings)

        cases = read_cases(weak / "det", weak / "truth", Protocol(), Counter())
        write_tracks(cases, settings, tmp_path / "out")
        score = evaluate(tmp_path / "out", weak / "truth").combined.as_dict()
        assert score["HOTA"] == pytest.approx(document["tuned"]["HOTA"], abs=0.01)

    def test_never_worse_than_the_start(self, weak: Path, tmp_path: Path) -> None:
        tuning = tune(weak, tmp_path, trials=1)
        assert tuning.best is tuning.base
        assert tuning.base.settings["tracker"] == vars(TrackerSettings())
        assert tuning.changes == {}


def write_tracks(cases: Any, settings: TrackerSettings, folder: Path) -> None:
    """Track files written by hand, past what is tested."""
    from motrail.replay import replay
    from motrail.track.make import make_tracker

    folder.mkdir()
    (folder / "labels.txt").write_text("person\n")
    for case in cases:
        tracks = replay(case.file.detections, make_tracker(settings, 25), FRAMES)
        with (folder / f"{case.name}.txt").open("w") as file:
            for n in range(len(tracks)):
                x1, y1, x2, y2 = tracks.boxes_xyxy[n].astype(float).tolist()
                file.write(
                    f"{tracks.frames[n]},{tracks.ids[n]},{x1},{y1},{x2 - x1},{y2 - y1},0.5,1,-1\n"
                )


class TestSameAnswer:
    def test_on_any_number_of_cores(self, weak: Path, tmp_path: Path) -> None:
        one = tune(weak, tmp_path / "one", folds=2)
        two = tune(weak, tmp_path / "two", folds=2, workers=2)
        assert tried(one) == tried(two)
        assert one.check.as_dict() == two.check.as_dict()
        assert (one.computed, one.found) == (two.computed, 0)

    def test_the_seed_counts(self, weak: Path, tmp_path: Path) -> None:
        runs = [tune(weak, tmp_path / "run", seed=seed) for seed in (1, 2, 1)]
        assert tried(runs[0]) == tried(runs[2]) != tried(runs[1])

    def test_a_second_run_computes_nothing(self, weak: Path, tmp_path: Path) -> None:
        first = tune(weak, tmp_path / "run", folds=2)
        second = tune(weak, tmp_path / "run", folds=2)
        assert (second.computed, second.found) == (0, first.computed)
        assert tried(first) == tried(second)
        assert first.check.as_dict() == second.check.as_dict()

    def test_more_trials_go_on_from_there(self, weak: Path, tmp_path: Path) -> None:
        few = tune(weak, tmp_path / "run", trials=20)
        more = tune(weak, tmp_path / "run", trials=26)
        assert tried(few)[:20] == tried(more)[:20]
        assert more.found >= 20 * SEQUENCES - repeated(few)
        fresh = tune(weak, tmp_path / "fresh", trials=26)
        assert tried(fresh) == tried(more)

    def test_other_labels_are_other_answers(self, tmp_path: Path) -> None:
        write_sequence(tmp_path, "a", 1)
        tune(tmp_path, tmp_path / "run", trials=3)
        (tmp_path / "truth" / "a" / "gt" / "gt.txt").write_text("1,1,0,0,40,80,1,1,1\n")
        assert tune(tmp_path, tmp_path / "run", trials=3).found == 0


def repeated(tuning: Tuning) -> int:
    """Scores that a run needed more than once."""
    texts = [json.dumps(trial.settings) for trial in tuning.trials]
    return SEQUENCES * (len(texts) - len(set(texts)))


def clears(tp: int, fp: int) -> Score:
    """A score of 100 true boxes."""
    nothing = np.zeros(19)
    return Score(
        Hota(*[nothing] * 7), Clear(tp=tp, fn=100 - tp, fp=fp, frames=10), Identity(0, 100, 0)
    )


class TestSureGain:
    """MOTA of sequences with 100 true boxes each is their mean, which is quick to work out."""

    def test_equal_gains_are_sure(self) -> None:
        before, now = [clears(50, 0)] * 3, [clears(60, 0)] * 3
        assert sure_gain(before, now, "MOTA") == pytest.approx(10)

    def test_two_standard_errors_of_the_mean_are_taken_off(self) -> None:
        """Gains of 0, 10 and 20: mean 10, standard error 10 / sqrt(3)."""
        before = [clears(50, 0)] * 3
        now = [clears(50, 0), clears(60, 0), clears(70, 0)]
        assert sure_gain(before, now, "MOTA") == pytest.approx(10 - 2 * 10 / np.sqrt(3))

    def test_of_one_sequence_nothing_is_known(self) -> None:
        assert sure_gain([clears(50, 0)], [clears(60, 0)], "MOTA") == pytest.approx(10)


class TestOverfitting:
    """On sequences that want opposite things a gain on some is a loss on the others."""

    @pytest.fixture
    def torn(self, tmp_path: Path) -> Path:
        """Two sequences: in one weak detections are objects, in the other they are posts."""
        write_sequence(tmp_path, "weak", 1, score=0.5, clutter=0.15)
        write_sequence(tmp_path, "strong", 2, score=0.9, clutter=0.55)
        return tmp_path

    def test_it_is_said(self, call: Call, torn: Path) -> None:
        code, out, err = call(
            *("-d", torn / "det", "-t", torn / "truth", "-o", "run", "--trials", 24)
        )
        assert code == 0
        document = json.loads(Path("run/tune.json").read_text())
        check = document["held_out"]
        # What was tuned on "strong" alone leaves all as it was; on "weak" alone clutter comes in.
        assert check["sequences"]["strong"]["tuned"] < check["sequences"]["strong"]["base"]
        assert check["verdict"] == "does not hold"
        assert err.startswith("warning: The gain does not hold: on sequences held out, tuning")
        assert "# WARNING: The gain does not hold" in Path("run/settings.toml").read_text()
        assert "The gain does not hold" in out


class TestSpace:
    def test_every_corner_is_legal(self) -> None:
        """Settings check themselves when they are made."""
        space = Space(TrackerSettings(), RefineSettings(), search_refine=True)
        draw = np.random.default_rng(1)
        sizes = {d.name: len(d.values) for d in space.dimensions}
        points = [dict.fromkeys(sizes, 0), {name: size - 1 for name, size in sizes.items()}]
        points += [{n: int(draw.integers(size)) for n, size in sizes.items()} for _ in range(500)]
        for point in points:
            settings = space.settings(point)
            tracker = TrackerSettings(**settings["tracker"])
            RefineSettings(**settings["refine"])
            assert tracker.low_threshold <= tracker.high_threshold
            assert tracker.high_threshold <= tracker.new_track_threshold <= 1

    def test_it_starts_from_what_it_is_given(self) -> None:
        base = TrackerSettings(high_threshold=0.6123, new_track_threshold=0.5, lost_frames=77)
        space = Space(base, RefineSettings())
        assert space.settings(space.start) == space.base == {"tracker": vars(base)}

    def test_the_score_of_new_tracks_goes_with_the_high_one(self) -> None:
        space = Space(TrackerSettings(), RefineSettings())
        lower = space.settings({**space.start, "tracker.high_threshold": 2})["tracker"]
        assert lower["high_threshold"] == 0.15
        assert lower["new_track_threshold"] == pytest.approx(0.25)

    def test_seconds_are_searched_where_the_base_has_them(self) -> None:
        space = Space(TrackerSettings(lost_seconds=1.2), RefineSettings())
        names = {dimension.name for dimension in space.dimensions}
        assert "tracker.lost_seconds" in names
        assert "tracker.lost_frames" not in names
        (lost,) = (d for d in space.dimensions if d.key == "lost_seconds")
        assert lost.values[lost.start] == 1.2

    def test_the_settings_of_the_tracker_are_searched(self) -> None:
        def names(settings: TrackerSettings) -> set[str]:
            return {dimension.key for dimension in Space(settings, RefineSettings()).dimensions}

        byte, steady = names(TrackerSettings()), names(TrackerSettings(tracker="steady"))
        assert byte - steady == {"score_fusion"}
        assert steady - byte == {
            *("height_weight", "surprise_weight", "measurement_noise"),
            *("revive_match_threshold", "revive_frames", "coast_frames"),
        }

    def test_around_the_start(self) -> None:
        """The start, and each setting once down and once up, where there is room."""
        space = Space(TrackerSettings(), RefineSettings())
        first, *others = space.around_start()
        assert first == space.start
        moved = Counter(
            name for point in others for name in point if point[name] != space.start[name]
        )
        assert sum(moved.values()) == len(others)
        assert moved["tracker.high_threshold"] == 2
        assert moved["tracker.score_fusion"] == 1

    def test_what_is_done_to_finished_tracks_counts_when_it_is_not_searched(self) -> None:
        refine = RefineSettings(max_gap=7)
        space = Space(TrackerSettings(), refine)
        assert space.settings({**space.start, "tracker.high_threshold": 0})["refine"] == vars(
            refine
        )
        assert not any(dimension.section == "refine" for dimension in space.dimensions)


class TestSplits:
    @pytest.mark.parametrize(("count", "folds"), [(7, 4), (5, 5), (3, 9), (2, 2)])
    def test_each_sequence_is_held_out_once(self, count: int, folds: int) -> None:
        splits = make_folds(count, folds, seed=1)
        assert len(splits) == min(count, folds)
        assert sorted(n for split in splits for n in split.held_out) == list(range(count))
        for split in splits:
            assert sorted((*split.held_out, *split.tuned_on)) == list(range(count))
            assert split.tuned_on

    def test_the_seed_divides(self) -> None:
        assert make_folds(9, 3, seed=1) == make_folds(9, 3, seed=1) != make_folds(9, 3, seed=2)

    def test_all_ways(self) -> None:
        splits = make_splits(7, 3, None, seed=1)
        assert len(splits) == len({split.held_out for split in splits}) == 35
        assert splits[0] == Split((3, 4, 5, 6), (0, 1, 2))

    def test_some_ways(self) -> None:
        splits = make_splits(7, 3, 12, seed=1)
        assert len({split.held_out for split in splits}) == 12
        assert splits == make_splits(7, 3, 12, seed=1) != make_splits(7, 3, 12, seed=2)
        assert make_splits(4, 2, 99, seed=1) == make_splits(4, 2, None, seed=1)

    def test_one_sequence_has_no_folds(self) -> None:
        assert make_folds(1, 4, seed=1) == []

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: make_folds(5, 1, 1), "folds: expected 2 or more, or 0 for no check, found 1"),
            (lambda: make_folds(5, -1, 1), "folds: expected 2 or more, .* found -1"),
            (lambda: make_splits(5, 5, None, 1), "hold_out: expected 1 to 4 of 5 .* found 5"),
            (lambda: make_splits(5, 0, None, 1), "hold_out: expected 1 to 4 of 5 .* found 0"),
            (lambda: make_splits(1, 1, None, 1), "hold_out: expected two sequences or more"),
            (lambda: make_splits(5, 2, 0, 1), "splits: expected 1 or more, or all, found 0"),
            (lambda: make_splits(60, 30, None, 1), "splits: expected at most 10000, found 1182"),
        ],
    )
    def test_what_cannot_be_divided(self, make: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=f"^{message}"):
            make()


HELD_OUT = "on sequences held out, tuning changes MOTA by"


def difference(low: float | None, gain: float, high: float | None) -> Difference:
    return Difference("MOTA", 50 + gain, 50, gain, low, high, "not known")


class TestVerdict:
    @pytest.mark.parametrize(
        ("found", "verdict", "sentences"),
        [
            (
                difference(0.1, 2, 3),
                "holds",
                (f"The gain holds: {HELD_OUT} +2.00 (95 %: +0.10 to +3.00).",),
            ),
            (
                difference(0.0, 2, 3),
                "not known",
                (
                    f"Whether the gain holds is not known: {HELD_OUT} +2.00 (95 %: +0.00 to",
                    "+3.00). More sequences would tell.",
                ),
            ),
            (
                difference(-1, 0, 1),
                "does not hold",
                (
                    f"The gain does not hold: {HELD_OUT} +0.00 (95 %: -1.00 to +1.00).",
                    "Keep the settings you had.",
                ),
            ),
            (
                difference(0, 0, 0),
                "does not hold",
                ("There is no gain: no settings were surely better than those before.",),
            ),
            (
                None,
                "not checked",
                (
                    "The gain is not checked on other sequences: it is what the settings bring on",
                    "those they were tuned on, and may be less on any other.",
                ),
            ),
            (
                difference(None, 2, None),
                "not known",
                (
                    f"Whether the gain holds is not known: {HELD_OUT} +2.00.",
                    "More sequences would tell.",
                ),
            ),
        ],
    )
    def test_in_words(
        self, found: Difference | None, verdict: str, sentences: tuple[str, ...]
    ) -> None:
        check = Check("MOTA", ("a",), (), found)
        assert (check.verdict, check.explain()) == (verdict, " ".join(sentences))

    def test_sequences_held_out_twice_count_as_one(self) -> None:
        """MOTA of a: 50 before, 60 and 80 when held out; of b: 50 before and 40 then."""
        first = Outcome(
            *(Split((2,), (0, 1)), {}, 0.0, 9.0),
            (clears(50, 0), clears(50, 0)),
            (clears(60, 0), clears(40, 0)),
        )
        second = Outcome(*(Split((1, 2), (0,)), {}, 0.0, 5.0), (clears(50, 0),), (clears(80, 0),))
        check = Check.of([first, second], ["a", "b", "c"], "MOTA", Protocol())
        assert [name for name, _, _ in check.per_sequence()] == ["a", "b"]
        sides = [sides for _, *sides in check.per_sequence()]
        assert np.allclose(sides, [[50, 70], [50, 40]])
        assert np.allclose(check.gains(), [[9, 0], [5, 30]])
        assert check.difference is not None
        assert check.difference.difference == pytest.approx(10)  # (60 + 80 + 40) / 3 - 50


class TestStore:
    def test_scores_come_back_to_the_last_digit(self, weak: Path, tmp_path: Path) -> None:
        case = read_cases(weak / "det", weak / "truth", Protocol(), Counter())[0]
        settings = {"tracker": vars(TrackerSettings(high_threshold=0.3, new_track_threshold=0.3))}
        score = evaluate_case(case, settings, Protocol())
        assert score.as_dict()["HOTA"] > 50
        with Store(tmp_path / "store") as store:
            store.write("key", "seq", "{}", score)
        with Store(tmp_path / "store") as store:
            found = store.read(["other", "key"])
        assert found.keys() == {"key"}
        assert found["key"].as_dict() == score.as_dict()
        assert score_to_json(score_from_json(score_to_json(score))) == score_to_json(score)

    @pytest.mark.parametrize(
        "content", [b"no database at all, but long enough to be taken for one" * 9]
    )
    def test_another_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / STORE).write_bytes(content)
        with pytest.raises(
            OutputError, match="trials.sqlite: cannot be used to keep scores in: file"
        ):
            Store(tmp_path / STORE)

    def test_a_score_that_is_none(self, tmp_path: Path) -> None:
        Store(tmp_path / STORE).close()
        connection = sqlite3.connect(tmp_path / STORE)
        connection.execute("INSERT INTO answers VALUES ('key', 's', '{}', '[1]')")
        connection.commit()
        connection.close()
        with Store(tmp_path / STORE) as store, pytest.raises(OutputError, match="expected a score"):
            store.read(["key"])

    def test_another_camera_file_is_another_score(self, weak: Path, tmp_path: Path) -> None:
        cases = read_cases(weak / "det", weak / "truth", Protocol(), Counter())[:1]
        camera = tmp_path / "camera.txt"
        settings = {"tracker": {"tracker": "steady", "camera_file": str(camera)}}
        keys = set()
        with Store(tmp_path / STORE) as store, ThisProcess(cases, Protocol()) as workers:
            for content in ("0 1 0 0 0 1 0\n", "0 1 0 9 0 1 0\n"):
                camera.write_text(content)
                keys.add(Answers(cases, Protocol(), store, workers).key(0, settings))
        assert len(keys) == 2


class TestRefine:
    def test_it_is_searched_where_asked(self, call: Call, tmp_path: Path) -> None:
        """Every second detection is missing: filling gaps finds these boxes too."""
        for seed in range(3):
            write_sequence(tmp_path, f"s{seed}", seed, score=0.9)
            path = tmp_path / "det" / f"s{seed}.txt"
            rows = [r for r in path.read_text().splitlines() if int(r.split(",")[0]) % 2]
            path.write_text("\n".join([*rows, ""]))
        words = ("-d", tmp_path / "det", "-t", tmp_path / "truth", "-o", "run", "--trials", 32)
        assert call(*words, "--refine").code == 0
        document = json.loads(Path("run/tune.json").read_text())
        assert document["tuned"]["settings"]["refine"]["max_gap"] >= 1
        assert document["tuned"]["HOTA"] > document["base"]["HOTA"] + 10
        settings = resolve([toml_layer("run/settings.toml")]).settings
        assert vars(settings.refine) == document["tuned"]["settings"]["refine"]


class TestBundle:
    @pytest.fixture
    def words(self, weak: Path) -> tuple[object, ...]:
        return ("-d", weak / "det", "-t", weak / "truth", "-o", "run", "--trials", 17, "--folds", 0)

    def test_its_settings_are_the_start_and_a_copy_gets_the_new_ones(
        self, call: Call, words: tuple[object, ...], tmp_path: Path
    ) -> None:
        own = {"match_threshold": 0.77, "class_mode": "vote", "lost_seconds": 1.5}
        write_bundle(tmp_path / "model", tracker=own, provenance={"by": "hand"})
        before = (tmp_path / "model" / "model.json").read_bytes()
        assert call(*words, "--bundle", "model").code == 0
        document = json.loads(Path("run/tune.json").read_text())
        assert {key: document["base"]["settings"]["tracker"][key] for key in own} == own

        copy = read_bundle(Path("run/model.tar.gz"))
        assert copy.onnx == spot_network()
        assert copy.spec is not None
        assert copy.spec.classes == ("spot",)
        assert copy.spec.provenance["by"] == "hand"
        assert copy.spec.provenance["tracker"]["tuned"]["HOTA"] == document["tuned"]["HOTA"]
        tuned = {k: v for k, v in document["tuned"]["settings"]["tracker"].items() if v is not None}
        assert copy.spec.tracker.items() <= tuned.items()
        assert copy.spec.tracker["class_mode"] == "vote"
        assert (
            vars(TrackerSettings(**copy.spec.tracker)) == document["tuned"]["settings"]["tracker"]
        )
        assert (tmp_path / "model" / "model.json").read_bytes() == before

    def test_a_bare_network(self, call: Call, words: tuple[object, ...], tmp_path: Path) -> None:
        (tmp_path / "bare.onnx").write_bytes(spot_network())
        code, _, err = call(*words, "--bundle", "bare.onnx")
        assert code == 1
        assert "bare.onnx: has no model.json to write settings into" in err

    def test_it_would_be_overwritten(self, call: Call, words: tuple[object, ...]) -> None:
        write_bundle(Path("model"))
        assert call(*words, "--bundle", "model").code == 0
        code, _, err = call(*words, "--bundle", "run/model.tar.gz")
        assert code == 1
        assert "run/model.tar.gz: would be overwritten by its copy" in err


class TestBadInput:
    def test_other_sequences(self, call: Call, weak: Path, tmp_path: Path) -> None:
        write_sequence(tmp_path, "elsewhere", 1)
        code, _, err = call("-d", "det", "-t", weak / "truth")
        assert code == 1
        assert "det: expected detections of the sequences of" in err
        assert "(seq0, seq1, seq2, seq3), found those of elsewhere" in err

    def test_some_sequences_on_one_side_only(self, call: Call, tmp_path: Path) -> None:
        for name in ("both", "also", "labelled", "detected"):
            write_sequence(tmp_path, name, 1)
        (tmp_path / "det" / "labelled.txt").unlink()
        (tmp_path / "truth" / "detected" / "gt" / "gt.txt").unlink()
        (tmp_path / "truth" / "detected" / "seqinfo.ini").unlink()
        (tmp_path / "truth" / "detected" / "gt").rmdir()
        (tmp_path / "truth" / "detected").rmdir()
        code, _, err = call("-d", "det", "-t", "truth", "--trials", 1)
        assert code == 0
        assert "note: labelled: has no detections, and is left out\n" in err
        assert "note: detected: is no sequence of the truth, and is left out\n" in err

    def test_no_detections(self, call: Call, tmp_path: Path) -> None:
        write_sequence(tmp_path, "a", 1)
        (tmp_path / "det" / "a.txt").write_text("")
        code, _, err = call("-d", "det", "-t", "truth")
        assert code == 1
        assert "det: expected detections, found none in a" in err

    def test_no_labels(self, call: Call, tmp_path: Path) -> None:
        write_sequence(tmp_path, "a", 1)
        (tmp_path / "truth" / "a" / "gt" / "gt.txt").write_text("")
        code, _, err = call("-d", "det", "-t", "truth")
        assert code == 1
        assert "truth: expected labels to score against, found none" in err

    def test_frames_beyond_the_end(self, call: Call, tmp_path: Path) -> None:
        write_sequence(tmp_path, "a", 1)
        (tmp_path / "det" / "a.txt").write_text("21,-1,0,0,9,9,0.9,1,-1\n")
        code, _, err = call("-d", "det", "-t", "truth")
        assert code == 1
        assert "det: expected frames 1 to 20 of 'a', found 21; are these detections of" in err

    def test_classes_that_do_not_fit(self, call: Call, tmp_path: Path) -> None:
        write_sequence(tmp_path, "a", 1)
        (tmp_path / "det" / "labels.txt").write_text("walker\n")
        words = ("-d", "det", "-t", "truth", "--trials", 1)
        code, _, err = call(*words)
        assert code == 1
        assert "expected results of the classes of the truth (person), found walker" in err
        assert call(*words, "--map", "walker=person").code == 0

    def test_one_sequence(self, call: Call, tmp_path: Path) -> None:
        write_sequence(tmp_path, "a", 1)
        code, _, err = call("-d", "det", "-t", "truth", "--trials", 3)
        assert code == 0
        assert err.startswith("warning: The gain is not checked on other sequences: ")
        assert "# WARNING: The gain is not checked" in Path("runs/tune/settings.toml").read_text()

    def test_seconds_without_a_frame_rate(self, call: Call, tmp_path: Path) -> None:
        write_sequence(tmp_path, "a", 1)
        info = tmp_path / "truth" / "a" / "seqinfo.ini"
        info.write_text(info.read_text().replace("frameRate=25\n", ""))
        Path("base.toml").write_text("[tracker]\nlost_seconds = 1.0\n")
        code, _, err = call("-d", "det", "-t", "truth", "--config", "base.toml")
        assert code == 2
        assert "lost_seconds: the frame rate of 'a' is not known; set frame_rate" in err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--goal", "SPEED"), "SPEED"),
            (("--trials", "0"), "trials: expected 1 to 100000, found 0"),
            (("--seed", "-1"), "seed: expected 0 to 4294967295, found -1"),
            (("--workers", "0"), "workers: expected 1 to 1024, found 0"),
            (("--splits", "3"), "--splits: expected together with --hold-out"),
            (("--splits", "few", "--hold-out", "1"), "--splits: expected a number or all"),
            (("--hold-out", "4"), "hold_out: expected 1 to 3 of 4 sequences, found 4"),
            (("--folds", "1"), "folds: expected 2 or more, or 0 for no check, found 1"),
            (("--protocol", "mot17", "--agnostic"), "classes cannot be mixed"),
            (("--map", "person"), "--map: expected NAME=NAME"),
        ],
    )
    def test_wrong_use(
        self, call: Call, weak: Path, tmp_path: Path, words: tuple[str, ...], message: str
    ) -> None:
        code, out, err = call("-d", weak / "det", "-t", weak / "truth", *words)
        assert (code, out) == (2, "")
        assert message in err
        assert not (tmp_path / "runs" / "tune" / "settings.toml").exists()

    def test_an_unknown_goal(self) -> None:
        with pytest.raises(ConfigError, match="goal: expected one of HOTA, IDF1, MOTA, found 'x'"):
            TuneOptions(goal="x")  # type: ignore[arg-type]

    def test_splits_without_holding_out(self) -> None:
        with pytest.raises(ConfigError, match="splits: expected together with hold_out"):
            TuneOptions(splits=3)

    def test_without_optuna(
        self, weak: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(MissingExtraError, match=r"'optuna' .* pip install \"motrail\[tune\]\""):
            tune(weak, tmp_path)
        assert not list(tmp_path.iterdir())


class TestWorkers:
    def test_one_that_dies(self, weak: Path) -> None:
        cases = read_cases(weak / "det", weak / "truth", Protocol(), Counter())
        with Processes(cases, Protocol(), 1) as workers:
            (process,) = workers.pool.processes
            os.kill(process.pid or 0, signal.SIGKILL)
            with pytest.raises(MotrailError, match=r"a worker process ended .* \(exit code -9\)"):
                list(workers.run([Job(0, {"tracker": {}})] * 2))

    @pytest.mark.parametrize("kind", [ThisProcess, Processes])
    def test_truth_that_makes_no_sense(self, kind: Any, tmp_path: Path) -> None:
        """An id twice in a frame comes to light only when it is scored."""
        write_sequence(tmp_path, "a", 1)
        (case,) = read_cases(tmp_path / "det", tmp_path / "truth", Protocol(), Counter())
        labels = case.truth.replace(ids=np.ones(len(case.truth), np.int64))
        case = Case(labels, case.file)
        workers = kind([case], Protocol()) if kind is ThisProcess else kind([case], Protocol(), 1)
        with workers, pytest.raises(DataError, match="expected each id once in a frame"):
            list(workers.run([Job(0, {"tracker": vars(TrackerSettings())})]))

    @pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
    def test_interrupted_and_taken_up_again(self, weak: Path, tmp_path: Path) -> None:
        """Ctrl-C, which a terminal sends to the workers too; then the same command again."""
        words = ["tune", "tracker", "-d", str(weak / "det"), "-t", str(weak / "truth")]
        words += ["-o", str(tmp_path / "run"), "--trials", "5000", "--workers", "2", "--folds", "0"]
        store = tmp_path / "run" / STORE
        with subprocess.Popen(
            [sys.executable, "-m", "motrail", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as running:
            deadline = time.monotonic() + 60
            while rows(store) < 40 and time.monotonic() < deadline:
                assert running.poll() is None, running.communicate()
                time.sleep(0.05)
            os.killpg(running.pid, signal.SIGINT)
            out, err = running.communicate(timeout=60)
        assert (running.returncode, out) == (130, "")
        assert err == "interrupted; nothing was left half-written\n"
        assert [path.name for path in store.parent.iterdir()] == [STORE]
        kept = rows(store)
        assert kept >= 40
        again = tune(weak, tmp_path / "run", trials=17)
        assert again.found >= 40
        fresh = tune(weak, tmp_path / "fresh", trials=17)
        assert tried(again) == tried(fresh)


def rows(store: Path) -> int:
    """How many scores are kept."""
    if not store.exists():
        return 0
    connection = sqlite3.connect(store, timeout=30)
    try:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:  # the table is not made yet
        return 0
    finally:
        connection.close()


def test_optuna_says_nothing(weak: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither its log nor what it warns of: warnings would fail this test."""
    import optuna

    optuna.logging.enable_propagation()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tune(weak, tmp_path, trials=18)
    optuna.logging.disable_propagation()
    assert capfd.readouterr() == ("", "")


def test_the_document(call: Call, weak: Path) -> None:
    """--json prints what stands in tune.json."""
    words = ("-d", weak / "det", "-t", weak / "truth", "--trials", 18, "--hold-out", 2)
    code, out, _ = call(*words, "--splits", 2, "--workers", 1, "--json")
    assert code == 0
    document = json.loads(out)
    assert document == json.loads(Path("runs/tune/tune.json").read_text())
    assert len(document["trials"]) >= 18
    assert len(document["held_out"]["splits"]) == 2
    assert set(document["importances"]) == {
        f"tracker.{name}"
        for name in (
            "high_threshold",
            "low_threshold",
            "new_track_threshold",
            "match_threshold",
            "second_match_threshold",
            "unconfirmed_match_threshold",
            "score_fusion",
            "lost_frames",
        )
    }
    assert "workers" not in document["options"]


@pytest.mark.proof
def test_the_figures_of_trackeval(data: Path, tmp_path: Path, prove: Prove) -> None:
    """ByteTrack's published setting on MOT17's validation half, scored as a trial is."""
    import_labels([data / "mot17" / "gt"], tmp_path / "whole")
    split_dataset(tmp_path / "whole", by="time", val=0.5, gap=0, output=tmp_path / "halves")
    (tmp_path / "det").mkdir()
    for file in read_detections(data / "mot17" / "detections"):
        last = read_seqinfo(data / "mot17" / "gt" / file.name / "seqinfo.ini", refuse).length
        before = last // 2 + 1
        kept = file.detections[file.detections.frames > before]
        half = SequenceDetections(kept.frames - before, kept.boxes_xyxy, kept.scores)
        write_detections(tmp_path / "det" / f"{file.name}.txt", half)
    tuning = tune_tracker(
        *(tmp_path / "det", tmp_path / "halves" / "val", tmp_path / "run"),
        Settings(tracker=TrackerSettings(match_threshold=0.9)),
        options=TuneOptions(trials=1, folds=0),
        protocol=Protocol("mot17"),
    )
    figures = {"HOTA": 67.955, "IDF1": 80.053, "MOTA": 77.755, "IDSW": 175}
    found = {key: tuning.base.score.as_dict()[key] for key in figures}
    prove("a trial on MOT17's validation half", str(figures), found)
    assert found == pytest.approx(figures, abs=0.0005)
