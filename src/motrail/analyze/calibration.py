"""From pixels to metres: a homography of the ground from points that are known in both.

    unit = "m"

    [[points]]
    pixel = [412.5, 233.0]
    ground = [0.0, 0.0]

Pixels are counted from the top left corner of the picture, to the right and down. The ground is a
plane with axes of your own choice, in metres. The camera must stand still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field
from scipy.optimize import least_squares

from motrail.analyze.toml import STRICT, Place, Text, read_toml
from motrail.errors import DataError, FormatError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

FEWEST = 4
_MOST = 10_000
_FLAT = 1e-4
"""Share of the extent of points that their nearness to a line may fall to."""


class _Point(BaseModel):
    model_config = STRICT
    name: Text = ""
    pixel: Place
    ground: Place


class _Content(BaseModel):
    model_config = STRICT
    unit: Literal["m"] = "m"
    points: Annotated[list[_Point], Field(max_length=_MOST)] = []


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Where pixels are on the ground.

    Attributes:
        matrix: Pixels (x, y, 1) to homogeneous ground, positive in front of the camera, float64,
            shape (3, 3).
        names: What the points are called.
        pixels: Points in the picture, float64, shape (n, 2).
        ground: The same points in metres, float64, shape (n, 2).
        errors: How far each point is from where the homography puts it, in metres, shape (n,).
        left_out: The same by a homography of the other points, shape (n,): how well it holds
            between the points. NaN where the others do not suffice.
        pixel_errors: As `errors`, in pixels.
    """

    matrix: NDArray[np.float64]
    names: tuple[str, ...]
    pixels: NDArray[np.float64]
    ground: NDArray[np.float64]
    errors: NDArray[np.float64]
    left_out: NDArray[np.float64]
    pixel_errors: NDArray[np.float64]

    @property
    def inverse(self) -> NDArray[np.float64]:
        """Ground to homogeneous pixels, float64, shape (3, 3)."""
        return np.asarray(np.linalg.inv(self.matrix), np.float64)

    @property
    def error(self) -> float:
        """Root mean square of `errors`, in metres."""
        return float(np.sqrt((self.errors**2).mean()))

    @property
    def left_out_error(self) -> float | None:
        """Median of `left_out`, in metres; None with only four points.

        Not the mean: without a corner the others may say next to nothing about it.
        """
        known = self.left_out[np.isfinite(self.left_out)]
        return float(np.median(known)) if len(known) else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "points": [
                {
                    "name": name,
                    "pixel": pixel,
                    "ground": ground,
                    "error_m": error,
                    "left_out_error_m": left if np.isfinite(left) else None,
                    "error_px": in_pixels,
                }
                for name, pixel, ground, error, left, in_pixels in zip(
                    self.names,
                    self.pixels.tolist(),
                    self.ground.tolist(),
                    self.errors.tolist(),
                    self.left_out.tolist(),
                    self.pixel_errors.tolist(),
                    strict=True,
                )
            ],
            "error_m": self.error,
            "left_out_error_m": self.left_out_error,
            "homography_pixel_to_ground": self.matrix.tolist(),
        }


def calibrate(
    pixels: NDArray[np.float64], ground: NDArray[np.float64], names: tuple[str, ...] = ()
) -> Calibration:
    """The homography that fits points best: least squares of the distances in the picture.

    It is where points were clicked that is in doubt, so it is there that errors are counted
    (Hartley and Zisserman, Multiple View Geometry, 2nd edition, section 4.2.3); a linear solution
    of normalised coordinates (algorithm 4.2) is where the search begins.

    Args:
        pixels: Points in the picture, shape (n, 2), four or more.
        ground: The same points in metres, shape (n, 2).
        names: What they are called; left out: by their number.

    Raises:
        DataError: There are fewer than four, or they do not say where the ground is.
    """
    names = names or tuple(f"point {number}" for number in range(1, len(pixels) + 1))
    if len(pixels) < FEWEST:
        raise DataError(f"expected at least {FEWEST} points, found {len(pixels)}")
    _check_apart(pixels, names, "pixel")
    _check_apart(ground, names, "ground")
    _check_spread(pixels, "in the picture")
    _check_spread(ground, "on the ground")
    to_pixels = _solve(ground, pixels)
    matrix = _oriented(np.asarray(np.linalg.inv(to_pixels), np.float64), pixels)
    mapped = apply(matrix, pixels)
    left_out = np.full(len(pixels), np.nan)
    for number in range(len(pixels)) if len(pixels) > FEWEST else ():
        others = np.arange(len(pixels)) != number
        try:
            _check_spread(pixels[others], "")
            _check_spread(ground[others], "")
            solved = _solve(ground[others], pixels[others])
            without = np.asarray(np.linalg.inv(solved), np.float64)
        except DataError:
            continue
        place = apply(without, pixels[number : number + 1])[0]
        left_out[number] = np.hypot(*(place - ground[number]))
    return Calibration(
        matrix,
        names,
        pixels,
        ground,
        np.hypot(*(mapped - ground).T),
        left_out,
        np.hypot(*(apply(to_pixels, ground) - pixels).T),
    )


