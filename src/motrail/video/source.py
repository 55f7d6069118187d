"""What every source of frames has in common, whether it is one file or a folder of images."""

from __future__ import annotations

import operator
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from motrail.types import Frame

MAX_PIXELS = 1 << 27
"""Larger pictures are refused before they are decoded: 134,217,728 pixels, 400 MB as BGR."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames of a source are wanted: `start`, `start + stride`, ... up to `end`.

    Attributes:
        start: Number of the first frame, counted from 1.
        end: Number of the last frame, itself included; None means to the end of the source.
        stride: 1 gives every frame, 2 every second one.

    Raises:
        ConfigError: Not whole numbers, below 1, or `end` before `start`.
    """

    start: int = 1
    end: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        _check_positive("start", self.start)
        _check_positive("stride", self.stride)
        if self.end is not None:
            _check_positive("end", self.end)
            if self.end < self.start:
                raise ConfigError(
                    f"end: expected a frame number of at least start ({self.start}), "
                    f"found {self.end}"
                )

    def __contains__(self, number: int) -> bool:
        return number >= self.start and (number - self.start) % self.stride == 0

    @property
    def last(self) -> int | None:
        """Number of the last frame to give out; None where only the source's end decides."""
        if self.end is None:
            return None
        return self.start + (self.end - self.start) // self.stride * self.stride

    def count(self, total: int) -> int:
        """How many of `total` source frames are wanted."""
        end = total if self.end is None else min(self.end, total)
        return max(0, (end - self.start) // self.stride + 1)


def _check_positive(name: str, value: object) -> None:
    try:
        good = not isinstance(value, bool) and operator.index(value) >= 1  # type: ignore[arg-type]
    except TypeError:
        good = False
    if not good:
        raise ConfigError(f"{name}: expected a whole number of at least 1, found {value!r}")


class Source(ABC):
    """Frames in order. Iterate as often as you like; each time starts from the beginning.

    Attributes:
        name: The sequence's name: a video's stem, a folder's name, or SEQ for MOT's `SEQ/img1`.
        selection: Which frames are wanted.
        width: Width in pixels as displayed, after rotation.
        height: Height in pixels as displayed, after rotation.
        frame_rate: Average number of frames per second of the whole source, whatever the stride.
        expected_frames: How many frames will probably be given out; None where nobody knows.
        broken: Frames of the current or last iteration that could not be decoded, or only in
            part. They take a number all the same, so that later frames keep theirs.
        truncated: After an iteration to the end: one sentence why the source ended early; None
            where it did not.
    """

    name: str
    selection: Selection
    width: int
    height: int
    frame_rate: float
    expected_frames: int | None
    broken: int = 0
    truncated: str | None = None

    def __init__(self) -> None:
        # Weak, so that an iteration left early is closed at once and not with the source.
        self._running: weakref.WeakSet[Generator[Frame]] = weakref.WeakSet()

    def __iter__(self) -> Iterator[Frame]:
        """Give out the wanted frames. `Frame.number` counts from 1 as in the source.

        Raises:
            VideoError: Nothing could be decoded, `start` is past the end, a file is gone, or an
                image has another size than the first.
        """
        frames = self._frames()
        self._running.add(frames)
        return frames

    @property
    @abstractmethod
    def files(self) -> Sequence[Path]:
        """What the frames come out of."""

    @abstractmethod
    def reads(self, path: Path) -> bool:
        """Whether the frames come out of this file, whatever name it is called by."""

    @abstractmethod
    def _frames(self) -> Generator[Frame]:
        """One pass through the source; sets `broken` and `truncated` anew."""

    def close(self) -> None:
        """End the iterations under way and close their files. Closing twice does no harm."""
        for frames in list(self._running):
            frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
