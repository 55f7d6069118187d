"""Frames between keyframes, worked out by hand, and which keyframes carry a track."""

from __future__ import annotations

import numpy as np
import pytest

from motrail.errors import DataError
from motrail.formats.keyframes import MAX_FILLED, count_filled, fill, fill_tracks, objects
from motrail.formats.labels import Coded, Labels

YES, NO = True, False


def ints(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, np.int64)


def flags(*values: bool) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array(values, np.bool_)


def test_between_two_keyframes_all_four_numbers_move_linearly() -> None:
    boxes = np.array([[0.0, 10, 20, 40], [8, 30, 24, 20]])
    filled = fill(ints(3, 7), boxes, flags(YES, YES), flags(YES, NO), 7)
    assert filled.frames.tolist() == [3, 4, 5, 6, 7]
    assert filled.boxes_xywh.tolist() == [
        [0, 10, 20, 40],
        [2, 15, 21, 35],
        [4, 20, 22, 30],
        [6, 25, 23, 25],
        [8, 30, 24, 20],
    ]
    assert filled.source.tolist() == [0, 0, 0, 0, 1]
    assert filled.keyframe.tolist() == [YES, NO, NO, NO, YES]


def test_a_box_moves_towards_a_keyframe_that_is_not_shown() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [30, 0, 10, 10]])
    filled = fill(ints(1, 4), boxes, flags(YES, NO), flags(YES, NO), 9)
    assert filled.frames.tolist() == [1, 2, 3]
    assert filled.boxes_xywh[:, 0].tolist() == [0, 10, 20]


def test_a_keyframe_that_does_not_go_on_leaves_a_gap() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [30, 0, 10, 10], [40, 0, 10, 10]])
    filled = fill(ints(1, 4, 6), boxes, flags(YES, YES, YES), flags(NO, YES, NO), 9)
    assert filled.frames.tolist() == [1, 4, 5, 6]
    assert filled.boxes_xywh[:, 0].tolist() == [0, 30, 35, 40]


def test_one_that_is_not_shown_may_go_on_after_it() -> None:
    filled = fill(ints(2), np.array([[5.0, 5, 1, 1]]), flags(NO), flags(YES), 4)
    assert filled.frames.tolist() == [3, 4]
    assert not filled.keyframe.any()


@pytest.mark.parametrize(("end", "frames"), [(5, [2, 3, 4, 5]), (2, [2]), (1, [2])])
def test_the_last_box_stands_still_up_to_the_end(end: int, frames: list[int]) -> None:
    filled = fill(ints(2), np.array([[5.0, 6, 7, 8]]), flags(YES), flags(YES), end)
    assert filled.frames.tolist() == frames
    assert (filled.boxes_xywh == [5, 6, 7, 8]).all()


def test_the_count_is_known_before() -> None:
    assert count_filled(ints(3, 7), flags(YES, NO), 99) == 5
    assert count_filled(ints(3, 7), flags(YES, YES), 10) == 8
    assert count_filled(ints(3, 7), flags(NO, NO), 10) == 2
    assert count_filled(ints(0), flags(YES), 10**12) == 10**12 + 1


def test_many_tracks_are_filled_apart() -> None:
    boxes = np.array([[0.0, 0, 1, 1], [4, 0, 1, 1], [9, 9, 1, 1], [7, 0, 1, 1]])
    filled = fill_tracks(
        ints(0, 0, 1, 5),
        ints(1, 3, 2, 0),
        boxes,
        shown=flags(YES, YES, YES, YES),
        goes_on=flags(YES, YES, NO, YES),
        end=4,
    )
    assert filled.source.tolist() == [0, 0, 1, 1, 2, 3, 3, 3, 3, 3]
    assert filled.frames.tolist() == [1, 2, 3, 4, 2, 0, 1, 2, 3, 4]
    assert filled.boxes_xywh[:, 0].tolist() == [0, 2, 4, 4, 9, 7, 7, 7, 7, 7]
    assert np.flatnonzero(filled.keyframe).tolist() == [0, 2, 4, 5]


