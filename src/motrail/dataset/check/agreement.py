"""Where the record of a sequence and its MOT files say different things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.check.findings import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.dataset.check.findings import Findings
    from motrail.formats.labels import Labels

BOX_TOLERANCE = 0.01
"""Pixels by which boxes may differ, as after writing them with two decimals."""
SHARE_TOLERANCE = 0.01
"""Visibilities may differ by as much."""


def compare_rows(
    record: Labels,
    mot: Labels,
    file: Path,
    findings: Findings,
    *,
    names: bool = True,
    left_out: tuple[int, int] = (0, 0),
) -> None:
    """Note where two readings of one sequence differ in their rows.

    Rows belong together by frame and id; those without id by frame and rank among the boxes of it.
    Of what is left over on both sides, equal boxes in a frame are one object with two ids.

    Args:
        record: As the COCO file has it.
        mot: As `gt.txt` has it.
        file: The `gt.txt`, for messages.
        findings: Told of differences.
        names: Compare classes by name; else by number, where `labels.txt` is missing.
        left_out: How many rows of the record and of the MOT file were at fault and are not here:
            that many may lack on that side without being mentioned again.
    """
    a, b = record, mot
    left, right = _match(_keys(a, a.ids), _keys(b, b.ids))
    only_a, only_b = _others(left, len(a)), _others(right, len(b))
    same_a, same_b = _match(_box_keys(a[only_a]), _box_keys(b[only_b]))
    _note_ids(a[only_a[same_a]], b[only_b[same_b]], file, findings)
    only_a, only_b = np.delete(only_a, same_a), np.delete(only_b, same_b)
    if len(only_a) > left_out[1]:
        what = "of the record missing in gt.txt"
        _note_missing(a[only_a].in_order(), what, file, findings)
    if len(only_b) > left_out[0]:
        what = "of gt.txt missing in the record"
        _note_missing(b[only_b].in_order(), what, file, findings)
    _compare_values(a[left], b[right], file, findings, names=names)


def _keys(labels: Labels, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frame, id and rank among the rows that share both, shape (n, 3); equal for equal rows."""
    boxes, frames = labels.boxes_xywh, labels.frames
    order = np.lexsort((*boxes.T[::-1], labels.class_ids, ids, frames))
    first = np.ones(len(order), np.bool_)
    same_id = ids[order][1:] == ids[order][:-1]
    first[1:] = ~(same_id & (frames[order][1:] == frames[order][:-1]))
    steps = np.arange(len(order))
    rank = np.empty(len(order), np.int64)
    rank[order] = steps - np.maximum.accumulate(np.where(first, steps, 0))
    return np.stack([frames, ids, rank], axis=1)


def _box_keys(labels: Labels) -> NDArray[np.int64]:
    """Frame and box in hundredths of a pixel, shape (n, 5)."""
    boxes = np.rint(labels.boxes_xywh / BOX_TOLERANCE).astype(np.int64)
    return np.concatenate([labels.frames[:, None], boxes], axis=1)


def _match(
    a: NDArray[np.int64], b: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of `a` and `b` that are equal, each once."""
    if np.array_equal(a, b):
        every = np.arange(len(a))
        return every, every
    both = np.concatenate([a, b])
    _, codes = np.unique(both, axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    _, left, right = np.intersect1d(codes[: len(a)], codes[len(a) :], return_indices=True)
    return left.astype(np.int64), right.astype(np.int64)


def _others(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(count), rows)


def _note_missing(rows: Labels, what: str, file: Path, findings: Findings) -> None:
    first = f"frame {rows.frames[0]}, id {rows.ids[0]}"
    message = f"{counted(len(rows), 'row')} {what}; the first: {first}"
    findings.note("projection", file, message, count=len(rows))


def _note_ids(record: Labels, mot: Labels, file: Path, findings: Findings) -> None:
    if len(record):
        first = int(record.frames.argmin())
        message = (
            f"{counted(len(record), 'row')} with another id in gt.txt than in the record; "
            f"the first: frame {record.frames[first]}, id {mot.ids[first]} instead of "
            f"{record.ids[first]}"
        )
        findings.note("projection", file, message, count=len(record))


def _compare_values(
    record: Labels, mot: Labels, file: Path, findings: Findings, *, names: bool
) -> None:
    """Compare rows that belong together, in the same order."""

    def note(what: str, differs: NDArray[np.bool_], show: Callable[[Labels, int], str]) -> None:
        rows = np.flatnonzero(differs)
        if not len(rows):
            return
        row = int(rows[np.lexsort((record.ids[rows], record.frames[rows]))[0]])
        message = (
            f"{counted(len(rows), 'row')} with another {what} in gt.txt than in the record; "
            f"the first: frame {record.frames[row]}, id {record.ids[row]}: {show(mot, row)} "
            f"instead of {show(record, row)}"
        )
        findings.note("projection", file, message, count=len(rows))

    apart = np.abs(record.boxes_xywh - mot.boxes_xywh).max(axis=1, initial=0)
    note(
        "box",
        apart > BOX_TOLERANCE,
        lambda labels, row: ", ".join(f"{n:.10g}" for n in labels.boxes_xywh[row]),
    )
    note("class", _other_class(record, mot, names=names), _class_name)
    note(
        "active",
        record.ignore != mot.ignore,
        lambda labels, row: str(int(not labels.ignore[row])),
    )
    note(
        "visibility",
        np.abs(record.visibility - mot.visibility) > SHARE_TOLERANCE,
        lambda labels, row: f"{labels.visibility[row]:g}",
    )


def _other_class(record: Labels, mot: Labels, *, names: bool) -> NDArray[np.bool_]:
    theirs = mot.class_ids
    if names and record.classes != mot.classes and len(mot):
        place = {name: index for index, name in enumerate(record.classes)}
        theirs = np.array([place.get(name, -1) for name in mot.classes], np.int64)[theirs]
    other: NDArray[np.bool_] = record.class_ids != theirs
    return other


def _class_name(labels: Labels, row: int) -> str:
    return repr(labels.classes[int(labels.class_ids[row])])


def compare_facts(
    record: Labels, stated: dict[str, float], file: Path, findings: Findings, *, length: bool
) -> None:
    """Note where `seqinfo.ini` states another size, frame rate or length than the record.

    Args:
        record: As the COCO file has it; 0 where it does not say.
        stated: `imWidth`, `imHeight`, `frameRate` and `seqLength` as the file has them.
        file: The `seqinfo.ini`.
        findings: Told of differences.
        length: Compare the length too; not where there are pictures, which know better.
    """
    facts = {
        "imWidth": record.width,
        "imHeight": record.height,
        "frameRate": record.frame_rate,
        "seqLength": record.length if length else 0,
    }
    for key, value in facts.items():
        told = stated.get(key, 0)
        if value and told and abs(value - told) > 1e-6 * abs(value):
            message = f"{key}: {told:g} instead of {value:g} as in the record"
            findings.note("projection", file, message, key)
