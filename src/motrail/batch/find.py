"""Which videos an archive holds, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from motrail.errors import ConfigError
from motrail.names import is_image, natural_order, unused_name

if TYPE_CHECKING:
    from collections.abc import Sequence

VIDEO_ENDINGS = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".h264", ".hevc", ".ivf", ".m2ts", ".m4v", ".mjpeg"}
    | {".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogv", ".ts"}
    | {".vob", ".webm", ".wmv", ".wtv", ".y4m"}
)
KEPT = "detections"
"""Folder in the output for what is kept."""
_HINT = (
    "give files, folders, quoted patterns such as 'in/*.mp4', or a .txt with one of them on each "
    "line"
)


@dataclass(frozen=True)
class Video:
    """A video of the archive.

    Attributes:
        name: Of its results: its path below what was given, without the ending.
        path: Where it is.
        fault: Why it cannot be one, where that is known beforehand.
    """

    name: str
    path: Path
    fault: str | None = None


class _Found(NamedTuple):
    """Something that is taken for a video.

    Attributes:
        path: As it was given.
        fault: Why it is none.
    """

    path: Path
    fault: str | None = None


def find_videos(source: str, output: Path) -> list[Video]:
    """The videos that a source stands for, in their natural order.

    Args:
        source: A file; a folder, which is searched with all below for videos, and is one sequence
            itself if it holds images and no video; a pattern such as `in/*.mp4`; or a text file
            (`.txt`) with one of these on each line. In a list, empty lines and those that begin
            with `#` do not count, paths are relative to the list's folder, and an entry that is
            not there becomes a video with a fault.
        output: Folder of the results, which are no footage.

    Raises:
        ConfigError: The source is not there, or holds no video.
    """
    base, found = _Search(output).of(source)
    if not found:
        raise ConfigError(f"{source}: expected videos, found none; {_HINT}")
    unique = list({_absolute(item.path): item for item in found}.values())
    names = _names([_absolute(item.path) for item in unique], base)
    return [Video(name, item.path, item.fault) for name, item in zip(names, unique, strict=True)]


class _Search:
    """Looks for videos anywhere but among the results."""

    def __init__(self, output: Path) -> None:
        places = (_identity(output), _identity(output / KEPT))
        self._not = {place for place in places if place is not None}

    def of(self, source: str) -> tuple[Path, list[_Found]]:
        """What their names are relative to, and the videos of a source."""
        path = Path(source)
        if path.suffix.lower() == ".txt" and path.is_file():
            return self._of_list(path)
        base, found = self._of_one(source)
        if found is None:
            raise ConfigError(f"{source}: no such file or folder; {_HINT}")
        return base, found

    def _of_list(self, path: Path) -> tuple[Path, list[_Found]]:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: expected the paths of videos, one a line: {error}"
            ) from None
        found: list[_Found] = []
        for number, line in enumerate(lines, start=1):
            entry = line.strip()
            if entry and not entry.startswith("#"):
                found += self._of_entry(path, number, entry)
        folder = _absolute(path.parent)
        places = [_absolute(item.path) for item in found]
        if places and not all(place.is_relative_to(folder) for place in places):
            folder = _common([place.parent for place in places])
        return folder, found

    def _of_entry(self, path: Path, number: int, entry: str) -> list[_Found]:
        place = path.parent / Path(entry).expanduser()
        if place.suffix.lower() == ".txt" and place.is_file():
            return [
                _Found(place, f"{path}:{number}: a list in a list is not read; name its videos")
            ]
        found = self._of_one(str(place))[1]
        if found is None:
            return [_Found(place, f"{path}:{number}: {entry}: no such file or folder")]
        return found or [_Found(place, f"{path}:{number}: {entry}: expected videos, found none")]

    def _of_one(self, source: str) -> tuple[Path, list[_Found] | None]:
        path = Path(source)
        if path.is_dir():
            found = self._below(path, set())
            alone = [item.path for item in found] == [path]
            return _absolute(path.parent if alone else path), found
        if os.path.lexists(path):
            return _absolute(path).parent, [_Found(path)]
        if glob.has_magic(source):
            return self._of_pattern(Path(source).expanduser())
        return _absolute(path).parent, None

    def _of_pattern(self, pattern: Path) -> tuple[Path, list[_Found]]:
        parts = _absolute(pattern).parts
        fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
        matches = natural_order(
            Path(match)
            for match in glob.glob(str(pattern), recursive=True)  # noqa: PTH207
        )
        folders = [path for path in matches if path.is_dir()]
        files = [path for path in matches if not path.is_dir() and not is_image(path)]
        known = [path for path in files if path.suffix.lower() in VIDEO_ENDINGS]
        seen: set[tuple[int, int]] = set()
        found = [_Found(path) for path in known or files]
        found += [item for folder in folders for item in self._below(folder, seen)]
        if not found and len(files) + len(folders) < len(matches):
            raise ConfigError(
                f"{pattern}: expected videos, found images; give the folder that holds the images "
                "of a sequence"
            )
        return Path(*parts[:fixed]), found

    def _below(self, folder: Path, seen: set[tuple[int, int]]) -> list[_Found]:
        """The videos in a folder and all below; links may lead back to where we were."""
        try:
            place = _identity(folder)
            if place in seen or (seen and place in self._not):
                return []
            if place is not None:
                seen.add(place)
            entries = natural_order(
                entry for entry in folder.iterdir() if not entry.name.startswith(".")
            )
            if (folder / "img1").is_dir():
                return [_Found(folder)]
        except OSError as error:
            return [_Found(folder, f"{folder}: cannot be searched: {error.strerror or error}")]
        return self._among(folder, entries, seen)

    def _among(
        self, folder: Path, entries: Sequence[Path], seen: set[tuple[int, int]]
    ) -> list[_Found]:
        found: list[_Found] = []
        images = False
        for entry in entries:
            if is_image(entry):
                images = True
            elif entry.is_dir():
                found += self._below(entry, seen)
            elif entry.suffix.lower() in VIDEO_ENDINGS:
                found.append(_Found(entry))
        # A picture beside videos is a cover; a folder of pictures may have more folders of them.
        if images and not any(item.path.suffix.lower() in VIDEO_ENDINGS for item in found):
            return [_Found(folder)]
        return found


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino


def _absolute(path: Path) -> Path:
    # Not resolve(): a link keeps the name the user gave it.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _common(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath(paths))


def _names(paths: Sequence[Path], base: Path) -> list[str]:
    ends = [_end(path, base) for path in paths]
    names = [
        end.with_suffix("") if end.suffix.lower() in VIDEO_ENDINGS or path.is_file() else end
        for path, end in zip(paths, ends, strict=True)
    ]
    count = Counter(names)
    # clip.mp4 beside clip.mov: the ending tells them apart.
    chosen = [end if count[name] > 1 else name for name, end in zip(names, ends, strict=True)]
    taken: set[str] = set()
    return [unused_name(_allowed(name.as_posix()), taken) for name in chosen]


def _end(path: Path, base: Path) -> Path:
    if path.name == "img1" and path != base:
        path = path.parent  # a sequence is called by its folder
    return path.relative_to(base) if path != base and path.is_relative_to(base) else Path(path.name)


def _allowed(name: str) -> str:
    """The name, or another where something else in the output folder needs it."""
    first, slash, rest = name.partition("/")
    if slash and first == KEPT:
        name = f"{KEPT}-2/{rest}"
    return f"{name}-2" if name.rpartition("/")[2] == "labels" else name
