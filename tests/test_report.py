"""The maker of pages: what it writes, that nothing in the data becomes markup, and no requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from motrail.errors import MissingExtraError, OutputError
from motrail.report.blocks import (
    Cell,
    Column,
    Details,
    Figure,
    Heading,
    Note,
    Row,
    Subheading,
    Table,
    Text,
    Tile,
    Tiles,
    Widget,
)
from motrail.report.figures import INK, SERIES, plain, svg
from motrail.report.page import Page, json_for_script

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure as Canvas

    from motrail.report.blocks import Block

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp; {{ 7*7 }} {% raw %}"
    "😀\u202e\u2028" + "long" * 60
)


class Parsed(HTMLParser):
    """What a browser would make of a page: elements, the scripts' text, and all other text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif data.strip():
            self.texts.append(data.strip())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outside(text: str) -> list[str]:
    """Whatever in a page could make a browser ask for something elsewhere."""
    parsed = Parsed(text)
    names = ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "formaction")
    found = [
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in names and value and not value.startswith(("#", "data:image/"))
    ]
    found += re.findall(r"url\((?!['\"]?#)[^)]*\)|@import[^;]*", text)
    scripts = "".join(script for attributes, script in parsed.scripts if "type" not in attributes)
    return found + re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|import)\s*\(", scripts)


def every_block(text: str) -> list[Block]:
    """One of each, with the text wherever text can stand."""
    cells = [Cell(text), Cell("1", 1.0, 0.5, "good")]
    columns = [Column(text, text, numeric=False), Column(text, text)]
    return [
        Heading(text, "one", text),
        Heading("Two", "two"),
        Heading("Three", "three"),
        Subheading(text),
        Tiles([Tile(text, text, text, text, 0.5)]),
        Note(text),
        Note(text, warning=True),
        Text(text),
        Table(text, columns, [cells], [cells]),
        Figure(text, "<svg></svg>", text),
        Row([Text(text), Figure(text, "<svg></svg>")]),
        Details(text, [Text(text), Table(text, columns, [cells])]),
        Widget("things", "<p id='here'></p>", {text: [text, None, 1.5]}, "let a = 1;", "p {}"),
    ]


def rendered(*blocks: Block, title: str = "A page") -> str:
    page = Page(title)
    page.add(*blocks)
    return page.render()


class TestBlocks:
    def test_a_page(self) -> None:
        page = Page("Sizes", "of things", [("Seen", "3")], [("Made by", "us")])
        page.add(Heading("Big", "big", "Very."), Text("One"))
        page.add(Text("Two"))
        parsed = Parsed(page.render())
        assert parsed.texts[-8:] == ["Seen", "3", "Big", "Very.", "One", "Two", "Made by", "us"]
        assert {"Sizes", "of things"} <= set(parsed.texts)
        assert parsed.named("html") == [{"lang": "en"}]
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
            parsed.named("meta")
        )

    def test_sections_are_listed_from_three_on(self) -> None:
        headings = [Heading(name, name.lower()) for name in ("One", "Two", "Three")]
        assert not Parsed(rendered(*headings[:2])).named("nav")
        links = Parsed(rendered(*headings)).named("a")
        assert links == [{"href": "#one"}, {"href": "#two"}, {"href": "#three"}]

    def test_a_table(self) -> None:
        columns = [Column("who", numeric=False), Column("share", "how much")]
        rows = [[Cell("a"), Cell("50.0", 50.04, 0.5)], [Cell("b"), Cell("–", tone="bad")]]
        parsed = Parsed(rendered(Table("Shares", columns, rows, [[Cell("sum"), Cell("9", 9)]])))
        cells = parsed.named("td")
        classes = ["text", "number", "text", "number bad", "text", "number"]
        assert [cell["class"] for cell in cells] == classes
        assert [cell.get("data-value") for cell in cells[1::2]] == ["50.04", None, "9"]
        assert {"class": "bar", "style": "width:50.00%"} in parsed.named("i")
        assert {"type": "button", "title": "how much"} in parsed.named("button")
        assert parsed.named("tfoot")

    @pytest.mark.parametrize(("share", "shown"), [(1.4, "100.00%"), (-3.0, "0.00%")])
    def test_bars_stay_inside(self, share: float, shown: str) -> None:
        page = Parsed(rendered(Tiles([Tile("MOTA", "−300", share=share)])))
        assert page.named("i") == [{"style": f"width:{shown}"}]

    def test_a_widget_comes_with_its_data_and_once_with_its_script(self) -> None:
        widgets = [Widget(name, "<p></p>", {"n": 1}, "let once;", "b {}") for name in ("a", "b")]
        text = rendered(Row(widgets[:1]), Details("more", widgets[1:]))
        data = {
            attributes["id"]: json.loads(script)
            for attributes, script in Parsed(text).scripts
            if attributes.get("type") == "application/json"
        }
        assert data == {"data-a": {"n": 1}, "data-b": {"n": 1}}
        assert text.count("let once;") == text.count("b {}") == 1


