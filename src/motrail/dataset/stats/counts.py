"""Takes in labels sequence by sequence and keeps nothing but counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.stats.tally import (
    SMALLEST,
    Distribution,
    Spread,
    Tally,
    bin_middles,
    log_bins,
    merge,
    spread_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.dataset.stats.tally import Counts
    from motrail.formats.labels import Labels

SMALL, LARGE = 32**2, 96**2
"""COCO's areas: a box below the one is small, from the other on large, between them medium."""
MAX_CLASSES = 1000
"""So many classes have figures of their own; rarer ones only count in the sum."""
MAX_POINTS = 200
"""So many points a sequence has in its density over time."""
GRID = (36, 64)
"""Rows and columns of the map of where boxes are."""
_UNKNOWN = 10
_COARSE = 8  # bins of sizes that are drawn as one


@dataclass(frozen=True, slots=True)
class GroupStats:
    """Figures of one class or of all classes of a split.

    Boxes to be ignored are counted in `ignored` and left out of everything else.

    Attributes:
        boxes: Labels.
        ignored: Labels that are neither right nor wrong to find.
        objects: Identities; boxes without one do not count.
        frames: Frames with at least one of the boxes.
        per_frame: Boxes in a frame, over all frames of the split; exact.
        width: Of the boxes in pixels, and so on; None where there are none.
        height: In pixels.
        area: Width × height in pixels².
        aspect: Width / height.
        small: Share of boxes with an area below 32² pixels, 0 to 1.
        medium: Share of those from 32² to below 96².
        large: Share of those from 96² on.
        track_length: Frames in which an object has a box; exact.
        gaps: How often an object is away and comes back.
        gap_frames: Frames in those gaps together.
        motion: How far an object's centre moves from one frame to the next, in heights of its
            box; across a gap, the distance divided by the number of frames.
        visibility: Boxes by their visible part: 0 to 0.1, …, 0.9 to 1; the upper end belongs to
            the next, 1 to the last.
        visibility_unknown: Boxes of which it is not known.
    """

    boxes: int
    ignored: int
    objects: int
    frames: int
    per_frame: Spread | None
    width: Spread | None
    height: Spread | None
    area: Spread | None
    aspect: Spread | None
    small: float
    medium: float
    large: float
    track_length: Spread | None
    gaps: int
    gap_frames: int
    motion: Spread | None
    visibility: tuple[int, ...]
    visibility_unknown: int


@dataclass(frozen=True, slots=True)
class SplitStats:
    """Figures of a split.

    Attributes:
        name: `all`, `train`, `val` or `test`.
        sequences: How many there are.
        frames: Those of which there is a picture or a label; where a sequence has no pictures,
            all of its frames. Lengths, gaps and motion count in them.
        labelled: Frames with at least one label, to be ignored or not.
        total: All classes together.
        classes: Class by class; those that occur, and those the dataset names.
    """

    name: str
    sequences: int
    frames: int
    labelled: int
    total: GroupStats
    classes: dict[str, GroupStats]


@dataclass(frozen=True, slots=True, eq=False)
class SequenceStats:
    """Figures of a sequence.

    Attributes:
        split: The split it is in.
        name: Its name.
        frames: As in `SplitStats`.
        boxes: Labels that are not to be ignored.
        objects: Identities among them.
        width: Of the frames in pixels; 0 when unknown.
        height: Of the frames in pixels; 0 when unknown.
        frame_rate: Frames a second; 0 when unknown.
        density_frames: Frame numbers, int64, shape (n,), n at most 200.
        density: Mean number of boxes in a frame around each, float64, shape (n,).
    """

    split: str
    name: str
    frames: int
    boxes: int
    objects: int
    width: int
    height: int
    frame_rate: float
    density_frames: NDArray[np.int64]
    density: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """What is drawn but too much to print, of all splits together.

    Attributes:
        sizes: Width and height in pixels and number of boxes, float64, shape (n, 3).
        places: Boxes by the place of their centre in the image, int64, shape `GRID`.
        frame_size: Width and height that most boxes' frames have; None when unknown.
        same_size: Whether all frames have it.
        per_frame: Boxes in a frame and how many frames have so many.
        track_lengths: Lengths and how many objects have them.
        motion: Motion and how many steps have it, float64, shape (n, 2).
    """

    sizes: NDArray[np.float64]
    places: NDArray[np.int64]
    frame_size: tuple[int, int] | None
    same_size: bool
    per_frame: Counts
    track_lengths: Counts
    motion: NDArray[np.float64]


