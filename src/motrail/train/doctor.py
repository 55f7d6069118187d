"""What should be known before a night is spent on training."""

from __future__ import annotations

import contextlib
import copy
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch

from motrail.boxes import cxcywh_to_xyxy
from motrail.outputs import WholeFile, writing
from motrail.train import board
from motrail.train.assign import decode_boxes
from motrail.train.data.draw import draw_batch
from motrail.train.loss import yolox_loss
from motrail.train.network import make_anchors
from motrail.train.optimizer import make_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.config import TrainSettings
    from motrail.train.data.loader import TrainLoader
    from motrail.train.data.pictures import Pictures
    from motrail.train.data.samples import Samples
    from motrail.train.network import Yolox

_TINY = 8.0
"""Pixels of the input: smaller objects are hard for a network whose finest cells are as large."""
_STEEP = 0.02
"""Learning rate at a batch of 8 beyond which training from nothing was seen to break off."""
_FOUND = 0.5


def report(pictures: Pictures, settings: TrainSettings, whole_batch: int) -> Iterator[str]:
    """Lines that say what is learnt from, with a warning where something looks wrong.

    Args:
        pictures: Of the training split.
        settings: Settled ones.
        whole_batch: Pictures that one step learns from, in all processes.
    """
    samples = pictures.samples
    counts = np.bincount(samples.class_ids, minlength=len(samples.classes))
    named = ", ".join(f"{n} {c:,}" for n, c in zip(samples.classes, counts.tolist(), strict=True))
    yield f"learning from {len(samples):,} pictures of {len(samples.sequences)} sequences: {named}"
    for note, count in samples.notes.items():
        yield f"note: {note}" + (f" ({count} times)" if count > 1 else "")
    few = [n for n, c in zip(samples.classes, counts.tolist(), strict=True) if c < 50]
    if few:
        yield f"note: fewer than 50 boxes of {', '.join(few)}: expect little of them"
    sides = shorter_sides(pictures)
    letterbox = pictures.letterbox
    if len(sides):
        low, middle, high = np.quantile(sides, [0.05, 0.5, 0.95])
        yield (
            f"input {letterbox.width}x{letterbox.height}: objects are {low:.0f} to {high:.0f} "
            f"pixels across there (middle {middle:.0f})"
        )
        tiny = float((sides < _TINY).mean())
        if tiny > 0.2:
            yield (
                f"note: {tiny:.0%} of the objects are smaller than {_TINY:.0f} pixels at this "
                "size; a larger input finds more of them"
            )
    rate = settings.learning_rate or 0.0
    yield f"batch {whole_batch}, learning rate {rate:.3g}, warm-up {settings.warmup_steps} steps"
    usual = _STEEP * (whole_batch / 8) ** 0.5
    if rate > 4 * usual:
        yield f"note: the learning rate is high for this batch; {usual:.2g} is usual"
    if rate < usual / 100:
        yield f"note: the learning rate is low for this batch; {usual:.2g} is usual"


def report_validation(samples: Samples) -> Iterator[str]:
    """Lines that say what is validated on, with a note for each class that is not there."""
    counts = np.bincount(samples.class_ids, minlength=len(samples.classes)).tolist()
    named = ", ".join(f"{n} {c:,}" for n, c in zip(samples.classes, counts, strict=True))
    sequences = len(samples.sequences)
    yield f"validating on {len(samples):,} pictures of {sequences} sequences: {named}"
    for name, count in zip(samples.classes, counts, strict=True):
        if not count:
            yield f"note: {name!r} is not in the split val: nothing says how well it is found"


def report_board(folder: Path) -> str:
    """A line that says where TensorBoard is to look, or that there is none."""
    if board.installed():
        return f"for TensorBoard: tensorboard --logdir {folder / 'tensorboard'}"
    return 'nothing is written for TensorBoard: pip install "motrail[tensorboard]" brings it'


