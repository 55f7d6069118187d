"""The client against the real server: the same results as in one process, and what goes wrong."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import cv2
import numpy as np
import pytest

import motrail
from commands import Call, Result, caller
from models import SIDE, spots_picture, write_bundle
from motrail import Client, Detections, Frame
from motrail.config import DetectorSettings, Settings
from motrail.config.serving import ServeSettings
from motrail.detect.bundle import read_bundle
from motrail.detect.detector import find_bundle, open_detector
from motrail.errors import ConfigError, DataError, VideoError
from motrail.formats.mot.tracks import TrackFileWriter
from motrail.remote.messages import attributes, encoder, read_all_tracks, read_detections
from motrail.remote.problems import RemoteError
from motrail.remote.session import Session
from motrail.remote.transport import Answer, HttpTransport
from motrail.serve.app import make_app
from motrail.serve.jobs import Jobs
from motrail.serve.run import Server, address_of, open_socket
from motrail.serve.service import ModelInfo
from motrail.video.read import open_source
from motrail.video.write import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from motrail.config import Preset
    from motrail.detect.detector import Detector


class Kit(NamedTuple):
    """What the tests only read."""

    folder: Path
    bundle: Path
    clip: Path
    detector: Detector


def moving_clip(path: Path) -> Path:
    """Two bright cells, of which the network makes boxes of 16 × 16.

    One goes a cell to the right every other frame; one stands, and is away in frames 12 to 15.
    """
    with VideoWriter(path, width=SIDE, height=SIDE, frame_rate=25, crf=10) as writer:
        for i in range(30):
            image = np.zeros((SIDE, SIDE, 3), np.uint8)
            image[32:40, 8 * (i // 2) : 8 * (i // 2) + 8] = 255
            if not 11 <= i <= 14:
                image[80:88, 64:72] = 255
            writer.write(image, i / 25)
    return path


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    folder = tmp_path_factory.mktemp("kit")
    bundle = write_bundle(folder / "spots", classes=["spot"])
    return Kit(folder, bundle, moving_clip(folder / "clip.mp4"), detector_of(bundle))


def detector_of(model: Path, preset: Preset | None = None) -> Detector:
    bundle, _ = find_bundle(model)
    return open_detector(bundle, DetectorSettings(preset=preset), None)


@contextmanager
def serving(
    detector: Detector,
    *,
    token: str | None = None,
    jobs: Any = None,
    size: tuple[int, int] = (SIDE, SIDE),
    **settings: Any,
) -> Iterator[str]:
    """The real server on a free port; its address."""
    chosen = Settings(serve=ServeSettings(**settings))
    app = make_app(detector, chosen, ModelInfo("spots", "1", *size), token=token, jobs=jobs)
    listener = open_socket("127.0.0.1", 0)
    ready = threading.Event()
    server = Server(app, ready=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(20)
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def url(kit: Kit) -> Iterator[str]:
    with serving(kit.detector) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, encoding="png") as made:
        yield made


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Call]:
    monkeypatch.chdir(tmp_path)
    yield caller(capsys, "remote", "track")
    assert [t.name for t in threading.enumerate() if t.name.startswith("motrail-remote")] == []


@pytest.fixture(scope="module")
def expected(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """The track file of `motrail track` with these flags."""
    from motrail.cli.app import run

    known: dict[tuple[str, ...], bytes] = {}

    def make(*flags: str) -> bytes:
        if flags not in known:
            out = tmp_path_factory.mktemp("local")
            words = ["track", str(kit.clip), "-m", str(kit.bundle), "-o", str(out), "--no-video"]
            assert run([*words, *flags]) == 0
            known[flags] = (out / "clip.txt").read_bytes()
        return known[flags]

    return make


def done(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


def fails(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result
    assert result.out == ""
    assert "(add --debug" not in result.err  # a bug of ours, not a mistake of the user
    last = result.err.splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last


class TestTrack:
    """`motrail remote track`."""

    @pytest.mark.parametrize("where", ["server", "client"])
    @pytest.mark.parametrize("encoding", ["--png", "--raw"])
    def test_the_same_file_as_without_a_server(
        self,
        call: Call,
        url: str,
        kit: Kit,
        expected: Any,
        tmp_path: Path,
        where: str,
        encoding: str,
    ) -> None:
        words = (kit.clip, "--url", url, "-o", "out", "--track", where, encoding)
        done(call(*words))
        assert (tmp_path / "out" / "clip.txt").read_bytes() == expected() != b""
        assert sorted(path.name for path in tmp_path.joinpath("out").iterdir()) == [
            "clip.mp4",
            "clip.txt",
            "labels.txt",
        ]

    @pytest.mark.parametrize("where", ["server", "client"])
    @pytest.mark.parametrize(
        "flags",
        [
            ["--stride", "3", "--start", "4", "--end", "27"],
            ["--match-threshold", "0.5", "--lost-seconds", "0.1"],
            ["--high-threshold", "0.9999", "--no-score-fusion", "--class-mode", "vote"],
        ],
    )
    def test_settings_get_through(
        self, call: Call, url: str, kit: Kit, expected: Any, tmp_path: Path, where: str, flags: Any
    ) -> None:
        done(
            call(
                kit.clip, "--url", url, "-o", "out", "--png", "--no-video", "--track", where, *flags
            )
        )
        assert (tmp_path / "out" / "clip.txt").read_bytes() == expected(*flags) != expected()

    def test_settings_of_a_file_and_of_the_environment_get_through(
        self, call: Call, url: str, kit: Kit, expected: Any, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        (tmp_path / "some.toml").write_text("[tracker]\nmatch_threshold = 0.5\n")
        monkeypatch.setenv("MOTRAIL_TRACKER_LOST_SECONDS", "0.1")
        words = (kit.clip, "--url", url, "-o", "out", "--png", "--no-video", "-c", "some.toml")
        done(call(*words))
        wanted = expected("--match-threshold", "0.5", "--lost-seconds", "0.1")
        assert (tmp_path / "out" / "clip.txt").read_bytes() == wanted

    def test_refined_here(
        self, call: Call, url: str, kit: Kit, expected: Any, tmp_path: Path
    ) -> None:
        """To the last digit where all digits are here; else to the two that are sent."""
        flags = ["--min-length", "3", "--smoothing", "2", "--max-gap", "10"]
        wanted = expected(*flags)
        assert wanted != expected()
        for where in ("client", "server"):
            words = (kit.clip, "--url", url, "-o", where, "--png", "--track", where, *flags)
            done(call(*words))
            found = (tmp_path / where / "clip.txt").read_bytes()
            assert len(found.splitlines()) == len(wanted.splitlines())
            if where == "client":
                assert found == wanted
            else:
                a, b = (np.loadtxt(text.splitlines(), delimiter=",") for text in (found, wanted))
                np.testing.assert_allclose(a, b, atol=0.011)
            assert (tmp_path / where / "clip.mp4").exists()

    @pytest.mark.parametrize("where", ["server", "client"])
    @pytest.mark.parametrize("size", [(320, 240), (240, 320), (100, 60)])
    def test_frames_that_are_scaled_down_here(
        self, call: Call, url: str, kit: Kit, tmp_path: Path, size: tuple[int, int], where: str
    ) -> None:
        """The network's input is 128 × 128; what it sees is the same wherever it is scaled."""
        (tmp_path / "frames").mkdir()
        for i in range(12):
            image = np.full((size[1], size[0], 3), 60, np.uint8)
            side = size[0] // 5
            image[5 : 5 + side, 3 * i : 3 * i + side] = 255
            image[-side - 3 : -3, -side - 7 : -7] = 250
            assert cv2.imwrite(str(tmp_path / "frames" / f"{i:02}.png"), image)
        from motrail.cli.app import run

        assert run(["track", "frames", "-m", str(kit.bundle), "-o", "local", "--no-video"]) == 0
        words = ("frames", "--url", url, "-o", "out", "--no-video", "--track", where)
        done(call(*words, "--png", "--fit"))
        wanted = (tmp_path / "local" / "frames.txt").read_bytes()
        assert (tmp_path / "out" / "frames.txt").read_bytes() == wanted != b""

    @pytest.mark.parametrize(
        ("absent", "words"),
        [
            ("onnxruntime", None),
            ("httpx", "'httpx' is needed for this and not installed"),
            ("av", "'av' is needed for this and not installed"),
        ],
    )
    def test_what_has_to_be_installed(
        self, url: str, kit: Kit, tmp_path: Path, absent: str, words: str | None
    ) -> None:
        """No network is needed here, also where a video is drawn."""
        code = (
            "import sys\n"
            "class Wall:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name.partition('.')[0] == sys.argv[1]:\n"
            "            raise ModuleNotFoundError(name, name=name)\n"
            "sys.meta_path.insert(0, Wall())\n"
            "from motrail.cli import main\n"
            "main(sys.argv[2:])"
        )
        command = ["remote", "track", str(kit.clip), "--url", url, "-o", str(tmp_path / "out")]
        ended = subprocess.run(
            [sys.executable, "-c", code, absent, *command],
            capture_output=True,
            text=True,
            check=False,
        )
        if words is None:
            assert (ended.returncode, ended.stderr) == (0, "")
        else:
            advice = 'run: pip install "motrail[remote,video]"'
            assert (ended.returncode, ended.stderr) == (1, f"error: {words}; {advice}\n")

    def test_jpeg_is_near(
        self, call: Call, url: str, kit: Kit, expected: Any, tmp_path: Path
    ) -> None:
        done(call(kit.clip, "--url", url, "-o", "out", "--no-video"))
        tracks = read_all_tracks((tmp_path / "out" / "clip.txt").read_bytes())
        wanted = read_all_tracks(expected())
        assert abs(len(tracks) - len(wanted)) <= 0.2 * len(wanted)

    def test_what_is_said(self, call: Call, url: str, kit: Kit) -> None:
        result = done(call(kit.clip, "--url", url, "-o", "out", "--png"))
        assert result.err == ""
        lines = result.out.splitlines()
        assert lines[0].startswith(" frames  30 in ")
        assert lines[0].endswith(f" fps on cpu of {url}")
        assert [line.split()[0] for line in lines] == ["frames", "tracks", *["written"] * 3]
        document = json.loads(done(call(kit.clip, "--url", url, "--json", "--no-video")).out)
        assert document["frames"] == 30
        assert document["url"] == url
        assert document["files"] == {
            "labels": "runs/clip/labels.txt",
            "tracks": "runs/clip/clip.txt",
        }
        assert set(document["settings"]) == {"tracker", "refine", "video"}

    def test_nothing_to_track(self, call: Call, url: str, tmp_path: Path) -> None:
        (tmp_path / "dark").mkdir()
        for number in range(3):
            cv2.imwrite(str(tmp_path / "dark" / f"{number}.png"), spots_picture([]))
        result = done(call("dark", "--url", url, "-o", "out"))
        assert "note: nothing was tracked; is it the right model" in result.err
        assert (tmp_path / "out" / "dark.txt").read_bytes() == b""

    @pytest.mark.parametrize("where", ["server", "client"])
    def test_frames_too_large_for_the_server(
        self, call: Call, kit: Kit, tmp_path: Path, where: str
    ) -> None:
        with serving(kit.detector, max_frame_mb=0.001) as url:
            result = call(kit.clip, "--url", url, "-o", "out", "--raw", "--track", where)
        fails(result, 1, "does not fit a request", "413 too_large", "--job", "--jpeg-quality")
        assert not list((tmp_path / "out").iterdir())

    def test_the_tracker_settings_of_the_model(self, call: Call, kit: Kit, tmp_path: Path) -> None:
        """Where the server tells them, as it does for its own sessions."""
        answer = {"classes": ["spot"], "device": "cpu", "tracker": {"match_threshold": 0.5}}
        script = Script({"/model": [(200, {}, json.dumps(answer).encode())]})
        with script.serving() as url:
            result = call(
                kit.clip, "--url", url, "-o", "out", "--track", "client", "--json", "--no-video"
            )
        assert json.loads(done(result).out)["settings"]["tracker"]["match_threshold"] == 0.5

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (["--png", "--raw"], ["expected one of --png and --raw"]),
            (["--in-flight", "0"], ["--in-flight: expected 1 to 64, found 0"]),
            (["--job-after", "-1"], ["--job-after: expected minutes from 0"]),
            (["--job", "--track", "client"], ["--job: the server tracks in jobs"]),
            (["--jpeg-quality", "0"], ["jpeg_quality: expected 1 to 100, found 0"]),
            (["--token-file", "no.txt"], ["--token-file no.txt: cannot be read"]),
            (["--match-threshold", "7"], ["match_threshold: expected from 0 to 1"]),
            (["-o", "out", "--url", "gpu:8080"], ["expected an address such as http://host"]),
        ],
    )
    def test_wrong_use(
        self, call: Call, url: str, kit: Kit, flags: list[str], words: list[str]
    ) -> None:
        there = [] if "--url" in flags else ["--url", url]
        fails(call(kit.clip, *there, *flags), 1 if "--url" in flags else 2, *words)

    def test_nobody_there(self, call: Call, kit: Kit, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        result = call(kit.clip, "--url", f"http://127.0.0.1:{port}", "-o", "out")
        fails(result, 1, f"http://127.0.0.1:{port}: cannot be reached", "is a motrail server")
        assert not (tmp_path / "out" / "clip.txt").exists()

    def test_the_token(self, call: Call, kit: Kit, tmp_path: Path) -> None:
        (tmp_path / "token.txt").write_text("secret-1\n")
        with serving(kit.detector, token="secret-1") as url:  # noqa: S106
            fails(call(kit.clip, "--url", url, "-o", "out"), 1, "401")
            done(call(kit.clip, "--url", url, "-o", "out", "--token-file", "token.txt"))

    def test_a_server_that_does_not_say_its_size(self, call: Call, kit: Kit) -> None:
        script = Script({"/model": [(200, {}, b'{"classes": ["spot"]}')]})
        with script.serving() as url:
            words = (kit.clip, "--url", url, "-o", "out", "--track", "client", "--fit")
            fails(call(*words), 1, "does not say the size", "without --fit")

    @pytest.mark.timeout(60)
    def test_ctrl_c_closes_the_session(self, kit: Kit, tmp_path: Path) -> None:
        """Of a run that would go on for long; there is room for one session."""
        (tmp_path / "long").mkdir()
        cv2.imwrite(str(tmp_path / "one.png"), spots_picture([10]))
        for number in range(5000):
            (tmp_path / "long" / f"{number:04}.png").symlink_to(tmp_path / "one.png")
        with serving(kit.detector, sessions=1, session_seconds=1000) as url:
            words = ["remote", "track", "long", "--url", url, "-o", "out", "--no-video"]
            process = subprocess.Popen(
                [sys.executable, "-m", "motrail", *words],
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                text=True,
            )
            with HttpTransport(url) as transport:
                while b"\nmotrail_frames_total 0.0" in transport.request("GET", "/metrics").body:
                    assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
            assert (process.returncode, said) == (
                130,
                "interrupted; nothing was left half-written\n",
            )
            assert list(tmp_path.glob("out/*")) == []
            with Client(url, patience=0) as client, client.session() as session:
                assert session.id

    def test_the_session_is_closed_in_the_end(self, call: Call, kit: Kit) -> None:
        with serving(kit.detector, sessions=1, session_seconds=1000) as url:
            for _ in range(2):  # there is room for one
                done(call(kit.clip, "--url", url, "-o", "out", "--no-video"))


def test_real_footage(call: Call, data: Path, tmp_path: Path) -> None:
    """Dozens of people, 1280 × 720, through a network of 416 × 416: the same file every way."""
    from motrail.cli.app import run

    model, clip = data / "models" / "yolox_nano.onnx", data / "videos" / "walking.mp4"
    some = [str(clip), "--no-video", "--end", "10", "-o"]
    assert run(["track", *some, "local", "-m", str(model), "--preset", "yolox"]) == 0
    with serving(detector_of(model, "yolox"), size=(416, 416)) as url:
        ways = {"server": [], "client": ["--track", "client"]}
        ways |= {f"{way}-fit": [*flags, "--fit"] for way, flags in ways.items()}
        for name, flags in ways.items():
            done(call(*some, name, "--url", url, "--png", *flags))
    files = {(tmp_path / way / "walking.txt").read_bytes() for way in ("local", *ways)}
    assert len(files) == 1
    assert files.pop().count(b"\n") > 50


class TestDetect:
    def test_as_the_detector_itself(self, client: Client, kit: Kit) -> None:
        picture = spots_picture([10, 61.5])
        found = client.detect(picture)
        assert found == kit.detector.detect(picture)
        assert len(found) > 0

    def test_several(self, client: Client, kit: Kit) -> None:
        pictures = [spots_picture([3 * i, 90 - i]) for i in range(12)]
        found = client.detect(pictures)
        assert found == [kit.detector.detect(picture) for picture in pictures]
        assert client.detect([]) == []

    def test_a_file_as_it_is(self, client: Client, kit: Kit) -> None:
        picture = spots_picture([10])
        content = cv2.imencode(".png", picture)[1].tobytes()
        assert client.detect(content) == kit.detector.detect(picture)

    def test_an_empty_picture(self, client: Client) -> None:
        assert client.detect(spots_picture([])) == Detections.empty()

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((4, 4), np.uint8), r"image: expected uint8, .*found uint8 \(4, 4\)"),
            (np.zeros((4, 4, 3)), "found float64"),
            (np.zeros((0, 4, 3), np.uint8), r"found uint8 \(0, 4, 3\)"),
            (b"", "found 0 bytes"),
        ],
    )
    def test_no_picture(self, client: Client, image: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            client.detect(image)

    def test_a_broken_file(self, client: Client) -> None:
        with pytest.raises(RemoteError, match="400") as caught:
            client.detect(b"\xff\xd8\xff broken")
        assert caught.value.status == 400
        assert caught.value.code
        assert caught.value.request_id

    def test_model_and_ping(self, client: Client) -> None:
        client.ping()
        model = client.model()
        assert (model.name, model.version, model.classes) == ("spots", "1", ("spot",))
        assert (model.width, model.height, model.device) == (SIDE, SIDE, "cpu")
        assert motrail.Client is Client


class TestSession:
    def rows(self, path: Path, tracked: Iterator[tuple[int, Any]]) -> bytes:
        with TrackFileWriter(path) as writer:
            for number, tracks in tracked:
                writer.write(number, tracks)
        return path.read_bytes()

    def test_frame_by_frame(self, client: Client, kit: Kit, expected: Any, tmp_path: Path) -> None:
        with client.session(frame_rate=25) as session, open_source(kit.clip) as frames:
            found = self.rows(
                tmp_path / "rows.txt", ((f.number, session.update(f.image)) for f in frames)
            )
        assert found == expected()

    @pytest.mark.parametrize("in_flight", [1, 7])
    def test_streamed(
        self, client: Client, kit: Kit, expected: Any, tmp_path: Path, in_flight: int
    ) -> None:
        with (
            client.session(frame_rate=25, in_flight=in_flight) as session,
            open_source(kit.clip) as frames,
        ):
            results = ((f.number, tracks) for f, tracks in session.stream(frames))
            assert self.rows(tmp_path / "rows.txt", results) == expected()
            assert session.last == 30

    def test_numbers(self, client: Client) -> None:
        picture = spots_picture([10])
        with client.session(stride=5) as session:
            tracks = session.update(picture)
            assert session.last == 1
            session.update(picture)
            assert session.last == 6
            session.update(picture, frame=9)
            assert session.last == 9
            with pytest.raises(DataError, match="expected a number above 9, found 9"):
                session.update(picture, frame=9)
            with pytest.raises(DataError, match="expected numbers above 9, found 3"):
                list(session.stream([Frame(3, picture, 0.0)]))
            assert session.update(picture).ids.tolist() == tracks.ids.tolist()
            assert session.last == 14

    def test_a_refused_frame_changes_nothing(self, client: Client) -> None:
        with client.session() as session:
            tracks = session.update(spots_picture([10]))
            with pytest.raises(RemoteError, match="400"):
                session.update(b"no picture")
            assert session.last == 1
            assert session.update(spots_picture([10])).ids.tolist() == tracks.ids.tolist() != []

    def test_settings(self, client: Client) -> None:
        with client.session(tracker={"new_track_threshold": 1.0, "high_threshold": 1.0}) as session:
            assert len(session.update(spots_picture([10]))) == 0
        with (
            pytest.raises(RemoteError, match="400 bad_setting"),
            client.session(tracker={"nonsense": 1}),
        ):
            pass

    def test_closed_sessions_are_gone(self, client: Client) -> None:
        with client.session() as session:
            name = session.id
            session.close()
            with pytest.raises(RemoteError, match="the session is not open"):
                session.update(spots_picture([10]))
            session.id = name
            with pytest.raises(RemoteError, match="404 unknown_session"):
                session.update(spots_picture([10]))

    @pytest.mark.timeout(20)  # the server would wait for 30 s
    def test_an_error_ends_a_stream_at_once(self, client: Client) -> None:
        """Frames behind the broken one wait for it on the server, and nobody waits for them."""
        good = spots_picture([10])

        def frames() -> Iterator[Frame]:
            yield Frame(1, good, 0.0)
            yield Frame(2, np.zeros((4, 4), np.uint8), 0.0)  # never gets there
            for number in range(3, 40):
                yield Frame(number, good, 0.0)

        with (
            client.session(in_flight=4) as session,
            pytest.raises(DataError, match="image: expected uint8"),
        ):
            list(session.stream(frames()))

    def test_leaving_a_stream_early(self, client: Client) -> None:
        picture = spots_picture([10])
        with client.session() as session:
            stream = session.stream(Frame(i, picture, 0.0) for i in range(1, 1000))
            assert next(stream)[0].number == 1
            stream.close()

    def test_through_another_transport(self) -> None:
        """Whatever carries a body to a model and the answer back will do."""

        class Endpoint:
            def __init__(self) -> None:
                self.said: list[tuple[str, bytes, dict[str, str]]] = []

            def invoke(
                self, content_type: str, body: bytes, headers: Mapping[str, str], *, again: bool
            ) -> Answer:
                self.said.append((content_type, body, dict(headers)))
                if headers[SESSION] == "NEW_SESSION":
                    opened = {"x-amzn-sagemaker-new-session-id": "ab-1; Expires=2026-11-23T16:00Z"}
                    return Answer(200, opened, b"{}")
                return Answer(200, {}, b"1,7,1.00,2.00,3.00,4.00,0.9000,2,-1\n")

            def abort(self) -> None:
                raise AssertionError

        endpoint = Endpoint()
        with Session(endpoint, encoder("raw"), {"frame_rate": 25.0}) as session:
            tracks = session.update(spots_picture([1]))
        assert tracks.ids.tolist() == [7]
        assert tracks.boxes_xyxy.tolist() == [[1, 2, 4, 6]]
        assert tracks.class_ids.tolist() == [1]
        said = [(kind, headers.get(ATTRIBUTES)) for kind, _, headers in endpoint.said]
        assert said == [
            ("application/x-image", "frame_rate=25.0"),
            ("application/x-npy", "frame=1"),
            ("application/x-image", "close=true"),
        ]
        assert [headers[SESSION] for _, _, headers in endpoint.said][1:] == ["ab-1", "ab-1"]


SESSION = "X-Amzn-SageMaker-Session-Id"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


class Script:
    """A server that answers as told: status, headers, body; or None to hang up instead."""

    def __init__(self, answers: dict[str, list[tuple[int, dict[str, str], bytes] | None]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[str]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.asked.append(self.path)
                left = script.answers.get(self.path, [(200, {}, b"")])
                told = left.pop(0) if len(left) > 1 else left[0]
                if told is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers, body = told
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()


BUSY = (503, {"Retry-After": "0"}, b'{"error": {"code": "busy", "message": "the queue is full"}}')
ROW = b"1,-1,1.5,2.0,3.0,4.0,0.5,1,-1\n"
PICTURE = np.zeros((2, 2, 3), np.uint8)


class TestTransport:
    def test_a_busy_server_is_asked_again(self) -> None:
        script = Script({"/invocations": [BUSY, BUSY, (200, {}, ROW)]})
        with script.serving() as url, Client(url) as client:
            assert client.detect(PICTURE).boxes_xyxy.tolist() == [[1.5, 2, 4.5, 6]]
        assert len(script.asked) == 3

    def test_but_not_forever(self) -> None:
        script = Script({"/invocations": [BUSY]})
        with script.serving() as url, Client(url, patience=0.3) as client:
            with pytest.raises(RemoteError, match=r"the queue is full \(503 busy\)") as caught:
                client.detect(PICTURE)
            assert caught.value.code == "busy"
        assert len(script.asked) > 2

    def test_a_broken_connection_is_tried_again_where_that_is_safe(self) -> None:
        script = Script({"/invocations": [None, None, (200, {}, ROW)]})
        with script.serving() as url, Client(url) as client:
            assert len(client.detect(PICTURE)) == 1
        assert len(script.asked) == 3

    def test_a_frame_of_a_session_is_not_sent_twice(self) -> None:
        opened = (200, {"X-Amzn-SageMaker-New-Session-Id": "a"}, b"{}")
        script = Script({"/invocations": [opened, None, (200, {}, b"")]})
        with script.serving() as url, Client(url) as client, client.session() as session:
            with pytest.raises(RemoteError, match="the connection broke"):
                session.update(PICTURE)
            assert len(script.asked) == 2
            assert session.last == 0
        assert len(script.asked) == 3  # it is closed all the same

    def test_a_frame_of_a_session_that_was_refused_is(self) -> None:
        opened = (200, {"X-Amzn-SageMaker-New-Session-Id": "a"}, b"{}")
        script = Script({"/invocations": [opened, BUSY, (200, {}, b"")]})
        with script.serving() as url, Client(url) as client, client.session() as session:
            assert len(session.update(PICTURE)) == 0

    def test_a_connection_that_cannot_be_made_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        script, stack = Script({}), ExitStack()

        class Waiting(threading.Event):
            waits: ClassVar[list[float | None]] = []

            def wait(self, timeout: float | None = None) -> bool:
                self.waits.append(timeout)
                if len(self.waits) == 2:
                    stack.enter_context(script.serving(port))
                return False

        with stack, HttpTransport(f"http://127.0.0.1:{port}") as transport:
            monkeypatch.setattr(transport, "_woken", Waiting())
            transport.request("POST", "/invocations", b"", again=False)
        assert Waiting.waits == [0.2, 0.4]
        assert script.asked == ["/invocations"]

    def test_but_only_four_times(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        monkeypatch.setattr("motrail.remote.transport._FIRST_WAIT", 0.001)
        with Client(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(RemoteError, match="cannot be reached") as caught:
                client.ping()
            assert caught.value.status is None

    def test_no_answer_in_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with (
                Client(url, timeout=0.2) as client,
                pytest.raises(RemoteError, match=r"gave no answer within 0\.2 s"),
            ):
                client.ping()

    def test_what_is_under_way_can_be_given_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with HttpTransport(url) as transport:
                timer = threading.Timer(0.3, transport.abort)
                timer.start()
                with pytest.raises(RemoteError, match="the connection broke"):
                    transport.request("GET", "/ping")
                timer.join()

    @pytest.mark.parametrize(
        ("status", "body", "message"),
        [
            (404, b"<h1>Not\nfound</h1>", "refused: <h1>Not found</h1> (404)"),
            (500, b"", "refused: without a reason (500)"),
            (400, b'{"error": {"code": "bad", "message": "no"}}', "no (400 bad)"),
            (400, b'{"error": "no"}', 'refused: {"error": "no"} (400)'),
        ],
    )
    def test_refusals(self, status: int, body: bytes, message: str) -> None:
        script = Script({"/ping": [(status, {"X-Request-Id": "r1"}, body)]})
        with (
            script.serving() as url,
            Client(url) as client,
            pytest.raises(RemoteError) as caught,
        ):
            client.ping()
        assert str(caught.value) == f"{url}: {message}"
        assert (caught.value.status, caught.value.request_id) == (status, "r1")

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (b"<html>", "expected JSON in the server's answer"),
            (b"[]", "expected a model in the server's answer"),
            (b'{"classes": 3}', "expected a model in the server's answer"),
        ],
    )
    def test_another_server(self, answer: bytes, message: str) -> None:
        script = Script({"/model": [(200, {}, answer)]})
        with (
            script.serving() as url,
            Client(url) as client,
            pytest.raises(RemoteError, match=message),
        ):
            client.model()

    def test_an_empty_page_is_no_empty_frame(self) -> None:
        html = {"Content-Type": "text/html; charset=utf-8"}
        script = Script({"/invocations": [(200, html, b""), (302, {"Location": "/"}, b"")]})
        with script.serving() as url, Client(url) as client:
            with pytest.raises(
                RemoteError, match="expected text/csv from the server, found text/html"
            ):
                client.detect(PICTURE)
            with pytest.raises(RemoteError, match=r"refused: without a reason \(302\)"):
                client.detect(PICTURE)

    def test_a_server_below_a_path(self) -> None:
        script = Script({"/deep/ping": [(200, {}, b"")]})
        with script.serving() as url, Client(f"{url}/deep/") as client:
            client.ping()
        assert script.asked == ["/deep/ping"]

    @pytest.mark.parametrize("address", ["", "gpu:8080", "ftp://gpu", "http://", "http://a:b"])
    def test_addresses(self, address: str) -> None:
        with pytest.raises(RemoteError, match="expected an address such as http://host:8080"):
            Client(address)

    @pytest.mark.parametrize("token", ["", "two words", "t\u00f6ken", "a\nb"])
    def test_tokens(self, token: str) -> None:
        with pytest.raises(RemoteError, match="token: expected visible ASCII characters"):
            Client("http://a", token=token)


class TestMessages:
    def test_attributes(self) -> None:
        values = {"frame": 3, "close": True, "tracker.lost_seconds": None, "frame_rate": 29.97}
        assert attributes(values) == {
            ATTRIBUTES: "frame=3;close=true;tracker.lost_seconds=;frame_rate=29.97"
        }
        assert attributes({}) == {}

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"a": "x;b=1"}, "a: expected ASCII characters without ';'"),
            ({"a": "é"}, "a: expected ASCII"),
            ({"a": "x" * 1100}, "expected at most 1024 characters to be sent, found 1102"),
        ],
    )
    def test_what_cannot_be_said(self, values: dict[str, object], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            attributes(values)

    def test_encodings(self) -> None:
        picture = spots_picture([20, 50])
        for name in ("png", "raw"):
            kind, body = encoder(name)(picture)
            if name == "raw":
                assert kind == "application/x-npy"
                continue
            assert kind == "image/png"
            read = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(read, picture)
        small, large = (len(encoder("jpeg", quality)(picture)[1]) for quality in (20, 95))
        assert small < large
        with pytest.raises(ConfigError, match="encoding: expected jpeg, png or raw, found 'gif'"):
            encoder("gif")  # type: ignore[arg-type]

    def test_every_digit_of_a_detection(self) -> None:
        """As the detection files have them: left + width is the right edge to the last bit."""
        left, right = np.float32(0.1), np.float32(1000.3)
        width = float(right) - float(left)
        row = f"1,-1,{float(left)!r},0.0,{width!r},1.0,{np.float32(0.3)},3,-1\n"
        (found,) = read_detections(row.encode())
        assert found.boxes_xyxy[0].tolist() == [float(left), 0.0, float(right), 1.0]
        assert found.scores[0] == np.float32(0.3)
        assert found.class_ids.tolist() == [2]

    @pytest.mark.parametrize(
        "body", [b"<html>", b"1,2,3\n", b"1,2,3,4,5,6,7,8,x\n", "1,é".encode(), b"\n"]
    )
    def test_no_rows(self, body: bytes) -> None:
        with pytest.raises(RemoteError, match="expected rows of 9 numbers"):
            read_all_tracks(body)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"1,2,3,4,5,6,nan,1,-1\n", "finite numbers"),
            (b"1,2,3,4,-5,6,1,1,-1\n", "no list of tracks"),
            (b"2,2,3,4,5,6,1,1,-1\n1,2,3,4,5,6,1,1,-1\n", "no list of tracks: frames"),
        ],
    )
    def test_rows_that_are_no_tracks(self, body: bytes, message: str) -> None:
        with pytest.raises(RemoteError, match=message):
            read_all_tracks(body)


