"""What is known of a job, and what its client is shown of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled")
SourceKind = Literal["upload", "path", "url"]


@dataclass(frozen=True)
class Order:
    """A job as it is asked for.

    Attributes:
        id: 32 hexadecimal digits that nobody can guess.
        name: What the client calls the video.
        kind: Where the video comes from.
        source: Path or address; empty for an upload, which lies in the job's folder.
        settings: Section → key → value: all that the result depends on, beside the model.
        outputs: `csv`, and `mp4` where a video is wanted.
        webhook: Address to be told of the end.
        key: The client's Idempotency-Key.
        fingerprint: Hash of everything that was sent with that key.
    """

    id: str
    name: str
    kind: SourceKind
    source: str
    settings: dict[str, dict[str, Any]]
    outputs: tuple[str, ...] = ("csv",)
    webhook: str | None = None
    key: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True)
class Notice:
    """How far a webhook has come.

    Attributes:
        state: `waiting`, `delivered` or `failed`.
        attempts: How often it was tried.
        due: When it is tried next, in seconds since 1970.
        error: Why the last attempt failed.
    """

    state: str
    attempts: int = 0
    due: float = 0.0
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For people and programs."""
        return {"state": self.state, "attempts": self.attempts, "error": self.error}


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Attributes:
        order: What was asked for.
        state: Where it is on its way.
        frames: Frames done.
        total: Frames there will be; None where nobody knows.
        eta: When it will probably be done, in seconds since 1970.
        attempts: How often it was begun.
        deaths: How often its process died in the middle.
        created: In seconds since 1970, as the following.
        started: When it was first begun.
        ended: When it came to its end, whichever.
        error: Why it failed, in one line.
        truncated: Why the video ended early; None if it did not.
        removed: When its result was removed.
        notice: Its webhook; None if nobody is to be told.
    """

    order: Order
    state: State
    frames: int
    total: int | None
    eta: float | None
    attempts: int
    deaths: int
    created: float
    started: float | None
    ended: float | None
    error: str | None
    truncated: str | None
    removed: float | None
    notice: Notice | None

    @property
    def has_result(self) -> bool:
        """Whether there is something to fetch."""
        return self.state == "done" and self.removed is None

    def as_dict(self) -> dict[str, Any]:
        """The body of `GET /jobs/{id}`."""
        running = self.state == "running" and self.eta is not None
        return {
            "id": self.order.id,
            "name": self.order.name,
            "state": self.state,
            "frames": self.frames,
            "total": self.total,
            "eta_seconds": round(max((self.eta or 0) - time.time(), 0), 1) if running else None,
            "attempts": self.attempts,
            "created": iso_time(self.created),
            "started": iso_time(self.started),
            "ended": iso_time(self.ended),
            "error": self.error,
            "truncated": self.truncated,
            "outputs": list(self.order.outputs) if self.has_result else [],
            "webhook": self.notice and self.notice.as_dict(),
            "links": self.links,
        }

    @property
    def links(self) -> dict[str, str]:
        """Where the job and its result are found."""
        return {"self": f"/jobs/{self.order.id}", "result": f"/jobs/{self.order.id}/result"}


def iso_time(seconds: float | None) -> str | None:
    """A time as in SageMaker's notifications: `2026-11-23T16:00:00.000Z`."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
