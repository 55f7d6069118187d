"""The model zoo against a real HTTP server on this machine that misbehaves on demand."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from motrail.detect import download, zoo
from motrail.errors import ModelError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[["Handler"], None]

FILE = "yolox_test.onnx"
ETAG = '"first"'


def onnx_bytes(length: int = 300_000, seed: int = 1) -> bytes:
    """A model that the onnx package calls valid, padded with incompressible weights."""
    weights = np.random.default_rng(seed).integers(0, 256, length, dtype=np.uint8)
    value = onnx.helper.make_tensor("w", onnx.TensorProto.UINT8, [length], weights.tobytes(), True)
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, [length])
    node = onnx.helper.make_node("Identity", ["w"], ["y"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [], [output], initializer=[value]),
        producer_name="motrail-tests",
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


BODY = onnx_bytes()
OTHER = onnx_bytes(seed=2)  # as long as BODY, but different


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, and properly when there are none left."""

    daemon_threads = True
    body: bytes
    etag: str | None
    answers: list[Answer]
    requests: list[dict[str, str]]
    done: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/models"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news here."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append({"path": self.path, **dict(self.headers)})
        answers = self.server.answers
        (answers.pop(0) if answers else normal)(self)

    def log_message(self, *_: object) -> None:
        pass

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def piece(self) -> bytes:
        """Start the answer RFC 9110 asks for; what is to be sent as its body."""
        body, etag = self.server.body, self.server.etag
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not wanted or self.headers.get("If-Range", etag) != etag:
            self.start(200, Content_Length=len(body), ETag=etag)
            return body
        start = int(wanted[1])
        if start >= len(body):
            self.start(416, Content_Range=f"bytes */{len(body)}")
            return b""
        where = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.start(206, Content_Length=len(body) - start, Content_Range=where, ETag=etag)
        return body[start:]


def normal(handler: Handler) -> None:
    handler.wfile.write(handler.piece())


def cut(after: int) -> Answer:
    return lambda handler: void(handler.wfile.write(handler.piece()[:after]))


def void(_: object) -> None:
    pass


def status(code: int, body: bytes = b"", **headers: object) -> Answer:
    def answer(handler: Handler) -> None:
        handler.start(code, **headers)
        handler.wfile.write(body)

    return answer


