"""`motrail analyze`: from files to a folder of results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motrail.analyze.calibration import read_calibration
from motrail.analyze.page import PageMaker
from motrail.analyze.question import Question
from motrail.analyze.rows import read_track_rows
from motrail.analyze.run import Analysis, analyze
from motrail.analyze.timing import Timing, at_rate, of_video
from motrail.analyze.write import PathsFile, write_tables
from motrail.analyze.zones import Places, read_places
from motrail.errors import ConfigError, DataError, FormatError
from motrail.outputs import WholeFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from motrail.analyze.question import Block


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an analysis is made from.

    Attributes:
        tracks: The track file.
        video: The footage; None without.
        calibration: The calibration file; None without.
        zones: The zones file; None without.
        frame_rate: Frames a second; None for the times of the video.
        size: Width and height of pictures; None for those of the video.
        max_gap: Seconds without a box up to which a path is bridged.
        frame: The frame to draw on, counted from 1.
    """

    tracks: Path
    video: str | None = None
    calibration: Path | None = None
    zones: Path | None = None
    frame_rate: float | None = None
    size: tuple[int, int] | None = None
    max_gap: float = 1.0
    frame: int = 1


def analyze_file(
    inputs: Inputs, output: Path, *, progress: Callable[[str, int, int | None], None] | None = None
) -> Analysis:
    """Analyze a track file and write a folder of results, which appears whole or not at all.

    Args:
        inputs: What from.
        output: The folder; it must not hold anything yet.
        progress: Told of the boxes done.

    Raises:
        ConfigError: A file is not there, or nobody knows when frames are.
        FormatError: A file does not hold what it should, or the tracks do not fit the video.
        MissingExtraError: A package of the extra `analyze` is not installed.
        OutputError: The results cannot be written.
        VideoError: The footage cannot be read.
    """
    if inputs.video is None and inputs.frame_rate is None:
        raise ConfigError("when frames are is not known: give --video, or --frame-rate")
    calibration = read_calibration(inputs.calibration) if inputs.calibration else None
    places = read_places(inputs.zones, calibration) if inputs.zones else Places()
    timing, size, picture = _footage(inputs)
    question = Question(
        read_track_rows(inputs.tracks),
        _class_names(inputs.tracks),
        timing,
        size,
        calibration,
        places,
        inputs.max_gap,
    )
    with WholeFolder(output) as whole:
        page = PageMaker(question, picture)
        with PathsFile(whole.temporary / "paths.csv", question) as paths:

            def each(block: Block) -> None:
                paths.add(block)
                page.add(block)

            try:
                found = analyze(question, each=each, progress=progress)
            except DataError as error:
                raise FormatError(inputs.tracks, str(error)) from None
        write_tables(whole.temporary, found)
        about = {
            key: str(value)
            for key, value in dataclasses.asdict(inputs).items()
            if value is not None and key in {"tracks", "video", "calibration", "zones"}
        }
        page.write(whole.temporary / "report.html", found, about)
    return found


def _footage(
    inputs: Inputs,
) -> tuple[Timing, tuple[int, int] | None, NDArray[np.uint8] | None]:
    given = None if inputs.frame_rate is None else at_rate(inputs.frame_rate)
    if inputs.video is None:
        assert given is not None  # noqa: S101  (seen before)
        return given, inputs.size, None
    from motrail.analyze.template import read_frame
    from motrail.video.read import open_source

    with open_source(inputs.video) as source:
        size, rate = (source.width, source.height), source.frame_rate
    return given or of_video(inputs.video, rate), size, read_frame(inputs.video, inputs.frame)


def _class_names(tracks: Path) -> tuple[str, ...]:
    from motrail.formats.mot.reader import read_class_names

    path = tracks.parent / "labels.txt"
    return read_class_names(path) if path.exists() else ()
