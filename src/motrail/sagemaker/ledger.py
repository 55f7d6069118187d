"""What is known of each video of a batch, in documents in S3; and its results, brought here."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motrail.outputs import WholeFile, output_folder, writing
from motrail.sagemaker.archive import stem
from motrail.sagemaker.removal import remove_object
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.takeback import is_missing
from motrail.sagemaker.transfer import Meter, read_object, safe_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from motrail.dataset.footage import Progress
    from motrail.sagemaker.request import Cloud

MANIFEST = re.compile(r"batch(-[A-Za-z0-9-]+)?\.json")
REPORT = re.compile(r"detected-[A-Za-z0-9-]+\.json")
"""What an instance writes of the videos that it detected in."""
MOST = 64 << 20
"""Bytes of a document that tells of all videos: some hundred thousand of them."""
RANK = {"waiting": 1, "detected": 2, "failed": 3, "partly": 4, "done": 5}
COUNTS = ("frames", "tracks", "boxes", "broken_frames")
INPUT = "/opt/ml/processing/input/videos"

Row = dict[str, Any]


def read_rows(cloud: Cloud, base: str, ledger: str, known: Iterable[str]) -> dict[str, Row]:
    """The best that any manifest says of each video.

    Args:
        cloud: Where.
        base: Prefix of the results, with the slash.
        ledger: What is known from earlier tries; a manifest among the results may be written over
            by the next try.
        known: The names of the videos below their prefix; others are not told of.
    """
    best: dict[str, Row] = {}
    for uri in (ledger, *manifests(cloud, base)):
        for name, row in _rows_of(get_json(cloud, uri)):
            if _rank(row) >= _rank(best.get(name, {})):
                best[name] = row
    wanted = set(known)
    return {name: row for name, row in best.items() if name in wanted}


def manifests(cloud: Cloud, base: str) -> list[str]:
    """What the instances wrote of what they did; several write beside each other."""
    return [
        item.uri
        for item in cloud.objects(f"{base}batch")
        if MANIFEST.fullmatch(item.uri.removeprefix(base))
    ]


def reports(cloud: Cloud, base: str) -> list[str]:
    """What the instances wrote of what they detected, below a prefix with a slash at its end."""
    return [
        item.uri
        for item in cloud.objects(f"{base}detected-")
        if REPORT.fullmatch(item.uri.removeprefix(base))
    ]


def read_reasons(cloud: Cloud, base: str) -> dict[str, str]:
    """Why nothing could be detected in a video, by its name, as the instances reported."""
    return {
        name: str(row["reason"])
        for uri in reports(cloud, base)
        for name, row in _rows_of(get_json(cloud, uri))
        if row["state"] == "failed" and row.get("reason")
    }


def _rows_of(document: object) -> list[tuple[str, dict[str, Any]]]:
    """Rows of a manifest with the name of the video below the prefix; without those of no sense."""
    rows = document.get("videos") if isinstance(document, dict) else None
    found = []
    for row in rows if isinstance(rows, list) else ():
        if not (isinstance(row, dict) and isinstance(row.get("files"), dict)):
            continue
        path = re.search(r"/processing/input/videos(?:/(.*))?$", str(row.get("path")), re.DOTALL)
        if path is not None and row.get("state") in RANK:
            found.append((path[1] or "", row))
    return found


def _rank(row: Mapping[str, Any]) -> int:
    return RANK.get(str(row.get("state")), 0)


def is_done(row: Mapping[str, Any] | None) -> bool:
    """Whether there is a result of a video."""
    return row is not None and row["state"] in ("done", "partly")


def is_broken(row: Mapping[str, Any] | None, tag: str) -> bool:
    """Whether a video was tried and failed, and is still what it was then."""
    return row is not None and row["state"] == "failed" and row.get("object") == tag


def settled(row: Row | None, name: str, tag: str, reason: str | None, otherwise: str) -> Row:
    """The row of a video when all jobs are over: if it failed, with what it was.

    Args:
        row: The best that is known of it.
        name: Of the video below the prefix.
        tag: Changes when its content does.
        reason: Why nothing could be detected in it, if so.
        otherwise: Why it has no result, where that is not known to be the video's fault.
    """
    lost = row is not None and row.get("object", "") is None
    if row is None or lost or row["state"] in ("waiting", "detected"):
        row = without_result(name, reason or otherwise)
        return row | {"object": tag if reason else None}
    if row["state"] == "failed" and "object" not in row:
        return row | {"object": tag}
    return row


def write_rows(cloud: Cloud, base: str, ledger: str, rows: Mapping[str, Row]) -> None:
    """One manifest in place of those of all instances, and the ledger."""
    merged = f"{base}batch.json"
    for uri in (ledger, merged):
        put_json(cloud, uri, {"videos": list(rows.values())})
    for uri in manifests(cloud, base):
        if uri != merged:
            remove_object(cloud, uri)


def without_result(name: str, reason: str) -> Row:
    """The row of a video that nobody has tracked."""
    return {
        "name": stem(name),
        "path": f"{INPUT}/{name}",
        "state": "failed",
        "reason": reason,
        "chunks": 0,
        "chunks_missing": 0,
        "stamp": "",
        "files": {},
        **dict.fromkeys(COUNTS, 0),
    }


def fetch(cloud: Cloud, base: str, rows: Sequence[Row], output: Path, progress: Progress) -> int:
    """Bring the results here; gives how many files.

    Args:
        cloud: Where they are.
        base: Their prefix, with the slash.
        rows: What became of each video.
        output: The folder, which may hold something already.
        progress: Told of bytes.

    Raises:
        CloudError: One is gone, or its name would lead out of the folder.
        OutputError: The folder cannot be written to.
    """
    output_folder(output)
    there = {item.uri.removeprefix(base): item.size for item in cloud.objects(base)}
    wanted = {str(name) for row in rows if is_done(row) for name in row["files"].values()}
    meter = Meter(progress, "downloading", sum(there.get(name, 0) for name in wanted))
    for name in sorted(wanted):
        place = output / safe_key(name, base + name)
        if name not in there:
            raise CloudError(f"{base}{name}: expected a result, found none", code="NoSuchKey")
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        cloud.download(base + name, place, tell=meter)
    manifest = output / "batch.json"
    with writing(manifest), WholeFile(manifest) as file:
        text = json.dumps({"videos": list(rows)}, indent=1, ensure_ascii=False)
        file.temporary.write_text(text + "\n", encoding="utf-8")
    return len(wanted)


def put_json(cloud: Cloud, uri: str, document: object) -> None:
    """Write a document to S3."""
    with tempfile.TemporaryDirectory(prefix="motrail-") as folder:
        path = Path(folder) / "document.json"
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        cloud.upload(path, uri)


def get_json(cloud: Cloud, uri: str, most: int = MOST) -> object:
    """A document from S3; None where there is none that can be understood.

    Raises:
        CloudError: It has more than `most` bytes, or was refused.
    """
    try:
        body = read_object(cloud, uri, most, "a document of a batch").body
    except CloudError as error:
        if is_missing(error):
            return None
        raise
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(body)
    return None
