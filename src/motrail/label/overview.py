"""A first look at all of a video: key frames at once, the frames between when there is time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motrail.video.clip import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from av.video.frame import VideoFrame

    from motrail.video.index import FrameIndex


def key_frames(path: Path, index: FrameIndex) -> Iterator[tuple[int, VideoFrame]]:
    """The key frames of a video and their numbers; nothing else is decoded.

    Raises:
        VideoError: It cannot be opened.
    """
    with opened(path, threads=1) as clip:
        clip.stream.codec_context.skip_frame = "NONKEY"
        keys = set(index.keys.tolist())
        for _, frame, _ in clip.frames():
            number = index.number_of(frame.pts)
            if number in keys:
                yield int(number or 0), frame


def every_frame(path: Path) -> Iterator[tuple[int, VideoFrame]]:
    """All frames of a video and their numbers, in one thread.

    Raises:
        VideoError: It cannot be opened.
    """
    with opened(path, threads=1) as clip:
        for number, frame, _ in clip.frames():
            yield number, frame


def show_all(
    frames: Iterator[tuple[int, VideoFrame]],
    show: Callable[[int, VideoFrame], None],
    go_on: Callable[[], bool],
) -> None:
    """Show frames, for as long as that is wanted; `go_on` is asked before each and may wait."""
    for number, frame in frames:
        if not go_on():
            return
        show(number, frame)
