"""Which operations of AWS the code asks for: read from the code itself."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import motrail.sagemaker
from motrail.sagemaker.requests import admin

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOM = Path(next(iter(motrail.sagemaker.__path__)))
_CALLERS = (*sorted(_ROOM.glob("*.py")), *sorted((_ROOM.parent / "cli" / "sagemaker").glob("*.py")))
"""Who sends requests; the builders in `requests/` send none."""
KINDS = (admin.ENDPOINT, admin.ENDPOINT_CONFIG, admin.MODEL, *admin.JOBS)


def asked() -> set[tuple[str, str]]:
    """Service and operation of every request that somebody makes who can send it."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _CALLERS]
    found = {pair for tree in trees for pair in _literal(tree)}
    names = {name for tree in trees for name in _names(tree)}
    for path in sorted((_ROOM / "requests").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and (
                node.name in names or node.name.startswith("_")
            ):
                found |= set(_literal(node))
    return found | {("sagemaker", operation) for operation in _of_kinds(names)}


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _literal(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Requests whose service and operation stand there in words."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Request"):
            continue
        words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
        if len(words) == 2:
            yield str(words[0]), str(words[1])


def _of_kinds(names: set[str]) -> Iterator[str]:
    """Those whose operation is said by the kind of thing that they are about."""
    for kind in KINDS:
        if "list_all" in names:
            yield kind.operation
        if "end" in names:
            yield kind.end
        if "forget" in names and kind.forget is not None:
            yield kind.forget
        if "describe_job" in names and kind in admin.JOBS:
            yield admin.describe_job(kind, "x").operation