class TestSafety:
    def test_no_text_becomes_markup(self) -> None:
        honest, hostile = (
            Parsed(rendered(*every_block(text), title=text)) for text in ("plain", HOSTILE)
        )
        assert [tag for tag, _ in honest.elements] == [tag for tag, _ in hostile.elements]
        assert not hostile.named("img")
        for _, attributes in hostile.elements:
            assert not [name for name in attributes if name.startswith("on")]
        shown = [text for text in hostile.texts if text == HOSTILE.strip()]
        assert len(shown) == honest.texts.count("plain")

    def test_hostile_data_comes_out_as_it_went_in(self) -> None:
        scripts = Parsed(rendered(*every_block(HOSTILE))).scripts
        data = next(text for attributes, text in scripts if attributes.get("id") == "data-things")
        assert json.loads(data) == {HOSTILE: [HOSTILE, None, 1.5]}

    def test_json_for_scripts(self) -> None:
        text = json_for_script({"a": "</script><!-- & \u2028\u2029 é 😀 \ud800"})
        assert text.isascii()
        assert not set("<>&") & set(text)
        assert json.loads(text) == {"a": "</script><!-- & \u2028\u2029 é 😀 \ud800"}

    def test_numbers_that_are_none_cannot_be_embedded(self) -> None:
        with pytest.raises(ValueError, match="JSON compliant"):
            json_for_script([float("nan")])

    def test_the_browser_is_told_to_load_nothing_and_run_only_ours(self) -> None:
        parsed = Parsed(rendered(*every_block("x")))
        (policy,) = (meta["content"] for meta in parsed.named("meta") if "http-equiv" in meta)
        assert policy is not None
        rules = dict(rule.split(" ", 1) for rule in re.split(r"\s*;\s*", policy))
        assert rules["default-src"] == "'none'"
        assert rules["img-src"] == "data:"
        assert rules["base-uri"] == rules["form-action"] == "'none'"
        own = [text for attributes, text in parsed.scripts if "type" not in attributes]
        assert len(own) == 2
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in own]
        assert rules["script-src"].split() == [f"'sha256-{d.decode()}'" for d in digests]

    def test_nothing_is_asked_for_elsewhere(self) -> None:
        drawing = svg(draw_line, width=3, height=2, name="line")
        text = rendered(*every_block(HOSTILE), Figure("a line", drawing))
        assert outside(text) == []

    def test_the_search_for_addresses_finds_them(self) -> None:
        text = "<img src='http://a/b.png'><style>@import 'x'; a {b: url(y)}</style>"
        assert outside(text + "<script>fetch(1)</script>") == [
            "http://a/b.png",
            "@import 'x'",
            "url(y)",
            "fetch(",
        ]


class TestWriting:
    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        path.write_text("old")
        page = Page("Größe 😀")
        page.write(path)
        assert path.read_bytes() == page.render().encode()
        assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]

    def test_half_a_letter_in_a_name(self, tmp_path: Path) -> None:
        Page("a\ud800b").write(tmp_path / "page.html")
        assert "<title>a?b</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"page\.html: cannot be written: its folder is not"):
            Page("a").write(tmp_path / "none" / "page.html")

    def test_nothing_is_left_where_a_page_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "page.html").write_text("old")
        page = Page("a")
        page.add(Widget("w", "", float("inf")))
        with pytest.raises(ValueError, match="JSON compliant"):
            page.write(tmp_path / "page.html")
        assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]

    def test_the_same_page_is_the_same_bytes(self) -> None:
        def once() -> str:
            drawing = svg(draw_line, width=3, height=2, name="line")
            return rendered(*every_block("x"), Figure("a line", drawing))

        assert once() == once()

    def test_without_jinja(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "jinja2", None)
        with pytest.raises(
            MissingExtraError,
            match=r"'jinja2' is needed for this and not installed; "
            r'run: pip install "motrail\[evaluate\]"',
        ):
            Page("a").write(tmp_path / "page.html")
        assert not list(tmp_path.iterdir())


def draw_line(canvas: Canvas) -> None:
    axes = canvas.add_subplot()
    axes.plot([0, 1, 2], [0, 2, 1], color=SERIES[0], marker="o", label="height")
    axes.text(0, 0, "<b> & more", color=INK)
    axes.legend()


class TestFigures:
    def test_colours_are_the_pages(self) -> None:
        text = svg(draw_line, width=3, height=2, name="line")
        assert "var(--series-1)" in text
        assert "var(--ink)" in text
        assert "#0102" not in text

    def test_text_stays_text_and_is_escaped(self) -> None:
        text = svg(draw_line, width=3, height=2, name="line")
        assert "height" in Parsed(text).texts
        assert "<b> & more" in Parsed(text).texts

    def test_it_fits_the_place_it_is_given(self) -> None:
        (root,) = Parsed(svg(draw_line, width=3, height=2, name="line")).named("svg")
        assert root["viewbox"] == "0 0 216 144"
        assert "width" not in root
        assert "height" not in root

    def test_figures_share_no_names(self) -> None:
        first, second = (svg(draw_line, width=3, height=2, name=name) for name in ("a", "b"))
        names = [
            {attributes["id"] for _, attributes in Parsed(text).elements if "id" in attributes}
            for text in (first, second)
        ]
        assert names[0]
        assert not names[0] & names[1]
        used = set(re.findall(r'(?:href="|url\()#([\w-]+)', first))
        assert used
        assert used <= names[0]

    def test_a_style_of_the_user_changes_nothing(self) -> None:
        import matplotlib as mpl

        before = svg(draw_line, width=3, height=2, name="line")
        with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
            assert svg(draw_line, width=3, height=2, name="line") == before

    @pytest.mark.parametrize(
        ("text", "drawn"),
        [
            ("car", "car"),
            ("$x$ costs", r"\$x\$ costs"),
            ("a\nb\x00", "a b "),
            ("a" * 30, "a" * 23 + "…"),
            ("\ud800", "?"),
        ],
    )
    def test_names_that_can_be_drawn(self, text: str, drawn: str) -> None:
        assert plain(text) == drawn

    def test_without_matplotlib(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(
            MissingExtraError, match=r"'matplotlib' is needed .* \"motrail\[evaluate\]\""
        ):
            svg(draw_line, width=3, height=2, name="line")
