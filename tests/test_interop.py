from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import supervision as sv

from motrail.errors import DataError
from motrail.interop import detections_from_supervision, to_supervision, tracks_from_supervision
from motrail.types import Detections, Tracks

BOXES = np.array([[10, 20, 30, 60], [-5.5, 0, 4.25, 8], [7, 7, 7, 7]], np.float32)
DETECTIONS = Detections(BOXES, [0.9, 0.1, 0.5], [0, 2, 1])
TRACKS = Tracks([7, 3, 12], BOXES, [0.9, 0.1, 0.5], [0, 2, 1], [2, -1, 0])


def test_detections_there_and_back() -> None:
    converted = to_supervision(DETECTIONS)
    assert isinstance(converted, sv.Detections)
    assert np.array_equal(converted.xyxy, BOXES)
    assert converted.tracker_id is None
    assert detections_from_supervision(converted) == DETECTIONS


def test_tracks_there_and_back() -> None:
    converted = to_supervision(TRACKS)
    assert converted.tracker_id is not None
    assert converted.tracker_id.tolist() == [7, 3, 12]
    assert tracks_from_supervision(converted) == TRACKS
    picked = converted[np.array([2, 0])]
    assert isinstance(picked, sv.Detections)
    assert tracks_from_supervision(picked) == TRACKS[np.array([2, 0])]


def test_empty() -> None:
    assert detections_from_supervision(to_supervision(Detections.empty())) == Detections.empty()
    assert tracks_from_supervision(to_supervision(Tracks.empty())) == Tracks.empty()
    assert detections_from_supervision(sv.Detections.empty()) == Detections.empty()
    assert tracks_from_supervision(sv.Detections.empty()) == Tracks.empty()
    assert tracks_from_supervision(sv.Detections(np.empty((0, 4)))) == Tracks.empty()


def test_the_copy_may_be_changed() -> None:
    converted = to_supervision(TRACKS)
    converted.xyxy += 100
    assert converted.confidence is not None
    converted.confidence[:] = 0
    assert np.array_equal(TRACKS.boxes_xyxy, BOXES)
    assert TRACKS.scores[0] == np.float32(0.9)


def test_missing_columns_have_defaults() -> None:
    bare = sv.Detections(xyxy=BOXES.astype(float))
    found = detections_from_supervision(bare)
    assert found.scores.tolist() == [1.0, 1.0, 1.0]
    assert found.class_ids.tolist() == [0, 0, 0]
    bare.tracker_id = np.array([4, 5, 6])
    assert tracks_from_supervision(bare) == Tracks([4, 5, 6], BOXES, [1] * 3, [0] * 3, [-1] * 3)


def test_missing_ids_are_an_error() -> None:
    with pytest.raises(DataError, match="tracker_id: expected one id for each of the 3 rows"):
        tracks_from_supervision(to_supervision(DETECTIONS))


def test_unconfirmed_rows_are_left_out() -> None:
    converted = to_supervision(TRACKS)
    converted.tracker_id = np.array([7, -1, 12])
    assert tracks_from_supervision(converted).ids.tolist() == [7, 12]


def test_bad_boxes_are_an_error() -> None:
    with pytest.raises(DataError, match="left <= right"):
        detections_from_supervision(sv.Detections(xyxy=np.array([[10.0, 0, 5, 1]])))


def test_a_missing_supervision_is_named() -> None:
    code = (
        "import sys; sys.modules['supervision'] = None\n"
        "from motrail.errors import MissingExtraError\n"
        "from motrail.interop import to_supervision\n"
        "from motrail.types import Tracks\n"
        "from motrail.video.draw import TrackDrawer\n"
        "for use in (lambda: to_supervision(Tracks.empty()),\n"
        "            lambda: TrackDrawer([], width=64, height=64, frame_rate=25)):\n"
        "    try: use()\n"
        "    except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.count("'supervision' is needed for this") == 2
