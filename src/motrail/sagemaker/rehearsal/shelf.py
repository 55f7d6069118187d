"""Records of one kind, each a JSON file, so that the next command finds what this one made."""

from __future__ import annotations

import copy
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from motrail.errors import FormatError
from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    Record = dict[str, Any]

_TIME = "$time"
_LONGEST = 120


def now() -> datetime:
    """The time as AWS gives it: in UTC, to the millisecond."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class Shelf:
    """Named records of one kind. What goes in and out is copied.

    Args:
        folder: Where they are kept.
        lock: Held while a record is read or changed; the same for all shelves.

    Raises:
        FormatError: A file there is no record.
    """

    def __init__(self, folder: Path, lock: threading.RLock) -> None:
        self._folder = folder
        self._lock = lock
        self._records: dict[str, Record] = {}
        if folder.is_dir():
            for path in sorted(folder.glob("*.json")):
                try:
                    document = json.loads(path.read_text(encoding="utf-8"), object_hook=_revive)
                    self._records[document["name"]] = document["record"]
                except (ValueError, LookupError, TypeError):
                    raise FormatError(
                        path,
                        "expected a record of a rehearsal; remove the file, or begin in "
                        "another folder",
                    ) from None

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def names(self) -> list[str]:
        """All names, in alphabetical order."""
        with self._lock:
            return sorted(self._records)

    def get(self, name: str) -> Record | None:
        """The record of that name, if there is one."""
        with self._lock:
            return copy.deepcopy(self._records.get(name))

    def values(self) -> list[Record]:
        """All records, in the order of their names."""
        with self._lock:
            return [copy.deepcopy(self._records[name]) for name in sorted(self._records)]

    def put(self, name: str, record: Record) -> None:
        """Keep a record, in place of the one before if there was one."""
        with self._lock:
            self._records[name] = copy.deepcopy(record)
            path = self._path(name)
            with writing(path), WholeFile(path) as whole:
                path.parent.mkdir(parents=True, exist_ok=True)
                document = {"name": name, "record": self._records[name]}
                whole.temporary.write_text(json.dumps(document, default=_freeze), encoding="utf-8")

    def update(self, name: str, **changes: Any) -> Record | None:
        """Change parts of a record; nothing happens where there is none. Gives it as it is now."""
        with self._lock:
            if name not in self._records:
                return None
            self.put(name, {**self._records[name], **changes})
            return self.get(name)

    def remove(self, name: str) -> Record | None:
        """Take a record away; gives it as it was."""
        with self._lock:
            record = self._records.pop(name, None)
            self._path(name).unlink(missing_ok=True)
            return record

    def _path(self, name: str) -> Path:
        stem = quote(name, safe="")
        if len(stem) > _LONGEST or not stem.strip("."):
            stem = hashlib.sha256(name.encode()).hexdigest()
        return self._folder / f"{stem}.json"


def _freeze(value: Any) -> Any:
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    raise TypeError(f"cannot keep a {type(value).__name__}")


def _revive(document: Record) -> Any:
    if document.keys() == {_TIME}:
        return datetime.fromisoformat(document[_TIME])
    return document
