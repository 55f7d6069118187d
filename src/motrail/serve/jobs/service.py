"""Jobs as a part of the server: what it takes, keeps, works on and tells of."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from motrail.errors import ConfigError
from motrail.outputs import output_folder
from motrail.serve.jobs.addresses import Allowed
from motrail.serve.jobs.files import Files
from motrail.serve.jobs.lock import ProcessLock
from motrail.serve.jobs.metrics import JobMetrics
from motrail.serve.jobs.queue import Queue
from motrail.serve.jobs.routes import JobRoutes
from motrail.serve.jobs.runner import Limits, Runner
from motrail.serve.jobs.store import Store
from motrail.serve.jobs.webhook import Notifier
from motrail.serve.logs import Log

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import CollectorRegistry
    from starlette.routing import Route

    from motrail.config import Preset, ServeSettings, Settings
    from motrail.detect.bundle import Bundle
    from motrail.serve.jobs.records import Job, Order
    from motrail.serve.jobs.store import Added

SECRET = "MOTRAIL_SERVE_WEBHOOK_SECRET"  # noqa: S105  (the name of a variable)
_MIB = 1 << 20
_DAY = 86400.0
_FETCH_TIMES = 10
_LOCK_SECONDS = 5.0
_OVERDUE_SECONDS = 60.0


class Jobs:
    """Takes jobs, works on them, keeps their results and tells of their ends.

    Args:
        bundle: The model; its processes read it anew from its path.
        preset: As the zoo gives it.
        settings: What jobs run with unless they ask for something else.
        serve_settings: `[serve]`; its `jobs_folder` is set.
        log: For events; nowhere if left out.
        registry: Where counters are added.
        webhook_wait: Seconds until a webhook is tried for the second time.

    Raises:
        ConfigError: There is no `jobs_folder`, another server uses it, or `allow` or
            `allow_webhooks` hold something that is neither a folder nor an address.
        OutputError: The folder cannot be used.

    Attributes:
        routes: For the application.
    """

    def __init__(
        self,
        bundle: Bundle,
        preset: Preset | None,
        settings: Settings,
        serve_settings: ServeSettings,
        *,
        log: Log | None = None,
        registry: CollectorRegistry | None = None,
        webhook_wait: float = 5.0,
    ) -> None:
        if serve_settings.jobs_folder is None:
            raise ConfigError("jobs_folder: expected a folder for jobs")
        self.settings, self.operators = serve_settings, settings
        self.limit = serve_settings.max_jobs
        self.sources = Allowed(serve_settings.allow, "allow", folders=True)
        self.webhooks = Allowed(serve_settings.allow_webhooks, "allow_webhooks", folders=False)
        root = output_folder(serve_settings.jobs_folder).resolve()
        self._lock = _locked(root)
        self.files = Files(root)
        self.store = Store(root / "jobs.db")
        log = log or Log(None)
        metrics = JobMetrics(self.store, registry)
        self._runner = Runner(
            self.store,
            self.files,
            (bundle.path.resolve(), preset),
            _limits(serve_settings),
            self.sources,
            log,
            metrics,
            self._ended,
        )
        notifier = Notifier(
            self.store,
            self.webhooks,
            os.environ.get(SECRET) or None,
            serve_settings.webhook_attempts,
            webhook_wait,
            self._later,
            log,
            metrics,
        )
        self._queue = Queue(
            root / "queue.db",
            work=self._runner.work,
            notify=notifier.notify,
            sweep=self.sweep,
            failed=lambda trace: log.write("jobs_error", level="error", trace=trace),
            workers=serve_settings.job_workers,
        )
        self.routes: list[Route] = JobRoutes(self).routes()

    def start(self) -> None:
        """Go on with what a server before left behind, and take up new jobs."""
        self.files.remove_others(self.store.kept())
        self._queue.start()
        for id_ in self.store.recover():
            self._queue.add(id_)
        for id_, due in self.store.waiting_notices():
            self._queue.notify(id_, due - time.time())

    def stop(self) -> None:
        """End all processes; their jobs begin anew at the next start."""
        self._runner.stop()
        self._queue.stop()
        self.store.close()
        self._lock.release()

    def add(self, order: Order) -> tuple[Added, Job | None]:
        """Take in a job whose folder is there; the folder is removed if it is not taken."""
        taken = False
        try:
            added, job = self.store.add(order, self.limit)
            if added == "new":
                self._enqueue(order.id)
                taken = True
        finally:
            if not taken:
                self.files.remove(order.id)
        return added, job

    def _enqueue(self, id_: str) -> None:
        try:
            self._queue.add(id_)
        except sqlite3.Error:
            self.store.remove(id_)
            raise

    def remove(self, id_: str) -> None:
        """Cancel a job if it has not ended, and remove its files."""
        self.store.remove(id_)
        self._runner.cancel(id_)

    def sweep(self) -> None:
        """Remove jobs that ended long ago; look after webhooks that were lost sight of."""
        now = time.time()
        age = self.settings.job_days * _DAY
        for id_ in self.store.ended_before(now - age):
            self.remove(id_)
        self.store.forget(now - max(age, _DAY))
        if self._queue.telling:
            return
        for id_, due in self.store.waiting_notices():
            if due < now - _OVERDUE_SECONDS:
                self._queue.notify(id_, 0)

    def _ended(self, id_: str) -> None:
        self._later(id_, 0)

    def _later(self, id_: str, seconds: float) -> None:
        self._queue.notify(id_, seconds)


def _locked(root: Path) -> ProcessLock:
    lock = ProcessLock(root / "lock")
    try:
        if not lock.take(_LOCK_SECONDS):
            raise ConfigError(
                f"jobs_folder: {root}: another server works there; choose another folder"
            )
    except sqlite3.OperationalError as error:
        raise ConfigError(f"jobs_folder: {root}: cannot be locked: {error}") from error
    return lock


def _limits(settings: ServeSettings) -> Limits:
    return Limits(
        attempts=settings.job_attempts,
        video_seconds=settings.video_seconds,
        fetch_seconds=settings.body_seconds * _FETCH_TIMES,
        fetch_bytes=round(settings.max_video_mb * _MIB),
        max_pixels=settings.max_pixels,
    )
