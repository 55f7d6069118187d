"""Videos entered in the middle: the same frames as when read from the beginning, or an error."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from motrail.errors import VideoError
from motrail.video.clip import NotSeekableError
from motrail.video.index import FrameIndex, read_index
from motrail.video.source import Selection
from motrail.video.stream import VideoSource

if TYPE_CHECKING:
    from pathlib import Path

FRAMES, GROUP = 70, 12
B_FRAMES = {"g": str(GROUP), "bf": "2"}

CLIPS = {
    "closed.mp4": ("libx264", B_FRAMES),
    "open-groups.ts": ("libx264", {**B_FRAMES, "x264-params": "open-gop=1"}),
    "matroska.mkv": ("libx264", B_FRAMES),
    "transport.ts": ("mpeg2video", B_FRAMES),
    "hidden.webm": (
        "libvpx-vp9",
        {"g": str(GROUP), "auto-alt-ref": "1", "lag-in-frames": "8", "cpu-used": "8"},
    ),
    "one-group.mp4": ("libx264", {"g": "1000"}),
    "refreshed.mp4": ("libx264", {"x264-params": f"intra-refresh=1:keyint={GROUP}"}),
}


def make_clip(path: Path, codec: str, options: dict[str, str]) -> Path:
    """Noise that moves, so that every frame looks different from every other."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shift in range(FRAMES):
            image = np.roll(noise, 3 * shift, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def read(
    path: Path, index: FrameIndex | None, start: int = 1, end: int | None = None
) -> list[tuple[int, float, Any]]:
    source = VideoSource(path, name="clip", selection=Selection(start, end), index=index, threads=1)
    return [(frame.number, frame.time, frame.image) for frame in source]


def assert_same_from_anywhere(path: Path, tries: int) -> None:
    whole, index = read(path, None), read_index(path)
    assert (len(index), index.fault, index.truncated) == (len(whole), None, None)
    draw = random.Random(1)  # noqa: S311
    for _ in range(tries):
        first = draw.randint(1, len(whole))
        last = min(first + draw.randint(0, 20), len(whole))
        found = read(path, index, first, last)
        expected = whole[first - 1 : last]
        assert [row[:2] for row in found] == [row[:2] for row in expected]
        for (_, _, image), (_, _, wanted) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(image, wanted)


@pytest.mark.parametrize("name", CLIPS)
def test_any_frame_is_the_same_from_the_middle(name: str, tmp_path: Path) -> None:
    assert_same_from_anywhere(make_clip(tmp_path / name, *CLIPS[name]), tries=8)


@pytest.mark.proof
@pytest.mark.parametrize(
    "name", ["walking.mp4", "car-detection.mp4", "one-by-one-person-detection.mp4"]
)
def test_real_videos_are_the_same_from_the_middle(name: str, data: Path) -> None:
    assert_same_from_anywhere(data / "videos" / name, tries=40)


def test_key_frames_are_counted_where_they_begin_afresh(tmp_path: Path) -> None:
    closed = read_index(make_clip(tmp_path / "a.mp4", *CLIPS["closed.mp4"]))
    assert closed.keys.tolist() == list(range(1, FRAMES + 1, GROUP))
    # Refreshed bit by bit, no picture but the first is whole by itself.
    refreshed = read_index(make_clip(tmp_path / "b.mp4", *CLIPS["refreshed.mp4"]))
    assert refreshed.keys.tolist() == [1]


def test_numbers_are_those_of_presentation(tmp_path: Path) -> None:
    index = read_index(make_clip(tmp_path / "a.mp4", *CLIPS["closed.mp4"]))
    assert index.number_of(int(index.pts[6])) == 7
    assert index.number_of(int(index.pts[6]) + 1) is None
    assert index.number_of(None) is None


def test_the_fingerprint_tells_videos_apart(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "a.mp4", *CLIPS["closed.mp4"])
    other = make_clip(tmp_path / "b.mp4", *CLIPS["one-group.mp4"])
    assert read_index(first).fingerprint == read_index(first).fingerprint
    assert read_index(first).fingerprint != read_index(other).fingerprint
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    assert read_index(first).fingerprint != read_index(other).fingerprint


def test_a_stream_without_times_is_read_from_the_beginning_only(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "raw.h264", *CLIPS["closed.mp4"])
    index = read_index(path)
    assert index.fault == f"{FRAMES} packets have no time"
    with pytest.raises(NotSeekableError, match=rf"raw\.h264: {FRAMES} packets have no time"):
        read(path, index, 5)


def test_a_damaged_file_gives_the_same_frames_or_an_error(tmp_path: Path) -> None:
    good = make_clip(tmp_path / "good.mkv", *CLIPS["matroska.mkv"]).read_bytes()
    draw = random.Random(2)  # noqa: S311
    seen = {"same": 0, "error": 0}
    for turn in range(12):
        path = tmp_path / f"damaged-{turn}.mkv"
        content = bytearray(good)
        for _ in range(20):
            content[draw.randrange(len(content) // 4, len(content))] = draw.randrange(256)
        path.write_bytes(content)
        whole = {number: image for number, _, image in read(path, None)}
        index = read_index(path)
        first = draw.randint(2, FRAMES - 10)
        try:
            found = read(path, index, first, first + 9)
        except VideoError:
            seen["error"] += 1
            continue
        seen["same"] += 1
        for number, _, image in found:
            np.testing.assert_array_equal(image, whole[number])
    assert seen["error"] > 0
    assert seen["same"] > 0


def test_a_start_past_the_end_is_told(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", *CLIPS["matroska.mkv"])
    with pytest.raises(VideoError, match=rf"expected to start at frame 99, found only {FRAMES}"):
        read(path, read_index(path), 99)
