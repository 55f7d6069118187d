"""The files of a SageMaker Ground Truth job: found by their references, read and decoded.

Layouts as AWS documents them in the SageMaker developer guide, under "Video frame object tracking
output", "Create a video frame sequence file" and "Output directories".
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING, TypeVar

import msgspec

from motrail.formats.faults import Fault

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from motrail.formats.faults import Found, Place

T = TypeVar("T")

MAX_BYTES = 2**27
"""Size of a JSON file that is read: some 600,000 boxes with all that Ground Truth says of each, or
300 in each of 2,000 frames, the most that a job takes. More would not fit into 1 GB of memory."""

MAX_OBJECTS = 1_250_000
"""JSON objects in such a file, for the same reason; a box with its attributes is two."""

MAX_SEQUENCE_BYTES = 2**24
"""Size of a sequence file that is read: some 200,000 frames."""

MAX_NAME = 1024
"""Characters in the name of an image."""

_NOTHING = msgspec.Raw(b"{}")


class UnusableError(Exception):
    """A file or a line is at fault as a whole; only used between the modules of this format."""

    def __init__(
        self, kind: str, path: str | os.PathLike[str], message: str, place: Place = None
    ) -> None:
        super().__init__(message)
        self.fault = Fault(kind, path, message, place)


def attempt(found: Found, work: Callable[[], T]) -> T | None:
    """What `work` returns; None, after `found` was told, where it meets something unusable."""
    try:
        return work()
    except UnusableError as error:
        fault = error.fault
    found(fault)
    return None


class Annotation(msgspec.Struct, rename="kebab", gc=False):
    """A box of `SeqLabel.json`, in pixels."""

    left: float
    top: float
    width: float
    height: float
    class_id: str | int | None = None
    object_id: str | int | None = None
    object_name: str | None = None
    label: str | None = None
    label_category_attributes: msgspec.Raw = _NOTHING


class Frame(msgspec.Struct, rename="kebab"):
    """A frame of `SeqLabel.json`; its `frame-no` says nothing reliable and is left unread."""

    frame: str
    annotations: list[Annotation] | None = None
    frame_attributes: msgspec.Raw = _NOTHING


class SeqLabel(msgspec.Struct, rename="kebab"):
    """The labels of a sequence, consolidated."""

    tracking_annotations: list[Frame]


class SequenceFrame(msgspec.Struct, rename="kebab", gc=False):
    """A frame of a sequence file."""

    frame: str
    frame_no: str | int | float | None = None


class SequenceFile(msgspec.Struct, rename="kebab"):
    """What a manifest's `source-ref` names: which images a sequence consists of."""

    frames: list[SequenceFrame]
    prefix: str = ""


class SequencePrefix(msgspec.Struct):
    """A sequence file of which only the place of the images is wanted."""

    prefix: str = ""


class Metadata(msgspec.Struct, rename="kebab"):
    """What stands beside a label attribute in a manifest."""

    class_map: dict[str, str] | None = None
    creation_date: str | None = None
    type: str | None = None
    failure_reason: str | None = None


class WorkerBox(msgspec.Struct, rename="camel", gc=False):
    """A box as a worker's answer holds it, in pixels."""

    left: float
    top: float
    width: float
    height: float
    label: str | None = None
    object_id: str | int | None = None
    object_name: str | None = None
    label_category_attributes: msgspec.Raw = _NOTHING


class WorkerFrame(msgspec.Struct, rename="camel"):
    """A frame as a worker's answer holds it."""

    frame: str
    bounding_boxes: list[WorkerBox] = []
    frame_attributes: msgspec.Raw = _NOTHING


class WorkerContent(msgspec.Struct, rename="camel"):
    """The work in an answer."""

    tracking_annotations: WorkerFrame | None = None


class WorkerAnswer(msgspec.Struct, rename="camel"):
    """One of the answers to a task."""

    answer_content: WorkerContent | None = None


class WorkerResponse(msgspec.Struct, rename="camel"):
    """A worker's answer on one frame, plain or in a list of answers."""

    tracking_annotations: WorkerFrame | None = None
    answers: list[WorkerAnswer] = []


def is_there(path: Path, *, folder: bool = False) -> bool:
    """Whether a file (or a folder) is there; False for names that no file can have."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)


def size_of(path: Path) -> int:
    """Bytes in a file; 0 where there is none."""
    return path.stat().st_size if is_there(path) else 0


def read_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Raises:
        UnusableError: It cannot be read or is larger than `limit`, in bytes.
    """
    if not is_there(path):
        found = "a folder" if is_there(path, folder=True) else "none"
        raise UnusableError("file", path, f"cannot be read: expected a file, found {found}")
    try:
        if path.stat().st_size > limit:
            raise UnusableError("file", path, f"expected at most {limit // 2**20} MiB, found more")
        data = path.read_bytes()
    except OSError as error:
        raise UnusableError("file", path, f"cannot be read: {error.strerror}") from None
    return data.removeprefix(b"\xef\xbb\xbf")


