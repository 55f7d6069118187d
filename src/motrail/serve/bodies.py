"""Bodies of requests, into memory or into a file, never more than is allowed and never forever."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from typing import TYPE_CHECKING

from motrail.serve.problems import Problem, bad_request, busy, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request

_KEEP_FREE = 256 << 20
"""Bytes of the disk that uploads leave alone."""


class Memory:
    """Bytes that bodies of all requests may take together.

    Args:
        limit: How many.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    @contextlib.contextmanager
    def lent(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that takes so many bytes, which come back at the end of the block."""
        taken = 0

        def take(length: int) -> None:
            nonlocal taken
            if length > self._left:
                raise busy()
            self._left -= length
            taken += length

        try:
            yield take
        finally:
            self._left += taken


async def read_body(
    request: Request, *, limit: int, seconds: float, take: Callable[[int], None] | None = None
) -> bytes:
    """The whole body.

    Args:
        request: Whose.
        limit: The most bytes that are taken.
        seconds: Time in which it has to have arrived.
        take: Told of the bytes that come, before they are kept; see `Memory`.

    Raises:
        Problem: 413, 408, or 400 where it is not what its length says; 503 where `take` has no
            room for it.
    """
    parts = []
    async for part in _parts(request, limit, seconds):
        if take is not None:
            take(len(part))
        parts.append(part)
    return b"".join(parts)


async def save_body(request: Request, path: Path, *, limit: int, seconds: float) -> int:
    """Write the body into a file; gives its length in bytes.

    Raises:
        Problem: 413, 408, 400; 507 where the disk has no room for it.
    """
    announced = int(request.headers.get("content-length") or 0)
    if shutil.disk_usage(path.parent).free < announced + _KEEP_FREE:
        raise Problem(507, "no_space", "the server has no room for this; try again later")
    length = 0
    try:
        with path.open("wb") as file:
            async for part in _parts(request, limit, seconds):
                await asyncio.to_thread(file.write, part)
                length += len(part)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Problem(507, "no_space", f"the body cannot be kept: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return length


async def _parts(request: Request, limit: int, seconds: float) -> AsyncIterator[bytes]:
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise Problem(415, "encoded", "content encoding: expected none, for it could be a bomb")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise bad_request("content-length: expected a number of bytes")
    if int(announced) > limit:
        raise too_large("body", f"{limit} bytes")
    deadline = time.monotonic() + seconds
    length = 0
    stream = request.stream().__aiter__()
    while True:
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                part = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem(
                408,
                "too_slow",
                f"the body did not arrive within {seconds:g} s",
                {"Connection": "close"},
            ) from None
        length += len(part)
        if length > limit:
            raise too_large("body", f"{limit} bytes")
        if part:
            yield part
