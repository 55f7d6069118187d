"""How fast the network learns at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Learning rate: a quadratic warm-up, half a cosine, and a constant end.

    As in YOLOX (Ge et al., 2021, arXiv 2107.08430).

    Attributes:
        peak: The highest learning rate.
        steps: Of the optimizer, in all.
        warmup: Steps from 0 to the peak.
        plain: Steps at the end with the lowest rate.
        floor: The lowest rate, as a share of the peak.
        shift: Steps that this plan would have made more up to now than were made; not 0 where a
            run went on with larger or smaller batches.
    """

    peak: float
    steps: int
    warmup: int = 0
    plain: int = 0
    floor: float = 0.05
    shift: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        step += self.shift
        low = self.peak * self.floor
        if step < self.warmup:
            return self.peak * ((step + 1) / self.warmup) ** 2
        falling = self.steps - self.warmup - self.plain
        if step >= self.warmup + falling:
            return low
        share = (step - self.warmup) / max(1, falling)
        return low + (self.peak - low) * 0.5 * (1 + math.cos(math.pi * share))
