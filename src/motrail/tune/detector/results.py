"""What a search leaves behind: settings to go on with, the record, and a page to look at."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import motrail
from motrail.config import TrainSettings
from motrail.errors import MissingExtraError
from motrail.outputs import WholeFile, writing
from motrail.tune.detector.page import make_page
from motrail.tune.detector.space import shown
from motrail.tune.detector.tuning import GOALS, MODEL, STUDY, folder_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from motrail.tune.detector.study import Trial
    from motrail.tune.detector.tuning import DetectorTuning

SETTINGS, RECORD, PAGE = "settings.toml", "tune.json", "tune.html"
_NOT_KEPT = ("device", "workers", "cache_gb", "checkpoint_minutes", "log_every")
"""Settings that are about the machine, or about what is said."""


def write_results(tuning: DetectorTuning) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Write `settings.toml`, `tune.json` and `tune.html`.

    Args:
        tuning: What was found by a search that is over.

    Returns:
        What was written, by what it is, the model too; and notes on what could not be.

    Raises:
        OutputError: A file cannot be written.
    """
    output = tuning.job.folder
    written = {
        "settings": output / SETTINGS,
        "record": output / RECORD,
        "page": output / PAGE,
        "model": output / MODEL,
    }
    _write(written["settings"], settings_toml(tuning))
    _write(written["record"], json.dumps(as_dict(tuning), indent=1, ensure_ascii=False) + "\n")
    notes: tuple[str, ...] = ()
    try:
        make_page(tuning, explain(tuning)).write(written["page"])
    except MissingExtraError as error:
        del written["page"]
        notes = (f"no {PAGE}: {error}",)
    return written, notes


def explain(tuning: DetectorTuning) -> str:
    """What the gain is, and of what, in a sentence or two."""
    best, goal = tuning.best, GOALS[tuning.goal]
    if best is None or tuning.gain is None:
        return "No trial was finished."
    if best.number == 0:
        return f"No other settings were better than those before ({goal} {best.value or 0:.2f})."
    gain = (
        f"{goal} on the split val goes from {tuning.base.value or 0:.2f} to {best.value or 0:.2f} "
        f"({tuning.gain:+.2f})"
    )
    if tuning.unseen is None:
        return (
            f"{gain}. That is flattering: the best of {len(tuning.trials)} trials was chosen by "
            "these very pictures. A split test would tell what it is worth on others."
        )
    return f"{gain}, which the best trial was chosen by. {tuning.unseen.explain()}"


def as_dict(tuning: DetectorTuning) -> dict[str, Any]:
    """Everything, for `tune.json` and `--json`."""
    job, best = tuning.job, tuning.best
    return {
        "version": motrail.__version__,
        "dataset": str(job.dataset),
        "model": job.model,
        "weights": None if job.weights is None else str(job.weights),
        "classes": list(tuning.classes),
        "goal": GOALS[tuning.goal],
        "options": dataclasses.asdict(tuning.options),
        "ranges": tuning.space.as_dict(),
        "stopped": tuning.stopped,
        "best": None if best is None else best.number,
        "gain": tuning.gain,
        "changes": {}
        if best is None
        else {key: {"from": old, "to": new} for key, (old, new) in tuning.changes(best).items()},
        "unseen": None if tuning.unseen is None else tuning.unseen.as_dict(),
        "verdict": explain(tuning),
        "importances": dict(tuning.importances),
        "notes": list(tuning.notes),
        "study": str(job.folder / STUDY),
        "trials": [_trial(tuning, trial) for trial in tuning.trials],
    }


def _trial(tuning: DetectorTuning, trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state,
        "value": trial.value,
        "epoch": trial.epoch,
        "settings": dict(trial.point),
        "curve": {str(epoch): value for epoch, value in trial.curve.items()},
        "figures": dict(trial.figures),
        "reason": trial.reason,
        "folder": str(folder_of(tuning.job.folder, trial)),
    }


def settings_toml(tuning: DetectorTuning) -> str:
    """The best settings as `motrail train --config` takes them, and what they are worth."""
    best = tuning.best or tuning.base
    changes = tuning.changes(best)
    lines = [
        f"# made by motrail {motrail.__version__}: motrail tune detector",
        f"# dataset: {_line(tuning.job.dataset)}",
        f"# model: {tuning.job.model}, {_weights(tuning)}",
        f"# trial {best.number} of {len(tuning.trials)}, its best epoch {best.epoch}",
        f"# {_line(explain(tuning))}",
        "",
        "[train]",
    ]
    for key, value in _to_write(tuning, best).items():
        was = f"  # was {shown(changes[key][0])}" if key in changes else ""
        lines.append(f"{key} = {_toml(value)}{was}")
    return "\n".join(lines) + "\n"


def _weights(tuning: DetectorTuning) -> str:
    weights = tuning.job.weights
    return "from nothing" if weights is None else f"from {_line(weights)}"


def _to_write(tuning: DetectorTuning, best: Trial) -> Mapping[str, Any]:
    """What was searched, and what else differs from the defaults, as the figures hang on that."""
    defaults = dataclasses.asdict(TrainSettings())
    return {
        key: value
        for key, value in dataclasses.asdict(tuning.settings(best)).items()
        if value is not None
        and key not in _NOT_KEPT
        and (value != defaults[key] or (key in tuning.space.ranges and best.number > 0))
    }


def _toml(value: Any) -> str:
    # Numbers, truth values, plain words and lists look in JSON as they do in TOML.
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _line(text: object) -> str:
    """Text that stays within its comment: TOML allows no control characters in there."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def _write(path: Path, text: str) -> None:
    # A name that is no proper text becomes an escape.
    with writing(path), WholeFile(path) as file:
        file.temporary.write_bytes(text.encode(errors="backslashreplace"))
