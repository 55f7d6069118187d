"""The boxes of a track file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from motrail.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MAX_PIXELS = 1e6


class Rows(NamedTuple):
    """The boxes of a track file, sorted by id and frame.

    Attributes:
        ids: int64, shape (n,).
        frames: From 1, int64, shape (n,).
        class_ids: Line of `labels.txt`, from 1, int64, shape (n,).
        boxes_xywh: In pixels, float64, shape (n, 4).
    """

    ids: NDArray[np.int64]
    frames: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]

    def pick(self, rows: slice | NDArray[np.bool_] | NDArray[np.integer]) -> Rows:
        """Pick rows by a slice, a mask or an array of indices."""
        return Rows(self.ids[rows], self.frames[rows], self.class_ids[rows], self.boxes_xywh[rows])


def read_track_rows(path: Path) -> Rows:
    """Read a track file.

    Raises:
        FormatError: It cannot be read, a line is no row, a frame is below 1, a box has no size, or
            an id stands twice in one frame.
    """
    from motrail.formats.labels import MAX_FRAMES
    from motrail.formats.mot.rows import read_rows

    def refuse(fault: Any) -> None:
        raise fault.error()

    if path.is_dir():
        raise FormatError(path, "expected a track file, found a folder; give one of its files")
    given = read_rows(path, refuse)
    faults = (
        ((given.frames < 1) | (given.frames > MAX_FRAMES), f"a frame from 1 to {MAX_FRAMES:,}"),
        (~np.isfinite(given.boxes_xywh).all(axis=1), "finite numbers"),
        ((given.boxes_xywh[:, 2:] <= 0).any(axis=1), "a width and height above 0"),
        ((np.abs(given.boxes_xywh) > _MAX_PIXELS).any(axis=1), "pixels up to a million"),
    )
    for bad, expected in faults:
        if bad.any():
            row = int(np.argmax(bad))
            found = f"frame {given.frames[row]}, box {given.boxes_xywh[row].tolist()}"
            raise FormatError(
                path, f"expected {expected}, found {found}", line=int(given.lines[row])
            )
    order = np.lexsort((given.frames, given.ids))
    rows = Rows(given.ids, given.frames, given.classes, given.boxes_xywh).pick(order)
    twice = (rows.ids[1:] == rows.ids[:-1]) & (rows.frames[1:] == rows.frames[:-1])
    if twice.any():
        at = int(np.argmax(twice)) + 1
        raise FormatError(
            path,
            f"expected each id once in a frame, found {rows.ids[at]} twice in frame "
            f"{rows.frames[at]}",
            line=int(given.lines[order[at]]),
        )
    return rows
