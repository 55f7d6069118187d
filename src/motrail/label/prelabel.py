"""What a model and the tracker find in a video, as proposals to accept, correct or throw away."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.config import Layer, environment_layer, resolve
from motrail.label.model import GAP, LabelObject, thinned
from motrail.pipeline import detect as detect_in
from motrail.pipeline import follow, one_opencv_thread
from motrail.track.kept import KeptTracks
from motrail.track.make import make_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.config import Settings
    from motrail.detect.bundle import Bundle
    from motrail.label.model import Points
    from motrail.pipeline import Detector
    from motrail.types import SequenceTracks
    from motrail.video.source import Source

TOLERANCE = 1.0
"""Pixels that a proposed box may be off the tracker's after its points were thinned."""
_SHORT = 3
"""Tracks seen in fewer frames are not proposed: throwing one away costs as much as a box."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Proposals for a sequence.

    Attributes:
        objects: With the status `proposed`, in the order in which they appear; ids count from 1.
        unmatched: How many tracks were left out of each class that the project does not have.
        short: How many were left out because they were too short.
        notes: The same in words, for people.
    """

    objects: list[LabelObject]
    unmatched: Mapping[str, int]
    short: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, a sentence each."""
        notes = [
            f"{_tracks(count)} of class {name!r} left out: the project has no class of that name"
            for name, count in self.unmatched.items()
        ]
        if self.short:
            notes.append(f"{_tracks(self.short)} left out: seen in fewer than {_SHORT} frames")
        return tuple(notes)


def _tracks(count: int) -> str:
    return "1 track" if count == 1 else f"{count} tracks"


def prelabel(
    source: Source,
    model: str | Path,
    *,
    classes: Sequence[str],
    settings: Settings | None = None,
    progress: Callable[[int, int | None, str | None], None] | None = None,
) -> Proposed:
    """Run a model and the tracker on a source.

    Args:
        source: The frames; objects keep their numbers.
        model: A bundle, an `.onnx` file or a name of the zoo.
        classes: Names of the project's classes. A track gets the class of its name; in a project
            that has no class yet, all names are taken.
        settings: Left out: those of the bundle under the environment's, as `motrail track` has
            them, with the tracks refined offline.
        progress: Told how many of how many frames are done, and what is being done.

    Raises:
        ModelError: There is no such model, or it failed.
        VideoError: The source cannot be decoded.
        ConfigError: Settings make no sense.
        MissingExtraError: onnxruntime is not installed.
    """
    from motrail.detect.detector import find_bundle, open_detector

    bundle, preset = find_bundle(os.fspath(model))
    chosen = settings or _settings(bundle)
    detector = open_detector(bundle, chosen.detector, preset)
    tracks = _follow(source, detector, chosen, progress)
    return propose(tracks, detector.class_names, classes)


def _settings(bundle: Bundle) -> Settings:
    layers = [environment_layer()]
    spec = bundle.spec
    if spec is not None:
        thresholds = {
            "score_threshold": spec.thresholds.score,
            "nms_threshold": spec.thresholds.nms,
        }
        known = {key: value for key, value in thresholds.items() if value is not None}
        layers.append(
            Layer(f"{bundle.path}: model.json", {"detector": known, "tracker": spec.tracker})
        )
    layers.append(Layer("pre-labelling", {"refine": {"offline": True}}))
    return resolve(layers).settings


def _follow(
    source: Source,
    detector: Detector,
    settings: Settings,
    progress: Callable[[int, int | None, str | None], None] | None,
) -> SequenceTracks:
    """The one loop, with the tracks kept in memory and refined."""
    tracker = make_tracker(settings.tracker, source.frame_rate, (source.width, source.height))
    kept = KeptTracks(settings.refine, tracker)
    results = follow(detect_in(source, detector), tracker)
    with one_opencv_thread(), source, contextlib.closing(results):
        for done, (frame, detections, tracks) in enumerate(results, 1):
            kept.keep(frame.number, tracks, detections)
            if progress is not None:
                progress(done, source.expected_frames, "looking for objects")
    seen, refined = kept.refine(step=settings.video.stride, frame_rate=source.frame_rate)
    return refined if settings.refine.active else seen


def propose(
    tracks: SequenceTracks,
    names: Sequence[str],
    classes: Sequence[str],
    *,
    tolerance: float = TOLERANCE,
) -> Proposed:
    """Tracks as proposals.

    Args:
        tracks: Of a whole sequence.
        names: Of the classes that `tracks.class_ids` counts through.
        classes: Of the project; empty takes all.
        tolerance: Pixels that left, top, width and height may be off after thinning.
    """
    objects: list[LabelObject] = []
    unmatched: Counter[str] = Counter()
    short = 0
    order = np.lexsort((tracks.frames, tracks.ids))
    starts = np.flatnonzero(np.diff(tracks.ids[order], prepend=-1))
    parts = np.split(order, starts[1:]) if len(order) else []
    for rows in sorted(parts, key=lambda rows: (tracks.frames[rows[0]], tracks.ids[rows[0]])):
        # A track may change its class on the way; that of most frames is its own.
        name = names[int(np.bincount(tracks.class_ids[rows]).argmax())]
        if classes and name not in classes:
            unmatched[name] += 1
        elif len(rows) < _SHORT:
            short += 1
        else:
            boxes = tracks.boxes_xyxy[rows].astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            objects.append(
                LabelObject(
                    len(objects) + 1,
                    name,
                    thin(tracks.frames[rows], boxes, tolerance),
                    status="proposed",
                    score=round(float(tracks.scores[rows].mean()), 4),
                    source="tracker",
                )
            )
    return Proposed(objects, dict(sorted(unmatched.items())), short)


def thin(
    frames: NDArray[np.int64], boxes_xywh: NDArray[np.float64], tolerance: float = TOLERANCE
) -> Points:
    """Few points that give a track back by linear interpolation.

    Args:
        frames: int64, shape (n,), strictly ascending; where some are left out there is a gap.
        boxes_xywh: float64, shape (n, 4). Those with no extent get a pixel's.
        tolerance: Pixels that left, top, width and height may be off.
    """
    boxes = boxes_xywh.copy()
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    gap = np.diff(frames, append=frames[-1:] + 1) > 1
    ends = gap | np.roll(gap, 1)
    needed = thinned(frames, boxes, ends, tolerance)
    flags = np.where(gap, GAP, 0)
    return np.column_stack([frames, boxes, flags])[needed].astype(np.float64)
