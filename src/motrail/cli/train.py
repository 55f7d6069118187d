"""`motrail train`."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from cyclopts import Parameter
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from motrail.cli.interrupts import interrupts
from motrail.cli.output import AsJson, print_json, print_rows
from motrail.cli.settings import flags_of, parse_map, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from motrail.train.watch import Progress

TrainFlags: Any = flags_of("train")

PARTLY_DONE = 3


def train_command(
    dataset: Path,
    *,
    model: Annotated[str, Parameter(name=("--model", "-m"))] = "yolox-s",
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/train"),
    weights: Annotated[Path | None, Parameter(name=("--weights", "-w"))] = None,
    preset: Literal["bytetrack", "yolox", "yolox-legacy"] | None = None,
    classes: str | None = None,
    map_: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = (),
    resume: Annotated[bool, Parameter(negative="")] = False,
    check: Annotated[bool, Parameter(negative="")] = False,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: AsJson = False,
    train: TrainFlags = None,
) -> int:
    """Train a detector on your own objects; ends with a model bundle.

    The run's folder gets `model.tar.gz` (what `motrail track --model` takes), `checkpoints/`,
    `metrics.jsonl`, `log.txt`, `config.toml`, `results.png` and pictures to look at. Training that
    was interrupted, or killed, goes on with --resume and ends as if nothing had happened.

    For example:

    - `motrail train data --model yolox-nano -o runs/parcels`
    - `motrail train data --model yolox-s --weights yolox_s.pth --epochs 50`
    - `motrail train data --model yolox-nano -o runs/parcels --resume`
    - `torchrun --nproc-per-node 8 -m motrail train data --model yolox-x --batch 8`

    Parameters
    ----------
    dataset
        A dataset with the splits train and val; `motrail dataset split` makes them.
    model
        yolox-nano, -tiny, -s, -m, -l or -x: from fast and small to slow and exact.
    output
        Folder of the run. After --resume its config.toml is where settings come from that are not
        given anew, unless there is a --config.
    weights
        What to start from: an official YOLOX .pth, a model bundle, an .onnx or a checkpoint. The
        classes may be others.
    preset
        How the network of --weights wants its pictures, where that is not said: bytetrack (RGB,
        ImageNet mean and std), yolox (BGR, 0–255) or yolox-legacy (older YOLOX).
    classes
        Names of the classes to learn, separated by commas; all that have labels if unset.
    map_
        What a class of the dataset is called in --classes, as in person=player; may be given
        several times.
    resume
        Go on with the run in the folder, if there is one.
    check
        Do not train: see in a minute whether the network can learn two of the pictures by heart.
    config
        TOML file with the section [train]; flags win over it.
    as_json
        Print the result as one JSON document.
    """
    from motrail.train.prepare import prepare_folder
    from motrail.train.run import Job, Training

    kept = output / "config.toml"
    source = kept if config is None and resume and kept.is_file() else config
    settings = resolve_settings({"train": train}, source).settings.train
    job = Job(
        dataset,
        model,
        output,
        settings,
        weights=weights,
        preset=preset,
        classes=[name.strip() for name in classes.split(",")] if classes else None,
        names=parse_map(map_),
        resume=resume,
    )
    prepare_folder(job)
    with training_progress() as (say, progress):
        training = Training(job, say, progress)
        if resume:
            training.resume()
        else:
            training.examine()
        if check:
            found = training.check()
            print_json(found._asdict() | {"good": found.good}) if as_json else print(found.text)
            return 0 if found.good else 1
        with _Told() as told:
            result = training.train(told.asked)
    if not training.processes.first:
        return PARTLY_DONE if result.stopped else 0
    if result.stopped:
        over = result.epochs >= training.settings.epochs
        where = "before the model was written" if over else f"in epoch {result.epochs + 1}"
        print(f"stopped and saved {where}; go on with --resume", file=sys.stderr)
    if as_json:
        print_json(result.as_dict())
    else:
        rows = [("epochs", f"{result.epochs}, {result.updates} steps")]
        rows += [(name, f"{value:.2f}") for name, value in result.figures.items()]
        print_rows([*rows, ("written", result.bundle or result.folder)])
    return PARTLY_DONE if result.stopped else 0


@contextlib.contextmanager
def training_progress() -> Iterator[
    tuple[Callable[[str], None], Callable[[Progress], None] | None]
]:
    """Take lines for stderr and, on a terminal, show a bar below them over all epochs.

    Yields:
        What takes lines, and what takes how far it is; None where there is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda line: print(line, file=sys.stderr, flush=True), None
        return
    bar = Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(stderr=True, soft_wrap=True),
        transient=True,
    )
    task: TaskID | None = None

    def show(progress: Progress) -> None:
        nonlocal task
        precision = progress.average_precision
        known = "" if precision is None else f", AP {precision:.1f}"
        text = f"{progress.images_per_second:.1f} images/s, loss {progress.loss:.3g}{known}"
        if task is None:  # what was done before an interruption says nothing about the time left
            task = bar.add_task(text, total=progress.total, completed=progress.steps - 1)
        bar.update(task, description=text, completed=progress.steps)

    with bar:
        yield lambda line: bar.console.print(line, markup=False, highlight=False), show


class _Told:
    """Hears SIGTERM, so that training can save and leave; looks for a Ctrl-C that was lost."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    def asked(self) -> bool:
        """Whether to leave."""
        interrupts.check()
        return self._asked
