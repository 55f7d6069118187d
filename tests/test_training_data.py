"""What a network learns from: samples, pictures, changes at random, batches."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch

from motrail.boxes import cxcywh_to_xyxy
from motrail.config.training import PLAIN, AugmentSettings, BoxLimits
from motrail.dataset.convert import import_labels
from motrail.dataset.folder import Dataset, open_dataset
from motrail.detect.letterbox import Letterbox
from motrail.errors import ConfigError, FormatError, VideoError
from motrail.train.data.ahead import Shard, ahead
from motrail.train.data.augment import Augmenter, colour_matrix
from motrail.train.data.cache import PictureCache, default_limit
from motrail.train.data.draw import class_colour, draw_batch
from motrail.train.data.loader import TrainLoader, pack
from motrail.train.data.pictures import Pictures, training_input
from motrail.train.data.samples import Samples, read_samples
from motrail.train.data.truth import Affine, Truth, carry
from motrail.train.data.validation import ValidationLoader
from motrail.train.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    Image = NDArray[np.uint8]

SEED = 7


def write_dataset(
    folder: Path,
    sequences: dict[str, tuple[list[Image], list[str]]],
    classes: Sequence[str] = ("person", "ball"),
    split: str = "train",
) -> Dataset:
    """A dataset of MOT folders: of each sequence the pictures and the rows of gt.txt."""
    folder.mkdir(exist_ok=True)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in classes))
    for name, (images, rows) in sequences.items():
        place = folder / split / name
        (place / "img1").mkdir(parents=True)
        (place / "gt").mkdir()
        (place / "gt" / "gt.txt").write_text("".join(f"{row}\n" for row in rows))
        height, width = images[0].shape[:2] if images else (48, 64)
        (place / "seqinfo.ini").write_text(
            f"[Sequence]\nname={name}\nframeRate=25\nseqLength={max(len(images), 9)}\n"
            f"imWidth={width}\nimHeight={height}\n"
        )
        for number, image in enumerate(images, start=1):
            cv2.imwrite(str(place / "img1" / f"{number:06d}.png"), image)
    return open_dataset(folder)


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def row(frame: int, identity: int, box: Sequence[float], rest: str = "1,1,-1") -> str:
    return f"{frame},{identity},{','.join(map(str, box))},{rest}"


def small(tmp_path: Path, count: int = 5, height: int = 60, width: int = 90) -> Samples:
    """Noise with a person in each picture."""
    images = [noise(height, width, seed) for seed in range(count)]
    rows = [row(n, 1, (10 + n, 12, 20, 30)) for n in range(1, count + 1)]
    return read_samples(write_dataset(tmp_path / "data", {"a": (images, rows)}), "train")


def canvas(height: int, width: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


# Samples.


def test_samples_of_a_split(tmp_path: Path) -> None:
    dataset = write_dataset(
        tmp_path / "data",
        {
            "b": (
                [noise(48, 64)] * 3,
                [row(3, 1, (1, 2, 10, 20)), row(1, 2, (5, 6, 7, 8), "1,2,.5")],
            ),
            "a": ([noise(40, 80)], [row(1, 1, (0, 0, 80, 40))]),
        },
    )
    samples = read_samples(dataset, "train")
    assert samples.classes == ("person", "ball")
    assert samples.sequences == ("a", "b")
    assert len(samples) == 4
    assert [samples.sequence(n) for n in range(4)] == ["a", "b", "b", "b"]
    assert samples.frames.tolist() == [1, 1, 2, 3]
    assert samples.sizes.tolist() == [[80, 40], [64, 48], [64, 48], [64, 48]]
    assert samples.path(3) == tmp_path / "data" / "train" / "b" / "img1" / "000003.png"
    assert samples.boxes_xyxy.dtype == np.float32
    found = [samples.truth(n).boxes_xyxy.tolist() for n in range(4)]
    assert found == [[[0, 0, 80, 40]], [[5, 6, 12, 14]], [], [[1, 2, 11, 22]]]
    assert [samples.truth(n).class_ids.tolist() for n in range(4)] == [[0], [1], [], [0]]
    assert samples.visibility.tolist() == [-1, 0.5, -1]
    assert samples.notes == {"pictures without an object are background": 1}


def test_what_is_cut_hidden_or_outside(tmp_path: Path) -> None:
    """The picture is 64 wide and 48 high."""
    rows = [
        row(1, 1, (-10, 0, 20, 10)),  # half of it is left
        row(1, 2, (-80, 0, 100, 10)),  # exactly a fifth
        row(1, 3, (-81, 0, 100, 10)),  # less
        row(1, 4, (70, 0, 10, 10)),  # outside
        row(1, 5, (60, 40, 10, 20), "0,1,1"),  # to be ignored, cut too
        row(1, 6, (1, 1, 5, 5), "1,1,0.1"),
        row(1, 7, (2, 2, 5, 5), "1,1,0.09"),
        row(1, 8, (3, 3, 5, 5), "1,1,0"),
    ]
    dataset = write_dataset(tmp_path / "data", {"a": ([noise(48, 64)], rows)})
    samples = read_samples(dataset, "train")
    truth = samples.truth(0)
    assert truth.boxes_xyxy.tolist() == [[0, 0, 10, 10], [0, 0, 20, 10], [1, 1, 6, 6]]
    assert truth.ignore_xyxy.tolist() == [
        [0, 0, 19, 10],
        [60, 40, 64, 48],
        [2, 2, 7, 7],
        [3, 3, 8, 8],
    ]
    assert samples.notes == {
        "boxes outside of their picture are left out": 1,
        "boxes of which too little is to be seen are ignored": 3,
        "class 'ball' has no object here, and is not learnt": 1,
    }
    all_count = read_samples(dataset, "train", limits=BoxLimits(min_visibility=0, min_share=0))
    assert len(all_count.boxes_xyxy) == 6


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    rows = [
        row(1, 1, (0, 0, 9, 9), "1,1,-1"),
        row(1, 2, (1, 0, 9, 9), "1,2,-1"),
        row(1, 3, (2, 0, 9, 9), "1,3,-1"),
        row(1, 4, (3, 0, 9, 9), "0,3,-1"),
    ]
    names = ("person", "ball", "dog", "cat")
    dataset = write_dataset(tmp_path / "data", {"a": ([noise(48, 64)], rows)}, names)
    usual = read_samples(dataset, "train")
    assert usual.classes == ("person", "ball", "dog")
    chosen = read_samples(dataset, "train", classes=["ball", "person", "cat"])
    assert chosen.class_ids.tolist() == [1, 0]
    # What is marked as to be ignored is ignored, whatever it is called.
    assert chosen.ignore_xyxy.tolist() == [[3, 0, 12, 9]]
    assert chosen.notes == {
        "boxes of 'dog', which is not learned, are background": 1,
        "class 'cat' has no object here": 1,
    }
    mapped = read_samples(
        dataset, "train", classes=["animal", "person"], mapping={"dog": "animal", "cat": "animal"}
    )
    assert mapped.class_ids.tolist() == [1, 0]
    assert read_samples(dataset, "train", mapping={"dog": "person"}).class_ids.tolist() == [0, 1, 0]


def test_frames_without_pictures(tmp_path: Path) -> None:
    rows = [row(1, 1, (0, 0, 9, 9)), row(8, 1, (0, 0, 9, 9)), row(9, 1, (0, 0, 9, 9))]
    dataset = write_dataset(tmp_path / "data", {"a": ([noise(48, 64)], rows)})
    samples = read_samples(dataset, "train")
    assert len(samples) == 1
    assert samples.notes == {
        "labelled frames without a picture are left out": 2,
        "class 'ball' has no object here, and is not learnt": 1,
    }


def test_pictures_of_different_sizes(tmp_path: Path) -> None:
    """Whose labels do not say one size for the sequence."""
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    (folder / "annotations").mkdir()
    cv2.imwrite(str(folder / "train" / "1.png"), noise(30, 40))
    cv2.imwrite(str(folder / "train" / "2.png"), noise(60, 20))
    record = {
        "images": [
            {"id": 1, "file_name": "1.png", "width": 40, "height": 30},
            {"id": 2, "file_name": "2.png", "width": 20, "height": 60},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 3, 20, 15]},
            {"id": 2, "image_id": 2, "category_id": 1, "bbox": [4, 3, 10, 20]},
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "annotations" / "train.json").write_text(json.dumps(record))
    samples = read_samples(open_dataset(folder), "train")
    assert samples.sizes.tolist() == [[40, 30], [20, 60]]
    pictures = Pictures(samples, 32, 64)
    # 32/30 of 40x30 and 32/60 of 20x60, rounded down
    assert [pictures.read(n).shape for n in range(2)] == [(32, 42, 3), (32, 10, 3)]  # type: ignore[union-attr]
    np.testing.assert_allclose(pictures.truth(1).boxes_xyxy, [[2, 1.6, 7, 23 * 32 / 60]], rtol=1e-6)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    good = {"a": ([noise(48, 64)], [row(1, 1, (0, 0, 9, 9))])}
    dataset = write_dataset(folder, good)
    with pytest.raises(ConfigError) as error:
        read_samples(dataset, "val")
    assert str(error.value) == (
        f"{folder}: expected a split 'val', found train; make one with `motrail dataset split`"
    )
    with pytest.raises(ConfigError, match="classes: expected each name once, found a, a"):
        read_samples(dataset, "train", classes=["a", "a"])
    with pytest.raises(ConfigError) as error:
        read_samples(dataset, "train", classes=["person", "persn"])
    assert str(error.value) == (
        f"{folder / 'train'}: expected classes of the dataset (person, ball), found persn; "
        "see labels.txt, and name what is called otherwise with --map THERE=HERE"
    )
    with pytest.raises(FormatError) as wrong:
        read_samples(dataset, "train", classes=["ball"])
    assert str(wrong.value) == (
        f"{folder / 'train'}: expected labelled objects (ball), found none in 1 pictures"
    )
    hidden = {"a": ([noise(48, 64)], [row(1, 1, (0, 0, 9, 9), "0,1,1")])}
    with pytest.raises(FormatError, match=r"labelled objects \(person, ball\), found none"):
        read_samples(write_dataset(tmp_path / "hidden", hidden), "train")


def test_a_sequence_without_pictures(tmp_path: Path) -> None:
    good = ([noise(48, 64)], [row(1, 1, (0, 0, 9, 9))])
    dataset = write_dataset(tmp_path / "data", {"a": good, "b": ([], [row(1, 1, (0, 0, 9, 9))])})
    with pytest.raises(FormatError) as error:
        read_samples(dataset, "train")
    assert str(error.value) == (
        f"{tmp_path / 'data' / 'train' / 'b'}: expected pictures in img1, found none; training "
        "needs them: import the labels with --video, or with a folder that has the pictures"
    )


def test_an_empty_split(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    (folder / "annotations").mkdir()
    record = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    (folder / "annotations" / "train.json").write_text(json.dumps(record))
    with pytest.raises(FormatError) as error:
        read_samples(open_dataset(folder), "train")
    assert str(error.value) == f"{folder / 'train'}: expected sequences with pictures, found none"


def test_real_footage(data: Path, tmp_path: Path) -> None:
    """Against a count of the rows themselves."""
    import_labels([data / "mot17_mini"], tmp_path / "data")
    samples = read_samples(open_dataset(tmp_path / "data"), "all")
    rows = np.concatenate(
        [np.loadtxt(path, delimiter=",") for path in (data / "mot17_mini").glob("*/gt/gt.txt")]
    )
    walking = rows[(rows[:, 6] == 1) & (rows[:, 7] == 1)]
    seen = walking[walking[:, 8] >= 0.1]
    assert samples.classes == ("pedestrian",)
    assert len(samples) == 39
    # One of those seen well enough may still stand mostly outside of the picture.
    cut = samples.notes["boxes of which too little is to be seen are ignored"]
    assert cut >= (walking[:, 8] < 0.1).sum()
    assert len(samples.boxes_xyxy) == len(walking) - cut
    assert len(seen) - len(samples.boxes_xyxy) <= 10
    assert len(samples.ignore_xyxy) == (rows[:, 6] == 0).sum() + cut


# Pictures.


@pytest.mark.parametrize("size", [(1080, 1920), (75, 33), (32, 64), (20, 20), (1, 500)])
def test_a_plain_picture_is_what_the_detector_sees(tmp_path: Path, size: tuple[int, int]) -> None:
    image = noise(*size)
    dataset = write_dataset(
        tmp_path / "data", {"a": ([image], [row(1, 1, (0, 0, size[1], size[0]))])}
    )
    pictures = Pictures(read_samples(dataset, "train"), 64, 96)
    expected = Letterbox(training_input(64, 96)).apply(image)[0]
    for _ in range(2):  # the second one comes out of the memory
        out = canvas(64, 96)
        truth = pictures.plain(out, 0)
        assert (out.transpose(2, 0, 1) == expected).all()
    width, height = pictures.letterbox.size_inside(size[1], size[0])
    boxes = truth.boxes_xyxy if height >= 2 else truth.ignore_xyxy
    np.testing.assert_allclose(boxes, [[0, 0, width, height]], rtol=1e-6)


def test_memory_for_pictures() -> None:
    sizes = np.array([[4, 2], [3, 3], [2, 1]])  # 24, 27 and 6 bytes
    cache = PictureCache(sizes, 32)
    assert cache.get(0) is None
    first, second, third = noise(2, 4), noise(3, 3), noise(1, 2)
    cache.put(0, first)
    cache.put(1, second)  # does not fit
    cache.put(2, third)  # does
    cache.put(2, third)
    assert (len(cache), cache.used) == (2, 30)
    assert cache.get(1) is None
    for index, image in ((0, first), (2, third)):
        kept = cache.get(index)
        assert kept is not None
        assert (kept == image).all()
        with pytest.raises(ValueError, match="read-only"):
            kept[0] = 0
    nothing = PictureCache(sizes, 0)
    nothing.put(2, third)
    assert nothing.get(2) is None
    with pytest.raises(ConfigError, match="cache: expected 0 bytes or more, found -1"):
        PictureCache(sizes, -1)
    with pytest.raises(ConfigError, match="expected a size that the system grants, found 3000000"):
        PictureCache(np.array([[1_000_000, 1_000_000_000]]), 1 << 62)
    assert 1 << 20 < default_limit() < 1 << 50


def test_pictures_are_read_once(tmp_path: Path) -> None:
    samples = small(tmp_path)
    kept, not_kept = Pictures(samples, 32, 32), Pictures(samples, 32, 32, cache_bytes=0)
    assert kept.read(0) is not None
    assert not_kept.read(0) is not None
    samples.path(0).unlink()
    assert kept.read(0) is not None
    assert kept.cache.used == 32 * 21 * 3
    with pytest.raises(VideoError) as error:
        not_kept.read(0)
    assert str(error.value) == f"{samples.path(0)}: cannot be read: No such file or directory"


def test_bad_pictures(tmp_path: Path) -> None:
    samples = small(tmp_path)
    samples.path(1).write_bytes(b"no picture")
    cv2.imwrite(str(samples.path(2)), noise(60, 91))
    strict = Pictures(samples, 32, 32)
    with pytest.raises(VideoError, match=r"000002.png: expected an image .*, found: cannot ident"):
        strict.load(1)
    with pytest.raises(VideoError) as error:
        strict.load(2)
    assert str(error.value) == (
        f"{samples.path(2)}: expected 90x60 pixels as its labels say, found 91x60; labels and "
        "pictures do not belong together, or the pictures were scaled"
    )
    lenient = Pictures(samples, 32, 32, on_bad="skip")
    place, image = lenient.load(1)
    assert place == 3
    assert (image == lenient.load(3)[1]).all()
    assert sorted(lenient.skipped) == [1, 2]
    assert lenient.skipped[2] == str(error.value)
    for index in range(5):
        samples.path(index).unlink()
    nothing = Pictures(samples, 32, 32, on_bad="skip")
    with pytest.raises(VideoError, match="none of the 5 pictures can be read; one of them: .*0001"):
        nothing.load(0)


@pytest.mark.parametrize("size", [(0, 32), (33, 32), (32, 48), (8224, 32), (-32, 32)])
def test_sizes_of_the_input(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError) as error:
        training_input(*size)
    assert str(error.value) == (
        f"size: expected multiples of 32 from 32 to 8192, found {size[1]}x{size[0]}"
    )


# Boxes and pixels go the same way.


def test_boxes_are_carried_along() -> None:
    """Into a picture of 100x50, at twice the size and moved by (10, -20)."""
    boxes: list[list[float]] = [
        [5, 15, 15, 30],  # 20, 10, 40, 40
        [40, 15, 60, 20],  # 90, 10, 130, 20: a quarter is left
        [41, 15, 71, 20],  # 92, 10, 152, 20: less than a fifth
        [5, 20, 6, 20.9],  # 20, 20, 22, 21.8: too small
        [50, 20, 60, 30],  # outside
    ]
    truth = Truth(
        np.array(boxes, np.float32),
        np.arange(5),
        np.array([[0, 0, 20, 20], [50, 0, 60, 10]], np.float32),
    )
    affine = Affine(np.diag([2.0, 2.0]), np.array([10.0, -20.0]))
    carried = carry(truth, affine, 100, 50, BoxLimits())
    cut = np.array([[10, 0, 50, 20], [92, 10, 100, 20], [20, 20, 22, 21.8]])
    assert carried.boxes_xyxy.tolist() == [[20, 10, 40, 40], [90, 10, 100, 20]]
    assert carried.class_ids.tolist() == [0, 1]
    np.testing.assert_allclose(carried.ignore_xyxy, cut, rtol=1e-6)
    assert boxes[0] == truth.boxes_xyxy[0].tolist()


def test_a_box_that_is_turned() -> None:
    """By 30 degrees: the upright box around its corners, worked out by hand."""
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    affine = Affine(np.array([[cos, sin], [-sin, cos]]), np.array([50.0, 50.0]))
    truth = Truth(
        np.array([[-10, -20, 10, 20]], np.float32),
        np.zeros(1, np.int64),
        np.empty((0, 4), np.float32),
    )
    across, down = 10 * cos + 20 * sin, 10 * sin + 20 * cos
    carried = carry(truth, affine, 100, 100, BoxLimits())
    np.testing.assert_allclose(
        carried.boxes_xyxy, [[50 - across, 50 - down, 50 + across, 50 + down]], rtol=1e-6
    )


def red_blocks(tmp_path: Path, count: int = 6) -> Samples:
    """Black pictures with red blocks, far enough apart to stay apart."""
    images, rows = [], []
    random = np.random.default_rng(SEED)
    for number in range(1, count + 1):
        height, width = [(180, 320), (240, 240), (320, 160)][number % 3]
        image = canvas(height, width)
        for block in range(4):
            x = 8 + block % 2 * (width // 2) + int(random.integers(20))
            y = 8 + block // 2 * (height // 2) + int(random.integers(20))
            w, h = random.integers(20, (width // 2 - 40, height // 2 - 40)).tolist()
            image[y : y + h, x : x + w] = (0, 0, 255)
            rows.append((number, row(1, block + 1, (x, y, w, h))))
        images.append(image)
    return read_samples(
        write_dataset(
            tmp_path / "blocks",
            {
                f"s{n}": ([image], [text for number, text in rows if number == n])
                for n, image in enumerate(images, start=1)
            },
        ),
        "train",
    )


def blobs(strength: NDArray[np.floating]) -> NDArray[np.float64]:
    """Boxes around what is at least half as strong as the strongest, shape (n, 4)."""
    mask = (strength >= strength.max() / 2).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = np.array(stats[1:, :4], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def chroma(image: Image) -> NDArray[np.floating]:
    values = image.astype(np.float64)
    return np.asarray(values.max(axis=2) - values.min(axis=2))


def nearest(box: NDArray[Any], others: NDArray[Any]) -> float:
    """The largest distance of an edge to that of the box that fits best."""
    return float(np.abs(others - box).max(axis=1).min(initial=np.inf))


CHANGES: dict[str, dict[str, Any]] = {
    "mosaic": {"mosaic": 1.0},
    "turn": {"degrees": 30.0},
    "move": {"translate": 0.3},
    "zoom": {"scale": (0.5, 2.0)},
    "shear": {"shear": 15.0},
    "mirror": {"flip": 1.0},
    "colour": {"hue": 0.5, "saturation": 0.5, "brightness": 0.3},
    "size": {"multiscale": 0.5, "multiscale_every": 1},
    "all": {
        "mosaic": 0.7, "degrees": 20.0, "translate": 0.2, "scale": (0.5, 1.5), "shear": 5.0,
        "flip": 0.5, "hue": 0.5, "saturation": 0.5, "brightness": 0.3, "multiscale": 0.4,
        "multiscale_every": 1,
    },
}  # fmt: skip


def fits(box: NDArray[Any], other: NDArray[Any], slack: NDArray[np.bool_]) -> bool:
    """Whether a block's box is as the truth says, and not larger where there is slack."""
    smaller = (box - other) * (1, 1, -1, -1)
    return bool((smaller >= -1.5).all() and (smaller[~slack] <= 1.5).all())


