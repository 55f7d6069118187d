"""Track detections that were made before: the loop without a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.types import SequenceTracks, Tracks

if TYPE_CHECKING:
    from motrail.pipeline import Tracker
    from motrail.types import SequenceDetections


def replay(detections: SequenceDetections, tracker: Tracker, length: int) -> SequenceTracks:
    """Give the detections of a sequence to a tracker, frame by frame.

    Args:
        detections: Of the sequence, with the low scores.
        tracker: A fresh one, which is told of all frames from 1 to `length`.
        length: Number of frames in the sequence.

    Returns:
        What it gave out, with `detection_index` pointing into `detections`.
    """
    numbers, given = [], []
    starts = np.searchsorted(detections.frames, np.arange(1, length + 1)).tolist()
    for number, found in enumerate(detections.by_frame(length), start=1):
        tracks = tracker.update(found)
        if len(tracks):
            numbers.append(number)
            given.append(tracks)
    index = [
        np.where(t.detection_index >= 0, t.detection_index + starts[n - 1], -1)
        for n, t in zip(numbers, given, strict=True)
    ]
    parts = [*given, Tracks.empty()]
    return SequenceTracks(
        frames=np.repeat(numbers, [len(t) for t in given]).astype(np.int64),
        ids=np.concatenate([t.ids for t in parts]),
        boxes_xyxy=np.concatenate([t.boxes_xyxy for t in parts]),
        scores=np.concatenate([t.scores for t in parts]),
        class_ids=np.concatenate([t.class_ids for t in parts]),
        detection_index=np.concatenate([*index, np.empty(0, np.int64)]),
    )
