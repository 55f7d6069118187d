"""Processes that do jobs: answers, reports, losses and ends."""

from __future__ import annotations

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


def make_none(load: str) -> Callable[[Any, Callable[[Any], None]], Any]:
    raise MotrailError(f"no {load} here")


def one_by_one(jobs: list[Any]) -> Callable[[], Any]:
    waiting: Iterator[Any] = iter(jobs)
    return lambda: next(waiting, None)


def test_every_job_is_answered_and_reports_are_heard() -> None:
    heard = []
    with Pool[Any, Any](make, 100, 2) as pool:
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
    with Pool[Any, Any](make, 1, 1) as pool:
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


def test_what_cannot_be_set_up_answers_every_job() -> None:
    with Pool[Any, Any](make_none, "model", 1) as pool:
        answers = list(pool.run(one_by_one([1, 2])))
    assert [answer for _, answer in answers] == [Failed("no model here", error="MotrailError")] * 2


def test_a_job_may_bring_another() -> None:
    jobs = [1]
    found = []
    with Pool[Any, Any](make, 0, 1) as pool:
        for job, answer in pool.run(lambda: jobs.pop() if jobs else None):
            found.append(answer)
            if job < 3:
                jobs.append(job + 1)
    assert found == [1, 2, 3]


def test_a_process_that_is_lost_is_replaced() -> None:
    with Pool[Any, Any](make, 0, 1) as pool:
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
    with pytest.raises(KeyError, match="asleep"), Pool[Any, Any](make, 0, 1) as pool:
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
    with pytest.raises(MotrailError, match=message), Pool[Any, Any](make, 0, 1):
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
