"""`motrail remote track`: the same results as `motrail track`, with the network elsewhere.

Three ways: frames go into a session and tracks come back; frames go out and detections come back,
and all else happens here; or the whole video goes out as a job and its tracks come back.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from motrail.config import RefineSettings
from motrail.errors import ConfigError, VideoError
from motrail.pipeline import ahead
from motrail.remote.fit import Fit
from motrail.remote.messages import CSV, read_all_tracks
from motrail.remote.problems import RemoteError
from motrail.tracking import Followed, Found, track_found, write_followed
from motrail.types import Detections, Frame, Tracks

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from motrail.config import Settings
    from motrail.remote.client import Client
    from motrail.remote.job import Job, JobState
    from motrail.remote.model import ModelInfo
    from motrail.tracking import Summary
    from motrail.types import SequenceTracks
    from motrail.video.source import Source

Where = Literal["server", "client"]

_NO_PICTURE = np.empty((0, 0, 3), np.uint8)
_FOR_JOBS = {
    "tracker": None,
    "refine": None,
    "video": frozenset({"start", "end", "stride"}),
}
"""Sections that a job is told of, and which settings of them; None for all."""


@dataclass(frozen=True)
class Order:
    """What is to be done with a source.

    Attributes:
        settings: All settings.
        given: Those that somebody chose, by section and name; the server has its own for the rest.
        output: Folder for the results; None for `runs/NAME`.
        video: Whether to write the video.
        keep: Files that no result may take the place of, besides the source.
    """

    settings: Settings
    given: Mapping[str, Mapping[str, object]]
    output: Path | None = None
    video: bool = True
    keep: Iterable[str | os.PathLike[str]] = field(default=())

    def folder(self, source: Source) -> Path:
        """Where the results of a source go."""
        return self.output or Path("runs") / source.name


def track_by_frames(
    source: Source,
    client: Client,
    order: Order,
    *,
    where: Where = "server",
    in_flight: int = 4,
    fit: bool | None = False,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Send the frames one by one.

    Args:
        source: What `motrail.video.read.open_source` gave.
        client: Where to.
        order: What is to be done.
        where: Who tracks. Refinement and drawing happen here in any case.
        in_flight: How many frames are under way at a time.
        fit: Whether frames are scaled down to the network's input before they are sent; None does
            it where the server says the size.
        progress: Called after every frame.

    Raises:
        RemoteError: The server refused.
        MotrailError: As `motrail.tracking.track_source`; nothing is left half-written.
    """
    model = client.model()
    device = f"{model.device} of {client.url}"
    rest: dict[str, Any] = {"video": order.video, "keep": order.keep, "progress": progress}
    with _explained():
        scaled = _fit(model, needed=bool(fit)) if fit is not False else None
        if where == "client":
            results = client.detect_frames(source, in_flight=in_flight, fit=scaled)
            found = Found(source, results, model.classes, device)
            return track_found(found, order.settings, order.folder(source), **rest)
        _check_camera(order)
        if order.settings.refine.offline:
            raise ConfigError(
                "offline: in a session the server answers frame by frame, and never knows the "
                "whole video; use --job, or --track client"
            )
        with client.session(
            frame_rate=source.frame_rate or None,
            in_flight=in_flight,
            tracker=order.given.get("tracker"),
            fit=scaled,
        ) as session:
            tracked = Followed(source, _seen(session.stream(source)), model.classes, device)
            return write_followed(tracked, order.settings, order.folder(source), **rest)


def _seen(
    results: Generator[tuple[Frame, Tracks]],
) -> Generator[tuple[Frame, Detections, Tracks]]:
    """What was tracked counts as seen; what else was detected, the server alone knows."""
    with contextlib.closing(results):
        for frame, tracks in results:
            seen = Detections(tracks.boxes_xyxy, tracks.scores, tracks.class_ids)
            yield frame, seen, tracks


def _fit(model: ModelInfo, *, needed: bool) -> Fit | None:
    if model.width and model.height:
        return Fit(model.width, model.height)
    if needed:
        raise RemoteError("the server does not say the size of its network's input; send frames "
                          "without --fit")  # fmt: skip
    return None


