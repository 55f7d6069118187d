"""What travels between the rooms: frames, detections and tracks.

One columnar type at every boundary. The arrays are checked once when the object is made, are
copies of what was given, and are read-only from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from motrail.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video.

    Attributes:
        number: Position in the source, counted from 1, also when frames are skipped.
        image: Pixels, uint8, shape (height, width, 3), channels blue, green, red.
        time: Seconds since the first frame of the source.
    """

    number: int
    image: NDArray[np.uint8]
    time: float


class _Columns:
    """Read-only columns of equal length."""

    __slots__ = ()
    _layout: ClassVar[dict[str, tuple[Any, tuple[int, ...]]]] = {}

    def _set(self, name: str, values: ArrayLike, length: int | None) -> int:
        dtype, tail = self._layout[name]
        array = _column(name, values, dtype, tail)
        if length is not None and len(array) != length:
            raise DataError(
                f"{type(self).__name__}.{name}: expected {length} rows as in the columns before, "
                f"found {len(array)}"
            )
        object.__setattr__(self, name, array)
        return len(array)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is read-only; make a new one to change {name}")

    def __getstate__(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in self._layout}

    def __setstate__(self, state: dict[str, NDArray[Any]]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(getattr(self, next(iter(self._layout))))

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.integer]) -> Self:
        """Pick rows by a slice, a mask or an array of indices."""
        return type(self)(**{name: getattr(self, name)[rows] for name in self._layout})

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in self._layout)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        columns = ", ".join(f"{n}={getattr(self, n).tolist()!r}" for n in self._layout)
        return f"{type(self).__name__}({columns})"


