"""Which boxes count: the two protocols by which results are scored."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import DataError
from motrail.evaluate.pairs import (
    EPS,
    SequencePairs,
    best_matching,
    frame_order,
    make_pairs,
    renumbered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels

PROTOCOLS = ("mot17", "classes")
PEDESTRIAN = "pedestrian"
DISTRACTORS = ("person on vehicle", "static person", "distractor", "reflection")
"""What MOT17's evaluation takes for neither right nor wrong to find."""
_SAME = 0.5
"""The IoU from which a box found stands for a true one when what to leave out is decided."""


def mot17_pairs(truth: Labels, results: Labels, length: int) -> SequencePairs:
    """Pedestrians as the MOT17 evaluation counts them.

    Boxes found that belong to a distractor are left out, then everything in the truth but active
    pedestrians. All rows of the results are taken for pedestrians.

    Args:
        truth: With MOT17's classes.
        results: Of the same sequence.
        length: Number of frames.

    Raises:
        DataError: Frames outside the sequence, or boxes that make no sense.
    """
    truth, results = _by_frame(truth), _by_frame(results)
    names = np.array([*truth.classes, ""])[truth.class_ids]
    counted = (names == PEDESTRIAN) & ~truth.ignore
    return _counted(truth, results, length, counted, np.isin(names, DISTRACTORS))


def class_pairs(truth: Labels, results: Labels, length: int, name: str | None) -> SequencePairs:
    """The objects of one class, or of all as if they were one.

    Boxes found that belong to one that is to be ignored are left out, and those to be ignored too.

    Args:
        truth: Of a sequence.
        results: Of the same sequence.
        length: Number of frames.
        name: The class; None takes all, whatever class they were given.

    Raises:
        DataError: Frames outside the sequence, or boxes that make no sense.
    """
    truth, results = _by_frame(_of_class(truth, name)), _by_frame(_of_class(results, name))
    return _counted(truth, results, length, ~truth.ignore, truth.ignore)


def _of_class(labels: Labels, name: str | None) -> Labels:
    if name is None:
        return labels
    return labels[np.array([*labels.classes, ""])[labels.class_ids] == name]


def _by_frame(labels: Labels) -> Labels:
    if not (labels.frames[1:] < labels.frames[:-1]).any():
        return labels
    return labels[frame_order(labels.frames)]


def _counted(
    truth: Labels,
    results: Labels,
    length: int,
    counted: NDArray[np.bool_],
    neither: NDArray[np.bool_],
) -> SequencePairs:
    """What is left when results that stand for a true box of `neither` are taken out."""
    pairs = make_pairs(
        length,
        truth.frames - 1,
        truth.ids,
        truth.boxes_xywh,
        results.frames - 1,
        results.ids,
        results.boxes_xywh,
    )
    found = np.ones(len(results), np.bool_)
    if neither.any():
        gain = np.where(pairs.pair_iou >= _SAME - EPS, pairs.pair_iou, 0.0)
        matched = best_matching(pairs, gain)
        found[pairs.pair_result[matched[neither[pairs.pair_truth[matched]]]]] = False
    return _subset(pairs, counted, found)


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


def check_protocol(protocol: str, classes: Sequence[str]) -> None:
    """See that the truth has what the protocol scores.

    Raises:
        DataError: MOT17's protocol, and there are no pedestrians.
    """
    if protocol == "mot17" and PEDESTRIAN not in classes:
        raise DataError(
            f"protocol mot17: expected the classes of MOT17, found {', '.join(classes[:5])}; "
            "use --protocol classes"
        )
