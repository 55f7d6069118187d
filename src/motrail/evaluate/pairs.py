"""Which boxes of truth and results overlap in a sequence, and which of them belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array

from motrail.boxes import AREA, overlapping_pairs, xywh_to_xyxy
from motrail.errors import DataError
from motrail.evaluate.matching import largest_matching
from motrail.formats.labels import MAX_FRAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

EPS = float(np.finfo(np.float64).eps)

# The IoUs of so many pairs and what is computed of them fit into one or two gigabytes.
_MAX_PAIRS = 20_000_000
_MAX_COORDINATE = 1e9

# So many combinations of truth and results are looked at in one go.
_BLOCK = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class SequencePairs:
    """Truth and results of one sequence, and which of them overlap: what all metrics start from.

    Attributes:
        frames: Number of frames.
        truth_frames: Frame of each true box, counted from 0, ascending; int64, shape (n,).
        truth_ids: Its identity, counted from 0, every number occurs; int64, shape (n,).
        result_frames: Frame of each box found, counted from 0, ascending; int64, shape (m,).
        result_ids: Its identity, counted from 0, every number occurs; int64, shape (m,).
        pair_truth: Row of the true box of each pair that overlaps in the same frame, ascending;
            int64, shape (p,).
        pair_result: Row of the box found, ascending for each true box; int64, shape (p,).
        pair_iou: Intersection over union, above 0; float64, shape (p,).
    """

    frames: int
    truth_frames: NDArray[np.int64]
    truth_ids: NDArray[np.int64]
    result_frames: NDArray[np.int64]
    result_ids: NDArray[np.int64]
    pair_truth: NDArray[np.int64]
    pair_result: NDArray[np.int64]
    pair_iou: NDArray[np.float64]

    @property
    def truth_count(self) -> int:
        """Number of identities in the truth."""
        return int(self.truth_ids.max(initial=-1)) + 1

    @property
    def result_count(self) -> int:
        """Number of identities in the results."""
        return int(self.result_ids.max(initial=-1)) + 1

    def pairs_of(self, frame: int) -> slice:
        """Where the pairs of a frame, counted from 0, stand."""
        rows = np.searchsorted(self.truth_frames, [frame, frame + 1])
        return slice(*np.searchsorted(self.pair_truth, rows).tolist())


def make_pairs(
    frames: int,
    truth_frames: ArrayLike,
    truth_ids: ArrayLike,
    truth_xywh: ArrayLike,
    result_frames: ArrayLike,
    result_ids: ArrayLike,
    result_xywh: ArrayLike,
) -> SequencePairs:
    """Find what overlaps in a sequence.

    Rows may come in any order; rows of one frame keep theirs. Boxes have no pixel added to their
    sides, and boxes without area overlap nothing.

    Args:
        frames: Number of frames.
        truth_frames: Frame of each true box, counted from 0, shape (n,).
        truth_ids: Any whole numbers, shape (n,).
        truth_xywh: Left, top, width, height in pixels, shape (n, 4).
        result_frames: Frame of each box found, counted from 0, shape (m,).
        result_ids: Any whole numbers, shape (m,).
        result_xywh: Left, top, width, height in pixels, shape (m, 4).

    Returns:
        Truth and results in the order of frames, identities numbered anew in ascending order.

    Raises:
        DataError: Arrays do not fit together, a frame is outside the sequence, an identity occurs
            twice in a frame, a box is not of finite numbers up to a thousand million, or more
            pairs overlap than memory can be spent on.
    """
    truth = _side("truth", frames, truth_frames, truth_ids, truth_xywh)
    result = _side("results", frames, result_frames, result_ids, result_xywh)
    pair_truth, pair_result = _same_frame_overlaps(truth, result)
    iou = _iou(truth.xywh, result.xywh, pair_truth, pair_result)
    kept = np.flatnonzero(iou > 0)
    pair_truth, pair_result, iou = pair_truth[kept], pair_result[kept], iou[kept]
    # Counting sorts this faster than comparing.
    table = coo_array((iou, (pair_truth, pair_result)), (len(truth.ids), len(result.ids))).tocsr()
    table.sort_indices()
    return SequencePairs(
        frames,
        truth.frames,
        truth.ids,
        result.frames,
        result.ids,
        np.repeat(np.arange(len(truth.ids)), np.diff(table.indptr)),
        table.indices.astype(np.int64),
        table.data,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    xywh: NDArray[np.float64]


def _side(
    what: str, frames: int, row_frames: ArrayLike, row_ids: ArrayLike, boxes: ArrayLike
) -> _Side:
    """Check one side, sort it by frame and number its identities from 0."""
    at, ids = np.asarray(row_frames), np.asarray(row_ids)
    xywh = np.asarray(boxes, np.float64)
    if at.ndim != 1 or ids.shape != at.shape or xywh.shape != (len(at), 4):
        raise DataError(
            f"{what}: expected frames and ids of shape (n,) and boxes of shape (n, 4), "
            f"found {at.shape}, {ids.shape} and {xywh.shape}"
        )
    if len(at) == 0:
        none = np.empty(0, np.int64)
        return _Side(none, none, xywh)
    if at.dtype.kind not in "iu" or ids.dtype.kind not in "iu":
        raise DataError(
            f"{what}: expected whole numbers as frames and ids, found {at.dtype} and {ids.dtype}"
        )
    limit = min(frames, MAX_FRAMES)
    outside = (at < 0) | (at >= limit)
    if outside.any():
        raise DataError(
            f"{what}: expected frames from 0 to {limit - 1}, found {at[outside.argmax()]}"
        )
    bad = ~(np.abs(xywh) <= _MAX_COORDINATE).all(axis=1)
    if bad.any():
        raise DataError(
            f"{what}: expected boxes of finite numbers of pixels, "
            f"found {xywh[bad.argmax()].tolist()} in frame {at[bad.argmax()]}"
        )
    return _sorted_side(what, at.astype(np.int64), ids, xywh)


def _sorted_side(
    what: str, at: NDArray[np.int64], ids: NDArray[np.integer], xywh: NDArray[np.float64]
) -> _Side:
    numbers = renumbered(ids)
    side = _Side(at, numbers, xywh)
    if (at[1:] < at[:-1]).any():
        order = frame_order(at)
        side = _Side(at[order], numbers[order], xywh[order])
    count = int(numbers.max()) + 1
    keys = side.frames * count + side.ids
    if int(keys.max()) < 8 * len(keys):
        twice = np.flatnonzero(np.bincount(keys) > 1)
    else:
        keys = np.sort(keys)
        twice = keys[1:][keys[1:] == keys[:-1]]
    if len(twice):
        frame, number = divmod(int(twice[0]), count)
        raise DataError(
            f"{what}: expected each id once in a frame, "
            f"found {ids[numbers == number][0]} twice in frame {frame}"
        )
    return side


def frame_order(frames: NDArray[np.int64]) -> NDArray[np.intp]:
    """Rows in the order of their frames, rows of one frame as they stand."""
    low, high = int(frames.min(initial=0)), int(frames.max(initial=0))
    # Numbers of 16 bits are sorted by counting, which is much faster.
    small = frames.astype(np.uint16) if low >= 0 and high < 1 << 16 else frames
    return np.argsort(small, kind="stable")


def renumbered(names: NDArray[np.integer]) -> NDArray[np.int64]:
    """The place of each number among those in use, in ascending order, from 0."""
    return distinct(names)[1]


def distinct(names: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers in use, ascending, and the place of each entry among them: `numpy.unique`.

    Without sorting where the numbers are small.
    """
    low, high = int(names.min(initial=0)), int(names.max(initial=0))
    if low < 0 or high > 4 * len(names):
        used, places = np.unique(names, return_inverse=True)
        return used.astype(np.int64), places.reshape(-1).astype(np.int64)
    occurs = np.zeros(high + 1, np.int64)
    occurs[names] = 1
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[names]


