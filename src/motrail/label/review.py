"""A tracker's result on the labelling page: its tracks to mend, its errors to look at."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import ConfigError, FormatError
from motrail.evaluate.clear import clear_matching
from motrail.evaluate.events import ABOUT, Event
from motrail.evaluate.protocol import Protocol, some
from motrail.evaluate.run import read_truth
from motrail.evaluate.why.find import find_trouble
from motrail.evaluate.why.motion import Motion
from motrail.evaluate.why.trial import Material, explain_given
from motrail.formats.labels import ReadOptions
from motrail.formats.mot.detections import read_detections
from motrail.formats.mot.reader import read_mot
from motrail.label.imports import labels_of, objects_of
from motrail.label.model import GAP, LabelObject, thinned
from motrail.label.project import open_project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.config import TrackerSettings
    from motrail.evaluate.events import Cause
    from motrail.evaluate.protocol import Counted
    from motrail.formats.labels import Labels
    from motrail.label.store import Store
    from motrail.label.tables import SequenceInfo

TOLERANCE = 0.5
"""Pixels that a box of the tracker may be off the line between two points, and count as on it."""
_ORDER = ("switch", "broken", "false", "missed")
_Key = tuple[str, str, int, int, int]


def open_review(tracks: Path, footage: Sequence[Path], output: Path) -> Store:
    """Open a review, or begin one: each sequence's tracks become objects.

    The tracks are read when the review begins; after that it goes on with what was mended.

    Args:
        tracks: A folder of track files `<sequence>.txt`, or one of them.
        footage: Videos, folders of pictures, datasets whose pictures are shown. With one track file
            and one of these they belong together whatever their names.
        output: The dataset that is written.

    Raises:
        ConfigError: A source makes no sense.
        FormatError: The tracks cannot be read, or are of other sequences.
        VideoError: A video cannot be read.
        OutputError: The folder is not ours and not empty, or cannot be written.
    """
    found = read_tracks(tracks)
    alone = len(found) == 1 and len(footage) == 1

    def known(info: SequenceInfo) -> tuple[Sequence[str], Sequence[LabelObject]]:
        labels = next(iter(found.values())) if alone else found.get(info.name)
        if labels is None:
            raise FormatError(
                tracks, f"expected tracks of {info.name!r}, found those of {some(sorted(found))}"
            )
        last = int(labels.frames.max(initial=0))
        if last > info.length:
            raise FormatError(
                tracks,
                f"expected frames 1 to {info.length} of {info.name!r}, found {last}; are these "
                "tracks of another video?",
            )
        items = objects_from(labels)
        return list(dict.fromkeys(item.label for item in items)), items

    return open_project(footage, output, known=known)


def read_tracks(path: Path) -> dict[str, Labels]:
    """The tracks of each sequence by its name.

    Raises:
        FormatError: They cannot be read.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; give what `motrail track` wrote")
    return {labels.name: labels for labels in read_mot(path, ReadOptions(class_changes=True))}


def objects_from(labels: Labels) -> list[LabelObject]:
    """Tracks as objects, with the points that give all boxes back within `TOLERANCE`.

    A track has the class of most of its boxes and the mean of their scores.
    """
    shift = 1 - min(int(labels.ids.min(initial=1)), 1)  # ids count from 1 here
    order = np.lexsort((labels.frames, labels.ids))
    ids = labels.ids[order] + shift
    said = [value.get("score") for value in labels.attributes.values]
    scores = np.array([*(np.nan if s is None else s for s in said), np.nan], np.float64)
    cuts = np.flatnonzero(np.diff(ids)) + 1
    items = []
    for rows in np.split(order, cuts) if len(order) else []:
        frames, boxes = labels.frames[rows], labels.boxes_xywh[rows]
        first = np.append(True, np.diff(frames) != 1)
        last = np.append(first[1:], True)
        needed = thinned(frames, boxes, first | last, TOLERANCE)
        flags = np.where(last, GAP, 0)
        flags[-1] = 0
        score = scores[labels.attributes.codes[rows]]
        score = score[np.isfinite(score) & (score >= 0) & (score <= 1)]
        number = int(np.bincount(labels.class_ids[rows]).argmax())
        items.append(
            LabelObject(
                int(labels.ids[rows[0]]) + shift,
                " ".join(labels.classes[number].split()) or "unnamed",
                np.column_stack([frames, boxes, flags])[needed].astype(np.float64),
                score=round(float(score.mean()), 4) if len(score) else None,
                source="tracker",
            )
        )
    return items


