"""The truth about jobs, in an SQLite file: every change is one transaction."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from motrail.errors import OutputError
from motrail.serve.jobs.records import STATES, Job, Notice, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    settings TEXT NOT NULL,
    outputs TEXT NOT NULL,
    webhook TEXT,
    key TEXT UNIQUE,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    frames INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    eta REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    error TEXT,
    truncated TEXT,
    removed REAL,
    notice_state TEXT,
    notice_attempts INTEGER NOT NULL DEFAULT 0,
    notice_due REAL NOT NULL DEFAULT 0,
    notice_error TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE INDEX IF NOT EXISTS jobs_by_notice ON jobs (notice_state);
"""
_BUSY_SECONDS = 30.0

Added = Literal["new", "known", "other", "full"]


class Store:
    """Records of jobs; every method may be called from any thread.

    Args:
        path: The file; made if it is not there.

    Raises:
        OutputError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_TABLES)
        except sqlite3.Error as error:
            raise OutputError(f"{path}: cannot be used for jobs: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, order: Order, limit: int) -> tuple[Added, Job | None]:
        """Take in a job, unless its key is known or too many wait.

        Returns:
            `"new"` and the job; `"known"` and the job that came before with the same key and
            content; `"other"` where that had another content; `"full"`.
        """
        with self._changing() as run:
            if order.key is not None:
                row = run("SELECT * FROM jobs WHERE key = ?", order.key).fetchone()
                if row is not None:
                    same = row["fingerprint"] == order.fingerprint
                    return ("known" if same else "other"), _job(row)
            if _count(run("SELECT count(*) FROM jobs WHERE state = 'queued'")) >= limit:
                return "full", None
            run(
                "INSERT INTO jobs (id, name, kind, source, settings, outputs, webhook, key,"
                " fingerprint, state, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
                order.id,
                order.name,
                order.kind,
                order.source,
                json.dumps(order.settings),
                json.dumps(order.outputs),
                order.webhook,
                order.key,
                order.fingerprint,
                time.time(),
            )
            return "new", _job(run("SELECT * FROM jobs WHERE id = ?", order.id).fetchone())

    def get(self, id_: str) -> Job | None:
        """A job; None if there is none of this id."""
        rows = self._rows("SELECT * FROM jobs WHERE id = ?", id_)
        return _job(rows[0]) if rows else None

    def with_key(self, key: str) -> Job | None:
        """The job that came with this key."""
        rows = self._rows("SELECT * FROM jobs WHERE key = ?", key)
        return _job(rows[0]) if rows else None

    def newest(self, limit: int) -> list[Job]:
        """The jobs that were not removed, newest first."""
        sql = "SELECT * FROM jobs WHERE removed IS NULL ORDER BY number DESC LIMIT ?"
        return [_job(row) for row in self._rows(sql, limit)]

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state; those removed do not count."""
        sql = "SELECT state, count(*) FROM jobs WHERE removed IS NULL GROUP BY state"
        return dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in self._rows(sql)}

    def recover(self) -> list[str]:
        """Queue again what a server that is gone was working on; gives all that wait, in order."""
        with self._changing() as run:
            run("UPDATE jobs SET state = 'queued', eta = NULL WHERE state = 'running'")
            rows = run("SELECT id FROM jobs WHERE state = 'queued' ORDER BY number").fetchall()
            return [row[0] for row in rows]

    def begin(self, id_: str) -> Job | None:
        """Set a waiting job to running; None if it does not wait (any more)."""
        with self._changing() as run:
            done = run(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, frames = 0,"
                " total = NULL, eta = NULL, started = coalesce(started, ?)"
                " WHERE id = ? AND state = 'queued'",
                time.time(),
                id_,
            )
            if not done.rowcount:
                return None
            return _job(run("SELECT * FROM jobs WHERE id = ?", id_).fetchone())

    def progress(self, id_: str, frames: int, total: int | None, eta: float | None) -> None:
        """Note how far a running job is."""
        with self._changing() as run:
            run(
                "UPDATE jobs SET frames = ?, total = ?, eta = ? WHERE id = ? AND state = 'running'",
                frames,
                total,
                eta,
                id_,
            )

    def died(self, id_: str) -> None:
        """Queue a running job again whose process died."""
        with self._changing() as run:
            run(
                "UPDATE jobs SET state = 'queued', eta = NULL, deaths = deaths + 1"
                " WHERE id = ? AND state = 'running'",
                id_,
            )

    def finish(self, id_: str, *, frames: int, truncated: str | None) -> bool:
        """Set a running job to done, and its webhook to be sent; False if it was cancelled."""
        with self._changing() as run:
            done = run(
                "UPDATE jobs SET state = 'done', frames = ?, total = ?, truncated = ?, eta = NULL"
                " WHERE id = ? AND state = 'running'",
                frames,
                frames,
                truncated,
                id_,
            )
            return _close(run, id_, done)

    def fail(self, id_: str, error: str) -> bool:
        """Set a job to failed, and its webhook to be sent; False if it had ended already."""
        with self._changing() as run:
            done = run(
                "UPDATE jobs SET state = 'failed', error = ?, eta = NULL"
                " WHERE id = ? AND state IN ('queued', 'running')",
                error,
                id_,
            )
            return _close(run, id_, done)

    def remove(self, id_: str) -> None:
        """Cancel a job that has not ended; note that its files go. Its key can be used again."""
        now = time.time()
        with self._changing() as run:
            run(
                "UPDATE jobs SET state = 'cancelled', ended = ?"
                " WHERE id = ? AND state IN ('queued', 'running')",
                now,
                id_,
            )
            run(
                "UPDATE jobs SET removed = coalesce(removed, ?), key = NULL, eta = NULL"
                " WHERE id = ?",
                now,
                id_,
            )

    def ended_before(self, when: float) -> list[str]:
        """Jobs that came to their end before and still have their files."""
        sql = "SELECT id FROM jobs WHERE removed IS NULL AND ended < ?"
        return [row[0] for row in self._rows(sql, when)]

    def forget(self, when: float) -> None:
        """Drop the records of jobs that were removed before."""
        with self._changing() as run:
            run("DELETE FROM jobs WHERE removed < ?", when)

    def kept(self) -> set[str]:
        """Ids of all jobs that have files."""
        return {row[0] for row in self._rows("SELECT id FROM jobs WHERE removed IS NULL")}

    def waiting_notices(self) -> list[tuple[str, float]]:
        """Jobs whose webhook is to be sent, with the time when it is due."""
        sql = "SELECT id, notice_due FROM jobs WHERE notice_state = 'waiting' ORDER BY notice_due"
        return [(row[0], row[1]) for row in self._rows(sql)]

    def note(self, id_: str, notice: Notice) -> None:
        """Note how far a webhook has come."""
        with self._changing() as run:
            run(
                "UPDATE jobs SET notice_state = ?, notice_attempts = ?, notice_due = ?,"
                " notice_error = ? WHERE id = ?",
                notice.state,
                notice.attempts,
                notice.due,
                notice.error,
                id_,
            )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Any]:
        """A transaction: all of it happens or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda sql, *values: self._connection.execute(sql, values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()


def _close(run: Callable[..., sqlite3.Cursor], id_: str, done: sqlite3.Cursor) -> bool:
    """In the same transaction: the time of the end, and a webhook that is to be sent."""
    if not done.rowcount:
        return False
    now = time.time()
    run("UPDATE jobs SET ended = ? WHERE id = ?", now, id_)
    run(
        "UPDATE jobs SET notice_state = 'waiting', notice_due = ?"
        " WHERE id = ? AND webhook IS NOT NULL",
        now,
        id_,
    )
    return True


def _count(cursor: sqlite3.Cursor) -> int:
    return int(cursor.fetchone()[0])


_ORDER = {field.name for field in dataclasses.fields(Order)}
_PLAIN = {field.name for field in dataclasses.fields(Job)} - {"order", "notice"}


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    content = {name: values[name] for name in _ORDER}
    content["settings"] = json.loads(content["settings"])
    content["outputs"] = tuple(json.loads(content["outputs"]))
    notice = None
    if values["webhook"] is not None:
        notice = Notice(
            values["notice_state"] or "waiting",
            values["notice_attempts"],
            values["notice_due"],
            values["notice_error"],
        )
    plain = {name: values[name] for name in _PLAIN}
    return Job(order=Order(**content), notice=notice, **plain)
