"""A dataset folder, read and written.

It holds `<split>/<sequence>/{img1, gt/gt.txt, seqinfo.ini}`, `labels.txt` and
`annotations/<split>.json`. The COCO file is the full record; the MOT files are its projection for
other tools.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from motrail.errors import ConfigError, FormatError
from motrail.formats.coco.reader import read_coco
from motrail.formats.coco.writer import CocoFile
from motrail.formats.faults import refuse
from motrail.formats.labels import ClassList, LabelSource
from motrail.formats.mot.reader import read_class_names, read_mot
from motrail.formats.mot.writer import picture_name, write_class_names, write_sequence
from motrail.names import natural_order
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from motrail.formats.faults import Found
    from motrail.formats.labels import Labels

SPLITS = ("all", "train", "val", "test")
"""Everything stands in `all` until it is split."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset folder, or one of its splits.

    Attributes:
        folder: The folder that has `labels.txt` and `annotations`.
        splits: Which of `SPLITS` there are, or the one that was asked for.
        classes: Names of the classes; class n in its files is entry n - 1.
    """

    folder: Path
    splits: tuple[str, ...]
    classes: tuple[str, ...]

    def source(self, split: str, found: Found = refuse) -> LabelSource:
        """The labels of a split: of its COCO file, else of its MOT folders.

        Raises:
            FormatError: They cannot be read.
        """
        record = self.record(split)
        if record.is_file():
            return read_coco(record, found=found, pictures=self.folder / split)
        return read_mot(self.folder / split, found=found)

    def record(self, split: str) -> Path:
        """Where the COCO file of a split is, or would be."""
        return self.folder / "annotations" / f"{split}.json"

    def sequence_folders(self, split: str) -> list[Path]:
        """The folders of a split's sequences, in natural order."""
        folder = self.folder / split
        if not folder.is_dir():
            return []
        return natural_order(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")

    def labels(self, found: Found = refuse) -> Iterator[tuple[str, Labels]]:
        """Split and labels of every sequence, one in memory at a time.

        Raises:
            FormatError: Labels cannot be read.
        """
        for split in self.splits:
            for labels in self.source(split, found):
                yield split, labels


def is_dataset(path: Path) -> bool:
    """Whether a folder looks like a dataset or one of its splits."""
    return _find(path) is not None


def open_dataset(path: Path) -> Dataset:
    """Open a dataset folder, or one of its splits such as `DATASET/train`.

    Raises:
        FormatError: It is none, or its `labels.txt` cannot be read.
    """
    there = _find(path)
    if there is None:
        raise FormatError(
            path,
            "expected a dataset: a folder with labels.txt and all/, or train/, val/ and test/; "
            "make one with `motrail dataset import`",
        )
    folder, splits = there
    classes: tuple[str, ...] = ()
    if (folder / "labels.txt").is_file():
        classes = read_class_names(folder / "labels.txt")
    return Dataset(folder, splits, classes)


def keep_out(dataset: Dataset, output: Path) -> None:
    """See that a result does not go where the dataset's own files are.

    Raises:
        ConfigError: It would stand in a split's folder or among the annotations.
    """
    for name in (*SPLITS, "annotations"):
        inside = (dataset.folder / name).resolve()
        if output.resolve().is_relative_to(inside):
            raise ConfigError(
                f"{output}: lies in {dataset.folder / name}, where the dataset's own files are; "
                "choose another place with -o"
            )


def _find(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    splits = tuple(split for split in SPLITS if _has_split(path, split))
    if splits and ((path / "labels.txt").is_file() or (path / "annotations").is_dir()):
        return path, splits
    parent = path.absolute().parent
    name = path.absolute().name
    if name in SPLITS and (parent / "labels.txt").is_file() and _has_split(parent, name):
        return parent, (name,)
    return None


def _has_split(folder: Path, split: str) -> bool:
    return (folder / split).is_dir() or (folder / "annotations" / f"{split}.json").is_file()


class DatasetWriter:
    """Fills a folder with a dataset, sequence by sequence. Use it in a `with` block.

    Args:
        folder: An empty folder.
        classes: Names of the classes so far; it grows by what the sequences bring.
    """

    def __init__(self, folder: Path, classes: ClassList | None = None) -> None:
        self.folder = folder
        self.classes = classes or ClassList()
        self._records: dict[str, CocoFile] = {}
        self._open = contextlib.ExitStack()

    def add(self, labels: Labels, split: str = "all") -> Mapping[Path, Path]:
        """Write a sequence; its name is no other's in the split and fit for a folder.

        Returns:
            Where pictures belong and where they are: new path → path now.

        Raises:
            OutputError: The disk is full, for example.
        """
        labels = self.classes.take(labels)
        folder = self.folder / split / labels.name
        with writing(folder):
            write_sequence(folder, labels)
            if labels.pictures:
                (folder / "img1").mkdir()
        names = {n: picture_name(n, path) for n, path in labels.pictures.items()}
        self._record(split).add(
            labels, lambda n: f"{labels.name}/img1/{names.get(n) or f'{n:06d}.jpg'}"
        )
        return {folder / "img1" / names[n]: path for n, path in labels.pictures.items()}

    def _record(self, split: str) -> CocoFile:
        if split not in self._records:
            path = self.folder / "annotations" / f"{split}.json"
            with writing(path):
                path.parent.mkdir(exist_ok=True)
                (self.folder / split).mkdir(exist_ok=True)
            self._records[split] = self._open.enter_context(CocoFile(path, self.classes))
        return self._records[split]

    def finish(self) -> None:
        """Write the names of the classes and complete the COCO files.

        Raises:
            OutputError: The disk is full, for example.
        """
        write_class_names(self.folder / "labels.txt", self.classes.names)
        for record in self._records.values():
            record.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
