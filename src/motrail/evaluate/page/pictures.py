"""Pictures for the page, small enough to stand in it."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from typing import TYPE_CHECKING

from motrail.errors import MissingExtraError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_QUALITY = 74
_MAX_PIXELS = 2**27
_DAMAGED = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, struct.error)
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
UNREADABLE = "a picture could not be read, and is missing from the page"


def encode_pictures(
    wanted: Iterable[tuple[str, Path]], *, count: int, size: int, width: int, notes: Counter[str]
) -> Iterator[tuple[str, str]]:
    """Read pictures until there are enough.

    Args:
        wanted: Name and file, the most important one first.
        count: How many at most.
        size: Characters of all of them together at most.
        width: Pixels; wider ones are made smaller.
        notes: Grows by those that cannot be read.

    Yields:
        Name and `data:` address of each.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    done = used = 0
    for name, path in wanted:
        if done >= count:
            return
        data = _jpeg(path, width)
        if data is None:
            notes[UNREADABLE] += 1
            continue
        text = "data:image/jpeg;base64," + base64.b64encode(data).decode()
        if used + len(text) > size:
            return
        done += 1
        used += len(text)
        yield name, text


def _jpeg(path: Path, width: int) -> bytes | None:
    """The picture as a person would see it; None if it cannot be read."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtraError("PIL", "evaluate", error) from error
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            path.open("rb") as file,
            Image.open(file, formats=_FORMATS) as image,
        ):
            if image.width * image.height > _MAX_PIXELS:
                return None
            image.draft("RGB", (width, width))
            upright = ImageOps.exif_transpose(image).convert("RGB")
        # As low as it must be, and at least one pixel high.
        upright.thumbnail((width, 4 * width))
        out = io.BytesIO()
        upright.save(out, "JPEG", quality=_QUALITY, optimize=True)
    except (*_DAMAGED, Image.DecompressionBombError):
        return None
    return out.getvalue()
