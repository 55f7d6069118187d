"""Split a dataset into parts to train on, to choose by and to report on."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.folder import DatasetWriter, open_dataset
from motrail.dataset.footage import place, silent
from motrail.dataset.swap import PARTS, InPlace, OtherFiles
from motrail.errors import ConfigError
from motrail.formats.labels import ClassList
from motrail.names import safe_name, unused_name
from motrail.outputs import WholeFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.dataset.folder import Dataset
    from motrail.dataset.footage import Progress
    from motrail.formats.labels import Labels, LabelSource

_USUAL_RATE = 30


@dataclass
class PartSummary:
    """What a part holds.

    Attributes:
        sequences: Their names.
        frames: Their lengths together.
        pictures: How many of the frames have one.
        boxes: How many labels there are, those to be ignored among them.
        objects: How many identities; boxes without one do not count.
        classes: By name of the class: in how many `frames` it stands, its `boxes` and
            `objects`.
    """

    sequences: list[str] = field(default_factory=list)
    frames: int = 0
    pictures: int = 0
    boxes: int = 0
    objects: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)

    def count(self, labels: Labels) -> None:
        """Take a sequence into account."""
        self.sequences.append(labels.name)
        self.frames += labels.length
        self.pictures += len(labels.pictures)
        self.boxes += len(labels)
        self.objects += _distinct(labels.ids)
        for class_id in np.unique(labels.class_ids).tolist():
            rows = labels.class_ids == class_id
            nothing = {"frames": 0, "boxes": 0, "objects": 0}
            counts = self.classes.setdefault(labels.classes[class_id], nothing)
            counts["frames"] += len(np.unique(labels.frames[rows]))
            counts["boxes"] += int(rows.sum())
            counts["objects"] += _distinct(labels.ids[rows])


def _distinct(ids: NDArray[np.int64]) -> int:
    return int((np.unique(ids) != -1).sum())


@dataclass
class SplitSummary:
    """How a dataset was split.

    Attributes:
        output: The folder of the split dataset.
        by: `sequence` or `time`.
        seed: What the choice of sequences hangs on.
        classes: Names of all classes.
        parts: What `train`, `val` and `test` hold; only those that there are.
        dropped_frames: Frames between the parts of sequences that stand in no part.
        notes: What the user should know, a sentence each, with how often.
    """

    output: str
    by: str
    seed: int
    classes: list[str] = field(default_factory=list)
    parts: dict[str, PartSummary] = field(default_factory=dict)
    dropped_frames: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"notes": dict(self.notes)}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to split; the shares are exactly the decimals that were asked for."""

    val: Fraction
    test: Fraction
    seed: int
    by: str
    gap: int | None

    @property
    def asked(self) -> list[str]:
        """The parts there should be."""
        shares = {"train": Fraction(1), "val": self.val, "test": self.test}
        return [part for part in PARTS if shares[part] > 0]


def split_dataset(
    path: Path,
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    by: str = "sequence",
    gap: int | None = None,
    output: Path | None = None,
    link: bool = True,
    progress: Progress = silent,
) -> SplitSummary:
    """Split what stands in `all/` into `train/`, `val/` and `test/`.

    By `sequence`, whole sequences go to one part; which one hangs on their names and the seed
    alone. By `time`, each sequence is cut by `time_ranges`; its parts count their frames from 1
    and keep its name and ids. Where pictures are known, what is cut is the span from the first
    to the last frame that has a picture, a label or attributes, else the whole length.

    In place, `all/` gives way to the parts at the very end; after an error or Ctrl-C before that,
    everything is as it was. Other files in the folder of a sequence (detections, say) go with it.

    Args:
        path: The dataset's folder, or its `all/`.
        val: Share of the sequences, or of the frames of each, for `val`; 0 makes no such part.
        test: The same for `test`.
        seed: Another one chooses other sequences.
        by: `sequence` or `time`.
        gap: Frames left out between the parts of a sequence; None for a second, or less where
            that would take more than half of what `train` has.
        output: The folder to make; None splits in place.
        link: Hard links to pictures instead of copies, where the disk can.
        progress: Told what is done.

    Raises:
        ConfigError: A setting is out of range, there are too few sequences or all are too short,
            the dataset is split already, or files would be lost.
        FormatError: It is no dataset, or its labels are not as they should be.
        OutputError: The folder holds something already, or cannot be written.
    """
    plan = _check_plan(val, test, seed, by, gap)
    dataset = open_dataset(path)
    _check_folders(dataset, output)
    source = dataset.source("all")
    chosen = _choose(source, plan, dataset.folder, progress) if by == "sequence" else {}
    summary = SplitSummary(str(output or dataset.folder), by, seed)
    whole = WholeFolder(output) if output is not None else InPlace(dataset.folder)
    with whole, DatasetWriter(whole.temporary, ClassList(dataset.classes)) as writer:
        others = OtherFiles(dataset, summary.notes, must_stay=output is None)
        work = _Work(writer, others, summary, link, progress)
        for done, labels in enumerate(_sequences(source)):
            progress(labels.name, done, len(chosen) or source.count)
            parts = _cut(labels, plan, summary) if by == "time" else {chosen[labels.name]: labels}
            work.add(labels, parts)
        others.leave(others.strangers())
        writer.finish()
        _conclude(summary, plan, writer.classes, dataset.folder)
    return summary


