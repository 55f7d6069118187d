"""Identity metrics: how long results keep to the identities of the truth.

Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking",
ECCVW 2016, arXiv 1609.01775. Corner cases and the way sequences are combined are those of
TrackEval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.evaluate.matching import largest_matching
from motrail.evaluate.pairs import check_threshold, distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.evaluate.pairs import SequencePairs


@dataclass(frozen=True, slots=True)
class Identity:
    """Boxes right and wrong when each true identity is given one identity of the results.

    Attributes:
        idtp: True boxes found under the identity given.
        idfn: True boxes not found under it.
        idfp: Boxes found that are of no true identity given theirs.
    """

    idtp: int
    idfn: int
    idfp: int

    @property
    def idr(self) -> float:
        """Identification recall, IDTP / (IDTP + IDFN)."""
        return self.idtp / max(1, self.idtp + self.idfn)

    @property
    def idp(self) -> float:
        """Identification precision, IDTP / (IDTP + IDFP)."""
        return self.idtp / max(1, self.idtp + self.idfp)

    @property
    def idf1(self) -> float:
        """Harmonic mean of recall and precision."""
        return self.idtp / max(1, self.idtp + 0.5 * self.idfp + 0.5 * self.idfn)

    def summary(self) -> dict[str, float]:
        """Everything under the names of the field."""
        return {
            "IDF1": self.idf1,
            "IDR": self.idr,
            "IDP": self.idp,
            "IDTP": self.idtp,
            "IDFN": self.idfn,
            "IDFP": self.idfp,
        }

    @classmethod
    def combined(cls, sequences: Sequence[Identity]) -> Identity:
        """All sequences as one: boxes are added."""
        return cls(
            sum(s.idtp for s in sequences),
            sum(s.idfn for s in sequences),
            sum(s.idfp for s in sequences),
        )


def identity(pairs: SequencePairs, threshold: float = 0.5) -> Identity:
    """Identity metrics of one sequence.

    True identities and those of the results are matched one to one, so that the number of boxes
    that agree is largest.

    Args:
        pairs: The sequence.
        threshold: IoU from which two boxes agree, in (0, 1].

    Raises:
        DataError: The threshold is out of its range.
    """
    check_threshold(threshold)
    agree = pairs.pair_iou >= threshold
    truth_ids = pairs.truth_ids[pairs.pair_truth[agree]]
    result_ids = pairs.result_ids[pairs.pair_result[agree]]
    shape = pairs.truth_count, pairs.result_count
    couples, couple = distinct(truth_ids * shape[1] + result_ids)
    count = np.bincount(couple, minlength=len(couples))
    rows, columns = np.divmod(couples, max(shape[1], 1))
    # Of equally good matchings any will do: only their sum is counted.
    chosen, _ = largest_matching(rows, columns, count.astype(np.float64), shape)
    idtp = int(count[chosen].sum())
    return Identity(idtp, len(pairs.truth_ids) - idtp, len(pairs.result_ids) - idtp)
