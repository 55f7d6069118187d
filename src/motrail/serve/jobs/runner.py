"""Work on jobs: begin them, watch their processes, keep their results, begin again."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from motrail.serve.jobs.process import WorkProcess
from motrail.serve.jobs.work import SUMMARY, Task
from motrail.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from motrail.serve.jobs.addresses import Allowed
    from motrail.serve.jobs.files import Files
    from motrail.serve.jobs.metrics import JobMetrics
    from motrail.serve.jobs.records import Job
    from motrail.serve.jobs.store import Store
    from motrail.serve.logs import Log

T = TypeVar("T")

_LOOK_UP = 0.2  # seconds
_LOAD_SECONDS = 300.0
_INSIST_SECONDS = 2.0
_CANCEL_SECONDS = 10.0
_BEGINS_PER_ATTEMPT = 10
_FAULT = "the server has a fault; its log has more"


@dataclass(frozen=True)
class Limits:
    """What a job may take.

    Attributes:
        attempts: How often a job is begun whose process dies.
        video_seconds: Time for a video.
        fetch_seconds: Time for fetching it first.
        fetch_bytes: Most bytes to be fetched.
        max_pixels: Most pixels of a frame.
    """

    attempts: int
    video_seconds: float
    fetch_seconds: float
    fetch_bytes: int
    max_pixels: int


@dataclass
class _Running:
    """A job that a thread is at."""

    process: WorkProcess | None = None
    unwanted: bool = False
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class _End:
    """How a process ended: `done`, `failed`, `bug`, `died` or `unwanted`."""

    kind: str
    text: str = ""


class Runner:
    """Works on jobs, each in a process of its own.

    Args:
        store: The records.
        files: The folders.
        model: Path of the bundle and its preset.
        limits: What a job may take.
        allowed: Sources that jobs may name.
        log: Is told of ends.
        metrics: Counts.
        ended: Called with the id of a job that is done or failed.
    """

    def __init__(
        self,
        store: Store,
        files: Files,
        model: tuple[Path, str | None],
        limits: Limits,
        allowed: Allowed,
        log: Log,
        metrics: JobMetrics,
        ended: Callable[[str], None],
    ) -> None:
        self._store, self._files, self._limits, self._allowed = store, files, limits, allowed
        self._model, self._preset = model
        self._log, self._metrics, self._ended = log, metrics, ended
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}

    def stop(self) -> None:
        """End all processes; their jobs are begun again by the next server."""
        self._stopping.set()
        with self._lock:
            for running in self._running.values():
                if running.process is not None:
                    running.process.kill()

    def cancel(self, id_: str) -> None:
        """Remove a job that was set to removed: end its process, then remove its files."""
        with self._lock:
            running = self._running.get(id_)
            if running is not None:
                running.unwanted = True
                if running.process is not None:
                    running.process.kill()
        if running is not None:
            running.over.wait(_CANCEL_SECONDS)
        self._files.remove(id_)

    def work(self, id_: str) -> None:
        """Do a job, as often as it needs to be begun."""
        running = _Running()
        with self._lock:
            if id_ in self._running:
                return
            self._running[id_] = running
        try:
            while not self._stopping.is_set() and self._attempt(id_, running):
                pass
        except Exception:
            self._insist(lambda: self._store.fail(id_, _FAULT))
            raise  # it is logged
        finally:
            with self._lock:
                del self._running[id_]
            running.over.set()

    def _attempt(self, id_: str, running: _Running) -> bool:
        """Begin a job; whether it is to be begun again."""
        job = self._insist(lambda: self._store.begin(id_))
        if job is None:
            return False
        self._metrics.attempts.inc()
        if self._files.result(id_).is_dir():  # a server ended between the two steps of `_keep`
            self._finish(job)
            return False
        most = self._limits.attempts * _BEGINS_PER_ATTEMPT
        if job.attempts > most:
            self._fail(job, f"it was begun {most} times and never came to an end")
            return False
        try:
            end = self._watch(job, running)
        except Problem as problem:
            end = _End("failed", problem.message)
        except OSError as error:
            end = _End("failed", f"its process cannot be started: {error.strerror}")
        return self._settle(job, end)

    def _settle(self, job: Job, end: _End) -> bool:
        id_ = job.order.id
        if self._stopping.is_set() and end.kind in ("died", "unwanted"):
            return False
        if end.kind == "done":
            self._keep(job)
        elif end.kind == "failed":
            self._fail(job, end.text)
        elif end.kind == "bug":
            self._log.write("job_error", level="error", job=id_[:8], trace=end.text)
            self._fail(job, _FAULT)
        elif end.kind == "died":
            return self._again(job, end.text)
        return False

    def _watch(self, job: Job, running: _Running) -> _End:
        """Have a process do the job, until it ends or has to be ended."""
        process = WorkProcess(self._task(job))
        with self._lock:
            running.process = process
            unwanted = running.unwanted or self._stopping.is_set()
        end = _End("unwanted")
        try:
            if not unwanted:
                end = self._listen(job, process, running)
        finally:
            with self._lock:
                running.process = None
                unwanted = running.unwanted
            how = process.close()
        if end.kind == "died":
            return _End("unwanted" if unwanted else "died", how)
        return end

    def _listen(self, job: Job, process: WorkProcess, running: _Running) -> _End:
        deadline = time.monotonic() + _LOAD_SECONDS
        if job.order.kind == "url":
            deadline += self._limits.fetch_seconds
        late = _End("failed", "its model or its source could not be read in time")
        while True:
            if running.unwanted or self._stopping.is_set():
                return _End("unwanted")
            if time.monotonic() > deadline:
                return late
            try:
                message = process.message(_LOOK_UP)
            except TimeoutError:
                continue
            if message is None or message["kind"] == "busy":
                return _End("died")
            if message["kind"] == "begin":
                seconds = self._limits.video_seconds
                deadline = time.monotonic() + seconds
                late = _End("failed", f"it took longer than {seconds:g} s (video_seconds)")
            elif message["kind"] == "progress":
                self._progress(job, message)
            else:
                return _End(message["kind"], message.get("reason") or message.get("trace") or "")

    def _progress(self, job: Job, message: dict[str, Any]) -> None:
        left = message["seconds_left"]
        eta = None if left is None else time.time() + left
        # It is of use for people alone: not worth an error when the disk is full.
        with contextlib.suppress(sqlite3.OperationalError):
            self._store.progress(job.order.id, message["frames"], message["total"], eta)

    def _task(self, job: Job) -> Task:
        order = job.order
        source, url = self._files.source(order.id), None
        if order.kind == "path":
            source = self._allowed.file(order.source)  # once more: links may have changed
        elif order.kind == "url":
            url = order.source, self._allowed.url(order.source).inward
        return Task(
            folder=str(self._files.folder(order.id)),
            work=self._files.work(order.id, job.attempts).name,
            model=str(self._model),
            preset=self._preset,
            name=order.name,
            source=str(source),
            url=url,
            limit=self._limits.fetch_bytes,
            fetch_seconds=self._limits.fetch_seconds,
            settings=order.settings,
            video="mp4" in order.outputs,
            max_pixels=self._limits.max_pixels,
        )

    def _keep(self, job: Job) -> None:
        """Let the result appear, then say so; after a crash in between, `_attempt` goes on."""
        id_ = job.order.id
        try:
            self._files.work(id_, job.attempts).rename(self._files.result(id_))
        except FileNotFoundError:
            return  # it was removed meanwhile
        except OSError as error:
            self._fail(job, f"the result cannot be kept: {error.strerror}")
            return
        self._finish(job)

    def _finish(self, job: Job) -> None:
        id_ = job.order.id
        summary = json.loads((self._files.result(id_) / SUMMARY).read_bytes())
        frames, truncated = summary["frames"], summary["truncated"]
        done = self._insist(lambda: self._store.finish(id_, frames=frames, truncated=truncated))
        if done:
            self._close(job, "done", frames=frames, seconds=round(summary["seconds"], 3))

    def _fail(self, job: Job, reason: str) -> None:
        if self._insist(lambda: self._store.fail(job.order.id, reason)):
            self._close(job, "failed", error=reason)

    def _again(self, job: Job, how: str) -> bool:
        id_ = job.order.id
        deaths = job.deaths + 1
        self._log.write("job_died", level="warning", job=id_[:8], attempt=job.attempts, how=how)
        if deaths >= self._limits.attempts:
            times = "once" if deaths == 1 else f"{deaths} times"
            self._fail(job, f"its process died {times} before the video was done ({how}); "
                       "is there enough memory?")  # fmt: skip
            return False
        self._insist(lambda: self._store.died(id_))
        return True

    def _close(self, job: Job, state: str, **values: Any) -> None:
        id_ = job.order.id
        self._files.tidy(id_)
        self._metrics.ended(state, time.time() - (job.started or job.created))
        self._log.write(f"job_{state}", job=id_[:8], attempts=job.attempts, **values)
        self._ended(id_)

    def _insist(self, change: Callable[[], T]) -> T | None:
        """Change a record, however often it takes: the disk may be full for a while."""
        while True:
            try:
                return change()
            except sqlite3.OperationalError as error:
                self._log.write("jobs_cannot_be_noted", level="error", error=str(error))
                if self._stopping.wait(_INSIST_SECONDS):
                    return None
