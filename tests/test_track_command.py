"""`motrail track` from end to end: what it writes, what it says, and what it leaves behind."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import cv2
import numpy as np
import pytest

import motrail
from models import spot_network, spot_spec, write_archive, write_bundle
from motrail.cli.app import run
from motrail.formats.mot.tracks import read_tracks
from motrail.video.read import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

SIDE = 128
CELL = 8
ROW = re.compile(r"\d+,\d+(,-?\d+\.\d\d){4},[01]\.\d{4},1,-1")
GREEDY = 60  # seconds after which a process counts as stuck


class Result(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str


Command = "Callable[..., Result]"


class Kit(NamedTuple):
    """Models and clips that the tests only read."""

    folder: Path
    bundle: Path
    clip: Path
    long: Path
    nan: Path


def picture(number: int, width: int = SIDE, height: int = SIDE) -> NDArray[np.uint8]:
    """Two bright cells, of which the network makes boxes of 16 × 16: one moves, one stands."""
    image = np.zeros((height, width, 3), np.uint8)
    for column, row in ((2 + (number - 1) // 4 % 10, 4), (8, 10)):
        image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 255
    return image


def moving_left(number: int) -> float:
    """Left edge of the box around the moving cell in a clip of 128 × 128."""
    return (2 + (number - 1) // 4 % 10) * CELL - 4.0


def make_clip(
    path: Path,
    count: int = 24,
    *,
    times: Sequence[float] | None = None,
    size: tuple[int, int] = (SIDE, SIDE),
    images: Sequence[NDArray[np.uint8]] | None = None,
    faststart: bool = False,
    pix_fmt: str = "yuv420p",
) -> Path:
    """A clip of 25 frames a second, written with PyAV alone."""
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", container_options=options) as container:
        stream: Any = container.add_stream(
            "libx264", rate=25, options={"g": "8", "preset": "ultrafast", "crf": "10"}
        )
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 2500)
        container.start_encoding()
        for i in range(count if images is None else len(images)):
            image = picture(i + 1, *size) if images is None else images[i]
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = i * 100 if times is None else round(times[i] * 2500)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def packets_of(path: Path) -> list[tuple[int, int]]:
    """Position and size of each packet in the file."""
    with av.open(str(path)) as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def blank_out(path: Path, *victims: int) -> Path:
    """Overwrite these packets with zeros, counted from 1; all if none is named."""
    data = bytearray(path.read_bytes())
    for number, (position, size) in enumerate(packets_of(path), start=1):
        if not victims or number in victims:
            data[position : position + size] = bytes(size)
    path.write_bytes(data)
    return path


def make_song(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        sound: Any = container.add_stream("aac", rate=8000)
        for i in range(4):
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            samples.sample_rate, samples.pts = 8000, i * 1024
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    folder = tmp_path_factory.mktemp("kit")
    long = folder / "long"
    long.mkdir()
    assert cv2.imwrite(str(folder / "one.png"), picture(1))
    for number in range(6_000):  # so many that no machine is through before it is interrupted
        (long / f"{number + 1:04}.png").symlink_to(folder / "one.png")
    nan = folder / "nan"
    write_bundle(nan)
    (nan / "model.onnx").write_bytes(spot_network(nan=True))
    return Kit(folder, write_bundle(folder / "spots"), make_clip(folder / "clip.mp4"), long, nan)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def command(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Runs `motrail track` in this process, away from the working tree; checks it tidies up."""
    monkeypatch.chdir(tmp_path)
    opencv_threads = cv2.getNumThreads()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = run(["track", *map(str, arguments)])
        sys.stdout.flush()
        return Result(code, *capfd.readouterr())

    yield call
    assert [t.name for t in threading.enumerate() if t.name.startswith("motrail")] == []
    assert cv2.getNumThreads() == opencv_threads
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def fails(result: Result, code: int, *words: str) -> None:
    """See that there is one line on stderr, that it says these words, and nothing on stdout."""
    assert result.code == code, result
    assert result.out == ""
    assert result.err.startswith("error: "), result.err
    assert result.err.endswith("\n")
    assert result.err.count("\n") == 1, result.err
    assert "(add --debug" not in result.err  # a bug of ours, not a mistake of the user
    for word in words:
        assert word in result.err


def content(folder: Path) -> dict[str, bytes]:
    """All files in a folder, hidden ones too."""
    if not folder.exists():
        return {}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Video(NamedTuple):
    """What a player would show of a video."""

    size: tuple[int, int]
    times: list[float]
    rate: float
    duration: float


def look_at(path: Path) -> Video:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert container.duration is not None
        assert stream.average_rate is not None
        times = [round(frame.time or 0.0, 4) for frame in container.decode(video=0)]
        size = (stream.width, stream.height)
        return Video(size, times, float(stream.average_rate), container.duration / 1e6)


