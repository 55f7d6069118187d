"""The result of a job as an answer: the same forms as for a video in a request."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import FileResponse, Response, StreamingResponse

from motrail.serve import answers
from motrail.serve.jobs.work import NAME, SUMMARY
from motrail.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from motrail.serve.jobs.records import Job

_LINES = 1000


def answer(job: Job, folder: Path, accept: str | None) -> Response:
    """The result in the form that is asked for.

    Args:
        job: Which one.
        folder: Its result.
        accept: The header.

    Raises:
        Problem: 409 before it is done or when it failed, 410 after it was removed, 406.
    """
    if job.removed is not None:
        raise Problem(410, "removed", "the result of this job was removed")
    if job.state == "failed":
        raise Problem(409, "failed", f"this job failed and has no result: {job.error}")
    if job.state != "done":
        raise Problem(409, "not_done", f"this job is {job.state}; ask again when it is done")
    known = [kind for kind in answers.VIDEO_TYPES if kind != answers.MP4 or _has_video(job)]
    kind = answers.wanted(accept, known)
    tracks = folder / f"{NAME}.txt"
    try:
        if kind == answers.MP4:
            return FileResponse(folder / f"{NAME}.mp4", media_type=kind)
        if kind == answers.CSV:
            return FileResponse(tracks, media_type=kind)
        summary = json.loads((folder / SUMMARY).read_bytes())
    except FileNotFoundError:
        raise Problem(410, "removed", "the result of this job was removed") from None
    pieces = _document(summary, tracks) if kind == answers.JSON else _frames(summary, tracks)
    return StreamingResponse(pieces, media_type=kind)


def _has_video(job: Job) -> bool:
    return "mp4" in job.order.outputs


def _document(summary: dict[str, Any], tracks: Path) -> Iterator[str]:
    """One JSON document, without all rows in memory at once; a row of the file is one of JSON."""
    shown = ("name", "width", "height", "frame_rate", "frames", "tracks", "truncated", "classes")
    content = json.dumps({key: summary[key] for key in shown}, ensure_ascii=False)
    yield f'{content[:-1]}, "rows": ['
    first = True
    with tracks.open(encoding="ascii") as file:
        while lines := list(itertools.islice(file, _LINES)):
            rows = ", ".join(f"[{line.rstrip()}]" for line in lines)
            yield rows if first else f", {rows}"
            first = False
    yield "]}"


def _frames(summary: dict[str, Any], tracks: Path) -> Iterator[str]:
    """A line of JSON for every frame that was looked at, those without tracks too."""
    size = {"width": summary["width"], "height": summary["height"]}
    classes = summary["classes"]
    with tracks.open(encoding="ascii") as file:
        rows = itertools.groupby((line.rstrip().split(",") for line in file), _frame)
        frame, cells = next(rows, (0, None))
        for batch in _numbers(summary):
            lines = []
            for number in batch:
                found: list[dict[str, Any]] = []
                if cells is not None and frame == number:
                    found = [_track(row, classes) for row in cells]
                    frame, cells = next(rows, (0, None))
                lines.append({"frame": number, **size, "tracks": found})
            yield answers.as_lines(lines)
    if summary["truncated"] is not None:
        yield answers.as_lines([{"truncated": summary["truncated"]}])


def _frame(row: Sequence[str]) -> int:
    return int(row[0])


def _numbers(summary: dict[str, Any]) -> Iterator[list[int]]:
    """The numbers of the frames that were looked at, in pieces."""
    numbers = summary["numbers"]
    missing = set(numbers["missing"])
    everything = range(numbers["first"], numbers["last"] + 1, numbers["stride"])
    for start in range(0, len(everything), _LINES):
        yield [each for each in everything[start : start + _LINES] if each not in missing]


def _track(row: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    left, top, width, height, score = map(float, row[2:7])
    box = [left, top, round(left + width, 2), round(top + height, 2)]
    return {"id": int(row[1]), "box": box, "score": score, "class": classes[int(row[7]) - 1]}
