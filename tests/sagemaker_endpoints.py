"""A rehearsal with a project, and things to deploy, for the tests of endpoints and batches."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from models import write_bundle
from motrail.config import SageMakerSettings
from motrail.detect.bundle import read_bundle
from motrail.sagemaker.deployment import Deployment, Scaling, Share
from motrail.sagemaker.request import Request
from sagemaker_jobs import PROJECT as JOBS
from sagemaker_rehearsing import BUCKET, rehearse
from sagemaker_shapes import CheckedRehearsal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.request import Cloud

PROJECT = dataclasses.replace(JOBS, bucket=BUCKET)
SETTINGS = SageMakerSettings()


def real(folder: Path, **options: Any) -> CheckedRehearsal:
    """A rehearsal that runs our own containers."""
    with_bucket = rehearse(folder)
    with_bucket.close()
    cloud = CheckedRehearsal(folder, grace=10.0, **options)
    for name in ("motrail-success", "motrail-error"):
        cloud.call(Request("sns", "CreateTopic", {"Name": name}))
    return cloud


def bundle(folder: Path) -> Bundle:
    """The spot network."""
    return read_bundle(write_bundle(folder))


def deployment(model: Bundle, kind: Any = "realtime", name: str = "parcels", **more: Any) -> Any:
    """A deployment that scales."""
    scaling = Scaling(0, 2, 2.0) if kind == "async" else Scaling(1, 2, 600.0)
    return Deployment(name, kind, (Share(model),), **{"scaling": scaling, **more})


def left(cloud: Cloud) -> dict[str, list[str]]:
    """What lives, by kind; without the dataset that a rehearsal begins with."""

    def names(service: str, operation: str, key: str, name: str, **given: Any) -> list[str]:
        return [item[name] for item in cloud.call(Request(service, operation, given))[key]]

    scaled: Callable[..., list[str]] = names
    return {
        "endpoints": names("sagemaker", "ListEndpoints", "Endpoints", "EndpointName"),
        "configs": names(
            "sagemaker", "ListEndpointConfigs", "EndpointConfigs", "EndpointConfigName"
        ),
        "models": names("sagemaker", "ListModels", "Models", "ModelName"),
        "targets": scaled(
            "application-autoscaling",
            "DescribeScalableTargets",
            "ScalableTargets",
            "ResourceId",
            ServiceNamespace="sagemaker",
        ),
        "policies": scaled(
            "application-autoscaling",
            "DescribeScalingPolicies",
            "ScalingPolicies",
            "PolicyName",
            ServiceNamespace="sagemaker",
        ),
        "alarms": names("cloudwatch", "DescribeAlarms", "MetricAlarms", "AlarmName"),
        "objects": [
            item.uri
            for item in cloud.objects(f"s3://{PROJECT.bucket}/")
            if "/datasets/" not in item.uri
        ],
    }


def nothing(cloud: Cloud) -> bool:
    """Whether nothing is left."""
    return not any(left(cloud).values())


def message(cloud: CheckedRehearsal, number: int) -> dict[str, Any]:
    """A message to a topic, which comes a moment after the result."""
    for _ in range(100):
        if len(cloud.messages) > number:
            return cloud.messages[number]
        cloud.sleep(1)
    raise AssertionError("nobody was told")
