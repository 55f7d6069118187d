"""What training decides before it begins: sizes, rates, devices, and where things go."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch

from motrail.errors import ConfigError
from motrail.outputs import WholeFile, output_folder, writing
from motrail.train.data.samples import read_samples
from motrail.train.network import Size
from motrail.train.processes import Processes

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.config import TrainSettings
    from motrail.dataset.folder import Dataset
    from motrail.train.data.samples import Samples
    from motrail.train.run import Job

SIZES: tuple[str, ...] = get_args(Size)
MODELS = tuple(f"yolox-{size}" for size in SIZES)
_SMALL_SIZES = ("nano", "tiny")
BEFORE_THE_FIRST_STEP = ("batch0.jpg", "config.toml")
"""Files of a run's folder that `--check`, too, leaves behind."""


def network_size(model: str) -> Size:
    """The size in the name of a model.

    Raises:
        ConfigError: There is no such model.
    """
    name = model.removeprefix("yolox-")
    if model not in MODELS:
        raise ConfigError(f"--model: expected one of {', '.join(MODELS)}, found {model!r}")
    return name  # type: ignore[return-value]


def training_samples(dataset: Dataset, job: Job) -> Samples:
    """The pictures to learn from.

    Raises:
        ConfigError: There is no split `train`, or a class asked for is not there.
        FormatError: Labels cannot be read, or there is nothing to learn.
    """
    if "train" not in dataset.splits:
        raise ConfigError(
            f"{job.dataset}: expected a split train, found {', '.join(dataset.splits)}; make one "
            f"with `motrail dataset split {job.dataset} --val 0.2`"
        )
    return read_samples(
        dataset, "train", classes=job.classes, mapping=job.names, limits=job.settings
    )


def input_size(settings: TrainSettings) -> tuple[int, int]:
    """Height and width of the network's input, of settled settings."""
    width = settings.input_width or 0
    return settings.input_height or width, width


def settled(job: Job, size: str, samples: Samples) -> TrainSettings:
    """The settings with what was left open decided."""
    settings = job.settings
    width = settings.input_width or (416 if size in _SMALL_SIZES else 640)
    usual = 0.02 if job.weights is None else 0.002
    processes = Processes.of_environment().world
    whole = settings.batch * processes * settings.accumulate
    steps = settings.epochs * max(len(samples) // whole, 1)
    return dataclasses.replace(
        settings,
        input_width=width,
        input_height=settings.input_height or width,
        learning_rate=settings.learning_rate or usual * math.sqrt(whole / 8),
        warmup_steps=min(max(steps // 10, 10), 1000)
        if settings.warmup_steps is None
        else settings.warmup_steps,
        plain_epochs=min(settings.plain_epochs, settings.epochs // 4),
    )


def autocast_type(wanted: str, device: torch.device) -> torch.dtype | None:
    """The type to compute in; None for float32."""
    if wanted == "auto":
        good = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if good else None
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]


def choose_device(wanted: str, local_rank: int = 0) -> torch.device:
    """The device of this process.

    Raises:
        ConfigError: There is no such device here.
    """
    kind, _, number = wanted.partition(":")
    if wanted == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"--device {wanted}: PyTorch finds no CUDA here; cpu always works")
        index = int(number) if number.isdigit() else local_rank
        if index >= torch.cuda.device_count():
            raise ConfigError(
                f"--device {wanted}: expected a device below {torch.cuda.device_count()}"
            )
        return torch.device("cuda", index)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"--device {wanted}: PyTorch finds no Apple GPU here")
    if kind not in ("cpu", "mps"):
        raise ConfigError(f"--device: expected auto, cpu, cuda, cuda:N or mps, found {wanted!r}")
    return torch.device(kind)


def fingerprint(samples: Samples) -> str:
    """SHA-256 of the labels that are learnt from, and of which pictures they belong to."""
    digest = hashlib.sha256()
    digest.update(repr((samples.classes, samples.sequences)).encode())
    for column in (
        samples.sequence_ids, samples.frames, samples.sizes, samples.box_starts,
        samples.boxes_xyxy, samples.class_ids, samples.ignore_starts, samples.ignore_xyxy,
    ):  # fmt: skip
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def shown(value: object) -> str:
    """A value as messages show it."""
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def prepare_folder(job: Job) -> None:
    """Make the folder of a run.

    Of several processes only the first looks what is in it: for the others it may be there already.

    Raises:
        ConfigError: It holds a run already, and this one is not to go on with it.
        OutputError: It cannot be made or written to.
    """
    folder = job.folder
    if not Processes.of_environment().first:
        return
    with writing(folder):
        if not job.resume and folder.is_dir() and _in_use(folder):
            raise ConfigError(
                f"{folder}: holds something already; add --resume to go on with the run there, or "
                "choose another folder with -o"
            )
        output_folder(folder / "checkpoints")
        # What a process that was killed had begun to write.
        for place in (folder, folder / "checkpoints"):
            for path in place.iterdir():
                if re.fullmatch(r"\.[0-9a-f]{16}", path.name) and path.is_file():
                    path.unlink()


def _in_use(folder: Path) -> bool:
    """Whether there is more in it than a run leaves that did not come to its first step."""
    checkpoints = folder / "checkpoints"
    known = {checkpoints, *(folder / name for name in BEFORE_THE_FIRST_STEP)}
    return not known.issuperset(folder.iterdir()) or (
        checkpoints.is_dir() and any(checkpoints.iterdir())
    )


def write_settings(path: Path, settings: TrainSettings) -> None:
    """Write a TOML file that `--config` takes, with the settings that were decided.

    Raises:
        OutputError: It cannot be written.
    """
    lines = ["[train]"]
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if value is not None:  # TOML has no word for nothing, which is the default then
            shown_value = list(value) if isinstance(value, tuple) else value
            lines.append(f"{item.name} = {json.dumps(shown_value)}")
    file = WholeFile(path)
    with writing(path), file:
        file.temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
