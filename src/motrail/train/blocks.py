"""What the YOLOX network is built of.

Names of modules are those of the weights that its authors published.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvUnit(nn.Module):
    """Convolution, batch normalisation, SiLU.

    Args:
        channels: Of what comes in.
        out: Channels of what goes out.
        kernel: Side of the kernel, odd; the picture keeps its size but for the stride.
        stride: Of the convolution.
        groups: Of the convolution.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, h, w) → (b, out, h / stride, w / stride)."""
        # Not in place: PyTorch would have to copy the input first, to keep it for the gradient.
        return functional.silu(self.bn(self.conv(x)))


class DepthwiseUnit(nn.Module):
    """A convolution of each channel by itself, then one across channels."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = ConvUnit(channels, channels, kernel, stride, groups=channels)
        self.pconv = ConvUnit(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """As `ConvUnit`."""
        return cast("Tensor", self.pconv(self.dconv(x)))


def conv3(channels: int, out: int, stride: int = 1, *, depthwise: bool) -> nn.Module:
    """A 3 × 3 convolution of the kind that this size has."""
    kind = DepthwiseUnit if depthwise else ConvUnit
    return kind(channels, out, 3, stride)


class Bottleneck(nn.Module):
    """1 × 1, then 3 × 3, added to what came in where that is wanted."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = ConvUnit(channels, channels, 1)
        self.conv2 = conv3(channels, channels, depthwise=depthwise)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        y: Tensor = self.conv2(self.conv1(x))
        return y + x if self.shortcut else y


class CspLayer(nn.Module):
    """Cross-stage partial layer: half of the channels go through the blocks, half past them."""

    def __init__(
        self, channels: int, out: int, blocks: int, *, shortcut: bool, depthwise: bool
    ) -> None:
        super().__init__()
        hidden = out // 2
        # In the order of execution, which `motrail.train.network.Yolox.units` relies on.
        self.conv1 = ConvUnit(channels, hidden, 1)
        self.conv2 = ConvUnit(channels, hidden, 1)
        self.m = nn.Sequential(
            *(Bottleneck(hidden, shortcut=shortcut, depthwise=depthwise) for _ in range(blocks))
        )
        self.conv3 = ConvUnit(2 * hidden, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, h, w) → (b, out, h, w)."""
        through, past = self.conv1(x), self.conv2(x)
        return cast("Tensor", self.conv3(torch.cat((self.m(through), past), dim=1)))


class SppBottleneck(nn.Module):
    """Spatial pyramid pooling: the strongest within 5, 9 and 13 cells, side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvUnit(channels, channels // 2, 1)
        self.conv2 = ConvUnit(channels // 2 * 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        x = self.conv1(x)
        # The maximum over 9 cells is the maximum over 5 of maxima over 5, and so on for 13.
        five = functional.max_pool2d(x, 5, 1, 2)
        nine = functional.max_pool2d(five, 5, 1, 2)
        thirteen = functional.max_pool2d(nine, 5, 1, 2)
        return cast("Tensor", self.conv2(torch.cat((x, five, nine, thirteen), dim=1)))


class Focus(nn.Module):
    """The stem: every 2 × 2 pixels become one cell of 12 channels, then a 3 × 3 convolution."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.conv = ConvUnit(12, out, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, h, w) → (b, out, h / 2, w / 2)."""
        # The same numbers as a 6 × 6 convolution with stride 2, without copying the pictures.
        y = functional.conv2d(x, focus_to_plain(self.conv.conv.weight), stride=2, padding=2)
        return functional.silu(self.conv.bn(y))


def focus_to_plain(weight: Tensor) -> Tensor:
    """Weights of the stem (out, 12, 3, 3) as those of a 6 × 6 convolution, (out, 3, 6, 6).

    The 12 channels are the pixels at the top left, bottom left, top right and bottom right of each
    2 × 2 pixels, three colours each.
    """
    parts = weight.reshape(-1, 2, 2, 3, 3, 3)  # out, right, below, colour, row, column
    return parts.permute(0, 3, 4, 2, 5, 1).reshape(-1, 3, 6, 6)


def plain_to_focus(weight: Tensor) -> Tensor:
    """The inverse of `focus_to_plain`."""
    parts = weight.reshape(-1, 3, 3, 2, 3, 2)  # out, colour, row, below, column, right
    return parts.permute(0, 5, 3, 1, 2, 4).reshape(-1, 12, 3, 3)
