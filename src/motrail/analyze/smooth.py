"""Smooth positions: a Kalman filter forwards and its smoother backwards, many tracks at a time.

Along each axis of the ground an object has a position, a velocity, an acceleration that changes at
random and fades (Singer, Estimating Optimal Tracking Filter Performance for Manned Maneuvering
Targets, 1970), and an error of its box that lasts a little, as legs swing and detectors err alike
from frame to frame. What is left of the error is new in every frame.

The smoother is Durbin and Koopman's, Time Series Analysis by State Space Methods, 2nd edition,
section 4.4: it needs no inverse of a matrix, and a frame without a box costs it nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Motion(NamedTuple):
    """How objects move, and how their boxes err.

    Attributes:
        agility: Spectral density of slow acceleration, in squared units of length per second cubed.
        reaction: Seconds in which the correlation of acceleration falls to 1/e.
        noise_u: Deviation of a box's foot to the sides, in heights of the box.
        noise_v: The same along the height.
        lasting: Share of the error's variance that lasts, 0 to 1.
        seconds: How long it lasts: the time in which its correlation falls to 1/e.
        pace: Usual speed, in units of length per second: what is assumed before anything is seen.
    """

    agility: float
    reaction: float
    noise_u: float
    noise_v: float
    lasting: float
    seconds: float
    pace: float


class Smoothed(NamedTuple):
    """Positions and velocities along one axis, with their variances; shape (steps, batch) each."""

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    position_variance: NDArray[np.float64]
    velocity_variance: NDArray[np.float64]


def smooth(
    measured: NDArray[np.float64],
    steps: NDArray[np.float64],
    deviation: NDArray[np.float64],
    motion: Motion,
) -> Smoothed:
    """Smooth many series at a time.

    Args:
        measured: float64, shape (steps, batch); NaN where there is nothing.
        steps: Seconds from the row before, shape (steps, batch); of the first row it is not used.
        deviation: Of the error of each measurement, in units of length, shape (steps, batch).
        motion: How the objects move, and how long errors last.

    Returns:
        For each row what all rows together say of it.
    """
    count, batch = measured.shape
    seen = np.isfinite(measured)
    # Around the first measurement, so that large coordinates cost no precision.
    first = np.argmax(seen, axis=0)
    origin = np.where(seen.any(axis=0), measured[first, np.arange(batch)], 0.0)
    centred = np.where(seen, measured - origin, 0.0)
    fading = np.exp(-steps / motion.seconds)
    if not motion.lasting:
        fading = np.zeros_like(steps)
    states = np.empty((count, 4, batch))
    covariances = np.empty((count, 4, 4, batch))
    gains = np.empty((count, 4, batch))
    surprises = np.zeros((count, batch))
    certainty = np.zeros((count, batch))
    state = np.zeros((4, batch))
    # Of the first position nothing is known but that it was measured there.
    wide = 1e4 * (deviation.max(axis=0) ** 2) + motion.pace**2
    covariance = np.zeros((4, 4, batch))
    covariance[0, 0], covariance[1, 1], covariance[3, 3] = wide, motion.pace**2, motion.lasting
    covariance[2, 2] = motion.agility / (2 * motion.reaction)
    for row in range(count):
        if row:
            state, covariance = _predict(state, covariance, steps[row], fading[row], motion)
        states[row], covariances[row] = state, covariance
        scale, given = deviation[row], seen[row]
        # What is measured is position + scale · lasting error.
        towards = covariance[:, 0] + scale * covariance[:, 3]
        variance = towards[0] + scale * towards[3] + (1 - motion.lasting) * scale**2
        certainty[row] = np.where(given, 1 / np.maximum(variance, 1e-300), 0.0)
        surprises[row] = np.where(given, centred[row] - state[0] - scale * state[3], 0.0)
        gains[row] = towards * certainty[row]
        state = state + gains[row] * surprises[row]
        covariance = covariance - towards[:, None] * gains[row][None]
    rows = (steps, fading, deviation)
    return _backwards(states, covariances, gains, surprises, certainty, rows, origin, motion)


def _predict(
    state: NDArray[np.float64],
    covariance: NDArray[np.float64],
    step: NDArray[np.float64],
    fading: NDArray[np.float64],
    motion: Motion,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = step / motion.reaction
    fall = np.exp(-x)
    # What an acceleration of 1 that fades does to the velocity and to the position.
    to_velocity = motion.reaction * -np.expm1(-x)
    to_position = motion.reaction * (step - to_velocity)
    moved = np.stack(
        [
            state[0] + step * state[1] + to_position * state[2],
            state[1] + to_velocity * state[2],
            fall * state[2],
            fading * state[3],
        ]
    )
    half = np.stack(
        [
            covariance[0] + step * covariance[1] + to_position * covariance[2],
            covariance[1] + to_velocity * covariance[2],
            fall * covariance[2],
            fading * covariance[3],
        ]
    )
    new = np.stack(
        [
            half[:, 0] + step * half[:, 1] + to_position * half[:, 2],
            half[:, 1] + to_velocity * half[:, 2],
            fall * half[:, 2],
            fading * half[:, 3],
        ],
        axis=1,
    )
    new[:3, :3] += _restlessness(step, motion)
    new[3, 3] += motion.lasting * (1 - fading**2)
    return moved, new


def _restlessness(step: NDArray[np.float64], motion: Motion) -> NDArray[np.float64]:
    """What is added to the covariance in a step, shape (3, 3, batch).

    Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and Navigation, 2001,
    equation 8.2.3-9, for an acceleration whose density at rest is `agility`.
    """
    reaction = motion.reaction
    x = step / reaction
    e1, e2 = np.exp(-x), np.exp(-2 * x)
    pp = 1 - e2 + 2 * x + 2 * x**3 / 3 - 2 * x**2 - 4 * x * e1
    pv = e2 + 1 - 2 * e1 + 2 * x * e1 - 2 * x + x**2
    pa = 1 - e2 - 2 * x * e1
    vv = 4 * e1 - 3 - e2 + 2 * x
    va = e2 + 1 - 2 * e1
    rows = [[pp, pv, pa], [pv, vv, va], [pa, va, 1 - e2]]
    powers = np.add.outer([2, 1, 0], [2, 1, 0])
    scale = motion.agility / (2 * reaction) * reaction**powers
    return np.asarray(rows, np.float64) * scale[:, :, None]


def _backwards(
    states: NDArray[np.float64],
    covariances: NDArray[np.float64],
    gains: NDArray[np.float64],
    surprises: NDArray[np.float64],
    certainty: NDArray[np.float64],
    rows: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    origin: NDArray[np.float64],
    motion: Motion,
) -> Smoothed:
    steps, fading, deviation = rows
    count, _, batch = states.shape
    pull, weight = np.zeros((4, batch)), np.zeros((4, 4, batch))
    out = np.empty((4, count, batch))
    for row in range(count - 1, -1, -1):
        # Through the measurement: observed is [1, 0, 0, scale] · state.
        scale, gain = deviation[row], gains[row]
        toward = np.stack([np.ones(batch), np.zeros(batch), np.zeros(batch), scale])
        along = (gain * pull).sum(axis=0)
        pull = pull + toward * (surprises[row] * certainty[row] - along)
        carried = (weight * gain[None]).sum(axis=1)
        bend = (gain * carried).sum(axis=0) + certainty[row]
        weight = (
            weight
            - carried[:, None] * toward[None]
            - toward[:, None] * carried[None]
            + toward[:, None] * toward[None] * bend
        )
        before = covariances[row]
        out[:2, row] = states[row, :2] + np.einsum("ijb,jb->ib", before[:2], pull)
        for axis in (0, 1):
            pulled = np.einsum("ijb,jb->ib", weight, before[axis])
            out[2 + axis, row] = before[axis, axis] - (before[axis] * pulled).sum(axis=0)
        if row:
            step, fade = steps[row], fading[row]
            pull = _transposed(pull, step, fade, motion)
            weight = _transposed(
                _transposed(weight, step, fade, motion).swapaxes(0, 1), step, fade, motion
            )
    return Smoothed(out[0] + origin, out[1], np.maximum(out[2], 0), np.maximum(out[3], 0))


def _transposed(
    values: NDArray[np.float64],
    step: NDArray[np.float64],
    fade: NDArray[np.float64],
    motion: Motion,
) -> NDArray[np.float64]:
    """The transpose of the step of `_predict`, times `values`, shape (4, ...)."""
    x = step / motion.reaction
    to_velocity = motion.reaction * -np.expm1(-x)
    to_position = motion.reaction * (step - to_velocity)
    return np.stack(
        [
            values[0],
            step * values[0] + values[1],
            to_position * values[0] + to_velocity * values[1] + np.exp(-x) * values[2],
            fade * values[3],
        ]
    )
