"""`motrail sagemaker invoke`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_rows
from motrail.cli.sagemaker.cloud import Config, Rehearse, SageMakerFlags, open_cloud
from motrail.cli.sagemaker.jobs import say
from motrail.cli.settings import flags_of, resolve_settings
from motrail.cli.track import PARTLY_DONE, _progress
from motrail.errors import ConfigError
from motrail.names import is_image

if TYPE_CHECKING:
    from motrail.config import Resolved, SageMakerSettings
    from motrail.remote.track import Order
    from motrail.sagemaker.request import Cloud
    from motrail.tracking import Summary
    from motrail.video.source import Source

TrackerFlags: Any = flags_of("tracker")
RefineFlags: Any = flags_of("refine")
VideoFlags: Any = flags_of("video")

Way = Literal["auto", "session", "whole"]


def invoke_command(
    name: str,
    source: str,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    way: Way = "auto",
    video: Annotated[bool, Parameter(negative="--no-video")] = False,
    in_flight: int = 4,
    jpeg_quality: int = 95,
    png: Annotated[bool, Parameter(negative="")] = False,
    timeout: int = 3600,
    variant: str | None = None,
    rehearse: Rehearse = None,
    config: Config = None,
    as_json: AsJson = False,
    tracker: TrackerFlags = None,
    refine: RefineFlags = None,
    clip: VideoFlags = None,
    sagemaker: SageMakerFlags = None,
) -> int:
    """Have an endpoint look at a picture or a video.

    What is in a picture is printed. Of a video come the files of motrail track: from a real-time
    endpoint frame by frame in a session, or with --way whole in one request; from an asynchronous
    one through S3, and this waits for it.

    For example:

    - `motrail sagemaker invoke parcels frame.jpg`
    - `motrail sagemaker invoke parcels belt.mp4 -o out`
    - `motrail sagemaker invoke night night.mp4 -o out --max-gap 20`

    Parameters
    ----------
    name
        Of the endpoint.
    source
        An image, a video, a folder of images or a quoted pattern.
    output
        Folder for the results of a video. [default: runs/NAME]
    way
        session sends a video frame by frame, whole in one request; auto is session.
    video
        Whether to draw the video, here.
    in_flight
        Frames under way at a time.
    jpeg_quality
        Of the frames sent, 1 to 100.
    png
        Send frames without loss.
    timeout
        Seconds that an asynchronous endpoint may work on the video.
    variant
        The variant that is to answer, where there are several.
    config
        TOML file with sections [tracker], [refine], [video] and [sagemaker]; flags win over it.
    as_json
        Print the result as one JSON document.
    """
    given = {"tracker": tracker, "refine": refine, "video": clip, "sagemaker": sagemaker}
    resolved = resolve_settings(given, config)
    settings = resolved.settings.sagemaker
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(open_cloud(settings, rehearse))
        from motrail.sagemaker.invoke import living, open_client

        kind = living(cloud, name)
        order = _order(resolved, output, [path for path in (config,) if path], video=video)
        if kind == "async":
            summary = _through_s3(cloud, name, Path(source), order, settings, timeout)
            return _show(summary, source, as_json=as_json)
        client = stack.enter_context(
            open_client(
                cloud,
                name,
                encoding="png" if png else "jpeg",
                jpeg_quality=jpeg_quality,
                variant=variant,
            )
        )
        path = Path(source)
        if path.is_file() and is_image(path):
            return _look(client, path, as_json=as_json)
        opened = _open(source, order)
        if way == "whole":
            from motrail.remote.track import write_whole
            from motrail.sagemaker.invoke import whole_at_once

            whole = whole_at_once(client, name, path, order)
            return _show(write_whole(whole, opened, order), source, as_json=as_json)
        from motrail.remote.track import track_by_frames

        where: Any = "client" if kind == "serverless" else "server"
        twice = order.video and order.settings.refine.active
        with _progress(opened.expected_frames, twice=twice) as progress:
            summary = track_by_frames(
                opened, client, order, where=where, in_flight=in_flight, progress=progress
            )
        return _show(summary, source, as_json=as_json)


def _order(resolved: Resolved, output: Path | None, keep: list[Path], *, video: bool) -> Order:
    from motrail.cli.remote import _order as order

    return order(resolved, output, keep, video=video)


def _open(source: str, order: Order) -> Source:
    from motrail.video.read import open_source

    chosen = order.settings.video
    return open_source(source, start=chosen.start, end=chosen.end, stride=chosen.stride)


def _through_s3(
    cloud: Cloud, name: str, path: Path, order: Order, settings: SageMakerSettings, seconds: int
) -> Summary:
    from motrail.remote.track import write_whole
    from motrail.sagemaker.invoke import forget, submit, wait
    from motrail.sagemaker.project import find_project

    if not path.is_file():
        raise ConfigError(f"{path}: expected a video file for an asynchronous endpoint")
    if not 1 <= seconds <= 3600:
        raise ConfigError(f"--timeout: expected 1 to 3600 seconds, found {seconds}")
    opened = _open(str(path), order)
    waiting = submit(cloud, find_project(cloud, settings), name, path, order, seconds)
    say(f"{path.name} is with the endpoint {name}; the result will be at {waiting.output}")
    summary = write_whole(wait(cloud, waiting, name, seconds, say), opened, order)
    forget(cloud, waiting)
    return summary


def _look(client: Any, path: Path, *, as_json: bool) -> int:
    """Print what is in a picture."""
    found = client.detect(path.read_bytes())
    classes = client.model().classes
    rows = [
        {
            "box": [round(edge, 2) for edge in box],
            "score": round(score, 4),
            "class": classes[class_id],
        }
        for box, score, class_id in zip(
            found.boxes_xyxy.tolist(),
            found.scores.tolist(),
            found.class_ids.tolist(),
            strict=True,
        )
    ]
    if as_json:
        print_json({"image": str(path), "detections": rows})
    elif rows:
        print_rows([(row["class"], f"{row['score']:.2f}  {row['box']}") for row in rows])
    else:
        say(f"{path}: nothing was detected")
    return 0


def _show(summary: Summary, source: str, *, as_json: bool) -> int:
    if as_json:
        print_json(summary.as_dict())
    else:
        rows: list[tuple[str, Any]] = [("frames", summary.frames), ("tracks", summary.tracks)]
        print_rows(rows + [("written", path) for path in summary.files.values()])
    if summary.truncated is not None:
        say(f"{source}: partly done: {summary.truncated}")
        return PARTLY_DONE
    return 0
