"""Which frames and objects are worth a look, so that effort goes where it teaches most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.label.model import boxes_of, spans_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.label.model import Boxes, LabelObject

_NEAR_FRAMES = 30
"""Frames from an end to a beginning that may be the same object."""
_NEAR_HEIGHTS = 1.5
_BORDER = 0.04
"""Share of the picture's size within which an object may end without a word."""
_JUMP = 0.25
"""Acceleration in box sizes per frame and frame from which a box jumps."""
_GROW = 0.3
"""Change of a size's logarithm beyond that of its neighbours from which a box jumps."""
_LOW_SCORE = 0.6
_LONG = 40
"""Frames without a point by hand."""
_FAR = 2.0
"""Box heights that are moved in those."""
_TWICE = 0.7
"""IoU from which on two boxes may be on the same object."""
_TWICE_FRAMES = 3
_DISAGREE = 0.5
_APART = 8
"""Frames around a suggestion in which the same reason is not given again."""
_TOUCHED = 2
"""Frames around a point by hand that a person has seen."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something worth a look.

    Attributes:
        frame: Where, counted from 1.
        objects: Which, by id.
        reason: Why, in plain words.
        weight: How much, 0 to 1.
    """

    frame: int
    objects: tuple[int, ...]
    reason: str
    weight: float


class _Track(NamedTuple):
    """An object with its boxes in every frame."""

    item: LabelObject
    boxes: Boxes

    @property
    def hand(self) -> NDArray[np.int64]:
        """Frames in which a person set or confirmed it."""
        return np.asarray(self.boxes.frames[self.boxes.hand])

    def seen_near(self, frame: int) -> bool:
        """Whether a person looked at it about there."""
        return bool((np.abs(self.hand - frame) <= _TOUCHED).any())


def suggest(
    objects: Sequence[LabelObject],
    *,
    width: int,
    height: int,
    length: int,
    disagreement: Mapping[int, Mapping[int, float]] | None = None,
    limit: int = 200,
) -> list[Suggestion]:
    """What is worth a look, the most first.

    Objects to ignore are left out. Where a person set or confirmed a point, nothing is suggested
    within two frames of it.

    Args:
        objects: All of a sequence.
        width: Of the pictures in pixels.
        height: Of the pictures in pixels.
        length: Number of frames.
        disagreement: IoU of forward and backward propagation by id and frame, where it is known.
        limit: The most that are given.

    Returns:
        Ordered by weight, then frame, then ids. Equal input gives equal answers.
    """
    tracks = [_Track(item, boxes_of(item.points)) for item in objects if not item.ignore]
    tracks = [track for track in tracks if len(track.boxes.frames)]
    found = [
        *_breaks(tracks, width, height, length),
        *_twice(tracks),
        *(item for track in tracks for item in _jumps(track)),
        *(item for track in tracks for item in _low(track)),
        *(item for track in tracks for item in _long(track)),
        *_disagree(tracks, disagreement or {}),
    ]
    found.sort(key=lambda item: (-item.weight, item.frame, item.objects, item.reason))
    return _spread(found)[:limit]


def _spread(found: list[Suggestion]) -> list[Suggestion]:
    """Without those that say what a better one near by says of the same objects."""
    kept: list[Suggestion] = []
    told: dict[tuple[int, ...], list[int]] = {}
    for item in found:
        frames = told.setdefault(item.objects, [])
        if all(abs(frame - item.frame) > _APART for frame in frames):
            frames.append(item.frame)
            kept.append(item)
    return kept


def _weight(low: float, high: float, share: float) -> float:
    return round(low + (high - low) * float(np.clip(share, 0, 1)), 4)


def _centres(boxes_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2)


def _name(track: _Track) -> str:
    return f"{track.item.label} {track.item.id}"


# --- ids that break -------------------------------------------------------------------------------


