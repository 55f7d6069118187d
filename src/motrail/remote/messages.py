"""What goes over the line: pictures and attributes out, rows of detections and tracks back.

Answers are asked for as CSV: rows of detections carry every digit, so that tracking here gives what
tracking there would give, and rows of tracks are those of the track file.
"""

from __future__ import annotations

import io
import json
import secrets
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from motrail.errors import ConfigError, DataError, MissingExtraError
from motrail.remote.problems import RemoteError
from motrail.types import Detections, SequenceTracks, Tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Encode = Callable[[NDArray[np.uint8]], tuple[str, bytes]]

Encoding = Literal["jpeg", "png", "raw"]

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
SESSION = "X-Amzn-SageMaker-Session-Id"
NEW_SESSION = "X-Amzn-SageMaker-New-Session-Id"
ANY_IMAGE = "application/x-image"
ARRAY = "application/x-npy"
CSV = "text/csv"
_MAX_ATTRIBUTES = 1024
_COLUMNS = 9
_MAX_TOGETHER = 1 << 19
"""Bytes of pictures in one request: larger ones gain nothing from company."""


def attributes(values: Mapping[str, object]) -> dict[str, str]:
    """The header that says what is asked for; none where that is nothing.

    Args:
        values: Name → value; None stands for "unset".

    Raises:
        ConfigError: It cannot be said in 1,024 visible ASCII characters.
    """
    if not values:
        return {}
    text = ";".join(f"{name}={_as_text(name, value)}" for name, value in values.items())
    if len(text) > _MAX_ATTRIBUTES:
        raise ConfigError(
            f"settings: expected at most {_MAX_ATTRIBUTES} characters to be sent, found {len(text)}"
        )
    return {ATTRIBUTES: text}


