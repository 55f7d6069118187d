"""What the commands share that wait for a job: what they say, and what Ctrl-C asks."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from motrail.cli.interrupts import interrupts
from motrail.cli.output import print_json
from motrail.cli.progress import steps_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.config import Resolved
    from motrail.dataset.footage import Progress
    from motrail.sagemaker.request import Request
    from motrail.sagemaker.watch import Choice, Watcher

_ANSWERS: dict[str, Choice] = {"s": "stop", "l": "leave", "w": "wait"}


class Talk:
    """Lines and bars on stderr, and questions; a bar goes when there is a line to be said.

    Else it would stand there for hours, while a job is waited for. Use it in a `with` block.
    """

    def __init__(self) -> None:
        self._bar = contextlib.ExitStack()
        self._show: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show what is being done."""
        if self._show is None:
            self._show = self._bar.enter_context(steps_progress())
        self._show(what, done, total)

    def say(self, line: str) -> None:
        """A line for people."""
        self._close()
        say(line)

    def ask(self, job: str) -> Choice:
        """What is to become of a job."""
        self._close()
        return ask(job)

    def watcher(self) -> Watcher:
        """Who waits for a job."""
        from motrail.sagemaker.watch import Watcher

        return Watcher(self.say, self.ask)

    def epochs_watcher(self) -> Watcher:
        """The same, with how much longer it will take after each epoch."""
        from motrail.sagemaker.watch import Epochs, Watcher

        epochs = Epochs(self.say, _usual_epochs(), time.monotonic)

        def hear(line: str) -> None:
            self.say(line)
            epochs.hear(line)

        def step(answer: Mapping[str, Any]) -> None:
            given = answer.get("HyperParameters", {}).get("epochs", "")
            if re.fullmatch(r"[0-9]+", given):
                epochs.total = int(given)

        return Watcher(hear, self.ask, step)

    def _close(self) -> None:
        self._show = None
        self._bar.close()


def _usual_epochs() -> int:
    from motrail.config import TrainSettings

    return TrainSettings().epochs


def say(line: str) -> None:
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def ask(job: str) -> Choice:
    """What is to become of a job; without a terminal it is left running."""
    _heard()
    if not sys.stdin.isatty():
        return "leave"
    try:
        while True:
            question = f"\njob {job}: [s]top it, [l]eave it running, or [w]ait on? "
            print(question, end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            word = line.strip().lower()[:1]
            if word in _ANSWERS:
                return _ANSWERS[word]
            if not line:
                return "leave"
    except KeyboardInterrupt:
        _heard()
        return "leave"


def _heard() -> None:
    """This Ctrl-C has been answered: what comes after it is told, and the next one is another."""
    interrupts.let_go()
    interrupts.catch()


def show_request(request: Request) -> int:
    """What would be sent, as JSON."""
    print_json(request._asdict())
    return 0


def given_settings(resolved: Resolved, section: str) -> dict[str, Any]:
    """The settings of a section that somebody chose, by name."""
    settings = getattr(resolved.settings, section)
    return {
        key: getattr(settings, key)
        for (its, key), origin in resolved.origins.items()
        if its == section and origin != "default"
    }


def minutes(seconds: float) -> str:
    """Seconds for people: `95 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
