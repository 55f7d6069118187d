"""A labeller that follows a script, to count what labelling costs by hand.

It knows the truth and does what a person would do: keyframes at steady distances first, or what a
tracker proposes, and then the box that is farthest from where it should be, again and again, until
the labels are good enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from motrail.boxes import iou_xyxy, xywh_to_xyxy
from motrail.label.edits import correct, put
from motrail.label.geometry import row_iou
from motrail.label.model import GAP, HAND, boxes_of, no_points, points_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels
    from motrail.label.model import LabelObject, Points

    Fill = Callable[[Mapping[int, Points]], Mapping[int, Points]]

_SAME = 0.5
"""IoU from which on a box is on an object."""


@dataclass
class Actions:
    """What a person did with the hand.

    Attributes:
        boxes: Drawn anew.
        corrections: Boxes moved or resized.
        leaves: Marks that an object leaves.
        accepted: Proposals accepted.
        joined: Parts of one object joined.
        fills: Times the machine was asked to fill in.
    """

    boxes: int = 0
    corrections: int = 0
    leaves: int = 0
    accepted: int = 0
    joined: int = 0
    fills: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(vars(self).values())


class Truth(NamedTuple):
    """Where an object is: frames (n,), ascending, and boxes (n, 4), left, top, width, height."""

    frames: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]

    def spans(self) -> list[NDArray[np.intp]]:
        """Rows of each stretch without a gap."""
        return np.split(np.arange(len(self.frames)), np.flatnonzero(np.diff(self.frames) > 1) + 1)

    def flags(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Those of points by hand at some rows: a gap at the end of each stretch."""
        ends = np.append(np.diff(self.frames) > 1, True)
        return np.where(ends[rows], HAND | GAP, HAND)


def truth_of(labels: Labels) -> dict[int, Truth]:
    """What is to be labelled, by id; regions to ignore are left out."""
    kept = labels[~labels.ignore].in_order()
    return {
        number: Truth(kept.frames[rows], kept.boxes_xywh[rows])
        for number in np.unique(kept.ids).tolist()
        for rows in [kept.ids == number]
    }


def keyframes(truth: Mapping[int, Truth], every: int) -> dict[int, Points]:
    """The points of a person who sets one in every so many frames.

    At frames 1, 1 + every, … and where an object comes in or leaves.
    """
    found = {}
    for number, true in truth.items():
        chosen = (true.frames - 1) % every == 0
        for rows in true.spans():
            chosen[rows[[0, -1]]] = True
        found[number] = _points(true, np.flatnonzero(chosen))
    return found


def _points(true: Truth, rows: NDArray[np.intp]) -> Points:
    table = np.column_stack([true.frames[rows], true.boxes_xywh[rows], true.flags(rows)])
    return points_of(table.tolist())


class Score(NamedTuple):
    """How good labels are.

    Attributes:
        mean_iou: Over all boxes of the truth; one that is missing counts 0.
        between_iou: The same without the boxes set by hand.
        extra: Boxes where there should be none.
        switches: Boxes that are on another object than the one of their id.
    """

    mean_iou: float
    between_iou: float
    extra: int
    switches: int


def score(truth: Mapping[int, Truth], points: Mapping[int, Points]) -> Score:
    """How good labels are, ids and all.

    A box is switched when, in the assignment of all boxes of its frame to the truth at the largest
    sum of IoU (none below 0.5), it belongs to another id.
    """
    overlaps, by_hand, extra = [], [], 0
    rows: dict[int, list[tuple[int, NDArray[np.float64]]]] = {}
    for number, true in truth.items():
        boxes = boxes_of(points.get(number, no_points()))
        overlap, there, hand = _against(true, boxes.frames, boxes.boxes_xywh, boxes.hand)
        overlaps.append(overlap)
        by_hand.append(hand)
        extra += len(boxes.frames) - there
        for frame, box in zip(boxes.frames.tolist(), boxes.boxes_xywh, strict=True):
            rows.setdefault(frame, []).append((number, box))
    iou, hand = np.concatenate(overlaps), np.concatenate(by_hand)
    between = float(iou[~hand].mean()) if (~hand).any() else 1.0
    return Score(float(iou.mean()), between, extra, _switches(truth, rows))


