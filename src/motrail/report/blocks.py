"""What a page is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Tone = Literal["", "good", "bad", "unsure"]
"""How a cell is coloured; the text must say the same."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure.

    Attributes:
        name: What it is called.
        value: As it is to be shown.
        meaning: One line on what it says.
        interval: How sure it is, such as `95 %: 61.2 to 72.8`; empty for nothing.
        share: Length of the bar beneath, 0 to 1; None for no bar.
    """

    name: str
    value: str
    meaning: str = ""
    interval: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Tiles:
    """Key figures side by side."""

    template: ClassVar[str] = "tiles.html"
    tiles: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Heading:
    """Begins a section of the page.

    Attributes:
        text: The heading.
        anchor: What a link to it is called, of letters, digits and dashes.
        lead: A sentence or two beneath.
    """

    template: ClassVar[str] = "heading.html"
    text: str
    anchor: str
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Subheading:
    """Begins a part of a section."""

    template: ClassVar[str] = "subheading.html"
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    template: ClassVar[str] = "text.html"
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something the reader must not miss.

    Attributes:
        text: One or two sentences.
        warning: Whether it may change what the figures mean.
    """

    template: ClassVar[str] = "note.html"
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        meaning: Shown when the heading is pointed at.
        numeric: Whether it is aligned at the right and sorted by number, largest first.
        prose: Whether it holds sentences, which may take several lines.
    """

    name: str
    meaning: str = ""
    numeric: bool = True
    prose: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it shows.
        value: What it is sorted by, where that is not the text.
        share: Length of the bar in it, 0 to 1; None for no bar.
        tone: Its colour.
    """

    text: str
    value: float | None = None
    share: float | None = None
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted by a click on a heading.

    Attributes:
        name: Read out by screen readers.
        columns: From left to right; the first one names the row.
        rows: A cell for each column.
        foot: Rows that stay at the end, such as sums.
    """

    template: ClassVar[str] = "table.html"
    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Sequence[Cell]] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing.

    Attributes:
        title: Above it.
        svg: What `motrail.report.figures.svg` made: it is put into the page as it is.
        caption: Beneath it: how to read it.
        least_width: Pixels below which it is not shrunk, but scrolled.
    """

    template: ClassVar[str] = "figure.html"
    title: str
    svg: str
    caption: str = ""
    least_width: int = 330


@dataclass(frozen=True, slots=True)
class Row:
    """Blocks side by side where there is room, else one below the other."""

    template: ClassVar[str] = "row.html"
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that are shown on a click.

    Attributes:
        summary: What can always be seen.
        blocks: What cannot.
    """

    template: ClassVar[str] = "details.html"
    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Widget:
    """A part of the page that a script of ours brings to life.

    Attributes:
        name: Of its data in the page, the same for every page: letters and dashes.
        html: Put into the page as it is. Nothing that comes from data may stand in it.
        data: What `json.dumps` can write; the script finds it in the element `data-NAME`.
        script: JavaScript, put into the page once.
        style: CSS, put into the page once.
    """

    template: ClassVar[str] = "widget.html"
    name: str
    html: str
    data: object
    script: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph or a drawing of pixels.

    Attributes:
        title: Above it, and read out by screen readers.
        data: The file's bytes; they are put into the page.
        kind: Its media type: `image/jpeg` or `image/png`.
        caption: Beneath it.
    """

    template: ClassVar[str] = "picture.html"
    title: str
    data: bytes
    kind: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Film:
    """A short video.

    Attributes:
        title: Above it, and read out by screen readers.
        data: An MP4 file's bytes; they are put into the page.
        caption: Beneath it.
    """

    template: ClassVar[str] = "film.html"
    title: str
    data: bytes
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """Command lines, or what they printed.

    Attributes:
        text: As it stands.
    """

    template: ClassVar[str] = "code.html"
    text: str


@dataclass(frozen=True, slots=True)
class Links:
    """Where to look next.

    Attributes:
        links: Text and address of each; addresses are relative to the page.
    """

    template: ClassVar[str] = "links.html"
    links: Sequence[tuple[str, str]]


Block = (
    Tiles
    | Heading
    | Subheading
    | Text
    | Note
    | Table
    | Figure
    | Row
    | Details
    | Widget
    | Picture
    | Film
    | Code
    | Links
)
