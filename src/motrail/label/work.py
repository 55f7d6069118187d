"""Work that takes time, one at a time for each sequence, in threads."""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from motrail.errors import MotrailError
from motrail.label.problems import conflict, not_found

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["running", "done", "failed", "stopped"]
_KEPT = 200
"""Finished works that can still be asked for."""


class StoppedError(MotrailError):
    """Somebody stopped the work."""


@dataclass
class Work:
    """Something under way, as the page is told of it."""

    id: int
    kind: str
    sequence: int | None
    state: State = "running"
    done: int = 0
    total: int | None = None
    message: str = ""
    result: dict[str, Any] | None = None
    points: dict[int, list[float] | None] = field(default_factory=dict)
    frame: int | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    def progress(self, done: int, total: int | None = None, message: str | None = None) -> None:
        """Say how far it is.

        Raises:
            StoppedError: Somebody wants it to end.
        """
        self.done = done
        self.total = self.total if total is None else total
        self.message = self.message if message is None else message
        if self.stopping.is_set():
            raise StoppedError("stopped")

    def as_dict(self) -> dict[str, Any]:
        """The answer."""
        return {
            "work": self.id,
            "kind": self.kind,
            "sequence": self.sequence,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "message": self.message,
            "frame": self.frame,
            "points": self.points,
            "result": self.result,
        }


class Works:
    """All works of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works: dict[int, Work] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._next = 1

    def start(self, kind: str, sequence: int | None, job: Callable[[Work], dict[str, Any]]) -> Work:
        """Begin a work.

        Args:
            kind: What to call it.
            sequence: Its sequence; None for all of them.
            job: Does it, tells its progress, and gives the result.

        Raises:
            Problem: 409 `busy`: another one is under way there.
        """
        with self._lock:
            for other in self._works.values():
                together = None in (sequence, other.sequence) or sequence == other.sequence
                if other.state == "running" and together:
                    raise conflict("busy", f"{other.kind} is under way; stop it or wait for it",
                                   work=other.id)  # fmt: skip
            work = Work(self._next, kind, sequence)
            self._works[work.id] = work
            self._next += 1
            for old in sorted(self._works)[:-_KEPT]:
                if self._works[old].state != "running":
                    del self._works[old]
                    self._threads.pop(old, None)
            thread = threading.Thread(target=_run, args=(work, job), name=kind, daemon=True)
            self._threads[work.id] = thread
        thread.start()
        return work

    def get(self, number: int) -> Work:
        """A work.

        Raises:
            Problem: 404.
        """
        with self._lock:
            if number not in self._works:
                raise not_found(f"there is no work {number}")
            return self._works[number]

    def stop(self, number: int) -> Work:
        """Have a work end soon; what it has done so far may stay."""
        work = self.get(number)
        work.stopping.set()
        return work

    def close(self) -> None:
        """Stop all and wait for them."""
        with self._lock:
            works, threads = list(self._works.values()), list(self._threads.values())
        for work in works:
            work.stopping.set()
        for thread in threads:
            thread.join(timeout=30)


def _run(work: Work, job: Callable[[Work], dict[str, Any]]) -> None:
    try:
        work.result = job(work)
        work.state = "stopped" if work.stopping.is_set() else "done"
    except StoppedError:
        work.state = "stopped"
    except MotrailError as error:
        work.message, work.state = str(error), "failed"
    except Exception as error:  # noqa: BLE001 (a thread's error would be lost)
        work.message = "".join(traceback.format_exception_only(error)).strip()
        work.state = "failed"