@dataclass(frozen=True)
class Against:
    """What a review is held against.

    Attributes:
        truth: A dataset, one of its splits, or labels in any format.
        protocol: Decides what counts.
        detections: What the tracks were made from; None leaves causes unexplained.
        settings: Those of the tracker that made them.
    """

    truth: Path
    protocol: Protocol = field(default_factory=Protocol)
    detections: Path | None = None
    settings: TrackerSettings | None = None


class Review:
    """The truth of a review's sequences, and the errors of what the page has by now.

    Args:
        store: The review.
        tracks: What it began with; tells the causes.
        against: The truth, and how to compare.

    Raises:
        FormatError: The truth is that of other sequences.
        DataError: The tracks have no class of the truth, or were not made from these detections.
    """

    def __init__(self, store: Store, tracks: Path, against: Against) -> None:
        self._store, self._protocol = store, against.protocol
        self._lock = threading.Lock()
        self._known: dict[int, tuple[int, list[dict[str, Any]]]] = {}
        found = {labels.name: labels for labels in read_truth(against.truth)}
        self._truth: dict[int, Labels] = {}
        infos = store.sequences()
        for info in infos:
            alone = len(found) == 1 and len(infos) == 1
            labels = next(iter(found.values())) if alone else found.get(info.name)
            if labels is not None:
                self._truth[info.index] = labels
                used = {item.label for item in store.objects(info.index).values()}
                self._protocol.check(labels.classes, used)
        if not self._truth:
            raise FormatError(
                against.truth,
                f"expected the truth of {some([info.name for info in infos])}, found that of "
                f"{some(sorted(found))}",
            )
        self._causes = self._explain(tracks, against) if against.detections else {}

    @property
    def without_truth(self) -> list[str]:
        """Sequences that the truth does not have."""
        return [i.name for i in self._store.sequences() if i.index not in self._truth]

    def _explain(self, tracks: Path, against: Against) -> dict[_Key, Cause | None]:
        found = read_tracks(tracks)
        files = {file.name: file for file in read_detections(against.detections)}  # type: ignore[arg-type]
        materials = []
        for truth in self._truth.values():
            alone = len(self._truth) == 1
            results = next(iter(found.values())) if alone and len(found) == 1 else None
            results = results or found.get(truth.name)
            file = next(iter(files.values())) if alone and len(files) == 1 else None
            file = file or files.get(truth.name)
            if results is None or file is None:
                raise FormatError(
                    against.detections or tracks,
                    f"expected detections of {truth.name!r}, found those of {some(sorted(files))}",
                )
            materials.append(Material(truth, _listed(results, truth), file, Motion(truth)))
        if against.settings is None:
            raise ConfigError("--detections: needs the tracker's settings")
        explained, _ = explain_given(materials, against.settings, self._protocol)
        return {_key(item.event): item.event.cause for item in explained}

    def truth(self, index: int) -> list[dict[str, Any]]:
        """The true objects of a sequence, as JSON has them; none where there is no truth."""
        labels = self._truth.get(index)
        if labels is None:
            return []
        return [item.as_dict() for item in objects_of(labels).objects]

    def errors(self, index: int) -> list[dict[str, Any]]:
        """The errors of a sequence as it is by now: switches first, then by frame.

        Each has `frame` to look at, `kind` (`switch`, `broken`, `false`, `missed`), `objects` of
        the page, `truth` objects, `message`.
        """
        labels = self._truth.get(index)
        if labels is None:
            return []
        with self._lock:
            state, items = self._store.whole(index)
            known = self._known.get(index)
            if known is None or known[0] != state["revision"]:
                known = state["revision"], self._find(index, labels, items)
                self._known[index] = known
            return known[1]

    def _find(
        self, index: int, truth: Labels, items: Sequence[LabelObject]
    ) -> list[dict[str, Any]]:
        info = self._store.sequence(index)
        names = self._store.classes.names
        now = labels_of(info.name, names, items, length=info.length)
        now = _listed(now[~now.ignore], truth)
        there = {item.id for item in items}
        rows = []
        for name, part in self._protocol.count(truth, now, truth.length).items():
            matching = clear_matching(part.pairs)
            for trouble in find_trouble(part, matching, truth, now, name):
                cause = self._causes.get(_key(trouble.event))
                rows.append(_row(trouble.event, cause, there))
            rows += _false(part, now, matching.matched)
        return sorted(rows, key=lambda row: (_ORDER.index(row["kind"]), row["frame"]))


