"""Make the stack, or bring it up to date: by a change set, which is shown before it is done."""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from motrail.errors import ConfigError
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests.stack import (
    ChangeSetType,
    bucket_arns,
    create_change_set,
    delete_change_set,
    delete_stack,
    describe_change_set,
    describe_stack,
    execute_change_set,
    stack_events,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.config import SageMakerSettings
    from motrail.sagemaker.request import Cloud

    Tell = Callable[["Event"], None]

POLL_SECONDS = 5.0
_POLLS = 720
"""An hour; a stack like ours takes some two minutes."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")

_GOOD = {"done": ("DELETE_COMPLETE",), "failed": ("CREATE_COMPLETE", "UPDATE_COMPLETE")}


class Change(NamedTuple):
    """What would happen to a resource.

    Attributes:
        action: Add, Modify or Remove, as CloudFormation says; also Import and Dynamic.
        name: Of the resource in the template.
        type: As in AWS::S3::Bucket.
        replaced: Whether what is there would be deleted and made anew: True, False or Conditional.
    """

    action: str
    name: str
    type: str
    replaced: str


class Event(NamedTuple):
    """Something that happened to a resource of a stack.

    Attributes:
        status: As in CREATE_COMPLETE.
        name: Of the resource in the template.
        type: As in AWS::S3::Bucket.
        reason: What CloudFormation says about it, or nothing.
    """

    status: str
    name: str
    type: str
    reason: str


@dataclass
class Plan:
    """A change set that is worked out and not carried out.

    Attributes:
        stack: Name of the stack.
        stack_id: Its ARN, by which events are found even when it is gone.
        change_set: Name of the change set.
        kind: Whether the stack is new.
        changes: What would change; nothing if it is as it should be.
    """

    stack: str
    stack_id: str
    change_set: str
    kind: ChangeSetType
    changes: list[Change] = field(default_factory=list)


def plan_stack(
    cloud: Cloud,
    settings: SageMakerSettings,
    *,
    input_buckets: tuple[str, ...] = (),
    forget: bool = False,
) -> Plan:
    """Work out what has to change; nothing is changed yet.

    Args:
        cloud: Where.
        settings: Name of the stack, key and network. What is not set stays as it was.
        input_buckets: Names of other buckets that batches may read.
        forget: Whether key, network and buckets that are not given now are given up.

    Raises:
        ConfigError: A name is none, or the stack is in a state that has to end first.
        CloudError: CloudFormation refuses.
    """
    _check_buckets(input_buckets)
    stack = settings.stack
    status, known = _state(cloud, stack)
    kind: ChangeSetType = "CREATE" if status in (None, "REVIEW_IN_PROGRESS") else "UPDATE"
    given = {
        "Project": stack,
        "KmsKey": settings.kms_key or "",
        "Subnets": ",".join(settings.subnets),
        "SecurityGroups": ",".join(settings.security_groups),
        "InputBuckets": bucket_arns(input_buckets, cloud.region),
    }
    keep = () if forget or kind == "CREATE" else known
    parameters = {key: None if not value and key in keep else value for key, value in given.items()}
    name = f"motrail-{secrets.token_hex(6)}"
    plan = Plan(stack, stack, name, kind)
    try:
        answer = cloud.call(create_change_set(stack, name, kind, parameters))
        plan.stack_id = str(answer.get("StackId", stack))
        plan.changes = _worked_out(cloud, plan)
    except KeyboardInterrupt:
        with contextlib.suppress(CloudError):  # it may not have come that far
            discard(cloud, plan)
        raise
    return plan


def _check_buckets(names: tuple[str, ...]) -> None:
    for name in names:
        if not _BUCKET.fullmatch(name):
            raise ConfigError(f"--input-bucket: expected the name of a bucket, found {name!r}")


def _state(cloud: Cloud, stack: str) -> tuple[str | None, tuple[str, ...]]:
    """Status of a stack, None if there is none, and the parameters that it has."""
    found = find_stack(cloud, stack)
    if found is None:
        return None, ()
    status = str(found["StackStatus"])
    if status == "DELETE_COMPLETE":
        return None, ()
    if status == "REVIEW_IN_PROGRESS":
        return status, ()
    if status.endswith("_IN_PROGRESS"):
        raise ConfigError(f"the stack {stack!r} is {status}; try again when that is over")
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
        raise ConfigError(
            f"the stack {stack!r} is {status} and cannot be brought up to date; run: motrail "
            f"sagemaker cleanup --all --stack {stack}, then setup again"
        )
    return status, tuple(item["ParameterKey"] for item in found.get("Parameters", ()))


def find_stack(cloud: Cloud, stack: str) -> dict[str, Any] | None:
    """What CloudFormation knows of a stack, None if there is none.

    Raises:
        CloudError: It refuses to tell.
    """
    try:
        found: dict[str, Any] = cloud.call(describe_stack(stack))["Stacks"][0]
    except CloudError as error:
        if "does not exist" in str(error):
            return None
        raise
    return found


def _worked_out(cloud: Cloud, plan: Plan) -> list[Change]:
    for _ in range(_POLLS):
        found = cloud.call(describe_change_set(plan.stack, plan.change_set))
        status, reason = found["Status"], str(found.get("StatusReason", ""))
        if status == "FAILED" and any(words in reason for words in _NO_CHANGES):
            cloud.call(delete_change_set(plan.stack, plan.change_set))
            return []
        if status == "FAILED":
            discard(cloud, plan)
            raise CloudError(f"CloudFormation refuses the stack: {reason}", code="ChangeSetFailed")
        if status == "CREATE_COMPLETE":
            request = describe_change_set(plan.stack, plan.change_set)
            return [_change(item) for item in cloud.pages(request, "Changes")]
        cloud.sleep(POLL_SECONDS)
    raise CloudError("CloudFormation has not worked out the change in an hour", code="TimedOut")


def _change(item: dict[str, Any]) -> Change:
    found = item["ResourceChange"]
    return Change(
        str(found["Action"]),
        str(found["LogicalResourceId"]),
        str(found["ResourceType"]),
        str(found.get("Replacement", "False")),
    )


def discard(cloud: Cloud, plan: Plan) -> None:
    """Leave everything as it was.

    Raises:
        CloudError: CloudFormation refuses.
    """
    cloud.call(delete_change_set(plan.stack, plan.change_set))
    if plan.kind == "CREATE":  # the change set left an empty stack under review
        cloud.call(delete_stack(plan.stack))


def carry_out(cloud: Cloud, plan: Plan, tell: Tell | None = None) -> None:
    """Make the changes and wait for their end.

    Args:
        cloud: Where.
        plan: From `plan_stack`.
        tell: Hears of every event.

    Raises:
        CloudError: It failed, and was undone; the message names the resources at fault.
    """
    seen = event_ids(cloud, plan.stack_id)
    cloud.call(execute_change_set(plan.stack, plan.change_set))
    wait_for(cloud, plan.stack_id, seen, tell, gone="failed")


def wait_for(
    cloud: Cloud,
    stack_id: str,
    seen: set[str],
    tell: Tell | None = None,
    *,
    gone: Literal["done", "failed"],
) -> None:
    """Wait until nothing happens to a stack any more.

    Args:
        cloud: Where.
        stack_id: The stack's ARN.
        seen: Ids of events that are old.
        tell: Hears of every new event.
        gone: What it means when the stack does not exist in the end.

    Raises:
        CloudError: What was begun has failed.
    """
    news: list[Event] = []
    for _ in range(_POLLS):
        for item in reversed(_events(cloud, stack_id)):
            if str(item["EventId"]) in seen:
                continue
            seen.add(str(item["EventId"]))
            news.append(_event(item))
            if tell is not None:
                tell(news[-1])
        found = find_stack(cloud, stack_id)
        status = "DELETE_COMPLETE" if found is None else str(found["StackStatus"])
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            if status not in _GOOD[gone]:
                raise CloudError(f"the stack is {status}: {explain(news)}", code=status)
            return
        cloud.sleep(POLL_SECONDS)
    raise CloudError("the stack is not ready after an hour", code="TimedOut")


def _events(cloud: Cloud, stack_id: str) -> list[dict[str, Any]]:
    try:
        return list(cloud.pages(stack_events(stack_id), "StackEvents"))
    except CloudError as error:
        if "does not exist" in str(error):
            return []
        raise


def event_ids(cloud: Cloud, stack_id: str) -> set[str]:
    """Ids of what happened to a stack up to now."""
    return {str(item["EventId"]) for item in _events(cloud, stack_id)}


def _event(item: dict[str, Any]) -> Event:
    return Event(
        str(item.get("ResourceStatus", "")),
        str(item.get("LogicalResourceId", "")),
        str(item.get("ResourceType", "")),
        str(item.get("ResourceStatusReason", "")),
    )


def explain(events: list[Event]) -> str:
    """Which resources failed and why, the causes alone: not what was given up because of them."""
    causes = [
        f"{event.name} ({event.type}): {event.reason}"
        for event in events
        if event.status.endswith("_FAILED")
        and event.reason
        and "cancelled" not in event.reason
        and event.type != "AWS::CloudFormation::Stack"
    ]
    if causes:
        return "; ".join(causes)
    reasons = [event.reason for event in events if event.reason]
    return reasons[-1] if reasons else "CloudFormation gives no reason"
