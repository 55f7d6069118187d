"""Score results against truth, sequence by sequence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.folder import is_dataset, open_dataset
from motrail.dataset.footage import silent
from motrail.errors import DataError, FormatError
from motrail.evaluate.clear import Clear, clear
from motrail.evaluate.hota import Hota, hota
from motrail.evaluate.identity import Identity, identity
from motrail.evaluate.protocol import check_protocol, class_pairs, mot17_pairs
from motrail.formats.labels import Labels
from motrail.formats.mot.reader import read_mot
from motrail.formats.recognize import open_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
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
        counts = _COUNTS
        every = self.hota.summary() | self.clear.summary() | self.identity.summary()
        return {k: v if k in counts else 100 * v for k, v in every.items()}


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
        combined: All sequences as one.
        sequences: Each sequence.
        classes: Each class, all sequences as one; with protocol `classes`.
        notes: What the user should know, with how often.
    """

    protocol: str
    combined: Score
    sequences: dict[str, Score]
    classes: dict[str, Score] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "protocol": self.protocol,
            "evaluator": EVALUATOR,
            "combined": self.combined.as_dict(),
            "sequences": {name: score.as_dict() for name, score in self.sequences.items()},
            "classes": {name: score.as_dict() for name, score in self.classes.items()},
            "notes": dict(self.notes),
        }


def evaluate(
    results: Path,
    truth: Path,
    *,
    protocol: str = "classes",
    progress: Progress = silent,
) -> Evaluation:
    """Score track files against a dataset, one of its splits, or labels in any format.

    With protocol `mot17` pedestrians are scored as MOT17's evaluation does, with `classes` every
    class of the truth for itself; the combined score then takes all classes' sequences as one.

    Args:
        results: A folder of `<sequence>.txt`, or one file.
        truth: What is right; pictures are not needed.
        protocol: One of `motrail.evaluate.protocol.PROTOCOLS`.
        progress: Told of each sequence.

    Raises:
        FormatError: A file is not as its format asks, or the results belong to other sequences.
        DataError: The truth does not have what the protocol scores.
    """
    found = {labels.name: labels for labels in read_mot(results)}
    notes: Counter[str] = Counter()
    by_sequence: dict[str, Score] = {}
    by_class: dict[str, list[Score]] = {}
    seen = set()
    for labels in _truth(truth):
        check_protocol(protocol, labels.classes)
        answer = _results_of(labels, found, results, notes)
        seen.add(labels.name)
        length = labels.length
        if protocol == "mot17":
            scores = {"pedestrian": Score.of(mot17_pairs(labels, answer, length))}
        else:
            scores = {
                name: Score.of(class_pairs(labels, answer, length, name))
                for name in _scored(labels, answer)
            }
            for name, score in scores.items():
                by_class.setdefault(name, []).append(score)
        if scores:
            by_sequence[labels.name] = Score.combined(list(scores.values()))
        progress("evaluating", len(by_sequence), None)
    if not seen & found.keys():
        raise FormatError(
            results,
            f"expected results of the sequences of {truth} ({_some(seen)}), "
            f"found those of {_some(found)}",
        )
    for name in sorted(found.keys() - seen):
        notes[f"{name}: is no sequence of the truth, and does not count"] += 1
    if not by_sequence:
        raise DataError(f"{truth}: expected labels to score against, found none")
    return Evaluation(
        protocol,
        Score.combined(list(by_sequence.values())),
        by_sequence,
        {name: Score.combined(scores) for name, scores in by_class.items()},
        notes,
    )


def _truth(path: Path) -> Iterator[Labels]:
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
    last = int(results.frames.max(initial=0))
    if last > truth.length:
        raise FormatError(
            path,
            f"expected frames 1 to {truth.length} of {truth.name!r}, found {last}; are these "
            "results of the whole sequence, or of another one?",
        )
    return results


def _scored(truth: Labels, results: Labels) -> list[str]:
    """Classes that stand in the truth, or are found though they do not, in the truth's order."""
    there = set(np.unique(truth.class_ids[~truth.ignore]).tolist())
    wrong = {results.classes[n] for n in np.unique(results.class_ids).tolist()}
    return [n for i, n in enumerate(truth.classes) if i in there or n in wrong]


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:4]) + (" …" if len(shown) > 4 else "") if shown else "none"
