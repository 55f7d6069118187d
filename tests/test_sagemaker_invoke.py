"""Frames, sessions and videos through endpoints: the tracks of `motrail track`, and what fails."""

from __future__ import annotations

import dataclasses
import json
import shlex
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import pytest

from commands import caller
from models import SIDE, spots_clip, spots_picture
from motrail.cli.app import run
from motrail.config import RefineSettings, Settings
from motrail.errors import ConfigError, FormatError
from motrail.remote.client import Client
from motrail.remote.problems import RemoteError
from motrail.remote.track import Order, track_by_frames, write_whole
from motrail.sagemaker import endpoint_transport, receipt
from motrail.sagemaker.endpoint import deploy
from motrail.sagemaker.endpoint_transport import MAX_BYTES, EndpointTransport
from motrail.sagemaker.invoke import InvokeError, forget, open_client, submit, wait, whole_at_once
from motrail.sagemaker.receipt import Waiting
from motrail.sagemaker.removal import remove_object
from motrail.sagemaker.request import CloudError, Request, split_uri
from motrail.video.read import open_source
from sagemaker_endpoints import PROJECT, SETTINGS, bundle, deployment, message, real
from served import Told, error_of, serving, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sagemaker_shapes import CheckedRehearsal


class Kit(NamedTuple):
    """Endpoints of three kinds, and a clip with its tracks."""

    cloud: CheckedRehearsal
    clip: Path
    tracks: bytes
    refined: bytes


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("kit")
    model = bundle(folder / "spots")
    clip = spots_clip(folder / "clip.mp4", frames=20)
    rows = []
    for name, more in (("plain", []), ("refined", ["--min-length", "6"])):
        words = ["track", clip, "-m", model.path, "-o", folder / name, "--no-video", *more]
        assert run([str(word) for word in words]) == 0
        rows.append((folder / name / "clip.txt").read_bytes())
    assert rows[0]
    assert rows[0] != rows[1]
    with real(folder / "cloud") as cloud:
        for kind, name in (("realtime", "eye"), ("async", "night"), ("serverless", "less")):
            deploy(cloud, PROJECT, SETTINGS, deployment(model, kind, name), lambda _line: None)
        yield Kit(cloud, clip, *rows)


def order(output: Path, **given: Any) -> Order:
    return Order(Settings(**given), {name: {"min_length": part.min_length}
                 for name, part in given.items()}, output, video=False)  # fmt: skip


