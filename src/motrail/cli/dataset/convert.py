"""`motrail dataset import` and `motrail dataset export`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from motrail.cli.output import (
    AsJson,
    Output,
    print_json,
    print_notes,
    print_rows,
    read_options,
)
from motrail.cli.progress import steps_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from motrail.dataset.convert import Summary
    from motrail.formats.labels import ClassList
    from motrail.formats.writer import LabelWriter

Format = Literal["ground-truth", "cvat", "label-studio", "mot", "coco"]
AnyFormat = Literal["auto", "ground-truth", "cvat", "label-studio", "mot", "coco"]


def import_command(
    source: Annotated[list[Path], Parameter(negative="")],
    *,
    output: Output,
    format_: Annotated[AnyFormat, Parameter(name="--from")] = "auto",
    video: Path | None = None,
    size: str | None = None,
    frame_rate: float | None = None,
    mirror: Path | None = None,
    label_attribute: str | None = None,
    copy: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Make a dataset folder of labels in any format.

    Into the folder come, for each sequence, `all/NAME/gt/gt.txt`, `seqinfo.ini` and `img1/` (MOT),
    for all of them `annotations/all.json` (COCO, the full record) and `labels.txt`. Identities,
    boxes between keyframes, classes, visibility and attributes are kept; nothing is rounded.

    For example:

    - `motrail dataset import annotations.xml --video match.mp4 -o data` (CVAT)
    - `motrail dataset import job/manifests/output/output.manifest --mirror s3 -o data`
    - `motrail dataset import MOT17/train -o data`
    - `motrail dataset import export.json --video clips/ -o data` (Label Studio, a video per task)

    Parameters
    ----------
    source
        Labels: a Ground Truth output.manifest or SeqLabel.json, CVAT's video .xml or .zip, Label
        Studio's .json, COCO's .json, a folder of MOT sequences or of track files.
    output
        The dataset folder to make; empty or not there yet.
    format_
        The format of the labels.
    video
        Footage of labels that come without pictures: a video or a folder of images for one
        sequence, or a folder with a video named like each sequence. Frames are taken out by number.
    size
        WIDTHxHEIGHT of the frames, where there are neither pictures nor video.
    frame_rate
        Frames a second, where nothing else says so.
    mirror
        Folder with a copy of the bucket that s3:// references name: `MIRROR/BUCKET/KEY` or
        `MIRROR/KEY`.
    label_attribute
        Which of a manifest's label attributes to read. [default: the newest]
    copy
        Copy pictures also where hard links, which take no space, can be made.
    as_json
        Print the summary as one JSON document.
    """
    from motrail.dataset.convert import import_labels
    from motrail.dataset.footage import Footage

    options = read_options(size, frame_rate, mirror, label_attribute)
    with steps_progress() as progress:
        summary = import_labels(
            source,
            output,
            format_=None if format_ == "auto" else format_,
            footage=Footage(video, options.size),
            options=options,
            link=not copy,
            progress=progress,
        )
    return _show(summary, as_json=as_json)


def export_command(
    dataset: Path,
    *,
    to: Format,
    output: Output,
    video: Path | None = None,
    size: str | None = None,
    mirror: Path | None = None,
    job: str = "motrail",
    prefix: str | None = None,
    copy: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Write a dataset, or what a tracker found, in another format.

    To Ground Truth it becomes a complete pre-labelled job: pictures, sequence files, manifest,
    labels and category file, ready to be uploaded for an adjustment job. What a format cannot
    carry is said.

    For example:

    - `motrail dataset export data --to cvat -o cvat`
    - `motrail dataset export out/match.txt --to ground-truth --video match.mp4 -o job`
    - `motrail dataset export data --to ground-truth --prefix s3://bucket/folder -o job`

    Parameters
    ----------
    dataset
        A dataset folder, a split of one such as data/train, track files, or labels in any format.
    to
        The format to write.
    output
        The folder to make; empty or not there yet.
    video
        Footage of labels that come without pictures, as for import.
    size
        WIDTHxHEIGHT of the frames, where there are neither pictures nor video.
    mirror
        Folder with a copy of the bucket that s3:// references in the source name.
    job
        Name of the labelling job, for Ground Truth.
    prefix
        Where the folder will be uploaded to, for Ground Truth: s3://BUCKET/FOLDER.
    copy
        Copy pictures also where hard links, which take no space, can be made.
    as_json
        Print the summary as one JSON document.
    """
    from motrail.dataset.convert import export_labels
    from motrail.dataset.footage import Footage

    options = read_options(size, mirror=mirror)
    with steps_progress() as progress:
        summary = export_labels(
            dataset,
            output,
            _writer(to, job, prefix),
            footage=Footage(video, options.size),
            options=options,
            link=not copy,
            progress=progress,
        )
    return _show(summary, as_json=as_json)


def _writer(to: Format, job: str, prefix: str | None) -> Callable[[Path, ClassList], LabelWriter]:
    from motrail.dataset.convert import writer_of

    if to == "ground-truth":
        from motrail.formats.ground_truth.writer import GroundTruthWriter

        return lambda folder, classes: GroundTruthWriter(folder, classes, job=job, prefix=prefix)
    return writer_of(to)


def _show(summary: Summary, *, as_json: bool) -> int:
    if as_json:
        print_json(summary.as_dict())
        return 0
    print_rows(
        [
            ("read", ", ".join(summary.formats)),
            ("sequences", f"{summary.sequences:,} with {summary.frames:,} frames"),
            ("pictures", f"{summary.pictures:,}"),
            ("labels", f"{summary.boxes:,} boxes of {summary.objects:,} objects"),
            ("classes", ", ".join(summary.classes)),
            ("written", summary.output),
        ]
    )
    print_notes(summary.notes)
    return 0
