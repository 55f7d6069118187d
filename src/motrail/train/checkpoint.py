"""Where training stands, on disk: whole or not at all, and no pickle that runs code."""

from __future__ import annotations

import os
import pickle
import warnings
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
            if isinstance(reason, OSError):
                raise reason from None
            raise OSError(str(error).splitlines()[0]) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        ModelError: It cannot be read, is none of ours, or holds more than tensors and numbers.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: larger than {MAX_BYTES:,} bytes; expected a checkpoint")
        content = load(path)
    except ModelError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(f"{path}: expected a checkpoint of a training: {reason}") from error
    # A damaged file makes the reader fail in ways that have nothing in common.
    except Exception as error:
        raise ModelError(
            f"{path}: expected a checkpoint of a training: {what_is_wrong(error)}"
        ) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ModelError(
            f"{path}: expected a checkpoint of `motrail train`; weights of others are given with "
            "--weights"
        )
    return content


def load(path: Path) -> object:
    """What PyTorch reads from a file without running code in it, onto the CPU.

    Raises:
        Exception: It cannot be read; of whatever kind.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wonders aloud about what is no checkpoint
        return torch.load(path, map_location="cpu", weights_only=True)


def what_is_wrong(error: Exception) -> str:
    """What made PyTorch refuse a file; it says that at great length itself."""
    if isinstance(error, pickle.UnpicklingError) and holds_code(error):
        return "it holds something besides numbers and text, which may be code and is not read"
    if isinstance(error, RuntimeError | ValueError):
        return " ".join(str(error).split())[:200]
    return "it is damaged, or something else"


def holds_code(error: Exception) -> bool:
    """Whether a file was refused because it names Python objects."""
    return any(word in str(error) for word in (" GLOBAL ", "instantiate", " reduce "))
