"""`motrail tune tracker`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from motrail.cli.output import AsJson, Output, print_json, print_notes, print_rows, table
from motrail.cli.progress import steps_progress
from motrail.cli.settings import parse_map, resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from motrail.evaluate.protocol import Protocol
    from motrail.tune.tracker import Origin, TuneOptions, Tuning


def tracker_command(
    *,
    detections: Annotated[Path, Parameter(name=("--detections", "-d"))],
    truth: Annotated[Path, Parameter(name=("--truth", "-t"))],
    output: Output = Path("runs/tune"),
    goal: Literal["HOTA", "IDF1", "MOTA"] = "HOTA",
    trials: int = 100,
    refine: bool = False,
    folds: int = 4,
    hold_out: int | None = None,
    splits: str = "all",
    protocol: Literal["classes", "mot17"] = "classes",
    map_: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = (),
    agnostic: Annotated[bool, Parameter(negative="")] = False,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    bundle: Annotated[str | None, Parameter(name=("--bundle", "-m"))] = None,
    seed: int = 1,
    workers: int | None = None,
    as_json: AsJson = False,
) -> int:
    """Find the tracker settings that score best, and check that they do so elsewhere too.

    The detections are tracked again and again under other settings, each scored against the truth.
    A gain counts as far as it exceeds twice its standard error, so that chance does not win. The
    sequences are divided into folds: what is tuned on the others is tried on those held out, and
    you are told whether the gain holds there. Into the output folder come `settings.toml` for
    --config, and `tune.json` with every trial. A run that was interrupted goes on where it stopped
    when the same command is given again.

    For example:

    - `motrail tune tracker --detections det/ --truth data/val`
    - `motrail tune tracker --detections det/ --truth data --goal IDF1 --trials 300 -o runs/idf1`
    - `motrail track match.mp4 --model yolox-s --config runs/tune/settings.toml`

    Parameters
    ----------
    detections
        A folder of detections `<sequence>.txt` with the low scores, as motrail detect writes them,
        or one of them.
    truth
        A dataset, a split of one such as data/val, or labels in any format; pictures are not
        needed.
    output
        Folder for the results and for what is known of earlier trials.
    goal
        What is to be as high as possible: HOTA, IDF1 or MOTA of all sequences as one.
    trials
        How many settings are tried, and as many again for each fold.
    refine
        Search [refine] too: filling gaps, smoothing, dropping short tracks. Leave it off for live
        video, where nothing can be done afterwards.
    folds
        In how many parts the sequences are divided to check the gain; 0 does not check it.
    hold_out
        In place of folds, hold out so many sequences at a time.
    splits
        With --hold-out, in how many ways; all there are, or a number of them.
    protocol
        `classes` scores every class of the truth, and leaves out what is to be ignored; `mot17`
        scores pedestrians as MOT17 does, with its distractors neither right nor wrong.
    map_
        What a class of the detections is called in the truth, as in person=pedestrian; may be
        given several times.
    agnostic
        Score all classes as if they were one.
    config
        TOML file with the settings to start from and to compare with.
    bundle
        A model bundle whose own tracker settings are the ones to start from; a copy of it with the
        new ones is written to model.tar.gz.
    seed
        The same seed gives the same answer, on any number of cores.
    workers
        Processes that try settings. [default: one for each core]
    as_json
        Print everything as one JSON document.
    """
    from motrail.evaluate.protocol import Protocol
    from motrail.tune.results import as_dict
    from motrail.tune.tracker import Origin, TuneOptions
    from motrail.workers import cores

    scoring = Protocol(protocol, class_aware=not agnostic, names=parse_map(map_))
    options = TuneOptions(
        goal=goal,
        trials=trials,
        folds=folds,
        hold_out=hold_out,
        splits=_splits(splits, hold_out),
        seed=seed,
        refine=refine,
        workers=workers if workers is not None else cores(),
    )
    tuning, written = _tune(Origin(detections, truth), output, options, scoring, config, bundle)
    if as_json:
        print_json(as_dict(tuning))
    else:
        _show(tuning)
        print_rows([("written", path) for path in written.values()])
    print_notes(tuning.notes)
    if tuning.check.verdict != "holds":
        print(f"warning: {tuning.check.explain()}", file=sys.stderr)
    return 0


def _tune(
    origin: Origin,
    output: Path,
    options: TuneOptions,
    protocol: Protocol,
    config: Path | None,
    bundle: str | None,
) -> tuple[Tuning, dict[str, Path]]:
    from motrail.tune.results import check_bundle, write_results
    from motrail.tune.tracker import tune_tracker

    model = None
    if bundle is not None:
        from motrail.detect.detector import find_bundle

        model, _ = find_bundle(bundle)
        check_bundle(model, output)
    base = resolve_settings({}, config, model).settings
    with steps_progress() as progress:
        tuning = tune_tracker(
            *origin,
            output,
            base,
            options,
            protocol=protocol,
            progress=progress,
        )
    return tuning, write_results(tuning, output, model)


def _splits(text: str, hold_out: int | None) -> int | None:
    """None for all.

    Raises:
        ConfigError: It is neither a number nor `all`, or says nothing.
    """
    if text == "all":
        return None
    if hold_out is None:
        raise ConfigError("--splits: expected together with --hold-out, which says how many")
    if not text.isdecimal():
        raise ConfigError(f"--splits: expected a number or all, found {text!r}")
    return int(text)


def _show(tuning: Tuning) -> None:
    goal, check = tuning.options.goal, tuning.check
    base, best = tuning.base.score.as_dict(), tuning.best.score.as_dict()
    rows: list[tuple[Any, ...]] = [("tuned on all sequences", "before", "now", "change")]
    rows += [(m, *_change(base[m], best[m])) for m in ("HOTA", "IDF1", "MOTA")]
    switches = int(base["IDSW"]), int(best["IDSW"])
    rows.append(("IDSW", *map(str, switches), f"{switches[1] - switches[0]:+d}"))
    print(table(rows))
    if check.difference is not None:
        rows = [(f"{goal} when held out", "before", "now", "change")]
        rows += [(name, *_change(before, now)) for name, before, now in check.per_sequence()]
        found = check.difference
        rows.append(("combined", *_change(found.theirs, found.ours)))
        print(f"\n{table(rows)}")
        if tuning.options.hold_out is not None:
            gains = [held_out for _, held_out in check.gains()]
            better = sum(gain > 0 for gain in gains)
            print(
                f"{better} of {len(gains)} splits gain on what is held out, "
                f"{sum(gains) / len(gains):+.2f} on average"
            )
    changed = [
        (name, _value(old), _value(new), f"{100 * tuning.importances.get(name, 0):.0f} %")
        for name, (old, new) in tuning.changes.items()
    ]
    highest = tuning.highest
    if highest.value > tuning.best.value:
        print(
            f"\nthe highest {goal} tried is {highest.value:.2f}, a gain that differs too much from "
            "sequence to sequence to be sure of"
        )
    if changed:
        print(f"\n{table([('setting', 'before', 'now', 'importance'), *changed])}")
    else:
        print("\nno other settings were surely better than those before")
    print(f"\n{check.explain()}")


def _change(before: float, now: float) -> tuple[str, str, str]:
    return f"{before:.2f}", f"{now:.2f}", f"{now - before:+.2f}"


def _value(value: object) -> str:
    return "–" if value is None else str(value)
