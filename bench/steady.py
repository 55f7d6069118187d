"""What the steady tracker is worth, and each of its parts: the tables for `bench/figures.py`."""

from __future__ import annotations

import configparser
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from motrail.boxes import xyxy_to_xywh
from motrail.config import RefineSettings, TrackerSettings
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Evaluation, Score, score
from motrail.evaluate.tracked import as_labels, track_detections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from motrail.formats.labels import Labels
    from motrail.formats.mot.detections import DetectionFile
    from motrail.types import SequenceTracks

PROTOCOL = Protocol("mot17")
FILTERS: dict[str, Any] = {"min_box_area": 100, "max_aspect_ratio": 1.6}
OFFLINE = RefineSettings(offline=True)
PARTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("The camera's motion is taken out before matching", "`camera_motion` `off`", {}),
    (
        "Boxes of different height hardly match: similarity = IoU · (overlap in height)²",
        "`height_weight` 0, `match_threshold` 0.8",
        {"height_weight": 0.0, "match_threshold": 0.8},
    ),
    (
        "The filter believes a detector's box half as much",
        "`measurement_noise` 0.05",
        {"measurement_noise": 0.05},
    ),
    (
        "A weak detection also brings back what was lost up to 10 frames ago",
        "`revive_frames` 0",
        {"revive_frames": 0},
    ),
    (
        "A score that is not what the last two let expect costs",
        "`surprise_weight` 0",
        {"surprise_weight": 0.0},
    ),
    (
        "What is missed for up to two frames is given out where it is expected",
        "`coast_frames` 0",
        {"coast_frames": 0},
    ),
    (
        "Lost objects that have left the picture are forgotten",
        "`inside_share` 0",
        {"inside_share": 0.0},
    ),
    ("Lost objects are remembered for 60 frames, not 30", "`lost_frames` 30", {"lost_frames": 30}),
)
OFFLINE_PARTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Gaps are filled", "`max_gap` 0", {"max_gap": 0}),
    ("Boxes are smoothed", "`smoothing` 0", {"smoothing": 0.0}),
    ("Short weak tracks are left out", "`weak_length` 0", {"weak_length": 0}),
    ("Tracks are followed back to before they began", "`max_lead` 0", {"max_lead": 0}),
)


class Half(NamedTuple):
    """The half of all sequences that is scored.

    Attributes:
        truth: By name.
        detections: By name.
        cameras: Folder with a file a sequence that says how the camera moved.
    """

    truth: Mapping[str, Labels]
    detections: Mapping[str, DetectionFile]
    cameras: Path

    def settings(self, *, given: bool, **changes: Any) -> TrackerSettings:
        """Recipe N, or with the camera's motion `given` recipe G."""
        if given and changes.get("camera_motion") != "off":
            changes = {"camera_motion": "file", "camera_file": str(self.cameras)} | changes
        return TrackerSettings(tracker="steady", **FILTERS, **changes)

    def tracks(
        self, settings: TrackerSettings, offline: RefineSettings | None = None
    ) -> dict[str, SequenceTracks]:
        """Of all sequences."""
        return {
            name: track_detections(labels, self.detections[name], settings, offline)
            for name, labels in self.truth.items()
        }

    def score(self, tracks: Mapping[str, SequenceTracks]) -> Score:
        """Of all sequences together."""
        parts = {
            name: score(labels, as_labels(labels, self.detections[name], tracks[name]), PROTOCOL)
            for name, labels in self.truth.items()
        }
        return Evaluation(PROTOCOL, parts).combined


def write_cameras(data: Path, truth: Mapping[str, Labels], folder: Path) -> Path:
    """The camera's motion of the second halves, frames renumbered from 0."""
    folder.mkdir()
    for name, labels in truth.items():
        ini = configparser.ConfigParser()
        ini.read(data / "mot17" / "gt" / name / "seqinfo.ini")
        before = ini.getint("Sequence", "seqLength") - labels.length
        rows = np.loadtxt(data / "mot17" / "camera" / f"{name}.txt")
        rows = rows[rows[:, 0] >= before]
        rows[:, 0] -= before
        np.savetxt(folder / f"{name}.txt", rows, fmt=["%d", *["%.9g"] * 6])
    return folder


def write_results(tracks: Mapping[str, SequenceTracks], folder: Path) -> None:
    """MOT's result files, boxes at full precision."""
    folder.mkdir(parents=True)
    for name, rows in tracks.items():
        boxes = xyxy_to_xywh(rows.boxes_xyxy.astype(np.float64))
        unknown = np.full((len(rows), 3), -1)
        table = np.column_stack((rows.frames, rows.ids, boxes, rows.scores, unknown))
        np.savetxt(folder / f"{name}.txt", table, fmt="%.17g", delimiter=",")


def parts_table(half: Half) -> str:
    """HOTA without each part."""
    text = "| part | setting | not given | given |\n|---|---|---|---|\n"

    def line(about: str, without: str, values: list[float]) -> str:
        return f"| {about} | {without} | {values[0]:.2f} | {values[1]:.2f} |\n"

    def hota(offline: RefineSettings | None, **changes: Any) -> list[float]:
        return [
            half.score(half.tracks(half.settings(given=given, **changes), offline)).as_dict()[
                "HOTA"
            ]
            for given in (False, True)
        ]

    text += line("**online, all parts**", "", hota(None))
    for about, without, changes in PARTS:
        text += line(about, without, hota(None, **(changes or {"camera_motion": "off"})))
    text += line("**offline, all parts**", "`--offline`", hota(OFFLINE))
    for about, without, changes in OFFLINE_PARTS:
        text += line(about, without, hota(dataclasses.replace(OFFLINE, **changes)))
    return text
