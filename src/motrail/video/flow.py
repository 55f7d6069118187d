"""How the camera moved between two pictures, by sparse optical flow.

Corners of the background are followed from one picture into the next and back again (Lucas and
Kanade in pyramids: Bouguet, "Pyramidal implementation of the affine Lucas Kanade feature tracker",
2001; forward and backward: Kalal et al., "Forward-Backward Error", ICPR 2010), and the turn, zoom
and shift that most of them agree on is the camera's (RANSAC: Fischler and Bolles, 1981). Objects
move on their own, so corners in boxes are left out.

The same pictures give the same motion, whatever was asked before and however many cores there are:
OpenCV draws its samples from a generator that begins anew with each call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from motrail.errors import MissingExtraError

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "video", _error) from _error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.types import Detections

LONGEST = 640
"""Pixels of the longer side of the pictures that are looked at."""
_CORNERS = 200
_QUALITY = 0.01
_APART = 8
_WINDOW = (15, 15)
_LEVELS = 3
_BACK = 0.5
"""So far off where it began may a corner come back, in pixels of the small picture."""
_NEAR = 1.5
"""Pixels of the small picture by which a corner may be off the common motion."""
_ROUNDS = 2000
_CONFIDENCE = 0.999
_FEWEST = 12
_FEWEST_SHARE = 0.25
_SURE = 0.3
"""Detections from this score on are taken for objects."""
_ZOOM = (0.8, 1.25)
"""Between two frames no camera zooms by more: then it is a cut."""


class Small(NamedTuple):
    """What is kept of a picture.

    Attributes:
        grey: uint8, shape (height, width), its longer side at most `LONGEST`.
        size: Width and height, in pixels, of the picture that boxes are given in.
    """

    grey: NDArray[np.uint8]
    size: tuple[int, int]


def shrink(image: NDArray[np.uint8], size: tuple[int, int] | None = None) -> Small:
    """A small grey picture.

    Args:
        image: uint8, shape (height, width, 3), channels blue, green, red.
        size: Width and height that boxes are given in, where they are those of a larger picture.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    if scale < 1:
        small = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    return Small(grey, size or (width, height))


class Flow:
    """Follows the background from picture to picture; one for each video."""

    def __init__(self) -> None:
        self._last: tuple[Small, NDArray[np.uint8]] | None = None

    def affine(self, picture: Small, detections: Detections) -> NDArray[np.float64] | None:
        """How the camera moved since the last picture.

        Args:
            picture: The next one.
            detections: What is in it; where they are, nothing is said about the camera.

        Returns:
            The map x' = A·x + t as (A, t), float64, shape (2, 3), in pixels of `Small.size`; None
            for the first picture, after a cut, and where too little can be made out.
        """
        free = _free(picture, detections)
        last, self._last = self._last, (picture, free)
        if last is None or last[0].size != picture.size:
            return None
        before, free_before = last
        if before.grey.shape != picture.grey.shape:
            return None
        begin, end = _follow(before.grey, picture.grey, free_before)
        columns, rows = np.rint(end).astype(np.intp).T
        height, width = free.shape
        inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        inside[inside] = free[rows[inside], columns[inside]] > 0
        affine = _common(begin[inside], end[inside])
        return None if affine is None else _enlarged(affine, picture)


def _free(picture: Small, detections: Detections) -> NDArray[np.uint8]:
    """255 where there is background; everywhere, where boxes leave next to nothing of it."""
    height, width = picture.grey.shape
    scale = np.array([width / picture.size[0], height / picture.size[1]] * 2)
    boxes = detections.boxes_xyxy[detections.scores >= _SURE] * scale
    corners = np.clip(boxes, 0, [width, height, width, height])
    free = np.full((height, width), 255, np.uint8)
    for left, top, right, bottom in corners.tolist():
        free[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = 0
    if np.count_nonzero(free) < 0.05 * free.size:
        free[:] = 255
    return free


def _follow(
    before: NDArray[np.uint8], now: NDArray[np.uint8], free: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners of the background, shape (n, 2), and where they are now."""
    nothing = np.empty((0, 2), np.float32)
    # OpenCV's stubs say that these never answer with None.
    found: Any = cv2.goodFeaturesToTrack(before, _CORNERS, _QUALITY, _APART, mask=free)
    if found is None:
        return nothing, nothing
    options = {"winSize": _WINDOW, "maxLevel": _LEVELS}
    follow: Any = cv2.calcOpticalFlowPyrLK
    moved, there, _ = follow(before, now, found, None, **options)
    back, here, _ = follow(now, before, moved, None, **options)
    off = np.hypot(*(back - found).reshape(-1, 2).T)
    good = (there.ravel() == 1) & (here.ravel() == 1) & (off < _BACK)
    return found.reshape(-1, 2)[good], moved.reshape(-1, 2)[good]


def _common(begin: NDArray[np.float32], end: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Turn, zoom and shift that most agree on; None where too few do."""
    if len(begin) < _FEWEST:
        return None
    estimate: Any = cv2.estimateAffinePartial2D
    affine, agree = estimate(
        begin,
        end,
        method=cv2.RANSAC,
        ransacReprojThreshold=_NEAR,
        maxIters=_ROUNDS,
        confidence=_CONFIDENCE,
    )
    if affine is None or not np.isfinite(affine).all():
        return None
    count = int(np.count_nonzero(agree))
    zoom = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if count < max(_FEWEST, _FEWEST_SHARE * len(begin)) or not _ZOOM[0] <= zoom <= _ZOOM[1]:
        return None
    return np.asarray(affine, np.float64)


def _enlarged(affine: NDArray[np.float64], picture: Small) -> NDArray[np.float64]:
    """The same map between pictures of their full size.

    OpenCV counts the middle of the first pixel as 0, boxes count its edge.
    """
    height, width = picture.grey.shape
    scale = np.array([picture.size[0] / width, picture.size[1] / height])
    linear = affine[:, :2] * scale[:, None] / scale
    half = np.full(2, 0.5)
    shift = (affine[:, 2] + half - affine[:, :2] @ half) * scale
    return np.column_stack([linear, shift])
