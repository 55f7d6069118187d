"""Which pictures a split of a dataset has, and what is to be found in each."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.config.training import BoxLimits
from motrail.errors import ConfigError, FormatError
from motrail.formats.labels import ClassList
from motrail.train.data.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.dataset.folder import Dataset
    from motrail.formats.labels import Labels

_SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The pictures of a split, a row for each, in order of sequence and frame.

    Few large arrays and no objects: threads and processes share them without copying.

    Attributes:
        classes: Names of the classes that `class_ids` counts through.
        sequences: Names of the sequences.
        sequence_ids: Index into `sequences`, int64, shape (n,).
        frames: Frame number from 1 in the sequence, int64, shape (n,).
        sizes: Width and height in pixels, int64, shape (n, 2).
        box_starts: Boxes of picture i are rows `box_starts[i]` to `box_starts[i + 1]`, int64,
            shape (n + 1,).
        boxes_xyxy: Left, top, right, bottom in pixels, inside the picture, float32, shape (m, 4).
        class_ids: int64, shape (m,).
        visibility: Visible part, 0 to 1, float32, shape (m,); -1 when unknown.
        ignore_starts: The same as `box_starts` for `ignore_xyxy`.
        ignore_xyxy: Regions where finding something is neither right nor wrong, float32,
            shape (k, 4).
        limits: What was taken for too little to be an object.
        notes: What the user should know, with how often.
    """

    classes: tuple[str, ...]
    sequences: tuple[str, ...]
    sequence_ids: NDArray[np.int64]
    frames: NDArray[np.int64]
    sizes: NDArray[np.int64]
    box_starts: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    visibility: NDArray[np.float32]
    ignore_starts: NDArray[np.int64]
    ignore_xyxy: NDArray[np.float32]
    path_bytes: bytes
    path_starts: NDArray[np.int64]
    limits: BoxLimits = field(default_factory=BoxLimits)
    notes: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.frames)

    def path(self, index: int) -> Path:
        """The file of a picture."""
        start, end = self.path_starts[index : index + 2].tolist()
        return Path(os.fsdecode(self.path_bytes[start:end]))

    def sequence(self, index: int) -> str:
        """Name of the sequence that a picture belongs to."""
        return self.sequences[int(self.sequence_ids[index])]

    def truth(self, index: int) -> Truth:
        """What is to be found in a picture, in its own pixels."""
        start, end = self.box_starts[index : index + 2].tolist()
        first, last = self.ignore_starts[index : index + 2].tolist()
        return Truth(
            self.boxes_xyxy[start:end], self.class_ids[start:end], self.ignore_xyxy[first:last]
        )


def read_samples(
    dataset: Dataset,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    mapping: Mapping[str, str] | None = None,
    limits: BoxLimits | None = None,
) -> Samples:
    """List the pictures of a split and what is to be found in them.

    Every picture counts, also one without labels, which is all background. Boxes are cut at the
    edges of the picture. To be ignored is what the labels say, of whatever class, and boxes of
    which too little is to be seen.

    Args:
        dataset: See `motrail.dataset.folder.open_dataset`.
        split: Such as `train`.
        classes: Names of the classes to learn, in the order of the network's outputs. Without
            them: those that have a box that is not to be ignored, in the order of `labels.txt`.
        mapping: Other names for the dataset's classes: name there → name in `classes`.
        limits: What is too little to be an object.

    Raises:
        ConfigError: There is no such split, the dataset knows nothing of a class that was asked
            for, or classes are named twice.
        FormatError: Labels cannot be read, a sequence has no pictures, or there is nothing to
            find in any of them.
        VideoError: The labels do not say how large a picture is, and it cannot be read.
    """
    if split not in dataset.splits:
        raise ConfigError(
            f"{dataset.folder}: expected a split {split!r}, found {', '.join(dataset.splits)}; "
            "make one with `motrail dataset split`"
        )
    if classes is not None and len(set(classes)) < len(classes):
        raise ConfigError(f"classes: expected each name once, found {', '.join(classes)}")
    names = ClassList(dataset.classes)
    listing = _Listing(limits or BoxLimits())
    for labels in dataset.source(split):
        if not labels.pictures:
            raise FormatError(
                dataset.folder / split / labels.name,
                "expected pictures in img1, found none; training needs them: import the labels "
                "with --video, or with a folder that has the pictures",
            )
        listing.add(names.take(labels))
    if not listing.sequences:
        raise FormatError(dataset.folder / split, "expected sequences with pictures, found none")
    return listing.samples(names.names, classes, mapping or {}, dataset.folder / split)


