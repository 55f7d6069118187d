"""`motrail dataset …` when something is in the way: what it says, returns and leaves behind."""

from __future__ import annotations

import json
import re
import resource
import shutil
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest

from commands import Call, Result, caller
from motrail.cli.interrupts import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "dataset")


def refused(result: Result) -> str:
    """The message of a command that failed: one line on stderr, nothing on stdout."""
    assert result.code in {1, 2}
    assert result.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", result.err), result.err
    return result.err


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its path, and every folder, which is empty here."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """What the commands work on: two sequences with pictures, a video, and tracks in it."""
    source = tmp_path / "source"
    for name in ("gate", "yard"):
        (source / name / "gt").mkdir(parents=True)
        (source / name / "img1").mkdir()
        rows = "".join(f"{n},1,{n},5,20,20,1,1,1\n" for n in range(1, 9))
        (source / name / "gt" / "gt.txt").write_text(rows)
        for number in range(1, 9):
            image = np.full((48, 64, 3), 20 * number, np.uint8)
            assert cv2.imwrite(str(source / name / "img1" / f"{number:06d}.png"), image)
    (source / "labels.txt").write_text("box\n")
    with av.open(str(tmp_path / "belt.mp4"), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj444p"
        for number in range(8):
            image = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    (tmp_path / "belt.txt").write_text("1,1,1,1,9,9,0.9,1,-1\n8,1,9,1,9,9,0.8,1,-1\n")
    return tmp_path


COMMANDS = {
    "import": "import source -o new",
    "import --video": "import belt.txt --video belt.mp4 -o new",
    "ground-truth": "export data --to ground-truth -o new --copy",
    "cvat": "export data --to cvat -o new",
    "coco": "export belt.txt --to coco --video belt.mp4 -o new",
    "split": "split data --by time --val 0.4",
    "split -o": "split data --val 0.5 -o new",
    "preview": "preview data -o new",
    "sheet": "preview data -o new.jpg",
    "stats": "stats data",
    "check": "check data --fix",
    "clip": "clip belt.mp4 --frames 3 -o new",
    "frames": "frames belt.mp4 -o new",
    "synth": "synth --frames 3 --size 64x64 --videos -o new",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_any_step(
    call: Call, footage: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Broken off at its 1st, 2nd, 4th … step it leaves what was there, and nothing else."""
    assert call("import", "source", "-o", "data").code == 0
    rows = footage / "data" / "all" / "gate" / "gt" / "gt.txt"
    rows.write_text(rows.read_text() + rows.read_text() * (name == "check"))
    before = content(footage)
    broken_off = []
    for last in (1, 2, 4, 8, 16, 32, 64, 128):
        steps = iter(range(1, last))

        def step(steps: Iterator[int] = steps) -> None:
            if next(steps, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr(interrupts, "check", step)
        result = call(*COMMANDS[name].split())
        if result.code != 130:
            break
        assert result == (130, "", "interrupted; nothing was left half-written\n")
        broken_off.append(content(footage))
    assert result.code == 0
    # Mending is done file by file, so it may have happened when looking once more is broken off.
    whole = [before, content(footage)] if name == "check" else [before]
    assert broken_off
    assert all(state in whole for state in broken_off)


WRITING = [name for name in COMMANDS if name != "check"]


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Sets the size up to which files can be written, as a full disk would."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("name", WRITING)
def test_a_disk_that_takes_no_more(
    call: Call, footage: Path, small_files: Callable[[int], None], name: str
) -> None:
    assert call("import", "source", "-o", "data").code == 0
    before = content(footage)
    small_files(100)
    result = call(*COMMANDS[name].split())
    small_files(resource.RLIM_INFINITY)
    assert result.code == 1
    assert "cannot be written: the file grew past the size this system allows" in refused(result)
    assert content(footage) == before


def test_a_full_disk_is_told_by_the_name_that_was_given(
    call: Call, footage: Path, small_files: Callable[[int], None]
) -> None:
    small_files(100)
    result = call("import", "source", "-o", "new")
    small_files(resource.RLIM_INFINITY)
    assert not re.search(r"/\.[0-9a-f]{16}/", refused(result))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("import source -o source", 2, "source: lies inside source, which is read"),
        ("export data --to mot -o data", 2, "data: lies inside data, which is read"),
        ("split data --by time -o data", 2, "data: is the dataset itself; leave -o out to split"),
        ("split data --by time -o data/all/new", 2, "is the dataset itself"),
        ("preview data -o data", 1, "data: there is something in this folder already"),
        ("preview data -o data/all/gate/img1/000001.png", 2, "is part of the footage itself"),
        ("frames belt.mp4 -o data/all/gate/img1", 1, "there is something in this folder already"),
        ("synth -o data", 1, "data: there is something in this folder already"),
        ("import source -o belt.mp4", 1, "belt.mp4: is a file; choose another name with -o"),
        ("import source -o belt.mp4/x", 1, "there is a file of that name where a folder"),
        ("stats data -o data/labels.txt", 2, "expected a name that ends in .png or .svg"),
        ("import belt.txt -o new --mirror no", 2, "--mirror no: expected a folder with copies"),
        ("import belt.txt -o new --video no.mp4", 1, "no.mp4: no such file or folder"),
        ("import belt.txt -o new --video belt.txt", 1, "belt.txt: expected a video (mp4,"),
        ("import source -o new --video belt.mp4", 2, "is one video, and there is another sequence"),
        (
            "import source/gate -o new --frame-rate nan",
            2,
            "--frame-rate: expected 0.001 to 10000 frames a second",
        ),
        ("export data --to ground-truth --job a/b -o new", 2, "expected a job's name of at most"),
        ("export data --to ground-truth --prefix x -o new", 2, "such as s3://bucket/folder"),
        ("export data --to yolo -o new", 2, '"ground-truth", "cvat", "label-studio"'),
        ("export data --to mot", 2, "--output"),
        ("check belt.txt --fix", 2, "is no dataset, and only datasets can be mended"),
        ("check data --training-size 0x0", 2, "--training-size: expected WIDTHxHEIGHT"),
        ("stats nothing", 1, "nothing: no such file or folder; expected labels"),
        ("split source", 1, "source: expected a dataset: a folder with labels.txt and all/"),
        ("clip belt.mp4 --frames 0 -o new", 2, "frames: expected a whole number of at least 1"),
        ("clip belt.mp4 --crf 52 -o new", 2, "crf: expected 0 (lossless) to 51 (worst), found 52"),
        ("frames belt.mp4 --start 9 -o new", 1, "expected to start at frame 9, found only 8"),
        ("frames belt.mp4 --start 5 --end 3 -o new", 2, "at least start (5), found 3"),
        ("synth --clips 0 -o new", 2, "--clips: expected 1 to 10,000, found 0"),
        ("synth --scene traffic --ball -o new", 2, "ball: expected only with scene football"),
        ("synth --objects 0 -o new", 2, "objects: expected a whole number from"),
    ],
)
def test_wrong_use(call: Call, footage: Path, words: str, code: int, message: str) -> None:
    assert call("import", "source", "-o", "data").code == 0
    before = content(footage)
    result = call(*words.split())
    assert message in refused(result)
    assert result.code == code
    assert content(footage) == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,1,1,1,0,9,1,1,1", "expected a width and height above 0, found 0 × 9"),
        ("0,1,1,1,9,9,1,1,1", "expected a frame of the sequence, 1 to 4000000, found 0"),
        ("1,1,1,1,9,9,1,2,1", "unknown class: expected one of labels.txt, 1 to 1, found 2"),
        ("1,1,1,1,9,9,1,1,7", "expected a visibility of 0 to 1, or -1 for unknown, found 7"),
        ("1,1,1", "expected 6 to 10 numbers separated by commas, found 3: '1,1,1'"),
        ("1,1.5,1,1,9,9", "expected an id as a whole number, found '1.5'"),
        ("1,1,1e300,1,9,9", "expected a box in pixels, found 1e+300, 1, 9, 9"),
    ],
)
def test_a_bad_row(call: Call, tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "labels.txt").write_text("box\n")
    (tmp_path / "rows.txt").write_text(f"1,1,1,1,9,9\n{row}\n")
    result = call("import", "rows.txt", "--size", "64x48", "-o", "new")
    assert refused(result) == f"error: rows.txt:2: {message}\n"
    assert result.code == 1


