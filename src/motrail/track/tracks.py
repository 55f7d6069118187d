"""What every tracker keeps of its tracks: states, identities, classes, and who is confirmed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from motrail.errors import ConfigError
from motrail.track.kalman import POSITION, VELOCITY, BoxFilter
from motrail.track.votes import Votes
from motrail.types import Tracks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from motrail.config import ClassMode
    from motrail.types import Detections

    Convert = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Rows of the table of whole numbers.
ID, START, LAST, LOST, CLASS, HITS = range(6)


class TrackTable:
    """The tracks of a tracker, a column each: the confirmed ones first, then those seen once.

    Args:
        box_filter: How states move and are corrected.
        from_ltrb: Boxes left, top, right, bottom (4, n) to the coordinates of the states.
        to_ltrb: The way back.
        class_mode: See `motrail.ByteTracker`.

    Attributes:
        frame: Number of the last frame, counted in frames of the source; 0 before the first.
        state: Of the filter, float64, shape (5, 4, n).
        table: Whole numbers, int64, shape (6, n).
        scores: Of the last two detections of each, the last one first, float64, shape (2, n).
        confirmed: How many are.
    """

    _ROWS: ClassVar[int] = 6

    def __init__(
        self, box_filter: BoxFilter, from_ltrb: Convert, to_ltrb: Convert, class_mode: ClassMode
    ) -> None:
        self.filter = box_filter
        self.from_ltrb, self.to_ltrb = from_ltrb, to_ltrb
        self._class_mode = class_mode
        self.frame = 0
        self.state = np.empty((5, 4, 0))
        self.table = np.empty((self._ROWS, 0), np.int64)
        self.scores = np.empty((2, 0))
        self.confirmed = 0
        self._next_id = 1
        self._votes = Votes()

    def __len__(self) -> int:
        return int(self.table.shape[1])

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Left, top, right, bottom of all, (4, n)."""
        return self.to_ltrb(self.state[POSITION])

    def missed(self) -> NDArray[np.int64]:
        """Frames of the source since each was last matched, (n,)."""
        since: NDArray[np.int64] = self.frame - self.table[LAST]
        return since

    def see(
        self,
        detection_of: NDArray[np.intp],
        boxes: NDArray[np.float64],
        detections: Detections,
    ) -> None:
        """Correct those that were matched, and note it.

        Args:
            detection_of: Row of the detection of each track; -1 where there is none.
            boxes: Of all detections, (4, m).
            detections: The same with scores and classes.
        """
        tracks = (detection_of >= 0).nonzero()[0]
        found = detection_of[tracks]
        measured = self.from_ltrb(boxes[:, found])
        self.state[:, :, tracks] = self.filter.update(self.state.take(tracks, axis=2), measured)
        self.table[LAST, tracks] = self.frame
        self.table[HITS, tracks] += 1
        self.scores[1, tracks] = self.scores[0, tracks]
        self.scores[0, tracks] = detections.scores[found]
        if self._class_mode != "separate":
            seen_as = detections.class_ids[found]
            if self._class_mode == "vote":
                seen_as = self._votes.cast(tracks, seen_as, self.table[CLASS, tracks])
            self.table[CLASS, tracks] = seen_as

    def predict(self, step: int, still: int | slice, lost_frames: int) -> None:
        """Move the confirmed ones on by so many frames.

        Args:
            step: Frames of the source since the last look.
            still: The coordinates that do not change on their own while a track is lost.
            lost_frames: A lost one that ran out in between goes.
        """
        if step > 1:
            stays = (self.table[LOST] == 0) | (self.missed() - 1 <= lost_frames)
            stays[self.confirmed :] = True
            self.keep(stays)
        states = self.state[:, :, : self.confirmed]
        states[VELOCITY, still] *= 1 - self.table[LOST, : self.confirmed]
        for _ in range(step):
            self.filter.predict(states)

    def name(self, tracks: NDArray[np.intp]) -> None:
        """Give identities, in this order."""
        self.table[ID, tracks] = np.arange(self._next_id, self._next_id + len(tracks))
        self._next_id += len(tracks)

    def begin(
        self, boxes: NDArray[np.float64], detections: Detections, born: NDArray[np.intp]
    ) -> None:
        """Add tracks that are seen for the first time, unconfirmed and without identity.

        Args:
            boxes: Of all detections, (4, m).
            detections: The same with scores and classes.
            born: Rows of those that begin a track.
        """
        if not len(born):
            return
        state = self.filter.initiate(self.from_ltrb(boxes[:, born]))
        table = np.zeros((self._ROWS, len(born)), np.int64)
        table[START] = table[LAST] = self.frame
        table[CLASS] = detections.class_ids[born]
        table[HITS] = 1
        scores = np.broadcast_to(detections.scores[born], (2, len(born)))
        self.state = np.concatenate((self.state, state), axis=2)
        self.table = np.concatenate((self.table, table), axis=1)
        self.scores = np.concatenate((self.scores, scores), axis=1)
        if self._class_mode == "vote":
            self._votes.begin(table[CLASS])

    def keep(self, stays: NDArray[np.bool_]) -> None:
        """Forget the tracks that do not stay."""
        if stays.all():
            return
        self.confirmed = int(np.count_nonzero(stays[: self.confirmed]))
        self.state = self.state[:, :, stays]
        self.table = self.table[:, stays]
        self.scores = self.scores[:, stays]
        if self._class_mode == "vote":
            self._votes.keep(stays)


