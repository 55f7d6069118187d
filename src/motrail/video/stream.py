"""A video file as a source of frames, decoded with PyAV."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from motrail.errors import MissingExtraError, VideoError
from motrail.types import Frame
from motrail.video.images import check_size, past_the_end
from motrail.video.numbering import FrameNumbers
from motrail.video.source import MAX_PIXELS, Selection, Source

try:
    import av
    from av.stream import Disposition
    from av.video.reformatter import VideoReformatter
except ImportError as _error:
    raise MissingExtraError("av", "video", _error) from _error
try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

# What may be opened. Playlists (hls, dash, concat), subtitles drawn as video (tty), devices and
# everything else that reads further files or the network is not on the list.
_DEMUXERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,gif,apng,mxf,rm,dv,ivf,"
    "obu,h264,hevc,vvc,m4v,h263,mjpeg,yuv4mpegpipe,nut,wtv,3gp,cavsvideo,dirac,vc1,swf,"
    "wav,mp3,aac,flac,ac3,amr,aiff"
)
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<?xml")
# Headers of these containers state how long the video is; of others FFmpeg guesses.
_TIMED_FORMATS = frozenset({"matroska,webm", "flv", "avi", "asf", "mov,mp4,m4a,3gp,3g2,mj2"})
_MAX_THREADS = 8
_MAX_READ_FAILURES = 64
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

    Raises:
        VideoError: The file is not a video, is incomplete, holds only sound, is too large, or
            `selection` starts past its end.
    """

    def __init__(self, path: Path, *, name: str, selection: Selection) -> None:
        super().__init__()
        self.name = name
        self._path = path
        self.selection = selection
        self._probe()

    def _probe(self) -> None:
        with _opened(self._path, threads=1) as clip:
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
        with _opened(self._path, threads=min(_MAX_THREADS, os.cpu_count() or 1)) as clip:
            for number, frame, time in clip.frames():
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
                self.truncated = clip.shortfall()
        if not given:
            raise past_the_end(str(self._path), wanted.start, clip.number)

    def _to_bgr(self, clip: _Clip, frame: VideoFrame) -> NDArray[np.uint8]:
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


