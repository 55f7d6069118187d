"""From the numbers of a YOLOX head to boxes.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021". The head answers, for every cell of
every stride, a row of centre x, centre y, width, height, objectness and one score per class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from motrail.boxes import cxcywh_to_xyxy, overlapping_pairs
from motrail.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# More candidates than this have no place in one picture; the weakest are dropped.
MAX_CANDIDATES = 2000


class Grid:
    """The cells of a YOLOX head for one input size.

    Args:
        height: Height of the input in pixels.
        width: Width of the input in pixels.
        strides: Pixels per cell of each level.
    """

    def __init__(self, height: int, width: int, strides: Sequence[int]) -> None:
        corners, sizes = [], []
        for stride in strides:
            rows, columns = np.mgrid[: height // stride, : width // stride]
            corners.append(np.stack((columns.ravel(), rows.ravel()), axis=1))
            sizes.append(np.full(rows.size, stride))
        self.corners = np.concatenate(corners).astype(np.float32)
        self.strides = np.concatenate(sizes).astype(np.float32)[:, None]

    def __len__(self) -> int:
        return len(self.corners)

    def boxes_xyxy(
        self, rows: NDArray[np.float32], cells: NDArray[np.intp], *, decoded: bool
    ) -> NDArray[np.float32]:
        """Boxes in pixels of the input.

        Args:
            rows: Centre and size as the network gives them, shape (n, 4).
            cells: Index of the cell of each row, shape (n,).
            decoded: Whether the network has turned them into pixels itself.
        """
        if decoded:
            return cxcywh_to_xyxy(rows)
        stride = self.strides[cells]
        centre = (rows[:, :2] + self.corners[cells]) * stride
        with np.errstate(over="ignore"):  # a size beyond all measure is caught as not finite
            size = np.exp(rows[:, 2:]) * stride
        return cxcywh_to_xyxy(np.concatenate((centre, size), axis=1))


def decode(
    output: NDArray[np.float32],
    grid: Grid,
    *,
    decoded: bool,
    score_threshold: float,
    nms_threshold: float,
    allowed_classes: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """One picture's output, shape (cells, 5 + classes), as boxes after suppression.

    Args:
        output: What the network gave.
        grid: Its cells.
        decoded: Whether boxes are in pixels already.
        score_threshold: Lowest score, objectness times class score, that is kept.
        nms_threshold: Of two boxes of one class with a larger IoU only the better one stays.
        allowed_classes: Which classes are wanted, shape (classes,); None for all.

    Returns:
        Boxes ``xyxy`` in pixels of the input (n, 4), scores (n,), class ids (n,); best first.

    Raises:
        ModelError: The output holds NaN or infinite numbers.
    """
    if not np.isfinite(output).all():
        raise ModelError("the network answered with NaN or infinite numbers")
    # Class scores are at most 1, so objectness alone rules most cells out.
    cells = (output[:, 4] >= score_threshold).nonzero()[0]
    rows = output[cells]
    class_scores = rows[:, 5:]
    class_ids = class_scores.argmax(axis=1)
    scores = rows[:, 4] * class_scores[np.arange(len(rows)), class_ids]
    wanted = scores >= score_threshold
    if allowed_classes is not None:
        wanted &= allowed_classes[class_ids]
    order = np.argsort(-scores[wanted], kind="stable")[:MAX_CANDIDATES]
    picked = wanted.nonzero()[0][order]
    boxes = grid.boxes_xyxy(rows[picked, :4], cells[picked], decoded=decoded)
    if not np.isfinite(boxes).all():
        raise ModelError("the network answered with boxes of infinite size")
    scores, class_ids = scores[picked], class_ids[picked]
    kept = non_maximum_suppression(boxes, class_ids, nms_threshold)
    return boxes[kept], scores[kept], class_ids[kept]


def non_maximum_suppression(
    boxes_xyxy: NDArray[np.float32], class_ids: NDArray[np.int64], threshold: float
) -> NDArray[np.bool_]:
    """Which boxes stay when every box removes the weaker ones of its class that overlap it.

    Args:
        boxes_xyxy: Shape (n, 4), best first.
        class_ids: Shape (n,).
        threshold: Boxes overlap when their IoU is larger than this.

    Returns:
        Mask of shape (n,).
    """
    columns = np.empty((5, len(boxes_xyxy)))
    columns[:4] = boxes_xyxy.T
    columns[4] = (columns[2] - columns[0]) * (columns[3] - columns[1])
    better, worse, iou = overlapping_pairs(columns, columns, min_iou=threshold)
    removes = (iou > threshold) & (better < worse) & (class_ids[better] == class_ids[worse])
    better, worse = better[removes], worse[removes]
    stays: NDArray[np.bool_] = np.ones(len(boxes_xyxy), np.bool_)
    # Only a box that stays removes others. The best is settled from the start, and each round
    # settles at least one more, most of the time all of them.
    while True:
        settled: NDArray[np.bool_] = np.ones(len(boxes_xyxy), np.bool_)
        settled[worse[stays[better]]] = False
        if np.array_equal(settled, stays):
            return stays
        stays = settled


def is_decoded(
    output: NDArray[np.float32],
    grid: Grid,
    classes: int,
    *,
    told: Literal["yolox-raw", "yolox-decoded"] | None = None,
) -> bool:
    """Tell boxes in pixels from boxes in cells, by what the network answered to any picture.

    In pixels, the centres follow the cells over the picture; in cells they stay about their own
    cell and do not.

    Args:
        output: What the network gave, shape (cells, 5 + classes).
        grid: Its cells.
        classes: How many the network is to know.
        told: What `model.json` says; it decides where boxes lie anywhere, as those of a network do
            that was hardly trained.

    Raises:
        ModelError: The output is that of another kind of network.
    """
    expected = (len(grid), 5 + classes)
    if output.shape != expected:
        raise ModelError(
            f"expected the output of a YOLOX network, {expected[0]} cells × {expected[1]} numbers "
            f"(box, objectness, {classes} classes), found shape {output.shape}"
        )
    if not np.isfinite(output).all():
        raise ModelError("the network answered with NaN or infinite numbers")
    odds = output[:, 4:]
    if odds.min() < 0 or odds.max() > 1:
        raise ModelError(
            "expected objectness and class scores between 0 and 1, "
            f"found {odds.min():.3g} to {odds.max():.3g}; export the network with its sigmoid"
        )
    pixels = (grid.corners + 0.5) * grid.strides
    away_if_decoded = np.abs(output[:, :2] - pixels) / grid.strides
    away_if_raw = np.abs(output[:, :2] - 0.5)
    near_decoded = float(np.median(away_if_decoded))
    near_raw = float(np.median(away_if_raw))
    if min(near_decoded, near_raw) > 8:
        if told is not None:
            return told == "yolox-decoded"
        raise ModelError(
            "the boxes lie neither about their cells in pixels nor in cells; "
            "expected the output of a YOLOX network"
        )
    return near_decoded < near_raw
