"""`POST /invocations`: frames alone or of a session, and videos."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import JSONResponse, Response

from motrail.errors import ConfigError
from motrail.moving import FramesCamera, needs_pictures
from motrail.serve import answers, frames
from motrail.serve.attributes import HEADER, parse_attributes
from motrail.serve.bodies import read_body
from motrail.serve.problems import bad_request
from motrail.serve.service import MIB, noted, unless_gone
from motrail.serve.sessions import CLOSED_HEADER, NEW, NEW_HEADER, Look
from motrail.serve.sessions import HEADER as SESSION_HEADER
from motrail.serve.videos import answer_video
from motrail.track.make import make_tracker
from motrail.video.flow import shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from motrail.pipeline import Tracker
    from motrail.serve.attributes import Attributes
    from motrail.serve.frames import Encoded
    from motrail.serve.service import Service
    from motrail.serve.sessions import Session
    from motrail.types import Tracks

    Size = tuple[int, int]

_FOR_SESSIONS = frozenset({"start", "stride"})
"""What a session takes of the settings of videos."""


@dataclass(frozen=True)
class Asked:
    """A request with frames.

    Attributes:
        request: The request.
        service: What is there to answer it.
        attributes: What it asks for.
        accept: Media type of the answer.
        take: Told of the bytes that are kept for it.
    """

    request: Request
    service: Service
    attributes: Attributes
    accept: str
    take: Callable[[int], None]


@dataclass(frozen=True)
class Seen:
    """What was detected in the frames of a request.

    Attributes:
        frames: What is in each.
        several: Whether it could have been more than one.
    """

    frames: Sequence[Look] = ()
    several: bool = False


async def invoke(request: Request) -> Response:
    """Answer one request."""
    service: Service = request.app.state.service
    attributes = parse_attributes(request.headers.get(HEADER))
    session_id = request.headers.get(SESSION_HEADER)
    if attributes.describe:
        if session_id is not None:
            raise bad_request(f"{HEADER}: describe: expected no session ({SESSION_HEADER})")
        return await _describe(request, service)
    if session_id is None and frames.is_video(request.headers.get("content-type", "")):
        return await answer_video(request, service, attributes)
    accept = answers.wanted(request.headers.get("accept"), answers.FRAME_TYPES)
    with service.memory.lent() as take:
        asked = Asked(request, service, attributes, accept, take)
        if session_id is None:
            return await _alone(asked)
        if session_id == NEW:
            return await _new(asked)
        return await _next(asked, session_id)


async def _describe(request: Request, service: Service) -> Response:
    """What `GET /model` says, for who can only send invocations; the body does not matter."""
    answers.wanted(request.headers.get("accept"), (answers.JSON,))
    with service.memory.lent() as take:
        await _read(request, service, take)
    return JSONResponse(service.describe())


async def _alone(asked: Asked) -> Response:
    """Frames of which each is answered for itself."""
    service, attributes = asked.service, asked.attributes
    for name in ("previous", "step", "frame_rate", "close"):
        if getattr(attributes, name):
            raise bad_request(f"{HEADER}: {name}: expected a session ({SESSION_HEADER})")
    if attributes.settings:
        raise bad_request(f"{HEADER}: frames without a session have no settings", "bad_setting")
    service.engine.check()
    seen = await _detect(asked, await _body(asked))
    return await service.in_thread(
        partial(_detections_response, seen, attributes.frame, asked.accept, service)
    )


def _detections_response(seen: Seen, frame: int | None, accept: str, service: Service) -> Response:
    if accept == answers.CSV:
        text = answers.DetectionText()
        for number, look in enumerate(seen.frames, start=frame or 1):
            text.write(number, look.detections)
        return Response(text.text, media_type=answers.CSV)
    items = [
        answers.detections_answer(
            None if frame is None else frame + index,
            look.size,
            look.detections,
            service.detector.class_names,
        )
        for index, look in enumerate(seen.frames)
    ]
    if accept == answers.LINES:
        return Response(answers.as_lines(items), media_type=answers.LINES)
    return JSONResponse({"frames": items} if seen.several else items[0])


async def _new(asked: Asked) -> Response:
    """Open a session, perhaps with its first frames."""
    service = asked.service
    begin = await service.in_thread(partial(_session_settings, asked))
    service.sessions.check()
    body = await _body(asked)
    # Broken frames are refused before anything is opened.
    seen = await _detect(asked, body, keep=begin.camera is not None) if body else Seen()
    session = service.sessions.open(
        begin.tracker, first=begin.first, stride=begin.stride, camera=begin.camera
    )
    headers = {NEW_HEADER: f"{session.id}; Expires={service.sessions.expires()}"}
    noted(asked.request)["session"] = session.id[:8]
    try:
        with service.sessions.use(session.id):
            async with session.place(None) as place:
                results = await _tell(asked, session, place, seen)
    except BaseException:
        service.sessions.close(session)  # nobody got to know its id
        raise
    return await _tracks_response(asked, session, seen, results, headers)


class Begin(NamedTuple):
    """What a session begins with.

    Attributes:
        tracker: Its own.
        first: Number of its first frame.
        stride: From one frame to the next.
        camera: Finds the camera's motion in the frames, where that is asked for.
    """

    tracker: Tracker
    first: int
    stride: int
    camera: FramesCamera | None


def _session_settings(asked: Asked) -> Begin:
    """What a new session begins with.

    Raises:
        Problem: 400.
    """
    if asked.attributes.previous:
        raise bad_request(f"{HEADER}: previous: a new session has no frames yet; expected 0")
    for section, values in asked.attributes.settings.items():
        for name in values:
            if section == "refine" or (section == "video" and name not in _FOR_SESSIONS):
                raise bad_request(
                    f"{HEADER}: {section}.{name}: is not for sessions, in which nothing is known "
                    "of later frames",
                    "bad_setting",
                )
    settings = asked.service.settings_of(asked.attributes)
    try:
        tracker = make_tracker(settings.tracker, asked.attributes.frame_rate or 0.0)
    except ConfigError as error:
        raise bad_request(f"{HEADER}: {error}", "bad_setting") from None
    camera = FramesCamera() if needs_pictures(settings.tracker) else None
    return Begin(tracker, settings.video.start, settings.video.stride, camera)


async def _next(asked: Asked, session_id: str) -> Response:
    """More frames of a session, or its end."""
    attributes = asked.attributes
    if attributes.settings or attributes.frame_rate is not None:
        raise bad_request(
            f"{HEADER}: the settings of a session stand from its beginning; expected frame, step, "
            "previous or close",
            "bad_setting",
        )
    with asked.service.sessions.use(session_id) as session:
        body = await _body(asked)
        if not body and not attributes.close:
            raise bad_request("body: expected a frame, found nothing")
        async with session.place(attributes.previous) as place:
            keep = session.camera is not None
            seen = await _detect(asked, body, keep=keep) if body else Seen()
            results = await _tell(asked, session, place, seen)
    return await _tracks_response(asked, session, seen, results, {})


async def _body(asked: Asked) -> bytes:
    body = await _read(asked.request, asked.service, asked.take)
    kind = frames.media_type(asked.request.headers.get("content-type", ""))
    # Some ways here carry no empty bodies.
    return b"" if kind == answers.JSON and body.strip() == b"{}" else body


async def _read(request: Request, service: Service, take: Callable[[int], None]) -> bytes:
    settings = service.settings.serve
    return await read_body(
        request,
        limit=round(settings.max_frame_mb * MIB),
        seconds=settings.body_seconds,
        take=take,
    )


async def _detect(asked: Asked, body: bytes, *, keep: bool = False) -> Seen:
    """What is in the frames of a body; gives up where the client hangs up.

    Args:
        asked: The request.
        body: Of it.
        keep: Whether small pictures are kept, for the camera's motion.
    """
    service = asked.service
    content_type = asked.request.headers.get("content-type", "")
    limit = service.settings.serve.max_pixels
    encoded, several = await service.in_thread(
        partial(frames.read_frames, body, content_type, max_pixels=limit)
    )
    noted(asked.request)["frames"] = len(encoded)
    service.engine.check()
    looking = _look(service, encoded, asked.attributes.size, keep=keep)
    return Seen(await unless_gone(asked.request, looking), several)


async def _look(
    service: Service, encoded: Sequence[Encoded], size: Size | None, *, keep: bool
) -> list[Look]:
    """Decode and detect, a few frames ahead, so that others get their turn in between."""

    def look(frame: Encoded) -> Look:
        image = frame.decode()
        height, width = image.shape[:2]
        found = service.engine.detect(image, size)
        return Look(size or (width, height), found, shrink(image, size) if keep else None)

    ahead: deque[asyncio.Future[Look]] = deque()
    seen = []
    try:
        for frame in encoded:
            ahead.append(asyncio.wrap_future(service.engine.submit(partial(look, frame))))
            if len(ahead) > service.detector.workers:
                seen.append(await ahead.popleft())
        while ahead:
            seen.append(await ahead.popleft())
    finally:
        for waiting in ahead:
            waiting.cancel()
    service.metrics.frames.inc(len(seen))
    return seen


async def _tell(
    asked: Asked, session: Session, place: object, seen: Seen
) -> list[tuple[int, Tracks]]:
    """Tell the tracker, in turn, and close the session if asked to."""
    async with session.turn(place, asked.attributes.previous):
        results: list[tuple[int, Tracks]] = []
        if seen.frames:
            number = session.number(asked.attributes)
            results = await asked.service.in_thread(partial(session.track, number, seen.frames))
        if asked.attributes.close:
            asked.service.sessions.close(session)
    return results


async def _tracks_response(
    asked: Asked,
    session: Session,
    seen: Seen,
    results: Sequence[tuple[int, Tracks]],
    headers: dict[str, str],
) -> Response:
    if session.closed:
        headers[CLOSED_HEADER] = session.id
    names = asked.service.detector.class_names

    def write() -> Response:
        if asked.accept == answers.CSV:
            text = answers.TrackText()
            for number, tracks in results:
                text.write(number, tracks)
            return Response(text.text, media_type=answers.CSV, headers=headers)
        known = {"session": session.id}
        items = [
            known | answers.tracks_answer(number, size, tracks, names)
            for (number, tracks), (size, *_) in zip(results, seen.frames, strict=True)
        ]
        if asked.accept == answers.LINES:
            lines = answers.as_lines(items)
            return Response(lines, media_type=answers.LINES, headers=headers)
        if not seen.several:
            return JSONResponse(items[0] if items else known, headers=headers)
        plain = [{key: value for key, value in item.items() if key != "session"} for item in items]
        content: dict[str, Any] = known | {"frames": plain}
        return JSONResponse(content, headers=headers)

    return await asked.service.in_thread(write)
