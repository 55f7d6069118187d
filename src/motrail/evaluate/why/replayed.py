"""Replay the detections, and look each box of the results up in what the tracker did."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from motrail.errors import DataError
from motrail.evaluate.pairs import best_matching, distinct, make_pairs
from motrail.evaluate.protocol import PEDESTRIAN
from motrail.evaluate.tracked import as_labels, track_detections
from motrail.track.fill import CameraPath
from motrail.track.make import make_tracker
from motrail.track.steady import SteadyTracker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.config import TrackerSettings
    from motrail.evaluate.protocol import Protocol
    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile
    from motrail.types import SequenceTracks

# Boxes of result files are rounded, to whole pixels in some.
_SAME_BOX = 0.9
MAX_DIFFERENCE = 0.03
"""The share of boxes that may differ between results and replay."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the replay gives the boxes of the results.

    Attributes:
        results: Boxes in the results.
        replayed: Boxes that the replay gives.
        same: Boxes that are in both, under identities that belong together.
    """

    results: int = 0
    replayed: int = 0
    same: int = 0

    @property
    def differ(self) -> int:
        """Boxes of either that are not in the other."""
        return self.results + self.replayed - 2 * self.same

    @property
    def difference(self) -> float:
        """The same as a share of all boxes, 0 to 1."""
        return self.differ / max(1, self.results + self.replayed)

    def __add__(self, other: Agreement) -> Agreement:
        """Of several sequences."""
        return Agreement(
            self.results + other.results, self.replayed + other.replayed, self.same + other.same
        )

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self) | {"differ": self.differ, "difference": self.difference}


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What a tracker made of the detections of a sequence.

    Attributes:
        file: The detections.
        settings: Of the tracker.
        lost_frames: Missed frames after which a track can still be found again.
        revive_frames: Frames since its last match after which a weak detection can do that; 0
            where only tracks seen in the frame before may have weak ones.
        tracks: Everything tracked, also what a filter keeps out.
        shown: Rows of `tracks` that were given out, bool, shape (n,).
        results: What was given out, as labels.
        camera: How it moved, as far as the tracker knew.
    """

    file: DetectionFile
    settings: TrackerSettings
    lost_frames: int
    revive_frames: int
    tracks: SequenceTracks
    shown: NDArray[np.bool_]
    results: Labels
    camera: CameraPath = field(default_factory=CameraPath)


def replay_sequence(truth: Labels, file: DetectionFile, settings: TrackerSettings) -> Replayed:
    """Track the detections of a sequence.

    Args:
        truth: Says how long the sequence is, and its frame rate.
        file: Its detections.
        settings: Of the tracker.

    Raises:
        DataError: There are detections beyond the end of the sequence.
        ConfigError: Settings contradict each other.
    """
    last = int(file.detections.frames.max(initial=0))
    if last > truth.length:
        raise DataError(
            f"{truth.name}: expected detections of frames 1 to {truth.length}, found {last}; are "
            "these detections of the whole sequence, or of another one?"
        )
    # Filters change nothing but what is given out.
    unfiltered = dataclasses.replace(settings, min_box_area=0.0, max_aspect_ratio=None)
    camera = CameraPath()
    tracks = track_detections(truth, file, unfiltered, path=camera)
    shown, close = _passes(tracks, settings)
    if close:
        given = track_detections(truth, file, settings)
        shown = np.isin(_keys(tracks.frames, tracks.ids), _keys(given.frames, given.ids))
    tracker = make_tracker(unfiltered, truth.frame_rate)
    revive = tracker.revive_frames if isinstance(tracker, SteadyTracker) else 0
    results = as_labels(truth, file, tracks[shown])
    return Replayed(file, settings, tracker.lost_frames, revive, tracks, shown, results, camera)