def _against(
    true: Truth,
    frames: NDArray[np.int64],
    boxes_xywh: NDArray[np.float64],
    hand: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], int, NDArray[np.bool_]]:
    """IoU of each box of the truth, how many were there, and which were set by hand."""
    overlap, by_hand = np.zeros(len(true.frames)), np.zeros(len(true.frames), np.bool_)
    _, of_truth, of_boxes = np.intersect1d(true.frames, frames, return_indices=True)
    overlap[of_truth] = row_iou(true.boxes_xywh[of_truth], boxes_xywh[of_boxes])
    by_hand[of_truth] = hand[of_boxes]
    return overlap, len(of_truth), by_hand


def _switches(
    truth: Mapping[int, Truth], rows: Mapping[int, list[tuple[int, NDArray[np.float64]]]]
) -> int:
    true_rows: dict[int, list[tuple[int, NDArray[np.float64]]]] = {}
    for number, true in truth.items():
        for frame, box in zip(true.frames.tolist(), true.boxes_xywh, strict=True):
            true_rows.setdefault(frame, []).append((number, box))
    switches = 0
    for frame in rows.keys() & true_rows.keys():
        ours, theirs = rows[frame], true_rows[frame]
        overlap = iou_xyxy(
            xywh_to_xyxy(np.array([box for _, box in ours])),
            xywh_to_xyxy(np.array([box for _, box in theirs])),
        )
        for a, b in zip(*linear_sum_assignment(-overlap * (overlap >= _SAME)), strict=True):
            switches += overlap[a, b] >= _SAME and ours[a][0] != theirs[b][0]
    return int(switches)