def _breaks(tracks: list[_Track], width: int, height: int, length: int) -> Iterator[Suggestion]:
    """Objects that end in the middle of the picture, and others that begin near by soon after."""
    begins = [(track, int(span[0])) for track in tracks for span in spans_of(track.item.points)]
    begins = [(track, frame) for track, frame in begins if frame > 1]
    places = [track.boxes.boxes_xywh[track.boxes.frames == frame][0] for track, frame in begins]
    frames = np.array([frame for _, frame in begins], np.int64)
    centres = _centres(np.array(places).reshape(-1, 4))
    size = np.array([width, height])
    for track in tracks:
        for _, last in spans_of(track.item.points).tolist():
            row = int(np.searchsorted(track.boxes.frames, last))
            box = track.boxes.boxes_xywh[row]
            if last >= length or _at_border(box, size) or track.seen_near(last):
                continue
            speed = _speed(track.boxes, row)
            expected = _centres(box[None]) + speed * (frames - last)[:, None].clip(0, 10)
            reach = np.minimum(
                np.hypot(*(centres - expected).T), np.hypot(*(centres - _centres(box[None])).T)
            )
            near = (
                (frames > last) & (frames <= last + _NEAR_FRAMES) & (reach < _NEAR_HEIGHTS * box[3])
            )
            near &= np.array(
                [other.item.label == track.item.label for other, _ in begins], np.bool_
            )
            if near.any():
                cost = np.where(near, reach / box[3] + (frames - last) / _NEAR_FRAMES, np.inf)
                other, begin = begins[int(cost.argmin())]
                objects = tuple(sorted({track.item.id, other.item.id}))
                words = (
                    f"{_name(track)} ends in the middle of the picture and {_name(other)} begins "
                    f"near by {_frames(begin - last)} later: are they one?"
                    if other is not track
                    else f"{_name(track)} is away for {_frames(begin - last - 1)} in the middle of "
                    "the picture"
                )
                weight = _weight(0.98, 0.72, float(cost.min()) / 2)
                yield Suggestion(last, objects, words, weight)
            else:
                yield Suggestion(
                    last, (track.item.id,), f"{_name(track)} ends in the middle of the picture", 0.5
                )


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _at_border(box: NDArray[np.float64], size: NDArray[np.int64]) -> bool:
    edge = _BORDER * size
    return bool((box[:2] <= edge).any() or (box[:2] + box[2:] >= size - edge).any())


def _speed(boxes: Boxes, row: int) -> NDArray[np.float64]:
    """Pixels a frame in the frames before a row, shape (2,)."""
    first = max(row - 5, 0)
    if first == row:
        return np.zeros(2)
    centres = _centres(boxes.boxes_xywh[[first, row]])
    return np.asarray((centres[1] - centres[0]) / max(boxes.frames[row] - boxes.frames[first], 1))


# --- two boxes on one object ----------------------------------------------------------------------


def _twice(tracks: list[_Track]) -> Iterator[Suggestion]:
    if not tracks:
        return
    frames = np.concatenate([track.boxes.frames for track in tracks])
    owner = np.repeat(np.arange(len(tracks)), [len(track.boxes.frames) for track in tracks])
    boxes = np.concatenate([track.boxes.boxes_xywh for track in tracks])
    order = np.argsort(frames, kind="stable")
    frames, owner, boxes = frames[order], owner[order], boxes[order]
    met: dict[tuple[int, int], list[tuple[int, float]]] = {}
    starts = np.flatnonzero(np.diff(frames, prepend=-1))
    for start, end in zip(starts, np.append(starts[1:], len(frames)), strict=True):
        overlap = np.triu(_iou(boxes[start:end], boxes[start:end]), 1)
        for one, other in np.argwhere(overlap > _TWICE).tolist():
            low, high = sorted((int(owner[start + one]), int(owner[start + other])))
            if low != high:
                met.setdefault((low, high), []).append(
                    (int(frames[start]), float(overlap[one, other]))
                )
    for (low, high), seen in sorted(met.items()):
        first, second = tracks[low], tracks[high]
        if len(seen) < _TWICE_FRAMES or first.item.label != second.item.label:
            continue
        frame = max(seen, key=lambda entry: (entry[1], -entry[0]))[0]
        if first.seen_near(frame) and second.seen_near(frame):
            continue
        shared = len(seen) / min(len(first.boxes.frames), len(second.boxes.frames))
        yield Suggestion(
            frame,
            tuple(sorted((first.item.id, second.item.id))),
            f"{_name(first)} and {_name(second)} are in the same place in {_frames(len(seen))}: "
            "are they one?",
            _weight(0.7, 0.97, shared),
        )


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    from motrail.boxes import iou_xyxy, xywh_to_xyxy

    return iou_xyxy(xywh_to_xyxy(a), xywh_to_xyxy(b))


