"""What the page shows of single frames: the errors, the boxes around them, some pictures.

Sequences are taken one after the other; what is kept of them is bounded by the size of the page.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np

from motrail.errors import DataError
from motrail.evaluate.events import ABOUT, Kind
from motrail.evaluate.page.lanes import Lanes, false_positives
from motrail.evaluate.page.pictures import encode_pictures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from motrail.evaluate.events import Event
    from motrail.evaluate.protocol import Counted
    from motrail.formats.labels import Labels

KINDS: tuple[Kind, ...] = get_args(Kind)
_SMALL = 600
"""Frames smaller than this keep fractions of pixels."""
_OVERHEAD = 12
"""Characters around the boxes of a frame."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the frames a page may hold.

    Attributes:
        events: Errors listed, the most costly ones.
        margin: Frames before and after an error.
        box_bytes: For boxes.
        pictures: How many.
        picture_bytes: For pictures, as they stand in the page.
        picture_width: Pixels; larger pictures are made smaller.
    """

    events: int = 2_000
    margin: int = 10
    box_bytes: int = 3_000_000
    pictures: int = 60
    picture_bytes: int = 9_000_000
    picture_width: int = 960


class _Place(NamedTuple):
    """A sequence as the page needs it."""

    name: str
    width: float
    height: float
    scale: int
    length: int
    frame_rate: float
    lanes: Lanes


class _Listed(NamedTuple):
    """An error, the sequence's number and what it costs."""

    event: Event
    place: int
    cost: int


class Scenes:
    """Collects what the page shows of frames.

    Args:
        limits: How much may be kept.

    Attributes:
        frames: Frames of all sequences taken.
        boxes: True boxes that count.
        found: Boxes of the results that count.
        identities: True identities that count.
        events: Errors, also those that are not listed.
        false_positives: Boxes found that stand for nothing.
        notes: What the user should know, with how often.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.frames = self.boxes = self.found = self.identities = 0
        self.events = self.false_positives = 0
        self.notes: Counter[str] = Counter()
        self._places: list[_Place] = []
        self._listed: list[_Listed] = []
        self._drawn: dict[tuple[int, int], str] = {}
        self._pictures: dict[tuple[int, int], Path] = {}

    def take(
        self,
        truth: Labels,
        results: Labels,
        counted: Mapping[str, Counted],
        events: Sequence[Event],
    ) -> None:
        """Keep what is worth showing of a sequence.

        Args:
            truth: With size, length and, where there are any, pictures.
            results: Of the same sequence.
            counted: What counts of both, by class, as `Protocol.count` says.
            events: Its errors.

        Raises:
            DataError: An event is of another sequence or outside its frames.
        """
        _check(truth, events)
        wrong = false_positives(counted)
        truth, results = _what_counts(truth, results, counted)
        place = len(self._places)
        lanes = Lanes.of(events, truth.length, wrong)
        self._places.append(_placed(truth, results, lanes))
        self.frames += truth.length
        self.boxes += len(truth)
        self.found += len(results)
        self.identities += len(np.unique(truth.ids))
        self.events += len(events)
        self.false_positives += len(wrong)
        costs = _costs(truth, events)
        listed = [_Listed(event, place, cost) for event, cost in zip(events, costs, strict=True)]
        listed.sort(key=_rank)
        listed = listed[: self.limits.events]
        self._listed += listed
        self._draw(place, truth, results, listed)
        for frames in map(_key_frames, listed):
            for frame in frames:
                if frame in truth.pictures:
                    self._pictures[place, frame] = truth.pictures[frame]
        if len(self._listed) > 2 * self.limits.events or self._size() > 2 * self.limits.box_bytes:
            self._trim()

    def _size(self) -> int:
        return sum(len(text) + _OVERHEAD for text in self._drawn.values())

    def _draw(self, place: int, truth: Labels, results: Labels, listed: Iterable[_Listed]) -> None:
        """Keep the boxes around the most costly errors, as many as a page could take."""
        scale = self._places[place].scale
        sides = [_Side(labels, scale) for labels in (truth, results)]
        left = self.limits.box_bytes
        for item in listed:
            for frame in self._window(item):
                if (place, frame) in self._drawn:
                    continue
                text = ";".join(side.at(frame) for side in sides)
                self._drawn[place, frame] = text
                left -= len(text) + _OVERHEAD
            if left < 0:
                return

    def _window(self, item: _Listed) -> list[int]:
        """Frames that are shown of an error: around its start and its end."""
        margin, last = self.limits.margin, self._places[item.place].length
        around = {
            frame
            for middle in (item.event.start, item.event.end)
            for frame in range(max(1, middle - margin), min(last, middle + margin) + 1)
        }
        return sorted(around)

    def _trim(self) -> None:
        """Forget what cannot come into the page any more."""
        self._listed = sorted(self._listed, key=_rank)[: self.limits.events]
        kept: set[tuple[int, int]] = set()
        left = self.limits.box_bytes
        for item in self._listed:
            window = [(item.place, frame) for frame in self._window(item)]
            new = [key for key in window if key not in kept]
            if any(key not in self._drawn for key in new):
                continue
            size = sum(len(self._drawn[key]) + _OVERHEAD for key in new)
            if size <= left:
                kept.update(new)
                left -= size
        self._drawn = {key: text for key, text in self._drawn.items() if key in kept}
        keys = {(item.place, frame) for item in self._listed for frame in _key_frames(item)}
        self._pictures = {key: path for key, path in self._pictures.items() if key in keys}

    def data(self) -> dict[str, Any]:
        """Everything the page's script needs, as JSON can hold it. Reads the pictures."""
        self._trim()
        listed = self._listed
        classes = sorted({item.event.class_name for item in listed})
        causes = sorted({item.event.cause for item in listed if item.event.cause})
        shown = [
            all((item.place, frame) in self._drawn for frame in self._window(item))
            for item in listed
        ]
        events = {
            "sequence": [item.place for item in listed],
            "class": [classes.index(item.event.class_name) for item in listed],
            "kind": [KINDS.index(item.event.kind) for item in listed],
            "start": [item.event.start for item in listed],
            "end": [item.event.end for item in listed],
            "truth": [item.event.truth_id for item in listed],
            "before": [item.event.result_id for item in listed],
            "after": [item.event.new_id for item in listed],
            "other": [item.event.other_id for item in listed],
            "cost": [item.cost for item in listed],
            "cause": [
                causes.index(item.event.cause) if item.event.cause else -1 for item in listed
            ],
            "shown": [int(ready) for ready in shown],
        }
        return {
            "sequences": self._places_data(),
            "classes": classes,
            "causes": causes,
            "meanings": {cause: ABOUT.get(cause, "") for cause in causes},
            "kinds": list(KINDS),
            "events": events,
            "total": self.events,
            "margin": self.limits.margin,
            "frames": self._frames_data(),
            "pictures": self._pictures_data(listed),
        }

    def _places_data(self) -> list[dict[str, Any]]:
        count = len(self._places)
        return [
            {
                "name": place.name.encode("utf-8", "replace").decode(),
                "width": place.width,
                "height": place.height,
                "scale": place.scale,
                "length": place.length,
                "rate": place.frame_rate,
                **place.lanes.as_dict(count),
            }
            for place in self._places
        ]

    def _frames_data(self) -> list[dict[int, str]]:
        frames: list[dict[int, str]] = [{} for _ in self._places]
        for (place, frame), text in sorted(self._drawn.items()):
            frames[place][frame] = text
        return frames

    def _pictures_data(self, listed: Iterable[_Listed]) -> dict[str, str]:
        """Pictures of the most costly errors, of each kind in turn."""
        turn: Counter[str] = Counter()
        wanted = []
        for item in listed:
            kind = item.event.kind
            wanted += [(turn[kind], KINDS.index(kind), key) for key in _keys(item)]
            turn[kind] += 1
        keys = dict.fromkeys(key for _, _, key in sorted(wanted) if key in self._pictures)
        encoded = encode_pictures(
            ((f"{place}/{frame}", self._pictures[place, frame]) for place, frame in keys),
            count=self.limits.pictures,
            size=self.limits.picture_bytes,
            width=self.limits.picture_width,
            notes=self.notes,
        )
        return dict(encoded)