@pytest.mark.parametrize("name", CHANGES)
def test_boxes_stay_on_their_pixels(tmp_path: Path, name: str) -> None:
    """Each block is where the truth says, and the truth names each block.

    Of a box that was turned and is cut the corners may be outside, and its visible part smaller.
    """
    settings = AugmentSettings(**(vars(PLAIN) | CHANGES[name]))
    turned = bool(settings.degrees or settings.shear)
    loader = TrainLoader(Pictures(red_blocks(tmp_path), 192, 256), settings, batch=3, workers=0)
    exact = 0
    for epoch in range(6):
        for images, targets in loader.epoch(epoch):
            edge = np.array([0, 0, images.shape[3], images.shape[2]])
            for image, boxes, ids, ignore in zip(
                images.permute(0, 2, 3, 1).numpy(),
                targets.boxes.numpy(), targets.class_ids.numpy(), targets.ignore.numpy(),
                strict=True,
            ):  # fmt: skip
                objects = cxcywh_to_xyxy(boxes[ids >= 0])
                seen = blobs(chroma(image))
                told = np.concatenate([objects, ignore])
                slack = np.full(told.shape, turned) & (told == edge).any(axis=1)[:, None]
                large = (objects[:, 2:] - objects[:, :2]).min(axis=1) >= 8
                for box, loose in zip(objects[large], slack[: len(objects)][large], strict=True):
                    assert any(fits(blob, box, loose) for blob in seen)
                    exact += not loose.any()
                for blob in seen[(seen[:, 2:] - seen[:, :2]).min(axis=1) >= 4]:
                    assert any(
                        fits(blob, box, loose) for box, loose in zip(told, slack, strict=True)
                    )
    assert exact > 60


