"""`motrail batch`: the same tracks as `motrail track`, however the work is cut and broken off."""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import av
import cv2
import numpy as np
import pytest

from commands import Result, caller
from models import SIDE, spot_network, spots_picture, write_bundle
from motrail.batch import run as batch_run
from motrail.batch.chunks import Chunk, Stamp, read_chunk, write_chunk
from motrail.batch.detect import Load, Parts, make_worker
from motrail.batch.find import find_videos
from motrail.batch.leftovers import Running
from motrail.batch.manifest import Manifest, Outcome
from motrail.batch.plan import usual_length
from motrail.cli import batch as batch_cli
from motrail.cli.app import run
from motrail.errors import ConfigError, FormatError, MotrailError, OutputError
from motrail.video.index import FrameIndex
from motrail.workers import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Prove

FRAMES = 60
GREEDY = 60  # seconds after which a process counts as stuck


class Kit(NamedTuple):
    """A model and clips that the tests only read."""

    bundle: Path
    clip: Path
    broken: Path
    untimed: Path


def make_clip(path: Path, frames: int = FRAMES, *, side: int = SIDE, first: int = 0) -> Path:
    """Two bright cells, one of which moves; groups of 12 pictures with B-frames between."""
    with av.open(str(path), "w") as container:
        options = {"g": "12", "bf": "2", "crf": "10", "preset": "veryfast"}
        stream: Any = container.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for number in range(first, first + frames):
            picture = np.zeros((SIDE, SIDE, 3), np.uint8)
            for column, row in ((2 + number // 8 % 10, 4), (8, 10)):
                picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255
            if side != SIDE:
                picture = cv2.resize(picture, (side, side)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def blank_out(path: Path, *victims: int) -> Path:
    """Overwrite these packets with zeros, counted from 1."""
    with av.open(str(path)) as container:
        packets = [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number, (position, size) in enumerate(packets, start=1):
        if number in victims:
            data[position : position + size] = bytes(size)
    path.write_bytes(data)
    return path


def content(folder: Path) -> dict[str, bytes]:
    """All files in a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    folder = tmp_path_factory.mktemp("kit")
    clip = make_clip(folder / "clip.mp4")
    broken = folder / "broken.mp4"
    shutil.copy(clip, broken)
    return Kit(
        write_bundle(folder / "spots"),
        clip,
        blank_out(broken, 20, 21, 22, 23, 24, 25),
        make_clip(folder / "untimed.h264"),
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def batch(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    return caller(capsys, "batch")


@pytest.fixture
def tracked(tmp_path: Path, kit: Kit, capsys: pytest.CaptureFixture[str]) -> Callable[..., bytes]:
    """What `motrail track` writes for a source."""

    def track(source: Path, *flags: object, code: int = 0) -> bytes:
        folder = tmp_path / "tracked"
        words = ["track", source, "-m", kit.bundle, "-o", folder, "--no-video", *flags]
        assert run([str(word) for word in words]) == code
        capsys.readouterr()
        return (folder / f"{source.stem}.txt").read_bytes()

    return track


class Inline:
    """Does what `motrail.workers.Pool` does, in this process."""

    made = 0

    def __class_getitem__(cls, _kinds: object) -> type[Inline]:
        return cls

    def __init__(self, prepare: Any) -> None:
        self._make = prepare()

    def start(self, count: int) -> None:
        pass

    def set_up(self, load: Any) -> None:
        self._load = load

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, following: Any, heard: Any) -> Iterator[tuple[Any, Any]]:
        type(self).made += 1
        work = self._make(self._load)
        job = None
        while (job := following(job)) is not None:
            try:
                answer = work(job, lambda note, job=job: heard(job, note))
            except MotrailError as error:
                answer = Failed(str(error), error=type(error).__name__)
            yield job, answer


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> type[Inline]:
    """Work is done in this process; counts how often any was begun."""
    monkeypatch.setattr(batch_cli, "Pool", Inline)
    monkeypatch.setattr(Inline, "made", 0)
    return Inline


def document(batch: Callable[..., Result], *words: object) -> dict[str, Any]:
    result = batch(*words, "--json")
    found: dict[str, Any] = json.loads(result.out)
    return found | {"code": result.code}


class TestSame:
    """The track file is that of `motrail track`, byte for byte."""

    @pytest.mark.parametrize(
        "flags",
        [
            [],
            ["--chunk", "1"],
            ["--chunk", "7"],
            ["--start", "17", "--end", "43", "--stride", "2", "--chunk", "5"],
            ["--stride", "100"],
            ["--max-gap", "5", "--smoothing", "2", "--min-length", "3", "--chunk", "20"],
        ],
        ids=" ".join,
    )
    def test_settings_and_cuts(
        self, batch: Any, tracked: Any, kit: Kit, out: Path, inline: Any, flags: list[str]
    ) -> None:
        assert batch(kit.clip, out, "-m", kit.bundle, *flags).code == 0
        if "--chunk" in flags:
            place = flags.index("--chunk")
            flags = flags[:place] + flags[place + 2 :]
        expected = tracked(kit.clip, *flags)
        assert expected.count(b"\n") >= (0 if "100" in flags else 20)
        assert (out / "clip.txt").read_bytes() == expected
        assert (out / "labels.txt").read_text() == "spot\n"

    def test_processes(self, batch: Any, tracked: Any, kit: Kit, out: Path) -> None:
        words = (out, "-m", kit.bundle, "--chunk", "10", "--workers", "3")
        result = batch(kit.clip, *words)
        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines() == [
            "video  state  frames  tracks  boxes",
            "clip   done       60       2    120",
            f"written  {out}",
        ]
        assert (out / "clip.txt").read_bytes() == tracked(kit.clip)
        assert sorted(content(out)) == [
            "batch.json",
            "clip.txt",
            *(f"detections/clip/{a:09}-{a + 9:09}.npz" for a in range(1, 60, 10)),
            "detections/clip/index.npz",
            "labels.txt",
        ]

    @pytest.mark.parametrize("name", ["clip", "broken", "untimed"])
    def test_shards_in_any_order(
        self, batch: Any, tracked: Any, kit: Kit, out: Path, inline: Any, name: str
    ) -> None:
        source = getattr(kit, name)
        words = (source, out, "-m", kit.bundle, "--chunk", "10")
        for number in (3, 2, 1):
            assert batch(*words, "--shard", f"{number}/3").code == 0
            assert not (out / "batch.json").exists()
        made = inline.made
        assert batch(*words, "--associate").code == 0
        assert inline.made == made
        assert (out / f"{source.stem}.txt").read_bytes() == tracked(source)

    def test_video(self, batch: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any) -> None:
        for flags in ([], ["--max-gap", "5", "--smoothing", "2"]):
            assert batch(kit.clip, out, "-m", kit.bundle, "--video", *flags).code == 0
            words = ["track", kit.clip, "-m", kit.bundle, "-o", tmp_path / "tracked", *flags]
            assert run([str(word) for word in words]) == 0
            for name in ("clip.mp4", "clip.txt"):
                assert (out / name).read_bytes() == (tmp_path / "tracked" / name).read_bytes()

    @pytest.mark.parametrize("flags", [[], ["--start", "5"], ["--end", "30"]], ids=str)
    def test_broken_frames(
        self, batch: Any, tracked: Any, kit: Kit, out: Path, inline: Any, flags: list[str],
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        words = ["track", kit.broken, "-m", kit.bundle, "-o", tmp_path / "t", "--no-video"]
        assert run([*map(str, words), *flags, "--json"]) == 0
        expected = json.loads(capsys.readouterr().out)
        assert expected["broken_frames"] > 0
        found = document(batch, kit.broken, out, "-m", kit.bundle, "--chunk", "10", *flags)
        (row,) = found["videos"]
        assert (out / "broken.txt").read_bytes() == (tmp_path / "t" / "broken.txt").read_bytes()
        for name in ("frames", "tracks", "boxes", "broken_frames"):
            assert row[name] == expected[name]
        assert found["code"] == 0

    def test_a_video_that_was_cut_off(
        self, batch: Any, tracked: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        whole = make_clip(tmp_path / "whole.mkv").read_bytes()
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole[: len(whole) // 2])
        for flags in ([], ["--shard", "1/2"], ["--shard", "2/2"], ["--associate"]):
            place = out if not flags else tmp_path / "shards"
            result = batch(cut, place, "-m", kit.bundle, "--chunk", "10", *flags)
            assert result.code == (0 if "--shard" in flags else 3)
        assert "cut: partly done: the file holds" in result.err
        assert "2.4 seconds: it was cut off" in result.err
        expected = tracked(cut, code=3)
        assert (out / "cut.txt").read_bytes() == expected
        assert (tmp_path / "shards" / "cut.txt").read_bytes() == expected
        again = batch(cut, out, "-m", kit.bundle, "--chunk", "10")
        assert (again.code, again.err) == (3, result.err)

    def test_images(self, batch: Any, tracked: Any, kit: Kit, tmp_path: Path, out: Path,
                    inline: Any) -> None:  # fmt: skip
        walk = tmp_path / "walk"
        walk.mkdir()
        for number in range(12):
            image = spots_picture([8 + 2 * number])
            assert cv2.imwrite(str(walk / f"{number}.png"), image)
        (walk / "4.png").write_bytes(b"broken")
        found = document(batch, walk, out, "-m", kit.bundle, "--chunk", "1")
        assert (found["videos"][0]["broken_frames"], found["code"]) == (1, 0)
        assert (out / "walk.txt").read_bytes() == tracked(walk)


class TestAgain:
    """What is there is not made anew, and what does not belong is."""

    def test_nothing_to_do(self, batch: Any, kit: Kit, out: Path, inline: Any) -> None:
        words = (kit.clip, out, "-m", kit.bundle)
        first = document(batch, *words)
        before = content(out)
        second = document(batch, *words)
        assert (inline.made, content(out)) == (1, before)
        assert [first["videos"][0]["kept"], second["videos"][0]["kept"]] == [False, True]
        assert first["videos"][0]["chunks_now"] == 1
        assert second["videos"][0]["chunks_now"] == 0
        assert batch(*words).out.splitlines()[1].split() == [
            "clip", "there", "already", "60", "2", "120",
        ]  # fmt: skip

    def test_other_settings_of_the_tracker_need_no_detector(
        self, batch: Any, tracked: Any, kit: Kit, out: Path, inline: Any
    ) -> None:
        words = (kit.clip, out, "-m", kit.bundle)
        assert batch(*words).code == 0
        before = (out / "clip.txt").read_bytes()
        for flags in (["--smoothing", "3"], ["--min-length", "61"]):
            assert batch(*words, *flags).code == 0
            assert (out / "clip.txt").read_bytes() == tracked(kit.clip, *flags) != before
        assert inline.made == 1

    def test_a_result_that_was_removed(self, batch: Any, kit: Kit, out: Path, inline: Any) -> None:
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0
        before = content(out)
        (out / "clip.txt").unlink()
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0
        assert (inline.made, content(out)) == (1, before)

    def test_another_detector(self, batch: Any, tracked: Any, kit: Kit, out: Path,
                              inline: Any) -> None:  # fmt: skip
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0
        assert batch(kit.clip, out, "-m", kit.bundle, "--score-threshold", "0.9999").code == 0
        assert inline.made == 2
        assert (out / "clip.txt").read_bytes() == tracked(kit.clip, "--score-threshold", "0.9999")

    def test_a_video_that_was_replaced(
        self, batch: Any, tracked: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        source = make_clip(tmp_path / "a.mp4", 30)
        assert batch(source, out, "-m", kit.bundle).code == 0
        make_clip(source, 30, first=20)
        assert batch(source, out, "-m", kit.bundle).code == 0
        assert (inline.made, (out / "a.txt").read_bytes()) == (2, tracked(source))

    @pytest.mark.parametrize(
        ("file", "harm"),
        [("000000011-000000020.npz", harm) for harm in ("cut", "flipped", "empty", "text")]
        + [("index.npz", harm) for harm in ("cut", "empty", "text")],
    )
    def test_damage_is_made_good(
        self, batch: Any, kit: Kit, out: Path, inline: Any, harm: str, file: str
    ) -> None:
        words = (kit.clip, out, "-m", kit.bundle, "--chunk", "10")
        assert batch(*words).code == 0
        before = content(out)
        path = out / "detections" / "clip" / file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        harmed: dict[str, bytes] = {
            "cut": bytes(data[: len(data) // 2]),
            "flipped": bytes(data),
            "empty": b"",
            "text": b"1,2\n",
        }
        path.write_bytes(harmed[harm])
        (out / "batch.json").unlink()
        found = document(batch, *words)
        assert content(out) == before
        assert found["videos"][0]["chunks_now"] == (0 if file == "index.npz" else 1)

    @pytest.mark.parametrize(
        "text",
        ["", "[]", '{"videos": 3}', '{"videos": [3]}', '{"videos": [{"name": 3}]}', "[" * 10_000],
        ids=range(6),
    )
    def test_a_manifest_that_is_none(
        self, batch: Any, kit: Kit, out: Path, inline: Any, text: str
    ) -> None:
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0
        before = content(out)
        (out / "batch.json").write_text(text)
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0
        assert (inline.made, content(out)) == (1, before)

    def test_two_archives_in_one_folder(self, batch: Any, kit: Kit, out: Path, inline: Any) -> None:
        for source in (kit.clip, kit.broken):
            assert batch(source, out, "-m", kit.bundle).code == 0
        rows = json.loads((out / "batch.json").read_text())["videos"]
        assert [row["name"] for row in rows] == ["clip", "broken"]

    def test_a_video_read_from_the_beginning_goes_on(
        self, batch: Any, tracked: Any, kit: Kit, out: Path, inline: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Broken off after three parts of ten frames, it detects in the frames that are left."""
        monkeypatch.setattr("motrail.batch.detect.LONGEST", 10)
        full = write_chunk
        written: list[Path] = []

        def third_is_the_last(path: Path, chunk: Chunk, stamp: Stamp) -> None:
            if len(written) == 3:
                raise KeyboardInterrupt
            written.append(path)
            full(path, chunk, stamp)

        monkeypatch.setattr("motrail.batch.detect.write_chunk", third_is_the_last)
        words = (kit.untimed, out, "-m", kit.bundle)
        assert batch(*words).code == 130
        names = [f"whole-00000{part}.npz" for part in range(7)]
        assert [path.name for path in written] == names[:3]
        written.clear()
        monkeypatch.setattr("motrail.batch.detect.write_chunk", full)
        seen: list[int] = []
        take = Parts.take

        def noting(parts: Parts, number: int, detections: Any) -> None:
            seen.append(number)
            take(parts, number, detections)

        monkeypatch.setattr(Parts, "take", noting)
        assert batch(*words).code == 0
        assert seen == list(range(31, 61))
        kept = sorted(path.name for path in (out / "detections" / "untimed").glob("whole-*"))
        assert kept == names[:6]
        assert (out / "untimed.txt").read_bytes() == tracked(kit.untimed)


class TestTrouble:
    def test_one_bad_video_does_not_stop_the_others(
        self, batch: Any, tracked: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        footage = tmp_path / "footage"
        footage.mkdir()
        for name in ("a.mp4", "c.mp4"):
            shutil.copy(kit.clip, footage / name)
        (footage / "b.mp4").write_text("no video")
        result = batch(footage, out, "-m", kit.bundle)
        assert result.code == 3
        assert [line.split()[:2] for line in result.out.splitlines()[1:-1]] == [
            ["a", "done"],
            ["b", "failed"],
            ["c", "done"],
        ]
        assert result.err.startswith(f"b: failed: {footage}/b.mp4: expected a video (mp4, mov")
        assert result.err.count("\n") == 1
        assert (out / "a.txt").read_bytes() == (out / "c.txt").read_bytes() == tracked(kit.clip)
        rows = {row["name"]: row for row in json.loads((out / "batch.json").read_text())["videos"]}
        assert [rows[name]["state"] for name in "abc"] == ["done", "failed", "done"]
        assert rows["b"]["reason"] in result.err
        # Put right, it is all that is left to do.
        shutil.copy(kit.clip, footage / "b.mp4")
        found = document(batch, footage, out, "-m", kit.bundle)
        assert [row["kept"] for row in found["videos"]] == [True, False, True]
        assert found["code"] == 0

    def test_a_list_with_gaps(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        listed = tmp_path / "list.txt"
        listed.write_text(f"\ufeff# of today\n\n{kit.clip}\n  # {kit.clip}\ngone.mp4\n{kit.clip}\n")
        result = batch(listed, out, "-m", kit.bundle)
        assert result.code == 3
        assert "failed: " in result.err
        assert result.err.endswith(f"{listed}:5: gone.mp4: no such file or folder\n")
        assert len(result.out.splitlines()) == 4

    def test_nothing_done_is_failed(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        (tmp_path / "a.mp4").write_text("no video")
        assert batch(tmp_path / "a.mp4", out, "-m", kit.bundle).code == 1
        result = batch(kit.clip, out, "-m", kit.bundle, "--chunk", "20", "--associate")
        assert result.code == 1
        assert result.err == (
            "clip: not done: 3 of 3 chunks are not detected yet, the first from frame 1 on; run "
            "all shards, with the same settings and --chunk, or leave --associate out\n"
        )
        assert inline.made == 0

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (
                ["--shard", "0/2"],
                "--shard: expected I/N with I from 1 to N, as in 2/8, found '0/2'",
            ),
            (["--shard", "3/2"], "found '3/2'"),
            (["--shard", "2"], "found '2'"),
            (["--shard", "1/2", "--associate"], "--shard detects and --associate tracks"),
            (["--chunk", "0"], "--chunk: expected 1 to 1,000,000 frames, found 0"),
            (["--workers", "0"], "workers: expected from 1 to 1024, found 0"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_wrong_use(self, batch: Any, kit: Kit, out: Path, words: list[str], said: str) -> None:
        result = batch(kit.clip, out, "-m", kit.bundle, *words)
        assert (result.code, result.out) == (2, "")
        assert said in result.err
        assert not out.exists()

    def test_results_of_other_classes(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0
        before = content(out)
        other = write_bundle(tmp_path / "dots", classes=["dot"])
        result = batch(kit.clip, out, "-m", other)
        assert result.code == 2
        assert f"{out}/labels.txt: names other classes than this model" in result.err
        assert (inline.made, content(out)) == (1, before)

    def test_drawn_videos_beside_the_footage(
        self, batch: Any, kit: Kit, tmp_path: Path, inline: Any
    ) -> None:
        shutil.copy(kit.clip, tmp_path / "clip.avi")
        result = batch(tmp_path / "clip.avi", tmp_path, "-m", kit.bundle, "--video")
        assert result.code == 2
        assert "drawn videos would stand among the footage" in result.err
        assert batch(tmp_path / "clip.avi", tmp_path, "-m", kit.bundle).code == 0

    def test_the_list_is_never_overwritten(
        self, batch: Any, kit: Kit, tmp_path: Path, inline: Any
    ) -> None:
        (tmp_path / "clip.txt").write_text(f"{kit.clip}\n")
        result = batch(tmp_path / "clip.txt", tmp_path, "-m", kit.bundle)
        assert result.code == 1
        assert "clip.txt: is needed for this run" in result.err
        assert (tmp_path / "clip.txt").read_text() == f"{kit.clip}\n"

    def test_a_network_that_fails(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        bundle = write_bundle(tmp_path / "nan")
        (bundle / "model.onnx").write_bytes(spot_network(nan=True))
        result = batch(kit.clip, out, "-m", bundle, "--chunk", "10")
        assert result.code == 1
        assert result.err.startswith("clip: failed: frame 1: ")

    def test_a_full_disk_ends_it(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        def full(path: Path, *_: object) -> None:
            raise OutputError(f"{path}: cannot be written: the disk is full")

        footage = tmp_path / "footage"
        footage.mkdir()
        for name in ("a.mp4", "b.mp4"):
            shutil.copy(kit.clip, footage / name)
        with monkeypatch.context() as patch:
            patch.setattr("motrail.batch.detect.write_chunk", full)
            result = batch(footage, out, "-m", kit.bundle)
        assert result.code == 1
        assert result.err.startswith(f"error: {out}/detections/a/")
        assert result.err.endswith("cannot be written: the disk is full\n")
        assert [p for p in content(out) if p.endswith(".txt")] == []
        assert batch(footage, out, "-m", kit.bundle).code == 0

    def test_a_video_that_changes_meanwhile(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = make_clip(tmp_path / "a.mp4", 30)

        class Late(Inline):
            def set_up(self, load: Any) -> None:
                super().set_up(load)
                make_clip(source, 30, first=20)

        monkeypatch.setattr(batch_cli, "Pool", Late)
        result = batch(source, out, "-m", kit.bundle)
        assert result.code == 1
        assert result.err == f"a: failed: {source}: was changed meanwhile; start again\n"


def lose(times: int, name: str, mark: str) -> Callable[[Load], Any]:
    """Makes workers that are killed so many times over the chunks of a video."""

    def make(load: Load) -> Any:
        work = make_worker(load)

        def killed(job: Any, tell: Any) -> Any:
            marks = load.kept.parent / mark
            before = marks.read_text() if marks.exists() else ""
            if job.video.name == name and job.first == 1 and len(before) < times:
                marks.write_text(before + "x")
                os.kill(os.getpid(), signal.SIGKILL)
            return work(job, tell)

        return killed

    return make


def lose_once() -> Any:
    return lose(1, "b", "killed")


def lose_twice() -> Any:
    return lose(2, "b", "killed")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
class TestKilled:
    @pytest.mark.parametrize("prepare", [lose_once, lose_twice])
    def test_a_worker(
        self, batch: Any, tracked: Any, kit: Kit, tmp_path: Path, out: Path, prepare: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        footage = tmp_path / "footage"
        footage.mkdir()
        for name in "abc":
            shutil.copy(kit.clip, footage / f"{name}.mp4")
        monkeypatch.setattr(batch_cli, "prepare", prepare)
        result = batch(footage, out, "-m", kit.bundle, "--chunk", "20", "--workers", "2")
        good = "abc" if prepare is lose_once else "ac"
        assert sorted(path.stem for path in out.glob("?.txt")) == list(good)
        assert {(out / f"{name}.txt").read_bytes() for name in good} == {tracked(kit.clip)}
        if prepare is lose_once:
            assert (result.code, result.err) == (0, "")
        else:
            assert result.code == 3
            assert result.err.startswith(
                "b: failed: a worker process ended before its work was done (exit code -9)"
            )

    @pytest.mark.parametrize("times", [2, pytest.param(5, marks=pytest.mark.proof)])
    def test_the_whole_run_again_and_again(
        self, kit: Kit, tmp_path: Path, out: Path, times: int
    ) -> None:
        """Killed at random and started again until it is done: as if nothing had happened."""
        footage = tmp_path / "footage"
        footage.mkdir()
        for name in "ab":
            make_clip(footage / f"{name}.mp4", 100 * times)
        words = ["batch", footage, "-m", kit.bundle, "--chunk", "10", "--workers", "2"]
        assert run([*map(str, words), str(tmp_path / "untouched")]) == 0
        draw = random.Random(7)  # noqa: S311
        done = 0
        for _ in range(times):
            with start(*words, out, start_new_session=True) as running:
                wait_for_chunks(out, done + draw.randint(1, 4), running)
                time.sleep(draw.random() / 50)
                os.killpg(running.pid, signal.SIGKILL)
            assert chunks_in(out) >= done
            done = chunks_in(out)
        assert times <= done < 20 * times
        (out / "detections" / "a" / ".0123456789abcdef").write_text("half")
        with start(*words, out) as running:
            assert running.wait(GREEDY) == 0
        assert content(out) == content(tmp_path / "untouched")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupt(self, kit: Kit, tmp_path: Path, out: Path, number: int) -> None:
        source = make_clip(tmp_path / "a.mp4", 300)
        words = ["batch", source, out, "-m", kit.bundle, "--chunk", "20", "--workers", "2"]
        with start(*words) as running:
            wait_for_chunks(out, 3, running)
            workers = children_of(running.pid)
            running.send_signal(number)
            assert running.wait(GREEDY) == 130
            assert running.stderr is not None
            assert running.stderr.read() == "interrupted; nothing was left half-written\n"
        assert len(workers) >= 2
        wait_for(lambda: not [pid for pid in workers if is_running(pid)])
        done = chunks_in(out)
        assert 3 <= done < 15
        left = [path.name for path in out.rglob("*") if path.name.startswith(".")]
        assert (left, (out / "a.txt").exists()) == ([], False)
        with start(*words, "--json") as running:
            found = running.communicate(timeout=GREEDY)[0]
        assert json.loads(found)["videos"][0]["chunks_now"] == 15 - done


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "motrail", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def chunks_in(folder: Path) -> int:
    return len(list(folder.glob("detections/*/0*.npz")))


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GREEDY
    while not met() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert met()


def wait_for_chunks(folder: Path, count: int, running: subprocess.Popen[str]) -> None:
    wait_for(lambda: chunks_in(folder) >= count or running.poll() is not None)
    assert running.poll() is None, running.communicate()


def children_of(process: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True
    )
    return [int(pid) for pid in listed.stdout.split()]


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


_PEAK = """
    import resource, sys
    from motrail.cli.app import run
    assert run(sys.argv[1:]) == 0
    print(max(resource.getrusage(who).ru_maxrss for who in (0, resource.RUSAGE_CHILDREN)))
"""


def peak_memory(*words: object) -> int:
    """Most memory that any of the processes of a run had, in KiB."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PEAK), *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ended.stdout.splitlines()[-1])


@pytest.mark.skipif(importlib.util.find_spec("resource") is None, reason="needs POSIX")
class TestMemory:
    @pytest.mark.parametrize(
        "frames", [(100, 1000), pytest.param((9_000, 90_000), marks=pytest.mark.proof)], ids=str
    )
    def test_it_does_not_grow_with_the_length(
        self, kit: Kit, tmp_path: Path, frames: tuple[int, int], prove: Prove
    ) -> None:
        peaks = []
        for count in frames:
            source = make_clip(tmp_path / f"{count}.mp4", count, side=64)
            out = tmp_path / f"out-{count}"
            peaks.append(peak_memory("batch", source, out, "-m", kit.bundle, "--workers", "2"))
            assert (out / f"{count}.txt").stat().st_size > 20 * count
        prove(
            f"batch: memory of {frames[1]:,} frames against {frames[0]:,}",
            "<= 1.10",
            f"{peaks[1] / peaks[0]:.2f} ({peaks[0] / 1024:.0f} and {peaks[1] / 1024:.0f} MiB)",
        )
        assert peaks[1] <= 1.1 * peaks[0]


class TestFinding:
    @pytest.fixture
    def archive(self, tmp_path: Path) -> Callable[..., Path]:
        """Empty files of these names, in a folder; a name that ends in / is a folder."""

        def make(*names: str) -> Path:
            folder = tmp_path / "in"
            folder.mkdir()
            for name in names:
                path = folder / name
                (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
                if not name.endswith("/"):
                    path.touch()
            return folder

        return make

    @pytest.mark.parametrize(
        ("names", "wanted"),
        [
            (["b.mp4", "a10.mp4", "a2.MKV", "notes.md", ".hidden.mp4"], ["a2", "a10", "b"]),
            # The folder is what names are relative to, also while it has one folder below only.
            (["day1/a.mp4"], ["day1/a"]),
            (["day1/a.mp4", "day2/a.mp4"], ["day1/a", "day2/a"]),
            (["a.mp4", "a.mov", "a/b.mp4"], ["a.mov", "a.mp4", "a/b"]),
            (["a.mp4.avi", "a.mov", "a.mp4"], ["a.mov", "a.mp4", "a.mp4-2"]),
            (["labels.mp4", "x/labels.mp4", "batch.mp4"], ["batch", "labels-2", "x/labels-2"]),
            (["detections/a.mp4", "detections.mp4"], ["detections-2/a", "detections"]),
            # Images are a sequence; a cover beside videos is none.
            (["walk/1.jpg", "walk/2.jpg"], ["walk"]),
            (["cover.jpg", "a.mp4"], ["a"]),
            (["cover.jpg", "sub/a.mp4"], ["sub/a"]),
            (["walk/1.jpg", "walk/masks/1.png"], ["walk"]),
            (["MOT17-02/img1/1.jpg", "MOT17-02/gt/gt.txt"], ["MOT17-02"]),
            (["a.b.mp4", "a.b.c.mp4", "noend"], ["a.b.c", "a.b"]),
        ],
        ids=str,
    )
    def test_names(self, archive: Any, tmp_path: Path, names: list[str], wanted: list[str]) -> None:
        folder = archive(*names)
        found = find_videos(str(folder), tmp_path / "out")
        assert sorted(video.name for video in found) == sorted(wanted)
        assert {video.fault for video in found} == {None}

    def test_a_sequence_itself(self, archive: Any, tmp_path: Path) -> None:
        folder = archive("1.jpg", "seq/img1/1.jpg")
        assert [v.name for v in find_videos(str(folder / "seq"), tmp_path)] == ["seq"]
        assert [v.name for v in find_videos(str(folder / "seq/img1"), tmp_path)] == ["seq"]
        assert [v.name for v in find_videos(str(folder / "1.jpg"), tmp_path)] == ["1"]

    def test_results_are_no_footage(self, archive: Any) -> None:
        folder = archive("a.mp4", "out/a.mp4", "out/detections/b.mp4", "out/in/c.mp4")
        assert [v.name for v in find_videos(str(folder), folder / "out")] == ["a"]
        assert [v.name for v in find_videos(str(folder / "out/in"), folder / "out")] == ["c"]
        both = find_videos(str(folder / "out"), folder / "out")
        assert [video.name for video in both] == ["a", "in/c"]

    def test_links_that_lead_back(self, archive: Any, tmp_path: Path) -> None:
        folder = archive("a.mp4", "sub/b.mp4")
        (folder / "sub" / "up").symlink_to(folder)
        (folder / "sub" / "self").symlink_to(folder / "sub")
        found = find_videos(str(folder), tmp_path / "out")
        assert [video.name for video in found] == ["a", "sub/b"]

    def test_a_folder_without_permission(
        self, archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = archive("a.mp4", "private/b.mp4")
        inside = type(folder).iterdir

        def iterdir(path: Path) -> Any:
            if path.name == "private":
                raise PermissionError(13, "Permission denied", str(path))
            return inside(path)

        monkeypatch.setattr(type(folder), "iterdir", iterdir)
        good, bad = find_videos(str(folder), tmp_path / "out")
        assert (good.name, good.fault) == ("a", None)
        assert bad.fault == f"{folder}/private: cannot be searched: Permission denied"

    def test_patterns(self, archive: Any, tmp_path: Path) -> None:
        folder = archive("x/a.mp4", "x/a.txt", "y/b.mp4", "y/c.dat", "z/1.jpg")
        out = tmp_path / "out"
        assert [v.name for v in find_videos(f"{folder}/*/*", out)] == ["x/a", "y/b"]
        assert [v.name for v in find_videos(f"{folder}/**/b.*", out)] == ["y/b"]
        assert [v.name for v in find_videos(f"{folder}/y/*.dat", out)] == ["c"]
        assert [v.name for v in find_videos(f"{folder}/*", out)] == ["x/a", "y/b", "z"]
        with pytest.raises(ConfigError, match=r"found images; give the folder that holds"):
            find_videos(f"{folder}/z/*.jpg", out)
        with pytest.raises(ConfigError, match=r"\*\.avi: expected videos, found none; give files"):
            find_videos(f"{folder}/*.avi", out)

    def test_lists(self, archive: Any, tmp_path: Path) -> None:
        folder = archive("a.mp4", "x/b.mp4", "y/c.mp4", "y/d.mp4", "other.txt", "empty/")
        entries = ["x/b.mp4", "y", "*.mp4", "a.mp4", "gone.mp4", "*.avi", "empty", "other.txt"]
        listed = folder / "all.txt"
        listed.write_text("\r\n".join(entries))
        found = find_videos(str(listed), tmp_path / "out")
        assert [video.name for video in found if video.fault is None] == ["x/b", "y/c", "y/d", "a"]
        assert [video.fault for video in found if video.fault is not None] == [
            f"{listed}:5: gone.mp4: no such file or folder",
            f"{listed}:6: *.avi: expected videos, found none",
            f"{listed}:7: empty: expected videos, found none",
            f"{listed}:8: a list in a list is not read; name its videos",
        ]
        listed.write_text(f"{folder}/y/c.mp4\n{folder.parent}/elsewhere/e.mp4\n")
        names = [video.name for video in find_videos(str(listed), tmp_path / "out")]
        assert names == ["in/y/c", "elsewhere/e"]

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("gone", "gone: no such file or folder; give files, folders, quoted patterns"),
            ("empty", "empty: expected videos, found none; give files"),
            ("bytes.txt", "bytes.txt: expected the paths of videos, one a line: "),
            ("nothing.txt", "nothing.txt: expected videos, found none"),
        ],
    )
    def test_nothing_to_be_found(self, archive: Any, tmp_path: Path, name: str, said: str) -> None:
        folder = archive("empty/", "nothing.txt")
        (folder / "bytes.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match=re.escape(said)):
            find_videos(str(folder / name), tmp_path / "out")


class TestParts:
    """Pieces that are hard to reach from outside."""

    def test_what_every_field_of_the_document_is(
        self, batch: Any, kit: Kit, out: Path, inline: Any
    ) -> None:
        found = document(batch, kit.clip, out, "-m", kit.bundle, "--shard", "2/3", "--chunk", "10")
        assert found["shard"] == "2/3"
        assert found["seconds"] > 0
        assert {"version", "model", "device", "workers", "settings"} < set(found)
        (row,) = found["videos"]
        stamp = row.pop("stamp")
        assert len(stamp) == 64
        assert row == {
            "name": "clip", "path": str(kit.clip), "state": "waiting",
            "reason": "4 of 6 chunks are not detected yet, the first from frame 1 on; run all "
            "shards, with the same settings and --chunk, or leave --associate out",
            "frames": 0, "tracks": 0, "boxes": 0, "broken_frames": 0,
            "chunks": 6, "chunks_missing": 4, "chunks_now": 2, "kept": False, "files": {},
        }  # fmt: skip
        result = batch(kit.clip, out, "-m", kit.bundle, "--shard", "1/3", "--chunk", "10")
        assert [" ".join(line.split()) for line in result.out.splitlines()] == [
            "video state chunks by this shard missing",
            "clip partly detected 6 2 2",
            "shard 1/3: 2 chunks detected",
            f"written {out}",
        ]

    def test_shares_are_the_same_whatever_is_done_already(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, inline: Any
    ) -> None:
        """A share that begins late must not count what is left anew, or chunks fall between."""
        footage = tmp_path / "footage"
        footage.mkdir()
        for name in ("a", "b", "c"):
            shutil.copy(kit.broken if name == "b" else kit.clip, footage / f"{name}.mp4")
        words = (footage, out, "-m", kit.bundle, "--chunk", "20")
        assert batch(footage / "a.mp4", out, "-m", kit.bundle, "--chunk", "20").code == 0
        for number in (2, 4, 1, 3):
            assert batch(*words, "--shard", f"{number}/4").code == 0
        assert batch(*words, "--associate").code == 0

    def test_a_manifest_is_not_written_all_the_time(self, tmp_path: Path) -> None:
        manifest = Manifest(tmp_path)
        for count in range(50):
            manifest.note({f"{n}": Outcome(f"{n}", f"{n}.mp4") for n in range(count + 1)})
        assert list(manifest.read()) == ["0"]
        manifest.write({"0": Outcome("0", "0.mp4", state="done")})
        assert manifest.read()["0"].state == "done"

    def test_half_written_files_stay_while_another_run_is_under_way(self, tmp_path: Path) -> None:
        kept = tmp_path / "detections" / "a"
        folder, file, mine = kept / f".{'0' * 16}", kept / f".{'1' * 16}", kept / ".mine"
        with Running(tmp_path):
            folder.mkdir(parents=True)
            for path in (folder / "a.mp4", file, mine):
                path.write_text("half")
            with Running(tmp_path):
                pass
            assert [path.exists() for path in (folder, file)] == [True, True]
        assert [path.exists() for path in (folder, file, mine)] == [False, False, True]
        # Locks may not reach from machine to machine; after a week a mark counts for nothing.
        elsewhere = kept.parent / ".run-elsewhere-0"
        for path in (elsewhere, file):
            path.write_text("")
        with Running(tmp_path):
            assert file.exists()
        os.utime(elsewhere, (0, 0))
        with Running(tmp_path):
            assert not file.exists()
        assert sorted(path.name for path in tmp_path.rglob(".*")) == [".mine"]

    def test_results_go_to_another_disk(
        self, batch: Any, tracked: Any, kit: Kit, out: Path, inline: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        replace = type(out).replace

        def elsewhere(path: Path, target: Path) -> Path:
            if path.parent != target.parent:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return replace(path, target)

        monkeypatch.setattr(type(out), "replace", elsewhere)
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0
        assert (out / "clip.txt").read_bytes() == tracked(kit.clip)
        assert list(out.rglob(".*")) == []

    def test_a_folder_in_place_of_a_result(
        self, batch: Any, kit: Kit, out: Path, inline: Any
    ) -> None:
        (out / "clip.txt").mkdir(parents=True)
        result = batch(kit.clip, out, "-m", kit.bundle)
        assert result.code == 1
        assert result.err == (
            f"clip: failed: {out}/clip.txt: cannot be written: there is a folder of that name "
            "where a file is needed\n"
        )

    def test_a_full_disk_while_tracking(
        self, batch: Any, kit: Kit, out: Path, inline: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: Any, frame: int, tracks: Any) -> None:
            raise OutputError(f"{self.path}: cannot be written: the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr("motrail.formats.mot.tracks.TrackFileWriter.write", full)
            result = batch(kit.clip, out, "-m", kit.bundle)
        assert result.code == 1
        assert result.err == f"clip: failed: {out}/clip.txt: cannot be written: the disk is full\n"
        assert list(out.rglob(".*")) == []
        assert batch(kit.clip, out, "-m", kit.bundle).code == 0

    def test_processes_that_are_lost_again_and_again_end_it(
        self, batch: Any, kit: Kit, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Lost(Inline):
            def run(self, following: Any, heard: Any) -> Iterator[tuple[Any, Any]]:
                job = None
                while (job := following(job)) is not None:
                    yield job, Failed("it was killed", lost=True)

        footage = tmp_path / "footage"
        footage.mkdir()
        for name in "abc":
            shutil.copy(kit.clip, footage / f"{name}.mp4")
        monkeypatch.setattr(batch_cli, "Pool", Lost)
        result = batch(footage, out, "-m", kit.bundle)
        assert result.code == 1
        assert result.err == "".join(f"{name}: failed: it was killed\n" for name in "abc")
        monkeypatch.setattr(batch_run, "_MOST_LOST", 5)
        result = batch(footage, out, "-m", kit.bundle)
        assert (result.code, result.err) == (1, "error: it was killed\n")

    @pytest.mark.parametrize(
        ("frames", "group", "wanted"),
        [
            (300, 12, 100),
            (4_000, 12, 500),
            (100_000, 12, 1000),
            (100_000, 250, 1250),
            (100_000, 100_000, 12_500),  # else each chunk would decode all that is before it
        ],
    )
    def test_usual_length_of_a_chunk(self, frames: int, group: int, wanted: int) -> None:
        index = FrameIndex(np.arange(frames), np.arange(1, frames + 1, group), None, None, "")
        assert usual_length(frames, index) == wanted
        assert usual_length(frames, None) == min(wanted, 1000)

    def test_chunks_come_back_or_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        stamp = Stamp("footage", "detector", 1, 3, 1)
        chunk = Chunk(
            np.array([1, 3]), np.array([0, 1]), np.array([[1, 2, 3, 4]], np.float32),
            np.array([0.5], np.float32), np.array([2]), broken=1,
        )  # fmt: skip
        assert read_chunk(path, stamp) is None
        write_chunk(path, chunk, stamp)
        found = read_chunk(path, stamp)
        assert found is not None
        assert [(number, len(boxes)) for number, boxes in found] == [(1, 0), (3, 1)]
        assert (found.broken, found.truncated, found.more) == (1, None, False)
        others: list[dict[str, Any]]
        others = [{"video": "x"}, {"detector": "x"}, {"first": 2}, {"last": None}, {"part": 1}]
        for other in others:
            assert read_chunk(path, dataclasses.replace(stamp, **other)) is None
        whole = dict(np.load(path))
        about = json.loads(whole["about"].tobytes())
        wrong: list[dict[str, Any]] = [
            {"counts": np.array([0, 2])},
            {"counts": np.array([2, -1])},
            {"numbers": np.array([3, 1])},
            {"scores": np.array([0.5])},
            {"boxes_xyxy": np.zeros((1, 5), np.float32)},
            {"about": np.frombuffer(b"[1]", np.uint8)},
            {"about": np.frombuffer(json.dumps(about | {"broken": "1"}).encode(), np.uint8)},
        ]
        for change in wrong:
            np.savez(path, **(whole | change))
            with pytest.raises(FormatError, match=r"a\.npz: expected the detections .*; remove"):
                read_chunk(path, stamp)
