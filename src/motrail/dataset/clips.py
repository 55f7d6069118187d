"""Footage to be labelled: cut into short clips, or taken apart into image files."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from motrail.dataset.footage import silent, write_frames
from motrail.errors import ConfigError
from motrail.names import safe_name
from motrail.outputs import WholeFolder, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.types import Frame
    from motrail.video.source import Source

_PRESET = "veryfast"
_LONGEST_STEM = 200  # bytes; with the number and the ending it stays below the 255 of most disks


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and where it comes from.

    Attributes:
        file: Its name in the folder.
        first: Number in the source of its first frame, counted from 1.
        last: Number in the source of its last frame.
        frames: How many frames it has; fewer than from `first` to `last` where some are missing.
        time: Seconds from the source's first frame to the clip's, which is at 0 in the clip.
    """

    file: str
    first: int
    last: int
    frames: int
    time: float


@dataclass
class ClipsSummary:
    """How footage was cut.

    Attributes:
        output: The folder of the clips.
        source: Name of the footage.
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        frame_rate: Frames a second on average.
        frames: How many frames all clips have together.
        clips: In order.
        missing: Numbers in the source of frames that could not be decoded, as far as known.
        broken: How many frames could not be decoded, or only in part.
        truncated: Why the source ended early, in a sentence; None where it did not.
    """

    output: str
    source: str
    width: int
    height: int
    frame_rate: float
    frames: int = 0
    clips: list[Clip] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    broken: int = 0
    truncated: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass
class FramesSummary:
    """How footage was taken apart.

    Attributes:
        output: The folder of the image files.
        source: Name of the footage.
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        files: How many image files there are.
        first: Number in the source of the first, counted from 1.
        last: Number in the source of the last.
        missing: Numbers of wanted frames up to `last` that could not be decoded.
        broken: How many frames of the source could not be decoded, or only in part.
    """

    output: str
    source: str
    width: int
    height: int
    files: int
    first: int
    last: int
    missing: list[int]
    broken: int

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def cut_clips(
    video: Path | str,
    output: Path,
    *,
    frames: int = 200,
    crf: int = 17,
    progress: Progress = silent,
) -> ClipsSummary:
    """Cut footage into clips of `frames` frames each, none left out and none twice.

    The clips `NAME-0001.mp4` and so on are H.264 and keep size and timing; the last one may be
    shorter. `clips.json` holds what the summary says, but for `output`. Frames that cannot be
    decoded stand in no clip and are listed; the next ones take their places.

    Args:
        video: A video, or a folder of images.
        output: The folder to make, which appears whole or not at all; empty or not there yet.
        frames: How many a clip has.
        crf: x264's quality, 0 (lossless) to 51 (worst).
        progress: Told of each frame.

    Returns:
        What was done; where `truncated` says why, the clips end where the source does.

    Raises:
        ConfigError: A setting is out of range.
        VideoError: The footage cannot be decoded.
        OutputError: The folder holds something already, or cannot be written.
    """
    from motrail.video.read import open_source

    _check_count("frames", frames)
    with open_source(video) as source, WholeFolder(output) as whole:
        summary = ClipsSummary(
            str(output), source.name, source.width, source.height, source.frame_rate
        )
        stem = safe_name(source.name).encode()[:_LONGEST_STEM].decode(errors="ignore")
        coming = _watched(source, summary, progress)
        for number in itertools.count(1):
            clip = itertools.islice(coming, frames)
            first = next(clip, None)
            if first is None:
                break
            path = whole.temporary / f"{stem}-{number:04d}.mp4"
            summary.clips.append(_write_clip(path, source, first, clip, crf))
        summary.broken, summary.truncated = source.broken, source.truncated
        summary.missing += _missing_at_the_end(source, summary)
        content = {key: value for key, value in summary.as_dict().items() if key != "output"}
        with writing(whole.temporary / "clips.json"):
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (whole.temporary / "clips.json").write_text(text, encoding="utf-8", newline="\n")
    return summary


def _watched(source: Source, summary: ClipsSummary, progress: Progress) -> Iterator[Frame]:
    """The frames of a source, counted, and the missing ones between them noted."""
    following = 1
    for frame in source:
        summary.missing += range(following, frame.number)
        following = frame.number + 1
        summary.frames += 1
        yield frame
        progress(f"{source.name}: cutting", summary.frames, source.expected_frames)


def _write_clip(
    path: Path, source: Source, first: Frame, others: Iterator[Frame], crf: int
) -> Clip:
    from motrail.video.write import MIN_RATE, VideoWriter

    last, count = first.number, 1
    with VideoWriter(
        path,
        width=source.width,
        height=source.height,
        frame_rate=max(source.frame_rate, MIN_RATE),
        crf=crf,
        encoder_preset=_PRESET,
    ) as writer:
        writer.write(first.image, first.time)
        for frame in others:
            writer.write(frame.image, frame.time)
            last, count = frame.number, count + 1
    return Clip(path.name, first.number, last, count, first.time)


def _missing_at_the_end(source: Source, summary: ClipsSummary) -> range:
    """Frames that broke after the last good one, where the source's length is known."""
    last = summary.clips[-1].last
    if source.expected_frames is None or source.truncated is not None:
        return range(0)
    unseen = source.broken - len(summary.missing)
    return range(last + 1, min(source.expected_frames, last + unseen) + 1)


def extract_frames(
    video: Path | str,
    output: Path,
    *,
    every: int = 1,
    start: int = 1,
    end: int | None = None,
    suffix: str = ".jpg",
    progress: Progress = silent,
) -> FramesSummary:
    """Write frames of footage as image files, named by their numbers: `000001.jpg`.

    Args:
        video: A video, or a folder of images.
        output: The folder to make, which appears whole or not at all; empty or not there yet.
        every: 1 takes each frame from `start`, 2 each second one, and so on.
        start: Number of the first frame to take, counted from 1.
        end: Number of the last one, itself included; None goes to the end.
        suffix: `.jpg` or `.png`.
        progress: Told of each frame.

    Raises:
        ConfigError: A setting is out of range.
        VideoError: The footage cannot be decoded, or was cut off before `end`.
        OutputError: The folder holds something already, or cannot be written.
    """
    from motrail.video.read import open_source

    _check_count("every", every)
    if suffix not in {".jpg", ".png"}:
        raise ConfigError(f"suffix: expected .jpg or .png, found {suffix!r}")
    with (
        open_source(video, start=start, end=end, stride=every) as source,
        WholeFolder(output) as whole,
    ):
        name = ("{:06d}" + suffix).format
        files = write_frames(source, whole.temporary, name=name, progress=progress)
        return FramesSummary(
            output=str(output),
            source=source.name,
            width=source.width,
            height=source.height,
            files=len(files),
            first=min(files),
            last=max(files),
            missing=[n for n in range(start, max(files), every) if n not in files],
            broken=source.broken,
        )


def _check_count(name: str, count: int) -> None:
    if type(count) is not int or not 1 <= count < 2**31:
        raise ConfigError(f"{name}: expected a whole number of at least 1, found {count!r}")
