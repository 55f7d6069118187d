"""Track detections that were made before: the loop without a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from motrail.track.fill import motion_known
from motrail.types import SequenceTracks, Tracks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.moving import FileCamera
    from motrail.pipeline import MovedTracker, Tracker
    from motrail.track.fill import CameraPath
    from motrail.types import SequenceDetections


def replay(
    detections: SequenceDetections,
    tracker: Tracker,
    length: int,
    *,
    frames: Sequence[int] | None = None,
    camera: FileCamera | None = None,
    path: CameraPath | None = None,
) -> SequenceTracks:
    """Give the detections of a sequence to a tracker, frame by frame.

    Args:
        detections: Of the sequence, with the low scores.
        tracker: A fresh one, which is told of every frame looked at, the empty ones too.
        length: Number of frames in the sequence.
        frames: Those that were looked at, ascending, from 1; left out, all to `length`.
        camera: Says how the camera moved, which the tracker is told, too; None where it needs
            nobody for that.
        path: Takes down how the camera moved, as far as the tracker knows.

    Raises:
        DataError: The camera's file does not have a frame.

    Returns:
        What it gave out, with `detection_index` pointing into `detections`.
    """
    numbers, given = [], []
    starts = np.searchsorted(detections.frames, np.arange(1, length + 1)).tolist()
    looked_at = None if frames is None else set(frames)
    last = None
    for number, found in enumerate(detections.by_frame(length), start=1):
        if looked_at is not None and number not in looked_at:
            continue
        step = 1 if last is None else number - last
        if camera is None:
            tracks = tracker.update(found, step=step)
        else:
            motion = camera.motion_at(number)
            tracks = cast("MovedTracker", tracker).update(found, step=step, motion=motion)
        if path is not None:
            path.note(number, motion_known(tracker))
        last = number
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