class TestVideo:
    def test_in_one_request(self, client: Client, kit: Kit, expected: Any, tmp_path: Path) -> None:
        assert client.track(kit.clip) == expected()
        flags = {"tracker": {"match_threshold": 0.5, "lost_seconds": 0.1}}
        wanted = expected("--match-threshold", "0.5", "--lost-seconds", "0.1")
        assert client.track(kit.clip, settings=flags) == wanted
        document = json.loads(client.track(kit.clip, "application/json"))
        assert (document["frames"], document["classes"]) == (30, ["spot"])
        client.annotate(kit.clip, tmp_path / "drawn.mp4")
        with open_source(tmp_path / "drawn.mp4") as drawn:
            assert drawn.expected_frames == 30
        assert [path.name for path in tmp_path.iterdir()] == ["drawn.mp4"]

    def test_what_is_no_video(self, client: Client, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match="no.mp4: expected a video file, found none"):
            client.track(tmp_path / "no.mp4")
        (tmp_path / "text.mp4").write_text("not a video")
        with pytest.raises(RemoteError, match="400 bad_video"):
            client.track(tmp_path / "text.mp4")
        with pytest.raises(RemoteError, match="400 bad_video"):
            client.annotate(tmp_path / "text.mp4", tmp_path / "out.mp4")
        assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


