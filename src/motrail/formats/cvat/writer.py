"""Write CVAT for video 1.1: an XML file for each sequence, to be imported into a task of its video.

CVAT's importer (`load_anno` in cvat/apps/dataset_manager/formats/cvat.py, github.com/cvat-ai/cvat)
takes keyframes only and fills in between itself. So boxes that it could not fill in are written as
keyframes, and those that were none carry `filled="1"`, which CVAT passes over and `read_cvat`
knows. It takes the labels and attributes that the task knows; they are listed in the meta part.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeGuard
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from motrail.formats.keyframes import objects
from motrail.formats.writer import LabelWriter
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from motrail.formats.keyframes import Objects
    from motrail.formats.labels import Labels

# https://www.w3.org/TR/xml/#charsets
UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""
_TRACK_SOURCES = frozenset({"auto", "semi-auto", "file", "consensus", "Ground truth"})


class CvatWriter(LabelWriter):
    """Writes `<sequence>.xml` files."""

    format = "cvat"
    takes_pictures = False

    def add(self, labels: Labels) -> Mapping[Path, Path]:
        """Write a sequence. No pictures: CVAT takes the video.

        Raises:
            OutputError: The disk is full, for example.
        """
        labels = self.classes.take(labels)
        self._note_losses(labels)
        path = self.folder / f"{labels.name}.xml"
        with writing(path), path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(self._head(labels))
            file.writelines(self._tracks(objects(labels), labels.length))
            file.write("</annotations>\n")
        return {}

    def finish(self) -> None:
        """Nothing is left to be written."""

    def _note_losses(self, labels: Labels) -> None:
        for note, count in {
            "boxes without an id, each a track of its own": int((labels.ids < 0).sum()),
            "frame rates, for which CVAT has no place": int(labels.frame_rate > 0),
            "frames' attributes, for which CVAT has no place": len(labels.frame_attributes),
            "boxes whose identity in the source is another than their id": _renamed(labels),
        }.items():
            if count:
                self.notes[note] += count

    def _head(self, labels: Labels) -> str:
        size = ""
        if labels.width and labels.height:
            size = (
                f"<original_size><width>{labels.width}</width>"
                f"<height>{labels.height}</height></original_size>"
            )
        attributes = "".join(_declaration(*spec) for spec in self._declared(labels))
        listed = "".join(
            f"<label><name>{self._text(name)}</name><attributes>{attributes}</attributes></label>\n"
            for name in labels.classes
        )
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta><task>\n<name>{self._text(labels.name)}</name><size>{labels.length}</size>"
            "<mode>interpolation</mode><start_frame>0</start_frame>"
            f"<stop_frame>{max(labels.length - 1, 0)}</stop_frame>"
            f"<frame_filter></frame_filter>\n<labels>\n{listed}</labels>\n{size}\n"
            "</task></meta>\n"
        )

    def _declared(self, labels: Labels) -> Iterator[tuple[str, str, str]]:
        """Name, kind and usual value of the attributes that boxes will have."""
        if (labels.visibility >= 0).any():
            yield "visibility", "text", ""
        if labels.ignore.any():
            yield "ignore", "checkbox", "false"
        codes = np.unique(labels.attributes.codes)
        values = (labels.attributes.values[code] for code in codes[codes >= 0].tolist())
        own = (name for value in values for name in _split(value)[1])
        for name in dict.fromkeys(own):
            if name not in ("visibility", "ignore"):
                yield self._text(name), "text", ""

    def _tracks(self, objects_: Objects, length: int) -> Iterator[str]:
        for rows in objects_.each():
            yield self._track(objects_, rows, length)

    def _track(self, objects_: Objects, rows: slice, length: int) -> str:
        labels = objects_.labels[rows]
        attributes = labels.attributes.to_list()
        shared = _shared(attributes)
        told = "".join(f" {key}={quoteattr(value)}" for key, value in shared.items())
        name = quoteattr(self._fit(labels.classes[int(labels.class_ids[0])]))
        parts = [f'<track id="{objects_.numbers[rows.start]}" label={name}{told}>\n']
        columns = zip(
            (labels.frames - 1).tolist(),
            labels.boxes_xywh.tolist(),
            labels.visibility.tolist(),
            labels.ignore.tolist(),
            labels.keyframe.tolist(),
            objects_.needed[rows].tolist(),
            objects_.last[rows].tolist(),
            attributes,
            strict=True,
        )
        for frame, box, visibility, ignore, keyframe, needed, last, own in columns:
            own_flags, texts = _split(own or {}, shared)
            sides = (
                f'xtl="{_plain(box[0])}" ytl="{_plain(box[1])}" '
                f'xbr="{_plain(box[0] + box[2])}" ybr="{_plain(box[1] + box[3])}"{own_flags}'
            )
            filled = "" if keyframe or not needed else ' filled="1"'
            inside = self._attributes(visibility, texts, ignore=ignore)
            parts.append(
                f'<box frame="{frame}" keyframe="{int(needed)}" outside="0" {sides}{filled}>'
                f"{inside}</box>\n"
            )
            if last and frame + 1 < length:
                parts.append(
                    f'<box frame="{frame + 1}" keyframe="1" outside="1" {sides}>{inside}</box>\n'
                )
        parts.append("</track>\n")
        return "".join(parts)

    def _attributes(self, visibility: float, own: Mapping[str, object], *, ignore: bool) -> str:
        texts = {name: self._value(value) for name, value in own.items()}
        for name, known in (("visibility", visibility >= 0), ("ignore", ignore)):
            if known and texts.pop(name, None) is not None:
                self.notes[f"attributes called {name}, which has a column: left out"] += 1
        if visibility >= 0:
            texts["visibility"] = _plain(visibility)
        if ignore:
            texts["ignore"] = "true"
        return "".join(
            f"<attribute name={quoteattr(self._fit(name))}>{self._text(text)}</attribute>"
            for name, text in texts.items()
        )

    def _value(self, value: object) -> str:
        if isinstance(value, str):
            return value
        self.notes["attributes that are not text, written as JSON"] += 1
        return json.dumps(value, ensure_ascii=False, sort_keys=True)

    def _text(self, text: str) -> str:
        return escape(self._fit(text), {"\r": "&#13;"})

    def _fit(self, text: str) -> str:
        fit, dropped = UNFIT.subn("", text)
        if dropped:
            self.notes["characters that XML cannot hold, left out"] += dropped
        return fit


def _renamed(labels: Labels) -> int:
    ids, codes = np.unique(
        np.stack([labels.ids, labels.source_ids.codes]), axis=1, return_counts=True
    )
    values = labels.source_ids.values
    pairs = zip(ids[0].tolist(), ids[1].tolist(), codes.tolist(), strict=True)
    return sum(n for id_, code, n in pairs if code >= 0 and values[code] != str(id_))


def _shared(attributes: list[Mapping[str, object] | None]) -> dict[str, str]:
    """What all boxes of a track say alike and CVAT keeps with the track."""
    first = attributes[0] or {}
    shared = {}
    source, group = first.get("source"), first.get("group_id")
    if isinstance(source, str) and source in _TRACK_SOURCES:
        shared["source"] = source
    if _is_whole(group) and group > 0:
        shared["group_id"] = str(group)
    return {
        key: text
        for key, text in shared.items()
        if all(own is first or (own or {}).get(key) == first[key] for own in attributes)
    }


def _split(
    attributes: Mapping[str, object], shared: Mapping[str, str] | None = None
) -> tuple[str, dict[str, object]]:
    """What CVAT has a place for in a box, as XML, and the rest."""
    flags: dict[str, object] = {"occluded": 0, "z_order": 0}
    rest = {}
    for name, value in attributes.items():
        if name in (shared or {}):
            continue
        if name == "occluded" and value is True:
            flags[name] = 1
        elif (name == "z_order" and _is_whole(value)) or (name == "rotation" and is_angle(value)):
            flags[name] = value
        else:
            rest[name] = value
    return "".join(f' {name}="{value}"' for name, value in flags.items()), rest


def _is_whole(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < abs(value) <= 10**9


def is_angle(value: object) -> bool:
    """Whether it is a turn of a box, in degrees."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < abs(value) <= 1e9


def _plain(number: float) -> str:
    """A number in full, without a fraction where it has none."""
    return str(int(number)) if number.is_integer() else repr(number)


def _declaration(name: str, kind: str, default: str) -> str:
    return (
        f"<attribute><name>{name}</name><mutable>True</mutable><input_type>{kind}</input_type>"
        f"<default_value>{default}</default_value><values>{default}</values></attribute>"
    )