@contextlib.contextmanager
def _opened(path: Path, *, threads: int) -> Iterator[_Clip]:
    try:
        # "file:" keeps FFmpeg from reading a colon in the name as a protocol.
        container = av.open(
            f"file:{path}",
            mode="r",
            options={"protocol_whitelist": "file", "format_whitelist": _DEMUXERS},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(_why_not(path, error)) from error
    with container:
        yield _Clip(path, container, threads)


def _why_not(path: Path, error: Exception) -> str:
    """One line on why the file cannot be opened."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; it was there a moment ago"
    if isinstance(error, PermissionError):
        return f"{path}: no permission to read it"
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head.lstrip().startswith(_PLAYLISTS):
            return f"{path}: expected a video, found a playlist; give the video file it names"
        if _lacks_index(path):
            return (
                f"{path}: the file is incomplete: its index (moov) is missing, because the "
                "recording or the download was broken off; copy it again or repair it"
            )
    except OSError as failure:
        return f"{path}: cannot be read: {failure.strerror or failure}"
    return (
        f"{path}: expected a video (mp4, mov, mkv, webm, avi, ts, ...), found something else "
        f"({reason}); try to play it, or convert it to mp4"
    )


def _lacks_index(path: Path) -> bool:
    """Whether this is an mp4 or mov file without its index: no `moov` among the top boxes."""
    size = path.stat().st_size
    position, first = 0, True
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if kind == b"moov" or (first and kind not in {b"ftyp", b"mdat", b"wide", b"free"}):
                return False
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:
                break
            position, first = position + length, False
    return not first or size >= 8


class _Clip:
    """One pass through an open video file."""

    def __init__(self, path: Path, container: InputContainer, threads: int) -> None:
        self.path = path
        self.container = container
        self.stream = self._choose_stream()
        self.codec = self._prepare_decoder(threads)
        self.rate = self._frame_rate()
        self.header_frames = self.stream.frames
        self.reformatter = VideoReformatter()
        self.packets = 0
        self.corrupt = 0
        self._numbers = FrameNumbers()
        self._first_time: float | None = None
        self._last_time: float | None = None

    def _choose_stream(self) -> VideoStream:
        # The cover picture of a song is a video stream, too.
        pictures = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if pictures:
            return pictures[0]
        kinds = sorted({stream.type for stream in self.container.streams})
        found = "only sound" if "audio" in kinds else ", ".join(kinds) or "nothing"
        raise VideoError(f"{self.path}: expected a video, found {found}; give a file with pictures")

    def _prepare_decoder(self, threads: int) -> str:
        # PyAV answers None where FFmpeg has no decoder, which its type stub does not say.
        codec = cast("Any", self.stream.codec_context)
        if codec is None:
            raise VideoError(
                f"{self.path}: expected a video that FFmpeg can decode, found an unknown codec; "
                "convert it to H.264"
            )
        check_size(codec.width, codec.height, str(self.path))
        codec.options = {"max_pixels": str(MAX_PIXELS)}
        codec.thread_type = "AUTO"
        codec.thread_count = threads
        return str(codec.name)

    def _frame_rate(self) -> float:
        for rate in (self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate):
            if rate and 0 < rate <= 1000:
                return float(rate)
        return 25.0

    def _header_seconds(self) -> float | None:
        duration = self.container.duration
        if self.container.format.name not in _TIMED_FORMATS or not duration or duration < 0:
            return None
        return float(duration / av.time_base)

    def expected_frames(self) -> int | None:
        """How many frames the header promises; None where it does not say."""
        if self.header_frames:
            return self.header_frames
        seconds = self._header_seconds()
        return None if seconds is None else max(1, round(seconds * self.rate))

    @property
    def broken(self) -> int:
        return self._numbers.lost + self.corrupt

    @property
    def number(self) -> int:
        """Number of the last frame seen, broken ones included."""
        return self._numbers.number

    def frames(self) -> Iterator[tuple[int, VideoFrame, float]]:
        """Every frame that decodes, with its number from 1 and its time in seconds."""
        time = 0.0
        for frame in self._decoded():
            number = self._numbers.frame(frame.pts)
            if number is None:
                continue
            self.corrupt += bool(frame.is_corrupt)
            first = self._numbers.first_pts
            if frame.pts is not None and first is not None and self.stream.time_base:
                time = max(time, float((frame.pts - first) * self.stream.time_base))
            else:
                time = max(time, (number - 1) / self.rate)
            yield number, frame, time
        self._numbers.end()

    def _decoded(self) -> Iterator[VideoFrame]:
        for packet in self._read():
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            return self.stream.decode(packet)
        except EOFError:
            return []
        except av.error.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            self._numbers.failure()
            return []

    def _read(self) -> Iterator[Packet[VideoStream]]:
        # Without a frame count the time of the last packet of any stream tells whether the file
        # was cut off, because the header's duration is that of the longest stream.
        streams = (self.stream,) if self.header_frames else tuple(self.container.streams)
        for packet in self._packets(streams):
            self._note_time(packet)
            if packet.stream_index == self.stream.index:
                self.packets += 1
                if not packet.is_discard:
                    self._numbers.packet(packet.pts)
                yield packet

    def _packets(self, streams: tuple[Any, ...]) -> Iterator[Packet[Any]]:
        failures = 0
        while failures < _MAX_READ_FAILURES:
            try:
                for packet in self.container.demux(*streams):
                    failures = 0
                    # An empty packet would tell the decoder that the end has come.
                    if packet.size:
                        yield packet
            except av.error.FFmpegError:
                failures += 1
            except IndexError:
                # PyAV stumbles over streams that first show up in the middle of a damaged file,
                # but only after the last packet.
                return
            else:
                return

    def _note_time(self, packet: Packet[Any]) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or not packet.time_base:
            return
        start = float(stamp * packet.time_base)
        end = start + float((packet.duration or 0) * packet.time_base)
        self._first_time = start if self._first_time is None else min(self._first_time, start)
        self._last_time = end if self._last_time is None else max(self._last_time, end)

    def shortfall(self) -> str | None:
        """After the last packet: why the file ended early, in one sentence."""
        if self.header_frames:
            if self.packets >= self.header_frames:
                return None
            return f"the file holds {self.packets} of {self.header_frames} frames: it was cut off"
        promised = self._header_seconds()
        if promised is None or self._last_time is None or self._first_time is None:
            return None
        # Some headers count from 0, some from the first timestamp.
        held = max(self._last_time, self._last_time - self._first_time)
        if held >= promised - max(1.0, 2 / self.rate):
            return None
        return f"the file holds {held:.1f} of {promised:.1f} seconds: it was cut off"
