"""From source to dataset and through several formats: the right box on the right picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from motrail.cli.app import run
from motrail.video.read import decode_image, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT = 160, 96
FORMATS = ("mot", "cvat", "ground-truth", "coco", "label-studio")

Call = Callable[..., tuple[int, str, str]]
Row = tuple[int, int, str, tuple[float, ...], int, float]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """`motrail dataset …` in an empty folder; answers the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def dataset(*words: object) -> tuple[int, str, str]:
        code = run(["dataset", *map(str, words)])
        return code, *capsys.readouterr()

    return dataset


@pytest.fixture
def done(call: Call) -> Callable[..., str]:
    """The same for commands that succeed; answers stdout."""

    def dataset(*words: object) -> str:
        code, out, err = call(*words)
        assert code == 0, err
        return out

    return dataset


def numbered(number: int) -> NDArray[np.uint8]:
    """A picture that says which frame it is: five bars, one for each bit of its number.

    Below them stands a red block where `box_of` says.
    """
    image = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    for bit in range(5):
        if number >> bit & 1:
            image[:32, bit * 32 : (bit + 1) * 32] = 230
    left, top, width, height = box_of(number)
    image[top : top + height, left : left + width] = (0, 0, 220)
    return image


def box_of(number: int) -> tuple[int, int, int, int]:
    return 4 * number, 48, 24, 32


def shown(image: NDArray[np.uint8]) -> tuple[int, list[int]]:
    """The number in a picture, and left, top, width and height of its red block."""
    bits = [image[4:28, bit * 32 + 8 : bit * 32 + 24].mean() > 125 for bit in range(5)]
    red = image[..., 2].astype(int) - image[..., 0] > 100
    ys, xs = np.nonzero(red)
    block = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    return sum(1 << bit for bit in range(5) if bits[bit]), list(map(int, block))


def read(path: Path) -> NDArray[np.uint8]:
    return decode_image(path.read_bytes(), path.name)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Thirty frames, `numbered`."""
    return make_video(tmp_path / "belt.mp4", 30)


def make_video(path: Path, count: int) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=10, options={"q": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj444p"
        for number in range(1, count + 1):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_tracks(path: Path, frames: range) -> Path:
    """What a tracker found in `video`."""
    rows = [f"{n},5,{','.join(map(str, box_of(n)))},0.9,1,-1\n" for n in frames]
    path.write_text("".join(rows))
    path.with_name("labels.txt").write_text("block\n")
    return path


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    return write_tracks(tmp_path / "belt.txt", range(1, 31))


def check_pictures(folder: Path, shift: int = 0) -> int:
    """See that each picture of a sequence is that of its number, under the block's box."""
    rows = [line.split(",") for line in (folder / "gt" / "gt.txt").read_text().splitlines()]
    boxes = {int(row[0]): [float(text) for text in row[2:6]] for row in rows}
    pictures = sorted((folder / "img1").iterdir())
    for path in pictures:
        number, block = shown(read(path))
        assert number == int(path.stem) + shift
        assert boxes[int(path.stem)] == pytest.approx(block, abs=2)
    return len(pictures)


def rows_of(dataset: Path, split: str = "all") -> dict[str, list[Row]]:
    """By sequence: frame, id, name of the class, box, active and visibility, sorted."""
    names = (dataset / "labels.txt").read_text().splitlines()
    found = {}
    for folder in (dataset / split).iterdir():
        rows = []
        for line in (folder / "gt" / "gt.txt").read_text().splitlines():
            frame, id_, *box, active, class_, visibility = line.split(",")
            numbers = tuple(map(float, box))
            name = names[int(class_) - 1]
            rows.append((int(frame), int(id_), name, numbers, int(active), float(visibility)))
        found[folder.name] = sorted(rows)
    return found


