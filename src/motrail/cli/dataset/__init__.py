"""`motrail dataset`: labels in, dataset out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App

from motrail.cli.dataset.convert import export_command, import_command
from motrail.cli.dataset.cut import clip_command, frames_command, split_command
from motrail.cli.dataset.look import check_command, preview_command, stats_command
from motrail.cli.dataset.synth import synth_command

if TYPE_CHECKING:
    from collections.abc import Callable

dataset_app = App(
    name="dataset",
    help="Labels in, dataset out: import, check, split, look at and export labelled footage.",
)
_COMMANDS: dict[str, Callable[..., int]] = {
    "import": import_command,
    "export": export_command,
    "check": check_command,
    "split": split_command,
    "stats": stats_command,
    "preview": preview_command,
    "clip": clip_command,
    "frames": frames_command,
    "synth": synth_command,
}
for _name, _command in _COMMANDS.items():
    dataset_app.command(_command, name=_name)
