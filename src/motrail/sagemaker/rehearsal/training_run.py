"""One training job as it runs: inputs, hosts, metrics, checkpoints, interruptions, artifacts."""

from __future__ import annotations

import re
import tarfile
import time
from typing import TYPE_CHECKING, Any, Protocol

from motrail.sagemaker.rehearsal.faults import LOST, instance_choices
from motrail.sagemaker.rehearsal.host import Host, clear, end_all, free_port, place
from motrail.sagemaker.rehearsal.inputs import Sync, dealt, files, items, lay_out, write_json
from motrail.sagemaker.rehearsal.shelf import now

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from motrail.sagemaker.rehearsal.faults import Faults, Interruption
    from motrail.sagemaker.rehearsal.logs import Logs
    from motrail.sagemaker.rehearsal.shelf import Record, Shelf
    from motrail.sagemaker.rehearsal.site import Site
    from motrail.sagemaker.rehearsal.storage import Storage

GROUP = "/aws/sagemaker/TrainingJobs"
REASON = 1024
"""Characters of the failure file that come into `FailureReason`."""
_EPOCH = re.compile(r"\bepoch\s*[=: ]\s*(\d+)", re.IGNORECASE)
_CHECKPOINTS = "/opt/ml/checkpoints"
_DAY = 86400
_NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a "
    "different ML instance type."
)


class _Jobs(Protocol):
    site: Site
    storage: Storage
    logs: Logs
    faults: Faults
    records: Shelf

    def move(self, name: str, status: str, message: str, **changes: Any) -> None: ...


