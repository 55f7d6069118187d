"""What is planted to go wrong, and the quotas of the account that is played."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from motrail.sagemaker.rehearsal.site import refuse

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Site

LOST = "ClientError: The rehearsal ended before the job did"
USAGES = (
    "training job usage",
    "spot training job usage",
    "processing job usage",
    "endpoint usage",
)
"""What SageMaker's quotas are kept for, each for each instance type."""
USUAL_QUOTA = 20.0
"""Instances of a type that may be used at once where nothing else was planted. A new account of AWS
has none of most types with a GPU."""


class Interruption(NamedTuple):
    """A spot instance that will be taken away.

    Attributes:
        after_epochs: As soon as the log tells of this epoch, counted from 1.
        job: Only that of this name.
    """

    after_epochs: int
    job: str | None


class Faults:
    """Planted trouble."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._refusals: dict[str, deque[tuple[str, str]]] = defaultdict(deque)
        self._interruptions: list[Interruption] = []
        self.no_capacity: set[str] = set()
        self.quotas: dict[str, float] = {}

    def fail_next(self, operation: str, code: str, message: str) -> None:
        """Refuse the next call of an operation that nothing was planted for yet."""
        self._refusals[operation].append((code, message))

    def check(self, operation: str) -> None:
        """Refuse a call if that was planted.

        Raises:
            CloudError: It was.
        """
        with self._site.lock:
            planted = self._refusals[operation].popleft() if self._refusals[operation] else None
        if planted is not None:
            refuse(*planted)

    def interrupt(self, interruption: Interruption) -> None:
        """Take a spot instance away, once."""
        with self._site.lock:
            self._interruptions.append(interruption)

    def interruption(self, job: str) -> Interruption | None:
        """The next interruption that is meant for a job; it is not given again."""
        with self._site.lock:
            for planted in self._interruptions:
                if planted.job in {None, job}:
                    self._interruptions.remove(planted)
                    return planted
        return None

    def quota(self, name: str) -> float:
        """The value of a quota such as `ml.g5.xlarge for endpoint usage`."""
        return self.quotas.get(name, USUAL_QUOTA)

    def check_quota(self, instance: str, usage: str, used: int, wanted: int) -> None:
        """See that so many more instances may be used.

        Raises:
            CloudError: They may not.
        """
        name = f"{instance} for {usage}"
        limit = self.quota(name)
        if used + wanted > limit:
            refuse(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' is {limit:.0f} Instances, with current "
                f"utilization of {used} Instances and a request delta of {wanted} Instances. "
                "Please use AWS Service Quotas to request an increase for this quota. If AWS "
                "Service Quotas is not available, contact AWS support to request an increase for "
                "this quota.",
            )


def quota_code(name: str) -> str:
    """A code of the form of AWS's; which one AWS has for this quota only AWS knows."""
    return f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


def instance_choices(resources: Record) -> list[tuple[str, int]]:
    """The types of instances that a job may run on, and how many of them, best first."""
    count = int(resources.get("InstanceCount", 1))
    preferences = resources.get("InstancePreferences")
    if not preferences:
        return [(resources["InstanceType"], count)]
    return [(each["InstanceType"], int(each.get("InstanceCount", count))) for each in preferences]
