"""Mend what can be mended in a dataset without losing anything."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.dataset.check.findings import counted
from motrail.dataset.check.record_edit import remove_doubled, set_lengths
from motrail.errors import FormatError
from motrail.formats.coco.reader import read_coco
from motrail.formats.coco.writer import CocoFile
from motrail.formats.labels import ClassList
from motrail.formats.mot.reader import read_mot
from motrail.formats.mot.writer import write_class_names, write_sequence
from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.dataset.folder import Dataset
    from motrail.dataset.footage import Progress
    from motrail.formats.labels import Labels

_LARGEST = 1 << 28
_MAX_FRAMES = 500_000


@dataclass
class Repairs:
    """What a check found that can perhaps be mended.

    Attributes:
        class_names: What belongs into the missing `labels.txt`.
        doubled_rows: Files of MOT rows that have things twice.
        doubled_annotations: Records that have things twice.
        lengths: The number of images, by split and sequence.
        extensions: What `imExt` should be, by `seqinfo.ini`.
        projections: Names of sequences that lack MOT files, by split.
        records: Splits that lack their record.
    """

    class_names: tuple[str, ...] | None = None
    doubled_rows: list[Path] = field(default_factory=list)
    doubled_annotations: list[Path] = field(default_factory=list)
    lengths: dict[str, dict[str, int]] = field(default_factory=dict)
    extensions: dict[Path, str] = field(default_factory=dict)
    projections: dict[str, set[str]] = field(default_factory=dict)
    records: list[str] = field(default_factory=list)


def mend(dataset: Dataset, repairs: Repairs, progress: Progress) -> tuple[Counter[str], list[str]]:
    """Mend what can be mended; each file appears whole or stays as it was.

    Args:
        dataset: Where.
        repairs: What.
        progress: Told of each mended thing.

    Returns:
        How many findings of each kind were mended, and a sentence for each file.

    Raises:
        OutputError: A file cannot be written.
    """
    fixed: Counter[str] = Counter()
    mended: list[str] = []
    for kind, count, path, what in _mend(dataset, repairs):
        fixed[kind] += count
        mended.append(f"{path}: {what}")
        progress("mending", len(mended), None)
    return fixed, mended


def _mend(dataset: Dataset, repairs: Repairs) -> Iterator[tuple[str, int, Path, str]]:
    """Kind, number of findings, file and what was done, one by one."""
    if repairs.class_names:
        path = dataset.folder / "labels.txt"
        with WholeFile(path) as whole:
            write_class_names(whole.temporary, repairs.class_names)
        yield "labels.txt", 1, path, "written from the categories of the record"
    for path in repairs.doubled_rows:
        count = _remove_doubled_rows(path)
        if count:
            yield (
                "duplicate",
                count,
                path,
                f"removed {counted(count, 'row')} that stood there twice",
            )
    for path in repairs.doubled_annotations:
        count = remove_doubled(path)
        if count:
            what = f"removed {counted(count, 'annotation')} that stood there twice"
            yield "duplicate", count, path, what
    for path, extension in repairs.extensions.items():
        if _set_info(path, "imExt", extension):
            yield "image-extension", 1, path, f"imExt set to {extension}"
    for split, lengths in repairs.lengths.items():
        yield from _mend_lengths(dataset, split, lengths)
    for split, names in repairs.projections.items():
        yield from _write_projections(dataset, split, names)
    for split in repairs.records:
        path = dataset.record(split)
        if _write_record(dataset, split):
            yield "no-record", 1, path, "written from the MOT files"


def _remove_doubled_rows(path: Path) -> int:
    """Remove rows that are the same as one before, character by character."""
    try:
        if path.stat().st_size > _LARGEST:
            return 0
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError:
        return 0
    seen: set[bytes] = set()
    kept = []
    for line in lines:
        row = line.strip()
        if row not in seen or not _has_id(row):
            kept.append(line)
        seen.add(row)
    count = len(lines) - len(kept)
    if count:
        _replace(path, b"".join(kept))
    return count


def _has_id(row: bytes) -> bool:
    """Whether a row has an identity; of those without several may be equal and true."""
    cells = re.split(rb"\s*,\s*|\s+", row)
    try:
        return len(cells) > 1 and float(cells[1]) != -1 and not row.startswith(b"#")
    except ValueError:
        return False


def _set_info(path: Path, key: str, value: str) -> bool:
    """Set a value that `seqinfo.ini` has, and leave all else as it is."""
    try:
        text = path.read_bytes()
    except OSError:
        return False
    pattern = rb"(?im)^(%s[ \t]*[=:][ \t]*)[^\r\n]*?([ \t]*\r?)$" % key.encode()
    new = re.sub(pattern, lambda found: found[1] + value.encode() + found[2], text)
    if new != text:
        _replace(path, new)
    return new != text


def _mend_lengths(
    dataset: Dataset, split: str, lengths: dict[str, int]
) -> Iterator[tuple[str, int, Path, str]]:
    record = dataset.record(split)
    ready = set_lengths(record, lengths) if record.is_file() else set(lengths)
    for name, length in lengths.items():
        if name in ready:
            path = dataset.folder / split / name / "seqinfo.ini"
            _set_info(path, "seqLength", str(length))
            yield "seq-length", 1, path, f"seqLength and the record's length are {length} now"


def _write_projections(
    dataset: Dataset, split: str, names: set[str]
) -> Iterator[tuple[str, int, Path, str]]:
    """Write missing MOT files from a record without fault."""
    try:
        source = read_coco(dataset.record(split), pictures=dataset.folder / split)
        # All of it, before anything is written: the record must be without fault.
        for _labels in source:
            pass
        for labels in source:
            # Without a size there is no seqinfo.ini to be written.
            if labels.name in names and labels.width and labels.height and labels.length:
                yield from _write_projection(dataset.folder / split / labels.name, labels)
    except FormatError:
        return


def _write_projection(folder: Path, labels: Labels) -> Iterator[tuple[str, int, Path, str]]:
    new = not folder.is_dir()
    with writing(folder):
        (folder.parent).mkdir(exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        with writing(folder):
            write_sequence(work / "sequence", labels)
            if new:
                (work / "sequence").rename(folder)
                yield "no-folder", 1, folder, "written from the record"
                return
            for kind, part in (("no-gt", "gt/gt.txt"), ("no-seqinfo", "seqinfo.ini")):
                if not (folder / part).exists():
                    (folder / part).parent.mkdir(exist_ok=True)
                    (work / "sequence" / part).rename(folder / part)
                    yield kind, 1, folder / part, "written from the record"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_record(dataset: Dataset, split: str) -> bool:
    """Write a missing record from MOT files without fault."""
    path, folder = dataset.record(split), dataset.folder / split

    def file_name(labels: Labels, frame: int) -> str:
        picture = labels.pictures.get(frame)
        if picture is None:
            return f"{labels.name}/img1/{frame:06d}.jpg"
        return picture.relative_to(folder).as_posix()

    with writing(path):
        path.parent.mkdir(exist_ok=True)
    try:
        with (
            WholeFile(path) as whole,
            CocoFile(whole.temporary, ClassList(dataset.classes)) as file,
        ):
            for sequence in dataset.sequence_folders(split):
                if not (sequence / "gt" / "gt.txt").is_file():
                    raise FormatError(sequence, "expected gt/gt.txt, found none")
                for labels in read_mot(sequence):
                    # A record lists each frame; a length this wrong would fill the disk.
                    if labels.length > _MAX_FRAMES:
                        raise FormatError(sequence, "expected a shorter sequence")
                    named = labels.replace(name=sequence.name)
                    file.add(named, partial(file_name, named))
    except FormatError:
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    with WholeFile(path) as whole, writing(path):
        whole.temporary.write_bytes(content)
