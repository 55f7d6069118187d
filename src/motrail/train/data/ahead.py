"""Work done ahead by threads, handed out in order."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import cv2

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Future

T = TypeVar("T")
G = TypeVar("G")

MAX_WORKERS = 256
_AHEAD = 2
_MOST_CHOSEN = 8


class Shard(NamedTuple):
    """Which part of the pictures this process works on.

    Attributes:
        rank: Number of this process, from 0.
        world: How many processes there are.
    """

    rank: int = 0
    world: int = 1

    def check(self) -> None:
        """See that it is one.

        Raises:
            ConfigError: It is none.
        """
        if not 0 <= self.rank < self.world:
            raise ConfigError(
                f"rank: expected 0 to {self.world - 1} for a world of {self.world}, "
                f"found {self.rank}"
            )


def check_counts(batch: int, workers: int | None) -> int:
    """How many threads to use, after looking at what was asked for.

    Raises:
        ConfigError: `batch` or `workers` makes no sense.
    """
    if batch < 1:
        raise ConfigError(f"batch: expected 1 or more, found {batch}")
    if workers is None:
        return max(1, min(_cores() // 2, _MOST_CHOSEN))
    if not 0 <= workers <= MAX_WORKERS:
        raise ConfigError(f"workers: expected from 0 to {MAX_WORKERS}, found {workers}")
    return workers


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not everywhere
        return os.cpu_count() or 1


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """OpenCV works in the thread that calls it: the network needs the other cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def ahead(
    groups: Iterator[tuple[G, Sequence[Callable[[], T]]]], workers: int
) -> Generator[tuple[G, list[T]]]:
    """Do groups of tasks, two groups ahead of what is asked for.

    Threads and not processes: decoding, scaling and warping run without Python's lock, nothing is
    copied between them, and none of them outlives the program.

    Args:
        groups: Each with something of its own that is handed on.
        workers: Threads; 0 works when asked, in the caller's.

    Yields:
        What was handed on, and the answers of the group's tasks; groups and answers in order.

    Raises:
        Exception: What a task raised, when its group is due.
    """
    with _one_thread_each():
        if workers == 0:
            for own, tasks in groups:
                yield own, [task() for task in tasks]
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="motrail-data")
        waiting: deque[tuple[G, list[Future[T]]]] = deque()
        try:
            for own, tasks in groups:
                waiting.append((own, [pool.submit(task) for task in tasks]))
                if len(waiting) > _AHEAD:
                    yield _answers(waiting.popleft())
            while waiting:
                yield _answers(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _answers(group: tuple[G, list[Future[T]]]) -> tuple[G, list[T]]:
    own, futures = group
    return own, [future.result() for future in futures]
