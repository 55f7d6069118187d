"""Label in SageMaker Ground Truth: footage there, and the labels home as a dataset."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.convert import import_labels
from motrail.errors import ConfigError
from motrail.formats.ground_truth.reader import read_ground_truth
from motrail.formats.labels import Labels, ReadOptions
from motrail.outputs import output_error
from motrail.sagemaker.artifacts import see_that_it_is_free
from motrail.sagemaker.datasets import upload_files
from motrail.sagemaker.footage import Prepared, prepare
from motrail.sagemaker.request import split_uri
from motrail.sagemaker.requests.labeling import (
    Kind,
    LabelingOrder,
    create_labeling_job,
    describe_labeling_job,
    label_attribute,
    stop_labeling_job,
    task_account,
)
from motrail.sagemaker.rules import check as check_request
from motrail.sagemaker.rules.labeling import check_audit
from motrail.sagemaker.transfer import download_folder, safe_key
from motrail.sagemaker.watch import JobError, Task, bringing, failed, look, start, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from motrail.config import SageMakerSettings
    from motrail.dataset.convert import Summary
    from motrail.dataset.footage import Progress
    from motrail.sagemaker.footage import LabelingPlan
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud, Request
    from motrail.sagemaker.watch import Watcher

    Simulate = Callable[[str, list[Labels]], None]

NOTICE = (
    "Ground Truth takes no new customers since 30 July 2026: the job is refused unless this "
    "account used it before"
)
EVERY = 60.0
"""Seconds from one look at a job to the next; people label for hours."""
MANIFEST = "manifests/output/output.manifest"
CATEGORIES = "label-categories.json"
_PLAIN_MANIFEST = "input.manifest"
_MAX_JOB_NAME = 54
"""The labels that a job starts from are a job of their own, whose name has four letters more."""


@dataclass(frozen=True)
class Labelled:
    """What came of a labelling job.

    Attributes:
        job: Its name.
        kind: `label`, `adjust` or `verify`; None for one that was begun elsewhen.
        sequences: How many there were to label.
        frames: Their frames.
        dataset: What was imported; None where nobody waited.
    """

    job: str
    kind: str | None = None
    sequences: int = 0
    frames: int = 0
    dataset: Summary | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        dataset = None if self.dataset is None else self.dataset.as_dict()
        return asdict(self) | {"dataset": dataset}


def label(
    cloud: Cloud,
    project: Project,
    settings: SageMakerSettings,
    plan: LabelingPlan,
    output: Path | None,
    watcher: Watcher,
    *,
    progress: Progress,
    simulate: Simulate | None = None,
) -> Labelled:
    """Have footage labelled, or labels adjusted or verified.

    Args:
        cloud: Where.
        project: The stack's names.
        settings: The team that labels, the key that encrypts.
        plan: What.
        output: The dataset folder to make; None does not wait for the labels.
        watcher: Told of what happens.
        progress: Told of frames and bytes.
        simulate: Given the job's name and the labels it starts from once it is made: labels in the
            place of people.

    Raises:
        ConfigError: Nobody is there to label, the region has no such task, a request breaks a
            rule, or there is more than a job takes.
        MotrailError: Footage or labels cannot be read; the job failed; nobody waits any more.
        CloudError: AWS refused something.
        OutputError: The folder holds something already, or cannot be written.
    """
    if settings.workteam is None:
        raise ConfigError(
            "expected --workteam ARN, the private team that is to label; make one in the console "
            "of SageMaker (Ground Truth, Labeling workforces)"
        )
    task_account(project.region)
    if output is not None:
        see_that_it_is_free(output)
    job = project.unique("label", _MAX_JOB_NAME)
    with _work(output) as work:
        place = project.uri("labeling", job, "input")
        folder = work / "mirror" / project.bucket / "labeling" / job / "input"
        prepared = prepare(plan, folder, place, f"{job}-pre", progress)
        for note in prepared.notes:
            watcher.say(f"note: {note}")
        request = create_labeling_job(
            order_of(job, prepared.kind, plan.hours, project, settings.workteam), project, settings
        )
        check_request(request)
        if prepared.kind != "label":
            check_audit(request, label_attribute(f"{job}-pre"))
        _upload(cloud, folder, place, progress)
        watcher.say(
            f"{prepared.sequences} sequences with {prepared.frames:,} frames to {prepared.kind}"
        )
        found = Labelled(job, prepared.kind, prepared.sequences, prepared.frames)
        if output is None:
            start(cloud, task_of(job), watcher, request)
            return found
        if simulate is not None:
            cloud.call(request)
            simulate(job, start_of(folder, work / "mirror"))
        create = request if simulate is None else None
        answer = _wait(cloud, project, job, watcher, prepared, create)
        with bringing(task_of(job), watcher):
            summary = collect(cloud, project, answer, output, work, progress=progress)
        return Labelled(job, found.kind, found.sequences, found.frames, summary)


def go_on(
    cloud: Cloud,
    project: Project,
    job: str,
    output: Path,
    watcher: Watcher,
    *,
    progress: Progress,
    simulate: Simulate | None = None,
) -> Labelled:
    """Wait for a job that is under way or over, and import its labels; else as `label`."""
    see_that_it_is_free(output)
    with _work(output) as work:
        if simulate is not None:
            _simulate(cloud, project, job, simulate, work)
        answer = _wait(cloud, project, job, watcher)
        with bringing(task_of(job), watcher):
            summary = collect(cloud, project, answer, output, work, progress=progress)
    return Labelled(job, None, summary.sequences, summary.frames, summary)


def _simulate(cloud: Cloud, project: Project, job: str, simulate: Simulate, work: Path) -> None:
    """Let labels be drawn for a job that is under way, if it is one of ours."""
    answer = look(cloud, task_of(job))
    place = project.uri("labeling", job, "input")
    if answer["LabelingJobStatus"] != "InProgress" or not _is_ours(answer, place):
        return
    folder = work / "mirror" / project.bucket / split_uri(place)[1]
    folder.parent.mkdir(parents=True)
    download_folder(cloud, place, folder)
    simulate(job, start_of(folder, work / "mirror"))


def _is_ours(answer: Mapping[str, Any], place: str) -> bool:
    source = answer["InputConfig"]["DataSource"].get("S3DataSource", {})
    return str(source.get("ManifestS3Uri", "")).startswith(f"{place}/")


def start_of(folder: Path, mirror: Path) -> list[Labels]:
    """The labels that a job starts from, by the names of its sequences; maybe none in them."""
    if (folder / MANIFEST).is_file():
        source = read_ground_truth(folder / MANIFEST, ReadOptions(mirror=mirror))
        names = [path.stem for path in _in_order(folder)]
        return [labels.replace(name=name) for labels, name in zip(source, names, strict=True)]
    classes = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    return [_nothing(path, classes) for path in _in_order(folder)]


def _in_order(folder: Path) -> list[Path]:
    """The sequence files, in the order of the manifest."""
    files = {json.loads(path.read_bytes())["seq-no"]: path
             for path in (folder / "sequences").glob("*.json")}  # fmt: skip
    return [files[number] for number in sorted(files)]


def _nothing(path: Path, classes: Sequence[str]) -> Labels:
    count = json.loads(path.read_bytes())["number-of-frames"]
    none = np.zeros(0, np.int64)
    return Labels.of(path.stem, classes, none, none, np.zeros((0, 4)), none, length=count)


def order_of(job: str, kind: Kind, hours: float, project: Project, workteam: str) -> LabelingOrder:
    """A job whose input lies where `label` puts it."""
    place = project.uri("labeling", job, "input")
    manifest = _PLAIN_MANIFEST if kind == "label" else MANIFEST
    return LabelingOrder(
        job,
        kind,
        f"{place}/{manifest}",
        f"{place}/{CATEGORIES}",
        project.uri("labeling", job, "output"),
        workteam,
        hours,
    )


class _work:  # noqa: N801  (used as a function)
    """A folder to work in, on the disk of the result; gone at the end."""

    def __init__(self, output: Path | None) -> None:
        parent = None if output is None else output.absolute().parent
        try:
            self._folder = tempfile.TemporaryDirectory(dir=parent, prefix=".motrail-")
        except OSError as error:
            raise output_error(parent or "the folder for temporary files", error) from error

    def __enter__(self) -> Path:
        return Path(self._folder.name)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _upload(cloud: Cloud, folder: Path, place: str, progress: Progress) -> None:
    files = {
        f"{place}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    upload_files(cloud, files, progress)


def task_of(job: str) -> Task:
    """A labelling job to wait for."""
    return Task(
        job,
        describe_labeling_job(job),
        "LabelingJobStatus",
        stop_labeling_job(job),
        f"motrail sagemaker label --job {job}",
    )


def _wait(
    cloud: Cloud,
    project: Project,
    job: str,
    watcher: Watcher,
    prepared: Prepared | None = None,
    create: Request | None = None,
) -> dict[str, Any]:
    """Wait until people are done; a job that was stopped is good for what is there."""
    task = task_of(job)
    last = ""

    def step(answer: Mapping[str, Any]) -> None:
        nonlocal last
        watcher.step(answer)
        now = _how_far(cloud, project, answer, prepared)
        if now != last:
            last = now
            watcher.say(f"— {now}")

    answer = wait_for(cloud, task, watcher._replace(step=step, every=EVERY), create=create)
    if answer[task.status] == "Failed":
        raise failed(answer, task)
    return answer


def _how_far(
    cloud: Cloud, project: Project, answer: Mapping[str, Any], prepared: Prepared | None
) -> str:
    """How much is labelled, by the job's counters and by the answers in S3, one for a frame."""
    job = answer["LabelingJobName"]
    counters = answer.get("LabelCounters", {})
    done = counters.get("TotalLabeled", 0)
    total = done + counters.get("Unlabeled", 0) + counters.get("FailedNonRetryableError", 0)
    responses = f"{_results(project, job)}/annotations/worker-response/"
    frames = {
        tuple(item.uri.removeprefix(responses).split("/")[1:])
        for item in cloud.objects(responses)
        if item.uri.endswith(".json")
    }
    of = "" if prepared is None else f" of {prepared.frames:,}"
    seen = f", {len(frames):,}{of} frames looked at" if frames else ""
    return f"{answer['LabelingJobStatus']}: {done} of {total} sequences{seen}"


