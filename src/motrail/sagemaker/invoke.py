"""Have an endpoint look at frames and videos."""

from __future__ import annotations

import json
import mimetypes
import re
import secrets
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError, MotrailError
from motrail.remote.client import Client
from motrail.remote.messages import ATTRIBUTES, attributes, by_section, read_all_tracks
from motrail.remote.problems import RemoteError
from motrail.remote.track import Whole, settings_of_videos
from motrail.sagemaker.deployment import PAYLOAD_MB
from motrail.sagemaker.endpoint import kind_of
from motrail.sagemaker.endpoint_transport import EndpointTransport
from motrail.sagemaker.receipt import Waiting, place_of, write
from motrail.sagemaker.redact import redact
from motrail.sagemaker.removal import describe, remove_object
from motrail.sagemaker.requests import endpoint as requests
from motrail.sagemaker.transfer import read_object

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.remote.messages import Encoding
    from motrail.remote.track import Order
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.request import Cloud

_JSON = "application/json"
_LOOK_SECONDS = 5.0
_MOST_ANSWER = 1 << 30
_MOST_FAILURE = 1 << 20
_WAITING_SECONDS = 6 * 3600
"""The longest that SageMaker keeps a request that waits for an instance."""


class InvokeError(MotrailError):
    """An asynchronous endpoint failed on its input, or answered with something unknown."""


class LateError(InvokeError):
    """There is no result yet, and may be one later."""


def living(cloud: Cloud, name: str) -> str:
    """The kind of an endpoint that answers: `realtime`, `serverless` or `async`.

    Raises:
        ConfigError: There is none, or it does not answer.
    """
    answer = describe(cloud, name)
    if answer is None:
        raise ConfigError(
            f"there is no endpoint {name!r} in {cloud.region}; see motrail sagemaker status"
        )
    if answer["EndpointStatus"] not in ("InService", "Updating", "RollingBack"):
        raise ConfigError(
            f"endpoint {name!r}: expected it to be InService, found {answer['EndpointStatus']}"
        )
    return kind_of(answer)


def open_client(
    cloud: Cloud,
    name: str,
    *,
    encoding: Encoding = "jpeg",
    jpeg_quality: int = 95,
    variant: str | None = None,
    patience: float = 60.0,
) -> Client:
    """A client of an endpoint, for `motrail.remote`.

    Args:
        cloud: Where it is.
        name: Of the endpoint.
        encoding: How pictures are sent.
        jpeg_quality: 1 to 100.
        variant: The variant that is to answer; None leaves it to their weights.
        patience: Seconds during which refused requests are tried again.

    Raises:
        ConfigError: There is no such endpoint, it does not answer, or it is asynchronous.
        MissingExtraError: OpenCV is not installed.
    """
    kind = living(cloud, name)
    if kind == "async":
        raise ConfigError(
            f"endpoint {name!r} is asynchronous and takes whole videos: motrail sagemaker invoke "
            f"{name} VIDEO"
        )
    transport = EndpointTransport(
        cloud, name, patience=patience, variant=variant, sessions=kind != "serverless"
    )
    return Client.over(transport, encoding=encoding, jpeg_quality=jpeg_quality)


