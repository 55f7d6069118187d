"""MOT folders, CVAT's flavour of them, and track files as labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail.errors import FormatError
from motrail.formats.labels import ClassList, Coded, Labels, ReadOptions, distinct_ids
from motrail.formats.mot.reader import MOT17_CLASSES, read_class_names, read_mot
from motrail.formats.mot.rows import MAX_BYTES
from motrail.formats.mot.writer import MotWriter, write_sequence
from motrail.names import frame_numbers, safe_name, unused_name

INFO = """[Sequence]
name=whatever
imDir=img1
frameRate=25
seqLength=10
imWidth=640
imHeight=360
imExt=.jpg
"""
ROWS = "1,7,10,20.5,30,40,1,1,1\n2,7,11,20.5,30,40,0,1,0.25\n"

Make = Callable[..., Path]

if TYPE_CHECKING:
    from motrail.formats.faults import Fault


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a sequence folder and give its gt.txt."""

    def call(rows: str | bytes = ROWS, info: str | None = INFO, labels: str | None = None) -> Path:
        folder = tmp_path / "clip"
        (folder / "gt").mkdir(parents=True, exist_ok=True)
        path = folder / "gt" / "gt.txt"
        path.write_bytes(rows.encode() if isinstance(rows, str) else rows)
        if info is not None:
            (folder / "seqinfo.ini").write_text(info)
        if labels is not None:
            (folder / "labels.txt").write_text(labels, encoding="utf-8")
        return path

    return call


def one(path: Path, options: ReadOptions | None = None) -> Labels:
    (labels,) = read_mot(path, options)
    return labels


