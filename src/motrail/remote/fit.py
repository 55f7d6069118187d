"""Pictures scaled down to the network's input before they are sent: a fraction of the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import MissingExtraError
from motrail.types import Detections

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Fit:
    """Does here the first thing that the server would do, as `motrail.detect.letterbox` does it.

    Where the network's letterbox is `top-left`, as YOLOX's, pictures that travel without loss give
    the very same detections; where it is another one, nearly the same.

    Args:
        width: Of the network's input, in pixels.
        height: Of the network's input, in pixels.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(self, width: int, height: int) -> None:
        try:
            import cv2
        except ImportError as error:
            raise MissingExtraError("cv2", "remote", error) from error
        self._cv2 = cv2
        self._width, self._height = width, height

    def scale(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture no larger than the input, its shape kept; small ones stay as they are.

        Args:
            image: BGR, uint8, shape (height, width, 3); not changed.
        """
        height, width = image.shape[:2]
        ratio = min(self._height / height, self._width / width)
        if ratio >= 1:
            return image
        size = (max(int(width * ratio), 1), max(int(height * ratio), 1))
        scaled = self._cv2.resize(image, size, interpolation=self._cv2.INTER_LINEAR)
        return np.asarray(scaled, np.uint8)

    def undo(
        self, found: Detections, image: NDArray[np.uint8], sent: NDArray[np.uint8]
    ) -> Detections:
        """Detections in pixels of the picture as it was, from those in the one that was sent."""
        if image.shape == sent.shape:
            return found
        across, down = image.shape[1] / sent.shape[1], image.shape[0] / sent.shape[0]
        factor = np.array([across, down] * 2, np.float32)
        return Detections(found.boxes_xyxy * factor, found.scores, found.class_ids)
