"""`motrail sagemaker`: the same work at Amazon SageMaker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cyclopts import App

from motrail.cli.sagemaker.batch import batch_command
from motrail.cli.sagemaker.build import build_command
from motrail.cli.sagemaker.cleanup import cleanup_command
from motrail.cli.sagemaker.deploy import deploy_app, invoke_command
from motrail.cli.sagemaker.edge import edge_command
from motrail.cli.sagemaker.label import label_command
from motrail.cli.sagemaker.setup import setup_command
from motrail.cli.sagemaker.status import status_command
from motrail.cli.sagemaker.train import train_command
from motrail.cli.sagemaker.tune import tune_command

if TYPE_CHECKING:
    from collections.abc import Callable

sagemaker_app = App(
    name="sagemaker",
    help=(
        "Label, train, tune and deploy at Amazon SageMaker; with --rehearse on this machine, "
        "where it costs nothing."
    ),
)
_COMMANDS: dict[str, Callable[..., Any]] = {
    "setup": setup_command,
    "build": build_command,
    "label": label_command,
    "train": train_command,
    "tune": tune_command,
    "deploy": deploy_app,
    "invoke": invoke_command,
    "batch": batch_command,
    "edge": edge_command,
    "status": status_command,
    "cleanup": cleanup_command,
}
for _name, _command in _COMMANDS.items():
    sagemaker_app.command(_command, name=_name)
