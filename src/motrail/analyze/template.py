"""A calibration file to be filled in, and a picture with a grid to read pixels from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from motrail.errors import ConfigError, MissingExtraError
from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_TEXT = """\
# Where pixels of {video} are on the ground, for: motrail analyze TRACKS --calibration {name}
# Look at {picture}: it is frame {frame} with a grid of pixels.
# Give four or more points on the ground that you know in metres: corners of the pitch, marks of
# the lane, tiles. No three of four on a line, and spread over the part where objects are; from the
# fifth on their error can be told. `pixel` counts from the top left corner to the right and down.
# `ground` is in metres from a place of your choice, along axes of your choice.
unit = "m"
"""
_POINT = """
[[points]]
name = "corner {number}"
pixel = [{x:.0f}, {y:.0f}]   # change this: here it is only a place in the picture
# ground = [0.0, 0.0]   # give it, and take the first # away
"""
_PLACES = ((0.25, 0.45), (0.75, 0.45), (0.9, 0.85), (0.1, 0.85))


def write_template(video: str, path: Path, frame: int = 1) -> tuple[Path, Path]:
    """Write a calibration file to be filled in, and the picture beside it.

    Args:
        video: The footage.
        path: The file, ending in .toml.
        frame: Which frame to show, counted from 1.

    Returns:
        The file and the picture.

    Raises:
        ConfigError: The name does not end in .toml, or there is such a file already.
        MissingExtraError: OpenCV or PyAV is not installed.
        OutputError: They cannot be written.
        VideoError: The frame cannot be read.
    """
    picture = path.with_suffix(".png")
    if path.suffix.lower() != ".toml":
        raise ConfigError(f"--output {path}: expected the name of a file such as calibration.toml")
    for file in (path, picture):
        if file.exists():
            raise ConfigError(f"{file}: is there already; remove it or choose another name with -o")
    image = read_frame(video, frame)
    height, width = image.shape[:2]
    text = _TEXT.format(
        video=json.dumps(video), name=path.name, picture=picture.name, frame=frame
    ).replace("\r", " ")
    for number, (x, y) in enumerate(_PLACES, start=1):
        text += _POINT.format(number=number, x=x * width, y=y * height)
    drawn = _with_grid(image)
    with writing(path), WholeFile(path) as first, WholeFile(picture) as second:
        path.parent.mkdir(parents=True, exist_ok=True)
        first.temporary.write_text(text, encoding="utf-8")
        second.temporary.write_bytes(drawn)
    return path, picture


def read_frame(video: str, frame: int) -> NDArray[np.uint8]:
    """A picture of the footage, uint8, shape (height, width, 3), blue, green, red.

    Raises:
        ConfigError: The number is below 1.
        MissingExtraError: OpenCV or PyAV is not installed.
        VideoError: It cannot be read.
    """
    from motrail.video.read import open_source

    with open_source(video, start=frame, end=frame) as source:
        return next(iter(source)).image


def _with_grid(image: NDArray[np.uint8]) -> bytes:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("cv2", "analyze", error) from error
    height, width = image.shape[:2]
    # Small pictures are shown larger, so that the numbers can be read.
    scale = max(1, round(1280 / width))
    canvas = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_NEAREST)
    step = next(s for s in (10, 20, 50, 100, 200, 500, 1000, 5000) if width / s <= 16)
    for extent, horizontal in ((width, False), (height, True)):
        for place in range(step, extent, step):
            at = place * scale
            start = (0, at) if horizontal else (at, 0)
            end = (width * scale, at) if horizontal else (at, height * scale)
            cv2.line(canvas, start, end, (255, 255, 255), 1)
            where = (3, at - 4) if horizontal else (at + 3, 14)
            for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                cv2.putText(
                    canvas, str(place), where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, thickness,
                    cv2.LINE_AA,
                )  # fmt: skip
    _, data = cv2.imencode(".png", canvas)
    return bytes(data)
