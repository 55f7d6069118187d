"""All that a project has, in the order in which it can be removed."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from motrail.sagemaker.inventory import (
    ENDED,
    Item,
    gone,
    owned,
    project_alarms,
    running_states,
    scaled_variants,
)
from motrail.sagemaker.request import CloudError, Request, split_uri
from motrail.sagemaker.requests.admin import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    ENDPOINT_LOGS,
    JOBS,
    MODEL,
    TRAINING,
    Kind,
    delete_alarm,
    delete_log_group,
    delete_log_stream,
    delete_scaling_policy,
    deregister_scaling,
    describe_job,
    end,
    endpoint_log_groups,
    forget,
    log_streams,
    scaling_policies,
)
from motrail.sagemaker.setup import find_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.sagemaker.request import Cloud

RECORDED = tuple(sorted(ENDED - {"DeleteFailed"}))
"""States of jobs whose record can be deleted."""
RECORD = "record"
"""So begins the kind of a thing that is the record of a job."""
_SHORTEST = 8
"""Where a name has little room, so much of the project's stands in it at least."""


class Thing(NamedTuple):
    """What is to be removed, or stopped.

    Attributes:
        kind: As in "scaling policy".
        name: Its name.
        request: What removes it.
        item: The endpoint or job that it is, which takes a while to end.
    """

    kind: str
    name: str
    request: Request
    item: Item | None = None

    @property
    def action(self) -> str:
        """What is done to it."""
        return "stop" if self.request.operation.startswith("Stop") else "delete"


class Results(NamedTuple):
    """What lies in the bucket below one first part of the keys.

    Attributes:
        prefix: As in `training/`.
        objects: How many.
        size: Bytes.
    """

    prefix: str
    objects: int
    size: int


class Failure(NamedTuple):
    """What could not be removed.

    Attributes:
        what: Kind and name.
        why: What AWS says.
    """

    what: str
    why: str


@dataclass
class Inventory:
    """All that a project has.

    Attributes:
        things: What costs something or belongs to it, in the order of removal.
        logs: What endpoints wrote; it goes after them, as they write to their end.
        records: Ended jobs, of which SageMaker keeps a record that costs nothing, and their logs.
        bucket: The stack's bucket, if there is one.
        results: What lies in it.
        stack_id: The stack's ARN, if there is one.
        failures: What could not be listed.
    """

    things: list[Thing] = field(default_factory=list)
    logs: list[Thing] = field(default_factory=list)
    records: list[Thing] = field(default_factory=list)
    bucket: str | None = None
    results: list[Results] = field(default_factory=list)
    stack_id: str | None = None
    failures: list[Failure] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing but perhaps the stack."""
        return not (self.things or self.logs or self.records or self.results)


def take_inventory(cloud: Cloud, project: str) -> Inventory:
    """Find all that a project has; what cannot be listed is noted, and the rest is listed."""
    found = Inventory()
    endpoints: list[Item] = []
    with noting(found.failures, "endpoints"):
        endpoints += owned(cloud, project, ENDPOINT)
    names = [item.name for item in endpoints]
    with noting(found.failures, "scaling"):
        found.things += _scaling(cloud, project, names)
    with noting(found.failures, "alarms"):
        found.things += [
            Thing("alarm", name, delete_alarm(name)) for name in project_alarms(cloud, project)
        ]
    # One that is on its way out needs no second call, and SageMaker would refuse it.
    found.things += [thing_of(item) for item in endpoints if item.status != "Deleting"]
    for kind in (ENDPOINT_CONFIG, MODEL):
        with noting(found.failures, f"{kind.title}s"):
            found.things += [thing_of(item) for item in owned(cloud, project, kind)]
    with noting(found.failures, "log groups"):
        found.logs += _log_groups(cloud, names)
    for kind in JOBS:
        with noting(found.failures, f"{kind.title}s"):
            found.things += _running(cloud, project, kind)
    with noting(found.failures, "ended jobs"):
        found.records += list_records(cloud, project)
    with noting(found.failures, "the bucket"):
        _stack(cloud, project, found)
    return found


@contextlib.contextmanager
def noting(failures: list[Failure], what: str) -> Iterator[None]:
    """Note what AWS refuses, and go on."""
    try:
        yield
    except CloudError as error:
        failures.append(Failure(what, str(error)))


def thing_of(item: Item) -> Thing:
    """What ends an endpoint or a job, or deletes something else of SageMaker."""
    return Thing(item.kind.title, item.name, end(item.kind, item.name), item)


def _scaling(cloud: Cloud, project: str, endpoints: list[str]) -> Iterator[Thing]:
    for resource in scaled_variants(cloud, project, endpoints):
        for policy in cloud.pages(scaling_policies(resource), "ScalingPolicies"):
            name = str(policy["PolicyName"])
            yield Thing("scaling policy", name, delete_scaling_policy(resource, name))
        yield Thing("scaling target", resource, deregister_scaling(resource))


def _log_groups(cloud: Cloud, endpoints: list[str]) -> Iterator[Thing]:
    for endpoint in endpoints:
        for group in cloud.pages(endpoint_log_groups(endpoint), "logGroups"):
            name = str(group["logGroupName"])
            if name == f"{ENDPOINT_LOGS}{endpoint}":  # and not one whose name begins alike
                yield Thing("log group", name, delete_log_group(name))


def _running(cloud: Cloud, project: str, kind: Kind) -> Iterator[Thing]:
    for item in owned(cloud, project, kind, running_states(kind)):
        # What a tuning job began, it also stops.
        if kind is TRAINING and cloud.call(describe_job(kind, item.name)).get("TuningJobArn"):
            continue
        if item.status != "Stopping":
            yield thing_of(item)


def list_records(cloud: Cloud, project: str) -> Iterator[Thing]:
    """Ended jobs whose record can be deleted, each after what it wrote to its log.

    Only those whose name begins like the project's are looked at: an account keeps records of all
    that it ever did, and each costs a call.

    Raises:
        CloudError: SageMaker refuses to tell.
    """
    for kind in JOBS:
        if kind.forget is not None:
            for item in owned(cloud, project, kind, RECORDED, part=project[:_SHORTEST]):
                yield from _log_streams(cloud, kind, item.name)
                title = f"{RECORD} of a {kind.title}"
                yield Thing(title, item.name, forget(kind, item.name))


def _log_streams(cloud: Cloud, kind: Kind, job: str) -> Iterator[Thing]:
    if kind.logs is None:
        return
    try:
        for stream in cloud.pages(log_streams(kind.logs, job), "logStreams"):
            name = str(stream["logStreamName"])
            yield Thing("log stream", name, delete_log_stream(kind.logs, name))
    except CloudError as error:
        if not gone(error):  # no job of the account has ever written a log
            raise


def _stack(cloud: Cloud, project: str, found: Inventory) -> None:
    stack = find_stack(cloud, project)
    if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
        return
    found.stack_id = str(stack.get("StackId", project))
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", ())}
    found.bucket = outputs.get("Bucket")
    if found.bucket is not None:
        found.results = list_results(cloud, found.bucket)


def list_results(cloud: Cloud, bucket: str) -> list[Results]:
    """How much lies in a bucket, by the first part of the keys.

    Raises:
        CloudError: S3 refuses to tell.
    """
    counts: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    for item in cloud.objects(f"s3://{bucket}/"):
        _, key = split_uri(item.uri)
        prefix = f"{key.partition('/')[0]}/" if "/" in key else key
        counts[prefix] += 1
        sizes[prefix] += item.size
    return [Results(prefix, counts[prefix], sizes[prefix]) for prefix in sorted(counts)]
