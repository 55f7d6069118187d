"""`motrail dataset check`, `stats` and `preview`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from motrail.cli.dataset.output import (
    AsJson,
    parse_size,
    print_json,
    print_rows,
    read_options,
    table,
)
from motrail.cli.progress import steps_progress

if TYPE_CHECKING:
    from motrail.dataset.check import Report

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
    from motrail.dataset.check import check

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
        print(f"{group.level}: {group.title} ({group.count:,}{fixed})")
        for example in group.examples:
            print(f"    {example}")
        if group.count > len(group.examples) > 0:
            print(f"    … and {group.count - len(group.examples):,} more")
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
    from motrail.dataset.folder import is_dataset
    from motrail.dataset.stats import compute_stats, draw_stats

    picture = output or (dataset if is_dataset(dataset) else Path()) / "stats.png"
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
    sheet: Annotated[bool, Parameter(negative="")] = False,
    frames: int = 12,
    video: Path | None = None,
    size: str | None = None,
    mirror: Path | None = None,
) -> int:
    """Draw the labels into the pictures, as a video for each sequence or one sheet of pictures.

    For example:

    - `motrail dataset preview data -o look`
    - `motrail dataset preview data --sheet -o look.jpg`
    - `motrail dataset preview annotations.xml --video match.mp4 -o look`

    Parameters
    ----------
    dataset
        A dataset folder, a split of one, or labels in any format.
    output
        Folder for the videos, or the picture with --sheet. [default: preview, or preview.jpg]
    sequence
        The one sequence to draw. [default: all]
    sheet
        Draw one sheet with pictures from each sequence instead of videos.
    frames
        How many pictures the sheet has.
    video
        Footage of labels that come without pictures.
    size
        WIDTHxHEIGHT of the frames, where there are neither pictures nor video.
    mirror
        Folder with a copy of the bucket that s3:// references name.
    """
    from motrail.dataset.footage import Footage
    from motrail.dataset.preview import preview

    options = read_options(size, mirror=mirror)
    with steps_progress() as progress:
        summary = preview(
            dataset,
            output or Path("preview.jpg" if sheet else "preview"),
            sequence=sequence,
            sheet=sheet,
            frames=frames,
            footage=Footage(video, options.size),
            options=options,
            progress=progress,
        )
    print_rows([("written", path) for path in summary.files])
    for note in summary.notes:
        print(f"note: {note}", file=sys.stderr)
    return 0
