"""Weights to start from: what is taken, what is refused, and that the answers stay."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

import motrail.train.weights as weights_module
from models import spot_network, write_archive
from motrail.detect.bundle import COCO_CLASSES, InputSpec, preset_spec
from motrail.detect.decode import Grid, decode
from motrail.detect.letterbox import Letterbox
from motrail.errors import DataError, MissingExtraError, ModelError
from motrail.train.network import Yolox, make_yolox, with_scores
from motrail.train.normalisation import (
    FRESH_LENGTH,
    adapt_input,
    calibrate,
    freeze_statistics,
    remeasured,
)
from motrail.train.start import notes
from motrail.train.weights import Loaded, load_weights
from yolox_reference import one_thread, randomise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["one_thread"]

PREDICTIONS = [
    f"head.cls_preds.{level}.{part}" for level in range(3) for part in ("weight", "bias")
]


def trained(classes: int = 3, seed: int = 1, **options: Any) -> Yolox:
    """A network whose numbers are all its own."""
    torch.manual_seed(seed)
    net = make_yolox(options.get("size", "nano"), classes)
    randomise(net)
    for name, parameter in net.head.cls_preds.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_()
    return net


def state(net: Yolox) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def saved(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def same(net: Yolox, other: Yolox, *, but: str = "nothing") -> bool:
    theirs = other.state_dict()
    return all(
        torch.equal(value, theirs[name])
        for name, value in net.state_dict().items()
        if not name.startswith(but)
    )


def refused(net: Yolox, path: Path, **options: Any) -> str:
    """What is said; the network stays as it was."""
    before = state(net)
    with pytest.raises(ModelError) as caught:
        load_weights(net, path, **options)
    after = net.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    return str(caught.value)


# Checkpoints.


def test_a_published_checkpoint(tmp_path: Path) -> None:
    source, net = trained(), make_yolox("nano", 3)
    path = saved(
        tmp_path / "yolox_nano.pth",
        {"start_epoch": 300, "model": source.state_dict(), "optimizer": {"state": {}}},
    )
    loaded = load_weights(net, path)
    assert same(net, source)
    assert set(loaded.loaded) == set(source.state_dict())
    assert loaded.initialised == loaded.left == loaded.kept_classes == ()
    assert not loaded.fused
    assert loaded.summary == f"yolox_nano.pth: {len(source.state_dict())} arrays loaded"


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda net, _: net.state_dict(),
        lambda net, other: {"ema": net.state_dict(), "model": other.state_dict()},
        lambda net, _: {"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}},
        lambda net, _: {"model": net.state_dict(), "best_ap": np.float64(0.5)},
        lambda net, _: {"model": net.state_dict(), "best_ap": np.float32(0.5)},
        lambda net, _: {"model": net.half().state_dict()},
    ],
)
def test_where_checkpoints_keep_their_weights(
    tmp_path: Path, wrapped: Callable[[Yolox, Yolox], object]
) -> None:
    source, net = trained(), make_yolox("nano", 3)
    content = wrapped(source, trained(seed=2))
    load_weights(net, saved(tmp_path / "last.pth.tar", content))
    assert same(net, source.float())


def test_the_old_format_of_pytorch(tmp_path: Path) -> None:
    source, net = trained(), make_yolox("nano", 3)
    content = {"model": source.state_dict()}
    path = saved(tmp_path / "a.pt", content, _use_new_zipfile_serialization=False)
    load_weights(net, path)
    assert same(net, source)


def test_a_checkpoint_that_is_code_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "run"
    path = saved(tmp_path / "evil.pth", {"model": Trap(str(marker))})
    message = refused(make_yolox("nano", 1), path)
    assert message == (
        f"{path}: holds Python objects besides weights, which are code and not read; "
        "save its state dict alone: torch.save(model.state_dict(), …)"
    )
    assert not marker.exists()
    whole = saved(tmp_path / "whole.pth", make_yolox("nano", 1))
    assert "which are code and not read" in refused(make_yolox("nano", 1), whole)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a checkpoint of PyTorch: "),
        (b"hello, I am no checkpoint", "expected a checkpoint of PyTorch: "),
        (b"PK\x03\x04 and no more", "expected a checkpoint of PyTorch: "),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    assert refused(make_yolox("nano", 1), path).startswith(f"{path}: {said}")


def test_a_checkpoint_cut_in_half(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", trained().state_dict())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = refused(make_yolox("nano", 3), path)
    assert said.startswith(f"{path}: expected a checkpoint of PyTorch: ")


def test_other_things_that_pytorch_saves(tmp_path: Path) -> None:
    net = make_yolox("nano", 1)
    path = saved(tmp_path / "list.pth", [1, 2])
    assert refused(net, path) == f"{path}: expected a state dict, found list"
    path = saved(tmp_path / "other.pth", {"layer1.weight": torch.zeros(1), "epoch": 3})
    assert refused(net, path) == (
        f"{path}: expected the weights of a YOLOX network "
        "(backbone.backbone.stem.conv.conv.weight), found layer1.weight, epoch"
    )
    stem = "backbone.backbone.stem.conv.conv.weight"
    path = saved(tmp_path / "text.pth", {stem: "text"})
    assert refused(net, path) == f"{path}: {stem}: expected a tensor, found str"


def test_no_file_and_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make_yolox("nano", 3)
    path = tmp_path / "none.pth"
    assert refused(net, path) == f"{path}: cannot be read: No such file or directory"
    saved(path, trained().state_dict())
    monkeypatch.setattr(weights_module, "MAX_BYTES", 1000)
    assert refused(net, path) == f"{path}: larger than 1000 bytes"


def test_what_is_small_only_while_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = {name: torch.zeros_like(value) for name, value in trained().state_dict().items()}
    path = saved(tmp_path / "plain.pth", zeros)
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as target:
        for member in source.namelist():
            target.writestr(member, source.read(member))
    monkeypatch.setattr(weights_module, "MAX_BYTES", 1_000_000)
    assert packed.stat().st_size < 1_000_000
    assert refused(make_yolox("nano", 3), packed) == f"{packed}: larger than 1000000 bytes"


def test_an_array_that_claims_to_be_huge_is_not_unpacked(tmp_path: Path) -> None:
    content = state(trained())
    stem = "backbone.backbone.stem.conv.conv.weight"
    content[stem] = torch.zeros(1).expand(16, 1 << 40)  # one number in the file
    path = saved(tmp_path / "a.pth", content)
    assert refused(make_yolox("nano", 3), path) == (
        f"{path}: {stem}: expected shape (16, 12, 3, 3), found (16, {1 << 40})"
    )


def test_another_size_of_network_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "yolox_nano.pth", trained().state_dict())
    with torch.device("cpu"):
        net = make_yolox("tiny", 3)
    assert refused(net, path) == (
        f"{path}: expected the weights of yolox-tiny, found those of yolox-nano; "
        "train yolox-nano, or start from weights of yolox-tiny"
    )


def test_damaged_weights(tmp_path: Path) -> None:
    net = make_yolox("nano", 3)
    name = "backbone.C3_p4.conv1.bn.weight"
    content = state(trained())
    del content[name]
    path = saved(tmp_path / "a.pth", content)
    assert refused(net, path) == f"{path}: {name} missing; expected yolox-nano"
    content = state(trained())
    content[name][3] = math.nan
    path = saved(tmp_path / "a.pth", content)
    assert refused(net, path) == f"{path}: {name}: holds NaN or infinite numbers"
    content = state(trained())
    content[name] = torch.zeros(7)
    path = saved(tmp_path / "a.pth", content)
    assert refused(net, path) == f"{path}: {name}: expected shape (64,), found (7,)"
    content = {key: value for key, value in state(trained()).items() if "dark5" not in key}
    path = saved(tmp_path / "a.pth", content)
    assert refused(net, path).endswith(" more missing; expected yolox-nano")
    content = state(trained())
    content["head.cls_preds.1.bias"] = torch.zeros(9)
    path = saved(tmp_path / "a.pth", content)
    assert refused(net, path) == (
        f"{path}: head.cls_preds.*: expected a row for each class, as many on every level"
    )
    del content["head.cls_preds.1.bias"]
    path = saved(tmp_path / "a.pth", content)
    assert refused(net, path) == f"{path}: head.cls_preds.1.bias missing; expected yolox-nano"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.to_sparse(), "expected plain numbers, all of them in the file"),
        (lambda x: x.to("meta"), "expected plain numbers, all of them in the file"),
        (lambda x: x.int(), "expected torch.float32, found torch.int32"),
        (lambda x: x.to(torch.complex64), "expected torch.float32, found torch.complex64"),
        (lambda x: -x, "holds negative variances"),
    ],
)
def test_odd_numbers(tmp_path: Path, change: Callable[[Tensor], Tensor], said: str) -> None:
    name = "backbone.backbone.stem.conv.bn.running_var"
    content = state(trained())
    content[name] = change(content[name])
    path = saved(tmp_path / "a.pth", content)
    assert refused(make_yolox("nano", 3), path) == f"{path}: {name}: {said}"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    os.mkfifo(path)
    assert refused(make_yolox("nano", 3), path) == f"{path}: expected a file"


def test_what_the_network_has_no_use_for_is_told(tmp_path: Path) -> None:
    content = state(trained())
    content["teacher.weight"] = torch.zeros(2)
    loaded = load_weights(make_yolox("nano", 3), saved(tmp_path / "a.pth", content))
    assert loaded.left == ("teacher.weight",)
    assert loaded.summary.endswith("; 1 not needed")


# Classes.


def test_another_number_of_classes_starts_the_class_predictions_anew(tmp_path: Path) -> None:
    source, net = trained(80), trained(2, seed=5)
    loaded = load_weights(net, saved(tmp_path / "a.pth", source.state_dict()))
    assert same(net, source, but="head.cls_preds.")
    assert sorted(loaded.initialised) == sorted(PREDICTIONS)
    assert not set(PREDICTIONS) & set(loaded.loaded)
    assert loaded.summary.endswith("; the class predictions start anew")
    bias = net.head.cls_preds[0].bias
    assert isinstance(bias, torch.Tensor)
    assert bias.detach().sigmoid().tolist() == pytest.approx([0.01, 0.01])


def test_rows_of_classes_with_equal_names_are_kept(tmp_path: Path) -> None:
    source, net = trained(3), trained(2, seed=5)
    loaded = load_weights(
        net,
        saved(tmp_path / "a.pth", source.state_dict()),
        classes_from=("person", "car", "ball"),
        classes_to=("referee", "ball"),
    )
    for name in PREDICTIONS:
        mine, theirs = net.state_dict()[name], source.state_dict()[name]
        assert torch.equal(mine[1], theirs[2])
        assert not torch.equal(mine[0], theirs[0])
    assert loaded.kept_classes == ("ball",)
    assert loaded.new_classes == ("referee",)
    assert set(PREDICTIONS) <= set(loaded.loaded)
    assert sorted(loaded.initialised) == sorted(PREDICTIONS)
    assert loaded.summary.endswith("; kept ball; new referee")


def test_names_decide_also_where_the_number_is_the_same(tmp_path: Path) -> None:
    source, net = trained(3), make_yolox("nano", 3)
    path = saved(tmp_path / "a.pth", source.state_dict())
    names = ("person", "car", "ball")
    loaded = load_weights(net, path, classes_from=names, classes_to=names[::-1])
    for name in PREDICTIONS:
        assert torch.equal(net.state_dict()[name].flip(0), source.state_dict()[name])
    assert loaded.initialised == loaded.new_classes == ()
    loaded = load_weights(net, path, classes_from=names, classes_to=("a", "b", "c"))
    assert loaded.kept_classes == ()
    assert sorted(loaded.initialised) == sorted(PREDICTIONS)


def test_names_that_do_not_fit(tmp_path: Path) -> None:
    net = make_yolox("nano", 2)
    path = saved(tmp_path / "a.pth", trained(3).state_dict())
    with pytest.raises(DataError, match=r"^classes_to: expected 2 names, found 1$"):
        load_weights(net, path, classes_to=("a",))
    with pytest.raises(DataError, match=r"^classes_from: .*a\.pth has 3 classes, found 1 names$"):
        load_weights(net, path, classes_from=("a",), classes_to=("a", "b"))


def test_eighty_classes_are_those_of_coco(tmp_path: Path) -> None:
    """Official files name none; `person` is the first of them and `sports ball` the 33rd."""
    source, net = trained(80), trained(3, seed=5)
    path = saved(tmp_path / "yolox_nano.pth", {"model": source.state_dict()})
    loaded = load_weights(net, path, classes_to=("sports ball", "parcel", "person"))
    for name in PREDICTIONS:
        mine, theirs = net.state_dict()[name], source.state_dict()[name]
        assert torch.equal(mine[0], theirs[32])
        assert torch.equal(mine[2], theirs[0])
    assert loaded.kept_classes == ("sports ball", "person")
    assert loaded.new_classes == ("parcel",)
    assert loaded.known_classes == COCO_CLASSES
    assert loaded.summary.endswith("; kept sports ball, person; new parcel")


def test_one_class_of_bytetrack_is_the_pedestrian(tmp_path: Path) -> None:
    source, net = trained(1), trained(2, seed=5)
    path = saved(tmp_path / "bytetrack.pth.tar", {"model": source.state_dict()})
    wanted = ("ball", "pedestrian")
    assert load_weights(net, path, classes_to=wanted).known_classes == ()
    loaded = load_weights(net, path, classes_to=wanted, preset="bytetrack")
    assert loaded.kept_classes == ("pedestrian",)
    for name in PREDICTIONS:
        assert torch.equal(net.state_dict()[name][1], source.state_dict()[name][0])


@pytest.mark.parametrize("kind", ["last", "best"])
def test_our_own_checkpoints_know_their_classes(tmp_path: Path, kind: str) -> None:
    """Of `last.pt` the averaged weights are taken."""
    source, other, net = trained(2), trained(2, seed=7), trained(1, seed=5)
    content: dict[str, Any] = {"schema": 1, "identity": {"classes": ("car", "van")}}
    if kind == "last":
        content |= {
            "network": other.state_dict(), "average": {"network": source.state_dict(), "updates": 3}
        }  # fmt: skip
    else:
        content["network"] = source.state_dict()
    loaded = load_weights(net, saved(tmp_path / f"{kind}.pt", content), classes_to=("van",))
    assert same(net, source, but="head.cls_preds.")
    assert loaded.kept_classes == ("van",)
    for name in PREDICTIONS:
        assert torch.equal(net.state_dict()[name][0], source.state_dict()[name][1])


@pytest.mark.parametrize(
    ("classes", "advice"),
    [
        (("parcel", "pedestrian"), "--map pedestrian=person would keep what they know of that"),
        (("Cars",), "--map Cars=car would keep what they know of that"),
        (("bike",), "--map bike=bicycle would keep what they know of that"),
        (("parcel",), "--map OURS=THEIRS would keep what they know of one of these"),
    ],
)
def test_how_to_keep_what_the_weights_know(classes: tuple[str, ...], advice: str) -> None:
    loaded = Loaded(Path("a.pth"), (), known_classes=COCO_CLASSES)
    assert list(notes(loaded, classes)) == [
        f"note: the weights know person, bicycle, car and 77 more; {advice}"
    ]
    kept = dataclasses.replace(loaded, kept_classes=("person",))
    assert list(notes(kept, classes)) == []
    unknown = dataclasses.replace(loaded, known_classes=())
    assert list(notes(unknown, classes)) == []


# ONNX.

MODELS = {
    "yolox_nano": ("yolox", COCO_CLASSES, 416, 416),
    "bytetrack_nano": ("bytetrack", ("pedestrian",), 608, 1088),
}


def spec_of(name: str, path: Path) -> InputSpec:
    preset, classes, height, width = MODELS[name]
    return preset_spec(preset, height, width, classes, path).input  # type: ignore[arg-type]


def frames(data: Path, count: int) -> list[Any]:
    paths = sorted((data / "mot17_mini").glob("*/img1/*.jpg"))
    return [cv2.imread(str(path)) for path in paths[:: len(paths) // count][:count]]


def inputs(data: Path, name: str, count: int) -> list[Tensor]:
    letterbox = Letterbox(spec_of(name, data))
    return [torch.from_numpy(letterbox.apply(frame).copy()) for frame in frames(data, count)]


def from_onnx(data: Path, name: str) -> tuple[Yolox, Loaded, Path]:
    path = data / "models" / f"{name}.onnx"
    net = make_yolox("nano", len(MODELS[name][1])).eval()
    return net, load_weights(net, path), path


@torch.no_grad()
def answer(net: Yolox, images: Tensor) -> Tensor:
    return with_scores(net(images))


@pytest.mark.parametrize("name", list(MODELS))
def test_a_network_from_onnx_answers_as_onnxruntime(data: Path, name: str) -> None:
    net, loaded, path = from_onnx(data, name)
    assert loaded.fused
    assert loaded.initialised == loaded.left == ()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = inputs(data, name, 2)
    expected = [torch.from_numpy(session.run(None, {"images": x.numpy()})[0]) for x in images]

    def differences() -> tuple[float, float]:
        found = [answer(net, x) - y for x, y in zip(images, expected, strict=True)]
        scores = max(float(d[..., 4:].abs().max()) for d in found)
        largest = max(float(y.abs().max()) for y in expected)
        return scores, max(float(d.abs().max()) for d in found) / largest

    # Scores differ by less than 1e-4. Offsets in cells go up to 29, and onnxruntime itself is up
    # to 2e-3 away from what double precision gives; so they are measured against the largest.
    scores, boxes = differences()
    assert scores <= 1e-4
    assert boxes <= 1e-4
    calibrate(net, images)
    scores, boxes = differences()
    assert scores <= 2e-4
    assert boxes <= 2e-4


def test_calibration_makes_training_mode_answer_alike(data: Path) -> None:
    net, _, _ = from_onnx(data, "yolox_nano")
    images = torch.cat(inputs(data, "yolox_nano", 4))
    expected = answer(net, images)
    # In training mode normalisation goes by the batch, and running means move; hence the copies.
    folded = answer(copy.deepcopy(net).train(), images)
    net.train()
    assert calibrate(net, [images[:1], images[1:]]) == 4
    assert net.training
    settled = answer(copy.deepcopy(net), images)
    assert float((answer(net.eval(), images) - expected).abs().max()) <= 1e-3
    assert float((folded - expected).abs().mean()) > 0.05
    assert float((settled - expected).abs().mean()) <= 1e-3


def test_calibration_measures_the_channels() -> None:
    net = trained(2).double()
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64) * 255
    unit = net.backbone.backbone.stem.conv
    unit.conv.weight.data /= 40
    seen: list[Tensor] = []
    hook = unit.bn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    before = answer(net.eval(), images.float().double())
    hook.remove()
    calibrate(Double(net), [images])  # type: ignore[arg-type]
    assert float((answer(net, images.float().double()) - before).abs().max()) <= 1e-9
    # Filters have half to one and a half times the length of fresh ones (a power of two is taken).
    lengths = unit.conv.weight.detach().flatten(1).norm(dim=1) / FRESH_LENGTH
    assert bool(((lengths > 0.7) & (lengths < 1.42)).all())
    again: list[Tensor] = []
    unit.bn.register_forward_pre_hook(lambda _, args: again.append(args[0]))
    answer(net, images.float().double())
    assert unit.bn.running_mean is not None
    assert unit.bn.running_var is not None
    channels = again[0].transpose(0, 1).flatten(1)
    assert torch.allclose(unit.bn.running_mean, channels.mean(dim=1))
    assert torch.allclose(unit.bn.running_var, channels.var(dim=1, unbiased=False))
    assert not torch.allclose(again[0], seen[0])


class Double:
    """A network in double precision for `calibrate`, which makes pictures float32."""

    def __init__(self, net: Yolox) -> None:
        self.net = net

    def __getattr__(self, name: str) -> Any:
        return getattr(self.net, name)

    def __call__(self, images: Tensor) -> Tensor:
        return self.net(images.double())  # type: ignore[no-any-return]


def test_calibration_wants_pictures_and_numbers() -> None:
    net = trained(1)
    with pytest.raises(
        DataError, match=r"^batches: expected pictures to calibrate with, found none$"
    ):
        calibrate(net, [])
    before = state(net)
    with pytest.raises(
        DataError, match=r"^batches: backbone\.backbone\.stem\.conv answers with NaN or infinite"
    ):
        calibrate(net, [torch.full((1, 3, 32, 32), math.nan)])
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert net.training


def test_channels_that_are_dead_stay_dead() -> None:
    net = trained(1)
    unit = net.backbone.backbone.stem.conv
    with torch.no_grad():
        unit.conv.weight[2] = 0
    images = torch.rand(2, 3, 64, 64) * 255
    before = answer(net.eval(), images)
    calibrate(net, [images.to(torch.uint8), images])
    assert float((answer(net, images) - before).abs().max()) <= 1e-3
    assert not unit.conv.weight[2].any()


def test_weights_made_for_another_input_find_the_same(data: Path) -> None:
    net, _, path = from_onnx(data, "bytetrack_nano")
    spec = spec_of("bytetrack_nano", path)
    adapted = copy.deepcopy(net)
    adapt_input(adapted, spec)
    ours = Letterbox(InputSpec(height=spec.height, width=spec.width, color="bgr"))
    theirs = Letterbox(spec)
    frame = frames(data, 3)[2]
    plain, normal = (torch.from_numpy(box.apply(frame).copy()) for box in (ours, theirs))
    with torch.no_grad():
        stems = [
            found.backbone.backbone.stem(x)[..., 1:-1, 1:-1]
            for found, x in ((net, normal), (adapted, plain))
        ]
    scale = float(stems[0].abs().max())
    assert float((stems[0] - stems[1]).abs().max()) <= 1e-5 * scale
    grid = Grid(spec.height, spec.width, (8, 16, 32))

    def boxes(found: Yolox, x: Tensor) -> int:
        rows = answer(found, x)[0].numpy()
        return len(decode(rows, grid, decoded=False, score_threshold=0.5, nms_threshold=0.45)[0])

    assert boxes(net, normal) > 5
    assert abs(boxes(adapted, plain) - boxes(net, normal)) <= 1
    assert boxes(net, plain) <= 3


def test_a_bundle_knows_its_classes(data: Path, tmp_path: Path) -> None:
    content = (data / "models" / "bytetrack_nano.onnx").read_bytes()
    spec = preset_spec("bytetrack", 608, 1088, ("pedestrian",), tmp_path)
    path = write_archive(
        tmp_path / "model.tar.gz",
        {"model.onnx": content, "model.json": spec.model_dump_json().encode()},
    )
    net = make_yolox("nano", 2)
    loaded = load_weights(net, path, classes_to=("ball", "pedestrian"))
    assert loaded.kept_classes == ("pedestrian",)
    assert loaded.new_classes == ("ball",)


def test_a_bare_onnx_of_coco_knows_its_classes(data: Path) -> None:
    net = make_yolox("nano", 2)
    path = data / "models" / "yolox_nano.onnx"
    loaded = load_weights(net, path, classes_to=("person", "parcel"))
    assert (loaded.kept_classes, loaded.new_classes) == (("person",), ("parcel",))
    whole = make_yolox("nano", 80)
    load_weights(whole, path)
    for name in PREDICTIONS:
        assert torch.equal(net.state_dict()[name][0], whole.state_dict()[name][0])


def changed(data: Path, path: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(data / "models" / "yolox_nano.onnx")
    change(model.graph)
    onnx.save(model, path)
    return path


def convolutions(graph: Any) -> list[int]:
    return [index for index, node in enumerate(graph.node) if node.op_type == "Conv"]


def test_layers_in_another_order_are_found_out(data: Path, tmp_path: Path) -> None:
    def swap(graph: Any) -> None:
        # Both work on the same features and have the same shape; the graph stays what it was.
        nodes = [copy.deepcopy(graph.node[index]) for index in convolutions(graph)[3:5]]
        assert "conv1" in nodes[0].name
        assert nodes[0].input[0] == nodes[1].input[0]
        graph.node.remove(nodes[1])
        graph.node.insert(convolutions(graph)[3], nodes[1])

    path = changed(data, tmp_path / "a.onnx", swap)
    said = refused(make_yolox("nano", 80), path)
    assert said.startswith(
        f"{path}: put together as yolox-nano, its convolutions give other scores than the file "
        "(logits differ by "
    )
    assert said.endswith(
        "the order of the layers or what is done to the input is not that of YOLOX"
    )


def test_normalisation_that_is_not_folded(data: Path, tmp_path: Path) -> None:
    values = {"w": 2.0, "b": 0.5, "m": 0.25, "v": 0.75}

    def unfold(graph: Any) -> None:
        index = convolutions(graph)[1]
        node = graph.node[index]
        for name, value in values.items():
            graph.initializer.append(numpy_helper.from_array(np.full(16, value, np.float32), name))
        output = node.output[0]
        node.output[0] = "between"
        after = helper.make_node(
            "BatchNormalization", ["between", "w", "b", "m", "v"], [output], epsilon=1e-2
        )
        graph.node.insert(index + 1, after)

    path = changed(data, tmp_path / "a.onnx", unfold)
    net = make_yolox("nano", 80)
    load_weights(net, path)
    dark2 = dict(net.units())["backbone.backbone.dark2.0.dconv"]
    bn = dark2.bn
    assert isinstance(bn, torch.nn.BatchNorm2d)
    assert bn.weight.tolist() == [2.0] * 16
    assert bn.bias.tolist() == [0.5] * 16
    assert bn.running_var is not None
    assert bn.running_var.tolist() == pytest.approx([0.75 + 1e-2 - 1e-3] * 16)


def test_networks_in_onnx_that_are_no_yolox(data: Path, tmp_path: Path) -> None:
    net = make_yolox("nano", 1)
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no network")
    assert refused(net, path).startswith(f"{path}: expected an ONNX network: ")
    path.write_bytes(b"")
    assert refused(net, path) == f"{path}: expected an ONNX network, found nothing in it"
    path.write_bytes(spot_network())
    assert refused(net, path) == (
        f"{path}: expected a YOLOX network, which begins with a convolution of shape "
        "(16 to 80, 12, 3, 3), found no convolution"
    )
    (tmp_path / "b.onnx").mkdir()
    said = refused(net, tmp_path / "b.onnx")
    assert said == f"{tmp_path / 'b.onnx'}: expected model.onnx and model.json in this folder"

    def shorten(graph: Any) -> None:
        del graph.node[convolutions(graph)[-1]]

    path = changed(data, tmp_path / "c.onnx", shorten)
    assert refused(net, path) == (f"{path}: expected the 113 convolutions of yolox-nano, found 112")


def test_weights_that_are_computed_or_elsewhere(data: Path, tmp_path: Path) -> None:
    def compute(graph: Any) -> None:
        graph.node[convolutions(graph)[2]].input[1] = "dequantised"

    path = changed(data, tmp_path / "a.onnx", compute)
    assert refused(make_yolox("nano", 80), path) == (
        f"{path}: the weights 'dequantised' are computed and not kept, as in a quantised network; "
        "expected plain numbers"
    )
    model = onnx.load(data / "models" / "yolox_nano.onnx")
    path = tmp_path / "b.onnx"
    onnx.save(model, path, save_as_external_data=True, location="b.bin", size_threshold=0)
    assert refused(make_yolox("nano", 80), path).endswith(
        " lies in another file; save the network with its weights inside"
    )


def test_onnx_of_another_size(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copyfile(data / "models" / "yolox_nano.onnx", path)
    assert refused(make_yolox("s", 80), path).startswith(
        f"{path}: expected the weights of yolox-s, found those of yolox-nano; "
    )


def test_without_onnx_it_is_said_what_to_install(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        MissingExtraError,
        match=r"^'onnx' is needed for this and not installed; run: pip install .motrail\[train\].$",
    ):
        from_onnx(data, "yolox_nano")


class Normalised(torch.nn.Module):
    """A batch normalisation and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = torch.nn.BatchNorm2d(1, momentum=0.03)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.bn(images)
        return answer