@dataclass(frozen=True, slots=True)
class _Work:
    """The split dataset as it is being written."""

    writer: DatasetWriter
    others: OtherFiles
    summary: SplitSummary
    link: bool
    progress: Progress

    def add(self, labels: Labels, parts: Mapping[str, Labels]) -> None:
        """Write the parts of a sequence."""
        files = self.others.take(labels)
        if len(parts) > 1:
            self.others.leave(files)
        for part, some in parts.items():
            ready = self.writer.classes.take(some)
            pictures = dict(self.writer.add(ready, part))
            if len(parts) == 1:
                new = self.writer.folder / part / ready.name
                pictures |= self.others.carry(files, new, pictures)
            place(pictures, link=self.link, progress=self.progress)
            self.summary.parts.setdefault(part, PartSummary()).count(ready)


def _conclude(summary: SplitSummary, plan: _Plan, classes: ClassList, folder: Path) -> None:
    """Put the parts in order, and see that they are what was asked for."""
    if not summary.parts:
        raise ConfigError(f"{folder}: expected sequences in all/, found none")
    missing = [part for part in plan.asked if part not in summary.parts]
    if missing:
        raise ConfigError(
            f"{folder}: every sequence is too short to cut {' and '.join(missing)} out of it; "
            "ask for larger shares or a smaller --gap"
        )
    summary.parts = {part: summary.parts[part] for part in plan.asked}
    summary.classes = list(classes.names)
    somewhere = {name for part in summary.parts.values() for name in part.classes}
    for part, held in summary.parts.items():
        lacking = [n for n in summary.classes if n in somewhere and n not in held.classes]
        if lacking:
            summary.notes[f"{part} has no boxes of {', '.join(map(repr, lacking))}"] += 1


def _check_plan(val: float, test: float, seed: int, by: str, gap: int | None) -> _Plan:
    for name, share in (("val", val), ("test", test)):
        if type(share) is bool or not 0 <= share < 1:
            raise ConfigError(f"{name}: expected a share from 0 to below 1, found {share!r}")
    # Decimals as they were written: 0.29 of 100 is 29, which floats miss.
    shares = Fraction(str(val)), Fraction(str(test))
    if sum(shares) >= 1:
        raise ConfigError(
            f"val and test: expected less than 1 together, so that train has something, "
            f"found {val} + {test}"
        )
    if by not in {"sequence", "time"}:
        raise ConfigError(f"by: expected sequence or time, found {by!r}")
    for name, whole in (("seed", seed), ("gap", 0 if gap is None else gap)):
        if type(whole) is not int or whole < 0:
            raise ConfigError(f"{name}: expected a whole number from 0, found {whole!r}")
    if by == "sequence" and gap is not None:
        raise ConfigError("gap: sequences stay whole, so there is no gap; use --by time with it")
    return _Plan(*shares, seed, by, gap)


def _check_folders(dataset: Dataset, output: Path | None) -> None:
    folder = dataset.folder
    if "all" not in dataset.splits:
        raise ConfigError(
            f"{folder}: expected a dataset with all/, found {', '.join(dataset.splits)}: "
            "it is split already; split its source again, or import it with -o elsewhere"
        )
    ends = [p for part in PARTS for p in (folder / part, dataset.record(part))]
    there = [str(p.relative_to(folder)) for p in ends if os.path.lexists(p)]
    if there:
        raise ConfigError(
            f"{folder}: expected only all/ to be there, found {', '.join(there)} besides it; "
            "remove what is not wanted"
        )
    if output is not None:
        place_ = output.resolve()
        if place_ == folder.resolve() or place_.is_relative_to((folder / "all").resolve()):
            raise ConfigError(
                f"{output}: is the dataset itself; leave -o out to split in place, "
                "or choose another folder"
            )


def _sequences(source: LabelSource) -> Iterator[Labels]:
    """The sequences, under names that are safe and no other's."""
    taken: set[str] = set()
    for labels in source:
        yield labels.replace(name=unused_name(safe_name(labels.name), taken))


