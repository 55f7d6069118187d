"""One pass through an open video file: which packets there are, and the frames they become."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any, cast

from motrail.errors import MissingExtraError, VideoError
from motrail.video.images import check_size
from motrail.video.numbering import FrameNumbers
from motrail.video.source import MAX_PIXELS

try:
    import av
    from av.stream import Disposition
    from av.video.reformatter import VideoReformatter
except ImportError as _error:
    raise MissingExtraError("av", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from motrail.video.index import FrameIndex

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
_MAX_READ_FAILURES = 64
_STEPS_BACK = (2, 3, 5, 9, 17)
"""How many key frames before the wanted frame to enter a file; some formats come out later."""


class NotSeekableError(VideoError):
    """Frames cannot be found from the middle of a file; read from the beginning it may be fine."""


@contextlib.contextmanager
def opened(path: Path, *, threads: int) -> Iterator[Clip]:
    """The file, open until the end of the block.

    Args:
        path: The file.
        threads: How many decode.

    Raises:
        VideoError: It is no video, or not one that can be decoded.
    """
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
        yield Clip(path, container, threads)


@contextlib.contextmanager
def opened_near(path: Path, number: int, index: FrameIndex, *, threads: int) -> Iterator[Clip]:
    """The file, open at a key frame from which a frame can be had, else at its beginning."""
    if index.fault is None:
        with opened(path, threads=threads) as clip:
            if clip.enter(number, index):
                yield clip
                return
    with opened(path, threads=threads) as clip:
        yield clip


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


class Clip:
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
        self._entry: Iterator[Packet[VideoStream]] | None = None
        self._entered_at = 1
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
        """Frames so far that could not be decoded, or only in part."""
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

    def frames_from(
        self, number: int, index: FrameIndex
    ) -> Iterator[tuple[int, VideoFrame, float]]:
        """The same from a frame in the middle on; to be called once, and instead of `frames`.

        Args:
            number: Of the first frame, counted from 1.
            index: What the file holds.

        Raises:
            NotSeekableError: Other frames come out than the index promises, or broken ones.
        """
        base = self.stream.time_base
        if index.fault is not None or not base:
            raise NotSeekableError(f"{self.path}: {index.fault or 'frames have no times'}")
        if number > len(index):
            return
        due = number
        for packet in itertools.chain(self._entry or self._packets((self.stream,)), [None]):
            for frame in self._decode(packet):
                pts = frame.pts
                found = index.number_of(pts)
                if pts is None or (frame.is_corrupt and (found or 0) >= self._entered_at):
                    raise NotSeekableError(f"{self.path}: cannot be decoded near frame {due}")
                if pts < index.pts[number - 1]:
                    continue
                if found != due:
                    raise NotSeekableError(f"{self.path}: frame {due} was not found")
                yield due, frame, float((pts - int(index.pts[0])) * base)
                due += 1
            if self._numbers.failures:
                raise NotSeekableError(f"{self.path}: cannot be decoded near frame {due}")
        if due <= len(index):
            raise NotSeekableError(f"{self.path}: frame {due} was not found")

    def enter(self, number: int, index: FrameIndex) -> bool:
        """Go to a key frame, one further back than a frame of this number needs.

        What stands right behind a key frame may build on what was before it (open groups of
        pictures), and then looks otherwise than when read from the beginning.

        Returns:
            False where no way in was found; the clip is of no use any more then.
        """
        keys = index.keys[index.keys <= number]
        for back in _STEPS_BACK:
            if back >= len(keys):
                return False
            try:
                self.container.seek(int(index.pts[int(keys[-back]) - 1]), stream=self.stream)
            except av.error.FFmpegError:
                return False
            packets = self._packets((self.stream,))
            for packet in packets:
                found = index.number_of(packet.pts)
                if found is not None and found > keys[-2]:
                    break  # it came out too far on
                if found is not None and found in index.keys:
                    self._entered_at = found
                    self._entry = itertools.chain([packet], packets)
                    return True
        return False

    def _decoded(self) -> Iterator[VideoFrame]:
        for packet in self.read():
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

    def read(self) -> Iterator[Packet[VideoStream]]:
        """Every packet of the stream, as it lies in the file."""
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
