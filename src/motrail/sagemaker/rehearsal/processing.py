"""Processing jobs: each host a process with its own folder and its share of the inputs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.faults import LOST, instance_choices
from motrail.sagemaker.rehearsal.host import Host, clear, end_all, place
from motrail.sagemaker.rehearsal.inputs import Sync, dealt, items, lay_out, write_json
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import invalid, listing, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from motrail.sagemaker.rehearsal.desk import Tags
    from motrail.sagemaker.rehearsal.faults import Faults
    from motrail.sagemaker.rehearsal.logs import Logs
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage

GROUP = "/aws/sagemaker/ProcessingJobs"
_OVER = ("Completed", "Failed", "Stopped")
_MESSAGE = 1024
_DAY = 86400
_SEE_LOG = "AlgorithmError: See job logs for more information"
_SUMMARY = (
    "ProcessingJobName",
    "ProcessingJobArn",
    "CreationTime",
    "ProcessingEndTime",
    "LastModifiedTime",
    "ProcessingJobStatus",
    "FailureReason",
    "ExitMessage",
)
_CONFIG = (
    "ProcessingJobArn",
    "ProcessingJobName",
    "AppSpecification",
    "Environment",
    "NetworkConfig",
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "RoleArn",
    "StoppingCondition",
)


class ProcessingJobs:
    """The processing jobs of a rehearsal."""

    def __init__(
        self, site: Site, storage: Storage, logs: Logs, faults: Faults, tags: Tags
    ) -> None:
        self._site = site
        self._storage = storage
        self._logs = logs
        self._faults = faults
        self._tags = tags
        self._records = site.shelf("processing-jobs")
        self._stops: dict[str, threading.Event] = {}
        for name in self._records.names():
            if (self._records.get(name) or {})["ProcessingJobStatus"] not in _OVER:
                self._end(name, "Failed", FailureReason=LOST)

    def operations(self) -> Operations:
        """By their names."""
        return {
            "CreateProcessingJob": self._create,
            "DescribeProcessingJob": self._describe,
            "StopProcessingJob": self._stop,
            "DeleteProcessingJob": self._delete,
            "ListProcessingJobs": self._list,
        }

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["ProcessingJobName"]
        arn = self._site.arn("sagemaker", f"processing-job/{name}")
        with self._site.lock:
            if name in self._records:
                refuse(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a job with "
                    f"this name already exists ({arn})",
                )
            for instance, count in instance_choices(_cluster(given))[:1]:
                usage = "processing job usage"
                self._faults.check_quota(instance, usage, self._used(instance), count)
            time_ = now()
            record = {key: given[key] for key in given if key != "Tags"} | {
                "ProcessingJobArn": arn,
                "ProcessingJobStatus": "InProgress",
                "CreationTime": time_,
                "LastModifiedTime": time_,
            }
            self._records.put(name, record)
            self._tags.put(arn, given.get("Tags", ()))
            self._stops[name] = threading.Event()
        self._site.start(self._run, name, record)
        return {"ProcessingJobArn": arn}

    def _used(self, instance: str) -> int:
        return sum(
            int(_cluster(record).get("InstanceCount", 1))
            for record in self._records.values()
            if record["ProcessingJobStatus"] in {"InProgress", "Stopping"}
            and instance_choices(_cluster(record))[0][0] == instance
        )

    def _run(self, name: str, record: Record) -> None:
        """The job's life; never raises."""
        roots: list[Path] = []
        try:
            free = [
                each
                for each in instance_choices(_cluster(record))
                if each[0] not in self._faults.no_capacity
            ]
            if not free:
                reason = "CapacityError: Unable to provision requested ML compute capacity. "
                self._end(name, "Failed", FailureReason=f"{reason}Please retry.")
                return
            instance, count = free[0]
            roots += [
                self._site.work("processing", name, f"algo-{index + 1}") for index in range(count)
            ]
            for index, root in enumerate(roots):
                self._lay_out(record, root, index, (instance, count))
            self._work(name, record, roots)
        except Exception as error:  # noqa: BLE001  (whatever it is, the job must come to an end)
            if not self._site.ending.is_set():
                self._end(name, "Failed", FailureReason=f"ClientError: {error}"[:_MESSAGE])
        finally:
            for root in roots:
                clear(root)

    def _lay_out(self, record: Record, root: Path, index: int, instances: tuple[str, int]) -> None:
        (root / "output").mkdir()
        for given in record.get("ProcessingInputs", ()):
            source = given.get("S3Input")
            if source is None:
                invalid("A rehearsal has inputs from S3 only.")
            distribution = source.get("S3DataDistributionType", "FullyReplicated")
            found = items(self._storage, source["S3Uri"], source["S3DataType"])
            mine = dealt(found, index, instances[1], distribution)
            lay_out(self._storage, mine, place(root, source["LocalPath"]))
        for output in _outputs(record):
            place(root, output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        config = {key: record.get(key) for key in _CONFIG}
        write_json(root / "config" / "processingjobconfig.json", config)
        hosts = [f"algo-{number + 1}" for number in range(instances[1])]
        group = "homogeneousCluster"
        resources = {
            "current_host": hosts[index],
            "current_instance_type": instances[0],
            "current_group_name": group,
            "hosts": hosts,
            "instance_groups": [
                {
                    "instance_group_name": group,
                    "instance_type": instances[0],
                    "hosts": hosts,
                }
            ],
            "network_interface_name": "lo",
        }
        write_json(root / "config" / "resourceconfig.json", resources)

    def _work(self, name: str, record: Record, roots: Sequence[Path]) -> None:
        application = record["AppSpecification"]
        command = [
            *application.get("ContainerEntrypoint", ["process"]),
            *application.get("ContainerArguments", ()),
        ]
        stamp = int(time.time())
        steady = [
            Sync(self._storage, place(root, output["LocalPath"]), output["S3Uri"])
            for root in roots
            for output in _outputs(record)
            if output["S3UploadMode"] == "Continuous"
        ]
        self._records.update(name, ProcessingStartTime=now(), LastModifiedTime=now())
        hosts: list[Host] = []
        try:
            for index, root in enumerate(roots):
                write = self._logs.writer(GROUP, f"{name}/algo-{index + 1}-{stamp}")
                given = {
                    **record.get("Environment", {}),
                    "PROCESSING_JOB_NAME": name,
                    "PROCESSING_JOB_ARN": record["ProcessingJobArn"],
                }
                hosts.append(Host(self._site, command, root, given, write))
            end = self._watch(name, record, hosts, steady)
        finally:
            end_all(hosts, self._site.grace)
        if end is None:
            return
        ended, speaker = end
        for sync in steady:
            sync.push(deletions=False)
        changes: dict[str, Any] = {}
        if ended != "Failed":
            self._upload(record, roots)
        else:
            changes["FailureReason"] = _SEE_LOG
        message = _message(speaker)
        if message:
            changes["ExitMessage"] = message
        self._end(name, ended, **changes)

    def _watch(
        self, name: str, record: Record, hosts: Sequence[Host], steady: Sequence[Sync]
    ) -> tuple[str, Host] | None:
        """Wait for all hosts, or until they must end; the status, and who has the last word."""
        most = record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY)
        began = time.monotonic()
        while True:
            codes = [host.code for host in hosts]
            if all(code == 0 for code in codes):
                return "Completed", hosts[0]
            failed = [host for host in hosts if host.code not in {None, 0}]
            if failed:
                return "Failed", failed[0]
            if self._site.ending.wait(self._site.look):
                return None
            if self._stops[name].is_set() or time.monotonic() - began > most:
                return "Stopped", hosts[0]
            for sync in steady:
                sync.push(deletions=False)

    def _upload(self, record: Record, roots: Sequence[Path]) -> None:
        """Outputs of all hosts come below the same prefix; of two of a name the last one stays."""
        for root in roots:
            for output in _outputs(record):
                if output["S3UploadMode"] != "Continuous":
                    folder = place(root, output["LocalPath"])
                    Sync(self._storage, folder, output["S3Uri"]).push()

    def _end(self, name: str, status: str, **changes: Any) -> None:
        time_ = now()
        self._records.update(
            name,
            ProcessingJobStatus=status,
            ProcessingEndTime=time_,
            LastModifiedTime=time_,
            **changes,
        )

    def _get(self, name: str) -> Record:
        record = self._records.get(name)
        if record is None:
            invalid(f"Could not find requested job with name: {name}")
        return record

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._get(given["ProcessingJobName"])

    def _stop(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["ProcessingJobName"]
        with self._site.lock:
            status = self._get(name)["ProcessingJobStatus"]
            if status in _OVER:
                invalid(
                    f"The request was rejected because the processing job is in status {status}."
                )
            self._records.update(name, ProcessingJobStatus="Stopping", LastModifiedTime=now())
            self._stops[name].set()
        return {}

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            record = self._get(given["ProcessingJobName"])
            if record["ProcessingJobStatus"] not in _OVER:
                refuse(
                    "ResourceInUse",
                    f"The processing job is in status {record['ProcessingJobStatus']}; stop it "
                    "first.",
                )
            self._records.remove(given["ProcessingJobName"])
            self._tags.remove(record["ProcessingJobArn"])
        return {}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        return listing(
            self._records.values(),
            given,
            "ProcessingJobSummaries",
            _SUMMARY,
            name="ProcessingJobName",
            status="ProcessingJobStatus",
        )


def _cluster(record: Record) -> Record:
    cluster: Record = record["ProcessingResources"]["ClusterConfig"]
    return cluster


def _outputs(record: Record) -> list[Record]:
    outputs = record.get("ProcessingOutputConfig", {}).get("Outputs", ())
    return [output["S3Output"] for output in outputs if "S3Output" in output]


def _message(host: Host) -> str:
    """What a container says at the end."""
    path = host.root / "output" / "message"
    if not path.is_file():
        return ""
    return host.told(path.read_text(encoding="utf-8", errors="replace"))[:_MESSAGE]
