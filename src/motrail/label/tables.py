"""What a labelling project holds on the disk: sequences, their objects, the classes."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.label.classes import ClassTable
from motrail.label.model import LabelObject, Points, spans_of
from motrail.label.problems import not_found
from motrail.label.schema import FILE, open_database, translated

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """What is known of a sequence.

    Attributes:
        index: Its number, from 0.
        name: Fit for a folder.
        split: Which part of the dataset it belongs to.
        kind: `video` or `pictures`.
        source: The video; empty for pictures. Relative paths count from the dataset.
        pictures: Frame → picture, as `source`; empty for a video.
        width: In pixels; 0 where nobody knows.
        height: In pixels.
        length: Number of frames.
        frame_rate: Frames a second; 0 where nobody knows.
        frame_attributes: What an import said of whole frames.
    """

    name: str
    split: str
    kind: str
    source: str = ""
    pictures: Mapping[int, str] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    length: int = 0
    frame_rate: float = 0.0
    frame_attributes: Mapping[int, Mapping[str, object]] = field(default_factory=dict)
    index: int = -1


class Tables:
    """`label.sqlite` of a dataset. All of it may be called from any thread.

    Args:
        folder: The dataset's folder.

    Raises:
        FormatError: There is something else under that name.
        OutputError: It cannot be written, or another process has it open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._lock = threading.RLock()
        self._database = open_database(self.path)
        self._objects: dict[int, dict[int, LabelObject]] = {}
        self._labelled: dict[int, tuple[int, int]] = {}
        self.classes = ClassTable(self._database)
        self._sequences = {info.index: info for info in self._read_sequences()}

    def close(self) -> None:
        """Close the file; its write-ahead log goes into it."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block is stored, or nothing."""
        with self._lock:
            if self._database.in_transaction:  # of a caller, who ends it
                yield self._database
                return
            yield from self._transaction()

    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with translated(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                self.classes.reload()
                self._sequences = {info.index: info for info in self._read_sequences()}
                raise

    # What is said of the whole

    def note(self, key: str, value: str) -> None:
        """Keep something under a name."""
        with self.changing() as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def noted(self, key: str) -> str | None:
        """What was kept under a name."""
        with self._lock:
            row = self._database.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @property
    def changed_at(self) -> datetime:
        """When the last edit came."""
        text = self.noted("changed")
        return datetime.fromisoformat(text) if text else datetime(2000, 1, 1, tzinfo=UTC)

    # Sequences

    def sequences(self) -> list[SequenceInfo]:
        """All of them, in order."""
        with self._lock:
            return [self._sequences[index] for index in sorted(self._sequences)]

    def sequence(self, index: int) -> SequenceInfo:
        """One of them.

        Raises:
            Problem: There is none.
        """
        with self._lock:
            if index not in self._sequences:
                raise not_found(f"there is no sequence {index}")
            return self._sequences[index]

    def add_sequence(
        self, info: SequenceInfo, objects: Iterable[LabelObject] = (), imported: bytes | None = None
    ) -> SequenceInfo:
        """Add one at the end, with the objects that it has already."""
        with self.changing() as database:
            (count,) = database.execute("SELECT count(*) FROM sequences").fetchone()
            there = {item.id: item for item in objects}
            database.execute(
                "INSERT INTO sequences VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    count, info.name, info.split, info.kind, info.source,
                    json.dumps(dict(info.pictures)), info.width, info.height, info.length,
                    info.frame_rate, 0, max(there, default=0) + 1, None,
                    json.dumps({k: dict(v) for k, v in info.frame_attributes.items()}), imported,
                    None,
                ),
            )  # fmt: skip
            self._write(database, count, there)
            self._sequences = {item.index: item for item in self._read_sequences()}
        return self.sequence(count)

    def set_facts(self, index: int, *, length: int, frame_rate: float) -> None:
        """Keep what is known of a video only after all of its packets were read."""
        with self.changing() as database:
            database.execute(
                "UPDATE sequences SET length=?, frame_rate=? WHERE id=?",
                (length, frame_rate, index),
            )
            self._sequences = {item.index: item for item in self._read_sequences()}

    def imported(self, index: int) -> bytes | None:
        """What the import of a sequence brought that the page does not show."""
        with self._lock:
            return self._one("SELECT imported FROM sequences WHERE id=?", index)  # type: ignore[no-any-return]

    def saved(self, index: int) -> str | None:
        """What was kept of the last saving."""
        with self._lock:
            return self._one("SELECT saved FROM sequences WHERE id=?", index)  # type: ignore[no-any-return]

    def set_saved(self, index: int, text: str) -> None:
        """Keep something of a saving."""
        with self.changing() as database:
            database.execute("UPDATE sequences SET saved=? WHERE id=?", (text, index))

    def tabs(self) -> dict[int, str]:
        """Who held the lease of which sequence last."""
        with self._lock:
            return dict(
                self._database.execute("SELECT id, tab FROM sequences WHERE tab IS NOT NULL")
            )

    def set_tab(self, index: int, tab: str | None) -> None:
        """Keep who holds the lease of a sequence."""
        with self.changing() as database:
            database.execute("UPDATE sequences SET tab=? WHERE id=?", (tab, index))

    # Objects

    def objects(self, index: int) -> dict[int, LabelObject]:
        """Objects of a sequence by id; not to be changed."""
        with self._lock:
            if index not in self._objects:
                self.sequence(index)
                rows = self._database.execute(
                    "SELECT id, class, fields, points FROM objects WHERE sequence=? ORDER BY id",
                    (index,),
                )
                self._objects[index] = {row[0]: self._object(*row) for row in rows}
            return self._objects[index]

    def revision(self, index: int) -> int:
        """Counts the changes of a sequence."""
        with self._lock:
            self.sequence(index)
            return int(self._one("SELECT revision FROM sequences WHERE id=?", index))

    def state(self, index: int) -> dict[str, Any]:
        """`revision`, `next_id`, and what undo and redo would do, of a sequence."""
        with self._lock:
            self.sequence(index)
            undo, redo = self._next_edit(index, undone=0), self._next_edit(index, undone=1)
            return {
                "revision": self.revision(index),
                "next_id": int(self._one("SELECT next_id FROM sequences WHERE id=?", index)),
                "undo": undo[1] if undo else None,
                "redo": redo[1] if redo else None,
            }

    def whole(self, index: int) -> tuple[dict[str, Any], list[LabelObject]]:
        """`state` and the objects, of one moment."""
        with self._lock:
            return self.state(index), list(self.objects(index).values())

    def labelled_frames(self, index: int) -> int:
        """In how many frames there is an object that is no proposal."""
        with self._lock:
            revision = self.revision(index)
            known = self._labelled.get(index)
            if known is None or known[0] != revision:
                spans = [
                    spans_of(item.points)
                    for item in self.objects(index).values()
                    if not item.status
                ]
                count = _covered(np.concatenate([np.zeros((0, 2), np.int64), *spans]))
                known = self._labelled[index] = (revision, count)
            return known[1]

    # Rows

    def _one(self, query: str, *values: object) -> Any:
        return self._database.execute(query, values).fetchone()[0]

    def _next_edit(self, index: int, *, undone: int) -> tuple[int, str, str, str] | None:
        order = "ASC" if undone else "DESC"
        row: tuple[int, str, str, str] | None = self._database.execute(
            "SELECT id, label, forward, inverse FROM edits WHERE sequence=? AND undone=? "  # noqa: S608
            f"ORDER BY id {order} LIMIT 1",
            (index, undone),
        ).fetchone()
        return row

    def _write(
        self, database: sqlite3.Connection, index: int, after: Mapping[int, LabelObject | None]
    ) -> None:
        for number, item in after.items():
            if item is None:
                database.execute("DELETE FROM objects WHERE sequence=? AND id=?", (index, number))
                continue
            fields = item.fields()
            label = self.classes.number(fields.pop("class"))
            points = np.ascontiguousarray(item.points, "<f8").tobytes()
            database.execute(
                "INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?)",
                (index, number, label, json.dumps(fields, ensure_ascii=False), points),
            )

    def _object(self, number: int, label: int, fields: str, points: bytes) -> LabelObject:
        rows: Points = np.frombuffer(points, "<f8").astype(np.float64).reshape(-1, 6)
        said = json.loads(fields) | {"class": self.classes.name(label)}
        return LabelObject.of(number, said, rows)

    def _read_sequences(self) -> list[SequenceInfo]:
        rows = self._database.execute(
            "SELECT id, name, split, kind, source, pictures, width, height, length, frame_rate, "
            "frame_attributes FROM sequences ORDER BY id"
        )
        return [
            SequenceInfo(
                name, split, kind, source, _by_frame(pictures), width, height, length, rate,
                _by_frame(attributes), index,
            )
            for index, name, split, kind, source, pictures, width, height, length, rate, attributes
            in rows
        ]  # fmt: skip


def _covered(spans: NDArray[np.int64]) -> int:
    """In how many frames there is at least one span; first and last frames, shape (n, 2)."""
    if not len(spans):
        return 0
    steps = np.zeros(int(spans[:, 1].max()) + 2, np.int64)
    np.add.at(steps, spans[:, 0], 1)
    np.add.at(steps, spans[:, 1] + 1, -1)
    return int((np.cumsum(steps) > 0).sum())


def _by_frame(text: str) -> dict[int, Any]:
    return {int(key): value for key, value in json.loads(text).items()}
