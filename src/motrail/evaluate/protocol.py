"""Which boxes count: the two protocols by which results are scored."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from motrail.errors import ConfigError, DataError
from motrail.evaluate.pairs import (
    EPS,
    SequencePairs,
    best_matching,
    frame_order,
    make_pairs,
    renumbered,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels

ProtocolName = Literal["classes", "mot17"]

PEDESTRIAN = "pedestrian"
DISTRACTORS = ("person on vehicle", "static person", "distractor", "reflection")
"""What MOT17's evaluation takes for neither right nor wrong to find."""
ALL_CLASSES = "all classes"
"""What the one class is called where classes are not told apart."""
_SAME = 0.5
"""The IoU from which a box found stands for a true one when what to leave out is decided."""


class Counted(NamedTuple):
    """What counts of truth and results of a sequence.

    Attributes:
        pairs: All that metrics need.
        truth_rows: Row of the truth's labels of each true box in `pairs`, int64, shape (n,).
        result_rows: Row of the results' labels of each box found in `pairs`, int64, shape (m,).
    """

    pairs: SequencePairs
    truth_rows: NDArray[np.int64]
    result_rows: NDArray[np.int64]


@dataclass(frozen=True)
class Protocol:
    """How it is decided what counts, and what is scored with what.

    Attributes:
        name: `mot17` scores pedestrians as MOT17's evaluation does, `classes` every class of the
            truth, and leaves out what is to be ignored.
        class_aware: With `classes`, whether objects of different classes never match; else all
            are scored as if they were of one class.
        names: What classes of the results are called in the truth, where that differs.

    Raises:
        ConfigError: MOT17's protocol is to mix classes.
    """

    name: ProtocolName = "classes"
    class_aware: bool = True
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name == "mot17" and not self.class_aware:
            raise ConfigError("protocol mot17 scores pedestrians only: classes cannot be mixed")

    def as_dict(self) -> dict[str, object]:
        """For reports."""
        return {"name": self.name, "class_aware": self.class_aware, "names": dict(self.names)}

    def check(self, truth: Iterable[str], results: Iterable[str]) -> list[str]:
        """See that classes of truth and results can be joined by name.

        Args:
            truth: Names of the classes that the truth may have.
            results: Names of the classes that occur in the results.

        Returns:
            Classes of the results that do not count.

        Raises:
            DataError: MOT17's protocol and no pedestrians, or no class of the results is one of
                the truth.
        """
        truth, found = list(truth), sorted(set(results))
        if self.name == "mot17":
            if PEDESTRIAN not in truth:
                raise DataError(
                    f"protocol mot17: expected the classes of MOT17, found {some(truth)}; "
                    "use --protocol classes"
                )
            truth = [PEDESTRIAN]
        named = [self.names.get(name, name) for name in found]
        unknown = [name for name, called in zip(found, named, strict=True) if called not in truth]
        if not self.class_aware:
            return []
        if self.name == "mot17" and len(found) == 1:
            return []  # whatever they are called: all rows are taken for pedestrians
        if found and len(unknown) == len(found):
            raise DataError(
                f"expected results of the classes of the truth ({some(truth)}), found "
                f"{some(found)}; --map {found[0]}=NAME tells what belongs together"
            )
        return unknown

    def count(self, truth: Labels, results: Labels, length: int) -> dict[str, Counted]:
        """What counts of a sequence, for each class that is scored.

        A class is scored if it stands in the truth or was found.

        Args:
            truth: Of a sequence.
            results: Of the same sequence.
            length: Number of frames.

        Raises:
            DataError: Frames outside the sequence, or boxes that make no sense.
        """
        called = [self.names.get(name, name) for name in results.classes]
        if self.name == "mot17":
            return {PEDESTRIAN: _mot17(truth, results, called, length)}
        if not self.class_aware:
            rows, found = np.arange(len(truth)), np.arange(len(results))
            return {ALL_CLASSES: _counted(truth, results, length, rows, found, truth.ignore)}
        parts = {}
        for name in truth.classes:
            rows = np.flatnonzero(_are(truth, truth.classes, [name]))
            found = np.flatnonzero(_are(results, called, [name]))
            if len(found) or not truth.ignore[rows].all():
                parts[name] = _counted(truth, results, length, rows, found, truth.ignore)
        return parts


