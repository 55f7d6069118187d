"""Jobs: submitted, watched, fetched, removed; refused where they ask for too much."""

from __future__ import annotations

import io
import json
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

import served
from commands import caller
from job_server import make_jobs, serving, wait_for
from models import SIDE, spot_network, spot_spec, spots_clip, spots_picture, write_bundle
from motrail.config import ServeSettings, Settings, TrackerSettings
from motrail.detect.bundle import read_bundle
from motrail.detect.detector import load_detector
from motrail.errors import ConfigError, OutputError
from motrail.serve.jobs import Jobs, service
from motrail.serve.logs import Log
from motrail.video.read import open_source
from motrail.video.write import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

VIDEO = {"Content-Type": "video/mp4"}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip and two models, one of them slow: some 30 ms a frame."""
    folder = tmp_path_factory.mktemp("jobs")
    write_bundle(folder / "model")
    spots_clip(folder / "clip.mp4", frames=20)
    slow = folder / "slow"
    slow.mkdir()
    (slow / "model.onnx").write_bytes(spot_network(side=2048))
    spec = spot_spec(input={"height": 2048, "width": 2048, "color": "bgr"})
    (slow / "model.json").write_text(json.dumps(spec), encoding="utf-8")
    spots_clip(folder / "long.mp4", frames=1000)
    return folder


@pytest.fixture(scope="module")
def shared(place: Path) -> Iterator[httpx.Client]:
    """A server for all tests that leave it as it was."""
    jobs = make_jobs(
        place / "model", place / "shared", allow=(str(place),), max_video_mb=1.0, job_workers=2
    )
    with serving(jobs) as client:
        yield client


@pytest.fixture
def slow(place: Path, tmp_path: Path) -> Iterator[tuple[httpx.Client, Jobs]]:
    """A server that is at one job for long, and has room for two to wait."""
    jobs = make_jobs(place / "slow", tmp_path / "jobs", allow=(str(place),), max_jobs=2)
    with serving(jobs) as client:
        yield client, jobs


def upload(client: httpx.Client, content: bytes, **headers: str) -> httpx.Response:
    return client.post("/jobs", content=content, headers={**VIDEO, **headers})


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def test_an_upload_becomes_the_track_file_of_the_command_line(
    place: Path,
    shared: httpx.Client,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Settings in the header do what the flags do."""
    video = (place / "clip.mp4").read_bytes()
    settings = "tracker.lost_frames=3;tracker.score_fusion=false;refine.max_gap=5;video.stride=2"
    answer = upload(shared, video, **{ATTRIBUTES: settings, "X-Motrail-Outputs": "csv,mp4"})
    assert answer.status_code == 202
    short = answer.json()
    link = f"/jobs/{short['id']}"
    assert short == {
        "id": short["id"], "state": "queued", "links": {"self": link, "result": f"{link}/result"}
    }  # fmt: skip
    assert answer.headers["location"] == link
    job = wait_for(shared, short["id"])
    assert (job["state"], job["frames"], job["total"]) == ("done", 10, 10)
    assert (job["attempts"], job["error"], job["truncated"]) == (1, None, None)
    assert (job["name"], job["outputs"], job["webhook"]) == ("video", ["csv", "mp4"], None)
    assert job["created"] <= job["started"] <= job["ended"]
    result = caller(capsys, "track")(
        place / "clip.mp4", "-m", place / "model", "-o", tmp_path, "--lost-frames", 3,
        "--no-score-fusion", "--max-gap", 5, "--stride", 2,
    )  # fmt: skip
    assert result.code == 0
    found = shared.get(f"{link}/result", headers={"Accept": "text/csv"})
    assert found.content == (tmp_path / "clip.txt").read_bytes()
    (tmp_path / "job.mp4").write_bytes(
        shared.get(f"{link}/result", headers={"Accept": "video/mp4"}).content
    )
    with open_source(tmp_path / "job.mp4") as source:
        assert (source.width, source.height, len(list(source))) == (SIDE, SIDE, 10)