def apply(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map points, shape (n, 2), by a homography; what goes to infinity becomes NaN."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    depth = np.where(np.abs(mapped[:, 2]) > 1e-12, mapped[:, 2], np.nan)
    return np.asarray(mapped[:, :2] / depth[:, None], np.float64)


def _solve(ground: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ground to pixels, float64, shape (3, 3)."""
    to_a, to_b = _normaliser(ground), _normaliser(pixels)
    a, b = apply(to_a, ground), apply(to_b, pixels)
    one, none = np.ones((len(a), 1)), np.zeros((len(a), 3))
    whole = np.hstack([a, one])
    rows = np.vstack(
        [
            np.hstack([whole, none, -b[:, :1] * whole]),
            np.hstack([none, whole, -b[:, 1:] * whole]),
        ]
    )
    _, sizes, vectors = np.linalg.svd(rows)
    if sizes[7] < 1e-7 * sizes[0]:
        raise DataError(
            "the points do not say where the ground is: too many of them are on one line; spread "
            "them over the ground, no three of four on a line"
        )
    start = vectors[-1] / np.linalg.norm(vectors[-1])
    if len(a) > FEWEST:

        def off(values: NDArray[np.float64]) -> NDArray[np.float64]:
            mapped = apply(values.reshape(3, 3), a) - b
            return np.asarray(np.nan_to_num(mapped, nan=1e6).ravel(), np.float64)

        start = least_squares(off, start, x_scale=1.0, max_nfev=200).x
    return np.asarray(np.linalg.inv(to_b) @ start.reshape(3, 3) @ to_a, np.float64)


def _normaliser(points: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = points.mean(axis=0)
    scale = np.sqrt(2) / max(float(np.hypot(*(points - middle).T).mean()), 1e-300)
    return np.array([[scale, 0, -scale * middle[0]], [0, scale, -scale * middle[1]], [0, 0, 1.0]])


def _oriented(matrix: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    depth = pixels @ matrix[2, :2] + matrix[2, 2]
    if not ((depth > 0).all() or (depth < 0).all()):
        raise DataError(
            "the points contradict each other: some would be behind the camera; are two of them "
            "exchanged?"
        )
    matrix = matrix / np.abs(depth).mean()
    return matrix if depth[0] > 0 else -matrix


def _check_apart(points: NDArray[np.float64], names: tuple[str, ...], what: str) -> None:
    known: dict[tuple[float, ...], str] = {}
    for point, name in zip(points.tolist(), names, strict=True):
        other = known.setdefault(tuple(point), name)
        if other != name:
            raise DataError(f"{other} and {name} have the same {what}: {point}")


def _check_spread(points: NDArray[np.float64], where: str) -> None:
    """See that four of the points are the corners of something, no three of them on a line."""
    middle = points - points.mean(axis=0)
    sizes = np.linalg.svd(middle, compute_uv=False)
    if sizes[1] < _FLAT * sizes[0]:
        raise DataError(
            f"all {len(points)} points are on one line {where}; a plane needs points beside it, "
            "no three of four on a line"
        )
    # With all points but one on a line the plane may still turn about that line.
    for number in range(len(points)) if len(points) <= 64 else ():
        rest = np.delete(middle, number, axis=0)
        sizes = np.linalg.svd(rest - rest.mean(axis=0), compute_uv=False)
        if sizes[1] < _FLAT * sizes[0]:
            raise DataError(
                f"{len(points) - 1} of {len(points)} points are on one line {where}; a plane "
                "needs four of which no three are on a line"
            )


def read_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read a calibration file.

    Raises:
        ConfigError: There is no such file.
        FormatError: It is no TOML, has other keys, or its points do not say where the ground is.
    """
    content = read_toml(path, _Content)
    given = content.points
    names = tuple(point.name or f"point {number}" for number, point in enumerate(given, start=1))
    if len(set(names)) < len(names):
        raise FormatError(path, "expected points of different names")
    pixels = np.array([point.pixel for point in given], np.float64).reshape(-1, 2)
    ground = np.array([point.ground for point in given], np.float64).reshape(-1, 2)
    try:
        return calibrate(pixels, ground, names)
    except DataError as error:
        raise FormatError(path, str(error)) from None
