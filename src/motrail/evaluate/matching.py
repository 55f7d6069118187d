"""The best one-to-one matching of many pairs, without a big table."""

from __future__ import annotations

import itertools
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

# Groups of up to so many rows and columns are solved together, in 24 permutations.
_SMALL = 4


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
            sure = g * (1 - TIE) > _best_rival(r, g, shape[0]) + _best_rival(c, g, shape[1])
        if not sure.any():
            break
        chosen.append(left[sure])
        open_rows, open_columns = np.ones(shape[0], np.bool_), np.ones(shape[1], np.bool_)
        open_rows[r[sure]] = False
        open_columns[c[sure]] = False
        left = left[open_rows[r] & open_columns[c]]
    settled, tied = _solve_groups(rows, columns, gain, left)
    return np.concatenate([*chosen, settled]), tied


def _best_rival(
    lines: NDArray[np.int64], gain: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """For each pair the largest gain among the others in its row, or in its column."""
    order = np.lexsort((gain, lines))
    line, value = lines[order], gain[order]
    last = np.append(line[1:] != line[:-1], np.True_)
    best, second = np.zeros(count), np.zeros(count)
    best[line[last]] = value[last]
    before_last = np.flatnonzero(~last & np.append(last[1:], np.False_))
    second[line[before_last]] = value[before_last]
    # The best of a line has the second for its rival; of two equal ones each is the other's.
    return np.where(gain < best[lines], best[lines], second[lines])


def _solve_groups(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    gain: NDArray[np.float64],
    pairs: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The matched ones of these pairs, and those in groups with another matching as good."""
    if len(pairs) == 0:
        return pairs, pairs
    r, c = _renumbered(rows[pairs]), _renumbered(columns[pairs])
    size = int(r.max()) + 1, int(c.max()) + 1
    graph = coo_array((np.ones(len(r), np.int8), (r, c + size[0])), shape=(sum(size), sum(size)))
    groups = connected_components(graph, directed=False)[1]
    row, column = _place_in_group(groups[: size[0]])[r], _place_in_group(groups[size[0] :])[c]
    group = _renumbered(groups[r])
    extent = np.zeros(int(group.max()) + 1, np.int64)
    np.maximum.at(extent, group, np.maximum(row, column) + 1)
    small = extent[group] <= _SMALL
    matched, tied = _solve_small(group[small], row[small], column[small], gain[pairs[small]])
    chosen = [pairs[small][matched]]
    unsure = [pairs[small][tied]]
    large = pairs[~small]
    order = np.argsort(group[~small], kind="stable")
    ends = np.flatnonzero(np.diff(group[~small][order])) + 1
    for one in np.split(large[order], ends) if len(large) else ():
        best, unique = _solve(rows[one], columns[one], gain[one])
        chosen.append(one[best])
        if not unique:
            unsure.append(one)
    return np.concatenate(chosen), np.concatenate(unsure)


def _renumbered(names: NDArray[np.integer]) -> NDArray[np.int64]:
    """The place of each number among those in use, in ascending order, from 0."""
    place: NDArray[np.int64] = np.cumsum(np.bincount(names) > 0, dtype=np.int64) - 1
    places: NDArray[np.int64] = place[names]
    return places


def _place_in_group(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """The how manieth of its group each is, from 0."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[order])
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - first
    return place


def _solve_small(
    group: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    gain: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Solve all small groups at once, by trying every permutation.

    Args:
        group: Of each pair, shape (p,).
        rows: In its group, below `_SMALL`, shape (p,).
        columns: In its group, below `_SMALL`, shape (p,).
        gain: What it is worth, above 0, shape (p,).

    Returns:
        For each pair whether it is matched, and whether its group has another matching as good,
        but for rounding.
    """
    ways = np.array(list(itertools.permutations(range(_SMALL))))
    table = np.zeros((int(group.max(initial=-1)) + 1, _SMALL, _SMALL))
    table[group, rows, columns] = gain
    best = _sums(table, ways).argmax(axis=1)
    matched = ways[best[group], rows] == columns
    # With the matched pairs made a trifle worse, an equal matching would be the better one.
    table[group[matched], rows[matched], columns[matched]] *= 1 - TIE
    sums = _sums(table, ways)
    tied = sums.max(axis=1) > sums[np.arange(len(sums)), best]
    return matched, tied[group]


def _sums(table: NDArray[np.float64], ways: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each way of matching is worth in each table, shape (tables, ways)."""
    total = np.zeros((len(table), len(ways)))
    for row in range(_SMALL):
        total += table[:, row, ways[:, row]]
    return total


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
