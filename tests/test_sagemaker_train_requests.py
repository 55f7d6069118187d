"""Requests of training and tuning jobs, held to what AWS's documentation asks for."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from motrail.config import Choice, Range, TrainSettings
from motrail.errors import ConfigError
from motrail.sagemaker.container.hyperparameters import Order, read_order
from motrail.sagemaker.requests.training import (
    METRICS,
    TrainingOrder,
    create_training_job,
    hyperparameters,
    toml_value,
)
from motrail.sagemaker.requests.tuning import (
    TuningOrder,
    create_tuning_job,
    parameter_ranges,
)
from motrail.sagemaker.rules import check
from sagemaker_jobs import KEY, PROJECT, settings

if TYPE_CHECKING:
    from pathlib import Path

LINE = "motrail: epoch=3 AP=0.4123 AP50=0.7012 HOTA=51.2 loss=2.31"
ORDER = TrainingOrder(
    "motrail-train-1", {"model": "yolox-nano", "epochs": "3"}, "s3://motrail-bucket/datasets/data"
)


def training(order: TrainingOrder = ORDER, **changes: Any) -> dict[str, Any]:
    request = create_training_job(order, PROJECT, settings(**changes))
    check(request)
    return request.parameters


def tuning(**changes: Any) -> dict[str, Any]:
    ranges: Any = {"learning_rate": Range(0.001, 0.1, log=True), "batch": Choice((4, 8))}
    given: Any = {"ranges": ranges, "epochs": 20} | changes
    order = TuningOrder(ORDER, **given)
    request = create_tuning_job(order, PROJECT, settings())
    check(request)
    return request.parameters


class TestMetrics:
    def test_each_regex_finds_its_own_value_in_the_line_of_the_container(self) -> None:
        found = {name: re.findall(pattern, LINE) for name, pattern in METRICS.items()}
        assert found == {
            "validation:AP": ["0.4123"],
            "validation:AP50": ["0.7012"],
            "validation:HOTA": ["51.2"],
            "train:loss": ["2.31"],
        }

    def test_a_value_that_is_not_there_is_not_found(self) -> None:
        line = "motrail: epoch=3 AP50=0.7012 loss=1.5e-05"
        assert re.search(METRICS["validation:AP"], line) is None
        assert re.search(METRICS["validation:HOTA"], line) is None
        loss = re.search(METRICS["train:loss"], line)
        assert loss is not None
        assert float(loss[1]) == 1.5e-05

    @pytest.mark.parametrize(
        "line",
        [
            "epoch=3/10 AP=41.23 AP50=70.12 loss=2.31",
            "epoch 3, step 10 of 20, loss=2.31",
            "motrail: best AP=0.5",
            "motrail: epoch=3 loss=nan",
        ],
    )
    def test_other_lines_of_the_log_say_nothing(self, line: str) -> None:
        assert not [name for name, pattern in METRICS.items() if re.search(pattern, line)]

    def test_quotas_of_createtrainingjob_are_kept(self) -> None:
        definitions = training()["AlgorithmSpecification"]["MetricDefinitions"]
        assert len(definitions) <= 40
        assert all(1 <= len(one["Regex"]) <= 500 for one in definitions)


class TestTraining:
    def test_spot_has_checkpoints_and_waits_at_least_as_long_as_it_runs(self) -> None:
        found = training(max_hours=1.5, max_wait_hours=2.0)
        assert found["EnableManagedSpotTraining"] is True
        assert found["StoppingCondition"] == {
            "MaxRuntimeInSeconds": 5400,
            "MaxWaitTimeInSeconds": 7200,
        }
        assert found["CheckpointConfig"] == {
            "S3Uri": "s3://motrail-bucket/training/motrail-train-1/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        }

    def test_spot_takes_one_type_because_preferences_exclude_it(self) -> None:
        resources = training(training_fallbacks=("ml.g5.2xlarge",))["ResourceConfig"]
        assert resources["InstanceType"] == "ml.g6e.2xlarge"
        assert "InstancePreferences" not in resources

    def test_on_demand_takes_fallbacks_in_order_with_one_count(self) -> None:
        order = TrainingOrder("job", {"model": "yolox-s"}, "s3://motrail-bucket/data", instances=4)
        found = training(order, spot=False, training_fallbacks=("ml.g5.2xlarge", "ml.g5.4xlarge"))
        assert found["ResourceConfig"] == {
            "InstanceCount": 4,
            "VolumeSizeInGB": 50,
            "InstancePreferences": [
                {"InstanceType": "ml.g6e.2xlarge"},
                {"InstanceType": "ml.g5.2xlarge"},
                {"InstanceType": "ml.g5.4xlarge"},
            ],
        }
        assert found["EnableManagedSpotTraining"] is False
        assert found["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}

    def test_an_instance_type_appears_once_and_five_are_the_most(self) -> None:
        more = ("ml.g6e.2xlarge", "ml.g5.xlarge", "ml.g5.2xlarge", "ml.g5.4xlarge",
                "ml.g5.8xlarge", "ml.g5.16xlarge")  # fmt: skip
        found = training(spot=False, training_fallbacks=more)["ResourceConfig"]
        types = [one["InstanceType"] for one in found["InstancePreferences"]]
        assert types == ["ml.g6e.2xlarge", *more[1:5]]

    def test_channels_end_with_a_slash_so_that_no_other_folder_fits_the_prefix(self) -> None:
        order = TrainingOrder(
            "job",
            {"model": "yolox-s"},
            "s3://motrail-bucket/datasets/data",
            "s3://motrail-bucket/training/job/weights",
            "FastFile",
        )
        channels = training(order)["InputDataConfig"]
        assert [
            (c["ChannelName"], c["DataSource"]["S3DataSource"]["S3Uri"], c["InputMode"])
            for c in channels
        ] == [
            ("dataset", "s3://motrail-bucket/datasets/data/", "FastFile"),
            ("weights", "s3://motrail-bucket/training/job/weights/", "File"),
        ]
        assert {c["DataSource"]["S3DataSource"]["S3DataDistributionType"] for c in channels} == {
            "FullyReplicated"
        }

    def test_keys_and_network_come_from_the_settings(self) -> None:
        found = training(
            training_instance="ml.m5.xlarge",
            kms_key=KEY,
            subnets=("subnet-0a1b2c3d",),
            security_groups=("sg-0a1b2c3d",),
        )
        assert found["OutputDataConfig"]["KmsKeyId"] == KEY
        assert found["ResourceConfig"]["VolumeKmsKeyId"] == KEY
        assert found["VpcConfig"] == {
            "SecurityGroupIds": ["sg-0a1b2c3d"],
            "Subnets": ["subnet-0a1b2c3d"],
        }

    def test_disks_of_the_instance_itself_take_no_key(self) -> None:
        found = training(training_instance="ml.g5.2xlarge", kms_key=KEY)
        assert "VolumeKmsKeyId" not in found["ResourceConfig"]
        assert found["OutputDataConfig"]["KmsKeyId"] == KEY

    def test_everything_is_tagged_with_the_project(self) -> None:
        assert {"Key": "motrail:project", "Value": "motrail"} in training()["Tags"]


class TestHyperparameters:
    def test_the_container_reads_back_what_was_meant(self, tmp_path: Path) -> None:
        train: dict[str, Any] = {
            "epochs": 30,
            "learning_rate": 1e-05,
            "scale": (0.5, 1.5),
            "best_by": "hota",
            "freeze_statistics": True,
        }
        texts = hyperparameters(
            "yolox-nano", train, classes=("player", "ball"), names={"person": "player"}
        )
        assert all(type(text) is str for text in texts.values())
        (tmp_path / "hyperparameters.json").write_text(json.dumps(texts))
        order = read_order(tmp_path, {})
        assert order == Order(
            "yolox-nano", ("player", "ball"), ("person=player",), None, dict(order.settings)
        )
        assert TrainSettings(**order.settings) == TrainSettings(**train)

    def test_names_with_commas_and_quotes_go_as_a_list(self, tmp_path: Path) -> None:
        names = ('red, "big" ball', "player")
        texts = hyperparameters("yolox-s", {}, classes=names)
        (tmp_path / "hyperparameters.json").write_text(json.dumps(texts))
        assert read_order(tmp_path, {}).classes == names

    def test_names_to_map_have_no_equals_sign(self) -> None:
        with pytest.raises(ConfigError, match="--map: expected names without an equals sign"):
            hyperparameters("yolox-s", {}, names={"a=b": "c"})

    @pytest.mark.parametrize(
        "value", [30, 1e-9, 0.1, True, "hota", 'ä"\\', (0.5, 1.5), [1, 2], 1e22]
    )
    def test_values_are_toml(self, value: object) -> None:
        read = tomllib.loads(f"value = {toml_value(value)}")["value"]
        assert read == (list(value) if isinstance(value, tuple) else value)


class TestTuning:
    def test_it_maximises_the_goal(self) -> None:
        for goal, metric in {"ap": "AP", "ap50": "AP50", "hota": "HOTA"}.items():
            config = tuning(goal=goal)["HyperParameterTuningJobConfig"]
            assert config["HyperParameterTuningJobObjective"] == {
                "Type": "Maximize",
                "MetricName": f"validation:{metric}",
            }

    def test_the_objective_is_among_the_metrics(self) -> None:
        found = tuning(goal="hota")
        names = [
            one["Name"]
            for one in found["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
        ]
        assert "validation:HOTA" in names

    def test_what_is_searched_is_not_fixed_as_well(self) -> None:
        ranges = {"epochs": Choice((2, 3)), "batch": Range(8, 8, whole=True)}
        static = tuning(ranges=ranges)["TrainingJobDefinition"]["StaticHyperParameters"]
        assert static == {"model": "yolox-nano", "batch": "8"}

    def test_hyperband_stops_trials_itself(self) -> None:
        config = tuning(strategy="Hyperband", epochs=25)["HyperParameterTuningJobConfig"]
        assert config["TrainingJobEarlyStoppingType"] == "Off"
        assert config["StrategyConfig"] == {
            "HyperbandStrategyConfig": {"MinResource": 3, "MaxResource": 25}
        }

    def test_other_strategies_may_stop_early(self) -> None:
        for strategy in ("Bayesian", "Random"):
            config = tuning(strategy=strategy)["HyperParameterTuningJobConfig"]
            assert config["TrainingJobEarlyStoppingType"] == "Auto"
            assert "StrategyConfig" not in config

    def test_no_more_trials_at_a_time_than_there_are(self) -> None:
        config = tuning(jobs=3, parallel=10)["HyperParameterTuningJobConfig"]
        assert config["ResourceLimits"] == {
            "MaxNumberOfTrainingJobs": 3,
            "MaxParallelTrainingJobs": 3,
        }

    def test_it_starts_from_other_jobs(self) -> None:
        found = tuning(parents=("motrail-tune-1", "motrail-tune-2"), warm_start="TransferLearning")
        assert found["WarmStartConfig"] == {
            "ParentHyperParameterTuningJobs": [
                {"HyperParameterTuningJobName": "motrail-tune-1"},
                {"HyperParameterTuningJobName": "motrail-tune-2"},
            ],
            "WarmStartType": "TransferLearning",
        }

    def test_it_starts_from_five_at_most(self) -> None:
        with pytest.raises(ConfigError, match="--warm-start: expected at most 5 jobs, found 6"):
            tuning(parents=("a",) * 6)

    def test_trials_share_no_checkpoints(self) -> None:
        # They would go on with each other's training.
        assert "CheckpointConfig" not in tuning()["TrainingJobDefinition"]

    def test_fallbacks_are_instance_configs_in_order(self) -> None:
        order = TuningOrder(ORDER, {"flip": Range(0, 1)})
        request = create_tuning_job(order, PROJECT, settings(spot=False))
        check(request)
        found = request.parameters["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"]
        assert found == {
            "AllocationStrategy": "Prioritized",
            "InstanceConfigs": [
                {"InstanceType": kind, "InstanceCount": 1, "VolumeSizeInGB": 50}
                for kind in ("ml.g6e.2xlarge", "ml.g5.2xlarge")
            ],
        }


class TestRanges:
    def test_of_each_kind(self) -> None:
        ranges, fixed = parameter_ranges(
            {
                "learning_rate": Range(0.002, 0.05, log=True),
                "flip": Range(0.0, 1.0),
                "warmup_steps": Range(10, 500, whole=True),
                "batch": Range(4, 16, step=4, whole=True),
                "mosaic": Range(0.0, 1.0, step=0.25),
                "scale": Choice(((0.5, 1.5), (0.8, 1.25))),
                "freeze_statistics": Choice((True, False)),
                "momentum": Range(0.9, 0.9),
            }
        )
        assert ranges == {
            "ContinuousParameterRanges": [
                {
                    "Name": "learning_rate",
                    "MinValue": "0.002",
                    "MaxValue": "0.05",
                    "ScalingType": "Logarithmic",
                },
                {"Name": "flip", "MinValue": "0.0", "MaxValue": "1.0", "ScalingType": "Linear"},
            ],
            "IntegerParameterRanges": [
                {
                    "Name": "warmup_steps",
                    "MinValue": "10",
                    "MaxValue": "500",
                    "ScalingType": "Linear",
                }
            ],
            "CategoricalParameterRanges": [
                {"Name": "batch", "Values": ["4", "8", "12", "16"]},
                {"Name": "mosaic", "Values": ["0.0", "0.25", "0.5", "0.75", "1.0"]},
                {"Name": "scale", "Values": ["[0.5, 1.5]", "[0.8, 1.25]"]},
                {"Name": "freeze_statistics", "Values": ["true", "false"]},
            ],
        }
        assert fixed == {"momentum": "0.9"}

    def test_steps_of_one_are_whole_numbers(self) -> None:
        ranges, _ = parameter_ranges({"batch": Range(1, 1000, step=1, whole=True)})
        assert list(ranges) == ["IntegerParameterRanges"]

    def test_too_many_steps_are_refused_before_they_are_counted_out(self) -> None:
        with pytest.raises(
            ConfigError,
            match=r"\[search\] flip: expected at most 30 values .* found 1000001; take larger",
        ):
            parameter_ranges({"flip": Range(0.0, 1.0, step=1e-6)})

    def test_tenths_stay_tenths(self) -> None:
        ranges, _ = parameter_ranges({"flip": Range(0.0, 0.3, step=0.1)})
        assert ranges["CategoricalParameterRanges"][0]["Values"] == ["0.0", "0.1", "0.2", "0.3"]
