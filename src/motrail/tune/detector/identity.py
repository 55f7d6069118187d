"""What must be the same when a search goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.dataset.folder import Dataset
    from motrail.train.data.samples import Samples
    from motrail.train.run import Job
    from motrail.tune.detector.space import Space

_CHUNK = 1 << 20
_OF_THE_MACHINE = ("device", "workers", "cache_gb", "checkpoint_minutes", "log_every")
"""Settings that change how fast training goes, or what is said of it, and not what is learnt."""


def identity_of(job: Job, dataset: Dataset, samples: Samples, space: Space) -> dict[str, Any]:
    """What a search is of, by what each part is called: text, numbers and lists of them.

    Args:
        job: What is to be trained.
        dataset: The one of the job.
        samples: Its split `train`.
        space: What is searched.
    """
    from motrail.train.data.samples import read_samples
    from motrail.train.prepare import fingerprint

    validation = read_samples(
        dataset, "val", classes=samples.classes, mapping=job.names, limits=job.settings
    )
    found = {
        "model": job.model,
        "classes": ", ".join(samples.classes),
        "labels of the split train": fingerprint(samples)[:16],
        "labels of the split val": fingerprint(validation)[:16],
        "--map": ", ".join(f"{name}={called}" for name, called in sorted(job.names.items())),
        "--weights": _of_weights(job.weights),
        "--preset": job.preset,
        "goal": job.settings.best_by,
        **_settings(space),
        **{f"[search] {key}": values for key, values in space.as_dict().items()},
    }
    known: dict[str, Any] = json.loads(json.dumps(found))
    return known


def _settings(space: Space) -> dict[str, Any]:
    return {
        f"[train] {key}": list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(space.base).items()
        if key not in _OF_THE_MACHINE and key != "best_by"
    }


def _of_weights(path: Path | None) -> str | None:
    """A sum over the content of a file, or of the files of a folder."""
    if path is None:
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise ConfigError(f"--weights {path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()[:16]
