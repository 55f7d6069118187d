"""Draw tracks on frames: a box, a label and a short trail for each, one colour per identity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np

from motrail.errors import ConfigError, DataError, MissingExtraError
from motrail.interop import to_supervision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import supervision
    from numpy.typing import NDArray

    from motrail.types import Tracks

# 24 colours spread as far as possible in CIELAB (any two differ by 31 or more), in an order that
# keeps each far from the two after it (83 and 66 or more).
# fmt: off
_PALETTE = [
    "#b44b69", "#e1e100", "#00e1ff", "#963cb4", "#ffa587", "#0fd287", "#0078ff", "#f00087",
    "#5aa500", "#a54b0f", "#a5a5ff", "#0f784b", "#a500ff", "#ff9600", "#ffa5f0", "#00f000",
    "#696900", "#ff78ff", "#ff3c3c", "#d2e187", "#ff00f0", "#0069b4", "#c3a51e", "#2d4bff",
]
# fmt: on
_FAINT = (200, 200, 200)
_FILLED = "filled"


class TrackDrawer:
    """Draws the tracks of one video, frame after frame.

    A track keeps its colour for as long as it keeps its id. The trail runs along the middle of the
    box's lower edge, which for people and cars is where they touch the ground. Only the trail has
    a memory; it holds the last `trail_seconds` and nothing older.

    Args:
        class_names: Name of each class, in the order of `Tracks.class_ids`; a class beyond its end
            is shown by its number.
        width: Width of the frames in pixels; lines and letters are sized by it and the height.
        height: Height of the frames in pixels.
        frame_rate: Frames per second as they are given to `draw`.
        trail_seconds: Length of the trail; 0 draws none.
        scores: Whether a label tells the score.

    Raises:
        MissingExtraError: supervision is not installed.
        ConfigError: A size, rate or length makes no sense.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        width: int,
        height: int,
        frame_rate: float,
        trail_seconds: float = 1.0,
        scores: bool = True,
    ) -> None:
        _check_settings(width, height, frame_rate, trail_seconds)
        try:
            import supervision as sv
        except ImportError as error:
            raise MissingExtraError("supervision", "video", error) from error
        self._names = tuple(class_names)
        self._size = (width, height)
        self._scores = scores
        # The short side decides, so that an upright phone video is drawn like one lying down.
        scale = min(width, height) / 720
        self._line = max(1, round(1.5 * scale + 0.6))
        self._padding = max(2, round(3 * scale))
        colors = sv.ColorPalette.from_hex(_PALETTE)
        by_track = sv.ColorLookup.TRACK
        self._boxes = sv.BoxAnnotator(colors, thickness=self._line, color_lookup=by_track)
        self._faint = sv.BoxAnnotator(sv.Color(*_FAINT), thickness=max(1, self._line // 2))
        self._labels = sv.LabelAnnotator(
            colors,
            color_lookup=by_track,
            text_color=sv.ColorPalette([_text_color(sv, color) for color in colors.colors]),
            text_scale=max(0.38, 0.45 * scale),
            text_thickness=max(1, round(scale)),
            text_padding=self._padding,
        )
        sample = "12 person 0.88"
        label_width, self._label_height = _label_extent(self._labels, sample)
        self._letter_width = label_width / len(sample)
        self._trail_frames = max(2, math.ceil(trail_seconds * frame_rate) + 1)
        self._trails = None
        if trail_seconds > 0:
            self._trails = sv.TraceAnnotator(
                colors,
                position=sv.Position.BOTTOM_CENTER,
                trace_length=self._trail_frames,
                thickness=self._line,
                color_lookup=by_track,
            )

    def draw(
        self,
        image_bgr: NDArray[np.uint8],
        tracks: Tracks,
        *,
        out: NDArray[np.uint8] | None = None,
        faint: NDArray[np.bool_] | None = None,
        filled: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.uint8]:
        """Draw one frame's tracks. Call it for every frame in turn, also for empty ones.

        A track of id -1 is none that could be followed: it has neither number nor trail.

        Args:
            image_bgr: Pixels, uint8, shape (height, width, 3), channels blue, green, red; not
                changed.
            tracks: What to draw; boxes may leave the image.
            out: Where to draw, of the same shape and type, to spare fresh memory for every frame.
            faint: Rows of `tracks` to be drawn as thin grey boxes and nothing else, bool,
                shape (n,).
            filled: Rows that were filled in between others, bool, shape (n,); their label ends in
                a `~`.

        Returns:
            `out`, or a new image of the same shape.

        Raises:
            DataError: The image has another shape or type than announced.
        """
        width, height = self._size
        if image_bgr.shape != (height, width, 3) or image_bgr.dtype != np.uint8:
            raise DataError(
                f"image: expected uint8 of shape {(height, width, 3)} (height, width, BGR), "
                f"found {image_bgr.dtype} of shape {image_bgr.shape}"
            )
        if out is None:
            scene = image_bgr.copy()
        else:
            scene = out
            np.copyto(scene, image_bgr)
        rows = to_supervision(tracks)
        # OpenCV draws with 32-bit numbers; what lies that far out is not seen anyway.
        rows.xyxy = np.clip(rows.xyxy, [-width, -height] * 2, [2 * width, 2 * height] * 2)
        if filled is not None:
            rows.data[_FILLED] = filled.copy()
        if faint is not None:
            scene = self._faint.annotate(scene, self._visible(_pick(rows, faint)))
            rows = _pick(rows, ~faint)
        if self._trails is not None:
            self._forget_old_trails()
            followed = tracks.ids if faint is None else tracks.ids[~faint]
            scene = self._trails.annotate(scene, _pick(rows, followed != -1))
        rows = self._visible(rows)
        scene = self._boxes.annotate(scene, rows)
        labels = self._texts(rows)
        rows.xyxy = self._label_corners(rows.xyxy, labels)
        return self._labels.annotate(scene, rows, labels)

    def _visible(self, rows: supervision.Detections) -> supervision.Detections:
        """Rows that reach into the image, large boxes first, so that small ones end up on top."""
        left, top, right, bottom = rows.xyxy.T
        inside = (left < self._size[0]) & (top < self._size[1]) & (right > 0) & (bottom > 0)
        order = np.argsort((left - right) * (bottom - top), kind="stable")
        return cast("supervision.Detections", rows[order[inside[order]]])

    def _forget_old_trails(self) -> None:
        # supervision counts frames in which something was seen; after a long gap it would join a
        # returning track to where it was before.
        if self._trails is None:
            return
        trace = self._trails.trace
        recent = trace.frame_id > trace.current_frame_id - self._trail_frames
        trace.frame_id = trace.frame_id[recent]
        trace.xy = trace.xy[recent]
        trace.tracker_id = trace.tracker_id[recent]

    def _texts(self, rows: supervision.Detections) -> list[str]:
        if rows.tracker_id is None or rows.class_id is None or rows.confidence is None:
            return []
        filled = rows.data.get(_FILLED, np.zeros(len(rows), np.bool_))
        columns = zip(
            rows.tracker_id.tolist(),
            rows.class_id.tolist(),
            rows.confidence.tolist(),
            np.asarray(filled).tolist(),
            strict=True,
        )
        texts = []
        for id_, class_id, score, between in columns:
            parts = [] if id_ == -1 else [str(id_)]
            parts.append(self._class_name(class_id))
            if self._scores:
                parts.append(f"{score:.2f}")
            texts.append(" ".join([*parts, "~"] if between else parts))
        return texts

    def _class_name(self, class_id: int) -> str:
        return self._names[class_id] if 0 <= class_id < len(self._names) else str(class_id)

    def _label_corners(
        self, boxes_xyxy: NDArray[np.number], labels: list[str]
    ) -> NDArray[np.number]:
        """Boxes moved so far that a label above the top left corner stays in the image."""
        width, height = self._size
        label_width = np.array([len(text) for text in labels]) * self._letter_width
        corners = boxes_xyxy.copy()
        corners[:, 0] = np.clip(corners[:, 0], 0, np.maximum(width - label_width, 0))
        corners[:, 1] = np.clip(corners[:, 1], self._label_height, height - 1)
        return corners


def _pick(rows: supervision.Detections, which: NDArray[np.bool_]) -> supervision.Detections:
    """Rows by a mask; the very same where all are wanted, which spares copies."""
    return rows if which.all() else cast("supervision.Detections", rows[which])


def _label_extent(annotator: supervision.LabelAnnotator, text: str) -> tuple[int, int]:
    """Width and height in pixels of a drawn label, found by drawing it."""
    import supervision as sv

    side = 2048
    scene = np.zeros((side, side, 3), np.uint8)
    corner = np.array([[0, side // 2, 1, side // 2 + 1]], np.float32)
    one = sv.Detections(xyxy=corner, class_id=np.array([0]), tracker_id=np.array([0]))
    rows, columns = np.nonzero(annotator.annotate(scene, one, [text]).any(axis=2))
    return int(columns.max() - columns.min() + 1), int(rows.max() - rows.min() + 1)


def _text_color(sv: ModuleType, background: supervision.Color) -> supervision.Color:
    """Black on light colours, white on dark ones (relative luminance, WCAG 2)."""
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 for c in background.as_rgb()]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return cast("supervision.Color", sv.Color.BLACK if luminance > 0.18 else sv.Color.WHITE)


def _check_settings(width: int, height: int, frame_rate: float, trail_seconds: float) -> None:
    if width < 1 or height < 1:
        raise ConfigError(f"expected a width and height of at least 1, found {width}x{height}")
    if not (math.isfinite(frame_rate) and frame_rate > 0):
        raise ConfigError(f"frame_rate: expected a number above 0, found {frame_rate}")
    if not 0 <= trail_seconds <= 3600:
        raise ConfigError(f"trail_seconds: expected 0 to 3600, found {trail_seconds}")