def fault_of(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        list(read_mot(path))
    return str(caught.value)


class TestReading:
    def test_a_sequence(self, make: Make) -> None:
        labels = one(make().parents[1])
        assert labels.name == "clip"  # the folder's name, whatever seqinfo.ini says
        assert labels.classes == MOT17_CLASSES
        assert labels.frames.tolist() == [1, 2]
        assert labels.ids.tolist() == [7, 7]
        assert labels.boxes_xywh.tolist() == [[10, 20.5, 30, 40], [11, 20.5, 30, 40]]
        assert labels.class_ids.tolist() == [0, 0]
        assert labels.visibility.tolist() == [1, 0.25]
        assert labels.ignore.tolist() == [False, True]
        assert labels.keyframe.all()
        assert (labels.width, labels.height, labels.length, labels.frame_rate) == (640, 360, 10, 25)

    def test_all_of_mot17(self, data: Path) -> None:
        total = 0
        for labels in read_mot(data / "mot17" / "gt"):
            path = data / "mot17" / "gt" / labels.name / "gt" / "gt.txt"
            table = np.loadtxt(path, delimiter=",")
            np.testing.assert_array_equal(labels.frames, table[:, 0])
            np.testing.assert_array_equal(labels.ids, table[:, 1])
            np.testing.assert_array_equal(labels.boxes_xywh, table[:, 2:6])
            np.testing.assert_array_equal(labels.ignore, table[:, 6] == 0)
            np.testing.assert_array_equal(labels.class_ids + 1, table[:, 7])
            np.testing.assert_array_equal(labels.visibility, table[:, 8])
            total += len(labels)
        assert total == 204_701

    def test_pictures_by_number(self, data: Path) -> None:
        by_name = {labels.name: labels for labels in read_mot(data / "mot17_mini")}
        assert len(by_name) == 7
        labels = by_name["MOT17-05-FRCNN"]
        assert list(labels.pictures) == [1, 2, 3, 4, 5, 6]
        assert labels.pictures[3].name == "000003.jpg"
        assert labels.length == 837
        assert labels.listed_frames() == [1, 2, 3, 4, 5, 6]

    def test_cvat_flavour(self, make: Make) -> None:
        """Comments, six columns, names beside the file, no seqinfo.ini."""
        path = make("# frame, id, x, y, w, h\n1,0,1,2,3,4\n\n3,0,1,2,3,4\r\n", info=None)
        (path.parent / "labels.txt").write_text("parcel\nenvelope\n")
        labels = one(path.parents[1], ReadOptions(size=(64, 48), frame_rate=5.0))
        assert labels.classes == ("parcel", "envelope")
        assert labels.frames.tolist() == [1, 3]
        assert labels.ids.tolist() == [0, 0]
        assert labels.visibility.tolist() == [-1, -1]
        assert not labels.ignore.any()
        assert (labels.width, labels.height, labels.length, labels.frame_rate) == (64, 48, 3, 5.0)

    def test_results_keep_their_scores(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("car\nvan\n")
        (tmp_path / "a.txt").write_text("1,1,10,20,30,40,0.87,2,-1\n2,1,10,20,30,40,1,2,-1\n")
        (tmp_path / "b.txt").write_text("4,1,10,20,30,40,0.5,-1,-1,-1\n")
        first, second = read_mot(tmp_path)
        assert (first.name, second.name) == ("a", "b")
        assert first.attributes.to_list() == [{"score": 0.87}, {"score": 1.0}]
        assert first.class_ids.tolist() == [1, 1]
        assert second.class_ids.tolist() == [0]
        assert second.attributes.to_list() == [{"score": 0.5}]
        assert not first.ignore.any()

    def test_detections_have_no_identity(self, tmp_path: Path) -> None:
        (tmp_path / "det.txt").write_text("1,-1,1,2,3,4,0.5,-1,-1,-1\n1,-1,1,2,3,4,0.5,-1,-1,-1\n")
        assert one(tmp_path / "det.txt").ids.tolist() == [-1, -1]

    def test_blanks_and_plus_signs(self, make: Make) -> None:
        labels = one(make("\ufeff 1, 2, +3, 4., .5, 6e0, 1, 1, 1 \n"))
        assert labels.boxes_xywh.tolist() == [[3, 4, 0.5, 6]]
        assert one(make("1 2 3 4 5 6\n")).boxes_xywh.tolist() == [[3, 4, 5, 6]]

    def test_lines_of_unequal_length(self, make: Make) -> None:
        labels = one(make("1,1,1,1,9,9,1,1,0.5\n2,1,1,1,9,9\n3,1,1,1,9,9,0,1\n"))
        assert labels.visibility.tolist() == [0.5, -1, -1]
        assert labels.ignore.tolist() == [False, False, True]

    def test_an_empty_file(self, make: Make) -> None:
        labels = one(make(""))
        assert len(labels) == 0
        assert labels.length == 10

    def test_a_file_read_in_blocks(self, make: Make) -> None:
        """Longer than a block, with one line in the slow way."""
        lines = [f"{n},1,{n},2,3,4,1,1,1" for n in range(1, 250_001)]
        lines[200_000] += " # no number"
        path = make("\n".join(lines), INFO.replace("seqLength=10", "seqLength=250000"))
        assert path.stat().st_size > 1 << 22
        faults: list[Fault] = []
        (labels,) = read_mot(path, found=faults.append)
        assert len(labels) == 249_999
        assert [fault.place for fault in faults] == [200_001]
        np.testing.assert_array_equal(labels.frames, [n for n in range(1, 250_001) if n != 200_001])
        np.testing.assert_array_equal(labels.boxes_xywh[:, 0], labels.frames)

    def test_folders_of_the_same_name(self, make: Make, tmp_path: Path) -> None:
        make()
        (tmp_path / "train").mkdir()
        (tmp_path / "clip").rename(tmp_path / "train" / "clip")
        make()
        assert [labels.name for labels in read_mot(tmp_path)] == ["clip", "clip-2"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("1,1,0,0,-5,9,1,1,1\n", ":1: expected a width and height above 0, found -5 × 9"),
            ("1,1,0,0,5,0,1,1,1\n", ":1: expected a width and height above 0, found 5 × 0"),
            ("1,1,nan,0,5,9,1,1,1\n", ":1: expected numbers, found '1,1,nan,0,5,9,1,1,1'"),
            ("1,1,0,0,1e999,9,1,1,1\n", "expected a box of finite numbers, found 0, 0, inf, 9"),
            ("1,1,0,0,1e12,9,1,1,1\n", "expected a box in pixels, found 0, 0, 1e+12, 9"),
            ("0,1,0,0,5,9,1,1,1\n", "expected a frame of the sequence, 1 to 10, found 0"),
            (
                "1,1,0,0,5,9,1,1,1\n11,1,0,0,5,9,1,1,1\n",
                ":2: expected a frame of the sequence, 1 to 10, found 11",
            ),
            (
                "1,1,0,0,5,9,1,1,1\n1,1,0,0,5,9,1,1,1\n",
                ":2: expected object 1 once in frame 1, found it again (first: line 1)",
            ),
            (
                "1,1,0,0,5,9,1,1,1\n2,1,0,0,5,9,1,3,1\n",
                (
                    ":2: expected object 1 to stay 'pedestrian' as at first (line 1), "
                    "found 'car'; an id belongs to one object of one class"
                ),
            ),
            (
                "1,1,0,0,5,9,1,13,1\n",
                (
                    ":1: unknown class: expected one of MOT17, 1 to 12, found 13; "
                    "put a labels.txt with the names of the classes beside it"
                ),
            ),
            ("1,1,0,0,5,9,1,1,7\n", ":1: expected a visibility of 0 to 1, or -1 for unknown"),
            ("1,1,0,0,5,9,0.5,1,1\n", ":1: expected 1 (active) or 0 (ignore) in column 7"),
            ("1.5,1,0,0,5,9,1,1,1\n", ":1: expected a frame number as a whole number, found '1.5'"),
            ("1,x,0,0,5,9,1,1,1\n", ":1: expected numbers separated by commas, found '1,x,0,0,"),
            ("1,1,0,0,5\n", ":1: expected 6 to 10 numbers separated by commas, found 5: '1,1,0,"),
            ("1,1,0,0,5,9,1,1,1\n1,2,0", ":2: expected 6 to 10 numbers separated by commas"),
            (b"\x00\xff\x00", ":1: expected 6 to 10 numbers separated by commas, found 1"),
        ],
    )
    def test_rows(self, make: Make, rows: str, message: str) -> None:
        assert message in fault_of(make(rows))

    def test_unknown_class_with_names(self, make: Make) -> None:
        path = make("1,1,0,0,5,9,1,3,1\n", labels="car\nvan\n")
        assert "unknown class: expected one of labels.txt, 1 to 2, found 3" in fault_of(path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("seqLength=10", "seqLength=ten", "seqLength: expected a whole number above 0"),
            ("seqLength=10", "seqLength=99999999999", "at most 4e+06, found '99999999999'"),
            ("imWidth=640", "imWidth=-640", "imWidth: expected a whole number above 0"),
            (
                "frameRate=25",
                "frameRate=nan",
                "frameRate: expected a number of at least 0.001, at most 10000, found",
            ),
            ("imDir=img1", "imDir=../../etc", "imDir: expected a folder inside, found '../../etc'"),
            ("imDir=img1", "imDir=\0", "imDir: expected a folder inside, found '\\x00'"),
            ("[Sequence]", "[Other]", "expected a section [Sequence]"),
            ("[Sequence]", "", "expected a section [Sequence]"),
        ],
    )
    def test_seqinfo(self, make: Make, old: str, new: str, message: str) -> None:
        found = fault_of(make(info=INFO.replace(old, new)))
        assert "seqinfo.ini: " in found
        assert message in found

    def test_all_faults_at_once(self, make: Make) -> None:
        rows = "1,1,0,0,5,9,1,1,1\n1,1,0,0,5,9,1,1,1\nx\n2,2,0,0,0,9,1,1,1\n3,3,0,0,5,9,1,1,1\n"
        faults: list[Fault] = []
        (labels,) = read_mot(make(rows), found=faults.append)
        assert [(fault.kind, fault.place) for fault in faults] == [
            ("layout", 3),
            ("size", 4),
            ("duplicate", 2),
        ]
        assert labels.frames.tolist() == [1, 3]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("car\ncar\n", ":2: expected each class once, found 'car' in line 1 already"),
            ("car\n\nvan\n", ":2: expected the name of a class, found nothing"),
        ],
    )
    def test_names_of_classes(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "labels.txt"
        path.write_text(text)
        with pytest.raises(FormatError) as caught:
            read_class_names(path)
        assert message in str(caught.value)

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="expected MOT sequences"):
            read_mot(tmp_path)

    def test_a_file_too_large(self, make: Make) -> None:
        path = make("")
        with path.open("r+b") as file:
            file.truncate(MAX_BYTES + 1)
        assert "expected at most 268,435,456 bytes for a sequence" in fault_of(path)


