"""Synthetic footage: the same every time, and true to the pixel."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from motrail.dataset.scenes import (
    DIFFICULTIES,
    SCENES,
    SceneFrame,
    SceneSettings,
    TruthCollector,
    make_scene,
    standard_football,
)
from motrail.dataset.scenes.belt import Belt
from motrail.dataset.scenes.camera import Camera
from motrail.dataset.scenes.driving import LANE, Layout, Lights, Traffic, paths
from motrail.dataset.scenes.football import FootballWorld
from motrail.dataset.scenes.play import MAX_ACCELERATION, MAX_SPEED
from motrail.dataset.scenes.render import SCENERY, Sprite, extent, paint, smeared, solid
from motrail.dataset.scenes.solids import Solid, depth_order, draw_solid
from motrail.dataset.scenes.vehicles import models
from motrail.dataset.scenes.vehicles import paint as paint_of
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from conftest import Prove


def clip(**settings: object) -> list[SceneFrame]:
    """The frames of a small clip."""
    small: dict[str, object] = {"width": 320, "height": 180, "frames": 3}
    return list(make_scene(SceneSettings(**(small | settings))).frames())  # type: ignore[arg-type]


def digest(frames: list[SceneFrame]) -> str:
    """Of everything the frames say."""
    content = hashlib.sha256()
    for frame in frames:
        for part in (
            frame.image, frame.ids, frame.class_ids, frame.boxes_xywh, frame.visibility,
            frame.world_xy, frame.homography, frame.instance_ids,
        ):  # fmt: skip
            content.update(np.ascontiguousarray(part).tobytes())
    return content.hexdigest()


def patch(width: int, height: int, coverage: int = 255) -> NDArray[np.uint8]:
    return np.full((height, width, 4), coverage, np.uint8)


# What comes out.


@pytest.mark.parametrize("scene", SCENES)
def test_a_clip(scene: str) -> None:
    made = make_scene(SceneSettings(scene=scene, width=320, height=180, frames=3))
    frames = list(made.frames())
    assert [frame.number for frame in frames] == [1, 2, 3]
    for frame in frames:
        count = len(frame)
        assert count >= 2
        assert frame.image.shape == (180, 320, 3)
        assert frame.image.dtype == np.uint8
        assert frame.boxes_xywh.shape == (count, 4)
        assert np.isfinite(frame.boxes_xywh).all()
        assert (frame.boxes_xywh[:, 2:] > 0).all()
        assert ((frame.visibility >= 0) & (frame.visibility <= 1)).all()
        assert frame.world_xy.shape == (count, 2)
        assert (np.diff(frame.ids) > 0).all()
        assert frame.ids.min() >= 1
        assert set(frame.class_ids.tolist()) <= set(range(len(made.classes)))
        assert frame.homography.shape == (3, 3)


def test_classes() -> None:
    def classes(**settings: object) -> tuple[str, ...]:
        return make_scene(SceneSettings(**settings)).classes  # type: ignore[arg-type]

    assert classes(scene="football") == ("player",)
    assert classes(scene="football", ball=True) == ("player", "ball")
    assert classes(scene="traffic") == ("car", "truck", "pedestrian")
    assert classes(scene="conveyor") == ("parcel", "envelope")


@pytest.mark.parametrize("scene", SCENES)
def test_the_same_again(scene: str) -> None:
    first = digest(clip(scene=scene, difficulty="hard"))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1 if threads > 1 else 2)
    try:
        assert digest(clip(scene=scene, difficulty="hard")) == first
    finally:
        cv2.setNumThreads(threads)
    assert digest(clip(scene=scene, difficulty="hard", seed=1)) != first


def test_frames_can_be_taken_twice() -> None:
    scene = make_scene(SceneSettings(width=320, height=180, frames=2))
    assert digest(list(scene.frames())) == digest(list(scene.frames()))


@pytest.mark.parametrize("scene", SCENES)
def test_a_longer_clip_begins_alike(scene: str) -> None:
    short = clip(scene=scene, difficulty="hard", frames=3)
    long = clip(scene=scene, difficulty="hard", frames=4)
    assert digest(long[:3]) == digest(short)
    assert digest(long[3:]) != digest(short)


@pytest.mark.parametrize(
    ("width", "height", "rate"), [(64, 64, 1.0), (333, 201, 29.97), (90, 400, 240.0)]
)
@pytest.mark.parametrize("scene", SCENES)
def test_odd_sizes(scene: str, width: int, height: int, rate: float) -> None:
    frames = clip(
        scene=scene, width=width, height=height, frame_rate=rate, difficulty="hard", frames=2
    )
    for frame in frames:
        assert frame.image.shape == (height, width, 3)
        assert np.isfinite(frame.boxes_xywh).all()


# Boxes and visibility are those of the pixels.


def test_visibility_of_two_that_overlap() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    far = Sprite(patch(10, 10), 5, 5, depth=9.0, owner=0)
    near = Sprite(patch(10, 10), 11, 9, depth=2.0, owner=1)
    # They share 4 columns and 6 rows: 24 of the far one's 100 pixels are hidden.
    painted = paint(image, [near, far], 2)
    assert painted.boxes_xywh.tolist() == [[5, 5, 10, 10], [11, 9, 10, 10]]
    assert painted.whole.tolist() == [100, 100]
    assert painted.seen.tolist() == [76, 100]
    assert painted.owners[10, 12] == 1
    assert painted.owners[5, 5] == 0
    assert painted.owners[0, 0] == SCENERY


def test_visibility_at_the_edge_and_behind_scenery() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    outside = Sprite(patch(10, 10), -4, -3, depth=5.0, owner=0)
    gone = Sprite(patch(3, 3), 30, 30, depth=5.0, owner=1)
    hidden = Sprite(patch(4, 4), 10, 10, depth=5.0, owner=2)
    post = Sprite(patch(6, 20), 9, 0, depth=1.0)
    painted = paint(image, [outside, gone, hidden, post], 4)
    assert painted.boxes_xywh[:3].tolist() == [[-4, -3, 10, 10], [30, 30, 3, 3], [10, 10, 4, 4]]
    assert painted.whole.tolist() == [100, 9, 16, 0]
    assert painted.inside.tolist() == [42, 0, 16, 0]
    assert painted.seen.tolist() == [42, 0, 0, 0]
    assert np.isnan(painted.boxes_xywh[3]).all()
    assert painted.owners[12, 12] == SCENERY


def test_a_side_between_two_pixels() -> None:
    covered = np.zeros((6, 8, 4), np.uint8)
    covered[1:5, 2:6] = 255
    covered[1:5, 1] = 64  # a quarter of the pixel on the left
    covered[1:5, 6] = 191  # three quarters of that on the right
    box = extent(Sprite(covered, 100, 50, 1.0))
    assert box == pytest.approx([101.75, 51, 5.0, 4], abs=0.01)
    assert solid(Sprite(covered, 0, 0, 1.0)).any(axis=0).tolist() == [False] * 2 + [True] * 5 + [
        False
    ]


def test_what_moves_is_blurred_about_its_middle() -> None:
    still = Sprite(patch(10, 10), 20, 20, 1.0)
    blurred = smeared(Sprite(patch(10, 10), 20, 20, 1.0, motion=(4.0, 0.0)))
    assert smeared(still) is still
    assert extent(blurred) == pytest.approx([20, 20, 10, 10], abs=0.3)
    coverage = blurred.patch[blurred.patch.shape[0] // 2, :, 3].astype(float)
    assert coverage.sum() == pytest.approx(2550, rel=0.02)
    assert np.count_nonzero(coverage) >= 13  # 10 pixels and 4 of movement


@pytest.mark.parametrize("scene", SCENES)
def test_boxes_are_the_extent_of_the_pixels(scene: str) -> None:
    checked = 0
    for frame in clip(scene=scene, width=640, height=360, frames=4, occluders=False):
        assert set(np.unique(frame.instance_ids).tolist()) <= {0, *frame.ids.tolist()}
        for number, box, visibility in zip(
            frame.ids.tolist(), frame.boxes_xywh, frame.visibility, strict=True
        ):
            rows, columns = np.nonzero(frame.instance_ids == number)
            if visibility == 0:
                assert not len(rows)
                continue
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            corners = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
            assert seen[0] >= corners[0] - 1
            assert seen[1] >= corners[1] - 1
            assert seen[2] <= corners[2] + 1
            assert seen[3] <= corners[3] + 1
            if visibility == 1:
                assert seen == pytest.approx(corners, abs=1)
                checked += 1
    assert checked > 8


def test_boxes_and_visibility_by_drawing_each_alone() -> None:
    settings = SceneSettings(
        seed=2, frames=1, objects=23, occluders=False, camera_shake=False, camera_pan=False
    )
    frame = next(make_scene(settings).frames())
    world = FootballWorld(settings.resolved())
    margin = 400  # a picture so wide that nothing reaches out of it
    owner = np.full((360 + 2 * margin, 640 + 2 * margin), -1)
    alone = {}
    for sprite in sorted(world.sprites(world.camera, 0.5 / 25), key=lambda one: -one.depth):
        blurred = smeared(sprite)
        mask = np.zeros(owner.shape, np.bool_)
        top, left = blurred.top + margin, blurred.left + margin
        height, width = blurred.patch.shape[:2]
        mask[top : top + height, left : left + width] = solid(blurred)
        owner[mask] = sprite.owner
        alone[sprite.owner + 1] = mask
    inside = np.zeros(owner.shape, np.bool_)
    inside[margin : margin + 360, margin : margin + 640] = True
    assert frame.ids.tolist() == sorted(k for k, mask in alone.items() if (mask & inside).any())
    for number, box, visibility in zip(
        frame.ids.tolist(), frame.boxes_xywh, frame.visibility, strict=True
    ):
        rows, columns = np.nonzero(alone[number])
        ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        corners = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        assert np.array(ends) - margin == pytest.approx(corners, abs=1)
        seen = np.count_nonzero((owner == number - 1) & inside)
        assert visibility == seen / len(rows)
    assert (frame.visibility < 0.7).any()


# The camera.


def test_projection_by_hand() -> None:
    camera = Camera.looking((0.0, -10.0, 10.0), (0.0, 0.0, 0.0), 500.0, (640, 360))
    pixels, depth = camera.project(np.array([[0.0, 0, 0], [1, 0, 0], [0, -10, 0]]))
    far = math.sqrt(200)
    assert depth == pytest.approx([far, far, 10 / math.sqrt(2)])
    assert pixels[0] == pytest.approx([320, 180])
    assert pixels[1] == pytest.approx([320 + 500 / far, 180])
    assert pixels[2] == pytest.approx([320, 180 + 500])  # 45 degrees below the middle


def test_homography_and_turning() -> None:
    camera = Camera.looking((4.0, -20.0, 8.0), (1.0, 2.0, 0.0), 700.0, (640, 360))
    ground = np.array([[0.0, 0], [3, 5], [-2, 1], [6, -3]])
    points = np.column_stack([ground, np.zeros(4)])
    for view in (camera, camera.turned(0.02, -0.01, 0.03)):
        mapped = np.column_stack([ground, np.ones(4)]) @ view.homography.T
        assert mapped[:, :2] / mapped[:, 2:] == pytest.approx(view.project(points)[0], abs=1e-9)
    turned = camera.turned(0.02, -0.01, 0.03)
    before = np.column_stack([camera.project(points)[0], np.ones(4)])
    after = before @ turned.pixels_of(camera).T
    assert after[:, :2] / after[:, 2:] == pytest.approx(turned.project(points)[0], abs=1e-8)
    # A turn to the right moves the picture to the left, upwards moves it down.
    assert camera.turned(0.02, 0, 0).project(points)[0][0, 0] < camera.project(points)[0][0, 0]
    assert camera.turned(0, 0.02, 0).project(points)[0][0, 1] > camera.project(points)[0][0, 1]


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_people_stand_where_the_world_says(difficulty: str) -> None:
    errors = []
    for frame in clip(width=640, height=360, seed=5, frames=5, difficulty=difficulty):
        mapped = np.column_stack([frame.world_xy, np.ones(len(frame))]) @ frame.homography.T
        feet = mapped[:, :2] / mapped[:, 2:]
        box = frame.boxes_xywh
        bottom = np.column_stack([box[:, 0] + box[:, 2] / 2, box[:, 1] + box[:, 3]])
        errors.append((feet - bottom) / box[:, 3:])
    off = np.concatenate(errors)
    # In shares of the height: a leg swings to the side, a foot nearer to the camera is lower.
    assert np.abs(off[:, 0]).max() < 0.2
    assert np.abs(off[:, 1]).max() < 0.2
    assert np.abs(off).mean() < 0.06


@pytest.mark.parametrize("name", ["sedan", "hatch", "estate", "van", "lorry", "bus"])
def test_one_cannot_see_through_a_vehicle(name: str) -> None:
    model = models()[0][name]
    colors = paint_of(np.random.default_rng(1), name, 0)
    camera = Camera.looking((0.0, -16.0, 7.0), (0.0, 0.0, 1.0), 300.0, (320, 200))
    sun = np.array([0.0, 0.0, 1.0])
    for heading in np.linspace(0, math.tau, 24, endpoint=False).tolist():
        vehicle = Solid(model.mesh, colors, np.zeros(3), heading)
        sprite = draw_solid(vehicle, camera, sun)
        assert sprite is not None
        drawn = solid(sprite)
        # The body above the axles, a little narrower and shorter, has no hole.
        length, width = model.mesh.half
        inner = [(x, y, z) for x in (0.6, 0, -0.6) for y in (0.7, 0, -0.7) for z in (0.55, 0.85)]
        places = vehicle.points(np.array(inner) * (length, width, 1.0))
        for x, y in np.floor(camera.project(places)[0]).astype(int).tolist():
            assert drawn[y - sprite.top, x - sprite.left]


def test_a_bus_beside_a_bicycle() -> None:
    camera = Camera.looking((0.0, -10.0, 6.0), (0.0, 0.0, 0.0), 500.0, (640, 360))
    bus = np.array([[-6.0, 0], [30, 0], [30, 2.5], [-6, 2.5]])
    bicycle = np.array([[-5.0, -1.0], [-4, -1.0], [-4, -0.5], [-5, -0.5]])
    behind = bicycle + np.array([0.0, 4.0])
    depths = depth_order(camera, np.stack([bus, bicycle, behind]))
    assert depths[1] < depths[0] < depths[2]
    crooked = np.array([[-6.0, 8], [6, 0], [7, 2], [-5, 10.0]])  # its middle is farther away
    corner = np.array([[-5.0, 4], [-4, 4], [-4, 4.5], [-5, 4.5]])
    depths = depth_order(camera, np.stack([corner, crooked]))
    assert depths[0] < depths[1]


# Movement.


def positions(settings: SceneSettings) -> NDArray[np.float64]:
    """Of all people in every frame, in the picture or not, shape (frames, n, 2)."""
    world = FootballWorld(settings.resolved())
    found = []
    for _ in range(settings.frames):
        found.append(world.objects().world_xy.copy())
        world.advance(1 / settings.frame_rate)
    return np.stack(found)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_football_is_played_by_people(seed: int) -> None:
    xy = positions(SceneSettings(seed=seed, frames=150, difficulty="hard"))
    velocity = np.diff(xy, axis=0) * 25
    speed = np.hypot(velocity[..., 0], velocity[..., 1])
    change = np.hypot(*np.moveaxis(np.diff(velocity, axis=0) * 25, -1, 0))
    assert speed.max() <= MAX_SPEED + 1e-6
    assert change.max() <= MAX_ACCELERATION + 1e-6
    assert speed.max() > 4
    assert (speed < 0.5).mean() > 0.005  # some stand
    assert 0.5 < speed.mean() < 4.5


def test_who_comes_back_keeps_the_id() -> None:
    clips = clip(seed=4, frames=100, width=160, height=90, difficulty="easy", objects=16)
    first: dict[int, tuple[int, int]] = {}
    back = 0
    seen: dict[int, int] = {}
    for frame in clips:
        for number in frame.ids.tolist():
            back += number in seen and seen[number] < frame.number - 1
            seen[number] = frame.number
            first.setdefault(number, (number, frame.number))
    assert back >= 1
    assert set(seen) <= set(range(1, 17))


def test_vehicles_keep_apart_and_stop_at_red() -> None:
    layout, lights = Layout(2 * LANE, LANE), Lights(3.0)
    rng = np.random.default_rng(8)
    traffic = Traffic(rng, layout, lights, np.full(14, 4.4), np.ones(14, np.bool_))
    nobody = np.zeros((0, 2))
    ways = paths(layout)
    lines = [way.points[round(way.stop / 0.5)] for way in ways]
    crossed = stopped = 0
    for _ in range(600):
        before = traffic.xy.copy()
        traffic.advance(0.05, nobody)
        on = traffic.driving()
        gaps = np.hypot(*(traffic.xy[on][:, None] - traffic.xy[on]).transpose(2, 0, 1))
        np.fill_diagonal(gaps, np.inf)
        assert gaps.min() > 2.4
        stopped += int(np.count_nonzero(traffic.speed[on] < 0.1))
        for i in on.tolist():
            for way, line in zip(ways, lines, strict=True):
                ahead = np.array([math.cos(way.headings[0]), math.sin(way.headings[0])])
                was, now = ((place - line) @ ahead for place in (before[i], traffic.xy[i]))
                side = abs((traffic.xy[i] - line) @ [-ahead[1], ahead[0]])
                if was <= 0 < now and now - was < 2 and side < 0.5:
                    crossed += 1
                    # Its front, 2.2 m before, passed the line while it was not red, or just so.
                    since = 2.2 / max(float(traffic.speed[i]), 0.5) + 0.5
                    states = {lights.state(way.axis, traffic.time - t) for t in (0.0, since)}
                    assert states != {"red"}
    assert crossed > 5
    assert stopped > 100


def test_parcels_do_not_run_into_each_other() -> None:
    sizes = np.tile([0.22, 0.15, 0.2], (14, 1))
    belt = Belt(np.random.default_rng(3), (1.0, 0.6, 1.2), sizes, riders=0.0)
    numbers = set(belt.serial.tolist())
    for _ in range(300):
        for i in belt.advance(0.04):
            belt.resize(i, sizes[0])
        numbers |= set(belt.serial.tolist())
        assert len(set(belt.serial.tolist())) == 14
        assert np.abs(belt.xy[:, 1]).max() < 0.65
        # The circles inside them never overlap by more than a squeeze.
        gaps = np.hypot(*(belt.xy[:, None] - belt.xy).transpose(2, 0, 1))
        np.fill_diagonal(gaps, np.inf)
        assert gaps.min() > 0.26
    assert numbers == set(range(1, max(numbers) + 1))
    assert max(numbers) > 20


# Options.


def pixels(frames: list[SceneFrame]) -> NDArray[np.float64]:
    return np.stack([frame.image for frame in frames]).astype(np.float64)


@pytest.mark.parametrize("scene", SCENES)
def test_shadows_darken_and_are_no_part_of_the_object(scene: str) -> None:
    without, with_ = (clip(scene=scene, shadows=on, difficulty="easy") for on in (False, True))
    change = pixels(with_) - pixels(without)
    assert (change < -15).mean() > 0.002
    assert (change > 4).mean() < 0.001
    for first, second in zip(without, with_, strict=True):
        assert np.array_equal(first.boxes_xywh, second.boxes_xywh)
        assert np.array_equal(first.visibility, second.visibility)


def test_motion_blur_softens_what_moves() -> None:
    sharp, blurred = (
        clip(motion_blur=on, difficulty="easy", width=640, height=360) for on in (False, True)
    )
    changed = pixels(sharp) != pixels(blurred)
    assert 0.0005 < changed.mean() < 0.2  # objects alone, not the grass

    def steepness(frames: list[SceneFrame]) -> float:
        total = 0.0
        for frame in frames:
            grey = frame.image.mean(axis=2)
            across = np.abs(np.diff(grey, axis=1))
            total += float(across[changed[0].any(axis=2)[:, 1:]].sum())
        return total

    assert steepness(blurred) < steepness(sharp)
    assert np.array_equal(sharp[0].world_xy, blurred[0].world_xy)


@pytest.mark.parametrize("scene", SCENES)
def test_low_light_is_dark_pale_and_noisy(scene: str) -> None:
    day, night = (clip(scene=scene, low_light=on, difficulty="easy") for on in (False, True))
    assert pixels(night).mean() < 0.6 * pixels(day).mean()

    def colorfulness(frames: list[SceneFrame]) -> float:
        return float(np.ptp(pixels(frames), axis=-1).mean() / pixels(frames).mean())

    if scene == "football":
        assert colorfulness(night) < 0.8 * colorfulness(day)

    def noise(frames: list[SceneFrame]) -> float:
        still = np.median(np.abs(np.diff(pixels(frames), axis=0)))
        return float(still)

    assert noise(night) > 2 * noise(day)


@pytest.mark.parametrize("scene", SCENES)
def test_the_camera_moves_when_it_should(scene: str) -> None:
    def views(**settings: object) -> list[NDArray[np.float64]]:
        return [frame.homography for frame in clip(scene=scene, difficulty="easy", **settings)]

    still, shaken, panned = views(), views(camera_shake=True), views(camera_pan=True)
    assert np.array_equal(still[0], still[1])
    assert not np.allclose(shaken[0], shaken[1], rtol=1e-6, atol=0)
    assert not np.allclose(panned[0], panned[2], rtol=1e-6, atol=0)


def test_the_backdrop_moves_with_the_camera() -> None:
    frames = clip(difficulty="easy", camera_shake=True, camera_pan=True, width=640, height=360)
    first, last = frames[0], frames[2]
    matrix = last.homography @ np.linalg.inv(first.homography)
    moved = cv2.warpPerspective(first.image, matrix, (640, 360))
    inner = np.s_[60:300, 60:580]

    def difference(image: object) -> float:
        return float(np.abs(np.asarray(image, float) - last.image)[inner].mean())

    assert difference(moved) < 0.75 * difference(first.image)


@pytest.mark.parametrize("scene", SCENES)
def test_occluders_hide(scene: str) -> None:
    free, hidden = (
        clip(scene=scene, occluders=on, difficulty="easy", frames=4, seed=0, objects=24)
        for on in (False, True)
    )
    less = 0
    for first, second in zip(free, hidden, strict=True):
        assert np.array_equal(first.boxes_xywh, second.boxes_xywh)
        assert (second.visibility <= first.visibility).all()
        less += int(np.count_nonzero(second.visibility < first.visibility))
    assert less > 0


def test_the_ball_is_a_class_of_its_own() -> None:
    frames = clip(ball=True, seed=0, width=640, height=360, frames=25)
    balls = [frame.boxes_xywh[frame.class_ids == 1] for frame in frames]
    assert all(len(ball) <= 1 for ball in balls)
    sizes = np.concatenate(balls)[:, 2:]
    assert len(sizes) > 20
    assert sizes.min() >= 5
    assert np.median(sizes) < 20
    ids = {int(number) for frame in frames for number in frame.ids[frame.class_ids == 1]}
    assert ids == {17}  # after 16 persons


def test_difficulty_and_objects() -> None:
    counts = [SceneSettings(difficulty=level).object_count for level in DIFFICULTIES]
    assert counts == sorted(counts)
    assert SceneSettings(objects=5).object_count == 5
    easy = SceneSettings(difficulty="easy").resolved()
    assert (easy.shadows, easy.motion_blur, easy.occluders, easy.camera_shake) == (
        True, False, False, False,
    )  # fmt: skip
    hard = SceneSettings(difficulty="hard", motion_blur=False).resolved()
    assert (hard.motion_blur, hard.camera_shake, hard.camera_pan, hard.low_light) == (
        False, True, True, False,
    )  # fmt: skip
    few = clip(objects=2, width=160, height=90)
    assert {number for frame in few for number in frame.ids.tolist()} <= {1, 2}


@pytest.mark.parametrize("scene", SCENES)
def test_as_few_and_as_many_as_can_be(scene: str) -> None:
    for count in (2, 40):
        frames = clip(scene=scene, objects=count, width=160, height=90, frames=2)
        assert all(len(frame) <= count for frame in frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scene": "chess"}, "scene: expected one of football, traffic, conveyor, found 'chess'"),
        ({"difficulty": "mad"}, "difficulty: expected one of easy, normal, hard, found 'mad'"),
        ({"seed": -1}, f"seed: expected a whole number from 0 to {2**63 - 1}, found -1"),
        ({"width": 63}, "width: expected a whole number from 64 to 4096, found 63"),
        ({"height": 4097}, "height: expected a whole number from 64 to 4096, found 4097"),
        ({"frames": 0}, "frames: expected a whole number from 1 to 10000000, found 0"),
        ({"frames": True}, "frames: expected a whole number from 1 to 10000000, found True"),
        ({"objects": 1}, "objects: expected a whole number from 2 to 60, found 1"),
        (
            {"scene": "conveyor", "objects": 41},
            "objects: expected a whole number from 2 to 40, found 41",
        ),
        ({"frame_rate": 0.5}, "frame_rate: expected 1 to 240, found 0.5"),
        ({"frame_rate": math.nan}, "frame_rate: expected 1 to 240, found nan"),
        (
            {"scene": "traffic", "ball": True},
            "ball: expected only with scene football, found traffic",
        ),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        SceneSettings(**settings)  # type: ignore[arg-type]
    assert str(error.value) == message


# The truth as labels.


def test_truth_as_labels_and_as_a_document() -> None:
    scene = make_scene(SceneSettings(width=320, height=180, frames=4, frame_rate=12.5))
    truth = TruthCollector(scene, "a clip")
    frames = list(scene.frames())
    for frame in frames:
        truth.add(frame)
    labels = truth.labels()
    assert (labels.name, labels.classes) == ("a clip", ("player",))
    assert (labels.width, labels.height, labels.length, labels.frame_rate) == (320, 180, 4, 12.5)
    assert len(labels) == sum(len(frame) for frame in frames)
    second = labels[labels.frames == 2]
    assert np.array_equal(second.ids, frames[1].ids)
    assert np.array_equal(second.boxes_xywh, frames[1].boxes_xywh)
    assert np.array_equal(second.visibility, frames[1].visibility)
    assert labels.keyframe.all()
    assert labels.ignore.tolist() == (labels.visibility < 0.1).tolist()
    world = json.loads(json.dumps(truth.world()))
    assert world["unit"] == "metre"
    assert world["homographies"]["frames"] == [1, 2, 3, 4]
    assert world["homographies"]["matrices"][1] == frames[1].homography.tolist()
    assert len(world["objects"]) == len(np.unique(labels.ids))
    found = world["objects"][0]
    row = frames[2].ids.tolist().index(found["id"])
    assert found["class"] == "player"
    assert found["xy"][found["frames"].index(3)] == frames[2].world_xy[row].tolist()
    again = make_scene(SceneSettings(**world["settings"]))
    assert digest(list(again.frames())) == digest(frames)


def test_what_is_hardly_seen_is_to_be_ignored() -> None:
    scene = make_scene(SceneSettings(width=320, height=180, frames=1))
    (frame,) = scene.frames()
    seen = np.linspace(0, 1, len(frame))
    seen[1:3] = 0.0999, 0.1
    truth = TruthCollector(scene, "clip")
    truth.add(dataclasses.replace(frame, visibility=seen))
    assert truth.labels().ignore.tolist()[:4] == [True, True, False, seen[3] < 0.1]


def test_a_clip_of_which_nothing_was_taken() -> None:
    truth = TruthCollector(make_scene(SceneSettings()), "none")
    assert len(truth.labels()) == 0
    assert truth.world()["objects"] == []


# The standard set.


def test_the_standard_set_is_fixed() -> None:
    clips = standard_football()
    assert [(split, name) for split, name, _ in clips] == [
        *(("train", f"football-train-{k}") for k in range(1, 7)),
        *(("val", f"football-val-{k}") for k in (1, 2)),
        *(("test", f"football-test-{k}") for k in (1, 2)),
    ]
    listed = [(s.seed, s.difficulty, s.objects, s.occluders) for _, _, s in clips]
    assert listed == [
        (7, "normal", 16, False),
        (4, "normal", 16, False),
        (16, "normal", 16, True),
        (12, "normal", 16, False),
        (4, "hard", 23, False),
        (1, "hard", 23, True),
        (2, "normal", 16, False),
        (5, "hard", 23, True),
        (17, "normal", 16, True),
        (3, "hard", 23, False),
    ]
    for _, _, settings in clips:
        assert (settings.scene, settings.width, settings.height) == ("football", 640, 360)
        assert (settings.frames, settings.frame_rate, settings.ball) == (100, 25.0, False)
        assert (settings.shadows, settings.motion_blur, settings.low_light) == (True, True, False)
        assert settings.camera_shake == settings.camera_pan == (settings.difficulty == "hard")
        assert settings == settings.resolved()


def hidden_share(settings: SceneSettings) -> tuple[float, float]:
    """Share of boxes of which less than half is seen, and the median height."""
    frames = make_scene(settings).frames()
    taken = [(frame.visibility, frame.boxes_xywh[:, 3]) for frame in frames]
    visibility, heights = (np.concatenate(column) for column in zip(*taken, strict=True))
    return float((visibility < 0.5).mean()), float(np.median(heights))


def test_players_hide_each_other() -> None:
    for _, name, settings in standard_football()[3::3]:
        share, height = hidden_share(dataclasses.replace(settings, frames=20))
        assert 0.02 < share < 0.30, name
        assert height >= 40, name


@pytest.mark.proof
def test_players_hide_each_other_in_every_clip(prove: Prove) -> None:
    found = [(name, *hidden_share(settings)) for _, name, settings in standard_football()]
    shares, heights = [row[1] for row in found], [row[2] for row in found]
    prove(
        "share of players less than half seen",
        "3 % to 30 %",
        f"{min(shares):.1%} to {max(shares):.1%}",
    )
    prove("median height of players", "at least 40 pixels", f"{min(heights):.0f}")
    assert all(0.03 <= share <= 0.30 for share in shares)
    assert min(heights) >= 40
