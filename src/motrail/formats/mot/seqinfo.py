"""`seqinfo.ini`: length, size and frame rate of a sequence, as the MOT challenge has it."""

from __future__ import annotations

import configparser
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.formats.faults import Fault
from motrail.formats.labels import MAX_FRAMES, MAX_RATE, MIN_RATE
from motrail.names import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from motrail.formats.faults import Found
    from motrail.formats.labels import Labels

USUAL_RATE = 30.0
"""Frames a second where nobody knows."""


@dataclass(frozen=True, slots=True)
class SeqInfo:
    """What the file says; 0 where it does not."""

    width: int = 0
    height: int = 0
    length: int = 0
    frame_rate: float = 0.0
    pictures: str = "img1"


def read_seqinfo(path: Path, found: Found) -> SeqInfo:
    """Read a `seqinfo.ini`; what is at fault in it is left out.

    Args:
        path: The file; where there is none, nothing is known.
        found: Told of each fault.
    """
    if not path.is_file():
        return SeqInfo()
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        section = parser["Sequence"]
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as error:
        trouble = isinstance(error, OSError | UnicodeDecodeError)
        what = "it cannot be read as text" if trouble else "none that can be read"
        message = (
            f"expected a section [Sequence] with imWidth, imHeight and seqLength, found {what}"
        )
        found(Fault("seqinfo", path, message))
        return SeqInfo()

    def number(key: str, upper: float, *, lower: float = 0, whole: bool = True) -> float:
        text = section.get(key)
        if text is None:
            return 0
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not lower <= value <= upper or value == 0 or (whole and value != int(value)):
            kind = "whole number above 0" if whole else f"number of at least {lower:g}"
            message = f"{key}: expected a {kind}, at most {upper:g}, found {text!r}"
            found(Fault("seqinfo", path, message))
            return 0
        return value

    pictures = section.get("imDir", "img1").strip() or "img1"
    if "\0" in pictures or Path(pictures).is_absolute() or ".." in Path(pictures).parts:
        found(Fault("seqinfo", path, f"imDir: expected a folder inside, found {pictures!r}"))
        pictures = "img1"
    width, height = int(number("imWidth", 1e6)), int(number("imHeight", 1e6))
    return SeqInfo(
        width=width if height else 0,
        height=height if width else 0,
        length=int(number("seqLength", MAX_FRAMES)),
        frame_rate=number("frameRate", MAX_RATE, lower=MIN_RATE, whole=False),
        pictures=pictures,
    )


def seqinfo_text(labels: Labels) -> str:
    """What `read_seqinfo` reads back; what is unknown has no line."""
    suffixes = {path.suffix.lower() for path in labels.pictures.values()} & IMAGE_SUFFIXES
    rate = labels.frame_rate or USUAL_RATE
    known = {
        "seqLength": labels.length,
        "imWidth": labels.width,
        "imHeight": labels.height,
    }
    return (
        "[Sequence]\n"
        f"name={labels.name}\n"
        "imDir=img1\n"
        f"frameRate={int(rate) if rate == int(rate) else rate}\n"
        + "".join(f"{key}={value}\n" for key, value in known.items() if value)
        + f"imExt={min(suffixes, default='.jpg')}\n"
    )
