"""Detections of a labelled sequence, tracked again: results to score without a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.boxes import xyxy_to_xywh
from motrail.formats.labels import Labels
from motrail.moving import open_file_camera
from motrail.replay import replay
from motrail.track.fill import CameraPath
from motrail.track.lead import spare_detections
from motrail.track.make import make_tracker
from motrail.track.refine import refine

if TYPE_CHECKING:
    from motrail.config import RefineSettings, TrackerSettings
    from motrail.formats.mot.detections import DetectionFile
    from motrail.types import SequenceTracks


def track_detections(
    truth: Labels,
    file: DetectionFile,
    settings: TrackerSettings,
    refinement: RefineSettings | None = None,
    *,
    path: CameraPath | None = None,
) -> SequenceTracks:
    """Track the detections of a sequence.

    Where the truth has some frames only, and so have the detections, the tracker is told of those
    alone: a frame that nobody looked at is not one in which nothing was seen.

    Args:
        truth: Says how long the sequence is, and which of its frames there are.
        file: The detections, with the low scores.
        settings: Of the tracker.
        refinement: What is done to the finished tracks; None does nothing.
        path: Takes down how the camera moved, as far as the tracker knows.

    Raises:
        ConfigError: Settings contradict each other, or ask for pictures.
        FormatError: The file with the camera's motion is missing, or is none.
        DataError: It does not have a frame.
    """
    listed = truth.listed_frames()
    sparse = len(listed) < truth.length and np.isin(file.detections.frames, listed).all()
    size = (truth.width, truth.height) if truth.width and truth.height else None
    tracker = make_tracker(settings, truth.frame_rate, size)
    path = CameraPath() if path is None else path
    tracks = replay(
        file.detections,
        tracker,
        truth.length,
        frames=listed if sparse else None,
        camera=open_file_camera(settings, truth.name, truth.length),
        path=path,
    )
    if refinement is None:
        return tracks
    spare = spare_detections(file.detections, tracks, refinement.lead_score)
    return refine(tracks, refinement, frame_rate=truth.frame_rate, camera=path, spare=spare)


def as_labels(truth: Labels, file: DetectionFile, tracks: SequenceTracks) -> Labels:
    """Tracks as results of a sequence, under the classes of its detections."""
    return Labels.of(
        truth.name,
        file.classes,
        tracks.frames,
        tracks.ids,
        xyxy_to_xywh(tracks.boxes_xyxy.astype(np.float64)),
        tracks.class_ids,
        length=truth.length,
        frame_rate=truth.frame_rate,
    )