def _are(labels: Labels, called: Sequence[str], names: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows are of one of the classes; `called` names those that `class_ids` counts."""
    wanted = np.array([name in names for name in called] + [False])
    rows: NDArray[np.bool_] = wanted[labels.class_ids]
    return rows


def _mot17(truth: Labels, results: Labels, called: Sequence[str], length: int) -> Counted:
    """Pedestrians as the MOT17 evaluation counts them.

    Boxes found that belong to a distractor are left out, then everything in the truth but active
    pedestrians.
    """
    neither = _are(truth, truth.classes, DISTRACTORS)
    dropped = ~neither & (~_are(truth, truth.classes, [PEDESTRIAN]) | truth.ignore)
    rows = np.flatnonzero(_are(results, called, [PEDESTRIAN]))
    if not len(rows):
        rows = np.arange(len(results))
    return _counted(truth, results, length, np.arange(len(truth)), rows, neither, dropped)


def _counted(
    truth: Labels,
    results: Labels,
    length: int,
    truth_rows: NDArray[np.int64],
    result_rows: NDArray[np.int64],
    neither: NDArray[np.bool_],
    dropped: NDArray[np.bool_] | None = None,
) -> Counted:
    """What is left when results that stand for a true box of `neither` are taken out.

    Args:
        truth: Of a sequence.
        results: Of the same sequence.
        length: Number of frames.
        truth_rows: Rows of the truth that are looked at.
        result_rows: Rows of the results that are looked at.
        neither: Rows of the truth that are neither right nor wrong to find, shape (n,).
        dropped: Rows of the truth that do not count, though finding them is wrong, shape (n,).
    """
    truth_rows = truth_rows[frame_order(truth.frames[truth_rows])]
    result_rows = result_rows[frame_order(results.frames[result_rows])]
    pairs = make_pairs(
        length,
        truth.frames[truth_rows] - 1,
        truth.ids[truth_rows],
        truth.boxes_xywh[truth_rows],
        results.frames[result_rows] - 1,
        results.ids[result_rows],
        results.boxes_xywh[result_rows],
    )
    neither = neither[truth_rows]
    counted = ~neither if dropped is None else ~(neither | dropped[truth_rows])
    found = np.ones(len(result_rows), np.bool_)
    if neither.any():
        gain = np.where(pairs.pair_iou >= _SAME - EPS, pairs.pair_iou, 0.0)
        matched = best_matching(pairs, gain)
        found[pairs.pair_result[matched[neither[pairs.pair_truth[matched]]]]] = False
    if counted.all() and found.all():
        return Counted(pairs, truth_rows, result_rows)
    return Counted(_subset(pairs, counted, found), truth_rows[counted], result_rows[found])


def _subset(
    pairs: SequencePairs, truth: NDArray[np.bool_], results: NDArray[np.bool_]
) -> SequencePairs:
    """The pairs of the rows that stay."""
    kept = truth[pairs.pair_truth] & results[pairs.pair_result]
    return dataclasses.replace(
        pairs,
        truth_frames=pairs.truth_frames[truth],
        truth_ids=renumbered(pairs.truth_ids[truth]),
        result_frames=pairs.result_frames[results],
        result_ids=renumbered(pairs.result_ids[results]),
        pair_truth=(np.cumsum(truth) - 1)[pairs.pair_truth[kept]],
        pair_result=(np.cumsum(results) - 1)[pairs.pair_result[kept]],
        pair_iou=pairs.pair_iou[kept],
    )


def some(names: Sequence[str]) -> str:
    """A few of the names, for messages."""
    return (", ".join(names[:5]) + (" …" if len(names) > 5 else "")) if names else "none"
