"""Videos through S3: sent to an asynchronous endpoint, waited for, and fetched later."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motrail.cli.sagemaker.jobs import say
from motrail.errors import ConfigError, VideoError
from motrail.names import is_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motrail.config import Resolved
    from motrail.remote.track import Order
    from motrail.sagemaker.project import Project
    from motrail.sagemaker.receipt import Waiting
    from motrail.sagemaker.request import Cloud
    from motrail.tracking import Summary
    from motrail.video.source import Source


def opened(source: str, order: Order) -> Source:
    """The footage, with the frames that are wanted of it.

    Raises:
        VideoError: There is none.
    """
    from motrail.video.read import open_source

    chosen = order.settings.video
    return open_source(source, start=chosen.start, end=chosen.end, stride=chosen.stride)


@dataclasses.dataclass(frozen=True)
class Again:
    """What the command was given that fetches a result later.

    Attributes:
        name: Of the endpoint.
        source: The video.
        output: Folder for the results.
        rehearse: Folder of a rehearsal.
        config: A file of settings.
        flags: Objects of flags; what a request is sent with is not among them.
        video: Whether to draw the video.
    """

    name: str
    source: str
    output: Path | None
    rehearse: Path | None
    config: Path | None
    flags: Sequence[Any]
    video: bool

    def command(self, token: str) -> str:
        """For a shell."""
        words = ["motrail", "sagemaker", "invoke", self.name, self.source, "--fetch", token]
        for flag in ("output", "rehearse", "config"):
            if getattr(self, flag) is not None:
                words += [f"--{flag}", str(getattr(self, flag))]
        words += ["--video"] if self.video else []
        for flags in self.flags:
            given = {} if flags is None else vars(flags)
            for key, value in given.items():
                if key in _FOR_FETCHING and value is not None:
                    words += [f"--{key.replace('_', '-')}", str(value)]
        return shlex.join(words)


_FOR_FETCHING = frozenset({"stack", "region", "profile", "crf", "encoder_preset", "trail_seconds"})
"""Settings that are not fixed by what was sent."""


def through_s3(cloud: Cloud, again: Again, order: Order, seconds: int) -> Summary:
    """Send a video to an asynchronous endpoint, wait, and write what came of it.

    Raises:
        ConfigError: It is no video, or the time makes no sense.
        MotrailError: It failed; where it did not, it is said how to fetch the result later.
    """
    from motrail.sagemaker.invoke import submit
    from motrail.sagemaker.project import find_project

    path, name = Path(again.source), again.name
    _see_that_it_is_a_video(again)
    if not 1 <= seconds <= 3600:
        raise ConfigError(f"--timeout: expected 1 to 3600 seconds, found {seconds}")
    opened(again.source, order)
    project = find_project(cloud, order.settings.sagemaker)
    waiting = submit(cloud, project, name, path, order, seconds)
    say(f"{path.name} is with the endpoint {name}")
    return _brought(cloud, project, again, order, waiting)


def fetched(cloud: Cloud, again: Again, resolved: Resolved, order: Order, token: str) -> Summary:
    """Wait for what was sent before, and write what came of it; else as `through_s3`.

    Raises:
        ConfigError: Nothing is known of it, or settings were given that it was not sent with.
        VideoError: It was another video.
    """
    from motrail.config import Layer, resolve
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.receipt import read

    fixed = [
        f"--{key.replace('_', '-')}"
        for (section, key), origin in resolved.origins.items()
        if origin == "flag" and section in _SENT and key not in _FOR_FETCHING
    ]
    if fixed:
        raise ConfigError(
            f"--fetch: settings are those that it was sent with; leave out {fixed[0]}"
        )
    _see_that_it_is_a_video(again)
    project = find_project(cloud, order.settings.sagemaker)
    waiting = read(cloud, project, again.name, token)
    size = Path(again.source).stat().st_size
    if size != waiting.size:
        raise VideoError(
            f"{again.source}: expected the video that was sent, of {waiting.size:,} bytes, found "
            f"{size:,}"
        )
    # As it was sent: the numbers of its frames depend on it.
    given = {key: value for key, value in order.given.items() if key not in _SENT}
    drawn = {
        key: value for key, value in order.given.get("video", {}).items() if key in _FOR_FETCHING
    }
    layers = [Layer("receipt", waiting.settings), Layer("flag", given | {"video": drawn})]
    order = dataclasses.replace(order, settings=resolve(layers).settings)
    return _brought(cloud, project, again, order, waiting)


_SENT = frozenset({"tracker", "refine", "video"})


def _see_that_it_is_a_video(again: Again) -> None:
    path = Path(again.source)
    if not path.is_file() or is_image(path):
        found = "an image" if path.is_file() else "none"
        raise ConfigError(
            f"{path}: expected a video file for the asynchronous endpoint {again.name}, "
            f"found {found}"
        )


def _brought(
    cloud: Cloud, project: Project, again: Again, order: Order, waiting: Waiting
) -> Summary:
    """Wait for a result and write it; only then it is taken out of S3."""
    from motrail.remote.track import write_whole
    from motrail.sagemaker.invoke import forget, wait

    with _said_how_to_fetch(again.command(waiting.token)):
        whole = wait(cloud, project, again.name, waiting)
        summary = write_whole(whole, opened(again.source, order), order)
    forget(cloud, project, again.name, waiting)
    return summary


@contextlib.contextmanager
def _said_how_to_fetch(command: str) -> Iterator[None]:
    """Say it where the result is not brought: after Ctrl-C, without a network, on a full disk."""
    from motrail.sagemaker.invoke import InvokeError, LateError
    from motrail.sagemaker.receipt import KEPT_DAYS
    from motrail.sagemaker.redact import without_secrets

    try:
        yield
    except BaseException as error:
        if not isinstance(error, InvokeError) or isinstance(error, LateError):
            say(f"it stays with the endpoint; what comes of it is kept for {KEPT_DAYS} days, and "
                "fetched by")  # fmt: skip
            say(f"  {without_secrets(command)}")
        raise
