"""The YOLOX of the package `pixeltable-yolox`, to compare ours with.

Its modules import a good deal that neither network nor losses need (torchvision, loguru, psutil and
others); what is not installed is replaced by empty stand-ins while it is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

# What the package imports and the network does not use.
_UNUSED = ("torchvision", "loguru", "tabulate", "psutil", "thop", "tensorboard", "ninja")


class _Anything(ModuleType):
    """A module that has every name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(f"{self.__name__}.{name}")

    def __call__(self, *_args: Any, **_options: Any) -> Any:
        return self


def make_reference(size: str, classes: int) -> Any:
    """The reference network, in training mode; tests that need it are skipped without."""
    if importlib.util.find_spec("yolox") is None:
        pytest.skip("no pixeltable-yolox to compare with")
    added = [name for name in _UNUSED if importlib.util.find_spec(name) is None]
    sys.modules.update({name: _Anything(name) for name in added})
    try:
        config = importlib.import_module("yolox.config").YoloxConfig.get_named_config(
            f"yolox_{size}"
        )
        config.num_classes = classes
        return config.get_model()
    finally:
        for name in added:
            sys.modules.pop(name, None)


def randomise(net: nn.Module) -> None:
    """Statistics as after some training, so that evaluation differs from doing nothing."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks on small pictures: threads would wait for each other more than they work.

    Holds for the tests of every file that imports it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
