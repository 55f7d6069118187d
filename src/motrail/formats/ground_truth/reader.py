"""Labels of SageMaker Ground Truth, task type video object tracking.

A job leaves an `output.manifest` with a line of JSON for each sequence: `source-ref` names the
sequence file (which images), `<job>-ref` the labels (`SeqLabel.json`), `<job>-ref-metadata` what
the class ids mean. Frames are told apart by the names of their images; a frame's number is the
sequence file's, and counts from 1. Source of the layout: the SageMaker developer guide, "Video
frame object tracking output" and "Create a video frame input manifest file".
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from motrail.formats.faults import refuse
from motrail.formats.ground_truth.files import (
    MAX_BYTES,
    MAX_NAME,
    MAX_SEQUENCE_BYTES,
    Annotation,
    Frame,
    References,
    SeqLabel,
    SequenceFile,
    SequenceFrame,
    SequencePrefix,
    UnusableError,
    WorkerFrame,
    WorkerResponse,
    attempt,
    inner_parts,
    read_json,
    size_of,
)
from motrail.formats.ground_truth.manifest import Entry, find_manifest, read_manifest
from motrail.formats.ground_truth.names import (
    GENERIC_FOLDERS,
    LABELS_FILE,
    full_names,
    sequence_names,
)
from motrail.formats.ground_truth.rows import ClassMap, Source, id_order, to_labels
from motrail.formats.labels import MAX_FRAMES, Labels, LabelSource, ReadOptions
from motrail.formats.mot.seqinfo import read_seqinfo
from motrail.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from motrail.formats.faults import Found

FORMAT = "ground-truth"
_USUAL = ReadOptions()
_OWN_FOLDERS = (*GENERIC_FOLDERS, "output", "consolidated-annotation", "annotations")


def read_ground_truth(
    path: Path, options: ReadOptions = _USUAL, found: Found = refuse
) -> LabelSource:
    """Read a Ground Truth job, or a single `SeqLabel.json`.

    Args:
        path: An `output.manifest`, the folder of a job (or one that has the manifest), or a
            `SeqLabel.json`, whose frames are then numbered by their names.
        options: `mirror` has copies of what `s3://` references name, `label_attribute` says which
            of several to read (usually the newest), `size` and `frame_rate` are not in the files.
        found: Told of each fault; what is at fault is left out.

    Returns:
        The sequences in the order of the manifest. The objects' ids are the numbers in their
        names, where those tell them apart; what tells them apart in the files is `object-id`.

    Raises:
        FormatError: With the usual `found`, at the first fault: here for the manifest, while
            iterating for the rest.
    """
    source = attempt(found, lambda: _open(path, options, found))
    return source or LabelSource(FORMAT, (), 0, lambda: iter(()))


def _open(path: Path, options: ReadOptions, found: Found) -> LabelSource:
    path = find_manifest(path)
    if path.suffix.lower() == ".json":

        def read_one() -> Iterator[Labels]:
            labels = attempt(found, lambda: _read_alone(path, options, found))
            if labels is not None:
                yield labels

        return LabelSource(FORMAT, (), 1, read_one)
    entries = read_manifest(path, options.label_attribute, found)
    job = _Job(References(path, options.mirror), entries, options, found)
    return LabelSource(FORMAT, job.classes, len(entries), job.read)


def _read_alone(path: Path, options: ReadOptions, found: Found) -> Labels:
    """A `SeqLabel.json` of which nothing else is known."""
    folders = [part for part in path.absolute().parts[1:-1] if part.lower() not in _OWN_FOLDERS]
    named = [part for part in folders if not part.isdecimal()]
    name = options.name or (named[-1] if named else path.stem)
    source = Source(path, _place, safe_name(name), None, None, {})
    return to_labels(_read_labels(path), source, options, found)


def _read_labels(path: Path) -> list[Frame]:
    frames = read_json(path, SeqLabel).tracking_annotations
    if frames and all(frame.annotations is None for frame in frames):
        text = "expected boxes in `annotations`, found none; other shapes than boxes are not read"
        raise UnusableError("layout", path, text, "tracking-annotations")
    for index, frame in enumerate(frames):
        if len(frame.frame) > MAX_NAME:
            text = f"expected the name of an image, found {len(frame.frame)} characters"
            raise UnusableError("layout", path, text, _place(index, None))
    return frames


def _place(frame: int, box: int | None) -> str:
    where = f"tracking-annotations[{frame}]"
    return where if box is None else f"{where}.annotations[{box}]"


class _Job:
    """The sequences of a manifest."""

    def __init__(
        self, files: References, entries: Sequence[Entry], options: ReadOptions, found: Found
    ) -> None:
        self.files = files
        self.entries = entries
        self.options = options
        self.found = found
        maps = [entry.class_map for entry in entries if entry.class_map]
        pairs = {(id_order(key), label) for labels in maps for key, label in labels.items()}
        labels = tuple(dict.fromkeys(label for _, label in sorted(pairs)))
        full = full_names(files.job / LABELS_FILE, labels)
        self.classes = tuple(dict.fromkeys(full))
        place = {name: index for index, name in enumerate(self.classes)}
        self._by_label = {label: place[name] for label, name in zip(labels, full, strict=True)}
        self._by_name = place | self._by_label

    def read(self) -> Iterator[Labels]:
        names = sequence_names(
            [self._prefix(entry) for entry in self.entries],
            [self._other_name(entry) for entry in self.entries],
        )
        for entry, name in zip(self.entries, names, strict=True):
            labels = self._attempt(entry, name)
            if labels is not None:
                yield labels

    def _attempt(self, entry: Entry, name: str) -> Labels | None:
        return attempt(self.found, lambda: self._read(entry, name))

    def _read(self, entry: Entry, name: str) -> Labels:
        numbers: dict[str, int] | None = None
        pictures: dict[int, Path] = {}
        options = self.options
        if entry.sequence is not None:
            path = self.files.find(entry.sequence, entry.line)
            if path is None:
                raise self.files.missing(entry.sequence, entry.line, "the sequence file")
            sequence = read_json(path, SequenceFile, MAX_SEQUENCE_BYTES)
            numbers = _sequence_numbers(path, sequence.frames)
            pictures = self._pictures(entry, path, sequence.prefix, numbers)
            options = self._options(path)
        path = self.files.find(entry.labels, entry.line)
        if path is not None:
            source = Source(path, _place, name, self._class_map(entry), numbers, pictures)
            return to_labels(_read_labels(path), source, options, self.found)
        path, files, frames = self._answers(entry)

        def place(frame: int, box: int | None) -> str:
            where = f"{files[frame]}: trackingAnnotations"
            return where if box is None else f"{where}.boundingBoxes[{box}]"

        source = Source(path, place, name, self._class_map(entry), numbers, pictures)
        return to_labels(frames, source, options, self.found)

    def _options(self, sequence_file: Path) -> ReadOptions:
        """With the size and frame rate that our writer leaves beside the sequence file."""
        info = read_seqinfo(sequence_file.with_suffix(".ini"), self.found)
        return replace(
            self.options,
            size=(info.width, info.height) if info.width else self.options.size,
            frame_rate=info.frame_rate or self.options.frame_rate,
        )

    def _class_map(self, entry: Entry) -> ClassMap | None:
        if not entry.class_map:
            return None
        by_id = {key: self._by_label[label] for key, label in entry.class_map.items()}
        return ClassMap(self.classes, by_id, self._by_name)

    def _pictures(
        self, entry: Entry, path: Path, prefix: str, numbers: Mapping[str, int]
    ) -> dict[int, Path]:
        """The images that are there, by frame number."""
        folder = self.files.find(prefix, entry.line, folder=True) if prefix else None
        listed: dict[str, set[str]] = {}
        pictures: dict[int, Path] = {}
        for name, number in numbers.items():
            parts = inner_parts(name)
            if not parts or len(name) > MAX_NAME:
                text = f"expected the name of an image, found {name[:200]!r}"
                raise UnusableError("reference", path, text, "frames")
            if folder is None:
                continue
            below = "/".join(parts[:-1])
            if below not in listed:
                listed[below] = _names_in(folder / below)
            if parts[-1] in listed[below]:
                pictures[number] = folder / below / parts[-1]
        return pictures

    def _answers(self, entry: Entry) -> tuple[Path, list[str], list[Frame]]:
        """What workers answered on a sequence that was not consolidated: folder, files, frames."""
        missing = self.files.missing(entry.labels, entry.line, "the labels")
        parts = re.fullmatch(
            r"(.*/|)annotations/consolidated-annotation/output/([0-9]+)/SeqLabel\.json",
            entry.labels,
        )
        if parts is None:
            raise missing
        reference = f"{parts[1]}annotations/worker-response"
        responses = self.files.find(reference, entry.line, folder=True)
        rounds = sorted(
            (id_order(name.removeprefix("iteration-")), name)
            for name in (_names_in(responses) if responses else ())
            if name.startswith("iteration-")
        )
        for _, name in reversed(rounds):
            folder = Path(str(responses), name, parts[2])
            answers = _read_answers(folder, self.found)
            if answers:
                return folder, list(answers), list(answers.values())
        raise missing

    def _prefix(self, entry: Entry) -> str:
        # A fault is told of when the sequence's turn comes.
        try:
            path = self.files.find(entry.sequence or "", entry.line)
            return (
                "" if path is None else read_json(path, SequencePrefix, MAX_SEQUENCE_BYTES).prefix
            )
        except UnusableError:
            return ""

    def _other_name(self, entry: Entry) -> str:
        """What to call a sequence whose images' folder does not."""
        if entry.sequence is not None:
            return PurePosixPath(entry.sequence).stem
        given = self.options.name if len(self.entries) == 1 else None
        return given or entry.attribute.removesuffix("-ref")


