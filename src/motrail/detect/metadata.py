"""What an ONNX file says about itself, as Ultralytics and YOLOv5 write it.

The metadata is a table of texts. `names` is how Python prints a dict or a list of the names of the
classes, `imgsz` a list of height and width, `task` what the network is for
(`export_onnx` in https://github.com/ultralytics/ultralytics, ultralytics/engine/exporter.py). The
file may come from anywhere, so nothing but a flat list of texts is ever evaluated.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT = 1 << 18
_STRING = r"""(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_LIST = re.compile(rf"\[\s*(?:{_STRING}\s*(?:,\s*|(?=\])))*\]")
_DICT = re.compile(rf"\{{\s*(?:\d{{1,6}}\s*:\s*{_STRING}\s*(?:,\s*|(?=\}})))*\}}")
_SIZE = re.compile(r"\[\s*(\d{1,5})\s*,\s*(\d{1,5})\s*\]")


def class_names(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The names of the classes; None where there are none, or none that can be used."""
    text = metadata.get("names", "").strip()
    if len(text) > MAX_TEXT or not (_LIST.fullmatch(text) or _DICT.fullmatch(text)):
        return None
    try:
        content = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(content, dict):
        if sorted(content) != list(range(len(content))):
            return None
        content = [content[number] for number in range(len(content))]
    names = tuple(name.strip() for name in content)
    if not names or len(set(names)) != len(names):
        return None
    return names if all(name.splitlines() == [name] for name in names) else None


def input_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Height and width of the input; None where they are not said."""
    match = _SIZE.fullmatch(metadata.get("imgsz", "")[:64].strip())
    return (int(match[1]), int(match[2])) if match else None


def task(metadata: Mapping[str, str]) -> str | None:
    """What the network is for, such as `detect` or `segment`; None where that is not said."""
    text = metadata.get("task", "")
    return text if re.fullmatch(r"[a-z]{1,20}", text) else None
