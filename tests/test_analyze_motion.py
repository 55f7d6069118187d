"""Speed, distance and their intervals: against a textbook solution and synthetic footage."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from motrail.analyze.calibration import Calibration, apply, calibrate
from motrail.analyze.crossings import find_crossings
from motrail.analyze.ground import place_feet
from motrail.analyze.motion import Movement, find_pieces, follow, learn
from motrail.analyze.question import Question
from motrail.analyze.rows import Rows
from motrail.analyze.run import analyze
from motrail.analyze.smooth import Motion, smooth
from motrail.analyze.timing import at_rate
from motrail.analyze.zones import Line, Places
from motrail.dataset.scenes import SceneSettings, make_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from conftest import Prove

MOTION = Motion(4.0, 0.4, 0.03, 0.03, 0.6, 0.15, 5.0)


def test_the_smoother_is_the_conditional_mean() -> None:
    """Of a Gaussian process, by its covariance on a fine grid instead of by a recursion."""
    times = np.array([0.0, 0.04, 0.1, 0.3, 0.34, 0.5])
    deviation = np.array([0.1, 0.12, 0.1, 0.2, 0.1, 0.1])
    measured = np.array([5.0, 5.3, np.nan, 6.2, 6.1, 7.0])
    found = smooth(
        measured[:, None], np.diff(times, prepend=0)[:, None], deviation[:, None], MOTION
    )
    grid = 0.001
    fine = np.arange(0, 0.5, grid) + grid / 2
    acceleration = np.exp(-np.abs(fine[:, None] - fine) / MOTION.reaction)
    acceleration *= MOTION.agility / (2 * MOTION.reaction)
    to_velocity = (fine < times[:, None] - 1e-9) * grid
    to_position = to_velocity * (times[:, None] - fine)
    wide = 1e4 * deviation.max() ** 2 + MOTION.pace**2
    positions = to_position @ acceleration @ to_position.T
    positions += wide + MOTION.pace**2 * np.outer(times, times)
    crossed = to_velocity @ acceleration @ to_position.T + MOTION.pace**2 * times
    velocities = to_velocity @ acceleration @ to_velocity.T + MOTION.pace**2
    fading = MOTION.lasting * np.exp(-np.abs(times[:, None] - times) / MOTION.seconds)
    noise = np.outer(deviation, deviation) * (fading + (1 - MOTION.lasting) * np.eye(6))
    given = np.isfinite(measured)
    known = (positions + noise)[np.ix_(given, given)]
    offset = np.linalg.solve(known, measured[given] - 5.0)
    assert found.position[:, 0] == pytest.approx(5 + positions[:, given] @ offset, abs=2e-3)
    assert found.velocity[:, 0] == pytest.approx(crossed[:, given] @ offset, abs=2e-2)
    spread = velocities - crossed[:, given] @ np.linalg.solve(known, crossed[:, given].T)
    assert found.velocity_variance[:, 0] == pytest.approx(np.diag(spread), rel=0.02)
    spread = positions - positions[:, given] @ np.linalg.solve(known, positions[:, given].T)
    assert found.position_variance[:, 0] == pytest.approx(np.diag(spread), rel=0.02)


class Run(NamedTuple):
    times: NDArray[np.float64]
    piece: NDArray[np.int64]
    movement: Movement
    motion: Motion


def run(
    ids: NDArray[np.int64],
    times: NDArray[np.float64],
    boxes: NDArray[np.float64],
    calibration: Calibration | None = None,
    size: tuple[int, int] | None = None,
    max_gap: float = 1.0,
) -> Run:
    feet = place_feet(boxes, calibration, size)
    piece = find_pieces(ids, times, feet, max_gap)
    motion = learn(times, feet, boxes[:, 3], piece, metres=calibration is not None)
    return Run(times, piece, follow(times, feet, piece, motion), motion)


def walkers(
    count: int, times: NDArray[np.float64], noise: float, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Objects that go to the right at 100 pixels a second, one below the other."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(1, count + 1), len(times))
    all_times = np.tile(times, count)
    foot = np.column_stack([50 + 100 * all_times, 100.0 + 40 * ids])
    foot += rng.normal(0, noise, foot.shape)
    boxes = np.column_stack([foot[:, 0] - 10, foot[:, 1] - 40, np.full((len(ids), 2), (20, 40.0))])
    return ids, all_times, boxes


def test_a_steady_walk() -> None:
    ids, times, boxes = walkers(12, np.arange(100) / 25, 0.8)
    found = run(ids, times, boxes).movement
    assert float(np.median(np.abs(found.speed - 100))) < 3
    inside = (found.low <= 100) & (found.high >= 100)
    assert 0.88 < inside.mean() <= 1
    lengths = np.bincount(ids, found.length)[1:]
    assert lengths == pytest.approx(np.full(12, 396), rel=0.03)


def test_uneven_times_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.2], 100))
    ids, times, boxes = walkers(10, times, 0.5)
    found = run(ids, times, boxes).movement
    assert float(np.median(np.abs(found.speed - 100))) < 4


def test_who_stands_goes_nowhere() -> None:
    rng = np.random.default_rng(2)
    ids = np.repeat(np.arange(1, 9), 500)
    times = np.tile(np.arange(500) / 25, 8)
    boxes = np.tile([300.0, 200, 30, 60], (len(ids), 1))
    boxes[:, :2] += rng.normal(0, 1.0, (len(ids), 2))
    found = run(ids, times, boxes).movement
    # Of the boxes' trembling, 1 pixel 500 times, less than 2 boxes' widths are left.
    assert np.bincount(ids, found.length).max() < 60
    assert found.moving.mean() < 0.1
    assert (found.low < 1).mean() > 0.9


def test_a_gap_is_bridged_or_begins_a_new_piece() -> None:
    times = np.concatenate([np.arange(30) / 25, 2.0 + np.arange(30) / 25])
    ids, times, boxes = walkers(8, times, 0.3)
    bridged = run(ids, times, boxes, max_gap=1.0)
    assert len(np.unique(bridged.piece)) == 8
    assert np.bincount(ids, bridged.movement.length)[1:] == pytest.approx(np.full(8, 316), rel=0.03)
    split = run(ids, times, boxes, max_gap=0.5)
    assert len(np.unique(split.piece)) == 16
    assert np.bincount(ids, split.movement.length)[1:] == pytest.approx(np.full(8, 232), rel=0.04)


def test_one_box_and_two_have_a_place_and_no_speed() -> None:
    ids = np.array([1, 2, 2])
    times = np.array([0.0, 0.0, 0.04])
    boxes = np.array([[10.0, 10, 20, 40], [50, 10, 20, 40], [54, 10, 20, 40]])
    found = run(ids, times, boxes).movement
    assert np.isnan(found.speed).all()
    assert found.xy[0] == pytest.approx((20, 50))
    assert not found.moving.any()
    nothing = run(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4))).movement
    assert len(nothing.speed) == 0


def test_boxes_cut_off_by_the_picture_do_not_say_where_the_foot_is() -> None:
    boxes = np.array([[10.0, 10, 20, 40], [10, 50, 20, 50], [0, 10, 20, 40], [85, 10, 15, 40]])
    assert place_feet(boxes, None, (100, 100)).usable.tolist() == [True, False, False, False]
    assert place_feet(boxes, None, None).usable.all()


def test_long_tracks_are_cut_and_joined_without_a_seam() -> None:
    ids, times, boxes = walkers(1, np.arange(3000) / 25, 1.0)
    whole = run(ids, times, boxes)
    # Around the places where windows meet, 1024 and 2048, nothing stands out.
    jumps = np.abs(np.diff(whole.movement.speed))
    seams = jumps[[1023, 2047]]
    assert seams.max() < 5 * np.median(jumps) + 0.5
    assert len(np.unique(whole.piece)) == 1
    assert np.isfinite(whole.movement.speed).all()


class Truth(NamedTuple):
    ids: NDArray[np.int64]
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    world: NDArray[np.float64]
    calibration: Calibration


def film(scene: str, seed: int, frames: int) -> Truth:
    made = make_scene(
        SceneSettings(scene=scene, seed=seed, frames=frames, occluders=False, motion_blur=False)
    )
    columns: list[tuple[NDArray[Any], ...]] = []
    for frame in made.frames():
        numbers = np.full(len(frame), frame.number)
        columns.append((frame.ids, numbers, frame.boxes_xywh, frame.world_xy))
    ids, numbers, boxes, world = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort((numbers, ids))
    pixels = np.array([[100.0, 100], [540, 100], [620, 340], [20, 350], [300, 200]])
    to_ground = np.asarray(np.linalg.inv(frame.homography), np.float64)
    calibration = calibrate(pixels, apply(to_ground, pixels))
    return Truth(ids[order], numbers[order], boxes[order], world[order], calibration)


class Errors(NamedTuple):
    speed: float
    covered: float
    distance: float


def measure(truth: Truth, jitter: float, stride: int, seed: int = 0) -> Errors:
    """Median relative errors of speed (above 1 m/s) and distance (above 3 m), and coverage."""
    rng = np.random.default_rng(seed)
    boxes = truth.boxes.copy()
    boxes[:, :2] += rng.normal(0, jitter, (len(boxes), 2)) * truth.boxes[:, 3:]
    boxes[:, 2:] *= 1 + rng.normal(0, jitter, (len(boxes), 2))
    chosen = (truth.frames - 1) % stride == 0
    ids, frames = truth.ids[chosen], truth.frames[chosen]
    found = run(ids, (frames - 1) / 25, boxes[chosen], truth.calibration, (640, 360))
    speed = np.full(len(truth.ids), np.nan)
    inner = (truth.ids[2:] == truth.ids[:-2]) & (truth.frames[2:] - truth.frames[:-2] == 2)
    ways = np.hypot(*(truth.world[2:] - truth.world[:-2]).T)
    speed[1:-1][inner] = ways[inner] * 12.5
    speed, movement = speed[chosen], found.movement
    known = np.isfinite(speed) & np.isfinite(movement.speed)
    fast = known & (speed > 1)
    inside = (speed >= movement.low) & (speed <= movement.high)
    distances = []
    for piece in range(found.piece.max() + 1):
        rows = np.flatnonzero(found.piece == piece)
        true = (truth.ids == ids[rows[0]]) & (truth.frames >= frames[rows[0]])
        true &= truth.frames <= frames[rows[-1]]
        way = float(np.hypot(*np.diff(truth.world[true], axis=0).T).sum())
        if way > 3:
            distances.append(abs(movement.length[rows].sum() / way - 1))
    return Errors(
        float(np.median(np.abs(movement.speed[fast] / speed[fast] - 1))),
        float(inside[known].mean()),
        float(np.median(distances)),
    )


@pytest.fixture(scope="module")
def football() -> Truth:
    return film("football", 3, 150)


@pytest.mark.parametrize(("jitter", "stride"), [(0.01, 1), (0.02, 1), (0.02, 3)])
def test_speed_and_distance_of_players(football: Truth, jitter: float, stride: int) -> None:
    """Their boxes tremble by that share of their height, and with the legs."""
    found = measure(football, jitter, stride)
    assert found.speed < 0.05
    assert found.distance < 0.03
    assert 0.92 < found.covered < 0.995


@pytest.mark.parametrize("stride", [1, 5, 10])
@pytest.mark.parametrize("line", [(320.0, 0.0, 320.0, 360.0), (0.0, 190.0, 640.0, 190.0)])
def test_crossings_of_players(
    football: Truth, stride: int, line: tuple[float, float, float, float]
) -> None:
    """All who really cross, and nobody who does not: by where they truly are in the same frames.

    Who truly goes 10 pixels beyond the line on both sides crosses it; who never is on its other
    side, not even by half a pixel, does not.
    """
    rng = np.random.default_rng(9)
    boxes = football.boxes.copy()
    boxes[:, :2] += rng.normal(0, 0.02, (len(boxes), 2)) * football.boxes[:, 3:]
    kept = (football.frames - 1) % stride == 0
    ids, frames = football.ids[kept], football.frames[kept]
    place = Line("line", np.array(line).reshape(2, 2))
    rows = Rows(ids, frames, np.ones(len(ids), np.int64), boxes[kept])
    question = Question(
        rows, (), at_rate(25), (640, 360), football.calibration, Places((), (place,))
    )
    found = Counter((number, way) for _, number, way, *_ in analyze(question).crossings)
    # Feet are nearer to the camera than the middle of the body: by as much as boxes usually say.
    true = apply(football.calibration.inverse, football.world)[kept]
    feet = football.boxes[kept][:, 1] + football.boxes[kept][:, 3]
    true[:, 1] += float(np.median(feet - true[:, 1]))

    def crossed(margin: float) -> Counter[tuple[int, str]]:
        there = find_crossings(
            place, ids, (frames - 1) / 25, true, np.full(len(ids), margin), max_gap=1.0
        )
        ways = ["in" if inwards else "out" for inwards in there.inwards.tolist()]
        return Counter(zip(ids[there.rows].tolist(), ways, strict=True))

    assert sum(found.values()) > 5
    assert not crossed(10) - found
    assert not found - crossed(0.5)


@pytest.mark.proof
@pytest.mark.parametrize("scene", ["football", "traffic"])
@pytest.mark.parametrize("seed", [1, 2, 3, 5, 7])
def test_speed_and_distance_at_full_size(scene: str, seed: int, prove: Prove) -> None:
    found = measure(film(scene, seed, 400), 0.02, 1, seed)
    prove(f"analyze {scene} {seed}: speed", "within 5 %", f"{100 * found.speed:.1f} %")
    prove(f"analyze {scene} {seed}: distance", "within 3 %", f"{100 * found.distance:.1f} %")
    prove(f"analyze {scene} {seed}: interval", "about 95 %", f"{100 * found.covered:.1f} %")
    assert found.speed < 0.05
    assert found.distance < 0.03
    # The foot of a vehicle's box is not one point of the vehicle: it wanders as that passes by, and
    # no trembling tells of it.
    assert found.covered > (0.93 if scene == "football" else 0.80)
