"""Write labels in the layout of the MOT challenge, as `mot_labels` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from motrail.formats.mot.seqinfo import seqinfo_text
from motrail.formats.writer import LabelWriter
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels


class MotWriter(LabelWriter):
    """Writes `SEQ/gt/gt.txt` and `SEQ/seqinfo.ini`, and `labels.txt` for all sequences.

    Pictures belong into `SEQ/img1`, as `000001.jpg` and so on.
    """

    def add(self, labels: Labels) -> Mapping[Path, Path]:
        """Write a sequence."""
        labels = self.classes.take(labels)
        folder = self.folder / labels.name
        with writing(folder):
            write_sequence(folder, labels)
            if labels.pictures:
                (folder / "img1").mkdir()
        for what, column in (("attributes", labels.attributes), ("source ids", labels.source_ids)):
            if (column.codes >= 0).any():
                self.notes[f"{what} of boxes have no place in MOT files and are left out"] += 1
        if not labels.keyframe.all():
            self.notes["MOT files do not tell keyframes from boxes filled in between"] += 1
        if labels.frame_attributes:
            self.notes["attributes of frames have no place in MOT files and are left out"] += 1
        return {folder / "img1" / picture_name(n, p): p for n, p in labels.pictures.items()}

    def finish(self) -> None:
        """Write the names of the classes."""
        write_class_names(self.folder / "labels.txt", self.classes.names)


def picture_name(frame: int, picture: Path) -> str:
    """`000001.jpg`: the frame's number in six digits and the picture's own ending."""
    return f"{frame:06d}{picture.suffix.lower()}"


def write_class_names(path: Path, names: Sequence[str]) -> None:
    """Write a `labels.txt`.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(path):
        text = "".join(f"{name}\n" for name in names)
        path.write_text(text, encoding="utf-8", newline="\n")


def write_sequence(folder: Path, labels: Labels) -> None:
    """Write `gt/gt.txt` and `seqinfo.ini` of a sequence into its folder; numbers are not rounded.

    Args:
        folder: The sequence's folder; made with its parents.
        labels: Rows are written by frame, then id; class n of the file is entry n - 1 of `classes`.

    Raises:
        OSError: It cannot be written.
    """
    (folder / "gt").mkdir(parents=True, exist_ok=True)
    (folder / "gt" / "gt.txt").write_bytes(_format_rows(labels.in_order()))
    (folder / "seqinfo.ini").write_text(seqinfo_text(labels), encoding="utf-8", newline="\n")


def _format_rows(labels: Labels) -> bytes:
    columns = (
        labels.frames.tolist(),
        labels.ids.tolist(),
        *(plain(column) for column in labels.boxes_xywh.T),
        (~labels.ignore).astype(np.int64).tolist(),
        (labels.class_ids + 1).tolist(),
        plain(labels.visibility),
    )
    # As JSON, because its writer is several times as fast as formatting line by line.
    rows = msgspec.json.encode(list(zip(*columns, strict=True)))
    return rows[2:-2].replace(b"],[", b"\n") + b"\n" if len(labels) else b""


def plain(column: NDArray[np.float64]) -> list[float]:
    """Numbers to be written: whole ones without a point, others so that nothing is lost."""
    whole = column.astype(np.int64)
    if np.array_equal(whole, column):
        numbers: list[float] = whole.tolist()
        return numbers
    return [int(n) if n.is_integer() else n for n in column.tolist()]
