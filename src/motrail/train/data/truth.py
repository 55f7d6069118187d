"""What is to be found in a picture, and where it is after the picture was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.config.training import BoxLimits


class Truth(NamedTuple):
    """The objects of one picture.

    Attributes:
        boxes_xyxy: Left, top, right, bottom in pixels of the picture, float32, shape (n, 4).
        class_ids: Counted from 0, int64, shape (n,).
        ignore_xyxy: Regions where finding something is neither right nor wrong, float32,
            shape (k, 4).
    """

    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignore_xyxy: NDArray[np.float32]

    def moved(self, right: int, down: int) -> Truth:
        """The same in a larger picture that this one was put into."""
        by = np.array([right, down, right, down], np.float32)
        return Truth(self.boxes_xyxy + by, self.class_ids, self.ignore_xyxy + by)

    @classmethod
    def joined(cls, parts: Sequence[Truth]) -> Truth:
        """Several, at least one, as one."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Affine(NamedTuple):
    """A point p becomes `matrix` · p + `offset`.

    Pixels are squares here: the first one reaches from 0 to 1, its middle is at 0.5.

    Attributes:
        matrix: float64, shape (2, 2).
        offset: In pixels, float64, shape (2,).
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def is_identity(self) -> bool:
        """Whether every point stays where it is."""
        return bool((self.matrix == np.eye(2)).all() and (self.offset == 0).all())

    def for_pixel_centres(self) -> NDArray[np.float64]:
        """As OpenCV wants it, for which the middle of the first pixel is at 0; shape (2, 3)."""
        half = np.full(2, 0.5)
        shifted = self.matrix @ half + self.offset - half
        return np.hstack([self.matrix, shifted[:, None]])


def carry(truth: Truth, affine: Affine, width: int, height: int, limits: BoxLimits) -> Truth:
    """The truth of a picture after it was changed and cut to a size.

    A box becomes the upright box around where its corners went, cut at the edges. Where too little
    of it is left to be an object, what is left is to be ignored.

    Args:
        truth: Before.
        affine: What was done.
        width: Of the new picture, in pixels.
        height: The same.
        limits: What too little is.
    """
    boxes, whole = _carried(truth.boxes_xyxy, affine, width, height)
    sides = boxes[:, 2:] - boxes[:, :2]
    there = (sides > 0).all(axis=1)
    good = there & (sides.min(axis=1, initial=np.inf) >= limits.min_pixels)
    good &= sides.prod(axis=1) >= limits.min_share * whole
    ignore, _ = _carried(truth.ignore_xyxy, affine, width, height)
    ignore = ignore[(ignore[:, 2:] > ignore[:, :2]).all(axis=1)]
    if not (good | ~there).all():
        ignore = np.concatenate([ignore, boxes[there & ~good]])
    return Truth(boxes[good], truth.class_ids[good], ignore)


def _carried(
    boxes_xyxy: NDArray[np.float32], affine: Affine, width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Boxes cut at the edges, and their areas before that."""
    middle = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2.0
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2.0
    middle = middle @ affine.matrix.T + affine.offset
    half = half @ np.abs(affine.matrix).T
    carried = np.hstack([middle - half, middle + half])
    np.clip(carried, 0, [width, height] * 2, out=carried)
    return carried.astype(np.float32), 4.0 * half.prod(axis=1)
