"""`motrail serve` as a process: how it starts, what it prints, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from commands import Call, caller
from models import spots_clip, write_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOTRAIL = [sys.executable, "-m", "motrail"]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "serve")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("kit") / "spots")


@contextlib.contextmanager
def process(model: Path, *words: str, **environment: str) -> Iterator[tuple[Any, str]]:
    """The command, running, and its address."""
    environ = {**os.environ, **environment}
    running = subprocess.Popen(
        [*MOTRAIL, "serve", str(model), "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        assert running.stdout
        line = running.stdout.readline()
        found = re.fullmatch(r"serving spots \(cpu\) at (http://\S+)\n", line)
        assert found, running.communicate()
        yield running, found[1]
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well(model: Path, tmp_path: Path, number: signal.Signals) -> None:
    """What is under way is finished, nothing new is taken, and no file is left."""
    frames = 600
    content = spots_clip(tmp_path / "clip.mp4", frames=frames).read_bytes()
    (tmp_path / "tmp").mkdir()
    headers = {"Content-Type": "video/mp4", "Accept": "application/jsonl"}
    with process(model, TMPDIR=str(tmp_path / "tmp")) as (running, url):
        place = f"{url}/invocations"
        with httpx.stream("POST", place, content=content, headers=headers, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith('{"frame": 1,')
            running.send_signal(number)
            assert [json.loads(line)["frame"] for line in lines] == list(range(2, frames + 1))
        _, log = running.communicate(timeout=30)
        assert running.returncode == 0, log
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/ping")
    assert not list((tmp_path / "tmp").glob("motrail*"))
    assert '"path": "/invocations", "status": 200' in log


def test_token_of_the_environment(model: Path) -> None:
    with process(model, MOTRAIL_SERVE_TOKEN="sesame") as (_, url):  # noqa: S106
        assert httpx.get(f"{url}/ping").status_code == 200
        assert httpx.get(f"{url}/model").status_code == 401
        answer = httpx.get(f"{url}/model", headers={"Authorization": "Bearer sesame"})
        assert answer.json()["name"] == "spots"
        assert re.fullmatch(r"[0-9a-f]{12}", answer.json()["version"])


def test_a_warning_where_everybody_may_come(model: Path, tmp_path: Path) -> None:
    with process(model, "--host", "0.0.0.0") as (running, _):  # noqa: S104
        running.terminate()
        _, log = running.communicate(timeout=30)
        assert log.startswith("warning: everybody who reaches 0.0.0.0 may use this server; give ")
    (tmp_path / "token").write_text("sesame")
    words = ["--host", "0.0.0.0", "--token-file", str(tmp_path / "token")]  # noqa: S104
    for more in (words, ["--host", "0.0.0.0", "--guarded"]):  # noqa: S104
        with process(model, *more) as (running, _):
            running.terminate()
            assert "warning" not in running.communicate(timeout=30)[1]


class TestWrongUse:
    def test_a_port_that_is_taken(self, call: Call, model: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = call(model, "--port", port)
        assert ended.code == 2
        assert ended.err == (
            f"error: port: cannot listen on 127.0.0.1, port {port}: Address already in use; "
            "choose another --port\n"
        )

    def test_settings(self, call: Call, model: Path, tmp_path: Path) -> None:
        ended = call(model, "--port", 70000)
        assert (ended.code, ended.err) == (
            2,
            "error: port: expected from 0 to 65535, found 70000\n",
        )
        ended = call(model, "--prot", 80)
        assert ended.code == 2
        assert "--prot" in ended.err
        (tmp_path / "config.toml").write_text("[serve]\nqueues = 3\n")
        ended = call(model, "--config", tmp_path / "config.toml")
        assert ended.code == 2
        assert "did you mean 'queue'?" in ended.err

    def test_a_model_that_is_none(self, call: Call, tmp_path: Path) -> None:
        ended = call(tmp_path / "missing.onnx", "--port", 0)
        assert ended.code == 1
        assert "missing.onnx" in ended.err

    def test_a_token_that_is_none(self, call: Call, model: Path, tmp_path: Path) -> None:
        ended = call(model, "--port", 0, "--token-file", tmp_path / "missing")
        assert ended.code == 2
        assert "missing: cannot be read" in ended.err