def _column(name: str, values: ArrayLike, dtype: DTypeLike, tail: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = np.array(values, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected numbers ({np.dtype(dtype)}): {error}") from None
    if array.dtype.kind == "i" and not np.array_equal(array, np.asarray(values)):
        raise DataError(f"{name}: expected whole numbers")
    if array.size == 0 and array.ndim <= len(tail) + 1:
        array = array.reshape(0, *tail)
    if array.ndim != len(tail) + 1 or array.shape[1:] != tail:
        expected = ", ".join(["n", *map(str, tail)]) + ("," if not tail else "")
        raise DataError(f"{name}: expected shape ({expected}), found {array.shape}")
    array.setflags(write=False)
    return array


def _check_boxes(boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    # One pass answers the usual case; the second says which row is at fault.
    if not (np.isfinite(boxes_xyxy).all() and np.isfinite(scores).all()):
        bad = ~(np.isfinite(boxes_xyxy).all(axis=1) & np.isfinite(scores))
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"row {row}: expected finite numbers, found box {boxes_xyxy[row].tolist()} "
            f"score {scores[row]}"
        )
    if (boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any():
        row = int(np.flatnonzero((boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any(axis=1))[0])
        raise DataError(
            f"row {row}: expected left <= right and top <= bottom (x1, y1, x2, y2), "
            f"found {boxes_xyxy[row].tolist()}"
        )


class Detections(_Columns):
    """What a detector saw in one frame.

    Args:
        boxes_xyxy: Left, top, right, bottom in pixels, float32, shape (n, 4). Boxes may leave the
            image. Origin at the top left.
        scores: Confidence in [0, 1], float32, shape (n,). Keep the low ones: the tracker lives on
            them.
        class_ids: Index of the class in the detector's list of names, counted from 0, int64,
            shape (n,). Left out: all 0.

    Raises:
        DataError: Shapes do not fit, numbers are not finite, or a box is turned inside out.
    """

    __slots__ = ("boxes_xyxy", "class_ids", "scores")
    _layout: ClassVar[dict[str, tuple[Any, tuple[int, ...]]]] = {
        "boxes_xyxy": (np.float32, (4,)),
        "scores": (np.float32, ()),
        "class_ids": (np.int64, ()),
    }
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    def __init__(
        self, boxes_xyxy: ArrayLike, scores: ArrayLike, class_ids: ArrayLike | None = None
    ) -> None:
        n = self._set("boxes_xyxy", boxes_xyxy, None)
        self._set("scores", scores, n)
        self._set("class_ids", np.zeros(n, np.int64) if class_ids is None else class_ids, n)
        _check_boxes(self.boxes_xyxy, self.scores)

    @classmethod
    def empty(cls) -> Self:
        """No detections: a frame in which nothing was seen."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32))


class Tracks(_Columns):
    """The tracks given out for one frame.

    Args:
        ids: Identity, unique within the tracker that made it, counted from 1, int64, shape (n,).
        boxes_xyxy: Left, top, right, bottom in pixels, float32, shape (n, 4).
        scores: Score of the matched detection, float32, shape (n,).
        class_ids: Class index counted from 0, int64, shape (n,).
        detection_index: Row of the matched detection in what the tracker was given, int64,
            shape (n,); -1 where there is none.

    Raises:
        DataError: Shapes do not fit, numbers are not finite, or a box is turned inside out.
    """

    __slots__ = ("boxes_xyxy", "class_ids", "detection_index", "ids", "scores")
    _layout: ClassVar[dict[str, tuple[Any, tuple[int, ...]]]] = {
        "ids": (np.int64, ()),
        "boxes_xyxy": (np.float32, (4,)),
        "scores": (np.float32, ()),
        "class_ids": (np.int64, ()),
        "detection_index": (np.int64, ()),
    }
    ids: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    detection_index: NDArray[np.int64]

    def __init__(
        self,
        ids: ArrayLike,
        boxes_xyxy: ArrayLike,
        scores: ArrayLike,
        class_ids: ArrayLike,
        detection_index: ArrayLike,
    ) -> None:
        n = self._set("ids", ids, None)
        self._set("boxes_xyxy", boxes_xyxy, n)
        self._set("scores", scores, n)
        self._set("class_ids", class_ids, n)
        self._set("detection_index", detection_index, n)
        _check_boxes(self.boxes_xyxy, self.scores)

    @classmethod
    def trusted(
        cls,
        ids: NDArray[np.int64],
        boxes_xyxy: NDArray[np.float32],
        scores: NDArray[np.float32],
        class_ids: NDArray[np.int64],
        detection_index: NDArray[np.int64],
    ) -> Self:
        """Take over fresh columns of the right type and length without checking or copying them.

        For trackers, which make them; everybody else calls the class.
        """
        self = cls.__new__(cls)
        columns: tuple[NDArray[Any], ...] = (ids, boxes_xyxy, scores, class_ids, detection_index)
        for name, column in zip(cls._layout, columns, strict=True):
            column.setflags(write=False)
            object.__setattr__(self, name, column)
        return self

    @classmethod
    def empty(cls) -> Self:
        """No tracks in this frame."""
        none = np.empty(0, np.int64)
        return cls(none, np.empty((0, 4), np.float32), np.empty(0, np.float32), none, none)


class SequenceDetections(_Columns):
    """What a detector saw in a whole sequence, a row for each box, in the order of the frames.

    Args:
        frames: Frame of each box, counted from 1, ascending, int64, shape (n,).
        boxes_xyxy: Left, top, right, bottom in pixels, float32, shape (n, 4).
        scores: Confidence in [0, 1], float32, shape (n,).
        class_ids: Class index counted from 0, int64, shape (n,). Left out: all 0.

    Raises:
        DataError: Shapes do not fit, frames are not in order, numbers are not finite, or a box is
            turned inside out.
    """

    __slots__ = ("boxes_xyxy", "class_ids", "frames", "scores")
    _layout: ClassVar[dict[str, tuple[Any, tuple[int, ...]]]] = {
        "frames": (np.int64, ()),
        **Detections._layout,  # noqa: SLF001
    }
    frames: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    def __init__(
        self,
        frames: ArrayLike,
        boxes_xyxy: ArrayLike,
        scores: ArrayLike,
        class_ids: ArrayLike | None = None,
    ) -> None:
        n = self._set("frames", frames, None)
        self._set("boxes_xyxy", boxes_xyxy, n)
        self._set("scores", scores, n)
        self._set("class_ids", np.zeros(n, np.int64) if class_ids is None else class_ids, n)
        _check_frames(self.frames)
        _check_boxes(self.boxes_xyxy, self.scores)

    def by_frame(self, length: int) -> Iterator[Detections]:
        """The detections of frames 1 to `length`, the empty ones too."""
        ends = np.searchsorted(self.frames, np.arange(1, length + 2)).tolist()
        for start, end in pairwise(ends):
            rows = slice(start, end)
            yield Detections(self.boxes_xyxy[rows], self.scores[rows], self.class_ids[rows])


class SequenceTracks(_Columns):
    """The tracks of a whole sequence, a row for each box, in the order of the frames.

    Args:
        frames: Frame of each box, counted from 1, ascending, int64, shape (n,).
        ids: Identity, int64, shape (n,).
        boxes_xyxy: Left, top, right, bottom in pixels, float32, shape (n, 4).
        scores: Score of the matched detection, float32, shape (n,).
        class_ids: Class index counted from 0, int64, shape (n,).
        detection_index: Row of the matched detection in the `SequenceDetections`, int64, shape
            (n,); -1 where there is none, as in a gap that was filled.

    Raises:
        DataError: Shapes do not fit, frames are not in order, numbers are not finite, or a box is
            turned inside out.
    """

    __slots__ = ("boxes_xyxy", "class_ids", "detection_index", "frames", "ids", "scores")
    _layout: ClassVar[dict[str, tuple[Any, tuple[int, ...]]]] = {
        "frames": (np.int64, ()),
        **Tracks._layout,  # noqa: SLF001
    }
    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    detection_index: NDArray[np.int64]

    def __init__(
        self,
        frames: ArrayLike,
        ids: ArrayLike,
        boxes_xyxy: ArrayLike,
        scores: ArrayLike,
        class_ids: ArrayLike,
        detection_index: ArrayLike,
    ) -> None:
        n = self._set("frames", frames, None)
        self._set("ids", ids, n)
        self._set("boxes_xyxy", boxes_xyxy, n)
        self._set("scores", scores, n)
        self._set("class_ids", class_ids, n)
        self._set("detection_index", detection_index, n)
        _check_frames(self.frames)
        _check_boxes(self.boxes_xyxy, self.scores)

    def by_frame(self) -> Iterator[tuple[int, Tracks]]:
        """Frame number and tracks of each frame that has any."""
        numbers, starts = np.unique(self.frames, return_index=True)
        ends = np.append(starts, len(self))
        for number, (start, end) in zip(numbers.tolist(), pairwise(ends.tolist()), strict=True):
            columns = {name: getattr(self, name)[start:end] for name in Tracks._layout}  # noqa: SLF001
            yield number, Tracks(**columns)


def _check_frames(frames: NDArray[np.int64]) -> None:
    if len(frames) and frames[0] < 1:
        raise DataError(f"frames: expected numbers from 1, found {frames[0]}")
    back = np.flatnonzero(frames[1:] < frames[:-1])
    if len(back):
        row = int(back[0])
        raise DataError(
            f"frames: expected ascending numbers, found {frames[row + 1]} after {frames[row]}"
        )
