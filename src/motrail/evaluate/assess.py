"""All there is to say of results: scores, how sure they are, what went wrong, what would help."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motrail.dataset.footage import silent
from motrail.errors import ConfigError
from motrail.evaluate.average_precision import AveragePrecision, PrecisionTally
from motrail.evaluate.intervals import compare, intervals
from motrail.evaluate.run import Evaluation, evaluate, matched_sequences, read_truth
from motrail.evaluate.why.explain import explain
from motrail.formats.mot.detections import read_detections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from motrail.config import TrackerSettings
    from motrail.dataset.footage import Progress
    from motrail.evaluate.intervals import Difference, Interval
    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.why.explain import Explanation
    from motrail.formats.mot.detections import DetectionFile


@dataclass(frozen=True)
class Question:
    """What is to be found out.

    Attributes:
        results: A folder of `<sequence>.txt`, or one file.
        truth: A dataset, one of its splits, or labels in any format.
        protocol: Decides what counts.
        against: Other results of the same sequences; None compares with nothing.
        detections: What the results were made from, a folder of `<sequence>.txt` or one file;
            None leaves causes unexplained.
        settings: Those of the tracker that made the results; None explains nothing, too.
        precision: Whether average precision of the detections is asked for.

    Raises:
        ConfigError: Average precision is asked for, and there are no detections.
    """

    results: Path
    truth: Path
    protocol: Protocol
    against: Path | None = None
    detections: Path | None = None
    settings: TrackerSettings | None = None
    precision: bool = False

    def __post_init__(self) -> None:
        if self.precision and self.detections is None:
            raise ConfigError("--ap: is a figure of detections; name them with --detections")


@dataclass(frozen=True)
class Assessment:
    """What was found out.

    Attributes:
        evaluation: The scores.
        intervals: 95 % intervals of the combined score; empty with a single sequence.
        differences: From other results; None if there are none to compare with.
        precision: Of the detections; None if not asked for.
        explanation: What went wrong and why; None without detections.
    """

    evaluation: Evaluation
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    differences: list[Difference] | None = None
    precision: AveragePrecision | None = None
    explanation: Explanation | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        document = self.evaluation.as_dict()
        document["intervals"] = {name: list(ends) for name, ends in self.intervals.items()}
        if self.differences is not None:
            document["against"] = [difference.as_dict() for difference in self.differences]
        if self.precision is not None:
            document["average_precision"] = self.precision.as_dict()
        if self.explanation is not None:
            document["errors"] = self.explanation.as_dict()
        return document


def assess(question: Question, *, progress: Progress = silent) -> Assessment:
    """Answer a question about results.

    Args:
        question: What is to be found out.
        progress: Told of each step.

    Raises:
        FormatError: A file is not as its format asks, or results or detections belong to other
            sequences.
        DataError: The truth does not have what the protocol scores, or the results were not made
            from these detections with these settings.
    """
    results, truth, protocol = question.results, question.truth, question.protocol
    evaluation = evaluate(results, truth, protocol, progress=progress)
    differences = None
    if question.against is not None:
        other = evaluate(question.against, truth, protocol, progress=progress)
        differences = compare(evaluation, other)
    explanation = precision = None
    if question.detections is not None:
        files = {file.name: file for file in read_detections(question.detections)}
        if question.precision:
            precision = _precision(truth, files, protocol)
        if question.settings is not None:
            pairs = matched_sequences(results, truth, protocol, Counter())
            explanation = explain(pairs, files, question.settings, protocol, progress=progress)
    return Assessment(evaluation, intervals(evaluation), differences, precision, explanation)


def _precision(
    truth: Path, files: Mapping[str, DetectionFile], protocol: Protocol
) -> AveragePrecision:
    tally = PrecisionTally(protocol)
    for labels in read_truth(truth):
        tally.take(labels, files.get(labels.name))
    return tally.score()
