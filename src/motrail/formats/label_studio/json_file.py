"""Take the boxes of a Label Studio task out of its JSON, checking as we go."""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from motrail.formats.faults import Fault
from motrail.formats.labels import MAX_FRAMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from motrail.formats.faults import Found, Place

MAX_BYTES = 1 << 30
"""Of JSON."""
MAX_ROOM = 600 << 20
"""Bytes of memory that the JSON takes once read, by a rough count; our columns come on top."""
MAX_DEPTH = 16
"""Of what `attributes` hold."""

_CONTAINERS = {b"[": 64, b"{": 240, b",": 64}
_SIZE = 10**6


class _FaultyError(Exception):
    """What is at hand has a fault, which is told already."""


class UnusableError(Exception):
    """A fault after which nothing more can be read from the file or task."""

    def __init__(self, kind: str, path: Path, message: str, place: Place = None) -> None:
        super().__init__(message)
        self.fault = Fault(kind, path, message, place)


def load(path: Path) -> object:
    """What the JSON file holds.

    Raises:
        UnusableError: It cannot be read, is no JSON, or would not fit into a gigabyte of memory.
    """
    import msgspec

    data = _read_bytes(path)
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise UnusableError("json", path, "expected JSON, found it nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        if "truncated" in reason:
            line = data.count(b"\n") + 1
            message = "expected JSON up to its last bracket, found the end: half-written?"
            raise UnusableError("json", path, message, line) from None
        at = re.search(r"\(byte (\d+)\)", reason)
        place = data.count(b"\n", 0, int(at[1])) + 1 if at else None
        raise UnusableError("json", path, f"expected JSON, found: {reason}", place) from None


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UnusableError("layout", path, "expected a JSON file, found none")
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise UnusableError("layout", path, message) from None
    room = size + sum(data.count(mark) * cost for mark, cost in _CONTAINERS.items())
    if room > MAX_ROOM:
        message = (
            f"expected JSON that fits into 1 GB of memory, found {size} bytes that would take "
            "more; export the tasks in parts"
        )
        raise UnusableError("json", path, message)
    return data.removeprefix(b"\xef\xbb\xbf")


class Boxes:
    """The keyframes of a task in columns.

    Attributes:
        classes: Names of the labels as they appear.
        regions: Ids of the regions, as text; "" where there is none.
        length: The largest `framesCount`; 0 when unknown.
        duration: That region's duration in seconds; 0 when unknown.
        size: Width and height of the video, where a result says it.
    """

    def __init__(self, path: Path, place: str, found: Found) -> None:
        self.classes: dict[str, int] = {}
        self.regions: list[str] = []
        self.length = 0
        self.duration = 0.0
        self.size: tuple[int, int] | None = None
        self.region, self.frame = array("q"), array("q")
        self.class_id = array("q")
        self.percent, self.visibility = array("d"), array("d")
        self.enabled, self.ignore = array("b"), array("b")
        self.attributes: list[Mapping[str, object] | None] = []
        self._path, self._place, self._found = path, place, found
        self._results = array("q")
        self._entries = array("q")
        self._known_regions: set[str] = set()

    def place(self, row: int) -> str:
        """Where a keyframe stands in the file."""
        return f"{self._place}[{self._results[row]}].value.sequence[{self._entries[row]}]"

    def add_region(self, index: int, result: dict[str, Any], labels: list[str]) -> None:
        """Take a result of type `videorectangle`, the `index`-th of its annotation."""
        place = f"{self._place}[{index}]"
        try:
            value = self._object(result.get("value"), f"{place}.value")
            sequence = value.get("sequence")
            if not isinstance(sequence, list):
                message = f"expected a list of keyframes, found {_show(sequence)}"
                self._refuse("layout", f"{place}.value.sequence", message)
            self._take_size(result, place)
            self._take_region_id(result, place)
            self._take_length(value, f"{place}.value")
            class_id = self._class_of(labels, f"{place}.value.labels")
        except _FaultyError:
            return
        for entry, keyframe in enumerate(sequence):
            try:
                self._add_keyframe(keyframe, f"{place}.value.sequence[{entry}]", labels[1:])
            except _FaultyError:
                continue
            self.class_id.append(class_id)
            self._results.append(index)
            self._entries.append(entry)

    def _take_region_id(self, result: dict[str, Any], place: str) -> None:
        region = result.get("id", "")
        text = str(region) if isinstance(region, str | int) else ""
        if text and text in self._known_regions:
            message = f"expected each region once, found {text[:40]!r} again"
            self._refuse("duplicate", f"{place}.id", message)
        self._known_regions.add(text)
        self.regions.append(text)

    def _class_of(self, labels: list[str], place: str) -> int:
        if not labels:
            self._refuse("class", place, "expected a label, found none")
        return self.classes.setdefault(labels[0], len(self.classes))

    def _take_size(self, result: dict[str, Any], place: str) -> None:
        size = result.get("original_width"), result.get("original_height")
        if size == (None, None):
            return
        width, height = (n if type(n) is int and 0 < n <= _SIZE else 0 for n in size)
        if not width or not height:
            message = f"expected original_width and original_height in pixels, found {_show(size)}"
            self._refuse("number", place, message)
        self.size = self.size or (width, height)
        if self.size != (width, height):
            message = (
                f"expected regions on {self.size[0]}×{self.size[1]} as the first, found "
                f"{width}×{height}; a sequence has one size"
            )
            self._refuse("image-size", place, message)

    def _take_length(self, value: dict[str, Any], place: str) -> None:
        count, duration = value.get("framesCount"), value.get("duration")
        if count in (None, 0):
            return
        whole = int(count) if _is_number(count) and count == int(count) else 0
        if not 0 < whole <= MAX_FRAMES:
            message = f"expected 1 to {MAX_FRAMES} frames, found {_show(count)}"
            self._refuse("frame", f"{place}.framesCount", message)
        if whole > self.length:
            self.length = whole
            self.duration = float(duration) if _is_number(duration) and duration > 0 else 0.0

    def _add_keyframe(self, keyframe: object, place: str, more_labels: list[str]) -> None:
        entry = self._object(keyframe, place)
        frame = entry.get("frame")
        if not _is_number(frame) or frame != int(frame):
            self._refuse(
                "frame", f"{place}.frame", f"expected a frame from 1, found {_show(frame)}"
            )
        box = [self._number(entry, name, place) for name in ("x", "y", "width", "height")]
        enabled = self._flag(entry, "enabled", place, default=True)
        ignore = self._flag(entry, "ignore", place, default=False)
        visibility = self._number(entry, "visibility", place, default=-1)
        attributes: dict[str, object] = {"labels": more_labels} if more_labels else {}
        if self._number(entry, "rotation", place, default=0):
            attributes["rotation"] = entry["rotation"]
        if "attributes" in entry:
            own = self._object(entry["attributes"], f"{place}.attributes")
            if _depth(own) > MAX_DEPTH:
                message = f"expected at most {MAX_DEPTH} nested values, found more"
                self._refuse("layout", f"{place}.attributes", message)
            attributes |= own
        self.percent.extend(box)
        self.frame.append(int(frame))
        self.enabled.append(enabled)
        self.ignore.append(ignore)
        self.visibility.append(visibility)
        self.attributes.append(attributes or None)
        self.region.append(len(self.regions) - 1)

    def _number(
        self, entry: dict[str, Any], name: str, place: str, *, default: float | None = None
    ) -> float:
        value = entry.get(name, default)
        if not _is_number(value):
            self._refuse("number", f"{place}.{name}", f"expected a number, found {_show(value)}")
        return float(value)

    def _flag(self, entry: dict[str, Any], name: str, place: str, *, default: bool) -> bool:
        value = entry.get(name, default)
        if not isinstance(value, bool):
            message = f"expected true or false, found {_show(value)}"
            self._refuse("layout", f"{place}.{name}", message)
        return value

    def _object(self, value: object, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse("layout", place, f"expected an object, found {_show(value)}")
        return value

    def _refuse(self, kind: str, place: str, message: str) -> NoReturn:
        self._found(Fault(kind, self._path, message, place))
        raise _FaultyError


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9


def _show(value: object) -> str:
    """A value in a message."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case None:
            return "nothing"
        case str():
            return repr(value[:40])
    return str(value)[:40] if not isinstance(value, int) or abs(value) < 10**40 else "a long number"


def _depth(value: object) -> int:
    """How deep lists and objects nest, as far as `MAX_DEPTH` and one more."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth
