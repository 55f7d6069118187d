"""What is to be done: the videos, and the stretches they are cut into."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.batch.chunks import Chunk, Stamp, read_chunk
from motrail.errors import ConfigError, FormatError, VideoError
from motrail.names import is_image, natural_order
from motrail.outputs import WholeFile, writing
from motrail.video.index import FrameIndex, read_index
from motrail.video.read import open_source
from motrail.video.source import Selection, Source
from motrail.video.stream import VideoSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from motrail.config import VideoSettings

VIDEO_ENDINGS = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".h264", ".hevc", ".ivf", ".m2ts", ".m4v", ".mjpeg"}
    | {".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogv", ".ts"}
    | {".vob", ".webm", ".wmv", ".wtv", ".y4m"}
)
KEPT = "detections"
_SAMPLE = 1 << 14
_INDEX = "index.npz"
LONGEST = 1000
_SHORTEST, _PARTS = 100, 8


@dataclass(frozen=True)
class Video:
    """A video of the archive.

    Attributes:
        name: Of its results: the path below what all videos have in common, without the ending.
        path: Where it is.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Stretch:
    """A part of a video that is detected by one worker.

    Attributes:
        video: Of which.
        first: Number of its first frame, counted from 1.
        last: Number of the last one, itself included; None reads to the end.
        stride: Every how many frames.
        fingerprint: Of the footage.
        whole: Whether it is read from the beginning because the middle cannot be found.
    """

    video: Video
    first: int
    last: int | None
    stride: int
    fingerprint: str
    whole: bool = False

    def stamp(self, detector: str, part: int = 0) -> Stamp:
        """What its detections hang on."""
        return Stamp(self.fingerprint, detector, self.first, self.last, self.stride, part)

    def file(self, part: int = 0) -> str:
        """Name of the file with its detections, or with a part of them."""
        if self.whole:
            return f"whole-{part:06}.npz"
        return f"{self.first:09}-{self.last:09}.npz"

    def chunks(self, kept: Path, detector: str) -> Iterator[Chunk | None]:
        """What was detected, part by part; None and no more where something is missing.

        Raises:
            FormatError: A file is broken.
        """
        for part in itertools.count():
            chunk = read_chunk(kept / self.file(part), self.stamp(detector, part))
            yield chunk
            if chunk is None or not chunk.more:
                return

    def is_detected(self, kept: Path, detector: str) -> bool:
        """Whether all of it is there."""
        try:
            return all(chunk is not None for chunk in self.chunks(kept, detector))
        except FormatError:
            return False  # then it is made anew


@dataclass(frozen=True)
class Plan:
    """The stretches of a video.

    Attributes:
        video: Which.
        stretches: In order.
        frames: How many frames there are to be looked at, as far as is known.
        end: Number of the last frame that is wanted; None reads to the end.
        truncated: Why the file ends early, before the last wanted frame; None if it does not.
    """

    video: Video
    stretches: tuple[Stretch, ...]
    frames: int
    end: int | None
    truncated: str | None = None

    def as_one(self) -> Plan:
        """The same to be read from the beginning, in one piece."""
        first = self.stretches[0]
        one = dataclasses.replace(first, last=self.end, whole=True)
        return Plan(self.video, (one,), self.frames, self.end)


def find_videos(sources: Iterable[str]) -> list[Video]:
    """The videos that sources stand for, in their natural order.

    Args:
        sources: Files; folders, which are searched with all below for videos, and are one
            sequence themselves if they hold images; quoted patterns; and text files (`.txt`) with
            one of these on each line.

    Raises:
        ConfigError: A source is not there, holds no video, or two results would have one name.
    """
    paths: list[Path] = []
    for source in sources:
        found = list(_paths_of(source))
        if not found:
            raise ConfigError(
                f"{source}: expected videos, found none; give files, folders, quoted patterns "
                "such as 'in/*.mp4', or a .txt with one of them on each line"
            )
        paths += found
    unique = list({Path(os.path.abspath(path)): path for path in paths})  # noqa: PTH100
    names = _names(unique)
    return [Video(name, path) for name, path in zip(names, unique, strict=True)]


def _paths_of(source: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        yield from _videos_below(path)
    elif path.suffix.lower() == ".txt" and path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: expected the paths of videos, one a line: {error}"
            ) from None
        for line in lines:
            if line.strip() and not line.startswith("#"):
                yield from _paths_of(str(path.parent / line.strip()))
    elif path.exists():
        yield path
    elif glob.has_magic(source):
        matches = glob.glob(str(path.expanduser()), recursive=True)  # noqa: PTH207
        for match in natural_order(Path(match) for match in matches):
            yield from _paths_of(str(match))
    else:
        raise ConfigError(f"{source}: no such file or folder")


