"""Find out from the tracks themselves how objects move and how far their boxes err.

The second differences of an object's measured positions are those of its movement plus those of
the errors. Both have a known covariance but for a few numbers, which are those that make the
tracks most likely (maximum likelihood, over all objects of a class together).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular, toeplitz
from scipy.optimize import minimize

from motrail.analyze.smooth import Motion

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTHS = (48, 24, 12, 6)
_ENOUGH = 12
_MOST = 400
_SPREAD = 0.1
_LASTING = (0.0, 0.4, 0.7, 0.9)
_SECONDS = (0.06, 0.12, 0.25, 0.5)
_REACTIONS = (0.1, 0.25, 0.5, 1.0)
_ODD = 6.0
"""Runs whose differences are so many times as large as they should be are other troubles."""
_USUAL_NOISE = 0.02
_USUAL_CHANGE = 2.0
"""Metres a second by which the usual object changes its speed within a second; box heights where
there are no metres."""


class Runs(NamedTuple):
    """Stretches of positions without a gap.

    Attributes:
        along: Positions along one axis, float64, shape (n, length).
        from_u: Variance along it of an error of one box height to the side, float64, shape (n,).
        from_v: The same of an error along the height.
        step: Seconds between positions.
    """

    along: NDArray[np.float64]
    from_u: NDArray[np.float64]
    from_v: NDArray[np.float64]
    step: float


def estimate(runs: Runs | None, pace: float, length: float) -> Motion:
    """The numbers that make the runs most likely.

    Args:
        runs: Of objects of one class; None where there are none.
        pace: Usual speed, for `Motion`.
        length: Of the usual unit: 1 in metres, the usual height of boxes in pixels.
    """
    usual = Motion(
        (_USUAL_CHANGE * length) ** 2,
        _REACTIONS[1],
        _USUAL_NOISE,
        _USUAL_NOISE,
        0.0,
        _SECONDS[0],
        pace,
    )
    if runs is None or not len(runs.along):
        return usual
    best, kept = _fit(runs, usual)
    if not kept.all():
        best, _ = _fit(
            Runs(runs.along[kept], runs.from_u[kept], runs.from_v[kept], runs.step), usual
        )
    return best


def _fit(runs: Runs, usual: Motion) -> tuple[Motion, NDArray[np.bool_]]:
    differences = np.diff(runs.along, n=2, axis=1)
    size = differences.shape[1]
    found: tuple[float, Motion, NDArray[np.bool_]] | None = None
    start = _start(runs, differences)
    for lasting in _LASTING:
        for seconds in _SECONDS if lasting else _SECONDS[:1]:
            noise = _noise(size, runs.step, lasting, seconds)
            lower = cholesky(noise, lower=True)
            white = solve_triangular(lower, differences.T, lower=True).T
            constant = 2 * len(runs.along) * float(np.log(np.diag(lower)).sum())
            for reaction in _REACTIONS:
                half = solve_triangular(lower, _movement(size, runs.step, reaction), lower=True)
                whole = solve_triangular(lower, half.T, lower=True)
                values, vectors = eigh((whole + whole.T) / 2)
                squares, values = (white @ vectors) ** 2, np.maximum(values, 0)
                answer = _search(runs, squares, values, start)
                if found is None or answer.fun + constant < found[0]:
                    agility, u, v = np.exp(answer.x).tolist()
                    energy = (squares / _spread(runs, answer.x, values)).mean(axis=1)
                    motion = Motion(agility, reaction, u, v, lasting, seconds, usual.pace)
                    found = (float(answer.fun) + constant, motion, energy < _ODD)
                    start = answer.x
    assert found is not None  # noqa: S101  (the loops are not empty)
    return found[1], found[2] if found[2].any() else np.ones(len(runs.along), np.bool_)


def _search(
    runs: Runs,
    squares: NDArray[np.float64],
    values: NDArray[np.float64],
    start: NDArray[np.float64],
) -> Any:
    def cost(logs: NDArray[np.float64]) -> float:
        spread = _spread(runs, logs, values)
        return float((np.log(spread) + squares / spread).sum())

    return minimize(cost, start, method="Nelder-Mead", options={"xatol": 0.02, "fatol": 1.0})


def _spread(
    runs: Runs, logs: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    agility, u, v = np.exp(np.clip(logs, -60, 60))
    noise = runs.from_u * u**2 + runs.from_v * v**2
    return np.asarray(agility * values + noise[:, None] + 1e-30, np.float64)


def _start(runs: Runs, differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of what differs is movement, half error."""
    variance = max(float(np.median((differences**2).mean(axis=1))), 1e-18)
    area = max(float(np.median(runs.from_u + runs.from_v)), 1e-18)
    deviation = np.sqrt(variance / 12 / area)
    agility = variance / 2 / runs.step**3
    return np.asarray(np.log([agility, deviation, deviation]), np.float64)


