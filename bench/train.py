"""Training: what a step costs, what all around it costs, and whether memory grows.

The step is forward, losses, backward and an SGD step. It is compared on the same pictures and boxes
with that of the maintained YOLOX package pixeltable-yolox; no pictures are loaded. The whole loop,
which reads, changes and batches pictures in threads beside it, is compared with the same steps on
batches that lie ready. All take turns, so that a busy machine hurts each alike; the median of the
ratios counts.

    python bench/train.py [--size nano] [--side 416] [--batch 8] [--steps 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch

from motrail.config import TrainSettings
from motrail.dataset.scenes.settings import SceneSettings
from motrail.dataset.synth import write_scenes
from motrail.train.loop import State, fit
from motrail.train.loss import yolox_loss
from motrail.train.network import make_yolox
from motrail.train.prepare import prepare_folder
from motrail.train.run import Job, Training
from motrail.train.targets import Targets

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from yolox_reference import make_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

OBJECTS = 10
CLASSES = 80
STEP_GOAL, LOOP_GOAL = 1.15, 0.9
FRAMES = 240
EPOCHS = 6
SETTLED = 2
"""Epochs after which memory is to stay what it is."""


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
    print(f"{'yolox-' + size:>12} {our:8.3f} {their:9.3f} {ratio:7.2f} {STEP_GOAL:6.2f}")


def make_training(size: str, side: int, batch: int, folder: Path) -> Training:
    """A run over synthetic football, with every change of pictures but that of the input's size."""
    data = folder / "data"
    write_scenes([("train", "football", SceneSettings(frames=FRAMES))], data)
    settings = TrainSettings(
        epochs=EPOCHS, batch=batch, input_width=side, multiscale=0.0, plain_epochs=0, device="cpu"
    )
    job = Job(data, f"yolox-{size}", folder / "run", settings)
    prepare_folder(job)
    return Training(job, lambda _line: None)


def loop_epoch(training: Training, epoch: int) -> float:
    """Seconds for a picture in the whole loop."""
    settings = dataclasses.replace(training.settings, epochs=epoch + 1)
    start = time.perf_counter()
    fit(training.learner, training.loader, settings, State(epoch=epoch), training.run,
        training.processes)  # fmt: skip
    return (time.perf_counter() - start) / (len(training.loader) * settings.batch)


def bare_epoch(training: Training, batches: list[tuple[Tensor, Targets]]) -> float:
    """Seconds for a picture where batches lie ready."""
    learner = training.learner
    learner.network.train()
    start = time.perf_counter()
    for images, targets in batches:
        height, width = images.shape[2:]
        losses = yolox_loss(learner.network(images.float()), targets, height, width, use_l1=False)
        losses.total.backward()  # type: ignore[no-untyped-call]
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - start) / sum(len(images) for images, _ in batches)


def peak_megabytes() -> float:
    """The most memory this process ever had, in MiB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def run_loop(size: str, batch: int, side: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        training = make_training(size, side, batch, Path(name))
        with contextlib.closing(training.loader.epoch(0, plain=False)) as ready:
            batches = list(ready)
        times, memory = [], []
        for epoch in range(EPOCHS):
            times.append((loop_epoch(training, epoch), bare_epoch(training, batches)))
            memory.append(peak_megabytes())
    ratio = median(bare / loop for loop, bare in times)
    loop, bare = (1 / median(column) for column in zip(*times, strict=True))
    print(f"\n{'':>12} {'loop /s':>8} {'bare /s':>9} {'ratio':>7} {'goal':>6}")
    print(f"{'images':>12} {loop:8.1f} {bare:9.1f} {ratio:7.2f} {LOOP_GOAL:6.2f}")
    print(
        f"\nlargest memory after {SETTLED} epochs {memory[SETTLED - 1]:.0f} MiB, "
        f"after {EPOCHS} {memory[-1]:.0f} MiB: {memory[-1] / memory[SETTLED - 1]:.3f} times"
    )


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
    run_loop(arguments.size, arguments.batch, arguments.side)


if __name__ == "__main__":
    main()
