from __future__ import annotations

import gc
import io
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from motrail.errors import ConfigError, VideoError
from motrail.video.numbering import FrameNumbers
from motrail.video.read import MAX_PIXELS, decode_image, open_source
from motrail.video.source import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from motrail.types import Frame

WIDTH, HEIGHT = 128, 64


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A picture that says which frame it is: eight bars, one for each bit of its number."""
    image = np.full((height, width, 3), 20, np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[:, bit * width // 8 : (bit + 1) * width // 8] = 230
    return image


def shown_number(image: NDArray[np.uint8]) -> int:
    bars = image.reshape(image.shape[0], 8, -1).mean(axis=(0, 2))
    return sum(1 << bit for bit in range(8) if bars[bit] > 125)


def make_clip(
    path: Path,
    count: int = 30,
    *,
    codec: str = "libx264",
    rate: int = 25,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    images: Sequence[NDArray[np.uint8]] | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """A small video written with PyAV alone, so that reading is not tested by our own writer."""
    width, height = size
    if options is None:
        options = {"g": "10"} | ({"preset": "ultrafast"} if codec == "libx264" else {})
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if codec != "mpeg4":
            stream.codec_context.time_base = Fraction(1, rate * 100)
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(count if images is None else len(images)):
            image = numbered(i + 1, width, height) if images is None else images[i]
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            seconds = Fraction(i, rate) if times is None else Fraction(times[i])
            base = stream.codec_context.time_base or Fraction(1, rate)
            frame.time_base, frame.pts = base, round(seconds / base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def add_sound(path: Path, *, picture: bool) -> Path:
    with av.open(str(path), "w") as container:
        sound: Any = container.add_stream("aac", rate=8000)
        if picture:
            video: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for i in range(5):
                frame = av.VideoFrame.from_ndarray(numbered(i + 1), format="bgr24")
                frame.pts = i
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        for i in range(20):
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            samples.sample_rate, samples.pts = 8000, i * 1024
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def packets_of(path: Path) -> list[tuple[int, int]]:
    """Position and size of each video packet in the file."""
    with av.open(str(path)) as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def save_images(
    folder: Path, names: Sequence[str], size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, 1):
        assert cv2.imwrite(str(folder / name), numbered(number, *size))
    return folder


def read_all(path: str | Path, **selection: Any) -> list[Frame]:
    with open_source(path, **selection) as source:
        return list(source)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "street.mp4")


class TestFrames:
    def test_every_frame_with_number_time_and_picture(self, clip: Path) -> None:
        with open_source(clip) as source:
            assert (source.name, source.width, source.height) == ("street", WIDTH, HEIGHT)
            assert source.frame_rate == 25.0
            assert source.expected_frames == 30
            frames = list(source)
            assert (source.broken, source.truncated) == (0, None)
        assert [frame.number for frame in frames] == list(range(1, 31))
        assert [shown_number(frame.image) for frame in frames] == list(range(1, 31))
        assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(30)])
        image = frames[0].image
        assert image.dtype == np.uint8
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.flags.c_contiguous

    @pytest.mark.parametrize(
        ("start", "end", "stride", "numbers"),
        [
            (1, 3, 1, [1, 2, 3]),
            (5, 5, 1, [5]),
            (4, 12, 3, [4, 7, 10]),
            (4, 13, 3, [4, 7, 10, 13]),
            (29, None, 1, [29, 30]),
            (1, 1000, 29, [1, 30]),
        ],
    )
    def test_chosen_frames_keep_their_numbers(
        self, clip: Path, start: int, end: int | None, stride: int, numbers: list[int]
    ) -> None:
        with open_source(clip, start=start, end=end, stride=stride) as source:
            frames = list(source)
            assert source.expected_frames == len(numbers)
        assert [frame.number for frame in frames] == numbers
        assert [shown_number(frame.image) for frame in frames] == numbers
        assert [frame.time for frame in frames] == pytest.approx([(n - 1) / 25 for n in numbers])

    def test_nothing_is_decoded_after_the_end(self, tmp_path: Path, clip: Path) -> None:
        broken = tmp_path / "broken-after-10.mp4"
        data = bytearray(clip.read_bytes())
        for position, size in packets_of(clip)[20:]:
            data[position : position + size] = bytes(size)
        broken.write_bytes(data)
        with open_source(broken, end=4) as source:
            assert len(list(source)) == 4
            assert (source.broken, source.truncated) == (0, None)

    def test_iterating_twice_gives_the_same(self, clip: Path) -> None:
        with open_source(clip, end=5) as source:
            first, second = list(source), list(source)
        assert [f.number for f in first] == [f.number for f in second] == [1, 2, 3, 4, 5]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))

    @pytest.mark.parametrize("setting", ["start", "end", "stride"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
    def test_senseless_selections(self, clip: Path, setting: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=rf"{setting}: expected a whole number .* found"):
            open_source(clip, **{setting: value})

    def test_end_before_start(self, clip: Path) -> None:
        with pytest.raises(ConfigError, match=r"end: .*at least start \(7\), found 6"):
            open_source(clip, start=7, end=6)

    def test_start_past_the_end(self, clip: Path, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match=r"street\.mp4: .* frame 31, found only 30 frames"):
            open_source(clip, start=31)
        transport = make_clip(tmp_path / "street.ts")  # its header knows no frame count
        with (
            open_source(transport, start=31) as source,
            pytest.raises(VideoError, match=r"frame 31, found only 30 frames"),
        ):
            list(source)

    def test_leaving_early_closes_the_file(self, clip: Path) -> None:
        def handles() -> int:
            return sum(os.path.realpath(fd) == str(clip) for fd in Path("/proc/self/fd").iterdir())

        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc to see open files")
        source = open_source(clip)
        assert handles() == 0
        for frame in source:
            assert handles() == 1
            if frame.number == 3:
                break
        gc.collect()
        del frame
        assert handles() == 0
        frames = iter(source)
        next(frames)
        assert handles() == 1
        source.close()
        assert handles() == 0
        assert list(frames) == []


class TestTime:
    def test_variable_frame_rate_follows_the_timestamps(self, tmp_path: Path) -> None:
        times = [0, 0.04, 0.08, 0.5, 0.54, 1.5, 1.54, 1.58, 3.0, 3.04]
        path = make_clip(tmp_path / "vfr.mp4", 10, times=times)
        assert [f.time for f in read_all(path)] == pytest.approx(times, abs=1e-3)

    def test_time_counts_from_the_first_frame(self, tmp_path: Path) -> None:
        path = make_clip(tmp_path / "late.mkv", 3, times=[7.0, 7.5, 8.5])
        assert [f.time for f in read_all(path)] == pytest.approx([0, 0.5, 1.5], abs=2e-3)

    def test_b_frames_come_in_order_of_display(self, tmp_path: Path) -> None:
        path = make_clip(tmp_path / "b.mp4", options={"bf": "3", "g": "12"})
        frames = read_all(path)
        assert [shown_number(f.image) for f in frames] == list(range(1, 31))
        assert [f.time for f in frames] == pytest.approx([i / 25 for i in range(30)])

    def test_raw_stream_without_timestamps(self, tmp_path: Path) -> None:
        frames = read_all(make_clip(tmp_path / "raw.h264", 12))
        assert [f.number for f in frames] == list(range(1, 13))
        times = [f.time for f in frames]
        assert times == sorted(times)
        assert times[-1] == pytest.approx(11 / 25)


class TestPicture:
    @pytest.mark.parametrize("rotation", [90, 180, -90])
    def test_rotation_is_obeyed(self, tmp_path: Path, rotation: int) -> None:
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[: HEIGHT // 2, : WIDTH // 2] = 240  # only the top left is bright
        path = make_clip(tmp_path / "turned.mp4", images=[image] * 3, rotation=rotation)
        with open_source(path) as source:
            frame = next(iter(source))
            assert frame.image.shape == (source.height, source.width, 3)
        reference = cv2.VideoCapture(str(path))
        seen, upright = reference.read()
        reference.release()
        assert seen
        assert upright.shape == frame.image.shape
        assert np.abs(upright.astype(int) - frame.image).mean() < 4

    @pytest.mark.parametrize("colorspace", ["bt709", "smpte170m", "bt2020nc"])
    @pytest.mark.parametrize("full", [False, True])
    def test_colours_follow_the_streams_marks(
        self, tmp_path: Path, colorspace: str, full: bool
    ) -> None:
        wanted = [(200, 30, 40), (30, 180, 60), (40, 50, 220), (128, 128, 128), (250, 250, 250)]
        kr, kb = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114)}.get(
            colorspace, (0.2627, 0.0593)
        )
        path = tmp_path / "colours.mp4"
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(
                "libx264",
                rate=25,
                options={"crf": "0", "x264-params": f"colormatrix={colorspace}"},
            )
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            stream.codec_context.color_range = 2 if full else 1
            for index, (b, g, r) in enumerate(wanted):
                luma = kr * r + (1 - kr - kb) * g + kb * b
                chroma = (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)
                scale_y, scale_c, offset = (1, 1, 0) if full else (219 / 255, 224 / 255, 16)
                values = [luma * scale_y + offset, *(c * scale_c + 128 for c in chroma)]
                frame = av.VideoFrame(32, 32, "yuv420p")
                for plane, value in zip(frame.planes, values, strict=True):
                    plane.update(bytes([round(value)]) * plane.buffer_size)
                frame.color_range = 2 if full else 1
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        for frame_read, color in zip(read_all(path), wanted, strict=True):
            assert np.abs(frame_read.image.astype(int) - color).max() <= 4

    def test_odd_size(self, tmp_path: Path) -> None:
        path = make_clip(tmp_path / "odd.mp4", 3, size=(135, 65), pix_fmt="yuv444p")
        frames = read_all(path)
        assert frames[2].image.shape == (65, 135, 3)
        assert frames[2].image.flags.c_contiguous
        assert np.abs(frames[2].image.astype(int) - numbered(3, 135, 65)).mean() < 3

    def test_a_change_of_size_is_scaled_to_the_first(self, tmp_path: Path) -> None:
        small = make_clip(tmp_path / "a.h264", 5, options={"preset": "ultrafast"})
        images = [numbered(i, 256, 128) for i in range(6, 11)]
        large = make_clip(
            tmp_path / "b.h264", size=(256, 128), images=images, options={"preset": "ultrafast"}
        )
        both = tmp_path / "both.h264"
        both.write_bytes(small.read_bytes() + large.read_bytes())
        frames = read_all(both)
        assert {f.image.shape for f in frames} == {(HEIGHT, WIDTH, 3)}
        assert [shown_number(f.image) for f in frames] == list(range(1, 11))

    @pytest.mark.parametrize(("codec", "ending"), [("mpeg4", "avi"), ("libvpx", "webm")])
    def test_other_codecs(self, tmp_path: Path, codec: str, ending: str) -> None:
        options = {"auto-alt-ref": "1", "lag-in-frames": "16"} if codec == "libvpx" else None
        frames = read_all(make_clip(tmp_path / f"clip.{ending}", codec=codec, options=options))
        assert [f.number for f in frames] == list(range(1, 31))
        assert [shown_number(f.image) for f in frames] == list(range(1, 31))


class TestDamage:
    @pytest.mark.parametrize("ending", ["mp4", "mkv"])
    @pytest.mark.parametrize("filling", ["zeros", "noise"])
    @pytest.mark.parametrize("victims", [[14], [11], [13, 14, 15], [1]])
    def test_later_frames_keep_their_numbers(
        self, tmp_path: Path, ending: str, filling: str, victims: list[int]
    ) -> None:
        path = make_clip(tmp_path / f"damaged.{ending}")
        data = bytearray(path.read_bytes())
        places = packets_of(path)
        rng = np.random.default_rng(7)
        for victim in victims:
            position, size = places[victim - 1]
            position += 16 if ending == "mkv" else 0  # leave the block's own header alone
            size -= 16 if ending == "mkv" else 0
            data[position : position + size] = (
                bytes(size) if filling == "zeros" else rng.bytes(size)
            )
        path.write_bytes(data)
        with open_source(path) as source:
            frames = list(source)
            assert 1 <= source.broken <= 30
            assert source.truncated is None
        numbers = [f.number for f in frames]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 30
        assert [f.time for f in frames] == pytest.approx([(n - 1) / 25 for n in numbers], abs=2e-3)
        healthy = [f for f in frames if f.number > 20]  # keyframes are 1, 11 and 21
        assert len(healthy) == 10
        assert [shown_number(f.image) for f in healthy] == list(range(21, 31))

    def test_cut_off_with_the_index_in_front(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (40, HEIGHT, WIDTH, 3), dtype=np.uint8)
        path = make_clip(
            tmp_path / "cut.mp4",
            images=list(noise),
            container_options={"movflags": "+faststart"},
        )
        position, size = packets_of(path)[24]
        os.truncate(path, position + size)
        with open_source(path) as source:
            assert source.expected_frames == 40
            frames = list(source)
            assert source.truncated == "the file holds 25 of 40 frames: it was cut off"
        assert [f.number for f in frames] == list(range(1, 26))

    def test_cut_off_matroska_is_told_by_the_time(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (75, HEIGHT, WIDTH, 3), dtype=np.uint8)
        path = make_clip(tmp_path / "cut.mkv", images=list(noise))
        whole = open_source(path)
        assert whole.expected_frames == 75
        assert len(list(whole)) == 75
        assert whole.truncated is None
        position, size = packets_of(path)[25]
        os.truncate(path, position + size)
        with open_source(path) as source:
            frames = list(source)
            assert source.truncated is not None
            assert source.truncated.endswith("of 3.0 seconds: it was cut off")
        assert 24 <= len(frames) <= 27

    def test_index_missing(self, clip: Path, tmp_path: Path) -> None:
        path = tmp_path / "no-index.mp4"
        path.write_bytes(clip.read_bytes()[: packets_of(clip)[-1][0]])
        with pytest.raises(VideoError, match=r"no-index\.mp4: the file is incomplete: .*moov"):
            open_source(path)

    def test_no_frame_decodes(self, clip: Path, tmp_path: Path) -> None:
        path = tmp_path / "zeros.mp4"
        data = bytearray(clip.read_bytes())
        for position, size in packets_of(clip):
            data[position : position + size] = bytes(size)
        path.write_bytes(data)
        with pytest.raises(
            VideoError, match=r"zeros\.mp4: .*no frame that can be decoded \(h264\)"
        ):
            open_source(path)

    @pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
    def test_random_damage_is_survived_or_named(self, tmp_path: Path, ending: str) -> None:
        path = make_clip(
            tmp_path / f"clip.{ending}", codec="mpeg4" if ending == "avi" else "libx264"
        )
        whole = path.read_bytes()
        rng = np.random.default_rng(4)
        survived, messages = 0, []
        for attempt in range(40):
            data = bytearray(whole)
            place = int(rng.integers(len(data)))
            length = int(rng.integers(1, 300))
            if attempt % 3 == 0:
                data[place : place + length] = rng.bytes(len(data[place : place + length]))
            elif attempt % 3 == 1:
                del data[place : place + length]
            else:
                del data[max(place, 1) :]
            path.write_bytes(data)
            try:
                frames = read_all(path)
            except VideoError as error:
                messages.append(str(error))
                continue
            survived += 1
            assert frames
            numbers, times = [f.number for f in frames], [f.time for f in frames]
            assert numbers == sorted(set(numbers))
            assert times == sorted(times)
        assert survived > 5
        assert all(str(path) in message and "\n" not in message for message in messages)


class TestRefused:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match=r"nowhere\.mp4: no such file or folder; expected a"):
            open_source(tmp_path / "nowhere.mp4")

    def test_impossible_name(self) -> None:
        with pytest.raises(VideoError, match="cannot be read"):
            open_source("x" * 5000)

    @pytest.mark.parametrize("name", ["", "  "])
    def test_empty_name(self, name: str) -> None:
        with pytest.raises(VideoError, match="empty name"):
            open_source(name)

    def test_zero_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "empty.mp4").touch()
        with pytest.raises(VideoError, match=r"empty\.mp4: .*0 bytes"):
            open_source(tmp_path / "empty.mp4")

    @pytest.mark.parametrize("name", ["notes.mp4", "notes.txt", "notes.ans"])
    def test_text(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("This is no video at all.\n" * 50)
        with pytest.raises(VideoError, match=rf"{name}: expected a video .*found something else"):
            open_source(tmp_path / name)

    def test_only_sound(self, tmp_path: Path) -> None:
        path = add_sound(tmp_path / "song.mp4", picture=False)
        with pytest.raises(VideoError, match=r"song\.mp4: expected a video, found only sound"):
            open_source(path)
        assert len(read_all(add_sound(tmp_path / "film.mp4", picture=True))) == 5

    @pytest.mark.parametrize(
        "text",
        [
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nstreet.ts\n#EXT-X-ENDLIST\n",
            "ffconcat version 1.0\nfile street.ts\n",
        ],
    )
    @pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat"])
    def test_playlists_are_not_followed(self, tmp_path: Path, text: str, name: str) -> None:
        make_clip(tmp_path / "street.ts", 3)
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match=rf"{name}: expected a video, found a playlist"):
            open_source(tmp_path / name)

    @pytest.mark.parametrize(
        "address", ["http://localhost:1/a.mp4", "rtsp://camera/1", "file:///etc/hosts", "concat:/a"]
    )
    def test_addresses(self, address: str) -> None:
        with pytest.raises(VideoError, match="network addresses are not read"):
            open_source(address)

    def test_a_colon_in_the_name_is_only_a_name(self, clip: Path, tmp_path: Path) -> None:
        odd = tmp_path / "concat:a|b%03d [1].mp4"
        shutil.copy(clip, odd)
        assert len(read_all(odd)) == 30

    def test_device(self) -> None:
        with pytest.raises(VideoError, match="device or pipe"):
            open_source("/dev/null")

    def test_enormous_video(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.y4m"
        path.write_bytes(b"YUV4MPEG2 W20000 H10000 F25:1 Ip C420\nFRAME\n" + bytes(4096))
        with pytest.raises(VideoError, match=r"huge\.y4m: .*134,217,728 pixels, found 20000x10000"):
            open_source(path)


class TestImages:
    def test_natural_order(self, tmp_path: Path) -> None:
        names = ["f1.png", "f2.PNG", "f10.png", "f11.bmp", "g.webp", "h.tiff"]
        save_images(tmp_path / "walk", names)
        (tmp_path / "walk" / "notes.txt").write_text("not an image")
        (tmp_path / "walk" / "._f1.png").write_bytes(b"left behind by macOS")
        with open_source(tmp_path / "walk") as source:
            assert (source.name, source.width, source.height) == ("walk", WIDTH, HEIGHT)
            assert (source.frame_rate, source.expected_frames) == (30.0, 6)
            frames = list(source)
        assert [shown_number(f.image) for f in frames] == [1, 2, 3, 4, 5, 6]
        assert [f.time for f in frames] == pytest.approx([i / 30 for i in range(6)])

    def test_chosen_images(self, tmp_path: Path) -> None:
        save_images(tmp_path, [f"{i}.png" for i in range(1, 11)])
        (tmp_path / "1.png").write_bytes((tmp_path / "2.png").read_bytes())
        (tmp_path / "6.png").unlink()  # so that the 6th image is 7.png
        frames = read_all(tmp_path, start=3, end=8, stride=3)
        assert [(f.number, shown_number(f.image)) for f in frames] == [(3, 3), (6, 7)]

    def test_pattern(self, tmp_path: Path) -> None:
        save_images(tmp_path / "seq" / "img1", ["2.jpg", "10.jpg", "3.png"])
        with open_source(str(tmp_path / "seq" / "img1" / "*.jpg")) as source:
            assert source.name == "seq"
            assert [shown_number(f.image) for f in source] == [1, 2]

    def test_pattern_without_images(self, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match=r"\*\.jpg: .*found nothing"):
            open_source(str(tmp_path / "*.jpg"))
        (tmp_path / "a.txt").touch()
        with pytest.raises(VideoError, match="found 1 other files"):
            open_source(str(tmp_path / "*.txt"))

    def test_folder_without_images(self, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match="found nothing"):
            open_source(tmp_path)
        for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
            (tmp_path / name).touch()
        with pytest.raises(
            VideoError, match=r"found a\.mp4, b\.mp4, c\.mp4 and 1 more; give a vid"
        ):
            open_source(tmp_path)

    @pytest.mark.parametrize(
        ("text", "rate"),
        [
            ("[Sequence]\nname=100%\nframeRate=14\n", 14.0),
            ("[Sequence]\nframeRate=29.97", 29.97),
            ("[Sequence]\nframeRate=nan", 30.0),
            ("[Sequence]\nframeRate=0", 30.0),
            ("[Sequence]\nseqLength=3", 30.0),
            ("frameRate=14", 30.0),
            ("", 30.0),
        ],
    )
    def test_rate_from_seqinfo(self, tmp_path: Path, text: str, rate: float) -> None:
        save_images(tmp_path / "SEQ" / "img1", ["000001.jpg"])
        (tmp_path / "SEQ" / "seqinfo.ini").write_text(text)
        for given in ("SEQ", "SEQ/img1"):
            source = open_source(tmp_path / given)
            assert (source.name, source.frame_rate) == ("SEQ", rate)

    def test_broken_images_are_counted(self, tmp_path: Path) -> None:
        save_images(tmp_path, [f"{i}.jpg" for i in range(1, 7)])
        (tmp_path / "1.jpg").write_bytes(b"")
        (tmp_path / "3.jpg").write_bytes((tmp_path / "3.jpg").read_bytes()[:400])
        with open_source(tmp_path) as source:
            frames = list(source)
            assert source.broken == 2
        assert [(f.number, shown_number(f.image)) for f in frames] == [(n, n) for n in (2, 4, 5, 6)]
        with (
            open_source(tmp_path, start=3, end=3) as source,
            pytest.raises(VideoError, match="none of the 1 wanted images can be decoded"),
        ):
            list(source)

    def test_all_images_broken(self, tmp_path: Path) -> None:
        for name in ("1.jpg", "2.jpg"):
            (tmp_path / name).write_bytes(b"\xff\xd8 no")
        with pytest.raises(VideoError, match=r"none of the 2 images can be decoded; .*1\.jpg"):
            open_source(tmp_path)

    def test_another_size(self, tmp_path: Path) -> None:
        save_images(tmp_path, ["1.png", "2.png"])
        save_images(tmp_path, ["3.png"], size=(64, 32))
        with (
            open_source(tmp_path) as source,
            pytest.raises(VideoError, match=r"3\.png: expected 128x64 .* 1\.png, found 64x32"),
        ):
            list(source)

    def test_start_past_the_end(self, tmp_path: Path) -> None:
        save_images(tmp_path, ["1.png"])
        with pytest.raises(VideoError, match="frame 2, found only 1 frame;"):
            open_source(tmp_path, start=2)

    def test_one_image(self, tmp_path: Path) -> None:
        save_images(tmp_path, ["photo.png", "other.png"])
        with open_source(tmp_path / "photo.png") as source:
            assert (source.name, source.expected_frames) == ("photo", 1)
            assert [f.number for f in source] == [1]


def encoded(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


class TestDecodeImage:
    def test_orientation_is_obeyed(self) -> None:
        exif = Image.Exif()
        exif[0x112] = 6  # turn a quarter clockwise to see it upright
        stored = np.zeros((40, 60, 3), np.uint8)
        stored[:, :30] = 255  # bright on the left as stored
        image = decode_image(encoded(Image.fromarray(stored), "JPEG", exif=exif), "photo")
        assert image.shape == (60, 40, 3)
        assert image[:25].min() > 200  # bright at the top as seen
        assert image[35:].max() < 50

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
    def test_every_kind_comes_out_as_bgr(self, mode: str) -> None:
        grey = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 10, axis=0)
        picture = Image.fromarray(grey)
        if mode == "I;16":
            picture = Image.fromarray(grey.astype(np.uint16) * 257)
        elif mode != "L":
            picture = picture.convert(mode)
        image = decode_image(encoded(picture, "PNG"), "x.png")
        assert image.dtype == np.uint8
        assert image.shape == (10, 64, 3)
        if mode != "1":
            assert np.abs(image[..., 0].astype(int) - grey).max() <= 3

    def test_channels_are_blue_green_red(self) -> None:
        data = encoded(Image.new("RGB", (8, 8), (250, 100, 10)), "PNG")
        assert decode_image(data, "x")[0, 0].tolist() == [10, 100, 250]

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
    def test_cut_in_half(self, kind: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        data = encoded(Image.fromarray(noise), kind)
        assert decode_image(data, "whole").shape == (64, 64, 3)
        with pytest.raises(VideoError, match=r"^frame 7: "):
            decode_image(data[: len(data) // 2], "frame 7")

    @pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + bytes(50), b"\x89PNG\r\n\x1a\n"])
    def test_not_an_image(self, data: bytes) -> None:
        with pytest.raises(VideoError, match=r"^upload: expected an image \(jpg, .* found"):
            decode_image(data, "upload")

    def test_enormous(self) -> None:
        bomb = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
        for size in ((20_000, 10_000), (11_586, 11_586)):
            bomb[18:26] = size[0].to_bytes(4, "little") + size[1].to_bytes(4, "little")
            assert size[0] * size[1] > MAX_PIXELS
            with pytest.raises(VideoError, match=r"bomb: expected at most 134,217,728 pixels"):
                decode_image(bytes(bomb), "bomb")


class TestNumbers:
    """The bookkeeping alone, where the order of events is known exactly."""

    def test_a_hidden_packet_takes_no_number(self) -> None:
        numbers = FrameNumbers()
        for pts in (0, 39, 40, 80):  # 39 never becomes a picture
            numbers.packet(pts)
        assert [numbers.frame(pts) for pts in (0, 40, 80)] == [1, 2, 3]
        assert numbers.lost == 0

    def test_a_refused_packet_takes_one(self) -> None:
        numbers = FrameNumbers()
        for pts in (0, 40, 80):
            numbers.packet(pts)
        numbers.failure()
        assert [numbers.frame(pts) for pts in (0, 80)] == [1, 3]
        assert numbers.lost == 1

    def test_a_hole_in_time_tells_of_a_silently_dropped_frame(self) -> None:
        numbers = FrameNumbers()
        for pts in range(0, 240, 40):
            numbers.packet(pts)
        assert [numbers.frame(pts) for pts in (0, 40, 80, 200)] == [1, 2, 3, 6]
        assert numbers.lost == 2

    def test_a_pause_without_packets_is_no_loss(self) -> None:
        numbers = FrameNumbers()
        for pts in (0, 40, 80, 4000):
            numbers.packet(pts)
        assert [numbers.frame(pts) for pts in (0, 40, 80, 4000)] == [1, 2, 3, 4]

    def test_the_first_time_is_that_of_a_lost_first_frame(self) -> None:
        numbers = FrameNumbers()
        numbers.packet(100)
        numbers.failure()
        numbers.packet(140)
        assert numbers.frame(140) == 2
        assert numbers.first_pts == 100

    def test_without_timestamps_failures_are_counted(self) -> None:
        numbers = FrameNumbers()
        numbers.packet(None)
        assert numbers.frame(None) == 1
        numbers.packet(None)
        numbers.failure()
        numbers.packet(None)
        assert numbers.frame(None) == 3
        numbers.failure()
        numbers.end()
        assert (numbers.number, numbers.lost) == (4, 2)

    @pytest.mark.parametrize("total", [0, 1, 7, 20])
    def test_selection_counts_what_it_contains(self, total: int) -> None:
        for start, end, stride in ((1, None, 1), (3, None, 4), (2, 9, 3), (5, 5, 2), (8, 30, 1)):
            chosen = Selection(start, end, stride)
            expected = [n for n in range(1, total + 1) if n in chosen and (end is None or n <= end)]
            assert chosen.count(total) == len(expected)


class TestRealFootage:
    @pytest.mark.parametrize(
        ("name", "size", "rate", "count"),
        [
            ("walking.mp4", (1280, 720), 25.0, 341),
            ("car-detection.mp4", (768, 432), 12.5, 377),
            ("mot17-04-8frames.mp4", (1920, 1080), 3.0, 8),
        ],
    )
    def test_videos(
        self, data: Path, name: str, size: tuple[int, int], rate: float, count: int
    ) -> None:
        with open_source(data / "videos" / name, stride=7) as source:
            assert (source.width, source.height, source.frame_rate) == (*size, rate)
            frames = list(source)
            assert source.expected_frames == len(frames)
            assert (source.broken, source.truncated) == (0, None)
        assert frames[-1].number == (count - 1) // 7 * 7 + 1
        assert frames[-1].time == pytest.approx((frames[-1].number - 1) / rate)

    def test_same_pictures_as_opencv(self, data: Path) -> None:
        path = data / "videos" / "walking.mp4"
        reference = cv2.VideoCapture(str(path))
        for frame in read_all(path, end=12):
            seen, image = reference.read()
            assert seen
            assert np.abs(image.astype(int) - frame.image).mean() < 1.5
        reference.release()

    def test_mot_sequence(self, data: Path) -> None:
        folder = data / "mot17_mini" / "MOT17-05-FRCNN"
        with open_source(folder / "img1") as source:
            assert (source.name, source.frame_rate) == ("MOT17-05-FRCNN", 14.0)
            assert len(list(source)) == source.expected_frames


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, motrail.video, motrail.interop\n"
        "heavy = {'av', 'cv2', 'PIL', 'supervision', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("motrail.video.read", "av"),
        ("motrail.video.read", "cv2"),
        ("motrail.video.read", "PIL"),
        ("motrail.video.write", "av"),
    ],
)
def test_a_missing_package_is_named(module: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from motrail.errors import MissingExtraError\n"
        f"try:\n    import {module}\nexcept MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert package in done.stdout
    assert "motrail[video]" in done.stdout
