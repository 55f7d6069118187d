"""What clients ask for when they submit a job, checked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motrail.config import Layer, resolve
from motrail.errors import ConfigError
from motrail.names import safe_name
from motrail.serve.attributes import HEADER, SECTIONS, parse_attributes, settings_with
from motrail.serve.problems import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from motrail.config import Settings

KEY = "Idempotency-Key"
WEBHOOK = "X-Motrail-Webhook"
OUTPUTS = "X-Motrail-Outputs"
MAX_JSON = 1 << 16
"""Bytes of a body that names its source."""
_MAX_TEXT = 200
_KEPT = ("detector", *SECTIONS)
_FOR_EVERYONE = ("crf", "encoder_preset", "camera_file")
"""Settings of encoding videos, and which files are read here, are the operator's affair."""

Output = Literal["csv", "mp4"]


class Reference(BaseModel):
    """The body of a job whose video is elsewhere."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    source: Annotated[str, Field(min_length=1, max_length=4096)]
    settings: dict[str, dict[str, Any]] = {}
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=2)] = ("csv",)
    webhook: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=_MAX_TEXT)] | None = None


def read_reference(body: bytes) -> Reference:
    """Read the body of a job whose video is elsewhere.

    Raises:
        Problem: 400.
    """
    try:
        # Twice the same key, or a number like 1e999, is not caught by pydantic.
        json.loads(body, object_pairs_hook=_once, parse_constant=_no_number)
        return Reference.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise bad_request(f"body: expected JSON: {first['msg']}") from None
        where = ".".join(str(part) for part in first["loc"]) or "body"
        found = repr(first["input"])[:80]
        raise bad_request(f"{where}: {first['msg']}, found {found}") from None
    except (ValueError, RecursionError) as error:
        raise bad_request(f"body: expected JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands there twice")
    return content


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def asked_settings(settings: Settings, asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """All that the result depends on: the operator's settings, and on top what a body asks for.

    Raises:
        Problem: 400; a setting is unknown, not for requests, or out of range.
    """
    for section, values in asked.items():
        taken = section in SECTIONS and not set(values) & set(_FOR_EVERYONE)
        if not taken:
            known = ", ".join(SECTIONS)
            raise bad_request(
                f"settings: expected those of {known}, without {', '.join(_FOR_EVERYONE)}, "
                f"found {section}: {', '.join(map(str, values))[:_MAX_TEXT]}",
                "bad_setting",
            )
    try:
        return kept_settings(resolve([Layer("settings", asked), _operators(settings)]).settings)
    except ConfigError as error:
        raise bad_request(str(error), "bad_setting") from None


def header_settings(settings: Settings, header: str | None) -> dict[str, Any]:
    """The same for an upload, whose settings stand in the custom attributes.

    Raises:
        Problem: 400.
    """
    attributes = parse_attributes(header)
    for name in ("frame", "previous", "step", "frame_rate"):
        if getattr(attributes, name) is not None:
            raise bad_request(f"{HEADER}: {name}: is for frames; a video has its own")
    if attributes.close:
        raise bad_request(f"{HEADER}: close: expected a session")
    return kept_settings(settings_with(attributes, [_operators(settings)]).settings)


def kept_settings(settings: Settings) -> dict[str, Any]:
    """Sections and keys as they are kept with a job; a change of the server's changes no job."""
    return {section: dataclasses.asdict(getattr(settings, section)) for section in _KEPT}


def _operators(settings: Settings) -> Layer:
    values = kept_settings(settings)
    return Layer("server", values)


def read_outputs(header: str | None) -> tuple[str, ...]:
    """The outputs of an upload: `csv`, or `csv,mp4`.

    Raises:
        Problem: 400.
    """
    names = [name.strip().lower() for name in (header or "csv").split(",")]
    if set(names) - {"csv", "mp4"}:
        raise bad_request(f"{OUTPUTS}: expected csv or csv,mp4, found {str(header)[:80]!r}")
    return wanted_outputs(names)


def wanted_outputs(names: Sequence[str]) -> tuple[str, ...]:
    """Each output once; the track file is always there."""
    return ("csv", "mp4") if "mp4" in names else ("csv",)


def read_key(header: str | None) -> str | None:
    """The Idempotency-Key.

    Raises:
        Problem: 400; it is longer than 200 characters, or not visible ASCII.
    """
    if header is None:
        return None
    if not 0 < len(header) <= _MAX_TEXT or not header.isascii() or not header.isprintable():
        raise bad_request(f"{KEY}: expected 1 to {_MAX_TEXT} visible ASCII characters")
    return header


def read_name(text: str | None, otherwise: str) -> str:
    """What to call a job.

    Raises:
        Problem: 400; it is too long.
    """
    if text is None:
        return safe_name(otherwise or "video")
    if not 0 < len(text) <= _MAX_TEXT or not text.isprintable():
        raise bad_request(f"name: expected 1 to {_MAX_TEXT} printable characters")
    return text


def fingerprint(content: Mapping[str, Any], path: Path | None = None) -> str:
    """A hash of what was sent under a key.

    Args:
        content: All but the video.
        path: The video, where it was uploaded.
    """
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    if path is not None:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