class TestResults:
    def test_files_rows_and_video(self, command: Any, kit: Kit, out: Path) -> None:
        result = command(kit.clip, "--model", kit.bundle, "--output", out)
        assert result.code == 0
        assert sorted(content(out)) == ["clip.mp4", "clip.txt", "labels.txt"]
        assert (out / "labels.txt").read_text() == "spot\n"
        lines = (out / "clip.txt").read_text(encoding="ascii").splitlines()
        assert all(ROW.fullmatch(line) for line in lines), lines
        rows = read_tracks(out / "clip.txt")
        assert rows.frames.tolist() == [number for number in range(1, 25) for _ in range(2)]
        assert set(rows.ids) == {1, 2}
        moving = rows.ids == rows.ids[np.argmin(rows.boxes_xywh[:2, 1])]
        wanted = [[moving_left(number), 28, 16, 16] for number in range(1, 25)]
        assert rows.boxes_xywh[moving][0].tolist() == wanted[0]
        assert np.abs(rows.boxes_xywh[moving] - wanted).max() < 6  # the filter lags behind jumps
        np.testing.assert_allclose(rows.boxes_xywh[~moving], [[60, 76, 16, 16]] * 24, atol=0.05)
        assert rows.scores.min() > 0.99
        source, written = look_at(kit.clip), look_at(out / "clip.mp4")
        assert written.size == source.size == (SIDE, SIDE)
        assert written.times == source.times == [round(i / 25, 4) for i in range(24)]
        assert written.rate == source.rate == 25
        assert written.duration == pytest.approx(source.duration, abs=1e-3)

    def test_boxes_are_drawn(self, command: Any, kit: Kit, out: Path) -> None:
        command(kit.clip, "-m", kit.bundle, "-o", out)
        plain = [frame.image.astype(int) for frame in open_source(kit.clip)]
        drawn = [frame.image.astype(int) for frame in open_source(out / "clip.mp4")]
        for before, after in zip(plain, drawn, strict=True):
            change = np.abs(after - before).max(axis=2)
            assert (change[74:94, 58:78] > 60).sum() > 30  # the frame around the standing cell
            assert change[100:, :].max() < 40

    def test_same_tracks_every_time_with_and_without_video(
        self, command: Any, kit: Kit, tmp_path: Path
    ) -> None:
        ways = {"a": [], "b": [], "c": ["--no-video"], "d": ["--workers", "1"], "e": ["--json"]}
        for name, flags in ways.items():
            assert command(kit.clip, "-m", kit.bundle, "-o", tmp_path / name, *flags).code == 0
        texts = {(tmp_path / name / "clip.txt").read_bytes() for name in ways}
        assert len(texts) == 1
        assert texts != {b""}
        assert sorted(content(tmp_path / "c")) == ["clip.txt", "labels.txt"]

    def test_a_second_run_replaces_the_first(self, command: Any, kit: Kit, out: Path) -> None:
        out.mkdir()
        (out / "clip.txt").write_text("old")
        (out / "clip.mp4").write_text("old")
        (out / "other.txt").write_text("not ours")
        assert command(kit.clip, "-m", kit.bundle, "-o", out).code == 0
        assert sorted(content(out)) == ["clip.mp4", "clip.txt", "labels.txt", "other.txt"]
        assert (out / "other.txt").read_text() == "not ours"
        assert len(read_tracks(out / "clip.txt").ids) == 48

    def test_summary(self, command: Any, kit: Kit, out: Path) -> None:
        result = command(kit.clip, "-m", kit.bundle, "-o", out)
        assert result.err == ""
        lines = result.out.splitlines()
        assert re.fullmatch(r" *frames  24 in \d+\.\d s, \d+\.\d fps on \w+", lines[0])
        assert re.fullmatch(r" *tracks  2, seen in 24\.0 frames \(1\.0 s\) on average", lines[1]), (
            lines
        )
        said = "\n".join(lines[2:])
        for name in ("clip.txt", "labels.txt", "clip.mp4"):
            assert str(out / name) in said
        assert len(lines) == 5

    def test_json_is_one_document(self, command: Any, kit: Kit, out: Path) -> None:
        result = command(kit.clip, "-m", kit.bundle, "-o", out, "--json")
        assert result.err == ""
        document = json.loads(result.out)  # nothing before and nothing after it
        wanted = {
            "source": "clip",
            "width": SIDE,
            "height": SIDE,
            "frame_rate": 25.0,
            "frames": 24,
            "tracks": 2,
            "boxes": 48,
            "broken_frames": 0,
            "truncated": None,
            "mean_length": 24.0,
        }
        assert {key: document[key] for key in wanted} == wanted
        assert document["files"] == {
            "labels": str(out / "labels.txt"),
            "tracks": str(out / "clip.txt"),
            "video": str(out / "clip.mp4"),
        }
        assert document["seconds"] > 0

    def test_nothing_seen_is_said(self, command: Any, kit: Kit, out: Path) -> None:
        flags = ["--new-track-threshold", "1", "--high-threshold", "1"]
        result = command(kit.clip, "-m", kit.bundle, "-o", out, "--json", *flags)
        assert result.code == 0
        assert json.loads(result.out)["tracks"] == 0
        result = command(kit.clip, "-m", kit.bundle, "-o", out, *flags)
        assert result.err.startswith("note: the best detection has a score of 1.00, and a track ")
        assert (out / "clip.txt").read_bytes() == b""

    def test_default_folder(self, command: Any, kit: Kit, tmp_path: Path) -> None:
        assert command(kit.clip, "-m", kit.bundle).code == 0
        assert sorted(content(tmp_path / "runs" / "clip")) == [
            "clip.mp4",
            "clip.txt",
            "labels.txt",
        ]


