"""What the steady tracker is worth on MOT17's validation half, by us and by TrackEval."""

from __future__ import annotations

import configparser
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from motrail.boxes import xyxy_to_xywh
from motrail.config import RefineSettings, TrackerSettings
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Evaluation, read_truth, score
from motrail.evaluate.tracked import as_labels, track_detections
from motrail.evaluate.why.explain import explain
from motrail.formats.mot.detections import DetectionFile, read_detections
from motrail.types import SequenceDetections
from test_protocols import by_trackeval, truth

if TYPE_CHECKING:
    from conftest import Prove
    from motrail.formats.labels import Labels
    from motrail.types import SequenceTracks

__all__ = ["truth"]  # the fixture

PROTOCOL = Protocol("mot17")
OFFLINE = RefineSettings(offline=True)
GOALS: dict[tuple[bool, bool], dict[str, float]] = {
    (False, False): {"HOTA": 70.0, "IDF1": 82.7, "MOTA": 79.1},
    (True, False): {"HOTA": 70.5, "IDF1": 83.3},
    (False, True): {"HOTA": 71.9},
    (True, True): {"HOTA": 72.6},
}
"""By whether the camera's motion is given, and whether tracks are refined offline."""


class Half(NamedTuple):
    """The second half of each sequence, and how the camera moved in it."""

    labels: dict[str, Labels]
    files: dict[str, DetectionFile]
    cameras: Path


@pytest.fixture(scope="module")
def half(data: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Half:
    cameras = tmp_path_factory.mktemp("cameras")
    labels = {each.name: each for each in read_truth(truth / "MOT17-val")}
    files = {}
    for file in read_detections(data / "mot17" / "detections"):
        ini = configparser.ConfigParser()
        ini.read(data / "mot17" / "gt" / file.name / "seqinfo.ini")
        before = ini.getint("Sequence", "seqLength") - labels[file.name].length
        kept = file.detections[file.detections.frames > before]
        moved = SequenceDetections(
            kept.frames - before, kept.boxes_xyxy, kept.scores, kept.class_ids
        )
        files[file.name] = DetectionFile(file.name, file.classes, moved)
        rows = np.loadtxt(data / "mot17" / "camera" / f"{file.name}.txt")
        rows = rows[rows[:, 0] >= before] - np.array([before, 0, 0, 0, 0, 0, 0])
        np.savetxt(cameras / f"{file.name}.txt", rows, fmt=["%d", *["%.9g"] * 6])
    return Half(labels, files, cameras)


def settings(half: Half, *, given: bool) -> TrackerSettings:
    camera: dict[str, Any] = {"camera_motion": "file", "camera_file": str(half.cameras)}
    return TrackerSettings(
        tracker="steady", min_box_area=100, max_aspect_ratio=1.6, **(camera if given else {})
    )


def write(tracks: SequenceTracks, path: Path) -> None:
    boxes = xyxy_to_xywh(tracks.boxes_xyxy.astype(np.float64))
    unknown = np.full((len(tracks), 3), -1)
    table = np.column_stack((tracks.frames, tracks.ids, boxes, tracks.scores, unknown))
    np.savetxt(path, table, fmt="%.17g", delimiter=",")


@pytest.mark.proof
@pytest.mark.parametrize(("given", "offline"), list(GOALS))
def test_figures(half: Half, truth: Path, prove: Prove, given: bool, offline: bool) -> None:
    goals = GOALS[given, offline]
    parts = {}
    with tempfile.TemporaryDirectory() as name:
        results = Path(name) / "results"
        results.mkdir()
        for sequence, labels in half.labels.items():
            file = half.files[sequence]
            chosen = settings(half, given=given)
            tracks = track_detections(labels, file, chosen, OFFLINE if offline else None)
            parts[sequence] = score(labels, as_labels(labels, file, tracks), PROTOCOL)
            write(tracks, results / f"{sequence}.txt")
        theirs = by_trackeval(truth, results, Path(name) / "trackeval")["combined"]
    ours = Evaluation(PROTOCOL, parts).combined.as_dict()
    by_them = {
        "HOTA": 100 * float(theirs["hota"]["HOTA"].mean()),
        "IDF1": 100 * float(theirs["identity"]["IDF1"]),
        "MOTA": 100 * float(theirs["clear"]["MOTA"]),
    }
    words = ("camera given, " if given else "") + ("offline" if offline else "online")
    for name, goal in goals.items():
        prove(f"steady, {words}: {name}, by TrackEval", f"{goal}", f"{by_them[name]:.2f}")
        assert by_them[name] >= goal
        assert ours[name] == pytest.approx(by_them[name], abs=1e-9)


def test_causes_are_those_of_the_tracker_that_made_the_tracks(half: Half) -> None:
    """Weak detections revive what was lost up to ten frames ago, and advice names such settings."""
    name = "MOT17-09"
    found = explain(
        [(half.labels[name], None)], {name: half.files[name]}, settings(half, given=False), PROTOCOL
    )
    tried = {change.setting for each in (*found.advice, *found.tried) for change in each.changes}
    assert tried & {"revive_match_threshold", "revive_frames", "height_weight"}
    known = TrackerSettings.__dataclass_fields__
    assert tried <= set(known) | {"max_gap"}
