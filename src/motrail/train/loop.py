"""The training loop: one function that can be read from top to bottom."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from motrail.errors import MissingExtraError, MotrailError

try:
    import torch
except ImportError as error:
    raise MissingExtraError("torch", "train", error) from error

from motrail.train.loss import yolox_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from motrail.config import TrainSettings
    from motrail.train.average import MovingAverage
    from motrail.train.data.loader import TrainLoader
    from motrail.train.loss import Losses
    from motrail.train.processes import Processes
    from motrail.train.schedule import Schedule
    from motrail.train.targets import Targets


class NotFiniteError(MotrailError):
    """The loss is infinite or no number; the batch that made it so was kept."""


@dataclass
class State:
    """Where training stands; all of it goes into a checkpoint.

    Attributes:
        epoch: The one under way, counted from 0.
        step: The next batch of it, counted from 0.
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

    def stepped(self, state: State, figures: Mapping[str, float]) -> None:
        """A batch was learnt from."""

    def wants_checkpoint(self) -> bool:
        """Whether it is time to save in the middle of an epoch."""

    def save(self, state: State) -> None:
        """Write a checkpoint."""

    def validate(self, state: State) -> float | None:
        """Score the averaged network after an epoch; None where it is not time to."""

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
        VideoError: A picture cannot be read.
    """
    while not state.done and state.epoch < settings.epochs:
        plain = state.epoch >= settings.epochs - settings.plain_epochs
        watcher.started(state.epoch, plain=plain)
        learner.network.train()
        batches = loader.epoch(state.epoch, state.step, plain=plain)
        with contextlib.closing(batches):
            pace = Pace()
            for images, targets in batches:
                last = state.step + 1 == len(loader)
                losses = _learn(learner, images, targets, settings, state, processes,
                                use_l1=plain, last=last)  # fmt: skip
                _see_finite(losses, images, targets, state, watcher)
                state.step += 1
                pace.images += len(images)
                if state.step % settings.log_every == 0 or last:
                    watcher.stepped(state, _figures(losses, learner, pace, processes))
                    pace = Pace()
                if last or state.step % settings.accumulate:
                    continue  # in the middle of a step, or the epoch is over anyway
                leaving = processes.any(stop())
                if leaving or processes.any(watcher.wants_checkpoint()):
                    watcher.save(state)
                if leaving:
                    return state
        state.epoch, state.step = state.epoch + 1, 0
        _look(state, settings, watcher.validate(state))
        watcher.save(state)
        if processes.any(stop()):
            return state
    state.done = True
    return state


def _learn(
    learner: Learner,
    images: Tensor,
    targets: Targets,
    settings: TrainSettings,
    state: State,
    processes: Processes,
    *,
    use_l1: bool,
    last: bool,
) -> Losses:
    """One batch: forward, loss, backward and, unless gradients are still gathered, a step."""
    images = images.to(learner.device, non_blocking=True).float()
    targets = targets.to(learner.device, non_blocking=True)
    rate = learner.schedule.rate(state.updates)
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(
        learner.device.type, learner.autocast, enabled=learner.autocast is not None
    ):
        raw = learner.network(images)
    height, width = images.shape[2:]
    losses = yolox_loss(
        raw,
        targets,
        height,
        width,
        use_l1=use_l1,
        reduce=processes.mean if processes.world > 1 else None,
    )
    learner.scaler.scale(losses.total / settings.accumulate).backward()  # type: ignore[no-untyped-call]
    if (state.step + 1) % settings.accumulate == 0 or last:
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        learner.optimizer.zero_grad(set_to_none=True)
        learner.average.update(processes.bare(learner.network))
        state.updates += 1
    return losses


def _see_finite(
    losses: Losses, images: Tensor, targets: Targets, state: State, watcher: Watcher
) -> None:
    total = losses.total.item()
    if math.isfinite(total):
        return
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
