"""Single images, and folders of them as a source of frames."""

from __future__ import annotations

import configparser
import io
import math
import struct
import warnings
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from motrail.errors import MissingExtraError, VideoError
from motrail.types import Frame
from motrail.video.source import MAX_PIXELS, Selection, Source

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error
try:
    from PIL import Image
except ImportError as _error:
    raise MissingExtraError("PIL", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DEFAULT_RATE = 30.0
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    struct.error,
)
_KINDS = "jpg, png, bmp, webp or tif"
_ORIENTATION = 0x0112  # the EXIF tag
_ON_ITS_SIDE = 5  # 5 to 8 are turned by 90 degrees


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode one image file, the way a person would see it.

    The EXIF orientation is obeyed; grey, alpha and 16-bit images come out as 8-bit BGR (alpha is
    dropped). The size is read from the header first, so that a small file cannot unfold into
    gigabytes.

    Args:
        data: The whole file: jpg, png, bmp, webp or tif.
        name: What to call it in an error message.

    Returns:
        Pixels, uint8, shape (height, width, 3), channels blue, green, red.

    Raises:
        VideoError: Not such an image, cut off or broken, or larger than 2**27 pixels.
    """
    if not data:
        raise VideoError(f"{name}: expected an image ({_KINDS}), found 0 bytes; copy it again")
    _check_header(io.BytesIO(data), name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    # cv2 answers None for a file it cannot decode, which its type stub does not say.
    if cast("object", image) is None:
        raise VideoError(
            f"{name}: the image is broken, cut off or of an unusual kind; "
            f"copy it again or convert it to an 8-bit {_KINDS}"
        )
    return np.ascontiguousarray(image, dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of an image file as a person would see it, from its header.

    Raises:
        VideoError: It cannot be read, is no image, or larger than 2**27 pixels.
    """
    try:
        with path.open("rb") as file:
            return _check_header(file, str(path))
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_header(file: BinaryIO, name: str) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            # Pillow warns below our own limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as header:
                width, height = header.size
                if header.getexif().get(_ORIENTATION, 1) >= _ON_ITS_SIDE:
                    width, height = height, width
    except Image.DecompressionBombError as error:
        raise VideoError(
            f"{name}: expected at most {MAX_PIXELS:,} pixels: {error}; scale it down"
        ) from None
    # Pillow's readers raise all kinds of errors on damaged headers.
    except _DAMAGED as error:
        found = "an unreadable header" if str(error) == "" else str(error).split(" <")[0]
        raise VideoError(f"{name}: expected an image ({_KINDS}), found: {found}") from None
    check_size(width, height, name)
    return width, height


def check_size(width: int, height: int, name: str) -> None:
    """Refuse pictures too large to be footage.

    Raises:
        VideoError: More than `MAX_PIXELS` pixels.
    """
    if width * height > MAX_PIXELS:
        raise VideoError(
            f"{name}: expected at most {MAX_PIXELS:,} pixels, found {width}x{height}; scale it down"
        )


def sequence_rate(folder: Path) -> float:
    """Frames per second from `seqinfo.ini` in the folder or, for MOT's img1, beside it.

    Returns:
        30.0 where there is no such file or no sensible rate in it.
    """
    places = [folder, folder.parent] if folder.name == "img1" else [folder]
    for place in places:
        rate = _read_rate(place / "seqinfo.ini")
        if rate is not None:
            return rate
    return DEFAULT_RATE


def _read_rate(path: Path) -> float | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        rate = parser.getfloat("Sequence", "frameRate")
    except (OSError, ValueError, configparser.Error):
        return None
    return rate if math.isfinite(rate) and 0 < rate <= 10_000 else None


class ImageSource(Source):
    """Image files as a source of frames, numbered by their place in `paths`, counted from 1.

    Args:
        paths: The files, in order.
        name: The sequence's name.
        where: What the user gave, for messages.
        frame_rate: Frames per second; image files know no time.
        selection: Which frames to give out.

    Raises:
        VideoError: No image can be decoded, or `selection` starts past the end.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        name: str,
        where: str,
        frame_rate: float,
        selection: Selection,
    ) -> None:
        super().__init__()
        self.name = name
        self.frame_rate = frame_rate
        self._paths = paths
        self._where = where
        self.selection = selection
        if selection.start > len(paths):
            raise past_the_end(where, selection.start, len(paths))
        self.expected_frames = selection.count(len(paths))
        self._first, self.width, self.height = self._find_size()

    def _find_size(self) -> tuple[Path, int, int]:
        first_error: VideoError | None = None
        for path in self._paths:
            try:
                height, width = _read_image(path).shape[:2]
            except VideoError as error:
                first_error = first_error or error
            else:
                return path, width, height
        raise VideoError(
            f"{self._where}: none of the {len(self._paths)} images can be decoded; "
            f"the first one: {first_error}"
        )

    @property
    def files(self) -> Sequence[Path]:
        """The images, in order."""
        return self._paths

    def reads(self, path: Path) -> bool:
        """Whether `path` is one of the images, perhaps by another name."""
        return path.exists() and any(path.samefile(image) for image in self._paths)

    def _frames(self) -> Generator[Frame]:
        self.broken = 0
        given = 0
        wanted = self.selection
        for index in range(wanted.start - 1, len(self._paths), wanted.stride):
            if wanted.last is not None and index >= wanted.last:
                break
            try:
                image = _read_image(self._paths[index])
            except VideoError:
                self.broken += 1
                continue
            self._check_same_size(self._paths[index], image)
            given += 1
            yield Frame(index + 1, image, index / self.frame_rate)
        if not given:
            raise VideoError(
                f"{self._where}: none of the {self.broken} wanted images can be decoded; "
                "look at them with an image viewer or choose other frames"
            )

    def _check_same_size(self, path: Path, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        if (width, height) != (self.width, self.height):
            raise VideoError(
                f"{path}: expected {self.width}x{self.height} pixels as in {self._first.name}, "
                f"found {width}x{height}; one sequence has one size: put it in its own folder"
            )


def past_the_end(where: str, start: int, total: int) -> VideoError:
    """The error for a start behind the last of `total` frames."""
    frames = "1 frame" if total == 1 else f"{total} frames"
    return VideoError(
        f"{where}: expected to start at frame {start}, found only {frames}; start at a lower number"
    )


def _read_image(path: Path) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
    return decode_image(data, str(path))
