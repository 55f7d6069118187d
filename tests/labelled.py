"""Small videos and a labelling page's server inside the process of the tests."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from motrail.label.app import make_app
from motrail.label.desk import Desk
from motrail.label.project import open_project
from motrail.label.run import Server, address_of, open_socket
from motrail.label.security import Door
from motrail.video.write import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.label.store import Store

TOKEN = "a-token-that-is-known-to-tests"  # noqa: S105
WIDTH, HEIGHT = 96, 64


def shade(number: int) -> int:
    """The grey of the left half of a frame; the right half has the tens of its number."""
    return 20 + 20 * (number % 10)


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A frame that tells its number."""
    image = np.full((height, width, 3), shade(number), np.uint8)
    image[:, width // 2 :] = 20 + 20 * (number // 10 % 10)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """The last two digits of the number that a frame tells."""
    height, width = image.shape[:2]
    ones = float(image[height // 4 : -height // 4, width // 8 : width * 3 // 8].mean())
    tens = float(image[height // 4 : -height // 4, width * 5 // 8 : width * 7 // 8].mean())
    return round((tens - 20) / 20) * 10 + round((ones - 20) / 20)


def write_clip(path: Path, frames: int = 60, rate: float = 25.0) -> Path:
    """A video whose frames tell their numbers."""
    with VideoWriter(path, width=WIDTH, height=HEIGHT, frame_rate=rate, crf=10) as writer:
        for number in range(1, frames + 1):
            writer.write(picture(number), (number - 1) / rate)
    return path


def create(
    number: int = 1, *rows: Sequence[float], label: str = "person", **said: Any
) -> dict[str, Any]:
    """A patch that makes an object."""
    return {"id": number, "create": {"class": label, **said}, "put": [list(row) for row in rows]}


@dataclass
class Room:
    """A running server, and a tab that talks to it."""

    client: httpx.Client
    desk: Desk
    url: str
    tab: str = "tab"
    _ids: Iterator[int] = field(default_factory=itertools.count)

    @property
    def ours(self) -> dict[str, str]:
        """Headers of the page's own requests."""
        return {"Origin": self.url, "X-Motrail": "1"}

    @property
    def store(self) -> Store:
        return self.desk.store

    def get(self, path: str, **headers: str) -> httpx.Response:
        answer: httpx.Response = self.client.get(f"/api{path}", headers=headers)
        return answer

    def post(self, path: str, content: Any = None, **said: Any) -> httpx.Response:
        """`POST`, as the page does it."""
        body = said if content is None else content
        answer: httpx.Response = self.client.post(f"/api{path}", json=body, headers=self.ours)
        return answer

    def edit(self, base: int, *patches: dict[str, Any], **said: Any) -> httpx.Response:
        """Edit sequence 0."""
        body = {
            "tab": self.tab, "base": base, "label": "edit", "edit_id": str(next(self._ids)),
            "patches": list(patches),
        }  # fmt: skip
        return self.post(f"/sequences/{said.pop('sequence', 0)}/edits", body | said)

    def wait(self, work: httpx.Response) -> dict[str, Any]:
        """What has become of a work."""
        assert work.status_code == 202, work.text
        for _ in range(3000):
            answer: dict[str, Any] = self.get(f"/work/{work.json()['work']}").json()
            if answer["state"] != "running":
                return answer
            time.sleep(0.01)
        raise AssertionError("it does not end")


@contextlib.contextmanager
def room(store: Store, **said: Any) -> Iterator[Room]:
    """Serve a project; a browser has come in with the token."""
    desk = Desk(store, **said)
    ready = threading.Event()
    listener = open_socket("127.0.0.1", 0)
    url = address_of(listener)
    app = make_app(desk, Door(TOKEN, listener.getsockname()[1]))
    server = Server(app, ready=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(20)
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            assert client.get(f"/?token={TOKEN}").status_code == 303
            yield Room(client, desk, url)
    finally:
        server.should_exit = True
        thread.join()


def project(folder: Path, *sources: Path, classes: tuple[str, ...] = ("person", "car")) -> Store:
    """A project in a new folder; of a short clip if nothing is named."""
    if not sources:
        sources = (write_clip(folder.with_name("clip.mp4")),)
    return open_project(sources, folder, classes=classes)


def error_of(answer: httpx.Response, status: int) -> tuple[str, str]:
    """Code and message of an answer that must be an error of this status."""
    assert answer.status_code == status, answer.text
    content = answer.json()["error"]
    return content["code"], content["message"]
