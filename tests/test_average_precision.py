"""Average precision of detections."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail.errors import DataError, MissingExtraError
from motrail.evaluate.average_precision import AveragePrecision, PrecisionTally
from motrail.evaluate.protocol import Protocol
from motrail.formats.labels import Labels
from motrail.formats.mot.detections import DetectionFile
from motrail.types import SequenceDetections

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("car", "van")


def truth(*, ignore: int | None = None, classes: tuple[str, ...] = CLASSES) -> Labels:
    """Two cars and a van for four frames."""
    frames = np.repeat(np.arange(1, 5), 3)
    ids = np.tile(np.arange(1, 4), 4)
    boxes = np.stack([100.0 * ids, 10.0 * frames, 0 * ids + 50, 0 * ids + 50], axis=1)
    labels = Labels.of("clip", classes, frames, ids, boxes, np.tile([0, 0, 1], 4), length=4)
    return labels if ignore is None else labels.replace(ignore=ids == ignore)


def found(labels: Labels, rows: NDArray[np.int64]) -> DetectionFile:
    kept = labels[rows]
    boxes = kept.boxes_xywh.copy()
    boxes[:, 2:] += boxes[:, :2]
    detections = SequenceDetections(kept.frames, boxes, np.full(len(kept), 0.9), kept.class_ids)
    return DetectionFile("clip", labels.classes, detections)


def score(labels: Labels, file: DetectionFile | None, **protocol: object) -> AveragePrecision:
    tally = PrecisionTally(Protocol(**protocol))  # type: ignore[arg-type]
    tally.take(labels, file)
    return tally.score()


def test_everything_found() -> None:
    answer = score(truth(), found(truth(), np.arange(12)))
    assert answer.combined["AP"] == pytest.approx(100)
    assert answer.classes["car"] == pytest.approx({"AP": 100, "AP50": 100, "AP75": 100})
    assert "AP_large" not in answer.combined  # there are no large objects: 50 × 50 is medium
    assert answer.combined["AP_medium"] == pytest.approx(100)


def test_half_of_a_class_found() -> None:
    """Of 101 recall levels, 0 to .50 are reached with precision 1: 51 / 101."""
    rows = np.flatnonzero((truth().ids == 1) | (truth().ids == 3))
    answer = score(truth(), found(truth(), rows))
    assert answer.classes["car"]["AP"] == pytest.approx(100 * 51 / 101)
    assert answer.classes["van"]["AP"] == pytest.approx(100)
    assert answer.combined["AP"] == pytest.approx(50 * (1 + 51 / 101))


def test_iou_decides() -> None:
    """Shifted by 10 of 50 pixels: IoU 40/60 = .67, right at .50 to .65 of ten thresholds."""
    labels = truth()
    shifted = labels.replace(boxes_xywh=labels.boxes_xywh + np.array([10, 0, 0, 0]))
    answer = score(labels, found(shifted, np.arange(12)))
    assert answer.combined["AP50"] == pytest.approx(100)
    assert answer.combined["AP75"] == pytest.approx(0)
    assert answer.combined["AP"] == pytest.approx(40)


def test_what_is_to_be_ignored_is_neither_right_nor_wrong() -> None:
    labels = truth(ignore=2)
    for rows in (np.arange(12), np.flatnonzero(labels.ids != 2)):
        assert score(labels, found(labels, rows)).combined["AP"] == pytest.approx(100)


def test_nothing_found() -> None:
    none = found(truth(), np.arange(0))
    for file in (none, None):
        assert score(truth(), file).combined["AP"] == 0


def test_classes_are_joined_by_name() -> None:
    """The detector counts its classes in another order, and knows one more."""
    labels = truth()
    other = labels.replace(classes=("bus", "van", "auto"), class_ids=2 - labels.class_ids)
    file = found(other, np.arange(12))
    assert score(labels, file).classes["van"]["AP"] == pytest.approx(100)
    assert score(labels, file).classes["car"]["AP"] == 0
    assert score(labels, file, names={"auto": "car"}).combined["AP"] == pytest.approx(100)


def test_classes_mixed() -> None:
    labels = truth()
    wrong = labels.replace(class_ids=1 - labels.class_ids)
    assert score(labels, found(wrong, np.arange(12))).combined["AP"] == 0
    answer = score(labels, found(wrong, np.arange(12)), class_aware=False)
    assert answer.combined["AP"] == pytest.approx(100)
    assert answer.classes.keys() == {"all classes"}


def test_mot17_takes_distractors_for_crowds() -> None:
    classes = ("pedestrian", "static person")
    labels = truth(classes=classes)
    rows = np.arange(12)
    person = DetectionFile("clip", ("person",), found(labels, rows).detections[rows])
    person = DetectionFile(
        "clip",
        ("person",),
        SequenceDetections(
            person.detections.frames, person.detections.boxes_xyxy, person.detections.scores
        ),
    )
    answer = score(labels, person, name="mot17")
    assert answer.classes == {"pedestrian": pytest.approx({"AP": 100, "AP50": 100, "AP75": 100})}


def test_frames_of_several_sequences_stay_apart() -> None:
    """Boxes of one clip do not answer for those of the other."""
    labels = truth()
    tally = PrecisionTally(Protocol())
    tally.take(labels, None)
    tally.take(labels.replace(name="other"), found(labels, np.arange(12)))
    assert tally.score().classes["van"]["AP"] == pytest.approx(100 * 51 / 101)


def test_nothing_to_find() -> None:
    labels = truth()
    with pytest.raises(DataError, match="expected objects in the truth, found none"):
        score(labels.replace(ignore=labels.ids > 0), None)


def test_without_pycocotools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingExtraError, match=r"motrail\[evaluate\]"):
        score(truth(), None)
