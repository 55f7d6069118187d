"""The detector: a YOLOX network with everything around it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.config import DetectorSettings, nearest
from motrail.detect import bundle as bundles
from motrail.detect.decode import Grid, decode, is_decoded
from motrail.detect.letterbox import Letterbox
from motrail.detect.onnx import open_network
from motrail.errors import ConfigError, ModelError
from motrail.types import Detections

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from motrail.config import Preset
    from motrail.detect.bundle import Bundle, ModelSpec
    from motrail.detect.onnx import Network


class Detector:
    """Finds objects in pictures.

    Several threads may call `detect` at once; `workers` of them make good use of the machine.

    Args:
        network: The loaded network.
        spec: What it wants and gives.
        settings: Thresholds and the classes wanted.
        name: What to call it in messages.

    Raises:
        ModelError: The network does not give what `spec` says.
        ConfigError: A wanted class is unknown.

    Attributes:
        class_names: Names of the classes; the index is the class id.
        workers: How many threads should call `detect` at the same time.
        device: What it runs on.
    """

    def __init__(
        self, network: Network, spec: ModelSpec, settings: DetectorSettings, name: str
    ) -> None:
        self.class_names = spec.classes
        self.workers = network.workers
        self.device = network.device
        self._network = network
        self._name = name
        self._score_threshold = settings.score_threshold
        self._nms_threshold = settings.nms_threshold
        self._allowed = _allowed_classes(settings.classes, spec.classes)
        self._letterbox = Letterbox(spec.input)
        self._of_thread = threading.local()
        self._grid = Grid(spec.input.height, spec.input.width, spec.output.strides)
        self._decoded = self._look_at_output(spec)

    def _look_at_output(self, spec: ModelSpec) -> bool:
        grey = np.full((spec.input.height, spec.input.width, 3), 114, np.uint8)
        output = self._network.run(self._letterbox.apply(grey))
        try:
            decoded = is_decoded(
                _one_picture(output), self._grid, len(spec.classes), told=spec.output.format
            )
        except ModelError as error:
            raise ModelError(f"{self._name}: {error}") from None
        found = "yolox-decoded" if decoded else "yolox-raw"
        if spec.output.format not in (None, found):
            raise ModelError(
                f"{self._name}: model.json says output format {spec.output.format!r}, "
                f"but the network answers in {found!r}"
            )
        return decoded

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find the objects in one picture.

        Args:
            image: uint8, shape (height, width, 3), channels blue, green, red.

        Returns:
            Boxes in pixels of the picture, best first, down to the score threshold.

        Raises:
            DataError: The picture has another shape or type.
            ModelError: The network failed or answered with NaN.
        """
        if not hasattr(self._of_thread, "scratch"):
            self._of_thread.scratch = self._letterbox.new_scratch()
        output = self._network.run(self._letterbox.apply(image, self._of_thread.scratch))
        try:
            boxes, scores, class_ids = decode(
                _one_picture(output),
                self._grid,
                decoded=self._decoded,
                score_threshold=self._score_threshold,
                nms_threshold=self._nms_threshold,
                allowed_classes=self._allowed,
            )
        except ModelError as error:
            raise ModelError(f"{self._name}: {error}") from None
        height, width = image.shape[:2]
        return Detections(self._letterbox.undo(boxes, width, height), scores, class_ids)


