"""Why nothing is found: the known reasons, looked at one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motrail.train.validate import Validation

_EARLY = 150
"""Updates before which even simple scenes are not learnt from nothing."""
_SURE = 0.05
_SMALL = 4.0
"""Pixels of the input: what is smaller has no cell of its own to be found in."""


def why_nothing(validation: Validation, *, updates: int, rate: float, small: float) -> str:
    """The reason that fits why average precision is 0, and what to do.

    Args:
        validation: What was found.
        updates: Steps of the optimizer so far.
        rate: The learning rate now.
        small: Shorter side of the middle one of the objects, in pixels of the input.
    """
    if small < _SMALL:
        return (
            f"half of the objects are smaller than {small:.1f} pixels at the size of the input; "
            "train with a larger one (--input-width, --input-height), or cut the pictures up"
        )
    if validation.mixed >= 1:
        return (
            f"objects are found (AP50 {validation.mixed:.1f} with classes as one) and called by "
            "wrong names: look at the names in labels.txt and at examples/, and train on"
        )
    if updates < _EARLY:
        return f"it is early: {updates} steps so far; from nothing it takes some hundred"
    if validation.best_score < _SURE:
        return (
            f"nothing is seen with any confidence (best score {validation.best_score:.3f}): the "
            f"learning rate ({rate:.2g}) may be too low or too high, or labels and pictures do not "
            "belong together: look at batch0.jpg, and try --check"
        )
    if validation.overlap < 0.3:
        return (
            f"{validation.boxes} boxes stand where nothing is (the true ones are overlapped by "
            f"{validation.overlap:.2f} at best, on average): labels and pictures may be shifted "
            "against each other, in time or in place; look at batch0.jpg"
        )
    return (
        f"boxes are near the objects and not close enough (overlap {validation.overlap:.2f}; it "
        "counts from 0.5): train on, or see how tightly the objects are labelled"
    )
