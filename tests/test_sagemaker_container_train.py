"""The entry point `train`: a whole job, an interruption, several hosts, and what goes wrong."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from motrail.errors import ConfigError
from motrail.sagemaker.container.hosts import Hosts
from motrail.sagemaker.container.hyperparameters import Order
from motrail.sagemaker.container.places import Places
from motrail.sagemaker.container.train import count_processes, find_dataset, find_weights
from motrail.sagemaker.requests.training import METRICS
from sagemaker_container import TINY, ended, lay_out, squares, start, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Prove

LONG = {**TINY, "epochs": "200"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("squares"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def epochs_of(log: str) -> list[int]:
    """Of the lines that metrics are read from."""
    return [int(number) for number in re.findall(r"^motrail: epoch=(\d+) AP=", log, re.MULTILINE)]


class TestAJob:
    def test_interrupted_and_gone_on_with(self, dataset: Path, tmp_path: Path) -> None:
        """As with a spot instance: stopped, and started elsewhere with its checkpoints."""
        first = lay_out(tmp_path / "first", LONG, dataset)
        process = start(first, "train")
        before = wait_for(process, "motrail: epoch=1 ")
        process.send_signal(signal.SIGTERM)
        code, log = ended(process, 120)
        assert code == 143
        assert "told to stop: what was learnt is saved" in log
        assert not (first / "output" / "failure").exists()
        # The best model so far is handed over.
        assert names(first / "model") == {"model.json", "model.onnx"}
        spec = json.loads((first / "model" / "model.json").read_text())
        assert spec["provenance"]["stopped"] is True
        assert names(first / "output" / "data") >= {"metrics.jsonl", "log.txt"}

        done = max(epochs_of(before + log))
        second = lay_out(tmp_path / "second", {**TINY, "epochs": str(done + 1)}, dataset)
        shutil.copytree(first / "checkpoints", second / "checkpoints")
        code, log = ended(start(second, "train"))
        assert code == 0, log
        assert f"going on after epoch {done}" in log
        assert epochs_of(log)[0] == done + 1
        assert names(second / "model") == {"model.json", "model.onnx"}
        spec = json.loads((second / "model" / "model.json").read_text())
        assert spec["provenance"]["epochs"] == done + 1
        rest = names(second / "output" / "data")
        assert rest >= {"batch0.jpg", "config.toml", "examples", "log.txt", "metrics.jsonl"}
        assert not rest & {"checkpoints", "model", "model.tar.gz"}
        found = {name for name, pattern in METRICS.items() if re.search(pattern, log)}
        assert found == set(METRICS)

    def test_what_training_says_is_the_failure(self, dataset: Path, tmp_path: Path) -> None:
        root = lay_out(tmp_path / "ml", {**TINY, "model": "yolox-huge-123456789012"}, dataset)
        code, log = ended(start(root, "train"))
        assert code == 1
        failure = (root / "output" / "failure").read_text()
        assert failure == (
            "--model: expected one of yolox-nano, yolox-tiny, yolox-s, yolox-m, yolox-l, yolox-x, "
            "found 'yolox-huge-[account]'"
        )
        assert "123456789012" not in log
        assert not (root / "model").exists()

    def test_no_environment_in_the_log(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path / "ml", TINY)
        process = start(root, "train", AWS_SESSION_TOKEN="planted-token")  # noqa: S106
        code, log = ended(process)
        assert code == 1
        assert "planted-token" not in log
        assert (root / "output" / "failure").read_text().startswith("channel dataset: expected")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class TestSeveral:
    HOSTS = ("127.0.0.1", "127.0.0.2")

    def begin(
        self, dataset: Path, tmp_path: Path, given: dict[str, str]
    ) -> list[tuple[Path, subprocess.Popen[str]]]:
        """Two hosts, on two addresses of the loopback network."""
        port, found = str(free_port()), []
        for host in self.HOSTS:
            root = lay_out(tmp_path / host, given, dataset, self.HOSTS, host)
            found.append((root, start(root, "train", MASTER_PORT=port)))
        return found

    @pytest.mark.proof
    def test_hosts_train_together(self, dataset: Path, tmp_path: Path) -> None:
        (first, one), (second, other) = self.begin(dataset, tmp_path, {**TINY, "epochs": "2"})
        code, log = ended(one)
        assert code == 0, log
        assert ended(other)[0] == 0
        # 24 pictures in batches of 4 on each of two hosts.
        rows = [
            json.loads(line)
            for line in (first / "checkpoints" / "metrics.jsonl").read_text().splitlines()
        ]
        assert [row["update"] for row in rows if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
        assert epochs_of(log)[:2] == [1, 2]
        assert names(first / "model") == {"model.json", "model.onnx"}
        # What all made together is written once.
        assert names(second) == {"input"}

    @pytest.mark.proof
    def test_one_host_that_is_told_to_stop_stops_all(
        self, dataset: Path, tmp_path: Path, prove: Prove
    ) -> None:
        (first, one), (second, other) = self.begin(dataset, tmp_path, LONG)
        wait_for(one, "motrail: epoch=1 ")
        other.send_signal(signal.SIGTERM)
        assert ended(one, 120)[0] == 143
        assert ended(other, 120)[0] == 143
        assert (first / "checkpoints" / "checkpoints" / "last.pt").is_file()
        assert names(first / "model") == {"model.json", "model.onnx"}
        for root in (first, second):
            assert not (root / "output" / "failure").exists()
        prove("containers: SIGTERM to one of two training hosts", "143 within 120 s", "143, both")

    @pytest.mark.proof
    def test_several_processes_on_one_host(
        self, dataset: Path, tmp_path: Path, prove: Prove
    ) -> None:
        """As with two graphics cards; here both processes compute on the CPU."""
        root = lay_out(tmp_path / "ml", {**TINY, "epochs": "1"}, dataset)
        code = (
            "import sys; from motrail.sagemaker.container import __main__, train;"
            "train.count_processes = lambda *_: 2; sys.exit(__main__.main(['train']))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env={**_environment(), "MOTRAIL_OPT_ML": str(root)},
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "batch 8, " in done.stderr
        assert names(root / "model") == {"model.json", "model.onnx"}
        prove("containers: training with torchrun --standalone", "2 processes", "2, a bundle")


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1"}


class TestWhatIsTrained:
    @pytest.fixture
    def places(self, tmp_path: Path) -> Places:
        return Places(tmp_path)

    def about(self, places: Places, **channels: dict[str, str]) -> None:
        places.training_config.mkdir(parents=True)
        (places.training_config / "inputdataconfig.json").write_text(json.dumps(channels))

    def test_the_dataset(self, places: Places) -> None:
        places.channel("dataset").mkdir(parents=True)
        (places.channel("dataset") / "labels.txt").write_text("a\n")
        assert find_dataset(places, Hosts()) == places.channel("dataset")

    def test_no_dataset(self, places: Places) -> None:
        self.about(places, data={}, other={})
        with pytest.raises(ConfigError, match="found nothing at .*dataset; channels: data, other"):
            find_dataset(places, Hosts())

    def test_a_part_of_the_dataset(self, places: Places) -> None:
        self.about(places, dataset={"S3DistributionType": "ShardedByS3Key"})
        with pytest.raises(ConfigError, match="expected FullyReplicated, found ShardedByS3Key"):
            find_dataset(places, Hosts(("a", "b"), "a"))

    def test_a_pipe(self, places: Places) -> None:
        self.about(places, dataset={"TrainingInputMode": "Pipe"})
        with pytest.raises(ConfigError, match="expected input mode File or FastFile, found Pipe"):
            find_dataset(places, Hosts())

    def test_weights(self, places: Places) -> None:
        folder = places.channel("weights")
        assert find_weights(places) is None
        folder.mkdir(parents=True)
        with pytest.raises(ConfigError, match="channel weights: expected one file, found 0 in "):
            find_weights(places)
        (folder / "model.onnx").touch()
        (folder / ".hidden").touch()
        assert find_weights(places) == folder / "model.onnx"
        (folder / "model.json").touch()
        assert find_weights(places) == folder
        (folder / "third").touch()
        with pytest.raises(ConfigError, match="channel weights: expected one file, found 3 in "):
            find_weights(places)

    def test_processes_are_counted_where_there_may_be_graphics_cards(self) -> None:
        assert count_processes(Order("m", settings={"device": "cpu"}), {}) == 1
        assert count_processes(Order("m", settings={"device": "cuda:1"}), {}) == 1
