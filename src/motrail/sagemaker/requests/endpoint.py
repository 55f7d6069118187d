"""Requests about models, endpoints and their invocation: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.request import Request
from motrail.sagemaker.requests.instances import has_local_disk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motrail.config import SageMakerSettings
    from motrail.sagemaker.project import Project

VARIANT = "main"
"""Name of the variant of an endpoint that has only one."""
_STARTUP_SECONDS = 900
"""The image of a GPU is large, and the first answer of a network takes its time."""


@dataclass(frozen=True)
class Variant:
    """A model behind an endpoint.

    Attributes:
        model: Name of the model.
        name: Of the variant.
        weight: Its share of the traffic, relative to the others'.
    """

    model: str
    name: str = VARIANT
    weight: float = 1.0


@dataclass(frozen=True)
class Instances:
    """What an endpoint runs on.

    Attributes:
        type: As in `ml.g6.xlarge`.
        count: At the beginning.
        ami: `InferenceAmiVersion` that has the driver for the image's CUDA; None for CPUs.
    """

    type: str
    count: int = 1
    ami: str | None = None


@dataclass(frozen=True)
class Serverless:
    """What an endpoint without instances may take.

    Attributes:
        memory_mib: 1024 to 6144, in steps of 1024.
        concurrency: Requests at a time, 1 to 200.
    """

    memory_mib: int = 4096
    concurrency: int = 5


@dataclass(frozen=True)
class Capture:
    """What is kept of the requests and answers of an endpoint.

    Attributes:
        percent: Of the requests, 1 to 100.
        uri: Where.
    """

    percent: int
    uri: str


@dataclass(frozen=True)
class Asynchronous:
    """An endpoint that takes its input from S3 and puts its output there.

    Attributes:
        output: Where results go.
        failure: Where the reasons of failures go.
        concurrency: Requests at a time for each instance, 1 to 1000.
    """

    output: str
    failure: str
    concurrency: int = 1


def create_model(
    project: Project,
    settings: SageMakerSettings,
    name: str,
    data: str,
    environment: Mapping[str, str],
    tags: Mapping[str, str],
) -> Request:
    """A model: the serving image with a bundle.

    Args:
        project: Image, role and tag.
        settings: The VPC.
        name: Of the model.
        data: `s3://…/model.tar.gz`.
        environment: Of the container.
        tags: More of them.
    """
    parameters: dict[str, Any] = {
        "ModelName": name,
        "PrimaryContainer": {
            "Image": project.serving_image,
            "ModelDataUrl": data,
            "Environment": dict(environment),
        },
        "ExecutionRoleArn": project.serving_role,
        "Tags": project.tags(**tags),
    }
    if settings.subnets:
        parameters["VpcConfig"] = {
            "SecurityGroupIds": list(settings.security_groups),
            "Subnets": list(settings.subnets),
        }
    return Request("sagemaker", "CreateModel", parameters)


def create_config(
    project: Project,
    settings: SageMakerSettings,
    name: str,
    variants: Sequence[Variant],
    on: Instances | Serverless,
    *,
    capture: Capture | None = None,
    asynchronous: Asynchronous | None = None,
    tags: Mapping[str, str],
) -> Request:
    """An endpoint configuration: which models on what.

    Args:
        project: Topics and tag.
        settings: The KMS key.
        name: Of the configuration.
        variants: The models; of several each gets its share of the traffic.
        on: What they run on.
        capture: What is kept of requests and answers.
        asynchronous: Where input comes from and output goes to; None for an endpoint that answers.
        tags: More of them.
    """
    parameters: dict[str, Any] = {
        "EndpointConfigName": name,
        "ProductionVariants": [_variant(variant, on) for variant in variants],
        "Tags": project.tags(**tags),
    }
    key = settings.kms_key
    if key and isinstance(on, Instances) and not has_local_disk(on.type):
        parameters["KmsKeyId"] = key
    if capture is not None:
        parameters["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": capture.percent,
            "DestinationS3Uri": capture.uri,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        } | ({"KmsKeyId": key} if key else {})
    if asynchronous is not None:
        parameters["AsyncInferenceConfig"] = _asynchronous(project, asynchronous, key)
    return Request("sagemaker", "CreateEndpointConfig", parameters)


def _variant(variant: Variant, on: Instances | Serverless) -> dict[str, Any]:
    made: dict[str, Any] = {"VariantName": variant.name, "ModelName": variant.model}
    if isinstance(on, Serverless):
        return made | {
            "ServerlessConfig": {
                "MemorySizeInMB": on.memory_mib,
                "MaxConcurrency": on.concurrency,
            }
        }
    made |= {
        "InstanceType": on.type,
        "InitialInstanceCount": on.count,
        "InitialVariantWeight": variant.weight,
        "ModelDataDownloadTimeoutInSeconds": _STARTUP_SECONDS,
        "ContainerStartupHealthCheckTimeoutInSeconds": _STARTUP_SECONDS,
    }
    return made if on.ami is None else made | {"InferenceAmiVersion": on.ami}


def _asynchronous(project: Project, wanted: Asynchronous, key: str | None) -> dict[str, Any]:
    output: dict[str, Any] = {
        "S3OutputPath": wanted.output,
        "S3FailurePath": wanted.failure,
        "NotificationConfig": {
            "SuccessTopic": project.success_topic,
            "ErrorTopic": project.error_topic,
        },
    }
    return {
        "OutputConfig": output | ({"KmsKeyId": key} if key else {}),
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": wanted.concurrency},
    }


def create_endpoint(project: Project, name: str, config: str, tags: Mapping[str, str]) -> Request:
    """An endpoint of a configuration."""
    parameters = {
        "EndpointName": name,
        "EndpointConfigName": config,
        "Tags": project.tags(**tags),
    }
    return Request("sagemaker", "CreateEndpoint", parameters)


def update_endpoint(name: str, config: str) -> Request:
    """Another configuration behind the same name; the old one answers until it is there."""
    return Request(
        "sagemaker", "UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": config}
    )


def describe_endpoint(name: str) -> Request:
    """State, variants and configuration of an endpoint."""
    return Request("sagemaker", "DescribeEndpoint", {"EndpointName": name})


def describe_config(name: str) -> Request:
    """Content of an endpoint configuration."""
    return Request("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": name})


def describe_model(name: str) -> Request:
    """Image and data of a model."""
    return Request("sagemaker", "DescribeModel", {"ModelName": name})


def list_tags(arn: str) -> Request:
    """The tags of what has this ARN."""
    return Request("sagemaker", "ListTags", {"ResourceArn": arn})


def delete_endpoint(name: str) -> Request:
    """Remove an endpoint; what it costs ends."""
    return Request("sagemaker", "DeleteEndpoint", {"EndpointName": name})


def delete_config(name: str) -> Request:
    """Remove an endpoint configuration."""
    return Request("sagemaker", "DeleteEndpointConfig", {"EndpointConfigName": name})


def delete_model(name: str) -> Request:
    """Remove a model; its data stays in S3."""
    return Request("sagemaker", "DeleteModel", {"ModelName": name})


def delete_object(bucket: str, key: str) -> Request:
    """Remove an object; one that is not there counts as removed."""
    return Request("s3", "DeleteObject", {"Bucket": bucket, "Key": key})


def invoke(
    name: str,
    content_type: str,
    body: bytes,
    *,
    accept: str | None = None,
    session: str | None = None,
    attributes: str | None = None,
    variant: str | None = None,
) -> Request:
    """Send a body to an endpoint and wait for the answer.

    Args:
        name: Of the endpoint.
        content_type: Media type of the body.
        body: Of at most 25 MB (serverless: 4 MB).
        accept: Media type that the answer is to have.
        session: `NEW_SESSION`, or the id of one.
        attributes: What the container is to be told beside the body; at most 1,024 characters.
        variant: The variant that is to answer; None leaves it to their weights.
    """
    parameters: dict[str, Any] = {"EndpointName": name, "ContentType": content_type, "Body": body}
    more = {
        "Accept": accept,
        "SessionId": session,
        "CustomAttributes": attributes,
        "TargetVariant": variant,
    }
    parameters |= {key: value for key, value in more.items() if value}
    return Request("sagemaker-runtime", "InvokeEndpoint", parameters)


def invoke_async(
    name: str,
    content_type: str,
    location: str,
    *,
    accept: str | None = None,
    attributes: str | None = None,
    seconds: int,
    inference_id: str | None = None,
) -> Request:
    """Have an endpoint work on an object in S3.

    Args:
        name: Of the endpoint.
        content_type: Media type of the object.
        location: Where it is, `s3://…`.
        accept: Media type that the answer is to have.
        attributes: What the container is to be told beside; at most 1,024 characters.
        seconds: The longest it may work on it, 1 to 3600.
        inference_id: By which its notification calls it.
    """
    parameters: dict[str, Any] = {
        "EndpointName": name,
        "ContentType": content_type,
        "InputLocation": location,
        "InvocationTimeoutSeconds": seconds,
    }
    more = {"Accept": accept, "CustomAttributes": attributes, "InferenceId": inference_id}
    parameters |= {key: value for key, value in more.items() if value}
    return Request("sagemaker-runtime", "InvokeEndpointAsync", parameters)


def get_object(bucket: str, key: str, first: int | None = None) -> Request:
    """The content of an object, or its first so many bytes."""
    parameters = {"Bucket": bucket, "Key": key}
    if first is not None:
        parameters["Range"] = f"bytes=0-{first - 1}"
    return Request("s3", "GetObject", parameters)


def put_if_unchanged(bucket: str, key: str, body: bytes, etag: str | None) -> Request:
    """Write an object unless somebody else did meanwhile; then S3 says PreconditionFailed.

    Args:
        bucket: Where.
        key: Which.
        body: The content.
        etag: What the object was when it was read, as S3 said; None where there was none.
    """
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    return Request("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": body, **condition})
