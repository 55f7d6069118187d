"""Frames as JPEG files for the page."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from motrail.errors import VideoError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

HIGH, LOW = 90, 60
"""JPEG qualities."""
_DECODABLE_COLORSPACES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
_ITU601, _BT2020, _BT2020_CONSTANT = 5, 9, 10
_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}
_scalers = threading.local()


def scaled_size(width: int, height: int, most: int | None) -> tuple[int, int]:
    """Width and height that are at most so wide, in the same proportion."""
    if most is None or most >= width:
        return width, height
    return most, max(1, round(height * most / width))


def from_video(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """A decoded frame as a picture of some size, turned as its marks say.

    Colours are those of `motrail.video.stream`: the stream's own marks count, and BT.601 where
    there are none.

    Args:
        frame: As the decoder gave it.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.

    Returns:
        uint8, shape (height, width, 3), channels blue, green, red.
    """
    scaler = getattr(_scalers, "scaler", None)
    if scaler is None:
        scaler = _scalers.scaler = VideoReformatter()
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    if turn in (_TURNS[90], _TURNS[270]):
        width, height = height, width
    source = frame.colorspace
    if source not in _DECODABLE_COLORSPACES:
        source = _BT2020 if source == _BT2020_CONSTANT else _ITU601
    picture = scaler.reformat(
        frame, width=width, height=height, format="bgr24", src_colorspace=source, threads=1
    )
    image = picture.to_ndarray()
    return np.asarray(image if turn is None else cv2.rotate(image, turn), np.uint8)


def scaled(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture of another size."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG file of a picture.

    Raises:
        VideoError: It is larger than JPEG can hold.
    """
    try:
        good, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        good = False
    if not good:
        raise VideoError("the frame cannot be shown: it is wider or higher than JPEG can hold")
    return data.tobytes()
