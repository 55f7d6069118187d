"""A picture of any size as the input of a network, and boxes back in the picture's pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import DataError, MissingExtraError

try:
    import cv2
except ImportError as error:
    raise MissingExtraError("cv2", "detect", error) from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.detect.bundle import InputSpec


class Scratch:
    """Memory that one thread prepares pictures in.

    Attributes:
        blob: The network input, float32, shape (1, 3, height, width).
        resized: The scaled picture, uint8, shape (h, w, 3).
        planes: Its channels, uint8, shape (h, w) each.
    """

    def __init__(self, blob: NDArray[np.float32]) -> None:
        self.blob = blob
        self.resized: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
        self.planes: list[NDArray[np.uint8]] = []

    def fit(self, width: int, height: int) -> None:
        """Make room for a scaled picture of this size."""
        if self.resized.shape[:2] != (height, width):
            self.resized = np.empty((height, width, 3), np.uint8)
            self.planes = [np.empty((height, width), np.uint8) for _ in range(3)]


class Letterbox:
    """Scales pictures to the input and pads the rest; boxes find their way back.

    `top-left` keeps the shape of the picture, puts it into the top left corner and rounds its size
    down, as YOLOX does. `center` keeps the shape, puts it into the middle, the odd pixel of the
    padding to the right and below, and rounds its size to the nearest, as YOLOv5 to YOLOv11 do
    (`LetterBox` of https://github.com/ultralytics/ultralytics). `stretch` fills the input, as
    RT-DETR does.

    The value of a pixel becomes (value · scale − mean) / std, channel by channel, the padding too.

    Args:
        spec: What the network wants.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.height, self.width = spec.height, spec.width
        self._mode = spec.letterbox
        self._planes = (2, 1, 0) if spec.color == "rgb" else (0, 1, 2)  # of a BGR picture
        values = np.arange(256, dtype=np.float32)[:, None] * np.float32(spec.scale)
        tables = (values - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
        self._tables = [np.ascontiguousarray(table) for table in tables.T]
        self._pad = tables[spec.pad]

    def size_inside(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that a picture has in the input: whole pixels, at least one."""
        if self._mode == "stretch":
            return self.width, self.height
        ratio = min(self.height / height, self.width / width)
        if self._mode == "center":
            return max(round(width * ratio), 1), max(round(height * ratio), 1)
        return max(int(width * ratio), 1), max(int(height * ratio), 1)

    def _corner(self, width: int, height: int) -> tuple[int, int]:
        """Where the top left corner of a scaled picture of this size lies in the input."""
        if self._mode == "center":
            return (self.width - width) // 2, (self.height - height) // 2
        return 0, 0

    def new_scratch(self) -> Scratch:
        """Memory for `apply`; fresh memory for every picture would cost more than the work."""
        return Scratch(np.empty((1, 3, self.height, self.width), np.float32))

    def apply(
        self, image: NDArray[np.uint8], scratch: Scratch | None = None
    ) -> NDArray[np.float32]:
        """BGR uint8 picture (h, w, 3) → float32 network input (1, 3, height, width).

        Args:
            image: The picture; not changed.
            scratch: Memory to use again; the answer lies in it until the next call.

        Raises:
            DataError: The picture has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise DataError(
                f"image: expected uint8 of shape (height, width, 3), "
                f"found {image.dtype} of shape {image.shape}"
            )
        scratch = scratch or self.new_scratch()
        width, height = self.size_inside(image.shape[1], image.shape[0])
        scratch.fit(width, height)
        cv2.resize(image, (width, height), dst=scratch.resized, interpolation=cv2.INTER_LINEAR)
        cv2.split(scratch.resized, scratch.planes)
        left, top = self._corner(width, height)
        right, bottom = left + width, top + height
        for channel, source in enumerate(self._planes):
            plane, pad = scratch.blob[0, channel], self._pad[channel]
            # A table look-up is the whole arithmetic in one pass.
            inside = plane[top:bottom, left:right]
            cv2.LUT(scratch.planes[source], self._tables[channel], dst=inside)
            plane[:top] = pad
            plane[bottom:] = pad
            plane[top:bottom, :left] = pad
            plane[top:bottom, right:] = pad
        return scratch.blob

    def undo(self, boxes_xyxy: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
        """Boxes (n, 4) in pixels of the input → pixels of a picture of this width and height.

        The exact inverse of the scaling, which differs a little between the axes because sizes
        are whole pixels.
        """
        inside_width, inside_height = self.size_inside(width, height)
        factor = np.array([width / inside_width, height / inside_height] * 2, np.float32)
        corner = np.array(self._corner(inside_width, inside_height) * 2, np.float32)
        restored: NDArray[np.float32] = (boxes_xyxy - corner) * factor
        return restored
