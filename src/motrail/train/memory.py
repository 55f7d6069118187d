"""When the memory of the device does not suffice: what would."""

from __future__ import annotations

import contextlib
import gc
import math
from typing import TYPE_CHECKING

import torch

from motrail.errors import MotrailError
from motrail.train.loss import yolox_loss
from motrail.train.prepare import MODELS
from motrail.train.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from motrail.config import TrainSettings
    from motrail.train.data.loader import TrainLoader
    from motrail.train.loop import Learner, State
    from motrail.train.network import Yolox
    from motrail.train.processes import Processes

_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


class MemoryFullError(MotrailError):
    """The memory of the device does not suffice; the message says what would."""


def is_full(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: CUDA's, Apple's, or the processor's."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@contextlib.contextmanager
def needed(what: str) -> Iterator[None]:
    """Say what it was that the memory did not suffice for.

    Raises:
        MemoryFullError: It did not.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_full(error):
            raise
        line = str(error).splitlines()[0]
        raise MemoryFullError(
            f"the memory of the device does not suffice for {what}: {line}; take a smaller model "
            "or input, or see what else is running there"
        ) from error


def largest_batch(fits: Callable[[int], bool], beyond: int) -> int:
    """The largest batch that fits: halved until one does, then bisected.

    Args:
        fits: Tries one.
        beyond: A batch that does not fit.

    Returns:
        0 if not even 1 fits.
    """
    low, high = 0, beyond
    while high > 1:
        middle = high // 2
        if fits(middle):
            low = middle
            break
        high = middle
    while low and high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def split(batch: int, accumulate: int, fits: int) -> tuple[int, int]:
    """A batch that fits, and how many of them learn from as many pictures a step as before.

    As many to the picture if a batch of at least half the size that fits does it; else the next
    larger number.
    """
    whole = batch * accumulate
    exact = max(count for count in range(1, fits + 1) if whole % count == 0)
    if exact * 2 >= fits:
        return exact, whole // exact
    times = math.ceil(whole / fits)
    return math.ceil(whole / times), times


class Trial:
    """Learns from noise, to see whether a batch fits: forward, losses and backward.

    Args:
        learner: Not to be used any more: batch normalisation gets to know the noise.
        network: Without wrappings.
        loader: Says how large pictures become, and how many objects are in them.
    """

    def __init__(self, learner: Learner, network: Yolox, loader: TrainLoader) -> None:
        self.height, self.width = loader.largest_size()
        starts = torch.from_numpy(loader.pictures.samples.box_starts)
        often = int(starts.diff().float().quantile(0.99)) if len(starts) > 1 else 1
        # A mosaic has four pictures, and mixup lays another one over.
        self._objects = max(1, often * (4 if loader.augment.mosaic else 1) + often)
        self._learner, self._network = learner, network
        self.device = learner.device

    def __call__(self, count: int) -> bool:
        """Whether so many pictures fit."""
        fits = True
        try:
            self._step(count)
        except RuntimeError as error:
            if not is_full(error):
                raise
            fits = False
        self.clear()
        return fits

    def clear(self) -> None:
        """Give back what can be given back."""
        self._learner.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def _step(self, count: int) -> None:
        learner, device = self._learner, self.device
        # Where no step was made yet, momentum has still to come.
        momentum = [
            torch.empty_like(weight)
            for weight in self._network.parameters()
            if weight not in learner.optimizer.state
        ]
        shape = (count, self.height, self.width, 3)
        noise = torch.randint(0, 256, shape, dtype=torch.uint8).permute(0, 3, 1, 2)
        images = noise.to(device).float()
        with torch.autocast(device.type, learner.autocast, enabled=learner.autocast is not None):
            raw = self._network(images)
        losses = yolox_loss(raw, self._targets(count), self.height, self.width, use_l1=True)
        learner.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        del momentum

    def _targets(self, count: int) -> Targets:
        random = torch.Generator().manual_seed(0)
        shape = (count, self._objects, 2)
        room = torch.tensor([self.width, self.height])
        boxes = torch.cat((torch.rand(shape, generator=random) * room, torch.full(shape, 32.0)), 2)
        ids = torch.zeros(shape[:2], dtype=torch.int64)
        return Targets(boxes, ids, torch.zeros(count, 1, 4)).to(self.device)


def advice(
    trial: Trial, settings: TrainSettings, model: str, state: State, processes: Processes
) -> MemoryFullError:
    """The error to raise where training ran out of memory, after trying what would fit.

    Several processes do not try: some of them wait for an answer of this one.
    """
    trial.clear()
    batch, accumulate, device = settings.batch, settings.accumulate, trial.device
    found = (
        f"{device} is out of memory in epoch {state.epoch + 1}, step {state.step + 1}, with "
        f"--batch {batch} and pictures of up to {trial.width}x{trial.height}"
    )
    if processes.world > 1:
        found = f"process {processes.rank} of {processes.world}: {found}"
        if batch > 1:
            smaller, times = split(batch, accumulate, batch // 2)
            return MemoryFullError(
                f"{found}; try half of it, which was not tried here: "
                f"--resume --batch {smaller} --accumulate {times}"
            )
    fits = largest_batch(trial, batch) if processes.world == 1 else 0
    if not fits:
        return MemoryFullError(f"{found}; {_smaller(model, trial, batch, processes)}")
    smaller, times = split(batch, accumulate, fits)
    whole, before = smaller * times, batch * accumulate
    pictures = "as many pictures" if whole == before else f"{whole} pictures instead of {before}"
    return MemoryFullError(
        f"{found}; the largest batch that fits is {fits}: go on with --resume --batch {smaller} "
        f"--accumulate {times}, which learns from {pictures} a step"
    )


def _smaller(model: str, trial: Trial, batch: int, processes: Processes) -> str:
    tried = "" if batch == 1 or processes.world > 1 else "not even a batch of 1 fits: "
    place = MODELS.index(model)
    other = f", or a smaller model (--model {MODELS[place - 1]})" if place else ""
    width = max(trial.width // 64 * 32, 32)
    return f"{tried}take a smaller input (--input-width {width}){other}, and another folder with -o"
