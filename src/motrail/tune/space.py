"""What is searched: the settings of the tracker, each on a grid.

On a grid the same settings come up again, and what they scored can be looked up. The settings that
the search starts from are always a point of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.config import RefineSettings, TrackerSettings

Sections = Mapping[str, Mapping[str, Any]]
"""Settings as in a TOML file: section → key → value, every key of a section."""
Point = Mapping[str, int]
"""The index of the value of each dimension."""


def _steps(low: float, high: float) -> tuple[float, ...]:
    """From `low` to `high` in steps of 0.05."""
    return tuple(round(n * 0.05, 2) for n in range(round(low / 0.05), round(high / 0.05) + 1))


_GRIDS: dict[str, tuple[Any, ...]] = {
    "high_threshold": _steps(0.05, 0.95),
    "low_threshold": _steps(0, 0.6),
    "match_threshold": _steps(0.4, 1),
    "second_match_threshold": _steps(0.1, 1),
    "unconfirmed_match_threshold": _steps(0.2, 1),
}
_OF_BYTE: dict[str, tuple[Any, ...]] = {"score_fusion": (False, True)}
_OF_STEADY: dict[str, tuple[Any, ...]] = {
    "height_weight": (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    "surprise_weight": (0.0, 0.05, 0.1, 0.15, 0.2, 0.3),
    "measurement_noise": (0.03, 0.05, 0.07, 0.1, 0.14, 0.2),
    "revive_match_threshold": _steps(0.1, 0.7),
    "revive_frames": (0, 2, 5, 10, 15, 21, 30),
    "coast_frames": (0, 1, 2, 3, 5, 8),
}
_ABOVE_HIGH = _steps(0, 0.4)
"""How far the score that begins a track is above `high_threshold`."""
_LOST_FRAMES = (0, 2, 5, 8, 11, 15, 21, 30, 42, 60, 85, 120, 170, 240)
_LOST_SECONDS = (0, 0.1, 0.2, 0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6, 8)
_MOVE = 2
"""Steps of the grid that a setting is moved at first."""
_REFINE: dict[str, tuple[Any, ...]] = {
    "max_gap": (0, 5, 10, 15, 20, 30, 45, 60),
    "smoothing": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
    "min_length": (0, 2, 3, 5, 8, 12, 20, 30),
}


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting that is searched.

    Attributes:
        section: Of the TOML file.
        key: In the section.
        values: What is tried, ascending.
        start: Index of the value the search starts from.
    """

    section: str
    key: str
    values: tuple[Any, ...]
    start: int

    @classmethod
    def around(cls, section: str, key: str, grid: tuple[Any, ...], value: Any) -> Dimension:
        """The grid, and the value to start from if it is none of it."""
        values = tuple(sorted({*grid, value}))
        return cls(section, key, values, values.index(value))

    @property
    def name(self) -> str:
        """`section.key`."""
        return f"{self.section}.{self.key}"


class Space:
    """The settings that are tried.

    Args:
        tracker: Settings to start from; what is not searched keeps their values.
        refine: The same for what is done to finished tracks.
        search_refine: Whether that is searched too.

    Attributes:
        base: The settings to start from.
        dimensions: What is searched.
    """

    def __init__(
        self, tracker: TrackerSettings, refine: RefineSettings, *, search_refine: bool = False
    ) -> None:
        self.base: Sections = {"tracker": dataclasses.asdict(tracker)}
        self.dimensions = _tracker_dimensions(tracker)
        if search_refine or refine.active:
            self.base = {**self.base, "refine": dataclasses.asdict(refine)}
        if search_refine:
            self.dimensions += _refine_dimensions(refine)

    @property
    def start(self) -> Point:
        """The point of the base settings."""
        return {dimension.name: dimension.start for dimension in self.dimensions}

    def around_start(self) -> Iterator[Point]:
        """The starting point, then one setting at a time moved a little down and up."""
        yield self.start
        for dimension in self.dimensions:
            for index in (dimension.start - _MOVE, dimension.start + _MOVE):
                moved = min(max(index, 0), len(dimension.values) - 1)
                if moved != dimension.start:
                    yield {**self.start, dimension.name: moved}

    def settings(self, point: Point) -> Sections:
        """The settings of a point; of the starting point, the base settings as they are."""
        if point == self.start:
            return self.base
        chosen = {section: dict(values) for section, values in self.base.items()}
        for dimension in self.dimensions:
            value = dimension.values[point[dimension.name]]
            chosen[dimension.section][dimension.key] = value
        tracker = chosen["tracker"]
        high = tracker["high_threshold"]
        tracker["low_threshold"] = min(tracker["low_threshold"], high)
        # A score is 1 at most: a track that cannot begin is no way to follow anything.
        begin = min(round(high + tracker["new_track_threshold"], 6), max(high, 1.0))
        tracker["new_track_threshold"] = begin
        return chosen

    def changes(self, settings: Sections) -> dict[str, tuple[Any, Any]]:
        """What differs from the base: `section.key` → the old and the new value."""
        return {
            f"{section}.{key}": (old, settings[section][key])
            for section, values in self.base.items()
            for key, old in values.items()
            if settings[section][key] != old
        }


def _tracker_dimensions(base: TrackerSettings) -> tuple[Dimension, ...]:
    grids = _GRIDS | (_OF_STEADY if base.tracker == "steady" else _OF_BYTE)
    found = [
        Dimension.around("tracker", key, grid, getattr(base, key)) for key, grid in grids.items()
    ]
    # Below `high_threshold` it changes nothing: only what reaches that may begin a track.
    above = max(0.0, round(base.new_track_threshold - base.high_threshold, 6))
    found.append(Dimension.around("tracker", "new_track_threshold", _ABOVE_HIGH, above))
    if base.lost_seconds is None:
        lost = Dimension.around("tracker", "lost_frames", _LOST_FRAMES, base.lost_frames)
    else:
        lost = Dimension.around("tracker", "lost_seconds", _LOST_SECONDS, base.lost_seconds)
    return (*found, lost)


def _refine_dimensions(base: RefineSettings) -> tuple[Dimension, ...]:
    return tuple(
        Dimension.around("refine", key, grid, getattr(base, key))
        for key, grid in _REFINE.items()
        if getattr(base, f"{key}_seconds") is None  # which would win
    )
