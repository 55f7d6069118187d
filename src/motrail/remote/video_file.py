"""A video file as the body of a request."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

from motrail.errors import VideoError

if TYPE_CHECKING:
    import os

VIDEO_SECONDS = 4000.0
"""The longest a server may work on a video by default, and a little."""


def video_file(video: str | os.PathLike[str]) -> Path:
    """The path of a file that is there.

    Raises:
        VideoError: It is not.
    """
    path = Path(video)
    if not path.is_file():
        raise VideoError(f"{path}: expected a video file, found none")
    return path


def media_type(path: Path) -> str:
    """The `Content-Type` of a video, by its name; just bytes where the name says nothing."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    return kind if kind.startswith("video/") else "application/octet-stream"
