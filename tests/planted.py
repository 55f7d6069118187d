"""Synthetic sequences with planted faults, whose causes are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from motrail.config import TrackerSettings
from motrail.formats.labels import Labels
from motrail.formats.mot.detections import DetectionFile
from motrail.types import SequenceDetections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from motrail.evaluate.events import Cause, Event, Kind

LENGTH = 400
SETTINGS = TrackerSettings(min_box_area=1500)

_CLASSES = ("object", "other thing")

# Faults of a lane stand so far apart that one does not reach the next.
_CENTRES = (75, 195, 315)
_WIDTH, _HEIGHT, _LANE = 50.0, 110.0, 220.0

# Shares of boxes that are missed, and of frames with a false detection, beside what is planted.
_MISSED, _GHOSTS = 0.005, 0.3

Name = Literal[
    "low score",
    "never detected",
    "lost too long",
    "crossed",
    "camera moved",
    "far labels exchanged",
    "touching labels exchanged",
    "filtered",
    "weak start",
    "weak return",
    "confirmed late",
    "not matched",
    "merged",
    "doubled",
    "wrong class",
    "taken over",
]

EXPECTED: dict[Name, tuple[Kind, Cause]] = {
    "low score": ("fragment", "low score"),
    "never detected": ("fragment", "never detected"),
    "lost too long": ("switch", "lost too long"),
    "crossed": ("switch", "crossed"),
    "camera moved": ("switch", "camera moved"),
    "far labels exchanged": ("switch", "label fault"),
    "touching labels exchanged": ("switch", "label fault"),
    "filtered": ("fragment", "filtered"),
    "weak start": ("misses", "weak start"),
    "weak return": ("fragment", "weak return"),
    "confirmed late": ("misses", "confirmed late"),
    "not matched": ("switch", "not matched"),
    "merged": ("fragment", "merged"),
    "doubled": ("switch", "doubled"),
    "wrong class": ("fragment", "wrong class"),
    "taken over": ("switch", "taken over"),
}
"""What a fault leads to."""

IN_LANES: tuple[Name, ...] = tuple(name for name in EXPECTED if name != "camera moved")


class Plant(NamedTuple):
    """A fault: its name, the frames of its event, the true ids it can befall."""

    name: Name
    start: int
    end: int
    ids: frozenset[int]

    def events(self, events: Iterable[Event]) -> list[Event]:
        """Those it led to."""
        kind, _ = EXPECTED[self.name]
        return [
            e
            for e in events
            if e.kind == kind
            and e.truth_id in self.ids
            and e.start <= self.end
            and e.end >= self.start
        ]


@dataclass
class _Path:
    """An object over all frames; arrays by frame, counted from 0."""

    ids: NDArray[np.int64]
    box: NDArray[np.float64]  # centre x, centre y, width, height
    there: NDArray[np.bool_]
    detected: NDArray[np.bool_]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclass
class _World:
    """Objects as they are made; detections miss some boxes and see some that are not there."""

    rng: np.random.Generator
    paths: list[_Path] = field(default_factory=list)
    extra: list[tuple[int, NDArray[np.float64]]] = field(default_factory=list)
    plants: list[Plant] = field(default_factory=list)
    jump: tuple[float, float] = (60, 90)

    def add(self, box: NDArray[np.float64], there: NDArray[np.bool_]) -> _Path:
        path = _Path(
            np.full(LENGTH, len(self.paths) + 1),
            box,
            there,
            there & (self.rng.random(LENGTH) > _MISSED),
            self.rng.uniform(0.72, 0.95, LENGTH),
            np.zeros(LENGTH, np.int64),
        )
        self.paths.append(path)
        return path

    def lane(self, number: int) -> _Path:
        """An object that walks along a lane of its own with slowly changing speed."""
        t = np.arange(LENGTH)
        speed, phase = self.rng.uniform(-3, 3), self.rng.uniform(0, 2 * np.pi)
        x = 2000 + speed * t + 15 * np.sin(2 * np.pi * t / 200 + phase)
        y = _LANE * (number + 1) + 5 * np.sin(2 * np.pi * t / 150 + phase)
        box = np.stack([x, y, np.full(LENGTH, _WIDTH), np.full(LENGTH, _HEIGHT)], axis=1)
        return self.add(box, np.ones(LENGTH, np.bool_))

    def companion(self, beside: _Path, offset: NDArray[np.float64], start: int, end: int) -> _Path:
        """Another object in the same lane, from frame `start` to before `end`."""
        box = beside.box.copy()
        box[:, 0] += offset
        there = np.zeros(LENGTH, np.bool_)
        there[start:end] = True
        return self.add(box, there)

    def plant(self, name: Name, start: int, end: int, *paths: _Path) -> None:
        """Note a fault by frames counted from 0."""
        ids = frozenset(int(i) for path in paths for i in path.ids[start : end + 1])
        self.plants.append(Plant(name, start + 1, end + 1, ids))


def _gap(world: _World, path: _Path, m: int) -> None:
    length = int(world.rng.integers(4, 25))
    path.detected[m : m + length] = False
    world.plant("never detected", m, m + length - 1, path)


def _low_score(world: _World, path: _Path, m: int) -> None:
    length = int(world.rng.integers(4, 25))
    path.scores[m : m + length] = world.rng.uniform(0.03, 0.09, length)
    world.plant("low score", m, m + length - 1, path)


def _long_gap(world: _World, path: _Path, m: int) -> None:
    length = SETTINGS.lost_frames + int(world.rng.integers(3, 20))
    path.detected[m - 20 : m - 20 + length] = False
    world.plant("lost too long", m - 20, m - 20 + length, path)


def _weak_return(world: _World, path: _Path, m: int) -> None:
    gap = int(world.rng.integers(2, 6))
    weak = gap + int(world.rng.integers(3, 12))
    path.detected[m : m + gap] = False
    path.scores[m + gap : m + gap + weak] = world.rng.uniform(0.3, 0.55, weak)
    world.plant("weak return", m, m + gap + weak - 1, path)


def _turn_back(world: _World, path: _Path, m: int) -> None:
    """Two objects walk up to each other, are hidden, and turn back; tracks go straight on."""
    t = np.arange(LENGTH)
    speed = world.rng.uniform(2.5, 3.5)
    near = world.rng.uniform(12, 20)
    offset = np.maximum(speed * (40 - np.abs(t - m)), 0)
    other = world.companion(path, 2 * 40 * speed + near - offset, m - 44, m + 45)
    path.box[:, 0] += offset
    for one in (path, other):
        one.detected[m - 3 : m + 7] = False
    world.plant("crossed", m - 4, m + 12, path, other)


def _far_labels(world: _World, path: _Path, m: int) -> None:
    other = world.lane(len(world.paths))
    ids = path.ids[m:].copy()
    path.ids[m:] = other.ids[m:]
    other.ids[m:] = ids
    world.plant("far labels exchanged", m - 1, m, path, other)


def _touching_labels(world: _World, path: _Path, m: int) -> None:
    side = world.rng.uniform(20, 60) * world.rng.choice([-1, 1])
    other = world.companion(path, np.full(LENGTH, side), m - 40, m + 45)
    path.ids[m : m + 45], other.ids[m : m + 45] = (
        other.ids[m : m + 45].copy(),
        path.ids[m : m + 45].copy(),
    )
    world.plant("touching labels exchanged", m - 1, m, path, other)


def _too_small(world: _World, path: _Path, m: int) -> None:
    t, half = np.arange(LENGTH), int(world.rng.integers(4, 15))
    shrink = np.clip((np.abs(t - m) - half) / 8, 0, 1)
    path.box[:, 2:] *= (0.45 + 0.55 * shrink)[:, None]
    world.plant("filtered", m - half, m + half, path)


def _weak_start(world: _World, path: _Path, m: int) -> None:
    other = world.companion(path, np.full(LENGTH, 200.0), m - 40, m + 45)
    length = int(world.rng.integers(5, 40))
    other.scores[m - 40 : m - 40 + length] = world.rng.uniform(0.3, 0.65, length)
    world.plant("weak start", m - 40, m - 41 + length, other)


def _new_object(world: _World, path: _Path, m: int) -> None:
    other = world.companion(path, np.full(LENGTH, 200.0), m - 40, m + 45)
    world.plant("confirmed late", m - 40, m - 40, other)


def _jump(world: _World, path: _Path, m: int) -> None:
    path.box[m:, 0] += world.rng.uniform(*world.jump) * world.rng.choice([-1, 1])
    world.plant("not matched", m - 1, m + 1, path)


def _merge(world: _World, path: _Path, m: int) -> None:
    t = np.arange(LENGTH)
    half = int(world.rng.integers(2, 9))
    offset = 8.0 + 4 * np.maximum(np.abs(t - m) - half - 1, 0)
    other = world.companion(path, offset, m - 40, m + 45)
    other.detected[m - half : m + half + 1] = False
    world.plant("merged", m - half, m + half, other)


def _double(world: _World, path: _Path, m: int) -> None:
    for frame in range(m - 20, m + 30):
        box = path.box[frame].copy()
        box[0] += 12
        world.extra.append((frame, box))
    path.detected[m : m + 30] = False
    world.plant("doubled", m - 1, m, path)


def _other_class(world: _World, path: _Path, m: int) -> None:
    length = int(world.rng.integers(3, 20))
    path.classes[m : m + length] = 1
    world.plant("wrong class", m, m + length - 1, path)


def _take_over(world: _World, path: _Path, m: int) -> None:
    """An object leaves, another walks on in its place, and the first comes back elsewhere."""
    away = int(world.rng.integers(8, 25))
    path.box[m:, 0] += 200
    path.there[m : m + away] = path.detected[m : m + away] = False
    world.companion(path, np.full(LENGTH, -200.0), m + 2, m + 45)
    world.plant("taken over", m - 1, m + away + 1, path)


_PLANTERS: dict[Name, Callable[[_World, _Path, int], None]] = {
    "low score": _low_score,
    "never detected": _gap,
    "lost too long": _long_gap,
    "crossed": _turn_back,
    "far labels exchanged": _far_labels,
    "touching labels exchanged": _touching_labels,
    "filtered": _too_small,
    "weak start": _weak_start,
    "weak return": _weak_return,
    "confirmed late": _new_object,
    "not matched": _jump,
    "merged": _merge,
    "doubled": _double,
    "wrong class": _other_class,
    "taken over": _take_over,
}


class Planted(NamedTuple):
    """A sequence, what a detector made of it, and the faults in it."""

    truth: Labels
    file: DetectionFile
    plants: list[Plant]


def plant(
    seed: int,
    kinds: tuple[Name, ...] = IN_LANES,
    *,
    jump: tuple[float, float] = (60, 90),
    lanes: int = 14,
) -> Planted:
    """A sequence with three faults in each lane; the camera alone moves three times in all.

    Args:
        seed: Of everything random.
        kinds: The faults to choose from, in turn.
        jump: Length of jumps of the camera and of single objects, in pixels; boxes are 50 wide.
        lanes: Number of objects that are there all along.
    """
    world = _World(np.random.default_rng(seed), jump=jump)
    for number in range(lanes):
        world.lane(number)
    turn = int(world.rng.integers(len(kinds)))
    for lane, path in enumerate(world.paths[:lanes]):
        for place, centre in enumerate(_CENTRES):
            name = kinds[(turn + lane * len(_CENTRES) + place) % len(kinds)]
            # Faults that two lanes share must not meet in time.
            m = centre + lane // 2 - 3
            if name != "camera moved":
                _PLANTERS[name](world, path, m)
    if "camera moved" in kinds:
        _move_camera(world)
    return _written(f"planted-{seed}", world)


def _move_camera(world: _World) -> None:
    for m in _CENTRES:
        angle, length = world.rng.choice([0, np.pi]), world.rng.uniform(*world.jump)
        for path in world.paths:
            path.box[m:, 0] += length * np.cos(angle)
            world.plant("camera moved", m - 1, m + 1, path)


def _see_ghosts(world: _World) -> None:
    """False detections, alone or beside true ones."""
    everywhere = np.concatenate([path.box[path.there] for path in world.paths])
    for frame in np.flatnonzero(world.rng.random(LENGTH) < _GHOSTS).tolist():
        box = world.rng.choice(everywhere)
        world.extra.append((frame, box + np.append(world.rng.uniform(-100, 100, 2), [0, 0])))


def _written(name: str, world: _World) -> Planted:
    _see_ghosts(world)
    paths = world.paths
    there = [np.flatnonzero(path.there) for path in paths]
    at = np.concatenate(there)
    truth = Labels.of(
        name,
        _CLASSES,
        at + 1,
        np.concatenate([p.ids[t] for p, t in zip(paths, there, strict=True)]),
        _corner(np.concatenate([p.box[t] for p, t in zip(paths, there, strict=True)])),
        np.zeros(len(at), np.int64),
        length=LENGTH,
        frame_rate=25.0,
    )
    return Planted(truth, DetectionFile(name, _CLASSES, _detected(world)), world.plants)


def _detected(world: _World) -> SequenceDetections:
    seen = [(p, np.flatnonzero(p.there & p.detected)) for p in world.paths]
    extra, rng = world.extra, world.rng
    frames = np.concatenate([*(t for _, t in seen), np.array([f for f, _ in extra], np.int64)])
    boxes = np.concatenate(
        [*(p.box[t] for p, t in seen), np.array([box for _, box in extra]).reshape(-1, 4)]
    )
    scores = np.concatenate([*(p.scores[t] for p, t in seen), rng.uniform(0.72, 0.95, len(extra))])
    classes = np.concatenate([*(p.classes[t] for p, t in seen), np.zeros(len(extra), np.int64)])
    boxes[:, 2:] *= rng.normal(1, 0.03, (len(boxes), 2))
    boxes[:, :2] += rng.normal(0, 0.02, (len(boxes), 2)) * boxes[:, 2:]
    order = np.argsort(frames, kind="stable")
    xyxy = _corner(boxes[order])
    xyxy[:, 2:] += xyxy[:, :2]
    return SequenceDetections(frames[order] + 1, xyxy, scores[order], classes[order])


def _corner(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre x, centre y, width, height → left, top, width, height."""
    xywh = boxes.copy()
    xywh[:, :2] -= boxes[:, 2:] / 2
    return xywh
