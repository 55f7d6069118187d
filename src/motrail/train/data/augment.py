"""Pictures changed at random, and their truth with them.

The kinds of change are those of YOLOX (Ge et al., arXiv 2107.08430): mosaic of four pictures,
affine, mixup, colour, mirror. Each picture is a function of a seed, the epoch and its place in it.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import MissingExtraError
from motrail.train.data.pictures import PAD, paste
from motrail.train.data.truth import Affine, Truth, carry

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "train", _error) from _error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.config.training import AugmentSettings
    from motrail.train.data.pictures import Pictures

PICTURE_STREAM, ORDER_STREAM, SIZE_STREAM = range(3)
"""What random numbers are drawn for, so that none depends on another."""
_LUMA = np.array([0.114, 0.587, 0.299])  # of blue, green, red
_CROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])


class _Layer(NamedTuple):
    """A picture before it is changed.

    Attributes:
        image: uint8, shape (h, w, 3).
        truth: In its pixels.
        middle: The point about which it is turned, in its pixels.
        goal: Where that point belongs in the output, in pixels.
    """

    image: NDArray[np.uint8]
    truth: Truth
    middle: NDArray[np.float64]
    goal: NDArray[np.float64]


class Augmenter:
    """Makes the pictures of an epoch. Threads may share it.

    Args:
        pictures: What to make them of.
        settings: How.
        seed: Other seeds make other pictures.
    """

    def __init__(self, pictures: Pictures, settings: AugmentSettings, seed: int) -> None:
        self._pictures = pictures
        self._settings = settings
        self._seed = seed
        self._mixup = settings.mixup or 0.0
        self._scratch = threading.local()

    def make(self, out: NDArray[np.uint8], epoch: int, place: int, index: int) -> Truth:
        """Make a picture.

        Args:
            out: Where to put it, uint8, shape (height, width, 3).
            epoch: Counted from 0.
            place: Of the picture in the epoch, counted from 0.
            index: The picture that it is made of, perhaps with others.

        Returns:
            What is to be found in it.

        Raises:
            VideoError: A picture cannot be read.
        """
        random = np.random.default_rng([self._seed, PICTURE_STREAM, epoch, place])
        if random.random() < self._settings.mosaic:
            layer = self._mosaic(random, index, out)
        else:
            layer = self._single(index, out)
        truth = self._draw(random, layer, out)
        if random.random() < self._mixup:
            truth = self._lay_over(random, out, truth)
        self._recolour(random, out)
        return truth

    def _buffer(self, name: str, height: int, width: int) -> NDArray[np.uint8]:
        """Memory of this thread; fresh memory for every picture would cost more than the work."""
        flat: NDArray[np.uint8] | None = getattr(self._scratch, name, None)
        size = height * width * 3
        if flat is None or flat.size < size:
            flat = np.empty(size, np.uint8)
            setattr(self._scratch, name, flat)
        return flat[:size].reshape(height, width, 3)

    def _zoom(self, out: NDArray[np.uint8]) -> float:
        """Of the output to the size that pictures are kept at."""
        letterbox = self._pictures.letterbox
        return float(min(out.shape[0] / letterbox.height, out.shape[1] / letterbox.width))

    def _single(self, index: int, out: NDArray[np.uint8]) -> _Layer:
        index, image = self._pictures.load(index)
        middle = np.array([image.shape[1], image.shape[0]]) / 2.0
        return _Layer(image, self._pictures.truth(index), middle, middle * self._zoom(out))

    def _mosaic(self, random: np.random.Generator, index: int, out: NDArray[np.uint8]) -> _Layer:
        """Four pictures that meet in a point; half a picture around it may be the output's middle.

        They stand whole on a canvas that is just large enough, so that a box ends at the edge of
        its picture or of the output and nowhere else.
        """
        others = random.integers(len(self._pictures), size=3).tolist()
        loaded = [self._pictures.load(number) for number in (index, *others)]
        images = [image for _, image in loaded]
        left, right = (max(images[n].shape[1], images[n + 2].shape[1]) for n in (0, 1))
        above, below = (max(images[n].shape[0], images[n + 1].shape[0]) for n in (0, 2))
        canvas = self._buffer("canvas", above + below, left + right)
        if sum(image.size for image in images) < canvas.size:
            canvas[:] = PAD
        parts = []
        for number, (which, image) in enumerate(loaded):
            height, width = image.shape[:2]
            x = left if number % 2 else left - width
            y = above if number >= 2 else above - height
            canvas[y : y + height, x : x + width] = image
            parts.append(self._pictures.truth(which).moved(x, y))
        shift = random.uniform(-0.25, 0.25, 2) * (left + right, above + below)
        goal = np.array([out.shape[1], out.shape[0]]) / 2.0
        return _Layer(canvas, Truth.joined(parts), np.array([left, above]) + shift, goal)

    def _draw(self, random: np.random.Generator, layer: _Layer, out: NDArray[np.uint8]) -> Truth:
        """Turn, zoom, shear, move and mirror a layer, all in one step."""
        s = self._settings
        height, width = out.shape[:2]
        turn = math.radians(random.uniform(-s.degrees, s.degrees))
        zoom = random.uniform(*s.scale) * self._zoom(out)
        shear = np.tan(np.radians(random.uniform(-s.shear, s.shear, 2)))
        move = random.uniform(-s.translate, s.translate, 2) * (width, height)
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        matrix = zoom * rotation @ np.array([[1.0, shear[0]], [shear[1], 1.0]])
        offset = layer.goal + move - matrix @ layer.middle
        if random.random() < s.flip:
            matrix[0] *= -1
            offset[0] = 2 * layer.goal[0] - offset[0]
        return self._warp(layer, Affine(matrix, offset), out)

    def _lay_over(self, random: np.random.Generator, out: NDArray[np.uint8], truth: Truth) -> Truth:
        """Mixup: half of this picture and half of another one, which is somewhere in it."""
        s = self._settings
        size = np.array([out.shape[1], out.shape[0]])
        layer = self._single(int(random.integers(len(self._pictures))), out)
        zoom = random.uniform(*s.mixup_scale) * self._zoom(out)
        room = size - 2 * zoom * layer.middle
        offset = random.random(2) * room
        matrix = np.diag([zoom, zoom])
        if random.random() < s.flip:
            matrix[0] *= -1
            offset[0] += 2 * zoom * layer.middle[0]
        other = self._buffer("other", *out.shape[:2])
        added = self._warp(layer, Affine(matrix, offset), other)
        cv2.addWeighted(out, 0.5, other, 0.5, 0, dst=out)
        return Truth.joined([truth, added])

    def _warp(self, layer: _Layer, affine: Affine, out: NDArray[np.uint8]) -> Truth:
        height, width = out.shape[:2]
        fits = layer.image.shape[0] <= height and layer.image.shape[1] <= width
        if fits and affine.is_identity():
            paste(out, layer.image)
        else:
            cv2.warpAffine(
                layer.image,
                affine.for_pixel_centres(),
                (width, height),
                dst=out,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(PAD, PAD, PAD),
            )
        return carry(layer.truth, affine, width, height, self._pictures.samples.limits)

    def _recolour(self, random: np.random.Generator, out: NDArray[np.uint8]) -> None:
        """Change hue, saturation and brightness; grey stays grey."""
        s = self._settings
        hue, saturation, brightness = random.uniform(-1, 1, 3) * (s.hue, s.saturation, s.brightness)
        if not (hue or saturation or brightness):
            return
        before = self._buffer("colours", *out.shape[:2])
        before[:] = out
        cv2.transform(before, colour_matrix(hue, 1 + saturation, 1 + brightness), dst=out)


def colour_matrix(hue: float, saturation: float, brightness: float) -> NDArray[np.float64]:
    """What to multiply (blue, green, red) with; one pass, where a way over HSV takes three.

    Args:
        hue: Turn about the grey axis, as a share of the colour wheel.
        saturation: Factor of the distance to the grey of the same luma (Rec. 601).
        brightness: Factor.

    Returns:
        Shape (3, 3).
    """
    cos, sin = math.cos(hue * 2 * math.pi), math.sin(hue * 2 * math.pi)
    # Rodrigues' formula about (1, 1, 1) / √3.
    turn = cos * np.eye(3) + (1 - cos) / 3 + sin / math.sqrt(3) * _CROSS
    fade = saturation * np.eye(3) + (1 - saturation) * _LUMA
    return np.asarray(brightness * fade @ turn)
