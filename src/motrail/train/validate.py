"""Score a network on labelled pictures: average precision, and HOTA of tracks made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from motrail.boxes import xyxy_to_xywh
from motrail.config import TrackerSettings
from motrail.detect.decode import Grid, decode
from motrail.evaluate.average_precision import PrecisionTally
from motrail.evaluate.pairs import make_pairs
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Evaluation, score
from motrail.evaluate.tracked import as_labels, track_detections
from motrail.formats.labels import Labels
from motrail.formats.mot.detections import DetectionFile
from motrail.train.network import with_scores
from motrail.types import SequenceDetections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.train.data.validation import ValidationBatch, ValidationLoader
    from motrail.train.network import Yolox

_LOWEST = 0.01
"""Scores down to here count for average precision; trackers begin to look at 0.1."""
_WIDEST = 7.0
"""Logarithm of a box in cells: at a stride of 32 as wide as 35,000 pixels."""
_FARTHEST = 4096.0
"""Cells between a box and the cell that says it: four times the largest input at a stride of 8."""
_SOME = 0.05
_NMS = 0.65
_MOST = 300
"""Boxes of a picture that are kept, the best ones: an untrained network sees things everywhere."""


@dataclass(frozen=True)
class Validation:
    """How good a network is.

    Attributes:
        figures: AP, AP50, AP75, and HOTA, MOTA and IDF1 where tracking was asked for, in per cent.
        classes: AP, AP50 and AP75 of each class.
        best_score: The highest score of any box.
        boxes: Boxes from a score of 0.1 on.
        mixed: AP50 with classes as one, in per cent.
        overlap: IoU of each true box with the best box found, 0 to 1, on average.
        detections: What was found, by sequence.
    """

    figures: dict[str, float]
    classes: dict[str, dict[str, float]]
    best_score: float
    boxes: int
    mixed: float
    overlap: float
    detections: dict[str, DetectionFile] = field(default_factory=dict)


@torch.no_grad()
def detect_all(
    network: Yolox,
    loader: ValidationLoader,
    classes: Sequence[str],
    *,
    device: torch.device,
    autocast: torch.dtype | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, DetectionFile]:
    """What a network finds in each sequence, down to very low scores.

    Args:
        network: In evaluation mode.
        loader: Gives the pictures.
        classes: Names of what it finds.
        device: Where the network is.
        autocast: The type to compute in; None for float32.
        progress: Told of each batch.
    """
    letterbox = loader.pictures.letterbox
    grid = Grid(letterbox.height, letterbox.width, (8, 16, 32))
    found: dict[str, list[tuple[int, Any]]] = {}
    for number, batch in enumerate(loader, start=1):
        images = batch.images.to(device, non_blocking=True).float()
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            raw = network(images)
        # A network that has hardly begun may say places and sizes beyond all numbers.
        place, size = raw[..., :2].clamp(-_FARTHEST, _FARTHEST), raw[..., 2:4].clamp(max=_WIDEST)
        raw = torch.cat((place, size, raw[..., 4:]), -1)
        answers = with_scores(raw.float()).cpu().numpy()
        for row, answer in enumerate(answers):
            boxes, scores, class_ids = decode(
                answer, grid, decoded=False, score_threshold=_LOWEST, nms_threshold=_NMS,
                allowed_classes=None,
            )  # fmt: skip
            kept = slice(0, _MOST)
            place = _undone(batch, row, letterbox, boxes[kept])
            frame = int(batch.frames[row])
            found.setdefault(batch.sequences[row], []).append(
                (frame, (place, scores[kept], class_ids[kept]))
            )
        progress(number, len(loader))
    return {
        name: DetectionFile(name, tuple(classes), _sequence(frames))
        for name, frames in found.items()
    }


def _undone(
    batch: ValidationBatch, row: int, letterbox: Any, boxes: NDArray[np.float32]
) -> NDArray[np.float32]:
    width, height = batch.sizes[row].tolist()
    undone: NDArray[np.float32] = letterbox.undo(boxes, width, height)
    return undone


def _sequence(frames: list[tuple[int, Any]]) -> SequenceDetections:
    frames.sort(key=lambda item: item[0])
    return SequenceDetections(
        np.repeat([number for number, _ in frames], [len(found[0]) for _, found in frames]),
        np.concatenate([found[0] for _, found in frames]),
        np.concatenate([found[1] for _, found in frames]),
        np.concatenate([found[2] for _, found in frames]),
    )


def judge(
    truth: Iterable[Labels],
    detections: Mapping[str, DetectionFile],
    *,
    names: Mapping[str, str] | None = None,
    tracking: bool = True,
) -> Validation:
    """Score detections, and tracks made of them by the usual settings.

    Args:
        truth: The labels of each sequence.
        detections: By sequence.
        names: What classes of the detections are called in the truth, where that differs.
        tracking: Whether to track, too.

    Raises:
        DataError: There is nothing to find in the truth.
    """
    protocol = Protocol(names=dict(names or {}))
    tally, mixed = PrecisionTally(protocol), PrecisionTally(Protocol(class_aware=False))
    parts, overlaps = {}, []
    for labels in truth:
        file = detections.get(labels.name)
        tally.take(labels, file)
        mixed.take(labels, file)
        overlaps.append(_best_overlaps(labels, file))
        if tracking:
            parts[labels.name] = score(labels, _tracked(labels, file), protocol)
    precision, as_one = tally.score(), mixed.score()
    figures = {key: precision.combined[key] for key in ("AP", "AP50", "AP75")}
    if any(parts.values()):
        combined = Evaluation(protocol, parts).combined.as_dict()
        figures |= {key: combined[key] for key in ("HOTA", "MOTA", "IDF1")}
    scores = [file.detections.scores for file in detections.values()]
    every = np.concatenate([np.zeros(0, np.float32), *scores])
    return Validation(
        figures,
        precision.classes,
        best_score=float(every.max(initial=0)),
        boxes=int((every >= 0.1).sum()),
        mixed=as_one.combined["AP50"],
        overlap=float(np.concatenate([np.zeros(0), *overlaps]).mean()) if overlaps else 0.0,
        detections=dict(detections),
    )


def _best_overlaps(labels: Labels, file: DetectionFile | None) -> NDArray[np.float64]:
    """IoU of each true box with the best box found with some confidence, shape (n,)."""
    wanted = labels[~labels.ignore]
    best = np.zeros(len(wanted))
    if file is None or not len(wanted):
        return best
    found = file.detections[file.detections.scores >= _SOME]
    order = np.argsort(wanted.frames, kind="stable")
    pairs = make_pairs(
        labels.length,
        wanted.frames[order] - 1,
        np.arange(len(wanted)),
        wanted.boxes_xywh[order],
        found.frames - 1,
        np.arange(len(found)),
        xyxy_to_xywh(found.boxes_xyxy.astype(np.float64)),
    )
    np.maximum.at(best, pairs.pair_truth, pairs.pair_iou)
    return best


def _tracked(labels: Labels, file: DetectionFile | None) -> Labels:
    none = np.empty(0, np.int64)
    if file is None:
        return Labels.of(labels.name, labels.classes, none, none, np.empty((0, 4)), none)
    return as_labels(labels, file, track_detections(labels, file, TrackerSettings()))
