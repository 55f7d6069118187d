"""What settings score: looked up where it is known, else computed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import motrail
from motrail.track.camera_file import camera_file_path
from motrail.tune.cases import fingerprint
from motrail.tune.store import key_of, settings_text
from motrail.tune.workers import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from motrail.evaluate.protocol import Protocol
    from motrail.evaluate.run import Score
    from motrail.tune.cases import Case
    from motrail.tune.space import Sections
    from motrail.tune.store import Store
    from motrail.tune.workers import Workers


def unheard(_share: float) -> None:
    """Progress that nobody wants to hear of."""


class Answers:
    """What settings score on sequences.

    Args:
        cases: The sequences.
        protocol: By which results are scored.
        store: Where scores are kept.
        workers: Who computes those that are missing.

    Attributes:
        computed: Number of scores that had to be computed.
        found: Number of scores that were in the store.
    """

    def __init__(
        self, cases: Sequence[Case], protocol: Protocol, store: Store, workers: Workers
    ) -> None:
        self.computed = 0
        self.found = 0
        self._names = [case.name for case in cases]
        self._prints = [fingerprint(case, protocol) for case in cases]
        self._version = str(motrail.__version__)
        self._store = store
        self._workers = workers
        self._known: dict[str, Score] = {}
        self._cameras: dict[Path, str] = {}

    def key(self, case: int, settings: Sections) -> str:
        """The key of a score."""
        text = settings_text(settings) + self._camera(case, settings)
        return key_of(self._prints[case], text, self._version)

    def _camera(self, case: int, settings: Sections) -> str:
        """Sum over what the settings say of the camera in a file; empty where they do not."""
        place = settings["tracker"].get("camera_file")
        if place is None:
            return ""
        path = camera_file_path(place, self._names[case])
        if path not in self._cameras:  # a run has one; and reads it as it stands at the beginning
            content = path.read_bytes() if path.is_file() else b""
            self._cameras[path] = hashlib.sha256(content).hexdigest()
        return self._cameras[path]

    def fetch(self, jobs: Iterable[Job], progress: Callable[[float], None] = unheard) -> None:
        """Have the scores of these jobs at hand.

        Args:
            jobs: What is going to be asked for.
            progress: Told of the share that is done, 0 to 1.
        """
        wanted = {self.key(*job): job for job in jobs}
        missing = {key: job for key, job in wanted.items() if key not in self._known}
        stored = self._store.read(list(missing))
        self.found += len(stored)
        self._known |= stored
        keys = [key for key in missing if key not in stored]
        todo = [missing[key] for key in keys]
        for done, (index, score) in enumerate(self._workers.run(todo), start=1):
            job = todo[index]
            name, text = self._names[job.case], settings_text(job.settings)
            self._store.write(keys[index], name, text, score)
            self._known[keys[index]] = score
            self.computed += 1
            progress(1 - (len(todo) - done) / len(wanted))

    def score(self, case: int, settings: Sections) -> Score:
        """What settings score on a sequence, computed if need be."""
        key = self.key(case, settings)
        if key not in self._known:
            self.fetch([Job(case, settings)])
        return self._known[key]
