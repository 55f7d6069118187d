"""What a client may do to a server: it answers or hangs up, and serves the others as before."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models import spots_clip
from motrail.serve.run import Guarded
from motrail.serve.security import check_token
from served import INVOKE, Served, Told, encoded, error_of, npy, serving, told, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Hasty(Guarded):
    """The same server with less patience."""

    head_seconds = 0.3
    write_seconds = 0.3


@pytest.fixture(scope="module")
def network() -> Told:
    return Told()


@pytest.fixture(scope="module")
def served(network: Told) -> Iterator[Served]:
    with serving(network, protocol=Hasty, body_seconds=0.5, max_pixels=10_000) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motrail.serve.front._LINGER_SECONDS", 0.2)


@pytest.fixture(autouse=True)
def _others_are_served(served: Served) -> Iterator[None]:
    yield
    assert served.client.get("/ping").json() == {"status": "ok"}
    assert served.post(told(7)).status_code == 200


def raw(server: Served, *parts: bytes, wait: float = 5) -> bytes:
    """Send bytes, and read until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def head(*lines: str) -> bytes:
    words = ["POST /invocations HTTP/1.1", "Host: here", "Content-Type: image/png", *lines]
    return ("\r\n".join(words) + "\r\n\r\n").encode("latin-1")


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def picture_bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that says it is very large."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def array(
    header: str, *, version: int = 1, pixels: bytes = b"", length: int | None = None
) -> bytes:
    text = header.encode("latin-1") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + pixels


def described(kind: str, order: str, shape: str, pixels: int) -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"
    return array(header, pixels=bytes(pixels))


class TestLength:
    def test_ten_gigabytes_are_announced(self, served: Served) -> None:
        answer = raw(served, head(f"Content-Length: {10 << 30}"), b"x" * 1000)
        assert status(answer) == 413
        assert b"connection: close" in answer.lower()
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_large"

    def test_ten_gigabytes_of_video(self, served: Served) -> None:
        request = head(f"Content-Length: {10 << 30}").replace(b"image/png", b"video/mp4")
        assert status(raw(served, request, b"x" * 1000)) == 413

    def test_a_client_that_sends_too_much_hears_of_it(self) -> None:
        """It is still sending when it is refused."""
        with serving(Told(), max_frame_mb=0.5) as server:
            answer = server.post(b"x" * (8 << 20))
            assert error_of(answer, 413) == ("too_large", "body: expected at most 524288 bytes")

    def test_without_a_length(self) -> None:
        def pieces() -> Iterator[bytes]:
            for _ in range(100):
                yield b"x" * 65536

        with serving(Told(), max_frame_mb=0.5) as server:
            assert error_of(server.post(pieces()), 413)[0] == "too_large"

    @pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "1, 2", "+5"])
    def test_a_length_that_is_none(self, served: Served, length: str) -> None:
        assert status(raw(served, head(f"Content-Length: {length}", "Connection: close"))) == 400

    def test_all_together(self) -> None:
        """The memory that bodies take has a limit, whoever sends them."""
        with serving(Told()) as server:
            server.service.memory._left = 1000
            answer = server.post(told(3) + b"x" * 1000)
            assert error_of(answer, 503)[0] == "busy"
            assert server.service.memory._left == 1000
            assert server.post(told(3)).status_code == 200


