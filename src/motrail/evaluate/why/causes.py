"""Name a cause for each event."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from motrail.evaluate.events import Cause
from motrail.evaluate.why.scene import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.evaluate.events import Event
    from motrail.evaluate.why.find import Trouble
    from motrail.evaluate.why.motion import Motion
    from motrail.evaluate.why.scene import Scene

_CODES: dict[Cause, int] = {cause: code for code, cause in enumerate(get_args(Cause))}
_CAUSES: tuple[Cause, ...] = get_args(Cause)

# Objects that overlap within so many frames of a switch have met.
_NEAR_FRAMES = 2


Stage = Literal["first", "second", "unconfirmed", "revive"]
"""With strong detections, with weak ones, of tracks seen once, and of lost ones with weak ones."""


class Explained(NamedTuple):
    """An event with its cause, and what a remedy is derived from.

    Attributes:
        event: With its cause.
        scores: Of the detections that were not tracked for this cause, float32, shape (n,).
        gap: For misses and fragments the missed boxes, for a switch the missed frames of the old
            track before the object was seen again.
        stage: The association in which a match failed, for *not matched* and *camera moved*.
        sizes: Width and height of the boxes that a filter kept out, float32, shape (n, 2).
    """

    event: Event
    scores: NDArray[np.float32] = np.empty(0, np.float32)
    gap: int = 0
    stage: Stage = "first"
    sizes: NDArray[np.float32] = np.empty((0, 2), np.float32)


def name_causes(scene: Scene, motion: Motion, troubles: Sequence[Trouble]) -> list[Explained]:
    """A cause for each event of a class.

    Each missed box has a reason of its own; that of most boxes of a run, the earliest among
    equals, is the cause of the run:

    * *never detected*: no detection of any score has an IoU of 0.5 or more with the true box.
      Weak boxes that were cut away before the detections were written cannot be told from none.
    * *merged*: there are such detections, and all of them were matched to other objects.
    * *wrong class*: a detection of another class lies there, or its track was given out as one.
    * *low score*: the best one does not lie above `low_threshold`.
    * *filtered*: its track was kept out by `min_box_area` or `max_aspect_ratio`.
    * *box off*: it was tracked, but the box given out, which the filter of the tracker smooths,
      has too little IoU with the true one.
    * *crossed*: the track this object had no longer ago than it is kept while lost has another
      true object in this frame.
    * *not matched*: that track was alive and its detection was left over: a strong one in the
      first association or a weak one, of a track seen in the frame before (or, where the tracker
      revives lost tracks by weak detections, no longer ago than it does), in the second; or the
      object's new track was not continued.
    * *camera moved*: the same, where `Motion.camera_moved` says so of what the tracker did not take
      out itself.
    * *weak return*: the track was lost but alive, and the detection below `high_threshold`: those
      continue only tracks that were seen in the frame before, or are revived.
    * *weak start*: no track was alive, and the detection, or the one of the next frame, which must
      confirm the track, is too weak to begin one.
    * *confirmed late*: the detection began a track, which the next frame confirmed.

    A switch after a run has its own cause:

    * *label fault*: the labels changed places while the tracks went on, or a true box jumped away
      from its track.
    * *crossed*: the old track went on with another object, or the new one came from another, and
      the two overlapped (IoU above 0) from two frames before they changed to two after.
    * *lost too long*: when the object was first tracked again its old track had been given up.
    * *camera moved*: the picture moved between then and the last frame of the old track.
    * *taken over*: as in *crossed*, but the two did not overlap.
    * *doubled*: no other object takes part, and the new track is older than the switch, or the old
      one went on beside the object.
    * *not matched*: the old track was alive, and the detection not matched to it.

    Args:
        scene: Truth, detections and tracks.
        motion: Of the same sequence.
        troubles: The events, without causes.
    """
    reasons = _reasons(scene)
    explained = []
    for trouble in troubles:
        if trouble.event.kind == "switch":
            explained.append(_explain_switch(scene, motion, trouble))
        else:
            explained.append(_explain_run(scene, motion, trouble, reasons))
    return explained


def _reasons(scene: Scene) -> NDArray[np.int64]:
    """Why each true box was missed, as a code; of no meaning for those that were not."""
    settings = scene.settings
    rows, frames, found = np.arange(len(scene.frames)), scene.frames, scene.detection
    has = found >= 0
    if not len(scene.detections):
        return np.full(len(rows), _CODES["never detected"])
    rank = np.where(has, scene.rank(found), 0)
    taken = np.where(has, scene.track_of[found], -1)
    shown, of_class = np.zeros((2, len(rows)), np.bool_)
    shown[taken >= 0] = scene.shown[taken[taken >= 0]]
    of_class[taken >= 0] = scene.of_class[taken[taken >= 0]]
    own = np.maximum(scene.own, 0)
    last = np.where(scene.own >= 0, scene.lives.last_before(own, frames), NEVER)
    elsewhere = np.where(scene.own >= 0, scene.lives.row_at(own, frames), -1)
    # A track that has long been something else's is no longer this object's.
    last = np.where(elsewhere >= 0, scene.own_frame, last)
    alive = (scene.own >= 0) & scene.alive(last, frames)
    stolen = np.zeros(len(rows), np.bool_)
    stolen[elsewhere >= 0] = scene.truth_of[elsewhere[elsewhere >= 0]] >= 0
    begins = has & (scene.detections.scores[found] >= np.float32(settings.new_track_threshold))
    next_taken, next_rank = _in_next_frame(scene, taken, rank)
    strong = rank == 2
    tested: tuple[tuple[NDArray[np.bool_], Cause], ...] = (
        (~has & ~scene.touched & scene.mistaken, "wrong class"),
        (~has & ~scene.touched, "never detected"),
        (~has, "merged"),
        ((taken >= 0) & ~shown, "filtered"),
        ((taken >= 0) & ~of_class, "wrong class"),
        (taken >= 0, "box off"),
        (rank == 0, "low score"),
        (alive & stolen, "crossed"),
        (alive & strong, "not matched"),
        (alive & scene.tried_weak(last, frames), "not matched"),
        (alive, "weak return"),
        (~strong | ~begins, "weak start"),
        (next_taken, "confirmed late"),
        (next_rank == 2, "not matched"),
    )
    return np.select(
        [where for where, _ in tested],
        [np.full(len(rows), _CODES[cause]) for _, cause in tested],
        _CODES["weak start"],
    )


def _in_next_frame(
    scene: Scene, taken: NDArray[np.int64], rank: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether the same object's detection of the next frame is tracked, and its rank."""
    order = scene.order
    follows = (np.diff(scene.identity[order]) == 0) & (np.diff(scene.frames[order]) == 1)
    here, there = order[:-1][follows], order[1:][follows]
    is_taken = np.zeros(len(order), np.bool_)
    is_taken[here] = taken[there] >= 0
    next_rank = np.zeros(len(order), np.int64)
    next_rank[here] = rank[there]
    return is_taken, next_rank


