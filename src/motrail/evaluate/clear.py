"""CLEAR MOT: misses, false positives and identity switches, and how precise the boxes are.

Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT
Metrics", EURASIP 2008, doi 10.1155/2008/246309; mostly tracked, partly tracked and mostly lost
after Li, Huang and Nevatia, CVPR 2009. Corner cases and the way sequences are combined are those
of TrackEval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.evaluate.matching import TIE
from motrail.evaluate.pairs import EPS, check_threshold, match_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.evaluate.pairs import SequencePairs

    Candidate = tuple[int, int, float, int, int]
    """Row of truth, row of results, IoU, identity of the result, index of the pair."""

# What a match of the frame before is worth beside its IoU.
_KEPT = 1000.0

# With more pairs in dispute in one frame the dense solver is the quicker one.
_MANY = 40


@dataclass(frozen=True, slots=True)
class Clear:
    """CLEAR MOT metrics.

    Attributes:
        tp: Matched pairs.
        fn: True boxes without a match.
        fp: Boxes found without a match.
        idsw: Identity switches: a true identity is matched to another result than when it was
            last matched, however long ago.
        frag: Fragmentations: how often a true identity is matched again after a break.
        mt: True identities mostly tracked, in more than 80 % of their frames.
        pt: Partly tracked, in 20 % to 80 %.
        ml: Mostly lost, in less than 20 %.
        frames: Frames; as in TrackEval, 0 for a sequence without truth or without results.
        iou_sum: Sum of the IoU of the matched pairs.
        lone: Whether this is one sequence without truth or without results. TrackEval sets its
            scores to 0 rather than compute them, and the share of mostly lost identities to 1.
    """

    tp: int = 0
    fn: int = 0
    fp: int = 0
    idsw: int = 0
    frag: int = 0
    mt: int = 0
    pt: int = 0
    ml: int = 0
    frames: int = 0
    iou_sum: float = 0.0
    lone: bool = False

    @property
    def mota(self) -> float:
        """Accuracy, (TP - FP - IDSW) / (TP + FN); it has no lower end."""
        return self._of_truth(self.tp - self.fp - self.idsw)

    @property
    def motp(self) -> float:
        """Precision: the mean IoU of the matched pairs; 0 where there are none."""
        return self.iou_sum / max(1, self.tp)

    @property
    def moda(self) -> float:
        """Accuracy of detection alone, (TP - FP) / (TP + FN)."""
        return self._of_truth(self.tp - self.fp)

    @property
    def smota(self) -> float:
        """MOTA in which a match counts as much as its IoU."""
        return self._of_truth(self.iou_sum - self.fp - self.idsw)

    @property
    def motal(self) -> float:
        """MOTA in which only the decimal logarithm of the identity switches counts."""
        return self._of_truth(self.tp - self.fp - (math.log10(self.idsw) if self.idsw else 0))

    @property
    def recall(self) -> float:
        """TP / (TP + FN)."""
        return self.tp / max(1, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return self.tp / max(1, self.tp + self.fp)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return self.tp / max(1, self.tp + 0.5 * self.fn + 0.5 * self.fp)

    @property
    def fp_per_frame(self) -> float:
        """False positives in a frame, also called FAF."""
        return self.fp / max(1, self.frames) if not self.lone else 0.0

    @property
    def mtr(self) -> float:
        """Share of true identities mostly tracked."""
        return self.mt / max(1, self.mt + self.pt + self.ml)

    @property
    def ptr(self) -> float:
        """Share of true identities partly tracked."""
        return self.pt / max(1, self.mt + self.pt + self.ml)

    @property
    def mlr(self) -> float:
        """Share of true identities mostly lost."""
        return self.ml / max(1, self.mt + self.pt + self.ml) if not self.lone else 1.0

    def _of_truth(self, good: float) -> float:
        return good / max(1, self.tp + self.fn) if not self.lone else 0.0

    def summary(self) -> dict[str, float]:
        """Everything under the names of the field."""
        return {
            "MOTA": self.mota,
            "MOTP": self.motp,
            "MODA": self.moda,
            "CLR_Re": self.recall,
            "CLR_Pr": self.precision,
            "MTR": self.mtr,
            "PTR": self.ptr,
            "MLR": self.mlr,
            "sMOTA": self.smota,
            "CLR_TP": self.tp,
            "CLR_FN": self.fn,
            "CLR_FP": self.fp,
            "IDSW": self.idsw,
            "MT": self.mt,
            "PT": self.pt,
            "ML": self.ml,
            "Frag": self.frag,
            "CLR_F1": self.f1,
            "FP_per_frame": self.fp_per_frame,
            "MOTAL": self.motal,
            "MOTP_sum": self.iou_sum,
            "CLR_Frames": self.frames,
        }

    @classmethod
    def combined(cls, sequences: Sequence[Clear]) -> Clear:
        """All sequences as one: counts are added."""
        return cls(
            tp=sum(s.tp for s in sequences),
            fn=sum(s.fn for s in sequences),
            fp=sum(s.fp for s in sequences),
            idsw=sum(s.idsw for s in sequences),
            frag=sum(s.frag for s in sequences),
            mt=sum(s.mt for s in sequences),
            pt=sum(s.pt for s in sequences),
            ml=sum(s.ml for s in sequences),
            frames=sum(s.frames for s in sequences),
            iou_sum=sum(s.iou_sum for s in sequences),
        )


class Matching(NamedTuple):
    """Which box found stands for which true one.

    Attributes:
        order: Rows of the truth by identity, then frame; int64, shape (n,).
        matched: Identity in the results that each true box is matched to, or -1; int64, shape (n,).
        begins: True boxes that are matched while the same identity was not in the frame before;
            bool, shape (n,).
        iou_sum: Sum of the IoU of the matched pairs.
    """

    order: NDArray[np.intp]
    matched: NDArray[np.int64]
    begins: NDArray[np.bool_]
    iou_sum: float


def clear_matching(pairs: SequencePairs, threshold: float = 0.5) -> Matching:
    """Match truth and results of one sequence as CLEAR MOT does.

    A frame keeps the matches of the frame before that still reach the threshold, and then takes
    the matching with the largest sum of IoU. The frame before is the last one that has both truth
    and results.

    Args:
        pairs: The sequence.
        threshold: IoU from which two boxes may be matched, in (0, 1].

    Raises:
        DataError: The threshold is out of its range.
    """
    check_threshold(threshold)
    order = np.argsort(pairs.truth_ids, kind="stable")
    before = _rows_before(pairs, order)
    matched, iou_sum = _match(pairs, threshold, before)
    found = matched >= 0
    begins = found & ~(found[before] & (before >= 0))
    return Matching(order, matched, begins, iou_sum)


def clear(pairs: SequencePairs, threshold: float = 0.5) -> Clear:
    """CLEAR MOT metrics of one sequence, matched by `clear_matching`.

    Args:
        pairs: The sequence.
        threshold: IoU from which two boxes may be matched, in (0, 1].

    Raises:
        DataError: The threshold is out of its range.
    """
    check_threshold(threshold)
    truth, results = len(pairs.truth_ids), len(pairs.result_ids)
    if not (truth and results):
        return Clear(fn=truth, fp=results, ml=pairs.truth_count, lone=True)
    order, matched, begins, iou_sum = clear_matching(pairs, threshold)
    found = matched >= 0
    in_order = order[found[order]]
    same = np.diff(pairs.truth_ids[in_order]) == 0
    sizes = np.bincount(pairs.truth_ids)
    tracked = np.bincount(pairs.truth_ids[found], minlength=len(sizes))
    ratio = tracked / sizes
    mostly, partly = int((ratio > 0.8).sum()), int((ratio >= 0.2).sum())
    tp = int(found.sum())
    return Clear(
        tp=tp,
        fn=truth - tp,
        fp=results - tp,
        idsw=int((same & (np.diff(matched[in_order]) != 0)).sum()),
        frag=int(begins.sum()) - int((tracked > 0).sum()),
        mt=mostly,
        pt=partly - mostly,
        ml=len(sizes) - partly,
        frames=pairs.frames,
        iou_sum=iou_sum,
    )


def _rows_before(pairs: SequencePairs, order: NDArray[np.intp]) -> NDArray[np.int64]:
    """For each true box the row of the same identity in the frame before, or -1."""
    both = np.intersect1d(pairs.truth_frames, pairs.result_frames)
    place = np.searchsorted(both, pairs.truth_frames)
    place = np.minimum(place, max(len(both) - 1, 0))
    rows = order[both[place[order]] == pairs.truth_frames[order]] if len(both) else order[:0]
    follows = (np.diff(pairs.truth_ids[rows]) == 0) & (np.diff(place[rows]) == 1)
    before = np.full(len(order), -1, np.int64)
    before[rows[1:][follows]] = rows[:-1][follows]
    return before


def _match(
    pairs: SequencePairs, threshold: float, before: NDArray[np.int64]
) -> tuple[NDArray[np.int64], float]:
    """For each true box the identity it is matched to, or -1, and the sum of IoU."""
    near = np.flatnonzero(pairs.pair_iou >= threshold - EPS)
    truth, result = pairs.pair_truth[near], pairs.pair_result[near]
    alone = (np.bincount(truth, minlength=len(pairs.truth_ids))[truth] == 1) & (
        np.bincount(result, minlength=len(pairs.result_ids))[result] == 1
    )
    matched = np.full(len(pairs.truth_ids), -1, np.int64)
    matched[truth[alone]] = pairs.result_ids[result[alone]]
    iou_sum = float(pairs.pair_iou[near[alone]].sum())
    disputed = near[~alone]
    if len(disputed) == 0:
        return matched, iou_sum
    gain = np.where(pairs.pair_iou >= threshold - EPS, pairs.pair_iou, 0.0)
    settled = _settle(pairs, gain, before.tolist(), matched.tolist(), disputed)
    matched[pairs.pair_truth[settled]] = pairs.result_ids[pairs.pair_result[settled]]
    return matched, iou_sum + float(pairs.pair_iou[settled].sum())


def _settle(
    pairs: SequencePairs,
    gain: NDArray[np.float64],
    before: list[int],
    matched: list[int],
    disputed: NDArray[np.intp],
) -> list[int]:
    """Match the pairs that have rivals, frame by frame, for a frame hangs on the one before.

    A pair kept from the frame before is worth more than any two rivals, and two kept pairs are
    never rivals: all of them are matched, and only then do the others have their turn.

    Args:
        pairs: The sequence.
        gain: IoU of each pair, 0 where it may not be matched.
        before: For each true box the row of the same identity in the frame before, or -1.
        matched: For each true box the identity it is matched to, or -1; filled in on the way.
        disputed: Indices of the pairs that have rivals.

    Returns:
        Indices of the matched ones among them.
    """
    truth, result = pairs.pair_truth[disputed], pairs.pair_result[disputed]
    frames = pairs.truth_frames[truth].tolist()
    candidates: list[Candidate] = list(
        zip(
            truth.tolist(),
            result.tolist(),
            gain[disputed].tolist(),
            pairs.result_ids[result].tolist(),
            disputed.tolist(),
            strict=True,
        )
    )
    settled: list[int] = []
    for frame, places in groupby(range(len(frames)), key=frames.__getitem__):
        rivals = [candidates[place] for place in places]
        chosen = [c for c in rivals if before[c[0]] >= 0 and matched[before[c[0]]] == c[3]]
        more = _settle_simple(_without(rivals, chosen))
        if more is None:
            chosen = _settle_exactly(pairs, frame, gain, before, matched, rivals)
        else:
            chosen += more
        for row, _, _, identity, pair in chosen:
            matched[row] = identity
            settled.append(pair)
    return settled


def _without(candidates: list[Candidate], chosen: list[Candidate]) -> list[Candidate]:
    """Those that share no box with a chosen one."""
    rows = {c[0] for c in chosen}
    columns = {c[1] for c in chosen}
    return [c for c in candidates if c[0] not in rows and c[1] not in columns]


def _settle_simple(candidates: list[Candidate]) -> list[Candidate] | None:
    """The matching with the largest sum of IoU; None where that takes more than a look.

    A pair worth more than its best rival in the row and its best in the column together is in
    every best matching.
    """
    chosen: list[Candidate] = []
    while candidates:
        if len(candidates) > _MANY:
            return None
        sure = [
            c
            for c in candidates
            if c[2] * (1 - TIE)
            > max((o[2] for o in candidates if o[0] == c[0] and o[1] != c[1]), default=0.0)
            + max((o[2] for o in candidates if o[1] == c[1] and o[0] != c[0]), default=0.0)
        ]
        if not sure:
            return None
        chosen += sure
        candidates = _without(candidates, sure)
    return chosen


def _settle_exactly(
    pairs: SequencePairs,
    frame: int,
    gain: NDArray[np.float64],
    before: list[int],
    matched: list[int],
    rivals: list[Candidate],
) -> list[Candidate]:
    """The matching TrackEval finds in the whole frame, of ties the same one."""
    pair = pairs.pairs_of(frame)
    rows = pairs.pair_truth[pair].tolist()
    identities = pairs.result_ids[pairs.pair_result[pair]].tolist()
    kept = [
        before[row] >= 0 and matched[before[row]] == identity
        for row, identity in zip(rows, identities, strict=True)
    ]
    worth = gain[pair]
    worth = np.where(worth > 0, worth + _KEPT * np.asarray(kept), 0.0)
    matches = set(match_frame(pairs, frame, worth).tolist())
    return [c for c in rivals if c[4] in matches]
