"""A session: a tracker of one's own on the server, fed frame by frame."""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from motrail.errors import DataError
from motrail.pipeline import ahead, one_opencv_thread
from motrail.remote.flight import in_flight
from motrail.remote.messages import (
    ANY_IMAGE,
    CSV,
    NEW_SESSION,
    SESSION,
    attributes,
    in_one,
    joined,
    read_tracks,
)
from motrail.remote.problems import RemoteError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from motrail.remote.fit import Fit
    from motrail.remote.messages import Encode
    from motrail.remote.transport import Transport
    from motrail.types import Frame, Tracks

_ID = re.compile(r"[A-Za-z0-9-]{1,256}")
TOGETHER = 4
"""Frames that wait to be sent go in one request, but no more than so many."""


class Session:
    """Tracks of one camera or video, made by the server. Use it in a `with` block.

    Args:
        transport: How requests get there.
        encode: What `motrail.remote.messages.encoder` gave.
        settings: Attributes that hold for the whole session.
        stride: By how much frame numbers grow where none is given.
        in_flight: How many requests `stream` has under way.
        fit: Scales pictures down before they are sent; the server gives boxes in pixels of the
            pictures as they were. None sends them as they are.

    Raises:
        RemoteError: The server cannot open a session; on entering.

    Attributes:
        id: The server's name for it; None before it is opened and after it is closed.
        last: Number of the last frame that was tracked; 0 at first.
    """

    def __init__(
        self,
        transport: Transport,
        encode: Encode,
        settings: Mapping[str, object],
        *,
        stride: int = 1,
        in_flight: int = 4,
        fit: Fit | None = None,
    ) -> None:
        self.id: str | None = None
        self.last = 0
        self._transport, self._encode = transport, encode
        self._settings = dict(settings)
        self._stride, self._in_flight = stride, in_flight
        self._fit = fit

    def __enter__(self) -> Self:
        # In a thread, which brings the name of the session back also after an interrupt.
        with ThreadPoolExecutor(1, thread_name_prefix="motrail-remote") as pool:
            opening = pool.submit(self._open)
            try:
                self.id = opening.result()
            except BaseException:
                if opening.exception() is None:
                    self.id = opening.result()
                    self.close()
                raise
        return self

    def _open(self) -> str:
        headers = {SESSION: "NEW_SESSION", "Accept": "application/json"}
        # A session that nobody uses ends by itself, so a second one does no harm.
        answer = self._transport.invoke(
            ANY_IMAGE, b"", headers | attributes(self._settings), again=True
        )
        name = answer.headers.get(NEW_SESSION.lower(), "").partition(";")[0].strip()
        if not _ID.fullmatch(name):
            raise RemoteError("expected a new session, found none in the server's answer")
        return name

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session. What cannot be closed ends by itself after a while."""
        name, self.id = self.id, None
        if name is None:
            return
        headers = {SESSION: name, "Accept": "application/json"} | attributes({"close": True})
        with contextlib.suppress(RemoteError):
            self._transport.invoke(ANY_IMAGE, b"", headers, again=True)

    def update(self, image: NDArray[np.uint8] | bytes, frame: int | None = None) -> Tracks:
        """Send the next frame.

        A frame that is refused changes nothing, here and there.

        Args:
            image: BGR, uint8, shape (height, width, 3), or the bytes of an image file.
            frame: Its number in the source, from 1 and above the last; left out, the next.

        Returns:
            Its tracks; `detection_index` counts them, for the detections stay with the server.

        Raises:
            RemoteError: The server refused, or does not know the session any more.
            DataError: The picture is none, or `frame` is not above the last one.
        """
        number = self._next() if frame is None else frame
        if number <= self.last:
            raise DataError(f"frame: expected a number above {self.last}, found {number}")
        (tracks,) = self._send([image], [number], {})
        self.last = number
        return tracks

    def stream(self, frames: Iterable[Frame]) -> Generator[tuple[Frame, Tracks]]:
        """Send frames, several of them under way at a time; each with its tracks, in order.

        Frames are read and packed in threads. Those that wait when a request begins go together, at
        most 4 of them; a camera's, which come one by one, go alone. The server tracks them in their
        order, whichever arrives first, so that the answers are those of `update`, one after
        another.

        Raises:
            RemoteError: As `update`; frames under way are given up.
        """

        def send(items: Sequence[tuple[int, Frame]]) -> list[Tracks]:
            pictures = [frame.image for _, frame in items]
            numbers = [frame.number for _, frame in items]
            return self._send(pictures, numbers, {"previous": items[0][0]})

        def joins(one: tuple[int, Frame], other: tuple[int, Frame]) -> bool:
            follows = other[1].number == one[1].number + self._stride
            return follows and other[1].image.shape == one[1].image.shape

        with one_opencv_thread(), contextlib.closing(self._chained(ahead(frames))) as chained:
            answers = in_flight(
                send, chained, self._in_flight, self._transport.abort,
                together=TOGETHER, joins=joins,
            )  # fmt: skip
            with contextlib.closing(answers):
                for (_, frame), tracks in answers:
                    self.last = frame.number
                    yield frame, tracks

    def _chained(self, frames: Generator[Frame]) -> Generator[tuple[int, Frame]]:
        """Each frame with the number of the one before."""
        last = self.last
        with contextlib.closing(frames):
            for frame in frames:
                if frame.number <= last:
                    raise DataError(f"frames: expected numbers above {last}, found {frame.number}")
                yield last, frame
                last = frame.number

    def _next(self) -> int:
        return self.last + self._stride if self.last else 1

    def _send(
        self,
        images: Sequence[NDArray[np.uint8] | bytes],
        numbers: Sequence[int],
        said: Mapping[str, object],
    ) -> list[Tracks]:
        """Send frames of one size, each by the stride after the one before."""
        if self.id is None:
            raise RemoteError("the session is not open; use it in a with block")
        said = dict(said)
        contents = [self._packed(image, said) for image in images]
        tracks: list[Tracks] = []
        for count in in_one(contents):
            done = len(tracks)
            said["frame"] = numbers[done]
            tracks += self._invoke(contents[done : done + count], numbers[done:][:count], said)
            if "previous" in said:
                said["previous"] = numbers[len(tracks) - 1]
        return tracks

    def _packed(
        self, image: NDArray[np.uint8] | bytes, said: dict[str, object]
    ) -> tuple[str, bytes]:
        """Content type and bytes of a picture; notes its size in `said` where it was scaled."""
        if self._fit is not None and not isinstance(image, bytes):
            sent = self._fit.scale(image)
            if sent.shape != image.shape:
                said["size"] = f"{image.shape[1]}x{image.shape[0]}"
            image = sent
        kind, body = (ANY_IMAGE, image) if isinstance(image, bytes) else self._encode(image)
        if not body:
            raise DataError("image: expected an image file, found 0 bytes")
        return kind, body

    def _invoke(
        self,
        contents: Sequence[tuple[str, bytes]],
        numbers: Sequence[int],
        said: Mapping[str, object],
    ) -> list[Tracks]:
        kind, body = contents[0] if len(contents) == 1 else joined(contents)
        headers = {SESSION: self.id or "", "Accept": CSV} | attributes(said)
        answer = self._transport.invoke(kind, body, headers, again=False)
        try:
            return read_tracks(answer.of_type(CSV), numbers)
        except RemoteError as error:
            raise RemoteError(f"frame {numbers[0]}: {error}") from None
