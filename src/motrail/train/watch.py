"""Keeps what training leaves behind: log, figures, checkpoints, and pictures to look at."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from motrail.outputs import WholeFile, writing
from motrail.train.checkpoint import save_checkpoint
from motrail.train.diagnosis import why_nothing
from motrail.train.validate import Validation, detect_all, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from motrail.config import TrainSettings
    from motrail.formats.labels import Labels
    from motrail.train.data.validation import ValidationLoader
    from motrail.train.loop import Learner, State
    from motrail.train.processes import Processes
    from motrail.train.targets import Targets

GOALS = {"ap": "AP", "ap50": "AP50", "hota": "HOTA"}
"""What `best_by` means among the figures of a validation."""


@dataclass(frozen=True)
class Identity:
    """What must be the same when training goes on.

    Attributes:
        model: Such as `yolox-nano`.
        classes: Names, in the order of the network's outputs.
        height: Of the input.
        width: Of the input.
        dataset: Fingerprint of the labels trained on.
    """

    model: str
    classes: tuple[str, ...]
    height: int
    width: int
    dataset: str


@dataclass
class Examination:
    """What validation needs.

    Attributes:
        loader: The pictures.
        truth: The labels of their sequences.
        small: Shorter side of the middle one of the objects, in pixels of the input.
    """

    loader: ValidationLoader
    truth: Sequence[Labels]
    small: float


class RunFolder:
    """Writes the folder of a training run; only the first of several processes does.

    Args:
        folder: The folder, which exists.
        identity: What is trained on what.
        settings: How.
        learner: What learns.
        processes: Those that train together.
        examination: What to validate on; None validates nothing.
        say: Takes lines for people.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        settings: TrainSettings,
        learner: Learner,
        processes: Processes,
        examination: Examination | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder, self.identity, self.settings = folder, identity, settings
        self._learner, self._processes = learner, processes
        self._examination = examination
        self._say = say
        self._saved = time.monotonic()
        self._steps = 0
        self.last: Validation | None = None
        self.best: Validation | None = None

    # --- what the loop tells -------------------------------------------------------------------

    def started(self, epoch: int, *, plain: bool) -> None:
        """Say when augmentation ends."""
        if plain and epoch == self.settings.epochs - self.settings.plain_epochs and epoch:
            self._log(f"epoch {epoch + 1}: from here on pictures stay as they are, with L1 loss")

    def stepped(self, state: State, figures: Mapping[str, float]) -> None:
        """Log the losses."""
        if not self._processes.first:
            return
        self._record({"kind": "train", "epoch": state.epoch + 1, "step": state.step,
                      "update": state.updates, **figures})  # fmt: skip
        text = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        self._log(f"epoch={state.epoch + 1}/{self.settings.epochs} step={state.step} {text}")

    def wants_checkpoint(self) -> bool:
        """Whether enough minutes have passed since the last one."""
        minutes = self.settings.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self._saved > 60 * minutes

    def save(self, state: State) -> None:
        """Write `checkpoints/last.pt`."""
        self._saved = time.monotonic()
        if self._processes.first:
            save_checkpoint(self.folder / "checkpoints" / "last.pt", self._content(state))

    def validate(self, state: State) -> float | None:
        """Score the averaged network, and keep it as `checkpoints/best.pt` if it is the best."""
        every = self.settings.validate_every
        over = state.epoch >= self.settings.epochs
        if self._examination is None or (state.epoch % every and not over):
            return None
        value = self._judge(state) if self._processes.first else None
        return self._processes.told(value)

    def keep_bad_batch(self, images: Tensor, targets: Targets, state: State) -> str:
        """Write `bad-batch.pt`."""
        path = self.folder / f"bad-batch-{self._processes.rank}.pt"
        content = {
            "images": images.cpu(), "boxes": targets.boxes.cpu(), "ignore": targets.ignore.cpu(),
            "class_ids": targets.class_ids.cpu(), "state": asdict(state),
            "network": self._processes.bare(self._learner.network).state_dict(),
        }  # fmt: skip
        save_checkpoint(path, content)
        return str(path)

    # --- how it is done ------------------------------------------------------------------------

    def _judge(self, state: State) -> float:
        examination = self._examination
        if examination is None:
            return 0.0
        learner = self._learner
        network: Any = learner.average.network
        found = detect_all(
            network,
            examination.loader,
            self.identity.classes,
            device=learner.device,
            autocast=learner.autocast,
        )
        validation = judge(examination.truth, found)
        self.last = validation
        goal = GOALS[self.settings.best_by]
        value = validation.figures.get(goal, 0.0)
        better = state.best is None or value > state.best
        self._record({"kind": "val", "epoch": state.epoch, "update": state.updates,
                      **validation.figures, "classes": validation.classes})  # fmt: skip
        text = " ".join(f"{name}={figure:.2f}" for name, figure in validation.figures.items())
        self._log(f"epoch={state.epoch}/{self.settings.epochs} {text}{' best' if better else ''}")
        if validation.figures["AP"] < 0.05:
            reason = why_nothing(
                validation,
                updates=state.updates,
                rate=float(learner.optimizer.param_groups[0]["lr"]),
                small=examination.small,
            )
            self._log(f"AP is 0: {reason}")
        if better:
            self.best = validation
            content = {
                "identity": asdict(self.identity),
                "network": network.state_dict(),
                "epoch": state.epoch,
                "figures": validation.figures,
                "classes": validation.classes,
            }
            save_checkpoint(self.folder / "checkpoints" / "best.pt", content)
        return value

    def _content(self, state: State) -> dict[str, Any]:
        learner = self._learner
        return {
            "identity": asdict(self.identity),
            "settings": asdict(self.settings),
            "network": self._processes.bare(learner.network).state_dict(),
            "average": learner.average.state(),
            "optimizer": learner.optimizer.state_dict(),
            "scaler": learner.scaler.state_dict(),
            "state": asdict(state),
        }

    def _record(self, row: Mapping[str, Any]) -> None:
        path = self.folder / "metrics.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _log(self, line: str) -> None:
        if not self._processes.first:
            return
        self._say(line)
        path = self.folder / "log.txt"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def forget_after(folder: Path, update: int) -> None:
    """Drop the figures of updates that will be made again."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return
    with writing(path):
        rows = path.read_text(encoding="utf-8").splitlines()
    kept = []
    for row in rows:
        try:
            content = json.loads(row)
        except ValueError:
            continue  # cut off when the process was killed
        if content.get("update", 0) <= update:
            kept.append(row + "\n")
    file = WholeFile(path)
    with writing(path), file:
        file.temporary.write_text("".join(kept), encoding="utf-8")