class TestEndpoints:
    @pytest.mark.parametrize("in_flight", [1, 6])
    def test_a_session_tracks(self, kit: Kit, tmp_path: Path, in_flight: int) -> None:
        with open_client(kit.cloud, "eye", encoding="png") as client:
            assert client.model().classes == ("spot",)
            assert not client.has_jobs()
            source = open_source(str(kit.clip))
            track_by_frames(source, client, order(tmp_path / "out"), in_flight=in_flight)
        assert (tmp_path / "out" / "clip.txt").read_bytes() == kit.tracks
        assert (tmp_path / "out" / "labels.txt").read_text() == "spot\n"

    def test_without_sessions_tracking_happens_here(self, kit: Kit, tmp_path: Path) -> None:
        with open_client(kit.cloud, "less", encoding="png") as client:
            source = open_source(str(kit.clip))
            track_by_frames(source, client, order(tmp_path / "out"), where="client")
        assert (tmp_path / "out" / "clip.txt").read_bytes() == kit.tracks

    def test_a_serverless_endpoint_takes_no_session(self, kit: Kit) -> None:
        for session in ("NEW_SESSION", "a1"):
            asked = {"SessionId": session, "EndpointName": "less", "Body": b"{}"}
            with pytest.raises(CloudError, match="less is serverless; sessions are kept by") as no:
                kit.cloud.call(Request("sagemaker-runtime", "InvokeEndpoint", asked))
            assert no.value.code == "ValidationError"
        before = len(kit.cloud.calls)
        with (
            open_client(kit.cloud, "less") as client,
            pytest.raises(RemoteError, match="less: is serverless and keeps no sessions"),
            client.session() as opened,
        ):
            opened.update(spots_picture([20]))
        sent = [each.operation for each in kit.cloud.calls[before:]]
        assert "InvokeEndpoint" not in sent  # it is known here

    def test_a_picture(self, kit: Kit) -> None:
        picture = spots_picture([20])
        with open_client(kit.cloud, "eye", encoding="png") as client:
            found = client.detect(picture)
            good, packed = cv2.imencode(".png", picture)
            assert good
            assert client.detect(packed.tobytes()).scores.tolist() == found.scores.tolist()
        assert len(found)
        assert found.boxes_xyxy[0].tolist()[0] == pytest.approx(20, abs=8)

    def test_a_video_in_one_request(self, kit: Kit, tmp_path: Path) -> None:
        refined = order(tmp_path / "out", refine=RefineSettings(min_length=6))
        with open_client(kit.cloud, "eye") as client:
            whole = whole_at_once(client, "eye", kit.clip, refined)
        write_whole(whole, open_source(str(kit.clip)), refined)
        assert (tmp_path / "out" / "clip.txt").read_bytes() == kit.refined

    def test_a_video_through_s3(self, kit: Kit, tmp_path: Path) -> None:
        before = len(kit.cloud.messages)
        wanted = order(tmp_path / "out")
        waiting = submit(kit.cloud, PROJECT, "night", kit.clip, wanted, 600)
        whole = wait(kit.cloud, PROJECT, "night", waiting)
        # The result was paid for: it stays until it is written here.
        assert waiting.output in [item.uri for item in kit.cloud.objects(waiting.output)]
        write_whole(whole, open_source(str(kit.clip)), wanted)
        forget(kit.cloud, PROJECT, "night", waiting)
        assert (tmp_path / "out" / "clip.txt").read_bytes() == kit.tracks
        assert message(kit.cloud, before)["TopicArn"] == PROJECT.success_topic
        # Nothing stays in S3: neither what went there nor what came of it.
        assert not list(kit.cloud.objects(PROJECT.uri("async", "night")))

    def test_no_video_fails_with_the_containers_words(self, kit: Kit, tmp_path: Path) -> None:
        before = len(kit.cloud.messages)
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(b"no video at all" * 100)
        waiting = submit(kit.cloud, PROJECT, "night", broken, order(tmp_path), 600)
        with pytest.raises(InvokeError, match=r"endpoint night: .*\(bad_video\)"):
            wait(kit.cloud, PROJECT, "night", waiting)
        assert message(kit.cloud, before)["TopicArn"] == PROJECT.error_topic
        assert not list(kit.cloud.objects(PROJECT.uri("async", "night")))

    def test_the_containers_refusal_comes_through(self, kit: Kit) -> None:
        with (
            open_client(kit.cloud, "eye") as client,
            pytest.raises(RemoteError, match=r"endpoint eye: .* \(400 bad_image\)") as caught,
        ):
            client.detect(b"no picture")
        assert (caught.value.status, caught.value.code) == (400, "bad_image")

    def test_a_session_that_is_gone(self, kit: Kit) -> None:
        with open_client(kit.cloud, "eye", encoding="png") as client, client.session() as session:
            session.update(spots_picture([20]))
            session.id = "0" * 32
            with pytest.raises(RemoteError):
                session.update(spots_picture([22]))

    def test_which_endpoints_there_are(self, kit: Kit) -> None:
        with pytest.raises(ConfigError, match="there is no endpoint 'ear' in eu-west-1"):
            open_client(kit.cloud, "ear")
        with pytest.raises(ConfigError, match="endpoint 'night' is asynchronous and takes whole"):
            open_client(kit.cloud, "night")

    def test_what_needs_a_server_of_ours(self, kit: Kit, tmp_path: Path) -> None:
        with open_client(kit.cloud, "eye") as client:
            client.ping()
            for ask in (
                lambda: client.submit(kit.clip),
                lambda: client.job("1"),
                lambda: client.annotate(kit.clip, tmp_path / "a.mp4"),
            ):
                with pytest.raises(RemoteError, match="endpoint eye: a .* needs a motrail server"):
                    ask()


