"""Requests about what lives, what it costs and how it is removed: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.sagemaker.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(NamedTuple):
    """A kind of thing at SageMaker, and how its operations are named.

    Attributes:
        title: For people, in the singular.
        operation: What follows List in the name of the operation.
        items: Where they stand in its answer.
        name: The key of the name, also in further requests; `Arn` in place of Name is the ARN's.
        status: The key of the status in the list, if it has one.
        end: The operation that ends one: deletes it, or stops a job.
        forget: The operation that deletes the record of an ended job, where there is one.
        logs: The log group of all such jobs; the streams of one begin with its name and a slash.
    """

    title: str
    operation: str
    items: str
    name: str
    status: str | None
    end: str
    forget: str | None = None
    logs: str | None = None

    @property
    def arn(self) -> str:
        """The key of the ARN."""
        return f"{self.name.removesuffix('Name')}Arn"


ENDPOINT = Kind(
    "endpoint", "ListEndpoints", "Endpoints", "EndpointName", "EndpointStatus", "DeleteEndpoint"
)
ENDPOINT_CONFIG = Kind(
    "endpoint config", "ListEndpointConfigs", "EndpointConfigs", "EndpointConfigName", None,
    "DeleteEndpointConfig",
)  # fmt: skip
MODEL = Kind("model", "ListModels", "Models", "ModelName", None, "DeleteModel")
TUNING = Kind(
    "tuning job", "ListHyperParameterTuningJobs", "HyperParameterTuningJobSummaries",
    "HyperParameterTuningJobName", "HyperParameterTuningJobStatus", "StopHyperParameterTuningJob",
    "DeleteHyperParameterTuningJob",
)  # fmt: skip
TRAINING = Kind(
    "training job", "ListTrainingJobs", "TrainingJobSummaries", "TrainingJobName",
    "TrainingJobStatus", "StopTrainingJob", "DeleteTrainingJob",
    "/aws/sagemaker/TrainingJobs",
)  # fmt: skip
PROCESSING = Kind(
    "processing job", "ListProcessingJobs", "ProcessingJobSummaries", "ProcessingJobName",
    "ProcessingJobStatus", "StopProcessingJob", "DeleteProcessingJob",
    "/aws/sagemaker/ProcessingJobs",
)  # fmt: skip
LABELING = Kind(
    "labeling job", "ListLabelingJobs", "LabelingJobSummaryList", "LabelingJobName",
    "LabelingJobStatus", "StopLabelingJob",
)  # fmt: skip
JOBS = (TUNING, TRAINING, PROCESSING, LABELING)
"""A tuning job stands before the training jobs that it would begin anew."""

ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/"
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"


def list_all(kind: Kind, status: str | None = None, part: str | None = None) -> Request:
    """All of a kind in the account and region, whoever made them.

    Args:
        kind: What.
        status: Only those in this state.
        part: Only those whose name has this in it.
    """
    wanted = {"StatusEquals": status, "NameContains": part}
    parameters = {key: value for key, value in wanted.items() if value is not None}
    return Request("sagemaker", kind.operation, parameters)


def list_tags(arn: str) -> Request:
    """The tags of something at SageMaker."""
    return Request("sagemaker", "ListTags", {"ResourceArn": arn})


def end(kind: Kind, name: str) -> Request:
    """Delete an endpoint, a config or a model; stop a job."""
    return Request("sagemaker", kind.end, {kind.name: name})


def describe_job(kind: Kind, name: str) -> Request:
    """What a job is."""
    return Request("sagemaker", kind.operation.replace("List", "Describe")[:-1], {kind.name: name})


def forget(kind: Kind, name: str) -> Request:
    """Delete the record of an ended job.

    Raises:
        ValueError: SageMaker keeps records of this kind.
    """
    if kind.forget is None:
        raise ValueError(f"{kind.title}: there is no operation to delete the record")
    return Request("sagemaker", kind.forget, {kind.name: name})


def describe_endpoint(name: str) -> Request:
    """Its state and its instances."""
    return Request("sagemaker", "DescribeEndpoint", {"EndpointName": name})


def describe_endpoint_config(name: str) -> Request:
    """Its variants and their instance types."""
    return Request("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": name})


def scalable_targets() -> Request:
    """All variants of endpoints that are scaled."""
    return Request(
        "application-autoscaling",
        "DescribeScalableTargets",
        {"ServiceNamespace": "sagemaker", "ScalableDimension": _DIMENSION},
    )


def scaling_tags(arn: str) -> Request:
    """The tags of a variant that is scaled."""
    return Request("application-autoscaling", "ListTagsForResource", {"ResourceARN": arn})


def scaling_policies(resource: str) -> Request:
    """The policies of a variant, as in `endpoint/NAME/variant/NAME`."""
    return Request("application-autoscaling", "DescribeScalingPolicies", _scaled(resource))


def delete_scaling_policy(resource: str, policy: str) -> Request:
    """Scale by this policy no more; alarms that it made itself go with it."""
    return Request(
        "application-autoscaling", "DeleteScalingPolicy", {"PolicyName": policy} | _scaled(resource)
    )


def deregister_scaling(resource: str) -> Request:
    """Scale a variant no more."""
    return Request("application-autoscaling", "DeregisterScalableTarget", _scaled(resource))


def _scaled(resource: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": resource,
        "ScalableDimension": _DIMENSION,
    }


def alarms() -> Request:
    """All alarms of metrics."""
    return Request("cloudwatch", "DescribeAlarms", {"AlarmTypes": ["MetricAlarm"]})


def alarm_tags(arn: str) -> Request:
    """The tags of an alarm."""
    return Request("cloudwatch", "ListTagsForResource", {"ResourceARN": arn})


def delete_alarm(name: str) -> Request:
    """Delete an alarm."""
    return Request("cloudwatch", "DeleteAlarms", {"AlarmNames": [name]})


def endpoint_log_groups(endpoint: str) -> Request:
    """The log groups whose name begins like the endpoint's."""
    return Request(
        "logs", "DescribeLogGroups", {"logGroupNamePrefix": f"{ENDPOINT_LOGS}{endpoint}"}
    )


