"""The one place where our columns become supervision's `Detections` and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import DataError, MissingExtraError
from motrail.types import Detections, Tracks

if TYPE_CHECKING:
    import supervision
    from numpy.typing import NDArray

_INDEX = "detection_index"
_PENDING = -1


def to_supervision(detections_or_tracks: Detections | Tracks) -> supervision.Detections:
    """Convert to supervision's type, whose arrays are copies and may be written to.

    Args:
        detections_or_tracks: Boxes become `xyxy` (n, 4) float32, scores `confidence`, class ids
            `class_id` (counted from 0, as here). Tracks also fill `tracker_id`, and
            `data["detection_index"]` so that they can come back whole.

    Returns:
        As many rows as there were, in the same order.

    Raises:
        MissingExtraError: supervision is not installed.
    """
    try:
        import supervision as sv
    except ImportError as error:
        raise MissingExtraError("supervision", "video", error) from error
    rows = detections_or_tracks
    converted = sv.Detections(
        xyxy=rows.boxes_xyxy.copy(),
        confidence=rows.scores.copy(),
        class_id=rows.class_ids.copy(),
    )
    if isinstance(rows, Tracks):
        converted.tracker_id = rows.ids.copy()
        converted.data[_INDEX] = rows.detection_index.copy()
    return converted


def detections_from_supervision(sv_detections: supervision.Detections) -> Detections:
    """Convert supervision's type to detections.

    Args:
        sv_detections: Without `confidence` every score is 1.0; without `class_id` every class is
            0. Masks, `tracker_id` and `data` are left behind.

    Returns:
        As many rows as there were, in the same order.

    Raises:
        DataError: Shapes do not fit, numbers are not finite, or a box is turned inside out.
    """
    boxes_xyxy = np.asarray(sv_detections.xyxy)
    n = len(boxes_xyxy)
    return Detections(boxes_xyxy, _scores(sv_detections, n), _class_ids(sv_detections, n))


def tracks_from_supervision(sv_detections: supervision.Detections) -> Tracks:
    """Convert supervision's type, as its trackers return it, to tracks.

    Args:
        sv_detections: Needs `tracker_id`. Rows with id -1 (seen, but not yet confirmed as a
            track) are left out. Without `confidence` every score is 1.0; without `class_id` every
            class is 0; without `data["detection_index"]` every detection index is -1.

    Returns:
        The tracks, in the same order.

    Raises:
        DataError: There is no `tracker_id` although there are rows, shapes do not fit, numbers
            are not finite, or a box is turned inside out.
    """
    boxes_xyxy = np.asarray(sv_detections.xyxy)
    n = len(boxes_xyxy)
    if sv_detections.tracker_id is None:
        if n == 0:
            return Tracks.empty()
        raise DataError(
            f"tracker_id: expected one id for each of the {n} rows, found None; pass what a "
            "tracker returned, or use detections_from_supervision"
        )
    index = sv_detections.data.get(_INDEX)
    tracks = Tracks(
        sv_detections.tracker_id,
        boxes_xyxy,
        _scores(sv_detections, n),
        _class_ids(sv_detections, n),
        np.full(n, -1, np.int64) if index is None else np.asarray(index),
    )
    return tracks[tracks.ids != _PENDING]


def _scores(sv_detections: supervision.Detections, n: int) -> NDArray[np.floating]:
    if sv_detections.confidence is None:
        return np.ones(n, np.float32)
    return sv_detections.confidence


def _class_ids(sv_detections: supervision.Detections, n: int) -> NDArray[np.integer]:
    if sv_detections.class_id is None:
        return np.zeros(n, np.int64)
    return sv_detections.class_id
