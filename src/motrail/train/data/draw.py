"""A batch as a picture, to see what the network learns from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from motrail.boxes import cxcywh_to_xyxy
from motrail.dataset.stats.panels import printable
from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "train", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from motrail.train.targets import Targets

MOST = 16
"""Pictures that are drawn."""
MAX_SIDE = 2560
"""The sheet is not wider or higher, in pixels."""
_GAP = 4
_BACKGROUND = (32, 29, 27)
_REGION = (235, 235, 235)
_HATCH = 8  # pixels between lines
_MAX_NAME = 24
_GOLDEN = 0.618034


def draw_batch(images: Tensor, targets: Targets, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Draw the first pictures of a batch with their boxes; regions to be ignored are hatched.

    Args:
        images: Values from 0 to 255, shape (b, 3, height, width), channels blue, green, red.
        targets: What is in them.
        classes: Names of the classes; one beyond its end is shown by its number.

    Returns:
        Up to 16 pictures in a grid, uint8, shape (h, w, 3), channels blue, green, red.
    """
    count = min(len(images), MOST)
    pixels = images[:count].permute(0, 2, 3, 1).cpu().numpy().clip(0, 255).astype(np.uint8)
    boxes = targets.boxes[:count].cpu().numpy()
    class_ids = targets.class_ids[:count].cpu().numpy()
    ignore = targets.ignore[:count].cpu().numpy()
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    height, width = pixels.shape[1:3]
    scale = min(1.0, (MAX_SIDE / columns - _GAP) / width, (MAX_SIDE / rows - _GAP) / height)
    height, width = max(1, int(height * scale)), max(1, int(width * scale))
    sheet = np.empty((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), np.uint8)
    sheet[:] = _BACKGROUND
    for number in range(count):
        down, right = divmod(number, columns)
        top, left = down * (height + _GAP), right * (width + _GAP)
        cell = cv2.resize(pixels[number], (width, height), interpolation=cv2.INTER_AREA)
        _hatch(cell, ignore[number] * scale)
        there = class_ids[number] >= 0
        _draw_boxes(
            cell, cxcywh_to_xyxy(boxes[number][there]) * scale, class_ids[number][there], classes
        )
        sheet[top : top + height, left : left + width] = cell
    return sheet


def _hatch(cell: NDArray[np.uint8], regions_xyxy: NDArray[np.float32]) -> None:
    height, width = cell.shape[:2]
    across = np.arange(width) + np.arange(height)[:, None]
    lines = across % _HATCH < 1
    for left, top, right, bottom in np.rint(regions_xyxy).astype(int).tolist():
        part = cell[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if part.size:
            part[lines[max(top, 0) : bottom, max(left, 0) : right]] = _REGION
            cv2.rectangle(cell, (left, top), (right - 1, bottom - 1), _REGION, 1)


def _draw_boxes(
    cell: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    classes: Sequence[str],
) -> None:
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.35
    for box, number in zip(np.rint(boxes_xyxy).astype(int), class_ids.tolist(), strict=True):
        left, top, right, bottom = box.tolist()
        colour = class_colour(number)
        cv2.rectangle(cell, (left, top), (right - 1, bottom - 1), colour, 1)
        name = printable(classes[number], _MAX_NAME) if number < len(classes) else str(number)
        cv2.putText(cell, name, (left, max(top - 2, 8)), font, size, colour, 1, cv2.LINE_AA)


def class_colour(number: int) -> tuple[int, int, int]:
    """Blue, green, red of a class; neighbours look different."""
    hue = np.uint8(round((0.17 + number * _GOLDEN) % 1 * 179))
    pixel = np.array([[[hue, 220, 255]]], np.uint8)
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red