def _results(project: Project, job: str) -> str:
    """Where Ground Truth writes: below the output path, in a folder with the job's name."""
    return project.uri("labeling", job, "output", job)


def collect(
    cloud: Cloud,
    project: Project,
    answer: Mapping[str, Any],
    output: Path,
    work: Path,
    *,
    progress: Progress,
) -> Summary:
    """Bring a job's labels home as a dataset, which appears whole or not at all.

    Args:
        cloud: Where they are.
        project: Its bucket.
        answer: The description of the job.
        output: The dataset folder to make.
        work: A folder to work in; what `label` prepared may still lie there.
        progress: Told of files.

    Raises:
        ConfigError: The job was not made by `motrail sagemaker label`.
        JobError: It left no labels.
        FormatError: The labels are not as Ground Truth writes them.
        CloudError: Something is not there.
    """
    job = answer["LabelingJobName"]
    place = project.uri("labeling", job, "input")
    if not _is_ours(answer, place):
        raise ConfigError(
            f"job {job}: expected one that `motrail sagemaker label` made, found one with another "
            "input; copy its bucket (aws s3 cp --recursive) and use "
            "`motrail dataset import --mirror`"
        )
    mirror = work / "mirror"
    local = mirror / project.bucket / split_uri(place)[1]
    if not local.is_dir():
        local.parent.mkdir(parents=True)
        download_folder(cloud, place, local)
    results = mirror / project.bucket / split_uri(_results(project, job))[1]
    _fetch(cloud, _results(project, job), results, progress)
    if not (results / MANIFEST).is_file():
        raise JobError(f"job {job} ended as {answer['LabelingJobStatus']} and left no labels")
    shutil.copyfile(local / "labels.txt", results / "labels.txt")
    return import_labels(
        [results / MANIFEST],
        output,
        format_="ground-truth",
        options=ReadOptions(mirror=mirror, label_attribute=answer["LabelAttributeName"]),
        progress=progress,
    )


def _fetch(cloud: Cloud, uri: str, folder: Path, progress: Progress) -> None:
    """Copy manifests and labels; the answers of single workers only where nothing else is."""
    found = [item.uri for item in cloud.objects(f"{uri}/") if not item.uri.endswith("/")]
    places = {one: safe_key(one.removeprefix(f"{uri}/"), one) for one in found}
    whole = {
        one: place
        for one, place in places.items()
        if str(place).startswith(("manifests/", "annotations/consolidated-annotation/"))
    }
    if not any("consolidated-annotation" in one for one in whole):
        whole = places
    for done, (one, place) in enumerate(whole.items(), start=1):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        cloud.download(one, folder / place)
        progress("fetching labels", done, len(whole))
