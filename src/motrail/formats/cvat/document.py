"""What is kept of CVAT's XML while it is read: the boxes in columns, within bounds."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from motrail.formats.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from motrail.formats.faults import Found, Place

MAX_NAMES = 10_000
"""Distinct labels, and distinct names of elements and attributes."""
MAX_BOXES = 2_000_000
"""Boxes in a file, with those that CVAT has filled in."""
MAX_DISTINCT = 1_000_000
"""Distinct sets of attributes, and images."""
MAX_DISTINCT_TEXT = 1 << 26
"""Characters in distinct attributes."""

_NAMELESS = -2
_COLUMNS = {
    "track": "i",
    "frame": "i",
    "class_id": "i",
    "outside": "b",
    "keyframe": "b",
    "ignore": "b",
    "visibility": "d",
    "attributes": "i",
    "line": "i",
}


class BrokenError(Exception):
    """A fault after which nothing more can be read from the file."""

    def __init__(self, kind: str, path: Path, message: str, place: Place = None) -> None:
        super().__init__(message)
        self.fault = Fault(kind, path, message, place)


class Document:
    """What an XML file says; frames as CVAT counts them, from 0.

    Attributes:
        path: The file; `FILE.zip/annotations.xml` inside a .zip.
        meta: Texts of the meta part that matter, with their lines.
        classes: Names of the labels: those of the meta part, then as they appear.
        attributes: Distinct attributes of boxes, which the column `attributes` counts through.
        images: File names by frame, of `CVAT for images`.
        image_size: Width and height of these.
        track_lines: Where the tracks begin.
    """

    def __init__(self, path: Path, found: Found) -> None:
        self.path = path
        self.meta: dict[str, tuple[str, int]] = {}
        self.classes: dict[str, int] = {}
        self.images: dict[int, str] = {}
        self.image_size: tuple[int, int] | None = None
        self.track_lines = array("i")
        self._track_ids = array("q")
        self._found = found
        self._columns: dict[str, array[Any]] = {
            name: array(code) for name, code in _COLUMNS.items()
        }
        self._boxes = array("d")
        self._known: dict[tuple[tuple[str, object], ...], int] = {}
        self._known_text = 0
        self.attributes: tuple[dict[str, object], ...] = ()

    def column(self, name: str) -> NDArray[Any]:
        """One of `_COLUMNS`, shape (n,), handed over: it can be asked for once."""
        column = self._columns.pop(name)
        return np.frombuffer(column, column.typecode)

    def boxes_xywh(self) -> NDArray[np.float64]:
        """Float64, shape (n, 4), handed over: it can be asked for once."""
        boxes = np.frombuffer(self._boxes, np.float64).reshape(-1, 4)
        boxes[:, 2:] -= boxes[:, :2]
        self._boxes = array("d")
        return boxes

    def numbers(self) -> NDArray[np.int64]:
        """The ids of the tracks, int64; -1 for what stands alone in an image.

        Tracks without an id are numbered in order, after those that have one.
        """
        numbers = np.array(self._track_ids, np.int64)
        nameless = np.flatnonzero(numbers == _NAMELESS)
        numbers[nameless] = max(int(numbers.max(initial=-1)), -1) + 1 + np.arange(len(nameless))
        return numbers

    def add_track(self, number: int | None, line: int) -> int:
        """Begin a track; None is no id, -1 a box that stands alone."""
        self._track_ids.append(_NAMELESS if number is None else number)
        self.track_lines.append(line)
        return len(self._track_ids) - 1

    def add_class(self, name: str, line: int) -> int:
        """The class's number."""
        number = self.classes.setdefault(name, len(self.classes))
        if number >= MAX_NAMES:
            self.give_up(f"expected at most {MAX_NAMES} labels, found more", line)
        return number

    def add_box(
        self, corners: list[float], values: dict[str, object], row: dict[str, int], line: int
    ) -> None:
        """Keep a box. `values` loses what has a column."""
        if len(self._columns["line"]) == MAX_BOXES:
            message = f"expected at most {MAX_BOXES} boxes, found more; export jobs one by one"
            self.give_up(message, line)
        visibility, ignore = _take_visibility(values), _take_ignore(values)
        self._boxes.extend(corners)
        for name, value in row.items():
            self._columns[name].append(value)
        self._columns["visibility"].append(visibility)
        self._columns["ignore"].append(ignore)
        self._columns["attributes"].append(self._code(values, line) if values else -1)
        self._columns["line"].append(line)

    def _code(self, values: dict[str, object], line: int) -> int:
        key = tuple(values.items())
        code = self._known.get(key)
        if code is None:
            code = self._known[key] = len(self._known)
            self._known_text += sum(len(text) for text in values.values() if isinstance(text, str))
            if code == MAX_DISTINCT or self._known_text > MAX_DISTINCT_TEXT:
                self.give_up("expected attributes that boxes share, found too many texts", line)
        return code

    def fault(self, kind: str, message: str, line: int) -> None:
        """Tell of a fault; what has it is left out."""
        self._found(Fault(kind, self.path, message, line))

    def give_up(self, message: str, line: int) -> NoReturn:
        """Tell of a fault that ends the reading."""
        raise BrokenError("layout", self.path, message, line)

    def close(self) -> None:
        """The end of the file is reached."""
        self.attributes = tuple(dict(key) for key in self._known)
        self._known.clear()


def _take_visibility(values: dict[str, object]) -> float:
    text = values.get("visibility")
    if isinstance(text, str) and len(text) < 40:
        try:
            visibility = float(text)
        except ValueError:
            return -1.0
        if 0 <= visibility <= 1:
            del values["visibility"]
            return visibility
    return -1.0


def _take_ignore(values: dict[str, object]) -> bool:
    if values.get("ignore") in ("true", "false"):
        return values.pop("ignore") == "true"
    return False
