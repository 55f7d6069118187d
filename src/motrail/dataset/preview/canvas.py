"""Frames with their labels drawn in: where pictures come from and how a sheet is put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motrail.dataset.stats.panels import printable
from motrail.errors import FormatError, VideoError
from motrail.types import Tracks
from motrail.video.draw import TrackDrawer

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels
    from motrail.video.source import Selection, Source

    Shot = tuple[int, NDArray[np.uint8] | None, float]
    """Frame number, its picture where there is one, and its time in seconds."""

MAX_SIDE = 4096
"""A sheet is not wider or higher, in pixels."""
_GAP = 8
_BACKGROUND = (32, 29, 27)
_TEXT = (235, 235, 235)
_MAX_NAME = 40


def select(frames: NDArray[np.int64], wanted: Selection) -> NDArray[np.int64]:
    """Those of the frame numbers that are wanted."""
    good = (frames >= wanted.start) & ((frames - wanted.start) % wanted.stride == 0)
    if wanted.end is not None:
        good &= frames <= wanted.end
    chosen: NDArray[np.int64] = frames[good]
    return chosen


@dataclass(frozen=True, slots=True)
class Material:
    """The pictures of a sequence.

    Attributes:
        labels: The sequence.
        source: Its video, which wins over pictures; None where there is none.
        size: Width and height of its frames in pixels.
        rate: Frames a second.
        notes: Told what could not be shown.
    """

    labels: Labels
    source: Source | None
    size: tuple[int, int]
    rate: float
    notes: Counter[str]

    @classmethod
    def of(
        cls,
        labels: Labels,
        source: Source | None,
        size: tuple[int, int] | None,
        notes: Counter[str],
    ) -> Material:
        """Find out the size and rate.

        Args:
            labels: The sequence.
            source: Its video, if there is one.
            size: What the user says of labels that do not know it and have no pictures.
            notes: Told what could not be shown.

        Raises:
            FormatError: Nobody knows the size, or the video has another one.
            VideoError: The size is absurd.
        """
        from motrail.video.images import DEFAULT_RATE, check_size

        rate = (source.frame_rate if source else labels.frame_rate) or DEFAULT_RATE
        found: tuple[int, int] | None
        if source is not None:
            found = (source.width, source.height)
            _check_same(labels, found, source.name)
        else:
            found = (labels.width, labels.height) if labels.width else _seen(labels) or size
        if found is None:
            raise FormatError(
                labels.name,
                "the size of the frames is not known and there are no pictures; give --video V or "
                "--size WxH",
            )
        check_size(*found, labels.name)
        return cls(labels, source, found, rate, notes)

    def shots(self, numbers: NDArray[np.int64] | None, wanted: Selection) -> Iterator[Shot]:
        """The frames in order.

        Args:
            numbers: Which; None gives all that are wanted.
            wanted: What the user wants of a whole sequence.

        Raises:
            FormatError: A picture has another size, or the video ends before the labels.
            VideoError: The video cannot be decoded, or ended early.
        """
        if self.source is not None:
            yield from self._from_video(self.source, numbers, wanted)
            return
        if numbers is None:
            numbers = select(self._listed(), wanted)
        for number in numbers.tolist():
            yield number, self._picture(number), (number - 1) / self.rate

    def expected(self, wanted: Selection) -> int | None:
        """How many frames `shots` gives of a whole sequence; None where nobody knows."""
        if self.source is None:
            return len(select(self._listed(), wanted))
        total = self.source.expected_frames
        return None if total is None else wanted.count(total)

    def _listed(self) -> NDArray[np.int64]:
        if not self.labels.pictures:
            return np.arange(1, self.labels.length + 1)
        return np.array(self.labels.listed_frames(), np.int64)

    def _picture(self, number: int) -> NDArray[np.uint8] | None:
        from motrail.video.images import decode_image

        path = self.labels.pictures.get(number)
        if path is None:
            return None
        try:
            image = decode_image(path.read_bytes(), str(path))
        except (OSError, VideoError):
            self.notes["pictures that cannot be read are drawn black"] += 1
            return None
        height, width = image.shape[:2]
        _check_same(self.labels, (width, height), str(path), self.size)
        return image

    def _from_video(
        self, source: Source, numbers: NDArray[np.int64] | None, wanted: Selection
    ) -> Iterator[Shot]:
        some = None if numbers is None else set(numbers.tolist())
        end = wanted.last if some is None else max(some, default=0)
        last = 0
        for frame in source:
            if end is not None and frame.number > end:
                return
            last = frame.number
            if frame.number in (wanted if some is None else some):
                yield frame.number, frame.image, frame.time
        if source.broken:
            self.notes["frames of the video that cannot be decoded are left out"] += source.broken
        if source.truncated is not None:
            raise VideoError(f"{source.name}: {source.truncated}; copy the video again")
        needed = int(self.labels.frames.max(initial=0))
        if needed > last + source.broken:
            raise FormatError(
                self.labels.name,
                f"expected labels for frames 1 to {last}, as many as the video {source.name!r} "
                f"has, found some for frame {needed}; is it the right video, and complete?",
            )


def _seen(labels: Labels) -> tuple[int, int] | None:
    """The size of the first picture that can be read."""
    from motrail.video.images import image_size

    for picture in labels.pictures.values():
        try:
            return image_size(picture)
        except VideoError:
            continue
    return None


def _check_same(
    labels: Labels, found: tuple[int, int], what: str, expected: tuple[int, int] | None = None
) -> None:
    width, height = expected or (labels.width, labels.height)
    if width and (width, height) != found:
        raise FormatError(
            what,
            f"expected {width}x{height} pixels as told for {labels.name!r}, found "
            f"{found[0]}x{found[1]}; labels and pictures do not belong together, or the pictures "
            "were scaled",
        )


class Painter:
    """Draws the labels of a sequence into its frames.

    Args:
        labels: The sequence.
        size: Width and height of its pictures in pixels.
        scale: Of what is drawn to the pictures.
        rate: Frames a second as they are given to `draw`.
        trail_seconds: Length of the trails; 0 draws none.

    Attributes:
        frames: Frames drawn so far.
        boxes: Boxes in them, outside the image or not.
        without_picture: Those of the frames that had no picture.

    Raises:
        MissingExtraError: supervision is not installed.
        ConfigError: `trail_seconds` makes no sense.
    """

    def __init__(
        self,
        labels: Labels,
        size: tuple[int, int],
        *,
        scale: float = 1.0,
        rate: float = 30.0,
        trail_seconds: float = 0.0,
    ) -> None:
        self._labels = labels.in_order()
        self._size = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        self._scale = np.array([self._size[0] / size[0], self._size[1] / size[1]] * 2)
        self._drawer = TrackDrawer(
            [printable(name, _MAX_NAME) for name in labels.classes],
            width=self._size[0],
            height=self._size[1],
            frame_rate=rate,
            trail_seconds=trail_seconds,
            scores=False,
        )
        self.frames = self.boxes = self.without_picture = 0

    def draw(self, number: int, image_bgr: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Draw a frame: what is to be ignored thin and grey, the caption at the lower left.

        Args:
            number: Of the frame.
            image_bgr: Its picture, uint8, shape (height, width, 3); None draws on black.

        Returns:
            A new image of the scaled size.
        """
        start, end = np.searchsorted(self._labels.frames, [number, number + 1])
        rows = self._labels[slice(start, end)]
        drawn = self._drawer.draw(
            self._scaled(image_bgr),
            as_tracks(rows, self._scale),
            faint=rows.ignore,
            filled=~rows.keyframe,
        )
        _write_caption(drawn, self._caption(number, rows, black=image_bgr is None))
        self.frames += 1
        self.boxes += len(rows)
        self.without_picture += image_bgr is None
        return drawn

    def _scaled(self, image_bgr: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        import cv2

        width, height = self._size
        if image_bgr is None:
            return np.zeros((height, width, 3), np.uint8)
        if image_bgr.shape == (height, width, 3):
            return image_bgr
        how = cv2.INTER_AREA if width < image_bgr.shape[1] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image_bgr, (width, height), interpolation=how), np.uint8)

    def _caption(self, number: int, rows: Labels, *, black: bool) -> list[str]:
        return [
            f"{printable(self._labels.name, _MAX_NAME)}  frame {number}",
            *(["no picture"] if black else []),
            *(["grey: to be ignored"] if rows.ignore.any() else []),
            *(["~ filled in between"] if not rows.keyframe[~rows.ignore].all() else []),
        ]


