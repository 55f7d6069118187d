"""Batches of pictures with their truth, epoch after epoch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from motrail.boxes import xyxy_to_cxcywh
from motrail.errors import ConfigError, MissingExtraError
from motrail.train.data.ahead import Shard, ahead, check_counts
from motrail.train.data.augment import ORDER_STREAM, SIZE_STREAM, Augmenter
from motrail.train.data.pictures import STRIDE

try:
    import torch
except ImportError as _error:
    raise MissingExtraError("torch", "train", _error) from _error

from motrail.train.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from motrail.config.training import AugmentSettings
    from motrail.train.data.pictures import Pictures
    from motrail.train.data.truth import Truth

_MAX_SEED = (1 << 63) - 1


class TrainLoader:
    """Gives the batches of an epoch; the same for the same seed, whatever the number of threads.

    A batch depends on the seed, the epoch and its place there, and on nothing before it: an epoch
    can be taken up in the middle. In each epoch every picture comes once, but for the last ones
    that do not fill a batch; where there are fewer than a batch they come again. Processes that
    share the work share the order, and each takes every `world`-th.

    Args:
        pictures: The pictures, of the size that the network is for.
        augment: How to change them; where `mixup` is unset there is none, see `for_network`.
        batch: Pictures in a batch of this process.
        seed: Other seeds make other batches; 0 or more.
        workers: Threads that prepare batches; half the cores, at most 8, if None. With 0 the
            caller waits for each batch.
        shard: Which part of each batch of all processes this one prepares.
        pin_memory: Put batches where a CUDA device fetches them faster.

    Raises:
        ConfigError: A number makes no sense.
    """

    def __init__(
        self,
        pictures: Pictures,
        augment: AugmentSettings,
        *,
        batch: int,
        seed: int = 0,
        workers: int | None = None,
        shard: Shard | None = None,
        pin_memory: bool = False,
    ) -> None:
        self._workers = check_counts(batch, workers)
        self._shard = shard or Shard()
        self._shard.check()
        if not 0 <= seed <= _MAX_SEED:
            raise ConfigError(f"seed: expected from 0 to {_MAX_SEED}, found {seed}")
        self.pictures = pictures
        self.augment = augment
        self.batch = batch
        self.seed = seed
        self._pin_memory = pin_memory
        self._augmenter = Augmenter(pictures, augment, seed)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return max(len(self.pictures) // (self.batch * self._shard.world), 1)

    def input_size(self, epoch: int, step: int, *, plain: bool = False) -> tuple[int, int]:
        """Height and width of the pictures of a batch: the same in all processes.

        Args:
            epoch: Counted from 0.
            step: The batch in it, counted from 0.
            plain: Whether pictures are left as they are.
        """
        letterbox = self.pictures.letterbox
        share = 0.0 if plain else self.augment.multiscale
        height, width = letterbox.height // STRIDE, letterbox.width // STRIDE
        longer = max(height, width)
        least, most = int(np.ceil(longer * (1 - share))), int(longer * (1 + share))
        number = (epoch * len(self) + step) // self.augment.multiscale_every
        random = np.random.default_rng([self.seed, SIZE_STREAM, number])
        chosen = int(random.integers(max(least, 1), most, endpoint=True)) / longer
        return max(round(height * chosen), 1) * STRIDE, max(round(width * chosen), 1) * STRIDE

    def largest_size(self) -> tuple[int, int]:
        """Height and width of the largest pictures that `input_size` can draw."""
        letterbox = self.pictures.letterbox
        height, width = letterbox.height // STRIDE, letterbox.width // STRIDE
        longer = max(height, width)
        share = int(longer * (1 + self.augment.multiscale)) / longer
        return max(round(height * share), 1) * STRIDE, max(round(width * share), 1) * STRIDE

    def epoch(
        self, number: int, start_step: int = 0, *, plain: bool = False
    ) -> Generator[tuple[Tensor, Targets]]:
        """The batches of an epoch.

        Close the generator, or take it to its end, to let go of its threads.

        Args:
            number: Of the epoch, from 0.
            start_step: The batch to begin with, from 0.
            plain: Whether pictures are left as the detector will see them; see
                `AugmentSettings.is_plain`.

        Yields:
            Pictures, uint8, shape (batch, 3, height, width), channels blue, green, red, in memory
            channel by channel of each pixel (`torch.channels_last`); and what is in them.

        Raises:
            ConfigError: The epoch has no such batch, nor ends before it.
            VideoError: A picture cannot be read.
        """
        if not 0 <= start_step <= len(self):
            raise ConfigError(
                f"expected to begin at batch 0 to {len(self)} of the epoch, found {start_step}; "
                "were the pictures or the batch others before?"
            )
        for images, truths in ahead(self._batches(number, start_step, plain), self._workers):
            yield images.permute(0, 3, 1, 2), pack(truths)

    def order(self, number: int) -> NDArray[np.int64]:
        """The pictures of an epoch in order, of all processes, int64, shape (steps · batch,)."""
        random = np.random.default_rng([self.seed, ORDER_STREAM, number])
        count = len(self) * self.batch * self._shard.world
        rounds = -(-count // len(self.pictures))
        order = [random.permutation(len(self.pictures)) for _ in range(rounds)]
        return np.concatenate(order)[:count]

    def _batches(
        self, number: int, start_step: int, plain: bool
    ) -> Iterator[tuple[Tensor, Sequence[Callable[[], Truth]]]]:
        order = self.order(number)
        rank, world = self._shard
        for step in range(start_step, len(self)):
            size = self.input_size(number, step, plain=plain)
            images = blank(self.batch, *size, pin_memory=self._pin_memory)
            first = step * self.batch * world + rank
            places = range(first, first + self.batch * world, world)
            rows = zip(images.numpy(), places, order[places].tolist(), strict=True)
            yield (
                images,
                [
                    functools.partial(self._make, out, number, place, index, plain)
                    for out, place, index in rows
                ],
            )

    def _make(
        self, out: NDArray[np.uint8], number: int, place: int, index: int, plain: bool
    ) -> Truth:
        try:
            if plain:
                return self.pictures.plain(out, index)
            return self._augmenter.make(out, number, place, index)
        except Exception as error:
            error.add_note(f"while preparing {self.pictures.samples.path(index)}")
            raise


def blank(count: int, height: int, width: int, *, pin_memory: bool = False) -> Tensor:
    """Room for pictures, uint8, shape (count, height, width, 3)."""
    return torch.empty((count, height, width, 3), dtype=torch.uint8, pin_memory=pin_memory)


def pack(truths: Sequence[Truth]) -> Targets:
    """The truth of each picture of a batch, padded to the same number, which is at least 1."""
    count = len(truths)
    most = max(1, *(len(truth.class_ids) for truth in truths))
    regions = max(1, *(len(truth.ignore_xyxy) for truth in truths))
    boxes = np.zeros((count, most, 4), np.float32)
    class_ids = np.full((count, most), -1, np.int64)
    ignore = np.zeros((count, regions, 4), np.float32)
    for row, truth in enumerate(truths):
        boxes[row, : len(truth.boxes_xyxy)] = xyxy_to_cxcywh(truth.boxes_xyxy)
        class_ids[row, : len(truth.class_ids)] = truth.class_ids
        ignore[row, : len(truth.ignore_xyxy)] = truth.ignore_xyxy
    return Targets(torch.from_numpy(boxes), torch.from_numpy(class_ids), torch.from_numpy(ignore))
