"""`motrail evaluate`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_notes, table
from motrail.cli.progress import steps_progress
from motrail.cli.settings import flags_of, parse_map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motrail.evaluate.intervals import Difference, Interval
    from motrail.evaluate.run import Evaluation

TrackerFlags: Any = flags_of("tracker")

_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")
_COUNTS = ("IDSW", "FP", "FN")


def evaluate_command(
    results: Path,
    *,
    truth: Annotated[Path, Parameter(name=("--truth", "-t"))],
    protocol: Literal["classes", "mot17"] = "classes",
    map_: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = (),
    agnostic: Annotated[bool, Parameter(negative="")] = False,
    against: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Score tracks against the truth: HOTA, MOTA, IDF1 and what they are made of.

    Figures are those of TrackEval, to the last digit. Behind the combined score stands its 95 %
    interval: how far it could be off, had other videos of the same kind been labelled.

    For example:

    - `motrail evaluate out/ --truth data/val`
    - `motrail evaluate out/match.txt --truth data --json`
    - `motrail evaluate new/ --truth data/val --against old/`
    - `motrail evaluate results/ --truth MOT17/train --protocol mot17`

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
    as_json
        Print all metrics as one JSON document, shares in per cent at full precision.
    """
    from motrail.evaluate.intervals import compare, intervals
    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.run import evaluate

    chosen = Protocol(protocol, class_aware=not agnostic, names=parse_map(map_))
    with steps_progress() as progress:
        evaluation = evaluate(results, truth, chosen, progress=progress)
        other = None if against is None else evaluate(against, truth, chosen, progress=progress)
    sure = intervals(evaluation)
    differences = None if other is None else compare(evaluation, other)
    if as_json:
        document = evaluation.as_dict() | {"intervals": sure}
        if differences is not None:
            document["against"] = [difference.as_dict() for difference in differences]
        print_json(document)
        return 0
    _show(evaluation, sure)
    if differences is not None:
        _show_differences(differences)
    print_notes(evaluation.notes)
    return 0


def _show(evaluation: Evaluation, sure: Mapping[str, Interval]) -> None:
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
