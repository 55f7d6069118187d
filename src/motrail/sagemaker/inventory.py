"""What a project has at SageMaker, found by its tag and not by names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from motrail.sagemaker.project import PROJECT_TAG
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests.admin import (
    LABELING,
    Kind,
    alarm_tags,
    alarms,
    list_all,
    list_tags,
    scalable_targets,
    scaling_tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from motrail.sagemaker.request import Cloud

RUNNING: dict[Kind, tuple[str, ...]] = {LABELING: ("Initializing", "InProgress", "Stopping")}
_RUNNING = ("InProgress", "Stopping")
ENDED = frozenset({"Completed", "Failed", "Stopped", "DeleteFailed"})
"""States that a job never leaves by itself."""


class Item(NamedTuple):
    """Something at SageMaker that is the project's.

    Attributes:
        kind: What it is.
        name: Its name.
        arn: Its ARN.
        status: As SageMaker lists it; nothing for what has none.
    """

    kind: Kind
    name: str
    arn: str
    status: str


def running_states(kind: Kind) -> tuple[str, ...]:
    """In which states a job costs something."""
    return RUNNING.get(kind, _RUNNING)


def owned(
    cloud: Cloud,
    project: str,
    kind: Kind,
    statuses: Iterable[str | None] = (None,),
    part: str | None = None,
) -> Iterator[Item]:
    """What of a kind carries the project's tag.

    Args:
        cloud: Where.
        project: Value of the tag `motrail:project`.
        kind: What.
        statuses: Only those in one of these states; None for all.
        part: Only those whose name has this in it.

    Raises:
        CloudError: SageMaker refuses to tell.
    """
    for status in statuses:
        for entry in cloud.pages(list_all(kind, status, part), kind.items):
            arn = str(entry[kind.arn])
            if sagemaker_tags(cloud, arn).get(PROJECT_TAG) == project:
                found = str(entry.get(kind.status or "", ""))
                yield Item(kind, str(entry[kind.name]), arn, found)


def sagemaker_tags(cloud: Cloud, arn: str) -> dict[str, str]:
    """The tags of something at SageMaker; none if it has just gone.

    Raises:
        CloudError: SageMaker refuses to tell.
    """
    try:
        return {tag["Key"]: tag["Value"] for tag in cloud.pages(list_tags(arn), "Tags")}
    except CloudError as error:
        if gone(error):
            return {}
        raise


def gone(error: CloudError) -> bool:
    """Whether an answer says that there is no such thing.

    SageMaker says so by a `ValidationException` with words, other services by a code.
    """
    words = str(error).lower()
    return error.code in (
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ObjectNotFoundException",
        "NoSuchKey",
        "NoSuchBucket",
    ) or (
        error.code == "ValidationException"
        and any(part in words for part in ("could not find", "not found", "does not exist"))
    )


def scaled_variants(cloud: Cloud, project: str, endpoints: Iterable[str]) -> Iterator[str]:
    """Variants that are scaled: of these endpoints, or with the project's tag.

    Returns:
        As in `endpoint/NAME/variant/NAME`.

    Raises:
        CloudError: Auto scaling refuses to tell.
    """
    names = set(endpoints)
    for target in cloud.pages(scalable_targets(), "ScalableTargets"):
        resource = str(target["ResourceId"])
        if resource.split("/")[1:2] and resource.split("/")[1] in names:
            yield resource
        elif arn := target.get("ScalableTargetARN"):
            tags = cloud.call(scaling_tags(str(arn))).get("Tags", {})
            if tags.get(PROJECT_TAG) == project:
                yield resource


def project_alarms(cloud: Cloud, project: str) -> Iterator[str]:
    """Names of alarms with the project's tag.

    Raises:
        CloudError: CloudWatch refuses to tell.
    """
    for alarm in cloud.pages(alarms(), "MetricAlarms"):
        # An account may have thousands, and each costs a call.
        if "sagemaker" not in str(alarm.get("Namespace", "sagemaker")).lower():
            continue
        tags = cloud.call(alarm_tags(str(alarm["AlarmArn"]))).get("Tags", ())
        if {"Key": PROJECT_TAG, "Value": project} in list(tags):
            yield str(alarm["AlarmName"])
