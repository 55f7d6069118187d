"""The model bundle: `model.onnx` and `model.json`, in a folder or in `model.tar.gz`.

No pickle and no code: what else lies in a bundle is not read. A bare `.onnx` becomes a bundle with
the help of a preset, which says how it wants its input.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from motrail.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from motrail.config import Preset

Format = Literal[
    "yolox-raw",
    "yolox-decoded",
    "yolov5",
    "yolov7-end2end",
    "yolov8",
    "yolov10",
    "rt-detr",
    "rt-detr-ultralytics",
    "rt-detr-transformers",
]
MAX_JSON_BYTES = 1 << 20
MAX_ONNX_BYTES = 2 << 30

Unit = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
Triple = tuple[Finite, Finite, Finite]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class InputSpec(_Part):
    """How a picture becomes the input: see `motrail.detect.letterbox`."""

    height: Annotated[int, Field(ge=32, le=8192, multiple_of=32)]
    width: Annotated[int, Field(ge=32, le=8192, multiple_of=32)]
    color: Literal["rgb", "bgr"]
    scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    letterbox: Literal["top-left", "center", "stretch"] = "top-left"
    pad: Annotated[int, Field(ge=0, le=255)] = 114

    @model_validator(mode="after")
    def _std_above_zero(self) -> Self:
        if min(self.std) < 1e-6:
            raise ValueError("std must be above 0")
        return self


class OutputSpec(_Part):
    """How the numbers of the network are to be read: see `motrail.detect.layouts`."""

    format: Format | None = None
    strides: Annotated[tuple[int, ...], Field(min_length=1)] = (8, 16, 32)


class Thresholds(_Part):
    """What the detector keeps."""

    score: Unit | None = None
    nms: Unit | None = None


class ModelSpec(_Part):
    """The content of `model.json`.

    Attributes:
        schema_version: 1.
        architecture: Such as `"yolox-s"`.
        classes: Names; the index in the list is the network's class id.
        input: How the network wants its pictures.
        output: How its answer is to be read; without `format` it is YOLOX, and whether its boxes
            are in pixels is found out by looking.
        thresholds: Score and NMS thresholds to use unless the user says otherwise.
        tracker: Settings of `[tracker]` to use unless the user says otherwise.
        metrics: What was measured on it.
        provenance: What it was made from.
    """

    schema_version: Literal[1] = 1
    architecture: str = "yolox"
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    input: InputSpec
    output: OutputSpec = OutputSpec()
    thresholds: Thresholds = Thresholds()
    tracker: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        for name in self.classes:
            if name.splitlines() != [name] or name != name.strip():
                raise ValueError(
                    f"expected names of classes without line breaks or blanks around them, "
                    f"found {name!r}"
                )
        return self


class Bundle(NamedTuple):
    """A model ready to be loaded.

    Attributes:
        path: Where it came from, for messages.
        onnx: The network: a path, or its bytes where it came out of an archive.
        spec: Content of `model.json`; None for a bare `.onnx`.
    """

    path: Path
    onnx: Path | bytes
    spec: ModelSpec | None


class Recipe(NamedTuple):
    """What a preset says of a bare `.onnx`.

    Attributes:
        input: Fields of `InputSpec`, all but the size.
        formats: How its answer may be read, the likeliest first; "yolox" is both of YOLOX's.
    """

    input: dict[str, Any]
    formats: tuple[Format | Literal["yolox"], ...]


_IMAGENET = {
    "color": "rgb",
    "scale": 1 / 255,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
# All these prepare pictures alike, and newer tools export older networks in newer layouts: which
# one a file has is seen from its outputs.
_CENTRED = {"color": "rgb", "scale": 1 / 255, "letterbox": "center"}
_ANCHORS = Recipe(_CENTRED, ("yolov5", "yolov7-end2end", "yolov8", "yolov10"))
_ANCHOR_FREE = Recipe(_CENTRED, ("yolov8", "yolov10", "yolov5", "yolov7-end2end"))
PRESETS: dict[Preset, Recipe] = {
    "bytetrack": Recipe(_IMAGENET, ("yolox",)),
    "yolox": Recipe({"color": "bgr"}, ("yolox",)),
    "yolox-legacy": Recipe(_IMAGENET, ("yolox",)),
    "yolov5": _ANCHORS,
    "yolov7": _ANCHORS,
    "yolov8": _ANCHOR_FREE,
    "yolov9": _ANCHOR_FREE,
    "yolov10": _ANCHOR_FREE,
    "yolov11": _ANCHOR_FREE,
    "rt-detr": Recipe(
        {"color": "rgb", "scale": 1 / 255, "letterbox": "stretch"},
        ("rt-detr", "rt-detr-transformers", "rt-detr-ultralytics"),
    ),
}


def read_bundle(path: Path) -> Bundle:
    """Read a bundle folder, a `model.tar.gz` or a bare `.onnx`.

    Raises:
        ModelError: It is none of these, or something in it is missing, too large or wrong.
    """
    if path.is_dir():
        onnx = path / "model.onnx"
        if not onnx.is_file():
            raise ModelError(f"{path}: expected model.onnx and model.json in this folder")
        return Bundle(path, onnx, _parse_spec(_read_json(path / "model.json"), path / "model.json"))
    if not path.is_file():
        raise ModelError(
            f"{path}: no such file; expected a model bundle (a folder or model.tar.gz), "
            "an .onnx file or the name of a model such as yolox-s"
        )
    if path.suffix == ".onnx":
        return Bundle(path, path, None)
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return _read_archive(path)
    raise ModelError(
        f"{path}: expected a folder, an .onnx file or a .tar.gz, found {path.suffix!r}"
    )


def preset_spec(
    preset: Preset,
    height: int,
    width: int,
    classes: Sequence[str],
    path: Path,
    found: Format | None = None,
) -> ModelSpec:
    """The `model.json` that a bare `.onnx` would have.

    Args:
        preset: What it was said to be.
        height: Of the input in pixels.
        width: The same.
        classes: Names; the index is the network's class id.
        path: The file.
        found: The format of its answer where that is known.

    Raises:
        ModelError: The size or the names are not possible.
    """
    recipe = PRESETS[preset]
    content = {
        "architecture": "yolox" if recipe.formats == ("yolox",) else preset,
        "classes": tuple(classes),
        "input": {"height": height, "width": width, **recipe.input},
        "output": {"format": found},
        "provenance": {"preset": preset, "file": path.name},
    }
    return _validated(content, path)


def default_classes(preset: Preset, count: int | None) -> tuple[str, ...] | None:
    """The names that models of this preset usually have; None if their number differs."""
    if preset == "bytetrack":
        return ("pedestrian",) if count == 1 else None
    return COCO_CLASSES if count == len(COCO_CLASSES) else None


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line; empty lines at the end do not count.

    Raises:
        ModelError: It cannot be read, or a line is empty.
    """
    try:
        names = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: expected class names, one a line: {error}") from error
    names = [name.strip() for name in names]
    if not names or not all(names):
        line = names.index("") + 1 if names else 1
        raise ModelError(f"{path}:{line}: expected the name of a class, found an empty line")
    return tuple(names)


