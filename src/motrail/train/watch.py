"""Keeps what training leaves behind: log, figures and checkpoints; tells how far it is."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from motrail.errors import MissingExtraError
from motrail.outputs import WholeFile, writing
from motrail.train.board import open_board
from motrail.train.checkpoint import save_checkpoint
from motrail.train.diagnosis import why_nothing
from motrail.train.loop import LEFT
from motrail.train.normalisation import remeasured
from motrail.train.validate import Validation, detect_all, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from motrail.config import TrainSettings
    from motrail.formats.labels import Labels
    from motrail.train.board import Board
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
        pictures: How many there are, to be said where the fingerprint differs.
        boxes: The same.
    """

    model: str
    classes: tuple[str, ...]
    height: int
    width: int
    dataset: str
    pictures: int = 0
    boxes: int = 0


@dataclass
class Examination:
    """What validation needs.

    Attributes:
        loader: The pictures.
        truth: The labels of their sequences.
        small: Shorter side of the middle one of the objects, in pixels of the input.
        learnt: Some batches as an epoch, counted from 0, learnt from them, on the device; by which
            batch normalisation is measured anew.
    """

    loader: ValidationLoader
    truth: Sequence[Labels]
    small: float
    learnt: Callable[[int], Iterable[Tensor]]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        steps: Batches learnt from, of all epochs.
        total: Batches there will be.
        images_per_second: How fast it goes, in all processes together.
        loss: Of the last batch.
        average_precision: Of the last validation, in per cent; None before the first.
    """

    steps: int
    total: int
    images_per_second: float
    loss: float
    average_precision: float | None


@dataclass(frozen=True)
class Listener:
    """Who hears of a run.

    Attributes:
        say: Takes lines for people.
        progress: Is told of each batch; None where nobody looks.
        news: Lines that came up beside it, each given once: pictures that had to be left out.
    """

    say: Callable[[str], None] = print
    progress: Callable[[Progress], None] | None = None
    news: Callable[[], Iterable[str]] = tuple


class _StoppedError(Exception):
    """Told to leave in the midst of validation."""


class RunFolder:
    """Writes the folder of a training run; only the first of several processes does.

    Args:
        folder: The folder, which exists.
        identity: What is trained on what.
        settings: How.
        learner: What learns.
        processes: Those that train together.
        examination: What to validate on; None validates nothing.
        listener: Who hears of it.

    Attributes:
        last: The last validation.
        best: The best one that was made here, and not before an interruption.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        settings: TrainSettings,
        learner: Learner,
        processes: Processes,
        examination: Examination | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.folder, self.identity, self.settings = folder, identity, settings
        self._learner, self._processes = learner, processes
        self._examination = examination
        self._listener = listener or Listener()
        self._saved = self._began = time.monotonic()
        self._images = 0
        self._board: Board | None = None
        self.steps_per_epoch = 0
        self.last: Validation | None = None
        self.best: Validation | None = None

    def open(self, state: State, steps_per_epoch: int) -> None:
        """Begin to write; figures of steps that will be made again are dropped.

        Raises:
            OutputError: It cannot be written.
        """
        self.steps_per_epoch = steps_per_epoch
        if not self._processes.first:
            return
        rows = forget_after(self.folder, state)
        again = [row for row in rows if row["update"] >= state.updates]
        try:
            self._board = open_board(self.folder / "tensorboard", state.updates, again)
        except MissingExtraError as error:
            self._log(f"note: nothing for TensorBoard: {error}")

    # --- what the loop tells -------------------------------------------------------------------

    def started(self, epoch: int, *, plain: bool) -> None:
        """Say when augmentation ends."""
        self._began, self._images = time.monotonic(), 0
        if plain and epoch == self.settings.epochs - self.settings.plain_epochs and epoch:
            self._log(f"epoch {epoch + 1}: from here on pictures stay as they are, with L1 loss")

    def learnt(self, state: State, loss: float, images: int) -> None:
        """Tell how far it is."""
        self._images += images * self._processes.world
        if self._listener.progress is None or not self._processes.first:
            return
        self._listener.progress(
            Progress(
                state.epoch * self.steps_per_epoch + state.step,
                self.settings.epochs * self.steps_per_epoch,
                self._images / max(time.monotonic() - self._began, 1e-9),
                loss,
                self.last.figures["AP"] if self.last else None,
            )
        )

    def stepped(self, state: State, figures: Mapping[str, float]) -> None:
        """Log the losses."""
        if not self._processes.first:
            return
        self._record({"kind": "train", "epoch": state.epoch + 1, "step": state.step,
                      "update": state.updates, **figures})  # fmt: skip
        text = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        self._log(f"epoch={state.epoch + 1}/{self.settings.epochs} step={state.step} {text}")
        self._tell_news()

    def wants_checkpoint(self) -> bool:
        """Whether enough minutes have passed since the last one."""
        minutes = self.settings.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self._saved > 60 * minutes

    def save(self, state: State) -> None:
        """Write `checkpoints/last.pt`."""
        self._saved = time.monotonic()
        if self._processes.first:
            save_checkpoint(self.folder / "checkpoints" / "last.pt", self._content(state))

    def wants_validation(self, state: State) -> bool:
        """Whether there is something to validate on, and it is time to."""
        ended = state.epoch + 1
        over = ended >= self.settings.epochs
        return self._examination is not None and (over or not ended % self.settings.validate_every)

    def validate(self, state: State, stop: Callable[[], bool]) -> float:
        """Score the averaged network, and keep it as `checkpoints/best.pt` if it is the best."""
        value = self._judge(state, stop) if self._processes.first else None
        told = self._processes.told(value)
        return LEFT if told is None else told

    def before(self, stop: Callable[[], bool]) -> None:
        """Score the network as it is before the first step, for comparison."""
        if self._examination is None or not self._processes.first:
            return
        network: Any = self._learner.average.network
        validation = self._look(network, self._examination, stop)
        if validation is None:
            return
        self._record({"kind": "before", "epoch": 0, "update": 0, **validation.figures,
                      "classes": validation.classes})  # fmt: skip
        self._log(f"before training: {_figures(validation)}")

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

    def _look(
        self, network: Any, examination: Examination, stop: Callable[[], bool]
    ) -> Validation | None:
        """Validate a network; None if told to leave meanwhile."""

        def leave_if_told(_done: int, _total: int) -> None:
            if stop():
                raise _StoppedError

        learner = self._learner
        try:
            found = detect_all(
                network,
                examination.loader,
                self.identity.classes,
                device=learner.device,
                autocast=learner.autocast,
                progress=leave_if_told,
            )
        except _StoppedError:
            return None
        finally:
            self._tell_news()
        return judge(examination.truth, found)

    def _judge(self, state: State, stop: Callable[[], bool]) -> float:
        examination = self._examination
        if examination is None:
            return 0.0
        learner = self._learner
        network: Any = remeasured(learner.average.network, examination.learnt(state.epoch))
        validation = self._look(network, examination, stop)
        if validation is None:
            return LEFT
        self.last = validation
        goal = GOALS[self.settings.best_by]
        value = validation.figures.get(goal, 0.0)
        better = state.best is None or value > state.best
        epoch = state.epoch + 1
        self._record({"kind": "val", "epoch": epoch, "update": state.updates,
                      **validation.figures, "classes": validation.classes})  # fmt: skip
        best = " best" if better else ""
        self._log(f"epoch={epoch}/{self.settings.epochs} {_figures(validation)}{best}")
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
                "epoch": epoch,
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
            "world": self._processes.world,
            "steps_per_epoch": self.steps_per_epoch,
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
        if self._board is not None:
            self._board.add(row)

    def _tell_news(self) -> None:
        for line in self._listener.news():
            self._log(line)

    def _log(self, line: str) -> None:
        if not self._processes.first:
            return
        self._listener.say(line)
        path = self.folder / "log.txt"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def forget_after(folder: Path, state: State) -> list[dict[str, Any]]:
    """Drop the figures of steps and validations that will be made again; gives those that stay."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    with writing(path):
        rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = []
    for row in rows:
        try:
            content = json.loads(row)
            update, validated = content["update"], content["kind"] == "val"
            again = update > state.updates or (validated and content["epoch"] > state.epoch)
        except (ValueError, KeyError, TypeError):
            continue  # cut off when the process was killed
        if not again:
            kept.append(content)
    file = WholeFile(path)
    with writing(path), file:
        text = "".join(json.dumps(row) + "\n" for row in kept)
        file.temporary.write_text(text, encoding="utf-8")
    return kept


def _figures(validation: Validation) -> str:
    return " ".join(f"{name}={figure:.2f}" for name, figure in validation.figures.items())
