"""ByteTrack: associate every detection box, the weak ones too.

Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box",
ECCV 2022. With the published settings the answers are those of the published code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.boxes import overlapping_pairs
from motrail.config import TrackerSettings
from motrail.errors import ConfigError
from motrail.track.association import CLASS, match, side
from motrail.track.kalman import (
    HEIGHT,
    BoxFilter,
    ltrb_to_xyah,
    xyah_to_ltrb,
)
from motrail.track.tracks import (
    CLASS as CLASS_ROW,
)
from motrail.track.tracks import (
    LAST,
    LOST,
    START,
    TrackTable,
    frames_of,
    given_out,
    split_by_score,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.config import ClassMode
    from motrail.types import Detections, Tracks

# A tracked and a lost track that overlap more than this are the same object.
_DUPLICATE_IOU = 0.85


class ByteTracker:
    """Follows objects from frame to frame by overlap and motion.

    Each frame, tracks are predicted by a Kalman filter, matched to the detections with high
    scores, what is left of them to the detections with low scores, and new tracks are begun.
    A new track is given out when it is matched a second time; in the first frame at once.
    An instance has no state in common with any other: one per video, camera or session.

    Args:
        high_threshold: Detections that reach this score take part in the first association and
            may begin tracks. Raise it when false detections get tracks of their own.
        low_threshold: Detections above this score, but below `high_threshold`, can only continue
            tracks: objects that are half hidden or blurred. Lower ones are ignored.
        new_track_threshold: Score that a detection must reach to begin a track.
        match_threshold: Largest cost of a match in the first association, in (0, 1]. The cost is
            1 − IoU · score, or 1 − IoU without `score_fusion`; IoU counts inclusive pixels (+1).
            Among all matchings, the one with the smallest sum of (cost − threshold) wins. Raise
            it for fast objects or few frames a second; lower it when identities jump.
        second_match_threshold: The same for the second association, cost 1 − IoU.
        unconfirmed_match_threshold: The same for tracks seen once, cost as in the first.
        lost_frames: The most consecutive missed frames after which a track can still be found
            again. Counts frames of the source, also when only every n-th is looked at.
        lost_seconds: The same in seconds, together with `frame_rate`; wins over `lost_frames`.
        frame_rate: Frames a second of the source.
        score_fusion: Whether the score of a detection counts in the cost of matching it.
        class_mode: `"separate"`: objects of different classes never match. `"vote"`: they may, and
            the class of a track is the one it was seen as most often so far (the latest among
            equals). `"ignore"`: they may, and the class given out is that of the detection.
        min_box_area: Boxes smaller than this, in square pixels, are tracked but not given out.
        max_aspect_ratio: Boxes whose width / height is above this are tracked but not given out.
            ByteTrack's demo for people uses `min_box_area=10` and `max_aspect_ratio=1.6`.

    Raises:
        ConfigError: A setting is out of range, or `lost_seconds` is given without `frame_rate`.
    """

    def __init__(
        self,
        high_threshold: float = 0.6,
        low_threshold: float = 0.1,
        new_track_threshold: float = 0.7,
        match_threshold: float = 0.8,
        second_match_threshold: float = 0.5,
        unconfirmed_match_threshold: float = 0.7,
        lost_frames: int = 30,
        lost_seconds: float | None = None,
        frame_rate: float | None = None,
        score_fusion: bool = True,
        class_mode: ClassMode = "separate",
        min_box_area: float = 0,
        max_aspect_ratio: float | None = None,
    ) -> None:
        TrackerSettings(  # which sees that all are in range
            high_threshold=high_threshold,
            low_threshold=low_threshold,
            new_track_threshold=new_track_threshold,
            match_threshold=match_threshold,
            second_match_threshold=second_match_threshold,
            unconfirmed_match_threshold=unconfirmed_match_threshold,
            lost_frames=lost_frames,
            lost_seconds=lost_seconds,
            frame_rate=frame_rate,
            score_fusion=score_fusion,
            class_mode=class_mode,
            min_box_area=min_box_area,
            max_aspect_ratio=max_aspect_ratio,
        )
        # float32, as the scores are: 0.7 must reach 0.7.
        self.high_threshold = np.float32(high_threshold)
        self.low_threshold = np.float32(low_threshold)
        self.new_track_threshold = np.float32(new_track_threshold)
        self.match_threshold = match_threshold
        self.second_match_threshold = second_match_threshold
        self.unconfirmed_match_threshold = unconfirmed_match_threshold
        self.lost_frames = frames_of("lost_seconds", lost_frames, lost_seconds, frame_rate)
        self.score_fusion = score_fusion
        self.class_mode: ClassMode = class_mode
        self.min_box_area = min_box_area
        self.max_aspect_ratio = max_aspect_ratio
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first, ids start from 1 again."""
        self._tracks = TrackTable(BoxFilter(), ltrb_to_xyah, xyah_to_ltrb, self.class_mode)

    def update(self, detections: Detections, *, step: int = 1) -> Tracks:
        """Take in the detections of the next frame and answer with the tracks seen in it.

        Call it for frames without detections too: they age the tracks.

        Args:
            detections: What was detected, with the low scores. Not modified.
            step: Frames of the source since the last call, 1 or more; tracks are predicted that
                many times.

        Returns:
            The confirmed tracks matched in this frame, with filtered boxes and
            `detection_index` pointing into `detections`; ordered by id.

        Raises:
            ConfigError: `step` is below 1.
        """
        if step < 1:
            raise ConfigError(f"step: expected 1 or more frames, found {step}")
        first = self._tracks.frame == 0
        self._tracks.frame += step
        self._tracks.predict(step, HEIGHT, self.lost_frames)
        boxes = np.array(detections.boxes_xyxy.T, np.float64, order="C")
        track_of = np.full(len(detections), -1)
        high, low = split_by_score(
            boxes, detections.scores, self.high_threshold, self.low_threshold
        )
        unmatched = self._match_all(boxes, detections, high, low, track_of)
        matched = (track_of >= 0).nonzero()[0]
        detection_of = np.full(len(self._tracks), -1)
        detection_of[track_of[matched]] = matched
        self._tracks.see(detection_of, boxes, detections)
        born = unmatched[detections.scores[unmatched] >= self.new_track_threshold]
        detection_of = self._renew(detection_of, born, boxes, detections, first=first)
        return self._give_out(detection_of, detections.scores)

    def _match_all(
        self,
        boxes: NDArray[np.float64],
        detections: Detections,
        high: NDArray[np.intp],
        low: NDArray[np.intp],
        track_of: NDArray[np.intp],
    ) -> NDArray[np.intp]:
        """Run the three associations, note the matches in `track_of`; high boxes left over."""
        confirmed = self._tracks.confirmed
        separate, weighted = self.class_mode == "separate", self.score_fusion
        tracks = side(self._tracks.boxes, self._tracks.table[CLASS_ROW], None)
        found = side(boxes, detections.class_ids, detections.scores)

        rows, columns = match(
            tracks[:, :confirmed],
            found.take(high, axis=1),
            self.match_threshold,
            weighted=weighted,
            classes=separate,
        )
        track_of[high[columns]] = rows
        if len(low):
            free = self._tracks.table[LOST, :confirmed] == 0
            free[rows] = False
            tracked = free.nonzero()[0]
            rows, columns = match(
                tracks.take(tracked, axis=1),
                found.take(low, axis=1),
                self.second_match_threshold,
                weighted=False,
                classes=separate,
            )
            track_of[low[columns]] = tracked[rows]
        left = high[track_of[high] < 0]
        rows, columns = match(
            tracks[:, confirmed:],
            found.take(left, axis=1),
            self.unconfirmed_match_threshold,
            weighted=weighted,
            classes=separate,
        )
        track_of[left[columns]] = rows + confirmed
        return left[track_of[left] < 0] if len(rows) else left

    def _renew(
        self,
        detection_of: NDArray[np.intp],
        born: NDArray[np.intp],
        boxes: NDArray[np.float64],
        detections: Detections,
        *,
        first: bool,
    ) -> NDArray[np.intp]:
        """Confirm, lose, forget and begin tracks; the detection of each track that is left."""
        tracks = self._tracks
        seen = detection_of >= 0
        tracks.table[LOST] = ~seen
        stays = seen | (tracks.missed() <= self.lost_frames)
        stays[tracks.confirmed :] = seen[tracks.confirmed :]
        tracks.name(seen[tracks.confirmed :].nonzero()[0] + tracks.confirmed)
        classes = detections.class_ids[born]
        duplicate = self._duplicates(seen, stays, boxes[:, born], classes)
        known = stays & ~duplicate[: len(stays)]
        born = born[~duplicate[len(stays) :]]
        tracks.keep(known)
        tracks.confirmed = len(tracks)
        tracks.begin(boxes, detections, born)
        if first:
            tracks.name(np.arange(len(born)))
            tracks.confirmed = len(born)
        return np.concatenate((detection_of[known], born))

    def _duplicates(
        self,
        seen: NDArray[np.bool_],
        stays: NDArray[np.bool_],
        born_boxes: NDArray[np.float64],
        born_classes: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Of a seen and a lost track on the same place, the one with the shorter life.

        Also marks boxes about to begin a track: they come after the tracks in the answer.
        """
        duplicate = np.zeros(len(seen) + len(born_classes), np.bool_)
        lost = (stays > seen).nonzero()[0]
        if not len(lost):
            return duplicate
        tracked = seen.nonzero()[0]
        table, boxes = self._tracks.table, self._tracks.boxes
        present = np.concatenate((tracked, np.arange(len(seen), len(duplicate))))
        shown = side(
            np.concatenate((boxes[:, tracked], born_boxes), axis=1),
            np.concatenate((table[CLASS_ROW, tracked], born_classes)),
            None,
        )
        hidden = side(boxes[:, lost], table[CLASS_ROW, lost], None)
        pairs = overlapping_pairs(shown, hidden, min_iou=_DUPLICATE_IOU)
        same = pairs.iou > _DUPLICATE_IOU
        if not same.any():
            return duplicate
        if self.class_mode == "separate":
            same &= shown[CLASS].take(pairs.rows) == hidden[CLASS].take(pairs.columns)
        rows, columns = present[pairs.rows[same]], lost[pairs.columns[same]]
        life = np.zeros(len(duplicate), np.int64)
        life[: len(seen)] = table[LAST] - table[START]
        older = life[rows] > life[columns]
        duplicate[columns[older]] = True
        duplicate[rows[~older]] = True
        return duplicate

    def _give_out(self, detection_of: NDArray[np.intp], scores: NDArray[np.float32]) -> Tracks:
        tracks = self._tracks
        shown = (detection_of[: tracks.confirmed] >= 0).nonzero()[0]
        found = detection_of[shown]
        return given_out(
            tracks,
            shown,
            tracks.boxes[:, shown],
            scores[found],
            found,
            min_box_area=self.min_box_area,
            max_aspect_ratio=self.max_aspect_ratio,
        )
