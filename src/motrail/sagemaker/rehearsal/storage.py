"""S3 as folders: `s3/<bucket>/<key>`."""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from motrail.outputs import WholeFile, writing
from motrail.sagemaker.rehearsal.site import refuse
from motrail.sagemaker.request import ObjectInfo, split_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from motrail.sagemaker.rehearsal.site import Site

_LONGEST_KEY = 1024
_PART = 8 << 20  # of boto3's transfers; from two parts on the ETag is one of parts
_BLOCK = 1 << 20
_FILE = "%"  # ends the name of an object that is also the beginning of other keys


class Stored(NamedTuple):
    """An object.

    Attributes:
        key: Its name in the bucket.
        path: The file that holds it.
        size: Bytes.
        changed: When.
    """

    key: str
    path: Path
    size: int
    changed: datetime


class Storage:
    """The buckets of a rehearsal."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._root = site.folder / "s3"
        self._etags: dict[tuple[str, int, int], str] = {}
        self.buckets = site.shelf("buckets")
        self.about = site.shelf("objects")

    def bucket(self, name: str) -> Path:
        """The folder of a bucket.

        Raises:
            CloudError: There is no such bucket.
        """
        if name not in self.buckets:
            refuse("NoSuchBucket", f"The specified bucket does not exist: {name}")
        return self._root / name

    def find(self, uri: str) -> Stored | None:
        """The object at `s3://bucket/key`, if there is one.

        Raises:
            CloudError: There is no such bucket.
        """
        bucket, key = split_uri(uri)
        root = self.bucket(bucket)
        if not key or len(key.encode()) > _LONGEST_KEY:
            return None
        parts = _parts(key)
        for names in (parts, [*parts[:-1], parts[-1] + _FILE]):
            path = root.joinpath(*names)
            if path.is_file():
                return _stored(key, path)
        return None

    def get(self, uri: str) -> Stored:
        """The object at `s3://bucket/key`.

        Raises:
            CloudError: There is none.
        """
        found = self.find(uri)
        if found is None:
            refuse("NoSuchKey", f"The specified key does not exist: {uri}")
        return found

    def read(self, uri: str) -> bytes:
        """What the object at `s3://bucket/key` holds.

        Raises:
            CloudError: There is none.
        """
        return self.get(uri).path.read_bytes()

    def under(self, uri: str) -> Iterator[Stored]:
        """All objects whose key begins as `s3://bucket/prefix` says, in the order of keys.

        Raises:
            CloudError: There is no such bucket.
        """
        bucket, prefix = split_uri(uri)
        root = self.bucket(bucket)
        start = root.joinpath(*_parts(prefix.rpartition("/")[0])) if "/" in prefix else root
        found = []
        for folder, _, names in os.walk(start):
            for name in names:
                path = Path(folder, name)
                key = _key(path.relative_to(root).parts)
                # What is still being written has a name without meaning.
                if key.startswith(prefix) and not _unfinished(name):
                    found.append((key, path))
        for key, path in sorted(found, key=lambda each: each[0].encode()):
            try:
                yield _stored(key, path)
            except FileNotFoundError:
                continue  # deleted since

    def put(
        self, uri: str, source: Path | bytes, *, tell: Callable[[int], None] | None = None
    ) -> None:
        """Keep an object, in place of the one before if there was one.

        Raises:
            CloudError: There is no such bucket, or the key cannot be one.
        """
        bucket, key = split_uri(uri)
        root = self.bucket(bucket)
        if not key:
            refuse("InvalidRequest", "The key of an object cannot be empty")
        if len(key.encode()) > _LONGEST_KEY:
            refuse("KeyTooLongError", "Your key is too long")
        with self._site.lock:
            path = self._room(root, _parts(key))
        self.about.remove(uri)
        with writing(path), WholeFile(path) as whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                whole.temporary.write_bytes(source)
                count = len(source)
            else:
                shutil.copyfile(source, whole.temporary)
                count = whole.temporary.stat().st_size
        if tell is not None:
            tell(count)

    def remove(self, uri: str) -> None:
        """Take an object away; nothing happens where there is none, as in S3.

        Raises:
            CloudError: There is no such bucket.
        """
        found = self.find(uri)
        if found is None:
            return
        found.path.unlink(missing_ok=True)
        self.about.remove(uri)
        root = self.bucket(split_uri(uri)[0])
        with self._site.lock:
            for folder in found.path.parents:
                if folder == root or any(folder.iterdir()):
                    break
                folder.rmdir()

    def create(self, name: str, about: dict[str, Any]) -> None:
        """Make a bucket.

        Raises:
            CloudError: There is one of that name.
        """
        if name in self.buckets:
            refuse(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own "
                "it.",
            )
        (self._root / name).mkdir(parents=True, exist_ok=True)
        self.buckets.put(name, about)

    def delete(self, name: str) -> None:
        """Remove an empty bucket.

        Raises:
            CloudError: There is no such bucket, or something is in it.
        """
        root = self.bucket(name)
        if next(self.under(f"s3://{name}"), None) is not None:
            refuse("BucketNotEmpty", "The bucket you tried to delete is not empty")
        shutil.rmtree(root)
        self.buckets.remove(name)

    def info(self, bucket: str, stored: Stored) -> ObjectInfo:
        """What a list says of an object."""
        return ObjectInfo(f"s3://{bucket}/{stored.key}", stored.size, self.etag(stored.path))

    def etag(self, path: Path) -> str:
        """MD5 of an object, or of the MD5s of its parts, as boto3 would have sent it."""
        state = path.stat()
        name = (str(path), state.st_size, state.st_mtime_ns)
        if name not in self._etags:
            self._etags[name] = _etag(path)
        return self._etags[name]

    def _room(self, root: Path, parts: list[str]) -> Path:
        """Where a key's file belongs; an object in the way of a folder steps aside."""
        for end in range(1, len(parts)):
            folder = root.joinpath(*parts[:end])
            if folder.is_file():
                folder.rename(folder.with_name(folder.name + _FILE))
        path = root.joinpath(*parts)
        return path.with_name(path.name + _FILE) if path.is_dir() else path


