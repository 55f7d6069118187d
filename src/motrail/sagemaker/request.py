"""What is asked of AWS, as plain data, and the two things a cloud does with it: ask and carry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from motrail.errors import ConfigError, MotrailError
from motrail.sagemaker.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Tell = Callable[[int], None]

_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>.*))?", re.DOTALL)


class Request(NamedTuple):
    """One call of an AWS service, not sent yet.

    Attributes:
        service: boto3's name of the client, such as `sagemaker`, `sagemaker-runtime` or `s3`.
        operation: Name in the service model, such as `CreateTrainingJob`.
        parameters: As boto3 takes them.
    """

    service: str
    operation: str
    parameters: dict[str, Any]


class CloudError(MotrailError):
    """What AWS, or the rehearsal, answered instead of doing what it was asked.

    Args:
        message: What happened and what to do; redacted here.
        code: AWS's own name of the error, such as `ValidationException`, `ResourceNotFound` or
            `NoSuchKey`.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(redact(message))
        self.code = code


class ObjectInfo(NamedTuple):
    """An object in a bucket.

    Attributes:
        uri: `s3://bucket/key`.
        size: Bytes.
        etag: Changes when the content does; without quotation marks.
    """

    uri: str
    size: int
    etag: str


class Cloud(Protocol):
    """AWS itself or the rehearsal of it.

    Attributes:
        region: Such as `eu-west-1`.
        rehearsal: True where nothing costs anything.
    """

    region: str
    rehearsal: bool

    def call(self, request: Request) -> dict[str, Any]:
        """Check a request, send it and give the answer as boto3 does.

        `ResponseMetadata` is left out; streaming bodies (`Body`) are bytes.

        Raises:
            ConfigError: The request breaks a rule; nothing was sent.
            CloudError: What was answered instead.
        """
        ...

    def pages(self, request: Request, key: str) -> Iterator[Any]:
        """The items of the list `key` in the answer, and in those of all further pages.

        Raises:
            ConfigError: The request breaks a rule; nothing was sent.
            CloudError: What was answered instead.
        """
        ...

    def upload(self, path: Path, uri: str, *, tell: Tell | None = None) -> None:
        """Copy a file to `s3://bucket/key`; `tell` hears how many more bytes went over.

        Raises:
            ConfigError: The URI is none, or there is no such file.
            CloudError: It was refused.
        """
        ...

    def download(self, uri: str, path: Path, *, tell: Tell | None = None) -> None:
        """Copy an object to a file, which appears whole or not at all.

        Raises:
            ConfigError: The URI is none.
            CloudError: There is no such object (`code` is `NoSuchKey`), or it was refused.
            OutputError: The file cannot be written.
        """
        ...

    def objects(self, uri: str) -> Iterator[ObjectInfo]:
        """Everything whose key begins as `s3://bucket/prefix` says, in the order of keys.

        Raises:
            ConfigError: The URI is none.
            CloudError: It was refused.
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Wait between two looks; the rehearsal does not wait as long."""
        ...


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; the key may be empty.

    Raises:
        ConfigError: It is not such a URI.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise ConfigError(f"expected s3://bucket/key, found {redact(uri)!r}")
    return match["bucket"], match["key"] or ""
