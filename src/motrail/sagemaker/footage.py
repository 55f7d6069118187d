"""Footage made ready for a labelling job: frames, sequence files, manifest, categories."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.dataset.folder import is_dataset, open_dataset
from motrail.dataset.footage import Footage, complete, from_video, place, with_video
from motrail.errors import ConfigError, FormatError
from motrail.formats.ground_truth.writer import MAX_SEQUENCES_OF_JOB, GroundTruthWriter
from motrail.formats.labels import ClassList, Labels, ReadOptions
from motrail.formats.recognize import open_labels
from motrail.names import is_image, safe_name, unused_name
from motrail.outputs import output_folder, writing
from motrail.sagemaker.requests.labeling import Kind, category_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from motrail.dataset.footage import Progress

MAX_LABELS = 30
_SHOWN = frozenset({".jpg", ".jpeg", ".png"})
"""Pictures that the workers' page shows."""


@dataclass(frozen=True)
class LabelingPlan:
    """What is to be labelled.

    Attributes:
        sources: Videos and folders of images, or a dataset.
        classes: Names of the classes; with labels to start from, of classes besides theirs.
        tracks: Labels to start from: a track file or labels in any format for one source, or a
            folder that has `<name>.txt` for each.
        kind: `label`, `adjust` or `verify`; None adjusts labels where there are some.
        every: 1 takes each frame, 2 each second one, and so on.
        hours: Time a worker has for a sequence.
    """

    sources: Sequence[Path]
    classes: Sequence[str] = ()
    tracks: Path | None = None
    kind: Kind | None = None
    every: int = 1
    hours: float = 168.0


@dataclass(frozen=True)
class Prepared:
    """A job's input, ready to be uploaded.

    Attributes:
        kind: What is to be done.
        sequences: How many there are.
        frames: In all of them.
        notes: What the format could not carry or had to change.
    """

    kind: Kind
    sequences: int
    frames: int
    notes: list[str] = field(default_factory=list)


def prepare(
    plan: LabelingPlan, folder: Path, prefix: str, job: str, progress: Progress
) -> Prepared:
    """Write a labelling job's input.

    Args:
        plan: What is to be labelled.
        folder: Where to; made.
        prefix: Where it will be in S3.
        job: The name that the labels to start from go by.
        progress: Told of frames.

    Raises:
        ConfigError: There are more sequences or classes than a job takes, no class, or nothing to
            adjust.
        MotrailError: Footage or labels cannot be read, or the disk is full.
    """
    if plan.every < 1:
        raise ConfigError(f"--every: expected 1 or more, found {plan.every}")
    output_folder(folder)
    work = folder.parent / "work"
    writer = GroundTruthWriter(folder, ClassList(plan.classes), job=job, prefix=prefix)
    boxes = frames = 0
    for labels in _sequences(plan, work, progress):
        place(writer.add(labels), progress=progress)
        boxes += len(labels)
        frames += len(labels.listed_frames())
        shutil.rmtree(work, ignore_errors=True)
    writer.finish()
    kind: Kind = plan.kind or ("adjust" if boxes else "label")
    if kind != "label" and not boxes:
        raise ConfigError(f"--kind {kind}: expected labels to start from, found none")
    sequences = len(list((folder / "sequences").glob("*.json")))
    _check_limits(sequences, len(writer.classes.names))
    _finish(folder, kind)
    # Whatever concerns too many lines is an error here, not a note.
    notes = [note for note in writer.notes if "deal out the lines" not in note]
    return Prepared(kind, sequences, frames, notes)


def _check_limits(sequences: int, classes: int) -> None:
    if not classes:
        raise ConfigError("expected names of classes to label; give them as in --classes car,bus")
    if classes > MAX_LABELS:
        raise ConfigError(
            f"expected at most {MAX_LABELS} classes, as a Ground Truth job takes no more, found "
            f"{classes}"
        )
    if not sequences:
        raise ConfigError("expected footage to label, found no frame")
    if sequences > MAX_SEQUENCES_OF_JOB:
        raise ConfigError(
            f"expected at most {MAX_SEQUENCES_OF_JOB} sequences of up to 2,000 frames, as a Ground "
            f"Truth job takes no more, found {sequences}; give fewer at a time, or take fewer "
            "frames with --every"
        )


