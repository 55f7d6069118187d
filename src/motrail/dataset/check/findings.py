"""What `check` finds: counts of everything, examples of each kind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.formats.faults import Fault

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from motrail.errors import FormatError
    from motrail.formats.faults import Place

MAX_EXAMPLES = 10
"""Findings of a kind that are shown; the others are counted."""
_EXAMPLES_EACH = 3

FAULTS = {
    "labels.txt": "the names of the classes are missing, unreadable or not those of the record: "
    "nobody can tell what the numbers in gt.txt mean",
    "empty-split": "splits without a sequence: nothing can be trained or measured on them; "
    "remove the folder or run `motrail dataset split` again",
    "leak": "sequences that stand in two splits: what is measured on one was learned by heart "
    "from the other; remove one of the two",
    "no-record": "annotations/<split>.json is missing: training reads nothing else",
    "not-in-record": "sequences that the record does not know: training does not see them; "
    "import them, or remove the folder",
    "no-folder": "sequences of the record that have no folder: other tools do not see them",
    "no-gt": "sequences without gt/gt.txt: other tools take them for unlabelled",
    "no-seqinfo": "sequences without seqinfo.ini: other tools cannot read them",
    "projection": "the record and the MOT files say different things: whoever reads the other "
    "file gets other labels; decide which is right, delete the wrong file and run with --fix",
    "duplicate": "things that stand there twice: only the first is read; delete the wrong one",
    "two-classes": "objects that change their class: an id belongs to one object of one class; "
    "give the second its own id",
    "size": "boxes without width or height: nothing can be learned from them; delete them or "
    "draw them again",
    "number": "numbers that are missing, not finite or out of range: what has them is left out",
    "frame": "labels on frames that the sequence does not have: they are left out; correct the "
    "frame number, or the length of the sequence",
    "visibility": "visibilities that are no share: expected 0 to 1, or -1 for unknown",
    "class": "classes without a name: such labels are left out; add the name to labels.txt",
    "image": "labels of images that the file does not list: they are left out",
    "image-size": "images of another size than told: boxes do not fit onto them; scale them "
    "back, or put them in a sequence of their own",
    "size-unknown": "labels in per cent of a frame whose size nobody knows: give it with --size",
    "seqinfo": "lines of seqinfo.ini that say nothing usable",
    "seq-length": "sequences whose seqLength is not the number of their images: frames are "
    "looked for that do not exist, or left out",
    "image-extension": "sequences whose imExt is not how their images end: other tools do not "
    "find the images",
    "missing-picture": "labelled frames without an image: their labels cannot be learned from; "
    "copy the images again",
    "picture-gap": "gaps in the numbers of images: what follows may belong to other frames than "
    "its labels; copy the images again or renumber images and labels",
    "picture-beyond": "images beyond the end of the sequence: wrong numbers, or a wrong seqLength",
    "picture-number": "images that share a frame number: which one belongs to the labels is not "
    "known; remove one",
    "picture-not-listed": "images that the record does not list: training does not see them; "
    "name them as the record does, or import the sequence again",
    "broken-picture": "images that cannot be decoded: training stops at them; copy them again",
    "json": "JSON that is broken or cut off: write or fetch the file again",
    "layout": "entries that are not laid out as the format asks: they are left out",
    "file": "files that cannot be read",
    "unreadable": "files that could not be read to the end: nothing after that place was checked",
}
"""Kinds of faults, most far-reaching first, and what each means."""

HINTS = {
    "small-boxes": "boxes that are tiny at the training size (shorter side under 8 px): a "
    "detector hardly learns them; train at a larger size, or ignore them",
    "few-labels": "classes with few labels (under 10 objects or 50 boxes): label more of them, "
    "or remove the class",
    "class-names": "class names that differ only by case, spaces or hyphens: one class, probably; "
    "merge them when importing",
    "id-jump": "objects that move by more than their own size from one frame to the next: two "
    "objects may have swapped ids",
    "unlabelled-frames": "frames without labels between labelled ones: right where nothing is "
    "to be seen, else they teach the detector to miss things",
    "unknown-ids": "boxes without identity (id -1): good for detection, useless for tracking",
    "one-frame-tracks": "objects that are there in one frame only: nothing can be tracked",
    "one-object": "sequences with a single object: they say nothing about confusing objects",
    "mostly-outside": "boxes of which more than half is outside the image: clip or ignore them",
    "larger-than-image": "boxes that are wider or higher than the image",
    "mostly-ignored": "sequences in which more than 80 % of the boxes are ignored: there is "
    "little left to learn",
    "changing-shape": "classes whose objects change their shape, as people who run or dance do: "
    "the tracker `steady` by default keeps boxes of other heights apart; use --height-weight 1, "
    "or 0",
    "near-duplicates": "images that are nearly the same as the one before: they cost time and "
    "teach nothing; the video was probably stretched, so take every Nth frame",
    "no-pictures": "sequences without images: training and preview need them; statistics and "
    "evaluation do not",
    "same-name": "sequences of one name in two splits: right where a recording was cut along "
    "time, else one of them is doubled",
    "few-sequences": "few sequences to split: training and validation would each get one or "
    "none; use `motrail dataset split --by time`",
}
"""Kinds of hints and what each means."""

_OTHER = "something is not as its format asks"


@dataclass(frozen=True, slots=True)
class Example:
    """One finding.

    Attributes:
        file: The file or folder, or the sequence in it.
        place: Line number from 1, a JSON path, a frame (`frame 7`), or None.
        message: What was expected and found, or the figures that led to a hint.
    """

    file: str
    place: Place
    message: str


@dataclass
class Group:
    """All findings of a kind.

    Attributes:
        kind: One of `FAULTS` or `HINTS`, or another kind that a reader knows.
        level: `fault` or `hint`.
        title: What it means and what to do, in a sentence.
        count: How many there were.
        fixed: How many of them were mended.
        examples: The first of them; where some were mended, of those that are left, if any.
    """

    kind: str
    level: str
    title: str
    count: int = 0
    fixed: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass
class Report:
    """What `check` found.

    Attributes:
        path: What was checked.
        sequences: How many there were.
        frames: Their lengths together.
        boxes: How many labels without fault there were.
        groups: Faults first, then hints.
        mended: What was done to which file, a sentence each.
    """

    path: str
    sequences: int = 0
    frames: int = 0
    boxes: int = 0
    groups: list[Group] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many faults are left."""
        return sum(g.count - g.fixed for g in self.groups if g.level == "fault")

    @property
    def hints(self) -> int:
        """How many hints there are."""
        return sum(g.count for g in self.groups if g.level == "hint")

    @property
    def fixed(self) -> int:
        """How many faults were mended."""
        return sum(g.fixed for g in self.groups)

    def group(self, kind: str) -> Group | None:
        """The findings of a kind; None where there are none."""
        return next((g for g in self.groups if g.kind == kind), None)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"faults": self.faults, "hints": self.hints, "fixed": self.fixed}


