"""What a worker does: detect in a stretch of a video, and keep what was found."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

from motrail.batch.chunks import Chunk, write_chunk
from motrail.batch.plan import LONGEST
from motrail.batch.reading import Reader
from motrail.detect.detector import open_detector
from motrail.errors import FormatError, VideoError
from motrail.pipeline import detect, one_opencv_thread
from motrail.video.clip import NotSeekableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from motrail.batch.plan import Stretch
    from motrail.config import DetectorSettings, Preset
    from motrail.detect.bundle import Bundle
    from motrail.types import Detections
    from motrail.workers import Tell

_TELL_EVERY = 0.5  # seconds


class Load(NamedTuple):
    """What a worker needs.

    Attributes:
        bundle: The model.
        settings: Of the detector.
        preset: Of a bare `.onnx`.
        made_by: Fingerprint of all these.
        kept: Folder for what is detected, with one folder for each video.
    """

    bundle: Bundle
    settings: DetectorSettings
    preset: Preset | None
    made_by: str
    kept: Path


class Detected(NamedTuple):
    """What came of a stretch.

    Attributes:
        frames: Looked at.
        boxes: Found.
        seekable: Whether the stretch could be found; if not, nothing was kept.
    """

    frames: int
    boxes: int
    seekable: bool = True


def make_worker(load: Load) -> Callable[[Stretch, Tell], Detected]:
    """Load the model; gives what detects in a stretch, and tells how many frames it has done.

    Raises:
        MotrailError: The model cannot be used here.
    """
    detector = open_detector(load.bundle, load.settings, load.preset)
    reader = Reader(load.kept)

    def work(stretch: Stretch, tell: Tell) -> Detected:
        parts = Parts(stretch, load.kept / stretch.video.name, load.made_by)
        told = time.monotonic()
        try:
            source = reader.open(stretch)
            frames = reader.frames(stretch, parts.last + 1)
            with one_opencv_thread(), contextlib.closing(detect(frames, detector)) as results:
                for frame, detections in results:
                    parts.take(frame.number, detections)
                    if time.monotonic() - told > _TELL_EVERY:
                        told = time.monotonic()
                        tell(parts.frames)
        except VideoError as error:
            if stretch.whole or not _may_be_whole(stretch, error):
                raise
            reader.close()
            return Detected(0, 0, seekable=False)
        parts.finish(source.broken, source.truncated if stretch.whole else None)
        return Detected(parts.frames, parts.boxes)

    return work


def _may_be_whole(stretch: Stretch, error: VideoError) -> bool:
    """Whether what cannot be done with a part of the footage may be fine with all of it.

    A folder of images, for one, may have broken ones, but not only broken ones.
    """
    return isinstance(error, NotSeekableError) or stretch.video.path.is_dir()


class Parts:
    """Keeps what is found in a stretch; in several files where it is read from the beginning.

    Args:
        stretch: Which.
        kept: Folder for what is kept of its video.
        made_by: Fingerprint of the detector.

    Attributes:
        frames: Looked at so far, those of an earlier run included.
        boxes: Found so far.
        last: Number of the last frame that an earlier run has kept; 0 if there is none.
    """

    def __init__(self, stretch: Stretch, kept: Path, made_by: str) -> None:
        self.frames = self.boxes = self.last = 0
        self._stretch, self._kept, self._made_by = stretch, kept, made_by
        self._found: list[tuple[int, Detections]] = []
        self._part = 0
        if stretch.whole:
            self._resume()

    def _resume(self) -> None:
        """Skip the parts that an earlier run has kept."""
        with contextlib.suppress(FormatError):  # from a broken one on, it is made anew
            for chunk in self._stretch.chunks(self._kept, self._made_by):
                if chunk is None or not chunk.more:
                    return
                self.frames += len(chunk.numbers)
                self.boxes += len(chunk.scores)
                self.last = int(chunk.numbers[-1])
                self._part += 1

    def take(self, number: int, detections: Detections) -> None:
        """Keep what was found in a frame."""
        if self._stretch.whole and len(self._found) == LONGEST:
            self._write(Chunk.of(self._found, more=True))
        self._found.append((number, detections))
        self.frames += 1
        self.boxes += len(detections)

    def finish(self, broken: int, truncated: str | None) -> None:
        """Keep the rest, and how the source ended."""
        self._write(Chunk.of(self._found, broken=broken, truncated=truncated))

    def _write(self, chunk: Chunk) -> None:
        path = self._kept / self._stretch.file(self._part)
        write_chunk(path, chunk, self._stretch.stamp(self._made_by, self._part))
        self._found, self._part = [], self._part + 1
