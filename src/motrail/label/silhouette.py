"""Where an object ends: what in a picture is not the empty place behind it.

A box that is carried along by its motion keeps its shape, and a running person does not. Where the
place behind the objects is known, the box can be drawn around what stands before it instead. The
empty place is the median of pictures a little earlier and later, moved as the camera moved, without
what stands inside boxes there.

Shadows are told from objects by their colour, which is that of the ground, only darker: Horprasert
et al., "A Statistical Approach for Real-time Robust Background Subtraction and Shadow Detection",
ICCV FRAME-RATE Workshop 1999. Where that hides the objects too, as grey cars on a grey road, a box
drawn by hand tells: the `Mode` is chosen that finds the box again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.errors import MissingExtraError
from motrail.label.tints import alike, colour_codes, count_colours, likely, pixels

try:
    import cv2
except ImportError as _error:
    raise MissingExtraError("cv2", "label", _error) from _error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.label.motion import View

_TALL = 96.0
"""Pixels; larger boxes are looked at in a smaller copy."""
_REACH, _LEAST_REACH = 0.14, 3.0
"""How far beside the expected box an object may end, by its height, and in pixels at least."""
_KNOWN = 0.7
"""Share of an expected box behind which the empty place must be known."""
_BESIDE = 1.5
_MUCH = 0.15
"""Share of a box that another one may cover without casting doubt on the sides there."""
_DISTINCT, _MOST = 0.6, 0.6
"""Likeness of colours below which objects can be told apart, and the share of one in front that
another may cover."""
_NEARNESS = 3.0
"""What nearness counts for beside colours."""
_SMALL = 0.015
"""Share of the box below which a spot is noise."""
_OPEN = np.ones((2, 2), np.uint8)


class Mode(NamedTuple):
    """How different from the empty place an object looks.

    Attributes:
        darkest: The empty place may be seen that much darker (1 is as it is) in a shadow.
        brightest: And that much brighter, where the shadow was in the empty place.
        least: Difference in levels (of 255) of any channel that counts.
    """

    darkest: float
    brightest: float
    least: float


MODES = (Mode(0.42, 2.2, 14.0), Mode(0.92, 1.1, 18.0), Mode(0.42, 2.2, 28.0))


class Still(NamedTuple):
    """A picture to take the empty place from.

    Attributes:
        image: BGR, uint8, shape (height, width, 3).
        to_world: From its pixels to those of the first picture, float64, shape (3, 3).
        boxes_xyxy: What stands in it, float64, shape (n, 4).
    """

    image: NDArray[np.uint8]
    to_world: NDArray[np.float64]
    boxes_xyxy: NDArray[np.float64]


class Sight(NamedTuple):
    """A picture with what is known of it.

    Attributes:
        view: The picture.
        to_world: From its pixels to those of the first picture, float64, shape (3, 3).
        stills: Pictures of the same place.
        others_xyxy: Boxes of what is not followed, float64, shape (n, 4).
    """

    view: View
    to_world: NDArray[np.float64]
    stills: Sequence[Still]
    others_xyxy: NDArray[np.float64]


class Standing(NamedTuple):
    """Where an object stands, and what its pixels look like.

    Attributes:
        box_xyxy: float64, shape (4,).
        colours: Counts of its pixels by third of its height, from above, and colour, float32,
            shape (3, 512); None where they are not known.
    """

    box_xyxy: NDArray[np.float64]
    colours: NDArray[np.float32] | None = None


class Outline(NamedTuple):
    """What was found of an object.

    Attributes:
        box_xyxy: Its extent, float64, shape (4,); that which was expected where a side is not seen.
        seen: Which sides can be believed, bool, shape (4,).
        filled: Share of the expected box that is not the empty place, 0 to 1, without what other
            boxes cover; -1 where nothing is known.
        colours: Of what was found, as in `Standing`; without what is in the boxes of others.
    """

    box_xyxy: NDArray[np.float64]
    seen: NDArray[np.bool_]
    filled: float
    colours: NDArray[np.float32] | None = None


class _Patch(NamedTuple):
    """A part of a picture, scaled: its left top corner, the scale, its width and height."""

    corner: NDArray[np.float64]
    scale: float
    size: tuple[int, int]

    def matrix(self) -> NDArray[np.float64]:
        """From the pixels of the picture to those of the patch, shape (3, 3)."""
        matrix = np.diag([self.scale, self.scale, 1.0])
        matrix[:2, 2] = -self.scale * self.corner + (self.scale - 1) / 2
        return matrix

    def place(self, box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        """A box of the picture in the patch, its edges between pixels."""
        return (box_xyxy - np.tile(self.corner, 2)) * self.scale


def outline(
    sight: Sight,
    own: Standing,
    others: Sequence[Standing],
    mode: Mode,
    *,
    bias: NDArray[np.float64] | None = None,
    doubt: float = 1.0,
) -> Outline:
    """Look for the extent of an object near where it is expected.

    Args:
        sight: The picture.
        own: Where the object is expected.
        others: Where others are; what is inside their boxes may be theirs.
        mode: What counts as different.
        bias: Pixels by which sides are drawn outside of what is seen, shape (4,).
        doubt: How much farther than usual the object may be from where it is expected.
    """
    box_xyxy = own.box_xyxy
    nothing = Outline(box_xyxy, np.zeros(4, np.bool_), -1.0)
    width, height = (box_xyxy[2:] - box_xyxy[:2]).tolist()
    reach = max(_REACH * min(height, 2 * width), _LEAST_REACH) * doubt
    patch = _around(box_xyxy, 1.7 * reach)
    if patch is None or not sight.stills:
        return nothing
    image, from_world = sight.view.image, np.asarray(np.linalg.inv(sight.to_world), np.float64)
    empty, known = _empty_place(sight.stills, patch, from_world)
    here = patch.place(box_xyxy)
    if known[pixels(here)].mean() < _KNOWN:
        return nothing
    if not known.all():
        # What is never free is like the ground around it.
        empty = np.asarray(
            cv2.inpaint(empty, (~known).astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8
        )
    picture = _cut(image, patch.matrix(), patch.size)
    mask = _different(picture, empty, mode)
    near = [other for other in others if _overlap(other.box_xyxy, box_xyxy, 1.7 * reach) > 0]
    codes = colour_codes(picture)
    alone = mask.copy()
    for other in near:
        alone[pixels(patch.place(other.box_xyxy))] = False
    colours = count_colours(codes, alone, here)
    mine = mask & ~_theirs(codes, patch, own, near)
    filled = float(mine[pixels(here)].mean())
    edges = np.array([image.shape[1], image.shape[0]] * 2)
    found, box = nothing, box_xyxy
    # Once more from where it was found: a limb may have been out of reach.
    for _ in range(2):
        within = np.zeros_like(mask)
        around = patch.place(box + np.array([-1, -1, 1, 1]) * reach)
        within[pixels(around)] = True
        theirs = _theirs(codes, patch, own._replace(box_xyxy=box), near)
        extent = _extent(mask & within & ~theirs, patch.place(box))
        if extent is None:
            break
        beside = _beside(own._replace(box_xyxy=box), near, reach)
        seen = ~beside & (box > 1) & (box < edges - 1)
        sides = extent / patch.scale + np.tile(patch.corner, 2) + (0 if bias is None else bias)
        found = Outline(_joined(box, sides, seen), seen, filled)
        box = found.box_xyxy
    return found._replace(filled=filled, colours=colours)


def _beside(own: Standing, others: Sequence[Standing], reach: float) -> NDArray[np.bool_]:
    """Which sides cannot be told from another object that stands there, bool, shape (4,)."""
    doubtful = []
    for other in others:
        share = _overlap(other.box_xyxy, own.box_xyxy, 0)
        if share <= _MUCH:
            continue
        told = (
            own.colours is not None
            and other.colours is not None
            and alike(own.colours, other.colours) < _DISTINCT
        )
        in_front = own.box_xyxy[3] > other.box_xyxy[3]
        if not (told and in_front and share < _MOST):
            doubtful.append(other.box_xyxy)
    return _at_side(np.array(doubtful).reshape(-1, 4), own.box_xyxy, reach)


def _joined(
    box: NDArray[np.float64], sides: NDArray[np.float64], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The sides that were seen, the others as expected; all as expected where little is left."""
    joined = np.where(seen, sides, box)
    small = joined[2:] - joined[:2] < 0.3 * (box[2:] - box[:2])
    return np.asarray(np.where(np.tile(small, 2), box, joined))


