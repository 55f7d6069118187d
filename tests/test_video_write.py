from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest

from motrail.errors import ConfigError, DataError, OutputError, VideoError
from motrail.video.read import open_source
from motrail.video.write import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def write(
    path: Path, times: Sequence[float], *, rate: float = 25, size: tuple[int, int] = (96, 64)
) -> Path:
    width, height = size
    with VideoWriter(path, width=width, height=height, frame_rate=rate) as writer:
        for index, time in enumerate(times):
            writer.write(np.full((height, width, 3), 20 + index * 3 % 200, np.uint8), time)
    return path


def smooth_picture(width: int, height: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(picture, np.uint8)


@pytest.mark.parametrize("rate", [25, 30000 / 1001, 12.5, 59.94, 1, 0.5])
def test_rate_size_and_duration_stay(tmp_path: Path, rate: float) -> None:
    times = [5 + i / rate for i in range(20)]
    path = write(tmp_path / "out.mp4", times, rate=rate)
    with open_source(path) as source:
        assert (source.width, source.height, source.expected_frames) == (96, 64, 20)
        assert source.frame_rate == pytest.approx(rate, rel=1e-4)
        assert [f.time for f in source] == pytest.approx([i / rate for i in range(20)], abs=2e-5)
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(20 / rate, abs=1e-3)


def test_variable_rate_keeps_each_time(tmp_path: Path) -> None:
    times = [0, 0.04, 0.08, 0.5, 0.54, 0.6, 2.0, 2.04]
    path = write(tmp_path / "vfr.mp4", times)
    assert [f.time for f in open_source(path)] == pytest.approx(times, abs=2e-5)
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(2.08, abs=1e-3)


def test_equal_and_decreasing_times_keep_every_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "odd-times.mp4", [0, 0, 0, 0.2, 0.1, 0.1, 0.4])
    times = [f.time for f in open_source(path)]
    assert len(times) == 7
    assert times == sorted(times)
    assert times[-1] == pytest.approx(0.4, abs=1e-4)


def test_one_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "one.mp4", [3.0])
    assert [f.time for f in open_source(path)] == [0.0]


@pytest.mark.parametrize(
    ("size", "layout"),
    [((96, 64), "yuv420p"), ((97, 64), "yuv444p"), ((96, 63), "yuv444p"), ((1, 1), "yuv444p")],
)
def test_exact_size(tmp_path: Path, size: tuple[int, int], layout: str) -> None:
    width, height = size
    picture = smooth_picture(width, height)
    path = tmp_path / "size.mp4"
    with VideoWriter(path, width=width, height=height, frame_rate=25, crf=12) as writer:
        for i in range(3):
            writer.write(picture, i / 25)
    with av.open(str(path)) as container:
        assert container.streams.video[0].pix_fmt == layout
    for frame in open_source(path):
        assert frame.image.shape == (height, width, 3)
        assert np.abs(frame.image.astype(int) - picture).mean() < 5


@pytest.mark.parametrize("reader", ["ours", "opencv"])
def test_colours_come_back(tmp_path: Path, reader: str) -> None:
    colors = [(200, 30, 40), (30, 180, 60), (40, 50, 220), (128,) * 3, (0,) * 3, (255,) * 3]
    path = tmp_path / "colours.mp4"
    with VideoWriter(path, width=64, height=64, frame_rate=25, crf=5) as writer:
        for index, color in enumerate(colors):
            writer.write(np.full((64, 64, 3), color, np.uint8), index / 25)
    if reader == "ours":
        images = [frame.image for frame in open_source(path)]
    else:
        capture = cv2.VideoCapture(str(path))
        images = [np.asarray(capture.read()[1], np.uint8) for _ in colors]
        capture.release()
    for image, color in zip(images, colors, strict=True):
        assert np.abs(image.astype(int) - color).mean() < 3


