"""Processes that do jobs: answers, reports, losses and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from motrail.errors import ConfigError, MotrailError
from motrail.workers import Failed, Pool, cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUCK = 60  # seconds after which a process counts as stuck


class Unspeakable(Exception):
    """Cannot be sent from process to process."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one} and {two}")


def make(load: int) -> Callable[[Any, Callable[[Any], None]], Any]:
    """Does what the job says; `load` is added to numbers."""

    def work(job: Any, tell: Callable[[Any], None]) -> Any:
        match job:
            case int():
                tell(job)
                return load + job
            case "threads":
                return os.environ["OMP_NUM_THREADS"]
            case "pid":
                return os.getpid()
            case "refuse":
                raise ConfigError("not like this")
            case "fault":
                raise Unspeakable("one", "two")
            case "memory":
                raise MemoryError
            case "exit":
                os._exit(7)
            case "sleep":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                tell("asleep")
                time.sleep(STUCK)
        return None

    return work


def prepare() -> Any:
    return make


def prepare_refusing() -> Any:
    def refuse(load: str) -> Any:
        raise MotrailError(f"no {load} here")

    return refuse


def prepare_without_a_package() -> Any:
    raise MotrailError("no package here")


@contextlib.contextmanager
def pool_of(count: int, load: int) -> Iterator[Pool[int, Any, Any]]:
    with Pool[int, Any, Any](prepare) as pool:
        pool.start(count)
        pool.set_up(load)
        yield pool


def one_by_one(jobs: list[Any]) -> Callable[[Any], Any]:
    waiting: Iterator[Any] = iter(jobs)
    return lambda _last: next(waiting, None)


def test_every_job_is_answered_and_reports_are_heard() -> None:
    heard = []
    with pool_of(2, 100) as pool:
        assert len(pool.processes) == 2
        assert len({process.pid for process in pool.processes} | {os.getpid()}) == 3
        answers = dict(pool.run(one_by_one([1, 2, 3, 4, 5]), lambda *note: heard.append(note)))
        again = dict(pool.run(one_by_one([6])))
        running = pool.processes
    assert answers == {1: 101, 2: 102, 3: 103, 4: 104, 5: 105}
    assert sorted(heard) == [(n, n) for n in (1, 2, 3, 4, 5)]
    assert again == {6: 106}
    assert not any(process.is_alive() for process in running)


def test_errors_are_answers_and_the_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    jobs = ["pid", "refuse", "fault", "memory", "threads", 1]
    with pool_of(1, 1) as pool:
        process = pool.processes[0].pid
        answers = list(pool.run(one_by_one(jobs)))
    assert answers == [
        ("pid", process),
        ("refuse", Failed("not like this", error="ConfigError")),
        ("fault", Failed("Unspeakable: one and two", error="Unspeakable")),
        ("memory", Failed("there is not enough memory; use fewer --workers", error="MemoryError")),
        ("threads", "1"),
        (1, 2),
    ]


@pytest.mark.parametrize(
    ("unfit", "reason"),
    [(prepare_refusing, "no model here"), (prepare_without_a_package, "no package here")],
)
def test_what_cannot_be_set_up_answers_every_job(unfit: Callable[[], Any], reason: str) -> None:
    with Pool[str, Any, Any](unfit) as pool:
        pool.start(1)
        pool.set_up("model")
        answers = list(pool.run(one_by_one([1, 2])))
    assert [answer for _, answer in answers] == [Failed(reason, error="MotrailError")] * 2


def test_processes_may_start_before_it_is_known_how_many_and_for_what() -> None:
    with Pool[int, Any, Any](prepare) as pool:
        pool.start(3)
        early = pool.processes
        pool.start(1)
        assert [process.is_alive() for process in early] == [True, False, False]
        pool.set_up(10)
        pool.start(2)
        assert pool.processes[0] is early[0]
        assert dict(pool.run(one_by_one([1, 2, 3]))) == {1: 11, 2: 12, 3: 13}


def test_who_asks_for_a_job_is_known_by_its_last() -> None:
    asked = []

    def following(last: int | None) -> int | None:
        asked.append(last)
        return None if last == 3 else (last or 0) + 1

    with pool_of(1, 0) as pool:
        list(pool.run(following))
    assert asked == [None, 1, 2, 3]


def test_a_job_may_bring_another() -> None:
    jobs = [1]
    found = []
    with pool_of(1, 0) as pool:
        for job, answer in pool.run(lambda _last: jobs.pop() if jobs else None):
            found.append(answer)
            if job < 3:
                jobs.append(job + 1)
    assert found == [1, 2, 3]


def test_a_process_that_is_lost_is_replaced() -> None:
    with pool_of(1, 0) as pool:
        before = pool.processes[0]
        (lost,) = [answer for _, answer in pool.run(one_by_one(["exit"]))]
        assert lost == Failed(
            "a worker process ended before its work was done (exit code 7); is there enough "
            "memory? --workers 1 needs the least",
            lost=True,
        )
        # Killed while it has nothing to do: the next job is lost, the one after is done.
        os.kill(pool.processes[0].pid or 0, signal.SIGKILL)
        pool.processes[0].join()
        answers = list(pool.run(one_by_one([1, 2])))
        assert [pool.processes[0].pid != before.pid, len(pool.processes)] == [True, 1]
    assert isinstance(answers[0][1], Failed)
    assert answers[0][1].lost
    assert "exit code -9" in answers[0][1].reason
    assert answers[1] == (2, 2)


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motrail.workers._PATIENCE", 0.1)
    with pytest.raises(KeyError, match="asleep"), pool_of(1, 0) as pool:
        process = pool.processes[0]

        def heard(_job: Any, note: Any) -> None:
            raise KeyError(note)

        list(pool.run(one_by_one(["sleep"]), heard))
    assert process.exitcode == -signal.SIGKILL


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_self: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", start)
    message = "no worker process can be started: Resource temporarily unavailable; use fewer"
    with pytest.raises(MotrailError, match=message), pool_of(1, 0):
        pytest.fail("it was started")


def test_cores_are_those_this_process_may_use() -> None:
    assert cores() >= 1
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert cores() == 1
        finally:
            os.sched_setaffinity(0, before)