def test_pictures_laid_over_one_another(tmp_path: Path) -> None:
    """A red block in one picture and a blue one in the other, both half as strong."""
    red, blue = canvas(90, 160), canvas(90, 160)
    red[20:60, 30:70] = (0, 0, 255)
    blue[10:80, 60:140] = (255, 0, 0)
    rows = [row(1, 1, (30, 20, 40, 40), "1,1,-1"), row(2, 2, (60, 10, 80, 70), "1,2,-1")]
    samples = read_samples(write_dataset(tmp_path / "data", {"a": ([red, blue], rows)}), "train")
    settings = AugmentSettings(**(vars(PLAIN) | {"mixup": 1.0, "flip": 0.5}))
    augmenter = Augmenter(Pictures(samples, 96, 160), settings, SEED)
    checked = 0
    for place in range(30):
        out = canvas(96, 160)
        truth = augmenter.make(out, 0, place, 0)
        if truth.class_ids.tolist() != [0, 1]:
            continue  # it was laid over itself, or the other one is cut
        # Padding is grey: what is not is red or blue.
        others = out.astype(np.float64)[:, :, 1]
        for channel, box in ((2, truth.boxes_xyxy[0]), (0, truth.boxes_xyxy[1])):
            strength = np.maximum(out[:, :, channel] - others, 0)
            assert strength.max() == pytest.approx(127.5, abs=1)
            assert nearest(box, blobs(strength)) <= 1.5
        checked += 1
    assert checked >= 8


