"""The steady tracker: what it does beyond BYTE, its edges, and what it is worth."""

from __future__ import annotations

import configparser
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from motrail import ByteTracker, Detections, SteadyTracker
from motrail.config import Layer, TrackerSettings, resolve
from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.errors import ConfigError
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Evaluation, read_truth, score
from motrail.evaluate.tracked import as_labels
from motrail.formats.mot.detections import read_detections
from motrail.replay import replay
from motrail.track.camera import motion_of_boxes
from motrail.track.make import make_tracker
from motrail.track.motion import Motion
from motrail.types import SequenceDetections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Prove
    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile
    from motrail.types import Tracks

NOTHING = Detections.empty()


def at(
    *lefts: float, score: float = 0.9, top: float = 100, width: float = 40, height: float = 100
) -> Detections:
    """Upright boxes side by side."""
    boxes = [[left, top, left + width, top + height] for left in lefts]
    return Detections(np.array(boxes).reshape(-1, 4), np.full(len(lefts), score))


def ids(tracks: Tracks) -> list[int]:
    return [int(i) for i in tracks.ids]


def still(**settings: Any) -> SteadyTracker:
    """One that looks for no motion of the camera and gives out nothing that is not seen."""
    chosen: dict[str, Any] = {"camera_motion": "off", "coast_frames": 0} | settings
    return SteadyTracker(**chosen)


class TestLife:
    def test_the_first_frame_counts_at_once_and_later_ones_from_the_second_match(self) -> None:
        tracker = still()
        assert ids(tracker.update(at(0))) == [1]
        assert ids(tracker.update(at(0, 200))) == [1]
        assert ids(tracker.update(at(0, 200))) == [1, 2]

    def test_a_box_is_between_the_detection_and_the_filter(self) -> None:
        tracker = still(measurement_noise=100)  # the filter hardly believes what is measured
        tracker.update(at(100))
        box = tracker.update(at(110)).boxes_xyxy[0]
        assert box.tolist() == pytest.approx([105, 100, 145, 200], abs=0.1)

    def test_the_input_stays_as_it_is(self) -> None:
        detections = at(0, 200)
        before = detections.boxes_xyxy.copy()
        SteadyTracker((640, 480)).update(detections)
        assert np.array_equal(detections.boxes_xyxy, before)

    def test_a_weak_detection_revives_what_was_lost_a_moment_ago(self) -> None:
        tracker = still(revive_frames=3)
        for _ in range(5):
            tracker.update(at(0))
        for _ in range(2):
            tracker.update(NOTHING)
        assert ids(tracker.update(at(0, score=0.3))) == [1]
        for _ in range(3):
            tracker.update(NOTHING)
        assert ids(tracker.update(at(0, score=0.3))) == []

    def test_lost_frames(self) -> None:
        for missed, found in ((4, [1]), (5, [])):
            tracker = still(lost_frames=4)
            for _ in range(3):
                tracker.update(at(0))
            for _ in range(missed):
                tracker.update(NOTHING)
            assert ids(tracker.update(at(0))) == found

    def test_a_step_ages_like_frames(self) -> None:
        tracker = still(lost_seconds=0.2, frame_rate=20)
        tracker.update(at(0))
        assert ids(tracker.update(at(0), step=5)) == [1]
        tracker = still(lost_seconds=0.2, frame_rate=20)
        for _ in range(2):
            tracker.update(at(0))
        tracker.update(NOTHING, step=2)
        assert ids(tracker.update(at(0), step=4)) == []

    def test_who_leaves_the_picture_is_forgotten(self) -> None:
        def walk(image_size: tuple[int, int] | None) -> list[int]:
            tracker = still(image_size=image_size)
            for left in range(560, 641, 10):
                tracker.update(at(left))
            for _ in range(3):
                tracker.update(NOTHING)
            tracker.update(at(675))
            return ids(tracker.update(at(685)))

        assert walk(None) == [1]
        assert walk((640, 480)) == [2]

    def test_height_keeps_apart(self) -> None:
        """A box of another height on the same spot: half of the height is 1/4 of the similarity."""
        low = at(0, height=60)
        for weight, same in ((0.0, True), (2.0, False)):
            tracker = still(height_weight=weight, match_threshold=0.7)
            tracker.update(at(0))
            assert (ids(tracker.update(low)) == [1]) is same

    def test_a_surprising_score_costs(self) -> None:
        """Two boxes compete for a track of score 0.95: the one in its place has 0.62."""
        both = Detections(np.array([[0, 100, 40, 200], [2, 100, 42, 200]]), np.array([0.62, 0.93]))
        tracker = still(surprise_weight=5.0)
        for _ in range(3):
            tracker.update(at(1, score=0.95))
        assert tracker.update(both).detection_index.tolist() == [1]


