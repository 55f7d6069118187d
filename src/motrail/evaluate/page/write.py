"""Write the page of an evaluation."""

from __future__ import annotations

import importlib.resources
from pathlib import PurePath
from typing import TYPE_CHECKING

from motrail.evaluate.page import figures, tables
from motrail.evaluate.page.parts import About
from motrail.evaluate.run import EVALUATOR
from motrail.report.blocks import Details, Heading, Note, Row, Subheading, Text, Widget
from motrail.report.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from motrail.evaluate.intervals import Difference
    from motrail.evaluate.page.parts import Findings
    from motrail.evaluate.page.scenes import Scenes
    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.run import Evaluation
    from motrail.report.blocks import Block

_SCRIPTS = ("data.js", "timeline.js", "picture.js", "events.js")
_MAX_NOTES = 20
_MAX_NAME = 80


def write_page(
    path: Path,
    evaluation: Evaluation,
    *,
    against: Sequence[Difference] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    explanation: Findings | None = None,
    scenes: Scenes | None = None,
    about: About | None = None,
) -> None:
    """Write one HTML file that shows how good results are, where they fail and what would help.

    It needs nothing else: it opens from disk, and from an attachment.

    Args:
        path: The file; it is replaced if there is one.
        evaluation: The scores.
        against: What a comparison with other results said, metric by metric.
        intervals: Lower and upper end of the 95 % interval of the combined metrics, in per cent.
        explanation: Why the tracker went wrong, and what would help.
        scenes: The errors and the frames around them.
        about: Where results and truth come from.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    make_page(
        evaluation,
        against=against,
        intervals=intervals,
        explanation=explanation,
        scenes=scenes,
        about=about,
    ).write(path)


def make_page(
    evaluation: Evaluation,
    *,
    against: Sequence[Difference] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    explanation: Findings | None = None,
    scenes: Scenes | None = None,
    about: About | None = None,
) -> Page:
    """The page of `write_page`, to be written or added to."""
    about = about or About()
    page = Page(
        _title(about),
        _subtitle(evaluation.protocol),
        facts=_facts(evaluation, scenes, about),
        footer=_footer(evaluation.protocol, about),
    )
    # The notes of pictures that cannot be read are known when the errors are in place.
    errors = [] if scenes is None else list(_errors(scenes))
    page.add(tables.tiles(evaluation.combined, intervals or {}))
    page.add(*_notes(evaluation, scenes))
    if against is not None:
        page.add(*_comparison(against))
    page.add(*_scores(evaluation))
    if explanation is not None:
        page.add(*_explanation(explanation))
    page.add(*errors)
    return page


def _title(about: About) -> str:
    name = PurePath(about.results).name
    if not name:
        return "Tracking quality"
    return f"Tracking quality of {name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + '…'}"


def _subtitle(protocol: Protocol) -> str:
    if protocol.name == "mot17":
        return (
            "Scored as MOT17 does: pedestrians only; finding a person on a vehicle, a static "
            "person, a distractor or a reflection is neither right nor wrong."
        )
    if protocol.class_aware:
        return (
            "Scored class by class: a box counts as found only by a box of the same class; what "
            "the labels mark to be ignored is neither right nor wrong."
        )
    return (
        "Scored as if all objects were of one class; what the labels mark to be ignored is "
        "neither right nor wrong."
    )


def _facts(evaluation: Evaluation, scenes: Scenes | None, about: About) -> list[tuple[str, str]]:
    combined = evaluation.combined.clear
    frames = sum(
        max((score.clear.frames for score in classes.values()), default=0)
        for classes in evaluation.parts.values()
    )
    named = [("Results", about.results), ("Truth", about.truth), ("Compared with", about.against)]
    facts = [(name, value) for name, value in named if value]
    facts += [
        ("Sequences", f"{len(evaluation.parts):,}"),
        ("Frames", f"{frames if scenes is None else scenes.frames:,}"),
        ("True boxes", f"{combined.tp + combined.fn:,}"),
        ("Boxes found", f"{combined.tp + combined.fp:,}"),
        ("True identities", f"{combined.mt + combined.pt + combined.ml:,}"),
        ("Classes", f"{len(evaluation.classes):,}"),
    ]
    return facts + ([("Date", about.date)] if about.date else [])


def _footer(protocol: Protocol, about: About) -> list[tuple[str, str]]:
    import motrail

    lines = [
        ("Made by", f"motrail {motrail.__version__}"),
        ("Evaluator", f"{EVALUATOR}, figures as TrackEval's"),
        ("Protocol", protocol.name),
    ]
    if protocol.name == "classes" and not protocol.class_aware:
        lines.append(("Classes", "not told apart"))
    if protocol.names:
        joined = ", ".join(f"{ours} = {theirs}" for ours, theirs in sorted(protocol.names.items()))
        lines.append(("Class names joined", joined))
    return lines + list(about.settings.items())


def _notes(evaluation: Evaluation, scenes: Scenes | None) -> Iterator[Block]:
    notes = evaluation.notes + (scenes.notes if scenes is not None else type(evaluation.notes)())
    lines = [text if times == 1 else f"{text} ({times:,} times)" for text, times in notes.items()]
    for line in lines[:_MAX_NOTES]:
        yield Note(line, warning=True)
    if len(lines) > _MAX_NOTES:
        rest = lines[_MAX_NOTES:]
        yield Details(f"{len(rest):,} more notes", [Note(line, warning=True) for line in rest])


def _comparison(differences: Sequence[Difference]) -> Iterator[Block]:
    yield Heading(
        "Better or worse",
        "comparison",
        "Both were scored on the same sequences. A difference counts as better or worse only if "
        "it would most likely have the same sign on other such sequences; else it is not known.",
    )
    yield tables.verdicts(differences)


def _scores(evaluation: Evaluation) -> Iterator[Block]:
    sequences, combined = evaluation.sequences, evaluation.combined
    yield Heading(
        "Scores by sequence",
        "sequences",
        "In per cent, but for the counts on the right. Click a heading to sort, point at it to "
        "read what it means.",
    )
    yield tables.by_name("sequence", sequences, combined if len(sequences) > 1 else None)
    if len(evaluation.classes) > 1:
        yield Heading("Scores by class", "classes")
        yield tables.by_name("class", evaluation.classes, combined)
    yield Heading("Detection or association?", "curves")
    drawn = [figures.over_thresholds(combined)]
    if len(sequences) > 1:
        drawn.append(figures.sequences_over_thresholds(sequences, combined))
    yield Row(drawn)
    yield figures.bars(sequences)


def _explanation(findings: Findings) -> Iterator[Block]:
    yield Heading(
        "What would help most",
        "advice",
        "Each change was tried on these very detections; the gain is what was measured, in points.",
    )
    if findings.note:
        yield Note(findings.note)
    if findings.advice:
        yield tables.advice(findings.advice, "Advice")
    else:
        yield Text("No change of a setting was found that helps.")
    if findings.without_gain:
        yield Details(
            f"{len(findings.without_gain)} tried without gain",
            [tables.advice(findings.without_gain, "Tried without gain")],
        )
    if findings.hints:
        yield Subheading("What no setting of the tracker mends")
        yield tables.hints(findings.hints)
    if findings.causes:
        yield Heading("Why it went wrong", "causes")
        yield figures.causes(findings.causes)
        yield Details("What the causes mean", [tables.cause_meanings(findings.causes)])


def _errors(scenes: Scenes) -> Iterator[Block]:
    yield Heading(
        "Every error, and where",
        "errors",
        "A switch: an object goes on under another identity. A fragment: it is lost, and found "
        "again later. Missed: it is not yet found, not found any more, or never.",
    )
    if not scenes.events:
        yield Text("There are none: every object was found in every frame and kept its identity.")
        if scenes.false_positives:
            yield Text(f"Boxes found where there is no object: {scenes.false_positives:,}.")
        return
    files = importlib.resources.files("motrail.evaluate.page") / "templates"

    def read(name: str) -> str:
        return (files / name).read_text(encoding="utf-8")

    inner = "\n".join(read(name) for name in _SCRIPTS)
    yield Widget(
        "errors",
        read("errors.html"),
        scenes.data(),
        script=f'"use strict";\n(() => {{\n{inner}}})();\n',
        style=read("errors.css"),
    )
