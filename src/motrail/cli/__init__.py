"""The command line: parses, calls, prints — nothing else."""

from motrail.cli.app import main

__all__ = ["main"]
