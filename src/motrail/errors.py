"""Every error motrail raises on purpose, in one tree.

Catch `MotrailError` to catch them all. A message says what was expected, what was found and what
to do; the command line prints it as one line and exits with `exit_code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os


class MotrailError(Exception):
    """Base of all errors of this package."""

    exit_code = 1


class ConfigError(MotrailError):
    """A setting is unknown, of the wrong type or out of range; the program was called wrongly."""

    exit_code = 2


class DataError(MotrailError, ValueError):
    """An array has the wrong shape, type or values."""


class FormatError(MotrailError):
    """A file does not hold what its format asks for.

    Args:
        path: The file.
        message: What was expected and what was found.
        line: Line number in the file, counted from 1, where there is one.
        where: Place in a file that has no lines to speak of: a JSON path such as
            `annotations[3].bbox`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        message: str,
        *,
        line: int | None = None,
        where: str | None = None,
    ) -> None:
        place = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{place}: {where}: {message}" if where else f"{place}: {message}")
        self.path = path
        self.line = line
        self.where = where


class ModelError(MotrailError):
    """A model cannot be found, read or understood, or answered with nonsense."""


class VideoError(MotrailError):
    """A video or image cannot be read or written."""


class OutputError(MotrailError):
    """A result cannot be written: no permission, no space, not a folder."""


class MissingExtraError(MotrailError, ImportError):
    """An optional package is needed and not installed.

    Args:
        package: The import that failed.
        extra: The extra of motrail that brings it.
        cause: How it failed. A package that is there and cannot be loaded is another trouble.
    """

    def __init__(self, package: str, extra: str, cause: ImportError | None = None) -> None:
        install = f'run: pip install "motrail[{extra}]"'
        if cause is None or isinstance(cause, ModuleNotFoundError):
            message = f"{package!r} is needed for this and not installed; {install}"
        else:
            message = f"{package!r} is installed and cannot be loaded: {cause}"
        super().__init__(message)
        self.package = package
        self.extra = extra
        self.cause = cause
