"""A first run of a network, to see what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.detect.letterbox import Letterbox
from motrail.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.detect.bundle import ModelSpec
    from motrail.detect.onnx import Network

_GREY = 114
_SIZES = "orig_target_sizes"


def grey_answer(network: Network, spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """Every output for a grey picture, by name, in the order of the file.

    Raises:
        ModelError: The network failed, or has an input that nobody knows.
    """
    grey = np.full((spec.input.height, spec.input.width, 3), _GREY, np.uint8)
    names = [port.name for port in network.outputs]
    blob = Letterbox(spec.input).apply(grey)
    answers = network.run_all(blob, names, other_inputs(network, spec))
    return dict(zip(names, answers, strict=True))


def other_inputs(network: Network, spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """What the inputs besides the picture get.

    RT-DETR's own export asks for the size (width, height) of the picture that its boxes are to lie
    in, and gets that of the input: the letterbox brings them back from there.

    Raises:
        ModelError: There is another input.
    """
    values: dict[str, NDArray[Any]] = {}
    for port in network.others:
        if port.name != _SIZES:
            raise ModelError(
                f"{network.name}: expected one input, or besides it {_SIZES} as RT-DETR has, "
                f"found {port}"
            )
        values[port.name] = np.array([[spec.input.width, spec.input.height]], port.dtype)
    return values
