"""Track many or very long videos in S3 with several instances; goes on where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from motrail.batch.find import VIDEO_ENDINGS
from motrail.errors import ConfigError
from motrail.sagemaker.archive import MAX_INSTANCES, deal, find_footage, send_footage, stem
from motrail.sagemaker.deployment import pack
from motrail.sagemaker.ledger import (
    fetch,
    get_json,
    is_done,
    put_json,
    read_rows,
    without_result,
    write_rows,
)
from motrail.sagemaker.redact import redact
from motrail.sagemaker.removal import remove_object
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.requests import processing
from motrail.sagemaker.rules import check
from motrail.sagemaker.takeback import is_missing
from motrail.sagemaker.watch import JobLog, Task, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.config import SageMakerSettings
    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.archive import Deal, Footage, Way
    from motrail.sagemaker.ledger import Row
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud, Request
    from motrail.sagemaker.watch import Watcher

LOGS = "/aws/sagemaker/ProcessingJobs"
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_KEPT = "detections/"


@dataclass(frozen=True)
class Order:
    """What is to be tracked, and how.

    Attributes:
        name: Of the batch; the same name goes on with it.
        source: `s3://bucket/prefix`, or a folder here.
        bundle: The model.
        instances: At most so many.
        way: How it is dealt; None decides by the videos.
        arguments: Flags of `motrail batch`, such as `--video`.
        config: Settings as TOML; None for none.
    """

    name: str
    source: str
    bundle: Bundle
    instances: int = 1
    way: Way | None = None
    arguments: tuple[str, ...] = ()
    config: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                "--job: expected up to 63 letters, digits and single hyphens between them, found "
                f"{self.name!r}"
            )
        if not 1 <= self.instances <= MAX_INSTANCES:
            raise ConfigError(f"--instances: expected 1 to {MAX_INSTANCES}, found {self.instances}")


@dataclass
class Batch:
    """A batch under way.

    Attributes:
        cloud: Where.
        project: Names of the stack.
        settings: Instance type and the like.
        order: What is to be done.
        watcher: Told of what is done, and asked on Ctrl-C.
        footage: The videos.
        deal: How they are dealt.
        rows: What is known of each video, by its name below the prefix.
    """

    cloud: Cloud
    project: Project
    settings: SageMakerSettings
    order: Order
    watcher: Watcher
    footage: Footage
    deal: Deal
    rows: dict[str, Row] = field(default_factory=dict)

    @property
    def results(self) -> str:
        """Prefix of the results, with the slash."""
        return self.uri("tracks") + "/"

    @property
    def ledger(self) -> str:
        """What is known from earlier tries."""
        return self.uri("plan", "done.json")

    def uri(self, *parts: str) -> str:
        """Below the place of this batch."""
        return self.project.uri("batch", self.order.name, *parts)


def open_batch(
    cloud: Cloud, project: Project, settings: SageMakerSettings, order: Order, watcher: Watcher
) -> Batch:
    """See what there is to do; a folder here is uploaded.

    Raises:
        ConfigError: There is no footage, or it cannot be dealt.
        CloudError: AWS refused.
    """
    _check_order(project, settings, order)
    prefix = order.source.rstrip("/") + "/"
    if not order.source.startswith("s3://"):
        prefix = project.uri("batch", order.name, "input") + "/"
        send_footage(cloud, Path(order.source), prefix, watcher.say)
    split_uri(prefix)
    alone = PurePosixPath(order.source).suffix.lower() in VIDEO_ENDINGS
    if order.source.startswith("s3://") and alone:  # one video
        prefix = order.source.rpartition("/")[0] + "/"
        found = (item for item in cloud.objects(order.source) if item.uri == order.source)
        footage = find_footage(found, prefix)
    else:
        footage = find_footage(cloud.objects(prefix), prefix)
    dealt = deal(footage, order.instances, settings.volume_gib, order.way)
    gib = sum(footage.sizes) / (1 << 30)
    ways = {"videos": "each tracks its own videos", "detect": "each detects in a share of all"}
    watcher.say(
        f"{footage.videos} videos, {gib:.2f} GiB, on {dealt.instances} × "
        f"{settings.processing_instance}: {ways[dealt.way]}"
    )
    return Batch(cloud, project, settings, order, watcher, footage, dealt)


def _check_order(project: Project, settings: SageMakerSettings, order: Order) -> None:
    """See that the jobs can be had, before anything is uploaded for them."""
    place = project.uri("batch", order.name)
    job = processing.Job(
        name=project.unique("batch-associate"),
        step="associate",
        videos=place,
        model=place,
        output=place,
        instances=order.instances,
        volume_gib=settings.volume_gib,
        arguments=order.arguments,
    )
    check(processing.create_job(project, settings, job, {"batch": order.name}))


def dry_run(batch: Batch) -> list[Request]:
    """The jobs that `run` would make, if nothing was done yet."""
    plan = _Plan(batch)
    if batch.deal.way == "videos":
        return [plan.videos(batch.project.unique("batch-videos"), batch.footage, None)]
    return [
        plan.detect(batch.project.unique("batch-detect"), None),
        plan.associate(batch.project.unique("batch-associate")),
    ]


def run(batch: Batch) -> list[Row]:
    """Do what is missing, and say what became of each video.

    Returns:
        A row for each video, as in `batch.json` of `motrail batch`.

    Raises:
        ConfigError: A job cannot be had.
        CloudError: AWS refused.
        LeftError: After Ctrl-C; the job goes on or was told to stop.
    """
    cloud = batch.cloud
    _begin(batch)
    batch.rows = read_rows(cloud, batch.results, batch.ledger, batch.footage.units)
    missing = [name for name in batch.footage.units if not is_done(batch.rows.get(name))]
    if not missing:
        batch.watcher.say("everything is done already")
        return _finish(batch, "")
    plan = _Plan(batch)
    kept = [item.uri for item in cloud.objects(batch.uri("tracks") + f"/{_KEPT}")]
    if batch.deal.way == "videos":
        todo = batch.footage.only(missing)
        dealt = dataclasses.replace(batch.deal, instances=min(batch.deal.instances, todo.videos))
        plan = _Plan(dataclasses.replace(batch, deal=dealt))
        plan.send(todo)
        request = plan.videos(
            batch.project.unique("batch-videos"), todo, plan.send_kept(kept, missing)
        )
        reason = _job(batch, request)
        return _finish(batch, reason)
    plan.send(batch.footage)
    detected = batch.uri("detections") + "/"
    kept_before = detected if any(True for _ in cloud.objects(detected)) else None
    reason = _job(batch, plan.detect(batch.project.unique("batch-detect"), kept_before))
    if any(True for _ in cloud.objects(detected)):
        # What was detected is tracked, also where an instance failed.
        later = _job(batch, plan.associate(batch.project.unique("batch-associate")))
        reason = reason or later
    return _finish(batch, reason)


class _Plan:
    """Makes the requests of a batch, and lays out what they refer to."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def send(self, footage: Footage) -> None:
        """The manifest of the videos, the model and the settings."""
        batch = self._batch
        put_json(batch.cloud, batch.uri("plan", "videos.json"), footage.manifest())
        with tempfile.TemporaryDirectory(prefix="motrail-") as folder:
            packed = Path(folder) / "model.tar.gz"
            pack(batch.order.bundle, packed)
            batch.cloud.upload(packed, batch.uri("plan", "model", "model.tar.gz"))
            if batch.order.config is not None:
                config = Path(folder) / "config.toml"
                config.write_text(batch.order.config, encoding="utf-8")
                batch.cloud.upload(config, batch.uri("plan", "config", "config.toml"))

    def send_kept(self, kept: Sequence[str], missing: Sequence[str]) -> str | None:
        """A manifest of the detections of videos that are not done; None where there are none."""
        batch = self._batch
        base = batch.uri("tracks") + "/"
        places = tuple(f"{base}{_KEPT}{start}/" for name in missing for start in (name, stem(name)))
        names = [uri.removeprefix(base) for uri in kept if uri.startswith(places)]
        names = [name for name in names if not _is_hidden(name)]
        if not names:
            return None
        put_json(batch.cloud, batch.uri("plan", "kept.json"), [{"prefix": base}, *names])
        return batch.uri("plan", "kept.json")

    def videos(self, name: str, todo: Footage, kept: str | None) -> Request:
        """The job that tracks videos, each whole on one instance."""
        instances = min(self._batch.deal.instances, max(len(todo.names), 1))
        job = self._job(name, "videos", "tracks", instances)
        return self._request(dataclasses.replace(job, kept=kept, kept_manifest=kept is not None))

    def detect(self, name: str, kept: str | None) -> Request:
        """The job that detects."""
        job = self._job(name, "detect", "detections", self._batch.deal.instances)
        return self._request(dataclasses.replace(job, kept=kept))

    def associate(self, name: str) -> Request:
        """The job that tracks what was detected."""
        job = self._job(name, "associate", "tracks", 1)
        kept = self._batch.uri("detections") + "/"
        return self._request(dataclasses.replace(job, kept=kept))

    def _job(self, name: str, step: processing.Step, output: str, instances: int) -> processing.Job:
        batch = self._batch
        return processing.Job(
            name=name,
            step=step,
            videos=batch.uri("plan", "videos.json"),
            model=batch.uri("plan", "model") + "/",
            output=batch.uri(output),
            instances=instances,
            volume_gib=batch.deal.volume_gib,
            config=None if batch.order.config is None else batch.uri("plan", "config") + "/",
            arguments=batch.order.arguments,
            manifest=True,
        )

    def _request(self, job: processing.Job) -> Request:
        batch = self._batch
        tags = {"batch": batch.order.name}
        return processing.create_job(batch.project, batch.settings, job, tags)


