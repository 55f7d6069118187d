"""Answers into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def save(path: Path, fetch: Callable[[Callable[[bytes], None]], None]) -> None:
    """Write what is fetched into a file, which appears whole or not at all.

    Args:
        path: The file.
        fetch: Is given what takes the pieces.

    Raises:
        OutputError: It cannot be written.
    """
    with WholeFile(path) as whole:
        with writing(path):
            file = whole.temporary.open("wb")
        with file:

            def take(piece: bytes) -> None:
                with writing(path):
                    file.write(piece)

            fetch(take)
