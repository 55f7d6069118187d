#!/usr/bin/env python3
"""Builds the images without Docker and starts their entry points: `containers/images.py`.

For machines where no Docker engine runs: the base is made of Debian's packages with `debootstrap`,
and `buildah --isolation chroot` does what the Dockerfiles say. Both are Debian packages, and both
want root. Packages come from where pip gets them on this machine (`pip config list`); what that
names on the disk is mounted while building and does not come into the images.

Then, in the built roots: a network is trained on synthetic footage, served, and used for
processing. At the end there is a table, and nothing is left but what --keep asks for.
"""
# ruff: noqa: S603  (a script that calls programs)

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,ca-certificates"
BASE = "localhost/motrail-base"
IMAGES = ("train", "serve")
_NEEDLESS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man",
             "usr/share/locale")  # fmt: skip
_TRAINING = {
    "model": "yolox-nano", "input_width": "96", "batch": "4", "epochs": "2", "plain_epochs": "1",
    "workers": "1", "log_every": "2",
}  # fmt: skip
# A network that has hardly begun to learn is sure of nothing; this takes what it has.
_TRACKING = """
[detector]
score_threshold = 0.001
[tracker]
low_threshold = 0.001
high_threshold = 0.002
new_track_threshold = 0.002
"""
_PATIENCE = 120  # seconds for the server to start
_GRACE = 30  # seconds for it to end


class Row(NamedTuple):
    """A line of the table."""

    what: str
    measured: str


class FailedError(Exception):
    """Something is not as it should be."""


