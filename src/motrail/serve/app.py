"""The server as a Starlette application."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from motrail.errors import ConfigError
from motrail.serve.front import Front, as_problem
from motrail.serve.invocations import invoke
from motrail.serve.job_schema import document_with_jobs
from motrail.serve.logs import Log
from motrail.serve.metrics import CONTENT_TYPE, Metrics
from motrail.serve.problems import Problem
from motrail.serve.schema import document
from motrail.serve.service import ModelInfo, Service, noted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request

    from motrail.config import Settings
    from motrail.serve.engine import Network

_SWEEP_SECONDS = 5.0


class JobRoutes(Protocol):
    """What jobs add to the server."""

    @property
    def routes(self) -> Sequence[Route]:
        """Their routes."""

    def start(self) -> None:
        """Begin to work on jobs."""

    def stop(self) -> None:
        """Stop; jobs under way are begun anew at the next start."""


def make_app(
    detector: Network,
    settings: Settings,
    model: ModelInfo,
    *,
    token: str | None = None,
    jobs: JobRoutes | None = None,
    log: Log | None = None,
    metrics: Metrics | None = None,
) -> Starlette:
    """The server; its threads start with the first request and end with its lifespan.

    Args:
        detector: What `motrail.detect.detector.open_detector` gave.
        settings: All settings; requests may change those of tracker, refining and video.
        model: What is said about the model.
        token: What requests have to carry; None for no such thing.
        jobs: What takes and works on jobs.
        log: Where requests are noted; nowhere if left out.
        metrics: The counters, if others add theirs.

    Raises:
        ConfigError: The settings name a file with the motion of a camera, of which a server has as
            many as it is sent videos.
    """
    if settings.tracker.camera_file is not None:
        raise ConfigError(
            "camera_file: is of one video, and a server is sent many; expected --camera-motion "
            "detections, frames or off"
        )
    log = log or Log(None)
    metrics = metrics or Metrics()
    service = Service(detector, settings, model, log, metrics)
    app = Starlette(
        routes=[
            Route("/ping", _ping),
            Route("/model", _model),
            Route("/metrics", _metrics),
            Route("/openapi.json", _openapi),
            Route("/invocations", invoke, methods=["POST"]),
            *(jobs.routes if jobs is not None else ()),
        ],
        exception_handlers={Problem: _explain, HTTPException: _explain},
        middleware=[Middleware(Front, log=log, metrics=metrics, token=token)],
        lifespan=lambda _app: _lifespan(service, jobs),
    )
    app.router.redirect_slashes = False
    app.state.service = service
    describe = document if jobs is None else document_with_jobs
    app.state.document = describe(token=token is not None)
    return app


@contextlib.asynccontextmanager
async def _lifespan(service: Service, jobs: JobRoutes | None) -> AsyncIterator[None]:
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the engine's threads use all cores; see `motrail.pipeline`
    sweeping = asyncio.create_task(_sweep(service))
    try:
        if jobs is not None:
            await asyncio.to_thread(jobs.start)
        yield
    finally:
        sweeping.cancel()
        if jobs is not None:
            await asyncio.to_thread(jobs.stop)
        await asyncio.to_thread(service.stop)
        cv2.setNumThreads(before)


async def _sweep(service: Service) -> None:
    while True:
        await asyncio.sleep(min(_SWEEP_SECONDS, service.settings.serve.session_seconds))
        closed = service.sessions.sweep()
        if closed:
            service.log.write("sessions_timed_out", count=closed)


async def _ping(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _model(request: Request) -> Response:
    service: Service = request.app.state.service
    return JSONResponse(service.describe())


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    text = await service.in_thread(service.metrics.text)
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


async def _openapi(request: Request) -> Response:
    return JSONResponse(request.app.state.document)


async def _explain(request: Request, failure: Exception) -> Response:
    problem = as_problem(failure)
    if problem.status == 500:
        noted(request)["error"] = "".join(traceback.format_exception(failure))
    content = problem.as_dict(request.state.request_id)
    return JSONResponse(content, problem.status, headers=problem.headers)
