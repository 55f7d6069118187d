"""The manifest: what became of each video of an archive."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "batch.json"
State = Literal["waiting", "detected", "done", "partly", "failed"]
_OF_THIS_RUN = ("kept", "chunks_now")
_COUNTS = ("frames", "tracks", "boxes", "broken_frames")
_PAUSE, _SHARE = 2.0, 20  # seconds between two writings; and how many times longer than one takes


@dataclass
class Outcome:
    """What became of a video.

    Attributes:
        name: Of its results.
        path: Where it is.
        state: `done`; `partly`, if the file ends early; `failed`; `detected`, if its tracks are
            still to come; `waiting`, if detections are still missing.
        reason: Why it is not done.
        frames: Looked at.
        tracks: Given out.
        boxes: Of all tracks.
        broken_frames: That could not be decoded, or only in part.
        chunks: It is cut into.
        chunks_missing: Not detected yet.
        chunks_now: Detected in this run.
        kept: Whether the result was there already.
        stamp: What the result hangs on.
        files: What was written, relative to the output folder.
    """

    name: str
    path: str
    state: State = "waiting"
    reason: str | None = None
    frames: int = 0
    tracks: int = 0
    boxes: int = 0
    broken_frames: int = 0
    chunks: int = 0
    chunks_missing: int = 0
    chunks_now: int = 0
    kept: bool = False
    stamp: str = ""
    files: dict[str, str] = field(default_factory=dict)


class Manifest:
    """The file, written now and then and at the end.

    What others wrote about other videos stays: several runs may fill one output folder.

    Args:
        folder: Where it stands.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MANIFEST
        self._due = 0.0

    def read(self) -> dict[str, Outcome]:
        """What is known, by name; what cannot be understood is not known, and done anew."""
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))["videos"]
            found = [_outcome(row) for row in rows]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}
        return {outcome.name: outcome for outcome in found if outcome is not None}

    def note(self, outcomes: Mapping[str, Outcome]) -> None:
        """Write, unless that was done a moment ago: ten thousand videos have a long manifest.

        Raises:
            OutputError: It cannot be written.
        """
        if time.monotonic() >= self._due:
            self.write(outcomes)

    def write(self, outcomes: Mapping[str, Outcome]) -> None:
        """Write what is known of all videos.

        Raises:
            OutputError: It cannot be written.
        """
        start = time.monotonic()
        rows = [_row(outcome) for outcome in (self.read() | dict(outcomes)).values()]
        text = json.dumps({"videos": rows}, indent=1, ensure_ascii=False)
        with writing(self._path), WholeFile(self._path) as file:
            file.temporary.write_bytes((text + "\n").encode(errors="backslashreplace"))
        end = time.monotonic()
        self._due = end + max(_PAUSE, _SHARE * (end - start))


def _row(outcome: Outcome) -> dict[str, Any]:
    row = dataclasses.asdict(outcome)
    for name in _OF_THIS_RUN:
        del row[name]
    return row


def _outcome(row: dict[str, Any]) -> Outcome | None:
    """What a row says; None where something in it is of another kind than is written."""
    texts, counts = ("name", "path", "stamp"), ("chunks", "chunks_missing", *_COUNTS)
    files = row.get("files")
    if (
        all(isinstance(row.get(name), str) for name in texts)
        and all(type(row.get(name)) is int for name in counts)
        and row.get("state") in get_args(State)
        and isinstance(row.get("reason"), str | None)
        and isinstance(files, dict)
        and all(isinstance(file, str) for file in files.values())
    ):
        names = {field.name for field in dataclasses.fields(Outcome)} - set(_OF_THIS_RUN)
        return Outcome(**{name: row[name] for name in names})
    return None
