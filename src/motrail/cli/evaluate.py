"""`motrail evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_notes, table
from motrail.cli.progress import steps_progress
from motrail.cli.settings import flags_of, parse_map, resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motrail.evaluate.assess import Assessment
    from motrail.evaluate.average_precision import AveragePrecision
    from motrail.evaluate.intervals import Difference, Interval
    from motrail.evaluate.run import Evaluation
    from motrail.evaluate.why.advice import Advice
    from motrail.evaluate.why.explain import Explanation

TrackerFlags: Any = flags_of("tracker")

_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")
_COUNTS = ("IDSW", "FP", "FN")
_PAGES = frozenset({".html", ".htm"})
_MOST = 8


def evaluate_command(
    results: Path,
    *,
    truth: Annotated[Path, Parameter(name=("--truth", "-t"))],
    protocol: Literal["classes", "mot17"] = "classes",
    map_: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = (),
    agnostic: Annotated[bool, Parameter(negative="")] = False,
    against: Path | None = None,
    detections: Annotated[Path | None, Parameter(name=("--detections", "-d"))] = None,
    ap: Annotated[bool, Parameter(name="--ap", negative="")] = False,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: AsJson = False,
    tracker: TrackerFlags = None,
) -> int:
    """Score tracks against the truth, say how sure that is, and why the tracker went wrong.

    Figures are those of TrackEval, to the last digit. Behind the combined score stands its 95 %
    interval: how far it could be off, had other videos of the same kind been labelled. With the
    detections that the tracks were made from, every error gets its cause, and changes of settings
    that could help are tried; tell the settings that made the tracks, if they were not the usual
    ones, as `motrail track` takes them.

    For example:

    - `motrail evaluate out/ --truth data/val`
    - `motrail evaluate out/ --truth data/val -o report.html`
    - `motrail evaluate out/ --truth data/val --detections detections/ --config tuned.toml`
    - `motrail evaluate new/ --truth data/val --against old/`
    - `motrail evaluate results/ --truth MOT17/train --protocol mot17 --json`

    Parameters
    ----------
    results
        A folder of track files `<sequence>.txt`, or one of them.
    truth
        A dataset, a split of one such as data/val, or labels in any format; pictures are not
        needed.
    protocol
        `classes` scores every class of the truth, and leaves out what is to be ignored; `mot17`
        scores pedestrians as MOT17 does, with its distractors neither right nor wrong.
    map_
        What a class of the results is called in the truth, as in person=pedestrian; may be given
        several times.
    agnostic
        Score all classes as if they were one.
    against
        Other results of the same sequences: says of each figure whether it is better, worse, or
        not known.
    detections
        The detections that the tracks were made from, as `motrail detect` writes them.
    ap
        Score the detections, too: average precision, by pycocotools.
    output
        Write a page to look at, such as report.html: one file that needs nothing else.
    config
        TOML file with the section [tracker] that made the tracks; flags win over it.
    as_json
        Print all metrics as one JSON document, shares in per cent at full precision.
    """
    from motrail.evaluate.assess import Question, assess
    from motrail.evaluate.protocol import Protocol

    if output is not None and output.suffix.lower() not in _PAGES:
        raise ConfigError(f"--output {output}: expected the name of a page, such as report.html")
    settings = resolve_settings({"tracker": tracker}, config).settings.tracker
    question = Question(
        results,
        truth,
        Protocol(protocol, class_aware=not agnostic, names=parse_map(map_)),
        against=against,
        detections=detections,
        settings=settings,
        precision=ap,
    )
    with steps_progress() as progress:
        found = assess(question, progress=progress)
        if output is not None:
            from motrail.evaluate.page.make import write_assessment

            write_assessment(output, question, found, progress=progress)
    if as_json:
        print_json(found.as_dict())
        return 0
    _show(found)
    if output is not None:
        print(f"\nwritten {output}")
    return 0


def _show(found: Assessment) -> None:
    _show_scores(found.evaluation, found.intervals)
    if found.differences is not None:
        _show_differences(found.differences)
    if found.precision is not None:
        _show_precision(found.precision)
    if found.explanation is not None:
        _show_explanation(found.explanation)
    print_notes(found.evaluation.notes)


def _show_scores(evaluation: Evaluation, sure: Mapping[str, Interval]) -> None:
    rows: list[tuple[str | int, ...]] = [("sequence", *_COLUMNS, *_COUNTS)]
    named = [*evaluation.sequences.items(), ("combined", evaluation.combined)]
    if len(evaluation.classes) > 1:
        named += [(f"class {name}", score) for name, score in evaluation.classes.items()]
    for name, score in named:
        values = score.as_dict()
        counts = [int(values[key]) for key in ("IDSW", "CLR_FP", "CLR_FN")]
        rows.append((name, *(f"{values[key]:.2f}" for key in _COLUMNS), *counts))
        if name == "combined" and sure:
            rows += [
                (f"95 % {end}", *(f"{sure[key][place]:.2f}" for key in _COLUMNS), "", "", "")
                for place, end in enumerate(("from", "to"))
            ]
    print(table(rows))
    mixed = "" if evaluation.protocol.class_aware else ", all classes as one"
    print(f"protocol {evaluation.protocol.name}{mixed}")


def _show_differences(differences: Sequence[Difference]) -> None:
    rows: list[tuple[str, ...]] = [("against", "this", "other", "difference", "95 %", "")]
    for found in differences:
        places = 0 if found.metric == "IDSW" else 2
        span = ""
        if found.low is not None and found.high is not None:
            span = f"{found.low:+.{places}f} to {found.high:+.{places}f}"
        rows.append(
            (
                found.metric,
                f"{found.ours:.{places}f}",
                f"{found.theirs:.{places}f}",
                f"{found.difference:+.{places}f}",
                span,
                found.verdict,
            )
        )
    print()
    print(table(rows))


def _show_precision(precision: AveragePrecision) -> None:
    names = ("AP", "AP50", "AP75")
    rows: list[tuple[str, ...]] = [("detections", *names)]
    named = [*precision.classes.items(), ("all classes", precision.combined)]
    rows += [(name, *(f"{values[key]:.1f}" for key in names)) for name, values in named[-_MOST:]]
    print()
    print(table(rows))


def _show_explanation(explanation: Explanation) -> None:
    from motrail.evaluate.events import ABOUT

    rows: list[tuple[str | int, ...]] = [("cause", "events", "switches", "missed", "meaning")]
    rows += [(c.cause, c.events, c.switches, c.boxes, ABOUT[c.cause]) for c in explanation.causes]
    print()
    print(table(rows))
    print()
    if explanation.advice:
        print("what would help most, tried on these sequences:")
        for advice in explanation.advice[:_MOST]:
            print(f"  {_gain(advice)}  {advice.text}: {_changes(advice)}")
    else:
        print("no change of settings that was tried would help")
    for hint in explanation.hints:
        print(f"{hint.cause}: {hint.text}")
    agreement = explanation.agreement
    if agreement is not None and agreement.differ:
        print(
            f"note: tracking the detections again gives {agreement.differ} boxes of "
            f"{agreement.results} otherwise; were they tracked with other settings?",
            file=sys.stderr,
        )


def _gain(advice: Advice) -> str:
    return ", ".join(f"{metric} {points:+.2f}" for metric, points in advice.gain.items())


def _changes(advice: Advice) -> str:
    return ", ".join(str(change) for change in advice.changes)
