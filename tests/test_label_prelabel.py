"""A tracker's result as proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail.errors import ModelError
from motrail.label.model import GAP, boxes_of
from motrail.label.prelabel import TOLERANCE, prelabel, propose, thin
from motrail.types import SequenceTracks
from motrail.video.read import open_source

if TYPE_CHECKING:
    from pathlib import Path


def tracks(
    rows: list[tuple[int, int, float, float, float, float, float, int]],
) -> SequenceTracks:
    """Of frame, id, left, top, width, height, score, class."""
    table = np.array(sorted(rows), np.float64).reshape(-1, 8)
    boxes = table[:, 2:6].copy()
    boxes[:, 2:] += boxes[:, :2]
    return SequenceTracks(
        table[:, 0].astype(int),
        table[:, 1].astype(int),
        boxes,
        table[:, 6],
        table[:, 7].astype(int),
        np.full(len(table), -1),
    )


def straight(
    number: int, frames: range, score: float = 0.5, label: int = 0
) -> list[tuple[int, int, float, float, float, float, float, int]]:
    return [(f, number, 10.0 + 2 * f, 20.0, 30.0, 60.0, score, label) for f in frames]


def test_a_straight_track_becomes_two_points() -> None:
    found = propose(tracks(straight(5, range(3, 24), score=0.75)), ["person"], ["person"])
    (item,) = found.objects
    assert (item.id, item.label, item.status, item.source) == (1, "person", "proposed", "tracker")
    assert item.score == 0.75
    assert item.points.tolist() == [[3, 16, 20, 30, 60, 0], [23, 56, 20, 30, 60, 0]]
    assert found.notes == ()


def test_the_score_is_the_mean() -> None:
    rows = straight(1, range(1, 5), score=0.25) + straight(1, range(5, 9), score=0.75)
    assert propose(tracks(rows), ["person"], []).objects[0].score == 0.5


def test_a_corner_is_kept_and_noise_below_a_pixel_is_not() -> None:
    frames = np.arange(1, 41)
    boxes = np.stack([np.abs(frames - 20.0) * 3, 0 * frames, 30 + 0 * frames, 60 + 0 * frames], 1)
    boxes[:, 1] += np.random.default_rng(0).uniform(-0.2, 0.2, 40)
    points = thin(frames, boxes)
    assert points[:, 0].tolist() == [1, 20, 40]


def test_interpolation_gives_every_box_back_within_the_tolerance() -> None:
    random = np.random.default_rng(1)
    frames = np.arange(1, 301)
    boxes = np.cumsum(random.normal(0, 1.5, (300, 4)), axis=0) + np.array([200, 100, 80, 160])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 5)
    points = thin(frames, boxes)
    assert len(points) < 300
    back = boxes_of(points)
    assert back.frames.tolist() == frames.tolist()
    assert np.abs(back.boxes_xywh - boxes).max() <= TOLERANCE


def test_missed_frames_are_a_gap() -> None:
    rows = straight(1, range(1, 11)) + straight(1, range(15, 21))
    (item,) = propose(tracks(rows), ["person"], ["person"]).objects
    assert item.points[:, 0].tolist() == [1, 10, 15, 20]
    assert item.points[:, 5].tolist() == [0, GAP, 0, 0]
    assert boxes_of(item.points).frames.tolist() == [*range(1, 11), *range(15, 21)]


def test_classes_go_by_their_names() -> None:
    rows = (
        straight(1, range(1, 6), label=0)
        + straight(2, range(1, 6), label=2)
        + straight(3, range(2, 7), label=1)
        + straight(4, range(2, 7), label=1)
    )
    found = propose(tracks(rows), ["car", "dog", "person"], ["person", "car"])
    assert [(item.id, item.label) for item in found.objects] == [(1, "car"), (2, "person")]
    assert found.unmatched == {"dog": 2}
    assert found.notes == (
        "2 tracks of class 'dog' left out: the project has no class of that name",
    )
    everything = propose(tracks(rows), ["car", "dog", "person"], [])
    assert [item.label for item in everything.objects] == ["car", "person", "dog", "dog"]


def test_the_class_of_most_frames_counts() -> None:
    rows = straight(1, range(1, 4), label=1) + straight(1, range(4, 9), label=0)
    assert propose(tracks(rows), ["a", "b"], []).objects[0].label == "a"


def test_glimpses_are_not_proposed() -> None:
    found = propose(tracks(straight(1, range(1, 3)) + straight(2, range(1, 4))), ["person"], [])
    assert len(found.objects) == 1
    assert found.short == 1
    assert found.notes == ("1 track left out: seen in fewer than 3 frames",)


def test_nothing_gives_nothing() -> None:
    found = propose(tracks([]), ["person"], ["person"])
    assert found.objects == []
    assert found.notes == ()


def test_a_real_model_proposes_people(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTRAIL_DETECTOR_PRESET", "bytetrack")
    told: list[tuple[int, int | None]] = []
    found = prelabel(
        open_source(data / "mot17_mini" / "MOT17-04-FRCNN" / "img1", end=4),
        data / "models" / "bytetrack_nano.onnx",
        classes=(),
        progress=lambda done, total, _: told.append((done, total)),
    )
    # 36 people there are more than half visible in every one of these frames.
    assert 18 <= len(found.objects) <= 44
    assert all(item.points[0, 0] >= 1 and item.points[-1, 0] <= 4 for item in found.objects)
    assert all(item.score is not None and 0 < item.score <= 1 for item in found.objects)
    assert told == [(n, 4) for n in range(1, 5)]


def test_a_model_that_is_not_there(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.onnx"):
        prelabel(
            open_source(data / "mot17_mini" / "MOT17-04-FRCNN" / "img1", end=2),
            tmp_path / "nothing.onnx",
            classes=(),
        )
