"""Tuning at SageMaker: what is searched, how trials are told of, and the best brought home."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models import write_archive, write_bundle
from motrail.config import Choice, Range
from motrail.errors import ConfigError
from motrail.sagemaker.training import TrainingPlan
from motrail.sagemaker.tuning import TuningPlan, attach, order_for, sentence, trials_of, tune
from motrail.sagemaker.watch import JobError, LeftError
from sagemaker_jobs import PROJECT, Ears, FakeCloud, settings, silent, squares

if TYPE_CHECKING:
    from collections.abc import Mapping

RANGES: Any = {"learning_rate": Range(0.001, 0.1, log=True), "batch": Choice((4, 8))}
GOAL = {"HyperParameterTuningJobObjective": {"MetricName": "validation:AP", "Type": "Maximize"}}
BEST = {"TrainingJobName": "trial-b"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("made") / "data")


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def cloud(tmp_path: Path) -> FakeCloud:
    cloud = FakeCloud(tmp_path / "s3")
    place = cloud.path("s3://motrail-bucket/tuning/job/trial-b/output/model.tar.gz")
    place.parent.mkdir(parents=True)
    folder = write_bundle(tmp_path / "bundle")
    write_archive(place, {path.name: path.read_bytes() for path in folder.iterdir()})
    cloud.plant(
        "DescribeTrainingJob",
        {
            "TrainingJobName": "trial-b",
            "TrainingJobStatus": "Completed",
            "ModelArtifacts": {
                "S3ModelArtifacts": ("s3://motrail-bucket/tuning/job/trial-b/output/model.tar.gz")
            },
        },
    )
    return cloud


def described(status: str, **more: Any) -> Mapping[str, Any]:
    return {
        "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningJobConfig": GOAL,
        **more,
    }


def summary(name: str, status: str, value: float | None = None, **more: Any) -> dict[str, Any]:
    found = {
        "TrainingJobName": name,
        "TrainingJobStatus": status,
        "TunedHyperParameters": {"learning_rate": "0.012345678901", "batch": "4"},
    }
    if value is not None:
        metric = {"MetricName": "validation:AP", "Value": value}
        found["FinalHyperParameterTuningJobObjectiveMetric"] = metric
    return found | more


class TestOrder:
    def plan(self, **changes: Any) -> TuningPlan:
        training = TrainingPlan(Path("data"), "yolox-nano", {"epochs": 7, "batch": 8})
        return TuningPlan(training, **({"ranges": RANGES} | changes))

    def test_a_trial_keeps_its_best_by_the_goal(self) -> None:
        order = order_for(self.plan(goal="hota"), "job", PROJECT)
        assert order.training.hyperparameters["best_by"] == '"hota"'
        assert order.training.hyperparameters["epochs"] == "7"
        assert order.epochs == 7

    def test_epochs_are_said_even_when_nobody_chose_them(self) -> None:
        # Hyperband divides them.
        plan = TuningPlan(TrainingPlan(Path("data")), RANGES)
        assert order_for(plan, "job", PROJECT).training.hyperparameters["epochs"] == "100"

    def test_without_ranges_it_searches_what_tune_detector_does(self) -> None:
        ranges = order_for(self.plan(ranges=None), "job", PROJECT).ranges
        # From 0.02, at a batch of 8, a fourth of it to four times as much.
        assert ranges["learning_rate"] == Range(0.005, 0.08, log=True)
        assert list(ranges) == ["mosaic", "scale", "learning_rate", "weight_decay", "average_decay"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"jobs": 0}, "--trials: expected 1 or more, found 0"),
            ({"parallel": 0}, "--parallel: expected 1 or more, found 0"),
        ],
    )
    def test_numbers_that_make_no_sense(self, changes: dict[str, int], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            order_for(self.plan(**changes), "job", PROJECT)


class TestTune:
    def run(self, cloud: FakeCloud, dataset: Path, output: Path | None, ears: Ears) -> Any:
        training = TrainingPlan(dataset, "yolox-nano", {"epochs": 2})
        plan = TuningPlan(training, RANGES, jobs=3, parallel=2)
        return tune(cloud, PROJECT, settings(), plan, output, ears.watcher(), progress=silent)

    def test_trials_are_told_of_and_the_best_comes_home(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        cloud.plant(
            "DescribeHyperParameterTuningJob",
            described("InProgress"),
            described("Completed", BestTrainingJob=BEST),
        )
        cloud.plant(
            "ListTrainingJobsForHyperParameterTuningJob",
            {"TrainingJobSummaries": [summary("trial-a", "InProgress")]},
            {
                "TrainingJobSummaries": [
                    summary("trial-a", "Failed", FailureReason="no memory"),
                    summary("trial-b", "Completed", 0.5),
                ]
            },
        )
        ears = Ears()
        tuned = self.run(cloud, dataset, tmp_path / "run", ears)
        assert (tuned.status, tuned.goal, tuned.best) == ("Completed", "AP", 2)
        assert (tmp_path / "run" / "model.tar.gz").is_file()
        assert ears.lines[2:] == [
            "— trial 1 InProgress (learning_rate 0.01235, batch 4)",
            "— trial 1 Failed: no memory (learning_rate 0.01235, batch 4)",
            "— trial 2 Completed, AP 0.5 (learning_rate 0.01235, batch 4)",
        ]

    def test_the_quota_is_for_all_trials_at_a_time(
        self, cloud: FakeCloud, dataset: Path, tmp_path: Path
    ) -> None:
        name = "ml.g6e.2xlarge for spot training job usage"
        quota = {"QuotaName": name, "QuotaCode": "L-1194F27D", "Value": 1.0, "Adjustable": True}
        cloud.plant("ListServiceQuotas", {"Quotas": [quota]})
        with pytest.raises(ConfigError, match="may use 1 at a time in eu-west-1, and 2 are needed"):
            self.run(cloud, dataset, None, Ears())

    def test_without_a_good_trial_it_failed(self, cloud: FakeCloud, tmp_path: Path) -> None:
        cloud.plant(
            "DescribeHyperParameterTuningJob",
            described("Failed", FailureReason="No training job succeeded"),
        )
        cloud.plant("ListTrainingJobsForHyperParameterTuningJob", {"TrainingJobSummaries": []})
        with pytest.raises(JobError, match="job job failed: No training job succeeded"):
            attach(cloud, "job", tmp_path / "run", Ears().watcher())

    def test_a_stopped_job_has_a_best_all_the_same(self, cloud: FakeCloud, tmp_path: Path) -> None:
        cloud.plant("DescribeHyperParameterTuningJob", described("Stopped", BestTrainingJob=BEST))
        summaries = {"TrainingJobSummaries": [summary("trial-b", "Completed", 0.25)]}
        cloud.plant("ListTrainingJobsForHyperParameterTuningJob", summaries)
        tuned = attach(cloud, "job", tmp_path / "run", Ears().watcher())
        assert (tuned.status, tuned.best) == ("Stopped", 1)

    def test_ctrl_c_may_stop_it(self, cloud: FakeCloud, tmp_path: Path) -> None:
        def interrupted(_request: object) -> Any:
            raise KeyboardInterrupt

        cloud.plant("DescribeHyperParameterTuningJob", interrupted)
        with pytest.raises(LeftError, match="job job is told to stop"):
            attach(cloud, "job", tmp_path / "run", Ears("stop").watcher())
        assert cloud.asked("StopHyperParameterTuningJob") == [
            {"HyperParameterTuningJobName": "job"}
        ]


def test_settings_that_are_no_numbers_are_shown_as_they_are(cloud: FakeCloud) -> None:
    cloud.plant(
        "ListTrainingJobsForHyperParameterTuningJob",
        {
            "TrainingJobSummaries": [
                summary("a", "Stopped")
                | {"TunedHyperParameters": {"scale": "[0.5, 1.5]", "x": "y"}}
            ]
        },
    )
    (trial,) = trials_of(cloud, "job")
    assert sentence(trial, "AP") == "— trial 1 Stopped (scale [0.5, 1.5], x y)"
