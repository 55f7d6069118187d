"""The frames of stretches, one after another, without opening a video anew where it goes on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from motrail.batch.plan import open_stretch
from motrail.video.source import Selection
from motrail.video.stream import VideoSource

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from motrail.batch.plan import Stretch
    from motrail.types import Frame
    from motrail.video.source import Source


class Reader:
    """Gives out the frames of a stretch; goes on where it is, if that is where the stretch begins.

    Args:
        kept: Folder for what is known of the videos, with one folder for each.
    """

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._source: Source | None = None
        self._frames: Iterator[Frame] = iter(())
        self._last: Stretch | None = None
        self._state: tuple[int, int] | None = None

    def open(self, stretch: Stretch) -> Source:
        """Be where the stretch begins.

        Returns:
            What is being read; of it, `broken` and `truncated` are of use.

        Raises:
            VideoError: The footage is not what it was when the plan was made, or cannot be read.
        """
        last, self._last = self._last, None
        goes_on = last is not None and _goes_on(last, stretch)
        if self._source is not None and goes_on and self._state == _state_of(stretch):
            source = self._source
        else:
            self.close()
            source = open_stretch(stretch, self._kept / stretch.video.name)
            if isinstance(source, VideoSource) and not stretch.whole:
                source.selection = Selection(stretch.first, None, stretch.stride)
            self._source, self._frames = source, iter(source)
            self._state = _state_of(stretch)
        return source

    def frames(self, stretch: Stretch, start: int) -> Generator[Frame]:
        """The frames of the stretch that was opened; whoever leaves early has to open it anew.

        Args:
            stretch: The one.
            start: Number of the first frame to give out.

        Raises:
            VideoError: See `open`.
        """
        selection = Selection(stretch.first, stretch.last, stretch.stride)
        end = selection.last if isinstance(self._source, VideoSource) else None
        for frame in self._frames:
            if frame.number >= start:
                yield frame
            if frame.number == end:
                self._last = stretch
                return

    def close(self) -> None:
        """Close what is being read."""
        if self._source is not None:
            self._source.close()
        self._source, self._frames, self._last = None, iter(()), None


def _state_of(stretch: Stretch) -> tuple[int, int] | None:
    """Size and time of the footage: while it is read it must stay what it was."""
    try:
        about = stretch.video.path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def _goes_on(before: Stretch, stretch: Stretch) -> bool:
    """Whether a stretch begins where another ended."""
    if before.last is None or before.whole:
        return False
    return stretch == dataclasses.replace(before, first=before.last + 1, last=stretch.last)
