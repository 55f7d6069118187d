"""From what was found out about results to the page that shows it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from motrail.config import TrackerSettings
from motrail.dataset.footage import silent
from motrail.evaluate.events import ABOUT
from motrail.evaluate.page.parts import About, Advice, CauseTotal, Findings, Hint
from motrail.evaluate.page.scenes import Scenes
from motrail.evaluate.page.write import write_page
from motrail.evaluate.run import matched_sequences
from motrail.evaluate.why.find import find_events

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.evaluate.assess import Assessment, Question
    from motrail.evaluate.events import Event
    from motrail.evaluate.why.advice import Advice as Tried
    from motrail.evaluate.why.explain import Explanation


def write_assessment(
    path: Path, question: Question, found: Assessment, *, progress: Progress = silent
) -> None:
    """Write the page of an assessment.

    Args:
        path: The file; it is replaced if there is one.
        question: What was asked.
        found: The answer.
        progress: Told of each sequence.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    about = About(
        results=str(question.results),
        truth=str(question.truth),
        against=str(question.against) if question.against else "",
        settings=_settings(question),
    )
    write_page(
        path,
        found.evaluation,
        against=found.differences,
        intervals=found.intervals,
        explanation=_findings(found.explanation) if found.explanation else None,
        scenes=_scenes(question, found, progress),
        about=about,
    )


def _settings(question: Question) -> dict[str, str]:
    """What the errors were explained with: the detections, and settings other than the usual."""
    if question.detections is None or question.settings is None:
        return {}
    usual = dataclasses.asdict(TrackerSettings())
    chosen = dataclasses.asdict(question.settings)
    changed = {f"[tracker] {k}": str(v) for k, v in chosen.items() if v != usual[k]}
    return {"detections": str(question.detections), **changed}


def _scenes(question: Question, found: Assessment, progress: Progress) -> Scenes:
    explained: dict[str, list[Event]] = {}
    if found.explanation is not None:
        for event in found.explanation.events:
            explained.setdefault(event.sequence, []).append(event)
    protocol, scenes = question.protocol, Scenes()
    pairs = matched_sequences(question.results, question.truth, protocol, Counter())
    for number, (truth, results) in enumerate(pairs, start=1):
        if found.explanation is None:
            events = find_events(truth, results, protocol)
        else:
            events = explained.get(truth.name, [])
        scenes.take(truth, results, protocol.count(truth, results, truth.length), events)
        progress("collecting errors", number, None)
    return scenes


def _findings(explanation: Explanation) -> Findings:
    hints = [Hint(h.cause, h.events, h.boxes, _sentence(h.text)) for h in explanation.hints]
    note = ""
    agreement = explanation.agreement
    if agreement is not None and not agreement.differ:
        note = "Tracking the detections again gives the very same boxes."
    elif agreement is not None:
        note = (
            f"Tracking the detections again gives {agreement.differ:,} of {agreement.results:,} "
            "boxes otherwise than the results have them; causes are those of the rest."
        )
    return Findings(
        causes=[
            CauseTotal(c.cause, ABOUT[c.cause], c.events, c.boxes, c.switches)
            for c in explanation.causes
        ],
        advice=list(map(_advice, explanation.advice)),
        without_gain=list(map(_advice, explanation.tried)),
        hints=hints,
        note=note,
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _advice(tried: Tried) -> Advice:
    changes = tried.changes
    return Advice(
        setting=", ".join(f"[{change.section}] {change.setting}" for change in changes),
        now=", ".join(str(change.now) for change in changes),
        advised=", ".join(str(change.advised) for change in changes),
        gain=tried.gain,
        cause=tried.cause or "",
        text=_sentence(tried.text),
        before=tried.before,
        after=tried.after,
    )
