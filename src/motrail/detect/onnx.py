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
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino")
_MAX_WORKERS = 16


class Device(NamedTuple):
    """A device that the detector can use."""

    kind: str
    number: int = 0


class Port(NamedTuple):
    """An input or an output of a network.

    Attributes:
        name: As the file calls it.
        shape: None for a size that is not known beforehand; None where nothing is known.
        dtype: What NumPy calls the type of its numbers.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        """Name and shape, for messages."""
        return f"{self.name} {shape_text(self.shape)}"


class Network(Protocol):
    """A loaded network that several threads may run at once.

    Attributes:
        name: What it is called in messages.
        device: What it runs on.
        workers: How many runs at the same time make good use of it.
        picture: The input that takes the picture.
        others: The other inputs; most networks have none.
        outputs: What it answers.
        metadata: What the file says about itself.
    """

    name: str
    device: str
    workers: int
    picture: Port
    others: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the picture's input; None where the network takes any size."""

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Input (1, 3, height, width) → the first output."""

    def run_all(
        self,
        blob: NDArray[np.float32],
        outputs: Sequence[str],
        others: Mapping[str, NDArray[Any]],
    ) -> list[NDArray[Any]]:
        """Input (1, 3, height, width) → the outputs named.

        Args:
            blob: The picture.
            outputs: Their names.
            others: What the other inputs get.

        Returns:
            An array for each; floating point numbers are float32, others are as they come.
        """


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
        ModelError: It is not an ONNX network, or has not one input for a picture.
    """
    wanted = parse_device(device)
    if wanted.kind == "openvino":
        return _OpenVino(onnx, name, workers)
    return _OnnxRuntime(onnx, name, wanted, workers)


def shape_text(shape: Sequence[int | None] | None) -> str:
    """A shape for messages, as in `(1, 3, ?, ?)`."""
    if shape is None:
        return "of unknown shape"
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


class _Ports:
    """What both ways to run a network have in common."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        metadata: Mapping[str, str],
    ) -> None:
        self.name = name
        pictures = [port for port in inputs if _takes_picture(port.shape)]
        if len(pictures) != 1:
            found = ", ".join(map(str, inputs)) or "none"
            raise ModelError(
                f"{name}: expected one input of shape (1, 3, height, width), found {found}"
            )
        self.picture = pictures[0]
        if self.picture.dtype not in {"float32", "float16"}:
            raise ModelError(
                f"{name}: expected an input of float32 or float16, found {self.picture.dtype} for "
                f"{self.picture.name}; export the network without quantised inputs"
            )
        self.others = tuple(port for port in inputs if port is not self.picture)
        self.outputs = tuple(outputs)
        self.metadata: Mapping[str, str] = dict(metadata)
        self._half = self.picture.dtype == "float16"

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return self.picture.shape or ()

    def _fed(self, blob: NDArray[np.float32]) -> NDArray[Any]:
        return blob.astype(np.float16) if self._half else blob


def _takes_picture(shape: tuple[int | None, ...] | None) -> bool:
    return shape is not None and len(shape) == 4 and shape[0] in (None, 1) and shape[1] in (None, 3)


class _OnnxRuntime(_Ports):
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
        super().__init__(
            name,
            [_runtime_port(port) for port in self._session.get_inputs()],
            [_runtime_port(port) for port in self._session.get_outputs()],
            self._session.get_modelmeta().custom_metadata_map,
        )

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.run_all(blob, [self.outputs[0].name], {})[0]

    def run_all(
        self,
        blob: NDArray[np.float32],
        outputs: Sequence[str],
        others: Mapping[str, NDArray[Any]],
    ) -> list[NDArray[Any]]:
        try:
            answers = self._session.run(outputs, {self.picture.name: self._fed(blob), **others})
        except Exception as error:  # noqa: BLE001
            raise ModelError(f"{self.name}: the network failed: {_one_line(error)}") from None
        return [_plain(answer) for answer in answers]


_RUNTIME_TYPES = {"float": "float32", "double": "float64"}


def _runtime_port(port: Any) -> Port:
    # A size that is not fixed has a name or nothing in place of the number.
    shape = tuple(size if isinstance(size, int) else None for size in port.shape)
    dtype = str(port.type).removeprefix("tensor(").removesuffix(")")
    return Port(port.name, shape or None, _RUNTIME_TYPES.get(dtype, dtype))


def _plain(answer: Any) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(answer)
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


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


class _OpenVino(_Ports):
    device = "openvino"

    def __init__(self, onnx: Path | bytes, name: str, workers: int | None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError("openvino", "openvino", error) from error
        self.workers = workers or min(available_cores(), _MAX_WORKERS)
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
        super().__init__(
            name,
            [_openvino_port(port) for port in self._compiled.inputs],
            [_openvino_port(port) for port in self._compiled.outputs],
            _openvino_metadata(model),
        )

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.run_all(blob, [self.outputs[0].name], {})[0]

    def run_all(
        self,
        blob: NDArray[np.float32],
        outputs: Sequence[str],
        others: Mapping[str, NDArray[Any]],
    ) -> list[NDArray[Any]]:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        try:
            answers = self._of_thread.request.infer({self.picture.name: self._fed(blob), **others})
        except RuntimeError as error:
            raise ModelError(f"{self.name}: the network failed: {_one_line(error)}") from None
        # The next run of this thread writes into the same memory.
        return [_plain(np.array(answers[name])) for name in outputs]


def _openvino_port(port: Any) -> Port:
    shape = port.get_partial_shape()
    sizes = None
    if shape.rank.is_static:
        sizes = tuple(size.get_length() if size.is_static else None for size in shape)
    return Port(port.get_any_name(), sizes, np.dtype(port.get_element_type().to_dtype()).name)


def _openvino_metadata(model: Any) -> dict[str, str]:
    if not model.has_rt_info(["framework"]):
        return {}
    found = model.get_rt_info(["framework"])
    found = getattr(found, "value", found)
    return {str(key): str(getattr(value, "value", value)) for key, value in found.items()}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
