"""`motrail serve`: what it answers, in which form, and what it says when it does not."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING

import cv2
import httpx
import numpy as np
import pytest

from models import SIDE, SPOT, spots_clip, spots_picture, write_bundle
from motrail.cli.app import run as run_command
from motrail.config import RefineSettings, Settings
from motrail.detect.detector import Detector, load_detector
from motrail.detect.failure import AnswerError
from motrail.errors import ConfigError, MissingExtraError, ModelError
from motrail.serve.answers import FRAME_TYPES, wanted
from motrail.serve.problems import Problem
from motrail.serve.run import open_socket
from motrail.serve.security import find_token
from motrail.types import Detections
from served import INVOKE, Served, Told, encoded, error_of, npy, png, serving, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

VIDEO = "video/mp4"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a clip."""
    folder = tmp_path_factory.mktemp("kit")
    write_bundle(folder / "spots")
    spots_clip(folder / "clip.mp4", frames=12)
    return folder


@pytest.fixture(scope="module")
def spots(kit: Path) -> Detector:
    return load_detector(kit / "spots")


@pytest.fixture(scope="module")
def served(spots: Detector) -> Iterator[Served]:
    with serving(spots) as server:
        yield server


@pytest.fixture(scope="module")
def clip(kit: Path) -> bytes:
    return (kit / "clip.mp4").read_bytes()


@pytest.fixture(scope="module")
def tracked(kit: Path) -> str:
    """The track file of the clip, by the command line."""
    words = ["track", str(kit / "clip.mp4"), "-m", str(kit / "spots"), "-o", str(kit / "out")]
    assert run_command([*words, "--no-video"]) == 0
    return (kit / "out" / "clip.txt").read_text()


class TestAbout:
    def test_ping(self, served: Served) -> None:
        answer = served.client.get("/ping")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    def test_model(self, served: Served) -> None:
        told = served.client.get("/model").json()
        settings = dataclasses.asdict(served.service.settings.tracker)
        assert told == {
            "name": "spots",
            "version": "1",
            "classes": ["spot"],
            "input": {"width": SIDE, "height": SIDE},
            "device": "cpu",
            "tracker": {key: value for key, value in settings.items() if value is not None},
        }
        assert told["tracker"]["match_threshold"] == 0.8

    def test_unknown_address(self, served: Served) -> None:
        for path in ("/", "/pong", "/ping/", "/jobs", "/invocations/x"):
            assert error_of(served.client.get(path), 404)[0] == "not_found"

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/invocations", {"POST"}),
            ("GET", "/invocations", {"POST"}),
            ("DELETE", "/ping", {"GET", "HEAD"}),
            ("POST", "/model", {"GET", "HEAD"}),
        ],
    )
    def test_other_method(self, served: Served, method: str, path: str, allowed: set[str]) -> None:
        answer = served.client.request(method, path)
        assert error_of(answer, 405)[0] == "method_not_allowed"
        assert {word.strip() for word in answer.headers["allow"].split(",")} == allowed

    def test_head(self, served: Served) -> None:
        answer = served.client.head("/ping")
        assert (answer.status_code, answer.content) == (200, b"")
        assert served.client.head("/invocations").status_code == 405

    def test_metrics(self, spots: Detector) -> None:
        with serving(spots) as server:
            server.post(png(8))
            server.client.get("/nowhere/else")
            server.client.request("INVENTED", "/ping")
            server.open()
            text = server.client.get("/metrics").text
        lines = text.splitlines()
        assert (
            'motrail_requests_total{method="POST",route="/invocations",status="200"} 2.0' in lines
        )
        assert 'motrail_requests_total{method="any",route="other",status="404"} 1.0' in lines
        assert "motrail_frames_total 1.0" in lines
        assert "motrail_sessions_open 1.0" in lines
        assert "motrail_queue_length 0.0" in lines
        assert 'motrail_request_seconds_count{route="/invocations"} 2.0' in lines
        assert 'motrail_requests_total{method="other",route="/ping",status="405"} 1.0' in lines
        assert "nowhere" not in text
        assert "INVENTED" not in text

    def test_request_id(self, served: Served) -> None:
        given = served.client.get("/ping", headers={"X-Request-Id": "mine-42"})
        assert given.headers["x-request-id"] == "mine-42"
        made = {served.client.get("/ping").headers["x-request-id"] for _ in range(3)}
        assert len(made) == 3
        for bad in ("with space", "x" * 129, "caf\xe9"):
            answer = served.client.get("/ping", headers={b"X-Request-Id": bad.encode("latin-1")})
            assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


