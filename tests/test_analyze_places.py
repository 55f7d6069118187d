"""Zones, lines and teams: what is inside, what is crossed, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import supervision as sv

from motrail.analyze.crossings import find_crossings
from motrail.analyze.presence import bins_of, find_visits, slots
from motrail.analyze.zones import Line, Zone, read_places
from motrail.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UP = Line("up", np.array([[100.0, 300], [100, 0]]))


def cross(
    line: Line,
    ids: NDArray[np.int64],
    times: NDArray[np.float64],
    pixels: NDArray[np.float64],
    margin: float = 3.0,
) -> list[tuple[int, str]]:
    found = find_crossings(line, ids, times, pixels, np.full(len(ids), margin), 1.0)
    ways = ["in" if inwards else "out" for inwards in found.inwards.tolist()]
    return list(zip(ids[found.rows].tolist(), ways, strict=True))


def test_one_crossing_and_where_it_was() -> None:
    times = np.arange(5.0)
    pixels = np.column_stack([[60.0, 80, 110, 130, 150], np.full(5, 50.0)])
    margin = np.full(5, 3.0)
    found = find_crossings(UP, np.ones(5, np.int64), times, pixels, margin, 2.0)
    # From left to right, of a line that is drawn upwards: off its left side.
    assert found.inwards.tolist() == [False]
    assert found.times == pytest.approx([1 + 20 / 30])
    assert found.pixels == pytest.approx(np.array([[100.0, 50]]))
    assert found.rows.tolist() == [2]
    assert found.unseen.tolist() == [False]


@pytest.mark.parametrize("rate", [25.0, 5.0, 2.0])
@pytest.mark.parametrize("gap", [0.0, 3.0])
def test_every_crossing_counts_once(rate: float, gap: float) -> None:
    """Of 60 objects that go over the line, tremble on their way and may vanish on the line."""
    rng = np.random.default_rng(4)
    ids, times, pixels = [], [], []
    for number in range(1, 61):
        time = np.arange(0, 10, 1 / rate)
        meeting = rng.uniform(4, 6)
        time = time[np.abs(time - meeting) >= gap / 2]
        way = 1 if number % 2 else -1
        x = 100 + way * 30 * (time - meeting)
        y = rng.uniform(30, 270) + 0 * time
        ids.append(np.full(len(time), number))
        times.append(time)
        pixels.append(np.column_stack([x, y]) + rng.normal(0, 1.0, (len(time), 2)))
    found = cross(UP, np.concatenate(ids), np.concatenate(times), np.concatenate(pixels))
    assert found == [(number, "out" if number % 2 else "in") for number in range(1, 61)]


def test_who_stands_on_the_line_does_not_cross_it() -> None:
    rng = np.random.default_rng(5)
    ids = np.repeat(np.arange(1, 11), 300)
    pixels = np.column_stack([rng.normal(100, 0.8, 3000), np.full(3000, 90.0)])
    assert not cross(UP, ids, np.tile(np.arange(300) / 25, 10), pixels)


def test_there_and_back_is_two() -> None:
    x = 100 + 40 * np.cos(np.linspace(0, 2 * np.pi, 50))
    pixels = np.column_stack([x, np.full(50, 90.0)])
    found = cross(UP, np.ones(50, np.int64), np.arange(50) / 25, pixels)
    assert found == [(1, "in"), (1, "out")]


def test_round_the_end_of_the_line_is_no_crossing() -> None:
    pixels = np.column_stack([np.linspace(50, 150, 20), np.full(20, 310.0)])
    assert not cross(UP, np.ones(20, np.int64), np.arange(20) / 25, pixels)
    # At a low frame rate both places beside the line are beyond its end, the way is not.
    diagonal = np.array([[60.0, -20], [140, 60]])
    assert cross(UP, np.ones(2, np.int64), np.array([0, 0.5]), diagonal) == [(1, "out")]


def test_two_objects_on_two_sides_are_not_one_that_crosses() -> None:
    pixels = np.array([[60.0, 50], [60, 50], [140, 50], [140, 50]])
    assert not cross(UP, np.array([1, 1, 2, 2]), np.array([0.0, 1, 0, 1]), pixels)
    assert not cross(UP, np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2)))


def test_directions_and_counts_are_those_of_supervision() -> None:
    rng = np.random.default_rng(6)
    lines = ((20.0, 150.0, 280.0, 140.0), (150.0, 280, 140, 20), (250.0, 40, 50, 260))
    for x1, y1, x2, y2 in lines:
        ids = np.repeat(np.arange(1, 31), 80)
        times = np.tile(np.arange(80) / 25, 30)
        angle = rng.uniform(0, 2 * np.pi, 30)
        way = np.linspace(-140, 140, 80)
        pixels = np.concatenate(
            [rng.uniform(110, 190, 2) + np.outer(way, [np.cos(a), np.sin(a)]) for a in angle]
        )
        ours = cross(Line("", np.array([[x1, y1], [x2, y2]])), ids, times, pixels, margin=0.01)
        zone = sv.LineZone(
            sv.Point(x1, y1),
            sv.Point(x2, y2),
            triggering_anchors=[sv.Position.BOTTOM_CENTER],
        )
        theirs = []
        for step in range(80):
            rows = np.arange(30) * 80 + step
            boxes = np.hstack([pixels[rows] - (5, 10), pixels[rows] + (5, 0)])
            inwards, outwards = zone.trigger(sv.Detections(boxes, tracker_id=ids[rows]))
            theirs += [(int(n), "in") for n in ids[rows][inwards]]
            theirs += [(int(n), "out") for n in ids[rows][outwards]]
        # supervision asks where the object stands, not where it crossed: near ends they may differ.
        assert len(ours) > 10
        assert len(set(ours) ^ set(theirs)) <= 2


def test_what_is_inside() -> None:
    zone = Zone("bent", np.array([[0.0, 0], [100, 0], [100, 100], [50, 30], [0, 100]]))
    points = np.array([[50.0, 20], [50, 60], [10, 70], [90, 70], [-5, 5], [200, 5], [np.nan, 1]])
    assert zone.holds(points).tolist() == [True, False, True, True, False, False, False]


@pytest.mark.parametrize("scale", [0.02, 1e6])
def test_zones_of_any_size_and_anywhere(scale: float) -> None:
    zone = Zone("", np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) * scale - 7)
    points = np.array([[0.9, 0.9], [-0.9, 0], [1.1, 0]]) * scale - 7
    assert zone.holds(points).tolist() == [True, True, False]


def test_visits_outlast_trembling_and_end_with_gaps() -> None:
    times = np.array([0, 0.1, 0.2, 0.3, 0.4, 1.0, 1.1, 1.2, 4.0, 4.1])
    ids = np.ones(10, np.int64)
    inside = np.array([1, 1, 0, 1, 1, 0, 0, 1, 1, 1], np.bool_)
    seconds = slots(ids, times, 1.0, 0.1)
    assert seconds == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1])
    found = find_visits(ids, times, seconds, inside, 1.0)
    # Out for one row: on. Inside until 0.4, which stands for the time until 1.0, and again at 1.2:
    # on. Not seen from 1.2 to 4: another visit.
    assert found.first.tolist() == [0, 8]
    assert found.seconds == pytest.approx([1.3, 0.2])


def test_bins_are_round_numbers() -> None:
    assert [bins_of(s) for s in (0.04, 240, 241, 36_000, 1e8)] == [1, 1, 2, 300, 432_000]


FILE = """
[zones.a]
polygon = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
[lines.b]
start = [0, 5]
end = [10, 5]
[teams.red]
ids = [1, 2]
[teams.blue]
ids = [3]
"""


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "zones.toml"
    path.write_text(FILE)
    places = read_places(path, None)
    assert [zone.name for zone in places.zones] == ["a"]
    assert places.zones[0].polygon.tolist() == [[0, 0], [10, 0], [10, 10], [0, 10]]
    assert places.lines[0].ends.tolist() == [[0, 5], [10, 5]]
    assert places.teams == {1: "red", 2: "red", 3: "blue"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[10, 0], [10, 10]", "[10, 10], [10, 0]"), "zones.a: side 1 crosses side 3"),
        (("[10, 10], [0, 10], [0, 0]]", "[5, 0]]"), "enclose no area"),
        (("[10, 10], [0, 10], [0, 0]]", "[10, 0]]"), "at least three different corners"),
        (("[10, 10], [0, 10], [0, 0]]", "]"), "should have at least 3 items"),
        (("end = [10, 5]", "end = [0, 5]"), "lines.b: start and end are the same place"),
        (("end = [10, 5]", 'end = [10, 5]\nunit = "m"'), "give --calibration"),
        (("ids = [3]", "ids = [2]"), "teams.blue: id 2 is in team 'red' already"),
        (("ids = [3]", "ids = [true]"), "should be a valid integer"),
        (("[zones.a]", "[zone.a]"), "zone: Extra inputs are not permitted"),
        (("[[0, 0]", "[[inf, 0]"), "zones.a.polygon.0.0"),
    ],
)
def test_files_that_are_none(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "zones.toml"
    path.write_text(FILE.replace(*change, 1))
    with pytest.raises(FormatError) as caught:
        read_places(path, None)
    assert message in str(caught.value)
