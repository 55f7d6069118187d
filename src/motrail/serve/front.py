"""What every request passes: its id, the token, errors as JSON, the log and the counters."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import time
import traceback
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from motrail.serve.problems import Problem, bad_request
from motrail.serve.security import check_token
from motrail.serve.sessions import HEADER as SESSION_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from motrail.serve.logs import Log
    from motrail.serve.metrics import Metrics

REQUEST_ID = "X-Request-Id"
OPEN_ROUTES = frozenset({"/ping"})
_PLAIN = re.compile(r"[\x21-\x7e]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "any"})
_CODES = {404: "not_found", 405: "method_not_allowed"}
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 64 << 20
_STOPPING = Problem(503, "stopping", "the server is being stopped", {"Retry-After": "10"})
_SHOWN = 8
"""So many characters of a session's id are logged: to tell them apart, not to use them."""


class Front:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, log: Log, metrics: Metrics, token: str | None) -> None:
        self._app = app
        self._log, self._metrics, self._token = log, metrics, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Request(self._app, self._log, self._metrics, self._token, scope).answer(
            receive, send
        )


class _Request:
    def __init__(
        self, app: ASGIApp, log: Log, metrics: Metrics, token: str | None, scope: Scope
    ) -> None:
        self._app, self._log, self._metrics, self._token = app, log, metrics, token
        self._scope = scope
        self._headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        given = self._headers.get("x-request-id", "")
        self._id = given if _PLAIN.fullmatch(given) else secrets.token_hex(16)
        self._start = time.perf_counter()
        self._status = 0
        self._bytes = 0
        self._body_read = False
        self._gone = False
        self._cut = False
        scope.setdefault("state", {})
        scope["state"]["request_id"] = self._id
        scope["state"]["note"] = {}

    async def answer(self, receive: Receive, send: Send) -> None:
        """Pass the request on, and see that something comes back."""

        async def heard() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._gone = True
            elif not message.get("more_body", False):
                self._body_read = True
            return message

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = self._begin(message)
            elif message["type"] == "http.response.body":
                self._bytes += len(message.get("body", b""))
                if self._cut and not message.get("more_body", False):
                    await send({**message, "more_body": True})
                    await self._linger(heard)
                    message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        error: str | None = None
        try:
            error = await self._pass_on(heard, say)
        except asyncio.CancelledError:  # the server stops and could not wait any longer
            if self._status:
                raise
            await self._refuse(_STOPPING, heard, say)
        except BaseException:
            error = traceback.format_exc()
            raise
        finally:
            self._note(error)

    async def _pass_on(self, receive: Receive, send: Send) -> str | None:
        """The trace of what went wrong here, if something did."""
        try:
            if {"transfer-encoding", "content-length"} <= self._headers.keys():
                # A proxy in front might believe the other one, and see another end of the body.
                raise bad_request("body: expected a length or chunks, found both")
            if self._token is not None and self._scope["path"] not in OPEN_ROUTES:
                check_token(self._headers.get("authorization"), self._token)
            await self._app(self._scope, receive, send)
        except ClientDisconnect:
            self._gone = True
        except Exception as failure:
            if self._status:
                raise
            await self._refuse(as_problem(failure), receive, send)
            return None if isinstance(failure, Problem) else traceback.format_exc()
        return None

    async def _refuse(self, problem: Problem, receive: Receive, send: Send) -> None:
        content = problem.as_dict(self._id)
        answer = JSONResponse(content, problem.status, headers=problem.headers)
        await answer(self._scope, receive, send)

    def _begin(self, message: Message) -> Message:
        self._status = int(message["status"])
        headers = [*message["headers"], (b"x-request-id", self._id.encode())]
        if self._status >= 400 and not self._body_read and self._has_body():
            # What is left of the body is not read, so no other request can follow it.
            self._cut = True
            headers = [item for item in headers if item[0].lower() != b"connection"]
            headers.append((b"connection", b"close"))
        return {**message, "headers": headers}

    async def _linger(self, receive: Receive) -> None:
        """Read a little more: a client that is still sending would miss the answer otherwise."""
        left = _LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while left > 0 and not self._body_read and not self._gone:
                    left -= len((await receive()).get("body", b""))

    def _has_body(self) -> bool:
        length = self._headers.get("content-length", "0")
        return "transfer-encoding" in self._headers or length.strip("0") != ""

    def _note(self, error: str | None) -> None:
        seconds = time.perf_counter() - self._start
        # Paths that lead nowhere would each become a counter of their own.
        route = getattr(self._scope.get("route"), "path", "other")
        status = str(self._status or ("gone" if self._gone else 500))
        method = self._scope["method"] if route != "other" else "any"
        method = method if method in _METHODS else "other"
        self._metrics.requests.labels(route, method, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        note: dict[str, Any] = self._scope["state"]["note"]
        error = error or note.get("error")
        session = self._headers.get(SESSION_HEADER.lower())
        self._log.write(
            "request",
            level="error" if error else "info",
            request_id=self._id,
            method=self._scope["method"],
            path=self._scope["path"][:200],
            status=self._status or None,
            seconds=round(seconds, 4),
            bytes=self._bytes,
            frames=note.get("frames"),
            session=note.get("session", session[:_SHOWN] if session else None),
            gone=(self._gone and not self._status) or None,
            error=error,
        )


def as_problem(failure: Exception) -> Problem:
    """An error as an answer; what is not the client's is not shown to it."""
    if isinstance(failure, Problem):
        return failure
    if isinstance(failure, HTTPException):
        code = _CODES.get(failure.status_code, "bad_request")
        message = {
            404: "there is nothing at this address",
            405: "method: expected another one for this address",
        }.get(failure.status_code, str(failure.detail))
        return Problem(failure.status_code, code, message, failure.headers)
    return Problem(500, "internal", "the server has a fault; it was logged under this request_id")


def problem_body(problem: Problem, request_id: str) -> str:
    """A line of JSON for answers that have begun already."""
    return json.dumps(problem.as_dict(request_id), ensure_ascii=False)
