"""`motrail remote`: let a server do the work."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

import motrail
from motrail.cli.orders import order_of, with_model
from motrail.cli.output import AsJson, print_json, print_rows
from motrail.cli.progress import steps_progress
from motrail.cli.settings import flags_of, resolve_settings
from motrail.cli.track import PARTLY_DONE, _progress
from motrail.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.config import Settings
    from motrail.remote.client import Client
    from motrail.remote.messages import Encoding
    from motrail.remote.track import Order
    from motrail.tracking import Summary
    from motrail.video.source import Source

TrackerFlags: Any = flags_of("tracker")
RefineFlags: Any = flags_of("refine")
VideoFlags: Any = flags_of("video")

EXTRAS = ("remote", "video")

remote_app = App(name="remote", help="Let a server do the work: see motrail serve.")


@dataclasses.dataclass(frozen=True)
class Way:
    """How the video gets to the server.

    Attributes:
        track: Who tracks; None where the server does if it can.
        in_flight: Frames under way at a time.
        fit: Whether frames are scaled down before they are sent; None where the server says how.
        job: Whether it goes as a job; None to decide by its length.
        job_after: Minutes from which it does.
    """

    track: Literal["server", "client"] | None
    in_flight: int
    fit: bool | None
    job: bool | None
    job_after: float


@remote_app.command(name="track")
def track_command(
    source: str,
    *,
    url: str | None = None,
    endpoint: str | None = None,
    rehearse: Path | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    video: Annotated[bool, Parameter(negative="--no-video")] = True,
    track: Literal["server", "client"] | None = None,
    jpeg_quality: int = 95,
    png: Annotated[bool, Parameter(negative="")] = False,
    raw: Annotated[bool, Parameter(negative="")] = False,
    fit: Annotated[bool | None, Parameter(negative="--no-fit")] = None,
    in_flight: int = 4,
    job: Annotated[bool | None, Parameter(negative="--no-job")] = None,
    job_after: float = 10.0,
    token_file: Path | None = None,
    timeout: float = 60.0,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: AsJson = False,
    tracker: TrackerFlags = None,
    refine: RefineFlags = None,
    clip: VideoFlags = None,
) -> int:
    """Follow every object in a video, with the network of a server.

    The results are those of motrail track: `NAME.txt`, `labels.txt` and `NAME.mp4`. Frames go to
    the server as they are read, several at a time; a long video goes there whole, as a job, where
    the server takes jobs. No model is needed here.

    For example:

    - `motrail remote track match.mp4 --url http://gpu:8080 -o out`
    - `motrail remote track match.mp4 --url http://gpu:8080 --track client --max-gap 20`
    - `motrail remote track night.mp4 --url https://gpu.example --token-file token.txt --job`
    - `motrail remote track match.mp4 --endpoint parcels -o out`

    Parameters
    ----------
    source
        A video file, a folder of images, or a quoted pattern such as 'frames/*.jpg'.
    url
        Address of the server.
    endpoint
        Name of an endpoint at Amazon SageMaker, in place of --url; see motrail sagemaker deploy.
        Region and profile are settings of [sagemaker].
    rehearse
        Folder of a rehearsal that the endpoint is part of.
    output
        Folder for the results. [default: runs/NAME]
    video
        Whether to write the video; --no-video is faster.
    track
        Who gives the identities: server, in a session; client, here, from what the server detects.
        [default: server, and client for a serverless endpoint]
    jpeg_quality
        Of the frames sent, 1 to 100. JPEG loses a little: tracks differ from motrail track's.
    png
        Send frames without loss, packed: exact, and slow to pack.
    raw
        Send frames without loss as they are: exact, and large.
    fit
        Scale frames down to the network's input before they are sent, which the server would do
        anyway: of 1280×720 and a network of 416×416 it is a tenth. [default: for JPEG]
    in_flight
        Frames under way at a time.
    job
        Send the whole file as a job and wait for it; --no-job never does. Left out, it is decided
        by --job-after.
    job_after
        Minutes from which a video goes as a job, where the server takes it.
    token_file
        File with the token that the server wants.
    timeout
        Seconds without a sign of life after which a request is given up.
    config
        TOML file with sections [tracker], [refine], [video] and [sagemaker]; flags win over it.
    as_json
        Print the summary as one JSON document.
    """
    reach = _reach(url, endpoint, rehearse, token_file)
    resolved = resolve_settings({"tracker": tracker, "refine": refine, "video": clip}, config)
    exact = png or raw
    way = _checked(Way(track, in_flight, False if fit is None and exact else fit, job, job_after))
    sending = _sending(png=png, raw=raw, quality=jpeg_quality)
    reach = dataclasses.replace(
        reach,
        settings=resolved.settings.sagemaker,
        connection={**sending, "timeout": timeout},
    )
    keep = [path for path in (config, token_file) if path is not None]
    order = order_of(resolved, output, keep, video=video)
    try:
        summary, order, where = _track(source, reach, order, way)
    except MissingExtraError as error:
        if error.extra in EXTRAS:  # who lacks one of them should not be told of the other later
            raise MissingExtraError(error.package, ",".join(EXTRAS), error.cause) from error
        raise
    _report(summary, order.settings, where, as_json=as_json)
    if summary.truncated is not None:
        print(f"{source}: partly done: {summary.truncated}", file=sys.stderr)
        return PARTLY_DONE
    return 0


@dataclasses.dataclass(frozen=True)
class Reach:
    """Where the network is.

    Attributes:
        url: Of a server; or
        endpoint: the name of an endpoint at SageMaker.
        rehearse: The folder of a rehearsal.
        token_file: With the token of a server.
        settings: Of SageMaker.
        connection: How frames are sent.
    """

    url: str | None
    endpoint: str | None
    rehearse: Path | None
    token_file: Path | None
    settings: Any = None
    connection: dict[str, Any] = dataclasses.field(default_factory=dict)


def _reach(
    url: str | None, endpoint: str | None, rehearse: Path | None, token_file: Path | None
) -> Reach:
    if (url is None) == (endpoint is None):
        raise ConfigError("expected one of --url ADDRESS and --endpoint NAME")
    if url is not None and rehearse is not None:
        raise ConfigError("--rehearse: goes with --endpoint, found --url")
    if endpoint is not None and token_file is not None:
        raise ConfigError("--token-file: endpoints take AWS's credentials; leave it out")
    return Reach(url, endpoint, rehearse, token_file)


@contextlib.contextmanager
def _client(reach: Reach) -> Iterator[Client]:
    from motrail.remote.client import Client

    if reach.url is not None:
        token = None if reach.token_file is None else _read_token(reach.token_file)
        with Client(reach.url, token=token, **reach.connection) as client:
            yield client
        return
    from motrail.cli.sagemaker.cloud import open_cloud
    from motrail.sagemaker.invoke import open_client

    sending = {key: value for key, value in reach.connection.items() if key != "timeout"}
    with (
        open_cloud(reach.settings, reach.rehearse) as cloud,
        open_client(cloud, str(reach.endpoint), **sending) as client,
    ):
        yield client


def _track(source: str, reach: Reach, order: Order, way: Way) -> tuple[Summary, Order, str]:
    from motrail.video.read import open_source

    chosen = order.settings.video
    frames = open_source(source, start=chosen.start, end=chosen.end, stride=chosen.stride)
    with _client(reach) as client:
        way = _who_tracks(client, way)
        if way.track == "client":
            order = with_model(client, order)
        return _run(Path(source), frames, client, order, way), order, client.url


def _checked(way: Way) -> Way:
    if not 1 <= way.in_flight <= 64:
        raise ConfigError(f"--in-flight: expected 1 to 64, found {way.in_flight}")
    if not way.job_after >= 0:
        raise ConfigError(f"--job-after: expected minutes from 0, found {way.job_after}")
    if way.job and way.track == "client":
        raise ConfigError("--job: the server tracks in jobs; leave out --track client")
    return way


def _sending(*, png: bool, raw: bool, quality: int) -> dict[str, Any]:
    if png and raw:
        raise ConfigError("expected one of --png and --raw")
    encoding: Encoding = "png" if png else "raw" if raw else "jpeg"
    return {"encoding": encoding, "jpeg_quality": quality}


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {path}: cannot be read: {error}") from error


def _who_tracks(client: Client, way: Way) -> Way:
    """The way with who tracks, where that was left open.

    Raises:
        ConfigError: The server is to, and cannot.
    """
    if client.has_sessions:
        return way if way.track else dataclasses.replace(way, track="server")
    if way.track == "server":
        raise ConfigError(
            f"--track server: {client.url} is serverless and keeps no sessions; leave it out"
        )
    if way.track is None:
        _say(f"{client.url} is serverless and keeps no sessions: tracks are made here")
    return dataclasses.replace(way, track="client")


def _run(path: Path, source: Source, client: Client, order: Order, way: Way) -> Summary:
    from motrail.remote.track import track_by_frames

    if way.job or (way.job is None and way.track == "server" and _is_long(path, source, way)):
        summary = _as_job(path, source, client, order, forced=bool(way.job))
        if summary is not None:
            return summary
    twice = order.video and order.settings.refine.active
    with _progress(source.expected_frames, twice=twice) as progress:
        return track_by_frames(
            source,
            client,
            order,
            where=way.track or "server",
            in_flight=way.in_flight,
            fit=way.fit,
            progress=progress,
        )


def _is_long(path: Path, source: Source, way: Way) -> bool:
    if not path.is_file() or not source.expected_frames or not source.frame_rate:
        return False
    seconds = source.expected_frames * source.selection.stride / source.frame_rate
    return seconds > way.job_after * 60


def _as_job(
    path: Path, source: Source, client: Client, order: Order, *, forced: bool
) -> Summary | None:
    """Have it done as a job; None where the server does not take it and need not."""
    from motrail.remote.problems import RemoteError
    from motrail.remote.track import collect, submit

    if not path.is_file():
        raise ConfigError(f"{path}: expected a video file for --job; folders go frame by frame")
    if not client.has_jobs():
        if forced:
            raise RemoteError(
                f"{client.url}: takes no jobs; leave out --job, or have it started with jobs_folder"
            )
        return None
    if not forced:
        _say(f"{path.name} is long and goes as a job; --no-job sends it frame by frame")
    try:
        job = submit(path, client, order)
    except RemoteError as error:
        if error.status == 413 and not forced:
            _say(f"it is too large for a job there and goes frame by frame: {error}")
            return None
        raise
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, job)  # what came of it is here, or nobody wants it any more
        with steps_progress() as steps:
            state = job.wait(lambda now: steps(f"job {now.state}", now.frames, now.total))
        with _progress(source.expected_frames, twice=False) as progress:
            return collect(job, state, source, client, order, progress)


def _remove(job: Any) -> None:
    from motrail.remote.problems import RemoteError

    with contextlib.suppress(RemoteError):
        job.cancel()


def _say(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)


def _report(summary: Summary, settings: Settings, url: str, *, as_json: bool) -> None:
    if as_json:
        made_by = {"version": motrail.__version__, "url": url}
        chosen = {
            name: dataclasses.asdict(getattr(settings, name))
            for name in ("tracker", "refine", "video")
        }
        print_json(summary.as_dict() | made_by | {"settings": chosen})
        return
    speed = f"{summary.seconds:.1f} s, {summary.frames_per_second:.1f} fps on {summary.device}"
    seconds = summary.mean_length * settings.video.stride / summary.frame_rate
    length = f"{summary.mean_length:.1f} frames ({seconds:.1f} s)"
    rows = [
        ("frames", f"{summary.frames} in {speed}"),
        ("tracks", f"{summary.tracks}, seen in {length} on average"),
    ]
    if summary.broken_frames:
        rows.append(("broken", f"{summary.broken_frames} frames could not be decoded"))
    rows += [("written", path) for path in summary.files.values()]
    print_rows(rows)
    if not summary.tracks:
        _say("nothing was tracked; is it the right model, and are its thresholds low enough?")
