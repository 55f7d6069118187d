"""Datasets of any import, opened to be corrected."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from labelled import create, write_clip
from motrail.dataset.convert import import_labels
from motrail.dataset.folder import open_dataset
from motrail.dataset.footage import Footage
from motrail.errors import FormatError
from motrail.formats.labels import ReadOptions
from motrail.formats.recognize import open_labels
from motrail.label import edits
from motrail.label.imports import Remembered, labels_of, objects_of, packed
from motrail.label.model import HAND, OCCLUDED, boxes_of
from motrail.label.project import open_project
from motrail.label.save import save
from motrail.video.read import decode_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels
    from motrail.label.save import FramesWanted
    from motrail.label.store import Store


def told(done: int, total: int | None = None, message: str | None = None) -> None:
    pass


def saved(store: Store, frames: FramesWanted = "auto") -> dict[str, Any]:
    return save(store, told, frames)


def read(path: Path) -> NDArray[np.uint8]:
    return decode_image(path.read_bytes(), str(path))


def draw(store: Store, *patches: dict[str, Any], sequence: int = 0) -> None:
    store.edit_now(sequence, "draw", patches)


def files(folder: Path) -> dict[str, bytes]:
    """All that is there but the store."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("label.sqlite")
    }


def imported(tmp_path: Path, data: Path, name: str = "MOT17-02-FRCNN") -> Path:
    """A dataset of real labels and frames."""
    folder = tmp_path / "imported"
    import_labels([data / "mot17_mini" / name], folder)
    return folder


def test_a_dataset_opened_and_saved_is_the_same(tmp_path: Path, data: Path) -> None:
    folder = imported(tmp_path, data)
    (folder / "notes.txt").write_text("mine")
    (folder / "all" / "MOT17-02-FRCNN" / "extra.json").write_text("{}")
    before = files(folder)
    store = open_project([folder])
    points = sum(len(item.points) for item in store.objects(0).values())
    saved(store)
    store.close()
    after = files(folder)
    assert {k: v for k, v in after.items() if not k.startswith("ground_truth/")} == before
    assert 0 < points < len(before["all/MOT17-02-FRCNN/gt/gt.txt"].splitlines())


def test_a_copy_is_corrected_and_the_original_stays(tmp_path: Path, data: Path) -> None:
    folder = imported(tmp_path, data)
    before = files(folder)
    store = open_project([folder], tmp_path / "corrected")
    item = next(iter(store.objects(0).values()))
    moved = item.replace(points=edits.correct(item.points, int(item.points[0, 0]), (1, 2, 30, 40)))
    draw(store, *edits.patches_of([(item, moved)]))
    saved(store)
    store.close()
    assert files(folder) == before
    ((_, old),) = open_dataset(folder).labels()
    ((_, new),) = open_dataset(tmp_path / "corrected").labels()
    old, new = old.in_order(), new.in_order()
    frame = int(item.points[0, 0])
    row = np.flatnonzero((new.ids == item.id) & (new.frames == frame))
    assert new.boxes_xywh[row].tolist() == [[1, 2, 30, 40]]
    assert new.visibility[row].tolist() == old.visibility[row].tolist()
    others = old.ids != item.id
    assert np.array_equal(old.boxes_xywh[others], new.boxes_xywh[others])
    assert np.array_equal(old.visibility, new.visibility)


@pytest.mark.parametrize("kind", ["cvat", "label_studio", "ground_truth"])
def test_other_formats_come_back_as_they_were(tmp_path: Path, data: Path, kind: str) -> None:
    count = 0
    for source in sorted((data / "labels" / kind).iterdir()):
        try:
            labels = list(open_labels(source, ReadOptions(size=(1920, 1080), length=3000)))
        except FormatError:
            continue
        for each in labels:
            found = objects_of(each)
            back = Remembered(packed(found)).restore(
                labels_of(each.name, each.classes, found.objects), found.objects
            )
            _expect_same(each.in_order(), back.in_order())
            count += len(each)
    assert count


def _expect_same(one: Labels, other: Labels) -> None:
    assert np.array_equal(one.frames, other.frames)
    order = [np.lexsort((*labels.boxes_xywh.T, labels.frames)) for labels in (one, other)]
    one, other = one[order[0]], other[order[1]]
    for column in ("boxes_xywh", "visibility", "ignore", "keyframe"):
        assert np.array_equal(getattr(one, column), getattr(other, column)), column
    assert one.source_ids.to_list() == other.source_ids.to_list()
    same = [
        (dict(a or {}), dict(b or {}))
        for a, b in zip(one.attributes.to_list(), other.attributes.to_list(), strict=True)
    ]
    assert all(a == b for a, b in same)