def _read_json(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{path}: larger than {MAX_JSON_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _parse_spec(content: bytes, path: Path | str) -> ModelSpec:
    try:
        # Strict in JSON's own terms: a list is a tuple there, but "1" is no number.
        return ModelSpec.model_validate_json(content)
    except ValidationError as error:
        raise _spec_error(error, path) from None


def _validated(content: dict[str, Any], path: Path) -> ModelSpec:
    try:
        return ModelSpec.model_validate(content)
    except ValidationError as error:
        raise _spec_error(error, path) from None


def _spec_error(error: ValidationError, path: Path | str) -> ModelError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "content"
    if first["type"] == "value_error":
        return ModelError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}")
    return ModelError(f"{path}: {where}: {first['msg']}, found {str(first['input'])[:80]!r}")


def _read_archive(path: Path) -> Bundle:
    parts: dict[str, bytes] = {}
    limits = {"model.onnx": MAX_ONNX_BYTES, "model.json": MAX_JSON_BYTES}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name not in limits:
                    continue
                if not member.isreg():
                    raise ModelError(f"{path}: {name}: expected a file, found a link or folder")
                if member.size > limits[name]:
                    raise ModelError(f"{path}: {name}: larger than {limits[name]} bytes")
                stream = archive.extractfile(member)
                if stream is not None:
                    parts[name] = stream.read()
                if len(parts) == len(limits):
                    break  # what else is in there is nobody's business
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise ModelError(f"{path}: expected a tar archive: {error}") from error
    missing = [name for name in limits if name not in parts]
    if missing:
        raise ModelError(f"{path}: {' and '.join(missing)} missing in the archive")
    return Bundle(
        path, parts["model.onnx"], _parse_spec(parts["model.json"], f"{path}: model.json")
    )


# The names of COCO's 80 classes in the order of the published weights of all these networks.
# fmt: off
COCO_CLASSES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
