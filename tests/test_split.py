"""Splits: by sequence, along time, in place or elsewhere; and nothing lost on the way."""

from __future__ import annotations

import itertools
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from motrail.dataset.folder import DatasetWriter, open_dataset
from motrail.dataset.footage import place
from motrail.dataset.split import choose_sequences, split_dataset, take_frames, time_ranges
from motrail.errors import ConfigError, FormatError, OutputError
from motrail.formats.labels import ClassList, Coded, Labels
from motrail.formats.mot.reader import MOT17_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LETTERS = "abcdefghij"
# Ranked by the first digits of `printf 'SEED:NAME' | sha256sum`.
RANKED_BY_0, RANKED_BY_1 = "hfgdjaicbe", "idgajfebhc"
CLASSES = ("person", "dog", "no such thing")


def made_labels(name: str, length: int, *, rate: float = 25.0, class_id: int = 0) -> Labels:
    """Object 7 stands in every frame, at left = frame; an ignored dog in the first one."""
    frames = np.array([1, *range(1, length + 1)], np.int64)
    return Labels.of(
        name,
        CLASSES,
        frames,
        np.array([9] + [7] * length, np.int64),
        np.stack([frames, np.full(length + 1, 2.5), *[np.full(length + 1, 10.0)] * 2], axis=1),
        np.array([1] + [class_id] * length, np.int64),
        ignore=frames * 0 + np.arange(length + 1) == 0,
        attributes=Coded[object].of([None, *({"frame was": n} for n in range(1, length + 1))]),
        width=64,
        height=48,
        length=length,
        frame_rate=rate,
        frame_attributes={n: {"n": n} for n in range(2, length + 1, 2)},
    )


def make_dataset(folder: Path, sequences: Iterable[Labels], pictures: Iterable[int] = ()) -> Path:
    """A dataset whose pictures hold the name of their sequence and their number."""
    folder.mkdir()
    with DatasetWriter(folder, ClassList(CLASSES)) as writer:
        for labels in sequences:
            source = folder.parent / "footage" / labels.name
            source.mkdir(parents=True, exist_ok=True)
            files = {n: source / f"{n}.jpg" for n in pictures}
            for number, path in files.items():
                path.write_text(f"{labels.name} {number}")
            place(writer.add(labels.replace(pictures=files)), link=False)
        writer.finish()
    return folder


def letters(folder: Path, names: str = LETTERS) -> Path:
    return make_dataset(folder, [made_labels(name, 3) for name in names], pictures=[1, 2, 3])


def contents(folder: Path) -> dict[str, str | None]:
    """Everything in a folder, hidden files too: text by name, None for a folder."""
    paths = sorted(folder.rglob("*"))
    return {p.relative_to(folder).as_posix(): None if p.is_dir() else p.read_text() for p in paths}


def names_in(folder: Path) -> str:
    return "".join(sorted(path.name for path in folder.iterdir()))


def read(folder: Path) -> dict[tuple[str, str], Labels]:
    return {(part, labels.name): labels for part, labels in open_dataset(folder).labels()}


def test_by_sequence_in_place(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d")
    summary = split_dataset(folder, val=0.2, test=0.1)
    assert names_in(folder / "val") == "fh"
    assert names_in(folder / "test") == "g"
    assert names_in(folder / "train") == "abcdeij"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["train", "val", "test", "annotations", "labels.txt"]
    )
    assert names_in(folder / "annotations") == "test.jsontrain.jsonval.json"
    assert (folder / "labels.txt").read_text() == "person\ndog\nno such thing\n"
    assert summary.parts["val"].sequences == ["f", "h"]
    assert (folder / "val/h/img1/000002.jpg").read_text() == "h 2"
    assert (folder / "val/h/gt/gt.txt").read_text() == (
        "1,7,1,2.5,10,10,1,1,-1\n1,9,1,2.5,10,10,0,2,-1\n2,7,2,2.5,10,10,1,1,-1\n"
        "3,7,3,2.5,10,10,1,1,-1\n"
    )
    labels = read(folder)["val", "h"]
    assert labels.attributes.to_list()[2:] == [{"frame was": 2}, {"frame was": 3}]
    assert labels.frame_attributes == {2: {"n": 2}}
    assert labels.pictures[3] == folder / "val/h/img1/000003.jpg"


