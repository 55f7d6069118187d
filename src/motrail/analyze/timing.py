"""When each frame is: from the video itself, or from a frame rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import ConfigError, DataError, VideoError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_RATE = 10_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """When frames are.

    Attributes:
        rate: Frames a second, on average.
        source: Where that is known from, for people.
        known: Seconds of frames 1, 2, … since the first; None where the rate decides.
    """

    rate: float
    source: str
    known: NDArray[np.float64] | None = None

    def of(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds of frames, counted from 1, since the first, shape (n,).

        Raises:
            DataError: There is a frame that the video does not have.
        """
        if self.known is None:
            return np.asarray((frames - 1) / self.rate, np.float64)
        last = int(frames.max(initial=1))
        if last > len(self.known):
            raise DataError(
                f"a box is in frame {last:,}, and the video has {len(self.known):,}; is it the "
                "video that the tracks are of?"
            )
        return np.asarray(self.known[frames - 1], np.float64)


def at_rate(rate: float) -> Timing:
    """Frames at equal distances.

    Raises:
        ConfigError: The rate is no number of frames a second.
    """
    if not (math.isfinite(rate) and 0 < rate <= MAX_RATE):
        raise ConfigError(f"--frame-rate: expected frames a second above 0, found {rate}")
    return Timing(rate, "--frame-rate")


def of_video(video: str, rate: float) -> Timing:
    """The times that a video gives its frames; where it has none, or is a folder, its rate.

    Args:
        video: The footage.
        rate: Its average rate.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: It cannot be read, or nobody knows its rate.
    """
    from motrail.names import is_image
    from motrail.video.clip import opened
    from motrail.video.index import read_index

    path = Path(video)
    if not path.is_file() or is_image(path):
        if not rate > 0:
            raise VideoError(f"{video}: pictures know no time; give --frame-rate")
        return Timing(rate, "frame rate of the pictures")
    index = read_index(path)
    with opened(path, threads=1) as clip:
        base = clip.stream.time_base
    if index.fault is not None or base is None or len(index) < 2:
        return Timing(rate, "average frame rate of the video")
    seconds = (index.pts - index.pts[0]) * float(base)
    return Timing((len(seconds) - 1) / float(seconds[-1]), "times of the video", seconds)
