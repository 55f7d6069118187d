"""How a camera moved: found in pictures, kept in files, and told to the tracker."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from commands import caller
from motrail import Detections, SteadyTracker
from motrail.cli.app import run
from motrail.config import RefineSettings, TrackerSettings
from motrail.dataset.scenes import SceneSettings, make_scene
from motrail.dataset.scenes.truth import TruthCollector
from motrail.errors import ConfigError, DataError, FormatError
from motrail.evaluate.tracked import track_detections
from motrail.formats.labels import Labels
from motrail.formats.mot.detections import DetectionFile
from motrail.moving import FileCamera, FramesCamera, open_camera
from motrail.pipeline import follow
from motrail.track.camera_file import (
    CameraFile,
    camera_file_path,
    read_camera_file,
    write_camera_file,
)
from motrail.track.make import make_tracker
from motrail.types import Frame, SequenceDetections
from motrail.video.flow import Flow, shrink
from motrail.video.write import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

NOTHING = Detections.empty()
FRAMES = TrackerSettings(tracker="steady", camera_motion="frames")


def wall(height: int = 600, width: int = 900) -> NDArray[np.uint8]:
    """A picture full of corners."""
    rng = np.random.default_rng(7)
    cells = rng.integers(0, 256, (height // 20, width // 20, 3)).astype(np.uint8)
    big = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.GaussianBlur(big, (0, 0), 1.5), np.uint8)


def seen(affine: NDArray[np.float64], width: int = 480, height: int = 270) -> NDArray[np.uint8]:
    """What a camera sees of the wall, whose middle is carried along by this map."""
    begin = np.array([[1, 0, -200], [0, 1, -150], [0, 0, 1.0]])
    whole = np.vstack([affine, [0, 0, 1]]) @ begin
    picture = cv2.warpAffine(wall(), whole[:2], (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(picture, np.uint8)


def moved(x: float, y: float, turn: float = 0.0, zoom: float = 1.0) -> NDArray[np.float64]:
    """A map that turns (radians), zooms and then shifts."""
    c, s = zoom * math.cos(turn), zoom * math.sin(turn)
    return np.array([[c, -s, x], [s, c, y]])


def worst(found: NDArray[np.float64] | None, true: NDArray[np.float64], size: int) -> float:
    """By how many pixels corners of a picture of that size come out elsewhere, at most."""
    assert found is not None
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]], np.float64)
    return float(np.hypot(*((found - true) @ corners.T)).max())


class TestFlow:
    @pytest.mark.parametrize(
        "true",
        [
            moved(0, 0),
            moved(7.5, -3.25),
            moved(-12, 9, turn=0.02),
            moved(4, 6, zoom=1.03),
            moved(-3, 2, turn=-0.01, zoom=0.98),
        ],
    )
    def test_shift_turn_and_zoom_are_found(self, true: NDArray[np.float64]) -> None:
        flow = Flow()
        assert flow.affine(shrink(seen(moved(0, 0))), NOTHING) is None
        # OpenCV's pixels have their middle at whole numbers, boxes their edge: half a pixel apart.
        half = np.array([0.5, 0.5])
        edge = np.column_stack([true[:, :2], true[:, 2] + half - true[:, :2] @ half])
        assert worst(flow.affine(shrink(seen(true)), NOTHING), edge, 270) < 0.3

    def test_a_large_picture_is_made_small_and_the_motion_large_again(self) -> None:
        flow = Flow()
        for place in (0.0, 10.0):
            picture = cv2.resize(seen(moved(place, 0)), (1920, 1080))
            small = shrink(np.asarray(picture, np.uint8))
            assert small.grey.shape == (360, 640)
            found = flow.affine(small, NOTHING)
        assert worst(found, moved(40, 0), 1080) < 1

    def test_of_a_picture_that_was_sent_small_the_motion_is_in_pixels_of_the_large_one(
        self,
    ) -> None:
        flow = Flow()
        flow.affine(shrink(seen(moved(0, 0)), (960, 540)), NOTHING)
        assert (
            worst(flow.affine(shrink(seen(moved(6, 2)), (960, 540)), NOTHING), moved(12, 4), 540)
            < 1
        )

    def test_what_is_in_boxes_moves_on_its_own(self) -> None:
        """A second wall in front of most of the picture moves; the rest stands still."""
        front = [60, 20, 450, 250]

        def picture(x: int) -> NDArray[np.uint8]:
            image = seen(moved(0, 0)).copy()
            left, top, right, bottom = front
            image[top:bottom, left + x : right + x] = wall()[300:530, 100:490]
            return image

        def box(x: int) -> Detections:
            return Detections(np.array([front]) + np.array([x, 0, x, 0]), np.array([0.8]))

        with_boxes, without = Flow(), Flow()
        with_boxes.affine(shrink(picture(0)), box(0))
        without.affine(shrink(picture(0)), NOTHING)
        assert worst(with_boxes.affine(shrink(picture(8)), box(8)), moved(0, 0), 270) < 0.2
        assert worst(without.affine(shrink(picture(8)), NOTHING), moved(8, 0), 270) < 0.5

    def test_boxes_all_over_leave_the_picture_as_it_is(self) -> None:
        everywhere = Detections(np.array([[0, 0, 480, 270]]), np.array([0.9]))
        flow = Flow()
        flow.affine(shrink(seen(moved(0, 0))), everywhere)
        assert worst(flow.affine(shrink(seen(moved(5, 0))), everywhere), moved(5, 0), 270) < 0.3

    def test_nothing_is_said_after_a_cut_or_before_a_plain_wall(self) -> None:
        flow = Flow()
        plain = np.full((270, 480, 3), 90, np.uint8)
        other = np.asarray(np.rot90(seen(moved(0, 0)), 2).copy(), np.uint8)
        pictures = [seen(moved(0, 0)), other, plain, plain, seen(moved(0, 0))[:200]]
        assert [flow.affine(shrink(p), NOTHING) for p in pictures] == [None] * 5

    def test_a_picture_of_one_pixel_does_no_harm(self) -> None:
        flow = Flow()
        for _ in range(2):
            assert flow.affine(shrink(np.zeros((1, 1, 3), np.uint8)), NOTHING) is None

    def test_the_same_again_whatever_came_before_and_on_any_number_of_threads(self) -> None:
        def ask() -> NDArray[np.float64]:
            flow = Flow()
            flow.affine(shrink(seen(moved(0, 0))), NOTHING)
            found = flow.affine(shrink(seen(moved(-12, 9, turn=0.02))), NOTHING)
            assert found is not None
            return found

        threads = cv2.getNumThreads()
        try:
            found = []
            for number in (1, 4, 1):
                cv2.setNumThreads(number)
                cv2.setRNGSeed(number)
                found.append(ask())
        finally:
            cv2.setNumThreads(threads)
        assert all(np.array_equal(found[0], other) for other in found)


class TestFile:
    def test_it_says_what_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        write_camera_file(path, {1: moved(0, 0), 2: moved(1.5, -2, turn=0.01)})
        first = path.read_text().splitlines()[0]
        assert first == "0,1.00000000,0.00000000,0.0000,0.00000000,1.00000000,0.0000"
        motion = read_camera_file(path).between(1, 2)
        assert motion.shift.tolist() == [1.5, -2]
        assert motion.linear == pytest.approx(moved(0, 0, turn=0.01)[:, :2], abs=1e-8)

    def test_lines_between_blanks_are_read(self, data: Path) -> None:
        """As BoT-SORT publishes them, with tabs."""
        file = read_camera_file(data / "mot17" / "camera" / "MOT17-02.txt")
        assert (len(file), file.last) == (600, 600)
        motion = file.between(1, 2)
        assert motion.shift.tolist() == [0.290710, -0.005707]
        assert motion.linear.tolist() == [[0.999982, -0.000013], [0.000013, 0.999982]]

    def test_frames_in_between_are_taken_together(self) -> None:
        """Twice as large and 1 on, then 10 on: x → 2x + 1 → 2x + 11."""
        file = CameraFile({1: moved(0, 0), 2: moved(1, 0, zoom=2), 3: moved(10, 0)}, "here")
        motion = file.between(1, 3)
        assert (motion.linear.tolist(), motion.shift.tolist()) == ([[2, 0], [0, 2]], [11, 0])

    def test_frames_without_pictures_count_as_still(self) -> None:
        file = CameraFile({1: moved(0, 0), 5: moved(3, 4)}, "here")
        assert file.between(1, 5).shift.tolist() == [3, 4]

    def test_a_frame_beyond_the_end(self) -> None:
        message = "^here: expected a line for frame 2 .*frames 0 to 1; is it of this video"
        with pytest.raises(DataError, match=message):
            CameraFile({1: moved(0, 0), 2: moved(0, 0)}, "here").between(2, 3)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "found no line"),
            ("1 2 3\n", r"a\.txt:1: expected seven numbers a line.*found '1 2 3'"),
            ("0 1 0 x 0 1 0\n", r"a\.txt:1: expected seven numbers"),
            ("0 1 0 nan 0 1 0\n", r"a\.txt:1: expected seven numbers"),
            ("0 1 0 0 0 1 0\n0 1 0 0 0 1 0\n", r"a\.txt:2: .*found frame 0 again"),
            ("0.5 1 0 0 0 1 0\n", r"expected a frame counted from 0, found '0\.5'"),
            ("-1 1 0 0 0 1 0\n", "expected a frame counted from 0, found '-1'"),
            ("0 1 0 0 0 -1 0\n", "turns nothing inside out"),
            ("0 0 0 0 0 0 0\n", "turns nothing inside out"),
        ],
    )
    def test_something_else(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(FormatError, match=message):
            read_camera_file(tmp_path / "a.txt")

    def test_no_file_and_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="none.txt: cannot be read: No such file"):
            read_camera_file(tmp_path / "none.txt")
        (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfd")
        with pytest.raises(FormatError, match="found no text"):
            read_camera_file(tmp_path / "a.txt")

    def test_a_folder_has_one_for_each_video(self, tmp_path: Path) -> None:
        assert camera_file_path(tmp_path, "a/b") == tmp_path / "a" / "b.txt"
        assert camera_file_path(tmp_path / "x.txt", "a") == tmp_path / "x.txt"


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"camera_motion": "file"}, r"'file' needs camera_file \(--camera-file\)"),
            ({"camera_file": "a.txt"}, "expected camera_motion 'file' .*found 'detections'"),
            ({"camera_motion": "wind"}, "'detections', 'frames', 'file', 'given' or 'off'"),
        ],
    )
    def test_what_does_not_go_together(self, settings: dict[str, str], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            TrackerSettings(tracker="steady", **settings)  # type: ignore[arg-type]

    def test_a_tracker_by_itself_has_neither_frames_nor_files(self) -> None:
        for kind in ("frames", "file"):
            with pytest.raises(ConfigError, match=f"found '{kind}'; give what motrail.video.flow"):
                SteadyTracker(camera_motion=kind)

    def test_only_who_needs_one_gets_a_camera(self, tmp_path: Path) -> None:
        write_camera_file(tmp_path / "clip.txt", {1: moved(0, 0)})
        file = TrackerSettings(tracker="steady", camera_motion="file", camera_file=str(tmp_path))
        assert open_camera(TrackerSettings(), "clip") is None
        assert open_camera(TrackerSettings(camera_motion="frames"), "clip") is None
        assert open_camera(TrackerSettings(tracker="steady"), "clip") is None
        assert isinstance(open_camera(FRAMES, "clip"), FramesCamera)
        assert isinstance(open_camera(file, "clip"), FileCamera)
        with pytest.raises(FormatError, match="other.txt: cannot be read"):
            open_camera(file, "other")

    def test_frames_without_pictures(self) -> None:
        empty = Frame(1, np.empty((0, 0, 3), np.uint8), 0.0)
        with pytest.raises(ConfigError, match="write what they say with `motrail camera VIDEO"):
            FramesCamera().motion(empty, NOTHING)


def boxes(x: float) -> Detections:
    """Three people in a row."""
    lefts = np.array([60.0, 105.0, 150.0]) + x
    return Detections(
        np.stack([lefts, np.full(3, 60), lefts + 30, np.full(3, 140)], axis=1), np.full(3, 0.9)
    )


def jerks() -> Generator[tuple[Frame, Detections]]:
    """The camera moves by 45 pixels to and fro: each stands where the next one stood."""
    for number in range(1, 13):
        x = 45.0 * (number % 3 == 0)
        yield Frame(number, seen(moved(x, 0)), 0.0), boxes(x)


class TestTracking:
    def test_pictures_say_what_three_boxes_cannot(self) -> None:
        def right(settings: TrackerSettings) -> list[bool]:
            tracker = make_tracker(settings, 25, (480, 270))
            results = follow(jerks(), tracker, open_camera(settings, "clip"))
            return [
                tracks.ids[np.argsort(tracks.detection_index)].tolist() == [1, 2, 3]
                for _, _, tracks in results
            ]

        assert all(right(FRAMES))
        # Three boxes are fewer than are asked for to say something about the camera.
        assert not all(right(TrackerSettings(tracker="steady")))

    def test_the_tracker_says_what_it_took_out(self) -> None:
        tracker = make_tracker(FRAMES, 25, (480, 270))
        assert isinstance(tracker, SteadyTracker)
        shifts = []
        for frame, _, _ in follow(jerks(), tracker, FramesCamera()):
            if frame.number > 1:
                assert tracker.motion is not None
                shifts.append(round(float(tracker.motion.shift[0])))
        assert shifts == [0, 45, -45] * 3 + [0, 45]

    def test_left_out_frames_are_one_step(self) -> None:
        file = FileCamera(CameraFile({n: moved(1, 0) for n in range(1, 9)}, "here"))
        assert [file.motion_at(n) is not None for n in (2,)] == [True]
        motion = file.motion_at(7)
        assert motion is not None
        assert motion.shift.tolist() == [5, 0]

    def test_detections_alone(self, tmp_path: Path) -> None:
        """A file does what the pictures do; the pictures themselves are not there."""
        rows = [(frame.number, found) for frame, found in jerks()]
        file = DetectionFile(
            "clip",
            ("person",),
            SequenceDetections(
                np.repeat([n for n, _ in rows], 3),
                np.concatenate([d.boxes_xyxy for _, d in rows]),
                np.concatenate([d.scores for _, d in rows]),
                np.zeros(36, np.int64),
            ),
        )
        truth = Labels.of(
            "clip", ("person",), np.array([1]), np.array([1]), np.array([[60.0, 60, 30, 80]]),
            np.array([0]), width=480, height=270, length=12, frame_rate=25.0,
        )  # fmt: skip
        with pytest.raises(
            ConfigError, match="'frames' needs the pictures, found detections alone"
        ):
            track_detections(truth, file, FRAMES)
        at = {n: 45.0 * (n % 3 == 0) for n, _ in rows} | {0: 0.0}
        affines = {n: moved(at[n] - at[n - 1], 0) for n, _ in rows}
        write_camera_file(tmp_path / "clip.txt", affines)
        given = TrackerSettings(tracker="steady", camera_motion="file", camera_file=str(tmp_path))
        assert set(track_detections(truth, file, given, RefineSettings()).ids.tolist()) == {1, 2, 3}
        write_camera_file(tmp_path / "clip.txt", affines | {13: moved(0, 0)})
        with pytest.raises(ConfigError, match=r"frames 0 to 11 of 'clip', found frame 12"):
            track_detections(truth, file, given)


def write_clip(path: Path) -> None:
    with VideoWriter(path, width=480, height=270, frame_rate=25.0, crf=10) as video:
        for frame, _ in jerks():
            video.write(frame.image, (frame.number - 1) / 25)


class TestCommand:
    def test_a_file_for_each_video(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_clip(tmp_path / "clip.mp4")
        code = run(["camera", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "out"), "--json"])
        (about,) = json.loads(capsys.readouterr().out)["sources"]
        assert code == 0
        assert (about["frames"], about["unknown"], about["truncated"]) == (12, 0, None)
        assert about["moved"] == pytest.approx(7 * 45 / 11, abs=0.5)  # seven of eleven steps
        file = read_camera_file(tmp_path / "out" / "clip.txt")
        shifts = [file.between(n - 1, n).shift[0] for n in range(2, 13)]
        assert shifts == pytest.approx([0, 45, -45] * 3 + [0, 45], abs=0.6)

    def test_a_name_of_its_own(self, tmp_path: Path) -> None:
        write_clip(tmp_path / "clip.mp4")
        for _ in range(2):  # what is there is replaced
            assert run(["camera", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "own.txt")]) == 0
        assert len(read_camera_file(tmp_path / "own.txt")) == 12

    def test_what_goes_wrong(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call = caller(capsys, "camera")
        clip = tmp_path / "clip.mp4"
        write_clip(clip)
        out = tmp_path / "out"
        out.mkdir()
        (out / "clip.txt").write_text("1,1,2,3,4,5,0.9,1,-1\n")
        assert_fails(call, ["-o", str(out)], "expected at least one video")
        assert_fails(call, [str(clip), "-o", str(out)], "holds something else than a camera's")
        assert_fails(call, [str(clip), str(clip), "-o", str(tmp_path / "b")],
                     "no place for two files clip.txt")  # fmt: skip
        (tmp_path / "second").mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / "second" / f"{number}.png"), seen(moved(number, 0)))
        both = [str(clip), str(tmp_path / "second")]
        assert_fails(call, [*both, "-o", str(tmp_path / "c.txt")], "a folder for the files of 2")
        found = tmp_path / "found"
        found.mkdir()
        (found / "other.txt").write_text("1,-1,1,2,3,4,0.9,1,-1\n")
        assert_fails(call, [str(clip), "-o", str(tmp_path / "d"), "--detections", str(found)],
                     "--detections: expected those of 'clip', found other")  # fmt: skip
        assert (out / "clip.txt").read_text().startswith("1,1,2,3")


def assert_fails(call: object, words: list[str], message: str) -> None:
    code, _, text = call(*words)  # type: ignore[operator]
    assert code in (1, 2)
    assert message in " ".join(text.split())


class TestScenes:
    @pytest.mark.parametrize("scene", ["football", "conveyor"])
    def test_flow_finds_the_shake_that_the_scene_tells_of(self, scene: str) -> None:
        clip = make_scene(
            SceneSettings(
                scene=scene, seed=3, frames=8, camera_shake=True, camera_pan=True, objects=6
            )
        )
        collector, flow, found = TruthCollector(clip, scene), Flow(), []
        for frame in clip.frames():
            collector.add(frame)
            found.append(flow.affine(shrink(frame.image), NOTHING))
        true = collector.camera()
        assert true[1] == pytest.approx(np.eye(2, 3), abs=1e-6)
        assert max(float(np.hypot(*true[n][:, 2])) for n in true) > 1
        assert max(worst(found[n - 1], true[n], 360) for n in range(2, 9)) < 1.5

    def test_a_camera_that_stands_still_is_told_of_too(self) -> None:
        clip = make_scene(SceneSettings(scene="traffic", frames=2, camera_shake=False))
        collector = TruthCollector(clip, "a")
        for frame in clip.frames():
            collector.add(frame)
        assert collector.camera()[2] == pytest.approx(np.eye(2, 3), abs=1e-6)

    def test_synth_writes_it_where_trackers_look(self, tmp_path: Path) -> None:
        words = ["dataset", "synth", "--frames", "3", "--size", "128x96", "--objects", "3"]
        assert run([*words, "--camera-pan", "-o", str(tmp_path / "clips")]) == 0
        file = read_camera_file(tmp_path / "clips" / "camera" / "football-0.txt")
        assert len(file) == 3
        assert np.hypot(*file.between(2, 3).shift) > 0.1