class TestFrames:
    def test_json(self, served: Served) -> None:
        """A bright cell of 8 × 8 is an object of 16 × 16 around its middle."""
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        image[16:24, 8:16] = 255  # middle (12, 20); score 1 / (1 + e^(-0.1 · (255 - 170)))
        assert served.post(encoded(image)).json() == {
            "frame": None,
            "width": SIDE,
            "height": SIDE,
            "detections": [{"box": [4.0, 12.0, 20.0, 28.0], "score": 0.9998, "class": "spot"}],
        }

    @pytest.mark.parametrize(
        ("ending", "kind"),
        [
            (".png", "image/png"),
            (".bmp", "image/bmp"),
            (".webp", "image/webp"),
            (".tiff", "image/tiff"),
            (".jpg", "image/jpeg"),
            (".png", "application/x-image"),
            (".png", "Image/PNG; charset=binary"),
        ],
    )
    def test_kinds(self, served: Served, ending: str, kind: str) -> None:
        image = spots_picture([8])
        answer = served.post(encoded(image, ending), kind)
        assert answer.status_code == 200
        assert len(answer.json()["detections"]) == (SPOT // 8) ** 2

    def test_array(self, served: Served) -> None:
        one = spots_picture([8])
        expected = served.post(png(8)).json()
        assert served.post(npy(one), "application/x-npy").json() == expected
        both = npy(np.stack([one, np.zeros_like(one)]))
        answer = served.post(both, "application/x-npy").json()
        assert answer == {"frames": [expected, expected | {"detections": []}]}

    def test_parts_in_their_order(self) -> None:
        with serving(Told()) as server:
            parts = [("b", told(3)), ("a", told(200)), ("b", told(77))]
            files = [(name, (name, content, "image/png")) for name, content in parts]
            answer = server.client.post("/invocations", files=files).json()
        assert [frame["detections"][0]["box"][0] for frame in answer["frames"]] == [3, 200, 77]
        assert {frame["width"] for frame in answer["frames"]} == {16}

    def test_csv(self, served: Served) -> None:
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        image[16:24, 8:16] = 255
        answer = served.post(encoded(image), accept="text/csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        row = answer.text.strip().split(",")
        assert row[:6] == ["1", "-1", "4.0", "12.0", "16.0", "16.0"]
        assert float(row[6]) == pytest.approx(0.999797, abs=1e-6)
        assert row[7:] == ["1", "-1"]
        assert served.post(png(), accept="text/csv").text == ""
        assert served.post(encoded(image), accept="text/csv", ask="frame=7").text[:5] == "7,-1,"

    def test_csv_is_what_detect_writes(self, served: Served, kit: Path) -> None:
        (kit / "walk").mkdir()
        contents = [png(8, 60), png(30)]
        for number, content in enumerate(contents):
            (kit / "walk" / f"{number}.png").write_bytes(content)
        words = ["detect", str(kit / "walk"), "-m", str(kit / "spots"), "-o", str(kit / "found")]
        assert run_command(words) == 0
        rows = [
            served.post(content, accept="text/csv", ask=f"frame={number}").text
            for number, content in enumerate(contents, start=1)
        ]
        assert "".join(rows) == (kit / "found" / "walk.txt").read_text()

    def test_frames_that_were_scaled_down(self, served: Served) -> None:
        """Boxes come in the pixels of the frame as it was: here three times and twice as large."""
        plain = served.post(png(8)).json()
        width, height = plain["width"], plain["height"]
        answer = served.post(png(8), ask=f"size={3 * width}x{2 * height}").json()
        assert (answer["width"], answer["height"]) == (3 * width, 2 * height)
        assert len(plain["detections"]) == len(answer["detections"]) > 0
        for small, large in zip(plain["detections"], answer["detections"], strict=True):
            left, top, right, bottom = small["box"]
            wanted = [3 * left, 2 * top, 3 * right, 2 * bottom]
            assert large["box"] == pytest.approx(wanted, abs=0.03)

    def test_lines(self, served: Served) -> None:
        two = npy(np.stack([spots_picture([8])] * 2))
        answer = served.post(two, "application/x-npy", accept="application/jsonl", ask="frame=5")
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert [line["frame"] for line in lines] == [5, 6]
        assert lines[0]["detections"] == lines[1]["detections"] != []

    @pytest.mark.parametrize(
        ("ask", "said"),
        [
            ("close=true", "close: expected a session"),
            ("previous=1", "previous: expected a session"),
            ("step=2", "step: expected a session"),
            ("frame_rate=25", "frame_rate: expected a session"),
            ("tracker.lost_frames=3", "frames without a session have no settings"),
            ("frame=0", "frame: expected a whole number from 1, found '0'"),
            ("size=640", "size: expected WIDTHxHEIGHT in pixels, found '640'"),
            ("size=0x480", "size: expected WIDTHxHEIGHT in pixels, found '0x480'"),
            ("size=640x1000000", "size: expected WIDTHxHEIGHT in pixels, found '640x1000000'"),
            ("frame=1;frame=2", "frame stands there twice"),
            ("frame", "expected key=value;key=value, found 'frame'"),
            ("detector.device=cuda", "unknown 'detector.device'"),
            ("x" * 1025, "expected at most 1024 characters"),
        ],
    )
    def test_attributes_that_make_no_sense(self, served: Served, ask: str, said: str) -> None:
        assert said in error_of(served.post(png(8), ask=ask), 400)[1]

    def test_a_network_that_fails(self) -> None:
        network = Told(fault=ModelError("/home/me/model.onnx: the network failed"))
        with serving(network) as server:
            answer = server.post(told(1))
            code, message = error_of(answer, 500)
            assert code == "bad_model"
            assert message.startswith("model 'spots': it failed; the server's log says more")
            assert "home" not in answer.text
            entry = server.log(answer.headers["x-request-id"])
        assert entry["level"] == "error"
        assert "/home/me/model.onnx: the network failed" in entry["error"]

    def test_a_network_that_answers_with_nonsense(self) -> None:
        fault = AnswerError(
            "/home/me/model.onnx", "the network answered with boxes of infinite size"
        )
        with serving(Told(fault=fault)) as server:
            answer = server.post(told(1))
            message = "model 'spots': the network answered with boxes of infinite size"
            assert error_of(answer, 500) == ("bad_model", message)
            opened = server.post(told(1), session="NEW_SESSION")
            assert error_of(opened, 500) == ("bad_model", message)
            assert server.log(opened.headers["x-request-id"])["level"] == "error"

    def test_boxes_that_no_picture_is_large_enough_for(self) -> None:
        class Huge(Told):
            def detect(self, image: NDArray[np.uint8]) -> Detections:
                return Detections([[0, 0, 3e38, 90]], [0.9])

        with serving(Huge()) as server:
            assert server.post(told(1)).status_code == 200
            code, message = error_of(server.post(told(1), ask="size=160x80"), 500)
            assert code == "bad_model"
            assert message.startswith("model 'spots': it failed")


class TestVideo:
    def test_csv(self, served: Served, clip: bytes, tracked: str) -> None:
        answer = served.post(clip, VIDEO, accept="text/csv")
        assert answer.text == tracked != ""
        assert served.post(clip, "application/octet-stream", accept="text/csv").text == tracked

    def test_json(self, served: Served, clip: bytes, tracked: str) -> None:
        answer = served.post(clip, VIDEO).json()
        rows = answer.pop("rows")
        assert rows == [[float(cell) for cell in line.split(",")] for line in tracked.splitlines()]
        ids = {row[1] for row in rows}
        assert answer == {
            "name": "video",
            "width": SIDE,
            "height": SIDE,
            "frame_rate": 25.0,
            "frames": 12,
            "tracks": len(ids),
            "truncated": None,
            "classes": ["spot"],
        }

    def test_lines(self, served: Served, clip: bytes, tracked: str) -> None:
        answer = served.post(clip, VIDEO, accept="application/jsonl")
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert [line["frame"] for line in lines] == list(range(1, 13))
        pairs = [(line["frame"], track["id"]) for line in lines for track in line["tracks"]]
        cells = [line.split(",") for line in tracked.splitlines()]
        assert pairs == [(int(row[0]), int(row[1])) for row in cells]

    def test_video(self, served: Served, clip: bytes, tmp_path: Path) -> None:
        answer = served.post(clip, VIDEO, accept="video/mp4")
        (tmp_path / "drawn.mp4").write_bytes(answer.content)
        film = cv2.VideoCapture(str(tmp_path / "drawn.mp4"))
        good, image = film.read()
        film.release()
        assert good
        assert image.shape == (SIDE, SIDE, 3)
        assert int(answer.headers["content-length"]) == len(answer.content)

    def test_settings(self, served: Served, clip: bytes) -> None:
        every_third = served.post(clip, VIDEO, accept="text/csv", ask="video.stride=3").text
        assert {line.split(",")[0] for line in every_third.splitlines()} == {"1", "4", "7", "10"}
        none = served.post(clip, VIDEO, accept="text/csv", ask="tracker.new_track_threshold=2")
        assert (none.status_code, none.text) == (200, "")

    def test_refined(self, served: Served, clip: bytes) -> None:
        whole = served.post(clip, VIDEO, ask="refine.min_length=12").json()
        lengths = {row[1]: 0 for row in whole["rows"]}
        for row in whole["rows"]:
            lengths[row[1]] += 1
        assert set(lengths.values()) <= {12}
        lines = served.post(clip, VIDEO, accept="application/jsonl", ask="refine.min_length=12")
        tracks = [track for line in lines.text.splitlines() for track in json.loads(line)["tracks"]]
        assert len(tracks) == len(whole["rows"])

    def test_settings_of_the_server(self, spots: Detector, clip: bytes) -> None:
        settings = Settings(refine=RefineSettings(min_length=13))
        with serving(spots, settings) as server:
            assert server.post(clip, VIDEO).json()["rows"] == []
            assert server.post(clip, VIDEO, ask="refine.min_length=0").json()["rows"] != []

    @pytest.mark.parametrize(
        ("ask", "said"),
        [
            ("frame=1", "frame: is for frames; a video has its own"),
            ("close=1", "close: expected a session"),
            ("tracker.macth_threshold=1", "did you mean 'match_threshold'?"),
            ("tracker.lost_frames=many", "unable to parse string as an integer"),
            ("tracker.match_threshold=7", "match_threshold: expected from 0 to 1, found 7.0"),
            ("video.crf=0", "unknown 'video.crf'"),
            ("video.start=99", "video: expected to start at frame 99, found only 12 frames"),
        ],
    )
    def test_attributes_that_make_no_sense(
        self, served: Served, clip: bytes, ask: str, said: str
    ) -> None:
        for accept in ("text/csv", "application/jsonl"):
            message = error_of(served.post(clip, VIDEO, ask=ask, accept=accept), 400)[1]
            assert said in message
            assert "motrail-serve" not in message

    def test_an_error_in_the_middle(self, clip: bytes) -> None:
        """What was there comes, then the error, and the connection is cut."""
        network = Told(fault=ModelError("/home/me/model.onnx: the network failed"), good=9)
        with serving(network) as server:
            headers = {"Content-Type": VIDEO, "Accept": "application/jsonl"}
            request = server.client.stream("POST", INVOKE, content=clip, headers=headers)
            lines: list[str] = []
            with (
                pytest.raises(httpx.RemoteProtocolError, match="without sending complete"),
                request as answer,
            ):
                lines.extend(answer.iter_lines())
        numbers = [json.loads(line).get("frame") for line in lines[:-1]]
        assert numbers == list(range(1, len(numbers) + 1)) != []
        error = json.loads(lines[-1])["error"]
        assert error["code"] == "bad_model"
        assert "home" not in error["message"]

    def test_a_server_that_cannot_draw(
        self, served: Served, clip: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(*_args: object, **_more: object) -> None:
            raise MissingExtraError("supervision", "video")

        monkeypatch.setattr("motrail.video.draw.TrackDrawer.__init__", missing)
        answer = served.post(clip, VIDEO, accept="video/mp4")
        assert error_of(answer, 406) == ("not_acceptable", "video/mp4: this server cannot draw")
        assert served.post(clip, VIDEO, accept="text/csv").status_code == 200

    def test_a_file_cut_off(self, served: Served, kit: Path) -> None:
        spots_clip(kit / "long.mkv", frames=60)
        content = (kit / "long.mkv").read_bytes()
        answer = served.post(content[: len(content) // 2], "video/x-matroska").json()
        assert 1 <= answer["frames"] < 60
        assert "it was cut off" in answer["truncated"]

    def test_it_takes_too_long(self, spots: Detector, clip: bytes) -> None:
        with serving(spots, video_seconds=1) as server:
            object.__setattr__(server.service.settings.serve, "video_seconds", -1.0)
            for accept in ("text/csv", "application/jsonl"):
                answer = server.post(clip, VIDEO, accept=accept)
                assert error_of(answer, 413)[0] == "too_long"

    def test_nothing_is_left(self, spots: Detector, clip: bytes) -> None:
        with serving(spots) as server:
            for content in (clip, b"no video"):
                server.log(server.post(content, VIDEO).headers["x-request-id"])
            folder = server.service.folder
            assert list(folder.iterdir()) == []
        assert not folder.exists()


class TestAccept:
    @pytest.mark.parametrize(
        ("header", "kind"),
        [
            (None, "application/json"),
            ("", "application/json"),
            ("*/*", "application/json"),
            ("text/csv", "text/csv"),
            ("TEXT/CSV; header=absent", "text/csv"),
            ("text/*", "text/csv"),
            ("application/*", "application/json"),
            ("application/json;q=0.5, text/csv", "text/csv"),
            ("application/json;q=0, */*", "text/csv"),
            ("text/html, */*;q=0.1", "application/json"),
            ("application/jsonl, application/json;q=0.9", "application/jsonl"),
        ],
    )
    def test_wanted(self, header: str | None, kind: str) -> None:
        assert wanted(header, FRAME_TYPES) == kind

    @pytest.mark.parametrize("header", ["text/html", "application/json;q=0", "video/mp4", "a;q=x"])
    def test_nothing_fits(self, header: str) -> None:
        with pytest.raises(Problem, match="accept: expected application/json, text/csv"):
            wanted(header, FRAME_TYPES)

    def test_over_http(self, served: Served) -> None:
        assert error_of(served.post(png(8), accept="text/html"), 406)[0] == "not_acceptable"


class TestToken:
    def test_everything_but_ping_needs_it(self, spots: Detector) -> None:
        with serving(spots, token="sesame") as server:  # noqa: S106
            assert server.client.get("/ping").status_code == 200
            for path in ("/model", "/metrics", "/openapi.json", "/nowhere"):
                answer = server.client.get(path)
                assert error_of(answer, 401)[0] == "unauthorized"
                assert answer.headers["www-authenticate"] == "Bearer"
            for wrong in ("Bearer sesamo", "Bearer sesame2", "Basic sesame", "sesame", "Bearer"):
                answer = server.post(png(8), authorization=wrong)
                assert error_of(answer, 401)[0] == "unauthorized"
            assert server.post(png(8), authorization="Bearer sesame").status_code == 200
            assert "sesam" not in server.log_text

    def test_found(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("of-a-file\n")
        environment = {"MOTRAIL_SERVE_TOKEN": "of-the-environment"}
        assert find_token(tmp_path / "token", environment) == "of-a-file"
        assert find_token(None, environment) == "of-the-environment"
        assert find_token(None, {}) is None

    def test_bad(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(ConfigError, match="empty: expected a token of visible ASCII"):
            find_token(tmp_path / "empty")
        with pytest.raises(ConfigError, match="missing: cannot be read"):
            find_token(tmp_path / "missing")
        with pytest.raises(ConfigError, match="MOTRAIL_SERVE_TOKEN: expected a token of visible"):
            find_token(None, {"MOTRAIL_SERVE_TOKEN": "two words"})


class TestLog:
    def test_a_line_for_each_request(self, spots: Detector) -> None:
        with serving(spots) as server:
            session = server.open()
            server.post(png(8), session=session, x_request_id="mine")
            entry = server.log("mine")
        seconds, time = entry.pop("seconds"), entry.pop("time")
        assert seconds >= 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
        assert entry.pop("bytes") > 0
        assert entry == {
            "level": "info",
            "event": "request",
            "request_id": "mine",
            "method": "POST",
            "path": "/invocations",
            "status": 200,
            "frames": 1,
            "session": session[:8],
        }


def test_a_port_that_is_taken(served: Served) -> None:
    with pytest.raises(ConfigError, match=f"port: cannot listen on 127.0.0.1, port {served.port}"):
        open_socket("127.0.0.1", served.port)


def test_a_host_that_is_none() -> None:
    with pytest.raises(ConfigError, match="host: expected an address of this machine"):
        open_socket("no such host", 0)
