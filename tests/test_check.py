"""Checking datasets: every planted fault is found, nothing else is; mending loses nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from motrail.dataset.check.findings import FAULTS, HINTS, MAX_EXAMPLES, Findings, runs, show_runs
from motrail.dataset.check.run import check
from motrail.dataset.convert import import_labels
from motrail.dataset.folder import DatasetWriter, open_dataset
from motrail.dataset.footage import place
from motrail.errors import ConfigError, FormatError
from motrail.formats.faults import Fault
from motrail.formats.labels import ClassList, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from motrail.dataset.check.findings import Example, Report

CLASSES = ("person", "car")
SIZE = (320, 240)
LENGTH = 8  # frame 1 has no labels
NAMES = ("a", "b", "c")
OBJECTS = 12  # of each sequence; ids 1 to 6 are persons, 7 to 12 cars


def labels_of(name: str, shift: int = 0) -> Labels:
    """Twelve objects of 30x30 pixels in a grid that move by 2 pixels a frame, in frames 2 to 8."""
    frames = np.repeat(np.arange(2, LENGTH + 1), OBJECTS)
    ids = np.tile(np.arange(1, OBJECTS + 1), LENGTH - 1)
    left = 10 + 70 * ((ids - 1) % 4) + 2 * frames + shift
    top = 10 + 70 * ((ids - 1) // 4) + 0.25 * ids
    boxes = np.stack([left, top, np.full(len(ids), 30), np.full(len(ids), 30)], axis=1)
    return Labels.of(
        name,
        CLASSES,
        frames.astype(np.int64),
        ids.astype(np.int64),
        boxes.astype(np.float64),
        (ids > 6).astype(np.int64),
        visibility=np.full(len(ids), 0.75),
        width=SIZE[0],
        height=SIZE[1],
        length=LENGTH,
        frame_rate=25.0,
    )


def write_dataset(
    folder: Path, sequences: Mapping[str, list[Labels]], classes: tuple[str, ...] = CLASSES
) -> Path:
    folder.mkdir(exist_ok=True)
    with DatasetWriter(folder, ClassList(classes)) as writer:
        for split, several in sequences.items():
            for labels in several:
                place(writer.add(labels, split), link=False)
        writer.finish()
    return folder


def with_pictures(labels: Labels, folder: Path, seed: int) -> Labels:
    """Noise of which each frame shows another part."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    wide = cv2.resize(rng.integers(0, 255, (24, 64), dtype=np.uint8), (640, 240))
    pictures = {}
    for frame in range(1, LENGTH + 1):
        pictures[frame] = folder / f"{frame}.jpg"
        part = np.ascontiguousarray(wide[:, 8 * frame : 8 * frame + SIZE[0]])
        cv2.imwrite(str(pictures[frame]), part)
    return labels.replace(pictures=pictures)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    several = [
        with_pictures(labels_of(name, shift), root / "pictures" / name, shift)
        for shift, name in enumerate(NAMES)
    ]
    return write_dataset(root / "dataset", {"all": several})


@pytest.fixture
def dataset(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "d"))


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def counts(report: Report) -> dict[str, int]:
    return {group.kind: group.count for group in report.groups}


def examples(report: Report, kind: str) -> list[Example]:
    group = report.group(kind)
    return group.examples if group else []


# --- planting ---------------------------------------------------------------------------------

GT = "all/a/gt/gt.txt"
INFO = "all/a/seqinfo.ini"
RECORD = "annotations/all.json"
SECTION = "a section [Sequence] with imWidth, imHeight and seqLength"
IMAGES = "all/a/img1"
Plant = "Callable[[Path], None]"


def line(number: int, new: Callable[[list[str]], list[str] | None]) -> Callable[[Path], None]:
    """Change a line of a's gt.txt, cell by cell; None takes it away."""

    def plant(dataset: Path) -> None:
        path = dataset / GT
        lines = path.read_text().splitlines()
        cells = new(lines[number - 1].split(","))
        lines[number - 1 : number] = [] if cells is None else [",".join(cells)]
        path.write_text("".join(f"{text}\n" for text in lines))

    return plant


def cell(number: int, column: int, value: str) -> Callable[[Path], None]:
    return line(number, lambda cells: [*cells[: column - 1], value, *cells[column:]])


def append(file: str, text: str) -> Callable[[Path], None]:
    def plant(dataset: Path) -> None:
        with (dataset / file).open("a") as stream:
            stream.write(text)

    return plant


def swap(file: str, old: str, new: str, count: int = 1) -> Callable[[Path], None]:
    def plant(dataset: Path) -> None:
        text = (dataset / file).read_text()
        assert old in text
        (dataset / file).write_text(text.replace(old, new, count))

    return plant