def _around(box_xyxy: NDArray[np.float64], reach: float) -> _Patch | None:
    extent = box_xyxy[2:] - box_xyxy[:2]
    if extent.min() < 3:
        return None
    scale = min(1.0, _TALL / float(extent.max()))
    corner = np.floor(box_xyxy[:2] - reach)
    width, height = np.ceil((box_xyxy[2:] + reach - corner) * scale).astype(int).tolist()
    return _Patch(corner, scale, (width, height))


def _cut(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    found = cv2.warpAffine(
        image, matrix[:2], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found, np.uint8)


def _empty_place(
    stills: Sequence[Still], patch: _Patch, from_world: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The empty place in a patch, uint8 (h, w, 3), and where it is known, bool (h, w)."""
    width, height = patch.size
    planes: list[NDArray[np.uint8]] = []
    count = np.zeros((height, width), np.int64)
    for still in stills:
        motion = patch.matrix() @ from_world @ still.to_world
        plane = _cut(still.image, motion, patch.size)
        hidden = np.ones((height, width), np.bool_)
        whole = np.array([[0.0, 0, still.image.shape[1], still.image.shape[0]]])
        hidden[pixels(_moved(motion, whole)[0])] = False
        for box in _moved(motion, still.boxes_xyxy):
            hidden[pixels(box + np.array([-1, -1, 1, 1]))] = True
        plane[hidden] = 255  # sorted behind all that is known
        count += ~hidden
        planes.append(plane)
    _sort(planes)
    # Above the middle: shadows darken, and hardly anything brightens.
    pick = ((count - 1).clip(0) * 0.6).astype(np.intp)
    empty = np.take_along_axis(np.stack(planes), pick[None, :, :, None], axis=0)[0]
    return empty, count > 0


def _moved(matrix: NDArray[np.float64], boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes moved by an affine matrix that hardly turns, shape (n, 4)."""
    corners = boxes_xyxy.reshape(-1, 2) @ matrix[:2, :2].T + matrix[:2, 2]
    return np.asarray(corners.reshape(-1, 4))


def _sort(planes: list[NDArray[np.uint8]]) -> None:
    """Sort each pixel through the planes, in place, by putting neighbours in order."""
    for turn in range(len(planes)):
        for low in range(turn % 2, len(planes) - 1, 2):
            a, b = planes[low], planes[low + 1]
            planes[low], planes[low + 1] = np.minimum(a, b), np.maximum(a, b)


def _different(
    picture: NDArray[np.uint8], empty: NDArray[np.uint8], mode: Mode
) -> NDArray[np.bool_]:
    seen, ground = picture.astype(np.float32), empty.astype(np.float32)
    bright = np.einsum("ijk,ijk->ij", seen, ground)
    bright /= np.maximum(np.einsum("ijk,ijk->ij", ground, ground), 1)
    np.clip(bright, mode.darkest, mode.brightest, out=bright)
    ground *= bright[..., None]
    np.subtract(seen, ground, out=seen)
    different: NDArray[np.bool_] = np.abs(seen).max(axis=2) > mode.least
    return different


def _extent(mask: NDArray[np.bool_], here: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The extent of what lies mostly in the expected box, edges between pixels; None of nothing."""
    clean = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _OPEN)
    count, spots, stats, _ = cv2.connectedComponentsWithStats(clean, connectivity=8)
    if count < 2:
        return None
    area = float((here[2] - here[0]) * (here[3] - here[1]))
    within = np.bincount(spots[pixels(here)].ravel(), minlength=count)
    sizes = stats[:, cv2.CC_STAT_AREA]
    keep = (sizes >= max(_SMALL * area, 3)) & (within >= 0.5 * sizes)
    keep[0] = False
    if not keep.any() or sizes[keep].sum() < 0.1 * area:
        return None
    left, top, width, height = stats[keep, :4].T.astype(np.float64)
    return np.array([left.min(), top.min(), (left + width).max(), (top + height).max()])


def _overlap(other_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64], reach: float) -> float:
    """Share of a box, made larger, that another one covers."""
    box = box_xyxy + np.array([-1, -1, 1, 1]) * reach
    extent = np.minimum(other_xyxy[2:], box[2:]) - np.maximum(other_xyxy[:2], box[:2])
    return float(extent.clip(0).prod() / (box[2:] - box[:2]).prod())


def _theirs(
    codes: NDArray[np.int64], patch: _Patch, own: Standing, others: Sequence[Standing]
) -> NDArray[np.bool_]:
    """Pixels inside the boxes of others that are rather theirs.

    By the distance to the middle of either box, measured in its size, and by the colours.
    """
    theirs = np.zeros(codes.shape, np.bool_)
    if not others:
        return theirs
    y, x = np.ogrid[: codes.shape[0], : codes.shape[1]]

    def away(box: NDArray[np.float64]) -> NDArray[np.float64]:
        left, top, right, bottom = box.tolist()
        across = (x + 0.5 - (left + right) / 2) / max(right - left, 1)
        down = (y + 0.5 - (top + bottom) / 2) / max(bottom - top, 1)
        return np.asarray(across**2 + down**2)

    here = patch.place(own.box_xyxy)
    for other in others:
        there = patch.place(other.box_xyxy)
        inside = pixels(there)
        score = _NEARNESS * (away(there) - away(here))
        if own.colours is not None and other.colours is not None:
            told = likely(codes, own.colours, here) - likely(codes, other.colours, there)
            score += cv2.blur(told, (5, 5))
        theirs[inside] |= (score < 0)[inside]
    return theirs


def _at_side(
    others_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64], reach: float
) -> NDArray[np.bool_]:
    """Which sides of a box another one stands at, bool, shape (4,)."""
    sides = np.repeat(box_xyxy[None], 4, axis=0)
    for side in range(4):
        sides[side, (side + 2) % 4] = box_xyxy[side]
    bands = sides + np.array([-1, -1, 1, 1]) * min(reach, 0.08 * (box_xyxy[3] - box_xyxy[1]) + 2)
    apart = (
        (others_xyxy[:, None, :2] >= bands[None, :, 2:] - _BESIDE)
        | (others_xyxy[:, None, 2:] <= bands[None, :, :2] + _BESIDE)
    ).any(axis=2)
    touched: NDArray[np.bool_] = (~apart).any(axis=0)
    return touched
