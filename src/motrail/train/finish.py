"""What stands at the end of a run: the bundle, the curves, and pictures of what is found."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import motrail
from motrail.errors import MissingExtraError, VideoError
from motrail.train.export import Product, write_bundle
from motrail.train.look import draw_curves, draw_examples
from motrail.train.normalisation import remeasured
from motrail.train.validate import detect_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.train.run import Training


def finish(training: Training, best: Mapping[str, Any] | None) -> None:
    """Export the best network, or the last where there was no validation, and draw.

    Args:
        training: That is over.
        best: The content of `best.pt`.

    Raises:
        ModelError: The exported network answers otherwise.
        OutputError: Something cannot be written.
    """
    folder, network = training.job.folder, training.learner.average.network
    figures: dict[str, float] = {}
    classes: dict[str, Any] = {}
    if best is None:
        measured = remeasured(network, training.learnt(training.state.epoch - 1))
        network.load_state_dict(measured.state_dict())
    else:
        network.load_state_dict(best["network"])
        figures, classes = best["figures"], best["classes"]
    product = Product(
        training.job.model,
        training.samples.classes,
        training.height,
        training.width,
        metrics={**figures, "classes": classes} if figures else {},
        provenance=provenance(training),
    )
    exported: Any = network
    difference = write_bundle(exported.cpu(), product, folder / "model", folder / "model.tar.gz")
    training.say(f"exported; the largest difference to PyTorch is {difference:.1e}")
    try:
        _draw(training)
    except VideoError as error:  # the model is there, and these are only to look at
        training.say(f"note: not all examples are drawn: {error}")


def _draw(training: Training) -> None:
    """Curves, and what the best network finds, for people to look at."""
    folder, examination = training.job.folder, training.examination
    try:
        draw_curves(folder)
    except MissingExtraError as error:
        training.say(f"note: no results.png: {error}")
    if examination is None:
        return
    if training.run.best is not None:
        found = training.run.best.detections
    else:  # it was the best before an interruption
        network: Any = training.learner.average.network
        found = detect_all(
            network.to(training.device),
            examination.loader,
            training.samples.classes,
            device=training.device,
            autocast=training.learner.autocast,
        )
    draw_examples(folder, examination.truth, found)


def provenance(training: Training) -> dict[str, Any]:
    """What the model was made from."""
    return {
        "made_by": f"motrail {motrail.__version__}",
        "dataset": training.identity.dataset,
        "pictures": len(training.samples),
        "boxes": len(training.samples.class_ids),
        "seed": training.settings.seed,
        "epochs": training.state.epoch,
        "updates": training.state.updates,
        "weights": training.job.weights.name if training.job.weights else None,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
