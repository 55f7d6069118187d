"""Run the command line inside the process of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from motrail.cli.app import run

if TYPE_CHECKING:
    import pytest


class Result(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Result]


def caller(capsys: pytest.CaptureFixture[str], *command: str) -> Call:
    """Calls `motrail COMMAND …` and gives its exit code and what it printed."""

    def call(*words: object) -> Result:
        code = run([*command, *map(str, words)])
        return Result(code, *capsys.readouterr())

    return call
