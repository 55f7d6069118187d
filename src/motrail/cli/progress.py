"""Progress on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from motrail.cli.interrupts import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from motrail.tracking import Summary

_LOG_EVERY = 15.0  # seconds
_IN_BYTES = ("downloading", "uploading")
"""What is counted in bytes."""


@contextlib.contextmanager
def frames_progress(total: int | None) -> Iterator[Callable[[Summary], None]]:
    """Show how many frames are done, how fast, and when it will be over."""
    if not sys.stderr.isatty():
        yield _log_frames(total)
        return
    bar = Progress(
        TextColumn("tracking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=total, rate="")

        def show(summary: Summary) -> None:
            interrupts.check()
            rate = f"{summary.frames_per_second:.1f} fps, {summary.tracks} tracks"
            bar.update(task, completed=summary.frames, rate=rate)

        yield show


def _log_frames(total: int | None) -> Callable[[Summary], None]:
    last = time.monotonic()

    def log(summary: Summary) -> None:
        nonlocal last
        interrupts.check()
        if time.monotonic() - last < _LOG_EVERY:
            return
        last = time.monotonic()
        rate = summary.frames_per_second
        of = f" of {total}" if total else ""
        left = f", {(total - summary.frames) / rate:.0f} s left" if total and rate else ""
        print(
            f"{summary.source}: {summary.frames}{of} frames, {rate:.1f} fps{left}",
            file=sys.stderr,
            flush=True,
        )

    return log


@contextlib.contextmanager
def download_progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show how much of a download has arrived; nothing appears if nothing is downloaded."""
    bar = Progress(
        TextColumn(f"fetching {name}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    task = None
    with contextlib.ExitStack() as stack:

        def show(done: int, total: int | None) -> None:
            nonlocal task
            interrupts.check()
            if task is None:
                stack.enter_context(bar)
                task = bar.add_task("", total=total)
                if bar.disable:
                    print(f"fetching {name}: {total or 'unknown number of'} bytes", file=sys.stderr)
            bar.update(task, completed=done, total=total)

        yield show


class _CountColumn(ProgressColumn):
    """How much is done of how much: things, or bytes and how many of them a second."""

    def __init__(self) -> None:
        super().__init__()
        self._things, self._bytes, self._speed = (
            MofNCompleteColumn(), DownloadColumn(), TransferSpeedColumn(),
        )  # fmt: skip

    def render(self, task: Task) -> Text:
        """The column of a task, by what it is called."""
        if task.description not in _IN_BYTES:
            return self._things.render(task)
        return Text(" ").join([self._bytes.render(task), self._speed.render(task)])


@contextlib.contextmanager
def steps_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show what is being done, how much of it, and when that will be over."""
    if not sys.stderr.isatty():
        yield _log_steps()
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _CountColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task: TaskID | None = None
    doing = ""
    with bar:

        def show(what: str, done: int, total: int | None) -> None:
            nonlocal task, doing
            interrupts.check()
            if task is None or what != doing:
                if task is not None:
                    bar.remove_task(task)
                task, doing = bar.add_task(what, total=total), what
            bar.update(task, completed=done, total=total)

        yield show


def _log_steps() -> Callable[[str, int, int | None], None]:
    last = start = time.monotonic()
    doing = ""

    def log(what: str, done: int, total: int | None) -> None:
        nonlocal last, start, doing
        interrupts.check()
        now = time.monotonic()
        if what != doing:
            doing, start = what, now
        if now - last < _LOG_EVERY:
            return
        last = now
        of = f" of {_amount(what, total)}" if total else ""
        left = (now - start) / done * (total - done) if total and done else 0
        eta = f", {left:.0f} s left" if left else ""
        print(f"{what}: {_amount(what, done)}{of}{eta}", file=sys.stderr, flush=True)

    return log


def _amount(what: str, count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if what in _IN_BYTES else str(count)