def record(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def plant(dataset: Path) -> None:
        content = json.loads((dataset / RECORD).read_text())
        change(content)
        (dataset / RECORD).write_text(json.dumps(content))

    return plant


def annotation(index: int, **values: object) -> Callable[[Path], None]:
    return record(lambda content: content["annotations"][index].update(values))


def remove(file: str) -> Callable[[Path], None]:
    def plant(dataset: Path) -> None:
        path = dataset / file
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return plant


def copy(old: str, new: str) -> Callable[[Path], None]:
    def plant(dataset: Path) -> None:
        if (dataset / old).is_dir():
            shutil.copytree(dataset / old, dataset / new)
        else:
            shutil.copyfile(dataset / old, dataset / new)

    return plant


def put(file: str, content: bytes) -> Callable[[Path], None]:
    def plant(dataset: Path) -> None:
        (dataset / file).write_bytes(content)

    return plant


def all_of(*plants: Callable[[Path], None]) -> Callable[[Path], None]:
    def plant(dataset: Path) -> None:
        for one in plants:
            one(dataset)

    return plant


def small_picture(dataset: Path) -> None:
    cv2.imwrite(str(dataset / IMAGES / "000003.jpg"), np.full((100, 100, 3), 90, np.uint8))


def half_record(dataset: Path) -> None:
    text = (dataset / RECORD).read_text()
    (dataset / RECORD).write_text(text[: len(text) // 2])


def png_picture(dataset: Path) -> None:
    image = cv2.imread(str(dataset / IMAGES / "000003.jpg"))
    assert image is not None
    cv2.imwrite(str(dataset / IMAGES / "000003.png"), image)


def empty_split(dataset: Path) -> None:
    (dataset / "val").mkdir()


# Line 1 of gt.txt is frame 2, object 1: "2,1,14,10.25,30,30,1,1,0.75"; line 13 its frame 3.
# Annotations of the record stand in the same order, from 0.
FIXABLE: dict[str, tuple[Callable[[Path], None], dict[str, int], str, object, str]] = {
    "a row twice": (
        line(1, lambda cells: [*cells[:8], f"{cells[8]}\n{','.join(cells)}"]),
        {"duplicate": 1},
        GT,
        2,
        "expected object 1 once in frame 2, found it again (first: line 1)",
    ),
    "imExt": (
        swap(INFO, "imExt=.jpg", "imExt=.png"),
        {"image-extension": 1},
        INFO,
        "imExt",
        "imExt: expected .jpg as the images end, found .png",
    ),
    "seqLength": (
        swap(INFO, "seqLength=8", "seqLength=600"),
        {"seq-length": 1},
        INFO,
        "seqLength",
        "expected the number of images, 8, found 600",
    ),
    "length of the record": (
        swap(RECORD, '"length": 8', '"length": 600'),
        {"seq-length": 1},
        "all/a",
        None,
        "expected the number of images, 8, found 600 in the record",
    ),
    "no labels.txt": (
        remove("labels.txt"),
        {"labels.txt": 1},
        "labels.txt",
        None,
        "expected a file with the names of the classes, one a line, found none",
    ),
    "no gt.txt": (remove(GT), {"no-gt": 1}, GT, None, "expected this file, found none"),
    "no gt": (remove("all/a/gt"), {"no-gt": 1}, GT, None, "expected this file, found none"),
    "no seqinfo.ini": (
        remove(INFO),
        {"no-seqinfo": 1},
        INFO,
        None,
        "expected this file, found none",
    ),
    "no record": (
        remove(RECORD),
        {"no-record": 1},
        RECORD,
        None,
        "expected the record of the split, found no such file",
    ),
}

LEFT: dict[str, tuple[Callable[[Path], None], dict[str, int], str, object, str]] = {
    "no width": (
        cell(13, 5, "0"), {"size": 1}, GT, 13, "expected a width and height above 0, found 0 × 30",
    ),
    "a word": (
        cell(13, 3, "left"), {"layout": 1}, GT, 13,
        "expected numbers separated by commas, found '3,1,left,10.25,30,30,1,1,0.75'",
    ),
    "far too large": (
        cell(13, 3, "2e9"), {"number": 1}, GT, 13,
        "expected a box in pixels, found 2e+09, 10.25, 30, 30",
    ),
    "an object twice": (
        append(GT, "3,1,50,60,30,30,1,1,0.75\n"), {"duplicate": 1}, GT, 85,
        "expected object 1 once in frame 3, found it again (first: line 13)",
    ),
    "a frame too far": (
        cell(84, 1, "9"), {"frame": 1}, GT, 84,
        "expected a frame of the sequence, 1 to 8, found 9",
    ),
    "visibility": (
        cell(13, 9, "1.5"), {"visibility": 1}, GT, 13,
        "expected a visibility of 0 to 1, or -1 for unknown, found 1.5",
    ),
    "unknown class": (
        cell(13, 8, "3"), {"class": 1}, GT, 13,
        "unknown class: expected one of labels.txt, 1 to 2, found 3",
    ),
    "two classes": (
        cell(13, 8, "2"), {"two-classes": 1}, GT, 13,
        ("expected object 1 to stay 'person' as at first (line 1), found 'car'; an id belongs to "
        "one object of one class"),
    ),
    "active 2": (
        cell(13, 7, "2"), {"number": 1}, GT, 13,
        "expected 1 (active) or 0 (ignore) in column 7, found 2",
    ),
    "another box": (
        cell(13, 3, "17"), {"projection": 1}, GT, None,
        ("1 row with another box in gt.txt than in the record; the first: frame 3, id 1: "
        "17, 10.25, 30, 30 instead of 16, 10.25, 30, 30"),
    ),
    "another id": (
        cell(13, 2, "99"), {"projection": 1}, GT, None,
        ("1 row with another id in gt.txt than in the record; the first: frame 3, id 99 instead "
        "of 1"),
    ),
    "another active": (
        cell(13, 7, "0"), {"projection": 1}, GT, None,
        ("1 row with another active in gt.txt than in the record; the first: frame 3, id 1: 0 "
        "instead of 1"),
    ),
    "another visibility": (
        cell(13, 9, "0.5"), {"projection": 1}, GT, None,
        ("1 row with another visibility in gt.txt than in the record; the first: frame 3, id 1: "
        "0.5 instead of 0.75"),
    ),
    "another class": (
        all_of(*(cell(12 * n + 1, 8, "2") for n in range(7))), {"projection": 7}, GT, None,
        ("7 rows with another class in gt.txt than in the record; the first: frame 2, id 1: 'car' "
        "instead of 'person'"),
    ),
    "a row less": (
        line(13, lambda _: None), {"projection": 1}, GT, None,
        "1 row of the record missing in gt.txt; the first: frame 3, id 1",
    ),
    "a row more": (
        append(GT, "3,40,50,60,30,30,1,1,0.75\n"), {"projection": 1}, GT, None,
        "1 row of gt.txt missing in the record; the first: frame 3, id 40",
    ),
    "another width": (
        swap(INFO, "imWidth=320", "imWidth=640"), {"projection": 1}, INFO, "imWidth",
        "imWidth: 640 instead of 320 as in the record",
    ),
    "another frame rate": (
        swap(INFO, "frameRate=25", "frameRate=30"), {"projection": 1}, INFO, "frameRate",
        "frameRate: 30 instead of 25 as in the record",
    ),
    "a word in seqinfo.ini": (
        swap(INFO, "imHeight=240", "imHeight=high"), {"seqinfo": 1}, INFO, None,
        "imHeight: expected a whole number above 0, at most 1e+06, found 'high'",
    ),
    "no section": (
        swap(INFO, "[Sequence]", "[Other]"), {"seqinfo": 1}, INFO, None,
        f"expected {SECTION}, found none that can be read",
    ),
    "record: no width": (
        annotation(12, bbox=[16, 10.25, 0, 30]), {"size": 1}, RECORD, "annotations[12]",
        "expected a width and height above 0, found 0 × 30",
    ),
    "record: no box": (
        annotation(12, bbox=None), {"layout": 1}, RECORD, "annotations[12].bbox",
        "expected a bbox, found nothing",
    ),
    "record: unknown class": (
        annotation(12, category_id=9), {"class": 1}, RECORD, "annotations[12].category_id",
        "expected the id of a category (1, 2), found 9",
    ),
    "record: unknown image": (
        annotation(12, image_id=999), {"image": 1}, RECORD, "annotations[12].image_id",
        "expected the id of an image, found 999",
    ),
    "record: an object twice": (
        annotation(13, track_id=1), {"duplicate": 1}, RECORD, "annotations[13]",
        "expected object 1 once in frame 3, found it again (first: annotations[12])",
    ),
    "record: an id twice": (
        annotation(13, id=13), {"duplicate": 1}, RECORD, "annotations[13].id",
        "expected each id once, found it again (first: annotations[12])",
    ),
    "record: cut in half": (half_record, {"json": 1}, RECORD, re.compile(r"annotations\[\d+\]"),
        "expected more, found the end of the file: it is half-written; write or fetch it again",
    ),
    "record: a sequence less": (
        copy("all/a", "all/d"), {"not-in-record": 1}, "all/d", None,
        "expected 'd' in all.json too, found it nowhere there",
    ),
    "other classes": (
        put("labels.txt", b"car\nperson\n"), {"labels.txt": 1, "projection": 252}, "labels.txt",
        None, "expected the categories of all.json, 'person', 'car', found 'car', 'person'",
    ),
    "labels.txt with a gap": (
        put("labels.txt", b"person\n\ncar\n"), {"labels.txt": 1}, "labels.txt", 2,
        "expected the name of a class, found nothing",
    ),
    "an empty split": (
        empty_split, {"empty-split": 1}, "val", None, "expected sequences, found none",
    ),
    "a labelled picture less": (
        remove(f"{IMAGES}/000004.jpg"), {"missing-picture": 1}, "all/a", None,
        "1 labelled frame without image: 4",
    ),
    "the last picture less": (
        remove(f"{IMAGES}/000008.jpg"), {"missing-picture": 1}, "all/a", None,
        "1 labelled frame without image: 8",
    ),
    "an unlabelled picture less": (
        remove(f"{IMAGES}/000001.jpg"), {"picture-gap": 1}, "all/a", None,
        "images are numbered 2 to 8; 1 unlabelled frame without image, the first gap begins at 1",
    ),
    "a picture beyond the end": (
        copy(f"{IMAGES}/000001.jpg", f"{IMAGES}/000020.jpg"),
        {"picture-beyond": 1, "picture-not-listed": 1}, "all/a", None,
        "1 image beyond the end, 8: 20",
    ),
    "two pictures of a frame": (
        png_picture, {"picture-number": 1, "image-extension": 1}, f"{IMAGES}/000003.png", None,
        "expected one picture for a frame, found 000003.jpg as well",
    ),
    "a picture of another size": (
        small_picture, {"image-size": 1}, f"{IMAGES}/000003.jpg", None,
        "expected 320x240 pixels as in the rest of the sequence, found 100x100",
    ),
    "a broken picture": (
        put(f"{IMAGES}/000003.jpg", b"no image"), {"broken-picture": 1}, f"{IMAGES}/000003.jpg",
        None, "expected an image (jpg, png, bmp, webp or tif), found: cannot identify image file",
    ),
}  # fmt: skip


def test_a_clean_dataset_has_no_findings(clean: Path) -> None:
    report = check(clean, decode=True)
    assert report.groups == []
    assert (report.sequences, report.frames, report.boxes) == (3, 24, 252)
    assert (report.faults, report.hints, report.fixed) == (0, 0, 0)
    assert check(clean / "all").groups == []


@pytest.mark.parametrize("name", [*FIXABLE, *LEFT])
def test_a_planted_fault_is_found_and_nothing_else(dataset: Path, name: str) -> None:
    plant, expected, file, where, message = (FIXABLE | LEFT)[name]
    plant(dataset)
    before = snapshot(dataset)
    report = check(dataset)
    assert counts(report) == expected
    assert report.faults == sum(expected.values())
    first = examples(report, next(iter(expected)))[0]
    assert Path(first.file) == dataset / file
    if isinstance(where, re.Pattern):
        assert where.fullmatch(str(first.place))
    else:
        assert first.place == where
    assert first.message == message
    assert snapshot(dataset) == before


@pytest.mark.parametrize("name", FIXABLE)
def test_mending_gives_back_what_was_there(clean: Path, dataset: Path, name: str) -> None:
    plant, expected, *_ = FIXABLE[name]
    plant(dataset)
    report = check(dataset, fix=True)
    assert snapshot(dataset) == snapshot(clean)
    assert (report.faults, report.hints, report.fixed) == (0, 0, 1)
    assert {group.kind: group.fixed for group in report.groups} == expected
    assert examples(report, next(iter(expected)))[0].message == FIXABLE[name][4]
    assert len(report.mended) == 1
    again = check(dataset, fix=True)
    assert (again.groups, again.mended) == ([], [])
    assert snapshot(dataset) == snapshot(clean)


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_mended_without_loss_stays(dataset: Path, name: str) -> None:
    plant, expected, *_ = LEFT[name]
    plant(dataset)
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == expected
    assert report.mended == []
    assert snapshot(dataset) == before


def test_all_kinds_are_explained() -> None:
    for title in (FAULTS | HINTS).values():
        assert 20 < len(title) < 200
    planted = {kind for _, kinds, *_ in (FIXABLE | LEFT).values() for kind in kinds}
    assert planted <= set(FAULTS)


def test_many_faults_at_once(dataset: Path) -> None:
    for name in ("a row twice", "imExt", "a word", "a labelled picture less"):
        (FIXABLE | LEFT)[name][0](dataset)
    cell(40, 2, "99")(dataset)
    append(GT, "".join(f"{n},5,1,1,0,1\n" for n in range(2, 9)) * 5)(dataset)
    report = check(dataset)
    assert counts(report)["size"] == 35
    assert [example.place for example in examples(report, "size")] == list(range(86, 96))
    assert len(examples(report, "size")) == MAX_EXAMPLES
    assert set(counts(report)) == {
        "duplicate", "image-extension", "projection", "size", "layout", "missing-picture",
    }  # fmt: skip
    document = json.loads(json.dumps(report.as_dict()))
    assert document["faults"] == report.faults == 40
    assert document["groups"][0] == {
        "kind": "projection",
        "level": "fault",
        "title": FAULTS["projection"],
        "count": 1,
        "fixed": 0,
        "examples": [
            {
                "file": str(dataset / GT),
                "place": None,
                "message": "1 row with another id in gt.txt than in the record; the first: "
                "frame 5, id 99 instead of 3",
            }
        ],
    }


def test_rows_in_another_order_and_endings_of_lines_are_no_fault(dataset: Path) -> None:
    lines = (dataset / GT).read_text().splitlines()
    text = "# by hand\r\n" + "".join(f"{row}\r\n" for row in reversed(lines))
    (dataset / GT).write_bytes(text.encode())
    (dataset / INFO).write_bytes(b"\xef\xbb\xbf" + (dataset / INFO).read_bytes())
    assert check(dataset).groups == []


# --- mending ----------------------------------------------------------------------------------


def test_only_equal_rows_are_removed(dataset: Path) -> None:
    text = (dataset / GT).read_text()
    first = text.splitlines()[0]
    (dataset / GT).write_text(f"{text}{first}\n2,1,0,0,9,9,1,1,0.75\n{first}\r\n")
    report = check(dataset, fix=True)
    group = report.group("duplicate")
    assert group is not None
    assert (group.count, group.fixed, report.faults) == (3, 2, 1)
    assert group.examples[0].place == 85
    assert (dataset / GT).read_text() == f"{text}2,1,0,0,9,9,1,1,0.75\n"
    assert report.mended == [f"{dataset / GT}: removed 2 rows that stood there twice"]


def test_equal_rows_without_identity_may_be_two_things(tmp_path: Path) -> None:
    labels = labels_of("a")
    rows = np.append(np.arange(len(labels)), [5, 5])
    labels = labels.replace(ids=np.full(len(labels), -1))[rows]
    dataset = write_dataset(tmp_path / "d", {"all": [labels]})
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert report.faults == 0
    assert counts(report)["unknown-ids"] == len(labels)
    assert snapshot(dataset) == before


@pytest.mark.parametrize("new_id", [13, 1000])
def test_annotations_that_stand_there_twice(clean: Path, dataset: Path, new_id: int) -> None:
    text = (dataset / RECORD).read_text()
    found = re.search(r'\{"id": 13, "image_id".*\}', text)
    assert found is not None
    again = found[0].replace('"id": 13,', f'"id": {new_id},', 1)
    # Behind the last one, in another layout.
    text = text.replace('],\n"videos"', f" ,  {again}" + '],\n"videos"')
    (dataset / RECORD).write_text(text)
    assert counts(check(dataset)) == {"duplicate": 1}
    report = check(dataset, fix=True)
    assert (report.faults, report.fixed) == (0, 1)
    assert report.mended == [f"{dataset / RECORD}: removed 1 annotation that stood there twice"]
    assert snapshot(dataset) == snapshot(clean)


def test_a_sequence_that_has_no_folder(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", {"all": [labels_of(n, i) for i, n in enumerate(NAMES)]})
    before = snapshot(dataset)
    shutil.rmtree(dataset / "all" / "b")
    report = check(dataset)
    assert counts(report) == {"no-folder": 1, "no-pictures": 2}
    assert examples(report, "no-folder")[0].message == "expected a folder all/b, found none"
    report = check(dataset, fix=True)
    assert (report.faults, report.fixed) == (0, 1)
    assert snapshot(dataset) == before


def test_a_missing_file_is_not_written_from_a_faulty_record(dataset: Path) -> None:
    (dataset / GT).unlink()
    annotation(200, bbox=[0, 0, 0, 0])(dataset)
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"no-gt": 1, "size": 1}
    assert report.mended == []
    assert snapshot(dataset) == before


def test_a_missing_record_is_not_written_from_faulty_rows(dataset: Path) -> None:
    (dataset / RECORD).unlink()
    cell(13, 5, "0")(dataset)
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"no-record": 1, "size": 1}
    assert snapshot(dataset) == before


def test_a_length_is_not_set_below_what_the_record_lists(tmp_path: Path) -> None:
    """Labelled without images; those that came later are too few."""
    dataset = write_dataset(tmp_path / "d", {"all": [labels_of(n, i) for i, n in enumerate(NAMES)]})
    for name in NAMES:
        with_pictures(labels_of(name), dataset / "all" / name / "new", ord(name))
        pictures = dataset / "all" / name / "img1"
        pictures.mkdir()
        for frame in range(1, LENGTH):
            (dataset / "all" / name / "new" / f"{frame}.jpg").rename(pictures / f"{frame:06d}.jpg")
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"missing-picture": 3}
    assert snapshot(dataset) == before
    # Without labels on the last frame the images could be all there are, but the record knows more.
    for name in NAMES:
        path = dataset / "all" / name / "gt" / "gt.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-OBJECTS]))
    record(
        lambda content: content.update(
            annotations=[a for a in content["annotations"] if a["image_id"] % LENGTH]
        )
    )(dataset)
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"seq-length": 3}
    assert report.fixed == 0
    assert snapshot(dataset) == before


