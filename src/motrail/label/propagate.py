"""Carry the boxes of a frame on through the frames after it, or before it.

Points inside each box are followed from picture to picture, and the box goes with most of them.
Where the empty place behind the objects is known and the boxes drawn by hand show that outlines can
be trusted, the sides snap to what stands before it; elsewhere the looks of the object correct the
drift. Objects that are hidden go on as they were moving for a while, and end if they are not seen
again; those that leave the picture end there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from motrail.errors import DataError, MissingExtraError
from motrail.label.follow import Follower
from motrail.label.motion import View, camera_motion
from motrail.label.silhouette import Sight, Still

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "label", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from motrail.types import Frame

Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels."""

AHEAD = 30
"""Frames that are read ahead, to see the place that objects stand before now."""
_EVERY = 5
"""Frames from one picture of the place to the next."""
_BEHIND = 8
_WIDE = 1280
"""Pixels; wider pictures are looked at in a smaller copy."""
_LEAST_HEIGHT = 64.0
"""Pixels that the copy leaves to the median box at least."""


def propagate(
    frames: Iterable[Frame],
    boxes: Mapping[int, Box],
    *,
    others: Mapping[int, Iterable[Box]] | None = None,
    anchors: Mapping[int, Mapping[int, Box | None]] | None = None,
) -> Iterator[tuple[int, dict[int, Box | None]]]:
    """Carry boxes on through frames.

    Args:
        frames: The first is the one the boxes are in; then onwards in either direction. Up to
            `AHEAD` of them are read ahead of the one that is given out. All have one size.
        boxes: Left, top, width, height in pixels of each object, by its id; at least a pixel wide
            and high.
        others: Boxes of objects that are labelled already and not to be carried along, by frame;
            no object goes where they are.
        anchors: What is known of objects in later frames, by frame and id: they go on from there.
            None ends an object. An id that is not yet followed begins there.

    Yields:
        The number of each frame after the first, and the box of each object in it; None where it
        was lost or has left: it ends with the frame before. Ids that are gone are not named again.
        It goes on to the last frame, or until nothing is followed and no anchor is left.

    Raises:
        DataError: A box is not finite or has no extent.
    """
    known = {number: dict(rows) for number, rows in (anchors or {}).items()}
    for rows in (boxes, *known.values()):
        for number, box in rows.items():
            _check(number, box)
    for number, arrived in carry(frames, boxes, others=others or {}, anchors=known):
        yield number, arrived | known.get(number, {})


def _check(number: int, box: Box | None) -> None:
    if box is not None and not (np.isfinite(box).all() and min(box[2:]) > 0):
        raise DataError(
            f"object {number}: expected left, top, width, height with an extent, found {box}"
        )


def carry(
    frames: Iterable[Frame],
    boxes: Mapping[int, Box],
    *,
    others: Mapping[int, Iterable[Box]],
    anchors: Mapping[int, Mapping[int, Box | None]],
    course: Mapping[int, Mapping[int, Box]] | None = None,
    follower: Follower | None = None,
) -> Iterator[tuple[int, dict[int, Box | None]]]:
    """As `propagate`, but what is given out for an anchor is where the object was carried to.

    The difference says how well the object was followed. `course` is about where the objects are,
    by frame and id, as far as is known: whoever is not seen goes on along it.
    """
    course = course or {}
    about = {number: rows.values() for number, rows in course.items()}
    reel = Reel(frames, scale_for(boxes, anchors), others, about)
    follower = follower or Follower()
    before = reel.advance()
    if before is None:
        return
    start = {**boxes, **anchors.get(before.number, {})}
    reel.place(follower, before, start)
    left = max(anchors, default=0), min(anchors, default=0)
    if not follower.boxes_xyxy and not anchors:
        return
    while (view := reel.advance()) is not None:
        gone = follower.step(
            before,
            reel.sight(view),
            np.linalg.inv(reel.worlds[1]) @ reel.worlds[0],
            (
                reel.by_id(course.get(before.number, {})),
                reel.by_id(course.get(view.number, {})),
            ),
        )
        answer: dict[int, Box | None] = dict.fromkeys(sorted(gone))
        for number, box in sorted(follower.boxes_xyxy.items()):
            answer[number] = reel.given(box)
        yield view.number, answer
        said = anchors.get(view.number, {})
        follower.drop([number for number, box in said.items() if box is None])
        reel.place(follower, view, said)
        reel.note(view, np.array(list(follower.boxes_xyxy.values())).reshape(-1, 4))
        ahead = left[0] > view.number if view.number > before.number else left[1] < view.number
        if not follower.boxes_xyxy and not ahead:
            return
        before = view


