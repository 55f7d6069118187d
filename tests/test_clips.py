"""Footage cut into clips and taken apart into image files: every frame once, in its time."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest

from motrail.dataset.clips import cut_clips, extract_frames
from motrail.errors import ConfigError, OutputError, VideoError
from motrail.video.read import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT = 128, 64


def numbered(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.uint8]:
    """A picture that says which frame it is: eight bars, one for each bit of its number."""
    width, height = size
    image = np.full((height, width, 3), 20, np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[:, bit * width // 8 : (bit + 1) * width // 8] = 230
    return image


def shown_number(image: NDArray[np.uint8]) -> int:
    bars = [part.mean() for part in np.array_split(image, 8, axis=1)]
    return sum(1 << bit for bit in range(8) if bars[bit] > 125)


def make_video(
    path: Path,
    count: int,
    *,
    times: Sequence[float] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """A small video written with PyAV alone, every frame of which decodes by itself."""
    base = Fraction(1, 1000 if times else 25)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25, options={"q": "2"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj444p"
        stream.codec_context.time_base = base
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index + 1, size), format="bgr24")
            frame.time_base = base
            frame.pts = round(1000 * times[index]) if times else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_images(folder: Path, count: int, broken: Sequence[int] = ()) -> Path:
    folder.mkdir()
    for number in range(1, count + 1):
        path = folder / f"{number:03d}.png"
        assert cv2.imwrite(str(path), numbered(number))
        if number in broken:
            path.write_bytes(path.read_bytes()[:60])
    return folder


def clip_numbers(folder: Path) -> list[list[int]]:
    return [
        [shown_number(frame.image) for frame in open_source(path)]
        for path in sorted(folder.glob("*.mp4"))
    ]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_clips(tmp_path: Path) -> None:
    summary = cut_clips(make_video(tmp_path / "gate.mkv", 7), tmp_path / "out", frames=3)
    assert names(tmp_path / "out") == [
        "clips.json",
        "gate-0001.mp4",
        "gate-0002.mp4",
        "gate-0003.mp4",
    ]
    assert clip_numbers(tmp_path / "out") == [[1, 2, 3], [4, 5, 6], [7]]
    expected = {
        "source": "gate",
        "width": WIDTH,
        "height": HEIGHT,
        "frame_rate": 25.0,
        "frames": 7,
        "clips": [
            {"file": "gate-0001.mp4", "first": 1, "last": 3, "frames": 3, "time": 0.0},
            {"file": "gate-0002.mp4", "first": 4, "last": 6, "frames": 3, "time": 0.12},
            {"file": "gate-0003.mp4", "first": 7, "last": 7, "frames": 1, "time": 0.24},
        ],
        "missing": [],
        "broken": 0,
        "truncated": None,
    }
    assert json.loads((tmp_path / "out/clips.json").read_text()) == expected
    assert summary.as_dict() == {"output": str(tmp_path / "out")} | expected


def test_real_video(data: Path, tmp_path: Path) -> None:
    video = data / "videos/walking.mp4"
    summary = cut_clips(video, tmp_path / "out", frames=100)
    assert [clip.frames for clip in summary.clips] == [100, 100, 100, 41]

    # A quarter of the size tells frames apart as well and takes a sixteenth of the time.
    def small(image: NDArray[np.uint8]) -> NDArray[np.int16]:
        return image[::4, ::4].astype(np.int16)

    source = np.stack([small(frame.image) for frame in open_source(video)])
    clips = [open_source(tmp_path / "out" / clip.file) for clip in summary.clips]
    assert {(clip.width, clip.height, clip.frame_rate) for clip in clips} == {(1280, 720, 25.0)}
    count = 0
    for index, frame in enumerate(itertools.chain.from_iterable(clips)):
        near = range(max(0, index - 1), min(341, index + 2))
        distances = {n: float(np.abs(small(frame.image) - source[n]).mean()) for n in near}
        assert min(distances, key=distances.__getitem__) == index
        assert distances[index] < 2
        assert frame.time == pytest.approx((index % 100) / 25, abs=1e-4)
        count += 1
    assert count == 341


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = [0, 0.04, 0.1, 0.5, 0.52, 1.7, 1.75, 3.0]
    summary = cut_clips(make_video(tmp_path / "v.mkv", 8, times=times), tmp_path / "out", frames=3)
    assert [clip.time for clip in summary.clips] == pytest.approx([0, 0.5, 1.75], abs=1e-3)
    for clip, expected in zip(
        summary.clips, [[0, 0.04, 0.1], [0, 0.02, 1.2], [0, 1.25]], strict=True
    ):
        found = [frame.time for frame in open_source(tmp_path / "out" / clip.file)]
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("size", [(97, 63), (96, 63), (33, 32)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    summary = cut_clips(make_video(tmp_path / "v.mkv", 4, size=size), tmp_path / "out", frames=2)
    assert (summary.width, summary.height) == size
    for clip in summary.clips:
        source = open_source(tmp_path / "out" / clip.file)
        assert (source.width, source.height) == size
    assert clip_numbers(tmp_path / "out") == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(1, [[1], [2], [3], [4]]), (2, [[1, 2], [3, 4]]), (4, [[1, 2, 3, 4]]), (99, [[1, 2, 3, 4]])],
)
def test_how_many_frames(tmp_path: Path, frames: int, expected: list[list[int]]) -> None:
    cut_clips(make_video(tmp_path / "v.mkv", 4), tmp_path / "out", frames=frames)
    assert clip_numbers(tmp_path / "out") == expected


def test_a_folder_of_images_with_broken_ones(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "cam", 9, broken=[1, 4, 8, 9])
    summary = cut_clips(folder, tmp_path / "out", frames=3)
    assert clip_numbers(tmp_path / "out") == [[2, 3, 5], [6, 7]]
    assert [(c.first, c.last, c.frames) for c in summary.clips] == [(2, 5, 3), (6, 7, 2)]
    assert summary.missing == [1, 4, 8, 9]
    assert (summary.broken, summary.truncated) == (4, None)
    # Images that keep their place in time: 30 a second, where nobody says otherwise.
    times = [frame.time for frame in open_source(tmp_path / "out/cam-0001.mp4")]
    assert times == pytest.approx([0, 1 / 30, 3 / 30], abs=1e-4)
    report = json.loads((tmp_path / "out/clips.json").read_text())
    assert report["missing"] == [1, 4, 8, 9]


@pytest.mark.parametrize(
    ("lost", "clips"),
    [
        (5, [[1, 2, 3, 4], [6, 7, 8, 9], [10]]),
        (9, [[1, 2, 3, 4], [5, 6, 7, 8], [10]]),
        (10, [[1, 2, 3, 4], [5, 6, 7, 8], [9]]),
    ],
)
def test_a_video_with_a_lost_frame(tmp_path: Path, lost: int, clips: list[list[int]]) -> None:
    video = make_video(tmp_path / "v.avi", 10)
    with av.open(str(video)) as container:
        places = [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(video.read_bytes())
    position, size = places[lost - 1]
    content[position : position + size] = bytes(size)
    video.write_bytes(content)
    summary = cut_clips(video, tmp_path / "out", frames=4)
    assert clip_numbers(tmp_path / "out") == clips
    assert (summary.missing, summary.broken, summary.frames) == ([lost], 1, 9)


def test_a_video_cut_off(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.avi", 60)
    with av.open(str(video)) as container:
        places = [p.pos or 0 for p in container.demux(video=0) if p.size]
    video.write_bytes(video.read_bytes()[: places[6]])
    summary = cut_clips(video, tmp_path / "out", frames=4)
    assert clip_numbers(tmp_path / "out") == [[1, 2, 3, 4], [5, 6]]
    assert summary.truncated is not None
    assert "6 of 60 frames: it was cut off" in summary.truncated
    report = json.loads((tmp_path / "out/clips.json").read_text())
    assert report["truncated"] == summary.truncated
    assert report["missing"] == []


def test_names_that_no_disk_would_take(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mkv", 1)
    long = tmp_path / ("門" * 83 + ".mkv")
    video.rename(long)
    summary = cut_clips(long, tmp_path / "out")
    assert summary.clips[0].file == "門" * 66 + "-0001.mp4"
    assert summary.source == "門" * 83


def test_progress(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    folder = make_images(tmp_path / "cam", 3)
    cut_clips(folder, tmp_path / "out", frames=2, progress=lambda *args: told.append(args))
    assert told == [("cam: cutting", n, 3) for n in (1, 2, 3)]


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_ctrl_c(tmp_path: Path, stop: int) -> None:
    video = make_video(tmp_path / "v.mkv", 6)

    def interrupt(_what: str, done: int, _total: int | None) -> None:
        if done == stop:
            raise KeyboardInterrupt

    for make in (cut_clips, extract_frames):
        with pytest.raises(KeyboardInterrupt):
            make(video, tmp_path / "out", progress=interrupt)
        assert names(tmp_path) == ["v.mkv"]


def test_an_image_of_another_size(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "cam", 5)
    assert cv2.imwrite(str(folder / "005.png"), numbered(5, (64, 64)))
    with pytest.raises(VideoError, match="expected 128x64 pixels as in 001.png, found 64x64"):
        cut_clips(folder, tmp_path / "out", frames=2)
    assert names(tmp_path) == ["cam"]


def test_bad_calls(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mkv", 3)
    for frames in (0, -1, 2.5, True):
        with pytest.raises(ConfigError, match="frames: expected a whole number of at least 1"):
            cut_clips(video, tmp_path / "out", frames=frames)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="crf: expected 0 .* to 51 .*, found 52"):
        cut_clips(video, tmp_path / "out", crf=52)
    with pytest.raises(ConfigError, match="every: expected a whole number of at least 1, found 0"):
        extract_frames(video, tmp_path / "out", every=0)
    with pytest.raises(ConfigError, match="start: expected a whole number of at least 1"):
        extract_frames(video, tmp_path / "out", start=0)
    with pytest.raises(ConfigError, match=r"end: expected a frame number of at least start \(3\)"):
        extract_frames(video, tmp_path / "out", start=3, end=2)
    with pytest.raises(ConfigError, match=r"suffix: expected .jpg or .png, found '.bmp'"):
        extract_frames(video, tmp_path / "out", suffix=".bmp")
    with pytest.raises(VideoError, match="expected to start at frame 4, found only 3 frames"):
        extract_frames(video, tmp_path / "out", start=4)
    with pytest.raises(VideoError, match="no such file"):
        cut_clips(tmp_path / "none.mp4", tmp_path / "out")
    assert names(tmp_path) == ["v.mkv"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    for make in (cut_clips, extract_frames):
        with pytest.raises(OutputError, match="something in this folder already"):
            make(video, tmp_path / "out")
    assert names(tmp_path / "out") == ["mine"]


def test_frames(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mkv", 9)
    summary = extract_frames(video, tmp_path / "out", every=3, start=2, end=8)
    assert names(tmp_path / "out") == ["000002.jpg", "000005.jpg", "000008.jpg"]
    for number in (2, 5, 8):
        image = cv2.imread(str(tmp_path / f"out/{number:06d}.jpg"))
        assert shown_number(np.asarray(image, np.uint8)) == number
    assert summary.as_dict() == {
        "output": str(tmp_path / "out"),
        "source": "v",
        "width": WIDTH,
        "height": HEIGHT,
        "files": 3,
        "first": 2,
        "last": 8,
        "missing": [],
        "broken": 0,
    }


def test_frames_as_png_are_exact(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "cam", 5, broken=[3])
    summary = extract_frames(folder, tmp_path / "out", suffix=".png")
    assert names(tmp_path / "out") == [f"{n:06d}.png" for n in (1, 2, 4, 5)]
    for number in (1, 2, 4, 5):
        image = cv2.imread(str(tmp_path / f"out/{number:06d}.png"))
        assert np.array_equal(np.asarray(image), numbered(number))
    assert (summary.missing, summary.broken) == ([3], 1)


def test_frames_of_a_video_cut_off(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.avi", 60)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"v: the file holds .* of 60 .*copy the video again"):
        extract_frames(video, tmp_path / "out")
    assert names(tmp_path) == ["v.avi"]
    assert extract_frames(video, tmp_path / "out", end=9).files == 9
