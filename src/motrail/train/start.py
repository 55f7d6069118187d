"""Begin with weights that were learnt elsewhere."""

from __future__ import annotations

import contextlib
import difflib
from typing import TYPE_CHECKING

from motrail.detect.bundle import preset_spec, read_bundle
from motrail.train.normalisation import adapt_input, calibrate
from motrail.train.weights import is_onnx, load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from motrail.detect.bundle import InputSpec
    from motrail.train.data.loader import TrainLoader
    from motrail.train.network import Yolox
    from motrail.train.run import Job
    from motrail.train.weights import Loaded

_CALIBRATION = 4
"""Batches that show how large the answers of each layer are, where that is not known."""
_SHOWN = 3
_SAME = {
    "automobile": "car", "bike": "bicycle", "human": "person", "man": "person",
    "motorbike": "motorcycle", "pedestrian": "person", "people": "person", "person": "pedestrian",
    "van": "car", "vehicle": "car", "woman": "person",
}  # fmt: skip
"""What classes of datasets are often called in others, above all in COCO."""


def start_from(
    network: Yolox, job: Job, path: Path, loader: TrainLoader, say: Callable[[str], None]
) -> bool:
    """Fill a network from a file.

    Args:
        network: Changed in place.
        job: Says what the file does not.
        path: A bundle, an `.onnx` or a checkpoint.
        loader: Batches of what will be learnt from.
        say: Takes lines for people.

    Returns:
        Whether the weights know one of the classes.

    Raises:
        ModelError: The file cannot be read, or has the weights of another network.
    """
    classes = loader.pictures.samples.classes
    loaded = load_weights(network, path, classes_to=classes, preset=job.preset or "yolox")
    say(f"weights: {loaded.summary}")
    for line in notes(loaded, classes):
        say(line)
    wanted = _input(job, path)
    if wanted is not None:
        adapt_input(network, wanted)
    elif path.suffix == ".onnx":
        say(
            f"note: {path.name} does not say how it wants its pictures; taken for BGR from 0 "
            "to 255, as YOLOX has them now (--preset bytetrack or yolox-legacy says otherwise)"
        )
    if loaded.fused:
        batches = loader.epoch(0, plain=True)
        with contextlib.closing(batches):
            few = (images.float() for _, (images, _) in zip(range(_CALIBRATION), batches))  # noqa: B905
            calibrate(network, few)
    return bool(loaded.kept_classes)


def _input(job: Job, path: Path) -> InputSpec | None:
    """How the file's network wants its pictures; None where nobody says it."""
    spec = read_bundle(path).spec if path.is_dir() or is_onnx(path) else None
    if spec is not None:
        return spec.input
    if job.preset is not None:
        return preset_spec(job.preset, 32, 32, ["any"], path).input
    return None


def notes(loaded: Loaded, classes: Sequence[str]) -> Iterator[str]:
    """How to keep what the weights know, where no class has a name that they know."""
    known = loaded.known_classes
    if not known or loaded.kept_classes:
        return
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    said = f"note: the weights know {', '.join(known[:_SHOWN])}{more}"
    pair = _likely(classes, known)
    if pair:
        yield f"{said}; --map {pair[0]}={pair[1]} would keep what they know of that"
    else:
        yield f"{said}; --map OURS=THEIRS would keep what they know of one of these"


def _likely(classes: Sequence[str], known: Sequence[str]) -> tuple[str, str] | None:
    """One of our classes and what the weights seem to call it."""
    lower = {name.lower(): name for name in known}
    for name in classes:
        word = name.lower()
        close = difflib.get_close_matches(word, lower, n=1, cutoff=0.85)
        for guess in (word, _SAME.get(word, ""), *close):
            if guess in lower:
                return name, lower[guess]
    return None