def _listed(results: Labels, truth: Labels) -> Labels:
    """The boxes in frames that the truth knows."""
    return results[np.isin(results.frames, truth.listed_frames())]


def _key(event: Event) -> _Key:
    return (event.class_name, event.kind, event.start, event.end, event.truth_id)


def _row(event: Event, cause: Cause | None, there: set[int]) -> dict[str, Any]:
    who = f"{event.class_name} {event.truth_id}"
    frames = "1 frame" if event.boxes == 1 else f"{event.boxes} frames"
    match event.kind:
        case "switch":
            kind, frame = "switch", event.end
            message = f"{who}: track {event.result_id} becomes {event.new_id}"
        case "fragment":
            kind, frame = "broken", event.start
            away = f"is away for {frames}" if event.boxes else "breaks where the truth has no box"
            message = f"{who}: track {event.result_id} {away}"
        case _:
            kind, frame = "missed", event.start
            message = f"{who}: missed for {frames}"
    ids = [event.result_id, event.new_id]
    return {
        "frame": frame,
        "kind": kind,
        "objects": [number for number in dict.fromkeys(ids) if number in there],
        "truth": [number for number in (event.truth_id, event.other_id) if number is not None],
        "message": message + (f" – {ABOUT[cause]}" if cause is not None else ""),
    }


def _false(part: Counted, now: Labels, matched: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Boxes that stand on no true one, by runs of frames."""
    pairs = part.pairs
    count = pairs.result_count + 1
    right = (pairs.truth_frames * count + matched)[matched >= 0]
    rows = part.result_rows[~np.isin(pairs.result_frames * count + pairs.result_ids, right)]
    rows = rows[np.lexsort((now.frames[rows], now.ids[rows]))]
    if not len(rows):
        return []
    frames, ids = now.frames[rows], now.ids[rows]
    starts = np.append(0, np.flatnonzero((np.diff(ids) != 0) | (np.diff(frames) != 1)) + 1)
    counts = np.diff(np.append(starts, len(rows)))
    found = []
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        number = int(ids[start])
        name = now.classes[int(now.class_ids[rows[start]])]
        span = "1 frame" if count == 1 else f"{count} frames"
        found.append(
            {
                "frame": int(frames[start]),
                "kind": "false",
                "objects": [number],
                "truth": [],
                "message": f"track {number} ({name}): on no true object for {span}",
            }
        )
    return found


def count_kinds(review: Review, indices: Sequence[int]) -> Mapping[str, int]:
    """How many errors of each kind there are in sequences."""
    found = Counter(row["kind"] for index in indices for row in review.errors(index))
    return {kind: found[kind] for kind in _ORDER}
