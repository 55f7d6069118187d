"""What S3 answers."""

from __future__ import annotations

import mimetypes
import re
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import refuse

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage, Stored

_KEPT = ("ContentType", "Metadata", "ContentEncoding", "CacheControl", "ContentDisposition")
_MOST_KEYS = 1000
# A bucket's settings: operation, member of the request or answer, what S3 says without them.
_SETTINGS = {
    "BucketCors": ("CORSConfiguration", "NoSuchCORSConfiguration"),
    "BucketEncryption": (
        "ServerSideEncryptionConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    ),
    "PublicAccessBlock": (
        "PublicAccessBlockConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
    ),
    "BucketTagging": ("Tagging", "NoSuchTagSet"),
    "BucketLifecycleConfiguration": (
        "LifecycleConfiguration",
        "NoSuchLifecycleConfiguration",
    ),
    "BucketVersioning": ("VersioningConfiguration", ""),
    "BucketPolicy": ("Policy", "NoSuchBucketPolicy"),
}
_BARE = ("BucketCors", "BucketTagging", "BucketLifecycleConfiguration", "BucketVersioning")


class S3:
    """The requests to S3 that there are answers to."""

    def __init__(self, site: Site, storage: Storage) -> None:
        self._site = site
        self._storage = storage

    def operations(self) -> Operations:
        """By their names."""
        named = {
            "CreateBucket": self._create_bucket,
            "HeadBucket": self._head_bucket,
            "DeleteBucket": self._delete_bucket,
            "ListBuckets": self._list_buckets,
            "GetBucketLocation": self._location,
            "PutObject": self._put,
            "GetObject": self._get,
            "HeadObject": self._head,
            "CopyObject": self._copy,
            "DeleteObject": self._delete,
            "DeleteObjects": self._delete_several,
            "ListObjectsV2": self._list,
            "ListObjectVersions": self._versions,
            "ListMultipartUploads": self._uploads,
        }
        for name in _SETTINGS:
            named[f"Get{name}"] = self._getter(name)
            named[f"Put{name}"] = self._putter(name)
            named[f"Delete{name}"] = self._deleter(name)
        return named

    def _create_bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        self._storage.create(given["Bucket"], {"Name": given["Bucket"], "CreationDate": now()})
        return {"Location": f"/{given['Bucket']}"}

    def _head_bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["Bucket"] not in self._storage.buckets:
            refuse("404", "Not Found")
        return {"BucketRegion": self._site.region}

    def _delete_bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        self._storage.delete(given["Bucket"])
        return {}

    def _list_buckets(self, given: dict[str, Any]) -> dict[str, Any]:
        buckets = [
            {"Name": each["Name"], "CreationDate": each["CreationDate"]}
            for each in self._storage.buckets.values()
            if each["Name"].startswith(given.get("Prefix", ""))
        ]
        return {"Buckets": buckets}

    def _location(self, given: dict[str, Any]) -> dict[str, Any]:
        self._storage.bucket(given["Bucket"])
        return {"LocationConstraint": self._site.region}

    def _put(self, given: dict[str, Any]) -> dict[str, Any]:
        uri = _uri(given)
        body = given.get("Body", b"")
        if hasattr(body, "read"):
            body = body.read()
        with self._site.lock:
            self._see_conditions(given, self._storage.find(uri))
            self._storage.put(uri, body.encode() if isinstance(body, str) else bytes(body))
        about = {key: given[key] for key in _KEPT if key in given}
        if about:
            self._storage.about.put(uri, about)
        return {"ETag": self._tag(self._storage.get(uri))}

    def _see_conditions(self, given: dict[str, Any], stored: Stored | None) -> None:
        """Of conditional writes: what must not be there, and what must still be what it was."""
        if "IfMatch" in given and stored is None:
            refuse("NoSuchKey", "The specified key does not exist.")
        changed = stored is not None and given.get("IfMatch", self._tag(stored)) not in (
            self._tag(stored),
            self._tag(stored).strip('"'),
        )
        if changed or (given.get("IfNoneMatch") == "*" and stored is not None):
            refuse(
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            )

    def _get(self, given: dict[str, Any]) -> dict[str, Any]:
        stored = self._storage.get(_uri(given))
        first, last = _range(given.get("Range"), stored.size)
        with stored.path.open("rb") as file:
            file.seek(first)
            body = file.read(last - first)
        answer = self._about(given, stored) | {"Body": body, "ContentLength": len(body)}
        if "Range" in given:
            answer["ContentRange"] = f"bytes {first}-{last - 1}/{stored.size}"
        return answer

    def _head(self, given: dict[str, Any]) -> dict[str, Any]:
        stored = self._storage.find(_uri(given))
        if stored is None:
            refuse("404", "Not Found")
        return self._about(given, stored)

    def _about(self, given: dict[str, Any], stored: Stored) -> dict[str, Any]:
        kind = mimetypes.guess_type(stored.key)[0] if stored.size else None
        return {
            "ContentLength": stored.size,
            "LastModified": stored.changed,
            "ETag": self._tag(stored),
            "ContentType": kind or "binary/octet-stream",
            "Metadata": {},
            **(self._storage.about.get(_uri(given)) or {}),
        }

    def _tag(self, stored: Stored) -> str:
        return f'"{self._storage.etag(stored.path)}"'

    def _copy(self, given: dict[str, Any]) -> dict[str, Any]:
        source = given["CopySource"]
        if isinstance(source, dict):
            source = f"{source['Bucket']}/{source['Key']}"
        self._storage.put(_uri(given), self._storage.get(f"s3://{source.lstrip('/')}").path)
        stored = self._storage.get(_uri(given))
        return {"CopyObjectResult": {"ETag": self._tag(stored), "LastModified": stored.changed}}

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        self._storage.remove(_uri(given))
        return {}

    def _delete_several(self, given: dict[str, Any]) -> dict[str, Any]:
        deleted = []
        for each in given["Delete"]["Objects"]:
            self._storage.remove(f"s3://{given['Bucket']}/{each['Key']}")
            deleted.append({"Key": each["Key"]})
        return {} if given["Delete"].get("Quiet") else {"Deleted": deleted}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        bucket, prefix = given["Bucket"], given.get("Prefix", "")
        delimiter, most = given.get("Delimiter"), given.get("MaxKeys", _MOST_KEYS)
        after = given.get("ContinuationToken") or given.get("StartAfter", "")
        contents: list[dict[str, Any]] = []
        folders: list[str] = []
        truncated = False
        for stored in self._storage.under(f"s3://{bucket}/{prefix}"):
            rest, found, _ = stored.key[len(prefix) :].partition(delimiter or "\0")
            folder = prefix + rest + found if delimiter and found else None
            place = folder or stored.key
            if place <= after or place in folders:
                continue
            if len(contents) + len(folders) == most:
                truncated = True
                break
            if folder is not None:
                folders.append(folder)
            else:
                contents.append(self._entry(stored))
        answer = {
            "Name": bucket,
            "Prefix": prefix,
            "MaxKeys": most,
            "KeyCount": len(contents) + len(folders),
            "IsTruncated": truncated,
        }
        if contents:
            answer["Contents"] = contents
        if folders:
            answer["CommonPrefixes"] = [{"Prefix": each} for each in folders]
        if truncated:
            names = [*folders, *(each["Key"] for each in contents)]
            answer["NextContinuationToken"] = max(names, default="")
        return answer

    def _entry(self, stored: Stored) -> dict[str, Any]:
        return {
            "Key": stored.key,
            "LastModified": stored.changed,
            "ETag": self._tag(stored),
            "Size": stored.size,
            "StorageClass": "STANDARD",
        }

    def _versions(self, given: dict[str, Any]) -> dict[str, Any]:
        """A bucket without versions has one of each, called null."""
        entries = [
            self._entry(stored) | {"VersionId": "null", "IsLatest": True}
            for stored in self._storage.under(f"s3://{given['Bucket']}/{given.get('Prefix', '')}")
        ]
        return {"Versions": entries, "IsTruncated": False, "Name": given["Bucket"]}

    def _uploads(self, given: dict[str, Any]) -> dict[str, Any]:
        self._storage.bucket(given["Bucket"])
        return {"Bucket": given["Bucket"], "IsTruncated": False}

    def _getter(self, name: str) -> Any:
        member, missing = _SETTINGS[name]

        def answer(given: dict[str, Any]) -> dict[str, Any]:
            self._storage.bucket(given["Bucket"])
            about = self._storage.buckets.get(given["Bucket"]) or {}
            if name not in about:
                if not missing:
                    return {}
                refuse(missing, f"The bucket has no {member}")
            value: dict[str, Any] = about[name]
            return value if name in _BARE else {member: value}

        return answer

    def _putter(self, name: str) -> Any:
        member, _ = _SETTINGS[name]

        def answer(given: dict[str, Any]) -> dict[str, Any]:
            self._storage.bucket(given["Bucket"])
            self._storage.buckets.update(given["Bucket"], **{name: given[member]})
            return {}

        return answer

    def _deleter(self, name: str) -> Any:
        def answer(given: dict[str, Any]) -> dict[str, Any]:
            self._storage.bucket(given["Bucket"])
            about = self._storage.buckets.get(given["Bucket"]) or {}
            about.pop(name, None)
            self._storage.buckets.put(given["Bucket"], about)
            return {}

        return answer


def _uri(given: dict[str, Any]) -> str:
    return f"s3://{given['Bucket']}/{given['Key']}"


def _range(text: str | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last of a Range header."""
    if text is None:
        return 0, size
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", text)
    if match is None or match[0] == "bytes=-":
        return 0, size
    if not match[1]:
        return max(0, size - int(match[2])), size
    first, last = int(match[1]), min(size, int(match[2] or size - 1) + 1)
    if first >= size or first >= last:
        refuse("InvalidRange", "The requested range is not satisfiable")
    return first, last
