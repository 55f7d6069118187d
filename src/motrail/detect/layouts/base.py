"""What a layout is, and what all of them need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motrail.detect.decode import MAX_CANDIDATES, non_maximum_suppression
from motrail.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motrail.detect.bundle import ModelSpec

Floats = NDArray[np.float32]
Found = tuple[Floats, Floats, NDArray[np.int64]]
"""Boxes `xyxy` in pixels of the input (n, 4), scores (n,), class ids (n,); best first."""
Shapes = dict[str, tuple[int, ...]]
"""The shape of each output, by name, in the order of the file."""

_ROUNDING = 1e-3
"""How far a score may be beyond 0 and 1."""
_SHARES = 2.0
"""Up to here numbers are shares of a picture, beyond they are pixels."""
_STRIDES = (8, 16, 32)
_ANCHORS = 3


class Wanted(NamedTuple):
    """What is wanted of an answer.

    Attributes:
        score_threshold: Lowest score that is kept.
        nms_threshold: Of two boxes of one class with a larger IoU only the better one stays.
        allowed_classes: Which classes, shape (classes,); None for all.
    """

    score_threshold: float
    nms_threshold: float
    allowed_classes: NDArray[np.bool_] | None = None


class Cells(NamedTuple):
    """How many boxes the usual heads have for a size of the input."""

    yolox: int
    anchor_free: frozenset[int]
    anchors: frozenset[int]

    @classmethod
    def of(cls, height: int, width: int) -> Cells:
        """Those with three levels, with a coarser one besides, and with a finer one."""

        def count(*strides: int) -> int:
            return sum((height // stride) * (width // stride) for stride in strides)

        usual, coarse = count(*_STRIDES), count(*_STRIDES, 64)
        return cls(
            usual,
            frozenset({usual, coarse, count(4, *_STRIDES)}),
            frozenset({_ANCHORS * usual, _ANCHORS * coarse}),
        )


class Place(NamedTuple):
    """Where in the outputs a layout finds what it reads.

    Attributes:
        outputs: Names.
        classes: How many classes there are; None where the shapes do not say.
        likely: Whether the number of boxes is one that such a network has.
    """

    outputs: tuple[str, ...]
    classes: int | None
    likely: bool


class Layout(ABC):
    """One way to lay out an answer.

    Args:
        place: Where things are.
        spec: What the network is to be.

    Attributes:
        outputs: Names of the outputs that are read.
        expected: What shapes it has, for messages.
        preset: A preset for such networks.
    """

    expected: ClassVar[str]
    preset: ClassVar[str]

    def __init__(self, place: Place, spec: ModelSpec) -> None:
        self.outputs = place.outputs
        self.classes = len(spec.classes)
        self.height, self.width = spec.input.height, spec.input.width

    @staticmethod
    @abstractmethod
    def find(shapes: Shapes, cells: Cells) -> Place | None:
        """Where the outputs are; None where the shapes do not fit."""

    def check(self, answer: Sequence[NDArray[Any]]) -> None:
        """See that the answer to a grey picture is what it is to be.

        Raises:
            ModelError: It is not.
        """
        self.read(answer, Wanted(0.0, 1.0))

    @abstractmethod
    def read(self, answer: Sequence[NDArray[Any]], wanted: Wanted) -> Found:
        """What was found.

        Args:
            answer: The arrays of `outputs`.
            wanted: What to keep.

        Raises:
            ModelError: The answer holds NaN, infinite numbers or other nonsense.
        """


def single(shapes: Shapes, fits: Callable[[int, int], tuple[int, bool] | None]) -> Place | None:
    """The first likely output of shape (1, a, b) that fits, or else the first that fits."""
    found: list[Place] = []
    for name, shape in shapes.items():
        answer = fits(shape[1], shape[2]) if len(shape) == 3 and shape[0] == 1 else None
        if answer is not None and answer[0] >= 1:
            found.append(Place((name,), *answer))
    return next((place for place in found if place.likely), found[0] if found else None)


def finite(output: Floats) -> Floats:
    """The output as it is.

    Raises:
        ModelError: It holds NaN or infinite numbers.
    """
    if not np.isfinite(output).all():
        raise ModelError("the network answered with NaN or infinite numbers")
    return output


def check_scores(scores: Floats, what: str) -> None:
    """See that scores, called `what`, are between 0 and 1.

    Raises:
        ModelError: They are not.
    """
    if scores.size and (scores.min() < -_ROUNDING or scores.max() > 1 + _ROUNDING):
        raise ModelError(
            f"expected {what} between 0 and 1, found {scores.min():.3g} to {scores.max():.3g}; "
            "export the network with its sigmoid"
        )


def check_pixels(boxes: Floats) -> None:
    """See that the boxes that answer a grey picture are no shares of it.

    Raises:
        ModelError: They are.
    """
    largest = float(np.abs(boxes).max(initial=0))
    if 0 < largest <= _SHARES:
        raise ModelError(
            f"expected boxes in pixels of the input, found numbers up to {largest:.3g}, "
            "which are shares of it"
        )


def check_shares(boxes: Floats) -> None:
    """See that boxes are shares of the picture.

    Raises:
        ModelError: They are in pixels.
    """
    largest = float(np.abs(boxes).max(initial=0))
    if largest > _SHARES:
        raise ModelError(
            f"expected boxes as shares of the input, 0 to 1, found numbers up to {largest:.3g}"
        )


def kept_rows(scores: Floats, class_ids: NDArray[Any], wanted: Wanted) -> NDArray[np.intp]:
    """Rows to keep, the best first; a score of 0 is that of a row which fills up."""
    good = (scores >= wanted.score_threshold) & (scores > 0)
    if wanted.allowed_classes is not None:
        good &= wanted.allowed_classes[class_ids]
    order = np.argsort(-scores[good], kind="stable")[:MAX_CANDIDATES]
    kept: NDArray[np.intp] = good.nonzero()[0][order]
    return kept


def picked(
    boxes: Floats, scores: Floats, labels: NDArray[Any], classes: int, wanted: Wanted
) -> Found:
    """Objects that the network has chosen itself, the best first.

    Args:
        boxes: Corners in pixels of the input, shape (n, 4).
        scores: Shape (n,).
        labels: Classes counted from 0, whole numbers of any type, shape (n,).
        classes: How many there are.
        wanted: What to keep.

    Raises:
        ModelError: A score is not between 0 and 1, a class has no name, or a box is inside out.
    """
    check_scores(scores, "scores")
    unknown = (scores > 0) & ((labels < 0) | (labels >= classes))
    if unknown.any():
        raise ModelError(
            f"the network answered with class {int(labels[unknown][0])}, counted from 0, "
            f"but only {classes} are named"
        )
    class_ids = np.where(scores > 0, labels, 0).astype(np.int64)
    kept = kept_rows(scores, class_ids, wanted)
    return upright(boxes[kept]), scores[kept], class_ids[kept]


def without_doubles(
    boxes: Floats, scores: Floats, class_ids: NDArray[np.int64], wanted: Wanted
) -> Found:
    """What non-maximum suppression leaves of boxes, which come the best first."""
    kept = non_maximum_suppression(upright(boxes), class_ids, wanted.nms_threshold)
    return boxes[kept], scores[kept], class_ids[kept]


def upright(boxes_xyxy: Floats) -> Floats:
    """The boxes as they are.

    Raises:
        ModelError: One is inside out.
    """
    if (boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any():
        raise ModelError("the network answered with a box that is turned inside out")
    return boxes_xyxy
