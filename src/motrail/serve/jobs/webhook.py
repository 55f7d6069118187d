"""Tell of the ends of jobs, at least once and always with the same id.

The body has the shape of SageMaker's notifications of asynchronous inference, so that one receiver
serves both.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
from typing import TYPE_CHECKING, Any

from motrail.serve.jobs.outbound import OutboundError, request
from motrail.serve.jobs.records import Notice, iso_time
from motrail.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.serve.jobs.addresses import Allowed
    from motrail.serve.jobs.metrics import JobMetrics
    from motrail.serve.jobs.records import Job
    from motrail.serve.jobs.store import Store
    from motrail.serve.logs import Log

EVENT_ID = "X-Motrail-Event-Id"
SIGNATURE = "X-Motrail-Signature"
_SECONDS = 10.0
_LONGEST_WAIT = 3600.0
_EARLY = 1.0


def notification(job: Job) -> dict[str, Any]:
    """The body for a job that is done or failed; the same whenever it is made."""
    done = job.state == "done"
    content: dict[str, Any] = {
        "awsRegion": None,
        "eventTime": iso_time(job.ended),
        "receivedTime": iso_time(job.created),
        "invocationStatus": "Completed" if done else "Failed",
        "requestParameters": {"inputLocation": job.order.source or None},
        "responseParameters": {"outputLocation": job.links["result"] if done else None},
        "inferenceId": job.order.id,
        "eventVersion": "1.0",
        "eventSource": "motrail:jobs",
        "eventName": "InferenceResult",
    }
    if not done:
        content["failureReason"] = job.error
    return content


def signature(secret: str, body: bytes) -> str:
    """The value of the header: HMAC-SHA256 of the body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Notifier:
    """Sends webhooks.

    Args:
        store: The records.
        allowed: Addresses that may be told.
        secret: For the signature; None for none.
        attempts: How often one is tried.
        wait: Seconds until the second attempt; three times as many until each further one.
        later: Called with an id and the seconds after which it is to be tried again.
        log: Is told of failures.
        metrics: Counts.
    """

    def __init__(
        self,
        store: Store,
        allowed: Allowed,
        secret: str | None,
        attempts: int,
        wait: float,
        later: Callable[[str, float], None],
        log: Log,
        metrics: JobMetrics,
    ) -> None:
        self._store, self._allowed, self._secret = store, allowed, secret
        self._attempts, self._wait, self._later = attempts, wait, later
        self._log, self._metrics = log, metrics
        self._random = random.SystemRandom()

    def notify(self, id_: str) -> None:
        """Try to tell of the end of a job."""
        job = self._store.get(id_)
        if job is None or job.notice is None or job.order.webhook is None or job.ended is None:
            return
        if job.notice.state != "waiting" or job.notice.due > time.time() + _EARLY:
            return  # told twice of it
        attempt = job.notice.attempts + 1
        error = self._send(job, job.order.webhook)
        if error is None:
            self._metrics.webhooks.labels("delivered").inc()
            self._store.note(id_, Notice("delivered", attempt))
            return
        self._metrics.webhooks.labels("failed").inc()
        self._log.write(
            "webhook_failed", level="warning", job=id_[:8], attempt=attempt, error=error
        )
        if attempt >= self._attempts:
            self._store.note(id_, Notice("failed", attempt, error=error))
            return
        seconds = self.pause(attempt)
        self._store.note(id_, Notice("waiting", attempt, time.time() + seconds, error))
        self._later(id_, seconds)

    def pause(self, attempt: int) -> float:
        """Seconds until the next attempt: longer each time, and never the same for all."""
        longest = min(self._wait * 3.0 ** min(attempt - 1, 30), _LONGEST_WAIT)
        return longest * self._random.uniform(0.5, 1.5)

    def _send(self, job: Job, address: str) -> str | None:
        """Why it could not be delivered; None if it was."""
        body = json.dumps(notification(job)).encode()
        headers = {"Content-Type": "application/json", EVENT_ID: job.order.id}
        if self._secret:
            headers[SIGNATURE] = signature(self._secret, body)
        try:
            permit = self._allowed.url(address)
            with request(permit, "POST", seconds=_SECONDS, body=body, headers=headers) as response:
                if 200 <= response.status < 300:
                    return None
                also = "; redirects are not followed" if 300 <= response.status < 400 else ""
                return f"{permit.url.host}: expected a status of 2xx, found {response.status}{also}"
        except Problem as problem:
            return problem.message
        except OutboundError as error:
            return str(error)
