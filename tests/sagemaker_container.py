"""Containers as processes of this machine, with a folder in place of their `/opt/ml`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

import cv2
import numpy as np

from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TINY = {
    "model": "yolox-nano", "input_width": "64", "batch": "4", "epochs": "3", "plain_epochs": "1",
    "log_every": "1", "warmup_steps": "2", "workers": "1",
}  # fmt: skip
SIDE, FRAMES = 96, 12


def squares(folder: Path) -> Path:
    """A dataset of three clips of bright squares on a dark ground, one of them for validation."""
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / "labels.txt").write_text("square\n")
    for clip in range(3):
        place = folder / "labels" / f"clip-{clip}"
        (place / "img1").mkdir(parents=True)
        (place / "gt").mkdir()
        rows = []
        for number in range(1, FRAMES + 1):
            image = np.full((SIDE, SIDE, 3), 40, np.uint8)
            for id_, (x, y) in enumerate([(8 + 4 * number, 10 + 5 * clip), (60 - 3 * number, 60)]):
                cv2.rectangle(image, (x, y), (x + 19, y + 19), (200, 220, 240), -1)
                rows.append(f"{number},{id_ + 1},{x},{y},20,20,1,1,1\n")
            assert cv2.imwrite(str(place / "img1" / f"{number:06}.png"), image)
        (place / "gt" / "gt.txt").write_text("".join(rows))
        (place / "seqinfo.ini").write_text(
            f"[Sequence]\nname=clip-{clip}\nimDir=img1\nframeRate=10\nseqLength={FRAMES}\n"
            f"imWidth={SIDE}\nimHeight={SIDE}\nimExt=.png\n"
        )
    import_labels([folder / "labels"], folder / "all")
    split_dataset(folder / "all", val=0.34, seed=1, output=folder / "data")
    return folder / "data"


def lay_out(
    root: Path,
    hyperparameters: dict[str, str],
    dataset: Path | None = None,
    hosts: Sequence[str] = (),
    current: str = "",
) -> Path:
    """The folder as SageMaker makes it for a training job."""
    config = root / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    if dataset is not None:
        (root / "input" / "data").mkdir()
        (root / "input" / "data" / "dataset").symlink_to(dataset)
        (config / "inputdataconfig.json").write_text(
            json.dumps({"dataset": {"TrainingInputMode": "File"}})
        )
    if hosts:
        write_hosts(config, hosts, current)
    return root


def write_hosts(
    folder: Path, hosts: Sequence[str], current: str, change: Mapping[str, Any] | None = None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"current_host": current, "hosts": list(hosts), "network_interface_name": "lo"}
    (folder / "resourceconfig.json").write_text(json.dumps({**content, **(change or {})}))


def start(
    root: Path, *words: str, log: IO[str] | None = None, **environ: str
) -> subprocess.Popen[str]:
    """A container that has just been started; its log can be read, or goes to a file."""
    return subprocess.Popen(
        [sys.executable, "-m", "motrail.sagemaker.container", *words],
        stdout=subprocess.DEVNULL, stderr=log or subprocess.PIPE, text=True, cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MOTRAIL_OPT_ML": str(root), **environ},
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float = 200) -> tuple[int, str]:
    """Exit code and log of one that has to end within so many seconds."""
    try:
        log = process.communicate(timeout=seconds)[1]
    finally:
        process.kill()
    return process.returncode, log


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read the log until a line has these words; gives what was read."""
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if words in line:
            return read
    raise AssertionError(f"expected {words!r} in the log, found {read}")
