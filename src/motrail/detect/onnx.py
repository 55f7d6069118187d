"""Running an ONNX network: onnxruntime, or OpenVINO where asked for."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from motrail.config import nearest
from motrail.errors import ConfigError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino")
_MAX_WORKERS = 16


class Device(NamedTuple):
    """A device that the detector can use."""

    kind: str
    number: int = 0


class Network(Protocol):
    """A loaded network that several threads may run at once."""

    device: str
    workers: int

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the input; None where the network takes any size."""

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the first output; None where it is not known beforehand."""

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Input (1, 3, height, width) → the first output."""


def parse_device(text: str) -> Device:
    """Read `--device`.

    Raises:
        ConfigError: It is unknown, or known and not for detection.
    """
    if text == "mps":
        raise ConfigError("device: mps is for training; detection runs on cpu, cuda or openvino")
    match = re.fullmatch(r"(cuda|tensorrt):(\d+)", text)
    if match:
        return Device(match[1], int(match[2]))
    if text not in _DEVICES:
        raise ConfigError(f"device: unknown {text!r}{nearest(text, [*_DEVICES, 'cuda:0'])}")
    return Device(text)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_network(
    onnx: Path | bytes, name: str, *, device: str = "auto", workers: int | None = None
) -> Network:
    """Load a network on a device.

    Args:
        onnx: Path of the file, or its content.
        name: What to call it in messages.
        device: See `motrail.config.DetectorSettings`.
        workers: Frames in the network at the same time. On a CPU each gets one core, which
            together is faster than one after the other on all cores; the default is one per core.

    Raises:
        ConfigError: The device is not there.
        MissingExtraError: The package for it is not installed.
        ModelError: It is not an ONNX network, or has other inputs than one picture.
    """
    wanted = parse_device(device)
    if wanted.kind == "openvino":
        network: Network = _OpenVino(onnx, name, workers)
    else:
        network = _OnnxRuntime(onnx, name, wanted, workers)
    shape = network.input_shape
    if len(shape) != 4 or shape[0] not in (None, 1) or shape[1] not in (None, 3):
        raise ModelError(
            f"{name}: expected one input of shape (1, 3, height, width), found {shape}"
        )
    return network


class _OnnxRuntime:
    def __init__(self, onnx: Path | bytes, name: str, device: Device, workers: int | None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "detect", error) from error
        providers = _providers(onnxruntime, device)
        self.device = "cpu" if len(providers) == 1 else providers[0][0]
        on_cpu = self.device == "cpu"
        self.workers = workers or (min(available_cores(), _MAX_WORKERS) if on_cpu else 2)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if on_cpu:
            # One thread a run: several runs side by side get more out of the cores than one run
            # on all of them, and the answer does not depend on how many there are.
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                onnx if isinstance(onnx, bytes) else str(onnx), options, providers=providers
            )
        except Exception as error:  # noqa: BLE001  (onnxruntime has no error class in common)
            raise ModelError(f"{name}: expected an ONNX network: {_one_line(error)}") from None
        if not on_cpu and self._session.get_providers()[0] == "CPUExecutionProvider":
            raise ConfigError(
                f"device: {device.kind} was asked for, but onnxruntime could not start it; "
                "see its log for the missing libraries, or use --device cpu"
            )
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{name}: expected one input, found {len(inputs)}")
        self._input = inputs[0].name
        self._output = [self._session.get_outputs()[0].name]
        self._name = name

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return _sizes(self._session.get_inputs()[0].shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        return _sizes(self._session.get_outputs()[0].shape)

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            answer = self._session.run(self._output, {self._input: blob})[0]
        except Exception as error:  # noqa: BLE001
            raise ModelError(f"{self._name}: the network failed: {_one_line(error)}") from None
        return np.asarray(answer, np.float32)


def _providers(onnxruntime: Any, device: Device) -> list[Any]:
    there = onnxruntime.get_available_providers()
    cpu = "CPUExecutionProvider"
    options = {"device_id": str(device.number)}
    cuda = ("CUDAExecutionProvider", options)
    if device.kind == "auto":
        return [cuda, cpu] if cuda[0] in there else [cpu]
    if device.kind == "cpu":
        return [cpu]
    chain = [("TensorrtExecutionProvider", options), cuda] if device.kind == "tensorrt" else [cuda]
    if chain[0][0] not in there:
        raise ConfigError(
            f"device: {device.kind} is not in the installed onnxruntime "
            f"(it has {', '.join(there)}); run: pip install onnxruntime-gpu"
        )
    return [*chain, cpu]


class _OpenVino:
    device = "openvino"

    def __init__(self, onnx: Path | bytes, name: str, workers: int | None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError("openvino", "openvino", error) from error
        self.workers = workers or min(available_cores(), _MAX_WORKERS)
        self._name = name
        self._of_thread = threading.local()
        core = openvino.Core()
        try:
            model = core.read_model(onnx if isinstance(onnx, bytes) else str(onnx))
            self._compiled = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": self.workers,
                    "NUM_STREAMS": str(self.workers),
                    # Left to itself it computes in bfloat16 where the processor can, and the
                    # scores differ in the second decimal.
                    "INFERENCE_PRECISION_HINT": "f32",
                },
            )
        except RuntimeError as error:
            raise ModelError(f"{name}: expected an ONNX network: {_one_line(error)}") from None
        if len(self._compiled.inputs) != 1:
            raise ModelError(f"{name}: expected one input, found {len(self._compiled.inputs)}")

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return self._sizes(self._compiled.inputs[0])

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        return self._sizes(self._compiled.outputs[0])

    @staticmethod
    def _sizes(port: Any) -> tuple[int | None, ...]:
        shape = port.get_partial_shape()
        return tuple(size.get_length() if size.is_static else None for size in shape)

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        try:
            answer = self._of_thread.request.infer([blob])[self._compiled.outputs[0]]
        except RuntimeError as error:
            raise ModelError(f"{self._name}: the network failed: {_one_line(error)}") from None
        return np.array(answer, np.float32)


def _sizes(shape: list[Any]) -> tuple[int | None, ...]:
    # A size that is not fixed has a name or nothing in place of the number.
    return tuple(size if isinstance(size, int) else None for size in shape)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
