"""Labels of any import as objects with points, and back without loss.

What the page does not show (visibility, source ids, attributes that change) is kept beside the
objects, row by row, and put back where a box still is where it was.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.formats.keyframes import objects
from motrail.formats.labels import Coded, Labels
from motrail.label.model import (
    GAP,
    HAND,
    OCCLUDED,
    LabelObject,
    Points,
    boxes_of,
    canonical,
    thinned,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

TOLERANCE = 0.01
"""Pixels that a box may be off the line between two points, and count as on it."""
OCCLUDED_NAME = "occluded"
"""The attribute that says so, as CVAT's reader and Ground Truth's name it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Objects, and what they came from.

    Attributes:
        objects: As they are labelled on.
        labels: The rows of the import, by object and frame.
        numbers: The object of each row, int64, shape (n,).
        common: What all rows of an object say, by its number; the object says it itself.
    """

    objects: list[LabelObject]
    labels: Labels
    numbers: NDArray[np.int64]
    common: dict[int, dict[str, Any]]


def objects_of(labels: Labels) -> Imported:
    """The objects of a sequence.

    Boxes that linear interpolation gives back within `TOLERANCE` become no points, unless they are
    keyframes among others that are none.
    """
    place = np.arange(len(labels), dtype=np.float64)
    sorted_ = objects(labels.replace(visibility=place))  # a column that tells where a row stood
    order = sorted_.labels.visibility.astype(np.int64)
    labels, numbers = labels[order], sorted_.numbers
    shift = 1 - min(int(numbers.min(initial=1)), 1)  # ids count from 1 here
    numbers = numbers + shift
    occluded = _occluded(labels)
    found, common = [], {}
    for rows in sorted_.each():
        part = labels[rows]
        number = int(numbers[rows.start])
        common[number] = _common(part)
        found.append(
            LabelObject(
                number,
                _class_name(part),
                _points(part, occluded[rows]),
                ignore=bool(part.ignore.all()),
                attributes=common[number],
                source="import",
            )
        )
    return Imported(found, labels, numbers, common)


def _class_name(part: Labels) -> str:
    return " ".join(part.classes[int(part.class_ids[0])].split()) or "unnamed"


def _occluded(labels: Labels) -> NDArray[np.bool_]:
    """Rows that say that the object is hidden."""
    says = [
        str(value.get(OCCLUDED_NAME, "")).lower() in ("true", "1", "yes")
        for value in labels.attributes.values
    ]
    return np.array([*says, False], np.bool_)[labels.attributes.codes]


def _common(part: Labels) -> dict[str, Any]:
    """Attributes that all rows have in common and a page can show."""
    codes = np.unique(part.attributes.codes)
    if codes[0] < 0:
        return {}
    said = [part.attributes.values[code] for code in codes.tolist()]
    return {
        name: value
        for name, value in said[0].items()
        if name != OCCLUDED_NAME
        and isinstance(value, str | int | float | bool)
        and all(name in other and other[name] == value for other in said[1:])
    }


def _points(part: Labels, occluded: NDArray[np.bool_]) -> Points:
    frames, boxes = part.frames, part.boxes_xywh
    first = np.append(True, np.diff(frames) != 1)
    last = np.append(first[1:], True)
    keep = first | last
    keep[1:] |= occluded[1:] != occluded[:-1]
    # Where all boxes are keyframes the source does not tell which ones a person set.
    told = not part.keyframe.all()
    needed = thinned(frames, boxes, keep | (part.keyframe & told), TOLERANCE)
    flags = (part.keyframe * HAND) | (occluded * OCCLUDED)
    flags[last] |= GAP
    flags[-1] &= ~GAP
    return np.column_stack([frames, boxes, flags])[needed].astype(np.float64)


def packed(found: Imported) -> bytes:
    """An import as bytes, for the store."""
    labels = found.labels
    said = {
        "attributes": list(labels.attributes.values),
        "source_ids": list(labels.source_ids.values),
        "common": [[number, value] for number, value in found.common.items()],
    }
    with io.BytesIO() as file:
        np.savez_compressed(
            file,
            numbers=found.numbers,
            frames=labels.frames,
            ids=labels.ids,
            boxes=labels.boxes_xywh,
            visibility=labels.visibility,
            ignore=labels.ignore,
            keyframe=labels.keyframe,
            attributes=labels.attributes.codes,
            source_ids=labels.source_ids.codes,
            said=np.frombuffer(json.dumps(said).encode(), np.uint8),
        )
        return file.getvalue()


class Remembered:
    """What `packed` keeps, to be put back."""

    def __init__(self, data: bytes) -> None:
        with np.load(io.BytesIO(data), allow_pickle=False) as table:
            self._columns = {name: table[name] for name in table.files}
        said = json.loads(self._columns.pop("said").tobytes())
        self._attributes: list[Mapping[str, object]] = said["attributes"]
        self._source_ids: list[str] = said["source_ids"]
        self._common: dict[int, dict[str, Any]] = dict(said["common"])
        numbers, frames = self._columns["numbers"], self._columns["frames"]
        _, place = np.unique(numbers, return_inverse=True)
        kept = np.bincount(place.reshape(-1), ~self._columns["ignore"])
        self._all_ignored = kept[place.reshape(-1)] == 0
        self._at: dict[int, list[int]] = {}
        self._own: dict[tuple[int, int], int] = {}
        self._first: dict[int, int] = {}
        for row, (number, frame) in enumerate(zip(numbers.tolist(), frames.tolist(), strict=True)):
            self._at.setdefault(frame, []).append(row)
            self._own[number, frame] = row
            self._first.setdefault(number, row)

    def rows(
        self, numbers: NDArray[np.int64], frames: NDArray[np.int64], boxes: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Which row each box was, by where it is; else that of its object in the frame; else -1."""
        found = np.full(len(frames), -1, np.int64)
        own = [
            self._own.get(key, -1) for key in zip(numbers.tolist(), frames.tolist(), strict=True)
        ]
        mine = np.array(own, np.int64)
        there = mine >= 0
        close = np.zeros(len(frames), np.bool_)
        close[there] = self._close(mine[there], boxes[there])
        found[close] = mine[close]
        taken = set(found[close].tolist())
        for place in np.flatnonzero(~close).tolist():
            rows = [row for row in self._at.get(int(frames[place]), []) if row not in taken]
            if rows:
                fits = self._close(np.array(rows), boxes[place][None])
                if fits.any():
                    found[place] = rows[int(fits.argmax())]
                    taken.add(int(found[place]))
        rest = np.flatnonzero((found < 0) & there)
        free = [place for place in rest.tolist() if int(mine[place]) not in taken]
        found[free] = mine[free]
        return found

    def _close(self, rows: NDArray[np.int64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        off = np.abs(self._columns["boxes"][rows] - boxes).max(axis=1)
        near: NDArray[np.bool_] = off <= TOLERANCE * 1.001
        return near

    def restore(self, labels: Labels, objects: Sequence[LabelObject]) -> Labels:
        """Labels with all that the import said of the same boxes."""
        if not len(labels):
            return labels
        by_number = {item.id: item for item in objects}
        rows = self.rows(labels.ids, labels.frames, labels.boxes_xywh)
        known = rows >= 0
        same = np.zeros(len(rows), np.bool_)
        same[known] = self._close(rows[known], labels.boxes_xywh[known])
        boxes, visibility = labels.boxes_xywh.copy(), labels.visibility.copy()
        keyframe, ids = labels.keyframe.copy(), labels.ids.copy()
        ignore = labels.ignore.copy()
        boxes[same] = self._columns["boxes"][rows[same]]
        visibility[known] = self._columns["visibility"][rows[known]]
        keyframe[same] = self._columns["keyframe"][rows[same]]
        attributes: list[Mapping[str, object] | None] = []
        sources: list[str | None] = []
        said = labels.attributes.to_list()
        counts = Counter(ids.tolist())
        for place, (number, row) in enumerate(zip(ids.tolist(), rows.tolist(), strict=True)):
            attributes.append(self._said(by_number[number], said[place], row))
            sources.append(self._source_id(number, int(labels.frames[place])))
            if row >= 0 and not by_number[number].ignore and not self._all_ignored[row]:
                ignore[place] = self._columns["ignore"][row]
            if row >= 0 and self._columns["ids"][row] == -1 and counts[number] == 1:
                ids[place] = -1
        return labels.replace(
            boxes_xywh=boxes, visibility=visibility, keyframe=keyframe, ids=ids, ignore=ignore,
            attributes=Coded.of(attributes), source_ids=Coded.of(sources),
        )  # fmt: skip

    def _source_id(self, number: int, frame: int) -> str | None:
        row = self._own.get((number, frame), self._first.get(number, -1))
        code = int(self._columns["source_ids"][row]) if row >= 0 else -1
        return self._source_ids[code] if code >= 0 else None

    def _said(
        self, item: LabelObject, said: Mapping[str, object] | None, row: int
    ) -> Mapping[str, object] | None:
        """Attributes of a box: what its row said of itself, and what its object says now."""
        if row < 0:
            return said
        code = int(self._columns["attributes"][row])
        own = self._attributes[code] if code >= 0 else {}
        common = self._common.get(int(self._columns["numbers"][row]), {})
        rest = {name: value for name, value in own.items() if name not in common}
        hidden = bool((said or {}).get(OCCLUDED_NAME))
        if hidden != (str(own.get(OCCLUDED_NAME, "")).lower() in ("true", "1", "yes")):
            rest.pop(OCCLUDED_NAME, None)
            if hidden:
                rest[OCCLUDED_NAME] = True
        # In the order in which they stood, so that what did not change is written as it was.
        now = rest | dict(item.attributes)
        ordered = {name: now[name] for name in own if name in now} | now
        if not ordered and code < 0:
            return None
        return ordered


def labels_of(
    name: str, classes: Sequence[str], items: Sequence[LabelObject], **facts: Any
) -> Labels:
    """The boxes of objects as labels; hidden ones say so in an attribute.

    Args:
        name: The sequence's name.
        classes: Names of all classes.
        items: The objects; proposals are left out.
        facts: Size, length and so on; see `Labels`.
    """
    place = {label: index for index, label in enumerate(classes)}
    accepted = [item for item in items if not item.status and len(item.points)]
    parts = [boxes_of(item.points) for item in accepted]
    counts = [len(part.frames) for part in parts]

    def spread(values: Sequence[Any], kind: Any) -> NDArray[Any]:
        return np.repeat(np.array(values, kind), counts)

    occluded = np.concatenate([np.zeros(0, np.bool_), *(part.occluded for part in parts)])
    which = spread(range(len(accepted)), np.int64)
    values: list[Mapping[str, object]] = []
    for item in accepted:
        values += [dict(item.attributes), {**item.attributes, OCCLUDED_NAME: True}]
    codes = which * 2 + occluded
    empty = np.array([not value for value in values] or [True])
    codes = np.where(empty[codes] if len(codes) else False, -1, codes).astype(np.int64)
    used = Coded(codes, tuple(values))
    return Labels.of(
        name,
        classes,
        np.concatenate([np.zeros(0, np.int64), *(part.frames for part in parts)]),
        spread([item.id for item in accepted], np.int64),
        np.concatenate([np.zeros((0, 4)), *(part.boxes_xywh for part in parts)]),
        spread([place[item.label] for item in accepted], np.int64),
        ignore=spread([item.ignore for item in accepted], np.bool_),
        keyframe=np.concatenate([np.zeros(0, np.bool_), *(part.hand for part in parts)]),
        attributes=Coded.of(used.to_list()),
        **facts,
    ).in_order()


__all__ = ["Imported", "Remembered", "canonical", "labels_of", "objects_of", "packed"]
