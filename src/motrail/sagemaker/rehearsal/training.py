"""Training jobs: requests, records and states. What a running one does is in `training_run`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.faults import LOST, instance_choices
from motrail.sagemaker.rehearsal.inputs import items
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import invalid, listing, refuse
from motrail.sagemaker.rehearsal.training_run import TrainingRun

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.desk import Tags
    from motrail.sagemaker.rehearsal.faults import Faults
    from motrail.sagemaker.rehearsal.logs import Logs
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage

_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
)
_NOT_DESCRIBED = ("Tags", "SessionChainingConfig")
_OVER = ("Completed", "Failed", "Stopped")


class TrainingJobs:
    """The training jobs of a rehearsal."""

    def __init__(
        self, site: Site, storage: Storage, logs: Logs, faults: Faults, tags: Tags
    ) -> None:
        self.site = site
        self.storage = storage
        self.logs = logs
        self.faults = faults
        self.records = site.shelf("training-jobs")
        self._tags = tags
        self._stops: dict[str, threading.Event] = {}
        for name in self.records.names():
            record = self.records.get(name) or {}
            if record["TrainingJobStatus"] not in _OVER:
                self.move(name, "Failed", LOST, FailureReason=LOST, TrainingEndTime=now())

    def operations(self) -> Operations:
        """By their names."""
        return {
            "CreateTrainingJob": self.create,
            "DescribeTrainingJob": self._describe,
            "StopTrainingJob": self._stop,
            "DeleteTrainingJob": self._delete,
            "ListTrainingJobs": self._list,
        }

    def create(self, given: dict[str, Any], tuning: str | None = None) -> dict[str, Any]:
        """Make a training job and let it run.

        Args:
            given: As in the request.
            tuning: ARN of the tuning job that it is a trial of.

        Raises:
            CloudError: There is one of that name, there is no input, or a quota is used up.
        """
        name = given["TrainingJobName"]
        arn = self.site.arn("sagemaker", f"training-job/{name}")
        with self.site.lock:
            if name in self.records:
                refuse(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a job with "
                    f"this name already exists ({arn})",
                )
            self._check_quota(given)
            for channel in given.get("InputDataConfig", ()):
                source = channel["DataSource"].get("S3DataSource")
                if source is None:
                    invalid("A rehearsal has channels from S3 only.")
                items(self.storage, source["S3Uri"], source["S3DataType"])
            record = {key: given[key] for key in given if key not in _NOT_DESCRIBED}
            record |= _beginning(arn, given)
            if tuning is not None:
                record["TuningJobArn"] = tuning
            self.records.put(name, record)
            self._tags.put(arn, given.get("Tags", ()))
            self._stops[name] = threading.Event()
        self.site.start(TrainingRun(self, name, self._stops[name]).run)
        return {"TrainingJobArn": arn}

    def _check_quota(self, given: dict[str, Any]) -> None:
        """Only one type of several must be possible; which one it will be is found later."""
        spot = given.get("EnableManagedSpotTraining", False)
        usage = "spot training job usage" if spot else "training job usage"
        choices = instance_choices(given["ResourceConfig"])
        for index, (instance, count) in enumerate(choices):
            try:
                self.faults.check_quota(instance, usage, self._used(instance, spot=spot), count)
            except Exception:
                if index == len(choices) - 1:
                    raise
            else:
                return

    def _used(self, instance: str, *, spot: bool) -> int:
        return sum(
            int(record["ResourceConfig"].get("InstanceCount", 1))
            for record in self.records.values()
            if record["TrainingJobStatus"] in {"InProgress", "Stopping"}
            and instance_choices(record["ResourceConfig"])[0][0] == instance
            and record.get("EnableManagedSpotTraining", False) == spot
        )

    def move(self, name: str, status: str, message: str, **changes: Any) -> None:
        """Let a job come into a secondary status, and into the status that goes with it."""
        with self.site.lock:
            record = self.records.get(name)
            if record is None:
                return
            time = now()
            steps = record.get("SecondaryStatusTransitions", [])
            if steps:
                steps[-1].setdefault("EndTime", time)
            steps.append({"Status": status, "StartTime": time, "StatusMessage": message})
            primary = {
                **{each: each for each in (*_OVER, "Stopping")},
                "MaxRuntimeExceeded": "Stopped",
                "MaxWaitTimeExceeded": "Stopped",
            }.get(status)
            if primary is None:
                stopping = record["TrainingJobStatus"] == "Stopping"
                primary = "Stopping" if stopping else "InProgress"
            if primary in _OVER:
                steps[-1]["EndTime"] = time
            self.records.update(
                name,
                SecondaryStatus=status,
                TrainingJobStatus=primary,
                SecondaryStatusTransitions=steps,
                LastModifiedTime=time,
                **changes,
            )

    def get(self, name: str) -> Record:
        """The record of a job.

        Raises:
            CloudError: There is none.
        """
        record = self.records.get(name)
        if record is None:
            invalid("Requested resource not found.")
        return record

    def stop(self, name: str) -> None:
        """Ask a job to end, if it runs."""
        with self.site.lock:
            record = self.get(name)
            if record["TrainingJobStatus"] == "InProgress":
                self.move(name, "Stopping", "Stopping the training job")
                self._stops[name].set()

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        return self.get(given["TrainingJobName"])

    def _stop(self, given: dict[str, Any]) -> dict[str, Any]:
        status = self.get(given["TrainingJobName"])["TrainingJobStatus"]
        if status in _OVER:
            invalid(f"The request was rejected because the training job is in status {status}.")
        self.stop(given["TrainingJobName"])
        return {}

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        with self.site.lock:
            record = self.get(given["TrainingJobName"])
            if record["TrainingJobStatus"] not in _OVER:
                refuse(
                    "ResourceInUse",
                    f"The training job is in status {record['TrainingJobStatus']}; stop it first.",
                )
            self.records.remove(given["TrainingJobName"])
            self._tags.remove(record["TrainingJobArn"])
        return {}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        return listing(
            self.records.values(),
            given,
            "TrainingJobSummaries",
            _SUMMARY,
            name="TrainingJobName",
            status="TrainingJobStatus",
        )


def _beginning(arn: str, given: dict[str, Any]) -> Record:
    time = now()
    prefix = given["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    artifact = f"{prefix}/{given['TrainingJobName']}/output/model.tar.gz"
    message = "Preparing the instances for training"
    return {
        "TrainingJobArn": arn,
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "ModelArtifacts": {"S3ModelArtifacts": artifact},
        "CreationTime": time,
        "LastModifiedTime": time,
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": time, "StatusMessage": message}
        ],
    }
