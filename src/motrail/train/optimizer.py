"""What moves the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from motrail.config import TrainSettings


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Stochastic gradient descent with Nesterov's momentum; only convolutions' weights decay.

    As in YOLOX (arXiv 2107.08430): biases and batch normalisation are not pulled towards 0.
    """
    decays: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, module in network.named_modules():
        for kind, parameter in module.named_parameters(name, recurse=False):
            is_weight = kind.endswith("weight") and not isinstance(module, nn.BatchNorm2d)
            (decays if is_weight else free).append(parameter)
    return torch.optim.SGD(
        [
            {"params": free, "weight_decay": 0.0},
            {"params": decays, "weight_decay": settings.weight_decay},
        ],
        lr=1e-3,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        fused=True,  # one pass over the weights for all of it
    )
