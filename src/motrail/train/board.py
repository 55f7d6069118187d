"""The figures of a run for TensorBoard, where that is installed."""

from __future__ import annotations

import importlib.util
import socket
import time
from typing import TYPE_CHECKING, Any

from motrail.errors import MissingExtraError
from motrail.outputs import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PREFIXES = {"train": "train", "before": "validation", "val": "validation"}
"""What stands before the names of figures, by the kind of their row."""
_PLACE = frozenset({"epoch", "step", "update"})
_VERSION = "brain.Event:2"


def installed() -> bool:
    """Whether TensorBoard is there; it is not loaded."""
    return importlib.util.find_spec("tensorboard") is not None


class Board:
    """Writes the rows of `metrics.jsonl` as scalars over the optimizer's steps.

    TensorBoard's records without its writer: that one works in a thread, which learns of a full
    disk too late and tells nobody but the terminal.

    Args:
        folder: Where TensorBoard is to look.
        update: The step that a run goes on with; what was written of it and later does not count.

    Raises:
        OutputError: The folder cannot be written to.
        MissingExtraError: TensorBoard cannot be loaded.
    """

    def __init__(self, folder: Path, update: int) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tensorboard", error) from error
        self._event, self._summary = Event, Summary
        # Files are read in the order of their names.
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        with writing(folder):
            folder.mkdir(exist_ok=True)
        self._records = RecordWriter
        self._write(file_version=_VERSION)
        if update:
            self._write(step=update, session_log=SessionLog(status=SessionLog.START))

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row.

        Raises:
            OutputError: It cannot be written.
        """
        prefix = PREFIXES[row["kind"]]
        values = [
            self._summary.Value(tag=f"{prefix}/{name}", simple_value=value)
            for name, value in row.items()
            if isinstance(value, int | float) and name not in _PLACE
        ]
        self._write(step=row["update"], summary=self._summary(value=values))

    def _write(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        with writing(self._path), self._path.open("ab") as file:
            self._records(file).write(event.SerializeToString())


def open_board(folder: Path, update: int, rows: Iterable[Mapping[str, Any]]) -> Board | None:
    """Begin to write for TensorBoard; None where it is not installed.

    Args:
        folder: Where it is to look.
        update: The step of the optimizer that a run goes on after.
        rows: Those from that step on which stay; what was written of it before is taken back.

    Raises:
        OutputError: The folder cannot be written to.
        MissingExtraError: TensorBoard is installed and cannot be loaded.
    """
    if not installed():
        return None
    board = Board(folder, update)
    for row in rows:
        board.add(row)
    return board
