"""Ends of jobs are told: signed, at least once, with the same id, without holding up anything."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from job_server import make_jobs, serving, wait_for
from models import spots_clip, write_bundle
from motrail.serve.jobs import service, webhook
from motrail.serve.jobs.addresses import Allowed
from motrail.serve.jobs.metrics import JobMetrics
from motrail.serve.jobs.store import Store
from motrail.serve.jobs.webhook import Notifier, signature
from motrail.serve.logs import Log
from receiver import Came, Receiver, Says

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    import httpx

SECRET = "between the two of us"  # noqa: S105


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("webhooks")
    write_bundle(folder / "model")
    spots_clip(folder / "clip.mp4", frames=5)
    (folder / "bad.mp4").write_bytes(b"no video" * 100)
    return folder


def options(place: Path, *receivers: Receiver, **more: Any) -> dict[str, Any]:
    return {
        "allow": (str(place),),
        "allow_webhooks": tuple(receiver.url for receiver in receivers),
        "wait": 0.01,
        **more,
    }


def submit(client: httpx.Client, url: str, source: str = "clip.mp4") -> str:
    answer = client.post("/jobs", json={"source": source, "webhook": url})
    assert answer.status_code == 202
    id_: str = answer.json()["id"]
    return id_


def told(client: httpx.Client, id_: str, *, attempts: int | None = None) -> dict[str, Any]:
    """The job when its webhook is delivered or given up, or was tried so often."""
    deadline = time.monotonic() + 30
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{id_}").json()
        hook = job["webhook"]
        if hook["state"] != "waiting" or hook["attempts"] == attempts:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


def body(came: Came) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(came.body)
    return content


def test_a_known_signature() -> None:
    """HMAC-SHA256 of the sentence that everybody uses for it."""
    text = b"The quick brown fox jumps over the lazy dog"
    assert signature("key", text) == (
        "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    )


def test_a_job_that_is_done_and_one_that_failed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(service.SECRET, SECRET)
    with (
        Receiver() as receiver,
        serving(make_jobs(place / "model", tmp_path, **options(place, receiver))) as client,
    ):
        done = told(client, submit(client, f"{receiver.url}done?a=1"))
        failed = told(client, submit(client, f"{receiver.url}failed", "bad.mp4"))
    first, second = receiver.came
    assert (first.method, first.path) == ("POST", "/done?a=1")
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["X-Motrail-Event-Id"] == done["id"]
    mac = hmac.new(SECRET.encode(), first.body, hashlib.sha256).hexdigest()
    assert first.headers["X-Motrail-Signature"] == f"sha256={mac}"
    assert body(first) == {
        "awsRegion": None,
        "eventTime": done["ended"],
        "receivedTime": done["created"],
        "invocationStatus": "Completed",
        "requestParameters": {"inputLocation": "clip.mp4"},
        "responseParameters": {"outputLocation": f"/jobs/{done['id']}/result"},
        "inferenceId": done["id"],
        "eventVersion": "1.0",
        "eventSource": "motrail:jobs",
        "eventName": "InferenceResult",
    }
    content = body(second)
    assert content["invocationStatus"] == "Failed"
    assert content["failureReason"] == failed["error"]
    assert "expected a video" in content["failureReason"]
    assert content["responseParameters"] == {"outputLocation": None}
    assert done["webhook"] == {"state": "delivered", "attempts": 1, "error": None}


def test_an_upload_is_told_too_and_nobody_signs_without_a_secret(
    place: Path, tmp_path: Path
) -> None:
    with (
        Receiver() as receiver,
        serving(make_jobs(place / "model", tmp_path, **options(place, receiver))) as client,
    ):
        headers = {"Content-Type": "video/mp4", "X-Motrail-Webhook": f"{receiver.url}x"}
        video = (place / "clip.mp4").read_bytes()
        id_ = client.post("/jobs", content=video, headers=headers).json()["id"]
        told(client, id_)
        plain = submit(client, f"{receiver.url}x")
        told(client, plain)
        quiet = client.post("/jobs", json={"source": "clip.mp4"}).json()["id"]
        assert wait_for(client, quiet)["webhook"] is None
    assert [came.headers["X-Motrail-Event-Id"] for came in receiver.came] == [id_, plain]
    assert "X-Motrail-Signature" not in receiver.came[0].headers
    assert body(receiver.came[0])["requestParameters"] == {"inputLocation": None}


def test_tried_again_until_it_is_taken(place: Path, tmp_path: Path) -> None:
    with (
        Receiver(Says(500), Says(429), Says(204)) as receiver,
        serving(make_jobs(place / "model", tmp_path, **options(place, receiver))) as client,
    ):
        job = told(client, submit(client, receiver.url))
    assert job["webhook"] == {"state": "delivered", "attempts": 3, "error": None}
    assert len({came.body for came in receiver.came}) == 1
    assert [came.headers["X-Motrail-Event-Id"] for came in receiver.came] == [job["id"]] * 3


def test_given_up_in_the_end(place: Path, tmp_path: Path) -> None:
    """The result is there all the same."""
    with Receiver(Says(500)) as receiver:
        limits = options(place, receiver, webhook_attempts=2)
        with serving(make_jobs(place / "model", tmp_path, **limits)) as client:
            job = told(client, submit(client, receiver.url))
            assert client.get(f"/jobs/{job['id']}/result").status_code == 200
    assert job["state"] == "done"
    assert job["webhook"] == {
        "state": "failed",
        "attempts": 2,
        "error": "127.0.0.1: expected a status of 2xx, found 500",
    }
    assert len(receiver.came) == 2


def test_a_redirect_inwards_is_not_followed(place: Path, tmp_path: Path) -> None:
    with Receiver() as inside:
        away = Says(307, headers={"Location": f"{inside.url}admin"})
        with Receiver(away) as receiver:
            limits = options(place, receiver, webhook_attempts=1)
            with serving(make_jobs(place / "model", tmp_path, **limits)) as client:
                job = told(client, submit(client, receiver.url))
    assert job["webhook"]["error"] == (
        "127.0.0.1: expected a status of 2xx, found 307; redirects are not followed"
    )
    assert len(receiver.came) == 1
    assert inside.came == []


def test_one_that_never_answers_holds_up_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "_SECONDS", 2.0)

    def never(_handler: BaseHTTPRequestHandler) -> None:
        receiver.closing.wait(30)

    with Receiver(never) as receiver, Receiver() as other:
        limits = options(place, receiver, other, webhook_attempts=1)
        with serving(make_jobs(place / "model", tmp_path, **limits)) as client:
            stuck = [submit(client, receiver.url) for _ in range(2)]
            for id_ in stuck:
                assert wait_for(client, id_)["state"] == "done"
            fine = told(client, submit(client, other.url))
            assert fine["webhook"]["state"] == "delivered"
            for id_ in stuck:
                assert told(client, id_)["webhook"] == {
                    "state": "failed",
                    "attempts": 1,
                    "error": "127.0.0.1: no whole answer within 2 s",
                }


def test_a_webhook_survives_the_server(place: Path, tmp_path: Path) -> None:
    """Also one that is not allowed any more: then that is noted, and nobody is called."""
    with Receiver(Says(500), Says(500), Says(200)) as receiver:
        limits = options(place, receiver, wait=1000.0)
        with serving(make_jobs(place / "model", tmp_path / "a", **limits)) as client:
            ids = [submit(client, receiver.url), submit(client, receiver.url)]
            for id_ in ids:
                told(client, id_, attempts=1)
        jobs = make_jobs(place / "model", tmp_path / "a", **limits)
        for id_ in ids:  # as if the time had passed
            jobs.store._connection.execute("UPDATE jobs SET notice_due = 1 WHERE id = ?", (id_,))
        with serving(jobs) as client:
            hooks = [told(client, id_)["webhook"] for id_ in ids]
        assert hooks == [{"state": "delivered", "attempts": 2, "error": None}] * 2
        # At least once: an answer that came while the server was stopped does not count there.
        came = Counter(each.headers["X-Motrail-Event-Id"] for each in receiver.came)
        assert set(came) == set(ids)
        assert min(came.values()) >= 2


def test_one_that_is_not_allowed_any_more(place: Path, tmp_path: Path) -> None:
    with Receiver(Says(500)) as receiver:
        limits = options(place, receiver, webhook_attempts=2, wait=1000.0)
        with serving(make_jobs(place / "model", tmp_path, **limits)) as client:
            id_ = submit(client, receiver.url)
            told(client, id_, attempts=1)
        jobs = make_jobs(place / "model", tmp_path, **options(place, webhook_attempts=2))
        jobs.store._connection.execute("UPDATE jobs SET notice_due = 1")  # time passes
        with serving(jobs) as client:
            hook = told(client, id_)["webhook"]
    assert hook["state"] == "failed"
    assert hook["error"].startswith("this is not among the sources and addresses")
    assert len(receiver.came) == 1


def test_pauses_grow_and_differ(tmp_path: Path) -> None:
    """2 s, 6 s, 18 s … up to an hour, each half to one and a half of that."""
    store = Store(tmp_path / "jobs.db")
    allowed = Allowed([], "allow_webhooks", folders=False)
    notifier = Notifier(
        store, allowed, None, 8, 2.0, lambda *_: None, Log(None), JobMetrics(store, None)
    )
    for attempt, middle in ((1, 2), (2, 6), (3, 18), (4, 54), (7, 1458), (8, 3600), (500, 3600)):
        pauses = [notifier.pause(attempt) for _ in range(50)]
        assert min(pauses) >= middle / 2
        assert max(pauses) <= middle * 1.5
        assert len(set(pauses)) > 10
    store.close()
