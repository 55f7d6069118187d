"""Weights to start from: a checkpoint, or a network in ONNX."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motrail.detect.bundle import MAX_ONNX_BYTES, default_classes, read_bundle
from motrail.errors import DataError, ModelError
from motrail.train.checkpoint import holds_code, load, what_is_wrong
from motrail.train.network import SCALES, STRIDES, Yolox, make_yolox
from motrail.train.onnx_weights import read_network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from motrail.config import Preset

MAX_BYTES = 4 << 30

_STEM = "backbone.backbone.stem.conv.conv.weight"
# Where checkpoints keep their weights. Averaged weights are the better ones.
_PLACES = ("ema", "model_ema", "ema_model", "ema_state_dict", "model", "state_dict", "network")
_CLASSES = "head.cls_preds."
_PARTS = ("weight", "bias")
_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a file of weights.

    Attributes:
        path: The file.
        loaded: Names of the network's arrays that were filled from it, at least in part.
        initialised: Names of those that start anew, at least in part: the class predictions where
            the classes differ.
        left: Names in the file that the network has no use for.
        kept_classes: Names of the classes whose rows were taken over; empty where names were not
            given for both sides.
        new_classes: Names of those that start anew.
        known_classes: Names of the file's classes; empty where nobody knows them.
        fused: Whether batch normalisation had been folded into the convolutions; `calibrate` then
            finds out what training needs.
    """

    path: Path
    loaded: tuple[str, ...]
    initialised: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    kept_classes: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()
    known_classes: tuple[str, ...] = ()
    fused: bool = False

    @property
    def summary(self) -> str:
        """One sentence for the user."""
        text = f"{self.path.name}: {len(self.loaded)} arrays loaded"
        if self.kept_classes:
            text += f"; kept {_some(self.kept_classes)}"
            text += f"; new {_some(self.new_classes)}" if self.new_classes else ""
        elif self.initialised:
            text += "; the class predictions start anew"
        if self.left:
            text += f"; {len(self.left)} not needed"
        return text


def load_weights(
    net: Yolox,
    path: Path,
    *,
    classes_from: Sequence[str] | None = None,
    classes_to: Sequence[str] | None = None,
    preset: Preset = "yolox",
) -> Loaded:
    """Fill a network from a file; if that is refused the network stays as it was.

    Class predictions are taken over as they are where the number of classes is the same, and start
    anew where it is not. Where the names are known on both sides they decide instead: the rows of
    classes with equal names are taken over, the others start anew.

    Args:
        net: The network.
        path: A checkpoint of PyTorch (ours, YOLOX's, ByteTrack's: a state dict, bare or under
            `model` or `ema`), a bundle or a bare `.onnx`. A checkpoint is read without running
            any code in it.
        classes_from: Names of the file's classes in the order of its rows; a bundle and our own
            checkpoints know theirs, and 80 are those of COCO in the order of YOLOX.
        classes_to: Names of the network's classes in the order of its rows.
        preset: What kind of model it is where the file does not say: `bytetrack` with one class
            finds pedestrians.

    Raises:
        ModelError: The file cannot be read, holds code or something else, is too large, or has the
            weights of another network.
        DataError: The number of names is not that of the classes.
        MissingExtraError: The package onnx is needed and not installed.
    """
    if classes_to is not None and len(classes_to) != net.classes:
        raise DataError(f"classes_to: expected {net.classes} names, found {len(classes_to)}")
    fused = False
    if path.is_dir() or is_onnx(path):
        bundle = read_bundle(path)
        onnx = bundle.onnx
        content = onnx if isinstance(onnx, bytes) else _read(onnx, MAX_ONNX_BYTES)
        state, fused = read_network(content, path)
        if classes_from is None and bundle.spec is not None:
            classes_from = bundle.spec.classes
    else:
        state, known = _read_checkpoint(path)
        classes_from = classes_from or known
    _check_size(state, path, net)
    if classes_from is None and classes_to is not None:
        rows = state.get(f"{_CLASSES}0.weight")
        classes_from = (
            default_classes(preset, len(rows)) if rows is not None and rows.ndim else None
        )
    return _fill(net, state, path, fused=fused, names=_names(classes_from, classes_to))


