"""The labelling page's server on a long video: first frame, steps, jumps, scrubbing and memory.

Makes a seeded 1080p video with a key frame every 250 frames, starts `motrail label` on it, and asks
as a page does: frame by frame forward and backward with the frames beyond ahead of time, random
jumps, and quick looks for a mouse that moves along the timeline.

    python bench/label.py [--minutes 10] [--steps 300] [--video FILE]
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

WIDTH, HEIGHT, RATE, GOP = 1920, 1080, 30, 250
FIRST_GOAL, STEP_GOAL = 1.0, 0.05  # seconds
AHEAD = 8
PAUSE = 0.05  # seconds that a person who holds a key down leaves between two steps


def make_video(path: Path, minutes: float) -> int:
    """A moving texture with moving things on it; gives the number of frames."""
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (HEIGHT // 8 + 40, WIDTH // 8 + 40, 3), np.uint8)
    ground = cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    ground = cv2.GaussianBlur(ground, (0, 0), 6)
    frames = round(minutes * 60 * RATE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {
            "preset": "ultrafast", "crf": "26", "g": str(GOP), "keyint_min": str(GOP),
            "sc_threshold": "0",
        }  # fmt: skip
        for number in range(frames):
            left = round(60 + 60 * np.sin(number / 90))
            image = np.array(ground[80 : 80 + HEIGHT, left : left + WIDTH], np.uint8)
            for thing in range(15):
                x = round((thing * 137 + number * (2 + thing % 5)) % WIDTH)
                y = round(HEIGHT * (0.2 + 0.05 * thing) % HEIGHT)
                image[y : y + 120, x : x + 50] = (thing * 16, 255 - thing * 16, 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return frames


class Page:
    """Connections as a browser has them, with the cookie."""

    def __init__(self, url: str) -> None:
        self._port = int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]
        self._local = threading.local()
        answer = self._ask(url.partition(str(self._port))[2], {})
        self._cookie = answer.getheader("set-cookie", "").partition(";")[0]
        answer.read()

    def _ask(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            self._local.connection = connection
        connection.request("GET", path, headers=headers)
        found: http.client.HTTPResponse = connection.getresponse()
        return found

    def frame(self, number: int, quality: str = "high") -> tuple[float, int]:
        """Seconds until a frame was there, and which it was."""
        start = time.perf_counter()
        answer = self._ask(
            f"/api/sequences/0/frames/{number}?width=1280&quality={quality}",
            {"Cookie": self._cookie},
        )
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"frame {number}: {answer.status}")
        return time.perf_counter() - start, int(answer.getheader("x-motrail-frame", "0"))


def walk(page: Page, start: int, step: int, count: int, total: int) -> list[float]:
    """Steps of a person; the frames beyond are fetched ahead, as the page does it."""
    seconds, there = [], {start}
    lock = threading.Lock()

    def ahead(numbers: list[int]) -> None:
        for number in numbers:
            with lock:
                if number in there or not 1 <= number <= total:
                    continue
            page.frame(number)
            with lock:
                there.add(number)

    page.frame(start)
    helper: threading.Thread | None = None
    for number in range(start + step, start + step * (count + 1), step):
        begin = time.perf_counter()
        with lock:
            known = number in there
        if not known:
            page.frame(number)
            with lock:
                there.add(number)
        seconds.append(time.perf_counter() - begin)
        if helper is None or not helper.is_alive():
            wanted = [number + step * (n + 1) for n in range(AHEAD)]
            helper = threading.Thread(target=ahead, args=(wanted,))
            helper.start()
        time.sleep(PAUSE)
    if helper is not None:
        helper.join()
    return seconds


def memory(process: int) -> float:
    """Resident memory in MiB; 0 where the system does not tell."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def row(what: str, seconds: list[float], goal: float | None = None) -> None:
    good = "" if goal is None else f"   asked {goal * 1000:.0f} ms"
    late = float(np.quantile(seconds, 0.95))
    print(f"{what:<34} median {median(seconds) * 1000:7.1f} ms   p95 {late * 1000:7.1f} ms{good}")


def measure(video: Path, total: int, folder: Path, steps: int) -> None:
    start = time.perf_counter()
    command = [sys.executable, "-m", "motrail", "label", str(video), "-o", str(folder / "set")]
    with subprocess.Popen(
        [*command, "--no-browser", "--port", "0"], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as server:  # fmt: skip
        assert server.stdout is not None  # noqa: S101
        url = re.search(r"http\S+", server.stdout.readline())[0]  # type: ignore[index]
        ready = time.perf_counter() - start
        page = Page(url)
        first, _ = page.frame(1)
        row("first frame after the address", [first], FIRST_GOAL)
        print(f"{'process start to the first frame':<34}        {(ready + first) * 1000:7.1f} ms")
        middle = total // 2
        row("steps forward, the bare server", [page.frame(n)[0] for n in range(2, 2 + steps)],
            STEP_GOAL)  # fmt: skip
        row("steps backward, the bare server",
            [page.frame(n)[0] for n in range(middle, middle - steps, -1)], STEP_GOAL)  # fmt: skip
        row("steps forward, as the page", walk(page, middle + 2000, 1, steps, total), STEP_GOAL)
        row("steps backward, as the page", walk(page, middle + 4500, -1, steps, total), STEP_GOAL)
        random = np.random.default_rng(1)
        jumps = random.integers(1, total, 30).tolist()
        row("jumps", [page.frame(n)[0] for n in jumps])
        quick = [page.frame(n, "low") for n in np.linspace(1, total, 400).round().astype(int)]
        row("a mouse along the timeline", [seconds for seconds, _ in quick], STEP_GOAL)
        print(f"{'memory of the server':<34}        {memory(server.pid):7.0f} MiB")
        server.send_signal(signal.SIGINT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--video", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        video = options.video or Path(place) / "long.mp4"
        if not video.exists():
            make_video(video, options.minutes)
        with av.open(str(video)) as container:
            total = container.streams.video[0].frames
        print(f"{total} frames of {WIDTH}x{HEIGHT}, a key frame every {GOP}, "
              f"{video.stat().st_size / 2**20:.0f} MiB")  # fmt: skip
        measure(video, total, Path(place), options.steps)


if __name__ == "__main__":
    main()
