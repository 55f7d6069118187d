"""CVAT's XML: the frames in between, where spans end, what is refused, and there and back."""

from __future__ import annotations

import io
import random
import re
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail.errors import FormatError, OutputError
from motrail.formats.cvat import document as cvat_document
from motrail.formats.cvat import xml as cvat_xml
from motrail.formats.cvat.reader import read_cvat
from motrail.formats.cvat.writer import CvatWriter
from motrail.formats.labels import ClassList, Coded, Labels, ReadOptions
from mutations import nibble

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.formats.faults import Fault

BOX = 'xtl="10" ytl="20" xbr="40" ybr="60"'
SHOWN = f'<box frame="0" {BOX}/>'


def document(tracks: str, meta: str = "<stop_frame>9</stop_frame>") -> str:
    return f"<annotations>\n<meta><task>{meta}</task></meta>\n{tracks}\n</annotations>\n"


def track(*boxes: str, head: str = 'id="0" label="car"') -> str:
    return f"<track {head}>" + "\n".join(boxes) + "</track>"


def box(frame: int, left: float, **flags: object) -> str:
    rest = "".join(f' {name}="{value}"' for name, value in flags.items())
    sides = f'xtl="{left}" ytl="0" xbr="{left + 10}" ybr="20"'
    return f'<box frame="{frame}" {sides}{rest}></box>'


def read(
    tmp_path: Path, text: str | bytes, options: ReadOptions | None = None, name: str = "a.xml"
) -> Labels:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    (labels,) = read_cvat(path, options)
    return labels


def lefts(labels: Labels, id_: int = 0) -> dict[int, float]:
    rows = labels[labels.ids == id_].in_order()
    return dict(zip(rows.frames.tolist(), rows.boxes_xywh[:, 0].tolist(), strict=True))


def faults_of(path: Path, options: ReadOptions | None = None) -> list[Fault]:
    faults: list[Fault] = []
    list(read_cvat(path, options, faults.append))
    return faults


# The real export: 10 frames, `player` away in CVAT's frames 5 and 6.


def test_the_real_export(data: Path) -> None:
    source = read_cvat(data / "labels" / "cvat" / "annotations.xml")
    assert (source.format, source.count) == ("cvat", 1)
    (labels,) = source
    assert labels.name == "cvat"  # the folder's; the file names no video
    assert (labels.width, labels.height, labels.length) == (640, 360, 10)
    assert labels.classes == ("player", "referee")
    player, referee = labels[labels.ids == 0], labels[labels.ids == 1]
    assert player.frames.tolist() == [1, 2, 3, 4, 5, 8, 9, 10]
    assert referee.frames.tolist() == list(range(1, 11))
    assert player.keyframe.tolist() == [True, False, False, False, True, True, True, False]
    assert referee.keyframe.all()
    assert player.boxes_xywh[3] == pytest.approx([206.22, 148.71, 27.6, 57.97])
    assert player.boxes_xywh[5] == pytest.approx([206.9, 148.63, 25.4, 60.21])
    assert player.boxes_xywh[7] == pytest.approx([204.84, 148.63, 25.4, 60.21])
    assert referee.boxes_xywh[2] == pytest.approx([546.44, 145.06, 29.21, 57.39])
    assert player.class_ids.tolist() == [0] * 8
    assert referee.source_ids.to_list() == ["1"] * 10
    assert (labels.visibility == -1).all()
    assert not labels.ignore.any()
    assert labels.attributes.to_list() == [None] * 18


def test_keyframes_alone_give_the_same_boxes(data: Path, tmp_path: Path) -> None:
    text = (data / "labels" / "cvat" / "annotations.xml").read_text()
    (whole,) = read_cvat(data / "labels" / "cvat" / "annotations.xml")
    sparse, count = re.subn(r'<box frame="\d+" keyframe="0".*?</box>', "", text, flags=re.DOTALL)
    assert count == 4
    labels = read(tmp_path, sparse)
    assert labels.frames.tolist() == whole.frames.tolist()
    assert labels.keyframe.tolist() == whole.keyframe.tolist()
    assert np.abs(labels.boxes_xywh - whole.boxes_xywh).max() < 1e-9


# What keyframes mean.


def test_in_between_boxes_move_linearly_also_towards_one_outside(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        document(track(box(0, 0), box(4, 8), box(7, 20, outside=1), box(8, 100), box(9, 50))),
    )
    assert lefts(labels) == {1: 0, 2: 2, 3: 4, 4: 6, 5: 8, 6: 12, 7: 16, 9: 100, 10: 50}
    keyframes = labels.frames[labels.keyframe]
    assert keyframes.tolist() == [1, 5, 9, 10]


