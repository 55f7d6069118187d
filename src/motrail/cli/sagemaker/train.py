"""`motrail sagemaker train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_rows
from motrail.cli.sagemaker.cloud import Config, Rehearse, SageMakerFlags, open_cloud
from motrail.cli.sagemaker.jobs import (
    Talk,
    given_settings,
    minutes,
    say,
    show_request,
)
from motrail.cli.settings import flags_of, parse_map, resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from motrail.config import SageMakerSettings
    from motrail.sagemaker.artifacts import Trained
    from motrail.sagemaker.training import TrainingPlan

TrainFlags: Any = flags_of("train")

PARTLY_DONE = 3


def train_command(
    dataset: Path | None = None,
    *,
    model: Annotated[str, Parameter(name=("--model", "-m"))] = "yolox-s",
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/sagemaker-train"),
    weights: Annotated[Path | None, Parameter(name=("--weights", "-w"))] = None,
    preset: Literal["bytetrack", "yolox", "yolox-legacy"] | None = None,
    classes: str | None = None,
    map_: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = (),
    input_mode: Literal["File", "FastFile"] = "File",
    instances: int = 1,
    attach: str | None = None,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    rehearse: Rehearse = None,
    config: Config = None,
    as_json: AsJson = False,
    train: TrainFlags = None,
    sagemaker: SageMakerFlags = None,
) -> int:
    """Train a detector at Amazon SageMaker; ends with a model bundle here.

    The dataset is checked here, and what changed of it goes to S3; then a training job does what
    motrail train does here, and its log is shown as it comes. Ctrl-C asks whether the job is to be
    stopped. Into the output folder come `model.tar.gz` and what else the run left.

    For example:

    - `motrail sagemaker train data --model yolox-s --epochs 50 -o runs/parcels`
    - `motrail sagemaker train data --model yolox-x --instances 4 --no-spot`
    - `motrail sagemaker train --attach motrail-train-20261123-191500-3f2a -o runs/parcels`
    - `motrail sagemaker train data --model yolox-nano --epochs 2 --rehearse rehearsal`

    Parameters
    ----------
    dataset
        A dataset with the splits train and val; `motrail dataset split` makes them.
    model
        yolox-nano, -tiny, -s, -m, -l or -x: from fast and small to slow and exact.
    output
        The folder to make.
    weights
        What to start from: an official YOLOX .pth, a model bundle, an .onnx or a checkpoint.
    preset
        How the network of --weights wants its pictures, where that is not said.
    classes
        Names of the classes to learn, separated by commas; all that have labels if unset.
    map_
        What a class of the dataset is called in --classes, as in person=player; may be given
        several times.
    input_mode
        File copies the dataset to the instance before training, FastFile streams it from S3.
    instances
        How many instances train together.
    attach
        Name of a job to wait for, in place of making one.
    wait
        Wait for the end; --no-wait leaves the job running.
    dry_run
        Print the request that would make the job, and send nothing.
    config
        TOML file with the sections [train] and [sagemaker]; flags win over it.
    as_json
        Print the result as one JSON document.
    """
    resolved = resolve_settings({"train": train, "sagemaker": sagemaker}, config)
    settings = resolved.settings.sagemaker
    if (dataset is None) == (attach is None):
        raise ConfigError("expected a dataset to train on, or --attach JOB, and not both")
    if dataset is None:
        return _attach(str(attach), settings, output, rehearse, as_json=as_json)
    from motrail.sagemaker.training import LEFT_OUT, TrainingPlan

    given = given_settings(resolved, "train")
    for key in LEFT_OUT:
        if given.pop(key, "auto") != "auto":
            say(f"note: --{key} is left out, as the instance decides it")
    plan = TrainingPlan(
        dataset,
        model,
        given,
        weights,
        preset,
        tuple(name.strip() for name in classes.split(",")) if classes else None,
        parse_map(map_),
        input_mode,
        instances,
    )
    if dry_run:
        return _dry_run(plan, settings, rehearse)
    if settings.spot and settings.training_fallbacks:
        say(
            f"note: spot instances are all {settings.training_instance}; SageMaker takes "
            "fallbacks with --no-spot only"
        )
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.training import train as train_there

    with open_cloud(settings, rehearse) as cloud, Talk() as talk:
        trained = train_there(
            cloud,
            find_project(cloud, settings),
            settings,
            plan,
            output if wait else None,
            talk.epochs_watcher(),
            progress=talk.progress,
        )
    return _show(trained, as_json=as_json)


def _attach(
    job: str, settings: SageMakerSettings, output: Path, rehearse: Path | None, *, as_json: bool
) -> int:
    from motrail.sagemaker.training import attach

    with open_cloud(settings, rehearse) as cloud, Talk() as talk:
        return _show(attach(cloud, job, output, talk.epochs_watcher()), as_json=as_json)


def _dry_run(plan: TrainingPlan, settings: SageMakerSettings, rehearse: Path | None) -> int:
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.requests.training import create_training_job
    from motrail.sagemaker.training import check_request, order_of

    with open_cloud(settings, rehearse) as cloud:
        project = find_project(cloud, settings)
    request = create_training_job(
        order_of(plan, project.unique("train"), project), project, settings
    )
    check_request(request)
    return show_request(request)


def _show(trained: Trained, *, as_json: bool) -> int:
    code = 0 if trained.stopped is None else PARTLY_DONE
    if trained.stopped is not None:
        say(f"{trained.stopped}; what it had learnt so far is here")
    if as_json:
        print_json(trained.as_dict())
        return code
    rows: list[tuple[str, Any]] = [("job", trained.job)]
    rows += [(name, f"{value:.4g}") for name, value in trained.metrics.items()]
    if trained.seconds:
        saved = 1 - trained.billed_seconds / trained.seconds
        spot = f", {saved:.0%} saved" if trained.billed_seconds and saved > 0 else ""
        billed = f", {minutes(trained.billed_seconds)} to pay for{spot}"
        rows.append(("trained", f"{minutes(trained.seconds)} on {trained.instance}{billed}"))
    if trained.bundle is None:
        say(f"not waited for: motrail sagemaker train --attach {trained.job}")
    else:
        rows.append(("written", trained.bundle))
    print_rows(rows)
    return code
