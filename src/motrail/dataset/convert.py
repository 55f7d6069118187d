"""Labels into a dataset folder, and out of it into any format."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.folder import DatasetWriter, is_dataset, open_dataset
from motrail.dataset.footage import Footage, complete, place, silent, with_video
from motrail.errors import ConfigError
from motrail.formats.labels import ClassList, ReadOptions
from motrail.formats.recognize import open_labels
from motrail.names import safe_name, unused_name
from motrail.outputs import WholeFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.dataset.folder import Dataset
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
        ConfigError: The output lies inside of what is read.
        OutputError: The folder holds something already, or cannot be written.
        MotrailError: Footage cannot be read.
    """
    footage = footage or Footage()
    options = options or ReadOptions(size=footage.size)
    summary = Summary(str(output))
    _keep_apart(sources, output)
    with WholeFolder(output) as whole, DatasetWriter(whole.temporary) as writer:
        carrier = _Carrier(whole, footage, summary, link, pictures=True, progress=progress)
        for labels in _sequences(sources, format_, footage, options, summary):
            carrier.carry(labels, writer.add)
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
        ConfigError: The output lies inside of what is read.
        OutputError: The folder holds something already, or cannot be written.
        MotrailError: Footage cannot be read.
    """
    footage = footage or Footage()
    options = options or ReadOptions(size=footage.size)
    summary = Summary(str(output))
    _keep_apart([source], output)
    classes = ClassList(open_dataset(source).classes if is_dataset(source) else ())
    with WholeFolder(output) as whole:
        writer = make_writer(whole.temporary, classes)
        carrier = _Carrier(whole, footage, summary, link, writer.takes_pictures, progress)
        for labels in _sequences([source], None, footage, options, summary):
            carrier.carry(labels, writer.add)
        writer.finish()
        summary.notes.update(writer.notes)
        if writer.needs_pictures and summary.frames and not summary.pictures:
            summary.notes["there are no pictures, which are needed; give them with --video"] += 1
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


@dataclass(frozen=True, slots=True)
class _Carrier:
    """Writes sequences and brings their pictures."""

    whole: WholeFolder
    footage: Footage
    summary: Summary
    link: bool
    pictures: bool
    progress: Progress

    def carry(self, labels: Labels, add: Callable[[Labels], Mapping[Path, Path]]) -> None:
        """Bring one sequence to its place."""
        count = self.summary.sequences
        self.progress(labels.name, count, None)
        ready = complete(
            labels,
            self.footage,
            self.whole.temporary / ".work",
            only=count == 0,
            pictures=self.pictures,
            progress=self.progress,
        )
        if self.footage.video is not None and ready.length != labels.length:
            self._note(labels, ready)
        place(add(ready), link=self.link, progress=self.progress)
        shutil.rmtree(self.whole.temporary / ".work", ignore_errors=True)
        self.summary.count(ready)

    def _note(self, labels: Labels, ready: Labels) -> None:
        if self.summary.formats[-1] in ("cvat", "ground-truth", "label-studio"):
            self.summary.notes[
                f"{labels.name}: the labels are for {labels.length:,} frames, the footage has "
                f"{ready.length:,}; see that it is the right one"
            ] += 1


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
            each: Iterable[Labels] = _of_splits(open_dataset(path), taken)
        else:
            source = open_labels(path, with_video(options, footage), format_=format_)
            kind, each = source.format, source
        if kind not in summary.formats:
            summary.formats.append(kind)
        for labels in each:
            yield labels.replace(name=unused_name(safe_name(labels.name), taken))


def _of_splits(dataset: Dataset, taken: set[str]) -> Iterator[Labels]:
    """The sequences of all splits; of two with one name, the second is told by its split."""
    for split, labels in dataset.labels():
        again = labels.name.lower() in taken
        yield labels.replace(name=f"{labels.name}-{split}") if again else labels


def _keep_apart(sources: Sequence[Path], output: Path) -> None:
    """See that the output is not made inside of what is read."""
    for source in sources:
        if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
            raise ConfigError(
                f"{output}: lies inside {source}, which is read; choose another folder with -o"
            )