def shorter_sides(pictures: Pictures) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Shorter side of each object in pixels of the input, shape (n,)."""
    sides = [np.empty(0, np.float32)]
    for index in range(len(pictures)):
        boxes = pictures.truth(index).boxes_xyxy
        sides.append((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf))
    return np.concatenate(sides)


def draw_first_batch(loader: TrainLoader, path: Path) -> None:
    """Draw the first batch as the network will see it, with its boxes.

    Raises:
        OutputError: The file cannot be written.
    """
    with contextlib.closing(loader.epoch(0)) as batches:
        images, targets = next(batches)
    picture = draw_batch(images, targets, loader.pictures.samples.classes)
    _good, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    file = WholeFile(path)
    with writing(path), file:
        file.temporary.write_bytes(encoded.tobytes())


class Check(NamedTuple):
    """Whether two pictures could be learnt by heart.

    Attributes:
        found: Objects found in them in the end.
        objects: How many there are.
        steps: Steps made.
        loss: At the start and at the end.
    """

    found: int
    objects: int
    steps: int
    loss: tuple[float, float]

    @property
    def good(self) -> bool:
        """Whether at least three of four objects are found."""
        return self.found >= 0.75 * self.objects

    @property
    def text(self) -> str:
        """In words."""
        said = (
            f"two pictures learnt by heart in {self.steps} steps: {self.found} of {self.objects} "
            f"objects found, loss {self.loss[0]:.1f} → {self.loss[1]:.1f}"
        )
        if self.good:
            return f"{said}; labels, pictures and network work together"
        return f"{said}; that is too few: see in batch0.jpg whether boxes and pictures agree"


def learn_two(
    network: Yolox, pictures: Pictures, settings: TrainSettings, *, seconds: float = 60
) -> Check:
    """Learn two pictures by heart, with a copy of the network.

    Args:
        network: Stays as it is.
        pictures: The two with the most objects, up to 50, are taken.
        settings: Of the optimizer.
        seconds: When to end at the latest.
    """
    counts = np.diff(pictures.samples.box_starts)
    chosen = np.argsort(np.where(counts > 50, 0, -counts), kind="stable")[:2]
    images, targets = batch_of(pictures, chosen.tolist())
    device = next(network.parameters()).device
    pupil = copy.deepcopy(network).train()
    optimizer = make_optimizer(pupil, settings)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    inputs, targets = images.to(device).float(), targets.to(device)
    height, width = inputs.shape[2:]
    first = last = 0.0
    start, steps = time.monotonic(), 0
    while time.monotonic() - start < seconds and steps < 300:
        losses = yolox_loss(pupil(inputs), targets, height, width, use_l1=False)
        losses.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(pupil.parameters(), 35.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        last = float(losses.total.detach())
        first = first or last
        steps += 1
        if (
            steps % 25 == 0
            and steps >= 100
            and _found(pupil, inputs, targets)[0] == int((targets.class_ids >= 0).sum())
        ):
            break
    return Check(*_found(pupil, inputs, targets), steps, (first, last))


def batch_of(pictures: Pictures, indices: list[int]) -> tuple[torch.Tensor, Any]:
    """Pictures as the detector sees them, with their truth."""
    from motrail.train.data.loader import blank, pack

    letterbox = pictures.letterbox
    images = blank(len(indices), letterbox.height, letterbox.width)
    truths = [pictures.plain(out, i) for out, i in zip(images.numpy(), indices, strict=True)]
    return images.permute(0, 3, 1, 2), pack(truths)


@torch.no_grad()
def _found(network: Yolox, images: torch.Tensor, targets: Any) -> tuple[int, int]:
    """Objects that a box of the right class with a good score lies on, and how many there are."""
    raw = network(images).float()
    anchors = make_anchors(images.shape[2], images.shape[3], raw.device)
    boxes = decode_boxes(raw[..., :4], anchors.corners, anchors.strides).cpu().numpy()
    scores = (raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()).cpu().numpy()
    found = objects = 0
    for row in range(len(images)):
        real = (targets.class_ids[row] >= 0).cpu().numpy()
        truth = cxcywh_to_xyxy(targets.boxes[row].cpu().numpy()[real])
        for box, number in zip(truth, targets.class_ids[row].cpu().numpy()[real], strict=True):
            objects += 1
            sure = cxcywh_to_xyxy(boxes[row][scores[row][:, number] > 0.3])
            found += bool(len(sure) and _iou(box, sure).max() > _FOUND)
    return found, objects


def _iou(box: Any, boxes: Any) -> Any:
    extent = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = np.maximum(extent, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return common / np.maximum(areas - common, 1e-9)
