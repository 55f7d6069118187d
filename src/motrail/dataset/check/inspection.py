"""One walk through a dataset folder that notes all that is wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.check.agreement import compare_facts, compare_rows
from motrail.dataset.check.findings import Findings, Report, counted, runs, show_runs
from motrail.dataset.check.fix import Repairs
from motrail.dataset.check.hints import ClassTally, hint_labels, hint_sequences
from motrail.dataset.check.pictures import (
    check_extension,
    check_images,
    check_numbering,
    fingerprints,
    hint_near_duplicates,
    list_pictures,
)
from motrail.dataset.check.sequence_files import SequenceFiles
from motrail.dataset.folder import SPLITS, Dataset, open_dataset
from motrail.errors import ConfigError, FormatError
from motrail.formats.coco.reader import read_coco
from motrail.formats.mot.reader import read_mot
from motrail.names import safe_name

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.formats.faults import Fault
    from motrail.formats.labels import Labels


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How closely to look.

    Attributes:
        training_size: Width and height of the network's input in pixels, for hints about boxes
            that become too small.
        pictures: Look at images too.
        decode: Decode every image wholly, not only its header.
    """

    training_size: tuple[int, int] = (640, 640)
    pictures: bool = True
    decode: bool = False

    def __post_init__(self) -> None:
        if min(self.training_size) < 1:
            width, height = self.training_size
            raise ConfigError(
                f"training size: expected a width and height above 0, found {width}x{height}"
            )


