"""The frames of all sequences, for the page: whole ones, small ones, one after another."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import MissingExtraError, VideoError
from motrail.label.cache import ByteCache
from motrail.label.problems import Problem, not_found

try:
    from motrail.label.clips import ClipReader
    from motrail.label.images import HIGH, LOW, from_video, jpeg, scaled, scaled_size
    from motrail.video.read import decode_image
except MissingExtraError as _error:
    raise MissingExtraError(_error.package, "label", _error.cause) from _error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from av.video.frame import VideoFrame

    from motrail.label.tables import SequenceInfo
    from motrail.video.index import FrameIndex

SMALL = 320
"""Width of the small pictures that show something at once, in pixels."""
_SMALL_EVERY = 8
_OPEN = 2
"""Videos that are open at the same time."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """How much memory frames may take.

    Attributes:
        decoded: Bytes of decoded frames of a video; two videos may be open.
        pictures: Bytes of JPEG files.
        small: Bytes of small pictures.
        threads: How many decode a video.
    """

    decoded: int = 192 * _MIB
    pictures: int = 96 * _MIB
    small: int = 48 * _MIB
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG file.

    Attributes:
        data: The file.
        frame: Which frame it is; for a quick look perhaps not quite the one asked for.
    """

    data: bytes
    frame: int