def _videos_below(folder: Path) -> Iterator[Path]:
    entries = natural_order(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if any(is_image(entry) for entry in entries) or (folder / "img1").is_dir():
        yield folder
        return
    for entry in entries:
        if entry.is_dir():
            yield from _videos_below(entry)
        elif entry.suffix.lower() in VIDEO_ENDINGS:
            yield entry


def _names(paths: Sequence[Path]) -> list[str]:
    if not paths:
        return []
    common = Path(os.path.commonpath([path.parent for path in paths]))
    ends = [path.relative_to(common) for path in paths]
    short = [(end if path.is_dir() else end.with_suffix("")).as_posix()
             for path, end in zip(paths, ends, strict=True)]  # fmt: skip
    twice = {name for name in short if short.count(name) > 1}
    # clip.mp4 beside clip.mov: the ending tells them apart.
    names = [end.as_posix() if name in twice else name
             for name, end in zip(short, ends, strict=True)]  # fmt: skip
    for name in names:
        if name.split("/")[0] == KEPT or name in ("labels", "batch"):
            raise ConfigError(
                f"{name}: this name is needed for something else in the output folder; rename the "
                "video or its folder"
            )
    return names


def make_plan(video: Video, settings: VideoSettings, kept: Path, chunk: int | None) -> Plan:
    """Cut a video into stretches.

    Args:
        video: Which.
        settings: Which of its frames are wanted.
        kept: Folder for what is known of it; its index is kept there.
        chunk: Frames of the source in a stretch; None cuts an eighth, from 100 to 1000.

    Raises:
        VideoError: It cannot be read.
        OutputError: The index cannot be kept.
    """
    source = open_source(video.path, start=settings.start, end=settings.end, stride=settings.stride)
    wanted = source.selection
    if isinstance(source, VideoSource):
        index = known_index(video.path, kept)
        fingerprint, total, truncated = index.fingerprint, len(index), index.truncated
        fault = index.fault
    else:
        fingerprint, truncated, fault = _images_fingerprint(source), None, None
        total = len(source.files)
    if fault is not None or total < wanted.start:
        frames = source.expected_frames or 0
        whole = Stretch(video, wanted.start, wanted.last, wanted.stride, fingerprint, whole=True)
        return Plan(video, (whole,), frames, wanted.last)
    end = total if wanted.last is None else min(wanted.last, total)
    stretches = tuple(
        Stretch(video, first, last, wanted.stride, fingerprint)
        for first, last in _cut(wanted, end, chunk)
    )
    if wanted.last is not None and wanted.last <= total:
        truncated = None
    return Plan(video, stretches, wanted.count(total), wanted.last, truncated)


def _cut(wanted: Selection, end: int, chunk: int | None) -> Iterator[tuple[int, int]]:
    """First and last frame of each stretch; a stretch holds at least one wanted frame."""
    length = chunk or min(max((end - wanted.start + 1) // _PARTS, _SHORTEST), LONGEST)
    length = max(-(-length // wanted.stride), 1) * wanted.stride
    for first in range(wanted.start, end + 1, length):
        yield first, min(first + length - 1, end)


def open_stretch(stretch: Stretch, kept: Path) -> Source:
    """The frames of a stretch.

    Raises:
        VideoError: The footage is not what it was when the plan was made, or cannot be read.
    """
    path = stretch.video.path
    selection = Selection(stretch.first, stretch.last, stretch.stride)
    if path.is_dir() or stretch.whole:
        return open_source(path, start=stretch.first, end=stretch.last, stride=stretch.stride)
    index = known_index(path, kept)
    if index.fingerprint != stretch.fingerprint:
        raise VideoError(f"{path}: was changed meanwhile; start again")
    return VideoSource(path, name=path.stem, selection=selection, index=index, threads=1)


def known_index(path: Path, kept: Path) -> FrameIndex:
    """The index of a video, from the last time if the file has not been touched since."""
    file = kept / _INDEX
    state = path.stat()
    about: dict[str, Any] = {"size": state.st_size, "modified": state.st_mtime_ns}
    known = _read_index(file, about)
    if known is not None:
        return known
    index = read_index(path)
    about |= {"fault": index.fault, "truncated": index.truncated, "print": index.fingerprint}
    with writing(file):
        kept.mkdir(parents=True, exist_ok=True)
        with WholeFile(file) as whole, whole.temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                pts=index.pts,
                keys=index.keys,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            )
    return index


def _read_index(file: Path, about: dict[str, Any]) -> FrameIndex | None:
    # Whatever is wrong with it, it can be made anew.
    with contextlib.suppress(Exception), np.load(file, allow_pickle=False) as archive:
        known = json.loads(archive["about"].tobytes())
        if {key: known[key] for key in about} == about:
            return FrameIndex(
                archive["pts"], archive["keys"], known["fault"], known["truncated"], known["print"]
            )
    return None


def _images_fingerprint(source: Source) -> str:
    digest = hashlib.sha256()
    for path in source.files:
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
        digest.update(f"{path.name},{path.stat().st_size};".encode())
    return digest.hexdigest()
