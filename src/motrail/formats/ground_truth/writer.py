"""Write labels as a SageMaker Ground Truth job, ready for an adjustment job after upload.

The layout is that of the SageMaker developer guide: "Create a video frame input manifest file",
"Video frame object tracking output" and "Requirements to create verification and adjustment
labeling jobs". One folder has all of it:

- `frames/<sequence>/000001.jpg` ..., `sequences/<sequence>.json`
- `annotations/consolidated-annotation/output/<n>/SeqLabel.json`
- `manifests/output/output.manifest`, the input of the adjustment job
- `label-categories.json`, and `labels.txt` with the classes' full names
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from motrail.errors import ConfigError, DataError
from motrail.formats.ground_truth.categories import (
    IGNORE,
    VISIBILITY,
    SeenAttributes,
    category_file,
    label_limit_notes,
)
from motrail.formats.ground_truth.names import LABELS_FILE, short_names
from motrail.formats.mot.seqinfo import seqinfo_text
from motrail.formats.writer import LabelWriter
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.formats.labels import ClassList, Labels

MAX_FRAMES_OF_SEQUENCE = 2000
MAX_SEQUENCES_OF_JOB = 10


class GroundTruthWriter(LabelWriter):
    """Writes a pre-labelled Ground Truth job.

    Args:
        folder: Where to write.
        classes: The names so far; it grows by what the sequences bring.
        job: The job's name; the label attribute is this with `-ref`.
        prefix: Where the folder will be in S3, as `s3://bucket/folder`: AWS needs references of
            that kind. Without it they are relative to the folder.
        created: When the labels were made; now if None.

    Raises:
        ConfigError: The job's name or the prefix is none.
    """

    format = "ground-truth"
    needs_pictures = True

    def __init__(
        self,
        folder: Path,
        classes: ClassList,
        *,
        job: str = "motrail",
        prefix: str | None = None,
        created: datetime | None = None,
    ) -> None:
        super().__init__(folder, classes)
        if not re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,57}", job):
            raise ConfigError(
                f"expected a job's name of at most 58 letters, digits and inner hyphens, "
                f"found {job!r}"
            )
        if prefix is not None and not re.fullmatch(r"s3://[^/]+(/.*)?", prefix):
            raise ConfigError(f"expected a prefix such as s3://bucket/folder, found {prefix!r}")
        self.attribute = f"{job}-ref"
        self._job = job
        self._root = f"{prefix.rstrip('/')}/" if prefix else ""
        self._created = (created or datetime.now(UTC)).astimezone(UTC)
        self._sequences: list[str] = []
        self._attributes = SeenAttributes()
        self._frame_attributes = SeenAttributes()

    def add(self, labels: Labels) -> Mapping[Path, Path]:
        """Write a sequence, in parts where it has more than 2,000 frames.

        Returns:
            Where pictures belong and where they are.

        Raises:
            DataError: A box is not of finite numbers.
            OutputError: The disk is full, for example.
        """
        labels = self.classes.take(labels).in_order()
        if not np.isfinite(labels.boxes_xywh).all():
            raise DataError(f"{labels.name}: expected boxes of finite numbers")
        self._note(labels)
        listed = labels.listed_frames()
        rows = _row_texts(labels, short_names(self.classes.names))
        starts = np.searchsorted(labels.frames, listed).tolist()
        ends = np.searchsorted(labels.frames, listed, side="right").tolist()
        digits = max(6, len(str(labels.length)))
        pictures: dict[Path, Path] = {}
        for first in range(0, len(listed), MAX_FRAMES_OF_SEQUENCE):
            part = slice(first, first + MAX_FRAMES_OF_SEQUENCE)
            several = len(listed) > MAX_FRAMES_OF_SEQUENCE
            name = f"{labels.name}-part{first // MAX_FRAMES_OF_SEQUENCE + 1}"
            name = self._free(name if several else labels.name)
            numbers = listed[part]
            files = {number: f"{number:0{digits}}{_suffix(labels, number)}" for number in numbers}
            boxes = (rows[a:b] for a, b in zip(starts[part], ends[part], strict=True))
            self._write_labels(files, boxes, labels.frame_attributes)
            self._write_sequence(name, files, labels)
            folder = self.folder / "frames" / name
            with writing(folder):
                folder.mkdir(parents=True)
            pictures |= {
                folder / files[number]: labels.pictures[number]
                for number in numbers
                if number in labels.pictures
            }
        return pictures

    def finish(self) -> None:
        """Write the manifest, the category file and the classes' names."""
        labels = short_names(self.classes.names)
        label_limit_notes(self.classes.names, labels, self.notes)
        if len(self._sequences) > MAX_SEQUENCES_OF_JOB:
            self.notes[
                f"{len(self._sequences)} sequences are written; a Ground Truth job takes at most "
                f"{MAX_SEQUENCES_OF_JOB}, so deal out the lines of output.manifest"
            ] += 1
        categories = category_file(
            labels, self._attributes, self._frame_attributes, self.attribute, self.notes
        )
        lines = [self._line(index, name, labels) for index, name in enumerate(self._sequences)]
        manifest = self.folder / "manifests" / "output" / "output.manifest"
        with writing(manifest):
            manifest.parent.mkdir(parents=True)
            manifest.write_bytes(b"".join(lines))
        path = self.folder / "label-categories.json"
        with writing(path):
            path.write_bytes(msgspec.json.format(msgspec.json.encode(categories), indent=1))
        path = self.folder / LABELS_FILE
        with writing(path):
            text = "".join(f"{name}\n" for name in self.classes.names)
            path.write_text(text, encoding="utf-8", newline="\n")

    def _line(self, index: int, name: str, labels: Sequence[str]) -> bytes:
        line = {
            "source-ref": f"{self._root}sequences/{name}.json",
            self.attribute: (
                f"{self._root}annotations/consolidated-annotation/output/{index}/SeqLabel.json"
            ),
            f"{self.attribute}-metadata": {
                "class-map": {str(code): label for code, label in enumerate(labels)},
                "job-name": f"labeling-job/{self._job}",
                "human-annotated": "no",
                "creation-date": self._created.strftime("%Y-%m-%dT%H:%M:%S+0000"),
                "type": "groundtruth/video-object-tracking",
            },
        }
        return msgspec.json.encode(line) + b"\n"

    def _free(self, name: str) -> str:
        """A name that no sequence has yet, as a part's might."""
        one, count = name, 1
        while one in self._sequences:
            count += 1
            one = f"{name}-{count}"
        return one

    def _note(self, labels: Labels) -> None:
        """Note what the format cannot carry, and keep the attributes in mind."""
        notes = self.notes
        used = np.unique(labels.attributes.codes[labels.attributes.codes >= 0]).tolist()
        self._attributes.add(labels.attributes.values[code] for code in used)
        self._frame_attributes.add(labels.frame_attributes.values())
        listed = labels.listed_frames()
        if not listed:
            notes[f"sequence {labels.name!r} has no frames and is left out"] += 1
        elif listed[-1] - listed[0] + 1 != labels.length:
            notes["frames before the first picture and after the last are not written"] += 1
        if len(listed) > MAX_FRAMES_OF_SEQUENCE:
            parts = -(-len(listed) // MAX_FRAMES_OF_SEQUENCE)
            notes[f"sequence {labels.name!r} is written in {parts} parts of 2,000 frames"] += 1
        between = int((~labels.keyframe).sum())
        if between:
            notes["boxes filled in between keyframes are written as if set by hand"] += between
        nameless = int((labels.ids == -1).sum())
        if nameless:
            notes["boxes without an id are written as an object each"] += nameless

    def _write_labels(
        self,
        files: Mapping[int, str],
        boxes: Iterator[Sequence[str]],
        attributes: Mapping[int, Mapping[str, object]],
    ) -> None:
        index = len(self._sequences)
        folder = self.folder / "annotations" / "consolidated-annotation" / "output" / str(index)
        path = folder / "SeqLabel.json"
        first = min(files)
        with writing(path):
            folder.mkdir(parents=True)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                before = '{"tracking-annotations":['
                for (number, name), rows in zip(files.items(), boxes, strict=True):
                    said = _json(dict(attributes.get(number, {})))
                    file.write(
                        f'{before}{{"annotations":[{",".join(rows)}],'
                        f'"frame-no":"{number - first}","frame":{_json(name)},'
                        f'"frame-attributes":{said}}}'
                    )
                    before = ","
                file.write("]}")

    def _write_sequence(self, name: str, files: Mapping[int, str], labels: Labels) -> None:
        first = min(files)
        content = {
            "seq-no": len(self._sequences) + 1,
            "prefix": f"{self._root}frames/{name}/",
            "number-of-frames": len(files),
            "frames": [
                {"frame-no": number - first, "frame": file} for number, file in files.items()
            ],
        }
        path = self.folder / "sequences" / f"{name}.json"
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(msgspec.json.encode(content))
            if labels.width and labels.height:  # no part of the format, but our reader looks for it
                part = labels.replace(name=name, length=len(files))
                path.with_suffix(".ini").write_text(seqinfo_text(part), encoding="utf-8")
        self._sequences.append(name)


def _row_texts(labels: Labels, short: Sequence[str]) -> list[str]:
    """Each box as JSON."""
    left, top, width, height = (_number_texts(column) for column in labels.boxes_xywh.T)
    return [
        f'{{"height":{h},"width":{w},"top":{t},"left":{x},"label-category-attributes":{said},{who}}}'
        for h, w, t, x, said, who in zip(
            height,
            width,
            top,
            left,
            _attribute_texts(labels),
            _object_texts(labels, short),
            strict=True,
        )
    ]


def _number_texts(column: NDArray[np.float64]) -> list[str]:
    """Numbers in full, whole ones without a point."""
    if (np.abs(column) < 2**53).all() and (column == np.trunc(column)).all():
        return list(map(str, column.astype(np.int64).tolist()))
    return [_number_text(value) for value in column.tolist()]


def _number_text(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _attribute_texts(labels: Labels) -> Iterator[str]:
    known: dict[tuple[int, float, bool], str] = {}
    values = (*labels.attributes.values, {})
    for row in zip(
        labels.attributes.codes.tolist(),
        labels.visibility.tolist(),
        labels.ignore.tolist(),
        strict=True,
    ):
        text = known.get(row)
        if text is None:
            code, shown, ignore = row
            said = dict(values[code])
            if shown >= 0:
                said[VISIBILITY] = int(shown) if shown.is_integer() else shown
            if ignore:
                said[IGNORE] = "true"
            text = known[row] = _json(said)
        yield text


def _object_texts(labels: Labels, short: Sequence[str]) -> Iterator[str]:
    """For each row the class and the identity of its object."""
    pairs = np.stack([labels.ids, labels.class_ids], axis=1)
    objects, which = np.unique(pairs, axis=0, return_inverse=True)
    which = which.reshape(-1)
    own = _own_source_ids(which, labels)
    texts: list[str | None] = []
    for index, (number, class_id) in enumerate(objects.tolist()):
        whole = f"{labels.name}/{labels.classes[class_id]}/{number}"
        name = f"{short[class_id]}:{number}"
        text = _object_text(class_id, own.get(index) or _uuid(whole), name)
        texts.append(None if number == -1 else text)
    fresh = max(int(labels.ids.max(initial=0)), 0)
    for row, (index, class_id) in enumerate(
        zip(which.tolist(), labels.class_ids.tolist(), strict=True)
    ):
        known = texts[index]
        if known is None:
            fresh += 1
            whole = f"{labels.name}/{labels.classes[class_id]}/box {row}"
            known = _object_text(class_id, _uuid(whole), f"{short[class_id]}:{fresh}")
        yield known


def _own_source_ids(which: NDArray[np.int64], labels: Labels) -> dict[int, str]:
    """Source ids by object, of objects that have one and share it with no other."""
    pairs = np.unique(np.stack([which, labels.source_ids.codes], axis=1), axis=0)
    one_each = np.unique(pairs[:, 0], return_counts=True)[1]
    shared = np.bincount(pairs[:, 1] + 1, minlength=len(labels.source_ids.values) + 1)
    return {
        index: labels.source_ids.values[code]
        for index, code in pairs.tolist()
        if code >= 0 and one_each[index] == 1 and shared[code + 1] == 1
    }


def _object_text(class_id: int, object_id: str, name: str) -> str:
    return f'"class-id":"{class_id}","object-id":{_json(object_id)},"object-name":{_json(name)}'


def _uuid(whole: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"motrail:{whole}"))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _suffix(labels: Labels, number: int) -> str:
    picture = labels.pictures.get(number)
    return picture.suffix.lower() or ".jpg" if picture else ".jpg"