def test_a_mirrored_picture_is_exact(tmp_path: Path) -> None:
    samples = small(tmp_path)
    settings = AugmentSettings(**(vars(PLAIN) | {"flip": 1.0}))
    pictures = Pictures(samples, 64, 64)
    out = canvas(64, 64)
    truth = Augmenter(pictures, settings, SEED).make(out, 0, 0, 2)
    plain = pictures.load(2)[1]  # 64 wide and 42 high
    assert (out[:42] == plain[:, ::-1]).all()
    assert (out[42:] == 114).all()
    left, top, right, bottom = pictures.truth(2).boxes_xyxy[0].tolist()
    np.testing.assert_allclose(truth.boxes_xyxy, [[64 - right, top, 64 - left, bottom]], rtol=1e-5)


def test_colours_change_within_their_ranges(tmp_path: Path) -> None:
    """A grey picture has no hue or saturation to change; its brightness changes by a factor."""
    grey = np.full((64, 64, 3), 100, np.uint8)
    dataset = write_dataset(tmp_path / "data", {"a": ([grey], [row(1, 1, (9, 9, 9, 9))])})
    pictures = Pictures(read_samples(dataset, "train"), 64, 64)
    out = canvas(64, 64)
    still = Augmenter(
        pictures, AugmentSettings(**(vars(PLAIN) | {"hue": 0.5, "saturation": 1.0})), SEED
    )
    bright = Augmenter(pictures, AugmentSettings(**(vars(PLAIN) | {"brightness": 0.2})), SEED)
    levels = set()
    for place in range(40):
        still.make(out, 0, place, 0)
        assert (out == 100).all()
        bright.make(out, 0, place, 0)
        levels.update(np.unique(out).tolist())
    assert min(levels) >= 79
    assert max(levels) <= 120
    assert max(levels) - min(levels) > 20


