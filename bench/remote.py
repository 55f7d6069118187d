"""A server and its client on one machine against the same run in one process.

`motrail serve` runs in a process of its own; `motrail track --no-video` and each way of `motrail
remote track --no-video` take turns, so that a busy machine hurts all alike; the median of the
ratios counts. Server and client share the cores here: between machines there is more room.

    python bench/remote.py [VIDEO MODEL] [--preset yolox] [--rounds 3] [--ways session ...]

Without VIDEO and MODEL, `videos/walking.mp4` and `models/yolox_nano.onnx` of MOTRAIL_TEST_DATA.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

GOAL = 0.85
WAYS = {
    "session": [],
    "session, whole": ["--no-fit"],
    "client": ["--track", "client"],
    "client, whole": ["--track", "client", "--no-fit"],
    "session, raw": ["--raw"],
    "session, png": ["--png"],
}


@contextlib.contextmanager
def server(model: str, preset: str) -> Iterator[str]:
    """`motrail serve` on a free port; its address."""
    command = [sys.executable, "-m", "motrail", "serve", model, "--preset", preset, "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        said = process.stdout.readline() if process.stdout else ""
        found = re.search(r"http://\S+:\d+", said)
        if found is None:
            sys.exit(f"{' '.join(command)}: did not start")
        yield found[0]
    finally:
        process.terminate()
        process.wait()


def pace(*words: str) -> float:
    """Frames a second of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "motrail", *words, "--no-video", "--json", "-o", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    summary: dict[str, Any] = json.loads(done.stdout)
    return float(summary["frames_per_second"])


def main() -> None:
    root = Path(os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("video", nargs="?", default=str(root / "videos/walking.mp4"))
    parser.add_argument("model", nargs="?", default=str(root / "models/yolox_nano.onnx"))
    parser.add_argument("--preset", default="yolox")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--in-flight", default="4")
    arguments = parser.parse_args()
    if not Path(arguments.video).exists():
        sys.exit(f"SKIPPED: no footage at {arguments.video}; set MOTRAIL_TEST_DATA or name a video")
    local = ["track", arguments.video, "-m", arguments.model, "--preset", arguments.preset]
    ratios: dict[str, list[float]] = {way: [] for way in arguments.ways}
    paces: dict[str, list[float]] = {way: [] for way in arguments.ways}
    here: list[float] = []
    with server(arguments.model, arguments.preset) as url:
        remote = ["remote", "track", arguments.video, "--url", url]
        remote += ["--in-flight", arguments.in_flight]
        before = pace(*local)
        for _ in range(arguments.rounds):
            for way in arguments.ways:
                there = pace(*remote, *WAYS[way])
                after = pace(*local)
                here.append(after)
                paces[way].append(there)
                ratios[way].append(there / ((before + after) / 2))
                before = after
    print(f"{'':>14} {'fps':>7} {'in process':>11} {'ratio':>7} {'goal':>6}")
    for way in arguments.ways:
        goal = f"{GOAL:6.2f}" if way == "session" else ""
        print(
            f"{way:>14} {median(paces[way]):7.1f} {median(here):11.1f} "
            f"{median(ratios[way]):7.2f} {goal:>6}"
        )


if __name__ == "__main__":
    main()
