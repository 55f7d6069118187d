"""Write Label Studio's JSON: tasks with their boxes, and the labelling configuration for them.

A box that lies on the line between its neighbours is left to Label Studio to fill in; the rest are
keyframes. The last frame of a span is a keyframe with `enabled: false`, so reading the file again
gives more keyframes than there were, and the same boxes. A keyframe also has `visibility` (where
known), `ignore` (where true) and `attributes` (where there are some), which Label Studio does not
show and keeps.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO
from xml.sax.saxutils import quoteattr

from motrail.errors import FormatError
from motrail.formats.cvat.writer import UNFIT, is_angle
from motrail.formats.keyframes import objects
from motrail.formats.writer import LabelWriter
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from motrail.formats.keyframes import Objects
    from motrail.formats.labels import ClassList, Labels


class LabelStudioWriter(LabelWriter):
    """Writes `tasks.json` and `labeling-config.xml`."""

    format = "label-studio"
    takes_pictures = False

    def __init__(self, folder: Path, classes: ClassList) -> None:
        super().__init__(folder, classes)
        self._rates: set[float] = set()
        self._tasks = 0

    def add(self, labels: Labels) -> Mapping[Path, Path]:
        """Write a sequence. No pictures: Label Studio takes the video.

        Raises:
            FormatError: The size of the frames is not known.
            OutputError: The disk is full, for example.
        """
        if len(labels) and not (labels.width and labels.height):
            raise FormatError(
                labels.name,
                "expected the size of the frames, for Label Studio has boxes in per cent of it, "
                "found none; give it with --size WxH",
            )
        labels = self.classes.take(labels)
        self._rates.add(labels.frame_rate)
        self._note_losses(labels)
        with writing(self._path), self._open() as file:
            file.write("[\n" if not self._tasks else ",\n")
            video = json.dumps(f"{labels.name}.mp4", ensure_ascii=False)
            file.write(f'{{"data": {{"video": {video}}}, "annotations": [{{"result": [')
            comma = "\n"
            for region in _regions(objects(labels)):
                file.write(comma + json.dumps(region, ensure_ascii=False))
                comma = ",\n"
            file.write('], "was_cancelled": false, "ground_truth": false}], "predictions": []}')
        self._tasks += 1
        return {}

    def finish(self) -> None:
        """Close the list of tasks, and write the configuration.

        Raises:
            OutputError: The disk is full, for example.
        """
        with writing(self._path), self._open() as file:
            file.write("\n]\n" if self._tasks else "[]\n")
        path = self.folder / "labeling-config.xml"
        with writing(path):
            path.write_text(self._configuration(), encoding="utf-8", newline="\n")

    @property
    def _path(self) -> Path:
        return self.folder / "tasks.json"

    def _open(self) -> TextIO:
        # A lone surrogate, which neither UTF-8 nor JSON can hold, becomes a question mark.
        return self._path.open("a", encoding="utf-8", errors="replace", newline="\n")

    def _note_losses(self, labels: Labels) -> None:
        for note, count in {
            "boxes without an id, each a region of its own": int((labels.ids < 0).sum()),
            "frames' attributes, for which Label Studio has no place": len(labels.frame_attributes),
        }.items():
            if count:
                self.notes[note] += count

    def _configuration(self) -> str:
        rate = ""
        if len(self._rates) == 1 and (only := min(self._rates)) > 0:
            rate = f' framerate="{only:g}"'
        elif self._tasks:
            self.notes["frame rates not known or not alike: set framerate in labeling-config"] += 1
        names = "".join(
            f"    <Label value={quoteattr(UNFIT.sub('', name))}/>\n" for name in self.classes.names
        )
        return (
            f'<View>\n  <Labels name="label" toName="video">\n{names}  </Labels>\n'
            f'  <Video name="video" value="$video"{rate}/>\n'
            '  <VideoRectangle name="box" toName="video"/>\n</View>\n'
        )


def _regions(objects_: Objects) -> Iterator[dict[str, object]]:
    labels = objects_.labels
    value: dict[str, object] = {"framesCount": labels.length}
    if labels.frame_rate > 0:
        value["duration"] = labels.length / labels.frame_rate
    result = {
        "type": "videorectangle",
        "from_name": "box",
        "to_name": "video",
        "origin": "manual",
        "original_width": labels.width,
        "original_height": labels.height,
    }
    for of in objects_.each():
        rows, needed = labels[of], objects_.needed[of]
        more = _more_labels(rows.attributes.to_list())
        sequence = _sequence(rows[needed], objects_.last[of][needed], shared=bool(more))
        name = labels.classes[int(rows.class_ids[0])]
        region = {"id": str(objects_.numbers[of.start]), **result}
        yield region | {"value": {**value, "sequence": sequence, "labels": [name, *more]}}


def _sequence(rows: Labels, last: NDArray[np.bool_], *, shared: bool) -> list[dict[str, object]]:
    percent = rows.boxes_xywh * 100 / [rows.width, rows.height, rows.width, rows.height]
    columns = zip(
        rows.frames.tolist(),
        percent.tolist(),
        last.tolist(),
        rows.visibility.tolist(),
        rows.ignore.tolist(),
        rows.attributes.to_list(),
        strict=True,
    )
    sequence = []
    for frame, (left, top, width, height), ends, visibility, ignore, attributes in columns:
        own = dict(attributes or {})
        if shared:
            own.pop("labels")
        rotation = own.pop("rotation") if is_angle(own.get("rotation")) else 0
        entry = {
            "frame": frame,
            "x": left,
            "y": top,
            "width": width,
            "height": height,
            "enabled": not ends,
            "rotation": rotation,
        }
        if rows.frame_rate > 0:
            entry["time"] = frame / rows.frame_rate
        if visibility >= 0:
            entry["visibility"] = visibility
        if ignore:
            entry["ignore"] = True
        if own:
            entry["attributes"] = own
        sequence.append(entry)
    return sequence


def _more_labels(attributes: list[Mapping[str, object] | None]) -> list[str]:
    """Labels after the first that all boxes of a region share."""
    more = (attributes[0] or {}).get("labels")
    if not isinstance(more, list) or not more or not all(isinstance(n, str) for n in more):
        return []
    alike = all(own is attributes[0] or (own or {}).get("labels") == more for own in attributes)
    return more if alike else []
