"""Follow tracks back to before they began, when all frames are known.

A tracker begins a track with a good detection, and gives it out from the second one on. What was
seen of the object before that, at first from afar or half hidden, nobody has. From the first box of
a track one goes back frame by frame, against its velocity and the camera's, and takes the detection
that lies there, as long as there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.track.fill import carried, centred
from motrail.track.kalman import cxcywh_to_ltrb
from motrail.types import SequenceDetections, SequenceTracks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from motrail.track.fill import CameraPath

_MATCH_THRESHOLD = 0.5
_HEIGHT_WEIGHT = 1.0
_FEWEST = 3
"""Boxes of a track without which nothing is said of its velocity."""
_FOR_VELOCITY = 6
"""So many of its first boxes say what that is."""


class Spare(NamedTuple):
    """Detections that no track has.

    Attributes:
        found: Where and what they are.
        rows: Row of each in what the tracker was given, int64, shape (n,).
    """

    found: SequenceDetections
    rows: NDArray[np.int64]


def spare_detections(found: SequenceDetections, tracks: SequenceTracks, score: float) -> Spare:
    """Those of the detections of a sequence that reach a score and that no track has."""
    free = found.scores >= np.float32(score)
    free[tracks.detection_index[tracks.detection_index >= 0]] = False
    rows = np.flatnonzero(free)
    return Spare(found[rows], rows)


def follow_back(
    tracks: SequenceTracks, spare: Spare, most: int, *, step: int, camera: CameraPath | None
) -> SequenceTracks:
    """Put detections that no track has before those tracks that they lead to.

    Args:
        tracks: Ordered by frame.
        spare: The detections.
        most: Frames of the source before the first box of a track that are looked at.
        step: Frames of the source from one that was looked at to the next.
        camera: How it moved; None where nothing is known.

    Returns:
        The tracks with what was found, ordered by frame, then id.
    """
    if not (len(tracks) and len(spare.rows)):
        return tracks
    heads = _Heads(tracks, step, camera)
    none = np.empty(0, np.intp)
    taken: list[tuple[NDArray[np.intp], NDArray[np.int64]]] = [(none, none)]
    free = np.ones(len(spare.rows), np.bool_)
    for frame in heads.frames(most):
        rows = slice(*np.searchsorted(spare.found.frames, (frame, frame + 1)))
        candidates = rows.start + np.flatnonzero(free[rows])
        those, ids = heads.match(spare.found, candidates)
        free[those] = False
        taken.append((those, ids))
    return _joined(tracks, spare, taken)


class _Heads:
    """The tracks that are being followed back, and where each is expected."""

    def __init__(self, tracks: SequenceTracks, step: int, camera: CameraPath | None) -> None:
        self._step, self._camera = step, camera or None
        order = np.lexsort((tracks.frames, tracks.ids))
        ids, first, counts = np.unique(tracks.ids[order], return_index=True, return_counts=True)
        known = counts >= _FEWEST
        ids, first, counts = ids[known], first[known], counts[known]
        begin, later = order[first], order[first + np.minimum(counts, _FOR_VELOCITY) - 1]
        boxes = tracks.boxes_xyxy.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        boxes = centred(boxes)
        self._ids, self._starts = ids, tracks.frames[begin]
        self._classes = tracks.class_ids[begin]
        self._boxes = boxes[begin]
        apart = tracks.frames[later] - self._starts
        past = boxes[later]
        if self._camera is not None and len(ids):
            looks = apart // step
            whole = carried(self._camera, past, tracks.frames[later], looks, -step)
            past = whole[np.cumsum(looks) - looks]
        self._speed = (past - self._boxes)[:, :2] / apart[:, None]
        self._now = np.empty(0, np.intp)

    def frames(self, most: int) -> Iterator[int]:
        """Frames to look at, the last ones first; carries those that are followed along."""
        waiting = np.argsort(-self._starts, kind="stable")
        frame = 0
        while len(self._now) or len(waiting):
            places = [int(self._starts[row]) - self._step for row in waiting[:1]]
            if len(self._now):
                places.append(frame - self._step)
            frame = max(places)
            joins = self._starts[waiting] - self._step >= frame
            self._now = np.concatenate((self._now, waiting[joins]))
            waiting = waiting[~joins]
            self._now = self._now[self._starts[self._now] - frame <= most]
            if frame < 1:
                return
            if len(self._now):
                self._carry(frame)
                yield frame

    def _carry(self, frame: int) -> None:
        boxes = self._boxes[self._now]
        if self._camera is not None:
            out_of = np.full(len(boxes), frame + self._step)
            boxes = self._camera.carry(boxes, out_of, back=True)
        boxes[:, :2] -= self._speed[self._now] * self._step
        self._boxes[self._now] = boxes

    def match(
        self, found: SequenceDetections, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Match those of the frame; who finds nothing is followed no more."""
        from motrail.track.association import match, side

        now = self._now
        here, there = match(
            side(cxcywh_to_ltrb(self._boxes[now].T), self._classes[now], None),
            side(found.boxes_xyxy[rows].T.astype(np.float64), found.class_ids[rows], None),
            _MATCH_THRESHOLD,
            weighted=False,
            classes=True,
            height_weight=_HEIGHT_WEIGHT,
        )
        self._now, those = now[here], rows[there]
        boxes = found.boxes_xyxy[those].astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        self._boxes[self._now] += (centred(boxes) - self._boxes[self._now]) / 2
        return those, self._ids[self._now]


def _joined(
    tracks: SequenceTracks,
    spare: Spare,
    taken: list[tuple[NDArray[np.intp], NDArray[np.int64]]],
) -> SequenceTracks:
    rows = np.concatenate([rows for rows, _ in taken])
    found = spare.found[np.sort(rows)]
    ids = np.concatenate([ids for _, ids in taken])[np.argsort(rows)]
    frames = np.concatenate((tracks.frames, found.frames))
    ids = np.concatenate((tracks.ids, ids))
    order = np.lexsort((ids, frames))
    return SequenceTracks(
        frames=frames[order],
        ids=ids[order],
        boxes_xyxy=np.concatenate((tracks.boxes_xyxy, found.boxes_xyxy))[order],
        scores=np.concatenate((tracks.scores, found.scores))[order],
        class_ids=np.concatenate((tracks.class_ids, found.class_ids))[order],
        detection_index=np.concatenate((tracks.detection_index, spare.rows[np.sort(rows)]))[order],
    )