class TestCoasting:
    def test_missed_for_two_frames_it_is_given_out_where_it_is_expected(self) -> None:
        tracker = SteadyTracker(camera_motion="off", coast_hits=5)
        for frame in range(30):
            tracker.update(at(10 * frame, score=0.8))
        first, second, third = (tracker.update(NOTHING) for _ in range(3))
        assert (ids(first), ids(second), ids(third)) == ([1], [1], [])
        assert second.detection_index.tolist() == [-1]
        assert second.scores.tolist() == [np.float32(0.8)]
        assert first.boxes_xyxy[0, 0] == pytest.approx(300, abs=1)
        assert second.boxes_xyxy[0, 0] == pytest.approx(310, abs=1)

    def test_only_what_was_seen_often(self) -> None:
        tracker = SteadyTracker(camera_motion="off", coast_hits=5)
        for _ in range(4):
            tracker.update(at(0))
        assert ids(tracker.update(NOTHING)) == []

    def test_seconds_and_filters(self) -> None:
        tracker = SteadyTracker(
            camera_motion="off", coast_seconds=0.1, frame_rate=10, coast_hits=2, max_aspect_ratio=2
        )
        wide = at(200, width=300)
        both = Detections(np.concatenate((at(0).boxes_xyxy, wide.boxes_xyxy)), np.array([0.9, 0.9]))
        for _ in range(3):
            assert ids(tracker.update(both)) == [1]
        assert [ids(tracker.update(NOTHING)) for _ in range(2)] == [[1], []]


