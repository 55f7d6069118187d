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
    from collections.abc import Sequence
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