class TestBombs:
    def test_compressed_body(self, served: Served) -> None:
        bomb = gzip.compress(b"\0" * 1_000_000)
        for coding in ("gzip", "deflate", "br", "gzip, identity"):
            answer = served.post(bomb, content_encoding=coding)
            assert error_of(answer, 415)[0] == "encoded"

    @pytest.mark.parametrize("side", [60_000, 101, 2_147_483_647])
    def test_picture(self, served: Served, side: int) -> None:
        code, message = error_of(served.post(picture_bomb(side)), 413)
        assert code == "too_large"
        assert "pixels" in message

    def test_a_tile_larger_than_its_picture(self, served: Served) -> None:
        entries = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: 30_000, 323: 30_000}
        entries |= {324: 200, 325: 64}
        rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
        content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(200)
        assert error_of(served.post(content, "image/tiff"), 413)[0] == "too_large"

    def test_a_jpeg_of_many_scans(self, served: Served) -> None:
        content = encoded(np.full((64, 64, 3), 90, np.uint8), ".jpg")
        start = content.index(b"\xff\xda")
        scans = content[:start] + content[start:-2] * 101 + content[-2:]
        assert error_of(served.post(scans), 400)[1] == "jpg: expected at most 100 scans"

    def test_pictures_together(self, served: Served) -> None:
        frames = np.zeros((9, 100, 100, 3), np.uint8)
        message = error_of(served.post(npy(frames), "application/x-npy"), 413)[1]
        assert message == "frames: expected at most 80,000 pixels together"
        assert served.post(npy(frames[:8]), "application/x-npy").status_code == 200

    def test_half_a_picture(self, served: Served) -> None:
        content = told(9, width=99, height=99)
        for length in (1, 20, 40, len(content) // 2):
            assert error_of(served.post(content[:length]), 400)[0] == "bad_image"

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x93NUMPY",
            b"\x93NUMPY\x01\x00\xff\xff",
            b"\x93NUMPY\x09\x00" + bytes(64),
            described("'|u1'", "False", "(4, 4, 3)", 0),
            described("'|O'", "False", "(4, 4, 3)", 48),
            described("'<f4'", "False", "(2, 2, 3)", 48),
            described("'|u1'", "True", "(4, 4, 3)", 48),
            described("'|u1'", "False", "(4, 12)", 48),
            described("'|u1'", "False", "(4, 4, 4)", 64),
            described("'|u1'", "False", "(0, 4, 3)", 0),
            described("'|u1'", "False", "(-4, -4, 3)", 48),
            described("'|u1'", "False", "(4, 4.0, 3)", 48),
            described("'|u1'", "False", "(99999999999, 99999999999, 3)", 48),
            array("{}", length=4_000_000_000, version=2),
            array("(" * 900),
            array("__import__('os').system('true')"),
            array("{'descr': '|u1'}"),
            array("[1, 2]"),
            array("{" + "'a': " * 200),
            pickle.dumps(np.zeros((4, 4, 3), np.uint8)),
        ],
    )
    def test_array(self, served: Served, content: bytes) -> None:
        answer = served.post(content, "application/x-npy")
        code, message = error_of(answer, 400)
        assert code == "bad_image"
        assert message.startswith("npy: expected ")

    def test_arrays_of_all_versions(self, served: Served) -> None:
        image = np.full((8, 16, 3), 7, np.uint8)
        for version in ((1, 0), (2, 0), (3, 0)):
            file = io.BytesIO()
            np.lib.format.write_array(file, image, version=version)
            answer = served.post(file.getvalue(), "application/x-npy")
            assert answer.json()["detections"][0]["box"][0] == 7

    def test_too_many_arrays(self, served: Served) -> None:
        frames = npy(np.zeros((1001, 1, 1, 3), np.uint8))
        assert error_of(served.post(frames, "application/x-npy"), 413)[0] == "too_large"


class TestParts:
    def test_ten_thousand(self, served: Served) -> None:
        part = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n"
        answer = served.post(part * 10_000 + b"--b--\r\n", "multipart/form-data; boundary=b")
        assert error_of(answer, 413)[1] == "frames of one request: expected at most 1000"

    @pytest.mark.parametrize(
        ("content", "kind", "said"),
        [
            (
                b"--b\r\n\r\nno end",
                "multipart/form-data; boundary=b",
                "expected parts and their end",
            ),
            (b"", "multipart/form-data; boundary=b", "expected parts and their end"),
            (b"--b--\r\n", "multipart/form-data; boundary=b", "multipart/form-data"),
            (b"nothing of it", "multipart/form-data; boundary=b", "the body is broken"),
            (b"--b\r\n\r\n", "multipart/form-data", "expected a boundary of 1 to 70 characters"),
            (b"--b\r\n\r\n", f"multipart/form-data; boundary={'x' * 71}", "expected a boundary"),
            (b"--b\r\n\r\n\r\n--b--\r\n", "multipart/form-data; boundary=b", "found 0 bytes"),
            (b"--b\r\nA: " + b"x" * 100_000, "multipart/form-data; boundary=b", "broken"),
            (b"--b\r\n" + b"A: b\r\n" * 1000, "multipart/form-data; boundary=b", "broken"),
        ],
    )
    def test_broken(self, served: Served, content: bytes, kind: str, said: str) -> None:
        assert said in error_of(served.post(content, kind), 400)[1]


