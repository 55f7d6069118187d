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
from motrail.label.geometry import row_iou
from motrail.label.model import GAP, HAND
from motrail.label.propagate import Reel, carry, scale_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from motrail.label.model import Points
    from motrail.label.propagate import Box
    from motrail.types import Frame

    Read = Callable[[int, int], Iterable[Frame]]

_AGREE = 0.6
"""IoU from which on both passes are on the same object."""
_ROUGH, _TURNED, _STRAIGHT = 2.0, 0.3, 1.2
"""What a change of speed by the object's size, changing ways, and a straight line cost, where
missing the next keyframe costs 1."""
_DRIFT = 0.5
"""Of 1 − IoU with the next keyframe, what counts as drift rather than as loss."""
_SHORT = 12
"""Frames from one keyframe to the next at which line and pictures count the same."""
_FARTHEST = 0.35
"""Of the size of an object, how far from its path a side is believed to be."""
_ROUGHER = 0.15
"""How much rougher, in sizes, a path may become by its sides."""


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
        read: Gives the frames from one number to another one, both included, backwards where the
            second is the smaller; called three times.
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
    paths = [
        _steadied(path, stretch.straight()) for path, stretch in zip(paths, stretches, strict=True)
    ]
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
        return self._frames(self._first, self._last)

    def _backward(self) -> Iterator[Frame]:
        return self._frames(self._last, self._first)

    def _frames(self, first: int, last: int) -> Iterator[Frame]:
        for frame in self._read(first, last):
            self._step()
            yield frame

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
            course=about,
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
        reel = Reel(
            self._forward(),
            scale_for({}, anchors),
            self._others,
            {frame: boxes.values() for frame, boxes in about.items()},
        )
        while (view := reel.advance()) is not None:
            here = about.get(view.number, {})
            numbers = sorted(here)
            boxes = reel.inner(here[number] for number in numbers)
            sight = reel.sight(view)
            snapped = {}
            for row, number in enumerate(numbers):
                around = self._follower.standing(sight, numbers, boxes, row)
                found = self._follower.snap(number, sight, boxes[row], around)
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
        seen = seen & (np.abs(error) <= _FARTHEST * np.tile(box[2:], 2))
        self._error[frame - stretch.first, seen] = error[seen]

    def apply(self) -> None:
        """Move the sides; where one was not seen, as in the frames around."""
        edges = np.array([_edges(box) for box in self._path])
        frames = np.arange(len(edges))
        for side in range(4):
            known = ~np.isnan(self._error[:, side])
            edges[:, side] += np.interp(frames, frames[known], self._error[known, side])
        edges[:, 2:] = np.maximum(edges[:, 2:] - edges[:, :2], 1)
        line = self._stretch.straight()
        if _rough(edges, line) <= _rough(self._path, line) + _ROUGHER:
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
    """One path of both, shape (last - first + 1, 4)."""
    ahead, missed = _path(stretch, line, forward, (0, -1))
    back, missed_back = _path(stretch, line, backward, (-1, 0))
    share = np.linspace(0, 1, len(line))[:, None]
    overlap = row_iou(ahead, back)
    agree = overlap >= _AGREE
    blended = np.where(agree[:, None], ahead * (1 - share) + back * share, line)
    if agree.all():
        return blended
    # Where they disagree: one of them, one up to where they meet and then the other, or the line.
    ways = [
        (_ROUGH * _rough(ahead, line) + missed, ahead),
        (_ROUGH * _rough(back, line) + missed_back, back),
        (_STRAIGHT, line),
    ]
    if agree[1:-1].any():
        meeting = int(np.where(agree, overlap, 0)[1:-1].argmax()) + 1
        turned = np.where((np.arange(len(line)) <= meeting)[:, None], ahead, back)
        turned = np.where(agree[:, None], blended, turned)
        ways.append((_ROUGH * _rough(turned, line) + _TURNED, turned))
    best = min(ways, key=lambda way: way[0])[1]
    use = ~agree & ~np.isnan(best).any(axis=1)
    return np.asarray(np.where(use[:, None], best, blended))


def _path(
    stretch: _Stretch,
    line: NDArray[np.float64],
    found: Mapping[tuple[int, int], Box],
    ends: tuple[int, int],
) -> tuple[NDArray[np.float64], float]:
    """Where an object was carried to in each frame, and by how much it missed the next keyframe."""
    frames = range(stretch.first, stretch.last + 1)
    path = np.array([found.get((f, stretch.number), (np.nan,) * 4) for f in frames])
    start, arrival = ends
    missed = 1 - float(row_iou(path[[arrival]], line[[arrival]])[0])
    path[start] = line[start]
    if missed < _DRIFT:
        # It drifted there frame by frame.
        share = np.abs(np.arange(len(line)) - (start % len(line)))[:, None] / (len(line) - 1)
        path += share * (line[arrival] - path[arrival])
    path[arrival] = line[arrival]
    return path, missed


def _steadied(path: NDArray[np.float64], line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path drawn to the straight line where that is short and hardly differs.

    In a few frames nothing happens that a person's own two boxes do not tell better.
    """
    near = ((row_iou(path, line) - 0.6) / 0.25).clip(0, 1)
    share = (near * np.clip(1.5 - (len(line) - 1) / _SHORT, 0, 1))[:, None]
    return np.asarray(path * (1 - share) + line * share)


def _rough(path: NDArray[np.float64], line: NDArray[np.float64]) -> float:
    """The largest change of speed on a path, in sizes of the object; infinite where it ends."""
    if np.isnan(path).any():
        return np.inf
    centres = path[:, :2] + path[:, 2:] / 2
    turns = np.hypot(*(centres[2:] - 2 * centres[1:-1] + centres[:-2]).T)
    return float(turns.max(initial=0) / np.sqrt(np.median(line[:, 2] * line[:, 3])))