def test_an_interrupted_mending_leaves_what_was_there(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a row twice", "imExt", "length of the record"):
        FIXABLE[name][0](dataset)
    before = snapshot(dataset)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        check(dataset, fix=True)
    assert snapshot(dataset) == before


# --- splits -----------------------------------------------------------------------------------


def test_a_sequence_in_two_splits(clean: Path, tmp_path: Path) -> None:
    a, b, c = (labels for _, labels in open_dataset(clean).labels())
    dataset = write_dataset(tmp_path / "d", {"train": [a, b], "val": [c, a.replace(name="z")]})
    report = check(dataset)
    assert counts(report) == {"leak": 1}
    example = examples(report, "leak")[0]
    assert Path(example.file) == dataset / "val" / "z"
    assert example.message == "the first or last image are those of train/a"


def test_a_sequence_without_images_in_two_splits(tmp_path: Path) -> None:
    a, b, c = (labels_of(name, shift) for shift, name in enumerate(NAMES))
    dataset = write_dataset(tmp_path / "d", {"train": [a, b], "val": [c, b]})
    report = check(dataset, pictures=False)
    assert counts(report) == {"leak": 1}
    assert examples(report, "leak")[0].message == "all labels are those of train/b"


def test_a_recording_cut_along_time_is_no_leak(tmp_path: Path) -> None:
    a, b = labels_of("a"), labels_of("b", 1)
    early, late = (a[(a.frames <= 4) == first] for first in (True, False))
    late = late.replace(frames=late.frames - 4, length=4)
    dataset = write_dataset(tmp_path / "d", {"train": [early.replace(length=4), b], "val": [late]})
    report = check(dataset, pictures=False)
    assert report.faults == 0
    assert examples(report, "same-name")[0].message == (
        "train/a has the same name and other images or labels"
    )


def test_a_split_is_checked_alone(dataset: Path) -> None:
    empty_split(dataset)
    assert check(dataset / "all").groups == []
    assert counts(check(dataset / "val")) == {"empty-split": 1}


# --- hints ------------------------------------------------------------------------------------


def hints(folder: Path, change: Callable[[Labels], Labels], **how: Any) -> Report:
    """What is found where sequence a is changed."""
    a, b, c = (labels_of(name, shift) for shift, name in enumerate(NAMES))
    changed = change(a)
    dataset = write_dataset(folder / "d", {"all": [changed, b, c]}, changed.classes)
    report = check(dataset, pictures=False, **how)
    assert report.faults == 0
    return report


def set_rows(labels: Labels, name: str, rows: slice, value: object) -> Labels:
    column = getattr(labels, name).copy()
    column[rows] = value
    return labels.replace(**{name: column})


# Rows 12n to 12n + 11 are frame n + 2; row 12n + k is object k + 1.
HINTS_PLANTED: dict[str, tuple[Callable[[Labels], Labels], dict[str, int], object, str]] = {
    "small": (
        lambda a: set_rows(a, "boxes_xywh", slice(3, 84, 12), [200, 10, 3.5, 30]),
        {"small-boxes": 7}, "frame 2",
        ("7 of 84 (8.33 %) boxes are under 8 px at 640x640 (images 320x240, scale 2); the "
        "smallest: 3.5x30, there 7.0 px, id 4"),
    ),
    "jump": (
        lambda a: set_rows(a, "boxes_xywh", slice(12, None, 12), [16, 100, 30, 30]),
        {"id-jump": 1}, "frame 3", "id 1: moved by 90 px, box 30x30",
    ),
    "no jump across a gap": (
        lambda a: set_rows(a, "boxes_xywh", slice(12, None, 12), [16, 100, 30, 30])[
            np.delete(np.arange(84), 12)
        ], {}, None, "",
    ),
    "exactly its own size": (
        lambda a: set_rows(a, "boxes_xywh", slice(12, None, 12), [14, 40.25, 30, 30]), {}, None, "",
    ),
    "unlabelled": (
        lambda a: a[(a.frames != 4) & (a.frames != 6) & (a.frames != 7)],
        {"unlabelled-frames": 3}, "frame 4", "3 frames in 2 runs between frames 2 and 8: 4, 6-7",
    ),
    "one object": (
        lambda a: a[a.ids == 1], {"one-object": 1}, None,
        "id 1 is the only one, in 7 of 8 frames",
    ),
    "one frame": (
        lambda a: a[(a.ids != 5) | (a.frames == 3)], {"one-frame-tracks": 1}, "frame 3",
        "id 5 is there in this frame only",
    ),
    "outside": (
        lambda a: set_rows(a, "boxes_xywh", slice(0, 84, 12), [-16, 10, 30, 30]),
        {"mostly-outside": 7}, "frame 2", "id 1: 53 % of the box is outside",
    ),
    "half outside": (
        lambda a: set_rows(a, "boxes_xywh", slice(0, 84, 12), [-15, 10, 30, 30]), {}, None, "",
    ),
    "wholly outside at a corner": (
        lambda a: set_rows(a, "boxes_xywh", slice(0, 84, 12), [-50, -50, 30, 30]),
        {"mostly-outside": 7}, "frame 2", "id 1: 100 % of the box is outside",
    ),
    "larger": (
        lambda a: set_rows(a, "boxes_xywh", slice(0, 84, 12), [-10, 10, 330, 30]),
        {"larger-than-image": 7}, "frame 2", "id 1: 330x30 in an image of 320x240",
    ),
    "as large as the image": (
        lambda a: set_rows(a, "boxes_xywh", slice(0, 84, 12), [0, 0, 320, 240]), {}, None, "",
    ),
    "ignored": (
        lambda a: set_rows(a, "ignore", slice(0, 68), True), {"mostly-ignored": 1}, None,
        "68 of 84 (81 %) boxes are ignored",
    ),
    "not mostly ignored": (lambda a: set_rows(a, "ignore", slice(0, 67), True), {}, None, ""),
    "unknown": (
        lambda a: set_rows(a, "ids", slice(0, 5), -1), {"unknown-ids": 5}, None,
        "5 of 84 (5.95 %) boxes have no identity",
    ),
    "a class of which there is none": (
        lambda a: a.replace(classes=(*CLASSES, "bus")), {"few-labels": 1}, None,
        "'bus': 0 objects, 0 boxes",
    ),
    "names": (
        lambda a: a.replace(classes=(*CLASSES, "Per-son")), {"class-names": 1, "few-labels": 1},
        None, "'person' and 'Per-son'",
    ),
    "unknown visibility": (
        lambda a: set_rows(a, "visibility", slice(None), -1), {}, None, "",
    ),
    "no labels at all": (lambda a: a[:0], {}, None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", HINTS_PLANTED)
def test_a_planted_hint_is_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    change, expected, where, message = HINTS_PLANTED[name]
    report = hints(tmp_path, change)
    assert counts(report) == expected
    assert report.hints == sum(expected.values())
    if expected:
        example = examples(report, next(iter(expected)))[0]
        assert (example.place, example.message) == (where, message)


def test_few_labels_of_a_class(tmp_path: Path) -> None:
    def buses(a: Labels) -> Labels:
        a = a.replace(classes=(*CLASSES, "bus", "tram"))
        a = set_rows(a, "class_ids", slice(0, 84, 12), 2)
        a = set_rows(a, "class_ids", slice(1, 84, 12), 3)
        return set_rows(a, "ignore", slice(1, 84, 12), True)

    report = hints(tmp_path, buses)
    assert [example.message for example in examples(report, "few-labels")] == [
        "'bus': 1 object, 7 boxes",
        "'tram': no boxes but 7 ignored ones",
    ]


def test_what_is_small_depends_on_the_training_size(tmp_path: Path) -> None:
    # 30 px in an image 320 wide are 15 px at 160, and 7.5 px at 80; 240 high would be 8 px at 64.
    assert counts(hints(tmp_path, lambda a: a, training_size=(160, 160))) == {}
    report = check(tmp_path / "d", pictures=False, training_size=(80, 500))
    assert counts(report) == {"small-boxes": 252}
    report = check(tmp_path / "d", pictures=False, training_size=(500, 63))
    assert counts(report) == {"small-boxes": 252}
    assert counts(check(tmp_path / "d", pictures=False, training_size=(500, 64))) == {}


def test_few_sequences_and_no_pictures(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", {"all": [labels_of("a"), labels_of("b", 1)]})
    report = check(dataset)
    assert counts(report) == {"few-sequences": 1, "no-pictures": 2}
    assert examples(report, "few-sequences")[0].message == "2 sequences in all/"
    assert examples(report, "no-pictures")[0].message == "no images for 8 frames"


def test_nearly_the_same_pictures(dataset: Path) -> None:
    image = cv2.imread(str(dataset / IMAGES / "000003.jpg"))
    assert image is not None
    cv2.imwrite(str(dataset / IMAGES / "000004.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 94])
    moved = image.copy()
    moved[100:130, 100:110] = np.clip(moved[100:130, 100:110].astype(int) + 40, 0, 255)
    cv2.imwrite(str(dataset / IMAGES / "000005.jpg"), moved, [cv2.IMWRITE_JPEG_QUALITY, 94])
    report = check(dataset)
    assert counts(report) == {"near-duplicates": 1}
    example = examples(report, "near-duplicates")[0]
    assert (Path(example.file), example.place) == (dataset / "all" / "a", "frame 4")
    assert example.message == ("1 of 7 images looked at: frame 4")


def test_only_decoding_finds_a_picture_that_is_cut_off(dataset: Path) -> None:
    path = dataset / IMAGES / "000003.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    assert counts(check(dataset)) == {}
    report = check(dataset, decode=True)
    assert counts(report) == {"broken-picture": 1}
    assert "the image is broken, cut off" in examples(report, "broken-picture")[0].message
    assert check(dataset, pictures=False, decode=True).groups == []


# --- other sources ----------------------------------------------------------------------------


def test_labels_that_are_no_dataset(dataset: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dataset / "all" / "a", tmp_path / "mot" / "a"))
    cell(13, 5, "0")(dataset)
    shutil.copyfile(dataset / GT, folder / "gt" / "gt.txt")
    report = check(folder)
    assert counts(report) == {"size": 1, "few-labels": 1 + 1}
    assert (report.sequences, report.boxes) == (1, 83)
    assert examples(report, "size")[0].place == 13
    report = check(dataset / RECORD)
    assert counts(report) == {}
    assert (report.sequences, report.frames, report.boxes) == (3, 24, 252)
    with pytest.raises(ConfigError, match="is no dataset, and only datasets can be mended"):
        check(folder, fix=True)


def test_wrong_calls(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a width and height above 0, found 640x0"):
        check(dataset, training_size=(640, 0))
    with pytest.raises(FormatError, match="no such file or folder"):
        check(tmp_path / "none")


def test_progress_is_told(dataset: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    check(dataset, progress=lambda *what: told.append(what))
    assert ("checking sequences", 3, None) in told
    assert ("a: looking at images", 8, 8) in told
    assert ("a: comparing images", 7, 7) in told


def test_mot17_mini(data: Path, tmp_path: Path) -> None:
    """Real images; seqLength is that of the whole sequences, of which only parts are there."""
    import_labels([data / "mot17_mini"], tmp_path / "d")
    report = check(tmp_path / "d")
    assert (report.sequences, report.faults) == (7, 7)
    assert {g.kind: g.count for g in report.groups if g.level == "fault"} == {"seq-length": 7}
    assert set(counts(report)) == {
        "seq-length", "small-boxes", "few-labels", "mostly-outside", "larger-than-image",
    }  # fmt: skip
    report = check(tmp_path / "d", fix=True)
    assert (report.faults, report.fixed, report.frames) == (0, 7, 39)
    assert [labels.length for _, labels in open_dataset(tmp_path / "d").labels()] == [
        4, 8, 6, 4, 5, 7, 5,
    ]  # fmt: skip


def test_mot17(data: Path, tmp_path: Path) -> None:
    import_labels([data / "mot17" / "gt"], tmp_path / "d")
    report = check(tmp_path / "d")
    assert (report.sequences, report.faults, report.frames) == (7, 0, 5316)
    rows = [p.read_bytes().count(b"\n") for p in (data / "mot17" / "gt").rglob("gt.txt")]
    assert report.boxes == sum(rows)
    assert report.group("id-jump") is None
    assert report.group("unlabelled-frames") is None
    assert counts(report)["no-pictures"] == 7


# --- hostile files ----------------------------------------------------------------------------


@pytest.mark.parametrize("file", [GT, INFO, RECORD, "labels.txt"])
def test_whatever_a_file_holds_is_reported(clean: Path, tmp_path: Path, file: str) -> None:
    without_images = shutil.ignore_patterns("img1")
    text = (clean / file).read_bytes()
    rng = np.random.default_rng(len(file))
    for number in range(25):
        dataset = Path(shutil.copytree(clean, tmp_path / str(number), ignore=without_images))
        data = bytearray(text)
        for at in rng.integers(0, len(data), rng.integers(1, 6)).tolist():
            data[at] = int(rng.integers(0, 256))
        if rng.random() < 0.3:
            data = data[: int(rng.integers(0, len(data)))]
        (dataset / file).write_bytes(bytes(data))
        report = check(dataset, pictures=False)
        json.dumps(report.as_dict())
        mended = check(dataset, pictures=False, fix=True)
        assert mended.faults == report.faults - mended.fixed
        assert list(dataset.rglob(".*")) == []


def test_names_that_lead_out_are_not_followed(dataset: Path) -> None:
    swap(RECORD, '"file_name": "a", "width"', '"file_name": "../../x", "width"')(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"no-folder": 1, "not-in-record": 1}
    assert report.mended == []
    assert not (dataset.parent / "x").exists()


def test_a_folder_that_is_none(dataset: Path) -> None:
    swap(INFO, "imDir=img1", "imDir=\0")(dataset)
    report = check(dataset)
    assert counts(report)["seqinfo"] == 1
    assert "expected a folder inside, found" in examples(report, "seqinfo")[0].message


def test_nothing_is_made_twice_where_names_may_have_changed(dataset: Path) -> None:
    """Without `videos` the sequences of the record are called otherwise than their folders."""
    record(lambda content: content.pop("videos"))(dataset)
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"no-folder": 3, "not-in-record": 3}
    assert snapshot(dataset) == before


def test_a_sequence_twice_in_the_record(dataset: Path) -> None:
    swap(RECORD, '"file_name": "b", "width"', '"file_name": "a", "width"')(dataset)
    report = check(dataset)
    assert counts(report) == {"duplicate": 1, "not-in-record": 1}
    assert examples(report, "duplicate")[0].message == (
        "expected each sequence once, found 'a' again"
    )


def test_a_length_is_not_set_below_the_last_row(dataset: Path) -> None:
    swap(INFO, "seqLength=8", "seqLength=600")(dataset)
    append(GT, "500,1,14,10,30,30,1,1,0.75\n")(dataset)
    before = snapshot(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"projection": 1, "seq-length": 1}
    assert snapshot(dataset) == before


def test_a_record_of_endless_length_is_not_written(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", {"all": [labels_of(n, i) for i, n in enumerate(NAMES)]})
    (dataset / RECORD).unlink()
    swap(INFO, "seqLength=8", "seqLength=3999999")(dataset)
    report = check(dataset, fix=True)
    assert counts(report) == {"no-record": 1, "no-pictures": 3}
    assert report.mended == []
    assert list((dataset / "annotations").iterdir()) == []


def test_an_empty_labels_txt_is_written(clean: Path, dataset: Path) -> None:
    (dataset / "labels.txt").write_text("\n")
    assert check(dataset, fix=True).fixed == 1
    assert snapshot(dataset) == snapshot(clean)


def test_findings_stay_small() -> None:
    findings = Findings()
    for number in range(1000):
        findings.found(Fault("size", "f", f"m{number}", number))
    findings.found(Fault("strange", "f", "m", None))
    findings.note_each("id-jump", "s", range(50), lambda row: (row, f"r{row}"))
    size, strange, jump = findings.groups()
    assert (size.count, len(size.examples)) == (1000, 10)
    assert (strange.level, strange.title) == ("fault", "something is not as its format asks")
    assert (jump.count, [e.place for e in jump.examples]) == (50, [0, 1, 2])


def test_errors_keep_their_place() -> None:
    findings = Findings()
    findings.error(FormatError("f.txt", "wrong", line=3))
    findings.error(FormatError("f.json", "bad", where="a[1]"))
    findings.error(FormatError("f", "odd"))
    assert [(e.file, e.place, e.message) for e in findings.groups()[0].examples] == [
        ("f.txt", 3, "wrong"),
        ("f.json", "a[1]", "bad"),
        ("f", None, "odd"),
    ]


def test_runs_of_numbers() -> None:
    assert show_runs(*runs(np.array([3, 7, 8, 9, 11]))) == "3, 7-9, 11"
    assert show_runs(*runs(np.arange(1, 14, 2))) == "1, 3, 5, 7, 9 …"
    assert show_runs(*runs(np.zeros(0, np.int64))) == ""
