"""`motrail detect`: detections in files, from which trackers give the very same answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from commands import Call, caller
from models import spots_picture, write_bundle
from motrail.config import TrackerSettings
from motrail.dataset.convert import import_labels
from motrail.detect.detector import load_detector
from motrail.errors import FormatError
from motrail.formats.mot.detections import read_detections, write_detections
from motrail.formats.mot.tracks import TrackFileWriter
from motrail.pipeline import detect, track
from motrail.replay import replay
from motrail.track.make import make_tracker
from motrail.types import SequenceDetections
from motrail.video.read import open_source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "detect")


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """Ten pictures of two spots that move, and a detector that sees them."""
    write_bundle(tmp_path / "spots")
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(1, 11):
        picture = spots_picture([8 + 4 * number, 100 - 3 * number])
        assert cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    return folder


def test_trackers_answer_as_if_they_had_seen_the_video(call: Call, walk: Path) -> None:
    """The track file from detections is that of the video, byte by byte."""
    assert call(walk, "-m", "spots", "-o", "out").code == 0
    [file] = read_detections(walk.parent / "out")
    assert file.name == "walk"

    detector = load_detector(walk.parent / "spots")
    seen = [found for _, found in detect(open_source(walk), detector)]
    for number, found in enumerate(seen, start=1):
        rows = file.detections.frames == number
        np.testing.assert_array_equal(file.detections.boxes_xyxy[rows], found.boxes_xyxy)
        np.testing.assert_array_equal(file.detections.scores[rows], found.scores)

    settings = TrackerSettings()
    paths = walk.parent / "live.txt", walk.parent / "replayed.txt"
    with TrackFileWriter(paths[0]) as writer:
        for frame, _, tracks in track(open_source(walk), detector, make_tracker(settings, 30)):
            writer.write(frame.number, tracks)
    with TrackFileWriter(paths[1]) as writer:
        answer = replay(file.detections, make_tracker(settings, 30), 10)
        for number, tracks in answer.by_frame():
            writer.write(number, tracks)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_text().splitlines()) >= 18


def test_detections_of_real_networks_come_back_to_the_last_bit(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    boxes = random.uniform(-50, 4000, (500, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + random.uniform(0.01, 900, (500, 2)).astype(np.float32)
    scores = random.random(500).astype(np.float32)
    written = SequenceDetections(np.arange(500) // 7 + 1, boxes, scores, np.arange(500) % 12)
    write_detections(tmp_path / "a.txt", written)
    [file] = read_detections(tmp_path / "a.txt")
    assert file.detections == written


def test_what_is_there_stays(call: Call, walk: Path) -> None:
    first = json.loads(call(walk, "-m", "spots", "-o", "out", "--json").out)["sources"]
    again = json.loads(call(walk, "-m", "spots", "-o", "out", "--json").out)["sources"]
    assert [first[0]["kept"], again[0]["kept"]] == [False, True]
    assert first[0]["frames"] == 10


@pytest.mark.parametrize("change", ["a picture", "a threshold", "the model"])
def test_what_changed_is_detected_anew(call: Call, walk: Path, change: str) -> None:
    call(walk, "-m", "spots", "-o", "out")
    flags = []
    if change == "a picture":
        assert cv2.imwrite(str(walk / "005.png"), spots_picture([20]))
    elif change == "a threshold":
        flags = ["--score-threshold", "0.3"]
    else:
        path = walk.parent / "spots" / "model.json"
        content = json.loads(path.read_text())
        content["input"]["pad"] = 0
        path.write_text(json.dumps(content))
    answer = json.loads(call(walk, "-m", "spots", "-o", "out", "--json", *flags).out)
    assert answer["sources"][0]["kept"] is False


def test_a_dataset_is_detected_under_its_names_and_numbers(call: Call, walk: Path) -> None:
    """Pictures of some frames only keep the numbers of their frames."""
    sequence = walk.parent / "labels" / "clip"
    (sequence / "gt").mkdir(parents=True)
    (sequence / "img1").mkdir()
    for number in (3, 4, 7):
        (walk / f"{number:03}.png").rename(sequence / "img1" / f"{number:06}.png")
    rows = "".join(f"{n},1,10,10,20,20,1,1,1\n" for n in (3, 4, 7))
    (sequence / "gt" / "gt.txt").write_text(rows)
    (sequence / "seqinfo.ini").write_text(
        "[Sequence]\nname=clip\nseqLength=7\nframeRate=25\nimWidth=128\nimHeight=128\n"
    )
    import_labels([sequence], walk.parent / "data")
    assert call("data", "-m", "spots", "-o", "out").code == 0
    [file] = read_detections(walk.parent / "out")
    assert file.name == "clip"
    assert sorted(set(file.detections.frames.tolist())) == [3, 4, 7]


class TestTrouble:
    def test_two_sources_of_one_name(self, call: Call, walk: Path) -> None:
        result = call(walk, walk, "-m", "spots", "-o", "out")
        assert result.code == 2
        assert "expected names that differ, found 'walk' again" in result.err

    def test_other_classes(self, call: Call, walk: Path) -> None:
        (walk.parent / "out").mkdir()
        (walk.parent / "out" / "labels.txt").write_text("car\n")
        result = call(walk, "-m", "spots", "-o", "out")
        assert result.code == 2
        assert "names other classes than this model" in result.err

    def test_no_sources(self, call: Call, walk: Path) -> None:
        assert "expected at least one video" in call("-m", "spots").err

    def test_a_dataset_has_no_start(self, call: Call, walk: Path) -> None:
        (walk.parent / "truth" / "all").mkdir(parents=True)
        (walk.parent / "truth" / "labels.txt").write_text("car\n")
        result = call("truth", "-m", "spots", "--start", "2")
        assert "leave out --start, --end and --stride" in result.err

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("0,-1,1,1,9,9,0.9", "expected a frame from 1, found 0"),
            ("1,-1,1,1,0,9,0.9", "expected a width and height above 0, found [0.0, 9.0]"),
            ("1,-1,1,1,9,9,1.5", "expected a score of 0 to 1, found 1.5"),
            ("1,-1,1,1,9,9,0.9,3", "expected a class of labels.txt, 1 to 1, found 3"),
            ("1,-1,1e300,1,9,9,0.9", "expected a box in pixels"),
            ("1,-1,1,1,9,9", None),
            ("1,-1,1,1,9,9,x", "expected numbers separated by commas"),
        ],
    )
    def test_rows_that_are_no_detections(
        self, tmp_path: Path, row: str, message: str | None
    ) -> None:
        (tmp_path / "labels.txt").write_text("car\n")
        path = tmp_path / "clip.txt"
        path.write_text(f"1,-1,5,5,9,9,0.5\n{row}\n")
        if message is None:  # without a score a box is certain
            [file] = read_detections(path)
            assert file.detections.scores.tolist() == [0.5, 1.0]
            return
        with pytest.raises(FormatError) as caught:
            list(read_detections(path))
        assert "clip.txt:2: " in str(caught.value)
        assert message in str(caught.value)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match=r"expected detections in files SEQUENCE\.txt"):
            list(read_detections(tmp_path))
