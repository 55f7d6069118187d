"""A server of jobs for the tests: in the test's own process, or as one that can be killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse

from motrail.config import DetectorSettings, ServeSettings, Settings
from motrail.detect.bundle import read_bundle
from motrail.serve.jobs import Jobs
from motrail.serve.problems import Problem
from motrail.serve.run import Server as WebServer
from motrail.serve.run import address_of, open_socket, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

# So that a slow job is slow on a machine with many cores, too.
ONE_WORKER = Settings(detector=DetectorSettings(workers=1))
OVER = ("done", "failed", "cancelled")


def make_jobs(
    model: Path, folder: Path, settings: Settings | None = None, wait: float = 5.0, **serve: Any
) -> Jobs:
    """The jobs of a server that keeps them in this folder."""
    limits = ServeSettings(jobs_folder=str(folder), **serve)
    return Jobs(read_bundle(model), None, settings or ONE_WORKER, limits, webhook_wait=wait)


def job_app(jobs: Jobs) -> Starlette:
    """An application that has nothing but jobs."""

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> Any:
        jobs.start()
        yield
        jobs.stop()

    async def explain(_request: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, Problem)
        return JSONResponse(problem.as_dict("-"), problem.status, headers=problem.headers)

    return Starlette(routes=jobs.routes, exception_handlers={Problem: explain}, lifespan=life)


@contextlib.contextmanager
def serving(jobs: Jobs) -> Iterator[httpx.Client]:
    """A client of a server in this process."""
    listener = open_socket("127.0.0.1", 0)
    ready = threading.Event()
    server = WebServer(job_app(jobs), ready=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(30)
        with httpx.Client(base_url=address_of(listener), timeout=60, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def wait_for(client: httpx.Client, id_: str, *states: str, seconds: float = 60) -> dict[str, Any]:
    """The job as soon as it is in one of these states, or at its end."""
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{id_}").json()
        if job["state"] in (states or OVER):
            return job
        assert job["state"] not in OVER, job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


class Server:
    """A server in a process of its own.

    Args:
        model: The bundle.
        folder: Of the jobs.
        serve: More settings.
    """

    def __init__(self, model: Path, folder: Path, **serve: Any) -> None:
        options = json.dumps({"model": str(model), "folder": str(folder), **serve})
        self.process = subprocess.Popen(
            [sys.executable, __file__, options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self._wait()

    def stop(self) -> int:
        """Tell it to end; gives the exit code."""
        self.process.terminate()
        return self._wait()

    def _wait(self) -> int:
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def main() -> None:
    """Serve until told otherwise."""
    options = json.loads(sys.argv[1])
    model, folder = Path(options.pop("model")), Path(options.pop("folder"))
    app = job_app(make_jobs(model, folder, **options))
    listener = open_socket("127.0.0.1", 0)
    run(app, listener, ready=lambda: print(address_of(listener), flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
