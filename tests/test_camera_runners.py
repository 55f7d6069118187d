"""Where the camera's motion can come from, and what is said where it cannot; shapes in `check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail.cli.app import run
from motrail.config import Settings, TrackerSettings
from motrail.dataset.check.findings import Findings
from motrail.dataset.check.hints import ClassTally
from motrail.errors import ConfigError
from motrail.formats.labels import Labels
from motrail.remote.track import Order, settings_of_videos
from motrail.serve.attributes import parse_attributes
from motrail.serve.jobs.orders import asked_settings
from motrail.serve.problems import Problem
from motrail.track.camera_file import write_camera_file

if TYPE_CHECKING:
    from pathlib import Path

STILL = np.eye(2, 3)


def words(data: Path, out: Path, *flags: str, command: str = "track") -> list[str]:
    model = str(data / "models" / "bytetrack_nano.onnx")
    video = str(data / "videos" / "mot17-04-8frames.mp4")
    place = ["--no-video", "-o", str(out)] if command == "track" else [str(out)]
    common = ["--model", model, "--preset", "bytetrack", "--tracker", "steady"]
    return [command, video, *place, *common, *flags]


def with_file(folder: Path) -> tuple[str, ...]:
    return ("--camera-motion", "file", "--camera-file", str(folder))


def rows_of(path: Path) -> bytes:
    return (path / "mot17-04-8frames.txt").read_bytes()


def test_what_the_pictures_say_is_the_same_from_a_file(data: Path, tmp_path: Path) -> None:
    """Detections leave the objects out in both; boxes differ by what is rounded in the file."""
    model = str(data / "models" / "bytetrack_nano.onnx")
    video = str(data / "videos" / "mot17-04-8frames.mp4")
    found, camera = str(tmp_path / "found"), tmp_path / "camera"
    assert run(["detect", video, "-m", model, "--preset", "bytetrack", "-o", found]) == 0
    assert run(["camera", video, "-o", str(camera), "--detections", found]) == 0
    assert run(words(data, tmp_path / "a", "--camera-motion", "frames",
                     "--match-threshold", "0.85")) == 0  # fmt: skip
    assert run(words(data, tmp_path / "b", *with_file(camera))) == 0
    assert run(words(data, tmp_path / "c", *with_file(camera), command="batch")) == 0
    first, second = (
        np.loadtxt(tmp_path / name / "mot17-04-8frames.txt", delimiter=",") for name in "ab"
    )
    assert first.shape == second.shape
    assert len(first) > 100
    assert np.abs(first - second).max() < 0.05
    assert rows_of(tmp_path / "b") == rows_of(tmp_path / "c")


def test_another_file_is_another_answer_also_in_a_batch(data: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    answers = []
    for shift in (0.0, 30.0):
        affine = np.array([[1, 0, shift], [0, 1, 0]])
        write_camera_file(camera / "mot17-04-8frames.txt", dict.fromkeys(range(1, 9), affine))
        assert run(words(data, tmp_path / "out", *with_file(camera), command="batch")) == 0
        answers.append(rows_of(tmp_path / "out"))
    assert answers[0] != answers[1]


def test_tracks_do_not_take_the_place_of_the_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mot17-04-8frames.txt"
    write_camera_file(path, dict.fromkeys(range(1, 9), STILL))
    before = path.read_bytes()
    assert run(words(data, tmp_path, *with_file(tmp_path))) == 2
    assert "is needed for this run" in " ".join(capsys.readouterr().err.split())
    assert path.read_bytes() == before


def test_a_file_that_ends_early(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.txt"
    write_camera_file(path, dict.fromkeys(range(1, 5), STILL))
    assert run(words(data, tmp_path / "out", *with_file(path))) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "expected a line for frame 4 (counted from 0), found those of frames 0 to 3" in message
    assert not (tmp_path / "out" / "mot17-04-8frames.txt").exists()


class TestServers:
    """A server reads no file that somebody else names."""

    def test_not_in_a_header(self) -> None:
        with pytest.raises(Problem, match=r"unknown 'tracker\.camera_file'"):
            parse_attributes("tracker.camera_motion=file;tracker.camera_file=/etc/passwd")

    def test_not_in_a_job(self) -> None:
        asked = {"tracker": {"camera_motion": "file", "camera_file": "/etc/passwd"}}
        with pytest.raises(
            Problem, match="without crf, encoder_preset, camera_file, found tracker"
        ):
            asked_settings(Settings(), asked)

    def test_not_without_one(self) -> None:
        with pytest.raises(Problem, match="'file' needs camera_file"):
            asked_settings(Settings(), {"tracker": {"camera_motion": "file"}})

    def test_not_from_its_operator(self) -> None:
        from motrail.serve.app import make_app

        nobody: Any = None
        settings = Settings(tracker=TrackerSettings(camera_motion="file", camera_file="a.txt"))
        with pytest.raises(ConfigError, match="is of one video, and a server is sent many"):
            make_app(nobody, settings, nobody)

    def test_what_is_here_is_not_sent_there(self) -> None:
        settings = Settings(tracker=TrackerSettings(camera_motion="file", camera_file="a.txt"))
        with pytest.raises(ConfigError, match="expected --track client, which tracks here"):
            settings_of_videos(Order(settings, {}))


class TestShapes:
    """Heights are 100; widths are 40 or go up and down between 30 and 60."""

    @staticmethod
    def hints(widths: list[float], objects: int = 10, looks: int = 10) -> list[str]:
        count = objects * looks
        boxes = np.zeros((count, 4))
        boxes[:, 2] = np.resize(widths, count)
        boxes[:, 3] = 100
        frames = np.tile(np.arange(1, looks + 1), objects)
        ids = np.repeat(np.arange(1, objects + 1), looks)
        tally, findings = ClassTally(), Findings()
        tally.add(Labels.of("a", ("dancer",), frames, ids, boxes, np.zeros(count, np.int64)))
        tally.hint(["dancer"], __file__, findings)  # type: ignore[arg-type]
        groups = [group for group in findings.groups() if group.kind == "changing-shape"]
        return [example.message for group in groups for example in group.examples]

    def test_upright_people_and_rigid_things(self) -> None:
        assert self.hints([40]) == []
        assert self.hints([130]) == []

    def test_what_changes_its_shape(self) -> None:
        """The logarithms of 30 and 60 are ln 2 apart: a deviation of ln 2 / 2, which is √2 − 1."""
        message = "'dancer': width / height goes up and down by 41 % along half of 10 objects"
        assert self.hints([30, 60]) == [message]

    def test_few_objects_and_few_looks_say_nothing(self) -> None:
        assert self.hints([30, 60], objects=9) == []
        assert self.hints([30, 60], looks=8) == []
