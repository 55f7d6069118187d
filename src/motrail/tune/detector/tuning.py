"""What a search for the best detector found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from motrail.config import TrainSettings
    from motrail.config.training import BestBy
    from motrail.train.run import Job
    from motrail.tune.detector.space import Space
    from motrail.tune.detector.study import Trial
    from motrail.tune.detector.unseen import Unseen

STUDY, MODEL = "study.sqlite", "model.tar.gz"
GOALS: dict[str, str] = {"ap": "AP", "ap50": "AP50", "hota": "HOTA"}
"""What a goal is called in tables."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        trials: How many settings are tried; the first are those the search starts from.
        pruning: Whether a trial that does badly half-way is stopped.

    Raises:
        ConfigError: A value is out of range.
    """

    trials: int = 20
    pruning: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= 100_000:
            raise ConfigError(f"trials: expected 1 to 100000, found {self.trials}")


@dataclass(frozen=True)
class DetectorTuning:
    """What a search found.

    Attributes:
        job: What was trained, with the settings to start from; its folder is that of the search.
        options: How it was searched.
        classes: What the detector finds.
        space: What was searched.
        trials: In the order of their numbers.
        importances: How much each setting has to do with whether a trial is good.
        unseen: What the best model is worth on the split `test`; None without one.
        stopped: Whether the search was told to leave before its end.
        notes: What the user should know.
    """

    job: Job
    options: SearchOptions
    classes: tuple[str, ...]
    space: Space
    trials: tuple[Trial, ...]
    importances: Mapping[str, float] = field(default_factory=dict)
    unseen: Unseen | None = None
    stopped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def goal(self) -> BestBy:
        """What the best model is best in."""
        return self.job.settings.best_by

    @property
    def base(self) -> Trial:
        """The settings that the search started from."""
        return self.trials[0]

    @property
    def best(self) -> Trial | None:
        """The finished trial with the highest value, the first of several."""
        return best_of(self.trials)

    @property
    def gain(self) -> float | None:
        """How much higher the best is than trial 0, in points; None where there is no best."""
        if self.best is None or self.best.value is None or self.base.value is None:
            return None
        return self.best.value - self.base.value

    def settings(self, trial: Trial) -> TrainSettings:
        """All settings of a trial."""
        return settings_of(self.space, trial)

    def changes(self, trial: Trial) -> dict[str, tuple[Any, Any]]:
        """Key → value of trial 0 and of the trial, where they differ."""
        return {
            key: (self.base.point[key], value)
            for key, value in trial.point.items()
            if value != self.base.point[key]
        }

    def ranked(self) -> list[Trial]:
        """The trials from the best to the worst: finished ones, pruned, running, failed."""
        order = ("finished", "pruned", "running", "failed")
        return sorted(
            self.trials,
            key=lambda trial: (order.index(trial.state), -(trial.value or 0.0), trial.number),
        )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the highest value, the first of several."""
    finished = [trial for trial in trials if trial.state == "finished"]
    return max(finished, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def settings_of(space: Space, trial: Trial) -> TrainSettings:
    """All settings of a trial; trial 0 leaves open what the user left open."""
    return space.settings(trial.point if trial.number else {})


def folder_of(output: Path, trial: Trial) -> Path:
    """The folder of a trial."""
    return output / "trials" / f"{trial.number:03}"