def check_record(dataset: Path, split: str = "all") -> int:
    """See that the COCO file says what the MOT files say; how many of its images there are."""
    record = json.loads((dataset / "annotations" / f"{split}.json").read_text())
    names = {category["id"]: category["name"] for category in record["categories"]}
    lines = (dataset / "labels.txt").read_text().splitlines()
    assert names == dict(enumerate(lines, start=1))
    videos = {video["id"]: video["file_name"] for video in record["videos"]}
    images = {image["id"]: image for image in record["images"]}
    found: dict[str, list[Row]] = {name: [] for name in videos.values()}
    for each in record["annotations"]:
        image = images[each["image_id"]]
        found[videos[image["video_id"]]].append(
            (
                image["frame_id"],
                each["track_id"],
                names[each["category_id"]],
                tuple(map(float, each["bbox"])),
                0 if each["ignore"] else 1,
                each["visibility"],
            )
        )
    assert {name: sorted(rows) for name, rows in found.items()} == rows_of(dataset, split)
    return sum((dataset / split / image["file_name"]).is_file() for image in images.values())


TWO_CLASSES = """1,1,0,0,10,10,1,2,1
1,2,100.5,20,30.25,40,1,1,0.5
2,1,2,0,10,10,1,2,1
3,2,104.5,20,30.25,40,0,1,0.25
5,1,8,0,10,10,1,2,-1
5,7,-5,60,20,40,1,3,0
"""


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """A MOT sequence of 6 frames: a gap in a track, an ignored box, one that leaves the image."""
    folder = tmp_path / "source" / "yard"
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text(TWO_CLASSES)
    (tmp_path / "source" / "labels.txt").write_text(
        "person on a long ladder\ncar\ncrane & <hook>\n"
    )
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nimWidth={WIDTH}\nimHeight={HEIGHT}\nseqLength=6\nframeRate=25\n"
    )
    return folder


class TestFormats:
    def test_through_all_of_them(
        self, done: Callable[..., str], yard: Path, tmp_path: Path
    ) -> None:
        done("import", yard.parent, "-o", "start")
        source = tmp_path / "start"
        truth = rows_of(source)
        assert [row[:3] for row in truth["yard"]][:2] == [
            (1, 1, "car"),
            (1, 2, "person on a long ladder"),
        ]
        for step, format_ in enumerate((*FORMATS, "mot")):
            done("export", source, "--to", format_, "-o", f"out{step}")
            done("import", f"out{step}", "-o", f"in{step}", "--size", f"{WIDTH}x{HEIGHT}")
            source = tmp_path / f"in{step}"
            found = rows_of(source)
            assert found.keys() == truth.keys()
            for ours, theirs in zip(found["yard"], truth["yard"], strict=True):
                assert ours[:3] + ours[4:] == theirs[:3] + theirs[4:]
                assert ours[3] == pytest.approx(theirs[3], abs=1e-6)
            check_record(source)
            assert "seqLength=6\n" in (source / "all" / "yard" / "seqinfo.ini").read_text()

    @pytest.mark.parametrize("format_", FORMATS)
    def test_pictures_stay_with_their_labels(
        self, done: Callable[..., str], tracks: Path, video: Path, tmp_path: Path, format_: str
    ) -> None:
        done("import", tracks, "--video", video, "-o", "data")
        assert check_pictures(tmp_path / "data" / "all" / "belt") == 30
        done("export", "data", "--to", format_, "-o", "out")
        footage = ["--video", video] if format_ in {"cvat", "label-studio"} else []
        done("import", "out", *footage, "-o", "back")
        assert check_pictures(tmp_path / "back" / "all" / "belt") == 30
        assert check_record(tmp_path / "back") == 30

    def test_tracks_to_a_bucket_and_back(
        self, done: Callable[..., str], call: Call, tracks: Path, video: Path, tmp_path: Path
    ) -> None:
        where = "s3://bucket/jobs/1"
        words = ("--to", "ground-truth", "--video", video, "--prefix", where, "-o", "job")
        done("export", tracks, *words)
        shutil.copy(tmp_path / "job" / "manifests" / "output" / "output.manifest", tmp_path)
        for place in ("by-bucket/bucket/jobs/1", "by-key/jobs/1"):
            shutil.copytree(tmp_path / "job", tmp_path / place)
            mirror = place.split("/")[0]
            done("import", "output.manifest", "--mirror", mirror, "-o", f"{mirror}-data")
            back = tmp_path / f"{mirror}-data"
            assert check_pictures(back / "all" / "belt") == 30
            assert rows_of(back)["belt"][0][:4] == (1, 5, "block", (4, 48, 24, 32))
        code, _, err = call("import", "output.manifest", "-o", "x")
        assert code == 1
        assert f"expected the sequence file {where}/sequences/belt.json" in err
        assert "name the copy with --mirror DIR" in err

    def test_classes_of_several_sources(self, done: Callable[..., str], tmp_path: Path) -> None:
        for name, classes in (("one", "car\nperson\n"), ("two", "person\nbus\ncar\n")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "labels.txt").write_text(classes)
            (tmp_path / name / "gate.txt").write_text("1,1,1,1,9,9,1,1,1\n1,2,1,1,9,9,1,2,1\n")
        done("import", "one", "two", "--size", "64x48", "-o", "data")
        assert (tmp_path / "data" / "labels.txt").read_text() == "car\nperson\nbus\n"
        check_record(tmp_path / "data")
        found = rows_of(tmp_path / "data")
        names = {sequence: [row[2] for row in rows] for sequence, rows in found.items()}
        assert names == {"gate": ["car", "person"], "gate-2": ["person", "bus"]}


