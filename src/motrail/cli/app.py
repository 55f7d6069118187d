"""The command `motrail` and what all its subcommands share."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError
from rich.console import Console
from rich.text import Text

import motrail
from motrail.cli.analyze import analyze_command
from motrail.cli.batch import batch_command
from motrail.cli.camera import camera_command
from motrail.cli.config import config_app
from motrail.cli.dataset import dataset_app
from motrail.cli.demo import demo_command
from motrail.cli.detect import detect_command
from motrail.cli.evaluate import evaluate_command
from motrail.cli.export import export_command
from motrail.cli.interrupts import interrupts
from motrail.cli.label import label_command
from motrail.cli.refine import refine_command
from motrail.cli.remote import remote_app
from motrail.cli.review import review_command
from motrail.cli.serve import serve_command
from motrail.cli.track import track_command
from motrail.cli.train import train_command
from motrail.cli.tune import tune_app
from motrail.errors import MotrailError
from motrail.outputs import output_error

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 wrong use, 3 partly done (it says which part), "
    "130 interrupted. Add --debug to any command to see where an error came from."
)

app = App(
    name="motrail",
    help="Multi-object tracking on your own video.",
    help_epilogue=EXIT_CODES,
    version=lambda: str(motrail.__version__),
    help_format="markdown",
    suppress_keyboard_interrupt=False,
    console=Console(soft_wrap=False),
    error_console=Console(stderr=True),
)
app.command(track_command, name="track")
app.command(batch_command, name="batch")
app.command(refine_command, name="refine")
app.command(detect_command, name="detect")
app.command(camera_command, name="camera")
app.command(dataset_app, name="dataset")
app.command(label_command, name="label")
app.command(review_command, name="review")
app.command(train_command, name="train")
app.command(export_command, name="export")
app.command(evaluate_command, name="evaluate")
app.command(analyze_command, name="analyze")
app.command(tune_app, name="tune")
app.command(remote_app, name="remote")
app.command(serve_command, name="serve")
app.command(  # by its name, for it is large and few need it
    "motrail.cli.sagemaker:sagemaker_app",
    name="sagemaker",
    help="Label, train, tune and deploy at Amazon SageMaker, or rehearse it here.",
)
app.command(demo_command, name="demo")
app.command(config_app, name="config")


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code and prints errors as one line to stderr."""
    _open_streams()
    words = [word for word in arguments if word != "--debug"]
    debug = len(words) < len(arguments)
    interrupts.catch()
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return int(code or 0)
    except (KeyboardInterrupt, Exception) as error:
        # On its way through an import, an interrupt may have become another error.
        if interrupts.just_came() or isinstance(error, KeyboardInterrupt):
            return _report("interrupted; nothing was left half-written", INTERRUPTED)
        at_aws = _is_at_aws(words)
        if debug and not at_aws:
            raise
        if debug:
            _trace(error)
        return _explain(error, at_aws=at_aws)
    finally:
        interrupts.let_go()


def _trace(error: BaseException) -> None:
    """Where an error came from, without what somebody else could use."""
    from motrail.sagemaker.redact import redact

    sys.stderr.write(redact("".join(traceback.format_exception(error))))


def _is_at_aws(words: Sequence[str]) -> bool:
    return words[:1] == ["sagemaker"] or any(word.startswith("--endpoint") for word in words)


def _explain(error: Exception, *, at_aws: bool) -> int:
    if isinstance(error, OSError):
        _drop_stdout()
    if isinstance(error, BrokenPipeError):
        return 1  # who read our output has gone
    message, code = _message(error)
    if at_aws:  # what was given may be a signed URL, or a key in the wrong place
        from motrail.sagemaker.redact import without_secrets

        message = without_secrets(message)
    return _report(message, code)


def _message(error: Exception) -> tuple[str, int]:
    match error:
        case CycloptsError():
            command = " ".join(["motrail", *(error.command_chain or ())])
            return f"{str(error).rstrip('.?')}; see {command} --help", 2
        case MotrailError():
            return str(error), error.exit_code
        case OSError():
            return str(output_error(error.filename or "standard output", error)), 1
        case _:
            return f"{type(error).__name__}: {error} (add --debug to see where)", 1


def _report(message: str, code: int) -> int:
    line = Text(" ".join(message.split()))
    if code != INTERRUPTED:
        line = Text.assemble(("error: ", "bold red"), line)
    Console(stderr=True, soft_wrap=True).print(line)
    return code


def _open_streams() -> None:
    """Give a process that was started without stdout or stderr something to write to.

    Else the next file that is opened would take their number, and hear what is meant for them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that it cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Keep the interpreter from trying once more to write what could not be written."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
