"""Keep what a tracker gives out until the last frame is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.track.fill import CameraPath, motion_known
from motrail.track.lead import Spare
from motrail.track.refine import refine, without_guesses
from motrail.types import SequenceDetections, SequenceTracks, Tracks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.config import RefineSettings
    from motrail.types import Detections

_TOGETHER = 1000
"""Frames after which what was kept is put together, which takes less memory."""


class KeptTracks:
    """What a tracker gives out, kept until the last frame is known and refined then.

    Args:
        settings: What will be done to them.
        tracker: The one that gives them out, which may know how the camera moved.

    Attributes:
        numbers: The frames that were looked at, ascending.
        tracks: The refined tracks; empty until `refine`.
        camera: How it moved, as far as the tracker knew.
    """

    def __init__(self, settings: RefineSettings, tracker: object = None) -> None:
        self._settings, self._tracker = settings, tracker
        self.numbers: list[int] = []
        self.tracks = _joined([])
        self.camera = CameraPath()
        self._kept: list[SequenceTracks] = []
        self._loose: list[SequenceTracks] = []
        self._detections = 0
        self._spare: list[Spare] = []
        self._loose_spare: list[Spare] = []

    def keep(self, number: int, tracks: Tracks, detections: Detections) -> None:
        """Take the next frame.

        Args:
            number: Of the frame, counted from 1.
            tracks: What was given out for it.
            detections: What the tracker was given for it.
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
        self.camera.note(number, motion_known(self._tracker))
        if self._settings.leads:
            self._loose_spare.append(self._left_over(number, tracks, detections))
        self._detections += len(detections)
        if len(self._loose) == _TOGETHER:
            self._kept.append(_joined(self._loose))
            self._loose.clear()
            self._spare.append(_spare_joined(self._loose_spare))
            self._loose_spare.clear()

    def _left_over(self, number: int, tracks: Tracks, detections: Detections) -> Spare:
        free = detections.scores >= np.float32(self._settings.lead_score)
        free[tracks.detection_index[tracks.detection_index >= 0]] = False
        rows = np.flatnonzero(free)
        found = SequenceDetections(
            np.full(len(rows), number),
            detections.boxes_xyxy[rows],
            detections.scores[rows],
            detections.class_ids[rows],
        )
        return Spare(found, rows + self._detections)

    def refine(
        self, *, step: int = 1, frame_rate: float | None = None
    ) -> tuple[SequenceTracks, SequenceTracks]:
        """The tracks as they were seen, and what `refine` makes of them."""
        settings = self._settings
        before = without_guesses(_joined([*self._kept, *self._loose]), settings)
        spare = _spare_joined([*self._spare, *self._loose_spare])
        for parts in (self._kept, self._loose, self._spare, self._loose_spare):
            parts.clear()
        self.tracks = refine(
            before, settings, step=step, frame_rate=frame_rate, camera=self.camera, spare=spare
        )
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


def _spare_joined(parts: list[Spare]) -> Spare:
    none = np.empty(0, np.int64)
    nothing = SequenceDetections(none, np.empty((0, 4)), np.empty(0), none)
    parts = [Spare(nothing, none), *parts]
    found = SequenceDetections(
        frames=np.concatenate([part.found.frames for part in parts]),
        boxes_xyxy=np.concatenate([part.found.boxes_xyxy for part in parts]),
        scores=np.concatenate([part.found.scores for part in parts]),
        class_ids=np.concatenate([part.found.class_ids for part in parts]),
    )
    return Spare(found, np.concatenate([part.rows for part in parts]))
