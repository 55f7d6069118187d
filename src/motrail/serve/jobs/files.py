"""Where the files of jobs lie: a folder for each, beside the records and the queue.

`<id>/source` is an upload or what was fetched, `<id>/work-<attempt>/` what is being made, and
`<id>/result/` is there when all of it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

LOCK, SOURCE, RESULT = "lock", "source", "result"
_ID = re.compile(r"[0-9a-f]{32}")


def is_id(text: str) -> bool:
    """Whether this could be the id of a job; nothing else becomes a part of a path."""
    return _ID.fullmatch(text) is not None


def clear(folder: Path, kept: Container[str]) -> None:
    """Remove what lies in a folder, but for what is to be kept. Never raises."""
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Have the system write a file, or a folder with its files, to the disk itself.

    What is told to be there should be there after a power cut, too.

    Raises:
        OSError: It cannot be written.
    """
    if path.is_dir():
        for each in path.iterdir():
            settle(each)
        if not hasattr(os, "O_DIRECTORY"):
            return
        descriptor = os.open(path, os.O_RDONLY)
    else:
        descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Files:
    """The folder of all jobs.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, id_: str) -> Path:
        """Of a job."""
        return self.root / id_

    def make(self, id_: str) -> Path:
        """Make the folder of a job."""
        folder = self.folder(id_)
        folder.mkdir(mode=0o700)
        return folder

    def source(self, id_: str) -> Path:
        """The video, where it was uploaded or fetched."""
        return self.folder(id_) / SOURCE

    def work(self, id_: str, attempt: int) -> Path:
        """What an attempt makes."""
        return self.folder(id_) / f"work-{attempt}"

    def result(self, id_: str) -> Path:
        """What was made."""
        return self.folder(id_) / RESULT

    def remove(self, id_: str) -> None:
        """Remove all that belongs to a job."""
        shutil.rmtree(self.folder(id_), ignore_errors=True)

    def tidy(self, id_: str) -> None:
        """Remove what nobody needs when a job has ended."""
        clear(self.folder(id_), (LOCK, RESULT))

    def remove_others(self, kept: Container[str]) -> None:
        """Remove folders of jobs that are not known, such as uploads that were broken off."""
        for folder in self.root.iterdir():
            if folder.is_dir() and is_id(folder.name) and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
