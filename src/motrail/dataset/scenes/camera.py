"""A pinhole camera above the ground plane, in metres.

The world is right-handed with z up and the ground at z = 0. Pixels are continuous: the picture's
top left corner is (0, 0), the middle of the first pixel (0.5, 0.5).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR = 0.1
"""Metres in front of the camera from which on something can be seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Where a picture is taken from and how.

    Attributes:
        position: In metres, float64, shape (3,).
        rotation: World to camera, rows right, down and forward, float64, shape (3, 3).
        focal: Focal length in pixels.
        center: Principal point in pixels.
        width: Of the picture in pixels.
        height: Of the picture in pixels.
    """

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    focal: float
    center: tuple[float, float]
    width: int
    height: int

    @classmethod
    def looking(
        cls,
        position: tuple[float, float, float],
        target: tuple[float, float, float],
        focal: float,
        size: tuple[int, int],
    ) -> Camera:
        """A camera with a level horizon that has `target` in the middle of its picture."""
        place = np.array(position, np.float64)
        forward = np.array(target, np.float64) - place
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        width, height = size
        return cls(place, rotation, focal, (width / 2, height / 2), width, height)

    def turned(self, yaw: float, pitch: float, roll: float) -> Camera:
        """The camera turned about itself, in radians: to the right, upwards, clockwise."""
        cy, sy = math.cos(yaw), math.sin(yaw)
        cp, sp = math.cos(pitch), math.sin(pitch)
        cr, sr = math.cos(roll), math.sin(roll)
        about_down = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        about_right = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        about_forward = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        turn = about_forward @ about_right @ about_down
        return dataclasses.replace(self, rotation=turn @ self.rotation)

    def widened(self, margin: int) -> Camera:
        """The camera with `margin` more pixels on every side."""
        return dataclasses.replace(
            self,
            center=(self.center[0] + margin, self.center[1] + margin),
            width=self.width + 2 * margin,
            height=self.height + 2 * margin,
        )

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """The calibration matrix K, float64, shape (3, 3)."""
        return np.array(
            [[self.focal, 0, self.center[0]], [0, self.focal, self.center[1]], [0, 0, 1.0]]
        )

    @property
    def homography(self) -> NDArray[np.float64]:
        """Ground (x, y, 1) in metres to homogeneous pixels, float64, shape (3, 3).

        With K, R and the position c it is K [r1 r2 -Rc] (Hartley and Zisserman, Multiple View
        Geometry, 2nd edition, section 8.1.1); scaled so that its last element is 1.
        """
        moved = -self.rotation @ self.position
        matrix = self.intrinsics @ np.column_stack([self.rotation[:, :2], moved])
        return np.asarray(matrix / matrix[2, 2], np.float64)

    def project(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels, shape (..., 2), and depths in metres, shape (...), of points (..., 3).

        What is not in front of the camera has a depth below `NEAR` and meaningless pixels.
        """
        seen = (points - self.position) @ self.rotation.T
        depth = seen[..., 2]
        scale = self.focal / np.maximum(depth, NEAR)
        return seen[..., :2] * scale[..., None] + np.array(self.center), depth

    def rays(self) -> NDArray[np.float64]:
        """World directions through the middle of every pixel, shape (height, width, 3)."""
        x = (np.arange(self.width) + 0.5 - self.center[0]) / self.focal
        y = (np.arange(self.height) + 0.5 - self.center[1]) / self.focal
        right, down, forward = self.rotation
        rays = x[None, :, None] * right + y[:, None, None] * down + forward
        return np.asarray(rays, np.float64)

    def pixels_of(self, other: Camera) -> NDArray[np.float64]:
        """The matrix from `other`'s pixels to these; both stand in the same place.

        For a camera that only turns it is K' R' R^T K^-1 (Hartley and Zisserman, section 8.4.2).
        """
        turn = self.rotation @ other.rotation.T
        return np.asarray(self.intrinsics @ turn @ np.linalg.inv(other.intrinsics), np.float64)