def is_onnx(path: Path) -> bool:
    """Whether the name is that of a bundle's archive or of an `.onnx`, and not a checkpoint's."""
    # ByteTrack's checkpoints end with .pth.tar and are no archives.
    name = path.name.lower()
    archive = name.endswith((".tar.gz", ".tgz", ".tar")) and ".pth" not in name
    return archive or name.endswith(".onnx")


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise ModelError(f"{path}: larger than {limit} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Its weights and, of our own ones, the names of the classes."""
    _check_bytes(path)
    try:
        with torch.serialization.safe_globals(_harmless()):
            content = load(path)
    # A damaged file makes the reader fail in ways that have nothing in common.
    except Exception as error:  # noqa: BLE001
        if isinstance(error, pickle.UnpicklingError) and holds_code(error):
            raise ModelError(
                f"{path}: holds Python objects besides weights, which are code and not read; "
                "save its state dict alone: torch.save(model.state_dict(), …)"
            ) from None
        raise ModelError(
            f"{path}: expected a checkpoint of PyTorch: {what_is_wrong(error)}"
        ) from None
    return _state_dict(content, path), _own_classes(content)


def _own_classes(content: object) -> tuple[str, ...] | None:
    identity = content.get("identity") if isinstance(content, dict) else None
    names = identity.get("classes") if isinstance(identity, dict) else None
    known = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return tuple(names) if known and names else None


def _check_bytes(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: expected a file")
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(member.file_size for member in archive.infolist()))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise ModelError(f"{path}: expected a checkpoint of PyTorch: {_line(error)}") from None
    if size > MAX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_BYTES} bytes")


