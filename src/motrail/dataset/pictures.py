"""The pictures of a dataset as sources of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motrail.dataset.folder import open_dataset
from motrail.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.video.source import Source


def picture_sources(path: Path) -> Iterator[tuple[Source, list[int]]]:
    """Each sequence of a dataset, or of one of its splits, with the numbers of its frames.

    Args:
        path: The dataset's folder, or that of a split.

    Yields:
        A source, named like the sequence, and for each of its frames the number in the sequence.

    Raises:
        FormatError: Labels cannot be read, or a sequence has no pictures.
        VideoError: A picture cannot be read.
    """
    from motrail.video.images import ImageSource
    from motrail.video.source import Selection

    for split, labels in open_dataset(path).labels():
        numbers = sorted(labels.pictures)
        if not numbers:
            raise FormatError(
                path,
                f"{split}/{labels.name}: expected pictures in img1, found none; import the labels "
                "with --video",
            )
        source = ImageSource(
            [labels.pictures[number] for number in numbers],
            name=labels.name,
            where=f"{path}: {labels.name}",
            frame_rate=labels.frame_rate,
            selection=Selection(),
        )
        yield source, numbers
