"""`motrail dataset …` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import cv2
import pytest

from commands import Call, caller
from motrail.video.read import decode_image

if TYPE_CHECKING:
    from pathlib import Path

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><name>belt</name><size>5</size><start_frame>0</start_frame><stop_frame>4</stop_frame>
<labels><label><name>parcel</name></label></labels>
<original_size><width>64</width><height>48</height></original_size></task></meta>
<track id="3" label="parcel">
<box frame="0" keyframe="1" outside="0" occluded="0" xtl="0" ytl="0" xbr="10" ybr="10"/>
<box frame="4" keyframe="1" outside="0" occluded="0" xtl="8" ytl="0" xbr="18" ybr="10"/>
</track></annotations>
"""


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "dataset")


@pytest.fixture
def belt(tmp_path: Path) -> Path:
    path = tmp_path / "belt.xml"
    path.write_text(CVAT)
    return path


class TestImport:
    def test_boxes_between_keyframes(self, call: Call, belt: Path, tmp_path: Path) -> None:
        result = call("import", belt, "-o", "data")
        assert (result.code, result.err) == (0, "")
        assert "5 boxes of 1 objects" in result.out
        rows = (tmp_path / "data" / "all" / "belt" / "gt" / "gt.txt").read_text()
        assert rows == "".join(f"{n},3,{2 * n - 2},0,10,10,1,1,-1\n" for n in range(1, 6))
        assert (tmp_path / "data" / "labels.txt").read_text() == "parcel\n"

    def test_json(self, call: Call, belt: Path) -> None:
        document = json.loads(call("import", belt, "-o", "data", "--json").out)
        assert document["formats"] == ["cvat"]
        assert document["classes"] == ["parcel"]
        assert (document["sequences"], document["frames"], document["boxes"]) == (1, 5, 5)

    def test_several_sources(self, call: Call, belt: Path, tmp_path: Path) -> None:
        again = tmp_path / "again.xml"
        again.write_text(CVAT.replace("parcel", "letter"))
        assert call("import", belt, again, "-o", "data").code == 0
        assert sorted(p.name for p in (tmp_path / "data" / "all").iterdir()) == ["belt", "belt-2"]
        assert (tmp_path / "data" / "labels.txt").read_text() == "parcel\nletter\n"

    def test_frames_come_out_of_the_video(self, call: Call, data: Path, tmp_path: Path) -> None:
        """Frame n of the labels is frame n of the video, and nothing is off by one."""
        rows = (data / "mot17" / "gt" / "MOT17-04" / "gt" / "gt.txt").read_text().splitlines()
        few = [row for row in rows if int(row.split(",")[0]) <= 8]
        source = tmp_path / "gt.txt"
        source.write_text("\n".join(few))
        video = data / "videos" / "mot17-04-8frames.mp4"
        assert call("import", source, "--video", video, "-o", "data").code == 0
        (folder,) = (tmp_path / "data" / "all").iterdir()
        pictures = sorted((folder / "img1").iterdir())
        assert [p.name for p in pictures] == [f"{n:06d}.jpg" for n in range(1, 9)]
        assert "imWidth=1920" in (folder / "seqinfo.ini").read_text()
        real = data / "mot17_mini" / "MOT17-04-FRCNN" / "img1"

        def apart(ours: Path, theirs: Path) -> float:
            images = [decode_image(path.read_bytes(), path.name) for path in (ours, theirs)]
            return float(cv2.absdiff(*images).mean())

        for ours in pictures[1:7]:
            number = int(ours.stem)
            here, *beside = (
                apart(ours, real / f"{n:06d}.jpg") for n in (number, number - 1, number + 1)
            )
            assert here < min(beside)

    def test_labels_beyond_the_video(self, call: Call, data: Path, tmp_path: Path) -> None:
        source = tmp_path / "gt.txt"
        source.write_text("9,1,1,1,9,9,1,1,1\n")
        result = call(
            "import", source, "--video", data / "videos" / "mot17-04-8frames.mp4", "-o", "x"
        )
        assert result.code == 1
        assert "expected labels for frames 1 to 8" in result.err
        assert "found some for frame 9; is it the right video" in result.err
        assert not (tmp_path / "x").exists()

    def test_label_studio_takes_its_size_from_the_video(
        self, call: Call, data: Path, tmp_path: Path
    ) -> None:
        source = data / "labels" / "label_studio" / "ls-video.json"
        result = call("import", source, "-o", "x")
        assert result.code == 1
        assert "--size" in result.err
        assert call("import", source, "--size", "720x1280", "-o", "x", "--json").code == 0

    def test_nobody_knows_the_size(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("1,1,1,1,9,9\n")
        result = call("import", "a.txt", "-o", "x")
        assert (result.code, result.out) == (1, "")
        assert "a: the size of the frames is not known; give --video V or --size WxH" in result.err

    def test_pictures_of_another_size(self, call: Call, data: Path, tmp_path: Path) -> None:
        import shutil

        clip = tmp_path / "clip"
        shutil.copytree(data / "mot17_mini" / "MOT17-05-FRCNN", clip)
        info = clip / "seqinfo.ini"
        info.write_text(info.read_text().replace("imWidth=640", "imWidth=320"))
        result = call("import", clip, "-o", "x")
        assert result.code == 1
        assert "expected 320x480 pixels as told for 'clip', found 640x480" in result.err

    def test_a_folder_that_holds_something(self, call: Call, belt: Path, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine.txt").touch()
        result = call("import", belt, "-o", "data")
        assert result.code == 1
        assert "data: there is something in this folder already" in result.err
        assert [p.name for p in (tmp_path / "data").iterdir()] == ["mine.txt"]

    @pytest.mark.parametrize("size", ["640", "0x480", "640x", "axb", "999999x1"])
    def test_bad_size(self, call: Call, belt: Path, size: str) -> None:
        result = call("import", belt, "-o", "x", "--size", size)
        assert result.code == 2
        assert (
            f"--size: expected WIDTHxHEIGHT in pixels as in 1920x1080, found '{size}'" in result.err
        )

    def test_not_labels(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text('{"hello": 1}')
        assert (
            "a.json: expected labels: a Ground Truth output.manifest"
            in call("import", "a.json", "-o", "x").err
        )
        assert "b.xml: no such file or folder" in call("import", "b.xml", "-o", "x").err

    def test_a_fault_leaves_nothing(self, call: Call, belt: Path, tmp_path: Path) -> None:
        bad = tmp_path / "bad.xml"
        bad.write_text(CVAT.replace('xbr="18"', 'xbr="8"'))
        result = call("import", belt, bad, "-o", "data")
        assert result.code == 1
        assert "bad.xml:8: expected a width and height above 0" in result.err
        assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.xml", "belt.xml"]


class TestExport:
    def test_tracks_become_a_labelling_job(self, call: Call, data: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "labels.txt").write_text("person\n")
        (tmp_path / "out" / "clip.txt").write_text(
            "1,1,10,20,30,40,0.9,1,-1\n8,1,10,20,30,40,0.8,1,-1\n"
        )
        video = data / "videos" / "mot17-04-8frames.mp4"
        result = call(
            "export", "out/clip.txt", "--to", "ground-truth", "--video", video, "-o", "job"
        )
        assert result.code == 0, result.err
        pictures = sorted((tmp_path / "job" / "frames" / "clip").iterdir())
        assert len(pictures) == 8
        assert call("import", "job", "-o", "back").code == 0
        rows = (tmp_path / "back" / "all" / "clip" / "gt" / "gt.txt").read_text()
        assert rows == "1,1,10,20,30,40,1,1,-1\n8,1,10,20,30,40,1,1,-1\n"

    def test_what_is_lost_is_said(self, call: Call, belt: Path) -> None:
        assert call("import", belt, "-o", "data").code == 0
        result = call("export", "data", "--to", "mot", "-o", "mot")
        assert "note: MOT files do not tell keyframes from boxes filled in between" in result.err

    def test_an_unknown_format(self, call: Call) -> None:
        result = call("export", "data", "--to", "yolo", "-o", "x")
        assert result.code == 2
        assert "yolo" in result.err


class TestInterrupt:
    def test_ctrl_c_leaves_nothing(self, data: Path, tmp_path: Path) -> None:
        """In the midst of a long conversion, with frames written already."""
        (tmp_path / "walking.txt").write_text("1,1,1,1,9,9\n")
        words = ["dataset", "import", "walking.txt", "-o", "data", "--video"]
        process = subprocess.Popen(
            [sys.executable, "-m", "motrail", *words, str(data / "videos" / "walking.mp4")],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*/.work/*/000005.jpg")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert said == "interrupted; nothing was left half-written\n"
        assert [p.name for p in tmp_path.iterdir()] == ["walking.txt"]


def test_every_command_explains_itself(call: Call) -> None:
    commands = ["import", "export", "check", "split", "stats", "preview", "clip", "frames", "synth"]
    listing = call("--help").out
    for command in commands:
        assert command in listing
        shown = call(command, "--help")
        assert shown.code == 0
        assert len(shown.out) > 400


@pytest.fixture
def no_permission(tmp_path: Path) -> Path:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    return folder


def test_no_permission(call: Call, belt: Path, no_permission: Path) -> None:
    result = call("import", belt, "-o", no_permission / "data")
    assert result.code == 1
    assert "no permission to write there; choose another folder with -o" in result.err
