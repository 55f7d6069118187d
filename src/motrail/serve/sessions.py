"""Sessions: each a tracker that is told frame after frame, whoever else is served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from motrail.serve.problems import Problem, bad_request, busy
from motrail.track.steady import SteadyTracker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from motrail.moving import FramesCamera
    from motrail.pipeline import Tracker
    from motrail.serve.attributes import Attributes
    from motrail.types import Detections, Tracks
    from motrail.video.flow import Small

HEADER = "X-Amzn-SageMaker-Session-Id"
NEW_HEADER = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_HEADER = "X-Amzn-SageMaker-Closed-Session-Id"
NEW = "NEW_SESSION"
PREVIOUS_SECONDS = 30.0
_ID = re.compile(r"[A-Za-z0-9-]{1,256}")
MAX_STEP = 10_000
"""Frames of the source between two of a session: a tracker looks ahead frame by frame."""
_LARGEST = 2**53


class Look(NamedTuple):
    """What was seen in a frame.

    Attributes:
        size: Its width and height in pixels.
        detections: What is in it.
        picture: What is kept of it, where a session finds the camera's motion in its frames.
    """

    size: tuple[int, int]
    detections: Detections
    picture: Small | None = None


@dataclass(eq=False)
class Session:
    """One video, frame by frame.

    Attributes:
        id: Known to its client alone.
        tracker: Its own.
        first: Number of its first frame unless the request says otherwise.
        stride: From one frame to the next unless the request says otherwise.
        seen: When it was last heard of, on the clock of `Sessions`.
        last: Number of the last frame tracked; 0 before the first.
        users: Requests under way.
        closed: Whether it is over.
        camera: Finds the motion of its camera in the pictures; None where nobody asked for that.
    """

    id: str
    tracker: Tracker
    first: int
    stride: int
    seen: float
    last: int = 0
    users: int = 0
    closed: bool = False
    camera: FramesCamera | None = None
    _line: deque[object] = field(default_factory=deque)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @contextlib.asynccontextmanager
    async def place(self, previous: int | None) -> AsyncIterator[object]:
        """A place in the line of requests that do not say which frame was before theirs."""
        token = object()
        if previous is None:
            self._line.append(token)
        try:
            yield token
        finally:
            if token in self._line:
                self._line.remove(token)
                async with self._changed:
                    self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def turn(self, token: object, previous: int | None) -> AsyncIterator[None]:
        """Wait until this request may change the session.

        Raises:
            Problem: 409 where the frame before does not come or others are already after it;
                404 where the session was closed meanwhile.
        """

        def ready() -> bool:
            if self.closed:
                return True
            return self._line[0] is token if previous is None else self.last >= previous

        async with self._changed:
            try:
                seconds = None if previous is None else PREVIOUS_SECONDS
                async with asyncio.timeout(seconds):
                    await self._changed.wait_for(ready)
            except TimeoutError:
                raise Problem(
                    409,
                    "previous_missing",
                    f"frame {previous} was waited for and did not come within "
                    f"{PREVIOUS_SECONDS:g} s",
                ) from None
            finally:
                # Who waits behind looks again, also when this one gave up.
                with contextlib.suppress(ValueError):
                    self._line.remove(token)
                self._changed.notify_all()
            if self.closed:
                raise unknown_session()
            if previous is not None and self.last != previous:
                raise Problem(
                    409,
                    "out_of_order",
                    f"previous: expected the last frame, {self.last}, found {previous}",
                )
            try:
                yield
            finally:
                self._changed.notify_all()

    def number(self, attributes: Attributes) -> int:
        """The number of the next frame.

        Raises:
            Problem: 409; it is not above the last, or 400; too far from the last.
        """
        if attributes.frame is not None:
            number = attributes.frame
        elif attributes.step is not None and self.last:
            number = self.last + attributes.step
        else:
            number = self.last + self.stride if self.last else self.first
        if number <= self.last:
            raise Problem(
                409,
                "out_of_order",
                f"frame: expected a number above that of the last frame, {self.last}, "
                f"found {number}",
            )
        if number > _LARGEST or (self.last and number - self.last > MAX_STEP):
            raise bad_request(
                f"frame: expected at most {MAX_STEP} frames after the last, {self.last}, found "
                f"{number}; open a new session"
            )
        return number

    def track(self, number: int, found: Iterable[Look]) -> list[tuple[int, Tracks]]:
        """Tell the tracker of frames; blocks, and is called by one thread at a time.

        Args:
            number: Of the first of them.
            found: What was seen in each.
        """
        results = []
        for size, detections, picture in found:
            step = number - self.last if self.last else 1
            if isinstance(self.tracker, SteadyTracker):
                if self.tracker.image_size is None:
                    self.tracker.image_size = size  # nobody knew it before the first frame
                motion = None
                if self.camera is not None and picture is not None:
                    motion = self.camera.motion_of(picture, detections)
                tracks = self.tracker.update(detections, step=step, motion=motion)
            else:
                tracks = self.tracker.update(detections, step=step)
            results.append((number, tracks))
            self.last = number
            number += self.stride
        return results


class Sessions:
    """All sessions.

    Args:
        limit: How many may be open.
        seconds: Time without a request after which one is closed.
        clock: Seconds that never go back.
    """

    def __init__(
        self, *, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._seconds, self._clock = limit, seconds, clock
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def check(self) -> None:
        """See that there is room for another.

        Raises:
            Problem: 503.
        """
        if len(self._open) >= self._limit:
            self.sweep()
        if len(self._open) >= self._limit:
            raise busy(max(1, min(60, round(self._seconds))))

    def open(
        self,
        tracker: Tracker,
        *,
        first: int,
        stride: int,
        camera: FramesCamera | None = None,
    ) -> Session:
        """Open one.

        Raises:
            Problem: 503; there are too many.
        """
        self.check()
        session = Session(
            secrets.token_hex(16), tracker, first, stride, self._clock(), camera=camera
        )
        self._open[session.id] = session
        return session

    @contextlib.contextmanager
    def use(self, id_: str) -> Iterator[Session]:
        """The session of an id; it does not time out within the block.

        Raises:
            Problem: 404; there is none.
        """
        session = self._open.get(id_) if _ID.fullmatch(id_) else None
        if session is None or self._expired(session):
            self.sweep()
            raise unknown_session()
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            session.seen = self._clock()

    def close(self, session: Session) -> None:
        """End one."""
        session.closed = True
        self._open.pop(session.id, None)

    def sweep(self) -> int:
        """Close those that were not heard of for too long; tells how many."""
        old = [session for session in self._open.values() if self._expired(session)]
        for session in old:
            self.close(session)
        return len(old)

    def expires(self) -> str:
        """When a session that is heard of now would time out."""
        moment = datetime.now(UTC) + timedelta(seconds=self._seconds)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _expired(self, session: Session) -> bool:
        return not session.users and self._clock() - session.seen > self._seconds


def unknown_session() -> Problem:
    """There is no such session, or no more."""
    return Problem(
        404,
        "unknown_session",
        "there is no session of this id: it was closed or timed out; open a new one",
    )
