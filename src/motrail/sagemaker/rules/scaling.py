"""Rules about auto scaling and the alarms that drive it."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rules.rule import Parameters, Problem, rule, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGISTER, _POLICY, _ALARM = "RegisterScalableTarget", "PutScalingPolicy", "PutMetricAlarm"
_RESOURCE = re.compile(
    r"endpoint/[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}/variant/[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
)
_DIMENSIONS = (
    "sagemaker:variant:DesiredInstanceCount",
    "sagemaker:variant:DesiredProvisionedConcurrency",
)
_ACTIONS = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{0,12}:.+")
_MISSING = ("breaching", "notBreaching", "ignore", "missing")
_KIND_TAG = "motrail:kind"
_DAY = 86_400
_CONFIGS = {
    "StepScaling": "StepScalingPolicyConfiguration",
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
    "PredictiveScaling": "PredictiveScalingPolicyConfiguration",
}


@rule("scalable-target", _REGISTER, _POLICY, "DeregisterScalableTarget")
def scalable_target(parameters: Parameters) -> Iterator[Problem]:
    """Application Auto Scaling API reference, `RegisterScalableTarget`, for endpoint variants."""
    if parameters["ServiceNamespace"] != "sagemaker":
        yield Problem("ServiceNamespace", "sagemaker", shown(parameters["ServiceNamespace"]))
    if not _RESOURCE.fullmatch(parameters["ResourceId"]):
        expected = "endpoint/NAME/variant/NAME"
        yield Problem("ResourceId", expected, shown(parameters["ResourceId"]))
    if parameters["ScalableDimension"] not in _DIMENSIONS:
        expected = " or ".join(_DIMENSIONS)
        yield Problem("ScalableDimension", expected, shown(parameters["ScalableDimension"]))


@rule("capacity", _REGISTER)
def capacity(parameters: Parameters) -> Iterator[Problem]:
    """Application Auto Scaling API reference, `RegisterScalableTarget`: both, in order."""
    low, high = parameters.get("MinCapacity"), parameters.get("MaxCapacity")
    for name, value in (("MinCapacity", low), ("MaxCapacity", high)):
        if value is None:
            yield Problem(name, "a number", "none")
    if low is None or high is None:
        return
    if low < 0:
        yield Problem("MinCapacity", "at least 0", f"{low}")
    if high < max(low, 1):
        yield Problem("MaxCapacity", f"at least {max(low, 1)}", f"{high}")


@rule("zero-capacity", _REGISTER)
def zero_capacity(parameters: Parameters) -> Iterator[Problem]:
    """SageMaker developer guide, "Autoscale an asynchronous endpoint": only these go to zero.

    The request does not say what kind of endpoint it is about; the tag `motrail:kind` does, with
    the value `async`. A target that is registered again has its tags already and names none.
    """
    tags = parameters.get("Tags")
    if parameters.get("MinCapacity") == 0 and tags is not None and tags.get(_KIND_TAG) != "async":
        expected = f"at least 1, or the tag {_KIND_TAG} = async"
        yield Problem("MinCapacity", expected, "0")


@rule("scaling-policy", _POLICY)
def scaling_policy(parameters: Parameters) -> Iterator[Problem]:
    """Application Auto Scaling API reference, `PutScalingPolicy`: a type, its settings."""
    kind = parameters.get("PolicyType")
    if kind is None:
        yield Problem("PolicyType", "a type", "none")
        return
    for name, config in _CONFIGS.items():
        if (name == kind) != (config in parameters):
            expected = f"{'one' if name == kind else 'none'} for {kind}"
            yield Problem(config, expected, "none" if name == kind else "one")
    step = parameters.get("StepScalingPolicyConfiguration")
    if step is not None:
        yield from _steps(step)
    target = parameters.get("TargetTrackingScalingPolicyConfiguration")
    if target is not None:
        yield from _target(target)


def _target(config: dict[str, Any]) -> Iterator[Problem]:
    path = "TargetTrackingScalingPolicyConfiguration"
    if config["TargetValue"] <= 0:
        yield Problem(f"{path}.TargetValue", "more than 0", f"{config['TargetValue']:g}")
    names = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
    given = [name for name in names if name in config]
    if len(given) != 1:
        yield Problem(path, f"either {' or '.join(names)}", " and ".join(given) or "neither")
    for name in ("ScaleInCooldown", "ScaleOutCooldown"):
        if config.get(name, 0) < 0:
            yield Problem(f"{path}.{name}", "at least 0", f"{config[name]}")


def _steps(config: dict[str, Any]) -> Iterator[Problem]:
    path = "StepScalingPolicyConfiguration"
    if "AdjustmentType" not in config:
        yield Problem(f"{path}.AdjustmentType", "a type", "none")
    steps = config.get("StepAdjustments", ())
    if not steps:
        yield Problem(f"{path}.StepAdjustments", "at least one", "none")
    infinity = float("inf")
    ends = sorted(
        (
            float(step.get("MetricIntervalLowerBound", -infinity)),
            float(step.get("MetricIntervalUpperBound", infinity)),
        )
        for step in steps
    )
    for low, high in ends:
        if low >= high:
            yield Problem(f"{path}.StepAdjustments", "a lower bound below the upper", f"{low:g}")
    for (_, high), (low, _) in itertools.pairwise(ends):
        if low != high:
            expected = "intervals one after the other, without gap or overlap"
            yield Problem(f"{path}.StepAdjustments", expected, f"{high:g} and {low:g}")


@rule("alarm-period", _ALARM)
def alarm_period(parameters: Parameters) -> Iterator[Problem]:
    """CloudWatch API reference, `PutMetricAlarm.Period`: 10, 20, 30 or a multiple of 60 seconds.

    All periods together are at most a day, or seven days where a period is an hour or more.
    """
    period, number = parameters.get("Period"), parameters.get("EvaluationPeriods")
    if period is not None and period not in {10, 20, 30} and period % 60:
        yield Problem("Period", "10, 20, 30 or a multiple of 60", f"{period}")
    if period is not None and number is not None:
        most = _DAY if period < 3600 else 7 * _DAY
        if period * number > most:
            found = f"{period * number}"
            yield Problem("EvaluationPeriods", f"at most {most} seconds with Period", found)


@rule("alarm-metric", _ALARM)
def alarm_metric(parameters: Parameters) -> Iterator[Problem]:
    """CloudWatch API reference, `PutMetricAlarm`: what an alarm on one metric has to say."""
    given = [name for name in ("MetricName", "Metrics", "EvaluationCriteria") if name in parameters]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield Problem("MetricName", "one of MetricName, Metrics, EvaluationCriteria", found)
    if given != ["MetricName"]:
        return
    for name in ("Namespace", "Period", "EvaluationPeriods", "Threshold", "ComparisonOperator"):
        if name not in parameters:
            yield Problem(name, "a value, for an alarm on a metric", "none")
    if ("Statistic" in parameters) == ("ExtendedStatistic" in parameters):
        found = "both" if "Statistic" in parameters else "neither"
        yield Problem("Statistic", "either Statistic or ExtendedStatistic", found)


@rule("alarm-points", _ALARM)
def alarm_points(parameters: Parameters) -> Iterator[Problem]:
    """CloudWatch API reference, `PutMetricAlarm.DatapointsToAlarm` (M out of N), missing data."""
    points, number = parameters.get("DatapointsToAlarm"), parameters.get("EvaluationPeriods")
    if points is not None and number is not None and points > number:
        yield Problem("DatapointsToAlarm", f"at most EvaluationPeriods ({number})", f"{points}")
    missing = parameters.get("TreatMissingData", "missing")
    if missing not in _MISSING:
        yield Problem("TreatMissingData", ", ".join(_MISSING), shown(missing))


@rule("alarm-actions", _ALARM)
def alarm_actions(parameters: Parameters) -> Iterator[Problem]:
    """CloudWatch API reference, `PutMetricAlarm.AlarmActions`: ARNs."""
    for name in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        for index, action in enumerate(parameters.get(name, ())):
            if not _ACTIONS.fullmatch(action):
                yield Problem(f"{name}[{index}]", "an ARN", shown(action))
