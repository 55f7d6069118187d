"""The frames of a sequence one after another, in either direction, as the helpers take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motrail.errors import VideoError
from motrail.types import Frame
from motrail.video.index import read_index
from motrail.video.read import decode_image, open_source
from motrail.video.source import Selection
from motrail.video.stream import VideoSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.label.tables import SequenceInfo
    from motrail.video.source import Source

_BYTES = 192 << 20
"""Of the frames that are decoded together to be given out backwards."""


def frames_between(folder: Path, info: SequenceInfo, first: int, last: int) -> Iterator[Frame]:
    """The frames from one to another, both included; backwards where the last is the smaller.

    Args:
        folder: Relative paths count from here.
        info: The sequence.
        first: The frame to begin with.
        last: The frame to end with.

    Raises:
        VideoError: A frame cannot be decoded.
    """
    if info.kind != "video":
        step = 1 if last >= first else -1
        for number in range(first, last + step, step):
            yield _from_file(folder, info, number)
        return
    path = folder / info.source
    if last >= first:
        yield from _onwards(path, info, first, last)
        return
    room = max(_BYTES // max(info.width * info.height * 3, 1), 8)
    for end in range(first, last - 1, -room):
        yield from reversed(list(_onwards(path, info, max(end - room + 1, last), end)))


def source_between(folder: Path, info: SequenceInfo, first: int, last: int) -> Source:
    """The same as a source of frames, onwards; for pictures, `first` is counted among them."""
    if info.kind == "video":
        path = folder / info.source
        return open_source(path, start=first, end=last)
    from motrail.video.images import ImageSource

    paths = [folder / info.pictures[number] for number in sorted(info.pictures)]
    return ImageSource(
        paths,
        name=info.name,
        where=info.name,
        frame_rate=info.frame_rate or 30.0,
        selection=Selection(first, last),
    )


def _onwards(path: Path, info: SequenceInfo, first: int, last: int) -> Iterator[Frame]:
    index = read_index(path) if first > 1 else None
    if index is not None and index.fault is not None:
        index = None
    selection = Selection(first, last)
    with VideoSource(path, name=info.name, selection=selection, index=index) as source:
        yield from source


def _from_file(folder: Path, info: SequenceInfo, number: int) -> Frame:
    if number not in info.pictures:
        raise VideoError(f"{info.name}: frame {number} has no picture")
    path = folder / info.pictures[number]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
    image = decode_image(data, str(path))
    if image.shape[:2] != (info.height, info.width):
        raise VideoError(
            f"{path}: expected {info.width}x{info.height} pixels, found "
            f"{image.shape[1]}x{image.shape[0]}; one sequence has one size"
        )
    return Frame(number, image, (number - 1) / (info.frame_rate or 30.0))
