"""Carry boxes from one picture to the next, each with its identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from motrail.boxes import iou_xyxy
from motrail.label.geometry import away, cover
from motrail.label.looks import Looks, alike, colours
from motrail.label.motion import box_flow
from motrail.label.silhouette import MODES, Outline, Standing, outline
from motrail.track.kalman import POSITION, BoxFilter, Noise, cxcywh_to_ltrb, ltrb_to_cxcywh
from motrail.track.motion import Motion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from motrail.label.motion import View
    from motrail.label.silhouette import Mode, Sight

_FILTER = BoxFilter(
    process=Noise(1 / 40),
    process_velocity=Noise(1 / 80),
    measurement=Noise(1 / 40),
    birth=Noise(1 / 40),
    birth_velocity=Noise(1 / 20),
)
_COVERED = 0.6
"""Share of a box behind others from which on it is not looked for."""
_SHARE = 0.25
"""Share of an object's points that must go together."""
_INSIDE = 0.1
"""Share of a box in the picture below which the object has left."""
_TRUST = 0.75
"""IoU with a box drawn by hand that an outline must reach to be believed afterwards."""
_FILLED = 0.45
"""Of what is usually seen in front of the empty place; with less the object is hidden."""
_SIMILAR = 0.55
_FOUND = 0.75
_BACK_TO = 0.08
"""Share of the way back to its course that an object goes in a frame."""
_ASTRAY = 0.9
"""Heights from its course beyond which an object is not believed to be."""
_MOST_BIASES = 60
_SAME = 0.8
"""IoU from which on two boxes are on the same object."""


@dataclass
class _Object:
    """What is known of one object beside its box."""

    looks: Looks
    fits: dict[Mode, list[float]] = field(default_factory=dict)
    filled: dict[Mode, list[float]] = field(default_factory=dict)
    colours: NDArray[np.float32] | None = None
    missed: int = 0


