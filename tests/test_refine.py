"""Refining tracks when all frames are known: what is filled, smoothed and left out."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from commands import Call, caller
from models import SIDE, write_bundle
from motrail.config import RefineSettings, Settings, VideoSettings
from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.detect.detector import load_detector
from motrail.errors import ConfigError, DataError, OutputError, VideoError
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import evaluate
from motrail.formats.mot.tracks import TrackFileWriter, read_tracks
from motrail.refining import refine_files
from motrail.track.kept import KeptTracks
from motrail.track.refine import refine, refine_rows
from motrail.tracking import Summary, track_source
from motrail.types import Detections, SequenceTracks, Tracks
from motrail.video.draw import TrackDrawer
from motrail.video.read import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from conftest import Prove

Row = tuple[int, int, Sequence[float], float, int]


def tracks_of(*rows: Row) -> SequenceTracks:
    """Tracks of rows (frame, id, box as left, top, right, bottom, score, class)."""
    frames, ids, boxes, scores, classes = zip(*rows, strict=True)
    return SequenceTracks(frames, ids, boxes, scores, classes, range(len(rows)))


def one_track(frames: Sequence[int], sizes: Sequence[float] | None = None) -> SequenceTracks:
    """A track in these frames; its box stands in the corner and has these sizes."""
    sizes = [10.0] * len(frames) if sizes is None else sizes
    return tracks_of(*((f, 1, (0, 0, s, s), 0.5, 0) for f, s in zip(frames, sizes, strict=True)))


BEFORE = (2, 7, (10, 20, 30, 60), 0.9, 4)
AFTER = (6, 7, (50, 0, 110, 80), 0.5, 5)


class TestFilling:
    def test_a_straight_line_between_the_boxes_around(self) -> None:
        filled = refine(tracks_of(BEFORE, AFTER), RefineSettings(max_gap=3))
        assert filled.frames.tolist() == [2, 3, 4, 5, 6]
        assert filled.ids.tolist() == [7] * 5
        assert filled.boxes_xyxy.tolist() == [
            [10, 20, 30, 60],
            [20, 15, 50, 65],
            [30, 10, 70, 70],
            [40, 5, 90, 75],
            [50, 0, 110, 80],
        ]
        np.testing.assert_allclose(filled.scores, [0.9, 0.8, 0.7, 0.6, 0.5], atol=1e-7)
        assert filled.class_ids.tolist() == [4, 4, 4, 4, 5]
        assert filled.detection_index.tolist() == [0, -1, -1, -1, 1]

    def test_one_frame_more_is_not_filled(self) -> None:
        tracks = tracks_of(BEFORE, AFTER)
        assert refine(tracks, RefineSettings(max_gap=2)) == tracks

    def test_each_gap_for_itself(self) -> None:
        filled = refine(one_track([1, 3, 7, 8, 10]), RefineSettings(max_gap=2))
        assert filled.frames.tolist() == [1, 2, 3, 7, 8, 9, 10]
        assert filled.detection_index.tolist() == [0, -1, 1, 2, 3, -1, 4]

    def test_neither_before_the_first_box_nor_behind_the_last_nor_from_track_to_track(self) -> None:
        tracks = tracks_of(
            (5, 1, (0, 0, 9, 9), 0.5, 0), (7, 2, (0, 0, 9, 9), 0.5, 0), (9, 3, (0, 0, 9, 9), 0.5, 0)
        )
        assert refine(tracks, RefineSettings(max_gap=100)) == tracks

    def test_by_frame_then_id(self) -> None:
        box = (0, 0, 9, 9)
        rows: list[Row] = [(1, 9, box, 0.5, 0), (1, 3, box, 0.5, 0), (3, 9, box, 0.5, 0)]
        rows += [(3, 5, box, 0.5, 0), (4, 3, box, 0.5, 0)]
        filled = refine(tracks_of(*rows), RefineSettings(max_gap=2))
        pairs = list(zip(filled.frames.tolist(), filled.ids.tolist(), strict=True))
        assert pairs == [(1, 3), (1, 9), (2, 3), (2, 9), (3, 3), (3, 5), (3, 9), (4, 3)]
        assert filled.detection_index.tolist() == [1, 0, -1, -1, -1, 3, 2, 4]

    def test_tracks_that_change_hands_in_a_frame(self) -> None:
        rows: list[Row] = [(f, id_, (0, 0, 9, 9), 0.5, 0) for f, id_ in ((1, 1), (3, 1), (3, 2))]
        assert refine(tracks_of(*rows), RefineSettings(max_gap=1)).ids.tolist() == [1, 1, 1, 2]

    def test_boxes_outside_the_image(self) -> None:
        rows: list[Row] = [(1, 1, (-9, -9, -1, -1), 1, 0), (3, 1, (-5, -5, 3, 3), 1, 0)]
        filled = refine(tracks_of(*rows), RefineSettings(max_gap=1))
        assert filled.boxes_xyxy[1].tolist() == [-7, -7, 1, 1]


def bell(*distances: float, sigma: float) -> NDArray[np.float64]:
    return np.exp(-0.5 * (np.array(distances) / sigma) ** 2)


def smoothed_sizes(sizes: Sequence[float], sigma: float) -> NDArray[np.float64]:
    count = len(sizes)
    boxes = np.zeros((count, 4))
    boxes[:, 2] = boxes[:, 3] = sizes
    refined = refine_rows(
        np.arange(1, count + 1),
        np.ones(count, np.int64),
        boxes,
        np.ones(count),
        RefineSettings(smoothing=sigma),
    )
    np.testing.assert_array_equal(refined.boxes_xywh[:, 2], refined.boxes_xywh[:, 3])
    assert (refined.boxes_xywh[:, :2] == 0).all()
    return refined.boxes_xywh[:, 2]


class TestSmoothing:
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 40])
    @pytest.mark.parametrize("sigma", [0.5, 3, 100])
    def test_a_straight_uniform_motion_stays(self, count: int, sigma: float) -> None:
        rows: list[Row] = [
            (n, 1, (5 * n, 100 - 3 * n, 20 + 7 * n, 200 - 2 * n), 0.8, 0)
            for n in range(1, count + 1)
        ]
        tracks = tracks_of(*rows)
        assert refine(tracks, RefineSettings(smoothing=sigma)) == tracks

    def test_a_spike_becomes_the_bell(self) -> None:
        sizes = np.full(61, 10.0)
        sizes[30] += 100
        out = smoothed_sizes(sizes.tolist(), 3)
        weights = bell(*range(-12, 13), sigma=3)
        np.testing.assert_allclose(out[18:43], 10 + 100 * weights / weights.sum(), rtol=1e-12)
        np.testing.assert_allclose(out[:18], 10, rtol=1e-12)
        np.testing.assert_allclose(out[43:], 10, rtol=1e-12)

    def test_noise_far_from_the_ends_as_the_filter_of_scipy(self) -> None:
        from scipy.ndimage import gaussian_filter1d

        sizes = np.random.default_rng(3).uniform(50, 60, 200)
        expected = gaussian_filter1d(sizes, 2.5, truncate=4)
        out = smoothed_sizes(sizes.tolist(), 2.5)
        np.testing.assert_allclose(out[10:-10], expected[10:-10], rtol=1e-12)

    def test_near_an_end_it_goes_on_turned_by_180_degrees(self) -> None:
        """Left of 10, 14, 10, 10 … stand … 10, 10, 6: the same spike, upside down."""
        out = smoothed_sizes([10, 14, *[10] * 20], 1)
        total = bell(*range(-4, 5), sigma=1).sum()
        for place, (to_spike, to_mirror) in enumerate([(1, 1), (0, 2), (1, 3), (2, 4)]):
            gain = bell(to_spike, sigma=1) - bell(to_mirror, sigma=1)
            assert out[place] == pytest.approx(10 + 4 * gain[0] / total, rel=1e-12)
        # Five frames off, the mirrored spike is out of reach.
        assert out[4] == pytest.approx(10 + 4 * bell(3, sigma=1)[0] / total, rel=1e-12)

    def test_a_run_of_three_is_turned_again_and_again(self) -> None:
        """10, 14, 10 continue as … 14, 10, 6, 10, [14], 10, 6, 10, 14 …"""
        out = smoothed_sizes([10, 14, 10], 1)
        weights = bell(*range(-4, 5), sigma=1)
        wave = np.array([4, 0, -4, 0, 4, 0, -4, 0, 4])
        assert out[1] == pytest.approx(10 + (weights * wave).sum() / weights.sum(), rel=1e-12)
        assert 10 < out[1] < 14
        assert out[[0, 2]].tolist() == [10, 10]

    def test_ends_stay(self) -> None:
        sizes = np.random.default_rng(5).uniform(20, 90, 30)
        out = smoothed_sizes(sizes.tolist(), 3)
        np.testing.assert_allclose(out[[0, -1]], sizes[[0, -1]], rtol=1e-12)
        assert np.abs(out[1:-1] - sizes[1:-1]).min() > 1e-3

    def test_no_box_gets_smaller_than_the_smallest_of_its_run(self) -> None:
        """Where the bell is cut off, the mirrored boxes would weigh a little too much."""
        assert smoothed_sizes([0.01, 0.01, 5000, 0.01], 10).min() == 0.01

    def test_not_across_a_gap(self) -> None:
        sizes = [10, 30, 20, 25, 15, 40, 35, 20]
        broken = refine(
            one_track([1, 2, 3, 4, 9, 10, 11, 12], sizes), RefineSettings(smoothing=2, max_gap=3)
        )
        for part, frames in ((slice(4), [1, 2, 3, 4]), (slice(4, 8), [9, 10, 11, 12])):
            alone = refine(one_track(frames, sizes[part]), RefineSettings(smoothing=2))
            np.testing.assert_array_equal(broken.boxes_xyxy[part], alone.boxes_xyxy)

    def test_across_a_gap_that_was_filled(self) -> None:
        broken = refine(
            one_track([1, 2, 4, 5], [10, 30, 20, 15]), RefineSettings(smoothing=2, max_gap=1)
        )
        whole = refine(
            one_track([1, 2, 3, 4, 5], [10, 30, 25, 20, 15]), RefineSettings(smoothing=2)
        )
        np.testing.assert_array_equal(broken.boxes_xyxy, whole.boxes_xyxy)

    def test_tracks_do_not_touch_each_other(self) -> None:
        rng = np.random.default_rng(8)
        sizes = {7: rng.uniform(10, 90, 9), 3: rng.uniform(10, 90, 5), 5: rng.uniform(10, 90, 2)}
        rows: list[Row] = sorted(
            (frame, id_, (0, 0, size, size), 0.5, 0)
            for id_, column in sizes.items()
            for frame, size in enumerate(column, start=id_)
        )
        together = refine(tracks_of(*rows), RefineSettings(smoothing=1.5))
        for id_ in sizes:
            alone = [row for row in rows if row[1] == id_]
            expected = refine(tracks_of(*alone), RefineSettings(smoothing=1.5)).boxes_xyxy
            found = together.boxes_xyxy[together.ids == id_]
            np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_scores_classes_and_detections_stay(self) -> None:
        rows: list[Row] = [(n, 1, (0, 0, 9 + n % 3, 9), n / 10, n % 2) for n in range(1, 8)]
        tracks = tracks_of(*rows)
        smoothed = refine(tracks, RefineSettings(smoothing=2))
        assert not np.array_equal(smoothed.boxes_xyxy, tracks.boxes_xyxy)
        for column in ("frames", "ids", "scores", "class_ids", "detection_index"):
            np.testing.assert_array_equal(getattr(smoothed, column), getattr(tracks, column))


class TestShortTracks:
    def test_seen_in_fewer_frames(self) -> None:
        box = (0, 0, 9, 9)
        rows: list[Row] = [(n, id_, box, 0.5, 0) for n in (1, 2, 3) for id_ in (1, 2) if id_ <= n]
        kept = refine(tracks_of(*rows), RefineSettings(min_length=3))
        assert kept == tracks_of(*rows)[np.array([0, 1, 3])]
        assert refine(tracks_of(*rows), RefineSettings(min_length=2)) == tracks_of(*rows)
        assert len(refine(tracks_of(*rows), RefineSettings(min_length=4))) == 0

    def test_filled_frames_do_not_count(self) -> None:
        settings = RefineSettings(max_gap=5, min_length=3)
        assert len(refine(one_track([1, 5]), settings)) == 0
        assert len(refine(one_track([1, 3, 5]), settings)) == 5


class TestStride:
    def test_frames_not_looked_at_are_no_gap(self) -> None:
        tracks = one_track([2, 5, 8])
        assert refine(tracks, RefineSettings(max_gap=20), step=3) == tracks
        assert len(refine(tracks, RefineSettings(max_gap=20))) == 7

    def test_only_frames_looked_at_are_filled(self) -> None:
        tracks = one_track([1, 10, 16], [10, 40, 20])
        filled = refine(tracks, RefineSettings(max_gap=8), step=3)  # 8 missed frames, then 5
        assert filled.frames.tolist() == [1, 4, 7, 10, 13, 16]
        assert filled.boxes_xyxy[:, 2].tolist() == [10, 20, 30, 40, 30, 20]
        filled = refine(tracks, RefineSettings(max_gap=7), step=3)
        assert filled.frames.tolist() == [1, 10, 13, 16]
        assert refine(tracks, RefineSettings(max_gap=4), step=3) == tracks

    def test_smoothing_is_as_wide_in_time(self) -> None:
        sizes = np.random.default_rng(1).uniform(10, 90, 30).tolist()
        every = refine(one_track(range(1, 31), sizes), RefineSettings(smoothing=1.5))
        second = refine(one_track(range(1, 61, 2), sizes), RefineSettings(smoothing=3), step=2)
        np.testing.assert_array_equal(every.boxes_xyxy, second.boxes_xyxy)

    def test_another_stride_than_that_of_the_tracks(self) -> None:
        with pytest.raises(
            DataError,
            match="expected frames of a track to be a multiple of 3 apart, found id 1 in frames 4 "
            "and 6; were they made with a stride of 3",
        ):
            refine(one_track([1, 4, 6]), RefineSettings(max_gap=9), step=3)

    def test_each_track_has_frames_of_its_own(self) -> None:
        rows: list[Row] = [(f, id_, (0, 0, 9, 9), 0.5, 0) for f, id_ in ((1, 1), (4, 1), (5, 2))]
        assert len(refine(tracks_of(*rows), RefineSettings(max_gap=9), step=3)) == 3

    def test_no_stride(self) -> None:
        with pytest.raises(ConfigError, match="step: expected 1 or more, found 0"):
            refine(one_track([1]), RefineSettings(max_gap=1), step=0)


EVERYTHING = RefineSettings(max_gap=3, smoothing=2, min_length=2)


class TestEdges:
    def test_off_is_the_very_same(self) -> None:
        tracks = one_track([1, 3, 4])
        assert refine(tracks, RefineSettings()) is tracks
        assert not RefineSettings().active

    @pytest.mark.parametrize(
        "settings", [{"max_gap": 1}, {"smoothing": 0.1}, {"min_length": 1}], ids=str
    )
    def test_any_setting_switches_it_on(self, settings: dict[str, Any]) -> None:
        assert RefineSettings(**settings).active

    def test_empty(self) -> None:
        empty = one_track([1])[:0]
        assert refine(empty, EVERYTHING) == empty

    def test_an_id_twice_in_a_frame(self) -> None:
        rows: list[Row] = [(n, id_, (0, 0, 9, 9), 0.5, 0) for n, id_ in ((1, 4), (2, 4), (2, 5))]
        with pytest.raises(
            DataError, match="expected each id once in a frame, found 4 twice in frame 2"
        ):
            refine(tracks_of(*rows, rows[1]), RefineSettings(min_length=1))

    @pytest.mark.parametrize(
        ("key", "value", "limits"),
        [
            ("max_gap", -1, "from 0 to 10000"),
            ("max_gap", 10_001, "from 0 to 10000"),
            ("smoothing", -0.5, "from 0 to 100"),
            ("smoothing", 100.5, "from 0 to 100"),
            ("smoothing", math.nan, "from 0 to 100"),
            ("min_length", -1, "0 or more"),
        ],
    )
    def test_settings_out_of_range(self, key: str, value: Any, limits: str) -> None:
        with pytest.raises(ConfigError, match=f"{key}: expected {limits}, found {value}"):
            RefineSettings(**{key: value})


def test_frames_kept_until_the_last_is_known() -> None:
    """Of 2,500 frames the odd ones have a track, made of the second of three detections."""
    kept = KeptTracks(RefineSettings(max_gap=1))
    three = Detections(np.ones((3, 4)), np.full(3, 0.5))
    for number in range(1, 2501):
        one = Tracks([1], [[number, 0, number + 9, 9]], [0.5], [0], [1])
        kept.keep(number, one if number % 2 else Tracks.empty(), three)
    before, after = kept.refine()
    assert before.frames.tolist() == list(range(1, 2501, 2))
    assert before.detection_index.tolist() == list(range(1, 7501, 6))
    assert after.boxes_xyxy[:, 0].tolist() == list(range(1, 2500))
    frames = list(kept.by_frame())
    assert [number for number, _ in frames] == kept.numbers == list(range(1, 2501))
    lefts = [tracks.boxes_xyxy[:, 0].tolist() for _, tracks in frames]
    assert lefts == [*([n] for n in range(1, 2500)), []]


def by_hand(tracks: SequenceTracks, settings: RefineSettings) -> dict[tuple[int, int], Any]:
    """The same, track by track: (frame, id) → centre and size."""
    answer: dict[tuple[int, int], Any] = {}
    for id_ in np.unique(tracks.ids).tolist():
        mine = tracks[tracks.ids == id_]
        if len(mine) < settings.min_length:
            continue
        boxes = mine.boxes_xyxy.astype(np.float64)
        states = np.c_[(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]]
        gaps = np.flatnonzero(np.diff(mine.frames) > settings.max_gap + 1) + 1
        for part in np.split(np.arange(len(mine)), gaps):
            seen = mine.frames[part]
            frames = np.arange(seen[0], seen[-1] + 1)
            run = np.stack([np.interp(frames, seen, states[part, c]) for c in range(4)], axis=1)
            if settings.smoothing:
                reach = round(4 * settings.smoothing)
                weights = bell(*range(-reach, reach + 1), sigma=settings.smoothing)
                pad = ((reach, reach), (0, 0))
                wide = np.pad(run, pad, mode="reflect", reflect_type="odd")
                run = np.stack(
                    [np.convolve(wide[:, c], weights / weights.sum(), "valid") for c in range(4)],
                    axis=1,
                )
            answer |= {(f, id_): row for f, row in zip(frames.tolist(), run, strict=True)}
    return answer


@pytest.mark.parametrize(
    "settings",
    [RefineSettings(max_gap=20), RefineSettings(max_gap=20, smoothing=3, min_length=10)],
    ids=["filled", "all"],
)
def test_real_tracks_as_worked_out_one_by_one(data: Path, settings: RefineSettings) -> None:
    path = data / "mot17" / "bytetrack_reference" / "default" / "MOT17-10.txt"
    rows = read_tracks(path)
    boxes = rows.boxes_xywh.copy()
    boxes[:, 2:] += boxes[:, :2]
    none = np.full(len(boxes), -1)
    tracks = SequenceTracks(rows.frames, rows.ids, boxes, rows.scores, none, none)
    refined = refine(tracks, settings)
    expected = by_hand(tracks, settings)
    keys = list(zip(refined.frames.tolist(), refined.ids.tolist(), strict=True))
    assert keys == sorted(expected)
    assert len(keys) != len(tracks)
    found = refined.boxes_xyxy
    states = np.c_[(found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]]
    np.testing.assert_allclose(states, [expected[key] for key in keys], atol=1e-3)


@pytest.mark.both
def test_mot17_as_published(
    data: Path, tmp_path: Path, prove: Prove, capsys: pytest.CaptureFixture[str]
) -> None:
    """ByteTrack's paper: gaps up to 20 filled bring 1.7 MOTA and 0.9 IDF1 on the same halves."""
    import_labels([data / "mot17" / "gt"], tmp_path / "all")
    split_dataset(tmp_path / "all", by="time", val=0.5, gap=0, output=tmp_path / "halves")
    plain = data / "mot17" / "bytetrack_reference" / "default"
    assert caller(capsys, "refine")(plain, "--max-gap", "20", "-o", tmp_path / "out").code == 0
    scores = [
        evaluate(folder, tmp_path / "halves" / "val", Protocol("mot17")).combined.as_dict()
        for folder in (plain, tmp_path / "out")
    ]
    mota, idf1 = (scores[1][key] - scores[0][key] for key in ("MOTA", "IDF1"))
    prove("gaps up to 20 filled, MOTA and IDF1", "+1.7 +0.9", f"{mota:+.2f} {idf1:+.2f}")
    assert mota == pytest.approx(1.7, abs=0.5)
    assert idf1 == pytest.approx(0.9, abs=0.5)


