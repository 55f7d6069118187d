"""The log: a line of JSON for each event, to stderr unless told otherwise."""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO


class Log:
    """Writes events.

    Args:
        stream: Where to; stderr if left out, nowhere if None.
    """

    def __init__(self, stream: TextIO | None = sys.stderr) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, event: str, *, level: str = "info", **values: Any) -> None:
        """Add a line; values of None are left out."""
        if self._stream is None:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": time, "level": level, "event": event}
        line |= {key: value for key, value in values.items() if value is not None}
        text = json.dumps(line, ensure_ascii=True, default=str)
        with self._lock:
            try:
                self._stream.write(f"{text}\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None  # nobody reads it any more
