"""What a YOLOX network is to make small.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), with the weights and
the normalisation of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from motrail.errors import DataError
from motrail.train.assign import Assignment, assign, decode_boxes, iou_cxcywh
from motrail.train.network import Anchors, make_anchors

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.train.targets import Targets

BOX_WEIGHT = 5.0
# Pairs of ignore region and anchor that are looked at together.
_PAIRS = 1 << 24


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch, scalars of float32.

    Attributes:
        total: Sum of the four; the only one with a gradient.
        iou: Five times 1 − IoU² of the boxes.
        objectness: Binary cross entropy of "there is something", over all anchors that count.
        classes: Binary cross entropy of the classes; the right one is to reach the IoU.
        l1: Difference of the boxes' raw numbers; 0 where it is not asked for.
        foreground: Anchors that are to find something, per object; not a part of the total.
    """

    total: Tensor
    iou: Tensor
    objectness: Tensor
    classes: Tensor
    l1: Tensor
    foreground: Tensor


def yolox_loss(
    raw: Tensor,
    targets: Targets,
    height: int,
    width: int,
    *,
    use_l1: bool,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> Losses:
    """Losses of a batch, summed over anchors and divided by the number of foreground anchors.

    An anchor takes no part in the objectness loss when it is to find nothing and its cell's middle
    lies in an ignore region. The cell decides and not the box that the anchor says: where it lies
    does not depend on how good the network is by now, and an anchor far away is not excused for
    pointing into the region.

    Computed in float32, whatever the type of `raw` and under autocast too. Finite numbers as they
    come from a network give finite losses and gradients, also for batches without any object.

    Args:
        raw: Answer of the network, shape (b, a, 5 + classes).
        targets: The truth, on the same device.
        height: Of the input in pixels.
        width: Of the input in pixels.
        use_l1: Whether the L1 loss counts; for the last epochs, without augmentation.
        reduce: Averages the number of foreground anchors over the processes that train together,
            a float32 scalar in and out; None where there is one process only.

    Raises:
        DataError: The answer does not fit the size of the input, or the targets do not fit it.
    """
    _check(raw, targets, height, width)
    with torch.autocast(raw.device.type, enabled=False):
        anchors = make_anchors(height, width, raw.device)
        matches = assign(raw, targets, anchors, height, width)
        found = raw.new_tensor(len(matches.anchors), dtype=torch.float32)
        divisor = (found if reduce is None else reduce(found)).clamp(min=1)
        rows = raw[matches.pictures, matches.anchors].float()
        boxes = targets.boxes[matches.pictures, matches.objects].float()
        near = Anchors(anchors.corners[matches.anchors], anchors.strides[matches.anchors])
        said = decode_boxes(rows[:, :4], near.corners, near.strides)
        iou = BOX_WEIGHT * (1 - iou_cxcywh(said, boxes).square()).sum() / divisor
        objectness = _objectness(raw[..., 4], matches, targets.ignore, anchors) / divisor
        class_ids = targets.class_ids[matches.pictures, matches.objects]
        classes = _classes(rows[:, 5:], class_ids, matches.ious) / divisor
        l1 = _l1(rows[:, :4], boxes, near) / divisor if use_l1 else torch.zeros_like(iou)
        total = iou + objectness + classes + l1
        objects = (targets.class_ids >= 0).sum().clamp(min=1)
    parts = (iou, objectness, classes, l1, found / objects)
    return Losses(total, *(part.detach() for part in parts))


def _check(raw: Tensor, targets: Targets, height: int, width: int) -> None:
    cells = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    if raw.ndim != 3 or raw.shape[1] != cells or raw.shape[2] < 6:
        raise DataError(
            f"raw: expected shape (batch, {cells}, 5 + classes) for an input of "
            f"{height} × {width}, found {tuple(raw.shape)}"
        )
    count = raw.shape[2] - 5
    shapes = (targets.boxes.shape, targets.class_ids.shape, targets.ignore.shape)
    objects, regions = targets.class_ids.shape[-1], targets.ignore.shape[1]
    batch = len(raw)
    if shapes != ((batch, objects, 4), (batch, objects), (batch, regions, 4)):
        raise DataError(
            f"targets: expected boxes ({batch}, t, 4), class ids ({batch}, t) and regions "
            f"({batch}, k, 4), found {', '.join(str(tuple(shape)) for shape in shapes)}"
        )
    if objects and int(targets.class_ids.max()) >= count:
        raise DataError(
            f"targets: expected class ids below {count}, found {int(targets.class_ids.max())}"
        )


def _objectness(logits: Tensor, matches: Assignment, ignore: Tensor, anchors: Anchors) -> Tensor:
    """Summed over the anchors that count.

    Args:
        logits: Shape (b, a).
        matches: Which anchors are to find something.
        ignore: Regions, shape (b, k, 4).
        anchors: The a anchors.
    """
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    weights = (~_inside(anchors.centres, ignore)).float() if ignore.shape[1] else None
    wanted[matches.pictures, matches.anchors] = 1
    if weights is not None:
        weights[matches.pictures, matches.anchors] = 1
    return functional.binary_cross_entropy_with_logits(
        logits.float(), wanted, weights, reduction="sum"
    )


def _inside(points: Tensor, regions: Tensor) -> Tensor:
    """Which of the points (a, 2) lie in a region of each picture (b, k, 4); shape (b, a)."""
    step = max(_PAIRS // (len(points) * regions.shape[1]), 1)
    parts = []
    for some in torch.split(regions, step):
        low, high = some[:, :, None, :2], some[:, :, None, 2:]
        inside = (points >= low) & (points < high)
        parts.append(inside.all(dim=-1).any(dim=1))
    return torch.cat(parts)


def _classes(logits: Tensor, class_ids: Tensor, ious: Tensor) -> Tensor:
    wanted = torch.zeros_like(logits).scatter_(1, class_ids[:, None], ious[:, None])
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")


def _l1(raw: Tensor, boxes: Tensor, near: Anchors) -> Tensor:
    """Summed difference of raw numbers (f, 4) from those that would give the boxes (f, 4)."""
    cells = boxes / near.strides[:, None]
    wanted = torch.cat((cells[:, :2] - near.corners, (cells[:, 2:] + 1e-8).log()), dim=1)
    return functional.l1_loss(raw, wanted, reduction="sum")