def find_bundle(
    model: str | os.PathLike[str],
    *,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[Bundle, Preset | None]:
    """A bundle by path or by name of the zoo, fetched if need be; with the preset of the zoo.

    Raises:
        ModelError: There is no such model, or it could not be fetched.
    """
    name = str(model)
    path = Path(name)
    if not path.exists() and not path.suffix and len(path.parts) == 1:  # no path, but a name
        from motrail.detect.zoo import fetch, zoo_model

        preset = zoo_model(name).preset
        return bundles.read_bundle(fetch(name, progress=progress)), preset
    return bundles.read_bundle(path), None


def load_detector(
    model: str | os.PathLike[str], settings: DetectorSettings | None = None
) -> Detector:
    """Load a detector from a bundle, a bare `.onnx` or the zoo.

    Args:
        model: A bundle folder, a `model.tar.gz`, an `.onnx` file or a name such as `yolox-s`.
        settings: See `motrail.config.DetectorSettings`; a bare `.onnx` needs `preset`. Thresholds
            in the bundle are not looked at here: they are a layer of `motrail.config.resolve`.

    Raises:
        ModelError: There is no such model, or it is none that can be used.
        ConfigError: A setting is out of range.
        MissingExtraError: onnxruntime or OpenCV is not installed.
    """
    settings = settings or DetectorSettings()
    found, preset = find_bundle(model)
    return open_detector(found, settings, preset)


def open_detector(bundle: Bundle, settings: DetectorSettings, preset: Preset | None) -> Detector:
    """Load the detector of a bundle that was read before; arguments as in `load_detector`."""
    name = str(bundle.path)
    network = open_network(bundle.onnx, name, device=settings.device, workers=settings.workers)
    spec = bundle.spec or _bare_spec(bundle, network, settings, preset)
    shape = network.input_shape[2:]
    wanted = (spec.input.height, spec.input.width)
    if any(size not in (None, want) for size, want in zip(shape, wanted, strict=True)):
        raise ModelError(
            f"{name}: model.json says input {wanted[1]}×{wanted[0]}, "
            f"the network wants {shape[1]}×{shape[0]}"
        )
    return Detector(network, spec, settings, name)


def _bare_spec(
    bundle: Bundle, network: Network, settings: DetectorSettings, preset: Preset | None
) -> ModelSpec:
    name = bundle.path
    chosen = settings.preset or preset
    if chosen is None:
        raise ConfigError(
            f"{name}: a bare .onnx does not say how it wants its input; add --preset bytetrack "
            "(RGB, ImageNet mean and std), yolox (BGR, 0–255) or yolox-legacy (older YOLOX)"
        )
    height, width = network.input_shape[2:]
    if height is None or width is None:
        raise ModelError(
            f"{name}: this network takes pictures of any size; put it into a bundle whose "
            "model.json says which"
        )
    shape = network.output_shape
    if len(shape) != 3 or shape[2] is None or shape[2] < 6:
        raise ModelError(
            f"{name}: expected the output of a YOLOX network, shape (1, cells, 5 + classes), "
            f"found {shape}"
        )
    return bundles.preset_spec(
        chosen, height, width, _names(settings, chosen, shape[2] - 5, name), name
    )


def _names(settings: DetectorSettings, preset: Preset, count: int, path: Path) -> Sequence[str]:
    names: Sequence[str] | None
    if settings.labels is not None:
        names = bundles.read_labels(Path(settings.labels))
        if len(names) != count:
            raise ModelError(
                f"{settings.labels}: {len(names)} names for the {count} classes of {path}"
            )
        return names
    names = bundles.default_classes(preset, count)
    if names is None:
        raise ModelError(
            f"{path}: the network knows {count} classes and preset {preset!r} has no names for "
            "them; name them with --labels FILE, one a line"
        )
    return names


def _one_picture(output: NDArray[np.float32]) -> NDArray[np.float32]:
    if output.ndim != 3 or output.shape[0] != 1:
        raise ModelError(
            "expected the output of a YOLOX network, shape (1, cells, 5 + classes), "
            f"found {output.shape}"
        )
    first: NDArray[np.float32] = output[0]
    return first


def _allowed_classes(
    wanted: Sequence[str] | None, names: Sequence[str]
) -> NDArray[np.bool_] | None:
    if wanted is None:
        return None
    for name in wanted:
        if name not in names:
            raise ConfigError(f"classes: the model does not know {name!r}{nearest(name, names)}")
    return np.array([name in wanted for name in names])
