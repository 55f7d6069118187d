"""Open a video, a folder of images or a pattern of image names as a source of frames."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from motrail.errors import VideoError
from motrail.names import is_image, natural_order
from motrail.video.images import ImageSource, decode_image, sequence_rate
from motrail.video.source import MAX_PIXELS, Selection, Source
from motrail.video.stream import VideoSource

__all__ = ["MAX_PIXELS", "Source", "decode_image", "open_source"]

_EXPECTED = "expected a video file, a folder of images or a quoted pattern such as 'frames/*.jpg'"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def open_source(
    source: str | Path, *, start: int = 1, end: int | None = None, stride: int = 1
) -> Source:
    """Open footage for reading, frame by frame.

    Args:
        source: A video file; a folder of images (jpg, jpeg, png, bmp, webp, tif, tiff; sorted so
            that 2 comes before 10), or MOT's sequence folder with `img1` in it; a pattern such as
            `frames/*.jpg`; or one image.
        start: Number of the first frame to give out, counted from 1.
        end: Number of the last one, itself included; None reads to the end.
        stride: Give out `start`, `start + stride`, ...; frames keep their number in the source.

    Returns:
        The source. Use it in a `with` block and iterate over it.

    Raises:
        ConfigError: `start`, `end` or `stride` make no sense.
        VideoError: There is no such source, or it cannot be decoded. The message names the path,
            what was expected, what was found and what to do.
    """
    selection = Selection(start, end, stride)
    text = os.fspath(source)
    path = Path(text)
    if not text.strip():
        raise VideoError(f"the source is an empty name: {_EXPECTED}")
    if "://" in text or (_URL.match(text) and not os.path.lexists(text)):
        raise VideoError(
            f"{text}: network addresses are not read; download the video and give its path"
        )
    try:
        return _open(path, text, selection)
    except OSError as error:
        raise VideoError(f"{text}: cannot be read: {error.strerror or error}") from error


def _open(path: Path, text: str, selection: Selection) -> Source:
    if path.is_dir():
        return _open_folder(path, selection)
    if path.exists():
        return _open_file(path, selection)
    if glob.has_magic(text):
        return _open_pattern(text, selection)
    raise VideoError(f"{text}: no such file or folder; {_EXPECTED}")


def _open_file(path: Path, selection: Selection) -> Source:
    if not path.is_file():
        raise VideoError(f"{path}: {_EXPECTED}, found a device or pipe; record it to a file first")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: {_EXPECTED}, found an empty file (0 bytes); copy it again")
    if is_image(path):
        return ImageSource(
            [path],
            name=path.stem,
            where=str(path),
            frame_rate=sequence_rate(path.parent),
            selection=selection,
        )
    return VideoSource(path, name=path.stem, selection=selection)


def _open_folder(folder: Path, selection: Selection) -> Source:
    images = _images_in(folder)
    if not images and (folder / "img1").is_dir():
        folder = folder / "img1"
        images = _images_in(folder)
    if not images:
        raise VideoError(
            f"{folder}: expected a folder with images (jpg, png, bmp, webp, tif), found "
            f"{_contents(folder)}; give a video file itself, or the folder that holds the images"
        )
    return ImageSource(
        images,
        name=_folder_name(folder),
        where=str(folder),
        frame_rate=sequence_rate(_absolute(folder)),
        selection=selection,
    )


def _open_pattern(pattern: str, selection: Selection) -> Source:
    matches = [Path(p) for p in glob.glob(os.path.expanduser(pattern), recursive=True)]  # noqa: PTH111, PTH207
    images = natural_order(path for path in matches if is_image(path) and path.is_file())
    if not images:
        found = "nothing" if not matches else f"{len(matches)} other files"
        raise VideoError(
            f"{pattern}: expected a pattern that matches images, found {found}; check the folder "
            "and the ending, and give a video by its own name"
        )
    return ImageSource(
        images,
        name=_folder_name(images[0].parent),
        where=pattern,
        frame_rate=sequence_rate(_absolute(images[0].parent)),
        selection=selection,
    )


def _images_in(folder: Path) -> list[Path]:
    return natural_order(p for p in folder.iterdir() if is_image(p) and p.is_file())


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _absolute(folder: Path) -> Path:
    # Not resolve(): a link keeps the name the user gave it.
    return Path(os.path.abspath(folder))  # noqa: PTH100


def _folder_name(folder: Path) -> str:
    folder = _absolute(folder)
    return folder.parent.name if folder.name == "img1" and folder.parent.name else folder.name
