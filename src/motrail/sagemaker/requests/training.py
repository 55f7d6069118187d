"""Requests about training jobs: pure functions, plain data in and a `Request` out.

What the fields mean and which go together is from the SageMaker API reference, "CreateTrainingJob",
and the developer guide, "Instance preference lists for training jobs".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from motrail.errors import ConfigError
from motrail.sagemaker.request import Request
from motrail.sagemaker.requests.instances import has_local_disk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motrail.config import SageMakerSettings
    from motrail.sagemaker.project import Project

InputMode = Literal["File", "FastFile"]

CHECKPOINTS = "/opt/ml/checkpoints"
DATASET, WEIGHTS = "dataset", "weights"
"""Names of the channels, and so of the folders below `/opt/ml/input/data`."""

_NUMBER = r"([0-9.]+(?:e[-+]?[0-9]+)?)"
METRICS = {
    name: rf"motrail: epoch=[0-9]+ .*{word}={_NUMBER}"
    for name, word in {
        "validation:AP": "AP",
        "validation:AP50": "AP50",
        "validation:HOTA": "HOTA",
        "train:loss": "loss",
    }.items()
}
"""Metric → regex that finds its value in the container's log line

`motrail: epoch=3 AP=0.4123 AP50=0.7012 HOTA=51.2 loss=2.31`

