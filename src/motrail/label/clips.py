"""Frames of a video in any order, as people step and jump through it.

One thread decodes. It goes on from where it is while that is near, and else enters the file at a
key frame; the decoded frames around the one looked at are kept as the decoder gave them. While
nobody waits it reads ahead: onwards, or backwards in stretches after steps back, because going back
by one frame means decoding everything since a key frame.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections import deque
from typing import TYPE_CHECKING

from motrail.errors import MotrailError, VideoError
from motrail.label.overview import every_frame, key_frames, show_all
from motrail.video.clip import NotSeekableError, opened, opened_near
from motrail.video.index import read_index

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from av.video.frame import VideoFrame

    from motrail.video.index import FrameIndex

_AHEAD = 12
"""Frames that are decoded ahead while nobody waits."""
_NEAR = 24
"""So many frames onwards are decoded rather than entering the file anew."""
_LEAST_KEPT = 12
_REMEMBERED = 16


class _Waiting:
    def __init__(self, number: int, still_wanted: Callable[[], bool]) -> None:
        self.number = number
        self.still_wanted = still_wanted
        self.frame: VideoFrame | None = None
        self.error: MotrailError | None = None
        self.done = False


class DroppedError(VideoError):
    """Nobody waits for the frame any more."""


class ClipReader:
    """Decodes the frames of one video as they are asked for.

    Args:
        path: The video.
        budget: Bytes of decoded frames that are kept.
        threads: How many decode.
        indexed: Told of the index once all packets were read.
        passing: Shown each frame that is decoded on the way.
    """

    def __init__(
        self,
        path: Path,
        *,
        budget: int,
        threads: int,
        indexed: Callable[[FrameIndex], None] = lambda _index: None,
        passing: Callable[[int, VideoFrame], None] = lambda _number, _frame: None,
    ) -> None:
        self._path = path
        self._budget, self._threads = budget, threads
        self._told, self._passing = indexed, passing
        self._index: FrameIndex | None = None
        self._kept: dict[int, VideoFrame] = {}
        self._room = _LEAST_KEPT
        self._waiting: list[_Waiting] = []
        self._change = threading.Condition()
        self._closed = False
        self._looked_at, self._back = 1, False
        self._end: int | None = None
        self._tried: tuple[int, int] | None = None
        self._busy = False
        self._recent: deque[int] = deque([1], maxlen=_REMEMBERED)
        self._workers = [
            threading.Thread(target=self._work, name="frames", daemon=True),
            threading.Thread(target=self._read_index, name="index", daemon=True),
        ]
        for worker in self._workers:
            worker.start()

    @property
    def index(self) -> FrameIndex | None:
        """What the file holds; None until all packets were read."""
        return self._index

    def frame(
        self, number: int, *, still_wanted: Callable[[], bool], look: bool = True
    ) -> VideoFrame:
        """A decoded frame; waits for it.

        Args:
            number: From 1.
            still_wanted: Asked now and then; a frame that nobody wants is not decoded.
            look: Whether a person looks at it, so that its neighbours will be wanted.

        Raises:
            DroppedError: It is no longer wanted.
            VideoError: There is no such frame, or it cannot be decoded.
        """
        with self._change:
            if look:
                self._look(number)
            if number in self._kept:
                return self._kept[number]
            ticket = _Waiting(number, still_wanted)
            self._waiting.append(ticket)
            self._change.notify_all()
            while not ticket.done:
                self._change.wait(0.1)
                if self._closed or not still_wanted():
                    if ticket in self._waiting:
                        self._waiting.remove(ticket)
                    raise DroppedError(f"{self._path}: frame {number} is no longer wanted")
        if ticket.error is not None:
            raise ticket.error
        assert ticket.frame is not None  # noqa: S101 (either is set)
        return ticket.frame

    def look(self, number: int) -> None:
        """A person looks at a frame that was had before, and will want its neighbours."""
        with self._change:
            self._look(number)

    def _look(self, number: int) -> None:
        if number == self._looked_at:
            return
        # A page asks for neighbours on both sides, so that only many requests show a direction.
        self._recent.append(number)
        half = len(self._recent) // 2
        recent = list(self._recent)
        self._back = sum(recent[-half:]) < sum(recent[:half])
        self._looked_at = number
        self._tried = None
        self._change.notify_all()

    def has(self, number: int) -> bool:
        """Whether a frame is at hand."""
        with self._change:
            return number in self._kept

    def close(self) -> None:
        """End the threads."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for worker in self._workers:
            worker.join(timeout=10)
        self._kept.clear()

    # In the thread that reads packets

    def _read_index(self) -> None:
        try:
            index = read_index(self._path)
        except MotrailError:
            return
        with self._change:
            if self._closed:
                return
            self._index = index
            self._end = len(index) if index.fault is None else None
        self._told(index)
        if index.fault is not None:
            return
        with contextlib.suppress(MotrailError):  # said when somebody asks for a frame
            show_all(key_frames(self._path, index), self._passing, self._may_scan)
            show_all(every_frame(self._path), self._passing, self._may_scan)

    def _may_scan(self) -> bool:
        """Waits while somebody waits for a frame; False at the end."""
        with self._change:
            while self._busy and not self._closed:
                self._change.wait(0.5)
            return not self._closed

    # In the thread that decodes

    def _work(self) -> None:
        position = 0
        frames: Generator[tuple[int, VideoFrame]] | None = None
        while True:
            job = self._next_job(position if frames is not None else None)
            if frames is not None and (job is None or not position < job[0] <= position + _NEAR):
                frames.close()
                frames = None
                # An open file is part of a reference cycle, and with it all frames in its pool.
                gc.collect()
            if job is None:
                return
            start, last, wanted = job
            if frames is None:
                frames, position = self._frames_from(start), 0
            position = self._pull(frames, position, last, wanted)
            if position < 0:
                frames.close()
                frames = None

    def _next_job(self, position: int | None) -> tuple[int, int, _Waiting | None] | None:
        """First and last frame of what is to be decoded next, and who waits for it."""
        with self._change:
            self._busy = True
            while not self._closed:
                self._waiting = [t for t in self._waiting if t.still_wanted()]
                if self._waiting:
                    ticket = self._waiting[-1]  # the latest wins
                    return self._way_to(ticket.number, position), ticket.number, ticket
                ahead = self._ahead(position)
                if ahead is not None and ahead != self._tried:  # broken frames never come
                    self._tried = ahead
                    return *ahead, None
                self._busy = False
                self._change.notify_all()
                self._change.wait(0.5)
                self._busy = True
        return None

    def _way_to(self, number: int, position: int | None) -> int:
        """Where to begin for a frame: what lies before it is kept for steps back."""
        if position is not None and position < number <= position + _NEAR:
            return position + 1
        back = self._room // 2
        if self._index is None:
            return max(1, number - back)
        keys = self._index.keys[self._index.keys <= number]
        return max(number - back, int(keys[-1]) if len(keys) else 1, 1)

    def _ahead(self, position: int | None) -> tuple[int, int] | None:
        here = self._looked_at
        if self._back:
            lowest = here
            while lowest - 1 in self._kept:
                lowest -= 1
            if lowest > 1 and here - lowest < self._room // 4 and self._index is not None:
                return max(1, lowest - self._room // 2), lowest - 1
            return None
        last = here + min(_AHEAD, self._room // 3)
        last = last if self._end is None else min(last, self._end)
        if position is not None and here <= position < last:
            return position + 1, last
        return None

    def _frames_from(self, start: int) -> Generator[tuple[int, VideoFrame]]:
        index = self._index
        if index is not None and index.fault is None and start > 1:
            try:
                with opened_near(self._path, start, index, threads=self._threads) as clip:
                    for number, frame, _ in clip.frames_from(start, index):
                        yield number, frame
                    return
            except NotSeekableError:
                # What was given out is right; the rest is had from the beginning.
                pass
        with opened(self._path, threads=self._threads) as clip:
            for number, frame, _ in clip.frames():
                if number >= start:
                    yield number, frame

    def _pull(
        self,
        frames: Iterator[tuple[int, VideoFrame]],
        position: int,
        last: int,
        ticket: _Waiting | None,
    ) -> int:
        """Decode up to a frame; gives the number of the last one, -1 where there is no more."""
        try:
            while position < last:
                number, frame = next(frames)
                if number > position:
                    position = number
                    self._take(number, frame)
                with self._change:
                    if self._closed or (ticket is None and self._elsewhere(position, last)):
                        return position
                    if ticket is not None and not self._worth(ticket, position):
                        return position
        except StopIteration:
            self._fail(VideoError(f"{self._path}: there is no frame {max(last, position + 1)}"),
                       position)  # fmt: skip
            return -1
        except MotrailError as error:
            self._fail(error, 0)
            return -1
        with self._change:
            if ticket is not None and not ticket.done:
                self._answer(ticket, VideoError(
                    f"{self._path}: frame {ticket.number} cannot be decoded"
                ))  # fmt: skip
        return position

    def _elsewhere(self, position: int, last: int) -> bool:
        """Whether somebody waits for a frame that does not come on this way."""
        return any(not position < t.number <= last for t in self._waiting if t.still_wanted())

    def _worth(self, ticket: _Waiting, position: int) -> bool:
        return any(position < t.number <= ticket.number for t in self._waiting if t.still_wanted())

    def _take(self, number: int, frame: VideoFrame) -> None:
        self._passing(number, frame)
        size = max(frame.width * frame.height * 3 // 2, 1)
        with self._change:
            self._room = max(self._budget // size, _LEAST_KEPT)
            self._kept[number] = frame
            while len(self._kept) > self._room:
                here = self._looked_at if not self._waiting else self._waiting[-1].number
                del self._kept[max(self._kept, key=lambda key: abs(key - here))]
            for ticket in [t for t in self._waiting if t.number == number]:
                ticket.frame = frame
                self._answer(ticket, None)

    def _fail(self, error: MotrailError, position: int) -> None:
        with self._change:
            for ticket in [t for t in self._waiting if t.number > position]:
                self._answer(ticket, error)

    def _answer(self, ticket: _Waiting, error: MotrailError | None) -> None:
        ticket.error, ticket.done = error, True
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        self._change.notify_all()