class TestVideo:
    @pytest.mark.parametrize(
        "content",
        [
            b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
            b"ffconcat version 1.0\nfile '/etc/passwd'\n",
            b"<?xml version='1.0'?><MPD></MPD>",
            b"\x00\x00\x00\x20ftypisom" + bytes(500),
            b"RIFF\xff\xff\xff\xffAVI LIST",
            bytes(1000),
            told(9),
        ],
    )
    def test_no_video(self, served: Served, content: bytes) -> None:
        for accept in ("application/json", "application/jsonl"):
            code, message = error_of(served.post(content, "video/mp4", accept=accept), 400)
            assert code == "bad_video"
            assert "/" not in message.replace("mov, mkv", "")

    def test_large_pictures(self, served: Served, tmp_path: Path) -> None:
        content = spots_clip(tmp_path / "clip.mp4", frames=3).read_bytes()  # 128 × 128 > 10,000
        message = error_of(served.post(content, "video/mp4"), 413)[1]
        assert message == "frames of the video: expected at most 10,000 pixels"

    def test_nothing(self, served: Served) -> None:
        assert (
            error_of(served.post(b"", "video/mp4"), 400)[1]
            == "body: expected a video, found nothing"
        )


class TestHeaders:
    def test_a_line_break_does_not_get_through(self, served: Served) -> None:
        evil = "x\r\nSet-Cookie: a=b"
        for name in ("X-Request-Id", "X-Amzn-SageMaker-Session-Id"):
            answer = raw(served, head(f"{name}: {evil}", "Content-Length: 0", "Connection: close"))
            assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()
        for bad in (b"x\ny: z", b"x\x00y", b"x\x0by"):
            line = b"X-Request-Id: " + bad + b"\r\n"
            answer = raw(
                served, b"GET /ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + line + b"\r\n"
            )
            assert bad not in answer

    def test_a_session_id_of_a_megabyte(self, served: Served) -> None:
        answer = raw(served, head("X-Amzn-SageMaker-Session-Id: " + "x" * (1 << 20)))
        assert answer == b"" or status(answer) == 400

    def test_a_session_id_as_long_as_a_head_may_be(self, served: Served) -> None:
        assert error_of(served.post(told(9), session="x" * 30_000), 404)[0] == "unknown_session"

    def test_letters_beyond_ascii(self, served: Served) -> None:
        answer = served.client.post(
            INVOKE,
            content=told(9),
            headers={
                b"Content-Type": b"image/png\xff",
                b"X-Amzn-SageMaker-Custom-Attributes": b"frame=\xb2",
            },
        )
        assert "frame: expected a whole number" in error_of(answer, 400)[1]
        answer = served.client.post(
            INVOKE, content=told(9), headers={b"Content-Type": b"image/\xe9"}
        )
        assert error_of(answer, 415)[0] == "unsupported_media_type"

    def test_tokens_are_compared_in_constant_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def compare(first: bytes, second: bytes) -> bool:
            asked.append((first, second))
            return first == second

        monkeypatch.setattr("hmac.compare_digest", compare)
        check_token("Bearer right", "right")
        assert asked == [(b"right", b"right")]