def test_the_same_seed_chooses_the_same_and_another_others(tmp_path: Path) -> None:
    for names, seed, ranked in ((LETTERS, 0, RANKED_BY_0), (LETTERS[::-1], 1, RANKED_BY_1)):
        parts = choose_sequences(names, Fraction(3, 10), Fraction(2, 10), seed)
        assert {name for name, part in parts.items() if part == "val"} == set(ranked[:3])
        assert {name for name, part in parts.items() if part == "test"} == set(ranked[3:5])
        assert {name for name, part in parts.items() if part == "train"} == set(ranked[5:])
    folder = letters(tmp_path / "d")
    split_dataset(folder / "all", val=0.3, seed=1)
    assert names_in(folder / "val") == "dgi"


@pytest.mark.parametrize(
    ("count", "val", "test", "expected"),
    [
        (10, "0.2", "0", (8, 2, 0)),
        (10, "0.04", "0.01", (8, 1, 1)),
        (3, "0.5", "0.4", (1, 1, 1)),
        (4, "0.9", "0.05", (1, 2, 1)),
        (2, "0.9", "0", (1, 1, 0)),
        (100, "0.29", "0.57", (14, 29, 57)),
        (5, "0", "0", (5, 0, 0)),
    ],
)
def test_how_many_sequences(
    count: int, val: str, test: str, expected: tuple[int, int, int]
) -> None:
    parts = list(
        choose_sequences(map(str, range(count)), Fraction(val), Fraction(test), 5).values()
    )
    assert tuple(parts.count(part) for part in ("train", "val", "test")) == expected


