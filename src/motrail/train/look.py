"""Pictures of a training run: its curves, and what the network finds beside what is labelled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from motrail.errors import MissingExtraError, VideoError
from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile

_LOSSES = ("loss", "iou_loss", "obj_loss", "cls_loss", "l1_loss")
_SCORES = ("AP", "AP50", "HOTA")
_SURE = 0.3
"""Score from which a box is drawn."""
_SIDE = 640
_LABELLED, _FOUND = (80, 200, 80), (60, 120, 255)  # blue, green, red


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; a last one that was cut off is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def draw_curves(folder: Path) -> None:
    """Draw `results.png` from `metrics.jsonl`: losses, scores and learning rate over the steps.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "evaluate", error) from error
    rows = read_rows(folder / "metrics.jsonl")
    steps = [row for row in rows if row["kind"] == "train"]
    checks = [row for row in rows if row["kind"] in ("before", "val")]
    figure = Figure(figsize=(13, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    for name in _LOSSES:
        panels[0].plot([r["update"] for r in steps], [r[name] for r in steps], label=name)
    for name in _SCORES:
        known = [row for row in checks if name in row]
        panels[1].plot([r["update"] for r in known], [r[name] for r in known], "o-", label=name)
    panels[2].plot([r["update"] for r in steps], [r["lr"] for r in steps], label="learning rate")
    for panel, title in zip(
        panels, ("losses", "scores on the validation split, per cent", "learning rate"), strict=True
    ):
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_xlabel("steps")
        panel.grid(alpha=0.25)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=8)
    panels[1].set_ylim(0, 100)
    file = WholeFile(folder / "results.png")
    with writing(file.path), file:
        figure.savefig(file.temporary, format="png", dpi=110)


def draw_examples(
    folder: Path,
    truth: Sequence[Labels],
    detections: Mapping[str, DetectionFile],
    *,
    count: int = 8,
) -> None:
    """Draw pictures with what is labelled on the left and what is found on the right.

    Args:
        folder: `examples/` in it is filled anew.
        truth: Labels with pictures.
        detections: By sequence.
        count: Pictures, spread evenly over the sequences.

    Raises:
        OutputError: A file cannot be written.
        VideoError: A picture cannot be read.
    """
    import cv2

    from motrail.video.images import decode_image

    frames = [(labels, n) for labels in truth for n in sorted(labels.pictures)]
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))
    with writing(folder / "examples"):
        (folder / "examples").mkdir(exist_ok=True)
    for index in chosen.tolist():
        labels, number = frames[index]
        source = labels.pictures[number]
        try:
            content = source.read_bytes()
        except OSError as error:
            raise VideoError(f"{source}: cannot be read: {error.strerror or error}") from error
        image = decode_image(content, str(source))
        file = detections.get(labels.name)
        rows = labels[(labels.frames == number) & ~labels.ignore]
        left = _drawn(image, rows.boxes_xywh, None, _LABELLED)
        right = _drawn(image, *_sure(file, number), _FOUND)
        _good, encoded = cv2.imencode(".jpg", np.concatenate([left, right], axis=1))
        path = folder / "examples" / f"{labels.name}-{number:06}.jpg"
        whole = WholeFile(path)
        with writing(path), whole:
            whole.temporary.write_bytes(encoded.tobytes())


def _sure(file: DetectionFile | None, number: int) -> tuple[Any, Any]:
    if file is None:
        return np.empty((0, 4)), np.empty(0)
    found = file.detections
    rows = (found.frames == number) & (found.scores >= _SURE)
    boxes = found.boxes_xyxy[rows].astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes, found.scores[rows]


def _drawn(image: Any, boxes_xywh: Any, scores: Any, color: tuple[int, int, int]) -> Any:
    import cv2

    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for row, box in enumerate(boxes_xywh * scale):
        left, top, width, height = (round(float(v)) for v in box)
        cv2.rectangle(canvas, (left, top), (left + width, top + height), color, 1)
        if scores is not None:
            place = (left, max(8, top - 2))
            cv2.putText(canvas, f"{scores[row]:.2f}", place, 0, 0.32, color, 1, cv2.LINE_AA)
    return canvas
