"""Requests that let the number of an endpoint's instances follow the load: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.sagemaker.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motrail.sagemaker.project import Project

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_QUICK, _SLOW = 60, 300
"""Seconds after which instances may be added, and taken away, once more."""


class Bounds(NamedTuple):
    """How many instances a variant may have.

    Attributes:
        low: At least; 0 is for asynchronous endpoints.
        high: At most.
    """

    low: int
    high: int


def resource(endpoint: str, variant: str) -> str:
    """What auto scaling calls a variant of an endpoint."""
    return f"endpoint/{endpoint}/variant/{variant}"


def _target(endpoint: str, variant: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": resource(endpoint, variant),
        "ScalableDimension": _DIMENSION,
    }


def register(project: Project, endpoint: str, variant: str, bounds: Bounds, kind: str) -> Request:
    """Let the number of a variant's instances change.

    Args:
        project: The tag.
        endpoint: Which.
        variant: Which of it.
        bounds: Between which.
        kind: Of the endpoint, `realtime` or `async`; its minimum does not tell.
    """
    parameters = {
        **_target(endpoint, variant),
        "MinCapacity": bounds.low,
        "MaxCapacity": bounds.high,
        "Tags": _tags(project, endpoint, kind),
    }
    return Request("application-autoscaling", "RegisterScalableTarget", parameters)


def _tags(project: Project, endpoint: str, kind: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in project.tags(endpoint=endpoint, kind=kind)}


def deregister(endpoint: str, variant: str) -> Request:
    """Scale a variant no more; its policies go, and the alarms that they made themselves."""
    return Request(
        "application-autoscaling", "DeregisterScalableTarget", _target(endpoint, variant)
    )


def describe_targets(endpoint: str, variants: list[str]) -> Request:
    """Whether variants are scaled, and within which bounds."""
    parameters = {
        "ServiceNamespace": "sagemaker",
        "ResourceIds": [resource(endpoint, variant) for variant in variants],
    }
    return Request("application-autoscaling", "DescribeScalableTargets", parameters)


def describe_policies(endpoint: str, variant: str) -> Request:
    """The policies of a variant."""
    return Request("application-autoscaling", "DescribeScalingPolicies", _target(endpoint, variant))


def track_invocations(endpoint: str, variant: str, target: float) -> Request:
    """Keep the requests a minute that each instance gets near `target`."""
    tracking = {
        "TargetValue": float(target),
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        },
        "ScaleOutCooldown": _QUICK,
        "ScaleInCooldown": _SLOW,
    }
    return _tracking(endpoint, variant, "invocations", tracking)


def track_backlog(endpoint: str, variant: str, target: float) -> Request:
    """Keep the waiting requests of an asynchronous endpoint near `target` for each instance."""
    tracking = {
        "TargetValue": float(target),
        "CustomizedMetricSpecification": {
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
            "Statistic": "Average",
        },
        "ScaleOutCooldown": _QUICK,
        "ScaleInCooldown": _SLOW,
    }
    return _tracking(endpoint, variant, "backlog", tracking)


def _tracking(endpoint: str, variant: str, kind: str, tracking: dict[str, Any]) -> Request:
    parameters = {
        **_target(endpoint, variant),
        "PolicyName": policy_name(endpoint, variant, kind),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    }
    return Request("application-autoscaling", "PutScalingPolicy", parameters)


def wake(endpoint: str, variant: str) -> Request:
    """Add an instance; what the alarm of `backlog_alarm` does.

    Target tracking alone leaves zero instances only when more wait than its target.
    """
    parameters = {
        **_target(endpoint, variant),
        "PolicyName": policy_name(endpoint, variant, "wake"),
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": _SLOW,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }
    return Request("application-autoscaling", "PutScalingPolicy", parameters)


def backlog_alarm(project: Project, endpoint: str, variant: str, policy: str) -> Request:
    """Tell a policy when requests wait and there is no instance at all.

    Args:
        project: The tag.
        endpoint: Which.
        variant: Which of it.
        policy: ARN that was answered to `wake`.
    """
    parameters = {
        "AlarmName": alarm_name(endpoint, variant),
        "AlarmDescription": f"{endpoint}: requests wait and there is no instance",
        "Namespace": "AWS/SageMaker",
        "MetricName": "HasBacklogWithoutCapacity",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [policy],
        "Tags": project.tags(endpoint=endpoint),
    }
    return Request("cloudwatch", "PutMetricAlarm", parameters)


def delete_alarm(endpoint: str, variant: str) -> Request:
    """Remove what `backlog_alarm` made; one that is not there counts as removed."""
    return Request("cloudwatch", "DeleteAlarms", {"AlarmNames": [alarm_name(endpoint, variant)]})


def policy_name(endpoint: str, variant: str, kind: str) -> str:
    """Name of a policy."""
    return f"{endpoint}-{variant}-{kind}"


def alarm_name(endpoint: str, variant: str) -> str:
    """Name of the alarm of an asynchronous endpoint."""
    return f"{endpoint}-{variant}-backlog-without-capacity"


def as_requests(
    project: Project,
    target: Mapping[str, Any],
    policies: Iterable[Mapping[str, Any]],
    kind: str,
) -> list[Request]:
    """What makes a variant scale again as it was described.

    Args:
        project: The tag.
        target: Of `DescribeScalableTargets`.
        policies: Of `DescribeScalingPolicies`.
        kind: Of the endpoint, `realtime` or `async`.
    """
    keys = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    named = {key: target[key] for key in keys}
    bounds = {key: target[key] for key in ("MinCapacity", "MaxCapacity")}
    endpoint = target["ResourceId"].split("/")[1]
    registered = named | bounds | {"Tags": _tags(project, endpoint, kind)}
    found = [Request("application-autoscaling", "RegisterScalableTarget", registered)]
    more = (
        "PolicyName",
        "PolicyType",
        "StepScalingPolicyConfiguration",
        "TargetTrackingScalingPolicyConfiguration",
    )
    for policy in policies:
        parameters = named | {key: policy[key] for key in more if policy.get(key)}
        found.append(Request("application-autoscaling", "PutScalingPolicy", parameters))
    return found
