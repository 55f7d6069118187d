"""Names of files and folders: which are pictures, in what order, and which are safe to make."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_MAX_NAME = 100
_MAX_BYTES = 200
_LARGEST = 4_000_000
"""From here on a number in a file's name is not taken for a frame's."""
_NUMBER = re.compile(r"[0-9]+(?=[^0-9]*$)")


def is_image(path: Path) -> bool:
    """Whether the name is that of an image; hidden files (macOS leaves `._1.jpg`) are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths as people do: `frame2` before `frame10`."""
    return sorted(paths, key=lambda path: (natural_key(str(path)), str(path)))


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """What to sort text by so that `frame2` comes before `frame10`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    # Of two numbers without leading zeros the longer one is larger; long ones are never converted.
    return [
        (0, len(p.lstrip("0")), p.lstrip("0")) if p[0] in "0123456789" else (1, 0, p.lower())
        for p in parts
    ]


def frame_numbers(stems: Iterable[str]) -> list[int]:
    """Frame numbers from 1 for pictures of a sequence, by the names of their files.

    The last digits in the name count; where the smallest is 0, all move up by one. Names without
    numbers, of which several share one, or with numbers too large for a sequence (times, perhaps)
    are numbered by their natural order.

    Args:
        stems: File names without suffix.
    """
    names = list(stems)
    found = [_NUMBER.search(name) for name in names]
    numbers = [int(match[0]) if match and len(match[0]) < 19 else -1 for match in found]
    lowest, highest = min(numbers, default=0), max(numbers, default=0)
    if lowest < 0 or highest >= _LARGEST or len(set(numbers)) < len(numbers):
        order = sorted(range(len(names)), key=lambda index: natural_key(names[index]))
        place = {index: number for number, index in enumerate(order, start=1)}
        return [place[index] for index in range(len(names))]
    shift = 1 if lowest == 0 else 0
    return [number + shift for number in numbers]


def numbered_pictures(files: Iterable[Path]) -> dict[int, Path]:
    """Pictures of a sequence by frame number, in order; see `frame_numbers`."""
    paths = list(files)
    numbers = frame_numbers(path.stem for path in paths)
    return dict(sorted(zip(numbers, paths, strict=True)))


def safe_name(text: str) -> str:
    """A name that any system takes for a folder, made of what a file from elsewhere says.

    Letters, digits, spaces and ``-_.()+`` stay, all else becomes ``_``; no dots or spaces at the
    ends, nothing empty, at most 100 characters and 200 bytes, none that Windows keeps for devices.
    """
    name = re.sub(r"[^\w \-.()+]", "_", text).strip(" .")[:_MAX_NAME]
    name = name.encode()[:_MAX_BYTES].decode(errors="ignore").rstrip(" .")
    if re.fullmatch(r"(?i)con|prn|aux|nul|com[0-9]|lpt[0-9]", name.partition(".")[0]):
        name = f"_{name}"[:_MAX_NAME]
    return name or "sequence"


def unused_name(name: str, taken: set[str]) -> str:
    """`name`, or `name-2`, `name-3` … where it is taken; the answer is added to `taken`."""
    candidate, number = name, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate.lower())
    return candidate
