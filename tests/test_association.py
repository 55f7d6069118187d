"""Association against plain ways of doing the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from motrail import boxes as box_functions
from motrail.boxes import overlapping_pairs
from motrail.track import association
from motrail.track.association import assign, match, side

if TYPE_CHECKING:
    from numpy.typing import NDArray


def boxes(rng: np.random.Generator, count: int, spread: float) -> NDArray[np.float64]:
    centre = rng.uniform(0, spread, (2, count))
    half = rng.uniform(2, 60, (2, count))
    return np.concatenate((centre - half, centre + half))


def plain_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU on inclusive pixels, pair by pair."""
    iou = np.zeros((a.shape[1], b.shape[1]))
    for i, (ax1, ay1, ax2, ay2) in enumerate(a.T):
        for j, (bx1, by1, bx2, by2) in enumerate(b.T):
            width = min(ax2, bx2) - max(ax1, bx1) + 1
            height = min(ay2, by2) - max(ay1, by1) + 1
            if width > 0 and height > 0:
                both = width * height
                area_a = (ax2 - ax1 + 1) * (ay2 - ay1 + 1)
                area_b = (bx2 - bx1 + 1) * (by2 - by1 + 1)
                iou[i, j] = both / (area_a + area_b - both)
    return iou


def a_side(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return side(columns, np.zeros(columns.shape[1], np.int64), None)


@pytest.mark.parametrize("dense_pairs", [0, 10**9])
@pytest.mark.parametrize("min_iou", [0.0, 0.2, 0.5, 0.85, 1.0])
@pytest.mark.parametrize("shape", [(1.0, 1.0), (1.0, 20.0), (20.0, 1.0)])
def test_overlapping_pairs_are_all_found_once(
    monkeypatch: pytest.MonkeyPatch, dense_pairs: int, min_iou: float, shape: tuple[float, float]
) -> None:
    monkeypatch.setattr(box_functions, "_DENSE_PAIRS", dense_pairs)
    rng = np.random.default_rng(5)
    a, b = boxes(rng, 70, 400), boxes(rng, 50, 400)
    b[:, :20] = a[:, :20] + rng.normal(0, 1, (4, 20))  # some that nearly coincide
    b[:, 20:25] = a[:, 20:25]
    stretch = np.array(shape * 2)[:, None]
    a, b = a * stretch, b * stretch
    expected = plain_iou(a, b)
    rows, columns, iou = overlapping_pairs(a_side(a), a_side(b), min_iou=min_iou)
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
    np.testing.assert_allclose(iou, expected[rows, columns], rtol=1e-12)
    found = np.zeros(expected.shape, np.bool_)
    found[rows, columns] = True
    assert found[expected > min_iou * (1 + 1e-9)].all()
    assert (expected[found] > 0).all()


def best_total(gain: NDArray[np.float64]) -> float:
    rows, columns = linear_sum_assignment(-np.maximum(gain, 0))
    return float(np.maximum(gain[rows, columns], 0).sum())


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("few", [0, 10**9])
def test_the_matching_has_the_largest_sum(
    monkeypatch: pytest.MonkeyPatch, seed: int, few: int
) -> None:
    monkeypatch.setattr(association, "_FEW_PAIRS", few)
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 40, 2)
    gain = rng.uniform(-1, 1, (n, m)) - rng.uniform(0, 1)
    if seed % 3 == 0:  # many equals
        gain = np.round(gain * 4) / 4
    rows, columns = (gain > 0).nonzero()
    r, c = assign(rows, columns, gain[rows, columns], (int(n), int(m)))
    assert len(set(r.tolist())) == len(set(c.tolist())) == len(r) == len(c)
    assert (gain[r, c] > 0).all()
    assert gain[r, c].sum() == pytest.approx(best_total(gain))


def test_no_pairs_no_matches() -> None:
    none = np.empty(0, np.intp)
    rows, columns = assign(none, none, np.empty(0), (3, 4))
    assert len(rows) == len(columns) == 0
    a = a_side(boxes(np.random.default_rng(0), 3, 100))
    assert len(match(a, a[:, :0], 0.8, weighted=True, classes=True)[0]) == 0


@pytest.mark.parametrize("seed", range(10))
def test_match_minimises_cost_minus_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = boxes(rng, 120, 500), boxes(rng, 100, 500)
    classes_a, classes_b = rng.integers(0, 2, 120), rng.integers(0, 2, 100)
    weights = rng.uniform(0.1, 1, 100).astype(np.float32)
    rows, columns = match(
        side(a, classes_a, None), side(b, classes_b, weights), 0.8, weighted=True, classes=True
    )
    gain = 0.8 - (1 - plain_iou(a, b) * weights)
    gain[classes_a[:, None] != classes_b[None, :]] = -1
    assert gain[rows, columns].sum() == pytest.approx(best_total(gain))
    assert (classes_a[rows] == classes_b[columns]).all()
