"""The labelling page's server as a Starlette application."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from motrail.errors import ConfigError, DataError, MotrailError, OutputError, VideoError
from motrail.label.clips import DroppedError
from motrail.label.patches import EditRequest, decode
from motrail.label.problems import Problem, bad_request, not_found
from motrail.label.requests import (
    ClassesRequest,
    LockRequest,
    MoveRequest,
    SaveRequest,
    TabRequest,
    WorkRequest,
)
from motrail.label.security import Door, Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from motrail.label.desk import Desk

MAX_BODY = 64 << 20
_NAME = re.compile(r"(?:[A-Za-z0-9_-]+/)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".css": "text/css"}
_MAX_WIDTH = 16_384
_GONE = 499
"""The status of an answer that nobody reads."""


def make_app(desk: Desk, door: Door) -> Starlette:
    """The server.

    Args:
        desk: What is worked on; closed at the end of the lifespan.
        door: Who may come in.
    """
    sequence = "/api/sequences/{index:int}"
    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/static/{name:path}", _static),
            Route("/api/project", _project),
            Route("/api/classes", _classes, methods=["POST"]),
            Route("/api/save", _save, methods=["POST"]),
            Route("/api/work/{number:int}", _work, methods=["GET", "DELETE"]),
            Route(sequence, _sequence),
            Route(f"{sequence}/frames/{{frame:int}}", _frame),
            Route(f"{sequence}/strip", _strip),
            Route(f"{sequence}/lock", _lock, methods=["POST", "DELETE"]),
            Route(f"{sequence}/edits", _edits, methods=["POST"]),
            Route(f"{sequence}/undo", _undo, methods=["POST"]),
            Route(f"{sequence}/redo", _redo, methods=["POST"]),
            Route(f"{sequence}/work", _start, methods=["POST"]),
            Route(f"{sequence}/suggestions", _suggestions),
            Route(f"{sequence}/errors", _errors),
        ],
        exception_handlers={MotrailError: _explain, HTTPException: _explain, Exception: _explain},
        middleware=[Middleware(Guard, door=door)],
        lifespan=lambda _app: _lifespan(desk),
    )
    app.router.redirect_slashes = False
    app.state.desk = desk
    return app


@contextlib.asynccontextmanager
async def _lifespan(desk: Desk) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await asyncio.to_thread(desk.close)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _explain(_request: Request, failure: Exception) -> Response:
    problem = as_problem(failure)
    return JSONResponse(problem.as_dict(), problem.status)


def as_problem(failure: Exception) -> Problem:  # noqa: PLR0911 (a table)
    """An error as an answer."""
    match failure:
        case Problem():
            return failure
        case HTTPException(status_code=404):
            return not_found()
        case HTTPException():
            return Problem(failure.status_code, "bad_request", str(failure.detail))
        case DroppedError():
            return Problem(_GONE, "dropped", str(failure))
        case VideoError():
            return Problem(422, "no_picture", str(failure))
        case OutputError():
            return Problem(507, "not_stored", str(failure))
        case ConfigError() | DataError():
            return bad_request(str(failure))
        case MotrailError():
            return Problem(500, "failed", str(failure))
        case _:
            return Problem(500, "internal", f"the server has a fault: {type(failure).__name__}")


async def _body(request: Request) -> bytes:
    """The body, never more than is allowed.

    Raises:
        Problem: 413; 415 where it is not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "not_json", "content-type: expected application/json")
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > MAX_BODY:
            raise Problem(413, "too_large", f"body: expected at most {MAX_BODY:,} bytes")
        parts.append(part)
    return b"".join(parts)


def _number(request: Request, name: str, low: int, high: int) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and low <= int(text) <= high):
        raise bad_request(f"{name}: expected a number from {low} to {high}, found {text[:20]!r}")
    return int(text)


# The page


async def _page(request: Request) -> Response:
    return await _file("index.html", request)


async def _static(request: Request) -> Response:
    return await _file(request.path_params["name"], request)


async def _file(name: str, _request: Request) -> Response:
    if not _NAME.fullmatch(name):
        raise not_found()
    file = resources.files("motrail.label").joinpath("static", *name.split("/"))
    if not file.is_file():
        raise not_found()
    data = await run_in_threadpool(file.read_bytes)
    suffix = f".{name.rpartition('.')[2]}"
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(data, media_type=kind, headers={"cache-control": "no-cache"})


# The project


