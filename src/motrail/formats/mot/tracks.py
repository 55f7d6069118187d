"""Track files: one line per object and frame, as in the MOT challenge.

Nine columns, separated by commas: frame (from 1), id, left, top, width, height (pixels), score,
class (line of the `labels.txt` beside it, from 1), visibility (0 to 1, -1 when unknown). Readers
also take the ten columns of other people's results, which end in -1, -1, -1.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import ConfigError, FormatError
from motrail.outputs import WholeFile, WholeOutput, WholeText, writing

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.types import Tracks


_LARGEST = 2**53
"""Whole numbers up to here are exact in the files of other programs, too."""


class TrackRows(NamedTuple):
    """The rows of a track file, in the order of the file.

    Attributes:
        frames: Frame numbers from 1, int64, shape (n,).
        ids: Identities, int64, shape (n,).
        boxes_xywh: Left, top, width, height in pixels, float64, shape (n, 4).
        scores: float64, shape (n,).
        classes: Line of `labels.txt` from 1, int64, shape (n,); -1 when not given.
        visibility: 0 to 1, float64, shape (n,); -1 when unknown.
    """

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]
    visibility: NDArray[np.float64]


class TrackFileWriter(WholeText):
    """Writes a track file; it takes its name when the writing ends without an error.

    Boxes have 2 decimals, scores 4.

    Args:
        path: The file.

    Raises:
        OutputError: It cannot be written.
    """

    def write(self, frame: int, tracks: Tracks) -> None:
        """Add the tracks of a frame; frames come in order.

        Raises:
            OutputError: The disk is full.
        """
        rows = zip(
            tracks.ids.tolist(),
            tracks.boxes_xyxy.tolist(),
            tracks.scores.tolist(),
            tracks.class_ids.tolist(),
            strict=True,
        )
        text = "".join(
            f"{frame},{id_},{left:.2f},{top:.2f},"
            f"{max(right - left, 0.01):.2f},{max(bottom - top, 0.01):.2f},"
            f"{score:.4f},{class_id + 1},-1\n"
            for id_, (left, top, right, bottom), score, class_id in rows
        )
        self.add(text)

    def write_rows(self, rows: TrackRows) -> None:
        """Add rows as `read_tracks` gives them, with the class and visibility that they have.

        Raises:
            OutputError: The disk is full.
        """
        lines = zip(
            rows.frames.tolist(),
            rows.ids.tolist(),
            rows.boxes_xywh.tolist(),
            rows.scores.tolist(),
            rows.classes.tolist(),
            rows.visibility.tolist(),
            strict=True,
        )
        with writing(self.path):
            self._file.writelines(
                f"{frame},{id_},{left:.2f},{top:.2f},{max(width, 0.01):.2f},"
                f"{max(height, 0.01):.2f},{score:.4f},{class_},{visibility:.12g}\n"
                for frame, id_, (left, top, width, height), score, class_, visibility in lines
            )


def read_tracks(path: str | os.PathLike[str]) -> TrackRows:
    """Read a track file of 9 columns, or of MOT's 10 columns with -1 at the end.

    Raises:
        FormatError: It cannot be read; a line has another number of columns, something that is no
            number, a frame below 1 or a box without size.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, f"cannot be read: {error}") from error
    rows = [
        _read_row(path, number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    table = np.array(rows, np.float64).reshape(-1, 9)
    return TrackRows(
        frames=table[:, 0].astype(np.int64),
        ids=table[:, 1].astype(np.int64),
        boxes_xywh=table[:, 2:6],
        scores=table[:, 6],
        classes=table[:, 7].astype(np.int64),
        visibility=table[:, 8],
    )


def _read_row(path: str | os.PathLike[str], number: int, line: str) -> list[float]:
    cells = line.split(",")
    if len(cells) not in (9, 10):
        raise FormatError(path, f"expected 9 or 10 columns, found {len(cells)}", line=number)
    try:
        row = [float(cell) for cell in cells]
    except ValueError as error:
        raise FormatError(path, f"expected numbers: {error}", line=number) from None
    if not all(map(math.isfinite, row)):
        raise FormatError(path, f"expected finite numbers, found {line.strip()!r}", line=number)
    whole = row[0] == int(row[0]) and row[1] == int(row[1])
    if not (whole and 1 <= row[0] <= _LARGEST and abs(row[1]) <= _LARGEST):
        raise FormatError(
            path, f"expected a frame from 1 and an id, found {cells[0]}, {cells[1]}", line=number
        )
    if row[4] <= 0 or row[5] <= 0:
        raise FormatError(
            path, f"expected a width and height above 0, found {cells[4]}, {cells[5]}", line=number
        )
    return row[:9]


class LabelsFile(WholeOutput):
    """The `labels.txt` of a folder: the names of the classes, one a line.

    One with the same names stays as it is.

    Args:
        folder: Where it belongs.
        names: The names in the order of the class ids.

    Raises:
        ConfigError: The folder has a `labels.txt` with other names, which the track files there
            rely on.
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        check_labels(folder, names)
        self._whole = WholeFile(folder / "labels.txt")
        self.path = self._whole.path
        self._new = not self.path.exists()
        if self._new:
            try:
                with writing(self.path):
                    text = "".join(f"{name}\n" for name in names)
                    self._whole.temporary.write_text(text, encoding="utf-8", newline="\n")
            except BaseException:
                self.discard()
                raise

    def finish(self) -> None:
        """Nothing is left to be written."""

    def commit(self) -> None:
        """Give the file its name."""
        if self._new:
            self._whole.commit()

    def discard(self) -> None:
        """Leave nothing new behind."""
        self._whole.discard()


def check_labels(folder: Path, names: Sequence[str]) -> None:
    """See that results with these class names can stand in the folder.

    Raises:
        ConfigError: Its `labels.txt` names other classes.
    """
    path = folder / "labels.txt"
    if not path.exists():
        return
    try:
        there = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        there = []
    if there != list(names):
        raise ConfigError(
            f"{path}: names other classes than this model; the results there rely on it, "
            "so choose another folder with -o"
        )
