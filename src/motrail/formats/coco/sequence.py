"""What makes a sequence of a COCO file's images: frame numbers, ids, and where the pictures are."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from motrail.formats.coco.checks import NOT_SAID, repeated
from motrail.formats.labels import MAX_FRAMES, Coded, distinct_ids

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from motrail.formats.coco.checks import Checker


def number_frames(images: NDArray[Any], check: Checker) -> NDArray[np.int64]:
    """Frame numbers from 1 of a sequence's images; 0, after telling of the fault, is left out.

    Args:
        images: Sorted by id, of `coco_rows.IMAGE`.
        check: Told of faults.
    """
    said = images["frame"].astype(np.int64)
    if (said == NOT_SAID).any():
        said = np.arange(1, len(images) + 1)
    frames = said + 1 if len(said) and said.min() == 0 else said.copy()
    wrong = (frames < 1) | (frames > MAX_FRAMES)
    for row in np.flatnonzero(wrong).tolist():
        what = f"expected a frame of the sequence, 1 to {MAX_FRAMES}, found {frames[row]}"
        check.fault("frame", f"images[{images['index'][row]}].frame_id", what)
    frames[wrong] = 0
    rows = np.flatnonzero(~wrong)
    again = repeated(frames[rows], images["index"][rows].astype(np.int64))
    for index, before in again:
        what = f"expected each frame of a video once, found it again (first: images[{before}])"
        check.fault("duplicate", f"images[{index}].frame_id", what)
    frames[np.isin(images["index"], [index for index, _ in again])] = 0
    return frames


def tell_apart(
    numbers: NDArray[np.int64], class_ids: NDArray[np.int64], sources: Coded[str]
) -> tuple[NDArray[np.int64], Coded[str]]:
    """Ids and source ids where one number may stand for an object in each of several classes."""
    order = np.lexsort((class_ids, numbers))
    same = numbers[order][1:] == numbers[order][:-1]
    other = class_ids[order][1:] != class_ids[order][:-1]
    if not (same & other & (numbers[order][1:] != -1)).any():
        return numbers.astype(np.int64), sources
    ids = distinct_ids(numbers, class_ids)
    renamed = (ids != numbers) & (sources.codes == -1)
    rows = zip(renamed.tolist(), numbers.tolist(), sources.to_list(), strict=True)
    return ids, Coded.of([str(number) if new else source for new, number, source in rows])


class Pictures:
    """Finds image files by listing each of their folders once.

    Args:
        folder: What file names count from; None: nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._listed: tuple[str, frozenset[str]] | None = None
        self._last: Path | None = None

    def find(self, name: str) -> Path | None:
        """The file of that name; None where there is none or the name leads out of the folder."""
        name = name.replace("\\", "/")
        pure = PurePosixPath(name)
        if self.folder is None or not name or pure.is_absolute() or ".." in pure.parts:
            return None
        below = str(pure.parent)
        if self._listed is None or self._listed[0] != below:
            self._listed = below, _files(self.folder / below)
        return self.folder / pure if pure.name in self._listed[1] else None


def find_pictures(path: Path, names: list[str]) -> Path | None:
    """The first folder near the file that has an image of these names; None where none has."""
    beside = path.absolute().parent
    above = beside.parent
    for folder in (beside, beside / "images", above, above / "images", above / path.stem):
        pictures = Pictures(folder)
        if any(pictures.find(name) is not None for name in names):
            return folder
    return None


def _files(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if not entry.is_dir())
    except (OSError, ValueError):
        return frozenset()
