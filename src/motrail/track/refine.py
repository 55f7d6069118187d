"""Refine tracks when all frames are known: drop short ones, fill gaps, smooth.

Filling gaps by straight lines is the tracklet interpolation of ByteTrack (Zhang et al., ECCV 2022,
arXiv 2110.06864), there for gaps of up to 20 frames: where somebody was hidden for a moment, the
boxes before and after say well enough where.

Smoothing takes away the jitter of a detector, which puts each box a little beside the last. A box
becomes the mean of those around it in time, weighted by a Gaussian of one width for all tracks.
This is not the Gaussian-process smoothing of StrongSORT (Du et al., IEEE Transactions on Multimedia
2023, arXiv 2202.13514): that one fits a process to each track, whose length scale depends on the
length of the track, and solves a system of equations as large as the track is long. Both end with
means of neighbours; this one costs the same for every box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import ConfigError, DataError
from motrail.types import SequenceTracks, Tracks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from motrail.config import RefineSettings

_DEVIATIONS = 4
"""How many standard deviations the Gaussian reaches to either side."""
_TOGETHER = 1000
"""Frames after which what was kept is put together, which takes less memory."""


class Refined(NamedTuple):
    """Refined rows, ordered by frame, then id.

    Attributes:
        rows: Row of the input, int64, shape (n,); for a filled one the last row before its gap.
        filled: Whether the row stands in a gap that was filled, bool, shape (n,).
        changed: Whether its box may be another than that of the row of the input, bool,
            shape (n,).
        frames: int64, shape (n,).
        boxes_xywh: Left, top, width, height in pixels, float64, shape (n, 4).
        scores: float64, shape (n,).
    """

    rows: NDArray[np.int64]
    filled: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    frames: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    scores: NDArray[np.float64]

    def pick(self, rows: NDArray[np.intp]) -> Refined:
        """Pick rows by an array of indices."""
        return Refined(
            self.rows[rows],
            self.filled[rows],
            self.changed[rows],
            self.frames[rows],
            self.boxes_xywh[rows],
            self.scores[rows],
        )


def refine(tracks: SequenceTracks, settings: RefineSettings, *, step: int = 1) -> SequenceTracks:
    """Refine the tracks of a sequence.

    Args:
        tracks: As a tracker gave them out.
        settings: What to do; short tracks are left out first, then gaps filled, then boxes
            smoothed.
        step: Frames of the source from one that was looked at to the next. Rows that far apart
            follow each other without a gap, and only frames that were looked at are filled.

    Returns:
        Tracks ordered by frame, then id; `tracks` itself if everything is off. Filled rows have
        the class of the row before the gap, a score on the line between those around it and no
        `detection_index` (-1).

    Raises:
        ConfigError: `step` is below 1.
        DataError: An id stands twice in a frame, or frames of a track are not multiples of `step`
            apart.
    """
    if not settings.active:
        return tracks
    boxes = tracks.boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    refined = refine_rows(
        tracks.frames, tracks.ids, boxes, tracks.scores.astype(np.float64), settings, step=step
    )
    boxes = refined.boxes_xywh
    boxes[:, 2:] += boxes[:, :2]
    same = ~refined.changed
    boxes[same] = tracks.boxes_xyxy[refined.rows[same]]
    return SequenceTracks(
        frames=refined.frames,
        ids=tracks.ids[refined.rows],
        boxes_xyxy=boxes,
        scores=refined.scores,
        class_ids=tracks.class_ids[refined.rows],
        detection_index=np.where(refined.filled, -1, tracks.detection_index[refined.rows]),
    )


def refine_rows(
    frames: NDArray[np.int64],
    ids: NDArray[np.int64],
    boxes_xywh: NDArray[np.float64],
    scores: NDArray[np.float64],
    settings: RefineSettings,
    *,
    step: int = 1,
) -> Refined:
    """Refine rows of tracks, which may come in any order. As `refine`, at full precision.

    Args:
        frames: Frame numbers, int64, shape (n,).
        ids: Identities, int64, shape (n,).
        boxes_xywh: Left, top, width, height in pixels, float64, shape (n, 4).
        scores: float64, shape (n,).
        settings: What to do.
        step: Frames of the source from one that was looked at to the next.

    Raises:
        ConfigError: As for `refine`.
        DataError: As for `refine`.
    """
    if step < 1:
        raise ConfigError(f"step: expected 1 or more, found {step}")
    order = np.lexsort((frames, ids))
    _check(frames[order], ids[order], step)
    rows = _long_enough(order, ids, settings.min_length)
    refined = _fill(rows, frames, ids, settings.max_gap, step)
    refined = _interpolate(refined, frames, boxes_xywh, scores)
    if settings.smoothing:
        refined = _smooth(refined, ids, settings.smoothing / step, step)
    return refined.pick(np.argsort(refined.frames, kind="stable"))  # ids are in order already


def _check(frames: NDArray[np.int64], ids: NDArray[np.int64], step: int) -> None:
    """See that rows ordered by id, then frame, can be tracks."""
    apart = np.diff(frames)
    follows = ids[1:] == ids[:-1]
    twice = np.flatnonzero(follows & (apart == 0))
    if len(twice):
        row = twice[0]
        raise DataError(
            f"expected each id once in a frame, found {ids[row]} twice in frame {frames[row]}"
        )
    odd = np.flatnonzero(follows & (apart % step != 0))
    if len(odd):
        row = odd[0]
        raise DataError(
            f"expected frames of a track to be a multiple of {step} apart, found id {ids[row]} in "
            f"frames {frames[row]} and {frames[row + 1]}; were they made with a stride of {step}?"
        )


def _long_enough(
    order: NDArray[np.intp], ids: NDArray[np.int64], min_length: int
) -> NDArray[np.intp]:
    """Rows of the tracks that have at least so many of them, in the same order."""
    _, which, lengths = np.unique(ids[order], return_inverse=True, return_counts=True)
    return order[lengths[which] >= min_length]


def _fill(
    rows: NDArray[np.intp],
    frames: NDArray[np.int64],
    ids: NDArray[np.int64],
    max_gap: int,
    step: int,
) -> Refined:
    """Put copies of the row before into each gap; the boxes are still to be filled in."""
    apart = np.diff(frames[rows])
    follows = np.diff(ids[rows]) == 0
    copies = np.ones(len(rows), np.int64)
    copies[:-1][follows & (apart - 1 <= max_gap)] = apart[follows & (apart - 1 <= max_gap)] // step
    run, place = _counted(copies)
    filled = place > 0
    none = np.empty((len(run), 4))
    return Refined(
        rows[run], filled, filled.copy(), frames[rows[run]] + place * step, none, none[:, 0]
    )


def _interpolate(
    refined: Refined,
    frames: NDArray[np.int64],
    boxes_xywh: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> Refined:
    """Boxes and scores of rows ordered by id, then frame; in gaps on the line across."""
    boxes, score = boxes_xywh[refined.rows], scores[refined.rows]
    new = np.flatnonzero(refined.filled)
    real = np.flatnonzero(~refined.filled)
    before, after = refined.rows[new], refined.rows[real[np.searchsorted(real, new)]]
    share = (refined.frames[new] - frames[before]) / (frames[after] - frames[before])
    boxes[new] += share[:, None] * (boxes_xywh[after] - boxes_xywh[before])
    score[new] += share * (scores[after] - scores[before])
    return refined._replace(boxes_xywh=boxes, scores=score)


def _smooth(refined: Refined, ids: NDArray[np.int64], sigma: float, step: int) -> Refined:
    """Smooth each unbroken run of rows, ordered by id, then frame.

    What is smoothed is how far a run strays from the straight line between its first and its last
    box, where it stays, so that a straight and uniform motion does not change.

    Args:
        refined: The rows.
        ids: Of the input.
        sigma: Standard deviation in rows.
        step: Frames from a row to the next.
    """
    from scipy.ndimage import gaussian_filter1d

    reach = round(_DEVIATIONS * sigma)
    starts, lengths = _runs(refined, ids, step)
    if not len(starts) or not reach:
        return refined
    run, place = _counted(lengths)
    row = starts[run] + place
    boxes = refined.boxes_xywh.copy()
    first, last = boxes[starts], boxes[starts + lengths - 1]
    line = first[run] + (place / (lengths[run] - 1))[:, None] * (last - first)[run]
    beyond = _beyond_the_ends(boxes[row] - line, lengths, reach)
    smoothed = gaussian_filter1d(beyond, sigma, axis=0, mode="constant", radius=reach)
    # Where the Gaussian is cut off, a run of one huge box among tiny ones could go below zero.
    least = np.minimum.reduceat(boxes[row, 2:], np.cumsum(lengths) - lengths, axis=0)
    boxes[row] = line + smoothed[np.arange(len(row)) + (2 * run + 1) * reach]
    boxes[row, 2:] = np.maximum(boxes[row, 2:], least[run])
    changed = refined.changed.copy()
    changed[row] = True
    return refined._replace(boxes_xywh=boxes, changed=changed)


def _runs(
    refined: Refined, ids: NDArray[np.int64], step: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Start and length of each unbroken run that has more than its ends."""
    breaks = (np.diff(ids[refined.rows]) != 0) | (np.diff(refined.frames) != step)
    starts = np.append(0, np.flatnonzero(breaks) + 1)
    lengths = np.diff(starts, append=len(refined.rows))
    return starts[lengths > 2], lengths[lengths > 2]