def test_a_result_in_every_form(place: Path, shared: httpx.Client, tmp_path: Path) -> None:
    """JSON Lines have a line for frames without anything, too."""
    with VideoWriter(
        tmp_path / "clip.mp4", width=SIDE, height=SIDE, frame_rate=10, crf=10
    ) as writer:
        for number in range(1, 10):
            lefts = [40.0] if number in (5, 6, 7, 8) else []
            writer.write(spots_picture(lefts), (number - 1) / 10)
    answer = upload(
        shared,
        (tmp_path / "clip.mp4").read_bytes(),
        **{ATTRIBUTES: "video.start=3;video.stride=2;tracker.new_track_threshold=0.5"},
    )
    id_ = answer.json()["id"]
    assert wait_for(shared, id_)["state"] == "done"

    def result(accept: str) -> httpx.Response:
        return shared.get(f"/jobs/{id_}/result", headers={"Accept": accept})

    rows = [line.split(",") for line in result("text/csv").text.splitlines()]
    assert {row[0] for row in rows} == {"7"}  # of 3, 5, 7, 9: seen in 5, sure in 7
    document = result("*/*").json()
    assert document["rows"] == [[float(cell) for cell in row] for row in rows]
    del document["rows"]
    assert document == {
        "name": "video", "width": SIDE, "height": SIDE, "frame_rate": 10.0, "frames": 4,
        "tracks": len({row[1] for row in rows}), "classes": ["spot"], "truncated": None,
    }  # fmt: skip
    lines = [json.loads(line) for line in result("application/jsonl").text.splitlines()]
    assert [line["frame"] for line in lines] == [3, 5, 7, 9]
    assert [len(line["tracks"]) for line in lines] == [
        sum(row[0] == number for row in rows) for number in "3579"
    ]
    first, row = lines[2]["tracks"][0], rows[0]
    left, top, width, height, score = map(float, row[2:7])
    assert first == {
        "id": int(row[1]), "box": [left, top, left + width, top + height], "score": score,
        "class": "spot",
    }  # fmt: skip
    assert problem(result("image/png"))[:2] == (406, "not_acceptable")
    assert problem(result("video/mp4")) == (
        406, "not_acceptable", "accept: expected application/json, text/csv, application/jsonl"
    )  # fmt: skip


def test_a_job_by_its_source(place: Path, shared: httpx.Client) -> None:
    asked = {"source": "clip.mp4", "settings": {"tracker": {"lost_seconds": 2}}, "name": "my clip"}
    first = shared.post("/jobs", json=asked).json()["id"]
    second = shared.post("/jobs", json={"source": str(place / "clip.mp4")}).json()["id"]
    job = wait_for(shared, first)
    assert (job["state"], job["name"], job["outputs"]) == ("done", "my clip", ["csv"])
    assert wait_for(shared, second)["name"] == "clip"
    ids = [job["id"] for job in shared.get("/jobs").json()["jobs"]]
    assert ids[:2] == [second, first]
    assert len(shared.get("/jobs?limit=1").json()["jobs"]) == 1
    assert problem(shared.get("/jobs?limit=0")) == (
        400, "bad_request", "limit: expected a whole number from 1 to 1000"
    )  # fmt: skip
    assert (place / "clip.mp4").exists()


def test_the_operators_settings_are_the_base(place: Path, tmp_path: Path) -> None:
    settings = Settings(tracker=TrackerSettings(new_track_threshold=0.99999))
    with serving(make_jobs(place / "model", tmp_path, settings)) as client:
        video = (place / "clip.mp4").read_bytes()
        none = upload(client, video).json()["id"]
        some = upload(client, video, **{ATTRIBUTES: "tracker.new_track_threshold=0.5"}).json()["id"]
        tracks = []
        for id_ in (none, some):
            wait_for(client, id_)
            tracks.append(client.get(f"/jobs/{id_}/result").json()["tracks"])
    assert tracks[0] == 0
    assert tracks[1] >= 2