class TestSettings:
    def test_stride_start_and_end(self, command: Any, kit: Kit, out: Path) -> None:
        flags = ["--stride", "3", "--start", "4", "--end", "20"]
        result = command(kit.clip, "-m", kit.bundle, "-o", out, "--json", *flags)
        assert json.loads(result.out)["frames"] == 6
        assert sorted(set(read_tracks(out / "clip.txt").frames)) == [4, 7, 10, 13, 16, 19]
        written = look_at(out / "clip.mp4")
        assert written.times == [round(i * 3 / 25, 4) for i in range(6)]

    def test_stride_keeps_the_duration(self, command: Any, kit: Kit, out: Path) -> None:
        assert command(kit.clip, "-m", kit.bundle, "-o", out, "--stride", "4").code == 0
        written = look_at(out / "clip.mp4")
        assert len(written.times) == 6
        assert written.duration == pytest.approx(24 / 25, abs=1e-3)
        assert written.rate == pytest.approx(25 / 4)

    def test_a_stride_beyond_the_end_gives_one_frame(
        self, command: Any, kit: Kit, out: Path
    ) -> None:
        assert command(kit.clip, "-m", kit.bundle, "-o", out, "--stride", "1000000").code == 0
        assert set(read_tracks(out / "clip.txt").frames) == {1}
        assert look_at(out / "clip.mp4").times == [0]

    def test_classes(self, command: Any, tmp_path: Path, kit: Kit) -> None:
        model = write_bundle(tmp_path / "two", classes=["spot", "blob"])
        (model / "model.onnx").write_bytes(spot_network(classes=2))
        counts = {}
        for wanted in ("spot", "blob", " blob , spot"):
            result = command(kit.clip, "-m", model, "--classes", wanted, "--json", "--no-video")
            counts[wanted] = json.loads(result.out)["boxes"]
        assert counts == {"spot": 48, "blob": 0, " blob , spot": 48}
        assert (tmp_path / "runs" / "clip" / "labels.txt").read_text() == "spot\nblob\n"
        fails(
            command(kit.clip, "-m", model, "--classes", "spott"),
            2,
            "'spott'",
            "did you mean 'spot'",
        )

    def test_flag_over_environment_over_file_over_bundle(
        self, command: Any, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = write_bundle(tmp_path / "set", tracker={"new_track_threshold": 1.0})
        file = tmp_path / "my.toml"
        file.write_text("[tracker]\nnew_track_threshold = 0.5\n[video]\nstride = 2\nend = 10\n")

        def frames_and_tracks(*flags: object) -> tuple[int, int]:
            result = command(kit.clip, "-m", model, "--json", "--no-video", *flags)
            document = json.loads(result.out)
            return document["frames"], document["tracks"]

        assert frames_and_tracks() == (24, 0)
        assert frames_and_tracks("--config", file) == (5, 2)
        monkeypatch.setenv("MOTRAIL_VIDEO_STRIDE", "5")
        assert frames_and_tracks("--config", file) == (2, 2)
        assert frames_and_tracks("--config", file, "--stride", "1") == (10, 2)
        monkeypatch.setenv("MOTRAIL_TRACKER_NEW_TRACK_THRESHOLD", "1")
        assert frames_and_tracks("--config", file, "--stride", "1") == (10, 0)

    def test_bare_onnx_with_preset_and_labels(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path
    ) -> None:
        (tmp_path / "names.txt").write_text("spot\n")
        flags = ["--preset", "yolox", "--labels", tmp_path / "names.txt"]
        model = kit.bundle / "model.onnx"
        assert command(kit.clip, "-m", model, *flags, "-o", out, "--no-video").code == 0
        assert command(kit.clip, "-m", kit.bundle, "-o", tmp_path / "b", "--no-video").code == 0
        assert content(out) == content(tmp_path / "b")

    def test_archive(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        members = {"model.onnx": spot_network(), "model.json": json.dumps(spot_spec()).encode()}
        model = write_archive(tmp_path / "model.tar.gz", members)
        assert command(kit.clip, "-m", model, "-o", out, "--no-video").code == 0
        assert len(read_tracks(out / "clip.txt").ids) == 48


class TestSources:
    def test_folder_pattern_and_image(self, command: Any, kit: Kit, tmp_path: Path) -> None:
        folder = tmp_path / "walk"
        folder.mkdir()
        for number, shown in ((1, 1), (2, 1), (10, 5)):  # in this order, not 1, 10, 2
            assert cv2.imwrite(str(folder / f"f{number}.png"), picture(shown))
        for name, source, count in (
            ("a", folder, 3),
            ("b", folder / "*.png", 3),
            ("c", folder / "f10.png", 1),
        ):
            result = command(source, "-m", kit.bundle, "-o", tmp_path / name, "--json")
            assert result.code == 0, result.err
            assert json.loads(result.out)["frames"] == count
        assert content(tmp_path / "a") == content(tmp_path / "b")
        rows = read_tracks(tmp_path / "a" / "walk.txt")
        assert rows.frames.tolist() == [1, 1, 2, 2, 3, 3]
        moving = rows.boxes_xywh[rows.boxes_xywh[:, 1] < 40, 0]
        assert moving[1] == pytest.approx(moving_left(1), abs=0.1)
        assert moving[2] > moving_left(1) + 2
        written = look_at(tmp_path / "a" / "walk.mp4")
        assert (len(written.times), written.rate) == (3, 30)
        assert sorted(content(tmp_path / "c")) == ["f10.mp4", "f10.txt", "labels.txt"]

    def test_results_may_stand_among_the_images(
        self, command: Any, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "here"
        folder.mkdir()
        assert cv2.imwrite(str(folder / "1.png"), picture(1))
        monkeypatch.chdir(folder)
        for _ in range(2):
            assert command(".", "-m", kit.bundle, "-o", ".").code == 0
        assert sorted(content(folder)) == ["1.png", "here.mp4", "here.txt", "labels.txt"]

    def test_odd_size(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        path = make_clip(tmp_path / "odd.mp4", 6, size=(121, 99), pix_fmt="yuv444p")
        assert command(path, "-m", kit.bundle, "-o", out).code == 0
        assert look_at(out / "odd.mp4").size == (121, 99)
        assert len(look_at(out / "odd.mp4").times) == 6

    def test_variable_frame_rate(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        times = [0, 0.04, 0.08, 0.5, 0.54, 0.6, 2.0, 2.04]
        path = make_clip(tmp_path / "vfr.mp4", 8, times=times)
        assert command(path, "-m", kit.bundle, "-o", out).code == 0
        assert look_at(out / "vfr.mp4").times == pytest.approx(times, abs=1e-3)
        assert sorted(set(read_tracks(out / "vfr.txt").frames)) == list(range(1, 9))

    def test_broken_frames_in_the_middle_are_counted(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path
    ) -> None:
        path = blank_out(make_clip(tmp_path / "scratched.mp4"), 9)  # the second keyframe
        result = command(path, "-m", kit.bundle, "-o", out)
        assert result.code == 0
        assert result.err == ""
        found = re.search(
            r"^ *broken  (\d+) frames could not be decoded$", result.out, re.MULTILINE
        )
        assert found
        broken = int(found[1])
        assert 1 <= broken <= 8
        document = json.loads(command(path, "-m", kit.bundle, "-o", out, "--json").out)
        assert document["broken_frames"] == broken
        assert document["truncated"] is None
        frames = read_tracks(out / "scratched.txt").frames
        assert set(range(17, 25)) <= set(frames.tolist())  # behind the damage numbers are right

    def test_cut_off_with_the_index_in_front(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path
    ) -> None:
        path = make_clip(tmp_path / "cut.mp4", faststart=True)
        position, size = packets_of(path)[14]
        os.truncate(path, position + size)
        for flags in ([], ["--json"]):
            result = command(path, "-m", kit.bundle, "-o", out, *flags)
            assert result.code == 3
            reason = "the file holds 15 of 24 frames: it was cut off"
            assert result.err == f"{path}: partly done: {reason}\n"
        assert json.loads(result.out)["truncated"] == reason
        assert sorted(content(out)) == ["cut.mp4", "cut.txt", "labels.txt"]
        assert sorted(set(read_tracks(out / "cut.txt").frames)) == list(range(1, 16))
        assert len(look_at(out / "cut.mp4").times) == 15

    @pytest.mark.parametrize(
        "name",
        [
            "with blank.mp4",
            "new\nline.mp4",
            "ünï—😀.mp4",
            "per%d%%cent.mp4",
            "[red]x[bold].mp4",
            "{task}.mp4",
            ".hidden.mp4",
            "a:b.mp4",
            "file:c.mp4",
            "-x.mp4",
            "no_ending",
        ],
    )
    def test_strange_names(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path, name: str
    ) -> None:
        shutil.copy(kit.clip, tmp_path / name)
        result = command("-m", kit.bundle, "-o", out, "--", name)
        assert result.code == 0, result.err
        stem = Path(name).stem
        assert sorted(content(out)) == sorted([f"{stem}.mp4", f"{stem}.txt", "labels.txt"])
        assert len(look_at(out / f"{stem}.mp4").times) == 24
        # The folder's name may be as strange, and may be where we stand.
        assert command("-m", kit.bundle, "-o", f"o{stem}", "--end", "2", "--", name).code == 0
        (tmp_path / "here").mkdir()
        os.chdir(tmp_path / "here")
        assert command("-m", kit.bundle, "-o", ".", "--end", "2", "--", tmp_path / name).code == 0
        assert len(look_at(tmp_path / "here" / f"{stem}.mp4").times) == 2

    def test_a_name_as_long_as_the_disk_allows(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path
    ) -> None:
        name = "n" * 251
        shutil.copy(kit.clip, tmp_path / f"{name}.mp4")
        result = command(f"{name}.mp4", "-m", kit.bundle, "-o", out)
        assert result.code == 0, result.err
        assert sorted(content(out)) == ["labels.txt", f"{name}.mp4", f"{name}.txt"]

    def test_real_footage(self, command: Any, data: Path, tmp_path: Path, out: Path) -> None:
        video = min((data / "videos").glob("*.mp4"))
        model = data / "models" / "bytetrack_nano.onnx"
        flags = ["--preset", "bytetrack", "--end", "12", "--json"]
        result = command(video, "-m", model, "-o", out, *flags)
        assert result.code == 0, result.err
        document = json.loads(result.out)
        assert document["frames"] == 12
        assert (out / "labels.txt").read_text() == "pedestrian\n"
        source, written = look_at(video), look_at(out / f"{video.stem}.mp4")
        assert written.size == (document["width"], document["height"]) == source.size
        assert written.times == pytest.approx(source.times[:12], abs=1e-3)
        assert all(ROW.fullmatch(x) for x in (out / f"{video.stem}.txt").read_text().splitlines())


class TestBadSources:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda _: None, ["no such file"]),
            (lambda path: path.mkdir(), ["expected a folder with images", "found nothing"]),
            (lambda path: path.write_text("a film, honestly\n"), ["expected a video"]),
            (lambda path: path.write_bytes(b""), ["empty file (0 bytes)"]),
            (lambda path: make_clip(path, images=[]), ["expected a video"]),
            (lambda path: blank_out(make_clip(path)), ["found no frame that can be decoded"]),
            (make_song, ["only sound"]),
        ],
        ids=["none", "folder", "text", "zero-bytes", "zero-frames", "no-frame-decodes", "sound"],
    )
    def test_no_video(
        self, command: Any, kit: Kit, tmp_path: Path, make: Any, words: list[str]
    ) -> None:
        make(tmp_path / "film.mp4")
        fails(command("film.mp4", "-m", kit.bundle), 1, "film.mp4", *words)
        assert not (tmp_path / "runs").exists()

    def test_cut_off_with_the_index_at_the_end(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path
    ) -> None:
        path = tmp_path / "cut.mp4"
        path.write_bytes(kit.clip.read_bytes()[: packets_of(kit.clip)[12][0]])
        fails(command(path, "-m", kit.bundle, "-o", out), 1, "cut.mp4", "index (moov) is missing")
        assert content(out) == {}

    @pytest.mark.parametrize("url", ["https://a.b/c.mp4", "rtsp://camera/1", "file:///etc/passwd"])
    def test_address(self, command: Any, kit: Kit, url: str) -> None:
        fails(command(url, "-m", kit.bundle), 1, url, "network addresses are not read")

    def test_images_of_two_sizes(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        (tmp_path / "mix").mkdir()
        for number, side in ((1, 128), (2, 128), (3, 64)):
            image = np.zeros((side, side, 3), np.uint8)
            assert cv2.imwrite(str(tmp_path / "mix" / f"{number}.png"), image)
        fails(command("mix", "-m", kit.bundle, "-o", out), 1, "3.png", "128x128", "64x64")
        assert content(out) == {}

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_pipe(self, command: Any, kit: Kit, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        fails(command("pipe", "-m", kit.bundle), 1, "device or pipe")


class TestBadModels:
    def test_no_onnx(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"this is no network at all" * 40)
        result = command(kit.clip, "-m", "m.onnx", "--preset", "yolox", "-o", out)
        fails(result, 1, "m.onnx", "expected an ONNX network")
        assert content(out) == {}

    def test_another_output(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        model = write_bundle(tmp_path / "m")
        (model / "model.onnx").write_bytes(spot_network(columns=3))
        fails(command(kit.clip, "-m", model, "-o", out), 1, str(model), "336 cells", "(336, 9)")
        write_bundle(model, output={"format": "yolox-decoded"})
        fails(command(kit.clip, "-m", model, "-o", out), 1, "yolox-decoded", "yolox-raw")
        write_bundle(model, input={"height": 64, "width": 64, "color": "bgr"})
        fails(command(kit.clip, "-m", model, "-o", out), 1, "64×64", "128×128")
        assert content(out) == {}

    def test_number_of_names(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        model = write_bundle(tmp_path / "m", classes=["spot", "blob"])
        fails(command(kit.clip, "-m", model, "-o", out), 1, str(model), "2 classes")
        (tmp_path / "names.txt").write_text("spot\nblob\n")
        flags = ["--preset", "yolox", "--labels", "names.txt", "-o", out]
        result = command(kit.clip, "-m", kit.bundle / "model.onnx", *flags)
        fails(result, 1, "names.txt", "2 names", "1 classes")
        result = command(kit.clip, "-m", kit.bundle / "model.onnx", "--preset", "yolox", "-o", out)
        fails(result, 1, "--labels")
        assert content(out) == {}

    @pytest.mark.parametrize("flags", [[], ["--no-video"]], ids=["video", "no-video"])
    def test_nan(self, command: Any, kit: Kit, out: Path, flags: list[str]) -> None:
        out.mkdir()
        (out / "clip.txt").write_text("earlier\n")
        (out / "clip.mp4").write_text("earlier\n")
        before = content(out)
        fails(command(kit.clip, "-m", kit.nan, "-o", out, *flags), 1, str(kit.nan), "NaN")
        assert content(out) == before

    @pytest.mark.parametrize(
        ("tracker", "words"),
        [
            ({"high_treshold": 0.5}, ["unknown key", "did you mean 'high_threshold'"]),
            ({"high_threshold": 7}, ["high_threshold", "found 7"]),
            ({"lost_frames": -5}, ["lost_frames", "found -5"]),
            ({"lost_seconds": float("inf")}, ["lost_seconds", "inf"]),
            ({"high_threshold": "0.5"}, ["high_threshold", "'0.5'"]),
            ({"high_threshold": float("nan")}, ["high_threshold", "nan"]),
        ],
    )
    def test_tracker_settings_of_a_bundle(
        self,
        command: Any,
        kit: Kit,
        tmp_path: Path,
        out: Path,
        tracker: dict[str, Any],
        words: list[str],
    ) -> None:
        model = write_bundle(tmp_path / "m", tracker=tracker)
        fails(command(kit.clip, "-m", model, "-o", out), 2, *words)
        assert content(out) == {}

    @pytest.mark.parametrize("name", ["two\nlines", "carriage\r", "line\u2028end", "", " blank "])
    def test_a_class_name_that_labels_txt_cannot_hold(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path, name: str
    ) -> None:
        model = write_bundle(tmp_path / "m", classes=[name])
        fails(command(kit.clip, "-m", model, "-o", out), 1, "classes")
        assert content(out) == {}

    def test_damaged_archive(self, command: Any, kit: Kit, tmp_path: Path, out: Path) -> None:
        members = {"model.onnx": spot_network(), "model.json": json.dumps(spot_spec()).encode()}
        whole = write_archive(tmp_path / "whole.tar.gz", members).read_bytes()
        path = tmp_path / "m.tar.gz"
        rng = np.random.default_rng(0)
        for attempt in range(25):
            data = bytearray(whole)
            if attempt == 0:
                del data[len(data) // 2 :]
            else:
                place = int(rng.integers(12, len(data) - 8))
                data[place] ^= int(rng.integers(1, 256))
            path.write_bytes(data)
            result = command(kit.clip, "-m", path, "-o", out, "--end", "1", "--no-video")
            if result.code:
                fails(result, 1, "m.tar.gz")
                assert "\n" not in result.err[:-1]
                assert len(result.err) < 400, result.err
                assert content(out) == {}
            else:
                shutil.rmtree(out)

    def test_zoo_while_offline(
        self, command: Any, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOTRAIL_ZOO_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("MOTRAIL_CACHE", str(tmp_path / "cache"))
        fails(command(kit.clip, "-m", "yolox-nano"), 1, "yolox-nano", "127.0.0.1:9", "download")
        assert [name for name in content(tmp_path) if name.endswith(".onnx")] == []

    def test_unknown_names(self, command: Any, kit: Kit) -> None:
        fails(command(kit.clip, "-m", "yolox-nanno"), 1, "did you mean yolox-nano")
        fails(command(kit.clip, "-m", "there/is/none.onnx"), 1, "there/is/none.onnx: no such file")
        fails(command(kit.clip, "-m", kit.folder / "one.png"), 1, "expected a folder, an .onnx")

    def test_bare_onnx_without_preset(self, command: Any, kit: Kit) -> None:
        result = command(kit.clip, "-m", kit.bundle / "model.onnx")
        fails(result, 2, "model.onnx", "--preset bytetrack")


class TestWrongUse:
    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (["--stride", "0"], ["stride", "found 0"]),
            (["--stride", "x"], ["stride", "x"]),
            (["--stride", "1.5"], ["stride", "1.5"]),
            (["--start", "5", "--end", "2"], ["end", "found 2"]),
            (["--high-threshold", "2"], ["high_threshold", "found 2"]),
            (["--low-threshold", "0.9"], ["low_threshold", "0.9"]),
            (["--score-threshold", "nan"], ["score_threshold", "nan"]),
            (["--nms-threshold", "-0.1"], ["nms_threshold", "-0.1"]),
            (["--lost-frames", "-1"], ["lost_frames", "-1"]),
            (["--lost-seconds", "inf"], ["lost_seconds", "inf"]),
            (["--lost-seconds", "1e308"], ["lost_seconds", "1e+308"]),
            (["--crf", "99"], ["crf", "found 99"]),
            (["--encoder-preset", "quick"], ["encoder-preset", "quick"]),
            (["--device", "nonsense"], ["device", "'nonsense'"]),
            (["--device", "mps"], ["device", "mps"]),
            (["--workers", "0"], ["workers", "found 0"]),
            (["--trail-seconds", "-1"], ["trail_seconds", "-1"]),
            (["--trail-seconds", "inf"], ["trail_seconds", "inf"]),
            (["--class-mode", "both"], ["class-mode", "both"]),
            (["--classes", ","], ["classes", "at least one"]),
            (["--unknown", "3"], ["--unknown"]),
            (["--strid", "3"], ["--strid", "--stride"]),
            (["one", "too", "many"], ["one"]),
        ],
        ids=" ".join,
    )
    def test_flags(
        self, command: Any, kit: Kit, out: Path, flags: list[str], words: list[str]
    ) -> None:
        fails(command(kit.clip, "-m", kit.bundle, "-o", out, *flags), 2, *words)
        assert content(out) == {}

    def test_start_past_the_end(self, command: Any, kit: Kit, out: Path) -> None:
        result = command(kit.clip, "-m", kit.bundle, "-o", out, "--start", "25")
        fails(result, 1, "clip.mp4", "start at frame 25", "24 frames")
        assert content(out) == {}

    def test_wrong_settings_are_told_before_the_model_is_looked_for(
        self, command: Any, kit: Kit
    ) -> None:
        fails(command(kit.clip, "-m", "none.onnx", "--stride", "0"), 2, "stride")

    def test_model_missing(self, command: Any, kit: Kit) -> None:
        fails(command(kit.clip), 2, "--model")

    def test_source_missing(self, command: Any, kit: Kit) -> None:
        fails(command("-m", kit.bundle), 2, "source")

    @pytest.mark.parametrize(
        ("text", "code", "words"),
        [
            ("[tracker]\nhigh_treshold = 0.5\n", 2, ["my.toml", "did you mean 'high_threshold'"]),
            ("[traker]\nhigh_threshold = 0.5\n", 2, ["my.toml", "did you mean 'tracker'"]),
            ("[tracker]\nhigh_threshold = '0.5'\n", 2, ["my.toml", "high_threshold"]),
            ("[tracker\n", 1, ["my.toml", "expected TOML"]),
            (None, 2, ["my.toml", "cannot be read"]),
        ],
    )
    def test_config_file(
        self, command: Any, kit: Kit, tmp_path: Path, text: str | None, code: int, words: list[str]
    ) -> None:
        if text is not None:
            (tmp_path / "my.toml").write_text(text)
        fails(command(kit.clip, "-m", kit.bundle, "-c", "my.toml"), code, *words)
        assert not (tmp_path / "runs").exists()

    def test_environment(self, command: Any, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOTRAIL_TRACKER_HIGH_TRESHOLD", "0.5")
        fails(
            command(kit.clip, "-m", kit.bundle),
            2,
            "MOTRAIL_TRACKER_HIGH_TRESHOLD",
            "did you mean 'MOTRAIL_TRACKER_HIGH_THRESHOLD'",
        )

    def test_debug_shows_where(self, command: Any, kit: Kit) -> None:
        with pytest.raises(motrail.MotrailError, match="no such file"):
            command("none.mp4", "-m", kit.bundle, "--debug")
        process = subprocess.run(
            [sys.executable, "-m", "motrail", "track", "none.mp4", "-m", kit.bundle, "--debug"],
            capture_output=True,
            text=True,
            timeout=GREEDY,
            check=False,
        )
        assert process.returncode == 1
        assert process.stderr.startswith("Traceback (most recent call last):")
        assert "VideoError: none.mp4: no such file" in process.stderr.splitlines()[-1]


class TestOutputs:
    def test_a_file_in_place_of_the_folder(self, command: Any, kit: Kit, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("mine")
        fails(command(kit.clip, "-m", kit.bundle, "-o", "taken"), 1, "taken", "a file of that name")
        fails(command(kit.clip, "-m", kit.bundle, "-o", "taken/deeper"), 1, "taken")
        assert (tmp_path / "taken").read_text() == "mine"

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
    @pytest.mark.parametrize("folder", ["/proc", "/proc/results"])
    def test_a_folder_that_takes_no_files(self, command: Any, kit: Kit, folder: str) -> None:
        fails(command(kit.clip, "-m", kit.bundle, "-o", folder), 1, folder, "cannot be written")

    @pytest.mark.parametrize("way", ["same", "link", "hard link"])
    def test_the_source_is_never_overwritten(
        self, command: Any, kit: Kit, tmp_path: Path, way: str
    ) -> None:
        film = tmp_path / "film.mp4"
        shutil.copy(kit.clip, film)
        (tmp_path / "out").mkdir()
        if way == "link":
            (tmp_path / "out" / "film.mp4").symlink_to(film)
        elif way == "hard link":
            (tmp_path / "out" / "film.mp4").hardlink_to(film)
        folder = tmp_path if way == "same" else tmp_path / "out"
        fails(command(film, "-m", kit.bundle, "-o", folder), 2, "film.mp4", "is the source itself")
        assert film.read_bytes() == kit.clip.read_bytes()
        assert not (folder / "film.txt").exists()
        assert command(film, "-m", kit.bundle, "-o", folder, "--no-video").code == 0

    def test_a_source_called_labels(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path
    ) -> None:
        """Its track file would be labels.txt."""
        shutil.copy(kit.clip, tmp_path / "labels.mp4")
        result = command("labels.mp4", "-m", kit.bundle, "-o", out)
        if result.code:
            fails(result, 2, "labels.txt")
            assert content(out) == {}
        else:
            assert (out / "labels.txt").read_text() == "spot\n"

    def test_the_file_of_names_is_never_overwritten(
        self, command: Any, kit: Kit, tmp_path: Path
    ) -> None:
        (tmp_path / "clip.txt").write_text("spot\n")
        flags = ["--preset", "yolox", "--labels", "clip.txt", "-o", tmp_path]
        fails(command(kit.clip, "-m", kit.bundle / "model.onnx", *flags), 2, "clip.txt")
        assert (tmp_path / "clip.txt").read_text() == "spot\n"

    def test_labels_of_another_model(self, command: Any, kit: Kit, out: Path) -> None:
        out.mkdir()
        (out / "labels.txt").write_text("person\n")
        before = content(out)
        fails(
            command(kit.clip, "-m", kit.bundle, "-o", out), 2, "labels.txt", "names other classes"
        )
        assert content(out) == before

    @pytest.mark.parametrize("name", ["clip.txt", "clip.mp4"])
    def test_a_folder_in_place_of_a_file(
        self, command: Any, kit: Kit, out: Path, name: str
    ) -> None:
        """All results appear or none."""
        (out / name).mkdir(parents=True)
        fails(command(kit.clip, "-m", kit.bundle, "-o", out), 1, name, "a folder of that name")
        assert content(out) == {}

    def test_links_are_replaced_not_followed(
        self, command: Any, kit: Kit, tmp_path: Path, out: Path
    ) -> None:
        out.mkdir()
        (tmp_path / "victim").write_text("mine")
        (out / "clip.txt").symlink_to(tmp_path / "victim")
        assert command(kit.clip, "-m", kit.bundle, "-o", out, "--no-video").code == 0
        assert (tmp_path / "victim").read_text() == "mine"
        assert not (out / "clip.txt").is_symlink()


LIMITED = """
    import resource, sys
    from motrail.cli import main
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    main(sys.argv[2:])
"""


def process(*arguments: object, code: str | None = None, **options: Any) -> Result:
    """Run the command in a process of its own, or `code` in place of it."""
    start = ["-m", "motrail"] if code is None else ["-c", textwrap.dedent(code)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    ended = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        text=True,
        timeout=GREEDY,
        check=False,
        **options,
    )
    return Result(ended.returncode, ended.stdout or "", ended.stderr or "")


@pytest.mark.skipif(importlib.util.find_spec("resource") is None, reason="needs POSIX limits")
class TestFullDisk:
    """A file may not grow past a limit, which looks like a full disk and works for root, too."""

    @pytest.mark.parametrize(
        ("limit", "flags", "name"),
        [
            (200, ["--no-video"], "clip.txt"),
            # The video still fits, the track file does not; neither may be left.
            (6000, ["--crf", "51", "--trail-seconds", "0"], "clip.txt"),
            (9000, ["--crf", "0", "--encoder-preset", "ultrafast"], "clip.mp4"),
            (0, ["--no-video"], "labels.txt"),
        ],
        ids=["tracks", "tracks-after-video", "video", "labels"],
    )
    def test_nothing_is_left(
        self, kit: Kit, tmp_path: Path, out: Path, limit: int, flags: list[str], name: str
    ) -> None:
        standing = [picture(1)] * 96
        clip = make_clip(tmp_path / "clip.mp4", images=standing)
        out.mkdir()
        (out / "clip.txt").write_text("earlier\n")
        (out / "clip.mp4").write_text("earlier\n")
        if name != "labels.txt":
            (out / "labels.txt").write_text("spot\n")
        before = content(out)
        result = process(limit, "track", clip, "-m", kit.bundle, "-o", out, *flags, code=LIMITED)
        fails(result, 1, "cannot be written")
        if limit:
            assert str(out / name) in result.err
        assert content(out) == before

    def test_labels_do_not_stay_alone(self, kit: Kit, out: Path) -> None:
        flags = ["-m", kit.bundle, "-o", out, "--no-video"]
        fails(process(200, "track", kit.clip, *flags, code=LIMITED), 1, "clip.txt")
        assert content(out) == {}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
class TestInterrupts:
    @pytest.mark.parametrize(
        "signals",
        [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 10],
        ids=["ctrl-c", "sigterm", "impatient"],
    )
    def test_midway(self, kit: Kit, out: Path, signals: list[signal.Signals]) -> None:
        out.mkdir()
        (out / "long.txt").write_text("earlier\n")
        (out / "long.mp4").write_text("earlier\n")
        before = content(out)
        words = ["track", kit.long, "-m", kit.bundle, "-o", out]
        with subprocess.Popen(
            [sys.executable, "-m", "motrail", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            deadline = time.monotonic() + GREEDY
            while len(list(out.iterdir())) < len(before) + 2 and time.monotonic() < deadline:
                assert running.poll() is None, running.communicate()
                time.sleep(0.01)
            time.sleep(0.1)
            for number in signals:
                running.send_signal(number)
                time.sleep(0.001)
            text, errors = running.communicate(timeout=GREEDY)
        assert content(out) == before
        assert text == ""
        if len(signals) == 1:  # a late one may hit the interpreter after its last line
            assert running.returncode == 130
            assert errors == "interrupted; nothing was left half-written\n"
        assert running.returncode != 0

    def test_in_process(
        self, command: Any, kit: Kit, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The caller's threads and handlers are as they were; see the fixture."""

        def press(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr("motrail.tracking.Summary.count", press)
        result = command(kit.clip, "-m", kit.bundle, "-o", out)
        assert result == (130, "", "interrupted; nothing was left half-written\n")
        assert content(out) == {}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
class TestStreams:
    def test_nobody_reads_the_summary(self, kit: Kit, out: Path) -> None:
        """As in `motrail track ... | head -0`: the results are there, and no traceback."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            result = process(
                "track", kit.clip, "-m", kit.bundle, "-o", out, "--no-video", stdout=writer
            )
        finally:
            os.close(writer)
        assert result.code in (0, 1)
        assert "Traceback" not in result.err
        assert "Exception ignored" not in result.err
        assert sorted(content(out)) == ["clip.txt", "labels.txt"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_the_summary_cannot_be_written(self, kit: Kit, out: Path) -> None:
        with Path("/dev/full").open("w") as full:
            words = ["track", kit.clip, "-m", kit.bundle, "-o", out, "--no-video", "--json"]
            result = process(*words, stdout=full)
        fails(result, 1, "disk is full")

    @pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
    def test_names_that_the_stream_cannot_show(
        self, kit: Kit, tmp_path: Path, out: Path, flags: list[str]
    ) -> None:
        """As in a pipe under Windows, or for names that are not UTF-8."""
        for name, encoding in (("ünï—😀", "ascii"), (os.fsdecode(b"bad\xff"), "utf-8:strict")):
            shutil.copy(kit.clip, tmp_path / f"{name}.mp4")
            words = ["track", tmp_path / f"{name}.mp4", "-m", kit.bundle, "-o", out]
            environment = os.environ | {"PYTHONIOENCODING": encoding}
            result = process(*words, "--no-video", *flags, env=environment)
            assert (result.code, result.err) == (0, "")
            assert (out / f"{name}.txt").exists()

    @pytest.mark.parametrize("closed", [1, 2])
    @pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
    def test_a_stream_is_closed(self, kit: Kit, out: Path, closed: int, flags: list[str]) -> None:
        """As under a service manager that gives no stdout or no stderr."""
        words = ["track", kit.clip, "-m", kit.bundle, "-o", out, "--no-video", *flags]
        command = [sys.executable, "-m", "motrail", *map(str, words)]
        ended = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {closed}>&-', "sh", *command],
            capture_output=True,
            text=True,
            timeout=GREEDY,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert sorted(content(out)) == ["clip.txt", "labels.txt"]

    def test_a_bar_on_a_terminal_only(self, kit: Kit, out: Path) -> None:
        pty = pytest.importorskip("pty")
        ours, theirs = pty.openpty()
        words = ["track", kit.clip, "-m", kit.bundle, "-o", out, "--no-video", "--json"]
        with subprocess.Popen(
            [sys.executable, "-m", "motrail", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        ) as running:
            os.close(theirs)
            shown = io.BytesIO()
            with contextlib.suppress(OSError):  # how Linux says that the other end was closed
                while chunk := os.read(ours, 4096):
                    shown.write(chunk)
            text, _ = running.communicate(timeout=GREEDY)
        os.close(ours)
        assert running.returncode == 0
        assert json.loads(text)["frames"] == 24
        assert b"24/24" in shown.getvalue()
        assert shown.getvalue().rstrip().endswith(b"\x1b[2K")  # and it is wiped off at the end
