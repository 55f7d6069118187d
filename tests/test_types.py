"""What travels between the rooms is checked, copied and read-only."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from motrail import Detections, Tracks
from motrail.errors import DataError

BOX = [1.0, 2.0, 3.0, 4.0]


def test_columns_have_their_types() -> None:
    detections = Detections([BOX, BOX], [0.5, 1], [0.0, 3.0])
    assert [getattr(detections, n).dtype for n in ("boxes_xyxy", "scores", "class_ids")] == [
        np.float32,
        np.float32,
        np.int64,
    ]
    assert detections.class_ids.tolist() == [0, 3]
    assert len(detections) == 2


def test_class_ids_default_to_zero() -> None:
    assert Detections([BOX], [1]).class_ids.tolist() == [0]


@pytest.mark.parametrize("empty", [Detections.empty(), Detections([], [])])
def test_empty(empty: Detections) -> None:
    assert empty.boxes_xyxy.shape == (0, 4)
    assert len(empty) == 0
    assert Tracks.empty().boxes_xyxy.shape == (0, 4)


def test_read_only_and_apart_from_what_was_given() -> None:
    given = np.array([BOX], np.float32)
    detections = Detections(given, [0.5])
    given[0, 0] = 2
    assert detections.boxes_xyxy[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        detections.scores[0] = 0
    with pytest.raises(AttributeError, match="read-only"):
        detections.scores = np.zeros(1, np.float32)
    assert given.flags.writeable


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([[1, 2, 3]], [0.5]), r"boxes_xyxy: expected shape \(n, 4\), found \(1, 3\)"),
        ((BOX, [0.5]), r"boxes_xyxy: expected shape \(n, 4\), found \(4,\)"),
        (([BOX], [[0.5]]), r"scores: expected shape \(n,\), found \(1, 1\)"),
        (([BOX], [0.5, 0.6]), "scores: expected 1 rows .* found 2"),
        (([BOX], [0.5], [1, 2]), "class_ids: expected 1 rows"),
        (([BOX], [0.5], [1.5]), "class_ids: expected whole numbers"),
        (([BOX], ["a"]), "scores: expected numbers"),
        (([[1, 2, float("nan"), 4]], [0.5]), "row 0: expected finite numbers"),
        (([BOX, BOX], [0.5, float("inf")]), "row 1: expected finite numbers"),
        (([BOX, [3, 0, 1, 2]], [0.5, 0.5]), "row 1: expected left <= right and top <= bottom"),
    ],
)
def test_what_does_not_fit_is_refused(columns: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Detections(*columns)


def test_rows_are_picked() -> None:
    detections = Detections([BOX, [0.0, 0, 9, 9]], [0.1, 0.9], [4, 5])
    assert detections[detections.scores > 0.5] == Detections([[0, 0, 9, 9]], [0.9], [5])
    assert detections[1:].class_ids.tolist() == [5]


def test_pickle_and_equality() -> None:
    tracks = Tracks([1], [BOX], [0.5], [2], [-1])
    again = pickle.loads(pickle.dumps(tracks))  # noqa: S301
    assert again == tracks
    assert again != Tracks([2], [BOX], [0.5], [2], [-1])
    assert tracks != "tracks"
    assert not again.boxes_xyxy.flags.writeable
    assert repr(tracks).startswith("Tracks(ids=[1], boxes_xyxy=[[1.0, 2.0, 3.0, 4.0]]")
