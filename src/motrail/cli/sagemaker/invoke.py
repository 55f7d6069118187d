"""`motrail sagemaker invoke`."""

from __future__ import annotations

import contextlib
import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.orders import order_of, with_model
from motrail.cli.output import AsJson, print_json, print_rows
from motrail.cli.sagemaker.cloud import Config, Rehearse, SageMakerFlags, open_cloud
from motrail.cli.sagemaker.fetching import Again, fetched, opened, through_s3
from motrail.cli.sagemaker.jobs import say
from motrail.cli.settings import flags_of, resolve_settings
from motrail.cli.track import PARTLY_DONE, _progress
from motrail.errors import VideoError
from motrail.names import is_image

if TYPE_CHECKING:
    from motrail.remote.client import Client
    from motrail.remote.track import Order
    from motrail.tracking import Summary

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
    fetch: str | None = None,
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
    one through S3, and this waits for it. After Ctrl-C it goes on there, and --fetch brings it.

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
    fetch
        Wait for what was sent to an asynchronous endpoint before, in place of sending it: the
        letters and digits that were shown then. The video is only read here.
    variant
        The variant that is to answer, where there are several.
    config
        TOML file with sections [tracker], [refine], [video] and [sagemaker]; flags win over it.
    as_json
        Print the result as one JSON document.
    """
    flags = {"tracker": tracker, "refine": refine, "video": clip, "sagemaker": sagemaker}
    resolved = resolve_settings(flags, config)
    _see_that_it_is_there(source)
    order = order_of(resolved, output, [config] if config else [], video=video)
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(open_cloud(resolved.settings.sagemaker, rehearse))
        from motrail.sagemaker.invoke import living, open_client

        kind = "async" if fetch is not None else living(cloud, name)
        if kind == "async":
            again = Again(name, source, output, rehearse, config, (sagemaker, clip), video=video)
            if fetch is None:
                summary = through_s3(cloud, again, order, timeout)
            else:
                summary = fetched(cloud, again, resolved, order, fetch)
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
        if way == "whole":
            from motrail.remote.track import write_whole
            from motrail.sagemaker.invoke import whole_at_once

            frames = opened(source, order)
            whole = whole_at_once(client, name, path, order)
            return _show(write_whole(whole, frames, order), source, as_json=as_json)
        return _show(_by_frames(source, client, order, in_flight), source, as_json=as_json)


def _see_that_it_is_there(source: str) -> None:
    """Before anything is asked of AWS.

    Raises:
        VideoError: There is no such file.
    """
    if os.path.lexists(source) or glob.has_magic(source) or "://" in source:
        return
    kind = "an image" if is_image(Path(source)) else "an image, a video, a folder or a pattern"
    raise VideoError(f"{source}: no such file; expected {kind}")


def _by_frames(source: str, client: Client, order: Order, in_flight: int) -> Summary:
    from motrail.remote.track import track_by_frames

    where: Any = "server"
    if not client.has_sessions:
        where, order = "client", with_model(client, order)
        say(f"note: {client.url} is serverless and keeps no sessions: tracks are made here")
    frames = opened(source, order)
    twice = order.video and order.settings.refine.active
    with _progress(frames.expected_frames, twice=twice) as progress:
        return track_by_frames(
            frames, client, order, where=where, in_flight=in_flight, progress=progress
        )


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
