"""One trial: an ordinary training run, which may be stopped half-way."""

from __future__ import annotations

import contextlib
import gc
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from motrail.config.training import BestBy
    from motrail.train.run import Job, Training

KEPT = ("log.txt", "metrics.jsonl", "config.toml", "tensorboard")
"""What stays of a trial that is not the best."""


class Watch(Protocol):
    """Who looks on while a trial is trained."""

    def leaving(self) -> bool:
        """Whether to save and leave; asked after every step."""

    def learnt(self, share: float) -> None:
        """Is told of the share of the trial's steps that are done, 0 to 1."""

    def looked(self, curve: Mapping[int, float]) -> bool:
        """Is told of the values so far; whether the trial is to be stopped."""


@dataclass(frozen=True)
class Ended:
    """How a trial ended.

    Attributes:
        state: `left` where it was told to leave and can go on.
        value: The best validation, in per cent; None before the first.
        epoch: When that was, counted from 1.
        figures: All figures of that validation; of finished trials.
        reason: Why it failed.
    """

    state: Literal["finished", "pruned", "failed", "left"]
    value: float | None = None
    epoch: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


def run_trial(job: Job, goal: BestBy, watch: Watch, say: Callable[[str], None]) -> Ended:
    """Train, from where it was interrupted if it was, without a bundle.

    Args:
        job: What is to be trained, in a folder of its own.
        goal: What the best model is best in.
        watch: Looks on.
        say: Takes lines for people.

    Raises:
        MotrailError: Dataset, settings or folder do not allow it. What only these settings bring
            about, a loss that is not finite or too little memory, is the answer `failed`.
    """
    import torch

    from motrail.train.loop import NotFiniteError
    from motrail.train.memory import MemoryFullError

    try:
        return _run(job, goal, watch, say)
    except (NotFiniteError, MemoryFullError) as error:
        return Ended("failed", reason=str(error))
    except MemoryError as error:
        return Ended("failed", reason=f"out of memory: {error}".rstrip(": "))
    finally:
        gc.collect()  # pictures, network and optimizer, before the next trial makes its own
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _run(job: Job, goal: BestBy, watch: Watch, say: Callable[[str], None]) -> Ended:
    from motrail.train.prepare import prepare_folder
    from motrail.train.run import Training

    begun = job.folder.is_dir() and any(job.folder.iterdir())
    job = replace(job, resume=True)
    prepare_folder(job)
    training = Training(job, say, lambda done: watch.learnt(done.steps / done.total))
    training.resume() if begun else training.examine()
    spectator = _Spectator(training, goal, watch)
    if begun and spectator.look():
        return spectator.ended("pruned")
    result = training.train(spectator.stop, export=False)
    if result.stopped:
        return spectator.ended("left" if spectator.left else "pruned")
    spectator.look()
    return replace(spectator.ended("finished"), figures=result.figures)


class _Spectator:
    """Tells who looks on of each validation."""

    def __init__(self, training: Training, goal: BestBy, watch: Watch) -> None:
        self.left = False
        self._training, self._goal, self._watch = training, goal, watch
        self._seen = training.state.epoch

    def stop(self) -> bool:
        """What training asks after every step and every epoch."""
        if self._watch.leaving():
            self.left = True
            return True
        if self._training.state.epoch == self._seen:
            return False
        self._seen = self._training.state.epoch
        return self.look()

    def look(self) -> bool:
        """Tell of the epochs so far; whether the trial is to be stopped, if it is not over."""
        state = self._training.state
        curve = read_curve(self._training.job.folder, self._goal)
        # What was seen after the last checkpoint will be seen again.
        known = {epoch: value for epoch, value in curve.items() if epoch <= state.epoch}
        bad = self._watch.looked(known)
        return bad and not state.done and state.epoch < self._training.settings.epochs

    def ended(self, how: Literal["finished", "pruned", "left"]) -> Ended:
        state = self._training.state
        return Ended(how, state.best, state.best_epoch + 1)


def read_curve(folder: Path, goal: BestBy) -> dict[int, float]:
    """The goal at each validation of a run: epoch, counted from 1, → per cent."""
    from motrail.train.look import read_rows
    from motrail.train.watch import GOALS

    path = folder / "metrics.jsonl"
    rows: list[dict[str, Any]] = read_rows(path) if path.exists() else []
    return {
        int(row["epoch"]): float(row.get(GOALS[goal], 0.0)) for row in rows if row["kind"] == "val"
    }


def tidy(folder: Path, *, network: bool = False) -> None:
    """Drop what only the best trial needs.

    Args:
        folder: Of a trial that is over.
        network: Whether to keep its best network all the same.
    """
    import shutil

    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name in KEPT or path.name.startswith("bad-batch"):
            continue
        if path.name == "checkpoints" and network:
            with contextlib.suppress(OSError):
                (path / "last.pt").unlink()
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
