"""SimOTA: which anchors are to find which object.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), section 2.1, after
Ge et al., "OTA: Optimal Transport Assignment for Object Detection". As in the authors' code today
only anchors close to the middle of an object are considered (not all within its box), and the
classes' share of the cost is taken from the square root of class score times objectness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from motrail.train.network import STRIDES, Anchors

if TYPE_CHECKING:
    from motrail.train.targets import Targets

RADIUS = 1.5  # in cells: how far from an object's middle an anchor is considered
IOU_WEIGHT = 3.0
FAR = 1e6  # cost of an anchor that is close to some other object only
TOP = 10  # so many of the best overlaps decide how many anchors an object gets

# Pairs of object and anchor that are weighed at a time: some 250 MB of scratch memory.
PAIRS = 1 << 22
# A box is at most e^20 cells wide: larger than any picture, and its area is still a number.
MAX_LOG_SIZE = 20.0


class Assignment(NamedTuple):
    """The anchors that are to find something, ordered by picture and anchor; f of them.

    Attributes:
        pictures: Index in the batch, int64, shape (f,).
        anchors: Index among the anchors of the picture, int64, shape (f,).
        objects: Which object it is to find: index in `Targets.boxes[picture]`, int64, shape (f,).
        ious: Overlap of that object with what the anchor says now, float32, shape (f,).
    """

    pictures: Tensor
    anchors: Tensor
    objects: Tensor
    ious: Tensor


def decode_boxes(raw: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """Raw numbers of anchors → centre x, y, width, height in pixels of the input.

    Args:
        raw: What the network says: offset x, y and logarithm of width, height; shape (…, 4).
        corners: Column and row of the cells, shape (…, 2).
        strides: Size of the cells in pixels, shape (…).
    """
    size = raw[..., 2:4].clamp(max=MAX_LOG_SIZE).exp()
    return torch.cat((raw[..., :2] + corners, size), dim=-1) * strides[..., None]


def iou_cxcywh(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (…, 4), centre and size; 0 where both are empty."""
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    sides = (high - low).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - shared
    return shared / (union + 1e-16)


