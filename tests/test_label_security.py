"""Who may use the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from labelled import TOKEN, Room, error_of, project, room
from motrail.label.problems import Problem
from motrail.label.security import Door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    with room(project(folder / "set")) as running:
        yield running


@pytest.fixture
def stranger(served: Room) -> Iterator[httpx.Client]:
    """A client without our cookie."""
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        yield client


PLACES = ["/", "/static/edits.js", "/api/project", "/api/sequences/0", "/api/sequences/0/frames/1"]


@pytest.mark.parametrize("path", PLACES)
def test_nothing_without_the_token(stranger: httpx.Client, path: str) -> None:
    code, message = error_of(stranger.get(path), 401)
    assert code == "unauthorized"
    assert "with its token" in message


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "%00", "ä"])
def test_wrong_tokens(stranger: httpx.Client, token: str) -> None:
    error_of(stranger.get(f"/?token={token}"), 401)
    assert not stranger.cookies


def test_the_token_is_changed_for_a_cookie(served: Room, stranger: httpx.Client) -> None:
    answer = stranger.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert cookie.startswith(f"motrail_label_{served.url.rpartition(':')[2]}=")
    assert stranger.get("/api/project").status_code == 200


@pytest.mark.parametrize(
    "cookie", ["", "a=b", "motrail_label_1=x", "\x01", "motrail_label", ";;;=", "ä=ö"]
)
def test_wrong_cookies(stranger: httpx.Client, cookie: str) -> None:
    headers = {b"cookie": cookie.encode("latin-1")}
    try:
        answer = stranger.get("/api/project", headers=headers)
    except httpx.RemoteProtocolError:
        return  # no HTTP at all
    assert answer.status_code in (400, 401)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}",
     "127.0.0.1:{port}@evil", "[::1", "192.168.1.5:{port}", ""],
)  # fmt: skip
def test_other_hosts_are_refused(served: Room, host: str) -> None:
    port = served.url.rpartition(":")[2]
    headers = {"Host": host.format(port=port)}
    answer = served.client.get("/api/project", headers=headers)
    assert error_of(answer, 421)[0] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "LOCALHOST:{port}"])
def test_our_own_names(served: Room, host: str) -> None:
    port = served.url.rpartition(":")[2]
    answer = served.client.get("/api/project", headers={"Host": host.format(port=port)})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Motrail": "1"},
        {"Origin": "ours"},
        {"Origin": "null", "X-Motrail": "1"},
        {"Origin": "http://evil.example", "X-Motrail": "1"},
        {"Origin": "ours", "X-Motrail": "1", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "ours", "X-Motrail": "1", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none", "X-Motrail": "1"},
        {"Origin": "ours", "X-Motrail": "0"},
    ],
)
@pytest.mark.parametrize("path", ["/edits", "/lock", "/undo", "/work"])
def test_other_sites_cannot_write(served: Room, path: str, headers: dict[str, str]) -> None:
    sent = {name: served.url if value == "ours" else value for name, value in headers.items()}
    answer = served.client.post(f"/api/sequences/0{path}", json={"tab": "t"}, headers=sent)
    assert error_of(answer, 403)[0] == "cross_site"
    assert served.client.post("/api/save", json={}, headers=sent).status_code == 403


def test_other_sites_cannot_read(served: Room) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        error_of(served.client.get("/api/sequences/0/frames/1", headers=headers), 403)


def test_the_page_itself_may_write(served: Room) -> None:
    for headers in (
        served.ours,
        {"X-Motrail": "1", "Sec-Fetch-Site": "same-origin"},
        served.ours | {"Sec-Fetch-Site": "same-origin"},
    ):
        answer = served.client.post("/api/sequences/0/lock", json={"tab": "t"}, headers=headers)
        assert answer.json()["held"] is True


@pytest.mark.parametrize("path", ["/", "/api/project", "/api/nothing", "/static/edits.js"])
def test_headers_of_every_answer(served: Room, stranger: httpx.Client, path: str) -> None:
    for client in (served.client, stranger):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] in ("no-store", "no-cache")


def test_behind_a_proxy() -> None:
    door = Door("t" * 20, 8642, "https://label.example.org", loopback=False)
    door.check_host("label.example.org")
    door.check_host("10.0.0.7:8642")
    for host in ("label.example.org:81", "other.example.org", "10.0.0.7:1", "other:8642"):
        with pytest.raises(Problem, match="expected the address that was printed"):
            door.check_host(host)
    ours = {"host": "label.example.org", "x-motrail": "1", "origin": "https://label.example.org"}
    door.check_origin("POST", ours)
    with pytest.raises(Problem, match="did not come from the page itself"):
        door.check_origin("POST", ours | {"origin": "https://evil.example.org"})


def test_a_server_for_this_machine_is_not_asked_by_others() -> None:
    door = Door("t" * 20, 8642)
    door.check_host("[::1]:8642")
    with pytest.raises(Problem):
        door.check_host("10.0.0.7:8642")
