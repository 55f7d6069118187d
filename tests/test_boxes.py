"""Layouts go there and back, and overlap is what it is by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail import boxes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Convert = Callable[[NDArray[np.float64]], NDArray[np.float64]]

XYXY = np.array([[10.0, 20.0, 40.0, 100.0], [-5.0, -6.0, 1.0, 2.5]])


@pytest.mark.parametrize(
    ("there", "back", "first"),
    [
        (boxes.xyxy_to_xywh, boxes.xywh_to_xyxy, [10, 20, 30, 80]),
        (boxes.xyxy_to_cxcywh, boxes.cxcywh_to_xyxy, [25, 60, 30, 80]),
        (boxes.xyxy_to_xyah, boxes.xyah_to_xyxy, [25, 60, 0.375, 80]),
    ],
)
def test_round_trip(there: Convert, back: Convert, first: list[float]) -> None:
    before = XYXY.copy()
    converted = there(XYXY)
    np.testing.assert_allclose(converted[0], first)
    np.testing.assert_allclose(back(converted), XYXY)
    np.testing.assert_array_equal(XYXY, before)


def test_iou() -> None:
    a = np.array([[0.0, 0, 10, 10], [0, 0, 0, 0]])
    b = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 0, 0], [2, 2, 4, 4]])
    np.testing.assert_allclose(boxes.iou_xyxy(a, b), np.array([[1, 1 / 3, 0, 0, 0.04], [0] * 5]))
    assert boxes.iou_xyxy(a[:0], b).shape == (0, 5)
