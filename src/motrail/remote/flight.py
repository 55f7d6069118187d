"""Several requests under way at a time."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeVar

from motrail.remote.problems import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

T = TypeVar("T")
R = TypeVar("R")

_LOOK_AGAIN = 0.1  # seconds


def in_flight(
    send: Callable[[Sequence[T]], Sequence[R]],
    items: Iterable[T],
    count: int,
    abort: Callable[[], None],
    *,
    together: int = 1,
    joins: Callable[[T, T], bool] | None = None,
) -> Generator[tuple[T, R]]:
    """Apply `send` to items in threads; the answers come in the order of the items.

    An item is sent as soon as a request may begin. Where items come faster than they are sent,
    those that wait then go together; so nothing is ever held back to fill a request.

    Unlike `motrail.pipeline.in_order` it does not wait for what is under way when an error, an
    interrupt or the reader ends it: a server may take long to answer.

    Args:
        send: Sends some of the items, in their order, and waits for their answers.
        items: What to send.
        count: How many requests are under way at a time.
        abort: Makes requests that are under way fail.
        together: The most items of a request.
        joins: Whether an item may go with the one before it; any may if left out.
    """
    unsent = _Unsent[T, R](together, joins or (lambda _one, _other: True))
    waiting: deque[tuple[T, Future[R]]] = deque()

    def first() -> tuple[T, R]:
        item, answer = waiting[0]
        result = answer.result()
        waiting.popleft()
        return item, result

    pool = ThreadPoolExecutor(count, thread_name_prefix="motrail-remote")
    most = max(2 * count, (count + 1) * together)
    try:
        for item in items:
            waiting.append((item, unsent.add(item)))
            pool.submit(unsent.send, send)
            if len(waiting) > most:
                yield first()
        while waiting:
            yield first()
    except BaseException:
        unsent.ended.set()
        _give_up([answer for _, answer in waiting], abort)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Unsent(Generic[T, R]):
    """Items that wait for a thread.

    Args:
        together: The most that are sent in one go.
        joins: Whether an item may go with the one before it.
    """

    def __init__(self, together: int, joins: Callable[[T, T], bool]) -> None:
        self.ended = threading.Event()
        self._together, self._joins = together, joins
        self._items: deque[tuple[T, Future[R]]] = deque()
        self._lock = threading.Lock()

    def add(self, item: T) -> Future[R]:
        answer: Future[R] = Future()
        with self._lock:
            self._items.append((item, answer))
        return answer

    def send(self, send: Callable[[Sequence[T]], Sequence[R]]) -> None:
        """Send the next ones; nothing where an earlier call took the last along."""
        group = [pair for pair in self._next() if pair[1].set_running_or_notify_cancel()]
        if not group:
            return
        try:
            if self.ended.is_set():
                raise RemoteError("given up")
            answers = send([item for item, _ in group])
            for (_, future), answer in zip(group, answers, strict=True):
                future.set_result(answer)
        except BaseException as error:  # noqa: BLE001  (it is raised where the answer is used)
            for _, future in group:
                if not future.done():
                    future.set_exception(error)

    def _next(self) -> list[tuple[T, Future[R]]]:
        group: list[tuple[T, Future[R]]] = []
        with self._lock:
            while self._items and len(group) < self._together:
                if group and not self._joins(group[-1][0], self._items[0][0]):
                    break
                group.append(self._items.popleft())
        return group


def _give_up(answers: Iterable[Future[R]], abort: Callable[[], None]) -> None:
    left = {answer for answer in answers if not answer.cancel()}
    while left:
        abort()  # again and again, for some may only just begin
        left = wait(left, _LOOK_AGAIN).not_done
