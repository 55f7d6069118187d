"""The pictures of a split at the size of the network's input."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal

import numpy as np

from motrail.detect.bundle import InputSpec
from motrail.detect.letterbox import Letterbox
from motrail.errors import ConfigError, MissingExtraError, VideoError
from motrail.train.data.cache import PictureCache, default_limit
from motrail.train.data.truth import Affine, Truth, carry
from motrail.video.images import decode_image

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "train", _error) from _error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.train.data.samples import Samples

PAD = 114
STRIDE = 32
_MAX_SIDE = 8192
_STAYS = Affine(np.eye(2), np.zeros(2))


def training_input(height: int, width: int) -> InputSpec:
    """How pictures become the input of what is trained here: BGR from 0 to 255, padded with 114.

    Raises:
        ConfigError: A side is no multiple of 32, or not from 32 to 8192.
    """
    for side in (height, width):
        if side % STRIDE or not STRIDE <= side <= _MAX_SIDE:
            raise ConfigError(
                f"size: expected multiples of {STRIDE} from {STRIDE} to {_MAX_SIDE}, "
                f"found {width}x{height}"
            )
    return InputSpec(height=height, width=width, color="bgr", pad=PAD)


class Pictures:
    """Reads pictures, scales them to the input as the detector will, and keeps them.

    They are decoded whole and then scaled, although JPEG could be decoded at half its size in
    0.6 of the time: edges would differ by up to 50 of 255 from what the detector sees, and what is
    kept is decoded only once.

    Args:
        samples: The pictures.
        height: Of the input, in pixels; a multiple of 32.
        width: The same.
        cache_bytes: Memory for scaled pictures; a quarter of what there is if None.
        on_bad: What to do about a picture that cannot be read, or has not the size that its labels
            say: raise an error, or skip it; then another takes its place.

    Attributes:
        samples: The pictures.
        letterbox: What the detector does to its pictures; `undo` brings boxes back.
        cache: What is kept.
        skips: Whether bad pictures are skipped.
        skipped: Why each picture that was skipped could not be used, by its index.

    Raises:
        ConfigError: The size or the memory makes no sense.
    """

    def __init__(
        self,
        samples: Samples,
        height: int,
        width: int,
        *,
        cache_bytes: int | None = None,
        on_bad: Literal["error", "skip"] = "error",
    ) -> None:
        self.samples = samples
        self.letterbox = Letterbox(training_input(height, width))
        self._inside = _sizes_inside(self.letterbox, samples.sizes)
        self.cache = PictureCache(
            self._inside, default_limit() if cache_bytes is None else cache_bytes
        )
        factors = np.tile(self._inside / samples.sizes, 2).astype(np.float32)
        self._boxes = samples.boxes_xyxy * np.repeat(factors, np.diff(samples.box_starts), axis=0)
        self._ignore = samples.ignore_xyxy * np.repeat(
            factors, np.diff(samples.ignore_starts), axis=0
        )
        self.skips = on_bad == "skip"
        self._lock = threading.Lock()
        self._news: list[str] = []
        self.skipped: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> tuple[int, NDArray[np.uint8]]:
        """A picture that can be read: that one or, where bad ones are skipped, the next.

        Returns:
            Its index, and its pixels as they are in the input, without padding: uint8, shape
            (h, w, 3), channels blue, green, red; not to be changed.

        Raises:
            VideoError: It cannot be read; where bad ones are skipped: none can.
        """
        for step in range(len(self)):
            place = (index + step) % len(self)
            image = self.read(place)
            if image is not None:
                return place, image
        raise VideoError(
            f"none of the {len(self)} pictures can be read; "
            f"one of them: {next(iter(self.skipped.values()))}"
        )

    def read(self, index: int) -> NDArray[np.uint8] | None:
        """A picture as `load` gives it; None for a bad one where those are skipped.

        Raises:
            VideoError: It cannot be read, or has another size than its labels say.
        """
        if index in self.skipped:
            return None
        kept = self.cache.get(index)
        if kept is not None:
            return kept
        try:
            image = self._scaled(index)
        except VideoError as error:
            if not self.skips:
                raise
            self.skip(index, str(error))
            return None
        self.cache.put(index, image)
        return image

    def skip(self, index: int, reason: str) -> None:
        """Leave a picture out from now on."""
        with self._lock:
            if index not in self.skipped:
                self.skipped[index] = reason
                self._news.append(reason)

    def news(self) -> list[str]:
        """Lines about the pictures that were left out since this was asked last."""
        with self._lock:
            reasons, self._news = self._news, []
        return [f"note: left out: {reason}" for reason in reasons]

    def truth(self, index: int) -> Truth:
        """What is to be found in a picture, in pixels of the input."""
        samples = self.samples
        start, end = samples.box_starts[index : index + 2].tolist()
        first, last = samples.ignore_starts[index : index + 2].tolist()
        return Truth(self._boxes[start:end], samples.class_ids[start:end], self._ignore[first:last])

    def plain(self, out: NDArray[np.uint8], index: int) -> Truth:
        """Put a picture into `out`, uint8, shape (height, width, 3), as the detector would."""
        index, image = self.load(index)
        height, width = image.shape[:2]
        paste(out, image)
        return carry(self.truth(index), _STAYS, width, height, self.samples.limits)

    def decode(self, index: int) -> NDArray[np.uint8]:
        """A picture as it is on the disk, uint8, shape (h, w, 3), channels blue, green, red.

        Raises:
            VideoError: It cannot be read, or has another size than its labels say.
        """
        path = self.samples.path(index)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
        image = decode_image(data, str(path))
        height, width = image.shape[:2]
        self.check_size(index, width, height)
        return image

    def check_size(self, index: int, width: int, height: int) -> None:
        """See that a picture has the size that its labels say.

        Raises:
            VideoError: It has another.
        """
        expected = self.samples.sizes[index].tolist()
        if [width, height] != expected:
            raise VideoError(
                f"{self.samples.path(index)}: expected {expected[0]}x{expected[1]} pixels as its "
                f"labels say, found {width}x{height}; labels and pictures do not belong together, "
                "or the pictures were scaled"
            )

    def _scaled(self, index: int) -> NDArray[np.uint8]:
        size = (int(self._inside[index, 0]), int(self._inside[index, 1]))
        scaled = cv2.resize(self.decode(index), size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(scaled, np.uint8)


def paste(out: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    """Put a picture into the top left corner and pad the rest."""
    height, width = image.shape[:2]
    out[:height, :width] = image
    out[height:] = PAD
    out[:height, width:] = PAD


def _sizes_inside(letterbox: Letterbox, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Width and height of each picture in the input, shape (n, 2)."""
    known, which = np.unique(sizes, axis=0, return_inverse=True)
    inside = [letterbox.size_inside(width, height) for width, height in known.tolist()]
    return np.array(inside, np.int64)[which.reshape(-1)]