def rows(**said: Any) -> Labels:
    from motrail.formats.labels import Labels

    count = 5
    boxes = np.array([[10.0 + n, 5, 20, 30] for n in range(count)])
    return Labels.of(
        "x", ("person",), np.arange(1, count + 1), np.full(count, 3), boxes,
        np.zeros(count, np.int64), length=count, **said,
    )  # fmt: skip


def test_keyframes_become_points_by_hand() -> None:
    keyframe = np.array([True, False, True, False, True])
    (item,) = objects_of(rows(keyframe=keyframe)).objects
    assert item.points[:, [0, 5]].tolist() == [[1, HAND], [3, HAND], [5, HAND]]
    (dense,) = objects_of(rows()).objects
    assert dense.points[:, [0, 5]].tolist() == [[1, HAND], [5, HAND]]
    (machine,) = objects_of(rows(keyframe=np.zeros(5, np.bool_))).objects
    assert machine.points[:, [0, 5]].tolist() == [[1, 0], [5, 0]]


def test_what_all_boxes_say_the_object_says() -> None:
    from motrail.formats.labels import Coded

    said: Coded[Any] = Coded.of(
        [{"team": "red", "n": n, "occluded": n in (2, 3)} for n in range(5)]
    )
    labels = rows(attributes=said)
    found = objects_of(labels)
    (item,) = found.objects
    assert item.attributes == {"team": "red"}
    assert np.flatnonzero(boxes_of(item.points).occluded).tolist() == [2, 3]
    assert OCCLUDED in item.points[:, 5].astype(int) & OCCLUDED
    changed = [item.replace(attributes={"team": "blue", "new": 1})]
    back = Remembered(packed(found)).restore(labels_of("x", ["person"], changed), changed)
    assert back.attributes.to_list() == [
        {"team": "blue", "n": n, "occluded": n in (2, 3), "new": 1} for n in range(5)
    ]


def test_boxes_without_an_id_come_back_without() -> None:
    labels = rows().replace(ids=np.full(5, -1))
    found = objects_of(labels)
    assert len({item.id for item in found.objects}) == 5
    back = Remembered(packed(found)).restore(
        labels_of("x", ["person"], found.objects), found.objects
    )
    assert back.ids.tolist() == [-1] * 5


def test_visibility_goes_with_the_box_when_identities_are_swapped() -> None:
    one = rows(visibility=np.linspace(0.1, 0.5, 5))
    two = rows(visibility=np.linspace(0.6, 1.0, 5))
    from motrail.formats.labels import Labels

    both = Labels.of(
        "x", ("person",), np.tile(one.frames, 2), np.repeat([3, 4], 5),
        np.concatenate([one.boxes_xywh, one.boxes_xywh + 100]), np.zeros(10, np.int64),
        visibility=np.concatenate([one.visibility, two.visibility]), length=5,
    )  # fmt: skip
    found = objects_of(both)
    a, b = found.objects
    swapped = edits.swap(a.points, b.points, 3)
    items = [a.replace(points=swapped[0]), b.replace(points=swapped[1])]
    back = Remembered(packed(found)).restore(labels_of("x", ["person"], items), items)
    assert back[back.ids == 3].visibility.tolist() == pytest.approx([0.1, 0.2, 0.8, 0.9, 1.0])
    assert back[back.ids == 4].visibility.tolist() == pytest.approx([0.6, 0.7, 0.3, 0.4, 0.5])


def test_a_dataset_in_place_goes_on(tmp_path: Path, data: Path) -> None:
    folder = imported(tmp_path, data)
    for _ in range(3):
        store = open_project([folder])
        assert len(store.sequences()) == 1
        store.close()
    clip = write_clip(tmp_path / "clip.mp4", frames=4)
    store = open_project([folder, clip], folder, split="val")
    assert [(info.name, info.split) for info in store.sequences()] == [
        ("MOT17-02-FRCNN", "all"), ("clip", "val")
    ]  # fmt: skip
    draw(store, create(1, [1, 1, 1, 5, 5, 1], label="pedestrian"), sequence=1)
    saved(store, "all")
    store.close()
    assert set(open_dataset(folder).splits) == {"all", "val"}
    store = open_project([], folder)
    assert len(store.sequences()) == 2
    store.close()


def test_a_size_only_dataset_has_no_pictures(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "imported"
    (tmp_path / "gt").mkdir()
    shutil.copy(data / "mot17_mini" / "MOT17-02-FRCNN" / "gt" / "gt.txt", tmp_path / "gt")
    import_labels([tmp_path / "gt" / "gt.txt"], folder, footage=Footage(size=(1920, 1080)))
    before = files(folder)
    store = open_project([folder])
    assert store.sequence(0).pictures == {}
    saved(store)
    store.close()
    found = files(folder)
    assert {k: v for k, v in found.items() if not k.startswith("ground_truth/")} == before
