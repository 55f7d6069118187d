"""Trying settings on all cores: processes that hold the sequences and answer with scores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from motrail.errors import DataError, MotrailError

# Nothing heavy is imported here: a worker first says how many threads libraries may start.

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from motrail.evaluate.protocol import Protocol as Scoring
    from motrail.evaluate.run import Score
    from motrail.tune.cases import Case
    from motrail.tune.space import Sections

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_LOOK_UP = 1.0  # seconds


class Job(NamedTuple):
    """Settings to be tried on a sequence.

    Attributes:
        case: Index of the sequence.
        settings: All of them.
    """

    case: int
    settings: Sections


class Workers(Protocol):
    """Who tries settings."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """Index of each job and its score, in any order.

        Raises:
            MotrailError: A job cannot be done.
        """
        ...


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThisProcess:
    """Tries settings one after the other, here.

    Args:
        cases: The sequences.
        protocol: By which results are scored.
    """

    def __init__(self, cases: Sequence[Case], protocol: Scoring) -> None:
        self._cases = cases
        self._protocol = protocol

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """See `Workers`."""
        from motrail.tune.cases import evaluate_case

        for index, job in enumerate(jobs):
            yield index, evaluate_case(self._cases[job.case], job.settings, self._protocol)


class Processes:
    """Tries settings in processes of their own, which end with the context.

    They are started anew rather than forked, so that it is the same on every system; a program
    that uses this begins its work under `if __name__ == "__main__":`.

    Args:
        cases: The sequences; each process gets them once.
        protocol: By which results are scored.
        count: Number of processes.
    """

    def __init__(self, cases: Sequence[Case], protocol: Scoring, count: int) -> None:
        self._load = (list(cases), protocol)
        self._count = count
        self._workers: dict[Connection[Any, Any], BaseProcess] = {}

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        try:
            with _deaf_to_interrupts():
                for _ in range(self._count):
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_serve, args=(theirs,), daemon=True)
                    process.start()
                    theirs.close()
                    self._workers[ours] = process
            for connection in self._workers:
                self._send(connection, self._load)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        for connection, process in self._workers.items():
            process.terminate()
            connection.close()
        for process in self._workers.values():
            process.join()
        self._workers.clear()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """See `Workers`."""
        left = iter(enumerate(jobs))
        busy: dict[Connection[Any, Any], int] = {}
        for connection, (index, job) in zip(self._workers, left, strict=False):
            self._send(connection, job)
            busy[connection] = index
        while busy:
            ready = wait(list(busy), _LOOK_UP)
            for connection in [c for c in busy if c in ready]:
                answer = self._receive(connection)
                index = busy.pop(connection)
                following = next(left, None)
                if following is not None:
                    self._send(connection, following[1])
                    busy[connection] = following[0]
                yield index, answer

    def _send(self, connection: Connection[Any, Any], what: object) -> None:
        try:
            connection.send(what)
        except OSError:
            raise self._lost(connection) from None

    def _receive(self, connection: Connection[Any, Any]) -> Score:
        try:
            trouble, answer = connection.recv()
        except (EOFError, OSError):
            raise self._lost(connection) from None
        if trouble is not None:
            raise DataError(trouble)
        return answer  # type: ignore[no-any-return]

    def _lost(self, connection: Connection[Any, Any]) -> MotrailError:
        process = self._workers[connection]
        process.join(_LOOK_UP)
        return MotrailError(
            f"a worker process ended before its work was done (exit code {process.exitcode}); "
            "is there enough memory? --workers 1 tries without any"
        )


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in here do not hear Ctrl-C, which the terminal sends to all of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would lift the mask if it were started inside
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection[Any, Any]) -> None:
    """What a worker process does until it is ended or nobody listens any more."""
    for name in _THREADS:  # there is a process for every core already
        os.environ.setdefault(name, "1")
    from motrail.tune.cases import evaluate_case

    with contextlib.suppress(EOFError, OSError):
        cases, protocol = connection.recv()
        while True:
            case, settings = connection.recv()
            try:
                answer = (None, evaluate_case(cases[case], settings, protocol))
            except MotrailError as error:
                connection.send((f"{cases[case].name}: {error}", None))
            else:
                connection.send(answer)
