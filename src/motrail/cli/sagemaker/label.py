"""`motrail sagemaker label`."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_notes, print_rows
from motrail.cli.progress import download_progress, frames_progress
from motrail.cli.sagemaker.cloud import Config, LabelFlags, Rehearse, open_cloud
from motrail.cli.sagemaker.jobs import Talk, say
from motrail.cli.settings import resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.sagemaker.labeling import Labelled


def label_command(
    source: Annotated[list[Path] | None, Parameter(negative="")] = None,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/labels"),
    classes: str | None = None,
    prelabel: Path | None = None,
    model: Annotated[str | None, Parameter(name=("--model", "-m"))] = None,
    kind: Literal["label", "adjust", "verify"] | None = None,
    every: int = 1,
    hours: float = 168.0,
    job: str | None = None,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
    rehearse: Rehearse = None,
    config: Config = None,
    as_json: AsJson = False,
    sagemaker: LabelFlags = None,
) -> int:
    """Have people label footage in SageMaker Ground Truth; ends with a dataset here.

    Frames, sequence files, manifest and categories go to S3, a labelling job for your team is made,
    and what it labelled is imported as by motrail dataset import. With --prelabel or --model people
    do not begin with nothing: they adjust a tracker's boxes. Ctrl-C asks whether the job is to be
    stopped. In a rehearsal nobody labels: what there was to start from comes back.

    Ground Truth takes no new customers since 30 July 2026.

    For example:

    - `motrail sagemaker label match.mp4 --classes player,ball --workteam ARN -o data`
    - `motrail sagemaker label clips/*.mp4 --model runs/parcels/model.tar.gz --every 5 -o data`
    - `motrail sagemaker label --job motrail-label-20261123-191500-3f2a -o data`

    Parameters
    ----------
    source
        Videos and folders of images, or a dataset, whose labels are then adjusted.
    output
        The dataset folder to make; empty or not there yet.
    classes
        Names of the classes to label, separated by commas.
    prelabel
        Labels to start from: a track file or labels in any format, or a folder that has NAME.txt
        for each video.
    model
        Track the footage here first with this model, and start from that.
    kind
        label, adjust or verify; without it, adjust where there are labels to start from.
    every
        Take each Nth frame.
    hours
        Time that a worker has for a sequence.
    job
        Name of a job to wait for, in place of making one.
    wait
        Wait for the labels; --no-wait leaves the job to the people.
    config
        TOML file with the sections [sagemaker] and, for --model, [detector] and [tracker].
    as_json
        Print the result as one JSON document.
    """
    from motrail.sagemaker.labeling import go_on, label
    from motrail.sagemaker.project import find_project

    resolved = resolve_settings({"sagemaker": sagemaker}, config)
    settings = resolved.settings.sagemaker
    _notice()
    if (not source) == (job is None):
        raise ConfigError("expected footage to label, or --job JOB, and not both")
    if prelabel is not None and model is not None:
        raise ConfigError("expected one of --prelabel and --model")
    with open_cloud(settings, rehearse) as cloud, Talk() as talk:
        project = find_project(cloud, settings)
        if job is not None:
            found = go_on(
                cloud,
                project,
                job,
                output,
                talk.watcher(),
                progress=talk.progress,
                simulate=getattr(cloud, "answer_labeling", None),
            )
            return _show(found, as_json=as_json)
        from motrail.sagemaker.footage import LabelingPlan

        names = [name.strip() for name in classes.split(",")] if classes else []
        with _tracks(source or [], model, config, prelabel) as tracks:
            found = label(
                cloud,
                project,
                settings,
                LabelingPlan(source or [], names, tracks, kind, every, hours),
                output if wait else None,
                talk.watcher(),
                progress=talk.progress,
                simulate=getattr(cloud, "answer_labeling", None),
            )
    return _show(found, as_json=as_json)


def _notice() -> None:
    """Say what has become of Ground Truth, and what there is in its place."""
    from motrail.cli.app import app
    from motrail.sagemaker.labeling import NOTICE

    here = "motrail label does the same on this machine" if "label" in list(app) else (
        "labels of other tools, such as CVAT, come in with motrail dataset import"
    )  # fmt: skip
    say(f"note: {NOTICE}; {here}")


@contextlib.contextmanager
def _tracks(
    sources: list[Path], model: str | None, config: Path | None, given: Path | None
) -> Iterator[Path | None]:
    """The labels to start from, made by a tracker if need be."""
    if model is None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="motrail-") as folder:
        _track(sources, model, config, Path(folder))
        yield Path(folder)


def _track(sources: list[Path], model: str, config: Path | None, folder: Path) -> None:
    from motrail.detect.detector import find_bundle, open_detector
    from motrail.tracking import track_source
    from motrail.video.read import open_source

    with download_progress(model) as download:
        bundle, preset = find_bundle(model, progress=download)
    settings = resolve_settings({}, config, bundle).settings
    for path in sources:
        source = open_source(path)
        detector = open_detector(bundle, settings.detector, preset)
        with frames_progress(source.expected_frames) as progress:
            track_source(source, detector, settings, folder, video=False, progress=progress)


def _show(found: Labelled, *, as_json: bool) -> int:
    if as_json:
        print_json(found.as_dict())
        return 0
    if found.dataset is None:
        say(f"not waited for: motrail sagemaker label --job {found.job}")
        print_rows([("job", found.job)])
        return 0
    summary = found.dataset
    print_rows(
        [
            ("job", found.job),
            ("sequences", f"{summary.sequences:,} with {summary.frames:,} frames"),
            ("labels", f"{summary.boxes:,} boxes of {summary.objects:,} objects"),
            ("classes", ", ".join(summary.classes)),
            ("written", summary.output),
        ]
    )
    print_notes(summary.notes)
    return 0
