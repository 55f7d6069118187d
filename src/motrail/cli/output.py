"""What the commands of the group share: parameters, and how results are shown."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from motrail.formats.labels import ReadOptions

Output = Annotated[Path, Parameter(name=("--output", "-o"))]
AsJson = Annotated[bool, Parameter(name="--json", negative="")]
_SIDE = 100_000


def parse_size(text: str | None, flag: str = "--size") -> tuple[int, int] | None:
    """Width and height from `1920x1080`.

    Raises:
        ConfigError: It is something else.
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×,]\s*([0-9]{1,6})\s*", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < size[0] <= _SIDE and 0 < size[1] <= _SIDE):
        raise ConfigError(
            f"{flag}: expected WIDTHxHEIGHT in pixels as in 1920x1080, found {text!r}"
        )
    return size


def read_options(
    size: str | None = None,
    frame_rate: float | None = None,
    mirror: Path | None = None,
    label_attribute: str | None = None,
) -> ReadOptions:
    """What a source may not say itself.

    Raises:
        ConfigError: A value makes no sense.
    """
    from motrail.formats.labels import MAX_RATE, MIN_RATE, ReadOptions

    if frame_rate is not None and not MIN_RATE <= frame_rate <= MAX_RATE:
        raise ConfigError(
            f"--frame-rate: expected {MIN_RATE} to {MAX_RATE:g} frames a second, found {frame_rate}"
        )
    if mirror is not None and not mirror.is_dir():
        raise ConfigError(f"--mirror {mirror}: expected a folder with copies of the bucket's files")
    return ReadOptions(
        size=parse_size(size),
        frame_rate=frame_rate,
        mirror=mirror,
        label_attribute=label_attribute,
    )


def print_json(document: object) -> None:
    """One JSON document to stdout."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_rows(rows: Iterable[tuple[str, Any]]) -> None:
    """Names and what stands behind them, in two columns."""
    lines = list(rows)
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print(f"{name:>{width}}  {value}")


def print_notes(notes: Mapping[str, int]) -> None:
    """What could not be carried or had to change, to stderr."""
    for note, count in notes.items():
        times = f" ({count} times)" if count > 1 else ""
        print(f"note: {note}{times}", file=sys.stderr)


def table(rows: Sequence[tuple[Any, ...]]) -> str:
    """Rows in aligned columns; the first is the heading, numbers stand right."""
    cells = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(map(_is_number, column[1:])) for column in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    )


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-–\d.,%]*", cell) is not None