No other line of a log has that beginning; `AP=` is not in `AP50=`."""
_HOUR = 3600


@dataclass(frozen=True)
class TrainingOrder:
    """What a training job is to do, as far as it differs from one to the next.

    Attributes:
        name: Of the job.
        hyperparameters: As the container takes them; see `hyperparameters`.
        dataset: `s3://` prefix of the dataset folder.
        weights: `s3://` prefix of the folder with the one file to start from.
        input_mode: `File` copies the dataset to the instance first, `FastFile` streams it.
        instances: How many of them.
    """

    name: str
    hyperparameters: Mapping[str, str]
    dataset: str
    weights: str | None = None
    input_mode: InputMode = "File"
    instances: int = 1


def create_training_job(
    order: TrainingOrder, project: Project, settings: SageMakerSettings
) -> Request:
    """A training job from the project's image.

    With spot instances there is one type of instance: SageMaker takes a list of types
    (`InstancePreferences`) for on-demand instances only.
    """
    return Request(
        "sagemaker",
        "CreateTrainingJob",
        {
            "TrainingJobName": order.name,
            "HyperParameters": dict(order.hyperparameters),
            "AlgorithmSpecification": algorithm(project, order.input_mode),
            "InputDataConfig": channels(order),
            "OutputDataConfig": _encrypted(
                {"S3OutputPath": project.uri("training")}, "KmsKeyId", settings.kms_key
            ),
            "ResourceConfig": _resources(order.instances, settings),
            "CheckpointConfig": {
                "S3Uri": project.uri("training", order.name, "checkpoints"),
                "LocalPath": CHECKPOINTS,
            },
            "Tags": project.tags(job=order.name),
        }
        | surroundings(project, settings),
    )


def describe_training_job(name: str) -> Request:
    """How a training job is doing."""
    return Request("sagemaker", "DescribeTrainingJob", {"TrainingJobName": name})


def stop_training_job(name: str) -> Request:
    """Have a training job end within two minutes."""
    return Request("sagemaker", "StopTrainingJob", {"TrainingJobName": name})


def list_running_training_jobs() -> Request:
    """All training jobs of the account and region that are under way."""
    return Request("sagemaker", "ListTrainingJobs", {"StatusEquals": "InProgress"})


def algorithm(project: Project, input_mode: InputMode) -> dict[str, Any]:
    """`AlgorithmSpecification` of training jobs and of the trials of a tuning job."""
    return {
        "TrainingImage": project.training_image,
        "TrainingInputMode": input_mode,
        "MetricDefinitions": [
            {"Name": name, "Regex": pattern} for name, pattern in METRICS.items()
        ],
    }


def channels(order: TrainingOrder) -> list[dict[str, Any]]:
    """`InputDataConfig`: the dataset, and the weights to start from if there are some."""
    places = {DATASET: (order.dataset, order.input_mode)}
    if order.weights is not None:
        places[WEIGHTS] = (order.weights, "File")
    return [
        {
            "ChannelName": name,
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    # A prefix is one of keys: without the slash `data` would also bring `data2`.
                    "S3Uri": f"{uri.rstrip('/')}/",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
            "InputMode": mode,
        }
        for name, (uri, mode) in places.items()
    ]


def surroundings(project: Project, settings: SageMakerSettings) -> dict[str, Any]:
    """The fields that training jobs and the trials of a tuning job have in common."""
    stopping = {"MaxRuntimeInSeconds": round(settings.max_hours * _HOUR)}
    if settings.spot:
        stopping["MaxWaitTimeInSeconds"] = round(settings.max_wait_hours * _HOUR)
    found: dict[str, Any] = {
        "RoleArn": project.training_role,
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": settings.spot,
        # The container needs no more than its channels.
        "EnableNetworkIsolation": True,
    }
    if settings.subnets:
        found["VpcConfig"] = {
            "SecurityGroupIds": list(settings.security_groups),
            "Subnets": list(settings.subnets),
        }
    return found


def instance_types(settings: SageMakerSettings) -> tuple[str, ...]:
    """The types a job may run on, in the order of preference; with spot instances there is one."""
    more = () if settings.spot else settings.training_fallbacks
    return tuple(dict.fromkeys((settings.training_instance, *more)))[:5]


def volume_key(types: Sequence[str], settings: SageMakerSettings) -> str | None:
    """The KMS key of the disks; None where a type of instance encrypts its own by hardware."""
    return None if any(map(has_local_disk, types)) else settings.kms_key


def _resources(instances: int, settings: SageMakerSettings) -> dict[str, Any]:
    types = instance_types(settings)
    found: dict[str, Any] = {
        "InstanceCount": instances,
        "VolumeSizeInGB": settings.volume_gib,
    }
    if len(types) > 1:
        found["InstancePreferences"] = [{"InstanceType": one} for one in types]
    else:
        found["InstanceType"] = types[0]
    return _encrypted(found, "VolumeKmsKeyId", volume_key(types, settings))


def _encrypted(config: dict[str, Any], field: str, key: str | None) -> dict[str, Any]:
    return config if key is None else config | {field: key}


def hyperparameters(
    model: str,
    train: Mapping[str, Any],
    *,
    classes: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    preset: str | None = None,
) -> dict[str, str]:
    """What the container is to train, all of it text.

    Args:
        model: Such as `yolox-s`.
        train: Settings of `[train]` by name, those that are to differ from the defaults.
        classes: Names of the classes to learn.
        names: What a class of the dataset is called in `classes`.
        preset: How the network of the weights wants its pictures.

    Raises:
        ConfigError: A name in `names` has an equals sign in it.
    """
    found = {"model": model}
    if classes:
        found["classes"] = _list(classes)
    if names:
        found["map"] = _list([f"{_whole(a)}={_whole(b)}" for a, b in names.items()])
    if preset is not None:
        found["preset"] = preset
    return found | {key: toml_value(value) for key, value in train.items() if value is not None}


def toml_value(value: Any) -> str:
    """A setting as TOML writes its value: `30`, `0.01`, `true`, `"hota"`, `[0.5, 1.5]`."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    # JSON's numbers, words and texts are TOML's too, but for a sign of the exponent.
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _list(words: Sequence[str]) -> str:
    """Words divided by commas; as a list of TOML where they have commas or quotes themselves."""
    return toml_value(tuple(words)) if re.search(r'[,"\'\[]', "".join(words)) else ",".join(words)


def _whole(name: str) -> str:
    if "=" in name:
        raise ConfigError(f"--map: expected names without an equals sign, found {name!r}")
    return name
