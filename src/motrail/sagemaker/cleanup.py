"""Remove all that a project made; after one failure, the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motrail.sagemaker.inventory import ENDED, gone
from motrail.sagemaker.leftovers import Failure, noting
from motrail.sagemaker.removal import all_or_error
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.requests.admin import (
    ENDPOINT,
    JOBS,
    delete_bucket,
    delete_objects,
    delete_versions,
    describe_endpoint,
    describe_job,
    object_versions,
)
from motrail.sagemaker.requests.stack import delete_stack
from motrail.sagemaker.setup import event_ids, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from motrail.sagemaker.inventory import Item
    from motrail.sagemaker.leftovers import Inventory, Thing
    from motrail.sagemaker.request import Cloud
    from motrail.sagemaker.setup import Event

POLL_SECONDS = 10.0
_POLLS = 360
"""An hour; an endpoint takes minutes to go, a job two minutes and what it still uploads."""
_AT_ONCE = 1000
"""Objects that S3 deletes in one call."""
_SLOW = (ENDPOINT, *JOBS)


def remove(
    cloud: Cloud, things: Iterable[Thing], tell: Callable[[Thing, str], None]
) -> list[Failure]:
    """Remove, and go on when one cannot be removed.

    Args:
        cloud: Where.
        things: What, in this order.
        tell: Hears of each and what became of it: `done`, `gone already` or `failed`.

    Returns:
        What could not be removed.
    """
    failures = []
    for thing in things:
        try:
            cloud.call(thing.request)
            outcome = "done"
        except CloudError as error:
            outcome = "gone already" if _harmless(error) else "failed"
            if outcome == "failed":
                failures.append(Failure(f"{thing.kind} {thing.name}", str(error)))
        tell(thing, outcome)
    return failures


def _harmless(error: CloudError) -> bool:
    """Whether what was to be removed is not there, or was ended by somebody else meanwhile."""
    return gone(error) or "in a terminal state" in str(error).lower()


def wait_until_ended(
    cloud: Cloud, things: Iterable[Thing], tell: Callable[[str, int], None] | None = None
) -> list[Failure]:
    """Wait for endpoints to go and for jobs to end, which still write meanwhile.

    Args:
        cloud: Where.
        things: What was deleted or stopped.
        tell: Hears how many are left.

    Returns:
        What has not ended within an hour, or cannot be asked for.
    """
    items = [thing.item for thing in things if thing.item is not None]
    left = [item for item in items if item.kind in _SLOW]
    failures: list[Failure] = []
    for _ in range(_POLLS):
        still = []
        for item in left:
            with noting(failures, f"{item.kind.title} {item.name}"):
                if not _ended_now(cloud, item):
                    still.append(item)
        left = still
        if not left:
            return failures
        if tell is not None:
            tell("waiting for the end", len(left))
        cloud.sleep(POLL_SECONDS)
    return failures + [
        Failure(f"{i.kind.title} {i.name}", "has not ended in an hour") for i in left
    ]


def _ended_now(cloud: Cloud, item: Item) -> bool:
    try:
        if item.kind is ENDPOINT:
            cloud.call(describe_endpoint(item.name))
            return False
        found = cloud.call(describe_job(item.kind, item.name))
        return found[item.kind.status or ""] in ENDED
    except CloudError as error:
        if gone(error):
            return True
        raise


def empty_bucket(cloud: Cloud, bucket: str, tell: Callable[[str, int], None] | None = None) -> int:
    """Delete everything in a bucket.

    Returns:
        How many objects.

    Raises:
        CloudError: S3 refuses.
    """
    keys = [split_uri(item.uri)[1] for item in cloud.objects(f"s3://{bucket}/")]
    for start in range(0, len(keys), _AT_ONCE):
        if tell is not None:
            tell("deleting objects", len(keys) - start)
        all_or_error(cloud.call(delete_objects(bucket, keys[start : start + _AT_ONCE])))
    return len(keys)


def remove_stack(cloud: Cloud, found: Inventory, tell: Callable[[Event], None]) -> list[Failure]:
    """Delete the stack and its bucket, which has to be empty, or the stack alone.

    A bucket that still holds something stays, as the stack is told to keep it.

    Returns:
        What could not be deleted.
    """
    failures: list[Failure] = []
    if found.stack_id is None:
        return failures
    with noting(failures, "stack"):
        seen = event_ids(cloud, found.stack_id)
        cloud.call(delete_stack(found.stack_id))
        wait_for(cloud, found.stack_id, seen, tell, gone="done")
        if found.bucket is not None and next(cloud.objects(f"s3://{found.bucket}/"), None) is None:
            with noting(failures, f"bucket {found.bucket}"):
                _delete_bucket(cloud, found.bucket)
    return failures


def _delete_bucket(cloud: Cloud, bucket: str) -> None:
    try:
        cloud.call(delete_bucket(bucket))
    except CloudError as error:
        if gone(error):
            return
        if error.code != "BucketNotEmpty":
            raise
        # Somebody switched versioning on.
        _delete_versions(cloud, bucket)
        cloud.call(delete_bucket(bucket))


def _delete_versions(cloud: Cloud, bucket: str) -> None:
    while True:
        answer = cloud.call(object_versions(bucket))
        found = [
            (str(item["Key"]), str(item["VersionId"]))
            for kind in ("Versions", "DeleteMarkers")
            for item in answer.get(kind) or ()
        ]
        if not found:
            return
        all_or_error(cloud.call(delete_versions(bucket, found[:_AT_ONCE])))
