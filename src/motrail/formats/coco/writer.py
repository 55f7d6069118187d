"""Write labels as COCO: the full record of a dataset, and the format of an export."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import tempfile
import weakref
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from motrail.errors import DataError
from motrail.formats.writer import LabelWriter
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from motrail.formats.labels import ClassList, Labels

_IMAGE = (
    '{"id": %d, "file_name": %s, "width": %d, "height": %d, "video_id": %d, "frame_id": %d, '
    '"prev_image_id": %d, "next_image_id": %d%s}'
)
_SEPARATOR = ",\n"
_MAX_KEY = 2**62
_BLOCK = 50_000
_WHOLE = 2.0**53  # from here on neighbouring floats are more than 1 apart


class CocoFile:
    """A COCO file with video fields that holds everything labels say, written as they come.

    Top-level keys are `info`, `images`, `annotations`, `videos` and `categories`, in this order.
    Ids count from 1 over the whole file. An image stands for each of `labels.listed_frames()` and
    each frame that has attributes. What is unknown is 0 (sizes, `length`, `frame_rate`), -1
    (`track_id`, `visibility`, `prev_image_id`, `next_image_id`) or null (`attributes`,
    `source_id`). Nothing is rounded.

    As a context manager it finishes at a normal end, and discards when an exception passes
    through.

    Args:
        path: The file; written in place.
        classes: The categories; they grow by what the sequences bring.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path, classes: ClassList) -> None:
        self.path = path
        self.classes = classes
        self._videos: list[str] = []
        self._images = 0
        self._annotations = 0
        with writing(path), contextlib.ExitStack() as opened:
            # Images and annotations both grow; the annotations are appended at the end.
            self._file: IO[bytes] = opened.enter_context(path.open("wb"))
            self._spool: IO[bytes] = opened.enter_context(
                tempfile.TemporaryFile(dir=path.absolute().parent)
            )
            self._file.write(b'{"info": {"description": "motrail dataset", "version": "1"},\n')
            self._file.write(b'"images": [')
            opened.pop_all()
        self._close = weakref.finalize(self, _close, self._file, self._spool)

    def add(self, labels: Labels, file_names: Callable[[int], str]) -> None:
        """Write a sequence.

        Args:
            labels: The sequence, rows in any order.
            file_names: Says for a frame number what `file_name` its image has.

        Raises:
            DataError: A box, a visibility or the frame rate is not a finite number.
            OutputError: The disk is full, for example.
        """
        _check_finite(labels)
        labels = self.classes.take(labels).in_order()
        listed = sorted({*labels.listed_frames(), *labels.frame_attributes})
        self._videos.append(
            f'{{"id": {len(self._videos) + 1}, "file_name": {_json(labels.name)}, '
            f'"width": {labels.width}, "height": {labels.height}, '
            f'"frame_rate": {_number(labels.frame_rate)}, "length": {labels.length}}}'
        )
        with writing(self.path):
            self._write_images(labels, listed, file_names)
            self._write_annotations(labels, np.array(listed, np.int64))
        self._images += len(listed)
        self._annotations += len(labels)

    def finish(self) -> None:
        """Write what can only be written at the end, and close the file.

        Raises:
            OutputError: The disk is full, for example.
        """
        with writing(self.path):
            self._file.write(b'],\n"annotations": [')
            self._spool.seek(0)
            shutil.copyfileobj(self._spool, self._file, 1 << 22)
            self._file.write(b'],\n"videos": [')
            self._file.write(_SEPARATOR.join(self._videos).encode())
            self._file.write(b'],\n"categories": [')
            self._file.write(
                _SEPARATOR.join(
                    f'{{"id": {number}, "name": {_json(name)}}}'
                    for number, name in enumerate(self.classes.names, start=1)
                ).encode()
            )
            self._file.write(b"]}\n")
            self._file.close()
        self._close()

    def discard(self) -> None:
        """Leave nothing behind. Never raises; harmless after `finish`."""
        if self._close.alive:
            self._close()
            with contextlib.suppress(OSError):
                self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._close.alive:
                self.finish()
        finally:
            self.discard()

    def _write_images(
        self, labels: Labels, listed: list[int], file_names: Callable[[int], str]
    ) -> None:
        first, last = self._images + 1, self._images + len(listed)
        video, width, height = len(self._videos), labels.width, labels.height

        def row(number: int, frame: int) -> str:
            more = ""
            if frame in labels.frame_attributes:
                more = f', "attributes": {_json(labels.frame_attributes[frame])}'
            previous = number - 1 if number > first else -1
            following = number + 1 if number < last else -1
            name = _json(file_names(frame))
            return _IMAGE % (number, name, width, height, video, frame, previous, following, more)

        for start in range(0, len(listed), _BLOCK):
            frames = listed[start : start + _BLOCK]
            rows = [row(number, frame) for number, frame in enumerate(frames, start=first + start)]
            self._append(self._file, rows, first + start)

    def _write_annotations(self, labels: Labels, listed: NDArray[np.int64]) -> None:
        first = self._annotations + 1
        boxes = labels.boxes_xywh
        columns = zip(
            range(first, first + len(labels)),
            (np.searchsorted(listed, labels.frames) + self._images + 1).tolist(),
            labels.ids.tolist(),
            *(_plain(boxes[:, side]) for side in range(4)),
            _plain(boxes[:, 2] * boxes[:, 3]),
            _plain(labels.visibility),
            _few_valued(labels),
            strict=True,
        )
        rows = [
            f'{{"id": {number}, "image_id": {image}, "track_id": {track}, '
            f'"bbox": [{left}, {top}, {width}, {height}], "area": {area}, '
            f'"visibility": {visibility}, {rest}}}'
            for number, image, track, left, top, width, height, area, visibility, rest in columns
        ]
        self._append(self._spool, rows, first)

    def _append(self, file: IO[bytes], rows: list[str], first: int) -> None:
        if rows:
            file.write(b"\n" if first == 1 else _SEPARATOR.encode())
            file.write(_SEPARATOR.join(rows).encode())


