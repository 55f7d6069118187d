"""Edits as they come from a page: checked, then applied to objects whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import numpy as np

from motrail.label.edits import difference
from motrail.label.model import FLAGS, LabelObject, Points, Status, count_boxes, no_points
from motrail.label.model import Source as Origin
from motrail.label.problems import Problem, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_POINTS = 200_000
"""That one request may put."""
MAX_PATCHES = 20_000
MAX_BOXES = 4_000_000
"""Frames that one object may be in."""
_MAX_ATTRIBUTES = 100
_FAR = 10.0
"""So many times the picture a box may be away or large."""

_T = TypeVar("_T")
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Row = tuple[int, float, float, float, float, int]
_Frame = Annotated[int, msgspec.Meta(ge=1)]
_Attributes = dict[_Name, Annotated[str, msgspec.Meta(max_length=10_000)] | bool | int | float]


class Fields(msgspec.Struct, forbid_unknown_fields=True, rename={"label": "class"}):
    """What an object says of itself; all of it may be left out of a change."""

    label: _Name | msgspec.UnsetType = msgspec.UNSET
    ignore: bool | msgspec.UnsetType = msgspec.UNSET
    status: Status | msgspec.UnsetType = msgspec.UNSET
    attributes: _Attributes | msgspec.UnsetType = msgspec.UNSET
    note: Annotated[str, msgspec.Meta(max_length=10_000)] | msgspec.UnsetType = msgspec.UNSET
    score: float | msgspec.UnsetType | None = msgspec.UNSET
    source: Origin | msgspec.UnsetType = msgspec.UNSET

    def given(self) -> dict[str, Any]:
        """What is not left out, by its name in `LabelObject`."""
        return {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not msgspec.UNSET
        }


class PatchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A change of one object; see `docs` of the page's interface."""

    id: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    create: Fields | msgspec.UnsetType = msgspec.UNSET
    delete: bool = False
    set: Fields | msgspec.UnsetType = msgspec.UNSET
    drop: list[tuple[_Frame, _Frame]] = []
    put: list[_Row] = []


class EditRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST …/edits`."""

    tab: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    base: Annotated[int, msgspec.Meta(ge=0)]
    edit_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    patches: Annotated[list[PatchRequest], msgspec.Meta(min_length=1, max_length=MAX_PATCHES)]
    label: Annotated[str, msgspec.Meta(max_length=200)] = "edit"


def decode(body: bytes, kind: type[_T]) -> _T:
    """A body as one of the kinds here.

    Raises:
        Problem: 400, which says what was expected where.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"body: {error}") from None


@dataclass(frozen=True, slots=True)
class Limits:
    """What fits a sequence.

    Attributes:
        width: Of its frames in pixels.
        height: Of its frames in pixels.
        length: Number of its frames.
        classes: Names of the classes there are.
        next_id: Ids from here on were never used.
        points: How many one edit may put and drop.
    """

    width: int
    height: int
    length: int
    classes: frozenset[str]
    next_id: int
    points: int = MAX_POINTS


def apply(
    patches: Sequence[PatchRequest], objects: Mapping[int, LabelObject], limits: Limits
) -> dict[int, LabelObject | None]:
    """The objects that patches change, as they are afterwards; None for those that are gone.

    Raises:
        Problem: A patch does not fit; nothing was changed.
    """
    if sum(len(patch.put) + len(patch.drop) for patch in patches) > limits.points:
        raise Problem(413, "too_large", f"patches: expected at most {limits.points:,} points")
    changed: dict[int, LabelObject | None] = {}
    for index, patch in enumerate(patches):
        now = changed[patch.id] if patch.id in changed else objects.get(patch.id)
        try:
            changed[patch.id] = _apply(patch, now, limits, fresh=patch.id not in changed)
        except Problem as problem:
            raise bad_request(f"patches[{index}]: {problem.message}") from None
    return changed


def _apply(
    patch: PatchRequest, now: LabelObject | None, limits: Limits, *, fresh: bool
) -> LabelObject | None:
    created = patch.create is not msgspec.UNSET
    if created + patch.delete + (patch.set is not msgspec.UNSET) > 1:
        raise bad_request("expected one of create, delete and set")
    if created:
        if now is not None or (fresh and patch.id < limits.next_id):
            raise bad_request(
                f"id: expected a fresh one, {limits.next_id} or above, found {patch.id}"
            )
    elif now is None:
        raise bad_request(f"id: there is no object {patch.id}")
    if patch.delete:
        if patch.drop or patch.put:
            raise bad_request("delete: expected no drop and no put beside it")
        return None
    changed = _with_fields(patch, now, limits)
    points = _with_points(patch, changed.points, limits)
    return changed if points is changed.points else changed.replace(points=points)


def _with_fields(patch: PatchRequest, now: LabelObject | None, limits: Limits) -> LabelObject:
    fields = patch.create if isinstance(patch.create, Fields) else patch.set
    given = fields.given() if isinstance(fields, Fields) else {}
    name = given.get("label")
    if name is not None and name not in limits.classes:
        raise bad_request(f"class: there is no class {name!r}")
    if len(given.get("attributes", ())) > _MAX_ATTRIBUTES:
        raise bad_request(f"attributes: expected at most {_MAX_ATTRIBUTES}")
    if now is not None:
        return now.replace(**given)
    if name is None:
        raise bad_request("create: expected a class")
    return LabelObject(patch.id, name, no_points()).replace(**given)


def _with_points(patch: PatchRequest, points: Points, limits: Limits) -> Points:
    if not patch.drop and not patch.put:
        return points
    keep = np.ones(len(points), np.bool_)
    for first, last in patch.drop:
        if last < first:
            raise bad_request(f"drop: expected a first and a last frame, found {[first, last]}")
        keep &= (points[:, 0] < first) | (points[:, 0] > last)
    put = _checked(patch.put, limits)
    keep &= ~np.isin(points[:, 0], put[:, 0])
    merged = np.concatenate([points[keep], put])
    merged = merged[np.argsort(merged[:, 0], kind="stable")]
    if count_boxes(merged) > MAX_BOXES:
        raise bad_request(f"put: expected at most {MAX_BOXES:,} boxes of one object")
    return merged


def _checked(rows: Sequence[_Row], limits: Limits) -> Points:
    try:
        put = np.array(rows, np.float64).reshape(-1, 6)
    except OverflowError:
        raise bad_request("put: expected numbers of common size") from None
    frames, sizes, flags = put[:, 0], put[:, 3:5], put[:, 5]

    def refuse(bad: Any, what: str) -> None:
        if bad.any():
            row = rows[int(bad.argmax())]
            raise bad_request(f"put: expected {what}, found {list(row)}")

    refuse(~np.isfinite(put).all(axis=1), "finite numbers")
    refuse((frames < 1) | (frames > limits.length), f"a frame from 1 to {limits.length}")
    refuse((sizes <= 0).any(axis=1), "a width and a height above 0")
    side = _FAR * max(limits.width, limits.height, 1)
    refuse((np.abs(put[:, 1:5]) > side).any(axis=1), "a box that is not far from the picture")
    refuse((flags < 0) | (flags > FLAGS), "flags of 1 (hand), 2 (gap) and 4 (occluded)")
    order = np.argsort(frames, kind="stable")
    put = put[order]
    refuse(np.append(np.diff(put[:, 0]) == 0, False)[: len(put)][np.argsort(order)],
           "one point a frame")  # fmt: skip
    return put


def between(
    before: Mapping[int, LabelObject], after: Mapping[int, LabelObject | None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Patches from one state of some objects to another, and the way back."""
    forward = (difference(before.get(key), now) for key, now in after.items())
    inverse = (difference(now, before.get(key)) for key, now in after.items())
    return _some(forward), _some(inverse)


def _some(patches: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    return [patch for patch in patches if patch is not None]
