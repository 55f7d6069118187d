"""A dataset folder in S3: what of it training reads, and only what changed."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.dataset.check.run import check
from motrail.dataset.folder import open_dataset
from motrail.dataset.footage import silent
from motrail.errors import ConfigError, FormatError
from motrail.sagemaker.removal import all_or_error
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.requests.admin import delete_objects
from motrail.sagemaker.requests.training import describe_training_job, list_running_training_jobs
from motrail.sagemaker.transfer import Meter, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motrail.dataset.footage import Progress
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud, ObjectInfo

SPLITS = ("train", "val")
"""The splits that training reads."""
MOST_RECORD = 256 << 20
"""Bytes of the record of a dataset's files: some two million of them."""
_THREADS = 8
_LARGE = 8 << 20
"""Bytes from which on boto3 sends a file in parts, several at a time, by itself."""
_DELETE_AT_ONCE = 1000


class Sent(NamedTuple):
    """A dataset in S3.

    Attributes:
        uri: The prefix.
        files: How many it has.
        uploaded: How many of them were new or had changed.
        removed: How many were there that are none of it any more.
    """

    uri: str
    files: int
    uploaded: int
    removed: int


class Known(NamedTuple):
    """What a file's content was when it was uploaded, and what S3 called that."""

    digest: str
    etag: str


def check_dataset(
    folder: Path, training_size: tuple[int, int] = (640, 640), progress: Progress = silent
) -> None:
    """See here that a dataset can be trained on, before an instance does.

    Args:
        folder: The dataset.
        training_size: Width and height of the network's input in pixels.
        progress: Told what is looked at.

    Raises:
        ConfigError: It has no split train or val.
        FormatError: It has faults, or is no dataset.
    """
    dataset = open_dataset(folder)
    missing = [split for split in SPLITS if split not in dataset.splits]
    if missing:
        raise ConfigError(
            f"{folder}: expected the splits train and val, found {', '.join(dataset.splits)}; make "
            f"them with `motrail dataset split {folder} --val 0.2`"
        )
    report = check(folder, training_size=training_size, progress=progress)
    if report.faults:
        kinds = (group for group in report.groups if group.level == "fault")
        shown = "; ".join(f"{group.count} × {group.kind}" for group in itertools.islice(kinds, 5))
        raise FormatError(
            folder,
            f"expected a dataset without faults, found {report.faults} ({shown}); "
            f"`motrail dataset check {folder}` lists them",
        )


