"""Real labels through every format and back: nothing is lost on the way."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from motrail.dataset.convert import export_labels, import_labels, writer_of
from motrail.dataset.folder import open_dataset
from motrail.formats.mot.reader import read_mot
from motrail.formats.recognize import FORMATS, recognize

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.formats.labels import Labels

Prove = Callable[[str, str, object], None]
NEAR = 0.01  # pixels


def compare(before: Labels, after: Labels) -> Counter[str]:
    """How many rows differ in what; both in order of frame and id."""
    before, after = before.in_order(), after.in_order()
    assert len(after) == len(before)
    apart = np.abs(after.boxes_xywh - before.boxes_xywh).max(axis=1)
    names_before = np.array(before.classes)[before.class_ids]
    names_after = np.array(after.classes)[after.class_ids]
    found = Counter(
        frames=int((after.frames != before.frames).sum()),
        ids=int((after.ids != before.ids).sum()),
        boxes=int((apart > NEAR).sum()),
        classes=int((names_after != names_before).sum()),
        visibility=int((after.visibility != before.visibility).sum()),
        ignore=int((after.ignore != before.ignore).sum()),
    )
    for key in ("width", "height", "length"):
        found[key] = int(getattr(after, key) != getattr(before, key))
    return found


def there_and_back(mot: Path, format_: str, folder: Path) -> tuple[int, Counter[str]]:
    """MOT → dataset → format → dataset, whose MOT files are compared with the first ones."""
    import_labels([mot], folder / "in")
    export_labels(folder / "in", folder / "out", writer_of(format_))
    assert recognize(folder / "out") == format_
    import_labels([folder / "out"], folder / "back")
    before = {labels.name: labels for labels in read_mot(mot)}
    after = {labels.name: labels for labels in read_mot(folder / "back" / "all")}
    assert after.keys() == before.keys()
    differences: Counter[str] = Counter()
    for name, labels in before.items():
        differences.update(compare(labels, after[name]))
    return sum(map(len, before.values())), +differences


@pytest.mark.parametrize("format_", FORMATS)
def test_one_sequence_of_mot17(data: Path, tmp_path: Path, format_: str) -> None:
    boxes, differences = there_and_back(data / "mot17" / "gt" / "MOT17-09", format_, tmp_path)
    assert boxes == 10_411
    assert not differences


@pytest.mark.proof
@pytest.mark.parametrize("format_", FORMATS)
def test_all_of_mot17(data: Path, tmp_path: Path, format_: str, prove: Prove) -> None:
    boxes, differences = there_and_back(data / "mot17" / "gt", format_, tmp_path)
    said = f"{boxes} boxes, differences: {dict(differences) or 'none'}"
    prove(f"MOT17 → {format_} → MOT", "all the same", said)
    assert not differences


@pytest.mark.parametrize("format_", FORMATS)
def test_with_pictures(data: Path, tmp_path: Path, format_: str) -> None:
    """Formats that bring their pictures bring them back byte by byte."""
    _, differences = there_and_back_with_pictures(data / "mot17_mini", format_, tmp_path)
    assert not differences


def there_and_back_with_pictures(
    mini: Path, format_: str, folder: Path
) -> tuple[int, Counter[str]]:
    import_labels([mini], folder / "in")
    export_labels(folder / "in", folder / "out", writer_of(format_))
    import_labels([folder / "out"], folder / "back")
    differences: Counter[str] = Counter()
    count = 0
    before = {labels.name: labels for _, labels in open_dataset(folder / "in").labels()}
    after = {labels.name: labels for _, labels in open_dataset(folder / "back").labels()}
    assert after.keys() == before.keys()
    for name, labels in before.items():
        found = compare(labels, after[name])
        if format_ in ("ground-truth", "coco"):
            del found["length"]  # of the frames that have pictures; they list no others
        differences.update(found)
        if format_ in ("ground-truth", "coco", "mot"):
            assert after[name].pictures.keys() == labels.pictures.keys()
            for number, picture in labels.pictures.items():
                assert after[name].pictures[number].read_bytes() == picture.read_bytes()
        count += len(labels)
    return count, +differences


def test_pycocotools_takes_the_record(data: Path, tmp_path: Path) -> None:
    """All classes of a dataset against themselves; those only ignored have no precision."""
    import_labels([data / "mot17_mini"], tmp_path / "set")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "set" / "annotations" / "all.json"))
        keys = ("image_id", "category_id", "bbox")
        rows = [{key: row[key] for key in keys} | {"score": 1.0} for row in truth.anns.values()]
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.params.maxDets = [1, 10, 500]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 2]
    assert len(rows) == 1540
    assert set(np.unique(precision).tolist()) == {-1.0, 1.0}


class TestImport:
    def test_the_dataset_folder(self, data: Path, tmp_path: Path) -> None:
        summary = import_labels([data / "mot17_mini"], tmp_path / "set")
        assert (summary.sequences, summary.pictures, summary.boxes) == (7, 39, 1540)
        folder = tmp_path / "set"
        assert sorted(p.name for p in folder.iterdir()) == ["all", "annotations", "labels.txt"]
        record = json.loads((folder / "annotations" / "all.json").read_text())
        assert len(record["images"]) == 39
        for image in record["images"]:
            assert (folder / "all" / image["file_name"]).is_file()
        sizes = {image["file_name"].split("/")[0]: image["width"] for image in record["images"]}
        assert sizes["MOT17-05-FRCNN"] == 640
        assert sizes["MOT17-02-FRCNN"] == 1920
        assert (folder / "labels.txt").read_text().splitlines()[:2] == [
            "pedestrian",
            "person on vehicle",
        ]
        picture = folder / "all" / "MOT17-05-FRCNN" / "img1" / "000001.jpg"
        original = data / "mot17_mini" / "MOT17-05-FRCNN" / "img1" / "000001.jpg"
        assert picture.read_bytes() == original.read_bytes()

    def test_the_record_says_what_the_mot_files_say(self, data: Path, tmp_path: Path) -> None:
        import_labels([data / "mot17" / "gt" / "MOT17-05"], tmp_path / "set")
        ((_, record),) = open_dataset(tmp_path / "set").labels()
        (files,) = read_mot(tmp_path / "set" / "all")
        assert not +compare(files, record)
        assert record.frame_rate == files.frame_rate == 14

    def test_without_pictures_the_size_comes_from_seqinfo(self, data: Path, tmp_path: Path) -> None:
        import_labels([data / "mot17" / "gt" / "MOT17-05"], tmp_path / "set")
        record = json.loads((tmp_path / "set" / "annotations" / "all.json").read_text())
        assert {(i["width"], i["height"]) for i in record["images"]} == {(640, 480)}
        assert len(record["images"]) == 837