def _sequence_numbers(path: Path, frames: Sequence[SequenceFrame]) -> dict[str, int]:
    """Frame numbers from 1 by file name: `frame-no` if those are distinct, else the place."""
    named: dict[str, int | None] = {}
    for frame in frames:
        named.setdefault(frame.frame, _whole(frame.frame_no))
    if not named:
        raise UnusableError("layout", path, "expected at least one frame, found none", "frames")
    numbers = [number for number in named.values() if number is not None]
    if len(set(numbers)) == len(named) and max(numbers) - min(numbers) < MAX_FRAMES:
        shift = 1 - min(numbers)
        return {name: number + shift for name, number in zip(named, numbers, strict=True)}
    return {name: number for number, name in enumerate(named, start=1)}


def _whole(number: str | float | None) -> int | None:
    """A number that may be written as text."""
    if isinstance(number, str):
        return int(number) if re.fullmatch(r"-?[0-9]{1,18}", number.strip()) else None
    return int(number) if number is not None and number == int(number) else None


def _names_in(folder: Path) -> set[str]:
    try:
        return {one.name for one in folder.iterdir()}
    except OSError:
        return set()


def _read_answers(folder: Path, found: Found) -> dict[str, Frame]:
    """Frames by the name of the file that has a worker's answer on it."""
    names = sorted(name for name in _names_in(folder) if name.endswith(".json"))
    frames: dict[str, Frame] = {}
    left = MAX_BYTES // 2
    for name in names:
        left -= size_of(folder / name)
        if left < 0:
            text = f"expected answers of at most {MAX_BYTES // 2**21} MiB together, found more"
            raise UnusableError("file", folder, text)
        answer = attempt(found, partial(_read_answer, folder / name))
        if answer is not None:
            boxes = [
                Annotation(
                    box.left,
                    box.top,
                    box.width,
                    box.height,
                    None,
                    box.object_id,
                    box.object_name,
                    box.label,
                    box.label_category_attributes,
                )
                for box in answer.bounding_boxes
            ]
            frames[name] = Frame(answer.frame, boxes, answer.frame_attributes)
    return frames


def _read_answer(path: Path) -> WorkerFrame | None:
    response = read_json(path, WorkerResponse)
    contents = [answer.answer_content for answer in response.answers]
    given = [one.tracking_annotations for one in contents if one and one.tracking_annotations]
    answer = response.tracking_annotations or (given[-1] if given else None)
    if answer is None and not contents:
        raise UnusableError("layout", path, "expected `trackingAnnotations`, found none")
    return answer
