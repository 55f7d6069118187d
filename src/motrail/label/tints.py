"""The colours of objects, to tell whose a pixel is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How alike counts of colours are, 0 to 1: the Bhattacharyya coefficient of all bands."""
    first, second = one.sum(axis=0), other.sum(axis=0)
    both = float(first.sum()) * float(second.sum())
    return float(np.sqrt(first * second).sum() / np.sqrt(both)) if both > 0 else 1.0


def colour_codes(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The colour of each pixel, one of 512, int64, shape (height, width)."""
    level = (picture >> 5).astype(np.int64)
    return np.asarray((level[..., 0] << 6) + (level[..., 1] << 3) + level[..., 2])


def _bands(here: NDArray[np.float64], height: int) -> NDArray[np.int64]:
    """The third of a box that each row of a patch is in, int64, shape (height,)."""
    share = (np.arange(height) + 0.5 - here[1]) / max(float(here[3] - here[1]), 1)
    return np.asarray((share * 3).clip(0, 2).astype(np.int64))


def count_colours(
    codes: NDArray[np.int64], mask: NDArray[np.bool_], here: NDArray[np.float64]
) -> NDArray[np.float32]:
    """How often each colour is in a box and a mask, by third of the height, shape (3, 512)."""
    inside = np.zeros_like(mask)
    inside[pixels(here)] = True
    inside &= mask
    rows = np.broadcast_to(_bands(here, len(codes))[:, None], codes.shape)[inside]
    counts = np.bincount(rows * 512 + codes[inside], minlength=3 * 512)
    return counts.reshape(3, 512).astype(np.float32)


def likely(
    codes: NDArray[np.int64], colours: NDArray[np.float32], here: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Logarithm of how likely each pixel is of an object with such colours, float32, (h, w)."""
    # Whatever the height, a third as much: arms and legs move.
    table = colours + colours.sum(axis=0) / 3
    table = np.log(table / np.maximum(table.sum(axis=1, keepdims=True), 1) + 0.003)
    return np.asarray(table[_bands(here, len(codes))[:, None], codes], np.float32)


def pixels(box: NDArray[np.float64]) -> tuple[slice, slice]:
    """Rows and columns of the pixels in a box, left, top, right, bottom; one at least."""
    left, top, right, bottom = np.maximum(np.rint(box), 0).astype(int).tolist()
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