@dataclass(slots=True)
class _Rows:
    """Boxes of a sequence."""

    pictures: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    visibility: NDArray[np.float32]
    ignore: NDArray[np.bool_]
    flagged: NDArray[np.bool_]


class _Listing:
    """Takes sequence after sequence."""

    def __init__(self, limits: BoxLimits) -> None:
        self._limits = limits
        self.sequences: list[str] = []
        self._counts: list[int] = []
        self._frames: list[NDArray[np.int64]] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._paths: list[bytes] = []
        self._rows: list[_Rows] = []
        self._notes: Counter[str] = Counter()

    def add(self, labels: Labels) -> None:
        """Take a sequence that has pictures."""
        frames = np.array(sorted(labels.pictures), np.int64)
        paths = [labels.pictures[number] for number in frames.tolist()]
        sizes = _sizes(labels, paths)
        labels = labels.in_order()
        place = np.searchsorted(frames, labels.frames)
        known = frames[np.minimum(place, len(frames) - 1)] == labels.frames
        lacking = len(np.unique(labels.frames[~known]))
        if lacking:
            self._notes["labelled frames without a picture are left out"] += lacking
        self._rows.append(self._cut(labels[known], place[known], sizes, sum(self._counts)))
        self.sequences.append(labels.name)
        self._counts.append(len(frames))
        self._frames.append(frames)
        self._sizes.append(sizes)
        self._paths.extend(os.fsencode(path) for path in paths)

    def _cut(
        self, labels: Labels, place: NDArray[np.int64], sizes: NDArray[np.int64], first: int
    ) -> _Rows:
        """Boxes inside of their pictures; those with too little left, or to be seen, ignored."""
        ends = np.hstack([labels.boxes_xywh[:, :2], labels.boxes_xywh[:, 2:]])
        ends[:, 2:] += ends[:, :2]
        corner = np.tile(sizes[place], 2)
        boxes = np.clip(ends, 0, corner)
        sides = boxes[:, 2:] - boxes[:, :2]
        there = (sides > 0).all(axis=1)
        outside = int((~there & ~labels.ignore).sum())
        if outside:
            self._notes["boxes outside of their picture are left out"] += outside
        little = sides.prod(axis=1) < self._limits.min_share * labels.boxes_xywh[:, 2:].prod(axis=1)
        hidden = (labels.visibility >= 0) & (labels.visibility < self._limits.min_visibility)
        return _Rows(
            first + place[there],
            boxes[there].astype(np.float32),
            labels.class_ids[there],
            labels.visibility[there].astype(np.float32),
            (labels.ignore | little | hidden)[there],
            labels.ignore[there],
        )

    def samples(
        self,
        known: Sequence[str],
        wanted: Sequence[str] | None,
        mapping: Mapping[str, str],
        where: Path,
    ) -> Samples:
        """Put all together.

        Args:
            known: Names that the rows' class ids count through.
            wanted: Classes to learn; None: those there are.
            mapping: Name in `known` → name in `wanted`.
            where: For messages.
        """
        rows = _Rows(
            *(np.concatenate(column) for column in zip(*map(_columns, self._rows), strict=True))
        )
        called = [mapping.get(name, name) for name in known]
        if wanted is None:
            there = np.unique(rows.class_ids[~rows.ignore]).tolist()
            wanted = list(dict.fromkeys(called[number] for number in there))
            for name in dict.fromkeys(called):
                if name not in wanted:
                    self._notes[f"class {name!r} has no object here, and is not learnt"] += 1
        _check_classes(wanted, called, where)
        place = {name: number for number, name in enumerate(wanted)}
        table = np.array([place.get(name, -1) for name in called], np.int64)
        self._tell_left_out(rows, table, known)
        class_ids = table[rows.class_ids] if len(table) else rows.class_ids
        objects = ~rows.ignore & (class_ids >= 0)
        # A box of a class that is not learned is background, unless its labels say to ignore it.
        regions = rows.flagged | (rows.ignore & (class_ids >= 0))
        self._tell_counts(rows, objects, regions)
        counts = np.bincount(class_ids[objects], minlength=len(wanted))
        if not counts.any():
            raise FormatError(
                where,
                f"expected labelled objects ({_some(wanted or called)}), found none in "
                f"{sum(self._counts)} pictures",
            )
        for number in np.flatnonzero(counts == 0).tolist():
            self._notes[f"class {wanted[number]!r} has no object here"] += 1
        return self._made(rows, class_ids, objects, regions, tuple(wanted))

    def _made(
        self,
        rows: _Rows,
        class_ids: NDArray[np.int64],
        objects: NDArray[np.bool_],
        regions: NDArray[np.bool_],
        classes: tuple[str, ...],
    ) -> Samples:
        pictures = np.arange(sum(self._counts) + 1)
        path_starts = np.cumsum([0, *map(len, self._paths)])
        return Samples(
            classes,
            tuple(self.sequences),
            np.repeat(np.arange(len(self._counts)), self._counts),
            np.concatenate(self._frames),
            np.concatenate(self._sizes),
            np.searchsorted(rows.pictures[objects], pictures),
            rows.boxes_xyxy[objects],
            class_ids[objects],
            rows.visibility[objects],
            np.searchsorted(rows.pictures[regions], pictures),
            rows.boxes_xyxy[regions],
            b"".join(self._paths),
            path_starts,
            self._limits,
            self._notes,
        )

    def _tell_left_out(self, rows: _Rows, table: NDArray[np.int64], known: Sequence[str]) -> None:
        counts = np.bincount(rows.class_ids[~rows.flagged], minlength=len(known))
        for number in np.flatnonzero((counts > 0) & (table == -1)).tolist():
            note = f"boxes of {known[number]!r}, which is not learned, are background"
            self._notes[note] += int(counts[number])

    def _tell_counts(
        self, rows: _Rows, objects: NDArray[np.bool_], regions: NDArray[np.bool_]
    ) -> None:
        unseen = int((regions & ~rows.flagged).sum())
        if unseen:
            self._notes["boxes of which too little is to be seen are ignored"] += unseen
        empty = sum(self._counts) - len(np.unique(rows.pictures[objects]))
        if empty:
            self._notes["pictures without an object are background"] += empty


def _columns(rows: _Rows) -> tuple[NDArray[np.generic], ...]:
    return (
        rows.pictures, rows.boxes_xyxy, rows.class_ids, rows.visibility, rows.ignore, rows.flagged,
    )  # fmt: skip


def _sizes(labels: Labels, paths: Sequence[Path]) -> NDArray[np.int64]:
    from motrail.video.images import image_size

    if labels.width and labels.height:
        return np.tile(np.array([labels.width, labels.height], np.int64), (len(paths), 1))
    return np.array([image_size(path) for path in paths], np.int64)


def _check_classes(wanted: Sequence[str], known: Iterable[str], where: Path) -> None:
    known = list(dict.fromkeys(known))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigError(
            f"{where}: expected classes of the dataset ({_some(known)}), found {_some(unknown)}; "
            "see labels.txt, and name what is called otherwise with --map THERE=HERE"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} …" if len(names) > _SHOWN else shown or "no classes"
