"""`motrail train` without its command line: from a dataset to a model bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from motrail.dataset.folder import open_dataset
from motrail.train import doctor, memory
from motrail.train.average import MovingAverage
from motrail.train.checkpoint import load_checkpoint
from motrail.train.data.ahead import Shard
from motrail.train.data.inspect import inspect
from motrail.train.data.loader import TrainLoader
from motrail.train.data.pictures import Pictures
from motrail.train.data.samples import read_samples
from motrail.train.data.validation import ValidationLoader
from motrail.train.doctor import shorter_sides
from motrail.train.finish import finish
from motrail.train.loop import Learner, State, fit
from motrail.train.network import make_yolox
from motrail.train.optimizer import make_optimizer
from motrail.train.prepare import (
    autocast_type,
    choose_device,
    fingerprint,
    input_size,
    network_size,
    settled,
    training_samples,
    write_settings,
)
from motrail.train.processes import Processes
from motrail.train.resume import carry_on, differences, read_place, restore
from motrail.train.schedule import Schedule
from motrail.train.start import start_from
from motrail.train.watch import Examination, Identity, Listener, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.config import Preset, TrainSettings
    from motrail.dataset.folder import Dataset
    from motrail.train.data.samples import Samples
    from motrail.train.network import Yolox
    from motrail.train.watch import Progress

_REMEASURED = 8
"""Batches that batch normalisation is measured on before a validation."""


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
        say: Takes lines for people; of several processes only the first says something.
        progress: Is told of each batch.

    Raises:
        ConfigError: Settings, dataset or folder do not allow it.
        FormatError: Labels cannot be read.
        ModelError: Weights do not fit.
        MemoryFullError: The network does not fit onto the device.
    """

    def __init__(
        self,
        job: Job,
        say: Callable[[str], None],
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.processes = Processes.of_environment()
        self.job, self.say = job, say if self.processes.first else _nothing
        self.size = network_size(job.model)
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
            pictures=len(self.samples),
            boxes=len(self.samples.class_ids),
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
        self._knows = False
        self.network = self._network()
        self.learner = self._learner()
        self.run = RunFolder(
            job.folder,
            self.identity,
            self.settings,
            self.learner,
            self.processes,
            self.examination,
            Listener(self.say, progress, self._news),
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
        small = float(np.median(sides)) if len(sides) else 0.0
        return Examination(loader, truth, small, self.learnt)

    def learnt(self, epoch: int) -> Iterator[torch.Tensor]:
        """The first batches of an epoch, on the device; none where statistics are frozen."""
        settings = self.settings
        if settings.freeze_statistics:
            return
        plain = settings.is_plain(epoch, settings.epochs)
        with contextlib.closing(self.loader.epoch(epoch, plain=plain)) as batches:
            for images, _targets in itertools.islice(batches, _REMEASURED):
                yield images.to(self.device)

    def _network(self) -> Yolox:
        torch.manual_seed(self.settings.seed)
        network = make_yolox(self.size, len(self.samples.classes))
        if self.job.weights is not None and not (self.job.resume and self._last.exists()):
            self._knows = start_from(network, self.job, self.job.weights, self.loader, self.say)
        with memory.needed(f"{self.job.model}, before the first picture"):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            return network.to(self.device)

    @property
    def _last(self) -> Path:
        return self.job.folder / "checkpoints" / "last.pt"

    def _news(self) -> Iterator[str]:
        """What came up about the pictures."""
        yield from self.pictures.news()
        if self.examination is not None:
            yield from self.examination.loader.pictures.news()

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
            VideoError: Pictures are bad, and are not to be left out.
        """
        if not self._last.exists():
            self.say(f"note: {self.job.folder} has no checkpoint yet; beginning anew")
            self.examine()
            return
        content = read_place(self._last, self.identity)
        self.state = restore(content, self._last, self.network, self.learner)
        for line in differences(content["settings"], self.settings):
            self.say(line)
        shift = carry_on(
            self.state, content, self.settings,
            steps_per_epoch=len(self.loader), world=self.processes.world,
        )  # fmt: skip
        self.learner.schedule = dataclasses.replace(self.learner.schedule, shift=shift)
        if self.state.done or self.state.epoch >= self.settings.epochs:
            why = " (nothing got better)" if self.state.done else ""
            self.say(f"all is learnt, in {self.state.epoch} epochs{why}; writing the model")
            return
        self._inspect()
        if self.processes.first:
            write_settings(self.job.folder / "config.toml", self.settings)
        self.say(f"going on after epoch {self.state.epoch}, step {self.state.step}")

    def examine(self) -> None:
        """Look at the pictures, say what is learnt from, draw the first batch; before all steps.

        Raises:
            VideoError: Pictures are bad, and are not to be left out.
        """
        self._inspect()
        if not self.processes.first:
            return
        whole = self.settings.batch * self.processes.world * self.settings.accumulate
        for line in doctor.report(self.pictures, self.settings, whole):
            self.say(line)
        if self.examination is not None:
            for line in doctor.report_validation(self.examination.loader.pictures.samples):
                self.say(line)
        self.say(doctor.report_board(self.job.folder))
        write_settings(self.job.folder / "config.toml", self.settings)
        doctor.draw_first_batch(self.loader, self.job.folder / "batch0.jpg")

    def _inspect(self) -> None:
        """Look for bad pictures; one process of each host does."""
        if self.processes.local_rank:
            return
        inspect(self.pictures)
        if self.examination is not None:
            inspect(self.examination.loader.pictures)
        for line in self._news():
            self.say(line)

    def check(self, seconds: float = 60) -> doctor.Check:
        """See whether two pictures can be learnt by heart."""
        with memory.needed("to learn two pictures"):
            return doctor.learn_two(self.network, self.pictures, self.settings, seconds=seconds)

    def train(self, stop: Callable[[], bool], *, export: bool = True) -> Result:
        """Train to the end, and write the bundle.

        Args:
            stop: Whether to save and leave; asked after every step and after every epoch.
            export: Whether to write the bundle and the pictures. Who leaves them out and resumes
                the run later gets them then, without further training.

        Raises:
            MemoryFullError: The device's memory does not suffice; says what would.
            NotFiniteError: The loss is no finite number.
            OutputError: Something cannot be written; the last checkpoint stays.
            VideoError: A picture cannot be read.
        """
        result = Result(str(self.job.folder))
        self.run.open(self.state, len(self.loader))
        if self._knows and not self.state.updates:
            self.run.before(stop)
        self._fit(stop)
        self.processes.leave()
        result.epochs, result.updates = self.state.epoch, self.state.updates
        result.stopped = not self.state.done
        if self.state.done and self.processes.first:
            best = self.job.folder / "checkpoints" / "best.pt"
            content = load_checkpoint(best) if best.is_file() else None
            result.figures = content["figures"] if content else {}
            if export:
                finish(self, content)
                result.bundle = str(self.job.folder / "model.tar.gz")
        return result

    def _fit(self, stop: Callable[[], bool]) -> None:
        try:
            fit(self.learner, self.loader, self.settings, self.state, self.run, self.processes,
                stop=stop)  # fmt: skip
        except RuntimeError as error:
            if not memory.is_full(error):
                raise
        else:
            return
        # Out here the failed step is forgotten, and the memory that it held is free again.
        if self.processes.world == 1:
            self.say(f"{self.device} is out of memory; trying what would fit")
        trial = memory.Trial(self.learner, self.network, self.loader)
        raise memory.advice(trial, self.settings, self.job.model, self.state, self.processes)


def _nothing(_line: str) -> None:
    """For the processes that are not the first."""