def test_colours_by_hand() -> None:
    """Blue, green, red."""
    red = np.array([0.0, 0.0, 1.0])
    third = colour_matrix(1 / 3, 1, 1) @ red
    np.testing.assert_allclose(sorted(third), [0, 0, 1], atol=1e-12)
    assert third.argmax() != 2
    np.testing.assert_allclose(colour_matrix(0, 0, 1) @ red, [0.299] * 3)
    np.testing.assert_allclose(colour_matrix(0, 0.5, 1) @ red, [0.1495, 0.1495, 0.6495])
    np.testing.assert_allclose(colour_matrix(0, 1, 1.5) @ red, [0, 0, 1.5])
    np.testing.assert_allclose(colour_matrix(0, 1, 1), np.eye(3))
    np.testing.assert_allclose(colour_matrix(0.2, 1.7, 0.8) @ np.ones(3), [0.8] * 3)


def test_without_changes_it_is_the_plain_picture(tmp_path: Path) -> None:
    pictures = Pictures(small(tmp_path), 64, 96)
    changed, plain = canvas(64, 96), canvas(64, 96)
    truth = Augmenter(pictures, PLAIN, SEED).make(changed, 3, 4, 1)
    expected = pictures.plain(plain, 1)
    assert (changed == plain).all()
    assert (truth.boxes_xyxy == expected.boxes_xyxy).all()


# Settings.