def read_json(path: Path, kind: type[T], limit: int = MAX_BYTES) -> T:
    """A JSON file as a struct.

    Raises:
        UnusableError: It cannot be read, is too large, not JSON, half-written or of another
            layout.
    """
    data = read_file(path, limit)
    if data.count(b"{") > MAX_OBJECTS:
        raise UnusableError(
            "file", path, f"expected at most {MAX_OBJECTS:,} JSON objects, found more"
        )
    return decode(data, kind, path)


def decode(data: bytes | msgspec.Raw, kind: type[T], path: Path, place: Place = None) -> T:
    """JSON as a struct.

    Args:
        data: The JSON text.
        kind: What it should be.
        path: The file it comes from.
        place: Where it stands there, when it is not the whole file.

    Raises:
        UnusableError: It is not JSON, half-written or of another layout.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        text, where = _explain(str(error))
        if place is not None:
            text = f"{where}: {text}" if where else text
        raise UnusableError("layout", path, text, where if place is None else place) from None
    except msgspec.DecodeError as error:
        if "truncated" in str(error):
            text = "half-written: the JSON ends too early; copy the file again"
        else:
            text = str(error).removeprefix("JSON is malformed: ")
            text = f"expected JSON, found an error: {text}"
    except UnicodeDecodeError:
        text = "expected UTF-8 text, found other bytes"
    except RecursionError:
        text = "expected the layout of Ground Truth, found JSON nested too deeply"
    raise UnusableError("json", path, text, place)


def _explain(text: str) -> tuple[str, str | None]:
    """Split msgspec's message into what is wrong and the JSON path."""
    match = re.fullmatch(r"(.*?) - at `(?:key in )?\$\.?(.*)`", text, re.DOTALL)
    what, where = match.groups() if match else (text, None)
    what = what.replace(", got ", ", found ").replace("`", "")
    for name, plain in _PLAIN.items():
        what = re.sub(rf"\b{name}\b", plain, what)
    return what[:1].lower() + what[1:], where or None


_PLAIN = {
    "float": "number",
    "int": "whole number",
    "str": "text",
    "bool": "true or false",
    "array": "list",
    "Object missing": "missing",
}


class References:
    """Finds the files that a manifest names.

    `s3://BUCKET/KEY` is looked up in the mirror as `BUCKET/KEY`, `KEY`, then as ever shorter ends
    of the key of at least two parts; without a mirror, in the job's own folder in the same way.
    Anything else is relative to the job's folder or the manifest's.

    Args:
        manifest: The manifest. When it lies in `manifests/output`, the job's folder is the one
            above those; else the manifest's own.
        mirror: Folder with copies of what `s3://` references name.
    """

    def __init__(self, manifest: Path, mirror: Path | None = None) -> None:
        self.manifest = manifest
        self.mirror = mirror
        folder = manifest.absolute().parent
        in_job = folder.name == "output" and folder.parent.name == "manifests"
        self.job = folder.parent.parent if in_job else manifest.parent
        self._relative_to = (self.job, manifest.parent) if in_job else (self.job,)

    def find(self, reference: str, place: Place, *, folder: bool = False) -> Path | None:
        """Where the file (or folder) lies; None when it is nowhere.

        Raises:
            UnusableError: The reference leads out of the folder it is relative to, or is none.
        """
        for path in self._candidates(reference, place):
            if is_there(path, folder=folder):
                return path
        return None

    def missing(self, reference: str, place: Place, what: str) -> UnusableError:
        """The error for a reference that `find` did not find."""
        if not reference.startswith("s3://"):
            text = f"expected {what} {reference!r} in {self.job}, found none"
        elif self.mirror is None:
            text = (
                f"expected {what} {reference}, found no copy of it in {self.job}; copy the "
                "bucket's folder (aws s3 cp --recursive) and name the copy with --mirror DIR"
            )
        else:
            text = (
                f"expected {what} {reference}, found no copy of it in {self.mirror}; it belongs "
                f"at {self.mirror / reference.removeprefix('s3://')}"
            )
        return UnusableError("reference", self.manifest, text, place)

    def _candidates(self, reference: str, place: Place) -> Iterator[Path]:
        in_bucket = reference.startswith("s3://")
        text = reference.removeprefix("s3://")
        if len(reference) > 4096 or "://" in text:
            raise UnusableError(
                "reference",
                self.manifest,
                f"expected s3://BUCKET/KEY or a relative path, found {reference[:80]!r}",
                place,
            )
        parts = inner_parts(text)
        if parts is None:
            raise UnusableError(
                "reference",
                self.manifest,
                f"expected a path inside its folder, found {reference[:200]!r}",
                place,
            )
        if not in_bucket:
            for root in self._relative_to:
                yield root.joinpath(*parts)
            return
        root = self.mirror or self.job
        # A key of one part is an end of its own; longer ones keep at least two.
        ends = 2 if len(parts) == 2 else max(len(parts) - 1, 1)
        for start in range(ends):
            yield root.joinpath(*parts[start:])


def inner_parts(text: str) -> list[str] | None:
    """The parts of a relative path; None when it could lead out of its folder."""
    if text.startswith("/") or "\\" in text or "\0" in text or re.match(r"[A-Za-z]:", text):
        return None
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return None if ".." in parts else parts
