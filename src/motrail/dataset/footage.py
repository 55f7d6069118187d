"""The pictures that labels belong to: their size, and how they get into a folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from motrail.errors import ConfigError, FormatError, VideoError
from motrail.names import is_image, natural_order, numbered_pictures, safe_name
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from motrail.formats.labels import Labels, ReadOptions
    from motrail.types import Frame
    from motrail.video.source import Source

    Progress = Callable[[str, int, int | None], None]
    """Told what is done, how many of it, and of how many (None where nobody knows)."""

JPEG_QUALITY = 95
_ENCODERS = 2
_VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts"})


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Footage:
    """What the user says about pictures that the labels do not bring.

    Attributes:
        video: A video (or folder of images) for the one sequence of a source, or a folder with
            `<sequence>.mp4` for each.
        size: Width and height of the frames in pixels, where there are neither pictures nor video.
    """

    video: Path | None = None
    size: tuple[int, int] | None = None

    def find(self, name: str, *, only: bool) -> Path | None:
        """The video, or the folder of images, of a sequence; None where none was given.

        A folder has one named like the sequence, with or without the `1fd99634-` that Label Studio
        puts before the names of uploaded files.

        Raises:
            ConfigError: There is none for this sequence.
        """
        if self.video is None:
            return None
        if not _holds_videos(self.video):
            if only:
                return self.video
            raise ConfigError(
                f"--video {self.video}: is one video, and there is another sequence, {name!r}; "
                "give a folder that has a video named like each sequence"
            )
        inside = sorted(self.video.iterdir())
        for wanted in (name, re.sub(r"^[0-9a-f]{8}-", "", name)):
            fits = [p for p in inside if (p.name if p.is_dir() else safe_name(p.stem)) == wanted]
            if len(fits) == 1:
                return fits[0]
        found = ", ".join(path.name for path in (fits or inside)[:5])
        raise ConfigError(f"--video {self.video}: expected one video named {name!r}, found {found}")

    def open(self, name: str, *, only: bool) -> Source | None:
        """The video of a sequence as a source of frames.

        Raises:
            ConfigError: There is none for this sequence.
            VideoError: It cannot be read.
        """
        from motrail.video.read import open_source

        path = self.find(name, only=only)
        return None if path is None else open_source(path)


def _holds_videos(path: Path) -> bool:
    """Whether a folder holds videos, or folders of pictures, rather than the pictures of one."""
    if not path.is_dir() or (path / "img1").is_dir():
        return False
    return any(p.is_dir() or p.suffix.lower() in _VIDEOS for p in path.iterdir())


def with_video(options: ReadOptions, footage: Footage) -> ReadOptions:
    """What videos can tell of labels that need the size to be read at all.

    Raises:
        VideoError: The one video cannot be read.
    """
    if footage.video is None or options.size is not None:
        return options
    if _holds_videos(footage.video):

        def size_of(name: str) -> tuple[int, int] | None:
            source = footage.open(name, only=False)
            return None if source is None else (source.width, source.height)

        return replace(options, size_of=size_of)
    source = footage.open("", only=True)
    if source is None:
        return options
    with source:
        size = (source.width, source.height)
        return replace(options, size=size, name=options.name or source.name)


def from_video(labels: Labels, source: Source, folder: Path, progress: Progress = silent) -> Labels:
    """Give labels the frames of a video, by exact frame number.

    Args:
        labels: Of one sequence.
        source: Its footage, all frames.
        folder: Where the frames' JPEG files are put; made.
        progress: Told of each frame.

    Raises:
        FormatError: The video has another size than the labels say, or ends before them.
        VideoError: It cannot be decoded.
        OutputError: The disk is full, for example.
    """
    size = (source.width, source.height)
    _same_size(labels, size, source.name)
    pictures = write_frames(source, folder, progress=progress)
    last, needed = max(pictures, default=0), int(labels.frames.max(initial=0))
    if needed > last:
        raise FormatError(
            labels.name,
            f"expected labels for frames 1 to {last}, as many as the video {source.name!r} has, "
            f"found some for frame {needed}; is it the right video, and complete?",
        )
    return labels.replace(
        width=size[0],
        height=size[1],
        length=last,
        frame_rate=source.frame_rate,
        pictures=pictures,
    )


def _sized_by(labels: Labels, source: Source) -> Labels:
    """Labels with what a video says of itself, which may be off by some frames in length."""
    _same_size(labels, (source.width, source.height), source.name)
    return labels.replace(
        width=source.width,
        height=source.height,
        length=max(source.expected_frames or 0, labels.length),
        frame_rate=source.frame_rate,
    )


def _from_folder(labels: Labels, folder: Path) -> Labels:
    """Give labels the pictures of a folder, by the numbers in their names."""
    from motrail.video.read import open_source

    with open_source(folder) as source:  # which knows what to say of a folder without pictures
        rate = source.frame_rate
    inside = folder / "img1" if (folder / "img1").is_dir() else folder
    pictures = numbered_pictures(natural_order(p for p in inside.iterdir() if is_image(p)))
    last, needed = max(pictures), int(labels.frames.max(initial=0))
    if needed > last:
        raise FormatError(
            labels.name,
            f"expected labels for frames 1 to {last}, as the pictures in {inside} are numbered, "
            f"found some for frame {needed}; do they belong together?",
        )
    rate = labels.frame_rate or rate
    return labels.replace(length=last, frame_rate=rate, pictures=pictures)


def from_pictures(labels: Labels, progress: Progress = silent) -> Labels:
    """Labels with the size that their pictures have, all of which are looked at.

    Raises:
        FormatError: A picture has another size than the labels say or than the first one.
        VideoError: A picture is broken.
    """
    from motrail.video.images import image_size

    for done, picture in enumerate(labels.pictures.values(), start=1):
        size = image_size(picture)
        _same_size(labels, size, str(picture))
        labels = labels if labels.width else labels.replace(width=size[0], height=size[1])
        progress(f"{labels.name}: looking at pictures", done, len(labels.pictures))
    return labels


def _same_size(labels: Labels, size: tuple[int, int], what: str) -> None:
    if labels.width and (labels.width, labels.height) != size:
        raise FormatError(
            what,
            f"expected {labels.width}x{labels.height} pixels as told for {labels.name!r}, "
            f"found {size[0]}x{size[1]}; labels and pictures do not belong together, or the "
            "pictures were scaled",
        )


def complete(
    labels: Labels,
    footage: Footage,
    work: Path,
    *,
    only: bool,
    pictures: bool = True,
    progress: Progress = silent,
) -> Labels:
    """Labels that know their size, from the video, their pictures or what the user says.

    Args:
        labels: Of one sequence.
        footage: What the user says.
        work: Where frames of a video may be put; on the disk of the result.
        only: Whether it is the only sequence so far.
        pictures: Whether the frames of a video are wanted, or only what it says of itself.
        progress: Told of each picture.

    Raises:
        FormatError: Nobody knows the size, or sizes differ.
        MotrailError: The footage cannot be read.
    """
    path = footage.find(labels.name, only=only)
    if path is not None and path.is_dir():
        labels = _from_folder(labels, path)
    elif path is not None:
        from motrail.video.read import open_source

        with open_source(path) as source:
            if not pictures:
                return _sized_by(labels, source)
            return from_video(labels, source, work / labels.name, progress)
    if footage.size and not labels.width:
        labels = labels.replace(width=footage.size[0], height=footage.size[1])
    if labels.pictures:
        labels = from_pictures(labels, progress)
    if not labels.width:
        raise FormatError(
            labels.name, "the size of the frames is not known; give --video V or --size WxH"
        )
    return labels


def write_frames(
    source: Source,
    folder: Path,
    *,
    name: Callable[[int], str] = "{:06d}.jpg".format,
    progress: Progress = silent,
) -> dict[int, Path]:
    """Write the frames of a source as image files.

    Args:
        source: Gives out the wanted frames.
        folder: Made if need be.
        name: File name for a frame number; its ending says the kind.
        progress: Told of each frame.

    Returns:
        The files by frame number.

    Raises:
        VideoError: The source cannot be decoded, or ended early.
        OutputError: The disk is full, for example.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files: dict[int, Path] = {}
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_ENCODERS) as pool, contextlib.ExitStack() as stack:
        stack.callback(pool.shutdown, cancel_futures=True)
        for frame in source:
            files[frame.number] = folder / name(frame.number)
            waiting.append(pool.submit(_write_picture, frame, files[frame.number]))
            while len(waiting) > 2 * _ENCODERS:
                waiting.popleft().result()
            progress(f"{source.name}: writing frames", len(files), source.expected_frames)
        while waiting:
            waiting.popleft().result()
    if source.truncated is not None:
        raise VideoError(f"{source.name}: {source.truncated}; copy the video again")
    return files


def _write_picture(frame: Frame, path: Path) -> None:
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    good, data = cv2.imencode(path.suffix, frame.image, options)
    if not good:
        raise VideoError(f"{path}: the frame cannot be written as {path.suffix}")
    with writing(path):
        path.write_bytes(data.tobytes())


def place(pictures: Mapping[Path, Path], *, link: bool = True, progress: Progress = silent) -> None:
    """Bring pictures to where they belong.

    Args:
        pictures: New path → path now.
        link: Make hard links, which take no space, where the disk can.
        progress: Told of each picture.

    Raises:
        OutputError: The disk is full, for example.
    """
    for done, (target, picture) in enumerate(pictures.items(), start=1):
        origin = picture.resolve()
        if not (link and _linked(origin, target)):
            with writing(target):
                shutil.copyfile(origin, target)
        progress("bringing pictures", done, len(pictures))


def _linked(origin: Path, target: Path) -> bool:
    try:
        os.link(origin, target)
    except OSError:
        return False
    return True
