"""Where training stands, on disk: whole or not at all, and no pickle that runs code."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import torch

from motrail.errors import ModelError
from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = 1
MAX_BYTES = 8 << 30
"""Larger files are refused: YOLOX-x with its optimizer and average takes 1.6 GB."""


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; after a power cut there is this one or the one before.

    Args:
        path: The file, which is replaced.
        content: Tensors, numbers, text, and lists and dictionaries of them.

    Raises:
        OutputError: It cannot be written; what was there is untouched.
    """
    file = WholeFile(path)
    with writing(path), file:
        try:
            with file.temporary.open("wb") as stream:
                torch.save({"schema": SCHEMA, **content}, stream)
                stream.flush()
                os.fsync(stream.fileno())
        except RuntimeError as error:  # what PyTorch makes of a full disk
            reason = error.__cause__ or error.__context__
            raise OSError(28, f"No space left, or another trouble: {reason or error}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        ModelError: It cannot be read, is none of ours, or holds more than tensors and numbers.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: larger than {MAX_BYTES:,} bytes; expected a checkpoint")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ModelError(f"{path}: expected a checkpoint of a training: {lines[0]}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ModelError(
            f"{path}: expected a checkpoint of `motrail train`; weights of others are given with "
            "--weights"
        )
    return content
