"""A container as a process of this machine, with a folder in place of its `/opt/ml`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from motrail.sagemaker.rehearsal.site import Site

_GUARD = Path(__file__).with_name("guard.py")
_ENTRY_POINTS = ("train", "serve", "process")
# What an image would bring; all else that is set here would not be there either.
_KEPT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "PYTHONPATH",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip
_ROOT = "/opt/ml"
_LAST_WORDS = 5.0  # seconds that output may take to arrive after the end


class Host:
    """A running container.

    Args:
        site: Where it runs.
        command: Entry point and arguments.
        root: In place of `/opt/ml`.
        environment: From the request.
        heard: Given each line of its output.

    Raises:
        OSError: No process can be started.
    """

    def __init__(
        self,
        site: Site,
        command: Sequence[str],
        root: Path,
        environment: Mapping[str, str],
        heard: Callable[[str], None],
    ) -> None:
        self._site = site
        self._heard = heard
        self.root = root
        inherited = {name: os.environ[name] for name in _KEPT if name in os.environ}
        given = {
            "AWS_REGION": site.region,
            "PYTHONUNBUFFERED": "1",
            "MOTRAIL_OPT_ML": str(root),
        }
        with site.lock:
            if site.ending.is_set():
                raise ProcessLookupError("the rehearsal has ended")
            self._process = subprocess.Popen(  # noqa: S603  (the entry point of our own container)
                [sys.executable, "-I", "-S", str(_GUARD), *_command(site, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=root,
                env={**inherited, **site.environment, **environment, **given},
                start_new_session=True,
            )
            site.hosts.add(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def told(self, text: str) -> str:
        """What it said, with the paths that it would have in a container."""
        return text.replace(str(self.root), _ROOT)

    def stop(self) -> None:
        """Send SIGTERM to the entry point."""
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started at once."""
        stream = self._process.stdin
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, grace: float) -> None:
        """Stop it, kill it if it does not listen, and wait until its last words are here."""
        if self.code is None:
            self.stop()
            if not self.wait(grace):
                self.kill()
                self._process.wait()
        self.kill()  # closes the pipe; nothing is left that could be killed
        self._reader.join(_LAST_WORDS)
        with self._site.lock:
            self._site.hosts.discard(self)

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        with stream:
            for line in stream:
                self._heard(self.told(line.decode("utf-8", "replace").rstrip("\r\n")))


def end_all(hosts: Sequence[Host], grace: float) -> None:
    """End several side by side."""
    for host in hosts:
        if host.code is None:
            host.stop()
    deadline = time.monotonic() + grace
    for host in hosts:
        if not host.wait(max(0.0, deadline - time.monotonic())):
            host.kill()
    for host in hosts:
        host.end(grace=1.0)


def clear(root: Path) -> None:
    """Remove what a container has left behind."""
    shutil.rmtree(root, ignore_errors=True)


def place(root: Path, path: str) -> Path:
    """Where a path below the container's `/opt/ml` is here.

    Raises:
        ValueError: It is not below it.
    """
    parts = Path(path).parts
    if parts[:3] != ("/", "opt", "ml") or ".." in parts:
        raise ValueError(f"{path}: expected a path below /opt/ml")
    return root.joinpath(*parts[3:])


def _command(site: Site, command: Sequence[str]) -> list[str]:
    """The entry points' names stand for what is behind them in our images."""
    name = Path(command[0]).name
    return [*site.entry, name, *command[1:]] if name in _ENTRY_POINTS else list(command)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
