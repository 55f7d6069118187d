r"""The regular expressions of AWS's service models, which are Java's, in Python.

Java's `\d`, `\w` and `\s` know ASCII alone. Its classes of Unicode letters (`\p{L}`) do not exist
in Python: they are matched on a text in which one private character stands for each non-ASCII
letter, number and so on (`java.util.regex.Pattern`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_PROPERTY = re.compile(r"\\p\{(\w+)\}")
_CLASSES = {
    "L": "A-Za-z\ue000",
    "M": "\ue001",
    "N": "0-9\ue002",
    "P": r"!\"#%&'()*,\-./:;?@\[\\\]_{}" + "\ue003",
    "S": "$+<=>^`|~\ue004",
    "Z": " \ue005",
    "Zs": " \ue005",
    "Alnum": "A-Za-z0-9",
    "ASCII": "\x00-\x7f",
    "Print": "\x20-\x7e",
}
_STANDS_FOR = {
    "L": "\ue000",
    "M": "\ue001",
    "N": "\ue002",
    "P": "\ue003",
    "S": "\ue004",
    "Z": "\ue005",
}
_OTHER = "\ue00f"


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    if not all(name in _CLASSES for name in _PROPERTY.findall(pattern)):
        return None
    text = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010ffff")
    text = text.replace(r"\z", r"\Z").replace(r"\w-_", r"\w\-_")
    inside = _inside_class(text)
    text = _PROPERTY.sub(
        lambda match: _CLASSES[match[1]] if match.start() in inside else f"[{_CLASSES[match[1]]}]",
        text,
    )
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        return None


def _inside_class(pattern: str) -> set[int]:
    """Positions of the pattern that stand in square brackets."""
    inside, positions, index = False, set[int](), 0
    while index < len(pattern):
        character = pattern[index]
        if inside:
            positions.add(index)
        if character == "\\":
            index += 1
        elif character == "[" and not inside:
            inside = True
        elif character == "]" and inside:
            inside = False
        index += 1
    return positions


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    return "".join(
        character
        if character.isascii()
        else _STANDS_FOR.get(unicodedata.category(character)[0], _OTHER)
        for character in text
    )


def matches(pattern: str, text: str) -> bool:
    """Whether all of the text matches; true for the few patterns that are none even in Java.

    Args:
        pattern: As it stands in the service model.
        text: What it is held against.
    """
    compiled = _compiled(pattern)
    if compiled is None:
        return True
    subject = _ascii(text) if _PROPERTY.search(pattern) else text
    return compiled.fullmatch(subject) is not None


def understood(pattern: str) -> bool:
    """Whether `matches` can hold anything against this pattern."""
    return _compiled(pattern) is not None