def test_the_last_keyframe_stands_still_up_to_the_end(tmp_path: Path) -> None:
    assert lefts(read(tmp_path, document(track(box(7, 3))))) == {8: 3, 9: 3, 10: 3}
    ended = document(track(box(7, 3), box(9, 3, outside=1)))
    assert lefts(read(tmp_path, ended)) == {8: 3, 9: 3}
    no_end = document(track(box(7, 3)), meta="")
    assert lefts(read(tmp_path, no_end)) == {8: 3}
    assert read(tmp_path, no_end).length == 8
    assert lefts(read(tmp_path, no_end, ReadOptions(length=9))) == {8: 3, 9: 3}
    by_size = document(track(box(7, 3)), meta="<size>9</size>")
    assert lefts(read(tmp_path, by_size)) == {8: 3, 9: 3}


def test_a_place_without_size_pulls_no_box_towards_it(tmp_path: Path) -> None:
    nowhere = '<box frame="3" outside="1" xtl="0" ytl="0" xbr="0" ybr="0"/>'
    labels = read(tmp_path, document(track(box(0, 90), nowhere)))
    assert lefts(labels) == {1: 90, 2: 90, 3: 90}
    first = document(track(nowhere, box(5, 90), box(6, 90, outside=1)))
    assert lefts(read(tmp_path, first)) == {6: 90}


def test_boxes_the_file_has_filled_in_stay_as_they_are(tmp_path: Path) -> None:
    labels = read(tmp_path, document(track(box(0, 0), box(1, 7, keyframe=0), box(2, 8, outside=1))))
    assert lefts(labels) == {1: 0, 2: 7}
    assert labels.keyframe.tolist() == [True, False]


def test_boxes_in_any_order(tmp_path: Path) -> None:
    labels = read(tmp_path, document(track(box(4, 8), box(6, 0, outside=1), box(0, 0))))
    assert lefts(labels) == {1: 0, 2: 2, 3: 4, 4: 6, 5: 8, 6: 4}


def test_frames_are_those_of_the_video_also_with_start_and_step(tmp_path: Path) -> None:
    meta = "<start_frame>100</start_frame><stop_frame>121</stop_frame>"
    meta += "<frame_filter>step=5</frame_filter>"
    labels = read(tmp_path, document(track(box(100, 0), box(110, 8)), meta))
    assert lefts(labels) == {101: 0, 106: 4, 111: 8, 116: 8, 121: 8}
    assert labels.length == 122


def test_a_task_that_starts_late_and_says_only_its_size(tmp_path: Path) -> None:
    meta = "<size>3</size><start_frame>10</start_frame><frame_filter>step=4</frame_filter>"
    labels = read(tmp_path, document(track(box(10, 0)), meta))
    assert lefts(labels) == {11: 0, 15: 0, 19: 0}
    assert labels.length == 19


# What else is read.


def test_attributes_and_columns(tmp_path: Path) -> None:
    inside = (
        '<attribute name="visibility">0.25</attribute><attribute name="ignore">true</attribute>'
        '<attribute name="colour">dark &amp; red</attribute><attribute name="empty"/>'
    )
    other = '<attribute name="visibility">low</attribute><attribute name="ignore">never</attribute>'
    labels = read(
        tmp_path,
        document(
            track(
                f'<box frame="0" occluded="1" z_order="2" rotation="12.5" {BOX}>{inside}</box>',
                f'<box frame="2" {BOX}>{other}</box>',
                f'<box frame="3" {BOX}><attribute name="ignore">false</attribute></box>',
                f'<box frame="4" outside="1" {BOX}/>',
                head='id="7" label="car" source="auto" group_id="3"',
            )
        ),
    )
    first = {
        "occluded": True,
        "z_order": 2,
        "rotation": 12.5,
        "group_id": 3,
        "source": "auto",
        "colour": "dark & red",
        "empty": "",
    }
    third = {"group_id": 3, "source": "auto", "visibility": "low", "ignore": "never"}
    last = {"group_id": 3, "source": "auto"}
    assert labels.attributes.to_list() == [first, first, third, last]
    assert labels.visibility.tolist() == [0.25, 0.25, -1, -1]
    assert labels.ignore.tolist() == [True, True, False, False]
    assert labels.source_ids.to_list() == ["7"] * 4


