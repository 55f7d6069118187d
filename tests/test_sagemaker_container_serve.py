"""The entry point `serve`: port, health under load, and the end."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

import httpx
import pytest

from models import spots_clip, write_bundle
from motrail.errors import ConfigError, ModelError
from motrail.sagemaker.container.places import Places
from motrail.sagemaker.container.serve import serve
from sagemaker_container import ended, start
from served import png

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from conftest import Prove

HEALTHY = 2.0  # seconds that SageMaker waits for the answer to /ping
GRACE = 30.0  # seconds from SIGTERM to SIGKILL


class BecomeError(Exception):
    """Raised in place of becoming another program."""


def become(program: str, words: list[str], environ: Mapping[str, str]) -> NoReturn:
    raise BecomeError(program, words, dict(environ))


class TestCommand:
    def test_it_is_the_server_that_there_is_anywhere_else(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model")
        environ = {"SAGEMAKER_BIND_TO_PORT": "8123", "MOTRAIL_OPT_ML": str(tmp_path), "A": "b"}
        with pytest.raises(BecomeError) as raised:
            serve(Places(tmp_path), environ, become=become)
        program, words, left = raised.value.args
        assert program == sys.executable
        assert words == [sys.executable, "-m", "motrail", "serve", str(tmp_path / "model"),
                         "--guarded", "--port=8123", "--host=0.0.0.0"]  # fmt: skip
        assert left == {
            "SAGEMAKER_BIND_TO_PORT": "8123",
            "A": "b",
            "PYTHONUNBUFFERED": "1",
        }

    def test_the_usual_port(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model")
        with pytest.raises(BecomeError) as raised:
            serve(Places(tmp_path), {}, become=become)
        assert raised.value.args[1][-2:] == ["--port=8080", "--host=0.0.0.0"]

    def test_a_rehearsal_keeps_it_to_its_machine(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model")
        with pytest.raises(BecomeError) as raised:
            serve(Places(tmp_path), {"MOTRAIL_SERVE_HOST": "127.0.0.1"}, become=become)
        assert not any(word.startswith("--host") for word in raised.value.args[1])

    @pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "8080 ", "١"])
    def test_no_port(self, tmp_path: Path, port: str) -> None:
        with pytest.raises(ConfigError, match="SAGEMAKER_BIND_TO_PORT: expected a port from 1 to"):
            serve(Places(tmp_path), {"SAGEMAKER_BIND_TO_PORT": port}, become=become)

    def test_a_token_would_shut_everybody_out(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="MOTRAIL_SERVE_TOKEN: expected none") as raised:
            serve(Places(tmp_path), {"MOTRAIL_SERVE_TOKEN": "planted"}, become=become)
        assert "planted" not in str(raised.value)

    def test_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="model: expected model.onnx and model.json"):
            serve(Places(tmp_path), {}, become=become)


@contextlib.contextmanager
def serving(root: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A container that answers, at a port that its environment says."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with (root / "log").open("w") as log:  # a pipe that nobody reads would be full some day
        process = start(root, "serve", log=log, SAGEMAKER_BIND_TO_PORT=str(port))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for _ in range(600):
                with contextlib.suppress(httpx.TransportError):
                    client.get("/ping")
                    break
                assert process.poll() is None, (root / "log").read_text()
                time.sleep(0.1)
            yield process, client
    finally:
        process.kill()


class TestServer:
    def test_healthy_under_load_and_ends_in_time(self, tmp_path: Path, prove: Prove) -> None:
        write_bundle(tmp_path / "model")
        clip = spots_clip(tmp_path / "clip.mp4", frames=400).read_bytes()
        pings = 0
        with serving(tmp_path) as (process, client), ThreadPoolExecutor(8) as pool:

            def invoke(content: bytes, kind: str) -> int:
                return client.post(
                    "/invocations", content=content, headers={"Content-Type": kind}
                ).status_code

            work = [pool.submit(invoke, clip, "video/mp4") for _ in range(3)]
            work += [pool.submit(invoke, png(10, 60), "image/png") for _ in range(40)]
            while not all(each.done() for each in work):
                assert client.get("/ping", timeout=HEALTHY).status_code == 200
                pings += 1
                time.sleep(0.02)
            assert {each.result() for each in work} <= {200, 503}
            assert 200 in {each.result() for each in work[:3]}
            assert pings > 5

            last = pool.submit(invoke, clip, "video/mp4")
            while b"motrail_videos_open 0.0" in client.get("/metrics").content:
                pass
            process.send_signal(signal.SIGTERM)
            assert ended(process, GRACE)[0] == 0
            # What was under way is finished.
            assert last.result() == 200
        assert "warning" not in (tmp_path / "log").read_text()
        prove("containers: /ping under load", f"within {HEALTHY:g} s", f"{pings} of {pings}")