@pytest.fixture(scope="module")
def jobs(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that takes jobs, of videos of up to 1 MiB."""
    folder = tmp_path_factory.mktemp("jobs")
    limits = ServeSettings(jobs_folder=str(folder), max_video_mb=1.0, allow=(str(kit.folder),))
    made = Jobs(read_bundle(kit.bundle), None, Settings(serve=limits), limits)
    with serving(kit.detector, jobs=made, max_video_mb=1.0) as address:
        yield address


def remaining(url: str) -> list[Any]:
    with HttpTransport(url) as transport:
        found: list[Any] = json.loads(transport.request("GET", "/jobs").body)["jobs"]
    return found


class TestJobs:
    def test_settings_get_through(
        self, call: Call, jobs: str, kit: Kit, expected: Any, tmp_path: Path
    ) -> None:
        """Refined there, where all digits are."""
        flags = ["--match-threshold", "0.5", "--lost-seconds", "0.1", "--start", "3", "--stride"]
        flags += ["2", "--smoothing", "2", "--min-length", "3", "--crf", "30"]
        words = (kit.clip, "--url", jobs, "-o", "out", "--job", "--no-video", *flags)
        result = done(call(*words, "--json"))
        assert (tmp_path / "out" / "clip.txt").read_bytes() == expected(*flags) != b""
        assert json.loads(result.out)["frames"] == 14

    def test_long_videos_go_by_themselves(
        self, call: Call, jobs: str, url: str, kit: Kit, expected: Any, tmp_path: Path
    ) -> None:
        words = (kit.clip, "-o", "out", "--png", "--job-after", "0.01")
        result = done(call(*words, "--url", jobs, "--json"))
        assert result.err == (
            "note: clip.mp4 is long and goes as a job; --no-job sends it frame by frame\n"
        )
        assert json.loads(result.out)["frames"] == 30
        assert (tmp_path / "out" / "clip.txt").read_bytes() == expected()
        with open_source(tmp_path / "out" / "clip.mp4") as drawn:
            assert drawn.expected_frames == 30
        assert remaining(jobs) == []
        for more in (["--url", jobs, "--no-job"], ["--url", url]):
            assert done(call(*words, *more, "--no-video")).err == ""

    def test_too_large_for_a_job(self, call: Call, kit: Kit, tmp_path: Path) -> None:
        limits = ServeSettings(jobs_folder=str(tmp_path / "jobs"), max_video_mb=0.001)
        made = Jobs(read_bundle(kit.bundle), None, Settings(serve=limits), limits)
        with serving(kit.detector, jobs=made) as address:
            words = (kit.clip, "-o", "out", "--no-video", "--url", address)
            said = done(call(*words, "--job-after", "0.01")).err
            assert "note: it is too large for a job there and goes frame by frame: " in said
            fails(call(*words, "--job"), 1, "413 too_large")

    def test_wrong_use(self, call: Call, jobs: str, url: str, kit: Kit, tmp_path: Path) -> None:
        fails(call(kit.clip, "--url", url, "-o", "out", "--job"), 1, "takes no jobs", "jobs_folder")
        (tmp_path / "frames").mkdir()
        cv2.imwrite(str(tmp_path / "frames" / "1.png"), spots_picture([10]))
        fails(call("frames", "--url", jobs, "--job"), 2, "expected a video file for --job")

    def test_a_job_that_fails(self, call: Call, jobs: str, kit: Kit, tmp_path: Path) -> None:
        with Client(jobs) as client:
            (tmp_path / "bad.mp4").write_text("no video")
            job = client.submit(tmp_path / "bad.mp4")
            with pytest.raises(RemoteError, match=f"job {job.id}: failed: "):
                job.wait()
            with pytest.raises(RemoteError, match="409"):
                job.result()
            job.cancel()

    def test_from_python(self, jobs: str, kit: Kit, expected: Any, tmp_path: Path) -> None:
        seen: list[str] = []
        with Client(jobs) as client:
            assert client.has_jobs()
            job = client.submit(kit.clip, outputs=["csv", "mp4"], key="k1")
            assert client.submit(kit.clip, outputs=["csv", "mp4"], key="k1").id == job.id
            state = job.wait(lambda now: seen.append(now.state))
            assert (state.state, state.frames, state.error) == ("done", 30, None)
            assert seen[-1] == "done"
            assert job.result() == expected()
            assert len(client.job(job.id).result("application/jsonl").splitlines()) == 30
            job.save(tmp_path / "drawn.mp4")
            with open_source(tmp_path / "drawn.mp4") as drawn:
                assert drawn.expected_frames == 30
            job.cancel()
            with pytest.raises(RemoteError, match="410 removed|404 unknown_job"):
                job.result()

    def test_a_source_that_lies_there(self, jobs: str, kit: Kit, expected: Any) -> None:
        settings = {"tracker": {"match_threshold": 0.5, "lost_seconds": 0.1}}
        with Client(jobs) as client:
            job = client.submit(source=str(kit.clip), settings=settings, name="night")
            job.wait()
            assert job.result() == expected("--match-threshold", "0.5", "--lost-seconds", "0.1")
            job.cancel()
            with pytest.raises(RemoteError, match="40"):
                client.submit(source="/etc/passwd")
            with pytest.raises(DataError, match="expected either a video or a source"):
                client.submit()

    def test_not_done_in_time(self) -> None:
        state = {"id": "j", "state": "running", "frames": None, "error": None}
        script = Script({"/jobs/j": [(200, {}, json.dumps(state).encode())]})
        with script.serving() as url, Client(url) as client:
            job = client.job("j")
            assert job.state().frames == 0
            with pytest.raises(RemoteError, match=r"job j: not done after 0\.05 s; it goes on"):
                job.wait(timeout=0.05)
        script = Script({"/jobs/j": [(200, {}, b"{}")]})
        with (
            script.serving() as url,
            Client(url) as client,
            pytest.raises(RemoteError, match="expected a job in the server's answer"),
        ):
            client.job("j").state()

    def test_another_video_than_was_sent(self, kit: Kit, tmp_path: Path) -> None:
        """The result names a frame that is not there."""
        from motrail.remote.job import JobState
        from motrail.remote.track import Order, collect

        row = b"31,1,4.00,28.00,16.00,16.00,0.9000,1,-1\n"
        model = json.dumps({"classes": ["spot"]}).encode()
        script = Script({"/jobs/j/result": [(200, {}, row)], "/model": [(200, {}, model)]})
        order = Order(Settings(), {}, tmp_path / "out")
        with (
            script.serving() as url,
            Client(url) as client,
            open_source(kit.clip) as source,
            pytest.raises(VideoError, match="tracked frame 31, which is not read here"),
        ):
            collect(client.job("j"), JobState("j", "done", 31), source, client, order)
        assert list((tmp_path / "out").iterdir()) == []


def test_the_document(jobs: str, kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """The functions of docs/remote.md do what they say."""
    document = (Path(__file__).parents[1] / "docs" / "remote.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "remote.md", "exec"), names)  # noqa: S102
    picture = spots_picture([8])
    ids = list(names["watch"](jobs, [picture] * 3))
    assert len(ids) == 3
    assert ids[0] == ids[2] != []
    assert names["count"](jobs, picture) == {"spot": len(kit.detector.detect(picture))}
    assert names["overnight"](jobs, kit.clip).count(b"\n") > 30
    assert capsys.readouterr().out.endswith("30 of 30\n")
