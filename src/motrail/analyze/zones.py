"""Zones, lines and teams, as a TOML file names them.

    [zones."left half"]
    polygon = [[0, 0], [640, 0], [640, 720], [0, 720]]

    [lines.halfway]
    unit = "m"
    start = [0, -34]
    end = [0, 34]

    [teams.red]
    ids = [1, 4, 9]

Places are pixels of the picture, or with `unit = "m"` metres on the ground of the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from motrail.analyze.calibration import apply
from motrail.analyze.toml import STRICT, Place, Text, read_toml
from motrail.errors import FormatError, MissingExtraError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from motrail.analyze.calibration import Calibration

_MOST = 200
_CORNERS = 500
_CELLS = 4096
"""Cells along the longer side of a zone: what is inside is known to so many parts of it."""


class _Zone(BaseModel):
    model_config = STRICT
    unit: Literal["px", "m"] = "px"
    polygon: Annotated[list[Place], Field(min_length=3, max_length=_CORNERS)]


class _Line(BaseModel):
    model_config = STRICT
    unit: Literal["px", "m"] = "px"
    start: Place
    end: Place


class _Team(BaseModel):
    model_config = STRICT
    ids: Annotated[list[int], Field(max_length=100_000)]


class _Content(BaseModel):
    model_config = STRICT
    zones: Annotated[dict[Text, _Zone], Field(max_length=_MOST)] = {}
    lines: Annotated[dict[Text, _Line], Field(max_length=_MOST)] = {}
    teams: Annotated[dict[Text, _Team], Field(max_length=_MOST)] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """An area of the picture.

    Attributes:
        name: What it is called.
        polygon: Corners in pixels, float64, shape (n, 2), in order; sides do not cross.
    """

    name: str
    polygon: NDArray[np.float64]

    def holds(self, pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the points are inside, bool, shape (n,).

        Args:
            pixels: Points of the picture, shape (n, 2); NaN is outside.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            import supervision as sv
        except ImportError as error:
            raise MissingExtraError("supervision", "analyze", error) from error
        low, high = self.polygon.min(axis=0), self.polygon.max(axis=0)
        near = ((pixels >= low) & (pixels <= high)).all(axis=1)
        inside = np.zeros(len(pixels), np.bool_)
        if not near.any():
            return inside
        # It fills whole cells: so as many of them as matter, wherever the zone is, however large.
        scale = _CELLS / max(float((high - low).max()), 1e-9)
        zone = sv.PolygonZone(np.rint((self.polygon - low) * scale).astype(np.int64))
        points = (pixels[near] - low) * scale
        inside[near] = zone.trigger(sv.Detections(xyxy=np.hstack([points, points])))
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line to be crossed.

    Attributes:
        name: What it is called.
        ends: Start and end in pixels, float64, shape (2, 2). Who comes to its left side, as seen
            in the picture from start to end, goes in; who leaves it goes out.
    """

    name: str
    ends: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Places:
    """What a zones file names.

    Attributes:
        zones: In the order of the file.
        lines: In the order of the file.
        teams: Name of the team of each id.
    """

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    teams: Mapping[int, str] | None = None


def read_places(path: str | os.PathLike[str], calibration: Calibration | None) -> Places:
    """Read a zones file.

    Raises:
        ConfigError: There is no such file.
        FormatError: It is no TOML, has other keys, a polygon without an area or with sides that
            cross, a line without length, an id in two teams, or metres without a calibration.
    """
    content = read_toml(path, _Content)
    zones: list[Zone] = []
    for name, zone in content.zones.items():
        where = f"zones.{name}"
        corners = _corners(path, where, zone.polygon)
        zones.append(Zone(name, _pixels(path, where, corners, zone.unit, calibration)))
    lines = []
    for name, line in content.lines.items():
        where = f"lines.{name}"
        given = np.array([line.start, line.end], np.float64)
        ends = _pixels(path, where, given, line.unit, calibration)
        if np.hypot(*(ends[1] - ends[0])) < 1:
            raise FormatError(path, "start and end are the same place", where=where)
        lines.append(Line(name, ends))
    teams: dict[int, str] = {}
    for name, team in content.teams.items():
        for number in team.ids:
            if teams.setdefault(number, name) != name:
                raise FormatError(
                    path, f"id {number} is in team {teams[number]!r} already", where=f"teams.{name}"
                )
    return Places(tuple(zones), tuple(lines), teams or None)


def _corners(
    path: str | os.PathLike[str], where: str, polygon: list[tuple[float, float]]
) -> NDArray[np.float64]:
    corners = np.array(polygon, np.float64)
    if (corners[0] == corners[-1]).all():  # closed, as some programs write it
        corners = corners[:-1].copy()
    same = (corners == np.roll(corners, -1, axis=0)).all(axis=1)
    corners = np.asarray(corners[~same], np.float64)
    x, y = corners.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    if len(corners) < 3:
        raise FormatError(path, "expected at least three different corners", where=where)
    crossing = _crossing_sides(corners)
    if crossing is not None:
        first, second = crossing
        raise FormatError(
            path,
            f"side {first} crosses side {second}, counted from 1; give the corners in the order "
            "in which one walks around the zone",
            where=where,
        )
    if area < 1e-6:
        raise FormatError(path, "the corners are on one line and enclose no area", where=where)
    return corners


def _crossing_sides(corners: NDArray[np.float64]) -> tuple[int, int] | None:
    """Two sides of a polygon that cross, counted from 1; None where there are none."""
    ends = np.roll(corners, -1, axis=0)

    def side(points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sign of the side of each line (row) on which each point (column) is."""
        run = (ends - corners)[:, None]
        gap = points[None] - corners[:, None]
        return np.asarray(
            np.sign(run[..., 0] * gap[..., 1] - run[..., 1] * gap[..., 0]), np.float64
        )

    apart = side(corners) * side(ends) < 0
    both = np.argwhere(apart & apart.T)
    return (int(both[0][0]) + 1, int(both[0][1]) + 1) if len(both) else None


def _pixels(
    path: str | os.PathLike[str],
    where: str,
    points: NDArray[np.float64],
    unit: str,
    calibration: Calibration | None,
) -> NDArray[np.float64]:
    if unit == "px":
        return points
    if calibration is None:
        raise FormatError(
            path, 'unit = "m" needs to know where metres are; give --calibration', where=where
        )
    pixels = apply(calibration.inverse, points)
    depth = pixels @ calibration.matrix[2, :2] + calibration.matrix[2, 2]
    if not (np.isfinite(pixels).all() and (depth > 1e-9).all()):
        raise FormatError(
            path,
            "a part of it is beyond the horizon, where the picture shows no ground; make it "
            "smaller",
            where=where,
        )
    return pixels
