"""What is known of a video that an asynchronous endpoint works on, kept in S3 beside it.

So a result that was paid for can be fetched later, by another command and from another machine.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from motrail.config import SECTIONS
from motrail.errors import ConfigError, FormatError
from motrail.sagemaker.request import CloudError, split_uri
from motrail.sagemaker.requests import endpoint as requests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud

KEPT_DAYS = 30
"""The stack's bucket deletes what lies below `async/` after so many days."""
_TOKEN = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Waiting:
    """A request that an asynchronous endpoint works on.

    Attributes:
        token: By which it is called.
        input: Where the video lies.
        output: Where the result will be.
        failure: Where the reason will be if it fails; empty where nobody says.
        size: Of the video, in bytes.
        seconds: The longest it may be worked on.
        settings: That went along, by section and name.
    """

    token: str
    input: str
    output: str
    failure: str
    size: int
    seconds: int
    settings: Mapping[str, Mapping[str, Any]]


def place_of(project: Project, name: str, token: str) -> str:
    """Where the receipt of a request lies."""
    return project.uri("async", name, "input", f"{token}.json")


def write(cloud: Cloud, project: Project, name: str, waiting: Waiting) -> None:
    """Keep what is known of a request.

    Raises:
        CloudError: It was refused.
    """
    bucket, key = split_uri(place_of(project, name, waiting.token))
    content = json.dumps(asdict(waiting)).encode()
    cloud.call(requests.put_if_unchanged(bucket, key, content, None))


def read(cloud: Cloud, project: Project, name: str, token: str) -> Waiting:
    """What is known of a request.

    Raises:
        ConfigError: There is none of this name, or its result was fetched.
        FormatError: The receipt is damaged.
        CloudError: It was refused.
    """
    if not _TOKEN.fullmatch(token):
        raise ConfigError(f"--fetch: expected 16 letters and digits as they were shown, found "
                          f"{token!r}")  # fmt: skip
    place = place_of(project, name, token)
    try:
        content = cloud.call(requests.get_object(*split_uri(place)))["Body"]
    except CloudError as error:
        if error.code not in ("NoSuchKey", "404"):
            raise
        raise ConfigError(
            f"--fetch {token}: endpoint {name!r} has no such request; its result was fetched, it "
            f"failed, or {KEPT_DAYS} days are over"
        ) from error
    return _checked(content, place, project.uri("async", name) + "/", token)


def _checked(content: bytes, place: str, prefix: str, token: str) -> Waiting:
    """A receipt, of which only what we write is believed: others may write into the bucket, too."""
    try:
        found = Waiting(**json.loads(content))
        uris = [found.input, found.output, *filter(None, [found.failure])]
        good = [
            found.token == token,
            *(uri.startswith(prefix) for uri in uris),
            *(type(number) is int and number >= 0 for number in (found.size, found.seconds)),
            *(section in SECTIONS for section in found.settings),
            *(hasattr(values, "items") for values in found.settings.values()),
        ]
    except (ValueError, TypeError, AttributeError, RecursionError):
        good = [False]
    if not all(good):
        raise FormatError(place, "expected the receipt of a request, found something else")
    return found
