"""Train at SageMaker: check here, upload what changed, start, wait, bring the bundle home."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motrail.dataset.folder import open_dataset
from motrail.errors import ConfigError
from motrail.sagemaker.artifacts import Trained, collect, has_artifact, see_that_it_is_free
from motrail.sagemaker.datasets import check_dataset, dataset_uri, send_dataset
from motrail.sagemaker.quotas import check_quota
from motrail.sagemaker.requests.training import (
    WEIGHTS,
    InputMode,
    TrainingOrder,
    create_training_job,
    describe_training_job,
    hyperparameters,
    instance_types,
    stop_training_job,
)
from motrail.sagemaker.watch import (
    TRAINING_LOGS,
    JobLog,
    Task,
    bringing,
    failed,
    start,
    wait_for,
    why,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from motrail.config import SageMakerSettings
    from motrail.dataset.footage import Progress
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.quotas import Use
    from motrail.sagemaker.request import Cloud, Request
    from motrail.sagemaker.watch import Watcher

LEFT_OUT = ("device",)
"""Settings of `[train]` that are about the machine here, not about the instance there."""
MODELS = ("yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x")
_SMALL = MODELS[:2]


@dataclass(frozen=True)
class TrainingPlan:
    """What is to be trained.

    Attributes:
        dataset: A dataset folder with the splits train and val.
        model: yolox-nano, -tiny, -s, -m, -l or -x.
        train: Settings of `[train]` by name, those that differ from the defaults.
        weights: A file to start from.
        preset: How the network of the weights wants its pictures.
        classes: Names of the classes to learn; all if None.
        names: What a class of the dataset is called in `classes`.
        input_mode: `File` copies the dataset to the instance first, `FastFile` streams it.
        instances: How many train together.
    """

    dataset: Path
    model: str = "yolox-s"
    train: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    preset: str | None = None
    classes: tuple[str, ...] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    input_mode: InputMode = "File"
    instances: int = 1


def order_of(plan: TrainingPlan, name: str, project: Project) -> TrainingOrder:
    """A job for the plan.

    Raises:
        ConfigError: There is no such model, a class's name cannot be handed on, or there is no file
            of weights.
    """
    if plan.model not in MODELS:
        raise ConfigError(f"--model: expected one of {', '.join(MODELS)}, found {plan.model!r}")
    if not 1 <= plan.instances <= 100:
        raise ConfigError(f"--instances: expected 1 to 100, found {plan.instances}")
    if plan.weights is not None and not plan.weights.is_file():
        raise ConfigError(f"--weights {plan.weights}: expected a file, found none")
    given = {key: value for key, value in plan.train.items() if key not in LEFT_OUT}
    return TrainingOrder(
        name,
        hyperparameters(
            plan.model,
            given,
            classes=plan.classes,
            names=plan.names,
            preset=plan.preset,
        ),
        dataset_uri(project, plan.dataset),
        None if plan.weights is None else project.uri("training", name, WEIGHTS),
        plan.input_mode,
        plan.instances,
    )


def check_plan(plan: TrainingPlan, progress: Progress) -> None:
    """See that the dataset can be trained on.

    Raises:
        ConfigError: It has no split train or val, or not the classes that are to be learnt.
        FormatError: It has faults, or is no dataset.
    """
    if plan.classes is not None:
        there = open_dataset(plan.dataset).classes
        known = [plan.names.get(name, name) for name in there]
        unknown = [name for name in plan.classes if name not in known]
        if unknown or len(set(plan.classes)) < len(plan.classes):
            raise ConfigError(
                f"--classes: expected names out of {', '.join(dict.fromkeys(known))}, each once, "
                f"found {', '.join(unknown or plan.classes)}; name what is called otherwise with "
                "--map THERE=HERE"
            )
    usual = 416 if plan.model in _SMALL else 640
    width = plan.train.get("input_width") or usual
    check_dataset(plan.dataset, (width, plan.train.get("input_height") or width), progress)


def send_plan(
    cloud: Cloud, project: Project, plan: TrainingPlan, order: TrainingOrder, progress: Progress
) -> str:
    """Upload the dataset, as far as it changed, and the weights.

    Returns:
        What was done, in a sentence.
    """
    sent = send_dataset(cloud, project, plan.dataset, progress)
    if plan.weights is not None and order.weights is not None:
        suffixes = "".join(plan.weights.suffixes[-2:])
        clean = re.sub(r"[^A-Za-z0-9._-]", "-", suffixes)
        cloud.upload(plan.weights, f"{order.weights}/weights{clean}")
    removed = f", {sent.removed} removed" if sent.removed else ""
    return f"{sent.uri}: {sent.uploaded} of {sent.files} files uploaded{removed}"


def check_quotas(
    cloud: Cloud, settings: SageMakerSettings, instances: int, *, parallel: int = 1
) -> None:
    """See that the account may have the instances; SageMaker checks every type of a list.

    Raises:
        ConfigError: It may not; says how to ask for them.
    """
    use: Use = "spot training" if settings.spot else "training"
    for instance_type in instance_types(settings):
        check_quota(cloud, instance_type, use, instances * parallel)


def train(
    cloud: Cloud,
    project: Project,
    settings: SageMakerSettings,
    plan: TrainingPlan,
    output: Path | None,
    watcher: Watcher,
    *,
    progress: Progress,
) -> Trained:
    """Train: what can be wrong is looked at before anything is uploaded, let alone paid for.

    Args:
        cloud: Where.
        project: The stack's names.
        settings: Instances, limits, keys, network.
        plan: What.
        output: The folder to make, which gets the bundle; None does not wait for it.
        watcher: Told of log and steps.
        progress: Told of files and bytes.

    Raises:
        ConfigError: A request breaks a rule, the account may not have the instances, or the
            dataset is not split.
        FormatError: The dataset has faults.
        JobError: The job failed.
        LeftError: Nobody waits any more.
        ModelError: What it made is no bundle.
        CloudError: AWS refused something.
        OutputError: The folder holds something already, or cannot be written.
    """
    order = order_of(plan, project.unique("train"), project)
    request = create_training_job(order, project, settings)
    check_request(request)
    if output is not None:
        see_that_it_is_free(output)
    check_plan(plan, progress)
    check_quotas(cloud, settings, order.instances)
    watcher.say(send_plan(cloud, project, plan, order, progress))
    if output is None:
        start(cloud, task_of(order.name), watcher, request)
        return Trained(order.name)
    return _result(cloud, order.name, output, watcher, request)


def attach(cloud: Cloud, job: str, output: Path, watcher: Watcher) -> Trained:
    """Wait for a job that is under way or over, and bring home what it made; else as `train`."""
    see_that_it_is_free(output)
    return _result(cloud, job, output, watcher)


def check_request(request: Request) -> None:
    """See that a request breaks no rule; nothing is sent.

    Raises:
        ConfigError: It does.
    """
    from motrail.sagemaker.rules import check

    check(request)


def task_of(job: str) -> Task:
    """A training job to wait for."""
    return Task(
        job,
        describe_training_job(job),
        "TrainingJobStatus",
        stop_training_job(job),
        f"motrail sagemaker train --attach {job}",
    )


def _result(
    cloud: Cloud, job: str, output: Path, watcher: Watcher, create: Request | None = None
) -> Trained:
    task = task_of(job)
    log = JobLog(cloud, TRAINING_LOGS, f"{job}/")
    answer = wait_for(cloud, task, watcher, create=create, log=log)
    with bringing(task, watcher):
        if answer[task.status] == "Completed":
            return collect(cloud, answer, output)
        if answer[task.status] == "Stopped" and has_artifact(cloud, answer):
            return dataclasses.replace(collect(cloud, answer, output), stopped=why(answer, task))
    raise failed(answer, task)
