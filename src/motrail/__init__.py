"""Multi-object tracking on your own video.

`import motrail` costs numpy and no more: names are loaded from their rooms when first used.

    from motrail import ByteTracker, Detections

    tracker = ByteTracker()
    tracks = tracker.update(Detections(boxes_xyxy, scores, class_ids))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motrail.errors import MotrailError as MotrailError
    from motrail.remote.client import Client as Client
    from motrail.track.byte import ByteTracker as ByteTracker
    from motrail.track.steady import SteadyTracker as SteadyTracker
    from motrail.types import Detections as Detections
    from motrail.types import Frame as Frame
    from motrail.types import Tracks as Tracks

_HOMES = {
    "ByteTracker": "motrail.track.byte",
    "Client": "motrail.remote.client",
    "Detections": "motrail.types",
    "Frame": "motrail.types",
    "MotrailError": "motrail.errors",
    "SteadyTracker": "motrail.track.steady",
    "Tracks": "motrail.types",
}

__all__ = [
    "ByteTracker",
    "Client",
    "Detections",
    "Frame",
    "MotrailError",
    "SteadyTracker",
    "Tracks",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("motrail")
    raise AttributeError(f"module 'motrail' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])
