"""A lock that one process at a time has, and that the system takes back when the process dies."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class ProcessLock:
    """A file that is locked from `take` until `release`, or until the end of the process.

    SQLite knows how to lock a file on every system; nothing is ever written into this one.

    Args:
        path: The file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def take(self, seconds: float) -> bool:
        """Wait for the lock.

        Args:
            seconds: How long at most.

        Returns:
            Whether it was got. False means that another process has it.

        Raises:
            sqlite3.OperationalError: The file cannot be opened.
        """
        connection = sqlite3.connect(
            self._path, timeout=seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=MEMORY")  # no second file
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                return False
            raise
        self._connection = connection
        return True

    def release(self) -> None:
        """Give it back; harmless without it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
