"""Presets: which layout a bare network has, what its classes are called, and whole runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import cv2
import numpy as np
import pytest

from answers import (
    CELLS,
    CENTERED,
    CHOOSE,
    CORNERS,
    HEIGHT,
    PICTURE,
    PRESET_OF,
    RUNTIMES,
    WIDTH,
    answer,
    bare,
    expected,
    seen,
)
from commands import caller
from models import SIDE, layout_network, spot_network, told_network
from motrail.config import DetectorSettings, Preset
from motrail.detect.bundle import COCO_CLASSES, PRESETS, Format
from motrail.detect.detector import load_detector
from motrail.detect.layouts.base import Cells
from motrail.detect.layouts.table import LAYOUTS
from motrail.detect.metadata import class_names
from motrail.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from pathlib import Path


# --- which layout it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["yolov5", "yolov7-end2end", "yolov8", "yolov10"])
@pytest.mark.parametrize("preset", ["yolov5", "yolov7", "yolov8", "yolov9", "yolov10", "yolov11"])
def test_a_newer_export_of_an_older_network(tmp_path: Path, layout: str, preset: Any) -> None:
    path = bare(tmp_path / "net.onnx", answer(layout), open_shapes=True)
    found = load_detector(path, DetectorSettings(preset=preset)).detect(PICTURE)
    assert seen(found) == expected(CENTERED, [0, 2] if layout in CHOOSE else [0, 1, 2])


@pytest.mark.parametrize(
    ("shape", "preset", "message"),
    [
        ((1, CELLS, 7), "yolov8", r"found out \(1, 126, 7\); that looks like --preset yolox$"),
        ((1, CELLS, 7), "yolov7", r"preset 'yolov7' can read, \(1, boxes, 5 \+ classes\) or "),
        ((1, 6, CELLS), "yolox", r"found out \(1, 6, 126\); that looks like --preset yolov8$"),
        ((1, 6, CELLS), "rt-detr", r"found out \(1, 6, 126\); that looks like --preset yolov8$"),
        ((1, 3 * CELLS, 7), "bytetrack", "that looks like --preset yolov5$"),
        ((1, 3 * CELLS, 7), "rt-detr", "that looks like --preset yolov5$"),
        ((1, 300, 84), "yolov11", "that looks like --preset rt-detr$"),
        ((1, 300, 6), "yolox-legacy", "that looks like --preset yolov10 or --preset rt-detr$"),
        ((9, 7), "rt-detr", "that looks like --preset yolov7$"),
        ((1, 3, 8, 12, 7), "yolov7", r"found out \(1, 3, 8, 12, 7\)$"),
        ((1, 3), "yolov8", r"found out \(1, 3\)$"),
    ],
)
def test_the_right_preset_is_named(
    tmp_path: Path, shape: tuple[int, ...], preset: Any, message: str
) -> None:
    path = bare(tmp_path / "net.onnx", {"out": np.zeros(shape, np.float32)})
    with pytest.raises(ModelError, match=message) as caught:
        load_detector(path, DetectorSettings(preset=preset))
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("preset", ["yolox", "yolov8"])
def test_outputs_of_names_show_what_they_are(tmp_path: Path, preset: Any) -> None:
    path = bare(tmp_path / "net.onnx", answer("rt-detr"))
    with pytest.raises(ModelError, match=r"found labels \(1, 3\), .*like --preset rt-detr$"):
        load_detector(path, DetectorSettings(preset=preset))


def test_without_a_preset_a_guess_is_made(tmp_path: Path) -> None:
    path = bare(tmp_path / "net.onnx", answer("yolov8"))
    with pytest.raises(ConfigError, match="rt-detr; that looks like --preset yolov8$"):
        load_detector(path)
    path = bare(tmp_path / "net.onnx", answer("yolov8"), open_shapes=True)
    with pytest.raises(ConfigError, match="yolov11, rt-detr$"):
        load_detector(path)


def test_every_format_and_preset_is_known() -> None:
    assert {*get_args(Format)} == {*LAYOUTS} - {"yolox"} | {"yolox-raw", "yolox-decoded"}
    assert [*PRESETS] == [*get_args(Preset)]
    assert Cells.of(640, 640).yolox == 8400
    assert 25200 in Cells.of(640, 640).anchors


@pytest.mark.parametrize(
    ("told", "layout", "message"),
    [
        (
            "yolov5",
            "yolov8",
            r"'yolov5', \(1, boxes, 5 \+ classes\), with 2 classes, found output0",
        ),
        (
            "yolov8",
            "yolov10",
            r"found output0 \(1, 300, 6\); that looks like output.format 'yolov10'",
        ),
        ("rt-detr", "rt-detr-transformers", "looks like output.format 'rt-detr-transformers'"),
        (None, "yolov8", r"expected the output of a YOLOX network.*like output.format 'yolov8'"),
        (None, "rt-detr", "expected the output of a YOLOX network.*like output.format 'rt-detr'"),
    ],
)
def test_a_bundle_that_says_another_format(
    tmp_path: Path, told: str | None, layout: str, message: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(told_network(answer(layout), size=(HEIGHT, WIDTH)))
    spec = {
        "classes": ["a", "b"],
        "input": {"height": HEIGHT, "width": WIDTH, "color": "rgb"},
        "output": {"format": told},
    }
    (tmp_path / "model.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match=message):
        load_detector(tmp_path)


# --- names and sizes ------------------------------------------------------------------------------


def test_names_come_from_the_file(tmp_path: Path) -> None:
    path = bare(tmp_path / "net.onnx", answer("yolov8"), names="{1: 'ball', 0: \"it's me\"}")
    settings = DetectorSettings(preset="yolov8")
    assert load_detector(path, settings).class_names == ("it's me", "ball")
    labels = tmp_path / "labels.txt"
    labels.write_text("mine\nyours\n")
    settings = DetectorSettings(preset="yolov8", labels=str(labels))
    assert load_detector(path, settings).class_names == ("mine", "yours")


def test_names_are_the_same_in_openvino(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = bare(tmp_path / "net.onnx", answer("yolov8"), names="{0: 'é', 1: 'ball'}")
    settings = DetectorSettings(preset="yolov8", device="openvino")
    assert load_detector(path, settings).class_names == ("é", "ball")


def test_names_of_coco(tmp_path: Path) -> None:
    columns = np.full((1, 84, CELLS), 0.01, np.float32)
    columns[0, :4] = 10
    path = bare(tmp_path / "net.onnx", {"output0": columns}, metadata={})
    detector = load_detector(path, DetectorSettings(preset="yolov8"))
    assert detector.class_names == COCO_CLASSES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "names",
        "{0: 'a', 2: 'b'}",
        "{0: 1, 1: 2}",
        "['a', 'a']",
        "['a', '']",
        "[]",
        "{}",
        "['a\\nb', 'c']",
        "['a', ['b']]",
        "{0: __import__('os').getcwd(), 1: 'b'}",
        "['a', f'{1}']",
        "[" * 100_000,
        "-" * 100_000 + "1",
        "{" + "0: 'a', " * 100_000,
        "['" + "a" * 300_000 + "', 'b']",
        "['\\N{nothing}', 'b']",
    ],
    ids=lambda text: text[:12],
)
def test_names_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    assert class_names({"names": text}) is None
    path = bare(tmp_path / "net.onnx", answer("yolov8"), names=text)
    with pytest.raises(ModelError, match="knows 2 classes and preset 'yolov8' has no names"):
        load_detector(path, DetectorSettings(preset="yolov8"))


def test_how_names_are_written() -> None:
    assert class_names({"names": "{0: 'a', 1: \"b'c\"}"}) == ("a", "b'c")
    assert class_names({"names": "{0:'a',1:'b',}"}) == ("a", "b")
    assert class_names({"names": " ['traffic light', 'bird (small)'] "}) == (
        "traffic light",
        "bird (small)",
    )
    assert class_names({}) is None


def test_other_numbers_of_names(tmp_path: Path) -> None:
    path = bare(tmp_path / "net.onnx", answer("yolov8"), names="['a', 'b', 'c']")
    with pytest.raises(ModelError, match="knows 2 classes, but its metadata names 3"):
        load_detector(path, DetectorSettings(preset="yolov8"))
    path = bare(tmp_path / "net.onnx", answer("rt-detr"), metadata={})
    with pytest.raises(ModelError, match="does not say which classes it knows; .* --labels FILE"):
        load_detector(path, DetectorSettings(preset="rt-detr"))


def test_networks_for_something_else(tmp_path: Path) -> None:
    told = {"names": "['a', 'b']", "task": "segment"}
    path = bare(tmp_path / "net.onnx", answer("yolov8"), metadata=told)
    with pytest.raises(ModelError, match="a network for detection, found one to 'segment'"):
        load_detector(path, DetectorSettings(preset="yolov8"))


@pytest.mark.parametrize(
    ("size", "metadata", "expected_size"),
    [
        (("h", "w"), {"imgsz": "[64, 96]"}, (64, 96)),
        ((64, "w"), {"imgsz": "[640, 96]"}, (64, 96)),
        (("h", "w"), {}, (640, 640)),
        (("h", "w"), {"imgsz": "[64, 96, 3]"}, (640, 640)),
    ],
)
def test_an_input_of_any_size(
    tmp_path: Path,
    size: tuple[int | str, int | str],
    metadata: dict[str, str],
    expected_size: tuple[int, int],
) -> None:
    told = {"names": "['a', 'b']"} | metadata
    path = bare(tmp_path / "n.onnx", answer("yolov10"), size=size, metadata=told, open_shapes=True)
    detector = load_detector(path, DetectorSettings(preset="yolov10"))
    height, width = expected_size
    picture = np.zeros((height, width, 3), np.uint8)  # fits the input as it is
    np.testing.assert_allclose(detector.detect(picture).boxes_xyxy, CORNERS)


def test_sides_are_multiples_of_32(tmp_path: Path) -> None:
    path = bare(tmp_path / "net.onnx", answer("yolov8"), size=(100, 96))
    with pytest.raises(ModelError, match="input.height: .*multiple of 32, found '100'"):
        load_detector(path, DetectorSettings(preset="yolov8"))


def test_yolox_of_any_size_still_has_to_say(tmp_path: Path) -> None:
    outputs = {"output": np.zeros((1, CELLS, 7), np.float32)}
    path = bare(tmp_path / "net.onnx", outputs, size=("h", "w"))
    with pytest.raises(ModelError, match="takes pictures of any size; put it into a bundle"):
        load_detector(path, DetectorSettings(preset="yolox"))


# --- from end to end ------------------------------------------------------------------------------


def footage(folder: Path, width: int) -> Path:
    """Two bright cells on black, of which the network makes boxes; one moves, one stands."""
    scale = width // SIDE
    folder.mkdir()
    for number in range(24):
        image = np.zeros((SIDE, width, 3), np.uint8)
        for column, row in ((2 + number // 4, 2), (10, 5)):
            side = 8 * scale
            image[row * side : (row + 1) * side, column * side : (column + 1) * side] = 255
        assert cv2.imwrite(str(folder / f"{number:02}.png"), image)
    return folder


@pytest.mark.parametrize("device", RUNTIMES)
@pytest.mark.parametrize("layout", PRESET_OF)
def test_tracks_are_those_of_yolox(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, device: str
) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    preset = PRESET_OF[layout]
    # A letterbox in the middle shows in a wide picture; stretching would change its boxes.
    clip = footage(tmp_path / "clip", SIDE if preset == "rt-detr" else 2 * SIDE)
    (tmp_path / "names.txt").write_text("spot\n")
    (tmp_path / "yolox.onnx").write_bytes(spot_network())
    (tmp_path / "other.onnx").write_bytes(layout_network(layout))
    track = caller(capsys, "track")
    flags = ["--labels", tmp_path / "names.txt", "--no-video", "--device", device]
    written = []
    for name, chosen in (("yolox", "yolox"), ("other", preset)):
        out = tmp_path / name
        model = tmp_path / f"{name}.onnx"
        result = track(clip, "-m", model, "--preset", chosen, "-o", out, *flags)
        assert (result.code, result.err) == (0, "")
        written.append((out / "clip.txt").read_text())
    assert written[0] == written[1]
    rows = [line.split(",") for line in written[0].splitlines()]
    assert len(rows) == 48
    assert {row[1] for row in rows} == {"1", "2"}


@pytest.mark.parametrize("layout", ["yolov8", "rt-detr"])
def test_detect_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str) -> None:
    clip = footage(tmp_path / "clip", SIDE)
    (tmp_path / "names.txt").write_text("spot\n")
    (tmp_path / "net.onnx").write_bytes(layout_network(layout))
    detect = caller(capsys, "detect")
    words = ["--preset", PRESET_OF[layout], "--labels", tmp_path / "names.txt"]
    result = detect(clip, "-m", tmp_path / "net.onnx", *words, "-o", tmp_path / "out")
    assert result.code == 0
    rows = [line.split(",") for line in (tmp_path / "out" / "clip.txt").read_text().splitlines()]
    # A box of 16 × 16 about the middle of a cell of 8: of column 2, row 2 that is (20, 20), of
    # column 10, row 5 it is (84, 44).
    first = {tuple(float(text) for text in row[2:6]) for row in rows if row[0] == "1"}
    assert first == {(12, 12, 16, 16), (76, 36, 16, 16)}
    assert len(rows) == 48


def test_a_wrong_preset_is_told_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = footage(tmp_path / "clip", SIDE)
    (tmp_path / "net.onnx").write_bytes(spot_network())
    track = caller(capsys, "track")
    result = track(clip, "-m", tmp_path / "net.onnx", "--preset", "yolov8", "-o", tmp_path / "out")
    assert result.code == 1
    assert result.err.endswith("that looks like --preset yolox\n")
    assert result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track = caller(capsys, "track")
    result = track("clip.mp4", "-m", "net.onnx", "--preset", "yolov6")
    assert result.code == 2
    assert "yolov7" in result.err
