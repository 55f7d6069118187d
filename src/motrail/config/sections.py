"""The settings of each section, their defaults and their ranges."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from motrail.errors import ConfigError

Preset = Literal[
    "bytetrack",
    "yolox",
    "yolox-legacy",
    "yolov5",
    "yolov7",
    "yolov8",
    "yolov9",
    "yolov10",
    "yolov11",
    "rt-detr",
]
TrackerName = Literal["byte", "steady"]
CameraMotion = Literal["detections", "frames", "file", "given", "off"]
ClassMode = Literal["separate", "vote", "ignore"]
EncoderPreset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"
]


def within(name: str, value: float | None, low: float, high: float) -> None:
    """See that a number, if there is one, is in its range.

    Raises:
        ConfigError: It is not.
    """
    if value is not None and not low <= value <= high:
        limits = f"from {low} to {high}" if high < math.inf else f"{low} or more"
        raise ConfigError(f"{name}: expected {limits}, found {value}")


def setting(default: Any, about: str) -> Any:
    """A field of a section, with what it says to people."""
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True)
class DetectorSettings:
    """`[detector]`: from pictures to boxes."""

    preset: Preset | None = setting(
        None,
        "What a bare .onnx is: bytetrack, yolox, yolox-legacy, yolov5, yolov7, yolov8, yolov9, "
        "yolov10, yolov11 or rt-detr.",
    )
    labels: str | None = setting(
        None,
        "File with the names of the classes of a bare .onnx, one a line; those in the .onnx, or "
        "COCO's 80, if unset.",
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:N, tensorrt or openvino.")
    workers: int | None = setting(
        None, "Frames that go through the network at the same time; chosen by the machine if unset."
    )
    score_threshold: float = setting(
        0.1, "Detections below this score are dropped. Keep it low: the tracker uses weak ones."
    )
    nms_threshold: float = setting(
        0.7,
        "Of two boxes of a class that overlap more than this IoU, the better one stays. Networks "
        "that suppress doubles themselves (yolov10, rt-detr) are left as they are.",
    )
    classes: tuple[str, ...] | None = setting(
        None, "Names of the classes to follow, separated by commas; all if unset."
    )

    def __post_init__(self) -> None:
        within("score_threshold", self.score_threshold, 0, 1)
        within("nms_threshold", self.nms_threshold, 0, 1)
        within("workers", self.workers, 1, 1024)
        if self.classes is not None and not self.classes:
            raise ConfigError("classes: expected at least one name")


@dataclass(frozen=True)
class TrackerSettings:
    """`[tracker]`: from boxes to identities.

    See `motrail.ByteTracker` and `motrail.SteadyTracker`. What is left out of `match_threshold` and
    `lost_frames` is filled in with what the tracker of that name usually has.
    """

    tracker: TrackerName = setting(
        "byte", "byte: as published; steady: fewer lost and swapped identities (docs/steady.md)."
    )
    high_threshold: float = setting(
        0.6, "Score from which a detection is matched first and may begin a track."
    )
    low_threshold: float = setting(0.1, "Score above which a weak detection may continue a track.")
    new_track_threshold: float = setting(0.7, "Score from which a detection begins a track.")
    match_threshold: float = setting(
        None,
        "Largest cost of a match, 1 − IoU · score. Raise it for fast objects. 0.8 if unset; with "
        "steady 0.9, or 0.85 where the camera's motion is not looked for.",
    )
    second_match_threshold: float = setting(
        0.5, "Largest cost of a match with a weak detection, 1 − IoU."
    )
    unconfirmed_match_threshold: float = setting(
        0.7, "Largest cost of the second match of a new track."
    )
    lost_frames: int = setting(
        None,
        "Missed frames of the source after which a track can still be found again. 30 if unset, "
        "with steady 60.",
    )
    lost_seconds: float | None = setting(None, "The same in seconds; wins over lost_frames.")
    frame_rate: float | None = setting(
        None, "Frames a second for lost_seconds; that of the video if unset."
    )
    score_fusion: bool = setting(True, "Whether the score counts in the cost of a match.")
    class_mode: ClassMode = setting(
        "separate", "separate: classes never mix; vote: the most frequent wins; ignore."
    )
    min_box_area: float = setting(0.0, "Smaller boxes (square pixels) are not given out.")
    max_aspect_ratio: float | None = setting(
        None, "Boxes with a larger width / height are not given out."
    )
    camera_motion: CameraMotion = setting(
        "detections",
        "steady: where the camera's motion is found. detections: in what most boxes do; frames: in "
        "the pictures, around the boxes; file: in --camera-file; off: the camera stands still; "
        "given: from Python alone.",
    )
    camera_file: str | None = setting(
        None,
        "steady, with camera_motion file: what `motrail camera` wrote, a file or a folder with one "
        "NAME.txt for each video.",
    )
    height_weight: float = setting(
        2.0,
        "steady: how much boxes of different height repel each other: 2 for upright people, 1 for "
        "objects of changing shape, 0 for the overlap alone.",
    )
    surprise_weight: float = setting(
        0.1, "steady: what it costs when a score is not what the last two let expect."
    )
    measurement_noise: float = setting(
        0.1, "steady: how far a detector's box is off, in units of its height."
    )
    revive_match_threshold: float = setting(
        0.4, "steady: largest cost of a match of a weak detection with a lost track."
    )
    revive_frames: int = setting(
        10, "steady: missed frames after which a weak detection still brings a track back."
    )
    revive_seconds: float | None = setting(
        None, "steady: the same in seconds; wins over revive_frames."
    )
    coast_frames: int = setting(
        2, "steady: missed frames for which an object is still given out where it is expected."
    )
    coast_seconds: float | None = setting(
        None, "steady: the same in seconds; wins over coast_frames."
    )
    coast_hits: int = setting(10, "steady: only objects that were seen so often are.")
    inside_share: float = setting(
        0.3, "steady: a lost track goes when less of its box than this is in the picture."
    )

    def _fill(self) -> None:
        """What is left out depends on the tracker."""
        if self.tracker not in get_args(TrackerName):
            raise ConfigError(f"tracker: expected 'byte' or 'steady', found {self.tracker!r}")
        if self.camera_motion not in get_args(CameraMotion):
            raise ConfigError(
                "camera_motion: expected 'detections', 'frames', 'file', 'given' or 'off', found "
                f"{self.camera_motion!r}"
            )
        usual: dict[str, float] = {"match_threshold": 0.8, "lost_frames": 30}
        if self.tracker == "steady":
            looks = self.camera_motion == "detections"
            usual = {"match_threshold": 0.9 if looks else 0.85, "lost_frames": 60}
        for name, value in usual.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def _check_camera(self) -> None:
        if self.camera_motion == "file" and self.camera_file is None:
            raise ConfigError(
                "camera_motion: 'file' needs camera_file (--camera-file): what `motrail camera` "
                "wrote, a file or the folder it is in"
            )
        if self.camera_file is not None and self.camera_motion != "file":
            raise ConfigError(
                "camera_file: expected camera_motion 'file' (--camera-motion file) together with "
                f"it, found {self.camera_motion!r}"
            )

    def __post_init__(self) -> None:
        self._fill()
        self._check_camera()
        within("revive_match_threshold", self.revive_match_threshold, 0, 1)
        within("revive_frames", self.revive_frames, 0, math.inf)
        within("revive_seconds", self.revive_seconds, 0, 1e9)
        within("coast_frames", self.coast_frames, 0, math.inf)
        within("coast_seconds", self.coast_seconds, 0, 1e9)
        within("coast_hits", self.coast_hits, 1, math.inf)
        within("height_weight", self.height_weight, 0, 100)
        within("surprise_weight", self.surprise_weight, 0, 100)
        within("measurement_noise", self.measurement_noise, 1e-6, 100)
        within("inside_share", self.inside_share, 0, 1)
        within("high_threshold", self.high_threshold, 0, 1)
        within("low_threshold", self.low_threshold, 0, 1)
        if self.low_threshold > self.high_threshold:
            raise ConfigError(
                f"low_threshold: expected at most high_threshold ({self.high_threshold}), "
                f"found {self.low_threshold}"
            )
        within("new_track_threshold", self.new_track_threshold, 0, math.inf)
        within("match_threshold", self.match_threshold, 0, 1)
        within("second_match_threshold", self.second_match_threshold, 0, 1)
        within("unconfirmed_match_threshold", self.unconfirmed_match_threshold, 0, 1)
        within("lost_frames", self.lost_frames, 0, math.inf)
        within("lost_seconds", self.lost_seconds, 0, 1e9)
        within("frame_rate", self.frame_rate, 1e-6, 1e6)
        within("min_box_area", self.min_box_area, 0, math.inf)
        within("max_aspect_ratio", self.max_aspect_ratio, 0, math.inf)
        if self.class_mode not in get_args(ClassMode):
            raise ConfigError(
                f"class_mode: expected 'separate', 'vote' or 'ignore', found {self.class_mode!r}"
            )


@dataclass(frozen=True)
class RefineSettings:
    """`[refine]`: what is done to tracks when all frames are known. See `motrail.track.refine`.

    All off by default, and then tracks stay as the tracker gave them out. What is left out of
    `max_gap`, `smoothing`, `weak_length` and `max_lead` is filled in where `offline` asks for it.
    """

    offline: bool = setting(
        False,
        "Make the most of knowing all frames: gaps filled, boxes smoothed, short and weak tracks "
        "left out, others followed back to before they began, by the values that --max-gap, "
        "--smoothing, --weak-length and --max-lead name.",
    )
    max_gap: int = setting(
        None,
        "Gaps of up to so many missed frames of the source are filled by straight lines, as a "
        "standing camera would see them; 0: none. 0 if unset; offline 30.",
    )
    max_gap_seconds: float | None = setting(None, "The same in seconds; wins over max_gap.")
    smoothing: float = setting(
        None,
        "Standard deviation, in frames of the source, of the Gaussian that boxes are smoothed "
        "with along each track; 0: not at all. 0 if unset; offline 3.",
    )
    smoothing_seconds: float | None = setting(None, "The same in seconds; wins over smoothing.")
    min_length: int = setting(0, "Tracks seen in fewer frames than this are left out; 0: none.")
    min_length_seconds: float | None = setting(
        None, "The same in seconds of the source; wins over min_length."
    )
    weak_length: int = setting(
        None,
        "Tracks seen for no more frames of the source than this are left out if their mean score "
        "is below weak_score; 0: none. 0 if unset; offline 60.",
    )
    weak_length_seconds: float | None = setting(None, "The same in seconds; wins over weak_length.")
    weak_score: float = setting(0.6, "Mean score from which a short track is not weak.")
    max_lead: int = setting(
        None,
        "Up to so many frames of the source before a track begins, detections that no track has "
        "and that lead to it are added; 0: none. 0 if unset; offline 30. Track files alone do not "
        "have them.",
    )
    max_lead_seconds: float | None = setting(None, "The same in seconds; wins over max_lead.")
    lead_score: float = setting(0.3, "Score that such a detection must reach.")

    def __post_init__(self) -> None:
        usual = {"max_gap": 30, "smoothing": 3.0, "weak_length": 60, "max_lead": 30}
        for name, value in usual.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, type(value)(value if self.offline else 0))
        within("max_gap", self.max_gap, 0, _LONGEST_GAP)
        within("max_gap_seconds", self.max_gap_seconds, 0, _LONGEST_GAP)
        within("smoothing", self.smoothing, 0, _WIDEST)
        within("smoothing_seconds", self.smoothing_seconds, 0, _WIDEST)
        within("min_length", self.min_length, 0, math.inf)
        within("min_length_seconds", self.min_length_seconds, 0, 1e9)
        within("weak_length", self.weak_length, 0, math.inf)
        within("weak_length_seconds", self.weak_length_seconds, 0, 1e9)
        within("weak_score", self.weak_score, 0, math.inf)
        within("max_lead", self.max_lead, 0, math.inf)
        within("max_lead_seconds", self.max_lead_seconds, 0, 1e9)
        within("lead_score", self.lead_score, 0, math.inf)

    @property
    def fills(self) -> bool:
        """Whether gaps are filled."""
        return self._on("max_gap")

    @property
    def leads(self) -> bool:
        """Whether tracks are followed back to before they began."""
        return self._on("max_lead")

    @property
    def active(self) -> bool:
        """Whether anything is switched on."""
        return any(map(self._on, _IN_FRAMES))

    def _on(self, name: str) -> bool:
        seconds = getattr(self, f"{name}_seconds")
        return bool(getattr(self, name) if seconds is None else seconds)

    def in_frames(self, frame_rate: float | None, step: int = 1) -> RefineSettings:
        """The same without seconds.

        Args:
            frame_rate: Frames a second of the source; None or 0 where nobody knows.
            step: Frames of the source from one that was looked at to the next.

        Raises:
            ConfigError: There are seconds, and nobody knows the frame rate.
        """
        changes: dict[str, Any] = {}
        for name in _IN_FRAMES:
            seconds = getattr(self, f"{name}_seconds")
            if seconds is None:
                continue
            if not frame_rate:
                raise ConfigError(f"{name}_seconds: needs the frames a second of the source")
            frames = seconds * frame_rate
            changes |= {f"{name}_seconds": None, name: int(frames + _HAIR)}
            if name == "smoothing":
                changes[name] = min(frames, _WIDEST)
            elif name == "min_length":  # of frames that were looked at
                changes[name] = math.ceil(frames / step - _HAIR)
            elif name == "max_gap":
                changes[name] = min(changes[name], _LONGEST_GAP)
        return dataclasses.replace(self, **changes)


_IN_FRAMES = ("max_gap", "smoothing", "min_length", "weak_length", "max_lead")
_LONGEST_GAP = 10_000
_WIDEST = 100
_HAIR = 1e-6
"""0.1 s at 30 frames a second is 3 frames."""


@dataclass(frozen=True)
class VideoSettings:
    """`[video]`: which frames are read, and how the result is drawn and written."""

    start: int = setting(1, "First frame, counted from 1.")
    end: int | None = setting(None, "Last frame; the end of the video if unset.")
    stride: int = setting(1, "Look at every n-th frame only.")
    crf: int = setting(23, "Quality of the video written: 18 is fine, 28 is coarse and small.")
    encoder_preset: EncoderPreset = setting(
        "superfast", "Speed of x264 against the size of the file."
    )
    trail_seconds: float = setting(1.0, "Length of the trail drawn behind each object.")

    def __post_init__(self) -> None:
        within("start", self.start, 1, math.inf)
        within("end", self.end, self.start, math.inf)
        within("stride", self.stride, 1, math.inf)
        within("crf", self.crf, 0, 51)
        within("trail_seconds", self.trail_seconds, 0, 3600)
