"""The settings of work on Amazon SageMaker."""

from __future__ import annotations

import re
from dataclasses import dataclass

from motrail.config.sections import setting, within
from motrail.errors import ConfigError

MAX_STACK = 20
"""Longest name of a stack: all names that are made begin with it, and some have little room."""
_STACK = re.compile(rf"[a-z]([a-z0-9]|-(?=[a-z0-9])){{0,{MAX_STACK - 1}}}")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}")
_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
_SUBNET = re.compile(r"subnet-[0-9a-f]{8,17}")
_SECURITY_GROUP = re.compile(r"sg-[0-9a-f]{8,17}")
_KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+")
_WORKTEAM = re.compile(
    r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:([0-9]{12}|aws):workteam/[A-Za-z0-9/-]+"
)
_MAX_TRAINING_HOURS = 28 * 24
"""SageMaker stops a training job after 28 days (`MaxRuntimeInSeconds` of `StoppingCondition`)."""


@dataclass(frozen=True)
class SageMakerSettings:
    """`[sagemaker]`: where and on what work runs at Amazon SageMaker."""

    stack: str = setting(
        "motrail",
        "Name of the CloudFormation stack that holds the bucket, the roles and the topics; all "
        "names begin with it.",
    )
    region: str | None = setting(None, "AWS region as in eu-west-1; that of the profile if unset.")
    profile: str | None = setting(
        None, "Profile of the AWS configuration whose credentials are used; the usual one if unset."
    )
    training_instance: str = setting("ml.g6e.2xlarge", "Instance that trains.")
    training_fallbacks: tuple[str, ...] = setting(
        ("ml.g5.2xlarge",), "Instances that train where there are none of the first kind, in turn."
    )
    serving_instance: str = setting("ml.g6.xlarge", "Instance of an endpoint.")
    processing_instance: str = setting("ml.g6.xlarge", "Instance that works on many videos.")
    volume_gib: int = setting(50, "Size of an instance's disk, in GiB.")
    max_hours: float = setting(24.0, "Hours after which a job is stopped.")
    spot: bool = setting(
        True, "Whether training takes spare instances, which cost less and may be interrupted."
    )
    max_wait_hours: float = setting(
        48.0, "Hours after which such training is given up, waiting for instances included."
    )
    kms_key: str | None = setting(
        None, "ARN of the KMS key that encrypts disks and results; keys of AWS if unset."
    )
    subnets: tuple[str, ...] = setting((), "Subnets of your VPC to run in; none for AWS's own.")
    security_groups: tuple[str, ...] = setting(
        (), "Security groups there; to be given with the subnets."
    )
    workteam: str | None = setting(None, "ARN of the team that labels in Ground Truth.")

    def __post_init__(self) -> None:
        if not _STACK.fullmatch(self.stack):
            raise ConfigError(
                f"stack: expected a letter and then up to {MAX_STACK - 1} small letters, digits "
                f"and single hyphens, found {self.stack!r}"
            )
        _each("region", self.region, _REGION, "a region as in eu-west-1")
        for name in ("training_instance", "serving_instance", "processing_instance"):
            _each(name, getattr(self, name), _INSTANCE, "an instance type as in ml.g6.xlarge")
        _each("training_fallbacks", self.training_fallbacks, _INSTANCE, "types as in ml.g6.xlarge")
        _each("kms_key", self.kms_key, _KEY, "the ARN of a key, arn:aws:kms:…:key/…")
        _each("workteam", self.workteam, _WORKTEAM, "an ARN, arn:aws:sagemaker:…:workteam/…")
        _each("subnets", self.subnets, _SUBNET, "ids as in subnet-0a1b2c3d")
        _each("security_groups", self.security_groups, _SECURITY_GROUP, "ids as in sg-0a1b2c3d")
        if bool(self.subnets) != bool(self.security_groups):
            raise ConfigError(
                "subnets: expected together with security_groups, found "
                f"{len(self.subnets)} subnets and {len(self.security_groups)} security groups"
            )
        within("volume_gib", self.volume_gib, 1, 16384)
        within("max_hours", self.max_hours, 1 / 60, _MAX_TRAINING_HOURS)
        within("max_wait_hours", self.max_wait_hours, 1 / 60, _MAX_TRAINING_HOURS)
        if self.spot and self.max_wait_hours < self.max_hours:
            raise ConfigError(
                f"max_wait_hours: expected at least max_hours ({self.max_hours:g}) with spot, "
                f"found {self.max_wait_hours:g}"
            )


def _each(
    name: str, values: str | tuple[str, ...] | None, pattern: re.Pattern[str], expected: str
) -> None:
    """See that a text, or each of several, is of the form that AWS has for it."""
    for value in (values,) if isinstance(values, str) else values or ():
        if not pattern.fullmatch(value):
            raise ConfigError(f"{name}: expected {expected}, found {value!r}")
