"""`python -m motrail.sagemaker.container train|serve|process …`: what containers start with."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

from motrail.errors import ConfigError, MotrailError
from motrail.sagemaker.container.places import Places, write_message
from motrail.sagemaker.container.work import Stop, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENTRY_POINTS = ("train", "serve", "process")


def main(words: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Do what a container was started for; what went wrong is written where SageMaker looks.

    Args:
        words: Name of the entry point, and its arguments.
        environ: The environment, which is never shown.

    Returns:
        The exit code: 0 done, 1 failed, 143 stopped by SIGTERM.
    """
    places = Places.of_environment(environ)
    name = words[0] if words else ""
    # From here on SIGTERM is heard; the server hears it by itself.
    with Stop() as stop:
        try:
            return _enter(name, words[1:], places, stop, environ)
        except MotrailError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  (it is told where somebody sees it)
            for line in traceback.format_exc().splitlines():
                say(line)
            reason = f"{type(error).__name__}: {error}"
    say(f"error: {reason}")
    told = {"train": places.failure, "process": places.message}.get(name)
    if told is not None:
        try:
            write_message(told, reason if name == "train" else f"failed: {reason}")
        except MotrailError as error:
            say(f"error: {error}")
    return 1


def _enter(
    name: str, words: Sequence[str], places: Places, stop: Stop, environ: Mapping[str, str]
) -> int:
    if name == "train":
        from motrail.sagemaker.container.train import train

        return train(places, stop, environ)
    if name == "process":
        from motrail.sagemaker.container.process import process

        return process(places, words, stop, environ)
    if name == "serve":
        from motrail.sagemaker.container.serve import serve

        serve(places, environ)
    raise ConfigError(f"expected one of {', '.join(ENTRY_POINTS)}, found {name!r}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