def test_an_attribute_called_as_a_flag_of_cvat_wins(tmp_path: Path) -> None:
    inside = '<attribute name="occluded">half</attribute>'
    text = document(track(f'<box frame="9" occluded="1" {BOX}>{inside}</box>'))
    assert read(tmp_path, text).attributes.to_list() == [{"occluded": "half"}]


def test_tracks_without_id_come_after_those_with(tmp_path: Path) -> None:
    last = f'<box frame="9" {BOX}/>'
    named = track(last, head='id="4" label="car"')
    nameless = track(last, head='label="car"')
    assert read(tmp_path, document(nameless + named + nameless)).ids.tolist() == [5, 4, 6]
    assert read(tmp_path, document(nameless * 2)).ids.tolist() == [0, 1]


def test_classes_are_those_of_the_meta_part_then_as_they_appear(tmp_path: Path) -> None:
    attribute = "<attributes><attribute><name>colour</name></attribute></attributes>"
    labels = f"<label><name>bus</name>{attribute}</label><label><name>car</name></label>"
    meta = f"<labels>{labels}</labels>"
    tracks = track(SHOWN, head='id="0" label="tram"') + track(SHOWN, head='id="1" label="car"')
    found = read(tmp_path, document(tracks, meta))
    assert found.classes == ("bus", "car", "tram")
    assert found.class_ids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("meta", "options", "file", "name"),
    [
        ("<name>Task 1</name><source>cut.03.MP4</source>", None, "x.xml", "cut.03"),
        ("<name>gate.mp4</name>", None, "x.xml", "gate"),
        ("<name>v1.5</name>", "mine", "x.xml", "v1.5"),
        ("<name> </name>", "mine", "x.xml", "mine"),
        ("", None, "x.xml", "x"),
        ("<name>../../etc/passwd</name>", None, "x.xml", "_.._etc_passwd"),
        ("<source>/home/u\\../clip.mkv</source>", None, "x.xml", "clip"),
    ],
)
def test_names(tmp_path: Path, meta: str, options: str | None, file: str, name: str) -> None:
    labels = read(tmp_path, document(track(SHOWN), meta), ReadOptions(name=options), file)
    assert labels.name == name


def test_annotations_xml_is_called_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "gate 3"
    folder.mkdir()
    assert read(folder, document(track(SHOWN)), name="annotations.xml").name == "gate 3"


@pytest.mark.parametrize(
    "meta",
    [
        "<meta><task><original_size><width>64</width><height>48</height></original_size></task></meta>",
        "<meta><job><original_size><width>64</width><height>48</height></original_size></job></meta>",
        "<meta><original_size><width>64</width><height>48</height></original_size></meta>",
        "",
    ],
)
def test_the_size(tmp_path: Path, meta: str) -> None:
    text = f"<annotations>{meta}{track(SHOWN)}</annotations>"
    options = ReadOptions(size=(9, 9) if meta else (64, 48), frame_rate=12.5)
    labels = read(tmp_path, text, options)
    assert (labels.width, labels.height, labels.frame_rate) == (64, 48, 12.5)


def test_a_file_without_boxes_is_a_sequence_without_objects(tmp_path: Path) -> None:
    labels = read(tmp_path, document(""))
    assert (len(labels), labels.length) == (0, 10)
    assert (len(read(tmp_path, "<annotations/>")), labels.name) == (0, "a")


def test_a_folder_has_a_sequence_for_each_file(tmp_path: Path) -> None:
    for file, name in (("b.xml", "gate"), ("a.xml", "gate"), ("c.xml", "door")):
        text = document(track(SHOWN), f"<name>{name}</name>")
        (tmp_path / file).write_text(text)
    (tmp_path / "notes.txt").write_text("none")
    source = read_cvat(tmp_path)
    assert source.count == 3
    assert [labels.name for labels in source] == ["gate", "gate-2", "door"]
    assert [labels.name for labels in source] == ["gate", "gate-2", "door"]  # and once more


