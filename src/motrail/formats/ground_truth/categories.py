"""The label category configuration file of a Ground Truth job.

Its schema and quotas are those of the SageMaker developer guide, "Labeling category configuration
file with label category and frame attributes reference".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from motrail.formats.ground_truth.names import MAX_LABEL

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping, Sequence

MAX_ATTRIBUTES = 10
MAX_FREE_TEXTS = 5
MAX_CHOICES = 10
MAX_TEXT = 16
"""Characters of an attribute's name, and of a choice."""

VISIBILITY = "ratio_vis"
IGNORE = "ignore"

_OWN: tuple[dict[str, object], ...] = (
    {
        "name": VISIBILITY,
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "Visible part of the object, 0 to 1",
        "editsAllowed": "any",
    },
    {
        "name": IGNORE,
        "type": "string",
        "enum": ["true", "false"],
        "description": "true: neither right nor wrong to find",
        "editsAllowed": "any",
    },
)


class _Values:
    """The values that were seen of one attribute, as far as its declaration needs them."""

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.texts: dict[str, None] = {}
        self.others = False

    def add(self, value: object) -> None:
        if isinstance(value, str):
            if len(self.texts) <= MAX_CHOICES:
                self.texts[value] = None
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self.low, self.high = min(self.low, value), max(self.high, value)
        else:
            self.others = True

    def declaration(self) -> dict[str, object] | str:
        """Type and limits; or, as text, why there are none."""
        if self.others or (self.texts and self.low <= self.high):
            return "its values are neither all texts nor all numbers"
        if not self.texts:
            return {
                "type": "number",
                "minimum": math.floor(self.low),
                "maximum": math.ceil(self.high),
            }
        choices = [text for text in self.texts if 1 <= len(text) <= MAX_TEXT]
        few = len(choices) == len(self.texts) <= MAX_CHOICES
        return {"type": "string", "enum": choices} if few else {"type": "string"}


class SeenAttributes:
    """The attributes that labels have, to be declared in the category file."""

    def __init__(self) -> None:
        self._values: dict[str, _Values] = {}

    def add(self, every: Iterable[Mapping[str, object]]) -> None:
        """Take note of attributes with their values."""
        for attributes in every:
            for name, value in attributes.items():
                self._values.setdefault(name, _Values()).add(value)

    def declare(
        self, own: Sequence[Mapping[str, object]], notes: Counter[str]
    ) -> list[Mapping[str, object]]:
        """Declarations, first `own`; what the format does not allow for is noted."""
        declared = list(own)
        free = MAX_FREE_TEXTS
        names = {one["name"] for one in own}
        for name, values in self._values.items():
            if name in names:
                continue
            kind = values.declaration()
            if not 1 <= len(name) <= MAX_TEXT:
                kind = f"its name has not 1 to {MAX_TEXT} characters"
            elif len(declared) >= MAX_ATTRIBUTES:
                kind = f"a job takes at most {MAX_ATTRIBUTES}"
            elif not isinstance(kind, str) and kind == {"type": "string"}:
                free -= 1
                kind = kind if free >= 0 else f"a job takes at most {MAX_FREE_TEXTS} free texts"
            if isinstance(kind, str):
                notes[f"attribute {name!r} is not declared to the labellers: {kind}"] += 1
                continue
            declared.append({"name": name, **kind, "description": name, "editsAllowed": "any"})
        return declared


def category_file(
    labels: Sequence[str],
    attributes: SeenAttributes,
    frame_attributes: SeenAttributes,
    audit: str,
    notes: Counter[str],
) -> dict[str, object]:
    """The content of the file for an adjustment job.

    Args:
        labels: Of the classes, at most 16 characters each.
        attributes: Of boxes.
        frame_attributes: Of frames.
        audit: The label attribute that is to be adjusted.
        notes: Grows by what could not be declared.
    """
    return {
        "documentVersion": "2020-03-01",
        "annotationType": "BoundingBox",
        "labels": [{"label": label, "editsAllowed": "any"} for label in labels],
        "categoryGlobalAttributes": attributes.declare(_OWN, notes),
        "frameAttributes": frame_attributes.declare((), notes),
        "instructions": {
            "shortInstruction": "Adjust the boxes; one object keeps one name in all frames.",
            "fullInstruction": (
                "<p>Draw each box tightly around the whole object. An object that leaves and comes "
                "back keeps its name. Delete boxes of nothing, add what is missing.</p>"
            ),
        },
        "auditLabelAttributeName": audit,
    }


def label_limit_notes(names: Sequence[str], labels: Sequence[str], notes: Counter[str]) -> None:
    """Note what Ground Truth's quotas for labels have changed or forbid."""
    for name, label in zip(names, labels, strict=True):
        if name != label:
            notes[
                f"class {name!r} is written as {label!r}: labels have {MAX_LABEL} characters"
            ] += 1
    if len(labels) > 30:
        notes[f"{len(labels)} classes are written; a Ground Truth job takes at most 30"] += 1