@dataclass
class Labeller:
    """Labels a sequence whose truth is known, and counts.

    Attributes:
        truth: By id.
        fill: Fills in machine points between those by hand, `motrail.label.between.between` for
            one; None leaves it to straight lines.
        points: As labelled so far, by id.
        actions: What it took.
    """

    truth: Mapping[int, Truth]
    fill: Fill | None = None
    points: dict[int, Points] = field(default_factory=dict)
    actions: Actions = field(default_factory=Actions)

    def draw(self, every: int) -> None:
        """Set keyframes at steady distances, and have the rest filled in."""
        self.points = keyframes(self.truth, every)
        for points in self.points.values():
            self.actions.boxes += len(points)
            self.actions.leaves += int(((points[:, 5].astype(int) & GAP) != 0).sum())
        self._fill()

    def _fill(self) -> None:
        if self.fill is None:
            return
        self.actions.fills += 1
        filled = self.fill(self.points)
        self.points = {
            number: put(rows, filled[number]) if number in filled else rows
            for number, rows in self.points.items()
        }

    def accept(self, proposals: Sequence[LabelObject]) -> None:
        """Take over the proposals that are on an object in most of their frames.

        Each costs one action, and each part but the first of an object one more to join it. Others
        cost nothing: they are not looked at again.
        """
        parts: dict[int, list[Points]] = {}
        for item in proposals:
            number = self._object_of(item)
            if number is not None:
                parts.setdefault(number, []).append(item.points)
        for number, found in parts.items():
            self.actions.accepted += len(found)
            self.actions.joined += len(found) - 1
            self.points[number] = _joined(found)

    def _object_of(self, item: LabelObject) -> int | None:
        boxes = boxes_of(item.points)
        best, most = None, 0.5 * len(boxes.frames)
        for number, true in self.truth.items():
            overlap, _, _ = _against(true, boxes.frames, boxes.boxes_xywh, boxes.hand)
            hits = float((overlap >= _SAME).sum())
            if hits > most:
                best, most = number, hits
        return best

    def mend(self, enough: float, most: int = 100_000) -> None:
        """Put right the worst box, again and again, until the mean IoU is enough.

        A box that is missing is drawn. Boxes where there should be none are cut off first, an
        action for each stretch.
        """
        for number, true in self.truth.items():
            self._cut(number, true)
        state = {number: self._overlap(number) for number in self.truth}
        total = sum(len(overlap) for overlap in state.values())
        while self.actions.total < most:
            if sum(overlap.sum() for overlap in state.values()) / total >= enough:
                return
            number = min(state, key=lambda one: (_lacking(state[one]), one))
            self._put_right(number)
            state[number] = self._overlap(number)

    def _overlap(self, number: int) -> NDArray[np.float64]:
        boxes = boxes_of(self.points.get(number, no_points()))
        return _against(self.truth[number], boxes.frames, boxes.boxes_xywh, boxes.hand)[0]

    def _worst(self, number: int) -> int:
        """Row of the truth at which the box is missing or farthest off, in sizes of the object."""
        true = self.truth[number]
        boxes = boxes_of(self.points.get(number, no_points()))
        _, rows, found = np.intersect1d(true.frames, boxes.frames, return_indices=True)
        off = np.full(len(true.frames), np.inf)
        one, other = true.boxes_xywh[rows], boxes.boxes_xywh[found]
        edges = np.abs(
            np.hstack([one[:, :2] - other[:, :2], (one - other)[:, :2] + (one - other)[:, 2:]])
        )
        off[rows] = (edges / np.tile(one[:, 2:], 2)).max(axis=1)
        return int(off.argmax())

    def _put_right(self, number: int) -> None:
        """Correct the worst box of an object; where it is missing, draw the ends of the stretch."""
        true, points = self.truth[number], self.points.get(number, no_points())
        row = self._worst(number)
        frame = int(true.frames[row])
        boxes = boxes_of(points)
        if frame in boxes.frames:
            self.actions.corrections += 1
            self.points[number] = correct(points, frame, true.boxes_xywh[row])
            return
        missing = np.flatnonzero(~np.isin(true.frames, boxes.frames))
        runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
        run = next(rows for rows in runs if row in rows)
        ends = np.unique(run[[0, -1]])
        self.actions.boxes += len(ends)
        fresh = _points(true, ends)
        inner = points.copy()
        # The gap before the stretch closes where the object goes on without a break.
        before = (points[:, 0] == true.frames[run[0]] - 1) if run[0] > 0 else np.zeros(0, np.bool_)
        if len(before) and row > 0:
            inner[before, 5] = inner[before, 5].astype(int) & ~GAP
        self.points[number] = put(inner, fresh)

    def _cut(self, number: int, true: Truth) -> None:
        """Cut off what is where the object is not."""
        points = self.points.get(number, no_points())
        boxes = boxes_of(points)
        extra = np.flatnonzero(~np.isin(boxes.frames, true.frames))
        if not len(extra):
            return
        runs = np.split(extra, np.flatnonzero(np.diff(extra) > 1) + 1)
        self.actions.leaves += len(runs)
        keep = np.isin(boxes.frames, true.frames)
        gap = np.append(np.diff(boxes.frames[keep]) > 1, False)
        kept = np.column_stack([boxes.frames[keep], boxes.boxes_xywh[keep], np.where(gap, GAP, 0)])
        self.points[number] = points_of(kept.tolist())


def _lacking(overlap: NDArray[np.float64]) -> float:
    """The worst box of an object; the lower, the more there is to gain."""
    return float(overlap.min())


def _joined(parts: list[Points]) -> Points:
    """Parts of one object in one; where they overlap, the earlier one counts."""
    found = no_points()
    for rows in sorted(parts, key=lambda rows: float(rows[0, 0])):
        rest = rows[rows[:, 0] > found[-1, 0]] if len(found) else rows
        if not len(rest):
            continue
        if len(found):
            found[-1, 5] = int(found[-1, 5]) | (GAP if rest[0, 0] > found[-1, 0] + 1 else 0)
        found = np.concatenate([found, rest.copy()])
    return found
