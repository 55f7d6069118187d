"""What lies in S3, as a folder or in memory here; and how much of it came."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from motrail.outputs import WholeFolder, writing
from motrail.sagemaker.redact import redact
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.requests.endpoint import get_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.dataset.footage import Progress
    from motrail.sagemaker.request import Cloud, Tell


class Meter:
    """Counts the bytes that a transfer tells of, in whichever thread, and shows them.

    Args:
        progress: Told what is done, how many bytes of it, and of how many.
        what: What is done.
        total: Bytes in all.
    """

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._done = 0
        self._lock = threading.Lock()
        if total:  # whoever draws begins in the thread that waits
            progress(what, 0, total)

    def __call__(self, count: int) -> None:
        """Take so many more bytes into account; less than none where a part begins anew."""
        with self._lock, _undisturbed():
            self._done += count
            self._progress(self._what, self._done, self._total)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no Ctrl-C end a thread of boto3's, which others wait for; the main one hears of it."""
    try:
        yield
    except KeyboardInterrupt:
        if threading.current_thread() is threading.main_thread():
            raise


class Content(NamedTuple):
    """What an object holds.

    Attributes:
        body: All of it.
        etag: As S3 says it, with quotation marks.
    """

    body: bytes
    etag: str


def read_object(cloud: Cloud, uri: str, most: int, what: str) -> Content:
    """The content of an object that is to be small; of a larger one no more than that is read.

    Args:
        cloud: Where from.
        uri: `s3://bucket/key`.
        most: Bytes that it may have.
        what: What it is, for the message.

    Raises:
        CloudError: There is none (`code` is `NoSuchKey`), it is larger (`TooLarge`), or it was
            refused.
    """
    place = split_uri(uri)
    try:
        answer = cloud.call(get_object(*place, first=most + 1))
    except CloudError as error:
        if error.code != "InvalidRange":  # what is empty has no first byte
            raise
        answer = cloud.call(get_object(*place))
    body: bytes = answer["Body"]
    if len(body) > most:
        raise CloudError(
            f"{uri}: expected {what} of at most {most:,} bytes, found more; it is not what motrail "
            "wrote there: remove it, or choose another name",
            code="TooLarge",
        )
    return Content(body, str(answer.get("ETag", "")))


def download_folder(cloud: Cloud, uri: str, folder: Path, tell: Tell | None = None) -> int:
    """Copy everything below `uri` into the new folder `folder`, which appears whole or not at all.

    Args:
        cloud: Where from.
        uri: `s3://bucket/prefix`; a slash at its end makes no difference.
        folder: Where to; it must not hold anything yet.
        tell: Hears how many more bytes came.

    Returns:
        How many files. Keys that end with a slash, which the console makes for folders, are left
        out.

    Raises:
        CloudError: There is nothing (`code` is `NoSuchKey`), or it was refused, or a key would
            lead out of the folder or cannot be a file's name (`code` is `UnsafeKey`).
        OutputError: The folder holds something already, or cannot be written.
    """
    prefix = uri.rstrip("/") + "/"
    found = [item for item in cloud.objects(prefix) if not item.uri.endswith("/")]
    if not found:
        raise CloudError(f"{prefix}: expected objects to download, found none", code="NoSuchKey")
    places = [(item.uri, safe_key(item.uri.removeprefix(prefix), item.uri)) for item in found]
    with WholeFolder(folder) as whole:
        for item, place in places:
            target = whole.temporary / place
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            cloud.download(item, target, tell=tell)
    return len(places)


def safe_key(key: str, uri: str) -> PurePosixPath:
    """The part of a key below a prefix as a relative path that stays below it.

    Args:
        key: Such as `a/b.txt`.
        uri: Of the object, for the message.

    Raises:
        CloudError: It would lead elsewhere or cannot be a file's name (`code` is `UnsafeKey`).
    """
    parts = key.split("/")
    if any(part in {"", ".", ".."} or "\\" in part or not part.isprintable() for part in parts):
        raise CloudError(
            f"{redact(uri)!r}: this key cannot be a file below the folder to fill; expected names "
            "between slashes that are neither empty nor dots, without backslash or control "
            "characters",
            code="UnsafeKey",
        )
    return PurePosixPath(*parts)