class TestCommand:
    @pytest.fixture
    def call(self, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
        """The commands with the rehearsal that the tests have open."""
        import contextlib

        from motrail.cli.sagemaker import cloud as shared
        from motrail.cli.sagemaker import invoke

        nothing = contextlib.nullcontext(kit.cloud)
        monkeypatch.setattr(shared, "open_cloud", lambda *_: nothing)
        monkeypatch.setattr(invoke, "open_cloud", lambda *_: nothing)
        # The project of these tests has no stack.
        monkeypatch.setattr("motrail.sagemaker.project.find_project", lambda *_: PROJECT)

    @pytest.mark.usefixtures("call")
    def test_what_was_left_is_fetched_by_the_command_that_was_said(
        self,
        kit: Kit,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def interrupted(_seconds: float) -> None:
            raise KeyboardInterrupt

        call = caller(capsys)
        with monkeypatch.context() as patched:
            patched.setattr(kit.cloud, "objects", lambda _uri: iter(()))  # nothing has come yet
            patched.setattr(kit.cloud, "sleep", interrupted)
            words = ("--min-length", "6", "-o", tmp_path / "my out", "--region", "eu-west-1")
            result = call("sagemaker", "invoke", "night", kit.clip, *words)
        assert result.code == 130
        (said,) = [line for line in result.err.splitlines() if line.startswith("  motrail ")]
        command = shlex.split(said)[1:]
        token = command[command.index("--fetch") + 1]
        assert command == [
            "sagemaker", "invoke", "night", str(kit.clip), "--fetch", token,
            "--output", str(tmp_path / "my out"), "--region", "eu-west-1",
        ]  # fmt: skip
        assert not (tmp_path / "my out").exists()
        # The settings are those it was sent with, and no other video takes its place.
        other = spots_clip(tmp_path / "other.mp4", frames=5)
        result = call("sagemaker", "invoke", "night", other, "--fetch", token)
        assert (result.code, "expected the video that was sent, of" in result.err) == (1, True)
        result = call(*command, "--min-length", "9")
        assert (result.code, "leave out --min-length" in result.err) == (2, True)
        result = call(*command)
        assert result.code == 0, result.err
        assert (tmp_path / "my out" / "clip.txt").read_bytes() == kit.refined
        assert not list(kit.cloud.objects(PROJECT.uri("async", "night")))
        result = call(*command)
        assert result.code == 2
        assert f"--fetch {token}: endpoint 'night' has no such request" in result.err

    @pytest.mark.usefixtures("call")
    def test_a_result_that_cannot_be_written_is_fetched_later(
        self, kit: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        full = tmp_path / "full"
        full.write_text("a file")
        result = caller(capsys)("sagemaker", "invoke", "night", kit.clip, "-o", full)
        assert result.code == 1
        (said,) = [line for line in result.err.splitlines() if line.startswith("  motrail ")]
        command = shlex.split(said)[1:]
        command[command.index("--output") + 1] = str(tmp_path / "free")
        assert caller(capsys)(*command).code == 0
        assert (tmp_path / "free" / "clip.txt").read_bytes() == kit.tracks

    @pytest.mark.usefixtures("call")
    @pytest.mark.parametrize("token", ["../../models", "0123", "0123456789ABCDEF", ""])
    def test_no_token(self, kit: Kit, capsys: pytest.CaptureFixture[str], token: str) -> None:
        result = caller(capsys)("sagemaker", "invoke", "night", kit.clip, f"--fetch={token}")
        assert result.code == 2
        assert "--fetch: expected 16 letters and digits as they were shown" in result.err

    @pytest.mark.parametrize(
        "changes",
        [
            {"output": "s3://motrail-rehearsed/models/x"},
            {"output": 3},
            {"token": "0" * 16},
            {"size": True},
            {"settings": {"sagemaker": 3}},
            {"settings": {"unknown": {}}},
            {"more": 1},
        ],
    )
    def test_a_receipt_that_is_not_ours(self, kit: Kit, changes: dict[str, Any]) -> None:
        token = "ab" * 8
        uri = PROJECT.uri("async", "night", "output", "1.out")
        good = Waiting(token, uri, uri, "", 3, 60, {"video": {"stride": 2}})
        place = PROJECT.uri("async", "night", "input", f"{token}.json")
        bucket, key = split_uri(place)
        for content, fine in (({}, True), (changes, False)):
            body = json.dumps(dataclasses.asdict(good) | content).encode()
            put = Request("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": body})
            kit.cloud.call(put)
            if fine:
                assert receipt.read(kit.cloud, PROJECT, "night", token) == good
            else:
                with pytest.raises(FormatError, match="expected the receipt of a request"):
                    receipt.read(kit.cloud, PROJECT, "night", token)
        remove_object(kit.cloud, place)

    @pytest.mark.usefixtures("call")
    @pytest.mark.parametrize(
        ("endpoint", "source", "code", "said"),
        [
            ("eye", "frame.jpg", 1, "frame.jpg: no such file; expected an image"),
            ("night", "frame.jpg", 1, "frame.jpg: no such file; expected an image"),
            ("eye", "clip.avi", 1, "clip.avi: no such file; expected an image, a video, a folder"),
            (
                "night",
                "x.png",
                2,
                "x.png: expected a video file for the asynchronous endpoint nigh",
            ),
            ("eye", "*.jpg", 1, "*.jpg"),
            ("eye", "https://a/b.jpg", 1, "network addresses are not read"),
        ],
    )
    def test_sources_that_are_none(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        endpoint: str,
        source: str,
        code: int,
        said: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "x.png").write_bytes(b"x")
        result = caller(capsys)("sagemaker", "invoke", endpoint, source)
        assert (result.code, said in " ".join(result.err.split())) == (code, True), result.err

    @pytest.mark.usefixtures("call")
    def test_serverless_tracks_here_by_itself(
        self, kit: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("--no-video", "--png", "-o", tmp_path / "out")
        result = caller(capsys)("remote", "track", kit.clip, "--endpoint", "less", *words)
        assert result.code == 0, result.err
        assert "less is serverless and keeps no sessions: tracks are made here" in result.err
        assert (tmp_path / "out" / "clip.txt").read_bytes() == kit.tracks
        words = ("--no-video", "--png", "-o", tmp_path / "invoked")
        result = caller(capsys)("sagemaker", "invoke", "less", kit.clip, *words)
        assert (result.code, "keeps no sessions" in result.err) == (0, True)
        assert (tmp_path / "invoked" / "clip.txt").read_bytes() == kit.tracks
        result = caller(capsys)(
            "remote", "track", kit.clip, "--endpoint", "less", "--track", "server"
        )
        assert (result.code, "--track server: endpoint less is serverless" in result.err) == (
            2,
            True,
        )

    @pytest.mark.usefixtures("call")
    def test_remote_track(
        self, kit: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        track = caller(capsys, "remote", "track")
        words = ("--no-video", "--png", "-o", tmp_path / "out")
        result = track(kit.clip, "--endpoint", "eye", *words)
        assert result.code == 0, result.err
        assert (tmp_path / "out" / "clip.txt").read_bytes() == kit.tracks
        assert "on cpu of endpoint eye" in result.out
        result = track(kit.clip, "--endpoint", "eye", "--job", *words)
        assert (result.code, "endpoint eye: takes no jobs" in result.err) == (1, True)

    def test_one_of_two(self, kit: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        track = caller(capsys, "remote", "track", str(kit.clip))
        for said, expected in (
            ((), "expected one of --url ADDRESS and --endpoint NAME"),
            (("--url", "http://a", "--endpoint", "b"), "expected one of --url ADDRESS and"),
            (("--url", "http://a", "--rehearse", "b"), "--rehearse: goes with --endpoint"),
            (("--endpoint", "a", "--token-file", "b"), "--token-file: endpoints take AWS's"),
        ):
            result = track(*said)
            assert result.code == 2
            assert expected in " ".join(result.err.split())


class Script:
    """A cloud that answers an endpoint's calls as planted."""

    region, rehearsal = "eu-west-1", True

    def __init__(self, *answers: dict[str, Any] | CloudError | ConfigError) -> None:
        self.answers = list(answers)
        self.calls: list[Request] = []
        self.gate = threading.Event()
        self.gate.set()

    def call(self, request: Request) -> dict[str, Any]:
        self.calls.append(request)
        assert self.gate.wait(30)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def model_error(status: int, body: str) -> CloudError:
    """As AWS says what a container said."""
    text = (
        "sagemaker-runtime InvokeEndpoint: ModelError: Received server error "
        f'({status}) from primary with message "{body}". See https://eu-west-1.console.aws.amazon.'
        "com/cloudwatch/home?region=eu-west-1#logEventViewer:group=/aws/sagemaker/Endpoints/eye "
        "in account 123456789012 for more information.; the container refused"
    )
    return CloudError(text, code="ModelError")


def words(code: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "message": message, "request_id": "r-1"}})


ANSWER = {"Body": b"1,2", "ContentType": "text/csv", "NewSessionId": "abc; Expires=x"}
BUSY = CloudError("Rate exceeded", code="ThrottlingException")


class TestTransport:
    def test_headers_go_and_come(self) -> None:
        cloud = Script(ANSWER | {"ClosedSessionId": "abc"})
        headers = {
            "Accept": "text/csv",
            "X-Amzn-SageMaker-Session-Id": "NEW_SESSION",
            "X-Amzn-SageMaker-Custom-Attributes": "frame=1",
        }
        line = EndpointTransport(cloud, "eye", variant="main")
        answer = line.invoke("image/png", b"x", headers, again=False)
        assert cloud.calls == [
            Request(
                "sagemaker-runtime",
                "InvokeEndpoint",
                {
                    "EndpointName": "eye",
                    "ContentType": "image/png",
                    "Body": b"x",
                    "Accept": "text/csv",
                    "SessionId": "NEW_SESSION",
                    "CustomAttributes": "frame=1",
                    "TargetVariant": "main",
                },
            )
        ]
        assert answer.body == b"1,2"
        assert answer.headers["x-amzn-sagemaker-new-session-id"] == "abc; Expires=x"
        assert answer.headers["x-amzn-sagemaker-closed-session-id"] == "abc"
        assert answer.headers["content-type"] == "text/csv"

    def test_nothing_is_sent_as_empty_json(self) -> None:
        cloud = Script(ANSWER)
        EndpointTransport(cloud, "eye").invoke("application/x-image", b"", {}, again=True)
        assert cloud.calls[0].parameters["Body"] == b"{}"
        assert cloud.calls[0].parameters["ContentType"] == "application/json"

    def test_the_busy_are_asked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(endpoint_transport, "_FIRST_WAIT", 0.01)
        busy = model_error(503, words("busy", "no room"))
        cloud = Script(BUSY, busy, CloudError("x", code="ServiceUnavailable"), ANSWER)
        answer = EndpointTransport(cloud, "eye").invoke("image/png", b"x", {}, again=False)
        assert answer.status == 200
        assert len(cloud.calls) == 4

    def test_patience_ends(self) -> None:
        with pytest.raises(RemoteError, match="endpoint eye: Rate exceeded") as caught:
            EndpointTransport(Script(BUSY), "eye", patience=0.1).invoke("a/b", b"x", {}, again=True)
        assert caught.value.code == "ThrottlingException"

    def test_what_broke_is_sent_again_only_where_it_may_be(self) -> None:
        broken = CloudError("the connection broke", code="NoConnection")
        cloud = Script(broken, ANSWER)
        assert EndpointTransport(cloud, "eye").invoke("a/b", b"x", {}, again=True).status == 200
        cloud = Script(broken, ANSWER)
        with pytest.raises(RemoteError, match="endpoint eye: the connection broke"):
            EndpointTransport(cloud, "eye").invoke("a/b", b"x", {}, again=False)
        assert len(cloud.calls) == 1

    @pytest.mark.parametrize(
        ("error", "message", "status", "code"),
        [
            (
                model_error(409, words("out_of_order", 'frame "3" is not above')),
                r'^endpoint eye: frame "3" is not above \(409 out_of_order\)$',
                409,
                "out_of_order",
            ),
            (
                model_error(409, words("out_of_order", "late").replace('"', '\\"')),
                r"^endpoint eye: late \(409 out_of_order\)$",
                409,
                "out_of_order",
            ),
            (model_error(500, "Oh no"), r"^endpoint eye: refused: Oh no \(500\)$", 500, None),
            (
                model_error(0, "Your invocation timed out"),
                r"refused: Your invocation timed out \(no answer\)$",
                None,
                None,
            ),
            (
                CloudError("Request 1 has oversize body.", code="ValidationError"),
                "oversize body",
                413,
                "ValidationError",
            ),
            (CloudError("key 123456789012", code="AccessDenied"), r"key \[account\]", None,
             "AccessDenied"),
        ],
    )  # fmt: skip
    def test_errors(
        self, error: CloudError, message: str, status: int | None, code: str | None
    ) -> None:
        with pytest.raises(RemoteError, match=message) as caught:
            EndpointTransport(Script(error), "eye").invoke("a/b", b"x", {}, again=True)
        assert (caught.value.status, caught.value.code) == (status, code)
        assert "123456789012" not in str(caught.value)

    def test_too_large_is_not_sent(self) -> None:
        cloud = Script()
        with pytest.raises(RemoteError, match=r"25,000,001 \(413 too_large\)") as caught:
            EndpointTransport(cloud, "eye").invoke("a/b", bytes(MAX_BYTES + 1), {}, again=True)
        assert caught.value.status == 413
        assert not cloud.calls

    def test_a_broken_rule_is_told(self) -> None:
        cloud = Script(ConfigError("sagemaker-runtime InvokeEndpoint: SessionId: expected"))
        with pytest.raises(RemoteError, match="endpoint eye: sagemaker-runtime InvokeEndpoint: S"):
            EndpointTransport(cloud, "eye").invoke("a/b", b"x", {}, again=True)

    def test_giving_up_does_not_wait(self) -> None:
        cloud = Script(ANSWER, ANSWER)
        cloud.gate.clear()
        line = EndpointTransport(cloud, "eye")
        said: list[str] = []

        def ask() -> None:
            try:
                line.invoke("a/b", b"x", {}, again=True)
            except RemoteError as error:
                said.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        while not cloud.calls:
            pass
        line.abort()
        asking.join(10)
        assert said == ["endpoint eye: given up"]
        cloud.gate.set()
        assert line.invoke("a/b", b"x", {}, again=True).status == 200  # others are possible

    def test_a_client_of_it(self) -> None:
        document = {"classes": ["cat"], "input": {"width": 64, "height": 32}}
        cloud = Script({"Body": json.dumps(document).encode(), "ContentType": "application/json"})
        with Client.over(EndpointTransport(cloud, "eye")) as client:
            model = client.model()
        assert (model.classes, model.width, model.height) == (("cat",), 64, 32)
        assert cloud.calls[0].parameters["CustomAttributes"] == "describe=true"


class TestServer:
    """What the server tells those who can only send invocations."""

    def test_describe(self) -> None:
        with serving(Told()) as served:
            answer = served.post(b"{}", "application/json", ask="describe=true")
            assert answer.json() == served.client.get("/model").json()
            assert answer.json()["input"] == {"width": SIDE, "height": SIDE}
            assert served.post(ask="describe=true").json()["classes"] == ["cat", "dog"]
            error_of(served.post(ask="describe=true", accept="text/csv"), 406)
            code, message = error_of(served.post(ask="describe=true", session="NEW_SESSION"), 400)
            assert (code, "describe: expected no session" in message) == ("bad_request", True)
            code, message = error_of(served.post(ask="describe=perhaps"), 400)
            assert "describe: expected true or false, found 'perhaps'" in message

    def test_empty_json_is_no_frame(self) -> None:
        with serving(Told()) as served:
            opened = served.post(b"{}", "application/json", session="NEW_SESSION")
            session = opened.json()["session"]
            tracked = served.post(told(30), session=session).json()
            assert tracked["frame"] == 1
            closed = served.post(b"{}", "application/json", session=session, ask="close=true")
            assert closed.headers["x-amzn-sagemaker-closed-session-id"] == session
            error_of(served.post(b'{"a": 1}', "application/json", session="NEW_SESSION"), 415)
            error_of(served.post(b"{}", "application/json"), 415)
