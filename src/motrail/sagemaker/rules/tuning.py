"""Rules about hyperparameter tuning jobs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown, twice
from motrail.sagemaker.rules.training import jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

_TUNE = "CreateHyperParameterTuningJob"
_CONFIG = "HyperParameterTuningJobConfig"
_NUMERIC = ("IntegerParameterRanges", "ContinuousParameterRanges")
_MOST_PARAMETERS = 30
_MOST_EPOCHS = 20_000
_EPOCHS = frozenset({"epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs"})


def _ranges(parameters: Parameters) -> Iterator[tuple[str, dict[str, Any]]]:
    config = parameters[_CONFIG].get("ParameterRanges")
    if config is not None:
        yield f"{_CONFIG}.ParameterRanges", config
    for where, job in jobs(parameters):
        if "HyperParameterRanges" in job:
            yield f"{where}HyperParameterRanges", job["HyperParameterRanges"]


@rule("definitions", _TUNE)
def definitions(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `CreateHyperParameterTuningJob.TrainingJobDefinitions`."""
    one, several = "TrainingJobDefinition", "TrainingJobDefinitions"
    if (one in parameters) == (several in parameters):
        found = "both" if one in parameters else "neither"
        yield Problem(one, f"either {one} or {several}", found)


@rule("objective", _TUNE)
def objective(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `HyperParameterTuningJobObjective`: a metric that is defined."""
    config = parameters[_CONFIG]
    common = config.get("HyperParameterTuningJobObjective")
    for where, job in jobs(parameters):
        own = job.get("TuningObjective", common)
        metrics = job.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        names = [one["Name"] for one in metrics]
        path = f"{_CONFIG}.HyperParameterTuningJobObjective"
        if "TuningObjective" in job:
            path = f"{where}TuningObjective"
        if own is None:
            yield Problem(path, "a metric to go by", "none")
        elif own["MetricName"] not in names:
            known = ", ".join(names) or "none"
            expected = f"one of the metrics defined ({known})"
            yield Problem(f"{path}.MetricName", expected, shown(own["MetricName"]))


@rule("parallel-jobs", _TUNE)
def parallel_jobs(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `ResourceLimits`: no more jobs at a time than in all."""
    limits = parameters[_CONFIG]["ResourceLimits"]
    total, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if total is not None and parallel > total:
        path = f"{_CONFIG}.ResourceLimits.MaxParallelTrainingJobs"
        yield Problem(path, f"at most MaxNumberOfTrainingJobs ({total})", f"{parallel}")


@rule("parameter-names", _TUNE)
def parameter_names(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Define hyperparameter ranges": each is searched or static."""
    for path, ranges in _ranges(parameters):
        names = [one["Name"] for several in ranges.values() for one in several]
        for name in twice(names):
            yield Problem(path, "each Name once", f"{shown(name)} twice")
        if not 1 <= len(names) <= _MOST_PARAMETERS:
            yield Problem(path, f"1 to {_MOST_PARAMETERS} parameters", f"{len(names)}")
        for where, job in jobs(parameters):
            static = job.get("StaticHyperParameters", {})
            for name in sorted(set(names) & set(static)):
                found = f"{shown(name)} in both"
                yield Problem(f"{where}StaticHyperParameters", "none that is searched", found)


@rule("parameter-range", _TUNE)
def parameter_range(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Define hyperparameter ranges", "Hyperparameter scaling".

    Ends are numbers written as text, the smaller one first; a logarithmic scale wants them above
    0, a reverse logarithmic one from 0 to below 1.
    """
    for path, ranges in _ranges(parameters):
        for kind in _NUMERIC:
            for index, one in enumerate(ranges.get(kind, ())):
                yield from _range(one, kind == _NUMERIC[0], f"{path}.{kind}[{index}]")


def _range(one: dict[str, Any], whole: bool, path: str) -> Iterator[Problem]:
    ends: list[float] = []
    for name in ("MinValue", "MaxValue"):
        number = _number(one[name], whole)
        if number is None:
            expected = "a whole number" if whole else "a finite number"
            yield Problem(f"{path}.{name}", expected, shown(one[name]))
        else:
            ends.append(number)
    if len(ends) < 2:
        return
    low, high = ends
    if low >= high:
        yield Problem(f"{path}.MaxValue", f"more than MinValue ({one['MinValue']})", f"{high:g}")
    scale = one.get("ScalingType")
    if scale == "Logarithmic" and low <= 0:
        yield Problem(f"{path}.MinValue", "more than 0 on a logarithmic scale", f"{low:g}")
    if scale == "ReverseLogarithmic" and (whole or low < 0 or high >= 1):
        expected = "numbers from 0 to below 1 on a reverse logarithmic scale"
        yield Problem(path, expected, f"{low:g} to {high:g}")


def _number(text: str, whole: bool) -> float | None:
    try:
        number = float(int(text)) if whole else float(text)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@rule("hyperband", _TUNE)
def hyperband(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker API reference, `HyperbandStrategyConfig` and `TrainingJobEarlyStoppingType`."""
    config = parameters[_CONFIG]
    path = f"{_CONFIG}.StrategyConfig"
    if config["Strategy"] != "Hyperband":
        if "StrategyConfig" in config:
            yield Problem(path, "none unless Strategy is Hyperband", config["Strategy"])
        return
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        yield Problem(f"{_CONFIG}.TrainingJobEarlyStoppingType", "Off with Hyperband", "Auto")
    band = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    least, most = band.get("MinResource", 1), band.get("MaxResource")
    if most is None:
        for where, job in jobs(parameters):
            if not _EPOCHS & job.get("StaticHyperParameters", {}).keys():
                expected = f"a number, or epochs in {where}StaticHyperParameters"
                yield Problem(f"{path}.HyperbandStrategyConfig.MaxResource", expected, "neither")
    elif not least <= most <= _MOST_EPOCHS:
        expected = f"MinResource ({least}) to {_MOST_EPOCHS:,}"
        yield Problem(f"{path}.HyperbandStrategyConfig.MaxResource", expected, f"{most}")


@rule("grid", _TUNE)
def grid(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "How hyperparameter tuning works": a grid has categories only."""
    if parameters[_CONFIG]["Strategy"] == "Grid":
        for path, ranges in _ranges(parameters):
            for kind in _NUMERIC:
                if ranges.get(kind):
                    yield Problem(f"{path}.{kind}", "CategoricalParameterRanges only", "a range")
