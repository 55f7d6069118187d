"""The entry point `train`: `motrail train` on what SageMaker laid out, on as many machines.

- The run's folder is what SageMaker keeps of a job that is interrupted, so it goes on by itself.
- At the end `model.onnx` and `model.json` go where they become the job's `model.tar.gz`, and the
  rest of the run, but for the checkpoints, beside it.
- SIGTERM (the job is stopped, its time is over, or a spot instance is taken away): a checkpoint is
  saved, the best model so far is handed over, and the exit code is 143, all within 120 seconds. An
  exit code of 0 would make a job that is not done count as Completed. No failure is written.
- What went wrong is written to `output/failure`, and the exit code is 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.errors import ConfigError
from motrail.outputs import WholeFile, writing
from motrail.sagemaker.container.figures import Figures
from motrail.sagemaker.container.hosts import await_name, meeting_place, read_hosts, torchrun
from motrail.sagemaker.container.hyperparameters import read_order, without_training
from motrail.sagemaker.container.places import ROOT_VARIABLE, read_config
from motrail.sagemaker.container.work import STOPPED, FailedError, say, work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motrail.sagemaker.container.hosts import Hosts
    from motrail.sagemaker.container.hyperparameters import Order
    from motrail.sagemaker.container.places import Places
    from motrail.sagemaker.container.work import Stop

SAVING_SECONDS, STOPPING_SECONDS = 75.0, 110.0
"""After SIGTERM: until training has to have saved, and until all has to be over; SageMaker kills
after 120."""
DATASET, WEIGHTS = "dataset", "weights"
_BUNDLE = ("model.onnx", "model.json")
_KEPT_BACK = ("checkpoints", "model", "model.tar.gz")
# What `motrail train` says, in the first process, and torchrun of one that ended with exit code 3.
_LEFT = re.compile(r"^stopped and saved |^ +exitcode +: 3 ")
_GRAPHICS = "import torch; print(torch.cuda.device_count())"


def train(places: Places, stop: Stop, environ: Mapping[str, str] = os.environ) -> int:
    """Train, and hand over what came of it.

    Args:
        places: Where things are.
        stop: Hears SIGTERM.
        environ: The environment.

    Returns:
        The exit code.

    Raises:
        MotrailError: Something is wrong, or training failed.
    """
    order = read_order(places.training_config, environ)
    hosts = read_hosts(places.training_config)
    dataset = find_dataset(places, hosts)
    weights = find_weights(places)
    environ = without_training({k: v for k, v in environ.items() if k != ROOT_VARIABLE})
    environ = {
        "PYTHONUNBUFFERED": "1",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{SAVING_SECONDS - 5:.0f}",
        **environ,
        **hosts.environment(environ),
    }
    if len(hosts) > 1:
        await_name(meeting_place(hosts, environ), stop.asked)
    launch = torchrun(hosts, count_processes(order, environ), environ)
    with tempfile.TemporaryDirectory(prefix="motrail-") as folder:
        config = Path(folder) / "config.toml"
        config.write_text(order.toml(), encoding="utf-8")
        more = [f"--config={config}", *([] if weights is None else [f"--weights={weights}"])]
        command = [sys.executable, *launch, "-m", "motrail", "train", str(dataset),
                   f"--output={places.run}", "--resume", *order.words(), *more]  # fmt: skip
        return _train(command, environ, places, hosts, order, stop)


def _train(
    command: list[str],
    environ: Mapping[str, str],
    places: Places,
    hosts: Hosts,
    order: Order,
    stop: Stop,
) -> int:
    if stop.asked():
        return STOPPED
    ear = _Ear(Figures(places.run, say))
    reason = work(command, environ, stop, grace=SAVING_SECONDS, heard=ear.hear)
    if hosts.first:
        hand_over_rest(places)
    if reason is None:
        if hosts.first:
            hand_over_model(places.run / "model", places.model)
            ear.figures.best(str(order.settings.get("best_by", "ap")))
        return 0
    if stop.asked() or ear.stopped:
        say("told to stop: what was learnt is saved, and another job with it goes on from there")
        if hosts.first:
            _hand_over_best(places, stop.left(STOPPING_SECONDS), environ)
        return STOPPED
    raise FailedError(reason)


class _Ear:
    """Listens to training.

    Attributes:
        figures: Told of each line; of several hosts only the first has something to say.
        stopped: Whether it ended because it, or another host of the job, was told to stop.
    """

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.stopped = False

    def hear(self, line: str) -> None:
        """Take a line."""
        self.figures.hear(line)
        self.stopped |= _LEFT.search(line) is not None


def find_dataset(places: Places, hosts: Hosts) -> Path:
    """The folder of the dataset.

    Raises:
        ConfigError: There is none, or each host was given another part of it.
    """
    channels = read_config(places.training_config / "inputdataconfig.json")
    about = channels.get(DATASET) or {}
    if about.get("TrainingInputMode") == "Pipe":
        raise ConfigError(f"channel {DATASET}: expected input mode File or FastFile, found Pipe")
    if about.get("S3DistributionType") == "ShardedByS3Key" and len(hosts) > 1:
        raise ConfigError(
            f"channel {DATASET}: expected FullyReplicated, found ShardedByS3Key; every host needs "
            "the whole dataset and takes its share of the pictures by itself"
        )
    folder = places.channel(DATASET)
    if not folder.is_dir() or not any(folder.iterdir()):
        names = ", ".join(sorted(channels)) or "none"
        raise ConfigError(
            f"channel {DATASET}: expected a dataset folder with the splits train and val, found "
            f"nothing at {folder}; channels: {names}"
        )
    return folder


def find_weights(places: Places) -> Path | None:
    """What to start from: the one file of the channel `weights`, or a bundle's two.

    Raises:
        ConfigError: There is something else.
    """
    folder = places.channel(WEIGHTS)
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if {path.name for path in files} == set(_BUNDLE):
        return folder
    if len(files) != 1:
        raise ConfigError(f"channel {WEIGHTS}: expected one file, found {len(files)} in {folder}")
    return files[0]


def count_processes(order: Order, environ: Mapping[str, str]) -> int:
    """How many processes this host is good for: one for each GPU, else one.

    Raises:
        FailedError: PyTorch cannot be loaded.
    """
    device = order.settings.get("device", "auto")
    if device not in ("auto", "cuda") or not any(Path("/dev").glob("nvidia[0-9]*")):
        return 1
    # In another process: PyTorch's memory is not needed here.
    ended = subprocess.run(  # noqa: S603  (a command of our own)
        [sys.executable, "-c", _GRAPHICS], env=dict(environ), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if ended.returncode or not ended.stdout.strip().isdecimal():
        last = (ended.stderr.strip().splitlines() or ["no word"])[-1]
        raise FailedError(f"PyTorch cannot be loaded: {last}")
    return max(int(ended.stdout), 1)


def hand_over_model(bundle: Path, place: Path) -> None:
    """Copy a bundle's files to where SageMaker packs them into `model.tar.gz`.

    Raises:
        OutputError: They cannot be written.
    """
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        for name in _BUNDLE:
            with WholeFile(place / name) as file:
                shutil.copyfile(bundle / name, file.temporary)


def hand_over_rest(places: Places) -> None:
    """Copy log, figures and pictures, but neither checkpoints nor models.

    Raises:
        OutputError: They cannot be written.
    """
    with writing(places.output_data):
        places.output_data.mkdir(parents=True, exist_ok=True)
        for path in _rest_of(places.run):
            target = places.output_data / path.relative_to(places.run)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _rest_of(run: Path) -> Iterator[Path]:
    if not run.is_dir():
        return
    for entry in sorted(run.iterdir()):
        if entry.name in _KEPT_BACK or entry.name.startswith("."):
            continue
        found = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
        yield from (path for path in found if path.is_file() and not path.is_symlink())


def _hand_over_best(places: Places, seconds: float, environ: Mapping[str, str]) -> None:
    """Export the best model so far, if there is one and the time suffices."""
    if not (places.run / "checkpoints" / "best.pt").is_file():
        return
    with tempfile.TemporaryDirectory(prefix="motrail-") as folder:
        bundle = Path(folder) / "model"
        words = ["-m", "motrail.sagemaker.container.best", str(places.run), str(bundle)]
        try:
            ended = subprocess.run(  # noqa: S603  (a command of our own)
                [sys.executable, *words], env=dict(environ), timeout=seconds, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            say("note: the time did not suffice to hand over the best model so far")
            return
        for line in ended.stdout.splitlines():
            say(line)
        if not ended.returncode:
            hand_over_model(bundle, places.model)
