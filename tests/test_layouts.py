"""Detectors other than YOLOX: what they answer, and how it is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from answers import (
    BOXES,
    CELLS,
    CENTERED,
    CHOOSE,
    CORNERS,
    HEIGHT,
    PICTURE,
    PRESET_OF,
    RUNTIMES,
    STRETCHED,
    WIDTH,
    answer,
    bare,
    expected,
    seen,
)
from models import told_network
from motrail.config import DetectorSettings
from motrail.detect.bundle import InputSpec
from motrail.detect.decode import Grid
from motrail.detect.detector import load_detector
from motrail.detect.failure import AnswerError
from motrail.detect.letterbox import Letterbox
from motrail.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


# --- letterbox ------------------------------------------------------------------------------------


def input_spec(letterbox: str, **changes: Any) -> InputSpec:
    content: dict[str, Any] = {
        "height": 64,
        "width": 96,
        "color": "bgr",
        "letterbox": letterbox,
    }
    return InputSpec(**(content | changes))


def test_a_picture_in_the_middle() -> None:
    image = np.full((64, 49, 3), (10, 20, 30), np.uint8)  # 47 columns are left: 23 and 24
    blob = Letterbox(input_spec("center")).apply(image)
    for channel, value in enumerate((10, 20, 30)):
        assert (blob[0, channel, :, 23:72] == value).all()
        assert (blob[0, channel, :, :23] == 114).all()
        assert (blob[0, channel, :, 72:] == 114).all()
    wide = Letterbox(input_spec("center")).apply(np.full((33, 96, 3), 7, np.uint8))
    assert (wide[0, :, 15:48] == 7).all()
    assert (wide[0, :, :15] == 114).all()
    assert (wide[0, :, 48:] == 114).all()


def test_sizes_in_the_input() -> None:
    # 100 × 70 becomes 91.43 × 64 in an input of 96 × 64; 90 × 61 becomes 94.43 × 64.
    assert Letterbox(input_spec("center")).size_inside(100, 70) == (91, 64)
    # 1000 × 664 becomes 96 × 63.74.
    assert Letterbox(input_spec("center")).size_inside(1000, 664) == (96, 64)
    assert Letterbox(input_spec("top-left")).size_inside(1000, 664) == (96, 63)
    assert Letterbox(input_spec("stretch")).size_inside(1000, 664) == (96, 64)
    assert Letterbox(input_spec("center")).size_inside(5000, 3) == (96, 1)


def test_a_stretched_picture_fills_the_input() -> None:
    blob = Letterbox(input_spec("stretch")).apply(np.full((64, 10, 3), 9, np.uint8))
    assert (blob == 9).all()


@pytest.mark.parametrize("letterbox", ["top-left", "center", "stretch"])
@pytest.mark.parametrize("size", [(1280, 720), (719, 1281), (97, 53), (1, 1), (5000, 3), (96, 64)])
def test_boxes_come_back_to_where_the_picture_lies(letterbox: str, size: tuple[int, int]) -> None:
    width, height = size
    box = Letterbox(input_spec(letterbox, pad=0))
    inside = box.apply(np.full((height, width, 3), 255, np.uint8))[0, 0] == 255
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    corners = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    found = box.undo(np.array([corners], np.float32), width, height)
    np.testing.assert_allclose(found, [[0, 0, width, height]], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("letterbox", ["center", "stretch"])
def test_memory_used_again_gives_the_same(letterbox: str) -> None:
    box = Letterbox(input_spec(letterbox))
    scratch = box.new_scratch()
    rng = np.random.default_rng(0)
    for shape in [(30, 70, 3), (70, 30, 3), (31, 70, 3), (30, 70, 3)]:
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        np.testing.assert_array_equal(box.apply(image, scratch), box.apply(image))


# --- every layout, by hand ------------------------------------------------------------------------


@pytest.mark.parametrize("device", RUNTIMES)
@pytest.mark.parametrize("layout", PRESET_OF)
def test_boxes_by_hand(tmp_path: Path, layout: str, device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    preset: Any = PRESET_OF[layout]
    other = "orig_target_sizes" if layout == "rt-detr" else None
    path = bare(tmp_path / "net.onnx", answer(layout), other=other)
    detector = load_detector(path, DetectorSettings(preset=preset, device=device))
    boxes = STRETCHED if preset == "rt-detr" else CENTERED
    found = detector.detect(PICTURE)
    assert detector.class_names == ("a", "b")
    assert detector.device == device
    assert seen(found) == expected(boxes, [0, 2] if layout in CHOOSE else [0, 1, 2])


@pytest.mark.parametrize("layout", PRESET_OF)
def test_by_a_bundle(tmp_path: Path, layout: str) -> None:
    """Input and layout as `model.json` says them, here both unlike those of the preset."""
    (tmp_path / "model.onnx").write_bytes(told_network(answer(layout), size=(HEIGHT, WIDTH)))
    spec = {
        "classes": ["a", "b"],
        "input": {"height": HEIGHT, "width": WIDTH, "color": "bgr", "letterbox": "top-left"},
        "output": {"format": layout},
    }
    (tmp_path / "model.json").write_text(json.dumps(spec))
    found = load_detector(tmp_path).detect(PICTURE)
    assert seen(found) == expected(CORNERS / 0.48, [0, 2] if layout in CHOOSE else [0, 1, 2])


@pytest.mark.parametrize("layout", PRESET_OF)
def test_what_is_wanted(tmp_path: Path, layout: str) -> None:
    preset: Any = PRESET_OF[layout]
    boxes = STRETCHED if preset == "rt-detr" else CENTERED
    path = bare(tmp_path / "net.onnx", answer(layout))
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({"nms_threshold": 0.9}, [0, 1, 2]),
        ({"classes": ("a",)}, [2]),
        ({"score_threshold": 0.6, "nms_threshold": 0.9}, [0, 1]),
        ({"score_threshold": 0.95}, []),
    ]
    for settings, rows in cases:
        found = load_detector(path, DetectorSettings(preset=preset, **settings)).detect(PICTURE)
        assert seen(found) == expected(boxes, rows)


@pytest.mark.parametrize("layout", ["yolov10", "yolov7-end2end", "rt-detr"])
def test_rows_that_only_fill_up_are_nothing(tmp_path: Path, layout: str) -> None:
    """Even where every score is wanted."""
    outputs = {name: np.zeros_like(value) for name, value in answer(layout).items()}
    preset: Any = PRESET_OF[layout]
    settings = DetectorSettings(preset=preset, score_threshold=0)
    assert len(load_detector(bare(tmp_path / "net.onnx", outputs), settings).detect(PICTURE)) == 0


def test_no_object_at_all(tmp_path: Path) -> None:
    outputs = {"output": np.zeros((0, 7), np.float32)}
    path = bare(tmp_path / "net.onnx", outputs, open_shapes=True)
    detector = load_detector(path, DetectorSettings(preset="yolov7"))
    assert len(detector.detect(PICTURE)) == 0


def test_with_one_class_objectness_is_the_score(tmp_path: Path) -> None:
    rows = np.zeros((1, 3 * CELLS, 6), np.float32)
    rows[0, :, :4] = 10
    rows[0, 0] = [*BOXES[0], 0.9, 0.5]
    path = bare(tmp_path / "net.onnx", {"output": rows}, names="['a']")
    found = load_detector(path, DetectorSettings(preset="yolov7")).detect(PICTURE)
    assert found.scores.tolist() == pytest.approx([0.9])


def test_of_two_branches_the_main_one_is_read(tmp_path: Path) -> None:
    """YOLOv9 as it is trained; the first one only helps to learn."""
    first = answer("yolov8")["output0"].copy()
    first[0, 4:] = 0
    outputs = {"aux": first, "main": answer("yolov8")["output0"]}
    detector = load_detector(bare(tmp_path / "n.onnx", outputs), DetectorSettings(preset="yolov9"))
    assert seen(detector.detect(PICTURE)) == expected(CENTERED, [0, 2])


def test_maps_of_each_level_beside_the_boxes_are_left_alone(tmp_path: Path) -> None:
    """As in older exports of YOLOv5."""
    maps = np.zeros((1, 3, 8, 12, 7), np.float32)
    outputs = {"maps": maps, "output": answer("yolov5")["output0"]}
    detector = load_detector(bare(tmp_path / "n.onnx", outputs), DetectorSettings(preset="yolov5"))
    assert seen(detector.detect(PICTURE)) == expected(CENTERED, [0, 2])


@pytest.mark.parametrize("device", RUNTIMES)
def test_half_precision(tmp_path: Path, device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    path = bare(tmp_path / "net.onnx", answer("yolov8"), half=True)
    detector = load_detector(path, DetectorSettings(preset="yolov8", device=device))
    assert seen(detector.detect(PICTURE)) == expected(CENTERED, [0, 2])


def as_yolov8(content: bytes, grid: Grid) -> bytes:
    """A YOLOX network with its input and answer turned into those of YOLOv8."""
    model = onnx.load_model_from_string(content)
    graph = model.graph
    given, answered = graph.input[0].name, graph.output[0].name
    total = len(grid)
    constants: dict[str, NDArray[Any]] = {
        "white": np.array(255, np.float32),
        "bgr": np.array([2, 1, 0], np.int64),
        "corners": grid.corners[None],
        "strides": grid.strides[None],
        "axis": np.array([2], np.int64),
        **{f"at{i}": np.array([i], np.int64) for i in (0, 2, 4, 5, 85)},
    }
    graph.initializer.extend(numpy_helper.from_array(v, name=k) for k, v in constants.items())
    node = helper.make_node
    first = [
        node("Mul", ["rgb", "white"], ["scaled"]),
        node("Gather", ["scaled", "bgr"], [given], axis=1),
    ]
    last = [
        node("Slice", [answered, "at0", "at2", "axis"], ["xy"]),
        node("Slice", [answered, "at2", "at4", "axis"], ["wh"]),
        node("Slice", [answered, "at4", "at5", "axis"], ["objectness"]),
        node("Slice", [answered, "at5", "at85", "axis"], ["classes"]),
        node("Add", ["xy", "corners"], ["placed"]),
        node("Mul", ["placed", "strides"], ["centre"]),
        node("Exp", ["wh"], ["cells"]),
        node("Mul", ["cells", "strides"], ["size"]),
        node("Mul", ["objectness", "classes"], ["scores"]),
        node("Concat", ["centre", "size", "scores"], ["rows"], axis=2),
        node("Transpose", ["rows"], ["output0"], perm=[0, 2, 1]),
    ]
    nodes = [*first, *graph.node, *last]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    kind = TensorProto.FLOAT
    graph.input.append(helper.make_tensor_value_info("rgb", kind, [1, 3, 416, 416]))
    graph.output.append(helper.make_tensor_value_info("output0", kind, [1, 84, total]))
    changed_content: bytes = model.SerializeToString()
    return changed_content


def test_a_real_network_in_another_layout(data: Path, tmp_path: Path) -> None:
    """On a square picture, where both letterboxes are the same."""
    model = data / "models" / "yolox_nano.onnx"
    path = tmp_path / "net.onnx"
    path.write_bytes(as_yolov8(model.read_bytes(), Grid(416, 416, (8, 16, 32))))
    picture = cv2.imread(str(data / "mot17_mini" / "MOT17-02-FRCNN" / "img1" / "000001.jpg"))
    assert picture is not None
    square = np.ascontiguousarray(picture[:900, 400:1300]).astype(np.uint8)
    one = load_detector(model, DetectorSettings(preset="yolox", score_threshold=0.3))
    other = load_detector(path, DetectorSettings(preset="yolov8", score_threshold=0.3))
    wanted, found = one.detect(square), other.detect(square)
    assert len(found) == len(wanted) > 3
    assert found.class_ids.tolist() == wanted.class_ids.tolist()
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy, wanted.boxes_xyxy, atol=0.05)


# --- nonsense -------------------------------------------------------------------------------------


def changed(layout: str, name: str, place: Any, value: float) -> dict[str, NDArray[Any]]:
    outputs = {key: array.copy() for key, array in answer(layout).items()}
    outputs[name][place] = value
    return outputs


@pytest.mark.parametrize(
    ("layout", "outputs", "message"),
    [
        (
            "yolov5",
            changed("yolov5", "output0", (0, 3, 5), -2.5),
            "objectness and class scores between 0 and 1, found -2.5 to 1; .*with its sigmoid",
        ),
        (
            "yolov8",
            changed("yolov8", "output0", (0, 5, 3), 4.5),
            "class scores between 0 and 1, found 0.001 to 4.5; export the network with its sigmoid",
        ),
        ("yolov10", changed("yolov10", "output0", (0, 0, 4), 7), "scores between 0 and 1"),
        ("rt-detr", changed("rt-detr", "scores", (0, 0), -1), "scores between 0 and 1"),
        (
            "rt-detr-ultralytics",
            changed("rt-detr-ultralytics", "output0", (0, 0, 4), -9),
            "class scores between 0 and 1, found -9 to 0.9",
        ),
        (
            "yolov8",
            changed("yolov8", "output0", (0, slice(0, 4)), 0.5),
            "expected boxes in pixels of the input, found numbers up to 0.5, which are shares",
        ),
        (
            "yolov5",
            changed("yolov5", "output0", (0, slice(None), slice(0, 4)), 1),
            "expected boxes in pixels of the input, found numbers up to 1",
        ),
        (
            "rt-detr-ultralytics",
            changed("rt-detr-ultralytics", "output0", (0, 1, 0), 320),
            "expected boxes as shares of the input, 0 to 1, found numbers up to 320",
        ),
        ("yolov10", changed("yolov10", "output0", (0, 1, 5), 2), "class 2, .* only 2 are named"),
        ("rt-detr", changed("rt-detr", "labels", (0, 1), -1), "class -1, .* only 2 are named"),
        ("yolov10", changed("yolov10", "output0", (0, 1, 2), 1), "turned inside out"),
        ("yolov8", changed("yolov8", "output0", (0, 3, 9), np.nan), "NaN or infinite"),
        ("yolov5", changed("yolov5", "output0", (0, 0, 0), np.inf), "NaN or infinite"),
        ("rt-detr", changed("rt-detr", "boxes", (0, 0, 0), np.nan), "NaN or infinite"),
        (
            "rt-detr-transformers",
            changed("rt-detr-transformers", "logits", (0, 0, 0), np.inf),
            "NaN or infinite",
        ),
    ],
)
def test_nonsense(
    tmp_path: Path, layout: str, outputs: dict[str, NDArray[Any]], message: str
) -> None:
    preset: Any = PRESET_OF[layout]
    path = bare(tmp_path / "net.onnx", outputs)
    with pytest.raises(ModelError, match=message) as caught:
        load_detector(path, DetectorSettings(preset=preset))
    assert str(caught.value).startswith(f"{path}: ")


BEYOND = 3e38
"""Almost the largest number that there is: a picture that is larger than the input is too much."""


@pytest.mark.parametrize(
    ("layout", "outputs", "message"),
    [
        ("yolov10", changed("yolov10", "output0", (0, 1, 2), BEYOND), "expected finite numbers"),
        ("yolov10", changed("yolov10", "output0", (0, 1, 0), -BEYOND), "expected finite numbers"),
        ("rt-detr", changed("rt-detr", "boxes", (0, 1, 2), BEYOND), "expected finite numbers"),
        (
            "yolov8",
            changed("yolov8", "output0", (0, slice(0, 4), 50), BEYOND),
            "expected finite numbers",
        ),
        (
            "yolov5",
            changed("yolov5", "output0", (0, 8, slice(0, 4)), BEYOND),
            "expected finite numbers",
        ),
        ("yolov5", changed("yolov5", "output0", (0, 8, 2), -9), "turned inside out"),
    ],
)
def test_nonsense_that_shows_in_the_picture(
    tmp_path: Path, layout: str, outputs: dict[str, NDArray[Any]], message: str
) -> None:
    """The answer is finite, and the boxes that follow from it are not."""
    preset: Any = PRESET_OF[layout]
    path = bare(tmp_path / "net.onnx", outputs)
    detector = load_detector(path, DetectorSettings(preset=preset))
    large = np.zeros((10 * HEIGHT, 10 * WIDTH, 3), np.uint8)
    with pytest.raises(AnswerError, match=message) as caught:
        detector.detect(large)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert caught.value.reason.startswith("the network answered with ")


def test_logits_far_from_zero_are_scores(tmp_path: Path) -> None:
    outputs = {
        "logits": np.array([[[1000, -1000], [-1000, -1000]]], np.float32),
        "pred_boxes": np.full((1, 2, 4), 0.5, np.float32),
    }
    found = load_detector(bare(tmp_path / "n.onnx", outputs), DetectorSettings(preset="rt-detr"))
    assert found.detect(PICTURE).scores.tolist() == [1.0]


@pytest.mark.parametrize("device", RUNTIMES)
def test_inputs_that_nobody_knows(tmp_path: Path, device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    path = bare(tmp_path / "net.onnx", answer("yolov8"), other="mask")
    with pytest.raises(ModelError, match=r"besides it orig_target_sizes .*, found mask \(1, 2\)"):
        load_detector(path, DetectorSettings(preset="yolov8", device=device))
