"""`motrail train`: a run's folder, and that being interrupted changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch

from commands import Call, Result, caller
from motrail.dataset.convert import import_labels
from motrail.dataset.split import split_dataset
from motrail.train.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

SIDE, FRAMES = 96, 12
TINY = (
    *("--model", "yolox-nano", "--input-width", "64", "--batch", "4", "--epochs", "3"),
    *("--plain-epochs", "1", "--log-every", "1", "--warmup-steps", "2", "--workers", "1"),
)


def picture(number: int, clip: int) -> tuple[np.ndarray[Any, Any], list[tuple[int, int]]]:
    """Two bright squares on a dark ground, and where they are."""
    image = np.full((SIDE, SIDE, 3), 40, np.uint8)
    places = [(8 + 4 * number, 10 + 5 * clip), (60 - 3 * number, 60)]
    for left, top in places:
        cv2.rectangle(image, (left, top), (left + 19, top + 19), (200, 220, 240), -1)
    return image, places


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of twelve pictures, one of them for validation."""
    folder = tmp_path_factory.mktemp("squares")
    (folder / "labels").mkdir()
    (folder / "labels" / "labels.txt").write_text("square\n")
    for clip in range(3):
        place = folder / "labels" / f"clip-{clip}"
        (place / "img1").mkdir(parents=True)
        (place / "gt").mkdir()
        rows = []
        for number in range(1, FRAMES + 1):
            image, places = picture(number, clip)
            assert cv2.imwrite(str(place / "img1" / f"{number:06}.png"), image)
            rows += [f"{number},{i},{x},{y},20,20,1,1,1\n" for i, (x, y) in enumerate(places, 1)]
        (place / "gt" / "gt.txt").write_text("".join(rows))
        (place / "seqinfo.ini").write_text(
            f"[Sequence]\nname=clip-{clip}\nimDir=img1\nframeRate=10\nseqLength={FRAMES}\n"
            f"imWidth={SIDE}\nimHeight={SIDE}\nimExt=.png\n"
        )
    import_labels([folder / "labels"], folder / "all")
    split_dataset(folder / "all", val=0.34, seed=1, output=folder / "data")
    return folder / "data"


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.chdir(tmp_path)
    return caller(capsys, "train")


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_checkpoint(run / "checkpoints" / "last.pt")["network"]
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    ended = start(dataset, run).communicate(timeout=240)
    assert (run / "model.tar.gz").is_file(), ended
    return run


def start(dataset: Path, run: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "motrail", "train", str(dataset), "-o", str(run), *TINY, *more]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


class TestRun:
    def test_what_it_leaves(self, whole: Path) -> None:
        found = {path.name for path in whole.iterdir()}
        assert found >= {
            "batch0.jpg", "checkpoints", "config.toml", "examples", "log.txt", "metrics.jsonl",
            "model", "model.tar.gz", "results.png", "tensorboard",
        }  # fmt: skip
        rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
        assert [row["kind"] for row in rows].count("val") == 3
        assert [row["update"] for row in rows if row["kind"] == "train"] == list(range(1, 19))
        spec = json.loads((whole / "model" / "model.json").read_text())
        assert (spec["classes"], spec["architecture"]) == (["square"], "yolox-nano")
        assert (spec["input"]["width"], spec["input"]["color"]) == (64, "bgr")
        assert spec["provenance"]["pictures"] == 24

    def test_the_model_can_be_loaded(self, whole: Path) -> None:
        from motrail.detect.detector import load_detector

        detector = load_detector(whole / "model.tar.gz")
        assert detector.class_names == ("square",)

    def test_the_log_has_a_line_for_every_figure(self, whole: Path) -> None:
        text = (whole / "log.txt").read_text()
        for name in ("loss", "iou_loss", "obj_loss", "cls_loss", "lr", "images_per_second"):
            assert f" {name}=" in text
        assert " AP50=" in text

    def test_settings_can_be_given_again(self, whole: Path) -> None:
        from motrail.config import resolve, toml_layer

        settings = resolve([toml_layer(whole / "config.toml")]).settings.train
        assert (settings.epochs, settings.batch, settings.input_width) == (3, 4, 64)


