"""What a labeller does to points, and the patches that say so.

Every function gives new points and leaves those it got as they are. `difference` makes the patch
of two states of an object, which the server takes; applied the other way round it is the undo.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.label.model import (
    END,
    GAP,
    HAND,
    OCCLUDED,
    LabelObject,
    Points,
    no_points,
    point_at,
    points_of,
    rows_of,
    spans_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

Patch = dict[str, Any]
_SMALLEST = 1.0  # pixels


def put(points: Points, rows: Points) -> Points:
    """Points with others set; one at the same frame is replaced."""
    return points_of([*points.tolist(), *rows.tolist()])


def drop(points: Points, first: int, last: int) -> Points:
    """Points without those of some frames, both ends included."""
    return points[(points[:, 0] < first) | (points[:, 0] > last)]


def clip(points: Points, first: int, last: int) -> Points:
    """The object in some frames only, both ends included, with the very boxes it had there."""
    inside = points[(points[:, 0] >= first) & (points[:, 0] <= last)]
    if last < first:
        return no_points()
    return put(np.concatenate([point_at(points, first), point_at(points, last)]), inside)


def join(before: Points, after: Points) -> Points:
    """Two parts of an object, the first of which ends before the second begins.

    Between them the object is not there.
    """
    if len(before) and len(after) and before[-1, 0] + 1 < after[0, 0]:
        before = before.copy()
        before[-1, 5] = int(before[-1, 5]) | GAP
    return np.concatenate([before, after])


def split(points: Points, frame: int) -> tuple[Points, Points]:
    """What is before a frame, and what is from it on."""
    return clip(points, 1, frame - 1), clip(points, frame, END)


def merge(points: Points, other: Points) -> Points:
    """Two objects that are one; where both are there, the first one's boxes count.

    Where neither is there in between, there is a gap.
    """
    if not len(other):
        return points
    own, pieces = spans_of(points).tolist(), spans_of(other).tolist()
    for first, last in own:
        pieces = [
            (low, high)
            for start, end in pieces
            for low, high in ((start, min(end, first - 1)), (max(start, last + 1), end))
            if low <= high
        ]
    parts = [clip(points, *span) for span in own] + [clip(other, *span) for span in pieces]
    parts.sort(key=lambda part: float(part[0, 0]))
    return functools.reduce(join, parts)


def swap(points: Points, other: Points, frame: int) -> tuple[Points, Points]:
    """Two objects whose identities change places from a frame on."""
    (before, after), (other_before, other_after) = split(points, frame), split(other, frame)
    return join(before, other_after), join(other_before, after)


def delete_range(points: Points, first: int, last: int) -> Points:
    """The object without its boxes in some frames, both ends included."""
    return join(clip(points, 1, first - 1), clip(points, last + 1, END))


def copy_forward(points: Points, frame: int, last: int) -> Points:
    """The object stands still from a frame to another one, which becomes a keyframe."""
    here = point_at(points, frame)
    if not len(here) or last <= frame:
        return points
    there = here.copy()
    here[0, 5] = (int(here[0, 5]) & OCCLUDED) | HAND
    there[0, 0], there[0, 5] = last, here[0, 5]
    rest = clip(points, last + 1, END)
    held = put(drop(points, frame + 1, END), np.concatenate([here, there]))
    return join(held, rest) if len(rest) else held


def leave(points: Points, frame: int) -> Points:
    """The object is seen last in a frame, and not again before its next point."""
    here = point_at(points, frame)
    if not len(here):
        return points
    here[0, 5] = int(here[0, 5]) | GAP | HAND
    return put(points, here)


def enter(points: Points, frame: int, box_xywh: ArrayLike) -> Points:
    """The object is seen in a frame again after it was away."""
    before = points[points[:, 0] < frame].copy()
    if len(before) and before[-1, 0] + 1 < frame:
        before[-1, 5] = int(before[-1, 5]) | GAP
    row = np.array([[frame, *np.asarray(box_xywh, np.float64), HAND]])
    return np.concatenate([before, row, points[points[:, 0] > frame]])


def occlude(points: Points, first: int, last: int, *, hidden: bool = True) -> Points:
    """The object is hidden, or no longer hidden, in some frames, both ends included."""
    ends = [point_at(points, first), point_at(points, last + 1)]
    points = put(points, np.concatenate(ends))
    flags = points[:, 5].astype(np.int64)
    inside = (points[:, 0] >= first) & (points[:, 0] <= last)
    flags[inside] = flags[inside] | OCCLUDED if hidden else flags[inside] & ~OCCLUDED
    return np.column_stack([points[:, :5], flags])


def correct(points: Points, frame: int, box_xywh: ArrayLike) -> Points:
    """The object with its box in a frame put right by hand, which mends the stretch around it.

    Points that a machine filled in move along: fully at the frame, less and less towards the
    keyframes on both sides. Where there is no keyframe before the object comes in, or before it
    leaves, they move along fully. What lies behind a gap stays.
    """
    box = np.asarray(box_xywh, np.float64)
    old = point_at(points, frame)
    row = np.array([[frame, *box, HAND]])
    if not len(old):
        return put(points, row)
    row[0, 5] = int(old[0, 5]) | HAND
    moved = points.copy()
    shift = box - old[0, 1:5]
    frames, flags = points[:, 0], points[:, 5].astype(np.int64)
    place = int(np.searchsorted(frames, frame))
    after = place + (place < len(points) and frames[place] == frame)
    for side, step in ((range(place - 1, -1, -1), -1), (range(after, len(points)), 1)):
        run, anchor = _run(side, flags, step)
        if not run:
            continue
        share = np.ones(len(run))
        if anchor is not None:
            share = (frames[run] - frames[anchor]) / (frame - frames[anchor])
        moved[run, 1:5] += share[:, None] * shift
        moved[run, 3:5] = np.maximum(moved[run, 3:5], np.minimum(points[run, 3:5], _SMALLEST))
    return put(moved, row)


def _run(
    side: range, flags: np.ndarray[Any, np.dtype[np.int64]], step: int
) -> tuple[list[int], int | None]:
    """Machine points up to the next keyframe on a side, and that keyframe if there is one."""
    run: list[int] = []
    for index in side:
        before = index if step < 0 else index - 1
        if before >= 0 and flags[before] & GAP:
            return run, None
        if flags[index] & HAND:
            return run, index
        run.append(index)
    return run, None


def difference(before: LabelObject | None, after: LabelObject | None) -> Patch | None:
    """The patch that makes one state of an object the other; None where they are the same.

    Args:
        before: None where the object was not there.
        after: None where it is no longer there.
    """
    if after is None:
        return None if before is None else {"id": before.id, "delete": True}
    if before is None:
        patch: Patch = {"id": after.id, "create": after.fields()}
        return patch | ({"put": rows_of(after.points)} if len(after.points) else {})
    old, new = before.fields(), after.fields()
    patch = {"id": after.id}
    changed = {name: value for name, value in new.items() if value != old[name]}
    if changed:
        patch["set"] = changed
    ranges = _gone(before.points, after.points)
    if ranges:
        patch["drop"] = ranges
    fresh = _fresh(before.points, after.points)
    if len(fresh):
        patch["put"] = rows_of(fresh)
    return patch if len(patch) > 1 else None


def _gone(before: Points, after: Points) -> list[list[int]]:
    """Ranges of frames that hold points of the one and none of the other."""
    gone = ~np.isin(before[:, 0], after[:, 0])
    starts = np.flatnonzero(gone & ~np.append(False, gone[:-1]))
    ends = np.flatnonzero(gone & ~np.append(gone[1:], False))
    ranges: list[list[int]] = []
    for first, last in zip(before[starts, 0].tolist(), before[ends, 0].tolist(), strict=True):
        between = after[(after[:, 0] >= first) & (after[:, 0] <= last), 0]
        # A new point may lie between two that went, so the range is cut there.
        inside = before[(before[:, 0] >= first) & (before[:, 0] <= last), 0]
        groups = np.searchsorted(between, inside)
        for group in np.unique(groups).tolist():
            frames = inside[groups == group]
            ranges.append([int(frames[0]), int(frames[-1])])
    return ranges


def _fresh(before: Points, after: Points) -> Points:
    if not len(before):
        return after
    place = np.minimum(np.searchsorted(before[:, 0], after[:, 0]), len(before) - 1)
    fresh: Points = after[(before[place] != after).any(axis=1)]
    return fresh


def patches_of(pairs: Sequence[tuple[LabelObject | None, LabelObject | None]]) -> list[Patch]:
    """The patches of several objects, each as it was and as it shall be."""
    found = [difference(before, after) for before, after in pairs]
    return [patch for patch in found if patch is not None]


__all__ = [
    "Patch",
    "clip",
    "copy_forward",
    "correct",
    "delete_range",
    "difference",
    "drop",
    "enter",
    "join",
    "leave",
    "merge",
    "no_points",
    "occlude",
    "patches_of",
    "put",
    "split",
    "swap",
]
