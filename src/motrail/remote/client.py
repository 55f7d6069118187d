"""A server as an object: `Client(url)` with `detect`, `session`, `track` and `submit`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

import numpy as np

from motrail.errors import DataError
from motrail.pipeline import ahead, one_opencv_thread
from motrail.remote.flight import in_flight
from motrail.remote.job import Job, submit
from motrail.remote.messages import (
    ANY_IMAGE,
    CSV,
    attributes,
    by_section,
    encoder,
    in_one,
    joined,
    read_detections,
    read_json,
)
from motrail.remote.model import ModelInfo
from motrail.remote.problems import RemoteError
from motrail.remote.session import TOGETHER, Session
from motrail.remote.transport import HttpTransport
from motrail.remote.video_file import VIDEO_SECONDS, media_type, video_file

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.remote.fit import Fit
    from motrail.remote.line import Line
    from motrail.remote.messages import Encode, Encoding
    from motrail.remote.transport import Transport
    from motrail.types import Detections, Frame

    Picture = NDArray[np.uint8] | bytes
    Sections = Mapping[str, Mapping[str, object]]

_JSON = "application/json"
_IN_FLIGHT = 4


class Client:
    """Talks to a motrail server. Use it in a `with` block, or `close` it.

    Several threads may use one. Connections are kept and used again. What a busy server refuses
    (503) is sent again when it says so; after a broken connection, what may be done twice is.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8080`.
        token: The server's token, where it wants one; over a network that others listen to it
            needs https.
        timeout: Seconds without a sign of life after which a request is given up.
        patience: Seconds during which refused or failed requests are tried again.
        encoding: How pictures are sent: `jpeg`, or without any loss `png` (small and slow) or
            `raw` (large and fast).
        jpeg_quality: 1 to 100.

    Raises:
        RemoteError: The address is none.
        ConfigError: There is no such encoding.
        MissingExtraError: httpx or OpenCV is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 60.0,
        patience: float = 30.0,
        encoding: Encoding = "jpeg",
        jpeg_quality: int = 95,
    ) -> None:
        encode = encoder(encoding, jpeg_quality)
        self._begin(HttpTransport(url, token=token, timeout=timeout, patience=patience), encode)

    @classmethod
    def over(cls, line: Line, *, encoding: Encoding = "jpeg", jpeg_quality: int = 95) -> Self:
        """A client that reaches its model in another way than by HTTP.

        Only invocations go that way: there are frames, sessions and videos in one request, and no
        jobs.

        Args:
            line: The way, which is closed with the client.
            encoding: As for `Client`.
            jpeg_quality: 1 to 100.

        Raises:
            ConfigError: There is no such encoding.
            MissingExtraError: OpenCV is not installed.
        """
        client = cls.__new__(cls)
        client._begin(line, encoder(encoding, jpeg_quality))  # noqa: SLF001
        return client

    def _begin(self, line: Line, encode: Encode) -> None:
        self._encode = encode
        self._transport = line
        self._open = contextlib.ExitStack()
        self._open.callback(line.close)

    def _http(self, what: str) -> HttpTransport:
        if isinstance(self._transport, HttpTransport):
            return self._transport
        raise RemoteError(
            f"{self.url}: {what} needs a motrail server; only invocations get through here"
        )

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._transport.url

    def close(self) -> None:
        """Close all connections."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> None:
        """See that the server is there and well.

        Raises:
            RemoteError: It is not.
        """
        if isinstance(self._transport, HttpTransport):
            self._transport.request("GET", "/ping")
        else:
            self.model()

    def model(self) -> ModelInfo:
        """What the server detects with.

        Raises:
            RemoteError: It does not say.
        """
        if isinstance(self._transport, HttpTransport):
            answer = self._transport.request("GET", "/model")
        else:
            headers = {"Accept": _JSON} | attributes({"describe": True})
            answer = self._transport.invoke(_JSON, b"", headers, again=True)
        return ModelInfo.of(read_json(answer.body))

    @overload
    def detect(self, images: Picture) -> Detections: ...

    @overload
    def detect(self, images: Sequence[Picture]) -> list[Detections]: ...

    def detect(self, images: Picture | Sequence[Picture]) -> Detections | list[Detections]:
        """Find the objects in one picture or in several.

        Args:
            images: BGR, uint8, shape (height, width, 3), or the bytes of an image file; or a list
                of these, of which several are under way at a time.

        Returns:
            Boxes in pixels, best first, just as the server's detector gave them; of a list, a list.
            Class ids count through the `classes` of `model`.

        Raises:
            RemoteError: The server refused.
            DataError: A picture is none.
        """
        if isinstance(images, (bytes, np.ndarray)):
            return self._detect(self._transport, [images])[0]
        with contextlib.closing(self._transport.sibling()) as line:
            found = in_flight(
                lambda some: self._detect(line, some),
                images,
                _IN_FLIGHT,
                line.abort,
            )
            return [detections for _, detections in found]

    def detect_frames(
        self, frames: Iterable[Frame], *, in_flight: int = _IN_FLIGHT, fit: Fit | None = None
    ) -> Generator[tuple[Frame, Detections]]:
        """Each frame with what the server detects in it, in order.

        Args:
            frames: Read and packed in threads.
            in_flight: How many are under way at a time.
            fit: Scales them down before they are sent; None sends them as they are.

        Raises:
            RemoteError: The server refused; the message names the frame.
        """
        with (
            one_opencv_thread(),
            contextlib.closing(self._transport.sibling()) as line,
            contextlib.closing(ahead(frames)) as read,
            contextlib.closing(_detected(self, line, read, in_flight, fit)) as found,
        ):
            yield from found

    def _detect(self, line: Transport, images: Sequence[Picture]) -> list[Detections]:
        contents = [
            (ANY_IMAGE, image) if isinstance(image, bytes) else self._encode(image)
            for image in images
        ]
        if not all(body for _, body in contents):
            raise DataError("image: expected an image file, found 0 bytes")
        found: list[Detections] = []
        for count in in_one(contents):
            some = contents[len(found) : len(found) + count]
            kind, body = some[0] if count == 1 else joined(some)
            answer = line.invoke(kind, body, {"Accept": CSV}, again=True)
            found += read_detections(answer.of_type(CSV), range(1, count + 1))
        return found

    @contextlib.contextmanager
    def session(
        self,
        *,
        frame_rate: float | None = None,
        stride: int = 1,
        in_flight: int = _IN_FLIGHT,
        tracker: Mapping[str, object] | None = None,
        fit: Fit | None = None,
    ) -> Generator[Session]:
        """Tracks of one camera or video, made by the server; closed with the block.

        Args:
            frame_rate: Frames a second of the source.
            stride: Every how many frames of the source are sent.
            in_flight: How many frames `Session.stream` has under way.
            tracker: Settings such as `{"match_threshold": 0.9}`, see
                `motrail.config.TrackerSettings`; what is left out is the server's choice.
            fit: Scales pictures down before they are sent; None sends them as they are.

        Raises:
            RemoteError: The server has no room for a session, or refuses a setting.
        """
        settings = by_section({"tracker": tracker or {}})
        if frame_rate is not None:
            settings["frame_rate"] = float(frame_rate)
        if stride != 1:
            settings["video.stride"] = stride
        with (
            contextlib.closing(self._transport.sibling()) as line,
            Session(
                line, self._encode, settings, stride=stride, in_flight=in_flight, fit=fit
            ) as session,
        ):
            yield session

    def track(
        self, video: str | os.PathLike[str], accept: str = CSV, *, settings: Sections | None = None
    ) -> bytes:
        """Have a whole video tracked, and wait for it.

        Args:
            video: The file; it goes over in one request, which servers and endpoints limit.
            accept: `text/csv` for the track file, `application/json` or `application/jsonl`.
            settings: By section (`tracker`, `refine`, `video`) and name.

        Raises:
            RemoteError: The server refused, or the video is too large for it; see `submit`.
            VideoError: There is no such file.
        """
        path = video_file(video)
        headers = {"Content-Type": media_type(path), "Accept": accept}
        headers |= attributes(by_section(settings or {}))
        if not isinstance(self._transport, HttpTransport):
            kind = headers.pop("Content-Type")
            return self._transport.invoke(kind, path.read_bytes(), headers, again=False).body
        return self._transport.request(
            "POST", "/invocations", path, headers, again=False, seconds=VIDEO_SECONDS
        ).body

    def annotate(
        self,
        video: str | os.PathLike[str],
        output: str | os.PathLike[str],
        *,
        settings: Sections | None = None,
    ) -> None:
        """Have a whole video tracked and drawn, and write the result, which is an mp4.

        Raises:
            RemoteError: As `track`.
            OutputError: It cannot be written; nothing is left half-written.
        """
        from motrail.remote.saving import save

        http = self._http("a drawn video")
        path = video_file(video)
        headers = {"Content-Type": media_type(path), "Accept": "video/mp4"}
        headers |= attributes(by_section(settings or {}))
        save(
            Path(output),
            lambda take: http.download(
                "/invocations",
                take,
                method="POST",
                body=path,
                headers=headers,
                seconds=VIDEO_SECONDS,
            ),
        )

    @property
    def has_sessions(self) -> bool:
        """Whether the other side keeps sessions; a serverless endpoint does not."""
        return self._transport.sessions

    def has_jobs(self) -> bool:
        """Whether the server takes jobs.

        Raises:
            RemoteError: It cannot be reached.
        """
        if not isinstance(self._transport, HttpTransport):
            return False
        try:
            self._transport.request("GET", "/jobs?limit=1")
        except RemoteError as error:
            if error.status is None or error.status == 401:
                raise
            return False
        return True

    def submit(
        self,
        video: str | os.PathLike[str] | None = None,
        *,
        source: str | None = None,
        settings: Sections | None = None,
        outputs: Sequence[str] = ("csv",),
        webhook: str | None = None,
        name: str | None = None,
        key: str | None = None,
    ) -> Job:
        """Have a whole video tracked without waiting for it.

        Args:
            video: A file here, which is uploaded; or
            source: a file there, or an http(s) address, that the server's operator allows.
            settings: By section (`tracker`, `refine`, `video`) and name.
            outputs: `csv`, and `mp4` for the video drawn.
            webhook: Address that is told when it is over.
            name: What to call it there; that of the file if left out.
            key: The same key gives the same job, however often it is submitted; a new one if
                left out.

        Raises:
            RemoteError: The server refused, or takes no jobs.
            VideoError: There is no such file.
        """
        if (video is None) == (source is None):
            raise DataError("submit: expected either a video or a source")
        http = self._http("a job")
        what = str(source) if video is None else video_file(video)
        return submit(http, what, settings or {}, outputs, webhook, name, key)

    def job(self, id: str) -> Job:  # noqa: A002  (its name)
        """One that was submitted before."""
        return Job(self._http("a job"), id)


def _detected(
    client: Client, line: Transport, frames: Iterable[Frame], count: int, fit: Fit | None
) -> Generator[tuple[Frame, Detections]]:
    def look(some: Sequence[Frame]) -> list[Detections]:
        try:
            images = [frame.image for frame in some]
            if fit is None:
                return client._detect(line, images)  # noqa: SLF001
            sent = [fit.scale(image) for image in images]
            found = client._detect(line, sent)  # noqa: SLF001
            return [fit.undo(*each) for each in zip(found, images, sent, strict=True)]
        except RemoteError as error:
            raise error.about(f"frame {some[0].number}") from None

    return in_flight(look, frames, count, line.abort, together=TOGETHER)