def test_settings() -> None:
    assert AugmentSettings().for_network("nano").mixup == 0
    assert AugmentSettings().for_network("tiny").mixup == 0
    assert AugmentSettings().for_network("s").mixup == 1
    assert AugmentSettings(mixup=0.3).for_network("nano").mixup == 0.3
    settings = AugmentSettings(plain_epochs=2)
    assert [settings.is_plain(epoch, 5) for epoch in range(5)] == [False, False, False, True, True]
    assert settings.is_plain(0, 1)
    with pytest.raises(TypeError, match="mosiac"):
        AugmentSettings(mosiac=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mosaic": 1.1}, "mosaic: expected from 0 to 1, found 1.1"),
        ({"mixup": -1}, "mixup: expected from 0 to 1, found -1"),
        ({"flip": float("nan")}, "flip: expected from 0 to 1, found nan"),
        ({"degrees": 181}, "degrees: expected from 0 to 180, found 181"),
        ({"shear": 90}, "shear: expected from 0 to 45, found 90"),
        ({"hue": 0.6}, "hue: expected from 0 to 0.5, found 0.6"),
        ({"multiscale": 1}, "multiscale: expected from 0 to 0.9, found 1"),
        ({"multiscale_every": 0}, "multiscale_every: expected from 1 to 1000000, found 0"),
        ({"plain_epochs": -1}, "plain_epochs: expected from 0 to 1000000, found -1"),
        ({"scale": (0, 1)}, "scale: expected from 0.1 to 10.0, found 0"),
        (
            {"mixup_scale": (2, 1)},
            "mixup_scale: expected the smallest zoom, then the largest, of 10 at most; found 2, 1",
        ),
    ],
)
def test_settings_that_make_no_sense(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        AugmentSettings(**setting)
    assert str(error.value) == message


def test_limits_that_make_no_sense() -> None:
    for name in ("min_visibility", "min_share"):
        with pytest.raises(ConfigError, match=f"{name}: expected from 0 to 1, found 2"):
            BoxLimits(**{name: 2})
    with pytest.raises(ConfigError, match="min_pixels: expected from 0 to 1024, found -1"):
        BoxLimits(min_pixels=-1)


# Batches.


def batches(loader: TrainLoader, *words: Any, **more: Any) -> list[tuple[Tensor, Targets]]:
    return list(loader.epoch(*words, **more))


def same(a: list[tuple[Tensor, Targets]], b: list[tuple[Tensor, Targets]]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(left, right)
        and torch.equal(x.boxes, y.boxes)
        and torch.equal(x.class_ids, y.class_ids)
        and torch.equal(x.ignore, y.ignore)
        for (left, x), (right, y) in zip(a, b, strict=True)
    )


def test_a_batch(tmp_path: Path) -> None:
    loader = TrainLoader(Pictures(small(tmp_path), 64, 96), PLAIN, batch=2, workers=1)
    assert len(loader) == 2
    images, targets = batches(loader, 0)[0]
    assert images.shape == (2, 3, 64, 96)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert targets.boxes.shape == (2, 1, 4)
    assert (targets.boxes.dtype, targets.class_ids.dtype) == (torch.float32, torch.int64)
    assert targets.ignore.shape == (2, 1, 4)
    # The picture is 90x60 and 96x64 in the input; its box begins 10 and its number to the right.
    number = int(loader.order(0)[0]) + 1
    factor = np.array([96 / 90, 64 / 60] * 2)
    np.testing.assert_allclose(
        targets.boxes[0, 0].numpy(), np.array([20 + number, 27, 20, 30]) * factor, rtol=1e-5
    )


def test_truth_is_padded() -> None:
    none = np.empty((0, 4), np.float32)
    box = np.array([[1, 2, 5, 10]], np.float32)
    targets = pack(
        [
            Truth(np.concatenate([box, box]), np.array([0, 2]), none),
            Truth(none, np.empty(0, np.int64), box),
        ]
    )
    assert targets.boxes.tolist() == [[[3, 6, 4, 8]] * 2, [[0, 0, 0, 0]] * 2]
    assert targets.class_ids.tolist() == [[0, 2], [-1, -1]]
    assert targets.ignore.tolist() == [[[0, 0, 0, 0]], [[1, 2, 5, 10]]]
    empty = pack([Truth(none, np.empty(0, np.int64), none)])
    assert empty.class_ids.tolist() == [[-1]]


def test_batches_depend_on_the_seed_alone(tmp_path: Path) -> None:
    samples = small(tmp_path, count=7)
    settings = AugmentSettings(mixup=0.5, multiscale_every=1)

    def loader(workers: int = 0, seed: int = SEED) -> TrainLoader:
        # Not even on what is in memory already.
        pictures = Pictures(samples, 64, 96, cache_bytes=20_000 * workers)
        return TrainLoader(pictures, settings, batch=2, seed=seed, workers=workers)

    whole = batches(loader(), 1)
    assert len(whole) == 3
    assert same(whole, batches(loader(1), 1))
    assert same(whole, batches(loader(3), 1))
    # taken up in the middle
    for start in range(4):
        assert same(whole[start:], batches(loader(2), 1, start))
    for start in (-1, 4):
        with pytest.raises(ConfigError) as error:
            batches(loader(), 1, start)
        assert str(error.value) == (
            f"expected to begin at batch 0 to 3 of the epoch, found {start}; "
            "were the pictures or the batch others before?"
        )
    assert not same(whole, batches(loader(), 2))
    assert not same(whole, batches(loader(seed=8), 1))
    used = loader(2)
    batches(used, 0)
    assert same(whole, batches(used, 1))


def test_each_picture_comes_once(tmp_path: Path) -> None:
    loader = TrainLoader(Pictures(small(tmp_path, count=7), 32, 32), PLAIN, batch=3, workers=0)
    first, second = loader.order(0), loader.order(1)
    assert len(first) == len(second) == 6
    assert len(set(first.tolist())) == len(set(second.tolist())) == 6
    assert first.tolist() != second.tolist()


def test_fewer_pictures_than_a_batch(tmp_path: Path) -> None:
    pictures = Pictures(small(tmp_path, count=3), 32, 32)
    loader = TrainLoader(pictures, AugmentSettings(), batch=8, workers=1)
    assert len(loader) == 1
    assert sorted(np.bincount(loader.order(0)).tolist()) == [2, 3, 3]
    images, _ = batches(loader, 0)[0]
    assert len(images) == 8
    # One picture that comes twice is not changed in the same way.
    assert len({image.numpy().tobytes() for image in images}) == 8


def test_processes_share_the_work(tmp_path: Path) -> None:
    """Together they prepare the batches that one alone would have."""
    samples = small(tmp_path, count=9)
    pictures = Pictures(samples, 64, 64)
    alone = batches(TrainLoader(pictures, AugmentSettings(), batch=4, seed=SEED, workers=0), 0)
    parts = [
        batches(
            TrainLoader(
                pictures, AugmentSettings(), batch=2, seed=SEED, workers=0, shard=Shard(rank, 2)
            ),
            0,
        )
        for rank in range(2)
    ]
    assert len(alone) == len(parts[0]) == len(parts[1]) == 2
    for (whole, _), (even, _), (odd, _) in zip(alone, *parts, strict=True):
        assert torch.equal(whole[0::2], even)
        assert torch.equal(whole[1::2], odd)


def test_sizes_of_batches(tmp_path: Path) -> None:
    settings = AugmentSettings(multiscale=0.25, multiscale_every=3)
    samples = small(tmp_path)
    loader = TrainLoader(Pictures(samples, 192, 320), settings, batch=1, workers=0)
    sizes = [loader.input_size(epoch, step) for epoch in range(40) for step in range(5)]
    # 10 by 6 blocks of 32; the longer side has 8 to 12 and the other one keeps the shape.
    assert set(sizes) == {(160, 256), (160, 288), (192, 320), (224, 352), (224, 384)}
    assert loader.largest_size() == max(sizes)
    assert all(len(set(sizes[n : n + 3])) == 1 for n in range(0, 198, 3))
    assert loader.input_size(3, 2, plain=True) == (192, 320)
    images = [image for image, _ in loader.epoch(2)]
    assert [tuple(image.shape[2:]) for image in images] == sizes[10:15]
    assert all(tuple(image.shape[2:]) == (192, 320) for image, _ in loader.epoch(2, plain=True))
    least = TrainLoader(
        Pictures(samples, 32, 32), AugmentSettings(multiscale=0.9), batch=1, workers=0
    )
    assert {least.input_size(0, 10 * n) for n in range(30)} == {(32, 32)}
    assert least.largest_size() == (32, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"batch": 0}, "batch: expected 1 or more, found 0"),
        ({"workers": -1}, "workers: expected from 0 to 256, found -1"),
        ({"seed": -1}, f"seed: expected from 0 to {2**63 - 1}, found -1"),
        ({"shard": Shard(2, 2)}, "rank: expected 0 to 1 for a world of 2, found 2"),
    ],
)
def test_loaders_that_make_no_sense(tmp_path: Path, words: dict[str, Any], message: str) -> None:
    pictures = Pictures(small(tmp_path), 32, 32)
    with pytest.raises(ConfigError) as error:
        TrainLoader(pictures, PLAIN, **({"batch": 2} | words))
    assert str(error.value) == message
    if "seed" not in words:
        with pytest.raises(ConfigError) as error:
            ValidationLoader(pictures, **({"batch": 2} | words))
        assert str(error.value) == message


