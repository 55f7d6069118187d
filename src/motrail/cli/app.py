"""The command `motrail` and what all its subcommands share."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from cyclopts import App, CycloptsError
from rich.console import Console
from rich.text import Text

import motrail
from motrail.cli.config import config_app
from motrail.cli.track import track_command
from motrail.errors import MotrailError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

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
app.command(config_app, name="config")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code and prints errors as one line to stderr."""
    words = [word for word in arguments if word != "--debug"]
    debug = len(words) < len(arguments)
    previous = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        return int(
            app(words, exit_on_error=False, print_error=False, result_action="return_value") or 0
        )
    except CycloptsError as error:
        if debug:
            raise
        return _report(f"{str(error).rstrip('.')}; see motrail --help", 2)
    except MotrailError as error:
        if debug:
            raise
        return _report(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _report("interrupted; nothing was left half-written", INTERRUPTED)
    except BrokenPipeError:
        # Who read our output has gone; the interpreter must not try to flush it again.
        sys.stdout = None
        return 1
    except Exception as error:
        if debug:
            raise
        return _report(f"{type(error).__name__}: {error} (add --debug to see where)", 1)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _report(message: str, code: int) -> int:
    line = Text(" ".join(message.split()))
    if code != INTERRUPTED:
        line = Text.assemble(("error: ", "bold red"), line)
    Console(stderr=True, soft_wrap=True).print(line)
    return code


def _as_interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
