"""The tracker that settings ask for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from motrail.track.byte import ByteTracker

if TYPE_CHECKING:
    from motrail.config import TrackerSettings


def make_tracker(settings: TrackerSettings, frame_rate: float) -> ByteTracker:
    """The tracker of these settings for a source of this frame rate.

    Raises:
        ConfigError: Settings contradict each other.
    """
    values = dataclasses.asdict(settings)
    if settings.frame_rate is None:
        values["frame_rate"] = frame_rate or None
    return ByteTracker(**values)
