"""The best one-to-one matching of many pairs, without a big table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIE = 1e-9
"""Sums of gains that differ by less than this share are taken for equal: their order may be an
accident of rounding."""

# A dense table of more entries than this is left to the solver for sparse ones.
_DENSE_TABLE = 1_000_000


def largest_matching(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    gain: NDArray[np.float64],
    shape: tuple[int, int],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The one-to-one matching with the largest sum of gains.

    A pair worth more than all its rivals in row and column together is in every best matching;
    that settles nearly all pairs of a real scene, all frames at once. What is left falls apart
    into small groups that share no row or column.

    Args:
        rows: Row of each pair, shape (p,).
        columns: Column of each pair, shape (p,).
        gain: What it is worth, above 0, shape (p,).
        shape: Number of rows and columns.

    Returns:
        Indices of the matched pairs, and indices of pairs in groups that have another matching
        as good as the one given, but for rounding.
    """
    chosen: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
    left = np.arange(len(rows))
    while len(left):
        r, c, g = rows[left], columns[left], gain[left]
        rivals = np.bincount(r, g, shape[0])[r] + np.bincount(c, g, shape[1])[c]
        sure = 3 * g > rivals * (1 + TIE)
        if not sure.any():
            break
        chosen.append(left[sure])
        open_rows, open_columns = np.ones(shape[0], np.bool_), np.ones(shape[1], np.bool_)
        open_rows[r[sure]] = False
        open_columns[c[sure]] = False
        left = left[open_rows[r] & open_columns[c]]
    tied: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
    for group in _groups(rows, columns, left):
        best, unique = _solve(rows[group], columns[group], gain[group])
        chosen.append(group[best])
        if not unique:
            tied.append(group)
    return np.concatenate(chosen), np.concatenate(tied)


def _groups(
    rows: NDArray[np.int64], columns: NDArray[np.int64], pairs: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    """Split pairs into groups that share no row or column with another."""
    if len(pairs) == 0:
        return []
    _, r = np.unique(rows[pairs], return_inverse=True)
    _, c = np.unique(columns[pairs], return_inverse=True)
    c += r.max() + 1
    size = int(c.max()) + 1
    graph = coo_array((np.ones(len(r), np.int8), (r, c)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][r]
    order = np.argsort(group, kind="stable")
    return np.split(pairs[order], np.flatnonzero(np.diff(group[order])) + 1)


def _solve(
    rows: NDArray[np.int64], columns: NDArray[np.int64], gain: NDArray[np.float64]
) -> tuple[NDArray[np.intp], bool]:
    """Best matching of a group, and whether there is no other as good, but for rounding."""
    best = _assign(rows, columns, gain)
    # With the matched pairs made a trifle worse, an equal matching would be the better one.
    handicapped = gain.copy()
    handicapped[best] *= 1 - TIE
    return best, np.array_equal(best, _assign(rows, columns, handicapped))


def _assign(
    rows: NDArray[np.int64], columns: NDArray[np.int64], gain: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Indices of the pairs of the matching with the largest sum of gains, ascending."""
    row_names, r = np.unique(rows, return_inverse=True)
    column_names, c = np.unique(columns, return_inverse=True)
    shape = len(row_names), len(column_names)
    if shape[0] * shape[1] > _DENSE_TABLE:
        return _assign_sparse(r, c, gain, shape)
    table = np.zeros(shape)
    table[r, c] = -gain
    row_match, column_match = linear_sum_assignment(table)
    partner = np.full(shape[0], -1)
    partner[row_match] = column_match
    return np.flatnonzero(partner[r] == c)


def _assign_sparse(
    r: NDArray[np.intp], c: NDArray[np.intp], gain: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.intp]:
    # Each row may also stay alone, in a column of its own, for a gain of nothing. The solver wants
    # costs other than 0; every row is matched once, so adding the same to all changes nothing.
    row = np.concatenate([r, np.arange(shape[0])])
    column = np.concatenate([c, shape[1] + np.arange(shape[0])])
    cost = np.concatenate([2 * gain.max() - gain, np.full(shape[0], 2 * gain.max())])
    graph = coo_array((cost, (row, column)), shape=(shape[0], shape[1] + shape[0])).tocsr()
    row_match, column_match = min_weight_full_bipartite_matching(graph)
    partner = np.full(shape[0], -1)
    partner[row_match] = column_match
    return np.flatnonzero(partner[r] == c)
