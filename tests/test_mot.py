"""Track files: written whole, read back, faults named with their line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from motrail import Tracks
from motrail.errors import ConfigError, FormatError, OutputError
from motrail.formats.mot.tracks import LabelsFile, TrackFileWriter, check_labels, read_tracks

if TYPE_CHECKING:
    from pathlib import Path

TRACKS = Tracks([3, 1], [[1.25, 2.0, 11.5, 22], [-4.0, 0, 6, 5]], [0.91234, 0.5], [0, 2], [0, 1])


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with TrackFileWriter(path) as writer:
        writer.write(7, TRACKS)
        writer.write(8, Tracks.empty())
        assert not path.exists()
    assert path.read_text() == (
        "7,3,1.25,2.00,10.25,20.00,0.9123,1,-1\n7,1,-4.00,0.00,10.00,5.00,0.5000,3,-1\n"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with TrackFileWriter(path) as writer:
        writer.write(7, TRACKS)
    rows = read_tracks(path)
    assert rows.frames.tolist() == [7, 7]
    assert rows.ids.tolist() == [3, 1]
    assert rows.classes.tolist() == [1, 3]
    assert rows.visibility.tolist() == [-1, -1]
    assert rows.boxes_xywh.tolist() == [[1.25, 2, 10.25, 20], [-4, 0, 10, 5]]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), TrackFileWriter(path) as writer:
        writer.write(1, TRACKS)
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: its folder is not there"):
        TrackFileWriter(tmp_path / "none" / "a.txt")


def test_ten_columns_of_others(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1,4,889.7,422.6,137.7,520.4,0.94,-1,-1,-1\n\n2,4,1,2,3,4,1,-1,-1,-1\r\n")
    rows = read_tracks(path)
    assert rows.frames.tolist() == [1, 2]
    assert rows.classes.tolist() == [-1, -1]


def test_reference_results_are_read(data: Path) -> None:
    rows = read_tracks(data / "mot17" / "bytetrack_reference" / "default" / "MOT17-09.txt")
    assert len(rows.frames) == 2421


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("")
    assert read_tracks(path).boxes_xywh.shape == (0, 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,0,0,5,5,1,1", "expected 9 or 10 columns, found 8"),
        ("1,1,0,0,5,5,one,1,-1", "expected numbers: .*'one'"),
        ("1,1,0,0,nan,5,1,1,-1", "expected finite numbers"),
        ("0,1,0,0,5,5,1,1,-1", "expected a frame from 1 and an id, found 0, 1"),
        ("1.5,1,0,0,5,5,1,1,-1", "expected a frame from 1"),
        ("1,1,0,0,0,5,1,1,-1", "expected a width and height above 0, found 0, 5"),
        ("1,1,0,0,5,-5,1,1,-1", "expected a width and height above 0, found 5, -5"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"1,1,0,0,5,5,1,1,-1\n{line}\n")
    with pytest.raises(FormatError, match=rf"a\.txt:2: {message}") as caught:
        read_tracks(path)
    assert caught.value.line == 2


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    with LabelsFile(tmp_path, ["person", "sports ball"]):
        assert not path.exists()
    assert path.read_text() == "person\nsports ball\n"
    with LabelsFile(tmp_path, ["person", "sports ball"]):
        pass
    check_labels(tmp_path, ["person", "sports ball"])
    with pytest.raises(ConfigError, match="names other classes than this model"):
        LabelsFile(tmp_path, ["person"])
    assert path.read_text() == "person\nsports ball\n"
    assert list(tmp_path.iterdir()) == [path]
