"""`motrail export`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import Annotated, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json


def export_command(
    run: Path,
    *,
    format_: Annotated[
        Literal["onnx", "openvino", "tensorrt"], Parameter(name="--format")
    ] = "onnx",
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    decoded: Annotated[bool, Parameter(negative="")] = False,
    batch: int = 1,
    as_json: AsJson = False,
) -> int:
    """Write the best network of a training run for other programs.

    For example:

    - `motrail export runs/parcels --format onnx --decoded`
    - `motrail export runs/parcels --format tensorrt --batch 8`

    Parameters
    ----------
    run
        The folder that `motrail train` filled.
    format_
        onnx: any number of pictures at once. openvino: model.xml and model.bin. tensorrt: an ONNX
        file and the command line that builds an engine of it, to be run on the GPU it is for.
    output
        Folder. [default: RUN/export]
    decoded
        Whether boxes come out as centre and size in pixels of the input, not in cells.
    batch
        The most pictures at once, for tensorrt.
    as_json
        Print what was written as one JSON document.
    """
    from motrail.train.reexport import export_run, tensorrt_command

    files = export_run(run, format_, output or run / "export", decoded=decoded)
    command = tensorrt_command(run, files[0], batch) if format_ == "tensorrt" else None
    if as_json:
        print_json({"files": [str(path) for path in files], "command": command})
        return 0
    for path in files:
        print(f"written {path}")
    if command is not None:
        print(f"on the GPU that is to run it (not run here):\n{command}")
    return 0
