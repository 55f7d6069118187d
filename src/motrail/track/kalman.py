"""A Kalman filter for many boxes at once.

SORT, DeepSORT and ByteTrack filter a box with an 8-state constant-velocity model. Its noise is
diagonal and each coordinate is coupled with its own velocity only, so the 8 × 8 filter is exactly
four 2-state filters side by side, and those have a closed form. Everything here is columns: no
matrix is built and nothing is inverted.

A state is a float64 array of shape (5, 4, n): for each of n tracks and each of the coordinates
centre x, centre y, width / height (``xyah``) or width (``cxcywh``), height it holds the rows
`POSITION`, `VELOCITY` (per frame), `VARIANCE` of the position, `COVARIANCE` of position and
velocity, and `VELOCITY_VARIANCE`.

Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box",
ECCV 2022, and the noise of Wojke et al., "Simple Online and Realtime Tracking with a Deep
Association Metric", ICIP 2017: standard deviations grow with the height of the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POSITION, VELOCITY, VARIANCE, COVARIANCE, VELOCITY_VARIANCE = range(5)
HEIGHT = 3


@dataclass(frozen=True)
class Noise:
    """Variance of one kind of noise for the four coordinates.

    They have a standard deviation of `relative` × the height of the box; the third, if it is an
    aspect ratio, has the constant one of `aspect`.
    """

    relative: float
    aspect: float | None = None

    def variance(self, height: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variances for boxes of these heights in pixels, shape (n,) → (4, n)."""
        variance = np.empty((4, len(height)))
        variance[:] = height
        variance *= self.relative
        if self.aspect is not None:
            variance[2] = self.aspect
        variance *= variance
        return variance


@dataclass(frozen=True)
class BoxFilter:
    """Constant-velocity filter over boxes, with ByteTrack's noise for ``xyah`` by default.

    Attributes:
        process: How far a position drifts from constant velocity in one frame.
        process_velocity: How much a velocity changes in one frame.
        measurement: How far a detector's box is from the object.
        birth: Uncertainty of the position of a new track.
        birth_velocity: Uncertainty of the velocity of a new track.
    """

    process: Noise = Noise(1 / 20, 1e-2)
    process_velocity: Noise = Noise(1 / 160, 1e-5)
    measurement: Noise = Noise(1 / 20, 1e-1)
    birth: Noise = Noise(2 / 20, 1e-2)
    birth_velocity: Noise = Noise(10 / 160, 1e-5)

    def initiate(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """States of new tracks at these boxes: columns (4, n) → (5, 4, n)."""
        state = np.zeros((5, *boxes.shape))
        state[POSITION] = boxes
        state[VARIANCE] = self.birth.variance(boxes[HEIGHT])
        state[VELOCITY_VARIANCE] = self.birth_velocity.variance(boxes[HEIGHT])
        return state

    def predict(self, state: NDArray[np.float64]) -> None:
        """Move the states (5, 4, n) one frame on, in place."""
        position, velocity, variance, covariance, velocity_variance = state
        noise = self.process.variance(position[HEIGHT])
        velocity_noise = self.process_velocity.variance(position[HEIGHT])
        position += velocity
        variance += 2 * covariance + velocity_variance + noise
        covariance += velocity_variance
        velocity_variance += velocity_noise

    def update(self, state: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """States (5, 4, n) corrected by measured boxes (4, n) → new states (5, 4, n)."""
        position, velocity, variance, covariance, velocity_variance = state
        spread = variance + self.measurement.variance(position[HEIGHT])
        gain = variance / spread
        velocity_gain = covariance / spread
        surprise = boxes - position
        corrected = np.empty_like(state)
        corrected[POSITION] = position + gain * surprise
        corrected[VELOCITY] = velocity + velocity_gain * surprise
        corrected[VARIANCE] = variance - gain * variance
        corrected[COVARIANCE] = covariance - gain * covariance
        corrected[VELOCITY_VARIANCE] = velocity_variance - velocity_gain * covariance
        return corrected


def ltrb_to_xyah(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns left, top, right, bottom (4, n) → centre x, centre y, width / height, height."""
    left_top = boxes[:2]
    xyah = np.empty_like(boxes)
    size = np.subtract(boxes[2:], left_top, out=xyah[2:])
    np.add(left_top, size * 0.5, out=xyah[:2])
    size[0] /= size[1]
    return xyah


def xyah_to_ltrb(xyah: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns centre x, centre y, width / height, height (4, n) → left, top, right, bottom."""
    half = xyah[2:] * 0.5
    half[0] *= xyah[HEIGHT]
    boxes = np.empty_like(xyah)
    np.subtract(xyah[:2], half, out=boxes[:2])
    np.add(xyah[:2], half, out=boxes[2:])
    return boxes


def ltrb_to_cxcywh(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns left, top, right, bottom (4, n) → centre x, centre y, width, height."""
    cxcywh = np.empty_like(boxes)
    size = np.subtract(boxes[2:], boxes[:2], out=cxcywh[2:])
    np.add(boxes[:2], size * 0.5, out=cxcywh[:2])
    return cxcywh


def cxcywh_to_ltrb(cxcywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns centre x, centre y, width, height (4, n) → left, top, right, bottom."""
    half = cxcywh[2:] * 0.5
    boxes = np.empty_like(cxcywh)
    np.subtract(cxcywh[:2], half, out=boxes[:2])
    np.add(cxcywh[:2], half, out=boxes[2:])
    return boxes
