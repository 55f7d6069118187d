"""Put settings from several places on top of each other."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from motrail.config.settings import SECTIONS, Settings
from motrail.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import TypeAdapter

# Variables that are no settings.
OTHER_VARIABLES = {
    "MOTRAIL_CACHE": "folder that downloaded models are kept in",
    "MOTRAIL_ZOO_URL": "address to fetch models of the zoo from, in place of the official one",
    "MOTRAIL_SERVE_TOKEN": "token that requests to `motrail serve` have to carry",
    "MOTRAIL_SERVE_WEBHOOK_SECRET": "key that `motrail serve` signs its webhooks with",
    "MOTRAIL_OPT_ML": "folder that takes the place of the root of SageMaker's containers",
    "MOTRAIL_TEST_DATA": "folder of the footage that the project's own tests use",
}
_OF_ONE_TRACKER = ("match_threshold", "lost_frames", "lost_seconds")
"""What suits one tracker does not suit another."""
_IN_SECONDS = (
    ("tracker", "lost_frames", "lost_seconds"),
    ("tracker", "revive_frames", "revive_seconds"),
    ("tracker", "coast_frames", "coast_seconds"),
    ("refine", "max_gap", "max_gap_seconds"),
    ("refine", "smoothing", "smoothing_seconds"),
    ("refine", "min_length", "min_length_seconds"),
    ("refine", "weak_length", "weak_length_seconds"),
    ("refine", "max_lead", "max_lead_seconds"),
)
"""Settings in frames of the source, and the same in seconds."""
SEARCH = "search"
"""The section of ranges, which are no settings; see `motrail.config.ranges`."""


class Layer(NamedTuple):
    """Settings from one place.

    Attributes:
        origin: Where they come from, as shown to people.
        values: Section → key → value.
        text: Whether values are text that has to be read.
    """

    origin: str
    values: Mapping[str, Mapping[str, Any]]
    text: bool = False


class Resolved(NamedTuple):
    """Settings with the place each one came from.

    Attributes:
        settings: The settings.
        origins: (section, key) → where the value came from; `"default"` if nobody set it.
    """

    settings: Settings
    origins: dict[tuple[str, str], str]


def toml_layer(path: str | os.PathLike[str]) -> Layer:
    """Read a TOML file.

    Raises:
        ConfigError: There is no such file, or it holds something that is no setting.
        FormatError: It is no TOML.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(path, f"expected TOML: {error}") from error
    return Layer(str(path), values)


def environment_layer(environ: Mapping[str, str] | None = None) -> Layer:
    """Settings in environment variables.

    Raises:
        ConfigError: A variable begins with MOTRAIL_ and is no setting.
    """
    values: dict[str, dict[str, Any]] = {}
    known = {variable_name(section, key): (section, key) for section, key, _ in fields()}
    for name, text in (os.environ if environ is None else environ).items():
        if not name.startswith("MOTRAIL_") or name in OTHER_VARIABLES:
            continue
        if name not in known:
            raise ConfigError(
                f"environment variable {name}: unknown{nearest(name, [*known, *OTHER_VARIABLES])}"
            )
        section, key = known[name]
        values.setdefault(section, {})[key] = text
    return Layer("environment", values, text=True)


def resolve(layers: Iterable[Layer]) -> Resolved:
    """Put layers on top of each other, the first one on top, the defaults at the bottom.

    Raises:
        ConfigError: A section or key is unknown or a value has the wrong type; the message names
            the layer.
    """
    chosen: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins = {(section, key): "default" for section, key, _ in fields()}
    for layer in reversed(list(layers)):
        entries = list(_entries(layer))
        named = {(section, key) for section, key, _ in entries}
        # Who asks for frames on a higher layer does not want the seconds of a lower one.
        for section, frames, seconds in _IN_SECONDS:
            if named & {(section, frames), (section, seconds)} == {(section, frames)}:
                chosen[section].pop(seconds, None)
                origins[section, seconds] = "default"
        # Nor does who asks for another tracker want what suited the one of a lower layer.
        if _other_tracker(entries, chosen["tracker"]):
            for key in _OF_ONE_TRACKER:
                chosen["tracker"].pop(key, None)
                origins["tracker", key] = "default"
        for section, key, value in entries:
            origin = variable_name(section, key) if layer.origin == "environment" else layer.origin
            chosen[section][key] = checked(section, key, value, origin, text=layer.text)
            origins[section, key] = origin
    settings = Settings(**{s: SECTIONS[s](**values) for s, values in chosen.items()})
    return Resolved(settings, origins)


def _other_tracker(entries: Iterable[tuple[str, str, Any]], chosen: Mapping[str, Any]) -> bool:
    asked = [value for section, key, value in entries if (section, key) == ("tracker", "tracker")]
    return bool(asked) and asked[-1] != chosen.get("tracker", "byte")


def fields() -> Iterator[tuple[str, str, dataclasses.Field[Any]]]:
    """Section, key and dataclass field of every setting."""
    for section, cls in SECTIONS.items():
        for item in dataclasses.fields(cls):
            yield section, item.name, item


def variable_name(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"MOTRAIL_{section}_{key}".upper()


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: what was perhaps meant, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def _entries(layer: Layer) -> Iterator[tuple[str, str, Any]]:
    for section, values in layer.values.items():
        if section == SEARCH:
            _check_search(values, layer.origin)
            continue
        if section not in SECTIONS:
            raise ConfigError(
                f"{layer.origin}: unknown section [{section}]"
                f"{nearest(section, [*SECTIONS, SEARCH])}"
            )
        if not hasattr(values, "items"):
            raise ConfigError(f"{layer.origin}: {section}: expected a section [{section}]")
        keys = [item.name for item in dataclasses.fields(SECTIONS[section])]
        for key, value in values.items():
            if key not in keys:
                raise ConfigError(
                    f"{layer.origin}: [{section}] unknown key {key!r}{nearest(key, keys)}"
                )
            yield section, key, value


def _check_search(values: Any, origin: str) -> None:
    """See that ranges are well-formed, also for those who have no use for them."""
    from motrail.config.ranges import read_ranges  # which stands on this module

    read_ranges(values, origin)


@functools.cache
def _adapter(expected: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(expected, config=ConfigDict(allow_inf_nan=False))


def _is_list(expected: Any) -> bool:
    kinds = (expected, *getattr(expected, "__args__", ()))
    return any(getattr(kind, "__origin__", None) is tuple for kind in kinds)


def checked(section: str, key: str, value: Any, origin: str, *, text: bool = False) -> Any:
    """A value as the setting has it: with `text`, text is read; a list is made a tuple.

    Raises:
        ConfigError: It has the wrong type.
    """
    from pydantic import ValidationError

    expected = get_type_hints(SECTIONS[section])[key]
    from_text = text and isinstance(value, str)
    if isinstance(value, str) and (key == "classes" or (from_text and _is_list(expected))):
        value = [name.strip() for name in value.split(",") if name.strip()]
    elif from_text and value == "" and type(None) in getattr(expected, "__args__", ()):
        value = None
    try:
        # Text is converted; a file has types of its own and must use them.
        if isinstance(value, list):
            value = tuple(value)
        return _adapter(expected).validate_python(value, strict=not from_text)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise ConfigError(f"{origin}: [{section}] {key}: {what}, found {value!r}") from None
