"""A smoothed copy of the network, which is the one that is kept."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of weights and of the statistics of batch normalisation.

    The decay grows from 0 to its value, so that the first, random weights are soon forgotten.

    Args:
        network: What is averaged.
        decay: Share of the old average that stays at each step, once it is old.
        ramp: Steps in which the decay gets to 63 % of its value.
    """

    def __init__(self, network: nn.Module, decay: float = 0.9998, ramp: int = 2000) -> None:
        self.network = copy.deepcopy(network).eval()
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        self.decay, self.ramp, self.updates = decay, ramp, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self.updates += 1
        share = 1 - self.decay * (1 - math.exp(-self.updates / max(1, self.ramp)))
        averages, values = [], []
        current = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.dtype.is_floating_point:
                averages.append(average)
                values.append(current[name])
            else:
                average.copy_(current[name])
        torch._foreach_lerp_(averages, values, share)  # one call for all

    def state(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint."""
        weights: Mapping[str, Tensor] = state["network"]  # type: ignore[assignment]
        self.network.load_state_dict(weights)
        self.updates = int(state["updates"])  # type: ignore[call-overload]
