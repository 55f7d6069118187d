"""Runs what does the work as a process of its own: hands SIGTERM on and hears what it says."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from motrail.errors import MotrailError
from motrail.sagemaker.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

STOPPED = 128 + signal.SIGTERM
"""Exit code of who was told to stop and did. Not 0, for the work is not done; no failure either, so
no reason is written."""
_LONGEST_LINE = 1 << 16  # bytes
_ERROR = "error: "


class FailedError(MotrailError):
    """The work was not done."""


class Stop:
    """Hears SIGTERM, and hands it on to the process that works; as a context manager.

    The first process of a container would not hear it at all without a handler.
    """

    def __init__(self) -> None:
        self._came: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._grace = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number, handler in ((signal.SIGTERM, self._hear), (signal.SIGALRM, self._end)):
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def asked(self) -> bool:
        """Whether it came."""
        return self._came is not None

    def left(self, seconds: float) -> float:
        """Of so many seconds since SIGTERM, how many are left; all of them if it did not come."""
        if self._came is None:
            return seconds
        return max(0.0, self._came + seconds - time.monotonic())

    def watch(self, process: subprocess.Popen[bytes], grace: float) -> None:
        """Hand SIGTERM on to a process, at once if it came already, and kill it later.

        Args:
            process: That works.
            grace: Seconds from SIGTERM until it is killed.
        """
        self._grace, self._process = grace, process
        if self.asked():
            self._hand_on(process)

    def forget(self) -> None:
        """The process has ended."""
        self._process = None
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked():
            return
        self._came = time.monotonic()
        if self._process is not None:
            self._hand_on(self._process)

    def _hand_on(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            process.send_signal(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, max(self.left(self._grace), 0.001))

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self._process is not None:
            for pid in [*descendants(self._process.pid), self._process.pid]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


def work(
    command: Sequence[str],
    environ: Mapping[str, str],
    stop: Stop,
    *,
    grace: float,
    heard: Callable[[str], None] | None = None,
    stdout: IO[bytes] | None = None,
) -> str | None:
    """Run a command to its end; all it says goes on to stderr, without secrets.

    Args:
        command: Its words.
        environ: Its environment.
        stop: Hands SIGTERM on.
        grace: Seconds from SIGTERM until it is killed.
        heard: Given each line before it is said.
        stdout: Where its standard output goes; to the rest of what it says if left out.

    Returns:
        None where its exit code was 0, else why it failed: the first `error: …` that it said, or
        its exit code.
    """
    process = subprocess.Popen(  # noqa: S603  (a command of our own)
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.STDOUT if stdout is None else subprocess.PIPE,
        env=dict(environ),
    )
    stop.watch(process, grace)
    stream = process.stdout if stdout is None else process.stderr
    reason = None
    try:
        if stream is not None:
            with stream:
                reason = _listen(stream, heard)
        code = process.wait()
    finally:
        stop.forget()
    return None if code == 0 else reason or _why(code)


def _listen(stream: IO[bytes], heard: Callable[[str], None] | None) -> str | None:
    """Hand on what is said; gives the first error in it, which others may follow from."""
    reason = None
    while content := stream.readline(_LONGEST_LINE):
        line = content.decode(errors="replace").rstrip("\r\n")
        if reason is None and line.startswith(_ERROR):
            reason = line.removeprefix(_ERROR)
        if heard is not None:
            heard(line)
        say(line)
    return reason


def _why(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed; the usual reason is that the memory was full"
    if code < 0:
        return f"the process was ended by signal {-code}"
    return f"the process ended with exit code {code}; the log says more"


def say(line: str) -> None:
    """Put a line into the log, without secrets."""
    sys.stderr.write(f"{redact(line)}\n")
    sys.stderr.flush()


def descendants(pid: int) -> list[int]:
    """All that descends from a process, where the system can tell; the youngest first."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold anything; what follows it does not.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found: list[int] = []
    fresh = {pid}
    while fresh := {child for child, parent in parents.items() if parent in fresh}:
        found = [*fresh, *found]
    return found
