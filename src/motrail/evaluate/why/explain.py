"""Explain what a tracker did wrong: events, their causes, and what would help most."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from motrail.dataset.footage import silent
from motrail.errors import DataError
from motrail.evaluate.events import ABOUT
from motrail.evaluate.protocol import some
from motrail.evaluate.why.advice import advise
from motrail.evaluate.why.motion import Motion
from motrail.evaluate.why.trial import Material, explain_given, try_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from motrail.config import TrackerSettings
    from motrail.dataset.footage import Progress
    from motrail.evaluate.events import Cause, Event
    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.why.advice import Advice
    from motrail.evaluate.why.replayed import Agreement
    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile

OUTSIDE: dict[Cause, str] = {
    "never detected": "no setting of the tracker finds what was not detected: label frames like "
    "these and train the detector on them; if the detections were cut at a score, keep lower ones",
    "merged": "train the detector on frames where objects hide each other, or try a higher "
    "nms_threshold of it, which also leaves more boxes of one object",
    "wrong class": "train the detector on more of the classes that it takes for each other",
    "confirmed late": "a track is given out from its second detection on: each new one costs a "
    "frame, and single false detections give no tracks",
    "box off": "the detector's boxes and the true ones differ too much: see how tightly the "
    "objects are labelled, or train the detector on more of them",
    "doubled": "two tracks took turns, often because the detector gives an object two boxes: a "
    "lower nms_threshold of it leaves one of them",
    "label fault": "look at these frames and mend the labels",
}
"""What to do about causes that no setting of the tracker mends."""


class CauseCount(NamedTuple):
    """How often a cause was found.

    Attributes:
        cause: Why.
        events: How many events.
        switches: How many of them are switches of identity.
        boxes: True boxes missed by it.
    """

    cause: Cause
    events: int
    switches: int
    boxes: int


class Hint(NamedTuple):
    """What to do about a cause that no setting of the tracker mends."""

    cause: Cause
    events: int
    boxes: int
    text: str


@dataclass(frozen=True)
class Explanation:
    """What went wrong and why.

    Attributes:
        events: Sequence by sequence and class by class, in the order of frames; each has a cause.
        agreement: How far a replay of the detections gives the results; None where no results were
            given, and the events are those of the replay.
        metrics: HOTA, IDF1 and MOTA of the replay, in per cent.
        causes: What was found, the most boxes and switches first.
        advice: Changes of settings that help, the best first; each was tried.
        tried: Changes that do not help, or less than another value of the same setting.
        hints: What to do about causes that no setting of the tracker mends.
    """

    events: Sequence[Event]
    agreement: Agreement | None
    metrics: Mapping[str, float]
    causes: Sequence[CauseCount]
    advice: Sequence[Advice] = field(default_factory=list)
    tried: Sequence[Advice] = field(default_factory=list)
    hints: Sequence[Hint] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "events": [event.as_dict() for event in self.events],
            "agreement": self.agreement.as_dict() if self.agreement else None,
            "metrics": dict(self.metrics),
            "causes": [count._asdict() | {"about": ABOUT[count.cause]} for count in self.causes],
            "advice": [advice.as_dict() for advice in self.advice],
            "tried": [advice.as_dict() for advice in self.tried],
            "hints": [hint._asdict() for hint in self.hints],
        }


def explain(
    sequences: Iterable[tuple[Labels, Labels | None]],
    detections: Mapping[str, DetectionFile],
    settings: TrackerSettings,
    protocol: Protocol,
    *,
    progress: Progress = silent,
) -> Explanation:
    """Find what went wrong, why, and what would help most.

    The detections are tracked again under the same settings, which tells what the tracker had to
    work with in each frame; the causes are those of `motrail.evaluate.why.causes`. Changes of
    settings that the causes suggest are then tried on all sequences, up to 12 of them, and scored.
    What they gain is gained on these sequences; others may differ.

    Args:
        sequences: Truth and results of each; where the results are None, those of the replay are
            explained.
        detections: Of each sequence, by name, with the low scores.
        settings: Those that made the results.
        protocol: Decides what counts; joins the classes of truth and detections by name.
        progress: Told of each trial.

    Raises:
        DataError: There are no true boxes; a sequence has no detections, or those of other frames
            or classes; or the results were not made from these detections with these settings.
        ConfigError: Settings contradict each other, or `lost_seconds` without a frame rate.
    """
    materials = [_material(truth, results, detections, protocol) for truth, results in sequences]
    if not any(len(material.truth) for material in materials):
        raise DataError("expected labels to explain results by, found none")
    base = try_settings(materials, settings, protocol)
    explained, agreement = base.explained, None
    if any(material.results is not None for material in materials):
        explained, agreement = explain_given(materials, settings, protocol)
    events = [item.event for item in explained]
    causes = count_causes(events)
    advised, tried = advise(materials, settings, protocol, base, progress)
    hints = [
        Hint(c.cause, c.events, c.boxes, OUTSIDE[c.cause]) for c in causes if c.cause in OUTSIDE
    ]
    return Explanation(events, agreement, base.metrics, causes, advised, tried, hints)


def count_causes(events: Iterable[Event]) -> list[CauseCount]:
    """Events and boxes of each cause, those that cost most first."""
    found, switches, boxes = Counter[str](), Counter[str](), Counter[str]()
    for event in events:
        if event.cause is not None:
            found[event.cause] += 1
            switches[event.cause] += event.kind == "switch"
            boxes[event.cause] += event.boxes
    counts = [CauseCount(c, found[c], switches[c], boxes[c]) for c in ABOUT if found[c]]
    return sorted(counts, key=lambda c: -(c.boxes + c.switches))


def _material(
    truth: Labels,
    results: Labels | None,
    detections: Mapping[str, DetectionFile],
    protocol: Protocol,
) -> Material:
    file = detections.get(truth.name)
    if file is None:
        raise DataError(
            f"{truth.name}: expected detections of this sequence, found those of "
            f"{some(sorted(detections))}"
        )
    used = [file.classes[number] for number in np.unique(file.detections.class_ids).tolist()]
    protocol.check(truth.classes, used)
    return Material(truth, results, file, Motion(truth))