def test_elsewhere_the_source_stays_untouched(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d")
    before = contents(folder)
    split_dataset(folder, output=tmp_path / "out" / "split")
    assert contents(folder) == before
    assert names_in(tmp_path / "out") == "split"
    assert names_in(tmp_path / "out/split/val") == "fh"
    assert (tmp_path / "out/split/val/f/img1/000001.jpg").read_text() == "f 1"
    assert (tmp_path / "out/split/labels.txt").read_text() == before["labels.txt"]


def test_in_place_and_elsewhere_give_the_same(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d")
    split_dataset(folder, output=tmp_path / "out", by="time", val=0.5)
    split_dataset(folder, by="time", val=0.5)
    assert contents(folder) == contents(tmp_path / "out")


@pytest.mark.parametrize("link", [True, False])
def test_pictures_are_linked_or_copied(tmp_path: Path, link: bool) -> None:
    folder = letters(tmp_path / "d", "ab")
    before = (folder / "all/a/img1/000001.jpg").stat().st_ino
    split_dataset(folder, link=link)
    [picture] = folder.glob("*/a/img1/000001.jpg")
    assert (picture.stat().st_ino == before) == link
    assert picture.stat().st_nlink == 1
    assert picture.read_text() == "a 1"


def test_summary(tmp_path: Path) -> None:
    labels = [made_labels("a", 3, class_id=2), made_labels("f", 5)]
    folder = make_dataset(tmp_path / "d", labels, pictures=[1, 2])
    summary = split_dataset(folder, val=0.5)
    report = json.loads(json.dumps(summary.as_dict()))
    dogs = {"frames": 1, "boxes": 1, "objects": 1}
    assert report == {
        "output": str(folder),
        "by": "sequence",
        "seed": 0,
        "classes": list(CLASSES),
        "parts": {
            "train": {
                "sequences": ["a"],
                "frames": 3,
                "pictures": 2,
                "boxes": 4,
                "objects": 2,
                "classes": {
                    "dog": dogs,
                    "no such thing": {"frames": 3, "boxes": 3, "objects": 1},
                },
            },
            "val": {
                "sequences": ["f"],
                "frames": 5,
                "pictures": 2,
                "boxes": 6,
                "objects": 2,
                "classes": {"person": {"frames": 5, "boxes": 5, "objects": 1}, "dog": dogs},
            },
        },
        "dropped_frames": 0,
        "notes": {
            "train has no boxes of 'person'": 1,
            "val has no boxes of 'no such thing'": 1,
        },
    }


def test_a_class_without_any_box_is_not_noted(tmp_path: Path) -> None:
    assert split_dataset(letters(tmp_path / "d")).notes == {}


@pytest.mark.parametrize(
    ("length", "count"),
    [(600, 299), (1050, 524), (837, 418), (525, 262), (654, 326), (900, 449), (750, 374)],
)
def test_the_halves_of_mot17(length: int, count: int) -> None:
    half = length // 2
    assert time_ranges(length, Fraction("0.5"), Fraction(0), 0, 30) == {
        "train": (1, half + 1),
        "val": (half + 2, length),
    }
    assert length - (half + 1) == count


def test_the_halves_are_those_of_the_reference(data: Path) -> None:
    found = 0
    for path in sorted((data / "mot17/bytetrack_reference/default").glob("*.txt")):
        [folder] = (data / "mot17/gt").glob(f"{path.stem}*")
        [line] = [x for x in (folder / "seqinfo.ini").read_text().split() if "seqLength" in x]
        length = int(line.split("=")[1])
        first, last = time_ranges(length, Fraction("0.5"), Fraction(0), 0)["val"]
        frames = np.loadtxt(path, delimiter=",", usecols=0)
        assert frames.min() >= 1
        # There are people in the last frames of each; the other half is at least a frame longer.
        assert last - first - 4 <= frames.max() <= last - first + 1
        found += 1
    assert found == 7


def test_real_truth_cut_in_halves(data: Path, tmp_path: Path) -> None:
    source = tmp_path / "mot17"
    (source / "all").mkdir(parents=True)
    name = "MOT17-09"
    [real] = (data / "mot17/gt").glob(f"{name}*")
    (source / "all" / name).symlink_to(real)
    (source / "labels.txt").write_text("".join(f"{c}\n" for c in MOT17_CLASSES))
    split_dataset(source, val=0.5, by="time", gap=0)
    truth = np.loadtxt(real / "gt/gt.txt", delimiter=",")
    for part, first, last in (("train", 1, 263), ("val", 264, 525)):
        expected = truth[(truth[:, 0] >= first) & (truth[:, 0] <= last)]
        expected[:, 0] -= first - 1
        found = np.loadtxt(source / part / name / "gt/gt.txt", delimiter=",")
        order = np.lexsort((expected[:, 1], expected[:, 0]))
        assert np.array_equal(found, expected[order])
        assert (
            f"seqLength={last - first + 1}\n" in (source / part / name / "seqinfo.ini").read_text()
        )
    assert not (source / "all").exists()
    assert (real / "gt/gt.txt").is_file()


@pytest.mark.parametrize(
    ("length", "val", "test", "gap", "rate", "expected"),
    [
        # floor(.2 * 199) = 39, and a second of 25 frames.
        (200, "0.2", "0", None, 25.0, [(1, 136), (162, 200)]),
        (200, "0.2", "0", None, 0.0, [(1, 131), (162, 200)]),
        (200, "0.2", "0", None, 29.97, [(1, 131), (162, 200)]),
        (200, "0.2", "0", None, 0.4, [(1, 160), (162, 200)]),
        # floor(.1 * 199) = 19.
        (200, "0.2", "0.1", 3, 25.0, [(1, 136), (140, 178), (182, 200)]),
        (200, "0", "0.1", 0, 25.0, [(1, 181), (182, 200)]),
        (101, "0.29", "0", 0, 25.0, [(1, 72), (73, 101)]),
        # 40 - 7 leaves 33; the gap takes at most 16 of them.
        (40, "0.2", "0", None, 30.0, [(1, 17), (34, 40)]),
        (40, "0.2", "0", 32, 30.0, [(1, 1), (34, 40)]),
        (40, "0.2", "0", 33, 30.0, [(1, 40)]),
        (3, "0.5", "0", None, 30.0, [(1, 1), (3, 3)]),
        (2, "0.5", "0", None, 30.0, [(1, 2)]),
        (5, "0.2", "0", 0, 30.0, [(1, 5)]),
        (6, "0.2", "0", 0, 30.0, [(1, 5), (6, 6)]),
        (6, "0.2", "0.1", 0, 30.0, [(1, 6)]),
        (0, "0.2", "0.1", None, 30.0, [(1, 0)]),
        (7, "0", "0", None, 30.0, [(1, 7)]),
    ],
)
def test_time_ranges(
    length: int,
    val: str,
    test: str,
    gap: int | None,
    rate: float,
    expected: list[tuple[int, int]],
) -> None:
    ranges = time_ranges(length, Fraction(val), Fraction(test), gap, rate)
    assert list(ranges.values()) == expected


def test_take_frames() -> None:
    labels = made_labels("a", 6).replace(pictures={n: Path(f"{n}.png") for n in range(1, 6)})
    part = take_frames(labels, 3, 5)
    assert part.frames.tolist() == [1, 2, 3]
    assert part.ids.tolist() == [7, 7, 7]
    assert part.boxes_xywh[:, 0].tolist() == [3, 4, 5]
    assert part.attributes.to_list() == [{"frame was": n} for n in (3, 4, 5)]
    assert part.frame_attributes == {2: {"n": 4}}
    assert part.pictures == {1: Path("3.png"), 2: Path("4.png"), 3: Path("5.png")}
    assert (part.length, part.width, part.frame_rate) == (3, 64, 25)
    assert labels.length == 6
    assert labels.frames.tolist() == [1, 1, 2, 3, 4, 5, 6]


def test_by_time_in_place(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", [made_labels("a", 21)], pictures=range(1, 22))
    # floor(.2 * 20) = 4, floor(.1 * 20) = 2.
    summary = split_dataset(folder, by="time", val=0.2, test=0.1, gap=2)
    assert {part: held.frames for part, held in summary.parts.items()} == {
        "train": 11,
        "val": 4,
        "test": 2,
    }
    assert summary.dropped_frames == 4
    assert list(summary.parts) == ["train", "val", "test"]
    for part, first, count in (("train", 1, 11), ("val", 14, 4), ("test", 20, 2)):
        pictures = sorted((folder / part / "a/img1").iterdir())
        assert [p.name for p in pictures] == [f"{n:06d}.jpg" for n in range(1, count + 1)]
        assert [p.read_text() for p in pictures] == [f"a {first + n}" for n in range(count)]
        labels = read(folder)[part, "a"]
        here = labels.ids == 7
        assert labels.frames[here].tolist() == list(range(1, count + 1))
        assert labels.boxes_xywh[here, 0].tolist() == list(range(first, first + count))
        assert labels.length == count
    assert not (folder / "all").exists()
    assert summary.notes == {
        "val has no boxes of 'dog'": 1,
        "test has no boxes of 'dog'": 1,
    }


def test_known_pictures_set_the_span_that_is_cut(tmp_path: Path) -> None:
    labels = made_labels("a", 12)
    labels = take_frames(labels, 1, 8)
    labels = labels.replace(frames=labels.frames + 399, length=837, frame_attributes={})
    folder = make_dataset(tmp_path / "d", [labels], pictures=range(401, 411))
    # Frames 400 (a label) to 410 (a picture): 11, of which floor(.2 * 10) = 2 are for val.
    summary = split_dataset(folder, by="time", gap=1)
    assert summary.parts["train"].frames == 8
    assert summary.parts["val"].frames == 2
    assert read(folder)["train", "a"].frames.tolist() == [1, 1, *range(2, 9)]
    assert (folder / "val/a/img1/000001.jpg").read_text() == "a 409"
    assert (folder / "train/a/img1/000008.jpg").read_text() == "a 407"


def test_a_sequence_too_short_goes_to_train_whole(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", [made_labels("a", 3), made_labels("b", 30)])
    summary = split_dataset(folder, by="time")
    assert summary.parts["train"].sequences == ["a", "b"]
    assert summary.parts["val"].sequences == ["b"]
    assert summary.notes["sequences too short to be cut went to train whole"] == 1
    assert read(folder)["train", "a"].length == 3


def test_all_sequences_too_short(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d")
    before = contents(folder)
    with pytest.raises(ConfigError, match="every sequence is too short to cut val and test out"):
        split_dataset(folder, by="time", test=0.1)
    assert contents(folder) == before


def test_too_few_sequences(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "ab")
    before = contents(folder)
    with pytest.raises(
        ConfigError,
        match="expected at least 3 sequences, one for each of train, val, test, found 2; "
        "use --by time, which cuts each sequence",
    ):
        split_dataset(folder, test=0.1)
    assert contents(folder) == before
    assert list(split_dataset(folder).parts) == ["train", "val"]


def test_nothing_for_val(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "a")
    summary = split_dataset(folder, val=0)
    assert list(summary.parts) == ["train"]
    assert not (folder / "val").exists()
    assert not (folder / "annotations/val.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val": 1.0}, "val: expected a share from 0 to below 1, found 1.0"),
        ({"val": -0.1}, "val: expected a share from 0 to below 1, found -0.1"),
        ({"test": float("nan")}, "test: expected a share from 0 to below 1, found nan"),
        ({"test": float("inf")}, "test: expected a share from 0 to below 1, found inf"),
        ({"val": 0.9, "test": 0.1}, "val and test: expected less than 1 together, .* 0.9 . 0.1"),
        ({"by": "frame"}, "by: expected sequence or time, found 'frame'"),
        ({"seed": -1}, "seed: expected a whole number from 0, found -1"),
        ({"gap": -1, "by": "time"}, "gap: expected a whole number from 0, found -1"),
        ({"gap": 1.5, "by": "time"}, "gap: expected a whole number from 0, found 1.5"),
        ({"gap": 3}, "gap: sequences stay whole, .*; use --by time with it"),
    ],
)
def test_settings(tmp_path: Path, settings: Mapping[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_dataset(letters(tmp_path / "d", "abc"), **settings)  # type: ignore[arg-type]


def test_split_already(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "ab")
    split_dataset(folder)
    before = contents(folder)
    for path in (folder, folder / "train"):
        with pytest.raises(
            ConfigError, match=r"expected a dataset with all/, found train.*already"
        ):
            split_dataset(path)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["val", "annotations/train.json"])
def test_parts_besides_all(tmp_path: Path, name: str) -> None:
    folder = letters(tmp_path / "d", "ab")
    (folder / name).mkdir()
    with pytest.raises(ConfigError, match=f"only all/ to be there, found {name} besides it"):
        split_dataset(folder)


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="expected a dataset: a folder with labels.txt"):
        split_dataset(tmp_path)


@pytest.mark.parametrize("name", ["", "all", "all/a/new"])
def test_the_output_may_not_be_the_source(tmp_path: Path, name: str) -> None:
    folder = letters(tmp_path / "d", "ab")
    before = contents(folder)
    with pytest.raises(ConfigError, match="is the dataset itself; leave -o out"):
        split_dataset(folder, output=folder / name)
    assert contents(folder) == before


def test_an_output_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(OutputError, match="something in this folder already"):
        split_dataset(letters(tmp_path / "d"), output=tmp_path / "out")
    assert names_in(tmp_path / "out") == "mine"


def test_other_files_go_with_their_sequence(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "af")
    (folder / "all/a/det").mkdir()
    (folder / "all/a/det/det.txt").write_text("detections")
    (folder / "all/f/img1/notes.txt").write_text("a remark")
    (folder / "all/f/Thumbs.db").write_text("litter")
    (folder / "all/.DS_Store").write_text("litter")
    (folder / "README").write_text("of the dataset")
    split_dataset(folder, output=tmp_path / "out")
    split_dataset(folder)
    for place_ in (folder, tmp_path / "out"):
        assert (place_ / "train/a/det/det.txt").read_text() == "detections"
        assert (place_ / "val/f/img1/notes.txt").read_text() == "a remark"
        assert not (place_ / "val/f/Thumbs.db").exists()
    assert (folder / "README").read_text() == "of the dataset"


def test_other_files_cannot_be_cut_along_time(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", [made_labels("a", 30)], pictures=range(1, 31))
    (folder / "all/a/det").mkdir()
    for name in ("1", "2", "3", "4"):
        (folder / "all/a/det" / name).write_text("")
    before = contents(folder)
    with pytest.raises(
        ConfigError,
        match="holds files that cannot be split and would be lost: a/det/1, a/det/2, a/det/3 and "
        "1 more; move them away, or split to another folder with -o",
    ):
        split_dataset(folder, by="time")
    assert contents(folder) == before
    summary = split_dataset(folder, by="time", output=tmp_path / "out")
    assert summary.notes["files that are neither labels nor pictures were left out"] == 4


@pytest.mark.parametrize("name", ["loose", "not-a-sequence/file"])
def test_files_of_no_sequence_are_not_lost(tmp_path: Path, name: str) -> None:
    folder = letters(tmp_path / "d", "ab")
    (folder / "all" / name).parent.mkdir(exist_ok=True)
    (folder / "all" / name).write_text("")
    before = contents(folder)
    with pytest.raises(ConfigError, match=f"would be lost: {name};"):
        split_dataset(folder)
    assert contents(folder) == before


def test_mot_files_alone(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "af")
    (folder / "annotations/all.json").unlink()
    (folder / "annotations").rmdir()
    (folder / "all/a/img1").rename(folder / "all/a/pictures")
    info = folder / "all/a/seqinfo.ini"
    info.write_text(info.read_text().replace("img1", "pictures"))
    split_dataset(folder)
    assert names_in(folder / "annotations") == "train.jsonval.json"
    assert (folder / "train/a/img1/000003.jpg").read_text() == "a 3"
    assert not (folder / "train/a/pictures").exists()
    assert read(folder)["val", "f"].boxes_xywh[2].tolist() == [2, 2.5, 10, 10]


def test_a_coco_file_alone(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", [made_labels(name, 3) for name in "af"])
    for path in sorted((folder / "all").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "all").rmdir()
    (folder / "labels.txt").unlink()
    split_dataset(folder)
    assert (folder / "labels.txt").read_text() == "person\ndog\nno such thing\n"
    assert len(read(folder)["val", "f"]) == 4


def test_classes_that_labels_txt_lacks_are_added_at_its_end(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "af")
    (folder / "labels.txt").write_text("cat\n")
    assert split_dataset(folder).classes == ["cat", *CLASSES]
    assert (folder / "labels.txt").read_text() == "cat\nperson\ndog\nno such thing\n"
    assert (folder / "train/a/gt/gt.txt").read_text().splitlines()[0].endswith(",1,2,-1")


def test_names_that_would_climb_out(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", [made_labels(name, 3) for name in "af"])
    record = folder / "annotations/all.json"
    content = json.loads(record.read_text())
    content["videos"][0]["file_name"] = "../../up"
    content["videos"][1]["file_name"] = "/f"
    record.write_text(json.dumps(content))
    split_dataset(folder, output=tmp_path / "out")
    assert names_in(tmp_path) == "dfootageout"
    for path in (tmp_path / "out").rglob("gt.txt"):
        assert len(path.relative_to(tmp_path / "out").parts) == 4


def test_linked_folders_stay_what_they_lead_to(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "af")
    (folder / "all").rename(tmp_path / "real")
    (tmp_path / "real/a/img1").rename(tmp_path / "pictures")
    (tmp_path / "real/a/img1").symlink_to(tmp_path / "pictures")
    (folder / "all").symlink_to(tmp_path / "real")
    before = contents(tmp_path / "real")
    split_dataset(folder)
    assert contents(tmp_path / "real") == before
    assert (folder / "train/a/img1/000001.jpg").read_text() == "a 1"
    assert not os.path.lexists(folder / "all")


def test_damaged_labels_leave_everything(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d")
    record = folder / "annotations/all.json"
    record.write_text(record.read_text()[:-200])
    before = contents(folder)
    with pytest.raises(FormatError, match=r"all\.json"):
        split_dataset(folder, by="time")
    assert contents(folder) == before


@pytest.mark.parametrize("by", ["sequence", "time"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_ctrl_c_while_writing(tmp_path: Path, by: str, elsewhere: bool) -> None:
    folder = make_dataset(tmp_path / "d", [made_labels(n, 9) for n in "af"], pictures=range(1, 10))
    before = contents(tmp_path)
    output = tmp_path / "out" if elsewhere else None
    left = 0

    def count(_what: str, _done: int, _total: int | None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    for stop in itertools.count(1):
        left = stop
        try:
            split_dataset(folder, by=by, output=output, progress=count)
        except KeyboardInterrupt:
            assert contents(tmp_path) == before
        else:
            break
    assert left > 0
    assert stop > 10
    assert contents(tmp_path) != before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("with_annotations", [False, True])
def test_a_swap_broken_off_is_taken_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    after: bool,
    with_annotations: bool,
) -> None:
    folder = letters(tmp_path / "d", "abc")
    (folder / "labels.txt").write_text("person\ndog\nno such thing")
    if not with_annotations:
        (folder / "annotations/all.json").unlink()
        (folder / "annotations").rmdir()
    before = contents(tmp_path)
    rename = Path.rename
    left = 0

    def broken(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            raise error
        moved = rename(path, target)
        if left == 0:
            raise error
        return moved

    monkeypatch.setattr(Path, "rename", broken)
    # Three parts, their records or the folder of them, labels.txt away and back, what was there.
    renames = 3 + 3 + 2 + 2 if with_annotations else 3 + 1 + 2 + 1
    for stop in range(1, renames + 1):
        left = stop
        with pytest.raises(OutputError if error is OSError else error):
            split_dataset(folder, test=0.1)
        assert contents(tmp_path) == before
    left = renames + 1
    split_dataset(folder, test=0.1)
    assert left == 1
    assert names_in(folder) == "annotationslabels.txttesttrainval"


def test_something_that_came_meanwhile_stays(tmp_path: Path) -> None:
    folder = letters(tmp_path / "d", "ab")
    before = contents(folder)

    def interfere(_what: str, _done: int, _total: int | None) -> None:
        (folder / "val").mkdir(exist_ok=True)

    with pytest.raises(OutputError, match="val: cannot be written: there is a file of that name"):
        split_dataset(folder, progress=interfere)
    assert contents(folder) == before | {"val": None}


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = letters(tmp_path / "d", "ab")

    def refuse(_path: Path) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="cannot be written: no permission"):
        split_dataset(folder)


def test_what_cannot_be_taken_back_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = letters(tmp_path / "d", "ab")
    rename = Path.rename

    def broken(path: Path, target: Path) -> Path:
        if path == folder / "all":
            rename(path, target)
            raise KeyboardInterrupt
        if path.name == "all":
            raise PermissionError(13, "no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(KeyboardInterrupt):
        split_dataset(folder)
    [kept] = folder.glob(".*/old/all/a/img1/000001.jpg")
    assert kept.read_text() == "a 1"
