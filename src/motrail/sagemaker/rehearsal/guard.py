"""Stands beside a container's process: hands signals on, and leaves nothing of it behind.

Run as a script in a process of its own, so that it imports the standard library alone and works
when whoever started it is killed: then its standard input ends, and with it everything it started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_NOT_FOUND = 127


def main(command: list[str]) -> int:
    """Run `command` until it ends; gives its exit code, or 128 + the signal that ended it."""
    stopping = threading.Event()
    started: list[subprocess.Popen[bytes]] = []

    def stop(*_: object) -> None:
        stopping.set()
        for process in started:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _adopt_orphans()
    try:
        process = subprocess.Popen(  # noqa: S603  (the command is what this is for)
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_FOUND
    started.append(process)
    if stopping.is_set():
        stop()
    threading.Thread(target=_watch, args=(process,), daemon=True).start()
    code = process.wait()
    _end_all(process.pid)
    return code if code >= 0 else 128 - code


def _watch(process: subprocess.Popen[bytes]) -> None:
    """End everything at once when nobody holds the other end of the pipe any more."""
    while os.read(0, 1024):
        pass
    with contextlib.suppress(OSError):
        process.kill()
    _end_all(process.pid)
    os._exit(128 + signal.SIGKILL)


def _adopt_orphans() -> None:
    """Become the parent of what the command leaves behind, where the system can do that."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all(leader: int) -> None:
    """Kill what is left of the command: its group, and here all that descends from this process."""
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)
    for _ in range(20):
        left = _descendants()
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _descendants() -> list[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold anything; what follows it does not.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found: list[int] = []
    fresh = {os.getpid()}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
        found += fresh
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