def _same_frame_overlaps(
    truth: _Side, result: _Side
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of one frame that overlap, and perhaps some that just miss each other.

    The frames are laid side by side into one wide picture, where few boxes share a column.
    """
    none = np.empty(0, np.int64)
    if not (len(truth.ids) and len(result.ids)):
        return none, none
    low, high = zip(*(_bounds(side.xywh) for side in (truth, result)), strict=True)
    left, width = min(low), max(high) - min(low)
    stride = 2 * width + 1
    # Moving a box so far to the right rounds it: it is made wider by more than that.
    slack = 1e-14 * (stride * (int(max(truth.frames[-1], result.frames[-1])) + 1) + abs(left))
    truths, results = (_laid_out(side, left, stride, slack) for side in (truth, result))
    pair_truth, pair_result = [none], [none]
    for some, others in _blocks(truth, result):
        found = overlapping_pairs(truths[:, some], results[:, others])
        pair_truth.append(found.rows.astype(np.int64) + some.start)
        pair_result.append(found.columns.astype(np.int64) + others.start)
        if sum(map(len, pair_truth)) > _MAX_PAIRS:
            raise DataError(
                f"expected at most {_MAX_PAIRS} pairs of truth and results that overlap, "
                "found more; evaluate shorter sequences"
            )
    return np.concatenate(pair_truth), np.concatenate(pair_result)


def _bounds(xywh: NDArray[np.float64]) -> tuple[float, float]:
    """Least and greatest x of any side."""
    right = xywh[:, 0] + xywh[:, 2]
    return (
        float(min(xywh[:, 0].min(), right.min())),
        float(max(xywh[:, 0].max(), right.max())),
    )


def _laid_out(side: _Side, left: float, stride: float, slack: float) -> NDArray[np.float64]:
    """Columns for `overlapping_pairs`, each frame `stride` to the right of the one before."""
    columns = np.empty((5, len(side.ids)))
    columns[:4] = xywh_to_xyxy(side.xywh).T
    columns[[0, 2]] += side.frames * stride - left
    columns[:2] -= slack
    columns[2:4] += slack
    columns[AREA] = np.inf  # the IoU found there is not used, and nothing may be divided by 0
    return columns


def _blocks(truth: _Side, result: _Side) -> Iterator[tuple[slice, slice]]:
    """Rows of truth, and of results in their frames, with a bounded number of combinations."""
    first = np.searchsorted(result.frames, truth.frames, side="left")
    last = np.searchsorted(result.frames, truth.frames, side="right")
    combined = np.cumsum(last - first)
    start = 0
    while start < len(combined):
        before = combined[start - 1] if start else 0
        end = max(int(np.searchsorted(combined, before + _BLOCK, side="right")), start + 1)
        yield slice(start, end), slice(int(first[start]), int(last[end - 1]))
        start = end


def _iou(
    truth_xywh: NDArray[np.float64],
    result_xywh: NDArray[np.float64],
    pair_truth: NDArray[np.int64],
    pair_result: NDArray[np.int64],
) -> NDArray[np.float64]:
    """IoU of pairs; 0 where a box has no area to speak of, as in TrackEval."""
    a = np.ascontiguousarray(xywh_to_xyxy(truth_xywh).T)
    b = np.ascontiguousarray(xywh_to_xyxy(result_xywh).T)
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    a, b = a.take(pair_truth, axis=1), b.take(pair_result, axis=1)
    area_a, area_b = area_a.take(pair_truth), area_b.take(pair_result)
    extent = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    np.maximum(extent, 0, out=extent)
    intersection = extent[0] * extent[1]
    union = area_a + area_b - intersection
    solid = (area_a > EPS) & (area_b > EPS) & (union > EPS)
    iou = np.zeros(len(union))
    np.divide(intersection, union, out=iou, where=solid)
    return iou


def check_threshold(threshold: float) -> None:
    """See that an IoU can be a threshold.

    Raises:
        DataError: It is not in (0, 1].
    """
    if not EPS < threshold <= 1:
        raise DataError(f"expected an IoU threshold above 0, up to 1, found {threshold}")


def best_matching(pairs: SequencePairs, gain: NDArray[np.float64]) -> NDArray[np.intp]:
    """The one-to-one matching of each frame with the largest sum of gains.

    Where several matchings are equally good it is the one `scipy.optimize.linear_sum_assignment`
    finds in the whole table of the frame, with 0 where nothing overlaps; TrackEval asks that.

    Args:
        pairs: The sequence.
        gain: What each pair is worth, above 0, or 0 where it may not be matched; shape (p,).

    Returns:
        Indices of the matched pairs, ascending.
    """
    allowed = np.flatnonzero(gain > 0)
    shape = len(pairs.truth_ids), len(pairs.result_ids)
    chosen, tied = largest_matching(
        pairs.pair_truth[allowed], pairs.pair_result[allowed], gain[allowed], shape
    )
    chosen, tied = allowed[chosen], allowed[tied]
    if len(tied) == 0:
        return np.sort(chosen)
    frame_of_pair = pairs.truth_frames[pairs.pair_truth]
    frames = np.unique(frame_of_pair[tied])
    kept = chosen[~np.isin(frame_of_pair[chosen], frames)]
    again = [match_frame(pairs, f, gain[pairs.pairs_of(f)]) for f in frames.tolist()]
    return np.sort(np.concatenate([kept, *again]))


def match_frame(pairs: SequencePairs, frame: int, gain: NDArray[np.float64]) -> NDArray[np.intp]:
    """Solve one frame as a dense table, rows and columns in the order of the sequence.

    Args:
        pairs: The sequence.
        frame: Counted from 0.
        gain: What each of its pairs is worth, 0 where it may not be matched.

    Returns:
        Indices of the matched pairs.
    """
    top, bottom = np.searchsorted(pairs.truth_frames, [frame, frame + 1]).tolist()
    left, right = np.searchsorted(pairs.result_frames, [frame, frame + 1]).tolist()
    pair = pairs.pairs_of(frame)
    rows = pairs.pair_truth[pair] - top
    columns = pairs.pair_result[pair] - left
    table = np.zeros((bottom - top, right - left))
    table[rows, columns] = gain
    place = np.full(table.shape, -1, np.intp)
    place[rows, columns] = np.arange(pair.start, pair.stop)
    matched = linear_sum_assignment(-table)
    return place[matched][table[matched] > 0]
