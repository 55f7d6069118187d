"""Labels in the layout of the MOT challenge: a folder for each sequence.

`SEQ/gt/gt.txt` has a line for each object in each frame: frame (from 1), id, left, top, width,
height, active (0 = ignore), class (from 1), visibility (0 to 1). `SEQ/seqinfo.ini` tells length,
size and frame rate, `SEQ/img1` holds the pictures, and a `labels.txt` beside or above names the
classes; without one they are the twelve of MOT16, MOT17 and MOT20 (https://arxiv.org/abs/1603.00831).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import FormatError
from motrail.formats.faults import Fault, check_rows, refuse
from motrail.formats.labels import Coded, Labels, LabelSource, ReadOptions
from motrail.formats.mot.rows import Rows, read_rows
from motrail.formats.mot.seqinfo import SeqInfo, read_seqinfo
from motrail.names import (
    is_image,
    natural_order,
    numbered_pictures,
    safe_name,
    unused_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.formats.faults import Found

MOT17_CLASSES = (
    "pedestrian",
    "person on vehicle",
    "car",
    "bicycle",
    "motorbike",
    "non motorized vehicle",
    "static person",
    "distractor",
    "occluder",
    "occluder on the ground",
    "occluder full",
    "reflection",
)
"""Class n of MOT16, MOT17 and MOT20 is entry n - 1."""
_DEPTH = 4
"""How many folders deep sequences are looked for."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Where the parts of a sequence are."""

    name: str
    labels: Path | None
    folder: Path | None


def read_mot(path: Path, options: ReadOptions | None = None, found: Found = refuse) -> LabelSource:
    """Read MOT labels: a sequence's folder, a folder of such, a `gt.txt`, or results in `*.txt`.

    The columns after the sixth may be missing, as in CVAT's exports, and lines that begin with `#`
    are comments. In results (a file that does not lie in a folder `gt` and has other numbers than 0
    and 1 in the seventh column, or ten columns) the score is kept as the attribute `score`.

    Args:
        path: The folder or file.
        options: What the source does not say itself.
        found: Told of each fault.

    Raises:
        FormatError: There are no sequences, or their `labels.txt` cannot be read.
    """
    options = options or ReadOptions()
    sequences = _find(path)
    if not sequences:
        raise FormatError(
            path,
            "expected MOT sequences (folders with gt/gt.txt or seqinfo.ini), a gt.txt, or track "
            "files NAME.txt, found none",
        )
    classes = list(dict.fromkeys(name for s in sequences for name in _classes(s) or MOT17_CLASSES))

    def read() -> Iterator[Labels]:
        for sequence in sequences:
            yield _read(sequence, options, found)

    return LabelSource("mot", tuple(classes), len(sequences), read)


def _find(path: Path) -> list[_Sequence]:
    if path.is_file():
        if path.parent.name == "gt":
            return [_Sequence(_folder_name(path.parent.parent), path, path.parent.parent)]
        folder = path.parent if (path.parent / "seqinfo.ini").is_file() else None
        return [_Sequence(path.stem if path.name != "gt.txt" else _folder_name(path.parent),
                          path, folder)]  # fmt: skip
    folders = _sequence_folders(path, _DEPTH)
    taken: set[str] = set()
    if folders:
        return [
            _Sequence(unused_name(safe_name(_folder_name(f)), taken), _truth_of(f), f)
            for f in folders
        ]
    files = natural_order(p for p in path.glob("*.txt") if p.name != "labels.txt")
    return [_Sequence(p.stem, p, None) for p in files if not p.name.startswith(".")]


def _sequence_folders(folder: Path, depth: int) -> list[Path]:
    if (folder / "seqinfo.ini").is_file() or _truth_of(folder) is not None:
        return [folder]
    if depth == 0:
        return []
    inside = natural_order(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    return [found for child in inside for found in _sequence_folders(child, depth - 1)]


def _truth_of(folder: Path) -> Path | None:
    for place in (folder / "gt" / "gt.txt", folder / "gt.txt"):
        if place.is_file():
            return place
    return None


def _folder_name(folder: Path) -> str:
    return folder.absolute().name or "sequence"


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names in a `labels.txt`, one a line; empty lines at the end do not count.

    Raises:
        FormatError: It cannot be read, a line is empty, or a name stands there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, f"expected names of classes, one a line: {error}") from error
    names: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            raise FormatError(path, "expected the name of a class, found nothing", line=number)
        if name in names:
            raise FormatError(
                path, f"expected each class once, found {name!r} in line {names[name]} already",
                line=number,
            )  # fmt: skip
        names[name] = number
    return tuple(names)


