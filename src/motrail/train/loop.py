"""The training loop: one function that can be read from top to bottom."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch

from motrail.errors import ModelError, MotrailError, VideoError
from motrail.train.loss import yolox_loss
from motrail.train.normalisation import freeze_statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from motrail.config import TrainSettings
    from motrail.train.average import MovingAverage
    from motrail.train.data.loader import TrainLoader
    from motrail.train.loss import Losses
    from motrail.train.processes import Processes
    from motrail.train.schedule import Schedule
    from motrail.train.targets import Targets


LEFT = -math.inf
"""What `Watcher.validate` answers when it was told to leave before it was through."""


class NotFiniteError(MotrailError):
    """The loss is infinite or no number; the batch that made it so was kept."""


@dataclass
class State:
    """Where training stands; all of it goes into a checkpoint.

    Attributes:
        epoch: The one under way, counted from 0.
        step: The next batch of it, counted from 0; where there is none left, validation is next.
        updates: Steps of the optimizer so far.
        best: The best value of what is watched, in per cent; None before the first validation.
        best_epoch: When it was reached, counted from 0.
        done: Whether all epochs are over, or no more are worth it.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    best: float | None = None
    best_epoch: int = -1
    done: bool = False


@dataclass
class Learner:
    """What learns.

    Attributes:
        network: The network, perhaps wrapped for several processes or compiled.
        optimizer: Of its weights.
        average: The smoothed copy that is kept.
        schedule: The learning rate at each update.
        scaler: For float16, which needs larger gradients; off otherwise.
        autocast: The type to compute in; None for float32.
        device: Where.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage
    schedule: Schedule
    scaler: torch.amp.GradScaler
    autocast: torch.dtype | None
    device: torch.device


class Watcher(Protocol):
    """Is told how training goes, and keeps what is to be kept."""

    def started(self, epoch: int, *, plain: bool) -> None:
        """An epoch begins, or goes on."""

    def learnt(self, state: State, loss: float, images: int) -> None:
        """A batch of so many pictures was learnt from."""

    def stepped(self, state: State, figures: Mapping[str, float]) -> None:
        """As many batches as go into a line of the log were learnt from."""

    def wants_checkpoint(self) -> bool:
        """Whether it is time to save in the middle of an epoch."""

    def save(self, state: State) -> None:
        """Write a checkpoint."""

    def wants_validation(self, state: State) -> bool:
        """Whether the epoch that just ended, which is still the state's, is to be validated."""

    def validate(self, state: State, stop: Callable[[], bool]) -> float:
        """Score the averaged network; `LEFT` if it was told to stop meanwhile."""

    def keep_bad_batch(self, images: Tensor, targets: Targets, state: State) -> str:
        """Keep a batch that gave a loss that is not finite; says where."""


@dataclass
class Pace:
    """Time spent, to tell how fast it goes.

    Attributes:
        images: Learnt from since the last look.
        since: When that was, in seconds.
    """

    images: int = 0
    since: float = field(default_factory=time.perf_counter)


