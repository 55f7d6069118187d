"""Files that say how a camera moved: `motrail camera` writes them, trackers take them.

A line a frame, seven numbers between blanks or commas: the frame, counted from 0, and a, b, tx, c,
d, ty of the affine map x' = a·x + b·y + tx, y' = c·x + d·y + ty, which carries a point of the frame
before into this one, in pixels. These are the rows that BoT-SORT's `GMC` files have.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import DataError, FormatError
from motrail.outputs import WholeFile, writing
from motrail.track.motion import Motion

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

_NUMBERS = 7
_MAX_FRAMES = 100_000_000
_HOW = "seven numbers a line: frame (from 0), a, b, tx, c, d, ty, as `motrail camera` writes them"


class CameraFile:
    """How a camera moved from frame to frame.

    Args:
        affines: For the number of a frame, counted from 1, the affine map from the frame before,
            float64, shape (2, 3), in pixels.
        where: What to call it in messages.
    """

    def __init__(self, affines: Mapping[int, NDArray[np.float64]], where: str) -> None:
        self._affines = dict(affines)
        self._where = where

    def __len__(self) -> int:
        return len(self._affines)

    @property
    def last(self) -> int:
        """Number of its last frame, counted from 1."""
        return max(self._affines)

    def between(self, before: int, now: int) -> Motion:
        """The motion from one frame to a later one.

        Frames in between that the file does not have count as if nothing moved: where pictures are
        missing, the line of the next one tells of all that happened since.

        Args:
            before: Number of the frame that was looked at last, counted from 1.
            now: Number of this one.

        Raises:
            DataError: The file does not have this frame.
        """
        if now not in self._affines:
            raise DataError(
                f"{self._where}: expected a line for frame {now - 1} (counted from 0), found those "
                f"of frames {min(self._affines) - 1} to {self.last - 1}; is it of this video?"
            )
        linear, shift = np.eye(2), np.zeros(2)
        for number in range(before + 1, now + 1):
            affine = self._affines.get(number)
            if affine is not None:
                linear = affine[:, :2] @ linear
                shift = affine[:, :2] @ shift + affine[:, 2]
        return Motion(linear, shift)


def camera_file_path(place: str | os.PathLike[str], name: str) -> Path:
    """Where the file of a video is: the place itself, or `NAME.txt` where that is a folder."""
    path = Path(place)
    return path / f"{name}.txt" if path.is_dir() else path


def read_camera_file(path: Path) -> CameraFile:
    """Read a file.

    Raises:
        FormatError: It cannot be read, or has something else in it.
    """
    affines: dict[int, NDArray[np.float64]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise FormatError(
            path, f"cannot be read: {error.strerror or error}; expected {_HOW}"
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(path, f"expected {_HOW}, found no text") from error
    for place, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        frame, affine = _row(path, place, words)
        if frame + 1 in affines:
            raise FormatError(
                path, f"expected each frame once, found frame {frame} again", line=place
            )
        affines[frame + 1] = affine
    if not affines:
        raise FormatError(path, f"expected {_HOW}, found no line")
    return CameraFile(affines, str(path))


def _row(path: Path, line: int, words: list[str]) -> tuple[int, NDArray[np.float64]]:
    shown = " ".join(words)[:80]
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.empty(0)
    if len(values) != _NUMBERS or not np.isfinite(values).all():
        raise FormatError(path, f"expected {_HOW}, found {shown!r}", line=line)
    frame = float(values[0])
    if not (frame.is_integer() and 0 <= frame < _MAX_FRAMES):
        raise FormatError(path, f"expected a frame counted from 0, found {words[0]!r}", line=line)
    affine = values[1:].reshape(2, 3)
    if np.linalg.det(affine[:, :2]) <= 0:
        raise FormatError(
            path, f"expected a map that turns nothing inside out, found {shown!r}", line=line
        )
    return int(frame), affine


def write_camera_file(path: Path, affines: Mapping[int, NDArray[np.float64]]) -> None:
    """Write a file; it appears whole or not at all.

    Args:
        path: Where.
        affines: As in `CameraFile`.

    Raises:
        OutputError: It cannot be written.
    """
    rows = []
    for number in sorted(affines):
        a, b, x, c, d, y = affines[number].ravel().tolist()
        rows.append(f"{number - 1},{a:z.8f},{b:z.8f},{x:z.4f},{c:z.8f},{d:z.8f},{y:z.4f}\n")
    with writing(path), WholeFile(path) as whole:
        whole.temporary.write_text("".join(rows), encoding="ascii")
