"""The drawings of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.analyze.calibration import apply
from motrail.report.blocks import Figure
from motrail.report.figures import INK, LINE, MUTED, SERIES, plain, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from numpy.typing import NDArray

    from motrail.analyze.run import Analysis

_EXTRA = "analyze"
_WIDTH = 6.4
_CURVES = 6
_BARS = 20
_GROUPS = 5


class Trace(NamedTuple):
    """The path of one object, thinned out; a row for each point kept, NaN between its pieces."""

    id: int
    group: str
    distance: float
    times: NDArray[np.float64]
    pixels: NDArray[np.float64]
    xy: NDArray[np.float64]
    speed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def colors_of(groups: Sequence[str]) -> dict[str, str]:
    """A colour for each group; those beyond the fifth share one."""
    return {group: SERIES[min(number, _GROUPS)] for number, group in enumerate(groups)}


def top_down(found: Analysis, traces: Sequence[Trace], colors: dict[str, str]) -> Figure:
    """Paths and places on the ground, seen from above."""
    calibration = found.question.calibration
    unit = found.question.unit
    heat = found.heat
    spans = np.subtract(heat.high, heat.low)
    height = float(np.clip(_WIDTH * spans[1] / max(spans[0], 1e-9), 2.2, 7.5)) + 0.7

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for trace in traces:
            axes.plot(*trace.xy.T, color=colors[trace.group], linewidth=1.0, alpha=0.75)
        for zone in found.question.places.zones:
            ends = zone.polygon if calibration is None else apply(calibration.matrix, zone.polygon)
            _outline(axes, np.vstack([ends, ends[:1]]), zone.name)
        for line in found.question.places.lines:
            ends = line.ends if calibration is None else apply(calibration.matrix, line.ends)
            _outline(axes, ends, line.name, dashed=True)
        if calibration is not None:
            axes.plot(*calibration.ground.T, "x", color=MUTED, markersize=6, label="known points")
        _legend(canvas, axes, traces, colors)
        axes.set_xlim(heat.low[0], heat.high[0])
        axes.set_ylim(heat.low[1], heat.high[1])
        if calibration is None or _mirrored(found):
            axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_xlabel(f"x, {unit}")
        axes.set_ylabel(f"y, {unit}")

    what = "the ground from above" if calibration is not None else "the picture"
    return Figure(
        f"Paths, {what}",
        svg(draw, width=_WIDTH, height=height, name="paths", extra=_EXTRA),
        "A line for each object, smoothed; broken where it was not seen for too long.",
    )


def _mirrored(found: Analysis) -> bool:
    """Whether the axes of the ground turn the other way round than on paper."""
    calibration = found.question.calibration
    assert calibration is not None  # noqa: S101
    # Pixels go down; a map that keeps their sense of turning is seen right with y going down, too.
    return bool(np.linalg.det(calibration.matrix) > 0)


def heat_map(found: Analysis) -> Figure:
    """How long there was somebody where."""
    heat, unit = found.heat, found.question.unit
    spans = np.subtract(heat.high, heat.low)
    height = float(np.clip(_WIDTH * spans[1] / max(spans[0], 1e-9), 2.2, 7.5)) + 0.7

    def draw(canvas: Canvas) -> None:
        from scipy.ndimage import gaussian_filter

        axes = canvas.add_subplot()
        axes.grid(visible=False)
        smooth = gaussian_filter(heat.seconds, 1.2)
        seen = np.ma.masked_less_equal(smooth, 0.01 * max(float(smooth.max()), 1e-12))
        extent = (heat.low[0], heat.high[0], heat.low[1], heat.high[1])
        image = axes.imshow(
            seen, origin="lower", extent=extent, cmap="viridis", interpolation="nearest"
        )
        if found.question.calibration is None or _mirrored(found):
            axes.invert_yaxis()
        bar = canvas.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=30)
        bar.set_label("seconds in a cell")
        axes.set_xlabel(f"x, {unit}")
        axes.set_ylabel(f"y, {unit}")

    return Figure(
        "Heat map",
        svg(draw, width=_WIDTH, height=height, name="heat", extra=_EXTRA),
        "Where objects were, and how long, all of them together. Lighter is longer.",
    )


def on_picture(
    found: Analysis,
    traces: Sequence[Trace],
    colors: dict[str, str],
    picture: NDArray[np.uint8],
) -> Figure:
    """Paths, zones and lines on a frame of the footage."""
    height, width = picture.shape[:2]
    # As sharp as it must be; the page carries it.
    step = max(1, round(width / 640))
    small = picture[::step, ::step, ::-1]

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.imshow(small, extent=(0, width, height, 0), interpolation="nearest")
        for trace in traces:
            axes.plot(*trace.pixels.T, color=colors[trace.group], linewidth=1.1, alpha=0.9)
        for zone in found.question.places.zones:
            _outline(axes, np.vstack([zone.polygon, zone.polygon[:1]]), zone.name, on_picture=True)
        for line in found.question.places.lines:
            _outline(axes, line.ends, line.name, dashed=True, on_picture=True)
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")

    return Figure(
        "In the picture",
        svg(draw, width=_WIDTH, height=_WIDTH * height / width, name="picture", extra=_EXTRA),
        "The same paths where the camera sees them, with zones and lines (dashed).",
    )


def speeds(found: Analysis, traces: Sequence[Trace], colors: dict[str, str]) -> Figure:
    """Speed over time with its interval, of those who went farthest."""
    chosen = [trace for trace in traces if np.isfinite(trace.speed).any()][:_CURVES]
    unit = found.question.unit

    def draw(canvas: Canvas) -> None:
        all_axes = canvas.subplots(len(chosen), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, trace in zip(all_axes, chosen, strict=True):
            color = colors[trace.group]
            axes.fill_between(
                trace.times, trace.low, trace.high, color=color, alpha=0.22, linewidth=0
            )
            axes.plot(trace.times, trace.speed, color=color, linewidth=1.3)
            axes.set_title(plain(f"{trace.id} · {trace.group}"), size=10, color=INK, loc="left")
            axes.set_ylim(bottom=0)
        top = max(float(np.nanmax(trace.speed)) for trace in chosen)
        all_axes[0].set_ylim(0, 1.25 * max(top, 1e-6))
        all_axes[-1].set_xlabel("seconds")
        canvas.supylabel(f"{unit}/s", color=MUTED, size=11)

    return Figure(
        "Speed, of those who went farthest",
        svg(draw, width=_WIDTH, height=0.6 + 1.15 * len(chosen), name="speeds", extra=_EXTRA),
        "The line is the speed, the band its 95 % interval.",
    )


def distances(found: Analysis, colors: dict[str, str]) -> Figure:
    """Who went how far."""
    objects, question = found.objects, found.question
    order = np.argsort(-objects.distance, kind="stable")[:_BARS]
    groups = [
        question.group_name(int(objects.ids[place]), int(objects.class_ids[place]))
        for place in order
    ]

    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.grid(visible=False, axis="y")
        places = np.arange(len(order))
        axes.barh(places, objects.distance[order], color=[colors[group] for group in groups])
        axes.set_yticks(places, [str(objects.ids[place]) for place in order])
        axes.invert_yaxis()
        axes.set_xlabel(question.unit)
        axes.set_ylabel("id")

    return Figure(
        "Distance",
        svg(draw, width=_WIDTH, height=1.0 + 0.24 * len(order), name="distances", extra=_EXTRA),
        "Standing still counts as nothing, however much the box trembles."
        + (f" The {_BARS} who went farthest." if len(objects) > _BARS else ""),
    )


def occupancy(found: Analysis, colors: dict[str, str]) -> Figure:
    """How many are where, over time."""
    zones = {zone: groups for zone, groups in found.occupancy.items() if groups}

    def draw(canvas: Canvas) -> None:
        all_axes = canvas.subplots(len(zones), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (zone, groups) in zip(all_axes, zones.items(), strict=True):
            for group, values in groups.items():
                edges = np.arange(len(values) + 1) * found.bin_seconds
                axes.stairs(values, edges, color=colors[group], linewidth=1.5)
            axes.set_title(plain(zone), size=10, color=INK, loc="left")
            axes.set_ylim(bottom=0)
        all_axes[-1].set_xlabel("seconds")
        canvas.supylabel("objects", color=MUTED, size=11)
        _group_legend(canvas, list(colors), colors)

    return Figure(
        "How many, over time",
        svg(draw, width=_WIDTH, height=0.9 + 1.2 * len(zones), name="occupancy", extra=_EXTRA),
        f"On average over {found.bin_seconds:g} s.",
    )


def crossings(found: Analysis) -> Figure:
    """How often each line was crossed, over time."""
    lines = found.question.places.lines

    def draw(canvas: Canvas) -> None:
        all_axes = canvas.subplots(len(lines), 1, sharex=True, squeeze=False)[:, 0]
        for axes, line in zip(all_axes, lines, strict=True):
            for direction, color, style in (("in", SERIES[0], "-"), ("out", SERIES[1], "--")):
                times = [r[3] for r in found.crossings if r[0] == line.name and r[2] == direction]
                axes.step(
                    [0, *times, found.duration],
                    [*range(len(times) + 1), len(times)],
                    where="post",
                    color=color,
                    linestyle=style,
                    label=f"{direction}: {len(times)}",
                )
            axes.legend(loc="upper left")
            axes.set_title(plain(line.name), size=10, color=INK, loc="left")
        all_axes[-1].set_xlabel("seconds")

    return Figure(
        "Crossings, summed up",
        svg(draw, width=_WIDTH, height=0.7 + 1.5 * len(lines), name="crossings", extra=_EXTRA),
        "In: to the left side of the line, as seen in the picture from its start to its end.",
    )


def _outline(
    axes: Axes,
    points: NDArray[np.float64],
    name: str,
    *,
    dashed: bool = False,
    on_picture: bool = False,
) -> None:
    color = "white" if on_picture else INK
    style = "--" if dashed else "-"
    axes.plot(*points.T, color=color, linewidth=1.6, linestyle=style)
    # Lines often cross in their middles.
    x, y = (points.mean(axis=0) if not dashed else 0.8 * points[0] + 0.2 * points[1]).tolist()
    axes.text(x, y, plain(name), color=color, size=10, ha="center", va="center", clip_on=True)


def _legend(canvas: Canvas, axes: Axes, traces: Sequence[Trace], colors: dict[str, str]) -> None:
    used = {trace.group for trace in traces}
    _group_legend(canvas, [group for group in colors if group in used], colors)
    axes.grid(visible=True, color=LINE, linewidth=0.4)


def _group_legend(canvas: Canvas, groups: Sequence[str], colors: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    shown = list(groups)[:_GROUPS]
    handles = [Line2D([], [], color=colors[group], label=plain(group)) for group in shown]
    if len(groups) > _GROUPS:
        handles.append(Line2D([], [], color=SERIES[_GROUPS], label="others"))
    if handles:
        canvas.legend(handles=handles, loc="outside upper right", ncols=3)
