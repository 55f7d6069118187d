"""`motrail analyze`: from files to a folder of results."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from commands import Call, caller

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "analyze")


CALIBRATION = """
[[points]]
pixel = [0, 0]
ground = [0, 0]
[[points]]
pixel = [400, 0]
ground = [40, 0]
[[points]]
pixel = [400, 200]
ground = [40, 20]
[[points]]
pixel = [0, 200]
ground = [0, 20]
"""
ZONES = """
[zones."left half"]
polygon = [[0, 0], [200, 0], [200, 200], [0, 200]]
[lines.middle]
unit = "m"
start = [20, 20]
end = [20, 0]
[teams."=red"]
ids = [1]
"""


def write_walk(folder: Path, frames: int = 100, rows: str = "") -> Path:
    """Two go to the right at 5 m/s from x = 1 m, one stands; 10 pixels are a metre."""
    rng = np.random.default_rng(8)
    lines = []
    for frame in range(1, frames + 1):
        x = 10 + 2 * (frame - 1)
        for number, left, bottom in ((1, x - 5, 60), (2, x - 5, 150), (3, 340, 100)):
            dx, dy = rng.normal(0, 0.2, 2)
            lines.append(f"{frame},{number},{left + dx:.2f},{bottom - 20 + dy:.2f},10,20,0.9,1,-1")
    path = folder / "walk.txt"
    path.write_text("\n".join(lines) + "\n" + rows)
    (folder / "labels.txt").write_text("person\n")
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_metres(call: Call, tmp_path: Path) -> None:
    write_walk(tmp_path)
    (tmp_path / "cal.toml").write_text(CALIBRATION)
    (tmp_path / "zones.toml").write_text(ZONES)
    cv2.imwrite("frame.png", np.full((200, 400, 3), 90, np.uint8))
    result = call(
        *("walk.txt", "--video", "frame.png", "--frame-rate", 25, "--calibration", "cal.toml"),
        *("--zones", "zones.toml", "-o", "out", "--json"),
    )
    assert result.code == 0, result.err
    answer: dict[str, Any] = json.loads(result.out)
    assert answer["unit"] == "m"
    assert answer["lines"] == {"middle": {"in": 0, "out": 2}}
    walker = answer["objects"][0]
    # 99 steps of 0.2 m; from 1 m to 20 m there are 95 of them, 96 boxes of 0.04 s.
    assert walker["distance_m"] == pytest.approx(19.8, rel=0.03)
    assert walker["mean_speed_m_s"] == pytest.approx(5, rel=0.03)
    assert walker["top_speed_low_m_s"] < 5.3
    assert walker["in left half_s"] == pytest.approx(96 * 0.04, abs=0.05)
    assert answer["objects"][2]["distance_m"] < 1
    assert [row["group"] for row in answer["objects"]] == ["=red", "no team", "no team"]
    for row in answer["crossings"]:
        assert row["time_s"] == pytest.approx(95 * 0.04, abs=0.04)
        assert row["pixel_x"] == pytest.approx(200, abs=1e-6)
    assert answer["zones"]["left half"]["visits"] == 2
    assert answer["occupancy"]["zones"]["everywhere"]["no team"] == pytest.approx([2.0] * 4)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [
        *("analysis.json", "crossings.csv", "objects.csv", "occupancy.csv", "paths.csv"),
        *("report.html", "visits.csv"),
    ]
    paths = table(tmp_path / "out" / "paths.csv")
    assert len(paths) == 300
    assert float(paths[99]["distance_m"]) == pytest.approx(walker["distance_m"], abs=0.001)
    assert {row["class"] for row in paths} == {"person"}
    # No spreadsheet takes a name for a formula.
    assert table(tmp_path / "out" / "objects.csv")[0]["group"] == "'=red"
    saved = json.loads((tmp_path / "out" / "analysis.json").read_text(encoding="utf-8"))
    assert {key: saved[key] for key in answer} == answer
    seconds = sum(map(sum, saved["heat"]["seconds"]))
    assert seconds == pytest.approx(12, rel=0.05)


def test_pixels_and_that_they_are(call: Call, tmp_path: Path) -> None:
    write_walk(tmp_path)
    result = call("walk.txt", "--frame-rate", 25, "-o", "out")
    assert result.code == 0, result.err
    assert "distance px" in result.out
    assert "without a calibration speeds are pixels a second" in result.err
    rows = table(tmp_path / "out" / "objects.csv")
    assert float(rows[0]["mean_speed_px_s"]) == pytest.approx(50, rel=0.03)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "in pixels: there is no calibration" in page
    assert "m/s" not in page.replace("px/s", "")


def test_the_same_bytes_each_time(call: Call, tmp_path: Path) -> None:
    write_walk(tmp_path)
    (tmp_path / "zones.toml").write_text(ZONES.replace('unit = "m"', "").replace("20", "200"))
    for name in ("a", "b"):
        result = call("walk.txt", "--frame-rate", 25, "--zones", "zones.toml", "-o", name)
        assert result.code == 0, result.err
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_times_of_a_video_with_uneven_frames(call: Call, tmp_path: Path) -> None:
    import av

    write_walk(tmp_path, frames=40)
    times = np.concatenate([np.arange(20) * 40, 800 + np.arange(20) * 80])
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 400, 200, "yuv420p"
        for time in times.tolist():
            frame = av.VideoFrame.from_ndarray(np.full((200, 400, 3), 80, np.uint8), "bgr24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    result = call("walk.txt", "--video", "v.mp4", "-o", "out", "--json")
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["frame_times"] == "times of the video"
    rows = table(tmp_path / "out" / "paths.csv")
    assert [float(row["time_s"]) for row in rows[:40]] == pytest.approx(times / 1000, abs=0.002)
    write_walk(tmp_path, frames=41)
    result = call("walk.txt", "--video", "v.mp4", "-o", "more")
    assert result.code == 1
    assert "a box is in frame 41, and the video has 40; is it the video" in result.err
    assert not (tmp_path / "more").exists()


def test_empty_tracks_and_single_boxes(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "none.txt"
    path.write_text("")
    result = call(path, "--frame-rate", 25, "-o", "none")
    assert result.code == 0, result.err
    assert "there are no tracks in the file" in result.err
    path.write_text("7,3,10,10,20,40,0.9,1,-1\n9,4,10,10,20,40,0.9,2,-1\n")
    result = call(path, "--frame-rate", 25, "-o", "one", "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["objects"]
    assert [row["top_speed_px_s"] for row in rows] == [None, None]
    assert [row["class"] for row in rows] == ["class 1", "class 2"]
    assert (tmp_path / "one" / "report.html").exists()


def test_zones_outside_the_picture_are_noted(call: Call, tmp_path: Path) -> None:
    write_walk(tmp_path)
    (tmp_path / "zones.toml").write_text(
        "[zones.far]\npolygon = [[-900, 0], [-800, 0], [-800, 90]]\n"
        "[lines.off]\nstart = [500, 0]\nend = [500, 90]\n"
    )
    result = call(
        *("walk.txt", "--frame-rate", 25, "--size", "400x200", "--zones", "zones.toml"),
        *("-o", "out"),
    )
    assert result.code == 0, result.err
    assert "zone 'far' is outside the picture" in result.err
    assert "line 'off' is outside the picture" in result.err
    assert "zone far: 0 visits" in result.out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,9,0,0,10,nan,0.9,1,-1\n", "expected"),
        ("0,9,0,0,10,10,0.9,1,-1\n", "expected a frame from 1"),
        ("1,9,0,0,-10,10,0.9,1,-1\n", "expected a width and height above 0"),
        ("1,9,0,0,1e9,10,0.9,1,-1\n", "expected pixels up to a million"),
        ("1,1,0,0,10,10,0.9,1,-1\n", "expected each id once in a frame, found 1 twice"),
        ("1,x,0,0,10,10,0.9,1,-1\n", "expected"),
        ("1,9,0\n", "expected 6 to 10 numbers"),
    ],
)
def test_tracks_that_are_none(call: Call, tmp_path: Path, row: str, message: str) -> None:
    write_walk(tmp_path, rows=row)
    result = call("walk.txt", "--frame-rate", 25, "-o", "out")
    assert result.code == 1
    assert message in result.err
    assert "walk.txt:301" in result.err.replace("\n", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["walk.txt", "-o", "out"], 2, "give --video, or --frame-rate"),
        (["-o", "out"], 2, "expected a track file"),
        (["walk.txt", "--frame-rate", "0", "-o", "out"], 2, "expected frames a second above 0"),
        (["walk.txt", "--frame-rate", "25", "--max-gap", "0", "-o", "out"], 2, "--max-gap"),
        (["walk.txt", "--template", "v", "-o", "c.toml"], 2, "needs no tracks"),
        ([".", "--frame-rate", "25", "-o", "out"], 1, "expected a track file, found a folder"),
        (["no.txt", "--frame-rate", "25", "-o", "out"], 1, "cannot be read"),
        (["walk.txt", "--frame-rate", "25", "-o", "."], 1, "something in this folder already"),
    ],
)
def test_wrong_use(call: Call, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    write_walk(tmp_path)
    result = call(*words)
    assert result.code == code
    assert message in result.err.replace("\n", " ")


def test_names_cannot_break_out_of_the_page(call: Call, tmp_path: Path) -> None:
    write_walk(tmp_path)
    evil = "<script>alert(1)</script>$x$"
    (tmp_path / "labels.txt").write_text(evil + "\n")
    (tmp_path / "zones.toml").write_text(
        f'[zones."{evil}"]\npolygon = [[0, 0], [200, 0], [200, 200]]\n'
        f'[lines."{evil}"]\nstart = [100, 0]\nend = [100, 200]\n'
    )
    result = call("walk.txt", "--frame-rate", 25, "--zones", "zones.toml", "-o", "out")
    assert result.code == 0, result.err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_template(call: Call, tmp_path: Path) -> None:
    cv2.imwrite("frame.png", np.full((90, 160, 3), 90, np.uint8))
    result = call("--template", "frame.png", "-o", "cal.toml")
    assert result.code == 0, result.err
    assert "written cal.toml" in result.out
    assert "written cal.png" in result.out
