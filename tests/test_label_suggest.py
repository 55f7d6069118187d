"""What the labelling page suggests to look at next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail.label.model import GAP, HAND, LabelObject, points_of
from motrail.label.suggest import Suggestion, suggest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from conftest import Prove

WIDTH, HEIGHT, LENGTH = 640, 360, 200


def thing(
    number: int,
    boxes: NDArray[np.float64],
    first: int = 1,
    hand: tuple[int, ...] = (),
    score: float | None = 0.9,
) -> LabelObject:
    """An object of a tracker with a point in each frame."""
    rows = [
        [first + i, *box, HAND if first + i in hand else 0] for i, box in enumerate(boxes.tolist())
    ]
    return LabelObject(number, "player", points_of(rows), score=score, source="tracker")


def walk(
    frames: int, x: float = 100, y: float = 100, speed: float = 0.5, size: float = 30
) -> NDArray[np.float64]:
    """Boxes that go to the right."""
    return np.array([[x + speed * i, y, size, 2 * size] for i in range(frames)])


def ask(*objects: LabelObject, length: int = LENGTH) -> list[Suggestion]:
    return suggest(objects, width=WIDTH, height=HEIGHT, length=length)


def test_a_calm_track_gives_nothing_to_look_at() -> None:
    assert ask(thing(1, walk(30)), length=30) == []
    assert ask() == []
    assert ask(LabelObject(1, "player")) == []


def test_a_box_that_jumps() -> None:
    boxes = walk(30)
    boxes[14, 0] += 40
    (found,) = ask(thing(4, boxes), length=30)
    assert (found.frame, found.objects) == (15, (4,))
    assert found.reason == "the box of player 4 jumps"
    boxes = walk(30)
    boxes[14, 3] *= 2
    boxes[14, 1] -= 30
    (found,) = ask(thing(4, boxes), length=30)
    assert (found.frame, found.reason) == (15, "the box of player 4 changes its size suddenly")


def test_an_id_that_breaks_names_both_halves() -> None:
    whole = walk(100)
    (found,) = ask(thing(1, whole[:40]), thing(2, whole[45:], first=46), length=100)
    assert (found.frame, found.objects) == (40, (1, 2))
    assert found.reason == (
        "player 1 ends in the middle of the picture and player 2 begins near by 6 frames later: "
        "are they one?"
    )


def test_who_leaves_at_the_border_or_at_the_end_has_not_broken() -> None:
    leaves = walk(40, x=500, speed=3)  # its right side is at 650 in the end
    assert ask(thing(1, leaves), length=100) == []
    assert ask(thing(1, walk(40)), length=40) == []
    (found,) = ask(thing(1, walk(40)), length=100)
    assert found.reason == "player 1 ends in the middle of the picture"


def test_another_class_is_no_continuation() -> None:
    whole = walk(100)
    ball = thing(2, whole[45:], first=46).replace(label="ball")
    reasons = [item.reason for item in ask(thing(1, whole[:40]), ball, length=100)]
    assert reasons == ["player 1 ends in the middle of the picture"]


def test_a_gap_in_the_middle_of_the_picture() -> None:
    marks = [(1, 100, 0), (20, 110, GAP), (30, 115, 0), (40, 120, 0)]
    rows = points_of([frame, x, 100, 30, 60, flags] for frame, x, flags in marks)
    (found,) = ask(LabelObject(3, "player", rows), length=40)
    assert (found.frame, found.objects) == (20, (3,))
    assert found.reason == "player 3 is away for 9 frames in the middle of the picture"


def test_two_boxes_on_one_object() -> None:
    (found,) = ask(thing(1, walk(30)), thing(2, walk(30) + np.array([1, 1, 0, 0])), length=30)
    assert found.objects == (1, 2)
    assert found.reason == "player 1 and player 2 are in the same place in 30 frames: are they one?"
    # An IoU of exactly 2 · 25 / (2 · 30 + ...) for 10 beside is far below.
    assert ask(thing(1, walk(30)), thing(2, walk(30, x=115)), length=30) == []


def test_low_scores_and_long_stretches() -> None:
    (found,) = ask(thing(7, walk(30), score=0.31), length=30)
    assert (found.frame, found.reason) == (16, "player 7 has a low score (0.31): is it one?")
    (found,) = ask(thing(7, walk(121, x=50, speed=3)), length=121)
    assert (found.frame, found.objects) == (61, (7,))
    assert found.reason == "player 7 moves a lot in 120 frames without a keyframe"
    assert ask(thing(7, walk(121, speed=0.1)), length=121) == []


def test_what_a_person_confirmed_is_not_suggested_again() -> None:
    boxes = walk(30)
    boxes[14, 0] += 40
    assert ask(thing(1, boxes, hand=(15,)), length=30) == []
    assert ask(thing(1, walk(40), hand=(40,)), length=100) == []
    assert ask(thing(1, walk(30), hand=(3,), score=0.3), length=30) == []
    both = (
        thing(1, walk(30), hand=tuple(range(1, 31))),
        thing(2, walk(30), hand=tuple(range(1, 31))),
    )
    assert ask(*both, length=30) == []


def test_disagreement_of_both_ways() -> None:
    ways = {1: {5: 0.9, 10: 0.1}}
    (found,) = suggest([thing(1, walk(30))], width=640, height=360, length=30, disagreement=ways)
    assert (found.frame, found.objects) == (10, (1,))
    assert found.reason == "following player 1 forward and backward leads to different places"


def test_ignored_regions_say_nothing_and_the_order_of_objects_does_not_count() -> None:
    boxes = walk(30)
    boxes[14, 0] += 40
    assert ask(thing(1, boxes).replace(ignore=True), length=30) == []
    objects = [thing(n, boxes + np.array([0, 20 * n, 0, 0]), score=0.2) for n in range(1, 6)]
    assert ask(*objects, length=30) == ask(*objects[::-1], length=30)


def test_the_best_come_first_and_no_more_than_asked_for() -> None:
    objects = [thing(n, walk(30, y=50 * n), score=0.1 * n) for n in range(1, 6)]
    found = suggest(objects, width=640, height=360, length=30, limit=3)
    assert [item.objects for item in found] == [(1,), (2,), (3,)]
    assert [item.weight for item in found] == sorted((i.weight for i in found), reverse=True)
    assert all(0 <= item.weight <= 1 for item in found)


@pytest.mark.both
def test_planted_errors_come_first(prove: Prove) -> None:
    """Among noisy tracks, what was broken on purpose."""
    random = np.random.default_rng(4)
    objects: list[LabelObject] = []
    planted: set[int] = set()
    for number in range(1, 31):
        boxes = walk(LENGTH, random.uniform(60, 300), random.uniform(40, 250), 1.2)
        boxes[:, :2] += np.cumsum(random.normal(0, 0.4, (LENGTH, 2)), axis=0)
        boxes += random.normal(0, 0.6, boxes.shape)  # what a detector does
        at = int(random.integers(40, 160))
        if number % 6 == 0:  # a box on something else
            boxes[at, :2] += random.choice([-1, 1], 2) * random.uniform(15, 25, 2)
        if number % 6 == 3:  # an id that breaks
            objects.append(thing(100 + number, boxes[at:], first=at + 1))
            boxes = boxes[: at - 4]
            planted.add(100 + number)
        if number % 6 == 0 or number % 6 == 3:
            planted.add(number)
        objects.append(thing(number, boxes))
    found = ask(*objects)[:10]
    right = sum(set(item.objects) <= planted for item in found)
    prove("planted errors among the first 10 suggestions", ">= 9", right)
    assert right >= 9
    assert len({item.objects for item in found}) == 10
