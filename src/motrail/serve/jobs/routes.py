"""The routes of jobs."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from motrail.serve.attributes import HEADER
from motrail.serve.bodies import read_body, save_body
from motrail.serve.jobs import orders, results
from motrail.serve.jobs.addresses import is_url
from motrail.serve.jobs.files import is_id, settle
from motrail.serve.jobs.records import Order
from motrail.serve.problems import Problem, bad_request, busy, unsupported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from motrail.serve.jobs.records import Job
    from motrail.serve.jobs.service import Jobs

    Handler = Callable[[Request], Awaitable[Response]]

_FULL_SECONDS = 30
_SHOWN = 100
_MAX_SHOWN = 1000
_BODY_TIMES = 10
"""A video may take so many times as long to arrive as a frame."""
_MIB = 1 << 20
_JSON = "application/json"
_OCTETS = "application/octet-stream"


class JobRoutes:
    """Handlers of requests about jobs.

    Args:
        jobs: What they are about.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def routes(self) -> list[Route]:
        """All routes."""
        one = "/jobs/{id}"
        return [
            Route("/jobs", _guarded(self.submit), methods=["POST"]),
            Route("/jobs", _guarded(self.list), methods=["GET"]),
            Route(one, _guarded(self.show), methods=["GET"]),
            Route(one, _guarded(self.delete), methods=["DELETE"]),
            Route(f"{one}/result", _guarded(self.result), methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        """`POST /jobs`."""
        key = orders.read_key(request.headers.get(orders.KEY))
        await asyncio.to_thread(self._check_room, key)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == _JSON:
            return await self._submit_reference(request, key)
        if kind == _OCTETS or kind.startswith("video/"):
            return await self._submit_upload(request, key)
        raise unsupported(kind, f"video/*, {_OCTETS} or {_JSON}")

    def _check_room(self, key: str | None) -> None:
        """Refuse before a gigabyte arrives for nothing."""
        store, limit = self._jobs.store, self._jobs.limit
        if store.counts()["queued"] >= limit and (key is None or store.with_key(key) is None):
            raise busy(_FULL_SECONDS)

    async def _submit_reference(self, request: Request, key: str | None) -> Response:
        seconds = self._jobs.settings.body_seconds
        body = await read_body(request, limit=orders.MAX_JSON, seconds=seconds)
        order = await asyncio.to_thread(self._referred, body, key)
        await asyncio.to_thread(self._jobs.files.make, order.id)
        return await self._add(order)

    def _referred(self, body: bytes, key: str | None) -> Order:
        asked = orders.read_reference(body)
        settings = orders.asked_settings(self._jobs.operators, asked.settings)
        self._check_webhook(asked.webhook)
        if is_url(asked.source):
            self._jobs.sources.url(asked.source)
            name = PurePosixPath(unquote(urlsplit(asked.source).path)).stem
        else:
            self._jobs.sources.file(asked.source)
            name = PurePosixPath(asked.source).stem
        return Order(
            id=secrets.token_hex(16),
            name=orders.read_name(asked.name, name),
            kind="url" if is_url(asked.source) else "path",
            source=asked.source,
            settings=settings,
            outputs=orders.wanted_outputs(asked.outputs),
            webhook=asked.webhook,
            key=key,
            fingerprint=orders.fingerprint(asked.model_dump(mode="json")) if key else "",
        )

    async def _submit_upload(self, request: Request, key: str | None) -> Response:
        header = request.headers.get(HEADER)
        settings = await asyncio.to_thread(orders.header_settings, self._jobs.operators, header)
        outputs = orders.read_outputs(request.headers.get(orders.OUTPUTS))
        webhook = request.headers.get(orders.WEBHOOK)
        self._check_webhook(webhook)
        name = orders.read_name(request.query_params.get("name"), "video")
        id_ = secrets.token_hex(16)
        files, limits = self._jobs.files, self._jobs.settings
        await asyncio.to_thread(files.make, id_)
        kept = False
        try:
            length = await save_body(
                request,
                files.source(id_),
                limit=round(limits.max_video_mb * _MIB),
                seconds=limits.body_seconds * _BODY_TIMES,
            )
            if not length:
                raise bad_request("body: expected a video, found nothing")
            content = [header, list(outputs), webhook, name]
            await asyncio.to_thread(settle, files.folder(id_))
            mark = ""
            if key is not None:
                mark = await asyncio.to_thread(
                    orders.fingerprint, {"upload": content}, files.source(id_)
                )
            order = Order(
                id_, name, "upload", "", settings, outputs, webhook, key, mark
            )  # fmt: skip
            kept = True  # from here on `_add` looks after it
            return await self._add(order)
        finally:
            if not kept:
                # Not in another thread: the request may be cancelled, and has no time.
                files.remove(id_)

    def _check_webhook(self, address: str | None) -> None:
        if address is not None:
            self._jobs.webhooks.url(address)

    async def _add(self, order: Order) -> Response:
        added, job = await asyncio.to_thread(self._jobs.add, order)
        if added == "full":
            raise busy(_FULL_SECONDS)
        if added == "other" or job is None:
            raise Problem(
                409,
                "key_in_use",
                f"{orders.KEY}: came before with another request; choose another one",
            )
        place = {"Location": job.links["self"]}
        return JSONResponse(_short(job), 202 if added == "new" else 200, headers=place)

    async def list(self, request: Request) -> Response:
        """`GET /jobs`."""
        text = request.query_params.get("limit", str(_SHOWN))
        good = text.isascii() and text.isdecimal() and len(text) <= len(str(_MAX_SHOWN))
        if not good or not 1 <= int(text) <= _MAX_SHOWN:
            raise bad_request(f"limit: expected a whole number from 1 to {_MAX_SHOWN}")
        jobs = await asyncio.to_thread(self._jobs.store.newest, int(text))
        return JSONResponse({"jobs": [job.as_dict() for job in jobs]})

    async def show(self, request: Request) -> Response:
        """`GET /jobs/{id}`."""
        return JSONResponse((await self._find(request)).as_dict())

    async def result(self, request: Request) -> Response:
        """`GET /jobs/{id}/result`."""
        job = await self._find(request)
        folder = self._jobs.files.result(job.order.id)
        accept = request.headers.get("accept")
        return await asyncio.to_thread(results.answer, job, folder, accept)

    async def delete(self, request: Request) -> Response:
        """`DELETE /jobs/{id}`."""
        job = await self._find(request)
        await asyncio.to_thread(self._jobs.remove, job.order.id)
        return Response(status_code=204)

    async def _find(self, request: Request) -> Job:
        id_ = request.path_params["id"]
        job = await asyncio.to_thread(self._jobs.store.get, id_) if is_id(id_) else None
        if job is None:
            raise Problem(404, "unknown_job", "there is no such job")
        return job


def _short(job: Job) -> dict[str, object]:
    return {"id": job.order.id, "state": job.state, "links": job.links}


def _guarded(handler: Handler) -> Handler:
    """The handler; a full disk is no fault of the server."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except (sqlite3.OperationalError, OSError) as error:
            raise Problem(
                507, "no_space", "the server cannot keep this now; try again later"
            ) from error

    return guarded
