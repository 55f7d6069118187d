"""What a request asks for beside its body, in one header that gets through every endpoint.

SageMaker hands on `X-Amzn-SageMaker-Custom-Attributes` (at most 1,024 visible ASCII characters) and
drops most others. Its content here is `key=value;key=value`: `frame`, `previous`, `step`, `close`,
`frame_rate` for sessions, `size` of frames that were scaled down, `describe` for what `GET /model`
would say, and settings by section and name, such as `tracker.match_threshold=0.9` or
`video.stride=2`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motrail.config import Layer, Resolved, resolve
from motrail.errors import ConfigError
from motrail.serve.problems import bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEADER = "X-Amzn-SageMaker-Custom-Attributes"
MAX_LENGTH = 1024
SECTIONS = ("tracker", "refine", "video")
"""Whose settings a request may choose; what the network does is the operator's affair."""
_OWN = ("frame", "previous", "step", "close", "frame_rate", "size", "describe")
_FOR_EVERYONE = frozenset({"crf", "encoder_preset", "camera_file"})


@dataclass(frozen=True)
class Attributes:
    """The content of the header.

    Attributes:
        frame: Number of the frame that is sent, counted from 1; None for the next.
        previous: Number of the frame of the session before it, which is waited for; None for
            whichever came last.
        step: Frames of the source since the last one; another way to say `frame`.
        close: Whether the session ends with this request.
        frame_rate: Frames a second of the source.
        size: Width and height of the frames before they were scaled down to be sent, in pixels;
            boxes are given in these. None where they come as they are.
        describe: Whether the model is asked for, and nothing else.
        settings: Section → key → value as text.
    """

    frame: int | None = None
    previous: int | None = None
    step: int | None = None
    close: bool = False
    frame_rate: float | None = None
    size: tuple[int, int] | None = None
    describe: bool = False
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def parse_attributes(header: str | None) -> Attributes:
    """Read the header.

    Raises:
        Problem: 400 with what was expected and what was found.
    """
    if header is None or not header.strip():
        return Attributes()
    if len(header) > MAX_LENGTH:
        raise bad_request(f"{HEADER}: expected at most {MAX_LENGTH} characters")
    found: dict[str, str] = {}
    for part in header.split(";"):
        if not part.strip():
            continue
        key, equals, value = (text.strip() for text in part.partition("="))
        if not equals or not key:
            raise bad_request(f"{HEADER}: expected key=value;key=value, found {part.strip()!r}")
        if key in found:
            raise bad_request(f"{HEADER}: {key} stands there twice")
        found[key] = value
    own = {key: found.pop(key) for key in _OWN if key in found}
    return Attributes(
        frame=_number(own, "frame", 1),
        previous=_number(own, "previous", 0),
        step=_number(own, "step", 1),
        close=_truth(own, "close"),
        frame_rate=_rate(own),
        size=_size(own),
        describe=_truth(own, "describe"),
        settings=_settings(found),
    )


def settings_with(attributes: Attributes, below: Iterable[Layer]) -> Resolved:
    """The settings of a request: what it asks for on top of what the operator chose.

    Raises:
        Problem: 400; a setting is unknown, not for requests, or out of range.
    """
    asked = {section: dict(values) for section, values in attributes.settings.items()}
    try:
        return resolve([Layer("request", asked, text=True), *below])
    except ConfigError as error:
        raise bad_request(f"{HEADER}: {error}", "bad_setting") from None


def _settings(found: Mapping[str, str]) -> dict[str, dict[str, str]]:
    settings: dict[str, dict[str, str]] = {}
    for key, value in found.items():
        section, dot, name = key.partition(".")
        if not dot or section not in SECTIONS or name in _FOR_EVERYONE:
            known = ", ".join([*_OWN, *(f"{section}.NAME" for section in SECTIONS)])
            raise bad_request(f"{HEADER}: unknown {key!r}; expected {known}")
        settings.setdefault(section, {})[name] = value
    return settings


def _number(own: Mapping[str, str], key: str, low: int) -> int | None:
    text = own.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 15 or int(text) < low:
        raise bad_request(f"{HEADER}: {key}: expected a whole number from {low}, found {text!r}")
    return int(text)


def _truth(own: Mapping[str, str], key: str) -> bool:
    text = own.get(key, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise bad_request(f"{HEADER}: {key}: expected true or false, found {text!r}")
    return text in ("true", "1")


def _rate(own: Mapping[str, str]) -> float | None:
    text = own.get("frame_rate")
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1e-6 <= value <= 1e6:
        raise bad_request(f"{HEADER}: frame_rate: expected frames a second, found {text!r}")
    return value


def _size(own: Mapping[str, str]) -> tuple[int, int] | None:
    text = own.get("size")
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text, re.ASCII)
    if found is None:
        raise bad_request(f"{HEADER}: size: expected WIDTHxHEIGHT in pixels, found {text!r}")
    return int(found[1]), int(found[2])
