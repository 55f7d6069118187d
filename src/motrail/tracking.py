"""`motrail track`: from a video to a track file and a video to look at."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import ConfigError, OutputError, VideoError
from motrail.formats.mot.tracks import LabelsFile, TrackFileWriter, check_labels
from motrail.moving import file_of, open_camera
from motrail.outputs import output_folder
from motrail.pipeline import Background, Sink, Sinks, ahead, detect, follow, one_opencv_thread
from motrail.sinks import FileSink, KeptTracksSink, TrackFileSink, VideoSink
from motrail.track.kept import KeptTracks

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from motrail.config import Settings
    from motrail.detect.detector import Detector
    from motrail.types import Detections, Frame, Tracks
    from motrail.video.source import Source


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
        filled_boxes: How many of the boxes stand in gaps that were filled.
        removed_tracks: How many tracks were left out because they were too short.
        best_score: The highest score of any detection; None if there was none.
        broken_frames: Frames of the source that could not be decoded, or only in part.
        truncated: Why the source ended early; None if it did not.
        files: What was written: `tracks`, `labels` and perhaps `video`.
        drawn: Frames written to the video so far, where that waits for refined tracks.
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
    filled_boxes: int = 0
    removed_tracks: int = 0
    best_score: float | None = None
    broken_frames: int = 0
    truncated: str | None = None
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    drawn: int = 0
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
        del content["_given"], content["drawn"]
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


@dataclass(frozen=True)
class Found:
    """A source with what was detected in it.

    Attributes:
        source: Its name, size and rate; read again where a video waits for refined tracks.
        results: Its frames in order with their detections; closed at the end. Pictures are needed
            for a video only. When the last is out, the source says how it ended.
        class_names: Names of the classes.
        device: What the network ran on, for people.
    """

    source: Source
    results: Generator[tuple[Frame, Detections]]
    class_names: Sequence[str]
    device: str


@dataclass(frozen=True)
class Followed:
    """A source with what was tracked in it; the rest as in `Found`.

    Attributes:
        source: Its name, size and rate.
        results: Its frames in order with their detections and tracks.
        class_names: Names of the classes.
        device: What the network ran on, for people.
        tracker: That of the results, which may know how the camera moved; None elsewhere.
    """

    source: Source
    results: Generator[tuple[Frame, Detections, Tracks]]
    class_names: Sequence[str]
    device: str
    tracker: object = None


def track_source(
    source: Source,
    detector: Detector,
    settings: Settings,
    output: Path,
    *,
    video: bool = True,
    keep: Iterable[str | os.PathLike[str]] = (),
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Track a source into a folder.

    Where tracks are to be refined, they are kept in memory until the last frame is known, and a
    video is drawn in a second pass through the source.

    Args:
        source: What `motrail.video.read.open_source` gave.
        detector: What `motrail.detect.detector.load_detector` gave.
        settings: All settings.
        output: Folder for `<source>.txt`, `labels.txt` and, with `video`, `<source>.mp4`.
        video: Whether to write the video.
        keep: Files that no result may take the place of, besides the source.
        progress: Called after every frame of either pass.

    Raises:
        ConfigError: The folder has the results of a model with other classes, or a result would
            take the place of the source, of a file to keep or of another result.
        VideoError: The source cannot be decoded, or gave other frames in the second pass.
        MotrailError: Anything else that went wrong; nothing is left half-written.
    """
    found = Found(source, detect(source, detector), detector.class_names, detector.device)
    return track_found(found, settings, output, video=video, keep=keep, progress=progress)


def track_found(
    found: Found,
    settings: Settings,
    output: Path,
    *,
    video: bool = True,
    keep: Iterable[str | os.PathLike[str]] = (),
    progress: Callable[[Summary], None] | None = None,
    name: str | None = None,
) -> Summary:
    """Track what was detected in a source; the rest as in `track_source`.

    Args:
        found: The frames have pictures where `motrail.moving.needs_pictures`.
        settings: All settings.
        output: Folder for the results.
        video: Whether to write the video.
        keep: Files that no result may take the place of, besides the source and the camera's.
        progress: Called after every frame of either pass.
        name: Of the file with the camera's motion, if not that of the source.
    """
    from motrail.track.make import make_tracker

    source = found.source
    name = name or source.name
    tracker = make_tracker(settings.tracker, source.frame_rate, (source.width, source.height))
    results = follow(found.results, tracker, open_camera(settings.tracker, name))
    followed = Followed(found.source, results, found.class_names, found.device, tracker)
    file = file_of(settings.tracker, name)
    keep = [*keep, *([file] if file else [])]
    return write_followed(followed, settings, output, video=video, keep=keep, progress=progress)


