"""Whole videos in one request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import Response, StreamingResponse

from motrail.errors import (
    ConfigError,
    DataError,
    MissingExtraError,
    OutputError,
    VideoError,
)
from motrail.moving import open_camera
from motrail.pipeline import detect, track
from motrail.serve import answers
from motrail.serve.attributes import HEADER
from motrail.serve.bodies import save_body
from motrail.serve.engine import VideoDetector
from motrail.serve.front import as_problem, problem_body
from motrail.serve.problems import Problem, bad_request, busy, too_large
from motrail.serve.service import MIB, noted, unless_gone
from motrail.track.kept import KeptTracks
from motrail.track.make import make_tracker
from motrail.tracking import Found, Summary, track_found
from motrail.video.read import open_source

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from motrail.config import Settings
    from motrail.serve.attributes import Attributes
    from motrail.serve.service import Service
    from motrail.video.source import Source

T = TypeVar("T")

_PATIENCE = 10.0  # seconds that a video waits for its turn
_CHUNK = 1 << 16
_LINES_AHEAD = 16
_STOP_CHECK = 0.5  # seconds until a thread that waits notices that nobody reads any more
_BODY_TIMES = 10
"""A video may take so many times as long to arrive as a frame."""


class GoneError(Exception):
    """Nobody waits for the result any more."""


async def answer_video(request: Request, service: Service, attributes: Attributes) -> Response:
    """Track the video in the body.

    Raises:
        Problem: It is none, too large, or the server is busy with others.
    """
    accept = answers.wanted(request.headers.get("accept"), answers.VIDEO_TYPES)
    for name in ("frame", "previous", "step", "frame_rate"):
        if getattr(attributes, name) is not None:
            raise bad_request(f"{HEADER}: {name}: is for frames; a video has its own")
    if attributes.close:
        raise bad_request(f"{HEADER}: close: expected a session")
    settings = await service.in_thread(partial(service.settings_of, attributes))
    async with contextlib.AsyncExitStack() as stack:
        folder = await _receive(request, service, stack)
        await _wait_for_turn(request, service, stack)
        run = VideoRun(service, settings, folder)
        if accept == answers.LINES:
            response = await _lines(request, run, stack)
        else:
            response = await _whole(request, run, accept)
        return Owning(response, stack.pop_all())


async def _receive(request: Request, service: Service, stack: contextlib.AsyncExitStack) -> Path:
    """The folder with the body in a file `video`, removed at the end of the stack."""
    limits = service.settings.serve
    if service.uploads >= 4 * limits.videos + 4:
        raise busy(10)
    service.uploads += 1
    stack.callback(lambda: setattr(service, "uploads", service.uploads - 1))
    folder = service.folder / secrets.token_hex(8)
    folder.mkdir()
    stack.push_async_callback(_remove, service, folder)
    length = await save_body(
        request,
        folder / "video",
        limit=round(limits.max_video_mb * MIB),
        seconds=_BODY_TIMES * limits.body_seconds,
    )
    if not length:
        raise bad_request("body: expected a video, found nothing", "bad_video")
    return folder


async def _remove(service: Service, folder: Path) -> None:
    # When the server stops, its threads may have ended; it removes all folders then.
    with contextlib.suppress(RuntimeError):
        await service.in_thread(partial(shutil.rmtree, folder, ignore_errors=True))


async def _wait_for_turn(
    request: Request, service: Service, stack: contextlib.AsyncExitStack
) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await unless_gone(request, service.videos.acquire())
    except TimeoutError:
        raise busy(30) from None
    stack.callback(service.videos.release)
    service.metrics.videos.inc()
    stack.callback(service.metrics.videos.dec)


class Owning(Response):
    """A response that cleans up behind itself, whether it was sent or not."""

    def __init__(self, response: Response, stack: contextlib.AsyncExitStack) -> None:
        self._response, self._stack = response, stack
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._stack:
            await self._response(scope, receive, send)


class VideoRun:
    """Tracking of one video, in a thread that ends soon after nobody wants it any more."""

    def __init__(self, service: Service, settings: Settings, folder: Path) -> None:
        self.service, self.settings, self.folder = service, settings, folder
        self._gone = threading.Event()
        self._deadline = time.monotonic() + service.settings.serve.video_seconds

    def check(self, _summary: object = None) -> None:
        """Called after every frame.

        Raises:
            GoneError: Nobody wants it any more.
            Problem: 413; it takes too long.
        """
        if self._gone.is_set():
            raise GoneError
        if time.monotonic() > self._deadline:
            seconds = self.service.settings.serve.video_seconds
            raise Problem(
                413, "too_long", f"video: expected one that takes at most {seconds:g} s of work"
            )

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work in a thread; cancelled, it waits until the thread has ended."""
        loop = asyncio.get_running_loop()
        threads = self.service.video_threads
        doing = loop.run_in_executor(threads, partial(self._guarded, work))
        try:
            return await asyncio.shield(doing)
        finally:
            self._gone.set()
            await asyncio.wait({doing})
            if not doing.cancelled():
                doing.exception()  # heard, so that nobody complains that it was not

    def open(self) -> Source:
        """The video.

        Raises:
            VideoError: It is none.
            Problem: 413; its pictures are too large.
        """
        wanted = self.settings.video
        source = open_source(
            self.folder / "video", start=wanted.start, end=wanted.end, stride=wanted.stride
        )
        limit = self.service.settings.serve.max_pixels
        if source.width * source.height > limit:
            raise too_large("frames of the video", f"{limit:,} pixels")
        return source

    def whole(self, *, video: bool) -> Summary:
        """Track it into files in a folder `out`."""
        source = self.open()
        detector = VideoDetector(self.service.engine)
        found = Found(source, detect(source, detector), detector.class_names, detector.device)
        out = self.folder / "out"
        return track_found(found, self.settings, out, video=video, progress=self.check)

    def frames(self) -> Iterator[dict[str, Any]]:
        """The answer to each frame, as soon as it is there."""
        names = self.service.detector.class_names
        with self.open() as source:
            size = (source.width, source.height)
            tracker = make_tracker(self.settings.tracker, source.frame_rate, size)
            refine = self.settings.refine
            kept = KeptTracks(refine, tracker) if refine.active else None
            detector = VideoDetector(self.service.engine)
            camera = open_camera(self.settings.tracker, source.name)
            with contextlib.closing(track(source, detector, tracker, camera)) as results:
                for frame, detections, tracks in results:
                    self.check()
                    if kept is None:
                        yield answers.tracks_answer(frame.number, size, tracks, names)
                    else:
                        kept.keep(frame.number, tracks, detections)
            if kept is not None:
                kept.refine(step=self.settings.video.stride, frame_rate=source.frame_rate)
                for number, tracks in kept.by_frame():
                    yield answers.tracks_answer(number, size, tracks, names)
            if source.truncated is not None:
                yield {"truncated": source.truncated}

    async def stream(self) -> AsyncGenerator[dict[str, Any]]:
        """The same as `frames`, without holding up others."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue(_LINES_AHEAD)

        def put(item: dict[str, Any] | Exception | None) -> None:
            putting = asyncio.run_coroutine_threadsafe(ready.put(item), loop)
            while True:
                try:
                    putting.result(_STOP_CHECK)
                except TimeoutError:
                    self.check()
                else:
                    return

        def work() -> None:
            try:
                for item in self.frames():
                    put(item)
            except GoneError:
                pass
            except Exception as error:  # noqa: BLE001  (it is raised where the frames are used)
                put(self._explained(error))
            else:
                put(None)

        running = asyncio.ensure_future(self.run(work))
        try:
            while (item := await ready.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            running.cancel()
            await asyncio.wait({running})

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        """The error as the client may see it: without the names of files of this machine."""
        message = str(error).replace(f"{self.folder}/", "")
        match error:
            case VideoError():
                return bad_request(message, "bad_video")
            case ConfigError() | DataError():
                return bad_request(message, "bad_setting")
            case MissingExtraError():
                return Problem(406, "not_acceptable", f"{answers.MP4}: this server cannot draw")
            case OutputError():
                return Problem(507, "no_space", message)
        return error


async def _whole(request: Request, run: VideoRun, accept: str) -> Response:
    work = partial(run.whole, video=accept == answers.MP4)
    summary = await unless_gone(request, run.run(work))
    noted(request)["frames"] = summary.frames
    run.service.metrics.frames.inc(summary.frames)
    out = run.folder / "out"
    if accept == answers.MP4:
        return _file(run.service, out / "video.mp4", accept)
    if accept == answers.CSV:
        return _file(run.service, out / "video.txt", accept)
    content = {
        "name": "video",
        "width": summary.width,
        "height": summary.height,
        "frame_rate": summary.frame_rate,
        "frames": summary.frames,
        "tracks": summary.tracks,
        "truncated": summary.truncated,
        "classes": list(run.service.detector.class_names),
    }
    return StreamingResponse(
        _rows(run.service, content, out / "video.txt"), media_type=answers.JSON
    )


def _file(service: Service, path: Path, media_type: str) -> Response:
    length = {"Content-Length": str(path.stat().st_size)}
    return StreamingResponse(_chunks(service, path), media_type=media_type, headers=length)


async def _chunks(service: Service, path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await service.in_thread(partial(file.read, _CHUNK)):
            yield chunk


async def _rows(service: Service, content: dict[str, Any], path: Path) -> AsyncIterator[str]:
    """JSON with the rows of a track file, without all of them in memory at once."""
    yield json.dumps(content, ensure_ascii=False)[:-1] + ', "rows": ['
    first = True
    with path.open(encoding="ascii") as file:
        while lines := await service.in_thread(partial(file.readlines, _CHUNK)):
            rows = ", ".join(f"[{line.rstrip()}]" for line in lines)
            yield rows if first else f", {rows}"
            first = False
    yield "]}"


async def _lines(request: Request, run: VideoRun, stack: contextlib.AsyncExitStack) -> Response:
    """Frame after frame; an error before the first is still an answer of its own."""
    stream = run.stream()
    stack.push_async_callback(stream.aclose)
    first = await unless_gone(request, anext(stream, None))

    async def lines() -> AsyncIterator[str]:
        count = 0
        try:
            if first is not None:
                count += 1
                yield answers.as_lines([first])
            async for item in stream:
                count += 1
                yield answers.as_lines([item])
        except Exception as error:
            request_id = request.state.request_id
            yield f"{problem_body(as_problem(error), request_id)}\n"
            raise  # which cuts the connection, so that nobody takes this for the end
        finally:
            noted(request)["frames"] = count
            run.service.metrics.frames.inc(count)

    return StreamingResponse(lines(), media_type=answers.LINES)
