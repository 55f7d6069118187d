"""The layouts of YOLOv5 to YOLOv11."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from motrail.boxes import cxcywh_to_xyxy
from motrail.detect.layouts.base import (
    Layout,
    Place,
    check_pixels,
    check_scores,
    finite,
    kept_rows,
    picked,
    single,
    without_doubles,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.detect.layouts.base import Cells, Found, Shapes, Wanted


class Yolov5(Layout):
    """A row for each box: centre, size, objectness, classes.

    A network of one class is not taught that class's score, and says about 0.5; there objectness
    is the score (`non_max_suppression` of YOLOv7, utils/general.py).
    """

    expected = "(1, boxes, 5 + classes)"
    preset = "yolov5"

    @staticmethod
    def find(shapes: Shapes, cells: Cells) -> Place | None:
        """The first output of three dimensions; older exports add the maps of each level."""
        return single(shapes, lambda k, n: (n - 5, k in cells.anchors) if n >= 6 else None)

    def check(self, answer: Sequence[NDArray[Any]]) -> None:
        """Scores are between 0 and 1, boxes in pixels."""
        rows = finite(answer[0])[0]
        check_scores(rows[:, 4:], "objectness and class scores")
        check_pixels(rows[:, :4])

    def read(self, answer: Sequence[NDArray[Any]], wanted: Wanted) -> Found:
        """Doubles are removed."""
        output = finite(answer[0])[0]
        rows = output[output[:, 4] >= wanted.score_threshold]  # class scores are at most 1
        class_ids = rows[:, 5:].argmax(axis=1)
        scores = rows[:, 4]
        if self.classes > 1:
            scores = scores * rows[np.arange(len(rows)), 5 + class_ids]
        kept = kept_rows(scores, class_ids, wanted)
        boxes = cxcywh_to_xyxy(rows[kept, :4])
        return without_doubles(boxes, scores[kept], class_ids[kept], wanted)


class Yolov8(Layout):
    """A column for each box: centre, size, classes.

    YOLOv9's own training networks have two such outputs, of which the second is the main one
    (https://github.com/WongKinYiu/yolov9/issues/21), so it is the last that counts.
    """

    expected = "(1, 4 + classes, boxes)"
    preset = "yolov8"

    @staticmethod
    def find(shapes: Shapes, cells: Cells) -> Place | None:
        """The last output of three dimensions that is wider than high."""
        return single(
            dict(reversed(shapes.items())),
            lambda n, k: (n - 4, k in cells.anchor_free) if n >= 5 else None,
        )

    def check(self, answer: Sequence[NDArray[Any]]) -> None:
        """Scores are between 0 and 1, boxes in pixels."""
        columns = finite(answer[0])[0]
        check_scores(columns[4:], "class scores")
        check_pixels(columns[:4])

    def read(self, answer: Sequence[NDArray[Any]], wanted: Wanted) -> Found:
        """Doubles are removed."""
        columns = finite(answer[0])[0]
        # The best score of all is quick along rows, the class only of what is good enough.
        best = columns[4:].max(axis=0)
        good = (best >= wanted.score_threshold).nonzero()[0]
        class_ids = columns[4:, good].argmax(axis=0)
        scores = best[good]
        kept = kept_rows(scores, class_ids, wanted)
        boxes = cxcywh_to_xyxy(columns[:4, good[kept]].T)
        return without_doubles(boxes, scores[kept], class_ids[kept], wanted)


class Yolov10(Layout):
    """Few rows, of objects already: corners, score, class; rows of zeros fill the rest."""

    expected = "(1, boxes, 6)"
    preset = "yolov10"
    columns: ClassVar[tuple[slice, int, int]] = (slice(0, 4), 4, 5)

    @staticmethod
    def find(shapes: Shapes, cells: Cells) -> Place | None:
        """The first output of three dimensions, with six columns."""
        full = cells.anchor_free | cells.anchors
        place = single(shapes, lambda k, n: (1, k not in full) if n == 6 else None)
        return place and place._replace(classes=None)

    def read(self, answer: Sequence[NDArray[Any]], wanted: Wanted) -> Found:
        """Rows as they come, the best first."""
        rows = finite(answer[0]).reshape(-1, answer[0].shape[-1])
        corners, score, class_id = self.columns
        return picked(rows[:, corners], rows[:, score], rows[:, class_id], self.classes, wanted)


class Yolov7End2End(Yolov10):
    """As many rows as there are objects: number of the picture, corners, class, score."""

    expected = "(boxes, 7)"
    preset = "yolov7"
    columns = (slice(1, 5), 6, 5)

    @staticmethod
    def find(shapes: Shapes, _cells: Cells) -> Place | None:
        """The first output of two dimensions, with seven columns."""
        for name, shape in shapes.items():
            if len(shape) == 2 and shape[1] == 7:
                return Place((name,), None, likely=True)
        return None