def split_by_score(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float32],
    high: np.float32,
    low: np.float32,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the detections with high scores, and of those with low ones.

    Args:
        boxes: Left, top, right, bottom, (4, m); those without area are left out.
        scores: Of them, (m,).
        high: What reaches this is high.
        low: What is above this, and not high, is low.
    """
    reaches = scores >= high
    usable = scores > low
    solid = boxes[2:] > boxes[:2]
    if not solid.all():  # a box without area has no aspect ratio
        reaches &= solid.all(axis=0)
        usable &= solid.all(axis=0)
    return reaches.nonzero()[0], (usable > reaches).nonzero()[0]


def given_out(
    tracks: TrackTable,
    shown: NDArray[np.intp],
    boxes: NDArray[np.float64],
    scores: NDArray[np.float32],
    detection_of: NDArray[np.intp],
    *,
    min_box_area: float,
    max_aspect_ratio: float | None,
) -> Tracks:
    """What a tracker answers with.

    Args:
        tracks: All of its tracks.
        shown: Those that are given out.
        boxes: Of these, left, top, right, bottom, (4, k).
        scores: Of these, (k,).
        detection_of: Row of the detection of each, (k,); -1 where there is none.
        min_box_area: Smaller ones are left out.
        max_aspect_ratio: Wider ones are left out.
    """
    if min_box_area > 0 or max_aspect_ratio is not None:
        width, height = boxes[2:] - boxes[:2]
        limit = math.inf if max_aspect_ratio is None else max_aspect_ratio
        passes = (width * height >= min_box_area) & (width <= limit * height)
        shown, boxes, scores = shown[passes], boxes[:, passes], scores[passes]
        detection_of = detection_of[passes]
    return Tracks.trusted(
        ids=tracks.table[ID, shown],
        boxes_xyxy=boxes.T.astype(np.float32, order="C"),
        scores=scores,
        class_ids=tracks.table[CLASS, shown],
        detection_index=detection_of,
    )


def frames_of(name: str, frames: int, seconds: float | None, frame_rate: float | None) -> int:
    """A number of frames that may be given in seconds.

    Raises:
        ConfigError: It is, but the frame rate is not.
    """
    if seconds is None:
        return frames
    if frame_rate is None:
        raise ConfigError(f"{name}: needs frame_rate, the frames a second of the source")
    # A hair more than the product, so that 0.1 s at 30 frames a second is 3 frames.
    return int(seconds * frame_rate + 1e-6)