class TestCamera:
    """Where boxes all move, that is the camera."""

    def boxes(self, count: int = 12, seed: int = 3) -> np.ndarray[Any, np.dtype[np.float64]]:
        rng = np.random.default_rng(seed)
        corner = rng.uniform(0, 1000, (2, count))
        size = np.stack((rng.uniform(30, 50, count), rng.uniform(80, 120, count)))
        return np.concatenate((corner, corner + size))

    def found(self, before: Any, after: Any) -> Motion | None:
        none = np.zeros(before.shape[1], np.int64), np.zeros(after.shape[1], np.int64)
        return motion_of_boxes(before, none[0], after, none[1], classes_apart=True)

    def test_a_shift(self) -> None:
        before = self.boxes()
        motion = self.found(before, before + np.array([[12.0], [-7.0], [12.0], [-7.0]]))
        assert motion is not None
        # Of n pairs that agree, n / (n + 3) of the motion is believed.
        assert motion.shift.tolist() == pytest.approx([12 * 12 / 15, -7 * 12 / 15])
        assert np.allclose(motion.linear, np.eye(2))

    def test_a_zoom_about_a_point(self) -> None:
        before = self.boxes(40)
        point = np.array([[300.0], [500.0]] * 2)
        motion = self.found(before, point + (before - point) * 1.02)
        assert motion is not None
        believed = 1 + 0.02 * 40 / 43
        assert motion.linear[0, 0] == pytest.approx(believed, abs=1e-4)
        there = motion.linear @ [300, 500] + motion.shift
        assert there.tolist() == pytest.approx([300, 500], abs=0.3)

    def test_some_walk_on_their_own(self) -> None:
        before = self.boxes(20)
        after = before + np.array([[10.0], [0.0]] * 2)
        after[:, :6] += np.array([[18.0], [5.0]] * 2)
        motion = self.found(before, after)
        assert motion is not None
        assert motion.shift.tolist() == pytest.approx([10 * 14 / 17, 0], abs=0.01)

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_too_few_say_nothing(self, count: int) -> None:
        before = self.boxes(count)
        assert self.found(before, before) is None
        assert self.found(self.boxes(9), self.boxes(9, seed=4) + 5000) is None

    def test_states_move_along(self) -> None:
        state = np.zeros((5, 4, 1))
        state[0, :, 0], state[1, :, 0], state[2:] = [10, 20, 4, 8], [1, 0, 0.5, 1], 7
        quarter = np.array([[0.0, -2.0], [2.0, 0.0]])  # a quarter of a turn, twice as large
        Motion(quarter, np.array([100.0, 0.0])).move(state)
        assert state[0, :, 0].tolist() == [60, 20, 8, 16]
        assert state[1, :, 0].tolist() == [0, 2, 1, 2]
        assert (state[2:] == 7).all()

    def test_a_jerk_of_the_camera_costs_no_identity(self) -> None:
        def switches(**settings: Any) -> int:
            tracker = SteadyTracker(coast_frames=0, **settings)
            known: list[list[int]] = []
            for frame in range(30):
                shift = 30 if frame % 10 >= 5 else 0
                tracks = tracker.update(at(*(200 * np.arange(9.0) + shift)))
                known.append(ids(tracks))
            return len({i for frame in known for i in frame}) - 9

        assert switches() == 0
        assert switches(camera_motion="off") > 0

    def test_given(self) -> None:
        tracker = still(camera_motion="given")
        tracker.update(at(0))
        moved = Motion(np.eye(2), np.array([300.0, 0.0]))
        assert ids(tracker.update(at(300), motion=moved)) == [1]
        with pytest.raises(ConfigError, match="motion: expected camera_motion='given'"):
            still().update(at(0), motion=moved)


def scene(seed: int = 1, frames: int = 60, objects: int = 12) -> Iterator[Detections]:
    """A crowd on 1000 × 600 with missed and weak detections; coordinates are whole numbers."""
    rng = np.random.default_rng(seed)
    place = rng.uniform([50, 50], [950, 550], (objects, 2))
    speed = rng.normal(0, 3, (objects, 2))
    size = np.stack((rng.uniform(30, 50, objects), rng.uniform(70, 110, objects)), axis=1)
    for _ in range(frames):
        place += speed
        corner = np.round(place - size / 2 + rng.normal(0, 1, place.shape))
        boxes = np.concatenate((corner, corner + np.round(size)), axis=1)
        scores = rng.choice([0.3, 0.72, 0.81, 0.94], objects, p=[0.15, 0.2, 0.3, 0.35])
        seen = rng.random(objects) > 0.08
        yield Detections(boxes[seen], scores[seen] + rng.uniform(0, 0.01, seen.sum()))


def tracked(tracker: SteadyTracker, given: Iterator[Detections]) -> list[Tracks]:
    return [tracker.update(detections) for detections in given]


