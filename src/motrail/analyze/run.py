"""From a track file to what it says of the world."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.analyze.calibration import apply
from motrail.analyze.collect import Collector
from motrail.analyze.ground import place_feet
from motrail.analyze.motion import find_pieces, follow, learn
from motrail.analyze.objects import Objects, ObjectSums
from motrail.analyze.presence import slots
from motrail.analyze.question import Block, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from motrail.analyze.collect import Heat
    from motrail.analyze.motion import Movement
    from motrail.analyze.rows import Rows
    from motrail.analyze.smooth import Motion

    Progress = Callable[[str, int, int | None], None]

_BLOCK = 400_000
_SAMPLE = 120_000


@dataclass(slots=True, eq=False)
class Analysis:
    """What was found out.

    Attributes:
        question: What was asked.
        objects: Sums by object.
        crossings: A row for each: line, id, direction, seconds, frame, x, y, whether unseen.
        visits: A row for each: zone, id, seconds from, until, in between.
        occupancy: By zone and group, how many there are on average in each bin of time, shape
            (bins,); `everywhere` is the whole picture.
        bin_seconds: Width of a bin.
        heat: Where they are.
        motions: By class, how its objects move and its boxes err.
        notes: What the reader must know, and how often.
        duration: Seconds from the first frame to the last with a box.
    """

    question: Question
    objects: Objects
    crossings: list[tuple[Any, ...]]
    visits: list[tuple[Any, ...]]
    occupancy: dict[str, dict[str, NDArray[np.float64]]]
    bin_seconds: float
    heat: Heat
    motions: dict[str, Motion]
    notes: Counter[str]
    duration: float


def analyze(
    question: Question,
    *,
    each: Callable[[Block], None] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Find out what the tracks say.

    Whole objects are looked at some at a time, so that long recordings do not fill the memory.

    Args:
        question: What is asked.
        each: Gets every row with what was found out about it, in order of ids.
        progress: Told of the boxes done.

    Raises:
        DataError: The tracks do not fit the video.
        MissingExtraError: supervision is not installed, and there are zones.
    """
    rows = question.rows
    times = question.timing.of(rows.frames)
    notes: Counter[str] = Counter()
    motions = _learn_all(question, times)
    sums, found = ObjectSums(), Collector(question, times)
    for begin, end in _blocks(rows.ids):
        block, seconds = _look(question, rows.pick(slice(begin, end)), times[begin:end], motions)
        inside = [zone.holds(block.pixels) for zone in question.places.zones]
        sums.add(block.rows.ids, block.rows.class_ids, block.times, seconds, block.movement, inside)
        found.add(block, seconds, inside, _margins(block, motions))
        if each is not None:
            each(block)
        if progress is not None:
            progress("analyzing", end, len(rows.ids))
    objects = sums.joined(len(question.places.zones))
    _note(question, objects, notes)
    return Analysis(
        question,
        objects,
        sorted(found.crossings, key=lambda row: (row[3], row[1], row[0])),
        sorted(found.visits, key=lambda row: (row[2], row[1], row[0])),
        found.occupancy(),
        found.bin_seconds,
        found.heat,
        {question.class_name(number): motion for number, motion in motions.items()},
        notes,
        found.duration,
    )


