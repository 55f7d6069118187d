"""Where tracks go: a track file, a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from motrail.formats.mot.tracks import TrackFileWriter
from motrail.outputs import WholeOutput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motrail.track.kept import KeptTracks
    from motrail.types import Frame, Tracks
    from motrail.video.draw import TrackDrawer
    from motrail.video.write import VideoWriter

F = TypeVar("F", bound=WholeOutput)


class FileSink(Generic[F]):
    """A sink that ends in a file; what happens to a frame is up to the subclass."""

    def __init__(self, file: F) -> None:
        self._file = file

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Nothing for each frame."""

    def finish(self) -> None:
        """Write what is still to be written."""
        self._file.finish()

    def commit(self) -> None:
        """Give the file its name."""
        self._file.commit()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.discard()


class TrackFileSink(FileSink[TrackFileWriter]):
    """Writes tracks to a track file."""

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add the rows of a frame."""
        self._file.write(frame.number, tracks)


class KeptTracksSink(FileSink[TrackFileWriter]):
    """Writes refined tracks to a track file at the end, when they are there."""

    def __init__(self, file: TrackFileWriter, kept: KeptTracks) -> None:
        super().__init__(file)
        self._kept = kept

    def finish(self) -> None:
        """Write all rows."""
        for number, tracks in self._kept.tracks.by_frame():
            self._file.write(number, tracks)
        self._file.finish()


class VideoSink(FileSink["VideoWriter"]):
    """Draws tracks into frames and writes them to a video."""

    def __init__(self, writer: VideoWriter, drawer: TrackDrawer) -> None:
        super().__init__(writer)
        self._drawer = drawer
        self._picture: NDArray[np.uint8] | None = None

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Draw and write a frame."""
        filled = tracks.detection_index < 0
        self._picture = self._drawer.draw(
            frame.image, tracks, out=self._picture, filled=filled if filled.any() else None
        )
        self._file.write(self._picture, frame.time)
