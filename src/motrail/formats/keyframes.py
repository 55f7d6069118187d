"""Fill in the frames between keyframes, as labelling tools show them; and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import DataError
from motrail.formats.labels import distinct_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels

MAX_FILLED = 4_000_000
"""Boxes that are filled in for one sequence at most: an hour at 30 frames a second with 37 objects
in every frame. More comes from a broken or hostile file, and would fill the memory."""


class Filled(NamedTuple):
    """A track's boxes in every frame of its spans.

    Attributes:
        frames: int64, shape (n,), ascending.
        boxes_xywh: float64, shape (n, 4).
        source: Row of the keyframe that the box is or comes after, int64, shape (n,).
        keyframe: Whether the box is that keyframe itself, bool, shape (n,).
    """

    frames: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    source: NDArray[np.int64]
    keyframe: NDArray[np.bool_]


def count_filled(frames: NDArray[np.int64], goes_on: NDArray[np.bool_], end: int) -> int:
    """How many boxes `fill` would make at most; to be asked before."""
    following = np.append(frames[1:], end + 1)
    return int(np.where(goes_on, np.maximum(following - frames, 1), 1).sum())


def fill(
    frames: NDArray[np.int64],
    boxes_xywh: NDArray[np.float64],
    shown: NDArray[np.bool_],
    goes_on: NDArray[np.bool_],
    end: int,
) -> Filled:
    """Fill one track in between its keyframes, linearly in left, top, width and height.

    Args:
        frames: Frames of the keyframes, strictly ascending, int64, shape (n,), n at least 1.
        boxes_xywh: Their boxes, float64, shape (n, 4).
        shown: Whether the object is there in the keyframe itself, bool, shape (n,).
        goes_on: Whether it is there in the frames after it, up to the next keyframe, bool,
            shape (n,).
        end: Where the last keyframe goes on, the box stands still up to this frame.

    Returns:
        The boxes of every frame in which the object is there.
    """
    following = np.append(frames[1:], max(end + 1, int(frames[-1]) + 1))
    counts = np.where(goes_on, following - frames, 1)
    source = np.repeat(np.arange(len(frames)), counts)
    offset = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = shown[source] | (offset > 0)
    source, offset = source[keep], offset[keep]
    step = np.diff(boxes_xywh, axis=0, append=boxes_xywh[-1:])
    share = (offset / (following - frames)[source])[:, None]
    return Filled(
        frames=frames[source] + offset,
        boxes_xywh=boxes_xywh[source] + share * step[source],
        source=source,
        keyframe=offset == 0,
    )


def fill_tracks(
    tracks: NDArray[np.int64],
    frames: NDArray[np.int64],
    boxes_xywh: NDArray[np.float64],
    *,
    shown: NDArray[np.bool_],
    goes_on: NDArray[np.bool_],
    end: int | None,
) -> Filled:
    """Fill all tracks of a sequence as `fill` does one.

    Args:
        tracks: Which track a keyframe is of, 0 or above, ascending, int64, shape (n,).
        frames: Its frame, 0 or above, strictly ascending within a track, int64, shape (n,).
        boxes_xywh: float64, shape (n, 4).
        shown: As in `fill`.
        goes_on: As in `fill`.
        end: Where a track's last keyframe goes on, the box stands still up to this frame; None if
            no end is known, and the track ends there.

    Raises:
        DataError: More than `MAX_FILLED` boxes.
    """
    if not len(tracks):
        return Filled(frames, boxes_xywh, frames, shown)
    last = np.append(tracks[1:] != tracks[:-1], True)
    stop = int(frames.max()) if end is None else end
    goes_on = goes_on & ~(last & ((frames >= stop) | (end is None)))
    # Laid one after another on a single line of time, one call fills them all. Where the box of a
    # last keyframe stands still, a keyframe that is not shown follows in the frame after the end.
    period = max(stop, int(frames.max())) + 2
    still = np.flatnonzero(goes_on & last)
    source = np.concatenate([np.arange(len(tracks)), still])
    at = np.concatenate([tracks * period + frames, tracks[still] * period + stop + 1])
    order = np.argsort(at, kind="stable")
    at, source, added = at[order], source[order], order >= len(tracks)
    shown, goes_on = shown[source] & ~added, goes_on[source] & ~added
    count = count_filled(at, goes_on, int(at[-1])) - len(still)
    if count > MAX_FILLED:
        raise DataError(
            f"expected at most {MAX_FILLED} boxes with the frames between keyframes filled in, "
            f"found {count}"
        )
    filled = fill(at, boxes_xywh[source], shown, goes_on, int(at[-1]))
    return filled._replace(frames=filled.frames % period, source=source[filled.source])


class Objects(NamedTuple):
    """The boxes of a sequence, object by object, for tools that keep keyframes.

    Attributes:
        labels: The rows sorted by object, then by frame.
        numbers: Which object a row belongs to, 0 or above, int64, shape (n,): its id. For a
            second class under the same id, and for each box without an id, a fresh number.
        first: Whether the row starts a span of frames without a gap, bool, shape (n,).
        last: Whether the row ends such a span, bool, shape (n,).
        needed: Whether the row must be a keyframe so that `fill` gives all rows back, bool,
            shape (n,): keyframes, ends of spans, rows that say something else than the row
            before, and all rows between two of these where one of them is off the line.
    """

    labels: Labels
    numbers: NDArray[np.int64]
    first: NDArray[np.bool_]
    last: NDArray[np.bool_]
    needed: NDArray[np.bool_]

    def each(self) -> Iterator[slice]:
        """The rows of one object after another."""
        starts = np.flatnonzero(np.diff(self.numbers, prepend=-1)).tolist()
        return map(slice, starts, [*starts[1:], len(self.numbers)])


def objects(labels: Labels, tolerance: float = 1e-6) -> Objects:
    """Sort the boxes of a sequence by object and find the keyframes that carry them.

    Args:
        labels: The sequence; what has a negative id counts as unknown.
        tolerance: How far left, top, width and height may be off the line, in pixels.
    """
    numbers = distinct_ids(np.maximum(labels.ids, -1), labels.class_ids)
    unknown = numbers < 0
    numbers[unknown] = numbers.max(initial=-1) + 1 + np.arange(np.count_nonzero(unknown))
    order = np.lexsort((labels.frames, numbers))
    labels, numbers = labels[order], numbers[order]
    first = np.ones(len(labels), np.bool_)
    first[1:] = (np.diff(numbers) != 0) | (np.diff(labels.frames) != 1)
    last = np.append(first[1:], True)[: len(first)]
    says_else = np.zeros(len(labels), np.bool_)
    for column in (labels.visibility, labels.ignore, labels.attributes.codes):
        says_else[1:] |= column[1:] != column[:-1]
    needed = labels.keyframe | first | last | says_else
    return Objects(labels, numbers, first, last, needed | _off_the_line(labels, needed, tolerance))


def _off_the_line(labels: Labels, needed: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    rows = np.arange(len(labels))
    keys = np.flatnonzero(needed)
    after = keys[np.searchsorted(keys, rows)]
    segment = np.cumsum(needed) - 1
    before = keys[segment]
    share = ((rows - before) / np.maximum(after - before, 1))[:, None]
    boxes = labels.boxes_xywh
    off = np.abs(boxes[before] + share * (boxes[after] - boxes[before]) - boxes) > tolerance
    return np.isin(segment, segment[off.any(axis=1)])
