"""Pictures that were decoded and scaled once, kept in memory."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARE = 0.25
"""Of the memory that this process may have: what the pictures take unless told otherwise."""
_UNKNOWN = 4 << 30
_CGROUP = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class PictureCache:
    """Holds pictures up to a number of bytes; what does not fit is not kept.

    Pictures are drawn at random, so that none is worth more than another and none is ever thrown
    out. The memory belongs to no file: the system takes it back however the process ends, and it
    is touched only as it fills. Threads may share it.

    Args:
        sizes: Width and height of each picture as it will be kept, int, shape (n, 2).
        limit: Bytes of pictures to keep, at most.

    Attributes:
        used: Bytes kept so far.

    Raises:
        ConfigError: The limit makes no sense, or the system does not grant so much.
    """

    def __init__(self, sizes: NDArray[np.integer], limit: int) -> None:
        if limit < 0:
            raise ConfigError(f"cache: expected 0 bytes or more, found {limit}")
        self._sizes = sizes.astype(np.int64)
        room = min(int(self._sizes.prod(axis=1).sum()) * 3, limit)
        self._memory = _reserve(room)
        self._starts = np.full(len(sizes), -1, np.int64)
        self._lock = threading.Lock()
        self._room = room
        self.used = 0

    def __len__(self) -> int:
        """How many pictures are kept."""
        return int((self._starts >= 0).sum())

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """A picture that is kept: read-only, uint8, shape (height, width, 3); else None."""
        start = int(self._starts[index])
        return None if start < 0 else self._view(index, start)

    def put(self, index: int, image: NDArray[np.uint8]) -> None:
        """Keep a picture of the size told before, if there is room."""
        with self._lock:
            start = self.used
            if self._starts[index] >= 0 or start + image.size > self._room:
                return
            self.used += image.size
        view = self._view(index, start)
        view.setflags(write=True)
        view[:] = image
        # Last: from here on others read it.
        self._starts[index] = start

    def _view(self, index: int, start: int) -> NDArray[np.uint8]:
        width, height = self._sizes[index].tolist()
        view = np.frombuffer(self._memory, np.uint8, height * width * 3, start)
        view.setflags(write=False)
        return view.reshape(height, width, 3)


def _reserve(room: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, max(room, 1))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cache: expected a size that the system grants, found {room / 1e9:.1f} GB: {error}; "
            "give a smaller --cache-gb"
        ) from None


def default_limit() -> int:
    """A quarter of the memory that this process may have, in bytes."""
    return int(_memory() * SHARE)


def _memory() -> int:
    try:
        known = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        known = _UNKNOWN
    for path in _CGROUP:  # a container may have less than its machine
        try:
            known = min(known, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return known
