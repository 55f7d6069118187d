"""What has to be known of a bare `.onnx`: from its preset, its shapes and its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from motrail.config import Preset
from motrail.detect import bundle as bundles
from motrail.detect import metadata
from motrail.detect.bundle import PRESETS
from motrail.detect.layouts.base import Cells
from motrail.detect.layouts.table import LAYOUTS, found_text, hint, likely_formats
from motrail.detect.trial import grey_answer
from motrail.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.config import DetectorSettings
    from motrail.detect.bundle import Bundle, Format, ModelSpec
    from motrail.detect.layouts.base import Shapes
    from motrail.detect.onnx import Network

_USUAL_SIZE = (640, 640)


def bare_spec(
    bundle: Bundle, network: Network, settings: DetectorSettings, preset: Preset | None
) -> ModelSpec:
    """The `model.json` of a bare `.onnx`.

    Args:
        bundle: The file.
        network: What is in it.
        settings: Names a preset and perhaps a file of labels.
        preset: To be used where the settings name none.

    Raises:
        ConfigError: There is no preset.
        ModelError: The network does not fit the preset, or its classes have no names.
    """
    path = bundle.path
    chosen = settings.preset or preset
    if chosen is None:
        raise ConfigError(_which_preset(network, path))
    purpose = metadata.task(network.metadata)
    if purpose not in (None, "detect"):
        raise ModelError(f"{path}: expected a network for detection, found one to {purpose!r}")
    height, width = _input_size(network, chosen, path)
    spec = bundles.preset_spec(chosen, height, width, ["any"], path)
    shapes = _declared_shapes(network)
    if shapes is None:
        shapes = {name: array.shape for name, array in grey_answer(network, spec).items()}
    cells = Cells.of(height, width)
    fits = likely_formats(shapes, cells)
    found = next((name for name in PRESETS[chosen].formats if name in fits), None)
    if found is None:
        raise ModelError(
            f"{path}: expected an output that preset {chosen!r} can read, "
            f"{_expected(chosen)}, found {found_text(shapes)}{hint(shapes, cells, 'preset')}"
        )
    names = _names(network, settings, chosen, fits[found].classes, path)
    known: Format | None = None if found == "yolox" else found
    return bundles.preset_spec(chosen, height, width, names, path, known)


def _which_preset(network: Network, path: Path) -> str:
    size, shapes = network.input_shape[2:], _declared_shapes(network)
    guess = ""
    if shapes is not None and None not in size:
        guess = hint(shapes, Cells.of(*cast("tuple[int, int]", size)), "preset")
    return (
        f"{path}: a bare .onnx does not say how it wants its input; add --preset bytetrack "
        "(RGB, ImageNet mean and std), yolox (BGR, 0–255), yolox-legacy (older YOLOX) or what else "
        f"it is: {', '.join(get_args(Preset)[3:])}{guess}"
    )


def _expected(preset: Preset) -> str:
    known = dict.fromkeys(LAYOUTS[name].expected for name in PRESETS[preset].formats)
    text = " or ".join(known)
    return f"the output of a YOLOX network, shape {text}" if "cells" in text else text


def _input_size(network: Network, preset: Preset, path: Path) -> tuple[int, int]:
    height, width = network.input_shape[2:]
    if height is not None and width is not None:
        return height, width
    if PRESETS[preset].formats == ("yolox",):
        raise ModelError(
            f"{path}: this network takes pictures of any size; put it into a bundle whose "
            "model.json says which"
        )
    usual = metadata.input_size(network.metadata) or _USUAL_SIZE
    return height or usual[0], width or usual[1]


def _declared_shapes(network: Network) -> Shapes | None:
    """Shapes of the outputs for one picture; None where the file leaves one of them open."""
    shapes = {}
    for port in network.outputs:
        if not port.shape or None in port.shape[1:]:
            return None
        shapes[port.name] = tuple(1 if size is None else size for size in port.shape)
    return shapes


def _names(
    network: Network,
    settings: DetectorSettings,
    preset: Preset,
    count: int | None,
    path: Path,
) -> Sequence[str]:
    names: Sequence[str] | None
    if settings.labels is not None:
        names = bundles.read_labels(Path(settings.labels))
        if count not in (None, len(names)):
            raise ModelError(
                f"{settings.labels}: {len(names)} names for the {count} classes of {path}"
            )
        return names
    names = metadata.class_names(network.metadata)
    if names is not None and count not in (None, len(names)):
        raise ModelError(
            f"{path}: the network knows {count} classes, but its metadata names {len(names)}; is "
            "it one for detection? If so, name them with --labels FILE, one a line"
        )
    names = names or bundles.default_classes(preset, count)
    if names is None:
        known = (
            "the network does not say which classes it knows"
            if count is None
            else f"the network knows {count} classes and preset {preset!r} has no names for them"
        )
        raise ModelError(f"{path}: {known}; name them with --labels FILE, one a line")
    return names
