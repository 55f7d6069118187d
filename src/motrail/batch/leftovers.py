"""Half-written files of runs that were killed: found and removed when no other run is under way."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from motrail.batch.find import KEPT
from motrail.outputs import writing

try:
    import fcntl
except ImportError:  # Windows: then nobody can tell, and they stay
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{16}")  # as motrail.outputs calls them
_MARK = ".run-"
_FORGOTTEN = 7 * 86400  # seconds after which a run on another machine counts as ended


class Running:
    """A run under way in an output folder, with a mark that others see.

    The mark is a locked file, and the lock goes when the process does, however it ends. When no
    other run is under way at the beginning or the end, what is half-written is removed. All of it
    stands among what is kept, where no other command writes.

    Args:
        output: The output folder.
    """

    def __init__(self, output: Path) -> None:
        self._kept = output / KEPT
        host = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())
        self._ours = f"{_MARK}{host}-"
        self._mark = self._kept / f"{self._ours}{secrets.token_hex(8)}"
        self._lock: int | None = None

    def __enter__(self) -> Self:
        with writing(self._mark):
            self._kept.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._mark, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a disk that knows no locks
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._tidy()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tidy()
        with contextlib.suppress(OSError):
            self._mark.unlink()
        if self._lock is not None:
            os.close(self._lock)

    def _tidy(self) -> None:
        if not self._alone():
            return
        for path in list(self._half_written()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _alone(self) -> bool:
        """Whether no other run is under way; forgets the marks of those that ended."""
        alone = fcntl is not None
        for mark in self._kept.glob(f"{_MARK}*"):
            if mark == self._mark:
                continue
            if self._has_ended(mark):
                with contextlib.suppress(OSError):
                    mark.unlink()
            else:
                alone = False
        return alone

    def _has_ended(self, mark: Path) -> bool:
        try:
            if not mark.name.startswith(self._ours):  # locks may not reach from machine to machine
                return time.time() - mark.stat().st_mtime > _FORGOTTEN
            lock = os.open(mark, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(lock)
        return True

    def _half_written(self) -> Iterator[Path]:
        for folder, folders, files in os.walk(self._kept):
            for name in filter(_HALF_WRITTEN.fullmatch, [*folders, *files]):
                yield Path(folder, name)
