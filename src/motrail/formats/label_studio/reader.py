"""Label Studio's JSON export of videos: `videorectangle` results.

What a keyframe means is what Label Studio's editor makes of it (`isInLifespan` of VideoRegion and
`getShape` of VideoRectangleRegion, github.com/HumanSignal/label-studio): frames count from 1;
between two keyframes a box moves linearly; a keyframe with `enabled: false` still shows the box in
its own frame and ends the span after it; the last keyframe, if enabled, goes on to `framesCount`.
Boxes are in per cent of the frame.

A turned box keeps its place from before turning, and has the angle of its keyframe, in degrees, as
the attribute `rotation`. Labels of a region after the first are its attribute `labels`. The keys
`visibility`, `ignore` and `attributes` of a keyframe are our own (`label_studio_writer`).

Of several annotations of a task the one marked as ground truth counts, else the one updated last;
cancelled ones never do, and predictions are not read. A task that nobody has annotated is left out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from motrail.errors import DataError
from motrail.formats.faults import Fault, check_rows, refuse
from motrail.formats.keyframes import fill_tracks
from motrail.formats.label_studio.json_file import Boxes, UnusableError, load
from motrail.formats.labels import Coded, Labels, LabelSource, ReadOptions, usable_rate
from motrail.names import safe_name, unused_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.faults import Found

_WHOLE = re.compile(r"[0-9]{1,18}")


def read_label_studio(
    path: Path, options: ReadOptions | None = None, found: Found = refuse
) -> LabelSource:
    """Labels from Label Studio, a sequence for each task.

    A sequence is called after the task's video file, as it is named there (Label Studio puts eight
    letters before the name of an uploaded file), else `task-` and the task's id; made fit for a
    folder, and distinct by a number at the end. Ids are the regions' where all of a task are whole
    numbers, else 1, 2, 3 … in the order of the file.

    Args:
        path: A .json file with one task or a list of them.
        options: Size of the frames, which most exports do not say, length and frame rate.
        found: Told of each fault, with its JSON path.

    Returns:
        The sequences; their number and class names are known only after reading.

    Raises:
        FormatError: While reading: something is not as it should be, or the size is not known.
    """
    settings = options or ReadOptions()

    def read() -> Iterator[Labels]:
        taken: set[str] = set()
        try:
            tasks = _load_tasks(path, found)
        except UnusableError as error:
            found(error.fault)
            return
        for place, task in tasks:
            try:
                labels = _read_task(task, place, path, settings, found)
            except UnusableError as error:
                found(error.fault)
                continue
            if labels is not None:
                yield labels.replace(name=unused_name(labels.name, taken))

    return LabelSource("label-studio", (), None, read)


def _load_tasks(path: Path, found: Found) -> list[tuple[str, dict[str, Any]]]:
    """The tasks, each with its place in the file."""
    document = load(path)
    listed = document if isinstance(document, list) else [document]
    tasks = []
    for index, task in enumerate(listed):
        place = f"[{index}]" if isinstance(document, list) else ""
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(task, dict) or not isinstance(annotations, list):
            message = 'expected a task with its "annotations", as in the export named JSON'
            found(Fault("layout", path, message, place or None))
        else:
            tasks.append((place, task))
    if len(tasks) == len(listed) and not any(_choose(task["annotations"]) for _, task in tasks):
        message = "expected a task that someone has annotated, found none"
        raise UnusableError("layout", path, message)
    return tasks


def _choose(annotations: list[object]) -> tuple[int, dict[str, Any]] | None:
    """The annotation that counts, with its place in the list."""
    whole = [
        (index, annotation)
        for index, annotation in enumerate(annotations)
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]
    return max(
        whole,
        key=lambda one: (
            bool(one[1].get("ground_truth")),
            str(one[1].get("updated_at", "")),
            one[0],
        ),
        default=None,
    )


def _read_task(
    task: dict[str, Any], place: str, path: Path, options: ReadOptions, found: Found
) -> Labels | None:
    chosen = _choose(task["annotations"])
    if chosen is None:
        return None
    place = f"{place}.annotations[{chosen[0]}].result".removeprefix(".")
    results = chosen[1].get("result")
    if not isinstance(results, list):
        raise UnusableError("layout", path, "expected a list of results", place)
    boxes = _read_results(results, place, path, found)
    name = _name(task, options)
    if boxes.size is None and options.size is None and options.size_of is not None:
        options = replace(options, size=options.size_of(name))
    rows = _good_rows(boxes, place, path, options, found)
    rate = boxes.length / boxes.duration if boxes.duration else options.frame_rate or 0.0
    labels = _fill(rows, boxes, place, path)
    return labels.replace(
        name=name,
        length=rows.length or int(rows.frames.max(initial=0)),
        frame_rate=usable_rate(rate),
    )


def _read_results(results: list[object], place: str, path: Path, found: Found) -> Boxes:
    boxes = Boxes(path, place, found)
    given = [
        (index, result, str(result.get("type")).lower())
        for index, result in enumerate(results)
        if isinstance(result, dict)
    ]
    if results and not any(kind == "videorectangle" for *_, kind in given):
        kinds = ", ".join(sorted({kind[:40] for *_, kind in given})[:4]) or "none"
        message = f"expected boxes in a video (videorectangle), found results of type {kinds}"
        raise UnusableError("layout", path, message, place)
    apart: dict[str, list[str]] = {}
    for _, result, kind in given:
        if kind == "labels":
            apart.setdefault(str(result.get("id")), _labels_of(result))
    for index, result, kind in given:
        if kind == "videorectangle":
            labels = _labels_of(result) or apart.get(str(result.get("id")), [])
            boxes.add_region(index, result, labels)
    return boxes


def _labels_of(result: dict[str, Any]) -> list[str]:
    value = result.get("value")
    labels = value.get("labels") if isinstance(value, dict) else None
    return [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []


def _good_rows(boxes: Boxes, place: str, path: Path, options: ReadOptions, found: Found) -> Labels:
    """The keyframes without fault; `source_ids.codes` count through those of `boxes`."""
    count = len(boxes.frame)
    size = boxes.size or options.size
    if size is None and count:
        message = "expected the size of the video, found none; give it with --video V or --size WxH"
        raise UnusableError("size-unknown", path, message, place)
    width, height = size or (0, 0)
    scale = np.array([width, height, width, height]) / 100
    region = np.array(boxes.region, np.int64)
    rows = Labels.of(
        "",
        tuple(boxes.classes),
        np.array(boxes.frame, np.int64),
        _ids(boxes.regions)[region],
        np.array(boxes.percent, np.float64).reshape(-1, 4) * scale,
        np.array(boxes.class_id, np.int64),
        visibility=np.array(boxes.visibility, np.float64),
        ignore=np.array(boxes.ignore, np.bool_),
        attributes=Coded.of(boxes.attributes),
        source_ids=Coded(np.arange(count), ()),
        width=width,
        height=height,
        length=boxes.length or options.length or 0,
    )
    return check_rows(rows, path, boxes.place, found)


def _ids(regions: list[str]) -> NDArray[np.int64]:
    """A number for each region, int64."""
    whole = [int(text) for text in regions if _WHOLE.fullmatch(text)]
    if len(set(whole)) == len(regions):
        return np.array(whole, np.int64)
    return np.arange(1, len(regions) + 1)


def _fill(rows: Labels, boxes: Boxes, place: str, path: Path) -> Labels:
    """Every frame in which the objects are there."""
    region = np.array(boxes.region, np.int64)[rows.source_ids.codes]
    order = np.lexsort((rows.frames, region))
    rows, region = rows[order], region[order]
    enabled = np.array(boxes.enabled, np.bool_)[rows.source_ids.codes]
    try:
        filled = fill_tracks(
            region,
            rows.frames,
            rows.boxes_xywh,
            shown=np.ones(len(rows), np.bool_),
            goes_on=enabled,
            end=rows.length or None,
        )
    except DataError as error:
        message = f"{error}; see framesCount, and whether enabled: false ends the spans"
        raise UnusableError("layout", path, message, place) from None
    return rows[filled.source].replace(
        frames=filled.frames,
        boxes_xywh=filled.boxes_xywh,
        keyframe=filled.keyframe,
        source_ids=_source_ids(region[filled.source], boxes.regions),
    )


def _source_ids(region: NDArray[np.int64], names: list[str]) -> Coded[str]:
    named = np.array([bool(name) for name in names], np.bool_)
    return Coded(np.where(named[region], region, -1) if len(region) else region, tuple(names))


def _name(task: dict[str, Any], options: ReadOptions) -> str:
    data = task.get("data")
    video = data.get("video") if isinstance(data, dict) else None
    if isinstance(video, str):
        address = video.partition("#")[0]
        # Files that Label Studio serves itself: /data/local-files/?d=FOLDER/FILE.
        local = re.search(r"local-files/?\?d=(.*)", address, re.DOTALL)
        file = unquote(local[1] if local else address.partition("?")[0])
        stem = re.sub(r"(?<=.)\.[A-Za-z0-9]{1,5}$", "", re.split(r"[/\\]", file)[-1])
        if stem.strip(" ."):
            return safe_name(stem)
    number = task.get("id")
    known = isinstance(number, int | str) and len(str(number)[:200]) > 0
    return safe_name(options.name or (f"task-{str(number)[:80]}" if known else "task"))
