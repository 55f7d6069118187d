"""What will hurt training or tracking although it breaks no rule, with the figures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.check.findings import counted, runs, show_runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.dataset.check.findings import Findings
    from motrail.formats.labels import Labels

SMALLEST_SIDE = 8.0
"""Pixels at the training size; YOLOX's finest grid has cells of 8 pixels."""
FEWEST_OBJECTS = 10
FEWEST_BOXES = 50
FEWEST_SEQUENCES = 3
MOST_IGNORED = 0.8
LARGEST_SPREAD = 0.15
"""Of the logarithm of width / height along an object, as a standard deviation.

Measured as the median over the objects: .06 to .11 in the sequences of MOT17, where `height_weight`
2 is best; .04 to .07 for parcels and cars, where it hardly matters; .23 for players on a pitch,
where 1 and 0 are better.
"""
_FEWEST_LOOKS = 10


def hint_labels(
    labels: Labels, where: str, training_size: tuple[int, int], findings: Findings
) -> None:
    """Tell what is odd about the labels of one sequence.

    Args:
        labels: Without faults.
        where: What to call the sequence.
        training_size: Width and height of a network's input in pixels.
        findings: Told of hints.
    """
    if not len(labels):
        return
    if labels.width and labels.height:
        _hint_small(labels, where, training_size, findings)
        _hint_outside(labels, where, findings)
    _hint_ignored(labels, where, findings)
    _hint_ids(labels, where, findings)
    _hint_jumps(labels, where, findings)
    _hint_unlabelled(labels, where, findings)


def _hint_small(
    labels: Labels, where: str, training_size: tuple[int, int], findings: Findings
) -> None:
    scale = min(training_size[0] / labels.width, training_size[1] / labels.height)
    used = labels[~labels.ignore]
    sides = used.boxes_xywh[:, 2:].min(axis=1, initial=np.inf) * scale
    small = np.flatnonzero(sides < SMALLEST_SIDE)
    if not len(small):
        return
    row = int(small[sides[small].argmin()])
    width, height = used.boxes_xywh[row, 2:]
    message = (
        f"{_share(len(small), len(used))} boxes are under {SMALLEST_SIDE:g} px at "
        f"{training_size[0]}x{training_size[1]} (images {labels.width}x{labels.height}, scale "
        f"{scale:.3g}); the smallest: {width:g}x{height:g}, there {sides[row]:.1f} px, "
        f"id {used.ids[row]}"
    )
    findings.note("small-boxes", where, message, f"frame {used.frames[row]}", len(small))


def _hint_outside(labels: Labels, where: str, findings: Findings) -> None:
    boxes, size = labels.boxes_xywh, np.array([labels.width, labels.height], np.float64)
    larger = (boxes[:, 2:] > size).any(axis=1)
    findings.note_each(
        "larger-than-image",
        where,
        np.flatnonzero(larger).tolist(),
        lambda row: (
            f"frame {labels.frames[row]}",
            f"id {labels.ids[row]}: {_size(boxes, row)} in an image of {size[0]:g}x{size[1]:g}",
        ),
    )
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], size)
    inside = np.clip(ends - np.maximum(boxes[:, :2], 0), 0, None) / boxes[:, 2:]
    share = inside.prod(axis=1)
    findings.note_each(
        "mostly-outside",
        where,
        np.flatnonzero((share < 0.5) & ~larger).tolist(),
        lambda row: (
            f"frame {labels.frames[row]}",
            f"id {labels.ids[row]}: {100 * (1 - share[row]):.0f} % of the box is outside",
        ),
    )


def _hint_ignored(labels: Labels, where: str, findings: Findings) -> None:
    count = int(labels.ignore.sum())
    if count > MOST_IGNORED * len(labels):
        findings.note("mostly-ignored", where, f"{_share(count, len(labels))} boxes are ignored")


def _hint_ids(labels: Labels, where: str, findings: Findings) -> None:
    unknown = int((labels.ids == -1).sum())
    if unknown:
        message = f"{_share(unknown, len(labels))} boxes have no identity"
        findings.note("unknown-ids", where, message, count=unknown)
    ids, first, counts = np.unique(labels.ids, return_index=True, return_counts=True)
    if labels.length < 2:
        return
    if len(ids) == 1 and not unknown:
        message = f"id {ids[0]} is the only one, in {counts[0]} of {labels.length} frames"
        findings.note("one-object", where, message)
    once = np.flatnonzero((counts == 1) & (ids != -1))
    findings.note_each(
        "one-frame-tracks",
        where,
        once.tolist(),
        lambda row: (
            f"frame {labels.frames[first[row]]}",
            f"id {ids[row]} is there in this frame only",
        ),
    )


def _hint_jumps(labels: Labels, where: str, findings: Findings) -> None:
    known = labels[labels.ids != -1]
    known = known[np.lexsort((known.frames, known.ids))]
    boxes, frames = known.boxes_xywh, known.frames
    follows = (np.diff(known.ids) == 0) & (np.diff(frames) == 1)
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    moved = np.hypot(*np.diff(centres, axis=0).T)
    sizes = boxes[:, 2:].max(axis=1, initial=0)
    size = np.maximum(sizes[1:], sizes[:-1])
    findings.note_each(
        "id-jump",
        where,
        np.flatnonzero(follows & (moved > size)).tolist(),
        lambda row: (
            f"frame {frames[row + 1]}",
            f"id {known.ids[row]}: moved by {moved[row]:.0f} px, box {_size(boxes, row + 1)}",
        ),
    )


