"""`motrail sagemaker train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_rows
from motrail.cli.sagemaker.cloud import Config, Rehearse, TrainingFlags, open_cloud
from motrail.cli.sagemaker.jobs import Talk, minutes, say, show_request
from motrail.cli.sagemaker.learning import Learning, LearningFlags, telling_of_fallbacks
from motrail.cli.settings import flags_of, resolve_settings

if TYPE_CHECKING:
    from motrail.config import SageMakerSettings
    from motrail.sagemaker.artifacts import Trained
    from motrail.sagemaker.training import TrainingPlan

TrainFlags: Any = flags_of("train")

PARTLY_DONE = 3


def train_command(
    dataset: Path | None = None,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/sagemaker-train"),
    learning: LearningFlags = None,
    rehearse: Rehearse = None,
    config: Config = None,
    as_json: AsJson = False,
    train: TrainFlags = None,
    sagemaker: TrainingFlags = None,
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
    output
        The folder to make.
    config
        TOML file with the sections [train] and [sagemaker]; flags win over it.
    as_json
        Print the result as one JSON document.
    """
    resolved = resolve_settings({"train": train, "sagemaker": sagemaker}, config)
    settings = resolved.settings.sagemaker
    chosen: Learning = learning or Learning()
    job = chosen.job(dataset)
    if job is not None or dataset is None:
        return _attach(str(job), settings, output, rehearse, as_json=as_json)
    plan = chosen.plan(dataset, resolved)
    if chosen.dry_run:
        return _dry_run(plan, settings, rehearse)
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.training import train as train_there

    with open_cloud(settings, rehearse) as cloud, Talk() as talk, telling_of_fallbacks(settings):
        trained = train_there(
            cloud,
            find_project(cloud, settings),
            settings,
            plan,
            output if chosen.wait else None,
            talk.epochs_watcher(),
            progress=talk.progress,
        )
    return _show(trained, as_json=as_json)


def _attach(
    job: str, settings: SageMakerSettings, output: Path, rehearse: Path | None, *, as_json: bool
) -> int:
    from motrail.sagemaker.training import attach

    with open_cloud(settings, rehearse) as cloud, Talk() as talk, telling_of_fallbacks(settings):
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