def test_what_is_no_video(place: Path, shared: httpx.Client) -> None:
    id_ = upload(shared, b"this is no video" * 100).json()["id"]
    job = wait_for(shared, id_)
    assert job["state"] == "failed"
    assert job["error"].startswith("video: expected a video (mp4, mov, mkv, webm, avi, ts, ...)")
    assert str(place) not in json.dumps(job)
    assert problem(shared.get(f"/jobs/{id_}/result")) == (
        409, "failed", f"this job failed and has no result: {job['error']}"
    )  # fmt: skip
    assert not (place / "shared" / id_ / "source").exists()
    playlist = upload(shared, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n").json()["id"]
    assert "found a playlist" in wait_for(shared, playlist)["error"]


BAD_UPLOADS: list[tuple[dict[str, str], int, str]] = [
    ({ATTRIBUTES: "tracker.lost_frame=3"}, 400, "did you mean 'lost_frames'?"),
    ({ATTRIBUTES: "video.crf=1"}, 400, "unknown 'video.crf'"),
    ({ATTRIBUTES: "frame=3"}, 400, "frame: is for frames; a video has its own"),
    ({ATTRIBUTES: "close=true"}, 400, "close: expected a session"),
    ({"X-Motrail-Outputs": "csv,exe"}, 400, "expected csv or csv,mp4, found 'csv,exe'"),
    ({"X-Motrail-Webhook": "http://127.0.0.1/"}, 403, "not among the sources and addresses"),
    ({"Idempotency-Key": "x" * 201}, 400, "expected 1 to 200 visible ASCII characters"),
    ({"Content-Encoding": "gzip"}, 415, "expected none, for it could be a bomb"),
    ({"Content-Type": "text/html"}, 415, "expected video/*, application/octet-stream or"),
]


@pytest.mark.parametrize(("headers", "status", "message"), BAD_UPLOADS)
def test_a_bad_upload(
    place: Path, shared: httpx.Client, headers: dict[str, str], status: int, message: str
) -> None:
    before = set((place / "shared").iterdir())
    answer = upload(shared, (place / "clip.mp4").read_bytes(), **headers)
    assert answer.status_code == status
    assert message in problem(answer)[2]
    assert set((place / "shared").iterdir()) == before


def test_bodies_that_are_empty_or_too_large(place: Path, shared: httpx.Client) -> None:
    before = set((place / "shared").iterdir())
    assert problem(upload(shared, b"")) == (
        400, "bad_request", "body: expected a video, found nothing"
    )  # fmt: skip
    too_large = (413, "too_large", "body: expected at most 1048576 bytes")
    assert problem(upload(shared, bytes((1 << 20) + 1))) == too_large
    pieces = (bytes(1 << 18) for _ in range(5))  # of unknown length
    assert problem(shared.post("/jobs", content=pieces, headers=VIDEO)) == too_large
    assert problem(shared.post("/jobs?name=" + "x" * 201, content=b"-", headers=VIDEO)) == (
        400, "bad_request", "name: expected 1 to 200 printable characters"
    )  # fmt: skip
    assert set((place / "shared").iterdir()) == before


BAD_BODIES: list[tuple[str, str]] = [
    ("nonsense", "body: expected JSON"),
    ("[]", "body: Input should be an object, found []"),
    ("{}", "source: Field required"),
    ('{"source": ""}', "source: String should have at least 1 character, found ''"),
    ('{"source": 3}', "source: Input should be a valid string, found 3"),
    ('{"source": "a", "source": "b"}', "a key stands there twice"),
    ('{"source": "a", "sauce": 1}', "sauce: Extra inputs are not permitted, found 1"),
    ('{"source": "a", "outputs": []}', "outputs: Tuple should have at least 1 item"),
    ('{"source": "a", "outputs": ["exe"]}', "outputs.0: Input should be 'csv' or 'mp4'"),
    ('{"source": "a", "settings": {"tracker": {"lost": 1}}}', "[tracker] unknown key 'lost'"),
    ('{"source": "a", "settings": {"tracker": {"lost_frames": "9"}}}', "valid integer, found '9'"),
    ('{"source": "a", "settings": {"tracker": {"lost_frames": -1}}}', "expected 0 or more, found"),
    ('{"source": "a", "settings": {"video": {"crf": 1}}}', "found video: crf"),
    ('{"source": "a", "settings": {"detector": {"device": "x"}}}', "found detector: device"),
    ('{"source": "a", "settings": {"refine": {"smoothing": NaN}}}', "NaN is no number"),
    ("[" * 50_000, "body: expected JSON"),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
def test_a_bad_body(shared: httpx.Client, body: str, message: str) -> None:
    answer = shared.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    status, code, text = problem(answer)
    assert status == 400
    assert code in ("bad_request", "bad_setting")
    assert message in text


def test_a_client_that_hangs_up_leaves_nothing(place: Path, shared: httpx.Client) -> None:
    before = set((place / "shared").iterdir())
    url = shared.base_url
    with socket.create_connection((url.host, url.port or 80)) as line:
        line.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\n"
            b"Content-Length: 100000\r\n\r\n" + bytes(5000)
        )
        until(lambda: set((place / "shared").iterdir()) != before)
    until(lambda: set((place / "shared").iterdir()) == before)


def until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_key_stands_for_one_job(place: Path, shared: httpx.Client) -> None:
    video = (place / "clip.mp4").read_bytes()
    first = upload(shared, video, **{"Idempotency-Key": "one"})
    again = upload(shared, video, **{"Idempotency-Key": "one"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    message = "Idempotency-Key: came before with another request; choose another one"
    used = (409, "key_in_use", message)
    assert problem(upload(shared, video[:-1], **{"Idempotency-Key": "one"})) == used
    other = upload(shared, video, **{"Idempotency-Key": "one", ATTRIBUTES: "video.stride=2"})
    assert problem(other) == used
    body = {"source": "clip.mp4"}
    key = {"Idempotency-Key": "two"}
    ids = {shared.post("/jobs", json=body, headers=key).json()["id"] for _ in range(3)}
    assert len(ids) == 1
    wait_for(shared, ids.pop())
    wait_for(shared, first.json()["id"])
    assert shared.delete(f"/jobs/{first.json()['id']}").status_code == 204
    assert upload(shared, video[:-1], **{"Idempotency-Key": "one"}).status_code == 202


def test_a_key_sent_many_times_at_once(place: Path, shared: httpx.Client) -> None:
    video = (place / "clip.mp4").read_bytes()
    answers: list[httpx.Response] = []

    def post(content: bytes) -> None:
        answers.append(upload(shared, content, **{"Idempotency-Key": "race"}))

    threads = [
        threading.Thread(target=post, args=(video if number % 3 else video + b"-",))
        for number in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status_code for answer in answers)
    same = 6 if statuses.count(409) == 3 else 3
    assert statuses == [200] * (same - 1) + [202] + [409] * (9 - same)
    ids = {answer.json()["id"] for answer in answers if answer.status_code < 300}
    assert len(ids) == 1
    assert wait_for(shared, ids.pop())["attempts"] == 1


def test_unknown_jobs_and_methods(shared: httpx.Client) -> None:
    unknown = (404, "unknown_job", "there is no such job")
    for id_ in ("0" * 32, "x", "%2e%2e", "0" * 5000):
        for path in (f"/jobs/{id_}", f"/jobs/{id_}/result"):
            assert problem(shared.get(path)) == unknown
        assert problem(shared.delete(f"/jobs/{id_}")) == unknown
    assert shared.put("/jobs").status_code == 405


def test_removed_while_queued_running_and_done(
    place: Path, slow: tuple[httpx.Client, Jobs]
) -> None:
    client, jobs = slow
    running = client.post("/jobs", json={"source": "long.mp4"}).json()["id"]
    queued = upload(client, (place / "clip.mp4").read_bytes()).json()["id"]
    assert wait_for(client, running, "running")["outputs"] == []
    until(lambda: jobs.files.work(running, 1).exists())
    assert problem(client.get(f"/jobs/{running}/result")) == (
        409, "not_done", "this job is running; ask again when it is done"
    )  # fmt: skip
    for id_ in (queued, running):
        assert client.delete(f"/jobs/{id_}").status_code == 204
        job = client.get(f"/jobs/{id_}").json()
        assert (job["state"], job["error"]) == ("cancelled", None)
        assert not jobs.files.folder(id_).exists()
        assert client.delete(f"/jobs/{id_}").status_code == 204
    assert client.get("/jobs").json() == {"jobs": []}
    done = client.post("/jobs", json={"source": "clip.mp4"}).json()["id"]
    assert wait_for(client, done)["state"] == "done"
    assert client.delete(f"/jobs/{done}").status_code == 204
    assert problem(client.get(f"/jobs/{done}/result")) == (
        410, "removed", "the result of this job was removed"
    )  # fmt: skip
    job = client.get(f"/jobs/{done}").json()
    assert (job["state"], job["outputs"]) == ("done", [])
    assert not jobs.files.folder(done).exists()


def test_no_room_for_more(place: Path, slow: tuple[httpx.Client, Jobs]) -> None:
    client, jobs = slow
    ids = [client.post("/jobs", json={"source": "long.mp4"}).json()["id"]]
    wait_for(client, ids[0], "running")
    key = {"Idempotency-Key": "known"}
    ids += [
        client.post("/jobs", json={"source": "clip.mp4"}, headers=headers).json()["id"]
        for headers in ({}, key)
    ]
    before = set(jobs.files.root.iterdir())
    full = upload(client, (place / "clip.mp4").read_bytes())
    assert problem(full)[:2] == (503, "busy")
    assert full.headers["retry-after"] == "30"
    assert set(jobs.files.root.iterdir()) == before
    known = client.post("/jobs", json={"source": "clip.mp4"}, headers=key)
    assert (known.status_code, known.json()["id"]) == (200, ids[2])
    client.delete(f"/jobs/{ids[1]}")
    assert client.post("/jobs", json={"source": "clip.mp4"}).status_code == 202


def test_progress_is_told(slow: tuple[httpx.Client, Jobs]) -> None:
    client, _ = slow
    id_ = client.post("/jobs", json={"source": "long.mp4"}).json()["id"]
    seen: list[dict[str, Any]] = []

    def further() -> bool:
        seen.append(client.get(f"/jobs/{id_}").json())
        return seen[-1]["eta_seconds"] is not None

    until(further)
    job = seen[-1]
    assert job["state"] == "running"
    assert 0 < job["frames"] < job["total"] == 1000
    assert job["eta_seconds"] > 0


def test_a_folder_that_cannot_be_used(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_LOCK_SECONDS", 0.1)
    jobs = make_jobs(place / "model", tmp_path / "jobs")
    with pytest.raises(ConfigError, match="another server works there; choose another folder"):
        make_jobs(place / "model", tmp_path / "jobs")
    jobs.start()
    jobs.stop()
    with pytest.raises(ConfigError, match="jobs_folder: expected a folder for jobs"):
        Jobs(read_bundle(place / "model"), None, Settings(), ServeSettings())
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        make_jobs(place / "model", tmp_path / "file" / "jobs")
    with pytest.raises(ConfigError, match="allow: expected a folder or http.*found '/not/there'"):
        make_jobs(place / "model", tmp_path / "more", allow=("/not/there",))
    with pytest.raises(ConfigError, match="allow_webhooks: expected http.*, found '/'"):
        make_jobs(place / "model", tmp_path / "more", allow_webhooks=("/",))


def test_the_clip_is_what_it_should_be(place: Path) -> None:
    """The slow model is to see what the other one sees, not nothing."""
    with open_source(place / "clip.mp4") as source:
        frames = list(source)
    assert len(frames) == 20
    assert int(np.max(frames[0].image)) > 200


def test_in_the_whole_server(place: Path, tmp_path: Path) -> None:
    """Behind the token, with errors, log and counters like the rest."""
    bundle, log = read_bundle(place / "model"), io.StringIO()
    limits = ServeSettings(jobs_folder=str(tmp_path / "jobs"), allow=(str(place),))
    registry = CollectorRegistry()
    jobs = Jobs(bundle, None, Settings(), limits, log=Log(log), registry=registry)
    detector = load_detector(place / "model")
    with served.serving(detector, token="secret", jobs=jobs) as server:  # noqa: S106
        client = server.client
        assert served.error_of(client.get("/jobs"), 401)[0] == "unauthorized"
        client.headers["Authorization"] = "Bearer secret"
        assert served.error_of(client.get("/jobs/x"), 404)[0] == "unknown_job"
        assert served.error_of(client.delete("/jobs"), 405)[0] == "method_not_allowed"
        body = {"source": "clip.mp4"}
        done = client.post("/jobs", json=body).json()["id"]
        wait_for(client, done)
        failed = upload(client, b"no video").json()["id"]
        wait_for(client, failed)
        until(lambda: "job_failed" in log.getvalue())
        text = generate_latest(registry).decode()
    for line in (
        'motrail_jobs{state="done"} 1.0',
        'motrail_jobs{state="failed"} 1.0',
        'motrail_jobs{state="queued"} 0.0',
        "motrail_job_attempts_total 2.0",
        'motrail_job_seconds_count{state="done"} 1.0',
    ):
        assert line in text.splitlines()
    entries = [json.loads(line) for line in log.getvalue().splitlines()]
    events = [(entry["event"], entry["job"], entry["attempts"]) for entry in entries]
    assert events == [("job_done", done[:8], 1), ("job_failed", failed[:8], 1)]
    assert str(place) not in log.getvalue()


def test_removed_at_any_moment(place: Path, tmp_path: Path) -> None:
    """Nothing is left of them, neither files nor threads."""
    before = set(threading.enumerate())
    jobs = make_jobs(place / "model", tmp_path / "jobs", job_workers=2)
    video = (place / "clip.mp4").read_bytes()
    random_ = random.Random(5)  # noqa: S311
    with serving(jobs) as client:
        for _ in range(8):
            id_ = upload(client, video).json()["id"]
            time.sleep(random_.uniform(0, 0.8))
            assert client.delete(f"/jobs/{id_}").status_code == 204
            job = client.get(f"/jobs/{id_}").json()
            assert job["state"] in ("cancelled", "done")
            assert not jobs.files.folder(id_).exists()
        assert client.get("/jobs").json() == {"jobs": []}
    assert list((tmp_path / "jobs").glob("*/")) == []
    until(lambda: set(threading.enumerate()) <= before)
