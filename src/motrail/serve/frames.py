"""Bodies of requests as frames: what they claim to be is looked at before memory is taken."""

from __future__ import annotations

import ast
import io
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from motrail.errors import VideoError
from motrail.serve.problems import Problem, bad_request, too_large, unsupported
from motrail.video.read import decode_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

IMAGES = ("image/jpeg", "image/png", "image/bmp", "image/webp", "image/tiff", "application/x-image")
ARRAY = "application/x-npy"
PARTS = "multipart/form-data"
KNOWN = ", ".join([*IMAGES, ARRAY, PARTS, "video/* or application/octet-stream"])

MAX_FRAMES = 1000
"""Of one request."""
_TOGETHER = 8
"""So many times the pixels of a frame may all frames of a request have."""
_KINDS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_ALSO_IMAGES = frozenset(
    {"image/jpg", "image/pjpeg", "image/x-png", "image/x-ms-bmp", "image/x-bmp"}
)
_MAX_HEADER = 1024
_PLAIN_HEADER = re.compile(r"[\w\s{}'\":,|<>=()]*", re.ASCII)
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF
_START_OF_SCAN = b"\xff\xda"
_MAX_SCANS = 100


@dataclass(frozen=True, slots=True)
class Encoded:
    """A frame as it came.

    Attributes:
        content: The file, or pixels.
        pixels: Width times height, as its header says.
    """

    content: bytes | NDArray[np.uint8]
    pixels: int

    def decode(self) -> NDArray[np.uint8]:
        """The picture, uint8, shape (height, width, 3), channels blue, green, red.

        Raises:
            Problem: 400; it is broken.
        """
        if not isinstance(self.content, bytes):
            return self.content
        try:
            return decode_image(self.content, "frame")
        except VideoError as error:
            raise bad_request(str(error), "bad_image") from None


def is_video(content_type: str) -> bool:
    """Whether a body of this type is a video."""
    kind = media_type(content_type)
    return kind.startswith("video/") or kind == "application/octet-stream"


def media_type(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def read_frames(body: bytes, content_type: str, *, max_pixels: int) -> tuple[list[Encoded], bool]:
    """The frames in a body, and whether it may have several.

    Args:
        body: All of it.
        content_type: The header.
        max_pixels: The most pixels of a frame; all together may have eight times as many.

    Raises:
        Problem: 415 for another type, 413 for too many pixels or frames, 400 for what is broken.
    """
    kind = media_type(content_type)
    if kind in IMAGES or kind in _ALSO_IMAGES:
        frames, several = [_encoded(body, max_pixels)], False
    elif kind == ARRAY:
        frames, several = _array(body)
    elif kind == PARTS:
        parts = split_parts(body, content_type)
        frames, several = [_encoded(part, max_pixels) for part in parts], True
    else:
        raise unsupported(content_type, KNOWN)
    if max(frame.pixels for frame in frames) > max_pixels:
        raise _too_many_pixels(max_pixels)
    if sum(frame.pixels for frame in frames) > _TOGETHER * max_pixels:
        raise too_large("frames", f"{_TOGETHER * max_pixels:,} pixels together")
    return frames, several


def _encoded(content: bytes, max_pixels: int) -> Encoded:
    if not content:
        raise bad_request("expected an image, found 0 bytes", "bad_image")
    try:
        with Image.open(io.BytesIO(content), formats=_KINDS) as header:
            width, height = header.size
            # A tile may be larger than the picture, and is unfolded as a whole.
            tags = getattr(header, "tag_v2", {})
            tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
            is_jpeg = header.format == "JPEG"
    except Image.DecompressionBombError:
        raise _too_many_pixels(max_pixels) from None
    except Exception:  # noqa: BLE001  (Pillow's readers raise all kinds on damaged headers)
        raise bad_request(
            "expected an image (jpg, png, bmp, webp or tif), found something else", "bad_image"
        ) from None
    # Each scan goes through the whole picture, however few bytes it has.
    if is_jpeg and content.count(_START_OF_SCAN) > _MAX_SCANS:
        raise bad_request(f"jpg: expected at most {_MAX_SCANS} scans", "bad_image")
    if max(width * height, tile) > max_pixels:
        raise _too_many_pixels(max_pixels)
    return Encoded(content, width * height)


def _too_many_pixels(limit: int) -> Problem:
    return too_large("frame", f"{limit:,} pixels")


def _array(body: bytes) -> tuple[list[Encoded], bool]:
    """NumPy's format (`numpy.lib.format`), of bytes in C order and nothing else."""
    shape, start = _array_header(body)
    several = len(shape) == 4
    count = shape[0] if several else 1
    height, width = shape[-3:-1]
    if count > MAX_FRAMES:
        raise too_large("frames of one request", f"{MAX_FRAMES}")
    expected, found = count * height * width * 3, len(body) - start
    if expected != found:
        raise _bad_array(f"expected {expected} bytes of pixels for shape {shape}, found {found}")
    pixels = np.frombuffer(body, np.uint8, offset=start).reshape(count, height, width, 3)
    return [Encoded(image, height * width) for image in pixels], several


def _array_header(body: bytes) -> tuple[tuple[int, ...], int]:
    if body[:6] != b"\x93NUMPY" or len(body) < 12 or body[6] not in (1, 2, 3):
        raise _bad_array("expected NumPy's format, version 1 to 3, found something else")
    begin = 10 if body[6] == 1 else 12
    (length,) = struct.unpack_from("<H" if body[6] == 1 else "<I", body, 8)
    if length > _MAX_HEADER:
        raise _bad_array(f"expected a header of at most {_MAX_HEADER} bytes, found {length}")
    text = body[begin : begin + length].decode("latin-1")
    try:
        header: Any = ast.literal_eval(text.strip()) if _PLAIN_HEADER.fullmatch(text) else None
        described = header["descr"], header["fortran_order"]
        shape = header["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise _bad_array("expected a header with descr, fortran_order and shape") from None
    if described[0] not in ("|u1", "<u1", ">u1", "u1") or described[1] is not False:
        raise _bad_array("expected uint8 in C order")
    good = isinstance(shape, tuple) and all(type(n) is int and 0 < n < 1 << 31 for n in shape)
    if not good or len(shape) not in (3, 4) or shape[-1] != 3:
        raise _bad_array("expected shape (height, width, 3) or (n, height, width, 3)")
    return shape, begin + length


def _bad_array(message: str) -> Problem:
    return bad_request(f"npy: {message}", "bad_image")


def split_parts(body: bytes, content_type: str) -> Sequence[bytes]:
    """The contents of the parts of a `multipart/form-data` body, in their order.

    Raises:
        Problem: 400 where it is none, or not whole; 413 for too many parts.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # RFC 2046, 5.1.1
        raise bad_request("multipart/form-data: expected a boundary of 1 to 70 characters")
    parts: list[bytearray] = []
    ended: list[bool] = []

    def begin() -> None:
        if len(parts) == MAX_FRAMES:
            raise too_large("frames of one request", f"{MAX_FRAMES}")
        parts.append(bytearray())

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": lambda data, start, end: parts[-1].extend(data[start:end]),
            "on_end": lambda: ended.append(True),
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise bad_request("multipart/form-data: the body is broken") from None
    if not ended or not parts:
        raise bad_request("multipart/form-data: expected parts and their end, found none")
    return [bytes(part) for part in parts]
