"""Find the tracker settings that score best on your labels, and say whether that holds."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from motrail.config import Settings
from motrail.dataset.footage import silent
from motrail.errors import ConfigError
from motrail.evaluate.protocol import Protocol
from motrail.outputs import output_folder
from motrail.tune.answers import Answers
from motrail.tune.cases import check_rates, read_cases
from motrail.tune.folds import Check, Outcome, Split, make_folds, make_splits
from motrail.tune.search import Goal, Search, Trial, load_optuna, run_searches, settle
from motrail.tune.space import Space
from motrail.tune.store import Store
from motrail.tune.workers import Job, Processes, ThisProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.tune.cases import Case
    from motrail.tune.space import Sections
    from motrail.tune.workers import Workers

STORE = "trials.sqlite"


@dataclass(frozen=True)
class TuneOptions:
    """How to search.

    Attributes:
        goal: The metric that is to be as high as possible.
        trials: How many settings are tried; the first are those the search starts from.
        folds: In how many parts the sequences are divided to check the gain; 0 for no check.
        hold_out: In place of folds, hold out so many sequences at a time …
        splits: … in so many ways; None for all.
        seed: Of everything that is drawn.
        refine: Whether `[refine]` is searched too.
        workers: Processes that try settings; 1 for none but this one.

    Raises:
        ConfigError: A value is out of range.
    """

    goal: Goal = "HOTA"
    trials: int = 100
    folds: int = 4
    hold_out: int | None = None
    splits: int | None = None
    seed: int = 1
    refine: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        if self.goal not in get_args(Goal):
            known = ", ".join(get_args(Goal))
            raise ConfigError(f"goal: expected one of {known}, found {self.goal!r}")
        for name, low, high in (
            ("trials", 1, 100_000),
            ("seed", 0, 2**32 - 1),
            ("workers", 1, 1024),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}: expected {low} to {high}, found {value}")
        if self.splits is not None and self.hold_out is None:
            raise ConfigError("splits: expected together with hold_out, which says how many")

    def divide(self, count: int) -> list[Split]:
        """The splits of so many sequences."""
        if self.hold_out is not None:
            return make_splits(count, self.hold_out, self.splits, self.seed)
        return make_folds(count, self.folds, self.seed)


class Origin(NamedTuple):
    """What was tuned on, as it was named.

    Attributes:
        detections: A folder or a file.
        truth: A dataset, one of its splits, or labels.
    """

    detections: Path
    truth: Path


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes:
        origin: What was tuned on.
        options: How it was done.
        protocol: By which was scored.
        names: Of the sequences.
        space: What was searched.
        trials: All that was tried on all sequences.
        best: The one with the surest gain.
        importances: How much of the differences among good trials each setting explains.
        check: What it is worth on sequences that were not tuned on.
        computed: Number of scores, of one sequence each, that were computed.
        found: Number of scores that were known from before.
        notes: What the user should know, with how often.
    """

    origin: Origin
    options: TuneOptions
    protocol: Protocol
    names: tuple[str, ...]
    space: Space
    trials: tuple[Trial, ...]
    best: Trial
    importances: Mapping[str, float]
    check: Check
    computed: int
    found: int
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def base(self) -> Trial:
        """The settings that the search started from."""
        return self.trials[0]

    @property
    def highest(self) -> Trial:
        """The trial with the highest value, the first of several, however sure it is."""
        return max(self.trials, key=lambda trial: trial.value)

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """`section.key` → old and new value."""
        return self.space.changes(self.best.settings)


def tune_tracker(
    detections: Path,
    truth: Path,
    output: Path,
    base: Settings | None = None,
    options: TuneOptions | None = None,
    *,
    protocol: Protocol | None = None,
    progress: Progress = silent,
) -> Tuning:
    """Search for the tracker settings that score best on your labels.

    The same arguments give the same answer, on any number of cores. What settings score is kept in
    `output`, so that a search that was cut off goes on where it stopped.

    Args:
        detections: A folder of `<sequence>.txt`, or one file.
        truth: A dataset, one of its splits, or labels in any format; pictures are not needed.
        output: A folder, which may hold an earlier search.
        base: Settings to start from and to compare with; left out, the defaults. What is not
            searched keeps their values, `[refine]` too unless the options say so.
        options: How to search.
        protocol: Decides what counts.
        progress: Told of the trials.

    Raises:
        ConfigError: Options make no sense for this data.
        DataError: There is nothing to tune on.
        FormatError: A file is not as its format asks, or names do not fit together.
        MissingExtraError: Optuna is not installed.
        OutputError: The folder cannot be written to.
    """
    base = base or Settings()
    options, protocol = options or TuneOptions(), protocol or Protocol()
    load_optuna()
    notes: Counter[str] = Counter()
    cases = read_cases(detections, truth, protocol, notes)
    check_rates(cases, base.tracker)
    splits = options.divide(len(cases))
    space = Space(base.tracker, base.refine, search_refine=options.refine)
    whole = range(len(cases))
    searches = [
        Search(space, tuned_on, options.goal, options.seed)
        for tuned_on in (whole, *(split.tuned_on for split in splits))
    ]
    with (
        Store(output_folder(output) / STORE) as store,
        _workers(cases, protocol, options.workers) as workers,
    ):
        answers = Answers(cases, protocol, store, workers)
        run_searches(searches, options.trials, answers, progress)
        settle(searches, space, answers, progress)
        outcomes = _hold_out(splits, searches[1:], space, answers)
    names = tuple(case.name for case in cases)
    return Tuning(
        Origin(detections, truth),
        options,
        protocol,
        names,
        space,
        tuple(searches[0].trials),
        searches[0].best,
        searches[0].importances(),
        Check.of(outcomes, names, options.goal, protocol),
        answers.computed,
        answers.found,
        notes,
    )


@contextlib.contextmanager
def _workers(cases: Sequence[Case], protocol: Protocol, count: int) -> Iterator[Workers]:
    if count == 1:
        yield ThisProcess(cases, protocol)
        return
    with Processes(cases, protocol, count) as processes:
        yield processes


def _hold_out(
    splits: Sequence[Split], searches: Sequence[Search], space: Space, answers: Answers
) -> list[Outcome]:
    """What the best settings of each search score on the sequences it was not made on."""
    both: list[tuple[Split, Search, Sections]] = [
        (split, search, search.best.settings)
        for split, search in zip(splits, searches, strict=True)
    ]
    answers.fetch(
        Job(case, settings)
        for split, _, best in both
        for settings in (space.base, best)
        for case in split.held_out
    )
    return [
        Outcome(
            split,
            best,
            search.trials[0].value,
            search.best.value,
            tuple(answers.score(case, space.base) for case in split.held_out),
            tuple(answers.score(case, best) for case in split.held_out),
        )
        for split, search, best in both
    ]
