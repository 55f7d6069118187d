"""Refinement with all frames known: weak tracks, moving cameras, what was seen before a track."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from commands import Call, caller
from motrail import Detections, SteadyTracker
from motrail.config import Layer, RefineSettings, Settings, TrackerSettings, resolve
from motrail.errors import ConfigError
from motrail.evaluate.tracked import track_detections
from motrail.formats.labels import Labels
from motrail.formats.mot.detections import DetectionFile
from motrail.remote.track import Order, track_by_frames
from motrail.track.fill import CameraPath
from motrail.track.kept import KeptTracks
from motrail.track.lead import Spare, follow_back, spare_detections
from motrail.track.make import make_tracker
from motrail.track.motion import Motion
from motrail.track.refine import refine
from motrail.types import SequenceDetections, SequenceTracks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Row = tuple[int, int, tuple[float, float, float, float], float]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "refine")


def tracks_of(*rows: Row, classes: Sequence[int] | None = None) -> SequenceTracks:
    """Rows of frame, id, left, top, right, bottom and score, ordered by frame."""
    frames, ids, boxes, scores = zip(*rows, strict=True)
    return SequenceTracks(
        frames, ids, boxes, scores, classes or [0] * len(rows), list(range(len(rows)))
    )


def boxes_in(tracks: SequenceTracks, frame: int) -> list[list[float]]:
    found: list[list[float]] = tracks.boxes_xyxy[tracks.frames == frame].tolist()
    return found


class TestWeakTracks:
    @pytest.mark.parametrize(
        ("length", "score", "stays"),
        [(4, 0.59, False), (4, 0.6, True), (5, 0.59, True), (5, 0.1, True)],
    )
    def test_short_and_weak_ones_go(self, length: int, score: float, stays: bool) -> None:
        tracks = tracks_of(*((f, 3, (0, 0, 9, 9), score) for f in range(1, length + 1)))
        refined = refine(tracks, RefineSettings(weak_length=4))
        assert len(refined) == (length if stays else 0)

    def test_the_mean_counts(self) -> None:
        """(0.9 + 0.31) / 2 is above 0.6, (0.9 + 0.29) / 2 is not."""
        for second, stays in ((0.31, 2), (0.29, 0)):
            tracks = tracks_of((1, 3, (0, 0, 9, 9), 0.9), (2, 3, (0, 0, 9, 9), second))
            assert len(refine(tracks, RefineSettings(weak_length=4))) == stays

    def test_another_score(self) -> None:
        tracks = tracks_of((1, 3, (0, 0, 9, 9), 0.4))
        assert len(refine(tracks, RefineSettings(weak_length=4, weak_score=0.4))) == 1
        assert len(refine(tracks, RefineSettings(weak_length=4, weak_score=0.5))) == 0

    def test_with_a_stride_frames_of_the_source_count(self) -> None:
        """Three boxes in frames 1, 4 and 7 stand for nine frames."""
        tracks = tracks_of(*((f, 3, (0, 0, 9, 9), 0.3) for f in (1, 4, 7)))
        assert len(refine(tracks, RefineSettings(weak_length=8), step=3)) == 3
        assert len(refine(tracks, RefineSettings(weak_length=9), step=3)) == 0


class TestGuesses:
    """What a tracker gave out without a detection."""

    rows = SequenceTracks(
        [1, 2, 3, 5, 6],
        [7] * 5,
        [[0, 0, 10, 10], [50, 0, 60, 10], [50, 0, 60, 10], [8, 0, 18, 10], [90, 0, 99, 9]],
        [0.9] * 5,
        [0] * 5,
        [0, -1, -1, 1, -1],
    )

    def test_are_filled_in_from_both_sides(self) -> None:
        refined = refine(self.rows, RefineSettings(max_gap=3))
        assert refined.frames.tolist() == [1, 2, 3, 4, 5]
        assert refined.boxes_xyxy[:, 0].tolist() == [0, 2, 4, 6, 8]

    def test_stay_where_no_gaps_are_filled(self) -> None:
        refined = refine(self.rows, RefineSettings(min_length=2))
        assert refined.frames.tolist() == [1, 2, 3, 5, 6]

    def test_tracks_that_know_of_no_detections_are_no_guesses(self) -> None:
        rows = self.rows
        unknown = SequenceTracks(
            rows.frames, rows.ids, rows.boxes_xyxy, rows.scores, rows.class_ids, [-1] * 5
        )
        assert len(refine(unknown, RefineSettings(max_gap=3))) == 6

    def test_a_steady_tracker_that_coasts_gives_what_one_that_does_not_gives(self) -> None:
        def refined(coast_frames: int) -> SequenceTracks:
            settings = RefineSettings(offline=True)
            tracker = SteadyTracker((600, 400), coast_frames=coast_frames, coast_hits=2)
            kept = KeptTracks(settings, tracker)
            for number in range(1, 30):
                lefts = [40 * i + 3 * number for i in range(6) if (number + i) % 5]
                boxes = np.array([[left, 100, left + 30, 180] for left in lefts], float)
                found = Detections(boxes, np.full(len(boxes), 0.9))
                kept.keep(number, tracker.update(found), found)
            return kept.refine()[1]

        assert refined(0) == refined(3)


def path_of(*motions: tuple[int, Motion]) -> CameraPath:
    path = CameraPath()
    for frame, motion in motions:
        path.note(frame, motion)
    return path


def shift(x: float, y: float) -> Motion:
    return Motion(np.eye(2), np.array([x, y]))


class TestMovingCamera:
    """Gaps are straight lines for a camera that stands still."""

    def test_a_jerk_in_the_middle_of_a_gap(self) -> None:
        """Somebody stands at 100; the picture jumps by 40 between frames 2 and 3, and stays."""
        tracks = tracks_of((1, 5, (100, 0, 110, 20), 0.9), (5, 5, (140, 0, 150, 20), 0.9))
        refined = refine(tracks, RefineSettings(max_gap=3), camera=path_of((3, shift(40, 0))))
        assert refined.boxes_xyxy[:, 0].tolist() == [100, 100, 140, 140, 140]
        straight = refine(tracks, RefineSettings(max_gap=3))
        assert straight.boxes_xyxy[:, 0].tolist() == [100, 110, 120, 130, 140]

    def test_motion_of_ones_own_comes_on_top(self) -> None:
        """They walk by 2 a frame, the picture by 10 down in each: in frame 3 both did twice."""
        tracks = tracks_of((1, 5, (0, 0, 10, 20), 0.9), (4, 5, (6, 30, 16, 50), 0.9))
        path = path_of(*((frame, shift(0, 10)) for frame in (2, 3, 4)))
        refined = refine(tracks, RefineSettings(max_gap=2), camera=path)
        assert boxes_in(refined, 3) == [[4, 20, 14, 40]]

    def test_a_zoom_about_the_corner(self) -> None:
        """Twice as large in frame 2, as large in 3: what stands still is twice as far away in 2."""
        tracks = tracks_of((1, 5, (10, 20, 14, 28), 0.9), (3, 5, (10, 20, 14, 28), 0.9))
        twice, half = (Motion(np.eye(2) * scale, np.zeros(2)) for scale in (2.0, 0.5))
        refined = refine(tracks, RefineSettings(max_gap=1), camera=path_of((2, twice), (3, half)))
        assert boxes_in(refined, 2) == [[20, 40, 28, 56]]

    def test_a_turn(self) -> None:
        """A quarter of a turn into frame 2, and back into frame 3: (12, 24) lies at (-24, 12)."""
        tracks = tracks_of((1, 5, (10, 20, 14, 28), 0.9), (3, 5, (10, 20, 14, 28), 0.9))
        there = Motion(np.array([[0.0, -1.0], [1.0, 0.0]]), np.zeros(2))
        back = Motion(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros(2))
        refined = refine(tracks, RefineSettings(max_gap=1), camera=path_of((2, there), (3, back)))
        assert boxes_in(refined, 2) == [[-26, 8, -22, 16]]

    def test_with_a_stride(self) -> None:
        """Frames 1, 4, 7 and 10 were looked at; the motion into 7 is that since 4."""
        tracks = tracks_of((1, 5, (0, 0, 10, 10), 0.9), (10, 5, (30, 0, 40, 10), 0.9))
        refined = refine(
            tracks, RefineSettings(max_gap=8), step=3, camera=path_of((7, shift(30, 0)))
        )
        assert refined.frames.tolist() == [1, 4, 7, 10]
        assert refined.boxes_xyxy[:, 0].tolist() == [0, 0, 30, 30]

    @pytest.mark.parametrize(
        "motion",
        [
            Motion(np.zeros((2, 2)), np.zeros(2)),
            Motion(np.eye(2), np.array([np.nan, 0.0])),
            Motion(np.full((2, 2), np.inf), np.zeros(2)),
        ],
    )
    def test_a_map_that_cannot_be_turned_round_counts_as_unknown(self, motion: Motion) -> None:
        tracks = tracks_of((1, 5, (0, 0, 10, 10), 0.9), (3, 5, (4, 0, 14, 10), 0.9))
        refined = refine(tracks, RefineSettings(max_gap=1), camera=path_of((2, motion)))
        assert boxes_in(refined, 2) == [[2, 0, 12, 10]]

    def test_maps_that_lead_beyond_all_numbers_are_left_out(self) -> None:
        tracks = tracks_of((1, 5, (0, 0, 10, 10), 0.9), (4, 5, (6, 0, 16, 10), 0.9))
        huge = Motion(np.eye(2) * 1e150, np.full(2, 1e300))
        path = path_of((2, huge), (3, huge), (4, huge))
        refined = refine(tracks, RefineSettings(max_gap=2), camera=path)
        assert refined.boxes_xyxy[:, 0].tolist() == [0, 2, 4, 6]

    def test_many_gaps_are_each_filled_as_if_alone(self) -> None:
        rng = np.random.default_rng(5)
        path = path_of(
            *(
                (f, Motion(np.eye(2) * rng.uniform(0.97, 1.03), rng.normal(0, 5, 2)))
                for f in range(2, 60)
            )
        )
        rows: list[Row] = []
        for identity in range(1, 20):
            frames = np.sort(rng.choice(np.arange(1, 60), 8, replace=False))
            for frame in frames.tolist():
                left, top = rng.uniform(0, 500, 2).tolist()
                rows.append((frame, identity, (left, top, left + 30, top + 60), 0.9))
        rows.sort(key=lambda row: row[:2])
        settings = RefineSettings(max_gap=9)
        together = refine(tracks_of(*rows), settings, camera=path)
        for identity in range(1, 20):
            alone = refine(
                tracks_of(*(row for row in rows if row[1] == identity)), settings, camera=path
            )
            mine = together.boxes_xyxy[together.ids == identity]
            assert np.array_equal(mine, alone.boxes_xyxy)


class TestFollowingBack:
    """What was detected before a track began, and nobody has."""

    def walk(self, scores: Sequence[float]) -> tuple[SequenceTracks, SequenceDetections]:
        """Somebody walks by 5 a frame in frames 1 to 8; the last four are a track."""
        boxes = np.array([[5 * f, 0, 5 * f + 30, 80] for f in range(1, 9)], float)
        found = SequenceDetections(np.arange(1, 9), boxes, np.array([*scores, 0.9, 0.9, 0.9, 0.9]))
        rows = np.arange(4, 8)
        tracks = SequenceTracks(
            rows + 1, [6] * 4, boxes[rows], np.full(4, 0.9), np.zeros(4, int), rows
        )
        return tracks, found

    def refined(
        self, scores: Sequence[float], camera: CameraPath | None = None, **changes: Any
    ) -> SequenceTracks:
        tracks, found = self.walk(scores)
        settings = RefineSettings(**({"max_lead": 30} | changes))
        spare = spare_detections(found, tracks, settings.lead_score)
        return refine(tracks, settings, spare=spare, camera=camera)

    def test_is_added_as_it_was_detected(self) -> None:
        refined = self.refined([0.35, 0.4, 0.5, 0.6])
        assert refined.frames.tolist() == list(range(1, 9))
        assert refined.ids.tolist() == [6] * 8
        assert refined.detection_index.tolist() == list(range(8))
        assert refined.scores[:4].tolist() == pytest.approx([0.35, 0.4, 0.5, 0.6])
        assert refined.boxes_xyxy[:, 0].tolist() == list(range(5, 45, 5))

    def test_not_further_than_asked(self) -> None:
        assert self.refined([0.4] * 4, max_lead=2).frames.tolist() == list(range(3, 9))

    def test_ends_at_the_first_frame_without(self) -> None:
        """In frame 2 there is nothing from 0.3 on."""
        assert self.refined([0.4, 0.29, 0.3, 0.4]).frames.tolist() == list(range(3, 9))
        assert self.refined([0.4, 0.29, 0.3, 0.4], lead_score=0.2).frames[0] == 1

    def test_what_another_track_has_is_not_taken(self) -> None:
        tracks, found = self.walk([0.9] * 4)
        other = SequenceTracks([4], [2], found.boxes_xyxy[3:4], [0.9], [0], [3])
        both = SequenceTracks(
            *(
                np.concatenate((getattr(other, name), getattr(tracks, name)))
                for name in (
                    "frames",
                    "ids",
                    "boxes_xyxy",
                    "scores",
                    "class_ids",
                    "detection_index",
                )
            )
        )
        refined = refine(both, RefineSettings(max_lead=9), spare=spare_detections(found, both, 0.3))
        assert refined == both

    def test_one_of_another_class_is_not_taken(self) -> None:
        tracks, found = self.walk([0.9] * 4)
        other = SequenceDetections(found.frames, found.boxes_xyxy, found.scores, [1] * 4 + [0] * 4)
        spare = spare_detections(other, tracks, 0.3)
        assert len(refine(tracks, RefineSettings(max_lead=9), spare=spare)) == 4

    def test_two_tracks_do_not_share_a_detection(self) -> None:
        tracks, found = self.walk([0.9] * 4)
        twice = SequenceTracks(
            np.repeat(tracks.frames, 2),
            np.tile([6, 9], 4),
            np.repeat(tracks.boxes_xyxy, 2, axis=0) + np.tile([[0], [2]], (4, 1)),
            np.full(8, 0.9),
            np.zeros(8, int),
            [4, -1, 5, -1, 6, -1, 7, -1],
        )
        refined = follow_back(twice, spare_detections(found, twice, 0.3), 9, step=1, camera=None)
        assert len(refined) == 12
        assert np.unique(refined.ids[refined.frames < 5]).tolist() == [6]

    def test_with_the_camera(self) -> None:
        """The picture jumped by 100 into frame 5; before, all was 100 further left."""
        tracks, found = self.walk([0.9] * 4)
        moved = found.boxes_xyxy.copy()
        moved[:4, [0, 2]] -= 100
        found = SequenceDetections(found.frames, moved, found.scores, found.class_ids)
        spare = spare_detections(found, tracks, 0.3)
        settings = RefineSettings(max_lead=9)
        assert len(refine(tracks, settings, spare=spare)) == 4
        camera = path_of((5, shift(100, 0)))
        assert len(refine(tracks, settings, spare=spare, camera=camera)) == 8

    def test_a_moving_camera_is_no_velocity(self) -> None:
        """Somebody stands while the picture moves by 5, and stood before it did."""
        tracks, found = self.walk([0.9] * 4)
        still = found.boxes_xyxy.copy()
        still[:4] = still[4]
        found = SequenceDetections(found.frames, still, found.scores, found.class_ids)
        camera = path_of(*((f, shift(5, 0)) for f in (6, 7, 8)))
        refined = refine(
            tracks,
            RefineSettings(max_lead=9),
            spare=spare_detections(found, tracks, 0.3),
            camera=camera,
        )
        assert len(refined) == 8

    def test_with_a_stride(self) -> None:
        """Frames 1, 4 … 22 were looked at; six before 13 are 10 and 7."""
        tracks, found = self.walk([0.9] * 4)
        found = SequenceDetections(
            3 * found.frames - 2, found.boxes_xyxy, found.scores, found.class_ids
        )
        tracks = SequenceTracks(
            3 * tracks.frames - 2, tracks.ids, tracks.boxes_xyxy, tracks.scores,
            tracks.class_ids, tracks.detection_index,
        )  # fmt: skip
        spare = spare_detections(found, tracks, 0.3)
        refined = refine(tracks, RefineSettings(max_lead=6), step=3, spare=spare)
        assert refined.frames.tolist() == [7, 10, 13, 16, 19, 22]

    def test_nothing_to_do(self) -> None:
        tracks, found = self.walk([0.9] * 4)
        none = np.empty(0, np.int64)
        empty = Spare(found[none], none)
        settings = RefineSettings(max_lead=9)
        assert refine(tracks, settings, spare=empty) == tracks
        assert refine(tracks, settings) == tracks
        assert len(refine(tracks[none], settings, spare=spare_detections(found, tracks, 0.3))) == 0
        single = tracks[np.array([0])]  # one box says nothing of a velocity
        assert refine(single, settings, spare=spare_detections(found, single, 0.3)) == single


class TestSettings:
    def test_offline_fills_in_what_is_left_out(self) -> None:
        chosen = RefineSettings(offline=True)
        assert (chosen.max_gap, chosen.smoothing, chosen.weak_length, chosen.max_lead) == (
            30,
            3.0,
            60,
            30,
        )
        assert (chosen.min_length, chosen.active) == (0, True)
        assert RefineSettings(offline=True, smoothing=0.0).smoothing == 0
        assert not RefineSettings().active

    def test_seconds_win_over_frames(self) -> None:
        settings = RefineSettings(
            offline=True,
            max_gap_seconds=0.1,
            smoothing_seconds=0.05,
            weak_length_seconds=2,
            max_lead_seconds=0.5,
            min_length_seconds=0.31,
        )
        frames = settings.in_frames(30, step=2)
        assert (frames.max_gap, frames.smoothing, frames.weak_length) == (3, 1.5, 60)
        assert (frames.max_lead, frames.min_length) == (15, 5)  # 9.3 frames, of which 5 are seen
        assert frames.in_frames(None) == frames

    @pytest.mark.parametrize("name", ["max_gap", "smoothing", "min_length", "weak_length"])
    def test_seconds_need_a_frame_rate(self, name: str) -> None:
        one: dict[str, Any] = {f"{name}_seconds": 1.0}
        settings = RefineSettings(**one)
        assert settings.active
        message = f"{name}_seconds: needs the frames a second of the source"
        with pytest.raises(ConfigError, match=message):
            refine(tracks_of((1, 1, (0, 0, 9, 9), 0.9)), settings)
        assert not RefineSettings(**one | dict.fromkeys(one, 0.0)).active

    def test_seconds_of_a_lower_layer_do_not_win(self) -> None:
        low = Layer("file", {"refine": {"max_gap_seconds": 2.0}, "tracker": {"coast_seconds": 1.0}})
        high = Layer("flag", {"refine": {"max_gap": 7}, "tracker": {"coast_frames": 1}})
        settings = resolve([high, low]).settings
        assert (settings.refine.max_gap, settings.refine.max_gap_seconds) == (7, None)
        assert (settings.tracker.coast_frames, settings.tracker.coast_seconds) == (1, None)
        assert resolve([low]).settings.refine.max_gap_seconds == 2.0

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"weak_length": -1}, "weak_length: expected 0 or more, found -1"),
            ({"weak_score": -0.1}, "weak_score: expected 0 or more, found -0.1"),
            ({"max_gap_seconds": -1}, "max_gap_seconds: expected from 0 to 10000, found -1"),
            ({"smoothing_seconds": 101}, "smoothing_seconds: expected from 0 to 100, found 101"),
            ({"max_lead": -1}, "max_lead: expected 0 or more, found -1"),
            ({"lead_score": -1}, "lead_score: expected 0 or more, found -1"),
        ],
    )
    def test_out_of_range(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            RefineSettings(**values)


def crowd() -> tuple[Labels, DetectionFile, list[Detections]]:
    """A dozen people on a shaking picture, missed and weak now and then."""
    rng = np.random.default_rng(2)
    place, speed = rng.uniform(100, 500, (12, 2)), rng.normal(0, 2, (12, 2))
    frames = []
    for _ in range(40):
        place += speed + rng.normal(0, 6, 2)
        seen = rng.random(12) > 0.2
        boxes = np.concatenate((place, place + np.array([30, 70])), axis=1)[seen]
        frames.append(Detections(boxes, rng.choice([0.4, 0.75, 0.9], seen.sum())))
    numbers = np.repeat(np.arange(1, 41), [len(f) for f in frames])
    found = SequenceDetections(
        numbers,
        np.concatenate([f.boxes_xyxy for f in frames]),
        np.concatenate([f.scores for f in frames]),
    )
    none = np.empty(0, np.int64)
    truth = Labels.of(
        "crowd", ("person",), none, none, np.empty((0, 4)), none, length=40, frame_rate=25.0,
        width=700, height=700,
    )  # fmt: skip
    return truth, DetectionFile("crowd", ("person",), found), frames


@pytest.mark.parametrize("tracker", ["byte", "steady"])
def test_kept_frame_by_frame_or_all_at_once_is_the_same(tracker: str) -> None:
    truth, file, frames = crowd()
    settings = TrackerSettings(tracker=tracker)  # type: ignore[arg-type]
    offline = RefineSettings(offline=True, weak_length=0)
    live = make_tracker(settings, 25, (700, 700))
    kept = KeptTracks(offline, live)
    for number, found in enumerate(frames, start=1):
        kept.keep(number, live.update(found), found)
    once = track_detections(truth, file, settings, offline)
    assert kept.refine()[1] == once
    assert (len(kept.camera) > 20) is (tracker == "steady")
    assert (once.detection_index < 0).any()
    assert len(once) > len(track_detections(truth, file, settings)) + 20


class TestCommand:
    ROWS = "1,7,100,0,10,20,0.9,1,-1\n5,7,140,0,10,20,0.9,1,-1\n"

    def test_offline(self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.txt").write_text(self.ROWS)
        document = json.loads(call("a.txt", "--offline", "-o", "out", "--json").out)
        assert document["settings"]["max_gap"] == 30
        assert document["sequences"][0]["filled_boxes"] == 3

    def test_seconds(self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.txt").write_text(self.ROWS)
        words = ["a.txt", "--max-gap-seconds", "0.3", "-o", "out"]
        refused = call(*words)
        assert refused.code != 0
        assert "max_gap_seconds: needs the frames a second of the source" in refused.err
        assert call(*words, "--frame-rate", "10").code == 0
        assert len((tmp_path / "out" / "a.txt").read_text().splitlines()) == 5

    def test_a_camera_file(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.txt").write_text(self.ROWS)
        still = "{} 1 0 0 0 1 0\n"
        jump = "2 1 0 40 0 1 0\n"
        lines = [jump if f == 2 else still.format(f) for f in range(5)]
        (tmp_path / "camera").mkdir()
        (tmp_path / "camera" / "a.txt").write_text("".join(lines))
        words = ["a.txt", "--max-gap", "3", "-o", "out", "--camera-file", "camera"]
        assert call(*words).code == 0
        rows = (tmp_path / "out" / "a.txt").read_text().splitlines()
        assert [float(row.split(",")[2]) for row in rows] == [100, 100, 140, 140, 140]
        (tmp_path / "camera" / "a.txt").write_text("".join(lines[:3]))
        refused = call(*words)
        assert refused.code != 0
        assert "camera/a.txt: expected a line for frame 3" in refused.err


def test_a_session_refuses_it() -> None:
    """The server answers frame by frame there."""
    client: Any = SimpleNamespace(
        model=lambda: SimpleNamespace(device="cpu", classes=("person",)), url="http://here"
    )
    order = Order(Settings(refine=RefineSettings(offline=True)), {})
    source: Any = None
    with pytest.raises(ConfigError, match="offline: in a session .* use --job, or --track client"):
        track_by_frames(source, client, order)
