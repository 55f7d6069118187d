"""A whole run against the limit: the raw network on frames that lie ready in memory.

The limit is the better of one session on all cores and one-thread sessions side by side. Runs and
limits take turns, so that a busy machine hurts both alike; the median of the ratios counts. Then
the peak memory of a run on the clip and on the clip ten times over.

    python bench/track.py [VIDEO MODEL] [--preset bytetrack] [--rounds 3] [--no-memory]

Without VIDEO and MODEL, `videos/walking.mp4` and `models/bytetrack_nano.onnx` of MOTRAIL_TEST_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import av

from motrail.config import DetectorSettings
from motrail.detect.detector import load_detector
from motrail.detect.onnx import available_cores
from motrail.pipeline import one_opencv_thread
from motrail.video.read import open_source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RAW_FRAMES = 120
GOALS = {"--no-video": 0.85, "with video": 0.68}
MEMORY_GOAL = 1.1


def raw_pace(sessions: list[Any], blobs: list[NDArray[np.float32]]) -> float:
    """Frames a second of sessions side by side, each in its own thread."""

    def work(session: Any, mine: list[NDArray[np.float32]]) -> None:
        name = session.get_inputs()[0].name
        for blob in mine:
            session.run(None, {name: blob})

    count = len(sessions)
    threads = [
        threading.Thread(target=work, args=(session, blobs[i::count]))
        for i, session in enumerate(sessions)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(blobs) / (time.perf_counter() - start)


def session(model: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def prepared(video: str, model: str, preset: str) -> list[NDArray[np.float32]]:
    """Network inputs of a dozen frames, over and over."""
    detector = load_detector(model, DetectorSettings(preset=preset))  # type: ignore[arg-type]
    letterbox = detector._letterbox  # noqa: SLF001
    with one_opencv_thread(), open_source(video, end=12) as source:
        blobs = [letterbox.apply(frame.image) for frame in source]
    return [blobs[i % len(blobs)] for i in range(RAW_FRAMES)]


# A process inherits the peak memory of the one that starts it, so a small one must do that.
MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(time.perf_counter() - start, peak / 1024, file=sys.stderr)
sys.exit(code)
"""


def run(video: str, model: str, preset: str, *flags: str) -> dict[str, Any]:
    """One `motrail track` in a process of its own; its summary, wall time and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "motrail", "track", video, "--model", model, "--json"]
        command += ["--preset", preset, "-o", folder, *flags]
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    summary: dict[str, Any] = json.loads(done.stdout)
    summary["wall"], summary["peak_mib"] = map(float, done.stderr.splitlines()[-1].split())
    return summary


def ten_times(video: str, folder: str) -> str:
    """The clip ten times over, packets copied as they are."""
    path = str(Path(folder) / "ten.mp4")
    with av.open(path, "w") as target:
        stream = None
        shift = 0
        for _ in range(10):
            with av.open(video) as source:
                original = source.streams.video[0]
                stream = stream or target.add_stream_from_template(original)
                end = shift
                for packet in source.demux(original):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.dts += shift
                    packet.pts += shift
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    target.mux(packet)
                shift = end
    return path


def compare_speed(video: str, model: str, preset: str, rounds: int) -> None:
    blobs = prepared(video, model, preset)
    cores = available_cores()
    together, apart = session(model, cores), [session(model, 1) for _ in range(cores)]
    heads = ("motrail fps", "raw fps", "ratio", "goal", "ratio with start-up")
    print(f"{'':>12} {heads[0]:>12} {heads[1]:>9} {heads[2]:>7} {heads[3]:>6} {heads[4]:>20}")
    for name, goal in GOALS.items():
        flags = ["--no-video"] if name == "--no-video" else []
        ratios, whole, paces, limits = [], [], [], []
        limit = max(raw_pace([together], blobs), raw_pace(apart, blobs))
        for _ in range(rounds):
            summary = run(video, model, preset, *flags)
            after = max(raw_pace([together], blobs), raw_pace(apart, blobs))
            between = (limit + after) / 2
            limit = after
            limits.append(between)
            paces.append(summary["frames_per_second"])
            ratios.append(summary["frames_per_second"] / between)
            whole.append(summary["frames"] / summary["wall"] / between)
        print(
            f"{name:>12} {median(paces):12.1f} {median(limits):9.1f} {median(ratios):7.2f} "
            f"{goal:6.2f} {median(whole):20.2f}",
            flush=True,
        )


def compare_memory(video: str, model: str, preset: str) -> None:
    print(f"\n{'':>12} {'peak MiB':>9} {'ten times':>10} {'ratio':>7} {'goal':>6}")
    with tempfile.TemporaryDirectory() as folder:
        long = ten_times(video, folder)
        for name in GOALS:
            flags = ["--no-video"] if name == "--no-video" else []
            short_peak = run(video, model, preset, *flags)["peak_mib"]
            long_peak = run(long, model, preset, *flags)["peak_mib"]
            ratio = long_peak / short_peak
            print(
                f"{name:>12} {short_peak:9.0f} {long_peak:10.0f} {ratio:7.2f} {MEMORY_GOAL:6.2f}",
                flush=True,
            )


def main() -> None:
    root = Path(os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("video", nargs="?", default=str(root / "videos/walking.mp4"))
    parser.add_argument("model", nargs="?", default=str(root / "models/bytetrack_nano.onnx"))
    parser.add_argument("--preset", default="bytetrack")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true")
    arguments = parser.parse_args()
    if not Path(arguments.video).exists():
        sys.exit(f"SKIPPED: no footage at {arguments.video}; set MOTRAIL_TEST_DATA or name a video")
    compare_speed(arguments.video, arguments.model, arguments.preset, arguments.rounds)
    if not arguments.no_memory:
        compare_memory(arguments.video, arguments.model, arguments.preset)


if __name__ == "__main__":
    main()
