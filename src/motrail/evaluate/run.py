"""Score results against truth, sequence by sequence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.folder import is_dataset, open_dataset
from motrail.dataset.footage import silent
from motrail.errors import DataError, FormatError
from motrail.evaluate.clear import Clear, clear
from motrail.evaluate.hota import Hota, hota
from motrail.evaluate.identity import Identity, identity
from motrail.evaluate.protocol import Protocol, some
from motrail.formats.labels import Labels, ReadOptions
from motrail.formats.mot.reader import read_mot
from motrail.formats.recognize import open_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.evaluate.pairs import SequencePairs

EVALUATOR = "motrail"


@dataclass(frozen=True, slots=True)
class Score:
    """All metrics of one thing: a sequence, or several as one."""

    hota: Hota
    clear: Clear
    identity: Identity

    @classmethod
    def of(cls, pairs: SequencePairs) -> Score:
        """The score of one sequence."""
        return cls(hota(pairs), clear(pairs), identity(pairs))

    @classmethod
    def combined(cls, scores: Sequence[Score]) -> Score:
        """Several sequences as one."""
        return cls(
            Hota.combined([score.hota for score in scores]),
            Clear.combined([score.clear for score in scores]),
            Identity.combined([score.identity for score in scores]),
        )

    def as_dict(self) -> dict[str, float]:
        """Under the names of the field; shares in per cent, at full precision."""
        every = self.hota.summary() | self.clear.summary() | self.identity.summary()
        return {k: v if k in _COUNTS else 100 * v for k, v in every.items()}


_COUNTS = frozenset(
    {"HOTA_TP", "HOTA_FN", "HOTA_FP", "IDTP", "IDFN", "IDFP", "IDSW", "Frag", "MT", "PT", "ML"}
    | {"CLR_TP", "CLR_FN", "CLR_FP", "CLR_Frames", "FP_per_frame", "MOTP_sum"}
)
"""What is no share."""


@dataclass
class Evaluation:
    """How good results are.

    Attributes:
        protocol: By which it was decided what counts.
        parts: Score by sequence and class.
        notes: What the user should know, with how often.
    """

    protocol: Protocol
    parts: Mapping[str, Mapping[str, Score]]
    notes: Counter[str] = field(default_factory=Counter)

    @cached_property
    def sequences(self) -> dict[str, Score]:
        """Each sequence, all its classes as one."""
        return {
            name: Score.combined(list(classes.values()))
            for name, classes in self.parts.items()
            if classes
        }

    @cached_property
    def classes(self) -> dict[str, Score]:
        """Each class, all its sequences as one."""
        names = dict.fromkeys(name for classes in self.parts.values() for name in classes)
        return {
            name: Score.combined([c[name] for c in self.parts.values() if name in c])
            for name in names
        }

    @cached_property
    def combined(self) -> Score:
        """Everything as one."""
        return Score.combined(list(self.sequences.values()))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "protocol": self.protocol.name,
            "class_aware": self.protocol.class_aware,
            "evaluator": EVALUATOR,
            "combined": self.combined.as_dict(),
            "sequences": {name: score.as_dict() for name, score in self.sequences.items()},
            "classes": {name: score.as_dict() for name, score in self.classes.items()},
            "notes": dict(self.notes),
        }


def evaluate(
    results: Path,
    truth: Path,
    protocol: Protocol | None = None,
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Score track files against a dataset, one of its splits, or labels in any format.

    Args:
        results: A folder of `<sequence>.txt`, or one file.
        truth: What is right; pictures are not needed.
        protocol: Decides what counts; left out, every class of the truth does.
        progress: Told of each sequence.

    Raises:
        FormatError: A file is not as its format asks, or the results belong to other sequences.
        DataError: The truth does not have what the protocol scores.
    """
    protocol = protocol or Protocol()
    notes: Counter[str] = Counter()
    parts: dict[str, dict[str, Score]] = {}
    for labels, found in matched_sequences(results, truth, protocol, notes):
        parts[labels.name] = score(labels, found, protocol)
        progress("evaluating", len(parts), None)
    if not any(parts.values()):
        raise DataError(f"{truth}: expected labels to score against, found none")
    return Evaluation(protocol, parts, notes)


def score(truth: Labels, results: Labels, protocol: Protocol) -> dict[str, Score]:
    """The score of a sequence, by class.

    Raises:
        DataError: Frames outside the sequence, or boxes that make no sense.
    """
    counted = protocol.count(truth, results, truth.length)
    return {name: Score.of(part.pairs) for name, part in counted.items()}


def matched_sequences(
    results: Path, truth: Path, protocol: Protocol, notes: Counter[str]
) -> Iterator[tuple[Labels, Labels]]:
    """Truth and results of each sequence of the truth, one in memory at a time.

    Args:
        results: A folder of `<sequence>.txt`, or one file.
        truth: A dataset, one of its splits, or labels in any format.
        protocol: Decides which classes there must be.
        notes: Grows by what the user should know.

    Raises:
        FormatError: A file is not as its format asks, or the results belong to other sequences.
        DataError: The truth does not have what the protocol scores.
    """
    found = {labels.name: labels for labels in read_mot(results, ReadOptions(class_changes=True))}
    used = {
        labels.classes[number]
        for labels in found.values()
        for number in np.unique(labels.class_ids).tolist()
    }
    seen = set()
    unknown: set[str] = set(used)
    for labels in read_truth(truth):
        if labels.name in seen:
            raise FormatError(truth, f"expected each sequence once, found {labels.name!r} again")
        seen.add(labels.name)
        unknown &= set(protocol.check(labels.classes, used))
        yield labels, _results_of(labels, found, results, notes)
    if not seen & found.keys():
        raise FormatError(
            results,
            f"expected results of the sequences of {truth} ({some(sorted(seen))}), "
            f"found those of {some(sorted(found))}",
        )
    for name in sorted(found.keys() - seen):
        notes[f"{name}: is no sequence of the truth, and does not count"] += 1
    for name in sorted(unknown):
        notes[f"{name}: is no class of the truth, and does not count; --map {name}=… may help"] += 1


def read_truth(path: Path) -> Iterator[Labels]:
    """The sequences of a dataset, of one of its splits, or of labels in any format.

    Raises:
        FormatError: They cannot be read.
    """
    if is_dataset(path):
        yield from (labels for _, labels in open_dataset(path).labels())
    else:
        yield from open_labels(path)


def _results_of(truth: Labels, found: dict[str, Labels], path: Path, notes: Counter[str]) -> Labels:
    results = found.get(truth.name)
    if results is None:
        notes[f"{truth.name}: has no results, which counts as nothing found"] += 1
        none = np.empty(0, np.int64)
        return Labels.of(truth.name, truth.classes, none, none, np.empty((0, 4)), none)
    listed = truth.listed_frames()
    if len(listed) < truth.length:
        results = results[np.isin(results.frames, listed)]
        notes[f"{truth.name}: has {len(listed)} of {truth.length} frames, which alone count"] += 1
    last = int(results.frames.max(initial=0))
    if last > truth.length:
        raise FormatError(
            path,
            f"expected frames 1 to {truth.length} of {truth.name!r}, found {last}; are these "
            "results of the whole sequence, or of another one?",
        )
    return results
