"""What the page shows beside the scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class About:
    """What was scored with what, as the page is to say it.

    Attributes:
        results: Where the results come from.
        truth: Where the truth comes from.
        against: What the results are compared with; empty if nothing.
        date: When, in the caller's words; empty to leave it out, which makes the page the same
            at every call.
        settings: What else to name at the end, such as the tracker's settings.
    """

    results: str = ""
    truth: str = ""
    against: str = ""
    date: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CauseTotal:
    """How much goes back to one cause.

    Attributes:
        cause: Its name.
        meaning: One line.
        events: How many errors.
        boxes: How many true boxes were missed by them.
        switches: How many of the errors are switches of identity.
    """

    cause: str
    meaning: str
    events: int
    boxes: int
    switches: int = 0


@dataclass(frozen=True, slots=True)
class Advice:
    """A change of settings that was tried.

    Attributes:
        setting: What to change; empty where no setting can help.
        now: Its value.
        advised: The value tried.
        gain: Points won, by metric.
        cause: What it is a remedy for; empty for no single cause.
        text: The change in words.
        before: Errors it is to mend, without it; None where they were not counted.
        after: The same with it.
    """

    setting: str
    now: str
    advised: str
    gain: Mapping[str, float]
    cause: str
    text: str = ""
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """What to do about a cause that no setting mends.

    Attributes:
        cause: Its name.
        events: How many errors.
        boxes: How many true boxes were missed by them.
        text: What to do.
    """

    cause: str
    events: int
    boxes: int
    text: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Why the tracker went wrong, and what would help.

    Attributes:
        causes: The most costly one first.
        advice: Most helpful first.
        without_gain: Changes that were tried and did not help.
        hints: What to do where no setting helps.
        note: On what all of it rests, such as how well the replayed tracks agree with the results.
    """

    causes: Sequence[CauseTotal] = ()
    advice: Sequence[Advice] = ()
    without_gain: Sequence[Advice] = ()
    hints: Sequence[Hint] = ()
    note: str = ""
