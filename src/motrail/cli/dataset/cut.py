"""`motrail dataset split`, `clip` and `frames`."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from motrail.cli.output import (
    AsJson,
    Output,
    print_json,
    print_notes,
    print_rows,
    table,
)
from motrail.cli.progress import steps_progress

if TYPE_CHECKING:
    from motrail.dataset.split import SplitSummary

PARTLY_DONE = 3


def split_command(
    dataset: Path,
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    by: Literal["sequence", "time"] = "sequence",
    gap: int | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    copy: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Split a dataset into training, validation and test, without leaks.

    By sequence, whole sequences go to one side: neighbouring frames never stand on both. By time,
    each sequence is cut (training first, then validation, then test) with a gap between the parts;
    that is the way for a dataset of one video. The same seed gives the same split everywhere.

    For example:

    - `motrail dataset split data --val 0.2 --test 0.1 --seed 1`
    - `motrail dataset split data --by time --val 0.25`
    - `motrail dataset split mot17 --by time --val 0.5 --gap 0 -o halves` (MOT17's half split)

    Parameters
    ----------
    dataset
        A dataset folder with everything in `all/`.
    val
        Share for validation.
    test
        Share for testing.
    seed
        Chooses the sequences.
    by
        Whole sequences, or parts of each along time.
    gap
        Frames left out between parts, with --by time. [default: one second]
    output
        Write the split dataset here and leave the given one as it is. [default: in place]
    copy
        Copy pictures also where hard links, which take no space, can be made.
    as_json
        Print the summary as one JSON document.
    """
    from motrail.dataset.split import split_dataset

    with steps_progress() as progress:
        summary = split_dataset(
            dataset,
            val=val,
            test=test,
            seed=seed,
            by=by,
            gap=gap,
            output=output,
            link=not copy,
            progress=progress,
        )
    if as_json:
        print_json(summary.as_dict())
        return 0
    _show_split(summary)
    return 0


def _show_split(summary: SplitSummary) -> None:
    rows: list[tuple[str | int, ...]] = [
        ("split", "sequences", "frames", "boxes", "objects", "share of boxes")
    ]
    for name in summary.classes:
        total = sum(part.classes.get(name, {}).get("boxes", 0) for part in summary.parts.values())
        for split, part in summary.parts.items():
            counts = part.classes.get(name, {"frames": 0, "boxes": 0, "objects": 0})
            if total:
                share = f"{counts['boxes'] / total:.0%}"
                cells = (counts["frames"], counts["boxes"], counts["objects"], share)
                rows.append((f"{split}: {name}", "", *cells))
    whole = sum(part.boxes for part in summary.parts.values())
    totals: list[tuple[str | int, ...]] = [
        (
            split,
            len(part.sequences),
            part.frames,
            part.boxes,
            part.objects,
            f"{part.boxes / max(whole, 1):.0%}",
        )
        for split, part in summary.parts.items()
    ]
    print(table([rows[0], *totals, *rows[1:]]))
    if summary.by == "sequence":
        for split, part in summary.parts.items():
            if split != "train":
                print(f"{split}: {', '.join(part.sequences)}")
    elif summary.dropped_frames:
        print(f"left out between the parts: {summary.dropped_frames:,} frames")
    print(f"written: {summary.output}")
    print_notes(summary.notes)


def clip_command(
    video: Path,
    *,
    output: Output,
    frames: int = 200,
    crf: int = 17,
    as_json: AsJson = False,
) -> int:
    """Cut a video into clips of exactly so many frames; the last one may be shorter.

    No frame is dropped or doubled. Beside the clips stands `clips.json`, which says what frames of
    the video each one holds.

    Parameters
    ----------
    video
        A video, or a folder of images.
    output
        The folder to make; empty or not there yet.
    frames
        Length of a clip.
    crf
        Quality of the clips, 0 (lossless) to 51.
    as_json
        Print the summary as one JSON document.
    """
    from motrail.dataset.clips import cut_clips

    with steps_progress() as progress:
        summary = cut_clips(video, output, frames=frames, crf=crf, progress=progress)
    if as_json:
        print_json(summary.as_dict())
    else:
        print_rows(
            [
                ("clips", f"{len(summary.clips)} with {summary.frames:,} frames"),
                ("written", str(output)),
            ]
        )
    return _partly(video, summary.truncated, summary.missing)


def frames_command(
    video: Path,
    *,
    output: Output,
    every: int = 1,
    start: int = 1,
    end: int | None = None,
    png: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Take frames out of a video as pictures, named by their number.

    Parameters
    ----------
    video
        A video.
    output
        The folder to make; empty or not there yet.
    every
        Take every N-th frame.
    start
        The first frame, counted from 1.
    end
        The last frame, itself included. [default: the end of the video]
    png
        Write PNG, which loses nothing, instead of JPEG.
    as_json
        Print the summary as one JSON document.
    """
    from motrail.dataset.clips import extract_frames

    with steps_progress() as progress:
        summary = extract_frames(
            video,
            output,
            every=every,
            start=start,
            end=end,
            suffix=".png" if png else ".jpg",
            progress=progress,
        )
    if as_json:
        print_json(summary.as_dict())
    else:
        print_rows([("pictures", f"{summary.files:,}"), ("written", str(output))])
    return _partly(video, None, summary.missing)


def _partly(video: Path, truncated: str | None, missing: list[int]) -> int:
    if truncated is None and not missing:
        return 0
    lost = f"{len(missing)} frames could not be decoded" if missing else ""
    said = "; ".join(part for part in (truncated, lost) if part)
    print(f"{video}: partly done: {said}", file=sys.stderr)
    return PARTLY_DONE