class _EndedError(Exception):
    """The job is over.

    Args:
        status: Its last secondary status.
        reason: `FailureReason` where there is one.
    """

    def __init__(self, status: str, reason: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class TrainingRun:
    """A training job at work.

    Args:
        jobs: What it belongs to.
        name: Of the job.
        stop: Set when it is to end.
    """

    def __init__(self, jobs: _Jobs, name: str, stop: threading.Event) -> None:
        self._jobs = jobs
        self._site = jobs.site
        self._name = name
        self._stop = stop
        self._record: Record = jobs.records.get(name) or {}
        self._metrics: dict[str, tuple[float, Any]] = {}
        self._interruption: Interruption | None = None
        self._interrupted = False
        self._failed: Host | None = None
        self._trained = 0.0
        self._created = time.monotonic()
        self._stream = 0

    def run(self) -> None:
        """From the first status to the last; never raises."""
        try:
            self._start()
            while not self._attempt():
                pass
            self._finish("Completed", "Training job completed")
        except _EndedError as end:
            self._finish(end.status, end.reason or f"Training job {end.status}", end.reason)
        except Exception as error:  # noqa: BLE001  (whatever it is, the job must come to an end)
            if not self._site.ending.is_set():
                reason = f"ClientError: {error}"
                self._finish("Failed", reason, reason)

    def _start(self) -> None:
        choices = instance_choices(self._record["ResourceConfig"])
        free = [each for each in choices if each[0] not in self._jobs.faults.no_capacity]
        if not free:
            raise _EndedError("Failed", _NO_CAPACITY)
        resources = self._record["ResourceConfig"]
        self._instance, self._count = free[0]
        if "InstancePreferences" in resources:
            resources |= {
                "SelectedInstanceType": self._instance,
                "SelectedInstanceCount": self._count,
            }
            self._jobs.records.update(self._name, ResourceConfig=resources)
        if self._record.get("EnableManagedSpotTraining"):
            self._interruption = self._jobs.faults.interruption(self._name)

    def _attempt(self) -> bool:
        """Run until it is done, or interrupted: then False."""
        roots = [
            self._site.work("training", self._name, f"algo-{index + 1}")
            for index in range(self._count)
        ]
        try:
            self._check_stop()
            self._jobs.move(self._name, "Downloading", "Downloading input data")
            for index, root in enumerate(roots):
                self._lay_out(index, root)
            syncs = self._checkpoints(roots)
            self._check_stop()
            message = "Training image download completed. Training in progress."
            started = {} if self._trained else {"TrainingStartTime": now()}
            self._jobs.move(self._name, "Training", message, **started)
            return self._train(roots, syncs)
        finally:
            for root in roots:
                clear(root)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _EndedError("Stopped")

    def _lay_out(self, index: int, root: Path) -> None:
        for folder in ("model", "output/data", "input/config", "input/data"):
            (root / folder).mkdir(parents=True)
        config = root / "input" / "config"
        write_json(config / "hyperparameters.json", self._record.get("HyperParameters", {}))
        described = {}
        for channel in self._record.get("InputDataConfig", ()):
            source = channel["DataSource"]["S3DataSource"]
            distribution = source.get("S3DataDistributionType", "FullyReplicated")
            found = items(self._jobs.storage, source["S3Uri"], source["S3DataType"])
            mine = dealt(found, index, self._count, distribution)
            lay_out(self._jobs.storage, mine, root / "input" / "data" / channel["ChannelName"])
            described[channel["ChannelName"]] = _channel(channel, self._record, distribution)
        write_json(config / "inputdataconfig.json", described)
        write_json(config / "resourceconfig.json", self._resources(index))

    def _resources(self, index: int) -> Record:
        """Addresses of the loopback network stand for the hosts' names, `algo-1` and so on."""
        hosts = [f"127.0.0.{number + 1}" for number in range(self._count)]
        group = "homogeneousCluster"
        return {
            "current_host": hosts[index],
            "current_instance_type": self._instance,
            "current_group_name": group,
            "hosts": hosts,
            "instance_groups": [
                {
                    "instance_group_name": group,
                    "instance_type": self._instance,
                    "hosts": hosts,
                }
            ],
            "network_interface_name": "lo",
            "topology": None,
        }

    def _checkpoints(self, roots: Sequence[Path]) -> list[Sync]:
        config = self._record.get("CheckpointConfig")
        if config is None:
            return []
        local = config.get("LocalPath", _CHECKPOINTS)
        syncs = [Sync(self._jobs.storage, place(root, local), config["S3Uri"]) for root in roots]
        for sync in syncs:
            sync.restore()
        return syncs

    def _train(self, roots: Sequence[Path], syncs: Sequence[Sync]) -> bool:
        environment = {
            **self._record.get("Environment", {}),
            "TRAINING_JOB_NAME": self._name,
            "TRAINING_JOB_ARN": self._record["TrainingJobArn"],
        }
        if len(roots) > 1:
            # At AWS each job has hosts of its own; here two jobs must not meet at one port.
            environment["MASTER_PORT"] = str(free_port())
        algorithm = self._record["AlgorithmSpecification"]
        command = [
            *algorithm.get("ContainerEntrypoint", ["train"]),
            *algorithm.get("ContainerArguments", ()),
        ]
        self._interrupted = False
        self._stream += 1
        began = time.monotonic()
        hosts: list[Host] = []
        try:
            for index, root in enumerate(roots):
                hosts.append(Host(self._site, command, root, environment, self._hear(index)))
            ended = self._watch(hosts, syncs, began)
        finally:
            end_all(hosts, self._site.grace)
            self._trained += time.monotonic() - began
            self._push(syncs)
        if ended == "Interrupted":
            self._interruption = self._jobs.faults.interruption(self._name)
            self._jobs.move(self._name, "Interrupted", "Training job interrupted")
            message = "Preparing the instances for training"
            self._jobs.move(self._name, "Starting", message)
            return False
        self._collect(hosts, ended)
        return True

    def _hear(self, index: int) -> Callable[[str], None]:
        stream = f"{self._name}/algo-{index + 1}-{int(time.time()) + self._stream}"
        write = self._jobs.logs.writer(GROUP, stream)
        patterns = [
            (each["Name"], re.compile(each["Regex"]))
            for each in self._record["AlgorithmSpecification"].get("MetricDefinitions", ())
        ]

        def heard(line: str) -> None:
            write(line)
            for name, pattern in patterns:
                match = pattern.search(line)
                value = _number(match[1]) if match is not None and pattern.groups else None
                if value is not None:
                    self._metrics[name] = (value, now())
            epoch = _EPOCH.search(line)
            if epoch is not None and self._interruption is not None:
                self._interrupted |= int(epoch[1]) >= self._interruption.after_epochs

        return heard

    def _watch(self, hosts: Sequence[Host], syncs: Sequence[Sync], began: float) -> str:
        """Wait until all hosts are done or must end; the status that follows."""
        limits = self._record["StoppingCondition"]
        spot = self._record.get("EnableManagedSpotTraining")
        while True:
            codes = [host.code for host in hosts]
            if all(code == 0 for code in codes):
                end_all(hosts, self._site.grace)  # so that all they said is heard
                return "Interrupted" if self._interrupted else "Completed"
            failed = [host for host in hosts if host.code not in {None, 0}]
            if failed:
                self._failed = failed[0]
                return "Failed"
            if self._site.ending.wait(self._site.look):
                raise _EndedError("Failed", LOST)
            if self._stop.is_set():
                return "Stopped"
            if self._interrupted:
                return "Interrupted"
            trained = self._trained + time.monotonic() - began
            if trained > limits.get("MaxRuntimeInSeconds", _DAY):
                return "MaxRuntimeExceeded"
            most = limits.get("MaxWaitTimeInSeconds")
            if spot and most is not None and time.monotonic() - self._created > most:
                return "MaxWaitTimeExceeded"
            self._push(syncs)

    @staticmethod
    def _push(syncs: Sequence[Sync]) -> None:
        for sync in syncs:
            sync.push()

    def _collect(self, hosts: Sequence[Host], ended: str) -> None:
        prefix = self._record["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        output = f"{prefix}/{self._name}/output"
        packed = self._record["OutputDataConfig"].get("CompressionType", "GZIP") == "GZIP"
        message = "Uploading generated training model"
        if ended != "Failed":
            self._jobs.move(self._name, "Uploading", message)
            self._keep([host.root / "model" for host in hosts], f"{output}/model", packed=packed)
        folders = [host.root / "output" / "data" for host in hosts]
        if any(files(folder) for folder in folders):
            self._keep(folders, f"{output}/output", packed=packed)
        if ended == "Failed":
            raise _EndedError("Failed", _failure(self._failed or hosts[0]))
        if ended != "Completed":
            raise _EndedError(ended)

    def _keep(self, folders: Sequence[Path], uri: str, *, packed: bool) -> None:
        """Files of all hosts in one archive; where two have the same name, the first host's."""
        found: dict[str, Path] = {}
        for folder in folders:
            for path in files(folder):
                found.setdefault(path.relative_to(folder).as_posix(), path)
        if not packed:
            for name, path in found.items():
                self._jobs.storage.put(f"{uri}/{name}", path)
            return
        archive = folders[0].parent / f"{folders[0].name}.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            for name, path in found.items():
                tar.add(path, name)
        self._jobs.storage.put(f"{uri}.tar.gz", archive)

    def _finish(self, status: str, message: str, reason: str = "") -> None:
        changes: dict[str, Any] = {"TrainingEndTime": now()}
        if reason:
            changes["FailureReason"] = reason
        if self._metrics:
            changes["FinalMetricDataList"] = [
                {"MetricName": name, "Value": value, "Timestamp": at}
                for name, (value, at) in self._metrics.items()
            ]
        if self._trained:
            seconds = max(1, round(self._trained))
            changes |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        self._jobs.move(self._name, status, message, **changes)


def _channel(channel: Record, record: Record, distribution: str) -> Record:
    algorithm = record["AlgorithmSpecification"]
    described = {
        "TrainingInputMode": channel.get("InputMode", algorithm["TrainingInputMode"]),
        "S3DistributionType": distribution,
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel:
        described["ContentType"] = channel["ContentType"]
    return described


def _failure(failed: Host) -> str:
    """What SageMaker makes of the failure file of the host that failed."""
    path = failed.root / "output" / "failure"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    text = failed.told(text)[:REASON]
    return f"AlgorithmError: {text}, exit code: {failed.code}"[:REASON]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
