"""`[search]`: between which values `motrail tune detector` looks for the settings of training.

A table is a range, a list a choice:

    [search]
    learning_rate = { low = 0.002, high = 0.05, log = true }
    mosaic = { low = 0, high = 1, step = 0.25 }
    scale = [[0.5, 1.5], [0.8, 1.25]]
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from motrail.config.layers import SEARCH, checked, nearest, toml_layer
from motrail.config.training import TrainSettings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

NOT_SEARCHED = {
    "epochs": "longer is nearly always better, so it is for you to say how long",
    "patience": "it ends training early, and all trials are to be alike in that",
    "seed": "a better seed is luck",
    "best_by": "it is the goal; see --goal",
    "validate_every": "values of trials are compared epoch by epoch",
    "bad_pictures": "it is about the pictures, not about learning",
    "device": "it is about the machine, not about learning",
    "precision": "it is about the machine, not about learning",
    "compile": "it is about the machine, not about learning",
    "workers": "it is about the machine, not about learning",
    "cache_gb": "it is about the machine, not about learning",
    "checkpoint_minutes": "it is about the machine, not about learning",
    "log_every": "it is about the log, not about learning",
}
"""Keys of `[train]` that cannot be searched, and why."""
SEARCHED = tuple(
    item.name for item in dataclasses.fields(TrainSettings) if item.name not in NOT_SEARCHED
)
"""Keys that can."""

_KEYS = ("low", "high", "step", "log")
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two ends.

    Attributes:
        low: The smallest.
        high: The largest.
        step: From one to the next, from `low` on; None for any in between.
        log: Whether equal ratios count the same, rather than equal differences.
        whole: Whether they are whole numbers.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    def holds(self, value: object) -> bool:
        """Whether a value is one of them."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        if self.step is None:
            return not self.whole or value == int(value)
        return _is_multiple(value - self.low, self.step)


@dataclass(frozen=True, slots=True)
class Choice:
    """A few values: numbers, words, or pairs of numbers."""

    values: tuple[Any, ...]

    def holds(self, value: object) -> bool:
        """Whether a value is one of them."""
        return value in self.values


Ranges = dict[str, Range | Choice]
"""What is searched, by key of `[train]`."""


def search_ranges(path: str | os.PathLike[str]) -> Ranges | None:
    """The ranges of a TOML file; None where it has no section `[search]`.

    Raises:
        ConfigError: The file cannot be read, or a range is none.
        FormatError: It is no TOML.
    """
    layer = toml_layer(path)
    if SEARCH not in layer.values:
        return None
    return read_ranges(layer.values[SEARCH], layer.origin)


def read_ranges(section: Mapping[str, Any], origin: str) -> Ranges:
    """Ranges from the content of a section.

    Args:
        section: Key → table or list.
        origin: Where it comes from, for messages.

    Returns:
        The ranges, in the order of the settings, whatever their order in the file.

    Raises:
        ConfigError: A key is unknown or cannot be searched, or a range is none.
    """
    if not hasattr(section, "items"):
        raise ConfigError(f"{origin}: {SEARCH}: expected a section [{SEARCH}]")
    if not section:
        raise ConfigError(f"{origin}: [{SEARCH}]: expected at least one setting and its range")
    found = {key: _read(key, value, origin) for key, value in section.items()}
    return {key: found[key] for key in SEARCHED if key in found}


def _read(key: str, value: Any, origin: str) -> Range | Choice:
    where = f"{origin}: [{SEARCH}] {key}"
    if key in NOT_SEARCHED:
        raise ConfigError(f"{where}: cannot be searched: {NOT_SEARCHED[key]}")
    if key not in SEARCHED:
        raise ConfigError(f"{origin}: [{SEARCH}] unknown key {key!r}{nearest(key, SEARCHED)}")
    if isinstance(value, list):
        return _choice(key, value, where)
    if hasattr(value, "items"):
        return _range(key, value, where)
    raise ConfigError(
        f"{where}: expected a range as in {{ low = 1, high = 2 }}, or a list of values, found "
        f"{value!r}"
    )


