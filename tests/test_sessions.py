"""Sessions: their tracks are those of the whole video, whoever else is served meanwhile."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models import spots_picture, write_bundle
from motrail.cli.app import run as run_command
from motrail.detect.detector import Detector, load_detector
from motrail.serve.problems import Problem
from motrail.serve.sessions import Look, Sessions
from motrail.track.byte import ByteTracker
from motrail.types import Detections
from served import (
    CLOSED_SESSION,
    NEW_SESSION,
    Served,
    Told,
    encoded,
    error_of,
    npy,
    png,
    serving,
    told,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIXED = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return load_detector(write_bundle(tmp_path_factory.mktemp("kit") / "spots"))


@pytest.fixture(scope="module")
def served(spots: Detector) -> Iterator[Served]:
    with serving(spots) as server:
        yield server


@pytest.fixture(scope="module")
def network() -> Told:
    return Told(workers=4)


@pytest.fixture(scope="module")
def running(network: Told) -> Iterator[Served]:
    with serving(network) as server:
        yield server


@pytest.fixture
def telling(running: Served, network: Told) -> Iterator[Served]:
    """A server without sessions, and a network that has seen nothing."""
    network.seen.clear()
    running.service.sessions._open.clear()
    yield running
    network.gate.set()


def numbers(server: Served, session: str, *asks: str) -> list[int]:
    """The numbers that frames got."""
    answers = [server.post(told(9), session=session, ask=ask) for ask in asks]
    return [answer.json()["frame"] for answer in answers]


class TestLife:
    def test_from_beginning_to_end(self, telling: Served) -> None:
        opened = telling.post(session="NEW_SESSION")
        session = opened.json()["session"]
        assert opened.json() == {"session": session}
        found = re.fullmatch(r"([A-Za-z0-9-]+); Expires=(.+Z)", opened.headers[NEW_SESSION])
        assert found
        assert found[1] == session
        expires = datetime.strptime(found[2], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert expires > datetime.now(UTC)
        first = telling.post(told(20), session=session)
        assert first.json() == {
            "session": session,
            "frame": 1,
            "width": 16,
            "height": 8,
            "tracks": [{"id": 1, "box": [20.0, 10.0, 60.0, 90.0], "score": 0.9, "class": "dog"}],
        }
        assert NEW_SESSION not in first.headers
        closed = telling.post(session=session, ask="close=true")
        assert closed.json() == {"session": session}
        assert closed.headers[CLOSED_SESSION] == session
        assert error_of(telling.post(told(20), session=session), 404)[0] == "unknown_session"

    def test_opened_with_a_frame_closed_with_one(self, telling: Served) -> None:
        opened = telling.post(told(20), session="NEW_SESSION")
        session = opened.json()["session"]
        assert opened.headers[NEW_SESSION].startswith(f"{session};")
        assert [track["id"] for track in opened.json()["tracks"]] == [1]
        closed = telling.post(told(22), session=session, ask="close=1")
        assert closed.json()["frame"] == 2
        assert [track["id"] for track in closed.json()["tracks"]] == [1]
        assert closed.headers[CLOSED_SESSION] == session

    def test_each_has_its_own_ids(self, telling: Served) -> None:
        for _ in range(2):
            answer = telling.post(told(20), session=telling.open())
            assert [track["id"] for track in answer.json()["tracks"]] == [1]

    def test_ids_cannot_be_guessed(self, telling: Served) -> None:
        made = {telling.open() for _ in range(20)}
        assert len(made) == 20
        assert all(re.fullmatch(r"[0-9a-f]{32}", name) for name in made)

    def test_several_frames_at_once(self, telling: Served) -> None:
        session = telling.open("video.stride=2")
        frames = np.stack([np.full((8, 16, 3), left, np.uint8) for left in (20, 22, 24)])
        answer = telling.post(npy(frames), "application/x-npy", session=session).json()
        assert answer["session"] == session
        assert [frame["frame"] for frame in answer["frames"]] == [1, 3, 5]
        assert [frame["tracks"][0]["id"] for frame in answer["frames"]] == [1, 1, 1]
        assert "session" not in answer["frames"][0]
        rows = telling.post(
            npy(frames), "application/x-npy", session=session, accept="application/jsonl"
        )
        assert [row.count(session) for row in rows.text.splitlines()] == [1, 1, 1]

    def test_csv_of_nothing(self, telling: Served) -> None:
        session = telling.open("tracker.new_track_threshold=1.5")
        assert telling.post(told(20), session=session, accept="text/csv").text == ""
        assert telling.post(session=session, ask="close=1", accept="text/csv").text == ""

    def test_time_runs_out(self, telling: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr(telling.service.sessions, "_clock", lambda: now)
        session = telling.open()
        now = 300.0
        assert telling.post(told(20), session=session).status_code == 200
        now = 600.1
        assert error_of(telling.post(told(20), session=session), 404)[0] == "unknown_session"
        assert len(telling.service.sessions) == 0

    def test_too_many(self, network: Told) -> None:
        with serving(network, sessions=2) as server:
            first, _ = server.open(), server.open()
            answer = server.post(session="NEW_SESSION")
            assert error_of(answer, 503)[0] == "busy"
            assert int(answer.headers["retry-after"]) >= 1
            server.post(session=first, ask="close=true")
            server.open()


class TestNumbers:
    def test_counted(self, telling: Served) -> None:
        assert numbers(telling, telling.open(), "", "", "") == [1, 2, 3]
        assert numbers(telling, telling.open("video.stride=3"), "", "", "") == [1, 4, 7]
        assert numbers(telling, telling.open("video.start=10"), "", "", "") == [10, 11, 12]

    def test_given(self, telling: Served) -> None:
        assert numbers(telling, telling.open(), "frame=5", "", "step=4", "frame=11") == [
            5,
            6,
            10,
            11,
        ]
        assert numbers(telling, telling.open(), "step=4", "step=4") == [1, 5]

    def test_not_above_the_last(self, telling: Served) -> None:
        session = telling.open()
        assert numbers(telling, session, "frame=5") == [5]
        for frame in (5, 4):
            code, message = error_of(
                telling.post(told(9), session=session, ask=f"frame={frame}"), 409
            )
            assert code == "out_of_order"
            assert message == (
                f"frame: expected a number above that of the last frame, 5, found {frame}"
            )
        assert numbers(telling, session, "") == [6]

    def test_too_far(self, telling: Served) -> None:
        """A tracker looks ahead frame by frame: a leap must not keep it busy for ever."""
        session = telling.open()
        assert numbers(telling, session, "frame=900000000000000") == [900000000000000]
        answer = telling.post(told(9), session=session, ask="frame=900000000010001")
        assert "expected at most 10000 frames after the last" in error_of(answer, 400)[1]
        assert numbers(telling, session, "step=10000") == [900000000010000]

    def test_skipped_frames_are_told_to_the_tracker(self, telling: Served) -> None:
        """A lost track is found again after lost_frames, and not after one more."""
        for gap, same in ((4, True), (5, False)):
            session = telling.open("tracker.lost_frames=3")
            ids = [
                telling.post(told(left), session=session, ask=ask).json()["tracks"]
                for left, ask in ((20, ""), (20, ""), (200, ""), (20, f"step={gap - 1}"))
            ]
            assert (ids[3] != [] and ids[3][0]["id"] == 1) is same


class TestSettings:
    def test_of_the_session(self, telling: Served) -> None:
        session = telling.open("tracker.class_mode=ignore;tracker.min_box_area=3201")
        assert telling.post(told(20), session=session).json()["tracks"] == []

    def test_seconds_need_the_frame_rate(self, telling: Served) -> None:
        answer = telling.post(session="NEW_SESSION", ask="tracker.lost_seconds=1")
        assert "frame_rate" in error_of(answer, 400)[1]
        telling.open("tracker.lost_seconds=1;frame_rate=12.5")

    @pytest.mark.parametrize(
        ("ask", "said"),
        [
            ("refine.max_gap=20", "refine.max_gap: is not for sessions"),
            ("video.end=20", "video.end: is not for sessions"),
            ("tracker.lost_frames=-1", "lost_frames: expected 0 or more, found -1"),
            ("tracker.low_threshold=0.9", "low_threshold: expected at most high_threshold"),
            ("frame_rate=nan", "frame_rate: expected frames a second, found 'nan'"),
            ("close=maybe", "close: expected true or false, found 'maybe'"),
        ],
    )
    def test_refused(self, telling: Served, ask: str, said: str) -> None:
        assert said in error_of(telling.post(session="NEW_SESSION", ask=ask), 400)[1]
        assert len(telling.service.sessions) == 0

    def test_they_stand_from_the_beginning(self, telling: Served) -> None:
        session = telling.open()
        for ask in ("tracker.lost_frames=3", "frame_rate=25"):
            answer = telling.post(told(9), session=session, ask=ask)
            assert "stand from its beginning" in error_of(answer, 400)[1]


class TestNothingChanges:
    """What is refused leaves a session as it was."""

    @pytest.mark.parametrize(
        ("content", "kind", "ask", "status"),
        [
            (b"no picture", "image/png", "", 400),
            (png(8)[:60], "image/png", "", 400),
            (told(9), "text/plain", "", 415),
            (told(9), "image/png", "frame=1", 409),
            (told(9), "image/png", "previous=0", 409),
            (told(9), "image/png", "frame=x", 400),
            (b"", "image/png", "", 400),
            (b"no picture", "image/png", "close=true", 400),
            (b"--b\r\n\r\n" + told(9) + b"\r\n--b\r\n\r\nnone\r\n--b--\r\n", MIXED, "", 400),
        ],
    )
    def test_refused(
        self, telling: Served, content: bytes, kind: str, ask: str, status: int
    ) -> None:
        session = telling.open()
        assert numbers(telling, session, "", "") == [1, 2]
        assert telling.post(content, kind, session=session, ask=ask).status_code == status
        assert numbers(telling, session, "") == [3]

    def test_a_first_frame_that_is_broken_opens_nothing(self, telling: Served) -> None:
        answer = telling.post(b"no picture", session="NEW_SESSION")
        assert error_of(answer, 400)[0] == "bad_image"
        assert len(telling.service.sessions) == 0
        answer = telling.post(told(9), session="NEW_SESSION", ask="previous=7;frame=8")
        assert "a new session has no frames yet" in error_of(answer, 400)[1]
        assert len(telling.service.sessions) == 0

    def test_a_video(self, telling: Served) -> None:
        answer = telling.post(b"video", "video/mp4", session=telling.open())
        assert "content type" in error_of(answer, 415)[1]


class TestInFlight:
    """Several requests of one session at the same time."""

    def test_they_wait_for_the_frame_before(self, telling: Served) -> None:
        session = telling.open()

        def send(number: int) -> list[int]:
            ask = f"frame={number};previous={number - 1}"
            answer = telling.post(told(10 + number), session=session, ask=ask)
            return [answer.status_code, answer.json()["frame"]]

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, [3, 2, 8, 7, 1, 5, 4, 6]))
        assert sorted(answers) == [[200, number] for number in range(1, 9)]

    def test_detection_runs_beside(self, telling: Served, network: Told) -> None:
        """Both frames are in the network at once, though the second waits for the first."""
        session = telling.open()
        network.gate.clear()
        with ThreadPoolExecutor(2) as pool:
            second = pool.submit(telling.post, told(2), session=session, ask="frame=2;previous=1")
            first = pool.submit(telling.post, told(1), session=session, ask="frame=1;previous=0")
            until(lambda: sorted(network.seen) == [1, 2])
            network.gate.set()
            assert [first.result().json()["frame"], second.result().json()["frame"]] == [1, 2]

    def test_without_a_word_they_keep_their_order(self, telling: Served, network: Told) -> None:
        """The one that came first is tracked first, also where it is detected last."""
        session = telling.open()
        hold = network.gate
        hold.clear()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(telling.post, told(50), session=session)
            until(lambda: network.seen == [50])
            network.gate = type(hold)()
            network.gate.set()  # who comes now is not held up
            second = pool.submit(telling.post, told(51), session=session)
            until(lambda: network.seen == [50, 51])
            assert not second.done()
            hold.set()
            assert first.result().json()["frame"] == 1
            assert second.result().json()["frame"] == 2

    def test_the_frame_before_does_not_come(
        self, telling: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("motrail.serve.sessions.PREVIOUS_SECONDS", 0.05)
        session = telling.open()
        answer = telling.post(told(9), session=session, ask="previous=1")
        code, message = error_of(answer, 409)
        assert code == "previous_missing"
        assert message == "frame 1 was waited for and did not come within 0.05 s"
        assert numbers(telling, session, "") == [1]

    def test_others_were_first(self, telling: Served) -> None:
        session = telling.open()
        assert numbers(telling, session, "", "") == [1, 2]
        answer = telling.post(told(9), session=session, ask="previous=1")
        assert error_of(answer, 409) == (
            "out_of_order",
            "previous: expected the last frame, 2, found 1",
        )

    def test_closed_while_others_wait(self, telling: Served) -> None:
        session = telling.open()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(telling.post, told(9), session=session, ask="previous=5")
            until(lambda: telling.service.sessions._open[session].users)
            telling.post(session=session, ask="close=true")
            assert error_of(waiting.result(), 404)[0] == "unknown_session"


@pytest.mark.parametrize("name", ["", "x" * 257, "../../etc", "new_session", "no-such-one", "%00"])
def test_unknown_ids(telling: Served, name: str) -> None:
    assert error_of(telling.post(told(9), session=name), 404)[0] == "unknown_session"


def walks(seed: int, frames: int) -> list[list[float]]:
    """Left edges of three spots in each frame."""
    chance = random.Random(seed)  # noqa: S311
    starts = [chance.uniform(0, 60) for _ in range(3)]
    speeds = [chance.uniform(-2, 3) for _ in range(3)]
    return [
        [min(max(a + v * i, 0), 112) for a, v in zip(starts, speeds, strict=True)]
        for i in range(frames)
    ]


def test_sixteen_at_once(served: Served, spots: Detector) -> None:
    """Interleaved at random, each gets the tracks of its own video, byte for byte."""
    chance = random.Random(1)  # noqa: S311
    videos = [[spots_picture(lefts) for lefts in walks(seed, 12)] for seed in range(16)]
    sessions = [served.open() for _ in videos]
    rows = [""] * 16
    ahead = [iter(range(12)) for _ in videos]

    def next_frame(which: int) -> None:
        number = next(ahead[which])
        answer = served.post(
            encoded(videos[which][number]), session=sessions[which], accept="text/csv"
        )
        rows[which] += answer.text

    with ThreadPoolExecutor(8) as pool:
        for _ in range(12):
            order = chance.sample(range(16), 16)
            list(pool.map(next_frame, order))
    for video, found in zip(videos, rows, strict=True):
        tracker = ByteTracker()
        expected = ""
        for number, image in enumerate(video, start=1):
            tracks = tracker.update(spots.detect(image))
            for id_, box, score in zip(
                tracks.ids, tracks.boxes_xyxy.tolist(), tracks.scores.tolist(), strict=True
            ):
                left, top, right, bottom = box
                expected += (
                    f"{number},{id_},{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f},"
                    f"{score:.4f},1,-1\n"
                )
        assert found == expected != ""


def test_one_answer(served: Served, tmp_path: Path) -> None:
    """The rows of a session are the track file of the command line, byte for byte."""
    write_bundle(tmp_path / "spots")
    (tmp_path / "walk").mkdir()
    rows = ""
    session = served.open("frame_rate=30")
    for number, lefts in enumerate(walks(3, 20)):
        content = png(*lefts)
        (tmp_path / "walk" / f"{number:03}.png").write_bytes(content)
        rows += served.post(content, session=session, accept="text/csv").text
    words = ["track", str(tmp_path / "walk"), "-m", str(tmp_path / "spots"), "--no-video"]
    assert run_command([*words, "-o", str(tmp_path / "out")]) == 0
    assert rows == (tmp_path / "out" / "walk.txt").read_text() != ""


class TestTimes:
    """Without a server, on a clock of our own."""

    def sessions(self) -> tuple[Sessions, list[float]]:
        clock = [0.0]
        return Sessions(limit=2, seconds=10, clock=lambda: clock[0]), clock

    def test_the_last_moment(self) -> None:
        sessions, clock = self.sessions()
        session = sessions.open(ByteTracker(), first=1, stride=1)
        clock[0] = 10
        with sessions.use(session.id) as found:
            assert found is session
            clock[0] = 100  # a request may take its time
            assert sessions.sweep() == 0
        clock[0] = 110
        assert sessions.sweep() == 0
        clock[0] = 110.001
        assert sessions.sweep() == 1
        with (
            pytest.raises(Problem, match="there is no session of this id"),
            sessions.use(session.id),
        ):
            pass

    def test_old_ones_make_room(self) -> None:
        sessions, clock = self.sessions()
        for _ in range(2):
            sessions.open(ByteTracker(), first=1, stride=1)
        with pytest.raises(Problem, match="the queue is full"):
            sessions.open(ByteTracker(), first=1, stride=1)
        clock[0] = 11
        sessions.open(ByteTracker(), first=1, stride=1)
        assert len(sessions) == 1

    def test_an_empty_frame_counts(self) -> None:
        sessions, _ = self.sessions()
        session = sessions.open(ByteTracker(lost_frames=1), first=1, stride=1)
        one = Detections([[0, 0, 10, 10]], [0.9])
        none = Detections.empty()
        numbers = [
            number
            for number, _ in session.track(
                1, [Look((9, 9), d) for d in (one, one, none, none, one)]
            )
        ]
        assert numbers == [1, 2, 3, 4, 5]
        assert session.last == 5
