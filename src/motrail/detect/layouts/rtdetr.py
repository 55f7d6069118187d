"""The layouts of RT-DETR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.boxes import cxcywh_to_xyxy
from motrail.detect.layouts.base import (
    Layout,
    Place,
    check_scores,
    check_shares,
    finite,
    kept_rows,
    picked,
    single,
    upright,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.detect.layouts.base import Cells, Floats, Found, Shapes, Wanted


class RtDetr(Layout):
    """Labels, boxes and scores of the best objects: RT-DETR's own export, also D-FINE's."""

    expected = "labels (1, boxes), boxes (1, boxes, 4) and scores (1, boxes)"
    preset = "rt-detr"

    @staticmethod
    def find(shapes: Shapes, _cells: Cells) -> Place | None:
        """The outputs of these names."""
        names = ("labels", "boxes", "scores")
        wanted = [(name in shapes and len(shapes[name])) for name in names]
        if wanted != [2, 3, 2] or shapes["boxes"][2] != 4:
            return None
        return Place(names, None, likely=True)

    def read(self, answer: Sequence[NDArray[Any]], wanted: Wanted) -> Found:
        """Rows as they come, the best first."""
        labels, boxes, scores = answer
        return picked(finite(boxes)[0], finite(scores)[0], labels[0], self.classes, wanted)


class RtDetrUltralytics(Layout):
    """A row for each query: centre and size as shares of the input, classes."""

    expected = "(1, boxes, 4 + classes)"
    preset = "rt-detr"

    @staticmethod
    def find(shapes: Shapes, cells: Cells) -> Place | None:
        """The first output of three dimensions, with fewer boxes than a grid has cells."""
        full = cells.anchor_free | cells.anchors
        return single(shapes, lambda k, n: (n - 4, not full & {k, n}) if n >= 5 else None)

    def check(self, answer: Sequence[NDArray[Any]]) -> None:
        """Scores are between 0 and 1, boxes shares."""
        boxes, scores = self._parts(answer)
        check_scores(scores, "class scores")
        check_shares(boxes)

    def read(self, answer: Sequence[NDArray[Any]], wanted: Wanted) -> Found:
        """The best class of each query, the best first."""
        boxes, scores = self._parts(answer)
        class_ids = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), class_ids]
        kept = kept_rows(best, class_ids, wanted)
        size = np.array([self.width, self.height] * 2, np.float32)
        return upright(cxcywh_to_xyxy(boxes[kept] * size)), best[kept], class_ids[kept]

    def _parts(self, answer: Sequence[NDArray[Any]]) -> tuple[Floats, Floats]:
        """Boxes (n, 4) and scores (n, classes)."""
        rows = finite(answer[0])[0]
        return rows[:, :4], rows[:, 4:]


class RtDetrTransformers(RtDetrUltralytics):
    """As Hugging Face exports it: scores before the sigmoid, boxes in an output of their own."""

    expected = "logits (1, boxes, classes) and pred_boxes (1, boxes, 4)"

    @staticmethod
    def find(shapes: Shapes, _cells: Cells) -> Place | None:
        """The outputs of these names."""
        logits, boxes = shapes.get("logits", ()), shapes.get("pred_boxes", ())
        if len(logits) != 3 or len(boxes) != 3 or boxes[2] != 4 or logits[1] != boxes[1]:
            return None
        return Place(("logits", "pred_boxes"), logits[2], likely=True)

    def _parts(self, answer: Sequence[NDArray[Any]]) -> tuple[Floats, Floats]:
        logits, boxes = finite(answer[0])[0], finite(answer[1])[0]
        # The sigmoid, which cannot overflow in this form.
        return boxes, np.float32(0.5) * (1 + np.tanh(logits / 2))
