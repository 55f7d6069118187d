"""The entry point `serve`: becomes `motrail serve` on the model that SageMaker unpacked.

This process is replaced by the server, so that signals and the exit code are its own. Real-time,
serverless and asynchronous endpoints all ask it at `/ping` and `/invocations`; settings come from
variables MOTRAIL_….
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, NoReturn

from motrail.errors import ConfigError, ModelError
from motrail.sagemaker.container.places import ROOT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from motrail.sagemaker.container.places import Places

PORT = 8080
_PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
_HOST_VARIABLE = "MOTRAIL_SERVE_HOST"
_TOKEN_VARIABLE = "MOTRAIL_SERVE_TOKEN"  # noqa: S105  (its name, not its value)


def serve(
    places: Places,
    environ: Mapping[str, str] = os.environ,
    *,
    become: Callable[[str, list[str], Mapping[str, str]], NoReturn] = os.execve,
) -> NoReturn:
    """Become the server.

    Args:
        places: Where things are.
        environ: The environment.
        become: Puts another program in the place of this one.

    Raises:
        ConfigError: The port is none, or a token is asked for.
        ModelError: There is no model.
    """
    port = _port(environ.get(_PORT_VARIABLE))
    if environ.get(_TOKEN_VARIABLE):
        raise ConfigError(
            f"{_TOKEN_VARIABLE}: expected none, for SageMaker takes the header Authorization out "
            "of requests, and none would carry it; who may ask an endpoint is said by IAM"
        )
    if not (places.model / "model.onnx").is_file():
        raise ModelError(
            f"{places.model}: expected model.onnx and model.json, as in the model.tar.gz that "
            "training writes"
        )
    # Only SageMaker reaches a container, and IAM says who may ask it.
    command = [sys.executable, "-m", "motrail", "serve", str(places.model), "--guarded",
               f"--port={port}"]  # fmt: skip
    if not environ.get(_HOST_VARIABLE):  # a rehearsal keeps it to its machine
        command.append("--host=0.0.0.0")
    left = {name: text for name, text in environ.items() if name != ROOT_VARIABLE}
    become(sys.executable, command, {"PYTHONUNBUFFERED": "1", **left})


def _port(text: str | None) -> int:
    if not text:
        return PORT
    if not (re.fullmatch("[0-9]{1,5}", text) and 0 < int(text) < 1 << 16):
        raise ConfigError(f"{_PORT_VARIABLE}: expected a port from 1 to 65535, found {text!r}")
    return int(text)
