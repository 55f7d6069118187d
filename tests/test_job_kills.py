"""Jobs survive their processes and their server; what they may not take is taken from them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from job_server import OVER, Server, make_jobs, serving, wait_for
from models import spot_network, spot_spec, spots_clip, write_bundle
from motrail.config import Settings
from motrail.detect.detector import load_detector
from motrail.serve.jobs import runner
from motrail.serve.jobs.lock import ProcessLock
from motrail.serve.jobs.process import WorkProcess
from motrail.tracking import track_source
from motrail.video.read import open_source
from receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Prove
    from motrail.serve.jobs import Jobs

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips and two models, one of them slow: some 30 ms a frame."""
    folder = tmp_path_factory.mktemp("kills")
    write_bundle(folder / "model")
    slow = folder / "slow"
    slow.mkdir()
    (slow / "model.onnx").write_bytes(spot_network(side=1024))
    spec = spot_spec(input={"height": 1024, "width": 1024, "color": "bgr"})
    (slow / "model.json").write_text(json.dumps(spec), encoding="utf-8")
    for frames in (20, 40, 60):
        spots_clip(folder / f"{frames}.mp4", frames=frames)
    spots_clip(folder / "long.mp4", frames=1500)
    return folder


def tracked(place: Path, model: str, clip: str, folder: Path) -> bytes:
    """The track file as `motrail track` writes it."""
    source = open_source(place / clip)
    track_source(source, load_detector(place / model), Settings(), folder, video=False)
    return (folder / f"{source.name}.txt").read_bytes()


def until(true: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def process_of(jobs: Jobs, id_: str, *, other: int = 0) -> int:
    """The process that works on a job, when it is at it; not one that is known."""
    found: list[int] = []

    def there() -> bool:
        running = jobs._runner._running.get(id_)
        process = running and running.process
        if process and process.pid != other and list(jobs.files.folder(id_).glob("work-*/.*")):
            found.append(process.pid)
        return bool(found)

    until(there)
    return found[0]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def submit(client: httpx.Client, source: str, **more: Any) -> str:
    answer = client.post("/jobs", json={"source": source, **more})
    assert answer.status_code == 202, answer.text
    id_: str = answer.json()["id"]
    return id_


def result(client: httpx.Client, id_: str) -> bytes:
    return client.get(f"/jobs/{id_}/result", headers={"Accept": "text/csv"}).content


def test_a_process_that_is_killed_is_followed_by_another(place: Path, tmp_path: Path) -> None:
    jobs = make_jobs(place / "slow", tmp_path / "jobs", allow=(str(place),))
    with serving(jobs) as client:
        id_ = submit(client, "60.mp4")
        os.kill(process_of(jobs, id_), signal.SIGKILL)
        job = wait_for(client, id_)
        assert (job["state"], job["attempts"], job["frames"]) == ("done", 2, 60)
        assert result(client, id_) == tracked(place, "slow", "60.mp4", tmp_path)
        assert sorted(path.name for path in jobs.files.folder(id_).iterdir()) == ["lock", "result"]


def test_a_process_that_always_dies(place: Path, tmp_path: Path) -> None:
    jobs = make_jobs(place / "slow", tmp_path, allow=(str(place),), job_attempts=2)
    with serving(jobs) as client:
        id_ = submit(client, "long.mp4")
        first = process_of(jobs, id_)
        os.kill(first, signal.SIGSEGV)
        os.kill(process_of(jobs, id_, other=first), signal.SIGKILL)
        job = wait_for(client, id_)
        assert (job["state"], job["attempts"]) == ("failed", 2)
        assert job["error"] == (
            "its process died 2 times before the video was done (ended by SIGKILL); is there "
            "enough memory?"
        )
        assert wait_for(client, submit(client, "20.mp4"))["state"] == "done"


def test_a_video_that_never_ends(place: Path, tmp_path: Path) -> None:
    jobs = make_jobs(place / "slow", tmp_path, allow=(str(place),), video_seconds=1)
    with serving(jobs) as client:
        id_ = submit(client, "long.mp4")
        pid = process_of(jobs, id_)
        job = wait_for(client, id_)
        assert job["state"] == "failed"
        assert job["error"] == "it took longer than 1 s (video_seconds)"
        assert not alive(pid)
        assert job["attempts"] == 1


def test_frames_that_are_too_large(place: Path, tmp_path: Path) -> None:
    jobs = make_jobs(place / "model", tmp_path, allow=(str(place),), max_pixels=16_000)
    with serving(jobs) as client:
        job = wait_for(client, submit(client, "20.mp4"))
    assert job["error"] == "expected at most 16000 pixels a frame, found 128×128"


@LINUX
def test_a_disk_that_is_full_for_the_result(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cramped(WorkProcess):
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1000, 1000))

    jobs = make_jobs(place / "model", tmp_path, allow=(str(place),))
    with serving(jobs) as client:
        with monkeypatch.context() as patch:
            patch.setattr(runner, "WorkProcess", Cramped)
            job = wait_for(client, submit(client, "20.mp4"))
        assert (job["state"], job["attempts"]) == ("failed", 1)
        assert job["error"] == "the result cannot be kept: File too large"
        assert wait_for(client, submit(client, "20.mp4"))["state"] == "done"


