"""What a batch of pictures holds: the truth that the network is to find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """Objects in each picture of a batch, padded to the same number.

    Attributes:
        boxes: Centre x, centre y, width, height in pixels of the input, float32, shape (b, t, 4).
        class_ids: Counted from 0, int64, shape (b, t); -1 for padding.
        ignore: Regions in which finding something is neither right nor wrong: left, top, right,
            bottom in pixels of the input, float32, shape (b, k, 4); without area for padding.
    """

    boxes: Tensor
    class_ids: Tensor
    ignore: Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Targets:
        """The same on another device."""
        return Targets(
            self.boxes.to(device, non_blocking=non_blocking),
            self.class_ids.to(device, non_blocking=non_blocking),
            self.ignore.to(device, non_blocking=non_blocking),
        )
