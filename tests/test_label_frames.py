"""Frames of videos and pictures, forward, backward and by jumps, in bounded memory."""

from __future__ import annotations

import threading
import zlib
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest

from labelled import HEIGHT, WIDTH, number_of, picture, project, room, write_clip
from motrail.errors import VideoError
from motrail.label.cache import ByteCache
from motrail.label.clips import ClipReader, DroppedError
from motrail.label.footage import frames_between
from motrail.label.frames import FrameServer, Room
from motrail.label.images import from_video
from motrail.label.problems import Problem
from motrail.label.tables import SequenceInfo
from motrail.video.read import decode_image, open_source

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 90


def write_long(path: Path, frames: int = FRAMES, gop: int = 30) -> Path:
    """A video with B-frames and few key frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "10", "g": str(gop), "keyint_min": str(gop), "sc_threshold": "0",
                          "bf": "2"}  # fmt: skip
        for number in range(1, frames + 1):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long(tmp_path_factory.mktemp("long") / "long.mp4")


def info_of(clip: Path) -> SequenceInfo:
    return SequenceInfo(
        "long", "all", "video", str(clip), width=WIDTH, height=HEIGHT, length=FRAMES, index=0
    )


def shown(data: bytes) -> int:
    return number_of(decode_image(data, "picture"))


def reader_of(clip: Path, frames: int = 20) -> ClipReader:
    return ClipReader(clip, budget=frames * WIDTH * HEIGHT * 3 // 2, threads=1)


def test_any_frame_in_any_order(clip: Path) -> None:
    frames = FrameServer(clip.parent, Room(decoded=20 * WIDTH * HEIGHT * 3 // 2, pictures=4000))
    random = np.random.default_rng(1)
    order = [1, 2, 3, 90, 89, 88, 1, 60, 61, 59, *random.integers(1, FRAMES + 1, 12).tolist()]
    order += [*range(1, 40, 3), *range(FRAMES, 60, -1)]
    for number in order:
        found = frames.picture(info_of(clip), number)
        assert (shown(found.data), found.frame) == (number, number)
    frames.close()


def test_colours_are_those_of_track(clip: Path) -> None:
    reader = reader_of(clip)
    with open_source(clip) as source:
        for frame in source:
            mine = from_video(reader.frame(frame.number, still_wanted=lambda: True), WIDTH, HEIGHT)
            assert np.array_equal(mine, frame.image)
    reader.close()


def test_decoded_frames_are_few(clip: Path) -> None:
    reader = reader_of(clip)
    for number in [*range(1, FRAMES + 1), *range(FRAMES, 0, -1), 30, 80, 5]:
        reader.frame(number, still_wanted=lambda: True)
        assert len(reader._kept) <= 20
    reader.close()


def test_a_frame_that_is_not_there(clip: Path) -> None:
    reader = reader_of(clip)
    with pytest.raises(VideoError, match="there is no frame 9999"):
        reader.frame(9999, still_wanted=lambda: True)
    assert reader.frame(5, still_wanted=lambda: True) is not None  # it goes on
    reader.close()


def test_what_nobody_wants_is_not_waited_for(clip: Path) -> None:
    reader = reader_of(clip)
    with pytest.raises(DroppedError, match="frame 70 is no longer wanted"):
        reader.frame(70, still_wanted=lambda: False)
    reader.close()


def test_the_latest_of_those_that_wait_comes_first(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, decoded = threading.Event(), list[int]()

    def passing(number: int, _frame: object) -> None:
        if threading.current_thread().name == "frames":
            decoded.append(number)
            gate.wait(20)

    reader = ClipReader(clip, budget=1, threads=1, passing=passing)
    answers = dict.fromkeys((1, 50, 80), False)

    def ask(number: int) -> None:
        reader.frame(number, still_wanted=lambda: True)
        answers[number] = True

    threads = [threading.Thread(target=ask, args=(number,)) for number in answers]
    for place, thread in enumerate(threads):
        thread.start()
        while len(reader._waiting) + sum(answers.values()) < place + 1 or not decoded:
            thread.join(0.01)
    gate.set()
    for thread in threads:
        thread.join()
    assert decoded.index(80) < decoded.index(50)
    reader.close()


def test_a_quick_look_shows_what_is_near(clip: Path) -> None:
    frames = FrameServer(clip.parent)
    first = frames.picture(info_of(clip), 1)
    assert first.frame == 1
    found = frames.quick(info_of(clip), 90)
    assert shown(found.data) == found.frame
    while frames.quick(info_of(clip), 90).frame < 85:
        pass  # small pictures of all of the video come by themselves
    for number in range(1, FRAMES + 1):
        look = frames.quick(info_of(clip), number)
        assert abs(look.frame - number) <= 8
        assert shown(look.data) == look.frame
    strip = decode_image(frames.strip(info_of(clip), 5, 40), "strip")
    assert strip.shape == (40, 300, 3)
    frames.close()


def test_small_ones_keep_the_proportion(clip: Path) -> None:
    frames = FrameServer(clip.parent)
    for most, size in ((48, (32, 48)), (96, (64, 96)), (5000, (64, 96)), (None, (64, 96))):
        found = decode_image(frames.picture(info_of(clip), 7, most).data, "picture")
        assert found.shape[:2] == size
        assert number_of(found) == 7
    frames.close()


@pytest.mark.parametrize("number", [0, -1, FRAMES + 1, 10**12])
def test_frames_outside(clip: Path, number: int) -> None:
    frames = FrameServer(clip.parent)
    with pytest.raises(Problem, match=f"expected a frame from 1 to {FRAMES} of 'long'") as raised:
        frames.picture(info_of(clip), number)
    assert raised.value.status == 404
    frames.close()


def test_a_video_that_is_gone(clip: Path) -> None:
    frames = FrameServer(clip.parent)
    with pytest.raises(VideoError, match=r"gone\.mp4: no such file"):
        frames.picture(info_of(clip.with_name("gone.mp4")), 3)
    frames.close()


def test_a_video_without_times_is_read_from_the_beginning(tmp_path: Path, clip: Path) -> None:
    raw = tmp_path / "raw.h264"
    with av.open(str(clip)) as source, av.open(str(raw), "w", format="h264") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    frames = FrameServer(tmp_path)
    for number in (1, 40, 39, 2, 90):
        assert shown(frames.picture(info_of(raw), number).data) == number
    frames.close()


def test_a_video_that_changes_size_is_shown_in_the_first_one(tmp_path: Path) -> None:
    parts = []
    for name, size in (("a", (WIDTH, HEIGHT)), ("b", (WIDTH * 2, HEIGHT * 2))):
        part = tmp_path / f"{name}.ts"
        with av.open(str(part), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.options = {"crf": "10", "bf": "0"}
            first = 1 if name == "a" else 11
            for number in range(first, first + 10):
                frame = av.VideoFrame.from_ndarray(picture(number, *size), format="bgr24")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(parts))
    with open_source(whole) as source:
        expected = {frame.number: frame.image for frame in source}
    with room(project(tmp_path / "set", whole)) as served:
        for number, image in expected.items():
            answer = served.get(f"/sequences/0/frames/{number}")
            if answer.status_code == 200:
                found = decode_image(answer.content, "frame")
                assert found.shape == image.shape
                assert number_of(found) == number_of(image)
            else:
                assert answer.status_code == 422


def test_pictures_are_given_out_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (1, 2, 10):
        cv2.imwrite(str(folder / f"f{number}.jpg"), picture(number))
    cv2.imwrite(str(folder / "f11.png"), picture(11))
    with room(project(tmp_path / "set", folder)) as served:
        assert served.get("/project").json()["sequences"][0]["length"] == 4
        assert served.get("/sequences/0/frames/3").content == (folder / "f10.jpg").read_bytes()
        png = served.get("/sequences/0/frames/4")
        assert (png.headers["content-type"], shown(png.content)) == ("image/jpeg", 11)
        small = decode_image(served.get("/sequences/0/frames/1?width=48").content, "small")
        assert small.shape == (32, 48, 3)


def test_broken_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), picture(1))
    cv2.imwrite(str(folder / "2.png"), picture(2, 40, 40))
    (folder / "3.png").write_bytes(b"\x89PNG nothing")
    bomb = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + bomb[24:29]
    checked = header + zlib.crc32(header).to_bytes(4, "big")
    (folder / "4.png").write_bytes(bomb[:12] + checked + bomb[33:])
    with room(project(tmp_path / "set", folder)) as served:
        for number, what in (
            (2, "expected 96x64 pixels as in the first picture of the sequence, found 40x40"),
            (3, "expected an image"),
            (4, "expected at most 134,217,728 pixels"),
        ):
            answer = served.get(f"/sequences/0/frames/{number}")
            assert answer.status_code == 422
            assert what in answer.json()["error"]["message"]


def test_frames_in_either_direction(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motrail.label.footage._BYTES", 10 * WIDTH * HEIGHT * 3)
    for first, last in ((1, 5), (40, 61), (61, 20), (7, 7)):
        found = list(frames_between(clip.parent, info_of(clip), first, last))
        step = 1 if last >= first else -1
        assert [frame.number for frame in found] == list(range(first, last + step, step))
        assert [number_of(frame.image) for frame in found] == [frame.number for frame in found]


def test_the_cache_keeps_what_was_asked_for_last() -> None:
    cache: ByteCache[str] = ByteCache(10)
    for name in "abc":
        cache.put(name, name.encode() * 4)
    assert [cache.get(name) for name in "abc"] == [None, b"bbbb", b"cccc"]
    assert cache.get("b") == b"bbbb"
    cache.put("d", b"dddd")
    assert cache.get("c") is None
    assert cache.size == 8
    cache.put("d", b"d")
    assert cache.size == 5
    cache.put("large", b"x" * 11)
    assert cache.size == 0


def test_answers_may_be_kept_by_the_browser(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    with room(project(tmp_path / "set", clip)) as served:
        one = served.get("/sequences/0/frames/30?width=48")
        assert one.headers["cache-control"] == "private, max-age=3600"
        again = served.get(
            "/sequences/0/frames/30?width=48", **{"If-None-Match": one.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        other = served.get("/sequences/0/frames/31?width=48")
        assert other.headers["etag"] != one.headers["etag"]
        assert served.get("/project").headers["cache-control"] == "no-store"


def test_a_header_that_says_too_little(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=30)
    store = project(tmp_path / "set", clip)
    store.set_facts(0, length=12, frame_rate=25.0)
    with room(store) as served:
        served.get("/sequences/0/frames/1")
        for _ in range(500):
            if served.store.sequence(0).length == 30:
                break
            threading.Event().wait(0.01)
        assert served.store.sequence(0).length == 30