def test_a_disk_that_is_full_for_the_server(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and goes on when there is room again; what ends meanwhile is not lost."""
    monkeypatch.setattr(runner, "_INSIST_SECONDS", 0.1)
    jobs = make_jobs(place / "slow", tmp_path, allow=(str(place),))
    full = False
    changing = jobs.store._changing

    def maybe() -> Any:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        return changing()

    monkeypatch.setattr(jobs.store, "_changing", maybe)
    with serving(jobs) as client:
        id_ = submit(client, "40.mp4")
        process_of(jobs, id_)
        full = True
        answer = client.post("/jobs", json={"source": "20.mp4"})
        assert answer.status_code == 507
        assert answer.json()["error"]["code"] == "no_space"
        until(jobs.files.result(id_).is_dir)
        assert client.get(f"/jobs/{id_}").json()["state"] == "running"
        full = False
        assert wait_for(client, id_)["state"] == "done"
        assert len(list(tmp_path.glob("*/"))) == 1


def test_a_queue_that_is_full(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be queued is not taken."""
    jobs = make_jobs(place / "model", tmp_path, allow=(str(place),))

    def full(_id: str) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with serving(jobs) as client:
        monkeypatch.setattr(jobs._queue, "add", full)
        assert client.post("/jobs", json={"source": "20.mp4"}).status_code == 507
        assert client.get("/jobs").json() == {"jobs": []}
        assert list(tmp_path.glob("*/")) == []


def test_a_server_that_stops_goes_on_later(place: Path, tmp_path: Path) -> None:
    """So does one whose end came just between the result and the note of it."""
    with serving(make_jobs(place / "slow", tmp_path / "jobs", allow=(str(place),))) as client:
        ids = [submit(client, "60.mp4"), submit(client, "20.mp4")]
        wait_for(client, ids[0], "running")
    jobs = make_jobs(place / "slow", tmp_path / "jobs", allow=(str(place),))
    assert jobs.store.counts()["done"] == 0
    with serving(jobs) as client:
        for id_, clip in zip(ids, ("60.mp4", "20.mp4"), strict=True):
            assert wait_for(client, id_)["state"] == "done"
            assert result(client, id_) == tracked(place, "slow", clip, tmp_path)
        began = wait_for(client, ids[0])["attempts"]
    assert began == 2
    again = make_jobs(place / "slow", tmp_path / "jobs", allow=(str(place),))
    again.store._connection.execute("UPDATE jobs SET state = 'running', ended = NULL")
    (again.files.root / ("0" * 32)).mkdir()  # an upload that was under way
    with serving(again) as client:
        job = wait_for(client, ids[0])
        assert (job["state"], job["frames"], job["attempts"]) == ("done", 60, 3)
        assert not (again.files.root / ("0" * 32)).exists()


def test_old_jobs_are_swept(place: Path, tmp_path: Path) -> None:
    jobs = make_jobs(place / "model", tmp_path, allow=(str(place),), job_days=2)
    with serving(jobs) as client:
        old, new = submit(client, "20.mp4"), submit(client, "20.mp4")
        for id_ in (old, new):
            wait_for(client, id_)
        day = 86400

        def age(what: str, days: float) -> None:
            jobs.store._connection.execute(
                f"UPDATE jobs SET {what} = {what} - {days * day} WHERE id = ?",  # noqa: S608
                (old,),
            )

        age("ended", 1.9)
        jobs.sweep()
        assert client.get(f"/jobs/{old}/result").status_code == 200
        age("ended", 0.2)
        jobs.sweep()
        assert client.get(f"/jobs/{old}/result").status_code == 410
        assert not jobs.files.folder(old).exists()
        assert client.get(f"/jobs/{new}/result").status_code == 200
        age("removed", 2.1)
        jobs.sweep()
        assert client.get(f"/jobs/{old}").status_code == 404
    again = make_jobs(place / "model", tmp_path, allow=(str(place),), job_days=2)
    again.store._connection.execute(f"UPDATE jobs SET ended = ended - {2.1 * day}")  # noqa: S608
    with serving(again) as client:  # a server sweeps by itself
        until(lambda: client.get(f"/jobs/{new}/result").status_code == 410)


def test_two_processes_are_never_at_one_job(place: Path, tmp_path: Path) -> None:
    """While another one is at it, the second waits without touching anything."""
    jobs = make_jobs(place / "model", tmp_path, allow=(str(place),))
    other = ProcessLock(tmp_path / "other")
    make, folder = jobs.files.make, Path()

    def taken(id_: str) -> Path:
        nonlocal folder, other
        folder = make(id_)
        (folder / "work-0").mkdir()
        other = ProcessLock(folder / "lock")
        assert other.take(1)
        return folder

    jobs.files.make = taken  # type: ignore[method-assign]
    with serving(jobs) as client:
        id_ = submit(client, "20.mp4")
        wait_for(client, id_, "running")
        time.sleep(2)  # time enough for a job that does not wait
        assert client.get(f"/jobs/{id_}").json()["state"] == "running"
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "work-0"]
        other.release()
        assert wait_for(client, id_)["state"] == "done"
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "result"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from motrail.serve.jobs.lock import ProcessLock\n"
        "lock = ProcessLock(pathlib.Path(sys.argv[1])); print(lock.take(1), flush=True)\n"
        "sys.stdin.read()"
    )
    lock = ProcessLock(tmp_path / "lock")
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not lock.take(0.1)
        other.kill()
        assert lock.take(10)
    lock.release()
    assert lock.take(0.1)
    lock.release()