def log_streams(group: str, job: str) -> Request:
    """The log streams of a job, one for each of its hosts."""
    parameters = {"logGroupName": group, "logStreamNamePrefix": f"{job}/"}
    return Request("logs", "DescribeLogStreams", parameters)


def delete_log_stream(group: str, name: str) -> Request:
    """Delete a log stream."""
    parameters = {"logGroupName": group, "logStreamName": name}
    return Request("logs", "DeleteLogStream", parameters)


def delete_log_group(name: str) -> Request:
    """Delete a log group."""
    return Request("logs", "DeleteLogGroup", {"logGroupName": name})


def delete_objects(bucket: str, keys: Sequence[str]) -> Request:
    """Delete up to 1,000 objects."""
    return Request(
        "s3",
        "DeleteObjects",
        {"Bucket": bucket, "Delete": {"Objects": [{"Key": key} for key in keys], "Quiet": True}},
    )


def object_versions(bucket: str) -> Request:
    """Older versions of objects, where somebody switched versioning on."""
    return Request("s3", "ListObjectVersions", {"Bucket": bucket})


def delete_versions(bucket: str, versions: Sequence[tuple[str, str]]) -> Request:
    """Delete up to 1,000 versions of objects for good, by key and id."""
    objects = [{"Key": key, "VersionId": version} for key, version in versions]
    return Request(
        "s3", "DeleteObjects", {"Bucket": bucket, "Delete": {"Objects": objects, "Quiet": True}}
    )


def delete_bucket(bucket: str) -> Request:
    """Delete an empty bucket."""
    return Request("s3", "DeleteBucket", {"Bucket": bucket})


def list_quotas() -> Request:
    """What the account may use of SageMaker."""
    return Request("service-quotas", "ListServiceQuotas", {"ServiceCode": "sagemaker"})


def get_prices(region: str, instance: str) -> Request:
    """The price list's entries of an instance type."""
    filters: list[dict[str, Any]] = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in (("regionCode", region), ("instanceName", instance))
    ]
    return Request(
        "pricing",
        "GetProducts",
        {"ServiceCode": "AmazonSageMaker", "Filters": filters, "FormatVersion": "aws_v1"},
    )


def describe_image(repository: str, tag: str) -> Request:
    """Whether an image was pushed, and its size."""
    return Request(
        "ecr",
        "DescribeImages",
        {"repositoryName": repository, "imageIds": [{"imageTag": tag}]},
    )
