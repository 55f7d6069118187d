"""The report: one HTML file with everything to look at."""

from __future__ import annotations

import heapq
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

import motrail
from motrail.analyze import drawings
from motrail.analyze.drawings import Trace, colors_of
from motrail.analyze.write import object_rows
from motrail.report.blocks import Cell, Column, Heading, Note, Row, Subheading, Table, Tile, Tiles
from motrail.report.figures import SERIES
from motrail.report.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.analyze.question import Block, Question
    from motrail.analyze.run import Analysis
    from motrail.report.blocks import Block as PageBlock

_TRACES = 200
_POINTS = 400
_MOST_ROWS = 500
_PLOTTED = 12
_MAX_NAME = 80


class PageMaker:
    """Keeps what is drawn of the rows while they pass, and writes the page.

    Args:
        question: What is asked.
        picture: A frame of the footage, blue, green, red; None without.
    """

    def __init__(self, question: Question, picture: NDArray[np.uint8] | None) -> None:
        self._question = question
        self._picture = picture
        self._traces: list[tuple[float, int, Trace]] = []

    def add(self, block: Block) -> None:
        """Take the rows of some objects; the paths of those who go farthest are kept, thinned."""
        ids, movement = block.rows.ids, block.movement
        starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
        ends = np.append(starts[1:], len(ids))
        distances = np.add.reduceat(movement.length, starts)
        for start, end, distance in zip(
            starts.tolist(), ends.tolist(), distances.tolist(), strict=True
        ):
            number = int(ids[start])
            key = (distance, -number)
            if len(self._traces) >= _TRACES and key <= self._traces[0][:2]:
                continue
            entry = (*key, self._trace(block, start, end, distance))
            if len(self._traces) < _TRACES:
                heapq.heappush(self._traces, entry)
            else:
                heapq.heappushpop(self._traces, entry)

    def _trace(self, block: Block, start: int, end: int, distance: float) -> Trace:
        rows = np.arange(start, end)[:: max(1, -(-(end - start) // _POINTS))]
        movement = block.movement
        columns = np.column_stack(
            [block.times[rows], block.pixels[rows], movement.xy[rows], movement.speed[rows],
             movement.low[rows], movement.high[rows]]
        )  # fmt: skip
        # A break where a new piece begins.
        breaks = np.flatnonzero(np.diff(movement.piece[rows])) + 1
        columns = np.insert(columns, breaks, np.nan, axis=0)
        first = columns[:, 0]
        first[np.isnan(first)] = np.interp(
            np.flatnonzero(np.isnan(first)),
            np.flatnonzero(np.isfinite(first)),
            first[np.isfinite(first)],
        )
        number = int(block.rows.ids[start])
        group = self._question.group_name(number, int(block.rows.class_ids[start]))
        return Trace(
            number, group, distance, first, columns[:, 1:3], columns[:, 3:5],
            columns[:, 5], columns[:, 6], columns[:, 7],
        )  # fmt: skip

    def write(self, path: Path, found: Analysis, about: Mapping[str, str]) -> None:
        """Write the page.

        Args:
            path: The file.
            found: What was found out.
            about: Name and value of what it was made from.

        Raises:
            MissingExtraError: jinja2 or matplotlib is not installed.
            OutputError: It cannot be written.
        """
        name = PurePath(about.get("tracks", "")).stem[:_MAX_NAME] or "tracks"
        page = Page(
            f"Movement in {name}",
            _subtitle(found),
            facts=_facts(found, about),
            footer=[
                ("Made by", f"motrail {motrail.__version__}"),
                ("Longest bridged gap", f"{found.question.max_gap:g} s"),
            ],
            extra="analyze",
        )
        traces = [entry[2] for entry in sorted(self._traces, key=lambda e: (-e[0], -e[1]))]
        page.add(_tiles(found))
        for text, times in found.notes.items():
            line = text if times == 1 else f"{text} ({times:,})"
            page.add(Note(line[:1].upper() + line[1:] + ".", warning=True))
        if len(found.objects):
            page.add(*self._drawn(found, traces))
            page.add(*_tables(found))
        if found.question.calibration is not None:
            page.add(*_calibration(found))
        page.add(*_method(found))
        page.write(path)

    def _drawn(self, found: Analysis, traces: list[Trace]) -> Iterator[PageBlock]:
        totals = {g: float(values.sum()) for g, values in found.occupancy["everywhere"].items()}
        usual = sorted(totals, key=lambda group: (-totals[group], group))
        colors = colors_of(usual) | {
            trace.group: SERIES[-1] for trace in traces if trace.group not in totals
        }
        for place, kind in zip(found.objects.ids.tolist(), found.objects.class_ids.tolist(),
                               strict=True):  # fmt: skip
            colors.setdefault(found.question.group_name(place, kind), SERIES[-1])
        yield Heading("Where they went", "paths")
        drawn = [drawings.top_down(found, traces, colors), drawings.heat_map(found)]
        if self._picture is not None:
            drawn.insert(0, drawings.on_picture(found, traces, colors, self._picture))
        yield Row(drawn)
        yield Heading(
            "How fast, how far",
            "speed",
            "In metres." if found.question.unit == "m" else
            "In pixels of the picture: give a calibration for metres.",
        )  # fmt: skip
        fast = [drawings.distances(found, colors)]
        if any(np.isfinite(trace.speed).any() for trace in traces):
            fast.insert(0, drawings.speeds(found, traces, colors))
        yield Row(fast)
        yield Heading("How many, and where", "zones")
        both = []
        if len(found.occupancy) <= _PLOTTED:
            both.append(drawings.occupancy(found, colors))
        if 0 < len(found.question.places.lines) <= _PLOTTED:
            both.append(drawings.crossings(found))
        yield Row(both)


def _subtitle(found: Analysis) -> str:
    if found.question.unit == "m":
        return "Paths, speeds and distances on the ground, in metres."
    return "Paths, speeds and distances in the picture, in pixels: there is no calibration."


def _facts(found: Analysis, about: Mapping[str, str]) -> list[tuple[str, str]]:
    facts = [(name.capitalize(), value) for name, value in about.items()]
    facts += [
        ("Objects", f"{len(found.objects):,}"),
        ("Boxes", f"{int(found.objects.boxes.sum()):,}"),
        ("Seconds", f"{found.duration:,.1f}"),
        ("Frames a second", f"{found.question.timing.rate:.6g} ({found.question.timing.source})"),
    ]
    return facts


def _tiles(found: Analysis) -> Tiles:
    objects, unit = found.objects, found.question.unit
    tiles = [Tile("Objects", f"{len(objects):,}", "identities in the tracks")]
    known = np.isfinite(objects.top)
    tiles.append(
        Tile("Distance", f"{objects.distance.sum():,.0f} {unit}", "of all objects together")
    )
    if known.any():
        sure = known & np.isfinite(objects.top_high)
        best = int(np.nanargmax(np.where(sure, objects.top, np.nan)))
        tiles.append(
            Tile(
                "Top speed",
                f"{objects.top[best]:.1f} {unit}/s",
                f"id {objects.ids[best]} at {objects.top_time[best]:.1f} s",
                f"95 %: {objects.top_low[best]:.1f} to {objects.top_high[best]:.1f}",
            )
        )
    if found.question.places.lines:
        tiles.append(Tile("Crossings", f"{len(found.crossings):,}", "of all lines"))
    if found.question.places.zones:
        tiles.append(Tile("Visits", f"{len(found.visits):,}", "to all zones"))
    calibration = found.question.calibration
    if calibration is not None:
        left = calibration.left_out_error
        tiles.append(
            Tile(
                "Calibration",
                f"±{calibration.error if left is None else left:.2f} m",
                "error at its points: no check with four"
                if left is None
                else "error at points that were left out",
            )
        )
    return Tiles(tiles)


def _tables(found: Analysis) -> Iterator[PageBlock]:
    yield Heading("Every object", "objects", "Click a heading to sort.")
    rows = sorted(
        object_rows(found), key=lambda row: -(row[f"distance_{found.question.unit}"] or 0)
    )
    words = {"class", "group"}
    names = [name for name in rows[0] if name != "boxes"]
    columns = [Column(_title(name), numeric=name not in words) for name in names]
    yield _table("Objects", columns, [[row[name] for name in names] for row in rows])
    if found.crossings:
        yield Subheading("Crossings")
        yield _table(
            "Crossings",
            [Column("line", numeric=False), Column("id"), Column("direction", numeric=False),
             Column("at, s"), Column("unseen", "in a gap of the track", numeric=False)],
            [[r[0], r[1], r[2], r[3], "yes" if r[7] else ""] for r in found.crossings],
        )  # fmt: skip
    if found.visits:
        yield Subheading("Visits to zones")
        yield _table(
            "Visits",
            [Column("zone", numeric=False), Column("id"), Column("from, s"), Column("to, s"),
             Column("dwell, s")],
            found.visits,
        )  # fmt: skip


def _table(name: str, columns: list[Column], rows: Any) -> Table:
    cells = [[_cell(value) for value in row] for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        name += f": the first {_MOST_ROWS} of {len(rows):,}; all are in the CSV file"
    return Table(name, columns, cells)


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell("–")
    if isinstance(value, int):
        return Cell(str(value), float(value))
    return Cell(f"{value:.2f}", value) if isinstance(value, float) else Cell(str(value))


def _title(name: str) -> str:
    """`mean_speed_m_s` as `mean speed, m/s`."""
    for end, unit in (
        ("_m_s2", "m/s²"), ("_px_s2", "px/s²"), ("_m_s", "m/s"), ("_px_s", "px/s"), ("_m", "m"),
        ("_px", "px"), ("_s", "s"),
    ):  # fmt: skip
        if name.endswith(end):
            return f"{name.removesuffix(end).replace('_', ' ')}, {unit}"
    return name


def _calibration(found: Analysis) -> Iterator[PageBlock]:
    calibration = found.question.calibration
    assert calibration is not None  # noqa: S101
    yield Heading(
        "Calibration",
        "calibration",
        "How far each point is from where the homography puts it; left out: from where the other "
        "points alone put it. One that is far off in pixels was most likely given wrongly; one "
        "that is far off only when left out stands where there are no others.",
    )
    document = calibration.as_dict()["points"]
    yield _table(
        "Points",
        [Column("point", numeric=False), Column("x, px"), Column("y, px"), Column("x, m"),
         Column("y, m"), Column("error, m"), Column("left out, m"), Column("error, px")],
        [
            [p["name"], *p["pixel"], *p["ground"], p["error_m"], p["left_out_error_m"],
             p["error_px"]]
            for p in document
        ],
    )  # fmt: skip


def _method(found: Analysis) -> Iterator[PageBlock]:
    yield Heading(
        "How it was found out",
        "method",
        "An object stands where the middle of the lower side of its box is. Paths are smoothed "
        "with a Kalman smoother whose acceleration fades; how strong it is, and how far boxes err, "
        "is what makes these very tracks most likely. The interval of a speed is that of the "
        "smoother; errors of the calibration come on top.",
    )
    unit = found.question.unit
    yield _table(
        "Motion",
        [Column("class", numeric=False), Column(f"change of speed within a second, {unit}/s"),
         Column("box error to the side, heights"), Column("along the height"),
         Column("share that lasts"), Column("for, s")],
        [
            [name, float(np.sqrt(m.agility)), m.noise_u, m.noise_v, m.lasting,
             m.seconds if m.lasting else None]
            for name, m in found.motions.items()
        ],
    )  # fmt: skip
