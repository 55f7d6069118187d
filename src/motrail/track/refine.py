"""Refine tracks when all frames are known: drop short and weak ones, fill gaps, smooth boxes.

Filling gaps by straight lines is the tracklet interpolation of ByteTrack (Zhang et al., ECCV 2022,
arXiv 2110.06864), there for gaps of up to 20 frames: where somebody was hidden for a moment, the
boxes before and after say well enough where. See `motrail.track.fill`.

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
from motrail.track.fill import boxes_in_gaps
from motrail.track.lead import follow_back
from motrail.track.smooth import counted, smooth_runs
from motrail.types import SequenceTracks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.config import RefineSettings
    from motrail.track.fill import CameraPath
    from motrail.track.lead import Spare

_HAIR = 1e-9
"""The mean of equal scores may be off by this."""


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


def refine(
    tracks: SequenceTracks,
    settings: RefineSettings,
    *,
    step: int = 1,
    frame_rate: float | None = None,
    camera: CameraPath | None = None,
    spare: Spare | None = None,
) -> SequenceTracks:
    """Refine the tracks of a sequence.

    Args:
        tracks: As a tracker gave them out. Where gaps are filled, rows without a detection are left
            out first, unless none has one: what a tracker guessed is filled in from both sides.
        settings: What to do; tracks are followed back first, short and weak ones then left out,
            gaps filled and boxes smoothed.
        step: Frames of the source from one that was looked at to the next. Rows that far apart
            follow each other without a gap, and only frames that were looked at are filled.
        frame_rate: Frames a second of the source, for settings in seconds.
        camera: How it moved; None where nothing is known.
        spare: Detections that no track has, for following tracks back; None where nobody has them.

    Returns:
        Tracks ordered by frame, then id; `tracks` itself if everything is off. Filled rows have
        the class of the row before the gap, a score on the line between those around it and no
        `detection_index` (-1).

    Raises:
        ConfigError: `step` is below 1, or settings are in seconds and there is no frame rate.
        DataError: An id stands twice in a frame, or frames of a track are not multiples of `step`
            apart.
    """
    if not settings.active:
        return tracks
    tracks = without_guesses(tracks, settings)
    if spare is not None and settings.leads:
        most = settings.in_frames(frame_rate, step).max_lead
        tracks = follow_back(tracks, spare, most, step=step, camera=camera)
    boxes = tracks.boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    refined = refine_rows(
        tracks.frames,
        tracks.ids,
        boxes,
        tracks.scores.astype(np.float64),
        settings,
        step=step,
        frame_rate=frame_rate,
        camera=camera,
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
    frame_rate: float | None = None,
    camera: CameraPath | None = None,
) -> Refined:
    """Refine rows of tracks, which may come in any order. As `refine`, at full precision.

    Args:
        frames: Frame numbers, int64, shape (n,).
        ids: Identities, int64, shape (n,).
        boxes_xywh: Left, top, width, height in pixels, float64, shape (n, 4).
        scores: float64, shape (n,).
        settings: What to do.
        step: Frames of the source from one that was looked at to the next.
        frame_rate: Frames a second of the source, for settings in seconds.
        camera: How it moved; None where nothing is known.

    Raises:
        ConfigError: As for `refine`.
        DataError: As for `refine`.
    """
    if step < 1:
        raise ConfigError(f"step: expected 1 or more, found {step}")
    settings = settings.in_frames(frame_rate, step)
    order = np.lexsort((frames, ids))
    _check(frames[order], ids[order], step)
    rows = _worth_keeping(order, ids, scores, settings, step)
    refined = _fill(rows, frames, ids, settings.max_gap, step)
    refined = _interpolate(refined, frames, boxes_xywh, scores, step, camera)
    if settings.smoothing:
        refined = _smooth(refined, ids, settings.smoothing / step, step)
    return refined.pick(np.argsort(refined.frames, kind="stable"))  # ids are in order already


def without_guesses(tracks: SequenceTracks, settings: RefineSettings) -> SequenceTracks:
    """Tracks without the rows that no detection stands behind, where gaps are filled anyway."""
    seen = tracks.detection_index >= 0
    if not settings.fills or seen.all() or not seen.any():
        return tracks
    return tracks[np.flatnonzero(seen)]


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


def _worth_keeping(
    order: NDArray[np.intp],
    ids: NDArray[np.int64],
    scores: NDArray[np.float64],
    settings: RefineSettings,
    step: int,
) -> NDArray[np.intp]:
    """Rows of the tracks that are neither too short nor weak, in the same order."""
    _, which, lengths = np.unique(ids[order], return_inverse=True, return_counts=True)
    goes = lengths < settings.min_length
    means = np.bincount(which, scores[order]) / lengths
    goes |= (lengths * step <= settings.weak_length) & (means < settings.weak_score - _HAIR)
    return order[~goes[which]]


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
    run, place = counted(copies)
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
    step: int,
    camera: CameraPath | None,
) -> Refined:
    """Boxes and scores of rows ordered by id, then frame; in gaps on the line across."""
    boxes, score = boxes_xywh[refined.rows], scores[refined.rows]
    new = np.flatnonzero(refined.filled)
    real = np.flatnonzero(~refined.filled)
    gaps = np.flatnonzero(np.diff(real) > 1)
    before, after = refined.rows[real[gaps]], refined.rows[real[gaps + 1]]
    counts = np.diff(real)[gaps] - 1
    boxes[new] = boxes_in_gaps(
        boxes_xywh[before], boxes_xywh[after], frames[before], counts, step, camera
    )
    before, after = np.repeat(before, counts), np.repeat(after, counts)
    share = (refined.frames[new] - frames[before]) / (frames[after] - frames[before])
    score[new] += share * (scores[after] - scores[before])
    return refined._replace(boxes_xywh=boxes, scores=score)


def _smooth(refined: Refined, ids: NDArray[np.int64], sigma: float, step: int) -> Refined:
    """Smooth each unbroken run of rows, ordered by id, then frame; `sigma` is in rows."""
    starts, lengths = _runs(refined, ids, step)
    boxes, rows = smooth_runs(refined.boxes_xywh, starts, lengths, sigma)
    changed = refined.changed.copy()
    changed[rows] = True
    return refined._replace(boxes_xywh=boxes, changed=changed)


def _runs(
    refined: Refined, ids: NDArray[np.int64], step: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Start and length of each unbroken run that has more than its ends."""
    breaks = (np.diff(ids[refined.rows]) != 0) | (np.diff(refined.frames) != step)
    starts = np.append(0, np.flatnonzero(breaks) + 1)
    lengths = np.diff(starts, append=len(refined.rows))
    return starts[lengths > 2], lengths[lengths > 2]