class SplitCounts:
    """Takes in the sequences of a split."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequences = self.frames = self.labelled = 0
        self.ignored, self.areas, self.visibility = Tally(), Tally(), Tally()
        self.per_frame, self.per_frame_all = Tally(), Tally()
        self.lengths, self.gaps = Tally(), Tally()
        self.measures = {name: Distribution() for name in ("width", "height", "area", "aspect")}
        self.motion = Distribution()
        self.sizes = Tally()
        self.places = np.zeros(GRID, np.int64)
        self.frame_sizes: Counter[tuple[int, int]] = Counter()

    def add(self, labels: Labels) -> SequenceStats:
        """Take in a sequence."""
        listed = _listed(labels)
        self.sequences += 1
        self.frames += len(listed)
        self.labelled += len(np.unique(labels.frames))
        self.ignored.add(labels.class_ids, labels.ignore.astype(np.int64))
        counted = labels[~labels.ignore]
        ranks = np.searchsorted(listed, counted.frames)
        self._add_boxes(counted)
        self._add_places(counted)
        pairs, numbers = np.unique(counted.class_ids << 32 | ranks, return_counts=True)
        self.per_frame.add(pairs >> 32, numbers)
        numbers = np.unique(ranks, return_counts=True)[1]
        self.per_frame_all.add(np.zeros_like(numbers), numbers)
        objects = self._add_tracks(counted, ranks)
        points, density = _density(listed, ranks)
        return SequenceStats(
            split=self.name,
            name=labels.name,
            frames=len(listed),
            boxes=len(counted),
            objects=objects,
            width=labels.width,
            height=labels.height,
            frame_rate=labels.frame_rate,
            density_frames=points,
            density=density,
        )

    def _add_boxes(self, labels: Labels) -> None:
        groups = labels.class_ids
        width, height = np.maximum(labels.boxes_xywh[:, 2:], SMALLEST).T
        area = width * height
        columns = {"width": width, "height": height, "area": area, "aspect": width / height}
        for name, values in columns.items():
            self.measures[name].add(groups, values)
        self.areas.add(groups, np.digitize(area, [SMALL, LARGE]).astype(np.int64))
        self.sizes.add(log_bins(width) // _COARSE, log_bins(height) // _COARSE)
        shown = labels.visibility
        tenth = np.clip(np.floor(shown * 10), 0, 9).astype(np.int64)
        self.visibility.add(groups, np.where(shown < 0, _UNKNOWN, tenth))

    def _add_places(self, labels: Labels) -> None:
        if not (labels.width and labels.height and len(labels)):
            return
        self.frame_sizes[labels.width, labels.height] += len(labels)
        centre = labels.boxes_xywh[:, :2] + labels.boxes_xywh[:, 2:] / 2
        cells = np.floor(centre / [labels.width, labels.height] * GRID[::-1])
        column, row = cells[((cells >= 0) & (cells < GRID[::-1])).all(axis=1)].astype(np.int64).T
        np.add.at(self.places, (row, column), 1)

    def _add_tracks(self, labels: Labels, ranks: NDArray[np.int64]) -> int:
        """Lengths, gaps and motion of objects; returns how many there are."""
        known = labels.ids != -1
        labels, ranks = labels[known], ranks[known]
        if not len(labels):
            return 0
        order = np.lexsort((ranks, labels.class_ids, labels.ids))
        labels, ranks = labels[order], ranks[order]
        groups = labels.class_ids
        same = (labels.ids[1:] == labels.ids[:-1]) & (groups[1:] == groups[:-1])
        starts = np.flatnonzero(np.append(True, ~same))
        self.lengths.add(groups[starts], np.diff(starts, append=len(labels)))
        steps = np.maximum(np.diff(ranks), 1)
        away = same & (steps > 1)
        self.gaps.add(groups[1:][away], steps[away] - 1)
        centre = labels.boxes_xywh[:, :2] + labels.boxes_xywh[:, 2:] / 2
        moved = np.hypot(*np.diff(centre, axis=0).T)
        heights = np.maximum(labels.boxes_xywh[:-1, 3], SMALLEST)
        self.motion.add(groups[1:][same], (moved / heights / steps)[same])
        return len(starts)

    def frames_by_boxes(self, group: int | None) -> Counts:
        """Numbers of boxes in a frame, and how many frames have so many."""
        occupied = self.per_frame_all.of() if group is None else self.per_frame.of(group)
        empty = self.frames - int(occupied[1].sum())
        if not empty:
            return occupied
        return merge([(np.zeros(1, np.int64), np.array([empty])), occupied])

    def stats(self, names: Sequence[str], named: int) -> SplitStats:
        """The figures; the first `named` of the classes have some even if they never occur."""
        groups, boxes = self.ignored.groups()
        often = np.zeros(max(named, int(groups.max(initial=-1)) + 1), np.int64)
        often[groups] = boxes
        wanted = np.flatnonzero((often > 0) | (np.arange(len(often)) < named))
        if len(wanted) > MAX_CLASSES:
            wanted = np.sort(wanted[np.argsort(-often[wanted], kind="stable")[:MAX_CLASSES]])
        return SplitStats(
            name=self.name,
            sequences=self.sequences,
            frames=self.frames,
            labelled=self.labelled,
            total=self._group(None),
            classes={names[group]: self._group(group) for group in wanted.tolist()},
        )

    def _group(self, group: int | None) -> GroupStats:
        ignored = dict(zip(*(c.tolist() for c in self.ignored.of(group)), strict=True))
        small, medium, large = _bars(self.areas.of(group), 3)
        boxes = ignored.get(0, 0)
        by_boxes = self.frames_by_boxes(group)
        gaps, gap_numbers = self.gaps.of(group)
        *visibility, unknown = _bars(self.visibility.of(group), _UNKNOWN + 1)
        return GroupStats(
            boxes=boxes,
            ignored=ignored.get(1, 0),
            objects=self.lengths.total(group),
            frames=int(by_boxes[1][by_boxes[0] > 0].sum()),
            per_frame=spread_of(by_boxes),
            **{name: measure.spread(group) for name, measure in self.measures.items()},
            small=small / max(boxes, 1),
            medium=medium / max(boxes, 1),
            large=large / max(boxes, 1),
            track_length=spread_of(self.lengths.of(group)),
            gaps=int(gap_numbers.sum()),
            gap_frames=int(gaps @ gap_numbers),
            motion=self.motion.spread(group),
            visibility=tuple(visibility),
            visibility_unknown=unknown,
        )


def _bars(counts: Counts, number: int) -> list[int]:
    bars = np.zeros(number, np.int64)
    bars[counts[0]] = counts[1]
    found: list[int] = bars.tolist()
    return found


def _listed(labels: Labels) -> NDArray[np.int64]:
    """Numbers of the frames that count, ascending; as `Labels.listed_frames`, in less memory."""
    if not labels.pictures:
        return np.arange(1, labels.length + 1)
    pictures = np.fromiter(labels.pictures, np.int64, len(labels.pictures))
    return np.union1d(pictures, labels.frames)


def _density(
    listed: NDArray[np.int64], ranks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frame numbers, and the mean number of boxes in the frames around each."""
    points = min(MAX_POINTS, len(listed))
    edges = np.arange(points + 1) * len(listed) // max(points, 1)
    boxes = np.histogram(ranks, edges - 0.5)[0] if points else np.zeros(0)
    return listed[(edges[:-1] + edges[1:] - 1) // 2], boxes / np.diff(edges)


def histograms(splits: Sequence[SplitCounts]) -> Histograms:
    """What is drawn, of all splits together."""
    pairs = np.concatenate([np.empty((0, 3), np.int64), *(s.sizes.pairs() for s in splits)])
    middles = bin_middles(pairs[:, :2] * _COARSE + _COARSE // 2)
    sizes = np.column_stack([middles, pairs[:, 2]])
    bins, steps = merge(split.motion.bins.of() for split in splits)
    frame_sizes: Counter[tuple[int, int]] = Counter()
    for split in splits:
        frame_sizes.update(split.frame_sizes)
    return Histograms(
        sizes=sizes,
        places=np.sum([np.zeros(GRID, np.int64), *(split.places for split in splits)], axis=0),
        frame_size=frame_sizes.most_common(1)[0][0] if frame_sizes else None,
        same_size=len(frame_sizes) == 1,
        per_frame=merge(split.frames_by_boxes(None) for split in splits),
        track_lengths=merge(split.lengths.of() for split in splits),
        motion=np.column_stack([bin_middles(bins), steps]),
    )