def test_images(tmp_path: Path) -> None:
    """`CVAT for images`: boxes stand alone."""
    text = (
        '<annotations><image id="0" name="a.png" width="64" height="48">'
        f'<box label="car" {BOX}/><box label="bus" group_id="2" {BOX}/><tag label="x"/></image>'
        '<image id="1" name="../b.png" width="64" height="48"/>'
        f'<image id="2" name="sub/c.png" width="64" height="48"><box label="car" {BOX}/></image>'
        "</annotations>"
    )
    for name in ("b.png", "images/a.png", "images/sub/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    labels = read(tmp_path, text)
    assert labels.frames.tolist() == [1, 1, 3]
    assert labels.ids.tolist() == [-1, -1, -1]
    assert labels.boxes_xywh.tolist() == [[10, 20, 30, 40]] * 3
    assert labels.attributes.to_list() == [None, {"group_id": 2}, None]
    assert labels.source_ids.to_list() == [None] * 3
    assert (labels.width, labels.height, labels.length) == (64, 48, 3)
    images = tmp_path / "images"
    assert labels.pictures == {1: images / "a.png", 3: images / "sub" / "c.png"}


def test_pictures_exported_with_a_video(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("frame_000000.PNG", "frame_000009.PNG", "frame_000010.PNG", "other.png"):
        (images / name).touch()
    labels = read(tmp_path, document(track(SHOWN)))
    assert labels.pictures == {1: images / "frame_000000.PNG", 10: images / "frame_000009.PNG"}


# A .zip, as CVAT exports it.


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return bytearray(memory.getvalue())


def test_an_export(data: Path, tmp_path: Path) -> None:
    text = (data / "labels" / "cvat" / "annotations.xml").read_bytes()
    export = packed({"images/frame_000000.PNG": b"", "annotations.xml": text})
    labels = read(tmp_path, bytes(export), name="match 3.zip")
    assert (labels.name, len(labels)) == ("match 3", 18)
    assert list(tmp_path.iterdir()) == [tmp_path / "match 3.zip"]  # nothing was unpacked


def test_a_fault_inside_an_export_is_named(tmp_path: Path) -> None:
    export = packed({"../../annotations.xml": b"<annotations>\n</oops>"})
    with pytest.raises(FormatError, match=r"a\.zip/annotations\.xml:2: expected XML in UTF-8"):
        read(tmp_path, bytes(export), name="a.zip")


def encrypted() -> bytes:
    export = packed({"annotations.xml": b"<annotations/>"})
    export[6] |= 1
    export[export.index(b"PK\1\2") + 8] |= 1
    return bytes(export)


def long_directory() -> bytes:
    export = packed({"annotations.xml": b"<annotations/>"})
    at = export.index(b"PK\5\6") + 12
    export[at : at + 4] = (1 << 26).to_bytes(4, "little")
    return bytes(export)


@pytest.mark.parametrize(
    ("export", "message"),
    [
        (packed({"a.txt": b""}), r"expected one annotations\.xml in the \.zip, found 0"),
        (packed({"a/annotations.xml": b"", "b/annotations.xml": b""}), "found 2"),
        (packed({"a.xml": b"<annotations/>"}, zipfile.ZIP_LZMA), "deflated or stored, found anoth"),
        (packed({"a.xml": b"<annotations/>"})[:60], r"as CVAT exports it, found a broken one: "),
        (encrypted(), r"found a broken one: .*encrypted"),
        (long_directory(), "list of files of at most 33554432 bytes, found 67108864"),
    ],
)
def test_broken_exports(tmp_path: Path, export: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, bytes(export), name="a.zip")


def test_what_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cvat_xml, "MAX_BYTES", 1 << 20)
    bomb = packed({"annotations.xml": b"<annotations>" + b" " * (3 << 20)})
    assert len(bomb) < 10_000
    with pytest.raises(FormatError, match="expected at most 1 GB of XML, found more"):
        read(tmp_path, bytes(bomb), name="a.zip")


# What is refused.

FAULTS = [
    ("number", 'expected a number as xtl, found "nan"', box(0, 0).replace('"0" ytl', '"nan" ytl')),
    ("number", "expected a number as ybr, found '1e10'", box(0, 0).replace('"20"', '"1e10"')),
    ("number", "expected a number as xbr, found '1_0'", box(0, 0).replace('"10"', '"1_0"')),
    ("number", "expected a number as z_order, found 'up'", box(0, 0, z_order="up")),
    ("number", "expected a number as rotation, found ''", box(0, 0, rotation="")),
    (
        "layout",
        "expected a box with xtl, ytl, xbr and ybr, found no ytl",
        SHOWN.replace("ytl", "y"),
    ),
    ("layout", "expected outside to be 0 or 1, found 'yes'", box(0, 0, outside="yes")),
    ("layout", "expected keyframe to be 0 or 1, found '2'", box(0, 0, keyframe="2")),
    ("frame", "expected a frame of 0 to 3999999, found '-1'", box(-1, 0)),
    ("frame", "expected a frame of 0 to 3999999, found '4000000'", box(4_000_000, 0)),
    ("frame", "expected a frame of 0 to 3999999, found '" + "9" * 40, box(int("9" * 4000), 0)),
    ("frame", "expected a frame of 0 to 3999999, found ''", f"<box {BOX}/>"),
    (
        "frame",
        "expected a frame of the task, 0 to 9 in steps of 1, found 10; frames are numbered as in",
        box(10, 0),
    ),
    (
        "size",
        "expected a width and height above 0, found -5 × 20",
        box(0, 0).replace('"10"', '"-5"'),
    ),
    ("duplicate", "expected object 0 once in frame 9, found it again (first: line 3)", box(8, 0)),
    ("layout", "expected boxes, found <polygon>; only boxes are read", "<polygon/>"),
    ("layout", "expected boxes, found <skeleton>; only boxes are read", "<skeleton/>"),
]


@pytest.mark.parametrize(("kind", "message", "faulty"), FAULTS)
def test_faults_in_boxes(tmp_path: Path, kind: str, message: str, faulty: str) -> None:
    """Each is named with its line; the rest is read."""
    text = document(track(box(8, 1), faulty, box(9, 2)))
    message = message.replace('"', "'")
    with pytest.raises(FormatError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'a.xml'}:4: {message}")
    assert caught.value.line == 4
    faults: list[Fault] = []
    (labels,) = read_cvat(tmp_path / "a.xml", None, faults.append)
    assert [fault.kind for fault in faults] == [kind]
    assert lefts(labels) == {9: 1, 10: 2}


@pytest.mark.parametrize(
    ("meta", "faulty", "kind", "message"),
    [
        (
            "",
            track(SHOWN, head='id="1.5" label="a"'),
            "number",
            "a whole number from 0, found '1.5'",
        ),
        ("", track(SHOWN, head='id="-1" label="a"'), "number", "expected a track id.*found '-1'"),
        ("", track(SHOWN, head='id="1"'), "class", "expected a track with a label, found none"),
        (
            "",
            track(SHOWN) * 2,
            "duplicate",
            r"each track once, found track 0 again \(first: line 3",
        ),
        ("<start_frame>x</start_frame>", "", "number", "start_frame of 0 to 3999999, found 'x'"),
        ("<stop_frame>4000000</stop_frame>", "", "number", "stop_frame .*found '4000000'"),
        ("<start_frame>5</start_frame><stop_frame>4</stop_frame>", "", "number", "stop_frame of 5"),
        ("<size>-3</size>", "", "number", "expected a size of 0 to 4000000, found '-3'"),
        ("<frame_filter>every 3</frame_filter>", "", "number", "as step=2, found 'every 3'"),
        ("<frame_filter>step=0</frame_filter>", "", "number", "as step=2, found 'step=0'"),
        (
            "<original_size><width>0</width><height>9</height></original_size>",
            "",
            "number",
            "expected a width of 1 to 1000000, found '0'",
        ),
        ("<start_frame>1</start_frame>", track(SHOWN), "frame", "1 to the end .*found 0"),
        ("<frame_filter>step=2</frame_filter>", track(box(3, 0)), "frame", "steps of 2, found 3"),
        ("", f'<image id="0"><box {BOX}/></image>', "class", "expected a box with a label"),
        ("", '<image id="x"/>', "frame", "expected an image id, found 'x'"),
        ("", '<image id="3"/><image id="3"/>', "duplicate", "each image once, found 3 again"),
        (
            "",
            '<image id="0" width="4" height="3"/><image id="1" width="5" height="3"/>',
            "image-size",
            "images of 4×3 as the first, found 5×3; a sequence has one size",
        ),
    ],
)
def test_faults_elsewhere(tmp_path: Path, meta: str, faulty: str, kind: str, message: str) -> None:
    with pytest.raises(FormatError, match=rf"a\.xml:[23]: .*{message}"):
        read(tmp_path, document(faulty, meta))
    (fault,) = faults_of(tmp_path / "a.xml")
    assert fault.kind == kind


def test_an_outside_box_past_the_end_is_passed_over(tmp_path: Path) -> None:
    labels = read(tmp_path, document(track(box(8, 1), box(10, 5, outside=1))))
    assert lefts(labels) == {9: 1, 10: 1}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(document(track(box(-1, 0), box(99, 0), box(1, 0))))
    (tmp_path / "b.xml").write_text("<annotations>")
    (tmp_path / "c.xml").write_text(document(track(SHOWN), "<size>x</size>"))
    kinds = [(str(fault.path)[-5:], fault.kind, fault.place) for fault in faults_of(tmp_path)]
    assert kinds == [
        ("a.xml", "frame", 3),
        ("a.xml", "frame", 4),
        ("b.xml", "layout", 1),
        ("c.xml", "number", 2),
    ]


HOSTILE = [
    (b"", "expected XML up to </annotations>, found the end .*half-written"),
    (b"<annotations>\n<track", r"a\.xml:2: expected XML up to .*half-written"),
    (b"<annotations>\n<meta>\n", r"a\.xml:3: expected XML up to .*half-written"),
    (b"<annotations><a></b>", "expected XML in UTF-8, found a fault in it: mismatched tag"),
    (b"<annotations>\xe9</annotations>", "expected XML in UTF-8, found a fault in it: not well-"),
    (b"<annotations>&x;</annotations>", "found a fault in it: undefined entity"),
    (b"<annotations/><annotations/>", "junk after document element"),
    (b"<View/>", "expected CVAT's <annotations>, found <View>"),
    (b'<!DOCTYPE a [<!ENTITY b "bb">]><annotations/>', "expected no DOCTYPE and no ENTITY"),
    (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "expected no DOCTYPE and no"),
    (b"<annotations>" + b"<a>" * 100_000, "expected at most 16 nested elements, found more"),
    (b"<annotations><!--" + b"x" * 3_000_000, "expected tags of less than 1 MB, found more"),
    (b'<annotations a="' + b"x" * 3_000_000, "expected tags of less than 1 MB, found more"),
    (
        b"<annotations><meta><task><name>" + b"x" * 100_000,
        "expected at most 65536 characters of text, found more",
    ),
    (
        b"<annotations>" + b"".join(b"<a%d/>" % n for n in range(30_000)),
        "expected at most 10000 names, found more",
    ),
    (
        b"<annotations><meta><task><labels>"
        + b"".join(b"<label><name>%d</name></label>" % n for n in range(10_001)),
        "expected at most 10000 labels, found more",
    ),
    (
        b"<annotations><meta><project><tasks><task/><task/>",
        "expected one task, found a project of several; export them one by one",
    ),
    (
        document(
            track(SHOWN) + track(SHOWN).replace('id="0"', 'id="1"'),
            "<stop_frame>3999999</stop_frame>",
        ).encode(),
        "at most 4000000 boxes with .* filled in, found 8000000; see stop_frame, and whether",
    ),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE)
def test_hostile_files(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, content)
    assert len(faults_of(tmp_path / "a.xml")) == 1


@pytest.mark.parametrize(
    ("bound", "value", "message"),
    [
        ("MAX_BOXES", 1, "expected at most 1 boxes, found more; export jobs one by one"),
        ("MAX_DISTINCT", 1, "expected attributes that boxes share, found too many texts"),
        ("MAX_DISTINCT_TEXT", 3, "expected attributes that boxes share, found too many texts"),
    ],
)
def test_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, message: str
) -> None:
    monkeypatch.setattr(cvat_document, bound, value)
    inside = '<attribute name="a">{}</attribute>'
    boxes = [f'<box frame="{n}" {BOX}>{inside.format(n * 1000)}</box>' for n in range(2)]
    with pytest.raises(FormatError, match=message):
        read(tmp_path, document(track(*boxes)))


