"""From a trained network to a model bundle that every runner reads."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import shutil
import tarfile
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from motrail.detect.bundle import InputSpec, ModelSpec, OutputSpec, Thresholds
from motrail.errors import MissingExtraError, ModelError, OutputError
from motrail.outputs import WholeFile, WholeFolder, writing
from motrail.train.network import make_anchors, with_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from motrail.train.network import Yolox

MAX_DIFFERENCE = 1e-3
"""How far the exported network may answer otherwise: scores, and offsets in cells."""
_LARGEST = 12.0
"""Logarithm of the largest box in cells: beyond, float16 and float32 know no numbers."""
_ROUNDING = 10.0
"""Or so many times as far as PyTorch's own float32 is from float64: networks that were hardly
trained make much of rounding."""


@dataclass(frozen=True)
class Product:
    """What goes into a bundle besides the network.

    Attributes:
        architecture: Such as `yolox-nano`.
        classes: Names; the index is the network's class id.
        height: Of the input, in pixels.
        width: Of the input, in pixels.
        decoded: Whether boxes come out in pixels of the input rather than in cells.
        metrics: What was measured.
        provenance: What it was made from.
    """

    architecture: str
    classes: Sequence[str]
    height: int
    width: int
    decoded: bool = False
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def spec(self) -> ModelSpec:
        """The content of `model.json`."""
        return ModelSpec(
            architecture=self.architecture,
            classes=tuple(self.classes),
            input=InputSpec(height=self.height, width=self.width, color="bgr"),
            output=OutputSpec(format="yolox-decoded" if self.decoded else "yolox-raw"),
            thresholds=Thresholds(),
            metrics=dict(self.metrics),
            provenance=dict(self.provenance),
        )


class Answer(nn.Module):
    """The network as runners want it: scores between 0 and 1, and perhaps boxes in pixels."""

    corners: Tensor
    strides: Tensor

    def __init__(self, network: Yolox, product: Product) -> None:
        super().__init__()
        self.network = network
        self.decoded = product.decoded
        anchors = make_anchors(product.height, product.width)
        self.register_buffer("corners", anchors.corners)
        self.register_buffer("strides", anchors.strides[:, None])

    def forward(self, images: Tensor) -> Tensor:
        """Pictures (b, 3, height, width), 0 to 255, to answers (b, cells, 5 + classes)."""
        answer = with_scores(self.network(images))
        if not self.decoded:
            return answer
        middle = (answer[..., :2] + self.corners) * self.strides
        size = answer[..., 2:4].clamp(max=_LARGEST).exp() * self.strides
        return torch.cat((middle, size, answer[..., 4:]), dim=-1)


def export_onnx(network: Yolox, product: Product, path: Path) -> float:
    """Write the network as ONNX with any number of pictures at once, and see that it is the same.

    Args:
        network: Stays as it is.
        product: Says the size of the input.
        path: The file.

    Returns:
        The largest difference between its answers in onnxruntime and in PyTorch.

    Raises:
        MissingExtraError: onnxscript or onnxruntime is not installed.
        ModelError: The exported network answers otherwise; nothing is written.
    """
    was_training = network.training
    answer = Answer(network, product).eval().float().cpu()
    example = torch.zeros(2, 3, product.height, product.width)
    file = WholeFile(path)
    try:
        with writing(path), file, _quiet():
            try:
                import onnxscript  # noqa: F401
            except ImportError as error:
                raise MissingExtraError("onnxscript", "train", error) from error
            torch.onnx.export(
                answer,
                (example,),
                file.temporary,
                dynamo=True,
                external_data=False,
                input_names=["images"],
                output_names=["output"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch", max=1024)}},
                verbose=False,
            )
            difference = _compare(answer, file.temporary, product, path)
    finally:
        network.train(was_training)
    return difference


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling about packages it does not find and its own future."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _compare(answer: Answer, onnx: Path, product: Product, path: Path) -> float:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "detect", error) from error
    session = onnxruntime.InferenceSession(onnx.read_bytes(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    exact = copy.deepcopy(answer).double()
    worst = 0.0
    for count in (1, 2):
        shape = (count, 3, product.height, product.width)
        images = random.integers(0, 256, shape).astype(np.float32)
        with torch.no_grad():
            expected = exact(torch.from_numpy(images).double()).numpy()
            ours = answer(torch.from_numpy(images)).numpy()
        found: NDArray[np.float32] = session.run(None, {"images": images})[0]
        # Pixels, and sizes as far as they are exponents, are compared by their size.
        scale = np.maximum(1, np.abs(expected))
        rounding = float((np.abs(ours - expected) / scale).max())
        difference = float((np.abs(found - expected) / scale).max())
        worst = max(worst, difference)
        if not difference <= max(MAX_DIFFERENCE, _ROUNDING * rounding):
            raise ModelError(
                f"{path}: the exported network answers otherwise than the trained one: expected a "
                f"difference of at most {MAX_DIFFERENCE}, found {difference:.2g}; nothing was "
                "written"
            )
    return worst


def write_bundle(network: Yolox, product: Product, folder: Path, archive: Path) -> float:
    """Write a bundle as a folder and as `model.tar.gz`, replacing what was there.

    Args:
        network: Stays as it is.
        product: What goes with it.
        folder: Becomes `model.onnx` and `model.json`.
        archive: Becomes the same, packed.

    Returns:
        The largest difference between the exported network and the trained one.

    Raises:
        ModelError: The exported network answers otherwise.
        OutputError: It cannot be written.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=folder.parent, prefix=".model-")
    with place as name, writing(folder):
        made = Path(name)
        try:
            difference = export_onnx(network, product, made / "model.onnx")
        except OutputError as error:  # say the place as it was to be, not the hidden one
            raise OutputError(str(error).replace(name, str(folder))) from error
        content = product.spec().model_dump(mode="json", exclude_none=True)
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (made / "model.json").write_text(text + "\n", encoding="utf-8")
        _pack(made, archive)
        if folder.exists():
            shutil.rmtree(folder)
        with WholeFolder(folder) as whole:
            for part in ("model.json", "model.onnx"):
                shutil.copyfile(made / part, whole.temporary / part)
    return difference


def _pack(folder: Path, archive: Path) -> None:
    file = WholeFile(archive)
    with writing(archive), file, tarfile.open(file.temporary, "w:gz", compresslevel=6) as packed:
        for part in ("model.json", "model.onnx"):
            entry = packed.gettarinfo(folder / part, part)
            entry.mtime = entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o644
            with (folder / part).open("rb") as content:
                packed.addfile(entry, content)