class _Reading:
    """Hands the faults of one file on, and remembers what they mean for the rest of it.

    Attributes:
        left_out: At most how many rows are not there because they were at fault.
        doubled: Whether something stood there twice.
        cut_off: Whether the file could not be read to its end.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.left_out = 0
        self.doubled = False
        self.cut_off = False

    def found(self, fault: Fault) -> None:
        """Take a fault."""
        self._findings.found(fault)
        place = str(fault.place or "")
        if fault.kind == "seqinfo":  # leaves no row out
            return
        # An image or a video that is left out takes all its rows with it.
        self.left_out += _MANY if place.startswith(("images", "videos", "categories")) else 1
        self.doubled |= fault.kind == "duplicate"
        self.cut_off |= fault.kind in {"json", "file", "memory"} or fault.place is None

    def failed(self, error: FormatError) -> None:
        """Take an error that ended the reading."""
        self._findings.error(error)
        self.cut_off = True


_MANY = 1 << 40


class Inspection:
    """Walks through a dataset, a sequence in memory at a time.

    Args:
        path: A dataset or a split of one.
        how: How closely to look.
        progress: Told what is looked at.

    Attributes:
        dataset: The dataset.
        findings: What is wrong.
        repairs: What of it can be mended.
    """

    def __init__(self, path: Path, how: CheckOptions, progress: Progress) -> None:
        self.findings = Findings()
        self.repairs = Repairs()
        self._how = how
        self._progress = progress
        self._report = Report(str(path))
        self._names_readable = True
        self.dataset = self._open(path)
        self._tally = ClassTally()
        self._names: dict[str, str] = {}
        self._prints: dict[bytes, tuple[str, str]] = {}
        self._categories: set[tuple[str, ...]] = set()

    def run(self) -> None:
        """Look at everything."""
        for split in self.dataset.splits:
            self._split(split)
        path = self.dataset.folder / "labels.txt"
        lacking = not self.dataset.classes and self._names_readable and not path.is_dir()
        if self._report.boxes:
            self._tally.hint(self.dataset.classes, path, self.findings)
        if lacking and len(self._categories) == 1:
            self.repairs.class_names = self._categories.pop()

    def report(self) -> Report:
        """What was found."""
        self._report.groups = self.findings.groups()
        return self._report

    def _open(self, path: Path) -> Dataset:
        try:
            dataset = open_dataset(path)
        except FormatError as error:
            self.findings.error(error, "labels.txt")
            self._names_readable = False
            folder, splits = path, _splits(path)
            if not splits:
                folder, splits = path.absolute().parent, (path.absolute().name,)
            return Dataset(folder, splits, ())
        if not dataset.classes:
            message = "expected a file with the names of the classes, one a line, found none"
            self.findings.note("labels.txt", dataset.folder / "labels.txt", message)
        return dataset

    def _split(self, split: str) -> None:
        record, before = self.dataset.record(split), self._report.sequences
        folders = {
            folder.name: SequenceFiles(split, folder) for folder in self._sequence_folders(split)
        }
        unknown = set(folders)
        if record.is_file():
            reading = _Reading(self.findings)
            unknown -= self._recorded(split, record, folders, reading)
            if reading.doubled:
                self.repairs.doubled_annotations.append(record)
            if unknown:
                # A folder may only have got another name: nothing is to be made twice.
                self.repairs.projections.setdefault(split, set()).intersection_update(folders)
            if not reading.cut_off:
                for name in sorted(unknown):
                    message = f"expected {name!r} in {record.name} too, found it nowhere there"
                    self.findings.note("not-in-record", folders[name].folder, message)
        elif folders:
            message = "expected the record of the split, found no such file"
            self.findings.note("no-record", record, message)
            self.repairs.records.append(split)
        for name, files in folders.items():
            if name in unknown:
                labels, _ = self._mot(files)
                if labels is not None:
                    self._sequence(labels, files, None)
                else:
                    self._report.sequences += 1
        count = self._report.sequences - before
        if not count:
            message = "expected sequences, found none"
            self.findings.note("empty-split", self.dataset.folder / split, message)
        hint_sequences(split, count, self.dataset.folder / split, self.findings)

    def _sequence_folders(self, split: str) -> list[Path]:
        try:
            return self.dataset.sequence_folders(split)
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
            self.findings.note("file", self.dataset.folder / split, message)
            return []

    def _recorded(
        self, split: str, record: Path, folders: dict[str, SequenceFiles], reading: _Reading
    ) -> set[str]:
        """Check the sequences of a record; their names."""
        names: set[str] = set()
        try:
            source = read_coco(record, found=reading.found, pictures=self.dataset.folder / split)
            if reading.cut_off:
                # Half a record would make everything else look wrong.
                return names
            if not reading.left_out:
                self._compare_classes(source.classes, record)
            for labels in source:
                if labels.name in names:
                    message = f"expected each sequence once, found {labels.name!r} again"
                    self.findings.note("duplicate", record, message)
                    continue
                names.add(labels.name)
                self._progress("checking sequences", self._report.sequences + 1, None)
                files = folders.get(labels.name)
                if files is None:
                    self._without_folder(split, labels, record)
                else:
                    self._sequence(labels, files, reading)
        except FormatError as error:
            reading.failed(error)
        return names

    def _compare_classes(self, categories: tuple[str, ...], record: Path) -> None:
        self._categories.add(categories)
        classes = self.dataset.classes
        if classes and classes != categories:
            message = (
                f"expected the categories of {record.name}, {_listed(categories)}, "
                f"found {_listed(classes)}"
            )
            self.findings.note("labels.txt", self.dataset.folder / "labels.txt", message)

    def _without_folder(self, split: str, labels: Labels, record: Path) -> None:
        name = labels.name
        self.findings.note("no-folder", record, f"expected a folder {split}/{name}, found none")
        if safe_name(name) == name:
            self.repairs.projections.setdefault(split, set()).add(name)
        self._count(labels, f"{record}: {name}")
        self._hint_same(split, labels, {})

    def _mot(self, files: SequenceFiles) -> tuple[Labels | None, _Reading]:
        """The labels of the MOT files; None where there are none to be read."""
        reading = _Reading(self.findings)
        for kind, path in (("no-gt", files.truth), ("no-seqinfo", files.info_file)):
            if not path.is_file():
                self.findings.note(kind, path, "expected this file, found none")
        if not (files.truth.is_file() or files.info_file.is_file()):
            return None, reading
        try:
            labels = next(iter(read_mot(files.folder, found=reading.found)))
        except FormatError as error:
            if self._names_readable:
                reading.failed(error)
            return None, reading
        # ValueError: a name that no file can have.
        except (OSError, ValueError) as error:
            self.findings.note("file", files.folder, f"cannot be read: {error}")
            return None, reading
        if reading.doubled:
            self.repairs.doubled_rows.append(files.truth)
        return labels.replace(name=files.name), reading

    def _sequence(self, labels: Labels, files: SequenceFiles, recorded: _Reading | None) -> None:
        """Check a sequence whose labels are those of the record, or of its MOT files."""
        last_row = 0 if recorded is None else self._compare(labels, files, recorded)
        pictures: dict[int, Path] = {}
        if self._how.pictures:
            pictures = list_pictures(files, labels)
            if pictures:
                self._pictures(pictures, labels, files, None if recorded is None else last_row)
            else:
                message = f"no images for {counted(labels.length, 'frame')}"
                self.findings.note("no-pictures", files.folder, message)
        self._count(labels, str(files.folder))
        self._hint_same(files.split, labels, pictures)

    def _compare(self, labels: Labels, files: SequenceFiles, recorded: _Reading) -> int:
        """Compare a sequence of the record with its MOT files; the last frame with rows there."""
        mot, reading = self._mot(files)
        has_pictures = bool(labels.pictures) or bool(files.images())
        compare_facts(
            labels, files.info.numbers, files.info_file, self.findings, length=not has_pictures
        )
        missing = [p for p in (files.truth, files.info_file) if not p.is_file()]
        if missing:
            self.repairs.projections.setdefault(files.split, set()).add(files.name)
        if mot is None or files.truth in missing or reading.cut_off or recorded.cut_off:
            return 0
        left_out = (recorded.left_out, reading.left_out)
        compare_rows(
            labels,
            mot,
            files.truth,
            self.findings,
            names=bool(self.dataset.classes),
            left_out=left_out,
        )
        return int(mot.frames.max(initial=0))

    def _pictures(
        self, pictures: dict[int, Path], labels: Labels, files: SequenceFiles, last_row: int | None
    ) -> None:
        """Look at images; `last_row` is None where no record knows the sequence."""
        numbers = np.array(list(pictures), np.int64)
        length = check_numbering(files, labels, numbers, self.findings, last_row or 0)
        if length:
            self.repairs.lengths.setdefault(files.split, {})[files.name] = length
        extension = check_extension(files, self.findings)
        if extension:
            self.repairs.extensions[files.info_file] = extension
        unlisted = np.setdiff1d(numbers, np.array(list(labels.pictures), np.int64))
        if last_row is not None and len(unlisted):
            which = show_runs(*runs(unlisted))
            message = f"{counted(len(unlisted), 'image')} not in the record: frame {which}"
            self.findings.note("picture-not-listed", files.folder, message, count=len(unlisted))
        good = check_images(
            pictures, labels, self.findings, decode=self._how.decode, progress=self._progress
        )
        hint_near_duplicates(
            pictures, good, files.name, files.folder, self.findings, self._progress
        )

    def _count(self, labels: Labels, where: str) -> None:
        self._report.sequences += 1
        self._report.frames += labels.length
        self._report.boxes += len(labels)
        self._tally.add(labels)
        hint_labels(labels, where, self._how.training_size, self.findings)

    def _hint_same(self, split: str, labels: Labels, pictures: dict[int, Path]) -> None:
        """Tell of sequences that stand in another split too."""
        name, folder = labels.name, self.dataset.folder / split / labels.name
        prints = (
            dict.fromkeys(fingerprints(pictures), "image") if len(self.dataset.splits) > 1 else {}
        )
        if not pictures and len(labels):
            prints[_digest(labels)] = "label"
        elsewhere = self._names.setdefault(name, split) != split
        for digest, what in prints.items():
            other_split, other = self._prints.setdefault(digest, (split, name))
            if other_split != split:
                which = "all labels" if what == "label" else "the first or last image"
                message = f"{which} are those of {other_split}/{other}"
                self.findings.note("leak", folder, message)
                return
        if elsewhere:
            message = f"{self._names[name]}/{name} has the same name and other images or labels"
            self.findings.note("same-name", folder, message)


def _splits(folder: Path) -> tuple[str, ...]:
    annotations = folder / "annotations"
    return tuple(
        split
        for split in SPLITS
        if (folder / split).is_dir() or (annotations / f"{split}.json").is_file()
    )


def _digest(labels: Labels) -> bytes:
    ordered = labels.in_order()
    content = hashlib.sha256()
    for column in (ordered.frames, ordered.ids, ordered.boxes_xywh):
        content.update(np.ascontiguousarray(column).tobytes())
    return content.digest()


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} … ({len(names)} in all)" if len(names) > 5 else shown or "none"
