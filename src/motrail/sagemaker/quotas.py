"""What the account may use: looked up before anything is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from motrail.errors import ConfigError
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests.admin import list_quotas

if TYPE_CHECKING:
    from motrail.sagemaker.request import Cloud

Use = Literal["training", "spot training", "endpoint", "processing"]
NAMES: dict[str, str] = {
    "training": "for training job usage",
    "spot training": "for spot training job usage",
    "endpoint": "for endpoint usage",
    "processing": "for processing job usage",
}
"""How the names of SageMaker's quotas end; the instance type stands before it."""


class Quota(NamedTuple):
    """How many instances of a type may be used at a time.

    Attributes:
        name: As in `ml.g5.2xlarge for endpoint usage`.
        code: As in L-1194F27D.
        value: Instances.
        adjustable: Whether one may ask for more.
    """

    name: str
    code: str
    value: float
    adjustable: bool


def find_quota(cloud: Cloud, instance: str, use: Use) -> Quota | None:
    """The quota of an instance type for a use; None if the account is told of none.

    Raises:
        CloudError: The service refuses to tell.
    """
    wanted = quota_name(instance, use)
    for item in cloud.pages(list_quotas(), "Quotas"):
        if item.get("QuotaName") == wanted:
            return Quota(
                wanted,
                str(item["QuotaCode"]),
                float(item["Value"]),
                bool(item.get("Adjustable", True)),
            )
    return None


def quota_name(instance: str, use: Use) -> str:
    """What the quota is called.

    Raises:
        ConfigError: There is no such use.
    """
    if use not in NAMES:
        raise ConfigError(f"use of instances: expected one of {', '.join(NAMES)}, found {use!r}")
    return f"{instance} {NAMES[use]}"


def check_quota(cloud: Cloud, instance: str, use: Use, count: int = 1) -> Quota | None:
    """See that the account may use so many instances at a time.

    Those that are in use already are not counted: SageMaker itself refuses then, and at once.

    Args:
        cloud: Where.
        instance: As in ml.g5.2xlarge.
        use: What for.
        count: Instances at a time.

    Returns:
        The quota; None where it cannot be known, and then nothing is in the way.

    Raises:
        ConfigError: It may not; says how to ask for more.
    """
    try:
        quota = find_quota(cloud, instance, use)
    except CloudError as error:
        if "AccessDenied" in error.code or "NotAuthorized" in error.code:
            return None
        raise
    if quota is None or quota.value >= count:
        return quota
    more = (
        f"ask for more: {increase_command(quota, count, cloud.region)} (it may take days)"
        if quota.adjustable
        else "AWS does not raise this one; choose another instance type"
    )
    raise ConfigError(
        f"{quota.name}: this account may use {quota.value:g} at a time in {cloud.region}, and "
        f"{count} are needed; {more}"
    )


def increase_command(quota: Quota, count: int, region: str) -> str:
    """The command that asks AWS for more."""
    return (
        "aws service-quotas request-service-quota-increase --service-code sagemaker "
        f"--quota-code {quota.code} --desired-value {count} --region {region}"
    )
