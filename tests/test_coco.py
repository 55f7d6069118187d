"""COCO: the full record there and back, other people's files, and what broken ones get."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from motrail.errors import DataError, FormatError, OutputError
from motrail.formats.coco import json_stream
from motrail.formats.coco import rows as coco_rows
from motrail.formats.coco.json_stream import JsonStream, NotJsonError
from motrail.formats.coco.reader import read_coco
from motrail.formats.coco.writer import CocoFile, CocoWriter
from motrail.formats.labels import COLUMNS, ClassList, Coded, Labels, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Prove
    from motrail.formats.faults import Fault


def street() -> Labels:
    """Three boxes that use all that labels can say, and a frame without any."""
    return Labels(
        name='Straße "5" % 1',
        classes=("car", "Fußgänger"),
        frames=np.array([4, 1, 1]),
        ids=np.array([7, 7, -1]),
        boxes_xywh=np.array([[0.1, 2, 30, 40], [-5.5, 2, 30, 41], [1 / 3, 3, 31, 42]]),
        class_ids=np.array([1, 1, 0]),
        visibility=np.array([0.25, 1, -1]),
        ignore=np.array([False, True, False]),
        keyframe=np.array([True, False, True]),
        attributes=Coded.of([{"occluded": True, "note": "a\n%d ü"}, {}, None]),
        source_ids=Coded.of(["b2-\U0001f600", None, "5"]),
        width=640,
        height=480,
        length=5,
        frame_rate=29.97,
        frame_attributes={4: {"weather": ["rain", None, 0.1]}, 5: {}},
    )


def empty(name: str, **rest: object) -> Labels:
    """A sequence without boxes."""
    boxes, none = np.zeros((0, 4)), np.zeros(0, np.int64)
    return Labels.of(name, ["bus"], none, none, boxes, none, **rest)


def record(path: Path, *sequences: Labels) -> Path:
    """Write a full record."""
    with CocoFile(path, ClassList()) as file:
        for labels in sequences:
            file.add(labels, lambda frame: f"{frame:06d}.jpg")
    return path


def assert_same(found: Labels, expected: Labels) -> None:
    """Two sequences say the same, but for where their pictures are."""
    expected = ClassList(found.classes).take(expected).in_order()
    for column in COLUMNS:
        one, other = getattr(found, column), getattr(expected, column)
        if isinstance(one, Coded):
            assert one.to_list() == other.to_list(), column
        else:
            assert one.dtype == other.dtype, column
            assert one.tolist() == other.tolist(), column
    for key in ("name", "width", "height", "length", "frame_rate", "frame_attributes"):
        assert getattr(found, key) == getattr(expected, key), key


def image(number: int, name: str = "", **rest: object) -> dict[str, object]:
    """An image of a file of others."""
    return {"id": number, "file_name": name or f"{number}.jpg", **rest}


def annotation(number: int, picture: int, **rest: object) -> dict[str, Any]:
    """An annotation of a file of others."""
    box = {"id": number, "image_id": picture, "category_id": 1, "bbox": [1, 2, 3, 4]}
    return box | {"area": 12, "iscrowd": 0} | rest


def others(path: Path, **changes: object) -> Path:
    """A small video file as others write it, with some of its lists replaced."""
    content: dict[str, object] = {
        "images": [
            image(11, "A/img1/000001.jpg", video_id=3, frame_id=1, width=64, height=48),
            image(12, "A/img1/000002.jpg", video_id=3, frame_id=2, width=64, height=48),
        ],
        "annotations": [
            annotation(1, 11, track_id=5),
            annotation(2, 12, track_id=5, category_id=4),
            annotation(3, 12, track_id=6),
        ],
        "videos": [{"id": 3, "file_name": "A"}],
        "categories": [{"id": 4, "name": "car"}, {"id": 1, "name": "person"}],
    }
    content |= changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")
    return path


def changed(path: Path, **fields: object) -> Path:
    """The small video file with the second annotation changed; None takes a key away."""
    second = annotation(2, 12, track_id=5) | fields
    second = {key: value for key, value in second.items() if value is not ...}
    return others(path, annotations=[annotation(1, 11, track_id=5), second])


def refused(path: Path) -> str:
    """The message that reading the file to its end gives, without the path."""
    with pytest.raises(FormatError) as caught:
        list(read_coco(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# The full record


def test_a_record_in_full(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    labels = Labels.of(
        "A",
        ["car"],
        np.array([2, 1]),
        np.array([3, 3]),
        np.array([[1.0, 2.5, 3, 4], [912, 484, 97, 109]]),
        np.array([0, 0]),
        width=1920,
        height=1080,
        length=2,
        frame_rate=30.0,
    )
    with CocoFile(path, ClassList(["bus"])) as file:
        file.add(labels, lambda frame: f"A/{frame}.jpg")
    assert path.read_text() == (
        '{"info": {"description": "motrail dataset", "version": "1"},\n'
        '"images": [\n'
        '{"id": 1, "file_name": "A/1.jpg", "width": 1920, "height": 1080, "video_id": 1, '
        '"frame_id": 1, "prev_image_id": -1, "next_image_id": 2},\n'
        '{"id": 2, "file_name": "A/2.jpg", "width": 1920, "height": 1080, "video_id": 1, '
        '"frame_id": 2, "prev_image_id": 1, "next_image_id": -1}],\n'
        '"annotations": [\n'
        '{"id": 1, "image_id": 1, "track_id": 3, "bbox": [912, 484.0, 97, 109], '
        '"area": 10573, "visibility": -1, "category_id": 2, "iscrowd": 0, "keyframe": true, '
        '"ignore": false, "attributes": null, "source_id": null},\n'
        '{"id": 2, "image_id": 2, "track_id": 3, "bbox": [1, 2.5, 3, 4], '
        '"area": 12, "visibility": -1, "category_id": 2, "iscrowd": 0, "keyframe": true, '
        '"ignore": false, "attributes": null, "source_id": null}],\n'
        '"videos": [{"id": 1, "file_name": "A", "width": 1920, "height": 1080, '
        '"frame_rate": 30, "length": 2}],\n'
        '"categories": [{"id": 1, "name": "bus"},\n'
        '{"id": 2, "name": "car"}]}\n'
    )
    assert list(tmp_path.iterdir()) == [path]


def test_everything_comes_back(tmp_path: Path) -> None:
    sequences = [
        street(),
        empty("no boxes", length=3, width=8, height=6),
        empty("nothing"),
        street().replace(name="again", frame_attributes={}),
    ]
    source = read_coco(record(tmp_path / "a.json", *sequences))
    assert source.format == "coco"
    assert source.count == 4
    assert source.classes == ("car", "Fußgänger", "bus")
    for found, expected in zip(source, sequences, strict=True):
        assert_same(found, expected)
    # and once more, from the same source
    assert [labels.name for labels in source] == [labels.name for labels in sequences]


def test_a_record_without_sequences(tmp_path: Path) -> None:
    assert list(read_coco(record(tmp_path / "a.json"))) == []


@pytest.mark.parametrize(("memory", "chunk"), [(0, 1 << 20), (1 << 20, 7), (300, 50), (0, 1)])
def test_little_memory_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, chunk: int
) -> None:
    rows = np.arange(1000)
    many = Labels.of(
        "many",
        ["car"],
        rows // 10 + 1,
        rows % 10,
        np.stack([rows / 7, rows, rows + 1, rows + 2], axis=1),
        rows * 0,
        attributes=Coded.of([{"row": str(row % 41)} if row % 3 else None for row in range(1000)]),
        length=100,
    )
    path = record(tmp_path / "a.json", street(), many, street().replace(name="c"))
    usual = list(read_coco(path))
    assert_same(usual[1], many)
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    for _ in range(2):
        for found, expected in zip(read_coco(path, memory=memory), usual, strict=True):
            assert_same(found, expected)


def test_frames_with_pictures_are_listed(tmp_path: Path) -> None:
    there = {frame: tmp_path / f"{frame:06d}.jpg" for frame in (2, 3)}
    for picture in there.values():
        picture.touch()
    path = record(tmp_path / "a.json", street().replace(pictures=there))
    numbers = [row["frame_id"] for row in json.loads(path.read_text())["images"]]
    assert numbers == [1, 2, 3, 4, 5]  # 1 and 4 have boxes, 5 has attributes
    (found,) = read_coco(path)
    assert found.pictures == there
    assert found.length == 5


def test_pictures_beyond_the_length_do_not_matter(tmp_path: Path) -> None:
    labels = street().replace(pictures={9: tmp_path / "9.jpg"}, frame_attributes={8: {"a": 1}})
    (found,) = read_coco(record(tmp_path / "a.json", labels))
    assert_same(found, labels)


def test_what_json_cannot_hold(tmp_path: Path) -> None:
    odd = street().replace(
        attributes=Coded.of([{"a": [float("nan"), {"b": float("inf")}]}, None, None])
    )
    (found,) = read_coco(record(tmp_path / "a.json", odd))
    assert found.attributes.to_list() == [None, None, {"a": [None, {"b": None}]}]
    path = tmp_path / "b.json"
    box = street().boxes_xywh.copy()
    box[0, 0] = np.nan
    with pytest.raises(DataError, match="boxes_xywh: expected finite numbers"):
        record(path, street().replace(boxes_xywh=box))
    assert not path.exists()


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(RuntimeError), CocoFile(path, ClassList()) as file:
        file.add(street(), str)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot be written: its folder is not there"):
        CocoFile(tmp_path / "none" / "a.json", ClassList())


def test_export(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    there = {1: source / "a.PNG", 4: source / "b"}
    out = tmp_path / "out"
    out.mkdir()
    writer = CocoWriter(out, ClassList())
    places = writer.add(street().replace(name="A", pictures=there))
    assert writer.add(street().replace(name="B")) == {}
    writer.finish()
    assert writer.format == "coco"
    assert not writer.notes
    assert places == {
        out / "images" / "A" / "000001.png": there[1],
        out / "images" / "A" / "000004.jpg": there[4],
    }
    assert all(place.parent.is_dir() for place in places)
    for place in places:
        place.touch()
    first, second = read_coco(out / "annotations.json")
    assert sorted(first.pictures.items()) == [
        (1, out / "images" / "A" / "000001.png"),
        (4, out / "images" / "A" / "000004.jpg"),
    ]
    assert second.pictures == {}
    assert len(second) == 3


def test_an_export_given_up(tmp_path: Path) -> None:
    writer = CocoWriter(tmp_path, ClassList())
    writer.add(street().replace(name="A"))
    writer.discard()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


# Against the reference tool


def mot17(folder: Path) -> Labels:
    """The pedestrians of a sequence, read without our help."""
    rows = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",")
    rows = rows[(rows[:, 7] == 1) & (rows[:, 6] == 1)]
    return Labels.of(
        folder.name,
        ["pedestrian"],
        rows[:, 0].astype(np.int64),
        rows[:, 1].astype(np.int64),
        rows[:, 2:6].copy(),
        np.zeros(len(rows), np.int64),
        visibility=rows[:, 8],
        width=1920,
        height=1080,
        length=int(rows[:, 0].max()),
    )


def average_precision(path: Path, sequences: list[Labels]) -> float:
    """What pycocotools says of the same boxes taken for detections."""
    results, before = [], 0
    for labels in sequences:
        for frame, box in zip(labels.frames.tolist(), labels.boxes_xywh.tolist(), strict=True):
            results.append(
                {"image_id": before + frame, "category_id": 1, "bbox": box, "score": 1.0}
            )
        before += labels.length
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 10, 200]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    return float(precision[precision > -1].mean())


def test_pycocotools_finds_every_box(tmp_path: Path, data: Path) -> None:
    labels = mot17(data / "mot17" / "gt" / "MOT17-09")
    labels = labels[labels.frames <= 100].replace(length=100)
    path = record(tmp_path / "a.json", labels)
    assert average_precision(path, [labels]) == 1.0
    moved = labels.replace(boxes_xywh=labels.boxes_xywh + np.array([60, 0, 0, 0]))
    assert average_precision(path, [moved]) < 0.5
    (found,) = read_coco(path)
    assert_same(found, labels)


@pytest.mark.proof
def test_pycocotools_finds_all_of_mot17(tmp_path: Path, data: Path, prove: Prove) -> None:
    sequences = [mot17(folder) for folder in sorted((data / "mot17" / "gt").iterdir())]
    path = record(tmp_path / "a.json", *sequences)
    precision = average_precision(path, sequences)
    prove("COCO AP of MOT17's boxes against themselves", "1.0", precision)
    assert precision == 1.0
    for found, expected in zip(read_coco(path, memory=0), sequences, strict=True):
        assert_same(found, expected)


# Files of others


def test_video_coco(tmp_path: Path) -> None:
    (labels,) = read_coco(others(tmp_path / "a.json"))
    assert labels.classes == ("person", "car")  # in the order of the ids 1 and 4
    assert labels.name == "A"
    assert (labels.width, labels.height, labels.length) == (64, 48, 2)
    assert labels.frames.tolist() == [1, 2, 2]
    assert labels.class_ids.tolist() == [0, 0, 1]
    # 5 is a person in frame 1 and a car in frame 2: two objects, and 7 is the next free number
    assert labels.ids.tolist() == [5, 6, 7]
    assert labels.source_ids.to_list() == [None, None, "5"]
    assert labels.attributes.to_list() == [None] * 3
    assert labels.keyframe.all()
    assert not labels.ignore.any()
    assert labels.visibility.tolist() == [-1, -1, -1]


def test_the_order_of_the_lists_does_not_matter(tmp_path: Path) -> None:
    path = others(tmp_path / "a.json")
    (expected,) = read_coco(path)
    content = json.loads(path.read_text())
    for keys in (sorted(content), sorted(content, reverse=True), ["videos", *sorted(content)]):
        path.write_text("\ufeff" + json.dumps({key: content[key] for key in keys}, indent=2))
        (found,) = read_coco(path)
        assert_same(found, expected)


def test_the_track_id_that_cvat_keeps_among_the_attributes(tmp_path: Path) -> None:
    said = {"track_id": 12, "keyframe": True}
    (labels,) = read_coco(changed(tmp_path / "a.json", track_id=..., attributes=said))
    assert labels.ids.tolist()[1:] == [12]
    assert labels.attributes.to_list()[1:] == [said]
    for other in (True, "12", -3, 10**30, None):
        path = changed(tmp_path / "a.json", track_id=..., attributes={"track_id": other})
        (labels,) = read_coco(path)
        assert labels.ids.tolist()[1:] == [-1]


def test_a_source_id_of_its_own_stays(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.json", category_id=4, source_id="car:5")
    (labels,) = read_coco(path)
    assert labels.ids.tolist() == [5, 6]
    assert labels.source_ids.to_list() == [None, "car:5"]
    (labels,) = read_coco(changed(tmp_path / "b.json", source_id=12))
    assert labels.source_ids.to_list() == [None, "12"]


def test_plain_detection_coco(tmp_path: Path) -> None:
    path = others(
        tmp_path / "val.json",
        videos=None,
        images=[image(30, "b.jpg", height=5, width=4), image(7, "c.jpg"), image(9, "a.jpg")],
        annotations=[annotation(1, 30), annotation(2, 7, iscrowd=1), annotation(3, 7, score=0.5)],
        licenses=[[], {"id": 1}, "x", 1.5, None],
        info={"year": 2017},
    )
    (labels,) = read_coco(path)
    assert labels.name == "val"
    assert labels.frames.tolist() == [1, 1, 3]  # images 7, 9, 30
    assert labels.ids.tolist() == [-1, -1, -1]
    assert labels.ignore.tolist() == [True, False, False]
    assert labels.attributes.to_list() == [None, {"score": 0.5}, None]
    assert (labels.width, labels.height, labels.length) == (4, 5, 3)
    options = ReadOptions(name="street", length=9, frame_rate=12.5)
    (labels,) = read_coco(path, options)
    assert (labels.name, labels.length, labels.frame_rate) == ("street", 9, 12.5)


@pytest.mark.parametrize("between", ["/img1/", "/", "\\"])
def test_plain_images_in_folders(tmp_path: Path, between: str) -> None:
    names = [f"{folder}{between}{number}.jpg" for number in (1, 2) for folder in ("x/B", "A")]
    path = others(
        tmp_path / "a.json",
        videos=None,
        images=[image(number, name) for number, name in enumerate(names)],
        annotations=[annotation(1, 3)],
    )
    first, second = read_coco(path)
    assert (first.name, first.length, len(first)) == ("B", 2, 0)
    assert (second.name, second.length, second.frames.tolist()) == ("A", 2, [2])


def test_video_ids_without_videos(tmp_path: Path) -> None:
    first, second = read_coco(
        others(
            tmp_path / "a.json",
            videos=None,
            images=[image(11, video_id=9), image(12, video_id=3)],
        )
    )
    assert (first.name, second.name) == ("9", "3")
    assert (len(first), len(second)) == (1, 2)


def test_names_and_rates_of_videos(tmp_path: Path) -> None:
    videos = [
        {"id": 5, "name": "by name", "fps": 10},
        {"id": 3, "length": 20, "frame_rate": 12.5, "width": 9, "height": 8},
    ]
    images = [image(11, video_id=3, frame_id=7), image(12, video_id=3, frame_id=9)]
    first, second = read_coco(others(tmp_path / "a.json", videos=videos, images=images))
    assert (first.name, first.frame_rate, first.length) == ("by name", 10, 0)
    assert (second.name, second.frame_rate, second.length) == ("3", 12.5, 20)
    assert (second.width, second.height) == (9, 8)
    assert second.frames.tolist() == [7, 9, 9]


def test_frames_from_0_and_frames_without_numbers(tmp_path: Path) -> None:
    images = [
        image(11, video_id=3, frame_id=0),
        image(12, video_id=3, frame_id=4),
        image(8, video_id=1, frame_id=0),
        image(6, video_id=1),
        image(5, video_id=2, frame_id=2),
    ]
    path = others(
        tmp_path / "a.json",
        images=images,
        videos=[{"id": 1}, {"id": 2}, {"id": 3}],
        annotations=[annotation(number, number) for number in (11, 12, 8, 6, 5)],
    )
    found = {labels.name: (labels.frames.tolist(), labels.length) for labels in read_coco(path)}
    assert found == {"1": ([1, 2], 2), "2": ([2], 2), "3": ([1, 5], 5)}


def test_sizes(tmp_path: Path) -> None:
    plain = {"videos": None, "annotations": [], "images": [image(1), image(2)]}
    options = ReadOptions(size=(7, 5))
    (labels,) = read_coco(others(tmp_path / "a.json", **plain), options)
    assert (labels.width, labels.height) == (7, 5)
    plain["images"] = [image(1, width=3, height=4), image(2, width=4, height=4)]
    (labels,) = read_coco(others(tmp_path / "a.json", **plain), options)
    assert (labels.width, labels.height) == (0, 0)  # plain images need not agree


def test_numbers_as_some_tools_write_them(tmp_path: Path) -> None:
    path = changed(
        tmp_path / "a.json",
        track_id=5.0,
        image_id=12.0,
        visibility=None,
        ignore=0.0,
        iscrowd=True,
        keyframe=False,
        id=None,
        bbox=[1e-3, 2, 3.25, 10**20 // 10**12],
    )
    (labels,) = read_coco(path)
    assert labels.ids.tolist() == [5, 5]
    assert labels.ignore.tolist() == [False, False]  # `ignore` is said, so `iscrowd` is not asked
    assert labels.keyframe.tolist() == [True, False]
    assert labels.boxes_xywh[1].tolist() == [0.001, 2, 3.25, 1e8]
    (labels,) = read_coco(changed(tmp_path / "a.json", iscrowd=1, ignore=None))
    assert labels.ignore.tolist() == [False, True]


def test_other_keys_become_attributes(tmp_path: Path) -> None:
    path = changed(
        tmp_path / "a.json",
        score=0.25,
        segmentation=[],
        keypoints=None,
        num_keypoints=0,
        occluded=0,
        attributes={"colour": "red", "score": 1},
    )
    (labels,) = read_coco(path)
    assert labels.attributes.to_list() == [None, {"colour": "red", "score": 1, "occluded": 0}]
    (labels,) = read_coco(changed(tmp_path / "a.json", segmentation=[[1, 2]], attributes=[3]))
    assert labels.attributes.to_list() == [None, {"segmentation": [[1, 2]], "attributes": [3]}]


def test_categories_of_the_same_name_are_one_class(tmp_path: Path) -> None:
    categories = [{"id": number, "name": "car"} for number in (0, 1)]
    path = others(
        tmp_path / "a.json",
        categories=categories,
        annotations=[annotation(1, 11, category_id=0), annotation(2, 12)],
    )
    (labels,) = read_coco(path)
    assert labels.classes == ("car",)
    assert labels.class_ids.tolist() == [0, 0]


# Pictures


@pytest.mark.parametrize("folder", [".", "images", "..", "../images", "../train"])
def test_pictures_are_found_near_the_file(tmp_path: Path, folder: str) -> None:
    (tmp_path / "annotations").mkdir()
    path = others(tmp_path / "annotations" / "train.json")
    assert [labels.pictures for labels in read_coco(path)] == [{}]
    place = (tmp_path / "annotations" / folder).resolve() / "A" / "img1"
    place.mkdir(parents=True)
    (place / "000001.jpg").touch()
    (labels,) = read_coco(path)
    assert labels.pictures == {1: place / "000001.jpg"}


def test_pictures_in_a_folder_told(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jpg"
    outside.touch()
    told = tmp_path / "told"
    (told / "A" / "000002.jpg").mkdir(parents=True)
    (told / "a.jpg").touch()
    names = ["../outside.jpg", str(outside), "A/../../outside.jpg", "a\0.jpg", "x" * 5000]
    names += ["b/" * 3000 + "c", "A/000002.jpg", "a.jpg", "./a.jpg"]
    images = [image(number, name) for number, name in enumerate(names, start=11)]
    images.append({"id": 99})
    path = others(tmp_path / "a.json", videos=None, images=images)
    (labels,) = read_coco(path, pictures=told)
    assert labels.length == 10
    assert labels.pictures == {8: told / "a.jpg", 9: told / "a.jpg"}


# Faults


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_id": 99}, ".image_id: expected the id of an image, found 99"),
        ({"image_id": "12"}, ".image_id: expected a whole number, found '12'"),
        ({"image_id": ...}, ".image_id: expected a whole number, found nothing"),
        ({"image_id": 2**70}, f".image_id: expected a whole number, found {2**70}"),
        ({"category_id": 2}, ".category_id: expected the id of a category (1, 4), found 2"),
        ({"category_id": True}, ".category_id: expected a whole number, found True"),
        ({"id": 1}, ".id: expected each id once, found it again (first: annotations[0])"),
        ({"id": "x"}, ".id: expected a whole number, found 'x'"),
        ({"track_id": 1.5}, ".track_id: expected a whole number, found 1.5"),
        ({"track_id": [1]}, ".track_id: expected a whole number, found [1]"),
        ({"visibility": "most"}, ".visibility: expected a number, found 'most'"),
        ({"visibility": 10**400}, ".visibility: expected a number, found 1000"),
        ({"visibility": 2}, ": expected a visibility of 0 to 1, or -1 for unknown, found 2"),
        ({"keyframe": "yes"}, ".keyframe: expected true or false, found 'yes'"),
        ({"ignore": 2}, ".ignore: expected true or false, found 2"),
        ({"iscrowd": -1}, ".iscrowd: expected true or false, found -1"),
        ({"bbox": ...}, ".bbox: expected a bbox, found nothing"),
        (
            {"bbox": ..., "segmentation": [[1, 2, 3, 4, 5, 6]]},
            ".bbox: expected a bbox, found a segmentation alone; add boxes around the masks",
        ),
        (
            {"bbox": [1, 2, 3]},
            ".bbox: expected four numbers (left, top, width, height), found [1, 2, 3]",
        ),
        (
            {"bbox": [1, 2, 3, "4"]},
            ".bbox: expected four numbers (left, top, width, height), found [1, 2, 3, '4']",
        ),
        (
            {"bbox": {"x": 1}},
            ".bbox: expected four numbers (left, top, width, height), found {'x': 1}",
        ),
        (
            {"bbox": [1, 2, 3, 10**400]},
            ".bbox: expected four numbers (left, top, width, height), found [1, 2, 3, 1000",
        ),
        (
            {"bbox": [1, 2, 3, float("nan")]},
            ": expected a box of finite numbers, found 1, 2, 3, nan",
        ),
        ({"bbox": [1, 2, 3, 0]}, ": expected a width and height above 0, found 3 × 0"),
        ({"bbox": [1, 2, 3, 1e12]}, ": expected a box in pixels, found 1, 2, 3, 1e+12"),
        (
            {"image_id": 11},
            ": expected object 5 once in frame 1, found it again (first: annotations[0])",
        ),
        (
            {"attributes": {"a": float("nan")}},
            ".attributes: expected finite numbers, found NaN or infinity",
        ),
        ({"note": "\ud800"}, ".attributes: expected text, found half a character"),
        ({"source_id": "\ud800"}, ".source_id: expected text, found half a character"),
        ({"source_id": {}}, ".source_id: expected text, found {}"),
    ],
)
def test_faults_of_annotations(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = changed(tmp_path / "a.json", **fields)
    assert refused(path).startswith(f"annotations[1]{message}")


def test_attributes_nested_too_deeply(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    deep: list[Any] = []
    for _ in range(48):
        deep = [deep]
    (labels,) = read_coco(changed(path, attributes={"a": deep}))
    assert labels.attributes.to_list()[1] == {"a": deep}
    assert refused(changed(path, attributes={"a": [[deep]]})) == (
        "annotations[1].attributes: expected at most 50 lists and objects inside others"
    )


VIDEO: dict[str, Any] = {"video_id": 3, "width": 64, "height": 48}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "expected `images`, `annotations` and `categories`, found no `images`"),
        ({"annotations": None}, "expected `images`, `annotations` and `categories`, found no"),
        ({"categories": None}, "expected `images`, `annotations` and `categories`, found no"),
        ({"images": {}}, "images: expected one list, found something else: '{}"),
        ({"images": []}, "annotations[0].image_id: expected the id of an image, found 11"),
        ({"images": [3]}, "images[0]: expected an object, found 3"),
        ({"images": [{}]}, "images[0].id: expected a whole number, found nothing"),
        (
            {"images": [image(11, video_id=3), image(11, video_id=3)]},
            "images[1].id: expected each id once, found it again (first: images[0])",
        ),
        (
            {"images": [image(11, width=-1)]},
            "images[0].width: expected a whole number from 0 to 1000000, found -1",
        ),
        ({"images": [{"id": 1, "file_name": 5}]}, "images[0].file_name: expected text, found 5"),
        (
            {"images": [image(1, "\udc00")]},
            "images[0].file_name: expected text, found half a character: '\\udc00'",
        ),
        (
            {"images": [image(11, video_id=3), image(12)]},
            "images[1].video_id: expected the id of a video, found nothing",
        ),
        (
            {"images": [image(11, video_id=3), image(12, video_id=8)]},
            "images[1].video_id: expected the id of a video, found 8",
        ),
        (
            {"images": [image(11), image(12)]},
            "images: expected a video_id in every image, as the file has videos",
        ),
        (
            {"images": [image(11, frame_id=1, **VIDEO), image(12, frame_id=1, **VIDEO)]},
            "images[1].frame_id: expected each frame of a video once, found it again (first: ",
        ),
        (
            {"images": [image(11, frame_id=-1, **VIDEO), image(12, frame_id=2, **VIDEO)]},
            "images[0].frame_id: expected a frame of the sequence, 1 to 4000000, found -1",
        ),
        (
            {"videos": [{"id": 3, "length": 1}]},
            "annotations[1]: expected a frame of the sequence, 1 to 1, found 2",
        ),
        (
            {"videos": [{"id": 3, "width": 65, "height": 48}]},
            "images[0]: expected an image of 65 × 48 as its video, found 64 × 48",
        ),
        ({"videos": [{"id": 3}, {"id": 3}]}, "videos[1].id: expected each id once, found 3 again"),
        ({"videos": [{"id": 3, "name": 7}]}, "videos[0].name: expected text, found 7"),
        (
            {"videos": [{"id": 3, "length": 10**9}]},
            "videos[0].length: expected a whole number from 0 to 4000000, found 1000000000",
        ),
        (
            {"videos": [{"id": 3, "frame_rate": -5}]},
            "videos[0].frame_rate: expected frames a second, found -5",
        ),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            "categories[1].id: expected each id once, found 1 again",
        ),
        ({"categories": [{"id": 1}]}, "categories[0].name: expected text, found nothing"),
        (
            {"categories": []},
            "annotations[0].category_id: expected the id of a category (), found 1",
        ),
    ],
)
def test_faults_of_other_lists(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert refused(others(tmp_path / "a.json", **changes)).startswith(message)


def test_images_of_a_video_differ_in_size(tmp_path: Path) -> None:
    images = [image(11, **VIDEO), image(12, **(VIDEO | {"width": 63}))]
    faults: list[Fault] = []
    (labels,) = read_coco(others(tmp_path / "a.json", images=images), found=faults.append)
    assert [(fault.kind, fault.place, fault.message) for fault in faults] == [
        (
            "image-size",
            "images[1]",
            "expected an image of 64 × 48 as its video, found 63 × 48",
        )
    ]
    assert (labels.width, labels.height, len(labels)) == (64, 48, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a JSON object, found an empty file"),
        ("  \n", "expected a JSON object, found an empty file"),
        ("[1, 2]", "expected a JSON object, found '[1, 2]'"),
        ("1,1,3,4\n", "expected a JSON object, found '1,1,3,4\\n'"),
        ('{"images": [', "images[0]: HALF"),
        ('{"images": [{"id": 1}', "images[0]: HALF"),
        ('{"images": [{"id": 1}, {"id"', "images[1]: HALF"),
        ('{"images": [{"id": 1}, {"name": "ab', "images[1]: HALF"),
        ('{"images": [{"id": 1}, {"name": tr', "images[1]: HALF"),
        ('{"images": [{"id": 1}], "annotations": [', "annotations[0]: HALF"),
        ('{"images"', "HALF"),
        ("{", "HALF"),
        ('{"images": [{"id": x}]}', "images[0]: expected JSON, found 'x}]}': Expecting value"),
        ('{"images": [{"id": 1} {"id": 2}]}', "images[0]: expected ',' or ']', found '{\"id\": 2"),
        ('{"images": []} x', "expected the end of the file, found 'x'"),
        ('{"images" []}', "expected ':', found '[]}'"),
        ("{3: []}", "expected '\"', found '3: []}'"),
        ('{"images": [], "images": []}', "images: expected one list, found another"),
        ('{"info": ' + "[" * 100_000, "info[0]: expected JSON, found lists or objects nested too"),
        ('{"info": ' + "1" * 5000 + "}", "info: expected JSON, found a number of too many digits"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    half = "expected more, found the end of the file: it is half-written; write or fetch it again"
    assert refused(path).startswith(message.replace("HALF", half))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = others(tmp_path / "a.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + b"\xff" + whole[20:])
    assert refused(path) == "expected UTF-8, found byte 0xff at byte 20"
    path.write_bytes(b'{"images": [{"\xc3')
    assert refused(path).startswith("images[0]: expected more, found the end of the file")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.json") == "cannot be read: there is no such file"
    assert refused(tmp_path) == "cannot be read: there is no such file"


def test_a_value_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_PART", 500)
    path = others(tmp_path / "a.json", info="x" * 600)
    assert len(list(read_coco(path))) == 1  # the whole file is one piece of what is read
    monkeypatch.setattr(json_stream, "CHUNK", 64)
    assert refused(path) == "info: expected parts of up to 500 characters, found a larger"


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("MAX_IMAGES", "images: expected at most 1 images"),
        ("MAX_SEQUENCES", "images: expected at most 1 videos or folders of images"),
        ("MAX_BOXES", "annotations: expected at most 1 boxes and 33554432 bytes of distinct"),
    ],
)
def test_more_than_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(coco_rows, limit, 1)
    images = [image(11, "A/1.jpg"), image(12, "B/1.jpg")]
    path = others(tmp_path / "a.json", images=images, videos=None)
    assert refused(path).startswith(message)


def test_all_faults_at_once(tmp_path: Path) -> None:
    rows: list[object] = [
        annotation(1, 11, track_id=5),
        annotation(2, 99),
        annotation(1, 12, track_id=9),
        "box",
        annotation(4, 12, bbox=[1, 2, 0, 4]),
        annotation(5, 12, category_id=8),
        annotation(6, 12, attributes={"a": float("inf")}),
        annotation(7, 12, width="a", image_id=None, bbox=None),
    ]
    faults: list[Fault] = []
    path = others(tmp_path / "a.json", images=[])
    assert [len(labels) for labels in read_coco(path, found=faults.append)] == [0]
    assert [fault.kind for fault in faults] == ["image"] * 3
    faults.clear()
    path = others(tmp_path / "a.json", annotations=rows)
    (labels,) = read_coco(path, found=faults.append)
    assert [(fault.kind, fault.place) for fault in faults] == [
        ("layout", "annotations[3]"),
        ("number", "annotations[7].image_id"),
        ("layout", "annotations[7].bbox"),
        ("image", "annotations[1].image_id"),
        ("number", "annotations[6].attributes"),
        ("duplicate", "annotations[2].id"),
        ("class", "annotations[5].category_id"),
        ("size", "annotations[4]"),
    ]
    assert labels.frames.tolist() == [1, 2]
    assert labels.attributes.to_list() == [None, None]


def test_what_was_read_before_the_end_is_kept(tmp_path: Path) -> None:
    path = others(tmp_path / "a.json")
    text = path.read_text()
    path.write_text(text[: text.index('"videos"') - 60])
    faults: list[Fault] = []
    (labels,) = read_coco(path, found=faults.append)
    assert [(fault.kind, fault.place) for fault in faults] == [("json", "annotations[2]")]
    assert (labels.name, labels.length, len(labels)) == ("3", 2, 0)  # no categories, no classes
    path.write_text(text[:-5])
    faults.clear()
    (labels,) = read_coco(path, found=faults.append)
    # ids 4 is read, 1 is cut off
    assert [fault.kind for fault in faults] == ["json", "class", "class"]
    assert (labels.name, len(labels)) == ("A", 1)


def mutations(whole: bytes, dice: random.Random) -> list[bytes]:
    """Ways to break a file, seeded."""
    content = json.loads(whole)
    odd: list[Any] = [None, -1, 2**63, 10**300, "x", [], {}, 1e308, -0.5, True, "\ud800", [[]]]

    def cut() -> bytes:
        return whole[: dice.randrange(len(whole))]

    def flip() -> bytes:
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        return bytes(data)

    def drop() -> bytes:
        at, size = dice.randrange(len(whole)), dice.randrange(1, 40)
        return whole[:at] + whole[at + size :]

    def deep() -> bytes:
        at = dice.randrange(len(whole))
        return whole[:at] + dice.choice([b"[", b'{"a":']) * 50_000 + whole[at:]

    def field() -> bytes:
        copy = json.loads(json.dumps(content))
        rows = dice.choice([rows for rows in copy.values() if isinstance(rows, list) and rows])
        row = dice.choice(rows)
        key = dice.choice(list(row))
        if dice.random() < 0.2:
            del row[key]
        else:
            row[key] = dice.choice(odd)
        if dice.random() < 0.2:
            rows[dice.randrange(len(rows))] = dice.choice(odd)
        return json.dumps(copy).encode()

    ways: list[Callable[[], bytes]] = [cut, flip, drop, deep, field, field]
    return [dice.choice(ways)() for _ in range(200)]


def test_broken_at_random(tmp_path: Path) -> None:
    dice = random.Random(20)  # noqa: S311
    path = record(tmp_path / "a.json", street(), empty("B", length=2))
    refusals = 0
    for broken in mutations(path.read_bytes(), dice):
        path.write_bytes(broken)
        faults: list[Fault] = []
        for labels in read_coco(path, found=faults.append):
            assert np.isfinite(labels.boxes_xywh).all()
            assert len(record(tmp_path / "b.json", labels).read_bytes()) > 100
        if faults:
            with pytest.raises(FormatError) as caught:
                list(read_coco(path, memory=0))
            assert str(caught.value) == str(faults[0].error())
            refusals += 1
        else:
            list(read_coco(path, memory=0))
    assert 100 < refusals < 200


# The stream of JSON


@pytest.mark.parametrize("chunk", [1, 2, 3, 10, 1000])
def test_elements_do_not_depend_on_the_pieces_read(chunk: int) -> None:
    elements: list[object] = [{"a": [{"b": "},{"}, {"c": "],[ü\U0001f600"}]}, 12, -1.5e3, "x", None]
    elements += [{"n": number, "s": '"},\n{"' * (number % 3)} for number in range(40)]
    for indent in (None, 1):
        text = json.dumps({"x": 12, "list": elements, "y": True}, indent=indent, ensure_ascii=False)
        stream = JsonStream(io.BytesIO(text.encode()), chunk)
        found: list[object] = []
        for key in stream.members():
            if key == "list":
                for start, batch in stream.batches():
                    assert start == len(found)
                    found += batch
            else:
                stream.skip()
        assert found == elements


def test_the_end_of_a_list_is_not_passed_over() -> None:
    text = '{"a": [{"x": 1}, {"x": 2}], "b": [{"x": 3}, {"x": 4}, {"x": 5}]}'
    stream = JsonStream(io.BytesIO(text.encode()))
    found = {key: [e for _, batch in stream.batches() for e in batch] for key in stream.members()}
    assert [len(rows) for rows in found.values()] == [2, 3]
    stream = JsonStream(io.BytesIO(b'{"a": 1}'))
    with pytest.raises(NotJsonError, match=re.escape("expected '[', found '1}'")):
        [list(stream.batches()) for _ in stream.members()]
