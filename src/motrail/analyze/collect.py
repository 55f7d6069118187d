"""What is kept of the rows while they pass: crossings, visits, occupancy, where objects are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from motrail.analyze.crossings import find_crossings
from motrail.analyze.ground import place_feet
from motrail.analyze.presence import bins_of, find_visits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.analyze.question import Block, Question
    from motrail.analyze.rows import Rows
    from motrail.analyze.zones import Line

_HEAT = 96
EVERYWHERE = "everywhere"


class Heat(NamedTuple):
    """How long there was somebody in each cell of a grid.

    Attributes:
        seconds: Shape (rows, columns), first row at the least y.
        low: Least x and y, in the unit of the ground.
        high: Largest x and y.
    """

    seconds: NDArray[np.float64]
    low: tuple[float, float]
    high: tuple[float, float]


class Collector:
    """Takes blocks, and keeps what is small of them."""

    def __init__(self, question: Question, times: NDArray[np.float64]) -> None:
        self._question = question
        self.duration = float(times.max() - times.min()) if len(times) else 0.0
        self._start = float(times.min()) if len(times) else 0.0
        self.bin_seconds = bins_of(self.duration + 1 / question.timing.rate)
        # Rounded down a little, so that a whole number of bins does not become one more.
        span = (self.duration + 1 / question.timing.rate) / self.bin_seconds
        self._bins = max(1, int(np.ceil(span - 1e-6)))
        self._busy: dict[tuple[str, str], NDArray[np.float64]] = {}
        self.crossings: list[tuple[Any, ...]] = []
        self.visits: list[tuple[Any, ...]] = []
        low, high = _extent(question)
        longer = max(high[0] - low[0], high[1] - low[1], 1e-9)
        shape = [max(1, round(_HEAT * (high[axis] - low[axis]) / longer)) for axis in (1, 0)]
        self.heat = Heat(np.zeros(shape), low, high)

    def add(
        self,
        block: Block,
        seconds: NDArray[np.float64],
        inside: list[NDArray[np.bool_]],
        margin: NDArray[np.float64],
    ) -> None:
        """Take the rows of some objects.

        Args:
            block: The rows.
            seconds: That each stands for, shape (n,).
            inside: For each zone which rows are in it, bool, shape (n,).
            margin: Pixels by which each may tremble, shape (n,).
        """
        question, rows = self._question, block.rows
        groups = self._groups(rows)
        self._count(EVERYWHERE, groups, block.times, seconds, np.ones(len(seconds), np.bool_))
        for zone, mask in zip(question.places.zones, inside, strict=True):
            self._count(zone.name, groups, block.times, seconds, mask)
            visits = find_visits(rows.ids, block.times, seconds, mask, question.max_gap)
            self.visits += zip(
                [zone.name] * len(visits.first),
                rows.ids[visits.first].tolist(),
                block.times[visits.first].tolist(),
                (block.times[visits.first] + visits.seconds).tolist(),
                visits.seconds.tolist(),
                strict=True,
            )
        for line in question.places.lines:
            self._cross(line, block, margin)
        places = block.movement.xy if question.calibration is not None else block.pixels
        known = np.isfinite(places).all(axis=1)
        (x0, y0), (x1, y1) = self.heat.low, self.heat.high
        bins = self.heat.seconds.shape
        added, _, _ = np.histogram2d(
            places[known, 1], places[known, 0], bins, [(y0, y1), (x0, x1)], weights=seconds[known]
        )
        self.heat.seconds[:] += added

    def _groups(self, rows: Rows) -> NDArray[np.str_]:
        pairs, which = np.unique(
            np.column_stack([rows.ids, rows.class_ids]), axis=0, return_inverse=True
        )
        names = [self._question.group_name(number, kind) for number, kind in pairs.tolist()]
        return np.array(names)[which.reshape(-1)]

    def _count(
        self,
        zone: str,
        groups: NDArray[np.str_],
        times: NDArray[np.float64],
        seconds: NDArray[np.float64],
        mask: NDArray[np.bool_],
    ) -> None:
        place = ((times - self._start) // self.bin_seconds).astype(np.intp)
        place = np.minimum(place, self._bins - 1)
        for group in np.unique(groups).tolist():
            mine = mask & (groups == group)
            busy = np.bincount(place[mine], seconds[mine], self._bins)
            known = self._busy.setdefault((zone, group), np.zeros(self._bins))
            known += busy

    def _cross(self, line: Line, block: Block, margin: NDArray[np.float64]) -> None:
        found = find_crossings(
            line, block.rows.ids, block.times, block.pixels, margin, self._question.max_gap
        )
        self.crossings += zip(
            [line.name] * len(found.rows),
            block.rows.ids[found.rows].tolist(),
            ["in" if inwards else "out" for inwards in found.inwards.tolist()],
            found.times.tolist(),
            block.rows.frames[found.rows].tolist(),
            found.pixels[:, 0].tolist(),
            found.pixels[:, 1].tolist(),
            found.unseen.tolist(),
            strict=True,
        )

    def occupancy(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """By zone and group, how many there are on average."""
        # The last bin may be shorter.
        left = self.duration + 1 / self._question.timing.rate - (self._bins - 1) * self.bin_seconds
        widths = np.full(self._bins, self.bin_seconds)
        widths[-1] = max(left, 1 / self._question.timing.rate)
        result: dict[str, dict[str, NDArray[np.float64]]] = {}
        for zone in (EVERYWHERE, *(zone.name for zone in self._question.places.zones)):
            named = {g: busy for (z, g), busy in self._busy.items() if z == zone}
            result[zone] = {group: named[group] / widths for group in sorted(named)}
        return result


def _extent(question: Question) -> tuple[tuple[float, float], tuple[float, float]]:
    """The part of the ground, or of the picture, that is looked at."""
    if question.calibration is None and question.size is not None:
        return (0.0, 0.0), (float(question.size[0]), float(question.size[1]))
    boxes = question.rows.boxes_xywh
    boxes = boxes[:: max(1, len(boxes) // 100_000)]
    feet = place_feet(boxes, question.calibration, question.size)
    xy = feet.xy[feet.usable]
    if not len(xy):
        return (0.0, 0.0), (1.0, 1.0)
    low, high = np.percentile(xy, (0.5, 99.5), axis=0)
    room = np.maximum(0.08 * (high - low).max(), 0.5 if question.calibration else 5.0)
    low, high = low - room, high + room
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))
