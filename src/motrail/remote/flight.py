"""Several requests under way at a time."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from motrail.remote.problems import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

_LOOK_AGAIN = 0.1  # seconds


def in_flight(
    send: Callable[[T], R], items: Iterable[T], count: int, abort: Callable[[], None]
) -> Generator[tuple[T, R]]:
    """Apply `send` to items in threads; the answers come in the order of the items.

    Unlike `motrail.pipeline.in_order` it does not wait for what is under way when an error, an
    interrupt or the reader ends it: a server may take long to answer.

    Args:
        send: Sends a request and waits for its answer.
        items: What to send.
        count: How many are under way at a time.
        abort: Makes requests that are under way fail.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    ended = threading.Event()

    def work(item: T) -> R:
        if ended.is_set():
            raise RemoteError("given up")
        return send(item)

    def first() -> tuple[T, R]:
        item, answer = waiting[0]
        result = answer.result()
        waiting.popleft()
        return item, result

    pool = ThreadPoolExecutor(count, thread_name_prefix="motrail-remote")
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > 2 * count:
                yield first()
        while waiting:
            yield first()
    except BaseException:
        ended.set()
        _give_up([answer for _, answer in waiting], abort)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _give_up(answers: Iterable[Future[R]], abort: Callable[[], None]) -> None:
    left = {answer for answer in answers if not answer.cancel()}
    while left:
        abort()  # again and again, for some may only just begin
        left = wait(left, _LOOK_AGAIN).not_done
