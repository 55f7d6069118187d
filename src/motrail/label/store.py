"""A labelling project on the disk: every edit is there before it is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from motrail.label.patches import EditRequest, Limits, PatchRequest, apply, between
from motrail.label.problems import conflict
from motrail.label.tables import Tables

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from motrail.label.model import LabelObject
    from motrail.label.tables import SequenceInfo

_REMEMBERED = 1000
"""Answers that are kept of each sequence, for requests that come twice."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What undo or redo did.

    Attributes:
        answer: `revision`, `undo`, `redo`, `next_id`.
        changed: Objects as they are now.
        removed: Ids of objects that are gone.
        frames: First and last frame that were touched; None where no points were.
    """

    answer: dict[str, Any]
    changed: list[LabelObject]
    removed: list[int]
    frames: tuple[int, int] | None


class Store(Tables):
    """A labelling project with its edits, which can be undone without end."""

    # Edits

    def edit(self, index: int, request: EditRequest) -> dict[str, Any]:
        """Apply an edit, whole or not at all; one that came before is answered as then.

        Raises:
            Problem: It does not fit the sequence, or is based on another revision.
            OutputError: It cannot be stored; nothing has changed.
        """
        with self._lock:
            info = self.sequence(index)
            row = self._database.execute(
                "SELECT answer FROM answers WHERE sequence=? AND edit_id=?",
                (index, request.edit_id),
            ).fetchone()
            if row is not None:
                answer: dict[str, Any] = json.loads(row[0])
                return answer
            self.expect(index, request.base)
            return self._edit(info, request.label, request.patches, request.edit_id)

    def edit_now(
        self, index: int, label: str, patches: Sequence[dict[str, Any]], *, fresh: bool = False
    ) -> dict[str, Any]:
        """Apply an edit of our own to whatever revision there is.

        Args:
            index: The sequence.
            label: What to call it.
            patches: As `edits.difference` makes them.
            fresh: Give created objects new ids, in the order they have.
        """
        with self._lock:
            info = self.sequence(index)
            if fresh:
                start = self.state(index)["next_id"]
                patches = [patch | {"id": start + n} for n, patch in enumerate(patches)]
            return self._edit(info, label, msgspec.convert(patches, list[PatchRequest]), None)

    def expect(self, index: int, base: int) -> None:
        """See that a request knows the revision that there is.

        Raises:
            Problem: 409 `stale`.
        """
        revision = self.revision(index)
        if base != revision:
            raise conflict(
                "stale",
                f"base: expected revision {revision}, found {base}; something else changed the "
                "sequence: load it again",
                revision=revision,
            )

    def _edit(
        self, info: SequenceInfo, label: str, patches: Sequence[PatchRequest], edit_id: str | None
    ) -> dict[str, Any]:
        index, before = info.index, self.objects(info.index)
        next_id = self.state(index)["next_id"]
        limits = Limits(
            info.width, info.height, info.length, frozenset(self.classes.names), next_id
        )
        after = apply(patches, before, limits)
        forward, inverse = between(before, after)
        with self.changing() as database:
            if forward:
                database.execute("DELETE FROM edits WHERE sequence=? AND undone", (index,))
                database.execute(
                    "INSERT INTO edits (sequence, label, forward, inverse) VALUES (?,?,?,?)",
                    (index, label, self._packed(forward), self._packed(inverse)),
                )
                database.execute(
                    "UPDATE sequences SET next_id=? WHERE id=?",
                    (max(next_id, max(after) + 1), index),
                )
                self._write(database, index, after)
                self._count(database, index)
            answer = self.state(index)
            if edit_id is not None:
                self._remember(database, index, edit_id, answer)
        self._keep(index, after)
        return answer

    def move(self, index: int, base: int, *, back: bool) -> Moved:
        """Undo the last edit, or redo the one undone last.

        Raises:
            Problem: There is none, or `base` is not the revision.
            OutputError: It cannot be stored; nothing has changed.
        """
        with self._lock:
            self.expect(index, base)
            edit = self._next_edit(index, undone=0 if back else 1)
            if edit is None:
                raise conflict("nothing", f"there is nothing to {'undo' if back else 'redo'}")
            number, _, forward, inverse = edit
            before = self.objects(index)
            with self.changing() as database:
                after = self._replayed(inverse if back else forward, before)
                database.execute("UPDATE edits SET undone=? WHERE id=?", (int(back), number))
                self._write(database, index, after)
                self._count(database, index)
                answer = self.state(index)
            frames = _touched(before, after)
            self._keep(index, after)
        changed = [item for item in after.values() if item is not None]
        return Moved(answer, changed, [key for key in after if after[key] is None], frames)

    def _replayed(
        self, text: str, before: Mapping[int, LabelObject]
    ) -> dict[int, LabelObject | None]:
        patches = json.loads(text)
        for patch in patches:
            for part in ("create", "set"):
                if "class" in patch.get(part, {}):
                    patch[part]["class"] = self.classes.revived(patch[part]["class"])
        everywhere = Limits(1 << 40, 1 << 40, 1 << 52, frozenset(self.classes.names), 0, 1 << 40)
        return apply(msgspec.convert(patches, list[PatchRequest]), before, everywhere)

    def _packed(self, patches: Sequence[dict[str, Any]]) -> str:
        """Patches with classes as numbers, which stay when names change."""
        packed = []
        for given in patches:
            patch = dict(given)
            for part in ("create", "set"):
                if "class" in patch.get(part, {}):
                    patch[part] = patch[part] | {"class": self.classes.number(patch[part]["class"])}
            packed.append(patch)
        return json.dumps(packed, ensure_ascii=False)

    # Classes

    def set_classes(self, wanted: Sequence[Mapping[str, str | None]]) -> None:
        """Change names, colours, keys and order of the classes; see `ClassTable.change`.

        Raises:
            Problem: Two have one name, or one that is in use would go.
        """
        with self.changing() as database:
            renamed = self.classes.change(wanted)
            if renamed:
                database.execute("UPDATE sequences SET revision=revision+1")
                self._objects.clear()
            self._touch(database)

    def add_classes(self, names: Iterable[str]) -> None:
        """Add classes that are not there yet."""
        with self.changing():
            self.classes.add(names)

    def _count(self, database: sqlite3.Connection, index: int) -> None:
        database.execute("UPDATE sequences SET revision=revision+1 WHERE id=?", (index,))
        self._touch(database)

    def _touch(self, database: sqlite3.Connection) -> None:
        now = datetime.now(UTC).replace(microsecond=0).isoformat()
        database.execute("INSERT OR REPLACE INTO meta VALUES ('changed', ?)", (now,))

    def _remember(
        self, database: sqlite3.Connection, index: int, edit_id: str, answer: dict[str, Any]
    ) -> None:
        database.execute(
            "INSERT INTO answers (sequence, edit_id, revision, answer) VALUES (?,?,?,?)",
            (index, edit_id, answer["revision"], json.dumps(answer)),
        )
        database.execute(
            "DELETE FROM answers WHERE sequence=? AND id <= (SELECT max(id) FROM answers) - ?",
            (index, _REMEMBERED),
        )

    def _keep(self, index: int, after: Mapping[int, LabelObject | None]) -> None:
        """Bring what is in memory up to what is on the disk."""
        there = {**self.objects(index), **after}
        self._objects[index] = {
            key: item for key, item in sorted(there.items()) if item is not None
        }


def _touched(
    before: Mapping[int, LabelObject], after: Mapping[int, LabelObject | None]
) -> tuple[int, int] | None:
    """First and last frame with a point that only one of the states has."""
    frames: list[float] = []
    for key, item in after.items():
        old = {tuple(row) for row in before[key].points.tolist()} if key in before else set()
        new = {tuple(row) for row in item.points.tolist()} if item is not None else set()
        frames += [row[0] for row in old ^ new]
    return (int(min(frames)), int(max(frames))) if frames else None