class TestExport:
    @pytest.fixture
    def export(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Call:
        monkeypatch.chdir(tmp_path)
        return caller(capsys, "export")

    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Path:
        """A run whose network is as it was made: it answers in usual numbers."""
        from motrail.train.network import make_yolox

        torch.manual_seed(1)
        identity = {"model": "yolox-nano", "classes": ("a", "b"), "height": 64, "width": 64}
        content = {"identity": identity, "network": make_yolox("nano", 2).state_dict()}
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        save_checkpoint(tmp_path / "run" / "checkpoints" / "best.pt", content)
        return tmp_path / "run"

    def test_onnx_decoded(self, export: Call, fresh: Path, tmp_path: Path) -> None:
        """Decoded boxes are the raw ones, moved to their cells and scaled by the strides."""
        import onnxruntime

        assert export(fresh, "-o", "raw").code == 0
        assert export(fresh, "-o", "out", "--decoded").code == 0
        image = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64)).astype(np.float32)
        answers = [
            onnxruntime.InferenceSession(path).run(None, {"images": image})[0]
            for path in (tmp_path / "raw" / "model.onnx", tmp_path / "out" / "model.onnx")
        ]
        raw, decoded = (answer[:, :64].astype(np.float64) for answer in answers)  # stride 8
        cells = np.stack([np.arange(64) % 8, np.arange(64) // 8], axis=1)
        expected = (raw[..., :2] + cells) * 8
        assert np.abs(decoded[..., :2] - expected).max() < 1e-2 * np.abs(expected).max()
        np.testing.assert_allclose(decoded[..., 4:], raw[..., 4:], atol=1e-4)

    def test_tensorrt_is_a_command_for_the_users_gpu(self, export: Call, fresh: Path) -> None:
        text = export(fresh, "-o", "out", "--format", "tensorrt", "--batch", "4").out
        assert "trtexec --onnx=" in text
        assert "--maxShapes=images:4x3x64x64" in text

    def test_openvino(self, export: Call, fresh: Path, tmp_path: Path) -> None:
        assert export(fresh, "-o", "out", "--format", "openvino").code == 0
        assert {p.name for p in (tmp_path / "out").iterdir()} == {"model.xml", "model.bin"}

    def test_no_run(self, export: Call, tmp_path: Path) -> None:
        result = export(tmp_path / "none")
        assert (result.code, "expected a checkpoint" in result.err) == (1, True)


class TestInterrupted:
    def test_told_to_end(self, dataset: Path, whole: Path, tmp_path: Path) -> None:
        """SIGTERM saves and leaves; what goes on ends with the same weights, bit by bit."""
        run = tmp_path / "run"
        process = start(dataset, run)
        wait_for(run, updates=4)
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=120)
        assert process.returncode == 3, err
        assert "go on with --resume" in err
        assert not (run / "model.tar.gz").exists()
        finish(dataset, run)
        assert same(weights(run), weights(whole))

    def test_told_to_end_after_the_last_step(
        self, call: Call, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The model is written by who goes on."""

        def over(_told: object) -> bool:
            path = tmp_path / "run" / "metrics.jsonl"
            return path.exists() and '"kind": "val", "epoch": 1' in path.read_text()

        monkeypatch.setattr("motrail.cli.train._Told.asked", over)
        result = call(dataset, "-o", "run", *TINY[:6], "--epochs", "1")
        assert result.code == 3
        assert result.err.endswith(
            "stopped and saved before the model was written; go on with --resume\n"
        )
        assert not (tmp_path / "run" / "model.tar.gz").exists()

    def test_ctrl_c(self, dataset: Path, tmp_path: Path) -> None:
        """Leaves at once, with what the last checkpoint has."""
        run = tmp_path / "run"
        process = start(dataset, run)
        wait_for(run, updates=8)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (130, ""), err
        assert err.splitlines()[-1] == "interrupted; nothing was left half-written"
        assert load_checkpoint(run / "checkpoints" / "last.pt")["state"]["epoch"] == 1

    @pytest.mark.parametrize("seed", [1])
    def test_killed(self, dataset: Path, whole: Path, tmp_path: Path, seed: int) -> None:
        check_killed(dataset, whole, tmp_path / "run", seed)

    @pytest.mark.proof
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("seed", [2, 3, 4, 5])
    def test_killed_anywhere(self, dataset: Path, whole: Path, tmp_path: Path, seed: int) -> None:
        check_killed(dataset, whole, tmp_path / "run", seed)


def test_from_weights_that_know_the_class(
    call: Call, dataset: Path, whole: Path, tmp_path: Path
) -> None:
    """What they score is said before the first step; frozen statistics stay theirs."""
    best = whole / "checkpoints" / "best.pt"
    run = tmp_path / "run"
    words = [*TINY, "--weights", best, "--freeze-statistics"]
    code, _, err = call(dataset, "-o", run, *words)
    assert code == 0, err
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    content = load_checkpoint(best)
    assert (rows[0]["kind"], rows[0]["epoch"], rows[0]["update"]) == ("before", 0, 0)
    assert rows[0]["AP"] == pytest.approx(content["figures"]["AP"])
    assert f"before training: AP={rows[0]['AP']:.2f} " in (run / "log.txt").read_text()
    known, learnt = content["network"], weights(run)
    statistics = [name for name in known if name.endswith(("running_mean", "running_var"))]
    assert len(statistics) > 50
    assert all(torch.equal(known[name], learnt[name]) for name in statistics)
    assert not same(known, learnt)


def check_killed(dataset: Path, whole: Path, run: Path, seed: int) -> None:
    """Killed at any step, and gone on with, it ends with the same weights, bit by bit."""
    process = start(dataset, run, "--checkpoint-minutes", "0.001")
    wait_for(run, updates=int(np.random.default_rng(seed).integers(2, 17)))
    process.kill()
    process.communicate(timeout=60)
    finish(dataset, run)
    assert same(weights(run), weights(whole))
    updates = [
        row["update"]
        for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        if row["kind"] == "train"
    ]
    assert updates == list(range(1, 19))


def wait_for(run: Path, updates: int) -> None:
    end = time.monotonic() + 200
    while time.monotonic() < end:
        path = run / "metrics.jsonl"
        if path.exists() and f'"update": {updates},' in path.read_text():
            return
        time.sleep(0.02)
    pytest.fail(f"no update {updates} in time")


def finish(dataset: Path, run: Path) -> None:
    process = start(dataset, run, "--resume")
    _out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err


class TestTrouble:
    def failed(self, result: Result, code: int) -> str:
        assert result.code == code, result.err
        return result.err

    def test_a_folder_that_is_in_use(self, call: Call, dataset: Path, whole: Path) -> None:
        err = self.failed(call(dataset, "-o", whole, *TINY), 2)
        assert "holds something already; add --resume" in err

    def test_no_train_split(self, call: Call, dataset: Path) -> None:
        err = self.failed(call(dataset / "val", "-o", "run", *TINY), 2)
        assert "expected a split train, found val; make one with `motrail dataset split" in err

    def test_a_class_nobody_has(self, call: Call, dataset: Path) -> None:
        err = self.failed(call(dataset, "-o", "run", *TINY, "--classes", "circle"), 2)
        assert "circle" in err

    def test_no_such_model(self, call: Call, dataset: Path) -> None:
        err = self.failed(call(dataset, "-o", "run", "--model", "yolox-huge"), 2)
        assert "expected one of yolox-nano, yolox-tiny" in err

    def test_a_checkpoint_of_another_model(self, call: Call, dataset: Path, whole: Path) -> None:
        words = [w.replace("yolox-nano", "yolox-tiny") for w in TINY]
        err = self.failed(call(dataset, "-o", whole, *words, "--resume"), 1)
        assert "is of another training: expected model yolox-tiny, found yolox-nano" in err

    def test_a_checkpoint_that_is_none(self, call: Call, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        (tmp_path / "run" / "checkpoints" / "last.pt").write_bytes(b"nonsense")
        err = self.failed(call(dataset, "-o", tmp_path / "run", *TINY, "--resume"), 1)
        assert "expected a checkpoint of a training" in err

    def test_a_setting_out_of_range(self, call: Call, dataset: Path) -> None:
        err = self.failed(call(dataset, "-o", "run", "--input-width", "100"), 2)
        assert "input_width: expected a multiple of 32 up to 8192, found 100" in err


class TestCheckpoint:
    def test_there_and_back(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "a.pt", {"network": {"w": torch.arange(3.0)}, "epoch": 2})
        content = load_checkpoint(tmp_path / "a.pt")
        assert (content["epoch"], content["network"]["w"].tolist()) == (2, [0, 1, 2])

    def test_what_is_none_of_ours(self, tmp_path: Path) -> None:
        from motrail.errors import ModelError

        torch.save({"model": {}}, tmp_path / "a.pt")
        with pytest.raises(ModelError, match="expected a checkpoint of `motrail train`"):
            load_checkpoint(tmp_path / "a.pt")
        (tmp_path / "b.pt").write_bytes(b"nonsense")
        with pytest.raises(ModelError, match="expected a checkpoint of a training"):
            load_checkpoint(tmp_path / "b.pt")
