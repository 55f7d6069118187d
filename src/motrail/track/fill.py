"""Fill gaps in tracks by straight lines, as a camera that stands still would see them.

Where the camera moved, a straight line in the picture is none in the scene. The box before a gap is
carried along with the camera, the one after it is carried back, and each missed frame gets the mean
of the two, weighted by how near they are in time. That is the straight line in the coordinates of
any one of the frames, seen from the frame in question.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.track.motion import Motion

_FLAT = 1e-6
"""A map that makes areas smaller than this times what they were cannot be turned round."""


class CameraPath:
    """How the camera moved into each frame that was looked at; 56 bytes a frame."""

    def __init__(self) -> None:
        self._frames = array("q")
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._frames)

    def note(self, frame: int, motion: Motion | None) -> None:
        """Take the next frame.

        Args:
            frame: Its number, larger than any before.
            motion: From the last frame that was looked at into this one; None where nothing is
                known, and then the camera stands still.
        """
        if motion is None:
            return
        values = [*motion.linear.ravel().tolist(), *motion.shift.tolist()]
        a, b, c, d = values[:4]
        if np.isfinite(values).all() and abs(a * d - b * c) > _FLAT:
            self._frames.append(frame)
            self._values.extend(values)

    def carry(
        self, boxes: NDArray[np.float64], frames: NDArray[np.int64], *, back: bool
    ) -> NDArray[np.float64]:
        """Carry boxes from the frame before into these frames, or back out of them.

        Args:
            boxes: Centre x, centre y, width, height, shape (n, 4).
            frames: Of each box, shape (n,).
            back: The other way.
        """
        known = np.asarray(self._frames, np.int64)
        place = np.minimum(np.searchsorted(known, frames), len(known) - 1)
        moved = np.flatnonzero(known[place] == frames)
        values = np.asarray(self._values).reshape(-1, 6)[place[moved]]
        a, b, c, d = values[:, :4].T
        det = a * d - b * c
        shift, size = values[:, 4:], np.sqrt(np.abs(det))[:, None]
        carried = boxes.copy()
        if back:
            x, y = (boxes[moved, :2] - shift).T
            centre = np.stack(((d * x - b * y) / det, (a * y - c * x) / det), axis=1)
            carried[moved] = np.concatenate((centre, boxes[moved, 2:] / size), axis=1)
        else:
            x, y = boxes[moved, :2].T
            centre = np.stack((a * x + b * y, c * x + d * y), axis=1) + shift
            carried[moved] = np.concatenate((centre, boxes[moved, 2:] * size), axis=1)
        return carried


def motion_known(tracker: object) -> Motion | None:
    """How the camera moved into the frame that a tracker has just seen, if it knows."""
    motion: Motion | None = getattr(tracker, "motion", None)
    return motion


def boxes_in_gaps(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    frames: NDArray[np.int64],
    counts: NDArray[np.int64],
    step: int,
    camera: CameraPath | None,
) -> NDArray[np.float64]:
    """Boxes of the frames missed in each of g gaps.

    Args:
        before: Left, top, width, height of the box before each gap, shape (g, 4).
        after: Of the one after it.
        frames: Of those before, shape (g,).
        counts: How many frames that were looked at are missed in each, shape (g,).
        step: Frames of the source from one that was looked at to the next.
        camera: How it moved; None where nothing is known.

    Returns:
        Gap after gap, in order of the frames, shape (sum of counts, 4).
    """
    gap = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(gap)) - (np.cumsum(counts) - counts)[gap] + 1
    share = (place / (counts + 1)[gap])[:, None]
    straight: NDArray[np.float64] = before[gap] + share * (after - before)[gap]
    if not camera:
        return straight
    ends = frames + (counts + 1) * step
    with np.errstate(over="ignore", invalid="ignore"):
        on = carried(camera, centred(before), frames + step, counts, step)
        back = carried(camera, centred(after), ends, counts, -step)
        seen = on + share * (back - on)
        seen[:, :2] -= seen[:, 2:] / 2
    usable = np.isfinite(seen).all(axis=1, keepdims=True)
    filled: NDArray[np.float64] = np.where(usable, seen, straight)
    return filled


def carried(
    camera: CameraPath,
    boxes: NDArray[np.float64],
    frames: NDArray[np.int64],
    counts: NDArray[np.int64],
    step: int,
) -> NDArray[np.float64]:
    """Each box carried through its gap, and where it is in each frame of that, gap after gap.

    Args:
        camera: How it moved.
        boxes: Centre x, centre y, width, height, shape (g, 4).
        frames: The first one that each box is carried into; out of, where it goes back.
        counts: Through so many.
        step: From each to the next, below 0 where it goes back.
    """
    out = np.empty((int(counts.sum()), 4))
    first = np.cumsum(counts) - counts
    boxes, back = boxes.copy(), step < 0
    going = np.arange(len(counts))
    for turn in range(int(counts.max(initial=0))):
        going = going[counts[going] > turn]
        boxes[going] = camera.carry(boxes[going], frames[going] + turn * step, back=back)
        place = counts[going] - 1 - turn if back else turn
        out[first[going] + place] = boxes[going]
    return out


def centred(boxes_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top, width, height (n, 4) → centre x, centre y, width, height."""
    centred = boxes_xywh.copy()
    centred[:, :2] += centred[:, 2:] / 2
    return centred
