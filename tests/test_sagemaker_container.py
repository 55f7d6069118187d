"""What containers are told, and what they say: places, hosts, hyperparameters, figures."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from motrail.errors import ConfigError, FormatError
from motrail.sagemaker.container.figures import Figures
from motrail.sagemaker.container.hosts import Hosts, await_name, read_hosts, torchrun
from motrail.sagemaker.container.hyperparameters import read_order, without_training
from motrail.sagemaker.container.places import (
    Places,
    read_config,
    shortened,
    write_message,
)
from motrail.sagemaker.container.work import FailedError
from motrail.sagemaker.requests.training import METRICS, hyperparameters
from sagemaker_container import write_hosts

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
ACCOUNT = "123456789012"


class TestPlaces:
    def test_below_opt_ml(self) -> None:
        places = Places.of_environment({})
        assert str(places.channel("dataset")) == "/opt/ml/input/data/dataset"
        assert str(places.training_config) == "/opt/ml/input/config"
        assert str(places.model) == "/opt/ml/model"
        assert str(places.run) == "/opt/ml/checkpoints"
        assert str(places.output_data) == "/opt/ml/output/data"
        assert str(places.failure) == "/opt/ml/output/failure"
        assert str(places.message) == "/opt/ml/output/message"
        assert str(places.processing_config) == "/opt/ml/config"
        assert str(places.processing_input("videos")) == "/opt/ml/processing/input/videos"
        assert str(places.processed) == "/opt/ml/processing/output"

    def test_elsewhere(self, tmp_path: Path) -> None:
        places = Places.of_environment({"MOTRAIL_OPT_ML": str(tmp_path)})
        assert places.model == tmp_path / "model"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[1]", "expected a JSON object, found list"),
            ("{", "expected JSON: "),
            ("\x00", "expected JSON: "),
            ("[" * 200_000, "expected JSON: "),
            (" " * (1 << 20) + "{}", "expected at most 1048576 bytes"),
        ],
    )
    def test_broken_config(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(FormatError, match=message):
            read_config(tmp_path / "a.json")

    def test_config_that_is_not_there(self, tmp_path: Path) -> None:
        assert read_config(tmp_path / "a.json") == {}
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            read_config(tmp_path)


class TestMessages:
    def test_a_short_one(self, tmp_path: Path) -> None:
        write_message(tmp_path / "output" / "failure", "no\n such  thing")
        assert (tmp_path / "output" / "failure").read_bytes() == b"no such thing"

    def test_never_more_than_1024_bytes(self) -> None:
        assert shortened("é" * 512) == ("é" * 512).encode()
        # 1024 bytes less 3 of the mark leave 1021: 510 letters of two bytes.
        assert shortened("é" * 513) == ("é" * 510 + "…").encode()
        assert shortened("a" * 1025) == b"a" * 1021 + "…".encode()
        assert shortened("\ud800") == b"?"

    def test_no_secrets(self, tmp_path: Path) -> None:
        write_message(tmp_path / "failure", f"{SECRET} of {ACCOUNT}")
        content = (tmp_path / "failure").read_text()
        assert SECRET not in content
        assert ACCOUNT not in content


class TestHosts:
    def test_alone(self, tmp_path: Path) -> None:
        hosts = read_hosts(tmp_path)
        assert (len(hosts), hosts.rank, hosts.first) == (1, 0, True)
        assert torchrun(hosts, 1, {}) == ()
        assert hosts.environment({}) == {}

    def test_several_graphics_cards(self) -> None:
        assert torchrun(Hosts(), 4, {}) == (
            "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"
        )  # fmt: skip

    def test_several_hosts_meet_at_the_first(self, tmp_path: Path) -> None:
        names = [f"algo-{number}" for number in (10, 2, 1)]
        write_hosts(tmp_path, names, "algo-10")
        hosts = read_hosts(tmp_path)
        assert hosts.names == ("algo-1", "algo-2", "algo-10")
        assert (hosts.rank, hosts.first) == (2, False)
        assert torchrun(hosts, 8, {}) == (
            "-m", "torch.distributed.run", "--nnodes=3", "--nproc-per-node=8", "--node-rank=2",
            "--master-addr=algo-1", "--master-port=29500",
        )  # fmt: skip
        elsewhere = torchrun(hosts, 1, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234"})
        assert elsewhere[-2:] == ("--master-addr=127.0.0.1", "--master-port=1234")

    def test_the_network_interface(self) -> None:
        loopback = Hosts(interface="lo")
        told = {"NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo"}
        assert loopback.environment({}) == told
        assert loopback.environment({"NCCL_SOCKET_IFNAME": "^lo"}) == {"GLOO_SOCKET_IFNAME": "lo"}
        assert Hosts(interface="eth17").environment({}) == {}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"hosts": []}, r"hosts: expected the names of hosts, found \[\]"),
            ({"hosts": ["a", 1]}, "hosts: expected the names of hosts"),
            ({"hosts": ["a", "a"]}, "hosts: expected each host once"),
            ({"current_host": "c"}, "current_host: expected one of hosts, found 'c'"),
            ({"network_interface_name": 1}, "network_interface_name: expected text, found 1"),
        ],
    )
    def test_nonsense(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        write_hosts(tmp_path, ["a", "b"], "a", change)
        with pytest.raises(FormatError, match=message):
            read_hosts(tmp_path)

    def test_waiting_for_the_first_host(self) -> None:
        pauses: list[float] = []

        def find(name: str, _port: None) -> list[object]:
            assert name == "algo-1"
            if len(pauses) < 2:
                raise OSError
            return []

        await_name("algo-1", lambda: False, pause=pauses.append, find=find)
        assert len(pauses) == 2

    def test_a_first_host_that_never_comes(self) -> None:
        def find(_name: str, _port: None) -> list[object]:
            raise socket.gaierror

        with pytest.raises(FailedError, match="algo-1: the first host of the job has no address"):
            await_name("algo-1", lambda: False, pause=lambda _seconds: None, find=find)
        await_name("algo-1", lambda: True, pause=lambda _seconds: None, find=find)


def order(folder: Path, given: dict[str, Any], environ: dict[str, str] | None = None) -> Any:
    (folder / "hyperparameters.json").write_text(json.dumps(given))
    return read_order(folder, environ or {})


class TestHyperparameters:
    def test_all_text(self, tmp_path: Path) -> None:
        found = order(
            tmp_path,
            {"model": "yolox-s", "epochs": "30", "learning_rate": "1e-05", "scale": "[0.8, 1.2]",
             "compile": "true", "best_by": "hota", "precision": '"float32"', "cache_gb": "2"},
        )  # fmt: skip
        assert list(found.words()) == ["--model=yolox-s"]
        assert found.settings == {
            "epochs": 30, "learning_rate": 1e-05, "scale": (0.8, 1.2), "compile": True,
            "best_by": "hota", "precision": "float32", "cache_gb": 2.0,
        }  # fmt: skip

    def test_the_file_that_training_gets(self, tmp_path: Path) -> None:
        from motrail.config import resolve, toml_layer

        found = order(
            tmp_path, {"model": "yolox-s", "learning_rate": "1e-05", "scale": "[0.8, 1.2]"}
        )
        (tmp_path / "config.toml").write_text(found.toml())
        train = resolve([toml_layer(tmp_path / "config.toml")]).settings.train
        assert (train.learning_rate, train.scale) == (1e-05, (0.8, 1.2))

    def test_values_as_people_write_them(self, tmp_path: Path) -> None:
        found = order(
            tmp_path, {"model": '"yolox-s"', "compile": "True", "scale": "0.8, 1.2", "seed": "007"}
        )
        assert found.model == "yolox-s"
        assert found.settings == {"compile": True, "scale": (0.8, 1.2), "seed": 7}

    def test_classes(self, tmp_path: Path) -> None:
        given = {"model": "yolox-s", "classes": "player, -ball", "map": "person=player,-b=-ball"}
        found = order(tmp_path, given | {"preset": "yolox"})
        assert list(found.words()) == [
            "--model=yolox-s", "--classes=player,-ball", "--map=person=player", "--map=-b=-ball",
            "--preset=yolox",
        ]  # fmt: skip
        assert order(tmp_path, {"model": "m", "classes": '["a b", "2024"]'}).classes == (
            "a b",
            "2024",
        )
        assert order(tmp_path, {"model": "m", "classes": "2024"}).classes == ("2024",)

    def test_what_requests_send_is_what_is_read(self, tmp_path: Path) -> None:
        settings = {"epochs": 7, "best_by": "ap50", "scale": (0.5, 2.0), "compile": False}
        sent = hyperparameters(
            "yolox-nano", settings, classes=["a", "b"], names={"x": "a"}, preset="yolox"
        )
        found = order(tmp_path, sent)
        assert (found.classes, found.names, found.preset) == (("a", "b"), ("x=a",), "yolox")
        assert found.settings == settings

    def test_what_others_add_is_left_alone(self, tmp_path: Path) -> None:
        added = {"_tuning_objective_metric": "validation:AP", "sagemaker_region": "eu-west-1"}
        assert order(tmp_path, {"model": "m", **added}).settings == {}

    def test_the_environment_weighs_less(self, tmp_path: Path) -> None:
        environ = {"MOTRAIL_TRAIN_EPOCHS": "5", "MOTRAIL_TRAIN_SEED": "9", "HOME": "/"}
        found = order(tmp_path, {"model": "m", "epochs": "3"}, environ)
        assert found.settings == {"epochs": 3, "seed": 9}
        assert without_training(environ) == {"HOME": "/"}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "hyperparameter model: expected a name such as yolox-s, found none"),
            ({"model": "m", "epoch": "3"}, "hyperparameter epoch: unknown; did you mean 'epochs'?"),
            ({"model": "m", "epochs": "x"}, "hyperparameter epochs: .train. epochs: Input should"),
            ({"model": "m", "epochs": "1.5"}, "hyperparameter epochs: .train. epochs: Input"),
            ({"model": "m", "epochs": "3\nseed = 4"}, "hyperparameter epochs: "),
            ({"model": "m", "epochs": "0"}, "epochs: expected from 1 to 1000000, found 0"),
            ({"model": "m", "best_by": "loss"}, "hyperparameter best_by: .train. best_by: Input"),
        ],
    )
    def test_wrong(self, tmp_path: Path, given: dict[str, str], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            order(tmp_path, given)

    def test_a_number_is_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="epochs: expected text, found 3"):
            order(tmp_path, {"model": "m", "epochs": 3})


def write_rows(run: Path, *rows: dict[str, Any]) -> None:
    run.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "metrics.jsonl").write_text(text + '{"kind": "tra')


class TestFigures:
    ROWS = (
        {"kind": "before", "epoch": 0, "AP": 1.0},
        {"kind": "train", "epoch": 1, "loss": 4.0},
        {"kind": "train", "epoch": 1, "loss": 2.0},
        {"kind": "val", "epoch": 1, "AP": 41.23, "AP50": 70.119, "HOTA": 51.2, "MOTA": 3.0},
        {"kind": "train", "epoch": 2, "loss": 1.5},
        {"kind": "val", "epoch": 2, "AP": 40.0, "AP50": 71.0, "HOTA": float("nan")},
    )

    def test_a_line_for_each_validation(self, tmp_path: Path) -> None:
        write_rows(tmp_path, *self.ROWS)
        said: list[str] = []
        figures = Figures(tmp_path, said.append)
        figures.hear("epoch=1/2 step=3 loss=2 iou_loss=1")
        figures.hear("before training: AP=1.00")
        assert said == []
        figures.hear("epoch=1/2 AP=41.23 AP50=70.12 HOTA=51.20 best")
        figures.hear("epoch=2/2 AP=40.00 AP50=71.00")
        assert said == [
            "motrail: epoch=1 AP=0.4123 AP50=0.7012 HOTA=51.20 loss=3.0000",
            "motrail: epoch=2 AP=0.4000 AP50=0.7100 loss=1.5000",
        ]

    def test_the_best_comes_last(self, tmp_path: Path) -> None:
        write_rows(tmp_path, *self.ROWS)
        said: list[str] = []
        Figures(tmp_path, said.append).best("ap50")
        Figures(tmp_path, said.append).best("hota")
        assert [line.split()[1] for line in said] == ["epoch=2", "epoch=1"]

    def test_nothing_to_say(self, tmp_path: Path) -> None:
        said: list[str] = []
        Figures(tmp_path, said.append).hear("epoch=1/2 AP=41.23")
        Figures(tmp_path, said.append).best("ap")
        assert said == []

    def test_the_metrics_of_a_job_are_found_in_it(self, tmp_path: Path) -> None:
        write_rows(tmp_path, *self.ROWS)
        said: list[str] = []
        Figures(tmp_path, said.append).hear("epoch=1/2 AP=41.23")
        found = {name: re.findall(pattern, said[0]) for name, pattern in METRICS.items()}
        assert found == {
            "validation:AP": ["0.4123"],
            "validation:AP50": ["0.7012"],
            "validation:HOTA": ["51.20"],
            "train:loss": ["3.0000"],
        }