def test_without_an_end_a_track_ends_with_its_last_keyframe() -> None:
    filled = fill_tracks(
        ints(0, 1, 1),
        ints(5, 1, 3),
        np.ones((3, 4)),
        shown=flags(YES, YES, YES),
        goes_on=flags(YES, YES, YES),
        end=None,
    )
    assert filled.frames.tolist() == [5, 1, 2, 3]


def test_no_tracks() -> None:
    none = ints()
    filled = fill_tracks(none, none, np.ones((0, 4)), shown=flags(), goes_on=flags(), end=9)
    assert len(filled.frames) == len(filled.source) == len(filled.keyframe) == 0


def test_more_than_a_video_has_is_refused_before_it_is_made() -> None:
    def make(end: int) -> int:
        one = np.ones((1, 4))
        yes = flags(YES)
        return len(fill_tracks(ints(0), ints(1), one, shown=yes, goes_on=yes, end=end).frames)

    assert make(1000) == 1000
    message = f"at most {MAX_FILLED} boxes with the frames between .* filled in, found 9000000"
    with pytest.raises(DataError, match=message):
        make(9_000_000)


def track(frames: list[int], lefts: list[float], **columns: object) -> Labels:
    boxes = np.array([[left, 0.0, 5, 5] for left in lefts])
    ids = np.full(len(frames), 3)
    return Labels.of("a", ["x"], ints(*frames), ids, boxes, np.zeros_like(ids), **columns)


def test_keyframes_and_ends_of_spans_are_needed() -> None:
    found = objects(
        track([1, 2, 3, 4, 7, 8], [0, 1, 2, 3, 9, 9], keyframe=flags(NO, NO, NO, NO, NO, NO))
    )
    assert found.first.tolist() == [YES, NO, NO, NO, YES, NO]
    assert found.last.tolist() == [NO, NO, NO, YES, NO, YES]
    assert found.needed.tolist() == [YES, NO, NO, YES, YES, YES]


def test_between_keyframes_all_are_needed_where_one_is_off_the_line() -> None:
    keyframe = flags(YES, NO, NO, YES, NO, YES)
    found = objects(track([1, 2, 3, 4, 5, 6], [0, 1, 2.5, 3, 4, 5], keyframe=keyframe))
    assert found.needed.tolist() == [YES, YES, YES, YES, NO, YES]
    near = objects(track([1, 2, 3], [0, 1 + 1e-7, 2], keyframe=flags(YES, NO, YES)))
    assert near.needed.tolist() == [YES, NO, YES]


@pytest.mark.parametrize(
    "columns",
    [
        {"visibility": np.array([1.0, 0.5, 0.5, 0.5])},
        {"ignore": flags(NO, YES, YES, YES)},
        {"attributes": Coded.of([None, {"a": 1}, {"a": 1}, {"a": 1}])},
    ],
)
def test_what_says_something_else_than_before_is_needed(columns: dict[str, object]) -> None:
    keyframe = flags(YES, NO, NO, YES)
    found = objects(track([1, 2, 3, 4], [0, 1, 2, 3], keyframe=keyframe, **columns))
    assert found.needed.tolist() == [YES, YES, NO, YES]


def test_each_object_has_a_number_of_its_own() -> None:
    """Id 4 under a second class, and boxes without id, get numbers that no other has."""
    labels = Labels.of(
        "a", ["x", "y"], ints(2, 1, 1, 1, 2), ints(4, 4, -1, 4, -1), np.ones((5, 4)),
        ints(0, 0, 0, 1, 0),
    )  # fmt: skip
    found = objects(labels)
    assert found.numbers.tolist() == [4, 4, 5, 6, 7]
    assert found.labels.frames.tolist() == [1, 2, 1, 1, 2]
    assert found.labels.class_ids.tolist() == [0, 0, 1, 0, 0]
    each = [(rows.start, rows.stop) for rows in found.each()]
    assert each == [(0, 2), (2, 3), (3, 4), (4, 5)]


def test_no_objects() -> None:
    found = objects(track([], []))
    assert len(found.numbers) == len(found.needed) == len(found.last) == 0
    assert list(found.each()) == []
