"""Rows of comma-separated numbers as MOT files have them, read fast and checked line by line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from motrail.formats.faults import Fault
from motrail.formats.mot.numbers import parse_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.faults import Found

MAX_BYTES = 1 << 28
"""Larger files are refused: 256 MiB hold some six million rows of one sequence."""
_BLOCK = 1 << 18
_COLUMNS = 10
_FEWEST = 6
_USUAL = (1.0, 1.0, -1.0, -1.0)
"""Active, class, visibility and nothing, where a line ends before them."""


class Rows(NamedTuple):
    """Rows of a MOT file.

    Attributes:
        frames: int64, shape (n,).
        ids: int64, shape (n,).
        boxes_xywh: float64, shape (n, 4).
        active: Seventh column: 0 or 1 in truth, a score in results; float64, shape (n,).
        classes: From 1, int64, shape (n,).
        visibility: float64, shape (n,); -1 when unknown.
        lines: Line in the file, from 1, int64, shape (n,).
        columns: The most columns that a line has.
    """

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    active: NDArray[np.float64]
    classes: NDArray[np.int64]
    visibility: NDArray[np.float64]
    lines: NDArray[np.int64]
    columns: int

    @classmethod
    def none(cls) -> Rows:
        """No rows."""
        return _rows(np.empty((0, _COLUMNS)), np.empty(0, np.int64), 9)

    def pick(self, rows: NDArray[np.bool_]) -> Rows:
        """Pick rows by a mask."""
        return Rows(
            self.frames[rows],
            self.ids[rows],
            self.boxes_xywh[rows],
            self.active[rows],
            self.classes[rows],
            self.visibility[rows],
            self.lines[rows],
            self.columns,
        )


def read_rows(path: Path, found: Found) -> Rows:
    """Read a file of rows; what is no row is a fault, and left out.

    Args:
        path: A text file with 6 to 10 columns; lines that begin with `#` are comments.
        found: Told of each fault.
    """
    tables, lines, columns = [], [], _FEWEST
    try:
        for first, block in _blocks(path, found):
            table, numbers = _read_block(path, block, first, found)
            columns = max(columns, _complete(table))
            tables.append(table)
            lines.append(numbers)
    except OSError as error:
        found(Fault("file", path, f"cannot be read: {error.strerror or error}"))
    table = np.concatenate([np.empty((0, _COLUMNS)), *tables])
    return _rows(table, np.concatenate([np.empty(0, np.int64), *lines]), columns)


def _complete(table: NDArray[np.float64]) -> int:
    """Put the usual where a line ended early, which is marked; the most columns a line has."""
    most = _FEWEST
    for column, usual in enumerate(_USUAL, start=_FEWEST):
        missing = np.isnan(table[:, column])
        if not missing.all():
            most = column + 1
        table[missing, column] = usual
    return most


def _rows(table: NDArray[np.float64], lines: NDArray[np.int64], columns: int) -> Rows:
    classes = np.where(table[:, 7] == -1, 1, table[:, 7])
    return Rows(
        frames=table[:, 0].astype(np.int64),
        ids=table[:, 1].astype(np.int64),
        boxes_xywh=table[:, 2:6].copy(),
        active=table[:, 6].copy(),
        classes=classes.astype(np.int64),
        visibility=table[:, 8].copy(),
        lines=lines,
        columns=columns,
    )


def _blocks(path: Path, found: Found) -> Iterator[tuple[int, bytes]]:
    """Pieces of the file that end with a line, each with the number of its first line."""
    if path.stat().st_size > MAX_BYTES:
        message = f"expected at most {MAX_BYTES:,} bytes for a sequence; split it into clips"
        found(Fault("file", path, message))
        return
    first, rest = 1, b""
    with path.open("rb") as file:
        while data := file.read(_BLOCK):
            if first == 1 and not rest:
                data = data.removeprefix(b"\xef\xbb\xbf")
            head, newline, tail = data.rpartition(b"\n")
            if newline:
                block = rest + head
                yield first, block
                first += block.count(b"\n") + 1
                rest = tail
            else:
                rest += data
    if rest:
        yield first, rest


def _read_block(
    path: Path, block: bytes, first: int, found: Found
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    numbers = parse_table(block)
    if numbers is None:
        numbers = _parse_json(block)
    if numbers is not None and _FEWEST <= numbers.shape[1] <= _COLUMNS:
        table = np.full((len(numbers), _COLUMNS), np.nan)
        table[:, : numbers.shape[1]] = numbers
        if not _faulty(table).any():
            return table, np.arange(first, first + len(table))
    return _read_lines(path, block, first, found)


def _parse_json(block: bytes) -> NDArray[np.float64] | None:
    """Numbers in any notation, if every line has as many of them."""
    columns = _uniform_columns(block)
    if not columns or b"#" in block:
        return None
    try:
        text = b"[" + block.replace(b"\n", b",") + b"]"
        return np.array(msgspec.json.decode(text, type=list[float])).reshape(-1, columns)
    except (msgspec.DecodeError, ValueError):
        return None  # line by line it is found which one is at fault


def _uniform_columns(block: bytes) -> int:
    """Number of columns if every line has as many, else 0."""
    characters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    commas = np.flatnonzero(characters == ord(","))
    until = np.searchsorted(commas, np.append(ends, len(characters)))
    counts = np.diff(until, prepend=0)
    return int(counts[0]) + 1 if (counts == counts[0]).all() else 0


def _faulty(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows whose frame, id or class is no whole number of a usual size."""
    bad = np.zeros(len(table), np.bool_)
    for column in (0, 1, 7):
        values = table[:, column]
        bad |= (values != np.trunc(values)) & ~np.isnan(values)
        bad |= np.abs(values) > 2**53
    return bad


def _read_lines(
    path: Path, block: bytes, first: int, found: Found
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rows, lines = [], []
    for number, line in enumerate(block.split(b"\n"), start=first):
        text = line.decode("utf-8", errors="replace").strip()
        if not text or text.startswith("#"):
            continue
        row = _read_line(text)
        if isinstance(row, str):
            found(Fault("layout", path, row, number))
            continue
        rows.append(row + [math.nan] * (_COLUMNS - len(row)))
        lines.append(number)
    return np.array(rows, np.float64).reshape(-1, _COLUMNS), np.array(lines, np.int64)


def _read_line(text: str) -> list[float] | str:
    """The numbers of a line, or what is wrong with it."""
    cells = text.rstrip(",").split(",") if "," in text else text.split()
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    if not _FEWEST <= len(cells) <= _COLUMNS:
        return (
            f"expected {_FEWEST} to {_COLUMNS} numbers separated by commas, "
            f"found {len(cells)}: {shown!r}"
        )
    try:
        row = [float(cell) for cell in cells]
    except ValueError:
        return f"expected numbers separated by commas, found {shown!r}"
    for name, index in (("a frame number", 0), ("an id", 1), ("a class", 7)):
        value = row[index] if index < len(row) else 1.0
        if not math.isfinite(value) or value != int(value) or abs(value) > 2**53:
            return f"expected {name} as a whole number, found {cells[index].strip()!r}"
    if any(map(math.isnan, row)):
        return f"expected numbers, found {shown!r}"
    return row
