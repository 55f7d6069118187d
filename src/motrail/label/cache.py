"""Bytes that are kept for a while, never more than so many."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

K = TypeVar("K", bound="Hashable")


class ByteCache(Generic[K]):
    """Keeps what was asked for last.

    Args:
        limit: Bytes in all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[K, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def get(self, key: K) -> bytes | None:
        """What was put, if it is still there."""
        with self._lock:
            data = self._items.get(key)
            if data is not None:
                self._items.move_to_end(key)
            return data

    def put(self, key: K, data: bytes) -> None:
        """Keep something; what was asked for longest ago goes."""
        with self._lock:
            self._size += len(data) - len(self._items.pop(key, b""))
            self._items[key] = data
            while self._size > self._limit:
                self._size -= len(self._items.popitem(last=False)[1])