def main() -> int:
    """Build, start, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", help="an image that is there already, in place of Debian's")
    parser.add_argument("--cuda", help="of the PyTorch that pip finds: 13.0, or none for the CPU")
    parser.add_argument("--keep", metavar="FOLDER", help="write the images there, as OCI archives")
    parser.add_argument("--work", metavar="FOLDER", help="where there is room; 10 GB are needed")
    options = parser.parse_args()
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid():
        sys.stderr.write(
            f"error: {' and '.join(missing) or 'root'} is needed: run as root, after "
            "apt-get install buildah debootstrap\n"
        )
        return 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="motrail-images-", dir=options.work) as name:
        builder = Builder(Path(name))
        try:
            with builder:
                base = options.base or builder.make_base(rows)
                for image in IMAGES:
                    builder.build(image, base, options.cuda, rows)
                prove(builder, rows)
                for image in IMAGES if options.keep else ():
                    target = Path(options.keep).resolve() / f"motrail-{image}.tar"
                    builder.buildah("push", f"motrail-{image}", f"oci-archive:{target}")
        except FailedError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        finally:
            width = max((len(row.what) for row in rows), default=0)
            for row in rows:
                sys.stdout.write(f"{row.what:<{width}}  {row.measured}\n")
    return 0


class Builder:
    """buildah with a storage of its own, which is gone at the end.

    Args:
        folder: For all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        places = (f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}")
        self.command = ("buildah", *places)
        self.containers: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for container in self.containers:
            self.buildah("rm", container, check=False)
        self.buildah("rmi", "--all", "--force", check=False)

    def buildah(self, *words: str, check: bool = True) -> str:
        """Run it; gives its standard output."""
        return call(*self.command, *words, check=check)

    def make_base(self, rows: list[Row]) -> str:
        """An image of Debian with Python and nothing else."""
        start = time.monotonic()
        root = self.folder / "debian"
        call("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), MIRROR)
        for place in _NEEDLESS:
            shutil.rmtree(root / place, ignore_errors=True)
        context = self.folder / "base"
        context.mkdir()
        call("tar", "-C", str(root), "-cf", str(context / "base.tar"), ".")
        shutil.rmtree(root)
        (context / "Dockerfile").write_text(
            "FROM scratch\nADD base.tar /\n"
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        )
        self.buildah("bud", "--isolation=chroot", f"--tag={BASE}", str(context))
        shutil.rmtree(context)
        rows.append(Row("base: Debian with Python", f"{self.size(BASE)}, {since(start)}"))
        return BASE

    def build(self, image: str, base: str, cuda: str | None, rows: list[Row]) -> None:
        """Build one of the images as its Dockerfile says."""
        start = time.monotonic()
        config, mounts = pip_settings(self.folder)
        arguments = [f"--build-arg=BASE={base}"]
        if image == "train" and (cuda or has_cpu_build(mounts)):
            arguments.append(f"--build-arg=CUDA={cuda or 'none'}")
        volumes = [f"--volume={path}:{path}:ro" for path in mounts]
        self.buildah(
            "bud", "--isolation=chroot", "--layers=false", *arguments,
            f"--volume={config}:/etc/pip.conf:ro", *volumes,
            f"--file={ROOT / 'containers' / image / 'Dockerfile'}", f"--tag=motrail-{image}",
            str(ROOT),
        )  # fmt: skip
        rows.append(Row(f"motrail-{image}", f"{self.size(f'motrail-{image}')}, {since(start)}"))

    def size(self, image: str) -> str:
        """What an image takes, unpacked and as it is pushed."""
        (about,) = json.loads(self.buildah("images", "--json", image))
        packed = self.folder / "packed"
        self.buildah("push", image, f"dir:{packed}")
        pushed = sum(path.stat().st_size for path in packed.iterdir())
        shutil.rmtree(packed)
        return f"{about['size']} unpacked, {pushed / 1e6:.0f} MB pushed"

    def words(self, image: str, folder: Path, *words: str, **environ: str) -> list[str]:
        """The command that starts something in an image, with `folder` as /opt/ml."""
        container = f"from-{image}"
        if container not in self.containers:
            self.buildah("from", f"--name={container}", f"motrail-{image}")
            self.containers.add(container)
        settings = [f"--env={name}={value}" for name, value in environ.items()]
        volume = f"--volume={folder}:/opt/ml"
        return [*self.command, "run", "--isolation=chroot", volume, *settings, container, "--",
                *words]  # fmt: skip


def prove(builder: Builder, rows: list[Row]) -> None:
    """Start each entry point in its built root, on real work."""
    data = builder.folder / "data"
    motrail = (sys.executable, "-m", "motrail")
    call(*motrail, "dataset", "synth", "--clips", "3", "--frames", "20", "--size", "192x128",
         "--scene", "conveyor", "--videos", "-o", str(data / "all"))  # fmt: skip
    call(*motrail, "dataset", "split", str(data / "all"), "--val", "0.34", "-o", str(data / "set"))
    _train(builder, data, rows)
    bundle = builder.folder / "train" / "model"
    for name in ("torch", "boto3"):
        words = builder.words("serve", builder.folder, "python", "-c", f"import {name}")
        if subprocess.run(words, capture_output=True, check=False).returncode == 0:
            raise FailedError(f"motrail-serve: expected no {name}")
    rows.append(Row("motrail-serve: import torch, import boto3", "fail, as they should"))
    _serve(builder, bundle, rows)
    _process(builder, bundle, data, rows)


def _train(builder: Builder, data: Path, rows: list[Row]) -> None:
    place = builder.folder / "train"
    config = place / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(_TRAINING))
    shutil.copytree(data / "set", place / "input" / "data" / "dataset")
    start = time.monotonic()
    said = call(*builder.words("train", place, "train"))
    lines = [line for line in said.splitlines() if line.startswith("motrail: epoch=")]
    expect((place / "model" / "model.onnx").is_file(), "train: expected /opt/ml/model/model.onnx")
    rows.append(Row("train: two epochs of yolox-nano", f"{since(start)}; {lines[-1]}"))


def _serve(builder: Builder, bundle: Path, rows: list[Row]) -> None:
    place = builder.folder / "served"
    shutil.copytree(bundle, place / "model")
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = builder.words("serve", place, "serve", SAGEMAKER_BIND_TO_PORT=str(port))
    start = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            _await_ping(port, process)
            answered = since(start)
            picture = next((builder.folder / "data" / "set" / "val").rglob("*.jpg")).read_bytes()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations", picture, {"Content-Type": "image/jpeg"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                expect(answer.status == 200, f"serve: expected 200, found {answer.status}")
            user = _user_of(process.pid)
            stopped = time.monotonic()
        finally:
            _end(process)
    rows.append(Row("serve: /ping after the start; a picture", f"{answered}; 200, as user {user}"))
    rows.append(Row("serve: SIGTERM to the end", since(stopped)))


