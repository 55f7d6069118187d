"""Put rows aside that may be more than memory holds."""

from __future__ import annotations

import json
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.formats.labels import Coded
from motrail.outputs import writing

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Spool:
    """Bytes put aside: in memory up to a limit, beyond it in a temporary file.

    Args:
        memory: The limit in bytes.
    """

    def __init__(self, memory: int) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=memory)  # noqa: SIM115
        self._end = 0
        weakref.finalize(self, self._file.close)

    def put(self, data: bytes) -> int:
        """Put data aside.

        Returns:
            Where it is.

        Raises:
            OutputError: The disk that holds temporary files is full.
        """
        start = self._end
        with writing(tempfile.gettempdir()):
            self._file.seek(start)
            self._file.write(data)
        self._end += len(data)
        return start

    def get(self, start: int, size: int) -> bytes:
        """What was put there."""
        self._file.seek(start)
        return self._file.read(size)


class Lines:
    """A column of JSON texts, of which each is parsed once."""

    def __init__(self) -> None:
        self.size = 0
        self._known: dict[bytes, int] = {}
        self._codes: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]

    def add(self, count: int, data: bytes) -> None:
        """Add rows; no data at all stands for rows without text."""
        if not data:
            self._codes.append(np.full(count, -1, np.int64))
            return
        known = self._known
        codes = []
        for line in data.split(b"\n"):
            if line and line not in known:
                self.size += len(line)
                known[line] = len(known)
            codes.append(known[line] if line else -1)
        self._codes.append(np.array(codes, np.int64))

    def coded(self) -> Coded[Any]:
        """The column."""
        return Coded(np.concatenate(self._codes), tuple(json.loads(line) for line in self._known))


def joined_lines(texts: list[bytes], rows: NDArray[np.int64]) -> bytes:
    """The texts of some rows as `Lines.add` takes them."""
    data = b"\n".join([texts[row] for row in rows.tolist()])
    return data if data.strip(b"\n") else b""
