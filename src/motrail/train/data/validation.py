"""The pictures of a split as the detector sees them, in order, in batches."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.train.data.ahead import Shard, ahead, check_counts
from motrail.train.data.loader import blank
from motrail.train.data.pictures import paste

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from motrail.train.data.pictures import Pictures


@dataclass(frozen=True, slots=True)
class ValidationBatch:
    """Pictures, and whose they are.

    Attributes:
        images: uint8, shape (b, 3, height, width), channels blue, green, red, in memory channel by
            channel of each pixel (`torch.channels_last`).
        indices: Row in the samples, int64, shape (b,).
        sizes: Width and height of the pictures as they are on the disk, int64, shape (b, 2):
            what `Pictures.letterbox.undo` asks for.
        sequences: Name of the sequence of each, length b.
        frames: Frame number from 1 in the sequence, int64, shape (b,).
    """

    images: Tensor
    indices: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sequences: tuple[str, ...]
    frames: NDArray[np.int64]


class ValidationLoader:
    """Gives the pictures of a split in order; the last batch may be smaller.

    A picture that is skipped because it is bad is left out.

    Args:
        pictures: The pictures, of the size that the network is for.
        batch: Pictures in a batch.
        workers: Threads that prepare batches; half the cores, at most 8, if None. With 0 the
            caller waits for each batch.
        shard: Which of as many runs of pictures, one behind the other, this process is given.
        pin_memory: Put batches where a CUDA device fetches them faster.

    Raises:
        ConfigError: A number makes no sense.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        batch: int,
        workers: int | None = None,
        shard: Shard | None = None,
        pin_memory: bool = False,
    ) -> None:
        self._workers = check_counts(batch, workers)
        shard = shard or Shard()
        shard.check()
        self.pictures = pictures
        self.batch = batch
        self._pin_memory = pin_memory
        self._indices = np.array_split(np.arange(len(pictures)), shard.world)[shard.rank]

    def __len__(self) -> int:
        """Batches, at most."""
        return math.ceil(len(self._indices) / self.batch)

    def __iter__(self) -> Generator[ValidationBatch]:
        """The batches from the first on.

        Raises:
            VideoError: A picture cannot be read.
        """
        samples = self.pictures.samples
        for (images, indices), read in ahead(self._batches(), self._workers):
            good = np.array(read)
            if not good.any():
                continue
            kept = indices[good]
            whole = images if good.all() else images[good.nonzero()[0].tolist()]
            yield ValidationBatch(
                whole.permute(0, 3, 1, 2),
                kept,
                samples.sizes[kept],
                tuple(samples.sequence(index) for index in kept.tolist()),
                samples.frames[kept],
            )

    def _batches(
        self,
    ) -> Iterator[tuple[tuple[Tensor, NDArray[np.int64]], Sequence[Callable[[], bool]]]]:
        letterbox = self.pictures.letterbox
        for first in range(0, len(self._indices), self.batch):
            indices = self._indices[first : first + self.batch]
            images = blank(
                len(indices), letterbox.height, letterbox.width, pin_memory=self._pin_memory
            )
            rows = zip(images.numpy(), indices.tolist(), strict=True)
            yield (
                (images, indices),
                [functools.partial(self._read, out, index) for out, index in rows],
            )

    def _read(self, out: NDArray[np.uint8], index: int) -> bool:
        image = self.pictures.read(index)
        if image is None:
            return False
        paste(out, image)
        return True
