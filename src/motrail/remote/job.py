"""A job: a whole video that the server works on by itself."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from motrail.remote.messages import CSV, attributes, by_section, read_json
from motrail.remote.problems import RemoteError
from motrail.remote.video_file import VIDEO_SECONDS, media_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from motrail.remote.transport import HttpTransport

    Sections = Mapping[str, Mapping[str, object]]

WEBHOOK = "X-Motrail-Webhook"
OUTPUTS = "X-Motrail-Outputs"
_JSON = "application/json"
_LONGEST_NAME = 100
_FIRST_LOOK = 0.1  # seconds, half as long again with each further look
_LONGEST_LOOK = 2.0
_OVER = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobState:
    """What the server says of a job.

    Attributes:
        id: Its name there.
        state: `queued`, `running`, `done`, `failed` or `cancelled`.
        frames: Frames tracked so far.
        total: Frames expected; None where nobody knows.
        eta_seconds: Until it is done; None where nobody knows.
        error: Why it failed; None if it did not.
        truncated: Why the video ended early; None if it did not.
    """

    id: str
    state: str
    frames: int = 0
    total: int | None = None
    eta_seconds: float | None = None
    error: str | None = None
    truncated: str | None = None

    @classmethod
    def of(cls, document: Any) -> JobState:
        """From the server's JSON.

        Raises:
            RemoteError: It is not what a job looks like.
        """
        good = isinstance(document, dict) and all(
            isinstance(document.get(key), str) for key in ("id", "state")
        )
        if not good:
            raise RemoteError("expected a job in the server's answer; is it a motrail server?")
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in document.items() if key in known}
        if values.get("frames") is None:
            values.pop("frames", None)
        if isinstance(values.get("error"), dict):
            values["error"] = values["error"].get("message")
        return cls(**values)


class Job:
    """One that was submitted.

    Args:
        transport: How requests get there.
        id: Its name there.

    Attributes:
        id: Its name there.
    """

    def __init__(self, transport: HttpTransport, id: str) -> None:  # noqa: A002  (its name)
        self.id = id
        self._transport = transport

    def state(self) -> JobState:
        """How far it is.

        Raises:
            RemoteError: There is no such job any more.
        """
        return JobState.of(read_json(self._transport.request("GET", f"/jobs/{self.id}").body))

    def wait(
        self,
        progress: Callable[[JobState], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> JobState:
        """Wait until it is done.

        Args:
            progress: Told of it now and then.
            timeout: Seconds to wait; None for as long as it takes.

        Raises:
            RemoteError: It failed or was cancelled, or is not done in time; it goes on then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            state = self.state()
            if progress is not None:
                progress(state)
            if state.state in _OVER:
                break
            if deadline is not None and time.monotonic() + pause > deadline:
                raise RemoteError(f"job {self.id}: not done after {timeout:g} s; it goes on")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)
        if state.state != "done":
            reason = f": {state.error}" if state.error else ""
            raise RemoteError(f"job {self.id}: {state.state}{reason}")
        return state

    def result(self, accept: str = CSV) -> bytes:
        """The result.

        Args:
            accept: `text/csv` for the track file, `application/json`, `application/jsonl`, or
                `video/mp4` where that was asked for.

        Raises:
            RemoteError: It is not done, or removed.
        """
        path = f"/jobs/{self.id}/result"
        return self._transport.request("GET", path, headers={"Accept": accept}).body

    def save(self, path: Path, accept: str = "video/mp4") -> None:
        """Write the result into a file, which appears whole or not at all.

        Raises:
            RemoteError: It is not done, or removed.
            OutputError: It cannot be written.
        """
        from motrail.remote.saving import save

        headers = {"Accept": accept}
        save(path, lambda take: self._transport.download(
            f"/jobs/{self.id}/result", take, headers=headers))  # fmt: skip

    def cancel(self) -> None:
        """Stop it, and remove it with its result.

        Raises:
            RemoteError: There is no such job.
        """
        self._transport.request("DELETE", f"/jobs/{self.id}")


def submit(
    http: HttpTransport,
    what: Path | str,
    settings: Sections,
    outputs: Sequence[str],
    webhook: str | None,
    name: str | None,
    key: str | None,
) -> Job:
    """Make a job of a video.

    Args:
        http: How requests get there.
        what: A file here, which is uploaded; or as text a file there or an http(s) address.
        settings: By section and name.
        outputs: `csv`, and `mp4` for the video drawn.
        webhook: Address that is told when it is over.
        name: What to call it there; that of the file if left out.
        key: The same key gives the same job; a new one if left out.

    Raises:
        RemoteError: The server refused, or takes no jobs.
    """
    headers = {"Idempotency-Key": key or secrets.token_hex(16), "Accept": _JSON}
    body: bytes | Path
    path = "/jobs"
    if isinstance(what, Path):
        body = what
        path += f"?name={quote(name or what.stem[:_LONGEST_NAME], safe='')}"
        headers |= _upload(settings, outputs, webhook) | {"Content-Type": media_type(what)}
    else:
        body = _reference(what, settings, outputs, webhook, name)
        headers["Content-Type"] = _JSON
    answer = http.request("POST", path, body, headers, seconds=VIDEO_SECONDS)
    return Job(http, JobState.of(read_json(answer.body)).id)


def _upload(settings: Sections, outputs: Sequence[str], webhook: str | None) -> dict[str, str]:
    """The headers of a job whose video is the body."""
    headers = attributes(by_section(settings))
    if tuple(outputs) != ("csv",):
        headers[OUTPUTS] = ",".join(outputs)
    if webhook is not None:
        headers[WEBHOOK] = webhook
    return headers


def _reference(
    source: str,
    settings: Sections,
    outputs: Sequence[str],
    webhook: str | None,
    name: str | None,
) -> bytes:
    """The body of a job whose video lies where the server can read it."""
    document = {
        "source": source,
        "outputs": list(outputs),
        "settings": {part: dict(values) for part, values in settings.items()},
        "webhook": webhook,
        "name": name,
    }
    return json.dumps({key: value for key, value in document.items() if value}).encode()
