"""What lies in S3, as a folder here."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from motrail.outputs import WholeFolder, writing
from motrail.sagemaker.redact import redact
from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from motrail.sagemaker.request import Cloud, Tell


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