def stuck(after: int) -> Answer:
    def answer(handler: Handler) -> None:
        handler.wfile.write(handler.piece()[:after])
        handler.server.done.wait(20)

    return answer


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("MOTRAIL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as served:
        served.body, served.etag = BODY, ETAG
        served.answers, served.requests, served.done = [], [], threading.Event()
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.done.set()
        served.shutdown()
        thread.join()


def model(body: bytes | None = BODY, size: int = len(BODY)) -> zoo.ZooModel:
    digest = hashlib.sha256(body).hexdigest() if body is not None else None
    # The address of the release leads nowhere: nothing but the mirror may be asked.
    return zoo.ZooModel("yolox-test", f"https://release.invalid/{FILE}", "yolox", 32, size, digest)


class Fetcher:
    """Fetch from `server` into `cache`, without waiting between the tries."""

    def __init__(self, server: Server, cache: Path) -> None:
        self.server, self.cache = server, cache
        self.target = cache / FILE
        self.part = cache / f"{FILE}.part"
        self.pauses: list[float] = []

    def __call__(self, wanted: zoo.ZooModel | None = None, **options: Any) -> Path:
        options = {"base_url": self.server.url, "timeout": 5.0, **options}
        return zoo._fetch(wanted or model(), cache=self.cache, sleep=self.pauses.append, **options)

    def fails(self, pattern: str, wanted: zoo.ZooModel | None = None, **options: Any) -> str:
        """Fetch must fail with one line that matches; no file may be in the cache."""
        with pytest.raises(ModelError, match=pattern) as caught:
            self(wanted, **options)
        message = str(caught.value)
        assert "\n" not in message
        assert f"download https://release.invalid/{FILE} yourself" in message
        assert f"put it at {self.target}" in message
        assert not self.target.exists()
        return message

    def names(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir())


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetcher:
    return Fetcher(server, tmp_path / "not" / "there" / "yet")


# --- a good server -------------------------------------------------------------------------------


def test_file_arrives_whole_and_is_not_asked_for_again(fetch: Fetcher) -> None:
    steps: list[tuple[int, int | None]] = []
    path = fetch(progress=lambda done, total: steps.append((done, total)))
    assert path == fetch.target
    assert path.read_bytes() == BODY
    assert fetch.names() == [FILE]
    assert fetch.server.requests[0]["path"] == f"/models/{FILE}"
    assert "Range" not in fetch.server.requests[0]
    assert steps[0] == (0, len(BODY))
    assert steps[-1] == (len(BODY), len(BODY))
    assert steps == sorted(steps)

    assert fetch(base_url="http://127.0.0.1:1/") == path
    assert len(fetch.server.requests) == 1


def test_cached_file_needs_neither_network_nor_a_writable_folder(fetch: Fetcher) -> None:
    fetch.cache.mkdir(parents=True)
    fetch.target.write_bytes(BODY)
    fetch.cache.chmod(0o500)
    try:
        assert fetch() == fetch.target
    finally:
        fetch.cache.chmod(0o700)
    assert fetch.names() == [FILE]
    assert fetch.server.requests == []


@pytest.mark.parametrize("bad", [b"", BODY[:-1], OTHER, b"<html>log in</html>"])
def test_spoilt_file_in_the_cache_is_replaced(fetch: Fetcher, bad: bytes) -> None:
    fetch.cache.mkdir(parents=True)
    fetch.target.write_bytes(bad)
    assert fetch().read_bytes() == BODY
    assert fetch.names() == [FILE]


def test_spoilt_file_in_the_cache_stays_until_there_is_a_better_one(fetch: Fetcher) -> None:
    fetch.cache.mkdir(parents=True)
    fetch.target.write_bytes(OTHER)
    fetch.server.answers = [status(404)]
    with pytest.raises(ModelError, match="in place of the file there, which is not this model"):
        fetch()
    assert fetch.target.read_bytes() == OTHER


def test_without_content_length(fetch: Fetcher) -> None:
    totals: list[int | None] = []
    fetch.server.answers = [status(200, BODY)]
    fetch(progress=lambda _, total: totals.append(total))
    assert fetch.target.read_bytes() == BODY
    assert set(totals) == {None}


@pytest.mark.parametrize("end", [b"3e8\r\n", b"nonsense\r\n"])
def test_chunked_answer_that_breaks_off(fetch: Fetcher, end: bytes) -> None:
    piece = b"3e8\r\n" + BODY[:1000] + b"\r\n" + end
    fetch.server.answers = [status(200, piece, Transfer_Encoding="chunked", ETag=ETAG)]
    assert fetch().read_bytes() == BODY
    assert fetch.server.requests[1]["Range"] == "bytes=1000-"


def test_two_at_once_download_once(fetch: Fetcher) -> None:
    go = threading.Event()

    def slowly(handler: Handler) -> None:
        body = handler.piece()
        handler.wfile.write(body[:1000])
        go.wait(5)
        handler.wfile.write(body[1000:])

    fetch.server.answers = [slowly]
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(fetch) for _ in range(3)]
        threading.Timer(0.2, go.set).start()
        assert {call.result(5) for call in calls} == {fetch.target}
    assert len(fetch.server.requests) == 1
    assert fetch.target.read_bytes() == BODY
    assert fetch.names() == [FILE]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_lock_on_a_removed_file_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        assert download._locked(descriptor, path)
        path.unlink()
        assert not download._locked(descriptor, path)
        path.touch()
        assert not download._locked(descriptor, path)
    finally:
        os.close(descriptor)


# --- cut connections -----------------------------------------------------------------------------


def test_cut_connection_goes_on_where_it_stopped(fetch: Fetcher) -> None:
    fetch.server.answers = [cut(100_000), cut(50_000), cut(0)]
    assert fetch().read_bytes() == BODY
    asked = [(r.get("Range"), r.get("If-Range")) for r in fetch.server.requests]
    assert asked == [
        (None, None),
        ("bytes=100000-", ETAG),
        ("bytes=150000-", ETAG),
        ("bytes=150000-", ETAG),
    ]
    assert fetch.pauses == [0.5, 1.0, 2.0]
    assert fetch.names() == [FILE]


