"""Help that takes time: following boxes through a video, a tracker's proposals, suggestions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.label.edits import drop, join, patches_of, put
from motrail.label.footage import frames_between, source_between
from motrail.label.model import (
    END,
    GAP,
    HAND,
    LabelObject,
    Points,
    boxes_of,
    no_points,
    point_at,
    points_of,
    thinned,
)
from motrail.label.problems import Problem, bad_request
from motrail.label.work import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from motrail.label.desk import Desk
    from motrail.label.requests import WorkRequest
    from motrail.label.work import Work

    Job = Callable[[Work], dict[str, Any]]
    Box = tuple[float, float, float, float]

_TOLERANCE = 0.5
"""Pixels that a followed box may be off the line between two points that are kept."""


def helper(name: str) -> Any:
    """A module of the room that may be left out.

    Raises:
        Problem: 501 where it is.
    """
    try:
        return importlib.import_module(f"motrail.label.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"motrail.label.{name}":
            raise
        raise Problem(501, "not_available", f"{name} is not available") from error


# Following


def propagation(desk: Desk, index: int, asked: WorkRequest) -> Job:
    """Follow objects from a frame to another one, onwards or backwards.

    Raises:
        Problem: The frames or objects make no sense.
    """
    propagate = helper("propagate").propagate
    info = desk.store.sequence(index)
    first, last = asked.from_, asked.to
    if first is None or last is None or first == last or max(first, last) > info.length:
        raise bad_request(
            f"from, to: expected two frames from 1 to {info.length}, found {first} and {last}"
        )
    objects = desk.store.objects(index)
    here = {number: point_at(item.points, first) for number, item in objects.items()}
    chosen = [number for number, point in here.items() if len(point)]
    if asked.objects is not None:
        chosen = asked.objects
        missing = [number for number in chosen if not len(here.get(number, no_points()))]
        if missing:
            raise bad_request(f"objects: object {missing[0]} is not there in frame {first}")
    if not chosen:
        raise bad_request(f"there is nothing to follow in frame {first}")
    start: dict[int, Box] = {number: tuple(here[number][0, 1:5]) for number in chosen}
    ends = {number: _until(objects[number].points, first, last) for number in chosen}
    others = _others(objects.values(), set(chosen), first, last)

    def job(work: Work) -> dict[str, Any]:
        found: dict[int, list[list[float]]] = {number: [] for number in chosen}
        gone: set[int] = set()
        frames = frames_between(desk.store.folder, info, first, last)
        work.progress(0, abs(last - first), "following")
        try:
            for frame, boxes in propagate(frames, start, others=others):
                for number, box in boxes.items():
                    if box is None or number in gone or _past(frame, ends[number], first):
                        gone.add(number)
                    elif box[2] > 0 and box[3] > 0:
                        found[number].append([frame, *box, 0])
                work.frame = frame
                work.points = {n: None if b is None else list(b) for n, b in boxes.items()}
                work.progress(abs(frame - first))
                if len(gone) == len(chosen):
                    break
        except StoppedError:
            pass  # what was found so far stays
        return _apply(desk, index, found, first, last)

    return job


def _until(points: Points, first: int, last: int) -> int | None:
    """The next keyframe on the way, beyond which nothing is to be changed."""
    hand = points[(points[:, 5].astype(np.int64) & HAND) != 0, 0]
    onwards = hand[hand > first] if last > first else -hand[hand < first]
    return None if not len(onwards) else abs(int(onwards.min()))


def _past(frame: int, end: int | None, first: int) -> bool:
    return end is not None and (frame >= end if end > first else frame <= end)


def _others(
    items: Iterable[LabelObject], chosen: set[int], first: int, last: int
) -> Mapping[int, list[Box]]:
    """Boxes of objects that are not followed, by frame."""
    low, high = min(first, last), max(first, last)
    others: dict[int, list[Box]] = {}
    for item in items:
        if item.id in chosen or item.ignore or item.status:
            continue
        frames, boxes, _, _ = boxes_of(item.points)
        inside = (frames >= low) & (frames <= high)
        for frame, box in zip(frames[inside].tolist(), boxes[inside].tolist(), strict=True):
            others.setdefault(frame, []).append(tuple(box))
    return others


def _apply(
    desk: Desk, index: int, found: Mapping[int, list[list[float]]], first: int, last: int
) -> dict[str, Any]:
    """Put what was found into the objects as they are by now; one undo step."""
    objects = desk.store.objects(index)
    pairs = []
    for number, rows in found.items():
        item = objects.get(number)
        if item is None or not rows:
            continue  # it was removed meanwhile, or not seen once
        after = followed(item.points, first, points_of(rows))
        pairs.append((item, item.replace(points=after)))
    patches = patches_of(pairs)
    if not patches:
        return desk.store.state(index) | {"changed": [], "removed": [], "frames": None}
    onwards = "on" if last > first else "back"
    answer = desk.store.edit_now(index, f"follow {onwards} from frame {first}", patches)
    now = desk.store.objects(index)
    frames = [row[0] for rows in found.values() for row in rows]
    return answer | {
        "changed": [now[patch["id"]].as_dict() for patch in patches],
        "removed": [],
        "frames": [int(min(frames)), int(max(frames))],
    }


def followed(points: Points, first: int, rows: Points) -> Points:
    """An object with boxes that a machine found next to a frame, onwards or backwards.

    They replace what a machine had filled in there; keyframes stay. Where they end before the
    object's next point, there is a gap.
    """
    low, high = int(rows[0, 0]), int(rows[-1, 0])
    start = point_at(points, first)
    hand = points[(points[:, 5].astype(np.int64) & HAND) != 0]
    rows = rows[~np.isin(rows[:, 0], hand[:, 0])]
    line = put(rows, start) if len(start) else rows
    keep = np.zeros(len(line), np.bool_)
    rows = line[thinned(line[:, 0].astype(np.int64), line[:, 1:5], keep, _TOLERANCE)]
    cleared = points[
        (points[:, 0] < low) | (points[:, 0] > high) | np.isin(points[:, 0], hand[:, 0])
    ]
    rows = rows[~np.isin(rows[:, 0], cleared[:, 0])]
    if high > first:
        return _onwards(cleared, rows, first, high, start)
    before = drop(cleared, low, END)
    after = put(drop(cleared, 0, low - 1), rows)
    return join(before, after)


def _onwards(cleared: Points, rows: Points, first: int, high: int, start: Points) -> Points:
    before = put(drop(cleared, high + 1, END), rows)
    after = drop(cleared, 0, high)
    here = before[:, 0] == first
    if len(start):  # what it leaves after is decided anew
        before = before.copy()
        before[here, 5] = before[here, 5].astype(np.int64) & ~GAP
    return join(before, after)


# Proposals


def prelabelling(desk: Desk, index: int, asked: WorkRequest) -> Job:
    """A tracker's result as proposals.

    Raises:
        Problem: There is no model, or the frames make no sense.
    """
    prelabel = helper("prelabel").prelabel
    info = desk.store.sequence(index)
    if desk.model is None:
        raise bad_request("there is no model; start `motrail label` with --model")
    first, last = asked.first or 1, asked.last or info.length
    if not first <= last <= info.length:
        raise bad_request(
            f"first, last: expected two frames from 1 to {info.length}, found {first} and {last}"
        )

    def job(work: Work) -> dict[str, Any]:
        source = source_between(desk.store.folder, info, first, last)
        result = prelabel(
            source,
            desk.model,
            classes=desk.store.classes.names,
            settings=desk.settings,
            progress=work.progress,
        )
        patches = patches_of([(None, item) for item in result.objects])
        if not patches:
            return desk.store.state(index) | {
                "changed": [], "removed": [], "frames": None, "notes": list(result.notes)
            }  # fmt: skip
        before = set(desk.store.objects(index))
        answer = desk.store.edit_now(index, "propose tracks", patches, fresh=True)
        now = desk.store.objects(index)
        return answer | {
            "changed": [now[number].as_dict() for number in now if number not in before],
            "removed": [],
            "frames": [first, last],
            "notes": list(result.notes),
        }

    return job


def suggestions(desk: Desk, index: int, after: int) -> list[dict[str, Any]]:
    """Frames and objects worth a look, best first; those after a frame before the others.

    Raises:
        Problem: 501 where there is no help.
    """
    suggest = helper("suggest").suggest
    info = desk.store.sequence(index)
    found = suggest(
        list(desk.store.objects(index).values()),
        width=info.width,
        height=info.height,
        length=info.length,
    )
    rows = [
        {
            "frame": item.frame,
            "objects": list(item.objects),
            "reason": item.reason,
            "weight": item.weight,
        }
        for item in found
    ]
    return sorted(rows, key=lambda row: row["frame"] <= after)
