"""What went wrong, where, and why: the errors of a tracker as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["switch", "fragment", "misses"]
"""A switch of identity; missed frames between two matches; missed frames at the start, at the end
or all along."""

Cause = Literal[
    "never detected",
    "low score",
    "weak start",
    "not matched",
    "camera moved",
    "lost too long",
    "crossed",
    "filtered",
    "label fault",
    "unknown",
]

ABOUT: dict[Cause, str] = {
    "never detected": "the detector did not find the object",
    "low score": "it was detected, but under the low threshold",
    "weak start": "it was detected, but too weakly to begin a track",
    "not matched": "it was detected, but overlapped the predicted box too little to be matched",
    "camera moved": "the same, while the whole picture moved",
    "lost too long": "it came back after its track had been given up",
    "crossed": "two objects crossed, and a track went on with the other one",
    "filtered": "it was tracked, but a filter on size or shape kept it out of the results",
    "label fault": "the labels jump where the picture does not: look at them",
    "unknown": "none of the known causes",
}
"""What each cause means."""


@dataclass(frozen=True, slots=True)
class Event:
    """One error.

    Attributes:
        sequence: Where.
        class_name: Of the true object.
        kind: What happened.
        start: For misses and fragments the first missed frame, for a switch the last frame matched
            under the old identity; frames count from 1.
        end: The last missed frame, or the first one matched under the new identity.
        truth_id: The true object.
        result_id: The identity in the results before; None where there was none.
        new_id: The identity after; None where there was none.
        other_id: Another true object that takes part, such as the one crossed; None if none does.
        boxes: True boxes that were missed; 0 for a switch.
        cause: Why; None where there were no detections to tell from.
    """

    sequence: str
    class_name: str
    kind: Kind
    start: int
    end: int
    truth_id: int
    result_id: int | None = None
    new_id: int | None = None
    other_id: int | None = None
    boxes: int = 0
    cause: Cause | None = None
