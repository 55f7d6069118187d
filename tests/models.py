"""Small networks and clips for the tests: a detector of bright spots, and spots that move."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from motrail.video.write import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 128
SPOT = 16


def _constant(name: str, value: NDArray[Any]) -> onnx.TensorProto:
    return numpy_helper.from_array(value, name)


def spot_network(
    *,
    classes: int = 1,
    decoded: bool = False,
    side: int = SIDE,
    sigmoid: bool = True,
    nan: bool = False,
    columns: int = 0,
) -> bytes:
    """A YOLOX-shaped network that sees a box of 16 × 16 in every bright cell of stride 8.

    Args:
        classes: Bright spots are of the first class.
        decoded: Whether boxes come out in pixels.
        side: Height and width of the input.
        sigmoid: Whether scores are between 0 and 1.
        nan: Whether it answers with NaN where it sees something bright.
        columns: Columns of the output that do not belong there.
    """
    count = [(side // s) ** 2 for s in (8, 16, 32)]
    total = sum(count)
    boxes = np.zeros((1, total, 4), np.float32)
    boxes[..., :2] = 0.5
    start = 0
    for stride, cells in zip((8, 16, 32), count, strict=True):
        rows = slice(start, start + cells)
        boxes[0, rows, 2:] = np.log(SPOT / stride)
        if decoded:
            y, x = np.divmod(np.arange(cells), side // stride)
            boxes[0, rows, 0] = (x + 0.5) * stride
            boxes[0, rows, 1] = (y + 0.5) * stride
            boxes[0, rows, 2:] = SPOT
        start += cells
    rest = np.zeros((1, total - count[0], 1), np.float32)
    one_hot = np.zeros((1, total, classes + columns), np.float32)
    one_hot[..., 0] = 1
    nodes = [
        helper.make_node("ReduceMean", ["images", "axis"], ["grey"], keepdims=1),
        helper.make_node("AveragePool", ["grey"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["cells", "shape"], ["bright"]),
        helper.make_node("Sub", ["bright", "half"], ["centred"]),
        helper.make_node("Mul", ["centred", "steep"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["seen"])
        if sigmoid
        else helper.make_node("Identity", ["odds"], ["seen"]),
        helper.make_node("Concat", ["seen", "rest"], ["objectness"], axis=1),
        helper.make_node("Concat", ["boxes", "objectness", "one_hot"], ["joined"], axis=2),
    ]
    if nan:  # log of a negative number where a cell is brighter than half
        nodes += [
            helper.make_node("ReduceMax", ["bright"], ["brightest"], keepdims=0),
            helper.make_node("Sub", ["limit", "brightest"], ["room"]),
            helper.make_node("Log", ["room"], ["log"]),
            helper.make_node("Mul", ["log", "zero"], ["nothing"]),
            helper.make_node("Add", ["joined", "nothing"], ["output"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["joined"], ["output"]))
    graph = helper.make_graph(
        nodes,
        "spots",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [
            helper.make_tensor_value_info(
                "output", TensorProto.FLOAT, [1, total, 5 + classes + columns]
            )
        ],
        [
            _constant("axis", np.array([1], np.int64)),
            _constant("shape", np.array([1, count[0], 1], np.int64)),
            _constant("half", np.array(170, np.float32)),
            _constant("steep", np.array(0.1, np.float32)),
            _constant("rest", rest),
            _constant("boxes", boxes),
            _constant("one_hot", one_hot),
            _constant("limit", np.array(200, np.float32)),
            _constant("zero", np.array(0, np.float32)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def told_network(
    outputs: Mapping[str, NDArray[Any]],
    *,
    size: tuple[int | str, int | str] = (SIDE, SIDE),
    open_shapes: bool = False,
    metadata: Mapping[str, str] | None = None,
    other: str | None = None,
    half: bool = False,
) -> bytes:
    """A network that gives the same answer to every picture.

    Args:
        outputs: What it answers, by name.
        size: Height and width of the input; a text leaves it open.
        open_shapes: Whether the file leaves the sizes of the answer open.
        metadata: What the file says about itself.
        other: Name of a second input, int64 of shape (1, 2).
        half: Whether the input is float16.
    """
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("images", kind, [1, 3, *size])]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Cast", ["mean"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "zero"], ["nothing"]),
    ]
    constants = [_constant("zero", np.array(0, np.float32))]
    if other is not None:
        inputs.insert(0, helper.make_tensor_value_info(other, TensorProto.INT64, [1, 2]))
    infos = []
    for name, value in outputs.items():
        dtype = int(helper.np_dtype_to_tensor_dtype(value.dtype))
        constants.append(_constant(f"{name}_told", value))
        whole = f"{name}_whole" if open_shapes else name
        nodes += [
            helper.make_node("Cast", ["nothing"], [f"{name}_nothing"], to=dtype),
            helper.make_node("Add", [f"{name}_told", f"{name}_nothing"], [whole]),
        ]
        if open_shapes:  # computed from the picture, so that no runtime knows it beforehand
            constants.append(_constant(f"{name}_shape", np.array(value.shape, np.int64)))
            nodes += [
                helper.make_node("Cast", ["nothing"], [f"{name}_0"], to=TensorProto.INT64),
                helper.make_node("Add", [f"{name}_shape", f"{name}_0"], [f"{name}_sizes"]),
                helper.make_node("Reshape", [whole, f"{name}_sizes"], [name], allowzero=1),
            ]
        shape = [f"{name}_size{i}" for i in range(value.ndim)] if open_shapes else value.shape
        infos.append(helper.make_tensor_value_info(name, dtype, shape))
    return _finished(nodes, inputs, infos, constants, metadata)


def layout_network(layout: str, *, classes: int = 1) -> bytes:
    """The spot network for RGB pictures from 0 to 1, with its answer laid out in another way.

    It sees the same boxes as `spot_network`, in the same order and with the same scores.

    Args:
        layout: A format of `motrail.detect.layouts`.
        classes: Bright spots are of the first class.
    """
    count = (SIDE // 8) ** 2
    y, x = np.divmod(np.arange(count), SIDE // 8)
    boxes = np.stack((x * 8 + 4, y * 8 + 4, *np.full((2, count), SPOT)), axis=1)[None]
    one_hot = np.zeros((1, count, classes), np.float32)
    one_hot[..., 0] = 1
    wide = boxes.astype(np.float32)
    corners = np.concatenate((wide[..., :2] - SPOT / 2, wide[..., :2] + SPOT / 2), axis=2)
    filled = {"yolov5": 3 * 336 - count, "yolov8": 336 - count}.get(layout, 300 - count)
    constants: dict[str, NDArray[Any]] = {
        "axis": np.array([1], np.int64),
        "cells_shape": np.array([1, count, 1], np.int64),
        "half": np.array(170 / 255, np.float32),
        "steep": np.array(25.5, np.float32),
        "one_hot": one_hot,
        "zeros": np.zeros((1, count, 1), np.float32),
        "pixels": wide,
        "shares": wide / SIDE,
        "corners": corners,
        "corner_shares": corners / SIDE,
        "fill_row": np.zeros((1, filled, 5 + classes), np.float32),
        "fill_class": np.zeros((1, filled, 4 + classes), np.float32),
        "fill_6": np.zeros((1, filled, 6), np.float32),
        "fill_4": np.zeros((1, filled, 4), np.float32),
        "fill_1": np.zeros((1, filled), np.float32),
        "fill_logits": np.full((1, filled, classes), -20, np.float32),
        "little": np.array(0.05, np.float32),
        "line": np.array([-1], np.int64),
        "row": np.array([1, -1], np.int64),
        "labels_told": np.zeros((1, 300), np.int64),
        "unlikely": (one_hot - 1) * 20,
    }

    def node(kind: str, given: str, out: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, given.split(), out.split(), **attributes)

    nodes = [
        node("ReduceMean", "images axis", "grey", keepdims=1),
        node("AveragePool", "grey", "cells", kernel_shape=[8, 8], strides=[8, 8]),
        node("Reshape", "cells cells_shape", "bright"),
        node("Sub", "bright half", "centred"),
        node("Mul", "centred steep", "odds"),
        node("Sigmoid", "odds", "seen"),
        node("Mul", "seen one_hot", "classes"),
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])]
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    outputs: dict[str, tuple[int, list[int | str]]] = {}
    if layout == "yolov5":
        nodes += [
            node("Concat", "pixels seen one_hot", "rows", axis=2),
            node("Concat", "rows fill_row", "output", axis=1),
        ]
        outputs = {"output": (floats, [1, count + filled, 5 + classes])}
    elif layout == "yolov8":
        nodes += [
            node("Concat", "pixels classes", "rows", axis=2),
            node("Concat", "rows fill_class", "full", axis=1),
            node("Transpose", "full", "output0", perm=[0, 2, 1]),
        ]
        outputs = {"output0": (floats, ["N", 4 + classes, "anchors"])}
    elif layout == "yolov10":
        nodes += [
            node("Concat", "corners seen zeros", "rows", axis=2),
            node("Concat", "rows fill_6", "output0", axis=1),
        ]
        outputs = {"output0": (floats, [1, 300, 6])}
    elif layout == "yolov7-end2end":
        constants["rows_shape"] = np.array([count, 7], np.int64)
        nodes += [
            node("Concat", "zeros corners zeros seen", "rows", axis=2),
            node("Reshape", "rows rows_shape", "table"),
            node("Reshape", "seen line", "scores_line"),
            node("Greater", "scores_line little", "good"),
            node("Compress", "table good", "output", axis=0),
        ]
        outputs = {"output": (floats, ["n", 7])}
    elif layout == "rt-detr":
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", ints, ["N", 2]))
        nodes += [
            node("Cast", "orig_target_sizes", "size", to=floats),
            node("Concat", "size size", "sizes", axis=1),
            node("Mul", "corner_shares sizes", "some"),
            node("Concat", "some fill_4", "boxes", axis=1),
            node("Reshape", "seen row", "seen_row"),
            node("Concat", "seen_row fill_1", "scores", axis=1),
            node("Identity", "labels_told", "labels"),
        ]
        outputs = {
            "labels": (ints, [1, 300]),
            "boxes": (floats, [1, 300, 4]),
            "scores": (floats, [1, 300]),
        }
    elif layout == "rt-detr-ultralytics":
        nodes += [
            node("Concat", "shares classes", "rows", axis=2),
            node("Concat", "rows fill_class", "output0", axis=1),
        ]
        outputs = {"output0": (floats, [1, 300, 4 + classes])}
    else:
        nodes += [
            node("Add", "odds unlikely", "some_logits"),
            node("Concat", "some_logits fill_logits", "logits", axis=1),
            node("Concat", "shares fill_4", "pred_boxes", axis=1),
        ]
        outputs = {
            "logits": (floats, [1, 300, classes]),
            "pred_boxes": (floats, [1, 300, 4]),
        }
    used = {name for item in nodes for name in item.input}
    infos = [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()]
    kept = [_constant(name, value) for name, value in constants.items() if name in used]
    return _finished(nodes, inputs, infos, kept, None)


def _finished(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto],
    metadata: Mapping[str, str] | None,
) -> bytes:
    graph = helper.make_graph(nodes, "told", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def spot_spec(**changes: Any) -> dict[str, Any]:
    """The `model.json` of the spot network."""
    spec = {
        "schema_version": 1,
        "architecture": "spots",
        "classes": ["spot"],
        "input": {"height": SIDE, "width": SIDE, "color": "bgr"},
        "output": {"format": "yolox-raw", "strides": [8, 16, 32]},
    }
    return spec | changes


def write_bundle(folder: Path, **changes: Any) -> Path:
    """The spot network as a bundle folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(spot_network())
    (folder / "model.json").write_text(json.dumps(spot_spec(**changes)), encoding="utf-8")
    return folder


def write_archive(path: Path, members: dict[str, bytes]) -> Path:
    """A `model.tar.gz` of these members."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def spots_picture(
    lefts: Sequence[float], *, width: int = SIDE, height: int = SIDE
) -> NDArray[np.uint8]:
    """Bright squares of 16 × 16, one under the other, at these left edges."""
    image = np.zeros((height, width, 3), np.uint8)
    for row, left in enumerate(lefts):
        top = 16 + 40 * row
        image[top : top + SPOT, round(left) : round(left) + SPOT] = 255
    return image


def spots_clip(path: Path, *, frames: int = 30, spots: int = 2, rate: float = 25) -> Path:
    """A clip of spots that go to the right, two pixels a frame."""
    with VideoWriter(path, width=SIDE, height=SIDE, frame_rate=rate, crf=10) as writer:
        for i in range(frames):
            lefts = [(8 + 2 * i + 24 * k) % (SIDE - SPOT) for k in range(spots)]
            writer.write(spots_picture(lefts), i / rate)
    return path