class TestProperties:
    def test_the_order_of_detections_changes_nothing_but_the_order(self) -> None:
        rng = np.random.default_rng(0)
        plain = tracked(SteadyTracker((1000, 600)), scene())
        orders = [rng.permutation(len(d)) for d in scene()]
        mixed = tracked(
            SteadyTracker((1000, 600)),
            (d[order] for d, order in zip(scene(), orders, strict=True)),
        )
        names: dict[int, int] = {}
        for one, other, order in zip(plain, mixed, orders, strict=True):
            assert len(one) == len(other)
            # Identities may be counted in another order; whose is whose is said by the detection.
            back = [int(order[i]) if i >= 0 else -1 for i in other.detection_index]
            seen = dict(zip(back, ids(other), strict=True))
            for index, name, box in zip(
                one.detection_index.tolist(), ids(one), one.boxes_xyxy, strict=True
            ):
                if index >= 0:
                    assert names.setdefault(name, seen[index]) == seen[index]
                    place = ids(other).index(seen[index])
                    assert np.allclose(other.boxes_xyxy[place], box, atol=1e-3)
        assert len(names) > 12

    def test_a_picture_twice_as_large_has_tracks_twice_as_large(self) -> None:
        plain = tracked(SteadyTracker((1000, 600)), scene())
        large = tracked(
            SteadyTracker((2000, 1200)), (Detections(2 * d.boxes_xyxy, d.scores) for d in scene())
        )
        assert [ids(tracks) for tracks in plain] == [ids(tracks) for tracks in large]
        for one, other in zip(plain, large, strict=True):
            assert np.allclose(2 * one.boxes_xyxy, other.boxes_xyxy, atol=0.05)

    def test_a_mirrored_picture_has_mirrored_tracks(self) -> None:
        def mirrored(boxes: Any) -> Any:
            return np.stack((1000 - boxes[:, 2], boxes[:, 1], 1000 - boxes[:, 0], boxes[:, 3]), 1)

        plain = tracked(SteadyTracker((1000, 600)), scene())
        mirror = tracked(
            SteadyTracker((1000, 600)),
            (Detections(mirrored(d.boxes_xyxy), d.scores) for d in scene()),
        )
        assert [ids(tracks) for tracks in plain] == [ids(tracks) for tracks in mirror]
        for one, other in zip(plain, mirror, strict=True):
            assert np.allclose(mirrored(one.boxes_xyxy), other.boxes_xyxy, atol=0.01)

    def test_two_share_nothing_and_reset_forgets(self) -> None:
        tracker, other = SteadyTracker((1000, 600)), SteadyTracker((1000, 600))
        first = tracked(tracker, scene())
        tracked(other, scene(seed=2))
        tracker.reset()
        again = tracked(tracker, scene())
        assert [t.boxes_xyxy.tobytes() for t in first] == [t.boxes_xyxy.tobytes() for t in again]

    def test_classes(self) -> None:
        def with_class(left: float, number: int) -> Detections:
            return Detections(at(left).boxes_xyxy, np.array([0.9]), np.array([number]))

        found = {}
        for mode in ("separate", "vote", "ignore"):
            tracker = still(class_mode=mode)
            for number in (3, 3, 3, 4):
                tracks = tracker.update(with_class(0, number))
            found[mode] = (ids(tracks), tracks.class_ids.tolist())
        assert found == {"separate": ([], []), "vote": ([1], [3]), "ignore": ([1], [4])}


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"revive_match_threshold": 2}, "revive_match_threshold: expected from 0 to 1"),
            ({"camera_motion": "wind"}, "'detections', 'given' or 'off', found 'wind'"),
            ({"revive_frames": -1}, "revive_frames: expected 0 or more, found -1"),
            ({"coast_frames": -1}, "coast_frames: expected 0 or more, found -1"),
            ({"coast_hits": 0}, "coast_hits: expected 1 or more, found 0"),
            ({"height_weight": -1}, "height_weight: expected from 0 to 100, found -1"),
            ({"surprise_weight": -1}, "surprise_weight: expected from 0 to 100, found -1"),
            ({"measurement_noise": 0}, "measurement_noise: expected from 1e-06 to 100, found 0"),
            ({"inside_share": 1.1}, "inside_share: expected from 0 to 1, found 1.1"),
            ({"camera_motion": "gps"}, "'detections', 'given' or 'off', found 'gps'"),
            ({"image_size": (0, 5)}, r"image_size: expected width and height, found \(0, 5\)"),
            ({"coast_seconds": 1}, "coast_seconds: needs frame_rate"),
            ({"revive_seconds": 1}, "revive_seconds: needs frame_rate"),
            ({"low_threshold": 0.9}, "low_threshold: expected at most high_threshold"),
        ],
    )
    def test_what_is_out_of_range(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            SteadyTracker(**settings)

    def test_signature_and_settings_say_the_same(self) -> None:
        signature = inspect.signature(SteadyTracker)
        known = dataclasses.asdict(TrackerSettings(tracker="steady"))
        given = {name: p.default for name, p in signature.parameters.items()}
        # None there is what the settings fill in; the size is no setting.
        assert (given.pop("image_size"), given.pop("match_threshold")) == (None, None)
        assert given == {name: known[name] for name in given}
        byte = set(inspect.signature(ByteTracker).parameters)
        assert set(known) == set(signature.parameters) - {"image_size"} | byte | {
            "tracker",
            "camera_file",
        }

    def test_settings_choose_the_tracker(self) -> None:
        byte = make_tracker(TrackerSettings(), 25)
        assert isinstance(byte, ByteTracker)
        assert (byte.match_threshold, byte.lost_frames) == (0.8, 30)
        steady = make_tracker(TrackerSettings(tracker="steady", lost_seconds=2), 25, (64, 48))
        assert isinstance(steady, SteadyTracker)
        assert (steady.match_threshold, steady.lost_frames) == (0.9, 50)
        assert steady.image_size == (64, 48)
        still = make_tracker(TrackerSettings(tracker="steady", camera_motion="off"), 25)
        assert (still.match_threshold, still.lost_frames) == (0.85, 60)
        with pytest.raises(ConfigError, match="'given' is for Python programs"):
            make_tracker(TrackerSettings(tracker="steady", camera_motion="given"), 25)
        with pytest.raises(ConfigError, match="tracker: expected 'byte' or 'steady', found 'sort'"):
            TrackerSettings(tracker="sort")  # type: ignore[arg-type]

    def test_another_tracker_takes_nothing_over_from_a_lower_layer(self) -> None:
        of_bundle = {"tracker": {"match_threshold": 0.7, "lost_frames": 9, "class_mode": "vote"}}
        asked = {"tracker": {"tracker": "steady"}}
        settings = resolve([Layer("flag", asked), Layer("model.json", of_bundle)]).settings.tracker
        assert (settings.match_threshold, settings.lost_frames) == (0.9, 60)
        assert settings.class_mode == "vote"
        both = {"tracker": of_bundle["tracker"] | asked["tracker"]}
        settings = resolve([Layer("flag", asked), Layer("model.json", both)]).settings.tracker
        assert (settings.match_threshold, settings.lost_frames) == (0.7, 9)

    def test_a_step_of_nothing(self) -> None:
        with pytest.raises(ConfigError, match="step: expected 1 or more frames, found 0"):
            SteadyTracker().update(NOTHING, step=0)

    def test_the_threshold_goes_with_the_camera(self) -> None:
        assert SteadyTracker().match_threshold == 0.9
        assert SteadyTracker(camera_motion="given").match_threshold == 0.85
        assert SteadyTracker(match_threshold=0.5).match_threshold == 0.5


# --- on MOT17 -------------------------------------------------------------------------------------

FILTERS: dict[str, Any] = {"min_box_area": 100, "max_aspect_ratio": 1.6}
PROTOCOL = Protocol("mot17")


class Part(NamedTuple):
    """The second half of a sequence."""

    truth: Labels
    file: DetectionFile
    size: tuple[int, int]
    motions: dict[int, Motion]


class Given:
    """Hands the camera's motion to the tracker."""

    def __init__(self, tracker: SteadyTracker, motions: dict[int, Motion]) -> None:
        self._tracker, self._motions = tracker, motions
        self._frame = 0

    def update(self, detections: Detections, *, step: int = 1) -> Tracks:
        self._frame += step
        return self._tracker.update(detections, step=step, motion=self._motions.get(self._frame))


@pytest.fixture(scope="session")
def val_half(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Part]:
    folder = tmp_path_factory.mktemp("mot17")
    import_labels([data / "mot17" / "gt"], folder / "whole")
    split_dataset(folder / "whole", by="time", val=0.5, gap=0, output=folder / "halves")
    files = {file.name: file for file in read_detections(data / "mot17" / "detections")}
    return {
        labels.name: part(data, labels, files[labels.name])
        for labels in read_truth(folder / "halves" / "val")
    }


def part(data: Path, labels: Labels, file: DetectionFile) -> Part:
    ini = configparser.ConfigParser()
    ini.read(data / "mot17" / "gt" / labels.name / "seqinfo.ini")
    width, height, length = (
        ini.getint("Sequence", key) for key in ("imWidth", "imHeight", "seqLength")
    )
    before = length - labels.length
    kept = file.detections[file.detections.frames > before]
    moved = SequenceDetections(kept.frames - before, kept.boxes_xyxy, kept.scores, kept.class_ids)
    motions = {}
    for row in np.loadtxt(data / "mot17" / "camera" / f"{labels.name}.txt"):
        affine = row[1:].reshape(2, 3)
        motions[int(row[0]) + 1 - before] = Motion(affine[:, :2], affine[:, 2])
    file = dataclasses.replace(file, detections=moved)
    return Part(labels, file, (width, height), motions)


def figures(parts: dict[str, Part], kind: str, **settings: Any) -> dict[str, dict[str, float]]:
    """What each sequence scores, and under `all` what they score together."""
    scores = {}
    for name, (truth, file, size, motions) in parts.items():
        tracker: Any
        if kind == "byte":
            tracker = ByteTracker(match_threshold=0.9, **FILTERS, **settings)
        else:
            tracker = SteadyTracker(size, camera_motion=kind, **FILTERS, **settings)  # type: ignore[arg-type]
            tracker = Given(tracker, motions) if kind == "given" else tracker
        tracks = replay(file.detections, tracker, truth.length)
        scores[name] = score(truth, as_labels(truth, file, tracks), PROTOCOL)
    evaluation = Evaluation(PROTOCOL, scores)
    found = {name: each.as_dict() for name, each in evaluation.sequences.items()}
    return found | {"all": evaluation.combined.as_dict()}


def test_what_it_is_worth(val_half: dict[str, Part], prove: Prove) -> None:
    """The figures are those of the recipe's own prototype, scored by TrackEval."""
    byte, steady = figures(val_half, "byte"), figures(val_half, "detections")
    whole = steady["all"]
    prove(
        "steady tracker, MOT17 val half: HOTA, IDF1, MOTA",
        "70.0, 82.7, 79.1",
        f"{whole['HOTA']:.2f}, {whole['IDF1']:.2f}, {whole['MOTA']:.2f}",
    )
    assert whole["HOTA"] >= 70.0
    assert whole["IDF1"] >= 82.7
    assert whole["MOTA"] >= 79.1
    better = [name for name in val_half if steady[name]["HOTA"] > byte[name]["HOTA"]]
    prove("steady tracker: sequences with more HOTA than BYTE", "6 of 7", f"{len(better)} of 7")
    assert len(better) >= 6


def test_with_the_cameras_motion_given(val_half: dict[str, Part], prove: Prove) -> None:
    whole = figures(val_half, "given")["all"]
    prove(
        "steady tracker with camera files: HOTA, IDF1",
        "70.5, 83.3",
        f"{whole['HOTA']:.2f}, {whole['IDF1']:.2f}",
    )
    assert whole["HOTA"] >= 70.5
    assert whole["IDF1"] >= 83.3
