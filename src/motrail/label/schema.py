"""The tables of `label.sqlite`, and how the file is opened."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from motrail.errors import FormatError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "label.sqlite"
VERSION = 1
_APPLICATION = 0x6D6F7472  # "motr"
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE classes (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, colour TEXT NOT NULL, key TEXT NOT NULL,
    place INTEGER NOT NULL, removed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE sequences (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, split TEXT NOT NULL,
    kind TEXT NOT NULL, source TEXT NOT NULL, pictures TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, length INTEGER NOT NULL,
    frame_rate REAL NOT NULL, revision INTEGER NOT NULL, next_id INTEGER NOT NULL,
    tab TEXT, frame_attributes TEXT NOT NULL, imported BLOB, saved TEXT);
CREATE TABLE objects (
    sequence INTEGER NOT NULL REFERENCES sequences, id INTEGER NOT NULL,
    class INTEGER NOT NULL REFERENCES classes, fields TEXT NOT NULL, points BLOB NOT NULL,
    PRIMARY KEY (sequence, id));
CREATE TABLE edits (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL REFERENCES sequences,
    label TEXT NOT NULL, forward TEXT NOT NULL, inverse TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX edits_of ON edits (sequence, undone, id);
CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL, edit_id TEXT NOT NULL,
    revision INTEGER NOT NULL, answer TEXT NOT NULL, UNIQUE (sequence, edit_id));
"""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file of a labelling project, or make it.

    What is answered as done is on the disk: with a write-ahead log and `synchronous=FULL` a commit
    returns after its pages have been synced, so neither a killed process nor a power cut loses it.
    Edits come as fast as people work, so that a sync for each costs nothing. The file is held
    exclusively, so that a second server on it is told so.

    Raises:
        FormatError: It is something else, or of a newer motrail.
        OutputError: It cannot be written, or another process has it open.
    """
    with translated(path):
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=1.0
        )
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("COMMIT")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise FormatError(path, "expected a labelling project, found another SQLite database")
    if version > VERSION:
        raise FormatError(
            path,
            f"expected a labelling project of version {VERSION}, found version {version}; a newer "
            "motrail made it: update this one",
        )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    if not tables:
        connection.executescript(
            f"BEGIN; {_TABLES} PRAGMA application_id={_APPLICATION}; "
            f"PRAGMA user_version={VERSION}; COMMIT;"
        )


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours.

    Raises:
        FormatError: The file is none of SQLite's, or broken.
        OutputError: It cannot be written.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            raise OutputError(
                f"{path}: another `motrail label` has this dataset open; go on there, or end it"
            ) from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise FormatError(path, f"expected a labelling project, found: {error}") from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise OutputError(
                f"{path}: cannot be written: no permission to write there; choose another folder "
                "with -o"
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise OutputError(
                f"{path}: cannot be written: the disk is full; free some space"
            ) from error
        raise OutputError(f"{path}: cannot be written: {error}") from error
