"""The panels of the picture of a dataset, one function each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.stats.counts import LARGE, SMALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from numpy.typing import NDArray

    from motrail.dataset.stats.compute import Stats
    from motrail.dataset.stats.tally import Counts

INK, MUTED = "#1f2933", "#616e7c"
_COLORS = ("#2f6fde", "#f08c2e", "#2ba66f", "#c94f7c", "#7a5cd6", "#0f9fb5", "#b58900", "#8a4b2a")
_IGNORED = "#c5ccd4"
_MAX_BARS = 14
_MAX_NAME = 22
_DRAWN = (0.25, 16384.0)  # pixels; what is beyond stands at the edge
_AREAS = ((8**2, "8²"), (SMALL, "32²"), (LARGE, "96² px"))


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 box`, `1,234 boxes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def printable(text: str, limit: int) -> str:
    """Text from elsewhere that can be drawn: one line, not too long."""
    kept = text.encode("utf-8", "replace").decode()
    kept = "".join(letter if letter.isprintable() else " " for letter in kept)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def clean(text: str, limit: int = _MAX_NAME) -> str:
    """The same for matplotlib, which is to see no formulas in it."""
    return printable(text, limit).replace("$", r"\$")


def draw_sizes(axes: Axes, stats: Stats) -> None:
    """Widths and heights of boxes, with lines where an area is as large as a square's."""
    from matplotlib.colors import LogNorm

    axes.set_title("Box sizes")
    axes.set_xlabel("width (px)")
    axes.set_ylabel("height (px)")
    sizes = stats.histograms.sizes
    if not len(sizes):
        _say(axes, "no boxes")
        return
    # Eight cells an octave, as they were counted; fewer where there is little to show.
    per_octave = 8 if sizes[:, 2].sum() > 5000 else 4
    cells = np.floor(np.log2(np.clip(sizes[:, :2], *_DRAWN)) * per_octave).astype(np.int64)
    low = cells.min(axis=0)
    grid = np.zeros(cells.max(axis=0) - low + 1)
    np.add.at(grid, tuple((cells - low).T), sizes[:, 2])
    across, down = (
        2.0 ** (np.arange(start, start + count + 1) / per_octave)
        for start, count in zip(low.tolist(), grid.shape, strict=True)
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    mesh = axes.pcolormesh(
        across,
        down,
        np.ma.masked_equal(grid.T, 0),
        cmap=_blues(),
        norm=LogNorm(1, max(2.0, float(grid.max()))),
    )
    axes.set_xlim(across[0] / 2, across[-1] * 2)
    axes.set_ylim(down[0] / 2, down[-1] * 2)
    _mark_areas(axes)
    for axis in (axes.xaxis, axes.yaxis):
        _round_ticks(axis)
    _color_bar(axes, mesh, int(grid.max()))


def _mark_areas(axes: Axes) -> None:
    """Lines of equal area, with a name where they enter the panel."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for area, name in _AREAS:
        axes.plot([left, right], [area / left, area / right], "--", color=MUTED, lw=0.9)
        # It falls from the upper left; the name stands where it is well inside.
        x = min(max(left * 1.15, area / top * 1.25), right)
        if bottom * 1.2 < area / x < top / 1.1 and x < right / 1.5:
            axes.text(x, area / x, f" {name}", color=MUTED, size=9, va="bottom")


def draw_places(axes: Axes, stats: Stats) -> None:
    """Where in the image boxes are."""
    from matplotlib.colors import PowerNorm

    kept = stats.histograms
    width, height = kept.frame_size or (16, 9)
    axes.set_title("Box centres")
    extent = (0, width, height, 0) if kept.same_size else (0, 100, 100, 0)
    norm = PowerNorm(0.5, 0, float(kept.places.max()))
    image = axes.imshow(
        np.ma.masked_equal(kept.places, 0),
        cmap=_blues(),
        norm=norm,
        extent=extent,
        interpolation="nearest",
    )
    axes.set_aspect((height / width) / ((extent[2] - extent[3]) / extent[1]), anchor="NW")
    axes.set_xlabel("x (px)" if kept.same_size else "x (% of the width)")
    axes.set_ylabel("y (px)" if kept.same_size else "y (% of the height)")
    axes.set_facecolor("#f7f9fc")
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    _color_bar(axes, image, int(kept.places.max()))


def draw_classes(axes: Axes, stats: Stats) -> None:
    """Boxes of each class, split by split, and those to be ignored."""
    axes.set_title("Classes")
    axes.set_xlabel("boxes")
    names = list(stats.classes)
    columns = [
        [split.classes[name].boxes if name in split.classes else 0 for name in names]
        for split in stats.splits
    ]
    ignored = [
        sum(split.classes[name].ignored for split in stats.splits if name in split.classes)
        for name in names
    ]
    table = np.array([*columns, ignored], np.int64).reshape(-1, len(names))
    order = np.argsort(-table[:-1].sum(axis=0) - table[-1] * 1e-12, kind="stable")
    table, names = table[:, order], [clean(names[index]) for index in order.tolist()]
    if not names:
        _say(axes, "no classes")
        return
    if len(names) > _MAX_BARS:
        rest = table[:, _MAX_BARS - 1 :].sum(axis=1, keepdims=True)
        names = [*names[: _MAX_BARS - 1], f"{len(names) - _MAX_BARS + 1:,} more"]
        table = np.hstack([table[:, : _MAX_BARS - 1], rest])
    titles = [split.name for split in stats.splits] if len(stats.splits) > 1 else ["counted"]
    colors = list(_COLORS[: len(titles)])
    if table[-1].any():
        titles, colors = [*titles, "ignored"], [*colors, _IGNORED]
    _draw_bars(axes, names, table[: len(titles)], titles, colors)


def _draw_bars(
    axes: Axes,
    names: Sequence[str],
    table: NDArray[np.int64],
    titles: Sequence[str],
    colors: Sequence[str],
) -> None:
    places = np.arange(len(names))
    start = np.zeros(len(names))
    thick = 0.72 if len(names) > 2 else 0.4
    for row, title, color in zip(table, titles, colors, strict=True):
        axes.barh(places, row, thick, left=start, color=color, label=title)
        start += row
    for place, total in zip(places.tolist(), start.tolist(), strict=True):
        axes.annotate(
            f"{total:,.0f}", (total, place), (4, 0), textcoords="offset points",
            va="center", size=9, color=MUTED,
        )  # fmt: skip
    axes.set_yticks(places, labels=names, size=10 if len(names) < 10 else 9, color=INK)
    axes.set_ylim(max(len(names), 3) - 0.5, -0.5)
    axes.set_xlim(0, max(1.0, start.max() * 1.22))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    _whole_ticks(axes.xaxis)
    _make_room(axes, names)
    if len(titles) > 1:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.02, 0.99), ncols=len(titles), fontsize=9,
            handlelength=1, columnspacing=1, borderaxespad=0.3,
        )  # fmt: skip


def _make_room(axes: Axes, names: Sequence[str]) -> None:
    """Move the left edge of a panel so that the names of its bars fit."""
    box = axes.get_position()
    figure_width = axes.figure.get_figwidth()  # type: ignore[union-attr]
    # Wide letters of other scripts take twice the room.
    widest = max(sum(1.0 if ord(c) < 0x1100 else 1.9 for c in name) for name in names)
    shift = min(max(widest * 0.078 - 0.45, 0), 2.4) / figure_width
    axes.set_position((box.x0 + shift, box.y0, box.width - shift, box.height))


def draw_time(axes: Axes, stats: Stats) -> None:
    """Boxes in a frame over time; a colour for each sequence, where there are not too many."""
    axes.set_ylabel("boxes in a frame")
    shown = [sequence for sequence in stats.sequences if len(sequence.density)]
    few = len(shown) <= len(_COLORS)
    axes.set_title("Boxes per frame over time" if few else "Boxes per frame, a line each sequence")
    if not shown:
        _say(axes, "no frames")
        return
    most = max(float(sequence.density.max()) for sequence in shown)
    for index, sequence in enumerate(shown):
        look: dict[str, Any] = {"color": "#2f6fde", "alpha": max(0.05, min(0.5, 12 / len(shown)))}
        frames = sequence.density_frames.astype(np.float64)
        if few:
            look = {"color": _COLORS[index], "label": clean(sequence.name, 28)}
        else:
            frames = np.linspace(0, 100, len(frames)) if len(frames) > 1 else np.array([50.0])
        axes.plot(
            frames, sequence.density, lw=1.8 if few else 1, marker=_marker(len(frames)), **look
        )
    axes.set_xlabel("frame" if few else "position in the sequence (%)")
    left, right = axes.get_xlim()
    if right - left < 1:  # one frame
        axes.set_xlim(left - 1, right + 1)
    axes.set_ylim(0, max(1.0, most * 1.1))
    axes.grid(axis="y")
    _whole_ticks(axes.xaxis)
    _thousands(axes.yaxis)
    if few:
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, box.width * 0.77, box.height))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03))


def _marker(points: int) -> str:
    return "o" if points <= 12 else ""


def draw_density(axes: Axes, stats: Stats) -> None:
    """How many frames have how many boxes."""
    axes.set_title("Boxes per frame")
    axes.set_xlabel("boxes in a frame")
    axes.set_ylabel("frames")
    _draw_counts(axes, stats.histograms.per_frame, _COLORS[0], "no frames")


def draw_lengths(axes: Axes, stats: Stats) -> None:
    """How long objects are followed."""
    axes.set_title("Track lengths")
    axes.set_xlabel("frames in which an object has a box")
    axes.set_ylabel("objects")
    _draw_counts(axes, stats.histograms.track_lengths, _COLORS[2], "no objects")


def _draw_counts(axes: Axes, counts: Counts, color: str, nothing: str) -> None:
    """Bars for whole numbers: one for each where they fit, else for as many together."""
    values, numbers = counts
    if not len(values):
        _say(axes, nothing)
        return
    low, high = int(values[0]), int(values[-1])
    step = max(1, -(-(high - low + 1) // 40))
    edges = np.arange(low, high + step + 1, step)
    bars = np.histogram(values, edges - 0.5, weights=numbers)[0]
    axes.bar(edges[:-1] - 0.5, bars, step, align="edge", color=color, edgecolor="white", lw=0.6)
    room = max(0.5 * step, (7 - (high - low + 1)) / 2)
    axes.set_xlim(max(low - room, min(low, 0)) - 0.5, edges[-1] - 0.5 + room)
    below = np.cumsum(numbers)
    middle = int(values[np.searchsorted(below, (below[-1] + 1) // 2)])
    _mark(axes, middle, f"median {middle:,}")
    axes.set_ylim(0, max(1.0, float(bars.max()) * 1.15))
    axes.grid(axis="y")
    for axis in (axes.xaxis, axes.yaxis):
        _whole_ticks(axis)


def draw_motion(axes: Axes, stats: Stats) -> None:
    """How far objects move from one frame to the next."""
    axes.set_title("Motion from frame to frame")
    axes.set_xlabel("shift of the centre (% of the box's height)")
    axes.set_ylabel("steps (%)")
    moved, steps = stats.histograms.motion.T
    share = 100 * steps / steps.sum()
    percent = np.maximum(moved * 100, 1e-9)
    # Four bars an octave from a 16th of a per cent up; what moves less stands still, as it were.
    edges = 2.0 ** (np.arange(-16, 4 * 12 + 1) / 4)
    last = int(np.searchsorted(edges, percent.max()))
    edges = edges[: max(last + 1, 24)]
    bars = np.histogram(np.clip(percent, edges[0], edges[-1]), edges, weights=share)[0]
    axes.set_xscale("log", base=2)
    axes.bar(
        edges[:-1], bars, np.diff(edges), align="edge", color=_COLORS[3], edgecolor="white", lw=0.6
    )
    axes.set_xlim(edges[0] / 1.1, edges[-1] * 1.1)
    axes.set_ylim(0, bars.max() * 1.15)
    axes.set_xticks([edges[0], *(2.0 ** np.arange(-2, np.log2(edges[-1]) + 0.01, 2))])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:,.4g}" if place else "0")
    below = np.cumsum(steps)
    p95 = float(percent[np.searchsorted(below, below[-1] * 0.95)])
    _mark(axes, min(max(p95, edges[0]), edges[-1]), f"95 % below {p95:,.3g} %")
    axes.grid(axis="y")


def draw_visibility(axes: Axes, stats: Stats) -> None:
    """How much of the objects can be seen."""
    bars = np.sum([split.total.visibility for split in stats.splits], axis=0)
    unknown = sum(split.total.visibility_unknown for split in stats.splits)
    axes.set_title("Visible part of objects")
    axes.set_xlabel("visible (%)" + (f";  unknown: {unknown:,} boxes" if unknown else ""))
    axes.set_ylabel("boxes")
    axes.bar(
        np.arange(10) * 10, bars, 10, align="edge", color=_COLORS[4], edgecolor="white", lw=0.6
    )
    axes.set_xlim(-2, 102)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="y")
    _thousands(axes.yaxis)


def _mark(axes: Axes, x: float, text: str) -> None:
    """A line at a value, with its meaning on the side that has room."""
    axes.axvline(x, color=INK, lw=1.2, ls="--")
    low, high = axes.transAxes.inverted().transform(axes.transData.transform([(x, 0), (x, 0)]))
    place = float((low[0] + high[0]) / 2)
    right = place < 0.55
    axes.text(
        place + (0.015 if right else -0.015), 0.97, text, transform=axes.transAxes, size=10,
        va="top", ha="left" if right else "right", color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
    )  # fmt: skip


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=MUTED)
    axes.set_xticks([])
    axes.set_yticks([])


def _blues() -> Colormap:
    """Blues that begin where they can be told from white paper; white where there is nothing."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = ["#d6e4fb", "#7fb0f5", "#2f6fde", "#173f8f", "#0b1f4b"]
    return LinearSegmentedColormap.from_list("blues", shades)


def _color_bar(axes: Axes, drawn: ScalarMappable, most: int) -> None:
    """A scale of numbers of boxes up to `most`, beside the panel, which makes room."""
    figure = axes.figure
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, box.width * 0.86, box.height))
    axes.apply_aspect()
    box = axes.get_position()
    side = figure.add_axes((box.x1 + 0.008, box.y0, 0.008, box.height))
    bar = figure.colorbar(drawn, cax=side)
    bar.outline.set_visible(False)
    ones = np.array([factor * 10**power for power in range(13) for factor in (1, 2, 5)])
    ones = ones[ones <= most]
    places: list[int] = []
    last = -1.0
    for value, place in zip(ones.tolist(), np.asarray(drawn.norm(ones)).tolist(), strict=True):
        if place - last > 0.08:  # of the scale's length: more would not fit
            places.append(value)
            last = place
    bar.set_ticks(places)
    side.set_title("boxes", size=10, weight="normal", color=MUTED, loc="center", pad=5)
    side.tick_params(labelsize=9)
    side.minorticks_off()
    _thousands(side.yaxis)


def _round_ticks(axis: Axis) -> None:
    """Powers of two as plain numbers, not more than fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_major_locator(LogLocator(2, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axis.set_tick_params(which="minor", length=0)


def _thousands(axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    if value < 1e4:
        return f"{value:,.4g}"
    if value < 1e6:
        return f"{value / 1e3:,.4g}k"
    return f"{value / 1e6:,.4g}M"


def _whole_ticks(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(6, integer=True))
    _thousands(axis)