FILE = """\
1,1,10.10,20.20,30.30,40.40,0.9000,2,0.25
1,2,5.00,5.00,5.00,5.00,0.5000,1,-1
4,1,40.10,20.20,60.30,40.40,0.6000,2,1
"""
FILLED = """\
1,1,10.10,20.20,30.30,40.40,0.9000,2,0.25
1,2,5.00,5.00,5.00,5.00,0.5000,1,-1
2,1,20.10,20.20,40.30,40.40,0.8000,2,-1
3,1,30.10,20.20,50.30,40.40,0.7000,2,-1
4,1,40.10,20.20,60.30,40.40,0.6000,2,1
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "tracks"
    folder.mkdir()
    (folder / "labels.txt").write_text("car\nvan\n")
    (folder / "a.txt").write_text(FILE)
    (folder / "b.txt").write_text("")
    return folder


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "refine")


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}


class TestCommand:
    def test_a_folder(self, call: Call, results: Path, tmp_path: Path) -> None:
        result = call("tracks", "--max-gap", "2", "-o", "out")
        assert (result.code, result.err) == (0, "")
        assert content(tmp_path / "out") == {
            "labels.txt": "car\nvan\n",
            "a.txt": FILLED,
            "b.txt": "",
        }
        lines = [line.split() for line in result.out.splitlines()]
        assert lines[1:] == [
            ["a", "5", "2", "2", "0", "0"],
            ["b", "0", "0", "0", "0", "0"],
            ["all", "5", "2", "2", "0", "0"],
            ["written", "out"],
        ]

    def test_json(self, call: Call, results: Path) -> None:
        words = ["--max-gap", "2", "--min-length", "2", "-o", "out", "--json"]
        document = json.loads(call("tracks/a.txt", *words).out)
        assert document == {
            "settings": vars(RefineSettings(max_gap=2, min_length=2)) | {"stride": 1},
            "sequences": [
                {
                    "sequence": "a",
                    "boxes": 4,
                    "tracks": 1,
                    "filled_boxes": 2,
                    "removed_tracks": 1,
                    "removed_boxes": 1,
                    "file": os.path.join("out", "a.txt"),  # noqa: PTH118
                }
            ],
        }

    def test_a_file_into_a_folder_or_a_file(
        self, call: Call, results: Path, tmp_path: Path
    ) -> None:
        assert call("tracks/a.txt", "--max-gap", "2", "-o", "out").code == 0
        assert content(tmp_path / "out") == {"labels.txt": "car\nvan\n", "a.txt": FILLED}
        assert call("tracks/a.txt", "--max-gap", "2", "-o", "new/c.txt").code == 0
        assert content(tmp_path / "new") == {"labels.txt": "car\nvan\n", "c.txt": FILLED}
        assert call("tracks/a.txt", "--max-gap", "2", "-o", "tracks/d.txt").code == 0
        assert content(results) == {
            "labels.txt": "car\nvan\n",
            "a.txt": FILE,
            "b.txt": "",
            "d.txt": FILLED,
        }

    def test_results_of_others(self, call: Call, tmp_path: Path) -> None:
        """Ten columns, in any order, without names or numbers of classes."""
        (tmp_path / "x.txt").write_text(
            "3,1,12.3456,0,10,10,0.55555,-1,-1,-1\n1,1,10,0,10,10,0.5,-1,-1,-1\n"
        )
        assert call("x.txt", "--max-gap", "1", "-o", "out").code == 0
        assert content(tmp_path / "out") == {
            "x.txt": "1,1,10.00,0.00,10.00,10.00,0.5000,-1,-1\n"
            "2,1,11.17,0.00,10.00,10.00,0.5278,-1,-1\n"
            "3,1,12.35,0.00,10.00,10.00,0.5555,-1,-1\n"
        }

    def test_far_from_the_corner_and_tiny(self, call: Call, tmp_path: Path) -> None:
        """Rows that nothing is done to keep their numbers, where a float32 would not."""
        text = "1,1,1234567.89,-7654321.01,0.01,98765.43,0.1235,1,0.123456789\n"
        (tmp_path / "x.txt").write_text(text)
        assert call("x.txt", "--max-gap", "1", "--smoothing", "3", "-o", "out").code == 0
        assert content(tmp_path / "out") == {"x.txt": text}

    def test_stride(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("1,1,0,0,9,9,1,1,-1\n5,1,8,0,9,9,1,1,-1\n")
        assert call("x.txt", "--max-gap", "3", "--stride", "2", "-o", "out").code == 0
        assert read_tracks(tmp_path / "out" / "x.txt").frames.tolist() == [1, 3, 5]
        code, _, err = call("x.txt", "--max-gap", "3", "--stride", "3", "-o", "out")
        assert code == 1
        assert "x.txt: expected frames of a track to be a multiple of 3 apart, found id 1" in err

    def test_settings_of_a_file_and_the_environment(
        self, call: Call, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "my.toml").write_text("[refine]\nmax_gap = 1\nmin_length = 2\n")

        def frames(*flags: str) -> list[int]:
            assert call("tracks/a.txt", "-c", "my.toml", "-o", "out", *flags).code == 0
            return list(read_tracks(tmp_path / "out" / "a.txt").frames)

        assert frames() == [1, 4]
        assert frames("--max-gap", "2") == [1, 2, 3, 4]
        monkeypatch.setenv("MOTRAIL_REFINE_MAX_GAP", "2")
        assert frames() == [1, 2, 3, 4]

    def test_a_second_run_replaces_the_first(
        self, call: Call, results: Path, tmp_path: Path
    ) -> None:
        for _ in range(2):
            assert call("tracks", "--max-gap", "2", "-o", "out").code == 0
        assert content(tmp_path / "out")["a.txt"] == FILLED

    def test_for_programs(self, results: Path, tmp_path: Path) -> None:
        seen: list[tuple[str, int, int | None]] = []
        done = refine_files(
            results,
            tmp_path / "out",
            RefineSettings(max_gap=2),
            progress=lambda *step: seen.append(step),
        )
        assert [(file.sequence, file.filled_boxes) for file in done] == [("a", 2), ("b", 0)]
        assert seen == [("refining", 1, 2), ("refining", 2, 2)]


class TestRefused:
    def test_nothing_switched_on(self, call: Call, results: Path, tmp_path: Path) -> None:
        code, _, err = call("tracks", "-o", "out")
        assert code == 2
        assert "nothing to do: switch on --offline, or some of --max-gap (usually 20)" in err
        assert "--min-length (5), or set them in a section [refine] of the --config file" in err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("source", "output"),
        [
            ("tracks", "tracks"),
            ("tracks/a.txt", "tracks"),
            ("tracks/a.txt", "tracks/a.txt"),
            ("tracks", "link"),
            ("tracks/a.txt", "link/a.txt"),
        ],
    )
    def test_over_its_input(
        self, call: Call, results: Path, tmp_path: Path, source: str, output: str
    ) -> None:
        (tmp_path / "link").symlink_to(results)
        before = content(results)
        code, _, err = call(source, "--max-gap", "2", "-o", output)
        assert code == 2
        assert "a.txt: is what is read itself; choose another place with -o" in err
        assert content(results) == before

    def test_names_of_other_classes(self, call: Call, results: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "labels.txt").write_text("van\ncar\n")
        code, _, err = call("tracks", "--max-gap", "2", "-o", "out")
        assert code == 2
        assert "out/labels.txt: names other classes than tracks/labels.txt; the results" in err
        (results / "labels.txt").unlink()
        code, _, err = call("tracks", "--max-gap", "2", "-o", "out")
        assert code == 2
        assert "out/labels.txt: names classes, which the tracks do not; choose another" in err
        assert content(tmp_path / "out") == {"labels.txt": "van\ncar\n"}

    @pytest.mark.parametrize(
        ("source", "output", "code", "message"),
        [
            ("nothing", "out", 1, "nothing: cannot be read"),
            ("empty", "out", 1, "empty: expected tracks in files SEQUENCE.txt, found none"),
            ("tracks/labels.txt", "out", 1, "labels.txt: holds the names of classes; give a track"),
            ("tracks", "x.txt", 2, "x.txt: expected a folder for the files of tracks"),
            ("tracks/a.txt", "labels.txt", 2, "labels.txt: is the name of the list of classes"),
            ("tracks", "full", 1, "a.txt: cannot be written: there is a folder of that name"),
            ("tracks", "bare", 1, "bare: cannot be written: there is a file of that name where"),
        ],
    )
    def test_places(
        self,
        call: Call,
        results: Path,
        tmp_path: Path,
        source: str,
        output: str,
        code: int,
        message: str,
    ) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "full" / "a.txt").mkdir(parents=True)
        (tmp_path / "bare").write_text("")
        found, _, err = call(source, "--max-gap", "2", "-o", output)
        assert found == code
        assert message in err

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1,1,0,0,9,9,1,1,-1\n" * 2, "b.txt: expected each id once in a frame, found 1 twice"),
            ("4000001,1,0,0,9,9,1,1,-1\n", "b.txt: expected frames 1 to 4,000,000, found 4000001"),
            ("1,1,0,0,9,9\n", "b.txt:1: expected 9 or 10 columns, found 6"),
        ],
    )
    def test_a_bad_file_leaves_nothing(
        self, call: Call, results: Path, tmp_path: Path, text: str, message: str
    ) -> None:
        (results / "b.txt").write_text(text)
        code, _, err = call("tracks", "--max-gap", "2", "-o", "out")
        assert code == 1
        assert message in err
        assert content(tmp_path / "out") == {}

    def test_a_full_disk_leaves_nothing(
        self, call: Call, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish = TrackFileWriter.finish

        def full(writer: TrackFileWriter) -> None:
            if writer.path.name == "a.txt":
                raise OutputError(f"{writer.path}: cannot be written: the disk is full")
            finish(writer)

        monkeypatch.setattr(TrackFileWriter, "finish", full)
        code, _, err = call("tracks", "--max-gap", "2", "-o", "out")
        assert code == 1
        assert "out/a.txt: cannot be written: the disk is full" in err
        assert content(tmp_path / "out") == {}

    def test_values_out_of_range(self, call: Call, results: Path) -> None:
        code, _, err = call("tracks", "--max-gap", "-2", "-o", "out")
        assert code == 2
        assert "max_gap: expected from 0 to 10000, found -2" in err
        code, _, err = call("tracks", "--max-gap", "2", "--stride", "0", "-o", "out")
        assert code == 2
        assert "stride: expected 1 or more, found 0" in err


HIDDEN = (9, 10, 11)
CELL = 8  # a bright cell of this size is seen as a box of 16 × 16 around it
HIDING, STAYING = 64, 16  # left and top of two of them


def footage(folder: Path, hidden: Sequence[int] = HIDDEN) -> Path:
    """Twenty pictures of two bright cells, of which the lower one is hidden for a while."""
    folder.mkdir()
    for number in range(1, 21):
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        for place in [STAYING] if number in hidden else [STAYING, HIDING]:
            image[place : place + CELL, place : place + CELL] = 255
        assert cv2.imwrite(str(folder / f"{number:02}.png"), image)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_bundle(folder / "spots")
    footage(folder / "clip")
    return folder


@pytest.fixture
def track(capsys: pytest.CaptureFixture[str], tmp_path: Path, scene: Path) -> Call:
    command = caller(capsys, "track")

    def call(name: str, *flags: object) -> Any:
        words = [scene / "clip", "-m", scene / "spots", "-o", tmp_path / name]
        return command(*words, "--trail-seconds", "0", *flags)

    return call


def drawn(video: Path) -> list[bool]:
    """Whether the coloured edge of a box is drawn around the hiding cell, in each frame."""
    answer = []
    for frame in open_source(video):
        around = frame.image[HIDING - 6 : HIDING + 14, HIDING - 6 : HIDING + 14].astype(int)
        colour = around.max(axis=2) - around.min(axis=2)
        answer.append(bool((colour > 60).sum() > 20))
    return answer


class TestTracking:
    def test_the_video_shows_what_was_filled(self, track: Call, tmp_path: Path) -> None:
        assert track("plain").code == 0
        result = track("filled", "--max-gap", "3", "--json")
        assert (result.code, result.err) == (0, "")
        document = json.loads(result.out)
        assert document["settings"]["refine"] == asdict(RefineSettings(max_gap=3))
        counts = {key: document[key] for key in ("frames", "boxes", "tracks", "filled_boxes")}
        assert counts == {"frames": 20, "boxes": 40, "tracks": 2, "filled_boxes": 3}
        assert document["removed_tracks"] == 0
        seen = [number not in HIDDEN for number in range(1, 21)]
        assert drawn(tmp_path / "plain" / "clip.mp4") == seen
        assert drawn(tmp_path / "filled" / "clip.mp4") == [True] * 20
        before = (tmp_path / "plain" / "clip.txt").read_text().splitlines()
        after = (tmp_path / "filled" / "clip.txt").read_text().splitlines()
        assert set(before) <= set(after)
        extra = [line.split(",") for line in after if line not in before]
        assert [int(cells[0]) for cells in extra] == list(HIDDEN)
        boxes = np.array(extra)[:, 2:6].astype(float)
        np.testing.assert_allclose(boxes, [[60, 60, 16, 16]] * 3, atol=0.05)

    def test_filled_boxes_are_marked(
        self, track: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marked = []
        draw = TrackDrawer.draw

        def spy(drawer: TrackDrawer, *words: Any, filled: Any = None, **options: Any) -> Any:
            marked.append(None if filled is None else filled.tolist())
            return draw(drawer, *words, filled=filled, **options)

        monkeypatch.setattr(TrackDrawer, "draw", spy)
        assert track("out", "--max-gap", "3").code == 0
        hiding = read_tracks(tmp_path / "out" / "clip.txt").boxes_xywh[:2, 0] > HIDING - CELL
        assert marked == [hiding.tolist() if n in HIDDEN else None for n in range(1, 21)]

    def test_same_tracks_without_the_video(self, track: Call, tmp_path: Path) -> None:
        flags = ["--max-gap", "3", "--smoothing", "2"]
        assert track("with", *flags).code == 0
        assert track("without", *flags, "--no-video").code == 0
        without = content(tmp_path / "without")
        assert without.keys() == {"clip.txt", "labels.txt"}
        assert (tmp_path / "with" / "clip.txt").read_text() == without["clip.txt"]

    def test_the_file_can_be_refined_later(self, track: Call, call: Call, tmp_path: Path) -> None:
        assert track("now", "--max-gap", "3", "--no-video").code == 0
        assert track("plain", "--no-video").code == 0
        assert call("plain", "--max-gap", "3", "-o", "later").code == 0
        assert content(tmp_path / "later") == content(tmp_path / "now")

    def test_off_is_as_without(self, track: Call, tmp_path: Path) -> None:
        flags = ["--max-gap", "0", "--smoothing", "0", "--min-length", "0"]
        for name, words in (("plain", []), ("off", flags)):
            assert track(name, *words).code == 0
        for name in ("clip.txt", "clip.mp4", "labels.txt"):
            pair = [(tmp_path / folder / name).read_bytes() for folder in ("plain", "off")]
            assert pair[0] == pair[1]

    def test_summary(self, track: Call) -> None:
        lines = track("out", "--max-gap", "3", "--min-length", "18", "--no-video").out.splitlines()
        assert "refined  0 boxes filled in, 1 short or weak tracks left out" in lines
        result = track("out", "--min-length", "21", "--no-video")
        assert result.err == (
            "note: all 2 tracks were seen in fewer than 21 frames; lower --min-length\n"
        )

    def test_stride(self, track: Call, tmp_path: Path) -> None:
        """Frames 1, 4, 7, 10 … are looked at; in 10 the spot is hidden, which misses 5."""
        for gap, frames in ((5, [1, 4, 7, 10, 13, 16, 19]), (4, [1, 4, 7, 13, 16, 19])):
            assert track("out", "--stride", "3", "--max-gap", gap).code == 0
            rows = read_tracks(tmp_path / "out" / "clip.txt")
            assert rows.frames[rows.boxes_xywh[:, 0] > 40].tolist() == frames
            assert sum(drawn(tmp_path / "out" / "clip.mp4")) == len(frames)

    def test_a_picture_that_cannot_be_read_is_filled_in(
        self, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = footage(tmp_path / "clip", hidden=())
        (folder / "05.png").write_bytes(b"scratched")
        words = [folder, "-m", scene / "spots", "-o", tmp_path / "out", "--max-gap", "1", "--json"]
        document = json.loads(caller(capsys, "track")(*words).out)
        assert (document["broken_frames"], document["filled_boxes"]) == (1, 2)
        assert set(read_tracks(tmp_path / "out" / "clip.txt").frames) == set(range(1, 21))
        assert len(drawn(tmp_path / "out" / "clip.mp4")) == 19

    @pytest.mark.parametrize(
        ("gone", "message"),
        [("12.png", "found frame 13 in place of frame 12"), ("20.png", "found none in place of")],
    )
    def test_footage_that_changes_meanwhile(
        self, scene: Path, tmp_path: Path, gone: str, message: str
    ) -> None:
        folder = footage(tmp_path / "clip")
        settings = Settings(refine=RefineSettings(max_gap=3))
        detector = load_detector(str(scene / "spots"))

        def meddle(summary: Summary) -> None:
            if summary.drawn == 1:
                (folder / gone).unlink()

        source = open_source(folder)
        with pytest.raises(VideoError, match=f"clip: expected the same frames .* {message}"):
            track_source(source, detector, settings, tmp_path / "out", progress=meddle)
        assert content(tmp_path / "out") == {}

    def test_both_passes_are_counted(self, scene: Path, tmp_path: Path) -> None:
        settings = Settings(refine=RefineSettings(max_gap=3), video=VideoSettings(end=4))
        seen = []
        summary = track_source(
            open_source(scene / "clip", end=4),
            load_detector(str(scene / "spots")),
            settings,
            tmp_path,
            progress=lambda summary: seen.append((summary.frames, summary.drawn)),
        )
        assert seen == [(1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (4, 3), (4, 4)]
        assert "drawn" not in summary.as_dict()

    @pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
    def test_a_pipe_cannot_be_read_twice(
        self, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        words = [tmp_path / "pipe.mp4", "-m", scene / "spots", "-o", tmp_path / "out"]
        code, _, err = caller(capsys, "track")(*words, "--max-gap", "3")
        assert code == 1
        assert "found a device or pipe; record it to a file first" in err

    @pytest.mark.skipif(os.name != "posix", reason="needs POSIX terminals")
    def test_a_bar_for_each_pass(self, scene: Path, tmp_path: Path) -> None:
        pty = pytest.importorskip("pty")
        ours, theirs = pty.openpty()
        words = [scene / "clip", "-m", scene / "spots", "-o", tmp_path / "out", "--max-gap", "3"]
        with subprocess.Popen(
            [sys.executable, "-m", "motrail", "track", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        ) as running:
            os.close(theirs)
            shown = b""
            try:
                while chunk := os.read(ours, 4096):
                    shown += chunk
            except OSError:  # how Linux says that the other end was closed
                pass
            assert running.wait(60) == 0
        os.close(ours)
        for stage in (b"tracking", b"drawing"):
            assert stage in shown
        assert b"20/20" in shown
