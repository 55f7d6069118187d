"""Tune at SageMaker: many trainings under other settings, and the best bundle brought home."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.config import TrainSettings
from motrail.errors import ConfigError
from motrail.sagemaker.artifacts import Trained, collect, see_that_it_is_free
from motrail.sagemaker.redact import redact
from motrail.sagemaker.requests.training import describe_training_job
from motrail.sagemaker.requests.tuning import (
    Strategy,
    TuningOrder,
    WarmStart,
    create_tuning_job,
    describe_tuning_job,
    list_trials,
    stop_tuning_job,
)
from motrail.sagemaker.training import (
    check_plan,
    check_quotas,
    check_request,
    order_of,
    send_plan,
)
from motrail.sagemaker.watch import JobError, Task, bringing, start, wait_for, why

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from motrail.config import Ranges, SageMakerSettings
    from motrail.dataset.footage import Progress
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud, Request
    from motrail.sagemaker.training import TrainingPlan
    from motrail.sagemaker.watch import Watcher


@dataclass(frozen=True)
class TuningPlan:
    """What is to be searched.

    Attributes:
        training: What every trial trains.
        ranges: By key of `[train]`; the usual ones if None.
        goal: `ap`, `ap50` or `hota`.
        strategy: How settings are chosen.
        jobs: Trials in all.
        parallel: Trials at a time.
        early_stopping: Whether trials that do badly are stopped.
        parents: Tuning jobs to start from.
        warm_start: What those have in common with this one.
    """

    training: TrainingPlan
    ranges: Ranges | None = None
    goal: str = "ap"
    strategy: Strategy = "Bayesian"
    jobs: int = 20
    parallel: int = 2
    early_stopping: bool = True
    parents: tuple[str, ...] = ()
    warm_start: WarmStart = "IdenticalDataAndAlgorithm"


class Trial(NamedTuple):
    """A training job of a tuning job.

    Attributes:
        number: From 1, in the order they were made.
        job: Its name.
        status: SageMaker's word for it.
        value: What it reached, where it is known.
        settings: Those that were chosen for it, as SageMaker writes them.
        reason: Why it failed.
    """

    number: int
    job: str
    status: str
    value: float | None
    settings: Mapping[str, str]
    reason: str = ""


@dataclass(frozen=True)
class Tuned:
    """What came of a tuning job.

    Attributes:
        job: Its name.
        status: How it ended; None where nobody waited.
        goal: The metric that was to be as high as possible.
        best: The number of the best trial.
        trained: What that left, brought home.
        trials: All of them.
    """

    job: str
    status: str | None = None
    goal: str | None = None
    best: int | None = None
    trained: Trained | None = None
    trials: Sequence[Trial] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"trials": [trial._asdict() for trial in self.trials]}


def order_for(plan: TuningPlan, name: str, project: Project) -> TuningOrder:
    """A tuning job for the plan.

    Raises:
        ConfigError: A number makes no sense.
    """
    if plan.jobs < 1:
        raise ConfigError(f"--trials: expected 1 or more, found {plan.jobs}")
    if plan.parallel < 1:
        raise ConfigError(f"--parallel: expected 1 or more, found {plan.parallel}")
    settings = _settings(plan)
    whole = {**plan.training.train, "epochs": settings.epochs, "best_by": plan.goal}
    training = dataclasses.replace(plan.training, train=whole)
    return TuningOrder(
        order_of(training, name, project),
        plan.ranges or _usual(plan, settings),
        plan.goal,
        plan.strategy,
        plan.jobs,
        plan.parallel,
        settings.epochs,
        plan.early_stopping,
        plan.parents,
        plan.warm_start,
        settings.seed % 2**31,
    )


def _settings(plan: TuningPlan) -> TrainSettings:
    return TrainSettings(**plan.training.train)


def _usual(plan: TuningPlan, settings: TrainSettings) -> Ranges:
    """What `motrail tune detector` searches where nobody says."""
    from motrail.tune.detector.space import usual_ranges

    # As training itself decides it, with one GPU in an instance.
    usual = 0.02 if plan.training.weights is None else 0.002
    whole = settings.batch * settings.accumulate * plan.training.instances
    rate = settings.learning_rate or usual * math.sqrt(whole / 8)
    settled = dataclasses.replace(settings, learning_rate=rate)
    return usual_ranges(settled, plan.training.model.removeprefix("yolox-"))


def tune(
    cloud: Cloud,
    project: Project,
    settings: SageMakerSettings,
    plan: TuningPlan,
    output: Path | None,
    watcher: Watcher,
    *,
    progress: Progress,
) -> Tuned:
    """Search; the rest as in `motrail.sagemaker.training.train`.

    Raises:
        ConfigError: A range cannot be written as SageMaker takes ranges; and as there.
        MotrailError: As there.
    """
    order = order_for(plan, project.unique("tune"), project)
    request = create_tuning_job(order, project, settings)
    check_request(request)
    if output is not None:
        see_that_it_is_free(output)
    check_plan(plan.training, progress)
    check_quotas(
        cloud, settings, order.training.instances, parallel=min(order.parallel, order.jobs)
    )
    watcher.say(send_plan(cloud, project, plan.training, order.training, progress))
    if output is None:
        start(cloud, task_of(order.training.name), watcher, request)
        return Tuned(order.training.name)
    return _result(cloud, order.training.name, output, watcher, request)


def attach(cloud: Cloud, job: str, output: Path, watcher: Watcher) -> Tuned:
    """Wait for a job that is under way or over, and bring home the best; else as `tune`."""
    see_that_it_is_free(output)
    return _result(cloud, job, output, watcher)


def trials_of(cloud: Cloud, job: str) -> list[Trial]:
    """The trials of a tuning job so far.

    Raises:
        CloudError: There is no such job.
    """
    summaries = cloud.pages(list_trials(job), "TrainingJobSummaries")
    return [
        Trial(
            number,
            one["TrainingJobName"],
            one["TrainingJobStatus"],
            one.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
            one.get("TunedHyperParameters", {}),
            redact(one.get("FailureReason", "")),
        )
        for number, one in enumerate(summaries, start=1)
    ]


def task_of(job: str) -> Task:
    """A tuning job to wait for."""
    return Task(
        job,
        describe_tuning_job(job),
        "HyperParameterTuningJobStatus",
        stop_tuning_job(job),
        f"motrail sagemaker tune --attach {job}",
    )


def _result(
    cloud: Cloud, job: str, output: Path, watcher: Watcher, create: Request | None = None
) -> Tuned:
    task = task_of(job)
    seen: dict[str, str] = {}

    def step(answer: Mapping[str, Any]) -> None:
        watcher.step(answer)
        goal = _goal(answer)
        for trial in trials_of(cloud, job):
            if seen.get(trial.job) != trial.status:
                seen[trial.job] = trial.status
                watcher.say(sentence(trial, goal))

    answer = wait_for(cloud, task, watcher._replace(step=step), create=create)
    best = answer.get("BestTrainingJob", {}).get("TrainingJobName")
    trials = trials_of(cloud, job)
    if best is None:
        first = next((trial for trial in trials if trial.reason), None)
        cause = "" if first is None else f"; trial {first.number}: {first.reason}"
        raise JobError(f"{why(answer, task)}{cause}")
    number = next((trial.number for trial in trials if trial.job == best), None)
    with bringing(task, watcher):
        trained = collect(cloud, cloud.call(describe_training_job(best)), output)
    return Tuned(job, answer[task.status], _goal(answer), number, trained, tuple(trials))


def _goal(answer: Mapping[str, Any]) -> str:
    config = answer.get("HyperParameterTuningJobConfig", {})
    name = config.get("HyperParameterTuningJobObjective", {}).get("MetricName", "")
    return str(name).rpartition(":")[2] or "value"


def sentence(trial: Trial, goal: str) -> str:
    """A trial in a line."""
    value = "" if trial.value is None else f", {goal} {trial.value:.4g}"
    settings = ", ".join(f"{key} {value_of(text)}" for key, text in trial.settings.items())
    reason = f": {trial.reason}" if trial.reason else ""
    return f"— trial {trial.number} {trial.status}{reason}{value} ({settings})"


def value_of(text: str) -> str:
    """A chosen setting as people read it; SageMaker writes numbers with all their digits."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return f"{value:.4g}" if isinstance(value, float) else text
