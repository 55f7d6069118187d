"""What is to be done: the videos, and the stretches they are cut into."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.batch.chunks import Chunk, Stamp, read_chunk
from motrail.errors import FormatError, VideoError
from motrail.names import is_image
from motrail.outputs import WholeFile, writing
from motrail.video.images import past_the_end
from motrail.video.index import FrameIndex, read_index
from motrail.video.read import open_source
from motrail.video.source import Selection, Source
from motrail.video.stream import VideoSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.batch.find import Video
    from motrail.config import VideoSettings

_SAMPLE = 1 << 14
_INDEX = "index.npz"
LONGEST = 1000
"""Frames in a stretch, and in a part of one that is read from the beginning."""
_SHORTEST, _PARTS, _GROUPS = 100, 8, 5
_UNSEEKABLE = "whole.json"


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


def make_plan(video: Video, settings: VideoSettings, kept: Path, chunk: int | None) -> Plan:
    """Cut a video into stretches.

    Args:
        video: Which.
        settings: Which of its frames are wanted.
        kept: Folder for what is known of it; its index is kept there.
        chunk: Frames of the source in a stretch; None cuts an eighth, from 100 to 1000, or to 5
            groups of pictures where these are longer.

    Raises:
        VideoError: It cannot be read, or ends before the first wanted frame.
        OutputError: The index cannot be kept.
    """
    source = open_source(video.path, start=settings.start, end=settings.end, stride=settings.stride)
    wanted = source.selection
    index = None
    if isinstance(source, VideoSource):
        index = known_index(video.path, kept)
        fingerprint, total = index.fingerprint, len(index)
    else:
        fingerprint, total = _images_fingerprint(source), len(source.files)
    if index is not None and index.fault is not None:
        frames = source.expected_frames or 0
        whole = Stretch(video, wanted.start, wanted.last, wanted.stride, fingerprint, whole=True)
        return Plan(video, (whole,), frames, wanted.last)
    if total < wanted.start:
        raise past_the_end(str(video.path), wanted.start, total)
    end = total if wanted.last is None else min(wanted.last, total)
    length = chunk or usual_length(end - wanted.start + 1, index)
    stretches = tuple(
        Stretch(video, first, last, wanted.stride, fingerprint)
        for first, last in _cut(wanted, end, length)
    )
    reaches_end = wanted.last is None or wanted.last > total
    truncated = index.truncated if index is not None and reaches_end else None
    return Plan(video, stretches, wanted.count(total), wanted.last, truncated)


def usual_length(frames: int, index: FrameIndex | None) -> int:
    """Frames in a stretch of so many, if nothing else is said.

    A stretch is entered a group of pictures or two early, which is to cost little of its time.
    """
    group = len(index) // max(len(index.keys), 1) if index is not None else 1
    return min(max(-(-frames // _PARTS), _SHORTEST), max(LONGEST, _GROUPS * group))


def _cut(wanted: Selection, end: int, length: int) -> Iterator[tuple[int, int]]:
    """First and last frame of each stretch; a stretch holds at least one wanted frame."""
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
    if path.is_dir():
        return open_source(path, start=stretch.first, end=stretch.last, stride=stretch.stride)
    index = None if is_image(path) else known_index(path, kept)
    if index is not None and index.fingerprint != stretch.fingerprint:
        raise VideoError(f"{path}: was changed meanwhile; start again")
    if stretch.whole or index is None:
        return open_source(path, start=stretch.first, end=stretch.last, stride=stretch.stride)
    return VideoSource(path, name=path.stem, selection=selection, index=index, threads=1)


def note_unseekable(kept: Path, stretch: Stretch, who: str) -> str:
    """Note that a video has to be read from the beginning, and who does it.

    Args:
        kept: Folder for what is known of the video.
        stretch: One of it.
        who: The share of the work this is, such as `2/8`; empty if it is all.

    Returns:
        Who does it: another, of as many shares, that noted it before; else `who`.

    Raises:
        OutputError: It cannot be noted.
    """
    before = who_reads_whole(kept, stretch.fingerprint)
    if who and before and before != who and before.split("/")[1:] == who.split("/")[1:]:
        return before
    path = kept / _UNSEEKABLE
    with writing(path), WholeFile(path) as file:
        about = {"fingerprint": stretch.fingerprint, "who": who}
        file.temporary.write_text(json.dumps(about) + "\n", encoding="utf-8")
    return who


def who_reads_whole(kept: Path, fingerprint: str) -> str | None:
    """Who said that this footage has to be read from the beginning; None if nobody did."""
    try:
        about = json.loads((kept / _UNSEEKABLE).read_text(encoding="utf-8"))
        return str(about["who"]) if about["fingerprint"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def known_index(path: Path, kept: Path) -> FrameIndex:
    """The index of a video, from the last time if the file has not been touched since.

    Raises:
        VideoError: The file cannot be read.
        OutputError: The index cannot be kept.
    """
    file = kept / _INDEX
    try:
        state = path.stat()
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
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


def _read_index(path: Path, about: dict[str, Any]) -> FrameIndex | None:
    # Whatever is wrong with it, it can be made anew.
    with (
        contextlib.suppress(Exception),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        known = json.loads(archive["about"].tobytes())
        if {key: known[key] for key in about} == about:
            return FrameIndex(
                archive["pts"], archive["keys"], known["fault"], known["truncated"], known["print"]
            )
    return None


def _images_fingerprint(source: Source) -> str:
    digest = hashlib.sha256()
    for path in source.files:
        digest.update(f"{path.name},".encode(errors="surrogateescape"))
        with contextlib.suppress(OSError), path.open("rb") as file:  # it counts as broken then
            digest.update(file.read(_SAMPLE))
            digest.update(f"{file.seek(0, 2)};".encode())
    return digest.hexdigest()
