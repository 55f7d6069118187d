"""`motrail tune detector`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from cyclopts import Parameter

from motrail.cli.interrupts import interrupts
from motrail.cli.output import AsJson, print_json, print_rows, table
from motrail.cli.progress import steps_progress
from motrail.cli.settings import flags_of, parse_map, resolve_settings
from motrail.errors import ConfigError

if TYPE_CHECKING:
    from types import FrameType

    from motrail.config import TrainSettings
    from motrail.train.run import Job
    from motrail.tune.detector.tuning import DetectorTuning, SearchOptions

TrainFlags: Any = flags_of("train")

_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 3}


def detector_command(
    dataset: Path,
    *,
    model: Annotated[str, Parameter(name=("--model", "-m"))] = "yolox-s",
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("runs/tune-detector"),
    goal: Literal["ap", "ap50", "hota"] | None = None,
    trials: int = 20,
    pruning: bool = True,
    weights: Annotated[Path | None, Parameter(name=("--weights", "-w"))] = None,
    preset: Literal["bytetrack", "yolox", "yolox-legacy"] | None = None,
    classes: str | None = None,
    map_: Annotated[tuple[str, ...], Parameter(name="--map", negative="")] = (),
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    as_json: AsJson = False,
    train: TrainFlags = None,
) -> int:
    """Find the settings of training that give the best detector.

    The detector is trained again and again under other settings, the first time under those you
    give, and each is scored on the split val after its epochs; what does badly half-way is stopped.
    If there is a split test, you are told whether the gain holds there. Into the output folder come
    the best model as `model.tar.gz`, `settings.toml` for --config, `tune.json` and `tune.html`. A
    search that was interrupted, or killed, goes on when the same command is given again.

    What is searched stands in the section [search] of the --config file, as in
    `learning_rate = { low = 0.002, high = 0.05, log = true }` or `batch = [4, 8, 16]`; without it
    the usual settings are.

    For example:

    - `motrail tune detector data --model yolox-nano --epochs 20`
    - `motrail tune detector data --model yolox-s --weights yolox_s.pth --config my.toml`
    - `motrail train data --model yolox-s --config runs/tune-detector/settings.toml --epochs 100`

    Parameters
    ----------
    dataset
        A dataset with the splits train and val, and better also test; `motrail dataset split`
        makes them.
    model
        yolox-nano, -tiny, -s, -m, -l or -x: from fast and small to slow and exact.
    output
        Folder of the search.
    goal
        What is to be as high as possible: ap, ap50 or hota of the best epoch; as --best-by if
        unset.
    trials
        How many settings are tried, those you give included.
    pruning
        Stop trials that do badly half-way.
    weights
        What to start from: an official YOLOX .pth, a model bundle, an .onnx or a checkpoint.
    preset
        How the network of --weights wants its pictures, where that is not said.
    classes
        Names of the classes to learn, separated by commas; all that have labels if unset.
    map_
        What a class of the dataset is called in --classes, as in person=player; may be given
        several times.
    config
        TOML file with the sections [train], settings to start from, and [search]; flags win over
        the first.
    as_json
        Print everything as one JSON document.
    """
    from motrail.config import search_ranges
    from motrail.train.run import Job
    from motrail.tune.detector.tuning import SearchOptions

    settings = resolve_settings({"train": train}, config).settings.train
    job = Job(
        dataset,
        model,
        output,
        _with_goal(settings, goal, train),
        weights=weights,
        preset=preset,
        classes=[name.strip() for name in classes.split(",")] if classes else None,
        names=parse_map(map_),
    )
    ranges = None if config is None else search_ranges(config)
    with _Told() as told:
        tuning, written = _tune(job, SearchOptions(trials, pruning), ranges, told)
    _print(tuning, written, as_json=as_json)
    for note in tuning.notes:
        print(f"note: {note}", file=sys.stderr)
    if tuning.stopped:
        print("stopped and saved; the same command goes on from here", file=sys.stderr)
        return told.exit_code
    return 0


def _with_goal(
    settings: TrainSettings, goal: Literal["ap", "ap50", "hota"] | None, flags: Any
) -> TrainSettings:
    """Settings whose best model is the best in the goal.

    Raises:
        ConfigError: Two goals were given.
    """
    import dataclasses

    given = getattr(flags, "best_by", None)
    if goal is not None and given is not None and goal != given:
        raise ConfigError(f"--goal {goal}: expected the same as --best-by, found {given}")
    return settings if goal is None else dataclasses.replace(settings, best_by=goal)


def _tune(
    job: Job, options: SearchOptions, ranges: Any, told: _Told
) -> tuple[DetectorTuning, list[Path]]:
    import dataclasses

    from motrail.tune.detector.results import write_results
    from motrail.tune.detector.run import tune_detector

    with steps_progress() as progress:
        tuning = tune_detector(job, options, ranges, stop=told.asked, say=_say, progress=progress)
    if tuning.stopped:
        return tuning, []
    written, notes = write_results(tuning)
    return dataclasses.replace(tuning, notes=(*tuning.notes, *notes)), list(written.values())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(tuning: DetectorTuning, written: list[Path], *, as_json: bool) -> None:
    from motrail.tune.detector.results import as_dict, explain

    if as_json:
        print_json(as_dict(tuning))
        return
    print(table(_rows(tuning)))
    if tuning.stopped:
        return
    if tuning.importances:
        shares = sorted(tuning.importances.items(), key=lambda item: -item[1])
        rows = [(key, f"{100 * share:.0f} %") for key, share in shares]
        print(f"\n{table([('setting', 'importance'), *rows])}")
    print(f"\n{explain(tuning)}")
    print_rows([("written", path) for path in written])


def _rows(tuning: DetectorTuning) -> list[tuple[Any, ...]]:
    """The trials, the best first, with the settings that differ among them."""
    from motrail.tune.detector.space import shown
    from motrail.tune.detector.tuning import GOALS

    keys = [
        key
        for key in tuning.space.ranges
        if len({str(trial.point[key]) for trial in tuning.trials}) > 1
    ]
    rows: list[tuple[Any, ...]] = [("trial", GOALS[tuning.goal], "epoch", "state", *keys)]
    for trial in tuning.ranked():
        value = "–" if trial.value is None else f"{trial.value:.2f}"
        settings = (shown(trial.point[key]) for key in keys)
        state = f"failed: {trial.reason}" if trial.state == "failed" else trial.state
        rows.append((trial.number, value, trial.epoch or "–", state[:60], *settings))
    return rows


class _Told:
    """Hears Ctrl-C and SIGTERM, so that the trial can save and leave; a second one does not wait.

    Attributes:
        exit_code: What the process that was told to leave ends with.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.exit_code = _EXIT_CODES[signal.Signals(number)]
        self._let_go()

    def asked(self) -> bool:
        """Whether to leave."""
        interrupts.check()
        return self.exit_code != 0