def _harmless() -> list[Any]:
    """What checkpoints hold besides tensors: the best score so far is a number of numpy."""
    import numpy as np
    from numpy._core.multiarray import scalar

    old = (scalar, "numpy.core.multiarray.scalar")
    return [scalar, old, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a state dict, found {type(content).__name__}")
    averaged = content.get("average")  # ours: the average, which stands a level deeper
    first = averaged.get("network") if isinstance(averaged, dict) else None
    candidates = [first, *(content.get(place) for place in _PLACES), content]
    for candidate in candidates:
        if not isinstance(candidate, dict):
            continue
        stems = [name for name in candidate if isinstance(name, str) and name.endswith(_STEM)]
        if stems:  # names may begin with what wrapped the network, such as `module.`
            prefix = min(stems, key=len).removesuffix(_STEM)
            return {
                name.removeprefix(prefix): _dense(value, name, path)
                for name, value in candidate.items()
                if isinstance(name, str) and name.startswith(prefix)
            }
    found = ", ".join(str(name)[:40] for name in list(content)[:5]) or "nothing"
    raise ModelError(f"{path}: expected the weights of a YOLOX network ({_STEM}), found {found}")


def _dense(value: object, name: str, path: Path) -> Tensor:
    if not isinstance(value, Tensor):
        raise ModelError(f"{path}: {name}: expected a tensor, found {type(value).__name__}")
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise ModelError(f"{path}: {name}: expected plain numbers, all of them in the file")
    return value


def _check_size(state: Mapping[str, Tensor], path: Path, net: Yolox) -> None:
    found = looks_like(state)
    if found is not None and found != net.size:
        raise ModelError(
            f"{path}: expected the weights of yolox-{net.size}, found those of yolox-{found}; "
            f"train yolox-{found}, or start from weights of yolox-{net.size}"
        )


def looks_like(state: Mapping[str, Tensor]) -> str | None:
    """The size of network that weights belong to; None if it is none of the six."""
    stem = state.get(_STEM)
    thin = "backbone.backbone.dark2.0.dconv.conv.weight" in state
    for size, scale in SCALES.items():
        out = int(scale.width * 64)
        if stem is not None and stem.shape[:1] == (out,) and scale.depthwise == thin:
            return size
    return None


def _names(
    classes_from: Sequence[str] | None, classes_to: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[str]] | None:
    if classes_from is None or classes_to is None:
        return None
    return classes_from, classes_to


def _fill(
    net: Yolox,
    state: Mapping[str, Tensor],
    path: Path,
    *,
    fused: bool,
    names: tuple[Sequence[str], Sequence[str]] | None,
) -> Loaded:
    own = net.state_dict()
    body = [name for name in own if not name.startswith(_CLASSES)]
    needed = [name for name in body if not name.endswith(_COUNTER)]
    missing = [name for name in needed if name not in state]
    if missing:
        raise ModelError(f"{path}: {_some(missing)} missing; expected yolox-{net.size}")
    filled = {name: state[name] for name in body if name in state}
    for name, value in filled.items():
        _check_shape(name, value, own[name], path)
    heads, rows = _class_rows(net, state, path, names)
    net.load_state_dict(filled | heads, strict=False)
    taken = [row is not None for row in rows]
    wanted = names[1] if names else ()
    return Loaded(
        path,
        loaded=(*filled, *(heads if any(taken) else ())),
        initialised=() if all(taken) else tuple(heads),
        left=tuple(name for name in state if name not in own),
        kept_classes=tuple(
            name for name, row in zip(wanted, rows, strict=False) if row is not None
        ),
        new_classes=tuple(name for name, row in zip(wanted, rows, strict=False) if row is None),
        known_classes=tuple(names[0]) if names else (),
        fused=fused,
    )


def _class_rows(
    net: Yolox,
    state: Mapping[str, Tensor],
    path: Path,
    names: tuple[Sequence[str], Sequence[str]] | None,
) -> tuple[dict[str, Tensor], list[int | None]]:
    """Class predictions for the network: taken over as far as they fit, new for the rest.

    Returns:
        The arrays, and for each of the network's classes the file's row, None where it starts anew.
    """
    stored = {f"{_CLASSES}{level}.{part}" for level in range(len(STRIDES)) for part in _PARTS}
    missing = sorted(stored - set(state))
    if missing:
        raise ModelError(f"{path}: {_some(missing)} missing; expected yolox-{net.size}")
    fresh = make_yolox(net.size, net.classes).head.state_dict()
    counts = {len(state[name]) if state[name].ndim else 0 for name in stored}
    count = counts.pop()
    if counts or count < 1:
        raise ModelError(
            f"{path}: {_CLASSES}*: expected a row for each class, as many on every level"
        )
    rows: list[int | None] = [None] * net.classes
    if names is not None:
        if len(names[0]) != count:
            raise DataError(
                f"classes_from: {path} has {count} classes, found {len(names[0])} names"
            )
        place = {name: row for row, name in enumerate(names[0])}
        rows = [place.get(name) for name in names[1]]
    elif count == net.classes:
        rows = list(range(count))
    answer = {}
    for name in sorted(stored):
        array = fresh[name.removeprefix("head.")].clone()
        value = state[name]
        _check_shape(name, value, value.new_empty((count, *array.shape[1:])), path)
        for row, source in enumerate(rows):
            if source is not None:
                array[row] = value[source]
        answer[name] = array
    return answer, rows


def _check_shape(name: str, value: Tensor, wanted: Tensor, path: Path) -> None:
    if value.shape != wanted.shape:
        raise ModelError(
            f"{path}: {name}: expected shape {tuple(wanted.shape)}, found {tuple(value.shape)}"
        )
    if value.is_floating_point() != wanted.is_floating_point():
        raise ModelError(f"{path}: {name}: expected {wanted.dtype}, found {value.dtype}")
    if not bool(torch.isfinite(value).all()):
        raise ModelError(f"{path}: {name}: holds NaN or infinite numbers")
    # Tiny negative ones come about where another ε was part of the variance.
    if name.endswith("running_var") and float(value.min()) <= -1e-3:
        raise ModelError(f"{path}: {name}: holds negative variances")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
