"""The detector: a network with everything around it, and where it is loaded from."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from motrail.config import DetectorSettings, nearest
from motrail.detect import bundle as bundles
from motrail.detect.bare import bare_spec
from motrail.detect.failure import AnswerError
from motrail.detect.layouts.base import Wanted
from motrail.detect.layouts.table import open_layout
from motrail.detect.letterbox import Letterbox
from motrail.detect.onnx import open_network
from motrail.detect.trial import grey_answer, other_inputs
from motrail.errors import ConfigError, DataError, ModelError
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
        input_size: Width and height of the network's input, in pixels.
    """

    def __init__(
        self, network: Network, spec: ModelSpec, settings: DetectorSettings, name: str
    ) -> None:
        self.class_names = spec.classes
        self.workers = network.workers
        self.device = network.device
        self._network = network
        self._name = name
        self._wanted = Wanted(
            settings.score_threshold,
            settings.nms_threshold,
            _allowed_classes(settings.classes, spec.classes),
        )
        self._letterbox = Letterbox(spec.input)
        self.input_size = spec.input.width, spec.input.height
        self._of_thread = threading.local()
        self._others = other_inputs(network, spec)
        answer = grey_answer(network, spec)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # a frame's answer is what counts
                self._layout = open_layout(spec, answer)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from None

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find the objects in one picture.

        Args:
            image: uint8, shape (height, width, 3), channels blue, green, red.

        Returns:
            Boxes in pixels of the picture, best first, down to the score threshold.

        Raises:
            DataError: The picture has another shape or type.
            AnswerError: The network answered with NaN or other nonsense.
            ModelError: It failed.
        """
        if not hasattr(self._of_thread, "scratch"):
            self._of_thread.scratch = self._letterbox.new_scratch()
        blob = self._letterbox.apply(image, self._of_thread.scratch)
        answer = self._network.run_all(blob, self._layout.outputs, self._others)
        height, width = image.shape[:2]
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # caught as not finite
                boxes, scores, class_ids = self._layout.read(answer, self._wanted)
                boxes = self._letterbox.undo(boxes, width, height)
            return Detections(boxes, scores, class_ids)
        except ModelError as error:
            raise AnswerError(self._name, str(error)) from None
        except DataError as error:
            raise AnswerError(self._name, f"the network answered with nonsense: {error}") from None


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
    spec = bundle.spec or bare_spec(bundle, network, settings, preset)
    shape = network.input_shape[2:]
    wanted = (spec.input.height, spec.input.width)
    if any(size not in (None, want) for size, want in zip(shape, wanted, strict=True)):
        raise ModelError(
            f"{name}: model.json says input {wanted[1]}×{wanted[0]}, "
            f"the network wants {shape[1]}×{shape[0]}"
        )
    return Detector(network, spec, settings, name)


def _allowed_classes(
    wanted: Sequence[str] | None, names: Sequence[str]
) -> NDArray[np.bool_] | None:
    if wanted is None:
        return None
    for name in wanted:
        if name not in names:
            raise ConfigError(f"classes: the model does not know {name!r}{nearest(name, names)}")
    return np.array([name in wanted for name in names])
