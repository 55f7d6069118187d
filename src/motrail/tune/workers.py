"""Trying settings on all cores: processes that hold the sequences and answer with scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from motrail.errors import DataError, MotrailError
from motrail.workers import Failed, Pool

# Nothing heavy is imported here: a worker first says how many threads libraries may start.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from motrail.evaluate.protocol import Protocol as Scoring
    from motrail.evaluate.run import Score
    from motrail.tune.cases import Case
    from motrail.tune.space import Sections
    from motrail.workers import Tell

    Load = tuple[Sequence[Case], Scoring]


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

    Args:
        cases: The sequences; each process gets them once.
        protocol: By which results are scored.
        count: Number of processes.
    """

    def __init__(self, cases: Sequence[Case], protocol: Scoring, count: int) -> None:
        self.pool: Pool[Load, tuple[int, Job], Score] = Pool(_prepare)
        self._load: Load = (list(cases), protocol)
        self._count = count

    def __enter__(self) -> Self:
        try:
            self.pool.start(self._count)
            self.pool.set_up(self._load)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.__exit__()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Score]]:
        """See `Workers`."""
        left = iter(enumerate(jobs))
        for (index, _), answer in self.pool.run(lambda _last: next(left, None)):
            if isinstance(answer, Failed):
                raise (MotrailError if answer.lost else DataError)(answer.reason)
            yield index, answer


def _prepare() -> Callable[[Load], Callable[[tuple[int, Job], Tell], Score]]:
    """What gives a process what it does with a job."""
    from motrail.tune.cases import evaluate_case

    def make(load: Load) -> Callable[[tuple[int, Job], Tell], Score]:
        cases, protocol = load

        def work(numbered: tuple[int, Job], _tell: Tell) -> Score:
            case, settings = numbered[1]
            try:
                return evaluate_case(cases[case], settings, protocol)
            except MotrailError as error:
                raise DataError(f"{cases[case].name}: {error}") from error

        return work

    return make
