"""What a job's host finds in its folders: objects laid out as SageMaker lays them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.errors import OutputError
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.transfer import safe_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motrail.sagemaker.rehearsal.storage import Storage


class Item(NamedTuple):
    """An object and where it belongs below the input's folder."""

    uri: str
    place: str


def items(storage: Storage, uri: str, kind: str) -> list[Item]:
    """The objects that an input consists of.

    Args:
        storage: Where they are.
        uri: The prefix, or the manifest.
        kind: `S3Prefix` or `ManifestFile`.

    Raises:
        CloudError: There are none, or the manifest is not one.
    """
    found = list(_of_manifest(storage, uri) if kind == "ManifestFile" else _of_prefix(storage, uri))
    if not found:
        bucket, _ = split_uri(uri)
        raise CloudError(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure '
            "that the bucket exists in the selected region, that objects exist under that S3 "
            f'prefix, and that the role has "s3:ListBucket" permissions on bucket "{bucket}".',
            code="ValidationException",
        )
    return found


def _of_prefix(storage: Storage, uri: str) -> Iterator[Item]:
    """A prefix is one of letters, not of folders: `data/a` takes `data/ab/x` in, too."""
    bucket, prefix = split_uri(uri)
    try:
        found = list(storage.under(uri))
    except CloudError:
        return
    for stored in found:
        if stored.key.endswith("/"):
            continue
        rest = stored.key.removeprefix(prefix).lstrip("/")
        yield Item(f"s3://{bucket}/{stored.key}", rest or stored.key.rpartition("/")[2])


def _of_manifest(storage: Storage, uri: str) -> Iterator[Item]:
    """`[{"prefix": "s3://bucket/folder/"}, "a.jpg", ...]`."""
    try:
        lines = json.loads(storage.read(uri))
        prefix = lines[0]["prefix"]
        names = [str(name) for name in lines[1:]]
    except (ValueError, LookupError, TypeError):
        raise CloudError(
            f"{uri}: expected a manifest, a JSON list of a prefix and names",
            code="ValidationException",
        ) from None
    for name in names:
        yield Item(prefix + name, name)


def dealt(found: Sequence[Item], host: int, hosts: int, distribution: str) -> list[Item]:
    """What one host gets: everything, or its share of whole objects.

    Args:
        found: All objects.
        host: Counted from 0.
        hosts: How many there are.
        distribution: `FullyReplicated` or `ShardedByS3Key`.
    """
    return list(found[host::hosts] if distribution == "ShardedByS3Key" else found)


def lay_out(storage: Storage, found: Sequence[Item], folder: Path) -> None:
    """Copy objects to a folder, which is there afterwards even if there are none.

    Raises:
        CloudError: One is missing, or its key would lead out of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for item in found:
        path = folder / safe_key(item.place, item.uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(storage.get(item.uri).path, path)


def files(folder: Path) -> list[Path]:
    """All files below a folder in the order of their names; links are left out, as by SageMaker.

    What goes away while it is looked at, as a container's temporary folders do, is left out too.
    """
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def write_json(path: Path, document: Any) -> None:
    """Write one of the files that SageMaker puts into `input/config` or `config`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


class Sync:
    """Keeps a folder's files in S3 as they change, deletions too.

    Args:
        storage: Where to.
        folder: Where from.
        uri: `s3://bucket/prefix`.
    """

    def __init__(self, storage: Storage, folder: Path, uri: str) -> None:
        self._storage = storage
        self._folder = folder
        self._uri = uri.rstrip("/")
        self._seen: dict[str, tuple[int, int]] = {}

    def restore(self) -> None:
        """Bring what S3 has into the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        found = [
            Item(f"s3://{split_uri(self._uri)[0]}/{stored.key}", stored.key)
            for stored in self._storage.under(f"{self._uri}/")
            if not stored.key.endswith("/")
        ]
        below = len(split_uri(self._uri)[1]) + 1
        lay_out(self._storage, [Item(each.uri, each.place[below:]) for each in found], self._folder)
        self._seen = self._look()

    def push(self, *, deletions: bool = True) -> None:
        """Bring what has changed to S3."""
        current = self._look()
        for name, state in current.items():
            if self._seen.get(name) != state:
                try:
                    self._storage.put(f"{self._uri}/{name}", self._folder / name)
                except OutputError:
                    if (self._folder / name).exists():
                        raise
                    continue  # it is gone again; the next look sees that
        if deletions:
            for name in self._seen.keys() - current.keys():
                self._storage.remove(f"{self._uri}/{name}")
        self._seen = current

    def _look(self) -> dict[str, tuple[int, int]]:
        seen = {}
        for path in files(self._folder):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            seen[path.relative_to(self._folder).as_posix()] = (state.st_size, state.st_mtime_ns)
        return seen