@pytest.mark.parametrize("name", ["rows.txt", "rows.xml", "rows.json", "rows.manifest"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\0", b"{", b"[[[[", b"<a>"])
def test_files_that_are_something_else(call: Call, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert name.partition(".")[0] in refused(call("import", name, "-o", "new"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_json_is_one_document_and_notes_are_in_it(call: Call, footage: Path) -> None:
    assert call("import", "source", "-o", "data").code == 0
    words = {
        "export data --to cvat -o cvat": "output",
        "export data --to mot -o mot": "output",
        "check data": "groups",
        "stats data": "splits",
        "preview data -o look.png": "files",
        "split data --by time --val 0.4 -o parts": "parts",
        "clip belt.mp4 -o clips": "clips",
        "frames belt.mp4 -o frames": "files",
        "synth --frames 2 --size 64x64 -o made": "output",
    }
    for line, key in words.items():
        result = call(*line.split(), "--json")
        assert (result.code, result.err) == (0, ""), line
        assert key in json.loads(result.out)
    export = call("export", "data", "--to", "label-studio", "-o", "ls", "--json")
    assert "frame rates not known or not alike" in export.out


def test_links_to_folders_keep_their_meaning(call: Call, footage: Path) -> None:
    (footage / "elsewhere").mkdir()
    (footage / "link").symlink_to("elsewhere")
    assert call("import", "source", "-o", "link").code == 0
    assert (footage / "link").is_symlink()
    assert call("split", "link", "--by", "time", "--val", "0.4").code == 0
    assert {p.name for p in (footage / "elsewhere").iterdir()} >= {"train", "val"}


def test_pictures_are_links_unless_copies_are_wanted(call: Call, footage: Path) -> None:
    original = footage / "source" / "gate" / "img1" / "000001.png"
    for words, same in ((["-o", "linked"], True), (["-o", "copied", "--copy"], False)):
        assert call("import", "source", *words).code == 0
        ours = footage / words[1] / "all" / "gate" / "img1" / "000001.png"
        assert ours.samefile(original) is same
        assert ours.read_bytes() == original.read_bytes()


def test_stats_are_not_drawn_over_a_picture(call: Call, footage: Path) -> None:
    assert call("import", "source", "-o", "data").code == 0
    picture = footage / "data" / "all" / "gate" / "img1" / "000001.png"
    before = picture.read_bytes()
    assert call("stats", "data", "-o", picture).code == 2
    assert picture.read_bytes() == before


def test_stats_of_all_do_not_hinder_a_split(call: Call, footage: Path) -> None:
    assert call("import", "source", "-o", "data").code == 0
    assert call("stats", "data/all").code == 0
    assert call("split", "data", "--by", "time", "--val", "0.4").err == ""


def test_clips_without_end(call: Call, footage: Path) -> None:
    result = call("clip", "belt.mp4", "--frames", 10**20, "-o", "new")
    assert result.code == 2
    assert "Error" not in refused(result)


@pytest.mark.parametrize("text", ["", "[Other]\nimWidth=3\n", "imWidth=3\n"])
def test_a_seqinfo_without_its_section(call: Call, footage: Path, text: str) -> None:
    (footage / "source" / "gate" / "seqinfo.ini").write_text(text)
    message = refused(call("import", "source", "-o", "new"))
    assert "expected a section [Sequence] with imWidth, imHeight and seqLength" in message
    assert not re.search(r"[A-Z]\w+Error|<string>", message)


def test_a_frame_rate_next_to_nothing(call: Call, footage: Path) -> None:
    words = ("import", "belt.txt", "--size", "64x48", "--frame-rate", "1e-320", "-o", "data")
    if call(*words).code == 0:
        assert call("export", "data", "--to", "label-studio", "-o", "out").code == 0
        assert "Infinity" not in (footage / "out" / "tasks.json").read_text()


def test_check_of_labels_whose_size_nobody_knows(call: Call, footage: Path) -> None:
    box = {"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0, "time": 0}
    value = {"framesCount": 3, "labels": ["a"], "sequence": [{"frame": 1, "enabled": True} | box]}
    region = {"id": "a", "type": "videorectangle", "value": value}
    task = {"data": {"video": "a.mp4"}, "annotations": [{"result": [region]}]}
    (footage / "export.json").write_text(json.dumps([task]))
    result = call("check", "export.json")
    assert result.code == 1
    assert "--size WxH" in result.out
    assert "images of another size than told" not in result.out


def test_a_read_only_source_is_enough(call: Call, footage: Path) -> None:
    source = footage / "source"
    for path in source.rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
    assert call("import", "source", "-o", "data").code == 0
    assert call("split", "data", "--by", "time", "--val", "0.4").code == 0
    for path in source.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(footage / "data")
    assert (source / "gate" / "img1" / "000001.png").is_file()