def _hint_unlabelled(labels: Labels, where: str, findings: Findings) -> None:
    labelled = np.unique(labels.frames)
    if labels.pictures:
        frames = np.array(sorted(labels.pictures), np.int64)
        frames = frames[(frames > labelled[0]) & (frames < labelled[-1])]
        empty = np.setdiff1d(frames, labelled)
        count, (starts, ends) = len(empty), runs(empty)
    else:
        sizes = np.diff(labelled) - 1
        starts, ends = labelled[:-1][sizes > 0] + 1, labelled[1:][sizes > 0] - 1
        count = int(sizes.sum())
    if count:
        message = (
            f"{counted(count, 'frame')} in {counted(len(starts), 'run')} between "
            f"frames {labelled[0]} and {labelled[-1]}: {show_runs(starts, ends)}"
        )
        findings.note("unlabelled-frames", where, message, f"frame {starts[0]}", count)


@dataclass
class ClassTally:
    """Counts of each class over all sequences.

    Attributes:
        boxes: Boxes that are not ignored, by name.
        objects: Identities that have such boxes, by name.
        ignored: Ignored boxes, by name.
        nameless: Boxes without identity that are not ignored, by name.
        spreads: For each object seen often enough, how its shape changes, by name.
    """

    boxes: dict[str, int] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    nameless: dict[str, int] = field(default_factory=dict)
    spreads: dict[str, list[float]] = field(default_factory=dict)

    def add(self, labels: Labels) -> None:
        """Take a sequence into account."""
        count = len(labels.classes)
        used = labels[~labels.ignore]
        known = used[used.ids != -1]
        pairs = np.unique(np.stack([known.ids, known.class_ids], axis=1), axis=0)
        columns = (
            (self.boxes, used.class_ids),
            (self.objects, pairs[:, 1]),
            (self.ignored, labels.class_ids[labels.ignore]),
            (self.nameless, used.class_ids[used.ids == -1]),
        )
        for table, class_ids in columns:
            counts = np.bincount(class_ids, minlength=count).tolist()
            for name, number in zip(labels.classes, counts, strict=True):
                if number:
                    table[name] = table.get(name, 0) + number
        self._add_shapes(known)

    def _add_shapes(self, known: Labels) -> None:
        pairs, which, counts = np.unique(
            np.stack([known.ids, known.class_ids], axis=1),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        shape = np.log(known.boxes_xywh[:, 2] / known.boxes_xywh[:, 3])
        mean = np.bincount(which, shape, len(pairs)) / counts
        spread = np.sqrt(np.bincount(which, (shape - mean[which]) ** 2, len(pairs)) / counts)
        for place in np.flatnonzero(counts >= _FEWEST_LOOKS).tolist():
            name = known.classes[int(pairs[place, 1])]
            self.spreads.setdefault(name, []).append(float(spread[place]))

    def hint(self, names: Iterable[str], where: Path, findings: Findings) -> None:
        """Tell of classes with few labels, and of names that are nearly the same.

        Args:
            names: All classes that there should be; those that turned up count too.
            where: The file or folder, for messages.
            findings: Told of hints.
        """
        every = list(dict.fromkeys([*names, *self.boxes, *self.ignored]))
        for name in every:
            self._hint_few(name, where, findings)
            self._hint_shape(name, where, findings)
        alike: dict[str, list[str]] = {}
        for name in every:
            alike.setdefault(re.sub(r"[\s_-]+", "", name).casefold(), []).append(name)
        for group in alike.values():
            if len(group) > 1:
                findings.note("class-names", where, " and ".join(map(repr, group)))

    def _hint_shape(self, name: str, where: Path, findings: Findings) -> None:
        spreads = self.spreads.get(name, [])
        if len(spreads) < FEWEST_OBJECTS:
            return
        spread = float(np.median(spreads))
        if spread > LARGEST_SPREAD:
            message = (
                f"{name!r}: width / height goes up and down by {100 * (np.exp(spread) - 1):.0f} % "
                f"along half of {counted(len(spreads), 'object')}"
            )
            findings.note("changing-shape", where, message)

    def _hint_few(self, name: str, where: Path, findings: Findings) -> None:
        boxes, objects = self.boxes.get(name, 0), self.objects.get(name, 0)
        # Where boxes have no identity, nobody can count objects.
        few_objects = objects < FEWEST_OBJECTS and not self.nameless.get(name)
        if boxes >= FEWEST_BOXES and not few_objects:
            return
        ignored = self.ignored.get(name, 0)
        message = f"{name!r}: {counted(objects, 'object')}, {counted(boxes, 'box')}"
        if not boxes and ignored:
            message = f"{name!r}: no boxes but {counted(ignored, 'ignored one')}"
        findings.note("few-labels", where, message)


def hint_sequences(split: str, count: int, folder: Path, findings: Findings) -> None:
    """Tell where a dataset that is still to be split has few sequences."""
    if split == "all" and 0 < count < FEWEST_SEQUENCES:
        findings.note("few-sequences", folder, f"{counted(count, 'sequence')} in all/")


def _size(boxes_xywh: NDArray[np.float64], row: int) -> str:
    return f"{boxes_xywh[row, 2]:g}x{boxes_xywh[row, 3]:g}"


def _share(count: int, total: int) -> str:
    return f"{count} of {total} ({100 * count / total:.3g} %)"