def by_section(settings: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Settings by section and key as they stand in the attributes: `tracker.lost_frames`."""
    return {
        f"{section}.{key}": value
        for section, part in settings.items()
        for key, value in part.items()
    }


def _as_text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, (int, float)) else str(value)
    if not text.isascii() or not text.isprintable() or ";" in text:
        raise ConfigError(f"{name}: expected ASCII characters without ';', found {value!r}")
    return text


def encoder(encoding: Encoding, jpeg_quality: int = 95) -> Encode:
    """What turns a BGR picture into its content type and bytes; safe to call from several threads.

    Args:
        encoding: `jpeg`, `png` (exact) or `raw` (exact, without any packing).
        jpeg_quality: 1 to 100.

    Raises:
        ConfigError: There is no such encoding or quality.
        MissingExtraError: OpenCV is not installed.
    """
    if encoding == "raw":
        return _as_npy
    if encoding not in ("jpeg", "png"):
        raise ConfigError(f"encoding: expected jpeg, png or raw, found {encoding!r}")
    if not 1 <= jpeg_quality <= 100:
        raise ConfigError(f"jpeg_quality: expected 1 to 100, found {jpeg_quality}")
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("cv2", "remote", error) from error
    suffix, flags = {
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]),
        "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    }[encoding]

    def encode(image: NDArray[np.uint8]) -> tuple[str, bytes]:
        _check_picture(image)
        good, content = cv2.imencode(suffix, image, flags)
        if not good:
            raise DataError(f"a picture of shape {image.shape} cannot be made a {encoding}")
        return f"image/{encoding}", content.tobytes()

    return encode


def _as_npy(image: NDArray[np.uint8]) -> tuple[str, bytes]:
    _check_picture(image)
    content = io.BytesIO()
    np.lib.format.write_array(content, np.ascontiguousarray(image), allow_pickle=False)
    return ARRAY, content.getvalue()


def joined(contents: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Content type and body of one request with several pictures, as RFC 7578 puts parts together.

    Args:
        contents: Content type and bytes of each, as an encoder gives them.
    """
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for kind, content in contents:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="frame"\r\n'
        parts += [head.encode(), f"Content-Type: {kind}\r\n\r\n".encode(), content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)


def in_one(contents: Sequence[tuple[str, bytes]]) -> Iterator[int]:
    """How many of the pictures, one after the other, go together in a request.

    Args:
        contents: Content type and bytes of each; pixels go alone.
    """
    count = size = 0
    for kind, content in contents:
        if count and (kind == ARRAY or size + len(content) > _MAX_TOGETHER):
            yield count
            count = size = 0
        count, size = count + 1, size + len(content)
    if count:
        yield count


def _check_picture(image: object) -> None:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DataError(
            f"image: expected uint8, shape (height, width, 3), found {array.dtype} {array.shape}"
        )


def read_detections(body: bytes, numbers: Sequence[int] = (1,)) -> list[Detections]:
    """The rows `frame,-1,x,y,w,h,score,class,-1` of frames, as they stand in detection files.

    Args:
        body: The rows.
        numbers: Of the frames that were asked about.

    Returns:
        Those of each frame.

    Raises:
        RemoteError: It is something else.
    """
    found = []
    for table in _of_frames(_table(body), numbers):
        try:
            found.append(Detections(_corners(table), table[:, 6], table[:, 7].astype(np.int64) - 1))
        except DataError as error:
            raise RemoteError(f"the server's answer is no list of detections: {error}") from None
    return found


def read_tracks(body: bytes, numbers: Sequence[int]) -> list[Tracks]:
    """The rows `frame,id,x,y,w,h,score,class,-1` of frames, as they stand in track files.

    Args:
        body: The rows.
        numbers: Of the frames that were sent.

    Returns:
        Those of each frame.

    Raises:
        RemoteError: It is something else.
    """
    found = []
    for table in _of_frames(_table(body), numbers):
        try:
            ids, classes = table[:, 1].astype(np.int64), table[:, 7].astype(np.int64) - 1
            places = np.arange(len(table), dtype=np.int64)
            found.append(Tracks(ids, _corners(table), table[:, 6], classes, places))
        except DataError as error:
            raise RemoteError(f"the server's answer is no list of tracks: {error}") from None
    return found


def _of_frames(table: NDArray[np.float64], numbers: Sequence[int]) -> Iterator[NDArray[np.float64]]:
    """The rows of each frame."""
    if not np.isin(table[:, 0], numbers).all():
        raise RemoteError("the server's answer is about other frames than those that were sent")
    for number in numbers:
        yield table[table[:, 0] == number]


def read_all_tracks(body: bytes) -> SequenceTracks:
    """The rows of a whole track file.

    Raises:
        RemoteError: It is something else.
    """
    table = _table(body)
    try:
        return SequenceTracks(
            table[:, 0].astype(np.int64),
            table[:, 1].astype(np.int64),
            _corners(table),
            table[:, 6],
            table[:, 7].astype(np.int64) - 1,
            np.arange(len(table), dtype=np.int64),
        )
    except DataError as error:
        raise RemoteError(f"the server's answer is no list of tracks: {error}") from None


def _table(body: bytes) -> NDArray[np.float64]:
    try:
        rows = [line.split(",") for line in body.decode("ascii").splitlines()]
        table = np.array(rows, np.float64).reshape(len(rows), _COLUMNS)
    except ValueError:
        shown = body[:60].decode("ascii", "replace")
        raise RemoteError(
            f"expected rows of {_COLUMNS} numbers, found {shown!r}; is it a motrail server?"
        ) from None
    if not np.isfinite(table).all():
        raise RemoteError("expected rows of finite numbers in the server's answer")
    return table


def _corners(table: NDArray[np.float64]) -> NDArray[np.float64]:
    # In float64, where adding what was subtracted there gives the very same back.
    return np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)


def read_json(body: bytes) -> Any:
    """The JSON of an answer.

    Raises:
        RemoteError: It is none.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise RemoteError(
            f"expected JSON in the server's answer: {error}; is it a motrail server?"
        ) from None