@contextlib.contextmanager
def _explained() -> Generator[None]:
    """Say what to do where frames are too large for the server."""
    try:
        yield
    except RemoteError as error:
        if error.status == 413:
            raise error.about(
                "a frame does not fit a request",
                "; send less with --jpeg-quality 80 and without --png or --raw, the whole video "
                "with --job, or raise max_frame_mb or max_pixels there",
            ) from error
        raise


def submit(path: Path, client: Client, order: Order) -> Job:
    """Hand over a whole video as a job.

    Raises:
        RemoteError: The server refused.
    """
    return client.submit(path, settings=settings_of_videos(order))


def _check_camera(order: Order) -> None:
    """See that a server is not to read a file that is here."""
    if order.settings.tracker.camera_file is not None:
        raise ConfigError(
            "camera_file: is here, and the server tracks; expected --track client, which tracks "
            "here, or --camera-motion frames"
        )


def settings_of_videos(order: Order) -> dict[str, dict[str, object]]:
    """What somebody chose of what a server minds that is given a whole video.

    Raises:
        ConfigError: The camera's motion is in a file, which the server does not have.
    """
    _check_camera(order)
    return {
        section: {key: value for key, value in values.items() if chosen is None or key in chosen}
        for section, chosen in _FOR_JOBS.items()
        if (values := order.given.get(section))
    }


@dataclass(frozen=True)
class Whole:
    """What a server found in a whole video.

    Attributes:
        tracks: All of them, refined as was asked for.
        frames: How many it looked at.
        classes: Names of the classes.
        device: What it ran on, for people.
        truncated: Why the video ended early; None if it did not.
    """

    tracks: SequenceTracks
    frames: int
    classes: Sequence[str]
    device: str
    truncated: str | None = None


def collect(
    job: Job,
    state: JobState,
    source: Source,
    client: Client,
    order: Order,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Fetch what a job that is done has found, and write what `motrail track` would write.

    The video is drawn here, where it lies.

    Args:
        job: The job.
        state: What `Job.wait` gave.
        source: The video that was sent.
        client: Where the job is.
        order: What is to be done.
        progress: Called after every frame.

    Raises:
        RemoteError: The result is gone.
        VideoError: It is that of other frames than the source has.
        MotrailError: As `motrail.tracking.track_source`; nothing is left half-written.
    """
    model = client.model()
    whole = Whole(
        read_all_tracks(job.result(CSV)),
        state.frames,
        model.classes,
        f"{model.device} of {client.url}",
        state.truncated,
    )
    return write_whole(whole, source, order, progress)


def write_whole(
    whole: Whole,
    source: Source,
    order: Order,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Write what `motrail track` would write; the video is drawn here.

    Args:
        whole: What was found.
        source: The video that was sent.
        order: What is to be done.
        progress: Called after every frame.

    Raises:
        VideoError: It is that of other frames than the source has.
        MotrailError: As `motrail.tracking.track_source`; nothing is left half-written.
    """
    # What was refined there is not refined again.
    settings = dataclasses.replace(order.settings, refine=RefineSettings())
    frames = ahead(source) if order.video else _numbers(source, whole.frames)
    followed = Followed(
        source, _seen(_paired(frames, whole.tracks, source)), whole.classes, whole.device
    )
    summary = write_followed(
        followed,
        settings,
        order.folder(source),
        video=order.video,
        keep=order.keep,
        progress=progress,
    )
    summary.truncated = summary.truncated or whole.truncated
    return summary


def _numbers(source: Source, count: int) -> Generator[Frame]:
    """The frames that the server looked at, without pictures."""
    wanted = source.selection
    for index in range(count):
        yield Frame(wanted.start + index * wanted.stride, _NO_PICTURE, 0.0)


def _paired(
    frames: Generator[Frame], tracks: SequenceTracks, source: Source
) -> Generator[tuple[Frame, Tracks]]:
    rows = tracks.by_frame()
    known = next(rows, None)
    with contextlib.closing(frames):
        for frame in frames:
            if known is not None and known[0] == frame.number:
                yield frame, known[1]
                known = next(rows, None)
            else:
                yield frame, Tracks.empty()
    if known is not None:
        raise VideoError(
            f"{source.name}: the server tracked frame {known[0]}, which is not read here; was the "
            "file changed?"
        )
