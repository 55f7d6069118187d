"""Fill in the frames between keyframes, as labelling tools show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_FILLED = 4_000_000
"""Boxes that are filled in for one sequence at most: an hour at 30 frames a second with 37 objects
in every frame. More comes from a broken or hostile file, and would fill the memory."""


class Filled(NamedTuple):
    """A track's boxes in every frame of its spans.

    Attributes:
        frames: int64, shape (n,), ascending.
        boxes_xywh: float64, shape (n, 4).
        source: Row of the keyframe that the box is or comes after, int64, shape (n,).
        keyframe: Whether the box is that keyframe itself, bool, shape (n,).
    """

    frames: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    source: NDArray[np.int64]
    keyframe: NDArray[np.bool_]


def count_filled(frames: NDArray[np.int64], goes_on: NDArray[np.bool_], end: int) -> int:
    """How many boxes `fill` would make at most; to be asked before."""
    following = np.append(frames[1:], end + 1)
    return int(np.where(goes_on, np.maximum(following - frames, 1), 1).sum())


def fill(
    frames: NDArray[np.int64],
    boxes_xywh: NDArray[np.float64],
    shown: NDArray[np.bool_],
    goes_on: NDArray[np.bool_],
    end: int,
) -> Filled:
    """Fill one track in between its keyframes, linearly in left, top, width and height.

    Args:
        frames: Frames of the keyframes, strictly ascending, int64, shape (n,), n at least 1.
        boxes_xywh: Their boxes, float64, shape (n, 4).
        shown: Whether the object is there in the keyframe itself, bool, shape (n,).
        goes_on: Whether it is there in the frames after it, up to the next keyframe, bool,
            shape (n,).
        end: Where the last keyframe goes on, the box stands still up to this frame.

    Returns:
        The boxes of every frame in which the object is there.
    """
    following = np.append(frames[1:], max(end + 1, int(frames[-1]) + 1))
    counts = np.where(goes_on, following - frames, 1)
    source = np.repeat(np.arange(len(frames)), counts)
    offset = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = shown[source] | (offset > 0)
    source, offset = source[keep], offset[keep]
    step = np.diff(boxes_xywh, axis=0, append=boxes_xywh[-1:])
    share = (offset / (following - frames)[source])[:, None]
    return Filled(
        frames=frames[source] + offset,
        boxes_xywh=boxes_xywh[source] + share * step[source],
        source=source,
        keyframe=offset == 0,
    )
