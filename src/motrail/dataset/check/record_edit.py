"""Small changes to a COCO file that leave every other character as it is."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, NamedTuple

from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_BYTES = 1 << 27
"""Larger files are not changed: they would have to be held in memory."""
_BLANK = re.compile(r"[ \t\n\r]*")
_LENGTH = re.compile(r'("length"\s*:\s*)[0-9]+(?=\s*[,}])')


class _Element(NamedTuple):
    """An element of a top-level list, and where it and the one before it end in the text."""

    key: str
    value: dict[str, object]
    before: int
    start: int
    end: int


def remove_doubled(path: Path) -> int:
    """Remove annotations with a track id that are the same as one before in all but their id.

    Returns:
        How many; 0 where the file cannot be changed.

    Raises:
        OutputError: The file cannot be written.
    """
    text = _read(path)
    seen: set[bytes] = set()
    kept, at, count = [], 0, 0
    try:
        for element in _elements(text):
            if element.key != "annotations" or element.value.get("track_id") in (None, -1):
                continue
            rest = {key: value for key, value in element.value.items() if key != "id"}
            print_ = hashlib.blake2b(json.dumps(rest, sort_keys=True).encode()).digest()[:16]
            if print_ in seen:
                kept.append(text[at : element.before])
                at, count = element.end, count + 1
            seen.add(print_)
    except (ValueError, RecursionError):
        return 0
    if count:
        _write(path, "".join([*kept, text[at:]]))
    return count


def set_lengths(path: Path, lengths: Mapping[str, int]) -> set[str]:
    """Set the length of videos to the number of images.

    Args:
        path: The file.
        lengths: By name of the video.

    Returns:
        The videos that have that length now, or say none; without those that list images beyond it.

    Raises:
        OutputError: The file cannot be written.
    """
    text = _read(path)
    last: dict[object, int] = {}
    videos = []
    try:
        for element in _elements(text):
            if element.key == "images":
                frame, video = element.value.get("frame_id"), element.value.get("video_id")
                if isinstance(frame, int) and isinstance(video, int):
                    last[video] = max(last.get(video, 0), frame)
            elif element.key == "videos" and element.value.get("file_name") in lengths:
                videos.append(element)
    except (ValueError, RecursionError):
        return set()
    done, pieces, at = set(), [], 0
    for video in videos:
        name = str(video.value["file_name"])
        if last.get(video.value.get("id"), 0) > lengths[name]:
            continue
        old = text[video.start : video.end]
        new, found = _LENGTH.subn(rf"\g<1>{lengths[name]}", old)
        if found <= 1:
            pieces += [text[at : video.start], new]
            at = video.end
            done.add(name)
    changed = "".join([*pieces, text[at:]])
    if changed != text:
        _write(path, changed)
    return done


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            return ""
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, text: str) -> None:
    with WholeFile(path) as whole, writing(path):
        whole.temporary.write_bytes(text.encode("utf-8"))


def _elements(text: str) -> Iterator[_Element]:
    """The objects in the lists of the top-level object.

    Raises:
        ValueError: The text is not such JSON.
        RecursionError: It is nested too deeply.
    """
    scan = json.JSONDecoder().raw_decode

    def skip(at: int) -> int:
        found = _BLANK.match(text, at)
        return found.end() if found else at

    def expect(at: int, characters: str) -> str:
        if text[at : at + 1] not in tuple(characters):
            raise ValueError(characters)
        return text[at]

    at = skip(1 if text.startswith("\ufeff") else 0)
    expect(at, "{")
    while text[at] != "}":
        key, at = scan(text, skip(at + 1))
        at = skip(at)
        expect(at, ":")
        at = skip(at + 1)
        if text[at : at + 1] != "[" or text[skip(at + 1) : skip(at + 1) + 1] == "]":
            _, at = scan(text, at)
        else:
            before = at + 1
            while text[at] != "]":
                start = skip(at + 1)
                value, end = scan(text, start)
                if isinstance(value, dict):
                    yield _Element(str(key), value, before, start, end)
                before, at = end, skip(end)
                expect(at, ",]")
            at += 1
        at = skip(at)
        expect(at, ",}")
