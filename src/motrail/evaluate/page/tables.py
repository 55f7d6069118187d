"""Tiles and tables of the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from motrail.report.blocks import Cell, Column, Table, Tile, Tiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motrail.evaluate.intervals import Difference
    from motrail.evaluate.page.parts import Advice, CauseTotal, Hint
    from motrail.evaluate.run import Score
    from motrail.report.blocks import Tone


class _Metric(NamedTuple):
    name: str
    key: str
    whole: bool
    meaning: str


METRICS = (
    _Metric("HOTA", "HOTA", False, "Detection and association in one figure."),
    _Metric("DetA", "DetA", False, "Are objects found, and nothing else?"),
    _Metric("AssA", "AssA", False, "Does an object keep its identity over its whole way?"),
    _Metric("LocA", "LocA", False, "How exactly boxes lie on the truth."),
    _Metric("IDF1", "IDF1", False, "Share of boxes with the right identity, over the whole video."),
    _Metric("MOTA", "MOTA", False, "100 less all missed, wrong and switched boxes; can be < 0."),
    _Metric("MOTP", "MOTP", False, "Mean overlap of the boxes that count as found."),
    _Metric("IDSW", "IDSW", True, "How often an object changed its identity."),
    _Metric("Frag", "Frag", True, "How often an object was lost and found again."),
    _Metric("FP", "CLR_FP", True, "Boxes found where there is no object."),
    _Metric("FN", "CLR_FN", True, "True boxes that were not found."),
    _Metric("MT", "MT", True, "Objects tracked in more than 80 % of their frames."),
    _Metric("PT", "PT", True, "Objects tracked in 20 % to 80 % of their frames."),
    _Metric("ML", "ML", True, "Objects tracked in less than 20 % of their frames."),
)
_TILES = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "IDSW")
_TONES: dict[str, tuple[str, Tone]] = {
    "better": ("▲ better", "good"),
    "worse": ("▼ worse", "bad"),
    "the same": ("= the same", "unsure"),
    "not known": ("? not known", "unsure"),
}


def tiles(combined: Score, intervals: Mapping[str, tuple[float, float]]) -> Tiles:
    """The figures everybody asks for."""
    values = combined.as_dict()
    shown = []
    for metric in METRICS:
        if metric.name not in _TILES:
            continue
        value = values[metric.key]
        interval = intervals.get(metric.name)
        shown.append(
            Tile(
                metric.name,
                number(value, count=metric.whole),
                metric.meaning,
                "" if interval is None else f"95 %: {span(*interval, count=metric.whole)}",
                None if metric.whole else value / 100,
            )
        )
    return Tiles(sorted(shown, key=lambda tile: _TILES.index(tile.name)))


def by_name(what: str, scores: Mapping[str, Score], combined: Score | None) -> Table:
    """Scores by sequence or by class, with the combined one at the end.

    Args:
        what: What the rows are: `sequence` or `class`.
        scores: By name.
        combined: Everything as one; None where there is only one.
    """
    columns = [Column(what, numeric=False)]
    columns += [Column(metric.name, metric.meaning) for metric in METRICS]
    values = {name: score.as_dict() for name, score in scores.items()}
    most = {
        metric.key: max((row[metric.key] for row in values.values()), default=0.0)
        for metric in METRICS
        if metric.whole
    }
    rows = [_row(name, row, most) for name, row in values.items()]
    foot = [] if combined is None else [_row("combined", combined.as_dict(), None)]
    return Table(f"Scores by {what}", columns, rows, foot)


def _row(name: str, values: Mapping[str, float], most: Mapping[str, float] | None) -> list[Cell]:
    """A row; with `most`, the largest count of each metric, its cells have bars."""
    cells = [Cell(name)]
    for metric in METRICS:
        value = values[metric.key]
        share = None
        if most is not None:
            share = value / max(1.0, most[metric.key]) if metric.whole else value / 100
        cells.append(Cell(number(value, count=metric.whole), _sortable(value), share))
    return cells


def verdicts(differences: Sequence[Difference]) -> Table:
    """Ours against theirs, metric by metric."""
    columns = [
        Column("metric", numeric=False),
        Column("verdict", "Only said if the whole 95 % interval says so.", numeric=False),
        Column("these results"),
        Column("compared with"),
        Column("difference"),
        Column("95 % interval", "Of the difference, had other such sequences been filmed."),
    ]
    rows = []
    for one in differences:
        count = one.metric == "IDSW"
        text, tone = _TONES.get(one.verdict, (one.verdict, ""))
        known = one.low is not None and one.high is not None
        rows.append(
            [
                Cell(one.metric),
                Cell(text, tone=tone),
                Cell(number(one.ours, count=count), _sortable(one.ours)),
                Cell(number(one.theirs, count=count), _sortable(one.theirs)),
                Cell(signed(one.difference, count=count), _sortable(one.difference)),
                Cell(
                    f"{signed(one.low or 0.0, count=count)} to "
                    f"{signed(one.high or 0.0, count=count)}"
                    if known
                    else "one sequence: none",
                    _sortable(one.low or 0.0) if known else None,
                ),
            ]
        )
    return Table("Comparison", columns, rows)


def advice(lines: Sequence[Advice], name: str) -> Table:
    """Changes that were tried, with what they gained."""
    metrics = list(dict.fromkeys(metric for line in lines for metric in line.gain))
    columns = [
        Column("setting", numeric=False, prose=True),
        Column("now", numeric=False),
        Column("advised" if name == "Advice" else "tried", numeric=False),
        *(Column(metric, "Points gained when it was tried.") for metric in metrics),
        Column("cause", "What it is a remedy for.", numeric=False),
        Column("errors", "Of that kind, as it is and with the change."),
        Column("in words", numeric=False, prose=True),
    ]
    rows = []
    for line in lines:
        gains = [_gain(line.gain.get(metric), metric) for metric in metrics]
        first = [Cell(line.setting or "no setting"), Cell(line.now), Cell(line.advised)]
        rows.append([*first, *gains, Cell(line.cause or "–"), _left(line), Cell(line.text)])
    return Table(name, columns, rows)


def hints(lines: Sequence[Hint]) -> Table:
    """What to do where no setting helps."""
    columns = [
        Column("cause", numeric=False),
        Column("errors"),
        Column("boxes missed"),
        Column("what to do", numeric=False, prose=True),
    ]
    rows = [
        [
            Cell(line.cause),
            Cell(f"{line.events:,}", line.events),
            Cell(f"{line.boxes:,}", line.boxes),
            Cell(line.text),
        ]
        for line in lines
    ]
    return Table("What no setting mends", columns, rows)


def cause_meanings(totals: Sequence[CauseTotal]) -> Table:
    """What each cause means, with its counts."""
    columns = [
        Column("cause", numeric=False),
        Column("errors"),
        Column("switches", "How many of the errors are switches of identity."),
        Column("boxes missed"),
        Column("meaning", numeric=False, prose=True),
    ]
    rows = [
        [
            Cell(total.cause),
            Cell(f"{total.events:,}", total.events),
            Cell(f"{total.switches:,}", total.switches),
            Cell(f"{total.boxes:,}", total.boxes),
            Cell(total.meaning),
        ]
        for total in totals
    ]
    return Table("Causes", columns, rows)


def _left(line: Advice) -> Cell:
    if line.before is None or line.after is None:
        return Cell("–")
    return Cell(f"{line.before:,} → {line.after:,}", line.after - line.before)


def _gain(value: float | None, metric: str) -> Cell:
    if value is None:
        return Cell("–")
    good = -value if metric == "IDSW" else value
    tone: Tone = "good" if good > 0.005 else "bad" if good < -0.005 else "unsure"
    return Cell(signed(value, count=metric == "IDSW"), _sortable(value), tone=tone)


def number(value: float, *, count: bool) -> str:
    """`67.95` or `1,234`; a dash for what is no number."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if count else f"{value:.2f}".replace("-", "−")


def signed(value: float, *, count: bool) -> str:
    """`+1.20`, `−3` or `0`."""
    text = f"{value:+,.0f}" if count else f"{value:+.2f}"
    if not text.strip("+-0.,"):
        return text.strip("+-")
    return text.replace("-", "−")


def span(low: float, high: float, *, count: bool) -> str:
    """`61.20 to 72.80`."""
    return f"{number(low, count=count)} to {number(high, count=count)}"


def _sortable(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
