"""The search: tree-structured Parzen estimators of Optuna, several searches side by side.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011. They begin around the
settings that are there, and every second trial is a near relation of the best so far.

Trials are asked for in rounds of a fixed size, and answers are told in the order of the trials, so
that the same seed gives the same trials on any number of cores, and when a search is taken up
again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from motrail.errors import MissingExtraError
from motrail.evaluate.run import Score
from motrail.tune.answers import unheard
from motrail.tune.workers import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from motrail.dataset.footage import Progress
    from motrail.tune.answers import Answers
    from motrail.tune.space import Dimension, Point, Sections, Space

Goal = Literal["HOTA", "IDF1", "MOTA"]

ROUND = 8
"""Trials that are asked for at a time; more would know less of those before."""
_CAUTION = 2.0
"""Standard errors that are taken off a gain: what is left is there with 95 % confidence or so."""
_GOOD = 8
"""Trials that lend their values to the best."""
_ATTEMPTS = 20
"""How often something new is sought near the best."""
_AT_RANDOM = 16
"""Trials before the estimators have something to go by; most go around the starting point."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that were tried.

    Attributes:
        number: From 0; 0 are the settings the search started from.
        point: Where in the space they are.
        settings: All of them.
        score: Of the sequences of the search, as one.
        value: The goal, in per cent.
        sure: How far it is above that of trial 0, less two standard errors of that; what the search
            makes as high as possible.
    """

    number: int
    point: Point
    settings: Sections
    score: Score
    value: float
    sure: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings to be tried.

    Attributes:
        point: Where in the space they are.
        settings: All of them.
        asked: Optuna's trial; None where the settings are no idea of Optuna's.
    """

    point: Point
    settings: Sections
    asked: Any = None


def value_of(scores: Sequence[Score], goal: Goal) -> float:
    """A metric of several sequences as one, in per cent."""
    return Score.combined(scores).as_dict()[goal]


def sure_gain(before: Sequence[Score], now: Sequence[Score], goal: Goal) -> float:
    """How far a metric of several sequences as one goes up, less two standard errors of that.

    The error is found by leaving out each sequence in turn (the jackknife of Tukey, 1958); of a
    single sequence it is not known, and taken for 0. Among many settings the highest score is
    partly luck; what is good on every sequence is so less.

    Args:
        before: Scores of the sequences under the settings to compare with.
        now: Under those in question, in the same order.
        goal: The metric.

    Returns:
        Points of per cent.
    """
    gain = value_of(now, goal) - value_of(before, goal)
    count = len(now)
    if count < 2:
        return gain
    without = np.array(
        [
            value_of(_without(now, n), goal) - value_of(_without(before, n), goal)
            for n in range(count)
        ]
    )
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    return gain - _CAUTION * error


def _without(scores: Sequence[Score], place: int) -> list[Score]:
    return [*scores[:place], *scores[place + 1 :]]


