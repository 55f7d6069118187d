"""`motrail label`, as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from commands import caller
from labelled import create, write_clip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commands import Call


@pytest.fixture
def label(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "label")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", frames=20)


EVERYWHERE = "0.0.0.0"  # noqa: S104


class Running:
    """The command, and what it printed first."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "motrail", "label", *map(str, words), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r"http\S+", self.line)
        assert found is not None, self.process.communicate()
        self.url = found[0]
        self.base = self.url.partition("/?")[0]
        self.ours = {"Origin": self.base, "X-Motrail": "1"}

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture
def running(clip: Path, tmp_path: Path) -> Iterator[Running]:
    one = Running(clip, "-o", tmp_path / "set", "--no-browser", "--classes", "person,car")
    yield one
    one.process.kill()
    one.process.communicate()


def test_from_a_clip_to_a_dataset_that_is_fit_to_train(
    running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.line.startswith(f"labelling {tmp_path / 'set'} at http://127.0.0.1:")
    rows = [[1, 10, 10, 30, 40, 1], [20, 40, 10, 30, 40, 1]]
    with httpx.Client(base_url=running.base, trust_env=False, timeout=60) as client:
        client.get(running.url)
        body = {"tab": "t", "base": 0, "edit_id": "1", "patches": [create(1, *rows)]}
        client.post("/api/sequences/0/edits", json=body, headers=running.ours)
        work = client.post("/api/save", json={"tab": "t"}, headers=running.ours).json()["work"]
        while (found := client.get(f"/api/work/{work}").json())["state"] == "running":
            pass
    assert found["state"] == "done", found
    code, err = running.end()
    assert (code, err) == (0, "")
    checked = caller(capsys, "dataset", "check")(tmp_path / "set", "--json")
    assert checked.code == 0
    assert json.loads(checked.out)["faults"] in (0, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(running: Running, number: int) -> None:
    assert running.end(number) == (0, "")


def test_a_server_beside_it_is_refused(running: Running, tmp_path: Path, label: Call) -> None:
    result = label("-o", tmp_path / "set", "--no-browser", "--port", 0)
    assert result.code == 1
    assert "another `motrail label` has this dataset open" in result.err
    port = running.base.rpartition(":")[2]
    result = label(tmp_path / "clip.mp4", "-o", tmp_path / "b", "--no-browser", "--port", port)
    assert result.code == 2
    assert f"--port: cannot listen on 127.0.0.1, port {port}" in result.err


def test_a_team_is_told_what_to_do(clip: Path, tmp_path: Path) -> None:
    one = Running(clip, "-o", tmp_path / "set", "--no-browser", "--host", EVERYWHERE,
                  "--public-url", "https://label.example.org/")  # fmt: skip
    assert one.url.startswith("https://label.example.org/?token=")
    code, err = one.end()
    assert code == 0
    assert "put a proxy with HTTPS before it and name it with --public-url" in err


def test_the_browser_is_opened(
    clip: Path, tmp_path: Path, label: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def run(_app: object, _listener: object, *, ready: object) -> None:
        assert callable(ready)
        ready()

    monkeypatch.setattr("motrail.label.run.run", run)
    result = label(clip, "-o", tmp_path / "set", "--port", 0)
    assert result.code == 0
    assert opened == [re.search(r"http\S+", result.out)[0]]  # type: ignore[index]
    label("-o", tmp_path / "set", "--port", 0, "--no-browser")
    assert len(opened) == 1


def test_wrong_use(clip: Path, tmp_path: Path, label: Call) -> None:
    short = tmp_path / "short"
    short.write_text("abc")
    for words, code, what in (
        ([], 2, "expected a video, a folder of images or a dataset"),
        ([clip], 2, "say where the dataset shall be: add -o FOLDER"),
        ([tmp_path / "none"], 2, "say where the dataset shall be"),
        ([tmp_path / "none", "-o", tmp_path / "s"], 2, "no such file or folder; give a video"),
        ([clip, "-o", tmp_path / "s", "--split", "dev"], 2, "--split"),
        ([clip, "-o", tmp_path / "s", "--token-file", short], 2,
         "expected a token of at least 16 ASCII letters, digits, - and _"),
        ([clip, "-o", tmp_path / "s", "--token-file", tmp_path / "no"], 2, "cannot be read"),
        ([clip, "-o", tmp_path / "s", "--public-url", "label"], 2,
         "--public-url: expected an address such as https://label.example.org, found 'label'"),
        ([clip, "-o", tmp_path / "s", "--host", "no.such.host.invalid"], 2,
         "--host: expected an address of this machine"),
        ([clip, "-o", clip], 1, "is a file; choose another name with -o"),
        ([clip, "-o", tmp_path], 1, "there is something in this folder already"),
        ([short, "-o", tmp_path / "s"], 1, "expected a video"),
        ([clip, "-o", tmp_path / "s", "--model", tmp_path / "no.onnx"], 1, "no.onnx"),
        ([clip, "-o", tmp_path / "s", "--classes", "a\u0000b"], 1, "visible characters"),
    ):  # fmt: skip
        result = label(*words, "--no-browser", "--port", 0)
        assert (result.code, what in result.err) == (code, True), (words, result)
        assert not (tmp_path / "s").exists()