def test_the_bound_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cvat_xml, "MAX_DISTINCT", 1)
    with pytest.raises(FormatError, match="expected at most 1 images, found more"):
        read(tmp_path, document('<image id="0"/><image id="1"/>'))


def test_a_folder_without_xml(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match=r"expected \.xml files of CVAT in the folder, found none"
    ):
        read_cvat(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.xml: expected a file of CVAT, found none"):
        list(read_cvat(tmp_path / "none.xml"))


def test_damaged_files_are_read_or_refused(data: Path, tmp_path: Path) -> None:
    whole = (data / "labels" / "cvat" / "annotations.xml").read_bytes()
    pieces = (b"9" * 30, b"-", b"nan", b"<box/>", b"</track>", b"<track>", b"&#0;", b"\x00", b'"')
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


def write(folder: Path, *sequences: Labels, classes: ClassList | None = None) -> CvatWriter:
    folder.mkdir(exist_ok=True)
    writer = CvatWriter(folder, classes or ClassList())
    for labels in sequences:
        assert writer.add(labels) == {}
    writer.finish()
    return writer


def assert_same(labels: Labels, other: Labels) -> None:
    """The same but for the order of rows and the numbers of classes."""
    labels, other = labels.in_order(), other.in_order()
    for column in ("frames", "ids", "visibility", "ignore", "keyframe"):
        assert getattr(labels, column).tolist() == getattr(other, column).tolist(), column
    assert np.abs(labels.boxes_xywh - other.boxes_xywh).max(initial=0) < 1e-6
    named = [[rows.classes[n] for n in rows.class_ids.tolist()] for rows in (labels, other)]
    assert named[0] == named[1]
    assert labels.attributes.to_list() == other.attributes.to_list()
    for key in ("name", "width", "height", "length"):
        assert getattr(labels, key) == getattr(other, key), key


def sample(**rest: object) -> Labels:
    """Two cars; the first is away in frame 3 and there to the end."""
    columns: dict[str, object] = {"length": 5, "width": 640, "height": 480, **rest}
    return Labels.of(
        "gate",
        ["bus", "car"],
        np.array([1, 2, 4, 5, 2]),
        np.array([7, 7, 7, 7, 8]),
        np.array([[1, 2, 3, 4], [1.5, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [5, 5, 5, 5], [9, 9, 9, 9]]),
        np.ones(5, np.int64),
        **columns,
    )


def test_what_is_written(tmp_path: Path) -> None:
    labels = sample(visibility=np.array([-1, 0.5, -1, -1, -1]), ignore=np.arange(5) == 4)
    write(tmp_path / "out", labels)
    declared = (
        "<attributes><attribute><name>visibility</name><mutable>True</mutable>"
        "<input_type>text</input_type><default_value></default_value><values></values></attribute>"
        "<attribute><name>ignore</name><mutable>True</mutable><input_type>checkbox</input_type>"
        "<default_value>false</default_value><values>false</values></attribute></attributes>"
    )
    flags = 'occluded="0" z_order="0"'
    half = '<attribute name="visibility">0.5</attribute>'
    assert (tmp_path / "out" / "gate.xml").read_text() == (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        "<meta><task>\n<name>gate</name><size>5</size><mode>interpolation</mode>"
        "<start_frame>0</start_frame><stop_frame>4</stop_frame><frame_filter></frame_filter>\n"
        f"<labels>\n<label><name>bus</name>{declared}</label>\n"
        f"<label><name>car</name>{declared}</label>\n</labels>\n"
        "<original_size><width>640</width><height>480</height></original_size>\n</task></meta>\n"
        '<track id="7" label="car">\n'
        f'<box frame="0" keyframe="1" outside="0" xtl="1" ytl="2" xbr="4" ybr="6" {flags}></box>\n'
        f'<box frame="1" keyframe="1" outside="0" xtl="1.5" ytl="2" xbr="4.5" ybr="6" {flags}>'
        f"{half}</box>\n"
        f'<box frame="2" keyframe="1" outside="1" xtl="1.5" ytl="2" xbr="4.5" ybr="6" {flags}>'
        f"{half}</box>\n"
        f'<box frame="3" keyframe="1" outside="0" xtl="0.1" ytl="0.2" xbr="0.4" '
        f'ybr="0.6000000000000001" {flags}></box>\n'
        f'<box frame="4" keyframe="1" outside="0" xtl="5" ytl="5" xbr="10" ybr="10" {flags}>'
        "</box>\n"
        '</track>\n<track id="8" label="car">\n'
        f'<box frame="1" keyframe="1" outside="0" xtl="9" ytl="9" xbr="18" ybr="18" {flags}>'
        '<attribute name="ignore">true</attribute></box>\n'
        f'<box frame="2" keyframe="1" outside="1" xtl="9" ytl="9" xbr="18" ybr="18" {flags}>'
        '<attribute name="ignore">true</attribute></box>\n'
        "</track>\n</annotations>\n"
    )


def test_there_and_back(tmp_path: Path) -> None:
    attributes = [
        {
            "occluded": True,
            "z_order": -2,
            "source": "auto",
            "group_id": 4,
            "note": "a<b>&'\"\r\n\té",
        },
        {"rotation": 90.5, "source": "auto", "group_id": 4, "occluded": "half"},
        {"source": "auto", "group_id": 4, "two words": ""},
        {"source": "auto", "group_id": 4},
        {"source": "by hand"},
    ]
    labels = sample(
        visibility=np.array([1, 0, -1, 1 / 3, 0.5]),
        ignore=np.array([True, False, False, True, False]),
        keyframe=np.array([False, True, False, False, True]),
        attributes=Coded.of(attributes),
    )
    writer = write(tmp_path / "out", labels)
    assert not writer.notes
    (back,) = read_cvat(tmp_path / "out")
    assert_same(labels, back)


def test_cvat_gets_the_keyframes_that_it_needs(tmp_path: Path) -> None:
    """Without them it would lose the track: those that are our own are marked."""
    boxes = np.array([[0.0, 0, 5, 5], [1, 0, 5, 5], [2, 0, 5, 5], [9, 0, 5, 5]])
    frames, zeros = np.array([1, 2, 3, 4]), np.zeros(4, np.int64)
    keyframe = np.array([True, False, True, False])
    labels = Labels.of("a", ["x"], frames, zeros, boxes, zeros, keyframe=keyframe, length=9)
    write(tmp_path / "out", labels)
    lines = re.findall(r"<box .*", (tmp_path / "out" / "a.xml").read_text())
    assert [re.findall(r'(?:keyframe|outside|filled)="1"', line) for line in lines] == [
        ['keyframe="1"'],
        [],
        ['keyframe="1"'],
        ['keyframe="1"', 'filled="1"'],
        ['keyframe="1"', 'outside="1"'],
    ]
    (back,) = read_cvat(tmp_path / "out")
    assert_same(labels, back)


def test_what_cannot_be_carried_is_noted(tmp_path: Path) -> None:
    frames, ids = np.array([1, 1, 2]), np.array([-1, -1, 6])
    attributes = [{"depth": 3}, {"visibility": "low", "of": [1]}, {"a\x00b": "c\ud800"}]
    labels = Labels.of(
        "a",
        ["x"],
        frames,
        ids,
        np.ones((3, 4)),
        np.zeros(3, np.int64),
        visibility=np.array([-1, 1, -1.0]),
        attributes=Coded.of(attributes),
        source_ids=Coded.of(["6", None, "uuid"]),
        length=2,
        frame_rate=25.0,
        frame_attributes={1: {"night": True}},
    )
    writer = write(tmp_path / "out", labels)
    assert writer.notes == {
        "boxes without an id, each a track of its own": 2,
        "frame rates, for which CVAT has no place": 1,
        "frames' attributes, for which CVAT has no place": 1,
        "boxes whose identity in the source is another than their id": 2,
        "attributes that are not text, written as JSON": 2,
        "attributes called visibility, which has a column: left out": 1,
        "characters that XML cannot hold, left out": 3,
    }
    (back,) = read_cvat(tmp_path / "out")
    back = back[np.lexsort((back.ids, back.frames))]
    assert back.ids.tolist() == [7, 8, 6]
    assert back.frames.tolist() == [1, 1, 2]
    assert back.attributes.to_list() == [{"depth": "3"}, {"of": "[1]"}, {"ab": "c"}]
    assert back.visibility.tolist() == [-1, 1, -1]


def test_classes_of_all_sequences_are_listed(tmp_path: Path) -> None:
    classes = ClassList(["tram"])
    one = np.array([1])
    sequences = [
        Labels.of(name, [label], one, one, np.ones((1, 4)), one - 1, length=1)
        for name, label in (("a", "a&b"), ("b", "x"))
    ]
    write(tmp_path / "out", *sequences, classes=classes)
    assert classes.names == ["tram", "a&b", "x"]
    first, second = read_cvat(tmp_path / "out")
    assert first.classes == ("tram", "a&b")
    assert second.classes == ("tram", "a&b", "x")
    assert second.class_ids.tolist() == [2]


def test_a_sequence_without_objects_or_size(tmp_path: Path) -> None:
    none = np.zeros(0, np.int64)
    write(tmp_path / "out", Labels.of("a", ["x"], none, none, np.zeros((0, 4)), none, length=7))
    (back,) = read_cvat(tmp_path / "out")
    assert (len(back), back.length, back.width, back.classes) == (0, 7, 0, ("x",))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    writer = CvatWriter(tmp_path / "none", ClassList())
    with pytest.raises(OutputError, match=r"gate\.xml: cannot be written: its folder is not there"):
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
    )


def test_real_truth_there_and_back(data: Path, tmp_path: Path) -> None:
    folders = sorted((data / "mot17_mini").iterdir())
    sequences = [truth(folder, folder.name) for folder in folders]
    sequences.append(truth(data / "mot17" / "gt" / "MOT17-09", "MOT17-09"))
    write(tmp_path / "out", *sequences)
    back = {labels.name: labels for labels in read_cvat(tmp_path / "out")}
    assert len(back) == len(sequences) == 8
    for labels in sequences:
        assert_same(labels, back[labels.name])


def test_the_real_export_there_and_back(data: Path, tmp_path: Path) -> None:
    (labels,) = read_cvat(data / "labels" / "cvat" / "annotations.xml")
    write(tmp_path / "out", labels)
    (back,) = read_cvat(tmp_path / "out")
    assert_same(labels, back)