def _beyond_the_ends(
    strays: NDArray[np.float64], lengths: NDArray[np.intp], reach: int
) -> NDArray[np.float64]:
    """Runs continued by `reach` rows at both ends, where they are 0: turned there by 180°.

    A short run is turned as often as it takes. Cutting the Gaussian off instead would let a box
    push the one in the middle of a run of three away from it.
    """
    run, place = _counted(lengths + 2 * reach)
    period = 2 * (lengths - 1)[run]
    place = (place - reach) % period
    turned = place >= lengths[run]
    place = np.where(turned, period - place, place)
    beyond: NDArray[np.float64] = strays[(np.cumsum(lengths) - lengths)[run] + place]
    beyond[turned] *= -1
    return beyond


def _counted(lengths: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For runs of these lengths one after the other: run and place in it of each member."""
    run = np.repeat(np.arange(len(lengths)), lengths)
    return run, np.arange(len(run)) - (np.cumsum(lengths) - lengths)[run]


class KeptTracks:
    """What a tracker gives out, kept until the last frame is known and refined then.

    Attributes:
        numbers: The frames that were looked at, ascending.
        tracks: The refined tracks; empty until `refine`.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.tracks = _joined([])
        self._kept: list[SequenceTracks] = []
        self._loose: list[SequenceTracks] = []
        self._detections = 0

    def keep(self, number: int, tracks: Tracks, detections: int) -> None:
        """Take the next frame.

        Args:
            number: Of the frame, counted from 1.
            tracks: What was given out for it.
            detections: How many detections the tracker was given for it.
        """
        index = tracks.detection_index
        index = np.where(index >= 0, index + self._detections, -1)
        frames = np.full(len(tracks), number)
        self._loose.append(
            SequenceTracks(
                frames, tracks.ids, tracks.boxes_xyxy, tracks.scores, tracks.class_ids, index
            )
        )
        self.numbers.append(number)
        self._detections += detections
        if len(self._loose) == _TOGETHER:
            self._kept.append(_joined(self._loose))
            self._loose.clear()

    def refine(
        self, settings: RefineSettings, *, step: int = 1
    ) -> tuple[SequenceTracks, SequenceTracks]:
        """The tracks as they were given out, and what `refine` makes of them."""
        before = _joined([*self._kept, *self._loose])
        self._kept.clear()
        self._loose.clear()
        self.tracks = refine(before, settings, step=step)
        return before, self.tracks

    def by_frame(self) -> Iterator[tuple[int, Tracks]]:
        """Number and refined tracks of each frame that was looked at, the empty ones too."""
        starts = np.searchsorted(self.tracks.frames, self.numbers, side="left").tolist()
        ends = np.searchsorted(self.tracks.frames, self.numbers, side="right").tolist()
        for number, start, end in zip(self.numbers, starts, ends, strict=True):
            rows = self.tracks[start:end]
            columns = (rows.boxes_xyxy, rows.scores, rows.class_ids, rows.detection_index)
            yield number, Tracks(rows.ids, *columns)


def _joined(parts: list[SequenceTracks]) -> SequenceTracks:
    none = np.empty(0, np.int64)
    parts = [SequenceTracks(none, none, np.empty((0, 4)), np.empty(0), none, none), *parts]
    return SequenceTracks(
        frames=np.concatenate([part.frames for part in parts]),
        ids=np.concatenate([part.ids for part in parts]),
        boxes_xyxy=np.concatenate([part.boxes_xyxy for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        class_ids=np.concatenate([part.class_ids for part in parts]),
        detection_index=np.concatenate([part.detection_index for part in parts]),
    )
