"""Exports the best model of a run that is not over; a process of its own, for it loads PyTorch."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import motrail
from motrail.errors import MotrailError


def export_best(run: Path, bundle: Path) -> None:
    """Write the best network so far as a bundle.

    Args:
        run: Folder of the run.
        bundle: Folder to be.

    Raises:
        ModelError: There is no checkpoint, or the exported network answers otherwise.
        OutputError: It cannot be written.
    """
    from motrail.train.checkpoint import load_checkpoint
    from motrail.train.export import write_bundle
    from motrail.train.reexport import best_network

    network, product = best_network(run)
    content = load_checkpoint(run / "checkpoints" / "best.pt")
    product = dataclasses.replace(
        product,
        metrics={**content["figures"], "classes": content["classes"]},
        provenance={
            "made_by": f"motrail {motrail.__version__}",
            "dataset": content["identity"]["dataset"],
            "epochs": content["epoch"],
            "stopped": True,
        },
    )
    write_bundle(network, product, bundle, bundle.with_name("model.tar.gz"))


def main() -> int:
    """Take the two folders from the command line; gives the exit code."""
    run, bundle = map(Path, sys.argv[1:3])
    try:
        export_best(run, bundle)
    except MotrailError as error:
        sys.stdout.write(f"note: the best model so far is not handed over: {error}\n")
        return 1
    sys.stdout.write("the best model so far is handed over\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