class Search:
    """A search for the settings that score best on some sequences.

    Args:
        space: What is searched.
        cases: Indices of the sequences.
        goal: The metric that is to be as high as possible.
        seed: Of the trials. Searches of the same seed begin with the same trials.

    Attributes:
        trials: What was tried, in the order of their numbers.
        best: The one with the surest gain, the first of several; after `settle`, with as few
            changes as that takes.

    Raises:
        MissingExtraError: Optuna is not installed.
    """

    def __init__(self, space: Space, cases: Sequence[int], goal: Goal, seed: int) -> None:
        self.cases = tuple(cases)
        self.trials: list[Trial] = []
        self.best: Trial
        self._before: tuple[Score, ...] = ()
        self._draw = random.Random(seed)  # noqa: S311
        self._space = space
        self._goal = goal
        optuna = load_optuna()
        with quiet():
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=_AT_RANDOM, multivariate=True, constant_liar=True, seed=seed
            )
            self.study: Any = optuna.create_study(direction="maximize", sampler=sampler)
            first = list(space.around_start())
            for point in first:
                self.study.enqueue_trial(dict(point))
            self._begun = len(first)
            self._grids = {
                d.name: optuna.distributions.IntDistribution(0, len(d.values) - 1)
                for d in space.dimensions
            }

    def ask(self, count: int) -> list[Proposal]:
        """The next trials: by turns one of the estimators' and one near the best so far."""
        asked = []
        with quiet():
            for turn in range(count):
                if turn % 2 and len(self.trials) >= self._begun:
                    self.study.enqueue_trial(self._near_best())
                asked.append(self.study.ask(self._grids))
        points = [{name: int(index) for name, index in trial.params.items()} for trial in asked]
        return [
            Proposal(point, self._space.settings(point), trial)
            for point, trial in zip(points, asked, strict=True)
        ]

    def _near_best(self) -> dict[str, int]:
        """The best with some of the values of another good trial, and up to two of them moved.

        What makes settings good is often a few of them, each by itself; estimators that move all
        at once are slow to bring these together.
        """
        good = sorted(self.trials, key=lambda trial: -trial.sure)[:_GOOD]
        point = dict(self.best.point)
        for _ in range(_ATTEMPTS):
            other, point = self._draw.choice(good).point, dict(self.best.point)
            for name, index in other.items():
                if self._draw.random() < 0.5:
                    point[name] = index
            for dimension in self._draw.sample(
                self._space.dimensions, self._draw.choice((0, 1, 2))
            ):
                moved = point[dimension.name] + self._draw.choice((-4, -2, -1, 1, 2, 4))
                point[dimension.name] = min(max(moved, 0), len(dimension.values) - 1)
            if all(trial.point != point for trial in self.trials):
                break
        return point

    def ask_without(self, dimension: Dimension) -> list[Proposal]:
        """The best settings with one put back to what it was; nothing if it never changed."""
        best = self.best.point
        if best[dimension.name] == dimension.start:
            return []
        point = {**best, dimension.name: dimension.start}
        return [Proposal(point, self._space.settings(point))]

    def tell(self, proposal: Proposal, scores: Sequence[Score]) -> None:
        """What settings scored on each of the sequences."""
        if not self.trials:
            self._before = tuple(scores)
        trial = Trial(
            len(self.trials),
            proposal.point,
            proposal.settings,
            Score.combined(scores),
            value_of(scores, self._goal),
            sure_gain(self._before, scores, self._goal),
        )
        self.trials.append(trial)
        if proposal.asked is not None:
            with quiet():
                self.study.tell(proposal.asked, trial.sure)
            if len(self.trials) == 1 or trial.sure > self.best.sure:
                self.best = trial
        elif trial.sure >= self.best.sure:
            self.best = trial

    def importances(self) -> dict[str, float]:
        """How much of the differences among good trials each setting explains, summing up to 1.

        Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
        Subspaces", IJCAI 2023.
        """
        if len({trial.sure for trial in self.trials}) < 2:
            return {}
        importance = load_optuna().importance
        with quiet():
            shares = importance.get_param_importances(
                self.study, evaluator=importance.PedAnovaImportanceEvaluator()
            )
        return {name: float(share) for name, share in shares.items()}


def run_searches(
    searches: Sequence[Search], trials: int, answers: Answers, progress: Progress
) -> None:
    """Let searches make their trials, all of them at the same pace.

    Args:
        searches: Fresh ones.
        trials: How many each makes.
        answers: Who knows the scores.
        progress: Told of the trials of all searches.
    """
    total = trials * len(searches)
    progress("tuning", 0, total)
    for start in range(0, trials, ROUND):
        count = min(ROUND, trials - start)
        _try(
            searches,
            [search.ask(count) for search in searches],
            answers,
            functools.partial(_show, progress, len(searches), start, count, total),
        )
        progress("tuning", (start + count) * len(searches), total)


def _show(
    progress: Progress, searches: int, start: int, count: int, total: int, share: float
) -> None:
    progress("tuning", start * searches + int(count * searches * share), total)


def settle(searches: Sequence[Search], space: Space, answers: Answers, progress: Progress) -> None:
    """Put back, one after the other, what changed and brings nothing.

    Such a change is chance, and no reason to leave settings that are known to work.

    Args:
        searches: Ended ones.
        space: What was searched.
        answers: Who knows the scores.
        progress: Told of the settings that were looked at.
    """
    for done, dimension in enumerate(space.dimensions):
        progress("settling", done, len(space.dimensions))
        _try(searches, [search.ask_without(dimension) for search in searches], answers)


def _try(
    searches: Sequence[Search],
    proposals: Sequence[Sequence[Proposal]],
    answers: Answers,
    progress: Callable[[float], None] = unheard,
) -> None:
    """Have proposals scored and tell each search, in its own order."""
    both = list(zip(searches, proposals, strict=True))
    answers.fetch(
        (
            Job(case, proposal.settings)
            for search, proposed in both
            for proposal in proposed
            for case in search.cases
        ),
        progress,
    )
    for search, proposed in both:
        for proposal in proposed:
            search.tell(proposal, [answers.score(case, proposal.settings) for case in search.cases])


def load_optuna() -> ModuleType:
    """Optuna.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "tune", error) from error
    module: ModuleType = optuna
    return module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing in here: it logs every trial and warns of what is experimental."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
