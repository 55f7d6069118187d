"""One search at a time in a folder."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from motrail.errors import OutputError
from motrail.outputs import writing

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out; the system lets go of it when this one ends, however it ends.

    Args:
        path: A file that is there to be kept for oneself; beside it lies the lock.

    Raises:
        OutputError: Another process has it.
    """
    place = path.with_name(f".{path.name}.lock")
    with writing(place):
        file = place.open("a")
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputError(
                    f"{path.parent}: another process searches in this folder; wait for it, or "
                    "choose another folder with -o"
                ) from error
        yield