# Work done ahead.


def at_work() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("motrail-data")]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_errors_arrive(tmp_path: Path, workers: int) -> None:
    samples = small(tmp_path)
    pictures = Pictures(samples, 32, 32, cache_bytes=0)
    loader = TrainLoader(pictures, AugmentSettings(), batch=2, workers=workers)
    assert len(batches(loader, 0)) == 2
    for index in range(5):
        samples.path(index).write_bytes(b"")
    with pytest.raises(
        VideoError, match=r"00000\d.png: expected an image .* found 0 bytes"
    ) as error:
        batches(loader, 3)
    assert error.value.__notes__[0].startswith(f"while preparing {tmp_path / 'data'}")
    assert at_work() == []


def test_bad_pictures_are_replaced(tmp_path: Path) -> None:
    """By the next good one, whoever comes upon them first."""
    samples = small(tmp_path)
    samples.path(1).unlink()
    made = []
    for workers in (0, 3):
        pictures = Pictures(samples, 32, 32, on_bad="skip")
        loader = TrainLoader(pictures, AugmentSettings(), batch=2, seed=SEED, workers=workers)
        made.append([batch for epoch in range(4) for batch in loader.epoch(epoch)])
        assert list(pictures.skipped) == [1]
    assert same(*made)


def test_leaving_an_epoch_lets_go_of_its_threads(tmp_path: Path) -> None:
    before = cv2.getNumThreads()
    loader = TrainLoader(Pictures(small(tmp_path), 32, 32), AugmentSettings(), batch=1, workers=2)
    epoch = loader.epoch(0)
    next(epoch)
    assert at_work() != []
    epoch.close()
    assert at_work() == []
    epoch = loader.epoch(0)
    next(epoch)
    with pytest.raises(KeyboardInterrupt):
        epoch.throw(KeyboardInterrupt())
    assert at_work() == []
    assert cv2.getNumThreads() == before


def test_two_groups_ahead_and_not_more() -> None:
    begun = []

    def groups() -> Iterator[tuple[int, list[Any]]]:
        for number in range(6):
            begun.append(number)
            yield number, [functools.partial(int, number)]

    work = ahead(groups(), 2)
    assert next(work) == (0, [0])
    assert begun == [0, 1, 2]
    assert next(work)[0] == 1
    assert begun == [0, 1, 2, 3]
    work.close()


