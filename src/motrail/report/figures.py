"""Drawings for a page: SVG by matplotlib, in the colours of the page, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any

from motrail.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

# Stand-ins that the page's style sheet gives a colour, one when it is light, another when dark.
INK, MUTED, LINE, FAINT = "#010203", "#010204", "#010205", "#010206"
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
"""Colours told apart by the colour-blind, too (after Okabe and Ito, 2008)."""
_NAMES = {INK: "ink", MUTED: "muted", LINE: "line", FAINT: "faint"} | {
    color: f"series-{number}" for number, color in enumerate(SERIES, start=1)
}
_STYLE: dict[str, Any] = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "axes.labelsize": 11,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "text.color": INK,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    # Text stays text: it is smaller, can be searched, and takes the page's font.
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def svg(
    draw: Callable[[Figure], None],
    *,
    width: float,
    height: float,
    name: str,
    extra: str = "evaluate",
) -> str:
    """Draw a figure as SVG that can stand in a page.

    The same drawing gives the same bytes.

    Args:
        draw: Draws into a figure, in the colours of this module.
        width: In inches of 72 points.
        height: In inches.
        name: Differs from figure to figure of a page, and keeps their inner names apart.
        extra: The extra of motrail that brings matplotlib, for error messages.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra, error) from error
    # A style the user has set up is for figures of his own.
    style: dict[Any, Any] = dict(mpl.rcParamsDefault)
    for key in [key for key in style if key.startswith(("backend", "interactive", "webagg"))]:
        del style[key]
    style |= _STYLE | {"svg.hashsalt": f"motrail-{name}"}
    with warnings.catch_warnings(), mpl.rc_context(style):
        # The browser has letters that this font has not.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg")
    return _for_page(file.getvalue())


def _for_page(text: str) -> str:
    """Only the `svg` element, in colours of the page, without names that figures share."""
    text = text[text.index("<svg") :]
    # It says when the drawing was made.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # The namespaces are not needed inside HTML, and look like addresses.
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    for color, variable in _NAMES.items():
        text = text.replace(color, f"var(--{variable})")
    return re.sub(r"\n\s*", "\n", text)


def plain(text: str, limit: int = 24) -> str:
    """Text from data that can be drawn: one line, not too long, and no formula to matplotlib."""
    kept = text.encode("utf-8", "replace").decode()
    kept = "".join(letter if letter.isprintable() else " " for letter in kept)
    kept = kept if len(kept) <= limit else kept[: limit - 1] + "…"
    return kept.replace("$", r"\$")