def test_gives_up_after_five_tries_and_the_next_call_goes_on(fetch: Fetcher) -> None:
    fetch.server.answers = [cut(10_000)] * 5
    message = fetch.fails(f"cut the connection after 50000 of {len(BODY)} bytes")
    assert "run this again to go on from there, or download" in message
    assert fetch.names() == [f"{FILE}.part", f"{FILE}.part.json"]
    assert fetch.part.read_bytes() == BODY[:50_000]

    assert fetch().read_bytes() == BODY
    assert len(fetch.server.requests) == 6
    assert fetch.server.requests[-1]["Range"] == "bytes=50000-"
    assert fetch.names() == [FILE]


def test_interrupt_leaves_the_part_and_the_next_call_goes_on(fetch: Fetcher) -> None:
    def interrupt(done: int, _: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(progress=interrupt)
    assert fetch.names() == [f"{FILE}.part", f"{FILE}.part.json"]
    kept = fetch.part.stat().st_size
    assert kept > 100_000

    assert fetch().read_bytes() == BODY
    assert fetch.server.requests[-1]["Range"] == f"bytes={kept}-"


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_process_leaves_a_part_that_is_used(fetch: Fetcher) -> None:
    fetch.server.answers = [stuck(200_000)]
    script = (
        "import sys; from pathlib import Path; from motrail.detect import download, zoo\n"
        "wanted = zoo.ZooModel('yolox-test', sys.argv[1], 'yolox', 32, 300_000)\n"
        "zoo._fetch(wanted, cache=Path(sys.argv[2]),\n"
        "           progress=lambda done, _: print(done, flush=True))\n"
    )
    arguments = [f"{fetch.server.url}/{FILE}", str(fetch.cache)]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert any(int(line) == 200_000 for line in child.stdout)
        finally:
            child.send_signal(signal.SIGKILL)
    assert fetch.names() == [f"{FILE}.lock", f"{FILE}.part", f"{FILE}.part.json"]

    assert fetch().read_bytes() == BODY
    assert fetch.server.requests[-1]["Range"].startswith("bytes=")
    assert fetch.names() == [FILE]


def test_part_that_was_complete_needs_no_network(fetch: Fetcher) -> None:
    def stop(done: int, total: int | None) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(progress=stop)
    fetch.server.requests.clear()
    if fetch.part.stat().st_size == len(BODY):
        assert fetch().read_bytes() == BODY
        assert fetch.server.requests == []
    else:
        pytest.fail("the last piece was not stored")


def test_server_without_ranges_starts_over(fetch: Fetcher) -> None:
    fetch.server.answers = [cut(100_000), status(200, BODY, Content_Length=len(BODY), ETag=ETAG)]
    assert fetch().read_bytes() == BODY
    assert "Range" in fetch.server.requests[1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_part_without_a_strong_validator_is_not_trusted(fetch: Fetcher, etag: str | None) -> None:
    fetch.server.etag = etag
    fetch.server.answers = [cut(100_000)]
    assert fetch().read_bytes() == BODY
    assert "Range" not in fetch.server.requests[1]


def test_last_modified_stands_in_for_the_etag(fetch: Fetcher) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    first = status(200, BODY[:9], Content_Length=len(BODY), ETag='W/"x"', Last_Modified=date)
    where = f"bytes 9-{len(BODY) - 1}/{len(BODY)}"
    fetch.server.answers = [first, status(206, BODY[9:], Content_Range=where)]
    assert fetch().read_bytes() == BODY
    assert fetch.server.requests[1]["If-Range"] == date


def test_part_of_another_address_is_not_used(fetch: Fetcher) -> None:
    fetch.server.answers = [cut(1000)] * 5
    fetch.fails("cut")
    assert fetch(base_url=f"{fetch.server.url}/elsewhere").read_bytes() == BODY
    assert "Range" not in fetch.server.requests[-1]


@pytest.mark.parametrize("notes", ["", "{", "[]", "null", '{"url": 3, "validator": 4}'])
def test_unreadable_notes_start_over(fetch: Fetcher, notes: str) -> None:
    fetch.cache.mkdir(parents=True)
    fetch.part.write_bytes(OTHER[:1000])
    (fetch.cache / f"{FILE}.part.json").write_text(notes)
    assert fetch().read_bytes() == BODY
    assert "Range" not in fetch.server.requests[0]
    assert fetch.names() == [FILE]


def test_file_that_changed_meanwhile_is_fetched_anew(fetch: Fetcher) -> None:
    fetch.server.body = OTHER
    fetch.server.answers = [cut(10_000)] * 5
    fetch.fails("cut")
    fetch.server.body, fetch.server.etag = BODY, '"second"'
    assert fetch(model(None)).read_bytes() == BODY
    assert fetch.server.requests[-1]["If-Range"] == ETAG
    assert len(fetch.server.requests) == 6


@pytest.mark.parametrize(
    ("start", "length", "etag"),
    [
        (1000, len(BODY), '"second"'),
        (1000, len(BODY) + 1, ETAG),
        (999, len(BODY), ETAG),
    ],
)
def test_piece_that_does_not_fit_is_not_joined(
    fetch: Fetcher, start: int, length: int, etag: str
) -> None:
    where = f"bytes {start}-{length - 1}/{length}"
    wrong = status(206, OTHER[start:], Content_Range=where, ETag=etag)
    fetch.server.answers = [cut(1000), wrong]
    assert fetch(model(None)).read_bytes() == BODY  # no checksum: the headers alone must tell
    assert "Range" not in fetch.server.requests[2]


def test_partial_answer_nobody_asked_for(fetch: Fetcher) -> None:
    where = f"bytes 0-{len(BODY) - 1}/{len(BODY)}"
    fetch.server.answers = [status(206, BODY, Content_Range=where)] * 5
    fetch.fails("changed the file")


def test_416_with_everything_here_is_the_end(fetch: Fetcher) -> None:
    # The length was never announced, so all of it may be here when the connection is lost.
    def stop(done: int, _: int | None) -> None:
        if done == len(BODY):
            raise KeyboardInterrupt

    fetch.server.answers = [status(200, BODY, ETag=ETAG)]
    with pytest.raises(KeyboardInterrupt):
        fetch(progress=stop)
    assert fetch().read_bytes() == BODY
    assert fetch.server.requests[-1]["Range"] == f"bytes={len(BODY)}-"
    assert len(fetch.server.requests) == 2


def test_416_with_something_missing_starts_over(fetch: Fetcher) -> None:
    fetch.server.answers = [cut(1000), status(416, Content_Range=f"bytes */{len(BODY)}")]
    assert fetch().read_bytes() == BODY
    assert "Range" in fetch.server.requests[1]
    assert "Range" not in fetch.server.requests[2]


def test_416_to_the_first_request(fetch: Fetcher) -> None:
    fetch.server.answers = [status(416, Content_Range="bytes */0")] * 5
    fetch.fails("has no such part of the file")


def test_spoilt_part_of_an_earlier_call_is_given_up(fetch: Fetcher) -> None:
    fetch.server.answers = [cut(1000)] * 5
    fetch.fails("cut")
    fetch.part.write_bytes(bytes(5000))  # as after a power cut
    assert fetch().read_bytes() == BODY
    asked = [request.get("Range") for request in fetch.server.requests[5:]]
    assert asked == ["bytes=5000-", None]


# --- answers that say no -------------------------------------------------------------------------


def test_404_is_final(fetch: Fetcher) -> None:
    fetch.server.answers = [status(404)]
    message = fetch.fails(r"answered 404 \(Not Found\)")
    assert message.startswith(f"yolox-test: {fetch.server.url}/{FILE} answered")
    assert len(fetch.server.requests) == 1
    assert fetch.names() == []


@pytest.mark.parametrize("code", [500, 503, 429, 408])
def test_passing_trouble_is_tried_again(fetch: Fetcher, code: int) -> None:
    fetch.server.answers = [status(code)] * 2
    assert fetch().read_bytes() == BODY
    assert fetch.pauses == [0.5, 1.0]


def test_lasting_trouble_is_named(fetch: Fetcher) -> None:
    fetch.server.answers = [status(502)] * 9
    fetch.fails(r"answered 502 \(Bad Gateway\)")
    assert len(fetch.server.requests) == 5


def test_unexpected_success(fetch: Fetcher) -> None:
    fetch.server.answers = [status(203, BODY, Content_Length=len(BODY))]
    fetch.fails("answered 203 instead of 200")


def test_refused_connection(fetch: Fetcher) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    fetch.fails("refused the connection", base_url=f"http://127.0.0.1:{port}")
    assert fetch.pauses == []  # nobody waits for a machine that is offline


def test_unknown_host(fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    message = fetch.fails("was not found by its name .offline", base_url=None)
    assert message.startswith("yolox-test: release.invalid was not found")


def test_host_lost_midway_is_tried_again(fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = socket.create_connection, []

    def connect(*args: Any, **options: Any) -> socket.socket:
        calls.append(args)
        if len(calls) == 2:
            raise ConnectionRefusedError
        return real(*args, **options)

    monkeypatch.setattr(socket, "create_connection", connect)
    fetch.server.answers = [cut(1000)]
    assert fetch().read_bytes() == BODY
    assert len(calls) == 3


@pytest.mark.parametrize("after", [0, 1000])
def test_hanging_server(fetch: Fetcher, after: int) -> None:
    fetch.server.answers = [stuck(after)] * 5
    fetch.fails(r"sent nothing for 0\.1 s", timeout=0.1)
    assert len(fetch.server.requests) == 5
    assert fetch.part.stat().st_size == 5 * after


def test_server_that_never_answers(fetch: Fetcher) -> None:
    fetch.server.answers = [lambda handler: void(handler.server.done.wait(20))] * 5
    fetch.fails(r"sent nothing for 0\.1 s", timeout=0.1)


# --- wrong content -------------------------------------------------------------------------------


def test_web_page_with_200(fetch: Fetcher) -> None:
    page = b"\n<!DOCTYPE html><html>log in</html>"
    fetch.server.answers = [status(200, page, Content_Length=len(page))]
    fetch.fails("something else than this model: a web page")
    assert fetch.names() == []


def test_web_page_does_not_spoil_the_part(fetch: Fetcher) -> None:
    fetch.server.answers = [cut(1000), status(200, b"<html>", Content_Type="text/html")]
    fetch.fails("sent a web page instead of a model")
    assert fetch.part.read_bytes() == BODY[:1000]
    assert fetch().read_bytes() == BODY
    assert fetch.server.requests[-1]["Range"] == "bytes=1000-"


def test_truncated_at_the_origin(fetch: Fetcher) -> None:
    fetch.server.body = BODY[:-1]
    fetch.fails("not an ONNX file, or not a whole one", model(None))
    assert fetch.names() == []


def test_connection_closed_early_without_a_length(fetch: Fetcher) -> None:
    fetch.server.answers = [status(200, BODY[:-1])]
    fetch.fails("not a whole one", model(None))


def test_wrong_checksum(fetch: Fetcher) -> None:
    fetch.server.body = OTHER
    fetch.fails(f"its SHA-256 is {hashlib.sha256(OTHER).hexdigest()}, expected")
    assert fetch.names() == []


def test_another_model_far_too_small(fetch: Fetcher) -> None:
    fetch.fails(f"{len(BODY)} bytes, expected about", model(None, size=2 * len(BODY) + 1))
    assert fetch(model(None, size=2 * len(BODY))).read_bytes() == BODY


def test_announced_10_gigabytes_are_not_begun(fetch: Fetcher) -> None:
    fetch.server.answers = [status(200, BODY, Content_Length=10**10)]
    fetch.fails(f"sends 10000000000 bytes or more, expected about {len(BODY)}")
    assert fetch.names() == []


def test_endless_answer_is_stopped_at_twice_the_size(fetch: Fetcher) -> None:
    sent: list[int] = []

    def endless(handler: Handler) -> None:
        handler.start(200)
        while not handler.server.done.is_set():
            handler.wfile.write(bytes(1 << 16))

    fetch.server.answers = [endless]
    fetch.fails("bytes or more", progress=lambda done, _: sent.append(done))
    assert 2 * len(BODY) < max(sent) <= 2 * len(BODY) + (1 << 16)
    assert fetch.names() == []


def test_twice_the_size_is_allowed_and_one_byte_more_is_not(fetch: Fetcher) -> None:
    wanted = model(size=(len(BODY) + 1) // 2)
    fetch.fails(
        "bytes or more", dataclasses.replace(wanted, approximate_bytes=(len(BODY) - 1) // 2)
    )
    assert fetch(wanted).read_bytes() == BODY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",  # a tag without its value
        b"\x08\x06",  # no graph
        b"\x3a\x00",  # no version
        b"\x08\x06\x3a\x05abc",  # the graph is cut
        b"\x08\x06\x3a\x00\x0b",  # a group, which ONNX does not have
        b"\x08\x06\x3a\x00\x00\x00",  # field number 0
        b"\x08" + b"\xff" * 11,  # a number without end
        b"\x08\x06\x3a" + b"\xff" * 9 + b"\x7f",  # a length that no file has
        b"\x08\x06\x3a\x00" + b"\x08\x06" * 20_000,  # more fields than any model
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b'{"error": "not found"}',
    ],
)
def test_not_onnx(data: bytes) -> None:
    assert not zoo._is_onnx(io.BytesIO(data), len(data))


def test_onnx_by_structure() -> None:
    assert zoo._is_onnx(io.BytesIO(BODY), len(BODY))
    rest = b"\x11" + bytes(8) + b"\x1d" + bytes(4)  # a double and a float are skipped
    assert zoo._is_onnx(io.BytesIO(b"\x08\x06\x3a\x01g" + rest), 5 + len(rest))


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", None])
def test_redirect_elsewhere_is_not_followed(fetch: Fetcher, goal: str | None) -> None:
    fetch.server.answers = [status(302, Location=goal)]
    fetch.fails(f"redirects to {str(goal or 'nowhere')!r}, which is not followed")
    assert len(fetch.server.requests) == 1
    assert fetch.names() == []


def test_redirect_to_http_is_followed_also_when_resuming(fetch: Fetcher) -> None:
    there = status(302, Location="/storage/7?signature=secret")
    fetch.server.answers = [there, cut(1000), there]
    assert fetch().read_bytes() == BODY
    assert [r["path"] for r in fetch.server.requests[::2]] == [f"/models/{FILE}"] * 2
    assert fetch.server.requests[3]["Range"] == "bytes=1000-"


def test_the_host_that_failed_is_named(fetch: Fetcher) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    fetch.server.answers = [status(302, Location=f"http://{host}/x")]
    message = fetch.fails("refused the connection")
    assert message.startswith(f"yolox-test: {host} refused")


def test_a_host_of_an_earlier_try_is_not_named(fetch: Fetcher) -> None:
    fetch.server.answers = [status(302, Location="/storage"), cut(1000), status(404)]
    message = fetch.fails("answered 404")
    assert message.startswith(f"yolox-test: {fetch.server.url}/{FILE} answered")
    assert "run this again" not in message


def test_redirect_in_circles(fetch: Fetcher) -> None:
    fetch.server.answers = [status(302, Location="/models/x")] * 20
    fetch.fails("redirects to '/models/x', which is not followed")


@pytest.mark.parametrize(
    ("old", "new", "followed"),
    [
        ("https", "https", True),
        ("http", "https", True),
        ("http", "http", True),
        ("https", "http", False),
        ("https", "ftp", False),
    ],
)
def test_https_is_never_left(old: str, new: str, followed: bool) -> None:
    request = urllib.request.Request(f"{old}://127.0.0.1/a")  # noqa: S310
    body, headers = io.BytesIO(), http.client.HTTPMessage()
    arguments = (request, body, 302, "Found", headers, f"{new}://127.0.0.1/b")
    if followed:
        answer = download._Redirects().redirect_request(*arguments)
        assert answer is not None
        assert answer.full_url == f"{new}://127.0.0.1/b"
    else:
        with pytest.raises(urllib.error.HTTPError) as caught:
            download._Redirects().redirect_request(*arguments)
        caught.value.close()


@pytest.mark.parametrize(
    "base", ["file:///tmp", "ftp://127.0.0.1", "127.0.0.1/models", "http://", "http://[::1/"]
)
def test_mirror_must_be_http(fetch: Fetcher, base: str) -> None:
    fetch.fails("is not an http or https address; see MOTRAIL_ZOO_URL", base_url=base)


def test_mirror_with_a_space_or_a_strange_letter(fetch: Fetcher) -> None:
    for path in ("a b", "\N{SNOWMAN}"):
        fetch.fails("not an address that can be asked", base_url=f"{fetch.server.url}/{path}")


def test_password_is_not_repeated(fetch: Fetcher) -> None:
    message = fetch.fails("must not hold a user", base_url="http://me:hunter2@127.0.0.1/")
    assert "hunter2" not in message


def test_mirror_from_the_environment(fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTRAIL_ZOO_URL", f"{fetch.server.url}/mirror/")
    assert fetch(base_url=None).read_bytes() == BODY
    assert fetch.server.requests[0]["path"] == f"/models/mirror/{FILE}"


# --- the disk ------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(fetch: Fetcher) -> None:
    fetch.cache.mkdir(parents=True)
    fetch.part.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"disk is full; .* with MOTRAIL_CACHE$") as caught:
        fetch()
    assert "with -o" not in str(caught.value)
    assert not fetch.target.exists()


def test_cache_that_is_a_file(fetch: Fetcher) -> None:
    fetch.cache.parent.mkdir(parents=True)
    fetch.cache.write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch()


def test_folder_in_the_place_of_the_file(fetch: Fetcher) -> None:
    fetch.target.mkdir(parents=True)
    with pytest.raises(OutputError, match="folder of that name"):
        fetch()


# --- names and folders ---------------------------------------------------------------------------


def test_table() -> None:
    names = ["yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x"]
    assert zoo.zoo_names() == names
    entries = [zoo.zoo_model(name) for name in names]
    assert [entry.name for entry in entries] == names
    assert [entry.input_size for entry in entries] == [416, 416, 640, 640, 640, 640]
    assert {entry.preset for entry in entries} == {"yolox"}
    assert [entry.file_name for entry in entries] == [f"{n.replace('-', '_')}.onnx" for n in names]
    assert entries[2].url == (
        "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_s.onnx"
    )
    sizes = [entry.approximate_bytes for entry in entries]
    assert sizes == sorted(sizes)
    for entry in entries:
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256 or "")


def test_known_names() -> None:
    assert all(zoo.is_zoo_name(name) for name in zoo.zoo_names())
    assert not any(map(zoo.is_zoo_name, ["", "yolox", "yolox_s", "yolox-s.onnx", "YOLOX-S"]))


@pytest.mark.parametrize(
    ("name", "near"), [("yolox-nanno", "yolox-nano"), ("YOLOX_tiny", "yolox-tiny")]
)
def test_unknown_name_names_the_nearest(name: str, near: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{name}': no such model; did you mean {near}"):
        zoo.fetch(name, cache=tmp_path)


def test_name_that_is_near_to_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"give one of those or a file \(known: yolox-nano, yol"):
        zoo.fetch("resnet", cache=tmp_path)


def test_fetch_by_name(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo._MODELS, "yolox-test", model())
    monkeypatch.setenv("MOTRAIL_CACHE", str(tmp_path / "mine"))
    path = zoo.fetch("yolox-test", base_url=server.url, timeout=5)
    assert path == tmp_path / "mine" / FILE
    assert path.read_bytes() == BODY


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification says to ignore
    assert zoo.cache_folder() == tmp_path / ".cache" / "motrail"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert zoo.cache_folder() == tmp_path / "xdg" / "motrail"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert zoo.cache_folder() == tmp_path / "Library" / "Caches" / "motrail"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert zoo.cache_folder() == tmp_path / "local" / "motrail"
    monkeypatch.setenv("MOTRAIL_CACHE", "~/mine")
    assert zoo.cache_folder() == tmp_path / "mine"


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ModelError, match="set MOTRAIL_CACHE"):
        zoo.cache_folder()