def test_statistics_are_measured_anew_in_a_copy() -> None:
    """Pixels 1 and 3 have mean 2 and variance 2, those of 5 and 9 mean 7 and variance 8."""
    net = Normalised().train()
    first, second = (torch.tensor(pair).reshape(1, 1, 1, 2) for pair in ((1.0, 3.0), (5.0, 9.0)))
    copy = remeasured(net, [first, second])
    assert isinstance(copy, Normalised)
    assert copy.bn.running_mean is not None
    assert copy.bn.running_var is not None
    assert (copy.bn.running_mean.item(), copy.bn.running_var.item()) == (4.5, 5.0)
    assert (copy.training, copy.bn.momentum) == (False, 0.03)
    assert net.training
    assert net.bn.running_mean is not None
    assert net.bn.running_mean.item() == 0.0


def test_without_pictures_statistics_stay() -> None:
    net = Normalised().train()
    net(torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2))
    copy = remeasured(net, [])
    assert all(torch.equal(a, b) for a, b in zip(
        net.state_dict().values(), copy.state_dict().values(), strict=True))  # fmt: skip


def test_frozen_statistics_do_not_follow_the_pictures() -> None:
    net = Normalised().train()
    freeze_statistics(net)
    images = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(net(images), images, rtol=1e-4, atol=0)  # mean 0 and variance 1
    assert net.bn.running_mean is not None
    assert net.bn.running_mean.item() == 0.0
    net.train()
    assert net(images).mean().item() == pytest.approx(0.0, abs=1e-6)
