"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

_MOMENTS = 5.0  # seconds


class Interrupts:
    """Ctrl-C and SIGTERM as `KeyboardInterrupt`, once for people who press it many times.

    Those that follow within moments are ignored, so that they do not disturb the cleaning up; a
    later one counts again. Python loses one now and then, when it comes in the midst of an import;
    so what runs for long calls `check`.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def catch(self) -> None:
        """Install the handlers; only the main thread may, and what is ignored stays so."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._interrupt)

    def let_go(self) -> None:
        """Put back what was there, and forget."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        self._last = None

    def just_came(self) -> bool:
        """Whether one came within the last moments."""
        return self._last is not None and time.monotonic() - self._last < _MOMENTS

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if one came and was lost."""
        if self._last is not None:
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if not self.just_came():
            self._last = time.monotonic()
            raise KeyboardInterrupt


interrupts = Interrupts()
"""Those of the process; there is one set of signal handlers, so there is one of these."""