@torch.no_grad()
def assign(
    raw: Tensor, targets: Targets, anchors: Anchors, height: int, width: int, *, pairs: int = PAIRS
) -> Assignment:
    """Give every object the anchors that are to find it.

    An object gets as many anchors as its best overlaps sum up to, at least one; those that cost
    least. An anchor that several objects want goes to the one it costs least for.

    Args:
        raw: Answer of the network, shape (b, a, 5 + classes); of any floating type.
        targets: The truth.
        anchors: Those of the input's size.
        height: Of the input in pixels.
        width: Of the input in pixels.
        pairs: Pairs of object and anchor to weigh at a time; pictures are taken together as far as
            this goes, one at least. The answer does not depend on it.
    """
    real = targets.class_ids >= 0
    count = int(real.any(dim=0).nonzero().max()) + 1 if bool(real.any()) else 0
    boxes, real = targets.boxes[:, :count].float(), real[:, :count]
    classes = targets.class_ids[:, :count].clamp(min=0)
    table, there = _candidates(boxes, real, height, width)
    step = max(pairs // max(count * table.shape[1], 1), 1)
    parts = []
    for start in range(0, len(boxes), step):
        part = slice(start, start + step)
        cells = table[part]
        pictures = torch.arange(len(cells), device=raw.device)[:, None]
        rows = raw[part][pictures, cells].float()
        near = Anchors(anchors.corners[cells], anchors.strides[cells])
        found = _match(rows, near, there[part], boxes[part], classes[part], real[part])
        picture, column, objects, ious = found
        parts.append(Assignment(picture + start, cells[picture, column], objects, ious))
    return Assignment(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _candidates(boxes: Tensor, real: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The anchors of each picture that are close to the middle of an object.

    Returns:
        Indices of anchors in rising order, shape (b, c), padded with 0; mask of those that count.
    """
    places, start = [], 0
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        # Within 1.5 cells there are at most 3 cells each way; so there is no need to ask all.
        around = torch.arange(-1, 2, device=boxes.device)
        cells = (boxes[..., :2] / stride).floor()[..., None] + around  # (b, t, 2, 3)
        inside = cells >= 0
        inside[:, :, 0] &= cells[:, :, 0] < columns
        inside[:, :, 1] &= cells[:, :, 1] < rows
        inside &= _close((cells + 0.5) * stride, boxes[..., :2, None], stride * RADIUS)
        x, y = cells[:, :, 0, None, :], cells[:, :, 1, :, None]
        wanted = inside[:, :, 0, None, :] & inside[:, :, 1, :, None] & real[:, :, None, None]
        place = torch.where(wanted, start + y * columns + x, -1)
        places.append(place.flatten(1).long())
        start += rows * columns
    # Those that do not count fall into a place of their own at the front, which is cut off.
    marked = torch.zeros(len(boxes), start + 1, dtype=torch.bool, device=boxes.device)
    marked.scatter_(1, torch.cat(places, dim=1) + 1, value=True)
    marked = marked[:, 1:]
    counts = marked.sum(dim=1)
    picture, anchor = marked.nonzero(as_tuple=True)
    column = (marked.cumsum(dim=1) - 1)[picture, anchor]
    table = anchor.new_zeros(len(boxes), int(counts.max()))
    table[picture, column] = anchor
    return table, torch.arange(table.shape[1], device=boxes.device) < counts[:, None]


def _close(points: Tensor, middles: Tensor, distance: Tensor | float) -> Tensor:
    return (points > middles - distance) & (points < middles + distance)


def _match(
    rows: Tensor, near: Anchors, there: Tensor, boxes: Tensor, classes: Tensor, real: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """SimOTA for some pictures.

    Args:
        rows: What the c candidates of each picture say, shape (b, c, 5 + classes).
        near: Their cells: corners (b, c, 2) and strides (b, c).
        there: Which of them count, shape (b, c).
        boxes: Objects, shape (b, t, 4).
        classes: Their classes, shape (b, t).
        real: Which of them count, shape (b, t).

    Returns:
        Picture, candidate, object and overlap of each match, shapes (f,).
    """
    if not rows.shape[1]:
        nothing = classes.new_zeros(0)
        return nothing, nothing, nothing, boxes.new_zeros(0)
    counts = real[:, :, None] & there[:, None, :]
    said = decode_boxes(rows[..., :4], near.corners, near.strides)
    ious = iou_cxcywh(boxes[:, :, None], said[:, None]).where(counts, 0)
    cost = _class_cost(rows[..., 4:], classes) - IOU_WEIGHT * (ious + 1e-8).log()
    centres = (near.corners + 0.5) * near.strides[..., None]
    distance = near.strides[:, None, :, None] * RADIUS
    close = _close(centres[:, None], boxes[:, :, None, :2], distance).all(dim=-1)
    cost = (cost + FAR * ~close).where(counts, torch.inf)
    top = min(TOP, cost.shape[2])
    wanted = ious.topk(top, dim=2).values.sum(dim=2).int().clamp(min=1)
    best = cost.topk(top, dim=2, largest=False)
    taken = torch.arange(top, device=cost.device) < wanted[..., None]
    taken &= best.values.isfinite()
    # Claims on a candidate; those that do not count go to a place of their own at the end.
    place = best.indices.where(taken, cost.shape[2]).flatten(1)
    claims = classes.new_zeros(len(rows), cost.shape[2] + 1)
    claims.scatter_add_(1, place, torch.ones_like(place))
    claimant = torch.arange(cost.shape[1], device=cost.device)[:, None].expand(-1, top)
    owner = torch.zeros_like(claims)
    owner.scatter_(1, place, claimant.flatten().expand(len(rows), -1))
    owner = owner[:, :-1].where(claims[:, :-1] <= 1, cost.argmin(dim=1))
    picture, candidate = (claims[:, :-1] > 0).nonzero(as_tuple=True)
    objects = owner[picture, candidate]
    return picture, candidate, objects, ious[picture, objects, candidate]


def _class_cost(logits: Tensor, classes: Tensor) -> Tensor:
    """Binary cross entropy between an object's class and what candidates say.

    Args:
        logits: Objectness and classes of the candidates, shape (b, c, 1 + classes).
        classes: Of the objects, shape (b, t).

    Returns:
        Summed over the classes, shape (b, t, c).
    """
    scores = logits.sigmoid()
    scores = (scores[..., 1:] * scores[..., :1]).sqrt()
    # Logarithms are cut at −100, as in PyTorch's own cross entropy.
    miss = -(-scores).log1p().clamp(min=-100)
    hit = -scores.log().clamp(min=-100)
    # All classes are wrong but one; so there is no need for a table of object × anchor × class.
    index = classes[:, :, None].expand(-1, -1, scores.shape[1])
    change = (hit - miss).transpose(1, 2).gather(1, index)
    return miss.sum(dim=-1)[:, None] + change
