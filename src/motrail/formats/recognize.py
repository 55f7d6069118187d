"""Tell by looking which format labels have, and open them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from motrail.errors import FormatError
from motrail.formats.faults import refuse
from motrail.formats.labels import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.formats.faults import Found
    from motrail.formats.labels import LabelSource

FORMATS = ("ground-truth", "cvat", "label-studio", "mot", "coco")
_HEAD = 1 << 20
_MOT = ("seqinfo.ini", "gt/gt.txt", "*/seqinfo.ini", "*/gt/gt.txt")
_SIGNS = (
    ("ground-truth", rb'"tracking-annotations"|"trackingAnnotations"'),
    ("label-studio", rb'"videorectangle"|"result"\s*:|"data"\s*:'),
    ("coco", rb'"categories"\s*:|"images"\s*:|"bbox"\s*:|"videos"\s*:'),
)
_EXPECTED = (
    "expected labels: a Ground Truth output.manifest or SeqLabel.json, CVAT's .xml, Label Studio's "
    "or COCO's .json, MOT folders or track files"
)


def open_labels(
    path: Path,
    options: ReadOptions | None = None,
    found: Found = refuse,
    *,
    format_: str | None = None,
) -> LabelSource:
    """Open labels for reading, sequence by sequence.

    Args:
        path: A file or folder in one of the formats.
        options: What the source does not say itself.
        found: Told of each fault; left out, the first is raised.
        format_: One of `FORMATS`; None looks for itself.

    Raises:
        FormatError: It is of none of the formats, or has no beginning that could be read.
    """
    options = options or ReadOptions()
    if not path.exists():
        raise FormatError(path, f"no such file or folder; {_EXPECTED}")
    match format_ or recognize(path):
        case "ground-truth":
            from motrail.formats.ground_truth.reader import read_ground_truth

            return read_ground_truth(path, options, found)
        case "cvat":
            from motrail.formats.cvat.reader import read_cvat

            return read_cvat(path, options, found)
        case "label-studio":
            from motrail.formats.label_studio.reader import read_label_studio

            return read_label_studio(_one_json(path), options, found)
        case "coco":
            from motrail.formats.coco.reader import read_coco

            return read_coco(_one_json(path), options, found)
        case _:
            from motrail.formats.mot.reader import read_mot

            return read_mot(path, options, found)


def recognize(path: Path) -> str:
    """The format of a file or folder, one of `FORMATS`.

    Raises:
        FormatError: It looks like none of them.
    """
    try:
        return _recognize_folder(path) if path.is_dir() else _recognize_file(path)
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror or error}") from error


def _recognize_file(path: Path) -> str:
    match path.suffix.lower():
        case ".manifest":
            return "ground-truth"
        case ".xml" | ".zip":
            return "cvat"
        case ".txt":
            return "mot"
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for format_, sign in _SIGNS:
        if re.search(sign, head):
            return format_
    if b"source-ref" in head:
        return "ground-truth"
    raise FormatError(path, f"{_EXPECTED}, found none of them; name the format with --from")


def _recognize_folder(folder: Path) -> str:
    if list(folder.glob("*.manifest")) or (folder / "manifests" / "output").is_dir():
        return "ground-truth"
    if any(list(folder.glob(sign)) for sign in _MOT):
        return "mot"
    if list(folder.glob("*.xml")) and not list(folder.glob("*.txt")):
        return "cvat" if not list(folder.glob("*.json")) else _recognize_json(folder)
    if list(folder.glob("*.json")):
        return _recognize_json(folder)
    return "mot"


def _recognize_json(folder: Path) -> str:
    return _recognize_file(_one_json(folder))


def _one_json(path: Path) -> Path:
    """The file itself, or the one JSON file of a folder."""
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.json"))
    if len(files) == 1:
        return files[0]
    names = ", ".join(file.name for file in files[:4]) or "none"
    raise FormatError(path, f"expected one .json file, found {names}; name the file itself")
