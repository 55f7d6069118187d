"""The process that works on one job: `python -m motrail.serve.jobs.work`.

It is told its task in one line of JSON on stdin and says how far it is in lines of JSON on stdout.
When stdin ends, the server is gone or does not want it any more, and it ends at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motrail.errors import MotrailError, OutputError, VideoError
from motrail.outputs import writing
from motrail.serve.jobs.files import LOCK, RESULT, SOURCE, clear, settle
from motrail.serve.jobs.lock import ProcessLock

# Nothing heavy is imported here: first it has to be sure that nobody else works on the job.

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from motrail.config import Settings
    from motrail.tracking import Summary
    from motrail.types import Detections, Frame

    Tell = Callable[..., None]

SUMMARY = "summary.json"
NAME = "tracks"
"""Stem of the files of a result."""
_TELL_SECONDS = 1.0
_LOCK_SECONDS = 60.0
_NICER = 5
_LINE = 1 << 16


@dataclass(frozen=True)
class Task:
    """What a process needs to know.

    Attributes:
        folder: Of the job.
        work: Name of the folder inside it that the result is made in.
        model: Path of the bundle.
        preset: As the zoo gives it.
        name: What the client calls the video.
        source: Path of the video; where `url` is given, where it is to be kept.
        url: Address to fetch it from first, with whether it may be a private one.
        limit: Most bytes to be fetched.
        fetch_seconds: Time for that.
        settings: Section → key → value.
        video: Whether a video is wanted.
        max_pixels: Most pixels of a frame.
    """

    folder: str
    work: str
    model: str
    preset: str | None
    name: str
    source: str
    url: tuple[str, bool] | None
    limit: int
    fetch_seconds: float
    settings: dict[str, dict[str, Any]]
    video: bool
    max_pixels: int


def main() -> int:
    """Do the task that comes in on stdin."""
    channel = os.dup(1)
    os.dup2(2, 1)  # what others print is not for the server
    task = Task(**json.loads(_first_line()))
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    _step_back()

    def tell(kind: str, **values: object) -> None:
        os.write(channel, json.dumps({"kind": kind, **values}).encode() + b"\n")

    folder = Path(task.folder)
    with ProcessLock(folder / LOCK) as lock:
        try:
            if not lock.take(_LOCK_SECONDS):
                tell("busy")
                return 1
            _work(task, folder, tell)
        except MemoryError:
            tell("failed", reason="there is not enough memory for this video")
        except MotrailError as error:
            tell("failed", reason=_without_paths(_reason(error), task))
        except Exception:  # noqa: BLE001  (the server logs it)
            tell("bug", trace=traceback.format_exc())
        else:
            tell("done")
    return 0


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, _LINE)
        if not piece:
            os._exit(1)
        line += piece
    return line


def _end_with_the_server() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, _LINE):
            pass
    os._exit(1)


def _step_back() -> None:
    """Let the server's own frames go first, and have the system end this before the server."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICER)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _work(task: Task, folder: Path, tell: Tell) -> None:
    clear(folder, (LOCK, SOURCE, RESULT))  # what an attempt before left behind
    source = Path(task.source)
    if task.url is not None and not source.exists():
        _fetch(*task.url, task, source)
    output = folder / task.work
    _track(task, source, output, tell)
    with writing(output):
        settle(output)


def _fetch(address: str, inward: bool, task: Task, path: Path) -> None:
    from motrail.outputs import WholeFile
    from motrail.serve.jobs.addresses import Permit, parse_url
    from motrail.serve.jobs.outbound import fetch

    permit = Permit(parse_url(address), inward)
    with WholeFile(path) as whole:
        fetch(permit, whole.temporary, limit=task.limit, seconds=task.fetch_seconds)


def _track(task: Task, path: Path, output: Path, tell: Tell) -> None:
    from motrail.config import Layer, resolve
    from motrail.detect.bundle import read_bundle
    from motrail.detect.detector import open_detector
    from motrail.pipeline import detect
    from motrail.tracking import Found, track_found
    from motrail.video.read import open_source

    settings = resolve([Layer("job", task.settings)]).settings
    clip = settings.video
    source = open_source(path, start=clip.start, end=clip.end, stride=clip.stride)
    source.name = NAME
    if source.width * source.height > task.max_pixels:
        raise VideoError(
            f"expected at most {task.max_pixels} pixels a frame, found "
            f"{source.width}×{source.height}"
        )
    detector = open_detector(read_bundle(Path(task.model)), settings.detector, task.preset)  # type: ignore[arg-type]
    tell("begin")
    numbers: list[int] = []
    found = Found(
        source, _noted(detect(source, detector), numbers), detector.class_names, detector.device
    )
    twice = task.video and settings.refine.active
    progress = _Progress(source.expected_frames, tell, twice=twice)
    summary = track_found(found, settings, output, video=task.video, progress=progress)
    _write_summary(output / SUMMARY, task, settings, summary, detector.class_names, numbers)


def _noted(
    found: Generator[tuple[Frame, Detections]], numbers: list[int]
) -> Generator[tuple[Frame, Detections]]:
    with contextlib.closing(found):
        for frame, detections in found:
            numbers.append(frame.number)
            yield frame, detections


class _Progress:
    """Says how far it is, at most once a second."""

    def __init__(self, total: int | None, tell: Tell, *, twice: bool) -> None:
        self._total, self._tell, self._twice = total, tell, twice
        self._start = self._told = time.monotonic()

    def __call__(self, summary: Summary) -> None:
        now = time.monotonic()
        if now - self._told < _TELL_SECONDS:
            return
        self._told = now
        total = summary.frames if summary.drawn else self._total
        left = None
        if total:
            done = (summary.frames + summary.drawn) / (total * (1 + self._twice))
            left = max((now - self._start) * (1 / done - 1), 0.0)
        self._tell("progress", frames=summary.frames, total=total, seconds_left=left)


def _write_summary(
    path: Path,
    task: Task,
    settings: Settings,
    summary: Summary,
    classes: tuple[str, ...],
    numbers: list[int],
) -> None:
    stride = settings.video.stride
    missing: list[int] = []
    if numbers:
        missing = sorted(set(range(numbers[0], numbers[-1] + 1, stride)) - set(numbers))
    content = {
        "name": task.name,
        "width": summary.width,
        "height": summary.height,
        "frame_rate": summary.frame_rate,
        "frames": summary.frames,
        "tracks": summary.tracks,
        "classes": list(classes),
        "truncated": _without_paths(summary.truncated, task) if summary.truncated else None,
        "numbers": {
            "first": numbers[0] if numbers else 1,
            "last": numbers[-1] if numbers else 0,
            "stride": stride,
            "missing": missing,
        },
        "seconds": summary.seconds,
        "device": summary.device,
        "settings": {
            section: dataclasses.asdict(getattr(settings, section)) for section in task.settings
        },
    }
    with writing(path):
        path.write_text(json.dumps(content), encoding="utf-8")


def _reason(error: MotrailError) -> str:
    if isinstance(error, OutputError) and isinstance(error.__cause__, OSError):
        return f"the result cannot be kept: {error.__cause__.strerror}"
    return str(error)


def _without_paths(text: str, task: Task) -> str:
    """The text with names in place of paths of this machine, which are nobody's business."""
    places = [(task.source, task.name), (task.folder, "the job"), (task.model, "the model")]
    labels = task.settings.get("detector", {}).get("labels")
    if labels:
        places.append((str(labels), "the labels"))
    for place, name in places:
        text = text.replace(place, name)
    return text


if __name__ == "__main__":
    sys.exit(main())
