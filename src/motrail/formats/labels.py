"""The labels of a sequence in memory, whatever format they came from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from motrail.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

T = TypeVar("T")

MAX_FRAMES = 4_000_000
"""The longest sequence that is believed: 37 hours at 30 frames a second."""

MIN_RATE, MAX_RATE = 0.001, 10_000.0
"""Frame rates that are believed, and that a video can have."""


def usable_rate(rate: float) -> float:
    """The frame rate, or 0 for unknown where it is none that a video can have."""
    return rate if MIN_RATE <= rate <= MAX_RATE else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Coded(Generic[T]):
    """A column in which few values return often: row i holds `values[codes[i]]`.

    Attributes:
        codes: Index into `values`, int64, shape (n,); -1 where the row has nothing.
        values: The distinct values.
    """

    codes: NDArray[np.int64]
    values: tuple[T, ...]

    @classmethod
    def none(cls, count: int) -> Coded[T]:
        """A column of `count` rows that holds nothing."""
        return cls(np.full(count, -1, np.int64), ())

    @classmethod
    def of(cls, rows: Iterable[T | None]) -> Coded[T]:
        """Code a column; equal rows share a value. Rows are text or what JSON can hold."""
        known: dict[str, int] = {}
        values: list[T] = []
        codes = []
        for row in rows:
            if row is None:
                codes.append(-1)
                continue
            key = row if isinstance(row, str) else json.dumps(row, sort_keys=True)
            if key not in known:
                known[key] = len(values)
                values.append(row)
            codes.append(known[key])
        return cls(np.array(codes, np.int64), tuple(values))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.integer]) -> Coded[T]:
        """Pick rows by a slice, a mask or an array of indices."""
        return Coded(self.codes[rows], self.values)

    def to_list(self) -> list[T | None]:
        """The rows one by one; None where there is nothing."""
        values: tuple[T | None, ...] = (*self.values, None)
        return [values[code] for code in self.codes.tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The labels of one sequence, a row for each object in each frame, in any order.

    Attributes:
        name: The sequence: a folder's name or a video's stem.
        classes: Names of the classes that `class_ids` counts through.
        frames: Frame numbers from 1, int64, shape (n,).
        ids: One number for one object of the sequence, int64, shape (n,); -1 when unknown. The
            source's own numbers where they tell objects apart.
        boxes_xywh: Left, top, width, height in pixels, float64, shape (n, 4). They may leave the
            image.
        class_ids: Index into `classes`, int64, shape (n,).
        visibility: Visible part, 0 to 1, float64, shape (n,); -1 when unknown.
        ignore: Neither right nor wrong to find, bool, shape (n,).
        keyframe: Set by the source; False where it was filled in between, bool, shape (n,).
        attributes: Whatever else the source says of the box, by name; what JSON can hold.
        source_ids: The object's identity as the source writes it.
        width: Of the frames, in pixels; 0 when unknown.
        height: Of the frames, in pixels; 0 when unknown.
        length: Number of frames in the sequence; at least the largest of `frames`.
        frame_rate: Frames a second; 0 when unknown.
        frame_attributes: What the source says of whole frames, by frame number.
        pictures: Where the frames' image files are, by frame number; those that are known of.
    """

    name: str
    classes: tuple[str, ...]
    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    visibility: NDArray[np.float64]
    ignore: NDArray[np.bool_]
    keyframe: NDArray[np.bool_]
    attributes: Coded[Mapping[str, object]]
    source_ids: Coded[str]
    width: int = 0
    height: int = 0
    length: int = 0
    frame_rate: float = 0.0
    frame_attributes: Mapping[int, Mapping[str, object]] = field(default_factory=dict)
    pictures: Mapping[int, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.frames)
        for name in COLUMNS:
            found = len(getattr(self, name))
            if found != count:
                raise DataError(f"Labels.{name}: expected {count} rows, found {found}")

    @classmethod
    def of(
        cls,
        name: str,
        classes: Sequence[str],
        frames: NDArray[np.int64],
        ids: NDArray[np.int64],
        boxes_xywh: NDArray[np.float64],
        class_ids: NDArray[np.int64],
        **rest: object,
    ) -> Labels:
        """Labels with the usual for what is not given: keyframes of unknown visibility."""
        count = len(frames)
        columns: dict[str, object] = {
            "visibility": np.full(count, -1.0),
            "ignore": np.zeros(count, np.bool_),
            "keyframe": np.ones(count, np.bool_),
            "attributes": Coded[object].none(count),
            "source_ids": Coded[str].none(count),
        }
        return cls(
            name,
            tuple(classes),
            frames,
            ids,
            boxes_xywh.reshape(-1, 4),
            class_ids,
            **(columns | rest),  # type: ignore[arg-type]
        )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.integer]) -> Labels:
        """The same sequence with some of the rows, by a slice, a mask or an array of indices."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def replace(self, **changes: object) -> Labels:
        """The same labels but for the attributes given."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def in_order(self) -> Labels:
        """Rows sorted by frame, then id, then as they stood."""
        return self[np.lexsort((self.ids, self.frames))]

    def listed_frames(self) -> list[int]:
        """Numbers of the frames that a list of images should hold.

        All of 1 to `length`; but where some pictures are known, those and the labelled ones.
        """
        if not self.pictures:
            return list(range(1, self.length + 1))
        return sorted({*self.pictures, *np.unique(self.frames).tolist()})


