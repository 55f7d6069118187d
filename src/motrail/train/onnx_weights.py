"""The weights of a YOLOX network that is kept as ONNX.

An exporter folds batch normalisation into the convolution before it, and most of the arrays lose
their names by that. The order in which the convolutions are computed stays, and it is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from motrail.detect.onnx import open_network
from motrail.errors import MissingExtraError, ModelError
from motrail.train.blocks import ConvUnit, plain_to_focus
from motrail.train.network import SCALES, Size, make_yolox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# Scores beyond these are so close to 0 or 1 that their logits say nothing any more.
_LOGIT_LIMIT = 12.0


def read_network(content: bytes, path: Path) -> tuple[dict[str, Tensor], bool]:
    """The state dict of the network, with the number of classes that it has.

    Where arrays have kept their names these decide. Otherwise convolutions are taken in the order
    of the graph, and the network put together from them has to give the same answer.

    Args:
        content: The ONNX file.
        path: Where it came from, for messages.

    Returns:
        Arrays by the names that PyTorch gives them; whether batch normalisation was folded.

    Raises:
        ModelError: It is no ONNX file, or another network than YOLOX.
        MissingExtraError: The package onnx is not installed.
    """
    graph = _parse(content, path)
    arrays = _arrays(graph, path)
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    weights = [_array(arrays, node.input[1], path) for node in nodes]
    size = _size(weights, path)
    with torch.device("meta"):
        units = dict(make_yolox(size, 1).units())
    if len(nodes) != len(units):
        raise ModelError(
            f"{path}: expected the {len(units)} convolutions of yolox-{size}, found {len(nodes)}"
        )
    order, certain = _paired(units, nodes)
    normalised = {
        node.input[0]: node for node in graph.node if node.op_type == "BatchNormalization"
    }
    state: dict[str, Tensor] = {}
    fused = False
    for name, unit in units.items():
        node = order[name]
        weight = _array(arrays, node.input[1], path)
        bias = _array(arrays, node.input[2], path) if len(node.input) > 2 else None
        if not isinstance(unit, ConvUnit):
            state[f"{name}.weight"] = weight
            state[f"{name}.bias"] = weight.new_zeros(len(weight)) if bias is None else bias
            continue
        plain = name == "backbone.backbone.stem.conv" and weight.shape[1:] == (3, 6, 6)
        state[f"{name}.conv.weight"] = plain_to_focus(weight).contiguous() if plain else weight
        after = normalised.get(node.output[0])
        fused |= after is None
        state |= _normalisation(name, unit.bn.eps, len(weight), bias, after, arrays, path)
    if not certain:
        _compare(content, path, state, size)
    return state, fused


def _paired(
    units: Mapping[str, ConvUnit | nn.Conv2d], nodes: Sequence[Any]
) -> tuple[dict[str, Any], bool]:
    """The node of each convolution: by the name of its weights, else in order.

    Returns:
        Nodes by the names of our convolutions; whether there was no choice.
    """
    left = list(nodes)
    order: dict[str, Any] = {}
    for name, unit in units.items():
        own = f"{name}.conv.weight" if isinstance(unit, ConvUnit) else f"{name}.weight"
        # Names may begin with what wrapped the network when it was exported.
        found = [node for node in left if f".{node.input[1]}".endswith(f".{own}")]
        if len(found) == 1:
            order[name] = found[0]
            left.remove(found[0])
    unnamed = [name for name in units if name not in order]
    return order | dict(zip(unnamed, left, strict=True)), len(unnamed) < 2


def _parse(content: bytes, path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "train", error) from error
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:  # noqa: BLE001  (protobuf's own error has no types to import)
        raise ModelError(f"{path}: expected an ONNX network: {error}") from None
    if not graph.node:
        raise ModelError(f"{path}: expected an ONNX network, found nothing in it")
    return graph


def _arrays(graph: Any, path: Path) -> dict[str, Any]:
    """Arrays of the graph as ONNX keeps them, by every name that they go by."""
    import onnx

    arrays = {array.name: array for array in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            arrays[node.output[0]] = node.attribute[0].t
        elif node.op_type == "Identity" and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    for name, array in arrays.items():
        if array.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(
                f"{path}: {name} lies in another file; save the network with its weights inside"
            )
    return arrays


def _array(arrays: Mapping[str, Any], name: str, path: Path) -> Tensor:
    from onnx import numpy_helper

    if name not in arrays:
        raise ModelError(
            f"{path}: the weights {name!r} are computed and not kept, as in a quantised network; "
            "expected plain numbers"
        )
    try:
        values: NDArray[Any] = numpy_helper.to_array(arrays[name])
        return torch.from_numpy(np.array(values, np.float32))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: {name}: cannot be read: {error}") from None


def _size(weights: list[Tensor], path: Path) -> Size:
    stem = tuple(weights[0].shape) if weights else ()
    for size, scale in SCALES.items():
        out = int(scale.width * 64)
        if stem in {(out, 12, 3, 3), (out, 3, 6, 6)}:
            return size
    raise ModelError(
        f"{path}: expected a YOLOX network, which begins with a convolution of shape "
        f"(16 to 80, 12, 3, 3), found {stem or 'no convolution'}"
    )


def _normalisation(
    name: str,
    eps: float,
    channels: int,
    bias: Tensor | None,
    node: Any,
    arrays: Mapping[str, Any],
    path: Path,
) -> dict[str, Tensor]:
    """Batch normalisation of a convolution; where it is folded, one that changes nothing."""
    bias = torch.zeros(channels) if bias is None else bias
    if node is None:
        values = (torch.ones(channels), bias, torch.zeros(channels), torch.ones(channels) - eps)
    else:
        weight, shift, mean, variance = (_array(arrays, part, path) for part in node.input[1:5])
        own = next((part.f for part in node.attribute if part.name == "epsilon"), 1e-5)
        values = (weight, shift, mean - bias, variance + (own - eps))
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.bn.{part}": value for part, value in zip(parts, values, strict=True)}


def _compare(content: bytes, path: Path, state: dict[str, Tensor], size: Size) -> None:
    """Hold the network that was put together against the file: the same scores for a picture."""
    count = len(state["head.cls_preds.0.bias"])
    with torch.device("meta"):
        net = make_yolox(size, max(count, 1)).eval()
    wrong = [
        f"expected shape {tuple(value.shape)}, found {tuple(state[name].shape)} for {name}"
        for name, value in net.state_dict().items()
        if name in state and state[name].shape != value.shape
    ]
    if wrong:
        raise ModelError(f"{path}: not the convolutions of yolox-{size} in order: {wrong[0]}")
    net.load_state_dict(state, strict=False, assign=True)
    network = open_network(content, str(path), device="cpu", workers=1)
    height, width = (side or 64 for side in network.input_shape[2:])
    picture = np.random.default_rng(0).uniform(0, 2, (1, 3, height, width)).astype(np.float32)
    answer = torch.from_numpy(network.run(picture))
    with torch.inference_mode():
        mine = net(torch.from_numpy(picture))
    if answer.shape != mine.shape:
        raise ModelError(
            f"{path}: expected an answer of shape {tuple(mine.shape)}, found {tuple(answer.shape)}"
        )
    scores = answer[..., 4:]
    if bool(scores.min() >= 0) and bool(scores.max() <= 1):
        scores = scores.logit()
    limits = (-_LOGIT_LIMIT, _LOGIT_LIMIT)
    difference = float((scores.clamp(*limits) - mine[..., 4:].clamp(*limits)).abs().mean())
    if not difference < 0.05:
        raise ModelError(
            f"{path}: put together as yolox-{size}, its convolutions give other scores than the "
            f"file (logits differ by {difference:.2g} on average); the order of the layers or "
            "what is done to the input is not that of YOLOX"
        )
