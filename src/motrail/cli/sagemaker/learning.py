"""What training and tuning at Amazon SageMaker are given alike, and what is made of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.sagemaker.jobs import given_settings, say
from motrail.cli.settings import parse_map
from motrail.errors import ConfigError, MotrailError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.config import Resolved, SageMakerSettings
    from motrail.sagemaker.training import TrainingPlan


def _about(text: str, *names: str, negative: str = "") -> Parameter:
    return Parameter(name=names or None, help=text, negative=negative)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Learning:
    """Flags of both commands."""

    model: Annotated[str, _about(
        "yolox-nano, -tiny, -s, -m, -l or -x: from fast and small to slow and exact.",
        "--model", "-m",
    )] = "yolox-s"  # fmt: skip
    weights: Annotated[Path | None, _about(
        "What to start from: an official YOLOX .pth, a model bundle, an .onnx or a checkpoint.",
        "--weights", "-w",
    )] = None  # fmt: skip
    preset: Annotated[Literal["bytetrack", "yolox", "yolox-legacy"] | None, _about(
        "How the network of --weights wants its pictures, where that is not said.", "--preset",
    )] = None  # fmt: skip
    classes: Annotated[str | None, _about(
        "Names of the classes to learn, separated by commas; all that have labels if unset.",
        "--classes",
    )] = None  # fmt: skip
    map_: Annotated[tuple[str, ...], _about(
        "What a class of the dataset is called in --classes, as in person=player; may be given "
        "several times.",
        "--map",
    )] = ()  # fmt: skip
    input_mode: Annotated[Literal["File", "FastFile"], _about(
        "File copies the dataset to the instance before training, FastFile streams it from S3.",
        "--input-mode",
    )] = "File"  # fmt: skip
    instances: Annotated[int, _about(
        "How many instances train together; in a tuning job, each trial.", "--instances",
    )] = 1  # fmt: skip
    attach: Annotated[str | None, _about(
        "Name of a job to wait for, in place of making one.", "--attach",
    )] = None  # fmt: skip
    wait: Annotated[bool, _about(
        "Wait for the end; --no-wait leaves the job running.", "--wait", negative="--no-wait",
    )] = True  # fmt: skip
    dry_run: Annotated[bool, _about(
        "Print the request that would make the job, and send nothing.", "--dry-run",
    )] = False  # fmt: skip

    def job(self, dataset: Path | None) -> str | None:
        """The job to wait for; None where one is to be made.

        Raises:
            ConfigError: There is neither a dataset nor a job, or both.
        """
        if (dataset is None) == (self.attach is None):
            raise ConfigError("expected a dataset to train on, or --attach JOB, and not both")
        return self.attach

    def plan(self, dataset: Path, resolved: Resolved) -> TrainingPlan:
        """What is to be trained, each time.

        Args:
            dataset: A dataset folder.
            resolved: With the settings of `[train]`; what is not for the instance is left out.

        Raises:
            ConfigError: `--map` says something else than expected.
        """
        from motrail.sagemaker.training import LEFT_OUT, TrainingPlan

        given = given_settings(resolved, "train")
        for key in LEFT_OUT:
            if given.pop(key, "auto") != "auto":
                say(f"note: --{key} is left out, as the instance decides it")
        classes = self.classes.split(",") if self.classes else ()
        return TrainingPlan(
            dataset,
            self.model,
            given,
            self.weights,
            self.preset,
            tuple(name.strip() for name in classes) or None,
            parse_map(self.map_),
            self.input_mode,
            self.instances,
        )


LearningFlags: Any = Annotated[Learning | None, Parameter(name="*")]


@contextlib.contextmanager
def telling_of_fallbacks(settings: SageMakerSettings) -> Iterator[None]:
    """Say what else there is where an error has its reason in a lack of spot instances."""
    from motrail.sagemaker.errors import lacks_instances

    try:
        yield
    except MotrailError as error:
        if settings.spot and settings.training_fallbacks and lacks_instances(error):
            say(
                f"note: spot instances are all {settings.training_instance}; with --no-spot "
                f"SageMaker takes {', '.join(settings.training_fallbacks)}, too, where there is "
                "none of it"
            )
        raise
