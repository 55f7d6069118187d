"""SageMaker Ground Truth: the real export, jobs in every shape, faults by name, the way back."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from motrail.errors import ConfigError, DataError, FormatError
from motrail.formats.ground_truth.names import sequence_names, short_names
from motrail.formats.ground_truth.reader import read_ground_truth
from motrail.formats.ground_truth.rows import numbers_of_names
from motrail.formats.ground_truth.writer import GroundTruthWriter
from motrail.formats.labels import ClassList, Coded, Labels, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from motrail.formats.faults import Fault

Json = dict[str, Any]
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GT_IDS = {1: 29, 2: 30, 3: 81}
LABELS = "annotations/consolidated-annotation/output/{}/SeqLabel.json"


def box(
    name: str = "car:1", uuid: str | int | None = "u1", class_id: Any = "0", **more: Any
) -> Json:
    made: Json = {"left": 1, "top": 2, "width": 3, "height": 4.5, "class-id": class_id}
    if uuid is not None:
        made["object-id"] = uuid
    return made | {"object-name": name, "label-category-attributes": {}} | more


def frame(name: str, *boxes: Json, no: Any = "0", **more: Any) -> Json:
    return {"annotations": list(boxes), "frame-no": no, "frame": name} | more


def sequence(prefix: str, names: Iterable[str], numbers: Iterable[Any]) -> Json:
    frames = [{"frame-no": no, "frame": name} for name, no in zip(names, numbers, strict=True)]
    return {"seq-no": 1, "prefix": prefix, "number-of-frames": len(frames), "frames": frames}


def line(
    index: int = 0,
    source: str | None = "sequences/a.json",
    classes: dict[str, str] | None = None,
) -> Json:
    made: Json = {} if source is None else {"source-ref": source}
    return made | {
        "job-ref": LABELS.format(index),
        "job-ref-metadata": {
            "class-map": classes or {"0": "car", "1": "person"},
            "job-name": "labeling-job/job",
            "creation-date": "2020-05-15T08:01:16+0000",
            "type": "groundtruth/video-object-tracking",
        },
    }


def put(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def manifest(folder: Path, *lines: Json) -> Path:
    text = "".join(json.dumps(one) + "\n" for one in lines)
    return put(folder / "manifests" / "output" / "output.manifest", text)


def job(folder: Path, *frames: Json, names: Sequence[str] = ("1.jpg", "2.jpg", "3.jpg")) -> Path:
    """A job of one sequence whose sequence file counts frames from 0."""
    put(folder / "sequences" / "a.json", sequence("frames/a/", names, range(len(names))))
    put(folder / LABELS.format(0), {"tracking-annotations": list(frames)})
    return manifest(folder, line())


def only(path: Path, **options: Any) -> Labels:
    (labels,) = read_ground_truth(path, ReadOptions(**options))
    return labels


def rows(labels: Labels) -> list[tuple[int, int, str]]:
    names = [labels.classes[code] for code in labels.class_ids.tolist()]
    return list(zip(labels.frames.tolist(), labels.ids.tolist(), names, strict=True))


def faults_of(path: Path, **options: Any) -> tuple[list[Fault], list[Labels]]:
    faults: list[Fault] = []
    read = list(read_ground_truth(path, ReadOptions(**options), faults.append))
    return faults, read


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=1)
    return np.asarray(inner / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - inner))


def agreement(labels: Labels, data: Path) -> dict[int, float]:
    """Mean IoU of Vehicle:1 to 3 with the same cars of MOT17-13 in the same frames."""
    truth = np.loadtxt(data / "mot17" / "gt" / "MOT17-13" / "gt" / "gt.txt", delimiter=",")
    found = {}
    for mine, theirs in GT_IDS.items():
        boxes = {int(row[0]): row[2:6] for row in truth if row[1] == theirs}
        rows = np.flatnonzero(labels.ids == mine)
        rows = rows[[int(n) in boxes for n in labels.frames[rows]]]
        other = np.array([boxes[int(n)] for n in labels.frames[rows]])
        found[mine] = float(iou(labels.boxes_xywh[rows], other).mean())
    return found


def close(found: dict[int, float]) -> bool:
    return found[1] >= 0.90 and found[2] >= 0.89 and found[3] >= 0.85


@pytest.fixture
def real(data: Path) -> Json:
    content: Json = json.loads((data / "labels" / "ground_truth" / "SeqLabel.json").read_text())
    return content


# The real export


def test_a_real_export_is_read(data: Path) -> None:
    source = read_ground_truth(data / "labels" / "ground_truth" / "SeqLabel.json")
    assert (source.format, source.classes, source.count) == ("ground-truth", (), 1)
    (labels,) = source
    assert labels.classes == ("Vehicle",)
    assert labels.name == "ground_truth"
    assert labels.length == 300
    assert len(np.unique(labels.frames)) == 300
    assert len(labels) == 300 + 299 + 291
    assert labels.source_ids.to_list()[0] == "d79cf040-8bff-11eb-8880-038cb4c55326"
    assert labels.attributes.to_list()[:2] == [{"Color": "Green"}, {"Color": "Silver"}]
    assert labels.visibility.max() == -1
    assert labels.keyframe.all()
    assert not labels.ignore.any()
    found = agreement(labels, data)
    assert close(found), found


def test_every_second_frame(data: Path, real: Json, tmp_path: Path) -> None:
    every = [dict(one) for one in real["tracking-annotations"][::2]]
    for number, one in enumerate(every):
        one["frame-no"] = number
        del one["frame-attributes"]
    random.Random(1).shuffle(every)  # noqa: S311
    alone = put(tmp_path / "SeqLabel.json", {"tracking-annotations": every})
    labels = only(alone)
    assert sorted(set(labels.frames.tolist())) == list(range(1, 301, 2))
    found = agreement(labels, data)
    assert close(found), found

    names = [f"{number:06d}.jpg" for number in range(1, 301)]
    for start in (0, 1, 17):
        folder = tmp_path / str(start)
        path = job(folder, *every)
        put(folder / "sequences" / "a.json", sequence("a/", names, range(start, start + 300)))
        one = line(classes={"2": "Vehicle"})
        labels = only(manifest(folder, one))
        assert labels.length == 300
        assert agreement(labels, data) == pytest.approx(found)
        assert path.exists()


def test_sequences_with_the_same_object_names_stay_apart(real: Json, tmp_path: Path) -> None:
    text = json.dumps(real)
    names = [f"{number:06d}.jpg" for number in range(1, 301)]
    for index in range(2):
        put(tmp_path / LABELS.format(index), text.replace("-8bff-11eb-", f"-{index:04d}-11eb-"))
        put(tmp_path / f"s{index}.json", sequence(f"frames/seq{index}/", names, range(300)))
    lines = [line(i, f"s{i}.json", classes={"2": "Vehicle"}) for i in range(2)]
    first, second = read_ground_truth(manifest(tmp_path, *lines))
    assert (first.name, second.name) == ("seq0", "seq1")
    assert len(first) == len(second) == 890
    assert set(first.ids.tolist()) == set(second.ids.tolist()) == {1, 2, 3}
    shared = set(first.source_ids.values) & set(second.source_ids.values)
    assert shared == {"a3d50f30-8c00-11eb-8880-038cb4c55326"}


# Frames


def test_frames_are_told_by_their_images(tmp_path: Path) -> None:
    path = job(
        tmp_path,
        frame("c.jpg", box(), no=0),
        frame("a.jpg", box(), no="2"),
        names=("a.jpg", "b.jpg", "c.jpg"),
    )
    assert [number for number, *_ in rows(only(path))] == [3, 1]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 1, 2], [1, 2, 3]),
        ([1, 2, 3], [1, 2, 3]),
        ([30, 32, 34], [1, 3, 5]),
        (["2", "1", "0"], [3, 2, 1]),
        ([5, 5, 5], [1, 2, 3]),
        ([0, None, 2], [1, 2, 3]),
        (["x", "y", "z"], [1, 2, 3]),
        ([0, 1, 10**12], [1, 2, 3]),
        ([0, 1, 0.5], [1, 2, 3]),
    ],
)
def test_numbers_are_those_of_the_sequence_file(
    tmp_path: Path, numbers: list[Any], expected: list[int]
) -> None:
    names = ["9.jpg", "8.jpg", "7.jpg"]
    path = job(tmp_path, *(frame(name, box()) for name in names))
    put(tmp_path / "sequences" / "a.json", sequence("a/", names, numbers))
    labels = only(path, length=99)
    assert labels.frames.tolist() == expected
    assert labels.length == max(expected)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0.jpg", "4.jpg"], [1, 5]),
        (["cam2_0003.jpeg", "cam2_0001.jpeg"], [3, 1]),
        (["000001", "000003"], [1, 3]),
        (["b.jpg", "a.jpg"], [2, 1]),
        (["f10.jpg", "f9.jpg", "cover.jpg"], [3, 2, 1]),
        (["a1.jpg", "b1.jpg"], [1, 2]),
        (["1589529676123.jpg", "1589529676090.jpg"], [2, 1]),
        ([f"{'9' * 900}.jpg", "1.jpg"], [2, 1]),
    ],
)
def test_without_a_sequence_file_names_say_the_number(
    names: list[str], expected: list[int]
) -> None:
    numbers = numbers_of_names(names)
    assert [numbers[name] for name in names] == expected


def test_lengths(tmp_path: Path) -> None:
    path = put(tmp_path / "x.json", {"tracking-annotations": [frame("4.jpg", box())]})
    assert only(path).length == 4
    labels = only(path, length=9, size=(64, 48), frame_rate=25.0, name="street")
    assert (labels.length, labels.width, labels.height) == (9, 64, 48)
    assert (labels.frame_rate, labels.name) == (25.0, "street")
    with pytest.raises(FormatError, match="expected a frame of the sequence, 1 to 3, found 4"):
        only(path, length=3)


def test_pictures_are_those_that_are_there(tmp_path: Path) -> None:
    path = job(tmp_path, frame("1.jpg", box()))
    picture = put(tmp_path / "frames" / "a" / "2.jpg", "")
    assert only(path).pictures == {2: picture}


# Objects, classes, attributes


def test_a_car_and_a_person_of_the_same_number_are_two(tmp_path: Path) -> None:
    boxes = [box(), box("person:1", "u2", 1), box("person:2", "u3", "1")]
    labels = only(job(tmp_path, frame("1.jpg", *boxes), frame("2.jpg", boxes[1])))
    assert rows(labels) == [(1, 1, "car"), (1, 3, "person"), (1, 2, "person"), (2, 3, "person")]


def test_object_id_is_the_identity(tmp_path: Path) -> None:
    path = job(
        tmp_path,
        frame("1.jpg", box("car:7", "a"), box("car:7", "b"), box("car", "c")),
        frame("2.jpg", box("car:8", "a"), box("car:9", None), box("car:-1", "d")),
        frame("3.jpg", box("car:9", None), box("car:-4", "e"), box("car:0", 12)),
    )
    labels = only(path)
    assert labels.ids.tolist() == [7, 10, 11, 7, 9, 12, 9, -4, 0]
    assert labels.source_ids.to_list() == ["a", "b", "c", "a", "car:9", "d", "car:9", "e", "12"]


def test_a_box_without_any_identity(tmp_path: Path) -> None:
    nameless = box(uuid=None) | {"object-name": None}
    labels = only(job(tmp_path, frame("1.jpg", nameless, nameless)))
    assert labels.ids.tolist() == [-1, -1]
    assert labels.source_ids.to_list() == [None, None]


def test_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    job(tmp_path, frame("1.jpg", box(class_id="10"), box("bus:1", "u2", "9")))
    path = manifest(tmp_path, line(classes={"10": "car", "9": "bus"}))
    source = read_ground_truth(path)
    assert source.classes == ("bus", "car")
    assert [name for *_, name in rows(next(iter(source)))] == ["car", "bus"]


def test_sequences_may_have_class_maps_of_their_own(tmp_path: Path) -> None:
    job(tmp_path, frame("1.jpg", box()))
    lines = [line(classes={"0": "bus"}), line(classes={"0": "car", "1": "bus"})]
    source = read_ground_truth(manifest(tmp_path, *lines))
    assert source.classes == ("bus", "car")
    assert [rows(labels)[0][2] for labels in source] == ["bus", "car"]


def test_without_a_class_map_names_say_the_class(tmp_path: Path) -> None:
    boxes = [box("a:b:1", "u1", "10"), box("dog:1", "u2", "9"), box("nothing", "u3", "11")]
    path = put(tmp_path / "x.json", {"tracking-annotations": [frame("1.jpg", *boxes)]})
    labels = only(path)
    assert labels.classes == ("dog", "a:b", "11")
    assert [name for *_, name in rows(labels)] == ["a:b", "dog", "11"]


def test_attributes_are_kept_as_they_are(tmp_path: Path) -> None:
    key = "label-category-attributes"
    said: list[Any] = [
        {"occluded": "no", "conf_score": 0.5, "ratio_vis": "0.25", "ignore": "true"},
        {"ratio_vis": 1, "ignore": True},
        {"ratio_vis": "mostly", "ignore": "perhaps"},
        {"ignore": 1, "x": [1, {"y": None}]},
        {"ignore": "false"},
        None,
    ]
    boxes = [box(f"car:{i}", f"u{i}", **{key: one}) for i, one in enumerate(said)]
    more = {"frame-attributes": {"weather": "rain"}}
    labels = only(job(tmp_path, frame("2.jpg", *boxes, **more), frame("1.jpg")))
    assert labels.visibility.tolist() == [0.25, 1, -1, -1, -1, -1]
    assert labels.ignore.tolist() == [True, True, False, True, False, False]
    assert labels.attributes.to_list() == [
        {"occluded": "no", "conf_score": 0.5},
        None,
        {"ratio_vis": "mostly", "ignore": "perhaps"},
        {"x": [1, {"y": None}]},
        None,
        None,
    ]
    assert labels.frame_attributes == {2: {"weather": "rain"}}


# Manifests


def test_the_newest_label_attribute_is_read(tmp_path: Path) -> None:
    job(tmp_path, frame("1.jpg", box()))
    put(tmp_path / "new.json", {"tracking-annotations": [frame("3.jpg", box())]})
    one = line()
    one["adjusted-ref"] = "new.json"
    one["adjusted-ref-metadata"] = one["job-ref-metadata"] | {
        "creation-date": "2020-06-01T00:00:00.25",
        "adjustment-status": "adjusted",
    }
    path = manifest(tmp_path, dict(reversed(one.items())))
    assert only(path).frames.tolist() == [3]
    assert only(path, label_attribute="job-ref").frames.tolist() == [1]
    assert only(path, label_attribute="adjusted").frames.tolist() == [3]
    message = r"output\.manifest:1: expected the label attribute 'x', found adjusted-ref, job-ref"
    with pytest.raises(FormatError, match=message):
        only(path, label_attribute="x")


@pytest.mark.parametrize("above", ["bucket/jobs/one", "jobs/one", "one", ""])
def test_references_into_a_bucket(tmp_path: Path, above: str) -> None:
    mirror = tmp_path / "mirror"
    folder = mirror / above
    job(folder, frame("1.jpg", box()))
    picture = put(folder / "frames" / "a" / "1.jpg", "")
    names = ("1.jpg", "2.jpg")
    place = "s3://bucket/jobs/one/"
    put(folder / "sequences" / "a.json", sequence(f"{place}frames/a/", names, (0, 1)))
    one = line(source=f"{place}sequences/a.json") | {"job-ref": place + LABELS.format(0)}
    elsewhere = put(tmp_path / "elsewhere" / "output.manifest", json.dumps(one))
    labels = only(elsewhere, mirror=mirror)
    assert labels.pictures == {1: picture}
    assert labels.name == "a"
    # The copied folder of a job is enough when it has all that is referred to.
    assert only(manifest(folder, one)).pictures == {1: picture}
    with pytest.raises(FormatError) as caught:
        only(elsewhere)
    assert str(caught.value) == (
        f"{elsewhere}:1: expected the sequence file {place}sequences/a.json, found no copy of it "
        f"in {elsewhere.parent}; copy the bucket's folder (aws s3 cp --recursive) and name the "
        "copy with --mirror DIR"
    )
    with pytest.raises(FormatError, match=f"it belongs at {tmp_path}/bucket/jobs/one/seq"):
        only(elsewhere, mirror=tmp_path)


@pytest.mark.parametrize(
    "reference",
    ["../a.json", "/etc/passwd", "s3://b/../../a.json", "x/../../a", "s3://../a", "..\\a", "C:/a"],
)
def test_references_may_not_climb(tmp_path: Path, reference: str) -> None:
    folder = tmp_path / "in"
    job(folder, frame("1.jpg", box()))
    put(tmp_path / "a.json", sequence("a/", ["1.jpg"], [0]))
    path = manifest(folder, line(source=reference))
    message = "manifest:1: expected a path inside its folder, found "
    with pytest.raises(FormatError, match=message):
        only(path)
    with pytest.raises(FormatError, match=message):
        only(path, mirror=tmp_path)
    path = manifest(folder, line() | {"job-ref": reference})
    with pytest.raises(FormatError, match=message):
        only(path)


@pytest.mark.parametrize("name", ["../1.jpg", "/1.jpg", "..", "", "a" * 1025])
def test_pictures_may_not_climb(tmp_path: Path, name: str) -> None:
    path = job(tmp_path, frame(name, box()), names=(name,))
    put(tmp_path / "1.jpg", "")
    with pytest.raises(FormatError, match=r"a\.json: frames: expected the name of an image, found"):
        only(path)


def test_other_schemes_are_no_references(tmp_path: Path) -> None:
    path = manifest(tmp_path, line(source="https://x/a.json"))
    message = "expected s3://BUCKET/KEY or a relative path, found 'https://x/a.json'"
    with pytest.raises(FormatError, match=message):
        only(path)


def test_where_a_job_is_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    path = job(folder, frame("1.jpg", box()))
    alone = put(tmp_path / "alone" / "SeqLabel.json", (folder / LABELS.format(0)).read_text())
    for given in (path, path.parent, folder, tmp_path, alone, alone.parent):
        assert len(only(given)) == 1
    put(tmp_path / "two" / "manifests" / "output" / "output.manifest", "{}")
    with pytest.raises(FormatError, match="found several: job/manifests/.*, two/manifests/.*"):
        only(tmp_path)
    with pytest.raises(FormatError, match="expected a Ground Truth job: output.manifest, .* none"):
        only(tmp_path / "job" / "sequences")
    with pytest.raises(FormatError, match="cannot be read: expected a file, found none"):
        only(tmp_path / "none.manifest")


def test_names_of_sequences(tmp_path: Path) -> None:
    prefixes = {
        "s3://b/x/street/": "street",
        "s3://b/park/img1/": "park",
        "s3://b/img1/": "s2",
        "yard/frames": "yard",
        "yard2/": "s4",
        "YARD2/": "s5",
        "": "s6",
    }
    for index, prefix in enumerate(prefixes):
        put(tmp_path / f"s{index}.json", sequence(prefix, ["1.jpg"], [0]))
    put(tmp_path / LABELS.format(0), {"tracking-annotations": []})
    path = manifest(tmp_path, *(line(0, f"s{i}.json") for i in range(len(prefixes))))
    assert [labels.name for labels in read_ground_truth(path)] == list(prefixes.values())
    assert only(manifest(tmp_path, line(source=None)), name="given").name == "given"
    twice = read_ground_truth(manifest(tmp_path, line(source=None), line(source=None)))
    assert [labels.name for labels in twice] == ["job", "job-2"]


def test_names_for_sequences_differ() -> None:
    assert sequence_names(["a/", "a/", "a-2/"], ["a", "a", "x"]) == ["a", "a-2", "a-2-2"]


# Workers' answers


def answer(name: str, label: str = "car", uuid: str = "u1") -> Json:
    one = {"label": label, "objectId": uuid, "objectName": f"{label}:1", "left": 1, "top": 2}
    one |= {"width": 3, "height": 4, "labelCategoryAttributes": {"ratio_vis": 0.5}}
    return {"trackingAnnotations": {"frameNumber": 7, "frame": name, "boundingBoxes": [one]}}


def test_answers_count_where_nothing_was_consolidated(tmp_path: Path) -> None:
    path = job(tmp_path, frame("1.jpg", box()))
    put(tmp_path / "sequences" / "b.json", sequence("b/", ["1.jpg", "2.jpg"], [0, 1]))
    manifest(tmp_path, line(), line(1, "sequences/b.json"))
    folder = tmp_path / "annotations" / "worker-response"
    put(folder / "iteration-10" / "0" / "1.jpg.json", answer("1.jpg", uuid="other"))
    put(folder / "iteration-2" / "1" / "1.jpg.json", answer("1.jpg", uuid="old"))
    last = folder / "iteration-9" / "1"
    put(last / "2.jpg.json", answer("2.jpg", "person"))
    given = [{"answerContent": answer("1.jpg", uuid=f"a{i}"), "workerId": "w"} for i in range(2)]
    put(last / "1.jpg.json", {"answers": given})
    put(last / "2020-01-01.json", {"answers": [{"answerContent": {}}]})
    first, second = read_ground_truth(path)
    assert first.source_ids.values == ("u1",)
    assert rows(second) == [(1, 1, "car"), (2, 2, "person")]
    assert second.source_ids.to_list() == ["a1", "u1"]
    assert second.visibility.tolist() == [0.5, 0.5]
    put(last / "2.jpg.json", answer("2.jpg", "tree"))
    message = (
        r"iteration-9/1: 2\.jpg\.json: trackingAnnotations\.boundingBoxes\[0\]: unknown class: "
        r"expected a class-id of the class map \(0 car, 1 person\), found 'tree'"
    )
    with pytest.raises(FormatError, match=message):
        list(read_ground_truth(path))
    put(last / "2.jpg.json", {})
    with pytest.raises(FormatError, match=r"2\.jpg\.json: expected `trackingAnnotations`, found"):
        list(read_ground_truth(path))


def test_answers_on_other_sequences_are_not_taken(tmp_path: Path) -> None:
    path = job(tmp_path, frame("1.jpg", box()))
    (tmp_path / LABELS.format(0)).unlink()
    put(tmp_path / "annotations/worker-response/iteration-1/1/1.jpg.json", answer("1.jpg"))
    with pytest.raises(FormatError, match="manifest:1: expected the labels 'annotations/.*none"):
        only(path)


# Faults


@pytest.mark.parametrize(
    ("made", "kind", "message"),
    [
        (box(width=0), "size", "annotations[1]: expected a width and height above 0, found 0"),
        (box(left=1e12), "number", "annotations[1]: expected a box in pixels, found"),
        (
            box("dog:1", "u2", "7"),
            "class",
            "annotations[1]: unknown class: expected a class-id of the class map (0 car, 1 pers",
        ),
        (box(), "duplicate", "annotations[1]: expected object 1 once in frame 1, found it again"),
        (
            box("car:2", "u2", **{"label-category-attributes": {"ratio_vis": 85}}),
            "visibility",
            "annotations[1]: expected a visibility of 0 to 1, or -1 for unknown, found 85",
        ),
        (
            box("car:2", "u2", **{"label-category-attributes": [1]}),
            "layout",
            "annotations[1]: label-category-attributes: expected names with values, found",
        ),
        (
            box("car:2", "u2", **{"label-category-attributes": {"x": "y" * 70_000}}),
            "layout",
            "annotations[1]: label-category-attributes: expected a few names with values",
        ),
    ],
)
def test_faults_of_boxes(tmp_path: Path, made: Json, kind: str, message: str) -> None:
    path = job(tmp_path, frame("1.jpg", box(), made), frame("2.jpg", box("car:9", "u9")))
    with pytest.raises(FormatError) as caught:
        only(path)
    assert f"{tmp_path / LABELS.format(0)}: tracking-annotations[0].{message}" in str(caught.value)
    faults, (labels,) = faults_of(path)
    assert [fault.kind for fault in faults] == [kind]
    assert labels.ids.tolist()[0] == 1
    assert labels.ids.tolist()[-1] == 9


def test_an_object_of_two_classes(tmp_path: Path) -> None:
    path = job(tmp_path, frame("1.jpg", box()), frame("2.jpg", box(class_id="1")))
    with pytest.raises(FormatError, match=r"\[1\]\.annotations\[0\]: expected object 1 to stay"):
        only(path)


def test_faults_of_frames(tmp_path: Path) -> None:
    path = job(
        tmp_path,
        frame("1.jpg", box()),
        frame("x.jpg", box()),
        frame("1.jpg", box("car:2", "u2")),
        frame("2.jpg", **{"frame-attributes": [1]}),
    )
    faults, (labels,) = faults_of(path)
    assert [(fault.kind, fault.place, fault.message) for fault in faults] == [
        (
            "frame",
            "tracking-annotations[1]",
            "expected a frame of the sequence file, found 'x.jpg'",
        ),
        (
            "duplicate",
            "tracking-annotations[2]",
            "expected frame '1.jpg' once, found it again (first: tracking-annotations[0])",
        ),
        (
            "layout",
            "tracking-annotations[3]",
            "frame-attributes: expected names with values, found something else",
        ),
    ]
    assert rows(labels) == [(1, 1, "car")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "half-written: the JSON ends too early; copy the file again"),
        ('{"tracking-annotations":[{"frame":"1.jpg","annot', "half-written"),
        ("[1]", "expected object, found list"),
        ("{}", "missing required field tracking-annotations"),
        ('{"tracking-annotations":[],}', "expected JSON, found an error: "),
        ('{"tracking-annotations":[{"frame":"\xff"}]}', "expected UTF-8 text, found other bytes"),
        (
            '{"tracking-annotations":[{"frame":"1.jpg","polylines":[]}]}',
            "tracking-annotations: expected boxes in `annotations`, found none",
        ),
        (
            '{"tracking-annotations":[{"frame":"1","annotations":[{"left":"a"}]}]}',
            "tracking-annotations[0].annotations[0].left: expected number, found text",
        ),
        (
            '{"tracking-annotations":[{"frame":"' + "1" * 1025 + '","annotations":[]}]}',
            "tracking-annotations[0]: expected the name of an image, found 1025 characters",
        ),
        (
            '{"tracking-annotations":[{"frame":"1","annotations":[{"left":1e999}]}]}',
            "tracking-annotations[0].annotations[0].left: number out of range",
        ),
        (
            '{"tracking-annotations":[{"frame":"1","x":' + "[" * 100_000,
            "expected the layout of Ground Truth, found JSON nested too deeply",
        ),
    ],
)
def test_broken_labels_are_one_fault(tmp_path: Path, text: str, message: str) -> None:
    path = job(tmp_path)
    labels = tmp_path / LABELS.format(0)
    labels.write_text(text, encoding="latin-1")
    with pytest.raises(FormatError) as caught:
        only(path)
    assert str(caught.value).startswith(f"{labels}: {message}")
    faults, read = faults_of(path)
    assert (len(faults), read) == (1, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", " expected a line for each sequence, found none"),
        ("\n{not", "2: expected JSON, found an error: "),
        ('{"a":', "1: half-written"),
        ("[]", "1: expected object, found list"),
        ("{}", "1: expected a label attribute such as job-ref with job-ref-metadata beside it, fo"),
        (
            '{"source-ref":"a","b-ref":"c"}',
            "1: expected a label attribute such as .* source-ref, b",
        ),
        ('{"b-ref":"c","b-ref-metadata":3}', "1: expected object, found whole number"),
        (
            '{"b-ref":3,"b-ref-metadata":{"class-map":{}}}',
            "1: expected text, found whole number",
        ),
        ('{"b-ref-metadata":{}}', "1: expected 'b-ref' beside its metadata, found none"),
        (
            '{"b-ref":"c","b-ref-metadata":{"class-map":{"0":1}}}',
            r"1: class-map\[\.\.\.\]: expected text, found whole number",
        ),
        (
            '{"b-ref-metadata":{"failure-reason":"no such key"}}',
            "1: expected labels in 'b-ref', found that the job failed on this sequence: no such k",
        ),
        (
            '{"b-ref":"c","b-ref-metadata":{"type":"groundtruth/label-verification"}}',
            "1: expected labels of type groundtruth/video-object-tracking in b-ref, found grou",
        ),
    ],
)
def test_faults_of_manifests(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path / "output.manifest", text)
    with pytest.raises(FormatError, match=rf"output\.manifest:{message}"):
        only(path)
    faults, read = faults_of(path)
    assert (len(faults), read) == (1, [])


def test_a_sequence_at_fault_does_not_stop_the_others(tmp_path: Path) -> None:
    job(tmp_path, frame("1.jpg", box()))
    put(tmp_path / "empty.json", sequence("a/", [], []))
    put(tmp_path / "other.json", '{"frames":{}}')
    path = manifest(tmp_path, line(source="empty.json"), line(source="other.json"), line(), line(5))
    with path.open("a") as file:
        file.write("oops\n")
    faults, read = faults_of(path)
    assert [(fault.kind, fault.place) for fault in faults] == [
        ("json", 5),
        ("layout", "frames"),
        ("layout", "frames"),
        ("reference", 4),
    ]
    assert faults[1].message == "expected at least one frame, found none"
    assert faults[2].message == "expected list, found object"
    assert [len(labels) for labels in read] == [1]


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = job(tmp_path, frame("1.jpg", box()))
    monkeypatch.setattr("motrail.formats.ground_truth.files.MAX_OBJECTS", 3)
    with pytest.raises(FormatError, match="expected at most 3 JSON objects, found more"):
        only(path)
    monkeypatch.undo()
    with (tmp_path / LABELS.format(0)).open("ab") as file:
        file.truncate(2**27 + 1)
    with pytest.raises(FormatError, match="expected at most 128 MiB, found more"):
        only(path)
    monkeypatch.setattr("motrail.formats.ground_truth.manifest.MAX_SEQUENCES", 0)
    with pytest.raises(FormatError, match="expected at most 0 sequences, found 1 lines"):
        only(path)


def test_any_bytes_are_read_or_refused(real: Json, tmp_path: Path) -> None:
    names = [f"{number:06d}.jpg" for number in range(1, 21)]
    path = job(tmp_path, *real["tracking-annotations"][:20])
    put(tmp_path / "sequences" / "a.json", sequence("a/", names, range(20)))
    manifest(tmp_path, line(classes={"2": "Vehicle"}))
    assert len(only(path)) == 20 + 20 + 11
    files = [tmp_path / LABELS.format(0), tmp_path / "sequences" / "a.json", path]
    bits = [b"{", b"]", b'"', b"null", b"-1", b"1e99", b"\\", b"\xff", b"\x00", b"../", b"[" * 2000]
    refused = 0
    for seed in range(600):
        chance = random.Random(seed)  # noqa: S311
        file = files[seed % 3]
        before = file.read_bytes()
        at = chance.randrange(len(before))
        end = min(len(before), at + chance.choice([0, 1, 1, 3, 40]))
        after = before[:at] + chance.choice([b"", *bits]) + before[end:]
        file.write_bytes(after[:at] if chance.random() < 0.1 else after)
        try:
            only(path)
        except FormatError:
            refused += 1
        faults_of(path)
        file.write_bytes(before)
    assert 300 < refused < 600


# The way back


def written(folder: Path, *every: Labels, **settings: Any) -> GroundTruthWriter:
    folder.mkdir()
    writer = GroundTruthWriter(folder, ClassList(), created=WHEN, **settings)
    for labels in every:
        writer.add(labels)
    writer.finish()
    return writer


def small(**changes: Any) -> Labels:
    return Labels.of(
        "street",
        ("person", "car"),
        np.array([1, 1, 3]),
        np.array([4, 7, 4]),
        np.array([[1, 2, 3, 4], [0.1, -5, 1 / 3, 8], [1.5, 2, 3, 4]]),
        np.array([0, 1, 0]),
        **{"length": 3} | changes,
    )


def test_what_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    writer = written(
        out,
        small(
            visibility=np.array([1, 0.25, -1]),
            ignore=np.array([False, True, False]),
            attributes=Coded.of([{"occluded": "no"}, None, {"occluded": "yes"}]),
            source_ids=Coded.of(["u4", None, "u4"]),
            frame_attributes={3: {"weather": "rain"}},
        ),
    )
    found = json.loads((out / LABELS.format(0)).read_text())["tracking-annotations"]
    who = {"class-id": "0", "object-id": "u4", "object-name": "person:4"}
    key = "label-category-attributes"
    car = found[0]["annotations"].pop(1)
    assert found == [
        {
            "annotations": [
                {"height": 4, "width": 3, "top": 2, "left": 1}
                | {key: {"occluded": "no", "ratio_vis": 1}}
                | who
            ],
            "frame-no": "0",
            "frame": "000001.jpg",
            "frame-attributes": {},
        },
        {"annotations": [], "frame-no": "1", "frame": "000002.jpg", "frame-attributes": {}},
        {
            "annotations": [
                {"height": 4, "width": 3, "top": 2, "left": 1.5} | {key: {"occluded": "yes"}} | who
            ],
            "frame-no": "2",
            "frame": "000003.jpg",
            "frame-attributes": {"weather": "rain"},
        },
    ]
    assert len(car.pop("object-id")) == 36
    assert car == {"height": 8, "width": 1 / 3, "top": -5, "left": 0.1} | {
        key: {"ratio_vis": 0.25, "ignore": "true"},
        "class-id": "1",
        "object-name": "car:7",
    }
    assert json.loads((out / "sequences" / "street.json").read_text()) == {
        "seq-no": 1,
        "prefix": "frames/street/",
        "number-of-frames": 3,
        "frames": [{"frame-no": n, "frame": f"00000{n + 1}.jpg"} for n in range(3)],
    }
    assert json.loads((out / "manifests" / "output" / "output.manifest").read_text()) == {
        "source-ref": "sequences/street.json",
        "motrail-ref": LABELS.format(0),
        "motrail-ref-metadata": {
            "class-map": {"0": "person", "1": "car"},
            "job-name": "labeling-job/motrail",
            "human-annotated": "no",
            "creation-date": "2026-01-02T03:04:05+0000",
            "type": "groundtruth/video-object-tracking",
        },
    }
    assert (out / "labels.txt").read_text() == "person\ncar\n"
    assert not writer.notes


def test_the_category_file(tmp_path: Path) -> None:
    many = {f"free{i}": f"{i}" * 20 for i in range(6)}
    odd = {"mixed": True, "an attribute's name": "x", "speed": 1.5}
    writer = written(
        tmp_path / "out",
        small(
            attributes=Coded.of([{"occluded": "no"} | odd, {"speed": -2} | many, None]),
            frame_attributes={1: {"weather": "rain"}},
        ),
        job="night",
    )
    found = json.loads((tmp_path / "out" / "label-categories.json").read_text())
    assert found["documentVersion"] == "2020-03-01"
    assert found["annotationType"] == "BoundingBox"
    assert found["auditLabelAttributeName"] == "night-ref"
    assert [one["label"] for one in found["labels"]] == ["person", "car"]
    assert len(found["instructions"]["shortInstruction"]) < 255
    assert len(found["instructions"]["fullInstruction"]) < 2048
    kinds = {
        one["name"]: [one[key] for key in ("type", "enum", "minimum", "maximum") if key in one]
        for one in found["categoryGlobalAttributes"]
    }
    assert kinds == {
        "ratio_vis": ["number", 0, 1],
        "ignore": ["string", ["true", "false"]],
        "occluded": ["string", ["no"]],
        "speed": ["number", -2, 2],
    } | {f"free{i}": ["string"] for i in range(5)}
    assert [one["name"] for one in found["frameAttributes"]] == ["weather"]
    assert all(one["description"] for one in found["frameAttributes"])
    start = "attribute {} is not declared to the labellers: {}"
    assert list(writer.notes) == [
        start.format("'mixed'", "its values are neither all texts nor all numbers"),
        start.format('"an attribute\'s name"', "its name has not 1 to 16 characters"),
        start.format("'free5'", "a job takes at most 5 free texts"),
    ]


def test_there_and_back(tmp_path: Path) -> None:
    labels = small(
        visibility=np.array([1, 0.1, -1]),
        ignore=np.array([False, True, False]),
        attributes=Coded.of([{"occluded": "no"}, None, {"n": 2}]),
        source_ids=Coded.of(["u4", "u7", "u4"]),
        frame_attributes={2: {"weather": "rain"}},
    )
    written(tmp_path / "out", labels, labels.replace(name="img1"))
    back, again = read_ground_truth(tmp_path / "out")
    assert (back.name, again.name) == ("street", "img1")
    for one in (back, again):
        assert one.classes == labels.classes
        assert one.length == 3
        assert one.frame_attributes == labels.frame_attributes
        for column in ("frames", "ids", "boxes_xywh", "class_ids", "visibility", "ignore"):
            assert getattr(one, column).tolist() == getattr(labels, column).tolist(), column
        assert one.attributes.to_list() == labels.attributes.to_list()
        assert one.source_ids.to_list() == labels.source_ids.to_list()


def test_mot17_there_and_back(data: Path, tmp_path: Path) -> None:
    names = [f"class {number} of the twelve" for number in range(1, 13)]
    table = np.loadtxt(data / "mot17" / "gt" / "MOT17-09" / "gt" / "gt.txt", delimiter=",")
    labels = Labels.of(
        "MOT17-09",
        names,
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        table[:, 2:6],
        table[:, 7].astype(np.int64) - 1,
        visibility=table[:, 8],
        ignore=table[:, 6] == 0,
        length=525,
    ).in_order()
    written(tmp_path / "out", labels)
    back = only(tmp_path / "out").in_order()
    assert back.classes == tuple(names)
    assert back.length == 525
    for column in ("frames", "ids", "boxes_xywh", "class_ids", "visibility", "ignore"):
        assert np.array_equal(getattr(back, column), getattr(labels, column)), column


def test_a_job_in_a_bucket(tmp_path: Path) -> None:
    picture = put(tmp_path / "from" / "x.PNG", "")
    out = tmp_path / "out"
    out.mkdir()
    writer = GroundTruthWriter(out, ClassList(), prefix="s3://bucket/a/b/")
    moves = writer.add(small(pictures={1: picture}))
    writer.finish()
    assert moves == {out / "frames" / "street" / "000001.png": picture}
    for new in moves:
        new.write_bytes(b"")
    text = (out / "manifests" / "output" / "output.manifest").read_text()
    assert json.loads(text)["source-ref"] == "s3://bucket/a/b/sequences/street.json"
    prefix = json.loads((out / "sequences" / "street.json").read_text())["prefix"]
    assert prefix == "s3://bucket/a/b/frames/street/"
    elsewhere = put(tmp_path / "elsewhere" / "output.manifest", text)
    labels = only(elsewhere, mirror=out)
    assert labels.pictures == dict.fromkeys([1], next(iter(moves)))
    assert labels.frames.tolist() == [1, 1, 3]


def test_long_sequences_are_written_in_parts(tmp_path: Path) -> None:
    labels = small(length=4001).replace(frames=np.array([1, 2000, 2001]))
    writer = written(tmp_path / "out", labels)
    parts = list(read_ground_truth(tmp_path / "out"))
    assert [part.name for part in parts] == ["street-part1", "street-part2", "street-part3"]
    assert [part.length for part in parts] == [2000, 2000, 1]
    assert [part.frames.tolist() for part in parts] == [[1, 2000], [1], []]
    assert parts[1].source_ids.to_list() == parts[0].source_ids.to_list()[:1]
    assert parts[1].ids.tolist() == [4]
    assert list(writer.notes) == ["sequence 'street' is written in 3 parts of 2,000 frames"]
    exact = written(tmp_path / "exact", labels[:2].replace(length=2000))
    assert not exact.notes


def test_long_names_are_shortened_and_come_back(tmp_path: Path) -> None:
    classes = ("person on vehicle", "person on vehicle, seated", "person on vehicl")
    labels = small().replace(classes=classes, class_ids=np.array([0, 1, 0]))
    writer = written(tmp_path / "out", labels)
    line = json.loads((tmp_path / "out/manifests/output/output.manifest").read_text())
    short = ["person on vehicl", "person on vehi~2", "person on vehi~3"]
    assert list(line["motrail-ref-metadata"]["class-map"].values()) == short
    assert next(iter(writer.notes)) == (
        "class 'person on vehicle' is written as 'person on vehicl': labels have 16 characters"
    )
    assert only(tmp_path / "out").classes == classes
    # Names that do not belong to the labels are not taken.
    (tmp_path / "out" / "labels.txt").write_text("a\nb\nc\n")
    assert only(tmp_path / "out").classes == tuple(short)
    (tmp_path / "out" / "labels.txt").write_bytes(b"\xff\n")
    assert only(tmp_path / "out").classes == tuple(short)


def test_short_names() -> None:
    assert short_names([]) == []
    assert short_names(["", "a", " "]) == ["unnamed", "a", "unnamed~2"]
    many = short_names([f"{'x' * 16}{number}" for number in range(120)])
    assert len(set(many)) == 120
    assert max(map(len, many)) == 16


def test_size_and_frame_rate_stand_beside_the_sequence_file(tmp_path: Path) -> None:
    labels = small(width=640).replace(height=360, frame_rate=12.5)
    written(tmp_path / "out", labels)
    back = only(tmp_path / "out")
    assert (back.width, back.height, back.frame_rate) == (640, 360, 12.5)


def test_notes(tmp_path: Path) -> None:
    labels = small(width=640, keyframe=np.array([True, False, False])).replace(
        ids=np.array([-1, 7, -1])
    )
    writer = written(tmp_path / "out", labels, labels[:0].replace(name="b", length=0))
    assert dict(writer.notes) == {
        "boxes filled in between keyframes are written as if set by hand": 2,
        "boxes without an id are written as an object each": 2,
        "sequence 'b' has no frames and is left out": 1,
    }
    assert only(tmp_path / "out").ids.tolist() == [8, 7, 9]
    many = [small(pictures={2: Path("x.jpg")}).replace(name=f"s{i}")[2:] for i in range(11)]
    names = [f"c{i}" for i in range(31)]
    many[0] = many[0].replace(classes=("person", "car", *names[2:]))
    writer = written(tmp_path / "many", *many)
    assert dict(writer.notes) == {
        "frames before the first picture and after the last are not written": 11,
        "31 classes are written; a Ground Truth job takes at most 30": 1,
        "11 sequences are written; a Ground Truth job takes at most 10, so deal out the lines of "
        "output.manifest": 1,
    }


def test_objects_that_share_a_source_id_get_their_own(tmp_path: Path) -> None:
    written(tmp_path / "out", small(source_ids=Coded.of(["same", "same", "same"])))
    back = only(tmp_path / "out")
    assert back.ids.tolist() == [4, 7, 4]
    assert len(back.source_ids.values) == 2
    assert "same" not in back.source_ids.values
    written(tmp_path / "again", small(source_ids=Coded.of(["same", "same", "same"])))
    assert only(tmp_path / "again").source_ids.to_list() == back.source_ids.to_list()


def test_wrong_use_of_the_writer(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a job's name of at most 58 letters, .* 'a b'"):
        GroundTruthWriter(tmp_path, ClassList(), job="a b")
    with pytest.raises(ConfigError, match="expected a prefix such as s3://bucket/folder, found"):
        GroundTruthWriter(tmp_path, ClassList(), prefix="bucket")
    bad = small().replace(boxes_xywh=np.full((3, 4), np.nan))
    with pytest.raises(DataError, match="street: expected boxes of finite numbers"):
        GroundTruthWriter(tmp_path, ClassList()).add(bad)
