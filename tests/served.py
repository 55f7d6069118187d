"""A server on a socket, in a thread of the tests, and networks to put behind it."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import httpx
import numpy as np

from models import SIDE, spots_picture
from motrail.config import ServeSettings, Settings
from motrail.serve.app import make_app
from motrail.serve.logs import Log
from motrail.serve.run import Guarded, Server, address_of, open_socket
from motrail.serve.service import ModelInfo
from motrail.types import Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from motrail.serve.app import JobRoutes
    from motrail.serve.engine import Network
    from motrail.serve.service import Service

SESSION = "X-Amzn-SageMaker-Session-Id"
NEW_SESSION = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_SESSION = "X-Amzn-SageMaker-Closed-Session-Id"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INVOKE = "/invocations"
MODEL = ModelInfo("spots", "1", SIDE, SIDE)


def until(condition: Callable[[], object]) -> None:
    """Wait for something that other threads bring about."""
    for _ in range(5000):
        if condition():
            return
        time.sleep(0.004)
    raise AssertionError("it did not come about")


def png(*lefts: float, width: int = SIDE, height: int = SIDE) -> bytes:
    """A picture of bright squares at these left edges."""
    return encoded(spots_picture(lefts, width=width, height=height))


def encoded(image: NDArray[np.uint8], ending: str = ".png") -> bytes:
    good, content = cv2.imencode(ending, image)
    assert good
    return content.tobytes()


def npy(image: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, image)
    return file.getvalue()


@dataclass
class Told:
    """A network that says that there is one object at a place that the picture tells.

    Its left edge is the blue value of the first pixel. It waits at a gate, which is open unless a
    test closes it. With a fault, it fails after so many good frames.
    """

    workers: int = 2
    class_names: Sequence[str] = ("cat", "dog")
    device: str = "cpu"
    gate: threading.Event = field(default_factory=threading.Event)
    seen: list[int] = field(default_factory=list)
    fault: Exception | None = None
    good: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        left = int(image[0, 0, 0])
        self.seen.append(left)
        assert self.gate.wait(30)
        if self.fault is not None and len(self.seen) > self.good:
            raise self.fault
        return Detections([[left, 10, left + 40, 90]], [0.9], [1])


def told(left: int, *, width: int = 16, height: int = 8) -> bytes:
    """A picture for `Told`."""
    return encoded(np.full((height, width, 3), left, np.uint8))


@dataclass
class Served:
    """A running server.

    Attributes:
        url: Its address.
        client: Talks to it.
        service: What it is made of.
    """

    url: str
    client: httpx.Client
    service: Service
    server: Server
    _text: io.StringIO

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self, request_id: str) -> dict[str, Any]:
        """What was noted of a request, which is done when its answer is out already."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            entries = map(json.loads, self.log_text.splitlines())
            found.extend(entry for entry in entries if entry.get("request_id") == request_id)
            return bool(found)

        until(look)
        return found[0]

    @property
    def log_text(self) -> str:
        return self._text.getvalue()

    def post(self, content: Any = b"", kind: str = "image/png", **headers: str) -> httpx.Response:
        """`POST /invocations`; `session`, `ask` and `accept` are headers."""
        names = {"session": SESSION, "ask": ATTRIBUTES}
        known = {names.get(key, key.replace("_", "-")): value for key, value in headers.items()}
        return self.client.post(INVOKE, content=content, headers={"Content-Type": kind} | known)

    def open(self, ask: str = "") -> str:
        """Open a session."""
        answer = self.post(session="NEW_SESSION", ask=ask)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["session"])


@contextlib.contextmanager
def serving(
    network: Network,
    settings: Settings | None = None,
    *,
    token: str | None = None,
    jobs: JobRoutes | None = None,
    protocol: Any = Guarded,
    **serve: Any,
) -> Iterator[Served]:
    """Serve, on a free port; keywords are settings of `[serve]`."""
    settings = settings or Settings(serve=ServeSettings(**serve))
    text = io.StringIO()
    app = make_app(network, settings, MODEL, token=token, jobs=jobs, log=Log(text))
    ready = threading.Event()
    listener = open_socket("127.0.0.1", 0)
    url = address_of(listener)
    server = Server(app, ready=ready.set, protocol=protocol)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(20)
        with httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
            yield Served(url, client, app.state.service, server, text)
    finally:
        server.should_exit = True
        thread.join()


def error_of(answer: httpx.Response, status: int) -> tuple[str, str]:
    """Code and message of an answer that must be an error of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()["error"]
    assert set(content) == {"code", "message", "request_id"}
    assert content["request_id"] == answer.headers["x-request-id"]
    return content["code"], content["message"]