def as_tracks(labels: Labels, scale: NDArray[np.float64] | float = 1.0) -> Tracks:
    """The rows of a frame as they are drawn, all of score 1; boxes are multiplied by `scale`."""
    left_top, size = labels.boxes_xywh[:, :2], labels.boxes_xywh[:, 2:]
    boxes_xyxy = np.hstack([left_top, left_top + size]) * scale
    count = len(labels)
    return Tracks(
        labels.ids, boxes_xyxy, np.ones(count), labels.class_ids, np.full(count, -1, np.int64)
    )


def _write_caption(image: NDArray[np.uint8], parts: Sequence[str]) -> None:
    """Write into the lower left corner, as much of it as fits."""
    import cv2

    height, width = image.shape[:2]
    scale = min(height, width) / 720
    size, thick = max(0.4, 0.55 * scale), max(1, round(scale))
    pad = max(3, round(6 * scale))
    font = cv2.FONT_HERSHEY_SIMPLEX
    for count in range(len(parts), 0, -1):
        text = "  |  ".join(parts[:count])
        (across, up), down = cv2.getTextSize(text, font, size, thick)
        if across + 2 * pad <= width or count == 1:
            break
    top = max(0, height - up - down - 2 * pad)
    corner = image[top:, : across + 2 * pad]
    corner[:] = corner // 4
    cv2.putText(image, text, (pad, height - down - pad), font, size, _TEXT, thick, cv2.LINE_AA)


