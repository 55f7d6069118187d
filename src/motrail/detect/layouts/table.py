"""Which layouts there are, and which one an answer has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from motrail.detect.layouts.base import Cells, Layout, Place
from motrail.detect.layouts.rtdetr import RtDetr, RtDetrTransformers, RtDetrUltralytics
from motrail.detect.layouts.yolo import Yolov5, Yolov7End2End, Yolov8, Yolov10
from motrail.detect.layouts.yolox import Yolox
from motrail.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from motrail.detect.bundle import ModelSpec
    from motrail.detect.layouts.base import Shapes

LAYOUTS: dict[str, type[Layout]] = {
    "yolox": Yolox,
    "yolov5": Yolov5,
    "yolov7-end2end": Yolov7End2End,
    "yolov8": Yolov8,
    "yolov10": Yolov10,
    "rt-detr": RtDetr,
    "rt-detr-transformers": RtDetrTransformers,
    "rt-detr-ultralytics": RtDetrUltralytics,
}
"""By format; "yolox" is both of YOLOX's."""


def likely_formats(shapes: Shapes, cells: Cells) -> dict[str, Place]:
    """The formats that an answer of these shapes may well have, and what each would read."""
    places = {name: layout.find(shapes, cells) for name, layout in LAYOUTS.items()}
    return {name: place for name, place in places.items() if place is not None and place.likely}


def open_layout(spec: ModelSpec, answer: Mapping[str, NDArray[Any]]) -> Layout:
    """The layout that `spec` speaks of.

    Args:
        spec: What the network is to be.
        answer: What it said to a grey picture, by the names of the outputs in their order.

    Raises:
        ModelError: It answers otherwise.
    """
    shapes = {name: array.shape for name, array in answer.items()}
    cells = Cells.of(spec.input.height, spec.input.width)
    kind = LAYOUTS.get(spec.output.format or "yolox", Yolox)
    place = kind.find(shapes, cells)
    if kind is Yolox:
        place = place or Place((next(iter(shapes)),), None, likely=False)
    elif place is None or place.classes not in (None, len(spec.classes)):
        raise ModelError(
            f"expected the output of format {spec.output.format!r}, {kind.expected}, with "
            f"{len(spec.classes)} classes, found {found_text(shapes)}"
            f"{hint(shapes, cells, 'format')}"
        )
    layout = kind(place, spec)
    try:
        layout.check([answer[name] for name in layout.outputs])
    except ModelError as error:
        other = kind is Yolox and "yolox" not in likely_formats(shapes, cells)
        raise ModelError(f"{error}{hint(shapes, cells, 'format') if other else ''}") from None
    return layout


def found_text(shapes: Shapes) -> str:
    """Names and shapes of outputs, for messages."""
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def hint(shapes: Shapes, cells: Cells, by: Literal["preset", "format"]) -> str:
    """The end of a message: what an answer of these shapes looks like, if that is known."""
    fits = likely_formats(shapes, cells)
    if not fits:
        return ""
    if by == "preset":
        names = list(dict.fromkeys(f"--preset {LAYOUTS[name].preset}" for name in fits))
        return f"; that looks like {' or '.join(names)}"
    names = [repr("yolox-raw" if name == "yolox" else name) for name in fits]
    return f"; that looks like output.format {' or '.join(names)}"
