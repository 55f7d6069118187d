"""`motrail sagemaker tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_rows, table
from motrail.cli.sagemaker.cloud import Config, Rehearse, TrainingFlags, open_cloud
from motrail.cli.sagemaker.jobs import Talk, say, show_request
from motrail.cli.sagemaker.learning import Learning, LearningFlags, telling_of_fallbacks
from motrail.cli.settings import flags_of, resolve_settings

if TYPE_CHECKING:
    from motrail.config import SageMakerSettings
    from motrail.sagemaker.tuning import Tuned, TuningPlan

TrainFlags: Any = flags_of("train")


def tune_command(
    dataset: Path | None = None,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/sagemaker-tune"),
    goal: Literal["ap", "ap50", "hota"] = "ap",
    strategy: Literal["Bayesian", "Random", "Hyperband"] = "Bayesian",
    trials: int = 20,
    parallel: int = 2,
    early_stopping: bool = True,
    warm_start: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    transfer: Annotated[bool, Parameter(negative="")] = False,
    learning: LearningFlags = None,
    rehearse: Rehearse = None,
    config: Config = None,
    as_json: AsJson = False,
    train: TrainFlags = None,
    sagemaker: TrainingFlags = None,
) -> int:
    """Find at Amazon SageMaker the settings of training that give the best detector.

    A tuning job trains again and again under other settings and makes the goal as high as it can.
    What is searched stands in the section [search] of the --config file, as for
    motrail tune detector; without it the usual settings are. Into the output folder comes the best
    model as `model.tar.gz`.

    For example:

    - `motrail sagemaker tune data --model yolox-s --epochs 20 --trials 30 --parallel 5`
    - `motrail sagemaker tune data --config my.toml --strategy Hyperband --goal hota`
    - `motrail sagemaker tune data --model yolox-nano --epochs 1 --trials 3 --rehearse rehearsal`

    Parameters
    ----------
    dataset
        A dataset with the splits train and val; `motrail dataset split` makes them.
    output
        The folder to make.
    goal
        What is to be as high as possible: ap, ap50 or hota of the best epoch.
    strategy
        How settings are chosen: Bayesian learns from the trials so far, Random does not, Hyperband
        gives most epochs to those that do best.
    trials
        How many settings are tried.
    parallel
        How many at a time; fewer leave Bayesian more to learn from.
    early_stopping
        Stop trials that do badly; Hyperband always does.
    warm_start
        Name of a tuning job to start from, with the same dataset; may be given several times.
    transfer
        The jobs of --warm-start had another dataset or image.
    config
        TOML file with the sections [train], [search] and [sagemaker]; flags win over it.
    as_json
        Print the result as one JSON document.
    """
    resolved = resolve_settings({"train": train, "sagemaker": sagemaker}, config)
    settings = resolved.settings.sagemaker
    chosen: Learning = learning or Learning()
    job = chosen.job(dataset)
    if job is not None or dataset is None:
        return _attach(str(job), settings, output, rehearse, as_json=as_json)
    from motrail.config import search_ranges
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.tuning import TuningPlan, tune

    plan = TuningPlan(
        chosen.plan(dataset, resolved),
        None if config is None else search_ranges(config),
        goal,
        strategy,
        trials,
        parallel,
        early_stopping,
        warm_start,
        "TransferLearning" if transfer else "IdenticalDataAndAlgorithm",
    )
    if chosen.dry_run:
        return _dry_run(plan, settings, rehearse)
    with open_cloud(settings, rehearse) as cloud, Talk() as talk, telling_of_fallbacks(settings):
        tuned = tune(
            cloud,
            find_project(cloud, settings),
            settings,
            plan,
            output if chosen.wait else None,
            talk.watcher(),
            progress=talk.progress,
        )
    return _show(tuned, as_json=as_json)


def _attach(
    job: str, settings: SageMakerSettings, output: Path, rehearse: Path | None, *, as_json: bool
) -> int:
    from motrail.sagemaker.tuning import attach

    with open_cloud(settings, rehearse) as cloud, Talk() as talk, telling_of_fallbacks(settings):
        return _show(attach(cloud, job, output, talk.watcher()), as_json=as_json)


def _dry_run(plan: TuningPlan, settings: SageMakerSettings, rehearse: Path | None) -> int:
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.requests.tuning import create_tuning_job
    from motrail.sagemaker.training import check_request
    from motrail.sagemaker.tuning import order_for

    with open_cloud(settings, rehearse) as cloud:
        project = find_project(cloud, settings)
    request = create_tuning_job(order_for(plan, project.unique("tune"), project), project, settings)
    check_request(request)
    return show_request(request)


def _show(tuned: Tuned, *, as_json: bool) -> int:
    if as_json:
        print_json(tuned.as_dict())
        return 0
    if tuned.trained is None:
        say(f"not waited for: motrail sagemaker tune --attach {tuned.job}")
        print_rows([("job", tuned.job)])
        return 0
    print(table(_rows(tuned)))
    print()
    rows: list[tuple[str, Any]] = [("job", f"{tuned.job}, {tuned.status}")]
    rows += [("best", f"trial {tuned.best}"), ("written", tuned.trained.bundle)]
    print_rows(rows)
    return 0


def _rows(tuned: Tuned) -> list[tuple[Any, ...]]:
    """The trials, the best first."""
    from motrail.sagemaker.tuning import value_of

    keys = sorted({key for trial in tuned.trials for key in trial.settings})
    rows: list[tuple[Any, ...]] = [("trial", tuned.goal or "value", "status", *keys)]
    ranked = sorted(
        tuned.trials, key=lambda trial: -(trial.value if trial.value is not None else -1.0)
    )
    for trial in ranked:
        value = "–" if trial.value is None else f"{trial.value:.4g}"
        status = f"{trial.status}: {trial.reason}" if trial.reason else trial.status
        settings = (value_of(trial.settings.get(key, "–")) for key in keys)
        rows.append((trial.number, value, status[:60], *settings))
    return rows
