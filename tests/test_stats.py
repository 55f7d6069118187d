"""Figures of a dataset, worked out by hand, and the picture of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from motrail.dataset.folder import DatasetWriter
from motrail.dataset.stats.compute import Stats, compute_stats, draw_stats
from motrail.dataset.stats.panels import clean, printable
from motrail.dataset.stats.tally import Distribution, Tally, spread_of
from motrail.errors import ConfigError, FormatError, OutputError
from motrail.formats.labels import Labels, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from motrail.formats.faults import Fault

PERSON, CAR = 0, 1
# frame, id, left, top, width, height, class, visibility, ignore
ROWS = [
    (1, 1, 10, 10, 20, 40, PERSON, 1.0, 0),
    (1, 2, 100, 20, 50, 30, CAR, 0.0, 0),
    (2, 1, 20, 10, 20, 40, PERSON, 0.3, 0),
    (4, 1, 20, 10, 20, 40, PERSON, -1, 0),
    (4, 3, 0, 0, 90, 90, PERSON, 0.9, 1),
]


def labels(name: str, rows: Sequence[Sequence[float]], **rest: Any) -> Labels:
    table = np.array(rows, np.float64).reshape(-1, 9)
    usual: dict[str, Any] = {"width": 200, "height": 100, "length": 5, "frame_rate": 10.0}
    whole = table[:, [0, 1, 6]].astype(np.int64).T
    return Labels.of(
        name,
        ["person", "car"],
        whole[0],
        whole[1],
        table[:, 2:6],
        whole[2],
        visibility=table[:, 7],
        ignore=table[:, 8] == 1,
        **(usual | rest),
    )


def dataset(path: Path, **splits: list[Labels]) -> Path:
    path.mkdir()
    with DatasetWriter(path) as writer:
        for split, sequences in splits.items():
            for sequence in sequences:
                writer.add(sequence, split)
        writer.finish()
    return path


@pytest.fixture
def stats(tmp_path: Path) -> Stats:
    return compute_stats(dataset(tmp_path / "data", all=[labels("a", ROWS)]))


def test_counts(stats: Stats) -> None:
    (split,) = stats.splits
    assert (split.name, split.sequences, split.frames, split.labelled) == ("all", 1, 5, 3)
    assert stats.classes == ("person", "car")
    total, person, car = split.total, split.classes["person"], split.classes["car"]
    assert [g.boxes for g in (total, person, car)] == [4, 3, 1]
    assert [g.ignored for g in (total, person, car)] == [1, 1, 0]
    assert [g.objects for g in (total, person, car)] == [2, 1, 1]
    assert [g.frames for g in (total, person, car)] == [3, 3, 1]


def test_boxes_per_frame_count_empty_frames_too(stats: Stats) -> None:
    (split,) = stats.splits
    found = split.total.per_frame
    assert found is not None  # 2, 1, 0, 1, 0
    assert (found.count, found.minimum, found.median, found.maximum) == (5, 0, 1, 2)
    assert found.mean == pytest.approx(0.8)
    car = split.classes["car"].per_frame
    assert car is not None
    assert (car.mean, car.median, car.p95) == (0.2, 0, 1)


def test_sizes(stats: Stats) -> None:
    total = stats.splits[0].total
    assert total.width is not None
    assert (total.width.minimum, total.width.mean, total.width.maximum) == (20, 27.5, 50)
    assert total.width.median == pytest.approx(20, rel=0.006)
    assert total.height is not None
    assert total.height.p5 == pytest.approx(30, rel=0.006)
    assert total.area is not None
    assert (total.area.minimum, total.area.maximum) == (800, 1500)
    assert total.aspect is not None
    assert total.aspect.minimum == 0.5
    assert total.aspect.maximum == pytest.approx(5 / 3)
    assert (total.small, total.medium, total.large) == (0.75, 0.25, 0)


@pytest.mark.parametrize(
    ("side", "shares"),
    [(31.99, (1, 0, 0)), (32, (0, 1, 0)), (95.99, (0, 1, 0)), (96, (0, 0, 1))],
)
def test_where_small_ends_and_large_begins(
    tmp_path: Path, side: float, shares: tuple[int, int, int]
) -> None:
    one = labels("a", [(1, 1, 0, 0, side, side, PERSON, -1, 0)])
    total = compute_stats(dataset(tmp_path / "data", all=[one])).splits[0].total
    assert (total.small, total.medium, total.large) == shares


def test_tracks(stats: Stats) -> None:
    total = stats.splits[0].total
    assert total.track_length is not None
    assert (total.track_length.minimum, total.track_length.maximum) == (1, 3)
    assert (total.gaps, total.gap_frames) == (1, 1)  # away in frame 3
    assert total.motion is not None  # 10 px of 40, then nothing
    assert (total.motion.count, total.motion.maximum, total.motion.mean) == (2, 0.25, 0.125)
    assert total.motion.minimum == total.motion.p5 == 0


def test_motion_across_a_gap_is_shared_among_its_frames(tmp_path: Path) -> None:
    rows = [(1, 1, 0, 0, 10, 10, PERSON, -1, 0), (4, 1, 0, 30, 10, 10, PERSON, -1, 0)]
    total = compute_stats(dataset(tmp_path / "data", all=[labels("a", rows)])).splits[0].total
    assert total.motion is not None
    assert total.motion.maximum == pytest.approx(1)  # three heights in three frames
    assert (total.gaps, total.gap_frames) == (1, 2)


def test_frames_without_picture_or_label_do_not_count(tmp_path: Path) -> None:
    pictures = {}
    for number in (2, 4, 6):
        pictures[number] = tmp_path / f"{number:06d}.png"
        cv2.imwrite(str(pictures[number]), np.zeros((100, 200, 3), np.uint8))
    rows = [(n, 1, 10 * n, 0, 10, 10, PERSON, -1, 0) for n in (2, 6)]
    path = dataset(tmp_path / "data", all=[labels("a", rows, length=600, pictures=pictures)])
    for number, picture in pictures.items():
        picture.rename(path / "all" / "a" / "img1" / f"{number:06d}.png")
    (split,) = compute_stats(path).splits
    assert split.frames == 3
    assert (split.total.gaps, split.total.gap_frames) == (1, 1)  # frame 4
    assert split.total.motion is not None
    assert split.total.motion.maximum == pytest.approx(2)  # four heights in two frames


def test_visibility(stats: Stats) -> None:
    total = stats.splits[0].total
    assert total.visibility == (1, 0, 0, 1, 0, 0, 0, 0, 0, 1)
    assert total.visibility_unknown == 1


def test_density_of_a_sequence(stats: Stats) -> None:
    (sequence,) = stats.sequences
    assert sequence.density_frames.tolist() == [1, 2, 3, 4, 5]
    assert sequence.density.tolist() == [2, 1, 0, 1, 0]
    assert (sequence.boxes, sequence.objects, sequence.frames) == (4, 2, 5)


def test_density_of_a_long_sequence_is_in_200_parts(tmp_path: Path) -> None:
    rows = [(n, 1, 0, 0, 9, 9, PERSON, -1, 0) for n in range(1, 501)]
    path = dataset(tmp_path / "data", all=[labels("a", rows, length=1000)])
    (sequence,) = compute_stats(path).sequences
    assert len(sequence.density) == 200
    assert sequence.density.tolist() == [1] * 100 + [0] * 100
    assert sequence.density_frames[[0, -1]].tolist() == [3, 998]


def test_where_boxes_are(stats: Stats) -> None:
    rows, columns = np.nonzero(stats.histograms.places)
    # Centres (20, 30), (30, 30) twice and (125, 35) in 200x100 pixels, 64 by 36 cells.
    assert list(zip(columns.tolist(), rows.tolist(), strict=True)) == [(6, 10), (9, 10), (40, 12)]
    assert stats.histograms.places[10, 9] == 2
    assert stats.histograms.frame_size == (200, 100)
    assert stats.histograms.same_size


def test_splits_stay_apart(tmp_path: Path) -> None:
    other = labels("b", [(1, 7, 0, 0, 5, 5, CAR, -1, 0)], width=64, height=64)
    path = dataset(tmp_path / "data", train=[labels("a", ROWS)], val=[other])
    found = compute_stats(path)
    assert [(s.name, s.total.boxes) for s in found.splits] == [("train", 4), ("val", 1)]
    assert found.splits[1].classes["person"].boxes == 0
    assert not found.histograms.same_size
    assert [s.name for s in compute_stats(path / "val").splits] == ["val"]


def test_boxes_without_identity_are_no_objects(tmp_path: Path) -> None:
    rows = [(n, -1, 0, 0, 5, 5, CAR, -1, 0) for n in (1, 1, 2)]
    total = compute_stats(dataset(tmp_path / "data", all=[labels("a", rows)])).splits[0].total
    assert (total.boxes, total.objects, total.gaps) == (3, 0, 0)
    assert total.motion is None
    assert total.track_length is None


def test_labels_that_are_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "cam.txt").write_text("3,1,0,0,10,20,0.9,1,-1\n4,1,5,0,10,20,0.8,1,-1\n")
    found = compute_stats(tmp_path / "cam.txt", ReadOptions(size=(64, 48)))
    assert [s.name for s in found.splits] == ["all"]
    assert (found.splits[0].frames, found.splits[0].total.boxes) == (4, 2)
    # Classes without a box are those MOT17 names, not this file.
    assert list(found.splits[0].classes) == ["pedestrian"]


def test_figures_of_mot17(data: Path) -> None:
    # https://motchallenge.net/data/MOT17 counts each of the seven videos three times, once for each
    # set of detections: 15,948 frames, 1,638 tracks, 336,891 boxes.
    (split,) = compute_stats(data / "mot17" / "gt").splits
    assert split.frames == 15_948 / 3
    assert split.classes["pedestrian"].objects == 1_638 / 3
    assert split.classes["pedestrian"].boxes == 336_891 / 3


def test_as_dict_is_json(stats: Stats) -> None:
    found = json.loads(json.dumps(stats.as_dict(), allow_nan=False))
    assert found["splits"][0]["classes"]["car"]["boxes"] == 1
    assert found["splits"][0]["total"]["per_frame"]["maximum"] == 2
    assert found["sequences"][0]["density"] == [2, 1, 0, 1, 0]


def test_rows_to_print(stats: Stats) -> None:
    titles, *rows = stats.rows()
    table = [dict(zip(titles, row, strict=True)) for row in rows]
    assert [row["class"] for row in table] == ["all classes", "person", "car"]
    assert table[0]["boxes/frame"] == 0.8
    assert table[0]["small %"] == 75
    assert table[0]["motion p95 %"] == 25
    assert table[2]["motion p95 %"] == "–"


def test_one_class_is_not_said_twice(tmp_path: Path) -> None:
    one = labels("a", [(1, 1, 0, 0, 5, 5, 0, -1, 0)]).replace(classes=("dog",))
    rows = compute_stats(dataset(tmp_path / "data", all=[one])).rows()
    assert [row[1] for row in rows[1:]] == ["dog"]


def test_faults_are_raised_or_told(tmp_path: Path) -> None:
    path = tmp_path / "cam.txt"
    path.write_text("1,1,0,0,0,20,1,1,1\n1,2,0,0,5,5,1,1,1\n")
    with pytest.raises(FormatError, match="width and height above 0"):
        compute_stats(path)
    told: list[Fault] = []
    assert compute_stats(path, found=told.append).splits[0].total.boxes == 1
    assert [fault.kind for fault in told] == ["size"]


def test_progress_tells_each_sequence(tmp_path: Path) -> None:
    said: list[tuple[str, int]] = []
    path = dataset(tmp_path / "data", all=[labels("a", ROWS), labels("b", ROWS)])
    compute_stats(path, progress=lambda what, done, _total: said.append((what, done)))
    assert said == [("a", 0), ("b", 1)]


def test_percentiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(3, 1.5, 5000)
    groups = rng.integers(0, 3, 5000)
    measure = Distribution()
    for part in np.array_split(np.arange(5000), 7):
        measure.add(groups[part], values[part])
    for group, chosen in ((None, values), (2, values[groups == 2])):
        found = measure.spread(group)
        assert found is not None
        expected = np.percentile(chosen, [5, 25, 50, 75, 95], method="inverted_cdf")
        measured = [found.p5, found.p25, found.median, found.p75, found.p95]
        assert measured == pytest.approx(expected.tolist(), rel=0.006)
        assert found.mean == pytest.approx(chosen.mean())
        assert (found.minimum, found.maximum) == (chosen.min(), chosen.max())


def test_whole_numbers_are_exact() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 300, 100_000)
    tally = Tally()
    for part in np.array_split(values, 50):
        tally.add(np.zeros_like(part), part)
    found = spread_of(tally.of(0))
    assert found is not None
    expected = np.percentile(values, [5, 25, 50, 75, 95], method="inverted_cdf")
    assert [found.p5, found.p25, found.median, found.p75, found.p95] == expected.tolist()
    assert tally.total() == 100_000


def test_extreme_boxes(tmp_path: Path) -> None:
    rows = [
        (1, 1, -1e9, -1e9, 1e-300, 1e9, PERSON, -1, 0),
        (2, 1, 1e9, 1e9, 1e9, 1e-300, PERSON, -1, 0),
    ]
    found = compute_stats(dataset(tmp_path / "data", all=[labels("a", rows)]))
    assert np.isfinite(json.loads(json.dumps(found.as_dict()))["splits"][0]["total"]["area"]["p95"])
    draw_stats(found, tmp_path / "a.png")


def read(path: Path) -> Any:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_the_picture(stats: Stats, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    draw_stats(stats, tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    assert image.shape[1] == 1600
    assert 1000 < image.shape[0] < 1600
    # Each of the three rows of panels shows something, at the left and at the right.
    for part in np.array_split(image[100:], 3):
        for half in np.array_split(part, 2, axis=1):
            assert (half != 255).any(axis=2).mean() > 0.01
    assert dict(mpl.rcParams) == before
    draw_stats(stats, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "data"]


def test_the_picture_shows_the_figures(stats: Stats, tmp_path: Path) -> None:
    more = labels("a", [*ROWS, (5, 9, 150, 60, 20, 30, CAR, 0.5, 0)])
    draw_stats(stats, tmp_path / "a.png")
    draw_stats(compute_stats(dataset(tmp_path / "more", all=[more])), tmp_path / "b.png")
    one, other = read(tmp_path / "a.png"), read(tmp_path / "b.png")
    changed = (one != other).any(axis=2)
    for third in np.array_split(changed[100:], 3):
        assert third.any()


def test_an_svg(stats: Stats, tmp_path: Path) -> None:
    draw_stats(stats, tmp_path / "a.svg")
    draw_stats(stats, tmp_path / "b.SVG")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.SVG").read_bytes()


def test_names_that_are_hard_to_draw(tmp_path: Path) -> None:
    names = ["Fußgänger mit Kinderwagen und Hund", "车辆", "$\\bad$ {x}_y^2", "a$b$c", "\ud800"]
    count = len(names)
    many = [
        Labels.of(
            f"seq $x^{place}$", names, np.ones(count, np.int64), np.arange(count) + 1,
            np.full((count, 4), 9.0), np.arange(count), length=1,
        )
        for place in range(12)
    ]  # fmt: skip
    from motrail.dataset.stats.counts import SplitCounts, histograms

    counts = SplitCounts("all")
    sequences = tuple(counts.add(each) for each in many)
    found = Stats(
        "$\\x", tuple(names), (counts.stats(names, 0),), sequences, histograms([counts])
    )  # fmt: skip
    draw_stats(found, tmp_path / "a.png")
    assert read(tmp_path / "a.png").shape[1] == 1600


def test_a_dataset_without_anything(tmp_path: Path) -> None:
    path = dataset(tmp_path / "data", all=[labels("a", [], length=0)])
    found = compute_stats(path)
    assert found.splits[0].total.boxes == 0
    assert found.splits[0].total.per_frame is None
    draw_stats(found, tmp_path / "a.png")
    # The two rows that are left say that there is nothing.
    assert read(tmp_path / "a.png").shape == (960, 1600, 3)


def test_text_from_elsewhere() -> None:
    assert printable("a\nb\x00\ud800", 9) == "a b ?"
    assert printable("abcdef", 4) == "abc…"
    assert clean("$x$") == r"\$x\$"


def test_a_name_that_is_no_picture(stats: Stats, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.pdf: expected a name that ends in \.png or \.svg, "):
        draw_stats(stats, tmp_path / "a.pdf")
    with pytest.raises(OutputError, match="its folder is not there"):
        draw_stats(stats, tmp_path / "none" / "a.png")