def fit(
    learner: Learner,
    loader: TrainLoader,
    settings: TrainSettings,
    state: State,
    watcher: Watcher,
    processes: Processes,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> State:
    """Train until the last epoch, until nothing gets better, or until told to stop.

    What it does depends on the settings, the state and the pictures alone: taken up from a
    checkpoint it ends with the same weights as if it had never been interrupted.

    Args:
        learner: What learns; changed in place.
        loader: The batches, each epoch its own.
        settings: How long and how.
        state: Where to begin; changed in place.
        watcher: Is told of everything.
        processes: Those that train together.
        stop: Whether to save and leave.

    Raises:
        NotFiniteError: The loss is no finite number.
        VideoError: A picture cannot be read; says in which epoch.
    """
    while not state.done and state.epoch < settings.epochs:
        plain = state.epoch >= settings.epochs - settings.plain_epochs
        watcher.started(state.epoch, plain=plain)
        learner.network.train()
        if settings.freeze_statistics:
            freeze_statistics(learner.network)
        batches = loader.epoch(state.epoch, state.step, plain=plain)
        with _place(state), contextlib.closing(batches):
            pace = Pace()
            for images, targets in batches:
                last = state.step + 1 == len(loader)
                losses = _forward(learner, images, targets, processes, use_l1=plain)
                loss = _see_finite(losses, images, targets, state, watcher)
                _backward(learner, losses, settings.accumulate, state, processes, len(loader))
                state.step += 1
                pace.images += len(images)
                watcher.learnt(state, loss, len(images))
                if state.step % settings.log_every == 0 or last:
                    watcher.stepped(state, _figures(losses, learner, pace, processes))
                    pace = Pace()
                if last or state.step % settings.accumulate:
                    continue  # in the middle of a step, or the epoch is over anyway
                if _pause(state, watcher, processes, stop):
                    return state
        value = _validation(state, watcher, processes, stop)
        if value == LEFT:
            return state
        state.epoch, state.step = state.epoch + 1, 0
        _look(state, settings, value)
        watcher.save(state)
        if processes.any(stop()):
            return state
    state.done = True
    return state


def _pause(state: State, watcher: Watcher, processes: Processes, stop: Callable[[], bool]) -> bool:
    """Save where it is time to, and before leaving; whether to leave."""
    leaving = processes.any(stop())
    if leaving or processes.any(watcher.wants_checkpoint()):
        watcher.save(state)
    return leaving


def _validation(
    state: State, watcher: Watcher, processes: Processes, stop: Callable[[], bool]
) -> float | None:
    """The score after an epoch; None where it is not validated, `LEFT` where to leave instead."""
    if not watcher.wants_validation(state):
        return None
    watcher.save(state)  # validation may take long: what was learnt is not lost with it
    if processes.any(stop()):
        return LEFT
    with _place(state, "validation after "):
        try:
            return watcher.validate(state, stop)
        except ModelError as error:  # the last step took the weights beyond numbers
            raise NotFiniteError(
                f"after epoch {state.epoch + 1} {error}; a lower --learning-rate is the usual cure"
            ) from error


@contextlib.contextmanager
def _place(state: State, what: str = "") -> Iterator[None]:
    """Say where it was that a picture could not be read, and how to go on."""
    try:
        yield
    except VideoError as error:
        step = "" if what else f", step {state.step + 1}"
        raise VideoError(
            f"{what}epoch {state.epoch + 1}{step}: {error}; put it right and go on with --resume, "
            "or leave such pictures out with --bad-pictures skip"
        ) from error


def _forward(
    learner: Learner, images: Tensor, targets: Targets, processes: Processes, *, use_l1: bool
) -> Losses:
    """The losses of a batch."""
    images = images.to(learner.device, non_blocking=True).float()
    targets = targets.to(learner.device, non_blocking=True)
    with torch.autocast(
        learner.device.type, learner.autocast, enabled=learner.autocast is not None
    ):
        raw = learner.network(images)
    return yolox_loss(
        raw,
        targets,
        *images.shape[2:],
        use_l1=use_l1,
        reduce=processes.mean if processes.world > 1 else None,
    )


def _backward(
    learner: Learner,
    losses: Losses,
    accumulate: int,
    state: State,
    processes: Processes,
    steps: int,
) -> None:
    """Gradients and, unless more of them are to be gathered first, a step."""
    rate = learner.schedule.rate(state.updates)
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    # The last batches of an epoch may be fewer than the others that make a step.
    gathered = min(accumulate, steps - state.step // accumulate * accumulate)
    learner.scaler.scale(losses.total / gathered).backward()  # type: ignore[no-untyped-call]
    if (state.step + 1) % accumulate and state.step + 1 < steps:
        return
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad(set_to_none=True)
    learner.average.update(processes.bare(learner.network))
    state.updates += 1


def _see_finite(
    losses: Losses, images: Tensor, targets: Targets, state: State, watcher: Watcher
) -> float:
    """The loss; before the weights follow it, so that they can be kept with the batch."""
    total = float(losses.total.item())
    if math.isfinite(total):
        return total
    kept = watcher.keep_bad_batch(images, targets, state)
    parts = ", ".join(
        f"{name} {getattr(losses, name).item():g}"
        for name in ("iou", "objectness", "classes", "l1")
    )
    raise NotFiniteError(
        f"the loss is not finite in epoch {state.epoch + 1}, step {state.step + 1} ({parts}); "
        f"a lower --learning-rate is the usual cure. The batch was kept: {kept}"
    )


def _figures(
    losses: Losses, learner: Learner, pace: Pace, processes: Processes
) -> dict[str, float]:
    seconds = time.perf_counter() - pace.since
    named: dict[str, Any] = {
        "loss": losses.total, "iou_loss": losses.iou, "obj_loss": losses.objectness,
        "cls_loss": losses.classes, "l1_loss": losses.l1, "foreground": losses.foreground,
    }  # fmt: skip
    figures = {name: float(value.detach()) for name, value in named.items()}
    figures["lr"] = float(learner.optimizer.param_groups[0]["lr"])
    figures["images_per_second"] = pace.images * processes.world / seconds
    return figures


def _look(state: State, settings: TrainSettings, value: float | None) -> None:
    """Note whether an epoch was the best so far, and whether more are worth it."""
    if value is None:
        return
    if state.best is None or value > state.best:
        state.best, state.best_epoch = value, state.epoch - 1
    elif settings.patience and state.epoch - 1 - state.best_epoch >= settings.patience:
        state.done = True