COLUMNS = (
    "frames",
    "ids",
    "boxes_xywh",
    "class_ids",
    "visibility",
    "ignore",
    "keyframe",
    "attributes",
    "source_ids",
)
"""The attributes of `Labels` that have a row for each box."""


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Labels that are read sequence by sequence, so that memory holds one at a time.

    Attributes:
        format: `mot`, `coco`, `ground-truth`, `cvat` or `label-studio`.
        classes: Names of the classes that are known before anything is read; more may turn up.
        count: Number of sequences; None where it is not known before they are read.
        read: Starts reading from the beginning.
    """

    format: str
    classes: tuple[str, ...]
    count: int | None
    read: Callable[[], Iterator[Labels]]

    def __iter__(self) -> Iterator[Labels]:
        """The sequences in the order of the source.

        Raises:
            FormatError: Something in the source is not as its format asks.
        """
        return self.read()


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a source may not say itself.

    Attributes:
        size: Width and height of the frames in pixels.
        length: Number of frames.
        frame_rate: Frames a second.
        name: What to call the sequence of a source that has one and does not name it.
        size_of: Says the size of a sequence by its name, where each has its own.
        mirror: Folder that holds copies of what `s3://` references name, as `BUCKET/KEY` or `KEY`.
        label_attribute: Which of a Ground Truth manifest's label attributes to read.
        class_changes: Whether an object may change its class, as in a tracker's results.
    """

    size: tuple[int, int] | None = None
    length: int | None = None
    frame_rate: float | None = None
    name: str | None = None
    size_of: Callable[[str], tuple[int, int] | None] | None = None
    mirror: Path | None = None
    label_attribute: str | None = None
    class_changes: bool = False


def distinct_ids(numbers: NDArray[np.int64], class_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids for objects whose numbers count within their class.

    A number keeps its value for the class that has it first; for other classes it becomes a fresh
    one above all numbers, in order of appearance.

    Args:
        numbers: As the source gives them, int64, shape (n,); -1 stays.
        class_ids: int64, shape (n,).

    Returns:
        One number for each (number, class), int64, shape (n,).
    """
    pairs = np.stack([numbers, class_ids], axis=1)
    objects, first, which = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    ids = objects[:, 0].copy()
    taken: set[int] = set()
    fresh = max(int(numbers.max(initial=0)), 0) + 1
    for row in np.argsort(first, kind="stable").tolist():
        number = int(ids[row])
        if number == -1:
            continue
        if number in taken:
            ids[row] = fresh
            fresh += 1
        taken.add(number)
    return ids[which].astype(np.int64)


class ClassList:
    """Class names as they turn up, sequence after sequence; each keeps its place.

    Names are one line each: runs of spaces and line breaks in them become one space.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = list(dict.fromkeys(names))
        self._place = {name: index for index, name in enumerate(self.names)}

    def take(self, labels: Labels) -> Labels:
        """The labels with `class_ids` counting through `names`, which grows by what is new."""
        names = [" ".join(name.split()) or "unnamed" for name in labels.classes]
        for name in names:
            if name not in self._place:
                self._place[name] = len(self.names)
                self.names.append(name)
        if tuple(names) == tuple(self.names):
            return labels.replace(classes=tuple(names))
        table = np.array([self._place[name] for name in names], np.int64)
        class_ids = table[labels.class_ids] if len(table) else labels.class_ids
        return labels.replace(classes=tuple(self.names), class_ids=class_ids)
