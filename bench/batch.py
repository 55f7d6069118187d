"""`motrail batch` against `motrail track --no-video`, and what is done without a network.

Both run as processes of their own, from start to end, and take turns, so that a busy machine hurts
both alike; the median of the ratios counts. Then the whole command once more with another setting
of the tracker, and in this process, in seconds of one core: reading the index, and tracking from
kept detections.

    python bench/batch.py [VIDEO MODEL] [--preset yolox] [--workers 2] [--rounds 3] [--times 3]

Without VIDEO and MODEL, `videos/one-by-one-person-detection.mp4` and `models/yolox_nano.onnx` of
MOTRAIL_TEST_DATA. It is measured as it is, where what it takes to start two more processes shows,
and once more several times as long.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import av

from motrail.batch.associate import associate
from motrail.batch.find import KEPT, Video
from motrail.batch.plan import make_plan
from motrail.config import DetectorSettings, Settings
from motrail.detect.detector import find_bundle, open_detector
from motrail.detecting import fingerprint
from motrail.video.index import read_index

GOAL = 1.0


class Given(NamedTuple):
    """What is measured with."""

    video: Path
    model: str
    preset: str
    workers: int


class Taken(NamedTuple):
    """What a command took: by the clock, and of cores together, in seconds."""

    clock: float
    cores: float


def seconds(given: Given, command: str, *words: str) -> Taken:
    """What a command of ours takes, its start included."""
    line = [sys.executable, "-m", "motrail", command, str(given.video), *words]
    line += ["--model", given.model, "--preset", given.preset]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(time.perf_counter() - start, cores)


def compare(given: Given, rounds: int, frames: int, folder: Path) -> Path:
    """Print the pace of both; the folder with the results of the last `batch`."""
    track, batch = [], []
    for turn in range(rounds):
        track.append(seconds(given, "track", "--no-video", "-o", str(folder / f"track-{turn}")))
        out = folder / f"batch-{turn}"
        batch.append(seconds(given, "batch", str(out), "--workers", str(given.workers)))
        name = f"{given.video.stem}.txt"
        if (out / name).read_bytes() != (folder / f"track-{turn}" / name).read_bytes():
            sys.exit(f"{out / name}: is not what motrail track wrote")
    ratios = [one.clock / other.clock for one, other in zip(track, batch, strict=True)]
    each = " ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"{given.video.name}, {frames} frames; ratio of each round: {each}")
    print(f"{'':>24} {'frames/s':>9} {'ratio':>6} {'goal':>6} {'ms of a core for a frame':>25}")
    for name, taken in (("track --no-video", track), (f"batch --workers {given.workers}", batch)):
        pace = frames / median(one.clock for one in taken)
        cores = 1e3 * median(one.cores for one in taken) / frames
        ratio = "" if taken is track else f"{median(ratios):.2f}"
        goal = "" if taken is track else f"{GOAL:.2f}"
        print(f"{name:>24} {pace:9.1f} {ratio:>6} {goal:>6} {cores:25.1f}", flush=True)
    again = seconds(given, "batch", str(out), "--min-length", "2")
    share = again.cores / median(one.cores for one in batch)
    print(f"{'tracking anew':>24} {again.cores:9.2f} s of a core, {share:.3f} of the first run")
    return out


def without_network(given: Given, rounds: int, out: Path) -> None:
    """Print what reading the index and tracking from kept detections take."""
    bundle, preset = find_bundle(given.model)
    chosen = DetectorSettings(preset=given.preset)  # type: ignore[arg-type]
    alone = dataclasses.replace(chosen, workers=1)
    names = open_detector(bundle, alone, preset).class_names
    kept = out / KEPT / given.video.stem
    settings = Settings(detector=alone)
    plan = make_plan(Video(given.video.stem, given.video), settings.video, kept, None)
    index, tracked = [], []
    for _ in range(max(rounds, 3)):
        start = time.process_time()
        frames = len(read_index(given.video))
        index.append(time.process_time() - start)
        start = time.process_time()
        associate(plan, names, settings, fingerprint(bundle, alone), out, kept=kept)
        tracked.append(time.process_time() - start)
    mib = given.video.stat().st_size / 2**20
    print(
        f"{'index':>24} {1e6 * median(index) / frames:9.1f} ms of a core for 1,000 frames", end=""
    )
    print(f" ({mib / median(index):.0f} MiB a second)")
    print(
        f"{'association':>24} {1e6 * median(tracked) / frames:9.1f} ms of a core for 1,000 frames"
    )


def several_times(video: Path, times: int, path: Path) -> Path:
    """The same video so many times one after another, without coding it anew."""
    with av.open(str(path), "w") as output:
        stream, offset = None, 0
        for _ in range(times):
            with av.open(str(video)) as source:
                taken = source.streams.video[0]
                if stream is None:
                    stream = output.add_stream_from_template(taken)
                end = 0
                for packet in source.demux(taken):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = stream
                    output.mux(packet)
                offset += end
    return path


def main() -> None:
    root = Path(os.environ.get("MOTRAIL_TEST_DATA") or Path(__file__).parents[2] / "shared/data")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    person = root / "videos/one-by-one-person-detection.mp4"
    parser.add_argument("video", nargs="?", type=Path, default=person)
    parser.add_argument("model", nargs="?", default=str(root / "models/yolox_nano.onnx"))
    parser.add_argument("--preset", default="yolox")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.video.exists():
        sys.exit(f"SKIPPED: no footage at {arguments.video}; set MOTRAIL_TEST_DATA or name a video")
    given = Given(arguments.video, arguments.model, arguments.preset, arguments.workers)
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "short"
        out = compare(given, arguments.rounds, len(read_index(given.video)), short)
        without_network(given, arguments.rounds, out)
        name = f"{given.video.stem}-x{arguments.times}.mp4"
        long = several_times(given.video, arguments.times, Path(folder) / name)
        compare(given._replace(video=long), arguments.rounds, len(read_index(long)), Path(folder))


if __name__ == "__main__":
    main()
