"""Batch normalisation made right for training, without changing what a network answers."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from motrail.errors import DataError
from motrail.train.blocks import ConvUnit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from motrail.detect.bundle import InputSpec
    from motrail.train.network import Yolox

# Length of a fresh filter: n weights, uniform between ±1/√n, whose squares are 1/(3n) on average.
FRESH_LENGTH = math.sqrt(1 / 3)


class _Moments:
    """Mean and variance of each channel, gathered batch by batch in float64.

    Source of the update: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances" (1979), eq. 2.1.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0)
        self.squares = torch.zeros(0)

    def add(self, values: Tensor) -> None:
        """Count (b, c, h, w) in."""
        values = values.detach()
        count = values.numel() // values.shape[1]
        mean = values.mean(dim=(0, 2, 3), dtype=torch.float64)
        spread = values - mean.to(values.dtype)[:, None, None]
        squares = spread.square().sum(dim=(0, 2, 3), dtype=torch.float64)
        if not self.count:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        step = mean - self.mean
        self.mean = self.mean + step * count / total
        self.squares = self.squares + squares + step.square() * self.count * count / total
        self.count = total

    @property
    def variance(self) -> Tensor:
        return self.squares / self.count


@torch.no_grad()
def calibrate(net: Yolox, batches: Iterable[Tensor]) -> int:
    """Measure what batch normalisation should know, and leave the network's answer as it is.

    Weights from ONNX come with normalisation folded into the convolutions. `load_weights` puts a
    normalisation behind them that changes nothing, as if every channel had mean 0 and variance 1.
    That answers rightly in evaluation; but training normalises by the mean and variance that a
    batch really has, so the first step would work with a wholly different network.

    Here mean m and variance v of each channel before normalisation are measured on real pictures.
    Normalisation with weight w and bias b, made for mean m₀ and variance v₀, multiplies by
    s = w / √(v₀ + ε) and adds t = b − s·m₀. Mean m, variance v, weight s·√(v + ε) and bias t + s·m
    do exactly the same in evaluation, and in training nearly the same on pictures of this kind.

    Filters are brought to about the length of fresh ones at that. Normalisation takes every factor
    out again, but the shorter a filter the larger a training step is to it: a folded stem for
    pixels from 0 to 255 would be thrown away by the first steps.

    Args:
        net: The network; left in the mode (training or evaluation) that it is in.
        batches: Pictures as in training, without augmentation, shape (b, 3, height, width), of any
            type and on the network's device; a hundred pictures are plenty.

    Returns:
        How many pictures were looked at.

    Raises:
        DataError: There is no picture, or the network answers with NaN or infinite numbers.
    """
    units = {name: unit for name, unit in net.units() if isinstance(unit, ConvUnit)}
    moments = {name: _Moments() for name in units}
    hooks = [
        unit.bn.register_forward_pre_hook(_watch(moments[name])) for name, unit in units.items()
    ]
    training = net.training
    pictures = 0
    try:
        net.eval()
        for images in batches:
            net(images.float())
            pictures += len(images)
    finally:
        for hook in hooks:
            hook.remove()
        net.train(training)
    if not pictures:
        raise DataError("batches: expected pictures to calibrate with, found none")
    for name, found in moments.items():
        if not bool((found.mean + found.variance).isfinite().all()):
            raise DataError(f"batches: {name} answers with NaN or infinite numbers")
    for name, unit in units.items():
        _settle(unit, moments[name])
    return pictures


def freeze_statistics(net: nn.Module) -> None:
    """Have batch normalisation use what it knows, until the network is told to train again."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


@torch.no_grad()
def remeasured(net: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """A copy whose normalisation knows the mean and variance of these pictures.

    Running statistics follow the weights with a delay of some ten steps, and those of averaged
    weights belong to no weights at all. While a network still learns fast, as in the first steps
    from weights of another dataset, that alone can cost most of its precision.

    Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021 (arXiv 2105.07576), 3.

    Args:
        net: Not changed.
        batches: Pictures as it learns from, shape (b, 3, height, width), on its device; each counts
            the same. Without any, the copy is as the network.

    Returns:
        The copy, in evaluation mode.
    """
    net = copy.deepcopy(net)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [layer.momentum for layer in layers]
    fresh = True
    net.train()
    for images in batches:
        if fresh:
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # the plain mean of all batches
            fresh = False
        net(images.float())
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    return net.eval()


def _watch(moments: _Moments) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(inputs[0])

    return hook


def _settle(unit: ConvUnit, moments: _Moments) -> None:
    bn, filters = unit.bn, unit.conv.weight
    mean, variance = cast("Tensor", bn.running_mean), cast("Tensor", bn.running_var)
    scale = bn.weight.double() / (variance.double() + bn.eps).sqrt()
    bn.bias.copy_(bn.bias + scale * (moments.mean - mean))
    length = filters.double().flatten(1).norm(dim=1)
    # A power of two scales numbers without rounding them; a filter of zeros stays as it is.
    factor = torch.where(length > 1e-12, FRESH_LENGTH / length.clamp(min=1e-12), 1.0)
    factor = factor.log2().round().exp2()
    filters.copy_(filters * factor[:, None, None, None])
    mean.copy_(moments.mean * factor)
    variance.copy_(moments.variance * factor.square())
    bn.weight.copy_(scale / factor * (moments.variance * factor.square() + bn.eps).sqrt())


@torch.no_grad()
def adapt_input(net: Yolox, spec: InputSpec) -> None:
    """Have a network take BGR from 0 to 255 that was made for another input.

    Order of colours, scale, mean and deviation go into the stem, which is linear. The answer stays
    the same but for the picture's outermost pixels: what the stem finds beyond the edge is 0, which
    was the mean colour before and is black now.

    Args:
        net: The network, with its weights.
        spec: The input that the weights were made for.
    """
    unit = net.backbone.backbone.stem.conv
    weight = unit.conv.weight
    parts = weight.double().reshape(-1, 4, 3, 3, 3)  # out, pixel of the 2 × 2, colour, row, column
    mean, std = (parts.new_tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    added = -(parts * mean / std).sum(dim=(1, 2, 3, 4))
    parts = parts * spec.scale / std
    if spec.color == "rgb":
        parts = parts.flip(2)
    weight.copy_(parts.flatten(1, 2))
    running = cast("Tensor", unit.bn.running_mean)
    running.copy_(running - added)