def _movement(size: int, step: float, reaction: float) -> NDArray[np.float64]:
    """Covariance of second differences of the movement, for an agility of 1.

    A second difference is the acceleration weighted with a triangle of two steps' width; the
    covariance of two is that of the acceleration weighted with the cubic spline which a triangle
    gives with itself.
    """
    nodes, weights = np.polynomial.legendre.leggauss(24)
    row = np.zeros(size)
    for left in (-2, -1, 0, 1):
        u = left + (nodes + 1) / 2
        a = np.abs(u)
        spline = np.where(a < 1, (4 - 6 * a**2 + 3 * a**3) / 6, (2 - a) ** 3 / 6)
        lags = np.abs(np.arange(size)[:, None] + u) * step
        row += np.exp(-lags / reaction) @ (weights / 2 * spline)
    return np.asarray(toeplitz(row * step**4 / (2 * reaction)), np.float64)


def _noise(size: int, step: float, lasting: float, seconds: float) -> NDArray[np.float64]:
    """Covariance of second differences of errors of variance 1."""
    places = np.arange(size + 2)
    fading = lasting * np.exp(-np.abs(places[:, None] - places) * step / seconds)
    errors = fading + (1 - lasting) * np.eye(size + 2)
    return np.asarray(np.diff(np.diff(errors, n=2, axis=0), n=2, axis=1), np.float64)


def cut_runs(
    along: NDArray[np.float64],
    from_u: NDArray[np.float64],
    from_v: NDArray[np.float64],
    steps: NDArray[np.float64],
    starts: NDArray[np.bool_],
) -> Runs | None:
    """Cut tracks into runs of equal length and equal steps, the longest of which there are enough.

    Args:
        along: Positions along each of two axes, shape (2, n).
        from_u: As in `Runs`, of each row, shape (2, n).
        from_v: The same.
        steps: Seconds from the row before, shape (n,).
        starts: Whether a row has no row before it that belongs to it, shape (n,).

    Returns:
        The runs; None where there are no six rows in a row.
    """
    inner = steps[~starts]
    if not len(inner):
        return None
    step = float(np.median(inner))
    uneven = starts | (np.abs(steps - step) > _SPREAD * step)
    chosen: NDArray[np.intp] | None = None
    length = 0
    for length in _LENGTHS:
        chosen = _places(uneven, length)
        if len(chosen) >= _ENOUGH:
            break
    if chosen is None or not len(chosen):
        return None
    if len(chosen) > _MOST:
        chosen = chosen[np.linspace(0, len(chosen) - 1, _MOST).astype(np.intp)]
    rows = chosen[:, None] + np.arange(length)
    middle = chosen + length // 2
    return Runs(
        np.concatenate([along[0][rows], along[1][rows]]),
        np.concatenate([from_u[0][middle], from_u[1][middle]]),
        np.concatenate([from_v[0][middle], from_v[1][middle]]),
        step,
    )


def _places(uneven: NDArray[np.bool_], length: int) -> NDArray[np.intp]:
    """First rows of runs that do not overlap and have no uneven step inside."""
    begins = np.flatnonzero(uneven)
    if not len(begins) or begins[0]:
        begins = np.concatenate([[0], begins])
    sizes = np.diff(np.append(begins, len(uneven)))
    counts = sizes // length
    which = np.repeat(np.arange(len(begins)), counts)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(begins[which] + place * length, np.intp)
