"""Several processes that train together follow one that has the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from motrail.errors import ConfigError
from motrail.train.loss import yolox_loss
from motrail.train.network import Yolox, make_yolox
from motrail.train.processes import Processes
from motrail.train.targets import Targets

if TYPE_CHECKING:
    from pathlib import Path

SIDE, BATCH, STEPS = 64, 4, 20


def frozen_network() -> Yolox:
    """The same start everywhere; batch normalisation stays as it is, for it sees its own half."""
    torch.manual_seed(3)
    network = make_yolox("nano", 2).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return network


def batch(step: int) -> tuple[Tensor, Targets]:
    """Pictures with one to four objects: the halves have different numbers of them."""
    random = torch.Generator().manual_seed(step)
    images = 255 * torch.rand(BATCH, 3, SIDE, SIDE, generator=random)
    boxes = torch.rand(BATCH, 4, 4, generator=random) * 24 + 12
    class_ids = torch.randint(0, 2, (BATCH, 4), generator=random)
    for row in range(BATCH):
        class_ids[row, row + 1 :] = -1
    return images, Targets(boxes, class_ids, torch.zeros(BATCH, 1, 4))


def learn(network: nn.Module, processes: Processes) -> None:
    """Twenty steps; each process takes its share of every batch."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    mine = slice(processes.rank, None, processes.world)
    for step in range(STEPS):
        images, targets = batch(step)
        part = Targets(targets.boxes[mine], targets.class_ids[mine], targets.ignore[mine])
        reduce = processes.mean if processes.world > 1 else None
        losses = yolox_loss(network(images[mine]), part, SIDE, SIDE, use_l1=True, reduce=reduce)
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


def work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world
    )
    processes = Processes(rank, world, rank)
    network = frozen_network()
    assert processes.any(rank == 1)
    assert not processes.any(answer=False)
    assert processes.told(1.5 if rank == 0 else None) == 1.5
    wrapped = processes.wrapped(network, torch.device("cpu"))
    assert processes.bare(wrapped) is network
    learn(wrapped, processes)
    if processes.first:
        torch.save(network.state_dict(), f"{folder}/weights.pt")
    processes.wait()
    processes.leave()


def test_two_follow_one(tmp_path: Path) -> None:
    multiprocessing.spawn(work, (2, str(tmp_path)), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    together = torch.load(tmp_path / "weights.pt", weights_only=True)
    alone, start = frozen_network(), frozen_network().state_dict()
    learn(alone, Processes())
    worst = moved = 0.0
    for name, value in alone.state_dict().items():
        worst = max(worst, float((value - together[name]).abs().max()))
        moved = max(moved, float((value - start[name]).abs().max()))
    assert worst < 1e-3
    assert moved > 20 * worst  # it did learn, and far more than the two differ


def test_what_torchrun_says() -> None:
    found = Processes.of_environment({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert (found.rank, found.world, found.local_rank, found.first) == (3, 8, 1, False)
    assert Processes.of_environment({}) == Processes(0, 1, 0)
    with pytest.raises(ConfigError, match="expected numbers as torchrun sets them"):
        Processes.of_environment({"RANK": "one"})


def test_alone_nothing_is_asked_of_others() -> None:
    alone = Processes()
    assert alone.any(answer=True)
    assert alone.told(2.0) == 2.0
    assert float(alone.mean(torch.tensor(3.0))) == 3.0
    network = nn.Linear(2, 2)
    assert alone.bare(alone.wrapped(network, torch.device("cpu"))) is network
