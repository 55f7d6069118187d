"""A video file as a source of frames, decoded with PyAV."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import MissingExtraError, VideoError
from motrail.types import Frame
from motrail.video.clip import opened, opened_near
from motrail.video.images import check_size, past_the_end
from motrail.video.source import Selection, Source

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    from motrail.video.clip import Clip
    from motrail.video.index import FrameIndex

_MAX_THREADS = 8
_DECODABLE_COLORSPACES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
_ITU601, _BT2020, _BT2020_CONSTANT = 5, 9, 10
_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


class VideoSource(Source):
    """A video file as a source of frames.

    Each iteration opens the file anew and closes it at its end, also when it is left early. Colours
    follow the stream's own marks (BT.601, BT.709, BT.2020, limited or full range); a stream
    without marks is taken as BT.601 limited, as FFmpeg and OpenCV do. Rotation marks are obeyed;
    pixels that are not square stay as they are stored.

    Args:
        path: The file.
        name: The sequence's name.
        selection: Which frames to give out.
        index: What the file holds; with it, reading begins near the first wanted frame.
        threads: How many decode; None for as many as there are cores, at most 8.

    Raises:
        VideoError: The file is not a video, is incomplete, holds only sound, is too large, or
            `selection` starts past its end. While frames are read with an index, its subclass
            `NotSeekableError` says that they can only be had from the beginning.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        selection: Selection,
        index: FrameIndex | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._path = path
        self.selection = selection
        self._index = index
        self._threads = threads or min(_MAX_THREADS, os.cpu_count() or 1)
        self._probe()

    def _probe(self) -> None:
        with opened(self._path, threads=1) as clip:
            first = next(clip.frames(), None)
            if first is None:
                raise VideoError(
                    f"{self._path}: expected a video, found no frame that can be decoded "
                    f"({clip.codec}); try to play it, or convert it to H.264"
                )
            frame = first[1]
            self._turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
            self._stored = (frame.width, frame.height)
            self.frame_rate = clip.rate
            total = clip.expected_frames()
        check_size(frame.width, frame.height, str(self._path))
        sideways = self._turn in {_TURNS[90], _TURNS[270]}
        self.width, self.height = self._stored[::-1] if sideways else self._stored
        self.expected_frames = None if total is None else self.selection.count(total)
        if clip.header_frames and self.selection.start > clip.header_frames:
            raise past_the_end(str(self._path), self.selection.start, clip.header_frames)

    @property
    def files(self) -> Sequence[Path]:
        """The video."""
        return [self._path]

    def reads(self, path: Path) -> bool:
        """Whether `path` is this file, perhaps by another name."""
        return path.exists() and path.samefile(self._path)

    def _frames(self) -> Generator[Frame]:
        # Frames that are not wanted are decoded, because later ones build on them, but never
        # converted.
        self.broken, self.truncated = 0, None
        wanted = self.selection
        given = 0
        index = self._index
        with self._clip() as clip:
            frames = clip.frames() if index is None else clip.frames_from(wanted.start, index)
            for number, frame, time in frames:
                self.broken = clip.broken
                if wanted.last is not None and number > wanted.last:
                    break
                if number in wanted:
                    given += 1
                    yield Frame(number, self._to_bgr(clip, frame), time)
                if number == wanted.last:
                    break
            else:
                self.broken = clip.broken
                self.truncated = clip.shortfall() if index is None else index.truncated
        if not given:
            total = clip.number if index is None else len(index)
            raise past_the_end(str(self._path), wanted.start, total)

    def _clip(self) -> AbstractContextManager[Clip]:
        if self._index is None:
            return opened(self._path, threads=self._threads)
        return opened_near(self._path, self.selection.start, self._index, threads=self._threads)

    def _to_bgr(self, clip: Clip, frame: VideoFrame) -> NDArray[np.uint8]:
        width, height = self._stored
        source = frame.colorspace
        if source not in _DECODABLE_COLORSPACES:
            source = _BT2020 if source == _BT2020_CONSTANT else _ITU601
        # One reformatter for all frames and one thread take a fifth of the time of
        # frame.to_ndarray(format="bgr24"), which sets up a scaler with all threads each time.
        picture = clip.reformatter.reformat(
            frame, width=width, height=height, format="bgr24", src_colorspace=source, threads=1
        )
        image: NDArray[Any] = picture.to_ndarray()
        if self._turn is not None:
            image = cv2.rotate(image, self._turn)
        return np.ascontiguousarray(image, dtype=np.uint8)