def write_followed(
    followed: Followed,
    settings: Settings,
    output: Path,
    *,
    video: bool = True,
    keep: Iterable[str | os.PathLike[str]] = (),
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Write what was tracked in a source; the rest as in `track_source`."""
    source = followed.source
    paths = _paths(source, output_folder(output), keep, video=video)
    check_labels(paths["labels"].parent, followed.class_names)
    summary = Summary(source.name, followed.device, source.width, source.height, source.frame_rate)
    kept = KeptTracks(settings.refine, followed.tracker) if settings.refine.active else None
    start = time.perf_counter()

    def done() -> None:
        summary.seconds = time.perf_counter() - start
        if progress is not None:
            progress(summary)

    with (
        one_opencv_thread(),
        source,
        Sinks(_sinks(paths, followed, settings, kept)) as sinks,
    ):
        with contextlib.closing(followed.results) as results:
            for frame, detections, tracks in results:
                if kept is None:
                    sinks.write(frame, tracks)
                else:
                    kept.keep(frame.number, tracks, detections)
                summary.count(detections, tracks)
                done()
        summary.broken_frames, summary.truncated = source.broken, source.truncated
        if kept is not None:
            _refine(kept, settings, summary)
            if video:
                _draw(source, kept, sinks, summary, done)
    summary.seconds = time.perf_counter() - start
    summary.files = {name: str(path) for name, path in sorted(paths.items())}
    return summary


def _refine(kept: KeptTracks, settings: Settings, summary: Summary) -> None:
    """Refine what was kept, and count it anew."""
    before, after = kept.refine(step=settings.video.stride, frame_rate=summary.frame_rate)
    summary.boxes = len(after)
    summary.tracks = len(np.unique(after.ids))
    summary.removed_tracks = len(np.unique(before.ids)) - summary.tracks
    guessed = before.ids[before.detection_index < 0]
    summary.filled_boxes = int(
        (after.detection_index < 0).sum() - np.isin(guessed, after.ids).sum()
    )


def _draw(
    source: Source, kept: KeptTracks, sinks: Sinks, summary: Summary, done: Callable[[], None]
) -> None:
    """Read the source once more, and hand on its frames with the refined tracks."""
    with contextlib.closing(ahead(source)) as frames:
        for known, frame in zip_longest(kept.by_frame(), frames):
            if known is None or frame is None or known[0] != frame.number:
                first = "none" if known is None else f"frame {known[0]}"
                second = "none" if frame is None else f"frame {frame.number}"
                raise VideoError(
                    f"{source.name}: expected the same frames when read again to draw the refined "
                    f"tracks, found {second} in place of {first}; leave the source as it is until "
                    "the end, or use --no-video"
                )
            sinks.write(frame, known[1])
            summary.drawn += 1
            done()


def _paths(
    source: Source, folder: Path, keep: Iterable[str | os.PathLike[str]], *, video: bool
) -> dict[str, Path]:
    """Where the results go, seen to be free."""
    paths = {"labels": folder / "labels.txt", "tracks": folder / f"{source.name}.txt"}
    if video:
        paths["video"] = folder / f"{source.name}.mp4"
    if paths["tracks"] == paths["labels"]:
        raise ConfigError(
            f"{paths['labels']}: holds the names of the classes, so the tracks of a source called "
            "'labels' have no place; rename the source"
        )
    for path in paths.values():
        if path.is_dir():
            raise OutputError(
                f"{path}: cannot be written: there is a folder of that name where a file is needed"
            )
        if source.reads(path):
            raise ConfigError(f"{path}: is the source itself; choose another folder with -o")
        if path.name != "labels.txt" and any(_same_file(path, other) for other in keep):
            raise ConfigError(f"{path}: is needed for this run; choose another folder with -o")
    return paths


def _same_file(path: Path, other: str | os.PathLike[str]) -> bool:
    return path.exists() and Path(other).exists() and path.samefile(other)


def _sinks(
    paths: dict[str, Path], followed: Followed, settings: Settings, kept: KeptTracks | None
) -> Iterator[Sink]:
    source = followed.source
    if "video" in paths:
        from motrail.detect.onnx import available_cores
        from motrail.video.draw import TrackDrawer
        from motrail.video.write import MIN_RATE, VideoWriter

        rate = max(source.frame_rate / settings.video.stride, MIN_RATE)
        drawer = TrackDrawer(
            followed.class_names,
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
            # It shares the cores with the network; more threads cost more than they bring.
            threads=max(1, available_cores() // 2),
        )
        yield Background(VideoSink(writer, drawer))
    tracks = TrackFileWriter(paths["tracks"])
    yield TrackFileSink(tracks) if kept is None else KeptTracksSink(tracks, kept)
    yield FileSink(LabelsFile(paths["labels"].parent, followed.class_names))
