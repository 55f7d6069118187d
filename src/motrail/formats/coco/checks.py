"""Take the numbers and texts of a COCO file's elements, and say what is wrong with them."""

from __future__ import annotations

import itertools
import json
import reprlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.formats.faults import Fault

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from motrail.formats.faults import Found

Element = dict[str, object]

NOT_SAID = -(2**62)
"""Stands for a whole number that the file does not give."""

MAX_DEPTH = 50
"""Of lists and objects in attributes: deeper ones would trouble whoever walks through them."""

_LARGEST = 2**62
_HUGE = 10**300  # near the largest float
_WHAT = {"whole": "a whole number", "number": "a number", "flag": "true or false"}
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_PLAIN: dict[str, set[type]] = {"whole": {int}, "number": {int, float}, "flag": {bool, int}}


class Field(NamedTuple):
    """A key of an element that holds a number.

    Attributes:
        key: The key.
        kind: `whole`, `number` or `flag`.
        default: For elements that do not have it, in range; None where each must.
        low: Smallest value.
        high: Largest value.
    """

    key: str
    kind: str
    default: float | None
    low: float = -_LARGEST
    high: float = _LARGEST


class Checked(NamedTuple):
    """Elements without fault.

    Attributes:
        elements: The elements.
        indices: Their places in the file's list, int64, shape (n,).
        numbers: By key: float64 where the field is a `number`, else int64, shape (n,); where asked
            for `bbox`, float64, shape (n, 4).
    """

    elements: list[Element]
    indices: NDArray[np.int64]
    numbers: dict[str, NDArray[Any]]


class Checker:
    """Takes what is right from lists of elements and tells of the rest.

    Args:
        path: The file.
        found: Told of each fault. Where it returns, the element is left out.
    """

    def __init__(self, path: Path, found: Found) -> None:
        self.path = path
        self.found = found

    def fault(self, kind: str, place: str | None, message: str) -> None:
        """Tell of a fault."""
        self.found(Fault(kind, self.path, message, place))

    def take(
        self,
        name: str,
        start: int,
        batch: list[object],
        fields: tuple[Field, ...],
        *,
        box: bool = False,
    ) -> Checked:
        """The numbers of a part of the list `name`, of which `start` is the first place."""
        numbers = _columns(batch, fields, box=box)
        if numbers is not None:
            indices = np.arange(start, start + len(batch))
            return Checked(batch, indices, numbers)  # type: ignore[arg-type]
        elements, indices_kept = [], []
        for index, element in enumerate(batch, start):
            good = self._element(f"{name}[{index}]", element, fields, box=box)
            if good is not None:
                elements.append(good)
                indices_kept.append(index)
        numbers = _columns(elements, fields, box=box) or {}
        return Checked(elements, np.array(indices_kept, np.int64), numbers)

    def text(self, place: str, value: object) -> str | None:
        """The value if it is text that can be written; else None, after telling of the fault."""
        if not isinstance(value, str):
            self.fault("layout", place, f"expected text, found {show(value)}")
            return None
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fault("layout", place, f"expected text, found half a character: {show(value)}")
            return None
        return value

    def packed(self, place: str, value: object) -> bytes:
        """The value as a line of JSON; nothing, after telling of the fault, if it cannot be."""
        try:
            line = _encode(value).encode()
        except UnicodeEncodeError:
            self.fault("layout", place, "expected text, found half a character")
        except ValueError:
            self.fault("number", place, "expected finite numbers, found NaN or infinity")
        except RecursionError:
            self._deep(place)
        else:
            if line.count(b"[") + line.count(b"{") <= MAX_DEPTH or _shallow(value):
                return line
            self._deep(place)
        return b""

    def _deep(self, place: str) -> None:
        self.fault("layout", place, f"expected at most {MAX_DEPTH} lists and objects inside others")

    def _element(
        self, place: str, element: object, fields: tuple[Field, ...], *, box: bool
    ) -> Element | None:
        """The element with its numbers made plain; None, after telling of the faults."""
        if not isinstance(element, dict):
            self.fault("layout", place, f"expected an object, found {show(element)}")
            return None
        good, wrong = dict(element), False
        for field in fields:
            value = element.get(field.key)
            if value is None and field.default is not None:
                good.pop(field.key, None)
                continue
            number = _number(field, value)
            if number is None:
                what = _WHAT[field.kind]
                if field.high < _LARGEST and field.kind == "whole":
                    what += f" from {field.low} to {field.high}"
                self.fault(
                    "number", f"{place}.{field.key}", f"expected {what}, found {show(value)}"
                )
                wrong = True
            good[field.key] = number
        if box and _columns([good], (), box=True) is None:
            self.fault("layout", f"{place}.bbox", _box_message(element))
            wrong = True
        return None if wrong else good


def show(value: object) -> str:
    """A value in a message, shortened."""
    return "nothing" if value is None else reprlib.repr(value)


def repeated(ids: NDArray[np.int64], places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Places of ids that were there before, each with the first place of its id."""
    order = np.lexsort((places, ids))
    ids, places = ids[order], places[order]
    first = np.ones(len(ids), np.bool_)
    first[1:] = ids[1:] != ids[:-1]
    if first.all():
        return []
    firsts = places[np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0))]
    return sorted(zip(places[~first].tolist(), firsts[~first].tolist(), strict=True))


def _columns(
    batch: list[Any], fields: tuple[Field, ...], *, box: bool
) -> dict[str, NDArray[Any]] | None:
    """The numbers of elements by key; None where any is not as it should be."""
    if not set(map(type, batch)) <= {dict}:
        return None
    numbers: dict[str, NDArray[Any]] = {}
    try:
        for field in fields:
            values = [element.get(field.key, field.default) for element in batch]
            if not set(map(type, values)) <= _PLAIN[field.kind]:
                return None
            column = np.array(values, np.float64 if field.kind == "number" else np.int64)
            if (column < field.low).any() or (column > field.high).any():
                return None
            numbers[field.key] = column
        if box:
            boxes = _boxes(batch)
            if boxes is None:
                return None
            numbers["bbox"] = boxes
    except OverflowError:
        return None
    return numbers


def _boxes(batch: list[Any]) -> NDArray[np.float64] | None:
    boxes = [element.get("bbox") for element in batch]
    if not set(map(type, boxes)) <= {list} or not set(map(len, boxes)) <= {4}:
        return None
    sides = list(itertools.chain.from_iterable(boxes))
    if not set(map(type, sides)) <= {int, float}:
        return None
    return np.array(sides, np.float64).reshape(-1, 4)


def _number(field: Field, value: object) -> float | None:
    """The value as the field's kind of number; None where it is none."""
    if isinstance(value, bool) and field.kind != "flag":
        return None
    if not isinstance(value, (int, float)):
        return None
    if field.kind == "number":
        return None if abs(value) > _HUGE else value
    whole = isinstance(value, int) or value.is_integer()
    return int(value) if whole and field.low <= value <= field.high else None


def _box_message(element: Element) -> str:
    box = element.get("bbox")
    if box is not None:
        return f"expected four numbers (left, top, width, height), found {show(box)}"
    if element.get("segmentation"):
        return "expected a bbox, found a segmentation alone; add boxes around the masks"
    return "expected a bbox, found nothing"


def _shallow(value: object) -> bool:
    """Whether lists and objects go no deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = inner
    return not level
