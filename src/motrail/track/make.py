"""The tracker that settings ask for."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError
from motrail.track.byte import ByteTracker
from motrail.track.steady import SteadyTracker

if TYPE_CHECKING:
    from motrail.config import TrackerSettings

AnyTracker = ByteTracker | SteadyTracker


def make_tracker(
    settings: TrackerSettings, frame_rate: float, image_size: tuple[int, int] | None = None
) -> AnyTracker:
    """The tracker of these settings for a source.

    One whose camera is found in the frames or in a file has to be given the motion with each frame;
    see `motrail.pipeline.follow`.

    Args:
        settings: Of it.
        frame_rate: Frames a second of the source; 0 where nobody knows.
        image_size: Width and height of its frames in pixels; None where nobody knows yet.

    Raises:
        ConfigError: Settings contradict each other.
    """
    values = dataclasses.asdict(settings)
    if settings.frame_rate is None:
        values["frame_rate"] = frame_rate or None
    if settings.tracker == "byte":
        return ByteTracker(**_taken(ByteTracker, values))
    if settings.camera_motion == "given":
        raise ConfigError(
            "camera_motion: 'given' is for Python programs that know it; expected 'detections', "
            "'frames', 'file' or 'off'"
        )
    if settings.camera_motion in ("frames", "file"):  # whoever runs it says how the camera moved
        values |= {"camera_motion": "given", "camera_file": None}
    return SteadyTracker(image_size, **_taken(SteadyTracker, values))


def _taken(tracker: type[AnyTracker], values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that a tracker takes."""
    names = inspect.signature(tracker).parameters
    return {key: value for key, value in values.items() if key in names}
