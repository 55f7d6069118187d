"""What jobs may name as their source, and how it is fetched: nothing inwards, nothing around."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from job_server import make_jobs, serving, wait_for
from models import spots_clip, write_bundle
from motrail.errors import ConfigError, OutputError
from motrail.serve.jobs.addresses import Allowed, Permit, is_public, parse_url
from motrail.serve.jobs.outbound import OutboundError, fetch, lookup, request
from motrail.serve.problems import Problem
from receiver import Receiver, Says

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is allowed, beside one that is not."""
    allowed = tmp_path / "allowed"
    (allowed / "deep").mkdir(parents=True)
    (allowed / "clip.mp4").write_text("video")
    (allowed / "deep" / "clip.mp4").write_text("video")
    (tmp_path / "allowed-not").mkdir()
    for place in (tmp_path, tmp_path / "allowed-not"):
        (place / "secret.mp4").write_text("not for everyone")
    (allowed / "link.mp4").symlink_to(allowed / "deep" / "clip.mp4")
    (allowed / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (allowed / "out").symlink_to(tmp_path)
    (allowed / "loop").symlink_to(allowed / "loop")
    os.mkfifo(allowed / "pipe")
    return allowed


def test_paths_inside(folder: Path) -> None:
    allowed = Allowed([str(folder)], "allow", folders=True)
    clip = folder / "clip.mp4"
    for text in ("clip.mp4", str(clip), "deep/../clip.mp4", f"{folder}/./clip.mp4"):
        assert allowed.file(text) == clip
    assert allowed.file("link.mp4") == folder / "deep" / "clip.mp4"
    second = Allowed([str(folder / "deep"), str(folder)], "allow", folders=True)
    assert second.file("clip.mp4") == folder / "deep" / "clip.mp4"


@pytest.mark.parametrize(
    "text",
    [
        "../secret.mp4",
        "../../etc/passwd",
        "/etc/passwd",
        "/etc/no-such-file",
        "out.mp4",
        "out/secret.mp4",
        "out/no-such-file",
        "deep/../../secret.mp4",
        "../allowed-not/secret.mp4",
        "no-such-file.mp4",
        "loop",
        "pipe",
        "deep",
        "",
        ".",
        "clip.mp4\0",
        "x" * 5000,
        "/dev/zero",
        "/dev/stdin",
        "file:///etc/passwd",
        "ftp://host/clip.mp4",
        "*.mp4",
        "~/clip.mp4",
    ],
)
def test_paths_outside_get_one_answer(folder: Path, text: str) -> None:
    """It does not tell whether the file is there."""
    allowed = Allowed([str(folder), "/dev"], "allow", folders=True)
    with pytest.raises(Problem) as caught:
        allowed.file(text)
    assert (caught.value.status, caught.value.code) == (403, "not_allowed")
    assert caught.value.message == (
        "this is not among the sources and addresses that the operator allows"
    )


def test_a_link_that_changes_after_submission(tmp_path: Path) -> None:
    """The path is looked at again when the job begins."""
    write_bundle(tmp_path / "model")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    clip = spots_clip(allowed / "clip.mp4", frames=3)
    spots_clip(tmp_path / "secret.mp4", frames=3)
    (allowed / "link.mp4").symlink_to(clip)
    jobs = make_jobs(tmp_path / "model", tmp_path / "jobs", allow=(str(allowed),))
    begin = jobs.store.begin

    def changed(id_: str) -> Any:
        (allowed / "link.mp4").unlink()
        (allowed / "link.mp4").symlink_to(tmp_path / "secret.mp4")
        return begin(id_)

    jobs.store.begin = changed  # type: ignore[method-assign]
    with serving(jobs) as client:
        id_ = client.post("/jobs", json={"source": "link.mp4"}).json()["id"]
        job = wait_for(client, id_)
        assert job["state"] == "failed"
        assert job["error"].startswith("this is not among the sources")
        refused = client.post("/jobs", json={"source": "../secret.mp4"})
        assert refused.status_code == 403
        assert client.post("/jobs", json={"source": "http://example.com/"}).status_code == 403


ADDRESSES = [
    ("https://host/videos/", "https://host/videos/a.mp4", True),
    ("https://host/videos", "https://host/videos/a.mp4?signature=x", True),
    ("https://host/videos", "https://host/videos", True),
    ("https://host", "https://HOST:443/a.mp4", True),
    ("https://host", "https://host./a.mp4", True),
    ("http://host:8000/", "http://host:8000/a", True),
    ("https://", "https://anywhere.example/a", True),
    ("http://[::1]:80/", "http://[0:0:0:0:0:0:0:1]/a", True),
    ("https://host/videos", "https://host/videos2/a.mp4", False),
    ("https://host/videos/", "https://host/", False),
    ("https://host/videos", "https://host/videos/../a.mp4", False),
    ("https://host/videos", "https://host/videos/%2e%2e/a.mp4", False),
    ("https://host/videos", "https://host/videos/%252e%252e/a.mp4", False),
    ("https://host/videos", "https://host/videos/..%2fa.mp4", False),
    ("https://host/videos", "https://host/videos/..;/a.mp4", False),
    ("https://host/videos", "https://host/videos/..\\a.mp4", False),
    ("https://host/", "http://host/", False),
    ("https://host/", "https://host:444/", False),
    ("https://host/", "https://host.evil.example/", False),
    ("https://host/", "https://evil.example/host/", False),
    ("https://host/", "https://host@evil.example/", False),
    ("https://host/", "https://evil.example#https://host/", False),
    ("https://host/", "https://evil.example\\@host/", False),
    ("https://host/", "https:///host/", False),
    ("https://host/", "https://host:x/", False),
    ("https://host/", "https://host:99999/", False),
    ("https://host/", "https://h\u00f6st/", False),
    ("https://host/", "https://host/a b", False),
    ("https://host/", "https://host/a\r\nX-Evil: 1", False),
    ("https://host/", f"https://host/{'a' * 2048}", False),
    ("https://", "https:///a", False),
    ("https://", "http://anywhere.example/a", False),
    ("https://", "https://anywhere.example:8443/a", False),
    ("https://", "https://[::1", False),
]


@pytest.mark.parametrize(("entry", "text", "good"), ADDRESSES)
def test_addresses_are_compared_by_their_parts(entry: str, text: str, good: bool) -> None:
    allowed = Allowed([entry], "allow", folders=True)
    if good:
        assert not allowed.url(text).inward or "[" in entry
        return
    with pytest.raises(Problem) as caught:
        allowed.url(text)
    assert caught.value.status == 403


def test_bad_entries() -> None:
    with pytest.raises(ConfigError, match="allow: 'https://a@b/': expected no user"):
        Allowed(["https://a@b/"], "allow", folders=True)
    with pytest.raises(ConfigError, match="allow: 'https://b/../': expected no '.' or '..'"):
        Allowed(["https://b/../"], "allow", folders=True)


PRIVATE = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",  # noqa: S104
    "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
    "::", "::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2001::1", "100::1", "64:ff9b:1::1",
]  # fmt: skip


