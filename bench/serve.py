"""The server against the same frames in one process, and how soon it answers under load.

Eight clients send JPEG frames, each of a session of its own; the measure is the pipeline fed from
the same JPEG files without a server. Both take turns, so that a busy machine hurts both alike; the
median of the ratios counts. The clients' own work is part of it: they run on the same cores. Then
`/ping` while the clients send and a video is tracked, and a single client's time for a frame.

    python bench/serve.py [VIDEO MODEL] [--preset yolox] [--rounds 3] [--frames 160]

Without VIDEO and MODEL, `videos/walking.mp4` and `models/yolox_nano.onnx` of MOTRAIL_TEST_DATA.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2

from motrail.config import DetectorSettings
from motrail.detect.detector import load_detector
from motrail.pipeline import one_opencv_thread, track
from motrail.track.byte import ByteTracker
from motrail.types import Frame
from motrail.video.read import decode_image, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.detect.detector import Detector

CLIENTS = 8
SESSION = "X-Amzn-SageMaker-Session-Id"
PING_GOAL = 0.1  # seconds
PACE_GOAL = 0.85


class Client:
    """A connection of its own, with a session."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._session = json.loads(self.post(b"", {SESSION: "NEW_SESSION"}))["session"]

    def post(self, body: bytes, headers: dict[str, str]) -> bytes:
        """The body of the answer, which must be a good one."""
        headers = {"Content-Type": "image/jpeg", **headers}
        self._connection.request("POST", "/invocations", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"{answer.status}: {content.decode()}")
        return content

    def send(self, frame: bytes) -> float:
        """Send the next frame; gives the seconds it took."""
        start = time.perf_counter()
        self.post(frame, {SESSION: self._session})
        return time.perf_counter() - start


def jpeg_frames(video: Path, count: int) -> list[bytes]:
    frames = []
    with open_source(video, end=count) as source:
        for frame in source:
            good, content = cv2.imencode(".jpg", frame.image)
            assert good  # noqa: S101
            frames.append(content.tobytes())
    return frames


def pipeline_pace(detector: Detector, frames: list[bytes]) -> float:
    """Frames a second without a server."""
    source = (
        Frame(number, decode_image(content, "frame"), 0.0)
        for number, content in enumerate(frames, start=1)
    )
    start = time.perf_counter()
    with one_opencv_thread():
        done = sum(1 for _ in track(source, detector, ByteTracker()))
    return done / (time.perf_counter() - start)


def server_pace(port: int, frames: list[bytes]) -> float:
    """Frames a second of all clients together."""
    clients = [Client(port) for _ in range(CLIENTS)]

    def work(number: int) -> None:
        for content in frames[number::CLIENTS]:
            clients[number].send(content)

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))
    return len(frames) / (time.perf_counter() - start)


def pings(port: int, frames: list[bytes], video: Path, seconds: float) -> list[float]:
    """Seconds that each of many pings takes while eight clients send and a video is tracked."""
    over = threading.Event()

    def send() -> None:
        client = Client(port)
        for content in itertools.cycle(frames):
            if over.is_set():
                return
            client.send(content)

    def send_video() -> None:
        body = video.read_bytes()
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            with contextlib.closing(connection):
                headers = {"Content-Type": "video/mp4", "Accept": "application/jsonl"}
                connection.request("POST", "/invocations", body, headers)
                answer = connection.getresponse()
                while not over.is_set() and answer.readline():
                    pass

    threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
    threads.append(threading.Thread(target=send_video))
    for thread in threads:
        thread.start()
    found = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        connection.request("GET", "/ping")
        connection.getresponse().read()
        found.append(time.perf_counter() - start)
        time.sleep(0.02)
    connection.close()
    over.set()
    for thread in threads:
        thread.join()
    return sorted(found)


@contextlib.contextmanager
def serving(model: Path, preset: str) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    command = [sys.executable, "-m", "motrail", "serve", str(model), "--preset", preset]
    running = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert running.stdout is not None  # noqa: S101
        yield int(running.stdout.readline().rpartition(":")[2])
    finally:
        running.terminate()
        running.wait()


def share(values: list[float], part: float) -> float:
    return values[min(int(part * len(values)), len(values) - 1)]


def arguments() -> Any:
    data = Path(os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("video", nargs="?", type=Path, default=data / "videos/walking.mp4")
    parser.add_argument("model", nargs="?", type=Path, default=data / "models/yolox_nano.onnx")
    parser.add_argument("--preset", default="yolox")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=20, help="of pings")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if not given.video.exists() or not given.model.exists():
        sys.exit(f"SKIPPED: no footage at {given.video}; set MOTRAIL_TEST_DATA or name a video")
    frames = jpeg_frames(given.video, given.frames)
    detector = load_detector(given.model, DetectorSettings(preset=given.preset))
    with serving(given.model, given.preset) as port:
        pipeline_pace(detector, frames[:16])
        server_pace(port, frames[:16])
        rounds = [
            (pipeline_pace(detector, frames), server_pace(port, frames))
            for _ in range(given.rounds)
        ]
        ratio = median(server / alone for alone, server in rounds)
        print(f"{'round':>5}  {'in one process':>14}  {'8 clients':>9}  frames/s")
        for number, (alone, server) in enumerate(rounds, start=1):
            print(f"{number:>5}  {alone:>14.1f}  {server:>9.1f}")
        print(f"pace of the server against the pipeline: {ratio:.2f} (goal {PACE_GOAL})")
        single = Client(port)
        times = sorted(single.send(frame) for frame in frames)
        print(
            f"a frame of a single client: median {1e3 * share(times, 0.5):.1f} ms, "
            f"p99 {1e3 * share(times, 0.99):.1f} ms"
        )
        waits = pings(port, frames, given.video, given.seconds)
        print(
            f"/ping beside 8 clients and a video ({len(waits)} times): "
            f"median {1e3 * share(waits, 0.5):.1f} ms, p99 {1e3 * share(waits, 0.99):.1f} ms "
            f"(goal {1e3 * PING_GOAL:.0f} ms)"
        )


if __name__ == "__main__":
    main()