def _keys(item: _Listed) -> list[tuple[int, int]]:
    return [(item.place, frame) for frame in _key_frames(item)]


def _key_frames(item: _Listed) -> tuple[int, ...]:
    """The frames that say most: of a switch those before and after."""
    event = item.event
    return (event.end, event.start) if event.kind == "switch" else (event.start,)


def _rank(item: _Listed) -> tuple[int, int, int, int, int, str]:
    event = item.event
    return (
        -item.cost,
        KINDS.index(event.kind),
        item.place,
        event.start,
        event.truth_id,
        event.class_name,
    )


def _check(truth: Labels, events: Iterable[Event]) -> None:
    for event in events:
        if event.sequence != truth.name:
            raise DataError(f"expected events of {truth.name!r}, found one of {event.sequence!r}")
        if not 1 <= event.start <= event.end <= truth.length:
            raise DataError(
                f"{truth.name}: expected events in frames 1 to {truth.length}, found one in "
                f"{event.start} to {event.end}"
            )


def _what_counts(
    truth: Labels, results: Labels, counted: Mapping[str, Counted]
) -> tuple[Labels, Labels]:
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *(part.truth_rows for part in counted.values())])
    found = np.concatenate([none, *(part.result_rows for part in counted.values())])
    return truth[np.unique(rows)], results[np.unique(found)]


def _placed(truth: Labels, results: Labels, lanes: Lanes) -> _Place:
    width, height = float(truth.width), float(truth.height)
    if not (width and height):
        boxes = np.concatenate([truth.boxes_xywh, results.boxes_xywh, [[0, 0, 1, 1]]])
        ends = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
        width, height = float(np.ceil(ends[0])), float(np.ceil(ends[1]))
    scale = 1 if max(width, height) >= _SMALL else 8
    return _Place(truth.name, width, height, scale, truth.length, float(truth.frame_rate), lanes)


def _costs(truth: Labels, events: Sequence[Event]) -> list[int]:
    """Boxes an error costs: those missed; of a switch those on its shorter side.

    As long as an identity is to have one number, the boxes on the shorter side of a switch have
    the wrong one.
    """
    order = np.lexsort((truth.frames, truth.ids))
    ids, frames = truth.ids[order], truth.frames[order]
    costs = []
    for event in events:
        if event.kind != "switch":
            costs.append(int(event.boxes))
            continue
        first, last = np.searchsorted(ids, [event.truth_id, event.truth_id + 1]).tolist()
        middle = first + int(np.searchsorted(frames[first:last], event.end))
        costs.append(min(middle - first, last - middle))
    return costs


class _Side:
    """Boxes of truth or results, to be written down frame by frame."""

    def __init__(self, labels: Labels, scale: int) -> None:
        order = np.argsort(labels.frames, kind="stable")
        self._frames = labels.frames[order]
        boxes = np.rint(labels.boxes_xywh[order] * scale).astype(np.int64)
        self._rows = np.column_stack([labels.ids[order], boxes])

    def at(self, frame: int) -> str:
        """`id,x,y,w,h,id,x,…`."""
        first, last = np.searchsorted(self._frames, [frame, frame + 1]).tolist()
        return ",".join(map(str, self._rows[first:last].ravel().tolist()))