def _stored(key: str, path: Path) -> Stored:
    state = path.stat()
    changed = datetime.fromtimestamp(int(state.st_mtime), UTC)
    return Stored(key, path, state.st_size, changed)


def _etag(path: Path) -> str:
    sums: list[hashlib._Hash] = []
    with path.open("rb") as file:
        while True:
            part = hashlib.md5(usedforsecurity=False)
            left = _PART
            while left and (block := file.read(min(_BLOCK, left))):
                part.update(block)
                left -= len(block)
            if left == _PART and sums:
                break
            sums.append(part)
            if left:
                break
    if len(sums) == 1:
        return sums[0].hexdigest()
    whole = hashlib.md5(b"".join(each.digest() for each in sums), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(sums)}"


def _parts(key: str) -> list[str]:
    """A key as names of folders and a file: what cannot be one is written in per cent."""
    return [_name(part) for part in key.split("/")]


def _name(part: str) -> str:
    text = part.replace("%", "%25").replace("\\", "%5C").replace("\0", "%00")
    if not text:
        return "%2F"
    return text.replace(".", "%2E", 1) if text in {".", ".."} or _unfinished(text) else text


def _key(parts: tuple[str, ...]) -> str:
    texts = []
    for part in parts:
        text = part.removesuffix(_FILE)
        for code, character in (("%2F", ""), ("%2E", "."), ("%5C", "\\"), ("%00", "\0")):
            text = text.replace(code, character)
        texts.append(text.replace("%25", "%"))
    return "/".join(texts)


def _unfinished(name: str) -> bool:
    """Whether a file has the name of one that is being written (`outputs.WholeFile`)."""
    return len(name) == 17 and name[0] == "." and all(c in "0123456789abcdef" for c in name[1:])
