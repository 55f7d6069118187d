"""What is searched: ranges of the settings of training, and how Optuna sees them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from motrail.config import Choice, Range
from motrail.config.training import WITHOUT_MIXUP
from motrail.tune.search import load_optuna

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motrail.config import Ranges, TrainSettings

_DIGITS = 3
"""Significant digits of what is drawn between two ends; more would say nothing."""
_QUARTERS = Range(0.0, 1.0, step=0.25)
_SCALES = ((0.1, 2.0), (0.5, 1.5), (0.8, 1.25))
_DECAYS = (0.99, 0.998, 0.9998)


def usual_ranges(settled: TrainSettings, size: str) -> Ranges:
    """What is searched where nobody says.

    Args:
        settled: The settings to start from, with all decided.
        size: Of the network: nano, tiny, s, m, l or x.
    """
    rate = settled.learning_rate or 0.02
    decay = settled.weight_decay or 5e-4
    found: Ranges = {
        "mosaic": _QUARTERS,
        "scale": _choice(_SCALES, settled.scale),
        "learning_rate": Range(_short(max(rate / 4, 1e-9)), _short(min(rate * 4, 100.0)), log=True),
        "weight_decay": Range(_short(decay / 10), _short(min(decay * 10, 1.0)), log=True),
        "average_decay": _choice(_DECAYS, settled.average_decay),
    }
    if size not in WITHOUT_MIXUP:
        found["mixup"] = _QUARTERS
    order = [item.name for item in dataclasses.fields(settled)]
    return {key: found[key] for key in sorted(found, key=order.index)}


def _choice(values: tuple[Any, ...], start: Any) -> Choice:
    return Choice(values if start in values else (*values, start))


class Space:
    """The ranges, joined with the settings that the search starts from.

    Args:
        base: The settings as they are.
        settled: The same with all decided; what trial 0 is trained with.
        ranges: What is searched.
    """

    def __init__(self, base: TrainSettings, settled: TrainSettings, ranges: Ranges) -> None:
        self.base, self.settled = base, settled
        self.ranges = dict(ranges)

    def settings(self, point: Mapping[str, Any]) -> TrainSettings:
        """All settings at a point."""
        return dataclasses.replace(self.base, **point)

    def start(self) -> dict[str, Any]:
        """The settings to start from, as far as they are within the ranges."""
        return {
            key: getattr(self.settled, key)
            for key, values in self.ranges.items()
            if values.holds(getattr(self.settled, key))
        }

    def values(self, settings: TrainSettings) -> dict[str, Any]:
        """What is searched, of settings; what they leave open is as in those to start from."""
        return {
            key: getattr(settings, key)
            if getattr(settings, key) is not None
            else getattr(self.settled, key)
            for key in self.ranges
        }

    def distributions(self) -> dict[str, Any]:
        """The ranges as Optuna takes them."""
        return {key: _distribution(values) for key, values in self.ranges.items()}

    def to_optuna(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point as Optuna keeps it: pairs as text, for it knows no pairs."""
        return {key: _plain(value) for key, value in point.items()}

    def of_optuna(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What Optuna drew, as settings, with no more digits than say something."""
        return {key: self._setting(key, params[key]) for key in self.ranges if key in params}

    def _setting(self, key: str, value: Any) -> Any:
        values = self.ranges[key]
        if isinstance(values, Choice):
            return next(known for known in values.values if _plain(known) == value)
        if values.whole:
            return int(value)
        if values.step is not None:
            count = round((value - values.low) / values.step)
            return _short(values.low + count * values.step, 12)
        return min(max(_short(value), values.low), values.high)

    def as_dict(self) -> dict[str, Any]:
        """The ranges, for `tune.json` and to compare with those of another time."""
        return {key: dict(_described(values)) for key, values in self.ranges.items()}


def _described(values: Range | Choice) -> Iterator[tuple[str, Any]]:
    if isinstance(values, Choice):
        yield "values", [list(v) if isinstance(v, tuple) else v for v in values.values]
        return
    yield "low", values.low
    yield "high", values.high
    if values.step is not None:
        yield "step", values.step
    if values.log:
        yield "log", True


def _distribution(values: Range | Choice) -> Any:
    distributions = load_optuna().distributions
    if isinstance(values, Choice):
        return distributions.CategoricalDistribution([_plain(value) for value in values.values])
    if values.whole:
        return distributions.IntDistribution(
            int(values.low), int(values.high), log=values.log, step=int(values.step or 1)
        )
    return distributions.FloatDistribution(
        values.low, values.high, log=values.log, step=values.step
    )


def _plain(value: Any) -> Any:
    return json.dumps(list(value)) if isinstance(value, tuple) else value


def _short(value: float, digits: int = _DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def shown(value: Any) -> str:
    """A value of a setting as people read it."""
    if isinstance(value, tuple | list):
        return "–".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)
