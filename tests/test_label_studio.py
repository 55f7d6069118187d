"""Label Studio's videos: frames in between, ends of spans, what is refused, there and back."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from motrail.errors import FormatError, OutputError
from motrail.formats.label_studio import json_file as label_studio_json
from motrail.formats.label_studio.reader import read_label_studio
from motrail.formats.label_studio.writer import LabelStudioWriter
from motrail.formats.labels import ClassList, Coded, Labels, ReadOptions
from mutations import nibble

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.formats.faults import Fault

SIZE = ReadOptions(size=(200, 100))


def at(frame: object, x: float = 10, **rest: object) -> dict[str, object]:
    """A keyframe; on 200 × 100 pixels it has left 2x, top 20, width 60, height 40."""
    return {"frame": frame, "x": x, "y": 20, "width": 30, "height": 40, "enabled": True, **rest}


def region(*sequence: object, id_: object = "r1", count: int = 9, **rest: Any) -> dict[str, Any]:
    value = {"labels": ["car"], "framesCount": count, "sequence": list(sequence)}
    value |= rest.pop("value", {})
    return {"id": id_, "type": "videorectangle", "value": value, **rest}


def task(*results: object, video: object = "/data/upload/1/gate.mp4") -> dict[str, Any]:
    return {"id": 5, "data": {"video": video}, "annotations": [{"result": list(results)}]}


def save(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def read(tmp_path: Path, content: object, options: ReadOptions = SIZE) -> Labels:
    (labels,) = read_label_studio(save(tmp_path, content), options)
    return labels


def faults_of(path: Path, options: ReadOptions = SIZE) -> tuple[list[Labels], list[Fault]]:
    faults: list[Fault] = []
    return list(read_label_studio(path, options, faults.append)), faults


def lefts(labels: Labels, id_: int = 1) -> dict[int, float]:
    rows = labels[labels.ids == id_].in_order()
    return dict(zip(rows.frames.tolist(), rows.boxes_xywh[:, 0].tolist(), strict=True))


# The real export: keyframes 769, 797, 823, 852, 870 and 882, which ends the span.


def test_the_real_export(data: Path) -> None:
    source = read_label_studio(
        data / "labels" / "label_studio" / "ls-video.json", ReadOptions(size=(1000, 500))
    )
    assert (source.format, source.count) == ("label-studio", None)
    (labels,) = source
    assert labels.name == "1fd99634-WhatsApp_Video_2021-07-01_at_18.54.09"
    assert (labels.width, labels.height, labels.length) == (1000, 500, 895)
    assert labels.classes == ("Possum",)
    assert labels.frames.tolist() == list(range(769, 883))
    assert labels.frames[labels.keyframe].tolist() == [769, 797, 823, 852, 870, 882]
    assert labels.ids.tolist() == [1] * 114
    assert labels.source_ids.to_list() == ["M-XUImr4kg"] * 114
    boxes = dict(zip(labels.frames.tolist(), labels.boxes_xywh.tolist(), strict=True))
    assert boxes[769] == pytest.approx([0.91666667, 112.5, 565.33333, 240])
    # Half of the way from 769 to 797, and 8 frames of 18 from 852 to 870.
    assert boxes[783] == pytest.approx([37.722222, 118.333333, 618.333333, 240])
    assert boxes[860] == pytest.approx([0.91666667, 145, 649.086420, 240])
    assert boxes[876] == pytest.approx([0.91666667, 145, 621.277778, 240])


def test_without_a_size_the_real_export_says_what_to_give(data: Path) -> None:
    path = data / "labels" / "label_studio" / "ls-video.json"
    message = (
        r"ls-video\.json: annotations\[0\]\.result: expected the size of the video, found none; "
        r"give it with --video V or --size WxH"
    )
    with pytest.raises(FormatError, match=message):
        list(read_label_studio(path))


# What keyframes mean.


def test_boxes_are_in_per_cent_and_move_linearly(tmp_path: Path) -> None:
    last = {"frame": 6, "x": 20, "y": 40, "width": 50, "height": 20, "enabled": False}
    labels = read(tmp_path, task(region(at(2), last)))
    assert labels.frames.tolist() == [2, 3, 4, 5, 6]
    assert labels.boxes_xywh.tolist() == [
        [20, 20, 60, 40],
        [25, 25, 70, 35],
        [30, 30, 80, 30],
        [35, 35, 90, 25],
        [40, 40, 100, 20],
    ]
    assert labels.keyframe.tolist() == [True, False, False, False, True]


def test_a_disabled_keyframe_is_shown_and_ends_the_span(tmp_path: Path) -> None:
    labels = read(tmp_path, task(region(at(1, 0), at(3, 10, enabled=False), at(6, 50), at(7, 60))))
    assert lefts(labels) == {1: 0, 2: 10, 3: 20, 6: 100, 7: 120, 8: 120, 9: 120}


def test_the_last_keyframe_goes_on_to_the_end(tmp_path: Path) -> None:
    assert lefts(read(tmp_path, task(region(at(7))))) == {7: 20, 8: 20, 9: 20}
    unknown = task(region(at(7), count=0))
    assert lefts(read(tmp_path, unknown)) == {7: 20}
    assert read(tmp_path, unknown).length == 7
    assert lefts(read(tmp_path, unknown, ReadOptions(size=(200, 100), length=8))) == {7: 20, 8: 20}


def test_keyframes_in_any_order_and_without_enabled(tmp_path: Path) -> None:
    first = at(3, 5)
    del first["enabled"]
    labels = read(tmp_path, task(region(at(5.0, 15, enabled=False), first)))
    assert lefts(labels) == {3: 10, 4: 20, 5: 30}


# What else is read.


def test_a_turned_box_keeps_its_place_and_has_its_angle(tmp_path: Path) -> None:
    labels = read(tmp_path, task(region(at(1, rotation=12.5), at(3, enabled=False, rotation=0))))
    assert labels.boxes_xywh.tolist() == [[20, 20, 60, 40]] * 3
    assert labels.attributes.to_list() == [{"rotation": 12.5}, {"rotation": 12.5}, None]


def test_our_own_keys(tmp_path: Path) -> None:
    first = at(1, visibility=0.25, ignore=True, attributes={"a": [1, {"b": None}]})
    labels = read(tmp_path, task(region(first, at(3, enabled=False))))
    assert labels.visibility.tolist() == [0.25, 0.25, -1]
    assert labels.ignore.tolist() == [True, True, False]
    own = {"a": [1, {"b": None}]}
    assert labels.attributes.to_list() == [own, own, None]


def test_labels(tmp_path: Path) -> None:
    """The first is the class; older exports have them in a result of their own."""
    apart = {"id": "r1", "type": "labels", "value": {"labels": ["bus"]}}
    labels = read(
        tmp_path,
        task(
            region(at(9), value={"labels": []}),
            region(at(9), id_="r2", value={"labels": ["car", "red", "wet"]}),
            apart,
        ),
    )
    assert labels.classes == ("bus", "car")
    assert labels.class_ids.tolist() == [0, 1]
    assert labels.attributes.to_list() == [None, {"labels": ["red", "wet"]}]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a", "b"], [1, 2]),
        (["7", "3"], [7, 3]),
        ([7, 0], [7, 0]),
        (["7", "b"], [1, 2]),
        (["7", "07"], [1, 2]),
        (["7", "-3"], [1, 2]),
        (["7", "1" * 19], [1, 2]),
    ],
)
def test_ids(tmp_path: Path, names: list[object], ids: list[int]) -> None:
    labels = read(tmp_path, task(*(region(at(9), id_=name) for name in names)))
    assert labels.ids.tolist() == ids
    assert labels.source_ids.to_list() == [str(name) for name in names]


def test_regions_without_an_id(tmp_path: Path) -> None:
    labels = read(tmp_path, task(region(at(9), id_=None), region(at(9), id_=None)))
    assert labels.ids.tolist() == [1, 2]
    assert labels.source_ids.to_list() == [None, None]


def test_size_length_and_rate(tmp_path: Path) -> None:
    one = region(at(1), original_width=100, original_height=50, value={"duration": 0.36})
    labels = read(tmp_path, task(one, region(at(1), id_="r2", count=4)))
    assert (labels.width, labels.height, labels.length) == (100, 50, 9)
    assert labels.frame_rate == pytest.approx(25)
    assert labels.boxes_xywh[0].tolist() == [10, 10, 30, 20]
    given = ReadOptions(size=(200, 100), frame_rate=12.5)
    assert read(tmp_path, task(region(at(1))), given).frame_rate == 12.5
    assert read(tmp_path, task(region(at(1)))).frame_rate == 0


@pytest.mark.parametrize(
    ("video", "name"),
    [
        (
            "https://a.example/data/upload/8/1fd99634-gate_18.54.09.mp4?x=1#t=3",
            "1fd99634-gate_18.54.09",
        ),
        ("/data/local-files/?d=videos%2FMy%20clip.webm", "My clip"),
        ("s3://bucket/a/b/MOT17-02.mp4", "MOT17-02"),
        ("C:\\videos\\door.AVI", "door"),
        ("../../..", "task-5"),
        ("%2e%2e%2fpasswd", "passwd"),
        (".hidden", "hidden"),
        ("a/b/", "task-5"),
        (None, "task-5"),
        ("x" * 500 + ".mp4", "x" * 100),
    ],
)
def test_names(tmp_path: Path, video: object, name: str) -> None:
    assert read(tmp_path, task(region(at(1)), video=video)).name == name


def test_tasks_of_one_video_have_names_of_their_own(tmp_path: Path) -> None:
    path = save(tmp_path, [task(region(at(1))), task(region(at(2)))])
    source = read_label_studio(path, SIZE)
    assert [labels.name for labels in source] == ["gate", "gate-2"]
    assert [labels.name for labels in source] == ["gate", "gate-2"]  # and once more
    nameless = task(region(at(1)), video=None)
    assert read(tmp_path, nameless, ReadOptions(size=(9, 9), name="mine")).name == "mine"


@pytest.mark.parametrize(
    ("marks", "frame"),
    [
        ([{}, {}], 2),
        ([{"updated_at": "2024-02-01T00:00:00Z"}, {"updated_at": "2024-01-31T00:00:00Z"}], 1),
        ([{"ground_truth": True}, {"updated_at": "2024"}], 1),
        ([{}, {"was_cancelled": True, "ground_truth": True}], 1),
    ],
)
def test_which_annotation_counts(
    tmp_path: Path, marks: list[dict[str, object]], frame: int
) -> None:
    annotations = [
        {"result": [region(at(n, enabled=False))], **mark} for n, mark in enumerate(marks, start=1)
    ]
    labels = read(tmp_path, {"data": {}, "annotations": annotations})
    assert labels.frames.tolist() == [frame]


def test_tasks_that_nobody_has_annotated_are_left_out(tmp_path: Path) -> None:
    skipped = {"annotations": [], "predictions": [{"result": [region(at(1))]}]}
    empty = {"annotations": [{"result": []}], "data": {"video": "b.mp4"}}
    path = save(tmp_path, [skipped, task(region(at(1))), empty])
    first, second = read_label_studio(path, SIZE)
    assert (first.name, second.name, len(second)) == ("gate", "b", 0)
    with pytest.raises(FormatError, match="a task that someone has annotated, found none"):
        list(read_label_studio(save(tmp_path, [skipped]), SIZE))


def test_other_results_are_passed_over(tmp_path: Path) -> None:
    others = [{"type": "choices", "value": {"choices": ["night"]}}, 3, {"type": "textarea"}]
    assert lefts(read(tmp_path, task(*others, region(at(9))))) == {9: 20}


# What is refused.


@pytest.mark.parametrize(
    ("kind", "place", "message", "faulty"),
    [
        ("frame", ".frame", "expected a frame from 1, found 1.5", at(1.5)),
        ("frame", ".frame", "expected a frame from 1, found nothing", at(None)),
        ("frame", ".frame", "expected a frame from 1, found 'x'", at("x")),
        ("frame", ".frame", "expected a frame from 1, found 10000000000", at(10**10)),
        ("frame", ".frame", "expected a frame from 1, found a long number", at(10**50)),
        ("frame", "", "expected a frame of the sequence, 1 to 9, found 0", at(0)),
        ("frame", "", "expected a frame of the sequence, 1 to 9, found 10", at(10)),
        ("number", ".x", "expected a number, found 'a'", at(2, x="a")),  # type: ignore[arg-type]
        ("number", ".x", "expected a number, found true", at(2, x=True)),
        ("number", ".height", "expected a number, found nothing", at(2, height=None)),
        ("number", ".width", "expected a number, found a list", at(2, width=[1])),
        ("number", ".y", "expected a number, found 2000000000", at(2, y=2_000_000_000)),
        ("number", ".rotation", "expected a number, found an object", at(2, rotation={})),
        ("number", ".visibility", "expected a number, found 'low'", at(2, visibility="low")),
        ("number", "", "expected a box in pixels, found 1.9e+09, 20, 60, 40", at(2, 9.5e8)),
        ("size", "", "expected a width and height above 0, found 60 × 0", at(2, height=0)),
        ("visibility", "", "expected a visibility of 0 to 1, or -1 ", at(2, visibility=1.5)),
        ("layout", ".enabled", "expected true or false, found 'true'", at(2, enabled="true")),
        ("layout", ".ignore", "expected true or false, found 1", at(2, ignore=1)),
        ("layout", ".attributes", "expected an object, found 'a'", at(2, attributes="a")),
        ("layout", "", "expected an object, found 7", 7),
    ],
)
def test_faults_in_keyframes(
    tmp_path: Path, kind: str, place: str, message: str, faulty: object
) -> None:
    """Each is named with its place; the rest is read."""
    path = save(tmp_path, [task(region(at(8), faulty, at(9, 30)))])
    start = f"{path}: [0].annotations[0].result[0].value.sequence[1]{place}: {message}"
    with pytest.raises(FormatError) as caught:
        list(read_label_studio(path, SIZE))
    assert str(caught.value).lower().startswith(start.lower())
    (labels,), faults = faults_of(path)
    assert [fault.kind for fault in faults] == [kind]
    assert lefts(labels) == {8: 20, 9: 60}


def test_deep_attributes(tmp_path: Path) -> None:
    deep: object = 1
    for _ in range(20):
        deep = [deep]
    path = save(tmp_path, task(region(at(1, attributes={"a": deep}))))
    message = r"sequence\[0\]\.attributes: expected at most 16 nested values, found more"
    with pytest.raises(FormatError, match=message):
        list(read_label_studio(path, SIZE))


SIZED = {"original_width": 20, "original_height": 10}
GOOD = region(at(9), id_="good", **SIZED)


@pytest.mark.parametrize(
    ("kind", "place", "message", "faulty"),
    [
        (
            "class",
            r"\.value\.labels",
            "expected a label, found none",
            region(value={"labels": None}),
        ),
        ("layout", r"\.value", "an object, found nothing", {"type": "videorectangle"}),
        ("layout", r"\.value\.sequence", "keyframes, found 3", region(value={"sequence": 3})),
        ("duplicate", r"\.id", "each region once, found 'good' again", region(at(1), id_="good")),
        (
            "frame",
            r"\.value\.framesCount",
            "1 to 4000000 frames, found 4000001",
            region(count=4_000_001),
        ),
        ("frame", r"\.value\.framesCount", "frames, found 'x'", region(value={"framesCount": "x"})),
        ("number", "", r"in pixels, found \(0, 10\)", region(original_width=0, original_height=10)),
        ("number", "", r"found \(20, None\)", region(original_width=20)),
        (
            "image-size",
            "",
            "regions on 20×10 as the first, found 21×10; a sequence has one size",
            region(original_width=21, original_height=10),
        ),
    ],
)
def test_faults_in_regions(
    tmp_path: Path, kind: str, place: str, message: str, faulty: object
) -> None:
    path = save(tmp_path, task(GOOD, faulty))
    with pytest.raises(FormatError, match=rf"annotations\[0\]\.result\[1\]{place}: .*{message}"):
        list(read_label_studio(path, SIZE))
    (labels,), faults = faults_of(path)
    assert [fault.kind for fault in faults] == [kind]
    assert labels.source_ids.to_list() == ["good"]


def test_a_frame_twice(tmp_path: Path) -> None:
    path = save(tmp_path, task(region(at(4), at(4, 50))))
    message = (
        r"sequence\[1\]: expected object 1 once in frame 4, found it again "
        r"\(first: annotations\[0\]\.result\[0\]\.value\.sequence\[0\]\)"
    )
    with pytest.raises(FormatError, match=message):
        list(read_label_studio(path, SIZE))


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"", ":1", "expected JSON up to its last bracket, found the end: half-written"),
        (b'[\n{"annotations":\n[', ":3", "expected JSON up to .*half-written"),
        (b'{\n"a" 1}', ":2", "expected JSON, found: JSON is malformed: expected ':'"),
        (b"[NaN]", ":1", "expected JSON, found: JSON is malformed"),
        (b"[1e999]", "", "expected JSON, found: Number out of range"),
        (b"[" + b"1" * 5000 + b"]", "", "expected JSON, found: Integer value out of range"),
        (b'["\xff"]', "", "expected JSON, found: 'utf-8' codec can't decode byte 0xff"),
        ("[]".encode("utf-16"), ":1", "expected JSON, found: "),
        (b"[" * 200_000, "", "expected JSON, found it nested too deeply"),
        (b"[" + b"[]," * 5_000_000 + b"[]]", "", "fits into 1 GB of memory, found 15000004 bytes"),
        (b"null", "", 'expected a task with its "annotations", as in the export named JSON'),
        (b"[[]]", r": \[0\]", 'expected a task with its "annotations"'),
        (b'[{"video": "a.mp4", "box": []}]', r": \[0\]", 'expected a task with its "annotations"'),
        (b"[]", "", "expected a task that someone has annotated, found none"),
        (b'{"annotations": [3]}', "", "expected a task that someone has annotated, found none"),
        (
            b'{"annotations": [{"result": {}}]}',
            r": annotations\[0\]\.result",
            "expected a list of results",
        ),
        (
            b'[{"annotations": [{"result": [{"type": "rectanglelabels"}, {"type": "choices"}]}]}]',
            r": \[0\]\.annotations\[0\]\.result",
            r"boxes in a video \(videorectangle\), found results of type choices, rectanglelabels",
        ),
        (
            json.dumps(task(*(region(at(1), id_=n, count=3_000_000) for n in "ab"))).encode(),
            r": annotations\[0\]\.result",
            "at most 4000000 boxes with .* filled in, found 6000000; see framesCount, and whether",
        ),
    ],
)
def test_broken_and_hostile_files(tmp_path: Path, content: bytes, place: str, message: str) -> None:
    path = save(tmp_path, content)
    with pytest.raises(FormatError, match=rf"a\.json{place}: .*{message}"):
        list(read_label_studio(path, SIZE))
    sequences, faults = faults_of(path)
    assert (sequences, len(faults)) == ([], 1)


def test_a_byte_order_mark(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(task(region(at(9)))).encode()
    assert lefts(read(tmp_path, content)) == {9: 20}


def test_a_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_studio_json, "MAX_ROOM", 100)
    monkeypatch.setattr(label_studio_json, "MAX_BYTES", 100)
    with pytest.raises(FormatError, match="fits into 1 GB of memory, found 101 bytes"):
        read(tmp_path, b"1" * 101)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.json: expected a JSON file, found none"):
        list(read_label_studio(tmp_path / "none.json"))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = save(tmp_path, [task(region(at(0), at(10))), 3, task(region(at(1, x="a"), at(9)))])  # type: ignore[arg-type]
    sequences, faults = faults_of(path)
    assert [fault.place for fault in faults] == [
        "[1]",
        "[0].annotations[0].result[0].value.sequence[0]",
        "[0].annotations[0].result[0].value.sequence[1]",
        "[2].annotations[0].result[0].value.sequence[0].x",
    ]
    assert [len(labels) for labels in sequences] == [0, 1]


def test_damaged_files_are_read_or_refused(data: Path, tmp_path: Path) -> None:
    whole = (data / "labels" / "label_studio" / "ls-video.json").read_bytes()
    pieces = (b"9" * 30, b"-1", b"null", b"{}", b"[", b"1e308", b"true", b'""', b"NaN", b"\x00")
    chance = random.Random(20)  # noqa: S311
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        try:
            read(tmp_path, nibble(whole, chance, pieces))
            outcomes["read"] += 1
        except FormatError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10


# Writing.


def write(folder: Path, *sequences: Labels, classes: ClassList | None = None) -> LabelStudioWriter:
    folder.mkdir(exist_ok=True)
    writer = LabelStudioWriter(folder, classes or ClassList())
    for labels in sequences:
        assert writer.add(labels) == {}
    writer.finish()
    return writer


def assert_same(labels: Labels, other: Labels) -> None:
    """The same, though `other` may have more keyframes."""
    labels, other = labels.in_order(), other.in_order()
    for column in ("frames", "ids", "visibility", "ignore"):
        assert getattr(labels, column).tolist() == getattr(other, column).tolist(), column
    assert np.abs(labels.boxes_xywh - other.boxes_xywh).max(initial=0) < 1e-6
    assert (other.keyframe >= labels.keyframe).all()
    named = [[rows.classes[n] for n in rows.class_ids.tolist()] for rows in (labels, other)]
    assert named[0] == named[1]
    assert labels.attributes.to_list() == other.attributes.to_list()
    for key in ("name", "width", "height", "length"):
        assert getattr(labels, key) == getattr(other, key), key
    assert other.frame_rate == pytest.approx(labels.frame_rate)


def sample(**rest: object) -> Labels:
    """One car; frames 1 to 3 on a line, away in frame 4."""
    boxes = [[20, 20, 60, 40], [30, 20, 60, 40], [40, 20, 60, 40], [0, 0, 10, 10]]
    columns: dict[str, object] = {
        "length": 6, "width": 200, "height": 100, "frame_rate": 25.0, **rest,
    }  # fmt: skip
    return Labels.of(
        "gate",
        ["bus", "car"],
        np.array([1, 2, 3, 5]),
        np.array([7, 7, 7, 7]),
        np.array(boxes, np.float64),
        np.ones(4, np.int64),
        **columns,
    )


def test_what_is_written(tmp_path: Path) -> None:
    keyframe = np.array([True, False, False, True])
    visibility = np.array([0.5, 0.5, 0.5, -1])
    write(tmp_path / "out", sample(keyframe=keyframe, visibility=visibility))
    (written,) = json.loads((tmp_path / "out" / "tasks.json").read_text())
    rest = {"y": 20, "width": 30, "height": 40, "rotation": 0, "visibility": 0.5}
    assert written == {
        "data": {"video": "gate.mp4"},
        "annotations": [
            {
                "result": [
                    {
                        "id": "7",
                        "type": "videorectangle",
                        "from_name": "box",
                        "to_name": "video",
                        "origin": "manual",
                        "original_width": 200,
                        "original_height": 100,
                        "value": {
                            "framesCount": 6,
                            "duration": 0.24,
                            "sequence": [
                                {"frame": 1, "x": 10, "enabled": True, "time": 0.04, **rest},
                                {"frame": 3, "x": 20, "enabled": False, "time": 0.12, **rest},
                                {
                                    "frame": 5,
                                    "x": 0,
                                    "y": 0,
                                    "width": 5,
                                    "height": 10,
                                    "enabled": False,
                                    "rotation": 0,
                                    "time": 0.2,
                                },
                            ],
                            "labels": ["car"],
                        },
                    }
                ],
                "was_cancelled": False,
                "ground_truth": False,
            }
        ],
        "predictions": [],
    }


def test_the_configuration(tmp_path: Path) -> None:
    classes = ClassList(['a<b> & "c"\'\x01'])
    write(tmp_path / "out", sample(), classes=classes)
    view = ET.fromstring((tmp_path / "out" / "labeling-config.xml").read_text())  # noqa: S314
    labels, video, boxes = view
    assert (labels.tag, labels.attrib) == ("Labels", {"name": "label", "toName": "video"})
    assert [label.get("value") for label in labels] == ['a<b> & "c"\'', "bus", "car"]
    assert video.attrib == {"name": "video", "value": "$video", "framerate": "25"}
    assert (boxes.tag, boxes.attrib) == ("VideoRectangle", {"name": "box", "toName": "video"})


def test_there_and_back(tmp_path: Path) -> None:
    attributes = [
        {"labels": ["red"], "rotation": 12.5, "deep": {"a": [1, 2.5, None, True, 'é\n"<']}},
        {"labels": ["red"], "rotation": 0},
        {"labels": ["red"], "rotation": "no angle"},
        {"labels": ["red"]},
    ]
    labels = sample(
        visibility=np.array([1, 0, -1, 1 / 3]),
        ignore=np.array([True, False, False, True]),
        keyframe=np.zeros(4, np.bool_),
        attributes=Coded.of(attributes),
    )
    writer = write(tmp_path / "out", labels)
    assert not writer.notes
    (written,) = json.loads((tmp_path / "out" / "tasks.json").read_text())
    (result,) = written["annotations"][0]["result"]
    assert result["value"]["labels"] == ["car", "red"]
    (back,) = read_label_studio(tmp_path / "out" / "tasks.json")
    assert_same(labels, back)
    assert back.keyframe.all()


def test_labels_that_change_within_a_track_stay_with_the_boxes(tmp_path: Path) -> None:
    attributes = [{"labels": ["red"]}, {"labels": ["red"]}, None, {"labels": "red"}]
    labels = sample(attributes=Coded.of(attributes))
    write(tmp_path / "out", labels)
    (back,) = read_label_studio(tmp_path / "out" / "tasks.json")
    assert_same(labels, back)


def test_only_boxes_off_the_line_become_keyframes(tmp_path: Path) -> None:
    keyframe = np.array([True, False, False, True])
    off = sample(keyframe=keyframe)
    off.boxes_xywh[1, 3] += 1e-5
    for labels, expected in ((sample(keyframe=keyframe), [1, 3, 5]), (off, [1, 2, 3, 5])):
        write(tmp_path / "out", labels)
        (back,) = read_label_studio(tmp_path / "out" / "tasks.json")
        (tmp_path / "out" / "tasks.json").unlink()
        assert_same(labels, back)
        assert back.frames[back.keyframe].tolist() == expected


def test_what_cannot_be_carried_is_noted(tmp_path: Path) -> None:
    labels = sample().replace(ids=np.array([-1, 7, 7, -1]), frame_attributes={1: {"night": True}})
    writer = write(tmp_path / "out", labels, sample(frame_rate=0.0).replace(name="other"))
    assert writer.notes == {
        "boxes without an id, each a region of its own": 2,
        "frames' attributes, for which Label Studio has no place": 1,
        "frame rates not known or not alike: set framerate in labeling-config": 1,
    }
    back, other = read_label_studio(tmp_path / "out" / "tasks.json")
    assert dict(zip(back.frames.tolist(), back.ids.tolist(), strict=True)) == {
        1: 8, 2: 7, 3: 7, 5: 9,
    }  # fmt: skip
    assert (other.name, other.frame_rate) == ("other", 0)


def test_without_a_size_nothing_is_written(tmp_path: Path) -> None:
    writer = LabelStudioWriter(tmp_path, ClassList())
    message = "gate: expected the size of the frames, .*found none; give it with --size WxH"
    with pytest.raises(FormatError, match=message):
        writer.add(sample(width=0))
    assert list(tmp_path.iterdir()) == []


def test_no_sequences_and_none_with_objects(tmp_path: Path) -> None:
    write(tmp_path / "none")
    assert json.loads((tmp_path / "none" / "tasks.json").read_text()) == []
    write(tmp_path / "empty", sample(width=0)[:0])
    (back,) = read_label_studio(tmp_path / "empty" / "tasks.json")
    assert (back.name, len(back)) == ("gate", 0)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    writer = LabelStudioWriter(tmp_path / "none", ClassList())
    with pytest.raises(OutputError, match=r"tasks\.json: cannot be written: its folder is not"):
        writer.add(sample())


def truth(folder: Path, name: str) -> Labels:
    rows = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",", ndmin=2)
    return Labels.of(
        name,
        [f"class {n}" for n in range(1, 13)],
        rows[:, 0].astype(np.int64),
        rows[:, 1].astype(np.int64),
        rows[:, 2:6],
        rows[:, 7].astype(np.int64) - 1,
        visibility=rows[:, 8],
        ignore=rows[:, 6] == 0,
        width=1920,
        height=1080,
        length=int(rows[:, 0].max()),
        frame_rate=30.0,
    )


def test_real_truth_there_and_back(data: Path, tmp_path: Path) -> None:
    """Also as tools fill it in: with every fifth box a keyframe and no others marked."""
    folders = sorted((data / "mot17_mini").iterdir())
    sequences = [truth(folder, folder.name) for folder in folders]
    dense = truth(data / "mot17" / "gt" / "MOT17-09", "MOT17-09")
    sequences += [dense, dense.replace(name="sparse", keyframe=dense.frames % 5 == 0)]
    write(tmp_path / "out", *sequences)
    back = {labels.name: labels for labels in read_label_studio(tmp_path / "out" / "tasks.json")}
    assert len(back) == len(sequences) == 9
    for labels in sequences:
        assert_same(labels, back[labels.name])


def test_the_real_export_there_and_back(data: Path, tmp_path: Path) -> None:
    path = data / "labels" / "label_studio" / "ls-video.json"
    (labels,) = read_label_studio(path, ReadOptions(size=(1280, 720)))
    write(tmp_path / "out", labels)
    (back,) = read_label_studio(tmp_path / "out" / "tasks.json")
    assert_same(labels, back)
    assert back.keyframe.tolist() == labels.keyframe.tolist()