def submit(
    cloud: Cloud, project: Project, name: str, video: Path, order: Order, seconds: int
) -> Waiting:
    """Upload a video and have an asynchronous endpoint work on it; a receipt of it stays in S3.

    Args:
        cloud: Where it is.
        project: Its bucket.
        name: Of the endpoint.
        video: The file.
        order: Its settings go along.
        seconds: The longest it may work on it.

    Raises:
        ConfigError: The video is too large.
        CloudError: It was refused.
    """
    size, limit = video.stat().st_size, PAYLOAD_MB["async"] * 1_000_000
    if size > limit:
        raise ConfigError(
            f"{video}: an asynchronous endpoint takes up to {limit:,} bytes, found {size:,}; "
            "motrail sagemaker batch takes any size"
        )
    settings = settings_of_videos(order)
    given = attributes(by_section(settings)).get(ATTRIBUTES)
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", video.name).lstrip(".") or "video"
    token = secrets.token_hex(8)
    place = project.uri("async", name, "input", token, safe)
    try:
        cloud.upload(video, place)
        answer = cloud.call(
            requests.invoke_async(
                name,
                _kind(video),
                place,
                accept=_JSON,
                attributes=given,
                seconds=seconds,
                inference_id=f"{project.name}-{token}",
            )
        )
        output, failure = answer["OutputLocation"], answer.get("FailureLocation", "")
        waiting = Waiting(token, place, output, failure, size, seconds, settings)
        write(cloud, project, name, waiting)
    except BaseException:
        remove_object(cloud, place)
        raise
    return waiting


def wait(cloud: Cloud, project: Project, name: str, waiting: Waiting) -> Whole:
    """Wait for the result; it stays in S3 until `forget`, as writing it here may fail.

    Raises:
        LateError: There is none in the time that SageMaker keeps a request.
        InvokeError: It failed, with the container's own words.
    """
    seconds = _WAITING_SECONDS + waiting.seconds
    for _ in range(round(seconds / _LOOK_SECONDS)):
        if _is_there(cloud, waiting.output):
            return _whole(read_object(cloud, waiting.output, _MOST_ANSWER, "an answer").body, name)
        if waiting.failure and _is_there(cloud, waiting.failure):
            said = read_object(cloud, waiting.failure, _MOST_FAILURE, "a reason").body
            forget(cloud, project, name, waiting)
            raise InvokeError(f"endpoint {name}: {_reason(said.decode('utf-8', 'replace'))}")
        cloud.sleep(_LOOK_SECONDS)
    raise LateError(f"endpoint {name}: no result after {seconds} s")


def _is_there(cloud: Cloud, uri: str) -> bool:
    return any(item.uri == uri for item in cloud.objects(uri))


def forget(cloud: Cloud, project: Project, name: str, waiting: Waiting) -> None:
    """Take the uploaded video, and what came of it, out of S3.

    Raises:
        CloudError: It was refused.
    """
    receipt = place_of(project, name, waiting.token)
    for uri in filter(None, (waiting.output, waiting.failure, waiting.input, receipt)):
        remove_object(cloud, uri)


def _reason(said: str) -> str:
    """Why it failed: the container's message, somewhere in what SageMaker wrote."""
    found = re.search(r'\{\\?"error\\?".*\}', said, re.DOTALL)
    for candidate in (found[0], found[0].replace('\\"', '"')) if found else ():
        try:
            error = json.loads(candidate)["error"]
            return redact(f"{error['message']} ({error['code']})")
        except (ValueError, KeyError, TypeError):
            continue
    return redact(" ".join(said.split())[:500]) or "failed without a reason"


def _whole(content: bytes, name: str) -> Whole:
    try:
        document: dict[str, Any] = json.loads(content)
        rows = document["rows"]
        text = "\n".join(",".join(map(repr, row)) for row in rows)
        tracks = read_all_tracks(text.encode())
        frames, truncated = int(document["frames"]), document["truncated"]
        classes = tuple(map(str, document["classes"]))
    except (ValueError, KeyError, TypeError, RemoteError) as error:
        raise InvokeError(f"endpoint {name}: expected tracks of a video: {error}") from error
    return Whole(tracks, frames, classes, f"endpoint {name}", truncated)


def whole_at_once(client: Client, name: str, video: Path, order: Order) -> Whole:
    """Have a whole video tracked in one request.

    Raises:
        RemoteError: It was refused, or does not fit a request.
        InvokeError: The answer is no list of tracks.
    """
    content = client.track(video, _JSON, settings=settings_of_videos(order))
    return _whole(content, name)


def _kind(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or ""
    return kind if kind.startswith("video/") else "application/octet-stream"