@LINUX
def test_a_server_that_is_killed_leaves_no_process(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its processes know none of its secrets."""
    monkeypatch.setenv("MOTRAIL_SERVE_WEBHOOK_SECRET", "secret")
    with Server(place / "slow", tmp_path / "jobs", allow=[str(place)]) as server:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            id_ = submit(client, "long.mp4")
        # Its program is another from the moment when it has begun.
        until(lambda: any(map(command, children_of(server.process.pid))))
        (child,) = children_of(server.process.pid)
        environment = Path(f"/proc/{child}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"MOTRAIL_SERVE_WEBHOOK_SECRET" not in environment
        assert id_
        server.kill()
        until(lambda: not alive(child))


def command(pid: int) -> bool:
    """Whether this is a process that works on a job."""
    return b"motrail.serve.jobs.work" in Path(f"/proc/{pid}/cmdline").read_bytes()


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text(encoding="ascii").split()]


def ends_once_whatever_happens(
    place: Path, folder: Path, *, jobs: int, kills: int, seed: int
) -> tuple[int, int]:
    """Kill the server at random moments; every job ends once and is told of, with the right rows.

    Returns:
        How many attempts there were, and how many webhooks came.
    """
    random_ = random.Random(seed)  # noqa: S311
    clips = ("20.mp4", "40.mp4", "60.mp4")
    wanted = {clip: tracked(place, "slow", clip, folder / "wanted") for clip in clips}
    ids: dict[str, str] = {}
    with Receiver() as receiver:
        options: dict[str, Any] = {"allow": [str(place)], "allow_webhooks": [receiver.url]}
        options |= {"job_workers": 2, "wait": 0.1}
        for moment in range(kills + 1):
            with Server(place / "slow", folder / "jobs", **options) as server:
                with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
                    last = moment == kills
                    if not last:
                        end = threading.Timer(random_.uniform(0, 2.5), server.process.kill)
                        end.start()
                    few = jobs if last else len(ids) + random_.randint(1, 4)
                    with contextlib.suppress(httpx.TransportError):  # killed in the middle of it
                        while len(ids) < min(jobs, few):
                            number = len(ids)
                            clip = clips[number % len(clips)]
                            answer = post(client, number, place / clip, receiver.url)
                            ids[answer.json()["id"]] = clip
                    if not last:
                        end.join()
                        server.kill()
                        continue
                    ended = {id_: wait_for(client, id_, *OVER, seconds=200) for id_ in ids}
                    for id_, clip in ids.items():
                        assert ended[id_]["state"] == "done", ended[id_]
                        assert result(client, id_) == wanted[clip]
                    until(lambda: told_of(receiver) == set(ids))
                    until(lambda: all(hook(client, id_) == "delivered" for id_ in ids))
                    assert len(client.get("/jobs").json()["jobs"]) == jobs
                assert server.stop() == 0
        for came in receiver.came:
            content = json.loads(came.body)
            assert content["invocationStatus"] == "Completed"
            assert content["inferenceId"] == came.headers["X-Motrail-Event-Id"]
        count = len(receiver.came)
    left = sorted(path.name for path in (folder / "jobs").glob("*/*"))
    assert left == ["lock"] * jobs + ["result"] * jobs
    return sum(job["attempts"] for job in ended.values()), count


def post(client: httpx.Client, number: int, clip: Path, webhook: str) -> httpx.Response:
    """Submit a job; the same one however often it is tried, for its key says so."""
    headers = {"Idempotency-Key": f"job {number}", "X-Motrail-Webhook": f"{webhook}{number}"}
    if number % 2:
        body = {"source": clip.name, "webhook": f"{webhook}{number}"}
        return client.post("/jobs", json=body, headers=headers)
    headers["Content-Type"] = "video/mp4"
    return client.post("/jobs", content=clip.read_bytes(), headers=headers)


def told_of(receiver: Receiver) -> set[str]:
    return {came.headers["X-Motrail-Event-Id"] for came in receiver.came}


def hook(client: httpx.Client, id_: str) -> str:
    state: str = client.get(f"/jobs/{id_}").json()["webhook"]["state"]
    return state


def test_a_server_killed_at_random_moments(place: Path, tmp_path: Path) -> None:
    attempts, told = ends_once_whatever_happens(place, tmp_path, jobs=5, kills=3, seed=7)
    assert attempts >= 5
    assert told >= 5


@pytest.mark.proof
def test_a_server_killed_often(place: Path, tmp_path: Path, prove: Prove) -> None:
    attempts, told = ends_once_whatever_happens(place, tmp_path, jobs=20, kills=10, seed=11)
    prove("20 jobs, server killed 10 times: jobs done with the right rows", "20", "20")
    prove("20 jobs, server killed 10 times: beginnings", "20 or more", attempts)
    prove("20 jobs, server killed 10 times: webhooks", "20 or more", told)
    assert attempts > 20


def test_the_process_of_a_job_needs_no_web_framework() -> None:
    """It is to be small and quick to start; what is heavy comes when it knows its task."""
    code = (
        "import sys, motrail.serve.jobs.work\n"
        "print(*{'numpy', 'starlette', 'huey', 'pydantic', 'av'} & set(sys.modules), sep=',')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
