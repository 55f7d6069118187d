"""What settings scored, kept on disk: who starts again goes on from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from typing import TYPE_CHECKING, Self

from motrail.errors import OutputError
from motrail.tune.cases import score_from_json, score_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from motrail.evaluate.run import Score
    from motrail.tune.space import Sections

_PATIENCE = 60.0  # seconds to wait for another process that writes
_TABLE = """
    CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY, sequence TEXT NOT NULL, settings TEXT NOT NULL, score TEXT NOT NULL
    ) WITHOUT ROWID
"""


class Store:
    """Scores by settings and sequence in an SQLite file.

    What a score hangs on is in its key: detections, truth, protocol, settings, and the version of
    this package. So a store is never stale, and several runs may share it.

    Args:
        path: The file, made where it is missing.

    Raises:
        OutputError: It cannot be opened, or is no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            self._connection = sqlite3.connect(path, timeout=_PATIENCE)
            # A crash of the machine may cost the last scores; they are computed again.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(_TABLE)
            self._connection.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def read(self, keys: Sequence[str]) -> dict[str, Score]:
        """The scores that are known of these keys."""
        found = {}
        for key in keys:
            with self._explained():
                row = self._connection.execute(
                    "SELECT score FROM answers WHERE key = ?", (key,)
                ).fetchone()
                if row is not None:
                    found[key] = score_from_json(row[0])
        return found

    def write(self, key: str, sequence: str, settings: str, score: Score) -> None:
        """Keep a score, at once."""
        with self._explained():
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                (key, _text(sequence), settings, score_to_json(score)),
            )
            self._connection.commit()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise OutputError(
                f"{self.path}: cannot be used to keep scores in: {error}; remove it, or choose "
                "another folder with -o"
            ) from error


def _text(name: str) -> str:
    """A name as SQLite can hold it, whatever the bytes of the file's name."""
    return name.encode(errors="backslashreplace").decode()


def settings_text(settings: Sections) -> str:
    """Settings as text; the same settings give the same text."""
    return json.dumps(settings, sort_keys=True)


def key_of(fingerprint: str, settings: str, version: str) -> str:
    """The key of a score: SHA-256 of what it hangs on."""
    return hashlib.sha256(f"{version}\n{fingerprint}\n{settings}".encode()).hexdigest()
