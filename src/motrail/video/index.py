"""Which frames a video file holds and where it can be entered, from its packets alone.

A frame's number is its place among all frames in the order of time. Who has the times of all
packets can begin to decode at a key frame anywhere in the file and still number frames as if
reading had begun at the first. Nothing is decoded for it, so that it costs little more than reading
the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import VideoError
from motrail.video.clip import opened
from motrail.video.h264 import starts_afresh

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SAMPLE = 1 << 20


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video file.

    Attributes:
        pts: Presentation times, int64, shape (frames,), ascending: of frame 1, frame 2, … in units
            of the stream's time base.
        keys: Numbers of the key frames, int64, ascending; only those that need nothing before them.
        fault: Why frames cannot be found from the middle; None where they can.
        truncated: Why the file ended early; None if it did not.
        fingerprint: SHA-256 over times, sizes and kinds of all packets and the first and last MiB.
    """

    pts: NDArray[np.int64]
    keys: NDArray[np.int64]
    fault: str | None
    truncated: str | None
    fingerprint: str

    def __len__(self) -> int:
        return len(self.pts)

    def number_of(self, pts: int | None) -> int | None:
        """The number of the frame with this time, counted from 1; None where there is none."""
        if pts is None:
            return None
        place = int(np.searchsorted(self.pts, pts))
        return place + 1 if place < len(self.pts) and self.pts[place] == pts else None


def read_index(path: Path) -> FrameIndex:
    """Read the packets of a video file.

    Raises:
        VideoError: It is no video.
    """
    times: list[int] = []
    keys: list[int] = []
    untimed = 0
    digest = hashlib.sha256()
    with opened(path, threads=1) as clip:
        for packet in clip.read():
            key = bool(packet.is_keyframe)
            digest.update(f"{packet.pts},{packet.size},{key:d};".encode())
            if packet.is_discard:
                continue
            if packet.pts is None:
                untimed += 1
                continue
            times.append(packet.pts)
            if key and starts_afresh(packet):
                keys.append(packet.pts)
        truncated = clip.shortfall()
    pts = np.sort(np.array(times, np.int64))
    _add_ends(digest, path)
    return FrameIndex(
        pts,
        np.searchsorted(pts, np.unique(np.array(keys, np.int64))) + 1,
        _fault(pts, untimed),
        truncated,
        digest.hexdigest(),
    )


def _fault(pts: NDArray[np.int64], untimed: int) -> str | None:
    if untimed:
        return f"{untimed} packets have no time"
    if not len(pts):
        return "there are no packets"
    if not (np.diff(pts) > 0).all():
        return "packets have the same time"
    return None


def _add_ends(digest: hashlib._Hash, path: Path) -> None:
    try:
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            size = file.seek(0, 2)
            file.seek(max(size - _SAMPLE, 0))
            digest.update(file.read(_SAMPLE))
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
    digest.update(str(size).encode())