class CocoWriter(LabelWriter):
    """Exports labels as `annotations.json` and `images/<sequence>/<000001.jpg>`.

    A `file_name` counts from `images/`; it keeps the suffix of the picture, and is `.jpg` where
    there is none.
    """

    format = "coco"

    def __init__(self, folder: Path, classes: ClassList) -> None:
        super().__init__(folder, classes)
        self._file = CocoFile(folder / "annotations.json", classes)

    def add(self, labels: Labels) -> Mapping[Path, Path]:
        """Write a sequence; see `LabelWriter.add`."""

        def file_name(frame: int) -> str:
            picture = labels.pictures.get(frame)
            suffix = picture.suffix.lower() if picture is not None else ""
            return f"{labels.name}/{frame:06d}{suffix or '.jpg'}"

        self._file.add(labels, file_name)
        images = self.folder / "images"
        if labels.pictures:
            with writing(images / labels.name):
                (images / labels.name).mkdir(parents=True, exist_ok=True)
        return {images / file_name(frame): picture for frame, picture in labels.pictures.items()}

    def finish(self) -> None:
        """Write what can only be written at the end; see `LabelWriter.finish`."""
        self._file.finish()

    def discard(self) -> None:
        """Close what is open and remove the file of annotations."""
        self._file.discard()


def _close(*files: IO[bytes]) -> None:
    for file in files:
        # What could not be flushed is thrown away all the same.
        with contextlib.suppress(OSError):
            file.close()


def _check_finite(labels: Labels) -> None:
    for name in ("boxes_xywh", "visibility", "frame_rate"):
        if not np.isfinite(getattr(labels, name)).all():
            raise DataError(f"Labels.{name}: expected finite numbers, which is all JSON can hold")


def _rows(template: str, columns: Iterable[Sequence[float | str]]) -> list[str]:
    """The template filled in for each row; what is the same in all rows is filled in once."""
    slots, varying = [], []
    for column in columns:
        if not column:
            return []
        first = column[0]
        if column.count(first) == len(column):
            slots.append(str(first).replace("%", "%%"))
        else:
            slots.append("%s" if isinstance(first, str) else "%r")
            varying.append(column)
    template = template % tuple(slots)
    if not varying:
        return [template % ()]
    return [template % row for row in zip(*varying, strict=True)]


def _plain(column: NDArray[np.float64] | NDArray[np.int64]) -> list[float]:
    """The numbers, as whole ones where all of them are: 912 and not 912.0."""
    if (np.trunc(column) == column).all() and (np.abs(column) < _WHOLE).all():
        column = column.astype(np.int64)
    numbers: list[float] = column.tolist()
    return numbers


def _number(value: float) -> str:
    return repr(int(value) if value == int(value) else float(value))


def _few_valued(labels: Labels) -> list[str]:
    """The columns that take few values, as one text for each row; made once for equal rows."""
    together = (
        labels.class_ids,
        labels.ignore,
        labels.keyframe,
        labels.attributes.codes + 1,
        labels.source_ids.codes + 1,
    )
    keys = np.zeros(len(labels), np.int64)
    span = 1
    for column in together:
        values = int(column.max(initial=0)) + 1
        if span * values > _MAX_KEY:  # numbered anew, they are small again
            keys = np.unique(keys, return_inverse=True)[1].reshape(-1)
            span = len(keys)
        keys = keys * values + column
        span *= values
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    attributes = [*map(_json, labels.attributes.values), "null"]
    source_ids = [*map(_json, labels.source_ids.values), "null"]
    texts = [
        f'"category_id": {class_id + 1}, "iscrowd": {int(ignore)}, '
        f'"keyframe": {_json(keyframe)}, "ignore": {_json(ignore)}, '
        f'"attributes": {attributes[attribute]}, "source_id": {source_ids[source]}'
        for class_id, ignore, keyframe, attribute, source in zip(
            labels.class_ids[first].tolist(),
            labels.ignore[first].tolist(),
            labels.keyframe[first].tolist(),
            labels.attributes.codes[first].tolist(),
            labels.source_ids.codes[first].tolist(),
            strict=True,
        )
    ]
    return [texts[index] for index in which.tolist()]


def _json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False)


def _without_nan(value: object) -> object:
    """The same with null for NaN and infinity, which JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