def _process(builder: Builder, bundle: Path, data: Path, rows: list[Row]) -> None:
    place = builder.folder / "processed"
    inputs = place / "processing" / "input"
    shutil.copytree(bundle, inputs / "model")
    shutil.copytree(data / "all" / "videos", inputs / "videos")
    (inputs / "config").mkdir()
    (inputs / "config" / "config.toml").write_text(_TRACKING)
    (place / "config").mkdir()
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    (place / "config" / "resourceconfig.json").write_text(json.dumps(hosts))
    for way in ("detect", "associate"):
        start = time.monotonic()
        call(*builder.words("serve", place, "process", way))
        message = (place / "output" / "message").read_text()
        rows.append(Row(f"process {way}", f"{since(start)}; {message}"))
        shutil.rmtree(inputs / "kept", ignore_errors=True)
        (place / "processing" / "output").rename(inputs / "kept")
    expected = builder.folder / "expected"
    call(sys.executable, "-m", "motrail", "batch", str(inputs / "videos"), str(expected),
         f"--model={bundle}", f"--config={inputs / 'config' / 'config.toml'}")  # fmt: skip
    found, wanted = tracks_of(inputs / "kept"), tracks_of(expected)
    expect(any(wanted.values()), "motrail batch: expected tracks, found none")
    expect(found == wanted, "process: expected the tracks of motrail batch, found others")
    lines = sum(content.count(b"\n") for content in wanted.values())
    rows.append(Row("process: track files", f"as of motrail batch outside: {lines} rows, equal"))


def tracks_of(folder: Path) -> dict[str, bytes]:
    """The track files in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.txt"))}


def _await_ping(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(10 * _PATIENCE):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2):
                return
        except urllib.error.URLError:
            expect(process.poll() is None, "serve: ended before it answered /ping")
            time.sleep(0.1)
    raise FailedError(f"serve: no answer to /ping within {_PATIENCE} s")


def _server_of(pid: int) -> Iterator[Path]:
    """Where the server among the descendants of a process stands in /proc."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    for child in " ".join(task.read_text() for task in tasks).split():
        place = Path("/proc") / child
        with contextlib.suppress(OSError):
            if b"\0-m\0motrail\0serve\0" in (place / "cmdline").read_bytes():
                yield place
            yield from _server_of(int(child))


def _user_of(pid: int) -> int:
    """Number of the user that the server runs as."""
    found = next(_server_of(pid), None)
    if found is None:
        raise FailedError("serve: expected a server among the processes, found none")
    return found.stat().st_uid


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the server, as SageMaker does, and hold it to its time."""
    for place in _server_of(process.pid):
        os.kill(int(place.name), signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise FailedError(f"serve: expected it to end within {_GRACE} s of SIGTERM") from None


def pip_settings(folder: Path) -> tuple[Path, list[Path]]:
    """A pip.conf that says what pip is told on this machine, and what that names on the disk."""
    lines, mounts = ["[global]"], []
    # Not shown: an address of packages may have a password in it.
    listed = call(sys.executable, "-m", "pip", "config", "list", show=False)
    for line in listed.splitlines():
        key, _, text = line.partition("=")
        name = key.removeprefix("global.").removeprefix(":env:.")
        value = text.strip("'\"").replace("\\n", "\n")
        if name == key or any(row.startswith(f"{name} =") for row in lines):
            continue
        lines.append(f"{name} = " + "\n    ".join(value.split()))
        for word in value.split():
            path = Path(urlparse(word).path if word.startswith("file:") else word)
            if path.is_absolute() and path.exists():
                mounts.append(path)
    # Folders of packages next to each other refer to each other.
    roots = [p.parent if p.is_dir() and p.name == "simple" else p for p in mounts]
    config = folder / "pip.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config, sorted(set(roots))


def has_cpu_build(mounts: Sequence[Path]) -> bool:
    """Whether pip finds a PyTorch for the CPU on this machine."""
    return any(any(path.glob("torch-*+cpu-*.whl")) for path in mounts if path.is_dir())


def call(*words: str, check: bool = True, show: bool = True) -> str:
    """Run a command; gives its standard output, and of what runs in an image all it said."""
    sys.stderr.write(f"$ {' '.join(words)}\n")
    sys.stderr.flush()
    inside = "run" in words
    ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    if show:
        sys.stderr.write(ended.stdout + ended.stderr)
    if check and ended.returncode:
        raise FailedError(f"{' '.join(words[:8])} …: exit code {ended.returncode}")
    return ended.stdout + ended.stderr if inside else ended.stdout


def expect(good: bool, otherwise: str) -> None:
    """See that something is so."""
    if not good:
        raise FailedError(otherwise)


def since(start: float) -> str:
    """Seconds that have passed."""
    return f"{time.monotonic() - start:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
