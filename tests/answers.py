"""Three boxes, and what a network of each layout says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models import told_network
from motrail.detect.layouts.table import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.types import Detections

HEIGHT, WIDTH = 64, 96
CELLS = 8 * 12 + 4 * 6 + 2 * 3
RUNTIMES = ["cpu", "openvino"]
# Three boxes, centre and size in pixels of the input: the second overlaps the first with an IoU of
# 22 · 12 / (2 · 24 · 12 − 22 · 12) = 0.846, the third lies elsewhere and is of another class.
BOXES = np.array([[48, 32, 24, 12], [50, 32, 24, 12], [20, 40, 8, 4]], np.float32)
SCORES = np.array([0.9, 0.8, 0.5], np.float32)
CLASSES = np.array([1, 1, 0])
# A picture of 200 × 100 is scaled by min(96 / 200, 64 / 100) = 0.48 to 96 × 48. In the middle it
# begins at row (64 − 48) / 2 = 8, stretched it is scaled by 96 / 200 and 64 / 100.
PICTURE = np.zeros((100, 200, 3), np.uint8)
CORNERS = np.array([[36, 26, 60, 38], [38, 26, 62, 38], [16, 38, 24, 42]])
CENTERED = (CORNERS - [0, 8, 0, 8]) / 0.48
STRETCHED = CORNERS / [0.48, 0.64, 0.48, 0.64]


def class_scores() -> NDArray[np.float32]:
    """Scores of the three boxes for each class, shape (3, 2)."""
    scores = np.full((3, 2), 0.05, np.float32)
    scores[range(3), CLASSES] = SCORES
    return scores


def answer(layout: str) -> dict[str, NDArray[Any]]:
    """What a network of this layout says of the three boxes."""
    shares = BOXES / np.array([WIDTH, HEIGHT] * 2, np.float32)
    corners = CORNERS.astype(np.float32)
    scores = class_scores()
    anchors = np.full((1, 3 * CELLS, 7), 1e-3, np.float32)
    anchors[0, :, :4] = 10
    anchors[0, 7:10, :4] = BOXES
    anchors[0, 7:10, 4] = [1, 0.9, 0.625]
    anchors[0, 7:10, 5:] = scores / anchors[0, 7:10, 4:5]
    columns = np.full((1, 6, CELLS), 1e-3, np.float32)
    columns[0, :4] = 10
    columns[0, :4, [3, 50, 125]] = BOXES
    columns[0, 4:, [3, 50, 125]] = scores
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :3] = np.concatenate((corners, SCORES[:, None], CLASSES[:, None]), axis=1)
    numbered = (np.zeros((3, 1)), corners, CLASSES[:, None], SCORES[:, None])
    answers: dict[str, dict[str, NDArray[Any]]] = {
        "yolov5": {"output0": anchors},
        "yolov7-end2end": {"output": np.concatenate(numbered, axis=1).astype(np.float32)},
        "yolov8": {"output0": columns},
        "yolov10": {"output0": rows},
        "rt-detr": {"labels": CLASSES[None], "boxes": corners[None], "scores": SCORES[None]},
        "rt-detr-ultralytics": {"output0": np.concatenate((shares, scores), axis=1)[None]},
        "rt-detr-transformers": {
            "logits": np.log(scores / (1 - scores))[None],
            "pred_boxes": shares[None],
        },
    }
    return answers[layout]


PRESET_OF = {name: layout.preset for name, layout in LAYOUTS.items() if name != "yolox"}
CHOOSE = {"yolov5", "yolov8"}
"""Layouts that leave it to the reader to choose between boxes of one object."""


def bare(
    path: Path, outputs: Mapping[str, NDArray[Any]], *, names: str = "['a', 'b']", **options: Any
) -> Path:
    options = {"size": (HEIGHT, WIDTH), "metadata": {"names": names}} | options
    path.write_bytes(told_network(outputs, **options))
    return path


def seen(found: Detections) -> list[tuple[list[float], float, int]]:
    rows = zip(found.boxes_xyxy.tolist(), found.scores, found.class_ids, strict=True)
    return [([round(x, 3) for x in box], round(float(s), 5), int(c)) for box, s, c in rows]


def expected(boxes: NDArray[Any], rows: Sequence[int]) -> list[tuple[list[float], float, int]]:
    return [
        ([round(x, 3) for x in boxes[i].tolist()], round(float(SCORES[i]), 5), int(CLASSES[i]))
        for i in rows
    ]
