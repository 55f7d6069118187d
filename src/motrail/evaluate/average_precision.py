"""Average precision of detections, by pycocotools: how good the detector is, without the tracker.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the twelve figures are those of
https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import DataError, MissingExtraError
from motrail.evaluate.protocol import DISTRACTORS, PEDESTRIAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from motrail.evaluate.protocol import Protocol
    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile

FIGURES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
_NONE = -1  # what pycocotools says where there is nothing to score


@dataclass(frozen=True)
class AveragePrecision:
    """How good detections are.

    Attributes:
        combined: The twelve figures of COCO, in per cent, means over the classes; those of sizes
            that do not occur are missing.
        classes: AP, AP50 and AP75 of each class.
    """

    combined: dict[str, float]
    classes: dict[str, dict[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"combined": self.combined, "classes": self.classes}


class PrecisionTally:
    """Takes truth and detections sequence by sequence, and scores them all together.

    Boxes to be ignored are COCO's crowds: finding them is neither right nor wrong. Frames without
    labels count, too; where pictures are known it is those and the labelled ones.

    Args:
        protocol: Decides what counts; `mot17` takes its distractors for crowds.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._categories: dict[str, int] = {}
        self._images = 0
        self._truth: list[dict[str, Any]] = []
        self._found: list[NDArray[np.float64]] = []

    def take(self, truth: Labels, detections: DetectionFile | None) -> None:
        """Add a sequence; None for one without detections."""
        frames = np.array(truth.listed_frames(), np.int64)
        first = self._images + 1
        self._images += len(frames)
        self._take_truth(truth, frames, first)
        if detections is None or not len(frames):
            return
        found = detections.detections
        numbers = self._numbers([self._called(name) for name in detections.classes])
        place = np.minimum(np.searchsorted(frames, found.frames), len(frames) - 1)
        kept = (frames[place] == found.frames) & (numbers[found.class_ids] > 0)
        boxes = found.boxes_xyxy.astype(np.float64)[kept]
        boxes[:, 2:] -= boxes[:, :2]
        columns = (
            first + place[kept],
            *boxes.T,
            found.scores[kept],
            numbers[found.class_ids[kept]],
        )
        self._found.append(np.stack(columns, axis=1))

    def _take_truth(self, truth: Labels, frames: NDArray[np.int64], first: int) -> None:
        names = [*truth.classes, ""]
        ignore = truth.ignore.copy()
        kept = np.ones(len(truth), np.bool_)
        if self._protocol.name == "mot17":
            called = np.array(names)[truth.class_ids]
            neither = np.isin(called, DISTRACTORS)
            kept, ignore = neither | (called == PEDESTRIAN), ignore | neither
            names = [PEDESTRIAN] * len(names)
        numbers = self._numbers([name or "" for name in names], new=True)
        images = first + np.searchsorted(frames, truth.frames)
        for row in np.flatnonzero(kept).tolist():
            left, top, width, height = truth.boxes_xywh[row].tolist()
            self._truth.append(
                {
                    "id": len(self._truth) + 1,
                    "image_id": int(images[row]),
                    "category_id": int(numbers[truth.class_ids[row]]),
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": int(ignore[row]),
                }
            )

    def _called(self, name: str) -> str:
        if self._protocol.name == "mot17":
            return PEDESTRIAN
        return self._protocol.names.get(name, name)

    def _numbers(self, names: Iterable[str], *, new: bool = False) -> NDArray[np.int64]:
        """Category of each class; 0 for one that is not in the truth."""
        names = list(names)
        if new:
            for name in names:
                if name:
                    self._categories.setdefault(name, len(self._categories) + 1)
        if not self._protocol.class_aware:
            return np.ones(len(names), np.int64)
        return np.array([self._categories.get(name, 0) for name in names], np.int64)

    def score(self) -> AveragePrecision:
        """Score what was taken.

        Raises:
            MissingExtraError: pycocotools is not installed.
            DataError: There is nothing to find in the truth.
        """
        if not any(not box["iscrowd"] for box in self._truth):
            raise DataError("average precision: expected objects in the truth, found none")
        evaluation, names = self._evaluate()
        figures = zip(FIGURES, evaluation.stats.tolist(), strict=True)
        return AveragePrecision(
            {name: 100 * value for name, value in figures if value != _NONE},
            _by_class(evaluation, names),
        )

    def _evaluate(self) -> tuple[Any, dict[int, str]]:
        try:
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        except ImportError as error:
            raise MissingExtraError("pycocotools", "evaluate", error) from error
        there = {box["category_id"] for box in self._truth}
        names = {n: name for name, n in self._categories.items() if n in there}
        if not self._protocol.class_aware:
            names = {1: "all classes"}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            truth = COCO()
            truth.dataset = {
                "info": {},
                "images": [{"id": number} for number in range(1, self._images + 1)],
                "categories": [{"id": number, "name": name} for number, name in names.items()],
                "annotations": self._truth,
            }
            truth.createIndex()
            found = np.concatenate([np.empty((0, 7)), *self._found])
            evaluation = COCOeval(truth, _loaded(truth, found), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation, names


def _loaded(truth: Any, found: NDArray[np.float64]) -> Any:
    """Detections as pycocotools keeps them; it takes none for an error."""
    if len(found):
        return truth.loadRes(found)
    from pycocotools.coco import COCO

    none = COCO()
    none.dataset = truth.dataset | {"annotations": []}
    none.createIndex()
    return none


def _by_class(evaluation: Any, names: Mapping[int, str]) -> dict[str, dict[str, float]]:
    # thresholds .50, .55 … .95 × recalls × classes × sizes × detections in a picture
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    figures = {}
    for place, number in enumerate(evaluation.params.catIds):
        values = precision[:, :, place]
        if (values > _NONE).any():
            figures[names[number]] = {
                "AP": 100 * _mean(values),
                "AP50": 100 * _mean(values[0]),
                "AP75": 100 * _mean(values[5]),
            }
    return figures


def _mean(values: NDArray[np.float64]) -> float:
    return float(values[values > _NONE].mean())
