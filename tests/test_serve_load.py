"""The server under load, and the one answer that all roads lead to."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from models import spots_clip, spots_picture, write_bundle
from served import ATTRIBUTES, INVOKE, SESSION, encoded, png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Prove

PROCESSES = Path("/proc")


class Held(NamedTuple):
    """What a process holds."""

    memory: int
    threads: int
    files: int


def held(process: int) -> Held:
    folder = PROCESSES / str(process)
    status = (folder / "status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return Held(
        int(memory.split()[1]),
        len(list((folder / "task").iterdir())),
        len(list((folder / "fd").iterdir())),
    )


class Crowd:
    """Clients of all kinds.

    Args:
        url: The server.
        clip: A video.
        seed: Decides what is sent when.
    """

    def __init__(self, url: str, clip: bytes, seed: int) -> None:
        self._url, self._clip = url, clip
        self._chance = random.Random(seed)  # noqa: S311
        self._pictures = [png(left, left + 30) for left in range(0, 60, 7)]
        self._large = encoded(spots_picture([8, 60], width=640, height=480), ".jpg")

    def send(self, *, frames: int, sessions: int, cut_off: int) -> list[str]:
        """What went wrong, of so many frames and sessions and clients that hang up."""
        work = [("frame", n) for n in range(frames)]
        work += [("session", n) for n in range(sessions)]
        work += [("cut off", n) for n in range(cut_off)]
        self._chance.shuffle(work)
        with ThreadPoolExecutor(8) as pool:
            faults = list(pool.map(self._share, [work[n::8] for n in range(8)]))
        return [fault for share in faults for fault in share]

    def _share(self, work: list[tuple[str, int]]) -> list[str]:
        faults = []
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            mine = self._open(client)
            for kind, number in work:
                if kind == "frame":
                    content = self._large if number % 20 == 0 else self._pictures[number % 9]
                    session = {SESSION: mine} if number % 2 else {}
                    answer = self._post(client, content, session)
                elif kind == "session":
                    left = self._open(client)  # and never heard of again
                    answer = self._post(client, self._pictures[0], {SESSION: left})
                else:
                    self._hang_up(number)
                    continue
                if answer.status_code != 200:
                    faults.append(answer.text)
            self._post(client, b"", {SESSION: mine, ATTRIBUTES: "close=true"})
        return faults

    def _open(self, client: httpx.Client) -> str:
        return str(self._post(client, b"", {SESSION: "NEW_SESSION"}).json()["session"])

    def _post(
        self, client: httpx.Client, content: bytes, headers: dict[str, str]
    ) -> httpx.Response:
        return client.post(
            INVOKE, content=content, headers={"Content-Type": "image/png", **headers}
        )

    def _hang_up(self, number: int) -> None:
        """Leave in the middle of a body, of a frame or of a video."""
        content, kind = (
            (self._clip, "video/mp4") if number % 5 == 0 else (self._large, "image/jpeg")
        )
        sent = len(content) if number % 2 else len(content) // 2
        head = (
            f"POST {INVOKE} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        address = ("127.0.0.1", int(self._url.rpartition(":")[2]))
        with socket.create_connection(address) as connection:
            connection.sendall(head.encode() + content[:sent])


@contextlib.contextmanager
def process(folder: Path) -> Iterator[tuple[int, str]]:
    """A server of its own, which forgets sessions after a second."""
    words = [str(write_bundle(folder / "spots")), "--port", "0", "--session-seconds", "1"]
    command = [sys.executable, "-m", "motrail", "serve", *words]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert running.stdout
            yield running.pid, running.stdout.readline().split()[-1]
            running.terminate()
            assert running.wait(30) == 0
        finally:
            running.kill()
            running.communicate()


def settled(pid: int, url: str) -> Held:
    """What the server holds when nobody asks for anything, and nothing changes any more."""
    before: Held | None = None
    with httpx.Client(base_url=url, trust_env=False) as client:
        for _ in range(200):
            text = client.get("/metrics").text
            now = held(pid)
            idle = "motrail_videos_open 0.0" in text and "motrail_queue_length 0.0" in text
            same = before is not None and now[1:] == before[1:]
            if idle and "motrail_sessions_open 0.0" in text and same:
                return now
            before = now
            time.sleep(0.1)
    pytest.fail(text)


def load(folder: Path, share: float) -> tuple[Held, Held]:
    """What a server holds after a warm-up, and after the load."""
    clip = spots_clip(folder / "clip.mp4", frames=30).read_bytes()
    with process(folder) as (pid, url):
        crowd = Crowd(url, clip, seed=1)
        assert crowd.send(frames=400, sessions=20, cut_off=15) == []
        before = settled(pid, url)
        faults = crowd.send(
            frames=round(10_000 * share),
            sessions=round(200 * share),
            cut_off=round(50 * share),
        )
        assert faults == []
        after = settled(pid, url)
    assert '"level": "error"' not in (folder / "log").read_text()
    assert "Traceback" not in (folder / "log").read_text()
    return before, after


def check(before: Held, after: Held) -> None:
    assert after.memory <= 1.1 * before.memory
    assert after.threads <= before.threads
    assert after.files <= before.files


@pytest.mark.skipif(not PROCESSES.is_dir(), reason="needs /proc")
def test_a_sample_of_the_load(tmp_path: Path) -> None:
    check(*load(tmp_path, 0.06))


@pytest.mark.proof
@pytest.mark.skipif(not PROCESSES.is_dir(), reason="needs /proc")
def test_load(tmp_path: Path, prove: Prove) -> None:
    """10,000 frames, 200 sessions that are dropped, 50 clients that hang up."""
    before, after = load(tmp_path, 1)
    prove(
        "server: memory after 10,000 frames against that after a warm-up",
        "at most 1.1",
        f"{after.memory / before.memory:.3f} ({after.memory / 1024:.0f} MiB)",
    )
    check(before, after)