# --- boxes that jump ------------------------------------------------------------------------------


def _jumps(track: _Track) -> Iterator[Suggestion]:
    """Frames in which a box is elsewhere than between those before and after it, or beyond."""
    frames, boxes = track.boxes.frames, track.boxes.boxes_xywh
    if len(frames) < 4:
        return
    step = np.diff(frames)
    together = (step[:-1] == 1) & (step[1:] == 1)
    centres = _centres(boxes)
    scale = np.sqrt(boxes[:, 2] * boxes[:, 3])[1:-1]
    turn = np.hypot(*(centres[2:] - 2 * centres[1:-1] + centres[:-2]).T) / scale
    extent = np.log(boxes[:, 2:])
    grow = np.abs(extent[2:] - 2 * extent[1:-1] + extent[:-2]).max(axis=1)
    # What is usual for the object does not count: a runner's box turns at every step.
    usual = 3 * np.array([np.median(turn), np.median(grow)])
    far = np.stack([turn / max(_JUMP, usual[0]), grow / max(_GROW, usual[1])])
    far[:, ~together] = 0
    for row in np.flatnonzero(far.max(axis=0) > 1).tolist():
        frame = int(frames[row + 1])
        if track.seen_near(frame):
            continue
        what = "jumps" if far[0, row] >= far[1, row] else "changes its size suddenly"
        share = float(np.log2(far[:, row].max())) / 2
        yield Suggestion(
            frame, (track.item.id,), f"the box of {_name(track)} {what}", _weight(0.65, 0.95, share)
        )


# --- what is not sure -----------------------------------------------------------------------------


def _low(track: _Track) -> Iterator[Suggestion]:
    """Tracks that the detector was not sure of and that nobody confirmed."""
    score, item = track.item.score, track.item
    if score is None or score >= _LOW_SCORE or len(track.hand) or item.source == "hand":
        return
    middle = int(track.boxes.frames[len(track.boxes.frames) // 2])
    yield Suggestion(
        middle,
        (item.id,),
        f"{_name(track)} has a low score ({score:.2f}): is it one?",
        _weight(0.75, 0.4, score / _LOW_SCORE),
    )


def _long(track: _Track) -> Iterator[Suggestion]:
    """Long stretches without a point by hand in which much happens."""
    frames, boxes = track.boxes.frames, track.boxes.boxes_xywh
    marks = np.unique(np.concatenate([frames[:1], track.hand, frames[-1:]]))
    for first, last in zip(marks[:-1].tolist(), marks[1:].tolist(), strict=True):
        inside = np.flatnonzero((frames >= first) & (frames <= last))
        if last - first < _LONG or len(inside) < _LONG:
            continue
        path = _centres(boxes[inside])
        moved = float(np.hypot(*np.diff(path, axis=0).T).sum() / np.median(boxes[inside, 3]))
        if moved < _FAR:
            continue
        middle = int(frames[inside[len(inside) // 2]])
        yield Suggestion(
            middle,
            (track.item.id,),
            f"{_name(track)} moves a lot in {_frames(last - first)} without a keyframe",
            _weight(0.2, 0.6, moved / 20),
        )


def _disagree(
    tracks: list[_Track], disagreement: Mapping[int, Mapping[int, float]]
) -> Iterator[Suggestion]:
    """Where following forward and backward led to different places."""
    for track in tracks:
        for frame, overlap in sorted(disagreement.get(track.item.id, {}).items()):
            if overlap < _DISAGREE and not track.seen_near(frame):
                yield Suggestion(
                    frame,
                    (track.item.id,),
                    f"following {_name(track)} forward and backward leads to different places",
                    _weight(0.93, 0.6, overlap / _DISAGREE),
                )
