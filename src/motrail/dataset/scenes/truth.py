"""Collects the truth of a synthetic clip, as labels and as positions in the world."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from motrail.formats.labels import Labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from motrail.dataset.scenes.scene import Scene, SceneFrame


HARDLY_SEEN = 0.1
"""Visible share of an object below which it is to be ignored."""
_CALIBRATED = ((0.15, 0.3), (0.85, 0.3), (0.97, 0.95), (0.03, 0.97), (0.47, 0.56))
"""Where in the picture points of the ground are made known, as shares of its sides."""


class TruthCollector:
    """Takes the frames of a clip one by one; pictures are not kept.

        collector = TruthCollector(scene, "football-train-1")
        for frame in scene.frames():
            collector.add(frame)
        labels, world = collector.labels(), collector.world()

    Args:
        scene: Whose frames they are.
        name: What to call the sequence.
    """

    def __init__(self, scene: Scene, name: str) -> None:
        self._scene = scene
        self._name = name
        self._numbers: list[int] = []
        self._counts: list[int] = []
        self._homographies: list[NDArray[np.float64]] = []
        self._columns: dict[str, list[NDArray[np.float64] | NDArray[np.int64]]] = {
            "ids": [np.zeros(0, np.int64)],
            "class_ids": [np.zeros(0, np.int64)],
            "boxes_xywh": [np.zeros((0, 4))],
            "visibility": [np.zeros(0)],
            "world_xy": [np.zeros((0, 2))],
        }

    def add(self, frame: SceneFrame) -> None:
        """Take one frame, in order."""
        self._numbers.append(frame.number)
        self._counts.append(len(frame))
        self._homographies.append(frame.homography)
        for name, column in self._columns.items():
            column.append(getattr(frame, name))

    def labels(self) -> Labels:
        """The labels of the frames so far; every box is a keyframe.

        Of what is to be ignored less than a tenth can be seen: nobody could be blamed for not
        finding it, and nothing can be learned from it.
        """
        settings, visibility = self._scene.settings, self._joined("visibility").astype(np.float64)
        return Labels.of(
            self._name,
            self._scene.classes,
            self._frames(),
            self._joined("ids").astype(np.int64),
            self._joined("boxes_xywh").astype(np.float64),
            self._joined("class_ids").astype(np.int64),
            visibility=visibility,
            ignore=visibility < HARDLY_SEEN,
            width=settings.width,
            height=settings.height,
            length=max(self._numbers, default=0),
            frame_rate=float(settings.frame_rate),
        )

    def world(self) -> dict[str, object]:
        """Where the camera and the objects were, as JSON can hold it.

        Keys: `unit` (metre); `scene` and `settings`, from which the clip can be made again;
        `camera` (`position` in metres, `rotation` world to camera with rows right, down and
        forward, `focal` and `center` in pixels; as it stands before it shakes or pans);
        `homographies` (`frames`, and for each the 3×3 `matrices` from ground metres (x, y, 1) to
        pixels); `objects` (for each `id` its `class`, the `frames` in which it is in the picture,
        and its `xy` in metres on the ground in each of them).
        """
        camera = self._scene.camera
        return {
            "unit": "metre",
            "scene": self._scene.name,
            "settings": dataclasses.asdict(self._scene.settings),
            "camera": {
                "position": camera.position.tolist(),
                "rotation": camera.rotation.tolist(),
                "focal": camera.focal,
                "center": list(camera.center),
            },
            "homographies": {
                "frames": list(self._numbers),
                "matrices": [matrix.tolist() for matrix in self._homographies],
            },
            "objects": self._objects(),
        }

    def calibration(self) -> str:
        """Five points of the ground as TOML, for `motrail analyze`; empty if the camera moves."""
        first = self._homographies[0]
        if any(not np.array_equal(first, other) for other in self._homographies):
            return ""
        size = (self._scene.settings.width, self._scene.settings.height)
        pixels = (np.array(_CALIBRATED) * size).round(1)
        points = np.linalg.inv(first) @ np.column_stack([pixels, np.ones(len(pixels))]).T
        lines = ["# Points of the ground that are known: made with the footage.", 'unit = "m"']
        for pixel, ground in zip(pixels.tolist(), (points[:2] / points[2]).T.tolist(), strict=True):
            lines += ["", "[[points]]", f"pixel = {pixel}", f"ground = {ground}"]
        return "\n".join(lines) + "\n"

    def camera(self) -> dict[int, NDArray[np.float64]]:
        """How the camera moved, as `motrail.track.camera_file` keeps it.

        A camera that turns moves the picture by a homography; here is the affine map that is
        nearest to it on a grid over the picture.
        """
        settings = self._scene.settings
        return {
            number: _nearest_affine(now @ np.linalg.inv(before), settings.width, settings.height)
            for number, before, now in zip(
                self._numbers,
                [*self._homographies[:1], *self._homographies],
                self._homographies,
                strict=False,
            )
        }

    def _objects(self) -> list[dict[str, object]]:
        frames, ids = self._frames(), self._joined("ids")
        classes, xy = self._joined("class_ids"), self._joined("world_xy")
        found: list[dict[str, object]] = []
        for number in np.unique(ids).tolist():
            rows = np.flatnonzero(ids == number)
            found.append(
                {
                    "id": number,
                    "class": self._scene.classes[int(classes[rows[0]])],
                    "frames": frames[rows].tolist(),
                    "xy": xy[rows].tolist(),
                }
            )
        return found

    def _frames(self) -> NDArray[np.int64]:
        return np.repeat(np.array(self._numbers, np.int64), np.array(self._counts, np.int64))

    def _joined(self, name: str) -> NDArray[np.float64] | NDArray[np.int64]:
        return np.concatenate(self._columns[name])  # type: ignore[return-value]


def _nearest_affine(
    homography: NDArray[np.float64], width: int, height: int
) -> NDArray[np.float64]:
    """The affine map (2, 3) that does nearly the same to points all over a picture."""
    x, y = np.meshgrid(np.linspace(0, width, 9), np.linspace(0, height, 9))
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    moved = homography @ points
    found, *_ = np.linalg.lstsq(points.T, (moved[:2] / moved[2]).T, rcond=None)
    return np.asarray(found.T, np.float64)
