"""Labels drawn into their pictures: sheets and videos."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest

from motrail import Tracks
from motrail.dataset.folder import DatasetWriter
from motrail.dataset.footage import Footage, place
from motrail.dataset.preview.canvas import MAX_SIDE, compose, sheet_scale
from motrail.dataset.preview.draw import preview
from motrail.errors import ConfigError, FormatError, OutputError, VideoError
from motrail.formats.labels import Labels, ReadOptions
from motrail.video.draw import TrackDrawer
from motrail.video.source import Selection
from motrail.video.write import VideoWriter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT, GAP = 320, 240, 8
CAPTION = 30  # rows at the bottom that the caption may need
# frame, id, left, top, width, height, ignore, keyframe
ROWS = [
    (1, 5, 40, 60, 30, 60, 0, 1),
    (2, 5, 60, 60, 30, 60, 0, 1),
    (2, 6, 200, 40, 50, 80, 1, 1),
    (2, 7, 120, 100, 20, 40, 0, 0),
    (4, 5, 90, 60, 30, 60, 0, 1),
]


def picture(number: int) -> NDArray[np.uint8]:
    """Smooth enough to survive a video, and another one for each number."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([across * 0.5, down * 0.8, np.full_like(down, 20 * number)], axis=2)
    return image.astype(np.uint8)


def labels(name: str, **rest: Any) -> Labels:
    table = np.array(ROWS)
    usual: dict[str, Any] = {
        "width": WIDTH,
        "height": HEIGHT,
        "length": 4,
        "frame_rate": 10.0,
        "ignore": table[:, 6] == 1,
        "keyframe": table[:, 7] == 1,
    }
    ids = table[:, 1]
    boxes = table[:, 2:6].astype(np.float64)
    return Labels.of(name, ["person"], table[:, 0], ids, boxes, ids * 0, **(usual | rest))


def dataset(path: Path, *sequences: Labels) -> Path:
    path.mkdir()
    with DatasetWriter(path) as writer:
        for sequence in sequences:
            place(writer.add(sequence))
        writer.finish()
    return path


def with_pictures(folder: Path, name: str, numbers: tuple[int, ...] = (1, 2, 4)) -> Labels:
    folder.mkdir(exist_ok=True)
    pictures = {number: folder / f"{name}-{number:06d}.png" for number in numbers}
    for number, path in pictures.items():
        cv2.imwrite(str(path), picture(number))
    return labels(name, pictures=pictures)


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """A dataset of one sequence, whose third frame has neither picture nor label."""
    return dataset(tmp_path / "data", with_pictures(tmp_path / "in", "yard"))


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path)), np.uint8)


def decode(path: Path) -> tuple[list[NDArray[np.uint8]], list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in frames], [
        float(f.time or 0) for f in frames
    ]


def drawer(**settings: Any) -> TrackDrawer:
    usual: dict[str, Any] = {"frame_rate": 10, "scores": False, "trail_seconds": 0}
    return TrackDrawer(["person"], width=WIDTH, height=HEIGHT, **(usual | settings))


def rows_of(number: int) -> tuple[Tracks, NDArray[np.bool_], NDArray[np.bool_]]:
    rows = np.array([row for row in ROWS if row[0] == number])
    xyxy = np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
    count = len(rows)
    tracks = Tracks(rows[:, 1], xyxy, [1] * count, [0] * count, [-1] * count)
    return tracks, rows[:, 6] == 1, rows[:, 7] == 0


