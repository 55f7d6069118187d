"""`motrail sagemaker train`, `tune` and `label`, in a rehearsal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import spots_clip, write_bundle
from motrail.cli.app import run
from motrail.cli.interrupts import interrupts
from motrail.cli.sagemaker import jobs, sagemaker_app
from motrail.dataset.folder import open_dataset
from motrail.errors import ConfigError
from motrail.sagemaker.watch import JobError
from sagemaker_jobs import WORKTEAM, squares

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a clip, a model, and a rehearsal that is set up."""
    folder = tmp_path_factory.mktemp("made")
    squares(folder / "data")
    spots_clip(folder / "spots.mp4", frames=6)
    write_bundle(folder / "model")
    words = ["setup", "--yes", "--rehearse", str(folder / "rehearsal")]
    assert sagemaker_app(words, exit_on_error=False, result_action="return_value") in (0, None)
    return folder


@pytest.fixture
def call(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Call:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "rehearsal", tmp_path / "rehearsal")

    def call(*words: object) -> tuple[int, str, str]:
        every = [*map(str, words), "--rehearse", "rehearsal"]
        code = sagemaker_app(
            every, exit_on_error=False, print_error=False, result_action="return_value"
        )
        return int(code or 0), *capsys.readouterr()

    return call


class TestDryRun:
    def test_train_shows_the_request_and_sends_nothing(self, call: Call, made: Path) -> None:
        words = ("--epochs", 7, "--learning-rate", 0.01, "--classes", "square", "--device", "cpu")
        code, out, err = call("train", made / "data", "-m", "yolox-nano", "--dry-run", *words)
        shown = json.loads(out)
        assert code == 0
        assert (shown["service"], shown["operation"]) == ("sagemaker", "CreateTrainingJob")
        assert shown["parameters"]["HyperParameters"] == {
            "model": "yolox-nano",
            "classes": "square",
            "epochs": "7",
            "learning_rate": "0.01",
        }
        assert "note: --device is left out, as the instance decides it" in err
        assert not list(Path("rehearsal").rglob("*.png"))

    def test_tune_shows_the_request(self, call: Call, made: Path, tmp_path: Path) -> None:
        (tmp_path / "my.toml").write_text(
            "[train]\nepochs = 9\n[search]\nflip = { low = 0, high = 1 }\n"
            '[sagemaker]\ntraining_instance = "ml.g5.xlarge"\nspot = false\n'
            "training_fallbacks = []\n"
        )
        words = ("--config", "my.toml", "--strategy", "Hyperband", "--goal", "hota", "--trials", 4)
        code, out, _ = call("tune", made / "data", "--dry-run", *words)
        found = json.loads(out)["parameters"]
        config, definition = found["HyperParameterTuningJobConfig"], found["TrainingJobDefinition"]
        assert code == 0
        assert config["Strategy"] == "Hyperband"
        assert config["StrategyConfig"]["HyperbandStrategyConfig"]["MaxResource"] == 9
        assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 4
        assert config["ParameterRanges"] == {
            "ContinuousParameterRanges": [
                {"Name": "flip", "MinValue": "0.0", "MaxValue": "1.0", "ScalingType": "Linear"}
            ]
        }
        assert definition["HyperParameterTuningResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
        assert definition["EnableManagedSpotTraining"] is False


class TestWrongUse:
    @pytest.mark.parametrize("command", ["train", "tune"])
    def test_a_dataset_or_a_job(self, call: Call, made: Path, command: str) -> None:
        for words in ((), (made / "data", "--attach", "job")):
            with pytest.raises(ConfigError, match="expected a dataset to train on, or --attach"):
                call(command, *words)

    def test_footage_or_a_job(self, call: Call, made: Path) -> None:
        for words in ((), (made / "spots.mp4", "--job", "job")):
            with pytest.raises(ConfigError, match="expected footage to label, or --job JOB"):
                call("label", *words)

    def test_one_start_at_most(self, call: Call, made: Path) -> None:
        with pytest.raises(ConfigError, match="expected one of --prelabel and --model"):
            call("label", made / "spots.mp4", "--prelabel", "x.txt", "--model", "yolox-s")

    @pytest.mark.parametrize(("command", "flag"), [("train", "--attach"), ("label", "--job")])
    def test_a_job_that_is_not_there(self, call: Call, command: str, flag: str) -> None:
        with pytest.raises(JobError, match="there is no job 'job' in eu-west-1; expected the name"):
            call(command, flag, "job")


class TestLabel:
    def test_a_video_from_nothing(self, call: Call, made: Path) -> None:
        words = ("--classes", "spot, blot", "--workteam", WORKTEAM, "-o", "data")
        code, out, err = call("label", made / "spots.mp4", *words)
        assert code == 0
        assert "1 with 6 frames" in out
        assert "Ground Truth takes no new customers since 30 July 2026" in err
        assert open_dataset(Path("data")).classes == ("spot", "blot")

    def test_the_other_way_is_named_only_where_there_is_one(self, call: Call, made: Path) -> None:
        from motrail.cli.app import app

        words = ("--classes", "spot", "--workteam", WORKTEAM, "--no-wait")
        _, _, err = call("label", made / "spots.mp4", *words)
        assert ("motrail label " in err.splitlines()[0]) == ("label" in list(app))

    def test_a_model_tracks_first(self, call: Call, made: Path) -> None:
        words = ("--model", made / "model", "--workteam", WORKTEAM, "-o", "data", "--json")
        code, out, _ = call("label", made / "spots.mp4", *words)
        found = json.loads(out)
        assert (code, found["kind"]) == (0, "adjust")
        track = ("track", made / "spots.mp4", "--model", made / "model", "-o", "out", "--no-video")
        assert run(list(map(str, track))) == 0
        rows = [line.split(",") for line in Path("out/spots.txt").read_text().splitlines()]
        assert found["dataset"]["boxes"] == len(rows) > 0
        assert found["dataset"]["objects"] == len({row[1] for row in rows})

    def test_left_and_picked_up_again(self, call: Call, made: Path) -> None:
        _, out, _ = call("label", made / "data", "--workteam", WORKTEAM, "--no-wait", "--json")
        job = json.loads(out)["job"]
        code, out, _ = call("label", "--job", job, "-o", "data", "--json")
        assert code == 0
        assert json.loads(out)["dataset"]["boxes"] == 48


class TestAsking:
    class Keyboard:
        def __init__(self, *lines: str) -> None:
            self.lines = list(lines)

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            line = self.lines.pop(0)
            if line == "^C":
                raise KeyboardInterrupt
            return line

    @pytest.mark.parametrize(
        ("lines", "choice"),
        [
            (("s\n",), "stop"),
            (("Leave\n",), "leave"),
            (("what?\n", "\n", "w\n"), "wait"),
            (("",), "leave"),
            (("^C",), "leave"),
        ],
    )
    def test_answers(
        self, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], choice: str
    ) -> None:
        monkeypatch.setattr("sys.stdin", self.Keyboard(*lines))
        try:
            assert jobs.ask("job") == choice
        finally:
            interrupts.let_go()

    def test_without_a_terminal_a_job_is_left_running(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(self.Keyboard, "isatty", lambda _: False)
        monkeypatch.setattr("sys.stdin", self.Keyboard())
        assert jobs.ask("job") == "leave"
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "shown"), [(95, "95 s"), (720, "12 min"), (12600, "3.5 h")])
def test_times_are_for_people(seconds: float, shown: str) -> None:
    assert jobs.minutes(seconds) == shown