def sheet_scale(size: tuple[int, int], count: int, box: tuple[int, int] = (0, 0)) -> float:
    """What to multiply pictures of a size by so that `count` fit on a sheet.

    Args:
        size: Width and height of the pictures in pixels.
        count: How many there are on the sheet.
        box: The largest width and height of any on it; smaller pictures grow up to that, at most
            to three times their size.
    """
    width, height = max(box[0], size[0]), max(box[1], size[1])
    columns = _columns((width, height), count)
    rows = -(-count // columns)
    across = (MAX_SIDE - _GAP * (columns + 1)) / columns
    down = (MAX_SIDE - _GAP * (rows + 1)) / rows
    shrink = min(1.0, across / width, down / height)
    return min(shrink * width / size[0], shrink * height / size[1], 3.0)


def _columns(size: tuple[int, int], count: int) -> int:
    """So many that the sheet is about 4 wide and 3 high."""
    best = np.sqrt(count * 1.4 * size[1] / size[0])
    return int(np.clip(round(best), 1, count))


def compose(cells: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put drawn frames, at least one, side by side and below one another.

    Args:
        cells: In order; smaller ones stand in the middle of the place the largest needs.

    Returns:
        Pixels, uint8, shape (height, width, 3), at most `MAX_SIDE` a side.
    """
    import cv2

    height = max(cell.shape[0] for cell in cells)
    width = max(cell.shape[1] for cell in cells)
    columns = _columns((width, height), len(cells))
    rows = -(-len(cells) // columns)
    sides = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP)
    sheet = np.empty((*sides, 3), np.uint8)
    sheet[:] = _BACKGROUND
    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        top = _GAP + row * (height + _GAP) + (height - cell.shape[0]) // 2
        left = _GAP + column * (width + _GAP) + (width - cell.shape[1]) // 2
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    scale = MAX_SIDE / max(sides)
    if scale >= 1:
        return sheet
    to = (max(1, int(sides[1] * scale)), max(1, int(sides[0] * scale)))
    return np.asarray(cv2.resize(sheet, to, interpolation=cv2.INTER_AREA), np.uint8)