class FrameServer:
    """Gives out the frames of sequences. All of it may be called from any thread.

    Args:
        folder: Relative paths count from here.
        room: How much memory frames may take.
        indexed: Told the number of a sequence and the index of its video.
    """

    def __init__(
        self,
        folder: Path,
        room: Room | None = None,
        indexed: Callable[[int, FrameIndex], None] = lambda _sequence, _index: None,
    ) -> None:
        self._folder = folder
        self._room = room or Room()
        self._told = indexed
        self._pictures: ByteCache[tuple[int, int, int, int]] = ByteCache(self._room.pictures)
        self._small: ByteCache[tuple[int, int]] = ByteCache(self._room.small)
        self._there: dict[int, set[int]] = {}
        self._open: OrderedDict[int, ClipReader] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """End all threads."""
        with self._lock:
            self._closed = True
            readers = list(self._open.values())
            self._open.clear()
        for reader in readers:
            reader.close()

    def version(self, info: SequenceInfo, frame: int) -> str:
        """Changes when the file behind a frame does."""
        path = self._folder / (info.source or info.pictures.get(frame, ""))
        try:
            stat = path.stat()
        except OSError:
            return "0"
        text = f"{path}:{stat.st_mtime_ns}:{stat.st_size}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def picture(
        self,
        info: SequenceInfo,
        frame: int,
        most: int | None = None,
        *,
        still_wanted: Callable[[], bool] = lambda: True,
    ) -> Picture:
        """A frame in good quality.

        Args:
            info: The sequence.
            frame: From 1.
            most: Largest width in pixels; the frame's own if None.
            still_wanted: Asked now and then.

        Raises:
            Problem: 404 where there is no such frame.
            VideoError: It cannot be decoded.
        """
        self._expect(info, frame)
        width, height = scaled_size(info.width, info.height, most)
        key = (info.index, frame, width, HIGH)
        data = self._pictures.get(key)
        if data is not None:
            if info.kind == "video":
                self._reader(info).look(frame)
            return Picture(data, frame)
        if info.kind == "video":
            decoded = self._reader(info).frame(frame, still_wanted=still_wanted)
            data = jpeg(from_video(decoded, width, height), HIGH)
        else:
            data = self._from_file(info, frame, width, height, HIGH)
        self._pictures.put(key, data)
        return Picture(data, frame)

    def quick(
        self,
        info: SequenceInfo,
        frame: int,
        most: int | None = None,
        *,
        still_wanted: Callable[[], bool] = lambda: True,
    ) -> Picture:
        """A small picture that is there at once, for people who move through a video by mouse.

        It is the frame itself where that is at hand, and else the nearest one that is.

        Raises:
            Problem: 404 where there is no such frame.
            VideoError: It cannot be decoded.
        """
        self._expect(info, frame)
        width, height = scaled_size(info.width, info.height, min(most or SMALL, 4 * SMALL))
        key = (info.index, frame, width, LOW)
        data = self._pictures.get(key)
        if data is not None:
            return Picture(data, frame)
        if info.kind != "video":
            data = self._from_file(info, frame, width, height, LOW)
        else:
            reader = self._reader(info)
            if not reader.has(frame):
                near = self._nearest(info, frame)
                if near is not None:
                    return near
            decoded = reader.frame(frame, still_wanted=still_wanted, look=False)
            data = jpeg(from_video(decoded, width, height), LOW)
        self._pictures.put(key, data)
        return Picture(data, frame)

    def strip(self, info: SequenceInfo, count: int, height: int) -> bytes:
        """So many frames from the first to the last beside each other, as far as they are known."""
        width = max(1, round(height * info.width / max(info.height, 1)))
        frames = np.linspace(1, info.length, count).round().astype(int).tolist()
        tiles = np.zeros((height, width * count, 3), np.uint8)
        for place, frame in enumerate(frames):
            if info.kind == "video":
                near = self._nearest(info, frame)
            elif frame in info.pictures:
                near = self.quick(info, frame)
            else:
                near = None
            if near is not None:
                tile = scaled(decode_image(near.data, info.name), width, height)
                tiles[:, place * width : (place + 1) * width] = tile
        return jpeg(tiles, LOW)

    def _expect(self, info: SequenceInfo, frame: int) -> None:
        if not 1 <= frame <= info.length:
            raise not_found(
                f"expected a frame from 1 to {info.length} of {info.name!r}, found {frame}"
            )
        if info.kind != "video" and frame not in info.pictures:
            raise not_found(f"{info.name!r}: frame {frame} has no picture")

    def _from_file(
        self, info: SequenceInfo, frame: int, width: int, height: int, quality: int
    ) -> bytes:
        path = self._folder / info.pictures[frame]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
        image = decode_image(data, str(path))
        found = image.shape[1::-1]
        if info.width and found != (info.width, info.height):
            raise VideoError(
                f"{path}: expected {info.width}x{info.height} pixels as in the first picture of "
                f"the sequence, found {found[0]}x{found[1]}; one sequence has one size"
            )
        plain = path.suffix.lower() in (".jpg", ".jpeg") and quality == HIGH
        if plain and width == found[0] and not _is_turned(data):
            return data
        return jpeg(scaled(image, width, height), quality)

    def _reader(self, info: SequenceInfo) -> ClipReader:
        with self._lock:
            if self._closed:
                raise Problem(503, "stopping", "the server is being stopped")
            reader = self._open.pop(info.index, None)
            closing = None
            if reader is None:
                reader = self._new_reader(info)
                if len(self._open) >= _OPEN:
                    closing = self._open.popitem(last=False)[1]
            self._open[info.index] = reader
        if closing is not None:
            closing.close()
        return reader

    def _new_reader(self, info: SequenceInfo) -> ClipReader:
        index = info.index
        self._there.setdefault(index, set())
        width, height = scaled_size(info.width, info.height, SMALL)

        def passing(frame: int, decoded: VideoFrame) -> None:
            if frame % _SMALL_EVERY == 1 and frame not in self._there[index]:
                data = jpeg(from_video(decoded, width, height), LOW)
                self._small.put((index, frame), data)
                self._there[index].add(frame)

        return ClipReader(
            self._folder / info.source,
            budget=self._room.decoded,
            threads=self._room.threads,
            indexed=lambda found: self._told(index, found),
            passing=passing,
        )

    def _nearest(self, info: SequenceInfo, frame: int) -> Picture | None:
        known = self._there.get(info.index)
        while known:
            near = min(known.copy(), key=lambda one: abs(one - frame))
            data = self._small.get((info.index, near))
            if data is not None:
                return Picture(data, near)
            known.discard(near)
        return None


def _is_turned(data: bytes) -> bool:
    """Whether a JPEG has marks of a camera, which a browser might obey in its own way."""
    return b"Exif\x00\x00" in data[: 1 << 16]
