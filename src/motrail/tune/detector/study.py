"""The record of a search: Optuna's own, in an SQLite file.

The next settings are drawn by tree-structured Parzen estimators (Bergstra et al., "Algorithms for
Hyper-Parameter Optimization", NeurIPS 2011), each setting by itself: joint estimators need more
trials than anybody trains. They are seeded by the number of the trial, so what is drawn depends on
what the trials before it scored, and not on how often the search was interrupted.

Who is bad after a third, or two thirds, of the epochs is stopped by the median rule (Golovin et
al., "Google Vizier", KDD 2017, 3.2): when the best value so far is below the median of what
finished trials had at that epoch. Successive halving keeps one in three or four at its first look,
which with twenty trials leaves too few; settings that learn slowly at first, such as strong
augmentation, would all be lost. As only finished trials count the median rises with time, so there
are but two looks: with one after every epoch hardly any trial would come to its end.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from motrail.errors import ConfigError, OutputError
from motrail.tune.search import load_optuna, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from motrail.tune.detector.space import Space

State = Literal["running", "finished", "pruned", "failed"]

_NAME = "detector"
_PATIENCE = 60.0  # seconds to wait for another program that looks into the file
_AT_RANDOM = 8
"""Trials before the estimators have something to go by."""
_FINISHED_FIRST = 4
"""Finished trials before others are compared with their median."""
_ATTEMPTS = 50
"""How often something that was not tried yet is sought."""
_ENOUGH = 12
"""Trials from which on importances say something."""
_GOOD = 0.25
"""Share of the trials that count as good, when it is asked what makes them so."""


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, or are being tried.

    Attributes:
        number: From 0; 0 are the settings the search started from.
        state: What became of it.
        point: What was searched, by key of `[train]`.
        value: The best validation, in per cent; None before the first one.
        epoch: When that was, counted from 1; 0 before the first one.
        curve: Epoch, counted from 1, → the goal in per cent.
        figures: All figures of the best validation.
        reason: Why it failed.
    """

    number: int
    state: State
    point: Mapping[str, Any]
    value: float | None
    epoch: int
    curve: Mapping[int, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


class Study:
    """Trials in an SQLite file.

    Args:
        path: The file, made where it is missing.
        space: What is searched.
        identity: What must be the same when the search goes on: text and numbers by name.
        seed: Of the draws.
        epochs: Of a trial.

    Raises:
        ConfigError: The file holds a search of something else.
        OutputError: It cannot be used.
    """

    def __init__(
        self, path: Path, space: Space, identity: Mapping[str, Any], *, seed: int, epochs: int
    ) -> None:
        self.path = path
        self._space, self._seed = space, seed
        self._optuna = optuna = load_optuna()
        third = math.ceil(epochs / 3)
        with quiet(), self._explained():
            self._storage = _open(path)
            self._study = optuna.create_study(
                study_name=_NAME,
                storage=self._storage,
                direction="maximize",
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(seed=0),  # never asked
                pruner=optuna.pruners.MedianPruner(
                    n_startup_trials=_FINISHED_FIRST, n_warmup_steps=third, interval_steps=third
                ),
            )
            known = self._study.user_attrs.get("identity")
            if known is None:
                self._study.set_user_attr("identity", dict(identity))
                known = dict(identity)
        try:
            _check_same(path, known, identity)
        except ConfigError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def trials(self) -> list[Trial]:
        """All trials, in the order of their numbers."""
        with quiet(), self._explained():
            return [self._trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def running(self) -> Trial | None:
        """The trial that was not brought to an end, if there is one."""
        return next((trial for trial in self.trials() if trial.state == "running"), None)

    def begin(self) -> Trial | None:
        """Draw the next trial and note it down; None where all there is was tried."""
        trials = self.trials()
        number = len(trials)
        if number == 0:
            drawn: dict[str, Any] | None = self._space.start()
        else:
            drawn = self._draw(number, [dict(trial.point) for trial in trials])
        if drawn is None:
            return None
        distributions = self._space.distributions()
        state = self._optuna.trial.TrialState.RUNNING
        with quiet(), self._explained():
            # One transaction: a process that is killed leaves a whole trial, or none.
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    state=state,
                    params=self._space.to_optuna(drawn),
                    distributions={key: distributions[key] for key in drawn},
                )
            )
        return self.trials()[-1]

    def _draw(self, number: int, known: list[dict[str, Any]]) -> dict[str, Any] | None:
        optuna, distributions = self._optuna, self._space.distributions()
        with quiet(), self._explained():
            before = self._study.get_trials(deepcopy=False)
            for attempt in range(_ATTEMPTS):
                seed = np.random.SeedSequence([self._seed, number, attempt]).generate_state(1)[0]
                sampler = optuna.samplers.TPESampler(
                    n_startup_trials=_AT_RANDOM, multivariate=False, constant_liar=False,
                    seed=int(seed),
                )  # fmt: skip
                study = optuna.create_study(direction="maximize", sampler=sampler)
                study.add_trials(before)
                drawn = self._space.of_optuna(study.ask(distributions).params)
                if drawn not in known:
                    return drawn
        return None

    def report(self, number: int, curve: Mapping[int, float]) -> bool:
        """Note the values of the epochs so far; whether to stop the trial."""
        with quiet(), self._explained():
            known = self._study.get_trials(deepcopy=False)[number]
            trial = self._optuna.trial.Trial(self._study, known._trial_id)  # noqa: SLF001
            for epoch in sorted(set(curve) - set(known.intermediate_values)):
                trial.report(curve[epoch], epoch)
            return number > 0 and bool(trial.should_prune())

    def tell(self, trial: Trial) -> None:
        """Note how a trial ended."""
        states = self._optuna.trial.TrialState
        state = {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        with quiet(), self._explained():
            known = self._study.get_trials(deepcopy=False)[trial.number]
            handle = self._optuna.trial.Trial(self._study, known._trial_id)  # noqa: SLF001
            handle.set_user_attr(
                "end", {"value": trial.value, "epoch": trial.epoch, "reason": trial.reason,
                        "figures": dict(trial.figures)},
            )  # fmt: skip
            value = trial.value if trial.state == "finished" else None
            self._study.tell(trial.number, value, state=state[trial.state])

    def importances(self) -> dict[str, float]:
        """How much each setting has to do with whether a trial is good; sums up to 1.

        Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
        Subspaces", IJCAI 2023: the values of good trials against those of all, among which pruned
        ones count as they were. Empty where there are too few.
        """
        optuna = self._optuna
        evaluator = optuna.importance.PedAnovaImportanceEvaluator
        # The name changed with Optuna 5.
        words = inspect.signature(evaluator.__init__).parameters
        share = "target_quantile" if "target_quantile" in words else "baseline_quantile"
        values = {trial.number: trial.value for trial in self.trials() if trial.state != "failed"}
        with quiet(), self._explained():
            study = optuna.create_study(direction="maximize")
            for known in self._study.get_trials(deepcopy=False):
                value = values.get(known.number)
                if value is not None and set(known.params) == set(self._space.ranges):
                    study.add_trial(
                        optuna.trial.create_trial(
                            params=known.params, distributions=known.distributions, value=value
                        )
                    )
            if len(study.trials) < _ENOUGH or len({trial.value for trial in study.trials}) < 2:
                return {}
            shares = optuna.importance.get_param_importances(
                study, evaluator=evaluator(**{share: _GOOD})
            )
        return {name: float(value) for name, value in shares.items() if math.isfinite(value)}

    def _trial(self, frozen: Any) -> Trial:
        states = self._optuna.trial.TrialState
        state: dict[Any, State] = {
            states.COMPLETE: "finished", states.PRUNED: "pruned", states.FAIL: "failed",
            states.RUNNING: "running", states.WAITING: "running",
        }  # fmt: skip
        end = frozen.user_attrs.get("end", {})
        point = self._space.of_optuna(frozen.params)
        if frozen.number == 0:  # of which the ranges may not hold everything
            point = self._space.values(self._space.settled)
        curve = {int(epoch): float(v) for epoch, v in sorted(frozen.intermediate_values.items())}
        best = max(curve, key=lambda epoch: (curve[epoch], -epoch), default=0)
        return Trial(
            frozen.number,
            state[frozen.state],
            point,
            end.get("value", curve.get(best)),
            end.get("epoch", best),
            curve,
            end.get("figures", {}),
            end.get("reason", ""),
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        trouble = (
            SQLAlchemyError, sqlite3.Error, RuntimeError, self._optuna.exceptions.OptunaError,
        )  # fmt: skip
        try:
            yield
        except trouble as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OutputError(
                f"{self.path}: cannot be used to keep a search in: {reason}; choose another folder "
                "with -o"
            ) from error


def _open(path: Path) -> Any:
    import optuna
    from sqlalchemy.pool import NullPool

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)

    # An address of a database has no place for every name that a file may have.
    return optuna.storages.RDBStorage(
        "sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool}
    )


def _check_same(path: Path, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """See that a search goes on with what it began with.

    Raises:
        ConfigError: Something differs; the message names it.
    """
    for name in [*wanted, *(name for name in known if name not in wanted)]:
        before, now = known.get(name), wanted.get(name)
        if before != now:
            raise ConfigError(
                f"{path}: holds the search of something else: expected {name} {_shown(now)}, found "
                f"{_shown(before)}; search in another folder with -o, or give what it began with"
            )


def _shown(value: object) -> str:
    if value is None:
        return "unset"
    text = str(value)
    return text if len(text) < 80 else f"{text[:77]}..."
