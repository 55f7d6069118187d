"""The closed form against the 8 × 8 filter it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.track.kalman import (
    COVARIANCE,
    POSITION,
    VARIANCE,
    VELOCITY,
    VELOCITY_VARIANCE,
    BoxFilter,
    ltrb_to_xyah,
    xyah_to_ltrb,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MatrixFilter:
    """The textbook: mean (8,), covariance (8, 8)."""

    def __init__(self, box: NDArray[np.float64]) -> None:
        h = box[3]
        self.mean = np.concatenate((box, np.zeros(4)))
        std = [h / 10, h / 10, 1e-2, h / 10, h / 16, h / 16, 1e-5, h / 16]
        self.covariance = np.diag(np.square(std))

    def predict(self) -> None:
        h = self.mean[3]
        std = [h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160]
        motion = np.eye(8) + np.eye(8, k=4)
        self.mean = motion @ self.mean
        self.covariance = motion @ self.covariance @ motion.T + np.diag(np.square(std))

    def update(self, box: NDArray[np.float64]) -> None:
        h = self.mean[3]
        noise = np.diag(np.square([h / 20, h / 20, 1e-1, h / 20]))
        see = np.eye(4, 8)
        spread = see @ self.covariance @ see.T + noise
        gain = self.covariance @ see.T @ np.linalg.inv(spread)
        self.mean = self.mean + gain @ (box - see @ self.mean)
        self.covariance = self.covariance - gain @ spread @ gain.T


def test_equals_the_matrix_filter() -> None:
    rng = np.random.default_rng(1)
    boxes = rng.uniform([100, 100, 0.3, 50], [900, 900, 0.6, 200], (6, 4))
    filters = [MatrixFilter(box) for box in boxes]
    ours = BoxFilter()
    state = ours.initiate(boxes.T)
    for step in range(40):
        ours.predict(state)
        for single in filters:
            single.predict()
        if step % 3:
            boxes += rng.normal(0, 1, boxes.shape) * [3, 3, 0.01, 1]
            state = ours.update(state, boxes.T)
            for single, box in zip(filters, boxes, strict=True):
                single.update(box)
        for i, single in enumerate(filters):
            np.testing.assert_allclose(state[POSITION, :, i], single.mean[:4], rtol=1e-9)
            np.testing.assert_allclose(
                state[VELOCITY, :, i], single.mean[4:], rtol=1e-7, atol=1e-12
            )
            p = single.covariance
            np.testing.assert_allclose(state[VARIANCE, :, i], np.diag(p)[:4], rtol=1e-9)
            np.testing.assert_allclose(state[VELOCITY_VARIANCE, :, i], np.diag(p)[4:], rtol=1e-9)
            np.testing.assert_allclose(
                state[COVARIANCE, :, i], np.diag(p, k=4), rtol=1e-9, atol=1e-15
            )


def test_box_layouts_come_back() -> None:
    boxes = np.array([[10.0, 20.0, 60.0, 220.0], [-5.0, 0.5, 3.0, 1.5]]).T
    xyah = ltrb_to_xyah(boxes)
    np.testing.assert_allclose(xyah[:, 0], [35, 120, 0.25, 200])
    np.testing.assert_allclose(xyah_to_ltrb(xyah), boxes)
