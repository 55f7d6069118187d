"""What tuning is worth on a split that nothing was chosen by."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from motrail.dataset.folder import open_dataset
from motrail.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motrail.config.training import BestBy
    from motrail.dataset.footage import Progress
    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile
    from motrail.train.run import Job
    from motrail.tune.detector.study import Trial

Verdict = Literal["holds", "not known", "does not hold", "no change"]

SPLIT = "test"
_PARTS = 10
"""In how many parts the sequences are left out in turn, at most."""
_CAUTION = 2.0
"""Standard errors that a gain must exceed."""


@dataclass(frozen=True)
class Unseen:
    """The model of trial 0 and the best one on a split that neither was trained nor chosen by.

    Attributes:
        goal: The metric that is compared, as in `AP`.
        sequences: How many there are.
        base: Figures of trial 0, in per cent.
        best: Figures of the best trial.
        error: Standard error of the gain, in points, by leaving out sequences in turn (the
            jackknife of Tukey, 1958); None with a single sequence.
        changed: Whether the best is another than trial 0.
    """

    goal: str
    sequences: int
    base: Mapping[str, float]
    best: Mapping[str, float]
    error: float | None
    changed: bool

    @property
    def gain(self) -> float:
        """Points that the goal goes up."""
        return self.best.get(self.goal, 0.0) - self.base.get(self.goal, 0.0)

    @property
    def verdict(self) -> Verdict:
        """Whether the gain is there, too."""
        if not self.changed:
            return "no change"
        if self.gain <= 0:
            return "does not hold"
        sure = self.error is not None and self.gain > _CAUTION * self.error
        return "holds" if sure else "not known"

    def explain(self) -> str:
        """The verdict in a sentence."""
        error = "" if self.error is None else f" ± {self.error:.2f}"
        gain = (
            f"on the split {SPLIT}, which nothing was chosen by, tuning changes {self.goal} by "
            f"{self.gain:+.2f}{error} ({self.base.get(self.goal, 0.0):.2f} to "
            f"{self.best.get(self.goal, 0.0):.2f}, {self.sequences} sequences)"
        )
        match self.verdict:
            case "no change":
                return "No other settings were better than those before."
            case "holds":
                return f"The gain holds: {gain}."
            case "not known":
                why = (
                    "a single sequence does not tell"
                    if self.error is None
                    else "it is within two standard errors"
                )
                return f"Whether the gain holds is not known: {gain}; {why}."
            case _:
                return f"The gain does not hold: {gain}. Keep the settings you had."

    def as_dict(self) -> dict[str, Any]:
        """For `tune.json`."""
        return {**asdict(self), "gain": self.gain, "verdict": self.verdict}


def on_unseen(
    job: Job, base: Trial, best: Trial, classes: Sequence[str], progress: Progress
) -> Unseen | None:
    """Score two trials on the split `test`.

    Args:
        job: Of the search.
        base: Trial 0.
        best: The best one.
        classes: What the detectors find.
        progress: Told of the batches.

    Returns:
        None where there is no such split, or nothing to find in it.

    Raises:
        FormatError: Its labels cannot be read, or it has no pictures.
        ModelError: The network of a trial cannot be read.
    """
    from motrail.train.watch import GOALS

    dataset = open_dataset(job.dataset)
    if SPLIT not in dataset.splits:
        return None
    truth = [
        labels.replace(classes=tuple(job.names.get(name, name) for name in labels.classes))
        for labels in dataset.source(SPLIT)
    ]
    goal = job.settings.best_by
    before = _detect(job, base, classes, progress)
    after = before if best.number == base.number else _detect(job, best, classes, progress)
    try:
        first = _figures(truth, before)
        last = first if after is before else _figures(truth, after)
    except DataError:
        return None
    error = _error(truth, before, after, goal) if after is not before else None
    return Unseen(GOALS[goal], len(truth), first, last, error, changed=after is not before)


def _figures(
    truth: Sequence[Labels], found: Mapping[str, DetectionFile], *, tracking: bool = True
) -> dict[str, float]:
    from motrail.train.validate import judge

    return judge(truth, found, tracking=tracking).figures


def _detect(
    job: Job, trial: Trial, classes: Sequence[str], progress: Progress
) -> dict[str, DetectionFile]:
    import torch

    from motrail.train.data.pictures import Pictures
    from motrail.train.data.samples import read_samples
    from motrail.train.data.validation import ValidationLoader
    from motrail.train.prepare import choose_device
    from motrail.train.reexport import best_network
    from motrail.train.validate import detect_all

    settings = job.settings
    network, product = best_network(job.folder / "trials" / f"{trial.number:03}")
    samples = read_samples(
        open_dataset(job.dataset), SPLIT, classes=classes, mapping=job.names, limits=settings
    )
    pictures = Pictures(
        samples, product.height, product.width, cache_bytes=0, on_bad=settings.bad_pictures
    )
    loader = ValidationLoader(pictures, batch=settings.batch, workers=settings.workers)
    device = choose_device(settings.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    what = f"looking at {SPLIT} with trial {trial.number}"
    found = detect_all(
        network.to(device), loader, classes, device=device,
        progress=lambda done, total: progress(what, done, total),
    )  # fmt: skip
    return found or {}


def _error(
    truth: Sequence[Labels],
    before: Mapping[str, DetectionFile],
    after: Mapping[str, DetectionFile],
    goal: BestBy,
) -> float | None:
    from motrail.train.watch import GOALS

    count = min(len(truth), _PARTS)
    if count < 2:
        return None
    gains = []
    for part in np.array_split(np.arange(len(truth)), count):
        kept = [labels for place, labels in enumerate(truth) if place not in part]
        try:
            values = [
                _figures(kept, found, tracking=goal == "hota").get(GOALS[goal], 0.0)
                for found in (before, after)
            ]
        except DataError:
            return None  # all there is to find is in one part
        gains.append(values[1] - values[0])
    spread = np.array(gains) - np.mean(gains)
    return math.sqrt((count - 1) / count * float((spread**2).sum()))
