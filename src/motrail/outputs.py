"""Results appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Self

from motrail.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder with -o",
    errno.EDQUOT: "the disk quota is used up; choose another folder with -o",
    errno.EFBIG: "the file grew past the size this system allows",
    errno.EACCES: "no permission to write there; choose another folder with -o",
    errno.EPERM: "no permission to write there; choose another folder with -o",
    errno.EROFS: "the disk is read-only; choose another folder with -o",
    errno.ENOENT: "its folder is not there and cannot be made; choose another folder with -o",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "there is a file of that name where a folder is needed",
    errno.ENOTEMPTY: "something has come into this folder meanwhile; choose another one with -o",
    errno.EISDIR: "there is a folder of that name where a file is needed",
}


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """The error to show for a failed write of `path`."""
    reason = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"{os.fspath(path)}: cannot be written: {reason}")


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an `OSError` inside the block into an `OutputError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def output_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder `path` if need be and see that files can be made in it.

    Raises:
        OutputError: It cannot be made or written to. Better now than after an hour's work.
    """
    folder = Path(path)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


class WholeOutput(ABC):
    """Something written that appears when it is finished, or not at all.

    As a context manager it commits at a normal end and discards when an exception passes through.
    """

    @abstractmethod
    def finish(self) -> None:
        """Write what is still to be written, under another name. Whatever can fail, fails here."""

    @abstractmethod
    def commit(self) -> None:
        """Finish if need be, and let it appear under its name."""

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing behind. Never raises; harmless after `commit`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        finished = False
        try:
            if kind is None:
                self.commit()
                finished = True
        finally:
            if not finished:
                self.discard()


class WholeFile(WholeOutput):
    """A file: write to `temporary`, which `commit` moves to `path`, replacing what was there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # Short, because the name itself may be as long as the disk allows.
        self.temporary = self.path.with_name(f".{secrets.token_hex(8)}")

    def finish(self) -> None:
        """Nothing is left to be written."""

    def commit(self) -> None:
        """Give the finished file its name.

        Raises:
            OutputError: It cannot be renamed.
        """
        with writing(self.path):
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Remove what was written so far."""
        with contextlib.suppress(OSError):
            self.temporary.unlink()


class WholeText(WholeOutput):
    """A file of ASCII text that is written piece by piece, and takes its name at the end.

    Args:
        path: The file.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._whole = WholeFile(path)
        self.path = self._whole.path
        with writing(self.path):
            self._file = self._whole.temporary.open("w", encoding="ascii", newline="\n")

    def add(self, text: str) -> None:
        """Write the next piece.

        Raises:
            OutputError: The disk is full.
        """
        with writing(self.path):
            self._file.write(text)

    def finish(self) -> None:
        """Write what is still in memory.

        Raises:
            OutputError: The disk is full.
        """
        with writing(self.path):
            self._file.close()

    def commit(self) -> None:
        """Give the file its name."""
        self.finish()
        self._whole.commit()

    def discard(self) -> None:
        """Leave nothing behind."""
        try:
            self._file.close()
        except OSError:
            pass  # what could not be flushed is thrown away all the same
        finally:
            self._whole.discard()


class WholeFolder(WholeOutput):
    """A folder: fill `temporary`, which `commit` moves to `path`.

    Args:
        path: The folder to be; it must not hold anything yet.

    Raises:
        OutputError: It holds something already, or cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with writing(self.path):
            if self.path.is_dir() and any(self.path.iterdir()):
                raise OutputError(
                    f"{self.path}: there is something in this folder already; remove it or choose "
                    "another one with -o"
                )
            if self.path.exists() and not self.path.is_dir():
                raise OutputError(f"{self.path}: is a file; choose another name with -o")
            # The real path, so that a link to an empty folder elsewhere keeps its meaning.
            place = self.path.resolve()
            place.parent.mkdir(parents=True, exist_ok=True)
            self.temporary = place.with_name(f".{secrets.token_hex(8)}")
            self.temporary.mkdir()
        self._place = place

    def finish(self) -> None:
        """Nothing is left to be written."""

    def commit(self) -> None:
        """Give the finished folder its name.

        Raises:
            OutputError: It cannot be renamed; something may have come into its place.
        """
        with writing(self.path):
            if self._place.is_dir():
                self._place.rmdir()
            self.temporary.rename(self._place)

    def discard(self) -> None:
        """Remove what was written so far."""
        shutil.rmtree(self.temporary, ignore_errors=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit or discard; errors name the place as it was to be, not the hidden one."""
        super().__exit__(kind, error, trace)
        hidden = str(self.temporary)
        if isinstance(error, OutputError) and hidden in str(error):
            raise OutputError(str(error).replace(hidden, str(self.path))) from error