def _explain_run(
    scene: Scene, motion: Motion, trouble: Trouble, reasons: NDArray[np.int64]
) -> Explained:
    event, missed = trouble.event, trouble.missed
    if not len(missed):
        return Explained(dataclasses.replace(event, cause="not labelled"))
    codes = reasons[missed]
    counts = np.bincount(codes, minlength=len(_CAUSES))
    code = int(codes[np.argmax(counts[codes])])
    cause, of_it = _CAUSES[code], missed[codes == code]
    first = int(of_it[0])
    other = None
    if cause == "not matched" and _camera(scene, motion, first):
        cause = "camera moved"
    elif cause == "crossed":
        row = int(scene.lives.row_at(scene.own[[first]], scene.frames[[first]])[0])
        other = int(scene.ids[scene.truth_of[row]])
    found = scene.detection[of_it]
    found = found[found >= 0]
    return Explained(
        dataclasses.replace(event, cause=cause, other_id=other),
        scores=scene.detections.scores[found],
        gap=len(missed),
        stage=_stage(scene, first),
        sizes=_sizes(scene, found if cause == "filtered" else found[:0]),
    )


def _stage(scene: Scene, row: int) -> Stage:
    """In which association the detection of a missed box was left over."""
    detection = scene.detection[[row]]
    if int(detection[0]) < 0 or int(scene.rank(detection)[0]) == 2:
        own, frame = scene.own[[row]], scene.frames[[row]]
        last = scene.lives.last_before(own, frame)
        alive = int(own[0]) >= 0 and bool(scene.alive(last, frame)[0])
        return "first" if alive else "unconfirmed"
    last = scene.lives.last_before(scene.own[[row]], scene.frames[[row]])
    return "second" if int(last[0]) == int(scene.frames[row]) - 1 else "revive"


def _sizes(scene: Scene, detections: NDArray[np.int64]) -> NDArray[np.float32]:
    """Width and height of the boxes of the tracks that took detections."""
    boxes = scene.tracks.boxes_xyxy[scene.track_of[detections]]
    return boxes[:, 2:] - boxes[:, :2]


def _camera(scene: Scene, motion: Motion, row: int) -> bool:
    if scene.own[row] < 0:
        return False
    frame = int(scene.frames[row])
    last = int(scene.lives.last_before(scene.own[[row]], scene.frames[[row]])[0])
    return last != NEVER and motion.camera_moved(
        int(scene.ids[row]), last, frame, scene.taken_out(row, last, frame)
    )


class _Met(NamedTuple):
    """Another true object that takes part in a switch, and the frame from which it may have."""

    identity: int
    since: int


