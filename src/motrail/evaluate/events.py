"""What went wrong, where, and why: the errors of a tracker as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["switch", "fragment", "misses"]
"""A switch of identity; a break between two matches, as CLEAR counts them; all other runs of missed
boxes, such as those at the start, at the end or all along."""

Cause = Literal[
    "never detected",
    "merged",
    "wrong class",
    "low score",
    "weak start",
    "weak return",
    "confirmed late",
    "not matched",
    "camera moved",
    "lost too long",
    "crossed",
    "taken over",
    "doubled",
    "box off",
    "filtered",
    "label fault",
    "not labelled",
    "unknown",
]

ABOUT: dict[Cause, str] = {
    "never detected": "the detector did not find the object",
    "merged": "the detector found it and another object as one",
    "wrong class": "it was detected, or tracked, as an object of another class",
    "low score": "it was detected, but not above the low threshold",
    "weak start": "it was detected, but too weakly to begin a track",
    "weak return": "it was detected, but too weakly to be found again after it was lost",
    "confirmed late": "its track had just begun, and is given out from its second detection on",
    "not matched": "it was detected, but overlapped the predicted box too little to be matched",
    "camera moved": "the same, while the whole picture moved",
    "lost too long": "it came back after its track had been given up",
    "crossed": "two objects came together, and a track went on with the other one",
    "taken over": "a track that one object had lost was matched to another",
    "doubled": "two tracks stood on the object, and it went from one to the other",
    "box off": "it was tracked, but the smoothed box overlaps the true one too little",
    "filtered": "it was tracked, but a filter on size or shape kept it out of the results",
    "label fault": "the labels jump where the picture does not: look at them",
    "not labelled": "the labels have no box in between that counts: nothing was missed",
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
        end: The last missed frame, or the first one matched under the new identity. A fragment
            without missed boxes, where the truth has none, is the frames between its two matches.
        truth_id: The true object.
        result_id: The identity in the results that it was last matched to before; None where there
            was none.
        new_id: The one it is matched to next; None where there is none.
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

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {name: getattr(self, name) for name in self.__slots__}
