"""Stands in for the containers in tests of the rehearsal: the contract without the work.

Run as a script with `train`, `serve` or `process`. Hyperparameters, custom attributes and
arguments say what goes wrong. The standard library alone, so that it starts at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(os.environ["MOTRAIL_OPT_ML"])


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def train() -> None:
    given = json.loads((ROOT / "input/config/hyperparameters.json").read_text())
    hosts = json.loads((ROOT / "input/config/resourceconfig.json").read_text())
    first = hosts["current_host"] == hosts["hosts"][0]
    if given.get("orphan"):
        import subprocess

        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (ROOT / "model" / "orphan").write_text(str(child.pid))
    if given.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, stop)
    done = ROOT / "checkpoints" / "epoch"
    start = int(done.read_text()) if done.is_file() else 0
    say(f"starts after epoch {start} with {sorted(given)}")
    if given.get("fail") in {"yes", hosts["current_host"]}:
        (ROOT / "output" / "failure").write_text(given.get("words", "out of memory"))
        sys.exit(3)
    for epoch in range(start + 1, int(given.get("epochs", "2")) + 1):
        time.sleep(float(given.get("pause", "0")))
        if done.parent.is_dir() and first:
            done.write_text(str(epoch))
            (done.parent / f"best-{epoch}").write_text("")
            (done.parent / f"best-{epoch - 1}").unlink(missing_ok=True)
        rate = float(given.get("rate", "0.5"))
        say(f"motrail: epoch={epoch} AP={rate * epoch / 10:.4f} loss={1 / epoch:.2f}")
    (ROOT / "model" / f"{hosts['current_host']}.txt").write_text("weights")
    (ROOT / "model" / "config.json").write_text(hosts["current_host"])
    (ROOT / "model" / "link").symlink_to("/etc/hostname")
    listed = [str(path.relative_to(ROOT)) for path in sorted(ROOT.rglob("*")) if path.is_file()]
    environment = {name: value for name, value in os.environ.items() if name != "PATH"}
    report = {"files": listed, "environment": environment, "hosts": hosts["hosts"]}
    (ROOT / "output" / "data" / "report.json").write_text(json.dumps(report))


def stop(*_: object) -> NoReturn:
    say("told to stop")
    (ROOT / "model" / "stopped").write_text("")
    os._exit(143)


def process() -> None:
    hosts = json.loads((ROOT / "config/resourceconfig.json").read_text())
    config = json.loads((ROOT / "config/processingjobconfig.json").read_text())
    me = hosts["current_host"]
    say(f"{me} of {len(hosts['hosts'])}: {sys.argv[2:]}")
    if "wait" in sys.argv:
        time.sleep(600)
    (ROOT / "output" / "message").write_text(f"{me} is done")
    if "fail" in sys.argv:
        sys.exit(1)
    folder = ROOT / "processing" / "input"
    found = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    output = ROOT / "processing" / "output"
    (output / f"{me}.json").write_text(
        json.dumps({"files": found, "job": config["ProcessingJobName"]})
    )
    (output / "linked").symlink_to("/etc")


def serve() -> None:
    if os.environ.get("CRASH"):
        say("no such model")
        sys.exit(2)
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            well = not os.environ.get("ILL")
            self.reply(200 if well and self.path == "/ping" else 503, b"")

        def do_POST(self) -> None:
            own = "X-Amzn-SageMaker-"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            wish = dict(
                pair.split("=")
                for pair in (self.headers.get("X-Amzn-SageMaker-Custom-Attributes") or "").split(
                    ";"
                )
                if pair
            )
            time.sleep(float(wish.get("sleep", "0")))
            more = {
                "X-Secret": "stays inside",
                "X-Amzn-SageMaker-Custom-Attributes": "from=container",
            }
            session = self.headers.get(f"{own}Session-Id")
            if session == "NEW_SESSION":
                text = f"s-{os.getpid()}; Expires=2026-11-23T20:00:00Z"
                more[f"{own}New-Session-Id"] = text
            if "close" in wish and session is not None:
                more[f"{own}Closed-Session-Id"] = session
            model = ROOT / "model" / "name"
            answer: dict[str, Any] = {
                "headers": dict(self.headers),
                "length": len(body),
                "pid": os.getpid(),
                "model": model.read_text() if model.is_file() else None,
            }
            status = int(wish.get("status", "200"))
            if "large" in wish:
                self.reply(status, b"x" * int(wish["large"]), **more)
            else:
                self.reply(status, json.dumps(answer).encode(), **more)

        def reply(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name in the base)
            say(format % args)

    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler)
    server.serve_forever()


if __name__ == "__main__":
    {"train": train, "serve": serve, "process": process}[sys.argv[1]]()
