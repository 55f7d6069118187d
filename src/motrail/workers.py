"""Work spread over processes of our own: started anew, each set up once, deaf to Ctrl-C."""

from __future__ import annotations

import contextlib
import enum
import multiprocessing
import os
import signal
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from motrail.errors import MotrailError

# Nothing heavy is imported here: a worker first says how many threads libraries may start.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    Tell = Callable[[Any], None]

L = TypeVar("L")
J = TypeVar("J")
A = TypeVar("A")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_LOOK_UP = 1.0  # seconds
_PATIENCE = 5.0  # seconds that a process has to end when it is told to


class _Kind(enum.Enum):
    """What a message of a process is."""

    NOTE = 0
    ANSWER = 1


class Failed(NamedTuple):
    """A job that gave no answer.

    Attributes:
        reason: In one line.
        lost: Whether the process ended in the middle of it, as one does that is killed.
        error: Name of the class of the error; empty where there was none.
    """

    reason: str
    lost: bool = False
    error: str = ""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool(Generic[L, J, A]):
    """Processes that do jobs, and end with the context.

    They are started anew rather than forked, so that it is the same on every system; a program
    that uses this begins its work under `if __name__ == "__main__":`.

    Args:
        prepare: Called in each process as soon as it is there, to import what will be needed; gives
            what is called with the load there. That in turn gives what does a job, and is told
            how to report on it. A function of a module, so that the process finds it. What these
            raise is the answer to each job, what the job raises is the answer to that one.
    """

    def __init__(self, prepare: Callable[[], Callable[[L], Callable[[J, Tell], A]]]) -> None:
        self._prepare = prepare
        self._load: tuple[L] | None = None
        self._processes: dict[Connection[Any, Any], BaseProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self, count: int) -> None:
        """Have so many processes from here on.

        Raises:
            MotrailError: No more can be started.
        """
        while len(self._processes) < count:
            self._start()
        surplus = list(self._processes)[count:]
        self._end_these({connection: self._processes.pop(connection) for connection in surplus})

    def set_up(self, load: L) -> None:
        """Give each process, now or later started, what it needs; to be called once."""
        self._load = (load,)
        for connection in self._processes:
            self._send(connection, load)

    @property
    def processes(self) -> list[BaseProcess]:
        """Those that run now."""
        return list(self._processes.values())

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        try:
            with _deaf_to_interrupts():
                process.start()
        except OSError as error:
            ours.close()
            raise MotrailError(
                f"no worker process can be started: {error.strerror or error}; use fewer --workers"
            ) from error
        finally:
            theirs.close()
        self._processes[ours] = process
        self._send(ours, self._prepare)
        if self._load is not None:
            self._send(ours, *self._load)

    @staticmethod
    def _send(connection: Connection[Any, Any], content: Any) -> None:
        with contextlib.suppress(OSError):  # that nobody is there is seen when it should answer
            connection.send(content)

    def _end(self) -> None:
        self._end_these(self._processes)
        self._processes.clear()

    @staticmethod
    def _end_these(processes: dict[Connection[Any, Any], BaseProcess]) -> None:
        for connection, process in processes.items():
            process.terminate()
            connection.close()
        for process in processes.values():
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()

    def run(
        self,
        following: Callable[[J | None], J | None],
        heard: Callable[[J, Any], None] | None = None,
    ) -> Iterator[tuple[J, A | Failed]]:
        """Have jobs done until there are no more.

        Args:
            following: Given the job that a process did last, if any, its next one, or None if there
                is none now; asked again after each answer, for an answer may bring more.
            heard: Told of what a process reports on a job before it is done.

        Yields:
            Each job with its answer, as they come. A process that was lost is replaced.
        """
        busy: dict[Connection[Any, Any], J] = {}
        last: dict[Connection[Any, Any], J] = {}
        while True:
            for connection in list(self._processes):
                if connection in busy:
                    continue
                job = following(last.pop(connection, None))
                if job is None:
                    break
                busy[connection] = last[connection] = job
                self._send(connection, job)
            if not busy:
                return
            ready = wait(list(busy), _LOOK_UP)
            for connection in [each for each in busy if each in ready]:
                kind, content = self._hear(connection)
                if kind is _Kind.NOTE:
                    if heard is not None:
                        heard(busy[connection], content)
                    continue
                yield busy.pop(connection), content

    def _hear(self, connection: Connection[Any, Any]) -> tuple[_Kind, Any]:
        try:
            return connection.recv()  # type: ignore[no-any-return]
        except (EOFError, OSError):
            return _Kind.ANSWER, self._replace(connection)

    def _replace(self, connection: Connection[Any, Any]) -> Failed:
        process = self._processes.pop(connection)
        connection.close()
        process.join(_LOOK_UP)
        self._start()
        return Failed(
            f"a worker process ended before its work was done (exit code {process.exitcode}); "
            "is there enough memory? --workers 1 needs the least",
            lost=True,
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
    """What a process does until it is ended or nobody listens any more."""
    for name in _THREADS:  # there is a process for every core already
        os.environ.setdefault(name, "1")
    with contextlib.suppress(EOFError, OSError):
        prepare = connection.recv()
        make = work = trouble = None
        try:
            make = prepare()
        except Exception as error:  # noqa: BLE001  (it is told to who wants work done)
            trouble = _failed(error)
        load = connection.recv()
        try:
            work = None if make is None else make(load)
        except Exception as error:  # noqa: BLE001  (it is told to who wants work done)
            trouble = _failed(error)

        def tell(note: Any) -> None:
            try:
                connection.send((_Kind.NOTE, note))
            except OSError as error:
                raise _ParentGoneError from error

        while True:
            job = connection.recv()
            try:
                answer = trouble if work is None else work(job, tell)
            except _ParentGoneError:
                return
            except Exception as error:  # noqa: BLE001  (it is told to who wants work done)
                answer = _failed(error)
            connection.send((_Kind.ANSWER, answer))


class _ParentGoneError(Exception):
    """Nobody listens any more."""


def _failed(error: Exception) -> Failed:
    name = type(error).__name__
    if isinstance(error, MotrailError):
        return Failed(str(error), error=name)
    if isinstance(error, MemoryError):
        return Failed("there is not enough memory; use fewer --workers", error=name)
    return Failed(f"{name}: {error}", error=name)