def _finish(folder: Path, kind: Kind) -> None:
    """The category file and the manifest of the kind of job."""
    path = folder / "label-categories.json"
    written: dict[str, Any] = json.loads(path.read_bytes())
    with writing(path):
        path.write_text(json.dumps(category_file(written, kind), indent=1), encoding="utf-8")
    if kind != "label":
        return
    manifest = folder / "manifests" / "output" / "output.manifest"
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    with writing(folder):
        (folder / "input.manifest").write_text(
            "".join(json.dumps({"source-ref": line["source-ref"]}) + "\n" for line in lines),
            encoding="utf-8",
        )
        shutil.rmtree(folder / "manifests")
        shutil.rmtree(folder / "annotations")


def _sequences(plan: LabelingPlan, work: Path, progress: Progress) -> Iterator[Labels]:
    """The sequences, with pictures, under names that are no other's."""
    taken: set[str] = set()
    only = len(plan.sources) == 1
    for path in plan.sources:
        if is_dataset(path):
            if plan.tracks is not None:
                raise ConfigError(f"--prelabel: expected a video, found the dataset {path}")
            for split, labels in open_dataset(path).labels():
                name = f"{labels.name}-{split}" if labels.name.lower() in taken else labels.name
                yield _thinned(_named(labels.replace(name=name), taken), plan.every)
            continue
        labels = _labels_of(path, plan, only=only)
        yield _named(_with_pictures(labels, path, plan.every, work, progress), taken)


def _named(labels: Labels, taken: set[str]) -> Labels:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", safe_name(labels.name))
    return labels.replace(name=unused_name(name, taken))


def _labels_of(path: Path, plan: LabelingPlan, *, only: bool) -> Labels:
    """What is known of a source's objects already; maybe nothing."""
    name = path.name if path.is_dir() else path.stem
    if plan.tracks is None:
        nothing = np.zeros(0, np.int64)
        return Labels.of(name, plan.classes, nothing, nothing, np.zeros((0, 4)), nothing)
    options = with_video(ReadOptions(), Footage(path))
    tracks = plan.tracks
    if tracks.is_dir() and (tracks / f"{name}.txt").is_file():
        tracks = tracks / f"{name}.txt"
    found = list(open_labels(tracks, options))
    fitting = [labels for labels in found if labels.name == name] or (found if only else [])
    if len(fitting) != 1:
        names = ", ".join(labels.name for labels in found[:5]) or "none"
        raise FormatError(plan.tracks, f"expected labels of {name!r}, found {names}")
    return fitting[0].replace(name=name, pictures={})


def _with_pictures(
    labels: Labels, path: Path, every: int, work: Path, progress: Progress
) -> Labels:
    from motrail.video.read import open_source

    if path.is_dir() and _all_shown(path):
        return _thinned(complete(labels, Footage(path), work, only=True, progress=progress), every)
    labels = labels[(labels.frames - 1) % every == 0]
    with open_source(path, stride=every) as source:
        labels = from_video(labels, source, work / "frames", progress)
    return _renumbered(labels, every)


def _all_shown(folder: Path) -> bool:
    inside = folder / "img1" if (folder / "img1").is_dir() else folder
    return all(path.suffix.lower() in _SHOWN for path in inside.iterdir() if is_image(path))


def _thinned(labels: Labels, every: int) -> Labels:
    """Each `every`th frame, from the first."""
    if every == 1:
        return labels
    kept = labels[(labels.frames - 1) % every == 0]
    pictures = {n: path for n, path in kept.pictures.items() if (n - 1) % every == 0}
    return _renumbered(kept.replace(pictures=pictures), every)


def _renumbered(labels: Labels, every: int) -> Labels:
    """The frames that are left, counted from 1: Ground Truth numbers them without gaps."""
    if every == 1:
        return labels
    return labels.replace(
        frames=(labels.frames - 1) // every + 1,
        length=(labels.length - 1) // every + 1,
        frame_rate=labels.frame_rate / every,
        pictures={(n - 1) // every + 1: path for n, path in labels.pictures.items()},
        frame_attributes={
            (n - 1) // every + 1: said
            for n, said in labels.frame_attributes.items()
            if (n - 1) % every == 0
        },
    )
