"""Several processes that train together follow one that has the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
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


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    """`motrail train` in two processes."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
         "-m", "motrail", "train", *map(str, words), "--device", "cpu"],
        capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.proof
def test_two_train_a_run(tmp_path: Path) -> None:
    """The first alone writes and talks; that it made the folder is not in the second's way."""
    from test_training_trouble import write_data

    data = write_data(tmp_path / "data")
    words = (
        *(data, "-o", tmp_path / "run", "--model", "yolox-nano", "--input-width", "64"),
        *("--batch", "2", "--epochs", "3", "--plain-epochs", "1", "--log-every", "1"),
    )
    ended = torchrun(*words)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("learning from 16 pictures") == 1
    assert ended.stderr.count("epoch=3/3 step=4 ") == 1
    assert ended.stdout.count("written") == 1
    assert (tmp_path / "run" / "model.tar.gz").is_file()
    again = torchrun(*words[:5], "--resume", "--epochs", "4")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("going on after epoch 3, step 0") == 1
    assert again.stderr.count("epoch=4/4 step=4 ") == 1


@pytest.mark.proof
def test_one_of_two_runs_out_of_memory(tmp_path: Path) -> None:
    """Both end, and it says what it knows."""
    from test_training_trouble import FLAGS, write_data

    data = write_data(tmp_path / "data")
    program = tmp_path / "limited.py"
    program.write_text(
        """
import os, sys, torch
from motrail.cli.app import run
from motrail.train.network import Yolox
forward, steps = Yolox.forward, []
def limited(self, images):
    steps.append(1)
    if os.environ["RANK"] == "1" and len(steps) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return forward(self, images)
Yolox.forward = limited
sys.exit(run(sys.argv[1:]))
"""
    )
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(program),
         "train", str(data), "-o", str(tmp_path / "run"), *FLAGS],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 1
    assert (
        "process 1 of 2: cpu is out of memory in epoch 2, step 1, with --batch 4 and pictures of "
        "up to 64x64; try half of it, which was not tried here: --resume --batch 2 --accumulate 2"
    ) in " ".join(ended.stderr.split())


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
