"""The server's side of the process that works on a job."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motrail.serve.jobs.work import Task

SECRETS = ("MOTRAIL_SERVE_TOKEN", "MOTRAIL_SERVE_WEBHOOK_SECRET")
"""Variables that are for the server alone."""
_MODULE = "motrail.serve.jobs.work"


class WorkProcess:
    """A process of its own for one attempt at a job.

    Its decoder may crash, its memory run out, and it can be killed at any time.

    Args:
        task: What it is to do.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, task: Task) -> None:
        environment = {key: text for key, text in os.environ.items() if key not in SECRETS}
        # -P: nothing is imported from the folder that the server happens to run in.
        self._process = subprocess.Popen(  # noqa: S603  (nothing of it comes from a client)
            [sys.executable, "-P", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the server
        )
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True, name="motrail-job")
        self._reader.start()
        # That nobody is there any more is seen when it does not answer.
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                line = json.dumps(dataclasses.asdict(task)).encode() + b"\n"
                self._process.stdin.write(line)
                self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    def _read(self) -> None:
        if self._process.stdout is not None:
            with contextlib.suppress(OSError, ValueError):
                for line in self._process.stdout:
                    self._messages.put(json.loads(line))
        self._messages.put(None)

    def message(self, seconds: float) -> dict[str, Any] | None:
        """The next that it says; None if it has ended.

        Args:
            seconds: How long to wait.

        Raises:
            TimeoutError: It says nothing for so long.
        """
        try:
            return self._messages.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise TimeoutError from None

    def kill(self) -> None:
        """End it at once; harmless when it has ended."""
        self._process.kill()

    def close(self) -> str:
        """End it if need be; says how it ended."""
        self.kill()
        code = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"ended by {signal.Signals(-code).name}"
        return f"exit code {code}"
