"""Rules about Processing jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown, twice
from motrail.sagemaker.rules.training import preference_list

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESS = "CreateProcessingJob"
_ROOT = "/opt/ml/processing/"
_SOURCES = {
    "S3Input": ("S3Input", "DatasetDefinition"),
    "S3Output": ("S3Output", "FeatureStoreOutput"),
}


def _places(parameters: Parameters) -> Iterator[tuple[str, dict[str, Any], str]]:
    for index, one in enumerate(parameters.get("ProcessingInputs", ())):
        yield f"ProcessingInputs[{index}]", one, "S3Input"
    outputs = parameters.get("ProcessingOutputConfig", {}).get("Outputs", ())
    for index, one in enumerate(outputs):
        yield f"ProcessingOutputConfig.Outputs[{index}]", one, "S3Output"


@rule("processing-paths", _PROCESS)
def processing_paths(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProcessingS3Input.LocalPath`: below /opt/ml/processing/.

    Only what is `AppManaged` may have none. Our own rule is that no two inputs or outputs share a
    folder, or stand inside one another.
    """
    taken: list[str] = []
    for where, one, kind in _places(parameters):
        if kind not in one:
            continue
        path, local = f"{where}.{kind}.LocalPath", one[kind].get("LocalPath")
        if local is None:
            if not one.get("AppManaged"):
                yield Problem(path, f"a folder below {_ROOT}", "none")
            continue
        parts = local.removeprefix(_ROOT).split("/")
        if not local.startswith(_ROOT) or any(part in {"", ".", ".."} for part in parts):
            yield Problem(path, f"a folder below {_ROOT}", shown(local))
        for other in taken:
            if f"{local}/".startswith(f"{other}/") or f"{other}/".startswith(f"{local}/"):
                yield Problem(path, f"a folder apart from {other}", shown(local))
        taken.append(local)


@rule("processing-names", _PROCESS)
def processing_names(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProcessingInput.InputName` and `OutputName`: unique in a job."""
    outputs = parameters.get("ProcessingOutputConfig", {}).get("Outputs", ())
    inputs = parameters.get("ProcessingInputs", ())
    for path, names in (
        ("ProcessingInputs", [one["InputName"] for one in inputs]),
        ("ProcessingOutputConfig.Outputs", [one["OutputName"] for one in outputs]),
    ):
        for name in twice(names):
            yield Problem(path, "each name once", f"{shown(name)} twice")


@rule("processing-source", _PROCESS)
def processing_source(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProcessingInput`: one source; Gzip in Pipe mode only."""
    for where, one, kind in _places(parameters):
        names = _SOURCES[kind]
        given = [name for name in names if name in one]
        if len(given) != 1:
            yield Problem(where, f"either {' or '.join(names)}", " and ".join(given) or "neither")
        place = one.get("S3Input", {})
        if place.get("S3CompressionType") == "Gzip" and place.get("S3InputMode") != "Pipe":
            yield Problem(f"{where}.S3Input.S3CompressionType", "None outside Pipe mode", "Gzip")


@rule("processing-instances", _PROCESS)
def processing_instances(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ProcessingClusterConfig`: InstanceType or InstancePreferences."""
    config = parameters["ProcessingResources"]["ClusterConfig"]
    path = "ProcessingResources.ClusterConfig"
    if ("InstanceType" in config) == ("InstancePreferences" in config):
        found = "both" if "InstanceType" in config else "neither"
        yield Problem(path, "either InstanceType or InstancePreferences", found)
    if "InstanceType" in config and "InstanceCount" not in config:
        yield Problem(f"{path}.InstanceCount", "at least 1", "none")
    if "InstancePreferences" in config:
        yield from preference_list(config, f"{path}.InstancePreferences")
    for name in ("SelectedInstanceType", "SelectedInstanceCount"):
        if name in config:
            yield Problem(f"{path}.{name}", "none: it is only ever answered", shown(config[name]))


@rule("processing-time", _PROCESS)
def processing_time(parameters: Parameters) -> Iterator[Problem]:
    """Our own rule: a job says how long it may run at most; the default is a day's cost."""
    if "StoppingCondition" not in parameters:
        yield Problem("StoppingCondition.MaxRuntimeInSeconds", "a limit", "none")