class TestWriting:
    def test_round_trip_of_all_mot17(self, data: Path, tmp_path: Path) -> None:
        writer = MotWriter(tmp_path, ClassList(MOT17_CLASSES))
        before = list(read_mot(data / "mot17" / "gt"))
        for labels in before:
            assert writer.add(labels) == {}
        writer.finish()
        assert not writer.notes
        for unordered, new in zip(before, read_mot(tmp_path), strict=True):
            old = unordered.in_order()
            assert (new.name, new.classes) == (old.name, old.classes)
            for column in ("frames", "ids", "boxes_xywh", "class_ids", "visibility", "ignore"):
                np.testing.assert_array_equal(getattr(new, column), getattr(old, column))
            for key in ("width", "height", "length", "frame_rate"):
                assert getattr(new, key) == getattr(old, key)

    def test_text(self, tmp_path: Path) -> None:
        labels = Labels.of(
            "clip",
            ["car"],
            np.array([2, 1]),
            np.array([1, 1]),
            np.array([[1, 2.25, 3, 4], [1 / 3, 2, 3, 4]]),
            np.array([0, 0]),
            width=64,
            height=48,
            length=5,
            frame_rate=12.5,
            pictures={1: Path("x.PNG")},
        )
        write_sequence(tmp_path / "clip", labels)
        assert (tmp_path / "clip" / "gt" / "gt.txt").read_text() == (
            "1,1,0.3333333333333333,2,3,4,1,1,-1\n2,1,1,2.25,3,4,1,1,-1\n"
        )
        assert (tmp_path / "clip" / "seqinfo.ini").read_text() == (
            "[Sequence]\nname=clip\nimDir=img1\nframeRate=12.5\nseqLength=5\n"
            "imWidth=64\nimHeight=48\nimExt=.png\n"
        )

    def test_what_has_no_place_is_said(self, tmp_path: Path) -> None:
        labels = Labels.of(
            "clip",
            ["car"],
            np.array([1]),
            np.array([1]),
            np.array([[1.0, 2, 3, 4]]),
            np.array([0]),
            keyframe=np.array([False]),
            attributes=Coded[object].of([{"color": "red"}]),
            source_ids=Coded.of(["a"]),
            frame_attributes={1: {"light": "dim"}},
        )
        writer = MotWriter(tmp_path, ClassList())
        writer.add(labels)
        assert sorted(writer.notes) == [
            "MOT files do not tell keyframes from boxes filled in between",
            "attributes of boxes have no place in MOT files and are left out",
            "attributes of frames have no place in MOT files and are left out",
            "source ids of boxes have no place in MOT files and are left out",
        ]


