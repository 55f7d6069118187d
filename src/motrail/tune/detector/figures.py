"""The drawings of the page of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motrail.config import Range
from motrail.report.blocks import Figure
from motrail.report.figures import INK, MUTED, SERIES, plain, svg
from motrail.tune.detector.space import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from motrail.tune.detector.study import Trial
    from motrail.tune.detector.tuning import DetectorTuning

_WIDTH, _HEIGHT = 6.4, 3.6
_BASE, _FINISHED, _PRUNED = SERIES[1], SERIES[0], SERIES[5]
_MARGIN = 0.08
_FEW = 12
"""Epochs or trials that each get a tick."""


def history(tuning: DetectorTuning, goal: str) -> Figure:
    """The value of each trial, and the best so far."""
    known = [trial for trial in tuning.trials if trial.value is not None]
    finished = [trial for trial in known if trial.state == "finished"]

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        numbers: list[int] = []
        best: list[float] = []
        for trial in finished:
            numbers.append(trial.number)
            best.append(max([trial.value or 0.0, *best[-1:]]))
        if numbers:
            numbers.append(len(tuning.trials) - 1)
            best.append(best[-1])
        axes.step(numbers, best, where="post", color=MUTED, linewidth=1.2, label="best so far")
        _points(axes, known, [trial.number for trial in known])
        axes.set_xlabel("trial")
        axes.set_ylabel(f"{goal}, per cent")
        _whole_ticks(axes, [trial.number for trial in tuning.trials])
        canvas.legend(loc="outside upper right", ncols=4)

    return Figure(
        "Trial after trial",
        svg(draw, width=_WIDTH, height=_HEIGHT, name="history"),
        "The best epoch of each trial; of a pruned one, the best before it was stopped.",
    )


def curves(tuning: DetectorTuning, goal: str) -> Figure:
    """The value of each trial over its epochs."""
    best = tuning.best

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        labels = set[str]()
        for trial in tuning.trials:
            color, width, label = _PRUNED, 0.9, "another trial"
            if best is not None and trial.number == best.number:
                color, width, label = _FINISHED, 2.4, f"best (trial {trial.number})"
            elif trial.number == 0:
                color, width, label = _BASE, 2.0, "trial 0"
            axes.plot(
                list(trial.curve),
                list(trial.curve.values()),
                color=color,
                linewidth=width,
                linestyle="--" if trial.state == "pruned" else "-",
                marker="o",
                markersize=3,
                label="_" if label in labels else label,
                zorder=1 + width,
            )
            labels.add(label)
        epochs = sorted({epoch for trial in tuning.trials for epoch in trial.curve})
        _whole_ticks(axes, epochs)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{goal}, per cent")
        canvas.legend(loc="outside upper right", ncols=3)

    return Figure(
        "Epoch after epoch",
        svg(draw, width=_WIDTH, height=_HEIGHT, name="curves"),
        "A line for each trial; those that were pruned are broken and end early.",
    )


def scatter(tuning: DetectorTuning, key: str, goal: str) -> Figure:
    """The value of each trial against one setting."""
    known = [trial for trial in tuning.trials if trial.value is not None]
    values = tuning.space.ranges[key]

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        if isinstance(values, Range):
            if values.log:
                _logarithmic(axes)
            _points(axes, known, [float(trial.point[key]) for trial in known])
        else:
            names = [shown(value) for value in values.values]
            names += sorted({shown(trial.point[key]) for trial in known} - set(names))
            _points(axes, known, [names.index(shown(trial.point[key])) for trial in known])
            axes.set_xticks(range(len(names)), [plain(name) for name in names])
            axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_xlabel(plain(key))
        axes.set_ylabel(f"{goal}, per cent")

    return Figure(key, svg(draw, width=_WIDTH, height=0.8 * _HEIGHT, name=f"setting-{key}"))


def importances(tuning: DetectorTuning) -> Figure:
    """How much each setting has to do with whether a trial is good."""
    ranked = sorted(tuning.importances.items(), key=lambda item: item[1])

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        places = list(range(len(ranked)))
        axes.barh(places, [100 * share for _, share in ranked], height=0.66, color=_FINISHED)
        axes.set_yticks(places, [plain(name) for name, _ in ranked])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 100)
        axes.set_xlabel("per cent")

    return Figure(
        "Importance",
        svg(draw, width=_WIDTH, height=0.9 + 0.32 * len(ranked), name="importances"),
    )


def _points(axes: Axes, trials: list[Trial], places: list[Any]) -> None:
    """A point for each trial, by what became of it; trial 0 stands out."""
    kinds = {
        "trial 0": ([t.number == 0 for t in trials], _BASE, "D"),
        "finished": ([t.number > 0 and t.state == "finished" for t in trials], _FINISHED, "o"),
        "pruned": ([t.state == "pruned" for t in trials], _PRUNED, "x"),
    }
    for label, (chosen, color, marker) in kinds.items():
        if not any(chosen):
            continue
        axes.scatter(
            [place for place, wanted in zip(places, chosen, strict=True) if wanted],
            [t.value or 0.0 for t, wanted in zip(trials, chosen, strict=True) if wanted],
            color=color,
            marker=marker,
            s=34,
            label=label,
            zorder=3,
        )
    axes.margins(y=_MARGIN)


def _logarithmic(axes: Axes) -> None:
    """Equal ratios at equal distances, and ticks that can be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: shown(float(value))))
    axes.xaxis.set_minor_locator(NullLocator())


def _whole_ticks(axes: Axes, numbers: list[int]) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    if len(numbers) <= _FEW:
        axes.set_xticks(numbers)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=_FEW))