async def _project(request: Request) -> Response:
    return JSONResponse(await run_in_threadpool(_desk(request).project))


async def _classes(request: Request) -> Response:
    wanted = decode(await _body(request), ClassesRequest)
    return JSONResponse(await run_in_threadpool(_desk(request).set_classes, wanted))


async def _save(request: Request) -> Response:
    asked = decode(await _body(request), SaveRequest)
    work = await run_in_threadpool(_desk(request).save, asked.tab)
    return JSONResponse({"work": work.id}, 202)


async def _work(request: Request) -> Response:
    works, number = _desk(request).works, request.path_params["number"]
    work = works.stop(number) if request.method == "DELETE" else works.get(number)
    return JSONResponse(work.as_dict())


# A sequence


async def _sequence(request: Request) -> Response:
    data = await run_in_threadpool(_desk(request).sequence, request.path_params["index"])
    return Response(data, media_type="application/json")


async def _edits(request: Request) -> Response:
    body = await _body(request)
    index = request.path_params["index"]

    def edit() -> dict[str, Any]:
        return _desk(request).edit(index, decode(body, EditRequest))

    return JSONResponse(await run_in_threadpool(edit))


async def _undo(request: Request) -> Response:
    return await _move(request, back=True)


async def _redo(request: Request) -> Response:
    return await _move(request, back=False)


async def _move(request: Request, *, back: bool) -> Response:
    asked = decode(await _body(request), MoveRequest)
    index = request.path_params["index"]
    return JSONResponse(
        await run_in_threadpool(lambda: _desk(request).move(index, asked, back=back))
    )


async def _lock(request: Request) -> Response:
    body, desk = await _body(request), _desk(request)
    index = request.path_params["index"]
    if request.method == "DELETE":
        asked = decode(body, TabRequest)
        return JSONResponse(await run_in_threadpool(desk.release, index, asked.tab))
    wanted = decode(body, LockRequest)
    return JSONResponse(await run_in_threadpool(desk.take, index, wanted))


async def _start(request: Request) -> Response:
    asked = decode(await _body(request), WorkRequest)
    index = request.path_params["index"]
    work = await run_in_threadpool(_desk(request).start, index, asked)
    return JSONResponse({"work": work.id}, 202)


async def _suggestions(request: Request) -> Response:
    after = _number(request, "after", 0, 1 << 31) or 0
    index = request.path_params["index"]
    return JSONResponse(await run_in_threadpool(_desk(request).suggestions, index, after))


async def _errors(request: Request) -> Response:
    return JSONResponse(
        await run_in_threadpool(_desk(request).errors, request.path_params["index"])
    )


# Pictures


async def _frame(request: Request) -> Response:
    desk = _desk(request)
    info = desk.store.sequence(request.path_params["index"])
    frame = request.path_params["frame"]
    width = _number(request, "width", 1, _MAX_WIDTH)
    quality = request.query_params.get("quality", "high")
    if quality not in ("low", "high"):
        raise bad_request(f"quality: expected low or high, found {quality[:20]!r}")
    tag = f'"{desk.frames.version(info, frame)}-{frame}-{width or 0}-{quality}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    give = desk.frames.quick if quality == "low" else desk.frames.picture
    picture = await _while_wanted(
        request, lambda wanted: give(info, frame, width, still_wanted=wanted)
    )
    headers = {"x-motrail-frame": str(picture.frame)}
    if picture.frame == frame:
        headers |= {"etag": tag, "cache-control": "private, max-age=3600"}
    return Response(picture.data, media_type="image/jpeg", headers=headers)


async def _strip(request: Request) -> Response:
    desk = _desk(request)
    info = desk.store.sequence(request.path_params["index"])
    count = _number(request, "count", 1, 200) or 20
    height = _number(request, "height", 8, 200) or 40
    data = await run_in_threadpool(desk.frames.strip, info, count, height)
    return Response(data, media_type="image/jpeg")


async def _while_wanted(request: Request, job: Callable[[Callable[[], bool]], Any]) -> Any:
    """Do something in a thread, which is told when the client has gone."""
    gone = False
    doing = asyncio.ensure_future(
        asyncio.get_running_loop().run_in_executor(
            request.app.state.desk.threads, job, lambda: not gone
        )
    )
    while True:
        done, _ = await asyncio.wait({doing}, timeout=0.1)
        if done:
            return doing.result()
        gone = gone or await request.is_disconnected()
