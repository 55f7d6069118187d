"""`motrail tune detector` without its command line: from a dataset to the best model."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

from motrail.dataset.folder import open_dataset
from motrail.dataset.footage import silent
from motrail.errors import ConfigError, MotrailError
from motrail.outputs import WholeFile, output_folder, writing
from motrail.tune.detector.identity import identity_of
from motrail.tune.detector.lock import locked
from motrail.tune.detector.space import Space, shown, usual_ranges
from motrail.tune.detector.study import Study, Trial
from motrail.tune.detector.trial import Ended, run_trial, tidy
from motrail.tune.detector.tuning import (
    GOALS,
    MODEL,
    STUDY,
    DetectorTuning,
    SearchOptions,
    best_of,
    folder_of,
    settings_of,
)
from motrail.tune.detector.unseen import on_unseen
from motrail.tune.search import load_optuna

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from motrail.config import Ranges
    from motrail.dataset.footage import Progress
    from motrail.train.data.samples import Samples
    from motrail.train.run import Job

_FIRST = 3
"""Trials after trial 0 that must not all fail."""


def tune_detector(
    job: Job,
    options: SearchOptions | None = None,
    ranges: Ranges | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _line: None,
    progress: Progress = silent,
) -> DetectorTuning:
    """Search for the settings of training that give the best detector.

    Each trial is a training run in `trials/000` … of the job's folder, the first one with the
    settings as they are. The same arguments give the same trials; a search that was interrupted, or
    killed, goes on where it stopped when it is called again.

    Args:
        job: What is to be trained; its folder is that of the search, its settings' `best_by` the
            goal and their `seed` that of training and of what is tried.
        options: How to search.
        ranges: What is searched; the usual settings if None.
        stop: Whether to save and leave; asked after every step.
        say: Takes lines for people.
        progress: Told of the epochs.

    Raises:
        ConfigError: Settings or dataset do not allow it, or the folder holds another search.
        FormatError: Labels cannot be read.
        MissingExtraError: Optuna or PyTorch is not installed.
        MotrailError: Trial 0, or each of the first ones after it, failed.
        OutputError: The folder cannot be written to.
    """
    options = options or SearchOptions()
    load_optuna()
    space, identity, samples = _prepare(job, ranges)
    classes = samples.classes
    identity["pruning"] = options.pruning
    output = _folder(job.folder)
    settled = space.settled
    with (
        locked(output / STUDY),
        Study(output / STUDY, space, identity, seed=settled.seed, epochs=settled.epochs) as study,
    ):
        search = _Search(job, options, space, study, len(samples), stop, say, progress)
        search.run()
        found = DetectorTuning(
            job, options, classes, space, tuple(study.trials()), stopped=search.stopped,
            notes=tuple(search.notes),
        )  # fmt: skip
        if found.stopped or found.best is None:
            return dataclasses.replace(found, stopped=True)
        _write_model(found, say)
        found = _look_at_unseen(found, _or_leave(progress, stop))
        return dataclasses.replace(found, importances=study.importances())


def _folder(path: Path) -> Path:
    """The folder of a search, which holds nothing else.

    Raises:
        ConfigError: It does.
        OutputError: It cannot be made or written to.
    """
    output = output_folder(path)
    names = {item.name for item in output.iterdir() if not item.name.startswith(".")}
    if names and STUDY not in names:
        raise ConfigError(
            f"{path}: holds something that is no search; choose another folder with -o"
        )
    return output


def _look_at_unseen(found: DetectorTuning, progress: Progress) -> DetectorTuning:
    """The same with what it is worth on the split `test`."""
    if found.best is None:
        return found
    try:
        unseen = on_unseen(found.job, found.base, found.best, found.classes, progress)
    except MotrailError as error:  # which is no reason to lose what took a night
        note = f"the gain was not checked on the split test: {error}"
        return dataclasses.replace(found, notes=(*found.notes, note))
    return dataclasses.replace(found, unseen=unseen)


def _prepare(job: Job, ranges: Ranges | None) -> tuple[Space, dict[str, Any], Samples]:
    from motrail.train.prepare import network_size, settled, training_samples
    from motrail.train.processes import Processes

    if Processes.of_environment().world > 1:
        raise ConfigError(
            "tune detector trains in one process; expected to be started without torchrun"
        )
    size = network_size(job.model)
    dataset = open_dataset(job.dataset)
    samples = training_samples(dataset, job)
    if "val" not in dataset.splits:
        raise ConfigError(
            f"{job.dataset}: expected a split val to compare trials on, found "
            f"{', '.join(dataset.splits)}; make one with `motrail dataset split`"
        )
    whole = settled(job, size, samples)
    augment = whole.for_network(size)
    whole = dataclasses.replace(whole, mixup=augment.mixup)
    space = Space(job.settings, whole, usual_ranges(whole, size) if ranges is None else ranges)
    return space, identity_of(job, dataset, samples, space), samples


class _Search:
    """Trains trial after trial, and looks on while each is trained."""

    def __init__(
        self,
        job: Job,
        options: SearchOptions,
        space: Space,
        study: Study,
        pictures: int,
        stop: Callable[[], bool],
        say: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self.stopped = False
        self.notes: list[str] = []
        self._job, self._options, self._space, self._study = job, options, space, study
        self._stop, self._say, self._progress = stop, say, progress
        self._goal = job.settings.best_by
        self._pictures = pictures
        self._now = 0
        self._begun_at: int | None = None
        self._aloud = False

    def run(self) -> None:
        """Go on until all trials are over, or until told to leave."""
        self._clean()
        self._check_failures()
        while (trial := self._next()) is not None:
            self._now = trial.number
            self._aloud = trial.number == 0
            ended = run_trial(self._job_of(trial), self._goal, self, self._say_first)
            if ended.state == "left":
                self.stopped = True
                return
            self._end(trial, ended)
            self._clean()
            self._check_failures()

    # --- looking on ----------------------------------------------------------------------------

    def leaving(self) -> bool:
        """Whether to save and leave."""
        return self._stop()

    def learnt(self, share: float) -> None:
        """Tell how far the search is, in pictures learnt from."""
        self._aloud = False
        of_a_trial = self._job.settings.epochs * self._pictures
        done = round((self._now + share) * of_a_trial)
        if self._begun_at is None:  # what was done another day says nothing of the pace of today
            self._begun_at = done
        left = self._options.trials * of_a_trial - self._begun_at
        self._progress("tuning, pictures", done - self._begun_at, max(left, 1))

    def looked(self, curve: Mapping[int, float]) -> bool:
        """Note the values so far; whether the trial is to be stopped."""
        return self._study.report(self._now, curve) and self._options.pruning

    # --- trials --------------------------------------------------------------------------------

    def _next(self) -> Trial | None:
        running = self._study.running()
        if running is not None or self._stop():
            self.stopped = running is None
            return running
        if len(self._study.trials()) >= self._options.trials:
            return None
        drawn = self._study.begin()
        if drawn is None:
            self.notes.append(
                f"nothing new was found in the ranges after "
                f"{len(self._study.trials())} trials, so there are no more"
            )
        return drawn

    def _job_of(self, trial: Trial) -> Job:
        return dataclasses.replace(
            self._job,
            folder=folder_of(self._job.folder, trial),
            settings=settings_of(self._space, trial),
        )

    def _say_first(self, line: str) -> None:
        """Hand on what trial 0 says of the dataset; what follows is in the logs of the trials."""
        if self._aloud:
            self._say(line)

    def _end(self, trial: Trial, ended: Ended) -> None:
        state: Any = ended.state
        over = dataclasses.replace(
            trial, state=state, value=ended.value, epoch=ended.epoch, figures=ended.figures,
            reason=ended.reason,
        )  # fmt: skip
        self._study.tell(over)
        words = ", ".join(f"{key} {shown(value)}" for key, value in trial.point.items())
        what = (
            f"failed: {over.reason}"
            if over.state == "failed"
            else f"{GOALS[self._goal]} {over.value or 0:.2f} in epoch {over.epoch}"
            f"{', pruned' if over.state == 'pruned' else ''}"
        )
        self._say(f"trial {trial.number}: {what} ({words})")

    def _check_failures(self) -> None:
        """See that there is something to search for.

        Raises:
            MotrailError: Trial 0 failed, or all of the first ones after it.
        """
        trials = [trial for trial in self._study.trials() if trial.state != "running"]
        if trials and trials[0].state == "failed":
            raise MotrailError(
                f"trial 0, with the settings as they are, failed: {trials[0].reason}. See to it "
                "that `motrail train` works with them, then search in another folder with -o"
            )
        first = trials[1 : 1 + _FIRST]
        if len(first) == _FIRST and all(trial.state == "failed" for trial in first):
            raise MotrailError(
                f"the first {_FIRST} trials all failed, the last one: {first[-1].reason}. Give "
                "narrower ranges in [search] and another folder with -o"
            )

    def _clean(self) -> None:
        """Drop what only the best trial, and trial 0 to compare with, still need."""
        trials = self._study.trials()
        best = best_of(trials)
        for trial in trials:
            if trial.state != "running" and trial != best:
                tidy(folder_of(self._job.folder, trial), network=trial.number == 0)


def _or_leave(progress: Progress, stop: Callable[[], bool]) -> Progress:
    """Progress that ends what is made anew the next time anyway."""

    def tell(what: str, done: int, total: int | None) -> None:
        if stop():
            raise KeyboardInterrupt
        progress(what, done, total)

    return tell


def _mute(_line: str) -> None:
    """Takes lines that are in the log of the trial."""


def _write_model(found: DetectorTuning, say: Callable[[str], None]) -> None:
    """Write the bundle of the best trial, and a copy of it for all to see."""
    from motrail.train.run import Training

    if found.best is None:
        return
    folder = folder_of(found.job.folder, found.best)
    bundle = folder / MODEL
    if not bundle.is_file():
        job = dataclasses.replace(
            found.job, folder=folder, settings=found.settings(found.best), resume=True
        )
        training = Training(job, _mute)
        training.resume()
        training.train(lambda: False)
    file = WholeFile(found.job.folder / MODEL)
    with writing(file.path), file:
        shutil.copyfile(bundle, file.temporary)
    say(f"the model of trial {found.best.number} is the best")