def _classes(sequence: _Sequence) -> tuple[str, ...] | None:
    start = sequence.labels.parent if sequence.labels else sequence.folder
    if start is None:
        return None
    start = start.absolute()
    for folder in [start, *start.parents][: _DEPTH + 1]:
        if (folder / "labels.txt").is_file():
            return read_class_names(folder / "labels.txt")
    return None


def _read(sequence: _Sequence, options: ReadOptions, found: Found) -> Labels:
    folder = sequence.folder
    info = read_seqinfo(folder / "seqinfo.ini", found) if folder else SeqInfo()
    pictures = _list_pictures(folder / info.pictures, found) if folder else {}
    names = _classes(sequence)
    rows = read_rows(sequence.labels, found) if sequence.labels else Rows.none()
    width, height = (info.width, info.height) if info.width else options.size or (0, 0)
    length = info.length or options.length or 0
    path = sequence.labels or sequence.folder or Path()
    rows, classes = _known_classes(rows, names, path, found)
    is_truth = path.parent.name == "gt"
    if is_truth:
        rows = _truth(rows, path, found)
    labels = _labels(sequence.name, rows, classes, is_truth=is_truth)
    labels = labels.replace(
        width=width,
        height=height,
        length=length,
        frame_rate=info.frame_rate or options.frame_rate or 0.0,
        pictures=pictures,
    )
    labels = check_rows(
        labels,
        path,
        lambda row: int(rows.lines[row]),
        found,
        class_changes=options.class_changes,
    )
    last = max(int(labels.frames.max(initial=0)), max(pictures, default=0))
    return labels.replace(length=max(length, last))


def _known_classes(
    rows: Rows, names: tuple[str, ...] | None, path: Path, found: Found
) -> tuple[Rows, tuple[str, ...]]:
    classes = names or MOT17_CLASSES
    bad = (rows.classes < 1) | (rows.classes > len(classes))
    for row in np.flatnonzero(bad).tolist():
        where = "labels.txt" if names else "MOT17"
        advice = "" if names else "; put a labels.txt with the names of the classes beside it"
        message = (
            f"unknown class: expected one of {where}, 1 to {len(classes)}, "
            f"found {rows.classes[row]}{advice}"
        )
        found(Fault("class", path, message, int(rows.lines[row])))
    return (rows.pick(~bad) if bad.any() else rows), classes


def _truth(rows: Rows, path: Path, found: Found) -> Rows:
    bad = (rows.active != 0) & (rows.active != 1)
    for row in np.flatnonzero(bad).tolist():
        message = f"expected 1 (active) or 0 (ignore) in column 7, found {rows.active[row]:g}"
        found(Fault("number", path, message, int(rows.lines[row])))
    return rows.pick(~bad) if bad.any() else rows


def _labels(name: str, rows: Rows, classes: tuple[str, ...], *, is_truth: bool) -> Labels:
    count = len(rows.frames)
    attributes: Coded[object] = Coded.none(count)
    ignore = rows.active == 0
    if not is_truth and (rows.columns == 10 or ((rows.active != 0) & (rows.active != 1)).any()):
        ignore = np.zeros(count, np.bool_)
        if (rows.active != -1).any():
            scores, codes = np.unique(rows.active, return_inverse=True)
            values = tuple({"score": score} for score in scores.tolist())
            attributes = Coded(codes.astype(np.int64), values)
    return Labels.of(
        name,
        classes,
        rows.frames,
        rows.ids,
        rows.boxes_xywh,
        rows.classes - 1,
        visibility=rows.visibility,
        ignore=ignore,
        attributes=attributes,
    )


def _list_pictures(folder: Path, found: Found) -> dict[int, Path]:
    """Pictures in a folder by frame number, in order."""
    try:
        files = natural_order(path for path in folder.iterdir() if is_image(path))
    except OSError:
        return {}
    by_stem: dict[str, Path] = {}
    for path in files:
        first = by_stem.setdefault(path.stem, path)
        if first is not path:
            message = f"expected one picture for a frame, found {first.name} as well"
            found(Fault("picture-number", path, message))
    return numbered_pictures(by_stem.values())
