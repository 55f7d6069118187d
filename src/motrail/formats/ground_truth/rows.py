"""From the frames of a Ground Truth sequence to columns."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from motrail.formats.faults import Fault, check_rows
from motrail.formats.labels import Coded, Labels, ReadOptions, distinct_ids
from motrail.names import frame_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.faults import Found
    from motrail.formats.ground_truth.files import Annotation, Frame

MAX_ATTRIBUTES = 2**16
"""Bytes of JSON that one box or frame may have as attributes."""


@dataclass(frozen=True, slots=True)
class ClassMap:
    """What the numbers and labels in a file mean.

    Attributes:
        names: The classes.
        by_id: Index into `names` by `class-id`.
        by_label: Index into `names` by label; labels may be shorter than names.
    """

    names: tuple[str, ...]
    by_id: Mapping[str, int]
    by_label: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Source:
    """Where frames were read.

    Attributes:
        path: The file, or the folder of a worker's answers.
        place: Says where a frame, or a box in it, stands there.
        name: Of the sequence.
        classes: What class ids mean; None where nobody says it.
        numbers: Frame numbers from 1 by file name, of the sequence file; None without one.
        pictures: Images that are there, by frame number.
    """

    path: Path
    place: Callable[[int, int | None], str]
    name: str
    classes: ClassMap | None
    numbers: Mapping[str, int] | None
    pictures: Mapping[int, Path]


def to_labels(
    frames: Sequence[Frame], source: Source, options: ReadOptions, found: Found
) -> Labels:
    """The labels of a sequence, checked.

    Args:
        frames: As they were read.
        source: Where.
        options: What the files do not say.
        found: Told of each fault; what is at fault is left out.
    """
    numbers = _frame_numbers(frames, source, found)
    length = max(source.numbers.values()) if source.numbers is not None else options.length or 0
    width, height = options.size or (0, 0)
    boxes = [box for frame in frames for box in frame.annotations or ()]
    counts = np.array([len(frame.annotations or ()) for frame in frames], np.int64)
    in_frame = np.repeat(np.arange(len(frames)), counts)
    in_list = np.arange(len(boxes)) - np.repeat(np.cumsum(counts) - counts, counts)

    def place(row: int) -> str:
        return source.place(int(in_frame[row]), int(in_list[row]))

    ids, source_ids = _identities(boxes)
    names, class_ids = _classes(boxes, source, place, found)
    shown, ignore, attributes = _attributes(boxes, source.path, place, found)
    labels = Labels.of(
        source.name,
        names,
        np.repeat(numbers, counts),
        ids,
        np.stack(
            [
                np.array([box.left for box in boxes], np.float64),
                np.array([box.top for box in boxes], np.float64),
                np.array([box.width for box in boxes], np.float64),
                np.array([box.height for box in boxes], np.float64),
            ],
            axis=1,
        ),
        class_ids,
        visibility=shown,
        ignore=ignore,
        attributes=attributes,
        source_ids=source_ids,
        width=width,
        height=height,
        length=length,
        frame_rate=options.frame_rate or 0.0,
        frame_attributes=_frame_attributes(frames, numbers, source, found),
        pictures=source.pictures,
    )
    del boxes
    known = (labels.frames > 0) & (labels.class_ids >= 0)
    if not known.all():
        labels, in_frame, in_list = labels[known], in_frame[known], in_list[known]
    labels = check_rows(labels, source.path, place, found)
    return labels if length else labels.replace(length=int(numbers.max(initial=0)))


def _frame_numbers(frames: Sequence[Frame], source: Source, found: Found) -> NDArray[np.int64]:
    """The number of each frame, from 1; 0 for those that are left out."""
    by_name = source.numbers
    if by_name is None:
        by_name = numbers_of_names(frame.frame for frame in frames)
    numbers = np.zeros(len(frames), np.int64)
    seen: dict[str, int] = {}
    for index, frame in enumerate(frames):
        number = by_name.get(frame.frame)
        if number is None:
            text = f"expected a frame of the sequence file, found {frame.frame[:200]!r}"
            found(Fault("frame", source.path, text, source.place(index, None)))
        elif frame.frame in seen:
            first = source.place(seen[frame.frame], None)
            text = f"expected frame {frame.frame[:200]!r} once, found it again (first: {first})"
            found(Fault("duplicate", source.path, text, source.place(index, None)))
        else:
            seen[frame.frame] = index
            numbers[index] = number
    return numbers


def numbers_of_names(names: Iterable[str]) -> dict[str, int]:
    """Frame numbers from 1 by what the files' names say; see `frame_numbers`."""
    distinct = list(dict.fromkeys(names))
    stems = [name.rpartition(".")[0] or name for name in distinct]
    return dict(zip(distinct, frame_numbers(stems), strict=True))


