"""The entry point `process`: the same tracks as `motrail batch`, on one host or on several."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from models import spot_network, spot_spec, spots_clip, write_archive, write_bundle
from motrail.cli.app import run as run_command
from motrail.errors import ConfigError
from motrail.sagemaker.container.hosts import Hosts
from motrail.sagemaker.container.places import Places
from motrail.sagemaker.container.process import (
    find_config,
    find_model,
    name_manifest,
    parse,
    restore,
    summary,
)
from sagemaker_container import ended, start, write_hosts
from served import until

if TYPE_CHECKING:
    from pathlib import Path

CLIPS = {"a.mp4": 24, "b/c.mp4": 40}
FLAGS = ("--workers=1", "--chunk=10")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "b").mkdir()
    for name, frames in CLIPS.items():
        spots_clip(folder / name, frames=frames)
    return folder


@pytest.fixture(scope="module")
def expected(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What `motrail batch` makes of them."""
    folder = tmp_path_factory.mktemp("expected")
    bundle = write_bundle(folder / "model")
    words = ["batch", str(videos), str(folder / "out"), "-m", str(bundle), *FLAGS]
    assert run_command(words) == 0
    found = tracks(folder / "out")
    assert found.keys() == {"a.txt", "b/c.txt"}
    return found


def tracks(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes()
             for path in folder.rglob("*.txt") if path.name != "labels.txt"}  # fmt: skip
    assert all(found.values())
    return found


def ids(found: dict[str, bytes]) -> int:
    """How many tracks there are."""
    return sum(len({row.split(b",")[1] for row in rows.splitlines()}) for rows in found.values())


def lay_out(root: Path, videos: Path, hosts: tuple[str, ...], current: str) -> Places:
    places = Places(root)
    shutil.copytree(videos, places.processing_input("videos"))
    places.processing_input("model").mkdir()
    write_archive(
        places.processing_input("model") / "model.tar.gz",
        {"model.onnx": spot_network(), "model.json": json.dumps(spot_spec()).encode()},
    )
    write_hosts(places.processing_config, hosts, current)
    return places


