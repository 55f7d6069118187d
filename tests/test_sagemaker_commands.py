"""What the commands of `motrail sagemaker` have in common: help, advice and traces."""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import TYPE_CHECKING

import pytest

from commands import caller
from models import write_bundle
from motrail.cli.app import run
from motrail.config import SageMakerSettings
from motrail.config.layers import OTHER_VARIABLES, environment_layer
from motrail.errors import MotrailError
from motrail.sagemaker.container.places import ROOT_VARIABLE
from motrail.sagemaker.errors import lacks_instances
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.watch import JobError
from sagemaker_jobs import squares
from sagemaker_rehearsing import log_lines, rehearse, train
from sagemaker_shapes import CheckedRehearsal

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Call

KEY = "AKIAPLANTEDPLANTED42"
EVERYWHERE = {"stack", "region", "profile"}
NETWORK = {"kms_key", "subnets", "security_groups"}
JOBS = {"max_hours", "volume_gib", *NETWORK}
TRAINING = JOBS | {"training_instance", "training_fallbacks", "spot", "max_wait_hours"}
USED = {
    "setup": NETWORK,
    "build": {"serving_instance"},
    "label": {"workteam", "kms_key"},
    "train": TRAINING,
    "tune": TRAINING,
    "deploy realtime": {"serving_instance", *NETWORK},
    "deploy serverless": {"kms_key"},
    "deploy async": {"serving_instance", *NETWORK},
    "deploy delete": set(),
    "invoke": set(),
    "batch": JOBS | {"processing_instance"},
    "edge": set(),
    "status": set(),
    "cleanup": set(),
}


@pytest.fixture
def call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    """`motrail`, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return caller(capsys)


class TestHelp:
    @pytest.mark.parametrize("command", USED)
    def test_it_tells_of_the_settings_that_the_command_uses(self, call: Call, command: str) -> None:
        text = call("sagemaker", *command.split(), "--help").out
        keys_ = [item.name for item in dataclasses.fields(SageMakerSettings)]
        shown = {key for key in keys_ if re.search(rf"--{key.replace('_', '-')}\b(?!-)", text)}
        assert shown == EVERYWHERE | USED[command]
        assert "motrail config show" in " ".join(text.replace("│", " ").split())
        assert "--rehearse" in text

    def test_the_others_are_taken_all_the_same(self, call: Call) -> None:
        words = ("--volume-gib", 60, "--workteam", "none", "--rehearse", "r")
        result = call("sagemaker", "status", *words)
        assert (result.code, "workteam: expected an ARN" in result.err) == (2, True)


def test_the_root_of_containers_is_no_unknown_setting() -> None:
    assert ROOT_VARIABLE in OTHER_VARIABLES
    assert environment_layer({ROOT_VARIABLE: "/somewhere"}).values == {}


def test_edge_takes_the_flag_that_it_advises(call: Call, tmp_path: Path) -> None:
    model = write_bundle(tmp_path / "spots")
    assert call("sagemaker", "setup", "--yes", "--rehearse", "r").code == 0
    words = ("sagemaker", "edge", model, "--name", "a.b", "--rehearse", "r")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    result = call(*words, "full")
    assert (result.code, "choose another one with -o" in result.err) == (1, True)
    assert call(*words, "-o", "free").code == 0
    assert (tmp_path / "free" / "recipes" / "a.b-1.0.0.json").is_file()
    assert call(*words, "placed").code == 0


class TestCapacity:
    @pytest.mark.parametrize(
        ("error", "lacks"),
        [
            (JobError("job a failed: CapacityError: Unable to provision requested ML"), True),
            (JobError("job a was stopped: there were no spare instances in time; wait"), True),
            (CloudError("no room", code="InsufficientInstanceCapacity"), True),
            (CloudError("no such bucket", code="NoSuchBucket"), False),
            (JobError("job a failed: AlgorithmError: out of memory"), False),
        ],
    )
    def test_which_errors_are_for_want_of_instances(self, error: MotrailError, lacks: bool) -> None:
        assert lacks_instances(error) is lacks

    @pytest.mark.parametrize("command", ["train", "tune"])
    def test_fallbacks_are_told_of_where_there_were_no_instances(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        class Full(CheckedRehearsal):
            def __init__(self, *args: object, **options: object) -> None:
                super().__init__(*args, **options)  # type: ignore[arg-type]
                self.faults.no_capacity.add("ml.g6e.2xlarge")

        assert call("sagemaker", "setup", "--yes", "--rehearse", "r").code == 0
        squares(tmp_path / "data")
        monkeypatch.setattr("motrail.sagemaker.rehearsal.Rehearsal", Full)
        words = ("sagemaker", command, "data", "-m", "yolox-nano", "--rehearse", "r")
        more = ("--trials", 1) if command == "tune" else ()
        result = call(*words, *more, "-o", "out")
        said = " ".join(result.err.split())
        assert result.code == 1
        assert "CapacityError" in said.rpartition("error: ")[2]
        note = "note: spot instances are all ml.g6e.2xlarge; with --no-spot SageMaker takes ml.g5"
        assert note in said
        # Of anything else it is not the reason.
        result = call(*words, "--classes", "other", "-o", "out")
        assert (result.code, "spot instances" in result.err) == (2, False)


class TestTraces:
    def test_what_debug_shows_has_no_secrets(self, call: Call) -> None:
        address = f"https://a.example/b.mp4?X-Amz-Signature=fe5f80f77d&X-Amz-Credential={KEY}"
        for words in (
            ("sagemaker", "invoke", "eye", address, "--rehearse", "r"),
            ("sagemaker", "train", "--attach", f"{KEY}-123456789012", "--rehearse", "r"),
            ("remote", "track", address, "--endpoint", "eye", "--rehearse", "r"),
        ):
            result = call(*words, "--debug")
            assert result.code in (1, 2)
            assert "Traceback (most recent call last)" in result.err
            assert "error: " in result.err
            for secret in (KEY, "fe5f80f77d"):
                assert secret not in result.err
        assert "123456789012" not in result.err

    def test_elsewhere_it_is_pythons(self) -> None:
        with pytest.raises(MotrailError):
            run(["track", "none.mp4", "-m", "none.onnx", "--debug"])

    def test_a_log_shows_paths_as_the_container_has_them(self, tmp_path: Path) -> None:
        script = (
            "import os, pathlib, sys; root = pathlib.Path(os.environ['MOTRAIL_OPT_ML']); "
            "print('at', root / 'model'); "
            "(root / 'output' / 'failure').write_text(f'no {root}/input/data'); sys.exit(1)"
        )
        with rehearse(tmp_path / "cloud") as cloud:
            about = {
                "TrainingImage": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/motrail/train:0.1.0",
                "TrainingInputMode": "File",
                "ContainerEntrypoint": [sys.executable, "-c", script],
            }
            job = train(cloud, "one", AlgorithmSpecification=about)
            assert job["TrainingJobStatus"] == "Failed"
            assert job["FailureReason"] == "AlgorithmError: no /opt/ml/input/data, exit code: 1"
            assert log_lines(cloud, "/aws/sagemaker/TrainingJobs", "one/") == ["at /opt/ml/model"]