def _identities(boxes: Sequence[Annotation]) -> tuple[NDArray[np.int64], Coded[str]]:
    """Ids and what the source calls the objects; one for each `object-id`."""
    keys = [box.object_id for box in boxes]
    if not {*map(type, keys)} <= {str} or "" in keys:
        keys = [
            box.object_name or None if box.object_id in (None, "") else str(box.object_id)
            for box in boxes
        ]
    objects = [key for key in dict.fromkeys(keys) if key is not None]
    places = {key: code for code, key in enumerate(objects)}
    codes = np.array([-1 if key is None else places[key] for key in keys], np.int64)
    numbers = np.full(len(places), -1, np.int64)
    first = np.full(len(places), -1, np.int64)
    rows = np.flatnonzero(codes >= 0)[::-1]
    first[codes[rows]] = rows
    for code, row in enumerate(first.tolist()):
        numbers[code] = _number_of(boxes[row].object_name)
    ids = _numbered(numbers)
    return np.append(ids, -1)[codes], Coded(codes, tuple(str(key) for key in objects))


def _number_of(name: str | None) -> int:
    """The number at the end of an object's name; -1 when it has none that can be used."""
    match = re.search(r"(?::(-)|(?<![0-9]))([0-9]{1,18})\Z", (name or "")[-64:])
    if match is None:
        return -1
    return -int(match[2]) if match[1] else int(match[2])


