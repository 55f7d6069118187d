"""The command line: parses, calls, prints — nothing else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; without arguments, those of the process."""
    try:
        from motrail.cli.app import run

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # before or after `run` minds it
        code = 130
    sys.exit(code)
