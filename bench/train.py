"""Training: steps a second against those of the maintained YOLOX package pixeltable-yolox.

A step is forward, losses, backward and an SGD step on the same pictures and the same boxes; no
pictures are loaded. The two take turns, so that a busy machine hurts both alike; the median of the
ratios counts.

    python bench/train.py [--size nano] [--side 416] [--batch 8] [--steps 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch

from motrail.train.loss import yolox_loss
from motrail.train.network import make_yolox
from motrail.train.targets import Targets

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from yolox_reference import make_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

OBJECTS = 10
CLASSES = 80
GOAL = 1.15


def make_batch(batch: int, side: int) -> tuple[Tensor, Targets]:
    """Noise with boxes at random; there is nothing in the time that depends on the content."""
    torch.manual_seed(0)
    images = torch.rand(batch, 3, side, side) * 255
    size = torch.rand(batch, OBJECTS, 2) * side / 3 + 8
    boxes = torch.cat((torch.rand(batch, OBJECTS, 2) * side, size), dim=2)
    class_ids = torch.randint(0, CLASSES, (batch, OBJECTS))
    return images, Targets(boxes, class_ids, torch.zeros(batch, 0, 4))


def sgd(net: nn.Module, *, fused: bool | None = None) -> torch.optim.SGD:
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    return torch.optim.SGD(net.parameters(), lr=1e-4, fused=fused, **options)  # type: ignore[arg-type]


def our_step(size: str, images: Tensor, targets: Targets) -> Callable[[], None]:
    net = make_yolox(size, CLASSES).to(memory_format=torch.channels_last)  # type: ignore[arg-type,call-overload]
    optimizer = sgd(net, fused=True)
    height, width = images.shape[2:]
    images = images.to(memory_format=torch.channels_last)

    def step() -> None:
        losses = yolox_loss(net(images), targets, height, width, use_l1=False)
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def reference_step(size: str, images: Tensor, targets: Targets) -> Callable[[], None]:
    net = make_reference(size, CLASSES)
    optimizer = sgd(net)
    labels = torch.cat((targets.class_ids[..., None].float(), targets.boxes), dim=2)

    def step() -> None:
        losses = net(images, labels)
        optimizer.zero_grad()
        losses["total_loss"].backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(size: str, batch: int, side: int, steps: int) -> None:
    images, targets = make_batch(batch, side)
    ours = our_step(size, images, targets)
    theirs = reference_step(size, images, targets)
    times = [(seconds(ours), seconds(theirs)) for _ in range(steps + 2)][2:]
    print(f"{'':>12} {'ours s':>8} {'theirs s':>9} {'ratio':>7} {'goal':>6}")
    ratio = median(their / our for our, their in times)
    our, their = (median(column) for column in zip(*times, strict=True))
    print(f"{'yolox-' + size:>12} {our:8.3f} {their:9.3f} {ratio:7.2f} {GOAL:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--size", default="nano")
    parser.add_argument("--side", type=int, default=416)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # The package uses names that PyTorch is about to drop.
    warnings.simplefilter("ignore")
    compare(arguments.size, arguments.batch, arguments.side, arguments.steps)


if __name__ == "__main__":
    main()