class TestFootage:
    def test_a_video_for_each_sequence(self, done: Callable[..., str], tmp_path: Path) -> None:
        for folder, name, count in (("t", "short", 4), ("t", "long", 9)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_tracks(tmp_path / folder / f"{name}.txt", range(1, count + 1))
            make_video(tmp_path / f"{name}.mp4", count)
        done("import", "t", "--video", ".", "-o", "data")
        assert check_pictures(tmp_path / "data" / "all" / "short") == 4
        assert check_pictures(tmp_path / "data" / "all" / "long") == 9
        assert check_record(tmp_path / "data") == 13

    def test_a_video_for_each_label_studio_task(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "videos").mkdir()
        tasks = []
        for name in ("left", "right"):
            make_video(tmp_path / "videos" / f"{name}.mp4", 3)
            box = {"x": 2.5, "y": 50, "width": 15, "height": 100 / 3, "rotation": 0}
            value = {
                "framesCount": 3,
                "labels": ["block"],
                "sequence": [{"frame": 1, "time": 0, "enabled": True} | box],
            }
            region = {"id": "a", "type": "videorectangle", "value": value}
            tasks.append({"data": {"video": f"{name}.mp4"}, "annotations": [{"result": [region]}]})
        (tmp_path / "export.json").write_text(json.dumps(tasks))
        code, _, err = call("import", "export.json", "--video", "videos", "-o", "data")
        assert (code, err) == (0, "")
        first = rows_of(tmp_path / "data")["left"][0]
        assert first[3] == pytest.approx((4, 48, 24, 32))

    def test_image_folders_count_by_name(self, call: Call, tmp_path: Path) -> None:
        """Frames 3 and 4 were lost: a box of frame 5 belongs onto 000005.png alone."""
        (tmp_path / "img").mkdir()
        for number in (1, 2, 5, 6):
            assert cv2.imwrite(str(tmp_path / "img" / f"{number:06d}.png"), numbered(number))
        write_tracks(tmp_path / "belt.txt", range(1, 3))
        code, _, err = call("import", "belt.txt", "--video", "img", "-o", "data")
        assert code == 0, err
        pictures = sorted((tmp_path / "data" / "all" / "belt" / "img1").iterdir())
        assert [shown(read(path))[0] for path in pictures] == [int(path.stem) for path in pictures]

    def test_image_folders_stay_as_they_are(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "img").mkdir()
        assert cv2.imwrite(str(tmp_path / "img" / "000001.jpg"), numbered(1))
        write_tracks(tmp_path / "belt.txt", range(1, 2))
        assert call("import", "belt.txt", "--video", "img", "-o", "data")[0] == 0
        ours = tmp_path / "data" / "all" / "belt" / "img1" / "000001.jpg"
        assert ours.read_bytes() == (tmp_path / "img" / "000001.jpg").read_bytes()

    def test_two_pictures_for_one_frame(self, call: Call, yard: Path) -> None:
        (yard / "img1").mkdir()
        for name in ("000001.png", "000002.png", "000002.jpg"):
            assert cv2.imwrite(str(yard / "img1" / name), numbered(int(name[:6])))
        code, _, err = call("import", yard, "-o", "data")
        assert code == 1
        assert "000002" in err

    def test_a_sequence_beside_other_files(self, call: Call, yard: Path) -> None:
        (yard / "notes.json").write_text("{}")
        code, _, err = call("import", yard, "-o", "data")
        assert code == 0, err

    def test_pictures_on_their_side(
        self, done: Callable[..., str], yard: Path, tmp_path: Path
    ) -> None:
        """A camera held upright: the EXIF orientation says that width and height change places."""
        (yard / "img1").mkdir()
        turned = Image.Exif()
        turned[0x0112] = 6
        Image.fromarray(numbered(1)).save(yard / "img1" / "000001.jpg", exif=turned)
        (yard / "seqinfo.ini").unlink()
        done("import", yard, "-o", "data")
        info = (tmp_path / "data" / "all" / "yard" / "seqinfo.ini").read_text()
        assert f"imWidth={HEIGHT}\nimHeight={WIDTH}\n" in info

    def test_names_that_are_hard_to_keep(
        self, done: Callable[..., str], yard: Path, tmp_path: Path
    ) -> None:
        for name in ("a b", "-dash", 'quo"te', "new\nline", "名前", "<b>&amp;", "50%#?"):
            shutil.copytree(yard, yard.parent / name)
        shutil.rmtree(yard)
        done("import", "source", "-o", "data")
        truth = rows_of(tmp_path / "data")
        assert len(truth) == 7
        assert {"a b", "-dash", "名前"} <= truth.keys()
        for format_ in ("ground-truth", "cvat", "coco"):
            done("export", "data", "--to", format_, "-o", format_)
            done("import", format_, "-o", f"{format_}-back")
            assert rows_of(tmp_path / f"{format_}-back") == truth


def test_parts_along_time_keep_boxes_on_pictures(
    done: Callable[..., str], tracks: Path, video: Path, tmp_path: Path
) -> None:
    """Of 30 frames: test has floor(0.2 · 29) = 5, val floor(0.3 · 29) = 8, and two gaps of 2."""
    done("import", tracks, "--video", video, "-o", "data")
    done("split", "data", "--by", "time", "--val", "0.3", "--test", "0.2", "--gap", "2")
    parts = {"train": (13, 0), "val": (8, 15), "test": (5, 25)}
    for part, (length, shift) in parts.items():
        folder = tmp_path / "data" / part / "belt"
        assert check_pictures(folder, shift) == length
        assert check_record(tmp_path / "data", part) == length
        assert f"seqLength={length}\n" in (folder / "seqinfo.ini").read_text()
    assert not (tmp_path / "data" / "all").exists()


def test_a_preview_frames_the_object(
    done: Callable[..., str], tracks: Path, video: Path, tmp_path: Path
) -> None:
    """Inside the box the picture is as it was; its outline is drawn where the block ends."""
    done("preview", tracks, "--video", video, "--start", 6, "--end", 7, "-o", "look.mp4")
    frames = [frame.image for frame in open_source(tmp_path / "look.mp4")]
    assert len(frames) == 2
    for number, image in zip((6, 7), frames, strict=True):
        left, top, width, height = box_of(number)
        plain = numbered(number).astype(int)
        changed = np.abs(image.astype(int) - plain).max(axis=2) > 60
        middle = changed[top + 8 : top + height - 8, left + 8 : left + width - 8]
        assert not middle.any()
        for edge in (left, left + width):
            side = changed[top + 8 : top + height - 8, edge - 3 : edge + 3]
            assert side.any(axis=1).mean() > 0.9
        assert not changed[top + height // 2 : top + height, left + width + 6 :].any()
