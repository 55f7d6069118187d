"""Rules about training jobs, and about the trials of tuning jobs, which are training jobs too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.requests.instances import has_local_disk
from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown, twice

if TYPE_CHECKING:
    from collections.abc import Iterator

_JOBS = ("CreateTrainingJob", "CreateHyperParameterTuningJob")
_DAY = 86_400
_MAX_RUNTIME = 28 * _DAY
_CHOICES = ("InstanceType", "InstanceGroups", "InstancePreferences", "TrainingPlanArn")
_SELECTED = ("SelectedInstanceType", "SelectedInstanceCount")


def jobs(parameters: Parameters) -> Iterator[tuple[str, dict[str, Any]]]:
    """The training job itself, or those a tuning job defines, each with its path and a dot."""
    definition = parameters.get("TrainingJobDefinition")
    definitions = parameters.get("TrainingJobDefinitions")
    if definition is None and definitions is None:
        yield "", parameters
    if definition is not None:
        yield "TrainingJobDefinition.", definition
    for index, one in enumerate(definitions or ()):
        yield f"TrainingJobDefinitions[{index}].", one


@rule("max-wait", *_JOBS)
def max_wait(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `StoppingCondition.MaxWaitTimeInSeconds`."""
    for where, job in jobs(parameters):
        stopping = job.get("StoppingCondition", {})
        path = f"{where}StoppingCondition.MaxWaitTimeInSeconds"
        wait, runtime = stopping.get("MaxWaitTimeInSeconds"), stopping.get("MaxRuntimeInSeconds")
        if not job.get("EnableManagedSpotTraining", False):
            if wait is not None:
                yield Problem(path, "none without EnableManagedSpotTraining", f"{wait}")
        elif wait is None:
            yield Problem(path, "a limit, as EnableManagedSpotTraining is on", "none")
        elif wait < (runtime or _DAY):
            least = f"at least MaxRuntimeInSeconds ({runtime or _DAY})"
            yield Problem(path, least, f"{wait}")