def cell(sheet: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    top, left = GAP + row * (HEIGHT + GAP), GAP + column * (WIDTH + GAP)
    return sheet[top : top + HEIGHT, left : left + WIDTH]


def test_a_frame_of_a_sheet_is_what_the_drawer_draws(yard: Path, tmp_path: Path) -> None:
    summary = preview(yard, tmp_path / "a.png", selection=Selection(2, 2))
    found = cell(read(tmp_path / "a.png"), 0, 0)
    tracks, faint, filled = rows_of(2)
    expected = drawer().draw(picture(2), tracks, faint=faint, filled=filled)
    assert np.array_equal(found[:-CAPTION], expected[:-CAPTION])
    assert not np.array_equal(found[-CAPTION:], expected[-CAPTION:])
    assert (summary.sequences, summary.frames, summary.boxes) == (1, 1, 3)
    assert summary.files == [str(tmp_path / "a.png")]
    assert summary.as_dict()["without_picture"] == 0


def test_a_sheet_shows_labelled_frames_in_order(yard: Path, tmp_path: Path) -> None:
    preview(yard, tmp_path / "a.png")
    sheet = read(tmp_path / "a.png")
    assert sheet.shape == (2 * (HEIGHT + GAP) + GAP, 2 * (WIDTH + GAP) + GAP, 3)
    for number, (row, column) in {1: (0, 0), 2: (0, 1), 4: (1, 0)}.items():
        tracks, faint, filled = rows_of(number)
        expected = drawer().draw(picture(number), tracks, faint=faint, filled=filled)
        assert np.array_equal(cell(sheet, row, column)[:-CAPTION], expected[:-CAPTION])
    assert (cell(sheet, 1, 1) == sheet[0, 0]).all()


def test_frames_on_a_sheet_are_evenly_spaced(tmp_path: Path) -> None:
    rows = np.arange(1, 101)
    boxes = np.tile([10.0, 10, 20, 20], (100, 1))
    many = Labels.of("a", ["x"], rows, rows, boxes, rows * 0, width=64, height=64, length=100)
    said: list[int] = []
    preview(dataset(tmp_path / "data", many), tmp_path / "a.jpg", frames=4,
            progress=lambda _what, done, total: said.append(done * 100 + (total or 0)))  # fmt: skip
    assert said == [104, 204, 304, 404]


def test_a_sheet_of_several_sequences(tmp_path: Path) -> None:
    both = dataset(tmp_path / "data", *(with_pictures(tmp_path / "in", n) for n in ("a", "b")))
    summary = preview(both, tmp_path / "a.png", frames=6)
    assert (summary.sequences, summary.frames, summary.boxes) == (2, 6, 10)
    one = preview(both, tmp_path / "b.png", sequence="all/b", frames=6)
    assert (one.sequences, one.frames) == (1, 3)


def test_a_video(yard: Path, tmp_path: Path) -> None:
    summary = preview(yard, tmp_path / "a.mp4")
    images, times = decode(tmp_path / "a.mp4")
    assert times == pytest.approx([0, 0.1, 0.3])  # the rate of the sequence; frame 3 is not there
    assert summary.frames == 3
    trailing = drawer(trail_seconds=1.0)
    for image, number in zip(images, (1, 2, 4), strict=True):
        tracks, faint, filled = rows_of(number)
        expected = trailing.draw(picture(number), tracks, faint=faint, filled=filled)
        assert image.shape == expected.shape
        difference = np.abs(image.astype(int) - expected)[:-CAPTION]
        plain = np.abs(image.astype(int) - picture(number))[:-CAPTION]
        assert difference.mean() < 4
        assert plain.mean() > difference.mean()


def test_a_long_gap_is_a_second_of_video(tmp_path: Path) -> None:
    one = with_pictures(tmp_path / "in", "a", (1, 4, 9000)).replace(length=9000)
    preview(dataset(tmp_path / "data", one), tmp_path / "a.mp4")
    assert decode(tmp_path / "a.mp4")[1] == pytest.approx([0, 0.1, 0.3, 1.3])


def test_a_selection_of_frames(yard: Path, tmp_path: Path) -> None:
    assert preview(yard, tmp_path / "a.mp4", selection=Selection(2, 4, 2)).frames == 2
    with pytest.raises(ConfigError, match="found none from 3 to 3"):
        preview(yard, tmp_path / "b.mp4", selection=Selection(3, 3))
    with pytest.raises(ConfigError, match="found none from 5 to the end in steps of 2"):
        preview(yard, tmp_path / "b.jpg", selection=Selection(5, None, 2))
    with pytest.raises(ConfigError, match="found none from 5 to the end"):
        preview(yard, tmp_path / "b", selection=Selection(5))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "data", "in"]


def test_a_folder_has_a_video_of_each(tmp_path: Path) -> None:
    both = dataset(tmp_path / "data", *(with_pictures(tmp_path / "in", n) for n in ("a", "b")))
    summary = preview(both, tmp_path / "look")
    assert summary.files == [str(tmp_path / "look" / f"{n}.mp4") for n in ("a", "b")]
    assert sorted(p.name for p in (tmp_path / "look").iterdir()) == ["a.mp4", "b.mp4"]
    preview(both, tmp_path / "sheets", sheet=True)
    assert sorted(p.name for p in (tmp_path / "sheets").iterdir()) == ["a.jpg", "b.jpg"]


def test_a_folder_leaves_out_what_is_not_in_the_range(tmp_path: Path) -> None:
    short = with_pictures(tmp_path / "in", "a")
    long = with_pictures(tmp_path / "in", "b", (1, 2, 4, 6)).replace(length=6)
    summary = preview(dataset(tmp_path / "data", short, long), tmp_path / "look",
                      selection=Selection(5))  # fmt: skip
    assert [p.name for p in (tmp_path / "look").iterdir()] == ["b.mp4"]
    assert summary.notes == {"sequences without frames in this range are left out": 1}


