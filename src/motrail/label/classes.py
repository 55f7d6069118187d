"""The classes of a labelling project: name, colour and key."""

from __future__ import annotations

import colorsys
import re
from typing import TYPE_CHECKING, Any

from motrail.label.problems import bad_request, conflict

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

MAX_CLASSES = 10_000
MAX_NAME = 200
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_GOLDEN = 0.61803398875


class ClassTable:
    """The classes in their order; numbers are for the database alone, and stay.

    A class that was removed is kept there, so that undo can bring it back. Changes are made inside
    of a transaction of the caller, who calls `reload` where that fails.

    Args:
        database: Where they stand.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._names: dict[int, str] = {}
        self._all: dict[int, str] = {}
        self.reload()

    def reload(self) -> None:
        """Read the table."""
        rows = self._database.execute("SELECT id, name, removed FROM classes ORDER BY place, id")
        table = rows.fetchall()
        self._all = {number: name for number, name, _ in table}
        self._names = {number: name for number, name, removed in table if not removed}

    @property
    def names(self) -> list[str]:
        """In order."""
        return list(self._names.values())

    def name(self, number: int) -> str:
        """Of the class with a number."""
        return self._all[number]

    def number(self, name: str) -> int:
        """Of the class with a name, which must be there."""
        return next(number for number, known in self._names.items() if known == name)

    def as_list(self) -> list[dict[str, str]]:
        """As JSON has them."""
        rows = self._database.execute(
            "SELECT name, colour, key FROM classes WHERE NOT removed ORDER BY place, id"
        )
        return [{"name": name, "colour": colour, "key": key} for name, colour, key in rows]

    def add(self, names: Iterable[str]) -> None:
        """Add classes that are not there yet."""
        for name in names:
            clean = clean_name(name)
            if clean not in self._names.values():
                self._insert(clean, None, None)

    def revived(self, number: int) -> str:
        """The name of a class, which is there again if it was removed."""
        if number not in self._names:
            name = self._all[number]
            if name in self._names.values():  # another took its name meanwhile
                name = next(f"{name} {n}" for n in range(2, MAX_CLASSES + 3)
                            if f"{name} {n}" not in self._names.values())  # fmt: skip
            self._database.execute(
                "UPDATE classes SET removed=0, key='', name=? WHERE id=?", (name, number)
            )
            self.reload()
        return self._names[number]

    def change(self, wanted: Sequence[Mapping[str, str | None]]) -> bool:
        """Let the classes be these, in this order.

        Args:
            wanted: `name`, and `colour`, `key` and `was`, the name so far, which may be None.

        Returns:
            Whether one has another name now.

        Raises:
            Problem: Names or keys are given twice or are none, or a class in use would go.
        """
        _check(wanted, self.names)
        stay = {str(item["was"]): item for item in wanted if item.get("was")}
        for number, name in list(self._names.items()):
            if name not in stay:
                self._remove(number, name)
        renamed = any(was != clean_name(str(item["name"])) for was, item in stay.items())
        numbers = {name: number for number, name in self._names.items()}
        for place, item in enumerate(wanted):
            name, was = clean_name(str(item["name"])), item.get("was")
            number = numbers[was] if was else self._insert(name, None, None)
            self._database.execute(
                "UPDATE classes SET name=?, place=?, key=coalesce(?, key), "
                "colour=coalesce(?, colour) WHERE id=?",
                (name, place, item.get("key"), item.get("colour"), number),
            )
        self.reload()
        return renamed

    def _remove(self, number: int, name: str) -> None:
        (used,) = self._database.execute(
            "SELECT count(*) FROM objects WHERE class=?", (number,)
        ).fetchone()
        if used:
            raise conflict("in_use", f"class {name!r}: {used} objects have it; change them first")
        self._database.execute("UPDATE classes SET removed=1 WHERE id=?", (number,))

    def _insert(self, name: str, colour: str | None, key: str | None) -> int:
        if len(self._all) >= MAX_CLASSES:
            raise bad_request(f"classes: expected at most {MAX_CLASSES:,}")
        rows = self._database.execute("SELECT key FROM classes WHERE NOT removed").fetchall()
        taken = {row[0] for row in rows}
        free = next((digit for digit in "123456789" if digit not in taken), "")
        place = len(self._all)
        found = self._database.execute(
            "INSERT INTO classes (name, colour, key, place) VALUES (?,?,?,?)",
            (name, colour or colour_of(place), free if key is None else key, place),
        ).lastrowid
        self.reload()
        return int(found or 0)


def _check(wanted: Sequence[Mapping[str, Any]], there: Sequence[str]) -> None:
    names = [clean_name(str(item["name"])) for item in wanted]
    if len(names) > MAX_CLASSES:
        raise bad_request(f"classes: expected at most {MAX_CLASSES:,}")
    for what, values in (
        ("name", names),
        ("was", [item["was"] for item in wanted if item.get("was")]),
        ("key", [item["key"] for item in wanted if item.get("key")]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise bad_request(f"classes: {what} {twice!r} stands there twice")
    for item in wanted:
        if item.get("was") and item["was"] not in there:
            raise bad_request(f"classes: there is no class {item['was']!r} to be renamed")
        colour = item.get("colour")
        if colour is not None and not _COLOUR.fullmatch(colour):
            raise bad_request(f"classes: expected a colour such as #1f77b4, found {colour!r}")
        key = item.get("key")
        if (key and key not in "123456789") or len(key or "") > 1:
            raise bad_request(f"classes: expected a key from 1 to 9 or none, found {key!r}")


def clean_name(name: str) -> str:
    """A class's name: one line, runs of white space as one space.

    Raises:
        Problem: There is nothing left of it, or too much.
    """
    clean = " ".join(name.split())
    if not clean or len(clean) > MAX_NAME or not clean.isprintable():
        raise bad_request(
            f"class: expected a name of 1 to {MAX_NAME} visible characters, found {name[:50]!r}"
        )
    return clean


def colour_of(place: int) -> str:
    """A colour that is easy to tell from those of the places before."""
    hue = (0.58 + place * _GOLDEN) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.6, 0.85)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
