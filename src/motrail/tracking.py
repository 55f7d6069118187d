"""`motrail track`: from a video to a track file and a video to look at."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError
from motrail.formats.mot import TrackFileWriter, check_labels, write_labels
from motrail.outputs import output_folder
from motrail.pipeline import Background, Sink, Sinks, track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from motrail.config import Settings, TrackerSettings
    from motrail.detect.yolox import Detector
    from motrail.track.byte import ByteTracker
    from motrail.types import Detections, Frame, Tracks
    from motrail.video.draw import TrackDrawer
    from motrail.video.source import Source
    from motrail.video.write import VideoWriter


@dataclass
class Summary:
    """What a run did.

    Attributes:
        source: Name of the sequence.
        device: What the network ran on.
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        frame_rate: Frames a second of the source.
        frames: Frames looked at.
        seconds: Time spent.
        tracks: How many identities were given out.
        boxes: How many boxes they have together.
        best_score: The highest score of any detection; None if there was none.
        broken_frames: Frames of the source that could not be decoded, or only in part.
        truncated: Why the source ended early; None if it did not.
        files: What was written: `tracks`, `labels` and perhaps `video`.
    """

    source: str
    device: str
    width: int
    height: int
    frame_rate: float
    frames: int = 0
    seconds: float = 0.0
    tracks: int = 0
    boxes: int = 0
    best_score: float | None = None
    broken_frames: int = 0
    truncated: str | None = None
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    _given: bytearray = dataclasses.field(default_factory=bytearray, init=False, repr=False)

    @property
    def frames_per_second(self) -> float:
        """Frames looked at in a second."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def mean_length(self) -> float:
        """Mean number of frames a track was seen in."""
        return self.boxes / self.tracks if self.tracks else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        content = dataclasses.asdict(self)
        del content["_given"]
        content["frames_per_second"] = self.frames_per_second
        content["mean_length"] = self.mean_length
        return content

    def count(self, detections: Detections, tracks: Tracks) -> None:
        """Take one frame into account."""
        self.frames += 1
        self.boxes += len(tracks)
        # A byte for each id, which count from 1: little even for a very long video.
        self._given.extend(bytes(max(int(tracks.ids.max(initial=0)) - len(self._given), 0)))
        for index in (tracks.ids - 1).tolist():
            self.tracks += not self._given[index]
            self._given[index] = 1
        if len(detections):
            self.best_score = max(self.best_score or 0.0, float(detections.scores.max()))


class TrackFileSink:
    """Writes tracks to a track file."""

    def __init__(self, path: Path) -> None:
        self._file = TrackFileWriter(path)

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add the rows of a frame."""
        self._file.write(frame.number, tracks)

    def commit(self) -> None:
        """Give the file its name."""
        self._file.commit()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.discard()


class VideoSink:
    """Draws tracks into frames and writes them to a video."""

    def __init__(self, writer: VideoWriter, drawer: TrackDrawer) -> None:
        self._writer = writer
        self._drawer = drawer
        self._picture: NDArray[np.uint8] | None = None

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Draw and write a frame."""
        self._picture = self._drawer.draw(frame.image, tracks, out=self._picture)
        self._writer.write(self._picture, frame.time)

    def commit(self) -> None:
        """Give the file its name."""
        self._writer.commit()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._writer.discard()


def make_tracker(settings: TrackerSettings, frame_rate: float) -> ByteTracker:
    """The tracker of these settings for a source of this frame rate."""
    from motrail.track.byte import ByteTracker

    values = dataclasses.asdict(settings)
    if settings.frame_rate is None:
        values["frame_rate"] = frame_rate
    return ByteTracker(**values)


def track_source(
    source: Source,
    detector: Detector,
    settings: Settings,
    output: Path,
    *,
    video: bool = True,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Track a source into a folder.

    Args:
        source: What `motrail.video.read.open_source` gave.
        detector: What `motrail.detect.yolox.load_detector` gave.
        settings: All settings.
        output: Folder for `<source>.txt`, `labels.txt` and, with `video`, `<source>.mp4`.
        video: Whether to write the video.
        progress: Called after every frame.

    Raises:
        ConfigError: The folder has the results of a model with other classes, or a result would
            overwrite the source.
        MotrailError: Anything else that went wrong; nothing is left half-written.
    """
    folder = output_folder(output)
    check_labels(folder, detector.class_names)
    paths = {"tracks": folder / f"{source.name}.txt"}
    if video:
        paths["video"] = folder / f"{source.name}.mp4"
    for path in paths.values():
        if source.reads(path):
            raise ConfigError(f"{path}: is the source itself; choose another folder with -o")
    summary = Summary(source.name, detector.device, source.width, source.height, source.frame_rate)
    tracker = make_tracker(settings.tracker, source.frame_rate)
    start = time.perf_counter()
    with one_opencv_thread(), source, Sinks(_sinks(paths, source, detector, settings)) as sinks:
        with contextlib.closing(track(source, detector, tracker)) as results:  # type: ignore[type-var]
            for frame, detections, tracks in results:
                sinks.write(frame, tracks)
                summary.count(detections, tracks)
                summary.seconds = time.perf_counter() - start
                if progress is not None:
                    progress(summary)
        paths["labels"] = write_labels(folder, detector.class_names)
    summary.seconds = time.perf_counter() - start
    summary.broken_frames, summary.truncated = source.broken, source.truncated
    summary.files = {name: str(path) for name, path in sorted(paths.items())}
    return summary


def _sinks(
    paths: dict[str, Path], source: Source, detector: Detector, settings: Settings
) -> Iterator[Sink]:
    if "video" in paths:
        from motrail.video.draw import TrackDrawer
        from motrail.video.write import VideoWriter

        rate = source.frame_rate / settings.video.stride
        drawer = TrackDrawer(
            detector.class_names,
            width=source.width,
            height=source.height,
            frame_rate=rate,
            trail_seconds=settings.video.trail_seconds,
        )
        writer = VideoWriter(
            paths["video"],
            width=source.width,
            height=source.height,
            frame_rate=rate,
            crf=settings.video.crf,
            encoder_preset=settings.video.encoder_preset,
        )
        yield Background(VideoSink(writer, drawer))
    yield TrackFileSink(paths["tracks"])


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from using threads of its own while ours use all cores.

    Its threads wait busily between two calls, which costs more than they bring.
    """
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
