"""What writing has in common for every format of labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from motrail.formats.labels import ClassList, Labels


class LabelWriter(ABC):
    """Writes labels in one format into a folder, sequence by sequence.

    The folder is there, empty, and the writer's alone; who made it gives it its name after
    `finish`, or throws it away.

    Args:
        folder: Where to write.
        classes: The names so far; it grows by what the sequences bring.

    Attributes:
        takes_pictures: Whether pictures belong to what is written.
        needs_pictures: Whether it is of no use without them.
        notes: What the format could not carry or had to change, a sentence each, with how often.
    """

    takes_pictures: ClassVar[bool] = True
    needs_pictures: ClassVar[bool] = False

    def __init__(self, folder: Path, classes: ClassList) -> None:
        self.folder = folder
        self.classes = classes
        self.notes: Counter[str] = Counter()

    @abstractmethod
    def add(self, labels: Labels) -> Mapping[Path, Path]:
        """Write a sequence, whose name is no other's and fit for a folder.

        Returns:
            Where pictures belong and where they are: new path → `labels.pictures`' path. Their
            folders are made already; to bring them there is up to the caller.

        Raises:
            OutputError: The disk is full, for example.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write what can only be written at the end.

        Raises:
            OutputError: The disk is full, for example.
        """
