"""Boxes carried through pictures, and what that saves."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from motrail.dataset.scenes import SceneSettings, TruthCollector, make_scene
from motrail.errors import DataError
from motrail.formats.mot.reader import read_mot
from motrail.label.between import between
from motrail.label.geometry import row_iou
from motrail.label.model import GAP, HAND, points_of
from motrail.label.propagate import propagate
from motrail.label.scripted import Labeller, Truth, keyframes, score, truth_of
from motrail.types import Frame
from motrail.video.read import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from conftest import Prove
    from motrail.label.propagate import Box

Images = dict[int, "NDArray[np.uint8]"]
RED, BLUE = (40, 40, 200), (200, 60, 30)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def ground(seed: int = 0, width: int = 320, height: int = 200) -> NDArray[np.uint8]:
    """A green field with some texture."""
    random = np.random.default_rng(seed)
    rough = random.normal(0, 12, (height // 4, width // 4)).astype(np.float32)
    smooth = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    field = np.array([60, 140, 70], np.float32) + smooth[..., None]
    return np.asarray(field.clip(0, 255), np.uint8)


def figure(image: NDArray[np.uint8], box: Box, colour: tuple[int, int, int]) -> None:
    """Someone who fills a box: a coloured body with a pattern that goes along."""
    x, y, w, h = (round(value) for value in box)
    cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), colour, -1)
    for part in range(1, 4):
        level = y + h * part // 4
        cv2.line(
            image, (x, level), (x + w - 1, level), (230, 230, 230) if part % 2 else (20, 20, 20), 2
        )


def film(
    paths: Mapping[int, list[Box | None]], colours: Mapping[int, tuple[int, int, int]]
) -> Images:
    """Pictures of figures on their paths, from frame 1; the lower ones in front."""
    length = max(len(path) for path in paths.values())
    images = {}
    for index in range(length):
        image = ground().copy()
        rows = [(path[index], number) for number, path in paths.items() if index < len(path)]
        for box, number in sorted(
            ((box, number) for box, number in rows if box is not None),
            key=lambda row: row[0][1] + row[0][3],
        ):
            figure(image, box, colours[number])
        noise = np.random.default_rng([7, index]).normal(0, 1.5, image.shape)
        images[index + 1] = np.asarray((image + noise).clip(0, 255), np.uint8)
    return images


def read(images: Images, first: int, last: int) -> Iterator[Frame]:
    step = 1 if last >= first else -1
    for number in range(first, last + step, step):
        yield Frame(number, images[number], 0.0)


def path(frames: int, x: float, y: float, dx: float, dy: float = 0) -> list[Box | None]:
    return [(x + dx * i, y + dy * i, 24.0, 60.0) for i in range(frames)]


def iou(one: Box, other: Box) -> float:
    return float(row_iou(np.array([one]), np.array([other]))[0])


def test_boxes_go_along_forward_and_backward() -> None:
    paths = {3: path(30, 30, 40, 4), 8: path(30, 250, 110, -3)}
    images = film(paths, {3: RED, 8: BLUE})
    start = {number: way[0] for number, way in paths.items() if way[0]}
    seen = dict(propagate(read(images, 1, 30), start))
    assert list(seen) == list(range(2, 31))
    for frame, boxes in seen.items():
        assert list(boxes) == [3, 8]
        for number, box in boxes.items():
            true = paths[number][frame - 1]
            assert box is not None
            assert true is not None
            assert iou(box, true) > 0.8, (frame, number)
    end = {number: way[-1] for number, way in paths.items() if way[-1]}
    back = dict(propagate(read(images, 30, 1), end))
    assert list(back) == list(range(29, 0, -1))
    for number in paths:
        box, true = back[1][number], paths[number][0]
        assert box is not None
        assert true is not None
        assert iou(box, true) > 0.8


def test_who_leaves_the_picture_ends_there() -> None:
    paths = {1: path(30, 230, 60, 5), 2: path(30, 60, 120, 0.5)}
    images = film(paths, {1: RED, 2: BLUE})
    start = {number: way[0] for number, way in paths.items() if way[0]}
    ends: Counter[int] = Counter()
    last = 0
    for frame, boxes in propagate(read(images, 1, 30), start):
        for number, box in boxes.items():
            if box is None:
                ends[number] += 1
                last = frame
    # Its left side passes the right border, 320, in frame 19.
    assert ends == {1: 1}
    assert 15 <= last <= 20


def test_two_that_cross_keep_their_ids() -> None:
    paths = {1: path(40, 40, 60, 5), 2: path(40, 240, 72, -5)}
    images = film(paths, {1: RED, 2: BLUE})
    start = {number: way[0] for number, way in paths.items() if way[0]}
    (*_, (frame, boxes)) = propagate(read(images, 1, 40), start)
    assert frame == 40
    for number in paths:
        box, true = boxes[number], paths[number][-1]
        assert box is not None
        assert true is not None
        assert iou(box, true) > 0.5


def test_it_can_be_stopped_at_any_frame_and_does_not_touch_the_pictures() -> None:
    paths = {1: path(60, 30, 60, 3)}
    images = film(paths, {1: RED})
    for image in images.values():
        image.flags.writeable = False
    taken: list[int] = []

    def frames() -> Iterator[Frame]:
        for frame in read(images, 1, 60):
            taken.append(frame.number)
            yield frame

    way = propagate(frames(), {1: (30, 60, 24, 60)})
    assert next(way)[0] == 2
    assert len(taken) < 40  # not all of the video for one frame
    assert next(way)[0] == 3


def test_the_same_gives_the_same() -> None:
    paths = {1: path(12, 40, 60, 5), 2: path(12, 140, 72, -5)}
    images = film(paths, {1: RED, 2: BLUE})
    start = {number: way[0] for number, way in paths.items() if way[0]}
    assert list(propagate(read(images, 1, 12), start)) == list(
        propagate(read(images, 1, 12), start)
    )


def test_what_it_refuses() -> None:
    images = film({1: path(3, 40, 60, 5)}, {1: RED})
    with pytest.raises(DataError, match="object 1: expected left, top, width, height with an ext"):
        list(propagate(read(images, 1, 3), {1: (10, 10, 0, 20)}))
    with pytest.raises(DataError, match="object 4: expected left, top, width, height with an ext"):
        list(propagate(read(images, 1, 3), {4: (float("nan"), 10, 5, 20)}))
    images[2] = ground(width=160)
    with pytest.raises(DataError, match="frame 2: expected 320x200 pixels as in the .* 160x200"):
        list(propagate(read(images, 1, 3), {1: (40, 60, 24, 60)}))


def test_odd_input_is_no_trouble() -> None:
    images = film({1: path(5, 40, 60, 5)}, {1: RED})
    assert list(propagate(iter(()), {1: (40, 60, 24, 60)})) == []
    assert list(propagate(read(images, 1, 1), {1: (40, 60, 24, 60)})) == []
    assert list(propagate(read(images, 1, 5), {})) == []
    far = list(propagate(read(images, 1, 5), {1: (900, 900, 24, 60), 2: (10, 10, 1, 1)}))
    assert far[0][1][1] is None
    flat = {n: np.zeros((40, 40, 3), np.uint8) for n in range(1, 6)}
    assert len(list(propagate(read(flat, 1, 5), {1: (5, 5, 20, 20)}))) == 4
    whole = {1: (-20.0, -20.0, 400.0, 300.0)}
    assert len(list(propagate(read(images, 1, 5), whole))) == 4


def test_between_fills_in_around_corners() -> None:
    """A path with a bow, which a straight line cuts short."""
    bow: list[Box | None] = [
        (40 + 8.0 * i, 20 + 45 * np.sin(np.pi * i / 20), 24.0, 60.0) for i in range(21)
    ]
    images = film({1: bow}, {1: RED})
    truth = {1: Truth(np.arange(1, 22), np.array(bow, np.float64))}
    given = keyframes(truth, 20)
    assert given[1][:, 0].tolist() == [1, 21]
    labeller = Labeller(truth, partial(between, partial(read, images)))
    labeller.draw(20)
    assert score(truth, given).between_iou < 0.4
    assert score(truth, labeller.points).between_iou > 0.8
    filled = labeller.points[1]
    assert filled[:, 0].tolist() == list(range(1, 22))
    assert filled[:, 5].tolist() == [HAND, *[0] * 19, HAND | GAP]


def test_between_has_nothing_to_do() -> None:
    def no_frames(_first: int, _last: int) -> Iterator[Frame]:
        raise AssertionError

    box = [10, 10, 5, 5]
    gap = points_of([[1, *box, HAND | GAP], [20, *box, HAND]])
    assert between(no_frames, {}) == {}
    assert between(no_frames, {1: gap, 2: gap[:1], 3: gap[:0]}) == {}
    beside = points_of([[1, *box, HAND], [2, *box, HAND]])
    assert between(no_frames, {1: beside}) == {}
    machine = points_of([[1, *box, 0], [20, *box, 0]])
    assert between(no_frames, {1: machine}) == {}


def test_a_scripted_labeller_counts() -> None:
    """Worked out by hand: 11 frames on a line, then a corner, 10 more, and a leave."""
    boxes = np.array([[10.0 * min(i, 10), 0, 20, 20] for i in range(21)])
    truth = {1: Truth(np.arange(1, 22), boxes)}
    labeller = Labeller(truth)
    labeller.draw(20)
    assert (labeller.actions.boxes, labeller.actions.leaves) == (2, 1)
    # On the straight line from 0 to 100 the box lags 5 · i pixels behind up to the corner.
    assert score(truth, labeller.points).mean_iou < 0.5
    labeller.mend(0.999)
    assert labeller.actions.corrections == 1
    assert labeller.points[1][:, 0].tolist() == [1, 11, 21]
    assert score(truth, labeller.points) == (1.0, 1.0, 0, 0)


def test_a_labeller_accepts_cuts_and_draws() -> None:
    from motrail.label.model import LabelObject

    boxes = np.array([[5.0 * i, 0, 20, 20] for i in range(30)])
    truth = {
        1: Truth(np.arange(1, 31), boxes),
        2: Truth(np.arange(1, 31), boxes + np.array([0, 100, 0, 0])),
    }

    def line(first: int, last: int) -> list[list[float]]:
        return [[f, 5.0 * (f - 1), 0, 20, 20, 0] for f in (first, last)]

    proposals = [
        LabelObject(1, "a", points_of(line(1, 10))),
        LabelObject(2, "a", points_of(line(11, 35))),  # five frames too long
        LabelObject(3, "a", points_of([[1, 500, 500, 9, 9, 0], [30, 500, 500, 9, 9, 0]])),
    ]
    labeller = Labeller(truth)
    labeller.accept(proposals)
    assert (labeller.actions.accepted, labeller.actions.joined) == (2, 1)
    labeller.mend(0.999)
    # One cut of the tail; the second object is drawn at both ends.
    assert (labeller.actions.leaves, labeller.actions.boxes) == (1, 2)
    assert labeller.actions.corrections == 0
    assert score(truth, labeller.points) == (1.0, 1.0, 0, 0)


def test_swapped_ids_are_errors() -> None:
    boxes = np.array([[5.0 * i, 0, 20, 20] for i in range(10)])
    truth = {
        1: Truth(np.arange(1, 11), boxes),
        2: Truth(np.arange(1, 11), boxes + np.array([0, 100, 0, 0])),
    }
    right = keyframes(truth, 20)
    assert score(truth, right).switches == 0
    assert score(truth, {1: right[2], 2: right[1]}).switches == 20


def football(frames: int, seed: int, size: tuple[int, int]) -> tuple[dict[int, Truth], Images]:
    scene = make_scene(
        SceneSettings(
            scene="football",
            seed=seed,
            width=size[0],
            height=size[1],
            frames=frames,
            objects=15,
            difficulty="easy",
        )
    )
    collector, images = TruthCollector(scene, "football"), {}
    for frame in scene.frames():
        collector.add(frame)
        images[frame.number] = frame.image
    return truth_of(collector.labels()), images


def compared(truth: dict[int, Truth], images: Images, every: int) -> tuple[float, float, int]:
    """Mean IoU between keyframes by lines and by pictures, and boxes on another object."""
    labeller = Labeller(truth, partial(between, partial(read, images)))
    labeller.draw(every)
    filled = score(truth, labeller.points)
    return score(truth, keyframes(truth, every)).between_iou, filled.between_iou, filled.switches


def test_football_is_filled_in_better_than_by_lines() -> None:
    truth, images = football(21, 2, (640, 360))
    lines, filled, _ = compared(truth, images, 20)
    assert filled > lines + 0.08


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_football_at_full_size(prove: Prove) -> None:
    truth, images = football(200, 2, (1280, 720))
    lines, filled, switches = compared(truth, images, 20)
    prove("football, keyframes every 20: mean IoU filled in", ">= 0.9", f"{filled:.3f}")
    prove("football, by straight lines", "", f"{lines:.3f}")
    prove("football, boxes on another object", "0", switches)
    assert filled >= 0.9


def test_real_frames_are_no_worse_than_lines(data: Path, prove: Prove) -> None:
    for labels in read_mot(data / "mot17_mini"):
        if labels.name not in {"MOT17-05-FRCNN", "MOT17-13-FRCNN"}:
            continue
        with open_source(data / "mot17_mini" / labels.name / "img1") as source:
            images = {frame.number: frame.image for frame in source}
        there = (labels.class_ids == 0) & (labels.frames <= len(images))
        lines, filled, _ = compared(truth_of(labels[there]), images, 1000)
        prove(f"{labels.name}: lines and filled in", "no worse", f"{lines:.3f} {filled:.3f}")
        assert filled >= lines
