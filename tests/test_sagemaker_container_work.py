"""How containers run the work: signals, what is said, and what is written when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from motrail.errors import MotrailError
from motrail.sagemaker.container.__main__ import main
from motrail.sagemaker.container.work import FailedError, Stop, descendants, work

SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
ACCOUNT = "123456789012"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


_STOPS_WELL = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: saved"))
print("ready", flush=True)
time.sleep(100)
"""
_IS_DEAF = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"],
                         start_new_session=True)
print("child", child.pid, flush=True)
time.sleep(100)
"""


KILLED = "the process was killed; the usual reason is that the memory was full"


class TestWork:
    def test_what_is_said_goes_on_without_secrets(self, capfd: pytest.CaptureFixture[str]) -> None:
        code = f"import sys; print('out {ACCOUNT}', flush=True); print('err', file=sys.stderr)"
        heard: list[str] = []
        with Stop() as stop:
            reason = work(python(code), os.environ, stop, grace=1, heard=heard.append)
        assert reason is None
        assert heard == [f"out {ACCOUNT}", "err"]
        assert capfd.readouterr().err == "out [account]\nerr\n"

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("raise SystemExit('error: first\\nerror: second')", "first"),
            ("raise SystemExit(7)", "the process ended with exit code 7; the log says more"),
            ("import os; os.kill(os.getpid(), 9)", KILLED),
            ("import os; os.kill(os.getpid(), 15)", "the process was ended by signal 15"),
        ],
    )  # fmt: skip
    def test_why_it_failed(self, code: str, reason: str) -> None:
        with Stop() as stop:
            assert work(python(code), os.environ, stop, grace=1) == reason

    def test_sigterm_is_handed_on(self) -> None:
        with Stop() as stop:
            assert not stop.asked()
            reason = work(
                python(_STOPS_WELL), os.environ, stop, grace=60, heard=lambda line: terminate()
            )
            assert stop.asked()
            assert 0 <= stop.left(60) <= 60
        assert reason == "saved"

    def test_who_does_not_listen_is_killed_with_all_that_it_started(self) -> None:
        children: list[int] = []

        def hear(line: str) -> None:
            children.append(int(line.split()[1]))
            assert children[0] in descendants(os.getpid())
            terminate()

        with Stop() as stop:
            reason = work(python(_IS_DEAF), os.environ, stop, grace=0.2, heard=hear)
        assert reason is not None
        assert reason.startswith("the process was killed")
        with contextlib.suppress(OSError):  # it may wait for whoever adopted it
            assert (
                Path(f"/proc/{children[0]}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            )

    def test_sigterm_before_anything_was_started(self) -> None:
        with Stop() as stop:
            terminate()
            assert stop.asked()
            assert work(python("import time; time.sleep(100)"), os.environ, stop, grace=5)

    def test_handlers_are_put_back(self) -> None:
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
        with Stop():
            assert signal.getsignal(signal.SIGTERM) != before[0]
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before


class TestEntry:
    def test_unknown(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["trane"], {"MOTRAIL_OPT_ML": str(tmp_path)}) == 1
        assert capsys.readouterr().err == (
            "error: expected one of train, serve, process, found 'trane'\n"
        )
        assert main([], {"MOTRAIL_OPT_ML": str(tmp_path)}) == 1

    def test_a_failure_is_written_without_secrets(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "input" / "config"
        config.mkdir(parents=True)
        (config / "hyperparameters.json").write_text(json.dumps({SECRET + "é" * 2000: "1"}))
        environ = {"MOTRAIL_OPT_ML": str(tmp_path), "AWS_SECRET_ACCESS_KEY": "planted-secret"}
        assert main(["train"], environ) == 1
        failure = (tmp_path / "output" / "failure").read_bytes()
        said = capsys.readouterr()
        assert len(failure) <= 1024
        assert failure.decode().startswith("hyperparameter ")
        for text in (failure.decode(), said.out, said.err):
            assert SECRET not in text
            assert "planted-secret" not in text

    def test_our_own_fault(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> int:
            raise RuntimeError(f"oops {ACCOUNT}")

        monkeypatch.setattr("motrail.sagemaker.container.train.train", broken)
        assert main(["train"], {"MOTRAIL_OPT_ML": str(tmp_path)}) == 1
        assert (tmp_path / "output" / "failure").read_text() == "RuntimeError: oops [account]"
        said = capsys.readouterr().err
        assert "Traceback" in said
        assert ACCOUNT not in said

    def test_where_nothing_can_be_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "output").write_text("a file")
        assert main(["process", "sing"], {"MOTRAIL_OPT_ML": str(tmp_path)}) == 1
        said = capsys.readouterr().err
        assert "error: process: expected one of videos, detect, associate, found 'sing'\n" in said
        assert "cannot be written" in said

    def test_the_error_is_one_of_ours(self) -> None:
        assert issubclass(FailedError, MotrailError)
