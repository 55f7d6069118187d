"""Make one HTML file that needs nothing else: no server, no network, no font, no library.

Whatever comes from data is escaped, and the browser is told to load nothing and to run our own
scripts only, which it knows by their hashes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motrail.errors import MissingExtraError
from motrail.outputs import WholeFile, writing
from motrail.report.blocks import Details, Heading, Row, Widget

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from jinja2 import Environment

    from motrail.report.blocks import Block

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


@dataclass
class Page:
    """A page in the making.

    Attributes:
        title: Of the page and of the window.
        subtitle: One sentence below it.
        facts: Name and value of what the page is about, shown at the top.
        footer: Name and value of what made it, shown at the end.
        blocks: The page itself, in this order.
        extra: The extra of motrail that brings the packages needed, for error messages.
    """

    title: str
    subtitle: str = ""
    facts: Sequence[tuple[str, str]] = ()
    footer: Sequence[tuple[str, str]] = ()
    blocks: list[Block] = field(default_factory=list)
    extra: str = "evaluate"

    def add(self, *blocks: Block) -> None:
        """Put blocks at the end of the page."""
        self.blocks.extend(blocks)

    def render(self) -> str:
        """The page as HTML.

        Raises:
            MissingExtraError: jinja2 is not installed.
        """
        environment = _environment(self.extra)
        widgets = list(_widgets(self.blocks))
        source = functools.partial(_source, environment)
        style = "\n".join(_once([source("style.css"), *(w.style for w in widgets)]))
        scripts = _once([source("page.js"), *(w.script for w in widgets)])
        return environment.get_template("page.html").render(
            page=self,
            headings=[block for block in self.blocks if isinstance(block, Heading)],
            style=style,
            scripts=scripts,
            hashes=[_hash(script) for script in scripts],
        )

    def write(self, path: Path) -> None:
        """Write the page; it appears whole or not at all, and replaces what was there.

        Raises:
            MissingExtraError: jinja2 is not installed.
            OutputError: The file cannot be written.
        """
        # Halves of letters, as file names can have them, cannot be written.
        data = self.render().encode("utf-8", "replace")
        with WholeFile(path) as file, writing(path):
            file.temporary.write_bytes(data)


def json_for_script(value: object) -> str:
    """JSON that can stand in a `<script>` element, whatever text is in it.

    Everything beyond ASCII is escaped, and so are `<`, `>` and `&`.

    Raises:
        ValueError: There is a number in it that is not finite.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


def _environment(extra: str) -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", extra, error) from error
    environment = Environment(
        loader=PackageLoader("motrail.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["script_json"] = json_for_script
    environment.filters["base64"] = _base64
    return environment


def _source(environment: Any, name: str) -> str:
    """A file of ours that is put into the page as it is."""
    text: str = environment.loader.get_source(environment, name)[0]
    return text


def _percent(share: float) -> str:
    """A length for CSS: `67.95%`, within 0 to 100."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _once(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _widgets(blocks: Iterable[Block]) -> Iterator[Widget]:
    for block in blocks:
        if isinstance(block, Widget):
            yield block
        elif isinstance(block, Row | Details):
            yield from _widgets(block.blocks)
