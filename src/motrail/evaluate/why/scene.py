"""What a tracker had to work with, box by box: which detection was whose, which track was alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.boxes import xyxy_to_xywh
from motrail.evaluate.pairs import EPS, best_matching, make_pairs
from motrail.track.fill import carried, centred

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.evaluate.clear import Matching
    from motrail.evaluate.pairs import SequencePairs
    from motrail.evaluate.protocol import Counted
    from motrail.evaluate.why.replayed import Replayed
    from motrail.formats.labels import Labels

# The IoU from which a detection is one of a true box.
_DETECTED = 0.5

NEVER = -(1 << 30)
"""The frame of what never was."""


class Lives:
    """When each track was matched to a detection.

    A track that a filter keeps out of the results is alive all the same. The first detection of a
    track is no part of it here unless it was given out then. Some trackers give out a track where
    it was not matched: it has a row in such a frame, but `last_before` does not count it.

    Args:
        frames: Of each row, shape (n,).
        ids: Of each row, shape (n,).
        matched: Whether there was a detection, bool, shape (n,); None where there was in all.
    """

    def __init__(
        self,
        frames: NDArray[np.int64],
        ids: NDArray[np.int64],
        matched: NDArray[np.bool_] | None = None,
    ) -> None:
        keys = ids << 32 | frames
        self._rows = np.argsort(keys, kind="stable")
        self._keys = keys[self._rows]
        self._matched = self._keys if matched is None else self._keys[matched[self._rows]]

    def row_at(self, ids: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each identity in a frame; -1 where it has none."""
        if not len(self._keys):
            return np.full(np.shape(ids), -1, np.int64)
        wanted = ids << 32 | frames
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[place] == wanted, self._rows[place], -1)

    def last_before(self, ids: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """The last frame before the given one in which each identity was matched, or `NEVER`."""
        if not len(self._matched):
            return np.full(np.shape(ids), NEVER, np.int64)
        place = np.searchsorted(self._matched, ids << 32 | frames) - 1
        found = self._matched[np.maximum(place, 0)]
        known = (place >= 0) & (found >> 32 == ids)
        return np.where(known, found & 0xFFFFFFFF, NEVER)

    def first(self, identity: int) -> int:
        """The first frame of an identity that occurs."""
        return int(self._keys[np.searchsorted(self._keys, identity << 32)] & 0xFFFFFFFF)

    def rows_of(self, identity: int) -> NDArray[np.int64]:
        """All rows of an identity, in the order of frames."""
        ends = np.searchsorted(self._keys, [identity << 32, (identity + 1) << 32])
        return self._rows[slice(*ends.tolist())]


class Scene:
    """Truth, detections and tracks of one class of a sequence.

    Rows of truth are those of the counted pairs.

    Attributes:
        frames: Frame of each true box, from 1, int64, shape (n,).
        identity: Its identity as the pairs number it, int64, shape (n,).
        ids: The same as the labels have it.
        boxes_xywh: float64, shape (n, 4).
        track_row: Row in the replayed tracks that it is matched to, -1 for none, int64, shape (n,).
        own: Identity in the replay that the object was last matched to before, -1 for none, int64,
            shape (n,).
        own_frame: The frame of that match, or `NEVER`, int64, shape (n,).
        detection: Row of the detection that is this object's, -1 for none; for a box that was
            missed the best that is no other object's: those that reach the high threshold come
            first, then those above the low one, and then the larger IoU. int64, shape (n,).
        touched: Whether any detection of its class has an IoU of 0.5 or more with the true box,
            bool, shape (n,).
        mistaken: Whether one of another class does that lies above the low threshold, where the
            tracker keeps classes apart, bool, shape (n,).
        of_class: Whether each row of `tracks` is of this class, bool.
        tracks: All tracks of the replay.
        lives: When each was matched.
        truth_of: Row of the true box that each row of `tracks` is matched to, or -1.
        track_of: Row of `tracks` that took each detection, or -1.
    """

    def __init__(
        self,
        counted: Counted,
        matching: Matching,
        truth: Labels,
        replay_rows: NDArray[np.int64],
        replayed: Replayed,
        classes: NDArray[np.bool_],
    ) -> None:
        self.tracks, self.shown = replayed.tracks, replayed.shown
        self.settings, self.lost_frames = replayed.settings, replayed.lost_frames
        self.detections = replayed.file.detections
        self.frames = truth.frames[counted.truth_rows]
        self.identity = counted.pairs.truth_ids
        self.ids = truth.ids[counted.truth_rows]
        self.boxes_xywh = truth.boxes_xywh[counted.truth_rows]
        self.lives = Lives(self.tracks.frames, self.tracks.ids, self.tracks.detection_index >= 0)
        self._camera, self._revive_frames = replayed.camera, replayed.revive_frames
        self.track_of = _inverse(self.tracks.detection_index, len(self.detections))
        self.track_row = _track_rows(counted, matching, replay_rows)
        self.truth_of = _inverse(self.track_row, len(self.tracks))
        self.own, self.own_frame = self._own_tracks(matching.order)
        self.order = matching.order
        self._starts = np.searchsorted(
            self.identity[self.order], np.arange(counted.pairs.truth_count + 1)
        )
        self._missed = matching.matched < 0
        self.of_class = classes[self.tracks.class_ids]
        fits = classes[self.detections.class_ids]
        if self.settings.class_mode != "separate":
            fits = np.ones(len(fits), np.bool_)
        self.touched, self.detection = self._detections(truth.length, np.flatnonzero(fits))
        self.mistaken = self._near(truth.length, np.flatnonzero(~fits & self._usable()))

    def _own_tracks(self, order: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`own` and `own_frame`."""
        row = self.track_row[order]
        known = row >= 0
        last = np.maximum.accumulate(np.where(known, np.arange(len(row)), -1))
        last = np.concatenate(([-1], last[:-1]))[: len(row)]
        identity = self.identity[order]
        fits = (last >= 0) & (identity[last] == identity)
        own = np.full(len(row), -1, np.int64)
        own[order[fits]] = self.tracks.ids[row[last[fits]]]
        own_frame = np.full(len(row), NEVER, np.int64)
        own_frame[order[fits]] = self.frames[order[last[fits]]]
        return own, own_frame

    def _detections(
        self, length: int, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """`touched` and `detection`."""
        pairs = self._pairs(length, rows)
        near = pairs.pair_iou >= _DETECTED - EPS
        touched = np.zeros(len(self.frames), np.bool_)
        touched[pairs.pair_truth[near]] = True
        detection = np.full(len(self.frames), -1, np.int64)
        matched = self.track_row >= 0
        detection[matched] = self.tracks.detection_index[self.track_row[matched]]
        taken = np.isin(rows, detection[matched])
        # A box that was matched has its detection; weighing by rank puts strong ones first.
        free = near & self._missed[pairs.pair_truth] & ~taken[pairs.pair_result]
        rank = self.rank(rows)[pairs.pair_result]
        chosen = best_matching(pairs, np.where(free, pairs.pair_iou + 2.0 * rank, 0.0))
        detection[pairs.pair_truth[chosen]] = rows[pairs.pair_result[chosen]]
        return touched, detection

    def _pairs(self, length: int, rows: NDArray[np.intp]) -> SequencePairs:
        """True boxes and detections that overlap."""
        found = self.detections[rows]
        return make_pairs(
            length,
            self.frames - 1,
            self.identity,
            self.boxes_xywh,
            found.frames - 1,
            np.arange(len(rows)),
            xyxy_to_xywh(found.boxes_xyxy.astype(np.float64)),
        )

    def _near(self, length: int, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """True boxes that one of these detections belongs to."""
        near = np.zeros(len(self.frames), np.bool_)
        if len(rows):
            pairs = self._pairs(length, rows)
            near[pairs.pair_truth[pairs.pair_iou >= _DETECTED - EPS]] = True
        return near

    def _usable(self) -> NDArray[np.bool_]:
        usable: NDArray[np.bool_] = self.rank(np.arange(len(self.detections))) > 0
        return usable

    def rank(self, rows: NDArray[np.intp] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Of detections: 2 from the high threshold up, 1 above the low one, 0 below."""
        scores = self.detections.scores[rows]
        high = scores >= np.float32(self.settings.high_threshold)
        rank: NDArray[np.int64] = high * 1 + (
            high | (scores > np.float32(self.settings.low_threshold))
        )
        return rank

    def rows_of(self, identity: int) -> NDArray[np.intp]:
        """Rows of an identity, as the pairs number it, in the order of frames."""
        return self.order[self._starts[identity] : self._starts[identity + 1]]

    def tried_weak(self, last: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether tracks last matched in `last` may be matched to weak detections in `frames`."""
        tried: NDArray[np.bool_] = frames - last <= max(1, self._revive_frames)
        return tried

    def taken_out(self, row: int, start: int, end: int) -> NDArray[np.float64]:
        """How far the tracker carried a true box along with the camera, pixels, shape (2,).

        Args:
            row: Of the box.
            start: From this frame.
            end: To this one.
        """
        if not self._camera or end <= start:
            return np.zeros(2)
        box = centred(self.boxes_xywh[[row]])
        looks = np.array([end - start])
        path = carried(self._camera, box, np.array([start + 1]), looks, 1)
        moved: NDArray[np.float64] = (path[-1] - box[0])[:2]
        return moved

    def alive(self, last: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether tracks last matched in `last` can be matched in `frames`."""
        alive: NDArray[np.bool_] = frames - 1 - last <= self.lost_frames
        return alive


def _inverse(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Where each of the numbers below `length` stands in `index`, or -1."""
    places = np.full(length, -1, np.int64)
    there = np.flatnonzero(index >= 0)
    places[index[there]] = there
    return places


def _track_rows(
    counted: Counted, matching: Matching, replay_rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Row in the replay of each true box's match."""
    pairs = counted.pairs
    found = Lives(pairs.result_frames, pairs.result_ids)
    row = found.row_at(np.maximum(matching.matched, 0), pairs.truth_frames)
    track = np.full(len(row), -1, np.int64)
    hit = matching.matched >= 0
    track[hit] = replay_rows[counted.result_rows[row[hit]]]
    return track