def test_private_addresses_however_they_are_written() -> None:
    assert [text for text in PRIVATE if is_public(ipaddress.ip_address(text))] == []
    public = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::808:808"]
    assert [text for text in public if is_public(ipaddress.ip_address(text))] == public


SPELLINGS = [
    "http://127.0.0.1/", "http://2130706433/", "http://0177.0.0.1/", "http://0x7f.1/",
    "http://127.1/", "http://0/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/", "http://localhost/", "http://LOCALHOST./",
    "http://[fd00:ec2::254]/", "http://[fe80::1]/",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_no_spelling_leads_inwards(text: str) -> None:
    """Even where every host is allowed, private ones are not."""
    permit = Allowed(["http://"], "allow", folders=True).url(text)
    with pytest.raises(OutboundError, match="private network|not known"):
        lookup(permit)


def test_the_operator_may_name_a_private_host() -> None:
    allowed = Allowed(["http://127.0.0.1:9000/", "http://localhost:9000/a"], "allow", folders=True)
    assert lookup(allowed.url("http://127.0.0.1:9000/x")) == ["127.0.0.1"]
    found = set(lookup(allowed.url("http://localhost:9000/a")))
    assert found <= {"127.0.0.1", "::1"}
    for text in ("http://127.0.0.2:9000/", "http://127.0.0.1:9001/", "http://2130706433:9000/"):
        with pytest.raises(Problem):
            allowed.url(text)


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to these, one after another; gives the list of names asked for."""
    asked: list[str] = []
    left = list(answers)

    def resolve(host: str, port: int, *_: object, **__: object) -> list[Any]:
        if host[0].isdigit():  # a number is itself
            found = [host]
        else:
            asked.append(host)
            found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_name_that_changes_its_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was checked; nobody asks a second time."""
    asked = resolving(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], *_: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", connect)
    permit = Allowed(["http://"], "allow", folders=True).url("http://rebind.example/")
    with (
        pytest.raises(OutboundError, match="rebind.example: Connection refused"),
        request(permit, "GET", seconds=5),
    ):
        pass
    assert asked == ["rebind.example"]
    assert connected == [("93.184.216.34", 80)]
    with pytest.raises(OutboundError, match="rebind.example: belongs to a private network"):
        lookup(permit)


def test_an_address_that_does_not_answer_is_followed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver(Says(body=b"video")) as receiver:
        resolving(monkeypatch, ["127.0.0.2", "127.0.0.1"])
        permit = Permit(parse_url(f"http://localhost:{receiver.port}/"), inward=True)
        assert fetch(permit, tmp_path / "a", limit=1000, seconds=10) == 5


def test_a_name_with_one_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(OutboundError, match="belongs to a private network, which is not allowed"):
        lookup(Permit(parse_url("https://two.example/"), inward=False))
    resolving(monkeypatch, ["10.0.0.1"])
    with pytest.raises(OutboundError, match="localhost: belongs to a private network"):
        lookup(Permit(parse_url("http://localhost/"), inward=True))


def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(OutboundError, match="nowhere.example: the name of the host is not known"):
        lookup(Permit(parse_url("https://nowhere.example/"), inward=False))


def here(receiver: Receiver, path: str = "video") -> Permit:
    return Permit(parse_url(f"{receiver.url}{path}"), inward=True)


def test_a_video_is_fetched(tmp_path: Path) -> None:
    with Receiver(Says(body=b"video" * 1000)) as receiver:
        length = fetch(here(receiver, "a.mp4?x=1"), tmp_path / "a", limit=5000, seconds=10)
    assert length == 5000
    assert (tmp_path / "a").read_bytes() == b"video" * 1000
    came = receiver.came[0]
    assert (came.method, came.path) == ("GET", "/a.mp4?x=1")
    assert came.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert came.headers["Accept-Encoding"] == "identity"


def chunked(*chunks: bytes) -> Any:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

    return say


ANSWERS: list[tuple[Any, str]] = [
    (Says(404), "expected status 200, found 404"),
    (Says(302, headers={"Location": "http://169.254.169.254/"}), "found 302; redirects are not"),
    (Says(206, b"part"), "expected status 200, found 206"),
    (Says(body=bytes(1001)), "expected at most 1000 bytes"),
    (chunked(bytes(600), bytes(600)), "expected at most 1000 bytes"),
    (chunked(bytes(600)), "the answer was broken off"),
    (Says(body=b"zip", headers={"Content-Encoding": "gzip"}), "expected no content encoding"),
    (Says(body=b"abc", headers={"Content-Length": "900"}), "expected 900 bytes, found 3"),
    (lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n"), "it does not answer in HTTP"),
    (lambda handler: None, "it does not answer in HTTP"),
]


@pytest.mark.parametrize(("answer", "message"), ANSWERS)
def test_what_is_no_good_answer(tmp_path: Path, answer: Any, message: str) -> None:
    with Receiver(answer) as receiver:
        with pytest.raises(OutboundError) as caught:
            fetch(here(receiver), tmp_path / "a", limit=1000, seconds=10)
        assert len(receiver.came) == 1  # nobody went elsewhere
    assert message in str(caught.value)


@pytest.mark.parametrize(("begin", "piece"), [(b"", b"X: y\r\n"), (b"\r\n", b"x")])
def test_answers_that_never_end(tmp_path: Path, begin: bytes, piece: bytes) -> None:
    """A byte of the head or the body now and then does not buy more time."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + begin)
        while not receiver.closing.wait(0.05):
            handler.wfile.write(piece)

    with Receiver(drip) as receiver:
        with pytest.raises(OutboundError, match="no whole answer within 0.5 s"):
            fetch(here(receiver), tmp_path / "a", limit=1000, seconds=0.5)
        assert not receiver.closing.is_set()


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with (
        Receiver(Says(body=b"video")) as receiver,
        pytest.raises(OutputError, match="cannot be written"),
    ):
        fetch(here(receiver), tmp_path / "no" / "a", limit=1000, seconds=10)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for host.example that nobody has signed, and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=host.example",
         "-addext", "subjectAltName=DNS:host.example"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


def test_tls_is_verified_against_the_name(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is that of the look-up, the name that of the certificate."""
    resolving(monkeypatch, ["127.0.0.1"])

    def fetched(receiver: Receiver, host: str) -> int:
        url = parse_url(f"https://{host}:{receiver.port}/")
        return fetch(Permit(url, inward=True), tmp_path / "a", limit=1000, seconds=10)

    with Receiver(Says(body=b"video"), tls=certificate) as receiver:
        with pytest.raises(OutboundError, match="its certificate is not right: self-signed"):
            fetched(receiver, "host.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert fetched(receiver, "host.example") == 5
        with pytest.raises(OutboundError, match="Hostname mismatch"):
            fetched(receiver, "other.example")
    assert [came.headers["Host"] for came in receiver.came] == [f"host.example:{receiver.port}"]


def test_a_handshake_that_never_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        permit = Permit(parse_url(f"https://127.0.0.1:{port}/"), inward=True)
        with pytest.raises(OutboundError, match="no whole answer within 0.3 s"):
            fetch(permit, tmp_path / "a", limit=1000, seconds=0.3)


def test_a_job_by_address(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    video = spots_clip(tmp_path / "clip.mp4", frames=5).read_bytes()
    with Receiver(Says(body=video), Says(302, headers={"Location": "/b"})) as receiver:
        jobs = make_jobs(tmp_path / "model", tmp_path / "jobs", allow=(f"{receiver.url}videos",))
        with serving(jobs) as client:
            first, second = (
                client.post("/jobs", json={"source": f"{receiver.url}videos/{name}"})
                for name in ("my%20clip.mp4", "moved.mp4")
            )
            job = wait_for(client, first.json()["id"])
            assert (job["state"], job["name"], job["frames"]) == ("done", "my clip", 5)
            job = wait_for(client, second.json()["id"])
            assert (job["state"], job["attempts"]) == ("failed", 1)
            assert job["error"] == (
                "127.0.0.1: expected status 200, found 302; redirects are not followed"
            )
            refused = client.post("/jobs", json={"source": f"{receiver.url}other/clip.mp4"})
            assert refused.status_code == 403
    assert [came.path for came in receiver.came] == ["/videos/my%20clip.mp4", "/videos/moved.mp4"]
    assert isinstance(refused, httpx.Response)