def _numbered(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distinct ids for objects: their own number where it is free, else a fresh one."""
    if not len(numbers):
        return numbers
    ids = distinct_ids(numbers, np.arange(len(numbers)))
    nameless = ids == -1
    ids[nameless] = max(int(ids.max()), 0) + 1 + np.arange(int(nameless.sum()))
    return ids


def _label_of(name: str | None) -> str | None:
    """The label in an object's name: what stands before the last colon."""
    return name.rpartition(":")[0] or None if name else None


def _classes(
    boxes: Sequence[Annotation], source: Source, place: Callable[[int], str], found: Found
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of the classes and the class of each box; -1 for those found unknown."""
    if source.classes is not None:
        names, class_ids = source.classes.names, _mapped(boxes, source.classes)
        known = (f"{key} {names[code]}" for key, code in source.classes.by_id.items())
        expected = f"expected a class-id of the class map ({_some(known)})"
    else:
        names, class_ids = _named(boxes)
        expected = "expected an object-name such as car:1 or a class-id"
    for row in np.flatnonzero(class_ids < 0).tolist():
        box = boxes[row]
        told = box.label or box.object_name if box.class_id is None else str(box.class_id)
        text = repr(told[:200]) if told else "none"
        found(Fault("class", source.path, f"unknown class: {expected}, found {text}", place(row)))
    return names, class_ids


def _mapped(boxes: Sequence[Annotation], classes: ClassMap) -> NDArray[np.int64]:
    """Classes by a class map: the class id counts, else the label or the one in the name."""
    keys = [box.class_id for box in boxes]
    codes = {key: classes.by_id.get(str(key), -1) for key in dict.fromkeys(keys)}
    class_ids = np.array([codes[key] for key in keys], np.int64)
    if None in codes:
        for row, key in enumerate(keys):
            if key is None:
                label = boxes[row].label or _label_of(boxes[row].object_name)
                class_ids[row] = classes.by_label.get(label or "", -1)
    return class_ids


def _named(boxes: Sequence[Annotation]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Classes by the labels in the objects' names, in the order of their class ids."""
    keys = [(box.class_id, box.label, box.object_name) for box in boxes]
    named: dict[tuple[str | int | None, str | None, str | None], str | None] = {}
    first: dict[str, tuple[int, str]] = {}
    for key in dict.fromkeys(keys):
        class_id, label, name = key
        text = label or _label_of(name) or (None if class_id is None else str(class_id))
        named[key] = text
        if text is not None:
            order = _LAST if class_id is None else id_order(str(class_id))
            first[text] = min(first.get(text, order), order)
    names = tuple(sorted(first, key=lambda text: first[text]))
    place = {text: code for code, text in enumerate(names)}
    codes = {key: -1 if text is None else place[text] for key, text in named.items()}
    return names, np.array([codes[key] for key in keys], np.int64)


_LAST = (1 << 62, "")
"""Sorts behind every class id."""


def id_order(class_id: str) -> tuple[int, str]:
    """A key that sorts class ids as the numbers they are."""
    number = class_id.isascii() and class_id.isdecimal() and len(class_id) < 19
    return (int(class_id), "") if number else ((1 << 62) - 1, class_id)


def _some(texts: Iterable[str]) -> str:
    shown = list(texts)
    return ", ".join(shown[:10]) + (" ..." if len(shown) > 10 else "")


def _attributes(
    boxes: Sequence[Annotation], path: Path, place: Callable[[int], str], found: Found
) -> tuple[NDArray[np.float64], NDArray[np.bool_], Coded[Mapping[str, object]]]:
    """Visibility, ignore marks and the rest of `label-category-attributes`."""
    usual = _usual_attributes([box.label_category_attributes for box in boxes])
    if usual is not None:
        return *usual, Coded.none(len(boxes))
    raws = [bytes(box.label_category_attributes) for box in boxes]
    distinct: dict[bytes, int] = {}
    which = np.array([distinct.setdefault(raw, len(distinct)) for raw in raws], np.int64)
    first = np.zeros(len(distinct), np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    shown = np.full(len(distinct), -1.0)
    ignore = np.zeros(len(distinct), np.bool_)
    codes = np.full(len(distinct), -1, np.int64)
    known: dict[str, int] = {}
    values: list[Mapping[str, object]] = []
    for index, raw in enumerate(distinct):
        attributes = _decode(raw)
        if isinstance(attributes, str):
            text = f"label-category-attributes: {attributes}"
            found(Fault("layout", path, text, place(int(first[index]))))
            continue
        shown[index] = _take_visibility(attributes)
        ignore[index] = _take_ignore(attributes)
        if attributes:
            key = json.dumps(attributes, sort_keys=True)
            codes[index] = known.setdefault(key, len(known))
            if len(known) > len(values):
                values.append(attributes)
    return shown[which], ignore[which], Coded(codes[which], tuple(values))


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Attributes that hold what columns hold, and nothing else."""

    ratio_vis: float = -1.0
    ignore: Literal["true", "false"] = "false"


def _usual_attributes(
    raws: list[msgspec.Raw],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Visibility and ignore marks where no box has other attributes; all at once, as it is fast."""
    try:
        every = msgspec.json.decode(b"[%b]" % b",".join(raws), type=list[_Usual])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(every) != len(raws):
        return None
    shown = np.array([one.ratio_vis for one in every], np.float64)
    return shown, np.array([one.ignore == "true" for one in every], np.bool_)


def _frame_attributes(
    frames: Sequence[Frame], numbers: NDArray[np.int64], source: Source, found: Found
) -> dict[int, Mapping[str, object]]:
    every: dict[int, Mapping[str, object]] = {}
    for index, (frame, number) in enumerate(zip(frames, numbers.tolist(), strict=True)):
        raw = bytes(frame.frame_attributes)
        if raw == b"{}" or not number:
            continue
        attributes = _decode(raw)
        if isinstance(attributes, str):
            text = f"frame-attributes: {attributes}"
            found(Fault("layout", source.path, text, source.place(index, None)))
        elif attributes:
            every[number] = attributes
    return every


def _decode(raw: bytes) -> dict[str, object] | str:
    """Attributes; or, as text, what is wrong with them."""
    if raw == b"null":
        return {}
    # Deep nesting is refused here, so that writing the values anywhere cannot fail on it.
    if len(raw) > MAX_ATTRIBUTES or raw.count(b"[") + raw.count(b"{") > 100:
        return "expected a few names with values, found too much"
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"expected names with values, found an error: {error}"
    return value if isinstance(value, dict) else "expected names with values, found something else"


def _take_visibility(attributes: dict[str, object]) -> float:
    """Take out `ratio_vis` if it is a number; -1 when it is not there."""
    value = attributes.get("ratio_vis")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return -1.0
    try:
        ratio = float(value)
    except (ValueError, OverflowError):
        return -1.0
    del attributes["ratio_vis"]
    return ratio


def _take_ignore(attributes: dict[str, object]) -> bool:
    """Take out `ignore` if it says yes or no."""
    said = str(attributes.get("ignore")).lower()
    if said not in ("true", "1", "false", "0"):
        return False
    del attributes["ignore"]
    return said in ("true", "1")