class TestIds:
    def test_numbers_that_count_within_a_class(self) -> None:
        numbers, classes = np.array([1, 2, 1, 1, -1, -1]), np.array([0, 0, 1, 0, 0, 1])
        assert distinct_ids(numbers, classes).tolist() == [1, 2, 3, 1, -1, -1]

    def test_the_first_class_keeps_the_number(self) -> None:
        assert distinct_ids(np.array([5, 5, 6]), np.array([2, 0, 0])).tolist() == [5, 7, 6]

    def test_nothing(self) -> None:
        none = np.empty(0, np.int64)
        assert distinct_ids(none, none).tolist() == []


class TestClassList:
    def test_places_stay(self) -> None:
        classes = ClassList(["car"])
        nothing = np.empty((0, 4))
        empty = np.empty(0, np.int64)
        first = Labels.of("a", ["van", "car"], empty, empty, nothing, empty)
        classes.take(first)
        taken = classes.take(
            Labels.of(
                "b", ["bus", "van"], np.array([1]), np.array([1]), np.ones((1, 4)), np.array([1])
            )
        )
        assert classes.names == ["car", "van", "bus"]
        assert taken.classes == ("car", "van", "bus")
        assert taken.class_ids.tolist() == [1]

    def test_names_are_one_line(self) -> None:
        empty = np.empty(0, np.int64)
        classes = ClassList()
        classes.take(Labels.of("a", ["two\nlines", ""], empty, empty, np.empty((0, 4)), empty))
        assert classes.names == ["two lines", "unnamed"]


class TestNames:
    def test_frame_numbers(self) -> None:
        assert frame_numbers(["000001", "000003"]) == [1, 3]
        assert frame_numbers(["frame_0", "frame_1"]) == [1, 2]
        assert frame_numbers(["cam2-0450", "cam2-0451"]) == [450, 451]
        assert frame_numbers(["b", "a"]) == [2, 1]
        assert frame_numbers(["a1", "b1"]) == [1, 2]
        assert frame_numbers(["1732353600000", "1732353600040"]) == [1, 2]
        assert frame_numbers(["9" * 5000, "1"]) == [2, 1]
        assert frame_numbers([]) == []

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("a/b\\c", "a_b_c"),
            (" .hidden. ", "hidden"),
            ("", "sequence"),
            ("..", "sequence"),
            ("Straße 5 (neu)", "Straße 5 (neu)"),
            ("x" * 300, "x" * 100),
            ("a\x00b\nc", "a_b_c"),
            ("con.txt", "_con.txt"),
            ("é" * 300, "é" * 100),
            ("語" * 300, "語" * 66),
        ],
    )
    def test_safe_name(self, text: str, name: str) -> None:
        assert safe_name(text) == name

    def test_unused_name(self) -> None:
        taken: set[str] = set()
        assert [unused_name(name, taken) for name in ("a", "A", "a", "a-2")] == [
            "a",
            "A-2",
            "a-3",
            "a-2-2",
        ]