@rule("max-runtime", *_JOBS)
def max_runtime(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `StoppingCondition.MaxRuntimeInSeconds`: at most 28 days.

    Where there is none a job may run, and cost, for a day; we want it said.
    """
    for where, job in jobs(parameters):
        runtime = job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        path = f"{where}StoppingCondition.MaxRuntimeInSeconds"
        if runtime is None:
            yield Problem(path, "a limit", "none")
        elif runtime > _MAX_RUNTIME:
            yield Problem(path, f"at most {_MAX_RUNTIME} (28 days)", f"{runtime}")


@rule("spot-checkpoints", "CreateTrainingJob")
def spot_checkpoints(parameters: Parameters) -> Iterator[Problem]:
    """Our own rule: a job that may be interrupted keeps checkpoints, or starts from nothing.

    SageMaker developer guide, "Managed spot training", recommends it.
    """
    if parameters.get("EnableManagedSpotTraining") and "CheckpointConfig" not in parameters:
        yield Problem("CheckpointConfig", "a place, as EnableManagedSpotTraining is on", "none")


@rule("instance-choice", *_JOBS)
def instance_choice(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ResourceConfig` and `HyperParameterTrainingJobDefinition`."""
    for where, job in jobs(parameters):
        path = f"{where}ResourceConfig"
        config, flexible = job.get("ResourceConfig"), job.get("HyperParameterTuningResourceConfig")
        if flexible is not None:
            if config is not None:
                yield Problem(path, "none beside HyperParameterTuningResourceConfig", "both")
            yield from _flexible(flexible, f"{where}HyperParameterTuningResourceConfig")
        elif config is None:
            yield Problem(path, "instances to run on", "none")
        else:
            yield from _chosen(config, path)


def _chosen(config: dict[str, Any], path: str) -> Iterator[Problem]:
    given = [name for name in _CHOICES[:3] if name in config]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield Problem(path, "one of InstanceType, InstanceGroups, InstancePreferences", found)
    if "InstanceType" in config and config.get("InstanceCount", 0) < 1:
        yield Problem(f"{path}.InstanceCount", "at least 1", f"{config.get('InstanceCount')}")
    for name in _SELECTED:
        if name in config:
            yield Problem(f"{path}.{name}", "none: it is only ever answered", shown(config[name]))


def _flexible(config: dict[str, Any], path: str) -> Iterator[Problem]:
    several = config.get("InstanceConfigs")
    alone = [name for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB") if name in config]
    if several is not None and alone:
        yield Problem(path, "either InstanceConfigs or one instance type", f"both, {alone[0]}")
    if several is None and len(alone) < 2:
        yield Problem(path, "InstanceConfigs, or InstanceType and InstanceCount", "neither")
    for index, one in enumerate(several if several is not None else [config]):
        if one.get("InstanceCount", 1) < 1:
            where = f"{path}.InstanceConfigs[{index}]" if several is not None else path
            yield Problem(f"{where}.InstanceCount", "at least 1", f"{one['InstanceCount']}")


@rule("instance-preferences", "CreateTrainingJob")
def instance_preferences(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ResourceConfig.InstancePreferences` and `InstancePreference`."""
    config = parameters.get("ResourceConfig", {})
    preferences = config.get("InstancePreferences")
    if preferences is None:
        return
    path = "ResourceConfig.InstancePreferences"
    if parameters.get("EnableManagedSpotTraining"):
        yield Problem(path, "none, as EnableManagedSpotTraining is on", "a list")
    yield from preference_list(config, path)


def preference_list(config: dict[str, Any], path: str) -> Iterator[Problem]:
    """What holds for the preferences of training and of processing jobs alike."""
    preferences = config["InstancePreferences"]
    for name in twice([str(one["InstanceType"]) for one in preferences]):
        yield Problem(path, "each instance type once", f"{name} twice")
    counted = sum("InstanceCount" in one for one in preferences)
    if "InstanceCount" in config:
        if counted:
            yield Problem(path, "no InstanceCount beside the job's own", f"{counted}")
    elif counted < len(preferences):
        yield Problem(path, "an InstanceCount for each, or one for the job", f"{counted}")


@rule("volume-kms", *_JOBS, "CreateProcessingJob", "CreateEndpointConfig")
def volume_kms(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ResourceConfig.VolumeKmsKeyId` and `CreateEndpointConfig.KmsKeyId`.

    Instances with disks of their own encrypt them by hardware and take no key.
    """
    for path, key, types in _volumes(parameters):
        for kind in types:
            if key is not None and has_local_disk(kind):
                yield Problem(path, f"no key for {kind}, which has disks of its own", "a key")
                break


def _volumes(parameters: Parameters) -> Iterator[tuple[str, object, list[str]]]:
    if "ProductionVariants" in parameters:
        variants = parameters["ProductionVariants"]
        yield "KmsKeyId", parameters.get("KmsKeyId"), [v.get("InstanceType", "") for v in variants]
    if "ProcessingResources" in parameters:
        config = parameters["ProcessingResources"]["ClusterConfig"]
        path = "ProcessingResources.ClusterConfig.VolumeKmsKeyId"
        yield path, config.get("VolumeKmsKeyId"), _types(config)
    for where, job in jobs(parameters):
        for name in ("ResourceConfig", "HyperParameterTuningResourceConfig"):
            config = job.get(name, {})
            path = f"{where}{name}.VolumeKmsKeyId"
            yield path, config.get("VolumeKmsKeyId"), _types(config)


def _types(config: dict[str, Any]) -> list[str]:
    found = [config.get("InstanceType", "")]
    for name in ("InstancePreferences", "InstanceGroups", "InstanceConfigs"):
        found += [one["InstanceType"] for one in config.get(name, ())]
    return found


@rule("training-image", *_JOBS)
def training_image(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `AlgorithmSpecification`: TrainingImage or AlgorithmName."""
    for where, job in jobs(parameters):
        algorithm = job.get("AlgorithmSpecification")
        path = f"{where}AlgorithmSpecification"
        if algorithm is None:
            yield Problem(path, "an image to run", "none")
        elif ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
            found = "both" if "TrainingImage" in algorithm else "neither"
            yield Problem(path, "either TrainingImage or AlgorithmName", found)


@rule("metric-regex", *_JOBS)
def metric_regex(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Define metrics": a regex whose one group is the number."""
    for where, job in jobs(parameters):
        definitions = job.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        for index, definition in enumerate(definitions):
            path = f"{where}AlgorithmSpecification.MetricDefinitions[{index}].Regex"
            try:
                groups = re.compile(definition["Regex"]).groups
            except re.error as error:
                yield Problem(
                    path, "a regular expression", f"{shown(definition['Regex'])}: {error}"
                )
            else:
                if groups != 1:
                    yield Problem(path, "one group, the number", f"{groups} groups")


@rule("metric-names", *_JOBS)
def metric_names(parameters: Parameters) -> Iterator[Problem]:
    """Our own rule: no two metrics have the same name, as only one of them would be seen."""
    for where, job in jobs(parameters):
        definitions = job.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        path = f"{where}AlgorithmSpecification.MetricDefinitions"
        for name in twice([one["Name"] for one in definitions]):
            yield Problem(path, "each name once", f"{shown(name)} twice")


@rule("channels", *_JOBS)
def channels(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "How Amazon SageMaker provides training information".

    Channels are folders below /opt/ml/input/data, so each has a name of its own, and one source.
    """
    for where, job in jobs(parameters):
        inputs = job.get("InputDataConfig", ())
        path = f"{where}InputDataConfig"
        for name in twice([one["ChannelName"] for one in inputs]):
            yield Problem(path, "each ChannelName once", f"{shown(name)} twice")
        for index, one in enumerate(inputs):
            if one["ChannelName"] in {".", ".."}:
                found = shown(one["ChannelName"])
                yield Problem(f"{path}[{index}].ChannelName", "the name of a folder", found)
            if len(one["DataSource"]) != 1:
                found = " and ".join(one["DataSource"]) or "none"
                yield Problem(f"{path}[{index}].DataSource", "one source", found)


@rule("file-mode", *_JOBS)
def file_mode(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `Channel.CompressionType`, `RecordWrapperType`: Pipe mode only."""
    for where, job in jobs(parameters):
        default = job.get("AlgorithmSpecification", {}).get("TrainingInputMode")
        for index, one in enumerate(job.get("InputDataConfig", ())):
            for name in ("CompressionType", "RecordWrapperType"):
                if one.get("InputMode", default) != "Pipe" and one.get(name, "None") != "None":
                    path = f"{where}InputDataConfig[{index}].{name}"
                    yield Problem(path, "None outside Pipe mode", shown(one[name]))


@rule("checkpoint-path", *_JOBS)
def checkpoint_path(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Checkpoints": a folder that SageMaker does not use."""
    for where, job in jobs(parameters):
        path = job.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints")
        taken = ("/opt/ml/input", "/opt/ml/model", "/opt/ml/output", "/opt/ml/code")
        inside = any(f"{path}/".startswith(f"{folder}/") for folder in taken)
        if not path.startswith("/") or inside or "/.." in path:
            expected = "a folder such as /opt/ml/checkpoints"
            yield Problem(f"{where}CheckpointConfig.LocalPath", expected, shown(path))
