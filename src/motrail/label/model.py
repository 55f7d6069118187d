"""Objects of a sequence as points in time, and the boxes in between.

A point says where an object is in one frame. Between two neighbouring points the box is
interpolated linearly in left, top, width and height; before the first and after the last point the
object is not there. The page, the exporter and the scripted labeller go by this one rule.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motrail.formats.keyframes import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Points = NDArray[np.float64]
"""Columns frame, left, top, width, height, flags; float64, shape (n, 6), frames ascending."""

HAND = 1
"""A person set or confirmed the point: a keyframe. Others were filled in by a machine."""
GAP = 2
"""After the point the object is not there until its next point."""
OCCLUDED = 4
"""From the point up to the next one the object is hidden behind something."""

FLAGS = HAND | GAP | OCCLUDED
END = 1 << 52
"""A frame after every other."""

Value = str | float | bool
"""Of an attribute."""
Status = Literal["", "proposed"]
Source = Literal["hand", "import", "tracker", "propagation"]


def no_points() -> Points:
    """Of an object that is nowhere."""
    return np.zeros((0, 6))


@dataclass(frozen=True, slots=True, eq=False)
class LabelObject:
    """One object of a sequence.

    Attributes:
        id: Its number in the sequence and in the dataset; never used again for another one.
        label: Name of its class.
        points: Where it is; see `Points`. Never changed in place.
        ignore: Whether it is a region in which nothing counts as right or wrong.
        status: `proposed` where a person has not yet accepted it; proposals are not exported.
        attributes: By name.
        note: What a person wrote to it.
        score: Of a tracker, 0 to 1; None where there is none.
        source: What made it.
    """

    id: int
    label: str
    points: Points = field(default_factory=no_points)
    ignore: bool = False
    status: Status = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    note: str = ""
    score: float | None = None
    source: Source = "hand"

    def replace(self, **changes: Any) -> LabelObject:
        """The same object but for the attributes given."""
        return dataclasses.replace(self, **changes)

    def fields(self) -> dict[str, Any]:
        """All but the id and the points, as JSON has it."""
        return {
            "class": self.label,
            "ignore": self.ignore,
            "status": self.status,
            "attributes": dict(self.attributes),
            "note": self.note,
            "score": self.score,
            "source": self.source,
        }

    def as_dict(self) -> dict[str, Any]:
        """The whole object as JSON has it."""
        return {"id": self.id, **self.fields(), "points": rows_of(self.points)}

    @classmethod
    def of(cls, number: int, fields: Mapping[str, Any], points: Points) -> LabelObject:
        """The opposite of `fields`."""
        rest = {name: value for name, value in fields.items() if name != "class"}
        return cls(number, fields["class"], points, **rest)


def points_of(rows: Iterable[Sequence[float]]) -> Points:
    """Points from rows as JSON has them, in any order; the last of a frame counts."""
    table = np.array(list(rows), np.float64).reshape(-1, 6)
    order = np.argsort(table[:, 0], kind="stable")
    table = table[order]
    last = np.append(np.diff(table[:, 0]) != 0, True)[: len(table)]
    points: Points = table[last]
    return points


def rows_of(points: Points) -> list[list[float]]:
    """Points as JSON has them: whole numbers for frame and flags."""
    return [[int(frame), x, y, w, h, int(flags)] for frame, x, y, w, h, flags in points.tolist()]


def frames_of(points: Points) -> NDArray[np.int64]:
    """Frame of each point, int64."""
    return points[:, 0].astype(np.int64)


def flags_of(points: Points) -> NDArray[np.int64]:
    """Flags of each point, int64."""
    return points[:, 5].astype(np.int64)


class Boxes(NamedTuple):
    """An object's boxes, one for each frame in which it is there.

    Attributes:
        frames: int64, shape (n,), ascending.
        boxes_xywh: float64, shape (n, 4).
        occluded: bool, shape (n,).
        hand: Whether a person set or confirmed the box itself, bool, shape (n,).
    """

    frames: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    occluded: NDArray[np.bool_]
    hand: NDArray[np.bool_]


def boxes_of(points: Points) -> Boxes:
    """The boxes of every frame in which the object is there."""
    frames, flags = frames_of(points), flags_of(points)
    if not len(points):
        none = np.zeros(0, np.bool_)
        return Boxes(frames, np.zeros((0, 4)), none, none)
    goes_on = (flags & GAP) == 0
    goes_on[-1] = False
    shown = np.ones(len(points), np.bool_)
    filled = fill(frames, points[:, 1:5], shown, goes_on, int(frames[-1]))
    said = flags[filled.source]
    return Boxes(
        filled.frames,
        filled.boxes_xywh,
        (said & OCCLUDED) != 0,
        filled.keyframe & ((said & HAND) != 0),
    )


def count_boxes(points: Points) -> int:
    """How many frames the object is in."""
    if not len(points):
        return 0
    steps = np.diff(points[:, 0])
    gap = (flags_of(points)[:-1] & GAP) != 0
    return int(np.where(gap, 1, steps).sum()) + 1


def spans_of(points: Points) -> NDArray[np.int64]:
    """First and last frame of each stretch in which the object is there, int64, shape (n, 2)."""
    if not len(points):
        return np.zeros((0, 2), np.int64)
    frames = frames_of(points)
    cut = np.flatnonzero(((flags_of(points)[:-1] & GAP) != 0) & (np.diff(frames) > 1))
    starts, ends = np.append(0, cut + 1), np.append(cut, len(points) - 1)
    return np.stack([frames[starts], frames[ends]], axis=1)


def point_at(points: Points, frame: int) -> Points:
    """The point of a frame, interpolated if need be.

    An interpolated point has the occlusion of the point before it and no other flag.

    Returns:
        Shape (1, 6); shape (0, 6) where the object is not there.
    """
    after = int(np.searchsorted(points[:, 0], frame))
    if after < len(points) and points[after, 0] == frame:
        return points[after : after + 1].copy()
    if after in (0, len(points)):
        return no_points()
    a, b = points[after - 1], points[after]
    flags = int(a[5])
    if flags & GAP:
        return no_points()
    share = (frame - a[0]) / (b[0] - a[0])
    row = np.array([[frame, 0, 0, 0, 0, flags & OCCLUDED]], np.float64)
    row[0, 1:5] = a[1:5] + share * (b[1:5] - a[1:5])
    return row


def thinned(
    frames: NDArray[np.int64],
    boxes_xywh: NDArray[np.float64],
    keep: NDArray[np.bool_],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Which boxes of a track linear interpolation between them needs to give all of them back.

    The row that is farthest off the line between two that stay must stay, too, until none is off
    by more than is allowed (Ramer, "An iterative procedure for the polygonal approximation of plane
    curves", 1972, with the distance taken at equal frames).

    Args:
        frames: int64, shape (n,), strictly ascending.
        boxes_xywh: float64, shape (n, 4).
        keep: Rows that stay in any case, bool, shape (n,); both sides of a gap in time belong to
            them. The first and the last stay anyhow.
        tolerance: The most that left, top, width and height may be off, in pixels.

    Returns:
        bool, shape (n,).
    """
    needed = keep.copy()
    if not len(frames):
        return needed
    needed[[0, -1]] = True
    ends = np.flatnonzero(needed).tolist()
    open_ = list(itertools.pairwise(ends))
    while open_:
        first, last = open_.pop()
        if last - first < 2:
            continue
        inside = slice(first + 1, last)
        share = (frames[inside] - frames[first]) / (frames[last] - frames[first])
        line = boxes_xywh[first] + share[:, None] * (boxes_xywh[last] - boxes_xywh[first])
        off = np.abs(line - boxes_xywh[inside]).max(axis=1)
        worst = int(off.argmax())
        if off[worst] > tolerance:
            middle = first + 1 + worst
            needed[middle] = True
            open_ += [(first, middle), (middle, last)]
    return needed


def canonical(value: object) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
