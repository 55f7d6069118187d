"""HOTA: detection, association and localisation in one measure.

Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021,
arXiv 2009.07736. Corner cases and the way sequences are combined are those of TrackEval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.evaluate.pairs import EPS, best_matching, distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.evaluate.pairs import SequencePairs


def alphas() -> NDArray[np.float64]:
    """The localisation thresholds 0.05, 0.10 … 0.95, shape (19,)."""
    return np.arange(0.05, 0.99, 0.05)


@dataclass(frozen=True, slots=True, eq=False)
class Hota:
    """HOTA and its parts at each threshold; float64 arrays of shape (19,), values in [0, 1].

    Attributes:
        tp: Matched pairs whose IoU reaches the threshold.
        fn: True boxes without such a match.
        fp: Boxes found without such a match.
        ass_a: Association accuracy, averaged over the matched pairs.
        ass_re: Association recall: the share of a true identity's boxes matched to the same result.
        ass_pr: Association precision: the share of a result identity's boxes matched to the same
            truth.
        loc_a: Localisation accuracy, the mean IoU of the matched pairs; 1 where there are none.
    """

    tp: NDArray[np.float64]
    fn: NDArray[np.float64]
    fp: NDArray[np.float64]
    ass_a: NDArray[np.float64]
    ass_re: NDArray[np.float64]
    ass_pr: NDArray[np.float64]
    loc_a: NDArray[np.float64]

    @property
    def det_re(self) -> NDArray[np.float64]:
        """Detection recall, TP / (TP + FN)."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def det_pr(self) -> NDArray[np.float64]:
        """Detection precision, TP / (TP + FP)."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def det_a(self) -> NDArray[np.float64]:
        """Detection accuracy, TP / (TP + FN + FP)."""
        return _share(self.tp, self.tp + self.fn + self.fp)

    @property
    def hota(self) -> NDArray[np.float64]:
        """The geometric mean of detection and association accuracy."""
        return np.sqrt(self.det_a * self.ass_a)

    @property
    def owta(self) -> NDArray[np.float64]:
        """Open-world tracking accuracy: HOTA that does not count false positives."""
        return np.sqrt(self.det_re * self.ass_a)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Everything at each threshold, under the names of the field."""
        return {
            "HOTA": self.hota,
            "DetA": self.det_a,
            "AssA": self.ass_a,
            "DetRe": self.det_re,
            "DetPr": self.det_pr,
            "AssRe": self.ass_re,
            "AssPr": self.ass_pr,
            "LocA": self.loc_a,
            "OWTA": self.owta,
            "HOTA_TP": self.tp,
            "HOTA_FN": self.fn,
            "HOTA_FP": self.fp,
        }

    def summary(self) -> dict[str, float]:
        """Means over the thresholds, and HOTA(0), LocA(0), HOTALocA(0) at the lowest of them."""
        means = {name: float(np.mean(values)) for name, values in self.arrays().items()}
        hota, loc_a = float(self.hota[0]), float(self.loc_a[0])
        return means | {"HOTA(0)": hota, "LocA(0)": loc_a, "HOTALocA(0)": hota * loc_a}

    @classmethod
    def combined(cls, sequences: Sequence[Hota]) -> Hota:
        """All sequences as one: counts are added, the rest is averaged over the matched pairs."""
        none = np.zeros(len(alphas()))
        tp = sum((s.tp for s in sequences), start=none)
        located = sum((s.loc_a * s.tp for s in sequences), start=none)
        return cls(
            tp=tp,
            fn=sum((s.fn for s in sequences), start=none),
            fp=sum((s.fp for s in sequences), start=none),
            ass_a=_share(sum((s.ass_a * s.tp for s in sequences), start=none), tp),
            ass_re=_share(sum((s.ass_re * s.tp for s in sequences), start=none), tp),
            ass_pr=_share(sum((s.ass_pr * s.tp for s in sequences), start=none), tp),
            loc_a=_mean_iou(located, tp),
        )


def hota(pairs: SequencePairs) -> Hota:
    """HOTA of one sequence.

    Each frame is matched once, so that the sum of IoU times global alignment is largest; the
    alignment of two identities is the Jaccard index of their boxes, a pair counting as far as it
    outweighs its rivals. A threshold then keeps the matches whose IoU reaches it.

    Args:
        pairs: The sequence.
    """
    truth_sizes = np.bincount(pairs.truth_ids).astype(np.float64)
    result_sizes = np.bincount(pairs.result_ids).astype(np.float64)
    thresholds = alphas() - EPS
    couples, couple = distinct(
        pairs.truth_ids[pairs.pair_truth] * pairs.result_count + pairs.result_ids[pairs.pair_result]
    )
    truth_id, result_id = np.divmod(couples, max(pairs.result_count, 1))
    truth_size, result_size = truth_sizes[truth_id], result_sizes[result_id]
    alignment = _alignment(pairs, couple, truth_size + result_size)
    matched = best_matching(pairs, alignment[couple] * pairs.pair_iou)
    iou, couple = pairs.pair_iou[matched], couple[matched]

    table = np.zeros((5, len(thresholds)))
    for column, threshold in enumerate(thresholds.tolist()):
        kept = iou >= threshold
        count = np.bincount(couple[kept], minlength=len(couples)).astype(np.float64)
        table[:, column] = (
            count.sum(),
            iou[kept].sum(),
            (count * count / np.maximum(1, truth_size + result_size - count)).sum(),
            (count * count / truth_size).sum(),
            (count * count / result_size).sum(),
        )
    tp, located, ass_a, ass_re, ass_pr = table
    return Hota(
        tp=tp,
        fn=len(pairs.truth_ids) - tp,
        fp=len(pairs.result_ids) - tp,
        ass_a=_share(ass_a, tp),
        ass_re=_share(ass_re, tp),
        ass_pr=_share(ass_pr, tp),
        loc_a=_mean_iou(located, tp),
    )


def _alignment(
    pairs: SequencePairs, couple: NDArray[np.intp], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Global alignment of each couple of identities that ever overlap, in [0, 1]."""
    iou = pairs.pair_iou
    per_result = np.bincount(pairs.pair_result, iou, len(pairs.result_ids))
    per_truth = np.bincount(pairs.pair_truth, iou, len(pairs.truth_ids))
    rivals = per_result[pairs.pair_result] + per_truth[pairs.pair_truth] - iou
    share = np.zeros(len(iou))
    np.divide(iou, rivals, out=share, where=rivals > EPS)
    common = np.bincount(couple, share, len(sizes))
    alignment: NDArray[np.float64] = common / (sizes - common)
    return alignment


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = part / np.maximum(1, whole)
    return shares


def _mean_iou(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    # TrackEval's guard against 0 / 0: without a match the mean is 1.
    means: NDArray[np.float64] = np.maximum(1e-10, total) / np.maximum(1e-10, count)
    return means
