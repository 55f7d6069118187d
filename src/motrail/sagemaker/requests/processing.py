"""Requests of Processing jobs over many or long videos: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from motrail.sagemaker.request import Request
from motrail.sagemaker.requests.instances import has_local_disk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.config import SageMakerSettings
    from motrail.sagemaker.project import Project

ROOT = "/opt/ml/processing"
"""Below which the container finds its inputs and leaves its output."""
MAX_SECONDS = 777_600
"""SageMaker stops a Processing job after nine days."""

Step = Literal["videos", "detect", "associate"]


@dataclass(frozen=True)
class Job:
    """What a Processing job does.

    Attributes:
        name: Of the job.
        step: `videos` tracks those that an instance was given; `detect` detects in a share of all;
            `associate` tracks what was detected.
        videos: Prefix of the videos, or a manifest of them.
        model: `s3://…/model.tar.gz`.
        output: Where the results go.
        instances: How many.
        volume_gib: Disk of each.
        kept: Prefix of what is to be gone on from, or a manifest of it; None for nothing.
        kept_manifest: Whether `kept` is one.
        config: `config.toml` with settings; None for none.
        arguments: Flags of `motrail batch` that are passed on.
        manifest: Whether `videos` is one.
        environment: Of the container.
    """

    name: str
    step: Step
    videos: str
    model: str
    output: str
    instances: int
    volume_gib: int
    kept: str | None = None
    kept_manifest: bool = False
    config: str | None = None
    arguments: tuple[str, ...] = ()
    manifest: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def create_job(
    project: Project, settings: SageMakerSettings, job: Job, tags: Mapping[str, str]
) -> Request:
    """A Processing job.

    Results go to S3 as they are made, so that those of other instances are there when one fails.

    Args:
        project: Image, role and tag.
        settings: Instance type, longest time, VPC and KMS key.
        job: What it does.
        tags: More of them.
    """
    cluster: dict[str, Any] = {
        "InstanceCount": job.instances,
        "InstanceType": settings.processing_instance,
        "VolumeSizeInGB": job.volume_gib,
    }
    key = settings.kms_key
    if key and not has_local_disk(settings.processing_instance):
        cluster["VolumeKmsKeyId"] = key
    output = {
        "OutputName": "output",
        "S3Output": {
            "S3Uri": job.output,
            "LocalPath": f"{ROOT}/output",
            "S3UploadMode": "Continuous" if job.step != "associate" else "EndOfJob",
        },
    }
    parameters: dict[str, Any] = {
        "ProcessingJobName": job.name,
        "AppSpecification": {
            "ImageUri": project.serving_image,
            "ContainerEntrypoint": ["process"],
            "ContainerArguments": [job.step, *job.arguments],
        },
        "ProcessingInputs": _inputs(job),
        "ProcessingOutputConfig": {"Outputs": [output]} | ({"KmsKeyId": key} if key else {}),
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {
            "MaxRuntimeInSeconds": min(round(settings.max_hours * 3600), MAX_SECONDS)
        },
        "RoleArn": project.processing_role,
        "Tags": project.tags(**tags),
    }
    if job.environment:
        parameters["Environment"] = dict(job.environment)
    if settings.subnets:
        vpc = {
            "SecurityGroupIds": list(settings.security_groups),
            "Subnets": list(settings.subnets),
        }
        parameters["NetworkConfig"] = {"VpcConfig": vpc}
    return Request("sagemaker", "CreateProcessingJob", parameters)


def _inputs(job: Job) -> list[dict[str, Any]]:
    dealt = job.step == "videos" and job.instances > 1
    kind = "ManifestFile" if job.manifest else "S3Prefix"
    inputs = [
        _input("videos", job.videos, kind=kind, dealt=dealt),
        _input("model", job.model),
    ]
    if job.kept is not None:
        kept = "ManifestFile" if job.kept_manifest else "S3Prefix"
        inputs.append(_input("kept", job.kept, kind=kept))
    if job.config is not None:
        inputs.append(_input("config", job.config))
    return inputs


def _input(name: str, uri: str, *, kind: str = "S3Prefix", dealt: bool = False) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{ROOT}/input/{name}",
            "S3DataType": kind,
            "S3InputMode": "File",
            "S3DataDistributionType": "ShardedByS3Key" if dealt else "FullyReplicated",
        },
    }


def describe_job(name: str) -> Request:
    """State of a Processing job."""
    return Request("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": name})


def stop_job(name: str) -> Request:
    """Stop a Processing job."""
    return Request("sagemaker", "StopProcessingJob", {"ProcessingJobName": name})
