"""How the true boxes move: jumps of the whole picture, and jumps of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.formats.labels import Labels

# Speed is measured over so many frames, or as many as there are.
_SPEED_FRAMES = 5

# The fewest other objects from which the movement of the picture is told.
_WITNESSES = 3

# A picture that moved costs a box so much of its overlap with where it was expected to be.
_CAMERA_IOU = 0.6

# Labels change places between two frames or within few.
_LABEL_FRAMES = 3
_LABEL_LOOK_BACK = 15


class Motion:
    """Where the true objects of a sequence are, and where they were to be expected.

    All labels take part, whatever their class and whether they count or not; the camera moves for
    all of them.
    """

    def __init__(self, truth: Labels) -> None:
        known = np.flatnonzero(truth.ids >= 0)
        # Sources may number objects as high as they like.
        self._ids, objects = np.unique(truth.ids[known], return_inverse=True)
        keys = _keys(objects.reshape(-1), truth.frames[known])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        boxes = truth.boxes_xywh[known[order]]
        # Centre x, centre y, width, height.
        self._boxes = np.concatenate((boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]), axis=1)
        by_frame = np.argsort(truth.frames[known], kind="stable")
        self._frames = truth.frames[known[by_frame]]
        self._there = truth.ids[known[by_frame]]
        self._shifts: dict[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def boxes(self, ids: NDArray[np.int64], frame: int) -> NDArray[np.float64]:
        """Boxes (centre x, centre y, width, height) in a frame, shape (n, 4); NaN for none."""
        if not len(self._keys):
            return np.full((len(ids), 4), np.nan)
        objects = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        wanted = _keys(objects, frame)
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        found = self._boxes[place].copy()
        found[(self._keys[place] != wanted) | (self._ids[objects] != ids)] = np.nan
        return found

    def expected(self, ids: NDArray[np.int64], start: int, end: int) -> NDArray[np.float64]:
        """Where objects seen in frame `start` would be in frame `end` at a steady speed.

        Returns:
            Centre x, centre y, width, height, shape (n, 4); NaN where they are not in `start`.
        """
        there = self.boxes(ids, start)
        speed = np.zeros((len(ids), 2))
        open_ = np.ones(len(ids), np.bool_)
        for back in range(_SPEED_FRAMES, 0, -1):
            before = self.boxes(ids, start - back)
            use = open_ & ~np.isnan(before[:, 0])
            speed[use] = (there[use, :2] - before[use, :2]) / back
            open_ &= ~use
        there[:, :2] += (end - start) * speed
        return there

    def camera_moved(
        self, identity: int, start: int, end: int, taken_out: NDArray[np.float64] | None = None
    ) -> bool:
        """Whether the picture moved between two frames so that it cost an object its match.

        The other objects that are in both frames are the witnesses: where each is, less where it
        would be at the speed it had. At least three are asked, and at least half of them must
        agree within half of the median shift, so that no single object's own motion does it. The
        median shift counts if a box of this object's size, moved by it, overlaps its old place by
        an IoU under 0.6.

        Args:
            identity: The object.
            start: The frame it was last tracked in.
            end: The frame in which it was not matched.
            taken_out: What the tracker knew of it and took out, pixels, shape (2,); only the rest
                can have cost a match.
        """
        ids, shifts = self._shift(start, end)
        shifts = shifts[ids != identity]
        box = self.boxes(np.array([identity]), end)[0]
        if len(shifts) < _WITNESSES or np.isnan(box[0]):
            return False
        shifts = shifts - (0 if taken_out is None else taken_out)
        median = np.median(shifts, axis=0)
        off = np.hypot(*(shifts - median).T)
        if float(np.median(off)) > 0.5 * float(np.hypot(*median)):
            return False
        stays = float(np.prod(np.maximum(1 - np.abs(median) / np.maximum(box[2:], 1e-9), 0)))
        return stays / (2 - stays) < _CAMERA_IOU

    def _shift(self, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Objects that are in both frames, and how far each is from where it was expected."""
        if (start, end) not in self._shifts:
            ids = self._there[slice(*np.searchsorted(self._frames, [start, start + 1]))]
            shift = (self.boxes(ids, end) - self.expected(ids, start, end))[:, :2]
            seen = ~np.isnan(shift[:, 0])
            self._shifts[start, end] = ids[seen], shift[seen]
        return self._shifts[start, end]

    def exchanged(self, one: int, other: int, end: int) -> bool:
        """Whether two labels changed places in one of the frames up to `end`.

        They did if, from one frame to the next, each true box fits where the other was expected
        far better than where it was expected itself.

        Args:
            one: A true identity.
            other: Another.
            end: The frame in which the tracks have the other one; labels that overlap may have
                changed places up to 15 frames before.
        """
        both = np.array([one, other])
        for frame in range(end, max(end - _LABEL_LOOK_BACK, 1), -1):
            now, expected = self.boxes(both, frame), self.expected(both, frame - 1, frame)
            if np.isnan(now).any() or np.isnan(expected).any():
                continue
            size = float(np.sqrt(now[:, 2:].prod(axis=1)).mean())
            straight = float(np.abs(now - expected).sum())
            crossed = float(np.abs(now - expected[::-1]).sum())
            if crossed < 0.4 * straight and straight > 0.4 * size:
                return True
        return False

    def left_behind(
        self, identity: int, start: int, end: int, track_xywh: NDArray[np.float64]
    ) -> bool:
        """Whether a true box jumped away from its track, which went on where it was expected.

        Args:
            identity: The object.
            start: The last frame in which the track had it.
            end: The frame in which it has another track, at most three later.
            track_xywh: Box of the old track in frame `end`.
        """
        if end - start > _LABEL_FRAMES:
            return False
        ids = np.array([identity])
        now, expected = self.boxes(ids, end)[0], self.expected(ids, start, end)[0]
        if np.isnan(now).any() or np.isnan(expected).any():
            return False
        track = np.concatenate((track_xywh[:2] + track_xywh[2:] / 2, track_xywh[2:]))
        return overlap(now, expected) < 0.1 and overlap(track, expected) >= 0.5


def _keys(objects: NDArray[np.intp], frames: NDArray[np.int64] | int) -> NDArray[np.int64]:
    # Frames before the first are asked for, too, and must not be those of the object before.
    return objects * (1 << 32) + np.asarray(frames, np.int64) + _SPEED_FRAMES


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """IoU of two boxes given as centre x, centre y, width, height, shape (4,)."""
    extent = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2) - np.maximum(
        a[:2] - a[2:] / 2, b[:2] - b[2:] / 2
    )
    shared = float(np.prod(np.maximum(extent, 0)))
    union = float(a[2] * a[3] + b[2] * b[3]) - shared
    return shared / union if union > 0 else 0.0
