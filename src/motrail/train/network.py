"""The YOLOX network in its six sizes.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), with the layers and
the parameter names of the weights that its authors published, so that those weights fit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from motrail.errors import ConfigError, DataError
from motrail.train.blocks import ConvUnit, CspLayer, Focus, SppBottleneck, conv3

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Size = Literal["nano", "tiny", "s", "m", "l", "x"]

STRIDES = (8, 16, 32)
# What an untrained network believes of every anchor, for each class and for objectness.
PRIOR = 0.01


class Scale(NamedTuple):
    """What makes a size.

    Attributes:
        depth: Factor of the number of blocks.
        width: Factor of the number of channels.
        depthwise: Whether 3 × 3 convolutions are depthwise with a pointwise one behind.
    """

    depth: float
    width: float
    depthwise: bool = False


SCALES: dict[Size, Scale] = {
    "nano": Scale(0.33, 0.25, depthwise=True),
    "tiny": Scale(0.33, 0.375),
    "s": Scale(0.33, 0.50),
    "m": Scale(0.67, 0.75),
    "l": Scale(1.0, 1.0),
    "x": Scale(1.33, 1.25),
}


def make_yolox(size: Size, classes: int) -> Yolox:
    """A network with random weights, in training mode.

    Args:
        size: From the smallest to the largest: nano, tiny, s, m, l, x.
        classes: How many classes it tells apart.

    Raises:
        ConfigError: There is no such size, or no class.
    """
    if size not in SCALES:
        raise ConfigError(f"size: expected one of {', '.join(SCALES)}, found {size!r}")
    if classes < 1:
        raise ConfigError(f"classes: expected at least 1, found {classes}")
    return Yolox(size, classes)


class Anchors(NamedTuple):
    """The cells of all levels, strides 8, 16, 32 one after the other, rows first.

    Attributes:
        corners: Column and row of each cell in its level, counted from 0, float32, shape (a, 2).
        strides: Its width and height in pixels, float32, shape (a,).
    """

    corners: Tensor
    strides: Tensor

    @property
    def centres(self) -> Tensor:
        """Middle x, y of each cell in pixels of the input, shape (a, 2)."""
        return (self.corners + 0.5) * self.strides[:, None]


def make_anchors(height: int, width: int, device: torch.device | str = "cpu") -> Anchors:
    """The cells for an input of this size.

    Raises:
        DataError: A side is no multiple of 32.
    """
    check_size(height, width)
    corners, strides = [], []
    for stride in STRIDES:
        rows = torch.arange(height // stride, dtype=torch.float32, device=device)
        columns = torch.arange(width // stride, dtype=torch.float32, device=device)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        corners.append(torch.stack((x.flatten(), y.flatten()), dim=1))
        strides.append(torch.full((y.numel(),), float(stride), device=device))
    return Anchors(torch.cat(corners), torch.cat(strides))


def check_size(height: int, width: int) -> None:
    """Refuse what the network cannot halve five times.

    Raises:
        DataError: A side is no multiple of 32.
    """
    if height % STRIDES[-1] or width % STRIDES[-1] or min(height, width) < 1:
        raise DataError(
            f"input: expected a height and a width that are multiples of {STRIDES[-1]}, "
            f"found {height} × {width}"
        )


def with_scores(raw: Tensor) -> Tensor:
    """The answer as bundles hold it (`yolox-raw`): objectness and classes between 0 and 1.

    Args:
        raw: What the network gives, shape (b, a, 5 + classes).
    """
    return torch.cat((raw[..., :4], raw[..., 4:].sigmoid()), dim=-1)


class Darknet(nn.Module):
    """CSPDarknet: features at strides 8, 16 and 32."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        base = int(scale.width * 64)
        blocks = max(round(scale.depth * 3), 1)
        thin = scale.depthwise

        def csp(channels: int, count: int, *, shortcut: bool = True) -> CspLayer:
            return CspLayer(channels, channels, count, shortcut=shortcut, depthwise=thin)

        self.stem = Focus(base)
        self.dark2 = nn.Sequential(conv3(base, base * 2, 2, depthwise=thin), csp(base * 2, blocks))
        self.dark3 = nn.Sequential(
            conv3(base * 2, base * 4, 2, depthwise=thin), csp(base * 4, blocks * 3)
        )
        self.dark4 = nn.Sequential(
            conv3(base * 4, base * 8, 2, depthwise=thin), csp(base * 8, blocks * 3)
        )
        self.dark5 = nn.Sequential(
            conv3(base * 8, base * 16, 2, depthwise=thin),
            SppBottleneck(base * 16),
            csp(base * 16, blocks, shortcut=False),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(b, 3, h, w) → features at strides 8, 16, 32."""
        eighth = self.dark3(self.dark2(self.stem(x)))
        sixteenth = self.dark4(eighth)
        return eighth, sixteenth, self.dark5(sixteenth)


class Pafpn(nn.Module):
    """Path aggregation: what is coarse tells what is fine, then the other way round."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        c3, c4, c5 = (int(channels * scale.width) for channels in (256, 512, 1024))
        thin = scale.depthwise

        def csp(channels: int, out: int) -> CspLayer:
            return CspLayer(channels, out, round(3 * scale.depth), shortcut=False, depthwise=thin)

        # In the order of execution, which `Yolox.units` relies on.
        self.backbone = Darknet(scale)
        self.lateral_conv0 = ConvUnit(c5, c4, 1)
        self.C3_p4 = csp(2 * c4, c4)
        self.reduce_conv1 = ConvUnit(c4, c3, 1)
        self.C3_p3 = csp(2 * c3, c3)
        self.bu_conv2 = conv3(c3, c3, 2, depthwise=thin)
        self.C3_n3 = csp(2 * c3, c4)
        self.bu_conv1 = conv3(c4, c4, 2, depthwise=thin)
        self.C3_n4 = csp(2 * c4, c5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(b, 3, h, w) → features at strides 8, 16, 32."""
        eighth, sixteenth, coarse = self.backbone(x)
        down5 = self.lateral_conv0(coarse)
        middle = self.C3_p4(torch.cat((_twice(down5), sixteenth), dim=1))
        down4 = self.reduce_conv1(middle)
        out3 = self.C3_p3(torch.cat((_twice(down4), eighth), dim=1))
        out4 = self.C3_n3(torch.cat((self.bu_conv2(out3), down4), dim=1))
        out5 = self.C3_n4(torch.cat((self.bu_conv1(out4), down5), dim=1))
        return out3, out4, out5


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Head(nn.Module):
    """The decoupled head: classes on one branch, box and objectness on the other."""

    def __init__(self, scale: Scale, classes: int) -> None:
        super().__init__()
        self.classes = classes
        hidden = int(256 * scale.width)
        inputs = [int(channels * scale.width) for channels in (256, 512, 1024)]

        def branch() -> nn.Sequential:
            return nn.Sequential(
                *(conv3(hidden, hidden, depthwise=scale.depthwise) for _ in range(2))
            )

        self.cls_convs = nn.ModuleList(branch() for _ in STRIDES)
        self.reg_convs = nn.ModuleList(branch() for _ in STRIDES)
        self.cls_preds = nn.ModuleList(nn.Conv2d(hidden, classes, 1) for _ in STRIDES)
        self.reg_preds = nn.ModuleList(nn.Conv2d(hidden, 4, 1) for _ in STRIDES)
        self.obj_preds = nn.ModuleList(nn.Conv2d(hidden, 1, 1) for _ in STRIDES)
        self.stems = nn.ModuleList(ConvUnit(channels, hidden, 1) for channels in inputs)
        for prediction in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(cast("Tensor", prediction.bias), math.log(PRIOR / (1 - PRIOR)))

    def forward(self, features: Iterable[Tensor]) -> Tensor:
        """Features at strides 8, 16, 32 → (b, a, 5 + classes)."""
        levels = [self._level(level, x) for level, x in enumerate(features)]
        return torch.cat(levels, dim=1)

    def _level(self, level: int, x: Tensor) -> Tensor:
        x = self.stems[level](x)
        classes = self.cls_preds[level](self.cls_convs[level](x))
        box = self.reg_convs[level](x)
        parts = (self.reg_preds[level](box), self.obj_preds[level](box), classes)
        return torch.cat([part.flatten(2) for part in parts], dim=1).transpose(1, 2)

    def layers(self, level: int) -> Iterator[tuple[str, nn.Module]]:
        """Name and layers of what works on a level, in the order of execution."""
        yield f"stems.{level}", self.stems[level]
        yield f"cls_convs.{level}", self.cls_convs[level]
        yield f"cls_preds.{level}", self.cls_preds[level]
        yield f"reg_convs.{level}", self.reg_convs[level]
        yield f"reg_preds.{level}", self.reg_preds[level]
        yield f"obj_preds.{level}", self.obj_preds[level]


class Yolox(nn.Module):
    """YOLOX: pictures in, one row of raw numbers for every anchor out.

    Args:
        size: Which of the six.
        classes: How many classes it tells apart.
    """

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        self.size = size
        self.classes = classes
        self.backbone = Pafpn(SCALES[size])
        self.head = Head(SCALES[size], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Answer to a batch of pictures; the same in training as afterwards.

        Args:
            images: BGR from 0 to 255, shape (b, 3, height, width), multiples of 32.

        Returns:
            For each of the a anchors of `make_anchors`: offset x and y from the cell's corner in
            cells, logarithm of width and height in cells, logit of objectness, logit of each class;
            shape (b, a, 5 + classes).
        """
        return cast("Tensor", self.head(self.backbone(images)))

    def units(self) -> Iterator[tuple[str, ConvUnit | nn.Conv2d]]:
        """Every convolution in the order of execution: those with normalisation, those without."""
        yield from _convolutions("backbone", self.backbone)
        for level in range(len(STRIDES)):
            for name, layer in self.head.layers(level):
                yield from _convolutions(f"head.{name}", layer)


def _convolutions(prefix: str, module: nn.Module) -> Iterator[tuple[str, ConvUnit | nn.Conv2d]]:
    if isinstance(module, ConvUnit | nn.Conv2d):
        yield prefix, module
        return
    for name, child in module.named_children():
        yield from _convolutions(f"{prefix}.{name}", child)