@pytest.mark.proof
class TestTheRealThing:
    """The container's own entry points at work; half a minute for each training."""

    TINY: Any = ("-m", "yolox-nano", "--input-width", 64, "--batch", 4, "--workers", 1,
                 "--plain-epochs", 0, "--warmup-steps", 2)  # fmt: skip

    def test_train_is_interrupted_and_ends_as_if_nothing_had_happened(
        self, call: Call, made: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from motrail.sagemaker.rehearsal import Rehearsal

        class Unlucky(Rehearsal):
            def __init__(self, *words: Any, **more: Any) -> None:
                super().__init__(*words, **more)
                self.interrupt_training(after_epochs=1)

        monkeypatch.setattr("motrail.sagemaker.rehearsal.Rehearsal", Unlucky)
        words = ("--epochs", 2, "-o", "run")
        code, out, err = call("train", made / "data", *self.TINY, *words)
        assert code == 0
        assert "— Interrupted" in err
        assert "— Completed" in err
        assert "beginning anew" in err.split("— Interrupted")[0]
        assert "beginning anew" not in err.split("— Interrupted")[1]
        steps = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
        assert {row["epoch"] for row in steps} == {1, 2}
        assert Path("run/model.tar.gz").is_file()
        assert "written" in out

    def test_tune(self, call: Call, made: Path, tmp_path: Path) -> None:
        (tmp_path / "my.toml").write_text(
            "[search]\nflip = { low = 0, high = 1 }\nscale = [[0.5, 1.5], [0.8, 1.25]]\n"
        )
        words = ("--epochs", 1, "--trials", 3, "--parallel", 2, "-c", "my.toml", "-o", "run")
        code, out, err = call("tune", made / "data", *self.TINY, *words)
        assert code == 0
        assert {line.split()[0] for line in out.splitlines()[1:4]} == {"1", "2", "3"}
        assert err.count("Completed, AP") == 3
        assert Path("run/model.tar.gz").is_file()
