"""The manifest of a Ground Truth job: a line of JSON for each sequence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from motrail.formats.ground_truth.files import (
    Metadata,
    UnusableError,
    attempt,
    decode,
    is_there,
    read_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from motrail.formats.faults import Found

MAX_SEQUENCES = 1000
"""Lines of a manifest that are read; AWS takes 10."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a manifest.

    Attributes:
        line: Counted from 1.
        attribute: The label attribute's name, which ends in `-ref`.
        labels: Reference of the labels.
        sequence: Reference of the sequence file, if the line has one.
        class_map: Labels by class id, if the metadata has them.
    """

    line: int
    attribute: str
    labels: str
    sequence: str | None
    class_map: Mapping[str, str] | None


def find_manifest(path: Path) -> Path:
    """The manifest or `SeqLabel.json` that a path means."""
    if not is_there(path, folder=True):
        return path
    in_job = Path("manifests", "output", "output.manifest")
    for name in (Path("output.manifest"), in_job):
        if is_there(path / name):
            return path / name
    for pattern in ("*.manifest", str(Path("*", in_job)), "SeqLabel.json"):
        several = sorted(path.glob(pattern))
        if len(several) == 1:
            return several[0]
        if several:
            names = ", ".join(str(one.relative_to(path)) for one in several[:10])
            text = f"expected one manifest in the folder, found several: {names}; name the one"
            raise UnusableError("file", path, text)
    text = "expected a Ground Truth job: output.manifest, manifests/output/output.manifest or "
    raise UnusableError("file", path, f"{text}SeqLabel.json, found none")


def read_manifest(path: Path, wanted: str | None, found: Found) -> list[Entry]:
    """The lines of a manifest.

    Args:
        path: The manifest.
        wanted: The label attribute to read, with or without `-ref`; the newest if None.
        found: Told of each line at fault, which is left out.

    Raises:
        UnusableError: The manifest cannot be read or is empty.
    """
    lines = [
        (number, line)
        for number, line in enumerate(read_file(path, 2**24).split(b"\n"), start=1)
        if line.strip()
    ]
    if not lines:
        raise UnusableError("layout", path, "expected a line for each sequence, found none")
    if len(lines) > MAX_SEQUENCES:
        text = f"expected at most {MAX_SEQUENCES} sequences, found {len(lines)} lines"
        raise UnusableError("layout", path, text)

    def read_line(number: int, line: bytes) -> Callable[[], Entry]:
        return lambda: _read_line(path, number, line, wanted)

    entries = (attempt(found, read_line(number, line)) for number, line in lines)
    return [entry for entry in entries if entry is not None]


def _read_line(path: Path, number: int, line: bytes, wanted: str | None) -> Entry:
    cells = decode(line, dict[str, msgspec.Raw], path, number)
    attribute, metadata = _label_attribute(path, number, cells, wanted)
    if metadata.failure_reason is not None:
        text = f"expected labels in {attribute!r}, found that the job failed on this sequence"
        raise UnusableError("job", path, f"{text}: {metadata.failure_reason[:500]}", number)
    if attribute not in cells:
        text = f"expected {attribute!r} beside its metadata, found none"
        raise UnusableError("layout", path, text, number)
    sequence = cells.get("source-ref")
    return Entry(
        number,
        attribute,
        decode(cells[attribute], str, path, number),
        None if sequence is None else decode(sequence, str, path, number),
        metadata.class_map,
    )


def _label_attribute(
    path: Path, number: int, cells: Mapping[str, msgspec.Raw], wanted: str | None
) -> tuple[str, Metadata]:
    """The label attribute to read, with its metadata."""
    suffix = "-metadata"
    choices = {
        key.removesuffix(suffix): decode(cells[key], Metadata, path, number)
        for key in cells
        if key.endswith(f"-ref{suffix}") and key != f"source-ref{suffix}"
    }
    if not choices:
        names = ", ".join(key[:80] for key in list(cells)[:10]) or "nothing"
        text = "expected a label attribute such as job-ref with job-ref-metadata beside it, found"
        raise UnusableError("layout", path, f"{text} {names}", number)
    names = ", ".join(list(choices)[:10])
    if wanted is not None:
        name = wanted if wanted in choices else f"{wanted}-ref"
        if name not in choices:
            text = f"expected the label attribute {wanted!r}, found {names}"
            raise UnusableError("layout", path, text, number)
        return name, choices[name]
    kind = "groundtruth/video-object-tracking"
    tracking = {name: one for name, one in choices.items() if one.type in (None, kind)}
    if not tracking:
        kinds = ", ".join(sorted({str(one.type)[:80] for one in choices.values()}))
        text = f"expected labels of type {kind} in {names}, found {kinds}"
        raise UnusableError("layout", path, text, number)
    order = list(tracking)
    name = max(order, key=lambda one: (_date(tracking[one].creation_date), order.index(one)))
    return name, tracking[name]


def _date(text: str | None) -> datetime:
    """When labels were made; long ago where nobody says it."""
    try:
        date = datetime.fromisoformat(text or "")
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)
