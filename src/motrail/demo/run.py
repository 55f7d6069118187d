"""Does the steps one after the other, and goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from motrail.errors import ConfigError, DataError
from motrail.outputs import WholeFile, WholeText, output_folder, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from motrail.demo.steps import Step

    Tell = Callable[[str, str], None]
    """Told `command` and a command line, or `output` and the last line that one printed."""

STATE = "steps.json"
LOGS = "logs"
_START = 60.0  # seconds for the server to answer
_END = 20.0  # seconds for it to end
_TAIL = 12  # lines of a log that an error shows


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was done.

    Attributes:
        step: Which.
        seconds: It took.
        anew: Whether it was done now; False where an earlier run had done it.
    """

    step: Step
    seconds: float
    anew: bool


class Demonstration:
    """A folder in which the steps are done.

    What was done with the same command lines is not done again.

    Raises:
        ConfigError: The folder holds something else.
        OutputError: It cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / STATE
        if folder.is_dir() and any(folder.iterdir()) and not self._state.is_file():
            raise ConfigError(
                f"{folder}: holds something that is no demonstration; choose another folder with -o"
            )
        output_folder(folder / LOGS)
        self._known = self._read()
        self._remember()

    def do(self, step: Step, tell: Tell) -> Done:
        """Do a step, unless it was done.

        Raises:
            DataError: One of its commands failed; its log is named, and its end shown.
        """
        known = self._known.get(step.name)
        if known is not None and known["lines"] == list(step.lines) and self._has(step):
            return Done(step, float(known["seconds"]), anew=False)
        self._forget(step)
        start = time.monotonic()
        log = self.folder / LOGS / f"{step.name}.txt"
        with (
            writing(log),
            log.open("w", encoding="utf-8") as file,
            self._serving(step.server, file, tell),
        ):
            for line in step.lines:
                tell("command", line)
                self._run(line, file, tell)
        seconds = time.monotonic() - start
        self._known[step.name] = {"lines": list(step.lines), "seconds": round(seconds, 1)}
        self._remember()
        return Done(step, seconds, anew=True)

    def _has(self, step: Step) -> bool:
        return all((self.folder / name).exists() for name in step.makes)

    def _forget(self, step: Step) -> None:
        """What it and all after it have made is out of date."""
        names = list(self._known)
        place = names.index(step.name) if step.name in names else len(names)
        for name in names[place:]:
            del self._known[name]
        self._remember()
        for name in step.makes:
            path = self.folder / name
            with writing(path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _run(self, line: str, log: TextIO, tell: Tell) -> None:
        words, saved = _words(line)
        log.write(f"$ {line}\n")
        log.flush()
        printed: list[str] = []
        with _process(words, subprocess.STDOUT if saved is None else log) as process:
            for text in process.stdout or ():
                log.write(text)
                printed.append(text)
                if text.strip() and saved is None:
                    tell("output", text.strip())
            code = process.wait()
        log.flush()
        if code:
            end = "".join(Path(log.name).read_text(encoding="utf-8").splitlines(True)[-_TAIL:])
            raise DataError(f"exit code {code}, see {log.name}: {line}\n{end.rstrip()}")
        if saved is not None:
            with WholeFile(saved) as file, writing(saved):
                file.temporary.write_text("".join(printed), encoding="utf-8")

    @contextlib.contextmanager
    def _serving(self, line: str, log: TextIO, tell: Tell) -> Iterator[None]:
        if not line:
            yield
            return
        words, _ = _words(line)
        tell("command", f"{line} &")
        log.write(f"$ {line} &\n")
        log.flush()
        server = subprocess.Popen(  # noqa: S603  (our own command)
            words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            _wait_for(int(words[words.index("--port") + 1]), server, log)
            yield
        finally:
            _end(server)

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._state.is_file():
            return {}
        try:
            known = json.loads(self._state.read_text(encoding="utf-8"))
            return {
                str(k): {"lines": v["lines"], "seconds": v["seconds"]} for k, v in known.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self._state}: cannot be read; remove the folder: {error}"
            ) from error

    def _remember(self) -> None:
        with WholeText(self._state) as file:
            file.add(json.dumps(self._known, indent=1))


def free_port(wanted: int) -> int:
    """This port of the machine, or another where somebody listens on it now."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", wanted))
        except OSError:
            found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _words(line: str) -> tuple[list[str], Path | None]:
    """The arguments of a command line for this Python, and where its output is kept."""
    words = shlex.split(line)
    saved = None
    if ">" in words:
        place = words.index(">")
        words, saved = words[:place], Path(words[place + 1])
    program = [sys.executable, "-m", "motrail"] if words[0] == "motrail" else [sys.executable]
    return [*program, *words[1:]], saved


@contextlib.contextmanager
def _process(words: Sequence[str], errors: int | TextIO) -> Iterator[subprocess.Popen[str]]:
    """A command, which ends before this does."""
    process = subprocess.Popen(  # noqa: S603  (our own command)
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        errors="replace",
    )
    with process:
        try:
            yield process
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[Any]) -> None:
    """Ask it to end, and see that it does."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(port: int, server: subprocess.Popen[Any], log: TextIO) -> None:
    """Until the server answers.

    Raises:
        DataError: It ended, or did not answer in time.
    """
    end = time.monotonic() + _START
    while time.monotonic() < end and server.poll() is None:
        address = f"http://127.0.0.1:{port}/ping"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.1)
    raise DataError(f"the server did not begin to answer; see {log.name}")