def _choice(key: str, values: list[Any], where: str) -> Choice:
    if len(values) < 2:
        raise ConfigError(f"{where}: expected two values or more to choose from, found {values!r}")
    chosen = tuple(_allowed(key, value, where) for value in values)
    for place, value in enumerate(chosen):
        if value in chosen[:place]:
            raise ConfigError(f"{where}: expected each value once, found {values[place]!r} again")
    return Choice(chosen)


def _range(key: str, table: Mapping[str, Any], where: str) -> Range:
    whole = _kind(key, where) is int
    for word in table:
        if word not in _KEYS:
            raise ConfigError(f"{where}: unknown key {word!r}{nearest(word, _KEYS)}")
    for word in ("low", "high"):
        if word not in table:
            raise ConfigError(f"{where}: expected low and high, found no {word}")
    numbers = {word: _number(table[word], whole, f"{where}: {word}") for word in table
               if word != "log"}  # fmt: skip
    log = table.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log: expected true or false, found {log!r}")
    found = Range(numbers["low"], numbers["high"], numbers.get("step"), log, whole)
    _check_form(found, where)
    _check_ends(key, found, where)
    return found


def _check_form(found: Range, where: str) -> None:
    low, high, step = found.low, found.high, found.step
    if low > high:
        raise ConfigError(f"{where}: expected low to be at most high ({high}), found {low}")
    if found.log and low <= 0:
        raise ConfigError(f"{where}: expected low above 0, as log is true, found {low}")
    if step is None:
        return
    if found.log:
        raise ConfigError(f"{where}: expected either step or log, found both")
    if step <= 0:
        raise ConfigError(f"{where}: step: expected a number above 0, found {step}")
    if not _is_multiple(high - low, step):
        raise ConfigError(
            f"{where}: expected high to be some steps above low, found {low} to {high} in steps of "
            f"{step}"
        )


def _check_ends(key: str, found: Range, where: str) -> None:
    """See that training takes what is in the range: its ends, and what is next to them."""
    step = found.step or (1 if found.whole else 0)
    for value in {found.low, found.high, min(found.low + step, found.high)}:
        _allowed(key, int(value) if found.whole else float(value), where)


def _allowed(key: str, value: Any, where: str) -> Any:
    """The value as training takes it.

    Raises:
        ConfigError: It does not.
    """
    # A number written without a point is a number all the same.
    if isinstance(value, int) and not isinstance(value, bool) and _is_number(key) is float:
        value = float(value)
    try:
        known = checked("train", key, value, "")
        TrainSettings(**{key: known})
    except ConfigError as error:
        reason = str(error).removeprefix(": [train] ").removeprefix(f"{key}: ")
        raise ConfigError(f"{where}: {reason}") from None
    return known


def _is_number(key: str) -> type | None:
    """`int` or `float` for a setting that is a number, None for any other."""
    expected = get_type_hints(TrainSettings)[key]
    kinds = {expected, *getattr(expected, "__args__", ())} - {type(None)}
    for kind in (int, float):
        if kind in kinds and bool not in kinds and not hasattr(expected, "__origin__"):
            return kind
    return None


def _kind(key: str, where: str) -> type:
    kind = _is_number(key)
    if kind is None:
        raise ConfigError(f"{where}: expected a list of values to choose from, found a range")
    return kind


def _number(value: Any, whole: bool, where: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or (whole and value != int(value))
    ):
        what = "a whole number" if whole else "a number"
        raise ConfigError(f"{where}: expected {what}, found {value!r}")
    return int(value) if whole else float(value)


def _is_multiple(length: float, step: float) -> bool:
    count = round(length / step)
    return abs(count * step - length) <= _TOLERANCE * max(abs(length), step)
