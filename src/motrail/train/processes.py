"""Several processes that train one network together, or one that trains alone."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


PATIENCE = timedelta(hours=2)
"""How long the others wait for the first: it validates alone, which may take long."""


@dataclass(frozen=True)
class Processes:
    """Those that train together.

    Attributes:
        rank: Number of this one, from 0.
        world: How many there are.
        local_rank: Its number on this host: which of the host's devices is its own.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Processes:
        """As `torchrun` tells by RANK, WORLD_SIZE and LOCAL_RANK.

        Raises:
            ConfigError: They are no numbers.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        texts = [environ.get(name, default) for name, default in zip(names, "010", strict=True)]
        try:
            rank, world, local = map(int, texts)
        except ValueError:
            raise ConfigError(
                f"{', '.join(names)}: expected numbers as torchrun sets them, found {texts}"
            ) from None
        return cls(rank, world, local)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Meet the others; returns when all are there."""
        if self.world > 1 and not distributed.is_initialized():
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE
            )

    def leave(self) -> None:
        """Let go of the others."""
        if self.world > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def wait(self) -> None:
        """Go on when all are here."""
        if self.world > 1:
            distributed.barrier()

    def wrapped(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network whose gradients are averaged over the processes."""
        if self.world == 1:
            return network
        devices = [device.index] if device.type == "cuda" else None
        with warnings.catch_warnings():
            # Newer versions know another name, which older ones do not.
            warnings.simplefilter("ignore", FutureWarning)
            return torch.nn.parallel.DistributedDataParallel(
                network, device_ids=devices, broadcast_buffers=False
            )

    def bare(self, network: nn.Module) -> nn.Module:
        """The network itself, out of the wrappings of several processes and of the compiler."""
        inner: nn.Module = getattr(network, "module", network)
        return getattr(inner, "_orig_mod", inner)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.world == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.world

    def any(self, answer: bool) -> bool:
        """Whether one of the processes says yes: all must do the same."""
        if self.world == 1:
            return answer
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        yes = torch.tensor(float(answer), device=device)
        distributed.all_reduce(yes)
        return bool(yes > 0)

    def told(self, value: float | None) -> float | None:
        """What the first process says; the others listen."""
        if self.world == 1:
            return value
        box: list[float | None] = [value]
        distributed.broadcast_object_list(box)
        return box[0]
