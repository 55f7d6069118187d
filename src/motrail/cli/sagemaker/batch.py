"""`motrail sagemaker batch`."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, table
from motrail.cli.sagemaker.cloud import Config, ProcessingFlags, Rehearse, open_cloud
from motrail.cli.sagemaker.deploying import find_model
from motrail.cli.sagemaker.jobs import Talk, given_settings, say
from motrail.cli.settings import flags_of, resolve_settings
from motrail.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motrail.config import Resolved
    from motrail.sagemaker.batch import Order

DetectorFlags: Any = flags_of("detector")
TrackerFlags: Any = flags_of("tracker")
RefineFlags: Any = flags_of("refine")
VideoFlags: Any = flags_of("video")
PARTLY_DONE = 3
SECTIONS = ("detector", "tracker", "refine", "video")


def batch_command(
    source: str,
    *,
    model: Annotated[str, Parameter(name=("--model", "-m"))],
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    instances: int = 1,
    way: Literal["auto", "videos", "detect"] = "auto",
    video: Annotated[bool, Parameter(negative="--no-video")] = False,
    chunk: int | None = None,
    job: str | None = None,
    retry: Annotated[bool, Parameter(negative="")] = False,
    fetch: Annotated[bool, Parameter(negative="--no-fetch")] = True,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    rehearse: Rehearse = None,
    config: Config = None,
    as_json: AsJson = False,
    detector: DetectorFlags = None,
    tracker: TrackerFlags = None,
    refine: RefineFlags = None,
    clip: VideoFlags = None,
    sagemaker: ProcessingFlags = None,
) -> int:
    """Track many videos, or very long ones, on instances of Amazon SageMaker.

    The tracks are those of motrail track. With the same --job it goes on where it stopped: what is
    done is not done again, and what was detected is not detected again.

    For example:

    - `motrail sagemaker batch s3://footage/2026-11/ -m model.tar.gz --instances 8 -o out`
    - `motrail sagemaker batch footage/ -m yolox-s --job november -o out --video`
    - `motrail sagemaker batch footage/ -m yolox-s --instances 3 -o out --rehearse rehearsal`

    Parameters
    ----------
    source
        An s3:// prefix with videos and whatever is below it, or a folder or video here, which
        is uploaded first.
    model
        A model bundle, or a name such as yolox-s.
    output
        Folder for the results. [default: runs/JOB]
    instances
        At most so many at a time.
    way
        videos gives each instance its own videos; detect gives each a share of every video, and one
        of them tracks: for few long ones. auto decides by their number and sizes.
    video
        Draw the tracks into videos, too.
    chunk
        Frames in a chunk, see motrail batch.
    job
        Name of the batch; the same name goes on with it. [default: a new one]
    retry
        Try videos again that failed before; else only those that changed since are.
    fetch
        Bring the results here; --no-fetch leaves them in S3.
    dry_run
        Print the requests that would make the jobs as JSON; a folder here is uploaded before.
    config
        TOML file with sections [detector], [tracker], [refine], [video] and [sagemaker]; flags win
        over it.
    as_json
        Print what became of each video as one JSON document.
    """
    given = {"detector": detector, "tracker": tracker, "refine": refine, "video": clip}
    resolved = resolve_settings(given | {"sagemaker": sagemaker}, config)
    settings = resolved.settings.sagemaker
    bundle = find_model(model)
    if chunk is not None and not 1 <= chunk <= 1_000_000:
        raise ConfigError(f"--chunk: expected 1 to 1,000,000 frames, found {chunk}")
    arguments = (*(["--video"] if video else []), *([f"--chunk={chunk}"] if chunk else []))
    from motrail.outputs import output_folder
    from motrail.sagemaker import batch
    from motrail.sagemaker.project import find_project
    from motrail.sagemaker.quotas import check_quota

    with open_cloud(settings, rehearse) as cloud, Talk() as talk:
        project = find_project(cloud, settings)
        order = batch.Order(
            job or project.unique("batch"),
            source,
            bundle,
            instances,
            None if way == "auto" else way,
            arguments,
            _toml(resolved),
            retry,
        )
        folder = output or Path("runs") / order.name
        if not dry_run:
            if fetch:
                output_folder(folder)
            say(f"batch {order.name}; to go on with it, give --job {order.name}")
        with _going_on(order, talk):
            opened = batch.open_batch(
                cloud, project, settings, order, talk.watcher(), talk.progress
            )
            if dry_run:
                print_json([request._asdict() for request in batch.dry_run(opened)])
                return 0
            instance, count = settings.processing_instance, opened.deal.instances
            check_quota(cloud, instance, "processing", count)
            rows = batch.run(opened)
            if fetch:
                batch.bring(opened, rows, folder)
    where = str(folder) if fetch else opened.results
    if as_json:
        print_json({"job": order.name, "results": where, "videos": rows})
    else:
        _show(rows, where)
    return _explain(rows)


@contextlib.contextmanager
def _going_on(order: Order, talk: Talk) -> Iterator[None]:
    """On Ctrl-C, and where results cannot be written, say what is left and how to go on."""
    try:
        yield
    except (KeyboardInterrupt, OutputError):
        talk.say(
            f"what was uploaded and tracked stays in S3, nothing of it half-made; the same "
            f"command with --job {order.name} goes on, motrail sagemaker cleanup removes it"
        )
        raise


def _toml(resolved: Resolved) -> str | None:
    """The settings that somebody chose; None where nobody did."""
    from motrail.sagemaker.requests.training import toml_value

    lines = []
    for section in SECTIONS:
        given = {k: v for k, v in given_settings(resolved, section).items() if v is not None}
        if given:
            lines += [f"[{section}]", *(f"{k} = {toml_value(v)}" for k, v in given.items()), ""]
    return "\n".join(lines) if lines else None


def _show(rows: Sequence[dict[str, Any]], where: str) -> None:
    shown: list[tuple[Any, ...]] = [("video", "state", "frames", "tracks", "boxes")]
    shown += [
        (row["name"], {"partly": "partly done"}.get(row["state"], row["state"]),
         *(row[key] if row["state"] in ("done", "partly") else "–"
           for key in ("frames", "tracks", "boxes")))
        for row in rows
    ]  # fmt: skip
    print(table(shown))
    print(f"written  {where}")


def _explain(rows: Sequence[dict[str, Any]]) -> int:
    """Say what is not done; the exit code."""
    for row in rows:
        if row["state"] != "done" and row.get("reason"):
            print(f"{row['name']}: {row['state']}: {row['reason']}", file=sys.stderr)
    states = Counter(row["state"] for row in rows)
    if states["done"] == len(rows):
        return 0
    return PARTLY_DONE if states["done"] + states["partly"] else 1