def dataset_uri(project: Project, folder: Path) -> str:
    """Where a dataset folder goes."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.absolute().name).strip("-.")
    return project.uri("datasets", name or "dataset")


def send_dataset(cloud: Cloud, project: Project, folder: Path, progress: Progress = silent) -> Sent:
    """Copy to S3 what training reads of a dataset, as far as it is not there.

    Args:
        cloud: Where to.
        project: Its bucket.
        folder: The dataset.
        progress: Told of files looked at, and of bytes that went over.

    Raises:
        ConfigError: Files would have to change that a job under way reads.
        CloudError: S3 refused.
    """
    uri = dataset_uri(project, folder)
    files = dict(_files(folder))
    known = read_record(cloud, f"{uri}.json")
    there = {item.uri.removeprefix(f"{uri}/"): item for item in cloud.objects(f"{uri}/")}
    digests = {}
    for done, (name, path) in enumerate(files.items(), start=1):
        digests[name] = digest_of(path)
        progress("looking for what changed", done, len(files))
    changed = [n for n in files if not is_same(digests[n], there.get(n), known.get(n))]
    stale = sorted(there.keys() - files.keys())
    if stale or any(name in there for name in changed):
        _refuse_while_read(cloud, uri)
    upload_files(cloud, {f"{uri}/{name}": files[name] for name in changed}, progress)
    _delete(cloud, [there[name] for name in stale])
    if changed or stale or not known:
        write_record(cloud, uri, digests)
    return Sent(uri, len(files), len(changed), len(stale))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files that training reads, by their path in the dataset."""
    dataset = open_dataset(folder)
    yield from ((p.name, p) for p in (dataset.folder / "labels.txt",) if p.is_file())
    for split in SPLITS:
        record = dataset.record(split)
        if record.is_file():
            yield record.relative_to(dataset.folder).as_posix(), record
        for path in sorted((dataset.folder / split).rglob("*")):
            name = path.relative_to(dataset.folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                yield name.as_posix(), path


def is_same(digest: str, there: ObjectInfo | None, known: Known | None) -> bool:
    """Whether S3 has the content: by its tag, which for small plain files is the MD5 itself."""
    if there is None:
        return False
    return there.etag == digest or known == (digest, there.etag)


def digest_of(path: Path) -> str:
    """MD5 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read_record(cloud: Cloud, uri: str) -> dict[str, Known]:
    """What `write_record` kept, by name; nothing where there is none that makes sense.

    Args:
        cloud: Where.
        uri: Of the record itself.

    Raises:
        CloudError: It is larger than any record (`code` is `TooLarge`), or was refused.
    """
    try:
        content = json.loads(read_object(cloud, uri, MOST_RECORD, "a record of files").body)
        return {name: Known(*map(str, one)) for name, one in content.items()}
    except CloudError as error:
        if error.code not in ("NoSuchKey", "404"):
            raise
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass  # without it more is uploaded than need be
    return {}


def write_record(cloud: Cloud, uri: str, digests: Mapping[str, str]) -> None:
    """Keep beside the prefix `uri` what was uploaded below it, as `<uri>.json`.

    Args:
        cloud: Where.
        uri: The prefix, without a slash at its end.
        digests: Of each file's content, by its name below the prefix.
    """
    tags = {item.uri.removeprefix(f"{uri}/"): item.etag for item in cloud.objects(f"{uri}/")}
    content = {name: [digest, tags.get(name, "")] for name, digest in digests.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        cloud.upload(path, f"{uri}.json")


def _refuse_while_read(cloud: Cloud, uri: str) -> None:
    """See that no job under way reads what is to change: after an interruption it reads again."""
    for job in cloud.pages(list_running_training_jobs(), "TrainingJobSummaries"):
        name = job["TrainingJobName"]
        answer = cloud.call(describe_training_job(name))
        sources: list[dict[str, Any]] = [
            channel["DataSource"].get("S3DataSource", {})
            for channel in answer.get("InputDataConfig", ())
        ]
        if any(source.get("S3Uri", "").rstrip("/") == uri for source in sources):
            raise ConfigError(
                f"{uri}: expected no job that reads this dataset while its files change, found "
                f"{name} under way; wait for it, or give the dataset's folder another name"
            )


def upload_files(cloud: Cloud, files: Mapping[str, Path], progress: Progress) -> None:
    """Copy files to S3, several at a time.

    Args:
        cloud: Where to.
        files: URI → file.
        progress: Told of bytes.

    Raises:
        CloudError: S3 refused.
    """
    sizes = {uri: path.stat().st_size for uri, path in files.items()}
    meter = Meter(progress, "uploading", sum(sizes.values()))
    small = {uri: path for uri, path in files.items() if sizes[uri] < _LARGE}
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            jobs = [pool.submit(cloud.upload, path, uri, tell=meter) for uri, path in small.items()]
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    # In this thread, so that Ctrl-C ends them: boto3 then takes back the parts that are there.
    for uri in (uri for uri in files if uri not in small):
        cloud.upload(files[uri], uri, tell=meter)


def _delete(cloud: Cloud, items: list[ObjectInfo]) -> None:
    for start in range(0, len(items), _DELETE_AT_ONCE):
        places = [split_uri(item.uri) for item in items[start : start + _DELETE_AT_ONCE]]
        all_or_error(cloud.call(delete_objects(places[0][0], [key for _, key in places])))
