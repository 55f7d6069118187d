"""Tuning jobs: trials with drawn hyperparameters, run as training jobs."""

from __future__ import annotations

import itertools
import math
import random
import threading
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.faults import LOST
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import chosen, listing, page, refuse
from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.sagemaker.rehearsal.desk import Tags
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.training import TrainingJobs

OBJECTIVE = "_tuning_objective_metric"
"""The hyperparameter in which SageMaker tells a container what is being tuned for."""
_OVER = ("Completed", "Failed", "Stopped")
_KIND = "HyperParameterTuningJob"
_NO_SUCCESS = (
    "No training job succeeded. For additional details, please take a look at the training job "
    "failures by listing training jobs for the hyperparameter tuning job."
)
_SUMMARY = (
    f"{_KIND}Name",
    f"{_KIND}Arn",
    f"{_KIND}Status",
    "Strategy",
    "CreationTime",
    "HyperParameterTuningEndTime",
    "LastModifiedTime",
    "TrainingJobStatusCounters",
    "ObjectiveStatusCounters",
    "ResourceLimits",
)
_OF_TRIAL = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)
_OF_DEFINITION = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)


class TuningJobs:
    """The tuning jobs of a rehearsal."""

    def __init__(self, site: Site, training: TrainingJobs, tags: Tags) -> None:
        self._site = site
        self._training = training
        self._tags = tags
        self._records = site.shelf("tuning-jobs")
        self._stops: dict[str, threading.Event] = {}
        for name in self._records.names():
            if (self._records.get(name) or {})[f"{_KIND}Status"] not in _OVER:
                self._end(name, "Failed", FailureReason=LOST)

    def operations(self) -> Operations:
        """By their names."""
        return {
            f"Create{_KIND}": self._create,
            f"Describe{_KIND}": self._describe,
            f"Stop{_KIND}": self._stop,
            f"Delete{_KIND}": self._delete,
            f"List{_KIND}s": self._list,
            f"ListTrainingJobsFor{_KIND}": self._list_trials,
        }

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given[f"{_KIND}Name"]
        arn = self._site.arn("sagemaker", f"hyper-parameter-tuning-job/{name}")
        with self._site.lock:
            if name in self._records:
                refuse(
                    "ResourceInUse",
                    "Amazon SageMaker can't create the tuning job because a tuning job with this "
                    f"name already exists ({arn})",
                )
            time = now()
            record = {key: given[key] for key in given if key != "Tags"} | {
                f"{_KIND}Arn": arn,
                f"{_KIND}Status": "InProgress",
                "CreationTime": time,
                "LastModifiedTime": time,
                "Trials": {},
            }
            self._records.put(name, record)
            self._tags.put(arn, given.get("Tags", ()))
            self._stops[name] = threading.Event()
        self._site.start(self._run, name, record, given.get("Tags", []))
        return {f"{_KIND}Arn": arn}

    def _run(self, name: str, record: Record, tags: list[Record]) -> None:
        """The job's life; never raises."""
        try:
            self._try_all(name, record, tags)
        except Exception as error:  # noqa: BLE001  (whatever it is, the job must come to an end)
            if not self._site.ending.is_set():
                self._end(name, "Failed", FailureReason=f"ClientError: {error}")

    def _try_all(self, name: str, record: Record, tags: list[Record]) -> None:
        config = record[f"{_KIND}Config"]
        limits = config["ResourceLimits"]
        settings = draws(config, _definition(record), self._seed(name, config))
        settings = itertools.islice(settings, limits.get("MaxNumberOfTrainingJobs"))
        running: list[str] = []
        stop = self._stops[name]
        ended = False
        while not ended or running:
            while not (ended or stop.is_set()) and len(running) < limits["MaxParallelTrainingJobs"]:
                drawn = next(settings, None)
                if drawn is None:
                    ended = True
                    break
                running.append(self._try_one(name, record, drawn, tags))
            if stop.is_set():
                ended = True
                for trial in running:
                    self._training.stop(trial)
            if self._site.ending.wait(self._site.look):
                return
            running = [trial for trial in running if self._status(trial) not in _OVER]
        if stop.is_set():
            self._end(name, "Stopped")
        elif self._counters(self._get(name))[0]["Completed"]:
            self._end(name, "Completed")
        else:
            self._end(name, "Failed", FailureReason=_NO_SUCCESS)

    def _seed(self, name: str, config: Record) -> int:
        return int(config.get("RandomSeed", self._site.number("tuning", name)))

    def _status(self, trial: str) -> str:
        record = self._training.records.get(trial)
        return "Stopped" if record is None else str(record["TrainingJobStatus"])

    def _try_one(self, name: str, record: Record, drawn: dict[str, str], tags: list[Record]) -> str:
        definition = _definition(record)
        count = len(self._get(name)["Trials"]) + 1
        trial = f"{name}-{count:03}-{self._site.number(name, count) & 0xFFFFFFFF:08x}"
        objective = _objective(record)["MetricName"]
        parameters = definition.get("StaticHyperParameters", {}) | drawn
        given = chosen(definition, _OF_DEFINITION) | {
            "TrainingJobName": trial,
            "HyperParameters": {OBJECTIVE: objective, **parameters},
            "ResourceConfig": _resources(definition),
            "Tags": tags,
        }
        with self._site.lock:
            trials = self._get(name)["Trials"] | {trial: drawn}
            self._records.update(name, Trials=trials, LastModifiedTime=now())
        self._training.create(given, self._get(name)[f"{_KIND}Arn"])
        return trial

    def _end(self, name: str, status: str, **changes: Any) -> None:
        time = now()
        ends = {
            f"{_KIND}Status": status,
            "HyperParameterTuningEndTime": time,
            "LastModifiedTime": time,
        }
        self._records.update(name, **ends, **changes)

    def _get(self, name: str) -> Record:
        record = self._records.get(name)
        if record is None:
            arn = self._site.arn("sagemaker", f"hyper-parameter-tuning-job/{name}")
            refuse(
                "ResourceNotFound",
                f"Amazon SageMaker can't find a tuning job with the name {arn}.",
            )
        return record

    def _counters(self, record: Record) -> tuple[Record, Record]:
        trials = [self._trial(record, name) for name in record["Trials"]]
        states = [trial["TrainingJobStatus"] for trial in trials]
        goals = [trial["ObjectiveStatus"] for trial in trials]
        jobs = {
            "Completed": states.count("Completed"),
            "InProgress": states.count("InProgress") + states.count("Stopping"),
            "RetryableError": 0,
            "NonRetryableError": states.count("Failed"),
            "Stopped": states.count("Stopped"),
        }
        return jobs, {each: goals.count(each) for each in ("Succeeded", "Pending", "Failed")}

    def _trial(self, record: Record, name: str) -> Record:
        """The summary of a trial, whose objective is the last value of its metric."""
        job = self._training.records.get(name)
        if job is None:  # deleted since
            job = {
                "TrainingJobName": name,
                "TrainingJobArn": self._site.arn("sagemaker", f"training-job/{name}"),
                "CreationTime": record["CreationTime"],
                "TrainingJobStatus": "Stopped",
            }
        objective = _objective(record)
        values = {each["MetricName"]: each["Value"] for each in job.get("FinalMetricDataList", ())}
        summary = chosen(job, _OF_TRIAL) | {
            "TuningJobName": record[f"{_KIND}Name"],
            "TunedHyperParameters": record["Trials"][name],
            "ObjectiveStatus": "Pending" if job["TrainingJobStatus"] not in _OVER else "Failed",
        }
        value = values.get(objective["MetricName"])
        if value is not None and math.isfinite(value) and summary["ObjectiveStatus"] == "Failed":
            summary["ObjectiveStatus"] = "Succeeded"
            summary[f"Final{_KIND}ObjectiveMetric"] = {**objective, "Value": value}
        return summary

    def _best(self, record: Record) -> Record | None:
        trials = [self._trial(record, name) for name in record["Trials"]]
        done = [
            trial
            for trial in trials
            if trial["ObjectiveStatus"] == "Succeeded" and trial["TrainingJobStatus"] == "Completed"
        ]
        sign = 1 if _objective(record)["Type"] == "Maximize" else -1
        key = f"Final{_KIND}ObjectiveMetric"
        return max(done, key=lambda trial: sign * trial[key]["Value"], default=None)

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self._get(given[f"{_KIND}Name"])
        answer = {key: value for key, value in record.items() if key != "Trials"}
        jobs, goals = self._counters(record)
        answer |= {"TrainingJobStatusCounters": jobs, "ObjectiveStatusCounters": goals}
        best = self._best(record)
        if best is not None:
            answer["BestTrainingJob"] = best
        return answer

    def _stop(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given[f"{_KIND}Name"]
        with self._site.lock:
            if self._get(name)[f"{_KIND}Status"] == "InProgress":
                self._records.update(name, **{f"{_KIND}Status": "Stopping"}, LastModifiedTime=now())
                self._stops[name].set()
        return {}

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            record = self._get(given[f"{_KIND}Name"])
            if record[f"{_KIND}Status"] not in _OVER:
                refuse("ResourceInUse", "The tuning job has not ended; stop it first.")
            self._records.remove(given[f"{_KIND}Name"])
            self._tags.remove(record[f"{_KIND}Arn"])
        return {}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        records = []
        for record in self._records.values():
            jobs, goals = self._counters(record)
            config = record[f"{_KIND}Config"]
            records.append(
                record
                | {
                    "Strategy": config["Strategy"],
                    "ResourceLimits": config["ResourceLimits"],
                    "TrainingJobStatusCounters": jobs,
                    "ObjectiveStatusCounters": goals,
                }
            )
        return listing(
            records,
            given,
            f"{_KIND}Summaries",
            _SUMMARY,
            name=f"{_KIND}Name",
            status=f"{_KIND}Status",
        )

    def _list_trials(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self._get(given[f"{_KIND}Name"])
        trials = [self._trial(record, name) for name in record["Trials"]]
        wanted = given.get("StatusEquals")
        kept = [each for each in trials if wanted in {None, each["TrainingJobStatus"]}]
        key = f"Final{_KIND}ObjectiveMetric"
        worst = -math.inf
        by = {
            "Name": lambda each: each["TrainingJobName"],
            "Status": lambda each: each["TrainingJobStatus"],
            "FinalObjectiveMetricValue": lambda each: each.get(key, {}).get("Value", worst),
        }.get(str(given.get("SortBy")), lambda each: each["TrainingJobName"])
        kept.sort(key=by, reverse=given.get("SortOrder", "Ascending") == "Descending")
        return page(kept, given, "TrainingJobSummaries")


def _definition(record: Record) -> Record:
    definition: Record | None = record.get("TrainingJobDefinition")
    if definition is None:
        raise CloudError(
            "a rehearsal takes tuning jobs with one TrainingJobDefinition",
            code="ValidationException",
        )
    return definition


def _objective(record: Record) -> Record:
    config: Record = record[f"{_KIND}Config"]
    objective: Record = config.get(f"{_KIND}Objective") or _definition(record)["TuningObjective"]
    return objective


def _resources(definition: Record) -> Record:
    """The resources of a trial; of several types of instances the first."""
    if "ResourceConfig" in definition:
        resources: Record = definition["ResourceConfig"]
        return resources
    several = definition["HyperParameterTuningResourceConfig"]
    first = (several.get("InstanceConfigs") or [several])[0]
    return chosen(several, ("VolumeKmsKeyId",)) | chosen(
        {**several, **first}, ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    )


def draws(config: Record, definition: Record, seed: int) -> Iterator[dict[str, str]]:
    """Values for the hyperparameters of one trial after the other, all of them text.

    A grid goes through all combinations; every other strategy is played by drawing at random,
    for what one trial teaches about the next is not what a rehearsal is about.

    Args:
        config: `HyperParameterTuningJobConfig`.
        definition: Of the training jobs.
        seed: Of the draws.
    """
    ranges = config.get("ParameterRanges") or definition.get("HyperParameterRanges") or {}
    categories = ranges.get("CategoricalParameterRanges", [])
    if config["Strategy"] == "Grid":
        names = [each["Name"] for each in categories]
        for values in itertools.product(*(each["Values"] for each in categories)):
            yield dict(zip(names, values, strict=True))
        return
    chance = random.Random(seed)  # noqa: S311  (nothing is kept secret with it)
    while True:
        drawn = {each["Name"]: chance.choice(each["Values"]) for each in categories}
        for each in ranges.get("IntegerParameterRanges", []):
            drawn[each["Name"]] = str(round(_between(each, chance)))
        for each in ranges.get("ContinuousParameterRanges", []):
            drawn[each["Name"]] = repr(_between(each, chance))
        for each in ranges.get("AutoParameters", []):
            drawn[each["Name"]] = each["ValueHint"]
        yield drawn


def _between(given: Record, chance: random.Random) -> float:
    low, high = float(given["MinValue"]), float(given["MaxValue"])
    scale = given.get("ScalingType", "Auto")
    place = chance.random()
    if scale == "Logarithmic":
        return math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    if scale == "ReverseLogarithmic":
        return 1 - math.exp(math.log(1 - high) + place * (math.log(1 - low) - math.log(1 - high)))
    return low + place * (high - low)
