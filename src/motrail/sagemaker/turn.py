"""Whose turn it is to make jobs of a batch: of several commands with one name, one's at a time."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from motrail.errors import MotrailError
from motrail.sagemaker.removal import remove_object
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.requests.endpoint import put_if_unchanged
from motrail.sagemaker.requests.processing import describe_job
from motrail.sagemaker.takeback import is_missing
from motrail.sagemaker.transfer import Content, read_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from motrail.sagemaker.request import Cloud

UNDER_WAY = ("InProgress", "Stopping")
LOOK_SECONDS = 15.0
_LOOKS = 40
"""Ten minutes: between taking its turn and making the job, a command uploads the model."""
_MOST = 1 << 16
_CHANGED = frozenset(
    {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412"}
)
"""How S3 says that a conditional write came too late (its guide, "Conditional writes")."""


class BusyError(MotrailError):
    """Another command works on the same batch."""


class Turn:
    """A note in S3 with the name of the job that is being made or runs.

    It is written on the condition that it is still what was read, so that of two commands one is
    refused.

    Args:
        cloud: Where.
        uri: Of the note.
        batch: Name of the batch, for messages.
        say: Told of waiting.
    """

    def __init__(self, cloud: Cloud, uri: str, batch: str, say: Callable[[str], None]) -> None:
        self._cloud, self._uri, self._batch, self._say = cloud, uri, batch, say
        self._seen: Content | None = None
        self._job: str | None = None

    def look(self) -> str | None:
        """The job of an earlier try, or of another command, that is under way; None for none.

        A job that is noted and not there is waited for: another command may be about to make it.

        Raises:
            CloudError: AWS refused.
        """
        told: str | None = None
        left = _LOOKS
        while True:
            before, self._seen = self._seen, self._read()
            job = self._named()
            if job is None:
                return None
            state = self._state(job)
            if state is not None:
                return job if state in UNDER_WAY else None
            if before is not None and self._seen is not None and before.etag != self._seen.etag:
                left = _LOOKS
            if not left:
                self._say(f"job {job} was never made; going on without it")
                return None
            if told != job:
                self._say(
                    f"another command is about to make job {job} of the batch {self._batch}, or "
                    "was killed before it did; waiting up to "
                    f"{_LOOKS * LOOK_SECONDS / 60:.0f} min to see"
                )
                told = job
            left -= 1
            self._cloud.sleep(LOOK_SECONDS)

    def take(self, job: str) -> None:
        """Note a job that is going to be made, if nobody else did since the last look.

        Raises:
            BusyError: Somebody did.
            CloudError: S3 refused.
        """
        body = json.dumps({"name": job}).encode()
        etag = None if self._seen is None else self._seen.etag
        try:
            answer = self._cloud.call(put_if_unchanged(*split_uri(self._uri), body, etag))
        except CloudError as error:
            if error.code not in _CHANGED:
                raise
            self._seen = self._read()
            if self._named() != job:  # ours, if only the answer to a first request was lost
                raise self._busy() from error
        else:
            self._seen = Content(body, str(answer.get("ETag", "")))
        self._job = job

    def check(self) -> None:
        """See that it still is our turn, just before the job is made.

        Raises:
            BusyError: Somebody took it.
            CloudError: S3 refused.
        """
        self._seen = self._read()
        if self._named() != self._job:
            raise self._busy()

    @contextlib.contextmanager
    def taken(self, job: str) -> Iterator[None]:
        """Take the turn, and give it back where the block fails before its job was made."""
        self.take(job)
        try:
            yield
        except BaseException:
            with contextlib.suppress(MotrailError):
                if self._job is not None and self._state(self._job) is None:
                    self.leave()
            raise

    def leave(self) -> None:
        """Forget the job, which is over; not one that somebody else noted meanwhile.

        Raises:
            CloudError: S3 refused.
        """
        self._seen = self._read()
        if self._job is not None and self._named() == self._job:
            remove_object(self._cloud, self._uri)
        self._seen, self._job = None, None

    def _read(self) -> Content | None:
        try:
            return read_object(self._cloud, self._uri, _MOST, "the name of a job")
        except CloudError as error:
            if is_missing(error):
                return None
            raise

    def _named(self) -> str | None:
        if self._seen is None:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            note = json.loads(self._seen.body)
            if isinstance(note, dict) and isinstance(note.get("name"), str):
                return str(note["name"])
        return None

    def _state(self, job: str) -> str | None:
        """How a job is doing; None where there is none."""
        try:
            return str(self._cloud.call(describe_job(job))["ProcessingJobStatus"])
        except CloudError as error:
            if is_missing(error):
                return None
            raise

    def _busy(self) -> BusyError:
        job = self._named()
        doing = "has just ended one" if job is None else f"makes job {job}"
        return BusyError(
            f"batch {self._batch}: another command works on it at this moment and {doing}; run "
            f"this one again, and it waits for that job and does what is then left, or give "
            "another --job to do it all anew beside it"
        )
