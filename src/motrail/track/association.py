"""Which track belongs to which box: gating and the assignment.

Boxes are float64 columns left, top, right, bottom of shape (4, n): a coordinate of all boxes lies
together in memory. Only pairs that overlap are ever looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from motrail.boxes import AREA, BOTTOM, TOP, overlapping_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

# So few pairs are solved sooner than they are thinned out.
_FEW_PAIRS = 100


# Rows of one side of an association besides those of `motrail.boxes.overlapping_pairs`; float64 of
# shape (8, n). One array, so that picking some of the tracks or boxes is one operation.
CLASS, WEIGHT, PIXEL = 5, 6, 7


def side(
    boxes: NDArray[np.float64],
    classes: NDArray[np.int64],
    weights: NDArray[np.floating] | None,
    pixel: float = 1,
) -> NDArray[np.float64]:
    """Make one side of an association: the tracks, or the boxes found in a frame.

    Right, bottom and area are counted on inclusive pixels: a box from pixel 10 to pixel 19 is 10
    pixels wide, so `pixel` is added to every side. That is what the published ByteTrack does here.

    Args:
        boxes: Left, top, right, bottom, shape (4, n).
        classes: Shape (n,).
        weights: What the IoU with these boxes is multiplied by, in [0, 1], shape (n,); None for 1.
        pixel: 1, or 0 for boxes whose sides are what they are.
    """
    columns = np.empty((8, boxes.shape[1]))
    columns[:4] = boxes
    columns[2:4] += pixel
    extent = columns[2:4] - columns[:2]
    np.multiply(extent[0], extent[1], out=columns[AREA])
    columns[CLASS] = classes
    columns[PIXEL] = pixel
    columns[WEIGHT] = 1 if weights is None else weights
    return columns


def match(
    tracks: NDArray[np.float64],
    found: NDArray[np.float64],
    threshold: float,
    *,
    weighted: bool,
    classes: bool,
    height_weight: float = 0,
    surprise_weight: float = 0,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Match tracks to boxes at the smallest sum of (cost − threshold).

    The cost of a pair is 1 − similarity, and the similarity is the IoU, times the overlap of their
    heights to the power of `height_weight` (what both cover of the vertical axis, divided by what
    either covers), times the weight of the box found if `weighted`. To that comes `surprise_weight`
    times the difference of the weights of track and box.

    Args:
        tracks: Made by `side`, n of them.
        found: Made by `side`, m of them.
        threshold: Largest cost of a match, in (0, 1].
        weighted: Whether the weight of the box found counts.
        classes: Whether only equal classes may match.
        height_weight: 0 or more; 0 leaves the heights out.
        surprise_weight: 0 or more.

    Returns:
        Rows of `tracks` and of `found` that belong together.
    """
    shape = tracks.shape[1], found.shape[1]
    if not (shape[0] and shape[1]):
        return _NONE, _NONE
    # A weight is at most 1, so the IoU alone must make up for 1 − threshold.
    rows, columns, gain = overlapping_pairs(tracks, found, min_iou=1 - threshold)
    if height_weight:
        gain *= _height_overlap(tracks, found, rows, columns) ** height_weight
    if weighted:
        gain *= found[WEIGHT].take(columns)
    if surprise_weight:
        surprise = np.abs(tracks[WEIGHT].take(rows) - found[WEIGHT].take(columns))
        gain -= surprise_weight * surprise
    gain -= 1 - threshold
    allowed = gain > 0
    if classes:
        allowed &= tracks[CLASS].take(rows) == found[CLASS].take(columns)
    near = allowed.nonzero()[0]
    return assign(rows.take(near), columns.take(near), gain.take(near), shape)


_NONE = np.empty(0, np.intp)