class Findings:
    """Collects findings in bounded memory."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def note(
        self,
        kind: str,
        file: str | os.PathLike[str],
        message: str,
        place: Place = None,
        count: int = 1,
    ) -> None:
        """Take `count` findings into account, shown as one."""
        group = self._group(kind)
        group.count += count
        if len(group.examples) < MAX_EXAMPLES:
            group.examples.append(Example(str(file), place, message))

    def note_each(
        self,
        kind: str,
        file: str | os.PathLike[str],
        rows: Iterable[int],
        say: Callable[[int], tuple[Place, str]],
    ) -> None:
        """Take a finding for each row of a sequence into account.

        `say` gives place and message of one; the first three are shown, to leave room for other
        sequences.
        """
        every = list(rows)
        for row in every[:_EXAMPLES_EACH]:
            place, message = say(row)
            self.note(kind, file, message, place)
        if len(every) > _EXAMPLES_EACH:
            self._group(kind).count += len(every) - _EXAMPLES_EACH

    def found(self, fault: Fault) -> None:
        """Take a reader's fault into account."""
        self.note(fault.kind, fault.path, fault.message, fault.place)

    def error(self, error: FormatError, kind: str = "unreadable") -> None:
        """Take an error that ended the reading of a file into account."""
        place = error.where if error.line is None else error.line
        head = str(Fault("", error.path, "", place).error())
        self.note(kind, error.path, str(error).removeprefix(head), place)

    def add_fixed(self, fixed: Mapping[str, int], before: list[Group]) -> None:
        """Take into account what was mended before these findings were made.

        Args:
            fixed: How many findings of each kind were mended.
            before: What was found before; examples come from there where nothing is left.
        """
        was = {group.kind: group for group in before}
        for kind, count in fixed.items():
            group = self._group(kind)
            group.count += count
            group.fixed = count
            if not group.examples and kind in was:
                group.examples = was[kind].examples

    def groups(self) -> list[Group]:
        """Faults first, then hints, each in the order of the tables above."""
        order = {kind: rank for rank, kind in enumerate([*FAULTS, *HINTS])}
        some = [group for group in self._groups.values() if group.count]
        return sorted(
            some, key=lambda g: (g.level == "hint", order.get(g.kind, len(FAULTS)), g.kind)
        )

    def _group(self, kind: str) -> Group:
        if kind not in self._groups:
            level = "hint" if kind in HINTS else "fault"
            title = HINTS.get(kind) or FAULTS.get(kind, _OTHER)
            self._groups[kind] = Group(kind, level, title)
        return self._groups[kind]


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `3 boxes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun[-1] == 'x' else 's'}"


def runs(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last numbers of the runs of neighbours in ascending numbers."""
    if not len(numbers):
        return numbers, numbers
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    return numbers[np.append(0, breaks + 1)], numbers[np.append(breaks, len(numbers) - 1)]


def show_runs(firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> str:
    """Runs of numbers as `3, 7-9`, the first five of them."""
    texts = [
        f"{first}-{last}" if last > first else str(first)
        for first, last in zip(firsts[:5].tolist(), lasts[:5].tolist(), strict=True)
    ]
    return ", ".join(texts) + (" …" if len(firsts) > 5 else "")
