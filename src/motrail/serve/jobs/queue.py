"""What is to be done next, in Huey's queue on SQLite; done in threads of this process.

The queue may be lost without harm: what there is to do is known by the store, which fills the queue
anew whenever a server starts.
"""

from __future__ import annotations

import json
import traceback
from datetime import datetime
from typing import TYPE_CHECKING, Any

from motrail.errors import MissingExtraError

try:
    from huey import SqliteHuey, crontab
    from huey.consumer import Consumer
    from huey.registry import Message
    from huey.serializer import Serializer
except ImportError as _error:
    raise MissingExtraError("huey", "serve", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NOTIFIERS = 4
_LOOK_UP, _LOOK_UP_NOTICES = 0.2, 0.5  # seconds
_STOP_SECONDS = 15.0


class _Plain(Serializer):  # type: ignore[misc]
    """Messages as JSON, so that nobody who can write the file can have code run."""

    def _serialize(self, data: Any) -> bytes:
        content = dict(data._asdict())
        content["eta"] = data.eta and data.eta.isoformat()
        return json.dumps(content).encode()

    def _deserialize(self, data: bytes) -> Any:
        content = json.loads(bytes(data))
        if content["eta"]:
            content["eta"] = datetime.fromisoformat(content["eta"])
        return Message(**content)


class _Consumer(Consumer):  # type: ignore[misc]
    """A consumer inside a server, whose signals are none of its business."""

    def _set_signal_handlers(self) -> None:
        pass


class Queue:
    """Threads that work on jobs, tell of their ends, and sweep.

    Args:
        path: The file of the queue.
        work: Does a job, by its id.
        notify: Tells of the end of a job, by its id.
        sweep: Called at the start and every minute.
        failed: Told of what none of these should have raised.
        workers: How many jobs are done at the same time.
    """

    def __init__(
        self,
        path: Path,
        *,
        work: Callable[[str], None],
        notify: Callable[[str], None],
        sweep: Callable[[], None],
        failed: Callable[[str], None],
        workers: int,
    ) -> None:
        self._jobs = _huey("jobs", path)
        self._notices = _huey("webhooks", path)
        self._failed = failed
        self._work = self._jobs.task(name="work")(self._told(work))
        self._notify = self._notices.task(name="notify")(self._told(notify))
        self._notices.periodic_task(crontab(), name="sweep")(self._told(sweep))
        self._workers = workers
        self._consumers: list[Consumer] = []

    def _told(self, work: Callable[..., None]) -> Callable[..., None]:
        """The same; Huey would write what it raises to stderr, past the log."""

        def told(*values: str) -> None:
            try:
                work(*values)
            except Exception:  # noqa: BLE001  (the next one is still to be done)
                self._failed(traceback.format_exc())

        return told

    def start(self) -> None:
        """Begin with an empty queue."""
        self._jobs.flush()
        self._notices.flush()
        self._consumers = [
            _Consumer(self._jobs, self._workers, periodic=False, max_delay=_LOOK_UP),
            _Consumer(self._notices, _NOTIFIERS, periodic=True, max_delay=_LOOK_UP_NOTICES),
        ]
        for consumer in self._consumers:
            consumer.shutdown_timeout = _STOP_SECONDS
            consumer.start()

    def add(self, id_: str) -> None:
        """A job is to be done."""
        self._work(id_)

    def notify(self, id_: str, seconds: float) -> None:
        """The end of a job is to be told in so many seconds."""
        if seconds > 0:
            self._notify.schedule((id_,), delay=seconds)
        else:
            self._notify(id_)

    @property
    def telling(self) -> bool:
        """Whether there are ends to be told already."""
        return bool(self._notices.pending_count())

    def stop(self) -> None:
        """Take nothing more from the queue; wait for what is under way."""
        for consumer in self._consumers:
            consumer.stop_flag.set()
        for consumer in self._consumers:
            consumer.stop(graceful=True)
        self._consumers = []
        self._jobs.storage.close()
        self._notices.storage.close()


def _huey(name: str, path: Path) -> SqliteHuey:
    return SqliteHuey(
        name, filename=str(path), results=False, serializer=_Plain(), strict_fifo=True, cache_mb=1
    )
