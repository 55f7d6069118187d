"""What would help most: changes of settings, each tried by a replay."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motrail.config import RefineSettings
from motrail.evaluate.why.remedies import Change, Trial, candidates
from motrail.evaluate.why.trial import METRICS, try_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from motrail.config import TrackerSettings
    from motrail.dataset.footage import Progress
    from motrail.evaluate.events import Cause
    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.why.trial import Material, Outcome

MAX_TRIALS = 12
"""How often all sequences are replayed to find what helps."""

# A gain of HOTA in points that is worth a line.
_WORTH = 0.01


@dataclass(frozen=True, slots=True)
class Advice:
    """A change that was tried on all sequences.

    Attributes:
        changes: The settings changed; two where one makes no sense without the other, or where two
            changes were tried together.
        cause: What it is to mend; None for filling gaps and for two changes together.
        gain: HOTA, IDF1 and MOTA in points, combined over the sequences; below 0 for a loss.
        before: Events of that cause without it; all fragments where gaps are filled, all events
            for other two changes together.
        after: The same with it.
        text: The change in words.
    """

    changes: tuple[Change, ...]
    cause: Cause | None
    gain: Mapping[str, float]
    before: int
    after: int
    text: str

    @property
    def helps(self) -> bool:
        """Whether HOTA gains by more than a hundredth of a point."""
        return self.gain["HOTA"] > _WORTH

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "changes": [change._asdict() for change in self.changes],
            "cause": self.cause,
            "gain": dict(self.gain),
            "before": self.before,
            "after": self.after,
            "text": self.text,
        }


def advise(
    materials: Sequence[Material],
    settings: TrackerSettings,
    protocol: Protocol,
    base: Outcome,
    progress: Progress,
) -> tuple[list[Advice], list[Advice]]:
    """Try changes of settings that the causes suggest.

    Args:
        materials: The sequences.
        settings: As they were.
        protocol: Decides what counts.
        base: What they led to.
        progress: Told of each trial.

    Returns:
        What helps, the largest gain of HOTA first, the best value of each setting; and all else
        that was tried.
    """
    rates = {m.truth.name: settings.frame_rate or m.truth.frame_rate for m in materials}
    trials = _chosen(candidates(base.explained, settings, rates), MAX_TRIALS - 1)
    tried: list[Advice] = []
    for number, trial in enumerate(trials, start=1):
        tried.append(_try(trial, materials, settings, protocol, base))
        progress("trying settings", number, len(trials))
    tried.sort(key=lambda advice: -advice.gain["HOTA"])
    helpful: dict[tuple[str, ...], Advice] = {}
    for advice in tried:
        if advice.helps:
            helpful.setdefault(tuple(c.setting for c in advice.changes), advice)
    advised = list(helpful.values())
    together = _together(advised)
    if together is not None:
        both = _try(together, materials, settings, protocol, base)
        (advised if both.gain["HOTA"] > advised[0].gain["HOTA"] + _WORTH else tried).append(both)
    advised.sort(key=lambda advice: -advice.gain["HOTA"])
    return advised, [advice for advice in tried if advice not in advised]


def _chosen(candidates: Iterable[Trial], limit: int) -> list[Trial]:
    """The first ones that are not the same."""
    chosen: dict[tuple[Change, ...], Trial] = {}
    for trial in candidates:
        if trial.changes:
            chosen.setdefault(trial.changes, trial)
    return list(chosen.values())[:limit]


def _together(advised: Sequence[Advice]) -> Trial | None:
    """The two best changes that touch different settings."""
    for place, second in enumerate(advised[1:], start=1):
        for first in advised[:place]:
            touched = [change.setting for change in (*first.changes, *second.changes)]
            if len(set(touched)) == len(touched):
                return Trial(None, first.changes + second.changes, "both together")
    return None


def _try(
    trial: Trial,
    materials: Sequence[Material],
    settings: TrackerSettings,
    protocol: Protocol,
    base: Outcome,
) -> Advice:
    of_tracker: dict[str, Any] = {
        c.setting: c.advised for c in trial.changes if c.section == "tracker"
    }
    of_refine: dict[str, Any] = {
        c.setting: c.advised for c in trial.changes if c.section == "refine"
    }
    outcome = try_settings(
        materials,
        dataclasses.replace(settings, **of_tracker),
        protocol,
        RefineSettings(**of_refine) if of_refine else None,
    )
    if of_refine:
        before, after = base.fragments, outcome.fragments
    else:
        before, after = (
            sum(trial.cause in (None, e.event.cause) for e in o.explained) for o in (base, outcome)
        )
    gain = {name: outcome.metrics[name] - base.metrics[name] for name in METRICS}
    return Advice(trial.changes, trial.cause, gain, before, after, trial.text)
