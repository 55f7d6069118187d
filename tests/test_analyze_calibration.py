"""From pixels to metres: the homography, its error, and points that do not suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from motrail.analyze.calibration import apply, calibrate, read_calibration
from motrail.analyze.template import write_template
from motrail.dataset.scenes.camera import Camera
from motrail.errors import ConfigError, DataError, FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CAMERA = Camera.looking((0.0, -20.0, 8.0), (0.0, 0.0, 0.0), 800.0, (640, 360))
INVERSE = np.asarray(np.linalg.inv(CAMERA.homography), np.float64)
GROUND = np.array([[-6.0, -5], [6, -5], [9, 8], [-9, 8], [0, 1], [3, -2], [-4, 3]])


def seen(ground: NDArray[np.float64]) -> NDArray[np.float64]:
    return apply(CAMERA.homography, ground)


def test_four_points_give_the_camera_exactly() -> None:
    found = calibrate(seen(GROUND[:4]), GROUND[:4])
    places = np.array([[1.5, 2.5], [-3.0, 6.0]])
    assert apply(found.matrix, seen(places)) == pytest.approx(places, abs=1e-8)
    assert found.error < 1e-8
    assert found.left_out_error is None
    assert np.isnan(found.left_out).all()


def test_more_points_say_how_far_it_is_off() -> None:
    rng = np.random.default_rng(3)
    pixels = seen(GROUND) + rng.normal(0, 1.5, (7, 2))
    found = calibrate(pixels, GROUND)
    assert found.left_out_error is not None
    assert 0.02 < found.left_out_error < 0.6
    # Least squares in the picture, as OpenCV finds it.
    other = np.asarray(cv2.findHomography(GROUND, pixels, 0)[0], np.float64)
    best = float((found.pixel_errors**2).sum())
    assert best == pytest.approx(float(((apply(other, GROUND) - pixels) ** 2).sum()), rel=1e-4)
    assert found.error == pytest.approx(
        float(np.sqrt(((apply(found.matrix, pixels) - GROUND) ** 2).sum(axis=1).mean()))
    )


def test_a_point_given_wrongly_stands_out() -> None:
    pixels = seen(GROUND)
    pixels[4] += (25, 0)
    found = calibrate(pixels, GROUND)
    assert int(np.argmax(found.pixel_errors)) == 4
    assert found.pixel_errors[4] > 1.5 * np.delete(found.pixel_errors, 4).max()
    assert found.left_out[4] == pytest.approx(
        float(np.hypot(*(apply(INVERSE, pixels[4:5]) - GROUND[4]).T)[0]),
        abs=1e-4,
    )


@pytest.mark.parametrize(
    ("ground", "message"),
    [
        (GROUND[:3], "expected at least 4 points, found 3"),
        ([[0, 0], [1, 0], [2, 0], [5, 0], [9, 0]], "all 5 points are on one line"),
        ([[0, 0], [1, 0], [2, 0], [3, 4.0]], "3 of 4 points are on one line"),
        ([[0, 0], [1, 0], [2, 0], [5, 0], [3, 4.0]], "4 of 5 points are on one line"),
        ([[0, 0], [1, 0], [1, 0], [3, 4.0]], "point 2 and point 3 have the same"),
    ],
)
def test_points_that_do_not_say_where_the_ground_is(
    ground: list[list[float]], message: str
) -> None:
    places = np.array(ground, np.float64)
    with pytest.raises(DataError, match=message):
        calibrate(seen(places), places)


def test_points_that_are_exchanged() -> None:
    ground = GROUND[:4]
    with pytest.raises(DataError, match="some would be behind the camera; are two of them"):
        calibrate(seen(ground), ground[[1, 0, 2, 3]])


GOOD = """
[[points]]
name = "corner"
pixel = [100, 100]
ground = [0, 0]
[[points]]
pixel = [500, 110]
ground = [10, 0]
[[points]]
pixel = [600, 300]
ground = [10, 5]
[[points]]
pixel = [50, 310]
ground = [0, 5.5]
"""


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cal.toml"
    path.write_text(GOOD)
    found = read_calibration(path)
    assert found.names == ("corner", "point 2", "point 3", "point 4")
    assert apply(found.matrix, np.array([[600.0, 300.0]])) == pytest.approx(
        np.array([[10, 5]]), abs=1e-6
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[100, 100]", "[100]"), "points.0.pixel"),
        (("[100, 100]", "[nan, 100]"), "points.0.pixel.0: Input should be"),
        (("[100, 100]", "[1e300, 100]"), "less than or equal to 10000000"),
        (("[100, 100]", '["a", 100]'), "points.0.pixel.0: Input should be a valid number, found a"),
        (("ground = [0, 0]", ""), "points.0.ground: Field required"),
        (('name = "corner"', "nome = 3"), "points.0.nome: Extra inputs are not permitted"),
        (('name = "corner"', 'name = "point 2"'), "expected points of different names"),
        (("[[points]]", "[[points"), "expected TOML"),
        (("[10, 0]", "[0, 0]"), "corner and point 2 have the same ground"),
    ],
)
def test_files_that_are_none(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "cal.toml"
    path.write_text(GOOD.replace(*change, 1))
    with pytest.raises(FormatError) as caught:
        read_calibration(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_calibration(tmp_path / "none.toml")


def test_a_template_to_be_filled_in(tmp_path: Path) -> None:
    video = tmp_path / "frame.png"
    cv2.imwrite(str(video), np.full((90, 160, 3), 90, np.uint8))
    path = tmp_path / "new" / "cal.toml"
    path.parent.mkdir()
    assert write_template(str(video), path) == (path, path.with_suffix(".png"))
    grid = cv2.imread(str(path.with_suffix(".png")))
    assert grid is not None
    assert grid.shape == (720, 1280, 3)
    with pytest.raises(FormatError, match="points.0.ground: Field required"):
        read_calibration(path)
    with pytest.raises(ConfigError, match="is there already"):
        write_template(str(video), path)
    text = path.read_text()
    for number, place in enumerate(("[0, 0]", "[9, 0]", "[9, 5]", "[0, 5]")):
        text = text.replace("# ground = [0.0, 0.0]", f"ground = {place}", 1)
        assert text.count("\nground") == number + 1
    path.write_text(text)
    assert read_calibration(path).error < 1e-6
    with pytest.raises(ConfigError, match="expected the name of a file such as calibration.toml"):
        write_template(str(video), tmp_path / "cal.txt")
