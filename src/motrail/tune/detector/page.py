"""The page of a search: how it went, what was tried, and what the settings have to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import motrail
from motrail.report.blocks import Cell, Column, Heading, Note, Row, Table, Text, Tile, Tiles
from motrail.report.page import Page
from motrail.tune.detector import figures
from motrail.tune.detector.space import shown
from motrail.tune.detector.tuning import GOALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.report.blocks import Block, Tone
    from motrail.tune.detector.study import Trial
    from motrail.tune.detector.tuning import DetectorTuning

_EXTRA = "evaluate"
_IMPORTANCE = (
    "Importance: how far the values of the best quarter of the trials differ from those of all "
    "(PED-ANOVA). With few trials this is rough."
)
_TONES: dict[str, Tone] = {"failed": "bad", "pruned": "unsure"}


def make_page(tuning: DetectorTuning, verdict: str) -> Page:
    """The page of a search that is over.

    Args:
        tuning: What was found.
        verdict: What that is worth, in a sentence or two.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    goal = GOALS[tuning.goal]
    job = tuning.job
    page = Page(
        f"Tuning {job.model}",
        f"Settings of training, tried one after the other for the highest {goal}.",
        facts=[
            ("Dataset", str(job.dataset)),
            ("Model", job.model),
            ("Weights", "none" if job.weights is None else str(job.weights)),
            ("Classes", ", ".join(tuning.classes)),
            ("Epochs", str(job.settings.epochs)),
            ("Seed", str(job.settings.seed)),
        ],
        footer=[
            ("Made by", f"motrail {motrail.__version__}"),
            ("Goal", f"{goal} of the best epoch on the split val"),
            ("Pruning", "median rule" if tuning.options.pruning else "none"),
        ],
        extra=_EXTRA,
    )
    sure = tuning.unseen is not None and tuning.unseen.verdict in ("holds", "no change")
    page.add(
        Tiles(_tiles(tuning, goal)),
        Note(verdict, warning=not sure),
        *(Note(note, warning=True) for note in tuning.notes),
    )
    page.add(*_history(tuning, goal), *_settings(tuning, goal), *_trials(tuning, goal))
    return page


def _tiles(tuning: DetectorTuning, goal: str) -> list[Tile]:
    best, base, unseen = tuning.best, tuning.base, tuning.unseen
    states = [trial.state for trial in tuning.trials]
    tiles = [
        Tile(f"{goal} before", _percent(base.value), "the settings as they were, split val"),
        Tile(
            f"{goal} now",
            _percent(best.value if best else None),
            f"trial {best.number}, epoch {best.epoch}" if best else "",
        ),
    ]
    if unseen is not None and unseen.changed:
        error = "" if unseen.error is None else f"standard error {unseen.error:.2f}"
        tiles.append(
            Tile(f"{goal} on the split test", f"{unseen.gain:+.2f}", unseen.verdict, error)
        )
    tiles.append(
        Tile(
            "Trials",
            str(len(states)),
            f"{states.count('finished')} finished, {states.count('pruned')} pruned, "
            f"{states.count('failed')} failed",
        )
    )
    return tiles


def _history(tuning: DetectorTuning, goal: str) -> Iterator[Block]:
    yield Heading("How it went", "history", f"{goal} on the split val, in per cent.")
    yield Row([figures.history(tuning, goal), figures.curves(tuning, goal)])


def _settings(tuning: DetectorTuning, goal: str) -> Iterator[Block]:
    yield Heading(
        "What each setting has to do with it",
        "settings",
        "Other settings differ too from point to point: look for a slope, not for a point. What "
        "was pruned ended early and so stands low.",
    )
    drawn: list[Block] = [figures.scatter(tuning, key, goal) for key in tuning.space.ranges]
    if tuning.importances:
        drawn.append(figures.importances(tuning))
        drawn.append(Text(_IMPORTANCE))
    else:
        drawn.append(Text("Too few trials to say how much each setting has to do with it."))
    for place in range(0, len(drawn), 2):
        yield Row(drawn[place : place + 2])


def _trials(tuning: DetectorTuning, goal: str) -> Iterator[Block]:
    yield Heading("All trials", "trials", "Marked are settings that differ from those of trial 0.")
    columns = [
        Column("trial"),
        Column("state", numeric=False),
        Column(goal, f"best {goal} on the split val"),
        Column("epoch", "of the best validation"),
        *(Column(key) for key in tuning.space.ranges),
    ]
    yield Table("trials", columns, [list(_row(tuning, trial)) for trial in tuning.ranked()])
    failed = [trial for trial in tuning.trials if trial.state == "failed"]
    for trial in failed:
        yield Note(f"Trial {trial.number} failed: {trial.reason}")


def _row(tuning: DetectorTuning, trial: Trial) -> Iterator[Cell]:
    changed = tuning.changes(trial)
    best = tuning.best
    is_best = best is not None and trial.number == best.number
    yield Cell(f"{trial.number}{' (best)' if is_best else ''}", float(trial.number))
    yield Cell(trial.state, tone=_TONES.get(trial.state, ""))
    yield Cell(
        _percent(trial.value),
        trial.value,
        share=None if trial.value is None else trial.value / 100,
        tone="good" if is_best else "",
    )
    yield Cell(str(trial.epoch or "–"), float(trial.epoch))
    for key, value in trial.point.items():
        number = float(value) if isinstance(value, int | float) else None
        yield Cell(f"{shown(value)}{' *' if key in changed else ''}", number)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
