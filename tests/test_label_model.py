"""Points, what people do to them, and patches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from motrail.label import edits
from motrail.label.model import (
    END,
    GAP,
    HAND,
    OCCLUDED,
    LabelObject,
    Points,
    boxes_of,
    count_boxes,
    point_at,
    points_of,
    rows_of,
    spans_of,
    thinned,
)
from motrail.label.patches import EditRequest, Limits, apply, decode
from motrail.label.problems import Problem

LIMITS = Limits(100, 50, 200, frozenset({"person", "car"}), 5)


def box(frame: int, left: float, flags: int = HAND) -> list[float]:
    return [frame, left, 0, 10, 20, flags]


def at(points: Points, frame: int) -> float | None:
    """The left edge in a frame."""
    found = point_at(points, frame)
    return float(found[0, 1]) if len(found) else None


def lefts(points: Points) -> dict[int, float]:
    boxes = boxes_of(points)
    return dict(zip(boxes.frames.tolist(), boxes.boxes_xywh[:, 0].tolist(), strict=True))


def test_boxes_lie_on_the_line_between_points() -> None:
    points = points_of([[1, 0, 0, 10, 20, HAND], [5, 8, 4, 14, 20, 0]])
    boxes = boxes_of(points)
    assert boxes.frames.tolist() == [1, 2, 3, 4, 5]
    assert boxes.boxes_xywh.tolist() == [
        [0, 0, 10, 20], [2, 1, 11, 20], [4, 2, 12, 20], [6, 3, 13, 20], [8, 4, 14, 20]
    ]  # fmt: skip
    assert boxes.hand.tolist() == [True, False, False, False, False]
    assert not boxes.occluded.any()


def test_nothing_is_there_in_a_gap_and_outside() -> None:
    points = points_of([box(2, 0, HAND | GAP), box(5, 30), box(6, 40, HAND | GAP)])
    assert boxes_of(points).frames.tolist() == [2, 5, 6]
    assert count_boxes(points) == 3
    assert spans_of(points).tolist() == [[2, 2], [5, 6]]
    assert [at(points, frame) for frame in (1, 2, 3, 5, 7)] == [None, 0, None, 30, None]


def test_occlusion_holds_up_to_the_next_point() -> None:
    points = points_of([box(1, 0, HAND | OCCLUDED), box(4, 3), box(5, 4)])
    assert boxes_of(points).occluded.tolist() == [True, True, True, False, False]
    assert int(point_at(points, 2)[0, 5]) == OCCLUDED


def test_an_object_that_is_nowhere() -> None:
    points = points_of([])
    assert boxes_of(points).frames.tolist() == []
    assert count_boxes(points) == 0
    assert spans_of(points).shape == (0, 2)
    assert point_at(points, 1).shape == (0, 6)


def test_points_are_sorted_and_the_last_of_a_frame_counts() -> None:
    assert rows_of(points_of([box(5, 1), box(2, 2), box(5, 3)])) == [box(2, 2), box(5, 3)]


def test_thinning_keeps_what_the_line_does_not_give_back() -> None:
    frames = np.arange(1, 8)
    boxes = np.array([[x, 0, 10, 20] for x in (0, 1, 2, 3, 2.5, 2, 1.5)], float)
    keep = np.zeros(7, np.bool_)
    assert thinned(frames, boxes, keep, 0.01).tolist() == [
        True,
        *[False] * 2,
        True,
        *[False] * 2,
        True,
    ]
    assert thinned(frames, boxes, keep, 5.0).tolist() == [True, *[False] * 5, True]
    keep[1] = True
    assert thinned(frames, boxes, keep, 5.0).tolist() == [True, True, *[False] * 4, True]


def test_thinned_points_give_random_boxes_back() -> None:
    random = np.random.default_rng(3)
    frames = np.arange(1, 301)
    boxes = np.cumsum(random.normal(0, 1, (300, 4)), axis=0) + 500
    mask = thinned(frames, boxes, np.zeros(300, np.bool_), 1.5)
    points = np.column_stack([frames, boxes, np.zeros(300)])[mask]
    assert 10 < mask.sum() < 250
    assert np.abs(boxes_of(points).boxes_xywh - boxes).max() <= 1.5


# What people do

LINE = points_of([box(1, 0), box(11, 10), box(21, 20)])


def test_split_keeps_every_box() -> None:
    before, after = edits.split(LINE, 6)
    assert lefts(before) == {n: n - 1 for n in range(1, 6)}
    assert lefts(after) == {n: n - 1 for n in range(6, 22)}
    assert rows_of(before)[-1] == box(5, 4, 0)


def test_split_in_a_gap_needs_no_new_points() -> None:
    points = points_of([box(1, 0, HAND | GAP), box(11, 10)])
    before, after = edits.split(points, 6)
    assert (rows_of(before), rows_of(after)) == ([box(1, 0, HAND | GAP)], [box(11, 10)])


def test_merge_leaves_a_gap_where_neither_is() -> None:
    merged = edits.merge(points_of([box(1, 0), box(3, 2)]), points_of([box(10, 50), box(12, 60)]))
    assert lefts(merged) == {1: 0, 2: 1, 3: 2, 10: 50, 11: 55, 12: 60}


def test_merge_of_what_overlaps_keeps_the_first_one() -> None:
    other = points_of([box(5, 100), box(7, 100), box(30, 100)])
    expected = {n: n - 1.0 for n in range(1, 22)} | dict.fromkeys(range(22, 31), 100.0)
    assert lefts(edits.merge(LINE, other)) == expected
    gone = points_of([box(1, 0, HAND | GAP), box(11, 10)])
    assert lefts(edits.merge(gone, other)) == (
        {1: 0, 5: 100, 6: 100, 7: 100, 8: 100, 9: 100, 10: 100, 11: 10}
        | dict.fromkeys(range(12, 31), 100)
    )
    assert edits.merge(LINE, points_of([])) is LINE


def test_swap_exchanges_what_comes_from_a_frame_on() -> None:
    other = points_of([box(1, 100), box(21, 120)])
    mine, theirs = edits.swap(LINE, other, 11)
    assert lefts(mine) == {n: n - 1 if n < 11 else n + 99 for n in range(1, 22)}
    assert lefts(theirs) == {n: n + 99 if n < 11 else n - 1 for n in range(1, 22)}
    back = edits.swap(mine, theirs, 11)
    assert lefts(back[0]) == lefts(LINE)


def test_swap_with_one_that_was_not_there_leaves_a_gap() -> None:
    mine, theirs = edits.swap(
        points_of([box(1, 0), box(3, 2)]), points_of([box(8, 80), box(9, 90)]), 5
    )
    assert lefts(mine) == {1: 0, 2: 1, 3: 2, 8: 80, 9: 90}
    assert len(theirs) == 0


def test_deleting_a_range_leaves_the_rest() -> None:
    assert lefts(edits.delete_range(LINE, 5, 15)) == {
        n: n - 1 for n in (*range(1, 5), *range(16, 22))
    }
    assert lefts(edits.delete_range(LINE, 15, END)) == {n: n - 1 for n in range(1, 15)}
    assert len(edits.delete_range(LINE, 1, END)) == 0


def test_leave_and_enter() -> None:
    gone = edits.leave(LINE, 5)
    assert sorted(lefts(gone)) == [*range(1, 6), *range(11, 22)]
    assert lefts(edits.leave(LINE, 40)) == lefts(LINE)
    back = edits.enter(gone, 8, (50, 0, 10, 20))
    assert sorted(lefts(back)) == [*range(1, 6), *range(8, 22)]
    assert at(back, 8) == 50


def test_copy_forward_stands_still() -> None:
    still = edits.copy_forward(LINE, 3, 13)
    assert all(lefts(still)[n] == 2 for n in range(3, 14))
    assert lefts(still)[14] == 13
    assert lefts(still)[2] == 1
    assert edits.copy_forward(LINE, 30, 40) is LINE


def test_hidden_in_a_range() -> None:
    hidden = edits.occlude(LINE, 5, 8)
    assert np.flatnonzero(boxes_of(hidden).occluded).tolist() == [4, 5, 6, 7]
    assert lefts(hidden) == lefts(LINE)
    assert not boxes_of(edits.occlude(hidden, 1, 21, hidden=False)).occluded.any()


# Corrections


def test_a_correction_mends_the_machine_points_between_keyframes() -> None:
    points = points_of([box(1, 0), box(3, 0, 0), box(5, 0, 0), box(9, 0, 0), box(13, 0)])
    mended = edits.correct(points, 5, (8, 0, 10, 20))
    # Full at frame 5; half way from 1 to 5, and half way from 13 to 5.
    assert rows_of(mended) == [box(1, 0), box(3, 4, 0), box(5, 8), box(9, 4, 0), box(13, 0)]


def test_a_correction_moves_all_where_no_keyframe_is() -> None:
    points = points_of([box(1, 0, 0), box(5, 0, 0), box(9, 0, 0)])
    assert rows_of(edits.correct(points, 5, (8, 0, 10, 20))) == [
        box(1, 8, 0),
        box(5, 8),
        box(9, 8, 0),
    ]


def test_a_correction_stops_at_a_gap() -> None:
    points = points_of([box(1, 0, GAP), box(4, 0, 0), box(5, 0, 0), box(6, 0, GAP), box(9, 0, 0)])
    assert rows_of(edits.correct(points, 5, (8, 0, 10, 20))) == [
        box(1, 0, GAP), box(4, 8, 0), box(5, 8), box(6, 8, GAP), box(9, 0, 0)
    ]  # fmt: skip


def test_a_correction_between_points_makes_a_keyframe() -> None:
    points = points_of([box(1, 0, HAND | OCCLUDED), box(11, 10)])
    mended = edits.correct(points, 6, (50, 0, 10, 20))
    assert rows_of(mended)[1] == box(6, 50, HAND | OCCLUDED)
    assert rows_of(edits.correct(points, 20, (7, 0, 10, 20)))[-1] == box(20, 7)


def test_a_corrected_box_keeps_an_extent() -> None:
    points = points_of([[1, 0, 0, 10, 20, 0], [2, 0, 0, 100, 20, 0], [3, 0, 0, 0.5, 20, 0]])
    mended = edits.correct(points, 2, (0, 0, 40, 20))
    assert mended[:, 3].tolist() == [1, 40, 0.5]


# Patches


def sent(*patches: dict[str, Any]) -> Any:
    body = {"tab": "t", "base": 0, "edit_id": "e", "patches": list(patches)}
    return decode(json.dumps(body).encode(), EditRequest).patches


def refused(*patches: dict[str, Any], **objects: LabelObject) -> str:
    with pytest.raises(Problem) as raised:
        apply(sent(*patches), {item.id: item for item in objects.values()}, LIMITS)
    return str(raised.value)


def test_a_difference_applied_gives_the_other_state() -> None:
    random = np.random.default_rng(7)
    for _ in range(200):
        states = []
        for _ in range(2):
            frames = np.sort(random.choice(np.arange(1, 30), random.integers(0, 12), replace=False))
            rows = np.column_stack(
                [frames, random.integers(0, 3, (len(frames), 2)),
                 random.integers(1, 3, (len(frames), 2)), random.integers(0, 8, len(frames))]
            ).astype(float)  # fmt: skip
            label = ("person", "car")[int(random.integers(2))]
            states.append(LabelObject(3, label, rows, ignore=bool(random.integers(2))))
        before, after = states
        patch = edits.difference(before, after)
        if patch is None:
            assert before.as_dict() == after.as_dict()
            continue
        found = apply(sent(patch), {3: before}, LIMITS)[3]
        assert found is not None
        assert found.as_dict() == after.as_dict()


def test_differences_of_objects_that_come_and_go() -> None:
    item = LabelObject(5, "car", LINE, note="x")
    assert edits.difference(item, None) == {"id": 5, "delete": True}
    assert edits.difference(None, None) is None
    patch = edits.difference(None, item)
    assert patch is not None
    made = apply(sent(patch), {}, LIMITS)[5]
    assert made is not None
    assert made.as_dict() == item.as_dict()
    assert apply(sent({"id": 5, "delete": True}), {5: item}, LIMITS) == {5: None}


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ([0, 1, 1, 5, 5, 1], "a frame from 1 to 200"),
        ([201, 1, 1, 5, 5, 1], "a frame from 1 to 200"),
        ([1, 1, 1, 0, 5, 1], "a width and a height above 0"),
        ([1, 1, 1, 5, -5, 1], "a width and a height above 0"),
        ([1, 1001, 1, 5, 5, 1], "a box that is not far from the picture"),
        ([1, 1, 1, 5, 5, 8], "flags of 1 (hand), 2 (gap) and 4 (occluded)"),
        ([1, 1, 1, 5, 5, -1], "flags of 1 (hand), 2 (gap) and 4 (occluded)"),
    ],
)
def test_points_that_make_no_sense(row: list[float], what: str) -> None:
    said = refused({"id": 5, "create": {"class": "car"}, "put": [[2, 1, 1, 5, 5, 1], row]})
    assert said.startswith(f"patches[0]: put: expected {what}, found [{row[0]}, ")


def test_patches_that_make_no_sense() -> None:
    item = LabelObject(3, "car", LINE)
    assert refused({"id": 3, "set": {"note": "x"}}) == "patches[0]: id: there is no object 3"
    assert refused({"id": 4, "create": {"class": "car"}}) == (
        "patches[0]: id: expected a fresh one, 5 or above, found 4"
    )
    assert "expected a fresh one" in refused({"id": 3, "create": {"class": "car"}}, a=item)
    assert refused({"id": 5, "create": {}}) == "patches[0]: create: expected a class"
    assert refused({"id": 5, "create": {"class": "dog"}}) == (
        "patches[0]: class: there is no class 'dog'"
    )
    assert refused({"id": 3, "delete": True, "set": {"note": "x"}}, a=item) == (
        "patches[0]: expected one of create, delete and set"
    )
    assert refused({"id": 3, "delete": True, "put": [box(1, 1)]}, a=item) == (
        "patches[0]: delete: expected no drop and no put beside it"
    )
    assert refused({"id": 3, "drop": [[5, 4]]}, a=item) == (
        "patches[0]: drop: expected a first and a last frame, found [5, 4]"
    )
    assert refused({"id": 3, "put": [box(1, 1), box(1, 2)]}, a=item).startswith(
        "patches[0]: put: expected one point a frame"
    )
    many = {str(n): n for n in range(101)}
    assert refused({"id": 3, "set": {"attributes": many}}, a=item) == (
        "patches[0]: attributes: expected at most 100"
    )


def test_one_edit_may_not_put_too_much() -> None:
    rows = [[1, 1, 1, 5, 5, 1]] * 200_001
    assert refused({"id": 5, "create": {"class": "car"}, "put": rows}) == (
        "patches: expected at most 200,000 points"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"tab": 3}', b'{"tab":"t","base":0,"edit_id":"e","patches":[]}',
        b'{"tab":"t","base":-1,"edit_id":"e","patches":[{"id":1}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":true}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":0}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":1,"put":[[1.5,1,1,1,1,1]]}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":1,"put":[[1,NaN,1,1,1,1]]}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":1,"put":[[1,1,1,1,1]]}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":1,"set":{"colour":"red"}}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":1,"set":{"attributes":{"a":[1]}}}]}',
        b'{"tab":"t","base":0,"edit_id":"e","patches":[{"id":1,"set":{"status":"maybe"}}]}',
        b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_bodies_of_wrong_types(body: bytes) -> None:
    with pytest.raises(Problem, match="body: ") as raised:
        decode(body, EditRequest)
    assert raised.value.status == 400


def test_endless_numbers_are_refused() -> None:
    body = json.dumps(
        {"tab": "t", "base": 0, "edit_id": "e", "patches": [
            {"id": 5, "create": {"class": "car"}, "put": [[1, 12345, 1, 1, 1, 1]]}
        ]}
    )  # fmt: skip
    with pytest.raises(Problem):
        apply(decode(body.replace("12345", "1e400").encode(), EditRequest).patches, {}, LIMITS)