def _height_overlap(
    tracks: NDArray[np.float64],
    found: NDArray[np.float64],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Of pairs that overlap, the height that both cover by the height that either covers.

    Source: Yang et al., "Hybrid-SORT: Weak Cues Matter for Online Multi-Object Tracking", AAAI
    2024, height-modulated IoU.
    """
    top, other_top = tracks[TOP].take(rows), found[TOP].take(columns)
    # Plain, without the pixel that `side` may have added.
    bottom = tracks[BOTTOM].take(rows) - tracks[PIXEL].take(rows)
    other_bottom = found[BOTTOM].take(columns) - found[PIXEL].take(columns)
    common = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    both = np.maximum(bottom, other_bottom) - np.minimum(top, other_top)
    overlap: NDArray[np.float64] = np.maximum(common, 0) / both
    return overlap


def assign(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    gain: NDArray[np.float64],
    shape: tuple[int, int],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The one-to-one matching with the largest sum of gains.

    With gain = threshold − cost this is the assignment that minimises the sum of
    (cost − threshold) over its matches, as `lap.lapjv` does with a cost limit.

    Args:
        rows: Row of each allowed pair, counted from 0, shape (p,).
        columns: Its column, shape (p,).
        gain: What it is worth, above 0, shape (p,).
        shape: Number of rows and columns.

    Returns:
        Rows and columns of the matches.
    """
    matched: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    while len(rows):
        sure = _outweighs_sums(rows, columns, gain, shape)
        if not sure.any() and len(rows) > _FEW_PAIRS:
            sure = _outweighs_rivals(rows, columns, gain, shape)
        if not sure.any():
            matched.append(_assign_exactly(rows, columns, gain))
            break
        settled = rows[sure], columns[sure]
        matched.append(settled)
        if len(settled[0]) == len(rows):
            break
        open_rows, open_columns = np.ones(shape[0], np.bool_), np.ones(shape[1], np.bool_)
        open_rows[settled[0]] = False
        open_columns[settled[1]] = False
        still = (open_rows[rows] & open_columns[columns]).nonzero()[0]
        rows, columns, gain = rows[still], columns[still], gain[still]
    if len(matched) == 1:
        return matched[0]
    if not matched:
        return rows, columns
    return np.concatenate([m[0] for m in matched]), np.concatenate([m[1] for m in matched])


# A pair worth more than the best rival in its row and the best rival in its column together is in
# every best matching, for a matching without it holds at most one pair of each, and swapping them
# for this one gains. In a real scene that settles nearly all pairs without solving anything.


def _outweighs_sums(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    gain: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.bool_]:
    """Pairs worth more than all their rivals together: stricter than needed, and quick to see."""
    per_row = np.bincount(rows, gain, shape[0])
    per_column = np.bincount(columns, gain, shape[1])
    outweighs: NDArray[np.bool_] = 3 * gain > per_row[rows] + per_column[columns]
    return outweighs


def _outweighs_rivals(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    gain: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.bool_]:
    """Pairs worth more than their best rival in the row and their best in the column together."""
    outweighs: NDArray[np.bool_] = gain > (
        _best_rival(rows, gain, shape[0]) + _best_rival(columns, gain, shape[1])
    )
    return outweighs


def _best_rival(
    lines: NDArray[np.intp], gain: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """For each pair the largest gain among the others in its row, or in its column."""
    best = np.zeros(count)
    np.maximum.at(best, lines, gain)
    lesser = gain < best[lines]
    second = np.zeros(count)
    np.maximum.at(second, lines[lesser], gain[lesser])
    twice = np.bincount(lines[~lesser], minlength=count) > 1  # two equals are each other's rival
    second[twice] = best[twice]
    return np.where(lesser, best[lines], second[lines])


def _assign_exactly(
    rows: NDArray[np.intp], columns: NDArray[np.intp], gain: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Solve what is left as a dense assignment problem."""
    row_ids, row = _renumber(rows)
    column_ids, column = _renumber(columns)
    cost = np.zeros((len(row_ids), len(column_ids)))
    cost[row, column] = -gain
    r, c = linear_sum_assignment(cost)
    kept = cost[r, c] < 0
    return row_ids[r[kept]], column_ids[c[kept]]


def _renumber(lines: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The lines that occur, ascending, and the place of each entry among them."""
    occurs = np.bincount(lines) > 0
    place = np.cumsum(occurs) - 1
    return occurs.nonzero()[0], place[lines]
