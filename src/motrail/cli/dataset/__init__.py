"""`motrail dataset`: labels in, dataset out."""

from __future__ import annotations

from cyclopts import App

from motrail.cli.dataset.convert import export_command, import_command
from motrail.cli.dataset.cut import clip_command, frames_command, split_command
from motrail.cli.dataset.look import check_command, preview_command, stats_command
from motrail.cli.dataset.synth import synth_command

dataset_app = App(
    name="dataset",
    help="Labels in, dataset out: import, check, split, look at and export labelled footage.",
)
for _name, _command in {
    "import": import_command,
    "export": export_command,
    "check": check_command,
    "split": split_command,
    "stats": stats_command,
    "preview": preview_command,
    "clip": clip_command,
    "frames": frames_command,
    "synth": synth_command,
}.items():
    dataset_app.command(_command, name=_name)