def _choose(source: LabelSource, plan: _Plan, folder: Path, progress: Progress) -> dict[str, str]:
    """The part of each sequence, by its name."""
    names = []
    for labels in _sequences(source):
        names.append(labels.name)
        progress("looking at sequences", len(names), source.count)
    needed = len(plan.asked)
    if len(names) < needed:
        raise ConfigError(
            f"{folder}: expected at least {needed} sequences, one for each of "
            f"{', '.join(plan.asked)}, found {len(names)}; use --by time, which cuts each sequence"
        )
    return choose_sequences(names, plan.val, plan.test, plan.seed)


def choose_sequences(
    names: Iterable[str], val: Fraction, test: Fraction, seed: int
) -> dict[str, str]:
    """Divide sequences at random, but the same on every machine.

    Names are ranked by the SHA-256 of `SEED:NAME`. The first round(val · n) are `val`, at least
    one; as many as `test` asks for come next; `train` has the others, at least one.

    Args:
        names: Each once, in any order, at least one for each part.
        val: Share for `val`, 0 for none.
        test: Share for `test`, 0 for none.
        seed: Another one ranks otherwise.

    Returns:
        `train`, `val` or `test` by name.
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    counts = [max(1, round(share * len(ranked))) if share else 0 for share in (val, test)]
    while sum(counts) >= len(ranked):
        counts[counts.index(max(counts))] -= 1
    parts = ["val"] * counts[0] + ["test"] * counts[1]
    parts += ["train"] * (len(ranked) - len(parts))
    return dict(zip(ranked, parts, strict=True))


def time_ranges(
    length: int, val: Fraction, test: Fraction, gap: int | None, frame_rate: float = 0.0
) -> dict[str, tuple[int, int]]:
    """Cut a sequence along time: `train` first, then `val`, then `test` at its end.

    `val` and `test` have floor(share · (length - 1)) frames, so that a half for `val` is the one
    that MOT17's halves have (frames length // 2 + 2 to length); gaps are taken from `train`.

    Args:
        length: Frames of the sequence.
        val: Share for `val`, 0 for none.
        test: Share for `test`, 0 for none.
        gap: Frames left out between two parts; None for a second, or less, so that gaps take at
            most half of what `train` has without them.
        frame_rate: Frames a second; 0, unknown, counts as 30.

    Returns:
        First and last frame of each part, counted from 1; all in `train` where the sequence is
        too short to give every part a frame.
    """
    shares = {"val": val, "test": test}
    counts = {part: math.floor(share * (length - 1)) for part, share in shares.items() if share}
    rest = length - sum(counts.values())
    if gap is None:
        second = max(1, round(frame_rate)) if frame_rate > 0 else _USUAL_RATE
        gap = min(second, rest // (2 * max(1, len(counts))))
    end = rest - gap * len(counts)
    if end < 1 or min(counts.values(), default=1) < 1:
        return {"train": (1, length)}
    ranges = {"train": (1, end)}
    for part, count in counts.items():
        ranges[part] = (end + gap + 1, end + gap + count)
        end += gap + count
    return ranges


def _cut(labels: Labels, plan: _Plan, summary: SplitSummary) -> dict[str, Labels]:
    first, last = 1, labels.length
    if labels.pictures:
        known = (*labels.pictures, *labels.frame_attributes)
        first = int(labels.frames.min(initial=min(known)))
        last = int(labels.frames.max(initial=max(known)))
    length = last - first + 1
    ranges = time_ranges(length, plan.val, plan.test, plan.gap, labels.frame_rate)
    if len(ranges) == 1:
        if plan.asked != ["train"]:
            summary.notes["sequences too short to be cut went to train whole"] += 1
        return {"train": labels}
    summary.dropped_frames += length - sum(end - start + 1 for start, end in ranges.values())
    return {
        part: take_frames(labels, first - 1 + start, first - 1 + end)
        for part, (start, end) in ranges.items()
    }


def take_frames(labels: Labels, first: int, last: int) -> Labels:
    """The labels of frames `first` to `last`, which then count from 1."""
    rows = (labels.frames >= first) & (labels.frames <= last)
    some = labels[rows]
    return some.replace(
        frames=some.frames - (first - 1),
        length=last - first + 1,
        frame_attributes=_renumbered(labels.frame_attributes, first, last),
        pictures=_renumbered(labels.pictures, first, last),
    )


def _renumbered(by_frame: Mapping[int, Any], first: int, last: int) -> dict[int, Any]:
    return {n - first + 1: value for n, value in by_frame.items() if first <= n <= last}
