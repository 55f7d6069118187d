"""`motrail evaluate`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (cyclopts reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, print_json, print_notes, table
from motrail.cli.progress import steps_progress

if TYPE_CHECKING:
    from motrail.evaluate.run import Evaluation

_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")
_COUNTS = ("IDSW", "FP", "FN")


def evaluate_command(
    results: Path,
    *,
    truth: Annotated[Path, Parameter(name=("--truth", "-t"))],
    protocol: Literal["classes", "mot17"] = "classes",
    as_json: AsJson = False,
) -> int:
    """Score tracks against the truth: HOTA, MOTA, IDF1 and what they are made of.

    Figures are those of TrackEval, to the last digit. For example:

    - `motrail evaluate out/ --truth data/val`
    - `motrail evaluate out/match.txt --truth data --json`
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
    as_json
        Print all metrics as one JSON document, shares in per cent at full precision.
    """
    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.run import evaluate

    with steps_progress() as progress:
        evaluation = evaluate(results, truth, Protocol(protocol), progress=progress)
    if as_json:
        print_json(evaluation.as_dict())
        return 0
    _show(evaluation)
    print_notes(evaluation.notes)
    return 0


def _show(evaluation: Evaluation) -> None:
    rows: list[tuple[str | int, ...]] = [("sequence", *_COLUMNS, *_COUNTS)]
    named = [*evaluation.sequences.items(), ("combined", evaluation.combined)]
    if len(evaluation.classes) > 1:
        named += [(f"class {name}", score) for name, score in evaluation.classes.items()]
    for name, score in named:
        values = score.as_dict()
        counts = [int(values[key]) for key in ("IDSW", "CLR_FP", "CLR_FN")]
        rows.append((name, *(f"{values[key]:.2f}" for key in _COLUMNS), *counts))
    print(table(rows))
    print(f"protocol {evaluation.protocol.name}")
