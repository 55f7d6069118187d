"""Look at labels: drawn into their pictures, as a video or as a sheet of frames."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.config import nearest
from motrail.dataset.footage import Footage, silent, with_video
from motrail.dataset.preview.canvas import Material, Painter, compose, select, sheet_scale
from motrail.dataset.stats.compute import each_sequence
from motrail.errors import ConfigError, VideoError
from motrail.formats.labels import ReadOptions
from motrail.names import safe_name, unused_name
from motrail.outputs import WholeFile, WholeFolder, output_folder, writing
from motrail.video.source import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from motrail.dataset.footage import Progress
    from motrail.formats.labels import Labels

_SHEETS = frozenset({".jpg", ".jpeg", ".png"})
_MAX_COUNT = 400
_MAX_PAUSE = 1.0  # seconds that a gap between pictures lasts in a video
_TRAIL_SECONDS = 1.0
_JPEG_QUALITY = 92


@dataclass
class PreviewSummary:
    """What was drawn.

    Attributes:
        files: The videos or sheets that were made.
        sequences: How many sequences are shown.
        frames: How many frames.
        boxes: How many boxes in them, those to be ignored among them.
        without_picture: How many of the frames have none and are black.
        notes: What could not be shown, with how often.
    """

    files: list[str] = field(default_factory=list)
    sequences: int = 0
    frames: int = 0
    boxes: int = 0
    without_picture: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self) | {"notes": dict(self.notes)}


def preview(
    path: Path,
    output: Path,
    *,
    sequence: str | None = None,
    selection: Selection | None = None,
    sheet: bool = False,
    frames: int = 12,
    footage: Footage | None = None,
    options: ReadOptions | None = None,
    progress: Progress = silent,
) -> PreviewSummary:
    """Draw labels into their pictures.

    Boxes to be ignored are thin and grey; labels of boxes filled in between end in a `~`. Frames
    without a picture are black.

    Args:
        path: A dataset folder, a split of one, track files, or labels in any format.
        output: `NAME.mp4`: a video of one sequence. `NAME.jpg` or `.png`: a sheet of frames of one
            or of all. A folder, empty or not there yet: a video (or sheet) of each. A file that is
            there is replaced.
        sequence: The one to draw, as `NAME` or `SPLIT/NAME`; None draws all.
        selection: Which of its frames; None draws all.
        sheet: Sheets of frames rather than videos, where the output is a folder.
        frames: How many of them on a sheet, evenly spaced among the labelled ones, 1 to 400.
        footage: Pictures and sizes that the labels do not bring; a video wins over pictures.
        options: What else the source does not say.
        progress: Told of each frame.

    Raises:
        ConfigError: There is no such sequence or frame, or the output fits no kind.
        FormatError: Labels are not as their format asks, do not belong to the pictures, or nobody
            knows their size.
        OutputError: The output cannot be written, or the folder holds something already.
        MissingExtraError: A package for video is not installed.
        VideoError: A video cannot be decoded.
    """
    if not 1 <= frames <= _MAX_COUNT:
        raise ConfigError(f"frames: expected 1 to {_MAX_COUNT} of them on a sheet, found {frames}")
    footage = footage or Footage()
    options = with_video(options or ReadOptions(size=footage.size), footage)
    run = _Run(
        path, output, sequence, selection or Selection(), sheet, frames, footage, options, progress
    )
    kind = output.suffix.lower()
    if output.is_dir() or not kind:
        run.folder()
    elif kind == ".mp4" and not sheet:
        run.video_file()
    elif kind in _SHEETS:
        run.sheet_file()
    else:
        picture = ".jpg or .png (a sheet of frames)"
        kinds = picture if sheet else f".mp4 (a video), {picture}"
        raise ConfigError(f"{output}: expected a name that ends in {kinds}, or a folder")
    return run.summary


@dataclass
class _Run:
    """One call of `preview`."""

    path: Path
    output: Path
    sequence: str | None
    selection: Selection
    as_sheet: bool
    frames: int
    footage: Footage
    options: ReadOptions
    progress: Progress
    summary: PreviewSummary = field(default_factory=PreviewSummary)

    def chosen(self) -> Iterator[Labels]:
        """The sequences to be drawn, one in memory at a time."""
        names: list[str] = []
        for split, labels, _ in each_sequence(self.path, self.options):
            if self.sequence is None or self.sequence in {labels.name, f"{split}/{labels.name}"}:
                yield labels
                if self.sequence is not None:
                    return
            names.append(labels.name)
        if not names:
            raise ConfigError(f"{self.path}: expected sequences to draw, found none")
        if self.sequence is not None:
            raise ConfigError(
                f"{self.path}: has no sequence {self.sequence!r}{nearest(self.sequence, names)}"
            )

    def video_file(self) -> None:
        """A video of the one sequence there is, or that was chosen."""
        if self.sequence is None:
            first = [labels.name for labels in itertools.islice(self.chosen(), 2)]
            if len(first) > 1:
                raise ConfigError(
                    f"{self.output}: expected one sequence for one video, found more "
                    f"({first[0]}, {first[1]} …); choose one with --sequence, or give a folder"
                )
        for labels in self.chosen():
            self.spare(labels)
            output_folder(self.output.parent)
            if not self.video(labels, self.output):
                raise self.nothing()
        self.summary.files.append(str(self.output))

    def sheet_file(self) -> None:
        """A sheet of frames of all sequences, or of the one that was chosen."""
        sizes, box = [], (0, 0)
        for labels in self.chosen():
            sizes.append(len(self.candidates(labels)))
            box = (max(box[0], labels.width), max(box[1], labels.height))
        picks = _spread(sum(sizes), self.frames)
        if not len(picks):
            raise self.nothing()
        cells: list[NDArray[np.uint8]] = []
        start = 0
        for labels, size in zip(self.chosen(), sizes, strict=True):
            self.spare(labels)
            here = picks[(picks >= start) & (picks < start + size)] - start
            start += size
            if len(here):
                self.cells(labels, self.candidates(labels)[here], cells, len(picks), box)
        output_folder(self.output.parent)
        self.write_sheet(cells, self.output)
        self.summary.files.append(str(self.output))

    def folder(self) -> None:
        """A video or sheet of each sequence."""
        taken: set[str] = set()
        make, ending = (self.sheet, ".jpg") if self.as_sheet else (self.video, ".mp4")
        with WholeFolder(self.output) as whole:
            for labels in self.chosen():
                name = unused_name(safe_name(labels.name), taken) + ending
                if make(labels, whole.temporary / name):
                    self.summary.files.append(str(self.output / name))
                else:
                    self.summary.notes["sequences without frames in this range are left out"] += 1
            if not self.summary.files:
                raise self.nothing()

    def nothing(self) -> ConfigError:
        """The error where there is nothing to draw."""
        wanted = self.selection
        end = "the end" if wanted.end is None else wanted.end
        steps = f" in steps of {wanted.stride}" if wanted.stride > 1 else ""
        return ConfigError(
            f"{self.path}: expected frames to draw, found none from {wanted.start} to {end}{steps}"
        )

    def spare(self, labels: Labels) -> None:
        """See that the output does not take the place of the footage."""
        if not self.output.exists():
            return
        inputs = [*labels.pictures.values(), *([self.footage.video] if self.footage.video else [])]
        if any(picture.exists() and self.output.samefile(picture) for picture in inputs):
            raise ConfigError(f"{self.output}: is part of the footage itself; choose another name")

    def candidates(self, labels: Labels) -> NDArray[np.int64]:
        """Frames for a sheet: those with labels; where there are none, all."""
        numbers = np.unique(labels.frames)
        if not len(numbers):
            numbers = np.array(labels.listed_frames(), np.int64)
        return select(numbers, self.selection)

    def sheet(self, labels: Labels, output: Path) -> bool:
        """A sheet of one sequence; False where it has no frames."""
        numbers = self.candidates(labels)
        picks = _spread(len(numbers), self.frames)
        if not len(picks):
            return False
        cells: list[NDArray[np.uint8]] = []
        self.cells(labels, numbers[picks], cells, len(picks))
        self.write_sheet(cells, output)
        return True

    def cells(
        self,
        labels: Labels,
        numbers: NDArray[np.int64],
        cells: list[NDArray[np.uint8]],
        total: int,
        box: tuple[int, int] = (0, 0),
    ) -> None:
        """Draw frames of a sequence as cells of a sheet of `total`, as large as `box` allows."""
        with self.material(labels) as material:
            scale = sheet_scale(material.size, total, box)
            painter = Painter(labels, material.size, scale=scale)
            for number, image, _ in material.shots(numbers, self.selection):
                cells.append(painter.draw(number, image))
                self.progress(f"{labels.name}: drawing frames", len(cells), total)
        self.count(painter)

    def write_sheet(self, cells: Sequence[NDArray[np.uint8]], output: Path) -> None:
        """Put cells together."""
        import cv2

        if not cells:
            raise VideoError(f"{self.path}: none of the frames for the sheet can be decoded")
        png = output.suffix.lower() == ".png"
        options = [] if png else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        data = cv2.imencode(".png" if png else ".jpg", compose(cells), options)[1]
        with WholeFile(output) as file, writing(output):
            file.temporary.write_bytes(data.tobytes())

    def video(self, labels: Labels, output: Path) -> bool:
        """A video of a sequence; False where it has no frames."""
        from motrail.video.write import MIN_RATE, VideoWriter

        wanted = self.selection
        with self.material(labels) as material:
            shots = material.shots(None, wanted)
            first = next(shots, None)
            if first is None:
                return False
            width, height = material.size
            rate = max(material.rate / wanted.stride, MIN_RATE)
            painter = Painter(labels, material.size, rate=rate, trail_seconds=_TRAIL_SECONDS)
            expected = material.expected(wanted)
            now, before = 0.0, first[2]
            with VideoWriter(output, width=width, height=height, frame_rate=rate) as writer:
                for number, image, time in itertools.chain([first], shots):
                    now += min(time - before, max(_MAX_PAUSE, 1 / rate))
                    before = time
                    writer.write(painter.draw(number, image), now)
                    self.progress(f"{labels.name}: drawing frames", painter.frames, expected)
        self.count(painter)
        return True

    def count(self, painter: Painter) -> None:
        """Take a drawn sequence into account."""
        self.summary.sequences += 1
        self.summary.frames += painter.frames
        self.summary.boxes += painter.boxes
        self.summary.without_picture += painter.without_picture

    @contextlib.contextmanager
    def material(self, labels: Labels) -> Iterator[Material]:
        """The pictures of a sequence."""
        source = self.footage.open(labels.name, only=self.summary.sequences == 0)
        with source or contextlib.nullcontext():
            yield Material.of(labels, source, self.footage.size, self.summary.notes)


def _spread(total: int, count: int) -> NDArray[np.int64]:
    """Up to `count` places among `total`, evenly spaced, each in the middle of its part."""
    count = min(count, total)
    return (2 * np.arange(count) + 1) * total // max(2 * count, 1)
