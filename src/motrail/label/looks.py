"""What an object looks like: a small grey picture and its colours, to find it again by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "label", _error) from _error

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE = (24, 40)
"""Width and height of the small picture."""
_SCALES = (1.0, 0.97, 1.03)
_BETTER = 0.01
_BINS = 8
_LEARN = 0.1
_FLAT = 2.0
"""Standard deviation in levels below which a picture shows nothing."""


class Sighting(NamedTuple):
    """Where an object was found again.

    Attributes:
        box_xyxy: float64, shape (4,).
        likeness: Normalised cross-correlation, -1 to 1.
    """

    box_xyxy: NDArray[np.float64]
    likeness: float


class Looks:
    """How an object looked when it was last seen well.

    Args:
        image: BGR, uint8, shape (height, width, 3).
        grey: The same in grey, shape (height, width).
        box_xyxy: Where it is, float64, shape (4,).
    """

    def __init__(
        self, image: NDArray[np.uint8], grey: NDArray[np.uint8], box_xyxy: NDArray[np.float64]
    ) -> None:
        self._picture = _small(grey, box_xyxy, 0).astype(np.float32)
        self.colours = colours(image, box_xyxy)

    def find(
        self, grey: NDArray[np.uint8], box_xyxy: NDArray[np.float64], reach: float
    ) -> Sighting:
        """Look for the object around a box, up to `reach` times its size away."""
        template = np.rint(self._picture).clip(0, 255).astype(np.uint8)
        best = Sighting(box_xyxy, -1.0)
        if template.std() < _FLAT:  # any place is like it
            return best
        centre, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, (box_xyxy[2:] - box_xyxy[:2]) / 2
        for scale in _SCALES:
            box = np.concatenate([centre - half * scale, centre + half * scale])
            place = _small(grey, box, reach)
            likenesses = cv2.matchTemplate(place, template, cv2.TM_CCOEFF_NORMED)
            answer = np.asarray(likenesses, np.float32)
            _, likeness, _, (x, y) = cv2.minMaxLoc(answer)
            if not likeness <= 1.001 or likeness <= best.likeness + _BETTER:
                continue
            offset = np.array([_peak(answer, x, y, 1), _peak(answer, x, y, 0)])
            middle = (np.array(answer.shape[::-1]) - 1) / 2
            shift = (offset - middle) / _SIZE * (box[2:] - box[:2])
            best = Sighting(box + np.tile(shift, 2), float(likeness))
        return best

    def learn(
        self,
        image: NDArray[np.uint8],
        grey: NDArray[np.uint8],
        box_xyxy: NDArray[np.float64],
    ) -> None:
        """Take a new sighting into account, slowly."""
        self._picture += _LEARN * (_small(grey, box_xyxy, 0) - self._picture)
        self.colours = self.colours + _LEARN * (colours(image, box_xyxy) - self.colours)


def colours(image: NDArray[np.uint8], box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of colours in the middle of a box, upper and lower half apart; sums to 1."""
    width, height = _SIZE
    part = _cut(image, box_xyxy, 0)[:, width // 5 : -(width // 5)]
    level = (part // (256 // 4)).astype(np.int64)
    codes = (level[..., 0] * 4 + level[..., 1]) * 4 + level[..., 2]
    halves = (np.arange(height) >= height // 2).astype(np.int64)[:, None] * 64
    counts = np.bincount((codes + halves).ravel(), minlength=128)
    return np.asarray(counts / counts.sum())


def alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How alike two sets of colours are, 0 to 1: the Bhattacharyya coefficient."""
    return float(np.sqrt(one.clip(0) * other.clip(0)).sum())


def _cut(
    image: NDArray[np.uint8], box_xyxy: NDArray[np.float64], reach: float
) -> NDArray[np.uint8]:
    left, top, right, bottom = box_xyxy.tolist()
    across, down = _SIZE
    size = (across + 2 * round(reach * across), down + 2 * round(reach * down))
    x_scale, y_scale = max(right - left, 1) / across, max(bottom - top, 1) / down
    matrix = np.array(
        [
            [x_scale, 0, left + (0.5 - (size[0] - across) / 2) * x_scale - 0.5],
            [0, y_scale, top + (0.5 - (size[1] - down) / 2) * y_scale - 0.5],
        ]
    )
    found = cv2.warpAffine(
        image,
        matrix,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, np.uint8)


_small = _cut


def _peak(answer: NDArray[np.float32], x: int, y: int, axis: int) -> float:
    """Where a parabola through a maximum and its neighbours has its top."""
    at = (x, y)[1 - axis]
    line = answer[y] if axis else answer[:, x]
    if not 0 < at < len(line) - 1:
        return float(at)
    before, here, after = line[at - 1 : at + 2].tolist()
    bend = before - 2 * here + after
    return float(at + (0.5 * (before - after) / bend if bend < 0 else 0))
