"""A labelling server in a process of its own, and a browser on its page."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

CHROMIUM = Path("/usr/bin/chromium")
TOKEN = "a-token-for-tests-0123456789"  # noqa: S105
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SIZE: ViewportSize = {"width": 1366, "height": 768}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """`motrail label` or `review`, which can be killed and started again on the same port."""

    dataset: Path
    sources: list[Path]
    folder: Path
    arguments: list[str] = field(default_factory=list)
    command: str = "label"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.url}/?token={TOKEN}"

    def start(self) -> None:
        token = self.folder / "token"
        token.write_text(TOKEN)
        log = (self.folder / "server.log").open("ab")
        command = [
            sys.executable, "-m", "motrail", self.command, *map(str, self.sources),
            "-o", str(self.dataset), "--port", str(self.port), "--no-browser",
            "--token-file", str(token), *self.arguments,
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self._await()

    def _await(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                try:
                    urllib.request.urlopen(self.url, timeout=5).close()  # noqa: S310
                except urllib.error.HTTPError as error:
                    error.close()
                return
            assert self.process is not None
            if self.process.poll() is not None:
                pytest.fail((self.folder / "server.log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: nothing of ours runs after it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium; a visible skip where there is none."""
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser: {CHROMIUM} is not there")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Desk:
    """A person at the page: mouse in pixels of the picture, keys, and what the page shows."""

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.server = server
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        self.page.route("**/*", self._only_ours)
        self.away = False

    def _said(self, message: Any) -> None:
        # A browser itself reports what it could not fetch; while the server is away that is right.
        network = "Failed to load resource" in message.text
        if message.type in ("error", "warning") and not (network and self.away):
            self.faults.append(f"{message.type}: {message.text}")

    def _only_ours(self, route: Any) -> None:
        if route.request.url.startswith((self.server.url, "blob:", "data:")):
            route.continue_()
        else:
            self.faults.append(f"request: {route.request.url}")
            route.abort()

    def open(self) -> Desk:
        self.page.goto(self.server.address)
        return self.ready()

    def reload(self) -> Desk:
        self.page.reload()
        return self.ready()

    def ready(self) -> Desk:
        # No `wait_for_function`: it needs eval, which the page's security policy refuses.
        self.page.locator("#stage[data-picture]:not([data-picture=''])").wait_for()
        self.page.locator("#saved:not([data-state=reading])").wait_for()
        return self

    def stored(self) -> None:
        """Wait until every edit is with the server."""
        self.page.locator("#saved[data-state=stored]").wait_for()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the picture is in the window."""
        scale, left, top, x0, y0 = self.page.evaluate(
            """() => {
                const stage = document.querySelector("#stage");
                const { scale, left, top } = stage.dataset;
                const box = stage.getBoundingClientRect();
                return [+scale, +left, +top, box.left, box.top];
            }"""
        )
        return x0 + left + x * scale, y0 + top + y * scale

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self._settle()
        mouse = self.page.mouse
        mouse.move(*self.at(*start))
        mouse.down()
        mouse.move(*self.at((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        mouse.move(*self.at(*end))
        mouse.up()
        self._settle()

    def click(self, x: float, y: float, *, shift: bool = False) -> None:
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*self.at(x, y))
        if shift:
            self.page.keyboard.up("Shift")

    def keys(self, *names: str) -> None:
        for name in names:
            self.page.keyboard.press(name)

    def go(self, frame: int) -> None:
        self.page.locator("#goto").fill(str(frame))
        self.page.locator("#goto").press("Enter")
        self._settle()

    def _settle(self) -> None:
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def objects(self) -> list[dict[str, Any]]:
        """What the server has of the first sequence."""
        found: dict[str, Any] = self.get("/api/sequences/0")
        return list(found["objects"])

    def get(self, path: str) -> Any:
        return self.page.evaluate("path => fetch(path).then(answer => answer.json())", path)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def expect_no_faults(self) -> None:
        assert self.faults == []
