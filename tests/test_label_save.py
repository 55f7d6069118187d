"""What is saved, and what stays as it was."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from labelled import create, number_of, picture, project, write_clip
from motrail.dataset.check.run import check
from motrail.dataset.folder import open_dataset
from motrail.errors import ConfigError, OutputError
from motrail.formats.recognize import open_labels
from motrail.label.project import open_project
from motrail.label.save import recover, save
from motrail.label.work import StoppedError
from motrail.video.read import decode_image

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A clip of 60 frames with an object in the first 41, and another that comes and goes."""
    made = project(tmp_path / "set")
    draw(
        made,
        create(1, [1, 10, 10, 20, 30, 1], [41, 50, 10, 20, 30, 1]),
        create(2, [5, 0, 0, 8, 9, 3], [20, 40, 5, 10, 11, 5], [22, 44, 5, 10, 11, 1], label="car"),
        create(3, [1, 0, 0, 96, 20, 1], [60, 0, 0, 96, 20, 1], label="car", ignore=True,
               attributes={"why": "crowd"}),
        create(4, [1, 1, 1, 5, 5, 1], status="proposed"),
    )  # fmt: skip
    yield made
    made.close()


def test_a_dataset_is_written(store: Store) -> None:
    assert saved(store) == {
        "dataset": str(store.folder), "sequences": 1, "boxes": 41 + 4 + 60, "frames": 60,
        "notes": [],
    }  # fmt: skip
    dataset = open_dataset(store.folder)
    assert dataset.classes == ("person", "car")
    ((split, labels),) = dataset.labels()
    assert (split, labels.name, labels.length) == ("all", "clip", 60)
    one = labels[labels.ids == 1]
    assert one.frames.tolist() == list(range(1, 42))
    assert one.boxes_xywh[:, 0].tolist() == pytest.approx(list(range(10, 51)))
    assert np.flatnonzero(one.keyframe).tolist() == [0, 40]
    two = labels[labels.ids == 2]
    assert two.frames.tolist() == [5, 20, 21, 22]
    assert [bool(said) for said in two.attributes.to_list()] == [False, True, True, False]
    three = labels[labels.ids == 3]
    assert three.ignore.all()
    assert three.attributes.to_list()[7] == {"why": "crowd"}
    for number, path in labels.pictures.items():
        assert number_of(read(path)) == number
    assert not check(store.folder).faults


def test_ground_truth_reads_the_same(store: Store) -> None:
    saved(store)
    (theirs,) = open_labels(store.folder / "ground_truth")
    ((_, ours),) = open_dataset(store.folder).labels()
    for mine, other in zip(_rows(ours), _rows(theirs), strict=True):
        assert mine[:3] == other[:3]
        assert mine[3] == pytest.approx(other[3])


def _rows(labels: Labels) -> list[tuple[int, int, str, list[float]]]:
    rows = zip(
        labels.frames.tolist(), labels.ids.tolist(),
        [labels.classes[index] for index in labels.class_ids.tolist()],
        labels.boxes_xywh.tolist(), strict=True,
    )  # fmt: skip
    return sorted(rows, key=lambda row: row[:2])


def test_saved_twice_is_the_same(store: Store) -> None:
    saved(store)
    first = files(store.folder)
    times = {p: p.stat().st_mtime_ns for p in store.folder.rglob("img1/*.jpg")}
    saved(store)
    assert files(store.folder) == first
    assert {p: p.stat().st_mtime_ns for p in store.folder.rglob("img1/*.jpg")} == times
    assert not list(store.folder.glob(".motrail*"))


def test_saved_again_follows_the_edits(store: Store) -> None:
    saved(store)
    draw(store, {"id": 1, "delete": True}, {"id": 3, "delete": True})
    store.set_classes([{"name": "lorry", "was": "car"}, {"name": "person", "was": "person"}])
    saved(store, "labelled")
    ((_, labels),) = open_dataset(store.folder).labels()
    assert labels.classes == ("lorry", "person")
    assert np.unique(labels.ids).tolist() == [2]
    # Frames 5 to 22 are 1 to 18 now.
    assert labels.frames.tolist() == [1, 16, 17, 18]
    assert [number_of(read(p)) for p in labels.pictures.values()] == list(range(5, 23))
    assert len(list((store.folder / "all" / "clip" / "img1").iterdir())) == 18
    assert not check(store.folder).faults
    saved(store, "all")
    ((_, labels),) = open_dataset(store.folder).labels()
    assert labels.frames.tolist() == [5, 20, 21, 22]
    assert [number_of(read(p)) for p in labels.pictures.values()] == list(range(1, 61))