def _passes(tracks: SequenceTracks, settings: TrackerSettings) -> tuple[NDArray[np.bool_], bool]:
    """Which boxes pass the filters, and whether one is so close that rounding decides.

    The tracker filters before it rounds its boxes to float32.
    """
    boxes = tracks.boxes_xyxy.astype(np.float64)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    rounding = 4 * np.finfo(np.float32).eps * (1 + np.abs(boxes).max(initial=0))
    spare = [width * height - settings.min_box_area] if settings.min_box_area > 0 else []
    slack = [rounding * (width + height + rounding)] if settings.min_box_area > 0 else []
    if settings.max_aspect_ratio is not None:
        spare.append(settings.max_aspect_ratio * height - width)
        slack.append(np.full(len(width), rounding * (1 + settings.max_aspect_ratio)))
    shown = np.ones(len(tracks), np.bool_)
    for room in spare:
        shown &= room >= 0
    close = any((np.abs(r) <= s).any() for r, s in zip(spare, slack, strict=True))
    return shown, close


def _keys(frames: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    return ids << 32 | frames


def which_classes(file: DetectionFile, protocol: Protocol, class_name: str) -> NDArray[np.bool_]:
    """Which classes of the detections are a class of the truth, as the protocol joins them.

    Args:
        file: The detections.
        protocol: Decides how classes are joined.
        class_name: In the truth.

    Returns:
        For each of `file.classes`, shape (n,).
    """
    if not protocol.class_aware:
        return np.ones(len(file.classes), np.bool_)
    fits = np.array([protocol.names.get(name, name) == class_name for name in file.classes])
    taken_for_it = protocol.name == "mot17" and class_name == PEDESTRIAN
    if taken_for_it and not fits[file.detections.class_ids].any():
        return np.ones(len(file.classes), np.bool_)
    return fits


def rows_in_replay(
    truth: Labels, results: Labels, replayed: Replayed
) -> tuple[NDArray[np.int64], Agreement]:
    """Find each box of the results among the tracks of the replay.

    Args:
        truth: Of the sequence.
        results: What was made of it.
        replayed: What the replay makes of it.

    Returns:
        Row of `replayed.tracks` of each box of the results, -1 for none, int64, shape (n,); and
        how far the two agree.

    Raises:
        DataError: More boxes differ than can be explained.
    """
    tracks = replayed.tracks[replayed.shown]
    frames, given = results.frames - 1, replayed.results
    pairs = make_pairs(
        truth.length,
        frames,
        results.ids,
        results.boxes_xywh,
        tracks.frames - 1,
        tracks.ids,
        given.boxes_xywh,
    )
    order = np.argsort(frames, kind="stable")
    chosen = best_matching(pairs, np.where(pairs.pair_iou >= _SAME_BOX, pairs.pair_iou, 0.0))
    here, there = pairs.pair_truth[chosen], pairs.pair_result[chosen]
    same = _same_identity(pairs.truth_ids[here], pairs.result_ids[there])
    agreement = Agreement(len(results), len(tracks), same)
    if agreement.difference > MAX_DIFFERENCE:
        raise DataError(
            f"{truth.name}: {agreement.difference:.1%} of the boxes differ between the results and "
            f"a replay of the detections ({len(results)} and {len(tracks)} boxes, {same} in both): "
            "the results were not made from these detections with these settings. Give the "
            "[tracker] settings that made them, by --config or flags, and results that were not "
            "refined afterwards; or leave the results out, and the replay is explained"
        )
    rows = np.full(len(results), -1, np.int64)
    rows[order[here]] = np.flatnonzero(replayed.shown)[there]
    return rows, agreement


def _same_identity(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> int:
    """Matched boxes whose identities belong together, when each has at most one partner."""
    if not len(ours):
        return 0
    used, rows = distinct(ours)
    partners, columns = distinct(theirs)
    together = np.zeros((len(used), len(partners)), np.int64)
    np.add.at(together, (rows, columns), 1)
    return int(together[linear_sum_assignment(-together)].sum())
