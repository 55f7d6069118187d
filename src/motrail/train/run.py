"""`motrail train` without its command line: from a dataset to a model bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import motrail
from motrail.dataset.folder import open_dataset
from motrail.errors import MissingExtraError, ModelError

try:
    import torch
except ImportError as error:
    raise MissingExtraError("torch", "train", error) from error

from motrail.detect.bundle import preset_spec, read_bundle
from motrail.train import doctor
from motrail.train.average import MovingAverage
from motrail.train.checkpoint import load_checkpoint
from motrail.train.data.ahead import Shard
from motrail.train.data.loader import TrainLoader
from motrail.train.data.pictures import Pictures
from motrail.train.data.samples import read_samples
from motrail.train.data.validation import ValidationLoader
from motrail.train.doctor import shorter_sides
from motrail.train.export import Product, write_bundle
from motrail.train.look import draw_curves, draw_examples
from motrail.train.loop import Learner, State, fit
from motrail.train.network import make_yolox
from motrail.train.normalisation import adapt_input, calibrate
from motrail.train.optimizer import make_optimizer
from motrail.train.prepare import (
    autocast_type,
    choose_device,
    fingerprint,
    input_size,
    network_size,
    settled,
    shown,
    training_samples,
    write_settings,
)
from motrail.train.processes import Processes
from motrail.train.schedule import Schedule
from motrail.train.watch import Examination, Identity, RunFolder, forget_after
from motrail.train.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from motrail.config import Preset, TrainSettings
    from motrail.dataset.folder import Dataset
    from motrail.train.data.samples import Samples
    from motrail.train.network import Yolox

_CHECKPOINTS = (".pth", ".pt", ".ckpt")
_CALIBRATION = 4
"""Batches that show how large the answers of each layer are, where that is not known."""


@dataclass(frozen=True)
class Job:
    """What is to be trained.

    Attributes:
        dataset: A dataset folder with the splits `train` and `val`.
        model: One of `MODELS`.
        folder: Of the run.
        settings: How.
        weights: What to start from: a checkpoint, a bundle or an `.onnx`; None starts from nothing.
        classes: Names of the classes to learn; None learns those that have labels.
        names: What classes of the dataset are called in `classes`, where that differs.
        preset: How the network of a bare `.onnx` or checkpoint wants its pictures.
        resume: Whether to go on with the run in the folder.
    """

    dataset: Path
    model: str
    folder: Path
    settings: TrainSettings
    weights: Path | None = None
    classes: Sequence[str] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    preset: Preset | None = None
    resume: bool = False


@dataclass
class Result:
    """What came of it.

    Attributes:
        folder: Of the run.
        epochs: That were trained in all.
        updates: Steps of the optimizer in all.
        figures: Of the best model on the validation split.
        bundle: The model; None where training was stopped before the end.
        stopped: Whether it was told to stop.
    """

    folder: str
    epochs: int = 0
    updates: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    bundle: str | None = None
    stopped: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self)


class Training:
    """A training run, put together and ready to go.

    Args:
        job: What is to be trained.
        say: Takes lines for people.

    Raises:
        ConfigError: Settings, dataset or folder do not allow it.
        FormatError: Labels cannot be read.
        ModelError: Weights or the checkpoint do not fit.
    """

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        self.job, self.say = job, say
        self.size = network_size(job.model)
        self.processes = Processes.of_environment()
        self.device = choose_device(job.settings.device, self.processes.local_rank)
        dataset = open_dataset(job.dataset)
        self.samples = training_samples(dataset, job)
        self.settings = settled(job, self.size, self.samples)
        self.height, self.width = input_size(self.settings)
        self.identity = Identity(
            job.model,
            self.samples.classes,
            self.height,
            self.width,
            fingerprint(self.samples),
        )
        self.pictures = self._pictures(self.samples)
        self.loader = TrainLoader(
            self.pictures,
            self.settings.for_network(self.size),
            batch=self.settings.batch,
            seed=self.settings.seed,
            workers=self.settings.workers,
            shard=Shard(self.processes.rank, self.processes.world),
            pin_memory=self.device.type == "cuda",
        )
        self.examination = self._examination(dataset)
        self.state = State()
        self.network = self._network()
        self.learner = self._learner()
        self.run = RunFolder(
            job.folder,
            self.identity,
            self.settings,
            self.learner,
            self.processes,
            self.examination,
            say,
        )

    def _pictures(self, samples: Samples) -> Pictures:
        share = self.settings.cache_gb
        return Pictures(
            samples,
            self.height,
            self.width,
            cache_bytes=None if share is None else int(share * (1 << 30) / 2),
            on_bad=self.settings.bad_pictures,
        )

    def _examination(self, dataset: Dataset) -> Examination | None:
        if "val" not in dataset.splits:
            self.say(
                "note: there is no split val, so nothing says which epoch is the best, or how good "
                "it is; make one with `motrail dataset split`"
            )
            return None
        samples = read_samples(
            dataset, "val", classes=self.samples.classes, mapping=self.job.names,
            limits=self.settings,
        )  # fmt: skip
        loader = ValidationLoader(
            self._pictures(samples), batch=self.settings.batch, workers=self.settings.workers
        )
        called = self.job.names
        truth = [
            labels.replace(classes=tuple(called.get(name, name) for name in labels.classes))
            for labels in dataset.source("val")
        ]
        sides = shorter_sides(self.pictures)
        return Examination(loader, truth, float(np.median(sides)) if len(sides) else 0.0)

    def _network(self) -> Yolox:
        torch.manual_seed(self.settings.seed)
        network = make_yolox(self.size, len(self.samples.classes))
        fresh = not (self.job.resume and (self.job.folder / "checkpoints" / "last.pt").exists())
        if self.job.weights is not None and fresh:
            self._start_from(network, self.job.weights)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.to(self.device)

    def _start_from(self, network: Yolox, path: Path) -> None:
        spec = read_bundle(path).spec if path.suffix not in _CHECKPOINTS else None
        wanted = spec.input if spec is not None else None
        if spec is None and self.job.preset is not None:
            wanted = preset_spec(self.job.preset, 32, 32, ["any"], path).input
        loaded = load_weights(
            network,
            path,
            classes_from=spec.classes if spec else None,
            classes_to=self.samples.classes if spec else None,
        )
        self.say(f"weights: {loaded.summary}")
        if wanted is not None:
            adapt_input(network, wanted)
        elif path.suffix == ".onnx":
            self.say(
                f"note: {path.name} does not say how it wants its pictures; taken for BGR from 0 "
                "to 255, as YOLOX has them now (--preset bytetrack or yolox-legacy says otherwise)"
            )
        if loaded.fused:
            batches = self.loader.epoch(0, plain=True)
            with contextlib.closing(batches):
                few = (images.float() for _, (images, _) in zip(range(_CALIBRATION), batches))  # noqa: B905
                calibrate(network, few)

    def _learner(self) -> Learner:
        settings, steps = self.settings, self._steps()
        learner_network: Any = self.network
        if settings.compile:
            learner_network = torch.compile(learner_network)
        self.processes.join(self.device)
        autocast = autocast_type(settings.precision, self.device)
        return Learner(
            self.processes.wrapped(learner_network, self.device),
            make_optimizer(self.network, settings),
            MovingAverage(self.network, settings.average_decay),
            Schedule(
                settings.learning_rate or 0.0,
                steps,
                warmup=settings.warmup_steps or 0,
                plain=min(settings.plain_epochs * (steps // settings.epochs), steps // 2),
            ),
            torch.amp.GradScaler(self.device.type, enabled=autocast is torch.float16),
            autocast,
            self.device,
        )

    def _steps(self) -> int:
        """Steps of the optimizer in all epochs."""
        return self.settings.epochs * math.ceil(len(self.loader) / self.settings.accumulate)

    def resume(self) -> None:
        """Go on where the run in the folder stopped; begin anew if it did not get far enough.

        Raises:
            ModelError: The checkpoint is of another model, dataset or classes, or broken.
        """
        path = self.job.folder / "checkpoints" / "last.pt"
        if not path.exists():
            self.say(f"note: {self.job.folder} has no checkpoint yet; beginning anew")
            forget_after(self.job.folder, -1)
            self.examine()
            return
        content = load_checkpoint(path)
        before = {**content["identity"], "classes": tuple(content["identity"]["classes"])}
        now = dataclasses.asdict(self.identity)
        for key, value in now.items():
            if before.get(key) != value:
                raise ModelError(
                    f"{path}: is of another training: expected {key} {shown(value)}, found "
                    f"{shown(before.get(key))}; train into another folder with -o"
                )
        self.network.load_state_dict(content["network"])
        self.learner.average.load(content["average"])
        self.learner.optimizer.load_state_dict(content["optimizer"])
        self.learner.scaler.load_state_dict(content["scaler"])
        self.state = State(**content["state"])
        forget_after(self.job.folder, self.state.updates)
        self.say(f"going on after epoch {self.state.epoch}, step {self.state.step}")

    def examine(self) -> None:
        """Say what is learnt from, and draw the first batch; before the first step."""
        if not self.processes.first:
            return
        whole = self.settings.batch * self.processes.world * self.settings.accumulate
        for line in doctor.report(self.pictures, self.settings, whole):
            self.say(line)
        write_settings(self.job.folder / "config.toml", self.settings)
        doctor.draw_first_batch(self.loader, self.job.folder / "batch0.jpg")

    def check(self, seconds: float = 60) -> doctor.Check:
        """See whether two pictures can be learnt by heart."""
        return doctor.learn_two(self.network, self.pictures, self.settings, seconds=seconds)

    def train(self, stop: Callable[[], bool], *, export: bool = True) -> Result:
        """Train to the end, and write the bundle.

        Args:
            stop: Whether to save and leave; asked after every step and after every epoch.
            export: Whether to write the bundle and the pictures. Who leaves them out and resumes
                the run later gets them then, without further training.
        """
        result = Result(str(self.job.folder))
        try:
            fit(self.learner, self.loader, self.settings, self.state, self.run, self.processes,
                stop=stop)  # fmt: skip
        finally:
            self.processes.leave()
        result.epochs, result.updates = self.state.epoch, self.state.updates
        result.stopped = not self.state.done
        if self.state.done and self.processes.first:
            best = self.job.folder / "checkpoints" / "best.pt"
            content = load_checkpoint(best) if best.is_file() else None
            result.figures = content["figures"] if content else {}
            if export:
                self._finish(content)
                result.bundle = str(self.job.folder / "model.tar.gz")
        return result

    def _finish(self, best: Mapping[str, Any] | None) -> None:
        """Export the best network, or the last where there was no validation."""
        figures: dict[str, float] = {}
        classes: dict[str, Any] = {}
        network = self.learner.average.network
        if best is not None:
            network.load_state_dict(best["network"])
            figures, classes = best["figures"], best["classes"]
        product = Product(
            self.job.model,
            self.samples.classes,
            self.height,
            self.width,
            metrics={**figures, "classes": classes} if figures else {},
            provenance=self.provenance(),
        )
        network_: Any = network
        difference = write_bundle(
            network_.cpu(), product, self.job.folder / "model", self.job.folder / "model.tar.gz"
        )
        self.say(f"exported; the largest difference to PyTorch is {difference:.1e}")
        self._draw()

    def _draw(self) -> None:
        """Curves, and what the best network finds, for people to look at."""
        folder, examination = self.job.folder, self.examination
        try:
            draw_curves(folder)
        except MissingExtraError as error:
            self.say(f"note: no results.png: {error}")
        seen = self.run.best or self.run.last
        if examination is not None and seen is not None:
            draw_examples(folder, examination.truth, seen.detections)

    def provenance(self) -> dict[str, Any]:
        """What the model was made from."""
        return {
            "made_by": f"motrail {motrail.__version__}",
            "dataset": self.identity.dataset,
            "pictures": len(self.samples),
            "boxes": len(self.samples.class_ids),
            "seed": self.settings.seed,
            "epochs": self.state.epoch,
            "updates": self.state.updates,
            "weights": self.job.weights.name if self.job.weights else None,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        }