def test_without_pictures_it_is_black(tmp_path: Path) -> None:
    summary = preview(dataset(tmp_path / "data", labels("a")), tmp_path / "a.png",
                      selection=Selection(1, 1))  # fmt: skip
    found = cell(read(tmp_path / "a.png"), 0, 0)
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert np.array_equal(found[:-CAPTION], drawer().draw(black, rows_of(1)[0])[:-CAPTION])
    assert found[-CAPTION:].max() > 200  # the caption
    assert summary.without_picture == 1


def test_a_broken_picture_is_black_and_told(yard: Path, tmp_path: Path) -> None:
    (yard / "all" / "yard" / "img1" / "000002.png").write_bytes(b"nonsense")
    summary = preview(yard, tmp_path / "a.mp4")
    assert summary.notes == {"pictures that cannot be read are drawn black": 1}
    assert summary.without_picture == 1
    assert decode(tmp_path / "a.mp4")[0][1][200:205, 250:300].max() < 20


def video(path: Path, count: int = 6) -> Path:
    with VideoWriter(path, width=WIDTH, height=HEIGHT, frame_rate=10) as writer:
        for number in range(1, count + 1):
            writer.write(picture(number), number / 10)
    return path


def test_footage_of_labels_without_pictures(tmp_path: Path) -> None:
    footage = Footage(video(tmp_path / "yard.mp4"))
    (tmp_path / "yard.txt").write_text("2,5,60,60,30,60,1,1,1\n")
    summary = preview(tmp_path / "yard.txt", tmp_path / "a.mp4", footage=footage)
    images, times = decode(tmp_path / "a.mp4")
    assert len(images) == summary.frames == 6
    assert times == pytest.approx(np.arange(6) / 10)
    assert [round(float(image[20, 300, 2])) // 20 for image in images] == pytest.approx(
        [1, 2, 3, 4, 5, 6], abs=1
    )
    assert summary.without_picture == 0
    one = preview(tmp_path / "yard.txt", tmp_path / "a.jpg", footage=footage)
    assert one.frames == 1
    assert preview(tmp_path / "yard.txt", tmp_path / "b.mp4", footage=footage,
                   selection=Selection(2, 4)).frames == 3  # fmt: skip


def test_footage_that_does_not_belong(tmp_path: Path) -> None:
    footage = Footage(video(tmp_path / "yard.mp4"))
    (tmp_path / "yard.txt").write_text("9,5,60,60,30,60,1,1,1\n")
    with pytest.raises(
        FormatError, match=r"frames 1 to 6, as many as the video 'yard' has, found some for frame 9"
    ):
        preview(tmp_path / "yard.txt", tmp_path / "a.mp4", footage=footage)
    other = labels("a").replace(width=64, height=48)
    with pytest.raises(FormatError, match=r"expected 64x48 pixels as told for 'a', found 320x240"):
        preview(dataset(tmp_path / "data", other), tmp_path / "a.mp4", footage=footage)
    assert not (tmp_path / "a.mp4").exists()


def test_one_video_is_not_for_two_sequences(tmp_path: Path) -> None:
    footage = Footage(video(tmp_path / "yard.mp4"))
    both = dataset(tmp_path / "data", labels("a"), labels("b"))
    with pytest.raises(ConfigError, match=r"is one video, and there is another sequence, 'b'"):
        preview(both, tmp_path / "look", footage=footage)
    assert not (tmp_path / "look").exists()
    preview(both, tmp_path / "b.mp4", sequence="b", footage=footage)


