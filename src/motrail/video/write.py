"""Write frames to an H.264 video in mp4."""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import ConfigError, DataError, MissingExtraError, VideoError
from motrail.outputs import WholeFile, WholeOutput, output_error

try:
    import av
    import cv2
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
    from av.video.reformatter import VideoReformatter as _Reformatter
except ImportError as _error:
    raise MissingExtraError(_error.name or "av", "video", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_TICKS = 90_000
"""Timestamps count in 1/90,000 s, which holds 24, 25, 30, 29.97 and 59.94 frames per second."""
_MAX_SIDE = 16_384
MIN_RATE = 0.001
"""Fewest frames per second that can be written."""


class VideoWriter(WholeOutput):
    """Writes BGR images as H.264 in mp4: `path` appears whole at the end, or not at all.

    The picture keeps its exact size: 4:2:0 where both sides are even, 4:4:4 where one is odd (which
    some players, browsers among them, do not show). Colours are marked: BT.601 matrix, limited
    range, BT.709 primaries. The index stands at the front, so that the video plays while it loads.

    Args:
        path: The video to write, usually ending in .mp4; its folder must exist.
        width: Width of every image in pixels, at most 16,384.
        height: Height of every image in pixels, at most 16,384.
        frame_rate: Frames per second; the last frame lasts 1 / frame_rate.
        crf: x264's quality: 0 (lossless) to 51 (worst); 18 is hard to tell from the source.
        encoder_preset: x264's preset, `ultrafast` to `veryslow`.
        threads: Encoder threads; 0 leaves the choice to x264.

    Raises:
        ConfigError: A setting is out of range or unknown.
        OutputError: The file cannot be written.
        VideoError: There is no H.264 encoder, or it refuses.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        frame_rate: float,
        crf: int = 23,
        encoder_preset: str = "superfast",
        threads: int = 0,
    ) -> None:
        _check_settings(width, height, frame_rate, crf, encoder_preset, threads)
        self.width, self.height, self.frame_rate = width, height, frame_rate
        self._file = WholeFile(path)
        self._open = self._done = False
        self._first_time: float | None = None
        self._last_pts = -1
        self._step = max(1, round(_TICKS / frame_rate))
        self._reformatter = _Reformatter()
        self._yuv = np.empty((height * 3 // 2, width), np.uint8)
        with self._reporting():
            self._container = av.open(
                f"file:{self._file.temporary}",  # a colon in the name is no protocol
                "w",
                format="mp4",
                container_options={"movflags": "+faststart"},
            )
            self._open = True
            self._stream = self._add_stream(crf, encoder_preset, threads)
            self._container.start_encoding()

    def _add_stream(self, crf: int, preset: str, threads: int) -> VideoStream:
        rate = Fraction(self.frame_rate).limit_denominator(_TICKS)
        # mp4 stores how long frames last in decoding order; only without B-frames is that the
        # order of display, so that the duration is right for variable rates, too.
        options = {"crf": str(crf), "preset": preset, "bf": "0"}
        if preset == "superfast":  # CABAC takes a sixth of its time for 7 % of the size
            options["coder"] = "0"
        stream = self._container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = self.width, self.height
        stream.pix_fmt = "yuv420p" if self.width % 2 == self.height % 2 == 0 else "yuv444p"
        codec = stream.codec_context
        codec.time_base = stream.time_base = Fraction(1, _TICKS)
        codec.thread_count = threads
        codec.colorspace = Colorspace.ITU601
        codec.color_range = ColorRange.MPEG
        codec.color_primaries = ColorPrimaries.BT709
        codec.color_trc = ColorTrc.BT709
        return stream

    def write(self, image_bgr: NDArray[np.uint8], time: float) -> None:
        """Add one frame.

        Args:
            image_bgr: Pixels, uint8, shape (height, width, 3), channels blue, green, red. Not
                changed, and free to be reused afterwards.
            time: Seconds as in `Frame.time`; the video starts at the first frame's. A time that
                does not lie after the one before is moved just behind it.

        Raises:
            DataError: The image has another shape or type, or the time is not finite.
            OutputError: The file cannot be written: the disk is full, for example.
            VideoError: The encoder failed, or the writer is closed.
        """
        if not self._open:
            raise VideoError(f"{self._file.path}: the video is already closed; open a new writer")
        self._check_image(image_bgr)
        if not math.isfinite(time):
            raise DataError(f"time: expected finite seconds, found {time}")
        if self._first_time is None:
            self._first_time = time
        pts = max(round((time - self._first_time) * _TICKS), self._last_pts + 1)
        self._last_pts = pts
        frame = self._picture(image_bgr)
        frame.pts, frame.time_base = pts, Fraction(1, _TICKS)
        self._encode(frame)

    def _picture(self, image_bgr: NDArray[np.uint8]) -> av.VideoFrame:
        """The image in the encoder's layout: luma and chroma by BT.601, limited range."""
        if self._stream.pix_fmt == "yuv420p":
            # An eighth of the time that FFmpeg's scaler takes with correct rounding.
            cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420, dst=self._yuv)
            return av.VideoFrame.from_ndarray(self._yuv, format="yuv420p")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_bgr), format="bgr24")
        return self._reformatter.reformat(
            picture,
            format="yuv444p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            # Without it every picture comes out two grey levels darker.
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
            threads=1,
        )

    def _check_image(self, image_bgr: NDArray[np.uint8]) -> None:
        expected = (self.height, self.width, 3)
        if image_bgr.shape != expected or image_bgr.dtype != np.uint8:
            raise DataError(
                f"image: expected uint8 of shape {expected} (height, width, BGR), "
                f"found {image_bgr.dtype} of shape {image_bgr.shape}"
            )

    def _encode(self, frame: av.VideoFrame | None) -> None:
        with self._reporting():
            for packet in self._stream.encode(frame):
                # Only the last one's counts; the others last until the next one.
                packet.duration = self._step
                self._container.mux(packet)

    def finish(self) -> None:
        """Encode what is on its way and close the file; no frame can be added after that.

        Raises:
            OutputError: The file cannot be written.
            VideoError: No frame was written, or the encoder failed.
        """
        if not self._open:
            return
        if self._first_time is None:
            self.discard()
            raise VideoError(f"{self._file.path}: not one frame was written, so there is no video")
        self._encode(None)
        with self._reporting():
            self._open = False
            self._container.close()

    def commit(self) -> None:
        """Finish the video if need be and give it its name; errors as in `finish`."""
        if self._done:
            raise VideoError(f"{self._file.path}: the video is already closed; open a new writer")
        self.finish()
        self._file.commit()
        self._done = True

    def discard(self) -> None:
        """Give up: close and delete what was written so far. Harmless after `commit`."""
        if self._open:
            self._open = False
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self._container.close()
        self._file.discard()

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn PyAV's errors into ours; the unfinished file is deleted."""
        try:
            yield
        # Many of PyAV's errors are OSErrors, too; those are about the file.
        except OSError as error:
            self.discard()
            raise output_error(self._file.path, error) from error
        except (av.error.FFmpegError, ValueError) as error:
            self.discard()
            raise VideoError(
                f"{self._file.path}: the H.264 encoder failed "
                f"({getattr(error, 'strerror', None) or error}); expected it to take "
                f"{self.width}x{self.height} pixels at {self.frame_rate:g} frames per second"
            ) from error


_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)


def _check_settings(
    width: int, height: int, frame_rate: float, crf: int, preset: str, threads: int
) -> None:
    for name, side in (("width", width), ("height", height)):
        if not 1 <= side <= _MAX_SIDE:
            raise ConfigError(
                f"{name} of the video to write: expected 1 to {_MAX_SIDE} pixels, found {side}; "
                "there are tracks without it (--no-video)"
            )
    if not MIN_RATE <= frame_rate <= 10_000:
        raise ConfigError(f"frame_rate: expected {MIN_RATE} to 10000, found {frame_rate}")
    if not 0 <= crf <= 51:
        raise ConfigError(f"crf: expected 0 (lossless) to 51 (worst), found {crf}")
    if preset not in _PRESETS:
        raise ConfigError(f"encoder_preset: expected one of {', '.join(_PRESETS)}, found {preset}")
    if threads < 0:
        raise ConfigError(f"threads: expected 0 (x264's choice) or more, found {threads}")