class TestVideos:
    def test_one_host(self, videos: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
        places = lay_out(tmp_path, videos, ("algo-1",), "algo-1")
        (places.processing_input("videos") / "broken.mp4").write_bytes(b"not a video")
        code, log = ended(start(tmp_path, "process", "videos", *FLAGS))
        assert code == 0, log
        assert tracks(places.processed) == expected
        message = places.message.read_text()
        assert message.startswith(f"partly done: 2 of 3 videos, {ids(expected)} tracks; broken: ")
        assert message in log
        rows = json.loads((places.processed / "batch.json").read_text())["videos"]
        assert {row["name"]: row["state"] for row in rows} == {
            "a": "done",
            "b/c": "done",
            "broken": "failed",
        }
        again = lay_out(tmp_path / "again", videos, ("algo-1",), "algo-1")
        places.processed.rename(again.processing_input("kept"))
        code, log = ended(start(again.root, "process", "videos", *FLAGS))
        assert code == 0
        assert again.message.read_text() == f"done: 2 videos, {ids(expected)} tracks"
        assert tracks(again.processed) == expected
        assert "frames detected" not in log

    def test_a_host_that_was_given_broken_videos_only(self, tmp_path: Path) -> None:
        """Of several: the results of the others must not be lost with the job."""
        (tmp_path / "videos").mkdir()
        (tmp_path / "videos" / "broken.mp4").write_bytes(b"not a video")
        places = lay_out(tmp_path / "ml", tmp_path / "videos", ("algo-1", "algo-2"), "algo-2")
        assert ended(start(places.root, "process", "videos", *FLAGS))[0] == 0
        assert places.message.read_text().startswith("failed: 0 of 1 videos, 0 tracks; broken: ")
        assert {path.name for path in places.processed.glob("*.json")} == {"batch-algo-2.json"}
        write_hosts(places.processing_config, ["algo-2"], "algo-2")
        assert ended(start(places.root, "process", "videos", *FLAGS))[0] == 1
        assert places.message.read_text().startswith("failed: 0 of 1 videos, 0 tracks; broken: ")

    def test_a_host_for_which_nothing_was_left(self, tmp_path: Path) -> None:
        (tmp_path / "videos").mkdir()
        places = lay_out(tmp_path / "ml", tmp_path / "videos", ("algo-1", "algo-2"), "algo-2")
        assert ended(start(places.root, "process", "videos"))[0] == 0
        assert places.message.read_text() == "done: no video was left for this host"


class TestShares:
    def test_detected_by_two_and_tracked_by_one(
        self, videos: Path, expected: dict[str, bytes], tmp_path: Path
    ) -> None:
        hosts = ("algo-1", "algo-2")
        kept = tmp_path / "kept"
        for host in hosts:
            places = lay_out(tmp_path / host, videos, hosts, host)
            code, log = ended(start(places.root, "process", "detect", *FLAGS))
            assert code == 0, log
            assert places.message.read_text().startswith("done: 2 videos, ")
            assert not tracks(places.processed)
            shutil.copytree(places.processed, kept, dirs_exist_ok=True)
        last = lay_out(tmp_path / "last", videos, ("algo-1",), "algo-1")
        kept.rename(last.processing_input("kept"))
        code, log = ended(start(last.root, "process", "associate", *FLAGS))
        assert code == 0, log
        assert tracks(last.processed) == expected
        assert not (last.processed / "detections").exists()

    def test_a_share_is_missing(self, videos: Path, tmp_path: Path) -> None:
        places = lay_out(tmp_path, videos, ("algo-1",), "algo-1")
        assert ended(start(tmp_path, "process", "associate", *FLAGS))[0] == 1
        message = places.message.read_text()
        assert message.startswith("failed: 0 of 2 videos, 0 tracks; a: 3 of 3 chunks are not ")

    def test_told_to_stop(self, videos: Path, tmp_path: Path) -> None:
        places = lay_out(tmp_path, videos, ("algo-1",), "algo-1")
        clip = spots_clip(tmp_path / "long.mp4", frames=500)
        for number in range(12):
            shutil.copy(clip, places.processing_input("videos") / f"long-{number}.mp4")
        process = start(tmp_path, "process", "videos", *FLAGS)
        until(lambda: any(places.processed.rglob("0*.npz")))
        process.send_signal(signal.SIGTERM)
        assert ended(process, 120)[0] == 143
        assert places.message.read_text() == "stopped: told to stop before all was done"
        assert not list(places.processed.rglob(".[0-9a-f]*"))


class TestWrong:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "process: expected one of videos, detect, associate, found ''"),
            (["detekt"], "process: expected one of videos, detect, associate, found 'detekt'"),
            (["detect", "--shard", "1/2"], "process detect: --shard: what is processed"),
            (["videos", "--model=x"], "process videos: --model=x: what is processed"),
            (["associate", "--json"], "process associate: --json: what is processed"),
        ],
    )
    def test_words(self, words: list[str], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            parse(words)

    def test_associate_on_two(self, videos: Path, tmp_path: Path) -> None:
        places = lay_out(tmp_path, videos, ("algo-1", "algo-2"), "algo-1")
        assert ended(start(tmp_path, "process", "associate"))[0] == 1
        expected = "failed: process associate: expected one host, found 2"
        assert places.message.read_text() == expected

    def test_a_flag_that_there_is_not(self, videos: Path, tmp_path: Path) -> None:
        places = lay_out(tmp_path, videos, ("algo-1",), "algo-1")
        assert ended(start(tmp_path, "process", "videos", "--wurkers=1"))[0] == 1
        assert places.message.read_text().startswith("failed: Unknown option: --wurkers")


class TestInputs:
    def test_model(self, tmp_path: Path) -> None:
        places = Places(tmp_path)
        folder = places.processing_input("model")
        with pytest.raises(ConfigError, match=r"input model: expected a model.tar.gz in .*found 0"):
            find_model(places)
        write_bundle(folder)
        assert find_model(places) == folder
        (folder / "model.json").unlink()
        assert find_model(places) == folder / "model.onnx"
        (folder / "model.tar.gz").touch()
        with pytest.raises(ConfigError, match="found 2 models"):
            find_model(places)

    def test_config(self, tmp_path: Path) -> None:
        places = Places(tmp_path)
        assert find_config(places) is None
        folder = places.processing_input("config")
        folder.mkdir(parents=True)
        (folder / "config.toml").touch()
        assert find_config(places) == folder / "config.toml"
        (folder / "other.toml").touch()
        with pytest.raises(ConfigError, match=r"input config: expected one .toml in .*, found 2"):
            find_config(places)

    def test_what_was_kept(self, tmp_path: Path) -> None:
        kept, output = tmp_path / "kept", tmp_path / "out"
        (kept / "detections" / "a").mkdir(parents=True)
        (kept / "detections" / "a" / "1.npz").write_bytes(b"1")
        (kept / "detections" / ".run-host-0").touch()
        (kept / ".0123456789abcdef").touch()
        (kept / "detected-algo-1.json").write_text('{"videos": []}')  # of an earlier try
        row = {"name": "a", "state": "failed"}
        for name, rows in {
            "batch.json": [row, {"name": "b"}], "batch-algo-1.json": [{**row, "state": "done"}],
            "batch-algo-2.json": [{"name": "c"}, {"no": "name"}],
        }.items():  # fmt: skip
            (kept / name).write_text(json.dumps({"videos": rows}))
        output.mkdir()
        restore(kept, output)
        found = {path.relative_to(output).as_posix() for path in output.rglob("*")}
        assert found == {"batch.json", "detections", "detections/a", "detections/a/1.npz"}
        rows = json.loads((output / "batch.json").read_text())["videos"]
        assert [row["name"] for row in rows] == ["a", "b"]

    def test_a_manifest_of_this_host(self, tmp_path: Path) -> None:
        rows = [{"name": "a"}, {"name": "b"}]
        (tmp_path / "batch.json").write_text(json.dumps({"videos": rows}))
        name_manifest(tmp_path, Hosts(("x", "y"), "y"), ["b"])
        assert [path.name for path in tmp_path.iterdir()] == ["batch-y.json"]
        content: dict[str, Any] = json.loads((tmp_path / "batch-y.json").read_text())
        assert content == {"videos": [{"name": "b"}]}


def row(name: str, state: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "tracks": 1, "chunks_now": 2, "reason": None, **more}


class TestSummary:
    def test_done(self) -> None:
        assert summary([row("a", "done"), row("b", "done")]) == "done: 2 videos, 2 tracks"

    def test_a_share(self) -> None:
        rows = [row("a", "waiting"), row("b", "detected")]
        assert summary(rows, detected_only=True) == "done: 2 videos, 4 chunks detected"

    def test_partly(self) -> None:
        rows = [row("a", "done"), row("b", "failed", reason="no video" * 100)]
        assert summary(rows) == f"partly done: 1 of 2 videos, 2 tracks; b: {'no video' * 25}"
        rows = [row("a", "partly", reason="ends early")]
        assert summary(rows) == "partly done: 0 of 1 videos, 1 tracks; a: ends early"

    def test_failed(self) -> None:
        rows = [row("a", "failed", reason="no video", tracks=0)]
        assert summary(rows) == "failed: 0 of 1 videos, 0 tracks; a: no video"