def test_little_of_a_video_is_saved_alone(store: Store) -> None:
    draw(store, {"id": 1, "delete": True}, {"id": 3, "delete": True})
    answer = saved(store)
    assert answer["frames"] == 18
    assert answer["notes"] == [
        "clip: frames 5 to 22 of the video are saved, as 1 to 18; more with --frames all"
    ]


def test_nothing_to_save(tmp_path: Path) -> None:
    store = project(tmp_path / "set")
    with pytest.raises(ConfigError, match="there is nothing to save yet: draw a box first"):
        saved(store)
    assert [path.name for path in store.folder.iterdir() if path.name[:5] != "label"] == []
    store.close()


def test_what_is_not_labelled_is_left_out(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{name}.mp4", frames=5) for name in "ab"]
    store = project(tmp_path / "set", *clips)
    draw(store, create(1, [1, 1, 1, 5, 5, 1]), sequence=1)
    answer = saved(store, "all")
    assert (answer["sequences"], answer["frames"]) == (1, 5)
    assert answer["notes"] == ["a: nothing is labelled yet, so it is left out"]
    store.close()


def test_pictures_are_linked_and_never_changed(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 6):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    before = files(folder)
    store = project(tmp_path / "set", folder)
    draw(store, create(1, [2, 1, 1, 5, 5, 1]))
    saved(store)
    target = store.folder / "all" / "frames" / "img1" / "000002.png"
    assert target.samefile(folder / "2.png")
    assert files(folder) == before
    store.close()


# Whole or not at all


def test_a_saving_that_is_stopped_changes_nothing(store: Store) -> None:
    saved(store)
    draw(store, {"id": 1, "delete": True})
    before = files(store.folder)

    def stop(done: int, total: int | None = None, message: str | None = None) -> None:
        if message and "putting" in message:
            raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        save(store, stop)
    assert files(store.folder) == before


def _failing(monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException) -> None:
    """The rename with this number, counted from 0, fails."""
    count = Counter[str]()
    rename = Path.rename

    def fail(self: Path, target: Any) -> Path:
        count["all"] += 1
        if count["all"] == after + 1:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)


def test_a_rename_that_fails_is_taken_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(store)
    draw(store, {"id": 1, "delete": True})
    store.set_classes([{"name": "lorry", "was": "car"}, {"name": "person", "was": "person"}])
    before = files(store.folder)
    for after in range(100):
        with monkeypatch.context() as patch:
            _failing(patch, after, OSError(errno.ENOSPC, "full"))
            try:
                saved(store)
            except OutputError as error:
                assert "the disk is full" in str(error)  # noqa: PT017
                assert files(store.folder) == before
                continue
        break
    assert 6 < after < 99
    assert files(store.folder) != before


def test_a_process_that_dies_while_renaming(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(store)
    draw(store, {"id": 1, "delete": True})
    before = files(store.folder)
    place = store.folder
    for after in range(100):
        copy = place.with_name(f"copy{after}")
        store.close()
        shutil.copytree(place, copy)
        store = open_project([copy])
        died = False
        with monkeypatch.context() as patch:
            _failing(patch, after, KeyboardInterrupt())
            # Nothing is cleaned up, as after kill -9.
            patch.setattr("motrail.label.save._clean", lambda _folder: None)
            try:
                saved(store)
            except KeyboardInterrupt:
                died = True
        if not died:
            break
        store.close()
        recover(copy)
        assert files(copy) == before
        shutil.rmtree(copy)
    assert 6 < after < 99


def test_no_permission_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "no", "x")

    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OutputError, match="no permission to write there; choose another folder"):
        open_project([clip], tmp_path / "set")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    (tmp_path / "set").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="no permission to write there"):
        open_project([clip], tmp_path / "set")


def test_folders_of_others(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(
        OutputError, match="there is something in this folder already, and it is no"
    ):
        open_project([clip], folder)
    assert files(folder) == {"thesis.txt": b"years of work"}
    with pytest.raises(OutputError, match="is a file; choose another name with -o"):
        open_project([clip], folder / "thesis.txt")
    with pytest.raises(ConfigError, match="say where the dataset shall be: add -o FOLDER"):
        open_project([clip])
    with pytest.raises(ConfigError, match="no such file or folder; give a video"):
        open_project([tmp_path / "none.mp4"], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_names_of_files_with_quotes_and_markup(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "<script>'\"&.mp4", frames=4)
    store = project(tmp_path / 'a set\'s "name"', clip)
    draw(store, create(1, [1, 1, 1, 5, 5, 1]))
    saved(store, "all")
    ((_, labels),) = open_dataset(store.folder).labels()
    assert labels.name == store.sequences()[0].name == "_script____"
    record = json.loads((store.folder / "annotations" / "all.json").read_text())
    assert record["videos"][0]["length"] == 4
    store.close()