def _begin(batch: Batch) -> None:
    """Forget results of other videos, settings or models; go on with a job that still runs."""
    order = batch.order
    network = order.bundle.onnx
    digest = hashlib.sha256(network if isinstance(network, bytes) else network.read_bytes())
    spec = order.bundle.spec
    made_of = [
        digest.hexdigest(),
        spec and spec.model_dump_json(),
        order.arguments,
        order.config,
        batch.deal.way,
    ]
    stamp = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    tags = batch.footage.tags()
    before = get_json(batch.cloud, batch.uri("plan", "batch.json"))
    job = get_json(batch.cloud, batch.uri("plan", "job.json"))
    if isinstance(job, dict) and isinstance(job.get("name"), str):
        _go_on(batch, job["name"])
    if isinstance(before, dict) and before.get("stamp") == stamp:
        stale = {
            name for name, etag in (before.get("videos") or {}).items() if tags.get(name) != etag
        }
        if stale:
            _forget(batch, stale)
    elif before is not None:
        batch.watcher.say("other settings or another model: results are made anew")
        _forget(batch, None)
    put_json(batch.cloud, batch.uri("plan", "batch.json"), {"stamp": stamp, "videos": tags})


def _forget(batch: Batch, names: set[str] | None) -> None:
    """Take videos out of the manifests, all if None; what was detected fits or is not used."""
    rows = (
        {}
        if names is None
        else {
            name: row
            for name, row in read_rows(
                batch.cloud, batch.results, batch.ledger, batch.footage.units
            ).items()
            if name not in names
        }
    )
    write_rows(batch.cloud, batch.results, batch.ledger, rows)


