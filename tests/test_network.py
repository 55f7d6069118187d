"""The YOLOX network: the same layers, names and numbers as the published one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from motrail.detect.decode import Grid
from motrail.errors import ConfigError, DataError
from motrail.train.blocks import ConvUnit, SppBottleneck, focus_to_plain, plain_to_focus
from motrail.train.network import (
    SCALES,
    Size,
    Yolox,
    make_anchors,
    make_yolox,
    with_scores,
)
from yolox_reference import make_reference, one_thread, randomise

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["one_thread"]


def twins(size: Size, classes: int) -> tuple[Yolox, nn.Module]:
    """Our network and the reference with the same random weights."""
    torch.manual_seed(3)
    reference = make_reference(size, classes)
    randomise(reference)
    net = make_yolox(size, classes)
    net.load_state_dict(reference.state_dict())
    return net, reference


def reference_answer(reference: nn.Module, images: Tensor) -> Tensor:
    """Raw numbers of the reference in whatever mode it is in, level by level."""
    head = reference.head
    levels = []
    for level, x in enumerate(reference.backbone(images)):  # type: ignore[operator]
        stem = head.stems[level](x)  # type: ignore[union-attr,index,operator]
        box = head.reg_convs[level](stem)  # type: ignore[union-attr,index,operator]
        classes = head.cls_preds[level](head.cls_convs[level](stem))  # type: ignore[union-attr,index,operator]
        parts = (head.reg_preds[level](box), head.obj_preds[level](box), classes)  # type: ignore[union-attr,index,operator]
        levels.append(torch.cat(parts, dim=1).flatten(2))
    return torch.cat(levels, dim=2).transpose(1, 2)


def test_every_anchor_gets_a_row() -> None:
    net = make_yolox("nano", 3)
    raw = net(torch.zeros(2, 3, 64, 96))
    # 8 × 12 cells of stride 8, 4 × 6 of stride 16, 2 × 3 of stride 32.
    assert raw.shape == (2, 96 + 24 + 6, 5 + 3)
    assert net.training


@pytest.mark.parametrize("size", list(SCALES))
def test_names_and_shapes_are_those_of_the_published_weights(size: Size) -> None:
    with torch.device("meta"):
        net, reference = make_yolox(size, 80), make_reference(size, 80)
    ours = {name: value.shape for name, value in net.state_dict().items()}
    assert ours == {name: value.shape for name, value in reference.state_dict().items()}


def test_some_names_as_they_stand_in_the_published_files() -> None:
    state = make_yolox("nano", 80).state_dict()
    assert state["backbone.backbone.stem.conv.conv.weight"].shape == (16, 12, 3, 3)
    assert state["backbone.backbone.dark2.0.dconv.conv.weight"].shape == (16, 1, 3, 3)
    assert state["backbone.lateral_conv0.conv.weight"].shape == (128, 256, 1, 1)
    assert state["backbone.C3_n4.m.0.conv2.pconv.bn.running_var"].shape == (128,)
    assert state["head.cls_preds.2.weight"].shape == (80, 64, 1, 1)
    assert state["head.obj_preds.0.bias"].shape == (1,)


@pytest.mark.parametrize(
    ("size", "millions"),
    # The table of the YOLOX repository, with 80 classes.
    [("nano", 0.91), ("tiny", 5.06), ("s", 9.0), ("m", 25.3), ("l", 54.2), ("x", 99.1)],
)
def test_as_many_weights_as_published(size: Size, millions: float) -> None:
    with torch.device("meta"):
        net = make_yolox(size, 80)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("size", ["nano", "s"])
@pytest.mark.parametrize("training", [False, True])
def test_answers_are_those_of_the_reference(size: Size, *, training: bool) -> None:
    net, reference = twins(size, 4)
    # In double precision, where another order of summation shows nowhere.
    net.double().train(training)
    reference.double().train(training)
    images = torch.rand(2, 3, 96, 128, dtype=torch.float64) * 255
    with torch.no_grad():
        ours, theirs = net(images), reference_answer(reference, images)
    assert float((ours - theirs).abs().max()) <= 1e-9
    assert float(theirs.std()) > 0.05  # not all the same


def test_channels_last_is_the_same_network() -> None:
    net, _ = twins("nano", 2)
    net.eval()
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        plain = net(images)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = net(images.to(memory_format=torch.channels_last))
    assert float((plain - last).abs().max()) <= 1e-4


@pytest.mark.proof
def test_the_compiler_finds_one_graph() -> None:
    net = make_yolox("nano", 2)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(compiled(images), net(images))


def test_one_picture_trains() -> None:
    raw = make_yolox("nano", 1)(torch.rand(1, 3, 64, 64))
    raw.sum().backward()
    assert bool(raw.isfinite().all())


def test_what_an_untrained_network_believes() -> None:
    net = make_yolox("tiny", 3)
    for prediction in (*net.head.cls_preds, *net.head.obj_preds):
        bias = prediction.bias
        assert isinstance(bias, torch.Tensor)
        assert bias.sigmoid().detach().numpy() == pytest.approx(0.01)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}


def test_the_stem_as_one_convolution_of_the_picture() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 12, 3, 3)
    picture = torch.randn(1, 3, 8, 12)
    # Focus as published: top left, bottom left, top right, bottom right of every 2 × 2 pixels.
    corners = [picture[..., y::2, x::2] for x in (0, 1) for y in (0, 1)]
    expected = torch.nn.functional.conv2d(torch.cat(corners, dim=1), weight, padding=1)
    plain = focus_to_plain(weight)
    assert plain.shape == (5, 3, 6, 6)
    found = torch.nn.functional.conv2d(picture, plain, stride=2, padding=2)
    assert float((found - expected).abs().max()) <= 1e-5
    assert torch.equal(plain_to_focus(plain), weight)


def test_pooling_within_5_9_and_13_cells() -> None:
    torch.manual_seed(0)
    layer = SppBottleneck(8).eval()
    x = torch.randn(2, 8, 17, 19)
    narrow = layer.conv1(x)
    pools = [torch.nn.MaxPool2d(side, stride=1, padding=side // 2)(narrow) for side in (5, 9, 13)]
    expected = layer.conv2(torch.cat((narrow, *pools), dim=1))
    assert torch.equal(layer(x), expected)


def test_anchors_are_the_cells_that_detection_decodes() -> None:
    anchors, grid = make_anchors(64, 96), Grid(64, 96, (8, 16, 32))
    assert np.array_equal(anchors.corners.numpy(), grid.corners)
    assert np.array_equal(anchors.strides.numpy(), grid.strides[:, 0])
    # The second row of stride 16 begins after 96 + 6 cells: column 0, row 1.
    assert anchors.corners[102].tolist() == [0, 1]
    assert anchors.centres[102].tolist() == [8, 24]
    assert len(make_anchors(608, 1088).strides) == 13566


def test_scores_are_between_0_and_1_and_boxes_stay() -> None:
    raw = torch.tensor([[[1.0, -2.0, 3.0, -4.0, 0.0, 50.0]]])
    assert with_scores(raw).tolist() == [[[1.0, -2.0, 3.0, -4.0, 0.5, 1.0]]]


@pytest.mark.parametrize("size", ["nano", "s"])
def test_units_stand_in_the_order_of_execution(size: Size) -> None:
    net = make_yolox(size, 2).eval()
    called: list[nn.Module] = []
    units = dict(net.units())
    for unit in units.values():
        watched = unit.bn if isinstance(unit, ConvUnit) else unit
        watched.register_forward_hook(lambda module, _in, _out: called.append(module))
    net(torch.zeros(1, 3, 32, 32))
    assert [u.bn if isinstance(u, ConvUnit) else u for u in units.values()] == called
    assert len(units) == {"nano": 113, "s": 83}[size]
    modules = dict(net.named_modules())
    assert all(modules[name] is unit for name, unit in units.items())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^size: expected one of nano, tiny, s, m, l, x, found 'huge'$"
    ):
        make_yolox("huge", 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^classes: expected at least 1, found 0$"):
        make_yolox("nano", 0)
    for height, width in ((48, 64), (64, 0), (0, 64)):
        message = f"multiples of 32, found {height} × {width}$"
        with pytest.raises(DataError, match=message):
            make_anchors(height, width)


@pytest.mark.parametrize("module", ["network", "weights"])
def test_without_torch_it_is_said_what_to_install(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import motrail.train.{module}"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stderr.splitlines()[-1] == (
        "motrail.errors.MissingExtraError: 'torch' is needed for this and not installed; "
        'run: pip install "motrail[train]"'
    )