class TestProtocol:
    @pytest.mark.parametrize(
        "request_",
        [
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            b"GET /ping\r\n\r\n",
            b"GET /ping HTTP/1.1\r\n\r\n",
            b"GET /ping HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n",
            head("Transfer-Encoding: chunked") + b"zz\r\n",
            head("Transfer-Encoding: gzip"),
        ],
    )
    def test_no_http(self, served: Served, request_: bytes) -> None:
        answer = raw(served, request_)
        assert status(answer) == 400
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert error["code"] == "bad_request"
        assert error["message"].startswith("expected HTTP/1.1: ")

    def test_a_body_with_two_ends(self, served: Served) -> None:
        """What comes behind it is not taken for another request."""
        smuggled = b"0\r\n\r\nGET /ping HTTP/1.1\r\nHost: h\r\n\r\n"
        answer = raw(served, head("Content-Length: 5", "Transfer-Encoding: chunked"), smuggled)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert status(answer) == 400
        assert b"expected a length or chunks, found both" in answer

    def test_two_requests_at_once(self, served: Served) -> None:
        request = b"GET /ping HTTP/1.1\r\nHost: h\r\n"
        answer = raw(served, request + b"\r\n" + request + b"Connection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 OK") == 2


class TestSlow:
    def test_head_that_trickles(self, served: Served) -> None:
        assert raw(served, b"POST /invocations HTTP/1.1\r\nHost: h\r\nX-A: ") == b""

    def test_nothing_at_all(self, served: Served) -> None:
        assert raw(served) == b""

    def test_second_head_that_trickles(self, served: Served) -> None:
        first = b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n"
        answer = raw(served, first, b"GET /pi")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert status(answer) == 200

    def test_body_that_trickles(self, served: Served) -> None:
        answer = raw(served, head("Content-Length: 1000"), b"x" * 10)
        assert status(answer) == 408
        assert b"the body did not arrive within 0.5 s" in answer
        assert b"connection: close" in answer.lower()

    def test_chunks_without_end(self, served: Served) -> None:
        ended = threading.Event()

        def trickle(connection: socket.socket) -> None:
            while not ended.wait(0.02):
                try:
                    connection.sendall(b"1\r\nx\r\n")
                except OSError:
                    return

        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(head("Transfer-Encoding: chunked"))
            with ThreadPoolExecutor(1) as pool:
                pool.submit(trickle, connection)
                answer = connection.recv(65536)
                ended.set()
        assert status(answer) == 408

    def test_a_client_that_does_not_read(self, network: Told) -> None:
        """An answer that nobody takes does not hold its connection for ever."""
        with serving(network, protocol=Hasty) as server:
            frames = np.full((1000, 1, 1, 3), 9, np.uint8)
            body = npy(frames)
            request = head(f"Content-Length: {len(body)}").replace(
                b"image/png", b"application/x-npy"
            )
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                connection.settimeout(20)
                connection.connect(("127.0.0.1", server.port))
                connection.sendall((request + body) * 200)  # answers of 70 kB that pile up
                until(lambda: _is_cut(connection))


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def _is_cut(connection: socket.socket) -> bool:
    try:
        connection.send(b" ")
    except OSError:
        return True
    return False


