"""The files of one sequence in a dataset folder, as they are on the disk."""

from __future__ import annotations

import configparser
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from motrail.names import is_image

_MAX_INFO = 1 << 20


@dataclass(frozen=True)
class SequenceFiles:
    """A sequence's folder.

    Attributes:
        split: Which split it stands in.
        folder: The folder, which may not be there.
    """

    split: str
    folder: Path

    @property
    def name(self) -> str:
        """The sequence's name."""
        return self.folder.name

    @property
    def truth(self) -> Path:
        """Where the labels are, or would be."""
        return self.folder / "gt" / "gt.txt"

    @property
    def info_file(self) -> Path:
        """Where `seqinfo.ini` is, or would be."""
        return self.folder / "seqinfo.ini"

    @cached_property
    def info(self) -> Info:
        """What `seqinfo.ini` says."""
        return read_info(self.info_file)

    def images(self) -> list[Path]:
        """The files of images, sorted by name."""
        try:
            return sorted(p for p in (self.folder / self.info.pictures).iterdir() if is_image(p))
        # ValueError: a name that no file can have.
        except (OSError, ValueError):
            return []


@dataclass(frozen=True, slots=True)
class Info:
    """What a `seqinfo.ini` states, without judging it.

    Attributes:
        numbers: `imWidth`, `imHeight`, `frameRate` and `seqLength`, those that are numbers above 0.
        pictures: `imDir`; `img1` where there is none or it leads outside.
        extension: `imExt`; empty where there is none.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    pictures: str = "img1"
    extension: str = ""

    @property
    def length(self) -> int:
        """`seqLength`; 0 where there is none."""
        return int(self.numbers.get("seqLength", 0))


def read_info(path: Path) -> Info:
    """Read a `seqinfo.ini`; what cannot be read is as if it did not say."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        if path.stat().st_size > _MAX_INFO:
            return Info()
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        section = dict(parser["Sequence"])
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        return Info()
    numbers = {}
    for key in ("imWidth", "imHeight", "frameRate", "seqLength"):
        value = _number(section.get(key.lower(), ""))
        if value:
            numbers[key] = value
    pictures = section.get("imdir", "img1").strip() or "img1"
    if Path(pictures).is_absolute() or ".." in Path(pictures).parts:
        pictures = "img1"
    return Info(numbers, pictures, section.get("imext", "").strip())


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and 0 < value <= 1e9 else 0.0