@dataclass
class Follower:
    """Objects that are carried along.

    Attributes:
        most_missed: Frames after which an object that is not seen is given up.
    """

    most_missed: int = 25
    _ids: list[int] = field(default_factory=list)
    _objects: dict[int, _Object] = field(default_factory=dict)
    _state: NDArray[np.float64] = field(default_factory=lambda: np.zeros((5, 4, 0)))
    _boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    _biases: dict[Mode, list[NDArray[np.float64]]] = field(default_factory=dict)

    @property
    def boxes_xyxy(self) -> dict[int, NDArray[np.float64]]:
        """Where the objects are, by id."""
        return dict(zip(self._ids, self._boxes, strict=True))

    def place(
        self,
        sight: Sight,
        boxes: Mapping[int, NDArray[np.float64]],
    ) -> None:
        """Set objects, new ones or known ones, to boxes in the picture that are right.

        Args:
            sight: The picture.
            boxes: Left, top, right, bottom by id.
        """
        kept = [row for row, number in enumerate(self._ids) if number not in boxes]
        speed = {n: self._state[:, :, row] for row, n in enumerate(self._ids)}
        states, rows = [self._state[:, :, kept]], [self._boxes[kept]]
        for number, box in boxes.items():
            state = _FILTER.initiate(ltrb_to_cxcywh(box[:, None]))
            if number in speed:
                state[1:, :, 0] = speed[number][1:]
            states.append(state)
            rows.append(box[None])
        self._ids = [self._ids[row] for row in kept] + list(boxes)
        self._state, self._boxes = np.concatenate(states, axis=2), np.concatenate(rows)
        for row, number in enumerate(self._ids):
            if number in boxes:
                around = self.standing(sight, self._ids, self._boxes, row)
                self._judge(number, sight, self._boxes[row], around)

    def _judge(
        self,
        number: int,
        sight: Sight,
        box: NDArray[np.float64],
        around: Sequence[Standing],
    ) -> None:
        """See how well the outline of an object tells the box that was drawn."""
        known = self._objects.get(number)
        thing = _Object(Looks(sight.view.image, sight.view.grey, box))
        if known is not None:
            thing.fits, thing.filled = known.fits, known.filled
            thing.colours = known.colours
        self._objects[number] = thing
        for mode in MODES:
            found = outline(sight, Standing(box, thing.colours), around, mode)
            if mode == MODES[0] and found.colours is not None and found.colours.sum() > 30:
                thing.colours = found.colours + (0 if thing.colours is None else thing.colours)
            if found.seen.sum() < 2:
                continue
            moved = np.where(found.seen, found.box_xyxy + self._bias(mode), box)
            thing.fits.setdefault(mode, []).append(float(iou_xyxy(moved[None], box[None])[0, 0]))
            error = np.where(found.seen, box - found.box_xyxy, np.nan)
            error[np.abs(error) > 0.08 * (box[3] - box[1]) + 1.5] = np.nan
            biases = self._biases.setdefault(mode, [])
            biases.append(error)
            del biases[:-_MOST_BIASES]
            thing.filled.setdefault(mode, []).append(found.filled)

    def standing(
        self, sight: Sight, numbers: Sequence[int], boxes: NDArray[np.float64], row: int
    ) -> list[Standing]:
        """All objects but that of a row where they are, and others that are not followed."""
        known = [
            Standing(boxes[at], self._objects[number].colours if number in self._objects else None)
            for at, number in enumerate(numbers)
            if at != row
        ]
        return known + [Standing(box) for box in sight.others_xyxy]

    def _bias(self, mode: Mode) -> NDArray[np.float64]:
        """How far the sides of the boxes drawn by hand are outside of the outlines."""
        errors = np.array(self._biases.get(mode, [])).reshape(-1, 4)
        known = (~np.isnan(errors)).sum(axis=0) >= 3
        bias = np.zeros(4)
        if known.any():
            bias[known] = np.nanmedian(errors[:, known], axis=0)
        return bias

    def _mode(self, thing: _Object) -> Mode | None:
        """The object's own, or that of most others while it could not be judged."""
        fits = thing.fits
        if not fits:
            fits = {}
            for other in self._objects.values():
                for mode, values in other.fits.items():
                    fits.setdefault(mode, []).extend(values)
        if not fits:
            return None
        best = max(fits, key=lambda mode: float(np.median(fits[mode])))
        return best if float(np.median(fits[best])) >= _TRUST else None

    def drop(self, numbers: Iterable[int]) -> None:
        """Follow some objects no longer."""
        gone = set(numbers)
        keep = [row for row, number in enumerate(self._ids) if number not in gone]
        self._ids = [self._ids[row] for row in keep]
        self._boxes, self._state = self._boxes[keep], self._state[:, :, keep]

    def step(
        self,
        before: View,
        sight: Sight,
        camera: NDArray[np.float64],
        course: tuple[Mapping[int, NDArray[np.float64]], Mapping[int, NDArray[np.float64]]],
    ) -> list[int]:
        """Carry the objects to the next picture.

        Args:
            before: The picture they are in.
            sight: The next one.
            camera: From the pixels of that picture to those of the next, shape (3, 3).
            course: About where objects are in either picture, by id, as far as is known.

        Returns:
            Those that are no longer there; they are not followed any more.
        """
        if not self._ids:
            return []
        expected = self._predict(camera)
        planned = self._plan(expected, course)
        alone = np.zeros((0, 4))
        fronts = [self._in_front(row, self._boxes, alone) for row in range(len(self._ids))]
        flow = box_flow(before, sight.view, self._boxes, fronts, camera)
        guess = expected.copy()
        moved = flow.share >= _SHARE
        guess[moved] = self._boxes[moved] + np.tile(flow.shift[moved], 2)
        sure = np.zeros(len(self._ids))
        measured = guess.copy()
        for row in range(len(self._ids)):
            scale = float(flow.scale[row]) if moved[row] else None
            measured[row], sure[row] = self._measure(row, sight, guess, scale)
        astray = away(measured, planned) > _ASTRAY
        measured[astray], sure[astray] = expected[astray], 0
        self._keep_apart(sight.view, expected, measured, sure)
        return self._settle(sight.view, expected, measured, sure)

    def _plan(
        self,
        expected: NDArray[np.float64],
        course: tuple[Mapping[int, NDArray[np.float64]], Mapping[int, NDArray[np.float64]]],
    ) -> NDArray[np.float64]:
        """Where the course says that objects are, NaN where it does not; moves what is expected."""
        planned = np.full_like(expected, np.nan)
        for row, number in enumerate(self._ids):
            if number in course[0] and number in course[1]:
                planned[row] = course[1][number]
                along = self._boxes[row] + course[1][number] - course[0][number]
                along += _BACK_TO * (planned[row] - along)
                lost = self._objects[number].missed > 0
                expected[row] += (1.0 if lost else 0.5) * (along - expected[row])
        return planned

    def _predict(self, camera: NDArray[np.float64]) -> NDArray[np.float64]:
        _FILTER.predict(self._state)
        Motion(camera[:2, :2], camera[:2, 2]).move(self._state)
        self._state[POSITION, 2:] = ltrb_to_cxcywh(self._boxes.T)[2:]
        return np.ascontiguousarray(cxcywh_to_ltrb(self._state[POSITION]).T)

    def _in_front(
        self, row: int, boxes: NDArray[np.float64], others: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Boxes that overlap one and stand lower in the picture, which is nearer to the camera."""
        around = np.concatenate([np.delete(boxes, row, 0), others])
        return np.asarray(around[(cover(boxes[row], around) > 0) & (around[:, 3] > boxes[row, 3])])

    def _measure(
        self,
        row: int,
        sight: Sight,
        guess: NDArray[np.float64],
        scale: float | None,
    ) -> tuple[NDArray[np.float64], float]:
        """Where an object is, and how sure that is: 0 where it was not seen.

        Args:
            row: Of the object.
            sight: The picture.
            guess: Where all are expected.
            scale: How much it grew; None where its points were not found again.
        """
        number, box = self._ids[row], guess[row]
        thing = self._objects[number]
        around = self.standing(sight, self._ids, guess, row)
        front = self._in_front(row, guess, sight.others_xyxy)
        covered = float(cover(box, front).max(initial=0))
        if covered > _COVERED:
            return box, 0.0
        doubt = 2.0 if scale is None else 1.0
        found = self.snap(number, sight, box, around, doubt=doubt)
        if found is not None:
            if found.filled == 0:
                return box, 0.0
            if found.seen.any():
                return found.box_xyxy, 1.0
            return box, 0.0 if scale is None else 0.5
        sighting = thing.looks.find(sight.view.grey, box, 0.3 if scale is None else 0.12)
        if scale is None:
            return (sighting.box_xyxy, 0.6) if sighting.likeness > _FOUND else (box, 0.0)
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * scale
        carried = np.concatenate([centre - half, centre + half])
        if sighting.likeness > _SIMILAR and covered < 0.2:
            carried += 0.3 * (sighting.box_xyxy - box)
        return carried, 0.5 + 0.5 * max(sighting.likeness, 0)

    def snap(
        self,
        number: int,
        sight: Sight,
        box: NDArray[np.float64],
        around: Sequence[Standing],
        *,
        doubt: float = 1.0,
    ) -> Outline | None:
        """The box of an object, its sides where a person would have drawn them.

        Returns:
            With `filled` 0 where it is hidden; None where its outline cannot be trusted.
        """
        thing = self._objects[number]
        mode = self._mode(thing)
        if mode is None:
            return None
        boxes = np.array([other.box_xyxy for other in around]).reshape(-1, 4)
        front = boxes[boxes[:, 3] > box[3]]
        if cover(box, front).max(initial=0) > _COVERED:
            return Outline(box, np.zeros(4, np.bool_), 0.0)
        own = Standing(box, thing.colours)
        found = outline(sight, own, around, mode, bias=self._bias(mode), doubt=doubt)
        usual = float(np.median(thing.filled.get(mode, [0.45])))
        if 0 <= found.filled < _FILLED * usual:
            return Outline(box, np.zeros(4, np.bool_), 0.0)
        return found

    def _keep_apart(
        self,
        view: View,
        expected: NDArray[np.float64],
        measured: NDArray[np.float64],
        sure: NDArray[np.float64],
    ) -> None:
        """See that no two objects take the same place, nor each other's; in place.

        Objects and places are assigned to each other as BYTE assigns tracks and detections, by
        the overlap with the expected boxes and by colours.
        """
        overlap = iou_xyxy(measured, measured)
        close = (overlap > 0.1) & (sure[:, None] > 0) & (sure[None] > 0)
        np.fill_diagonal(close, val=False)
        crowd = np.flatnonzero(close.any(axis=1))
        if len(crowd) < 2:
            return
        own = [self._objects[self._ids[row]].looks.colours for row in crowd]
        seen = [colours(view.image, measured[row]) for row in crowd]
        gain = iou_xyxy(expected[crowd], measured[crowd])
        gain += np.array([[alike(one, other) for other in seen] for one in own])
        rows, columns = linear_sum_assignment(-gain)
        if gain[rows, columns].sum() > np.trace(gain) + 0.5:
            measured[crowd[rows]] = measured[crowd[columns]]
            sure[crowd[rows]] = sure[crowd[columns]]
        same = np.argwhere(np.triu(iou_xyxy(measured[crowd], measured[crowd]), 1) > _SAME)
        for pair in crowd[same]:
            fit = np.diag(iou_xyxy(expected[pair], measured[pair]))
            wrong = pair[int(fit.argmin())]
            measured[wrong], sure[wrong] = expected[wrong], 0.0

    def _settle(
        self,
        view: View,
        expected: NDArray[np.float64],
        measured: NDArray[np.float64],
        sure: NDArray[np.float64],
    ) -> list[int]:
        """Take over what was measured; the objects that are gone."""
        seen = sure > 0
        self._boxes = np.where(seen[:, None], measured, expected)
        if seen.any():
            fresh = _FILTER.update(self._state[:, :, seen], ltrb_to_cxcywh(measured[seen].T))
            self._state[:, :, seen] = fresh
        height, width = view.grey.shape
        picture = np.array([0.0, 0, width, height])
        gone = []
        for row, number in enumerate(self._ids):
            thing = self._objects[number]
            thing.missed = 0 if seen[row] else thing.missed + 1
            box = self._boxes[row]
            if sure[row] >= 0.8:
                thing.looks.learn(view.image, view.grey, box)
            inside = cover(box, picture[None])[0]
            if inside < _INSIDE or thing.missed > self.most_missed or (box[2:] - box[:2]).min() < 2:
                gone.append(number)
        self.drop(gone)
        return gone
