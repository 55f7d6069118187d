"""What the routes share: the network, the sessions, memory, and a folder for what is too large."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from motrail.config import SECTIONS, Layer, Settings
from motrail.errors import ConfigError
from motrail.serve.attributes import HEADER, Attributes, settings_with
from motrail.serve.attributes import SECTIONS as FOR_REQUESTS
from motrail.serve.bodies import Memory
from motrail.serve.engine import Engine
from motrail.serve.problems import Problem, bad_request
from motrail.serve.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from motrail.serve.engine import Network
    from motrail.serve.logs import Log
    from motrail.serve.metrics import Metrics

T = TypeVar("T")

MIB = 1 << 20
_BODIES = 256 * MIB
"""Bodies with frames may take so much memory together, or eight of the largest."""


@dataclass(frozen=True)
class ModelInfo:
    """What is said about the model.

    Attributes:
        name: Such as `yolox-s`; never a path.
        version: Changes when the network does.
        width: Of the network's input, in pixels.
        height: Of the network's input, in pixels.
    """

    name: str
    version: str
    width: int
    height: int


class Service:
    """Everything that lives as long as the server."""

    def __init__(
        self, detector: Network, settings: Settings, model: ModelInfo, log: Log, metrics: Metrics
    ) -> None:
        self.detector, self.settings, self.model = detector, settings, model
        self.log, self.metrics = log, metrics
        self.engine = Engine(detector, queue=settings.serve.queue, name=model.name)
        self.sessions = Sessions(
            limit=settings.serve.sessions, seconds=settings.serve.session_seconds
        )
        self.videos = asyncio.Semaphore(settings.serve.videos)
        self.uploads = 0
        self.memory = Memory(max(_BODIES, round(8 * settings.serve.max_frame_mb * MIB)))
        self.video_threads = ThreadPoolExecutor(
            settings.serve.videos, thread_name_prefix="motrail-video"
        )
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="motrail-serve")
        self._folder: Path | None = None
        metrics.sessions.set_function(lambda: len(self.sessions))
        metrics.queue.set_function(lambda: self.engine.waiting)

    @property
    def folder(self) -> Path:
        """For files that live as long as a request."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="motrail-serve-"))
        return self._folder

    def settings_of(self, attributes: Attributes) -> Settings:
        """The settings of a request.

        Raises:
            Problem: 400.
        """
        if not attributes.settings:
            return self.settings
        values = {
            section: {
                item.name: getattr(getattr(self.settings, section), item.name)
                for item in dataclasses.fields(SECTIONS[section])
            }
            for section in FOR_REQUESTS
        }
        try:
            return settings_with(attributes, [Layer("server", values)]).settings
        except ConfigError as error:
            raise bad_request(f"{HEADER}: {error}", "bad_setting") from None

    def describe(self) -> dict[str, Any]:
        """What the server runs, as it is told to clients."""
        tracker = dataclasses.asdict(self.settings.tracker)
        return {
            "name": self.model.name,
            "version": self.model.version,
            "classes": list(self.detector.class_names),
            "input": {"width": self.model.width, "height": self.model.height},
            "device": self.detector.device,
            "tracker": {key: value for key, value in tracker.items() if value is not None},
        }

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do something short that would hold up the others."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def stop(self) -> None:
        """End the threads and remove the folder."""
        self.engine.stop()
        self.video_threads.shutdown(wait=True, cancel_futures=True)
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for work, and give it up when the client hangs up; the body must have been read.

    Raises:
        Problem: 499, which nobody hears; the client has gone.
    """
    doing: asyncio.Future[T] = asyncio.ensure_future(work)
    watching: asyncio.Future[None] = asyncio.ensure_future(_gone(request))
    both: set[asyncio.Future[Any]] = {doing, watching}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Problem(499, "gone", "the client hung up")
        return await doing
    finally:
        for task in both:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def noted(request: Request) -> dict[str, Any]:
    """What the log is to say about a request."""
    note: dict[str, Any] = request.state.note
    return note
