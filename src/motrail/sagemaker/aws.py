"""AWS itself, through boto3."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import motrail
from motrail.errors import ConfigError, MissingExtraError
from motrail.outputs import WholeFile, writing
from motrail.sagemaker.errors import answered, not_answered
from motrail.sagemaker.redact import redact
from motrail.sagemaker.request import ObjectInfo, Request, split_uri
from motrail.sagemaker.rules import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.sagemaker.request import Tell

_CONNECT_SECONDS = 10
_READ_SECONDS = 70
"""A real-time endpoint may work for 60 seconds on one request."""
_ATTEMPTS = 8

_ELSEWHERE = {"pricing": "us-east-1"}
"""Services that few regions have, and where: the price list is the same in all of them."""


class Aws:
    """The real cloud. What is asked here may cost money.

    Several threads may use one.

    Args:
        region: Such as `eu-west-1`; None takes `AWS_DEFAULT_REGION`, then the profile's.
        profile: Of `~/.aws/config`; None takes `AWS_PROFILE` or the default.

    Raises:
        ConfigError: There is no such profile, or no region is known.
        MissingExtraError: boto3 is not installed.
    """

    rehearsal = False

    def __init__(self, region: str | None = None, profile: str | None = None) -> None:
        try:
            import boto3
            from botocore.exceptions import ProfileNotFound
        except ImportError as error:
            raise MissingExtraError("boto3", "sagemaker", error) from error
        try:
            self._session: Any = boto3.Session(region_name=region, profile_name=profile)
        except ProfileNotFound:
            raise ConfigError(
                f"profile {profile!r}: expected one of those in ~/.aws/config, found none of that "
                "name; run: aws configure list-profiles"
            ) from None
        found = self._session.region_name
        if not found:
            raise ConfigError(
                "expected a region of AWS, found none; set region in [sagemaker], or "
                "AWS_DEFAULT_REGION"
            )
        self.region = str(found)
        self._clients: dict[str, Any] = {}

    def call(self, request: Request) -> dict[str, Any]:
        """Check a request, send it and give the answer, without `ResponseMetadata`.

        Raises:
            ConfigError: The request breaks a rule; nothing was sent.
            CloudError: What was answered instead.
        """
        check(request)
        return self._send(request)

    def pages(self, request: Request, key: str) -> Iterator[Any]:
        """The items of the list `key` in the answer, and in those of all further pages.

        Raises:
            ConfigError: The request breaks a rule; nothing was sent.
            CloudError: What was answered instead.
        """
        check(request)
        client = self._client(request.service)
        method = _method(client, request)
        with _translated(request.service, request.operation):
            if not client.can_paginate(method):
                yield from self._send(request).get(key) or ()
                return
            for answer in client.get_paginator(method).paginate(**request.parameters):
                yield from answer.get(key) or ()

    def upload(self, path: Path, uri: str, *, tell: Tell | None = None) -> None:
        """Copy a file to `s3://bucket/key`, a large one in parts.

        Raises:
            ConfigError: The URI has no key, or there is no such file.
            CloudError: It was refused.
        """
        bucket, key = _object(uri)
        if not path.is_file():
            raise ConfigError(f"{path}: expected a file to upload, found none")
        client = self._client("s3")
        with _translated("s3", "PutObject"):
            try:
                client.upload_file(str(path), bucket, key, Callback=tell)
            except OSError as error:
                reason = error.strerror or str(error)
                raise ConfigError(f"{path}: cannot be read: {reason}") from error

    def download(self, uri: str, path: Path, *, tell: Tell | None = None) -> None:
        """Copy an object to a file, which appears whole or not at all.

        Raises:
            ConfigError: The URI has no key.
            CloudError: There is no such object (`code` is `NoSuchKey`), or it was refused.
            OutputError: The file cannot be written.
        """
        bucket, key = _object(uri)
        with WholeFile(path) as whole, _translated("s3", "GetObject"), writing(path):
            self._client("s3").download_file(bucket, key, str(whole.temporary), Callback=tell)

    def objects(self, uri: str) -> Iterator[ObjectInfo]:
        """Everything whose key begins as `s3://bucket/prefix` says, in the order of keys.

        Raises:
            ConfigError: The URI is none.
            CloudError: It was refused.
        """
        bucket, prefix = split_uri(uri)
        request = Request("s3", "ListObjectsV2", {"Bucket": bucket, "Prefix": prefix})
        for item in self.pages(request, "Contents"):
            place = f"s3://{bucket}/{item['Key']}"
            yield ObjectInfo(place, int(item["Size"]), str(item.get("ETag", "")).strip('"'))

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def _client(self, service: str) -> Any:
        # Of two threads that both make one, the first one's is kept.
        if service not in self._clients:
            with _translated(service, "client"):
                region = _ELSEWHERE.get(service, self.region)
                made = self._session.client(service, region_name=region, config=_config(service))
            self._clients.setdefault(service, made)
        return self._clients[service]

    def _send(self, request: Request) -> dict[str, Any]:
        client = self._client(request.service)
        with _translated(request.service, request.operation):
            answer = getattr(client, _method(client, request))(**request.parameters)
            answer.pop("ResponseMetadata", None)
            return {key: _whole(value) for key, value in answer.items()}


def _config(service: str) -> Any:
    from botocore.config import Config

    # A body that was worked on must not be worked on again because the answer was slow: a session's
    # frame would count twice. Everything else is asked again when AWS is busy.
    attempts = 1 if service == "sagemaker-runtime" else _ATTEMPTS
    return Config(
        retries={
            "mode": "standard" if attempts == 1 else "adaptive",
            "total_max_attempts": attempts,
        },
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=32,
        user_agent_extra=f"motrail/{motrail.__version__}",
    )


def _method(client: Any, request: Request) -> str:
    names = client.meta.method_to_api_mapping
    for name, operation in names.items():
        if operation == request.operation:
            return str(name)
    raise ConfigError(f"{request.service}: boto3 has no operation {request.operation}")


def _whole(value: Any) -> Any:
    """A streaming body as bytes."""
    if type(value).__name__ == "EventStream":
        with contextlib.closing(value):
            return b"".join(event["PayloadPart"]["Bytes"] for event in value)
    if hasattr(value, "iter_chunks") and hasattr(value, "read"):
        with contextlib.closing(value):
            return value.read()
    return value


def _object(uri: str) -> tuple[str, str]:
    bucket, key = split_uri(uri)
    if not key or key.endswith("/"):
        raise ConfigError(f"expected s3://bucket/key, found {redact(uri)!r}, which has no key")
    return bucket, key


@contextlib.contextmanager
def _translated(service: str, operation: str) -> Iterator[None]:
    """Turn boto3's and botocore's errors inside the block into a `CloudError`."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except ClientError as error:
        raise answered(service, error.operation_name or operation, error.response) from None
    except (BotoCoreError, HTTPClientError) as error:
        raise not_answered(service, operation, error) from None
    except Boto3Error as error:
        # boto3's transfers wrap what was answered in an error of their own.
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ClientError):
            raise answered(service, cause.operation_name or operation, cause.response) from None
        raise not_answered(service, operation, error) from None
