"""TrackEval's answer for a sequence: the metrics here must equal it."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

with contextlib.redirect_stdout(io.StringIO()):  # it speaks of packages it does not find
    from trackeval.datasets._base_dataset import _BaseDataset
    from trackeval.metrics import CLEAR, HOTA, Identity

Rows = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float64]"]
"""Frames from 0, ids, and boxes left, top, width, height."""

Values = dict[str, Any]


def sequence_data(frames: int, truth: Rows, results: Rows) -> Values:
    """What `eval_sequence` of TrackEval's metrics takes."""
    data: Values = {"num_timesteps": frames}
    boxes = []
    for name, (at, ids, xywh) in (("gt", truth), ("tracker", results)):
        known, numbers = np.unique(ids, return_inverse=True)
        data[f"num_{name}_dets"] = len(ids)
        data[f"num_{name}_ids"] = len(known)
        data[f"{name}_ids"] = [numbers[at == frame] for frame in range(frames)]
        boxes.append([np.asarray(xywh[at == frame], float) for frame in range(frames)])
    data["similarity_scores"] = [
        _BaseDataset._calculate_box_ious(a, b, box_format="xywh")
        for a, b in zip(*boxes, strict=True)
    ]
    return data


class Oracle:
    """TrackEval's three metrics; what they say of a sequence, and of several together."""

    def __init__(self, threshold: float = 0.5) -> None:
        settings = {"THRESHOLD": threshold, "PRINT_CONFIG": False}
        self.metrics = {
            "hota": HOTA(),
            "clear": CLEAR(dict(settings)),
            "identity": Identity(dict(settings)),
        }

    def evaluate(self, data: Values) -> dict[str, Values]:
        """All values of one sequence by metric and name."""
        return {name: metric.eval_sequence(data) for name, metric in self.metrics.items()}

    def combine(self, sequences: Sequence[Mapping[str, Values]]) -> dict[str, Values]:
        """All values of sequences taken together."""
        return {
            name: metric.combine_sequences(
                {str(number): sequence[name] for number, sequence in enumerate(sequences)}
            )
            for name, metric in self.metrics.items()
        }