def _go_on(batch: Batch, job: str) -> None:
    """Wait for a job of an earlier try that still runs."""
    try:
        answer = batch.cloud.call(processing.describe_job(job))
    except CloudError as error:
        if is_missing(error):
            return
        raise
    if answer["ProcessingJobStatus"] in ("InProgress", "Stopping"):
        batch.watcher.say(f"job {job} of an earlier try still runs")
        _wait(batch, job)


def _job(batch: Batch, request: Request) -> str:
    """Make a job and wait for it; gives the reason where it did not end well."""
    name = request.parameters["ProcessingJobName"]
    put_json(batch.cloud, batch.uri("plan", "job.json"), {"name": name})
    return _wait(batch, name, request)


def _wait(batch: Batch, name: str, create: Request | None = None) -> str:
    cloud = batch.cloud
    task = Task(
        name,
        processing.describe_job(name),
        "ProcessingJobStatus",
        processing.stop_job(name),
        f"the same command with --job {batch.order.name}",
    )
    log = JobLog(cloud, LOGS, f"{name}/")
    answer = wait_for(cloud, task, batch.watcher, create=create, log=log)
    status = answer["ProcessingJobStatus"]
    said = [answer.get("ExitMessage"), answer.get("FailureReason")]
    reason = redact("; ".join(" ".join(text.split()) for text in said if text))
    batch.watcher.say(f"job {name}: {status}{': ' if reason else ''}{reason}")
    return "" if status == "Completed" else f"job {name} {status.lower()}: {reason or 'no reason'}"


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _finish(batch: Batch, reason: str) -> list[Row]:
    """Join the manifests of all instances, with a row for each video that has none."""
    found = read_rows(batch.cloud, batch.results, batch.ledger, batch.footage.units)
    rows = {}
    for name in batch.footage.units:
        row = found.get(name)
        if row is None or row["state"] in ("waiting", "detected"):
            row = without_result(name, reason or "no instance has a result of it")
        rows[name] = row
    write_rows(batch.cloud, batch.results, batch.ledger, rows)
    remove_object(batch.cloud, batch.uri("plan", "job.json"))
    return list(rows.values())


def bring(batch: Batch, rows: Sequence[Row], output: Path) -> int:
    """Bring the results here; gives how many files. See `motrail.sagemaker.ledger.fetch`."""
    return fetch(batch.cloud, batch.results, rows, output)