def _learn_all(question: Question, times: NDArray[np.float64]) -> dict[int, Motion]:
    """How the objects of each class move, from a sample of whole tracks."""
    motions = {}
    rows = question.rows
    for number in np.unique(rows.class_ids).tolist():
        mine = np.flatnonzero(rows.class_ids == number)
        starts = np.flatnonzero(np.diff(rows.ids[mine], prepend=rows.ids[mine[0]] - 1))
        if len(mine) > _SAMPLE:
            share = max(2, -(-len(mine) // _SAMPLE))
            owner = np.cumsum(np.isin(np.arange(len(mine)), starts)) - 1
            kept = mine[owner % share == 0]
            # One long track more than fills the sample; its beginning will do.
            mine = kept[:_SAMPLE] if len(kept) else mine[:_SAMPLE]
        some = rows.pick(mine)
        feet = place_feet(some.boxes_xywh, question.calibration, question.size)
        piece = find_pieces(some.ids, times[mine], feet, question.max_gap)
        metres = question.calibration is not None
        motions[number] = learn(times[mine], feet, some.boxes_xywh[:, 3], piece, metres=metres)
    return motions


def _blocks(ids: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows from and until, of whole objects."""
    ends = np.append(np.flatnonzero(np.diff(ids)) + 1, len(ids)) if len(ids) else np.zeros(0)
    begin = 0
    while begin < len(ids):
        place = int(np.searchsorted(ends, begin + _BLOCK, side="right"))
        end = int(ends[max(place - 1, int(np.searchsorted(ends, begin, side="right")))])
        yield begin, end
        begin = end


def _look(
    question: Question, rows: Rows, times: NDArray[np.float64], motions: dict[int, Motion]
) -> tuple[Block, NDArray[np.float64]]:
    feet = place_feet(rows.boxes_xywh, question.calibration, question.size)
    piece = find_pieces(rows.ids, times, feet, question.max_gap)
    movement: Movement | None = None
    for number in np.unique(rows.class_ids).tolist():
        # An object that changes its class is followed in one go, as what it is first.
        first = np.flatnonzero(np.diff(rows.ids, prepend=rows.ids[0] - 1))
        owner = np.repeat(rows.class_ids[first], np.diff(np.append(first, len(rows.ids))))
        mine = owner == number
        if not mine.any():
            continue
        part = follow(times, feet, np.where(mine, piece, -1), motions[number])
        movement = part if movement is None else _merged(movement, part, mine)
    assert movement is not None  # noqa: S101  (a block has rows)
    pixels = feet.pixels.copy()
    known = np.isfinite(movement.xy).all(axis=1)
    if question.calibration is None:
        pixels[known] = movement.xy[known]
    else:
        pixels[known] = apply(question.calibration.inverse, movement.xy[known])
        lost = ~np.isfinite(pixels).all(axis=1)
        pixels[lost] = feet.pixels[lost]
    seconds = slots(rows.ids, times, question.max_gap, 1 / question.timing.rate)
    return Block(rows, times, pixels, movement), seconds


def _merged(one: Movement, other: Movement, mine: NDArray[np.bool_]) -> Movement:
    columns = (
        np.where(mine if a.ndim == 1 else mine[:, None], b, a)
        for a, b in zip(one, other, strict=True)
    )
    return type(one)(*columns)


def _margins(block: Block, motions: dict[int, Motion]) -> NDArray[np.float64]:
    """Pixels by which the place of each row may tremble."""
    noise = {number: max(m.noise_u, m.noise_v) for number, m in motions.items()}
    numbers, places = np.unique(block.rows.class_ids, return_inverse=True)
    share = np.array([noise[number] for number in numbers.tolist()])[places.reshape(-1)]
    return np.asarray(np.maximum(1.0, share * block.rows.boxes_xywh[:, 3]), np.float64)


def _note(question: Question, objects: Objects, notes: Counter[str]) -> None:
    if not len(objects):
        notes["there are no tracks in the file"] += 1
        return
    if question.calibration is None:
        notes[
            "without a calibration speeds are pixels a second: a pixel far from the camera is "
            "more ground than one near it"
        ] += 1
    hidden = int(objects.unusable.sum())
    if hidden:
        notes[
            "boxes whose foot is cut off by the edge of the picture, or too near the horizon, "
            "count for presence and not for movement"
        ] += hidden
    short = int((~np.isfinite(objects.top)).sum())
    if short:
        notes["objects with less than three usable boxes in a row have no speed"] += short
    if question.size is not None:
        low, high = np.zeros(2), np.array(question.size, np.float64)
        for zone in question.places.zones:
            if (zone.polygon.max(axis=0) < low).any() or (zone.polygon.min(axis=0) > high).any():
                notes[f"zone {zone.name!r} is outside the picture"] += 1
        for line in question.places.lines:
            if (line.ends.max(axis=0) < low).any() or (line.ends.min(axis=0) > high).any():
                notes[f"line {line.name!r} is outside the picture"] += 1
    if question.places.teams:
        absent = set(question.places.teams) - set(objects.ids.tolist())
        if absent:
            notes["ids of a team are not in the tracks"] += len(absent)
