"""Fill in the frames between keyframes from the pictures.

Each object is carried forward from every keyframe to the next and backward from that one, and the
two are blended: near a keyframe more of what comes from there. Where they do not agree, that one
counts which arrived at the next keyframe, and without such a straight line is drawn as if there
were no pictures. Then the sides are looked for once more around the blended boxes, when it is known
where everything else stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.label.follow import Follower
from motrail.label.model import GAP, HAND
from motrail.label.propagate import Reel, carry, scale_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from motrail.label.model import Points
    from motrail.label.propagate import Box
    from motrail.types import Frame

    Read = Callable[[int, int], Iterable[Frame]]

_CHUNK = 48
"""Frames that are held at a time where they are read backward."""
_AGREE = 0.6
_ARRIVED = 0.5
_FAR = 0.35


class _Stretch(NamedTuple):
    """The frames from one keyframe of an object to the next."""

    number: int
    first: int
    last: int
    start: NDArray[np.float64]
    end: NDArray[np.float64]

    def straight(self) -> NDArray[np.float64]:
        """The boxes of all its frames on a straight line, shape (last - first + 1, 4)."""
        share = np.linspace(0, 1, self.last - self.first + 1)[:, None]
        return np.asarray(self.start * (1 - share) + self.end * share)


def between(
    read: Read,
    points: Mapping[int, Points],
    *,
    others: Mapping[int, Iterable[Box]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, Points]:
    """Fill in the frames between the points that a person set.

    Args:
        read: Gives the frames from one number to another one, both included, in order; called
            several times.
        points: Of each object, by its id; see `motrail.label.model.Points`. Only those with the
            flag `HAND` count; between two of them the first of which has the flag `GAP` nothing is
            filled in.
        others: Boxes of objects that are not to be filled in, by frame.
        progress: Told how many of how many frames are done.

    Returns:
        The new points, without flags, of each object that has any; those by hand are not among
        them.
    """
    stretches = [stretch for number, rows in points.items() for stretch in _stretches(number, rows)]
    if not any(stretch.last - stretch.first > 1 for stretch in stretches):
        return {}
    work = _Work(read, stretches, others or {}, progress or (lambda _done, _total: None))
    paths = work.blended()
    work.refine(paths)
    found: dict[int, list[NDArray[np.float64]]] = {}
    for stretch, path in zip(stretches, paths, strict=True):
        frames = np.arange(stretch.first, stretch.last + 1)[1:-1, None]
        rows = np.hstack([frames, path[1:-1], np.zeros((len(frames), 1))])
        found.setdefault(stretch.number, []).append(rows)
    return {number: np.concatenate(rows) for number, rows in found.items() if len(rows)}


def _stretches(number: int, rows: Points) -> Iterator[_Stretch]:
    flags = rows[:, 5].astype(np.int64)
    hand = np.flatnonzero(flags & HAND)
    for a, b in zip(hand[:-1].tolist(), hand[1:].tolist(), strict=True):
        # A gap at a point by a machine in between ends the stretch as well.
        if not (flags[a:b] & GAP).any():
            yield _Stretch(
                number, int(rows[a, 0]), int(rows[b, 0]), rows[a, 1:5].copy(), rows[b, 1:5].copy()
            )


class _Work:
    """All stretches of a sequence, pass by pass."""

    def __init__(
        self,
        read: Read,
        stretches: list[_Stretch],
        others: Mapping[int, Iterable[Box]],
        progress: Callable[[int, int], None],
    ) -> None:
        self._read, self._stretches, self._others = read, stretches, others
        self._first = min(stretch.first for stretch in stretches)
        self._last = max(stretch.last for stretch in stretches)
        self._progress = progress
        self._done = 0
        self._follower = Follower()

    def _step(self) -> None:
        self._done += 1
        self._progress(self._done, 3 * (self._last - self._first + 1))

    def blended(self) -> list[NDArray[np.float64]]:
        """The boxes of each stretch, shape (last - first + 1, 4): both passes, blended."""
        straight = [stretch.straight() for stretch in self._stretches]
        about = _by_frame(self._stretches, straight)
        forward = self._pass(self._forward(), _anchors(self._stretches, 1), about)
        backward = self._pass(self._backward(), _anchors(self._stretches, -1), about)
        return [
            _blend(stretch, line, forward, backward)
            for stretch, line in zip(self._stretches, straight, strict=True)
        ]

    def _forward(self) -> Iterator[Frame]:
        for frame in self._read(self._first, self._last):
            self._step()
            yield frame

    def _backward(self) -> Iterator[Frame]:
        for end in range(self._last, self._first - 1, -_CHUNK):
            frames = list(self._read(max(end - _CHUNK + 1, self._first), end))
            while frames:
                self._step()
                yield frames.pop()

    def _pass(
        self,
        frames: Iterator[Frame],
        anchors: Mapping[int, Mapping[int, Box | None]],
        about: Mapping[int, Mapping[int, Box]],
    ) -> dict[tuple[int, int], Box]:
        """Where each object was carried to, by frame and id."""
        found: dict[tuple[int, int], Box] = {}
        for frame, boxes in carry(
            frames,
            {},
            others=self._others,
            anchors=anchors,
            about={frame: rows.values() for frame, rows in about.items()},
            follower=self._follower,
        ):
            found.update(((frame, n), box) for n, box in boxes.items() if box is not None)
        self._follower.drop(list(self._follower.boxes_xyxy))
        return found

    def refine(self, paths: list[NDArray[np.float64]]) -> None:
        """Look for the sides once more around the boxes, in place."""
        about = _by_frame(self._stretches, paths)
        rows = [_Sides(stretch, path) for stretch, path in zip(self._stretches, paths, strict=True)]
        anchors = _anchors(self._stretches, 1)
        reel = Reel(self._forward(), scale_for({}, anchors), self._others,
                    {frame: boxes.values() for frame, boxes in about.items()})  # fmt: skip
        while (view := reel.advance()) is not None:
            here = about.get(view.number, {})
            numbers = sorted(here)
            boxes = reel.inner(here[number] for number in numbers)
            others, stills = reel.others(view), reel.stills()
            snapped = {}
            for row, number in enumerate(numbers):
                around = self._follower.standing(
                    np.delete(boxes, row, 0), numbers[:row] + numbers[row + 1 :], others
                )
                found = self._follower.snap(
                    number, view, reel.worlds[1], stills, boxes[row], around
                )
                if found is not None and found.filled != 0 and found.seen.any():
                    snapped[number] = np.array(reel.given(found.box_xyxy)), found.seen
            for sides in rows:
                sides.take(view.number, snapped)
            reel.note(view, boxes)
        for sides in rows:
            sides.apply()


class _Sides:
    """Sides that were found for a stretch, frame by frame."""

    def __init__(self, stretch: _Stretch, path: NDArray[np.float64]) -> None:
        self._stretch, self._path = stretch, path
        self._error = np.full((len(path), 4), np.nan)
        self._error[[0, -1]] = 0

    def take(
        self, frame: int, snapped: Mapping[int, tuple[NDArray[np.float64], NDArray[np.bool_]]]
    ) -> None:
        """Take what was found in a frame."""
        stretch = self._stretch
        if not stretch.first < frame < stretch.last or stretch.number not in snapped:
            return
        box, seen = snapped[stretch.number]
        error = _edges(box) - _edges(self._path[frame - stretch.first])
        self._error[frame - stretch.first, seen] = error[seen]

    def apply(self) -> None:
        """Move the sides; where one was not seen, as in the frames around."""
        edges = np.array([_edges(box) for box in self._path])
        frames = np.arange(len(edges))
        for side in range(4):
            known = ~np.isnan(self._error[:, side])
            edges[:, side] += np.interp(frames, frames[known], self._error[known, side])
        edges[:, 2:] = np.maximum(edges[:, 2:] - edges[:, :2], 1)
        self._path[:] = edges


def _edges(box_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([box_xywh[:2], box_xywh[:2] + box_xywh[2:]])


def _by_frame(
    stretches: list[_Stretch], paths: list[NDArray[np.float64]]
) -> dict[int, dict[int, Box]]:
    found: dict[int, dict[int, Box]] = {}
    for stretch, path in zip(stretches, paths, strict=True):
        for offset, (x, y, w, h) in enumerate(path.tolist()):
            found.setdefault(stretch.first + offset, {})[stretch.number] = (x, y, w, h)
    return found


def _anchors(stretches: list[_Stretch], way: int) -> dict[int, dict[int, Box | None]]:
    """Keyframes by frame and id, and None where an object ends on the way."""
    found: dict[int, dict[int, Box | None]] = {}
    for stretch in stretches:
        for frame, box in ((stretch.first, stretch.start), (stretch.last, stretch.end)):
            x, y, w, h = box.tolist()
            found.setdefault(frame, {})[stretch.number] = (x, y, w, h)
    begins = {(stretch.number, stretch.first if way > 0 else stretch.last) for stretch in stretches}
    for stretch in stretches:
        end = stretch.last if way > 0 else stretch.first
        if (stretch.number, end) not in begins:
            found.setdefault(end + way, {}).setdefault(stretch.number, None)
    return found


def _blend(
    stretch: _Stretch,
    line: NDArray[np.float64],
    forward: Mapping[tuple[int, int], Box],
    backward: Mapping[tuple[int, int], Box],
) -> NDArray[np.float64]:
    frames = range(stretch.first, stretch.last + 1)
    ways = []
    for found, own, other in ((forward, 0, -1), (backward, -1, 0)):
        path = np.array([found.get((f, stretch.number), (np.nan,) * 4) for f in frames])
        path[own] = line[own]
        arrived = float(_iou(path[[other]], line[[other]])[0])
        path[other] = line[other]
        ways.append((path, arrived))
    (ahead, hit), (back, back_hit) = ways
    share = np.linspace(0, 1, len(line))[:, None]
    agree = _iou(ahead, back) >= _AGREE
    blended = np.where(agree[:, None], ahead * (1 - share) + back * share, line)
    for path, this, that in ((ahead, hit, back_hit), (back, back_hit, hit)):
        use = ~agree & ~np.isnan(path[:, 0])
        if this >= _ARRIVED and this > that:
            blended[use] = path[use]
    return np.asarray(blended)


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes row by row, left, top, width, height; 0 where there is none."""
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    union = one[:, 2:].prod(axis=1) + other[:, 2:].prod(axis=1) - shared
    return np.asarray(np.nan_to_num(shared / np.maximum(union, 1e-9)))