def test_colours_and_index_are_marked(tmp_path: Path) -> None:
    path = write(tmp_path / "marked.mp4", [0, 0.04])
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.colorspace, codec.color_range) == ("h264", 5, 1)
        assert (codec.color_primaries, codec.color_trc) == (1, 1)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_real_footage_looks_the_same(data: Path, tmp_path: Path) -> None:
    frames = list(open_source(data / "videos" / "walking.mp4", end=10))
    path = tmp_path / "again.mp4"
    with VideoWriter(path, width=1280, height=720, frame_rate=25) as writer:
        for frame in frames:
            before = frame.image.copy()
            writer.write(frame.image, frame.time)
            assert np.array_equal(frame.image, before)
    for frame, again in zip(frames, open_source(path), strict=True):
        difference = again.image.astype(int) - frame.image
        assert np.abs(difference).mean() < 2.0
        assert np.abs(difference.mean(axis=(0, 1))).max() < 1.0


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with VideoWriter(tmp_path / "out.mp4", width=32, height=32, frame_rate=25) as writer:
            writer.write(np.zeros((32, 32, 3), np.uint8), 0)
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyError("something else went wrong")

    with pytest.raises(KeyError, match="something else"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the old one")
    writer = VideoWriter(path, width=32, height=32, frame_rate=25)
    writer.write(np.zeros((32, 32, 3), np.uint8), 0)
    assert path.read_bytes() == b"the old one"
    writer.commit()
    assert len(list(open_source(path))) == 1
    writer.discard()
    assert path.exists()
    with pytest.raises(VideoError, match="already closed"):
        writer.write(np.zeros((32, 32, 3), np.uint8), 1)
    with pytest.raises(VideoError, match="already closed"):
        writer.commit()


def test_no_frame_no_video(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match="not one frame"),
        VideoWriter(tmp_path / "out.mp4", width=32, height=32, frame_rate=25),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 31, 3), np.uint8),
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 3), np.float32),
    ],
)
def test_wrong_images(tmp_path: Path, image: Any) -> None:
    writer = VideoWriter(tmp_path / "out.mp4", width=32, height=32, frame_rate=25)
    with pytest.raises(DataError, match=r"expected uint8 of shape \(32, 32, 3\)"):
        writer.write(image, 0)
    writer.discard()


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
def test_wrong_times(tmp_path: Path, time: float) -> None:
    writer = VideoWriter(tmp_path / "out.mp4", width=32, height=32, frame_rate=25)
    with pytest.raises(DataError, match="time: expected finite seconds"):
        writer.write(np.zeros((32, 32, 3), np.uint8), time)
    writer.discard()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("width", 0),
        ("height", 16_385),
        ("frame_rate", 0),
        ("frame_rate", float("nan")),
        ("crf", 52),
        ("encoder_preset", "fastest"),
        ("threads", -1),
    ],
)
def test_wrong_settings(tmp_path: Path, setting: str, value: Any) -> None:
    settings: dict[str, Any] = {"width": 32, "height": 32, "frame_rate": 25} | {setting: value}
    with pytest.raises(ConfigError, match=f"^{setting}.*: expected"):
        VideoWriter(tmp_path / "out.mp4", **settings)
    assert list(tmp_path.iterdir()) == []


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere.out\.mp4: cannot be written"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", width=32, height=32, frame_rate=25)


def test_a_failing_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = VideoWriter(tmp_path / "out.mp4", width=32, height=32, frame_rate=25)

    class Failing:
        def encode(self, frame: object) -> list[object]:
            raise av.error.ExternalError(1, f"no more {type(frame).__name__}")

        pix_fmt = "yuv420p"

    monkeypatch.setattr(writer, "_stream", Failing())
    with pytest.raises(VideoError, match=r"H\.264 encoder failed \(no more VideoFrame\)"):
        writer.write(np.zeros((32, 32, 3), np.uint8), 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [40, 4_000, 150_000])
def test_a_full_disk_is_an_output_error(tmp_path: Path, limit: int) -> None:
    pytest.importorskip("resource", reason="needs POSIX file size limits")
    code = f"""
import resource, sys
import numpy as np
from motrail.errors import OutputError
from motrail.video.write import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], width=160, height=120, frame_rate=25) as writer:
        for i in range(30):
            writer.write(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8), i / 25)
except OutputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.mp4")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "out.mp4: cannot be written: the file grew past the size" in done.stdout
    assert list(tmp_path.iterdir()) == []