class _Switch:
    """Where an object changed from an old track to a new one."""

    def __init__(self, scene: Scene, trouble: Trouble) -> None:
        self.scene = scene
        self.before, self.after = trouble.before, trouble.after
        self.start, self.end = trouble.event.start, trouble.event.end
        rows = scene.track_row[[self.before, self.after]]
        self.known = bool((rows >= 0).all())
        self.old, self.new = (int(scene.tracks.ids[row]) for row in rows)
        self.identity = int(scene.identity[self.before])

    def taken_by(self) -> _Met | None:
        """The other object that the old track went on with, up to soon after the switch."""
        truth = self._matches(self.old)
        frames = self.scene.frames[truth]
        near = (frames > self.start) & (frames <= self.end + _NEAR_FRAMES)
        others = truth[near & (self.scene.identity[truth] != self.identity)]
        return _Met(int(self.scene.identity[others[0]]), self.start) if len(others) else None

    def came_from(self) -> _Met | None:
        """The other object that the new track had last before the switch."""
        truth = self._matches(self.new)
        truth = truth[self.scene.frames[truth] < self.end]
        if not len(truth) or self.scene.identity[truth[-1]] == self.identity:
            return None
        since = min(int(self.scene.frames[truth[-1]]), self.start)
        return _Met(int(self.scene.identity[truth[-1]]), since)

    def _matches(self, track: int) -> NDArray[np.int64]:
        """Rows of the truth that a track is matched to."""
        truth = self.scene.truth_of[self.scene.lives.rows_of(track)]
        return truth[truth >= 0]

    def overlapped(self, met: _Met) -> bool:
        """Whether the two true objects overlapped while the tracks changed, or nearly so."""
        scene = self.scene
        span = met.since - _NEAR_FRAMES, self.end + _NEAR_FRAMES + 1
        one, two = (scene.rows_of(which) for which in (self.identity, met.identity))
        one, two = (rows[slice(*np.searchsorted(scene.frames[rows], span))] for rows in (one, two))
        _, here, there = np.intersect1d(
            scene.frames[one], scene.frames[two], assume_unique=True, return_indices=True
        )
        a, b = scene.boxes_xywh[one[here]], scene.boxes_xywh[two[there]]
        extent = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(
            a[:, :2], b[:, :2]
        )
        return bool((extent > 0).all(axis=1).any())

    def begun(self) -> int:
        """The frame in which the object was tracked again: where a new track has its first hit."""
        first = self.scene.lives.first(self.new)
        if first <= self.start:
            return self.end
        # A new track is given out from its second hit on, but for those of the first frame.
        return max(first - 1, self.start + 1)

    def doubled(self, back: int) -> bool:
        """Whether the new track is older than the switch, or the old one goes on without it."""
        lives = self.scene.lives
        older = lives.first(self.new) <= self.start
        return older or int(lives.row_at(np.array([self.old]), np.array([back]))[0]) >= 0

    def last_of_old(self, frame: int) -> int:
        """The last frame before in which the old track was matched to anything."""
        return int(self.scene.lives.last_before(np.array([self.old]), np.array([frame]))[0])


def _explain_switch(scene: Scene, motion: Motion, trouble: Trouble) -> Explained:
    switch = _Switch(scene, trouble)
    if not switch.known or switch.old == switch.new:
        return Explained(dataclasses.replace(trouble.event, cause="unknown"))
    back = switch.begun()
    gap = back - 1 - switch.last_of_old(back)
    cause, other = _cause_of_switch(motion, switch, trouble.event, back, gap)
    other_id = None
    if other is not None:
        other_id = int(scene.ids[scene.rows_of(other)[0]])
    return Explained(
        dataclasses.replace(trouble.event, cause=cause, other_id=other_id), gap=max(gap, 0)
    )


def _cause_of_switch(
    motion: Motion, switch: _Switch, event: Event, back: int, gap: int
) -> tuple[Cause, int | None]:
    """The cause, and the other true identity that takes part."""
    taken_by, came_from = switch.taken_by(), switch.came_from()
    met = [one for one in (taken_by, came_from) if one is not None]
    partner = met[0].identity if met else None
    if _label_fault(motion, switch, taken_by, came_from):
        return "label fault", partner
    for one in met:
        if switch.overlapped(one):
            return "crossed", one.identity
    if gap > switch.scene.lost_frames:
        return "lost too long", None
    since = min(back - 1 - gap, switch.start)
    taken_out = switch.scene.taken_out(switch.before, since, back)
    if motion.camera_moved(event.truth_id, since, back, taken_out):
        return "camera moved", partner
    if met:
        return "taken over", partner
    return ("doubled" if switch.doubled(back) else "not matched"), None


def _label_fault(
    motion: Motion, switch: _Switch, taken_by: _Met | None, came_from: _Met | None
) -> bool:
    scene = switch.scene
    truth_id = int(scene.ids[switch.before])
    if taken_by is not None and came_from is not None and taken_by.identity == came_from.identity:
        other = int(scene.ids[scene.rows_of(taken_by.identity)[0]])
        if motion.exchanged(truth_id, other, switch.end):
            return True
    row = int(scene.lives.row_at(np.array([switch.old]), np.array([switch.end]))[0])
    if row < 0:
        return False
    box = scene.tracks.boxes_xyxy[row].astype(np.float64)
    box[2:] -= box[:2]
    return motion.left_behind(truth_id, switch.start, switch.end, box)
