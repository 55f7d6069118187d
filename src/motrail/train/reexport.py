"""`motrail export`: the best network of a run in another format."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from motrail.errors import ConfigError, MissingExtraError
from motrail.outputs import writing
from motrail.train.checkpoint import load_checkpoint
from motrail.train.export import Product, export_onnx
from motrail.train.network import make_yolox
from motrail.train.prepare import network_size

if TYPE_CHECKING:
    from motrail.train.network import Yolox

Format = Literal["onnx", "openvino", "tensorrt"]


def best_network(run: Path) -> tuple[Yolox, Product]:
    """The best network of a run, and what goes with it.

    Raises:
        ModelError: There is no checkpoint, or it cannot be read.
    """
    best = run / "checkpoints" / "best.pt"
    content = load_checkpoint(best if best.exists() else run / "checkpoints" / "last.pt")
    identity = content["identity"]
    network = make_yolox(network_size(identity["model"]), len(identity["classes"]))
    network.load_state_dict(content["network"] if best.exists() else content["average"]["network"])
    product = Product(
        identity["model"], tuple(identity["classes"]), identity["height"], identity["width"]
    )
    return network.eval(), product


def export_run(run: Path, format_: Format, output: Path, *, decoded: bool = False) -> list[Path]:
    """Write the best network of a run for other programs.

    Args:
        run: The folder that `motrail train` filled.
        format_: `onnx` writes `model.onnx`, `openvino` `model.xml` and `model.bin`; `tensorrt` an
            ONNX file and nothing else, for engines are built on the GPU that runs them.
        output: Folder.
        decoded: Whether boxes come out in pixels of the input.

    Returns:
        The files.

    Raises:
        ModelError: There is no checkpoint, or the exported network answers otherwise.
        MissingExtraError: What the format needs is not installed.
    """
    network, product = best_network(run)
    product = Product(
        product.architecture, product.classes, product.height, product.width, decoded=decoded
    )
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    if format_ == "openvino":
        return _openvino(network, product, output)
    path = output / "model.onnx"
    export_onnx(network, product, path)
    return [path]


def _openvino(network: Yolox, product: Product, output: Path) -> list[Path]:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino", error) from error
    with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as name, writing(output):
        folder = Path(name)
        export_onnx(network, product, folder / "model.onnx")
        openvino.save_model(
            openvino.convert_model(folder / "model.onnx"),
            folder / "model.xml",
            compress_to_fp16=False,
        )
        for part in ("model.bin", "model.xml"):
            (folder / part).replace(output / part)
    return [output / "model.xml", output / "model.bin"]


def tensorrt_command(run: Path, onnx: Path, batch: int = 1) -> str:
    """The command that builds a TensorRT engine on the user's GPU.

    Raises:
        ConfigError: The batch is below 1.
    """
    if batch < 1:
        raise ConfigError(f"--batch: expected 1 or more, found {batch}")
    _network, product = best_network(run)
    shape = f"3x{product.height}x{product.width}"
    return (
        f"trtexec --onnx={json.dumps(str(onnx))} --saveEngine=model.engine --fp16 "
        f"--minShapes=images:1x{shape} --optShapes=images:{batch}x{shape} "
        f"--maxShapes=images:{batch}x{shape}"
    )
