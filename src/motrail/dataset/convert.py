"""Labels into a dataset folder, and out of it into any format."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.folder import DatasetWriter, is_dataset, open_dataset
from motrail.dataset.footage import Footage, complete, place, silent, with_video
from motrail.formats.labels import ClassList, ReadOptions
from motrail.formats.recognize import open_labels
from motrail.names import safe_name, unused_name
from motrail.outputs import WholeFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.formats.labels import Labels
    from motrail.formats.writer import LabelWriter


@dataclass
class Summary:
    """What was brought from one place to another.

    Attributes:
        output: The folder that was made.
        formats: The formats that were read.
        classes: Names of all classes.
        sequences: How many there were.
        frames: Their lengths together.
        pictures: How many of the frames have one.
        boxes: How many labels there were.
        objects: How many identities; boxes without one do not count.
        notes: What could not be carried or had to change, with how often.
    """

    output: str
    formats: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    sequences: int = 0
    frames: int = 0
    pictures: int = 0
    boxes: int = 0
    objects: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def count(self, labels: Labels) -> None:
        """Take a sequence into account."""
        self.sequences += 1
        self.frames += labels.length
        self.pictures += len(labels.pictures)
        self.boxes += len(labels)
        self.objects += int((np.unique(labels.ids) != -1).sum())

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"notes": dict(self.notes)}


def import_labels(
    sources: Sequence[Path],
    output: Path,
    *,
    format_: str | None = None,
    footage: Footage | None = None,
    options: ReadOptions | None = None,
    link: bool = True,
    progress: Progress = silent,
) -> Summary:
    """Make a dataset folder of labels in any format; it appears whole or not at all.

    Args:
        sources: Files or folders of labels.
        output: The dataset folder; empty or not there yet.
        format_: One of `motrail.formats.recognize.FORMATS`; None looks for itself.
        footage: Pictures and sizes that the sources do not bring.
        options: What else the sources do not say.
        link: Hard links to pictures instead of copies, where the disk can.
        progress: Told what is done.

    Raises:
        FormatError: Labels are not as their format asks, or nobody knows their size.
        OutputError: The folder holds something already, or cannot be written.
        MotrailError: Footage cannot be read.
    """
    footage = footage or Footage()
    options = options or ReadOptions(size=footage.size)
    summary = Summary(str(output))
    with WholeFolder(output) as whole, DatasetWriter(whole.temporary) as writer:
        for labels in _sequences(sources, format_, footage, options, summary):
            ready = _carry(labels, writer.add, whole, footage, summary, link, progress)
            summary.count(ready)
        writer.finish()
        summary.classes = list(writer.classes.names)
    return summary


def export_labels(
    source: Path,
    output: Path,
    make_writer: Callable[[Path, ClassList], LabelWriter],
    *,
    footage: Footage | None = None,
    options: ReadOptions | None = None,
    link: bool = True,
    progress: Progress = silent,
) -> Summary:
    """Write a dataset, a split of one, or labels and tracks in any format, in another format.

    Args:
        source: A dataset folder, a split of one, track files, or labels in any format.
        output: The folder to make; empty or not there yet.
        make_writer: Makes the writer for a folder and the classes.
        footage: Pictures and sizes that the source does not bring.
        options: What else the source does not say.
        link: Hard links to pictures instead of copies, where the disk can.
        progress: Told what is done.

    Raises:
        FormatError: Labels are not as their format asks, or nobody knows their size.
        OutputError: The folder holds something already, or cannot be written.
        MotrailError: Footage cannot be read.
    """
    footage = footage or Footage()
    options = options or ReadOptions(size=footage.size)
    summary = Summary(str(output))
    classes = ClassList(open_dataset(source).classes if is_dataset(source) else ())
    with WholeFolder(output) as whole:
        writer = make_writer(whole.temporary, classes)
        for labels in _sequences([source], None, footage, options, summary):
            ready = _carry(labels, writer.add, whole, footage, summary, link, progress)
            summary.count(ready)
        writer.finish()
        summary.notes.update(writer.notes)
        summary.classes = list(classes.names)
    return summary


def writer_of(format_: str) -> type[LabelWriter]:
    """The writer of one of `motrail.formats.recognize.FORMATS`."""
    match format_:
        case "ground-truth":
            from motrail.formats.ground_truth.writer import GroundTruthWriter

            return GroundTruthWriter
        case "cvat":
            from motrail.formats.cvat.writer import CvatWriter

            return CvatWriter
        case "label-studio":
            from motrail.formats.label_studio.writer import LabelStudioWriter

            return LabelStudioWriter
        case "coco":
            from motrail.formats.coco.writer import CocoWriter

            return CocoWriter
        case _:
            from motrail.formats.mot.writer import MotWriter

            return MotWriter


def _carry(
    labels: Labels,
    add: Callable[[Labels], Mapping[Path, Path]],
    whole: WholeFolder,
    footage: Footage,
    summary: Summary,
    link: bool,
    progress: Progress,
) -> Labels:
    """Write a sequence and bring its pictures."""
    progress(labels.name, summary.sequences, None)
    work = whole.temporary / ".work"
    only = summary.sequences == 0
    ready = complete(labels, footage, work, only=only, progress=progress)
    place(add(ready), link=link, progress=progress)
    shutil.rmtree(work, ignore_errors=True)
    return ready


def _sequences(
    sources: Sequence[Path],
    format_: str | None,
    footage: Footage,
    options: ReadOptions,
    summary: Summary,
) -> Iterator[Labels]:
    """All sequences of the sources, under names that are safe and no other's."""
    taken: set[str] = set()
    for path in sources:
        if format_ is None and is_dataset(path):
            kind = "dataset"
            each: Iterable[Labels] = (labels for _, labels in open_dataset(path).labels())
        else:
            source = open_labels(path, with_video(options, footage), format_=format_)
            kind, each = source.format, source
        if kind not in summary.formats:
            summary.formats.append(kind)
        for labels in each:
            yield labels.replace(name=unused_name(safe_name(labels.name), taken))
