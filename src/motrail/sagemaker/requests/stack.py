"""Requests about the CloudFormation stack: pure functions."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from motrail.sagemaker.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

ChangeSetType = Literal["CREATE", "UPDATE"]
PARAMETERS = ("Project", "KmsKey", "Subnets", "SecurityGroups", "InputBuckets")
"""Those of the template."""


def template() -> str:
    """The stack as CloudFormation takes it."""
    return (files("motrail.sagemaker") / "stack.yaml").read_text(encoding="utf-8")


def describe_stack(name: str) -> Request:
    """Status, parameters and outputs of a stack."""
    return Request("cloudformation", "DescribeStacks", {"StackName": name})


def create_change_set(
    stack: str,
    name: str,
    kind: ChangeSetType,
    parameters: Mapping[str, str | None],
) -> Request:
    """Work out what would change, without changing it.

    Args:
        stack: Name of the stack.
        name: Of the change set.
        kind: Whether there is a stack already.
        parameters: Of the template; None keeps the value that the stack has.
    """
    sent: dict[str, Any] = {
        "StackName": stack,
        "ChangeSetName": name,
        "ChangeSetType": kind,
        "Description": "motrail sagemaker setup",
        "TemplateBody": template(),
        "Parameters": [_parameter(key, value) for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": [{"Key": "motrail:project", "Value": stack}],
    }
    if kind == "CREATE":  # a first try that fails leaves nothing behind
        sent["OnStackFailure"] = "DELETE"
    return Request("cloudformation", "CreateChangeSet", sent)


def _parameter(key: str, value: str | None) -> dict[str, Any]:
    if value is None:
        return {"ParameterKey": key, "UsePreviousValue": True}
    return {"ParameterKey": key, "ParameterValue": value}


def describe_change_set(stack: str, name: str) -> Request:
    """Whether it is worked out, and the changes."""
    return _of_change_set("DescribeChangeSet", stack, name)


def execute_change_set(stack: str, name: str) -> Request:
    """Make the changes."""
    return _of_change_set("ExecuteChangeSet", stack, name)


def delete_change_set(stack: str, name: str) -> Request:
    """Make them not."""
    return _of_change_set("DeleteChangeSet", stack, name)


def _of_change_set(operation: str, stack: str, name: str) -> Request:
    return Request("cloudformation", operation, {"StackName": stack, "ChangeSetName": name})


def stack_events(stack: str) -> Request:
    """What happened, the newest first; a stack that is gone has to be named by its ARN."""
    return Request("cloudformation", "DescribeStackEvents", {"StackName": stack})


def delete_stack(stack: str) -> Request:
    """Delete the stack and what it holds, but for the bucket."""
    return Request("cloudformation", "DeleteStack", {"StackName": stack})


def partition(region: str) -> str:
    """The first word of ARNs of a region after `arn:`."""
    for start, name in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
        if region.startswith(start):
            return name
    return "aws"


def bucket_arns(buckets: tuple[str, ...], region: str) -> str:
    """Names of buckets as the template takes them."""
    return ",".join(f"arn:{partition(region)}:s3:::{name}" for name in buckets)
