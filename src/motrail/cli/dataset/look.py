"""`motrail dataset check`, `stats` and `preview`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from motrail.cli.output import (
    AsJson,
    parse_size,
    print_json,
    print_notes,
    print_rows,
    read_options,
    table,
)
from motrail.cli.progress import steps_progress

if TYPE_CHECKING:
    from motrail.dataset.check.findings import Report

FAULTY = 1


def check_command(
    dataset: Path,
    *,
    training_size: str = "640x640",
    fix: Annotated[bool, Parameter(negative="")] = False,
    size: str | None = None,
    mirror: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Find everything that is wrong with labels, and what will hurt training.

    All faults are listed at once, in groups, with how many there are and where the first ones
    stand. With faults the exit code is 1, with hints alone it is 0.

    Parameters
    ----------
    dataset
        A dataset folder, a split of one, or labels in any format.
    training_size
        WIDTHxHEIGHT of a network's input, to which pictures will be scaled.
    fix
        Mend what can be mended without losing anything, and say what was done.
    size
        WIDTHxHEIGHT of the frames, where neither labels nor pictures say so.
    mirror
        Folder with a copy of the bucket that s3:// references name.
    as_json
        Print the report as one JSON document.
    """
    from motrail.dataset.check.run import check

    target = parse_size(training_size, "--training-size") or (640, 640)
    options = read_options(size, mirror=mirror)
    with steps_progress() as progress:
        report = check(dataset, training_size=target, fix=fix, options=options, progress=progress)
    if as_json:
        print_json(report.as_dict())
    else:
        _show(report)
    return FAULTY if report.faults else 0


def _show(report: Report) -> None:
    for group in report.groups:
        fixed = f", {group.fixed:,} mended" if group.fixed else ""
        left = group.count - group.fixed
        print(f"{group.level}: {group.title} ({group.count:,}{fixed})")
        for example in group.examples:
            line = f":{example.place}" if isinstance(example.place, int) else ""
            where = f" {example.place}:" if isinstance(example.place, str) else ""
            print(f"    {example.file}{line}:{where} {example.message}")
        if left > len(group.examples) > 0:
            print(f"    … and {left - len(group.examples):,} more")
    for sentence in report.mended:
        print(f"mended: {sentence}")
    looked = f"{report.sequences:,} sequences, {report.frames:,} frames, {report.boxes:,} boxes"
    found = f"{report.faults:,} faults and {report.hints:,} hints"
    print(f"{looked}: {found if report.faults or report.hints else 'nothing found'}")


def stats_command(
    dataset: Path,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    size: str | None = None,
    mirror: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Count and measure a dataset: a table, and one picture to look at.

    Parameters
    ----------
    dataset
        A dataset folder, a split of one, or labels in any format.
    output
        The picture, .png or .svg. [default: stats.png in the dataset folder, else here]
    size
        WIDTHxHEIGHT of the frames, where neither labels nor pictures say so.
    mirror
        Folder with a copy of the bucket that s3:// references name.
    as_json
        Print everything as one JSON document.
    """
    from motrail.dataset.folder import is_dataset, keep_out, open_dataset
    from motrail.dataset.stats.charts import draw_stats
    from motrail.dataset.stats.compute import compute_stats

    folder = open_dataset(dataset).folder if is_dataset(dataset) else Path()
    picture = output or folder / "stats.png"
    if is_dataset(dataset):
        keep_out(open_dataset(dataset), picture)
    with steps_progress() as progress:
        stats = compute_stats(dataset, read_options(size, mirror=mirror), progress=progress)
    draw_stats(stats, picture)
    if as_json:
        print_json(stats.as_dict() | {"picture": str(picture)})
        return 0
    print(table(stats.rows()))
    print_rows([("picture", str(picture))])
    return 0


def preview_command(
    dataset: Path,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    sequence: str | None = None,
    start: int = 1,
    end: int | None = None,
    every: int = 1,
    sheet: Annotated[bool, Parameter(negative="")] = False,
    pictures: int = 12,
    video: Path | None = None,
    size: str | None = None,
    mirror: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Draw the labels into the pictures, as videos or as sheets of pictures.

    Boxes to be ignored are thin and grey; labels of boxes that were filled in between keyframes
    end in a `~`.

    For example:

    - `motrail dataset preview data -o look` (a video of each sequence)
    - `motrail dataset preview data -o look.jpg` (one sheet with pictures of all)
    - `motrail dataset preview data --sequence match-2 --start 500 --end 700 -o look.mp4`
    - `motrail dataset preview annotations.xml --video match.mp4 -o look`

    Parameters
    ----------
    dataset
        A dataset folder, a split of one, track files, or labels in any format.
    output
        NAME.mp4 for a video of one sequence, NAME.jpg or .png for a sheet, or a folder for a video
        (or sheet) of each. [default: preview, or preview.jpg with --sheet]
    sequence
        The one sequence to draw. [default: all]
    start
        The first frame, counted from 1.
    end
        The last frame, itself included. [default: the end]
    every
        Draw every N-th frame.
    sheet
        Sheets of pictures rather than videos.
    pictures
        How many pictures a sheet has.
    video
        Footage of labels that come without pictures.
    size
        WIDTHxHEIGHT of the frames, where there are neither pictures nor video.
    mirror
        Folder with a copy of the bucket that s3:// references name.
    as_json
        Print the summary as one JSON document.
    """
    from motrail.dataset.footage import Footage
    from motrail.dataset.preview.draw import preview
    from motrail.video.source import Selection

    options = read_options(size, mirror=mirror)
    with steps_progress() as progress:
        summary = preview(
            dataset,
            output or Path("preview.jpg" if sheet else "preview"),
            sequence=sequence,
            selection=Selection(start, end, every),
            sheet=sheet,
            frames=pictures,
            footage=Footage(video, options.size),
            options=options,
            progress=progress,
        )
    if as_json:
        print_json(summary.as_dict())
        return 0
    shown = f"{summary.boxes:,} boxes in {summary.frames:,} frames of {summary.sequences} sequences"
    print_rows([("drawn", shown), *(("written", path) for path in summary.files)])
    print_notes(summary.notes)
    return 0
