"""Draw the figures of a dataset: one picture that shows what it is made of."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motrail.dataset.stats.panels import (
    INK,
    MUTED,
    clean,
    counted,
    draw_classes,
    draw_density,
    draw_lengths,
    draw_motion,
    draw_places,
    draw_sizes,
    draw_time,
    draw_visibility,
)
from motrail.errors import ConfigError, MissingExtraError
from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from motrail.dataset.stats.compute import Stats

_WIDTH, _ROW, _HEADER = 16.0, 4.3, 1.0  # inches, of 100 pixels
# DejaVu comes with matplotlib; the others, where they are installed, know more scripts.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
)


def draw_stats(stats: Stats, path: Path) -> None:
    """Draw the figures of a dataset into one picture, 1600 pixels wide; replaces what was there.

    Args:
        stats: What `compute_stats` counted.
        path: Ends in `.png` or `.svg`.

    Raises:
        ConfigError: The ending is another one.
        MissingExtraError: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in {".png", ".svg"}:
        raise ConfigError(
            f"{path}: expected a name that ends in .png or .svg, found {path.suffix or 'no ending'}"
        )
    data = _render(stats, kind[1:])
    with WholeFile(path) as file, writing(path):
        file.temporary.write_bytes(data)


def _render(stats: Stats, kind: str) -> bytes:
    try:
        import matplotlib as mpl
        from matplotlib import font_manager
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "video", error) from error
    known = {font.name for font in font_manager.fontManager.ttflist}
    style: dict[Any, Any] = dict(mpl.rcParamsDefault)
    # Which window to show figures in is none of our business, and setting it would open one.
    for name in [name for name in style if name.startswith(("backend", "interactive", "webagg"))]:
        del style[name]
    style |= _STYLE | {"font.family": [name for name in _FONTS if name in known]}
    with warnings.catch_warnings(), mpl.rc_context(style):
        # A letter that no font has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        rows = _rows(stats)
        height = _HEADER + _ROW * len(rows)
        figure = Figure(figsize=(_WIDTH, height), dpi=100, facecolor="white")
        FigureCanvasAgg(figure)
        _draw(figure, stats, rows)
        file = io.BytesIO()
        # Nothing that differs from run to run.
        metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        figure.savefig(file, format=kind, metadata=metadata)
    return file.getvalue()


_STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 11,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#9aa5b1",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "svg.hashsalt": "motrail",
}

if TYPE_CHECKING:
    Panel = Callable[[Axes, Stats], None]


def _rows(stats: Stats) -> list[list[tuple[Panel, int]]]:
    """The panels with their share of the width, of twelve; those that have something to show."""
    total = [split.total for split in stats.splits]
    places = stats.histograms.places.any()
    tracks = any(group.objects for group in total)
    visible = any(sum(group.visibility) for group in total)
    moving = any(group.motion for group in total)
    first = [draw_sizes, *([draw_places] if places else []), draw_classes]
    last = [
        *([draw_lengths] if tracks else []),
        *([draw_motion] if moving else []),
        *([draw_visibility] if visible else []),
    ]
    rows: list[list[tuple[Panel, int]]] = [
        [(panel, 12 // len(first)) for panel in first],
        [(draw_time, 8), (draw_density, 4)],
    ]
    if last:
        rows.append([(panel, min(6, 12 // len(last))) for panel in last])
    return rows


def _draw(figure: Figure, stats: Stats, rows: list[list[tuple[Panel, int]]]) -> None:
    height = figure.get_figheight()
    figure.text(
        0.025,
        1 - 0.42 / height,
        clean(Path(stats.source).name or stats.source, 80),
        size=19,
        weight="bold",
    )
    figure.text(0.025, 1 - 0.76 / height, _summary(stats), size=12, color=MUTED)
    for index, row in enumerate(rows):
        top = height - _HEADER - index * _ROW
        left = 0.0
        for panel, share in row:
            width = _WIDTH * share / 12
            box = (
                (left + 0.85) / _WIDTH,
                (top - _ROW + 0.75) / height,
                (width - 1.15) / _WIDTH,
                (_ROW - 1.35) / height,
            )
            panel(figure.add_axes(box), stats)
            left += width


def _summary(stats: Stats) -> str:
    groups = [split.total for split in stats.splits]
    parts = [
        counted(len(stats.sequences), "sequence"),
        counted(sum(split.frames for split in stats.splits), "frame"),
        counted(sum(group.boxes for group in groups), "box", "boxes"),
        counted(sum(group.objects for group in groups), "object"),
        counted(len(stats.classes), "class", "classes"),
    ]
    ignored = sum(group.ignored for group in groups)
    if ignored:
        parts.append(f"{counted(ignored, 'box', 'boxes')} to be ignored, left out below")
    return "  ·  ".join(parts)