def test_a_picture_of_another_size(yard: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(yard / "all" / "yard" / "img1" / "000002.png"), picture(1)[:100])
    with pytest.raises(
        FormatError, match=r"000002\.png: expected 320x240 pixels as told for 'yard', found 320x100"
    ):
        preview(yard, tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_nobody_knows_the_size(tmp_path: Path) -> None:
    (tmp_path / "cam.txt").write_text("1,5,60,60,30,60,1,1,1\n")
    with pytest.raises(FormatError, match=r"size of the frames is not known .* --video V or --siz"):
        preview(tmp_path / "cam.txt", tmp_path / "a.mp4")
    preview(tmp_path / "cam.txt", tmp_path / "a.png", footage=Footage(size=(64, 48)))
    preview(tmp_path / "cam.txt", tmp_path / "a.png", options=ReadOptions(size=(64, 48)))
    assert read(tmp_path / "a.png").shape == (48 + 2 * GAP, 64 + 2 * GAP, 3)


def test_an_absurd_size(tmp_path: Path) -> None:
    huge = dataset(tmp_path / "data", labels("a").replace(width=1_000_000, height=1_000_000))
    for name in ("a.mp4", "a.jpg"):
        with pytest.raises(VideoError, match="a: expected at most 134,217,728 pixels, found 1000"):
            preview(huge, tmp_path / name)


def test_an_unknown_sequence(yard: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.jpg", "look"):
        with pytest.raises(ConfigError, match="no sequence 'yerd'; did you mean 'yard'"):
            preview(yard, tmp_path / name, sequence="yerd")
        assert not (tmp_path / name).exists()


def test_a_video_shows_one_sequence(tmp_path: Path) -> None:
    both = dataset(tmp_path / "data", labels("a"), labels("b"))
    with pytest.raises(ConfigError, match=r"found more \(a, b …\); choose one with --sequence, or"):
        preview(both, tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("a.avi", {}, r"a\.avi: expected a name that ends in \.mp4 .*\.png .*, or a folder"),
        ("a.mp4", {"sheet": True}, r"expected a name that ends in \.jpg or \.png .*, or a folder"),
        ("a.jpg", {"frames": 0}, "frames: expected 1 to 400 of them on a sheet, found 0"),
        ("a.jpg", {"frames": 401}, "frames: expected 1 to 400 of them on a sheet, found 401"),
    ],
)
def test_wrong_use(
    yard: Path, tmp_path: Path, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        preview(yard, tmp_path / name, **settings)


def test_a_folder_that_holds_something_stays(yard: Path, tmp_path: Path) -> None:
    (tmp_path / "look").mkdir()
    (tmp_path / "look" / "mine").write_text("mine")
    with pytest.raises(OutputError, match="there is something in this folder already"):
        preview(yard, tmp_path / "look")
    assert (tmp_path / "look" / "mine").read_text() == "mine"


def test_footage_is_not_drawn_over(tmp_path: Path) -> None:
    footage = video(tmp_path / "yard.mp4")
    before = footage.read_bytes()
    (tmp_path / "yard.txt").write_text("2,5,60,60,30,60,1,1,1\n")
    with pytest.raises(ConfigError, match=r"yard\.mp4: is part of the footage itself; choose"):
        preview(tmp_path / "yard.txt", footage, footage=Footage(footage))
    assert footage.read_bytes() == before


def test_a_picture_is_not_drawn_over(yard: Path) -> None:
    shot = yard / "all" / "yard" / "img1" / "000002.png"
    with pytest.raises(ConfigError, match=r"000002\.png: is part of the footage itself; choose"):
        preview(yard, shot)


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg", "look"])
def test_interrupted_it_leaves_nothing(yard: Path, tmp_path: Path, name: str) -> None:
    if name != "look":
        (tmp_path / name).write_text("before")

    def stop(_what: str, done: int, _total: int | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(KeyboardInterrupt):
        preview(yard, tmp_path / name, progress=stop)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "look").exists()


def test_a_sequence_without_frames(tmp_path: Path) -> None:
    empty = dataclasses.replace(labels("a")[:0], length=0)
    with pytest.raises(ConfigError, match="expected frames to draw, found none from 1 to the end"):
        preview(dataset(tmp_path / "data", empty), tmp_path / "a.jpg")


def test_odd_names_and_rows(tmp_path: Path) -> None:
    rows = np.array([1, 1, 1])
    boxes = np.array([[-5e8, 0, 1e9, 50], [5, 5, 1e-300, 4], [50, 20, 9, 9]])
    odd = Labels.of("é" * 80, ["$\n名"], rows, np.array([-1, 10**18, -1]), boxes, rows * 0,
                    width=64, height=48, length=1)  # fmt: skip
    path = dataset(tmp_path / "data", odd)
    for name in ("a.mp4", "a.png"):
        assert preview(path, tmp_path / name).boxes == 3


@pytest.mark.parametrize(
    ("size", "count"),
    [((1920, 1080), 12), ((1080, 1920), 12), ((640, 480), 1), ((9, 5), 400), ((16000, 10), 3)],
)
def test_a_sheet_is_not_too_large(size: tuple[int, int], count: int) -> None:
    scale = sheet_scale(size, count)
    assert 0 < scale <= 1
    shape = (max(1, round(size[1] * scale)), max(1, round(size[0] * scale)), 3)
    sheet = compose([np.zeros(shape, np.uint8)] * count)
    assert max(sheet.shape) <= MAX_SIDE


def test_pictures_of_several_sizes_fill_the_same_place() -> None:
    large = sheet_scale((1920, 1080), 12, (1920, 1080))
    small = sheet_scale((640, 480), 12, (1920, 1080))
    assert small * 480 == pytest.approx(large * 1080)
    sheet = compose([np.full((40, 60, 3), 200, np.uint8), np.full((20, 30, 3), 200, np.uint8)])
    assert (sheet == 200).all(axis=2).sum() == 40 * 60 + 20 * 30


def test_real_sequences(data: Path, tmp_path: Path) -> None:
    summary = preview(data / "mot17_mini", tmp_path / "a.jpg", frames=7)
    assert (summary.frames, summary.without_picture) == (7, 0)
    sheet = read(tmp_path / "a.jpg")
    assert max(sheet.shape) <= MAX_SIDE
    assert 20 < sheet.mean() < 200
