"""Names that Ground Truth gives and takes: of sequences and of classes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from motrail.formats.ground_truth.files import UnusableError, read_file
from motrail.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABELS_FILE = "labels.txt"
"""Where a job's folder keeps the full names of its classes, one a line."""

MAX_LABEL = 16
"""Characters in a label, by AWS's quotas for video frame labelling jobs."""

GENERIC_FOLDERS = ("frames", "img1", "images")


def short_names(names: Sequence[str]) -> list[str]:
    """Labels for classes: at most `MAX_LABEL` characters, no two the same.

    That of a name depends on the names before it, not on those after.
    """
    taken: dict[str, None] = {}
    last: Counter[str] = Counter()
    for name in names:
        cut = label = name[:MAX_LABEL].rstrip() or "unnamed"
        while label in taken:
            last[cut] += 1
            count = str(last[cut] + 1)
            label = f"{cut[: MAX_LABEL - 1 - len(count)]}~{count}"
        taken[label] = None
    return list(taken)


def full_names(path: Path, labels: Sequence[str]) -> tuple[str, ...]:
    """The names that were shortened to labels, of the `labels.txt` in a job's folder."""
    try:
        names = read_file(path, 2**20).decode().split("\n")[:-1]
    except (UnusableError, UnicodeDecodeError):
        return tuple(labels)
    fits = len(names) == len(labels) and short_names(names) == list(labels)
    return tuple(names if fits else labels)


def sequence_names(prefixes: Sequence[str], others: Sequence[str]) -> list[str]:
    """Names for the sequences of a manifest, fit for folders, no two the same.

    Args:
        prefixes: Where the images of each lie; its last folder is the name unless that says
            nothing, as `img1`.
        others: What to take where the folder has no name to give, or gives it to several.
    """
    names = [
        safe_name(_folder_of(prefix) or other)
        for prefix, other in zip(prefixes, others, strict=True)
    ]
    shared = Counter(name.casefold() for name in names)
    taken: set[str] = set()
    last: Counter[str] = Counter()
    for index, other in enumerate(others):
        name = safe_name(other) if shared[names[index].casefold()] > 1 else names[index]
        one = name
        while one.casefold() in taken:
            last[name] += 1
            one = f"{name[:90]}-{last[name] + 1}"
        taken.add(one.casefold())
        names[index] = one
    return names


def _folder_of(prefix: str) -> str | None:
    """The folder that names a sequence."""
    in_bucket = prefix.startswith("s3://")
    parts = [part for part in prefix.removeprefix("s3://").split("/") if part][in_bucket:]
    return next((part for part in parts[:-3:-1] if part.lower() not in GENERIC_FOLDERS), None)
