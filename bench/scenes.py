"""BYTE, steady, and steady with each way to find the camera's motion, on synthetic scenes.

The truth of a scene is made into what a detector would see: boxes tremble, hidden objects get low
scores, some are missed for a few frames on end, and there are false ones. All trackers get the same
detections, and the pictures are those of the scene.

    python bench/scenes.py [--seeds 3] [--frames 150] [--camera still shake] [--weights 0 1 2]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from motrail.config import TrackerSettings
from motrail.dataset.scenes import SCENES, SceneSettings, TruthCollector, make_scene
from motrail.evaluate.protocol import Protocol
from motrail.evaluate.run import Score, score
from motrail.evaluate.tracked import as_labels
from motrail.formats.mot.detections import DetectionFile
from motrail.moving import FileCamera, FramesCamera
from motrail.pipeline import follow
from motrail.track.camera_file import CameraFile
from motrail.track.make import make_tracker
from motrail.types import Detections, Frame, SequenceDetections, SequenceTracks
from motrail.video.flow import shrink

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from motrail.formats.labels import Labels
    from motrail.track.motion import Motion
    from motrail.video.flow import Small

CAMERAS = {
    "still": {"camera_shake": False, "camera_pan": False},
    "moving": {"camera_shake": True, "camera_pan": True},
}
_TREMBLE = 0.03
"""Standard deviation of each side of a box, in units of its size."""
_MISSED = 0.05
"""Share of boxes with which a gap begins."""
_GAP = 4
_FALSE = 0.5
"""False boxes in a frame, on average."""


class Clip(NamedTuple):
    """A scene as a tracker sees it."""

    truth: Labels
    detections: list[Detections]
    pictures: list[Small]
    camera: CameraFile


def make_clip(settings: SceneSettings) -> Clip:
    """Draw a scene, and see what a detector would."""
    scene = make_scene(settings)
    collector = TruthCollector(scene, scene.name)
    rng = np.random.default_rng([settings.seed, 2026])
    gone: dict[int, int] = {}
    found, pictures = [], []
    for frame in scene.frames():
        collector.add(frame)
        pictures.append(shrink(frame.image))
        rows = np.flatnonzero(frame.visibility >= 0.1)
        starts = rng.random(len(rows)) < _MISSED
        for row in rows[starts]:
            gone[int(frame.ids[row])] = frame.number + int(rng.geometric(1 / _GAP)) - 1
        rows = rows[[gone.get(int(frame.ids[row]), 0) < frame.number for row in rows]]
        found.append(_seen(frame.boxes_xywh[rows], frame.visibility[rows],
                           frame.class_ids[rows], settings, rng))  # fmt: skip
    return Clip(collector.labels(), found, pictures, CameraFile(collector.camera(), "truth"))


def _seen(
    boxes: NDArray[np.float64],
    seen: NDArray[np.float64],
    classes: NDArray[np.int64],
    settings: SceneSettings,
    rng: np.random.Generator,
) -> Detections:
    size = np.tile(boxes[:, 2:], 2)
    corners = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
    corners = corners + rng.normal(0, _TREMBLE, corners.shape) * size
    scores = 0.25 + 0.65 * seen + rng.normal(0, 0.08, len(seen))
    count = int(rng.poisson(_FALSE))
    if count and len(boxes):
        like = rng.integers(0, len(boxes), count)
        place = rng.uniform(0, [settings.width, settings.height], (count, 2))
        false = np.concatenate((place, place + boxes[like, 2:]), axis=1)
        corners = np.concatenate((corners, false))
        scores = np.concatenate((scores, rng.uniform(0.1, 0.65, count)))
        classes = np.concatenate((classes, classes[like]))
    edge = [settings.width, settings.height] * 2
    corners = np.clip(corners, 0, edge)
    kept = ((corners[:, 2:] - corners[:, :2]) > 2).all(axis=1)
    scores = np.clip(scores, 0.02, 0.97)
    return Detections(corners[kept], scores[kept], classes[kept])


def run(clip: Clip, settings: TrackerSettings, camera: str) -> tuple[Score, float]:
    """The score, and the milliseconds that a frame took."""
    truth = clip.truth
    tracker = make_tracker(settings, truth.frame_rate, (truth.width, truth.height))
    flow, file = FramesCamera(), FileCamera(clip.camera)

    class Told:
        """A camera that has its pictures already."""

        def motion(self, frame: Frame, detections: Detections) -> Motion | None:
            if camera == "file":
                return file.motion_at(frame.number)
            return flow.motion_of(clip.pictures[frame.number - 1], detections)

    def frames() -> Generator[tuple[Frame, Detections]]:
        nothing = np.empty((0, 0, 3), np.uint8)
        for number, detections in enumerate(clip.detections, start=1):
            yield Frame(number, nothing, 0.0), detections

    start = time.perf_counter()
    told = Told() if camera in ("frames", "file") else None
    results = [(frame.number, tracks) for frame, _, tracks in follow(frames(), tracker, told)]
    took = (time.perf_counter() - start) / len(results) * 1e3
    tracks = SequenceTracks(
        frames=np.repeat([n for n, _ in results], [len(t) for _, t in results]).astype(np.int64),
        **{name: np.concatenate([getattr(t, name) for _, t in results])
           for name in ("ids", "boxes_xyxy", "scores", "class_ids", "detection_index")},
    )  # fmt: skip
    nothing_more = SequenceDetections(np.empty(0, np.int64), np.empty((0, 4)), np.empty(0),
                                      np.empty(0, np.int64))  # fmt: skip
    named = DetectionFile(truth.name, truth.classes, nothing_more)
    parts = score(truth, as_labels(truth, named, tracks), Protocol("classes"))
    return Score.combined(list(parts.values())), took


def ways(weights: list[float]) -> dict[str, tuple[TrackerSettings, str]]:
    """Name, settings, and where the camera's motion comes from."""
    found = {"byte": (TrackerSettings(), ""), "byte .9": (TrackerSettings(match_threshold=0.9), "")}
    for weight in weights:
        base = TrackerSettings(tracker="steady", height_weight=weight)
        still = dataclasses.replace(base, camera_motion="off", match_threshold=0.85)
        end = f" h{weight:g}" if len(weights) > 1 else ""
        found |= {
            f"off{end}": (still, ""),
            f"detections{end}": (base, ""),
            f"frames{end}": (dataclasses.replace(still, camera_motion="frames"), "frames"),
            f"file{end}": (dataclasses.replace(still, camera_motion="frames"), "file"),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--scenes", nargs="+", default=SCENES)
    parser.add_argument("--camera", nargs="+", choices=tuple(CAMERAS), default=tuple(CAMERAS))
    parser.add_argument("--weights", nargs="+", type=float, default=[2.0])
    arguments = parser.parse_args()
    print(f"{'scene':20} {'tracker':16} {'HOTA':>6} {'AssA':>6} {'IDF1':>6} {'MOTA':>6} "
          f"{'IDSW':>5} {'ms':>6}")  # fmt: skip
    for scene in arguments.scenes:
        for camera in arguments.camera:
            clips = [
                make_clip(SceneSettings(scene=scene, seed=seed, frames=arguments.frames,
                                        difficulty="hard", **CAMERAS[camera]))
                for seed in range(arguments.seeds)
            ]  # fmt: skip
            for name, (settings, source) in ways(arguments.weights).items():
                scores, times = zip(*(run(clip, settings, source) for clip in clips), strict=True)
                values = Score.combined(scores).as_dict()
                cells = " ".join(f"{values[key]:6.2f}" for key in ("HOTA", "AssA", "IDF1", "MOTA"))
                print(f"{scene + ', ' + camera:20} {name:16} {cells} {values['IDSW']:5.0f} "
                      f"{np.median(times):6.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