def scale_for(
    boxes: Mapping[int, Box], anchors: Mapping[int, Mapping[int, Box | None]]
) -> tuple[float, float]:
    """Median height of the boxes, and the least scale that it allows."""
    heights = [box[3] for rows in (boxes, *anchors.values()) for box in rows.values() if box]
    height = float(np.median(heights)) if heights else _LEAST_HEIGHT
    return height, min(1.0, _LEAST_HEIGHT / height)


class Reel:
    """Frames as they pass by, some of them ahead, with the place behind the objects."""

    def __init__(
        self,
        frames: Iterable[Frame],
        scale: tuple[float, float],
        others: Mapping[int, Iterable[Box]],
        about: Mapping[int, Iterable[Box]],
    ) -> None:
        self._frames = iter(frames)
        self._least_scale = scale[1]
        self._scale = 0.0
        self._others, self._about = others, about
        self._ahead: deque[tuple[View, NDArray[np.float64], int]] = deque()
        self._behind: deque[Still] = deque(maxlen=_BEHIND)
        self._taken = 0
        self._newest: tuple[View, NDArray[np.float64]] | None = None
        self._here = 0
        self.worlds: list[NDArray[np.float64]] = [np.eye(3), np.eye(3)]

    def advance(self) -> View | None:
        """The next picture; None at the end."""
        while len(self._ahead) <= AHEAD and (frame := next(self._frames, None)) is not None:
            self._take(frame)
        if not self._ahead:
            return None
        view, world, self._here = self._ahead.popleft()
        self.worlds = [self.worlds[1], world]
        return view

    def _take(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        if not self._scale:
            self._scale = min(1.0, max(_WIDE / width, self._least_scale))
            self._size = (width, height)
        if (width, height) != self._size:
            raise DataError(
                f"frame {frame.number}: expected {self._size[0]}x{self._size[1]} pixels as in the "
                f"frames before, found {width}x{height}"
            )
        image = frame.image
        if self._scale < 1:
            size = (round(width * self._scale), round(height * self._scale))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        view, world = View(frame.number, image), np.eye(3)
        if self._newest is not None:
            last, last_world = self._newest
            world = last_world @ np.linalg.inv(camera_motion(last, view, self._known(last)))
        self._newest = view, world
        self._ahead.append((view, world, self._taken))
        self._taken += 1

    def _known(self, view: View) -> NDArray[np.float64]:
        """What is known to stand in a picture before it is looked at."""
        about = self.inner(self._about.get(view.number, ()))
        return np.concatenate([self.others(view), about])

    def others(self, view: View) -> NDArray[np.float64]:
        """What is not followed in a picture, left, top, right, bottom, shape (n, 4)."""
        return self.inner(self._others.get(view.number, ()))

    def stills(self) -> list[Still]:
        """Pictures of the place, earlier and later ones."""
        later = [
            Still(view.image, world, self._known(view))
            for view, world, index in self._ahead
            if index % _EVERY == 0
        ]
        return [*self._behind, *later]

    def sight(self, view: View) -> Sight:
        """The picture that is here, with what is known of it."""
        return Sight(view, self.worlds[1], self.stills(), self.others(view))

    def place(self, follower: Follower, view: View, boxes: Mapping[int, Box | None]) -> None:
        """Set objects of a follower to boxes in the pixels of the frames."""
        inner = self.by_id(boxes)
        if inner:
            follower.place(self.sight(view), inner)

    def note(self, view: View, boxes_xyxy: NDArray[np.float64]) -> None:
        """Keep a picture of the place, now that it is known what stands in it."""
        if self._here % _EVERY == 0:
            boxes = np.concatenate([boxes_xyxy, self.others(view)])
            self._behind.append(Still(view.image, self.worlds[1], boxes))

    def by_id(self, boxes: Mapping[int, Box | None]) -> dict[int, NDArray[np.float64]]:
        """As `inner`, by id; without those that are None."""
        return {n: self.inner([box])[0] for n, box in boxes.items() if box is not None}

    def inner(self, boxes: Iterable[Box]) -> NDArray[np.float64]:
        """Left, top, right, bottom of boxes in the pixels that are looked at, shape (n, 4)."""
        found = np.array(list(boxes), np.float64).reshape(-1, 4) * self._scale
        found[:, 2:] += found[:, :2]
        return found

    def given(self, box_xyxy: NDArray[np.float64]) -> Box:
        """A box in the pixels of the frames: left, top, width, height."""
        left, top, right, bottom = (box_xyxy / self._scale).tolist()
        return left, top, right - left, bottom - top
