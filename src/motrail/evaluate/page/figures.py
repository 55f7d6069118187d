"""The drawings of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.evaluate.hota import alphas
from motrail.report.blocks import Figure
from motrail.report.figures import FAINT, INK, LINE, MUTED, SERIES, plain, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from motrail.evaluate.page.parts import CauseTotal
    from motrail.evaluate.run import Score

_CURVES = ("HOTA", "DetA", "AssA", "LocA")
_STYLES = ("-", "--", "-.", ":")
_WIDTH, _HEIGHT = 6.4, 4.0
_MAX_LINES = 200
_MAX_BARS = 24
_MAX_CAUSES = 12
_TITLES = ("errors (left part: switches of identity)", "boxes missed")
_WIDE = 640
_LETTERS = 100  # that stand side by side below the bars


def over_thresholds(combined: Score) -> Figure:
    """HOTA and its parts at each localisation threshold."""
    arrays = combined.hota.arrays()

    def draw(canvas: Canvas) -> None:
        axes = _percent_axes(canvas)
        for name, color, style in zip(_CURVES, SERIES, _STYLES, strict=False):
            axes.plot(
                alphas(),
                100 * arrays[name],
                color=color,
                linestyle=style,
                linewidth=2.6 if name == "HOTA" else 1.6,
                label=name,
            )
        axes.legend(loc="lower left")

    return Figure(
        "HOTA and its parts, by how exact a box must be",
        svg(draw, width=_WIDTH, height=_HEIGHT, name="thresholds"),
        "To the right boxes must overlap the truth more to count. A curve that falls late means "
        "exact boxes; the height of AssA beside DetA says whether identities or detections cost "
        "more.",
    )


def sequences_over_thresholds(sequences: Mapping[str, Score], combined: Score) -> Figure:
    """HOTA of each sequence at each localisation threshold."""
    scores = [100 * score.hota.hota for score in sequences.values()]
    scores = sorted(scores, key=lambda values: float(values.mean()))[:_MAX_LINES]

    def draw(canvas: Canvas) -> None:
        axes = _percent_axes(canvas)
        for values in scores:
            axes.plot(alphas(), values, color=SERIES[5], linewidth=0.9, alpha=0.75)
        if len(scores) > 1:
            low, high = _names_of_extremes(sequences)
            for name, offset in ((low, -9), (high, 5)):
                values = 100 * sequences[name].hota.hota
                axes.annotate(
                    plain(name),
                    (alphas()[5], values[5]),
                    xytext=(0, offset),
                    textcoords="offset points",
                    color=MUTED,
                    size=10,
                )
        axes.plot(
            alphas(), 100 * combined.hota.hota, color=SERIES[0], linewidth=2.6, label="combined"
        )
        axes.plot([], [], color=SERIES[5], linewidth=0.9, label="a sequence")
        axes.legend(loc="lower left")

    some = f" Only the {_MAX_LINES} lowest are drawn." if len(sequences) > _MAX_LINES else ""
    return Figure(
        "HOTA of each sequence",
        svg(draw, width=_WIDTH, height=_HEIGHT, name="sequences"),
        "Lines far apart: the tracker is much better on some sequences than on others; the lowest "
        f"and the highest one are named.{some}",
    )


def bars(sequences: Mapping[str, Score]) -> Figure:
    """HOTA, DetA and AssA of each sequence side by side, the lowest HOTA first."""
    means = {
        name: [100 * float(score.hota.arrays()[metric].mean()) for metric in _CURVES[:3]]
        for name, score in sequences.items()
    }
    names = sorted(means, key=lambda name: means[name][0])[:_MAX_BARS]

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.grid(visible=False, axis="x")
        places = np.arange(len(names))
        for number, metric in enumerate(_CURVES[:3]):
            axes.bar(
                places + 0.27 * (number - 1),
                [means[name][number] for name in names],
                width=0.25,
                color=SERIES[number],
                label=metric,
            )
        axes.set_ylim(0, 100)
        middle, half = (len(names) - 1) / 2, max(len(names), 5) / 2
        axes.set_xlim(middle - half, middle + half)
        axes.set_ylabel("per cent")
        shown = [plain(name, 18) for name in names]
        turned = len(names) * max(map(len, shown), default=0) > _LETTERS
        axes.set_xticks(
            places,
            shown,
            rotation=35 if turned else 0,
            ha="right" if turned else "center",
            rotation_mode="anchor" if turned else "default",
        )
        axes.tick_params(axis="x", length=0)
        canvas.legend(loc="outside upper right", ncols=3)

    some = f" The {_MAX_BARS} lowest of {len(means):,}." if len(means) > _MAX_BARS else ""
    return Figure(
        "Detection and association, by sequence",
        svg(draw, width=2 * _WIDTH, height=_HEIGHT, name="bars"),
        "Low DetA: objects are missed, or found where there are none. Low AssA: objects are found "
        f"but do not keep their identity. Lowest HOTA first.{some}",
        least_width=_WIDE,
    )


def causes(totals: Sequence[CauseTotal]) -> Figure:
    """How many errors, and how many missed boxes, go back to each cause."""
    shown = list(totals)[:_MAX_CAUSES]

    def draw(canvas: Canvas) -> None:
        both = canvas.subplots(1, 2, sharey=True)
        for axes, what, title in zip(both, ("events", "boxes"), _TITLES, strict=True):
            _cause_bars(axes, [getattr(total, what) for total in shown], SERIES[0])
            axes.set_title(title, size=11, color=INK)
        switches = [total.switches for total in shown]
        both[0].barh(np.arange(len(shown)), switches, height=0.66, color=SERIES[1])
        both[0].set_yticks(np.arange(len(shown)), [plain(total.cause) for total in shown])
        both[0].invert_yaxis()

    return Figure(
        "Causes of the errors",
        svg(draw, width=2 * _WIDTH, height=1.0 + 0.32 * len(shown), name="causes"),
        "Left how often, right how many boxes of the truth were missed because of it. A switch of "
        "identity misses none, and yet costs the identity from there on.",
        least_width=_WIDE,
    )


def _cause_bars(axes: Axes, values: Sequence[int], color: str) -> None:
    axes.barh(np.arange(len(values)), values, height=0.66, color=color)
    top = max([1, *values])
    axes.set_xlim(0, 1.18 * top)
    axes.grid(visible=False)
    axes.tick_params(axis="x", labelbottom=False, length=0)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["bottom"].set_visible(False)
    for place, value in enumerate(values):
        axes.text(value + 0.015 * top, place, f"{value:,}", va="center", color=MUTED, size=10.5)


def _percent_axes(canvas: Canvas) -> Axes:
    axes = canvas.add_subplot()
    axes.set_xlim(0.05, 0.95)
    axes.set_ylim(0, 101)
    axes.set_xlabel("overlap (IoU) from which a box counts")
    axes.set_ylabel("per cent")
    axes.grid(color=FAINT)
    axes.spines["left"].set_color(LINE)
    return axes


def _names_of_extremes(sequences: Mapping[str, Score]) -> tuple[str, str]:
    ranked = sorted(sequences, key=lambda name: float(sequences[name].hota.hota.mean()))
    return ranked[0], ranked[-1]
