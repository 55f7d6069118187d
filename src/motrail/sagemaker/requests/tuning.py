"""Requests about hyperparameter tuning jobs: plain data in and a `Request` out.

Source: the SageMaker API reference, "CreateHyperParameterTuningJob", and the developer guide,
"Define hyperparameter ranges" and "Run a warm start hyperparameter tuning job".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from motrail.config import Choice
from motrail.errors import ConfigError
from motrail.sagemaker.request import Request
from motrail.sagemaker.requests.training import (
    TrainingOrder,
    algorithm,
    channels,
    instance_types,
    surroundings,
    toml_value,
    volume_key,
)

if TYPE_CHECKING:
    from motrail.config import Range, Ranges, SageMakerSettings
    from motrail.sagemaker.project import Project

Strategy = Literal["Bayesian", "Random", "Hyperband"]
WarmStart = Literal["IdenticalDataAndAlgorithm", "TransferLearning"]

GOALS = {"ap": "validation:AP", "ap50": "validation:AP50", "hota": "validation:HOTA"}
"""Value of `best_by` → the metric that is to be as high as possible."""
MAX_VALUES = 30
"""Values that a choice may have."""
_MAX_PARENTS = 5


@dataclass(frozen=True)
class TuningOrder:
    """What a tuning job is to do.

    Attributes:
        training: What every trial does; the name is the tuning job's.
        ranges: What is searched, by key of `[train]`.
        goal: `ap`, `ap50` or `hota`, to be maximised.
        strategy: How settings are chosen.
        jobs: Trials in all.
        parallel: Trials at a time.
        epochs: Of a trial; Hyperband gives a trial up to as many.
        early_stopping: Whether trials that do badly are stopped.
        parents: Tuning jobs to start from.
        warm_start: What those have in common with this one.
        seed: The same gives the same first settings.
    """

    training: TrainingOrder
    ranges: Ranges
    goal: str = "ap"
    strategy: Strategy = "Bayesian"
    jobs: int = 20
    parallel: int = 2
    epochs: int = 100
    early_stopping: bool = True
    parents: tuple[str, ...] = ()
    warm_start: WarmStart = "IdenticalDataAndAlgorithm"
    seed: int | None = None


def create_tuning_job(order: TuningOrder, project: Project, settings: SageMakerSettings) -> Request:
    """A tuning job whose trials are training jobs from the project's image.

    Raises:
        ConfigError: A range cannot be written as SageMaker takes ranges.
    """
    parameters: dict[str, Any] = {
        "HyperParameterTuningJobName": order.training.name,
        "HyperParameterTuningJobConfig": _config(order),
        "TrainingJobDefinition": _definition(order, project, settings),
        "Tags": project.tags(job=order.training.name),
    }
    if order.parents:
        if len(order.parents) > _MAX_PARENTS:
            raise ConfigError(
                f"--warm-start: expected at most {_MAX_PARENTS} jobs, found {len(order.parents)}"
            )
        parameters["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [
                {"HyperParameterTuningJobName": name} for name in order.parents
            ],
            "WarmStartType": order.warm_start,
        }
    return Request("sagemaker", "CreateHyperParameterTuningJob", parameters)


def describe_tuning_job(name: str) -> Request:
    """How a tuning job is doing."""
    return Request(
        "sagemaker", "DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": name}
    )


def list_trials(name: str) -> Request:
    """The training jobs of a tuning job, in the order they were made."""
    return Request(
        "sagemaker",
        "ListTrainingJobsForHyperParameterTuningJob",
        {
            "HyperParameterTuningJobName": name,
            "SortBy": "CreationTime",
            "SortOrder": "Ascending",
            "MaxResults": 100,
        },
    )


def stop_tuning_job(name: str) -> Request:
    """Have a tuning job and its trials end."""
    return Request(
        "sagemaker", "StopHyperParameterTuningJob", {"HyperParameterTuningJobName": name}
    )


def parameter_ranges(ranges: Ranges) -> tuple[dict[str, Any], dict[str, str]]:
    """Ranges as SageMaker takes them.

    SageMaker knows no steps, so a range in steps becomes a choice; one whose ends are the same is
    no range there and becomes a fixed value.

    Returns:
        `ParameterRanges`, and the values that are fixed.

    Raises:
        ConfigError: A choice would have more than 30 values.
    """
    integers: list[dict[str, Any]] = []
    continuous: list[dict[str, Any]] = []
    categorical: list[dict[str, Any]] = []
    fixed: dict[str, str] = {}
    for key, values in ranges.items():
        if not isinstance(values, Choice) and _is_smooth(values):
            (integers if values.whole else continuous).append(_range(key, values))
            continue
        choices = _choices(key, values)
        if len(choices) == 1:
            fixed[key] = choices[0]
        else:
            categorical.append({"Name": key, "Values": choices})
    found = {
        "IntegerParameterRanges": integers,
        "ContinuousParameterRanges": continuous,
        "CategoricalParameterRanges": categorical,
    }
    return {kind: some for kind, some in found.items() if some}, fixed


def _is_smooth(values: Range) -> bool:
    """Whether it stays a range: without steps, and with more than one value."""
    step = values.step is None or (values.whole and values.step == 1)
    return step and values.low < values.high


def _choices(key: str, values: Range | Choice) -> list[str]:
    if isinstance(values, Choice):
        found = list(values.values)
    else:
        step = values.step or 1.0
        count = round((values.high - values.low) / step) + 1
        _check_count(key, count)
        numbers = (values.low + index * step for index in range(count))
        found = [int(n) if values.whole else float(f"{n:.12g}") for n in numbers]
    _check_count(key, len(found))
    return [toml_value(value) for value in found]


def _check_count(key: str, count: int) -> None:
    if count > MAX_VALUES:
        raise ConfigError(
            f"[search] {key}: expected at most {MAX_VALUES} values to choose from, as SageMaker "
            f"takes no more, found {count}; take larger steps, or leave out step"
        )


def _range(key: str, values: Range) -> dict[str, str]:
    low, high = (int(n) if values.whole else float(n) for n in (values.low, values.high))
    return {
        "Name": key,
        "MinValue": toml_value(low),
        "MaxValue": toml_value(high),
        "ScalingType": "Logarithmic" if values.log else "Linear",
    }


def _config(order: TuningOrder) -> dict[str, Any]:
    hyperband = order.strategy == "Hyperband"
    ranges, _ = parameter_ranges(order.ranges)
    found: dict[str, Any] = {
        "Strategy": order.strategy,
        "HyperParameterTuningJobObjective": {
            "Type": "Maximize",
            "MetricName": GOALS[order.goal],
        },
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": order.jobs,
            "MaxParallelTrainingJobs": min(order.parallel, order.jobs),
        },
        "ParameterRanges": ranges,
        # Hyperband stops trials itself and allows for no other way.
        "TrainingJobEarlyStoppingType": "Auto" if order.early_stopping and not hyperband else "Off",
    }
    if hyperband:
        found["StrategyConfig"] = {
            "HyperbandStrategyConfig": {
                "MinResource": max(math.ceil(order.epochs / 10), 1),
                "MaxResource": order.epochs,
            }
        }
    if order.seed is not None:
        found["RandomSeed"] = order.seed
    return found


def _definition(
    order: TuningOrder, project: Project, settings: SageMakerSettings
) -> dict[str, Any]:
    _, fixed = parameter_ranges(order.ranges)
    static = dict(order.training.hyperparameters) | fixed
    tuned = order.ranges.keys() - fixed.keys()
    output = {"S3OutputPath": project.uri("tuning", order.training.name)}
    if settings.kms_key is not None:
        output["KmsKeyId"] = settings.kms_key
    return {
        "StaticHyperParameters": {k: v for k, v in static.items() if k not in tuned},
        "AlgorithmSpecification": algorithm(project, order.training.input_mode),
        "InputDataConfig": channels(order.training),
        "OutputDataConfig": output,
        "HyperParameterTuningResourceConfig": _resources(order.training.instances, settings),
    } | surroundings(project, settings)


def _resources(instances: int, settings: SageMakerSettings) -> dict[str, Any]:
    types = instance_types(settings)
    one = {"InstanceCount": instances, "VolumeSizeInGB": settings.volume_gib}
    found: dict[str, Any] = {"InstanceType": types[0], **one}
    if len(types) > 1:
        found = {
            "AllocationStrategy": "Prioritized",
            "InstanceConfigs": [{"InstanceType": kind, **one} for kind in types],
        }
    key = volume_key(types, settings)
    return found if key is None else found | {"VolumeKmsKeyId": key}
