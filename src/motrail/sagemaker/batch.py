"""Track many or very long videos in S3 with several instances; goes on where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from motrail.batch.find import VIDEO_ENDINGS
from motrail.dataset.footage import silent
from motrail.errors import ConfigError
from motrail.sagemaker.archive import MAX_INSTANCES, deal, find_footage, send_footage
from motrail.sagemaker.batch_plan import KEPT, Plan
from motrail.sagemaker.ledger import (
    fetch,
    get_json,
    is_broken,
    is_done,
    put_json,
    read_reasons,
    read_rows,
    reports,
    settled,
    write_rows,
)
from motrail.sagemaker.redact import redact
from motrail.sagemaker.removal import remove_object
from motrail.sagemaker.request import split_uri
from motrail.sagemaker.requests import processing
from motrail.sagemaker.rules import check
from motrail.sagemaker.turn import Turn
from motrail.sagemaker.watch import JobLog, Task, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.config import SageMakerSettings
    from motrail.dataset.footage import Progress
    from motrail.detect.bundle import Bundle
    from motrail.sagemaker.archive import Deal, Footage, Way
    from motrail.sagemaker.ledger import Row
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud, Request
    from motrail.sagemaker.watch import Watcher

LOGS = "/aws/sagemaker/ProcessingJobs"
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_ALL_DONE = "everything is done already"


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
        retry: Whether videos that failed before are tried again, though they did not change.
    """

    name: str
    source: str
    bundle: Bundle
    instances: int = 1
    way: Way | None = None
    arguments: tuple[str, ...] = ()
    config: str | None = None
    retry: bool = False

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
        progress: Told of bytes that go over or come.
    """

    cloud: Cloud
    project: Project
    settings: SageMakerSettings
    order: Order
    watcher: Watcher
    footage: Footage
    deal: Deal
    progress: Progress = silent

    @property
    def results(self) -> str:
        """Prefix of the results, with the slash."""
        return self.uri("tracks") + "/"

    @property
    def detections(self) -> str:
        """Prefix of what was detected in shares, with the slash."""
        return self.uri("detections") + "/"

    @property
    def ledger(self) -> str:
        """What is known from earlier tries."""
        return self.uri("plan", "done.json")

    def uri(self, *parts: str) -> str:
        """Below the place of this batch."""
        return self.project.uri("batch", self.order.name, *parts)


def open_batch(
    cloud: Cloud,
    project: Project,
    settings: SageMakerSettings,
    order: Order,
    watcher: Watcher,
    progress: Progress = silent,
) -> Batch:
    """See what there is to do; a folder here is uploaded.

    Args:
        cloud: Where.
        project: Names of the stack.
        settings: Instance type and the like.
        order: What is to be done.
        watcher: Told of what is done, and asked on Ctrl-C.
        progress: Told of bytes that go over, then and later.

    Raises:
        ConfigError: There is no footage, or it cannot be dealt.
        CloudError: AWS refused.
    """
    _check_order(project, settings, order)
    prefix = order.source.rstrip("/") + "/"
    if not order.source.startswith("s3://"):
        prefix = project.uri("batch", order.name, "input") + "/"
        send_footage(cloud, Path(order.source), prefix, watcher.say, progress)
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
    return Batch(cloud, project, settings, order, watcher, footage, dealt, progress)


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
    plan = Plan(batch)
    if batch.deal.way == "videos":
        return [plan.videos(batch.project.unique("batch-videos"), batch.footage, None)]
    return [
        plan.detect(batch.project.unique("batch-detect"), None),
        plan.associate(batch.project.unique("batch-associate")),
    ]


def run(batch: Batch) -> list[Row]:
    """Do what is missing, and say what became of each video.

    A video that failed is not tried again unless it changed, or the order says so.

    Returns:
        A row for each video, as in `batch.json` of `motrail batch`.

    Raises:
        BusyError: Another command makes jobs of this batch at the same moment.
        ConfigError: A job cannot be had.
        CloudError: AWS refused.
        LeftError: After Ctrl-C; the job goes on or was told to stop.
    """
    turn = Turn(batch.cloud, batch.uri("plan", "job.json"), batch.order.name, batch.watcher.say)
    while (job := turn.look()) is not None:
        batch.watcher.say(f"job {job} of an earlier try, or of another command, still runs")
        _wait(batch, job)
    name = batch.project.unique(f"batch-{batch.deal.way}")
    with turn.taken(name):
        _begin(batch)
        rows = read_rows(batch.cloud, batch.results, batch.ledger, batch.footage.units)
        tags = batch.footage.tags()
        broken = {unit for unit in tags if is_broken(rows.get(unit), tags[unit])}
        missing = [u for u in tags if u not in broken and not is_done(rows.get(u))]
        if broken:
            batch.watcher.say(
                f"videos that failed before and are what they were: {len(broken)}; --retry tries "
                "them again"
            )
        if not missing:
            batch.watcher.say("everything else is done already" if broken else _ALL_DONE)
            return _finish(batch, turn, "")
        if batch.deal.way == "videos":
            return _finish(batch, turn, _videos(batch, turn, name, missing))
        wanted = batch.footage.only(set(tags) - broken)
        return _finish(batch, turn, _detect(batch, turn, name, wanted))


def _videos(batch: Batch, turn: Turn, name: str, missing: Sequence[str]) -> str:
    """Have each instance track its own videos; why not all is well, if so."""
    kept = [item.uri for item in batch.cloud.objects(f"{batch.results}{KEPT}")]
    todo = batch.footage.only(missing)
    dealt = dataclasses.replace(batch.deal, instances=min(batch.deal.instances, todo.videos))
    plan = Plan(dataclasses.replace(batch, deal=dealt))
    plan.send(todo)
    request = plan.videos(name, todo, plan.send_kept(kept, missing))
    turn.check()
    return _wait(batch, name, request)


def _detect(batch: Batch, turn: Turn, name: str, wanted: Footage) -> str:
    """Have all instances detect and one track; why not all is well, if so."""
    cloud, plan = batch.cloud, Plan(batch)
    plan.send(wanted)
    for uri in reports(cloud, batch.detections):  # of an earlier try
        remove_object(cloud, uri)
    there = any(True for _ in cloud.objects(batch.detections))
    request = plan.detect(name, batch.detections if there else None)
    turn.check()
    reason = _wait(batch, name, request)
    told = set(reports(cloud, batch.detections))
    if all(item.uri in told for item in cloud.objects(batch.detections)):
        return reason
    # What was detected is tracked, also where an instance failed.
    name = batch.project.unique("batch-associate")
    with turn.taken(name):
        later = _wait(batch, name, plan.associate(name))
    return reason or later


def _begin(batch: Batch) -> None:
    """Forget results of other videos, settings or models, and failures that are tried again."""
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
    known = before.get("videos") if isinstance(before, dict) else None
    if isinstance(before, dict) and isinstance(known, dict) and before.get("stamp") == stamp:
        stale = {name for name, etag in known.items() if tags.get(name) != etag}
        rows = read_rows(batch.cloud, batch.results, batch.ledger, tags) if order.retry else {}
        stale |= {name for name, row in rows.items() if row["state"] == "failed"}
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


def _finish(batch: Batch, turn: Turn, reason: str) -> list[Row]:
    """Join the manifests of all instances, with a row for each video that has none."""
    found = read_rows(batch.cloud, batch.results, batch.ledger, batch.footage.units)
    shared = batch.deal.way == "detect"  # else what is there was told of an earlier try
    reasons = read_reasons(batch.cloud, batch.detections) if shared else {}
    otherwise = reason or "no instance has a result of it"
    rows = {
        name: settled(found.get(name), name, tag, reasons.get(name), otherwise)
        for name, tag in batch.footage.tags().items()
    }
    write_rows(batch.cloud, batch.results, batch.ledger, rows)
    turn.leave()
    return list(rows.values())


def bring(batch: Batch, rows: Sequence[Row], output: Path) -> int:
    """Bring the results here; gives how many files. See `motrail.sagemaker.ledger.fetch`."""
    return fetch(batch.cloud, batch.results, rows, output, batch.progress)
