"""Results as JSON, CSV and JSON Lines, and which of them a request wants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from motrail.formats.mot.detections import DetectionFileWriter
from motrail.formats.mot.tracks import TrackFileWriter
from motrail.serve.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.types import Detections, Tracks

JSON, CSV, LINES, MP4 = "application/json", "text/csv", "application/jsonl", "video/mp4"
FRAME_TYPES = (JSON, CSV, LINES)
VIDEO_TYPES = (JSON, CSV, LINES, MP4)


class TrackText(TrackFileWriter):
    """The rows of a track file in memory, as `TrackFileWriter` writes them."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, text: str) -> None:
        """Keep the next rows."""
        self.text += text


class DetectionText(DetectionFileWriter):
    """The rows of a detection file in memory, as `DetectionFileWriter` writes them."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, text: str) -> None:
        """Keep the next rows."""
        self.text += text


def wanted(accept: str | None, known: Sequence[str]) -> str:
    """The media type to answer with: that of the highest weight, the first of `known` at a tie.

    Args:
        accept: The header, RFC 9110, 12.5.1.
        known: What there is, the default first.

    Raises:
        Problem: 406.
    """
    if accept is None or not accept.strip():
        return known[0]
    ranges = [_weighted(part) for part in accept.split(",") if part.strip()]
    best, best_weight = "", 0.0
    for kind in known:
        general = f"{kind.partition('/')[0]}/*"
        for level in (kind, general, "*/*"):  # the most specific range counts
            weights = [weight for name, weight in ranges if name == level]
            if weights:
                if weights[0] > best_weight:
                    best, best_weight = kind, weights[0]
                break
    if not best:
        raise Problem(406, "not_acceptable", f"accept: expected {', '.join(known)}")
    return best


def _weighted(part: str) -> tuple[str, float]:
    name, *parameters = (text.strip().lower() for text in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = float(parameter[2:])
            except ValueError:
                weight = 0.0
    return name, weight if 0 <= weight <= 1 else 0.0


def detections_answer(
    frame: int | None, size: tuple[int, int], detections: Detections, names: Sequence[str]
) -> dict[str, Any]:
    """What was detected in a frame; boxes in pixels with 2 decimals, scores with 4."""
    rows = zip(
        detections.boxes_xyxy.tolist(),
        detections.scores.tolist(),
        detections.class_ids.tolist(),
        strict=True,
    )
    found = [
        {"box": [round(x, 2) for x in box], "score": round(score, 4), "class": names[class_id]}
        for box, score, class_id in rows
    ]
    return {"frame": frame, "width": size[0], "height": size[1], "detections": found}


def tracks_answer(
    frame: int, size: tuple[int, int], tracks: Tracks, names: Sequence[str]
) -> dict[str, Any]:
    """What was tracked in a frame; boxes in pixels with 2 decimals, scores with 4."""
    rows = zip(
        tracks.ids.tolist(),
        tracks.boxes_xyxy.tolist(),
        tracks.scores.tolist(),
        tracks.class_ids.tolist(),
        strict=True,
    )
    found = [
        {
            "id": id_,
            "box": [round(x, 2) for x in box],
            "score": round(score, 4),
            "class": names[class_id],
        }
        for id_, box, score, class_id in rows
    ]
    return {"frame": frame, "width": size[0], "height": size[1], "tracks": found}


def as_lines(items: Sequence[dict[str, Any]]) -> str:
    """JSON Lines."""
    return "".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in items)