_ENDLESS = """
import sys
from pathlib import Path
from motrail.dataset.folder import open_dataset
from motrail.train.data.loader import TrainLoader
from motrail.train.data.pictures import Pictures
from motrail.train.data.samples import read_samples
from motrail.config.training import AugmentSettings

samples = read_samples(open_dataset(Path(sys.argv[1])), "train")
pictures = Pictures(samples, 416, 416, cache_bytes=0)
loader = TrainLoader(pictures, AugmentSettings(), batch=4, workers=2)
epoch = 0
while True:
    for images, targets in loader.epoch(epoch):
        print("ready", flush=True)
    epoch += 1
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told(tmp_path: Path, kind: signal.Signals) -> None:
    small(tmp_path)
    script = tmp_path / "endless.py"
    script.write_text(_ENDLESS)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(kind)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -kind
    assert ("KeyboardInterrupt" in errors) == (kind == signal.SIGINT)


# Validation.


def test_validation_in_order(tmp_path: Path) -> None:
    images = [noise(60, 90, seed) for seed in range(3)]
    rows = [row(1, 1, (10, 20, 30, 30)), row(3, 1, (12, 20, 30, 30))]
    other = ([noise(90, 60, 9)], [row(1, 1, (10, 20, 30, 30))])
    dataset = write_dataset(tmp_path / "data", {"b": (images, rows), "c": other}, split="val")
    samples = read_samples(dataset, "val")
    pictures = Pictures(samples, 64, 64)
    loader = ValidationLoader(pictures, batch=3, workers=1)
    assert len(loader) == 2
    first, second = list(loader)
    assert first.images.shape == (3, 3, 64, 64)
    assert second.images.shape == (1, 3, 64, 64)
    assert (first.sequences, second.sequences) == (("b", "b", "b"), ("c",))
    assert (first.frames.tolist(), second.frames.tolist()) == ([1, 2, 3], [1])
    assert (first.indices.tolist(), second.indices.tolist()) == ([0, 1, 2], [3])
    assert (first.sizes.tolist(), second.sizes.tolist()) == ([[90, 60]] * 3, [[60, 90]])
    expected = Letterbox(training_input(64, 64)).apply(images[1])[0]
    assert (first.images[1].numpy() == expected).all()
    # What is found in the input is brought back to where it is in the picture.
    found = pictures.truth(3).boxes_xyxy
    back = pictures.letterbox.undo(found, *second.sizes[0].tolist())
    np.testing.assert_allclose(back, [[10, 20, 40, 50]], rtol=1e-5)
    assert [batch.frames.tolist() for batch in loader] == [[1, 2, 3], [1]]


def test_validation_in_parts(tmp_path: Path) -> None:
    pictures = Pictures(small(tmp_path), 32, 32)
    parts = [
        [
            number
            for batch in ValidationLoader(pictures, batch=2, workers=0, shard=Shard(rank, 3))
            for number in batch.frames.tolist()
        ]
        for rank in range(3)
    ]
    assert parts == [[1, 2], [3, 4], [5]]


def test_validation_leaves_out_bad_pictures(tmp_path: Path) -> None:
    samples = small(tmp_path)
    for index in (0, 2, 3):
        samples.path(index).unlink()
    lenient = ValidationLoader(Pictures(samples, 32, 32, on_bad="skip"), batch=2, workers=1)
    assert [batch.frames.tolist() for batch in lenient] == [[2], [5]]
    assert all(batch.images.shape == (1, 3, 32, 32) for batch in lenient)
    with pytest.raises(VideoError, match="000001.png: cannot be read"):
        list(ValidationLoader(Pictures(samples, 32, 32), batch=2, workers=1))


# The picture of a batch.


def test_a_batch_is_drawn() -> None:
    images = torch.full((2, 3, 64, 96), 50, dtype=torch.uint8)
    targets = Targets(
        torch.tensor([[[40.0, 30, 20, 10], [0, 0, 0, 0]], [[48, 32, 96, 64], [48, 32, 20, 20]]]),
        torch.tensor([[0, -1], [1, 7]]),
        torch.tensor([[[60.0, 30, 90, 60]], [[0, 0, 0, 0]]]),
    )
    sheet = draw_batch(images, targets, ["person", "Bälle"])
    assert sheet.shape == (64, 96 * 2 + 4, 3)
    for x, y in ((30, 30), (49, 30), (30, 25), (30, 34), (49, 34)):
        assert tuple(sheet[y, x].tolist()) == class_colour(0)
    assert (sheet[26:34, 31:49] == 50).all()  # inside
    region = sheet[31:59, 61:89]
    assert 0.1 < (region == 235).all(axis=2).mean() < 0.2
    assert (sheet[36:, :60] == 50).all()  # padding is not drawn
    assert tuple(sheet[0, 100 + 90].tolist()) == class_colour(1)
    assert tuple(sheet[22, 100 + 56].tolist()) == class_colour(7)
    assert len({class_colour(number) for number in range(20)}) == 20
    assert (images == 50).all()


def test_a_large_batch_is_drawn_small() -> None:
    count = 20
    images = torch.zeros((count, 3, 544, 960))
    targets = Targets(
        torch.zeros((count, 1, 4)),
        torch.full((count, 1), -1),
        torch.zeros((count, 1, 4)),
    )
    sheet = draw_batch(images, targets, [])
    height, width = sheet.shape[:2]
    assert 2500 < width <= 2560
    assert 0.5 < height / width < 0.6


def test_drawing_boxes_that_leave_the_picture() -> None:
    images = torch.zeros((1, 3, 32, 32), dtype=torch.uint8)
    targets = Targets(
        torch.tensor([[[0.0, 0, 50, 50], [31, 31, 1, 1], [100, 100, 4, 4]]]),
        torch.tensor([[0, 0, 0]]),
        torch.tensor([[[-10.0, -10, 50, 5], [40, 40, 50, 50], [-9, -9, -3, -3]]]),
    )
    assert draw_batch(images, targets, []).shape == (32, 32, 3)