class TestBusy:
    def test_connections(self) -> None:
        class Small(Guarded):
            max_connections = 2

        with serving(Told(), protocol=Small) as server:
            server.client.get("/ping")  # keeps its connection
            address = ("127.0.0.1", server.port)
            with socket.create_connection(address), socket.create_connection(address) as third:
                third.settimeout(5)
                assert _is_closed(third)
            assert server.client.get("/ping").status_code == 200

    def test_queue(self) -> None:
        network = Told(workers=1)
        with serving(network, queue=2) as server, ThreadPoolExecutor(3) as pool:
            network.gate.clear()
            first = pool.submit(server.post, told(1))
            until(lambda: network.seen == [1])
            others = [pool.submit(server.post, told(n)) for n in (2, 3)]
            until(lambda: server.service.engine.waiting == 2)
            answer = server.post(told(4))
            assert error_of(answer, 503)[0] == "busy"
            assert int(answer.headers["retry-after"]) >= 1
            assert server.client.get("/ping").status_code == 200
            network.gate.set()
            assert [f.result().status_code for f in (first, *others)] == [200] * 3
            assert server.post(told(4)).status_code == 200

    def test_videos(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("motrail.serve.videos._PATIENCE", 0.1)
        clip = spots_clip(tmp_path / "clip.mp4", frames=3).read_bytes()
        network = Told()
        with serving(network) as server, ThreadPoolExecutor(1) as pool:
            network.gate.clear()
            first = pool.submit(server.post, clip, "video/mp4")
            until(lambda: network.seen)
            assert error_of(server.post(clip, "video/mp4"), 503)[0] == "busy"
            network.gate.set()
            assert first.result().status_code == 200
            assert server.post(clip, "video/mp4").status_code == 200

    def test_frames_go_before_videos(self, tmp_path: Path) -> None:
        """A video's frames get every fourth place while others wait."""
        network = Told(workers=1)
        with serving(network) as server:
            engine = server.service.engine
            network.gate.clear()
            order: list[str] = []
            held = engine.submit(lambda: network.gate.wait(10))
            until(held.running)
            for number in range(3):
                engine.submit(partial(order.append, f"video {number}"), video=True)
            work = [engine.submit(partial(order.append, f"frame {n}")) for n in range(7)]
            network.gate.set()
            for answer in work:
                answer.result(10)
            engine.submit(lambda: None, video=True).result(10)
        # The frame that was held counts as the first of three.
        assert order == [
            "frame 0",
            "frame 1",
            "video 0",
            "frame 2",
            "frame 3",
            "frame 4",
            "video 1",
            "frame 5",
            "frame 6",
            "video 2",
        ]


class TestGone:
    def test_a_frame_that_waits_is_given_up(self) -> None:
        network = Told(workers=1)
        with serving(network) as server, ThreadPoolExecutor(1) as pool:
            network.gate.clear()
            first = pool.submit(server.post, told(1))
            until(lambda: network.seen == [1])
            body = told(2)
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(head(f"Content-Length: {len(body)}") + body)
                until(lambda: server.service.engine.waiting == 1)
                (waiting, _) = server.service.engine._frames[0]
            until(waiting.cancelled)
            network.gate.set()
            assert first.result().status_code == 200
        assert network.seen == [1]

    @pytest.mark.parametrize("accept", ["text/csv", "application/jsonl", "video/mp4"])
    def test_a_video_is_given_up(self, tmp_path: Path, accept: str) -> None:
        clip = spots_clip(tmp_path / "clip.mp4", frames=60).read_bytes()
        network = Told()
        with serving(network) as server:
            network.gate.clear()
            request = head(f"Content-Length: {len(clip)}", f"Accept: {accept}")
            request = request.replace(b"image/png", b"video/mp4")
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(request + clip)
                until(lambda: len(network.seen) >= 2)
            network.gate.set()
            until(lambda: "/invocations" in server.log_text)
            assert len(network.seen) < 60
            assert list(server.service.folder.iterdir()) == []
            assert not server.service.videos.locked()

    def test_half_a_body(self, served: Served) -> None:
        before = served.service.memory._left
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(head("Content-Length: 100000") + b"x" * 50_000)
        served.client.get("/ping")
        until(lambda: served.service.memory._left == before)


class TestStop:
    def test_what_takes_too_long_is_cut(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("motrail.serve.run.GRACE_SECONDS", 0.2)
        clip = spots_clip(tmp_path / "clip.mp4", frames=30).read_bytes()
        network = Told()
        with serving(network) as server, ThreadPoolExecutor(2) as pool:
            network.gate.clear()
            video = pool.submit(server.post, clip, "video/mp4")
            until(lambda: len(network.seen) == 2)  # as many as it takes at once
            frame = pool.submit(server.post, told(1))
            until(lambda: server.service.engine.waiting == 1)
            server.server.should_exit = True
            assert error_of(frame.result(20), 503)[0] == "stopping"
            network.gate.set()
            assert error_of(video.result(20), 503)[0] == "stopping"
            folder = server.service.folder
        assert not folder.exists()
        assert "Traceback" not in server.log_text

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        clip = spots_clip(tmp_path / "clip.mp4", frames=5).read_bytes()
        before = {thread.name for thread in threading.enumerate()}
        with serving(Told()) as server:
            for accept in ("text/csv", "application/jsonl", "video/mp4"):
                server.post(clip, "video/mp4", accept=accept)
            server.post(told(1))
        assert {thread.name for thread in threading.enumerate()} <= before
