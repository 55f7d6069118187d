from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from motrail.errors import ConfigError, DataError
from motrail.types import Tracks
from motrail.video.draw import _PALETTE, TrackDrawer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 640, 360
GREY = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)


def tracks(ids: list[int], boxes_xyxy: ArrayLike, class_id: int = 0) -> Tracks:
    n = len(ids)
    return Tracks(ids, boxes_xyxy, [0.88] * n, [class_id] * n, list(range(n)))


def drawer(**settings: Any) -> TrackDrawer:
    size = {"width": WIDTH, "height": HEIGHT, "frame_rate": 10}
    return TrackDrawer(["person", "car"], **(size | settings))


def changed(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((image != 90).any(axis=2))


def edge_color(image: NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(image[250, 350].tolist())  # on the right edge of BOX


BOX = [300, 200, 350, 300]


def test_a_box_and_a_label_and_the_input_untouched() -> None:
    before = GREY.copy()
    drawn = drawer().draw(GREY, tracks([12], [BOX]))
    assert np.array_equal(GREY, before)
    assert drawn.shape == GREY.shape
    assert drawn.dtype == np.uint8
    where = changed(drawn)
    assert where[200:301, 300].all()
    assert where[300, 300:351].all()
    assert not where[205:295, 305:345].any()  # what is tracked stays visible
    assert where[190:198, 302:330].any()  # the label stands above
    rows, columns = np.nonzero(where)
    assert rows.min() > 170
    assert columns.max() < 430


def test_a_read_only_image() -> None:
    image = GREY.copy()
    image.setflags(write=False)
    assert changed(drawer().draw(image, tracks([1], [BOX]))).any()


def heard(it: TrackDrawer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels that the drawer draws from now on."""
    said: list[str] = []
    annotate = it._labels.annotate

    def listen(scene: Any, rows: Any, labels: list[str]) -> Any:
        said.extend(labels)
        return annotate(scene, rows, labels)

    monkeypatch.setattr(it._labels, "annotate", listen)
    return said


def test_the_label_says_id_class_and_score(monkeypatch: pytest.MonkeyPatch) -> None:
    it = drawer()
    said = heard(it, monkeypatch)
    it.draw(GREY, tracks([12], [BOX]))
    it.draw(GREY, tracks([3], [BOX], class_id=1))
    it.draw(GREY, tracks([4], [BOX], class_id=2))
    it.draw(GREY, tracks([5], [BOX], class_id=-1))
    assert said == ["12 person 0.88", "3 car 0.88", "4 2 0.88", "5 -1 0.88"]


def test_what_a_label_may_leave_out_or_add(monkeypatch: pytest.MonkeyPatch) -> None:
    it = drawer(scores=False)
    said = heard(it, monkeypatch)
    # The larger box is drawn and named first.
    large = [300, 100, 400, 300]
    it.draw(GREY, tracks([12, 7], [BOX, large]), filled=np.array([True, False]))
    it.draw(GREY, tracks([-1], [BOX]))
    assert said == ["7 person", "12 person ~", "person"]
    said.clear()
    both = tracks([12, 7], [BOX, large])
    it.draw(GREY, both, faint=np.array([False, True]), filled=np.array([True, False]))
    assert said == ["12 person ~"]


def test_faint_rows_are_grey_boxes_and_nothing_else() -> None:
    it = drawer()
    for step in range(5):
        box = [300 - 20 * step, 200, 350 - 20 * step, 300]
        drawn = it.draw(GREY, tracks([12], [box]), faint=np.array([True]))
    where = changed(drawn)
    rows, columns = np.nonzero(where)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (200, 300, 220, 270)
    assert not where[203:298, 223:268].any()
    colors = np.unique(drawn[where], axis=0)
    assert (colors == colors[:, :1]).all()  # no colour
    plain = drawer(trail_seconds=0).draw(GREY, tracks([3], [BOX]))
    mixed = drawer(trail_seconds=0).draw(
        GREY, tracks([12, 3], [[10, 10, 20, 20], BOX]), faint=np.array([True, False])
    )
    assert np.array_equal(mixed[100:], plain[100:])


def test_what_has_no_identity_has_no_trail() -> None:
    it = drawer()
    it.draw(GREY, tracks([-1], [[0, 200, 50, 250]]))
    drawn = it.draw(GREY, tracks([-1], [[200, 200, 250, 250]]))
    assert not changed(drawn)[249:252, 60:190].any()


def test_an_identity_keeps_its_colour() -> None:
    it = drawer(trail_seconds=0)
    first = edge_color(it.draw(GREY, tracks([5], [BOX])))
    for _ in range(3):
        it.draw(GREY, tracks([1, 2, 9], [[0, 50, 40, 90]] * 3))
    crowd = tracks([9, 5], [[0, 50, 40, 90], BOX], class_id=1)
    assert edge_color(it.draw(GREY, crowd)) == first
    assert edge_color(it.draw(GREY, tracks([6], [BOX]))) != first


def test_colours_of_neighbours_are_far_apart() -> None:
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _PALETTE], np.float32)
    lab = cv2.cvtColor(rgb[None] / 255, cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    n = len(_PALETTE)
    assert n >= 20
    assert distance[~np.eye(n, dtype=bool)].min() > 30
    assert all(distance[i, (i + 1) % n] > 80 for i in range(n))
    assert all(distance[i, (i + 2) % n] > 60 for i in range(n))


def test_label_text_contrasts_with_its_background() -> None:
    it = drawer()
    boxes, texts = it._labels.color, it._labels.text_color

    def luminance(rgb: tuple[int, int, int]) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (v / 255 for v in rgb)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for i in range(len(_PALETTE)):
        pair: Any = (boxes, texts)
        dark, light = sorted(luminance(palette.by_idx(i).as_rgb()) for palette in pair)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA


def test_the_trail_shows_where_it_came_from() -> None:
    it = drawer(trail_seconds=1.0)
    for step in range(30):
        moved = [100 + 10 * step, 200, 150 + 10 * step, 250]
        drawn = it.draw(GREY, tracks([1], [moved]))
    where = changed(drawn)
    # Bottom centre was at x = 415 in the last frame; one second earlier at 315.
    assert where[249:253, 320:385].any(axis=0).all()
    assert not where[230:270, :310].any()
    assert (
        changed(drawer(trail_seconds=0).draw(GREY, tracks([1], [moved])))[250, 320:380].sum() == 0
    )


def test_empty_frames_let_the_trail_run_out() -> None:
    it = drawer(trail_seconds=1.0)
    it.draw(GREY, tracks([1], [[0, 200, 50, 250]]))
    for _ in range(3):
        assert np.array_equal(it.draw(GREY, Tracks.empty()), GREY)
    assert changed(it.draw(GREY, tracks([1], [[200, 200, 250, 250]])))[249:252, 60:190].any()
    for _ in range(20):
        it.draw(GREY, Tracks.empty())
    after_gap = changed(it.draw(GREY, tracks([1], [[500, 200, 550, 250]])))
    assert not after_gap[230:270, 260:490].any()


def test_boxes_that_leave_the_image() -> None:
    it = drawer(trail_seconds=0)
    around = np.array([[-1e30, -1e30, 1e30, 1e30]])
    label_only = changed(it.draw(GREY, tracks([1], around)))
    assert label_only[:25, :100].any()
    assert not label_only[40:].any()
    outside = np.array([[-500, -500, -400, -400], [9000, 0, 9100, 50], [0, 360, 640, 400]])
    assert np.array_equal(it.draw(GREY, tracks([2, 3, 4], outside)), GREY)
    top_right = changed(it.draw(GREY, tracks([4], [[600, -50, 700, 100]])))
    assert top_right[:100, 600].all()
    label = np.flatnonzero(top_right[5, :])  # moved into the image, all of it
    assert label[-1] - label[0] > 60
    assert 560 < label[0] < label[-1] <= 639


@pytest.mark.parametrize(("width", "height"), [(320, 240), (854, 480), (3840, 2160), (9, 5)])
def test_lines_and_letters_grow_with_the_image(width: int, height: int) -> None:
    image = np.full((height, width, 3), 90, np.uint8)
    box = [0.4 * width, 0.5 * height, 0.6 * width, 0.9 * height]
    it = drawer(width=width, height=height, trail_seconds=0)
    where = changed(it.draw(image, tracks([1], [box])))
    assert where.any()
    if height >= 240:
        middle = where[round(0.7 * height), : width // 2]
        assert 0 <= middle.sum() - round(0.0021 * height + 0.6) <= 2  # OpenCV's lines are wider
        label = where[: round(0.5 * height) - 3].any(axis=1).sum()
        assert 0.02 * height <= label <= 0.07 * height


def test_a_crowd_of_a_hundred() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (100, 2)) * [WIDTH, HEIGHT]
    it = drawer()
    for _ in range(12):
        corners += rng.normal(0, 3, corners.shape)
        boxes = np.column_stack([corners, corners + rng.uniform(1, 60, (100, 2))])
        drawn = it.draw(GREY, tracks(list(range(1, 101)), boxes))
    assert changed(drawn).mean() > 0.2


def test_small_boxes_lie_on_top_of_large_ones() -> None:
    small, large = [320, 220, 340, 250], [300, 200, 500, 340]
    it = drawer(trail_seconds=0)
    one = it.draw(GREY, tracks([1, 2], [small, large]))
    other = it.draw(GREY, tracks([2, 1], [large, small]))
    assert np.array_equal(one, other)


def test_memory_of_trails_is_bounded() -> None:
    it = drawer(trail_seconds=1.0)
    blank = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for frame in range(200):
        ids = [10**9 + frame * 5 + k for k in range(5)]
        it.draw(blank, tracks(ids, [BOX] * 5))
        if frame % 3 == 0:
            it.draw(blank, Tracks.empty())
    assert it._trails is not None
    assert len(it._trails.trace.xy) <= 5 * 12


def test_wrong_images() -> None:
    with pytest.raises(DataError, match=r"expected uint8 of shape \(360, 640, 3\)"):
        drawer().draw(np.zeros((10, 10, 3), np.uint8), Tracks.empty())


@pytest.mark.parametrize(
    "setting",
    [
        {"width": 0},
        {"height": -1},
        {"frame_rate": 0},
        {"frame_rate": float("nan")},
        {"trail_seconds": -1},
        {"trail_seconds": float("nan")},
    ],
)
def test_wrong_settings(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        drawer(**setting)
